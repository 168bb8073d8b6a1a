/* raftpipe.c - one server's Raft over standard input and output.
 *
 * Network, disk and application are the process that started it: a test bench, a course, another
 * language. The server inside is the shipped one, in any of its designs, with its threads and real
 * time. It keeps nothing: what must survive goes out in D frames, and comes back in the I frame of
 * the next life.
 *
 * Frame: u32 length of what follows, u8 type, payload. Numbers are little-endian. A field of type
 * `bytes` is a u32 length and so many bytes, also when it comes last; a message, a command or a
 * snapshot that has no type below runs to the end of its payload. Servers are numbered from 0.
 *
 *   in    I  u32 me, u32 count, bytes state, bytes snapshot     first of all; empty the first time
 *         R  u32 from, u32 request id, message                  a request of another server
 *         P  u32 from, message                                  the reply to a request of ours
 *         S  u32 id, command                                    propose
 *         G  u32 id                                             ask for term and leadership
 *         N  u64 index, snapshot                                the application has taken one
 *   out   D  bytes state, bytes snapshot                        keep both, before what follows
 *         Q  u32 to, message                                    a request
 *         r  u32 request id, message                            the reply to R; each R has one
 *         s  u32 id, u64 index, u64 term, u8 is leader          the answer to S and G
 *         A  u64 index, command                                 committed: apply it
 *         a  u64 index, u64 term, snapshot                      in place of the application's state
 *
 * End of input ends it with 0. A frame that makes no sense ends it with 65 and a line that says
 * which one and why. */
#include <argp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/process.h"
#include "common/quantity.h"
#include "common/version.h"
#include "server/replica/replica.h"
#include "server/server.h"
#include "server/storage/snapshot.h"
#include "tools/raftpipe/input.h"
#include "tools/raftpipe/pipe.h"

const char *argp_program_version = "mailraft " MAILRAFT_VERSION;

struct arguments {
    enum server_design design;
    u64 heartbeat_ns;
    struct quantity_range election_timeout;
    bool no_noop;
};

enum { OPTION_HEARTBEAT = 256, OPTION_ELECTION_TIMEOUT, OPTION_NO_NOOP, OPTION_DESIGN };

static const struct argp_option options[] = {
    {"design", OPTION_DESIGN, "D", 0, "per-state (default), dispatch or step", 0},
    {"heartbeat", OPTION_HEARTBEAT, "TIME", 0, "default 100ms", 0},
    {"election-timeout", OPTION_ELECTION_TIMEOUT, "LOW..HIGH", 0, "default 400ms..900ms", 0},
    {"no-noop", OPTION_NO_NOOP, 0, 0,
     "the log has commands alone, with indexes 1, 2, 3, ...: no entry at the start of a term, and "
     "none for the configuration",
     0},
    {0}};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case OPTION_DESIGN:
        if (!server_design_parse(value, &arguments->design))
            argp_error(state, "--design %s: expected per-state, dispatch or step", value);
        return 0;
    case OPTION_HEARTBEAT:
        if (!quantity_parse_duration(value, &arguments->heartbeat_ns) ||
            arguments->heartbeat_ns == 0)
            argp_error(state, "--heartbeat %s: expected a time such as 100ms", value);
        return 0;
    case OPTION_ELECTION_TIMEOUT:
        if (!quantity_parse_duration_range(value, &arguments->election_timeout) ||
            arguments->election_timeout.low == 0)
            argp_error(state, "--election-timeout %s: expected times such as 400ms..900ms", value);
        return 0;
    case OPTION_NO_NOOP:
        arguments->no_noop = true;
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", value);
        return 0;
    case ARGP_KEY_END:
        if (arguments->heartbeat_ns >= arguments->election_timeout.low)
            argp_error(state, "--heartbeat must be below --election-timeout");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp argp = {options,
                                 parse_option,
                                 NULL,
                                 "One server's Raft over standard input and output.\v"
                                 "The frames are described at the head of tools/raftpipe.c.",
                                 NULL,
                                 NULL,
                                 NULL};

