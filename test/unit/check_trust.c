/* check_trust.c - who is recognised, what counts, who is told. */
#include "server/rules/lineage.h"
#include "server/rules/trust.h"
#include "test/unit/leader_unit.h"

/* Start number `count` of a directory whose starts so far had the ids base + 1 .. base + count. */
static struct identity start_of(u64 directory_id, u64 base, u64 count)
{
    struct identity identity = {.directory_id = directory_id, .start_count = count};
    for (u64 i = 0; i < IDENTITY_STARTS && i < count; i++)
        identity.starts[i] = base + count - i;
    return identity;
}

static struct known_peer met_at(u64 directory_id, u64 start_count, u64 start_id)
{
    return (struct known_peer){
        .id = 2, .directory_id = directory_id, .start_count = start_count, .start_id = start_id};
}

static struct meeting meet(server_id peer, struct identity shown)
{
    return trust_meet(&raft, peer, &shown);
}

/* ---- the judgement ---- */

START_TEST(trust_judge__the_same_directory_and_its_later_starts)
{
    struct known_peer met = met_at(7, 3, 103);
    for (u64 count = 3; count < 30; count++) {
        struct identity shown = start_of(7, 100, count);
        ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_NONE);
    }
}
END_TEST

START_TEST(trust_judge__another_directory)
{
    struct known_peer met = met_at(7, 3, 103);
    for (u64 count = 1; count < 10; count++) {
        struct identity shown = start_of(8, 100, count);
        ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_OTHER_DIRECTORY);
    }
}
END_TEST

START_TEST(trust_judge__an_older_copy)
{
    struct known_peer met = met_at(7, 5, 105);
    struct identity shown = start_of(7, 100, 4); /* fewer starts than were seen */
    ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_SET_BACK);
    /* A copy from start 3 that goes on by itself: 4, and then another 5 than the one seen. */
    for (u64 since = 1; since <= IDENTITY_STARTS + 1; since++) {
        shown = start_of(7, 100, 3);
        for (u64 i = 0; i < since; i++) {
            memmove(shown.starts + 1, shown.starts, sizeof(shown.starts) - sizeof(u64));
            shown.starts[0] = 900 + i;
            shown.start_count++;
        }
        ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_SET_BACK);
    }
    /* Behind the window only the count is left. */
    shown.start_count = met.start_count + IDENTITY_STARTS;
    ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_NONE);
}
END_TEST

START_TEST(trust_judge__starts_without_ids_are_compared_by_number)
{
    struct known_peer met = met_at(7, 5, 0);
    struct identity shown = start_of(7, 100, 5);
    ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_NONE);
    shown = start_of(7, 100, 4);
    ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_SET_BACK);
    /* One that had an id when it was seen does not lose it. */
    met = met_at(7, 5, 105);
    shown = (struct identity){.directory_id = 7, .start_count = 6};
    ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_SET_BACK);
}
END_TEST

START_TEST(trust_judge__what_was_lost_or_told_stays_so)
{
    struct known_peer met = met_at(7, 3, 103);
    struct identity shown = start_of(7, 100, 4);
    shown.non_voter = true;
    ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_TOLD);
    met.lost_entries = true;
    ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_LOST_ENTRIES);
    shown.directory_id = 8;
    ck_assert_int_eq(trust_judge(&met, &shown), DISTRUST_OTHER_DIRECTORY);
    for (int why = 0; why < DISTRUST_END; why++)
        ck_assert_uint_gt(strlen(distrust_words((enum distrust)why)), 10);
}
END_TEST

/* ---- meeting ---- */

START_TEST(trust_meet__who_is_new_is_believed_and_remembered)
{
    raft_of(&raft, 3, 1, "1");
    ck_assert(trust_counts(&raft, 2));
    ck_assert_ptr_null(trust_known_peer(&raft, 2));
    struct meeting meeting = meet(2, start_of(7, 100, 3));
    ck_assert(meeting.remember && !meeting.changed && !meeting.anew);
    const struct known_peer *met = trust_known_peer(&raft, 2);
    ck_assert_uint_eq(met->directory_id, 7);
    ck_assert_uint_eq(met->start_count, 3);
    ck_assert_uint_eq(met->start_id, 103);
    /* Again, on another connection: nothing is new. */
    meeting = meet(2, start_of(7, 100, 3));
    ck_assert(!meeting.remember && !meeting.changed && !meeting.anew);
    meeting = meet(2, start_of(7, 100, 4));
    ck_assert(meeting.remember && !meeting.changed && !meeting.anew);
    ck_assert_uint_eq(trust_known_peer(&raft, 2)->start_id, 104);
    ck_assert(trust_counts(&raft, 2));
    release();
}
END_TEST

