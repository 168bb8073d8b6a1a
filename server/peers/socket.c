/* socket.c - see socket.h. */
#include "server/peers/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/tcp.h"

enum {
    LISTEN_BACKLOG = 64,
    /* A host that has died says nothing. On an idle connection it is found out by probes, and on a
     * busy one by tcp_host_is_gone; both are long against a lost packet or two, and short against
     * the patience of people. Elections wait for neither. */
    KEEPALIVE_IDLE_S = 2,
    KEEPALIVE_INTERVAL_S = 1,
    ADDRESSES_MAX = 8 /* that are tried at the same time */
};

/* The own name was resolved just before, by whoever made the peers. */
#define RESOLVE_NS_MAX (5 * NS_PER_S)
/* For how long an address is tried alone before the next one's turn; less when the deadline is
 * near. */
#define TURN_NS_MAX (250 * NS_PER_MS)

static int socket_of(const struct addrinfo *info)
{
    return socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                  info->ai_protocol);
}

enum error_code socket_listen(const char *address, struct listeners *listeners, struct error *error)
{
    struct resolver resolver = {0};
    struct addrinfo *found = NULL;
    enum error_code code = resolver_ask(&resolver, address, true, -1,
                                        clock_monotonic_ns() + RESOLVE_NS_MAX, &found, error);
    if (code == ERROR_NONE) {
        code = listeners_open(listeners, found, address, LISTEN_BACKLOG, error);
        freeaddrinfo(found);
    }
    resolver_deinit(&resolver);
    return code;
}

/* ---- connecting ---- */

/* Attempts that go on, the eldest first. */
struct attempts {
    int sockets[ADDRESSES_MAX];
    u32 count;
    int failure; /* of the last one that failed */
};

static void begin_attempt(struct attempts *attempts, const struct addrinfo *info)
{
    int candidate = socket_of(info);
    if (candidate < 0 ||
        (connect(candidate, info->ai_addr, info->ai_addrlen) != 0 && errno != EINPROGRESS)) {
        attempts->failure = errno;
        socket_close(&candidate);
        return;
    }
    attempts->sockets[attempts->count++] = candidate;
}

static void end_attempt(struct attempts *attempts, u32 which)
{
    attempts->count--;
    memmove(&attempts->sockets[which], &attempts->sockets[which + 1],
            (attempts->count - which) * sizeof(attempts->sockets[0]));
}

/* Waits until one is connected, which is taken out and returned; -1: none is as yet. False when the
 * eventfd `wake` is readable. Blocks. */
