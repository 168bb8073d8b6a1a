/* check_election.c - votes: who gets one, and who has enough. */
#include "test/unit/rules_unit.h"

#define NOW (1000 * T_MS)

static struct raft raft;

static void release(void)
{
    raft_deinit(&raft);
}

/* A REQUEST_VOTE at this server, the term adopted before if it is newer. */
static bool votes_for(server_id from, u64 term, u64 last_term, u64 last_index)
{
    struct message request = vote_of(from, term, (struct entry_id){last_term, last_index});
    if (term > raft.current_term)
        adopt_term(&raft, term);
    raft.metadata_unsaved = false;
    server_id vote_before = raft.voted_for;
    struct message reply;
    const char *why = NULL;
    election_answer_vote(&raft, &request, &reply, &why);
    /* A promise that the disk must hold first; a repeated one it holds already. */
    ck_assert_int_eq(raft.metadata_unsaved, raft.voted_for != vote_before);
    ck_assert_ptr_nonnull(why);
    ck_assert_int_eq(reply.kind, MESSAGE_REQUEST_VOTE_REPLY);
    ck_assert_uint_eq(reply.to, from);
    ck_assert_uint_eq(reply.call, request.call);
    ck_assert_uint_eq(reply.term, raft.current_term);
    return reply.as.vote_reply.granted;
}

static bool would_vote_for(server_id from, u64 term, u64 last_term, u64 last_index,
                           bool hears_leader)
{
    struct message request = vote_of(from, term, (struct entry_id){last_term, last_index});
    request.kind = MESSAGE_PRE_VOTE;
    struct message reply;
    const char *why = NULL;
    u64 term_before = raft.current_term;
    server_id vote_before = raft.voted_for;
    raft.metadata_unsaved = false;
    election_answer_pre_vote(&raft, &request, hears_leader, &reply, &why);
    ck_assert_ptr_nonnull(why);
    ck_assert_int_eq(reply.kind, MESSAGE_PRE_VOTE_REPLY);
    ck_assert_uint_eq(reply.call, request.call);
    ck_assert_uint_eq(reply.term, term_before);
    /* Asking changes nothing. */
    ck_assert_uint_eq(raft.current_term, term_before);
    ck_assert_uint_eq(raft.voted_for, vote_before);
    ck_assert(!raft.metadata_unsaved);
    return reply.as.vote_reply.granted;
}

/* ---- the voter: pre-votes (thesis §9.6) ---- */

START_TEST(election_answer_pre_vote__yes_when_it_would_get_the_vote)
{
    raft_of(&raft, 3, 1, "1 2 2");
    ck_assert(would_vote_for(2, 3, 2, 3, false));
    /* A vote given in this term says nothing about the next. */
    raft.voted_for = 3;
    ck_assert(would_vote_for(2, 3, 2, 3, false));
    /* Two may hear yes: it is no vote. */
    ck_assert(would_vote_for(3, 3, 2, 3, false));
    release();
}
END_TEST

START_TEST(election_answer_pre_vote__no_when_the_term_is_not_new)
{
    raft_of(&raft, 3, 1, "1 2 2");
    ck_assert(!would_vote_for(2, 2, 2, 3, false));
    ck_assert(!would_vote_for(2, 1, 2, 3, false));
    release();
}
END_TEST

START_TEST(election_answer_pre_vote__no_when_a_leader_is_heard)
{
    raft_of(&raft, 3, 1, "1 2 2");
    ck_assert(!would_vote_for(2, 3, 2, 3, true));
    release();
}
END_TEST

START_TEST(election_answer_pre_vote__no_when_its_log_is_behind)
{
    raft_of(&raft, 3, 1, "1 2 2");
    ck_assert(!would_vote_for(2, 3, 2, 2, false));
    ck_assert(!would_vote_for(2, 3, 1, 9, false));
    release();
}
END_TEST

/* ---- the voter: [RequestVote 2, §5.2] ---- */

START_TEST(election_answer_vote__first_come_first_served)
{
    raft_of(&raft, 3, 1, "1");
    ck_assert(votes_for(2, 2, 1, 1));
    ck_assert_uint_eq(raft.voted_for, 2);
    ck_assert(!votes_for(3, 2, 1, 1));
    /* Not for a better log either. */
    ck_assert(!votes_for(3, 2, 1, 9));
    ck_assert_uint_eq(raft.voted_for, 2);
    release();
}
END_TEST

