/* events.c - see events.h. */
#include "server/replica/events.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/clock.h"

void events_init(struct events *events, struct trace *trace, const struct raft *raft,
                 const enum raft_state *state)
{
    *events = (struct events){.trace = trace, .raft = raft, .state = state};
    buffer_init(&events->line);
}

void events_deinit(struct events *events)
{
    buffer_deinit(&events->line);
}

/* All names and words below are plain ASCII without quotes: nothing needs escaping. */
static void begin(struct events *events, const char *name)
{
    const struct raft *raft = events->raft;
    buffer_clear(&events->line);
    buffer_append_format(&events->line,
                         "{\"name\":\"%s\",\"nid\":\"%" PRIu32 "\",\"t\":%" PRIu64
                         ",\"role\":\"%s\",\"state\":{\"term\":%" PRIu64 ",\"vote\":\"%" PRIu32
                         "\",\"commit\":%" PRIu64 "},\"log\":%" PRIu64 ",\"durable\":%" PRIu64
                         ",\"applied\":%" PRIu64,
                         name, raft->self, clock_monotonic_ns(), raft_state_word(*events->state),
                         raft->current_term, raft->voted_for, raft->commit_index,
                         raft->log.last_index, raft->log.durable_index, raft->last_applied);
}

static void end(struct events *events)
{
    buffer_append_string(&events->line, "}\n");
    events->trace->write(events->trace->context, (const char *)events->line.data,
                         events->line.size);
}

void events_started(struct events *events)
{
    if (events->trace == NULL)
        return;
    const struct configuration *configuration = &events->raft->configuration;
    begin(events, "InitState");
    buffer_append_string(&events->line, ",\"conf\":[");
    for (u32 position = 0; position < configuration->count; position++)
        buffer_append_format(&events->line, "%s\"%" PRIu32 "\"", position == 0 ? "" : ",",
                             configuration->members[position].id);
    buffer_append_string(&events->line, "]");
    end(events);
}

void events_became(struct events *events, const char *why)
{
    if (events->trace == NULL)
        return;
    const char *name = "Stop";
    switch (*events->state) {
    case RAFT_FOLLOWER:
        name = "BecomeFollower";
        break;
    case RAFT_CANDIDATE:
        name = "BecomeCandidate";
        break;
    case RAFT_LEADER:
        name = "BecomeLeader";
        break;
    case RAFT_STOPPED:
        break;
    }
    begin(events, name);
    buffer_append_format(&events->line, ",\"why\":\"%s\"", why);
    end(events);
}

static void plain(struct events *events, const char *name, u64 index)
{
    if (events->trace == NULL)
        return;
    begin(events, name);
    buffer_append_format(&events->line, ",\"index\":%" PRIu64, index);
    end(events);
}

void events_appended(struct events *events, u64 index)
{
    plain(events, "Replicate", index);
}

void events_persisted(struct events *events, u64 index)
{
    plain(events, "Persist", index);
}

void events_committed(struct events *events)
{
    plain(events, "Commit", events->raft->commit_index);
}

void events_applied(struct events *events, u64 index)
{
    plain(events, "Apply", index);
}

void events_installed(struct events *events)
{
    plain(events, "InstallSnapshot", events->raft->commit_index);
}

static const char *message_name(enum message_kind kind)
{
    switch (kind) {
    case MESSAGE_PRE_VOTE:
        return "RequestPreVoteRequest";
    case MESSAGE_PRE_VOTE_REPLY:
        return "RequestPreVoteResponse";
    case MESSAGE_REQUEST_VOTE:
        return "RequestVoteRequest";
    case MESSAGE_REQUEST_VOTE_REPLY:
        return "RequestVoteResponse";
    case MESSAGE_APPEND_ENTRIES:
        return "AppendEntriesRequest";
    case MESSAGE_APPEND_ENTRIES_REPLY:
        return "AppendEntriesResponse";
    case MESSAGE_FORWARD:
        return "ForwardRequest";
    case MESSAGE_FORWARD_REPLY:
        return "ForwardResponse";
    case MESSAGE_TIMEOUT_NOW:
        return "TimeoutNow";
    case MESSAGE_INSTALL_SNAPSHOT:
        return "InstallSnapshotRequest";
    case MESSAGE_INSTALL_SNAPSHOT_REPLY:
        return "InstallSnapshotResponse";
    case MESSAGE_UNRECOGNISED:
        return "Unrecognised";
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        break;
    }
    UNREACHABLE();
}