static bool await_attempts(struct attempts *attempts, int wake, u64 deadline_ns, int *connected)
{
    struct pollfd polled[ADDRESSES_MAX + 1] = {{.fd = wake, .events = POLLIN}};
    for (u32 i = 0; i < attempts->count; i++)
        polled[i + 1] = (struct pollfd){.fd = attempts->sockets[i], .events = POLLOUT};
    struct timespec rest;
    *connected = -1;
    if (ppoll(polled, attempts->count + 1, socket_rest(deadline_ns, &rest), NULL) <= 0)
        return true;
    if (polled[0].revents != 0) {
        wake_empty(wake);
        return false;
    }
    for (u32 i = attempts->count; i-- > 0;) {
        if (polled[i + 1].revents == 0)
            continue;
        int failure = 0;
        socklen_t size = sizeof(failure);
        int candidate = attempts->sockets[i];
        if (getsockopt(candidate, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
            failure = errno;
        end_attempt(attempts, i);
        if (failure == 0 && *connected < 0) {
            *connected = candidate;
            continue;
        }
        if (failure != 0)
            attempts->failure = failure;
        socket_close(&candidate);
    }
    return true;
}

/* Tries one address after the other, each while those before it still go on: a dead one costs the
 * next its turn and no more. */
static enum error_code connect_to_any(const struct addrinfo *found, const char *address, int wake,
                                      u64 deadline_ns, int *connected, struct error *error)
{
    struct attempts attempts = {.failure = EADDRNOTAVAIL};
    u32 count = 0;
    for (const struct addrinfo *info = found; info != NULL; info = info->ai_next)
        count++;
    u64 now_ns = clock_monotonic_ns();
    u64 turn_ns = u64_min(TURN_NS_MAX, (deadline_ns - u64_min(now_ns, deadline_ns)) / count);
    u64 next_ns = now_ns;
    bool woken = false;
    *connected = -1;
    while (*connected < 0 && !woken && (found != NULL || attempts.count > 0)) {
        now_ns = clock_monotonic_ns();
        if (now_ns >= deadline_ns) {
            attempts.failure = ETIMEDOUT;
            break;
        }
        if (found != NULL && attempts.count < ADDRESSES_MAX &&
            (now_ns >= next_ns || attempts.count == 0)) {
            begin_attempt(&attempts, found);
            found = found->ai_next;
            next_ns = now_ns + turn_ns;
            continue;
        }
        woken =
            !await_attempts(&attempts, wake,
                            found != NULL ? u64_min(next_ns, deadline_ns) : deadline_ns, connected);
    }
    for (u32 i = 0; i < attempts.count; i++)
        socket_close(&attempts.sockets[i]);
    if (*connected >= 0)
        return ERROR_NONE;
    if (woken)
        return error_set(error, ERROR_BUSY, "connect to %s: interrupted", address);
    return error_set_errno(error, ERROR_UNAVAILABLE, attempts.failure, "connect to %s", address);
}

enum error_code socket_connect(struct resolver *resolver, const char *address, int wake,
                               u64 deadline_ns, int *socket, struct error *error)
{
    struct addrinfo *found;
    *socket = -1;
    enum error_code code = resolver_ask(resolver, address, false, wake, deadline_ns, &found, error);
    if (code == ERROR_BUSY)
        wake_empty(wake);
    if (code != ERROR_NONE)
        return code;
    code = connect_to_any(found, address, wake, deadline_ns, socket, error);
    freeaddrinfo(found);
    return code;
}

void socket_tune(int socket, bool blocking)
{
    tcp_tune(socket, KEEPALIVE_IDLE_S, KEEPALIVE_INTERVAL_S);
    int flags = fcntl(socket, F_GETFL);
    if (flags >= 0)
        (void)fcntl(socket, F_SETFL, blocking ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

void socket_name(int socket, char name[SOCKET_NAME_SIZE])
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    if (getpeername(socket, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, name, SOCKET_NAME_SIZE, NULL, 0,
                    NI_NUMERICHOST) != 0)
        memcpy(name, "unknown", sizeof("unknown"));
}

const char *socket_fate(int socket)
{
    int failure = 0;
    socklen_t size = sizeof(failure);
    if (getsockopt(socket, SOL_SOCKET, SO_ERROR, &failure, &size) != 0 || failure == 0)
        return "closed by the other side";
    const char *text = strerrordesc_np(failure);
    return text != NULL ? text : "failed";
}

struct timespec *socket_rest(u64 deadline_ns, struct timespec *rest)
{
    if (deadline_ns == UINT64_MAX)
        return NULL;
    u64 now_ns = clock_monotonic_ns();
    u64 left_ns = deadline_ns > now_ns ? deadline_ns - now_ns : 0;
    rest->tv_sec = (time_t)(left_ns / NS_PER_S);
    rest->tv_nsec = (long)(left_ns % NS_PER_S);
    return rest;
}

enum socket_event socket_wait(int socket, short events, int wake, u64 deadline_ns)
{
    for (;;) {
        struct pollfd polled[2] = {{.fd = wake, .events = POLLIN},
                                   {.fd = socket, .events = events}};
        struct timespec rest;
        int ready = ppoll(polled, 2, socket_rest(deadline_ns, &rest), NULL);
        if (ready < 0) {
            ASSERT(errno == EINTR || errno == ENOMEM);
            continue;
        }
        if (polled[0].revents != 0) {
            wake_empty(wake);
            return SOCKET_WOKEN;
        }
        if (polled[1].revents != 0)
            return SOCKET_READY;
        if (clock_monotonic_ns() >= deadline_ns)
            return SOCKET_EXPIRED;
    }
}

enum error_code wake_create(int *wake, struct error *error)
{
    *wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (*wake < 0)
        return error_set_errno(error, ERROR_SYSTEM, errno, "make an eventfd");
    return ERROR_NONE;
}

void wake_post(int wake)
{
    u64 one = 1;
    /* It fails only when it has been written to 2^64 times: then it is readable too. */
    ssize_t written = write(wake, &one, sizeof(one));
    (void)written;
}

void wake_empty(int wake)
{
    u64 count;
    ssize_t got = read(wake, &count, sizeof(count));
    (void)got;
}

void socket_close(int *socket)
{
    if (*socket >= 0)
        (void)close(*socket);
    *socket = -1;
}
