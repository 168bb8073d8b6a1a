/* port.c - the client port's thread: one epoll for all connections.
 *
 * A round: wait; accept, read and parse whatever is there; serve the connections that the server
 * thread hands over; post all commands of the round as one message. A connection's input is parsed
 * straight out of a buffer that all connections share; only what is left over moves to a buffer of
 * its own, which it has no longer than it needs it.
 *
 * Interest in input is dropped only when input comes that cannot be taken now, so that the many
 * short waits (a write behind a read) cost no system call. */
#include "server/clients/port.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/memory.h"

enum {
    EVENTS_MAX = 256,
    ACCEPTS_MAX = 64,           /* in one round */
    LISTEN_AGAIN_MS = 100,      /* after descriptors or the kernel's memory ran out */
    READ_MAX = 1024 * 1024,     /* one read of a connection that holds input */
    INPUT_MOVE_MIN = 16 * 1024, /* parsed bytes before the rest moves down */
    INPUT_KEPT = 256 * 1024     /* room that is kept for little input */
};

/* ---- what epoll watches ---- */

static void watch(struct clients *clients, struct connection *connection, u32 interest)
{
    if (connection->interest == interest)
        return;
    struct epoll_event event = {.events = interest, .data.ptr = connection};
    if (epoll_ctl(clients->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event) == 0)
        connection->interest = interest;
}

static void watch_listener(struct clients *clients, bool listening)
{
    if (clients->listening == listening)
        return;
    struct epoll_event event = {.events = listening ? EPOLLIN : 0U, .data.ptr = clients};
    if (epoll_ctl(clients->epoll_fd, EPOLL_CTL_MOD, clients->listeners.set, &event) == 0)
        clients->listening = listening;
}

/* ---- the end of a connection ---- */

void port_close(struct clients *clients, struct connection *connection)
{
    if (connection->closed)
        return;
    bounds_forget(clients, connection);
    connection_close(connection);
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        clients->connections = connection->next;
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    clients->connection_count--;
    connection->next = clients->buried;
    clients->buried = connection;
}

/* Events of this round may have named the closed ones; now nobody does. */
static void release_buried(struct clients *clients)
{
    while (clients->buried != NULL) {
        struct connection *connection = clients->buried;
        clients->buried = connection->next;
        connection_drop_input(connection); /* commands under way may keep the rest for long */
        connection_note_input(connection);
        connection_release(connection);
    }
}

/* ---- parsing ---- */

static void refuse_input(struct clients *clients, struct connection *connection,
                         struct resp_parser *parser)
{
    clients->counters.protocol_errors++;
    REPORT_LIMITED(clients->report, &clients->strangers, REPORT_WARN, "clients",
                   "client %llu sent no valid command: %s", (unsigned long long)connection->id,
                   parser->error);
    buffer_clear(&clients->reply);
    buffer_append_string(&clients->reply, "-");
    buffer_append_string(&clients->reply, parser->error);
    buffer_append_string(&clients->reply, "\r\n");
    connection_answer_local(connection, clients->reply.data, clients->reply.size);
    connection_close_when_done(connection);
    connection->end_of_input = true;
}

/* The parser of the command that the connection has begun, or the common one. */
static struct resp_parser *borrow_parser(struct clients *clients, struct connection *connection)
{
    struct resp_parser *parser = connection->parser != NULL ? connection->parser : clients->parser;
    if (parser == NULL) {
        parser = memory_alloc(sizeof(*parser));
        resp_parser_init(parser);
    }
    connection->parser = NULL;
    if (parser == clients->parser)
        clients->parser = NULL;
    return parser;
}

static void return_parser(struct clients *clients, struct resp_parser *parser)
{
    if (clients->parser == NULL) {
        resp_parser_reset(parser);
        clients->parser = parser;
        return;
    }
    resp_parser_deinit(parser);
    memory_free(parser);
}

/* The members may have agreed on others than before. */
static void take_limits(struct clients *clients)
{
    const struct limits *agreed = clients->options.agreed;
    if (agreed == NULL)
        return;
    clients->limits.arguments_max =
        (u32)u64_min(clients->options.arguments_max, limits_arguments(agreed));
    clients->limits.bytes_max = u64_min(limits_command_bytes(agreed), UINT32_MAX);
    clients->options.limits.key_bytes_max = (u32)limits_key_bytes(agreed);
    clients->options.limits.value_bytes_max = (u32)limits_value_bytes(agreed);
}

