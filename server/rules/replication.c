/* replication.c - the leader's end of AppendEntries: see replication.h. */
#include "server/rules/replication.h"

#include "server/rules/install.h"
#include "server/rules/trust.h"

enum {
    /* A probe may be refused, and then its entries were sent for nothing: keep them few. */
    PROBE_BYTES_MAX = 64 * 1024
};

static void enter_probe(struct raft *raft, struct progress *progress, u64 next_index)
{
    progress->mode = PROGRESS_PROBE;
    progress->next_index = next_index;
    progress->probe_sent = false;
    progress->first_call = raft->next_call;
    progress->flight_first = 0;
    progress->flight_count = 0;
    progress->flight_bytes = 0;
}

void leadership_begin(struct raft *raft, struct leadership *leadership, u64 now_ns, u64 wall_ns)
{
    const struct configuration *configuration = &raft->configuration;
    raft->leader = raft->self;
    raft->leader_heard_ns = now_ns;
    raft->campaigns = 0;
    /* They make a leader once: of one term's rounds there must be no second count. */
    raft->ballot = (struct ballot){0};
    leadership->began_ns = now_ns;
    leadership->round = 0;
    leadership->round_due = false;
    leadership->awake_ns = now_ns;
    leadership->slept_ns = 0;
    leadership->woke_ns = 0;
    leadership->woke_call = 0;
    leadership->count = configuration->count;
    leadership->uncommitted_bytes =
        log_bytes(&raft->log, raft->commit_index + 1, raft->log.last_index);
    for (u32 position = 0; position < configuration->count; position++) {
        struct progress *progress = &leadership->peers[position];
        *progress = (struct progress){.id = configuration->members[position].id};
        progress->contact_ns = now_ns;
        /* "Volatile state on leaders": next_index is last log index + 1, match_index 0. */
        enter_probe(raft, progress, raft->log.last_index + 1);
    }
    leadership->first_index = raft->log.last_index + 1;
    if (!raft->no_op_at_start)
        return;
    /* [Leaders 1, §8] Only an entry of its own term tells a leader, by its commit, which of the
     * entries before it are committed; so it begins with an empty one. */
    RULE("[Leaders 1, §8]");
    struct entry no_op = {.id.term = raft->current_term,
                          .type = ENTRY_NOOP,
                          .version = ENTRY_VERSION,
                          .time_ns = wall_ns};
    log_append(&raft->log, &no_op, NULL, 0);
    leadership->uncommitted_bytes += RECORD_HEADER_SIZE;
}

/* [Leaders 2, §5.3] Its answer waits until the entry is applied. */
u64 leadership_append(struct raft *raft, struct leadership *leadership, const u8 *command, u32 size,
                      u64 wall_ns)
{
    struct entry entry = {.id.term = raft->current_term,
                          .type = ENTRY_COMMAND,
                          .version = ENTRY_VERSION,
                          .time_ns = wall_ns,
                          .payload = command,
                          .payload_size = size};
    RULE("[Leaders 2, §5.3]");
    leadership->uncommitted_bytes += RECORD_HEADER_SIZE + size;
    return log_append(&raft->log, &entry, NULL, 0);
}

struct progress *leadership_peer(struct leadership *leadership, server_id id)
{
    for (u32 position = 0; position < leadership->count; position++) {
        if (leadership->peers[position].id == id)
            return &leadership->peers[position];
    }
    return NULL;
}

bool leadership_has_room(const struct raft *raft, const struct leadership *leadership, u64 bytes)
{
    return leadership->uncommitted_bytes == 0 ||
           leadership->uncommitted_bytes + bytes <= raft->uncommitted_bytes_max;
}

/* ---- sending ---- */

void leadership_begin_round(const struct raft *raft, struct leadership *leadership)
{
    if (!leadership->round_due || reads_confirmed_round(raft, leadership) < leadership->round)
        return;
    leadership->round++;
    leadership->round_due = false;
}

/* An AppendEntries that stands on the entry before `first`, as yet without records. */
static void begin_append(struct raft *raft, struct leadership *leadership,
                         struct progress *progress, u64 first, u64 now_ns, struct message *message)
{
    raft_message(raft, MESSAGE_APPEND_ENTRIES, progress->id, NULL, message);
    struct append_request *append = &message->as.append_request;
    append->prev = (struct entry_id){log_term_at(&raft->log, first - 1), first - 1};
    append->leader_commit = raft->commit_index;
    append->round = leadership->round;
    progress->round_sent = leadership->round;
    progress->commit_sent = raft->commit_index;
    progress_sent(progress, message, now_ns);
}

