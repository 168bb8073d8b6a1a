/* batch.h - how much is applied, or read, before the loop looks up again.
 *
 * Whoever has a long row of commands to execute does so in helpings: between them it hears others
 * and is heard, so that no row, whatever is in it, makes a leader or a follower silent. A helping
 * is over when it has cost enough work (bytes read, touched and answered: machine.h) or, since
 * bytes are not equally dear everywhere, enough time. The clock is read only after a good part of
 * the work, or every so many commands. One command is always executed, so a helping can be too
 * large by one.
 *
 * Thread: the server's. */
#ifndef MAILRAFT_REPLICA_BATCH_H
#define MAILRAFT_REPLICA_BATCH_H

#include "common/clock.h"

enum {
    HELPING_LOOK_BYTES = 64 * 1024, /* work between two looks at the clock, */
    HELPING_LOOK_COUNT = 64         /* or commands */
};

/* A helping that has taken so long is over. A fifth of a heartbeat, and as long as a sync. */
#define HELPING_NS_MAX (10 * NS_PER_MS)

struct helping {
    u64 work_max;
    u64 work;     /* so far */
    u64 looked;   /* work when the clock was last read */
    u32 unlooked; /* commands since then */
    bool late;    /* the time is over */
    u64 until_ns;
};

static inline void helping_begin(struct helping *helping, u64 work_max)
{
    *helping = (struct helping){.work_max = work_max};
}

static inline bool helping_is_over(const struct helping *helping)
{
    return helping->late || helping->work >= helping->work_max;
}

/* A command has been executed. */
static inline void helping_add(struct helping *helping, u64 work)
{
    helping->work += work;
    /* The first command of a helping begins its time: mostly there is no second one. */
    if (helping->until_ns == 0) {
        helping->until_ns = clock_monotonic_ns() + HELPING_NS_MAX;
        helping->looked = helping->work;
        return;
    }
    if (helping->work - helping->looked < HELPING_LOOK_BYTES &&
        ++helping->unlooked < HELPING_LOOK_COUNT)
        return;
    helping->looked = helping->work;
    helping->unlooked = 0;
    helping->late = clock_monotonic_ns() >= helping->until_ns;
}

#endif
