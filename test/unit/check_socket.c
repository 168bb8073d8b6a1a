/* check_socket.c - names with several addresses: tried by turns, and listened at together. */
#include "server/peers/socket.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "test/unit/unit.h"

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);

/* "a,b,c" is a name that stands for these addresses, in this order. */
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    if (host == NULL || (hints->ai_flags & AI_NUMERICHOST) != 0)
        return __real_getaddrinfo(host, port, hints, found);
    char names[RESOLVER_HOST_SIZE];
    (void)snprintf(names, sizeof(names), "%s", host);
    *found = NULL;
    struct addrinfo **end = found;
    char *rest = names;
    for (char *name; (name = strsep(&rest, ",")) != NULL;) {
        int result = __real_getaddrinfo(name, port, hints, end);
        if (result != 0)
            return result;
        end = &(*end)->ai_next;
    }
    return 0;
}

static int listen_at(const char *host, u16 port, int backlog)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    ck_assert_int_eq(inet_pton(AF_INET, host, &address.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(fd, backlog), 0);
    return fd;
}

static u16 port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t size = sizeof(address);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    return ntohs(address.sin_port);
}

/* An address from which no answer comes: its queue is full, and so the kernel drops who calls. */
static void fill_queue(const char *host, u16 port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    ck_assert_int_eq(inet_pton(AF_INET, host, &address.sin_addr), 1);
    for (int i = 0; i < 8; i++) {
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(fd, (struct sockaddr *)&address,
                      sizeof(address)); /* stays open: in the way */
    }
    usleep(50000);
}

static enum error_code connect_to(const char *names, u16 port, u64 patience_ns, int *fd,
                                  struct error *error)
{
    char address[RESOLVER_HOST_SIZE];
    (void)snprintf(address, sizeof(address), "%s:%u", names, port);
    struct resolver resolver = {0};
    int wake;
    ck_assert_int_eq(wake_create(&wake, error), ERROR_NONE);
    enum error_code code =
        socket_connect(&resolver, address, wake, clock_monotonic_ns() + patience_ns, fd, error);
    resolver_deinit(&resolver);
    (void)close(wake);
    return code;
}

START_TEST(connect__a_dead_address_does_not_hide_a_live_one)
{
    int live = listen_at("127.0.0.1", 0, 16);
    u16 port = port_of(live);
    (void)listen_at("127.0.0.2", port, 0);
    (void)listen_at("127.0.0.3", port, 0);
    fill_queue("127.0.0.2", port);
    fill_queue("127.0.0.3", port);
    static const char *const names[] = {"127.0.0.2,127.0.0.1", "127.0.0.2,127.0.0.3,127.0.0.1",
                                        "127.0.0.1,127.0.0.2", "127.0.0.9,127.0.0.2,127.0.0.1"};
    int fd;
    struct error error;
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++) {
        /* As long as a handshake may take. */
        ck_assert_msg(connect_to(names[i], port, 60 * NS_PER_S, &fd, &error) == ERROR_NONE, "%s",
                      error.text);
        char name[SOCKET_NAME_SIZE];
        socket_name(fd, name);
        ck_assert_str_eq(name, "127.0.0.1");
        (void)close(fd);
    }
    /* Each has its share of a short time, too. */
    ck_assert_int_eq(connect_to("127.0.0.2,127.0.0.1", port, 200 * NS_PER_MS, &fd, &error),
                     ERROR_NONE);
    (void)close(fd);
    ck_assert_int_eq(connect_to("127.0.0.2,127.0.0.3", port, 100 * NS_PER_MS, &fd, &error),
                     ERROR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(error.text, "timed out"));
    ck_assert_int_eq(connect_to("127.0.0.9", port, 60 * NS_PER_S, &fd, &error), ERROR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(error.text, "refused"));
}
END_TEST

START_TEST(listen__at_all_addresses_of_a_name)
{
    int probe = listen_at("127.0.0.1", 0, 1);
    u16 port = port_of(probe);
    (void)close(probe);
    char address[RESOLVER_HOST_SIZE];
    (void)snprintf(address, sizeof(address), "203.0.113.1,127.0.0.1,127.0.0.2,127.0.0.1:%u", port);
    struct listeners listeners;
    struct error error;
    ck_assert_msg(socket_listen(address, &listeners, &error) == ERROR_NONE, "%s", error.text);
    ck_assert_uint_eq(listeners.count, 2);
    ck_assert_str_eq(listeners.names, "127.0.0.1, 127.0.0.2");
    ck_assert_uint_eq(listeners_port(&listeners), port);
    ck_assert_int_eq(listeners_accept(&listeners), -1);
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.2"};
    for (int i = 0; i < 4; i++) {
        int fd;
        ck_assert_int_eq(connect_to(hosts[i % 2], port, 60 * NS_PER_S, &fd, &error), ERROR_NONE);
        ck_assert_int_eq(socket_wait(listeners.set, POLLIN, -1, UINT64_MAX), SOCKET_READY);
        int taken = listeners_accept(&listeners);
        ck_assert_int_ge(taken, 0);
        (void)close(taken);
        (void)close(fd);
    }
    /* One of them in use is an error, and then none is listened at. */
    struct listeners others;
    ck_assert_int_eq(socket_listen(address, &others, &error), ERROR_UNAVAILABLE);
    ck_assert_ptr_nonnull(strstr(error.text, "in use"));
    ck_assert_int_eq(others.set, -1);
    listeners_close(&listeners);
    ck_assert_int_eq(socket_listen("203.0.113.1,203.0.113.2:7001", &others, &error),
                     ERROR_UNAVAILABLE);
}
END_TEST

UNIT_MAIN("socket", connect__a_dead_address_does_not_hide_a_live_one,
          listen__at_all_addresses_of_a_name)
