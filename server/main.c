/* main.c - raftd: options, signals, and the rooms put together for the real world.
 *
 * The server runs on a thread of its own; main waits for a signal, or for the server's end. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/process.h"
#include "common/version.h"
#include "server/machine/kv.h"
#include "server/raftd/directory.h"
#include "server/raftd/hand_over.h"
#include "server/raftd/own_names.h"
#include "server/raftd/reread.h"
#include "server/raftd/settings.h"
#include "server/raftd/signals.h"
#include "server/raftd/watcher.h"
#include "server/replica/replica.h"
#include "server/server.h"
#include "server/storage/snapshot.h"

enum { LARGE_PIECE_BYTES = 2 * 1024 * 1024 };

const char *argp_program_version = "mailraft " MAILRAFT_VERSION;

static const char doc[] =
    "A replicated, durable, linearizable key-value server: one member of a Raft cluster.\v"
    "A data directory is made once, and used by one server ever after. A new cluster is founded by "
    "ONE of its servers, whose directory is made with --bootstrap; those of all others are made "
    "with "
    "--init: they are blank, and join it when they meet it. (tools/raftcluster start does all that "
    "on "
    "one machine.) A server whose directory was lost, in a cluster that goes on, gets a new one "
    "with "
    "--init, never with --bootstrap: that would found another cluster, which the others refuse to "
    "talk to.\n\n"
    "With --restore FILE instead of --bootstrap the new cluster begins with the state in a "
    "snapshot "
    "file, such as one that raftctl backup has made; again on ONE server, and the others, made "
    "with "
    "--init, get the state from it. The cluster's id and members are those of the "
    "configuration.\n\n"
    "SIGTERM and SIGINT end it in an orderly way: it hands leadership over, answers what is under "
    "way, and refuses what comes (stop-timeout in the configuration bounds that); a second one "
    "ends "
    "it at once.\n\n"
    "SIGHUP makes it read the configuration again: keys that can change at run time take effect as "
    "if by CONFIG SET, the others are named; where SIGHUP or SIGINT was ignored at the start, as "
    "by nohup, "
    "it "
    "stays so. SIGXCPU is as SIGTERM. SIGPIPE and SIGXFSZ do nothing, SIGQUIT ends it with a core "
    "file, job control works as ever, and any other signal is said and does nothing.\n\n"
    "Exit status: 0 after SIGTERM or SIGINT; 64 wrong usage; 65 damaged data; 66 a file is "
    "missing; "
    "69 an address cannot be used; 71 the system refused memory, a thread or a descriptor; 73 "
    "--bootstrap, --init or --restore found data; 74 the disk failed; 75 the data directory is in "
    "use; 78 wrong "
    "configuration, or data of another cluster or server.";

enum {
    OPTION_INIT = 256,
    OPTION_BOOTSTRAP,
    OPTION_RESTORE,
    OPTION_LOG_LEVEL,
    OPTION_LOG_FORMAT,
    OPTION_TRACE,
    OPTION_DESIGN
};

static const struct argp_option argp_options[] = {
    {"config", 'c', "FILE", 0, "the cluster's configuration (default: cluster.conf)", 0},
    {"id", 'i', "N", 0, "which of the servers in it this one is", 0},
    {"data", 'd', "DIR", 0, "the data directory (default: data/N)", 0},
    {"bootstrap", OPTION_BOOTSTRAP, NULL, 0,
     "make the data directory, which must be empty, and end: on ONE server, which founds the "
     "cluster",
     0},
    {"init", OPTION_INIT, NULL, 0,
     "make the data directory and end: on all other servers, which join that cluster", 0},
    {"restore", OPTION_RESTORE, "FILE", 0,
     "as --bootstrap, and end; the new cluster begins with the state in this backup or snapshot",
     0},
    {"design", OPTION_DESIGN, "NAME", 0, "the control flow: per-state (default), dispatch or step",
     0},
    {"log-level", OPTION_LOG_LEVEL, "LEVEL", 0, "error, warn, info or debug", 0},
    {"log-format", OPTION_LOG_FORMAT, "FORMAT", 0, "logfmt or json", 0},
    {"verbose", 'v', NULL, 0, "the same as --log-level debug", 0},
    {"trace", OPTION_TRACE, "FILE", 0, "append the event trace to this file, as JSON lines", 0},
    {0}};

struct arguments {
    const char *config;
    const char *data;
    const char *restore;
    const char *trace;
    const char *log_level;
    const char *log_format;
    u64 id;
    enum server_design design;
    bool init;
    bool bootstrap;
};

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    switch (key) {
    case 'c':
        arguments->config = value;
        return 0;
    case 'i':
        if (!quantity_parse_u64(value, &arguments->id) || arguments->id == 0 ||
            arguments->id > UINT32_MAX)
            argp_error(state, "--id %s: expected the number of a server, 1 or more", value);
        return 0;
    case 'd':
        if (value[0] == '\0' || strlen(value) >= DATA_PATH_SIZE)
            argp_error(state, "--data: expected a path of 1 to %d bytes", DATA_PATH_SIZE - 1);
        arguments->data = value;
        return 0;
    case 'v':
        arguments->log_level = "debug";
        return 0;
    case OPTION_INIT:
        arguments->init = true;
        return 0;
    case OPTION_BOOTSTRAP:
        arguments->bootstrap = true;
        return 0;
    case OPTION_RESTORE:
        if (value[0] == '\0' || value[strlen(value) - 1] == '/' || strlen(value) >= DATA_PATH_SIZE)
            argp_error(state, "--restore: expected the path of a file");
        arguments->restore = value;
        return 0;
    case OPTION_LOG_LEVEL:
        arguments->log_level = value;
        return 0;
    case OPTION_LOG_FORMAT:
        arguments->log_format = value;
        return 0;
    case OPTION_TRACE:
        arguments->trace = value;
        return 0;
    case OPTION_DESIGN:
        if (!server_design_parse(value, &arguments->design))
            argp_error(state, "--design %s: expected per-state, dispatch or step", value);
        return 0;
    case ARGP_KEY_ARG:
        argp_error(state, "unexpected argument \"%s\"", value);
        return 0;
    case ARGP_KEY_END:
        if (arguments->id == 0)
            argp_error(state, "--id N is missing: which server of the configuration is this?");
        if (arguments->init + arguments->bootstrap + (arguments->restore != NULL) > 1)
            argp_error(state,
                       "--bootstrap, --init, --restore: a data directory is made in one of these "
                       "ways, once");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* All that a running raftd consists of. */
