/* codec_unit.h - messages and frames to try, for the tests of server/peers/codec.c. */
#ifndef MAILRAFT_TEST_UNIT_CODEC_UNIT_H
#define MAILRAFT_TEST_UNIT_CODEC_UNIT_H

#include <stdio.h>

#include "common/crc32c.h"
#include "common/memory.h"
#include "server/peers/codec.h"
#include "server/rules/entry.h"
#include "test/unit/unit.h"

enum { FRAME_MAX = 1 << 20 };

/* ---- messages to try ---- */

UNIT_HELPER struct span span_of_bytes(const void *data, u32 size)
{
    struct block *block = block_create_copy(data, size);
    return (struct span){.block = block, .data = block->data, .size = size};
}

UNIT_HELPER struct span span_of_record(u64 index, u64 term, const char *payload)
{
    struct entry entry = {
        .id = {.term = term, .index = index},
        .type = ENTRY_COMMAND,
        .version = ENTRY_VERSION,
        .time_ns = 1000 + index,
        .session = 7,
        .serial = index,
        .payload = (const u8 *)payload,
        .payload_size = (u32)strlen(payload),
    };
    struct block *block = block_create(record_size_of(&entry));
    record_encode(&entry, block->data);
    return (struct span){.block = block, .data = block->data, .size = block->size};
}

UNIT_HELPER struct message message_of(enum message_kind kind)
{
    return (struct message){.kind = kind, .from = 1, .to = 300, .term = 9, .call = 1ULL << 40};
}

/* An AppendEntries of three entries in two spans. */
UNIT_HELPER struct message append_of_three(void)
{
    struct message message = message_of(MESSAGE_APPEND_ENTRIES);
    message.as.append_request = (struct append_request){
        .prev = {.term = 4, .index = 20}, .leader_commit = 19, .round = 5, .count = 3};
    struct span first = span_of_record(21, 4, "one");
    struct span second = span_of_record(22, 8, "");
    struct block *both = block_create(first.size + second.size);
    memcpy(both->data, first.data, first.size);
    memcpy(both->data + first.size, second.data, second.size);
    span_release(&first);
    span_release(&second);
    message.spans[0] = (struct span){.block = both, .data = both->data, .size = both->size};
    message.spans[1] = span_of_record(23, 9, "three");
    message.span_count = 2;
    return message;
}

/* A message of each kind with every field in use; those with a payload have one. */
UNIT_HELPER struct message sample(enum message_kind kind)
{
    struct message message = message_of(kind);
    switch (kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_REQUEST_VOTE:
        message.as.vote_request =
            (struct vote_request){.last = {.term = 8, .index = 1000}, .transfer = true};
        break;
    case MESSAGE_PRE_VOTE_REPLY:
    case MESSAGE_REQUEST_VOTE_REPLY:
        message.as.vote_reply.granted = kind == MESSAGE_REQUEST_VOTE_REPLY;
        break;
    case MESSAGE_APPEND_ENTRIES:
        return append_of_three();
    case MESSAGE_APPEND_ENTRIES_REPLY:
        message.as.append_reply = (struct append_reply){.result = APPEND_REFUSED_CONFLICT,
                                                        .conflict = {.term = 3, .index = 12},
                                                        .round = 77,
                                                        .repairing = true,
                                                        .full = true,
                                                        .non_voter = true};
        break;
    case MESSAGE_FORWARD:
        message.as.forward_request = (struct forward_request){.start = 3,
                                                              .serial = 12345678901,
                                                              .count = 2,
                                                              .attempt = 8,
                                                              .first_write = 12345678902,
                                                              .previous_write = 12345678899};
        message.spans[0] = span_of_bytes("some", 4);
        message.spans[1] = span_of_bytes("commands", 8);
        message.span_count = 2;
        break;
    case MESSAGE_FORWARD_REPLY:
        message.as.forward_reply = (struct forward_reply){.result = FORWARD_DONE,
                                                          .count = 1,
                                                          .first = 3,
                                                          .refused_from = 12345678900,
                                                          .leads = true};
        message.spans[0] = span_of_bytes("+OK\r\n", 5);
        message.span_count = 1;
        break;
    case MESSAGE_INSTALL_SNAPSHOT:
        message.as.install_request = (struct install_request){.last = {.term = 8, .index = 1000},
                                                              .size = 5000000000,
                                                              .checksum = 0xfedcba98,
                                                              .offset = 4999999990,
                                                              .round = 77};
        message.spans[0] = span_of_bytes("a piece", 7);
        message.span_count = 1;
        break;
    case MESSAGE_INSTALL_SNAPSHOT_REPLY:
        message.as.install_reply = (struct install_reply){
            .result = INSTALL_CONTINUE, .next_offset = 4999999990, .round = 77};
        break;
    case MESSAGE_UNRECOGNISED:
        message.as.unrecognised =
            (struct unrecognised){0xfedcba9876543210, 12, DISTRUST_SET_BACK, 99};
        break;
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        break;
    }
    return message;
}

