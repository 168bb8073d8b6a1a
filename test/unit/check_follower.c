/* check_follower.c - the follower's loop: each arrow of the table in server/README.md that begins
 * at a follower. What else the loops do with their mail, in each design, is check_one_server.c's.
 */
#include "server/per_state/per_state.h"
#include "test/unit/server_unit.h"

#define METADATA "write metadata, sync metadata, write metadata, sync metadata"
#define TIMEOUT  (15 * T_MS)

static const struct entry_id last = {1, 2}; /* of "1 1" */

/* It would wait for an hour. */
static void begin_following(void)
{
    begin("1 1");
    atomic_store(&server->world.report->level, (int)REPORT_DEBUG);
}

static void ck_leaves(enum raft_state next, const char *why)
{
    ck_assert_int_eq(follower_run(server), next);
    ck_assert_int_eq(server->state, next);
    CK_SAID(why);
    ck_assert(server->outbox.unsent_forward == NULL);
}

/* Only the order to stop ends it. */
static void ck_stays(void)
{
    tell(MAIL_STOP, SERVER_NONE);
    ck_assert_int_eq(follower_run(server), RAFT_STOPPED);
    ck_assert_int_eq(server->state, RAFT_FOLLOWER);
    ck_assert_int_eq(server->failure.code, ERROR_NONE);
}

/* ---- to candidate: time is up ---- */

START_TEST(follower_run__a_candidate_when_no_leader_was_heard)
{
    begin_following();
    time_out_after(TIMEOUT);
    u64 begun_ns = clock_monotonic_ns();
    ck_leaves(RAFT_CANDIDATE, "follower -> candidate: no leader was heard");
    ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, TIMEOUT);
    CK_TAPE(""); /* term and vote are those of before */
    end();
}
END_TEST

/* The disk is slow, and the leader's message lies behind what it is slow with. */
START_TEST(follower_run__no_candidate_before_all_mail_is_read)
{
    begin_following();
    time_out_after(TIMEOUT);
    read_one_by_one();
    disk_syncs_ns = TIMEOUT; /* of two syncs: longer than the timeout */
    hand(vote_of(2, 1, last));
    hand(append_of(2, 1, last, "", 1));
    ck_stays();
    CK_TAPE(METADATA ", send vote-reply>2, send append-reply>2");
    end();
}
END_TEST

/* [Followers 2, §5.2] The second message comes to it late: from then on it waits anew. */
static void ck_waits_anew(struct message second)
{
    begin_following();
    time_out_after(TIMEOUT);
    read_one_by_one();
    disk_syncs_ns = TIMEOUT + 5 * T_MS;
    server->raft.voted_for = 2; /* the vote was saved, and its answer lost */
    u64 begun_ns = clock_monotonic_ns();
    hand(append_of(2, 1, last, "1", 1));
    hand(second);
    ck_leaves(RAFT_CANDIDATE, "no leader was heard");
    ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, disk_syncs_ns + TIMEOUT);
    end();
}

START_TEST(follower_run__waits_anew_when_the_leader_is_heard)
{
    ck_waits_anew(append_of(2, 1, (struct entry_id){1, 3}, "", 1));
}
END_TEST

START_TEST(follower_run__waits_anew_when_its_vote_is_given)
{
    ck_waits_anew(vote_of(2, 1, (struct entry_id){1, 3}));
}
END_TEST

START_TEST(follower_run__does_not_wait_for_a_leader_whose_connection_has_ended)
{
    begin_following();
    server->raft.heartbeat_ns = 5 * T_MS;
    hand(append_of(2, 1, last, "", 1));
    tell(MAIL_DISCONNECTED, 2);
    u64 begun_ns = clock_monotonic_ns();
    ck_leaves(RAFT_CANDIDATE, "the leader's connection ended");
    ck_assert_uint_lt(clock_monotonic_ns() - begun_ns, 20 * NS_PER_S); /* and not an hour */
    end();
}
END_TEST

START_TEST(follower_run__another_ones_connection_is_of_no_concern)
{
    begin_following();
    hand(append_of(2, 1, last, "", 1));
    tell(MAIL_DISCONNECTED, 3);
    ck_stays();
    ck_assert_uint_eq(server->raft.leader_gone_ns, 0);
    end();
}
END_TEST

static enum error_code set(void *context, const char *key, const char *value,
                           struct server_options *options, struct error *error)
{
    (void)context, (void)key, (void)value, (void)error;
    options->election_timeout_ns_min = TIMEOUT;
    options->election_timeout_ns_max = TIMEOUT + 1;
    return ERROR_NONE;
}

