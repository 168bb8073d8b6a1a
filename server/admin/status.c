/* status.c - see status.h. */
#include "server/admin/status.h"

#include <inttypes.h>

#include "common/clock.h"
#include "server/replica/snapshot.h"
#include "server/rules/trust.h"

static void describe_members(const struct server *server, struct buffer *to)
{
    const struct configuration *configuration = &server->raft.configuration;
    buffer_append_format(to, "raft_members:%" PRIu32 "\r\n", configuration->count);
    for (u32 position = 0; position < configuration->count; position++) {
        const struct member *member = &configuration->members[position];
        bool voter = configuration_is_voter(configuration, member->id);
        buffer_append_format(to,
                             "raft_member_%" PRIu32
                             ":peer=%s,client=%s,voter=%d,directory=%016" PRIx64
                             ",readmitted=%" PRIu64 "\r\n",
                             member->id, member->peer_address, member->client_address, voter,
                             member->directory_id, member->readmission.entry.index);
    }
}

static const char *const mode_words[] = {
    [PROGRESS_PROBE] = "probe",
    [PROGRESS_PIPELINE] = "pipeline",
    [PROGRESS_SNAPSHOT] = "snapshot",
};

static void describe_peers(const struct server *server, const struct leader_pending *lead,
                           struct buffer *to)
{
    u64 now_ns = clock_monotonic_ns();
    const struct raft *raft = &server->raft;
    for (u32 position = 0; position < lead->leadership.count; position++) {
        const struct progress *progress = &lead->leadership.peers[position];
        if (progress->id == raft->self)
            continue;
        const struct known_peer *met = trust_known_peer(raft, progress->id);
        enum distrust distrust = met != NULL ? met->distrust : DISTRUST_NONE;
        buffer_append_format(to,
                             "raft_peer_%" PRIu32 ":mode=%s,match=%" PRIu64 ",next=%" PRIu64
                             ",trails=%" PRIu64 ",in_flight_bytes=%" PRIu64 ",contact_ms=%" PRIu64
                             ",no_space=%d,full=%d,set_back=%d,recognised=%d",
                             progress->id, mode_words[progress->mode], progress->match_index,
                             progress->next_index, raft->log.last_index - progress->match_index,
                             progress->flight_bytes, (now_ns - progress->contact_ns) / NS_PER_MS,
                             progress->no_space, progress->full,
                             distrust == DISTRUST_SET_BACK || distrust == DISTRUST_LOST_ENTRIES,
                             distrust == DISTRUST_NONE);
        if (progress->mode == PROGRESS_SNAPSHOT)
            buffer_append_format(to, ",snapshot_offset=%" PRIu64 ",snapshot_bytes=%" PRIu64,
                                 progress->snapshot_offset, progress->snapshot.size);
        buffer_append_string(to, "\r\n");
    }
    if (transfer_goes_on(&lead->transfer))
        buffer_append_format(to, "raft_transfer_to:%" PRIu32 "\r\n", lead->transfer.target);
    buffer_append_format(to,
                         "raft_waiting_writes:%" PRIu32 "\r\nraft_waiting_reads:%" PRIu32
                         "\r\nraft_uncommitted_bytes:%" PRIu64 "\r\n",
                         lead->writes.count,
                         lead->reads.count + ways_back_waiting(&server->ways_back),
                         lead->leadership.uncommitted_bytes);
}

/* Whom this server does not recognise, and whether the others recognise it. */
static void describe_trust(const struct server *server, struct buffer *to)
{
    const struct trust *trust = &server->raft.trust;
    buffer_append_format(to,
                         "raft_incarnation:%016" PRIx64 "\r\nraft_blank:%d\r\n"
                         "raft_feature_level:%" PRIu32 "\r\nraft_readmitted:%" PRIu64 "\r\n",
                         trust->own.incarnation, trust->own.blank,
                         server->raft.configuration.feature, trust->own.readmitted);
    buffer_append_format(to, "raft_may_vote:%d\r\nraft_unrecognised_servers:%" PRIu32 "\r\n",
                         trust_may_vote(&server->raft), trust->distrusted);
    for (u32 i = 0; i < trust->count; i++) {
        const struct known_peer *met = &trust->met[i];
        if (met->distrust != DISTRUST_NONE)
            buffer_append_format(to, "raft_unrecognised_%" PRIu32 ":%s\r\n", met->id,
                                 distrust_words(met->distrust));
    }
}