static void note_flight(struct progress *progress, u64 last_index, u64 bytes)
{
    ASSERT(progress->flight_count < IN_FLIGHT_MAX);
    u32 place = (progress->flight_first + progress->flight_count) % IN_FLIGHT_MAX;
    progress->flights[place] = (struct in_flight){last_index, bytes};
    progress->flight_count++;
    progress->flight_bytes += bytes;
    progress->next_index = last_index + 1;
}

static bool window_is_open(const struct raft *raft, const struct progress *progress)
{
    return progress->flight_count < IN_FLIGHT_MAX &&
           progress->flight_bytes < raft->window_bytes_max;
}

/* Puts the records from next_index on into the message, as many as are in memory and wanted. */
static void add_entries(struct raft *raft, struct progress *progress, u64 bytes_max,
                        struct message *message)
{
    message->as.append_request.count =
        log_slice(&raft->log, progress->next_index, bytes_max, message->spans, MESSAGE_SPANS_MAX,
                  &message->span_count);
}

static enum replicate_verdict send_probe(struct raft *raft, struct leadership *leadership,
                                         struct progress *progress, u64 now_ns,
                                         struct message *message)
{
    begin_append(raft, leadership, progress, progress->next_index, now_ns, message);
    /* The first one brings entries along, so that a peer that agrees needs no second message; one
     * that goes out again only because time has passed does not. */
    if (!progress->probe_sent && !progress->no_space && !progress->lost_acked)
        add_entries(raft, progress, PROBE_BYTES_MAX, message);
    progress->probe_sent = true;
    return REPLICATE_SEND;
}

/* [Leaders 1, §5.2] "Repeat during idle periods to prevent election timeouts": `due` is that
 * repetition, and the very first message. */
enum replicate_verdict replicate(struct raft *raft, struct leadership *leadership,
                                 struct progress *progress, u64 now_ns, struct message *message)
{
    bool due = progress->sent_ns == 0 || now_ns >= progress->sent_ns + raft->heartbeat_ns ||
               progress->round_sent < leadership->round;
    if (progress->mode != PROGRESS_SNAPSHOT && progress->next_index <= raft->log.base.index)
        install_begin(raft, progress);
    if (progress->mode == PROGRESS_SNAPSHOT)
        return install_replicate(raft, leadership, progress, now_ns, message);
    if (progress->mode == PROGRESS_PROBE) {
        if (progress->probe_sent && !due)
            return REPLICATE_NOTHING;
        RULE("[Leaders 1, §5.2]");
        return send_probe(raft, leadership, progress, now_ns, message);
    }
    bool wants_entries = progress->next_index <= raft->log.last_index && progress->reading == 0 &&
                         !progress->lost_acked && (!progress->no_space || due) &&
                         window_is_open(raft, progress);
    if (wants_entries && !log_in_memory(&raft->log, progress->next_index)) {
        progress->reading = raft_order(raft);
        return REPLICATE_READ;
    }
    if (!wants_entries && !due)
        return REPLICATE_NOTHING;
    begin_append(raft, leadership, progress, progress->next_index, now_ns, message);
    if (due)
        RULE("[Leaders 1, §5.2]");
    if (wants_entries) {
        RULE("[Leaders 3, §5.3]");
        add_entries(raft, progress, raft->message_bytes_max, message);
        note_flight(progress, progress->next_index + message->as.append_request.count - 1,
                    message_payload_size(message));
    }
    return REPLICATE_SEND;
}

static void wait_for_heartbeat(struct raft *raft, struct progress *progress)
{
    enter_probe(raft, progress, progress->next_index);
    progress->probe_sent = true;
}

bool replicate_awaits(const struct progress *progress, u64 order)
{
    return order != 0 && progress->reading == order;
}

bool replicate_read_done(struct raft *raft, struct leadership *leadership,
                         struct progress *progress, u64 order, u64 first, u32 count,
                         const struct span *records, u64 now_ns, struct message *message)
{
    if (!replicate_awaits(progress, order))
        return false;
    progress->reading = 0;
    if (count == 0 && progress->mode == PROGRESS_PIPELINE && progress->next_index == first) {
        /* They cannot be read: a snapshot holds what they did, if it reaches so far. */
        if (raft->snapshot.last.index >= first)
            install_begin(raft, progress);
        else
            wait_for_heartbeat(raft, progress);
        return false;
    }
    if (count == 0 || progress->mode != PROGRESS_PIPELINE || progress->next_index != first ||
        first <= raft->log.base.index || !window_is_open(raft, progress))
        return false;
    begin_append(raft, leadership, progress, first, now_ns, message);
    message->as.append_request.count = count;
    message->spans[message->span_count++] = span_of(records->block, records->data, records->size);
    note_flight(progress, first + count - 1, records->size);
    return true;
}

