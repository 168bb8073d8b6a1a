/* server_unit.h - one server whose thread is the test's: its functions and loops are called by
 * hand, and what passes its seams meanwhile is noted on a tape, in order.
 *
 *     begin("1 1 2");
 *     ck_assert(server_flush(server, NULL));
 *     CK_TAPE("write log, sync log, send append-reply>2");
 *     end();
 *
 * That begins server 1 of three in term 2; entry 1 is the configuration, the others are commands
 * "x", and all of it is on its disk.
 *
 * On the tape: "write log" and "sync log" (of metadata and peers, too), "send KIND>SERVER"
 * (and which entries, or whose bodies), "apply INDEX:TEXT", "read TEXT", "answer A1:+done x" (of
 * the client A, slot 1), "flush A", "redirect A1>2", "back A1". */
#ifndef MAILRAFT_TEST_UNIT_SERVER_UNIT_H
#define MAILRAFT_TEST_UNIT_SERVER_UNIT_H

#include <stdarg.h>
#include <time.h>

#include "common/clock.h"
#include "server/machine/kv.h"
#include "server/replica/flush.h"
#include "server/replica/install.h"
#include "server/replica/persist.h"
#include "server/replica/round.h"
#include "server/replica/snapshot.h"
#include "server/server.h"
#include "test/unit/founded_server.h"
#include "test/unit/rules_unit.h"

enum { TAPE_SIZE = 8192, SENT_MAX = 64, CLIENTS = 12 };

UNIT_HELPER struct server *server;
UNIT_HELPER struct memory_vfs *disk;
UNIT_HELPER char tape[TAPE_SIZE];
UNIT_HELPER char said[TAPE_SIZE];   /* the server's log */
UNIT_HELPER char traced[TAPE_SIZE]; /* the event trace: names */
UNIT_HELPER const char *disk_fails; /* "sync log": that fails from now on */
UNIT_HELPER u64 disk_syncs_ns;      /* how long each sync takes */
UNIT_HELPER bool with_kv;           /* the machine is the key-value store, which has snapshots */
UNIT_HELPER bool network_fails;     /* nothing is sent */
UNIT_HELPER struct message sent[SENT_MAX];
UNIT_HELPER u32 sent_count;

/* What is on the tape; it is empty afterwards. */
#define CK_TAPE(wanted)                   \
    do {                                  \
        ck_assert_str_eq(tape, (wanted)); \
        tape[0] = '\0';                   \
    } while (0)
#define CK_SAID(words) ck_assert_msg(strstr(said, (words)) != NULL, "said: %s", said)

static void note(const char *format, ...) PRINTF_LIKE(1, 2);
static void note(const char *format, ...)
{
    va_list arguments;
    size_t used = strlen(tape);
    if (used > 0)
        used += (size_t)snprintf(tape + used, TAPE_SIZE - used, ", ");
    ck_assert_uint_lt(used, TAPE_SIZE);
    va_start(arguments, format);
    (void)vsnprintf(tape + used, TAPE_SIZE - used, format, arguments);
    va_end(arguments);
}

static void add_text(char *text, const char *more, size_t size)
{
    size_t used = strlen(text);
    size = u64_min(size, TAPE_SIZE - 1 - used);
    memcpy(text + used, more, size);
    text[used + size] = '\0';
}

/* ---- the disk: what the test's thread does to it ---- */

static pthread_t disk_of;

static bool disk_does(struct vfs_file *file, const char *what)
{
    const char *name =
        memory_of(file->vfs)->inodes[CONTAINER_OF(file, struct memory_file, file)->inode].name;
    char step[MEMORY_NAME_MAX + 8];
    if (!pthread_equal(pthread_self(), disk_of))
        return true; /* the job that makes segments */
    (void)snprintf(step, sizeof(step), "%s %s", what, strncmp(name, "log/", 4) == 0 ? "log" : name);
    note("%s", step);
    return disk_fails == NULL || strcmp(step, disk_fails) != 0;
}

