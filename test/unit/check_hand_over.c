/* check_hand_over.c - a hand_over: leadership is handed over before the server stops, as often as
 * it takes and as long as there is time. */
#include "server/raftd/hand_over.h"

#include <pthread.h>
#include <string.h>

#include "common/clock.h"
#include "server/rules/transfer.h"
#include "test/unit/unit.h"

#define LONG  (20 * NS_PER_S) /* nothing here waits a hundredth of it */
#define SHORT (30 * NS_PER_MS)

static struct hand_over hand_over;

/* ---- a server: what it is asked, and what it answers ---- */

enum { ORDERS_MAX = 64 };

static const char *const *answers; /* one for each order; NULL at the end: no answer any more */
static struct command *orders[ORDERS_MAX];
static u32 order_count;
static bool closed;
static pthread_t other;
static bool answers_later;
static bool first_comes_late; /* the first order's answer, when the second is there */

/* The result goes with the words; nobody reads it out of them. */
static enum transfer_result result_of(const char *text)
{
    if (strstr(text, "did not take over") != NULL)
        return TRANSFER_FAILED;
    if (strstr(text, "already") != NULL)
        return TRANSFER_BUSY;
    if (strstr(text, "could lead now") != NULL)
        return TRANSFER_NOBODY;
    return text[0] == ':' ? TRANSFER_DONE : TRANSFER_NOT_LEADER;
}

static void answer(u32 number, const char *text)
{
    struct command *command = orders[number];
    orders[number] = NULL;
    command->order_result = (u32)result_of(text);
    command_answer(command, (const u8 *)text, strlen(text));
}

static void *answer_later(void *text)
{
    struct timespec rest = {.tv_nsec = 5 * NS_PER_MS};
    (void)nanosleep(&rest, NULL);
    answer(order_count - 1, text);
    return NULL;
}

static bool take_mail(struct mail_slot *slot, struct mail *mail)
{
    (void)slot;
    ck_assert_int_eq(mail->kind, MAIL_COMMANDS);
    if (closed) {
        mail_destroy(mail);
        return false;
    }
    ck_assert_uint_lt(order_count, ORDERS_MAX);
    struct command *command = command_list_take(&mail->as.commands);
    mail_destroy(mail);
    ck_assert_int_eq(command->class, COMMAND_TRANSFER);
    ck_assert(!command_order_is_readmit(command));
    ck_assert_uint_eq(command_order_target(command), SERVER_NONE); /* to whoever it may be */
    ck_assert_uint_le(command->arrived_ns, clock_monotonic_ns());
    ck_assert_uint_ne(command->arrived_ns, 0);
    orders[order_count++] = command;
    if (first_comes_late && order_count == 2)
        answer(0, ":2\r\n");
    if (*answers == NULL)
        return true;
    const char *text = *answers++;
    if (answers_later)
        ck_assert_int_eq(pthread_create(&other, NULL, answer_later, (void *)(uintptr_t)text), 0);
    else
        answer(order_count - 1, text);
    return true;
}

static const struct mail_slot_ops slot_ops = {.post = take_mail};
static struct mail_slot slot = {&slot_ops};

/* Returns how many orders it took, and how long, in ns. */
static u32 say(const char *const *texts, u64 patience_ns, u64 *took_ns)
{
    u64 begun_ns = clock_monotonic_ns();
    u32 before = order_count;
    answers = texts;
    hand_over_before_stop(&hand_over, &slot, begun_ns + patience_ns);
    *took_ns = clock_monotonic_ns() - begun_ns;
    return order_count - before;
}

static void begin(void)
{
    hand_over_init(&hand_over);
    order_count = 0;
    closed = answers_later = first_comes_late = false;
}

static void end(void)
{
    for (u32 i = 0; i < order_count; i++) {
        if (orders[i] != NULL)
            answer(i, "-CLUSTERDOWN\r\n");
    }
    hand_over_deinit(&hand_over);
}

/* ---- hand_over_before_stop ---- */

START_TEST(hand_over_say__another_one_leads_and_that_is_all)
{
    static const char *const texts[] = {":2\r\n", NULL};
    u64 took_ns;
    begin();
    ck_assert_uint_eq(say(texts, LONG, &took_ns), 1);
    ck_assert_uint_lt(took_ns, LONG / 2);
    end();
}
END_TEST

