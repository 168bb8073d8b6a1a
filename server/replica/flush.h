/* flush.h - contract 4, "speak only after persisting": the end of every pile.
 *
 * Thread: the one that runs the server's rules. */
#ifndef MAILRAFT_REPLICA_FLUSH_H
#define MAILRAFT_REPLICA_FLUSH_H

#include "server/replica/replica.h"

/* Contract 4, "speak only after persisting": the end of every pile, in this order: (1) early
 * messages, if the term is on disk; (2) commit what a quorum holds, apply, answer; (3) metadata if
 * it changed, then new entries as one batch with one sync; (4) all other messages; (5) as (2).
 * `lead` is NULL in other states. Returns false when the disk failed: server->failure says why,
 * and the loop returns RAFT_STOPPED. Blocks. */
WARN_UNUSED bool server_flush(struct server *server, struct leader_pending *lead);

#endif
