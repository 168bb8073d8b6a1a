/* parked.h - commands that wait for a leader to be known, the oldest first.
 *
 * Thread: the one that runs the server's rules. */
#ifndef MAILRAFT_REQUESTS_PARKED_H
#define MAILRAFT_REQUESTS_PARKED_H

#include "server/mail/command.h"

/* Takes the command in. */
void parked_put(struct command_list *parked, struct command *command);

/* When the first of them will have waited for `wait_ns`; UINT64_MAX when there is none. */
u64 parked_until_ns(const struct command_list *parked, u64 wait_ns);

/* Takes out the first if it has waited so long; else NULL. */
struct command *parked_expired(struct command_list *parked, u64 wait_ns, u64 now_ns);

#endif
