/* scenario_play_file.c - a file, played once for each of its designs and seeds. */
#include <inttypes.h>

#include "test/sim/scenario_play.h"

static const char *const play_designs[] = {
    [CLUSTER_PER_STATE] = "per-state",
    [CLUSTER_DISPATCH] = "dispatch",
    [CLUSTER_STEP] = "step",
    [CLUSTER_MIXED] = "mixed",
};

const char *play_design_word(enum cluster_design design)
{
    return play_designs[design];
}

/* The designs to be played: one bit each. With `all` those that there are. */
static enum error_code choose_designs(const struct scenario *scenario,
                                      const struct play_request *request, u32 *designs,
                                      struct error *error)
{
    enum scenario_design design = request->design_given ? request->design : scenario->design;
    *designs = 0;
    for (u32 i = 0; i < ARRAY_LENGTH(play_designs); i++) {
        bool asked = design == DESIGN_ALL
                         ? i != CLUSTER_MIXED
                         : strcmp(scenario_design_word(design), play_designs[i]) == 0;
        if (asked && cluster_design_supported((enum cluster_design)i))
            *designs |= 1U << i;
    }
    if (*designs != 0)
        return ERROR_NONE;
    char there_are[64] = "";
    for (u32 i = 0; i < ARRAY_LENGTH(play_designs); i++) {
        size_t used = strlen(there_are);
        if (cluster_design_supported((enum cluster_design)i))
            snprintf(there_are + used, sizeof(there_are) - used, "%s%s", used == 0 ? "" : ", ",
                     play_designs[i]);
    }
    return error_set(error, ERROR_FORMAT, "%s:%u: design %s is not supported yet, expected %s",
                     scenario->file, request->design_given ? 1 : scenario->design_line,
                     scenario_design_word(design), there_are);
}

static void write_line(void *context, const char *line, size_t size)
{
    fwrite(line, 1, size, context);
}

/* One play. Returns the exit code. */
static int play_once(const struct scenario *scenario, struct play_request *request,
                     enum cluster_design design, u64 seed)
{
    char replay[1024];
    snprintf(replay, sizeof(replay), "raftsim play %s --design %s --seed %" PRIu64, scenario->file,
             play_designs[design], seed);
    struct play_options options = {
        .design = design,
        .seed = seed,
        .trace = request->trace == NULL ? NULL : write_line,
        .trace_context = request->trace,
        .story = request->story == NULL ? NULL : write_line,
        .story_context = request->story,
        .complaints = request->complaints,
        .replay = replay,
    };
    struct play_result result;
    struct error error = {0};
    if (scenario_play(scenario, &options, &result, &error) != ERROR_NONE) {
        fprintf(request->complaints, "raftsim: %s\n", error.text);
        return error_exit_code(error.code);
    }
    request->plays++;
    request->events += result.events;
    request->failures += result.held ? 0 : 1;
    return result.held ? 0 : 1;
}

int scenario_play_file(const char *path, struct play_request *request)
{
    struct scenario *scenario;
    struct error error = {0};
    u32 designs;
    int exit_code = 0;
    if (scenario_load(path, &scenario, &error) != ERROR_NONE ||
        choose_designs(scenario, request, &designs, &error) != ERROR_NONE) {
        fprintf(request->complaints, "raftsim: %s\n", error.text);
        exit_code = error_exit_code(error.code);
        goto done;
    }
    u64 plays = 0;
    u64 first = request->seed_given ? request->seed_first : scenario->seed_first;
    u64 last = request->seed_given ? request->seed_last : scenario->seed_last;
    for (u32 design = 0; design < ARRAY_LENGTH(play_designs); design++) {
        if ((designs >> design & 1) == 0)
            continue;
        for (u64 seed = first; exit_code == 0; seed++) {
            /* One story by itself needs no title. */
            if (request->story != NULL && (designs & (designs - 1) || last > first))
                fprintf(request->story, "%s==== %s, design %s, seed %" PRIu64 " ====\n",
                        plays++ > 0 ? "\n" : "", path, play_designs[design], seed);
            exit_code = play_once(scenario, request, (enum cluster_design)design, seed);
            if (seed == last)
                break;
        }
    }
done:
    scenario_destroy(scenario);
    return exit_code;
}
