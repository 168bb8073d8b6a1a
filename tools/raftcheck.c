/* raftcheck.c - says whether a recorded history is linearizable.
 *
 * Reads JSON lines (test/history/history_json.h), judges them (test/history/linearizability.h) and
 * prints the verdict: exit 0 linearizable, 1 not, with the smallest contradicting part found, 2
 * gave up at a limit. Other exits as in sysexits.h. One thread. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/process.h"
#include "common/version.h"
#include "test/history/history_json.h"
#include "test/history/linearizability.h"

enum {
    SECONDS_DEFAULT = 60,
    MEMORY_MIB_DEFAULT = 1024,
    EXIT_NOT_LINEARIZABLE = 1,
    EXIT_GAVE_UP = 2,
    KEY_SECONDS = 's',
    KEY_MEMORY = 'm',
    KEY_VERBOSE = 'v'
};

struct options {
    const char *file;
    u64 seconds_max;
    u64 memory_mib_max;
    bool verbose;
};

const char *argp_program_version = "mailraft " MAILRAFT_VERSION;

static const struct argp_option option_table[] = {
    {"max-seconds", KEY_SECONDS, "N", 0, "Give up after N seconds (default 60; 0: never)", 0},
    {"max-memory", KEY_MEMORY, "MIB", 0,
     "Give up when one key's search needs more than MIB mebibytes (default 1024; 0: no bound)", 0},
    {"verbose", KEY_VERBOSE, NULL, 0, "Say how much there was to do", 0},
    {0}};

static const char documentation[] =
    "Say whether the history in FILE (\"-\": standard input) is linearizable.\n\n"
    "FILE holds one operation a line, as JSON:\n"
    "  {\"c\":client, \"op\":\"get|put|append|cas|del|incr\", \"k\":key, \"v\":value,\n"
    "   \"old\":expected, \"out\":read, \"found\":bool, \"ok\":bool, \"t0\":ns, \"t1\":ns,\n"
    "   \"st\":\"ok|unknown|fail\"}\n"
    "\v"
    "When it is not, the answer is named that nothing explains, with what the key can have held "
    "and where the two differ, and the few operations that contradict each other; those answered "
    "before may be shown as the one value that they leave. \"any time, or never\" stands behind "
    "an operation whose end and answer do not matter for it.\n\n"
    "Exit status: 0 linearizable; 1 not, and the smallest contradicting part found is shown; "
    "2 gave up; 64 wrong usage; 65 a line is no operation; 66 no such file.";

static u64 number_parse(const char *text, struct argp_state *state)
{
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || number > UINT32_MAX)
        argp_error(state, "not a number from 0 to %" PRIu32 ": %s", UINT32_MAX, text);
    return number;
}

static error_t option_parse(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;
    switch (key) {
    case KEY_SECONDS:
        options->seconds_max = number_parse(argument, state);
        return 0;
    case KEY_MEMORY:
        options->memory_mib_max = number_parse(argument, state);
        return 0;
    case KEY_VERBOSE:
        options->verbose = true;
        return 0;
    case ARGP_KEY_ARG:
        if (options->file != NULL)
            argp_error(state, "one file at a time");
        options->file = argument;
        return 0;
    case ARGP_KEY_END:
        if (options->file == NULL)
            argp_error(state, "which file?");
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static enum error_code file_read(struct history *history, const char *name, struct error *error)
{
    bool standard = strcmp(name, "-") == 0;
    FILE *file = standard ? stdin : fopen(name, "r");
    if (file == NULL)
        return error_set_errno(error, errno == ENOENT ? ERROR_MISSING : ERROR_IO, errno, "%s",
                               name);
    enum error_code code =
        history_json_read(history, file, standard ? "standard input" : name, error);
    if (!standard)
        fclose(file);
    return code;
}

static bool is_late(void *context)
{
    const u64 *deadline_ns = context;
    return clock_monotonic_ns() >= *deadline_ns;
}

static int verdict_print(const struct linearizability_result *result)
{
    switch (result->verdict) {
    case LINEARIZABLE:
        puts("linearizable");
        return EXIT_SUCCESS;
    case NOT_LINEARIZABLE:
        puts("not linearizable");
        fwrite(result->text.data, 1, result->text.size, stdout);
        return EXIT_NOT_LINEARIZABLE;
    case GAVE_UP:
        printf("gave up at the limit of %s on %zu of %zu keys; the others are linearizable\n",
               result->limit, result->keys_given_up, result->keys);
        return EXIT_GAVE_UP;
    }
    UNREACHABLE();
}

static int history_judge(const struct history *history, const struct options *options)
{
    u64 start_ns = clock_monotonic_ns();
    u64 deadline_ns =
        options->seconds_max == 0 ? UINT64_MAX : start_ns + options->seconds_max * NS_PER_S;
    struct linearizability_limits limits = {
        .memory_max = options->memory_mib_max * MIB, .stop = is_late, .context = &deadline_ns};
    struct linearizability_result result;
    linearizability_check(history, &limits, &result);
    u64 took_ms = (clock_monotonic_ns() - start_ns) / NS_PER_MS;
    int code = verdict_print(&result);
    if (options->verbose)
        fprintf(stderr,
                "raftcheck: %zu operations, %zu keys, %" PRIu64 " steps, %zu MiB, %" PRIu64 " ms\n",
                history->count, result.keys, result.steps, result.memory_peak >> 20, took_ms);
    linearizability_result_deinit(&result);
    return code;
}

int main(int argc, char **argv)
{
    static const struct argp parser = {
        .options = option_table, .parser = option_parse, .args_doc = "FILE", .doc = documentation};
    struct options options = {.seconds_max = SECONDS_DEFAULT, .memory_mib_max = MEMORY_MIB_DEFAULT};
    struct history history;
    struct error error;
    int code;
    process_begin("raftcheck");
    argp_err_exit_status = error_exit_code(ERROR_USAGE);
    argp_parse(&parser, argc, argv, 0, NULL, &options);
    error_clear(&error);
    history_init(&history);
    if (file_read(&history, options.file, &error) == ERROR_NONE) {
        code = history_judge(&history, &options);
    } else {
        fprintf(stderr, "raftcheck: %s\n", error.text);
        code = error_exit_code(error.code);
    }
    history_deinit(&history);
    return code;
}
