/* sweep.h - many seeds of chaos, in several processes, and the smallest form of a failure.
 *
 * Seeds run in child processes, so that one that breaks an invariant (and aborts) is a failure like
 * any other. Thread: main. */
#ifndef MAILRAFT_TEST_SIM_SWEEP_H
#define MAILRAFT_TEST_SIM_SWEEP_H

#include <stdio.h>

#include "test/sim/chaos.h"

struct sweep_options {
    struct chaos_options chaos; /* seed, complaints and replay are set by the sweep */
    u64 seed_first;             /* both inclusive */
    u64 seed_last;
    u32 jobs; /* processes, at least 1 */
    bool shrink;
    bool keep_going; /* after a failure, with the other seeds */
    u64 progress_ns; /* how often to tell on stderr how far it is; 0: never */
    bool terminal;   /* that is one: the line is written over */
};

struct sweep_result {
    u64 seeds; /* run to their end */
    u64 failures;
    bool interrupted; /* by SIGINT or SIGTERM */
    u64 first_failed; /* seed; with failures > 0 */
    u64 events;
    u64 virtual_ns;
    u64 operations;
    u64 wall_ns;
};

/* Runs all seeds. Failures are told on stdout, the first one shrunk. SIGINT and SIGTERM end it, and
 * a second one the program; when it returns they do what they did before. */
void sweep_run(const struct sweep_options *options, struct sweep_result *result);

/* Whether sweep_run has been told to end. */
bool sweep_is_interrupted(void);

/* The machine's monotonic clock, not that of a simulated world. */
u64 sweep_now_ns(void);

/* Looks for a smaller form of a failing run: fewer faults, fewer servers, a shorter time, as long
 * as it fails, and as long as nobody interrupts. `left_out` has room for `count` faults of the
 * plan. Runs children. */
void sweep_shrink(struct chaos_options *chaos, bool *left_out, u32 count);

/* The command line that repeats this run. */
void sweep_replay_line(const struct chaos_options *chaos, char *line, size_t size);

#endif