static void describe_snapshots(const struct server *server, struct buffer *to)
{
    const struct raft *raft = &server->raft;
    const struct server_snapshot *self = &server->snapshot;
    bool going_on = server_snapshot_is_going_on(server);
    buffer_append_format(
        to,
        "raft_snapshot_index:%" PRIu64 "\r\nraft_snapshot_term:%" PRIu64
        "\r\nraft_snapshot_bytes:%" PRIu64 "\r\nraft_snapshot_checksum:%" PRIu32
        "\r\nraft_snapshot_going_on:%d\r\nraft_snapshots_taken:%" PRIu64
        "\r\nraft_snapshots_failed:%" PRIu64 "\r\nraft_snapshots_received:%" PRIu64
        "\r\nraft_snapshots_installed:%" PRIu64 "\r\nraft_snapshot_incoming_bytes:%" PRIu64
        "\r\nraft_snapshot_incoming_size:%" PRIu64 "\r\n",
        raft->snapshot.last.index, raft->snapshot.last.term, raft->snapshot.size,
        raft->snapshot.checksum, going_on, self->taken, self->failed, self->received,
        self->installed, raft->incoming.received, raft->incoming.name.size);
    buffer_append_format(
        to, "raft_snapshot_written_bytes:%" PRIu64 "\r\nraft_snapshot_us:%" PRIu64 "\r\n",
        going_on ? self->handed_bytes : 0, self->took_ns / NS_PER_US);
}

/* What the disk has lost, and has not got again. */
static void describe_repair(const struct raft *raft, struct buffer *to)
{
    struct entry_id promised = raft->acked_through;
    u64 last = raft->log.last_index;
    buffer_append_format(to, "raft_repairing:%d\r\n", promised.index != 0);
    if (promised.index == 0)
        return;
    buffer_append_format(to, "raft_acked_through_term:%" PRIu64 "\r\n", promised.term);
    if (promised.index == LOST_INDEX)
        buffer_append_string(
            to, "raft_acked_through_index:unknown\r\nraft_missing_entries:unknown\r\n");
    else
        buffer_append_format(
            to, "raft_acked_through_index:%" PRIu64 "\r\nraft_missing_entries:%" PRIu64 "\r\n",
            promised.index, promised.index > last ? promised.index - last : 0);
}

static void describe_log(const struct server *server, struct buffer *to)
{
    const struct raft *raft = &server->raft;
    struct entry_id last = log_last(&raft->log);
    buffer_append_format(to,
                         "raft_commit_index:%" PRIu64 "\r\nraft_last_applied:%" PRIu64
                         "\r\nraft_last_index:%" PRIu64 "\r\nraft_last_term:%" PRIu64
                         "\r\nraft_durable_index:%" PRIu64 "\r\nraft_memory_first_index:%" PRIu64
                         "\r\nraft_memory_bytes:%" PRIu64 "\r\n",
                         raft->commit_index, raft->last_applied, last.index, last.term,
                         raft->log.durable_index, raft->log.memory_first, raft->log.memory_bytes);
    struct storage_status storage;
    storage_status(server->storage, &storage);
    buffer_append_format(to,
                         "raft_log_segments:%" PRIu64 "\r\nraft_log_disk_bytes:%" PRIu64
                         "\r\nraft_log_room_bytes:%" PRIu64 "\r\nraft_log_first_index:%" PRIu64
                         "\r\nraft_log_bytes:%" PRIu64 "\r\nraft_disk_bytes:%" PRIu64 "\r\n",
                         storage.segments, storage.disk_bytes, storage_room_soon(server->storage),
                         storage.first_index, storage.log_bytes,
                         storage.disk_bytes + raft->snapshot.size);
    buffer_append_format(to, "raft_full:%d\r\n", raft_is_full(raft));
    describe_repair(raft, to);
}

/* Everybody's durations in the same five words, in us. */
static void describe_durations(const char *what, const struct histogram *histogram,
                               struct buffer *to)
{
    u64 mean_ns = histogram->count > 0 ? histogram->total_ns / histogram->count : 0;
    buffer_append_format(
        to,
        "raft_%s_us_mean:%" PRIu64 "\r\nraft_%s_us_p50:%" PRIu64 "\r\nraft_%s_us_p99:%" PRIu64
        "\r\nraft_%s_us_p999:%" PRIu64 "\r\nraft_%s_us_max:%" PRIu64 "\r\n",
        what, mean_ns / NS_PER_US, what, histogram_quantile(histogram, 500) / NS_PER_US, what,
        histogram_quantile(histogram, 990) / NS_PER_US, what,
        histogram_quantile(histogram, 999) / NS_PER_US, what, histogram->max_ns / NS_PER_US);
}

