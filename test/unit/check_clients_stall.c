/* check_clients_stall.c - the port while the server's thread has stalled: everybody is answered in
 * time, and once. */
#include "common/clock.h"
#include "test/unit/clients_unit.h"

static const char stalled[] =
    "-CLUSTERDOWN this server has stalled, INFO raft says on what; nothing was executed\r\n";
static const char unknown[] =
    "-TIMEOUT outcome unknown: the command may or may not have been executed\r\n";

/* As the watcher does it. */
static void stall(struct rig *rig, u64 patience_ns)
{
    struct buffer status;
    buffer_init(&status);
    buffer_append_string(&status, status_text);
    liveness_put_status(&rig->liveness, &status, clock_monotonic_ns());
    buffer_deinit(&status);
    atomic_store(&rig->liveness.patience_ns, patience_ns);
    atomic_store(&rig->liveness.on_disk, true);
    atomic_store(&rig->liveness.stalled_ns, clock_monotonic_ns());
    clients_look(rig->clients);
}

static void go_on(struct rig *rig)
{
    atomic_store(&rig->liveness.stalled_ns, 0);
    clients_look(rig->clients);
    rig_set(rig, &rig->held, false);
}

START_TEST(stall__what_is_new_is_refused_and_what_needs_no_server_is_answered)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    ask(fd, "SET key value\r\n", "+OK\r\n");
    stall(rig, NS_PER_S);
    u32 posted = rig_posted(rig);
    ask(fd, "PING\r\n", "+PONG\r\n");
    ask(fd, "GET key\r\n", stalled);
    ask(fd, "SET key 2\r\n", stalled);
    ask(fd, "CONFIG SET heartbeat 20ms\r\n", stalled);
    ask(fd, "RAFT.SNAPSHOT\r\n", stalled);
    ask(fd, "SET key\r\n", "-ERR wrong number of arguments for 'set' command\r\n");
    say(fd, "RAFT.STATUS\r\n");
    char *text = hear_bulk(fd);
    ck_assert_ptr_nonnull(strstr(text, "raft_stalled_ms:"));
    ck_assert_ptr_nonnull(strstr(text, "raft_stalled_on:disk"));
    ck_assert_ptr_nonnull(strstr(text, "raft_current_term:7"));
    free(text);
    ck_assert_uint_eq(rig_posted(rig), posted);
    go_on(rig);
    ask(fd, "GET key\r\n", "$5\r\nvalue\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(stall__what_is_under_way_is_given_up_in_time_and_in_order)
{
    struct rig *rig = rig_create_usual();
    int writer = dial(rig);
    int reader = dial(rig);
    int asker = dial(rig);
    ask(reader, "SET key value\r\n", "+OK\r\n");
    rig_set(rig, &rig->held, true);
    say(writer, "SET a 1\r\nSET b 2\r\nPING\r\nGET a\r\nSET c 3\r\n");
    say(reader, "GET key\r\nECHO x\r\n");
    say(asker, "INFO raft\r\n");
    rig_wait_posted(rig, 6); /* SET c waits for GET a, in the port */
    u64 began_ns = clock_monotonic_ns();
    stall(rig, NS_PER_S);
    char *text = hear_bulk(asker);
    ck_assert_ptr_nonnull(strstr(text, "raft_stalled_ms:"));
    free(text);
    ck_assert_uint_lt(clock_monotonic_ns() - began_ns, NS_PER_S);
    expect(writer, unknown);
    expect(writer, unknown);
    expect(writer, "+PONG\r\n");
    expect(writer, stalled);
    expect(writer, stalled); /* what waited for that read is new */
    expect(reader, stalled);
    expect(reader, "$1\r\nx\r\n");
    ck_assert_uint_ge(clock_monotonic_ns() - began_ns, NS_PER_S / 2);
    /* The late answers are dropped: each next answer is that to the next question. */
    go_on(rig);
    ask(writer, "GET b\r\n", "$1\r\n2\r\n");
    ask(reader, "GET key\r\n", "$5\r\nvalue\r\n");
    say(asker, "RAFT.STATUS\r\n");
    text = hear_bulk(asker);
    ck_assert_str_eq(text, status_text);
    free(text);
    close(writer);
    close(reader);
    close(asker);
    rig_destroy(rig);
}
END_TEST

START_TEST(stall__late_answers_go_nowhere_while_others_wait)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    rig_set(rig, &rig->held, true);
    rig_set(rig, &rig->backwards, true);
    say(fd, "SET a 1\r\nSET b 2\r\n");
    rig_wait_posted(rig, 2);
    stall(rig, 300 * NS_PER_MS);
    expect(fd, unknown);
    expect(fd, unknown);
    atomic_store(&rig->liveness.stalled_ns, 0);
    clients_look(rig->clients);
    ask(fd, "PING\r\n", "+PONG\r\n");
    say(fd, "SET c 3\r\n"); /* behind two whose answers are still to come */
    rig_wait_posted(rig, 3);
    rig_set(rig, &rig->held, false);
    expect(fd, "+OK\r\n");
    ask(fd, "MGET a b c\r\n", "*3\r\n$1\r\n1\r\n$1\r\n2\r\n$1\r\n3\r\n");
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(stall__server_that_takes_nothing_is_a_stalled_one)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    rig_set(rig, &rig->refuses, true);
    ask(fd, "GET key\r\n",
        "-BUSY too many commands are waiting; nothing was executed, try again\r\n");
    stall(rig, NS_PER_S);
    ask(fd, "GET key\r\n", stalled);
    say(fd, "RAFT.STATUS\r\n");
    free(hear_bulk(fd));
    close(fd);
    rig_destroy(rig);
}
END_TEST

START_TEST(stall__port_that_has_stopped_does_not_look)
{
    struct rig *rig = rig_create_usual();
    int fd = dial(rig);
    rig_set(rig, &rig->held, true);
    say(fd, "SET a 1\r\n");
    rig_wait_posted(rig, 1);
    stall(rig, 600 * NS_PER_S);
    ask(fd, "PING\r\nGET a\r\n", "");
    usleep(100 * 1000);
    rig_destroy(rig); /* which takes away what says so */
    close(fd);
}
END_TEST

UNIT_MAIN("clients_stall", stall__port_that_has_stopped_does_not_look,
          stall__what_is_new_is_refused_and_what_needs_no_server_is_answered,
          stall__what_is_under_way_is_given_up_in_time_and_in_order,
          stall__late_answers_go_nowhere_while_others_wait,
          stall__server_that_takes_nothing_is_a_stalled_one)
