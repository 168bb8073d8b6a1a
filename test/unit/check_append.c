/* check_append.c - the follower's end of AppendEntries, step by step of Figure 2's box. */
#include "test/unit/rules_unit.h"

static struct raft raft;

static void release(void)
{
    raft_deinit(&raft);
}

/* ---- [AppendEntries 1, §5.1] ---- */

START_TEST(append_entries__older_term_is_refused)
{
    raft_of(&raft, 3, 1, "1 1 2");
    struct message message = append_of(2, 1, (struct entry_id){1, 2}, "", 0);
    ck_assert_int_eq(check_term(&raft, &message, false), TERM_STALE);
    struct message reply;
    raft_refuse(&raft, &message, &reply);
    ck_assert_int_eq(reply.as.append_reply.result, APPEND_REFUSED_TERM);
    ck_assert_uint_eq(reply.term, 2);
    ck_assert_uint_eq(reply.call, message.call);
    release();
}
END_TEST

/* ---- [AppendEntries 2, §5.3] ---- */

START_TEST(append_entries__missing_prev_is_a_conflict_at_the_end)
{
    raft_of(&raft, 3, 1, "1 1");
    struct append_reply reply = append_to(&raft, append_of(2, 1, (struct entry_id){1, 7}, "1", 0));
    ck_assert_int_eq(reply.result, APPEND_REFUSED_CONFLICT);
    ck_assert_uint_eq(reply.conflict.term, 0);
    ck_assert_uint_eq(reply.conflict.index, 3);
    ck_assert_uint_eq(reply.match_index, 0);
    ck_assert_uint_eq(reply.round, 7);
    ck_assert_str_eq(terms_of(&raft.log), "1 1");
    release();
}
END_TEST

START_TEST(append_entries__other_term_at_prev_names_that_term_and_its_first_index)
{
    raft_of(&raft, 3, 1, "1 2 2 2");
    struct append_reply reply = append_to(&raft, append_of(2, 3, (struct entry_id){1, 4}, "3", 0));
    ck_assert_int_eq(reply.result, APPEND_REFUSED_CONFLICT);
    ck_assert_uint_eq(reply.conflict.term, 2);
    ck_assert_uint_eq(reply.conflict.index, 2);
    ck_assert_str_eq(terms_of(&raft.log), "1 2 2 2");
    release();
}
END_TEST

/* [Followers 2, §5.2] */
START_TEST(append_entries__a_conflict_still_recognises_the_leader)
{
    raft_of(&raft, 3, 1, "1");
    (void)append_to(&raft, append_of(2, 1, (struct entry_id){1, 7}, "", 0));
    ck_assert_uint_eq(raft.leader, 2);
    ck_assert(raft_hears_leader(&raft, 2 * T_MS));
    ck_assert(!raft_hears_leader(&raft, T_MS + 150 * T_MS));
    release();
}
END_TEST

/* ---- [AppendEntries 3, §5.3] ---- */

START_TEST(append_entries__conflict_truncates_from_there)
{
    raft_of(&raft, 3, 1, "1 2 2 2");
    struct append_reply reply =
        append_to(&raft, append_of(2, 3, (struct entry_id){1, 1}, "3 3", 0));
    ck_assert_int_eq(reply.result, APPEND_ACCEPTED);
    ck_assert_uint_eq(reply.match_index, 3);
    ck_assert_str_eq(terms_of(&raft.log), "1 3 3");
    /* The whole new tail must be saved before the reply. */
    ck_assert_uint_eq(raft.log.durable_index, 1);
    ck_assert_uint_eq(raft.log.unsaved_index, 2);
    release();
}
END_TEST

START_TEST(append_entries__entries_that_match_are_left_alone)
{
    raft_of(&raft, 3, 1, "1 1 1 1");
    /* A late message, shorter than what came after it. */
    struct append_reply reply = append_to(&raft, append_of(2, 1, (struct entry_id){1, 1}, "1", 0));
    ck_assert_int_eq(reply.result, APPEND_ACCEPTED);
    ck_assert_uint_eq(reply.match_index, 2);
    ck_assert_str_eq(terms_of(&raft.log), "1 1 1 1");
    ck_assert_uint_eq(raft.log.durable_index, 4);
    release();
}
END_TEST

