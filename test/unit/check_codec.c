/* check_codec.c - what is encoded comes back: messages, and the hello. What is refused is in
 * check_codec_refusals.c. */
#include "test/unit/codec_unit.h"

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

static struct hello hello_sample(void)
{
    return (struct hello){
        .cluster_id = "a-Cluster_1.x",
        .from = 2,
        .to = 1,
        .directory_id = 0xfedcba9876543210,
        .start_count = 17,
        .seed_crc = 0xdeadbeef,
        .starts = {0xffffffffffffffff, 2, 3, 4, 5, 6, 7, 8},
        .non_voter = true,
        .incarnation = 0x8877665544332211,
        .feature = 2,
        .readmitted = 1234567,
        .joined_through = 0xfedcba9876543211,
        .version_min = 1,
        .version_max = 3,
        .limits = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - 2, UINT64_MAX - 3},
    };
}

/* Offset by offset, as a server of before reads it. */
START_TEST(message_encode_for__the_first_protocol_version)
{
    for (int kind = MESSAGE_NONE + 1; kind < MESSAGE_KIND_END; kind++) {
        struct message sent = sample((enum message_kind)kind);
        struct frame_head head;
        message_encode_for(&sent, 1, &head);
        u32 payload = (u32)message_payload_size(&sent);
        struct block *frame = block_create(head.size + payload);
        memcpy(frame->data, head.bytes, head.size);
        u8 *to = frame->data + head.size;
        for (u32 i = 0; i < sent.span_count; to += sent.spans[i++].size)
            memcpy(to, sent.spans[i].data, sent.spans[i].size);
        ck_assert_uint_eq(load_u32(frame->data), frame->size - 4);
        ck_assert_uint_eq(frame->data[4], FRAME_MESSAGE);
        ck_assert_uint_eq(frame->data[5], 1);
        ck_assert_uint_eq(load_u16(frame->data + 6), head.size - 12);
        u32 crc = crc32c(crc32c(0, frame->data, 8), frame->data + 12, frame->size - 12);
        ck_assert_uint_eq(load_u32(frame->data + 8), crc);
        struct message got;
        struct error error;
        ck_assert_int_eq(message_decode(frame, frame->size, &got, &error), ERROR_NONE);
        ck_assert_int_eq(got.kind, sent.kind);
        check_same_body(&sent, &got);
        message_release(&got);
        block_release(frame);
        message_release(&sent);
    }
}
END_TEST

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
        ck_assert_mem_eq(got.starts, sent.starts, sizeof(sent.starts));
        ck_assert_int_eq(got.non_voter, sent.non_voter);
        ck_assert_uint_eq(got.incarnation, sent.incarnation);
        ck_assert_uint_eq(got.feature, sent.feature);
        ck_assert_uint_eq(got.readmitted, sent.readmitted);
        ck_assert_uint_eq(got.joined_through, sent.joined_through);
        ck_assert_uint_eq(got.version_min, sent.version_min);
        ck_assert_uint_eq(got.version_max, sent.version_max);
        ck_assert_uint_eq(got.version, sent.version);
        ck_assert_mem_eq(&got.limits, &sent.limits, sizeof(sent.limits));
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
          message_encode__payload_is_protobuf_field_15,
          message_encode_for__the_first_protocol_version, hello_encode__comes_back,
          hello_decode__every_damage, hello_decode__impossible_contents)
