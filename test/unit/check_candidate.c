/* check_candidate.c - the candidate's loop: each arrow of the table in server/README.md that begins
 * at a candidate. What becomes of votes is check_election.c's and check_votes.c's. */
#include "server/per_state/per_state.h"
#include "test/unit/server_unit.h"

#define METADATA "write metadata, sync metadata, write metadata, sync metadata"
#define ASKS     "send pre-vote>2, send pre-vote>3"
#define CAMPAIGN METADATA ", send vote>2, send vote>3"
#define TIMEOUT  (15 * T_MS)

static const struct entry_id last = {1, 2}; /* of "1 1" */

static u64 first_call; /* of the request to server 2; the one to server 3 follows */

/* Each letter is read by itself. It would wait for an hour. */
static void begin_campaign(void)
{
    begin("1 1");
    server_enter(server, RAFT_CANDIDATE, "a test");
    atomic_store(&server->world.report->level, (int)REPORT_DEBUG);
    read_one_by_one();
    first_call = server->raft.next_call;
    said[0] = traced[0] = '\0';
}

static void ck_leaves(enum raft_state next, const char *why)
{
    ck_assert_int_eq(candidate_run(server), next);
    ck_assert_int_eq(server->state, next);
    CK_SAID(why);
}

static void ck_stays(void)
{
    tell(MAIL_STOP, SERVER_NONE);
    ck_assert_int_eq(candidate_run(server), RAFT_STOPPED);
    ck_assert_int_eq(server->state, RAFT_CANDIDATE);
    ck_assert_int_eq(server->failure.code, ERROR_NONE);
}

/* The answer of a server to its pre-vote (try 0) or its request for a vote (try 1). */
static void hand_vote(server_id from, u32 try, u64 term, bool granted)
{
    struct message vote = {.kind = try == 0 ? MESSAGE_PRE_VOTE_REPLY : MESSAGE_REQUEST_VOTE_REPLY,
                           .from = from,
                           .term = term,
                           .call = first_call + 2 * try + from - 2};
    vote.as.vote_reply.granted = granted;
    hand(vote);
}

/* ---- to leader ---- */

/* Its own vote is on disk before the others are asked for theirs. */
START_TEST(candidate_run__a_quorum_votes_for_it)
{
    begin_campaign();
    hand_vote(3, 0, 1, true);
    hand_vote(2, 1, 2, true);
    ck_leaves(RAFT_LEADER, "candidate -> leader: a quorum voted for it");
    CK_SAID("candidate -> candidate: a quorum would vote for it");
    CK_TAPE(ASKS ", " CAMPAIGN);
    ck_assert_uint_eq(server->raft.current_term, 2);
    ck_assert_uint_eq(server->raft.voted_for, 1);
    ck_assert_uint_eq(server->elections, 1);
    end();
}
END_TEST

START_TEST(candidate_run__leadership_that_was_handed_over_needs_no_pre_vote)
{
    begin_campaign();
    put_back_order();
    hand_vote(2, 0, 2, false); /* of an earlier pre-vote: it changes nothing */
    first_call -= 2;
    hand_vote(3, 1, 2, true);
    ck_leaves(RAFT_LEADER, "a quorum voted for it");
    CK_TAPE(CAMPAIGN);
    end();
}
END_TEST

/* One yes of two others is a quorum with its own; one no is none. */
START_TEST(candidate_run__a_refusal_is_not_the_end)
{
    begin_campaign();
    hand_vote(2, 0, 1, false);
    hand_vote(3, 0, 1, true);
    hand_vote(2, 1, 2, false);
    hand_vote(3, 1, 2, true);
    ck_leaves(RAFT_LEADER, "a quorum voted for it");
    end();
}
END_TEST

START_TEST(candidate_run__the_same_vote_twice_is_one)
{
    struct server_options options = founded_options(DESIGN_PER_STATE);
    begin_with(&options, "1 1");
    server_enter(server, RAFT_CANDIDATE, "a test");
    struct error error;
    for (server_id id = 4; id <= 5; id++)
        ck_assert_int_eq(
            configuration_add(&server->raft.configuration, id, "host:1", "host:2", &error),
            ERROR_NONE);
    read_one_by_one();
    first_call = server->raft.next_call;
    hand_vote(3, 0, 1, true);
    hand_vote(3, 0, 1, true);
    ck_stays();
    ck_assert_uint_eq(server->raft.current_term, 1);
    end();
}
END_TEST

/* ---- to follower ---- */

START_TEST(candidate_run__a_newer_term_begins)
{
    begin_campaign();
    hand(append_of(3, 4, last, "", 1));
    ck_leaves(RAFT_FOLLOWER, "candidate -> follower: a newer term has begun");
    ck_assert_uint_eq(server->raft.current_term, 4);
    ck_assert_uint_eq(server->raft.voted_for, SERVER_NONE);
    ck_assert_int_eq(left_on_pile(), MAIL_APPEND_ENTRIES);
    end();
}
END_TEST

