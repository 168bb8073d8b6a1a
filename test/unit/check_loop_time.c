/* check_loop_time.c - rounds of work: from one mail to the next, with the disk and without, and
 * what of them was work. */
#include "server/replica/loop_time.h"

#include "test/unit/unit.h"

#define MS(n) ((n)*NS_PER_MS)
#define US(n) ((n)*NS_PER_US)

/* What the threads' clock says when it is read, and how often it was. */
static u64 thread_us;
static u32 looks;

static u64 read_thread(void)
{
    looks++;
    return US(thread_us);
}

/* A thread calls: the clock, the waiting for the disk so far, and its processor time, in us. */
static struct loop_time_clocks clocks_of(const char *thread, u64 now_us, u64 waited_us,
                                         u64 worked_us)
{
    thread_us = worked_us;
    return (struct loop_time_clocks){US(now_us), US(waited_us), thread, read_thread};
}

static const char a[] = "a", b[] = "b", c[] = "c";

static void begin(struct loop_time *pace, const char *thread, u64 now, u64 waited, u64 worked)
{
    struct loop_time_clocks clocks = clocks_of(thread, now, waited, worked);
    loop_time_begin(pace, &clocks);
}

static void pause_(struct loop_time *pace, const char *thread, u64 now, u64 waited, u64 worked)
{
    struct loop_time_clocks clocks = clocks_of(thread, now, waited, worked);
    loop_time_pause(pace, &clocks);
}

static void end(struct loop_time *pace, const char *thread, u64 now, u64 waited, u64 worked)
{
    struct loop_time_clocks clocks = clocks_of(thread, now, waited, worked);
    loop_time_end(pace, &clocks);
}

START_TEST(end__takes_the_disk_off)
{
    struct loop_time pace = {0};
    begin(&pace, a, 100000, 5000, 70000);
    end(&pace, a, 130000, 25000, 73000);
    ck_assert_uint_eq(pace.rounds.count, 1);
    ck_assert_uint_eq(pace.rounds.max_ns, MS(30));
    ck_assert_uint_eq(pace.rounds_without_disk.count, 1);
    ck_assert_uint_eq(pace.rounds_without_disk.max_ns, MS(10));
    ck_assert_uint_eq(pace.rounds_of_work.count, 1);
    ck_assert_uint_eq(pace.rounds_of_work.max_ns, MS(3));
}
END_TEST

START_TEST(begin__a_round_that_goes_on_goes_on)
{
    struct loop_time pace = {0};
    begin(&pace, a, 100000, 0, 0);
    pause_(&pace, a, 105000, 0, 2000);
    begin(&pace, a, 110000, 4000, 2000); /* another letter before the flush */
    end(&pace, a, 120000, 6000, 7000);
    ck_assert_uint_eq(pace.rounds.count, 1);
    ck_assert_uint_eq(pace.rounds.max_ns, MS(20));
    ck_assert_uint_eq(pace.rounds_without_disk.max_ns, MS(14));
    ck_assert_uint_eq(pace.rounds_of_work.max_ns, MS(7));
}
END_TEST

/* What each did elsewhere, before, between and after, is not the round's. */
START_TEST(pause__another_thread_goes_on)
{
    struct loop_time pace = {0};
    begin(&pace, a, 100000, 0, 500000);
    pause_(&pace, a, 110000, 0, 503000);
    begin(&pace, b, 110000, 0, 20000);
    pause_(&pace, b, 112000, 0, 21000);
    begin(&pace, a, 112000, 0, 530000);
    pause_(&pace, a, 115000, 0, 532000);
    begin(&pace, c, 115000, 0, 9000000);
    end(&pace, c, 140000, 20000, 9004000); /* the flush */
    ck_assert_uint_eq(pace.rounds_of_work.count, 1);
    ck_assert_uint_eq(pace.rounds_of_work.max_ns, MS(3 + 1 + 2 + 4));
    ck_assert_uint_eq(pace.rounds.max_ns, MS(40));
    begin(&pace, b, 200000, 20000, 60000);
    end(&pace, b, 201000, 20000, 60600);
    ck_assert_uint_eq(pace.rounds_of_work.total_ns, US(10600));
}
END_TEST

START_TEST(end__short_parts_count_wholly_and_cost_no_look)
{
    struct loop_time pace = {0};
    looks = 0;
    begin(&pace, a, 100000, 0, 10);
    pause_(&pace, a, 100200, 0, 11); /* put aside, but not for long */
    begin(&pace, b, 100300, 0, 50);
    end(&pace, b, 100700, 300, 51); /* and the disk does not count */
    ck_assert_uint_eq(pace.rounds_of_work.max_ns, US(200 + 100));
    ck_assert_uint_eq(looks, 2); /* at each one's beginning */
}
END_TEST

