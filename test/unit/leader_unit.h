/* leader_unit.h - a leader to test, and the messages and answers between it and its peers.
 *
 * lead(3, "1 1 2", 3) makes server 1 of three the leader of term 3 at T_BEGIN; its log has the
 * given entries and, behind them, the no-op of its term. */
#ifndef MAILRAFT_TEST_UNIT_LEADER_UNIT_H
#define MAILRAFT_TEST_UNIT_LEADER_UNIT_H

#include "test/unit/rules_unit.h"

#define T_BEGIN (1000 * T_MS)

enum { COMMAND_BYTES = RECORD_HEADER_SIZE + 1 }; /* of the record of a command "x" */

UNIT_HELPER struct raft raft;
UNIT_HELPER struct leadership leadership;

UNIT_HELPER void lead(u32 servers, const char *terms, u64 term)
{
    raft_of(&raft, servers, 1, terms);
    adopt_term(&raft, term);
    memset(&leadership, 0xee, sizeof(leadership)); /* whatever lay on the stack */
    leadership_begin(&raft, &leadership, T_BEGIN, 77);
}

UNIT_HELPER void release(void)
{
    raft_deinit(&raft);
}

UNIT_HELPER struct progress *peer(server_id id)
{
    struct progress *progress = leadership_peer(&leadership, id);
    ck_assert_ptr_nonnull(progress);
    return progress;
}

UNIT_HELPER void append_commands(u32 count)
{
    for (u32 i = 0; i < count; i++)
        leadership_append(&raft, &leadership, (const u8 *)"x", 1, 0);
}

/* The message that the peer is sent now. Its records are checked and given back. */
UNIT_HELPER struct message sent_to(server_id id, u64 now_ns)
{
    struct message message;
    ck_assert_int_eq(replicate(&raft, &leadership, peer(id), now_ns, &message), REPLICATE_SEND);
    ck_assert_int_eq(message.kind, MESSAGE_APPEND_ENTRIES);
    ck_assert_uint_eq(message.to, id);
    ck_assert_uint_eq(message.term, raft.current_term);
    const struct append_request *append = &message.as.append_request;
    ck_assert(log_holds(&raft.log, append->prev));
    ck_assert_uint_eq(append->leader_commit, raft.commit_index);
    u64 first = append->prev.index + 1;
    ck_assert_uint_eq(message_payload_size(&message),
                      log_bytes(&raft.log, first, append->prev.index + append->count));
    message_release(&message);
    return message;
}

UNIT_HELPER void nothing_to(server_id id, u64 now_ns)
{
    struct message message;
    ck_assert_int_eq(replicate(&raft, &leadership, peer(id), now_ns, &message), REPLICATE_NOTHING);
}

UNIT_HELPER struct message reply_to(const struct message *request, enum append_result result)
{
    struct message reply = {.kind = MESSAGE_APPEND_ENTRIES_REPLY,
                            .from = request->to,
                            .to = request->from,
                            .term = request->term,
                            .call = request->call};
    reply.as.append_reply.result = result;
    reply.as.append_reply.round = request->as.append_request.round;
    return reply;
}

/* The peer holds everything through the message's end. */
UNIT_HELPER void accepts(const struct message *request, u64 now_ns)
{
    struct message reply = reply_to(request, APPEND_ACCEPTED);
    reply.as.append_reply.match_index =
        request->as.append_request.prev.index + request->as.append_request.count;
    replicate_reply(&raft, peer(request->to), &reply, now_ns);
}

UNIT_HELPER void refuses(const struct message *request, struct entry_id conflict, u64 now_ns)
{
    struct message reply = reply_to(request, APPEND_REFUSED_CONFLICT);
    reply.as.append_reply.conflict = conflict;
    replicate_reply(&raft, peer(request->to), &reply, now_ns);
}

UNIT_HELPER void has_no_space(const struct message *request, u64 now_ns)
{
    struct message reply = reply_to(request, APPEND_REFUSED_SPACE);
    replicate_reply(&raft, peer(request->to), &reply, now_ns);
}

/* Brings the peer to PIPELINE: it holds all there is now. */
UNIT_HELPER void catch_up(server_id id)
{
    struct message message = sent_to(id, T_BEGIN);
    accepts(&message, T_BEGIN);
    ck_assert_int_eq(peer(id)->mode, PROGRESS_PIPELINE);
    ck_assert_uint_eq(peer(id)->match_index, raft.log.last_index);
}

#endif
