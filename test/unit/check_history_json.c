/* check_history.c - tests of histories as they are kept, written and read. */
#include "test/history/history.h"

#include <stdio.h>
#include <string.h>

#include "common/error.h"
#include "test/history/history_format.h"
#include "test/history/history_json.h"
#include "test/unit/unit.h"

static struct history history;
static struct error error;
static struct buffer text;

static void set_up(void)
{
    history_init(&history);
    error_clear(&error);
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

static enum error_code parse(const char *line)
{
    return history_json_parse(&history, line, strlen(line), 7, &error);
}

/* Each line, written again, is itself. */
START_TEST(history_json_parse__all_operations_and_back)
{
    static const char *const lines[] = {
        "{\"c\":1,\"op\":\"get\",\"k\":\"x\",\"out\":\"a\",\"found\":true,\"t0\":1,\"t1\":2,"
        "\"st\":\"ok\"}\n",
        "{\"c\":1,\"op\":\"get\",\"k\":\"x\",\"found\":false,\"t0\":1,\"t1\":2,\"st\":\"ok\"}\n",
        "{\"c\":2,\"op\":\"put\",\"k\":\"\",\"v\":\"\",\"t0\":1,\"t1\":1,\"st\":\"ok\"}\n",
        "{\"c\":2,\"op\":\"put\",\"k\":\"x\",\"v\":\"b\",\"t0\":1,\"st\":\"unknown\"}\n",
        "{\"c\":2,\"op\":\"append\",\"k\":\"x\",\"v\":\"b\",\"out\":3,\"t0\":1,\"t1\":9,"
        "\"st\":\"ok\"}\n",
        "{\"c\":2,\"op\":\"append\",\"k\":\"x\",\"v\":\"b\",\"t0\":1,\"t1\":9,\"st\":\"ok\"}\n",
        "{\"c\":3,\"op\":\"cas\",\"k\":\"x\",\"v\":\"b\",\"old\":\"a\",\"ok\":true,\"t0\":1,"
        "\"t1\":9,\"st\":\"ok\"}\n",
        "{\"c\":3,\"op\":\"cas\",\"k\":\"x\",\"v\":\"b\",\"ok\":false,\"t0\":1,\"t1\":9,"
        "\"st\":\"ok\"}\n",
        "{\"c\":4,\"op\":\"del\",\"k\":\"x\",\"found\":true,\"t0\":1,\"t1\":9,\"st\":\"ok\"}\n",
        "{\"c\":5,\"op\":\"incr\",\"k\":\"x\",\"out\":-3,\"t0\":1,\"t1\":9,\"st\":\"ok\"}\n",
        "{\"c\":5,\"op\":\"incr\",\"k\":\"x\",\"v\":-5,\"t0\":1,\"t1\":9,\"st\":\"fail\"}\n",
    };
    set_up();
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++) {
        ck_assert_msg(parse(lines[i]) == ERROR_NONE, "%s", error.text);
        buffer_clear(&text);
        format_json(&text, &history.operations[i]);
        ck_assert_str_eq(text_string(), lines[i]);
        ck_assert_uint_eq(history.operations[i].line, 7);
    }
    tear_down();
}
END_TEST

START_TEST(history_json_parse__numbers_and_nulls_count_as_values)
{
    set_up();
    ck_assert_int_eq(parse("{\"op\":\"set\",\"k\":5,\"v\":12,\"t0\":1,\"t1\":2,\"st\":\"ok\"}"), 0);
    ck_assert_int_eq(
        parse("{\"op\":\"get\",\"k\":\"5\",\"out\":\"12\",\"t0\":1,\"t1\":2,\"st\":\"ok\"}"), 0);
    ck_assert_int_eq(
        parse("{\"op\":\"get\",\"k\":\"5\",\"out\":null,\"t0\":1,\"t1\":2,\"st\":\"ok\"}"), 0);
    ck_assert_int_eq(
        parse("{\"op\":\"incr\",\"k\":\"5\",\"out\":\"13\",\"t0\":1,\"t1\":2,\"st\":\"ok\"}"), 0);
    const struct operation *read = history.operations;
    ck_assert_int_eq(read[0].kind, OPERATION_PUT);
    ck_assert_ptr_eq(read[0].key, read[1].key);
    ck_assert_ptr_eq(read[0].value, read[1].out);
    ck_assert(read[1].found && !read[2].found && read[2].out == NULL);
    ck_assert_int_eq(read[3].number, 13);
    ck_assert_int_eq(read[3].delta, 1);
    tear_down();
}
END_TEST

START_TEST(history_json_parse__any_bytes_survive)
{
    set_up();
    u8 bytes[2048];
    size_t size = 0;
    for (unsigned i = 0; i < 256; i++)
        bytes[size++] = (u8)i;
    for (unsigned i = 0x80; i < 0x100; i++) { /* U+F780 and on themselves */
        bytes[size++] = 0xef;
        bytes[size++] = (u8)(0x9c + (i >> 6));
        bytes[size++] = (u8)(0x80 | (i & 0x3f));
    }
    memcpy(bytes + size, "\xc3\xa9\xf0\x9f\x98\x80\xed\xa0\x80\xef\x9e\xc0\xaf", 13);
    size += 13;
    struct operation put = {.kind = OPERATION_PUT, .key = history_text(&history, bytes, size)};
    put.value = put.key;
    format_json(&text, &put);
    ck_assert_msg(history_json_parse(&history, (const char *)text.data, text.size, 1, &error) ==
                      ERROR_NONE,
                  "%s", error.text);
    ck_assert_ptr_eq(history.operations[0].key, put.key);
    ck_assert_ptr_eq(history.operations[0].value, put.key);
    tear_down();
}
END_TEST

