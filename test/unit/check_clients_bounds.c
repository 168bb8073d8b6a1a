/* check_clients_bounds.c - what the client port bounds: the memory of a connection, the commands
 * under way, the answers that nobody reads, the connections and the descriptors. */
#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "test/unit/clients_unit.h"

/* In place of libc's: it fails as long as the kernel is said to have no memory. */
static atomic_int accept_failure;
static atomic_uint accept_count;

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *restrict size, int flags)
{
    (void)atomic_fetch_add(&accept_count, 1);
    int failure = atomic_load(&accept_failure);
    if (failure == 0)
        return (int)syscall(SYS_accept4, fd, address.__sockaddr__, size, flags);
    errno = failure;
    return -1;
}

START_TEST(bounds__idle_connection_is_small)
{
    ck_assert_uint_lt(sizeof(struct connection), 1024);
}
END_TEST

START_TEST(bounds__commands_under_way)
{
    enum { COUNT = 5000 };
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    int other = dial(rig);
    rig_set(rig, &rig->held, true);
    for (int i = 0; i < COUNT; i++)
        say(fd, "INCR n\r\n");
    rig_wait_posted(rig, PLACES_MAX);
    ask(other, "PING\r\n", "+PONG\r\n");
    ck_assert_uint_eq(rig_posted(rig), PLACES_MAX);
    rig_set(rig, &rig->held, false);
    for (int i = 1; i <= COUNT; i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), ":%d\r\n", i);
        expect(fd, text);
    }
    close(fd);
    close(other);
    rig_destroy(rig);
}
END_TEST

START_TEST(bounds__slow_reader)
{
    enum { COUNT = 200, SIZE = 1024 * 1024 };
    struct rig *rig = rig_create(100, 4 * MIB);
    int fd = dial(rig);
    int other = dial(rig);
    char *value = malloc(SIZE);
    memset(value, 'v', SIZE);
    say(fd, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n");
    say_bytes(fd, value, SIZE);
    ask(fd, "\r\nGET k\r\n", "+OK\r\n$1048576\r\n");
    hear_bytes(fd, value, SIZE);
    expect(fd, "\r\n");
    for (int i = 0; i < COUNT; i++)
        say(fd, "GET k\r\n");
    /* Nobody reads: however long it goes on, most of the commands are never taken. */
    for (int i = 0; i < 200; i++)
        ask(other, "GET none\r\n", "$-1\r\n");
    ck_assert_uint_lt(rig_posted(rig), 202 + COUNT / 2);
    say(other, "CLIENT LIST\r\n");
    char *list = hear_bulk(other);
    char *omem = strstr(list, "id=1 ");
    ck_assert_ptr_nonnull(omem);
    ck_assert_uint_le(strtoul(strstr(omem, " omem=") + 6, NULL, 10), 6 * MIB);
    free(list);
    for (int i = 0; i < COUNT; i++) {
        expect(fd, "$1048576\r\n");
        hear_bytes(fd, value, SIZE);
        ck_assert_int_eq(value[0], 'v');
        ck_assert_int_eq(value[SIZE - 1], 'v');
        expect(fd, "\r\n");
    }
    free(value);
    close(fd);
    close(other);
    rig_destroy(rig);
}
END_TEST

START_TEST(bounds__too_many_clients)
{
    struct rig *rig = rig_create(2, 16 * MIB);
    int first = dial(rig);
    int second = dial(rig);
    ask(first, "PING\r\n", "+PONG\r\n");
    ask(second, "PING\r\n", "+PONG\r\n");
    int third = dial(rig);
    expect(third, "-ERR max number of clients reached\r\n");
    expect_end(third);
    ask(first, "QUIT\r\n", "+OK\r\n");
    expect_end(first);
    int fourth = dial(rig);
    ask(fourth, "PING\r\n", "+PONG\r\n");
    close(second);
    close(fourth);
    rig_destroy(rig);
}
END_TEST

START_TEST(bounds__no_descriptor_left)
{
    struct rig *rig = rig_create_usual();
    struct rlimit before;
    int first = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int second = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int lowest_free = open("/dev/null", O_RDONLY | O_CLOEXEC);
    close(lowest_free);
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit none = {.rlim_cur = (rlim_t)lowest_free, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    dial_with(rig, first);
    expect(first, "-ERR max number of clients reached\r\n");
    dial_with(rig, second);
    expect(second, "-ERR max number of clients reached\r\n");
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    expect_end(first);
    expect_end(second);
    int third = dial(rig);
    ask(third, "PING\r\n", "+PONG\r\n");
    close(third);
    rig_destroy(rig);
}
END_TEST

START_TEST(bounds__no_memory_for_a_connection)
{
    static const int failures[] = {ENOMEM, ENOBUFS};
    struct rig *rig = rig_create_usual();
    int first = dial(rig);
    ask(first, "PING\r\n", "+PONG\r\n");
    for (size_t i = 0; i < ARRAY_LENGTH(failures); i++) {
        atomic_store(&accept_failure, failures[i]);
        int second = dial(rig);
        say(second, "PING\r\n");
        unsigned before = atomic_load(&accept_count);
        u64 begun_ns = clock_monotonic_ns();
        const struct timespec a_while = {.tv_nsec = 300 * 1000 * 1000};
        (void)nanosleep(&a_while, NULL);
        /* Tried a few times, not as often as there is time for. */
        unsigned tries = atomic_load(&accept_count) - before;
        ck_assert_uint_lt(tries, 100 * (1 + (clock_monotonic_ns() - begun_ns) / NS_PER_S));
        ask(first, "PING\r\n", "+PONG\r\n");
        atomic_store(&accept_failure, 0);
        expect(second, "+PONG\r\n");
        close(second);
    }
    close(first);
    rig_destroy(rig);
}
END_TEST

START_TEST(bounds__a_thousand_connections)
{
    enum { COUNT = 1000 };
    struct rig *rig = rig_create(4 * COUNT, 16 * MIB);
    int *fds = malloc(COUNT * sizeof(*fds));
    for (int i = 0; i < COUNT; i++)
        fds[i] = dial(rig);
    for (int round = 1; round <= 3; round++) {
        for (int i = 0; i < COUNT; i++) {
            char text[64];
            (void)snprintf(text, sizeof(text), "INCR n%d\r\nGET n%d\r\n", i, i);
            say(fds[i], text);
        }
        for (int i = 0; i < COUNT; i++) {
            char text[64];
            (void)snprintf(text, sizeof(text), ":%d\r\n$1\r\n%d\r\n", round, round);
            expect(fds[i], text);
        }
    }
    for (int i = 0; i < COUNT; i++)
        close(fds[i]);
    free(fds);
    rig_destroy(rig);
}
END_TEST

UNIT_MAIN("clients_bounds", bounds__idle_connection_is_small, bounds__commands_under_way,
          bounds__slow_reader, bounds__too_many_clients, bounds__no_descriptor_left,
          bounds__no_memory_for_a_connection, bounds__a_thousand_connections)
