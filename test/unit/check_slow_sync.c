/* check_slow_sync.c - a slow disk is said at once, and then not all the time. */
#include "server/storage/slow_sync.h"

#include "test/unit/unit.h"

#define MS(n) ((u64)(n)*NS_PER_MS)

struct sayings {
    struct report report;
    u32 count;
    char last[1024];
};

static void take_line(void *context, enum report_level level, const char *line, size_t size)
{
    struct sayings *sayings = context;
    ck_assert_int_eq(level, REPORT_WARN);
    ck_assert_uint_lt(size, sizeof(sayings->last));
    memcpy(sayings->last, line, size);
    sayings->last[size] = '\0';
    sayings->count++;
}

static struct sayings *sayings_create(void)
{
    static struct sayings sayings;
    sayings = (struct sayings){.report = {.format = REPORT_LOGFMT, .write = take_line}};
    atomic_store(&sayings.report.level, (int)REPORT_INFO);
    sayings.report.context = &sayings;
    return &sayings;
}

static void check_says(const struct sayings *sayings, u32 count, const char *text)
{
    ck_assert_uint_eq(sayings->count, count);
    ck_assert_msg(strstr(sayings->last, text) != NULL, "\"%s\" is not in: %s", text, sayings->last);
}

START_TEST(note__only_what_takes_longer)
{
    struct sayings *sayings = sayings_create();
    struct slow_sync slow = {.limit_ns = MS(200)};
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(1000), MS(200));
    ck_assert_uint_eq(sayings->count, 0);
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(2000), MS(350) + 123456);
    check_says(sayings, 1, "a sync of the log took 350ms, longer than slow-sync 200ms");
}
END_TEST

START_TEST(note__one_line_in_ten_seconds)
{
    struct sayings *sayings = sayings_create();
    struct slow_sync slow = {.limit_ns = MS(200)};
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(1000), MS(300));
    for (u64 i = 1; i <= 20; i++)
        slow_sync_note(&slow, &sayings->report,
                       i == 7 ? "a sync of the metadata" : "a sync of the log", MS(1000 + i * 400),
                       MS(i == 7 ? 900 : 300));
    ck_assert_uint_eq(sayings->count, 1);
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(10999), MS(1));
    ck_assert_uint_eq(sayings->count, 1);
    /* The first sync after the 10 s tells of the others, though it is quick itself. */
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(11000), MS(1));
    check_says(sayings, 2, "20 waits since this was last said");
    check_says(sayings, 2, "the longest, a sync of the metadata, 900ms");
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(60000), MS(1));
    ck_assert_uint_eq(sayings->count, 2);
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(61000), MS(201));
    check_says(sayings, 3, "a sync of the log took 201ms");
}
END_TEST

START_TEST(note__never_when_told_so)
{
    struct sayings *sayings = sayings_create();
    struct slow_sync slow = {.limit_ns = MS(100)};
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(1000), MS(300));
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(1500), MS(300));
    slow.limit_ns = 0;
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(90000), MS(9000));
    slow.limit_ns = MS(100);
    slow_sync_note(&slow, &sayings->report, "a sync of the log", MS(99000), MS(1));
    ck_assert_uint_eq(sayings->count, 1);
}
END_TEST

UNIT_MAIN("slow_sync", note__only_what_takes_longer, note__one_line_in_ten_seconds,
          note__never_when_told_so)
