/* check_codec.c - tests of server/peers/codec.c. */
#include "server/peers/codec.h"

#include <stdio.h>

#include "common/crc32c.h"
#include "common/memory.h"
#include "server/rules/entry.h"
#include "test/unit/unit.h"

enum { FRAME_MAX = 1 << 20 };

/* ---- messages to try ---- */

static struct span span_of_bytes(const void *data, u32 size)
{
    struct block *block = block_create_copy(data, size);
    return (struct span){.block = block, .data = block->data, .size = size};
}

static struct span span_of_record(u64 index, u64 term, const char *payload)
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

static struct message message_of(enum message_kind kind)
{
    return (struct message){.kind = kind, .from = 1, .to = 300, .term = 9, .call = 1ULL << 40};
}

/* An AppendEntries of three entries in two spans. */
static struct message append_of_three(void)
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
static struct message sample(enum message_kind kind)
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
        message.as.append_reply = (struct append_reply){
            .result = APPEND_REFUSED_CONFLICT, .conflict = {.term = 3, .index = 12}, .round = 77};
        break;
    case MESSAGE_FORWARD:
        message.as.forward_request =
            (struct forward_request){.start = 3, .serial = 12345678901, .count = 2};
        message.spans[0] = span_of_bytes("some", 4);
        message.spans[1] = span_of_bytes("commands", 8);
        message.span_count = 2;
        break;
    case MESSAGE_FORWARD_REPLY:
        message.as.forward_reply = (struct forward_reply){.result = FORWARD_DONE, .count = 1, .first = 3};
        message.spans[0] = span_of_bytes("+OK\r\n", 5);
        message.span_count = 1;
        break;
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        break;
    }
    return message;
}

/* The whole frame of a message as the wire carries it. */
static struct block *frame_of(const struct message *message)
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

static void seal(struct block *frame)
{
    u32 crc = crc32c(0, frame->data, 8);
    store_u32(frame->data + 8, crc32c(crc, frame->data + 12, frame->size - 12));
}

static void check_same_body(const struct message *a, const struct message *b)
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
        break;
    case MESSAGE_FORWARD:
        ck_assert_uint_eq(a->as.forward_request.start, b->as.forward_request.start);
        ck_assert_uint_eq(a->as.forward_request.serial, b->as.forward_request.serial);
        ck_assert_uint_eq(a->as.forward_request.count, b->as.forward_request.count);
        break;
    case MESSAGE_FORWARD_REPLY:
        ck_assert_int_eq(a->as.forward_reply.result, b->as.forward_reply.result);
        ck_assert_uint_eq(a->as.forward_reply.count, b->as.forward_reply.count);
        ck_assert_uint_eq(a->as.forward_reply.first, b->as.forward_reply.first);
        break;
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        break;
    }
}

static void check_same(const struct message *sent, const struct message *got)
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
static void check_refused(const u8 *bytes, u32 size)
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
static void check_message_refused(struct message *message, const char *why)
{
    struct block *frame = frame_of(message);
    struct message got;
    struct error error;
    ck_assert_int_eq(message_decode(frame, frame->size, &got, &error), ERROR_FORMAT);
    ck_assert_msg(strstr(error.text, why) != NULL, "'%s' lacks '%s'", error.text, why);
    block_release(frame);
    message_release(message);
}

/* ---- tests ---- */

START_TEST(message_encode__every_kind_comes_back)
{
    for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KIND_END; kind++) {
        struct message sent = sample((enum message_kind)kind);
        struct block *frame = frame_of(&sent);
        struct message got;
        struct error error;
        ck_assert_int_eq(message_decode(frame, frame->size, &got, &error), ERROR_NONE);
        check_same(&sent, &got);
        if (got.span_count > 0)
            ck_assert_ptr_eq(got.spans[0].block, frame);
        message_release(&got);
        ck_assert_int_eq(message_decode_copy(frame->data, frame->size, &got, &error), ERROR_NONE);
        ck_assert_uint_eq(atomic_load(&frame->references), 1);
        check_same(&sent, &got);
        message_release(&got);
        block_release(frame);
        message_release(&sent);
    }
}
END_TEST

