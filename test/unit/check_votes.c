/* check_votes.c - votes on their way to the outbox, and what is said of them. Who gets one is
 * check_election.c's. */
#include "server/replica/votes.h"

#include "test/unit/server_unit.h"

static struct election election;

/* What is staged leaves now, and that says to whom. */
static void send_all(void)
{
    outbox_send_all(&server->outbox, &transport);
}

static void say_debug(void)
{
    atomic_store(&server->world.report->level, (int)REPORT_DEBUG);
}

static struct message answer_of(server_id from, enum message_kind kind, u64 call, bool granted)
{
    struct message reply = {
        .kind = kind, .from = from, .to = 1, .term = server->raft.current_term, .call = call};
    reply.as.vote_reply.granted = granted;
    return reply;
}

/* ---- votes_tell, votes_tell_timeout ---- */

START_TEST(votes_tell__only_those_who_follow_it_are_told)
{
    begin("1");
    votes_tell_timeout(server, T_MS, 3 * T_MS);
    ck_assert_str_eq(said, "");
    say_debug();
    votes_tell_timeout(server, T_MS, 3 * T_MS);
    CK_SAID("the election timeout drawn is 2.0 ms");
    end();
}
END_TEST

/* ---- votes_count ---- */

START_TEST(votes_count__counts_and_says_so_once)
{
    begin("1 1");
    votes_begin_election(server, &election, false);
    send_all();
    u64 call = newest(MESSAGE_REQUEST_VOTE)->call;
    say_debug();
    struct message yes = answer_of(3, MESSAGE_REQUEST_VOTE_REPLY, call, true);
    ck_assert(!election_is_won(&server->raft));
    votes_count(server, &election, &yes);
    ck_assert(election_is_won(&server->raft));
    CK_SAID("vote of server 3 in term 2: yes; this server has 2 of 3");
    said[0] = '\0';
    votes_count(server, &election, &yes);
    ck_assert_str_eq(said, "");
    end();
}
END_TEST

START_TEST(votes_count__a_refusal_is_said_and_one_of_an_earlier_try_is_not)
{
    begin("1 1");
    votes_begin_campaign(server, &election, false, T_MS);
    send_all();
    u64 old = newest(MESSAGE_PRE_VOTE)->call;
    votes_begin_campaign(server, &election, false, 2 * T_MS);
    send_all();
    u64 call = newest(MESSAGE_PRE_VOTE)->call;
    say_debug();
    struct message no = answer_of(3, MESSAGE_PRE_VOTE_REPLY, old, false);
    votes_count(server, &election, &no);
    ck_assert_str_eq(said, "");
    no.call = call;
    votes_count(server, &election, &no);
    CK_SAID("pre-vote of server 3 in term 2: no; this server has 1 of 3");
    end();
}
END_TEST

/* ---- votes_answer ---- */

START_TEST(votes_answer__a_vote_is_staged_and_waits_for_the_disk)
{
    begin("1 1");
    say_debug();
    struct message request = vote_of(2, 1, (struct entry_id){1, 2});
    ck_assert(votes_answer(server, &request, false));
    CK_SAID("vote for server 2 in term 1: yes, its log is up to date");
    outbox_send_early(&server->outbox, &transport);
    CK_TAPE(""); /* it is none of the early ones */
    ck_assert(server->raft.metadata_unsaved);
    send_all();
    CK_TAPE("send vote-reply>2");
    ck_assert(newest(MESSAGE_REQUEST_VOTE_REPLY)->as.vote_reply.granted);
    end();
}
END_TEST

START_TEST(votes_answer__a_refusal_is_answered_and_gives_nothing_away)
{
    begin("1 1");
    say_debug();
    struct message request = vote_of(2, 1, (struct entry_id){1, 1}); /* lacks entry 2 */
    ck_assert(!votes_answer(server, &request, false));
    CK_SAID("vote for server 2 in term 1: no, its log is behind");
    send_all();
    CK_TAPE("send vote-reply>2");
    ck_assert(!newest(MESSAGE_REQUEST_VOTE_REPLY)->as.vote_reply.granted);
    ck_assert(!server->raft.metadata_unsaved);
    end();
}
END_TEST