/* Carries out the commands in `data` until one is incomplete or has to wait. Returns the number of
 * bytes that are done with. A command begun keeps its parser. */
static size_t parse(struct clients *clients, struct connection *connection, const u8 *data,
                    size_t size)
{
    struct resp_parser *parser = borrow_parser(clients, connection);
    size_t done = 0;
    take_limits(clients);
    while (done < size) {
        enum resp_result result =
            resp_parser_parse(parser, &clients->limits, data + done, size - done);
        if (result == RESP_MORE) {
            connection->parser = parser;
            return done;
        }
        if (result == RESP_ERROR) {
            refuse_input(clients, connection, parser);
            done = size;
            break;
        }
        enum dispatched dispatched = DISPATCH_DONE;
        if (parser->count > 0)
            dispatched = dispatch_command(clients, connection, parser->arguments, parser->count);
        if (dispatched == DISPATCH_WAIT)
            break;
        if (dispatched == DISPATCH_END) {
            connection->end_of_input = true;
            done = size;
            break;
        }
        done += parser->size;
        resp_parser_reset(parser);
    }
    return_parser(clients, parser);
    return done;
}

/* Parses what the connection holds. */
static void parse_held(struct clients *clients, struct connection *connection)
{
    struct buffer *input = &connection->input;
    if (input->size == connection->input_start)
        return;
    connection->input_start += parse(clients, connection, input->data + connection->input_start,
                                     input->size - connection->input_start);
    if (connection->input_start == input->size) {
        buffer_deinit(input);
        buffer_init(input);
        connection->input_start = 0;
    } else if (connection->input_start > INPUT_MOVE_MIN &&
               connection->input_start >= input->size / 2) {
        buffer_drop_front(input, connection->input_start);
        connection->input_start = 0;
        if (input->capacity > INPUT_KEPT && input->size < input->capacity / 4) {
            input->capacity = input->size;
            input->data = memory_resize(input->data, input->capacity);
        }
    }
}

/* ---- reading ---- */

enum got { GOT_BYTES, GOT_NOTHING, GOT_END };

