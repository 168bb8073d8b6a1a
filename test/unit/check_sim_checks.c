/* check_sim_checks.c - the judge is tested by lying to it: each property is violated by hand in a
 * cluster that is well, and must be the one that is named. And what holds is not complained of. */
#include "test/unit/judge_unit.h"

static struct raft *raft_of(server_id id)
{
    return &nth(id)->server->raft;
}

/* Changes the term of the last entry in place: another entry at the same index. */
static void change_last_term(server_id id, u64 term)
{
    struct process *before = process_enter(&cluster->world, nth(id)->process);
    struct log *log = &raft_of(id)->log;
    struct block *block = block_create(RECORD_HEADER_SIZE);
    struct entry entry = {.id = {term, log->last_index}, .type = ENTRY_NOOP, .version = 1};
    entry.time_ns = log_entry(log, log->last_index).time_ns;
    log_truncate(log, log->last_index);
    record_encode(&entry, block->data);
    log_append_record(log, block, block->data, block->size);
    block_release(block);
    (void)process_enter(&cluster->world, before);
}

START_TEST(judge__a_healthy_cluster_is_not_complained_of)
{
    begin_well();
    cluster_load(cluster, 200, 5 * NS_PER_S, 0, 0);
    cluster_load_pipelined(cluster, 200, 5 * NS_PER_S, 3, 8, 8);
    cluster_run(cluster, 6 * NS_PER_S);
    cluster_finish(cluster);
    ck_assert_ptr_null(cluster_failure(cluster));
    ck_assert_uint_gt(cluster->checks.acknowledged.count, 300);
    cluster_destroy(cluster);
}
END_TEST

START_TEST(judge__election_safety)
{
    begin_well();
    nth(2)->server->state = RAFT_LEADER;
    checks_ran(cluster, nth(2));
    end_violating("election safety");
}
END_TEST

START_TEST(judge__leader_append_only)
{
    begin_well();
    cluster_isolate(cluster, cluster_set_of(1));
    struct client *client = cluster_client(cluster, "other");
    struct client_request request = {.op = CLIENT_SET, .via = 1, .key = "k", .value = "lost"};
    client_send(client, &request);
    cluster_run(cluster, 20 * NS_PER_MS);
    struct log *log = &raft_of(1)->log;
    ck_assert_uint_gt(log->last_index, raft_of(1)->commit_index);
    log_truncate(log, log->last_index);
    checks_ran(cluster, nth(1));
    end_violating("leader append-only");
}
END_TEST

START_TEST(judge__log_matching)
{
    begin_well();
    /* The same index and term, but other bytes. */
    change_last_term(2, raft_of(2)->current_term);
    cluster->checks.servers[2].last_index--;
    cluster->checks.servers[2].commit_index = 0;
    raft_of(2)->log.durable_index = raft_of(2)->log.last_index;
    checks_ran(cluster, nth(2));
    end_violating("log matching");
}
END_TEST

START_TEST(judge__leader_completeness)
{
    begin_well();
    struct raft *raft = raft_of(2);
    cluster->checks.servers[2].commit_index = 0;
    raft->commit_index = raft->last_applied = 1;
    cluster->checks.servers[2].applied_index = 1;
    log_truncate(&raft->log, 3);
    raft->current_term++;
    nth(2)->server->state = RAFT_LEADER;
    checks_ran(cluster, nth(2));
    end_violating("leader completeness");
}
END_TEST

START_TEST(judge__state_machine_safety_of_logs)
{
    begin_well();
    cluster->checks.committed[3].term += 7;
    cluster->checks.servers[2].commit_index = 2;
    checks_ran(cluster, nth(2));
    end_violating("state machine safety");
}
END_TEST

START_TEST(judge__state_machine_safety_of_machines)
{
    begin_well();
    cluster->checks.digests[raft_of(2)->last_applied] ^= 2;
    cluster->checks.servers[2].applied_index--;
    checks_ran(cluster, nth(2));
    end_violating("state machine safety");
}
END_TEST

START_TEST(judge__a_committed_entry_is_never_removed)
{
    begin_well();
    log_truncate(&raft_of(2)->log, raft_of(2)->commit_index);
    checks_ran(cluster, nth(2));
    end_violating("state machine safety");
}
END_TEST

START_TEST(judge__terms_never_fall)
{
    begin_well();
    raft_of(2)->current_term--;
    checks_ran(cluster, nth(2));
    end_violating("terms never fall");
}
END_TEST