START_TEST(trust_meet__who_is_wiped_does_not_count_until_its_own_is_back)
{
    raft_of(&raft, 3, 1, "1");
    (void)meet(2, start_of(7, 100, 3));
    (void)meet(3, start_of(9, 300, 1));
    struct meeting meeting = meet(2, start_of(8, 500, 1));
    ck_assert_int_eq(meeting.distrust, DISTRUST_OTHER_DIRECTORY);
    ck_assert(!meeting.remember && meeting.changed && meeting.anew);
    ck_assert(!trust_counts(&raft, 2));
    ck_assert(trust_counts(&raft, 3));
    ck_assert_uint_eq(trust_known_peer(&raft, 2)->directory_id, 7); /* what was believed stays */
    /* The same again is no news; wiped again is. */
    ck_assert(!meet(2, start_of(8, 500, 1)).changed);
    ck_assert(meet(2, start_of(10, 600, 1)).changed);
    meeting = meet(2, start_of(7, 100, 4));
    ck_assert_int_eq(meeting.distrust, DISTRUST_NONE);
    ck_assert(meeting.remember && meeting.changed && meeting.anew);
    ck_assert(trust_counts(&raft, 2));
    ck_assert_uint_eq(raft.trust.distrusted, 0);
    release();
}
END_TEST

START_TEST(trust_meet__a_full_table_forgets_who_is_no_member)
{
    raft_of(&raft, 3, 1, "1");
    for (server_id id = 2; id < KNOWN_PEERS_MAX + 20; id++)
        (void)meet(id, start_of(id, 100, 1));
    ck_assert_uint_eq(raft.trust.count, KNOWN_PEERS_MAX);
    ck_assert_ptr_nonnull(trust_known_peer(&raft, 2));
    ck_assert_ptr_nonnull(trust_known_peer(&raft, 3));
    ck_assert_ptr_nonnull(trust_known_peer(&raft, KNOWN_PEERS_MAX + 19));
    release();
}
END_TEST

START_TEST(trust_meet__the_log_knows_who_nobody_here_has_met)
{
    raft_of(&raft, 3, 1, "1");
    struct configuration named = raft.configuration;
    named.feature = FEATURE_NEWEST;
    named.members[1].directory_id = 7;
    named.members[2].directory_id = 9;
    lineage_replace(&raft, &named, true);
    struct meeting meeting = meet(2, start_of(8, 500, 1));
    ck_assert_int_eq(meeting.distrust, DISTRUST_OTHER_DIRECTORY);
    ck_assert(!meeting.remember && !trust_counts(&raft, 2));
    /* What it showed is not believed, so its own directory is, when it is back. */
    ck_assert_int_eq(meet(2, start_of(7, 100, 3)).distrust, DISTRUST_NONE);
    ck_assert_int_eq(meet(3, start_of(9, 300, 1)).distrust, DISTRUST_NONE);
    /* An entry may come while they are connected. */
    named.index = 2;
    named.members[2].directory_id = 10;
    lineage_replace(&raft, &named, true);
    server_id who;
    ck_assert(trust_next_change(&raft, &who, &meeting));
    ck_assert_uint_eq(who, 3);
    ck_assert_int_eq(meeting.distrust, DISTRUST_OTHER_DIRECTORY);
    ck_assert(meeting.changed && meeting.anew && !meeting.remember);
    ck_assert(!trust_next_change(&raft, &who, &meeting));
    release();
}
END_TEST

START_TEST(trust_lost__is_remembered_and_told_is_not)
{
    raft_of(&raft, 3, 1, "1");
    (void)meet(2, start_of(7, 100, 3));
    struct meeting meeting = trust_lost(&raft, 2, DISTRUST_LOST_ENTRIES);
    ck_assert(meeting.remember && meeting.changed && meeting.anew);
    ck_assert(!trust_counts(&raft, 2));
    /* Its log is not found at once: that is no second loss. */
    meeting = trust_lost(&raft, 2, DISTRUST_LOST_ENTRIES);
    ck_assert(!meeting.remember && !meeting.changed && meeting.anew);
    /* Its next start is believed to be its next start, and counts no more than this one. */
    meeting = meet(2, start_of(7, 100, 4));
    ck_assert_int_eq(meeting.distrust, DISTRUST_LOST_ENTRIES);
    ck_assert(meeting.remember);
    (void)meet(3, start_of(9, 300, 1));
    meeting = trust_lost(&raft, 3, DISTRUST_TOLD);
    ck_assert(!meeting.remember && meeting.changed);
    ck_assert(!trust_counts(&raft, 3));
    meeting = trust_lost(&raft, 3, DISTRUST_TOLD);
    ck_assert(!meeting.changed && !meeting.anew);
    release();
}
END_TEST

/* ---- what counts ---- */

