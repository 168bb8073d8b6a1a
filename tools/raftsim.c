/* raftsim - plays scenarios and random chaos on simulated clusters of the shipped servers.
 *
 * Everything happens in virtual time and follows from one seed; see test/sim/README.md. Exit: 0 all
 * held, 1 something failed, 64 wrong usage, 65 a scenario that cannot be read, 130 interrupted
 * before anything failed. */
#include <argp.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/process.h"
#include "common/version.h"
#include "test/sim/differential.h"
#include "test/sim/scenario_play.h"
#include "test/sim/sweep.h"
#include "test/sim/world.h"

const char *argp_program_version = "mailraft " MAILRAFT_VERSION;

enum { LEFT_OUT_MAX = 4096, EXIT_INTERRUPTED = 130 };
enum { OPTION_SHRINK = 256, OPTION_WITHOUT, OPTION_LOAD, OPTION_SCHEDULE };

struct arguments {
    struct sweep_options sweep;
    struct play_request play;
    struct differ_sweep differ;
    const char *command;
    bool designs[CLUSTER_MIXED + 1]; /* chaos, replay: which */
    const char *trace;
    bool story;
    bool left_out[LEFT_OUT_MAX];
    char **files;
    u32 file_count;
};

/* ---- numbers on the command line ---- */

static u64 parse_number(struct argp_state *state, const char *text, u64 least, u64 most)
{
    char *end = NULL;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || number < least || number > most)
        argp_error(state, "\"%s\" is not a number from %" PRIu64 " to %" PRIu64, text, least, most);
    return number;
}

/* "7" or "1..20" */
static void parse_seeds(struct argp_state *state, const char *text, u64 *first, u64 *last)
{
    char copy[64];
    (void)snprintf(copy, sizeof(copy), "%s", text);
    char *dots = strstr(copy, "..");
    if (dots != NULL)
        *dots = '\0';
    *first = parse_number(state, copy, 0, UINT64_MAX);
    *last = dots != NULL ? parse_number(state, dots + 2, *first, UINT64_MAX) : *first;
}

/* "1,4-6" */
static void parse_left_out(struct argp_state *state, struct arguments *arguments, char *text)
{
    char *rest = NULL;
    for (char *item = strtok_r(text, ",", &rest); item != NULL; item = strtok_r(NULL, ",", &rest)) {
        char *dash = strchr(item, '-');
        if (dash != NULL)
            *dash = '\0';
        u64 first = parse_number(state, item, 0, LEFT_OUT_MAX - 1);
        u64 last = dash != NULL ? parse_number(state, dash + 1, first, LEFT_OUT_MAX - 1) : first;
        for (u64 i = first; i <= last; i++)
            arguments->left_out[i] = true;
    }
    arguments->sweep.chaos.left_out = arguments->left_out;
    arguments->sweep.chaos.left_out_count = LEFT_OUT_MAX;
}

static void parse_design(struct argp_state *state, struct arguments *arguments, const char *word)
{
    arguments->play.design_given = true;
    if (!scenario_design_parse(word, &arguments->play.design))
        argp_error(state, "\"%s\" is not a design: per-state, dispatch, step, mixed or all", word);
    bool all = strcmp(word, "all") == 0; /* as in a scenario: each by itself */
    for (u32 design = 0; design <= CLUSTER_MIXED; design++)
        arguments->designs[design] =
            all ? design != CLUSTER_MIXED
                : strcmp(word, play_design_word((enum cluster_design)design)) == 0;
}