START_TEST(candidate_run__another_ones_vote_request_of_a_newer_term)
{
    begin_campaign();
    hand(vote_of(3, 4, last));
    ck_leaves(RAFT_FOLLOWER, "a newer term has begun");
    ck_assert_int_eq(left_on_pile(), MAIL_REQUEST_VOTE); /* the follower answers it */
    end();
}
END_TEST

/* The follower takes it. */
START_TEST(candidate_run__there_is_a_leader)
{
    begin_campaign();
    put_back_order(); /* it is in term 2 */
    hand(append_of(3, 2, last, "", 1));
    ck_leaves(RAFT_FOLLOWER, "candidate -> follower: there is a leader");
    ck_assert_uint_eq(server->raft.voted_for, 1);
    ck_assert_int_eq(left_on_pile(), MAIL_APPEND_ENTRIES);
    end();
}
END_TEST

START_TEST(candidate_run__there_is_a_leader_that_sends_a_snapshot)
{
    begin_campaign();
    hand((struct message){.kind = MESSAGE_INSTALL_SNAPSHOT, .from = 3, .term = 1});
    ck_leaves(RAFT_FOLLOWER, "there is a leader");
    ck_assert_int_eq(left_on_pile(), MAIL_INSTALL_SNAPSHOT);
    end();
}
END_TEST

START_TEST(candidate_run__a_quorum_refuses)
{
    begin_campaign();
    hand_vote(2, 0, 1, false);
    hand_vote(3, 0, 1, false);
    ck_leaves(RAFT_FOLLOWER, "candidate -> follower: a quorum refused");
    CK_TAPE(ASKS);
    ck_assert_uint_eq(server->raft.current_term, 1);
    end();
}
END_TEST

START_TEST(candidate_run__the_others_do_not_recognise_it)
{
    begin_campaign();
    hand_unrecognised(1);
    tell(MAIL_CONNECTED, 2);
    ck_leaves(RAFT_FOLLOWER, "candidate -> follower: it may not vote");
    CK_TAPE(ASKS ", " METADATA);                 /* it must not forget that */
    ck_assert_int_eq(left_on_pile(), MAIL_STOP); /* it is dealt with, and no more was taken */
    ck_assert(!trust_may_vote(&server->raft));
    end();
}
END_TEST

/* ---- to candidate ---- */

START_TEST(candidate_run__time_is_up)
{
    begin_campaign();
    time_out_after(TIMEOUT);
    u64 begun_ns = clock_monotonic_ns();
    ck_leaves(RAFT_CANDIDATE, "candidate -> candidate: the election timed out");
    ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, TIMEOUT);
    end();
}
END_TEST

/* "Reset election timer": saving the vote may have taken as long. */
START_TEST(candidate_run__time_begins_when_the_requests_are_out)
{
    begin_campaign();
    time_out_after(TIMEOUT);
    put_back_order();
    disk_syncs_ns = TIMEOUT;
    u64 begun_ns = clock_monotonic_ns();
    ck_leaves(RAFT_CANDIDATE, "the election timed out");
    ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, 2 * TIMEOUT + TIMEOUT);
    CK_TAPE(CAMPAIGN);
    end();
}
END_TEST

/* And they go out at once, whether more mail comes or not. */
START_TEST(candidate_run__time_begins_anew_when_the_pre_vote_is_won)
{
    begin_campaign();
    time_out_after(TIMEOUT);
    disk_syncs_ns = TIMEOUT;
    u64 begun_ns = clock_monotonic_ns();
    hand_vote(2, 0, 1, true);
    ck_leaves(RAFT_CANDIDATE, "the election timed out");
    ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, 2 * TIMEOUT + TIMEOUT);
    CK_TAPE(ASKS ", " CAMPAIGN);
    end();
}
END_TEST

/* The disk is slow to take down whom it has met, and a vote has come meanwhile. */
START_TEST(candidate_run__time_is_not_up_before_all_mail_is_read)
{
    begin_campaign();
    time_out_after(TIMEOUT);
    disk_syncs_ns = TIMEOUT + 5 * T_MS;
    hand_vote(2, 0, 1, true);
    struct mail *mail = mail_create(MAIL_MET);
    mail->as.met = (struct met){3, {.directory_id = 33, .start_count = 1, .starts = {5}}};
    post(mail);
    hand_vote(2, 1, 2, true);
    ck_leaves(RAFT_LEADER, "a quorum voted for it");
    ck_assert_ptr_nonnull(strstr(tape, "sync peers"));
    end();
}
END_TEST