START_TEST(trust_quorum__who_is_distrusted_is_one_who_never_answers)
{
    raft_of(&raft, 5, 1, "1");
    u64 values[5] = {9, 8, 7, 6, 5};
    ck_assert_uint_eq(trust_quorum_value(&raft, values), 7);
    ck_assert(trust_quorum(&raft, 7));
    for (server_id id = 2; id <= 3; id++) {
        (void)meet(id, start_of(id, 100, 2));
        (void)meet(id, start_of(id, 100, 1));
    }
    ck_assert_uint_eq(raft.trust.distrusted, 2);
    ck_assert(!trust_quorum(&raft, 1 | 2 | 4));
    ck_assert(!trust_quorum(&raft, 1 | 2 | 4 | 8));
    ck_assert(trust_quorum(&raft, 1 | 8 | 16)); /* three of five, as ever */
    ck_assert_uint_eq(trust_quorum_value(&raft, values), 5);
    release();
}
END_TEST

START_TEST(election__no_vote_from_or_for_who_is_not_recognised)
{
    raft_of(&raft, 3, 1, "1 1");
    (void)meet(2, start_of(7, 100, 2));
    (void)meet(2, start_of(7, 100, 1));
    struct message request = vote_of(2, 2, (struct entry_id){1, 9});
    struct message reply;
    const char *why;
    ck_assert_int_eq(check_term(&raft, &request, false), TERM_IGNORE);
    request.kind = MESSAGE_PRE_VOTE;
    election_answer_pre_vote(&raft, &request, false, &reply, &why);
    ck_assert(!reply.as.vote_reply.granted);
    adopt_term(&raft, 2);
    request.kind = MESSAGE_REQUEST_VOTE;
    election_answer_vote(&raft, &request, &reply, &why);
    ck_assert(!reply.as.vote_reply.granted);
    ck_assert_uint_eq(raft.voted_for, SERVER_NONE);
    /* Its own vote, whatever it says, makes no quorum. */
    struct election election;
    election_begin(&raft, &election, false);
    ck_assert(!election_asks(&raft, &election, 2));
    ck_assert(election_asks(&raft, &election, 3));
    struct message vote = {.kind = MESSAGE_REQUEST_VOTE_REPLY,
                           .from = 2,
                           .call = election.first_call,
                           .as.vote_reply.granted = true};
    election_count(&raft, &election, &vote);
    ck_assert(!election_is_won(&raft));
    ck_assert(!election_is_lost(&raft, &election));
    vote.from = 3;
    election_count(&raft, &election, &vote);
    ck_assert(election_is_won(&raft));
    release();
}
END_TEST

START_TEST(election__who_is_not_recognised_neither_votes_nor_campaigns)
{
    raft_of(&raft, 3, 1, "1 1");
    ck_assert(raft_may_campaign(&raft));
    raft.trust.own.non_voter = true;
    ck_assert(!raft_may_campaign(&raft));
    struct message request = vote_of(2, 2, (struct entry_id){1, 9});
    struct message reply;
    const char *why;
    adopt_term(&raft, 2);
    raft.metadata_unsaved = false;
    election_answer_vote(&raft, &request, &reply, &why);
    ck_assert(!reply.as.vote_reply.granted && !raft.metadata_unsaved);
    request.kind = MESSAGE_PRE_VOTE;
    request.term = 3;
    election_answer_pre_vote(&raft, &request, false, &reply, &why);
    ck_assert(!reply.as.vote_reply.granted);
    /* It says so with every acknowledgement. */
    ck_assert(append_to(&raft, append_of(3, 2, (struct entry_id){1, 2}, "2", 0)).non_voter);
    release();
}
END_TEST

START_TEST(commit_advance__not_by_who_is_not_recognised)
{
    lead(3, "1", 2);
    append_commands(1);
    log_saved(&raft.log, 3);
    (void)meet(2, start_of(7, 100, 2));
    (void)meet(2, start_of(8, 100, 1));
    peer(2)->match_index = 3;
    peer(2)->round_acked = 5;
    peer(2)->contact_ns = T_BEGIN + 1000 * T_MS;
    ck_assert(!commit_advance(&raft, &leadership));
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), 0);
    ck_assert(!leadership_has_quorum(&raft, &leadership, T_BEGIN + 1000 * T_MS));
    peer(3)->match_index = 3;
    ck_assert(commit_advance(&raft, &leadership));
    ck_assert_uint_eq(raft.commit_index, 3);
    release();
}
END_TEST

