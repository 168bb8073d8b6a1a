/* check_commit.c - what is committed, Figure 8 step by step, and what a read must have seen. */
#include "test/unit/leader_unit.h"

static void holds(server_id id, u64 match_index)
{
    peer(id)->match_index = match_index;
    peer(id)->next_index = match_index + 1;
}

static bool commit(void)
{
    return commit_advance(&raft, &leadership);
}

/* ---- [Leaders 4, §5.3, §5.4.2] ---- */

START_TEST(commit_advance__what_a_quorum_holds)
{
    lead(5, "1", 2);
    append_commands(3); /* 1, then 2 to 5 of term 2 */
    log_saved(&raft.log, 5);
    ck_assert(!commit());
    holds(2, 4);
    ck_assert(!commit());
    holds(3, 3);
    ck_assert(commit());
    ck_assert_uint_eq(raft.commit_index, 3);
    holds(4, 5);
    ck_assert(commit());
    ck_assert_uint_eq(raft.commit_index, 4);
    ck_assert(!commit());
    ck_assert_uint_eq(leadership.uncommitted_bytes, COMMAND_BYTES);
    release();
}
END_TEST

START_TEST(commit_advance__this_server_counts_by_its_disk)
{
    lead(3, "1", 2);
    append_commands(2);
    holds(2, 4);
    ck_assert(!commit());
    ck_assert_uint_eq(raft.commit_index, 0);
    log_saved(&raft.log, 3);
    ck_assert(commit());
    ck_assert_uint_eq(raft.commit_index, 3);
    /* A quorum of others needs no disk of ours. */
    holds(3, 4);
    ck_assert(commit());
    ck_assert_uint_eq(raft.commit_index, 4);
    release();
}
END_TEST

START_TEST(commit_advance__never_by_counting_an_older_term)
{
    lead(3, "1 1 1", 2);
    log_saved(&raft.log, 3);
    holds(2, 3);
    holds(3, 3);
    ck_assert(!commit());
    ck_assert_uint_eq(raft.commit_index, 0);
    /* One entry of its own carries all before it along. */
    log_saved(&raft.log, 4);
    holds(2, 4);
    ck_assert(commit());
    ck_assert_uint_eq(raft.commit_index, 4);
    ck_assert_uint_eq(leadership.uncommitted_bytes, 0);
    release();
}
END_TEST

START_TEST(commit_advance__never_falls)
{
    lead(3, "1", 2);
    append_commands(2);
    log_saved(&raft.log, 4);
    raft.commit_index = 3;
    holds(2, 2);
    ck_assert(!commit());
    ck_assert_uint_eq(raft.commit_index, 3);
    release();
}
END_TEST

START_TEST(commit_advance__alone)
{
    lead(1, "1", 2);
    ck_assert(!commit()); /* not before its own sync */
    log_saved(&raft.log, 2);
    ck_assert(commit());
    ck_assert_uint_eq(raft.commit_index, 2);
    release();
}
END_TEST

START_TEST(commit_advance__only_voters_count)
{
    lead(5, "1", 2);
    raft.configuration.voters = 0x07;
    log_saved(&raft.log, 2);
    holds(4, 2);
    holds(5, 2);
    ck_assert(!commit());
    holds(2, 2);
    ck_assert(commit());
    release();
}
END_TEST

START_TEST(commit_advance__a_change_needs_both_majorities)
{
    lead(5, "1", 2);
    raft.configuration.voters_old = 0x07; /* 1 2 3 */
    raft.configuration.voters = 0x19;     /* 1 4 5 */
    append_commands(2);
    log_saved(&raft.log, 4);
    holds(2, 4);
    holds(3, 4);
    ck_assert(!commit());
    holds(4, 3);
    ck_assert(commit());
    ck_assert_uint_eq(raft.commit_index, 3);
    holds(5, 4);
    ck_assert(commit());
    ck_assert_uint_eq(raft.commit_index, 4);
    release();
}
END_TEST

/* ---- Figure 8 ---- */

static struct raft servers[6]; /* by id; 0 is nobody */

static void begin_figure_8(void)
{
    for (server_id id = 1; id <= 5; id++) {
        raft_of(&servers[id], 5, id, "1");
        servers[id].no_op_at_start = false;
    }
}

static void end_figure_8(void)
{
    for (server_id id = 1; id <= 5; id++)
        raft_deinit(&servers[id]);
}