/* The whole frame of a message as the wire carries it. */
UNIT_HELPER struct block *frame_of(const struct message *message)
{
    struct frame_head head;
    message_encode(message, &head);
    struct block *frame = block_create((u32)(head.size + message_payload_size(message)));
    u8 *to = frame->data;
    memcpy(to, head.bytes, head.size);
    to += head.size;
    for (u32 i = 0; i < message->span_count; i++) {
        memcpy(to, message->spans[i].data, message->spans[i].size);
        to += message->spans[i].size;
    }
    return frame;
}

UNIT_HELPER void seal(struct block *frame)
{
    u32 crc = crc32c(0, frame->data, 8);
    store_u32(frame->data + 8, crc32c(crc, frame->data + 16, frame->size - 16));
    store_u32(frame->data + 12, crc32c(0, frame->data, 12));
}

UNIT_HELPER void check_same_body(const struct message *a, const struct message *b)
{
    switch (a->kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_REQUEST_VOTE:
        ck_assert_uint_eq(a->as.vote_request.last.term, b->as.vote_request.last.term);
        ck_assert_uint_eq(a->as.vote_request.last.index, b->as.vote_request.last.index);
        ck_assert_int_eq(a->as.vote_request.transfer, b->as.vote_request.transfer);
        break;
    case MESSAGE_PRE_VOTE_REPLY:
    case MESSAGE_REQUEST_VOTE_REPLY:
        ck_assert_int_eq(a->as.vote_reply.granted, b->as.vote_reply.granted);
        break;
    case MESSAGE_APPEND_ENTRIES:
        ck_assert_uint_eq(a->as.append_request.prev.term, b->as.append_request.prev.term);
        ck_assert_uint_eq(a->as.append_request.prev.index, b->as.append_request.prev.index);
        ck_assert_uint_eq(a->as.append_request.leader_commit, b->as.append_request.leader_commit);
        ck_assert_uint_eq(a->as.append_request.round, b->as.append_request.round);
        ck_assert_uint_eq(a->as.append_request.count, b->as.append_request.count);
        break;
    case MESSAGE_APPEND_ENTRIES_REPLY:
        ck_assert_int_eq(a->as.append_reply.result, b->as.append_reply.result);
        ck_assert_uint_eq(a->as.append_reply.match_index, b->as.append_reply.match_index);
        ck_assert_uint_eq(a->as.append_reply.conflict.term, b->as.append_reply.conflict.term);
        ck_assert_uint_eq(a->as.append_reply.conflict.index, b->as.append_reply.conflict.index);
        ck_assert_uint_eq(a->as.append_reply.round, b->as.append_reply.round);
        ck_assert_int_eq(a->as.append_reply.repairing, b->as.append_reply.repairing);
        ck_assert_int_eq(a->as.append_reply.full, b->as.append_reply.full);
        ck_assert_int_eq(a->as.append_reply.non_voter, b->as.append_reply.non_voter);
        break;
    case MESSAGE_FORWARD:
        ck_assert_uint_eq(a->as.forward_request.start, b->as.forward_request.start);
        ck_assert_uint_eq(a->as.forward_request.serial, b->as.forward_request.serial);
        ck_assert_uint_eq(a->as.forward_request.count, b->as.forward_request.count);
        ck_assert_uint_eq(a->as.forward_request.attempt, b->as.forward_request.attempt);
        ck_assert_uint_eq(a->as.forward_request.first_write, b->as.forward_request.first_write);
        ck_assert_uint_eq(a->as.forward_request.previous_write,
                          b->as.forward_request.previous_write);
        break;
    case MESSAGE_FORWARD_REPLY:
        ck_assert_int_eq(a->as.forward_reply.result, b->as.forward_reply.result);
        ck_assert_uint_eq(a->as.forward_reply.count, b->as.forward_reply.count);
        ck_assert_uint_eq(a->as.forward_reply.first, b->as.forward_reply.first);
        ck_assert_uint_eq(a->as.forward_reply.refused_from, b->as.forward_reply.refused_from);
        ck_assert(a->as.forward_reply.leads == b->as.forward_reply.leads);
        break;
    case MESSAGE_INSTALL_SNAPSHOT:
        ck_assert_uint_eq(a->as.install_request.last.term, b->as.install_request.last.term);
        ck_assert_uint_eq(a->as.install_request.last.index, b->as.install_request.last.index);
        ck_assert_uint_eq(a->as.install_request.size, b->as.install_request.size);
        ck_assert_uint_eq(a->as.install_request.checksum, b->as.install_request.checksum);
        ck_assert_uint_eq(a->as.install_request.offset, b->as.install_request.offset);
        ck_assert_uint_eq(a->as.install_request.round, b->as.install_request.round);
        break;
    case MESSAGE_INSTALL_SNAPSHOT_REPLY:
        ck_assert_int_eq(a->as.install_reply.result, b->as.install_reply.result);
        ck_assert_uint_eq(a->as.install_reply.next_offset, b->as.install_reply.next_offset);
        ck_assert_uint_eq(a->as.install_reply.round, b->as.install_reply.round);
        break;
    case MESSAGE_UNRECOGNISED:
        ck_assert_uint_eq(a->as.unrecognised.directory_id, b->as.unrecognised.directory_id);
        ck_assert_uint_eq(a->as.unrecognised.start_count, b->as.unrecognised.start_count);
        ck_assert_int_eq(a->as.unrecognised.why, b->as.unrecognised.why);
        break;
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        break;
    }
}

