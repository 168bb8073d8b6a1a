/* check_round.c - a round of work: what mail is taken in, what a loop may conclude from it, and
 * when the server counts as busy. */
#include "server/replica/round.h"

#include "test/unit/server_unit.h"

static void note_busy(struct transport *self, bool begins)
{
    (void)self;
    note("%s", begins ? "busy" : "idle");
}

static const struct transport_ops busy_ops = {.send = transport_send, .busy = note_busy};
static struct transport busy_transport = {&busy_ops};

static u32 pile_count(void)
{
    u32 count = 0;
    for (const struct mail *mail = server->pile.first; mail != NULL; mail = mail->next)
        count++;
    return count;
}

/* server_collect, with a deadline that must not be waited for. */
static u64 collect_at_once(u64 *now_ns)
{
    u64 deadline_ns = clock_monotonic_ns() + 20 * NS_PER_S;
    u64 heard_ns = server_collect(server, deadline_ns, now_ns);
    ck_assert_uint_lt(*now_ns, deadline_ns);
    return heard_ns;
}

/* ---- server_begin_round, server_pause_round, server_end_round ---- */

START_TEST(server_begin_round__a_round_is_measured_and_told)
{
    begin("1");
    server->transport = &busy_transport;
    u64 before_ns = clock_monotonic_ns();
    u64 wall_ns = clock_wall_ns();
    u64 now_ns = server_begin_round(server);
    ck_assert_uint_ge(now_ns, before_ns);
    ck_assert_uint_ge(server->pile_wall_ns,
                      wall_ns); /* what entries of this pile are stamped with */
    ck_assert_uint_eq(atomic_load(&server->liveness.round_ns), now_ns);
    ck_assert_uint_eq(server->loop_time.rounds.count, 0);
    server_end_round(server);
    ck_assert_uint_eq(server->loop_time.rounds.count, 1);
    ck_assert_uint_eq(atomic_load(&server->liveness.round_ns), 0);
    CK_TAPE("busy, idle");
    end();
}
END_TEST

/* In the dispatch design a round goes from thread to thread: it is one for all that. */
START_TEST(server_pause_round__the_round_goes_on)
{
    begin("1");
    server->transport = &busy_transport;
    u64 began_ns = server_begin_round(server);
    server_pause_round(server);
    (void)server_begin_round(server);
    ck_assert_uint_eq(atomic_load(&server->liveness.round_ns), began_ns);
    server_end_round(server);
    ck_assert_uint_eq(server->loop_time.rounds.count, 1);
    CK_TAPE("busy, idle");
    end();
}
END_TEST

/* ---- server_collect ---- */

START_TEST(server_collect__waits_until_the_deadline_and_no_longer)
{
    begin("1");
    u64 now_ns;
    u64 deadline_ns = clock_monotonic_ns() + 5 * T_MS;
    u64 heard_ns = server_collect(server, deadline_ns, &now_ns);
    ck_assert_uint_ge(heard_ns, deadline_ns); /* so it may be acted upon */
    ck_assert_uint_ge(now_ns, heard_ns);
    ck_assert(mail_pile_is_empty(&server->pile));
    end();
}
END_TEST

START_TEST(server_collect__mail_ends_the_wait)
{
    begin("1");
    server->transport = &busy_transport;
    u64 now_ns;
    tell(MAIL_CONNECTED, 2);
    tell(MAIL_CONNECTED, 3);
    u64 posted_ns = clock_monotonic_ns();
    u64 heard_ns = collect_at_once(&now_ns);
    ck_assert_uint_ge(heard_ns, posted_ns);
    ck_assert_uint_eq(pile_count(), 2);
    ck_assert_uint_eq(server->pile.first->as.peer, 2);
    CK_TAPE("idle, busy"); /* while it waited it was not busy */
    end();
}
END_TEST

/* A deadline may be over; but what came before it has not all been read. */
START_TEST(server_collect__no_deadline_counts_before_all_mail_is_read)
{
    begin("1");
    u64 now_ns, later_ns;
    u64 at_first_ns = server_collect(server, 0, &now_ns);
    server->raft.round_bytes_max = 1; /* a letter a round */
    for (server_id peer = 1; peer <= 3; peer++)
        tell(MAIL_CONNECTED, peer);
    u64 posted_ns = clock_monotonic_ns();
    for (u32 letters = 1; letters <= 2; letters++) {
        ck_assert_uint_eq(collect_at_once(&later_ns), at_first_ns);
        ck_assert_uint_eq(pile_count(), letters);
        ck_assert_uint_ge(later_ns, posted_ns);
    }
    ck_assert_uint_ge(collect_at_once(&later_ns), posted_ns);
    ck_assert_uint_eq(pile_count(), 3);
    end();
}
END_TEST

