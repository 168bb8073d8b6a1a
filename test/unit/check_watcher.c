/* check_watcher.c - whether a thread has stalled, as seen from another one, and what is said of it.
 */
#include <unistd.h>

#include "server/raftd/watcher.h"

#include "common/clock.h"
#include "test/unit/unit.h"

#define MS NS_PER_MS
enum { BEGIN_MS = 1000000 };

static struct watch watch;

/* Looks every 100 ms from `from_ms` to `to_ms` at a thread that began its round and its wait for
 * the disk then (0: none); returns how many lines that made, of which `last` is the last. */
static u32 look(u32 from_ms, u32 to_ms, u32 round_ms, u32 disk_ms, u32 slow_ms,
                enum watch_word *last)
{
    u32 lines = 0;
    *last = WATCH_SILENT;
    for (u32 ms = from_ms; ms <= to_ms; ms += 100) {
        struct watch_sight sight = {
            .now_ns = (BEGIN_MS + ms) * MS,
            .round_ns = round_ms == 0 ? 0 : (BEGIN_MS + round_ms) * MS,
            .disk_ns = disk_ms == 0 ? 0 : (BEGIN_MS + disk_ms) * MS,
            .slow_ns = slow_ms * MS,
        };
        enum watch_word word = watch_look(&watch, &sight);
        if (word != WATCH_SILENT) {
            lines++;
            *last = word;
        }
    }
    return lines;
}

static void begin(void)
{
    watch = (struct watch){0};
}

START_TEST(watch_look__rest_and_work_are_no_stall)
{
    enum watch_word last;
    begin();
    ck_assert_uint_eq(look(0, 60000, 0, 0, 200, &last), 0);
    for (u32 ms = 60100; ms < 70000; ms += 100)
        ck_assert_uint_eq(look(ms, ms, ms - 90, ms - 80, 200, &last), 0);
    ck_assert_uint_eq(watch.stalled_ns, 0);
}
END_TEST

START_TEST(watch_look__disk_is_said_with_longer_and_longer_pauses)
{
    enum watch_word last;
    begin();
    (void)look(100, 1000, 0, 0, 200, &last);
    /* Begun at 1000: due at 200 ms, and each time when it has taken twice as long. */
    ck_assert_uint_eq(look(1100, 1100, 1000, 1000, 200, &last), 0);
    ck_assert_uint_eq(look(1200, 1200, 1000, 1000, 200, &last), 1);
    ck_assert_int_eq(last, WATCH_DISK);
    ck_assert_uint_eq(watch.stalled_ns, 0);
    ck_assert_uint_eq(look(1300, 1500, 1000, 1000, 200, &last), 1);
    ck_assert_uint_eq(watch.stalled_ns, (BEGIN_MS + 1000) * MS);
    ck_assert(watch.on_disk);
    /* 800 ms, 1.6 s, 3.2, ... 51.2 s */
    ck_assert_uint_eq(look(1600, 61000, 1000, 1000, 200, &last), 7);
    ck_assert_uint_eq(look(61100, 61100, 0, 0, 200, &last), 1);
    ck_assert_int_eq(last, WATCH_GOES_ON);
    ck_assert_uint_eq(look(61200, 61300, 0, 0, 200, &last), 0);
    ck_assert_uint_eq(watch.stalled_ns, 0);
}
END_TEST

START_TEST(watch_look__slow_disk_is_not_said_all_day)
{
    enum watch_word last;
    u32 lines = 0;
    begin();
    /* A sync of 300 ms each 400, for a minute: a line in 10 s, and one that it was over. */
    for (u32 ms = 400; ms < 60000; ms += 400) {
        lines += look(ms, ms + 200, ms, ms, 200, &last);
        lines += look(ms + 300, ms + 300, 0, 0, 200, &last);
    }
    ck_assert_uint_ge(lines, 10);
    ck_assert_uint_le(lines, 14);
    /* But what is worse is said at once. */
    ck_assert_uint_ge(look(60100, 61200, 60000, 60000, 200, &last), 1);
    ck_assert_int_eq(last, WATCH_DISK);
}
END_TEST

START_TEST(watch_look__slow_sync_0_says_nothing_of_the_disk)
{
    enum watch_word last;
    begin();
    ck_assert_uint_eq(look(100, 5000, 1, 1, 0, &last), 0);
    ck_assert_uint_ne(watch.stalled_ns, 0); /* and yet it is known */
}
END_TEST