/* Round after round of 10 us: one look in ten suffices, and a long one is at most so much too long.
 */
START_TEST(begin__a_look_serves_for_a_while)
{
    struct loop_time pace = {0};
    looks = 0;
    u64 now = 100000;
    for (int i = 0; i < 1000; i++, now += 10) {
        begin(&pace, a, now, 0, now);
        end(&pace, a, now + 10, 0, now + 10);
    }
    ck_assert_uint_eq(looks, 100);
    /* The last look is 100 us old at most; of 40 ms it works 1 ms. */
    begin(&pace, a, now + 9, 0, now + 9);
    end(&pace, a, now + 40000, 0, now + 1009);
    ck_assert_uint_ge(pace.rounds_of_work.max_ns, US(1000));
    ck_assert_uint_le(pace.rounds_of_work.max_ns, US(1000) + LOOP_TIME_FRESH_NS);
    ck_assert_uint_ge(pace.rounds_without_disk.max_ns, MS(39));
}
END_TEST

START_TEST(begin__more_threads_than_are_remembered)
{
    static const char names[LOOP_TIME_THREADS * 2];
    struct loop_time pace = {0};
    u64 now = 100000;
    for (u64 turn = 0; turn < 3; turn++) {
        for (u64 i = 0; i < ARRAY_LENGTH(names); i++, now += 3000) {
            begin(&pace, &names[i], now, 0, 1000000 * i + turn * 10000);
            end(&pace, &names[i], now + 2000, 0, 1000000 * i + turn * 10000 + 700);
        }
    }
    ck_assert_uint_eq(pace.rounds_of_work.count, 3 * LOOP_TIME_THREADS * 2);
    ck_assert_uint_eq(pace.rounds_of_work.total_ns, US(700) * 3 * LOOP_TIME_THREADS * 2);
}
END_TEST

START_TEST(end__nobody_works_longer_than_it_took)
{
    struct loop_time pace = {0};
    begin(&pace, a, 100000, 0, 40000);
    end(&pace, a, 110000, 0, 51000); /* the clocks do not tick alike */
    ck_assert_uint_eq(pace.rounds_of_work.max_ns, MS(10));
    begin(&pace, a, 110010, 0, 51000);
    end(&pace, a, 112010, 0, 3); /* a new thread, taken for one that has ended */
    ck_assert_uint_eq(pace.rounds_of_work.total_ns, MS(12));
}
END_TEST

START_TEST(end__waiting_is_no_round)
{
    struct loop_time pace = {0};
    end(&pace, a, 50000, 0, 1000); /* nothing had begun */
    begin(&pace, a, 100000, 0, 1000);
    end(&pace, a, 101000, 0, 2000);
    end(&pace, a, 900000, 0, 9000);
    ck_assert_uint_eq(pace.rounds.count, 1);
    begin(&pace, a, 900000, 0, 9000);
    end(&pace, a, 902000, 0, 10000);
    ck_assert_uint_eq(pace.rounds.count, 2);
    ck_assert_uint_eq(pace.rounds.max_ns, MS(2));
    ck_assert_uint_eq(pace.rounds_of_work.total_ns, MS(2));
}
END_TEST

START_TEST(reset__in_a_round)
{
    struct loop_time pace = {0};
    begin(&pace, a, 100000, 0, 10000);
    end(&pace, a, 200000, 0, 20000);
    begin(&pace, a, 300000, 1000, 30000);
    loop_time_reset(&pace);
    ck_assert_uint_eq(pace.rounds.count, 0);
    ck_assert_uint_eq(pace.rounds_without_disk.max_ns, 0);
    ck_assert_uint_eq(pace.rounds_of_work.max_ns, 0);
    end(&pace, a, 303000, 2000, 31000);
    ck_assert_uint_eq(pace.rounds.count, 1);
    ck_assert_uint_eq(pace.rounds.max_ns, MS(3));
    ck_assert_uint_eq(pace.rounds_without_disk.max_ns, MS(2));
    ck_assert_uint_eq(pace.rounds_of_work.max_ns, MS(1));
}
END_TEST

UNIT_MAIN("pace", end__takes_the_disk_off, begin__a_round_that_goes_on_goes_on,
          pause__another_thread_goes_on, end__short_parts_count_wholly_and_cost_no_look,
          begin__a_look_serves_for_a_while, begin__more_threads_than_are_remembered,
          end__nobody_works_longer_than_it_took, end__waiting_is_no_round, reset__in_a_round)
