/* resolver.h - names to addresses, without anybody waiting for them for longer than he wants to.
 *
 * The system's resolver may take ten seconds where a name server is silent, and cannot be
 * interrupted. So a thread of its own asks it, and whoever wants to know waits with a deadline. A
 * question that was not answered by then goes on, and whoever asks again waits for its answer, so
 * that there is never more than one thread for a resolver. At the end it is left to itself.
 * Addresses in numbers need neither a thread nor a wait. */
#ifndef MAILRAFT_COMMON_RESOLVER_H
#define MAILRAFT_COMMON_RESOLVER_H

#include <netdb.h>

#include "common/error.h"
#include "common/types.h"

struct resolver_question;

/* All 0 at the beginning. Belongs to one thread at a time. */
struct resolver {
    struct resolver_question *question; /* that goes on; NULL: none */
};

enum { RESOLVER_HOST_SIZE = 128 };

/* Resolves "host:port" or "[v6]:port"; `passive`: to listen there. Waits until `deadline_ns`, or
 * until the eventfd `wake` is readable (-1: there is none), which is left as it is. Ownership: the
 * caller frees `*found` (freeaddrinfo). Errors: ERROR_CONFIG (no such form; there is no such name),
 * ERROR_UNAVAILABLE (it cannot be resolved now, or not in time), ERROR_BUSY (woken), ERROR_SYSTEM.
 * Blocks. */
WARN_UNUSED enum error_code resolver_ask(struct resolver *resolver, const char *address,
                                         bool passive, int wake, u64 deadline_ns,
                                         struct addrinfo **found, struct error *error);

/* Leaves a question that goes on to itself. Never blocks. */
void resolver_deinit(struct resolver *resolver);

#endif
