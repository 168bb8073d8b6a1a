/* check_resp.c - the request parser and the reply writer. */
#include <stdio.h>

#include "server/clients/reply.h"
#include "server/clients/resp_parser.h"
#include "test/unit/unit.h"

static const struct resp_limits limits = {.arguments_max = 1000, .bytes_max = 1024 * 1024};

/* All that was parsed, as text: each argument in brackets, each command ended by ';', an error
 * after '!'. Feeds the bytes in pieces: up to cuts[0], then up to cuts[1], ... and the rest. */
static void parse_pieces(const u8 *data, size_t size, const size_t *cuts, size_t cut_count,
                         struct buffer *story)
{
    struct resp_parser parser;
    struct buffer held; /* a copy of exactly what has come: reading behind it is an error */
    size_t fed = 0;
    resp_parser_init(&parser);
    buffer_init(&held);
    for (size_t piece = 0; piece <= cut_count; piece++) {
        /* cppcheck-suppress nullPointer ; without cuts, piece is never below their number */
        size_t until = piece < cut_count ? cuts[piece] : size;
        if (until > fed) {
            /* New memory each time, so that nothing may rely on the old place. */
            struct buffer grown;
            buffer_init(&grown);
            buffer_append(&grown, held.data, held.size);
            buffer_append(&grown, data + fed, until - fed);
            buffer_deinit(&held);
            held = grown;
            fed = until;
        }
        for (;;) {
            enum resp_result result = resp_parser_parse(&parser, &limits, held.data, held.size);
            if (result == RESP_MORE)
                break;
            if (result == RESP_ERROR) {
                buffer_append_format(story, "!%s", parser.error);
                goto out;
            }
            for (u32 i = 0; i < parser.count; i++) {
                buffer_append_string(story, "[");
                buffer_append(story, parser.arguments[i].data, parser.arguments[i].size);
                buffer_append_string(story, "]");
            }
            buffer_append_string(story, ";");
            buffer_drop_front(&held, parser.size);
            resp_parser_reset(&parser);
        }
    }
    if (held.size > 0)
        buffer_append_string(story, "...");
out:
    buffer_append(story, "", 1);
    buffer_deinit(&held);
    resp_parser_deinit(&parser);
}

static void assert_story(const char *text, size_t size, const char *expected)
{
    struct buffer story;
    buffer_init(&story);
    parse_pieces((const u8 *)text, size, NULL, 0, &story);
    ck_assert_str_eq((const char *)story.data, expected);
    buffer_deinit(&story);
}

#define ASSERT_STORY(text, expected) assert_story(text, sizeof(text) - 1, expected)

START_TEST(parse__array_of_bulk_strings)
{
    ASSERT_STORY("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nhello\r\n", "[SET][k][hello];");
    ASSERT_STORY("*2\r\n$3\r\nGET\r\n$0\r\n\r\n", "[GET][];");
    ASSERT_STORY("*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n", "[GET][a\r\nb];");
}
END_TEST

START_TEST(parse__empty_commands_are_skipped)
{
    ASSERT_STORY("*0\r\n*-1\r\n\r\n\n*1\r\n$4\r\nPING\r\n", ";;;;[PING];");
}
END_TEST

START_TEST(parse__pipelined_commands)
{
    ASSERT_STORY("*1\r\n$4\r\nPING\r\nGET k\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*1\r\n$4\r\nPI",
                 "[PING];[GET][k];[GET][k];...");
}
END_TEST

START_TEST(parse__inline_words_and_quotes)
{
    ASSERT_STORY("  SET\tk   v  \r\n", "[SET][k][v];");
    ASSERT_STORY("SET k \"a b\"\n", "[SET][k][a b];");
    ASSERT_STORY("SET k \"\\x41\\n\\\"\\q\\xZZ\"\r\n", "[SET][k][A\n\"qxZZ];");
    ASSERT_STORY("SET k 'a\\'b\\n' ''\r\n", "[SET][k][a'b\\n][];");
    ASSERT_STORY("SET k a\"b c\"\r\n", "[SET][k][ab c];");
}
END_TEST