static enum error_code disk_write(struct vfs_file *file, const struct iovec *pieces, int count,
                                  u64 offset, struct error *error)
{
    if (!disk_does(file, "write"))
        return error_set(error, ERROR_IO, "injected fault");
    return memory_write_at(file, pieces, count, offset, error);
}

static enum error_code disk_sync(struct vfs_file *file, struct error *error)
{
    if (!disk_does(file, "sync"))
        return error_set(error, ERROR_IO, "injected fault");
    if (pthread_equal(pthread_self(), disk_of) && disk_syncs_ns > 0) {
        struct timespec rest = {.tv_nsec = (long)disk_syncs_ns};
        (void)nanosleep(&rest, NULL);
    }
    return memory_sync(file, error);
}

static struct vfs_ops disk_ops;

/* ---- the network ---- */

/* What it carries: ":3-4", entries, or ":a b", commands. */
static void note_payload(const struct message *message)
{
    char text[128];
    if (message->kind == MESSAGE_APPEND_ENTRIES && message->as.append_request.count > 0) {
        u64 first = message->as.append_request.prev.index + 1;
        (void)snprintf(text, sizeof(text), ":%llu-%llu", (unsigned long long)first,
                       (unsigned long long)(first + message->as.append_request.count - 1));
        add_text(tape, text, strlen(text));
    }
    if (message->kind != MESSAGE_FORWARD)
        return;
    const u8 *at = message->spans[0].data;
    for (u32 i = 0; i < message->as.forward_request.count; i++) {
        u32 size = load_u32(at + 4);
        add_text(tape, i == 0 ? ":" : " ", 1);
        add_text(tape, (const char *)at + 8, size);
        at += 8 + size;
    }
}

static bool transport_send(struct transport *transport, struct message *message)
{
    (void)transport;
    if (!network_fails) {
        note("send %s>%u", message_kind_word(message->kind), message->to);
        note_payload(message);
        ck_assert_uint_lt(sent_count, SENT_MAX);
        sent[sent_count++] = *message;
    }
    message_release(message);
    return !network_fails;
}

static const struct transport_ops transport_ops = {.send = transport_send};
static struct transport transport = {&transport_ops};

/* The newest message of the kind; its spans are gone. */
UNIT_HELPER const struct message *newest(enum message_kind kind)
{
    for (u32 i = sent_count; i > 0; i--) {
        if (sent[i - 1].kind == kind)
            return &sent[i - 1];
    }
    ck_abort_msg("no %s was sent", message_kind_word(kind));
}

/* ---- the machine ---- */

UNIT_HELPER u64 machine_works;      /* bytes that each command touches */
UNIT_HELPER size_t machine_answers; /* the size of its answers; 0: as short as they are */

static void machine_apply(struct machine *machine, const struct machine_context *context,
                          const u8 *command, size_t size, struct buffer *answer)
{
    (void)machine;
    note("apply %llu:%.*s", (unsigned long long)context->id.index, (int)size,
         (const char *)command);
    if (answer != NULL)
        buffer_append_format(answer, "+done %.*s\r\n", (int)size, (const char *)command);
}

static void machine_read(struct machine *machine, const u8 *command, size_t size,
                         struct buffer *answer)
{
    (void)machine;
    note("read %.*s", (int)size, (const char *)command);
    buffer_append_format(answer, "+read %.*s\r\n", (int)size, (const char *)command);
    while (answer->size < machine_answers)
        buffer_append_string(answer, "0123456789abcdef");
}

static u64 machine_digest(const struct machine *machine)
{
    (void)machine;
    return 0x1234;
}

static u64 machine_work(struct machine *machine)
{
    (void)machine;
    return machine_works;
}

static void machine_destroy(struct machine *machine)
{
    free(machine);
}

static const struct machine_ops machine_ops = {.apply = machine_apply,
                                               .read = machine_read,
                                               .digest = machine_digest,
                                               .destroy = machine_destroy,
                                               .work = machine_work};

/* ---- clients: A, B, C, ... ---- */

struct client {
    struct command_sink sink;
    char name;
};

static struct client clients[CLIENTS];

