/* command.c - commands, their one answer, and lists of them. */
#include "server/mail/command.h"

#include "common/memory.h"

enum { FAILURE_TEXT_MAX = 160 }; /* longest text of COMMAND_FAILURES, with '-' and CRLF */

struct command *command_create(enum command_class class, struct span body,
                               struct command_sink *sink)
{
    ASSERT(sink != NULL);
    struct command *command = memory_alloc_zero(1, sizeof(*command));
    command->class = class;
    command->body = body;
    command->sink = sink;
    return command;
}

bool command_is_local(const struct command *command)
{
    switch (command->class) {
    case COMMAND_WRITE:
    case COMMAND_READ:
    case COMMAND_TRANSFER:
        return false;
    case COMMAND_STATUS:
    case COMMAND_SETTING:
    case COMMAND_RESET_STATISTICS:
    case COMMAND_SNAPSHOT:
    case COMMAND_BACKUP:
        return true;
    }
    UNREACHABLE();
}

void command_destroy(struct command *command)
{
    span_release(&command->body);
    memory_free(command);
}

void command_answer(struct command *command, const u8 *answer, size_t size)
{
    ASSERT(command->next == NULL); /* still in somebody's list: it would be answered twice */
    command->sink->ops->answer(command->sink, command, answer, size);
}

void command_fail(struct command *command, enum command_failure failure)
{
    const char *text = command_failure_text(failure);
    size_t size = strlen(text);
    ASSERT(size + 3 <= FAILURE_TEXT_MAX);

    u8 answer[FAILURE_TEXT_MAX];
    answer[0] = '-';
    memcpy(answer + 1, text, size);
    memcpy(answer + 1 + size, "\r\n", 2);
    command_answer(command, answer, size + 3);
}

void command_redirect(struct command *command, server_id leader)
{
    ASSERT(command->next == NULL);
    ASSERT(command->may_redirect);
    ASSERT(leader != SERVER_NONE);
    command->sink->ops->redirect(command->sink, command, leader);
}

void command_give_back(struct command *command)
{
    ASSERT(command->next == NULL);
    ASSERT(command->forwarded);
    command->sink->ops->give_back(command->sink, command);
}

struct span command_order_body(server_id target)
{
    struct block *block = block_create(sizeof(u32));
    store_u32(block->data, target);
    struct span body = span_of(block, block->data, block->size);
    block_release(block);
    return body;
}

server_id command_order_target(const struct command *command)
{
    ASSERT(command->class == COMMAND_TRANSFER && command->body.size >= sizeof(u32));
    return load_u32(command->body.data);
}

struct span command_readmit_body(server_id target)
{
    u8 bytes[sizeof(u32) + 1] = {0}; /* longer than that of the order above */
    store_u32(bytes, target);
    struct block *block = block_create_copy(bytes, sizeof(bytes));
    struct span body = span_of(block, block->data, block->size);
    block_release(block);
    return body;
}

bool command_order_is_readmit(const struct command *command)
{
    return command->body.size > sizeof(u32);
}

struct span command_backup_body(const struct backup_order *order)
{
    struct block *block = block_create_copy(order, sizeof(*order));
    struct span body = span_of(block, block->data, block->size);
    block_release(block);
    return body;
}

struct backup_order command_backup_order(const struct command *command)
{
    struct backup_order order;
    ASSERT(command->class == COMMAND_BACKUP && command->body.size == sizeof(order));
    memcpy(&order, command->body.data, sizeof(order));
    return order;
}

const char *command_failure_text(enum command_failure failure)
{
    switch (failure) {
#define X(name, definite, text) \
    case name:                  \
        return text;
        COMMAND_FAILURES(X)
#undef X
    }
    UNREACHABLE();
}

bool command_failure_is_definite(enum command_failure failure)
{
    switch (failure) {
#define X(name, definite, text) \
    case name:                  \
        return definite;
        COMMAND_FAILURES(X)
#undef X
    }
    UNREACHABLE();
}

void command_list_put(struct command_list *list, struct command *command)
{
    ASSERT(command->next == NULL);
    if (list->last == NULL)
        list->first = command;
    else
        list->last->next = command;
    list->last = command;
    list->count++;
    list->bytes += command->body.size;
}

struct command *command_list_take(struct command_list *list)
{
    struct command *command = list->first;
    if (command == NULL)
        return NULL;
    list->first = command->next;
    if (list->first == NULL)
        list->last = NULL;
    list->count--;
    list->bytes -= command->body.size;
    command->next = NULL;
    return command;
}

void command_list_move(struct command_list *to, struct command_list *from)
{
    if (from->first == NULL)
        return;
    if (to->last == NULL)
        to->first = from->first;
    else
        to->last->next = from->first;
    to->last = from->last;
    to->count += from->count;
    to->bytes += from->bytes;
    *from = (struct command_list){0};
}

/* Whether this server took `a` after `b`. */
static bool is_later(const struct command *a, const struct command *b)
{
    if (a->serial != b->serial)
        return a->serial > b->serial;
    if (a->arrived_ns != b->arrived_ns)
        return a->arrived_ns > b->arrived_ns;
    return a->class != COMMAND_WRITE && b->class == COMMAND_WRITE;
}

void command_list_merge(struct command_list *to, struct command_list *from)
{
    struct command_list merged = {0};
    while (to->first != NULL && from->first != NULL && is_later(to->last, from->first)) {
        bool later = is_later(to->first, from->first);
        struct command *next = command_list_take(later ? from : to);
        ASSERT(next != NULL);
        command_list_put(&merged, next);
    }
    command_list_move(&merged, to);
    command_list_move(&merged, from);
    *to = merged;
}

void command_list_fail(struct command_list *list, enum command_failure failure)
{
    struct command *command;
    while ((command = command_list_take(list)) != NULL)
        command_fail(command, failure);
}