START_TEST(candidate_run__an_election_is_ordered)
{
    begin_campaign();
    tell(MAIL_CAMPAIGN, SERVER_NONE);
    ck_leaves(RAFT_CANDIDATE, "candidate -> candidate: an election was ordered");
    ck_assert_int_eq(left_on_pile(), MAIL_CAMPAIGN); /* the next candidacy reads it */
    end();
}
END_TEST

START_TEST(candidate_run__the_election_timer_is_fired)
{
    begin_campaign();
    tell(MAIL_ELECTION_TIMEOUT, SERVER_NONE);
    ck_leaves(RAFT_CANDIDATE, "the election timer was fired");
    ck_assert_int_eq(left_on_pile(), MAIL_STOP);
    end();
}
END_TEST

/* ---- to stopped ---- */

START_TEST(candidate_run__is_told_to_stop)
{
    begin_campaign();
    ck_stays();
    CK_TAPE(ASKS);
    end();
}
END_TEST

/* Nobody is asked for a vote in a term that the disk does not hold. */
START_TEST(candidate_run__stops_when_its_vote_cannot_be_saved)
{
    begin_campaign();
    disk_fails = "sync metadata";
    hand_vote(2, 0, 1, true);
    hand_vote(2, 1, 2, true);
    ck_assert_int_eq(candidate_run(server), RAFT_STOPPED);
    CK_TAPE(ASKS ", write metadata, sync metadata");
    ck_assert_int_eq(server->failure.code, ERROR_IO);
    end();
}
END_TEST

/* ---- meanwhile ---- */

/* Others ask, too: a pre-vote costs nothing, and its own vote of this term is given away. */
START_TEST(candidate_run__answers_the_others)
{
    begin_campaign();
    put_back_order(); /* it is in term 2 */
    hand(vote_of(3, 2, last));
    struct message pre_vote = vote_of(2, 3, last);
    pre_vote.kind = MESSAGE_PRE_VOTE;
    hand(pre_vote);
    hand(append_of(2, 1, last, "", 1)); /* stale */
    hand((struct message){.kind = MESSAGE_FORWARD, .from = 3, .term = 2});
    tell(MAIL_CONNECTED, 9);
    ck_stays();
    CK_TAPE(CAMPAIGN ", send vote-reply>3, send pre-vote-reply>2, send append-reply>2, "
                     "send forward-reply>3");
    ck_assert(!newest(MESSAGE_REQUEST_VOTE_REPLY)->as.vote_reply.granted);
    ck_assert(newest(MESSAGE_PRE_VOTE_REPLY)->as.vote_reply.granted);
    ck_assert_int_eq(newest(MESSAGE_APPEND_ENTRIES_REPLY)->as.append_reply.result,
                     APPEND_REFUSED_TERM);
    end();
}
END_TEST

START_TEST(candidate_run__whose_connection_is_new_is_asked_again)
{
    begin_campaign();
    tell(MAIL_CONNECTED, 3);
    tell(MAIL_CONNECTED, 9);
    ck_stays();
    CK_TAPE(ASKS ", send pre-vote>3");
    end();
}
END_TEST

START_TEST(candidate_run__who_waits_for_a_leader_is_told_in_time)
{
    begin_campaign();
    time_out_after(2 * TIMEOUT);
    server->options.leader_wait_ns = T_MS;
    ask(command_of('A', COMMAND_WRITE, 1, "w"));
    ck_leaves(RAFT_CANDIDATE, "the election timed out");
    ck_assert_ptr_nonnull(strstr(tape, "answer A1:-CLUSTERDOWN no leader is known"));
    end();
}
END_TEST

UNIT_MAIN("candidate", candidate_run__a_quorum_votes_for_it,
          candidate_run__leadership_that_was_handed_over_needs_no_pre_vote,
          candidate_run__a_refusal_is_not_the_end, candidate_run__the_same_vote_twice_is_one,
          candidate_run__a_newer_term_begins,
          candidate_run__another_ones_vote_request_of_a_newer_term,
          candidate_run__there_is_a_leader, candidate_run__there_is_a_leader_that_sends_a_snapshot,
          candidate_run__a_quorum_refuses, candidate_run__the_others_do_not_recognise_it,
          candidate_run__time_is_up, candidate_run__time_begins_when_the_requests_are_out,
          candidate_run__time_begins_anew_when_the_pre_vote_is_won,
          candidate_run__time_is_not_up_before_all_mail_is_read,
          candidate_run__an_election_is_ordered, candidate_run__the_election_timer_is_fired,
          candidate_run__is_told_to_stop, candidate_run__stops_when_its_vote_cannot_be_saved,
          candidate_run__answers_the_others, candidate_run__whose_connection_is_new_is_asked_again,
          candidate_run__who_waits_for_a_leader_is_told_in_time)
