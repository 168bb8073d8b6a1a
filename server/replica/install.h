/* install.h - a snapshot comes from a leader, piece by piece, and takes the place of log and
 * machine (§7).
 *
 * Thread: the one that runs the server's rules. */
#ifndef MAILRAFT_REPLICA_INSTALL_H
#define MAILRAFT_REPLICA_INSTALL_H

#include "server/replica/replica.h"

/* Takes down the next piece of a snapshot that a leader sends; false when that is not possible
 * now. */
WARN_UNUSED bool server_write_piece(struct server *server, const struct message *request);

/* Fetches the one that has been received. Returns its machine, or NULL when there is none now. */
struct machine *server_fetch_machine(struct server *server, struct snapshot_point *point);

/* Puts the machine in place of the present one, which is given away to be freed; if the log was
 * reset, the disk is told. False when the disk failed: server->failure says why. Blocks for a
 * sync when the log was reset. */
WARN_UNUSED bool server_swap_state(struct server *server, enum installed installed,
                                   const struct snapshot_point *point, struct machine *machine);

/* [InstallSnapshot, §7] Takes a piece of a snapshot; as follow_take_entries. */
WARN_UNUSED bool server_take_piece(struct server *server, const struct message *request, u64 now_ns,
                                   const char **why);

/* A snapshot is on disk, or is not going to be; or one that was received is ready to take the place
 * of log and machine, in any state. If that fails because of the disk, the next flush says so. */
void server_take_snapshot_news(struct server *server, const struct snapshot_result *result);

#endif
