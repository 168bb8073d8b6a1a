/* own_names.h - the names at which this server listens, before it does.
 *
 * They may not be known for a moment when a machine starts: the name service is not up yet, or has
 * not heard of this server. That is no wrong configuration, and is waited for. */
#ifndef MAILRAFT_RAFTD_OWN_NAMES_H
#define MAILRAFT_RAFTD_OWN_NAMES_H

#include "server/raftd/signals.h"
#include "server/rules/configuration.h"

/* Waits until both addresses of `self` can be resolved, and says what it waits for. A name service
 * that does not answer is waited for as long as it takes; a name that it does not know, for some
 * seconds. `*stopped`: a signal came that ends the server. Errors: ERROR_CONFIG, ERROR_SYSTEM.
 * Thread: main. Blocks. */
WARN_UNUSED enum error_code own_names_await(const struct member *self, struct signals *signals,
                                            struct report *report, bool *stopped,
                                            struct error *error);

#endif