/* ---- frames coming in ---- */

static void refuse(const struct pipe_frame *frame, const char *why)
{
    struct error error;
    (void)error_set(&error, ERROR_FORMAT, "frame %llu (type '%c', %u bytes of payload): %s",
                    (unsigned long long)frame->number,
                    frame->type >= ' ' && frame->type < 127 ? frame->type : '?', frame->size, why);
    error_print("raftpipe", &error);
    _exit(65);
}

static size_t read_input(void *context, void *to, size_t size)
{
    (void)context;
    return fread(to, 1, size, stdin);
}

/* Reads the next frame, and what it orders. Returns false at the end of input. */
static bool read_order(const struct pipe *pipe, struct pipe_frame *frame, struct pipe_order *order)
{
    static const struct pipe_source source = {.read = read_input};
    struct error error = {0};
    bool any = false;
    if (pipe_frame_read(&source, frame, &any, &error) != ERROR_NONE ||
        (any && pipe_order_read(frame, pipe->self, pipe->count, pipe->no_noop, order, &error) !=
                    ERROR_NONE))
        refuse(frame, error.text);
    return any;
}

/* ---- what they order ---- */

static void post_message(struct pipe *pipe, const struct pipe_order *order)
{
    if (!order->has_message)
        return;
    const struct message *message = &order->message;
    if (order->type == 'R' &&
        (message->kind == MESSAGE_TIMEOUT_NOW || message->kind == MESSAGE_UNRECOGNISED))
        pipe_answer_nothing(pipe, order->id);
    else if (order->type == 'R')
        pipe_note_request(pipe, order->from, message->call, order->id);
    struct mail *mail = mail_create((enum mail_kind)message->kind);
    mail->as.message = *message;
    (void)mail_post(server_slot(pipe->server), mail);
}

static void snapshot_taken_by_application(struct pipe *pipe, const struct pipe_frame *frame,
                                          const struct pipe_order *order)
{
    u64 term;
    u64 index = order->index;
    if (index > atomic_load(&pipe->applied))
        refuse(frame, "the snapshot covers an entry that was not given to be applied");
    if (!pipe_store_term(pipe->storage, index, &term))
        return; /* an older one: what it covers is gone already */
    struct snapshot_head head = {.last = {term, index}, .configuration = pipe->configuration};
    memcpy(head.cluster_id, "raftpipe", sizeof("raftpipe"));
    struct snapshot_info info;
    struct snapshot_writer *writer = NULL;
    struct error error;
    if (snapshot_writer_create(&pipe->files, &head, &writer, &error) != ERROR_NONE ||
        snapshot_writer_add(writer, order->data, order->size, &error) != ERROR_NONE ||
        snapshot_writer_finish(writer, &info, &error) != ERROR_NONE)
        refuse(frame, error.text);
    pipe_store_offer(pipe->storage, head.last, order->data, order->size);
    struct snapshot_thread *snapshots = &pipe->server->snapshot.thread;
    mutex_lock(&snapshots->lock);
    snapshots->taken = (struct snapshot_point){.name = {info.last, info.size, info.checksum},
                                               .configuration = pipe->configuration};
    mutex_unlock(&snapshots->lock);
    struct mail *mail = mail_create(MAIL_SNAPSHOT);
    mail->as.snapshot.news = SNAPSHOT_TAKEN;
    (void)mail_post(server_slot(pipe->server), mail);
}

static void obey(struct pipe *pipe, const struct pipe_frame *frame, const struct pipe_order *order)
{
    switch (order->type) {
    case 'R':
    case 'P':
        post_message(pipe, order);
        return;
    case 'S':
        pipe_propose(pipe, order->id, order->data, order->size);
        return;
    case 'G':
        pipe_ask(pipe, order->id);
        return;
    case 'N':
        snapshot_taken_by_application(pipe, frame, order);
        return;
    default:
        UNREACHABLE();
    }
}

/* ---- life ---- */

