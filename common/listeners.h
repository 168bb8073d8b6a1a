/* listeners.h - the sockets that listen at all the addresses that a name stands for.
 *
 * A name may have several: "localhost" is 127.0.0.1 and ::1 on most machines, and whoever listens
 * at one of them is not found by those who try the other. All share one descriptor that can be
 * polled, and one call that accepts. */
#ifndef MAILRAFT_COMMON_LISTENERS_H
#define MAILRAFT_COMMON_LISTENERS_H

#include <netdb.h>

#include "common/error.h"
#include "common/types.h"

enum { LISTENERS_MAX = 8, LISTENERS_NAMES_SIZE = 256 };

struct listeners {
    int set; /* readable when a connection waits at any of them (an epoll); -1: closed */
    u32 count;
    int fd[LISTENERS_MAX];
    char names[LISTENERS_NAMES_SIZE]; /* "127.0.0.1, ::1": where it listens */
};

/* Listens at all of `found`, or at the first LISTENERS_MAX. Addresses that this machine does not
 * have are left out, if it has any of them. On an error nothing listens. `address` is for messages.
 * Errors: ERROR_UNAVAILABLE (in use, or none is this machine's), ERROR_SYSTEM. Never blocks. */
WARN_UNUSED enum error_code listeners_open(struct listeners *listeners,
                                           const struct addrinfo *found, const char *address,
                                           int backlog, struct error *error);

/* As accept4 of whichever has a connection: non-blocking, closed on exec, -1 and errno. */
int listeners_accept(const struct listeners *listeners);

/* The port that the first one listens at; 0: none does. */
u16 listeners_port(const struct listeners *listeners);

/* Closes all. A no-op when they are closed. */
void listeners_close(struct listeners *listeners);

#endif