START_TEST(judge__one_vote_a_term)
{
    begin_well();
    ck_assert_uint_eq(raft_of(2)->voted_for, 1);
    raft_of(2)->voted_for = 3;
    checks_ran(cluster, nth(2));
    end_violating("one vote a term");
}
END_TEST

START_TEST(judge__commit_never_falls)
{
    begin_well();
    raft_of(2)->commit_index--;
    checks_ran(cluster, nth(2));
    end_violating("commit never falls");
}
END_TEST

START_TEST(judge__commit_needs_a_quorum)
{
    begin_well();
    cluster_isolate(cluster, cluster_set_of(1));
    struct client *client = cluster_client(cluster, "other");
    struct client_request request = {.op = CLIENT_SET, .via = 1, .key = "k", .value = "lost"};
    client_send(client, &request);
    cluster_run(cluster, 20 * NS_PER_MS);
    raft_of(1)->commit_index = raft_of(1)->log.last_index;
    checks_ran(cluster, nth(1));
    end_violating("commit needs a quorum");
}
END_TEST

/* ---- promises ---- */

START_TEST(judge__a_vote_is_spoken_after_it_is_saved)
{
    begin_well();
    struct message message = {.kind = MESSAGE_REQUEST_VOTE_REPLY, .from = 2, .to = 3};
    message.term = raft_of(2)->current_term;
    message.as.vote_reply.granted = true; /* but on the disk is one for 1 */
    checks_sent(cluster, nth(2), &message);
    end_violating("speak after saving");
}
END_TEST

START_TEST(judge__a_term_is_spoken_after_it_is_saved)
{
    begin_well();
    raft_of(2)->current_term++;
    raft_of(2)->metadata_unsaved = true;
    struct message message = {.kind = MESSAGE_APPEND_ENTRIES_REPLY, .from = 2, .to = 1};
    message.term = raft_of(2)->current_term;
    message.as.append_reply.result = APPEND_REFUSED_CONFLICT;
    checks_sent(cluster, nth(2), &message);
    end_violating("speak after saving");
}
END_TEST

START_TEST(judge__a_server_that_forgets_to_mark_its_vote_is_caught_by_its_disk)
{
    begin_well();
    /* Memory says that all is saved; the disk has a change that is not synced. */
    struct vfs_file *file = NULL;
    struct error error = {0};
    u8 byte = 1;
    struct iovec piece = {&byte, 1};
    ck_assert_int_eq(vfs_open(&nth(2)->disk.vfs, "metadata", VFS_READ_WRITE, &file, &error),
                     ERROR_NONE);
    ck_assert_int_eq(vfs_write_at(file, &piece, 1, 3, &error), ERROR_NONE);
    vfs_close(file);
    raft_of(2)->current_term++;
    struct message message = {.kind = MESSAGE_REQUEST_VOTE_REPLY, .from = 2, .to = 3};
    message.term = raft_of(2)->current_term;
    checks_sent(cluster, nth(2), &message);
    end_violating("speak after saving");
}
END_TEST

START_TEST(judge__an_acknowledged_entry_is_on_disk)
{
    begin_well();
    struct message message = {.kind = MESSAGE_APPEND_ENTRIES_REPLY, .from = 2, .to = 1};
    message.term = raft_of(2)->current_term;
    message.as.append_reply.result = APPEND_ACCEPTED;
    message.as.append_reply.match_index = raft_of(2)->log.durable_index + 1;
    checks_sent(cluster, nth(2), &message);
    end_violating("speak after saving");
}
END_TEST

START_TEST(judge__a_log_survives_a_crash)
{
    begin_well();
    cluster_kill(cluster, 2);
    disk_wipe(&nth(2)->disk); /* behind the judge's back */
    cluster_restart(cluster, 2);
    cluster_run(cluster, 100 * NS_PER_MS);
    end_violating("promises survive");
}
END_TEST

START_TEST(judge__a_wiped_disk_is_no_broken_promise)
{
    begin_well();
    cluster_wipe(cluster, 2);
    cluster_restart(cluster, 2);
    cluster_run(cluster, 100 * NS_PER_MS);
    ck_assert_ptr_null(cluster_failure(cluster));
    cluster_destroy(cluster);
}
END_TEST