static const struct argp_option options[] = {
    {"design", 'd', "D", 0,
     "play, chaos, replay: per-state (chaos, replay: default), dispatch, step, mixed, or all: the "
     "first three, one after the other",
     0},
    {"seeds", 's', "A..B", 0, "which seeds to run; one number is one seed", 0},
    {"seed", 's', NULL, OPTION_ALIAS, NULL, 0},
    {"trace", 't', "FILE", 0, "play, replay: write the event trace, JSON lines, to FILE", 0},
    {"story", 'S', NULL, 0,
     "play, replay, differ: print the run, play and replay a column a server", 0},
    {"servers", 'n', "N", 0, "servers (chaos, replay: default 5; differ: 3)", 1},
    {"seconds", 'T', "N", 0, "chaos, replay: virtual seconds of faults (default 30)", 1},
    {"load", OPTION_LOAD, "N", 0, "chaos, replay: commands a second (default 100)", 1},
    {"jobs", 'j', "N", 0, "chaos: processes (default 1)", 1},
    {"keep-going", 'k', NULL, 0, "chaos: go on after a failure", 1},
    {"no-shrink", OPTION_SHRINK, NULL, 0, "chaos, differ: do not look for the smallest failure", 1},
    {"events", 'e', "N", 0, "differ: events in a schedule (default 300)", 2},
    {"pile", 'p', "N", 0, "differ: events at once, at most (default 1)", 2},
    {"schedule", OPTION_SCHEDULE, "TEXT", 0, "differ: play this one", 2},
    {"without", OPTION_WITHOUT, "LIST", 0, "replay: leave out these faults, \"1,4-6\"", 1},
    {0}};

/* Which options a command has a use for; any other is refused, and not passed over. */
static const struct {
    const char *command;
    const char *keys; /* those below 256 */
    bool load, shrink, schedule, without;
} uses[] = {
    {"play", "dstS", false, false, false, false},
    {"chaos", "dsnTjk", true, true, false, false},
    {"replay", "dstSnT", true, false, false, true},
    {"differ", "sSnep", false, true, true, false},
};

static const char *option_word(int key)
{
    for (const struct argp_option *option = options; option->name != NULL; option++) {
        if (option->key == key && (option->flags & OPTION_ALIAS) == 0)
            return option->name;
    }
    UNREACHABLE();
}

