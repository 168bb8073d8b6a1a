/* clients.c - opens and ends the port, and is the sink of its commands. See clients.h and port.h.
 *
 * The sink runs in the server thread. It takes two locks, one after the other, never one in the
 * other: the connection's, to put the answer in its place; and the lists', to remember whom to
 * send to or whom to hand to the port. */
#include "server/clients/clients.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/memory.h"
#include "common/resolver.h"
#include "server/clients/commands.h"

enum {
    BACKLOG = 1024,
    DESCRIPTORS_KEPT = 128, /* for peers, files and the port itself */
    REDIRECT_SIZE = ADDRESS_SIZE + 32
};

/* The own name was resolved just before, by whoever made this. */
#define RESOLVE_NS_MAX (5 * NS_PER_S)

/* ---- the sink ---- */

static struct clients *clients_of(struct command_sink *sink)
{
    return CONTAINER_OF(sink, struct clients, sink);
}

static void wake_port(struct clients *clients)
{
    u64 one = 1;
    ssize_t written = write(clients->wake_fd, &one, sizeof(one));
    (void)written; /* it fails only when the counter is full, and then the port wakes anyway */
}

void clients_notice(struct clients *clients, struct connection *connection, u32 notice)
{
    if (notice == NOTICE_NONE)
        return;
    bool wake = false;
    mutex_lock(&clients->lock);
    if (notice & NOTICE_DIRTY) {
        connection->dirty_next = clients->dirty_first;
        clients->dirty_first = connection;
    }
    if (notice & NOTICE_PORT) {
        wake = clients->port_first == NULL;
        connection->port_next = clients->port_first;
        clients->port_first = connection;
    }
    mutex_unlock(&clients->lock);
    if (wake)
        wake_port(clients);
}

static void sink_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                        size_t size)
{
    struct clients *clients = clients_of(sink);
    struct connection *connection = command->owner;
    u32 notice = connection_answer_place(connection, command->slot, command->class, answer, size);
    clients_notice(clients, connection, notice);
    connection_release(connection);
    command_destroy(command);
}

/* The slot of the command's first key; commands without keys count as slot 0. */
static u32 slot_of_command(const struct command *command)
{
    enum kv_command kind = KV_NONE;
    struct kv_argument key = {0};
    int count = kv_command_decode(command->body.data, command->body.size, &kind, &key, 1);
    if (count < 1 || kv_command_info(kind)->key_step == 0)
        return 0;
    return cluster_slot(key.data, key.size);
}

static void sink_redirect(struct command_sink *sink, struct command *command, server_id leader)
{
    struct clients *clients = clients_of(sink);
    const struct member *member = configuration_member(&clients->configuration, leader);
    if (member == NULL || member->client_address[0] == '\0') {
        command_fail(command, COMMAND_NO_LEADER);
        return;
    }
    char text[REDIRECT_SIZE];
    int size = snprintf(text, sizeof(text), "-MOVED %u %s\r\n", slot_of_command(command),
                        member->client_address);
    sink_answer(sink, command, (const u8 *)text, (size_t)size);
}

void clients_flush(struct clients *clients)
{
    mutex_lock(&clients->lock);
    struct connection *first = clients->dirty_first;
    clients->dirty_first = NULL;
    mutex_unlock(&clients->lock);
    u64 sent_bytes = 0;
    while (first != NULL) {
        struct connection *connection = first;
        first = connection->dirty_next;
        u32 notice = connection_flush(connection, &sent_bytes);
        clients_notice(clients, connection, notice);
        connection_release(connection);
    }
    atomic_fetch_add_explicit(&clients->output_bytes, sent_bytes, memory_order_relaxed);
}

static void sink_flush(struct command_sink *sink)
{
    clients_flush(clients_of(sink));
}

static const struct command_sink_ops sink_ops = {sink_answer, sink_redirect, sink_flush, NULL};

/* ---- opening ---- */

/* Raises the soft limit on open files as far as it may be, and lowers what was promised to clients
 * to what there is. */
static void raise_descriptor_limit(struct clients *clients)
{
    struct rlimit limit;
    u64 wanted = clients->options.connections_max + (u64)DESCRIPTORS_KEPT;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = limit.rlim_max < wanted ? limit.rlim_max : wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= wanted)
        return;
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    u64 left = limit.rlim_cur > 2 * DESCRIPTORS_KEPT ? limit.rlim_cur - DESCRIPTORS_KEPT
                                                     : limit.rlim_cur / 2;
    REPORT(clients->report, REPORT_WARN, "clients",
           "the limit on open files allows %llu clients instead of %u", (unsigned long long)left,
           clients->options.connections_max);
    clients->options.connections_max = (u32)left;
}