struct raftd {
    struct arguments arguments;
    char data[DATA_PATH_SIZE];
    struct settings settings;
    struct limits limits;
    const struct member *self;
    struct report report;
    struct trace_file trace;
    struct vfs *vfs;
    struct server *server;
    struct peers *peers;
    struct clients *clients;
    struct thread thread;
    struct hand_over hand_over;
    struct reread reread;
    struct signals signals;
    struct watcher watcher;
    struct error end; /* why the server stopped */
};

/* ---- before anything runs ---- */

static enum error_code choose_words(struct raftd *raftd, struct error *error)
{
    const struct arguments *arguments = &raftd->arguments;
    struct settings_values *values = &raftd->settings.values;
    enum report_level level = (enum report_level)values->log_level;
    if (arguments->log_level != NULL && !report_level_parse(arguments->log_level, &level))
        return error_set(error, ERROR_USAGE, "--log-level %s: expected error, warn, info or debug",
                         arguments->log_level);
    values->log_level = (u32)level;
    enum report_format format = (enum report_format)values->log_format;
    if (arguments->log_format != NULL) {
        if (strcmp(arguments->log_format, "logfmt") != 0 &&
            strcmp(arguments->log_format, "json") != 0)
            return error_set(error, ERROR_USAGE, "--log-format %s: expected logfmt or json",
                             arguments->log_format);
        format = strcmp(arguments->log_format, "json") == 0 ? REPORT_JSON : REPORT_LOGFMT;
    }
    report_init_stderr(&raftd->report, level, format, (server_id)arguments->id);
    raftd->settings.report = &raftd->report;
    raftd->settings.design = arguments->design;
    return ERROR_NONE;
}

