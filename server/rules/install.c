/* install.c - InstallSnapshot, from both ends: see install.h. */
#include "server/rules/install.h"

#include "server/rules/lineage.h"

/* ---- the follower ---- */

static void recognise(struct raft *raft, const struct message *request, u64 now_ns)
{
    RULE("[Followers 2, §5.2]");
    raft->leader = request->from;
    raft->leader_heard_ns = now_ns;
    raft->leader_gone_ns = 0;
    raft->ballot.pre_votes_ns = 0;
    raft->campaigns = 0;
}

/* [InstallSnapshot 2-5, §7] A file that another leader began, or of another snapshot, is given up:
 * "discard any existing or partial snapshot". */
static void expect_file(struct raft *raft, const struct install_request *install)
{
    struct snapshot_name name = {install->last, install->size, install->checksum};
    if (snapshot_names_are_equal(&raft->incoming.name, &name))
        return;
    RULE("[InstallSnapshot 2, §7]");
    raft->incoming = (struct incoming_snapshot){.name = name, .order = raft_order(raft)};
}

bool install_receive_chunk(struct raft *raft, const struct message *request, u64 room_bytes,
                           bool no_space, u64 now_ns, struct message *reply,
                           enum install_verdict *verdict, const char **why)
{
    const struct install_request *install = &request->as.install_request;
    ASSERT(request->term == raft->current_term); /* [InstallSnapshot 1, §7] was check_term's */
    *verdict = INSTALL_NOTHING;
    if (request->from == raft->self ||
        (raft->leader != SERVER_NONE && raft->leader != request->from)) {
        *why = "a second leader of the same term";
        return false;
    }
    recognise(raft, request, now_ns);
    raft_message(raft, MESSAGE_INSTALL_SNAPSHOT_REPLY, request->from, request, reply);
    struct install_reply *answer = &reply->as.install_reply;
    answer->round = install->round;
    answer->result = INSTALL_CONTINUE;
    if (install->last.index <= raft->commit_index) {
        answer->result = INSTALL_DONE;
        answer->next_offset = install->size;
        return true;
    }
    expect_file(raft, install);
    u64 size = message_payload_size(request);
    struct incoming_snapshot *incoming = &raft->incoming;
    bool is_next = size > 0 && install->offset == incoming->received;
    if (room_bytes == 0 || (is_next && size > room_bytes)) {
        answer->result = no_space ? INSTALL_NO_SPACE : INSTALL_BUSY;
    } else if (is_next) {
        RULE("[InstallSnapshot 3, §7]");
        incoming->received += size;
        *verdict = INSTALL_TAKE;
    }
    RULE("[InstallSnapshot 4, §7]");
    answer->next_offset = incoming->received;
    return true;
}

void install_failed(struct raft *raft, u64 order)
{
    if (raft->incoming.order == order)
        raft->incoming = (struct incoming_snapshot){0};
}

static void note_snapshot(struct raft *raft, const struct snapshot_name *name)
{
    /* One of the same entry has taken the place of the file that was there. */
    if (name->last.index < raft->snapshot.last.index)
        return;
    raft->snapshot = *name;
    raft->snapshot_unusable = false;
}

enum installed install_swap_state(struct raft *raft, const struct snapshot_point *point)
{
    struct entry_id last = point->name.last;
    note_snapshot(raft, &point->name);
    if (raft->incoming.name.last.index <= last.index)
        raft->incoming = (struct incoming_snapshot){0};
    if (last.index <= raft->commit_index)
        return INSTALLED_OLD;
    bool keeps_log = log_holds(&raft->log, last);
    if (keeps_log) {
        RULE("[InstallSnapshot 6, §7]");
        /* What is behind the snapshot may hold a newer configuration. */
        lineage_replace(raft, &point->configuration, raft->configuration.index <= last.index);
    } else {
        RULE("[InstallSnapshot 7, §7]");
        log_reset(&raft->log, last);
        lineage_replace(raft, &point->configuration, true);
    }
    RULE("[InstallSnapshot 8, §7]");
    raft->log.last_time_ns = u64_max(raft->log.last_time_ns, point->time_ns);
    raft->commit_index = last.index;
    raft->last_applied = last.index;
    return keeps_log ? INSTALLED_KEEPS_LOG : INSTALLED_RESETS_LOG;
}

void snapshot_taken(struct raft *raft, const struct snapshot_point *point)
{
    ASSERT(point->name.last.index <= raft->last_applied);
    note_snapshot(raft, &point->name);
}

