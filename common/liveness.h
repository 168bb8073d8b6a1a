/* liveness.h - what the thread that everybody waits for is doing, for those who must not wait for
 * it.
 *
 * The thread (in the dispatch design: whoever holds the server's lock) notes when a round of work
 * begins and ends, and when it begins to wait for the disk; that costs a few stores a round. A
 * watcher on another thread reads that, and says here whether the thread has stalled; whoever would
 * have to wait for the thread can look at that first. Now and then the thread also leaves a copy of
 * its status here: what is known of it while it says nothing.
 *
 * Fields that say when are monotonic, in ns; 0: not so. Thread: any, but where a function says
 * otherwise. */
#ifndef MAILRAFT_COMMON_LIVENESS_H
#define MAILRAFT_COMMON_LIVENESS_H

#include <stdatomic.h>

#include "common/bytes.h"
#include "common/sync.h"

struct liveness {
    _Atomic u64 round_ns;    /* when the round that goes on began */
    _Atomic u64 disk_ns;     /* since when it waits for the disk */
    _Atomic u64 slow_ns;     /* setting: waiting longer for the disk is worth a line; 0: never */
    _Atomic u64 patience_ns; /* setting: how long a client waits for an answer from elsewhere */
    _Atomic u64 stalled_ns;  /* the watcher's: since when it has stalled */
    _Atomic bool on_disk;    /* the watcher's: it is the disk that it waits for */
    _Atomic bool watched;    /* somebody looks: copies of the status are wanted */
    struct mutex lock;       /* a leaf */
    struct buffer status;    /* Guarded by lock. */
    u64 status_ns;           /* of when that is. Guarded by lock. */
    bool status_due;         /* the thread's: much has changed since */
};

void liveness_init(struct liveness *liveness);
void liveness_deinit(struct liveness *liveness);

/* Thread: the one whose liveness it is. */
void liveness_begin_round(struct liveness *liveness, u64 began_ns);
void liveness_end_round(struct liveness *liveness);
/* `liveness` may be NULL: nobody cares. */
void liveness_begin_wait(struct liveness *liveness, u64 now_ns);
void liveness_end_wait(struct liveness *liveness);

/* Whether a copy of the status is wanted, and the last one is older than LIVENESS_STATUS_NS.
 * Thread: the one whose liveness it is. */
bool liveness_wants_status(const struct liveness *liveness, u64 now_ns);
/* It is, however old. Thread: the same. */
void liveness_outdate_status(struct liveness *liveness);
void liveness_put_status(struct liveness *liveness, const struct buffer *status, u64 now_ns);

/* Since when the thread has stalled, as far as the watcher knows; 0: it has not. `liveness` may be
 * NULL. */
u64 liveness_stalled_ns(const struct liveness *liveness);

/* Appends what is known of a thread that has stalled: for how long, on what, and its last status
 * with its age, as lines "key:value\r\n". */
void liveness_describe_stall(struct liveness *liveness, u64 now_ns, struct buffer *to);

#endif
