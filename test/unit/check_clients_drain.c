/* check_clients_drain.c - the port before its end: what is under way is answered, what comes is
 * refused, and nobody is hung up on while anything is under way. */
#include "common/clock.h"
#include "test/unit/clients_unit.h"

static const char stopping[] = "-CLUSTERDOWN this server is stopping; nothing was executed\r\n";

/* clients_drain on a thread of its own, as it blocks. */
struct drain {
    struct rig *rig;
    struct thread thread;
    u64 patience_ns;
    u64 took_ns;
};

static void drain_run(void *context)
{
    struct drain *drain = context;
    u64 began_ns = clock_monotonic_ns();
    clients_drain(drain->rig->clients, began_ns + drain->patience_ns);
    drain->took_ns = clock_monotonic_ns() - began_ns;
}

static void drain_start(struct drain *drain, struct rig *rig, u64 patience_ns)
{
    struct error error;
    *drain = (struct drain){.rig = rig, .patience_ns = patience_ns};
    ck_assert_int_eq(thread_start(&drain->thread, "drain", drain_run, drain, &error), ERROR_NONE);
}

/* Asks until it is refused: the drain may begin a little later. */
static void ask_until_refused(int fd)
{
    char got[128] = "";
    while (got[0] != '-') {
        say(fd, "SET key value\r\n");
        hear_bytes(fd, got, 5);
    }
    hear_bytes(fd, got + 5, sizeof(stopping) - 1 - 5);
    got[sizeof(stopping) - 1] = '\0';
    ck_assert_str_eq(got, stopping);
}

START_TEST(clients_drain__answers_what_is_under_way)
{
    struct rig *rig = rig_create_usual();
    struct drain drain;
    int waits = dial(rig);
    int asks = dial(rig);
    ask(waits, "PING\r\n", "+PONG\r\n");
    rig_set(rig, &rig->held, true);
    say(waits, "SET a 1\r\nSET b 2\r\n");
    rig_wait_posted(rig, 2);
    drain_start(&drain, rig, SECONDS_MAX * NS_PER_S);
    /* Its turn comes behind the two that are under way. */
    say(asks, "PING\r\n");
    expect(asks, "+PONG\r\n");
    usleep(300 * 1000); /* longer than silence is waited for */
    say(waits, "SET c 3\r\nPING\r\n");
    usleep(50 * 1000);
    rig_set(rig, &rig->held, false);
    expect(waits, "+OK\r\n+OK\r\n");
    expect(waits, stopping);
    expect(waits, "+PONG\r\n");
    expect_end(waits);
    expect_end(asks);
    thread_join(&drain.thread);
    ck_assert_uint_eq(rig_posted(rig), 2);
    rig_destroy(rig);
}
END_TEST

START_TEST(clients_drain__refuses_all_that_needs_the_server)
{
    struct rig *rig = rig_create_usual();
    struct drain drain;
    int fd = dial(rig);
    drain_start(&drain, rig, SECONDS_MAX * NS_PER_S);
    ask_until_refused(fd);
    u32 posted = rig_posted(rig);
    ask(fd, "GET key\r\n", stopping);
    ask(fd, "CONFIG SET heartbeat 20ms\r\n", stopping);
    ask(fd, "CONFIG RESETSTAT\r\n", stopping);
    ask(fd, "RAFT.SNAPSHOT\r\n", stopping);
    ask(fd, "RAFT.TRANSFER\r\n", stopping);
    ask(fd, "RAFT.BACKUP 1 1 1 1 0 1\r\n", stopping);
    ck_assert_uint_eq(rig_posted(rig), posted);
    /* What is wrong is told so, and what needs no server, or changes nothing, is answered. */
    ask(fd, "GET\r\n", "-ERR wrong number of arguments for 'get' command\r\n");
    ask(fd, "ECHO x\r\n", "$1\r\nx\r\n");
    say(fd, "RAFT.STATUS\r\n");
    free(hear_bulk(fd));
    expect_end(fd);
    thread_join(&drain.thread);
    rig_destroy(rig);
}
END_TEST

START_TEST(clients_drain__admits_nobody)
{
    struct rig *rig = rig_create_usual();
    struct drain drain;
    int fd = dial(rig);
    drain_start(&drain, rig, SECONDS_MAX * NS_PER_S);
    ask_until_refused(fd);
    int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(clients_port(rig->clients)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    ck_assert_int_ne(connect(late, (struct sockaddr *)&address, sizeof(address)), 0);
    close(late);
    expect_end(fd);
    thread_join(&drain.thread);
    rig_destroy(rig);
}
END_TEST

START_TEST(clients_drain__without_clients_at_once)
{
    struct rig *rig = rig_create_usual();
    clients_drain(rig->clients, UINT64_MAX);
    clients_drain(rig->clients, UINT64_MAX); /* a second time there is nothing left to do */
    rig_destroy(rig);
}
END_TEST

START_TEST(clients_drain__ends_at_its_deadline)
{
    struct rig *rig = rig_create_usual();
    struct drain drain;
    int fd = dial(rig);
    rig_set(rig, &rig->held, true);
    say(fd, "SET a 1\r\n");
    rig_wait_posted(rig, 1);
    drain_start(&drain, rig, 200 * NS_PER_MS);
    thread_join(&drain.thread);
    ck_assert_uint_ge(drain.took_ns, 200 * NS_PER_MS);
    rig_set(rig, &rig->held, false);
    expect(fd, "+OK\r\n"); /* nothing was taken away */
    close(fd);
    rig_destroy(rig);
}
END_TEST

UNIT_MAIN("clients_drain", clients_drain__answers_what_is_under_way,
          clients_drain__refuses_all_that_needs_the_server, clients_drain__admits_nobody,
          clients_drain__without_clients_at_once, clients_drain__ends_at_its_deadline)