static void check_use(struct argp_state *state, const struct arguments *arguments, int key)
{
    for (size_t i = 0; i < ARRAY_LENGTH(uses); i++) {
        if (strcmp(arguments->command, uses[i].command) != 0)
            continue;
        bool used = key == OPTION_LOAD       ? uses[i].load
                    : key == OPTION_SHRINK   ? uses[i].shrink
                    : key == OPTION_SCHEDULE ? uses[i].schedule
                    : key == OPTION_WITHOUT  ? uses[i].without
                                             : strchr(uses[i].keys, key) != NULL;
        if (used)
            continue;
        bool one = strcmp(arguments->command, "chaos") == 0 && strchr("tS", key) != NULL;
        argp_error(state, "%s has no use for --%s%s", arguments->command, option_word(key),
                   one ? ", since it runs many seeds, some at a time: raftsim replay --seed N (and "
                         "the same --servers, --seconds, --load, --design) repeats one of them"
                       : "");
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct arguments *arguments = state->input;
    struct chaos_options *chaos = &arguments->sweep.chaos;
    if (key < ARGP_KEY_END && key != ARGP_KEY_ARG)
        check_use(state, arguments, key);
    switch (key) {
    case 'd':
        parse_design(state, arguments, value);
        return 0;
    case 's':
        parse_seeds(state, value, &arguments->sweep.seed_first, &arguments->sweep.seed_last);
        if (strcmp(arguments->command, "replay") == 0 &&
            arguments->sweep.seed_first != arguments->sweep.seed_last)
            argp_error(state, "replay repeats one seed, not several: raftsim chaos runs many");
        arguments->play.seed_given = true;
        arguments->play.seed_first = arguments->sweep.seed_first;
        arguments->play.seed_last = arguments->sweep.seed_last;
        return 0;
    case 't':
        arguments->trace = value;
        return 0;
    case 'S':
        arguments->story = true;
        return 0;
    case 'n':
        chaos->servers = (u32)parse_number(state, value, 1, CLUSTER_SERVERS_MAX);
        arguments->differ.options.servers = chaos->servers;
        return 0;
    case 'T':
        chaos->duration_ns = parse_number(state, value, 1, 1000000) * NS_PER_S;
        return 0;
    case 'j':
        arguments->sweep.jobs = (u32)parse_number(state, value, 1, 256);
        return 0;
    case 'k':
        arguments->sweep.keep_going = true;
        return 0;
    case OPTION_LOAD:
        chaos->load_per_second = parse_number(state, value, 0, 100000);
        return 0;
    case OPTION_SHRINK:
        arguments->sweep.shrink = false;
        return 0;
    case 'e':
        arguments->differ.options.events = (u32)parse_number(state, value, 1, DIFFER_EVENTS_MAX);
        return 0;
    case 'p':
        arguments->differ.options.pile_max = (u32)parse_number(state, value, 1, DIFFER_EVENTS_MAX);
        return 0;
    case OPTION_SCHEDULE:
        arguments->differ.schedule = value;
        return 0;
    case OPTION_WITHOUT:
        parse_left_out(state, arguments, value);
        return 0;
    case ARGP_KEY_ARGS:
        arguments->files = state->argv + state->next;
        arguments->file_count = (u32)(state->argc - state->next);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const char description[] =
    "Plays scenarios and random chaos on simulated clusters of the shipped servers.\v"
    "play FILE...  plays scenario files and judges them\n"
    "chaos         runs random work and faults, then heals and demands progress\n"
    "replay        repeats one run of chaos from the line that a failure printed\n"
    "differ        runs random schedules of single events on clusters of each\n"
    "              design, and compares all that they do; --schedule \"timeout 1;\n"
    "              deliver 1 2 0\" runs that one\n"
    "\n"
    "Exit status: 0 all held; 1 something failed; 64 wrong usage; 65 a scenario\n"
    "cannot be read; 130 interrupted before anything failed.";

static const struct argp parser = {
    options,
    parse_option,
    "play FILE...\nchaos [OPTION...]\nreplay [OPTION...]\ndiffer [OPTION...]",
    description,
    NULL,
    NULL,
    NULL};

/* ---- what it does ---- */

static void write_line(void *context, const char *line, size_t size)
{
    (void)fwrite(line, 1, size, context);
}

static int play(struct arguments *arguments, FILE *trace)
{
    arguments->play.trace = trace;
    arguments->play.story = arguments->story ? stdout : NULL;
    arguments->play.complaints = stdout;
    int worst = 0;
    for (u32 i = 0; i < arguments->file_count; i++) {
        int code = scenario_play_file(arguments->files[i], &arguments->play);
        if (arguments->file_count > 1)
            (void)printf("%s %s\n", code == 0 ? "ok    " : "FAILED", arguments->files[i]);
        worst = code > worst ? code : worst;
    }
    if (worst == 0)
        (void)fprintf(arguments->play.story != NULL ? stderr : stdout,
                      "%" PRIu64 " played, all held\n", arguments->play.plays);
    return worst;
}

static int chaos_of_design(struct arguments *arguments, bool *interrupted)
{
    struct sweep_result result;
    sweep_run(&arguments->sweep, &result);
    *interrupted = result.interrupted;
    u64 count = arguments->sweep.seed_last - arguments->sweep.seed_first + 1;
    if (result.interrupted)
        (void)printf("interrupted: %" PRIu64 " of ", result.seeds);
    (void)printf("%" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64 " virtual s, %" PRIu64
                 " operations, %" PRIu64 " events (%" PRIu64 " a second)\n",
                 result.interrupted ? count : result.seeds, result.failures,
                 result.virtual_ns / NS_PER_S, result.operations, result.events,
                 result.events * 1000 / u64_max(1, result.wall_ns / NS_PER_MS));
    (void)fflush(stdout);
    return result.failures == 0 ? 0 : 1;
}

static int replay_of_design(struct arguments *arguments, FILE *trace)
{
    struct chaos_options *chaos_options = &arguments->sweep.chaos;
    char line[4096];
    chaos_options->seed = arguments->sweep.seed_first;
    sweep_replay_line(chaos_options, line, sizeof(line));
    chaos_options->complaints = stdout;
    chaos_options->replay = line;
    chaos_options->trace = trace != NULL ? write_line : NULL;
    chaos_options->trace_context = trace;
    chaos_options->story = arguments->story ? write_line : NULL;
    chaos_options->story_context = stdout;
    struct chaos_result result;
    chaos_run(chaos_options, &result);
    (void)printf("%s: %" PRIu64 " virtual s, %" PRIu64 " events\n", result.held ? "held" : "failed",
                 result.virtual_ns / NS_PER_S, result.events);
    return result.held ? 0 : 1;
}

/* Chaos, or the repetition of one run of it, in each of the designs. Like the seeds of one, they
 * end with the first failure, unless chaos is to keep going. */
static int in_designs(struct arguments *arguments, bool replays, FILE *trace)
{
    u32 count = 0;
    int worst = 0;
    bool interrupted = false;
    for (u32 design = 0; design <= CLUSTER_MIXED; design++)
        count += arguments->designs[design];
    for (u32 design = 0; design <= CLUSTER_MIXED && !interrupted; design++) {
        if (!arguments->designs[design] || (worst != 0 && !replays && !arguments->sweep.keep_going))
            continue;
        arguments->sweep.chaos.design = (enum cluster_design)design;
        if (count > 1)
            (void)printf("%s:\n", play_design_word((enum cluster_design)design));
        int code =
            replays ? replay_of_design(arguments, trace) : chaos_of_design(arguments, &interrupted);
        worst = code > worst ? code : worst;
    }
    return interrupted && worst == 0 ? EXIT_INTERRUPTED : worst;
}

static int differ(struct arguments *arguments)
{
    struct differ_sweep *sweep = &arguments->differ;
    sweep->seed_first = arguments->sweep.seed_first;
    sweep->seed_last = arguments->sweep.seed_last;
    sweep->shrink = arguments->sweep.shrink;
    sweep->to = stdout;
    sweep->options.story = arguments->story ? stdout : NULL;
    if (sweep->schedule != NULL)
        sweep->options.events = 0;
    return differ_sweep(sweep);
}

int main(int argc, char **argv)
{
    static struct arguments arguments; /* large, and zero */
    arguments.sweep = (struct sweep_options){
        .chaos = {.servers = 5, .duration_ns = 30 * NS_PER_S, .load_per_second = 100},
        .seed_first = 1,
        .seed_last = 100,
        .jobs = 1,
        .shrink = true,
        .terminal = isatty(STDERR_FILENO) != 0,
    };
    arguments.sweep.progress_ns = arguments.sweep.terminal ? NS_PER_S / 2 : 10 * NS_PER_S;
    arguments.designs[CLUSTER_PER_STATE] = true;
    arguments.differ.options = (struct differ_options){.servers = 3, .events = 300, .pile_max = 1};
    process_begin("raftsim");
    argp_err_exit_status = 64;
    const char *command = argc > 1 ? argv[1] : "";
    arguments.command = command;
    bool known = strcmp(command, "play") == 0 || strcmp(command, "chaos") == 0 ||
                 strcmp(command, "replay") == 0 || strcmp(command, "differ") == 0;
    bool asks = argc > 1 && command[0] == '-'; /* --help and the like */
    if (!known && !asks) {
        argp_help(&parser, stderr, ARGP_HELP_STD_USAGE, argv[0]);
        return 64;
    }
    char name[32]; /* for advice that can be followed */
    (void)snprintf(name, sizeof(name), "raftsim %s", command);
    struct argp parser_of_command = parser;
    if (known) {
        argv[1] = name;
        parser_of_command.args_doc = strcmp(command, "play") == 0 ? "FILE..." : "";
    }
    (void)argp_parse(&parser_of_command, known ? argc - 1 : argc, known ? argv + 1 : argv, 0, NULL,
                     &arguments);
    bool plays = strcmp(command, "play") == 0;
    if (!known || (plays && arguments.file_count == 0) || (!plays && arguments.file_count > 0)) {
        argp_help(&parser, stderr, ARGP_HELP_STD_USAGE, argv[0]);
        return 64;
    }
    FILE *trace = NULL;
    if (arguments.trace != NULL && (trace = fopen(arguments.trace, "we")) == NULL) {
        (void)fprintf(stderr, "raftsim: cannot write %s\n", arguments.trace);
        return 74;
    }
    int code = plays ? play(&arguments, trace)
               : strcmp(command, "differ") == 0
                   ? differ(&arguments)
                   : in_designs(&arguments, strcmp(command, "replay") == 0, trace);
    if (trace != NULL)
        (void)fclose(trace);
    return code;
}