static void begin(struct pipe *pipe, const struct arguments *arguments,
                  const struct pipe_frame *frame, const struct pipe_order *order)
{
    pipe->count = order->count;
    pipe->self = order->self;
    pipe->has_state = order->state_size > 0;
    pipe->state = order->state;
    pipe->snapshot = order->snapshot;
    pipe->snapshot_size = order->snapshot_size;
    for (server_id id = 1; id <= pipe->count; id++) {
        char address[32];
        struct error error;
        (void)snprintf(address, sizeof(address), "pipe:%u", id);
        if (configuration_add(&pipe->configuration, id, address, "", &error) != ERROR_NONE)
            refuse(frame, error.text);
    }
    pipe->configuration.index = 1;
    struct server_options server_options = {
        .design = arguments->design,
        .election_timeout_ns_min = arguments->election_timeout.low,
        .election_timeout_ns_max = arguments->election_timeout.high,
        .heartbeat_ns = arguments->heartbeat_ns,
        .leader_wait_ns = 0,
        .forward_timeout_ns = NS_PER_S,
        .message_bytes_max = MIB,
        .answer_bytes_max = MIB,
        .window_bytes_max = 8 * MIB,
        .round_bytes_max = UINT64_MAX / 4,
        .uncommitted_bytes_max = UINT64_MAX / 4,
        .log_memory_bytes_max = 16 * MIB,
        .peer_mail_bytes_max = 64 * MIB,
        .client_mail_bytes_max = UINT64_MAX / 4,
        .segment_bytes = 64 * MIB,
        .seed = rng_entropy(),
    };
    struct server_world world = {
        .vfs = &pipe->files, .report = &pipe->report, .trace = &pipe->trace};
    struct error error = {0};
    if (server_create(&server_options, &world, pipe_machine_create(pipe), &pipe->server, &error) !=
        ERROR_NONE)
        refuse(frame, error.text);
    pipe->server->raft.no_op_at_start = !pipe->no_noop;
    if (pipe->server->raft.configuration.index == 0)
        pipe->server->raft.configuration = pipe->configuration;
    atomic_store(&pipe->applied, pipe->server->raft.last_applied);
}

static void run_server(void *argument)
{
    struct pipe *pipe = argument;
    struct error error = {0};
    if (server_run(pipe->server, &pipe->transport, &error) != ERROR_NONE) {
        error_print("raftpipe", &error);
        _exit(70);
    }
}

int main(int argc, char **argv)
{
    struct arguments arguments = {.heartbeat_ns = 100 * NS_PER_MS,
                                  .election_timeout = {400 * NS_PER_MS, 900 * NS_PER_MS}};
    process_begin("raftpipe");
    argp_parse(&argp, argc, argv, 0, NULL, &arguments);
    static struct pipe pipe;
    pipe.no_noop = arguments.no_noop;
    pipe.nonce = rng_entropy();
    report_init_stderr(&pipe.report, REPORT_ERROR, REPORT_LOGFMT, SERVER_NONE);
    pipe_files_init(&pipe);
    pipe_speak_init(&pipe);
    struct pipe_frame frame = {0};
    struct pipe_order order;
    if (!read_order(&pipe, &frame, &order))
        return 0;
    begin(&pipe, &arguments, &frame, &order);

    struct thread thread = {0};
    struct error error;
    if (report_open(&pipe.report, &error) != ERROR_NONE ||
        thread_start(&thread, "server", run_server, &pipe, &error) != ERROR_NONE) {
        error_print("raftpipe", &error);
        return 71;
    }
    while (read_order(&pipe, &frame, &order))
        obey(&pipe, &frame, &order);
    pipe_frame_deinit(&frame);
    (void)mail_post(server_slot(pipe.server), mail_create(MAIL_STOP));
    thread_join(&thread);
    server_destroy(pipe.server);
    pipe_speak_deinit(&pipe);
    pipe_files_deinit(&pipe);
    report_close(&pipe.report);
    return 0;
}
