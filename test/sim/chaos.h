/* chaos.h - random faults from a seed, as a plan that can be cut down.
 *
 * A plan is drawn as a whole before anything happens: a list of faults, each with its time, its
 * duration and a seed of its own. So a fault can be left out without changing the others, which is
 * what shrinking a failure to its causes needs. Whom a fault strikes (the leader, say) is decided
 * when it strikes. */
#ifndef MAILRAFT_TEST_SIM_CHAOS_H
#define MAILRAFT_TEST_SIM_CHAOS_H

#include <stdio.h>

#include "test/sim/cluster.h"

/* X(NAME, word for plans that are printed, weight) */
#define CHAOS_KINDS(X)                          \
    X(PARTITION, "partition", 6)                \
    X(ISOLATE_LEADER, "isolate leader", 5)      \
    X(ISOLATE_ANY, "isolate", 3)                \
    X(CUT_ONE_WAY, "cut one way", 4)            \
    X(BRIDGE, "bridge", 2)                      \
    X(RING, "ring", 2)                          \
    X(FLAP, "flapping links", 2)                \
    X(DELAY, "delay", 3)                        \
    X(LOSS, "loss", 4)                          \
    X(DUPLICATE, "duplicate", 3)                \
    X(REORDER, "reorder", 3)                    \
    X(CORRUPT, "corrupt", 3)                    \
    X(RESET, "reset", 3)                        \
    X(CRASH_ANY, "crash", 5)                    \
    X(CRASH_LEADER, "crash leader", 5)          \
    X(CRASH_MANY, "crash many", 3)              \
    X(CRASH_AT_WRITE, "crash at write", 8)      \
    X(KILL_AT_WRITE, "kill at write", 4)        \
    X(KILL_ANY, "kill", 3)                      \
    X(KILL_LEADER, "kill leader", 3)            \
    X(KILL_THEN_CRASH, "kill, start, crash", 3) \
    X(STOP_ANY, "stop", 2)                      \
    X(PAUSE_ANY, "pause", 3)                    \
    X(PAUSE_LEADER, "pause leader", 4)          \
    X(DISK_SLOW, "slow disk", 3)                \
    X(DISK_STALL, "stalled disk", 3)            \
    X(DISK_SYNC_EIO, "sync=EIO", 2)             \
    X(DISK_WRITE_EIO, "write=EIO", 2)           \
    X(DISK_FULL, "full disk", 3)                \
    X(EXHAUST, "exhausted", 4)                  \
    X(DAMAGE_LOG, "damaged log", 3)             \
    X(DAMAGE_SNAPSHOT, "damaged snapshot", 2)   \
    X(DAMAGE_SLOT, "damaged slot", 1)           \
    X(DAMAGE_SPARE, "damaged spare", 2)         \
    X(DAMAGE_CUT_OFF, "cut off, damaged", 3)    \
    X(CLOCK_RATE, "clock rate", 3)              \
    X(CLOCK_JUMP, "clock jump", 2)              \
    X(TIMEOUT, "election timeout", 2)           \
    X(TRANSFER, "transfer", 4)                  \
    X(WIPE, "wiped disk", 1)                    \
    X(SET_BACK, "older copy of a disk", 1)      \
    X(STRAY, "another cluster's disk", 2)       \
    X(SWAP, "swapped disks", 1)                 \
    X(READMIT, "readmit", 3)

enum chaos_kind {
#define X(name, word, weight) CHAOS_##name,
    CHAOS_KINDS(X)
#undef X
        CHAOS_KIND_END
};

struct chaos_fault {
    struct cluster *cluster; /* while it is under way */
    enum chaos_kind kind;
    u64 at_ns; /* from the plan's begin */
    u64 for_ns;
    u64 seed;
    bool left_out;
    cluster_set struck; /* whom it struck */
};

struct chaos_plan {
    struct chaos_fault *faults; /* in order of time */
    u32 count;
};

void chaos_plan_init(struct chaos_plan *plan, u64 seed, u64 duration_ns);
void chaos_plan_deinit(struct chaos_plan *plan);

/* Lets the plan's faults befall the cluster, for `duration_ns`; then everything is put right, and
 * all servers run. */
void chaos_carry_out(struct cluster *cluster, struct chaos_plan *plan, u64 duration_ns);

const char *chaos_kind_word(enum chaos_kind kind);

/* ---- a whole run: load and chaos, then healing, progress and judgement ---- */

struct chaos_options {
    u32 servers;
    u64 duration_ns; /* of the faults */
    u64 seed;
    u64 load_per_second;
    enum cluster_design design;
    const bool *left_out; /* faults of the plan by number; NULL: none */
    u32 left_out_count;
    void (*trace)(void *context, const char *line, size_t size);
    void (*story)(void *context, const char *line, size_t size);
    void *trace_context;
    void *story_context;
    FILE *complaints; /* NULL: a failure is not told */
    const char *replay;
};

struct chaos_result {
    bool held;
    struct cluster_failure failure;
    u32 faults; /* in the plan */
    u64 events;
    u64 virtual_ns;
    u64 operations; /* of clients */
};

void chaos_run(const struct chaos_options *options, struct chaos_result *result);

/* How many faults the plan of such a run has. */
u32 chaos_fault_count(const struct chaos_options *options);

#endif