START_TEST(append_entries__overlap_appends_only_what_is_new)
{
    raft_of(&raft, 3, 1, "1 1");
    struct append_reply reply =
        append_to(&raft, append_of(2, 1, (struct entry_id){0, 0}, "1 1 1 1", 0));
    ck_assert_uint_eq(reply.match_index, 4);
    ck_assert_str_eq(terms_of(&raft.log), "1 1 1 1");
    ck_assert_uint_eq(raft.log.durable_index, 2);
    ck_assert_uint_eq(raft.log.unsaved_index, 3);
    release();
}
END_TEST

START_TEST(append_entries__a_conflict_with_a_committed_entry_is_a_bug_and_changes_nothing)
{
    raft_of(&raft, 3, 1, "1 2 2");
    raft.commit_index = 2;
    adopt_term(&raft, 3);
    struct message message = append_of(2, 3, (struct entry_id){1, 1}, "3", 0);
    struct message reply;
    const char *why = "";
    ck_assert(!append_entries(&raft, &message, UINT64_MAX, T_MS, &reply, &why));
    ck_assert_ptr_nonnull(strstr(why, "committed"));
    ck_assert_str_eq(terms_of(&raft.log), "1 2 2");
    message_release(&message);
    release();
}
END_TEST

START_TEST(append_entries__a_second_leader_of_the_term_is_a_bug)
{
    raft_of(&raft, 3, 1, "1");
    (void)append_to(&raft, append_of(2, 1, (struct entry_id){1, 1}, "", 0));
    struct message message = append_of(3, 1, (struct entry_id){1, 1}, "", 0);
    struct message reply;
    const char *why = "";
    ck_assert(!append_entries(&raft, &message, UINT64_MAX, T_MS, &reply, &why));
    ck_assert_uint_eq(raft.leader, 2);
    release();
}
END_TEST

/* ---- [AppendEntries 4, §5.3] ---- */

START_TEST(append_entries__appends_behind_prev)
{
    raft_of(&raft, 3, 1, "1");
    struct append_reply reply =
        append_to(&raft, append_of(2, 2, (struct entry_id){1, 1}, "1 2 2", 0));
    ck_assert_int_eq(reply.result, APPEND_ACCEPTED);
    ck_assert_uint_eq(reply.match_index, 4);
    ck_assert_str_eq(terms_of(&raft.log), "1 1 2 2");
    ck_assert_uint_eq(raft.log.durable_index, 1);
    release();
}
END_TEST

START_TEST(append_entries__says_that_the_disk_is_full)
{
    raft_of(&raft, 3, 1, "1");
    struct message message = append_of(2, 1, (struct entry_id){1, 1}, "", 0);
    struct message reply;
    const char *why = "";
    ck_assert(append_entries(&raft, &message, MIB, T_MS, &reply, &why));
    ck_assert(!reply.as.append_reply.full);
    raft.room_bytes_min = 2;
    raft.room_bytes = 1;
    ck_assert(append_entries(&raft, &message, MIB, T_MS, &reply, &why));
    ck_assert(reply.as.append_reply.full);
    ck_assert_int_eq(reply.as.append_reply.result, APPEND_ACCEPTED);
    release();
}
END_TEST

START_TEST(append_entries__no_room_is_no_conflict_and_changes_nothing)
{
    raft_of(&raft, 3, 1, "1");
    struct message message = append_of(2, 1, (struct entry_id){1, 1}, "1 1", 2);
    u64 need = message_payload_size(&message);
    struct message reply;
    const char *why = "";
    ck_assert(append_entries(&raft, &message, need - 1, T_MS, &reply, &why));
    ck_assert_int_eq(reply.as.append_reply.result, APPEND_REFUSED_SPACE);
    ck_assert_str_eq(terms_of(&raft.log), "1");
    ck_assert_uint_eq(raft.commit_index, 0);
    ck_assert(append_entries(&raft, &message, need, T_MS, &reply, &why));
    ck_assert_int_eq(reply.as.append_reply.result, APPEND_ACCEPTED);
    message_release(&message);
    release();
}
END_TEST

START_TEST(append_entries__known_entries_need_no_room)
{
    raft_of(&raft, 3, 1, "1 1");
    struct message message = append_of(2, 1, (struct entry_id){1, 1}, "1", 0);
    struct message reply;
    const char *why = "";
    ck_assert(append_entries(&raft, &message, 0, T_MS, &reply, &why));
    ck_assert_int_eq(reply.as.append_reply.result, APPEND_ACCEPTED);
    message_release(&message);
    release();
}
END_TEST

