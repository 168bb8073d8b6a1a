/* codec.c - messages to frames and back; the format is in codec.h.
 *
 * nanopb encodes and decodes the head of a message. The tag and size of the payload, the last
 * field, are written and checked here by hand, so that the payload itself is never moved. */
#include "server/peers/codec.h"

#include <pb_decode.h>
#include <pb_encode.h>

#include "raft.pb.h"
#include "server/peers/frame.h"
#include "server/rules/entry.h"

enum {
    PAYLOAD_TAG = 15 << 3 | PB_WT_STRING, /* one byte: 0x7a */
    PAYLOAD_MARK_MAX = 1 + 5              /* the tag, and a u32 as varint */
};

_Static_assert((int)mailraft_Kind_KIND_PRE_VOTE == (int)MESSAGE_PRE_VOTE &&
                   (int)mailraft_Kind_KIND_APPEND_ENTRIES == (int)MESSAGE_APPEND_ENTRIES &&
                   (int)mailraft_Kind_KIND_TIMEOUT_NOW == (int)MESSAGE_TIMEOUT_NOW &&
                   (int)_mailraft_Kind_MAX + 1 == (int)MESSAGE_KIND_END,
               "the kinds of raft.proto are those of message.h");
_Static_assert(mailraft_Message_size + PAYLOAD_MARK_MAX <= FRAME_HEADER_MAX &&
                   mailraft_Hello_size <= FRAME_HEADER_MAX,
               "the head of every message fits into a frame_head");
_Static_assert(sizeof(((mailraft_Hello *)0)->cluster_id) == CLUSTER_ID_SIZE &&
                   sizeof(((mailraft_Hello *)0)->refusal) == HELLO_REFUSAL_SIZE,
               "raft.options has the sizes of codec.h");

/* ---- the payload's announcement ---- */

/* What precedes the payload's bytes when it is the last field of a message. Returns its size, 0 for
 * no payload. */
static u32 payload_mark(u32 payload_size, u8 *mark)
{
    if (payload_size == 0)
        return 0;
    u32 size = 0;
    mark[size++] = PAYLOAD_TAG;
    for (; payload_size >= 0x80; payload_size >>= 7)
        mark[size++] = (u8)(payload_size | 0x80);
    mark[size++] = (u8)payload_size;
    return size;
}

/* ---- encoding messages ---- */

static mailraft_EntryId id_to_wire(struct entry_id id)
{
    return (mailraft_EntryId){.term = id.term, .index = id.index};
}

static struct entry_id id_from_wire(const mailraft_EntryId *id)
{
    return (struct entry_id){.term = id->term, .index = id->index};
}

/* The tag of the body that belongs to the kind; 0: none does. */
static pb_size_t body_tag(enum message_kind kind)
{
    switch (kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_REQUEST_VOTE:
        return mailraft_Message_vote_request_tag;
    case MESSAGE_PRE_VOTE_REPLY:
    case MESSAGE_REQUEST_VOTE_REPLY:
        return mailraft_Message_vote_reply_tag;
    case MESSAGE_APPEND_ENTRIES:
        return mailraft_Message_append_request_tag;
    case MESSAGE_APPEND_ENTRIES_REPLY:
        return mailraft_Message_append_reply_tag;
    case MESSAGE_FORWARD:
        return mailraft_Message_forward_request_tag;
    case MESSAGE_FORWARD_REPLY:
        return mailraft_Message_forward_reply_tag;
    case MESSAGE_INSTALL_SNAPSHOT:
        return mailraft_Message_install_request_tag;
    case MESSAGE_INSTALL_SNAPSHOT_REPLY:
        return mailraft_Message_install_reply_tag;
    case MESSAGE_UNRECOGNISED:
        return mailraft_Message_unrecognised_tag;
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        break;
    }
    return 0;
}

static mailraft_AppendReply append_reply_to_wire(const struct append_reply *reply)
{
    return (mailraft_AppendReply){
        .result = reply->result,
        .match_index = reply->match_index,
        .has_conflict = reply->result == APPEND_REFUSED_CONFLICT,
        .conflict = id_to_wire(reply->conflict),
        .round = reply->round,
        .repairing = reply->repairing,
        .full = reply->full,
        .non_voter = reply->non_voter,
        .readmitted = reply->readmitted,
    };
}

