/* drain.c - the port before the end: everybody is answered, and then let go.
 *
 * A client whose connection is closed while a command of its is on the way never learns what became
 * of that command. So a connection is not closed when its last answer has left, for the client may
 * be about to send the next command; it is closed when nothing has come for DRAIN_QUIET_NS. What
 * comes until then is answered, by a definite error, as all that was accepted before is by its
 * answer. Whoever goes on asking in spite of the error is served with it until the deadline of
 * clients_drain.
 *
 * Connections are looked at every DRAIN_LOOK_MS: nobody else would tell that nothing has happened.
 *
 * Thread: the port's. */
#include <unistd.h>

#include "server/clients/port.h"

#define DRAIN_QUIET_NS (100 * NS_PER_MS)

/* Whoever has connected by now is served, and not reset by the closing of the listener. */
static void begin(struct clients *clients)
{
    while (port_accept(clients))
        continue;
    listeners_close(&clients->listeners);
    clients->draining = true;
}

static bool may_end(struct connection *connection, u64 now_ns)
{
    if (!connection_is_quiet(connection)) {
        connection->quiet_ns = 0;
        return false;
    }
    if (connection->quiet_ns == 0)
        connection->quiet_ns = now_ns;
    u64 since_ns = u64_max(connection->quiet_ns, connection->heard_ns);
    return now_ns >= since_ns + DRAIN_QUIET_NS;
}

static void end_the_quiet(struct clients *clients)
{
    struct connection *next;
    for (struct connection *at = clients->connections; at != NULL; at = next) {
        next = at->next;
        if (!may_end(at, clients->now_ns))
            continue;
        connection_close_when_done(at); /* so that what it may have sent just now resets nothing */
        port_close(clients, at);
    }
}

void drain_work(struct clients *clients)
{
    mutex_lock(&clients->lock);
    bool asked = clients->drain_asked && !clients->drained;
    mutex_unlock(&clients->lock);
    if (!asked || clients->stopping)
        return;
    if (!clients->draining)
        begin(clients);
    end_the_quiet(clients);
    if (clients->connections != NULL)
        return;
    mutex_lock(&clients->lock);
    clients->drained = true;
    condition_broadcast(&clients->quiet);
    mutex_unlock(&clients->lock);
}
