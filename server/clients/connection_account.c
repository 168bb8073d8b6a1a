/* connection_account.c - see connection_account.h; and what the port asks to judge a connection. */
#include "server/clients/connection_account.h"

#include "common/memory.h"

enum { SHARE_BYTES_MIN = 64 * 1024 /* an equal part of the account is never called less */ };

u64 connection_memory_locked(const struct connection *connection)
{
    u64 places = connection->places == connection->built_in
                     ? 0
                     : (u64)connection->capacity * sizeof(struct place);
    return sizeof(*connection) + connection->input_memory + connection->output.memory +
           connection->stored_bytes + connection->flying_bytes + places;
}

void connection_charge_locked(struct connection *connection, u64 step)
{
    u64 memory = connection_memory_locked(connection);
    u64 change = memory - connection->charged; /* modulo 2^64: it may have become less */
    if (change + step <= 2 * step)
        return;
    connection->charged = memory;
    atomic_fetch_add_explicit(&connection->bounds->memory, change, memory_order_relaxed);
}

static u64 account(const struct connection *connection)
{
    return atomic_load_explicit(&connection->bounds->memory, memory_order_relaxed);
}

/* An equal part of what all may hold, were all alike. */
static u64 share(const struct connection *connection)
{
    u32 count = atomic_load_explicit(&connection->bounds->connections, memory_order_relaxed);
    return u64_max(connection->bounds->memory_max / u64_max(count, 1), SHARE_BYTES_MIN);
}

u64 connection_output_max(const struct connection *connection)
{
    const struct connection_bounds *bounds = connection->bounds;
    if (account(connection) <= bounds->memory_max / 2)
        return bounds->output_max;
    /* All of these parts together are half of what is left, for what was guessed too small. */
    return u64_min(bounds->output_max, share(connection) / 4);
}

bool connection_is_over_its_share_locked(const struct connection *connection)
{
    return account(connection) > connection->bounds->memory_max &&
           connection_memory_locked(connection) > share(connection);
}

/* ---- for the port's judgement ---- */

void connection_note_input(struct connection *connection)
{
    u64 memory = connection->input.capacity;
    if (connection->parser != NULL)
        memory += sizeof(*connection->parser) + resp_parser_memory(connection->parser);
    if (memory == connection->input_noted)
        return;
    connection->input_noted = memory;
    mutex_lock(&connection->lock);
    connection->input_memory = memory;
    connection_charge_locked(connection, 0);
    mutex_unlock(&connection->lock);
}

void connection_drop_input(struct connection *connection)
{
    buffer_deinit(&connection->input);
    connection->input_start = 0;
    if (connection->parser != NULL) {
        resp_parser_deinit(connection->parser);
        memory_free(connection->parser);
        connection->parser = NULL;
    }
}

u64 connection_memory(struct connection *connection)
{
    mutex_lock(&connection->lock);
    u64 memory = connection_memory_locked(connection);
    mutex_unlock(&connection->lock);
    return memory;
}

u64 connection_evictable(struct connection *connection)
{
    mutex_lock(&connection->lock);
    u64 memory = connection_memory_locked(connection) - connection->flying_bytes;
    mutex_unlock(&connection->lock);
    return memory;
}

struct connection_progress connection_progress(struct connection *connection)
{
    mutex_lock(&connection->lock);
    struct connection_progress progress = {connection->commands, connection->received,
                                           connection->sent};
    mutex_unlock(&connection->lock);
    return progress;
}
