/* check_follow.c - a follower's clients, and its leader's messages. What a FORWARD is, is
 * check_forward.c's. */
#include "server/service/follow.h"

#include "test/unit/server_unit.h"

static const struct entry_id last = {1, 2}; /* of "1 1" */

static struct forwarding forwarding;
static u64 serial;

/* Server 2 leads, if it is not said to be nobody. */
static void begin_following(server_id leader)
{
    begin("1 1");
    server->raft.leader = leader;
    forwarding_init(&forwarding, &server->taker);
    serial = 0;
}

static void end_following(void)
{
    follow_forwarding_lost(server, &forwarding);
    end();
}

static struct command *numbered(struct command *command)
{
    command->serial = command->class == COMMAND_WRITE ? ++serial : serial;
    return command;
}

static void take(char client, enum command_class class, u64 slot, const char *body)
{
    follow_take_command(server, &forwarding, numbered(command_of(client, class, slot, body)));
}

static void forward(u64 now_ns)
{
    follow_forward(server, &forwarding, now_ns);
    outbox_send_all(&server->outbox, &transport);
}

/* The leader's reply to the newest FORWARD. */
static struct message reply_of(server_id from, enum forward_result result)
{
    struct message reply = {.kind = MESSAGE_FORWARD_REPLY,
                            .from = from,
                            .to = 1,
                            .term = 1,
                            .call = newest(MESSAGE_FORWARD)->call};
    reply.as.forward_reply.result = result;
    return reply;
}

static void replied(struct message reply)
{
    follow_take_forward_reply(server, &forwarding, &reply);
}

/* ---- follow_take_entries ---- */

START_TEST(follow_take_entries__the_reply_waits_for_the_disk)
{
    const char *why;
    begin_following(SERVER_NONE);
    struct message request = append_of(2, 1, last, "1 1", 1);
    ck_assert(follow_take_entries(server, &request, T_MS, &why));
    message_release(&request);
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 1 1");
    ck_assert_uint_eq(server->raft.leader, 2);
    outbox_send_early(&server->outbox, &transport);
    CK_TAPE("");
    outbox_send_all(&server->outbox, &transport);
    CK_TAPE("send append-reply>2");
    ck_assert_int_eq(newest(MESSAGE_APPEND_ENTRIES_REPLY)->as.append_reply.result, APPEND_ACCEPTED);
    end_following();
}
END_TEST

/* The log's next segment is not there yet: the leader sends it again. */
START_TEST(follow_take_entries__more_than_the_disk_takes_is_refused)
{
    const char *why;
    static char large[40000];
    begin_following(SERVER_NONE);
    memset(large, 'l', sizeof(large) - 1);
    struct entry entry = command_entry(1, large);
    (void)log_append(&server->raft.log, &entry, NULL, 0);
    (void)log_append(&server->raft.log, &entry, NULL, 0); /* what waits to be saved fills it */
    struct message request = append_of(2, 1, log_last(&server->raft.log), "1", 1);
    ck_assert(follow_take_entries(server, &request, T_MS, &why));
    message_release(&request);
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 1 1");
    outbox_send_all(&server->outbox, &transport);
    ck_assert_int_eq(newest(MESSAGE_APPEND_ENTRIES_REPLY)->as.append_reply.result,
                     APPEND_REFUSED_SPACE);
    end_following();
}
END_TEST

START_TEST(follow_take_entries__a_second_leader_breaks_the_protocol)
{
    const char *why = "";
    begin_following(2);
    struct message request = append_of(3, 1, last, "1", 1);
    ck_assert(!follow_take_entries(server, &request, T_MS, &why));
    message_release(&request);
    ck_assert_str_ne(why, "");
    ck_assert(outbox_is_empty(&server->outbox));
    end_following();
}
END_TEST

/* ---- follow_take_command, follow_forward ---- */

START_TEST(follow_take_command__writes_and_reads_of_a_pile_go_to_the_leader)
{
    begin_following(2);
    take('A', COMMAND_WRITE, 1, "w1");
    take('B', COMMAND_READ, 1, "r1");
    take('A', COMMAND_WRITE, 2, "w2");
    CK_TAPE("");
    forward(T_MS);
    CK_TAPE("send forward>2:w1 w2, send forward>2:r1");
    end_following();
}
END_TEST

START_TEST(follow_take_command__who_asks_for_redirects_is_sent_to_the_leader)
{
    begin_following(3);
    struct command *command = numbered(command_of('A', COMMAND_WRITE, 1, "w1"));
    command->may_redirect = true;
    follow_take_command(server, &forwarding, command);
    CK_TAPE("redirect A1>3");
    end_following();
}
END_TEST