START_TEST(history_json_parse__says_what_is_wrong)
{
    static const char *const wrong[][2] = {
        {"", "column"},
        {"[1]", "one JSON object"},
        {"{\"op\":\"get\"", "column"},
        {"{\"op\":\"get\",\"op\":\"get\"}", "duplicate"},
        {"{\"op\":\"fetch\"}", "\"op\" must be"},
        {"{\"op\":\"get\",\"st\":\"maybe\"}", "\"st\" must be"},
        {"{\"op\":\"get\",\"st\":\"ok\"}", "\"k\" is missing"},
        {"{\"op\":\"get\",\"st\":\"ok\",\"k\":1.5}", "\"k\" must be"},
        {"{\"op\":\"put\",\"st\":\"ok\",\"k\":\"x\"}", "\"v\" is missing"},
        {"{\"op\":\"get\",\"st\":\"ok\",\"k\":\"x\"}", "\"t0\" is missing"},
        {"{\"op\":\"get\",\"st\":\"ok\",\"k\":\"x\",\"t0\":-1}", "\"t0\" must be"},
        {"{\"op\":\"get\",\"st\":\"ok\",\"k\":\"x\",\"t0\":1}", "\"t1\" is missing"},
        {"{\"op\":\"get\",\"st\":\"ok\",\"k\":\"x\",\"t0\":3,\"t1\":2,\"out\":1}", "before"},
        {"{\"op\":\"get\",\"st\":\"ok\",\"k\":\"x\",\"t0\":1,\"t1\":2}", "\"out\" is missing"},
        {"{\"op\":\"get\",\"st\":\"ok\",\"k\":\"x\",\"t0\":1,\"t1\":2,\"found\":true}",
         "contradicts"},
        {"{\"op\":\"cas\",\"st\":\"ok\",\"k\":\"x\",\"t0\":1,\"t1\":2,\"v\":\"a\"}",
         "\"ok\" is missing"},
        {"{\"op\":\"del\",\"st\":\"ok\",\"k\":\"x\",\"t0\":1,\"t1\":2,\"found\":1}",
         "\"found\" must be"},
        {"{\"op\":\"incr\",\"st\":\"ok\",\"k\":\"x\",\"t0\":1,\"t1\":2}", "\"out\" is missing"},
        {"{\"op\":\"incr\",\"st\":\"ok\",\"k\":\"x\",\"t0\":1,\"t1\":2,\"out\":\"5x\"}",
         "\"out\" must be"},
    };
    set_up();
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++) {
        error_clear(&error);
        ck_assert_int_eq(parse(wrong[i][0]), ERROR_FORMAT);
        ck_assert_msg(strstr(error.text, wrong[i][1]) != NULL, "%s: %s", wrong[i][0], error.text);
    }
    ck_assert_uint_eq(history.count, 0);
    tear_down();
}
END_TEST

/* A file with these bytes, read. */
static enum error_code read_bytes(const void *bytes, size_t size)
{
    FILE *file = tmpfile();
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, size, file), size);
    rewind(file);
    enum error_code code = history_json_read(&history, file, "h.jsonl", &error);
    fclose(file);
    return code;
}

START_TEST(history_json_read__lines_of_any_length)
{
    set_up();
    for (size_t length = 4000; length < 4200; length++) {
        buffer_append_string(&text, "{\"op\":\"put\",\"k\":\"x\",\"t0\":1,\"st\":\"unknown\","
                                    "\"v\":\"");
        for (size_t i = 0; i < length; i++)
            buffer_append_string(&text, "v");
        buffer_append_string(&text, "\"}\n \n");
    }
    text.size -= 3; /* the last line has no end */
    ck_assert_int_eq(read_bytes(text.data, text.size), ERROR_NONE);
    ck_assert_uint_eq(history.count, 200);
    ck_assert_uint_eq(history.operations[199].value->size, 4199);
    ck_assert_uint_eq(history.operations[199].line, 399);
    tear_down();
}
END_TEST

START_TEST(history_json_read__errors_name_file_and_line)
{
    static const char bytes[] = "\n\n{\"op\":\"get\",\0}\n";
    set_up();
    ck_assert_int_eq(read_bytes(bytes, sizeof(bytes) - 1), ERROR_FORMAT);
    ck_assert_msg(strncmp(error.text, "h.jsonl:3: ", 11) == 0, "%s", error.text);
    ck_assert_int_eq(read_bytes("\0", 1), ERROR_FORMAT);
    tear_down();
}
END_TEST

UNIT_MAIN("history_json", history_json_parse__all_operations_and_back,
          history_json_parse__numbers_and_nulls_count_as_values,
          history_json_parse__any_bytes_survive, history_json_parse__says_what_is_wrong,
          history_json_read__lines_of_any_length, history_json_read__errors_name_file_and_line)
