/* connection.c - see connection.h. */
#include "server/clients/connection_account.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/memory.h"
#include "server/clients/reply.h"

enum {
    LINGER_READS = 16, /* reads that empty the socket of a client that is being closed */
    LINGER_BYTES = 4096,
    STALL_TEXT_SIZE = 160,
    SMALL_ANSWER = 1024, /* never refused: PLACES_MAX of them are harmless */
    OUTPUT_OVERSHOOT = 2 /* of the bound: what answers already under way may make of it */
};

static const char unknown_text[] =
    "-TIMEOUT outcome unknown: the command may or may not have been executed\r\n";
static const char overflow_text[] =
    "-BUSY answers that this client has not read exceed their bound; the read was not answered\r\n";

struct connection *connection_create(int fd, u64 id, u64 now_ns, struct connection_bounds *bounds)
{
    struct connection *connection = memory_alloc_zero(1, sizeof(*connection));
    atomic_init(&connection->references, 1);
    connection->bounds = bounds;
    connection->fd = fd;
    connection->id = id;
    connection->created_ns = now_ns;
    connection->active_ns = now_ns;
    connection->protocol = 2;
    connection->places = connection->built_in;
    connection->capacity = PLACES_BUILT_IN;
    connection->answer_typical = bounds->output_max / GUESS_DIVISOR;
    buffer_init(&connection->input);
    output_init(&connection->output);
    mutex_init(&connection->lock);
    atomic_fetch_add_explicit(&bounds->connections, 1, memory_order_relaxed);
    return connection;
}

void connection_hold(struct connection *connection)
{
    atomic_fetch_add_explicit(&connection->references, 1, memory_order_relaxed);
}

static void drop_places(struct connection *connection)
{
    for (u64 n = connection->first; n != connection->end; n++)
        memory_free(connection->places[n & (connection->capacity - 1)].bytes);
    if (connection->places != connection->built_in)
        memory_free(connection->places);
}

void connection_release(struct connection *connection)
{
    if (atomic_fetch_sub_explicit(&connection->references, 1, memory_order_acq_rel) != 1)
        return;
    ASSERT(connection->closed);
    atomic_fetch_sub_explicit(&connection->bounds->memory, connection->charged,
                              memory_order_relaxed);
    drop_places(connection);
    connection_drop_input(connection);
    output_deinit(&connection->output);
    memory_free(connection->name);
    memory_free(connection->library_name);
    memory_free(connection->library_version);
    mutex_deinit(&connection->lock);
    memory_free(connection);
}

static struct place *place_at(struct connection *connection, u64 number)
{
    return &connection->places[number & (connection->capacity - 1)];
}

/* Bytes that the client has not got yet, wherever they are. */
static u64 unsent_locked(const struct connection *connection)
{
    return connection->output.size + connection->stored_bytes;
}

/* ---- taking commands ---- */

/* Answers of reads under way are counted by what answers of this client have typically been. */
static bool output_is_full_locked(const struct connection *connection, u64 max)
{
    u64 unsent = unsent_locked(connection);
    return unsent > max ||
           (connection->reads > 0 && unsent + connection->reads * connection->answer_typical > max);
}

static enum connection_wait wait_for_locked(const struct connection *connection,
                                            enum connection_take take)
{
    if (take == TAKE_WRITE && connection->reads > 0)
        return WAIT_READS;
    if (take == TAKE_ALONE && connection->first != connection->end)
        return WAIT_ALL;
    if (connection->end - connection->first >= PLACES_MAX)
        return WAIT_PLACES;
    if (output_is_full_locked(connection, connection_output_max(connection)))
        return WAIT_OUTPUT;
    return WAIT_NOTHING;
}

bool connection_may_take(struct connection *connection, enum connection_take take)
{
    mutex_lock(&connection->lock);
    connection->wait = (u8)wait_for_locked(connection, take);
    bool may = connection->wait == WAIT_NOTHING;
    mutex_unlock(&connection->lock);
    return may;
}

/* Whether the reason for waiting has gone. Half of a bound must be free again, so that the port is
 * not woken for each single answer. */
static bool wait_is_over_locked(const struct connection *connection)
{
    switch ((enum connection_wait)connection->wait) {
    case WAIT_NOTHING:
        return false;
    case WAIT_READS:
        return connection->reads == 0;
    case WAIT_ALL:
        return connection->first == connection->end;
    case WAIT_PLACES:
        return connection->end - connection->first <= PLACES_MAX / 2;
    case WAIT_OUTPUT:
        return !output_is_full_locked(connection, connection_output_max(connection) / 2);
    }
    UNREACHABLE();
}

