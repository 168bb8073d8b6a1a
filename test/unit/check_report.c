/* check_report.c - lines of reports, in both formats. */
#include "common/report.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/bytes.h"
#include "common/text.h"
#include "test/unit/unit.h"

struct page {
    char text[16384];
    size_t size;
    int lines;
};

static void keep(void *context, enum report_level level, const char *line, size_t size)
{
    (void)level;
    struct page *page = context;
    ck_assert_uint_lt(page->size + size, sizeof(page->text));
    memcpy(page->text + page->size, line, size);
    page->size += size;
    page->text[page->size] = '\0';
    page->lines++;
}

static struct report report_to(struct page *page, enum report_format format)
{
    struct report report;
    report_init_stderr(&report, REPORT_INFO, format, 3);
    memset(page, 0, sizeof(*page));
    report.write = keep;
    report.context = page;
    return report;
}

/* The line without its time, which comes first in both formats. */
static const char *after_time(const struct page *page)
{
    const char *level = strstr(page->text, "level");
    ck_assert_ptr_nonnull(level);
    return level;
}

START_TEST(escape__each_kind_of_byte)
{
    char to[256];
    const char from[] = "a\"b\\c\n\r\t\x01\x7f\xc3\xa4\xff\xe2\x82";
    size_t size = text_escape(to, from, sizeof(from) - 1);
    to[size] = '\0';
    ck_assert_str_eq(to, "a\\\"b\\\\c\\n\\r\\t\\u0001\\u007f\xc3\xa4\\ufffd\\ufffd\\ufffd");
}
END_TEST

