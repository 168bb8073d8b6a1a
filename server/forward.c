/* forward.c - see forward.h. */
#include "server/forward.h"

#include "common/memory.h"

enum {
    COMMAND_HEADER_SIZE = 8,
    ANSWER_HEADER_SIZE = 4,
    FLAG_AFTER_WRITE = 1,
    SENT_AT_ONCE = 1024 * 1024 /* bytes of answers that are not kept back for more */
};

/* ---- at the follower ---- */

void forwarding_init(struct forwarding *forwarding)
{
    *forwarding = (struct forwarding){0};
}

void forwarding_put(struct forwarding *forwarding, struct command *command)
{
    command_list_put(command->class == COMMAND_WRITE ? &forwarding->writes : &forwarding->reads,
                     command);
}

static void encode_commands(const struct command_list *commands, struct message *message)
{
    size_t size = 0;
    for (const struct command *c = commands->first; c != NULL; c = c->next)
        size += COMMAND_HEADER_SIZE + c->body.size;
    struct block *block = block_create((u32)size);
    u8 *to = block->data;
    for (const struct command *c = commands->first; c != NULL; c = c->next) {
        to[0] = c->class == COMMAND_WRITE ? 1 : 2;
        to[1] = c->after_write ? FLAG_AFTER_WRITE : 0;
        store_u16(to + 2, 0);
        store_u32(to + 4, c->body.size);
        memcpy(to + COMMAND_HEADER_SIZE, c->body.data, c->body.size);
        to += COMMAND_HEADER_SIZE + c->body.size;
    }
    message->spans[0] = (struct span){block, block->data, (u32)size};
    message->span_count = 1;
}

/* Takes from `from` as many commands as fit in one message, at least one. */
static void take_batch(struct command_list *from, u64 bytes_max, struct command_list *batch)
{
    u64 bytes = 0;
    while (from->first != NULL) {
        bytes += COMMAND_HEADER_SIZE + from->first->body.size;
        if (batch->first != NULL && bytes > bytes_max)
            return;
        command_list_put(batch, command_list_take(from));
    }
}

static void keep_batch(struct forwarding *forwarding, struct forward_batch *batch)
{
    if (forwarding->last != NULL)
        forwarding->last->next = batch;
    else
        forwarding->first = batch;
    forwarding->last = batch;
}

void forwarding_take_back(struct forwarding *forwarding, struct command_list *commands)
{
    command_list_merge(commands, &forwarding->writes);
    command_list_merge(commands, &forwarding->reads);
}

bool forwarding_next(struct forwarding *forwarding, struct raft *raft, u64 start_count, u64 *serial,
                     u64 bytes_max, u64 deadline_ns, struct message *message)
{
    struct command_list *commands =
        forwarding->writes.first != NULL ? &forwarding->writes : &forwarding->reads;
    if (commands->first == NULL)
        return false;
    struct forward_batch *batch = memory_alloc_zero(1, sizeof(*batch));
    take_batch(commands, bytes_max, &batch->commands);
    raft_message(raft, MESSAGE_FORWARD, raft->leader, NULL, message);
    message->as.forward_request = (struct forward_request){
        .start = start_count, .serial = ++*serial, .count = batch->commands.count};
    encode_commands(&batch->commands, message);
    batch->call = message->call;
    batch->deadline_ns = deadline_ns;
    keep_batch(forwarding, batch);
    return true;
}

static struct forward_batch *find_call(const struct forwarding *forwarding, u64 call)
{
    struct forward_batch *batch = forwarding->first;
    while (batch != NULL && batch->call != call)
        batch = batch->next;
    return batch;
}

static struct forward_batch *take_call(struct forwarding *forwarding, u64 call)
{
    struct forward_batch *before = NULL;
    for (struct forward_batch *batch = forwarding->first; batch != NULL; batch = batch->next) {
        if (batch->call == call) {
            if (before != NULL)
                before->next = batch->next;
            else
                forwarding->first = batch->next;
            if (forwarding->last == batch)
                forwarding->last = before;
            return batch;
        }
        before = batch;
    }
    return NULL;
}

