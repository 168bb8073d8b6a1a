/* one_server.h - one real server, its thread and its disk (memory_vfs.h), and a test in place of
 * the network and of its clients: what it says is kept, and nothing is answered that the test does
 * not answer. So the loops themselves are driven, in each design, with what acts and carries out.
 *
 * It is server 1 of three, its log "1" (the configuration). Its election timer is held. */
#ifndef MAILRAFT_TEST_UNIT_ONE_SERVER_H
#define MAILRAFT_TEST_UNIT_ONE_SERVER_H

#include <stdarg.h>
#include <time.h>

#include "common/clock.h"
#include "server/server.h"
#include "test/unit/founded_server.h"
#include "test/unit/rules_unit.h"

enum { ONE_SENT_MAX = 512, ONE_TEXT_MAX = 4096 };
/* Nothing here takes a hundredth of it. */
#define ONE_PATIENCE_NS (20 * NS_PER_S)

/* Guarded by one_lock: what has left the server. */
static pthread_mutex_t one_lock = PTHREAD_MUTEX_INITIALIZER;
static struct message one_sent[ONE_SENT_MAX];
static u32 one_sent_count;
static char one_answers[ONE_TEXT_MAX]; /* "1:+OK 2:-ERR..." in the order in which they came */
static char one_applied[ONE_TEXT_MAX]; /* "2:x 3:y" */
static char one_said[16 * 1024];
static bool one_cannot_forward; /* the network refuses FORWARD */

static struct memory_vfs *one_disk;
static struct server *one_server;
static struct error one_error;
static enum error_code one_code;
static pthread_t one_thread;
static bool one_runs;
static u32 one_looked; /* messages that the test has seen */

static void one_add(char *text, const char *format, ...) PRINTF_LIKE(2, 3);
static void one_add(char *text, const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(text);
    va_start(arguments, format);
    (void)vsnprintf(text + used, ONE_TEXT_MAX - used, format, arguments);
    va_end(arguments);
}

/* ---- the network ---- */

static bool one_send(struct transport *transport, struct message *message)
{
    (void)transport;
    pthread_mutex_lock(&one_lock);
    bool sent = message->kind != MESSAGE_FORWARD || !one_cannot_forward;
    ck_assert_uint_lt(one_sent_count, ONE_SENT_MAX);
    if (sent)
        one_sent[one_sent_count++] = *message;
    else
        message_release(message);
    pthread_mutex_unlock(&one_lock);
    message->span_count = 0;
    return sent;
}

static char one_pulses[ONE_TEXT_MAX]; /* "7/80 ": how often, and for how long, in ms */

static void one_pulse(struct transport *transport, u64 every_ns, u64 for_ns)
{
    (void)transport;
    pthread_mutex_lock(&one_lock);
    one_add(one_pulses, "%ju/%ju ", (uintmax_t)(every_ns / NS_PER_MS),
            (uintmax_t)(for_ns / NS_PER_MS));
    pthread_mutex_unlock(&one_lock);
}

/* Of the settings these two are known: "heartbeat" and "election-timeout", in ms. */
static enum error_code one_set(void *context, const char *key, const char *value,
                               struct server_options *options, struct error *error)
{
    (void)context;
    u64 ns = strtoull(value, NULL, 10) * NS_PER_MS;
    if (strcmp(key, "heartbeat") == 0)
        options->heartbeat_ns = ns;
    else if (strcmp(key, "election-timeout") == 0)
        options->election_timeout_ns_min = options->election_timeout_ns_max = ns;
    else
        return error_set(error, ERROR_CONFIG, "%s is not known", key);
    return ERROR_NONE;
}

static u64 one_rooms[4]; /* transport_ops.room to each server, bytes */

static u64 one_room(struct transport *transport, server_id to)
{
    (void)transport;
    pthread_mutex_lock(&one_lock);
    u64 room = one_rooms[to];
    pthread_mutex_unlock(&one_lock);
    return room;
}

/* There is so much room now; the server is not told. */
static inline void one_set_room(server_id to, u64 room)
{
    pthread_mutex_lock(&one_lock);
    one_rooms[to] = room;
    pthread_mutex_unlock(&one_lock);
}

static const struct transport_ops one_transport_ops = {
    .send = one_send, .pulse = one_pulse, .room = one_room};
static struct transport one_transport = {&one_transport_ops};

/* ---- the machine: it notes what it is given ---- */

static void one_apply(struct machine *machine, const struct machine_context *context,
                      const u8 *command, size_t size, struct buffer *answer)
{
    (void)machine;
    pthread_mutex_lock(&one_lock);
    one_add(one_applied, "%s%llu:%.*s", one_applied[0] == '\0' ? "" : " ",
            (unsigned long long)context->id.index, (int)size, (const char *)command);
    pthread_mutex_unlock(&one_lock);
    if (answer != NULL)
        buffer_append_format(answer, "+done %.*s\r\n", (int)size, (const char *)command);
}

