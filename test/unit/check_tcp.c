/* check_tcp.c - a host that has died is told from one whose program takes nothing in for
 * a while (common/tcp.h). */
#include <arpa/inet.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/tcp.h"
#include "test/unit/unit.h"

#define SILENCE (300 * NS_PER_MS)

static int ours, theirs;

static void set_link(bool up)
{
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    ck_assert_int_eq(ioctl(fd, SIOCGIFFLAGS, &request), 0);
    request.ifr_flags = (short)(up ? request.ifr_flags | IFF_UP : request.ifr_flags & ~IFF_UP);
    ck_assert_int_eq(ioctl(fd, SIOCSIFFLAGS, &request), 0);
    (void)close(fd);
}

/* A network of this test's own, whose link can be taken down. False where that is not allowed. */
static bool own_network(void)
{
    if (unshare(CLONE_NEWNET) != 0)
        return false;
    set_link(true);
    return true;
}

static void connect_both(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof(address);
    ck_assert_int_eq(inet_pton(AF_INET, "127.0.0.1", &address.sin_addr), 1);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    ours = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(ours, (struct sockaddr *)&address, sizeof(address)), 0);
    theirs = accept(listener, NULL, NULL);
    ck_assert_int_ge(theirs, 0);
    (void)close(listener);
    tcp_tune(ours, 2, 1);
}

/* The other side reads nothing: its window closes. */
static void fill(void)
{
    static const char bytes[65536];
    u64 until_ns = clock_monotonic_ns() + NS_PER_S / 2;
    while (clock_monotonic_ns() < until_ns) {
        if (send(ours, bytes, sizeof(bytes), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            usleep(10000);
    }
}

static bool is_gone_within(u64 ns)
{
    u64 until_ns = clock_monotonic_ns() + ns;
    while (clock_monotonic_ns() < until_ns) {
        if (tcp_host_is_gone(ours, SILENCE))
            return true;
        usleep(10000);
    }
    return false;
}

START_TEST(tcp_host_is_gone__not_where_nothing_is_asked)
{
    connect_both();
    ck_assert(!is_gone_within(2 * SILENCE));
    ck_assert_int_eq(send(ours, "x", 1, 0), 1);
    ck_assert(!is_gone_within(2 * SILENCE));
}
END_TEST

START_TEST(tcp_host_is_gone__not_by_a_host_that_takes_nothing_in)
{
    connect_both();
    fill();
    ck_assert(!is_gone_within(2 * NS_PER_S));
    char bytes[65536];
    ck_assert_int_gt(recv(theirs, bytes, sizeof(bytes), 0), 0); /* it stands */
}
END_TEST

START_TEST(tcp_host_is_gone__by_a_host_that_acknowledges_nothing)
{
    if (!own_network())
        return;
    connect_both();
    ck_assert_int_eq(send(ours, "x", 1, 0), 1);
    ck_assert(!is_gone_within(SILENCE / 2));
    set_link(false);
    ck_assert_int_eq(send(ours, "x", 1, 0), 1);
    ck_assert(is_gone_within(20 * NS_PER_S));
}
END_TEST

START_TEST(tcp_host_is_gone__by_a_host_that_died_with_its_window_closed)
{
    if (!own_network())
        return;
    connect_both();
    fill();
    ck_assert(!is_gone_within(SILENCE));
    set_link(false);
    ck_assert(is_gone_within(20 * NS_PER_S));
}
END_TEST

UNIT_MAIN("tcp", tcp_host_is_gone__not_where_nothing_is_asked,
          tcp_host_is_gone__not_by_a_host_that_takes_nothing_in,
          tcp_host_is_gone__by_a_host_that_acknowledges_nothing,
          tcp_host_is_gone__by_a_host_that_died_with_its_window_closed)
