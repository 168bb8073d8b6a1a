/* check_replication_trouble.c - the leader's end of AppendEntries when a peer's disk is full, its
 * data were set back, its entries must come from disk, its connection ended, or a quorum is gone.
 */
#include "test/unit/leader_unit.h"

/* ---- a full disk ---- */

START_TEST(no_space__one_message_with_entries_until_it_accepts)
{
    lead(3, "1", 2);
    catch_up(2);
    raft.message_bytes_max = COMMAND_BYTES;
    append_commands(5);
    struct message message = sent_to(2, T_BEGIN);
    has_no_space(&message, T_BEGIN);
    ck_assert(peer(2)->no_space);
    ck_assert_uint_eq(peer(2)->match_index, 2);
    /* It would refuse whatever comes; and it is no log conflict. */
    ck_assert_uint_eq(peer(2)->next_index, 3);
    nothing_to(2, T_BEGIN);
    u32 with_entries = 0;
    u64 now_ns = T_BEGIN;
    for (u32 beat = 0; beat < 10; beat++) {
        now_ns += 50 * T_MS;
        message = sent_to(2, now_ns);
        nothing_to(2, now_ns);
        if (message.as.append_request.count > 0) {
            with_entries++;
            has_no_space(&message, now_ns);
        } else {
            accepts(&message, now_ns);
        }
        nothing_to(2, now_ns); /* never more than one a heartbeat */
    }
    ck_assert_uint_ge(with_entries, 3);
    release();
}
END_TEST

START_TEST(no_space__ends_when_new_entries_are_accepted)
{
    lead(3, "1", 2);
    catch_up(2);
    raft.message_bytes_max = COMMAND_BYTES;
    append_commands(5);
    struct message message = sent_to(2, T_BEGIN);
    has_no_space(&message, T_BEGIN);
    u64 now_ns = T_BEGIN;
    do {
        now_ns += 50 * T_MS;
        message = sent_to(2, now_ns);
        accepts(&message, now_ns);
    } while (message.as.append_request.count == 0);
    ck_assert(!peer(2)->no_space);
    (void)sent_to(2, now_ns);
    (void)sent_to(2, now_ns);
    release();
}
END_TEST

START_TEST(no_space__of_a_call_from_before_the_turn_is_stale)
{
    lead(3, "1", 2);
    catch_up(2);
    append_commands(1);
    struct message message = sent_to(2, T_BEGIN);
    replicate_connected(&raft, peer(2));
    has_no_space(&message, T_BEGIN);
    ck_assert(!peer(2)->no_space);
    release();
}
END_TEST

/* ---- data that were set back ---- */

START_TEST(set_back__lacks_what_it_acknowledged)
{
    lead(3, "1 1 1", 2);
    catch_up(2);
    /* It starts again, from an older copy of its directory. */
    replicate_connected(&raft, peer(2));
    struct message probe = sent_to(2, T_BEGIN);
    ck_assert_uint_eq(probe.as.append_request.prev.index, 4);
    refuses(&probe, (struct entry_id){0, 2}, T_BEGIN);
    ck_assert(peer(2)->lost_acked);
    ck_assert_uint_eq(peer(2)->match_index, 4);
    append_commands(1);
    nothing_to(2, T_BEGIN);
    struct message heartbeat = sent_to(2, T_BEGIN + 50 * T_MS);
    ck_assert_uint_eq(heartbeat.as.append_request.count, 0);
    refuses(&heartbeat, (struct entry_id){0, 2}, T_BEGIN + 50 * T_MS);
    nothing_to(2, T_BEGIN + 50 * T_MS);
    ck_assert(peer(2)->lost_acked);
    release();
}
END_TEST

START_TEST(set_back__another_term_where_it_had_acknowledged)
{
    lead(3, "1 1 1", 4);
    catch_up(2);
    replicate_connected(&raft, peer(2));
    struct message probe = sent_to(2, T_BEGIN);
    refuses(&probe, (struct entry_id){3, 3}, T_BEGIN);
    ck_assert(peer(2)->lost_acked);
    /* It must not be asked again and again as fast as it answers. */
    nothing_to(2, T_BEGIN);
    release();
}
END_TEST