START_TEST(utf8_length__refuses_what_unicode_refuses)
{
    const struct {
        const char *bytes;
        size_t length;
    } cases[] = {
        {"A", 1},
        {"\xc3\xa4", 2},
        {"\xe2\x82\xac", 3},
        {"\xf0\x9f\x90\xa6", 4},
        {"\x80", 0},
        {"\xc0\x80", 0},         /* overlong NUL */
        {"\xe0\x80\x80", 0},     /* overlong */
        {"\xed\xa0\x80", 0},     /* surrogate */
        {"\xf0\x80\x80\x80", 0}, /* overlong */
        {"\xf4\x90\x80\x80", 0}, /* beyond U+10FFFF */
        {"\xe2\x82", 0},         /* cut */
        {"\xe2\x82\x41", 0},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
        ck_assert_msg(text_utf8_length((const u8 *)cases[i].bytes, strlen(cases[i].bytes)) ==
                          cases[i].length,
                      "case %zu", i);
}
END_TEST

START_TEST(level_parse__words_and_others)
{
    enum report_level level = REPORT_ERROR;
    for (int i = REPORT_ERROR; i <= REPORT_DEBUG; i++) {
        ck_assert(report_level_parse(report_level_word((enum report_level)i), &level));
        ck_assert_int_eq(level, i);
    }
    ck_assert(!report_level_parse("loud", &level));
    ck_assert(!report_level_parse("", &level));
}
END_TEST

START_TEST(say__logfmt_splits_pairs)
{
    struct page page;
    struct report report = report_to(&page, REPORT_LOGFMT);
    REPORT(&report, REPORT_INFO, "leader", "became leader term=%d why=\"%s\" path=%s", 5,
           "votes of 1 and 3", "a\\b");
    ck_assert_str_eq(after_time(&page), "level=info server=3 room=leader msg=\"became leader\" "
                                        "term=5 why=\"votes of 1 and 3\" path=\"a\\\\b\"\n");
    ck_assert(strncmp(page.text, "time=20", 7) == 0);
}
END_TEST

START_TEST(say__json_splits_pairs)
{
    struct page page;
    struct report report = report_to(&page, REPORT_JSON);
    REPORT(&report, REPORT_WARN, "peers", "lost \"two\" peer=2 ok=false part=007 e=-0 d=-12");
    ck_assert_str_eq(after_time(&page),
                     "level\":\"warn\",\"server\":3,\"room\":\"peers\",\"msg\":\"lost "
                     "\\\"two\\\"\",\"peer\":2,\"ok\":false,\"part\":\"007\",\"e\":\"-0\","
                     "\"d\":-12}\n");
    ck_assert(strncmp(page.text, "{\"time\":\"20", 11) == 0);
}
END_TEST

START_TEST(say__forged_and_repeated_names_stay_in_the_sentence)
{
    struct page page;
    struct report report = report_to(&page, REPORT_LOGFMT);
    REPORT(&report, REPORT_INFO, "x", "said level=error a=1 b=2 a=3");
    ck_assert_str_eq(after_time(&page),
                     "level=info server=3 room=x msg=\"said level=error a=1\" b=2 a=3\n");
}
END_TEST

START_TEST(say__text_cannot_break_the_line)
{
    struct page page;
    struct report report = report_to(&page, REPORT_LOGFMT);
    REPORT(&report, REPORT_INFO, "x", "key %s", "a\nlevel=error msg=\"b\"\x1b[31m");
    ck_assert_int_eq(page.lines, 1);
    ck_assert_ptr_eq(strchr(page.text, '\n'), page.text + page.size - 1);
    ck_assert_ptr_null(strchr(page.text, '\x1b'));
}
END_TEST

START_TEST(say__long_messages_are_cut)
{
    struct page page;
    struct report report = report_to(&page, REPORT_JSON);
    char text[5000];
    memset(text, '\x01', sizeof(text)); /* the worst to escape */
    text[sizeof(text) - 1] = '\0';
    REPORT(&report, REPORT_INFO, "x", "%s", text);
    ck_assert_int_eq(page.lines, 1);
    ck_assert_ptr_nonnull(strstr(page.text, "\\u0001...\"}\n"));
    ck_assert_uint_gt(page.size, 6000);
}
END_TEST

START_TEST(say__level_and_server_may_leave_things_out)
{
    struct page page;
    struct report report = report_to(&page, REPORT_LOGFMT);
    report.server = SERVER_NONE;
    REPORT(&report, REPORT_DEBUG, "x", "not said");
    report_say(&report, REPORT_DEBUG, "x", "not said");
    ck_assert_int_eq(page.lines, 0);
    atomic_store(&report.level, REPORT_DEBUG);
    REPORT(&report, REPORT_DEBUG, "x", "said");
    ck_assert_str_eq(after_time(&page), "level=debug room=x msg=\"said\"\n");
}
END_TEST

START_TEST(init_stderr__writes_there)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    int saved = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    struct report report;
    report_init_stderr(&report, REPORT_ERROR, REPORT_LOGFMT, 1);
    REPORT(&report, REPORT_ERROR, "storage", "disk gone");
    dup2(saved, STDERR_FILENO);
    char line[256] = "";
    ssize_t size = read(ends[0], line, sizeof(line) - 1);
    ck_assert_int_gt(size, 0);
    ck_assert_ptr_nonnull(strstr(line, "level=error server=1 room=storage msg=\"disk gone\"\n"));
    close(saved);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(say_limited__counts_what_it_leaves_out)
{
    struct page page;
    struct report report = report_to(&page, REPORT_LOGFMT);
    struct report_limit limit = {0};
    for (int i = 0; i < 25; i++)
        REPORT_LIMITED(&report, &limit, REPORT_WARN, "clients", "a stranger, number %d", i);
    ck_assert_int_eq(page.lines, REPORT_LIMIT_LINES);
    ck_assert_ptr_null(strstr(page.text, "left_out"));
    REPORT_LIMITED(&report, &limit, REPORT_DEBUG, "clients", "not said at this level at all");
    memset(&page, 0, sizeof(page));
    limit.since_ns -= REPORT_LIMIT_SECONDS * NS_PER_S; /* so much time passes */
    REPORT_LIMITED(&report, &limit, REPORT_WARN, "clients", "one more port=7");
    ck_assert_ptr_nonnull(strstr(page.text, " msg=\"one more\" port=7 left_out=15\n"));
    REPORT_LIMITED(&report, &limit, REPORT_WARN, "clients", "and another");
    ck_assert_ptr_nonnull(strstr(page.text, " msg=\"and another\"\n"));
}
END_TEST

UNIT_MAIN("report", escape__each_kind_of_byte, utf8_length__refuses_what_unicode_refuses,
          level_parse__words_and_others, say__logfmt_splits_pairs, say__json_splits_pairs,
          say__forged_and_repeated_names_stay_in_the_sentence, say__text_cannot_break_the_line,
          say__long_messages_are_cut, say__level_and_server_may_leave_things_out,
          init_stderr__writes_there, say_limited__counts_what_it_leaves_out)