START_TEST(message_encode__extreme_numbers_come_back)
{
    struct message sent = message_of(MESSAGE_APPEND_ENTRIES);
    sent.from = UINT32_MAX;
    sent.term = MESSAGE_NUMBER_MAX;
    sent.call = UINT64_MAX;
    sent.as.append_request.prev = (struct entry_id){MESSAGE_NUMBER_MAX, MESSAGE_NUMBER_MAX};
    sent.as.append_request.leader_commit = MESSAGE_NUMBER_MAX;
    sent.as.append_request.round = MESSAGE_NUMBER_MAX;
    struct block *frame = frame_of(&sent);
    struct message got;
    struct error error;
    ck_assert_int_eq(message_decode(frame, frame->size, &got, &error), ERROR_NONE);
    check_same(&sent, &got);
    block_release(frame);
}
END_TEST

START_TEST(message_encode__heartbeat_before_the_first_entry)
{
    struct message sent = message_of(MESSAGE_APPEND_ENTRIES);
    struct block *frame = frame_of(&sent);
    struct message got;
    struct error error;
    ck_assert_int_eq(message_decode(frame, frame->size, &got, &error), ERROR_NONE);
    check_same(&sent, &got);
    ck_assert_uint_lt(frame->size, 64);
    block_release(frame);
}
END_TEST

/* The payload's mark has another length for each of these sizes. */
START_TEST(message_encode__payloads_of_all_sizes)
{
    static const u32 sizes[] = {1, 127, 128, 16383, 16384, 2097151, 2097152};
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct message sent = message_of(MESSAGE_FORWARD);
        sent.as.forward_request = (struct forward_request){.start = 1, .serial = 1, .count = 1};
        struct block *payload = block_create(sizes[i]);
        memset(payload->data, 'x', sizes[i]);
        sent.spans[0] = (struct span){.block = payload, .data = payload->data, .size = sizes[i]};
        sent.span_count = 1;
        struct block *frame = frame_of(&sent);
        struct message got;
        struct error error;
        ck_assert_int_eq(message_decode(frame, frame->size, &got, &error), ERROR_NONE);
        check_same(&sent, &got);
        message_release(&got);
        block_release(frame);
        message_release(&sent);
    }
}
END_TEST

/* The bytes behind the prefix, looked at as protobuf's documentation has it: fields one after the
 * other, the last one number 15 with the records, ending where the frame ends. */
START_TEST(message_encode__payload_is_protobuf_field_15)
{
    struct message sent = append_of_three();
    struct block *frame = frame_of(&sent);
    const u8 *at = frame->data + FRAME_PREFIX_SIZE;
    const u8 *end = frame->data + frame->size;
    u32 number = 0;
    u64 value = 0;
    while (at < end) {
        number = *at >> 3;
        u32 type = *at++ & 7;
        value = 0;
        for (int shift = 0;; shift += 7) {
            value |= (u64)(*at & 0x7f) << shift;
            if ((*at++ & 0x80) == 0)
                break;
        }
        ck_assert(type == 0 || type == 2);
        if (type == 2)
            at += value;
    }
    ck_assert_ptr_eq(at, end);
    ck_assert_uint_eq(number, 15);
    ck_assert_uint_eq(value, message_payload_size(&sent));
    const char *path = getenv("MAILRAFT_FRAME_FILE"); /* for a look with protoc --decode */
    if (path != NULL) {
        FILE *file = fopen(path, "wb");
        ck_assert_ptr_nonnull(file);
        fwrite(frame->data + FRAME_PREFIX_SIZE, 1, frame->size - FRAME_PREFIX_SIZE, file);
        fclose(file);
    }
    block_release(frame);
    message_release(&sent);
}
END_TEST

START_TEST(message_decode__every_flipped_byte)
{
    for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KIND_END; kind++) {
        struct message sent = sample((enum message_kind)kind);
        struct block *frame = frame_of(&sent);
        for (u32 i = 0; i < frame->size; i++) {
            for (int bit = 0; bit < 9; bit++) {
                u8 was = frame->data[i];
                frame->data[i] = (u8)(was ^ (bit == 8 ? 0xff : 1 << bit));
                check_refused(frame->data, frame->size);
                frame->data[i] = was;
            }
        }
        block_release(frame);
        message_release(&sent);
    }
}
END_TEST

