/* clients_unit.h - a client port over real sockets, for the tests of server/clients/, with a server
 * of a few lines behind it: a thread that carries out commands on a machine of its own, and that
 * can be made to hold them, to answer them backwards, to refuse them and to redirect. And a
 * client's end. */
#ifndef MAILRAFT_TEST_UNIT_CLIENTS_UNIT_H
#define MAILRAFT_TEST_UNIT_CLIENTS_UNIT_H

#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "common/memory.h"
#include "server/clients/commands.h"
#include "test/unit/unit.h"

enum { SECONDS_MAX = 120 };

struct rig {
    struct mail_slot slot;
    struct report report;
    struct liveness liveness;
    struct configuration configuration;
    struct clients *clients;
    struct machine *machine;
    struct thread thread;
    struct mutex lock;
    struct condition changed;
    struct command_list waiting; /* Guarded by lock, as all below. */
    u32 posted;                  /* commands, since the beginning */
    char story[256];             /* of the first ones: W, R, r (a read after a write), s, S */
    bool held;
    bool backwards;
    bool refuses;
    bool redirects;
    bool ended;
};

UNIT_HELPER bool rig_try_post(struct mail_slot *slot, struct mail *mail)
{
    struct rig *rig = CONTAINER_OF(slot, struct rig, slot);
    mutex_lock(&rig->lock);
    bool takes = !rig->refuses;
    if (takes) {
        for (struct command *at = mail->as.commands.first; at != NULL; at = at->next) {
            char letter = at->class == COMMAND_WRITE    ? 'W'
                          : at->class == COMMAND_READ   ? (at->after_write ? 'r' : 'R')
                          : at->class == COMMAND_STATUS ? 's'
                                                        : 'S';
            if (rig->posted < sizeof(rig->story) - 1)
                rig->story[rig->posted] = letter;
            rig->posted++;
        }
        command_list_move(&rig->waiting, &mail->as.commands);
        condition_broadcast(&rig->changed);
    }
    mutex_unlock(&rig->lock);
    if (takes)
        mail_destroy(mail);
    return takes;
}

static const struct mail_slot_ops rig_slot_ops = {rig_try_post, rig_try_post};

static const char status_text[] = "raft_state:follower\r\nraft_current_term:7\r\n"
                                  "raft_leader_id:2\r\nraft_commit_index:99\r\n";

UNIT_HELPER void rig_execute(struct rig *rig, struct command *command, bool redirects)
{
    static const struct machine_context context = {{1, 1}, 0};
    struct buffer answer;
    buffer_init(&answer);
    if (redirects && command->may_redirect) {
        command_redirect(command, 2);
        return;
    }
    switch (command->class) {
    case COMMAND_WRITE:
        rig->machine->ops->apply(rig->machine, &context, command->body.data, command->body.size,
                                 &answer);
        break;
    case COMMAND_READ:
        rig->machine->ops->read(rig->machine, command->body.data, command->body.size, &answer);
        break;
    case COMMAND_STATUS:
        buffer_append_string(&answer, status_text);
        break;
    case COMMAND_RESET_STATISTICS:
        buffer_append_string(&answer, "+reset\r\n");
        break;
    case COMMAND_SNAPSHOT:
        buffer_append_string(&answer, ":17\r\n");
        break;
    case COMMAND_BACKUP: {
        struct backup_order order = command_backup_order(command);
        buffer_append_format(&answer, "*6\r\n:%llu\r\n:%llu\r\n:%llu\r\n:%u\r\n:%llu\r\n:%llu\r\n",
                             (unsigned long long)order.last.index,
                             (unsigned long long)order.last.term, (unsigned long long)order.size,
                             order.checksum, (unsigned long long)order.offset,
                             (unsigned long long)order.bytes_max);
        break;
    }
    case COMMAND_TRANSFER:
        buffer_append_format(&answer, ":%u\r\n", command_order_target(command));
        break;
    case COMMAND_SETTING:
        buffer_append_format(&answer, "+%s=%s\r\n", (const char *)command->body.data,
                             (const char *)command->body.data +
                                 strlen((const char *)command->body.data) + 1);
        break;
    }
    command_answer(command, answer.data, answer.size);
    buffer_deinit(&answer);
}

