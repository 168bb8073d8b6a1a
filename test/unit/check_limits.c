/* check_limits.c - tests of server/mail/limits.c. */
#include "server/mail/limits.h"

#include "test/unit/unit.h"

static const struct member_limits own = {
    .command_bytes = 1000, .key_bytes = 100, .value_bytes = 500, .frame_bytes = 4000};

START_TEST(limits_learn__the_smallest_of_each_holds)
{
    struct report report;
    report_init_stderr(&report, REPORT_ERROR, REPORT_LOGFMT, 1);
    struct limits limits;
    limits_init(&limits, &own);
    struct member_limits two = {.command_bytes = 900, .key_bytes = 200, .value_bytes = 500};
    struct member_limits three = {.command_bytes = 950, .key_bytes = 50, .value_bytes = 0};
    limits_learn(&limits, 2, &two, &report);
    limits_learn(&limits, 3, &three, &report);
    ck_assert_uint_eq(limits_command_bytes(&limits), 900);
    ck_assert_uint_eq(limits_key_bytes(&limits), 50);
    ck_assert_uint_eq(limits_value_bytes(&limits), 500);
    /* It was started with others. */
    two.command_bytes = 2000;
    limits_learn(&limits, 2, &two, &report);
    ck_assert_uint_eq(limits_command_bytes(&limits), 950);
    limits_deinit(&limits);
}
END_TEST

START_TEST(limits_arguments__wide_commands_wait_for_all_members)
{
    struct limits limits;
    limits_init(&limits, &own);
    ck_assert_uint_eq(limits_arguments(&limits), LIMITS_ARGUMENTS_OLD + 1);
    limits_allow_wide(&limits);
    ck_assert_uint_ge(limits_arguments(&limits), 1024 * 1024);
    limits_deinit(&limits);
}
END_TEST

UNIT_MAIN("limits", limits_learn__the_smallest_of_each_holds,
          limits_arguments__wide_commands_wait_for_all_members)
