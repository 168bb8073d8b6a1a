/* local.h - what is asked of this very server, whatever its state: its status, a setting, a
 * snapshot.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_ADMIN_LOCAL_H
#define MAILRAFT_ADMIN_LOCAL_H

#include "server/replica/replica.h"

/* Answers what is asked of this very server (command_is_local), in any state. `lead` is NULL in
 * other states. Consumes it. */
void server_answer_local(struct server *server, struct leader_pending *lead,
                         struct command *command);

#endif
