/* check_replication.c - the leader's end of AppendEntries. The follower's is in check_append.c, and
 * both together in check_log_matching.c. */
#include "test/unit/leader_unit.h"

/* ---- [Leaders 1, §8] and "Volatile state on leaders" ---- */

START_TEST(leadership_begin__next_index_behind_the_log_and_match_index_0)
{
    lead(3, "1 1 2", 4);
    for (server_id id = 2; id <= 3; id++) {
        ck_assert_int_eq(peer(id)->mode, PROGRESS_PROBE);
        ck_assert_uint_eq(peer(id)->next_index, 4);
        ck_assert_uint_eq(peer(id)->match_index, 0);
        ck_assert_uint_eq(peer(id)->contact_ns, T_BEGIN);
        ck_assert_uint_eq(peer(id)->flight_count, 0);
    }
    ck_assert_uint_eq(raft.leader, 1);
    ck_assert_uint_eq(leadership.round, 0);
    ck_assert(!leadership.round_due);
    ck_assert_ptr_null(leadership_peer(&leadership, 9));
    release();
}
END_TEST

START_TEST(leadership_begin__appends_a_no_op_of_its_term)
{
    lead(3, "1 1 2", 4);
    ck_assert_str_eq(terms_of(&raft.log), "1 1 2 4");
    struct entry no_op = log_entry(&raft.log, 4);
    ck_assert_int_eq(no_op.type, ENTRY_NOOP);
    ck_assert_uint_eq(no_op.payload_size, 0);
    ck_assert_uint_eq(no_op.time_ns, 77);
    ck_assert_uint_eq(leadership.first_index, 4);
    /* It is not durable, and nothing is committed. */
    ck_assert_uint_eq(raft.log.durable_index, 3);
    ck_assert_uint_eq(raft.commit_index, 0);
    release();
}
END_TEST

START_TEST(leadership_begin__without_a_no_op_when_told_so)
{
    raft_of(&raft, 3, 1, "1 1 2");
    raft.no_op_at_start = false;
    adopt_term(&raft, 4);
    leadership_begin(&raft, &leadership, T_BEGIN, 77);
    ck_assert_str_eq(terms_of(&raft.log), "1 1 2");
    ck_assert_uint_eq(leadership.first_index, 4);
    ck_assert_uint_eq(leadership.uncommitted_bytes, 3 * COMMAND_BYTES);
    release();
}
END_TEST

START_TEST(leadership_begin__counts_what_is_not_committed)
{
    raft_of(&raft, 3, 1, "1 1 2");
    raft.commit_index = 2;
    adopt_term(&raft, 4);
    leadership_begin(&raft, &leadership, T_BEGIN, 77);
    ck_assert_uint_eq(leadership.uncommitted_bytes, COMMAND_BYTES + RECORD_HEADER_SIZE);
    release();
}
END_TEST

/* ---- [Leaders 2, §5.3] ---- */

START_TEST(leadership_append__in_the_current_term_behind_the_last)
{
    lead(3, "1", 4);
    ck_assert_uint_eq(leadership_append(&raft, &leadership, (const u8 *)"set a", 5, 80), 3);
    ck_assert_str_eq(terms_of(&raft.log), "1 4 4");
    struct entry entry = log_entry(&raft.log, 3);
    ck_assert_int_eq(entry.type, ENTRY_COMMAND);
    ck_assert_mem_eq(entry.payload, "set a", 5);
    ck_assert_uint_eq(raft.log.unsaved_index, 2);
    ck_assert_uint_eq(leadership.uncommitted_bytes, log_bytes(&raft.log, 1, 3));
    release();
}
END_TEST

START_TEST(leadership_has_room__exactly_and_one_over)
{
    lead(3, "1", 4);
    u64 used = leadership.uncommitted_bytes;
    raft.uncommitted_bytes_max = used + 100;
    ck_assert(leadership_has_room(&raft, &leadership, 100));
    ck_assert(!leadership_has_room(&raft, &leadership, 101));
    /* An empty tail takes any one: else a large command could never be taken. */
    leadership.uncommitted_bytes = 0;
    ck_assert(leadership_has_room(&raft, &leadership, 1000000));
    release();
}
END_TEST

/* ---- PROBE: [Leaders 1, §5.2] ---- */