START_TEST(election_answer_vote__repeated_request_gets_the_same_answer)
{
    raft_of(&raft, 3, 1, "1");
    ck_assert(votes_for(2, 2, 1, 1));
    ck_assert(votes_for(2, 2, 1, 1));
    ck_assert(!votes_for(3, 2, 1, 1));
    ck_assert(!votes_for(3, 2, 1, 1));
    release();
}
END_TEST

START_TEST(election_answer_vote__a_new_term_a_new_vote)
{
    raft_of(&raft, 3, 1, "1");
    ck_assert(votes_for(2, 2, 1, 1));
    ck_assert(votes_for(3, 3, 1, 1));
    ck_assert_uint_eq(raft.voted_for, 3);
    ck_assert_uint_eq(raft.current_term, 3);
    release();
}
END_TEST

START_TEST(election_answer_vote__a_candidate_has_voted_for_itself)
{
    raft_of(&raft, 3, 1, "1");
    struct election election;
    election_begin(&raft, &election, false);
    ck_assert(!votes_for(2, raft.current_term, 1, 9));
    ck_assert_uint_eq(raft.voted_for, 1);
    release();
}
END_TEST

/* ---- the voter: [RequestVote 2, §5.4.1] ---- */

START_TEST(election_answer_vote__only_for_a_log_that_is_up_to_date)
{
    /* Own last entry: term 2, index 4. Each case is asked in a fresh term. */
    static const struct {
        u64 last_term;
        u64 last_index;
        bool granted;
    } cases[] = {
        {2, 4, true},                   /* the same */
        {2, 5, true},                   /* longer */
        {2, 3, false},                  /* shorter by one */
        {3, 1, true},                   /* a later term counts more than length */
        {3, 9, true},    {1, 4, false}, /* an earlier term is behind, however long */
        {1, 900, false}, {0, 0, false}, /* an empty log */
    };
    raft_of(&raft, 3, 1, "1 1 2 2");
    for (u32 i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        u64 term = raft.current_term + 1;
        ck_assert_msg(votes_for(2, term, cases[i].last_term, cases[i].last_index) ==
                          cases[i].granted,
                      "case %u", i);
        /* A refusal keeps the vote free for somebody better. */
        ck_assert_uint_eq(raft.voted_for, cases[i].granted ? 2 : SERVER_NONE);
        if (!cases[i].granted)
            ck_assert(votes_for(3, term, 2, 4));
    }
    release();
}
END_TEST

START_TEST(election_answer_vote__empty_logs_are_equal)
{
    raft_of(&raft, 3, 1, "");
    ck_assert(votes_for(2, 1, 0, 0));
    release();
}
END_TEST

/* ---- the candidate: [Candidates 1, §5.2] ---- */

static struct message answer_of(const struct message *request, server_id from, bool granted)
{
    enum message_kind kind =
        request->kind == MESSAGE_PRE_VOTE ? MESSAGE_PRE_VOTE_REPLY : MESSAGE_REQUEST_VOTE_REPLY;
    struct message reply = {.kind = kind, .from = from, .term = request->term};
    reply.call = request->call;
    reply.as.vote_reply.granted = granted;
    return reply;
}

static void count_answer(struct election *election, server_id from, bool granted)
{
    struct message request;
    election_request(&raft, election, from, &request);
    struct message reply = answer_of(&request, from, granted);
    election_count(&raft, election, &reply);
}

START_TEST(election_begin__next_term_and_own_vote_both_unsaved)
{
    raft_of(&raft, 3, 2, "1 4");
    raft.metadata_unsaved = false;
    raft.leader = 3;
    struct election election;
    election_begin(&raft, &election, false);
    ck_assert_uint_eq(raft.current_term, 5);
    ck_assert_uint_eq(raft.voted_for, 2);
    ck_assert(raft.metadata_unsaved);
    ck_assert_uint_eq(raft.leader, SERVER_NONE);
    ck_assert_uint_eq(raft.ballot.votes, 2);
    ck_assert_uint_eq(election.refused, 0);
    release();
}
END_TEST

START_TEST(election_begin_pre_vote__changes_nothing)
{
    raft_of(&raft, 3, 2, "1 4");
    raft.metadata_unsaved = false;
    raft.voted_for = 3;
    struct election election;
    election_begin_pre_vote(&raft, &election, NOW);
    ck_assert_uint_eq(raft.current_term, 4);
    ck_assert_uint_eq(raft.voted_for, 3);
    ck_assert(!raft.metadata_unsaved);
    ck_assert(election.pre_vote);
    ck_assert_uint_eq(raft.ballot.pre_votes, 2);
    release();
}
END_TEST