/* Ends a batch whose commands may or may not have been executed. */
static void lose_batch(struct forward_batch *batch, const struct forwarding_outcome *outcome)
{
    struct command_list reads = {0};
    struct command *command;
    while ((command = command_list_take(&batch->commands)) != NULL) {
        if (command->class == COMMAND_WRITE)
            outcome->fail(outcome->context, command, COMMAND_UNKNOWN_OUTCOME);
        else
            command_list_put(&reads, command);
    }
    command_list_merge(outcome->again, &reads);
    memory_free(batch);
}

/* Hands out the answers of one reply. Returns false when they are not those that come next. */
static bool answer_batch(struct forward_batch *batch, const struct message *reply,
                         const struct forwarding_outcome *outcome)
{
    if (reply->as.forward_reply.first != batch->answered || reply->span_count != 1)
        return false;
    const u8 *at = reply->spans[0].data;
    size_t left = reply->spans[0].size;
    for (u32 i = 0; i < reply->as.forward_reply.count; i++) {
        if (batch->commands.first == NULL || left < ANSWER_HEADER_SIZE ||
            load_u32(at) > left - ANSWER_HEADER_SIZE)
            return false;
        u32 size = load_u32(at);
        outcome->answer(outcome->context, command_list_take(&batch->commands),
                        at + ANSWER_HEADER_SIZE, size);
        batch->answered++;
        at += ANSWER_HEADER_SIZE + size;
        left -= ANSWER_HEADER_SIZE + size;
    }
    return reply->as.forward_reply.count > 0;
}

void forwarding_replied(struct forwarding *forwarding, const struct message *reply,
                        const struct forwarding_outcome *outcome)
{
    struct forward_batch *batch = find_call(forwarding, reply->call);
    if (batch == NULL)
        return;
    switch (reply->as.forward_reply.result) {
    case FORWARD_DONE:
        if (answer_batch(batch, reply, outcome) && batch->commands.first != NULL)
            return; /* the rest is on its way */
        lose_batch(take_call(forwarding, reply->call), outcome);
        return;
    case FORWARD_NOT_LEADER:
        (void)take_call(forwarding, reply->call);
        command_list_merge(outcome->again, &batch->commands);
        memory_free(batch);
        return;
    }
    UNREACHABLE();
}

void forwarding_unsent(struct forwarding *forwarding, u64 call,
                       const struct forwarding_outcome *outcome)
{
    struct forward_batch *batch = take_call(forwarding, call);
    if (batch == NULL)
        return;
    command_list_merge(outcome->again, &batch->commands);
    memory_free(batch);
}

void forwarding_expire(struct forwarding *forwarding, u64 now_ns,
                       const struct forwarding_outcome *outcome)
{
    /* Deadlines rise from batch to batch. */
    while (forwarding->first != NULL && forwarding->first->deadline_ns <= now_ns) {
        struct forward_batch *batch = take_call(forwarding, forwarding->first->call);
        struct command *command;
        while ((command = command_list_take(&batch->commands)) != NULL)
            outcome->fail(outcome->context, command,
                          command->class == COMMAND_WRITE ? COMMAND_UNKNOWN_OUTCOME
                                                          : COMMAND_LEADER_LOST);
        memory_free(batch);
    }
}

u64 forwarding_deadline_ns(const struct forwarding *forwarding)
{
    return forwarding->first != NULL ? forwarding->first->deadline_ns : UINT64_MAX;
}

void forwarding_lost(struct forwarding *forwarding, const struct forwarding_outcome *outcome)
{
    while (forwarding->first != NULL)
        lose_batch(take_call(forwarding, forwarding->first->call), outcome);
    forwarding_take_back(forwarding, outcome->again); /* these were never in a message */
}

/* ---- at the leader ---- */

/* Gathers the answers to one FORWARD. Each of its commands has the batch as its sink, and its own
 * number as the slot. */
