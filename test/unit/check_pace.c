/* check_pace.c - rounds of work: from one mail to the next, with the disk and without. */
#include "server/pace.h"

#include "test/unit/unit.h"

#define MS(n) ((n)*NS_PER_MS)

START_TEST(end__takes_the_disk_off)
{
    struct pace pace = {0};
    pace_begin(&pace, MS(100), MS(5));
    pace_end(&pace, MS(130), MS(25));
    ck_assert_uint_eq(pace.rounds.count, 1);
    ck_assert_uint_eq(pace.rounds.max_ns, MS(30));
    ck_assert_uint_eq(pace.rounds_without_disk.count, 1);
    ck_assert_uint_eq(pace.rounds_without_disk.max_ns, MS(10));
}
END_TEST

START_TEST(begin__a_round_that_goes_on_goes_on)
{
    struct pace pace = {0};
    pace_begin(&pace, MS(100), 0);
    pace_begin(&pace, MS(110), MS(4)); /* another letter before the flush */
    pace_end(&pace, MS(120), MS(6));
    ck_assert_uint_eq(pace.rounds.max_ns, MS(20));
    ck_assert_uint_eq(pace.rounds_without_disk.max_ns, MS(14));
}
END_TEST

START_TEST(end__waiting_is_no_round)
{
    struct pace pace = {0};
    pace_end(&pace, MS(50), 0); /* nothing had begun */
    pace_begin(&pace, MS(100), 0);
    pace_end(&pace, MS(101), 0);
    pace_end(&pace, MS(900), 0);
    ck_assert_uint_eq(pace.rounds.count, 1);
    pace_begin(&pace, MS(900), 0);
    pace_end(&pace, MS(902), 0);
    ck_assert_uint_eq(pace.rounds.count, 2);
    ck_assert_uint_eq(pace.rounds.max_ns, MS(2));
}
END_TEST

START_TEST(reset__in_a_round)
{
    struct pace pace = {0};
    pace_begin(&pace, MS(100), 0);
    pace_end(&pace, MS(200), 0);
    pace_begin(&pace, MS(300), MS(1));
    pace_reset(&pace);
    ck_assert_uint_eq(pace.rounds.count, 0);
    ck_assert_uint_eq(pace.rounds_without_disk.max_ns, 0);
    pace_end(&pace, MS(303), MS(2));
    ck_assert_uint_eq(pace.rounds.count, 1);
    ck_assert_uint_eq(pace.rounds.max_ns, MS(3));
    ck_assert_uint_eq(pace.rounds_without_disk.max_ns, MS(2));
}
END_TEST

UNIT_MAIN("pace", end__takes_the_disk_off, begin__a_round_that_goes_on_goes_on,
          end__waiting_is_no_round, reset__in_a_round)