START_TEST(judge__an_entry_on_a_lost_disk_is_on_none)
{
    begin_well();
    struct judged *judged = &cluster->checks.servers[2];
    u64 before = judged->durable_index;
    u64 term = judged->terms[before];
    ck_assert(checks_holds(judged, before, term));
    cluster_wipe(cluster, 2);
    cluster_restart(cluster, 2);
    cluster_run(cluster, 2000 * NS_PER_MS);
    ck_assert_ptr_null(cluster_failure(cluster));
    ck_assert_uint_eq(cluster_lost(cluster), cluster_set_of(2));
    ck_assert(cluster_distrusts(cluster, 1, 2) && cluster_distrusts(cluster, 2, 2));
    ck_assert(!cluster_distrusts(cluster, 1, 3));
    /* What was counted then was so; what it has got since counts nowhere. */
    ck_assert(checks_holds(judged, before, term));
    ck_assert_uint_ge(judged->durable_index, before);
    ck_assert(!checks_holds(judged, before + 1, judged->terms[before]));
    cluster_destroy(cluster);
}
END_TEST

START_TEST(judge__who_knows_that_it_may_not_vote_stands_back)
{
    begin_well();
    raft_of(2)->trust.own.non_voter = true;
    checks_ran(cluster, nth(2));
    nth(2)->server->state = RAFT_CANDIDATE;
    checks_ran(cluster, nth(2));
    end_violating("the unrecognised stand back");
}
END_TEST

START_TEST(judge__a_vote_survives_a_crash)
{
    begin_well();
    cluster->checks.servers[2].promised_vote = 3;
    cluster_crash(cluster, 2);
    cluster_restart(cluster, 2);
    cluster_run(cluster, 100 * NS_PER_MS);
    end_violating("promises survive");
}
END_TEST

/* ---- what clients were told: by hand in the judge's memory; more in check_sim_acknowledged ----
 */

START_TEST(judge__a_write_is_acknowledged_after_it_is_applied)
{
    begin_well();
    struct client *client = cluster_client(cluster, "main");
    struct client_request request = {.op = CLIENT_SET, .key = "k", .value = "three"};
    client_send(client, &request);
    client->flights->sent_after = cluster->checks.acknowledged.last + 1;
    cluster_run(cluster, 100 * NS_PER_MS);
    end_violating("acknowledged after it is applied");
}
END_TEST

START_TEST(judge__entries_are_applied_in_order)
{
    begin_well();
    nth(2)->witness.last--;
    set_key("three");
    cluster_run(cluster, 300 * NS_PER_MS);
    end_violating("applied in order");
}
END_TEST

START_TEST(judge__commands_are_applied_once)
{
    begin_well();
    struct acknowledged *acknowledged = &cluster->checks.acknowledged;
    for (u32 i = 0; i < acknowledged->sent_capacity; i++)
        acknowledged->sent[i].applied += acknowledged->sent[i].sent != 0;
    set_key("one"); /* for the second time, and the third that it is applied */
    end_violating("applied once");
}
END_TEST

START_TEST(judge__no_acknowledged_write_is_lost)
{
    begin_well();
    struct acknowledged *acknowledged = &cluster->checks.acknowledged;
    ck_assert(acknowledged->line[acknowledged->last].claimed);
    acknowledged->line[acknowledged->last].term++;
    cluster_crash(cluster, 1);
    cluster_run(cluster, 5 * NS_PER_S);
    end_violating("no acknowledged write is lost");
}
END_TEST

/* ---- what must happen in time ---- */

START_TEST(judge__a_cut_off_leader_steps_down)
{
    begin_well();
    raft_of(1)->election_timeout_ns_min = 3600 * NS_PER_S; /* it never notices */
    cluster_isolate(cluster, cluster_set_of(1));
    cluster_run(cluster, 2 * NS_PER_S);
    end_violating("cut-off leaders step down");
}
END_TEST

START_TEST(judge__a_quorum_that_is_well_has_a_leader)
{
    begin_well();
    for (server_id id = 1; id <= 3; id++)
        nth(id)->server->timers_held = true; /* nobody will campaign */
    cluster_crash(cluster, 1);
    cluster_run(cluster, 10 * NS_PER_S);
    end_violating("progress");
}
END_TEST