START_TEST(replicate__says_at_once_that_it_leads)
{
    lead(3, "1 1", 2);
    struct message message = sent_to(2, T_BEGIN);
    ck_assert_uint_eq(message.as.append_request.prev.index, 2);
    ck_assert_uint_eq(message.as.append_request.prev.term, 1);
    /* With the no-op: a peer that agrees needs no second message. */
    ck_assert_uint_eq(message.as.append_request.count, 1);
    ck_assert_uint_eq(peer(2)->sent_ns, T_BEGIN);
    release();
}
END_TEST

START_TEST(replicate__probes_one_at_a_time_and_again_each_heartbeat)
{
    lead(3, "1 1", 2);
    struct message first = sent_to(2, T_BEGIN);
    append_commands(3);
    nothing_to(2, T_BEGIN);
    nothing_to(2, T_BEGIN + 50 * T_MS - 1);
    struct message again = sent_to(2, T_BEGIN + 50 * T_MS);
    ck_assert_uint_gt(again.call, first.call);
    ck_assert_uint_eq(again.as.append_request.prev.index, 2);
    /* Only that the first may have been lost is known, not that it was: no records again. */
    ck_assert_uint_eq(again.as.append_request.count, 0);
    nothing_to(2, T_BEGIN + 50 * T_MS);
    release();
}
END_TEST

START_TEST(replicate_reply__acceptance_opens_the_pipeline)
{
    lead(3, "1 1", 2);
    struct message message = sent_to(2, T_BEGIN);
    accepts(&message, T_BEGIN + T_MS);
    ck_assert_int_eq(peer(2)->mode, PROGRESS_PIPELINE);
    ck_assert_uint_eq(peer(2)->match_index, 3);
    ck_assert_uint_eq(peer(2)->next_index, 4);
    ck_assert_uint_eq(peer(2)->contact_ns, T_BEGIN + T_MS);
    nothing_to(2, T_BEGIN + T_MS);
    release();
}
END_TEST

/* ---- PIPELINE: [Leaders 3, §5.3] ---- */

START_TEST(replicate__pipelines_without_waiting)
{
    lead(3, "1", 2);
    catch_up(2);
    for (u64 index = 3; index < 8; index++) {
        append_commands(1);
        struct message message = sent_to(2, T_BEGIN);
        ck_assert_uint_eq(message.as.append_request.prev.index, index - 1);
        ck_assert_uint_eq(message.as.append_request.count, 1);
        ck_assert_uint_eq(peer(2)->next_index, index + 1);
        nothing_to(2, T_BEGIN);
    }
    ck_assert_uint_eq(peer(2)->match_index, 2);
    ck_assert_uint_eq(peer(2)->flight_count, 5);
    ck_assert_uint_eq(peer(2)->flight_bytes, 5 * COMMAND_BYTES);
    release();
}
END_TEST

START_TEST(replicate__one_message_holds_message_bytes_max)
{
    lead(3, "1", 2);
    catch_up(2);
    raft.message_bytes_max = 3 * COMMAND_BYTES;
    append_commands(7);
    ck_assert_uint_eq(sent_to(2, T_BEGIN).as.append_request.count, 3);
    raft.message_bytes_max = 3 * COMMAND_BYTES - 1;
    ck_assert_uint_eq(sent_to(2, T_BEGIN).as.append_request.count, 2);
    raft.message_bytes_max = 1; /* at least one entry, or nothing would ever move */
    ck_assert_uint_eq(sent_to(2, T_BEGIN).as.append_request.count, 1);
    release();
}
END_TEST

START_TEST(replicate__window_in_bytes_exactly_and_one_less)
{
    lead(3, "1", 2);
    catch_up(2);
    raft.message_bytes_max = COMMAND_BYTES;
    raft.window_bytes_max = 2 * COMMAND_BYTES;
    append_commands(9);
    (void)sent_to(2, T_BEGIN);
    struct message second = sent_to(2, T_BEGIN);
    nothing_to(2, T_BEGIN);
    /* One byte is left: the window is open. */
    raft.window_bytes_max = 2 * COMMAND_BYTES + 1;
    (void)sent_to(2, T_BEGIN);
    nothing_to(2, T_BEGIN);
    accepts(&second, T_BEGIN);
    ck_assert_uint_eq(peer(2)->flight_bytes, COMMAND_BYTES);
    (void)sent_to(2, T_BEGIN);
    (void)sent_to(2, T_BEGIN);
    nothing_to(2, T_BEGIN);
    release();
}
END_TEST