/* Lines for people and of the trace that nobody took in time. */
static void describe_outlets(const struct server_world *world, struct buffer *to)
{
    const struct trace *trace = world->trace;
    bool counts = trace != NULL && trace->dropped != NULL;
    buffer_append_format(
        to, "raft_report_lines_dropped:%" PRIu64 "\r\nraft_trace_lines_dropped:%" PRIu64 "\r\n",
        report_dropped(world->report), counts ? trace->dropped(trace->context) : 0);
}

/* What CONFIG RESETSTAT sets back. */
static void describe_durations_of_loop(struct server *server, struct buffer *to)
{
    const struct storage_timing *timing = storage_timing(server->storage);
    buffer_append_format(to, "raft_syncs:%" PRIu64 "\r\n", timing->syncs.count);
    describe_durations("sync", &timing->syncs, to);
    buffer_append_format(
        to, "raft_disk_us_max_recent:%" PRIu64 "\r\nraft_metadata_changes:%" PRIu64 "\r\n",
        recent_max_get(&timing->recent, clock_monotonic_ns()) / NS_PER_US, timing->metadata.count);
    describe_durations("metadata", &timing->metadata, to);
    describe_durations("write", &timing->writes, to);
    buffer_append_format(to, "raft_segment_waits:%" PRIu64 "\r\n", timing->segments.count);
    describe_durations("segment_wait", &timing->segments, to);
    const struct snapshot_syncs *syncs = server_snapshot_syncs(server);
    buffer_append_format(to, "raft_snapshot_syncs:%" PRIu64 "\r\n", syncs->taken.count);
    describe_durations("snapshot_sync", &syncs->taken, to);
    buffer_append_format(to, "raft_snapshot_incoming_syncs:%" PRIu64 "\r\n", syncs->received.count);
    describe_durations("snapshot_incoming_sync", &syncs->received, to);
    buffer_append_format(to,
                         "raft_start_entries:%" PRIu64 "\r\nraft_start_log_us:%" PRIu64
                         "\r\nraft_start_snapshot_us:%" PRIu64 "\r\n",
                         server->opening.entries, server->opening.log_ns / NS_PER_US,
                         server->opening.snapshot_ns / NS_PER_US);
    buffer_append_format(to, "raft_loop_rounds:%" PRIu64 "\r\n", server->loop_time.rounds.count);
    describe_durations("loop", &server->loop_time.rounds, to);
    describe_durations("loop_nodisk", &server->loop_time.rounds_without_disk, to);
    describe_durations("loop_cpu", &server->loop_time.rounds_of_work, to);
}

static u32 parked_count(const struct server *server)
{
    u32 of_design = server->design->parked != NULL ? server->design->parked(server) : 0;
    return server->parked.count + of_design;
}

void server_note_status(struct server *server, const struct leader_pending *lead)
{
    u64 now_ns = server->loop_time.began_ns; /* of the round: no clock is read for this */
    if (now_ns == 0)
        now_ns = clock_monotonic_ns();
    if (!liveness_wants_status(&server->liveness, now_ns))
        return;
    buffer_clear(&server->answer);
    server_describe(server, lead, &server->answer);
    liveness_put_status(&server->liveness, &server->answer, now_ns);
}

void server_describe(struct server *server, const struct leader_pending *lead, struct buffer *to)
{
    const struct raft *raft = &server->raft;
    buffer_append_format(
        to,
        "raft_cluster_id:%s\r\nraft_id:%" PRIu32 "\r\nraft_design:%s\r\nraft_state:%s\r\n"
        "raft_state_seconds:%" PRIu64 "\r\nraft_current_term:%" PRIu64 "\r\nraft_voted_for:%" PRIu32
        "\r\nraft_leader_id:%" PRIu32 "\r\nraft_elections_begun:%" PRIu64
        "\r\nraft_directory_id:%016" PRIx64 "\r\nraft_start_count:%" PRIu64
        "\r\nraft_parked_commands:%" PRIu32 "\r\nraft_machine_digest:%016" PRIx64 "\r\n",
        server->metadata.cluster_id, raft->self, server_design_word(server->options.design),
        raft_state_word(server->state), (clock_monotonic_ns() - server->state_since_ns) / NS_PER_S,
        raft->current_term, raft->voted_for, raft->leader, server->elections,
        server->metadata.directory_id, server->metadata.start_count, parked_count(server),
        server->machine->ops->digest(server->machine));
    if (server->machine->ops->describe != NULL)
        server->machine->ops->describe(server->machine, to);
    describe_log(server, to);
    describe_durations_of_loop(server, to);
    describe_outlets(&server->world, to);
    describe_snapshots(server, to);
    describe_members(server, to);
    describe_trust(server, to);
    if (lead != NULL)
        describe_peers(server, lead, to);
}