struct unpacked_batch {
    struct command_sink sink;
    struct raft *raft;
    struct outbox *outbox;
    server_id from;
    u64 call;
    u64 bytes_max; /* of a reply's payload */
    u32 count;
    u32 missing;             /* commands that have no answer yet */
    u32 given_back;          /* of the others: commands that nobody executed, with that answer */
    u32 sent;                /* answers that have left */
    u32 ready;               /* answers up to the first that is missing; >= sent */
    size_t ready_size;       /* encoded, of those from sent up to ready */
    struct buffer answers[]; /* data is NULL until there is one */
};

/* Sends the answers that are ready. */
static void send_ready(struct unpacked_batch *batch)
{
    struct block *block = block_create((u32)batch->ready_size);
    u8 *to = block->data;
    for (u32 i = batch->sent; i < batch->ready; i++) {
        struct buffer *answer = &batch->answers[i];
        store_u32(to, (u32)answer->size);
        if (answer->size > 0)
            memcpy(to + ANSWER_HEADER_SIZE, answer->data, answer->size);
        to += ANSWER_HEADER_SIZE + answer->size;
        buffer_deinit(answer);
    }
    struct message request = {.call = batch->call};
    struct message reply;
    raft_message(batch->raft, MESSAGE_FORWARD_REPLY, batch->from, &request, &reply);
    reply.as.forward_reply =
        (struct forward_reply){FORWARD_DONE, batch->ready - batch->sent, batch->sent};
    reply.spans[0] = (struct span){block, block->data, (u32)batch->ready_size};
    reply.span_count = 1;
    outbox_put_early(batch->outbox, &reply);
    batch->sent = batch->ready;
    batch->ready_size = 0;
}

/* Answers whose turn it is are sent whenever they fill a good part of a message, so that many large
 * ones do not gather in memory, and when there are no more to wait for. */
static void send_answers(struct unpacked_batch *batch)
{
    while (batch->ready < batch->count && batch->answers[batch->ready].data != NULL) {
        size_t more = ANSWER_HEADER_SIZE + batch->answers[batch->ready].size;
        if (batch->ready > batch->sent && batch->ready_size + more > batch->bytes_max)
            send_ready(batch);
        batch->ready++;
        batch->ready_size += more;
        if (batch->ready_size >= SENT_AT_ONCE)
            send_ready(batch);
    }
    if (batch->missing == 0 && batch->ready > batch->sent)
        send_ready(batch);
}

static void keep_answer(struct unpacked_batch *batch, struct command *command, const void *answer,
                        size_t size)
{
    buffer_append(&batch->answers[command->slot], answer, size);
    (void)buffer_reserve(&batch->answers[command->slot], 1); /* an empty answer is one, too */
    command_destroy(command);
    batch->missing--;
}

static void batch_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                         size_t size)
{
    static const char too_large[] = "-ERR the command was executed, but its answer is too large to "
                                    "be forwarded: ask the leader "
                                    "itself\r\n";
    struct unpacked_batch *batch = CONTAINER_OF(sink, struct unpacked_batch, sink);
    if (size + ANSWER_HEADER_SIZE > batch->bytes_max)
        keep_answer(batch, command, too_large, sizeof(too_large) - 1);
    else
        keep_answer(batch, command, answer, size);
    batch->given_back = 0; /* now the others' error is sent to them */
    send_answers(batch);
    if (batch->missing == 0)
        memory_free(batch);
}

static void batch_redirect(struct command_sink *sink, struct command *command, server_id leader)
{
    (void)sink;
    (void)leader;
    /* Forwarded commands do not ask for redirects, and the leader has nowhere to send them. */
    command_fail(command, COMMAND_LEADER_LOST);
}

/* Instead of answers; the sender hands all of it to the next leader. */
static void refuse_batch(struct unpacked_batch *batch)
{
    struct message request = {.kind = MESSAGE_FORWARD, .from = batch->from, .call = batch->call};
    struct message refusal;
    for (u32 i = 0; i < batch->count; i++)
        buffer_deinit(&batch->answers[i]);
    raft_refuse(batch->raft, &request, &refusal);
    outbox_put_early(batch->outbox, &refusal);
    memory_free(batch);
}

