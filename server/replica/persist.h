/* persist.h - what must be on disk before it is spoken of: term and vote, the log, and that the log
 * is repaired.
 *
 * Thread: the one that runs the server's rules. */
#ifndef MAILRAFT_REPLICA_PERSIST_H
#define MAILRAFT_REPLICA_PERSIST_H

#include "server/replica/replica.h"

/* Whether a flush has something to save, and so may wait for the disk. */
bool server_must_save(const struct server *server);

/* Saves all of that, as one write of the metadata and one batch of the log with one sync. False
 * when the disk failed: server->failure says why. Blocks. */
WARN_UNUSED bool server_save(struct server *server);

/* The pieces of a flush, for a design that has an order of its own. Asks whether the disk has
 * failed since, or writes and syncs term and vote, or the log's records from `first` on; false when
 * the disk failed, and server->failure says why. Nothing is marked as saved. Blocks. */
WARN_UNUSED bool server_check_disk(struct server *server);
WARN_UNUSED bool server_store_state(struct server *server, u64 current_term, server_id voted_for);
/* Adds to server->failure what could not be done, and says so. Returns false. */
bool server_disk_failed(struct server *server, const char *what);
WARN_UNUSED bool server_store_log(struct server *server, u64 first);
/* The same for the news that raft->acked_through is fulfilled. */
WARN_UNUSED bool server_store_repaired(struct server *server);

/* Bytes of records that can be appended in this pile. (storage_room_soon: and in one of the next.)
 */
u64 server_room(struct server *server);

#endif
