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

#include "server/rules/replication.h"

/* Appends what is to be said now, and returns its index; 0: nothing is. To be called by a leader
 * that appends (not while it hands over), with every pile: it costs nothing when all is said. */
u64 identities_settle(struct raft *raft, struct leadership *leadership, u64 wall_ns);

/* X(NAME, words for whoever asked; %u is the server). Why a server cannot be readmitted. */
#define READMITS(X)                                                                               \
    X(READMIT_BEGUN, "server %u is being readmitted")                                             \
    X(READMIT_NO_MEMBER, "server %u is no member of this cluster; nothing was executed")          \
    X(READMIT_RECOGNISED,                                                                         \
      "server %u is recognised, and votes: there is nothing to readmit; nothing was executed")    \
    X(READMIT_AGAIN,                                                                              \
      "server %u was readmitted already, and votes as soon as it has caught up; nothing was "     \
      "executed")                                                                                 \
    X(READMIT_NOT_MET,                                                                            \
      "server %u is not connected to the leader, which does not know the data directory that it " \
      "runs on: start it, then try again; nothing was executed")                                  \
    X(READMIT_EARLIER_START,                                                                      \
      "a later start of server %u's data directory has been seen, on another copy of it: end "    \
      "that one, restart this one, then try again; nothing was executed")                         \
    X(READMIT_WAIT,                                                                               \
      "another change of the configuration, or of the leader, is not finished: try to readmit "   \
      "server %u again in a moment; nothing was executed")                                        \
    X(READMIT_TOO_OLD,                                                                            \
      "server %u cannot be readmitted before all servers run a version that knows how: upgrade "  \
      "and start them all; nothing was executed")

enum readmit {
#define X(name, words) name,
    READMITS(X)
#undef X
};

/* The sentence about it. */
void readmit_describe(enum readmit result, server_id who, char *to, size_t to_size);

/* Appends the entry that makes the server a voter again, on the directory and start on which it is
 * connected now. READMIT_BEGUN: `*index` is the entry's; else nothing was done. */
enum readmit identities_readmit(struct raft *raft, struct leadership *leadership, server_id who,
                                u64 wall_ns, u64 *index);

#endif
