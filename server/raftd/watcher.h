/* watcher.h - says that the server's thread has stalled, while it has.
 *
 * A sync that does not return holds up all that the server does, also what it says of itself; what
 * measures syncs hears of it only when it is over. So a thread of its own looks at the server's
 * liveness (common/liveness.h) ten times a second, says in the log what it sees, with longer and
 * longer pauses, and tells the client port, which then answers by itself: new commands with a
 * definite error, those under way with -TIMEOUT when their time is up, INFO from the last copy of
 * the status.
 *
 * What the watcher sleeps through itself - the whole process was stopped, the machine was suspended
 * or too busy - is nobody's stall, and is not counted.
 *
 * A server that is to end and has stalled would never be waited for: it is given up at a deadline
 * (watcher_give_up_at), since whatever it has not synced it has not promised to anybody. */
#ifndef MAILRAFT_RAFTD_WATCHER_H
#define MAILRAFT_RAFTD_WATCHER_H

#include "common/liveness.h"
#include "common/report.h"

/* So long without an answer of the disk, or without a look into the mailbox, is a stall. */
#define WATCH_DISK_NS (500 * NS_PER_MS)
#define WATCH_WORK_NS NS_PER_S
/* Lines about one stall and the next have at least this pause, unless the next is worse. */
#define WATCH_QUIET_NS (10 * NS_PER_S)

/* ---- what is made of one look; reads no clock ---- */

struct watch_sight {
    u64 now_ns;
    u64 round_ns; /* these three as in the liveness */
    u64 disk_ns;
    u64 slow_ns;
};

enum watch_word {
    WATCH_SILENT,
    WATCH_DISK,    /* say: the disk has not answered for watch.lasts_ns */
    WATCH_WORK,    /* say: the thread has not looked into its mailbox for that long */
    WATCH_GOES_ON, /* say: what was said is over, it took that long */
};

/* All zeros: nothing was seen. */
struct watch {
    u64 looked_ns;
    u64 counted_ns;    /* what was before this, the watcher slept through */
    u64 began_ns;      /* of the round or wait that is followed; 0: none */
    u64 lasts_ns;      /* how long that has taken */
    bool on_disk;      /* it is a wait for the disk */
    u64 stalled_ns;    /* since when the thread has stalled; 0: it has not */
    u64 said_ns;       /* when a line was last said; 0: never */
    u64 said_lasts_ns; /* how long that one had taken */
    bool said;         /* a line was said about the one that is followed */
};

enum watch_word watch_look(struct watch *watch, const struct watch_sight *sight);

/* ---- the thread ---- */

struct watcher {
    struct liveness *liveness;
    struct report *report;
    void (*tell)(void *context); /* called when a stall begins, and when it is over */
    void *context;
    struct watch watch; /* the thread's */
    struct thread thread;
    struct mutex lock; /* a leaf */
    struct condition changed;
    bool ended;     /* Guarded by lock, as the next. */
    u64 give_up_ns; /* 0: never */
};

/* Borrows all. Errors: ERROR_SYSTEM. */
WARN_UNUSED enum error_code watcher_start(struct watcher *watcher, struct liveness *liveness,
                                          struct report *report, void (*tell)(void *context),
                                          void *context, struct error *error);
/* A no-op for one that was never started. Blocks until the thread has ended. */
void watcher_stop(struct watcher *watcher);

/* If the server's thread has stalled then, the process ends, with a line and the exit code of a
 * failed disk. */
void watcher_give_up_at(struct watcher *watcher, u64 deadline_ns);

#endif
