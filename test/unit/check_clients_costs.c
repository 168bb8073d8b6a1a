/* check_clients_costs.c - who is hung up on because of what it costs, and who is not: half
 * commands, unread answers, memory of all connections together, hosts that are gone. */
#include <netinet/tcp.h>

#include "test/unit/clients_unit.h"

enum { VALUE = 64 * 1024, DESCRIPTORS_MAX = 256 };

#define SHORT (300 * NS_PER_MS)
#define LONG  (600 * NS_PER_S)

static u64 figure(int fd, const char *name)
{
    say(fd, "INFO stats memory\r\n");
    char *text = hear_bulk(fd);
    const char *found = strstr(text, name);
    ck_assert_msg(found != NULL && found[strlen(name)] == ':', "%s is not in INFO", name);
    u64 number = strtoull(found + strlen(name) + 1, NULL, 10);
    free(text);
    return number;
}

/* Stores a value of `size` bytes under "k". */
static void store(int fd, size_t size)
{
    char head[64];
    char *value = malloc(size);
    memset(value, 'v', size);
    (void)snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%zu\r\n", size);
    say(fd, head);
    say_bytes(fd, value, size);
    ask(fd, "\r\n", "+OK\r\n");
    free(value);
}

/* Sends of a command of `size` bytes the beginning. */
static void say_half(int fd, size_t size, size_t part)
{
    char head[64];
    char *value = malloc(part);
    memset(value, 'v', part);
    (void)snprintf(head, sizeof(head), "*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$%zu\r\n", size);
    say(fd, head);
    say_bytes(fd, value, part);
    free(value);
}

/* ---- time ---- */

START_TEST(patience__half_a_command_is_hung_up_on)
{
    static const char *const beginnings[] = {"*", "*2\r\n$3\r\nGET\r\n$1\r\n", "PIN",
                                             "*1\r\n$4\r\nPING\r\n*1\r\n$4\r\nPI"};
    struct rig *rig = rig_create_bounded(100, 16 * MIB, 512 * MIB, SHORT);
    int idle = dial(rig);
    int asks = dial(rig);
    int half[ARRAY_LENGTH(beginnings)];
    ask(asks, "PING\r\n", "+PONG\r\n");
    for (size_t i = 0; i < ARRAY_LENGTH(beginnings); i++) {
        half[i] = dial(rig);
        say(half[i], beginnings[i]);
    }
    expect(half[3], "+PONG\r\n");
    for (size_t i = 0; i < ARRAY_LENGTH(beginnings); i++)
        expect_end(half[i]);
    ck_assert_uint_eq(figure(asks, "half_command_clients"), ARRAY_LENGTH(beginnings));
    ask(idle, "PING\r\n", "+PONG\r\n"); /* who has begun nothing may be silent for ever */
    ck_assert_uint_eq(figure(asks, "stalled_clients"), 0);
    close(idle);
    close(asks);
    rig_destroy(rig);
}
END_TEST