START_TEST(set_back__not_by_messages_that_overtook_one_another)
{
    lead(3, "1 1 1", 2);
    catch_up(2);
    raft.message_bytes_max = 1;
    append_commands(2);
    struct message first = sent_to(2, T_BEGIN);
    struct message second = sent_to(2, T_BEGIN);
    /* The second came first and was refused; but the answer to the first came first. */
    accepts(&first, T_BEGIN);
    refuses(&second, (struct entry_id){0, 5}, T_BEGIN);
    ck_assert(!peer(2)->lost_acked);
    struct message probe = sent_to(2, T_BEGIN);
    ck_assert_uint_eq(probe.as.append_request.prev.index, 5);
    ck_assert_uint_eq(probe.as.append_request.count, 1);
    release();
}
END_TEST

START_TEST(set_back__ends_with_a_new_connection)
{
    lead(3, "1 1 1", 2);
    catch_up(2);
    replicate_connected(&raft, peer(2));
    struct message probe = sent_to(2, T_BEGIN);
    refuses(&probe, (struct entry_id){0, 2}, T_BEGIN);
    replicate_connected(&raft, peer(2));
    probe = sent_to(2, T_BEGIN);
    accepts(&probe, T_BEGIN);
    ck_assert(!peer(2)->lost_acked);
    append_commands(1);
    ck_assert_uint_eq(sent_to(2, T_BEGIN).as.append_request.count, 1);
    release();
}
END_TEST

/* ---- entries that are not in memory ---- */

/* A leader of term 2 whose entries up to `through` are on disk only, with a peer 2 that holds the
 * first entry and no more. */
static void lead_with_old_entries(u64 through)
{
    lead(3, "1 1 1 1 1 1", 2);
    struct message message = sent_to(2, T_BEGIN);
    refuses(&message, (struct entry_id){0, 2}, T_BEGIN);
    raft.log.memory_bytes_max = 0;
    log_evict(&raft.log, through);
    struct message probe;
    ck_assert_int_eq(replicate(&raft, &leadership, peer(2), T_BEGIN, &probe), REPLICATE_SEND);
    ck_assert_uint_eq(probe.as.append_request.count, 0); /* what is not in memory stays away */
    accepts(&probe, T_BEGIN);
    ck_assert_uint_eq(peer(2)->next_index, 2);
}

static enum replicate_verdict verdict_for(server_id id, u64 now_ns)
{
    struct message message;
    enum replicate_verdict verdict = replicate(&raft, &leadership, peer(id), now_ns, &message);
    if (verdict == REPLICATE_SEND) {
        ck_assert_uint_eq(message.as.append_request.count, 0);
        message_release(&message);
    }
    return verdict;
}

static struct span some_records(u32 count)
{
    struct block *block = block_create(count * COMMAND_BYTES);
    struct span span = span_of(block, block->data, block->size);
    block_release(block);
    return span;
}

START_TEST(replicate__asks_the_disk_once_and_beats_on)
{
    lead_with_old_entries(4);
    ck_assert_int_eq(verdict_for(2, T_BEGIN), REPLICATE_READ);
    ck_assert_uint_ne(peer(2)->reading, 0);
    ck_assert_int_eq(verdict_for(2, T_BEGIN), REPLICATE_NOTHING);
    ck_assert_int_eq(verdict_for(2, T_BEGIN + 50 * T_MS), REPLICATE_SEND);
    ck_assert_int_eq(verdict_for(2, T_BEGIN + 50 * T_MS), REPLICATE_NOTHING);
    release();
}
END_TEST

