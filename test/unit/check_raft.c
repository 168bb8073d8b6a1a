/* check_raft.c - terms: what a message's term asks of its receiver, and refusals. */
#include "test/unit/rules_unit.h"

static struct raft raft;

static void release(void)
{
    raft_deinit(&raft);
}

/* Server 1 of three, in term 5. */
static void begin(void)
{
    raft_of(&raft, 3, 1, "1 5");
    raft.metadata_unsaved = false;
}

static enum term_verdict verdict_of(enum message_kind kind, u64 term, bool hears_leader)
{
    struct message message = {.kind = kind, .from = 2, .term = term};
    return check_term(&raft, &message, hears_leader);
}

/* Those whose term counts, whatever they carry. */
static const enum message_kind ordinary_kinds[] = {
    MESSAGE_REQUEST_VOTE_REPLY, MESSAGE_APPEND_ENTRIES,         MESSAGE_APPEND_ENTRIES_REPLY,
    MESSAGE_INSTALL_SNAPSHOT,   MESSAGE_INSTALL_SNAPSHOT_REPLY, MESSAGE_FORWARD,
    MESSAGE_TIMEOUT_NOW};

enum { ORDINARY_KINDS = sizeof(ordinary_kinds) / sizeof(ordinary_kinds[0]) };

/* ---- [All Servers 2, §5.1] ---- */

START_TEST(check_term__a_newer_term_is_adopted_by_anybody)
{
    begin();
    for (u32 i = 0; i < ORDINARY_KINDS; i++) {
        ck_assert_int_eq(verdict_of(ordinary_kinds[i], 6, false), TERM_NEWER);
        /* Only a candidate can be ignored. */
        ck_assert_int_eq(verdict_of(ordinary_kinds[i], 6, true), TERM_NEWER);
    }
    ck_assert_int_eq(verdict_of(MESSAGE_REQUEST_VOTE, 6, false), TERM_NEWER);
    release();
}
END_TEST

START_TEST(check_term__the_same_term_goes_on)
{
    begin();
    for (u32 i = 0; i < ORDINARY_KINDS; i++)
        ck_assert_int_eq(verdict_of(ordinary_kinds[i], 5, true), TERM_CURRENT);
    ck_assert_int_eq(verdict_of(MESSAGE_REQUEST_VOTE, 5, false), TERM_CURRENT);
    ck_assert_int_eq(verdict_of(MESSAGE_REQUEST_VOTE, 5, true), TERM_CURRENT);
    release();
}
END_TEST

START_TEST(check_term__an_older_term_is_stale)
{
    begin();
    for (u32 i = 0; i < ORDINARY_KINDS; i++)
        ck_assert_int_eq(verdict_of(ordinary_kinds[i], 4, true), TERM_STALE);
    ck_assert_int_eq(verdict_of(MESSAGE_REQUEST_VOTE, 4, false), TERM_STALE);
    ck_assert_int_eq(verdict_of(MESSAGE_REQUEST_VOTE, 4, true), TERM_STALE);
    release();
}
END_TEST

START_TEST(check_term__a_pre_vote_never_raises_a_term)
{
    begin();
    ck_assert_int_eq(verdict_of(MESSAGE_PRE_VOTE, 4, false), TERM_CURRENT);
    ck_assert_int_eq(verdict_of(MESSAGE_PRE_VOTE, 6, false), TERM_CURRENT);
    ck_assert_int_eq(verdict_of(MESSAGE_PRE_VOTE, 60, true), TERM_CURRENT);
    release();
}
END_TEST

START_TEST(check_term__a_yes_to_a_pre_vote_never_raises_a_term)
{
    begin();
    struct message yes = {.kind = MESSAGE_PRE_VOTE_REPLY, .term = 9};
    yes.as.vote_reply.granted = true;
    ck_assert_int_eq(check_term(&raft, &yes, false), TERM_CURRENT);
    /* The voter may be behind: its log can still be no better than ours. */
    yes.term = 2;
    ck_assert_int_eq(check_term(&raft, &yes, false), TERM_CURRENT);
    release();
}
END_TEST

START_TEST(check_term__a_no_to_a_pre_vote_tells_the_voters_term)
{
    begin();
    ck_assert_int_eq(verdict_of(MESSAGE_PRE_VOTE_REPLY, 6, false), TERM_NEWER);
    ck_assert_int_eq(verdict_of(MESSAGE_PRE_VOTE_REPLY, 5, false), TERM_CURRENT);
    ck_assert_int_eq(verdict_of(MESSAGE_PRE_VOTE_REPLY, 4, false), TERM_STALE);
    release();
}
END_TEST