START_TEST(follow_take_command__what_asks_this_very_server_is_answered)
{
    begin_following(2);
    take('A', COMMAND_RESET_STATISTICS, 1, "");
    follow_take_command(server, &forwarding, order_of('A', 2, 3));
    CK_TAPE("answer A1:+OK, answer A2:-ERR this server does not lead: order it");
    end_following();
}
END_TEST

START_TEST(follow_take_command__waits_for_a_leader_to_be_known)
{
    begin_following(SERVER_NONE);
    take('A', COMMAND_WRITE, 1, "w1");
    struct command *command = numbered(command_of('B', COMMAND_READ, 1, "r1"));
    command->may_redirect = true;
    follow_take_command(server, &forwarding, command);
    forward(T_MS);
    CK_TAPE("");
    ck_assert_uint_eq(server->parked.count, 2);
    server->raft.leader = 3;
    forward(T_MS);
    CK_TAPE("redirect B1>3, send forward>3:w1");
    ck_assert_uint_eq(server->parked.count, 0);
    end_following();
}
END_TEST

/* The pile begins without a leader, and ends with one: what came first goes first. */
START_TEST(follow_forward__who_waited_goes_before_who_came_later)
{
    begin_following(SERVER_NONE);
    take('A', COMMAND_WRITE, 1, "w1");
    server->raft.leader = 2;
    take('A', COMMAND_WRITE, 2, "w2");
    forward(T_MS);
    CK_TAPE("send forward>2:w1 w2");
    end_following();
}
END_TEST

/* And the other way around: nothing goes to nobody. */
START_TEST(follow_forward__a_leader_lost_within_the_pile_gets_nothing)
{
    begin_following(2);
    take('A', COMMAND_WRITE, 1, "w1");
    server->raft.leader = SERVER_NONE;
    forward(T_MS);
    CK_TAPE("");
    ck_assert_uint_eq(server->parked.count, 1);
    server->raft.leader = 3;
    forward(T_MS);
    CK_TAPE("send forward>3:w1");
    end_following();
}
END_TEST

START_TEST(follow_forward__who_gets_no_answer_in_time_is_told_so)
{
    begin_following(2);
    server->options.forward_timeout_ns = 100 * T_MS;
    take('A', COMMAND_WRITE, 1, "w1");
    take('B', COMMAND_READ, 1, "r1");
    forward(T_MS);
    tape[0] = '\0';
    forward(101 * T_MS - 1);
    CK_TAPE("");
    forward(101 * T_MS);
    CK_TAPE("answer A1:-TIMEOUT outcome unknown: the command ma, "
            "answer B1:-CLUSTERDOWN the leader could not be rea");
    end_following();
}
END_TEST

/* ---- follow_take_forward_reply ---- */

START_TEST(follow_take_forward_reply__the_answer_goes_to_its_client)
{
    begin_following(2);
    take('A', COMMAND_WRITE, 1, "w1");
    forward(T_MS);
    tape[0] = '\0';
    struct message reply = reply_of(2, FORWARD_DONE);
    u8 answer[4 + 5];
    store_u32(answer, 5);
    memcpy(answer + 4, "+OK\r\n", 5);
    struct block *block = block_create_copy(answer, sizeof(answer));
    reply.as.forward_reply.count = 1;
    reply.spans[reply.span_count++] = span_of(block, block->data, block->size);
    replied(reply);
    CK_TAPE("answer A1:+OK");
    ck_assert_uint_eq(server->sink_count, 1); /* it is flushed with this pile */
    replied(reply);                           /* nobody waits any more */
    CK_TAPE("");
    message_release(&reply);
    block_release(block);
    end_following();
}
END_TEST

/* It would refuse what is sent to it next, too. */
START_TEST(follow_take_forward_reply__a_leader_that_stepped_down_is_forgotten)
{
    begin_following(2);
    take('A', COMMAND_WRITE, 1, "w1");
    forward(T_MS);
    tape[0] = '\0';
    replied(reply_of(2, FORWARD_NOT_LEADER));
    ck_assert_uint_eq(server->raft.leader, SERVER_NONE);
    ck_assert_uint_eq(server->parked.count, 1);
    forward(T_MS);
    CK_TAPE("");
    end_following();
}
END_TEST

/* The stream was broken: it is to be sent again, to the same leader. */
START_TEST(follow_take_forward_reply__a_leader_that_goes_on_to_lead_is_not)
{
    begin_following(2);
    take('A', COMMAND_WRITE, 1, "w1");
    forward(T_MS);
    tape[0] = '\0';
    struct message reply = reply_of(2, FORWARD_NOT_LEADER);
    reply.as.forward_reply.leads = true;
    replied(reply);
    ck_assert_uint_eq(server->raft.leader, 2);
    forward(T_MS);
    CK_TAPE("send forward>2:w1");
    end_following();
}
END_TEST