START_TEST(replicate__window_in_messages_exactly_and_one_over)
{
    lead(3, "1", 2);
    catch_up(2);
    raft.message_bytes_max = 1;
    append_commands(IN_FLIGHT_MAX + 9);
    struct message first = sent_to(2, T_BEGIN);
    for (u32 i = 1; i < IN_FLIGHT_MAX; i++)
        (void)sent_to(2, T_BEGIN);
    ck_assert_uint_eq(peer(2)->flight_count, IN_FLIGHT_MAX);
    nothing_to(2, T_BEGIN);
    accepts(&first, T_BEGIN);
    (void)sent_to(2, T_BEGIN);
    nothing_to(2, T_BEGIN);
    release();
}
END_TEST

START_TEST(replicate_reply__one_acceptance_covers_what_went_before)
{
    lead(3, "1", 2);
    catch_up(2);
    raft.message_bytes_max = 1;
    append_commands(4);
    struct message messages[4];
    for (u32 i = 0; i < 4; i++)
        messages[i] = sent_to(2, T_BEGIN);
    accepts(&messages[2], T_BEGIN);
    ck_assert_uint_eq(peer(2)->match_index, 5);
    ck_assert_uint_eq(peer(2)->flight_count, 1);
    /* The others come late: nothing falls. */
    accepts(&messages[0], T_BEGIN);
    ck_assert_uint_eq(peer(2)->match_index, 5);
    ck_assert_uint_eq(peer(2)->next_index, 7);
    ck_assert_uint_eq(peer(2)->flight_count, 1);
    accepts(&messages[3], T_BEGIN);
    ck_assert_uint_eq(peer(2)->flight_count, 0);
    ck_assert_uint_eq(peer(2)->flight_bytes, 0);
    release();
}
END_TEST

START_TEST(replicate__heartbeat_when_nothing_was_sent_for_so_long)
{
    lead(3, "1", 2);
    catch_up(2);
    append_commands(1);
    (void)sent_to(2, T_BEGIN + 10 * T_MS);
    nothing_to(2, T_BEGIN + 60 * T_MS - 1);
    struct message heartbeat = sent_to(2, T_BEGIN + 60 * T_MS);
    ck_assert_uint_eq(heartbeat.as.append_request.count, 0);
    /* It stands on what was sent, so a peer that lost that says so. */
    ck_assert_uint_eq(heartbeat.as.append_request.prev.index, 3);
    nothing_to(2, T_BEGIN + 60 * T_MS);
    ck_assert_uint_eq(peer(2)->flight_count, 1);
    release();
}
END_TEST

START_TEST(replicate__heartbeat_brings_entries_along)
{
    lead(3, "1", 2);
    catch_up(2);
    append_commands(1);
    ck_assert_uint_eq(sent_to(2, T_BEGIN + 50 * T_MS).as.append_request.count, 1);
    nothing_to(2, T_BEGIN + 50 * T_MS);
    release();
}
END_TEST

/* ---- rounds ---- */

START_TEST(leadership_begin_round__once_however_many_reads)
{
    lead(3, "1", 2);
    catch_up(2);
    leadership_begin_round(&raft, &leadership);
    ck_assert_uint_eq(leadership.round, 0);
    nothing_to(2, T_BEGIN);
    u64 wanted = reads_begin(&leadership);
    ck_assert_uint_eq(reads_begin(&leadership), wanted);
    leadership_begin_round(&raft, &leadership);
    leadership_begin_round(&raft, &leadership);
    ck_assert_uint_eq(leadership.round, wanted);
    struct message message = sent_to(2, T_BEGIN);
    ck_assert_uint_eq(message.as.append_request.round, wanted);
    ck_assert_uint_eq(message.as.append_request.count, 0);
    nothing_to(2, T_BEGIN);
    ck_assert_uint_eq(peer(2)->round_acked, 0);
    accepts(&message, T_BEGIN);
    ck_assert_uint_eq(peer(2)->round_acked, wanted);
    release();
}
END_TEST

START_TEST(leadership_begin_round__waits_for_the_one_that_is_going_on)
{
    lead(3, "1", 2);
    catch_up(2);
    (void)reads_begin(&leadership);
    leadership_begin_round(&raft, &leadership);
    struct message first = sent_to(2, T_BEGIN);
    u64 wanted = reads_begin(&leadership);
    ck_assert_uint_eq(wanted, 2);
    leadership_begin_round(&raft, &leadership);
    ck_assert_uint_eq(leadership.round, 1);
    nothing_to(2, T_BEGIN);
    /* Its message was lost: the heartbeat carries the round again. */
    struct message again = sent_to(2, T_BEGIN + 50 * T_MS);
    ck_assert_uint_eq(again.as.append_request.round, 1);
    accepts(&again, T_BEGIN + 50 * T_MS);
    leadership_begin_round(&raft, &leadership);
    ck_assert_uint_eq(leadership.round, wanted);
    ck_assert_uint_eq(sent_to(2, T_BEGIN + 50 * T_MS).as.append_request.round, wanted);
    /* An answer to an older one does not confirm it. */
    accepts(&first, T_BEGIN + 50 * T_MS);
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), 1);
    release();
}
END_TEST

