/* check_batch.c - tests of server/replica/batch.h. */
#include "server/replica/batch.h"

#include "test/unit/unit.h"

START_TEST(helping__is_over_with_the_command_that_fills_it)
{
    struct helping helping;
    helping_begin(&helping, 10);
    ck_assert(!helping_is_over(&helping)); /* one is always executed */
    helping_add(&helping, 9);
    ck_assert(!helping_is_over(&helping));
    helping_add(&helping, 1);
    ck_assert(helping_is_over(&helping));
}
END_TEST

START_TEST(helping__is_over_when_its_time_is)
{
    struct helping helping;
    helping_begin(&helping, UINT64_MAX);
    helping_add(&helping, 1);
    helping.until_ns = clock_monotonic_ns() - 1;
    /* Small work is not looked at each time, */
    for (u32 i = 1; i < HELPING_LOOK_COUNT; i++) {
        helping_add(&helping, 1);
        ck_assert(!helping_is_over(&helping));
    }
    helping_add(&helping, 1);
    ck_assert(helping_is_over(&helping));
    /* and much is. */
    helping_begin(&helping, UINT64_MAX);
    helping_add(&helping, 1);
    helping.until_ns = clock_monotonic_ns() - 1;
    helping_add(&helping, HELPING_LOOK_BYTES);
    ck_assert(helping_is_over(&helping));
}
END_TEST

UNIT_MAIN("helping", helping__is_over_with_the_command_that_fills_it,
          helping__is_over_when_its_time_is)