START_TEST(message_decode__cut_at_every_length)
{
    for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KIND_END; kind++) {
        struct message sent = sample((enum message_kind)kind);
        struct block *frame = frame_of(&sent);
        for (u32 size = 0; size < frame->size; size++)
            check_refused(frame->data, size);
        /* Cut, and made to look whole again: length and checksum are right. */
        for (u32 size = FRAME_PREFIX_SIZE; size < frame->size; size++) {
            struct block *cut = block_create_copy(frame->data, size);
            store_u32(cut->data, size - 4);
            u32 head_size = load_u16(cut->data + 6);
            if (head_size > size - FRAME_PREFIX_SIZE)
                store_u16(cut->data + 6, (u16)(size - FRAME_PREFIX_SIZE));
            seal(cut);
            struct message got;
            struct error error;
            /* A message cut between two fields can only lack its body or its payload. */
            if (message_decode(cut, size, &got, &error) == ERROR_NONE) {
                ck_assert_int_eq(kind, MESSAGE_TIMEOUT_NOW);
                message_release(&got);
            }
            block_release(cut);
        }
        block_release(frame);
        message_release(&sent);
    }
}
END_TEST

/* Damage behind the checksum: whatever comes out, nothing is read out of bounds. */
START_TEST(message_decode__flipped_and_sealed_again)
{
    for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KIND_END; kind++) {
        struct message sent = sample((enum message_kind)kind);
        struct block *frame = frame_of(&sent);
        for (u32 i = 4; i < frame->size; i++) {
            for (int value = 0; value < 256; value++) {
                u8 was = frame->data[i];
                frame->data[i] = (u8)value;
                seal(frame);
                struct message got;
                struct error error;
                if (message_decode(frame, frame->size, &got, &error) == ERROR_NONE)
                    message_release(&got);
                else
                    ck_assert_uint_eq(got.span_count, 0);
                frame->data[i] = was;
            }
        }
        ck_assert_uint_eq(atomic_load(&frame->references), 1);
        block_release(frame);
        message_release(&sent);
    }
}
END_TEST

START_TEST(message_decode__ids_and_terms_out_of_range)
{
    struct message message = sample(MESSAGE_TIMEOUT_NOW);
    message.from = SERVER_NONE;
    check_message_refused(&message, "sender");
    message = sample(MESSAGE_TIMEOUT_NOW);
    message.to = SERVER_NONE;
    check_message_refused(&message, "receiver");
    message = sample(MESSAGE_TIMEOUT_NOW);
    message.to = message.from;
    check_message_refused(&message, "receiver");
    message = sample(MESSAGE_TIMEOUT_NOW);
    message.term = 0;
    check_message_refused(&message, "term");
    message = sample(MESSAGE_TIMEOUT_NOW);
    message.term = MESSAGE_NUMBER_MAX + 1;
    check_message_refused(&message, "term");
}
END_TEST

START_TEST(message_decode__votes_out_of_range)
{
    struct message message = sample(MESSAGE_REQUEST_VOTE);
    message.as.vote_request.last = (struct entry_id){.term = 0, .index = 5};
    check_message_refused(&message, "last entry");
    message.as.vote_request.last = (struct entry_id){.term = 5, .index = 0};
    check_message_refused(&message, "last entry");
    message.as.vote_request.last = (struct entry_id){.term = message.term + 1, .index = 5};
    check_message_refused(&message, "last entry");
    message.as.vote_request.last = (struct entry_id){.term = 1, .index = MESSAGE_NUMBER_MAX + 1};
    check_message_refused(&message, "last entry");
}
END_TEST

START_TEST(message_decode__appends_out_of_range)
{
    struct message message = append_of_three();
    message.as.append_request.count = 2;
    check_message_refused(&message, "follow");
    message = append_of_three();
    message.as.append_request.count = 4;
    check_message_refused(&message, "record");
    message = append_of_three();
    message.as.append_request.count = UINT32_MAX;
    check_message_refused(&message, "record");
    message = append_of_three();
    message.as.append_request.count = 0;
    check_message_refused(&message, "count");
    message = append_of_three();
    message.as.append_request.prev.index = 19;
    check_message_refused(&message, "index");
    message = append_of_three();
    message.as.append_request.prev.term = 5;
    check_message_refused(&message, "term");
    message = append_of_three();
    message.term = 8;
    check_message_refused(&message, "term");
    message = append_of_three();
    message.as.append_request.leader_commit = UINT64_MAX;
    check_message_refused(&message, "commit");
    message = append_of_three();
    message.as.append_request.prev = (struct entry_id){.term = 4, .index = UINT64_MAX};
    check_message_refused(&message, "previous");
    message = append_of_three();
    message_release(&message);
    check_message_refused(&message, "count");
}
END_TEST