static void one_read(struct machine *machine, const u8 *command, size_t size, struct buffer *answer)
{
    (void)machine;
    buffer_append_format(answer, "+read %.*s\r\n", (int)size, (const char *)command);
}

static u64 one_digest(const struct machine *machine)
{
    (void)machine;
    return 1;
}

static void one_destroy(struct machine *machine)
{
    free(machine);
}

static const struct machine_ops one_machine_ops = {
    .apply = one_apply, .read = one_read, .digest = one_digest, .destroy = one_destroy};

static inline struct machine *one_machine(void)
{
    struct machine *machine = malloc(sizeof(*machine));
    machine->ops = &one_machine_ops;
    return machine;
}

/* ---- its clients ---- */

static u32 one_order_result; /* of the newest answer */

static void one_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                       size_t size)
{
    (void)sink;
    pthread_mutex_lock(&one_lock);
    one_add(one_answers, "%s%llu:%.*s", one_answers[0] == '\0' ? "" : " ",
            (unsigned long long)command->slot, (int)(size > 2 ? size - 2 : size),
            (const char *)answer);
    one_order_result = command->order_result;
    pthread_mutex_unlock(&one_lock);
    command_destroy(command);
}

static void one_redirect(struct command_sink *sink, struct command *command, server_id leader)
{
    (void)sink;
    pthread_mutex_lock(&one_lock);
    one_add(one_answers, "%s%llu:to %u", one_answers[0] == '\0' ? "" : " ",
            (unsigned long long)command->slot, leader);
    pthread_mutex_unlock(&one_lock);
    command_destroy(command);
}

static void one_flush(struct command_sink *sink)
{
    (void)sink;
}

static const struct command_sink_ops one_sink_ops = {one_answer, one_redirect, one_flush, NULL};
static struct command_sink one_sink = {&one_sink_ops};

/* ---- its life ---- */

static void one_line(void *context, enum report_level level, const char *line, size_t size)
{
    (void)context, (void)level;
    pthread_mutex_lock(&one_lock);
    size_t used = strlen(one_said);
    if (used + size < sizeof(one_said)) {
        memcpy(one_said + used, line, size);
        one_said[used + size] = '\0';
    }
    pthread_mutex_unlock(&one_lock);
}

static void *one_main(void *argument)
{
    (void)argument;
    one_code = server_run(one_server, &one_transport, &one_error);
    return NULL;
}

/* Starts it on the disk that is there. */
static inline void one_start(const struct server_options *options)
{
    static struct report report;
    report = (struct report){.format = REPORT_LOGFMT, .write = one_line};
    atomic_store(&report.level, (int)REPORT_INFO);
    struct server_world world = {.vfs = &one_disk->vfs, .report = &report, .set = one_set};
    one_said[0] = one_answers[0] = one_applied[0] = one_pulses[0] = '\0';
    one_cannot_forward = false;
    for (size_t i = 0; i < ARRAY_LENGTH(one_rooms); i++)
        one_rooms[i] = MIB;
    one_sent_count = one_looked = 0;
    one_disk->locked = false;
    error_clear(&one_error);
    enum error_code code = server_create(options, &world, one_machine(), &one_server, &one_error);
    ck_assert_msg(code == ERROR_NONE, "%s", one_error.text);
    one_server->timers_held = true;
    ck_assert_int_eq(pthread_create(&one_thread, NULL, one_main, NULL), 0);
    one_runs = true;
}

static inline void one_begin(enum server_design design)
{
    one_disk = founded_disk();
    struct server_options options = founded_options(design);
    one_start(&options);
}

/* Posts mail; the server may have stopped meanwhile. */
static inline void one_post(struct mail *mail)
{
    (void)mail_post(server_slot(one_server), mail);
}

static inline void one_tell(enum mail_kind kind, server_id peer)
{
    struct mail *mail = mail_create(kind);
    mail->as.peer = peer;
    one_post(mail);
}

/* Waits until it has stopped by itself. */
static inline void one_join(void)
{
    ck_assert_int_eq(pthread_join(one_thread, NULL), 0);
    one_runs = false;
}

/* Ends the process, by order if it still runs; the disk stays. */
static inline void one_stop(void)
{
    if (one_runs) {
        one_tell(MAIL_STOP, SERVER_NONE);
        one_join();
    }
    server_close(one_server);
    server_destroy(one_server);
    for (u32 i = 0; i < one_sent_count; i++)
        message_release(&one_sent[i]);
    one_sent_count = 0;
}

static inline void one_end(void)
{
    one_stop();
    memory_destroy(one_disk);
}