bool connection_may_go_on(struct connection *connection)
{
    mutex_lock(&connection->lock);
    bool over = wait_is_over_locked(connection);
    if (over)
        connection->wait = WAIT_NOTHING;
    mutex_unlock(&connection->lock);
    return over;
}

enum connection_wait connection_wait_of(struct connection *connection)
{
    mutex_lock(&connection->lock);
    enum connection_wait wait = (enum connection_wait)connection->wait;
    mutex_unlock(&connection->lock);
    return wait;
}

bool connection_is_waiting(struct connection *connection)
{
    return connection_wait_of(connection) != WAIT_NOTHING;
}

/* ---- places ---- */

static void grow_places_locked(struct connection *connection)
{
    u32 capacity = connection->capacity * 4;
    struct place *places = memory_alloc_zero(capacity, sizeof(*places));
    for (u64 n = connection->first; n != connection->end; n++)
        places[n & (capacity - 1)] = *place_at(connection, n);
    if (connection->places != connection->built_in)
        memory_free(connection->places);
    connection->places = places;
    connection->capacity = capacity;
}

static u64 give_place_locked(struct connection *connection)
{
    if (connection->end - connection->first == connection->capacity)
        grow_places_locked(connection);
    u64 number = connection->end++;
    *place_at(connection, number) = (struct place){
        .muted = connection->quiet || connection->quiet_this,
    };
    return number;
}

u64 connection_give_place(struct connection *connection, struct command *command, u8 shape,
                          u32 details)
{
    enum command_class class = command->class;
    mutex_lock(&connection->lock);
    u64 number = give_place_locked(connection);
    struct place *place = place_at(connection, number);
    place->shape = shape;
    place->details = details;
    place->flying = (u32)(sizeof(*command) + command->body.size);
    connection->flying_bytes += place->flying;
    command->after_write = class == COMMAND_READ && connection->writes > 0;
    place->class = (u8) class;
    place->given_ms = (u32)(command->arrived_ns / NS_PER_MS);
    if (class == COMMAND_READ)
        connection->reads++;
    if (class == COMMAND_WRITE)
        connection->writes++;
    connection_charge_locked(connection, CHARGE_STEP);
    mutex_unlock(&connection->lock);
    return number;
}

void connection_set_protocol(struct connection *connection, u8 protocol)
{
    mutex_lock(&connection->lock);
    ASSERT(connection->first == connection->end);
    connection->protocol = protocol;
    mutex_unlock(&connection->lock);
}

static void store_locked(struct connection *connection, struct place *place, const u8 *bytes,
                         size_t size)
{
    if (size == 0)
        return;
    place->bytes = memory_alloc(size);
    memcpy(place->bytes, bytes, size);
    place->size = size;
    connection->stored_bytes += size;
}

/* Moves the answers whose turn has come to the output. */
static void drain_places_locked(struct connection *connection)
{
    while (connection->first != connection->end) {
        struct place *place = place_at(connection, connection->first);
        if (place->state != PLACE_ANSWERED)
            return;
        if (place->size > 0)
            output_append(&connection->output, place->bytes, place->size);
        connection->stored_bytes -= place->size;
        memory_free(place->bytes);
        place->bytes = NULL;
        connection->first++;
    }
    if (connection->places != connection->built_in) {
        memory_free(connection->places);
        connection->places = connection->built_in;
        connection->capacity = PLACES_BUILT_IN;
    }
}

/* An answer in the client's protocol comes to its place. */
static void settle_locked(struct connection *connection, u64 number, const u8 *bytes, size_t size)
{
    struct place *place = place_at(connection, number);
    ASSERT(place->state != PLACE_ANSWERED);
    place->state = PLACE_ANSWERED;
    if (place->muted)
        size = 0;
    if (number == connection->first)
        output_append(&connection->output, bytes, size);
    else
        store_locked(connection, place, bytes, size);
    drain_places_locked(connection);
}

void connection_answer_local(struct connection *connection, const u8 *bytes, size_t size)
{
    mutex_lock(&connection->lock);
    if (connection->first != connection->end)
        settle_locked(connection, give_place_locked(connection), bytes, size);
    else if (!connection->quiet && !connection->quiet_this)
        output_append(&connection->output, bytes, size);
    mutex_unlock(&connection->lock);
}

/* As settle_locked, for a RESP3 value: RESP2 clients may need it converted. */
static void settle_value_locked(struct connection *connection, u64 number, const u8 *bytes,
                                size_t size)
{
    struct place *place = place_at(connection, number);
    if (!place->muted &&
        !reply_is_value(bytes, size)) { /* another server's answer makes no sense */
        bytes = (const u8 *)unknown_text;
        size = sizeof(unknown_text) - 1;
    }
    if (place->muted || reply_is_alike(connection->protocol, bytes, size)) {
        settle_locked(connection, number, bytes, size);
        return;
    }
    struct buffer converted;
    buffer_init(&converted);
    reply_convert(&converted, connection->protocol, bytes, size);
    settle_locked(connection, number, converted.data, converted.size);
    buffer_deinit(&converted);
}

