/* socket.c - see socket.h. */
#include "server/peers/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

enum {
    LISTEN_BACKLOG = 64,
    /* A host that has died says nothing. On an idle connection it is found out by probes, on a busy
     * one by bytes that stay unacknowledged for this long; both are long against a lost packet or
     * two, and short against the patience of people. Elections wait for neither. */
    KEEPALIVE_IDLE_S = 2,
    KEEPALIVE_INTERVAL_S = 1,
    KEEPALIVE_COUNT = 3,
    UNACKNOWLEDGED_MS = 5000,
    HOST_SIZE = 128,
    PORT_SIZE = 8
};

/* Splits "host:port" and resolves it. Ownership: the caller frees `*found` (freeaddrinfo). */
static enum error_code resolve(const char *address, bool passive, struct addrinfo **found,
                               struct error *error)
{
    char host[HOST_SIZE];
    char port[PORT_SIZE];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || colon == address || colon[1] == '\0' || strlen(colon + 1) >= PORT_SIZE)
        return error_set(error, ERROR_CONFIG, "address %s is not of the form host:port", address);
    const char *begin = address;
    const char *end = colon;
    if (*begin == '[' && end[-1] == ']') {
        begin++;
        end--;
    }
    size_t size = (size_t)(end - begin);
    if (size == 0 || size >= HOST_SIZE)
        return error_set(error, ERROR_CONFIG, "address %s has no proper host", address);
    memcpy(host, begin, size);
    host[size] = '\0';
    memcpy(port, colon + 1, strlen(colon + 1) + 1);
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_NUMERICSERV | (passive ? AI_PASSIVE : 0),
    };
    int result = getaddrinfo(host, port, &hints, found);
    if (result == EAI_SYSTEM)
        return error_set_errno(error, ERROR_SYSTEM, errno, "resolve %s", address);
    if (result != 0)
        return error_set(error, ERROR_CONFIG, "resolve %s: %s", address, gai_strerror(result));
    return ERROR_NONE;
}

/* What an errno means to the program: this process lacks something, or the address is no good. */
static enum error_code code_of(int number)
{
    bool lack = number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
    return lack ? ERROR_SYSTEM : ERROR_UNAVAILABLE;
}

static int socket_of(const struct addrinfo *info)
{
    return socket(info->ai_family, info->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC,
                  info->ai_protocol);
}

static void set_option(int socket, int level, int name, int value)
{
    /* A kernel without the option is no reason to stop. */
    (void)setsockopt(socket, level, name, &value, sizeof(value));
}

enum error_code socket_listen(const char *address, int *socket, struct error *error)
{
    struct addrinfo *found;
    enum error_code code = resolve(address, true, &found, error);
    if (code != ERROR_NONE)
        return code;
    int failure = EADDRNOTAVAIL;
    *socket = -1;
    for (struct addrinfo *info = found; info != NULL && *socket < 0; info = info->ai_next) {
        int candidate = socket_of(info);
        if (candidate >= 0) {
            set_option(candidate, SOL_SOCKET, SO_REUSEADDR, 1);
            if (bind(candidate, info->ai_addr, info->ai_addrlen) == 0 &&
                listen(candidate, LISTEN_BACKLOG) == 0) {
                *socket = candidate;
                break;
            }
        }
        failure = errno;
        socket_close(&candidate);
    }
    freeaddrinfo(found);
    if (*socket < 0)
        return error_set_errno(error, code_of(failure), failure, "listen on %s", address);
    return ERROR_NONE;
}

/* Starts and awaits one connection. Returns 0, EINTR when woken, or what went wrong. */
static int connect_one(const struct addrinfo *info, int wake, u64 deadline_ns, int *socket)
{
    *socket = socket_of(info);
    if (*socket < 0)
        return errno;
    int failure = connect(*socket, info->ai_addr, info->ai_addrlen) == 0 ? 0 : errno;
    if (failure == EINPROGRESS) {
        socklen_t size = sizeof(failure);
        switch (socket_wait(*socket, POLLOUT, wake, deadline_ns)) {
        case SOCKET_READY:
            if (getsockopt(*socket, SOL_SOCKET, SO_ERROR, &failure, &size) != 0)
                failure = errno;
            break;
        case SOCKET_WOKEN:
            failure = EINTR;
            break;
        case SOCKET_EXPIRED:
            failure = ETIMEDOUT;
            break;
        }
    }
    if (failure != 0)
        socket_close(socket);
    return failure;
}

enum error_code socket_connect(const char *address, int wake, u64 deadline_ns, int *socket,
                               struct error *error)
{
    struct addrinfo *found;
    enum error_code code = resolve(address, false, &found, error);
    if (code != ERROR_NONE)
        return code;
    int failure = EADDRNOTAVAIL;
    *socket = -1;
    for (struct addrinfo *info = found; info != NULL && *socket < 0; info = info->ai_next) {
        failure = connect_one(info, wake, deadline_ns, socket);
        if (failure == EINTR)
            break;
    }
    freeaddrinfo(found);
    if (*socket >= 0)
        return ERROR_NONE;
    if (failure == EINTR)
        return error_set(error, ERROR_BUSY, "connect to %s: interrupted", address);
    return error_set_errno(error, ERROR_UNAVAILABLE, failure, "connect to %s", address);
}

void socket_tune(int socket, bool blocking)
{
    set_option(socket, IPPROTO_TCP, TCP_NODELAY, 1);
    set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S);
    set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_INTERVAL_S);
    set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT);
    set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, UNACKNOWLEDGED_MS);
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
