/* tcp.h - what both ports ask of the kernel about their connections. Never blocks; any thread. */
#ifndef MAILRAFT_COMMON_TCP_H
#define MAILRAFT_COMMON_TCP_H

#include "common/types.h"

enum { TCP_KEEPALIVE_COUNT = 3 /* unanswered probes of an idle connection that end it */ };

/* Small packets leave at once, and a connection on which nothing is under way is probed after
 * `idle_s` seconds, every `interval_s`. */
void tcp_tune(int fd, u64 idle_s, u64 interval_s);

/* Whether the kernel has heard nothing of the other end's host for that long, though it did ask:
 * with bytes that it had to repeat, or with probes of a window that is closed. A host that lives
 * answers, also while its program takes nothing in. (TCP_USER_TIMEOUT would not do: it ends a
 * connection whose window is closed for that long, answered or not.) */
bool tcp_host_is_gone(int fd, u64 silence_ns);

#endif