START_TEST(election_request__carries_the_last_entry_and_the_right_term)
{
    raft_of(&raft, 3, 2, "1 4 4");
    struct election election;
    struct message request;
    election_begin_pre_vote(&raft, &election, NOW);
    election_request(&raft, &election, 3, &request);
    ck_assert_int_eq(request.kind, MESSAGE_PRE_VOTE);
    ck_assert_uint_eq(request.term, 5);
    ck_assert_uint_eq(request.as.vote_request.last.term, 4);
    ck_assert_uint_eq(request.as.vote_request.last.index, 3);
    ck_assert(!request.as.vote_request.transfer);

    election_begin(&raft, &election, true);
    election_request(&raft, &election, 3, &request);
    ck_assert_int_eq(request.kind, MESSAGE_REQUEST_VOTE);
    ck_assert_uint_eq(request.term, 5);
    ck_assert_uint_eq(request.to, 3);
    ck_assert(request.as.vote_request.transfer);
    release();
}
END_TEST

/* ---- the candidate: [Candidates 2, §5.2] ---- */

START_TEST(election_is_won__with_a_majority_and_not_before)
{
    raft_of(&raft, 5, 1, "1");
    struct election election;
    election_begin(&raft, &election, false);
    ck_assert(!election_is_won(&raft));
    count_answer(&election, 2, true);
    ck_assert(!election_is_won(&raft));
    count_answer(&election, 3, true);
    ck_assert(election_is_won(&raft));
    release();
}
END_TEST

START_TEST(election_is_won__an_even_cluster_needs_more_than_half)
{
    raft_of(&raft, 4, 1, "1");
    struct election election;
    election_begin(&raft, &election, false);
    count_answer(&election, 2, true);
    ck_assert(!election_is_won(&raft));
    count_answer(&election, 4, true);
    ck_assert(election_is_won(&raft));
    release();
}
END_TEST

START_TEST(election_is_won__one_server_needs_nobody_else)
{
    raft_of(&raft, 1, 1, "1");
    struct election election;
    election_begin_pre_vote(&raft, &election, NOW);
    ck_assert(election_would_win(&raft, &election));
    ck_assert(!election_is_won(&raft));
    election_begin(&raft, &election, false);
    ck_assert(election_is_won(&raft));
    ck_assert(!election_is_lost(&raft, &election));
    /* Its own vote is a promise, too. */
    ck_assert(raft.metadata_unsaved);
    release();
}
END_TEST

START_TEST(election_is_won__a_change_needs_both_majorities)
{
    raft_of(&raft, 5, 1, "1");
    raft.configuration.voters_old = 0x07; /* 1 2 3 */
    raft.configuration.voters = 0x19;     /* 1 4 5 */
    struct election election;
    election_begin(&raft, &election, false);
    count_answer(&election, 2, true);
    count_answer(&election, 3, true);
    ck_assert(!election_is_won(&raft));
    count_answer(&election, 5, true);
    ck_assert(election_is_won(&raft));
    release();
}
END_TEST

START_TEST(election_count__repeated_votes_count_once)
{
    raft_of(&raft, 5, 1, "1");
    struct election election;
    election_begin(&raft, &election, false);
    for (u32 i = 0; i < 4; i++)
        count_answer(&election, 2, true);
    ck_assert(!election_is_won(&raft));
    release();
}
END_TEST

START_TEST(election_count__only_members_and_voters)
{
    raft_of(&raft, 5, 1, "1");
    raft.configuration.voters = 0x07; /* 4 and 5 learn */
    struct election election;
    election_begin(&raft, &election, false);
    count_answer(&election, 4, true);
    count_answer(&election, 5, true);
    count_answer(&election, 9, true);
    count_answer(&election, SERVER_NONE, true);
    ck_assert(!election_is_won(&raft));
    count_answer(&election, 4, false);
    count_answer(&election, 9, false);
    ck_assert(!election_is_lost(&raft, &election));
    count_answer(&election, 3, true);
    ck_assert(election_is_won(&raft));
    release();
}
END_TEST

START_TEST(election_count__a_yes_to_the_pre_vote_is_no_vote)
{
    raft_of(&raft, 3, 1, "1");
    struct election election;
    struct message asked;
    election_begin_pre_vote(&raft, &election, NOW);
    election_request(&raft, &election, 2, &asked);
    election_begin(&raft, &election, false);
    struct message late = answer_of(&asked, 2, true);
    late.term = raft.current_term;
    election_count(&raft, &election, &late);
    ck_assert(!election_is_won(&raft));
    /* Nor the other way round. */
    election_request(&raft, &election, 2, &asked);
    election_begin_pre_vote(&raft, &election, NOW);
    struct message vote = answer_of(&asked, 2, true);
    vote.call = raft.next_call;
    election_count(&raft, &election, &vote);
    ck_assert(!election_would_win(&raft, &election));
    release();
}
END_TEST