/* Executes in order; answers in order, or the last one first. */
UNIT_HELPER void rig_work(struct rig *rig, struct command_list *list, bool backwards,
                          bool redirects)
{
    struct command *command;
    struct command *stack = NULL;
    while ((command = command_list_take(list)) != NULL) {
        if (!backwards) {
            rig_execute(rig, command, redirects);
        } else {
            command->next = stack;
            stack = command;
        }
    }
    while (stack != NULL) {
        command = stack;
        stack = command->next;
        command->next = NULL;
        rig_execute(rig, command, redirects);
    }
}

UNIT_HELPER void rig_run(void *context)
{
    struct rig *rig = context;
    mutex_lock(&rig->lock);
    while (!rig->ended) {
        while (!rig->ended && (rig->held || rig->waiting.count == 0))
            condition_wait(&rig->changed, &rig->lock);
        struct command_list list = {0};
        command_list_move(&list, &rig->waiting);
        bool backwards = rig->backwards;
        bool redirects = rig->redirects;
        mutex_unlock(&rig->lock);
        struct command_sink *sink = list.first == NULL ? NULL : list.first->sink;
        rig_work(rig, &list, backwards, redirects);
        if (sink != NULL)
            sink->ops->flush(sink);
        mutex_lock(&rig->lock);
    }
    mutex_unlock(&rig->lock);
}

UNIT_HELPER void rig_set(struct rig *rig, bool *flag, bool value)
{
    mutex_lock(&rig->lock);
    *flag = value;
    condition_broadcast(&rig->changed);
    mutex_unlock(&rig->lock);
}

UNIT_HELPER void rig_wait_posted(struct rig *rig, u32 count)
{
    mutex_lock(&rig->lock);
    while (rig->posted < count)
        condition_wait(&rig->changed, &rig->lock);
    mutex_unlock(&rig->lock);
}

UNIT_HELPER u32 rig_posted(struct rig *rig)
{
    mutex_lock(&rig->lock);
    u32 posted = rig->posted;
    mutex_unlock(&rig->lock);
    return posted;
}

UNIT_HELPER u32 rig_config_get(void *context, const char *pattern, struct buffer *to)
{
    (void)context;
    if (strcmp(pattern, "heartbeat") != 0)
        return 0;
    buffer_append_string(to, "$9\r\nheartbeat\r\n$4\r\n50ms\r\n");
    return 1;
}

UNIT_HELPER enum error_code rig_config_check(void *context, const char *key, const char *value,
                                             struct error *error)
{
    (void)context;
    if (strcmp(key, "heartbeat") != 0)
        return error_set(error, ERROR_CONFIG, "unknown key %s for %s", key, value);
    return ERROR_NONE;
}

UNIT_HELPER void drop_line(void *context, enum report_level level, const char *line, size_t size)
{
    (void)context;
    (void)level;
    (void)line;
    (void)size;
}