/* ---- the test's side ---- */

static inline void one_hand(struct message message)
{
    struct mail *mail = mail_create((enum mail_kind)message.kind);
    message.to = 1;
    mail->as.message = message;
    one_post(mail);
}

static inline void one_wait(u64 deadline_ns)
{
    ck_assert_msg(clock_monotonic_ns() < deadline_ns, "nothing came in time; said:\n%s", one_said);
    struct timespec rest = {.tv_nsec = NS_PER_MS};
    (void)nanosleep(&rest, NULL);
}

/* The next message of the kind to that server, behind those seen so far; others are passed over. */
static inline const struct message *one_next(enum message_kind kind, server_id to)
{
    u64 deadline_ns = clock_monotonic_ns() + ONE_PATIENCE_NS;
    for (;; one_wait(deadline_ns)) {
        const struct message *found = NULL;
        pthread_mutex_lock(&one_lock);
        while (found == NULL && one_looked < one_sent_count) {
            const struct message *message = &one_sent[one_looked++];
            if (message->kind == kind && message->to == to)
                found = message;
        }
        pthread_mutex_unlock(&one_lock);
        if (found != NULL)
            return found;
    }
}

/* Begins anew with the messages sent so far. */
static inline void one_rewind(void)
{
    one_looked = 0;
}

static inline u32 one_count(enum message_kind kind)
{
    u32 count = 0;
    pthread_mutex_lock(&one_lock);
    for (u32 i = 0; i < one_sent_count; i++)
        count += one_sent[i].kind == kind;
    pthread_mutex_unlock(&one_lock);
    return count;
}

static inline void one_await(const char *text, const char *wanted)
{
    u64 deadline_ns = clock_monotonic_ns() + ONE_PATIENCE_NS;
    for (;;) {
        pthread_mutex_lock(&one_lock);
        bool same = strcmp(text, wanted) == 0;
        bool passed = clock_monotonic_ns() > deadline_ns;
        ck_assert_msg(same || !passed, "\"%s\", and it should be \"%s\"", text, wanted);
        pthread_mutex_unlock(&one_lock);
        if (same)
            return;
        one_wait(deadline_ns + NS_PER_S);
    }
}

static inline void one_await_said(const char *words)
{
    u64 deadline_ns = clock_monotonic_ns() + ONE_PATIENCE_NS;
    for (bool there = false; !there;) {
        pthread_mutex_lock(&one_lock);
        there = strstr(one_said, words) != NULL;
        pthread_mutex_unlock(&one_lock);
        if (!there)
            one_wait(deadline_ns);
    }
}

static inline struct command *one_command(enum command_class class, u64 slot, const char *body)
{
    struct block *block = block_create_copy(body, (u32)strlen(body) + 1);
    struct span span = span_of(block, block->data, (u32)strlen(body));
    block_release(block);
    struct command *command = command_create(class, span, &one_sink);
    command->slot = slot;
    command->arrived_ns = clock_monotonic_ns();
    return command;
}

static inline void one_ask(struct command *command)
{
    struct mail *mail = mail_create(MAIL_COMMANDS);
    command_list_put(&mail->as.commands, command);
    one_post(mail);
}

/* It wins an election of the next term by the vote of server 2, and has its no-op committed by
 * it. Returns the term. */
static inline u64 one_lead(void)
{
    one_tell(MAIL_CAMPAIGN, SERVER_NONE);
    const struct message *request = one_next(MESSAGE_REQUEST_VOTE, 2);
    u64 term = request->term;
    struct message vote = {
        .kind = MESSAGE_REQUEST_VOTE_REPLY, .from = 2, .term = term, .call = request->call};
    vote.as.vote_reply.granted = true;
    one_hand(vote);
    const struct message *append = one_next(MESSAGE_APPEND_ENTRIES, 2);
    ck_assert_uint_eq(append->as.append_request.count, 1);
    struct message reply = {
        .kind = MESSAGE_APPEND_ENTRIES_REPLY, .from = 2, .term = term, .call = append->call};
    reply.as.append_reply = (struct append_reply){
        .result = APPEND_ACCEPTED,
        .match_index = append->as.append_request.prev.index + append->as.append_request.count,
        .round = append->as.append_request.round};
    one_hand(reply);
    return term;
}

/* Server 2 accepts what it was just sent. */
static inline void one_accept(const struct message *append)
{
    struct message reply = {.kind = MESSAGE_APPEND_ENTRIES_REPLY,
                            .from = append->to,
                            .term = append->term,
                            .call = append->call};
    reply.as.append_reply = (struct append_reply){
        .result = APPEND_ACCEPTED,
        .match_index = append->as.append_request.prev.index + append->as.append_request.count,
        .round = append->as.append_request.round};
    one_hand(reply);
}

#endif