START_TEST(check_term__answers_to_forwarded_commands_count_in_any_term)
{
    begin();
    ck_assert_int_eq(verdict_of(MESSAGE_FORWARD_REPLY, 4, false), TERM_CURRENT);
    ck_assert_int_eq(verdict_of(MESSAGE_FORWARD_REPLY, 5, false), TERM_CURRENT);
    ck_assert_int_eq(verdict_of(MESSAGE_FORWARD_REPLY, 6, true), TERM_CURRENT);
    release();
}
END_TEST

START_TEST(check_term__who_hears_a_leader_ignores_candidates)
{
    begin();
    ck_assert_int_eq(verdict_of(MESSAGE_REQUEST_VOTE, 6, true), TERM_IGNORE);
    ck_assert_int_eq(verdict_of(MESSAGE_REQUEST_VOTE, 600, true), TERM_IGNORE);
    ck_assert_uint_eq(raft.current_term, 5);
    release();
}
END_TEST

START_TEST(check_term__but_not_when_leadership_was_handed_over)
{
    begin();
    struct message request = vote_of(2, 6, (struct entry_id){5, 2});
    request.as.vote_request.transfer = true;
    ck_assert_int_eq(check_term(&raft, &request, true), TERM_NEWER);
    request.term = 4;
    ck_assert_int_eq(check_term(&raft, &request, true), TERM_STALE);
    release();
}
END_TEST

/* ---- adopting ---- */

START_TEST(adopt_term__frees_the_vote_and_forgets_the_leader)
{
    begin();
    raft.voted_for = 3;
    raft.leader = 3;
    raft.leader_heard_ns = 10 * T_MS;
    raft.commit_index = 1;
    adopt_term(&raft, 8);
    ck_assert_uint_eq(raft.current_term, 8);
    ck_assert_uint_eq(raft.voted_for, SERVER_NONE);
    ck_assert_uint_eq(raft.leader, SERVER_NONE);
    ck_assert(!raft_hears_leader(&raft, 11 * T_MS));
    /* Log and commit stay as they are, and the disk must learn the term before anybody else. */
    ck_assert(raft.metadata_unsaved);
    ck_assert_uint_eq(raft.commit_index, 1);
    ck_assert_str_eq(terms_of(&raft.log), "1 5");
    release();
}
END_TEST

START_TEST(raft_hears_leader__within_the_minimal_election_timeout)
{
    begin();
    ck_assert(!raft_hears_leader(&raft, 0));
    raft.leader = 2;
    /* Known, but its connection has ended. */
    ck_assert(!raft_hears_leader(&raft, 0));
    raft.leader_heard_ns = 10 * T_MS;
    ck_assert(raft_hears_leader(&raft, 10 * T_MS));
    ck_assert(raft_hears_leader(&raft, 160 * T_MS - 1));
    ck_assert(!raft_hears_leader(&raft, 160 * T_MS));
    raft.leader = SERVER_NONE;
    ck_assert(!raft_hears_leader(&raft, 10 * T_MS));
    release();
}
END_TEST

/* ---- messages ---- */

START_TEST(raft_message__requests_take_new_calls_and_replies_echo_them)
{
    begin();
    struct message first;
    struct message second;
    struct message reply;
    raft_message(&raft, MESSAGE_APPEND_ENTRIES, 2, NULL, &first);
    raft_message(&raft, MESSAGE_APPEND_ENTRIES, 3, NULL, &second);
    ck_assert_uint_ge(first.call, 1);
    ck_assert_uint_eq(second.call, first.call + 1);
    ck_assert_uint_eq(first.from, 1);
    ck_assert_uint_eq(first.to, 2);
    ck_assert_uint_eq(first.term, 5);
    ck_assert_uint_eq(first.span_count, 0);

    struct message request = vote_of(3, 5, (struct entry_id){5, 2});
    raft_message(&raft, MESSAGE_REQUEST_VOTE_REPLY, 3, &request, &reply);
    ck_assert_uint_eq(reply.call, request.call);
    ck_assert(!reply.as.vote_reply.granted);
    raft_message(&raft, MESSAGE_APPEND_ENTRIES, 3, NULL, &first);
    ck_assert_uint_eq(first.call, second.call + 1);
    release();
}
END_TEST

/* ---- [RequestVote 1, §5.1] [AppendEntries 1, §5.1] ---- */