START_TEST(replicate__entries_serve_as_a_round)
{
    lead(3, "1", 2);
    catch_up(2);
    append_commands(1);
    u64 wanted = reads_begin(&leadership);
    leadership_begin_round(&raft, &leadership);
    struct message message = sent_to(2, T_BEGIN);
    ck_assert_uint_eq(message.as.append_request.round, wanted);
    ck_assert_uint_eq(message.as.append_request.count, 1);
    nothing_to(2, T_BEGIN);
    release();
}
END_TEST

START_TEST(replicate__a_round_goes_to_a_peer_that_is_probed)
{
    lead(3, "1", 2);
    (void)sent_to(3, T_BEGIN);
    (void)reads_begin(&leadership);
    leadership_begin_round(&raft, &leadership);
    struct message message = sent_to(3, T_BEGIN);
    ck_assert_uint_eq(message.as.append_request.round, 1);
    nothing_to(3, T_BEGIN);
    /* Whoever refuses for its log's sake still follows this leader. */
    refuses(&message, (struct entry_id){0, 1}, T_BEGIN);
    ck_assert_uint_eq(peer(3)->round_acked, 1);
    release();
}
END_TEST

/* ---- refusals: [Leaders 3, §5.3] ---- */

START_TEST(replicate_reply__a_shorter_log_is_met_at_its_end)
{
    lead(3, "1 1 1 1 1", 2);
    struct message message = sent_to(2, T_BEGIN);
    refuses(&message, (struct entry_id){0, 3}, T_BEGIN + T_MS);
    ck_assert_uint_eq(peer(2)->next_index, 3);
    ck_assert_uint_eq(peer(2)->match_index, 0);
    ck_assert_uint_eq(peer(2)->contact_ns, T_BEGIN + T_MS);
    message = sent_to(2, T_BEGIN + T_MS);
    ck_assert_uint_eq(message.as.append_request.prev.index, 2);
    ck_assert_uint_eq(message.as.append_request.count, 4);
    release();
}
END_TEST

START_TEST(replicate_reply__a_term_we_have_too_is_met_at_its_last_entry)
{
    lead(3, "1 2 2 2 3 3", 4);
    struct message message = sent_to(2, T_BEGIN);
    refuses(&message, (struct entry_id){2, 2}, T_BEGIN);
    ck_assert_uint_eq(peer(2)->next_index, 5); /* stands on entry 4, our last of term 2 */
    release();
}
END_TEST

START_TEST(replicate_reply__a_term_we_lack_is_skipped_whole)
{
    lead(3, "1 1 1 4 4 4", 5);
    struct message message = sent_to(2, T_BEGIN);
    /* Its term 3 began at 2; entries 2 and 3 of ours are of term 1. */
    refuses(&message, (struct entry_id){3, 2}, T_BEGIN);
    ck_assert_uint_eq(peer(2)->next_index, 2);
    release();
    lead(3, "1 1 1 4 4 4", 5);
    message = sent_to(2, T_BEGIN);
    /* Its term 3 began at 6: we can stand no later than on our last entry before term 3. */
    refuses(&message, (struct entry_id){3, 6}, T_BEGIN);
    ck_assert_uint_eq(peer(2)->next_index, 4);
    release();
}
END_TEST

START_TEST(replicate_reply__each_refusal_moves_back)
{
    lead(3, "1 1 1 1", 2);
    u64 next_index = peer(2)->next_index;
    for (u64 now_ns = T_BEGIN; next_index > 2; now_ns += T_MS) {
        struct message message = sent_to(2, now_ns);
        /* A hint that leads nowhere, as only a bug would send it. */
        refuses(&message, (struct entry_id){0, 1000}, now_ns);
        ck_assert_uint_eq(peer(2)->next_index, next_index - 1);
        next_index--;
    }
    release();
}
END_TEST