static enum got receive(struct clients *clients, struct connection *connection, u8 *to, size_t room,
                        size_t *size)
{
    ssize_t got;
    do {
        got = recv(connection->fd, to, room, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        *size = (size_t)got;
        connection->heard_ns = clients->now_ns;
        clients->heard_ns = clients->now_ns;
        connection->received += (u64)got;
        clients->counters.input_bytes += (u64)got;
        return GOT_BYTES;
    }
    return got < 0 && errno == EAGAIN ? GOT_NOTHING : GOT_END;
}

/* The client will send no more; it may still wait for its answers. */
static void note_end_of_input(struct connection *connection)
{
    connection->end_of_input = true;
    connection_close_when_done(connection);
}

/* Room for the next bytes of a connection that holds some. It doubles, but not beyond the end of
 * the command that has begun, as far as that is announced: most of a large command's input is one
 * long argument. */
static u8 *reserve_input(struct connection *connection, size_t *room)
{
    struct buffer *input = &connection->input;
    size_t held = input->size - connection->input_start;
    size_t announced = connection->parser == NULL ? 0 : resp_parser_announced(connection->parser);
    *room = u64_min(u64_max(held, SCRATCH_SIZE), READ_MAX);
    if (announced > held)
        *room = u64_min(*room, u64_max(announced - held, SCRATCH_SIZE));
    if (input->capacity - input->size < *room) {
        size_t doubled = u64_min(2 * input->capacity, connection->input_start + announced);
        input->capacity = u64_max(input->size + *room, doubled);
        input->data = memory_resize(input->data, input->capacity);
    }
    return input->data + input->size;
}

static void read_more(struct clients *clients, struct connection *connection)
{
    size_t size = 0;
    enum got got;
    if (connection->input.size == connection->input_start) {
        got = receive(clients, connection, clients->scratch, SCRATCH_SIZE, &size);
        if (got == GOT_BYTES) {
            size_t done = parse(clients, connection, clients->scratch, size);
            if (done < size && !connection->closed)
                buffer_append(&connection->input, clients->scratch + done, size - done);
        }
    } else {
        size_t room;
        u8 *to = reserve_input(connection, &room);
        got = receive(clients, connection, to, room, &size);
        if (got == GOT_BYTES) {
            connection->input.size += size;
            parse_held(clients, connection);
        }
    }
    if (got == GOT_END)
        note_end_of_input(connection);
}

/* ---- one connection ---- */

/* Sends, goes on parsing as long as that makes room for more, closes what is done. */
void port_serve(struct clients *clients, struct connection *connection)
{
    for (;;) {
        u64 sent_bytes = 0;
        enum connection_sent sent = connection_flush_port(connection, &sent_bytes);
        atomic_fetch_add_explicit(&clients->output_bytes, sent_bytes, memory_order_relaxed);
        if (sent == SENT_NOT_MORE || connection_is_done(connection)) {
            port_close(clients, connection);
            return;
        }
        u32 output = sent == SENT_PARTLY ? EPOLLOUT : 0U;
        watch(clients, connection, (connection->interest & ~(u32)EPOLLOUT) | output);
        if (!connection_may_go_on(connection) || connection->closing || clients->stopping)
            return;
        watch(clients, connection, connection->interest | EPOLLIN);
        parse_held(clients, connection);
        if (connection->closed)
            return;
    }
}

/* Whether the input has to rest: a command waits, or nothing more is wanted. */
static bool input_rests(struct clients *clients, struct connection *connection)
{
    return clients->stopping || connection->end_of_input || connection->closing ||
           connection_is_waiting(connection);
}

static void serve_event(struct clients *clients, struct connection *connection, u32 events)
{
    if (connection->closed)
        return;
    if (events & (EPOLLERR | EPOLLHUP)) {
        bounds_note_failure(clients, connection);
        port_close(clients, connection);
        return;
    }
    if (events & EPOLLIN) {
        if (input_rests(clients, connection))
            watch(clients, connection, connection->interest & ~(u32)EPOLLIN);
        else
            read_more(clients, connection);
    }
    if (!connection->closed)
        port_serve(clients, connection);
    bounds_note(clients, connection);
}

/* ---- accepting ---- */

static void refuse_connection(struct clients *clients, int fd)
{
    static const char text[] = "-ERR max number of clients reached\r\n";
    (void)send(fd, text, sizeof(text) - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)close(fd);
    clients->counters.rejected++;
}

static void complain(struct clients *clients, const char *text)
{
    REPORT_LIMITED(clients->report, &clients->lacks, REPORT_WARN, "clients", "%s", text);
}

/* No descriptor is left: one is kept for telling a client so. Without it the connection would stay
 * in the queue and wake us for ever. Returns false when nobody waits: the kernel looks for a
 * descriptor before it looks whether somebody does. */
static bool refuse_without_descriptor(struct clients *clients)
{
    if (clients->spare_fd >= 0)
        (void)close(clients->spare_fd);
    int fd = listeners_accept(&clients->listeners);
    if (fd >= 0)
        refuse_connection(clients, fd);
    clients->spare_fd = clients_spare(clients);
    if (clients->spare_fd < 0)
        watch_listener(clients, false);
    complain(clients,
             "no file descriptor is left for another client: raise the limit on open files");
    return fd >= 0;
}

/* The kernel has no memory for a connection. It stays in the queue, and would wake us for ever. */
static void listen_later(struct clients *clients)
{
    watch_listener(clients, false);
    complain(clients, "the system has no memory for another client's connection");
}

static void admit(struct clients *clients, int fd)
{
    bounds_tune(clients, fd);
    struct connection *connection =
        connection_create(fd, ++clients->last_id, clients->now_ns, &clients->bounds);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = connection};
    connection->interest = EPOLLIN;
    connection->redirect = clients->options.redirect;
    connection->next = clients->connections;
    if (connection->next != NULL)
        connection->next->previous = connection;
    clients->connections = connection;
    clients->connection_count++;
    clients->counters.accepted++;
    if (epoll_ctl(clients->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0)
        port_close(clients, connection);
}

bool port_accept(struct clients *clients)
{
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        int fd = listeners_accept(&clients->listeners);
        int failure = fd < 0 ? errno : 0;
        if (fd >= 0 && clients->connection_count >= clients->options.connections_max)
            refuse_connection(clients, fd);
        else if (fd >= 0)
            admit(clients, fd);
        else if ((failure == EMFILE || failure == ENFILE) && !refuse_without_descriptor(clients))
            failure = EAGAIN;
        else if (failure == ENOBUFS || failure == ENOMEM)
            listen_later(clients);
        if (failure == EAGAIN || !clients->listening)
            return false;
    }
    return true;
}