START_TEST(parse__inline_unbalanced_quotes)
{
    ASSERT_STORY("SET k \"abc\r\n", "!ERR Protocol error: unbalanced quotes in request");
    ASSERT_STORY("SET k 'abc\r\n", "!ERR Protocol error: unbalanced quotes in request");
    ASSERT_STORY("SET k \"abc\"d\r\n", "!ERR Protocol error: unbalanced quotes in request");
    ASSERT_STORY("SET k \"abc\\\r\n", "!ERR Protocol error: unbalanced quotes in request");
}
END_TEST

START_TEST(parse__inline_line_too_long)
{
    size_t size = RESP_INLINE_MAX + 2;
    char *line = malloc(size);
    memset(line, 'a', size);
    assert_story(line, size, "!ERR Protocol error: too big inline request");
    line[size - 1] = '\n';
    assert_story(line, size, "!ERR Protocol error: too big inline request");
    free(line);
}
END_TEST

static const char too_large[] = "!ERR Protocol error: the command is larger than 1048576 bytes "
                                "(client-input-bytes in cluster.conf)";

START_TEST(parse__malformed_lengths)
{
    static const char *const multibulk[] = {"*x\r\n", "*1x\r\n",   "*01\r\n",
                                            "*1\n",   "*1001\r\n", "*99999999999999999999\r\n",
                                            "*\r\n",  "*-\r\n",    "*1\rx"};
    static const char *const bulk[] = {"*1\r\n$x\r\n",
                                       "*1\r\n$-1\r\n",
                                       "*1\r\n$00\r\n",
                                       "*1\r\n$1\rx",
                                       "*1\r\n$\r\n",
                                       "*1\r\n$536870913\r\n",
                                       "*1\r\n$9223372036854775807\r\n",
                                       "*1\r\n$1 \r\n"};
    for (size_t i = 0; i < ARRAY_LENGTH(multibulk); i++)
        assert_story(multibulk[i], strlen(multibulk[i]),
                     "!ERR Protocol error: invalid multibulk length");
    for (size_t i = 0; i < ARRAY_LENGTH(bulk); i++)
        assert_story(bulk[i], strlen(bulk[i]), "!ERR Protocol error: invalid bulk length");
    ASSERT_STORY("*1\r\nPING\r\n", "!ERR Protocol error: expected '$', got 'P'");
    ASSERT_STORY("*1\r\n\x01", "!ERR Protocol error: expected '$', got '?'");
    ASSERT_STORY("*1\r\n$4\r\nPINGxx",
                 "!ERR Protocol error: expected the line end that follows a bulk string");
}
END_TEST

START_TEST(parse__huge_announcement_is_refused_before_it_comes)
{
    /* Two arguments that fit alone, but not together. */
    struct buffer text;
    buffer_init(&text);
    buffer_append_string(&text, "*2\r\n$600000\r\n");
    memset(buffer_reserve(&text, 600000), 'a', 600000);
    text.size += 600000;
    buffer_append_string(&text, "\r\n$600000\r\n");
    assert_story((const char *)text.data, text.size, too_large);
    buffer_deinit(&text);
    ASSERT_STORY("*1\r\n$1048577\r\n", too_large);
    ASSERT_STORY("*1\r\n$536870912\r\n", too_large);
}
END_TEST

START_TEST(parse__memory_follows_the_bytes_and_not_the_announcement)
{
    enum { COUNT = 1024 * 1024 };
    static const struct resp_limits wide = {.arguments_max = COUNT, .bytes_max = 16 * MIB};
    struct resp_parser parser;
    resp_parser_init(&parser);
    struct buffer text;
    buffer_init(&text);
    buffer_append_format(&text, "*%d\r\n", COUNT);
    ck_assert_int_eq(resp_parser_parse(&parser, &wide, text.data, text.size), RESP_MORE);
    ck_assert_uint_lt(resp_parser_memory(&parser), 4096);
    for (int i = 0; i < COUNT; i++) {
        if (i % 65536 == 0) {
            ck_assert_int_eq(resp_parser_parse(&parser, &wide, text.data, text.size), RESP_MORE);
            ck_assert_uint_le(resp_parser_memory(&parser), 4096 + 3 * text.size);
        }
        buffer_append_string(&text, "$0\r\n\r\n");
    }
    ck_assert_int_eq(resp_parser_parse(&parser, &wide, text.data, text.size), RESP_COMMAND);
    ck_assert_uint_eq(parser.count, COUNT);
    ck_assert_uint_eq(parser.size, text.size);
    resp_parser_reset(&parser);
    ck_assert_uint_lt(resp_parser_memory(&parser), 65536);
    resp_parser_deinit(&parser);
    buffer_deinit(&text);
}
END_TEST