UNIT_HELPER void check_same(const struct message *sent, const struct message *got)
{
    ck_assert_int_eq(sent->kind, got->kind);
    ck_assert_uint_eq(sent->from, got->from);
    ck_assert_uint_eq(sent->to, got->to);
    ck_assert_uint_eq(sent->term, got->term);
    ck_assert_uint_eq(sent->call, got->call);
    check_same_body(sent, got);
    ck_assert_uint_eq(message_payload_size(sent), message_payload_size(got));
    ck_assert_uint_le(got->span_count, 1);
    const u8 *at = got->spans[0].data;
    for (u32 i = 0; i < sent->span_count; i++) {
        ck_assert_mem_eq(sent->spans[i].data, at, sent->spans[i].size);
        at += sent->spans[i].size;
    }
}

/* Decodes what must be refused: both ways, from memory that ends where the frame does. */
UNIT_HELPER void check_refused(const u8 *bytes, u32 size)
{
    struct block *frame = block_create_copy(bytes, size);
    struct message message = {.span_count = 9};
    struct error error = {.code = ERROR_NONE};
    ck_assert_int_eq(message_decode(frame, size, &message, &error), ERROR_FORMAT);
    ck_assert_uint_eq(message.span_count, 0);
    ck_assert_uint_gt(strlen(error.text), 10);
    ck_assert_int_eq(message_decode_copy(frame->data, size, &message, &error), ERROR_FORMAT);
    ck_assert_uint_eq(message.span_count, 0);
    ck_assert_uint_eq(atomic_load(&frame->references), 1);
    block_release(frame);
}

/* Encodes a message that breaks a rule, and checks that its receiver refuses it for that. */
UNIT_HELPER void check_message_refused(struct message *message, const char *why)
{
    struct block *frame = frame_of(message);
    struct message got;
    struct error error;
    ck_assert_int_eq(message_decode(frame, frame->size, &got, &error), ERROR_FORMAT);
    ck_assert_msg(strstr(error.text, why) != NULL, "'%s' lacks '%s'", error.text, why);
    block_release(frame);
    message_release(message);
}

#endif
