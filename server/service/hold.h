/* hold.h - commands while there is no leader, or none is known: they wait, for leader_wait_ns at
 * most.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_SERVICE_HOLD_H
#define MAILRAFT_SERVICE_HOLD_H

#include "server/replica/replica.h"

/* Takes a command while there is no leader: answers it here, or parks it. */
void hold_command(struct server *server, struct command *command);

/* Fails the parked commands that have waited too long; returns when the next one will have. */
u64 hold_expire(struct server *server, u64 now_ns);

#endif
