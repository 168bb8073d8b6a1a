/* snapshot.h - when a snapshot is taken, what becomes of one that came, and what the log may
 * then forget; alike in all designs (§7).
 *
 * A snapshot is begun when the log that was applied since the last one has reached a size, or when
 * somebody asks. From then on each pile ends with a slice of the machine's state for the thread of
 * snapshot_thread.h. When the file is on disk, the log forgets what it stands for, but for some
 * entries kept for those who lag a little.
 *
 * Thread: the server's. */
#ifndef MAILRAFT_REPLICA_SNAPSHOT_H
#define MAILRAFT_REPLICA_SNAPSHOT_H

#include "server/replica/replica.h"

/* `slot` is where its thread posts news. */
void server_snapshot_init(struct server *server, struct mail_slot *slot);
/* Answers those who wait for a snapshot: there is one. */
void server_snapshot_answer_waiting(struct server *server);
void server_snapshot_deinit(struct server *server);

/* Counts an applied entry. */
void server_snapshot_note(struct server *server, u64 bytes);

/* Entries were wanted for a peer, and their reading has ended. If they are still waited for, and
 * could not be read, it must get a snapshot instead. To be called before the rules take the result.
 */
void server_snapshot_note_read(struct server *server, struct leadership *leadership,
                               const struct entries_read *read);

/* A client of this server wants a snapshot to be taken now; the answer is the index of its last
 * entry, and comes when it is on disk. Consumes the command. */
void server_snapshot_ask(struct server *server, struct command *command);

/* A client fetches a piece of a snapshot's file, which stays a while. Consumes the command. */
void server_snapshot_pin(struct server *server, struct command *command);

/* The end of a pile: begins a snapshot if one is due, and hands over a slice. Never blocks. */
void server_snapshot_work(struct server *server);

/* Whether one has been begun that is not on disk yet. */
bool server_snapshot_is_going_on(const struct server *server);

/* The snapshot that was begun under this number is on disk, or has failed. One that was given up
 * since is nobody's loss. */
void server_snapshot_taken(struct server *server, u64 order, bool success);

/* How long syncs of snapshots' files have taken, up to now; and forgets that. */
const struct snapshot_syncs *server_snapshot_syncs(struct server *server);
void server_snapshot_reset_syncs(struct server *server);

#endif