START_TEST(patience__a_trickle_is_hung_up_on)
{
    struct rig *rig = rig_create_bounded(100, 16 * MIB, 512 * MIB, SHORT);
    int fd = dial(rig);
    say(fd, "*2\r\n$4\r\nECHO\r\n$1000000\r\n");
    char byte = 'a';
    u32 sent = 0;
    while (sent < 2000 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1) {
        sent++;
        usleep(10000);
    }
    ck_assert_uint_lt(sent, 2000);
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(patience__who_gets_on_stays)
{
    enum { PARTS = 8, PART = 128 * 1024, WHOLE = PARTS * PART };
    struct rig *rig = rig_create_bounded(100, 16 * MIB, 512 * MIB, 2 * NS_PER_S);
    int large = dial(rig);
    int small = dial(rig);
    char *part = malloc(PART);
    memset(part, 'v', PART);
    say(large, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1048576\r\n");
    /* One command that takes longer than the patience, and many, each of which is never complete
     * when the port looks. */
    say(small, "PI");
    for (int i = 0; i < PARTS; i++) {
        usleep(500000);
        say_bytes(large, part, PART);
        ask(small, "NG\r\nPI", "+PONG\r\n");
    }
    ask(large, "\r\n", "+OK\r\n");
    ask(small, "NG\r\n", "+PONG\r\n");
    ck_assert_uint_eq(figure(small, "half_command_clients"), 0);
    free(part);
    close(large);
    close(small);
    rig_destroy(rig);
}
END_TEST

START_TEST(patience__unread_answers_and_more_commands_end)
{
    enum { COUNT = 3000 };
    struct rig *rig = rig_create_bounded(100, MIB, 512 * MIB, SHORT);
    int stalled = dial(rig);
    int content = dial(rig);
    int asks = dial(rig);
    store(asks, VALUE);
    for (int i = 0; i < COUNT; i++)
        say(stalled, "GET k\r\n");
    /* Unread answers alone harm nobody, as long as there is room for them. */
    for (int i = 0; i < 8; i++)
        say(content, "GET k\r\n");
    while (figure(asks, "stalled_clients") == 0)
        usleep(20000);
    usleep(2 * SHORT / NS_PER_US);
    ck_assert_uint_eq(figure(asks, "stalled_clients"), 1);
    char *value = malloc(VALUE);
    for (int i = 0; i < 8; i++) {
        expect(content, "$65536\r\n");
        hear_bytes(content, value, VALUE);
        expect(content, "\r\n");
    }
    free(value);
    ask(content, "PING\r\n", "+PONG\r\n");
    close(stalled);
    close(content);
    close(asks);
    rig_destroy(rig);
}
END_TEST

/* The port's end of our connection, once it is accepted, by what the kernel says of all
 * descriptors: the port's own list of connections is its thread's. */
static int port_end_of(int fd)
{
    struct sockaddr_in ours, other;
    socklen_t size = sizeof(ours);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&ours, &size), 0);
    for (int at = 0; at < DESCRIPTORS_MAX; at++) {
        size = sizeof(other);
        if (at != fd && getpeername(at, (struct sockaddr *)&other, &size) == 0 &&
            other.sin_family == AF_INET && other.sin_port == ours.sin_port)
            return at;
    }
    ck_abort_msg("the port has no end of this connection");
    return -1;
}