START_TEST(watch_look__work_is_told_apart_from_the_disk)
{
    enum watch_word last;
    begin();
    ck_assert_uint_eq(look(100, 900, 1, 0, 200, &last), 0);
    ck_assert_uint_eq(watch.stalled_ns, 0);
    ck_assert_uint_eq(look(1000, 1100, 1, 0, 200, &last), 1);
    ck_assert_int_eq(last, WATCH_WORK);
    ck_assert(!watch.on_disk);
    ck_assert_uint_eq(watch.stalled_ns, (BEGIN_MS + 1) * MS);
    /* The round goes on, with a short sync in it: it is not over. */
    ck_assert_uint_eq(look(1200, 1300, 1, 1190, 200, &last), 0);
    ck_assert_uint_eq(look(1400, 1400, 1390, 0, 200, &last), 1);
    ck_assert_int_eq(last, WATCH_GOES_ON);
}
END_TEST

START_TEST(watch_look__what_it_slept_through_does_not_count)
{
    enum watch_word last;
    begin();
    ck_assert_uint_eq(look(100, 200, 1, 1, 1000, &last), 0);
    /* The process was stopped for an hour, in the midst of a sync. */
    ck_assert_uint_eq(look(3600000, 3600300, 1, 1, 1000, &last), 0);
    ck_assert_uint_eq(watch.stalled_ns, 0);
    ck_assert_uint_eq(look(3600400, 3601000, 1, 1, 1000, &last), 1);
    ck_assert_uint_eq(watch.stalled_ns, (BEGIN_MS + 3600000) * MS);
}
END_TEST

static _Atomic u32 told;

static void tell(void *context)
{
    (void)context;
    atomic_fetch_add(&told, 1);
}

static void drop_line(void *context, enum report_level level, const char *line, size_t size)
{
    (void)context;
    (void)level;
    (void)line;
    (void)size;
}

START_TEST(watcher__tells_when_a_stall_begins_and_when_it_is_over)
{
    struct report report = {.write = drop_line};
    struct liveness liveness;
    struct watcher watcher;
    struct error error;
    struct buffer status;
    liveness_init(&liveness);
    ck_assert(!liveness_wants_status(&liveness, 1)); /* nobody watches */
    ck_assert_int_eq(watcher_start(&watcher, &liveness, &report, tell, NULL, &error), ERROR_NONE);
    buffer_init(&status);
    buffer_append_string(&status, "raft_id:7\r\n");
    u64 now_ns = clock_monotonic_ns();
    ck_assert(liveness_wants_status(&liveness, now_ns));
    liveness_put_status(&liveness, &status, now_ns);
    ck_assert(!liveness_wants_status(&liveness, now_ns + NS_PER_S / 2));
    ck_assert(liveness_wants_status(&liveness, now_ns + NS_PER_S));
    liveness_outdate_status(&liveness);
    ck_assert(liveness_wants_status(&liveness, now_ns));
    liveness_begin_round(&liveness, now_ns);
    liveness_begin_wait(&liveness, now_ns);
    while (atomic_load(&told) == 0)
        usleep(10000);
    ck_assert_uint_ne(liveness_stalled_ns(&liveness), 0);
    buffer_clear(&status);
    liveness_describe_stall(&liveness, now_ns + NS_PER_S, &status);
    buffer_append(&status, "", 1);
    ck_assert_ptr_nonnull(strstr((char *)status.data, "raft_stalled_on:disk\r\n"));
    ck_assert_ptr_nonnull(strstr((char *)status.data, "raft_status_age_ms:1000\r\nraft_id:7\r\n"));
    liveness_end_wait(&liveness);
    liveness_end_round(&liveness);
    while (atomic_load(&told) == 1)
        usleep(10000);
    ck_assert_uint_eq(liveness_stalled_ns(&liveness), 0);
    watcher_stop(&watcher);
    buffer_deinit(&status);
    liveness_deinit(&liveness);
    ck_assert_uint_eq(liveness_stalled_ns(NULL), 0);
}
END_TEST

UNIT_MAIN("watcher", watch_look__rest_and_work_are_no_stall,
          watch_look__disk_is_said_with_longer_and_longer_pauses,
          watch_look__slow_disk_is_not_said_all_day,
          watch_look__slow_sync_0_says_nothing_of_the_disk,
          watch_look__work_is_told_apart_from_the_disk,
          watch_look__what_it_slept_through_does_not_count,
          watcher__tells_when_a_stall_begins_and_when_it_is_over)
