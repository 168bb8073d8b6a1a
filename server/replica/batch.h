/* batch.h - how much is applied, or read, before the loop looks up again.
 *
 * Whoever has a long row of commands to execute does so in batches: between them it hears others
 * and is heard, so that no row, whatever is in it, makes a leader or a follower silent. A batch
 * is over when it has cost enough work (bytes read, touched and answered: machine.h) or, since
 * bytes are not equally dear everywhere, enough time. The clock is read only after a good part of
 * the work, or every so many commands. One command is always executed, so a batch can be too
 * large by one.
 *
 * Thread: the server's. */
#ifndef MAILRAFT_REPLICA_BATCH_H
#define MAILRAFT_REPLICA_BATCH_H

#include "common/clock.h"

enum {
    WORK_BATCH_LOOK_BYTES = 64 * 1024, /* work between two looks at the clock, */
    WORK_BATCH_LOOK_COUNT = 64         /* or commands */
};

/* A batch that has taken so long is over. A fifth of a heartbeat, and as long as a sync. */
#define WORK_BATCH_NS_MAX (10 * NS_PER_MS)

struct work_batch {
    u64 work_max;
    u64 work;     /* so far */
    u64 looked;   /* work when the clock was last read */
    u32 unlooked; /* commands since then */
    bool late;    /* the time is over */
    u64 until_ns;
};

static inline void work_batch_begin(struct work_batch *batch, u64 work_max)
{
    *batch = (struct work_batch){.work_max = work_max};
}

static inline bool work_batch_is_over(const struct work_batch *batch)
{
    return batch->late || batch->work >= batch->work_max;
}

/* A command has been executed. */
static inline void work_batch_add(struct work_batch *batch, u64 work)
{
    batch->work += work;
    /* The first command of a batch begins its time: mostly there is no second one. */
    if (batch->until_ns == 0) {
        batch->until_ns = clock_monotonic_ns() + WORK_BATCH_NS_MAX;
        batch->looked = batch->work;
        return;
    }
    if (batch->work - batch->looked < WORK_BATCH_LOOK_BYTES &&
        ++batch->unlooked < WORK_BATCH_LOOK_COUNT)
        return;
    batch->looked = batch->work;
    batch->unlooked = 0;
    batch->late = clock_monotonic_ns() >= batch->until_ns;
}

#endif