START_TEST(follow_take_forward_reply__another_ones_refusal_says_nothing_of_the_leader)
{
    begin_following(2);
    take('A', COMMAND_WRITE, 1, "w1");
    forward(T_MS);
    server->raft.leader = 3; /* of a later term, as this server has learnt meanwhile */
    replied(reply_of(2, FORWARD_NOT_LEADER));
    ck_assert_uint_eq(server->raft.leader, 3);
    end_following();
}
END_TEST

START_TEST(follow_take_forward_reply__a_call_that_nobody_waits_for_changes_nothing)
{
    begin_following(2);
    take('A', COMMAND_WRITE, 1, "w1");
    forward(T_MS);
    struct message reply = reply_of(2, FORWARD_NOT_LEADER);
    reply.call--;
    replied(reply);
    ck_assert_uint_eq(server->raft.leader, 2);
    ck_assert_uint_eq(server->parked.count, 0);
    end_following();
}
END_TEST

/* ---- follow_forwarding_lost, follow_forward_unsent ---- */

START_TEST(follow_forwarding_lost__writes_have_an_unknown_outcome_and_reads_go_again)
{
    begin_following(2);
    take('A', COMMAND_WRITE, 1, "w1");
    take('B', COMMAND_READ, 1, "r1");
    forward(T_MS);
    take('A', COMMAND_WRITE, 2, "w2"); /* is in no message yet */
    tape[0] = '\0';
    follow_forwarding_lost(server, &forwarding);
    CK_TAPE("answer A1:-TIMEOUT outcome unknown: the command ma");
    forward(T_MS);
    CK_TAPE("send forward>2:w2, send forward>2:r1");
    end_following();
}
END_TEST

START_TEST(follow_forward_unsent__has_had_no_effect)
{
    begin_following(2);
    take('A', COMMAND_WRITE, 1, "w1");
    forward(T_MS);
    tape[0] = '\0';
    follow_forward_unsent(server, &forwarding, newest(MESSAGE_FORWARD)->call);
    CK_TAPE("");
    ck_assert_uint_eq(server->parked.count, 1);
    forward(T_MS);
    CK_TAPE("send forward>2:w1");
    end_following();
}
END_TEST

/* Thesis §3.10: the leader hands over to this server, and takes nothing any more. */
START_TEST(follow_forward__nothing_while_it_is_about_to_take_over)
{
    begin_following(2);
    take('A', COMMAND_WRITE, 1, "one");
    forward(T_MS);
    CK_TAPE("send forward>2:one");
    forwarding_close(&forwarding, &server->raft, T_MS);
    take('A', COMMAND_WRITE, 2, "two");
    forward(2 * T_MS);
    CK_TAPE("");
    ck_assert_uint_eq(server->parked.count, 1);
    replied(reply_of(2, FORWARD_NOT_LEADER));
    ck_assert(forwarding_settle(&forwarding, 0));
    ck_assert_uint_eq(server->parked.count, 2);
    ck_assert_uint_eq(server->parked.first->serial, 1);
    end_following();
}
END_TEST

UNIT_MAIN("follow", follow_forward__nothing_while_it_is_about_to_take_over,
          follow_take_entries__the_reply_waits_for_the_disk,
          follow_take_entries__more_than_the_disk_takes_is_refused,
          follow_take_entries__a_second_leader_breaks_the_protocol,
          follow_take_command__writes_and_reads_of_a_pile_go_to_the_leader,
          follow_take_command__who_asks_for_redirects_is_sent_to_the_leader,
          follow_take_command__what_asks_this_very_server_is_answered,
          follow_take_command__waits_for_a_leader_to_be_known,
          follow_forward__who_waited_goes_before_who_came_later,
          follow_forward__a_leader_lost_within_the_pile_gets_nothing,
          follow_forward__who_gets_no_answer_in_time_is_told_so,
          follow_take_forward_reply__the_answer_goes_to_its_client,
          follow_take_forward_reply__a_leader_that_stepped_down_is_forgotten,
          follow_take_forward_reply__a_leader_that_goes_on_to_lead_is_not,
          follow_take_forward_reply__another_ones_refusal_says_nothing_of_the_leader,
          follow_take_forward_reply__a_call_that_nobody_waits_for_changes_nothing,
          follow_forwarding_lost__writes_have_an_unknown_outcome_and_reads_go_again,
          follow_forward_unsent__has_had_no_effect)
