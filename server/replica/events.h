/* events.h - the event trace: what this server does, as JSON lines for programs.
 *
 * One line an event, with the names of etcd-raft's state trace where it has one:
 *   {"name":"BecomeLeader","nid":"1","t":12345,"role":"leader",
 *    "state":{"term":2,"vote":"1","commit":3},"log":5,"durable":5,"applied":3}
 * t is the monotonic clock in ns. Events of messages carry "msg" with type, from, to, term, call
 * and what its kind adds (index, logTerm, commit, entries, reject ...). All pictures of a run are
 * drawn from this trace, and it can be checked against a specification of Raft.
 *
 * Nothing is done when there is no trace. Thread: the server's. */
#ifndef MAILRAFT_REPLICA_EVENTS_H
#define MAILRAFT_REPLICA_EVENTS_H

#include "common/bytes.h"
#include "common/trace.h"
#include "server/rules/raft.h"

struct events {
    struct trace *trace; /* NULL: no trace is kept */
    const struct raft *raft;
    const enum raft_state *state;
    struct buffer line; /* scratch */
};

void events_init(struct events *events, struct trace *trace, const struct raft *raft,
                 const enum raft_state *state);
void events_deinit(struct events *events);

/* InitState, once, with the configuration. */
void events_started(struct events *events);
/* BecomeFollower, BecomeCandidate, BecomeLeader, Stop; `why` is what people read too. */
void events_became(struct events *events, const char *why);
/* Replicate: a leader appended an entry of its own. */
void events_appended(struct events *events, u64 index);
/* Persist: term, vote and log through `index` are synced. */
void events_persisted(struct events *events, u64 index);
/* Commit: commit_index has moved. */
void events_committed(struct events *events);
/* Apply: the entry has reached the machine. */
void events_applied(struct events *events, u64 index);
/* InstallSnapshot: a leader's snapshot has replaced machine and log through commit_index. */
void events_installed(struct events *events);
/* SendAppendEntriesRequest, ReceiveRequestVoteResponse, ... */
void events_sent(struct events *events, const struct message *message);
void events_received(struct events *events, const struct message *message);

#endif