/* ---- [AppendEntries 5, §5.3] ---- */

START_TEST(append_entries__commit_follows_the_leader)
{
    raft_of(&raft, 3, 1, "1");
    (void)append_to(&raft, append_of(2, 1, (struct entry_id){1, 1}, "1 1", 2));
    ck_assert_uint_eq(raft.commit_index, 2);
    release();
}
END_TEST

START_TEST(append_entries__commit_stops_at_the_verified_prefix)
{
    /* Entries 3 and 4 are a former leader's: a heartbeat that stands on entry 2 says nothing about
     * them, whatever the leader has committed. */
    raft_of(&raft, 3, 1, "1 1 2 2");
    (void)append_to(&raft, append_of(2, 3, (struct entry_id){1, 2}, "", 4));
    ck_assert_uint_eq(raft.commit_index, 2);
    release();
}
END_TEST

START_TEST(append_entries__commit_never_falls)
{
    raft_of(&raft, 3, 1, "1 1 1");
    raft.commit_index = 3;
    (void)append_to(&raft, append_of(2, 1, (struct entry_id){1, 3}, "", 1));
    ck_assert_uint_eq(raft.commit_index, 3);
    release();
}
END_TEST

/* ---- Figure 7: a leader of term 8 brings each of the six followers into line ---- */

static void bring_into_line(const char *follower_terms)
{
    static const char leader_terms[] = "1 1 1 4 4 5 5 6 6 6 8";
    struct raft leader;
    raft_of(&leader, 2, 2, leader_terms);
    raft_of(&raft, 2, 1, follower_terms);
    if (raft.current_term < 8)
        adopt_term(&raft, 8);
    struct leadership leadership;
    leadership_begin(&leader, &leadership, T_MS, 0);
    struct progress *progress = leadership_peer(&leadership, 1);
    u32 messages = 0;
    while (progress->match_index < leader.log.last_index) {
        struct message message;
        leadership_begin_round(&leader, &leadership);
        ck_assert_int_eq(replicate(&leader, &leadership, progress, T_MS, &message), REPLICATE_SEND);
        struct message reply = {.kind = MESSAGE_APPEND_ENTRIES_REPLY,
                                .from = 1,
                                .term = message.term,
                                .call = message.call};
        reply.as.append_reply = append_to(&raft, message);
        replicate_reply(&leader, progress, &reply, T_MS);
        ck_assert_uint_le(++messages, 8);
    }
    ck_assert_str_eq(terms_of(&raft.log), "1 1 1 4 4 5 5 6 6 6 8 8");
    raft_deinit(&leader);
    release();
}

START_TEST(append_entries__figure_7)
{
    bring_into_line("1 1 1 4 4 5 5 6 6");       /* (a) */
    bring_into_line("1 1 1 4");                 /* (b) */
    bring_into_line("1 1 1 4 4 5 5 6 6 6 6");   /* (c) */
    bring_into_line("1 1 1 4 4 5 5 6 6 6 7 7"); /* (d) */
    bring_into_line("1 1 1 4 4 4 4");           /* (e) */
    bring_into_line("1 1 1 2 2 2 3 3 3 3 3");   /* (f) */
}
END_TEST

UNIT_MAIN("append", append_entries__older_term_is_refused,
          append_entries__missing_prev_is_a_conflict_at_the_end,
          append_entries__other_term_at_prev_names_that_term_and_its_first_index,
          append_entries__a_conflict_still_recognises_the_leader,
          append_entries__conflict_truncates_from_there,
          append_entries__entries_that_match_are_left_alone,
          append_entries__overlap_appends_only_what_is_new,
          append_entries__a_conflict_with_a_committed_entry_is_a_bug_and_changes_nothing,
          append_entries__a_second_leader_of_the_term_is_a_bug, append_entries__appends_behind_prev,
          append_entries__says_that_the_disk_is_full,
          append_entries__no_room_is_no_conflict_and_changes_nothing,
          append_entries__known_entries_need_no_room, append_entries__commit_follows_the_leader,
          append_entries__commit_stops_at_the_verified_prefix, append_entries__commit_never_falls,
          append_entries__figure_7)