START_TEST(follower_run__a_shorter_timeout_counts_at_once)
{
    static const char body[] = "election-timeout\00015ms";
    begin_following();
    server->world.set = set;
    struct block *block = block_create_copy(body, sizeof(body));
    ask(command_create(COMMAND_SETTING, span_of(block, block->data, sizeof(body)),
                       &clients[0].sink));
    block_release(block);
    ck_leaves(RAFT_CANDIDATE, "no leader was heard");
    CK_TAPE("answer A0:+OK, flush A");
    end();
}
END_TEST

static void *stop_later(void *unused)
{
    struct timespec rest = {.tv_nsec = 10 * T_MS};
    (void)nanosleep(&rest, NULL);
    tell(MAIL_STOP, SERVER_NONE);
    return unused;
}

/* Time is up again and again, until it is told to stop. */
static void ck_lets_time_pass(void)
{
    pthread_t thread;
    time_out_after(T_MS);
    ck_assert_int_eq(pthread_create(&thread, NULL, stop_later, NULL), 0);
    ck_assert_int_eq(follower_run(server), RAFT_STOPPED);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* Its log once reached as far as entry 9. */
START_TEST(follower_run__not_who_may_not_campaign)
{
    begin_following();
    server->raft.acked_through = (struct entry_id){1, 9};
    tell(MAIL_ELECTION_TIMEOUT, SERVER_NONE);
    tell(MAIL_CAMPAIGN, SERVER_NONE);
    hand((struct message){.kind = MESSAGE_TIMEOUT_NOW, .from = 2, .term = 1});
    ck_lets_time_pass();
    end();
}
END_TEST

START_TEST(follower_run__not_while_a_test_holds_the_timers)
{
    begin_following();
    server->timers_held = true;
    ck_lets_time_pass();
    end();
}
END_TEST

/* ---- to candidate: it is told to ---- */

START_TEST(follower_run__leadership_is_handed_over)
{
    begin_following();
    hand(append_of(2, 1, last, "", 1));
    hand((struct message){.kind = MESSAGE_TIMEOUT_NOW, .from = 3, .term = 1}); /* not the leader */
    tell(MAIL_CONNECTED, 3);
    hand((struct message){.kind = MESSAGE_TIMEOUT_NOW, .from = 2, .term = 1});
    ck_leaves(RAFT_CANDIDATE, "follower -> candidate: leadership was handed over");
    ck_assert_int_eq(left_on_pile(), MAIL_TIMEOUT_NOW); /* the candidate reads it */
    end();
}
END_TEST

START_TEST(follower_run__only_the_leader_hands_over)
{
    begin_following();
    hand(append_of(2, 1, last, "", 1));
    hand((struct message){.kind = MESSAGE_TIMEOUT_NOW, .from = 3, .term = 1});
    ck_stays();
    end();
}
END_TEST

START_TEST(follower_run__an_election_is_ordered)
{
    begin_following();
    tell(MAIL_CAMPAIGN, SERVER_NONE);
    tell(MAIL_CONNECTED, 2);
    ck_leaves(RAFT_CANDIDATE, "follower -> candidate: an election was ordered");
    ck_assert_int_eq(left_on_pile(), MAIL_CAMPAIGN); /* the candidate reads it */
    ck_assert_int_eq(server->pile.first->next->kind, MAIL_CONNECTED);
    end();
}
END_TEST

START_TEST(follower_run__the_election_timer_is_fired)
{
    begin_following();
    tell(MAIL_ELECTION_TIMEOUT, SERVER_NONE);
    ck_leaves(RAFT_CANDIDATE, "the election timer was fired");
    ck_assert_int_eq(left_on_pile(), MAIL_STOP);
    end();
}
END_TEST

/* ---- to follower ---- */

/* What was forwarded belongs to the old term. The message is read in the next one. */
START_TEST(follower_run__a_newer_term_begins)
{
    begin_following();
    read_one_by_one();
    hand(append_of(2, 1, last, "", 1));
    ask(command_of('A', COMMAND_WRITE, 1, "w"));
    hand(append_of(3, 2, last, "2", 1));
    ck_leaves(RAFT_FOLLOWER, "follower -> follower: a newer term has begun");
    CK_TAPE("send append-reply>2, send forward>2:w, "
            "answer A1:-TIMEOUT outcome unknown: the command ma");
    ck_assert_uint_eq(server->raft.current_term, 2);
    ck_assert_int_eq(left_on_pile(), MAIL_APPEND_ENTRIES);
    tell(MAIL_CONNECTED, 2);
    ck_stays();
    CK_TAPE("flush A, " METADATA ", write log, sync log, send append-reply>3");
    ck_assert_uint_eq(server->raft.leader, 3);
    end();
}
END_TEST

/* Thesis §4.2.3: who hears a leader does not listen to candidates. */
START_TEST(follower_run__no_newer_term_of_a_candidate_while_a_leader_is_heard)
{
    begin_following();
    read_one_by_one();
    hand(append_of(2, 1, last, "", 1));
    hand(vote_of(3, 9, last));
    tell(MAIL_CONNECTED, 3);
    ck_stays();
    ck_assert_uint_eq(server->raft.current_term, 1);
    CK_TAPE("send append-reply>2, send vote-reply>3");
    ck_assert(!newest(MESSAGE_REQUEST_VOTE_REPLY)->as.vote_reply.granted);
    end();
}
END_TEST

START_TEST(follower_run__a_stale_request_is_refused)
{
    begin("1 2");
    read_one_by_one();
    hand(append_of(3, 1, (struct entry_id){1, 1}, "", 1));
    tell(MAIL_CONNECTED, 3);
    ck_stays();
    CK_TAPE("send append-reply>3");
    const struct message *reply = newest(MESSAGE_APPEND_ENTRIES_REPLY);
    ck_assert_int_eq(reply->as.append_reply.result, APPEND_REFUSED_TERM);
    ck_assert_uint_eq(reply->term, 2);
    ck_assert_uint_eq(server->raft.leader, SERVER_NONE);
    end();
}
END_TEST

/* ---- to stopped ---- */

START_TEST(follower_run__is_told_to_stop)
{
    begin_following();
    ck_stays();
    end();
}
END_TEST

START_TEST(follower_run__stops_when_the_disk_fails)
{
    begin_following();
    disk_fails = "sync log";
    hand(append_of(2, 1, last, "1", 1));
    ck_assert_int_eq(follower_run(server), RAFT_STOPPED);
    CK_TAPE("write log, sync log");
    ck_assert_int_eq(server->failure.code, ERROR_IO);
    end();
}
END_TEST

START_TEST(follower_run__stops_when_two_lead_in_one_term)
{
    begin_following();
    read_one_by_one();
    hand(append_of(2, 1, last, "", 1));
    hand(append_of(3, 1, last, "", 1));
    ck_assert_int_eq(follower_run(server), RAFT_STOPPED);
    CK_TAPE("send append-reply>2");
    ck_assert_int_eq(server->failure.code, ERROR_MISMATCH);
    CK_SAID("stopping: server 3: ");
    end();
}
END_TEST

/* ---- those who wait ---- */

START_TEST(follower_run__who_waits_for_a_leader_is_told_in_time)
{
    begin_following();
    time_out_after(2 * TIMEOUT);
    server->options.leader_wait_ns = T_MS;
    ask(command_of('A', COMMAND_WRITE, 1, "w"));
    ck_leaves(RAFT_CANDIDATE, "no leader was heard");
    CK_TAPE("answer A1:-CLUSTERDOWN no leader is known, flush A");
    end();
}
END_TEST

/* Its time is over, and the mail that the loop before has left tells of a leader. */
START_TEST(follower_run__who_waits_is_not_told_before_the_mail_is_read)
{
    begin_following();
    server->options.leader_wait_ns = 1;
    struct command *command = command_of('A', COMMAND_WRITE, 1, "w");
    command_list_put(&server->parked, command);
    struct mail *mail = mail_create(MAIL_APPEND_ENTRIES);
    mail->as.message = append_of(2, 1, last, "", 1);
    mail_pile_put(&server->pile, mail);
    time_out_after(TIMEOUT);
    ck_leaves(RAFT_CANDIDATE, "no leader was heard");
    CK_TAPE("send append-reply>2, send forward>2:w, "
            "answer A1:-TIMEOUT outcome unknown: the command ma");
    end();
}
END_TEST

UNIT_MAIN("follower", follower_run__a_candidate_when_no_leader_was_heard,
          follower_run__no_candidate_before_all_mail_is_read,
          follower_run__waits_anew_when_the_leader_is_heard,
          follower_run__waits_anew_when_its_vote_is_given,
          follower_run__does_not_wait_for_a_leader_whose_connection_has_ended,
          follower_run__another_ones_connection_is_of_no_concern,
          follower_run__a_shorter_timeout_counts_at_once, follower_run__not_who_may_not_campaign,
          follower_run__not_while_a_test_holds_the_timers, follower_run__leadership_is_handed_over,
          follower_run__only_the_leader_hands_over, follower_run__an_election_is_ordered,
          follower_run__the_election_timer_is_fired, follower_run__a_newer_term_begins,
          follower_run__no_newer_term_of_a_candidate_while_a_leader_is_heard,
          follower_run__a_stale_request_is_refused, follower_run__is_told_to_stop,
          follower_run__stops_when_the_disk_fails, follower_run__stops_when_two_lead_in_one_term,
          follower_run__who_waits_for_a_leader_is_told_in_time,
          follower_run__who_waits_is_not_told_before_the_mail_is_read)