/* ---- what other threads ask for ---- */

static void stop_input(struct clients *clients)
{
    clients->stopping = true;
    listeners_close(&clients->listeners);
    dispatch_post(clients);
    mutex_lock(&clients->lock);
    clients->input_stopped = true;
    condition_broadcast(&clients->quiet);
    mutex_unlock(&clients->lock);
}

/* Serves the connections that were handed over. Returns whether the thread is to end. */
static bool serve_handed_over(struct clients *clients)
{
    mutex_lock(&clients->lock);
    struct connection *first = clients->port_first;
    clients->port_first = NULL;
    bool stop = clients->stop_asked && !clients->stopping;
    bool end = clients->end_asked;
    mutex_unlock(&clients->lock);
    if (stop)
        stop_input(clients);
    while (first != NULL) {
        struct connection *connection = first;
        first = connection->port_next;
        connection_note_taken(connection);
        if (!connection->closed) {
            dispatch_texts(clients, connection);
            port_serve(clients, connection);
            bounds_note(clients, connection);
        }
        connection_release(connection);
    }
    return end;
}

static void read_wake(struct clients *clients)
{
    u64 count;
    ssize_t got = read(clients->wake_fd, &count, sizeof(count));
    (void)got;
}

/* ---- the thread ---- */

static void note_rate(struct clients *clients)
{
    struct clients_counters *counters = &clients->counters;
    u64 passed_ns = clients->now_ns - counters->rate_from_ns;
    if (passed_ns < NS_PER_S)
        return;
    counters->rate =
        (counters->commands - counters->rate_commands) * 1000 / (passed_ns / NS_PER_MS);
    counters->rate_from_ns = clients->now_ns;
    counters->rate_commands = counters->commands;
}

static void round_of_events(struct clients *clients, const struct epoll_event *events, int count)
{
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == clients) {
            if (clients->listeners.set >= 0)
                (void)port_accept(clients);
        } else if (events[i].data.ptr == &clients->wake_fd) {
            read_wake(clients);
        } else {
            serve_event(clients, events[i].data.ptr, events[i].events);
        }
    }
}

static void listen_again(struct clients *clients)
{
    if (clients->listeners.set < 0)
        return;
    if (clients->spare_fd < 0)
        clients->spare_fd = clients_spare(clients);
    if (clients->spare_fd >= 0)
        watch_listener(clients, true);
}

/* What the last answers may have left in the list of those that want the port. */
static void drop_handed_over(struct clients *clients)
{
    clients_flush(clients);
    mutex_lock(&clients->lock);
    struct connection *first = clients->port_first;
    clients->port_first = NULL;
    mutex_unlock(&clients->lock);
    while (first != NULL) {
        struct connection *connection = first;
        first = connection->port_next;
        connection_release(connection);
    }
}

static void close_all(struct clients *clients)
{
    drop_handed_over(clients);
    while (clients->connections != NULL) {
        u64 sent_bytes = 0;
        (void)connection_flush_port(clients->connections, &sent_bytes);
        port_close(clients, clients->connections);
    }
    release_buried(clients);
}

/* How long the thread may sleep when nothing happens. */
static int patience_ms(const struct clients *clients, bool waits_for_descriptor)
{
    int patience = bounds_timeout_ms(clients);
    int other = clients->draining      ? DRAIN_LOOK_MS
                : clients->stalled     ? STALL_LOOK_MS
                : waits_for_descriptor ? LISTEN_AGAIN_MS
                                       : -1;
    return patience < 0 || (other >= 0 && other < patience) ? other : patience;
}

void port_run(void *context)
{
    struct clients *clients = context;
    struct epoll_event events[EVENTS_MAX];
    for (bool end = false; !end;) {
        bool waits_for_descriptor = clients->listeners.set >= 0 && !clients->listening;
        int count = epoll_wait(clients->epoll_fd, events, EVENTS_MAX,
                               patience_ms(clients, waits_for_descriptor));
        clients->now_ns = clock_monotonic_ns();
        note_rate(clients);
        stall_look(clients);
        if (waits_for_descriptor)
            listen_again(clients);
        round_of_events(clients, events, count);
        end = serve_handed_over(clients);
        dispatch_post(clients);
        stall_work(clients);
        drain_work(clients);
        bounds_work(clients);
        release_buried(clients);
    }
    close_all(clients);
}