START_TEST(message_decode__replies_out_of_range)
{
    struct message message = sample(MESSAGE_APPEND_ENTRIES_REPLY);
    message.as.append_reply.result = (enum append_result)0;
    check_message_refused(&message, "result");
    message.as.append_reply.result = (enum append_result)(APPEND_REFUSED_SPACE + 1);
    check_message_refused(&message, "result");
    message = sample(MESSAGE_APPEND_ENTRIES_REPLY);
    message.as.append_reply.conflict = (struct entry_id){.term = 0, .index = 0};
    check_message_refused(&message, "conflict");
    message = sample(MESSAGE_APPEND_ENTRIES_REPLY);
    message.as.append_reply.match_index = UINT64_MAX;
    check_message_refused(&message, "match");
    message = sample(MESSAGE_FORWARD_REPLY);
    message.as.forward_reply.result = (enum forward_result)3;
    check_message_refused(&message, "result");
    message = sample(MESSAGE_FORWARD_REPLY);
    message.as.forward_reply.result = FORWARD_NOT_LEADER;
    check_message_refused(&message, "answers");
    message = sample(MESSAGE_FORWARD_REPLY);
    message.as.forward_reply.count = 6;
    check_message_refused(&message, "answers");
}
END_TEST

START_TEST(message_decode__forwards_out_of_range)
{
    struct message message = sample(MESSAGE_FORWARD);
    message.as.forward_request.serial = 0;
    check_message_refused(&message, "serial");
    message = sample(MESSAGE_FORWARD);
    message.as.forward_request.count = 0;
    check_message_refused(&message, "commands");
    message = sample(MESSAGE_FORWARD);
    message_release(&message);
    check_message_refused(&message, "commands");
    message = sample(MESSAGE_REQUEST_VOTE);
    message.spans[0] = span_of_bytes("stray", 5);
    message.span_count = 1;
    check_message_refused(&message, "payload");
}
END_TEST

START_TEST(message_decode__damaged_record)
{
    struct message sent = append_of_three();
    struct block *frame = frame_of(&sent);
    frame->data[frame->size - 1] ^= 1;
    seal(frame);
    struct message got;
    struct error error;
    ck_assert_int_eq(message_decode(frame, frame->size, &got, &error), ERROR_FORMAT);
    ck_assert_ptr_nonnull(strstr(error.text, "checksum"));
    block_release(frame);
    message_release(&sent);
}
END_TEST

START_TEST(frame_size__bounds)
{
    struct message sent = append_of_three();
    struct block *frame = frame_of(&sent);
    u32 size;
    enum frame_type type;
    struct error error;
    ck_assert_int_eq(frame_size(frame->data, FRAME_MAX, &size, &type, &error), ERROR_NONE);
    ck_assert_uint_eq(size, frame->size);
    ck_assert_int_eq(type, FRAME_MESSAGE);
    ck_assert_int_eq(frame_size(frame->data, frame->size, &size, &type, &error), ERROR_NONE);
    ck_assert_int_eq(frame_size(frame->data, frame->size - 1, &size, &type, &error), ERROR_FORMAT);
    static const u32 lengths[] = {0, 1, 7, 8, FRAME_MAX - 3, INT32_MAX, UINT32_MAX - 4, UINT32_MAX};
    for (size_t i = 0; i < ARRAY_LENGTH(lengths); i++) {
        store_u32(frame->data, lengths[i]);
        ck_assert_int_eq(frame_size(frame->data, FRAME_MAX, &size, &type, &error), ERROR_FORMAT);
    }
    block_release(frame);
    message_release(&sent);
}
END_TEST

static struct hello hello_sample(void)
{
    return (struct hello){
        .cluster_id = "a-Cluster_1.x",
        .from = 2,
        .to = 1,
        .directory_id = 0xfedcba9876543210,
        .start_count = 17,
        .seed_crc = 0xdeadbeef,
        .version_min = 1,
        .version_max = 3,
    };
}

