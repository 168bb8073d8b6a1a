/* bounds.c - who is ended because of what it costs: all together hold too much, or something has
 * been waited for in vain.
 *
 * Patience. An idle client costs one small struct and may stay for ever. One that has sent half a
 * command, or does not read its answers while its next command waits behind them, costs more, and
 * is given stall_ns_max to get on: to complete a command, or to move PROGRESS_BYTES_MIN, so that a
 * slow line is told apart from a trickle. Everybody's patience is equally long, so the list of
 * those who have one is in the order of its ends.
 *
 * Memory. When all connections together hold more than memory_bytes_max, those go first that hold
 * most for longest (bytes times the time since they had a command taken), until an eighth is free;
 * those with CLIENT NO-EVICT only when there is nobody else. What a connection has under way in the
 * server does not count for that, since its end would not free it.
 *
 * What a burst has left in the heap goes back to the system when all is at rest.
 *
 * Hosts that are gone say nothing. The kernel asks those that are idle (keepalive); of those that
 * have answers to get we ask the kernel whether it still hears of them (tcp.h).
 *
 * Thread: the port's. */
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "common/memory.h"
#include "common/quantity.h"
#include "common/tcp.h"
#include "server/clients/commands.h"

enum {
    PROGRESS_BYTES_MIN = 64 * 1024,
    EVICTIONS_MAX = 16,       /* in one round: each is a look at all connections */
    EVICTABLE_MIN = 16 * 1024 /* nobody goes for less */
};

/* ---- patience ---- */

void bounds_forget(struct clients *clients, struct connection *connection)
{
    if (connection->patience == PATIENCE_NONE)
        return;
    if (connection->patient_previous != NULL)
        connection->patient_previous->patient_next = connection->patient_next;
    else
        clients->patient_first = connection->patient_next;
    if (connection->patient_next != NULL)
        connection->patient_next->patient_previous = connection->patient_previous;
    else
        clients->patient_last = connection->patient_previous;
    connection->patience = PATIENCE_NONE;
}

static void begin_patience(struct clients *clients, struct connection *connection,
                           enum connection_patience patience)
{
    connection->patience = (u8)patience;
    connection->patience_ends_ns = clients->now_ns + clients->options.stall_ns_max;
    connection->seen = connection_progress(connection);
    connection->patient_next = NULL;
    connection->patient_previous = clients->patient_last;
    if (clients->patient_last != NULL)
        clients->patient_last->patient_next = connection;
    else
        clients->patient_first = connection;
    clients->patient_last = connection;
}

static enum connection_patience patience_for(struct connection *connection)
{
    enum connection_patience other =
        connection->interest & EPOLLOUT ? PATIENCE_HOST : PATIENCE_NONE;
    if (connection->input.size == connection->input_start || connection->end_of_input)
        return other;
    switch (connection_wait_of(connection)) {
    case WAIT_NOTHING:
        return PATIENCE_HALF;
    case WAIT_OUTPUT:
        return PATIENCE_ANSWER;
    case WAIT_READS:
    case WAIT_ALL:
    case WAIT_PLACES:
        break; /* for us */
    }
    return other;
}

void bounds_note(struct clients *clients, struct connection *connection)
{
    bool nothing = connection->input.size == connection->input_start &&
                   connection->patience == PATIENCE_NONE && connection->input_noted == 0 &&
                   (connection->interest & EPOLLOUT) == 0;
    if (connection->closed || nothing)
        return;
    connection_note_input(connection);
    enum connection_patience patience = patience_for(connection);
    if (patience == connection->patience)
        return;
    bounds_forget(clients, connection);
    if (patience != PATIENCE_NONE)
        begin_patience(clients, connection, patience);
}

static bool gets_on(const struct clients *clients, struct connection *connection)
{
    if (connection->patience == PATIENCE_HOST)
        return !tcp_host_is_gone(connection->fd, clients->options.stall_ns_max);
    struct connection_progress before = connection->seen;
    struct connection_progress now = connection_progress(connection);
    return now.commands != before.commands ||
           now.received - before.received >= PROGRESS_BYTES_MIN ||
           now.sent - before.sent >= PROGRESS_BYTES_MIN;
}

static void end_impatiently(struct clients *clients, struct connection *connection)
{
    const char *why = "";
    char address[SOCKET_NAME_SIZE];
    char patience[QUANTITY_TEXT_SIZE];
    switch ((enum connection_patience)connection->patience) {
    case PATIENCE_NONE:
        UNREACHABLE();
    case PATIENCE_HALF:
        clients->counters.half_commands++;
        why = "it sent no more of a command that it had begun";
        break;
    case PATIENCE_ANSWER:
        clients->counters.stalled++;
        why = "it read none of its answers, while more of its commands wait";
        break;
    case PATIENCE_HOST:
        clients->counters.vanished++;
        why = "its host acknowledged nothing";
        break;
    }
    connection_address(connection, true, address, sizeof(address));
    REPORT_LIMITED(clients->report, &clients->stalls, REPORT_WARN, "clients",
                   "client %llu at %s is hung up on: for %s (client-stall-timeout) %s",
                   (unsigned long long)connection->id, address,
                   quantity_format_duration(clients->options.stall_ns_max, patience), why);
    port_close(clients, connection);
}

