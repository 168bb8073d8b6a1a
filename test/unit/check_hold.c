/* check_hold.c - commands while no leader is known. */
#include "server/service/hold.h"

#include "test/unit/server_unit.h"

#define WAIT (100 * T_MS)

static void begin_waiting(void)
{
    begin("1");
    server->options.leader_wait_ns = WAIT;
}

static struct command *arrived(struct command *command, u64 serial, u64 at_ns)
{
    command->serial = serial;
    command->arrived_ns = at_ns;
    return command;
}

/* ---- hold_command ---- */

START_TEST(hold_command__reads_and_writes_are_parked)
{
    begin_waiting();
    hold_command(server, arrived(command_of('A', COMMAND_WRITE, 1, "x"), 1, T_MS));
    hold_command(server, arrived(command_of('A', COMMAND_READ, 2, "x"), 1, T_MS));
    CK_TAPE("");
    ck_assert_uint_eq(server->parked.count, 2);
    end();
    CK_TAPE("answer A1:-CLUSTERDOWN this server is stopping, "
            "answer A2:-CLUSTERDOWN this server is stopping, flush A");
}
END_TEST

/* No candidate redirects: it knows nobody. */
START_TEST(hold_command__whoever_asks_for_redirects_waits_too)
{
    begin_waiting();
    struct command *command = command_of('A', COMMAND_WRITE, 1, "x");
    command->may_redirect = true;
    hold_command(server, command);
    CK_TAPE("");
    ck_assert_uint_eq(server->parked.count, 1);
    end();
}
END_TEST

START_TEST(hold_command__what_asks_this_very_server_is_answered)
{
    begin_waiting();
    hold_command(server, command_of('A', COMMAND_RESET_STATISTICS, 1, ""));
    CK_TAPE("answer A1:+OK");
    hold_command(server, command_of('A', COMMAND_STATUS, 2, ""));
    CK_TAPE("answer A2:raft_stalled_ms:0");
    ck_assert_uint_eq(server->parked.count, 0);
    end();
}
END_TEST

START_TEST(hold_command__an_order_is_for_a_leader_alone)
{
    begin_waiting();
    hold_command(server, order_of('A', 1, 2));
    CK_TAPE("answer A1:-CLUSTERDOWN server 1 knows no leader");
    ck_assert_uint_eq(server->parked.count, 0);
    end();
}
END_TEST

/* ---- hold_expire ---- */

START_TEST(hold_expire__nobody_waits)
{
    begin_waiting();
    ck_assert_uint_eq(hold_expire(server, 5000 * T_MS), UINT64_MAX);
    end();
}
END_TEST

START_TEST(hold_expire__who_has_waited_too_long_is_told_and_the_next_one_counts)
{
    begin_waiting();
    hold_command(server, arrived(command_of('A', COMMAND_WRITE, 1, "x"), 1, 10 * T_MS));
    hold_command(server, arrived(command_of('B', COMMAND_READ, 1, "x"), 1, 20 * T_MS));
    hold_command(server, arrived(command_of('A', COMMAND_WRITE, 2, "x"), 2, 30 * T_MS));
    ck_assert_uint_eq(hold_expire(server, WAIT + 10 * T_MS - 1), WAIT + 10 * T_MS);
    CK_TAPE("");
    ck_assert_uint_eq(hold_expire(server, WAIT + 20 * T_MS), WAIT + 30 * T_MS);
    CK_TAPE("answer A1:-CLUSTERDOWN no leader is known, "
            "answer B1:-CLUSTERDOWN no leader is known");
    ck_assert_uint_eq(server->parked.count, 1);
    end();
}
END_TEST

/* Who ordered a transfer waits for the next leader to be known; in vain, and is told so. */
START_TEST(hold_expire__an_order_ends_with_what_became_of_it)
{
    begin_waiting();
    struct command *order = arrived(order_of('A', 1, 2), 0, 10 * T_MS);
    order->wait_index = 2; /* a transfer to server 2 went on */
    command_list_put(&server->parked, order);
    (void)hold_expire(server, WAIT + 10 * T_MS);
    CK_TAPE("answer A1:-TIMEOUT leadership was given to server ");
    end();
}
END_TEST

UNIT_MAIN("hold", hold_command__reads_and_writes_are_parked,
          hold_command__whoever_asks_for_redirects_waits_too,
          hold_command__what_asks_this_very_server_is_answered,
          hold_command__an_order_is_for_a_leader_alone, hold_expire__nobody_waits,
          hold_expire__who_has_waited_too_long_is_told_and_the_next_one_counts,
          hold_expire__an_order_ends_with_what_became_of_it)