START_TEST(judge__without_a_quorum_no_leader_is_demanded)
{
    begin_well();
    cluster_crash(cluster, 1);
    cluster_crash(cluster, 2);
    cluster_run(cluster, 30 * NS_PER_S);
    ck_assert_ptr_null(cluster_failure(cluster));
    cluster_destroy(cluster);
}
END_TEST

/* ---- clients, memory, time ---- */

START_TEST(judge__a_stale_read_is_not_linearizable)
{
    begin_well();
    struct client *client = cluster_client(cluster, "main");
    struct client_request request = {.op = CLIENT_GET, .key = "k"};
    client_send(client, &request);
    cluster_client_wait(cluster, client);
    struct history *history = cluster_history(cluster);
    history_at(history, history->count - 1)->out = history_at(history, 0)->value;
    cluster_finish(cluster);
    end_violating("linearizability");
}
END_TEST

START_TEST(judge__a_server_that_stops_leaves_no_memory_behind)
{
    begin_well();
    struct process *before = process_enter(&cluster->world, nth(2)->process);
    ck_assert_ptr_nonnull(block_create(100));
    (void)process_enter(&cluster->world, before);
    cluster_stop(cluster, 2);
    cluster_run(cluster, 100 * NS_PER_MS);
    end_violating("memory");
}
END_TEST

static void again(void *object, u64 argument)
{
    world_at(&cluster->world, cluster->world.now_ns, again, object, argument);
}

START_TEST(judge__time_passes)
{
    begin_well();
    again(NULL, 0);
    cluster_run(cluster, NS_PER_S);
    end_violating("progress of time");
}
END_TEST

START_TEST(judge__a_damaged_frame_must_be_refused)
{
    begin_well();
    cluster_corrupt(cluster, cluster_all(cluster), cluster_all(cluster), 200000);
    cluster_run(cluster, 20 * NS_PER_S); /* thousands of them */
    ck_assert_ptr_null(cluster_failure(cluster));
    ck_assert_uint_gt(
        cluster_messages(cluster, cluster_all(cluster), cluster_all(cluster), CLUSTER_KINDS_ANY),
        500);
    cluster_destroy(cluster);
}
END_TEST

/* ---- figures and timers ---- */

static void time_passes_until(u64 local_ns)
{
    u64 now_ns = sim_clock_local_ns(&nth(2)->clock, cluster->world.now_ns);
    if (local_ns > now_ns)
        cluster_run(cluster, local_ns - now_ns);
}

START_TEST(judge__who_hears_a_leader_does_not_campaign)
{
    begin_well();
    ck_assert_uint_ne(cluster->checks.servers[2].heard_ns, 0);
    nth(2)->server->state = RAFT_CANDIDATE;
    checks_ran(cluster, nth(2));
    end_violating("who hears a leader waits");
}
END_TEST

START_TEST(judge__who_hears_none_or_is_told_to_may_campaign)
{
    begin_well();
    struct judged *judged = &cluster->checks.servers[2];
    cluster_crash(cluster, 1);
    time_passes_until(judged->heard_ns + raft_of(2)->election_timeout_ns_min);
    nth(2)->server->state = RAFT_CANDIDATE;
    checks_ran(cluster, nth(2));
    ck_assert_ptr_null(cluster_failure(cluster));
    cluster_destroy(cluster);

    begin_well();
    cluster_timeout(cluster, 2);
    cluster_run(cluster, 5 * NS_PER_MS);
    ck_assert_ptr_null(cluster_failure(cluster));
    cluster_destroy(cluster);
}
END_TEST

START_TEST(judge__an_entry_of_a_later_term_than_its_server)
{
    begin_well();
    cluster->checks.servers[2].current_term = raft_of(2)->current_term -= 1;
    cluster->checks.servers[2].recovering = true; /* as at a restart */
    cluster->checks.servers[2].forgiven = true;
    checks_ran(cluster, nth(2));
    end_violating("terms of entries");
}
END_TEST

START_TEST(judge__times_of_entries_never_fall)
{
    begin_well();
    set_key("three");
    struct process *before = process_enter(&cluster->world, nth(2)->process);
    struct log *log = &raft_of(2)->log;
    struct block *block = block_create(RECORD_HEADER_SIZE);
    struct entry entry = {.id = {raft_of(2)->current_term, log->last_index + 1},
                          .type = ENTRY_NOOP,
                          .version = 1,
                          .time_ns = log_entry(log, log->last_index).time_ns - 1};
    record_encode(&entry, block->data);
    log_append_record(log, block, block->data, block->size);
    block_release(block);
    (void)process_enter(&cluster->world, before);
    checks_ran(cluster, nth(2));
    end_violating("times of entries");
}
END_TEST