static void body_to_wire(const struct message *message, mailraft_Message *wire)
{
    const struct unrecognised *told = &message->as.unrecognised;
    wire->which_body = body_tag(message->kind);
    switch (wire->which_body) {
    case mailraft_Message_vote_request_tag:
        wire->body.vote_request = (mailraft_VoteRequest){
            .has_last = true,
            .last = id_to_wire(message->as.vote_request.last),
            .transfer = message->as.vote_request.transfer,
        };
        break;
    case mailraft_Message_vote_reply_tag:
        wire->body.vote_reply = (mailraft_VoteReply){
            .granted = message->as.vote_reply.granted,
            .readmitted = message->as.vote_reply.readmitted,
        };
        break;
    case mailraft_Message_append_request_tag:
        wire->body.append_request = (mailraft_AppendRequest){
            .has_prev = true,
            .prev = id_to_wire(message->as.append_request.prev),
            .leader_commit = message->as.append_request.leader_commit,
            .round = message->as.append_request.round,
            .count = message->as.append_request.count,
        };
        break;
    case mailraft_Message_append_reply_tag:
        wire->body.append_reply = append_reply_to_wire(&message->as.append_reply);
        break;
    case mailraft_Message_forward_request_tag:
        wire->body.forward_request = (mailraft_ForwardRequest){
            .start = message->as.forward_request.start,
            .serial = message->as.forward_request.serial,
            .count = message->as.forward_request.count,
            .attempt = message->as.forward_request.attempt,
            .first_write = message->as.forward_request.first_write,
            .previous_write = message->as.forward_request.previous_write,
        };
        break;
    case mailraft_Message_forward_reply_tag:
        wire->body.forward_reply =
            (mailraft_ForwardReply){.result = message->as.forward_reply.result,
                                    .count = message->as.forward_reply.count,
                                    .first = message->as.forward_reply.first,
                                    .refused_from = message->as.forward_reply.refused_from,
                                    .leads = message->as.forward_reply.leads};
        break;
    case mailraft_Message_install_request_tag:
        wire->body.install_request = (mailraft_InstallRequest){
            .has_last = true,
            .last = id_to_wire(message->as.install_request.last),
            .size = message->as.install_request.size,
            .checksum = message->as.install_request.checksum,
            .offset = message->as.install_request.offset,
            .round = message->as.install_request.round,
        };
        break;
    case mailraft_Message_install_reply_tag:
        wire->body.install_reply =
            (mailraft_InstallReply){.result = message->as.install_reply.result,
                                    .next_offset = message->as.install_reply.next_offset,
                                    .round = message->as.install_reply.round};
        break;
    case mailraft_Message_unrecognised_tag:
        wire->body.unrecognised = (mailraft_Unrecognised){.directory_id = told->directory_id,
                                                          .start_count = told->start_count,
                                                          .why = told->why,
                                                          .readmitted = told->readmitted};
        break;
    default: /* TIMEOUT_NOW: the kind says it all */
        break;
    }
}

void message_encode(const struct message *message, struct frame_head *head)
{
    message_encode_for(message, PROTOCOL_VERSION_MAX, head);
}

void message_encode_for(const struct message *message, u32 protocol_version,
                        struct frame_head *head)
{
    u32 version = frame_version_for(protocol_version);
    u32 prefix_size = frame_prefix_size(version);
    ASSERT(message->kind > MESSAGE_NONE && message->kind < MESSAGE_KIND_END);
    mailraft_Message wire = {
        .kind = (mailraft_Kind)message->kind,
        .from = message->from,
        .to = message->to,
        .term = message->term,
        .call = message->call,
    };
    body_to_wire(message, &wire);
    pb_ostream_t stream = pb_ostream_from_buffer(head->bytes + prefix_size, FRAME_HEADER_MAX);
    bool encoded = pb_encode(&stream, mailraft_Message_fields, &wire);
    ASSERT(encoded);
    u64 payload_size = message_payload_size(message);
    ASSERT(payload_size <= UINT32_MAX);
    u8 *mark = head->bytes + prefix_size + stream.bytes_written;
    u32 mark_size = payload_mark((u32)payload_size, mark);
    frame_close(head, FRAME_MESSAGE, version, stream.bytes_written + mark_size, message->spans,
                message->span_count, payload_size);
}

/* ---- decoding messages ---- */

