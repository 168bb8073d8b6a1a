/* backup.h - raftctl snapshot and raftctl backup.
 *
 * A backup is a snapshot's file, copied from a running server piece by piece through its client
 * port. It holds everything that was acknowledged before the command began, whichever server it is
 * made from: the leader is asked first, by a linearizable read, through which entry that is, and
 * the server is waited for until its snapshot reaches so far. The file gets its name when all of it
 * is there, verified and synced. */
#ifndef MAILRAFT_TOOLS_RAFTCTL_BACKUP_H
#define MAILRAFT_TOOLS_RAFTCTL_BACKUP_H

#include "tools/raftctl/ask.h"

/* Takes a snapshot on raftctl->where. Errors: ERROR_UNAVAILABLE. Blocks. */
enum error_code snapshot_run(struct raftctl *raftctl, struct error *error);

/* Makes a backup in raftctl->file. Errors: ERROR_UNAVAILABLE (no leader, or the server is gone or
 * refuses), ERROR_EXISTS (the file, without raftctl->force), ERROR_MISSING (its directory),
 * ERROR_CORRUPT (what came is damaged), ERROR_IO, ERROR_NO_SPACE. Blocks. */
enum error_code backup_run(struct raftctl *raftctl, struct error *error);

#endif