START_TEST(judge__uncommitted_bytes_are_those_behind_the_commit_index)
{
    begin_well();
    struct leader_pending *lead = (struct leader_pending *)(uintptr_t)nth(1)->server->lead;
    ck_assert_uint_eq(lead->leadership.uncommitted_bytes, 0);
    lead->leadership.uncommitted_bytes = 1;
    checks_ran(cluster, nth(1));
    end_violating("counters of bytes");
}
END_TEST

/* Each counter, off by one. */
START_TEST(judge__counters_are_what_they_count)
{
    for (int which = 0; which < 6; which++) {
        begin_well();
        struct leader_pending *lead = (struct leader_pending *)(uintptr_t)nth(1)->server->lead;
        u64 *const counters[] = {&lead->writes.bytes,
                                 &lead->reads.bytes,
                                 &lead->held.bytes,
                                 &lead->leadership.peers[1].flight_bytes,
                                 &nth(1)->server->parked.bytes,
                                 &nth(1)->server->mailbox.client_bytes};
        ck_assert_uint_eq(*counters[which], 0);
        ++*counters[which];
        checks_ran(cluster, nth(1));
        end_violating("counters of bytes");
    }
}
END_TEST

START_TEST(judge__reads_that_wait_for_room_are_counted)
{
    for (int which = 0; which < 2; which++) {
        begin_well();
        struct ways_back *ways = &nth(1)->server->ways_back;
        ways->count = ways->count == 0 ? 1 : ways->count;
        if (which == 0) {
            ways->ways[0].waiting.bytes++;
            checks_ran(cluster, nth(1));
        } else {
            cluster_run(cluster, NS_PER_S);
            ways->ways[0].waiting.count++;
            checks_rest(cluster);
        }
        end_violating("counters of bytes");
    }
}
END_TEST

START_TEST(judge__nothing_waits_at_rest)
{
    begin_well();
    cluster_run(cluster, NS_PER_S);
    checks_rest(cluster);
    ck_assert_ptr_null(cluster_failure(cluster));
    nth(3)->server->snapshot.thread.receive_bytes = 1;
    checks_rest(cluster);
    end_violating("counters of bytes");
}
END_TEST

UNIT_MAIN("sim_checks", judge__a_healthy_cluster_is_not_complained_of, judge__election_safety,
          judge__leader_append_only, judge__log_matching, judge__leader_completeness,
          judge__state_machine_safety_of_logs, judge__state_machine_safety_of_machines,
          judge__a_committed_entry_is_never_removed, judge__terms_never_fall,
          judge__one_vote_a_term, judge__commit_never_falls, judge__commit_needs_a_quorum,
          judge__a_vote_is_spoken_after_it_is_saved, judge__a_term_is_spoken_after_it_is_saved,
          judge__a_server_that_forgets_to_mark_its_vote_is_caught_by_its_disk,
          judge__an_acknowledged_entry_is_on_disk, judge__a_log_survives_a_crash,
          judge__a_wiped_disk_is_no_broken_promise, judge__an_entry_on_a_lost_disk_is_on_none,
          judge__who_knows_that_it_may_not_vote_stands_back, judge__a_vote_survives_a_crash,
          judge__a_write_is_acknowledged_after_it_is_applied, judge__entries_are_applied_in_order,
          judge__commands_are_applied_once, judge__no_acknowledged_write_is_lost,
          judge__a_cut_off_leader_steps_down, judge__a_quorum_that_is_well_has_a_leader,
          judge__without_a_quorum_no_leader_is_demanded, judge__a_stale_read_is_not_linearizable,
          judge__a_server_that_stops_leaves_no_memory_behind, judge__time_passes,
          judge__a_damaged_frame_must_be_refused, judge__who_hears_a_leader_does_not_campaign,
          judge__who_hears_none_or_is_told_to_may_campaign,
          judge__an_entry_of_a_later_term_than_its_server, judge__times_of_entries_never_fall,
          judge__uncommitted_bytes_are_those_behind_the_commit_index,
          judge__counters_are_what_they_count, judge__reads_that_wait_for_room_are_counted,
          judge__nothing_waits_at_rest)