void replicate_read_put_off(struct raft *raft, struct progress *progress, u64 order)
{
    if (!replicate_awaits(progress, order))
        return;
    progress->reading = 0;
    if (progress->mode == PROGRESS_PIPELINE)
        wait_for_heartbeat(raft, progress);
    else if (progress->mode == PROGRESS_SNAPSHOT)
        install_wait_for_heartbeat(raft, progress);
}

/* ---- replies ---- */

/* [Leaders 3, §5.3] "If successful: update nextIndex and matchIndex". */
static void accepted(struct progress *progress, u64 match_index)
{
    /* A heartbeat needs no room: only entries that found a place show that there is some again. */
    if (match_index > progress->match_index)
        progress->no_space = false;
    progress->match_index = u64_max(progress->match_index, match_index);
    if (progress->mode == PROGRESS_SNAPSHOT)
        return;
    progress->next_index = u64_max(progress->next_index, progress->match_index + 1);
    if (progress->mode == PROGRESS_PROBE) {
        progress->mode = PROGRESS_PIPELINE;
        progress->next_index = progress->match_index + 1;
    }
    while (progress->flight_count > 0) {
        const struct in_flight *oldest = &progress->flights[progress->flight_first];
        if (oldest->last_index > progress->match_index)
            break;
        progress->flight_bytes -= oldest->bytes;
        progress->flight_first = (progress->flight_first + 1) % IN_FLIGHT_MAX;
        progress->flight_count--;
    }
}

/* [Leaders 3, §5.3] "If AppendEntries fails because of log inconsistency: decrement nextIndex and
 * retry", a whole term at a time (§5.3, last paragraphs). What the peer holds in the conflicting
 * term can only match our entries of that term; if we have none, nothing from its first one on. */
static void conflicted(struct raft *raft, struct progress *progress,
                       const struct append_reply *answer)
{
    const struct log *log = &raft->log;
    struct entry_id conflict = answer->conflict;
    u64 next = conflict.index;
    if (conflict.term != 0) {
        u64 index = log_last_index_of_term_at_most(log, conflict.term);
        bool have_term = index > log->base.index && log_term_at(log, index) == conflict.term;
        next = have_term ? index + 1 : u64_min(conflict.index, index + 1);
    }
    /* A probe that stands on match_index was sent after the peer had acknowledged that entry:
     * refused, it means that the peer lost it. Other refusals may be older than the acknowledgement
     * that they seem to contradict, since messages may overtake one another. A peer that knows what
     * its disk has lost says so: it no longer counts as holding that, and gets it again. */
    if (answer->repairing)
        progress->match_index = u64_min(progress->match_index, conflict.index - 1);
    else if (progress->mode == PROGRESS_PROBE && progress->next_index == progress->match_index + 1)
        progress->lost_acked = true;
    next = u64_min(next, progress->next_index - 1);
    enter_probe(raft, progress, u64_max(next, progress->match_index + 1));
    /* It will refuse whatever it is sent: ask again only with the heartbeats. */
    progress->probe_sent = progress->lost_acked;
}

void replicate_reply(struct raft *raft, struct progress *progress, const struct message *reply,
                     u64 now_ns)
{
    RULE("[Leaders 3, §5.3]");
    const struct append_reply *answer = &reply->as.append_reply;
    progress_answered(progress, reply, now_ns);
    progress->round_acked = u64_max(progress->round_acked, answer->round);
    progress->full = answer->full;
    switch (answer->result) {
    case APPEND_ACCEPTED:
        /* Never more than we sent: whatever the peer says, it can hold no entry we do not. */
        if (answer->match_index <= raft->log.last_index)
            accepted(progress, answer->match_index);
        return;
    case APPEND_REFUSED_CONFLICT:
        if (progress->mode != PROGRESS_SNAPSHOT && reply->call >= progress->first_call)
            conflicted(raft, progress, answer);
        return;
    case APPEND_REFUSED_SPACE:
        if (progress->mode != PROGRESS_SNAPSHOT && reply->call >= progress->first_call) {
            enter_probe(raft, progress, progress->match_index + 1);
            progress->probe_sent = true;
            progress->no_space = true;
        }
        return;
    case APPEND_REFUSED_TERM:
        /* In our own term nobody refuses our term; check_term has dealt with the others. */
        return;
    }
}

void replicate_restart(struct raft *raft, struct progress *progress)
{
    enter_probe(raft, progress, progress->match_index + 1);
}

void replicate_disconnected(struct progress *progress)
{
    progress->gone = true;
}