static void message_body(struct buffer *line, const struct message *message)
{
    switch (message->kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_REQUEST_VOTE: {
        const struct vote_request *vote = &message->as.vote_request;
        buffer_append_format(line, ",\"index\":%" PRIu64 ",\"logTerm\":%" PRIu64 ",\"transfer\":%s",
                             vote->last.index, vote->last.term, vote->transfer ? "true" : "false");
        return;
    }
    case MESSAGE_PRE_VOTE_REPLY:
    case MESSAGE_REQUEST_VOTE_REPLY:
        buffer_append_format(line, ",\"reject\":%s",
                             message->as.vote_reply.granted ? "false" : "true");
        return;
    case MESSAGE_APPEND_ENTRIES: {
        const struct append_request *append = &message->as.append_request;
        buffer_append_format(line,
                             ",\"index\":%" PRIu64 ",\"logTerm\":%" PRIu64 ",\"commit\":%" PRIu64
                             ",\"entries\":%" PRIu32 ",\"round\":%" PRIu64,
                             append->prev.index, append->prev.term, append->leader_commit,
                             append->count, append->round);
        return;
    }
    case MESSAGE_APPEND_ENTRIES_REPLY: {
        const struct append_reply *reply = &message->as.append_reply;
        buffer_append_format(
            line,
            ",\"reject\":%s,\"result\":%d,\"index\":%" PRIu64 ",\"hintTerm\":%" PRIu64
            ",\"hintIndex\":%" PRIu64 ",\"round\":%" PRIu64,
            reply->result == APPEND_ACCEPTED ? "false" : "true", (int)reply->result,
            reply->match_index, reply->conflict.term, reply->conflict.index, reply->round);
        return;
    }
    case MESSAGE_FORWARD:
        buffer_append_format(line, ",\"commands\":%" PRIu32 ",\"serial\":%" PRIu64,
                             message->as.forward_request.count, message->as.forward_request.serial);
        return;
    case MESSAGE_FORWARD_REPLY:
        buffer_append_format(line, ",\"commands\":%" PRIu32 ",\"reject\":%s",
                             message->as.forward_reply.count,
                             message->as.forward_reply.result == FORWARD_DONE ? "false" : "true");
        return;
    case MESSAGE_INSTALL_SNAPSHOT: {
        const struct install_request *install = &message->as.install_request;
        buffer_append_format(line,
                             ",\"index\":%" PRIu64 ",\"logTerm\":%" PRIu64 ",\"size\":%" PRIu64
                             ",\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"round\":%" PRIu64,
                             install->last.index, install->last.term, install->size,
                             install->offset, message_payload_size(message), install->round);
        return;
    }
    case MESSAGE_INSTALL_SNAPSHOT_REPLY: {
        const struct install_reply *reply = &message->as.install_reply;
        buffer_append_format(line, ",\"result\":%d,\"next\":%" PRIu64 ",\"round\":%" PRIu64,
                             (int)reply->result, reply->next_offset, reply->round);
        return;
    }
    case MESSAGE_UNRECOGNISED:
        buffer_append_format(line, ",\"why\":%d", (int)message->as.unrecognised.why);
        return;
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        return;
    }
}

static void message_event(struct events *events, const char *verb, const struct message *message)
{
    char name[64];
    (void)snprintf(name, sizeof(name), "%s%s", verb, message_name(message->kind));
    begin(events, name);
    buffer_append_format(&events->line,
                         ",\"msg\":{\"type\":\"%s\",\"from\":\"%" PRIu32 "\",\"to\":\"%" PRIu32
                         "\",\"term\":%" PRIu64 ",\"call\":%" PRIu64,
                         message_kind_word(message->kind), message->from, message->to,
                         message->term, message->call);
    message_body(&events->line, message);
    buffer_append_string(&events->line, "}");
    end(events);
}

void events_sent(struct events *events, const struct message *message)
{
    if (events->trace != NULL)
        message_event(events, "Send", message);
}

void events_received(struct events *events, const struct message *message)
{
    if (events->trace != NULL)
        message_event(events, "Receive", message);
}
