/* raftctl.c - asks a running cluster about itself, and orders.
 *
 *     raftctl status       who leads, who follows, how far behind; waits for a leader if told to
 *     raftctl transfer     hands leadership to another server
 *     raftctl member       readmit N: a server that is not recognised any more votes again
 *     raftctl snapshot     makes a server write its state to a file, and forget the log before it
 *     raftctl backup       fetches such a file from the running cluster
 *     raftctl servers      the servers of cluster.conf, one a line, for scripts
 *
 * It talks to the client ports like any other client and needs nothing else. A command is a row of
 * `commands`, with options of its own; the options that say which cluster is meant are shared by
 * all. What the commands do stands in tools/raftctl/. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/process.h"
#include "common/version.h"
#include "tools/raftctl/backup.h"
#include "tools/raftctl/member.h"
#include "tools/raftctl/status.h"
#include "tools/raftctl/transfer.h"

const char *argp_program_version = "mailraft " MAILRAFT_VERSION;

/* ---- small commands ---- */

static enum error_code run_servers(struct raftctl *raftctl, struct error *error)
{
    const struct configuration *configuration = &raftctl->settings.values.configuration;
    if (configuration->count == 0)
        return error_set(error, ERROR_USAGE, "servers: reads cluster.conf, not -s");
    for (u32 i = 0; i < configuration->count; i++) {
        const struct member *member = &configuration->members[i];
        printf("%u %s %s\n", member->id, member->peer_address, member->client_address);
    }
    return ERROR_NONE;
}

/* ---- options ---- */

enum { OPTION_WAIT = 256, OPTION_WITH };

static const struct argp_option common_options[] = {
    {"config", 'c', "FILE", 0, "the cluster's configuration (default: cluster.conf)", 0},
    {"server", 's', "HOST:PORT", 0, "ask this client port instead; may be repeated", 0},
    {"timeout", 't', "TIME", 0, "how long to wait for a server's answer (default: 1s)", 0},
    {0}};

static const struct argp_option status_options[] = {
    {"write-out", 'w', "FORMAT", 0, "table (default), or json: one object on one line", 0},
    {"wait", OPTION_WAIT, "TIME", OPTION_ARG_OPTIONAL,
     "ask again until a majority follows one leader, for TIME at most (default: 10s)", 0},
    {"with", OPTION_WITH, "N", 0, "server N must follow it too; may be repeated", 0},
    {0}};

static const struct argp_option backup_options[] = {
    {"force", 'f', NULL, 0, "replace FILE if it is there", 0}, {0}};

static void add_address(struct raftctl *raftctl, server_id id, const char *address,
                        struct argp_state *state)
{
    const char *colon = strrchr(address, ':');
    u64 port;
    if (colon == NULL || colon == address || strlen(address) >= ADDRESS_SIZE ||
        !quantity_parse_u64(colon + 1, &port) || port == 0 || port > 65535)
        argp_error(state, "\"%.130s\": expected HOST:PORT, with a port of 1..65535", address);
    if (raftctl->target_count == SERVERS_MAX)
        argp_error(state, "more than %d servers", SERVERS_MAX);
    struct target *target = &raftctl->targets[raftctl->target_count++];
    target->id = id;
    (void)snprintf(target->address, sizeof(target->address), "%s", address);
}

static u64 time_of(const char *text, const char *option, struct argp_state *state)
{
    u64 ns = 0;
    if (!quantity_parse_duration(text, &ns) || ns > 3600 * NS_PER_S)
        argp_error(state, "%s %s: expected a time up to 1h, such as 500ms or 10s", option, text);
    return ns;
}

