/* connection_account.h - what a connection costs: for connection.c and its account alone.
 *
 * All of these want the connection's lock held. */
#ifndef MAILRAFT_CLIENTS_CONNECTION_ACCOUNT_H
#define MAILRAFT_CLIENTS_CONNECTION_ACCOUNT_H

#include "server/clients/connection.h"

enum { CHARGE_STEP = 4 * 1024 /* what a connection may hold uncharged between two flushes */ };

/* Bytes that it holds, of both sides. */
u64 connection_memory_locked(const struct connection *connection);
/* Charges to the account of all what has changed, if that is more than `step`. */
void connection_charge_locked(struct connection *connection, u64 step);
/* Unsent bytes beyond which no command is taken. */
u64 connection_output_max(const struct connection *connection);
/* Whether this one has to bear it that all together hold too much. */
bool connection_is_over_its_share_locked(const struct connection *connection);

#endif