/* Whether `id` wins the next election when it reaches just these voters. */
static bool wins(server_id id, const server_id *voters, u32 count)
{
    struct raft *candidate = &servers[id];
    struct election election;
    election_begin(candidate, &election, false);
    for (u32 i = 0; i < count; i++) {
        struct raft *voter = &servers[voters[i]];
        struct message request;
        struct message reply;
        const char *why;
        election_request(candidate, &election, voter->self, &request);
        enum term_verdict verdict = check_term(voter, &request, false);
        if (verdict == TERM_STALE) {
            raft_refuse(voter, &request, &reply);
        } else {
            if (verdict == TERM_NEWER)
                adopt_term(voter, request.term);
            election_answer_vote(voter, &request, &reply, &why);
        }
        if (reply.term == candidate->current_term)
            election_count(candidate, &election, &reply);
    }
    return election_is_won(candidate);
}

#define WINS(id, ...)                          \
    wins(id, (const server_id[]){__VA_ARGS__}, \
         sizeof((const server_id[]){__VA_ARGS__}) / sizeof(server_id))

/* Appends an entry to the leader's log alone. */
static void append_one(struct leadership *of, server_id id)
{
    leadership_append(&servers[id], of, (const u8 *)"x", 1, 0);
    log_saved(&servers[id].log, servers[id].log.last_index);
}

/* The leader brings the follower's log into line with its own. */
static void bring_into_line(struct leadership *of, server_id id, server_id follower)
{
    struct raft *leader = &servers[id];
    struct progress *progress = leadership_peer(of, follower);
    while (progress->match_index < leader->log.last_index) {
        struct message message;
        ck_assert_int_eq(replicate(leader, of, progress, T_BEGIN, &message), REPLICATE_SEND);
        struct message reply = reply_to(&message, APPEND_ACCEPTED);
        reply.as.append_reply = append_to(&servers[follower], message);
        log_saved(&servers[follower].log, servers[follower].log.last_index);
        replicate_reply(leader, progress, &reply, T_BEGIN);
    }
    ck_assert_str_eq(terms_of(&servers[follower].log), terms_of(&leader->log));
}

/* (a) to (c): index 2 of term 2 is on S1, S2 and S3; S1 leads term 4. */
static void play_up_to_c(struct leadership *s1)
{
    begin_figure_8();
    /* (a) S1 leads term 2, and its entry at index 2 reaches S2 only. */
    ck_assert(WINS(1, 2, 3, 4));
    ck_assert_uint_eq(servers[1].current_term, 2);
    leadership_begin(&servers[1], s1, T_BEGIN, 0);
    append_one(s1, 1);
    bring_into_line(s1, 1, 2);
    ck_assert(!commit_advance(&servers[1], s1));

    /* (b) S1 crashes; S5 is elected for term 3 by S3, S4 and itself, and takes another entry. */
    struct leadership s5;
    ck_assert(!WINS(5, 3, 4)); /* in term 2 they voted for S1 */
    ck_assert(WINS(5, 3, 4));
    ck_assert_uint_eq(servers[5].current_term, 3);
    leadership_begin(&servers[5], &s5, T_BEGIN, 0);
    append_one(&s5, 5);
    ck_assert(!commit_advance(&servers[5], &s5));
    ck_assert_str_eq(terms_of(&servers[5].log), "1 3");

    /* (c) S5 crashes; S1 is back, is elected for term 4 and goes on replicating: its entry of term
     * 2 is now on a majority, and is not committed. */
    adopt_term(&servers[1], 3);
    ck_assert(WINS(1, 2, 3, 4));
    ck_assert_uint_eq(servers[1].current_term, 4);
    leadership_begin(&servers[1], s1, T_BEGIN, 0);
    bring_into_line(s1, 1, 2);
    bring_into_line(s1, 1, 3);
    ck_assert_str_eq(terms_of(&servers[3].log), "1 2");
    ck_assert(!commit_advance(&servers[1], s1));
    ck_assert_uint_eq(servers[1].commit_index, 0);
    append_one(s1, 1);
    ck_assert_str_eq(terms_of(&servers[1].log), "1 2 4");
    ck_assert(!commit_advance(&servers[1], s1));
}

START_TEST(commit_advance__figure_8_d)
{
    struct leadership s1;
    play_up_to_c(&s1);
    /* (d) S1 crashes; S5 can be elected by S2, S3 and S4, and overwrites the entry everywhere. */
    adopt_term(&servers[5], 4);
    ck_assert(WINS(5, 2, 3, 4));
    ck_assert_uint_eq(servers[5].current_term, 5);
    struct leadership s5;
    leadership_begin(&servers[5], &s5, T_BEGIN, 0);
    for (server_id id = 1; id <= 4; id++) {
        bring_into_line(&s5, 5, id);
        ck_assert_str_eq(terms_of(&servers[id].log), "1 3");
    }
    /* Its own entry is of an older term now, too. */
    ck_assert(!commit_advance(&servers[5], &s5));
    end_figure_8();
}
END_TEST