START_TEST(parse__announced)
{
    static const char text[] = "*2\r\n$1\r\na\r\n$100000\r\nbbb";
    struct resp_parser parser;
    resp_parser_init(&parser);
    ck_assert_int_eq(resp_parser_parse(&parser, &limits, (const u8 *)text, 6), RESP_MORE);
    ck_assert_uint_eq(resp_parser_announced(&parser), 4);
    ck_assert_int_eq(resp_parser_parse(&parser, &limits, (const u8 *)text, sizeof(text) - 1),
                     RESP_MORE);
    ck_assert_uint_eq(resp_parser_announced(&parser), 4 + 7 + 9 + 100002);
    resp_parser_deinit(&parser);
}
END_TEST

static const char mix[] = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$14\r\nva\r\nlue*$\r\n123\r\n"
                          "*0\r\nPING\r\n\r\nSET k \"quoted \\x41\\\" text\"\n"
                          "*2\r\n$3\r\nGET\r\n$0\r\n\r\n*-1\r\necho 'it\\'s'\r\n"
                          "*4\r\n$4\r\nMSET\r\n$1\r\na\r\n$10\r\n0123456789\r\n$1\r\nb\r\n";

START_TEST(parse__every_split_gives_the_same_commands)
{
    const u8 *data = (const u8 *)mix;
    size_t size = sizeof(mix) - 1;
    struct buffer whole;
    buffer_init(&whole);
    parse_pieces(data, size, NULL, 0, &whole);
    ck_assert_str_eq((const char *)whole.data,
                     "[SET][key][va\r\nlue*$\r\n123];;[PING];;[SET][k][quoted A\" text];"
                     "[GET][];;[echo][it's];[MSET][a][0123456789][b];");
    for (size_t first = 0; first < size; first++) {
        for (size_t second = first; second < size; second++) {
            size_t cuts[2] = {first, second};
            struct buffer story;
            buffer_init(&story);
            parse_pieces(data, size, cuts, 2, &story);
            ck_assert_str_eq((const char *)story.data, (const char *)whole.data);
            buffer_deinit(&story);
        }
    }
    buffer_deinit(&whole);
}
END_TEST

START_TEST(parse__byte_by_byte)
{
    size_t cuts[sizeof(mix)];
    struct buffer whole;
    struct buffer story;
    for (size_t i = 0; i < sizeof(mix); i++)
        cuts[i] = i;
    buffer_init(&whole);
    buffer_init(&story);
    parse_pieces((const u8 *)mix, sizeof(mix) - 1, NULL, 0, &whole);
    parse_pieces((const u8 *)mix, sizeof(mix) - 1, cuts, sizeof(mix) - 1, &story);
    ck_assert_str_eq((const char *)story.data, (const char *)whole.data);
    buffer_deinit(&whole);
    buffer_deinit(&story);
}
END_TEST

START_TEST(parse__many_arguments)
{
    struct buffer text;
    struct resp_parser parser;
    buffer_init(&text);
    resp_parser_init(&parser);
    buffer_append_format(&text, "*1000\r\n");
    for (int i = 0; i < 1000; i++)
        buffer_append_format(&text, "$3\r\n%03d\r\n", i);
    ck_assert_int_eq(resp_parser_parse(&parser, &limits, text.data, text.size), RESP_COMMAND);
    ck_assert_uint_eq(parser.count, 1000);
    ck_assert_uint_eq(parser.size, text.size);
    ck_assert_mem_eq(parser.arguments[999].data, "999", 3);
    resp_parser_deinit(&parser);
    buffer_deinit(&text);
}
END_TEST