UNIT_HELPER struct rig *rig_create_bounded(u32 connections_max, u64 output_max, u64 memory_max,
                                           u64 stall_ns)
{
    struct rig *rig = memory_alloc_zero(1, sizeof(*rig));
    struct error error;
    error_clear(&error);
    rig->slot.ops = &rig_slot_ops;
    rig->report.write = drop_line;
    liveness_init(&rig->liveness);
    mutex_init(&rig->lock);
    condition_init(&rig->changed);
    for (server_id id = 1; id <= 3; id++) {
        char peer[ADDRESS_SIZE];
        char client[ADDRESS_SIZE];
        (void)snprintf(peer, sizeof(peer), "127.0.0.1:700%u", id);
        (void)snprintf(client, sizeof(client), "127.0.0.1:600%u", id);
        ck_assert_int_eq(configuration_add(&rig->configuration, id, peer, client, &error),
                         ERROR_NONE);
    }
    struct kv_limits limits = {
        .key_bytes_max = 1024, .value_bytes_max = 8U << 20, .answer_bytes_max = 16U << 20};
    rig->machine = kv_create();
    struct clients_options options = {
        .self = 1,
        .configuration = &rig->configuration,
        .listen_address = "127.0.0.1:0",
        .limits = limits,
        .connections_max = connections_max,
        .input_bytes_max = 16 * MIB,
        .output_bytes_max = output_max,
        .memory_bytes_max = memory_max,
        .stall_ns_max = stall_ns,
        .arguments_max = 1024,
        .config_get = rig_config_get,
        .config_check = rig_config_check,
        .liveness = &rig->liveness,
    };
    ck_assert_int_eq(thread_start(&rig->thread, "server", rig_run, rig, &error), ERROR_NONE);
    ck_assert_msg(clients_create(&options, &rig->slot, &rig->report, &rig->clients, &error) ==
                      ERROR_NONE,
                  "%s", error.text);
    return rig;
}

UNIT_HELPER void rig_destroy(struct rig *rig)
{
    clients_stop(rig->clients);
    /* As the server may go now, so does this. */
    liveness_deinit(&rig->liveness);
    memset(&rig->liveness, 0xee, sizeof(rig->liveness));
    rig_set(rig, &rig->ended, true);
    thread_join(&rig->thread);
    command_list_fail(&rig->waiting, COMMAND_STOPPING);
    clients_destroy(rig->clients);
    rig->machine->ops->destroy(rig->machine);
    condition_deinit(&rig->changed);
    mutex_deinit(&rig->lock);
    memory_free(rig);
}

UNIT_HELPER struct rig *rig_create(u32 connections_max, u64 output_max)
{
    return rig_create_bounded(connections_max, output_max, 512 * MIB, 600 * NS_PER_S);
}

UNIT_HELPER struct rig *rig_create_usual(void)
{
    return rig_create(100, 16 * MIB);
}

/* ---- a client ---- */

UNIT_HELPER void dial_with(struct rig *rig, int fd)
{
    struct timeval patience = {.tv_sec = SECONDS_MAX};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(clients_port(rig->clients)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ck_assert_int_eq(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
}

UNIT_HELPER int dial(struct rig *rig)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    dial_with(rig, fd);
    return fd;
}

UNIT_HELPER void say_bytes(int fd, const void *data, size_t size)
{
    const char *at = data;
    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);
        ck_assert_int_gt(sent, 0);
        at += sent;
        size -= (size_t)sent;
    }
}

UNIT_HELPER void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

UNIT_HELPER void hear_bytes(int fd, void *to, size_t size)
{
    char *at = to;
    while (size > 0) {
        ssize_t got = recv(fd, at, size, 0);
        ck_assert_msg(got > 0, "the connection ended %zu bytes too early", size);
        at += got;
        size -= (size_t)got;
    }
}

UNIT_HELPER void expect(int fd, const char *text)
{
    size_t size = strlen(text);
    char *got = malloc(size + 1);
    hear_bytes(fd, got, size);
    got[size] = '\0';
    ck_assert_str_eq(got, text);
    free(got);
}

UNIT_HELPER void expect_end(int fd)
{
    char byte;
    ck_assert_int_le(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

/* The contents of a bulk string, NUL-terminated; the caller frees. */
UNIT_HELPER char *hear_bulk(int fd)
{
    char line[32] = "";
    for (size_t i = 0; i < sizeof(line) - 1; i++) {
        hear_bytes(fd, line + i, 1);
        if (line[i] == '\n')
            break;
    }
    ck_assert_msg(line[0] == '$', "%s", line);
    size_t size = strtoul(line + 1, NULL, 10);
    char *text = malloc(size + 3);
    hear_bytes(fd, text, size + 2);
    text[size] = '\0';
    return text;
}

UNIT_HELPER void ask(int fd, const char *request, const char *answer)
{
    say(fd, request);
    expect(fd, answer);
}

#endif
