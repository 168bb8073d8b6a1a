/* transfer.h - orders to hand leadership over: what those are told who gave them.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_SERVICE_TRANSFER_H
#define MAILRAFT_SERVICE_TRANSFER_H

#include "server/replica/replica.h"

/* Tells whoever ordered a transfer what became of it; `who` is the server that the result is about.
 * Consumes the command. */
void server_answer_order(struct server *server, struct command *command,
                         enum transfer_result result, server_id who);
/* The same for an order that a server holds which does not lead: one that it never began, or one
 * that it began as the leader. */
void server_conclude_order(struct server *server, struct command *command);

#endif
