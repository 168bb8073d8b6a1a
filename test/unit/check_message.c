/* check_message.c - what all kinds of message have in common. */
#include "test/unit/rules_unit.h"

START_TEST(message_kind_word__each_kind_has_its_own)
{
    for (enum message_kind a = MESSAGE_PRE_VOTE; a < MESSAGE_KIND_END; a++) {
        ck_assert_str_ne(message_kind_word(a), "unknown");
        for (enum message_kind b = MESSAGE_PRE_VOTE; b < a; b++)
            ck_assert_str_ne(message_kind_word(a), message_kind_word(b));
    }
    ck_assert_str_eq(message_kind_word(MESSAGE_APPEND_ENTRIES_REPLY), "append-reply");
    ck_assert_str_eq(message_kind_word(MESSAGE_NONE), "unknown");
    ck_assert_str_eq(message_kind_word(MESSAGE_KIND_END), "unknown");
}
END_TEST

START_TEST(message_is_reply__as_the_words_say)
{
    for (enum message_kind kind = MESSAGE_NONE; kind <= MESSAGE_KIND_END; kind++) {
        bool says_so = strstr(message_kind_word(kind), "-reply") != NULL;
        ck_assert_int_eq(message_is_reply(kind), says_so);
    }
}
END_TEST

START_TEST(message_release__gives_back_every_span)
{
    struct block *block = block_create(10);
    struct message message = {.span_count = 2};
    message.spans[0] = span_of(block, block->data, 4);
    message.spans[1] = span_of(block, block->data + 4, 6);
    ck_assert_uint_eq(block->references, 3);
    ck_assert_uint_eq(message_payload_size(&message), 10);
    message_release(&message);
    ck_assert_uint_eq(block->references, 1);
    ck_assert_uint_eq(message.span_count, 0);
    ck_assert_uint_eq(message_payload_size(&message), 0);
    message_release(&message);
    ck_assert_uint_eq(block->references, 1);
    block_release(block);
}
END_TEST

UNIT_MAIN("message", message_kind_word__each_kind_has_its_own, message_is_reply__as_the_words_say,
          message_release__gives_back_every_span)