START_TEST(hello_encode__comes_back)
{
    for (int answer = 0; answer < 2; answer++) {
        struct hello sent = hello_sample();
        if (answer == 1) {
            memset(sent.refusal, 'r', sizeof(sent.refusal) - 1);
            memset(sent.cluster_id, 'c', sizeof(sent.cluster_id) - 1);
            sent.version = 2;
        }
        struct frame_head head;
        hello_encode(&sent, answer == 1, &head);
        ck_assert_uint_le(head.size, HELLO_FRAME_MAX);
        struct hello got;
        struct error error;
        ck_assert_int_eq(hello_decode(head.bytes, head.size, answer == 1, &got, &error),
                         ERROR_NONE);
        ck_assert_str_eq(got.cluster_id, sent.cluster_id);
        ck_assert_str_eq(got.refusal, sent.refusal);
        ck_assert_uint_eq(got.from, sent.from);
        ck_assert_uint_eq(got.to, sent.to);
        ck_assert_uint_eq(got.directory_id, sent.directory_id);
        ck_assert_uint_eq(got.start_count, sent.start_count);
        ck_assert_uint_eq(got.seed_crc, sent.seed_crc);
        ck_assert_uint_eq(got.version_min, sent.version_min);
        ck_assert_uint_eq(got.version_max, sent.version_max);
        ck_assert_uint_eq(got.version, sent.version);
        ck_assert_int_eq(hello_decode(head.bytes, head.size, answer == 0, &got, &error),
                         ERROR_FORMAT);
    }
}
END_TEST

START_TEST(hello_decode__every_damage)
{
    struct hello sent = hello_sample();
    struct frame_head head;
    hello_encode(&sent, false, &head);
    struct hello got;
    struct error error;
    for (u32 i = 0; i < head.size; i++) {
        for (int bit = 0; bit < 8; bit++) {
            head.bytes[i] ^= (u8)(1 << bit);
            ck_assert_int_eq(hello_decode(head.bytes, head.size, false, &got, &error),
                             ERROR_FORMAT);
            head.bytes[i] ^= (u8)(1 << bit);
        }
    }
    for (u32 size = 0; size < head.size; size++) {
        u8 *cut = memory_alloc(size + 1);
        memcpy(cut, head.bytes, size);
        ck_assert_int_eq(hello_decode(cut, size, false, &got, &error), ERROR_FORMAT);
        memory_free(cut);
    }
}
END_TEST

START_TEST(hello_decode__impossible_contents)
{
    static const char *const ids[] = {"", "with space", "new\nline", "quo\"te"};
    struct frame_head head;
    struct hello got;
    struct error error;
    for (size_t i = 0; i < ARRAY_LENGTH(ids) + 4; i++) {
        struct hello sent = hello_sample();
        if (i < ARRAY_LENGTH(ids)) {
            memset(sent.cluster_id, 0, sizeof(sent.cluster_id));
            memcpy(sent.cluster_id, ids[i], strlen(ids[i]));
        } else if (i == ARRAY_LENGTH(ids)) {
            sent.from = SERVER_NONE;
        } else if (i == ARRAY_LENGTH(ids) + 1) {
            sent.to = SERVER_NONE;
        } else if (i == ARRAY_LENGTH(ids) + 2) {
            sent.version_min = 4;
        } else {
            sent.version_min = 0;
        }
        hello_encode(&sent, false, &head);
        ck_assert_int_eq(hello_decode(head.bytes, head.size, false, &got, &error), ERROR_FORMAT);
    }
}
END_TEST

UNIT_MAIN("codec", message_encode__every_kind_comes_back, message_encode__extreme_numbers_come_back,
          message_encode__heartbeat_before_the_first_entry, message_encode__payloads_of_all_sizes,
          message_encode__payload_is_protobuf_field_15, message_decode__every_flipped_byte,
          message_decode__cut_at_every_length, message_decode__flipped_and_sealed_again,
          message_decode__ids_and_terms_out_of_range, message_decode__votes_out_of_range,
          message_decode__appends_out_of_range, message_decode__replies_out_of_range,
          message_decode__forwards_out_of_range, message_decode__damaged_record, frame_size__bounds,
          hello_encode__comes_back, hello_decode__every_damage, hello_decode__impossible_contents)