static enum error_code open_listener(struct clients *clients, struct error *error)
{
    const char *address = clients->options.listen_address;
    struct resolver resolver = {0};
    struct addrinfo *found = NULL;
    enum error_code code = resolver_ask(&resolver, address, true, -1,
                                        clock_monotonic_ns() + RESOLVE_NS_MAX, &found, error);
    if (code == ERROR_NONE) {
        code = listeners_open(&clients->listeners, found, address, BACKLOG, error);
        freeaddrinfo(found);
    }
    resolver_deinit(&resolver);
    if (code != ERROR_NONE)
        return error_add(error, "client port");
    clients->port = listeners_port(&clients->listeners);
    return ERROR_NONE;
}

int clients_spare(const struct clients *clients)
{
    return fcntl(clients->wake_fd, F_DUPFD_CLOEXEC, 0);
}

static enum error_code open_epoll(struct clients *clients, struct error *error)
{
    struct epoll_event listener = {.events = EPOLLIN, .data.ptr = clients};
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = &clients->wake_fd};
    if ((clients->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0 ||
        (clients->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) < 0 ||
        (clients->spare_fd = clients_spare(clients)) < 0 ||
        epoll_ctl(clients->epoll_fd, EPOLL_CTL_ADD, clients->listeners.set, &listener) != 0 ||
        epoll_ctl(clients->epoll_fd, EPOLL_CTL_ADD, clients->wake_fd, &wake) != 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "client port: epoll");
    clients->listening = true;
    return ERROR_NONE;
}

static struct clients *make_clients(const struct clients_options *options, struct mail_slot *slot,
                                    struct report *report)
{
    struct clients *clients = memory_alloc_zero(1, sizeof(*clients));
    clients->sink.ops = &sink_ops;
    clients->options = *options;
    clients->configuration = *options->configuration;
    clients->options.configuration = &clients->configuration;
    clients->bounds.output_max = options->output_bytes_max;
    clients->bounds.memory_max = options->memory_bytes_max;
    clients->limits.arguments_max = options->arguments_max;
    clients->limits.bytes_max = u64_min(options->input_bytes_max, UINT32_MAX);
    clients->slot = slot;
    clients->report = report;
    clients->started_ns = clock_monotonic_ns();
    clients->epoll_fd = clients->wake_fd = clients->listeners.set = clients->spare_fd = -1;
    mutex_init(&clients->lock);
    condition_init(&clients->quiet);
    buffer_init(&clients->reply);
    clients->scratch = memory_alloc(SCRATCH_SIZE);
    return clients;
}

static void close_descriptor(int fd)
{
    if (fd >= 0)
        (void)close(fd);
}

static void free_clients(struct clients *clients)
{
    listeners_close(&clients->listeners);
    close_descriptor(clients->spare_fd);
    close_descriptor(clients->wake_fd);
    close_descriptor(clients->epoll_fd);
    if (clients->parser != NULL) {
        resp_parser_deinit(clients->parser);
        memory_free(clients->parser);
    }
    block_release(clients->bodies);
    buffer_deinit(&clients->reply);
    memory_free(clients->scratch);
    condition_deinit(&clients->quiet);
    mutex_deinit(&clients->lock);
    memory_free(clients);
}

enum error_code clients_create(const struct clients_options *options, struct mail_slot *slot,
                               struct report *report, struct clients **result, struct error *error)
{
    struct clients *clients = make_clients(options, slot, report);
    raise_descriptor_limit(clients);
    enum error_code code = open_listener(clients, error);
    if (code == ERROR_NONE)
        code = open_epoll(clients, error);
    if (code == ERROR_NONE)
        code = thread_start(&clients->thread, "clients", port_run, clients, error);
    if (code != ERROR_NONE) {
        free_clients(clients);
        return code;
    }
    REPORT(report, REPORT_INFO, "clients", "listening for clients at %s (%s)",
           options->listen_address, clients->listeners.names);
    *result = clients;
    return ERROR_NONE;
}

u16 clients_port(const struct clients *clients)
{
    return clients->port;
}

/* ---- the end ---- */

void clients_drain(struct clients *clients, u64 deadline_ns)
{
    mutex_lock(&clients->lock);
    clients->drain_asked = true;
    mutex_unlock(&clients->lock);
    wake_port(clients);
    mutex_lock(&clients->lock);
    while (!clients->drained && condition_wait_until(&clients->quiet, &clients->lock, deadline_ns))
        continue;
    mutex_unlock(&clients->lock);
}

void clients_look(struct clients *clients)
{
    wake_port(clients);
}

void clients_stop(struct clients *clients)
{
    mutex_lock(&clients->lock);
    clients->stop_asked = true;
    mutex_unlock(&clients->lock);
    wake_port(clients);
    mutex_lock(&clients->lock);
    while (!clients->input_stopped)
        condition_wait(&clients->quiet, &clients->lock);
    mutex_unlock(&clients->lock);
}

void clients_destroy(struct clients *clients)
{
    clients_stop(clients);
    clients_flush(clients);
    mutex_lock(&clients->lock);
    clients->end_asked = true;
    mutex_unlock(&clients->lock);
    wake_port(clients);
    thread_join(&clients->thread);
    ASSERT(clients->connection_count == 0);
    free_clients(clients);
}