static enum error_code refuse(struct error *error, const struct message *message, const char *why)
{
    return error_set(error, ERROR_FORMAT, "%s message: %s", message_kind_word(message->kind), why);
}

/* Whether it is a place in a log: {0, 0}, or a term and an index that count from 1. */
static bool id_is_sound(struct entry_id id)
{
    if (id.index == 0)
        return id.term == 0;
    return id.term > 0 && id.term <= MESSAGE_NUMBER_MAX && id.index <= MESSAGE_NUMBER_MAX;
}

/* The terms of the records lie between prev's and the leader's. They do not fall (records_check),
 * so the first and the last tell. */
static bool records_terms_fit(const struct message *message, const u8 *records, u32 size)
{
    struct entry entry;
    u32 offset = record_peek(records, &entry);
    if (entry.id.term < message->as.append_request.prev.term)
        return false;
    while (offset < size)
        offset += record_peek(records + offset, &entry);
    return entry.id.term <= message->term;
}

static enum error_code append_from_wire(const mailraft_AppendRequest *wire,
                                        const struct frame_parts *parts, struct message *message,
                                        struct error *error)
{
    struct append_request *request = &message->as.append_request;
    *request = (struct append_request){
        .prev = id_from_wire(&wire->prev),
        .leader_commit = wire->leader_commit,
        .round = wire->round,
        .count = wire->count,
    };
    if (!id_is_sound(request->prev) || request->prev.term > message->term)
        return refuse(error, message, "impossible previous entry");
    if (request->leader_commit > MESSAGE_NUMBER_MAX || request->round > MESSAGE_NUMBER_MAX)
        return refuse(error, message, "commit index or round out of range");
    if (request->count == 0 || parts->payload_size == 0) {
        if (request->count != 0 || parts->payload_size != 0)
            return refuse(error, message, "count and records do not fit together");
        return ERROR_NONE;
    }
    const char *why = "";
    if (!records_check(parts->payload, parts->payload_size, request->prev.index + 1, request->count,
                       &why))
        return refuse(error, message, why);
    if (!records_terms_fit(message, parts->payload, parts->payload_size))
        return refuse(error, message,
                      "entries of a term before the previous one's or after the "
                      "leader's");
    return ERROR_NONE;
}

static enum error_code append_reply_from_wire(const mailraft_AppendReply *wire,
                                              struct message *message, struct error *error)
{
    if (wire->result < APPEND_ACCEPTED || wire->result > APPEND_REFUSED_SPACE)
        return refuse(error, message, "unknown result");
    struct append_reply *reply = &message->as.append_reply;
    *reply = (struct append_reply){
        .result = (enum append_result)wire->result,
        .match_index = wire->match_index,
        .conflict = id_from_wire(&wire->conflict),
        .round = wire->round,
        .repairing = wire->repairing,
        .full = wire->full,
        .non_voter = wire->non_voter,
        .readmitted = wire->readmitted,
    };
    if (reply->match_index > MESSAGE_NUMBER_MAX || reply->round > MESSAGE_NUMBER_MAX ||
        reply->readmitted > MESSAGE_NUMBER_MAX)
        return refuse(error, message, "match index, round or readmission out of range");
    /* A conflict's term is 0 when the log just ends before prev; its index is never 0, since
     * before the first entry all logs match. */
    bool conflict_sound =
        reply->conflict.index <= MESSAGE_NUMBER_MAX && reply->conflict.term <= MESSAGE_NUMBER_MAX;
    if (!conflict_sound || (reply->result == APPEND_REFUSED_CONFLICT && reply->conflict.index == 0))
        return refuse(error, message, "impossible conflict");
    return ERROR_NONE;
}

/* A command or answer has at least one byte, so the payload bounds their count. */
static bool count_fits(u32 count, u32 payload_size)
{
    return count > 0 && count <= payload_size;
}

static enum error_code forward_from_wire(const mailraft_ForwardRequest *wire,
                                         const struct frame_parts *parts, struct message *message,
                                         struct error *error)
{
    message->as.forward_request = (struct forward_request){.start = wire->start,
                                                           .serial = wire->serial,
                                                           .count = wire->count,
                                                           .attempt = wire->attempt,
                                                           .first_write = wire->first_write,
                                                           .previous_write = wire->previous_write};
    if (wire->serial == 0)
        return refuse(error, message, "serial 0");
    if (wire->attempt == 0 && (wire->first_write != 0 || wire->previous_write != 0))
        return refuse(error, message, "numbered writes without an attempt");
    if (wire->first_write > MESSAGE_NUMBER_MAX || wire->previous_write > MESSAGE_NUMBER_MAX ||
        (wire->first_write != 0 && wire->previous_write >= wire->first_write))
        return refuse(error, message, "impossible serials of writes");
    if (!count_fits(wire->count, parts->payload_size))
        return refuse(error, message, "count and commands do not fit together");
    return ERROR_NONE;
}

