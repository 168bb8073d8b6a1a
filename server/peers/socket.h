/* socket.h - TCP sockets as the peers room wants them, and waiting for one with a deadline.
 *
 * It hides names and addresses, options, and the ways in which connecting fails. All sockets are
 * non-blocking unless said otherwise, and closed on exec. */
#ifndef MAILRAFT_PEERS_SOCKET_H
#define MAILRAFT_PEERS_SOCKET_H

#include "common/error.h"
#include "common/listeners.h"
#include "common/resolver.h"
#include "common/types.h"

enum { SOCKET_NAME_SIZE = 64 }; /* a numeric address with its NUL */

/* Listens at all addresses of `address` ("host:port", "[v6]:port"). Errors: as resolver_ask and
 * listeners_open. Blocks in the resolver, for a while. */
WARN_UNUSED enum error_code socket_listen(const char *address, struct listeners *listeners,
                                          struct error *error);

/* Connects to whichever of the address's hosts answers first; they are tried by turns. Returns
 * early with ERROR_BUSY when `wake` becomes readable, which it empties. Errors: as resolver_ask,
 * ERROR_UNAVAILABLE. Blocks. */
WARN_UNUSED enum error_code socket_connect(struct resolver *resolver, const char *address, int wake,
                                           u64 deadline_ns, int *socket, struct error *error);

/* Sets the options of a connection between servers, and its mode. */
void socket_tune(int socket, bool blocking);

/* The other end's numeric address, without its port. */
void socket_name(int socket, char name[SOCKET_NAME_SIZE]);

/* What became of a connection: the pending error, or "closed by the other side". */
const char *socket_fate(int socket);

enum socket_event {
    SOCKET_READY, /* one of the events, or an error, which the next call on it tells */
    SOCKET_WOKEN, /* the eventfd was written to; it has been emptied */
    SOCKET_EXPIRED
};

/* Waits for `events` (of poll) on `socket`, -1: none, or for the eventfd `wake`, which goes first.
 * Blocks until `deadline_ns` (UINT64_MAX: for ever). */
enum socket_event socket_wait(int socket, short events, int wake, u64 deadline_ns);

/* The rest of the time as poll wants it: NULL for ever, else `*rest`. */
struct timespec *socket_rest(u64 deadline_ns, struct timespec *rest);

/* An eventfd, to wake a thread that waits for sockets. */
WARN_UNUSED enum error_code wake_create(int *wake, struct error *error);
void wake_post(int wake);
void wake_empty(int wake);

/* Closes, unless it is -1, and sets it to -1. */
void socket_close(int *socket);

#endif