/* Commands are given back when they were held while leadership was handed over: all of a FORWARD,
 * mostly, and then its sender hands them to the next leader. If some of it are answered (a read
 * that was not held), the others' error is as definite, and the same whichever came first. */
static void batch_give_back(struct command_sink *sink, struct command *command)
{
    static const char lost[] = "-CLUSTERDOWN leadership is handed over; nothing was executed\r\n";
    struct unpacked_batch *batch = CONTAINER_OF(sink, struct unpacked_batch, sink);
    if (batch->missing + batch->given_back < batch->count) {
        command_answer(command, (const u8 *)lost, sizeof(lost) - 1);
        return;
    }
    keep_answer(batch, command, lost, sizeof(lost) - 1);
    batch->given_back++;
    if (batch->missing == 0)
        refuse_batch(batch);
}

static void batch_flush(struct command_sink *sink)
{
    (void)sink; /* The reply left for the outbox with the last answer. */
}

static const struct command_sink_ops batch_ops = {batch_answer, batch_redirect, batch_flush,
                                                  batch_give_back};

/* The size of the encoded command at `at`, 0 when there is none. */
static size_t encoded_size(const u8 *at, size_t left)
{
    if (left < COMMAND_HEADER_SIZE)
        return 0;
    u32 size = load_u32(at + 4);
    if (size > left - COMMAND_HEADER_SIZE || (at[0] != 1 && at[0] != 2))
        return 0;
    /* What a newer version means by other bits must not be lost on the way. */
    if ((at[1] & ~FLAG_AFTER_WRITE) != 0 || load_u16(at + 2) != 0)
        return 0;
    return COMMAND_HEADER_SIZE + (size_t)size;
}

bool forward_is_sound(const struct message *request)
{
    u32 count = request->as.forward_request.count;
    if (request->span_count != 1 || count == 0)
        return false;
    const u8 *at = request->spans[0].data;
    size_t left = request->spans[0].size;
    for (u32 i = 0; i < count; i++) {
        size_t size = encoded_size(at, left);
        if (size == 0)
            return false;
        at += size;
        left -= size;
    }
    return left == 0;
}

static struct command *unpack_command(const u8 *at, size_t size, struct block *block,
                                      struct command_sink *sink)
{
    struct span body = span_of(block, at + COMMAND_HEADER_SIZE, (u32)(size - COMMAND_HEADER_SIZE));
    struct command *command = command_create(at[0] == 1 ? COMMAND_WRITE : COMMAND_READ, body, sink);
    command->after_write = (at[1] & FLAG_AFTER_WRITE) != 0;
    command->forwarded = true;
    return command;
}

bool forward_unpack(struct raft *raft, const struct message *request, u64 now_ns, u64 bytes_max,
                    struct outbox *outbox, struct command_list *commands)
{
    if (!forward_is_sound(request))
        return false;
    u32 count = request->as.forward_request.count;
    struct unpacked_batch *batch =
        memory_alloc_zero(1, sizeof(*batch) + count * sizeof(batch->answers[0]));
    *batch = (struct unpacked_batch){.sink = {&batch_ops},
                                     .raft = raft,
                                     .outbox = outbox,
                                     .from = request->from,
                                     .call = request->call,
                                     .bytes_max = bytes_max,
                                     .count = count,
                                     .missing = count};
    const struct span *span = &request->spans[0];
    size_t offset = 0;
    for (u32 i = 0; i < count; i++) {
        const u8 *at = span->data + offset;
        size_t size = encoded_size(at, span->size - offset);
        struct command *command = unpack_command(at, size, span->block, &batch->sink);
        command->slot = i;
        command->arrived_ns = now_ns;
        offset += size;
        command_list_put(commands, command);
    }
    return true;
}