/* A round trip takes longer than a try: the answers to one come during the next. */
START_TEST(election_count__votes_of_this_term_count_whenever_they_come)
{
    raft_of(&raft, 3, 1, "1");
    struct election election;
    struct message asked;
    election_begin(&raft, &election, false);
    election_request(&raft, &election, 2, &asked);
    /* Time was up, and it asks whether it would win the next term. */
    election_begin_pre_vote(&raft, &election, NOW);
    ck_assert(!election_is_won(&raft));
    struct message vote = answer_of(&asked, 2, true);
    election_count(&raft, &election, &vote);
    ck_assert(election_is_won(&raft));
    ck_assert(!election_would_win(&raft, &election));
    /* They make it the leader once: a second leadership of one term would count its rounds again.
     */
    struct leadership leadership;
    struct ballot ballot = raft.ballot;
    leadership_begin(&raft, &leadership, NOW, 0);
    ck_assert(!election_is_won(&raft));
    raft.ballot = ballot;
    /* In the next term none of them counts, be it its own or another's. */
    election_begin(&raft, &election, false);
    ck_assert(!election_is_won(&raft));
    election_count(&raft, &election, &vote);
    ck_assert(!election_is_won(&raft));
    adopt_term(&raft, raft.current_term + 1);
    raft.voted_for = 3;
    ck_assert(!election_is_won(&raft));
    release();
}
END_TEST

START_TEST(election_count__what_was_granted_to_an_earlier_pre_vote_counts_for_a_while)
{
    raft_of(&raft, 3, 1, "1");
    u64 old_ns = 2 * raft.election_timeout_ns_max;
    for (u32 what = 0; what < 4; what++) {
        struct election election;
        struct message asked;
        raft.ballot = (struct ballot){0};
        election_begin_pre_vote(&raft, &election, NOW);
        election_request(&raft, &election, 2, &asked);
        if (what == 1) { /* a leader was heard: of what was said before it nothing is left */
            struct message heartbeat = {.kind = MESSAGE_APPEND_ENTRIES, .from = 3, .to = 1};
            heartbeat.term = raft.current_term;
            struct message reply;
            const char *why;
            ck_assert(append_entries(&raft, &heartbeat, MIB, NOW, &reply, &why));
        } else if (what == 2) {
            adopt_term(&raft, raft.current_term + 1);
        }
        election_begin_pre_vote(&raft, &election, what == 3 ? NOW + old_ns : NOW + old_ns - 1);
        struct message late = answer_of(&asked, 2, true);
        election_count(&raft, &election, &late);
        ck_assert_msg(election_would_win(&raft, &election) == (what == 0), "case %u", what);
    }
    release();
}
END_TEST

START_TEST(election_count__a_refusal_of_an_earlier_try_says_nothing)
{
    raft_of(&raft, 3, 1, "1");
    struct election election;
    struct message asked;
    election_begin_pre_vote(&raft, &election, NOW);
    election_request(&raft, &election, 3, &asked);
    election_begin_pre_vote(&raft, &election, NOW);
    struct message late = answer_of(&asked, 3, false);
    election_count(&raft, &election, &late);
    ck_assert_uint_eq(election.refused, 0);
    count_answer(&election, 2, true);
    ck_assert(election_would_win(&raft, &election));
    release();
}
END_TEST

/* Where elections come to nothing again and again, servers time out too close to one another. */
START_TEST(election_timeout_ns__its_range_grows_with_elections_in_vain)
{
    static const u64 ends[] = {300, 300, 300, 600, 1200, 1200, 1200};
    struct rng rng;
    rng_init(&rng, 7);
    raft_of(&raft, 3, 1, "1");
    for (size_t campaigns = 0; campaigns < ARRAY_LENGTH(ends); campaigns++) {
        u64 latest_ns = 0;
        for (u32 i = 0; i < 1000; i++) {
            u64 at_ns = election_candidate_deadline_ns(&raft, &rng, NOW);
            ck_assert_uint_ge(at_ns, NOW + 150 * T_MS);
            latest_ns = u64_max(latest_ns, at_ns);
        }
        ck_assert_uint_le(latest_ns, NOW + ends[campaigns] * T_MS);
        ck_assert_uint_ge(latest_ns, NOW + ends[campaigns] * T_MS * 9 / 10);
        struct election election;
        election_begin(&raft, &election, false);
    }
    struct message heartbeat = {.kind = MESSAGE_APPEND_ENTRIES, .from = 3, .to = 1};
    heartbeat.term = raft.current_term;
    struct message reply;
    const char *why;
    ck_assert(append_entries(&raft, &heartbeat, MIB, NOW, &reply, &why));
    ck_assert_uint_eq(raft.campaigns, 0);
    release();
}
END_TEST