static enum error_code configure(struct raftd *raftd, struct error *error)
{
    const struct arguments *arguments = &raftd->arguments;
    enum error_code code = settings_load(&raftd->settings, arguments->config, error);
    if (code == ERROR_MISSING)
        return error_add(error, "no configuration (name it with --config FILE)");
    if (code != ERROR_NONE)
        return code;
    const struct configuration *configuration = &raftd->settings.values.configuration;
    raftd->self = configuration_member(configuration, (server_id)arguments->id);
    if (raftd->self == NULL)
        return error_set(error, ERROR_CONFIG,
                         "%s: there is no line \"server %" PRIu64 " ...\", and --id says %" PRIu64,
                         arguments->config, arguments->id, arguments->id);
    if (arguments->data != NULL)
        (void)snprintf(raftd->data, sizeof(raftd->data), "%s", arguments->data);
    else
        (void)snprintf(raftd->data, sizeof(raftd->data), "data/%" PRIu64, arguments->id);
    return choose_words(raftd, error);
}

/* ---- running ---- */

static enum error_code check_identity(const struct raftd *raftd, struct error *error)
{
    const struct metadata *found = &raftd->server->metadata;
    const char *cluster_id = raftd->settings.values.cluster_id;
    if (strcmp(found->cluster_id, cluster_id) != 0)
        return error_set(error, ERROR_MISMATCH,
                         "%s belongs to cluster %s, and %s says %s: use the right directory, or "
                         "make another with --init",
                         raftd->data, found->cluster_id, raftd->arguments.config, cluster_id);
    return ERROR_NONE;
}

/* The members are the log's. The file's lines say where to listen and whom to call, so they must be
 * the same servers; one that has moved to another address is told apart from a wrong file. */
static enum error_code check_members(struct raftd *raftd, struct error *error)
{
    const char *file = raftd->arguments.config;
    const struct configuration *ours = &raftd->settings.values.configuration;
    const struct configuration *found = &raftd->server->raft.configuration;
    if (found->index == 0)
        return ERROR_NONE; /* blank, or its disk has lost them: they come from the leader */
    for (u32 i = 0; i < ours->count; i++) {
        const struct member *member = &ours->members[i];
        const struct member *known = configuration_member(found, member->id);
        if (known == NULL)
            return error_set(error, ERROR_MISMATCH,
                             "%s: server %" PRIu32 " is no member of the cluster in %s; the "
                             "\"server\" lines must be those that it was made with",
                             file, member->id, raftd->data);
        if (strcmp(member->peer_address, known->peer_address) != 0 ||
            strcmp(member->client_address, known->client_address) != 0)
            REPORT(&raftd->report, REPORT_WARN, "raftd",
                   "server %" PRIu32
                   " is at %s, client=%s, says %s, and was at %s, client=%s, when "
                   "%s was made: all servers must be told so",
                   member->id, member->peer_address, member->client_address, file,
                   known->peer_address, known->client_address, raftd->data);
    }
    for (u32 i = 0; i < found->count; i++) {
        if (configuration_member(ours, found->members[i].id) == NULL)
            return error_set(error, ERROR_MISMATCH,
                             "%s: there is no line \"server %" PRIu32 " ...\", and it is a member "
                             "of the cluster in %s",
                             file, found->members[i].id, raftd->data);
    }
    return ERROR_NONE;
}

/* What this build makes is for its owner alone; directories from before, or from elsewhere, may not
 * be. */
