/* check_parked.c - commands that wait for a leader, the oldest first, and not for ever. */
#include "server/requests/parked.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "test/unit/unit.h"

static struct command_list parked;
static char row[128]; /* "w1 r1" */

static void no_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                      size_t size)
{
    (void)sink, (void)command, (void)answer, (void)size;
    ck_abort_msg("nobody is answered here");
}

static const struct command_sink_ops sink_ops = {.answer = no_answer};
static struct command_sink sink = {&sink_ops};

static void put(enum command_class class, u64 serial, u64 arrived_ns)
{
    struct command *command = command_create(class, (struct span){0}, &sink);
    command->serial = serial;
    command->arrived_ns = arrived_ns;
    parked_put(&parked, command);
}

/* Takes all of them out, as "w1 r1": a write of serial 1, a read behind it. */
static const char *taken(void)
{
    row[0] = '\0';
    for (struct command *command; (command = command_list_take(&parked)) != NULL;) {
        size_t used = strlen(row);
        (void)snprintf(row + used, sizeof(row) - used, "%s%c%llu", used == 0 ? "" : " ",
                       command->class == COMMAND_WRITE ? 'w' : 'r',
                       (unsigned long long)command->serial);
        command_destroy(command);
    }
    return row;
}

/* ---- parked_put ---- */

START_TEST(parked_put__in_the_order_in_which_they_came)
{
    put(COMMAND_WRITE, 1, 10);
    put(COMMAND_READ, 1, 20);
    put(COMMAND_WRITE, 2, 20);
    ck_assert_uint_eq(parked.count, 3);
    ck_assert_str_eq(taken(), "w1 r1 w2");
}
END_TEST

/* What comes back from a leader that did not take it was there before what came meanwhile. */
START_TEST(parked_put__who_comes_back_gets_his_old_place)
{
    put(COMMAND_WRITE, 1, 10);
    put(COMMAND_WRITE, 4, 40);
    put(COMMAND_READ, 2, 20); /* of the same mail as write 2 */
    put(COMMAND_WRITE, 2, 20);
    put(COMMAND_WRITE, 3, 30);
    ck_assert_str_eq(taken(), "w1 w2 r2 w3 w4");
}
END_TEST

/* ---- parked_until_ns ---- */

START_TEST(parked_until_ns__nobody_waits)
{
    ck_assert_uint_eq(parked_until_ns(&parked, 100), UINT64_MAX);
}
END_TEST

START_TEST(parked_until_ns__goes_by_who_waits_longest)
{
    put(COMMAND_WRITE, 2, 20);
    ck_assert_uint_eq(parked_until_ns(&parked, 100), 120);
    put(COMMAND_WRITE, 1, 10);
    ck_assert_uint_eq(parked_until_ns(&parked, 100), 110);
    (void)taken();
}
END_TEST

/* ---- parked_expired ---- */

START_TEST(parked_expired__gives_those_whose_time_is_over_one_by_one)
{
    put(COMMAND_WRITE, 1, 10);
    put(COMMAND_WRITE, 2, 20);
    put(COMMAND_WRITE, 3, 30);
    ck_assert_ptr_null(parked_expired(&parked, 100, 109));
    struct command *first = parked_expired(&parked, 100, 120);
    struct command *second = parked_expired(&parked, 100, 120);
    ck_assert_uint_eq(first->serial, 1);
    ck_assert_uint_eq(second->serial, 2);
    ck_assert_ptr_null(first->next);
    ck_assert_ptr_null(parked_expired(&parked, 100, 120));
    command_destroy(first);
    command_destroy(second);
    ck_assert_str_eq(taken(), "w3");
    ck_assert_ptr_null(parked_expired(&parked, 100, UINT64_MAX - 1));
}
END_TEST

UNIT_MAIN("parked", parked_put__in_the_order_in_which_they_came,
          parked_put__who_comes_back_gets_his_old_place, parked_until_ns__nobody_waits,
          parked_until_ns__goes_by_who_waits_longest,
          parked_expired__gives_those_whose_time_is_over_one_by_one)