/* ---- the leader ---- */

/* What was said to the peer until now is of the past: answers to it lead no further. */
static void turn(struct raft *raft, struct progress *progress)
{
    progress->snapshot_call = raft->next_call;
}

void install_begin(struct raft *raft, struct progress *progress)
{
    ASSERT(raft->snapshot.last.index != 0);
    progress->mode = PROGRESS_SNAPSHOT;
    progress->snapshot = raft->snapshot;
    progress->snapshot_offset = 0;
    progress->snapshot_ready = false;
    progress->probe_sent = false;
    progress->reading = 0;
    progress->flight_first = 0;
    progress->flight_count = 0;
    progress->flight_bytes = 0;
    /* Refusals of entries that were sent before have nothing to say any more. */
    progress->first_call = raft->next_call;
    turn(raft, progress);
}

static void begin_install(struct raft *raft, struct leadership *leadership,
                          struct progress *progress, u64 now_ns, struct message *message)
{
    raft_message(raft, MESSAGE_INSTALL_SNAPSHOT, progress->id, NULL, message);
    message->as.install_request = (struct install_request){
        .last = progress->snapshot.last,
        .size = progress->snapshot.size,
        .checksum = progress->snapshot.checksum,
        .offset = progress->snapshot_offset,
        .round = leadership->round,
    };
    progress->round_sent = leadership->round;
    progress_sent(progress, message, now_ns);
}

void install_ask_again(struct raft *raft, struct progress *progress)
{
    progress->snapshot_ready = false;
    progress->probe_sent = false;
    turn(raft, progress);
}

void install_wait_for_heartbeat(struct raft *raft, struct progress *progress)
{
    progress->probe_sent = true;
    turn(raft, progress);
}

/* Whether the peer has to wait for a new snapshot. */
static bool waits_for_another(const struct raft *raft, const struct progress *progress)
{
    return raft->snapshot_unusable &&
           snapshot_names_are_equal(&progress->snapshot, &raft->snapshot);
}

/* What the peer was being sent is of no use. */
static void spoil(struct raft *raft, struct progress *progress)
{
    if (snapshot_names_are_equal(&progress->snapshot, &raft->snapshot))
        raft->snapshot_unusable = true;
    else
        install_begin(raft, progress);
}

/* Whoever has nothing of the file yet, and to whom nothing of it is on its way, gets the newest
 * one. If it has just said that it has nothing of the one before, it is not asked once more: where
 * new snapshots are taken within a round trip, that would never end. */
static void take_newest(struct raft *raft, struct progress *progress)
{
    if (progress->snapshot_offset > 0 || progress->reading != 0 || progress->probe_sent ||
        snapshot_names_are_equal(&progress->snapshot, &raft->snapshot))
        return;
    progress->snapshot = raft->snapshot;
    turn(raft, progress);
}

enum replicate_verdict install_replicate(struct raft *raft, struct leadership *leadership,
                                         struct progress *progress, u64 now_ns,
                                         struct message *message)
{
    take_newest(raft, progress);
    if (progress->snapshot_ready && progress->reading == 0 && !progress->probe_sent &&
        progress->snapshot_offset < progress->snapshot.size && !waits_for_another(raft, progress)) {
        progress->reading = raft_order(raft);
        return REPLICATE_READ_SNAPSHOT;
    }
    /* The first message asks how much of the file is there already, as does one that is due:
     * perhaps the piece before it, or its reply, was lost. */
    bool due = progress->sent_ns == 0 || now_ns >= progress->sent_ns + raft->heartbeat_ns ||
               progress->round_sent < leadership->round;
    bool asks = !progress->snapshot_ready && !progress->probe_sent;
    if (!due && !asks)
        return REPLICATE_NOTHING;
    begin_install(raft, leadership, progress, now_ns, message);
    if (asks)
        progress->probe_sent = true;
    return REPLICATE_SEND;
}

bool install_read_done(struct raft *raft, struct leadership *leadership, struct progress *progress,
                       u64 order, u64 offset, const struct span *piece, u64 now_ns,
                       struct message *message)
{
    if (!replicate_awaits(progress, order))
        return false;
    ASSERT(progress->mode == PROGRESS_SNAPSHOT);
    progress->reading = 0;
    if (piece->size == 0) {
        install_wait_for_heartbeat(raft, progress);
        spoil(raft, progress);
        return false;
    }
    if (offset != progress->snapshot_offset || progress->probe_sent)
        return false;
    begin_install(raft, leadership, progress, now_ns, message);
    progress->snapshot_call = message->call;
    progress->probe_sent = true;
    message->spans[message->span_count++] = span_of(piece->block, piece->data, piece->size);
    return true;
}