static void say_who_may_read(struct raftd *raftd)
{
    struct stat found;
    if (stat(raftd->data, &found) == 0 && (found.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        REPORT(&raftd->report, REPORT_WARN, "raftd",
               "other users may read %s (its mode is %03o): chmod -R go= %s", raftd->data,
               (unsigned)found.st_mode & 0777, raftd->data);
}

static enum error_code open_server(struct raftd *raftd, struct error *error)
{
    enum error_code code = vfs_posix_create(raftd->data, &raftd->vfs, error);
    if (code == ERROR_MISSING)
        return error_add(error, "no data directory (make it once: with --bootstrap on the one "
                                "server that founds the cluster, with --init on all others)");
    if (code != ERROR_NONE)
        return code;
    say_who_may_read(raftd);
    struct server_world world = {.vfs = raftd->vfs,
                                 .report = &raftd->report,
                                 .set = settings_set,
                                 .set_context = &raftd->settings};
    if (raftd->arguments.trace != NULL) {
        code = trace_file_open(&raftd->trace, raftd->arguments.trace, error);
        if (code != ERROR_NONE)
            return code;
        world.trace = &raftd->trace.trace;
    }
    struct server_options options;
    settings_server_options(&raftd->settings, rng_entropy(), &options);
    options.self = raftd->self->id;
    code = server_create(&options, &world, kv_create(), &raftd->server, error);
    if (code == ERROR_NONE)
        code = check_identity(raftd, error);
    return code == ERROR_NONE ? check_members(raftd, error) : code;
}

static enum error_code open_ports(struct raftd *raftd, struct error *error)
{
    const struct metadata *metadata = &raftd->server->metadata;
    struct peers_options peers_options;
    settings_peers_options(&raftd->settings, &peers_options);
    struct member_limits own;
    settings_limits(&raftd->settings, &own);
    limits_init(&raftd->limits, &own);
    peers_options.limits = &raftd->limits;
    struct hello *identity = &peers_options.identity;
    (void)snprintf(identity->cluster_id, sizeof(identity->cluster_id), "%s", metadata->cluster_id);
    identity->from = metadata->self;
    identity->seed_crc = metadata->seed_crc;
    hello_show(identity, &raftd->server->raft.trust.own);
    peers_options.newest = &raftd->server->raft.configuration;
    enum error_code code = peers_create(&peers_options, server_slot(raftd->server), &raftd->report,
                                        &raftd->peers, error);
    if (code != ERROR_NONE)
        return code;
    struct clients_options clients_options;
    settings_clients_options(&raftd->settings, &clients_options);
    clients_options.self = raftd->self->id;
    clients_options.listen_address = raftd->self->client_address;
    clients_options.agreed = &raftd->limits;
    clients_options.liveness = &raftd->server->liveness;
    return clients_create(&clients_options, server_slot(raftd->server), &raftd->report,
                          &raftd->clients, error);
}

static void tell_of_stall(void *context)
{
    struct raftd *raftd = context;
    clients_look(raftd->clients);
}

static void run_server(void *argument)
{
    struct raftd *raftd = argument;
    (void)server_run(raftd->server, peers_transport(raftd->peers), &raftd->end);
    signals_server_ended(&raftd->signals);
}

/* The end, in an orderly way. Leadership is handed over first: an attempt takes an election timeout
 * at most, and may cost an election; a server alone has nobody to hand it to. Clients are served
 * meanwhile. Then they are answered and let go, and if leadership has come back by then, it is
 * handed over once more. */
static void drain(struct raftd *raftd)
{
    mutex_lock(&raftd->settings.lock);
    u64 patience_ns = raftd->settings.values.stop_timeout;
    u64 attempts_ns = 3 * raftd->settings.values.election_timeout.high;
    bool alone = raftd->settings.values.configuration.count == 1;
    mutex_unlock(&raftd->settings.lock);
    struct mail_slot *slot = server_slot(raftd->server);
    u64 now_ns = clock_monotonic_ns();
    u64 deadline_ns = now_ns + patience_ns;
    watcher_give_up_at(&raftd->watcher, deadline_ns + 2 * attempts_ns);
    if (!alone)
        hand_over_before_stop(&raftd->hand_over, slot, u64_min(deadline_ns, now_ns + attempts_ns));
    clients_drain(raftd->clients, deadline_ns);
    if (!alone)
        hand_over_before_stop(
            &raftd->hand_over, slot,
            u64_min(clock_monotonic_ns() + attempts_ns, deadline_ns + attempts_ns));
}

static enum error_code serve(struct raftd *raftd, struct error *error)
{
    enum error_code code = report_open(&raftd->report, error);
    bool stopped = false;
    if (code == ERROR_NONE)
        code = own_names_await(raftd->self, &raftd->signals, &raftd->report, &stopped, error);
    if (code == ERROR_NONE && !stopped)
        code = open_server(raftd, error);
    if (code == ERROR_NONE && !stopped)
        code = open_ports(raftd, error);
    if (code != ERROR_NONE || stopped)
        return code;
    /* Said before the server runs: from then on the settings are its own. */
    REPORT(&raftd->report, REPORT_INFO, "raftd",
           "server %" PRIu32 " of cluster %s is up: peers at %s, clients at %s, data in %s",
           raftd->self->id, raftd->settings.values.cluster_id, raftd->self->peer_address,
           raftd->self->client_address, raftd->data);
    code = watcher_start(&raftd->watcher, &raftd->server->liveness, &raftd->report, tell_of_stall,
                         raftd, error);
    if (code == ERROR_NONE)
        code = thread_start(&raftd->thread, "server", run_server, raftd, error);
    if (code != ERROR_NONE)
        return code;
    int number = 0;
    enum signal_event event;
    while ((event = signals_wait(&raftd->signals, &raftd->report, &number)) == SIGNAL_READ_AGAIN)
        reread(&raftd->reread, &raftd->settings, raftd->arguments.config,
               raftd->arguments.log_level != NULL ? "log-level" : NULL, server_slot(raftd->server),
               &raftd->report);
    if (event == SIGNAL_STOP) {
        REPORT(&raftd->report, REPORT_INFO, "raftd",
               "stopping because of SIG%s: what is under way is answered first; another SIGTERM or "
               "SIGINT ends it at once",
               sigabbrev_np(number));
        signals_release(&raftd->signals);
        drain(raftd);
    }
    clients_stop(raftd->clients);
    (void)mail_post(server_slot(raftd->server), mail_create(MAIL_STOP));
    thread_join(&raftd->thread);
    *error = raftd->end;
    return error->code;
}

static void close_all(struct raftd *raftd)
{
    watcher_stop(&raftd->watcher);
    /* A reader or the port may wait for room in the mailbox of a server that never ran. */
    if (raftd->server != NULL)
        server_close(raftd->server);
    /* Its input ends before the mailbox goes, and the port itself after those it has to answer. */
    if (raftd->clients != NULL)
        clients_stop(raftd->clients);
    if (raftd->peers != NULL)
        peers_destroy(raftd->peers);
    if (raftd->server != NULL)
        server_destroy(raftd->server);
    if (raftd->clients != NULL)
        clients_destroy(raftd->clients);
    if (raftd->trace.trace.write != NULL) {
        u64 lost = trace_file_close(&raftd->trace);
        if (lost > 0)
            REPORT(&raftd->report, REPORT_WARN, "raftd",
                   "%" PRIu64 " lines of the trace are missing: %s did not take them in time", lost,
                   raftd->arguments.trace);
    }
    if (raftd->vfs != NULL)
        vfs_posix_destroy(raftd->vfs);
    if (raftd->peers != NULL)
        limits_deinit(&raftd->limits);
    hand_over_deinit(&raftd->hand_over);
    reread_deinit(&raftd->reread);
    settings_deinit(&raftd->settings);
    report_close(&raftd->report);
}

int main(int argc, char **argv)
{
    static struct raftd raftd = {.arguments = {.config = "cluster.conf"}};
    static const struct argp argp = {argp_options, parse_option, NULL, doc, NULL, NULL, NULL};
    process_begin("raftd");
    argp_err_exit_status = error_exit_code(ERROR_USAGE);
    /* glibc would gather what was freed in small pieces, and merge it all at some later request:
     * after a million keys went, that one took many milliseconds. Merging at once costs no more. */
    (void)mallopt(M_MXFAST, 0);
    /* Large pieces go back to the system when they are freed, for ever: glibc would raise its bound
     * with each that is freed, and keep what a burst of large answers has needed. What is smaller
     * is used again too often for that; the client port trims the heap when it is at rest. */
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_PIECE_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, 4 * LARGE_PIECE_BYTES);
    (void)argp_parse(&argp, argc, argv, 0, NULL, &raftd.arguments);

    signals_begin(&raftd.signals);
    struct error error = {0};
    settings_init(&raftd.settings);
    hand_over_init(&raftd.hand_over);
    reread_init(&raftd.reread);
    enum error_code code = configure(&raftd, &error);
    if (code == ERROR_NONE && raftd.arguments.bootstrap)
        code = making_bootstrap(&raftd.settings, raftd.self, raftd.data, &error);
    else if (code == ERROR_NONE && raftd.arguments.init)
        code = making_init(&raftd.settings, raftd.self, raftd.data, &error);
    else if (code == ERROR_NONE && raftd.arguments.restore != NULL)
        code = making_restore(&raftd.settings, raftd.self, raftd.data, raftd.arguments.restore,
                              &error);
    else if (code == ERROR_NONE)
        code = serve(&raftd, &error);
    close_all(&raftd);
    if (code != ERROR_NONE)
        error_print("raftd", &error);
    return error_exit_code(code);
}
