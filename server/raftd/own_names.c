/* own_names.c - see own_names.h. */
#include "server/raftd/own_names.h"

#include <string.h>

#include "common/clock.h"
#include "common/resolver.h"

#define ANSWER_NS_MAX  NS_PER_S /* then signals are looked at */
#define PAUSE_NS       (200 * NS_PER_MS)
#define UNKNOWN_NS_MAX (5 * NS_PER_S) /* how long a name may be unknown */
#define SAY_NS         (10 * NS_PER_S)

static enum error_code await_one(struct resolver *resolver, const char *address,
                                 struct signals *signals, struct report *report, bool *stopped,
                                 struct error *error)
{
    u64 begun_ns = clock_monotonic_ns();
    u64 said_ns = 0;
    for (;;) {
        struct addrinfo *found = NULL;
        u64 now_ns = clock_monotonic_ns();
        enum error_code code =
            resolver_ask(resolver, address, true, -1, now_ns + ANSWER_NS_MAX, &found, error);
        if (found != NULL)
            freeaddrinfo(found);
        bool passes = code == ERROR_UNAVAILABLE ||
                      (code == ERROR_CONFIG && now_ns - begun_ns < UNKNOWN_NS_MAX);
        if (!passes)
            return code;
        if (said_ns == 0 || now_ns - said_ns >= SAY_NS) {
            said_ns = now_ns;
            REPORT(report, REPORT_WARN, "raftd",
                   "the name of this server itself is not known as yet, trying again: %s",
                   error->text);
        }
        *stopped = signals_stop_came(signals, PAUSE_NS);
        if (*stopped)
            return ERROR_NONE;
    }
}

enum error_code own_names_await(const struct member *self, struct signals *signals,
                                struct report *report, bool *stopped, struct error *error)
{
    struct resolver resolver = {0};
    *stopped = false;
    enum error_code code =
        await_one(&resolver, self->peer_address, signals, report, stopped, error);
    if (code == ERROR_NONE && !*stopped)
        code = await_one(&resolver, self->client_address, signals, report, stopped, error);
    resolver_deinit(&resolver);
    return code;
}
