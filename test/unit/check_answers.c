/* check_answers.c - answers go through their sinks, which are flushed once a pile. */
#include "server/replica/answers.h"

#include "test/unit/server_unit.h"

static void answer(char client, u64 slot)
{
    server_answer(server, command_of(client, COMMAND_WRITE, slot, "x"), (const u8 *)"+OK\r\n", 5);
}

/* ---- server_flush_answers ---- */

START_TEST(server_flush_answers__each_sink_once_in_the_order_of_first_answers)
{
    begin("1");
    answer('B', 1);
    answer('A', 1);
    answer('B', 2);
    CK_TAPE("answer B1:+OK, answer A1:+OK, answer B2:+OK");
    server_flush_answers(server);
    CK_TAPE("flush B, flush A");
    server_flush_answers(server); /* nothing has come since */
    CK_TAPE("");
    answer('A', 2);
    server_flush_answers(server);
    CK_TAPE("answer A2:+OK, flush A");
    end();
}
END_TEST

START_TEST(server_flush_answers__more_sinks_than_are_noted_lose_nothing)
{
    begin("1");
    for (char client = 'A'; client < 'A' + SERVER_SINKS_MAX; client++)
        answer(client, 1);
    ck_assert_ptr_null(strstr(tape, "flush"));
    tape[0] = '\0';
    answer('A', 2); /* is noted already */
    CK_TAPE("answer A2:+OK");
    ck_assert_uint_eq(SERVER_SINKS_MAX, 8);
    answer('I', 1);
    CK_TAPE("flush A, flush B, flush C, flush D, flush E, flush F, flush G, flush H, "
            "answer I1:+OK");
    answer('A', 3);
    server_flush_answers(server);
    CK_TAPE("answer A3:+OK, flush I, flush A");
    end();
}
END_TEST

/* ---- server_answer ---- */

/* Its sink ends with its last answer: it must not be touched at the pile's end. */
START_TEST(server_answer__sinks_of_forwarded_commands_are_not_noted)
{
    begin("1");
    struct command *command = command_of('A', COMMAND_WRITE, 1, "x");
    command->forwarded = true;
    server_answer(server, command, (const u8 *)"+OK\r\n", 5);
    ck_assert_uint_eq(server->sink_count, 0);
    command = command_of('A', COMMAND_WRITE, 2, "x");
    command->forwarded = true;
    server_fail(server, command, COMMAND_UNKNOWN_OUTCOME);
    server_flush_answers(server);
    CK_TAPE("answer A1:+OK, answer A2:-TIMEOUT outcome unknown: the command ma");
    end();
}
END_TEST

/* ---- server_fail ---- */

START_TEST(server_fail__says_why_and_is_flushed)
{
    begin("1");
    server_fail(server, command_of('A', COMMAND_WRITE, 1, "x"), COMMAND_BUSY);
    server_fail(server, command_of('A', COMMAND_READ, 2, "x"), COMMAND_NO_SPACE);
    server_flush_answers(server);
    CK_TAPE("answer A1:-BUSY too many commands are waiting, answer A2:-NOSPACE the disk is full, "
            "flush A");
    end();
}
END_TEST

/* ---- server_redirect ---- */

START_TEST(server_redirect__names_the_leader_and_is_flushed)
{
    begin("1");
    server->raft.leader = 3;
    struct command *command = command_of('A', COMMAND_WRITE, 1, "x");
    command->may_redirect = true;
    server_redirect(server, command);
    server_flush_answers(server);
    CK_TAPE("redirect A1>3, flush A");
    end();
}
END_TEST

UNIT_MAIN("answers", server_flush_answers__each_sink_once_in_the_order_of_first_answers,
          server_flush_answers__more_sinks_than_are_noted_lose_nothing,
          server_answer__sinks_of_forwarded_commands_are_not_noted,
          server_fail__says_why_and_is_flushed, server_redirect__names_the_leader_and_is_flushed)