void replicate_connected(struct raft *raft, struct progress *progress)
{
    progress->timed_call = 0;
    if (progress->mode == PROGRESS_SNAPSHOT) {
        install_ask_again(raft, progress);
        progress->sent_ns = 0;
        return;
    }
    bool known = progress->match_index > 0;
    enter_probe(raft, progress, known ? progress->match_index + 1 : progress->next_index);
    progress->sent_ns = 0;
    progress->lost_acked = false;
}

void replicate_anew(struct raft *raft, struct progress *progress)
{
    progress->match_index = 0;
    progress->lost_acked = false;
    progress->no_space = false;
    progress->reading = 0;
    enter_probe(raft, progress, raft->log.last_index + 1);
    progress->sent_ns = 0;
}

/* ---- time ---- */

u64 leadership_next_heartbeat_ns(const struct raft *raft, const struct leadership *leadership)
{
    u64 next_ns = UINT64_MAX;
    for (u32 position = 0; position < leadership->count; position++) {
        const struct progress *progress = &leadership->peers[position];
        if (progress->id != raft->self)
            next_ns = u64_min(next_ns, progress->sent_ns + raft->heartbeat_ns);
    }
    return next_ns;
}

void progress_sent(struct progress *progress, const struct message *message, u64 now_ns)
{
    progress->sent_ns = now_ns;
    if (progress->timed_call != 0)
        return;
    progress->timed_call = message->call;
    progress->timed_ns = now_ns;
}

void progress_answered(struct progress *progress, const struct message *reply, u64 now_ns)
{
    progress->contact_ns = u64_max(progress->contact_ns, now_ns);
    progress->gone = false;
    if (progress->timed_call == 0 || reply->call < progress->timed_call)
        return;
    /* An answer to a later call: the one that was timed is lost, or came to nothing. */
    u64 trip_ns = now_ns > progress->timed_ns ? now_ns - progress->timed_ns : 0;
    u64 before_ns = progress->trip_ns - progress->trip_ns / 8;
    if (reply->call == progress->timed_call)
        progress->trip_ns = u64_max(u64_max(trip_ns, before_ns), 1);
    progress->timed_call = 0;
}

u64 leadership_trip_ns(const struct raft *raft, const struct leadership *leadership)
{
    u64 longest_ns = 2 * raft->election_timeout_ns_max;
    u64 left_ns[SERVERS_MAX]; /* of the longest: the more, the faster */
    for (u32 position = 0; position < leadership->count; position++) {
        const struct progress *progress = &leadership->peers[position];
        u64 trip_ns = progress->trip_ns != 0 ? u64_min(progress->trip_ns, longest_ns) : longest_ns;
        left_ns[position] = progress->id == raft->self ? longest_ns : longest_ns - trip_ns;
    }
    return longest_ns - u64_min(trust_quorum_value(raft, left_ns), longest_ns);
}

void leadership_note_poll(const struct raft *raft, struct leadership *leadership, u64 now_ns)
{
    if (now_ns >= leadership->awake_ns + raft->election_timeout_ns_min) {
        leadership->slept_ns = leadership->awake_ns;
        leadership->woke_ns = now_ns;
        leadership->woke_call = raft->next_call;
    }
    leadership->awake_ns = now_ns;
}

u64 leadership_heard_ns(const struct leadership *leadership, const struct message *reply,
                        u64 now_ns)
{
    return reply->call < leadership->woke_call ? leadership->slept_ns : now_ns;
}

/* When the last answers of a quorum are an election timeout old. */
static u64 quorum_ends_ns(const struct raft *raft, const struct leadership *leadership)
{
    u64 contact_ns[SERVERS_MAX];
    for (u32 position = 0; position < leadership->count; position++) {
        const struct progress *progress = &leadership->peers[position];
        contact_ns[position] = progress->id == raft->self ? UINT64_MAX : progress->contact_ns;
    }
    u64 quorum_ns = trust_quorum_value(raft, contact_ns);
    return quorum_ns == UINT64_MAX ? UINT64_MAX : quorum_ns + raft->election_timeout_ns_min;
}

u64 leadership_quorum_until_ns(const struct raft *raft, const struct leadership *leadership)
{
    u64 ends_ns = quorum_ends_ns(raft, leadership);
    if (ends_ns == UINT64_MAX)
        return UINT64_MAX;
    u64 trip_ns = leadership_trip_ns(raft, leadership);
    u64 asked_ns =
        leadership->woke_ns != 0 ? leadership->woke_ns + raft->heartbeat_ns + trip_ns : 0;
    bool first = ends_ns == leadership->began_ns + raft->election_timeout_ns_min;
    return u64_max(u64_max(ends_ns, asked_ns), first ? leadership->began_ns + trip_ns : 0);
}

bool leadership_has_quorum(const struct raft *raft, const struct leadership *leadership, u64 now_ns)
{
    return now_ns < quorum_ends_ns(raft, leadership);
}