START_TEST(replicate_anew__finds_another_log_and_fills_it)
{
    lead(3, "1 1 1", 2);
    struct message probe = sent_to(2, T_BEGIN);
    accepts(&probe, T_BEGIN);
    ck_assert_uint_eq(peer(2)->match_index, 4);
    replicate_anew(&raft, peer(2));
    ck_assert_uint_eq(peer(2)->match_index, 0);
    probe = sent_to(2, T_BEGIN);
    ck_assert_uint_eq(probe.as.append_request.prev.index, 4);
    refuses(&probe, (struct entry_id){0, 2}, T_BEGIN);
    ck_assert(!peer(2)->lost_acked);
    probe = sent_to(2, T_BEGIN);
    ck_assert_uint_eq(probe.as.append_request.prev.index, 1);
    ck_assert_uint_eq(probe.as.append_request.count, 3);
    accepts(&probe, T_BEGIN);
    ck_assert_uint_eq(peer(2)->match_index, 4);
    release();
}
END_TEST

/* ---- telling ---- */

START_TEST(trust_tell__until_it_knows)
{
    struct message message;
    raft_of(&raft, 3, 1, "1");
    (void)meet(2, start_of(7, 100, 2));
    ck_assert(!trust_tell(&raft, 2, T_MS, &message));
    (void)meet(2, start_of(8, 500, 1));
    ck_assert(!trust_tell(&raft, 3, T_MS, &message));
    ck_assert(trust_tell(&raft, 2, T_MS, &message));
    ck_assert_int_eq(message.kind, MESSAGE_UNRECOGNISED);
    ck_assert_uint_eq(message.to, 2);
    ck_assert_uint_eq(message.as.unrecognised.directory_id, 8);
    ck_assert_uint_eq(message.as.unrecognised.start_count, 1);
    ck_assert_int_eq(message.as.unrecognised.why, DISTRUST_OTHER_DIRECTORY);
    /* Not more often than heartbeats go out, but on a new connection. */
    ck_assert(!trust_tell(&raft, 2, 50 * T_MS, &message));
    ck_assert(trust_tell(&raft, 2, 51 * T_MS, &message));
    trust_tell_again(&raft, 2);
    ck_assert(trust_tell(&raft, 2, 52 * T_MS, &message));
    (void)trust_lost(&raft, 2, DISTRUST_TOLD); /* its replies say that it knows */
    ck_assert(!trust_tell(&raft, 2, 9000 * T_MS, &message));
    struct identity shown = start_of(8, 500, 2);
    shown.non_voter = true;
    (void)meet(2, shown);
    ck_assert(!trust_tell(&raft, 2, 9900 * T_MS, &message));
    release();
}
END_TEST

START_TEST(trust_unrecognised__minded_by_the_one_it_is_about)
{
    raft_of(&raft, 3, 1, "1");
    raft.trust.own = start_of(8, 500, 3);
    struct message message = {.kind = MESSAGE_UNRECOGNISED, .from = 2, .to = 1, .term = 99};
    message.as.unrecognised = (struct unrecognised){8, 2, DISTRUST_SET_BACK, 0};
    ck_assert_int_eq(check_term(&raft, &message, true), TERM_CURRENT); /* whatever its term */
    ck_assert(!trust_unrecognised(&raft, &message));
    message.as.unrecognised = (struct unrecognised){7, 3, DISTRUST_SET_BACK, 0};
    ck_assert(!trust_unrecognised(&raft, &message));
    ck_assert(!raft.trust.own.non_voter);
    message.as.unrecognised = (struct unrecognised){8, 3, DISTRUST_SET_BACK, 0};
    /* The word of a stranger is none: of one that was wiped itself, or is no server of ours. */
    (void)meet(2, start_of(7, 100, 3));
    (void)meet(2, start_of(9, 700, 1));
    ck_assert(!trust_unrecognised(&raft, &message));
    ck_assert(!raft.trust.own.non_voter);
    (void)meet(2, start_of(7, 100, 4));
    ck_assert(trust_unrecognised(&raft, &message));
    ck_assert(raft.trust.own.non_voter);
    ck_assert(!trust_unrecognised(&raft, &message)); /* it knows already */
    release();
}
END_TEST

UNIT_MAIN(
    "trust", trust_judge__the_same_directory_and_its_later_starts, trust_judge__another_directory,
    trust_judge__an_older_copy, trust_judge__starts_without_ids_are_compared_by_number,
    trust_judge__what_was_lost_or_told_stays_so, trust_meet__who_is_new_is_believed_and_remembered,
    trust_meet__who_is_wiped_does_not_count_until_its_own_is_back,
    trust_meet__a_full_table_forgets_who_is_no_member,
    trust_meet__the_log_knows_who_nobody_here_has_met, trust_lost__is_remembered_and_told_is_not,
    trust_quorum__who_is_distrusted_is_one_who_never_answers,
    election__no_vote_from_or_for_who_is_not_recognised,
    election__who_is_not_recognised_neither_votes_nor_campaigns,
    commit_advance__not_by_who_is_not_recognised, replicate_anew__finds_another_log_and_fills_it,
    trust_tell__until_it_knows, trust_unrecognised__minded_by_the_one_it_is_about)