static char name_of(struct command_sink *sink)
{
    return CONTAINER_OF(sink, struct client, sink)->name;
}

/* Of a long answer the beginning. */
static void client_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                          size_t size)
{
    int length = (int)u64_min(strcspn((const char *)answer, "\r;"), u64_min(size, 40));
    note("answer %c%llu:%.*s", name_of(sink), (unsigned long long)command->slot, length,
         (const char *)answer);
    command_destroy(command);
}

static void client_redirect(struct command_sink *sink, struct command *command, server_id leader)
{
    note("redirect %c%llu>%u", name_of(sink), (unsigned long long)command->slot, leader);
    command_destroy(command);
}

static void client_flush(struct command_sink *sink)
{
    note("flush %c", name_of(sink));
}

static void client_give_back(struct command_sink *sink, struct command *command)
{
    note("back %c%llu", name_of(sink), (unsigned long long)command->slot);
    command_destroy(command);
}

static const struct command_sink_ops client_ops = {client_answer, client_redirect, client_flush,
                                                   client_give_back};

/* A command of client "A" or another. */
UNIT_HELPER struct command *command_of(char client, enum command_class class, u64 slot,
                                       const char *body)
{
    struct block *block = block_create_copy(body, (u32)strlen(body) + 1);
    struct span span = span_of(block, block->data, (u32)strlen(body));
    block_release(block);
    struct command *command = command_create(class, span, &clients[client - 'A'].sink);
    command->slot = slot;
    command->arrived_ns = clock_monotonic_ns();
    return command;
}

UNIT_HELPER struct command *order_of(char client, u64 slot, server_id target)
{
    struct command *order =
        command_create(COMMAND_TRANSFER, command_order_body(target), &clients[client - 'A'].sink);
    order->slot = slot;
    order->arrived_ns = clock_monotonic_ns();
    return order;
}

/* ---- its life ---- */

static void say_line(void *context, enum report_level level, const char *line, size_t size)
{
    (void)context, (void)level;
    if (pthread_equal(pthread_self(), disk_of))
        add_text(said, line, size);
}

static void trace_line(void *context, const char *line, size_t size)
{
    (void)context, (void)size;
    const char *name = strchr(line, ':') + 2;
    if (traced[0] != '\0')
        add_text(traced, " ", 1);
    add_text(traced, name, strcspn(name, "\""));
}

/* A server that founds a cluster of three, before its first start. */
UNIT_HELPER void make_disk(void)
{
    disk = founded_disk();
    disk_of = pthread_self();
    disk_ops = memory_ops;
    disk_ops.write_at = disk_write;
    disk_ops.sync = disk_sync;
    disk->vfs.ops = &disk_ops;
}

/* Starts a server on the disk, with that machine. */
UNIT_HELPER enum error_code try_start(const struct server_options *options, struct machine *machine,
                                      struct error *error)
{
    static struct report report;
    static struct trace trace = {.write = trace_line};
    struct server_world world = {.vfs = &disk->vfs, .report = &report, .trace = &trace};
    report = (struct report){.format = REPORT_LOGFMT, .write = say_line};
    atomic_store(&report.level, (int)REPORT_INFO);
    for (u32 i = 0; i < CLIENTS; i++)
        clients[i] = (struct client){{&client_ops}, (char)('A' + i)};
    disk->locked = false;
    disk_fails = NULL;
    disk_syncs_ns = 0;
    network_fails = false;
    machine_works = machine_answers = sent_count = 0;
    tape[0] = said[0] = traced[0] = '\0';
    error_clear(error);
    enum error_code code = server_create(options, &world, machine, &server, error);
    if (code == ERROR_NONE) {
        server->transport = &transport;
        server->raft.room_bytes = storage_room_soon(server->storage);
    }
    return code;
}

UNIT_HELPER void start(const struct server_options *options)
{
    struct error error;
    struct machine *machine = with_kv ? kv_create() : malloc(sizeof(*machine));
    if (!with_kv)
        machine->ops = &machine_ops;
    ck_assert_msg(try_start(options, machine, &error) == ERROR_NONE, "%s", error.text);
}

