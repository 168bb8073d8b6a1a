/* load.h - a server comes back as its disk has it: term and vote, snapshot, log, machine.
 *
 * Thread: main, before anything runs. */
#ifndef MAILRAFT_REPLICA_LOAD_H
#define MAILRAFT_REPLICA_LOAD_H

#include "server/replica/replica.h"

/* Opens the storage, and makes Raft's state and the machine of what it finds; entries known to be
 * committed are applied. Errors: storage_open's, ERROR_MISMATCH (another server's directory, or
 * entries of a newer version). Blocks. */
WARN_UNUSED enum error_code server_load(struct server *server, struct error *error);

#endif
