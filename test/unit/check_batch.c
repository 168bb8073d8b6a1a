/* check_batch.c - tests of server/replica/batch.h. */
#include "server/replica/batch.h"

#include "test/unit/unit.h"

START_TEST(work_batch__is_over_with_the_command_that_fills_it)
{
    struct work_batch batch;
    work_batch_begin(&batch, 10);
    ck_assert(!work_batch_is_over(&batch)); /* one is always executed */
    work_batch_add(&batch, 9);
    ck_assert(!work_batch_is_over(&batch));
    work_batch_add(&batch, 1);
    ck_assert(work_batch_is_over(&batch));
}
END_TEST

START_TEST(work_batch__is_over_when_its_time_is)
{
    struct work_batch batch;
    work_batch_begin(&batch, UINT64_MAX);
    work_batch_add(&batch, 1);
    batch.until_ns = clock_monotonic_ns() - 1;
    /* Small work is not looked at each time, */
    for (u32 i = 1; i < WORK_BATCH_LOOK_COUNT; i++) {
        work_batch_add(&batch, 1);
        ck_assert(!work_batch_is_over(&batch));
    }
    work_batch_add(&batch, 1);
    ck_assert(work_batch_is_over(&batch));
    /* and much is. */
    work_batch_begin(&batch, UINT64_MAX);
    work_batch_add(&batch, 1);
    batch.until_ns = clock_monotonic_ns() - 1;
    work_batch_add(&batch, WORK_BATCH_LOOK_BYTES);
    ck_assert(work_batch_is_over(&batch));
}
END_TEST

UNIT_MAIN("batch", work_batch__is_over_with_the_command_that_fills_it,
          work_batch__is_over_when_its_time_is)