/* What became too much is bounded without hurting anybody else: a read is answered by a definite
 * error. The outcome of a write cannot be replaced; that connection ends. */
static void settle_overflow_locked(struct connection *connection, u64 number,
                                   enum command_class class)
{
    if (class != COMMAND_READ)
        connection->broken = true;
    settle_locked(connection, number, (const u8 *)overflow_text, sizeof(overflow_text) - 1);
}

static void note_answer_locked(struct connection *connection, enum command_class class, size_t size)
{
    if (class == COMMAND_WRITE) {
        connection->writes--;
        return;
    }
    if (class != COMMAND_READ)
        return;
    connection->reads--;
    u64 typical = connection->answer_typical;
    connection->answer_typical = u64_max(size, typical - typical / 8);
}

static u32 ask_for_port_locked(struct connection *connection)
{
    if (connection->in_port)
        return NOTICE_NONE;
    connection->in_port = true;
    connection_hold(connection);
    return NOTICE_PORT;
}

/* Whether an answer has become too much: nobody guessed its size, or all together hold too much. */
static bool overflows_locked(const struct connection *connection, size_t size)
{
    u64 max = connection->bounds->output_max;
    u64 unsent = unsent_locked(connection);
    return size > SMALL_ANSWER && ((unsent > max / 2 && unsent + size > max * OUTPUT_OVERSHOOT) ||
                                   connection_is_over_its_share_locked(connection));
}

u32 connection_answer_place(struct connection *connection, u64 number, enum command_class class,
                            const u8 *bytes, size_t size)
{
    u32 notice = NOTICE_NONE;
    mutex_lock(&connection->lock);
    ASSERT(number < connection->end);
    /* A place that was given up has its answer, and may have gone with it. */
    if (number < connection->first || place_at(connection, number)->given_up)
        goto unlock;
    note_answer_locked(connection, class, size);
    struct place *place = place_at(connection, number);
    connection->flying_bytes -= place->flying;
    if (connection->closed)
        goto unlock;
    if (place->shape != SHAPE_NONE &&
        (size == 0 || bytes[0] != '-' || place->shape == SHAPE_HELLO)) {
        store_locked(connection, place, bytes, size);
        place->state = PLACE_TEXT;
        connection->texts++;
        notice = ask_for_port_locked(connection);
        goto unlock;
    }
    if (overflows_locked(connection, size))
        settle_overflow_locked(connection, number, class);
    else
        settle_value_locked(connection, number, bytes, size);
    if (connection->broken || wait_is_over_locked(connection) ||
        connection_is_over_its_share_locked(connection))
        notice |= ask_for_port_locked(connection);
    if (!connection->in_dirty) {
        connection->in_dirty = true;
        connection_hold(connection);
        notice |= NOTICE_DIRTY;
    }
unlock:
    connection_charge_locked(connection, CHARGE_STEP);
    mutex_unlock(&connection->lock);
    return notice;
}

/* Whether the place waits for the server, and for too long. */
static bool is_overdue(const struct place *place, const struct stall_answers *answers)
{
    u64 patience_ns = place->shape != 0 ? answers->status_patience_ns : answers->patience_ns;
    u32 waited_ms = (u32)(answers->now_ns / NS_PER_MS) - place->given_ms;
    return place->state == PLACE_WAITING && !place->given_up &&
           waited_ms >= patience_ns / NS_PER_MS;
}

static void give_up_locked(struct connection *connection, u64 number,
                           const struct stall_answers *answers)
{
    struct place *place = place_at(connection, number);
    enum command_class class = (enum command_class)place->class;
    place->given_up = true;
    connection->flying_bytes -= place->flying;
    if (place->shape != 0) {
        store_locked(connection, place, answers->status, answers->status_size);
        place->state = PLACE_TEXT;
        connection->texts++;
        return;
    }
    char text[STALL_TEXT_SIZE];
    enum command_failure why = class == COMMAND_READ ? COMMAND_STALLED : COMMAND_UNKNOWN_OUTCOME;
    int size = snprintf(text, sizeof(text), "-%s\r\n", command_failure_text(why));
    note_answer_locked(connection, class, (size_t)size);
    settle_locked(connection, number, (const u8 *)text, (size_t)size);
}

