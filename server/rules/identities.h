/* identities.h - what a leader writes into the log about who the servers are: the feature level,
 * the cluster's incarnation, the directory of each member (configuration.h), and that a server is a
 * voter again (trust.h).
 *
 * None of these entries changes who the members are, nor what a quorum of them is. One at a time:
 * the next is appended when the one before it, and an entry of the leader's own term, are
 * committed.
 *
 * Thread: as raft.h. Never blocks. */
#ifndef MAILRAFT_RULES_IDENTITIES_H
#define MAILRAFT_RULES_IDENTITIES_H

#include "server/rules/transfer.h"

/* Appends what is to be said now, and returns its index; 0: nothing is. To be called by a leader
 * that appends (not while it hands over), with every pile: it costs nothing when all is said. */
u64 identities_settle(struct raft *raft, struct leadership *leadership, u64 wall_ns);

/* Appends the entry that makes the server a voter again, on the directory and start on which it is
 * connected now. TRANSFER_BEGUN: `*index` is the entry's; else nothing was done, and the result
 * says why. */
enum transfer_result identities_readmit(struct raft *raft, struct leadership *leadership,
                                        server_id who, u64 *index);

#endif
