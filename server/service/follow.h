/* follow.h - what a follower does for its clients, and with its leader's messages.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_SERVICE_FOLLOW_H
#define MAILRAFT_SERVICE_FOLLOW_H

#include "server/replica/replica.h"

/* Takes an AppendEntries of the current term and stages the reply. Returns false when the leader
 * breaks the protocol; `*why` says how. */
WARN_UNUSED bool follow_take_entries(struct server *server, const struct message *request,
                                     u64 now_ns, const char **why);

/* Takes a command: answers it here, parks it, redirects the client, or puts it into `forwarding`.
 */
void follow_take_command(struct server *server, struct forwarding *forwarding,
                         struct command *command);

/* Takes the answers to a FORWARD. A leader that has stepped down says so when it is asked; until it
 * is heard again commands wait, instead of going to and fro. */
void follow_take_forward_reply(struct server *server, struct forwarding *forwarding,
                               const struct message *reply);

/* The end of a follower's pile: what waits for a leader goes to it, once there is one; what has
 * waited too long fails. */
void follow_forward(struct server *server, struct forwarding *forwarding, u64 now_ns);

/* The leader, or the connection to it, is lost. */
void follow_forwarding_lost(struct server *server, struct forwarding *forwarding);

/* The message with this call was certainly never sent. */
void follow_forward_unsent(struct server *server, struct forwarding *forwarding, u64 call);

#endif