static enum error_code forward_reply_from_wire(const mailraft_ForwardReply *wire,
                                               const struct frame_parts *parts,
                                               struct message *message, struct error *error)
{
    if (wire->result != FORWARD_DONE && wire->result != FORWARD_NOT_LEADER)
        return refuse(error, message, "unknown result");
    message->as.forward_reply = (struct forward_reply){.result = (enum forward_result)wire->result,
                                                       .count = wire->count,
                                                       .first = wire->first,
                                                       .refused_from = wire->refused_from,
                                                       .leads = wire->leads};
    if (wire->result == FORWARD_DONE ? !count_fits(wire->count, parts->payload_size)
                                     : parts->payload_size != 0)
        return refuse(error, message, "count and answers do not fit together");
    return ERROR_NONE;
}

static enum error_code install_from_wire(const mailraft_InstallRequest *wire,
                                         const struct frame_parts *parts, struct message *message,
                                         struct error *error)
{
    struct install_request *request = &message->as.install_request;
    *request = (struct install_request){
        .last = id_from_wire(&wire->last),
        .size = wire->size,
        .checksum = wire->checksum,
        .offset = wire->offset,
        .round = wire->round,
    };
    if (!id_is_sound(request->last) || request->last.index == 0 ||
        request->last.term > message->term)
        return refuse(error, message, "impossible last entry");
    if (request->size == 0 || request->size > MESSAGE_NUMBER_MAX ||
        request->offset > request->size || parts->payload_size > request->size - request->offset)
        return refuse(error, message, "a piece that does not lie in its file");
    if (request->round > MESSAGE_NUMBER_MAX)
        return refuse(error, message, "round out of range");
    return ERROR_NONE;
}

static enum error_code install_reply_from_wire(const mailraft_InstallReply *wire,
                                               struct message *message, struct error *error)
{
    if (wire->result < INSTALL_CONTINUE || wire->result > INSTALL_REFUSED_TERM)
        return refuse(error, message, "unknown result");
    message->as.install_reply = (struct install_reply){.result = (enum install_result)wire->result,
                                                       .next_offset = wire->next_offset,
                                                       .round = wire->round};
    if (wire->next_offset > MESSAGE_NUMBER_MAX || wire->round > MESSAGE_NUMBER_MAX)
        return refuse(error, message, "offset or round out of range");
    return ERROR_NONE;
}

static enum error_code vote_from_wire(const mailraft_VoteRequest *wire, struct message *message,
                                      struct error *error)
{
    message->as.vote_request =
        (struct vote_request){.last = id_from_wire(&wire->last), .transfer = wire->transfer};
    if (!id_is_sound(message->as.vote_request.last) ||
        message->as.vote_request.last.term > message->term)
        return refuse(error, message, "impossible last entry");
    return ERROR_NONE;
}

static enum error_code unrecognised_from_wire(const mailraft_Unrecognised *wire,
                                              struct message *message, struct error *error)
{
    if (wire->why <= DISTRUST_NONE || wire->why >= DISTRUST_END)
        return refuse(error, message, "no reason that is known");
    if (wire->readmitted > MESSAGE_NUMBER_MAX)
        return refuse(error, message, "readmission out of range");
    message->as.unrecognised = (struct unrecognised){wire->directory_id, wire->start_count,
                                                     (enum distrust)wire->why, wire->readmitted};
    return ERROR_NONE;
}

