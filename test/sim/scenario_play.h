/* scenario_play.h - carries out a scenario on a simulated cluster, and judges it.
 *
 * A play is one run with one design and one seed; a file asks for one or several. Statements are
 * carried out in order, each at the virtual time at which the one before it ended; what `at` and
 * `after` ask for happens in between. The first expectation that does not hold, and the first
 * violation that the cluster's judge sees, end the play.
 *
 * Thread: one at a time a play. */
#ifndef MAILRAFT_SIM_SCENARIO_PLAY_H
#define MAILRAFT_SIM_SCENARIO_PLAY_H

#include "test/sim/cluster.h"
#include "test/sim/scenario.h"

struct play_options {
    enum cluster_design design;
    u64 seed;
    /* As in struct cluster_config; each may be NULL. */
    void (*trace)(void *context, const char *line, size_t size);
    void (*story)(void *context, const char *line, size_t size);
    void *trace_context;
    void *story_context;
    FILE *complaints;   /* where a failure is told at length; NULL: nowhere */
    const char *replay; /* the command line that repeats this play, told with it */
};

struct play_result {
    bool held;                      /* every expectation and every standing check */
    struct cluster_failure failure; /* when not */
    u64 events;                     /* steps taken */
    u64 virtual_ns;                 /* time passed in the cluster */
};

/* Plays once. Errors: ERROR_FORMAT, `file:line: ...`, for what only shows in playing (`at` a time
 * that is past, an option nobody knows); a failed expectation is no error but a result. */
WARN_UNUSED enum error_code scenario_play(const struct scenario *scenario,
                                          const struct play_options *options,
                                          struct play_result *result, struct error *error);

/* The design's word, to be told to people and on command lines. */
const char *play_design_word(enum cluster_design design);

/* What a command line asks for; it beats the head. */
struct play_request {
    bool design_given;
    enum scenario_design design;
    bool seed_given;
    u64 seed_first; /* both inclusive */
    u64 seed_last;
    FILE *trace;      /* JSON lines; NULL: none */
    FILE *story;      /* columns; NULL: none */
    FILE *complaints; /* failures, and what is wrong with the file */
    u64 plays;        /* result: how many were played */
    u64 failures;     /* result: how many of them failed */
    u64 events;       /* result: steps taken altogether */
};

/* Plays a file once for each design and seed; stops at the first failure. Returns what the process
 * is to end with: 0, 1, or the exit code of the error (65: the scenario cannot be read). */
int scenario_play_file(const char *path, struct play_request *request);

#endif
