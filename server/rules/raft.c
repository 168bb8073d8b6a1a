/* raft.c - see raft.h: the state of one server, and what a message's term asks of it. */
#include "server/rules/raft.h"

#include "common/memory.h"
#include "server/rules/trust.h"

const char *raft_state_word(enum raft_state state)
{
    switch (state) {
    case RAFT_FOLLOWER:
        return "follower";
    case RAFT_CANDIDATE:
        return "candidate";
    case RAFT_LEADER:
        return "leader";
    case RAFT_STOPPED:
        return "stopped";
    }
    UNREACHABLE();
}

void raft_init(struct raft *raft, server_id self, u64 log_memory_bytes_max)
{
    *raft = (struct raft){
        .self = self, .next_call = 1, .no_op_at_start = true, .room_bytes = UINT64_MAX};
    log_init(&raft->log, log_memory_bytes_max);
}

void raft_deinit(struct raft *raft)
{
    log_deinit(&raft->log);
    memory_free(raft->lineage.earlier);
}

/* [All Servers 2, §5.1] A newer term is adopted and makes a follower of anybody; an older one is
 * nobody's any more. */
enum term_verdict check_term(const struct raft *raft, const struct message *message,
                             bool hears_leader)
{
    bool newer = message->term > raft->current_term;

    /* A pre-vote asks about a term that nobody has begun, and a yes to it says no more (thesis
     * §9.6). A refusal carries the voter's real term, and that one counts. */
    if (message->kind == MESSAGE_PRE_VOTE)
        return TERM_CURRENT;
    if (message->kind == MESSAGE_PRE_VOTE_REPLY && message->as.vote_reply.granted)
        return TERM_CURRENT;

    /* What was executed was executed, in whatever term: the call tells what it answers. */
    if (message->kind == MESSAGE_FORWARD_REPLY)
        return TERM_CURRENT;

    /* What a server is does not depend on terms. */
    if (message->kind == MESSAGE_UNRECOGNISED)
        return TERM_CURRENT;

    /* It would get no vote here; let it not depose anybody either. */
    if (newer && message->kind == MESSAGE_REQUEST_VOTE && !trust_counts(raft, message->from))
        return TERM_IGNORE;

    /* Who hears a leader has no need of another: a server that was cut off, or removed, must not
     * depose it (thesis §4.2.3). A leader that hands over says so, and then it is no intrusion. */
    if (newer && message->kind == MESSAGE_REQUEST_VOTE && hears_leader &&
        !message->as.vote_request.transfer)
        return TERM_IGNORE;

    if (newer)
        return TERM_NEWER;
    return message->term < raft->current_term ? TERM_STALE : TERM_CURRENT;
}

void adopt_term(struct raft *raft, u64 term)
{
    ASSERT(term > raft->current_term);
    RULE("[All Servers 2, §5.1]");
    raft->current_term = term;
    raft->voted_for = SERVER_NONE;
    raft->leader = SERVER_NONE;
    raft->leader_heard_ns = 0;
    raft->ballot = (struct ballot){0};
    raft->metadata_unsaved = true;
}

bool raft_hears_leader(const struct raft *raft, u64 now_ns)
{
    return raft->leader != SERVER_NONE && raft->leader_heard_ns != 0 &&
           now_ns < raft->leader_heard_ns + raft->election_timeout_ns_min;
}

void raft_message(struct raft *raft, enum message_kind kind, server_id to,
                  const struct message *request, struct message *message)
{
    /* The spans behind span_count are never read: leave those hundreds of bytes alone. */
    memset(message, 0, offsetof(struct message, spans));
    message->kind = kind;
    message->from = raft->self;
    message->to = to;
    message->term = raft->current_term;
    message->call = request != NULL ? request->call : raft->next_call++;
}

void raft_refuse(struct raft *raft, const struct message *request, struct message *reply)
{
    switch (request->kind) {
    case MESSAGE_PRE_VOTE:
        raft_message(raft, MESSAGE_PRE_VOTE_REPLY, request->from, request, reply);
        return;
    case MESSAGE_REQUEST_VOTE:
        RULE("[RequestVote 1, §5.1]"); /* granted stays false */
        raft_message(raft, MESSAGE_REQUEST_VOTE_REPLY, request->from, request, reply);
        return;
    case MESSAGE_APPEND_ENTRIES:
        RULE("[AppendEntries 1, §5.1]");
        raft_message(raft, MESSAGE_APPEND_ENTRIES_REPLY, request->from, request, reply);
        reply->as.append_reply.result = APPEND_REFUSED_TERM;
        reply->as.append_reply.round = request->as.append_request.round;
        return;
    case MESSAGE_INSTALL_SNAPSHOT:
        RULE("[InstallSnapshot 1, §7]");
        raft_message(raft, MESSAGE_INSTALL_SNAPSHOT_REPLY, request->from, request, reply);
        reply->as.install_reply.result = INSTALL_REFUSED_TERM;
        reply->as.install_reply.round = request->as.install_request.round;
        return;
    case MESSAGE_FORWARD:
        raft_message(raft, MESSAGE_FORWARD_REPLY, request->from, request, reply);
        reply->as.forward_reply.result = FORWARD_NOT_LEADER;
        reply->as.forward_reply.refused_from = streams_refused_from(&raft->streams, request);
        return;
    case MESSAGE_NONE:
    case MESSAGE_PRE_VOTE_REPLY:
    case MESSAGE_REQUEST_VOTE_REPLY:
    case MESSAGE_APPEND_ENTRIES_REPLY:
    case MESSAGE_FORWARD_REPLY:
    case MESSAGE_INSTALL_SNAPSHOT_REPLY:
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_UNRECOGNISED:
    case MESSAGE_KIND_END:
        break;
    }
    UNREACHABLE();
}

u64 raft_order(struct raft *raft)
{
    return ++raft->newest_order;
}

struct entry_id raft_last_acked(const struct raft *raft)
{
    struct entry_id last = log_last(&raft->log);
    return entry_id_is_up_to_date(last, raft->acked_through) ? last : raft->acked_through;
}

bool raft_is_repaired(const struct raft *raft)
{
    u64 index = raft->log.durable_index;
    struct entry_id durable = {log_term_at(&raft->log, index), index};
    return raft->acked_through.index != 0 && entry_id_is_up_to_date(durable, raft->acked_through);
}

bool raft_may_campaign(const struct raft *raft)
{
    return raft->configuration.index != 0 && raft->acked_through.index == 0 &&
           trust_may_vote(raft) && raft->room_bytes >= ROOM_TO_LEAD &&
           configuration_is_voter(&raft->configuration, raft->self);
}

bool raft_is_full(const struct raft *raft)
{
    return raft->room_bytes < raft->room_bytes_min;
}