START_TEST(patience__who_reads_late_stays)
{
    enum { COUNT = 12, BUFFER = 64 * 1024 };
    struct rig *rig = rig_create_bounded(100, MIB, 512 * MIB, SHORT);
    int fd = dial(rig);
    store(fd, VALUE);
    /* Small: the kernel has no room for all of the answers, and most of them wait in the port. */
    int size = BUFFER;
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
    ck_assert_int_eq(setsockopt(port_end_of(fd), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
    for (int i = 0; i < COUNT; i++)
        say(fd, "GET k\r\n");
    usleep(4 * SHORT / NS_PER_US);
    char *value = malloc(VALUE);
    for (int i = 0; i < COUNT; i++) {
        expect(fd, "$65536\r\n");
        hear_bytes(fd, value, VALUE);
        expect(fd, "\r\n");
    }
    free(value);
    ask(fd, "PING\r\n", "+PONG\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(patience__who_waits_for_the_server_stays)
{
    struct rig *rig = rig_create_bounded(100, MIB, 512 * MIB, SHORT);
    int fd = dial(rig);
    rig_set(rig, &rig->held, true);
    say(fd, "GET k\r\nSET k v\r\nGET k\r\n"); /* the write waits in the port for the read */
    rig_wait_posted(rig, 1);
    usleep(3 * SHORT / NS_PER_US);
    rig_set(rig, &rig->held, false);
    expect(fd, "$-1\r\n+OK\r\n$1\r\nv\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(tuned__a_host_that_is_gone_is_noticed)
{
    struct rig *rig = rig_create_bounded(100, MIB, 512 * MIB, 9 * NS_PER_S);
    int fd = dial(rig);
    ask(fd, "PING\r\n", "+PONG\r\n");
    static const struct {
        int level;
        int name;
        int value;
    } wanted[] = {{SOL_SOCKET, SO_KEEPALIVE, 1},
                  {IPPROTO_TCP, TCP_KEEPIDLE, 9},
                  {IPPROTO_TCP, TCP_KEEPINTVL, 3},
                  {IPPROTO_TCP, TCP_KEEPCNT, 3},
                  {IPPROTO_TCP, TCP_NODELAY, 1}};
    for (size_t i = 0; i < ARRAY_LENGTH(wanted); i++) {
        int value = 0;
        socklen_t size = sizeof(value);
        /* The one connection does not end while we hold its other end. */
        ck_assert_int_eq(
            getsockopt(port_end_of(fd), wanted[i].level, wanted[i].name, &value, &size), 0);
        ck_assert_int_eq(value, wanted[i].value);
    }
    close(fd);
    rig_destroy(rig);
}
END_TEST

/* ---- memory ---- */

static u64 memory_of(struct rig *rig)
{
    return atomic_load(&rig->clients->bounds.memory);
}

/* Everything that was charged is given back: what is left is the structs of idle connections. */
START_TEST(memory__nothing_is_charged_at_rest)
{
    enum { CLIENTS = 20 };
    struct rig *rig = rig_create_bounded(100, 16 * MIB, 512 * MIB, LONG);
    int asks = dial(rig);
    store(asks, VALUE);
    int fds[CLIENTS];
    char *value = malloc(VALUE);
    for (int round = 0; round < 3; round++) {
        rig_set(rig, &rig->backwards, round == 1);
        for (int i = 0; i < CLIENTS; i++) {
            fds[i] = dial(rig);
            for (int n = 0; n < 20; n++)
                say(fds[i], "GET k\r\nHELLO 3\r\nINFO\r\nMGET k none\r\nSET n 1\r\nGET k\r\n");
            say_half(fds[i], VALUE, (size_t)i * 1000);
        }
        for (int i = 0; i < CLIENTS; i++) {
            if (i % 2 == 0)
                hear_bytes(fds[i], value, VALUE);
            if (round < 2 || i % 3 == 0) {
                close(fds[i]);
                continue;
            }
            /* Reads all, and is idle in the end. */
            char *rest = malloc(VALUE);
            memset(rest, 'v', VALUE);
            say_bytes(fds[i], rest, VALUE - (size_t)i * 1000);
            free(rest);
            say(fds[i], "\r\nQUIT\r\n");
            while (recv(fds[i], value, VALUE, 0) > 0)
                continue;
            close(fds[i]);
        }
    }
    free(value);
    u64 idle = sizeof(struct connection);
    for (int i = 0; i < 1000 && memory_of(rig) > idle; i++)
        usleep(20000);
    ask(asks, "PING\r\n", "+PONG\r\n");
    ck_assert_uint_eq(memory_of(rig), idle);
    ck_assert_uint_eq(atomic_load(&rig->clients->bounds.connections), 1);
    close(asks);
    rig_destroy(rig);
}
END_TEST

START_TEST(memory__half_commands_are_charged_as_they_come)
{
    struct rig *rig = rig_create_bounded(100, 16 * MIB, 512 * MIB, LONG);
    int fd = dial(rig);
    say_half(fd, 8 * MIB, 3);
    for (int i = 0; i < 500 && memory_of(rig) < 2 * sizeof(struct connection); i++)
        usleep(10000);
    usleep(100000);
    ck_assert_uint_lt(memory_of(rig), 256 * KIB); /* announced is not sent */
    close(fd);
    fd = dial(rig);
    say_half(fd, 8 * MIB, 8 * MIB - 1);
    for (int i = 0; i < 500 && memory_of(rig) < 8 * MIB; i++)
        usleep(10000);
    ck_assert_uint_ge(memory_of(rig), 8 * MIB);
    ck_assert_uint_le(memory_of(rig), 8 * MIB + 256 * KIB); /* no room beyond its end */
    close(fd);
    for (int i = 0; i < 500 && memory_of(rig) > MIB; i++)
        usleep(10000);
    /* And none when a read begins close to its end. */
    fd = dial(rig);
    say_half(fd, 8 * MIB, 8 * MIB - 32 * KIB);
    for (int i = 0; i < 500 && memory_of(rig) < 8 * MIB - 32 * KIB; i++)
        usleep(10000);
    usleep(100000);
    say(fd, "vvvvvvvv");
    usleep(100000);
    ck_assert_uint_ge(memory_of(rig), 8 * MIB - 32 * KIB);
    ck_assert_uint_le(memory_of(rig), 8 * MIB + 256 * KIB);
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(memory__the_largest_go_first)
{
    enum { HOGS = 12 };
    struct rig *rig = rig_create_bounded(100, 4 * MIB, 8 * MIB, LONG);
    int honest = dial(rig);
    int small = dial(rig);
    int spared = dial(rig);
    int hogs[HOGS];
    ask(honest, "PING\r\n", "+PONG\r\n");
    ask(spared, "CLIENT NO-EVICT on\r\n", "+OK\r\n");
    say_half(spared, 2 * MIB, 3 * MIB / 2);
    say_half(small, 2 * MIB, 40 * KIB);
    for (int i = 0; i < HOGS; i++) {
        hogs[i] = dial(rig);
        say_half(hogs[i], 2 * MIB, MIB);
        ask(honest, "PING\r\n", "+PONG\r\n");
    }
    while (figure(honest, "evicted_clients") < 6)
        usleep(20000);
    usleep(100000);
    ck_assert_uint_le(memory_of(rig), 8 * MIB);
    ck_assert_uint_lt(figure(honest, "evicted_clients"), HOGS);
    say_half(small, 0, 0); /* both are there still: no reset comes */
    char byte;
    ck_assert_int_eq(recv(small, &byte, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(recv(spared, &byte, 1, MSG_DONTWAIT), -1);
    ask(honest, "SET a 1\r\n", "+OK\r\n");
    for (int i = 0; i < HOGS; i++)
        close(hogs[i]);
    close(honest);
    close(small);
    close(spared);
    rig_destroy(rig);
}
END_TEST

/* Many who read late are held back, each at its part, and nobody is hung up on. */
START_TEST(memory__late_readers_share_it)
{
    enum { CLIENTS = 24, GETS = 200 };
    struct rig *rig = rig_create_bounded(100, 4 * MIB, 32 * MIB, LONG);
    int asks = dial(rig);
    int fds[CLIENTS];
    u64 most = 0;
    store(asks, VALUE);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = dial(rig);
        for (int n = 0; n < GETS; n++)
            say(fds[i], "GET k\r\n");
        ask(asks, "GET none\r\n", "$-1\r\n");
        most = u64_max(most, memory_of(rig));
    }
    for (int i = 0; i < 50; i++) {
        usleep(10000);
        most = u64_max(most, memory_of(rig));
    }
    ck_assert_uint_le(most, 32 * MIB);
    char *value = malloc(VALUE);
    for (int i = 0; i < CLIENTS; i++) {
        for (int n = 0; n < GETS; n++) {
            expect(fds[i], "$65536\r\n");
            hear_bytes(fds[i], value, VALUE);
            expect(fds[i], "\r\n");
        }
        close(fds[i]);
    }
    free(value);
    ck_assert_uint_eq(figure(asks, "evicted_clients"), 0);
    close(asks);
    rig_destroy(rig);
}
END_TEST

/* The default bounds take what Redis' users send at once and read afterwards. */
START_TEST(output__three_hundred_thousand_gets_sent_whole)
{
    enum { COUNT = 300000, PART = 1000, SMALL = 256 };
    struct rig *rig = rig_create_bounded(100, 128 * MIB, 512 * MIB, LONG);
    int fd = dial(rig);
    store(fd, SMALL);
    struct buffer part;
    buffer_init(&part);
    for (int i = 0; i < PART; i++)
        buffer_append_string(&part, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    for (int i = 0; i < COUNT / PART; i++)
        say_bytes(fd, part.data, part.size);
    buffer_deinit(&part);
    enum { ANSWER = SMALL + 8 };
    char *answers = malloc(PART * (size_t)ANSWER);
    for (int i = 0; i < COUNT / PART; i++) {
        hear_bytes(fd, answers, PART * (size_t)ANSWER);
        for (int n = 0; n < PART; n++)
            ck_assert_int_eq(memcmp(answers + n * ANSWER, "$256\r\nv", 7), 0);
    }
    free(answers);
    close(fd);
    rig_destroy(rig);
}
END_TEST

UNIT_MAIN("clients_costs", patience__half_a_command_is_hung_up_on,
          patience__a_trickle_is_hung_up_on, patience__who_gets_on_stays,
          patience__unread_answers_and_more_commands_end, patience__who_reads_late_stays,
          patience__who_waits_for_the_server_stays, tuned__a_host_that_is_gone_is_noticed,
          memory__nothing_is_charged_at_rest, memory__half_commands_are_charged_as_they_come,
          memory__the_largest_go_first, memory__late_readers_share_it,
          output__three_hundred_thousand_gets_sent_whole)