START_TEST(server_collect__does_not_wait_while_mail_is_left_on_the_pile)
{
    begin("1");
    u64 now_ns;
    mail_pile_put(&server->pile, mail_create(MAIL_CONNECTED));
    (void)collect_at_once(&now_ns);
    ck_assert_uint_eq(pile_count(), 1);
    end();
}
END_TEST

START_TEST(server_collect__does_not_wait_while_something_is_to_be_applied)
{
    begin("1 1");
    u64 now_ns;
    server->raft.commit_index = 2;
    (void)collect_at_once(&now_ns);
    ck_assert(mail_pile_is_empty(&server->pile));
    end();
}
END_TEST

/* ---- server_open_mail ---- */

static struct mail *three_commands(void)
{
    struct mail *mail = mail_create(MAIL_COMMANDS);
    command_list_put(&mail->as.commands, command_of('A', COMMAND_READ, 1, "r"));
    command_list_put(&mail->as.commands, command_of('A', COMMAND_WRITE, 2, "w"));
    command_list_put(&mail->as.commands, command_of('B', COMMAND_READ, 1, "r"));
    return mail;
}

/* The serials of a letter's commands, "0 1 1". */
static const char *serials(const struct mail *mail)
{
    static char text[64];
    text[0] = '\0';
    for (const struct command *command = mail->as.commands.first; command != NULL;
         command = command->next) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof(text) - used, "%s%llu", used == 0 ? "" : " ",
                       (unsigned long long)command->serial);
    }
    return text;
}

START_TEST(server_open_mail__commands_are_numbered_once)
{
    begin("1");
    struct mail *first = three_commands();
    struct mail *second = three_commands();
    server_open_mail(server, first);
    ck_assert_str_eq(serials(first), "0 1 1");
    server_open_mail(server, second);
    ck_assert_str_eq(serials(second), "1 2 2");
    server_open_mail(server, first); /* a loop has left it to the next one */
    ck_assert_str_eq(serials(first), "0 1 1");
    ck_assert_uint_eq(server->write_serial, 2);
    mail_destroy(first);
    mail_destroy(second);
    end();
}
END_TEST

START_TEST(server_open_mail__a_message_is_traced_once)
{
    begin("1 1");
    struct mail *mail = mail_create(MAIL_REQUEST_VOTE);
    mail->as.message = vote_of(2, 1, (struct entry_id){1, 2});
    server_open_mail(server, mail);
    server_open_mail(server, mail);
    ck_assert_str_eq(traced, "ReceiveRequestVoteRequest");
    mail_destroy(mail);
    end();
}
END_TEST

/* ---- server_next_mail ---- */

START_TEST(server_next_mail__ends_what_was_read_and_all_that_is_left_in_it)
{
    begin("1");
    mail_pile_put(&server->pile, three_commands());
    mail_pile_put(&server->pile, mail_create(MAIL_STOP));
    ck_assert_int_eq(server_next_mail(server)->kind, MAIL_COMMANDS);
    CK_TAPE("");
    ck_assert_int_eq(server_next_mail(server)->kind, MAIL_STOP);
    CK_TAPE("answer A1:-CLUSTERDOWN this server is stopping, "
            "answer A2:-CLUSTERDOWN this server is stopping, "
            "answer B1:-CLUSTERDOWN this server is stopping");
    server_put_back(server);
    ck_assert_int_eq(server_next_mail(server)->kind, MAIL_STOP);
    ck_assert_ptr_null(server_next_mail(server));
    end();
}
END_TEST

UNIT_MAIN("round", server_begin_round__a_round_is_measured_and_told,
          server_pause_round__the_round_goes_on,
          server_collect__waits_until_the_deadline_and_no_longer,
          server_collect__mail_ends_the_wait,
          server_collect__no_deadline_counts_before_all_mail_is_read,
          server_collect__does_not_wait_while_mail_is_left_on_the_pile,
          server_collect__does_not_wait_while_something_is_to_be_applied,
          server_open_mail__commands_are_numbered_once, server_open_mail__a_message_is_traced_once,
          server_next_mail__ends_what_was_read_and_all_that_is_left_in_it)