START_TEST(replicate_read_done__sends_what_was_read_and_goes_on)
{
    lead_with_old_entries(4);
    ck_assert_int_eq(verdict_for(2, T_BEGIN), REPLICATE_READ);
    struct span records = some_records(3);
    struct message message;
    ck_assert(replicate_read_done(&raft, &leadership, peer(2), peer(2)->reading, 2, 3, &records,
                                  T_BEGIN, &message));
    ck_assert_uint_eq(message.as.append_request.prev.index, 1);
    ck_assert_uint_eq(message.as.append_request.prev.term, 1);
    ck_assert_uint_eq(message.as.append_request.count, 3);
    ck_assert_uint_eq(message_payload_size(&message), 3 * COMMAND_BYTES);
    ck_assert_uint_eq(records.block->references, 2);
    ck_assert_uint_eq(peer(2)->next_index, 5);
    ck_assert_uint_eq(peer(2)->flight_bytes, 3 * COMMAND_BYTES);
    message_release(&message);
    ck_assert_uint_eq(records.block->references, 1);
    span_release(&records);
    /* The rest is in memory. */
    struct message rest = sent_to(2, T_BEGIN);
    ck_assert_uint_eq(rest.as.append_request.prev.index, 4);
    ck_assert_uint_eq(rest.as.append_request.count, 3);
    release();
}
END_TEST

START_TEST(replicate_read_done__what_cannot_be_read_waits_for_a_heartbeat_or_a_snapshot)
{
    lead_with_old_entries(4);
    ck_assert_int_eq(verdict_for(2, T_BEGIN), REPLICATE_READ);
    struct span none = {0};
    struct message message;
    ck_assert(!replicate_read_done(&raft, &leadership, peer(2), peer(2)->reading, 2, 0, &none,
                                   T_BEGIN, &message));
    ck_assert_uint_eq(peer(2)->reading, 0);
    nothing_to(2, T_BEGIN + 49 * T_MS);
    message = sent_to(2, T_BEGIN + 50 * T_MS);
    ck_assert_uint_eq(message.as.append_request.count, 0);
    accepts(&message, T_BEGIN + 50 * T_MS);
    ck_assert_int_eq(verdict_for(2, T_BEGIN + 50 * T_MS), REPLICATE_READ);
    raft.snapshot = (struct snapshot_name){{1, 2}, 100, 1};
    ck_assert(!replicate_read_done(&raft, &leadership, peer(2), peer(2)->reading, 2, 0, &none,
                                   T_BEGIN, &message));
    ck_assert_int_eq(peer(2)->mode, PROGRESS_SNAPSHOT);
    release();
}
END_TEST

START_TEST(replicate_read_put_off__asks_again_behind_the_next_heartbeat)
{
    lead_with_old_entries(4);
    raft.snapshot = (struct snapshot_name){{1, 2}, 100, 1}; /* is no reason to send it */
    ck_assert_int_eq(verdict_for(2, T_BEGIN), REPLICATE_READ);
    replicate_read_put_off(&raft, peer(2), peer(2)->reading);
    ck_assert_int_eq(peer(2)->mode, PROGRESS_PROBE);
    nothing_to(2, T_BEGIN + 49 * T_MS);
    struct message message = sent_to(2, T_BEGIN + 50 * T_MS);
    ck_assert_uint_eq(message.as.append_request.count, 0);
    accepts(&message, T_BEGIN + 50 * T_MS);
    ck_assert_int_eq(verdict_for(2, T_BEGIN + 50 * T_MS), REPLICATE_READ);
    release();
}
END_TEST

/* A read outlasts its leadership: the same server leads again, and the same peer needs the same
 * index, where another entry stands by now. */
START_TEST(replicate_read_done__of_an_earlier_leadership)
{
    struct message message;
    struct span none = {0};
    struct span records = some_records(1);
    lead_with_old_entries(4);
    ck_assert_int_eq(verdict_for(2, T_BEGIN), REPLICATE_READ);
    u64 order = peer(2)->reading;
    raft.commit_index = raft.log.last_index;
    leadership_begin(&raft, &leadership, T_BEGIN, 0);
    peer(2)->mode = PROGRESS_PIPELINE;
    peer(2)->next_index = 2;
    peer(2)->match_index = 1;
    ck_assert_int_eq(verdict_for(2, T_BEGIN), REPLICATE_READ);
    ck_assert_uint_ne(peer(2)->reading, order);
    ck_assert(!replicate_read_done(&raft, &leadership, peer(2), order, 2, 1, &records, T_BEGIN,
                                   &message));
    /* Nor is one believed that failed, or was put off; the newest is still waited for. */
    ck_assert(
        !replicate_read_done(&raft, &leadership, peer(2), order, 2, 0, &none, T_BEGIN, &message));
    replicate_read_put_off(&raft, peer(2), order);
    ck_assert_int_eq(peer(2)->mode, PROGRESS_PIPELINE);
    ck_assert(replicate_awaits(peer(2), peer(2)->reading));
    span_release(&records);
    release();
}
END_TEST

