/* stall.c - the port while the server's thread has stalled: nobody waits for it in vain.
 *
 * New commands are refused with a definite error (dispatch.c); those under way are given up when
 * their time is up: reads with a definite error, writes with -TIMEOUT, since the server may execute
 * them yet. Who asks for the status hears what is known. What the server answers later to commands
 * that were given up is dropped.
 *
 * Thread: the port's. */
#include "server/clients/port.h"

/* Who has asked for the status before the stall was known has waited long enough. */
#define STATUS_PATIENCE_NS (200 * NS_PER_MS)

void stall_look(struct clients *clients)
{
    /* Once clients_stop has returned the server may go, and its liveness with it. */
    clients->stalled = !clients->stopping && liveness_stalled_ns(clients->options.liveness) != 0;
}

void stall_describe(struct clients *clients, struct buffer *to)
{
    liveness_describe_stall(clients->options.liveness, clients->now_ns, to);
}

void stall_work(struct clients *clients)
{
    if (!clients->stalled || clients->stopping)
        return;
    struct buffer status;
    buffer_init(&status);
    stall_describe(clients, &status);
    struct stall_answers answers = {
        .now_ns = clients->now_ns,
        .patience_ns = atomic_load(&clients->options.liveness->patience_ns),
        .status_patience_ns = STATUS_PATIENCE_NS,
        .status = status.data,
        .status_size = status.size,
    };
    struct connection *next;
    for (struct connection *at = clients->connections; at != NULL; at = next) {
        next = at->next;
        if (connection_is_quiet(at))
            continue;
        connection_give_up(at, &answers);
        dispatch_texts(clients, at);
        port_serve(clients, at);
        bounds_note(clients, at);
    }
    buffer_deinit(&status);
}
