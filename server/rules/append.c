/* append.c - the follower's end of replication: Figure 2, "AppendEntries RPC, Receiver
 * implementation", step by step. See replication.h. */
#include "server/rules/lineage.h"
#include "server/rules/replication.h"

/* What the request's records mean for this log, found before anything is changed. */
struct append_plan {
    u32 known;          /* records at the front that the log holds already */
    u64 new_bytes;      /* of the records behind them */
    bool truncates;     /* the first new one is in conflict with an entry that the log holds */
    u64 truncate_index; /* where */
};

/* A walk over the records in a message's spans; a record never crosses from one into the next. */
struct record_walk {
    const struct message *message;
    u32 span;
    u32 offset;
};

static bool next_record(struct record_walk *walk, struct entry *entry, struct span *record)
{
    const struct message *message = walk->message;
    while (walk->span < message->span_count && walk->offset == message->spans[walk->span].size) {
        walk->span++;
        walk->offset = 0;
    }
    if (walk->span == message->span_count)
        return false;
    const struct span *span = &message->spans[walk->span];
    u32 size = record_peek(span->data + walk->offset, entry);
    ASSERT(size <= span->size - walk->offset);
    *record = (struct span){span->block, span->data + walk->offset, size};
    walk->offset += size;
    return true;
}

static bool may_take(const struct raft *raft, const struct entry *entry, const char **why)
{
    struct error error = {0};
    if (lineage_check(raft, entry, &error) == ERROR_NONE)
        return true;
    *why = error.code == ERROR_MISMATCH
               ? "an entry changes the members, or is of another incarnation of the cluster"
               : "an entry has a configuration, or a feature level, that this version does not "
                 "know: upgrade this server";
    return false;
}

/* [AppendEntries 3, §5.3] [AppendEntries 4, §5.3] Finds what is new. Entries that the log already
 * holds are left alone: a message that was late or sent twice must not undo what came after it.
 * Returns false when the message contradicts what is committed, or is of a kind this version does
 * not know. */
static bool plan_append(const struct raft *raft, const struct message *request,
                        struct append_plan *plan, const char **why)
{
    *plan = (struct append_plan){0};
    struct record_walk walk = {.message = request};
    struct entry entry;
    struct span record;
    while (next_record(&walk, &entry, &record)) {
        bool is_new = plan->new_bytes > 0;
        /* Whatever lies before the log's base is committed, and so the same everywhere. */
        if (!is_new &&
            (entry.id.index <= raft->log.base.index || log_holds(&raft->log, entry.id))) {
            plan->known++;
            continue;
        }
        if (!entry_type_known((u8)entry.type)) {
            *why = "an entry has a type that this version does not know: upgrade this server";
            return false;
        }
        if (lineage_minds(entry.type) && !may_take(raft, &entry, why))
            return false;
        if (!is_new && entry.id.index <= raft->log.last_index) {
            if (entry.id.index <= raft->commit_index) {
                *why = "an entry contradicts a committed one";
                return false;
            }
            plan->truncates = true;
            plan->truncate_index = entry.id.index;
        }
        plan->new_bytes += record.size;
    }
    return true;
}

static void carry_out(struct raft *raft, const struct message *request,
                      const struct append_plan *plan)
{
    if (plan->truncates) {
        RULE("[AppendEntries 3, §5.3]");
        log_truncate(&raft->log, plan->truncate_index);
        lineage_truncate(raft, plan->truncate_index);
    }
    if (plan->new_bytes > 0)
        RULE("[AppendEntries 4, §5.3]");
    struct record_walk walk = {.message = request};
    struct entry entry;
    struct span record;
    for (u32 i = 0; next_record(&walk, &entry, &record); i++) {
        if (i < plan->known)
            continue;
        log_append_record(&raft->log, record.block, record.data, record.size);
        struct error ignored; /* the plan has looked */
        if (lineage_minds(entry.type) && lineage_take(raft, &entry, &ignored) != ERROR_NONE)
            UNREACHABLE();
    }
}

/* [AppendEntries 2, §5.3] Whether the log holds the entry before the new ones. If not, the reply
 * says where the leader should look next: behind the log's end, or at the first entry of the term
 * that stands there instead, so that it skips a whole term with each message. */
static bool prev_matches(const struct raft *raft, struct entry_id prev, struct append_reply *reply)
{
    const struct log *log = &raft->log;
    if (prev.index < log->base.index || log_holds(log, prev))
        return true;
    RULE("[AppendEntries 2, §5.3]");
    reply->result = APPEND_REFUSED_CONFLICT;
    if (prev.index > log->last_index)
        reply->conflict = (struct entry_id){0, log->last_index + 1};
    else if (prev.index > log->base.index)
        reply->conflict = (struct entry_id){log_term_at(log, prev.index),
                                            log_first_index_of_term_at(log, prev.index)};
    return false;
}

bool append_entries(struct raft *raft, const struct message *request, u64 room_bytes, u64 now_ns,
                    struct message *reply, const char **why)
{
    const struct append_request *append = &request->as.append_request;
    ASSERT(request->term == raft->current_term); /* [AppendEntries 1, §5.1] was check_term's */
    if (request->from == raft->self ||
        (raft->leader != SERVER_NONE && raft->leader != request->from)) {
        *why = "a second leader of the same term";
        return false;
    }
    RULE("[Followers 2, §5.2]");
    raft->leader = request->from;
    raft->leader_heard_ns = now_ns;
    raft->leader_gone_ns = 0;
    raft->ballot.pre_votes_ns = 0;
    raft->campaigns = 0;

    raft_message(raft, MESSAGE_APPEND_ENTRIES_REPLY, request->from, request, reply);
    struct append_reply *answer = &reply->as.append_reply;
    answer->round = append->round;
    answer->full = raft_is_full(raft);
    answer->repairing = raft->acked_through.index != 0;
    answer->non_voter = raft->trust.own.non_voter;
    answer->readmitted = raft->trust.own.readmitted;
    if (!prev_matches(raft, append->prev, answer)) {
        if (append->prev.index <= raft->commit_index) {
            *why = "the leader's log contradicts a committed entry";
            return false;
        }
        return true;
    }
    struct append_plan plan;
    if (!plan_append(raft, request, &plan, why))
        return false;
    if (plan.new_bytes > room_bytes) {
        /* No log conflict: the leader must not search backwards because of it. */
        answer->result = APPEND_REFUSED_SPACE;
        return true;
    }
    carry_out(raft, request, &plan);

    /* What this message covered, and no more: entries behind it may be a former leader's. */
    answer->result = APPEND_ACCEPTED;
    answer->match_index = append->prev.index + append->count;
    /* "Index of last new entry" is the end of the verified prefix. */
    u64 committed = u64_min(append->leader_commit, answer->match_index);
    if (committed > raft->commit_index) {
        RULE("[AppendEntries 5, §5.3]");
        raft->commit_index = committed;
    }
    return true;
}
