/* housekeeping.h - what a server does with mail alike in every state, and what is no part of Figure
 * 2: who connects, who is recognised, what becomes of snapshots.
 *
 * Thread: the one that runs the server's rules. What is learned of a new peer is saved, which
 * blocks (replica/identity.h). */
#ifndef MAILRAFT_SERVICE_HOUSEKEEPING_H
#define MAILRAFT_SERVICE_HOUSEKEEPING_H

#include "server/replica/replica.h"

/* To be called with each mail that is read, before anything else looks at it. `lead` is NULL in
 * states other than the leader's. Returns whether the mail is dealt with: it was no Raft. Of a
 * message, and of MAIL_CONNECTED, it does what is the same in every state, and returns false. */
bool housekeeping(struct server *server, struct leader_pending *lead, const struct mail *mail,
                  u64 now_ns);

#endif