/* The peer wants what begins at `offset`. */
static void go_on(struct raft *raft, struct progress *progress, u64 offset)
{
    u64 size = progress->snapshot.size;
    bool waits = !progress->snapshot_ready || progress->probe_sent;
    /* It has what it had: a piece is being read for it, or all is there, and being loaded. */
    if (offset == progress->snapshot_offset &&
        (!waits || (progress->snapshot_ready && offset == size)))
        return;
    bool refused_whole = progress->snapshot_offset == size && offset == 0;
    if (offset != progress->snapshot_offset)
        progress->reading = 0;
    progress->snapshot_offset = offset;
    progress->snapshot_ready = true;
    /* When all is there, ask with each heartbeat whether it has been loaded. */
    progress->probe_sent = offset == size;
    turn(raft, progress);
    if (refused_whole)
        spoil(raft, progress);
}

void install_reply(struct raft *raft, struct progress *progress, const struct message *reply,
                   u64 now_ns)
{
    const struct install_reply *answer = &reply->as.install_reply;
    progress_answered(progress, reply, now_ns);
    progress->round_acked = u64_max(progress->round_acked, answer->round);
    /* An answer leads on if what it answers was said since the newest piece was sent, that piece
     * or any question behind it: heartbeats may follow one another faster than answers come. None
     * from before it counts, nor from before the last answer that led on, so that repeated
     * questions never make two streams of pieces out of one. */
    if (progress->mode != PROGRESS_SNAPSHOT || reply->call < progress->snapshot_call)
        return;
    switch (answer->result) {
    case INSTALL_DONE:
        progress->match_index = u64_max(progress->match_index, progress->snapshot.last.index);
        progress->reading = 0;
        replicate_restart(raft, progress);
        return;
    case INSTALL_CONTINUE:
        if (answer->next_offset <= progress->snapshot.size)
            go_on(raft, progress, answer->next_offset);
        return;
    case INSTALL_BUSY:
    case INSTALL_NO_SPACE: /* it is asked again with the next heartbeat */
        progress->snapshot_offset = u64_min(answer->next_offset, progress->snapshot.size);
        progress->snapshot_ready = false;
        turn(raft, progress);
        return;
    case INSTALL_REFUSED_TERM:
        return;
    }
}

/* ---- compaction ---- */

/* The last entry that the log may forget without making a peer, which is there and being sent
 * entries, take a snapshot instead. */
static u64 needed_by_peers(const struct raft *raft, const struct leadership *leadership, u64 now_ns)
{
    u64 index = UINT64_MAX;
    for (u32 position = 0; position < leadership->count; position++) {
        const struct progress *progress = &leadership->peers[position];
        if (progress->id == raft->self ||
            now_ns > progress->contact_ns + 10 * raft->election_timeout_ns_max)
            continue;
        u64 held = progress->mode == PROGRESS_SNAPSHOT ? progress->snapshot.last.index
                                                       : progress->match_index;
        index = u64_min(index, held);
    }
    return index;
}

u64 compaction_index(const struct raft *raft, const struct leadership *leadership,
                     const struct compaction_limits *limits, u64 log_bytes, u64 now_ns)
{
    u64 last = raft->snapshot.last.index;
    u64 index = last > limits->trailing_entries ? last - limits->trailing_entries : 0;
    if (leadership != NULL && log_bytes <= limits->lagging_bytes)
        index = u64_min(index, needed_by_peers(raft, leadership, now_ns));
    /* A log that was repaired may hold less than the snapshot stands for; and one that was received
     * may stand for entries that are committed, but that the machine was not given yet. */
    index = u64_min(index, u64_min(raft->log.durable_index, raft->last_applied));
    return index > raft->log.base.index ? index : 0;
}

bool install_uses(const struct leadership *leadership, struct entry_id last)
{
    for (u32 position = 0; position < leadership->count; position++) {
        const struct progress *progress = &leadership->peers[position];
        if (progress->mode == PROGRESS_SNAPSHOT &&
            (progress->snapshot_ready || progress->snapshot_offset > 0) &&
            progress->snapshot.last.index == last.index &&
            progress->snapshot.last.term == last.term)
            return true;
    }
    return false;
}
