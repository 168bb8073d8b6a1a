/* listeners.c - see listeners.h. */
#include "common/listeners.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* What an errno means to the program: this process lacks something, or the address is no good. */
static enum error_code code_of(int number)
{
    bool lack = number == EMFILE || number == ENFILE || number == ENOBUFS || number == ENOMEM;
    return lack ? ERROR_SYSTEM : ERROR_UNAVAILABLE;
}

/* Whether this machine just has no such address. */
static bool is_not_ours(int number)
{
    return number == EADDRNOTAVAIL || number == EAFNOSUPPORT || number == EPROTONOSUPPORT;
}

/* Returns a socket that listens there and is in the set, or -1 and errno. */
static int listen_at(int set, const struct addrinfo *info, bool one_of_many, int backlog)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, info->ai_protocol);
    if (fd < 0)
        return -1;
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    /* "[::]" alone takes IPv4 as well; beside other addresses it must not take theirs. */
    if (info->ai_family == AF_INET6 && one_of_many)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, backlog) == 0 &&
        epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) == 0)
        return fd;
    int number = errno;
    (void)close(fd);
    errno = number;
    return -1;
}

static void add_name(struct listeners *listeners, const struct addrinfo *info)
{
    char name[64];
    size_t used = strlen(listeners->names);
    if (getnameinfo(info->ai_addr, info->ai_addrlen, name, sizeof(name), NULL, 0, NI_NUMERICHOST) ==
        0)
        (void)snprintf(listeners->names + used, LISTENERS_NAMES_SIZE - used, "%s%s",
                       used > 0 ? ", " : "", name);
}

/* Whether an address like it stands before it: some resolvers tell one twice. */
static bool is_repeated(const struct addrinfo *found, const struct addrinfo *info)
{
    for (; found != info; found = found->ai_next) {
        if (found->ai_addrlen == info->ai_addrlen &&
            memcmp(found->ai_addr, info->ai_addr, info->ai_addrlen) == 0)
            return true;
    }
    return false;
}

enum error_code listeners_open(struct listeners *listeners, const struct addrinfo *found,
                               const char *address, int backlog, struct error *error)
{
    *listeners = (struct listeners){.set = epoll_create1(EPOLL_CLOEXEC)};
    int failure = listeners->set < 0 ? errno : 0;
    int not_ours = EADDRNOTAVAIL;
    for (const struct addrinfo *info = found;
         info != NULL && failure == 0 && listeners->count < LISTENERS_MAX; info = info->ai_next) {
        if (is_repeated(found, info))
            continue;
        int fd = listen_at(listeners->set, info, found->ai_next != NULL, backlog);
        if (fd >= 0) {
            listeners->fd[listeners->count++] = fd;
            add_name(listeners, info);
        } else if (is_not_ours(errno)) {
            not_ours = errno;
        } else {
            failure = errno;
        }
    }
    if (failure == 0 && listeners->count == 0)
        failure = not_ours;
    if (failure == 0)
        return ERROR_NONE;
    listeners_close(listeners);
    return error_set_errno(error, code_of(failure), failure, "listen on %s", address);
}

int listeners_accept(const struct listeners *listeners)
{
    errno = EAGAIN;
    for (u32 i = 0; i < listeners->count; i++) {
        int fd = accept4(listeners->fd[i], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0 || errno != EAGAIN)
            return fd;
    }
    return -1;
}

u16 listeners_port(const struct listeners *listeners)
{
    struct sockaddr_storage bound;
    socklen_t size = sizeof(bound);
    if (listeners->count == 0 ||
        getsockname(listeners->fd[0], (struct sockaddr *)&bound, &size) != 0)
        return 0;
    const struct sockaddr_in *v4 = (const void *)&bound;
    const struct sockaddr_in6 *v6 = (const void *)&bound;
    return ntohs(bound.ss_family == AF_INET6 ? v6->sin6_port : v4->sin_port);
}

void listeners_close(struct listeners *listeners)
{
    for (u32 i = 0; i < listeners->count; i++)
        (void)close(listeners->fd[i]);
    listeners->count = 0;
    if (listeners->set >= 0)
        (void)close(listeners->set);
    listeners->set = -1;
}
