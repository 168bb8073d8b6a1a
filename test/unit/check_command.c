/* check_command.c - commands, their one answer, and lists of them. */
#include "server/mail/command.h"

#include "test/unit/unit.h"
#include <stdio.h>

struct counting_sink {
    struct command_sink sink;
    int answers;
    int redirects;
    server_id leader;
    u64 slots[8]; /* of the commands, in the order in which they were answered */
    char text[256];
};

static void sink_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                        size_t size)
{
    struct counting_sink *counting = CONTAINER_OF(sink, struct counting_sink, sink);
    ck_assert_uint_lt(size, sizeof(counting->text));
    memcpy(counting->text, answer, size);
    counting->text[size] = '\0';
    counting->slots[counting->answers++ % 8] = command->slot;
    command_destroy(command);
}

static void sink_redirect(struct command_sink *sink, struct command *command, server_id leader)
{
    struct counting_sink *counting = CONTAINER_OF(sink, struct counting_sink, sink);
    counting->redirects++;
    counting->leader = leader;
    command_destroy(command);
}

static void sink_flush(struct command_sink *sink)
{
    (void)sink;
}

static const struct command_sink_ops sink_ops = {sink_answer, sink_redirect, sink_flush, NULL};

static struct command *command_of(struct counting_sink *sink, const char *body, u64 slot)
{
    struct block *block = block_create_copy(body, (u32)strlen(body));
    struct span span = span_of(block, block->data, block->size);
    block_release(block);
    struct command *command = command_create(COMMAND_WRITE, span, &sink->sink);
    command->slot = slot;
    return command;
}

START_TEST(command_create__takes_the_body_and_zeroes_the_rest)
{
    struct counting_sink sink = {.sink = {&sink_ops}};
    struct block *block = block_create_copy("set", 3);
    struct command *command =
        command_create(COMMAND_READ, span_of(block, block->data, 3), &sink.sink);
    ck_assert_uint_eq(block->references, 2);
    ck_assert_int_eq(command->class, COMMAND_READ);
    ck_assert_ptr_null(command->next);
    ck_assert(!command->after_write && !command->may_redirect);
    ck_assert_uint_eq(
        command->arrived_ns + command->slot + command->wait_index + command->wait_round, 0);
    ck_assert_ptr_null(command->owner);

    command_destroy(command);
    ck_assert_uint_eq(block->references, 1);
    block_release(block);
}
END_TEST

START_TEST(command_answer__reaches_the_sink_once)
{
    struct counting_sink sink = {.sink = {&sink_ops}};
    command_answer(command_of(&sink, "x", 7), (const u8 *)"+OK\r\n", 5);
    ck_assert_int_eq(sink.answers, 1);
    ck_assert_uint_eq(sink.slots[0], 7);
    ck_assert_str_eq(sink.text, "+OK\r\n");
}
END_TEST

START_TEST(command_redirect__names_the_leader)
{
    struct counting_sink sink = {.sink = {&sink_ops}};
    struct command *command = command_of(&sink, "x", 0);
    command->may_redirect = true;
    command_redirect(command, 3);
    ck_assert_int_eq(sink.redirects, 1);
    ck_assert_uint_eq(sink.leader, 3);
    ck_assert_int_eq(sink.answers, 0);
}
END_TEST

START_TEST(command_fail__answers_each_failure_as_one_error_line)
{
    static const enum command_failure failures[] = {
#define X(name, definite, text) name,
        COMMAND_FAILURES(X)
#undef X
    };
    struct counting_sink sink = {.sink = {&sink_ops}};
    for (u32 i = 0; i < ARRAY_LENGTH(failures); i++) {
        command_fail(command_of(&sink, "x", i), failures[i]);
        char expected[256];
        snprintf(expected, sizeof(expected), "-%s\r\n", command_failure_text(failures[i]));
        ck_assert_str_eq(sink.text, expected);
        ck_assert_ptr_null(strpbrk(command_failure_text(failures[i]), "\r\n"));
    }
    ck_assert_int_eq(sink.answers, (int)ARRAY_LENGTH(failures));
}
END_TEST

/* The two kinds of error are told apart by their words: a definite one says so, and only the
 * indefinite one begins with TIMEOUT. */
START_TEST(command_failure_is_definite__agrees_with_the_text){
#define X(name, definite, text)                                                   \
    {                                                                             \
        bool timeout = strncmp(text, "TIMEOUT ", 8) == 0;                         \
        ck_assert_int_eq(command_failure_is_definite(name), !timeout);            \
        ck_assert_int_eq(strstr(text, "nothing was executed") != NULL, !timeout); \
    }
    COMMAND_FAILURES(X)
#undef X
} END_TEST

    START_TEST(command_list_take__is_first_in_first_out)
{
    struct counting_sink sink = {.sink = {&sink_ops}};
    struct command_list list = {0};
    command_list_put(&list, command_of(&sink, "a", 1));
    command_list_put(&list, command_of(&sink, "bcd", 2));
    command_list_put(&list, command_of(&sink, "", 3));
    ck_assert_uint_eq(list.count, 3);
    ck_assert_uint_eq(list.bytes, 4);
    for (u64 slot = 1; slot <= 3; slot++) {
        struct command *command = command_list_take(&list);
        ck_assert_uint_eq(command->slot, slot);
        ck_assert_ptr_null(command->next);
        command_destroy(command);
    }
    ck_assert_ptr_null(command_list_take(&list));
    ck_assert_ptr_null(list.last);
    ck_assert_uint_eq(list.count, 0);
    ck_assert_uint_eq(list.bytes, 0);

    command_list_put(&list, command_of(&sink, "again", 4));
    ck_assert_uint_eq(list.first->slot, 4);
    command_destroy(command_list_take(&list));
}
END_TEST