START_TEST(replicate_reply__a_refusal_never_moves_match_index)
{
    lead(3, "1 1 1", 2);
    catch_up(2);
    append_commands(1);
    struct message message = sent_to(2, T_BEGIN);
    refuses(&message, (struct entry_id){1, 1}, T_BEGIN);
    ck_assert_uint_eq(peer(2)->match_index, 4);
    ck_assert_uint_ge(peer(2)->next_index, 5);
    release();
}
END_TEST

START_TEST(replicate_reply__refusals_from_before_the_turn_are_stale)
{
    lead(3, "1 1 1 1 1 1", 2);
    catch_up(2);
    raft.message_bytes_max = 1;
    append_commands(3);
    struct message lost[3];
    for (u32 i = 0; i < 3; i++)
        lost[i] = sent_to(2, T_BEGIN);
    /* The first was lost on its way; so the others are refused, one by one. */
    refuses(&lost[1], (struct entry_id){0, 8}, T_BEGIN);
    ck_assert_int_eq(peer(2)->mode, PROGRESS_PROBE);
    ck_assert_uint_eq(peer(2)->next_index, 8);
    struct message probe = sent_to(2, T_BEGIN);
    refuses(&lost[2], (struct entry_id){0, 8}, T_BEGIN + 3 * T_MS);
    ck_assert_uint_eq(peer(2)->contact_ns, T_BEGIN + 3 * T_MS);
    nothing_to(2, T_BEGIN); /* it did not begin again */
    accepts(&probe, T_BEGIN);
    refuses(&lost[1], (struct entry_id){0, 8}, T_BEGIN);
    ck_assert_int_eq(peer(2)->mode, PROGRESS_PIPELINE);
    ck_assert(!peer(2)->lost_acked);
    release();
}
END_TEST

START_TEST(replicate_reply__acceptance_beyond_our_log_is_no_acceptance)
{
    lead(3, "1", 2);
    struct message message = sent_to(2, T_BEGIN);
    struct message reply = reply_to(&message, APPEND_ACCEPTED);
    reply.as.append_reply.match_index = raft.log.last_index + 1;
    replicate_reply(&raft, peer(2), &reply, T_BEGIN);
    ck_assert_uint_eq(peer(2)->match_index, 0);
    reply.as.append_reply.match_index = raft.log.last_index;
    replicate_reply(&raft, peer(2), &reply, T_BEGIN);
    ck_assert_uint_eq(peer(2)->match_index, 2);
    release();
}
END_TEST

START_TEST(replicate_reply__a_refused_term_moves_nothing)
{
    lead(3, "1", 2);
    catch_up(2);
    struct progress before = *peer(2);
    struct message message = {.call = raft.next_call, .to = 2};
    struct message reply = reply_to(&message, APPEND_REFUSED_TERM);
    replicate_reply(&raft, peer(2), &reply, T_BEGIN);
    ck_assert_mem_eq(peer(2), &before, sizeof(before));
    release();
}
END_TEST

UNIT_MAIN(
    "replication", leadership_begin__next_index_behind_the_log_and_match_index_0,
    leadership_begin__appends_a_no_op_of_its_term, leadership_begin__without_a_no_op_when_told_so,
    leadership_begin__counts_what_is_not_committed,
    leadership_append__in_the_current_term_behind_the_last,
    leadership_has_room__exactly_and_one_over, replicate__says_at_once_that_it_leads,
    replicate__probes_one_at_a_time_and_again_each_heartbeat,
    replicate_reply__acceptance_opens_the_pipeline, replicate__pipelines_without_waiting,
    replicate__one_message_holds_message_bytes_max, replicate__window_in_bytes_exactly_and_one_less,
    replicate__window_in_messages_exactly_and_one_over,
    replicate_reply__one_acceptance_covers_what_went_before,
    replicate__heartbeat_when_nothing_was_sent_for_so_long,
    replicate__heartbeat_brings_entries_along, leadership_begin_round__once_however_many_reads,
    leadership_begin_round__waits_for_the_one_that_is_going_on, replicate__entries_serve_as_a_round,
    replicate__a_round_goes_to_a_peer_that_is_probed,
    replicate_reply__a_shorter_log_is_met_at_its_end,
    replicate_reply__a_term_we_have_too_is_met_at_its_last_entry,
    replicate_reply__a_term_we_lack_is_skipped_whole, replicate_reply__each_refusal_moves_back,
    replicate_reply__a_refusal_never_moves_match_index,
    replicate_reply__refusals_from_before_the_turn_are_stale,
    replicate_reply__acceptance_beyond_our_log_is_no_acceptance,
    replicate_reply__a_refused_term_moves_nothing)
