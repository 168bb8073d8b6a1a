/* hand_over.h - a server that is about to stop hands leadership over first, so that its clients
 * wait some milliseconds for the next leader instead of an election timeout.
 *
 * It is the order that RAFT.TRANSFER gives, posted like a client's. Clients are served
 * meanwhile, and go on to the next leader with what they had under way. */
#ifndef MAILRAFT_RAFTD_HAND_OVER_H
#define MAILRAFT_RAFTD_HAND_OVER_H

#include "common/sync.h"
#include "server/mail/mail.h"

/* Outlives the server, which may give its answer long after the wait was over. */
struct hand_over {
    struct command_sink sink;
    struct mutex lock; /* a leaf */
    struct condition changed;
    /* Guarded by lock. */
    u64 asked;    /* orders so far */
    u64 answered; /* the number of the newest order that was answered, */
    bool again;   /* and whether it may do better if it is given once more */
};

void hand_over_init(struct hand_over *hand_over);
void hand_over_deinit(struct hand_over *hand_over);

/* Returns when the server behind `slot` leads no more, or never led, or `deadline_ns` has passed;
 * an attempt that comes to nothing is made again until then. May be called again: leadership may
 * have come back. Thread: any but the server's. Blocks. */
void hand_over_before_stop(struct hand_over *hand_over, struct mail_slot *slot, u64 deadline_ns);

#endif