START_TEST(replicate_read_done__no_longer_wanted)
{
    struct span records = some_records(3);
    struct message message;
    /* Another index is the next one. */
    lead_with_old_entries(4);
    ck_assert_int_eq(verdict_for(2, T_BEGIN), REPLICATE_READ);
    ck_assert(!replicate_read_done(&raft, &leadership, peer(2), peer(2)->reading, 3, 3, &records,
                                   T_BEGIN, &message));
    ck_assert_uint_eq(peer(2)->reading, 0);
    release();
    /* It is probed again. */
    lead_with_old_entries(4);
    ck_assert_int_eq(verdict_for(2, T_BEGIN), REPLICATE_READ);
    replicate_connected(&raft, peer(2));
    ck_assert(!replicate_read_done(&raft, &leadership, peer(2), peer(2)->reading, 2, 3, &records,
                                   T_BEGIN, &message));
    release();
    /* The window was closed meanwhile. */
    lead_with_old_entries(4);
    ck_assert_int_eq(verdict_for(2, T_BEGIN), REPLICATE_READ);
    raft.window_bytes_max = 0;
    ck_assert(!replicate_read_done(&raft, &leadership, peer(2), peer(2)->reading, 2, 3, &records,
                                   T_BEGIN, &message));
    release();
    ck_assert_uint_eq(records.block->references, 1);
    span_release(&records);
}
END_TEST

/* ---- connections ---- */

START_TEST(replicate_connected__goes_back_to_what_is_known)
{
    lead(3, "1", 2);
    catch_up(2);
    append_commands(3);
    struct message lost = sent_to(2, T_BEGIN);
    replicate_connected(&raft, peer(2));
    ck_assert_int_eq(peer(2)->mode, PROGRESS_PROBE);
    ck_assert_uint_eq(peer(2)->next_index, 3);
    ck_assert_uint_eq(peer(2)->flight_bytes, 0);
    /* At once: heartbeats went nowhere before. */
    struct message again = sent_to(2, T_BEGIN);
    ck_assert_uint_eq(again.as.append_request.count, 3);
    refuses(&lost, (struct entry_id){0, 1}, T_BEGIN);
    ck_assert_uint_eq(peer(2)->next_index, 3);
    accepts(&again, T_BEGIN);
    ck_assert_uint_eq(peer(2)->match_index, 5);
    release();
}
END_TEST

START_TEST(replicate_connected__keeps_its_guess_when_nothing_is_known)
{
    lead(3, "1 1 1 1", 2);
    struct message message = sent_to(2, T_BEGIN);
    refuses(&message, (struct entry_id){0, 3}, T_BEGIN);
    replicate_connected(&raft, peer(2));
    ck_assert_uint_eq(peer(2)->next_index, 3);
    release();
}
END_TEST

/* ---- time ---- */

START_TEST(leadership_next_heartbeat_ns__the_earliest_of_the_peers)
{
    lead(3, "1", 2);
    ck_assert_uint_le(leadership_next_heartbeat_ns(&raft, &leadership), T_BEGIN);
    (void)sent_to(2, T_BEGIN + 7 * T_MS);
    (void)sent_to(3, T_BEGIN + 5 * T_MS);
    ck_assert_uint_eq(leadership_next_heartbeat_ns(&raft, &leadership), T_BEGIN + 55 * T_MS);
    (void)sent_to(3, T_BEGIN + 55 * T_MS);
    ck_assert_uint_eq(leadership_next_heartbeat_ns(&raft, &leadership), T_BEGIN + 57 * T_MS);
    release();
    lead(1, "1", 2);
    ck_assert_uint_eq(leadership_next_heartbeat_ns(&raft, &leadership), UINT64_MAX);
    release();
}
END_TEST

