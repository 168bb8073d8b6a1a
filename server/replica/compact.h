/* compact.h - what log and snapshots may forget (§7).
 *
 * Thread: the one that runs the server's rules. */
#ifndef MAILRAFT_REPLICA_COMPACT_H
#define MAILRAFT_REPLICA_COMPACT_H

#include "server/replica/replica.h"

/* Lets the disk forget the entries through `index`, which the rules' log has forgotten. */
void server_snapshot_compact(struct server *server, u64 index);

/* After a new snapshot: lets the files go that nobody needs. `leadership` is NULL in other states.
 */
void server_snapshot_remove_old(struct server *server, const struct leadership *leadership);

/* The limits for compaction_index, and the bytes that the log takes on disk. */
struct compaction_limits server_snapshot_limits(const struct server *server);
u64 server_snapshot_log_bytes(struct server *server);

/* §7: what a snapshot stands for, and nobody is about to be sent, the log forgets. `leadership` is
 * NULL in other states. */
void server_compact(struct server *server, const struct leadership *leadership);

#endif
