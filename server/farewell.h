/* farewell.h - a server that is about to stop hands leadership over first, so that its clients wait
 * some milliseconds for the next leader instead of an election timeout.
 *
 * It is the order that RAFT.TRANSFER gives, posted like a client's. Clients are served meanwhile,
 * and go on to the next leader with what they had under way. */
#ifndef MAILRAFT_SERVER_FAREWELL_H
#define MAILRAFT_SERVER_FAREWELL_H

#include "common/sync.h"
#include "server/mail/mail.h"

/* Outlives the server, which may give its answer long after the wait was over. */
struct farewell {
    struct command_sink sink;
    struct mutex lock; /* a leaf */
    struct condition changed;
    bool answered; /* Guarded by lock. */
};

void farewell_init(struct farewell *farewell);
void farewell_deinit(struct farewell *farewell);

/* Once. Returns when the server behind `slot` leads no more, never led, cannot hand over, or
 * `patience_ns` have passed. Thread: any but the server's. Blocks. */
void farewell_say(struct farewell *farewell, struct mail_slot *slot, u64 patience_ns);

#endif
