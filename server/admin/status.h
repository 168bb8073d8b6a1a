/* status.h - what a server says of itself: the raft section of INFO, and raftctl's table.
 *
 * Lines "key:value", each ended by CRLF. Keys never change their meaning; new ones are added.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_ADMIN_STATUS_H
#define MAILRAFT_ADMIN_STATUS_H

#include "server/replica/replica.h"

/* Appends what this server knows of itself as lines "key:value\r\n", keys beginning with raft_. */
void server_describe(struct server *server, const struct leader_pending *lead, struct buffer *to);

/* The end of a pile: leaves a copy of that in the liveness, if one is due. */
void server_note_status(struct server *server, const struct leader_pending *lead);

#endif
