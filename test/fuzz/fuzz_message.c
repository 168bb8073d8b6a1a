/* fuzz_message.c - a frame from a peer that is no hello (peers/codec.h). */
#include "common/crc32c.h"
#include "server/peers/codec.h"
#include "server/rules/entry.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/fuzz_frame.h"

static bool ids_equal(struct entry_id a, struct entry_id b)
{
    return a.index == b.index && a.term == b.term;
}

static bool append_replies_equal(const struct append_reply *a, const struct append_reply *b)
{
    /* A conflict is told only with the result that has one. */
    return a->result == b->result && a->match_index == b->match_index && a->round == b->round &&
           a->full == b->full && a->repairing == b->repairing && a->non_voter == b->non_voter &&
           (a->result != APPEND_REFUSED_CONFLICT || ids_equal(a->conflict, b->conflict));
}

static bool installs_equal(const struct install_request *a, const struct install_request *b)
{
    return ids_equal(a->last, b->last) && a->size == b->size && a->checksum == b->checksum &&
           a->offset == b->offset && a->round == b->round;
}

static bool bodies_equal(const struct message *a, const struct message *b)
{
    switch (a->kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_REQUEST_VOTE:
        return ids_equal(a->as.vote_request.last, b->as.vote_request.last) &&
               a->as.vote_request.transfer == b->as.vote_request.transfer;
    case MESSAGE_PRE_VOTE_REPLY:
    case MESSAGE_REQUEST_VOTE_REPLY:
        return a->as.vote_reply.granted == b->as.vote_reply.granted;
    case MESSAGE_APPEND_ENTRIES:
        return ids_equal(a->as.append_request.prev, b->as.append_request.prev) &&
               a->as.append_request.leader_commit == b->as.append_request.leader_commit &&
               a->as.append_request.round == b->as.append_request.round &&
               a->as.append_request.count == b->as.append_request.count;
    case MESSAGE_APPEND_ENTRIES_REPLY:
        return append_replies_equal(&a->as.append_reply, &b->as.append_reply);
    case MESSAGE_FORWARD:
        return a->as.forward_request.start == b->as.forward_request.start &&
               a->as.forward_request.serial == b->as.forward_request.serial &&
               a->as.forward_request.attempt == b->as.forward_request.attempt &&
               a->as.forward_request.first_write == b->as.forward_request.first_write &&
               a->as.forward_request.previous_write == b->as.forward_request.previous_write &&
               a->as.forward_request.count == b->as.forward_request.count;
    case MESSAGE_FORWARD_REPLY:
        return a->as.forward_reply.result == b->as.forward_reply.result &&
               a->as.forward_reply.count == b->as.forward_reply.count &&
               a->as.forward_reply.refused_from == b->as.forward_reply.refused_from &&
               a->as.forward_reply.leads == b->as.forward_reply.leads &&
               a->as.forward_reply.first == b->as.forward_reply.first;
    case MESSAGE_INSTALL_SNAPSHOT:
        return installs_equal(&a->as.install_request, &b->as.install_request);
    case MESSAGE_INSTALL_SNAPSHOT_REPLY:
        return a->as.install_reply.result == b->as.install_reply.result &&
               a->as.install_reply.next_offset == b->as.install_reply.next_offset &&
               a->as.install_reply.round == b->as.install_reply.round;
    case MESSAGE_UNRECOGNISED:
        return a->as.unrecognised.directory_id == b->as.unrecognised.directory_id &&
               a->as.unrecognised.start_count == b->as.unrecognised.start_count &&
               a->as.unrecognised.why == b->as.unrecognised.why;
    case MESSAGE_TIMEOUT_NOW:
        return true;
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        break;
    }
    UNREACHABLE();
}

static void check_same(const struct message *a, const struct message *b)
{
    ASSERT(a->kind == b->kind && a->from == b->from && a->to == b->to && a->term == b->term &&
           a->call == b->call && bodies_equal(a, b));
    ASSERT(a->span_count == b->span_count && a->span_count <= 1);
    if (a->span_count == 1)
        ASSERT(a->spans[0].size == b->spans[0].size && a->spans[0].size > 0 &&
               memcmp(a->spans[0].data, b->spans[0].data, a->spans[0].size) == 0);
}

/* What rules take for granted of a message. */
static void check_sound(const struct message *message)
{
    const char *why;
    ASSERT(message->from != SERVER_NONE && message->to != SERVER_NONE);
    ASSERT(message->term > 0 && message->term <= MESSAGE_NUMBER_MAX);
    if (message->kind != MESSAGE_APPEND_ENTRIES)
        return;
    const struct append_request *request = &message->as.append_request;
    ASSERT((request->count > 0) == (message->span_count > 0));
    if (request->count > 0)
        ASSERT(records_check(message->spans[0].data, message->spans[0].size,
                             request->prev.index + 1, request->count, &why));
}

/* Written again and read again it is the same, and what is written does not change any more. */
static void check_again(const struct message *message)
{
    struct frame_head head, head_again;
    struct message again;
    struct error error;
    message_encode(message, &head);
    u32 payload_size = (u32)message_payload_size(message);
    struct block *frame = block_create(head.size + payload_size);
    memcpy(frame->data, head.bytes, head.size);
    if (payload_size > 0)
        memcpy(frame->data + head.size, message->spans[0].data, payload_size);
    ASSERT(message_decode(frame, frame->size, &again, &error) == ERROR_NONE);
    check_same(message, &again);
    message_encode(&again, &head_again);
    ASSERT(head.size == head_again.size && memcmp(head.bytes, head_again.bytes, head.size) == 0);
    message_release(&again);
    block_release(frame);
}

static void run(const u8 *data, size_t size)
{
    struct message message, copied;
    struct error error;
    struct block *frame = block_create_copy(data, (u32)size);
    enum error_code code = message_decode(frame, (u32)size, &message, &error);
    ASSERT(message_decode_copy(data, (u32)size, &copied, &error) == code);
    ASSERT(code == ERROR_NONE || code == ERROR_FORMAT);
    if (code == ERROR_NONE) {
        u32 whole;
        enum frame_type type;
        ASSERT(frame_size(data, size, &whole, &type, &error) == ERROR_NONE);
        ASSERT(whole == size && type == FRAME_MESSAGE);
        ASSERT(frame_size(data, size - 1, &whole, &type, &error) == ERROR_FORMAT);
        check_sound(&message);
        check_same(&message, &copied);
        check_again(&message);
        message_release(&message);
        message_release(&copied);
    }
    block_release(frame);
}

const struct fuzz_target fuzz_message = {.name = "message",
                                         .input_max = 2048,
                                         .run = run,
                                         .repair = fuzz_frame_repair,
                                         .memory_base = 2048,
                                         .memory_each = 8};