static error_t parse_common(int key, char *value, struct argp_state *state)
{
    struct raftctl *raftctl = state->input;
    switch (key) {
    case 'c':
        raftctl->config = value;
        return 0;
    case 's':
        add_address(raftctl, 0, value, state);
        return 0;
    case 't':
        raftctl->timeout_ns = time_of(value, "--timeout", state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp common_argp = {common_options, parse_common, NULL, NULL, NULL, NULL, NULL};
static const struct argp_child children[] = {{&common_argp, 0, "Which cluster:", 1}, {0}};

static void add_with(struct raftctl *raftctl, const char *text, struct argp_state *state)
{
    u64 id = 0;
    if (!quantity_parse_u64(text, &id) || id == 0 || id > UINT32_MAX)
        argp_error(state, "--with %s: expected the number of a server", text);
    if (raftctl->with_count == SERVERS_MAX)
        argp_error(state, "more than %d servers", SERVERS_MAX);
    raftctl->with[raftctl->with_count++] = (server_id)id;
}

static error_t parse_status(int key, char *value, struct argp_state *state)
{
    struct raftctl *raftctl = state->input;
    switch (key) {
    case 'w':
        raftctl->json = strcmp(value, "json") == 0;
        if (!raftctl->json && strcmp(value, "table") != 0)
            argp_error(state, "-w %s: expected table or json", value);
        return 0;
    case OPTION_WAIT:
        raftctl->wait = true;
        raftctl->wait_ns = value == NULL ? 10 * NS_PER_S : time_of(value, "--wait", state);
        return 0;
    case OPTION_WITH:
        add_with(raftctl, value, state);
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = raftctl;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_member(int key, char *value, struct argp_state *state)
{
    struct raftctl *raftctl = state->input;
    u64 id = 0;
    switch (key) {
    case ARGP_KEY_ARG:
        if (state->arg_num == 0) {
            if (strcmp(value, "readmit") != 0)
                argp_error(state, "%s: expected readmit", value);
            return 0;
        }
        if (state->arg_num > 1 || !quantity_parse_u64(value, &id) || id == 0 || id > UINT32_MAX)
            argp_error(state, "%s: expected readmit and the number of one server", value);
        raftctl->to = (server_id)id;
        return 0;
    case ARGP_KEY_END:
        if (raftctl->to == SERVER_NONE)
            argp_error(state, "which server is to be readmitted?");
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = raftctl;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_transfer(int key, char *value, struct argp_state *state)
{
    struct raftctl *raftctl = state->input;
    u64 id = 0;
    switch (key) {
    case ARGP_KEY_ARG:
        if (raftctl->to != SERVER_NONE)
            argp_error(state, "one server can lead, not two");
        if (!quantity_parse_u64(value, &id) || id == 0 || id > UINT32_MAX)
            argp_error(state, "%s: expected the number of a server", value);
        raftctl->to = (server_id)id;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = raftctl;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_snapshot(int key, char *value, struct argp_state *state)
{
    struct raftctl *raftctl = state->input;
    switch (key) {
    case ARGP_KEY_ARG:
        if (raftctl->where != NULL)
            argp_error(state, "one server, not two");
        raftctl->where = value;
        return 0;
    case ARGP_KEY_INIT:
        state->child_inputs[0] = raftctl;
        return 0;
    case ARGP_KEY_END:
        /* An address says enough: no configuration is needed then. */
        if (raftctl->where != NULL && strchr(raftctl->where, ':') != NULL &&
            raftctl->config == NULL && raftctl->target_count == 0)
            add_address(raftctl, 0, raftctl->where, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_backup(int key, char *value, struct argp_state *state)
{
    struct raftctl *raftctl = state->input;
    if (key == 'f') {
        raftctl->force = true;
        return 0;
    }
    if (key == ARGP_KEY_ARG && raftctl->file == NULL) {
        raftctl->file = value;
        return 0;
    }
    if (key == ARGP_KEY_NO_ARGS)
        argp_error(state, "FILE is missing: where the backup goes");
    return parse_snapshot(key, value, state);
}

static error_t parse_plain(int key, char *value, struct argp_state *state)
{
    (void)value;
    if (key != ARGP_KEY_INIT)
        return ARGP_ERR_UNKNOWN;
    state->child_inputs[0] = state->input;
    return 0;
}

struct command_row {
    const char *name;
    enum error_code (*run)(struct raftctl *raftctl, struct error *error);
    struct argp argp;
};

static const struct command_row commands[] = {
    {"status",
     status_run,
     {status_options, parse_status, NULL,
      "Shows every server: its state and term, the leader it follows, its commit index, and, from "
      "the leader, by how many entries it trails and when it was last heard of.\vWith -s the "
      "members "
      "are asked, too, that those servers name. Exit status: 0 a majority follows one leader, has "
      "room for writes, and no server has stalled; 69 not so, or one of --with does not follow; 64 "
      "wrong usage; 78 wrong configuration.",
      children, NULL, NULL}},
    {"transfer",
     transfer_run,
     {NULL, parse_transfer, "[N]",
      "Hands leadership to server N, or to the one that can take over soonest; waits until it "
      "leads, "
      "and says who does.\vWrites wait meanwhile, mostly some milliseconds. Exit status: 0 done; "
      "69 "
      "refused, or it did not take over: then the old leader leads on; 64 wrong usage; 78 wrong "
      "configuration.",
      children, NULL, NULL}},
    {"member",
     member_run,
     {NULL, parse_member, "readmit N",
      "Makes server N a voter again, on the data directory that it runs on now: one that was not "
      "recognised any more, because its directory was lost and made anew with raftd --init, set "
      "back "
      "to an older copy, or lacks entries.\vWhen its own newest directory still exists, put that "
      "one "
      "back instead. Server N must run and be connected; a majority without it must answer. It "
      "votes "
      "when its log has caught up; raftctl status shows it. Where a copy of its directory ran "
      "somewhere, end that first, then restart server N. Exit status: 0 done; 69 refused, no "
      "leader, "
      "or not known to be done; 64 wrong usage; 78 wrong configuration.",
      children, NULL, NULL}},
    {"snapshot",
     snapshot_run,
     {NULL, parse_snapshot, "[SERVER]",
      "Makes SERVER (HOST:PORT, or its number; else the leader) write its state to a file in its "
      "data directory, and waits until it is on disk.\vThe file stands for the log before it, "
      "which "
      "may then go. Exit status: 0 done; 69 no such server, or it could not; 64 wrong usage; 78 "
      "wrong configuration.",
      children, NULL, NULL}},
    {"backup",
     backup_run,
     {backup_options, parse_backup, "FILE [SERVER]",
      "Writes the state of the running cluster to FILE, with everything in it that was "
      "acknowledged "
      "before; from SERVER (HOST:PORT, or its number; else the leader).\vThe servers go on "
      "serving. "
      "\"raftd --restore FILE\" makes a new cluster of it. Exit status: 0 FILE is there, whole and "
      "synced; 69 no leader, or the server is gone; 73 FILE is there already; 65 what came is "
      "damaged; 66 no such directory; 74 the disk failed or is full; 64 wrong usage; 78 wrong "
      "configuration.",
      children, NULL, NULL}},
    {"servers",
     run_servers,
     {NULL, parse_plain, NULL,
      "Prints the servers of the configuration: number, peer address, client address.", children,
      NULL, NULL}},
};

struct choice {
    struct raftctl *raftctl;
    const struct command_row *command;
    int first; /* position of the command's name in argv */
};

static error_t parse_main(int key, char *value, struct argp_state *state)
{
    struct choice *choice = state->input;
    switch (key) {
    case ARGP_KEY_INIT:
        state->child_inputs[0] = choice->raftctl;
        return 0;
    case ARGP_KEY_ARG:
        for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
            if (strcmp(commands[i].name, value) == 0)
                choice->command = &commands[i];
        }
        if (choice->command == NULL)
            argp_error(state, "unknown command \"%s\"", value);
        choice->first = state->next - 1;
        state->next = state->argc; /* the rest is the command's */
        return 0;
    case ARGP_KEY_NO_ARGS:
        argp_error(state, "a command is missing: status, transfer, member, snapshot, backup or "
                          "servers");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void parse_arguments(int argc, char **argv, struct choice *choice)
{
    static const struct argp argp = {
        NULL,
        parse_main,
        "COMMAND [OPTION...]",
        "Asks a running cluster about itself.\vCommands:\n"
        "  status     who leads, who follows, how far behind (-w json, --wait)\n"
        "  transfer   hands leadership to another server\n"
        "  member     readmit N: a server that is not recognised any more votes again\n"
        "  snapshot   makes a server write its state to a file\n"
        "  backup     fetches the state of the running cluster into a file\n"
        "  servers    the servers of the configuration, for scripts\n\n"
        "\"raftctl COMMAND --help\" tells more.",
        children,
        NULL,
        NULL};
    argp_err_exit_status = error_exit_code(ERROR_USAGE);
    (void)argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, choice);
    static char name[64]; /* argp keeps it, for its messages */
    (void)snprintf(name, sizeof(name), "raftctl %s", choice->command->name);
    argv[choice->first] = name;
    (void)argp_parse(&choice->command->argp, argc - choice->first, argv + choice->first, 0, NULL,
                     choice->raftctl);
}

static enum error_code load(struct raftctl *raftctl, struct error *error)
{
    if (raftctl->target_count > 0 && raftctl->config == NULL)
        return ERROR_NONE;
    if (raftctl->target_count > 0)
        return error_set(error, ERROR_USAGE, "either -c or -s, not both");
    const char *path = raftctl->config != NULL ? raftctl->config : "cluster.conf";
    enum error_code code = settings_load(&raftctl->settings, path, error);
    if (code == ERROR_MISSING)
        (void)error_add(error, "no configuration (name it with -c FILE, or a server with -s)");
    const struct configuration *configuration = &raftctl->settings.values.configuration;
    for (u32 i = 0; code == ERROR_NONE && i < configuration->count; i++) {
        struct target *target = &raftctl->targets[raftctl->target_count++];
        target->id = configuration->members[i].id;
        memcpy(target->address, configuration->members[i].client_address, ADDRESS_SIZE);
    }
    return code;
}

int main(int argc, char **argv)
{
    struct raftctl raftctl = {.timeout_ns = NS_PER_S};
    struct choice choice = {.raftctl = &raftctl};
    struct error error = {0};
    process_begin("raftctl");
    settings_init(&raftctl.settings);
    parse_arguments(argc, argv, &choice);
    enum error_code code = load(&raftctl, &error);
    if (code == ERROR_NONE)
        code = choice.command->run(&raftctl, &error);
    (void)fflush(stdout);
    if (code != ERROR_NONE)
        error_print("raftctl", &error);
    ask_forget(&raftctl);
    settings_deinit(&raftctl.settings);
    return error_exit_code(code);
}