static void contact(server_id id, u64 now_ns)
{
    peer(id)->contact_ns = now_ns;
}

START_TEST(leadership_has_quorum__for_an_election_timeout_from_the_start)
{
    lead(3, "1", 2);
    u64 until_ns = T_BEGIN + 150 * T_MS;
    /* It may lead on for a first round trip, however long; but others are not kept from
     * campaigning. */
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), T_BEGIN + 600 * T_MS);
    ck_assert(leadership_has_quorum(&raft, &leadership, until_ns - 1));
    ck_assert(!leadership_has_quorum(&raft, &leadership, until_ns));
    release();
}
END_TEST

START_TEST(leadership_has_quorum__as_long_as_enough_answer)
{
    lead(5, "1", 2);
    contact(2, T_BEGIN + 100 * T_MS);
    /* One of four is not enough, with itself two of five. */
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), T_BEGIN + 600 * T_MS);
    contact(4, T_BEGIN + 60 * T_MS);
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), T_BEGIN + 210 * T_MS);
    contact(5, T_BEGIN + 500 * T_MS);
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), T_BEGIN + 250 * T_MS);
    release();
}
END_TEST

START_TEST(leadership_has_quorum__any_answer_of_this_term_shows_life)
{
    lead(3, "1 1", 2);
    struct message message = sent_to(2, T_BEGIN);
    refuses(&message, (struct entry_id){0, 1}, T_BEGIN + 100 * T_MS);
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), T_BEGIN + 250 * T_MS);
    message = sent_to(2, T_BEGIN + 100 * T_MS);
    has_no_space(&message, T_BEGIN + 110 * T_MS);
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), T_BEGIN + 260 * T_MS);
    release();
}
END_TEST

/* The answer to this heartbeat lay in the mailbox while the leader waited for its disk. */
START_TEST(leadership_note_poll__answers_from_before_a_sleep_are_old)
{
    enum { TRIP = 70 }; /* ms, more than a heartbeat */
    lead(3, "1 1", 2);
    struct message heartbeat = sent_to(2, T_BEGIN - TRIP * T_MS);
    accepts(&heartbeat, T_BEGIN);
    heartbeat = sent_to(2, T_BEGIN);
    struct message reply = reply_to(&heartbeat, APPEND_ACCEPTED);
    u64 woke_ns = T_BEGIN + 150 * T_MS;
    leadership_note_poll(&raft, &leadership, woke_ns);
    ck_assert_uint_eq(leadership_heard_ns(&leadership, &reply, woke_ns), T_BEGIN);
    ck_assert(!leadership_has_quorum(&raft, &leadership, woke_ns));
    /* It asks again, and only that answer counts, for which there must be time. */
    contact(3, T_BEGIN - T_MS);
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership),
                      woke_ns + raft.heartbeat_ns + TRIP * T_MS);
    heartbeat = sent_to(2, woke_ns);
    reply = reply_to(&heartbeat, APPEND_ACCEPTED);
    ck_assert_uint_eq(leadership_heard_ns(&leadership, &reply, woke_ns + T_MS), woke_ns + T_MS);
    accepts(&heartbeat, woke_ns + T_MS);
    ck_assert(leadership_has_quorum(&raft, &leadership, woke_ns + T_MS));
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), woke_ns + 151 * T_MS);
    release();
}
END_TEST

START_TEST(leadership_note_poll__less_than_an_election_timeout_is_no_sleep)
{
    lead(3, "1 1", 2);
    struct message heartbeat = sent_to(2, T_BEGIN);
    struct message reply = reply_to(&heartbeat, APPEND_ACCEPTED);
    for (u64 now_ns = T_BEGIN; now_ns < T_BEGIN + NS_PER_S; now_ns += 149 * T_MS) {
        leadership_note_poll(&raft, &leadership, now_ns);
        ck_assert_uint_eq(leadership_heard_ns(&leadership, &reply, now_ns), now_ns);
    }
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), T_BEGIN + 600 * T_MS);
    release();
}
END_TEST

