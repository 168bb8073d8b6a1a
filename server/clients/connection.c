/* connection.c - see connection.h. */
#include "server/clients/connection.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/memory.h"
#include "server/clients/reply.h"

enum {
    LINGER_READS = 16, /* reads that empty the socket of a client that is being closed */
    LINGER_BYTES = 4096,
    OUTPUT_KEPT = 16 * 1024, /* sent bytes before the rest moves down */
    SMALL_ANSWER = 1024,     /* never refused: PLACES_MAX of them are harmless */
    OUTPUT_OVERSHOOT = 4     /* of the bound: what answers already under way may add */
};

static const char unknown_text[] =
    "-TIMEOUT outcome unknown: the command may or may not have been executed\r\n";
static const char overflow_text[] =
    "-BUSY answers that this client has not read exceed their bound; the read was not answered\r\n";

struct connection *connection_create(int fd, u64 id, u64 now_ns)
{
    struct connection *connection = memory_alloc_zero(1, sizeof(*connection));
    atomic_init(&connection->references, 1);
    connection->fd = fd;
    connection->id = id;
    connection->created_ns = now_ns;
    connection->active_ns = now_ns;
    connection->protocol = 2;
    connection->places = connection->built_in;
    connection->capacity = PLACES_BUILT_IN;
    connection->answer_typical = ANSWER_GUESS;
    buffer_init(&connection->input);
    buffer_init(&connection->output);
    mutex_init(&connection->lock);
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
    drop_places(connection);
    buffer_deinit(&connection->input);
    buffer_deinit(&connection->output);
    if (connection->parser != NULL) {
        resp_parser_deinit(connection->parser);
        memory_free(connection->parser);
    }
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
    return connection->output.size - connection->output_sent + connection->stored_bytes;
}

/* ---- taking commands ---- */

/* Answers of reads under way are counted by what answers of this client have typically been. */
static bool output_is_full_locked(const struct connection *connection, u64 output_max)
{
    u64 unsent = unsent_locked(connection);
    return unsent > output_max ||
           (connection->reads > 0 &&
            unsent + connection->reads * connection->answer_typical > output_max);
}

static enum connection_wait wait_for_locked(const struct connection *connection,
                                            enum connection_take take, u64 output_max)
{
    if (take == TAKE_WRITE && connection->reads > 0)
        return WAIT_READS;
    if (take == TAKE_ALONE && connection->first != connection->end)
        return WAIT_ALL;
    if (connection->end - connection->first >= PLACES_MAX)
        return WAIT_PLACES;
    if (output_is_full_locked(connection, output_max))
        return WAIT_OUTPUT;
    return WAIT_NOTHING;
}

bool connection_may_take(struct connection *connection, enum connection_take take, u64 output_max)
{
    mutex_lock(&connection->lock);
    connection->wait = (u8)wait_for_locked(connection, take, output_max);
    bool may = connection->wait == WAIT_NOTHING;
    mutex_unlock(&connection->lock);
    return may;
}

/* Whether the reason for waiting has gone. Half of a bound must be free again, so that the port is
 * not woken for each single answer. */
static bool wait_is_over_locked(const struct connection *connection, u64 output_max)
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
        return !output_is_full_locked(connection, output_max / 2);
    }
    UNREACHABLE();
}

bool connection_may_go_on(struct connection *connection, u64 output_max)
{
    mutex_lock(&connection->lock);
    bool over = wait_is_over_locked(connection, output_max);
    if (over)
        connection->wait = WAIT_NOTHING;
    mutex_unlock(&connection->lock);
    return over;
}

bool connection_is_waiting(struct connection *connection)
{
    mutex_lock(&connection->lock);
    bool waiting = connection->wait != WAIT_NOTHING;
    mutex_unlock(&connection->lock);
    return waiting;
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

u64 connection_give_place(struct connection *connection, enum command_class class, u8 shape,
                          u32 details, bool *after_write)
{
    mutex_lock(&connection->lock);
    u64 number = give_place_locked(connection);
    struct place *place = place_at(connection, number);
    place->shape = shape;
    place->details = details;
    *after_write = connection->writes > 0;
    if (class == COMMAND_READ)
        connection->reads++;
    if (class == COMMAND_WRITE)
        connection->writes++;
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
            buffer_append(&connection->output, place->bytes, place->size);
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
        buffer_append(&connection->output, bytes, size);
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
        buffer_append(&connection->output, bytes, size);
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
    if (connection->protocol >= 3 || place->muted) {
        settle_locked(connection, number, bytes, size);
        return;
    }
    if (number == connection->first) {
        reply_convert(&connection->output, connection->protocol, bytes, size);
        settle_locked(connection, number, NULL, 0);
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

u32 connection_answer_place(struct connection *connection, u64 number, enum command_class class,
                            const u8 *bytes, size_t size, u64 output_max)
{
    u32 notice = NOTICE_NONE;
    mutex_lock(&connection->lock);
    ASSERT(number - connection->first < connection->end - connection->first);
    note_answer_locked(connection, class, size);
    struct place *place = place_at(connection, number);
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
    u64 unsent = unsent_locked(connection);
    if (size > SMALL_ANSWER && unsent > output_max && unsent + size > output_max * OUTPUT_OVERSHOOT)
        settle_overflow_locked(connection, number, class);
    else
        settle_value_locked(connection, number, bytes, size);
    if (connection->broken || wait_is_over_locked(connection, output_max))
        notice |= ask_for_port_locked(connection);
    if (!connection->in_dirty) {
        connection->in_dirty = true;
        connection_hold(connection);
        notice |= NOTICE_DIRTY;
    }
unlock:
    mutex_unlock(&connection->lock);
    return notice;
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
    struct buffer *output = &connection->output;
    while (connection->output_sent < output->size) {
        ssize_t sent = send(connection->fd, output->data + connection->output_sent,
                            output->size - connection->output_sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno == EAGAIN) {
            connection->port_sends = true;
            if (connection->output_sent > OUTPUT_KEPT &&
                connection->output_sent >= output->size / 2) {
                buffer_drop_front(output, connection->output_sent);
                connection->output_sent = 0;
            }
            return SENT_PARTLY;
        }
        if (sent < 0) {
            connection->broken = true;
            return SENT_NOT_MORE;
        }
        connection->output_sent += (size_t)sent;
        *sent_bytes += (u64)sent;
    }
    buffer_deinit(output);
    buffer_init(output);
    connection->output_sent = 0;
    connection->port_sends = false;
    return SENT_ALL;
}

static bool is_done_locked(const struct connection *connection)
{
    return connection->closing && connection->first == connection->end &&
           connection->output.size == connection->output_sent;
}

u32 connection_flush(struct connection *connection, u64 output_max, u64 *sent_bytes)
{
    u32 notice = NOTICE_NONE;
    mutex_lock(&connection->lock);
    connection->in_dirty = false;
    if (connection->closed || connection->port_sends)
        goto unlock;
    bool ask = false;
    if (connection->output.size - connection->output_sent > INLINE_SEND_MAX) {
        connection->port_sends = true;
        ask = true;
    } else {
        ask = send_locked(connection, sent_bytes) != SENT_ALL;
    }
    if (ask || is_done_locked(connection) || wait_is_over_locked(connection, output_max))
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
    bool quiet =
        connection->first == connection->end && connection->output.size == connection->output_sent;
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
    buffer_deinit(&connection->output);
    buffer_init(&connection->output);
    connection->output_sent = 0;
    mutex_unlock(&connection->lock);
}