START_TEST(command_list_move__joins_in_order_whichever_is_empty)
{
    for (u64 first = 0; first <= 2; first++) {
        for (u64 second = 0; second <= 2; second++) {
            struct counting_sink sink = {.sink = {&sink_ops}};
            struct command_list to = {0};
            struct command_list from = {0};
            for (u64 i = 0; i < first; i++)
                command_list_put(&to, command_of(&sink, "ab", i));
            for (u64 i = 0; i < second; i++)
                command_list_put(&from, command_of(&sink, "c", first + i));
            command_list_move(&to, &from);
            ck_assert_uint_eq(to.count, first + second);
            ck_assert_uint_eq(to.bytes, 2 * first + second);
            ck_assert_ptr_null(from.first);
            ck_assert_ptr_null(from.last);
            ck_assert_uint_eq(from.count + from.bytes, 0);

            command_list_put(&to, command_of(&sink, "d", first + second));
            command_list_fail(&to, COMMAND_STOPPING);
            ck_assert_int_eq(sink.answers, (int)(first + second + 1));
            for (u64 i = 0; i <= first + second; i++)
                ck_assert_uint_eq(sink.slots[i], i);
        }
    }
}
END_TEST

START_TEST(command_list_fail__answers_all_and_leaves_it_empty)
{
    struct counting_sink sink = {.sink = {&sink_ops}};
    struct command_list list = {0};
    command_list_put(&list, command_of(&sink, "a", 1));
    command_list_put(&list, command_of(&sink, "b", 2));
    command_list_fail(&list, COMMAND_BUSY);
    ck_assert_int_eq(sink.answers, 2);
    ck_assert_uint_eq(sink.slots[0], 1);
    ck_assert_int_eq(strncmp(sink.text, "-BUSY ", 6), 0);
    ck_assert_ptr_null(list.first);
    command_list_fail(&list, COMMAND_BUSY);
    ck_assert_int_eq(sink.answers, 2);
}
END_TEST

START_TEST(command_list_merge__keeps_the_order_of_arrival)
{
    static const struct {
        u64 to[3];
        u64 from[3];
        u64 merged[6]; /* slots: those of `to` are 1 to 3, those of `from` 4 to 6 */
    } cases[] = {
        {{1, 2, 3}, {4, 5, 6}, {1, 2, 3, 4, 5, 6}}, {{4, 5, 6}, {1, 2, 3}, {4, 5, 6, 1, 2, 3}},
        {{1, 4, 6}, {2, 3, 9}, {1, 4, 5, 2, 3, 6}}, {{2, 2, 7}, {2, 2, 2}, {1, 2, 4, 5, 6, 3}},
        {{1, 0, 0}, {0, 0, 0}, {1, 0, 0, 0, 0, 0}}, {{0, 0, 0}, {5, 0, 0}, {4, 0, 0, 0, 0, 0}},
    };
    struct counting_sink sink = {.sink = {&sink_ops}};
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct command_list to = {0};
        struct command_list from = {0};
        for (u32 at = 0; at < 6; at++) {
            u64 arrived = at < 3 ? cases[i].to[at] : cases[i].from[at - 3];
            if (arrived == 0)
                continue;
            struct command *command = command_of(&sink, "x", at + 1);
            command->arrived_ns = arrived;
            command_list_put(at < 3 ? &to : &from, command);
        }
        u32 count = to.count + from.count;
        command_list_merge(&to, &from);
        ck_assert_ptr_null(from.first);
        ck_assert_uint_eq(from.count, 0);
        ck_assert_uint_eq(to.count, count);
        ck_assert_uint_eq(to.bytes, count);
        for (u32 at = 0; at < count; at++) {
            struct command *command = command_list_take(&to);
            ck_assert_uint_eq(command->slot, cases[i].merged[at]);
            command_destroy(command);
        }
        ck_assert_ptr_null(to.first);
    }
}
END_TEST

UNIT_MAIN("command", command_create__takes_the_body_and_zeroes_the_rest,
          command_answer__reaches_the_sink_once, command_redirect__names_the_leader,
          command_fail__answers_each_failure_as_one_error_line,
          command_failure_is_definite__agrees_with_the_text,
          command_list_take__is_first_in_first_out, command_list_merge__keeps_the_order_of_arrival,
          command_list_move__joins_in_order_whichever_is_empty,
          command_list_fail__answers_all_and_leaves_it_empty)