START_TEST(leadership_trip_ns__as_long_as_a_quorum_takes)
{
    lead(5, "1 1", 2);
    u64 unknown_ns = 2 * raft.election_timeout_ns_max;
    ck_assert_uint_eq(leadership_trip_ns(&raft, &leadership), unknown_ns);
    static const u64 trips[] = {0, 0, 250, 40, 90};
    for (server_id id = 2; id <= 4; id++) {
        struct message heartbeat = sent_to(id, T_BEGIN);
        /* Those behind it are not timed. */
        struct message next = sent_to(id, T_BEGIN + 50 * T_MS);
        accepts(&heartbeat, T_BEGIN + trips[id] * T_MS);
        accepts(&next, T_BEGIN + (50 + trips[id]) * T_MS);
        ck_assert_uint_eq(leadership_trip_ns(&raft, &leadership),
                          id == 2 ? unknown_ns : (id == 3 ? 250 : 90) * T_MS);
    }
    /* It is lost: the answer to a later one shows nothing. A faster one is believed bit by bit. */
    struct message lost = sent_to(4, T_BEGIN + 1000 * T_MS);
    struct message next = sent_to(4, T_BEGIN + 1050 * T_MS);
    ck_assert_uint_eq(peer(4)->timed_call, lost.call);
    accepts(&next, T_BEGIN + 1150 * T_MS);
    ck_assert_uint_eq(peer(4)->trip_ns, 90 * T_MS);
    next = sent_to(4, T_BEGIN + 1200 * T_MS);
    accepts(&next, T_BEGIN + 1201 * T_MS);
    ck_assert_uint_eq(peer(4)->trip_ns, 90 * T_MS - 90 * T_MS / 8);
    release();
}
END_TEST

START_TEST(leadership_has_quorum__alone_for_ever)
{
    lead(1, "1", 2);
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), UINT64_MAX);
    ck_assert(leadership_has_quorum(&raft, &leadership, UINT64_MAX - 1));
    release();
}
END_TEST

START_TEST(leadership_has_quorum__of_both_sets_during_a_change)
{
    lead(5, "1", 2);
    raft.configuration.voters_old = 0x07; /* 1 2 3 */
    raft.configuration.voters = 0x19;     /* 1 4 5 */
    contact(2, T_BEGIN + 100 * T_MS);
    contact(3, T_BEGIN + 100 * T_MS);
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), T_BEGIN + 600 * T_MS);
    contact(5, T_BEGIN + 90 * T_MS);
    ck_assert_uint_eq(leadership_quorum_until_ns(&raft, &leadership), T_BEGIN + 240 * T_MS);
    release();
}
END_TEST

UNIT_MAIN("replication_trouble", no_space__one_message_with_entries_until_it_accepts,
          no_space__ends_when_new_entries_are_accepted,
          no_space__of_a_call_from_before_the_turn_is_stale, set_back__lacks_what_it_acknowledged,
          set_back__another_term_where_it_had_acknowledged,
          set_back__not_by_messages_that_overtook_one_another, set_back__ends_with_a_new_connection,
          replicate__asks_the_disk_once_and_beats_on,
          replicate_read_done__sends_what_was_read_and_goes_on,
          replicate_read_done__what_cannot_be_read_waits_for_a_heartbeat_or_a_snapshot,
          replicate_read_put_off__asks_again_behind_the_next_heartbeat,
          replicate_read_done__of_an_earlier_leadership, replicate_read_done__no_longer_wanted,
          replicate_connected__goes_back_to_what_is_known,
          replicate_connected__keeps_its_guess_when_nothing_is_known,
          leadership_next_heartbeat_ns__the_earliest_of_the_peers,
          leadership_has_quorum__for_an_election_timeout_from_the_start,
          leadership_has_quorum__as_long_as_enough_answer,
          leadership_has_quorum__any_answer_of_this_term_shows_life,
          leadership_note_poll__answers_from_before_a_sleep_are_old,
          leadership_note_poll__less_than_an_election_timeout_is_no_sleep,
          leadership_trip_ns__as_long_as_a_quorum_takes, leadership_has_quorum__alone_for_ever,
          leadership_has_quorum__of_both_sets_during_a_change)