START_TEST(election_is_lost__when_a_quorum_can_no_longer_be_reached)
{
    raft_of(&raft, 5, 1, "1");
    struct election election;
    election_begin(&raft, &election, false);
    count_answer(&election, 2, false);
    count_answer(&election, 2, false);
    count_answer(&election, 3, false);
    ck_assert(!election_is_lost(&raft, &election));
    count_answer(&election, 4, false);
    ck_assert(election_is_lost(&raft, &election));
    ck_assert(!election_is_won(&raft));
    release();
}
END_TEST

START_TEST(election_is_lost__one_refusing_majority_of_a_change_is_enough)
{
    raft_of(&raft, 5, 1, "1");
    raft.configuration.voters_old = 0x07;
    raft.configuration.voters = 0x19;
    struct election election;
    election_begin(&raft, &election, false);
    count_answer(&election, 4, false);
    ck_assert(!election_is_lost(&raft, &election));
    count_answer(&election, 5, false);
    ck_assert(election_is_lost(&raft, &election));
    release();
}
END_TEST

START_TEST(election_is_lost__a_vote_once_given_stays)
{
    raft_of(&raft, 3, 1, "1");
    struct election election;
    election_begin(&raft, &election, false);
    count_answer(&election, 2, true);
    /* A refusal that was sent before the vote, and came after it. */
    count_answer(&election, 2, false);
    count_answer(&election, 3, false);
    ck_assert(election_is_won(&raft));
    ck_assert(!election_is_lost(&raft, &election));
    release();
}
END_TEST

/* ---- election_tell ---- */

START_TEST(election_tell__the_same_words_for_all_designs)
{
    char text[128];
    struct election_news given = {.kind = NEWS_VOTE_GIVEN,
                                  .pre_vote = true,
                                  .granted = false,
                                  .peer = 2,
                                  .term = 7,
                                  .why = "a leader is heard"};
    election_tell(&given, text, sizeof(text));
    ck_assert_str_eq(text, "pre-vote for server 2 in term 7: no, a leader is heard");
    struct election_news counted = {
        .kind = NEWS_VOTE_COUNTED, .granted = true, .peer = 3, .term = 7, .votes = 2, .voters = 3};
    election_tell(&counted, text, sizeof(text));
    ck_assert_str_eq(text, "vote of server 3 in term 7: yes; this server has 2 of 3");
    struct election_news timeout = {.kind = NEWS_TIMEOUT, .timeout_ns = 213456 * NS_PER_US};
    election_tell(&timeout, text, sizeof(text));
    ck_assert_str_eq(text, "the election timeout drawn is 213.4 ms");
}
END_TEST

UNIT_MAIN("election", election_tell__the_same_words_for_all_designs,
          election_answer_pre_vote__yes_when_it_would_get_the_vote,
          election_answer_pre_vote__no_when_the_term_is_not_new,
          election_answer_pre_vote__no_when_a_leader_is_heard,
          election_answer_pre_vote__no_when_its_log_is_behind,
          election_answer_vote__first_come_first_served,
          election_answer_vote__repeated_request_gets_the_same_answer,
          election_answer_vote__a_new_term_a_new_vote,
          election_answer_vote__a_candidate_has_voted_for_itself,
          election_answer_vote__only_for_a_log_that_is_up_to_date,
          election_answer_vote__empty_logs_are_equal,
          election_begin__next_term_and_own_vote_both_unsaved,
          election_begin_pre_vote__changes_nothing,
          election_request__carries_the_last_entry_and_the_right_term,
          election_is_won__with_a_majority_and_not_before,
          election_is_won__an_even_cluster_needs_more_than_half,
          election_is_won__one_server_needs_nobody_else,
          election_is_won__a_change_needs_both_majorities,
          election_count__repeated_votes_count_once, election_count__only_members_and_voters,
          election_count__a_yes_to_the_pre_vote_is_no_vote,
          election_count__votes_of_this_term_count_whenever_they_come,
          election_count__what_was_granted_to_an_earlier_pre_vote_counts_for_a_while,
          election_count__a_refusal_of_an_earlier_try_says_nothing,
          election_timeout_ns__its_range_grows_with_elections_in_vain,
          election_is_lost__when_a_quorum_can_no_longer_be_reached,
          election_is_lost__one_refusing_majority_of_a_change_is_enough,
          election_is_lost__a_vote_once_given_stays)