START_TEST(hand_over_say__waits_for_the_answer)
{
    static const char *const texts[] = {":2\r\n", NULL};
    u64 took_ns;
    begin();
    answers_later = true;
    ck_assert_uint_eq(say(texts, LONG, &took_ns), 1);
    ck_assert_int_eq(pthread_join(other, NULL), 0);
    ck_assert_uint_ge(took_ns, 5 * NS_PER_MS);
    ck_assert_uint_lt(took_ns, LONG / 2);
    end();
}
END_TEST

START_TEST(hand_over_say__who_never_led_has_nothing_to_hand_over)
{
    static const char *const texts[] = {
        "-ERR this server does not lead: order it from server 3\r\n", NULL};
    u64 took_ns;
    begin();
    ck_assert_uint_eq(say(texts, LONG, &took_ns), 1);
    end();
}
END_TEST

/* Not at once: what is in the way needs time to pass. */
START_TEST(hand_over_say__what_came_to_nothing_is_tried_again)
{
    static const char *const texts[] = {
        "-ERR server 2 did not take over in time; nothing changed\r\n",
        "-BUSY leadership is being handed to server 3 already\r\n", ":3\r\n", NULL};
    u64 took_ns;
    begin();
    ck_assert_uint_eq(say(texts, LONG, &took_ns), 3);
    ck_assert_uint_ge(took_ns, 2 * 20 * NS_PER_MS);
    ck_assert_uint_lt(took_ns, LONG / 2);
    end();
}
END_TEST

START_TEST(hand_over_say__not_for_ever)
{
    static const char again[] = "-ERR no server but 1 could lead now\r\n";
    static const char *const texts[] = {again, again, again, again, again, again, NULL};
    u64 took_ns;
    begin();
    u32 count = say(texts, SHORT, &took_ns);
    ck_assert_uint_ge(took_ns, SHORT);
    ck_assert_uint_ge(count, 1);
    ck_assert_uint_le(count, 3); /* one each 20 ms */
    end();
}
END_TEST

START_TEST(hand_over_say__no_answer_until_the_deadline)
{
    static const char *const nothing[] = {NULL};
    u64 took_ns;
    begin();
    ck_assert_uint_eq(say(nothing, SHORT, &took_ns), 1);
    ck_assert_uint_ge(took_ns, SHORT);
    end();
}
END_TEST

/* The first order was given up; its answer comes while the second is waited for. */
START_TEST(hand_over_say__an_answer_to_an_earlier_order_is_none)
{
    static const char *const nothing[] = {NULL};
    u64 took_ns;
    begin();
    first_comes_late = true;
    (void)say(nothing, NS_PER_MS, &took_ns);
    ck_assert_uint_eq(say(nothing, SHORT, &took_ns), 1);
    ck_assert_uint_ge(took_ns, SHORT);
    ck_assert_uint_eq(orders[1]->slot, 2);
    end();
}
END_TEST

/* The server has stopped already: its mailbox is closed. */
START_TEST(hand_over_say__a_server_that_takes_no_mail_is_not_waited_for)
{
    static const char *const nothing[] = {NULL};
    u64 took_ns;
    begin();
    closed = true;
    ck_assert_uint_eq(say(nothing, LONG, &took_ns), 0);
    ck_assert_uint_lt(took_ns, LONG / 2);
    end();
}
END_TEST

/* No answer is so short or long that it is read beyond its end. */
START_TEST(hand_over_answer__of_any_size)
{
    static char large[1000];
    const char *const texts[] = {large, NULL};
    static const char *const tiny[] = {"-", NULL};
    u64 took_ns;
    begin();
    memset(large, 'x', sizeof(large) - 1);
    large[0] = '-';
    ck_assert_uint_eq(say(texts, LONG, &took_ns), 1);
    ck_assert_uint_eq(say(tiny, LONG, &took_ns), 1);
    end();
}
END_TEST

UNIT_MAIN("hand_over", hand_over_say__another_one_leads_and_that_is_all,
          hand_over_say__waits_for_the_answer,
          hand_over_say__who_never_led_has_nothing_to_hand_over,
          hand_over_say__what_came_to_nothing_is_tried_again, hand_over_say__not_for_ever,
          hand_over_say__no_answer_until_the_deadline,
          hand_over_say__an_answer_to_an_earlier_order_is_none,
          hand_over_say__a_server_that_takes_no_mail_is_not_waited_for,
          hand_over_answer__of_any_size)
