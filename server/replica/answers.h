/* answers.h - answers to commands, through their sinks, which are flushed at the end of the pile.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_REPLICA_ANSWERS_H
#define MAILRAFT_REPLICA_ANSWERS_H

#include "server/replica/replica.h"

/* Answers through the command's sink, which is flushed at the end of the pile. */
void server_answer(struct server *server, struct command *command, const u8 *answer, size_t size);
void server_fail(struct server *server, struct command *command, enum command_failure failure);
/* Sends the client to the leader, which is known. */
void server_redirect(struct server *server, struct command *command);

/* Sends out the answers gathered so far; part of every flush, and the last thing at the end. */
void server_flush_answers(struct server *server);

#endif