/* Everything in the head of a message that does not depend on its kind. */
static enum error_code message_from_wire(const mailraft_Message *wire,
                                         const struct frame_parts *parts, struct message *message,
                                         struct error *error)
{
    if ((u32)wire->kind <= MESSAGE_NONE || (u32)wire->kind >= MESSAGE_KIND_END)
        return error_set(error, ERROR_FORMAT, "message of unknown kind %u", (unsigned)wire->kind);
    message->kind = (enum message_kind)wire->kind;
    message->from = wire->from;
    message->to = wire->to;
    message->term = wire->term;
    message->call = wire->call;
    if (wire->from == SERVER_NONE || wire->to == SERVER_NONE || wire->from == wire->to)
        return refuse(error, message, "impossible sender or receiver");
    if (wire->term == 0 || wire->term > MESSAGE_NUMBER_MAX)
        return refuse(error, message, "term out of range");
    if (wire->which_body != body_tag(message->kind))
        return refuse(error, message, "not the body that belongs to its kind");
    if (parts->payload_size > 0 && wire->which_body != mailraft_Message_append_request_tag &&
        wire->which_body != mailraft_Message_forward_request_tag &&
        wire->which_body != mailraft_Message_forward_reply_tag &&
        wire->which_body != mailraft_Message_install_request_tag)
        return refuse(error, message, "a payload where none belongs");
    switch (wire->which_body) {
    case mailraft_Message_vote_request_tag:
        return vote_from_wire(&wire->body.vote_request, message, error);
    case mailraft_Message_vote_reply_tag:
        if (wire->body.vote_reply.readmitted > MESSAGE_NUMBER_MAX)
            return refuse(error, message, "readmission out of range");
        message->as.vote_reply.granted = wire->body.vote_reply.granted;
        message->as.vote_reply.readmitted = wire->body.vote_reply.readmitted;
        return ERROR_NONE;
    case mailraft_Message_append_request_tag:
        return append_from_wire(&wire->body.append_request, parts, message, error);
    case mailraft_Message_append_reply_tag:
        return append_reply_from_wire(&wire->body.append_reply, message, error);
    case mailraft_Message_forward_request_tag:
        return forward_from_wire(&wire->body.forward_request, parts, message, error);
    case mailraft_Message_forward_reply_tag:
        return forward_reply_from_wire(&wire->body.forward_reply, parts, message, error);
    case mailraft_Message_install_request_tag:
        return install_from_wire(&wire->body.install_request, parts, message, error);
    case mailraft_Message_install_reply_tag:
        return install_reply_from_wire(&wire->body.install_reply, message, error);
    case mailraft_Message_unrecognised_tag:
        return unrecognised_from_wire(&wire->body.unrecognised, message, error);
    default: /* TIMEOUT_NOW */
        return ERROR_NONE;
    }
}

/* Checks a whole frame and fills in all of `message` but its span, which `parts` tells. */
static enum error_code message_open(const u8 *frame, u32 size, struct message *message,
                                    struct frame_parts *parts, struct error *error)
{
    message->span_count = 0;
    enum error_code code = frame_open(frame, size, FRAME_MESSAGE, parts, error);
    if (code != ERROR_NONE)
        return code;
    u8 mark[PAYLOAD_MARK_MAX];
    u32 mark_size = payload_mark(parts->payload_size, mark);
    if (parts->head_size < mark_size || memcmp(parts->payload - mark_size, mark, mark_size) != 0)
        return error_set(error, ERROR_FORMAT, "message whose head does not announce its payload");
    mailraft_Message wire = mailraft_Message_init_zero;
    pb_istream_t stream = pb_istream_from_buffer(parts->head, parts->head_size - mark_size);
    if (!pb_decode(&stream, mailraft_Message_fields, &wire))
        return error_set(error, ERROR_FORMAT, "message that cannot be decoded: %s",
                         PB_GET_ERROR(&stream));
    return message_from_wire(&wire, parts, message, error);
}

enum error_code message_decode(struct block *frame, u32 size, struct message *message,
                               struct error *error)
{
    ASSERT(size <= frame->size);
    struct frame_parts parts;
    enum error_code code = message_open(frame->data, size, message, &parts, error);
    if (code == ERROR_NONE && parts.payload_size > 0)
        message->spans[message->span_count++] = span_of(frame, parts.payload, parts.payload_size);
    return code;
}

enum error_code message_decode_copy(const u8 *frame, u32 size, struct message *message,
                                    struct error *error)
{
    struct frame_parts parts;
    enum error_code code = message_open(frame, size, message, &parts, error);
    if (code == ERROR_NONE && parts.payload_size > 0) {
        struct block *block = block_create_copy(parts.payload, parts.payload_size);
        message->spans[message->span_count++] =
            (struct span){.block = block, .data = block->data, .size = parts.payload_size};
    }
    return code;
}