UNIT_HELPER void begin_with(const struct server_options *options, const char *terms)
{
    make_disk();
    start(options);
    struct raft *raft = &server->raft;
    ck_assert_int_eq(terms[0], '1'); /* the configuration's */
    log_add(&raft->log, terms + 1 + (terms[1] == ' '));
    if (log_last(&raft->log).term > raft->current_term)
        adopt_term(raft, log_last(&raft->log).term);
    ck_assert(server_save(server));
    tape[0] = said[0] = traced[0] = '\0';
}

UNIT_HELPER void begin(const char *terms)
{
    struct server_options options = founded_options(DESIGN_PER_STATE);
    begin_with(&options, terms);
}

/* Ends the process; the disk stays. */
UNIT_HELPER void stop(void)
{
    server_destroy(server);
    server = NULL;
}

UNIT_HELPER void end(void)
{
    stop();
    memory_destroy(disk);
}

/* With the key-value store: takes a snapshot of what is applied. Its news are read here. */
UNIT_HELPER void take_snapshot(void)
{
    u64 taken = server->snapshot.taken;
    u64 deadline_ns = clock_monotonic_ns() + 20 * NS_PER_S;
    server->snapshot.wanted = true;
    while (server->snapshot.taken == taken) {
        u64 now_ns;
        ck_assert(server_flush(server, NULL));
        (void)server_collect(server, deadline_ns, &now_ns);
        ck_assert_msg(now_ns < deadline_ns, "no snapshot was taken; said: %s", said);
        const struct mail *mail;
        while ((mail = server_next_mail(server)) != NULL) {
            ck_assert_int_eq(mail->kind, MAIL_SNAPSHOT);
            server_take_snapshot_news(server, &mail->as.snapshot);
        }
    }
    tape[0] = '\0';
}

/* ---- for the loops: mail that is there before they run ---- */

/* The election timeout is at least that, and hardly more. */
UNIT_HELPER void time_out_after(u64 ns)
{
    server->raft.election_timeout_ns_min = ns;
    server->raft.election_timeout_ns_max = ns + 1;
}

/* Each letter is a pile of its own. */
UNIT_HELPER void read_one_by_one(void)
{
    server->raft.round_bytes_max = 1;
}

/* The mail that lies on the pile: who left it there did not deal with it. MAIL_STOP: none. */
UNIT_HELPER enum mail_kind left_on_pile(void)
{
    return server->pile.first != NULL ? server->pile.first->kind : MAIL_STOP;
}

UNIT_HELPER void post(struct mail *mail)
{
    ck_assert(mail_post(server_slot(server), mail));
}

/* As the loop before leaves an order to campaign: read, and put back. */
UNIT_HELPER void put_back_order(void)
{
    struct mail *mail = mail_create(MAIL_CAMPAIGN);
    mail->opened = true;
    mail_pile_put_back(&server->pile, mail);
}

UNIT_HELPER void tell(enum mail_kind kind, server_id peer)
{
    struct mail *mail = mail_create(kind);
    mail->as.peer = peer;
    post(mail);
}

UNIT_HELPER void hand(struct message message)
{
    struct mail *mail = mail_create((enum mail_kind)message.kind);
    message.to = 1;
    mail->as.message = message;
    post(mail);
}

/* Server 2 says that it does not recognise another directory, and then this server's. */
UNIT_HELPER void hand_unrecognised(u64 term)
{
    const struct identity *own = &server->raft.trust.own;
    struct message told = {.kind = MESSAGE_UNRECOGNISED, .from = 2, .term = term, .call = 1};
    told.as.unrecognised = (struct unrecognised){.directory_id = own->directory_id + 1,
                                                 .start_count = own->start_count,
                                                 .why = DISTRUST_SET_BACK};
    hand(told);
    told.as.unrecognised.directory_id = own->directory_id;
    hand(told);
}

UNIT_HELPER void ask(struct command *command)
{
    struct mail *mail = mail_create(MAIL_COMMANDS);
    command_list_put(&mail->as.commands, command);
    post(mail);
}

#endif
