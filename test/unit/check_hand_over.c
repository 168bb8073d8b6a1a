/* check_hand_over.c - tests of server/raftd/hand_over.c: which answers make a server that is to
 * stop ask again, and that nothing is read out of their words. */
#include "server/raftd/hand_over.h"

#include "common/clock.h"
#include "server/rules/transfer.h"
#include "test/unit/unit.h"

/* In place of a server: answers each order with the next of `results`, and the last for ever. */
struct desk {
    struct mail_slot slot;
    const enum transfer_result *results;
    u32 count;
    u32 orders;
};

static bool desk_post(struct mail_slot *slot, struct mail *mail)
{
    struct desk *desk = CONTAINER_OF(slot, struct desk, slot);
    struct command *command = command_list_take(&mail->as.commands);
    u32 at = desk->orders < desk->count ? desk->orders : desk->count - 1;
    char text[160] = "-";
    ck_assert_int_eq(command->class, COMMAND_TRANSFER);
    transfer_describe(desk->results[at], 2, text + 1, sizeof(text) - 3);
    strcat(text, "\r\n");
    command->order_result = (u32)desk->results[at];
    desk->orders++;
    command_answer(command, (const u8 *)text, strlen(text));
    mail_destroy(mail);
    return true;
}

/* It was answered by nobody who knows: the words alone mean nothing. */
static bool desk_post_words(struct mail_slot *slot, struct mail *mail)
{
    static const char words[] =
        "-ERR server 2 is too far behind to take over in time; nothing changed\r\n";
    struct desk *desk = CONTAINER_OF(slot, struct desk, slot);
    struct command *command = command_list_take(&mail->as.commands);
    desk->orders++;
    command_answer(command, (const u8 *)words, sizeof(words) - 1);
    mail_destroy(mail);
    return true;
}

static u32 orders_until(const struct mail_slot_ops *ops, const enum transfer_result *results,
                        u32 count, u64 patience_ns)
{
    struct farewell farewell;
    struct desk desk = {.slot = {.ops = ops}, .results = results, .count = count};
    farewell_init(&farewell);
    farewell_say(&farewell, &desk.slot, clock_monotonic_ns() + patience_ns);
    farewell_deinit(&farewell);
    return desk.orders;
}

static const struct mail_slot_ops desk_ops = {.post = desk_post};
static const struct mail_slot_ops words_ops = {.post = desk_post_words};

START_TEST(farewell_say__asks_again_while_it_may_succeed)
{
    static const enum transfer_result results[] = {TRANSFER_BUSY, TRANSFER_LAGS, TRANSFER_FAILED,
                                                   TRANSFER_NOT_LEADER};
    static const enum transfer_result done[] = {TRANSFER_DONE};
    ck_assert_uint_eq(orders_until(&desk_ops, results, 4, 20 * NS_PER_S), 4);
    ck_assert_uint_eq(orders_until(&desk_ops, done, 1, 20 * NS_PER_S), 1);
}
END_TEST

START_TEST(farewell_say__gives_up_in_time)
{
    static const enum transfer_result results[] = {TRANSFER_NOBODY};
    u64 before_ns = clock_monotonic_ns();
    ck_assert_uint_gt(orders_until(&desk_ops, results, 1, 200 * NS_PER_MS), 1);
    ck_assert_uint_ge(clock_monotonic_ns() - before_ns, 200 * NS_PER_MS);
}
END_TEST

START_TEST(farewell_say__reads_nothing_out_of_words)
{
    ck_assert_uint_eq(orders_until(&words_ops, NULL, 0, 20 * NS_PER_S), 1);
}
END_TEST

UNIT_MAIN("farewell", farewell_say__asks_again_while_it_may_succeed, farewell_say__gives_up_in_time,
          farewell_say__reads_nothing_out_of_words)