static void look_at_patience(struct clients *clients)
{
    struct connection *connection;
    while ((connection = clients->patient_first) != NULL &&
           connection->patience_ends_ns <= clients->now_ns) {
        enum connection_patience patience = (enum connection_patience)connection->patience;
        if (!gets_on(clients, connection)) {
            end_impatiently(clients, connection);
            continue;
        }
        bounds_forget(clients, connection);
        begin_patience(clients, connection, patience);
    }
}

/* ---- memory ---- */

/* What the end of this one would be worth. */
static u64 weight(const struct clients *clients, struct connection *connection)
{
    u64 bytes = connection_evictable(connection);
    if (bytes < EVICTABLE_MIN)
        return 0;
    return bytes * (1 + (clients->now_ns - connection->active_ns) / NS_PER_S);
}

static struct connection *find_heaviest(const struct clients *clients)
{
    struct connection *heaviest = NULL;
    u64 most = 0;
    for (struct connection *at = clients->connections; at != NULL; at = at->next) {
        u64 its = weight(clients, at);
        if (its == 0)
            continue;
        bool spared = at->no_evict && heaviest != NULL && !heaviest->no_evict;
        bool instead = heaviest != NULL && heaviest->no_evict && !at->no_evict;
        if (instead || (!spared && its > most)) {
            heaviest = at;
            most = its;
        }
    }
    return heaviest;
}

static void evict(struct clients *clients, struct connection *connection)
{
    char address[SOCKET_NAME_SIZE];
    char all[QUANTITY_TEXT_SIZE];
    clients->counters.evicted++;
    connection_address(connection, true, address, sizeof(address));
    REPORT_LIMITED(clients->report, &clients->evictions, REPORT_WARN, "clients",
                   "client %llu at %s is hung up on: all clients together hold more than %s "
                   "(clients-memory-bytes), and it holds %llu bytes, no command taken for %llu s",
                   (unsigned long long)connection->id, address,
                   quantity_format_bytes(clients->bounds.memory_max, all),
                   (unsigned long long)connection_memory(connection),
                   (unsigned long long)((clients->now_ns - connection->active_ns) / NS_PER_S));
    port_close(clients, connection);
    connection_drop_input(connection); /* now, for the account says whether more have to go */
    connection_note_input(connection);
}

static void look_at_memory(struct clients *clients)
{
    u64 max = clients->bounds.memory_max;
    u64 wanted = clients->evicts ? max - max / 8 : max;
    clients->evicts = false;
    for (u32 i = 0; atomic_load(&clients->bounds.memory) > wanted; i++) {
        struct connection *connection = find_heaviest(clients);
        if (connection == NULL)
            return;
        if (i == EVICTIONS_MAX) {
            clients->evicts = true;
            return;
        }
        wanted = max - max / 8;
        evict(clients, connection);
    }
}

/* Whether a burst is over whose memory the heap may still have. */
static bool trim_is_due(const struct clients *clients)
{
    u64 memory = atomic_load(&clients->bounds.memory);
    return clients->memory_peak >= MEMORY_TRIM_MIN && memory < clients->memory_peak / 4;
}

/* Trimming makes who allocates wait, so it waits itself until nobody has asked for anything for a
 * while. */
static void look_at_rest(struct clients *clients)
{
    u64 memory = atomic_load_explicit(&clients->bounds.memory, memory_order_relaxed);
    clients->memory_peak = u64_max(clients->memory_peak, memory);
    if (!trim_is_due(clients) || clients->now_ns - clients->heard_ns < MEMORY_TRIM_REST_NS)
        return;
    clients->memory_peak = memory;
    memory_trim();
}

void bounds_work(struct clients *clients)
{
    look_at_patience(clients);
    look_at_memory(clients);
    look_at_rest(clients);
}

int bounds_timeout_ms(const struct clients *clients)
{
    if (clients->evicts)
        return 0;
    u64 ends_ns = UINT64_MAX;
    if (clients->patient_first != NULL)
        ends_ns = clients->patient_first->patience_ends_ns;
    if (trim_is_due(clients))
        ends_ns = u64_min(
            ends_ns, u64_max(clients->heard_ns + MEMORY_TRIM_REST_NS, clients->now_ns + NS_PER_MS));
    if (ends_ns == UINT64_MAX)
        return -1;
    return ends_ns <= clients->now_ns ? 0 : (int)((ends_ns - clients->now_ns) / NS_PER_MS) + 1;
}

/* ---- hosts that are gone ---- */

void bounds_tune(const struct clients *clients, int fd)
{
    u64 patience_s = u64_max(clients->options.stall_ns_max / NS_PER_S, 1);
    tcp_tune(fd, patience_s, u64_max(patience_s / TCP_KEEPALIVE_COUNT, 1));
}

void bounds_note_failure(struct clients *clients, struct connection *connection)
{
    int failure = 0;
    socklen_t size = sizeof(failure);
    if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &failure, &size) == 0 &&
        (failure == ETIMEDOUT || failure == EHOSTUNREACH))
        clients->counters.vanished++;
}
