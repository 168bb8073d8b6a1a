/* check_codec_refusals.c - frames that are cut, flipped or say what cannot be: each is refused, and
 * nothing leaks. */
#include "test/unit/codec_unit.h"

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
                ck_assert(kind == MESSAGE_TIMEOUT_NOW || kind == MESSAGE_INSTALL_SNAPSHOT);
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
    message.as.forward_request.attempt = 0;
    check_message_refused(&message, "attempt");
    message = sample(MESSAGE_FORWARD);
    message.as.forward_request.previous_write = message.as.forward_request.first_write;
    check_message_refused(&message, "serials");
    message = sample(MESSAGE_FORWARD);
    message.as.forward_request.first_write = UINT64_MAX;
    check_message_refused(&message, "serials");
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
        seal(frame);
        ck_assert_int_eq(frame_size(frame->data, FRAME_MAX, &size, &type, &error), ERROR_FORMAT);
    }
    block_release(frame);
    message_release(&sent);
}
END_TEST

/* What it takes for a length is one that was written: each bit of the prefix counts. */
START_TEST(frame_size__every_flipped_bit_of_the_prefix)
{
    struct message sent = append_of_three();
    struct block *frame = frame_of(&sent);
    u32 size;
    enum frame_type type;
    struct error error;
    for (u32 bit = 0; bit < 8 * FRAME_PREFIX_SIZE; bit++) {
        frame->data[bit / 8] ^= (u8)(1 << bit % 8);
        ck_assert_msg(frame_size(frame->data, UINT64_MAX, &size, &type, &error) == ERROR_FORMAT,
                      "bit %u", bit);
        frame->data[bit / 8] ^= (u8)(1 << bit % 8);
    }
    block_release(frame);
    message_release(&sent);
}
END_TEST

UNIT_MAIN("codec_refusals", message_decode__every_flipped_byte, message_decode__cut_at_every_length,
          message_decode__flipped_and_sealed_again, message_decode__ids_and_terms_out_of_range,
          message_decode__votes_out_of_range, message_decode__appends_out_of_range,
          message_decode__replies_out_of_range, message_decode__forwards_out_of_range,
          message_decode__damaged_record, frame_size__bounds,
          frame_size__every_flipped_bit_of_the_prefix)