/* ---- replies ---- */

static void assert_converted(const char *value, const char *expected)
{
    struct buffer to;
    buffer_init(&to);
    reply_convert(&to, 2, (const u8 *)value, strlen(value));
    bool alike = to.size == strlen(value) && memcmp(to.data, value, to.size) == 0;
    ck_assert_msg(reply_is_alike(2, (const u8 *)value, strlen(value)) == alike, "%s", value);
    ck_assert(reply_is_alike(3, (const u8 *)value, strlen(value)));
    ck_assert_uint_eq(to.size, strlen(expected));
    ck_assert_mem_eq(to.data, expected, to.size);
    buffer_clear(&to);
    reply_convert(&to, 3, (const u8 *)value, strlen(value));
    ck_assert_uint_eq(to.size, strlen(value));
    ck_assert_mem_eq(to.data, value, to.size);
    buffer_deinit(&to);
}

START_TEST(reply_convert__resp2)
{
    assert_converted("+OK\r\n", "+OK\r\n");
    assert_converted("-ERR no\r\n", "-ERR no\r\n");
    assert_converted(":-7\r\n", ":-7\r\n");
    assert_converted("$3\r\n_\r\n\r\n", "$3\r\n_\r\n\r\n");
    assert_converted("_\r\n", "$-1\r\n");
    assert_converted("*3\r\n$1\r\na\r\n_\r\n:1\r\n", "*3\r\n$1\r\na\r\n$-1\r\n:1\r\n");
    assert_converted("*2\r\n$1\r\n0\r\n*2\r\n_\r\n$2\r\n_\r\r\n",
                     "*2\r\n$1\r\n0\r\n*2\r\n$-1\r\n$2\r\n_\r\r\n");
    assert_converted("%2\r\n+a\r\n#t\r\n+b\r\n#f\r\n", "*4\r\n+a\r\n:1\r\n+b\r\n:0\r\n");
    assert_converted("~1\r\n,1.5\r\n", "*1\r\n$3\r\n1.5\r\n");
    assert_converted("(12345678901234567890\r\n", "$20\r\n12345678901234567890\r\n");
    assert_converted("=6\r\ntxt:hi\r\n", "$2\r\nhi\r\n");
    assert_converted("!5\r\nERR x\r\n", "-ERR x\r\n");
    assert_converted("", "");
}
END_TEST

static void build(struct reply *reply)
{
    buffer_clear(reply->to);
    reply_map(reply, 1);
    reply_string(reply, "k");
    reply_null(reply);
    reply_set(reply, 1);
    reply_integer(reply, INT64_MIN);
    reply_array(reply, 0);
    reply_format(reply, "%d", 42);
    reply_error(reply, "ERR %s", "two\r\nlines");
    buffer_append(reply->to, "", 1);
}

START_TEST(reply__both_protocols)
{
    struct buffer to;
    buffer_init(&to);
    struct reply reply = {&to, 2};
    build(&reply);
    ck_assert_str_eq((const char *)to.data,
                     "*2\r\n$1\r\nk\r\n$-1\r\n*1\r\n:-9223372036854775808\r\n*0\r\n$2\r\n42\r\n"
                     "-ERR two  lines\r\n");
    reply.protocol = 3;
    build(&reply);
    ck_assert_str_eq((const char *)to.data,
                     "%1\r\n$1\r\nk\r\n_\r\n~1\r\n:-9223372036854775808\r\n*0\r\n$2\r\n42\r\n"
                     "-ERR two  lines\r\n");
    buffer_deinit(&to);
}
END_TEST

UNIT_MAIN("resp", parse__array_of_bulk_strings, parse__empty_commands_are_skipped,
          parse__pipelined_commands, parse__inline_words_and_quotes,
          parse__inline_unbalanced_quotes, parse__inline_line_too_long, parse__malformed_lengths,
          parse__huge_announcement_is_refused_before_it_comes,
          parse__memory_follows_the_bytes_and_not_the_announcement, parse__announced,
          parse__every_split_gives_the_same_commands, parse__byte_by_byte, parse__many_arguments,
          reply_convert__resp2, reply__both_protocols)