static struct message refusal_of(enum message_kind kind)
{
    struct message request = {.kind = kind, .from = 3, .term = 4, .call = 77};
    if (kind == MESSAGE_APPEND_ENTRIES)
        request.as.append_request.round = 12;
    struct message reply;
    memset(&reply, 0xff, sizeof(reply));
    raft_refuse(&raft, &request, &reply);
    ck_assert_uint_eq(reply.call, 77);
    ck_assert_uint_eq(reply.to, 3);
    ck_assert_uint_eq(reply.from, 1);
    ck_assert_uint_eq(reply.term, 5);
    ck_assert_uint_eq(reply.span_count, 0);
    return reply;
}

START_TEST(raft_refuse__every_request_with_a_reply_gets_a_no_in_our_term)
{
    begin();
    struct message reply = refusal_of(MESSAGE_REQUEST_VOTE);
    ck_assert_int_eq(reply.kind, MESSAGE_REQUEST_VOTE_REPLY);
    ck_assert(!reply.as.vote_reply.granted);
    reply = refusal_of(MESSAGE_PRE_VOTE);
    ck_assert_int_eq(reply.kind, MESSAGE_PRE_VOTE_REPLY);
    ck_assert(!reply.as.vote_reply.granted);
    reply = refusal_of(MESSAGE_APPEND_ENTRIES);
    ck_assert_int_eq(reply.kind, MESSAGE_APPEND_ENTRIES_REPLY);
    ck_assert_int_eq(reply.as.append_reply.result, APPEND_REFUSED_TERM);
    ck_assert_uint_eq(reply.as.append_reply.match_index, 0);
    ck_assert_uint_eq(reply.as.append_reply.round, 12);
    reply = refusal_of(MESSAGE_FORWARD);
    ck_assert_int_eq(reply.kind, MESSAGE_FORWARD_REPLY);
    ck_assert_int_eq(reply.as.forward_reply.result, FORWARD_NOT_LEADER);
    /* A refusal is no promise. */
    ck_assert(!raft.metadata_unsaved);
    ck_assert_uint_eq(raft.voted_for, SERVER_NONE);
    release();
}
END_TEST

START_TEST(raft_may_campaign__voters_of_a_configuration)
{
    begin();
    ck_assert(raft_may_campaign(&raft));
    raft.configuration.voters = 6; /* servers 2 and 3 */
    ck_assert(!raft_may_campaign(&raft));
    raft.configuration.voters_old = 1; /* on its way out, but still needed */
    ck_assert(raft_may_campaign(&raft));
    raft.configuration.index = 0;
    ck_assert(!raft_may_campaign(&raft));
    raft.configuration.index = 1;
    raft.self = 9;
    ck_assert(!raft_may_campaign(&raft));
    release();
}
END_TEST

START_TEST(raft_may_campaign__not_without_room)
{
    begin();
    raft.room_bytes = ROOM_TO_LEAD;
    ck_assert(raft_may_campaign(&raft));
    raft.room_bytes = ROOM_TO_LEAD - 1;
    ck_assert(!raft_may_campaign(&raft));
    release();
}
END_TEST

START_TEST(raft_is_full__with_less_than_is_wanted)
{
    begin();
    ck_assert(!raft_is_full(&raft)); /* not known is not full */
    raft.room_bytes_min = 10;
    raft.room_bytes = 10;
    ck_assert(!raft_is_full(&raft));
    raft.room_bytes = 9;
    ck_assert(raft_is_full(&raft));
    release();
}
END_TEST

START_TEST(raft_state_word__names_each)
{
    ck_assert_str_eq(raft_state_word(RAFT_FOLLOWER), "follower");
    ck_assert_str_eq(raft_state_word(RAFT_CANDIDATE), "candidate");
    ck_assert_str_eq(raft_state_word(RAFT_LEADER), "leader");
    ck_assert_str_eq(raft_state_word(RAFT_STOPPED), "stopped");
}
END_TEST

UNIT_MAIN("raft", check_term__a_newer_term_is_adopted_by_anybody, check_term__the_same_term_goes_on,
          check_term__an_older_term_is_stale, check_term__a_pre_vote_never_raises_a_term,
          check_term__a_yes_to_a_pre_vote_never_raises_a_term,
          check_term__a_no_to_a_pre_vote_tells_the_voters_term,
          check_term__answers_to_forwarded_commands_count_in_any_term,
          check_term__who_hears_a_leader_ignores_candidates,
          check_term__but_not_when_leadership_was_handed_over,
          adopt_term__frees_the_vote_and_forgets_the_leader,
          raft_hears_leader__within_the_minimal_election_timeout,
          raft_message__requests_take_new_calls_and_replies_echo_them,
          raft_refuse__every_request_with_a_reply_gets_a_no_in_our_term,
          raft_may_campaign__voters_of_a_configuration, raft_may_campaign__not_without_room,
          raft_is_full__with_less_than_is_wanted, raft_state_word__names_each)
