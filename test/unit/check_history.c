/* check_history.c - tests of histories as they are kept and written. */
#include "test/history/history.h"

#include <string.h>

#include "test/history/history_format.h"
#include "test/unit/unit.h"

static struct history history;
static struct buffer text;

static void set_up(void)
{
    history_init(&history);
    buffer_init(&text);
}

static void tear_down(void)
{
    buffer_deinit(&text);
    history_deinit(&history);
}

static const char *text_string(void)
{
    buffer_append(&text, "", 1);
    return (const char *)text.data;
}

START_TEST(history_text__equal_bytes_are_one_text)
{
    set_up();
    const struct text *texts[1000] = {NULL};
    for (int round = 0; round < 2; round++)
        for (u32 i = 0; i < ARRAY_LENGTH(texts); i++) {
            const struct text *one = history_text(&history, &i, sizeof(i));
            ck_assert(round == 0 || one == texts[i]);
            ck_assert_uint_eq(one->id, i);
            texts[i] = one;
        }
    ck_assert_uint_eq(history_text(&history, NULL, 0)->size, 0);
    ck_assert_ptr_ne(history_text(&history, "a", 2), history_text(&history, "a", 1));
    tear_down();
}
END_TEST

START_TEST(history_text__large_ones_fit)
{
    set_up();
    static u8 large[300000];
    large[299999] = 1;
    const struct text *one = history_text(&history, large, sizeof(large));
    ck_assert_ptr_eq(one, history_text(&history, large, sizeof(large)));
    ck_assert_mem_eq(one->data, large, sizeof(large));
    tear_down();
}
END_TEST

START_TEST(history_add__an_operation_may_be_completed_later)
{
    set_up();
    struct operation operation = {.kind = OPERATION_GET, .key = history_text(&history, "k", 1)};
    size_t first = history_add(&history, &operation);
    for (int i = 0; i < 1000; i++)
        history_add(&history, &operation);
    history_at(&history, first)->status = OPERATION_OK;
    ck_assert_int_eq(history.operations[0].status, OPERATION_OK);
    ck_assert_int_eq(history.operations[1].status, OPERATION_UNKNOWN);
    ck_assert_uint_eq(history.count, 1001);
    tear_down();
}
END_TEST

START_TEST(format_operation__reads_like_a_sentence)
{
    set_up();
    struct operation cas = {.kind = OPERATION_CAS,
                            .status = OPERATION_OK,
                            .key = history_text(&history, "k", 1),
                            .value = history_text(&history, "n\n\"", 3),
                            .ok = true};
    format_operation(&text, &cas);
    ck_assert_str_eq(text_string(), "cas nothing -> \"n\\n\\\"\": swapped");
    tear_down();
}
END_TEST

START_TEST(format_text__bytes_that_are_no_text_get_a_character_each)
{
    set_up();
    static const char bytes[] = "a\xc3\xa9\xff\xf0\x9f\x98\x80\xed\xa0\x80\0\x7f";
    format_text(&text, history_text(&history, bytes, sizeof(bytes) - 1), 0);
    ck_assert_str_eq(text_string(), "\"a\xc3\xa9\\uf7ff\xf0\x9f\x98\x80"
                                    "\\uf7ed\\uf7a0\\uf780\\u0000\\u007f\"");
    tear_down();
}
END_TEST

START_TEST(format_text__characters_that_stand_for_bytes_are_taken_apart)
{
    set_up();
    static const char bytes[] = "\xef\x9e\x80\xef\x9f\xbf\xef\x9d\xbf";
    format_text(&text, history_text(&history, bytes, sizeof(bytes) - 1), 0);
    ck_assert_str_eq(text_string(), "\"\\uf7ef\\uf79e\\uf780\\uf7ef\\uf79f\\uf7bf\xef\x9d\xbf\"");
    tear_down();
}
END_TEST

START_TEST(format_json__one_line_an_operation)
{
    set_up();
    struct operation incr = {.client = 3,
                             .kind = OPERATION_INCR,
                             .status = OPERATION_OK,
                             .key = history_text(&history, "k", 1),
                             .delta = -5,
                             .number = 7,
                             .t0 = 10,
                             .t1 = 20};
    format_json(&text, &incr);
    ck_assert_str_eq(text_string(), "{\"c\":3,\"op\":\"incr\",\"k\":\"k\",\"v\":-5,\"out\":7,"
                                    "\"t0\":10,\"t1\":20,\"st\":\"ok\"}\n");
    incr.status = OPERATION_UNKNOWN;
    buffer_clear(&text);
    format_json(&text, &incr);
    ck_assert_str_eq(text_string(), "{\"c\":3,\"op\":\"incr\",\"k\":\"k\",\"v\":-5,\"t0\":10,"
                                    "\"st\":\"unknown\"}\n");
    tear_down();
}
END_TEST

UNIT_MAIN("history", history_text__equal_bytes_are_one_text, history_text__large_ones_fit,
          history_add__an_operation_may_be_completed_later,
          format_text__bytes_that_are_no_text_get_a_character_each,
          format_text__characters_that_stand_for_bytes_are_taken_apart,
          format_operation__reads_like_a_sentence, format_json__one_line_an_operation)