void connection_give_up(struct connection *connection, const struct stall_answers *answers)
{
    mutex_lock(&connection->lock);
    /* Places whose turn has come go as they are settled. */
    for (u64 n = connection->first; n < connection->end; n = u64_max(n + 1, connection->first)) {
        if (is_overdue(place_at(connection, n), answers))
            give_up_locked(connection, n, answers);
    }
    mutex_unlock(&connection->lock);
}

bool connection_take_text(struct connection *connection, u64 *number, struct place *place)
{
    bool found = false;
    mutex_lock(&connection->lock);
    for (u64 n = connection->first; connection->texts > 0 && !found && n != connection->end; n++) {
        struct place *at = place_at(connection, n);
        if (at->state != PLACE_TEXT)
            continue;
        *number = n;
        *place = *at;
        connection->stored_bytes -= at->size;
        connection->texts--;
        at->bytes = NULL;
        at->size = 0;
        at->state = PLACE_WAITING;
        found = true;
    }
    mutex_unlock(&connection->lock);
    return found;
}

void connection_put_shaped(struct connection *connection, u64 number, const u8 *bytes, size_t size)
{
    mutex_lock(&connection->lock);
    settle_locked(connection, number, bytes, size);
    mutex_unlock(&connection->lock);
}

/* ---- sending ---- */

static enum connection_sent send_locked(struct connection *connection, u64 *sent_bytes)
{
    while (connection->output.size > 0) {
        ssize_t sent = output_send(&connection->output, connection->fd);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            connection->port_sends = true;
            connection_charge_locked(connection, 0);
            return SENT_PARTLY;
        }
        if (sent < 0) {
            connection->broken = true;
            return SENT_NOT_MORE;
        }
        connection->sent += (u64)sent;
        *sent_bytes += (u64)sent;
    }
    connection->port_sends = false;
    connection_charge_locked(connection, 0);
    return SENT_ALL;
}

static bool is_done_locked(const struct connection *connection)
{
    return connection->closing && connection->first == connection->end &&
           connection->output.size == 0;
}

u32 connection_flush(struct connection *connection, u64 *sent_bytes)
{
    u32 notice = NOTICE_NONE;
    mutex_lock(&connection->lock);
    connection->in_dirty = false;
    if (connection->closed || connection->port_sends)
        goto unlock;
    bool ask = false;
    if (connection->output.size > INLINE_SEND_MAX) {
        connection->port_sends = true;
        connection_charge_locked(connection, 0);
        ask = true;
    } else {
        ask = send_locked(connection, sent_bytes) != SENT_ALL;
    }
    if (ask || is_done_locked(connection) || wait_is_over_locked(connection))
        notice = ask_for_port_locked(connection);
unlock:
    mutex_unlock(&connection->lock);
    return notice;
}

enum connection_sent connection_flush_port(struct connection *connection, u64 *sent_bytes)
{
    mutex_lock(&connection->lock);
    enum connection_sent result =
        connection->broken ? SENT_NOT_MORE : send_locked(connection, sent_bytes);
    mutex_unlock(&connection->lock);
    return result;
}

/* ---- the end ---- */

void connection_note_taken(struct connection *connection)
{
    mutex_lock(&connection->lock);
    connection->in_port = false;
    mutex_unlock(&connection->lock);
}

void connection_close_when_done(struct connection *connection)
{
    mutex_lock(&connection->lock);
    connection->closing = true;
    mutex_unlock(&connection->lock);
}

bool connection_is_done(struct connection *connection)
{
    mutex_lock(&connection->lock);
    bool done = is_done_locked(connection);
    mutex_unlock(&connection->lock);
    return done;
}

bool connection_is_quiet(struct connection *connection)
{
    mutex_lock(&connection->lock);
    bool quiet = connection->first == connection->end && connection->output.size == 0;
    mutex_unlock(&connection->lock);
    return quiet;
}

void connection_close(struct connection *connection)
{
    mutex_lock(&connection->lock);
    ASSERT(!connection->closed);
    connection->closed = true;
    /* Closing a socket with unread input resets the connection, and the client might lose our last
     * answer: an error that tells it why. So the input is read away first, within bounds. */
    if (connection->closing && !connection->broken) {
        u8 waste[LINGER_BYTES];
        (void)shutdown(connection->fd, SHUT_WR);
        for (int i = 0; i < LINGER_READS; i++)
            if (recv(connection->fd, waste, sizeof(waste), MSG_DONTWAIT) <= 0)
                break;
    }
    (void)close(connection->fd);
    connection->fd = -1;
    output_deinit(&connection->output);
    atomic_fetch_sub_explicit(&connection->bounds->connections, 1, memory_order_relaxed);
    connection_charge_locked(connection, 0);
    mutex_unlock(&connection->lock);
}