START_TEST(commit_advance__figure_8_e)
{
    struct leadership s1;
    play_up_to_c(&s1);
    /* (e) S1's entry of its own term reaches a majority before it crashes: committed, with all
     * before it, and S5 cannot win any more. */
    bring_into_line(&s1, 1, 2);
    ck_assert(!commit_advance(&servers[1], &s1));
    bring_into_line(&s1, 1, 3);
    ck_assert(commit_advance(&servers[1], &s1));
    ck_assert_uint_eq(servers[1].commit_index, 3);
    adopt_term(&servers[5], 4);
    ck_assert(!WINS(5, 2, 3, 4));
    ck_assert(WINS(2, 3, 4, 5));
    end_figure_8();
}
END_TEST

/* ---- [Leaders: reads, §8] ---- */

START_TEST(reads_begin__asks_for_a_round_that_is_yet_to_begin)
{
    lead(3, "1", 2);
    ck_assert_uint_eq(reads_begin(&leadership), 1);
    ck_assert(leadership.round_due);
    leadership_begin_round(&raft, &leadership);
    ck_assert_uint_eq(leadership.round, 1);
    /* Answers to the round that is going on may be older than this read. */
    ck_assert_uint_eq(reads_begin(&leadership), 2);
    release();
}
END_TEST

START_TEST(reads_confirmed_round__what_a_quorum_has_answered)
{
    lead(5, "1", 2);
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), 0);
    peer(2)->round_acked = 7;
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), 0);
    peer(3)->round_acked = 5;
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), 5);
    peer(4)->round_acked = 6;
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), 6);
    raft.configuration.voters_old = 0x19; /* 1 4 5: only 4 has answered, and it itself */
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), 6);
    raft.configuration.voters_old = 0x18; /* 4 5 */
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), 0);
    release();
}
END_TEST

START_TEST(reads_confirmed_round__alone_nobody_is_asked)
{
    lead(1, "1", 2);
    ck_assert_uint_ge(reads_confirmed_round(&raft, &leadership), reads_begin(&leadership));
    release();
}
END_TEST

START_TEST(reads_confirmed_round__a_late_answer_confirms_nothing_newer)
{
    lead(3, "1", 2);
    catch_up(2);
    (void)reads_begin(&leadership);
    leadership_begin_round(&raft, &leadership);
    struct message first = sent_to(2, T_BEGIN);
    accepts(&first, T_BEGIN);
    u64 wanted = reads_begin(&leadership);
    leadership_begin_round(&raft, &leadership);
    struct message second = sent_to(2, T_BEGIN);
    accepts(&first, T_BEGIN);
    ck_assert_uint_lt(reads_confirmed_round(&raft, &leadership), wanted);
    accepts(&second, T_BEGIN);
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), wanted);
    accepts(&first, T_BEGIN);
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), wanted);
    release();
}
END_TEST

START_TEST(reads_index__at_least_the_first_entry_of_the_term)
{
    lead(3, "1 1 1", 2);
    raft.commit_index = 2;
    ck_assert_uint_eq(reads_index(&raft, &leadership, false), 4);
    append_commands(3);
    ck_assert_uint_eq(reads_index(&raft, &leadership, false), 4);
    raft.commit_index = 5;
    ck_assert_uint_eq(reads_index(&raft, &leadership, false), 5);
    release();
}
END_TEST

START_TEST(reads_index__sees_the_readers_own_writes)
{
    lead(3, "1 1 1", 2);
    append_commands(3);
    raft.commit_index = 5;
    ck_assert_uint_eq(reads_index(&raft, &leadership, true), 7);
    release();
}
END_TEST

UNIT_MAIN("commit", commit_advance__what_a_quorum_holds,
          commit_advance__this_server_counts_by_its_disk,
          commit_advance__never_by_counting_an_older_term, commit_advance__never_falls,
          commit_advance__alone, commit_advance__only_voters_count,
          commit_advance__a_change_needs_both_majorities, commit_advance__figure_8_d,
          commit_advance__figure_8_e, reads_begin__asks_for_a_round_that_is_yet_to_begin,
          reads_confirmed_round__what_a_quorum_has_answered,
          reads_confirmed_round__alone_nobody_is_asked,
          reads_confirmed_round__a_late_answer_confirms_nothing_newer,
          reads_index__at_least_the_first_entry_of_the_term,
          reads_index__sees_the_readers_own_writes)