/* So the candidate's timer is not waited for, either. */
START_TEST(votes_answer__a_pre_vote_gives_none_away)
{
    begin("1 1");
    struct message request = vote_of(2, 2, (struct entry_id){1, 2});
    request.kind = MESSAGE_PRE_VOTE;
    ck_assert(!votes_answer(server, &request, false));
    send_all();
    CK_TAPE("send pre-vote-reply>2");
    ck_assert(newest(MESSAGE_PRE_VOTE_REPLY)->as.vote_reply.granted);
    ck_assert_uint_eq(server->raft.voted_for, SERVER_NONE);
    ck_assert(!votes_answer(server, &request, true)); /* who hears a leader wants no other */
    send_all();
    ck_assert(!newest(MESSAGE_PRE_VOTE_REPLY)->as.vote_reply.granted);
    end();
}
END_TEST

/* ---- votes_begin_campaign ---- */

START_TEST(votes_begin_campaign__asks_whether_it_would_win)
{
    begin("1 1");
    server->raft.leader = 3;
    server->raft.leader_heard_ns = 5;
    votes_begin_campaign(server, &election, false, T_MS);
    ck_assert(election.pre_vote);
    ck_assert_uint_eq(server->raft.leader, SERVER_NONE);
    ck_assert_uint_eq(server->raft.leader_heard_ns, 0);
    ck_assert_uint_eq(server->raft.current_term, 1);
    ck_assert(!server->raft.metadata_unsaved);
    ck_assert_uint_eq(server->elections, 0); /* nothing has begun yet */
    send_all();
    CK_TAPE("send pre-vote>2, send pre-vote>3");
    ck_assert_uint_eq(newest(MESSAGE_PRE_VOTE)->term, 2);
    end();
}
END_TEST

/* Thesis §3.10: no pre-vote, and whoever hears the old leader listens nevertheless. Once. */
START_TEST(votes_begin_campaign__leadership_that_was_handed_over_is_sought_at_once)
{
    begin("1 1");
    votes_begin_campaign(server, &election, true, T_MS);
    ck_assert_uint_eq(server->raft.current_term, 2);
    ck_assert_uint_eq(server->elections, 1);
    send_all();
    CK_TAPE("send vote>2, send vote>3");
    ck_assert(newest(MESSAGE_REQUEST_VOTE)->as.vote_request.transfer);
    votes_begin_campaign(server, &election, false, T_MS);
    send_all();
    CK_TAPE("send pre-vote>2, send pre-vote>3");
    end();
}
END_TEST

/* ---- votes_begin_election ---- */

START_TEST(votes_begin_election__votes_for_itself_and_asks_the_others)
{
    begin("1 1");
    votes_begin_election(server, &election, false);
    ck_assert_uint_eq(server->raft.current_term, 2);
    ck_assert_uint_eq(server->raft.voted_for, 1);
    ck_assert(server->raft.metadata_unsaved);
    ck_assert_uint_eq(server->elections, 1);
    outbox_send_early(&server->outbox, &transport);
    CK_TAPE(""); /* its own vote must be on disk before */
    send_all();
    CK_TAPE("send vote>2, send vote>3");
    const struct message *request = newest(MESSAGE_REQUEST_VOTE);
    ck_assert_uint_eq(request->term, 2);
    ck_assert_uint_eq(request->as.vote_request.last.index, 2);
    ck_assert(!request->as.vote_request.transfer);
    end();
}
END_TEST

/* ---- votes_request_again ---- */

START_TEST(votes_request_again__whoever_has_not_answered_is_asked_over_the_new_connection)
{
    begin("1 1");
    votes_begin_election(server, &election, false);
    send_all();
    tape[0] = '\0';
    votes_request_again(server, &election, 2);
    send_all();
    CK_TAPE("send vote>2");
    struct message no =
        answer_of(2, MESSAGE_REQUEST_VOTE_REPLY, newest(MESSAGE_REQUEST_VOTE)->call, false);
    votes_count(server, &election, &no);
    votes_request_again(server, &election, 2); /* it has answered */
    votes_request_again(server, &election, 1); /* itself */
    votes_request_again(server, &election, 9); /* no member */
    send_all();
    CK_TAPE("");
    end();
}
END_TEST

UNIT_MAIN("votes", votes_tell__only_those_who_follow_it_are_told,
          votes_count__counts_and_says_so_once,
          votes_count__a_refusal_is_said_and_one_of_an_earlier_try_is_not,
          votes_answer__a_vote_is_staged_and_waits_for_the_disk,
          votes_answer__a_refusal_is_answered_and_gives_nothing_away,
          votes_answer__a_pre_vote_gives_none_away, votes_begin_campaign__asks_whether_it_would_win,
          votes_begin_campaign__leadership_that_was_handed_over_is_sought_at_once,
          votes_begin_election__votes_for_itself_and_asks_the_others,
          votes_request_again__whoever_has_not_answered_is_asked_over_the_new_connection)
