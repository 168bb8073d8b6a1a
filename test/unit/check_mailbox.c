/* check_mailbox.c - bounds, order, deadlines and closing; many threads posting at once. */
#include "server/mail/mailbox.h"

#include "common/clock.h"
#include "common/rng.h"
#include "test/unit/unit.h"

#define ROOMY (1024 * MIB)

static _Atomic u32 stopped_commands; /* answered by the sink, because their mail was destroyed */

static void sink_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                        size_t size)
{
    (void)sink;
    (void)answer;
    (void)size;
    stopped_commands++;
    command_destroy(command);
}

static const struct command_sink_ops sink_ops = {.answer = sink_answer};
static struct command_sink sink = {&sink_ops};

/* Messages carry who posted them and their number. */
static struct mail *peer_mail(server_id from, u64 number, u32 payload)
{
    struct mail *mail = mail_create(MAIL_APPEND_ENTRIES);
    mail->as.message.from = from;
    mail->as.message.call = number;
    struct block *block = block_create(payload);
    mail->as.message.spans[0] = span_of(block, block->data, payload);
    mail->as.message.span_count = 1;
    block_release(block);
    return mail;
}

static struct mail *client_mail(u64 from, u64 number, u32 payload)
{
    struct block *block = block_create(payload);
    struct span span = span_of(block, block->data, payload);
    block_release(block);
    struct command *command = command_create(COMMAND_WRITE, span, &sink);
    command->slot = from;
    command->wait_index = number;
    struct mail *mail = mail_create(MAIL_COMMANDS);
    command_list_put(&mail->as.commands, command);
    return mail;
}

/* Collects; whether all mail that came before the deadline has been handed out now. */
static bool passed(struct mailbox *mailbox, struct mail_pile *pile, u64 deadline_ns)
{
    return mailbox_collect(mailbox, pile, ROOMY, deadline_ns) >= deadline_ns;
}

static u32 pile_count(const struct mail_pile *pile)
{
    u32 count = 0;
    for (const struct mail *mail = pile->first; mail != NULL; mail = mail->next)
        count++;
    return count;
}

START_TEST(mailbox_post__keeps_the_order)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, ROOMY, ROOMY);
    ck_assert(mailbox_post(&mailbox, peer_mail(1, 0, 10)));
    ck_assert(mailbox_post(&mailbox, client_mail(1, 1, 10)));
    ck_assert(mail_post(&mailbox.slot, mail_create(MAIL_CONNECTED)));
    ck_assert(mail_try_post(&mailbox.slot, peer_mail(1, 3, 10)));
    struct mail_pile pile = {0};
    mail_pile_put(&pile, mail_create(MAIL_STOP)); /* unread from before: it stays on top */
    ck_assert(!passed(&mailbox, &pile, UINT64_MAX));
    static const enum mail_kind expected[] = {MAIL_STOP, MAIL_APPEND_ENTRIES, MAIL_COMMANDS,
                                              MAIL_CONNECTED, MAIL_APPEND_ENTRIES};
    for (u32 i = 0; i < ARRAY_LENGTH(expected); i++) {
        struct mail *mail = mail_pile_take(&pile);
        ck_assert_int_eq((int)mail->kind, (int)expected[i]);
        mail_destroy(mail);
    }
    ck_assert(mail_pile_is_empty(&pile));
    mailbox_deinit(&mailbox);
}
END_TEST

START_TEST(mailbox_try_post__budgets_are_apart)
{
    u64 staged = sizeof(struct mail) + 100;
    struct mailbox mailbox;
    mailbox_init(&mailbox, 2 * staged, 2 * (staged + sizeof(struct command)));
    for (u64 i = 0; i < 2; i++) {
        ck_assert(mailbox_try_post(&mailbox, peer_mail(1, i, 100)));
        ck_assert(mailbox_try_post(&mailbox, client_mail(1, i, 100)));
    }
    /* Both are full to the byte; the mail stays ours. */
    struct mail *peer = peer_mail(1, 2, 0);
    struct mail *client = client_mail(1, 2, 0);
    ck_assert(!mailbox_try_post(&mailbox, peer));
    ck_assert(!mailbox_try_post(&mailbox, client));
    ck_assert_uint_eq(peer->as.message.call, 2);
    /* Mail of neither is not counted. */
    for (u32 i = 0; i < 100; i++)
        ck_assert(mailbox_try_post(&mailbox, mail_create(MAIL_DISCONNECTED)));

    struct mail_pile pile = {0};
    mailbox_collect(&mailbox, &pile, ROOMY, UINT64_MAX);
    ck_assert_uint_eq(pile_count(&pile), 104);
    ck_assert(mailbox_try_post(&mailbox, peer));
    ck_assert(mailbox_try_post(&mailbox, client));
    mail_pile_clear(&pile);
    mailbox_deinit(&mailbox);
}
END_TEST

START_TEST(mailbox_try_post__one_message_always_fits_into_an_empty_budget)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, 1, 1);
    ck_assert(mailbox_try_post(&mailbox, client_mail(1, 0, 5000)));
    ck_assert(mailbox_try_post(&mailbox, peer_mail(1, 0, 5000)));
    struct mail *second = peer_mail(1, 1, 0);
    ck_assert(!mailbox_try_post(&mailbox, second));
    mail_destroy(second);
    mailbox_deinit(&mailbox);
}
END_TEST

START_TEST(mailbox_collect__a_deadline_that_has_passed_still_brings_the_mail)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, ROOMY, ROOMY);
    struct mail_pile pile = {0};
    ck_assert(passed(&mailbox, &pile, 0));
    ck_assert(mail_pile_is_empty(&pile));
    ck_assert(mailbox_post(&mailbox, mail_create(MAIL_STOP)));
    ck_assert(passed(&mailbox, &pile, 1));
    ck_assert_uint_eq(pile_count(&pile), 1);
    mail_pile_clear(&pile);
    mailbox_deinit(&mailbox);
}
END_TEST

START_TEST(mailbox_collect__waits_until_the_deadline)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, ROOMY, ROOMY);
    struct mail_pile pile = {0};
    u64 deadline = clock_monotonic_ns() + 5 * NS_PER_MS;
    ck_assert(passed(&mailbox, &pile, deadline));
    ck_assert_uint_ge(clock_monotonic_ns(), deadline);
    ck_assert(mail_pile_is_empty(&pile));
    mailbox_deinit(&mailbox);
}
END_TEST

START_TEST(mailbox_collect__far_deadline_has_not_passed)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, ROOMY, ROOMY);
    struct mail_pile pile = {0};
    ck_assert(mailbox_post(&mailbox, mail_create(MAIL_STOP)));
    ck_assert(!passed(&mailbox, &pile, clock_monotonic_ns() + 3600 * NS_PER_S));
    mail_pile_clear(&pile);
    mailbox_deinit(&mailbox);
}
END_TEST

START_TEST(mailbox_collect__does_not_wait_while_mail_is_left_on_the_pile)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, ROOMY, ROOMY);
    struct mail_pile pile = {0};
    mail_pile_put(&pile, mail_create(MAIL_STOP));
    ck_assert(!passed(&mailbox, &pile, UINT64_MAX)); /* would wait for ever */
    ck_assert_uint_eq(pile_count(&pile), 1);
    ck_assert(passed(&mailbox, &pile, 1));
    mail_pile_clear(&pile);
    mailbox_deinit(&mailbox);
}
END_TEST

/* More than a batch comes in several, in order; and until the last of them nobody may say that
 * all mail of before a deadline is known, however long ago that was. */
START_TEST(mailbox_collect__much_mail_comes_in_batches)
{
    enum { HELPING = 10000, LARGE = 4000, LETTERS_OF_A_HELPING = 3 };
    struct mailbox mailbox;
    mailbox_init(&mailbox, ROOMY, ROOMY);
    struct mail_pile pile = {0};
    u64 start = clock_monotonic_ns();
    for (u64 i = 0; i < 2 * LETTERS_OF_A_HELPING + 1; i++)
        ck_assert(mailbox_post(&mailbox, peer_mail(1, i, LARGE)));
    u64 next = 0;
    for (u32 batch = 0; batch < 3; batch++) {
        u64 heard = mailbox_collect(&mailbox, &pile, HELPING, UINT64_MAX);
        ck_assert_int_eq(heard >= start, batch == 2);
        ck_assert_uint_eq(pile_count(&pile), batch < 2 ? LETTERS_OF_A_HELPING : 1);
        /* What comes meanwhile waits for its turn, and is not promised before. */
        if (batch == 0)
            ck_assert(mailbox_post(&mailbox, peer_mail(1, 7, LARGE)));
        struct mail *mail;
        while ((mail = mail_pile_take(&pile)) != NULL) {
            ck_assert_uint_eq(mail->as.message.call, next++);
            mail_destroy(mail);
        }
    }
    u64 now = clock_monotonic_ns();
    ck_assert(passed(&mailbox, &pile, now));
    ck_assert_uint_eq(mail_pile_peek(&pile)->as.message.call, 7);
    mail_pile_clear(&pile);
    mailbox_deinit(&mailbox);
}
END_TEST

/* A message larger than a batch is one; and what was never collected is destroyed. */
START_TEST(mailbox_collect__a_batch_is_one_message_at_least)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, ROOMY, ROOMY);
    struct mail_pile pile = {0};
    for (u64 i = 0; i < 3; i++)
        ck_assert(mailbox_post(&mailbox, peer_mail(1, i, 1000)));
    ck_assert_uint_eq(mailbox_collect(&mailbox, &pile, 1, UINT64_MAX), 0);
    ck_assert_uint_eq(pile_count(&pile), 1);
    ck_assert_uint_eq(mailbox_collect(&mailbox, &pile, 0, UINT64_MAX), 0); /* it stays there */
    ck_assert_uint_eq(pile_count(&pile), 2);
    mail_pile_clear(&pile);
    mailbox_deinit(&mailbox);
}
END_TEST

START_TEST(mailbox_close__refuses_mail_and_keeps_what_is_inside)
{
    stopped_commands = 0;
    struct mailbox mailbox;
    mailbox_init(&mailbox, ROOMY, ROOMY);
    ck_assert(mailbox_post(&mailbox, client_mail(1, 0, 10)));
    mailbox_close(&mailbox);
    ck_assert(!mailbox_post(&mailbox, client_mail(1, 1, 10)));
    ck_assert_uint_eq(stopped_commands, 1); /* consumed, and its client told */
    struct mail *mail = client_mail(1, 2, 10);
    ck_assert(!mailbox_try_post(&mailbox, mail));
    mail_destroy(mail);
    ck_assert_uint_eq(stopped_commands, 2);

    struct mail_pile pile = {0};
    ck_assert(!passed(&mailbox, &pile, UINT64_MAX));
    ck_assert_uint_eq(pile_count(&pile), 1);
    mail_pile_clear(&pile);
    /* A closed and empty box keeps nobody waiting. */
    ck_assert(!passed(&mailbox, &pile, UINT64_MAX));
    ck_assert(mail_pile_is_empty(&pile));
    mailbox_deinit(&mailbox);
}
END_TEST

START_TEST(mailbox_deinit__destroys_what_is_left)
{
    stopped_commands = 0;
    struct mailbox mailbox;
    mailbox_init(&mailbox, ROOMY, ROOMY);
    ck_assert(mailbox_post(&mailbox, client_mail(1, 0, 10)));
    ck_assert(mailbox_post(&mailbox, peer_mail(1, 0, 10)));
    mailbox_deinit(&mailbox);
    ck_assert_uint_eq(stopped_commands, 1);
}
END_TEST

/* ---- with threads ---- */

enum { POSTERS = 6, LETTERS = 4000, BUDGET = 20000, PAYLOAD_MAX = 3000 };

struct poster {
    struct mailbox *mailbox;
    struct thread thread;
    server_id id; /* 1 and up */
    u64 posted;
    u64 refused;
};

static void start(struct thread *thread, void (*run)(void *), void *argument)
{
    struct error error;
    ck_assert_int_eq(thread_start(thread, "test", run, argument, &error), ERROR_NONE);
}

/* Posts messages of both budgets in random sizes, waiting or, now and then, trying until it works.
 */
static void poster_run(void *argument)
{
    struct poster *poster = argument;
    struct rng rng;
    rng_init(&rng, poster->id);
    for (u64 number = 0; number < LETTERS; number++) {
        u32 payload = (u32)rng_range(&rng, 0, PAYLOAD_MAX);
        struct mail *mail = rng_chance(&rng, 1, 2) ? peer_mail(poster->id, number, payload)
                                                   : client_mail(poster->id, number, payload);
        bool tries = rng_chance(&rng, 1, 4);
        if (tries && mailbox_try_post(poster->mailbox, mail))
            poster->posted++;
        else if (mailbox_post(poster->mailbox, mail))
            poster->posted++;
        else
            poster->refused++;
    }
}

static void poster_of(struct mail *mail, u64 *from, u64 *number)
{
    if (mail->kind == MAIL_COMMANDS) {
        *from = mail->as.commands.first->slot;
        *number = mail->as.commands.first->wait_index;
    } else {
        *from = mail->as.message.from;
        *number = mail->as.message.call;
    }
}

/* Checks and destroys a pile: each poster's numbers rise by one, each budget was kept. */
static u64 pile_check(struct mail_pile *pile, u64 expected[POSTERS + 1])
{
    u64 count = 0;
    u64 bytes[2] = {0, 0};
    u32 stageds[2] = {0, 0};
    struct mail *mail;
    while ((mail = mail_pile_take(pile)) != NULL) {
        u64 from;
        u64 number;
        poster_of(mail, &from, &number);
        ck_assert_uint_ge(from, 1);
        ck_assert_uint_le(from, POSTERS);
        ck_assert_uint_eq(number, expected[from]);
        expected[from]++;
        bytes[mail->kind == MAIL_COMMANDS] += mail_weigh(mail);
        stageds[mail->kind == MAIL_COMMANDS]++;
        count++;
        mail_destroy(mail);
    }
    for (u32 i = 0; i < 2; i++)
        ck_assert(stageds[i] <= 1 || bytes[i] <= BUDGET);
    return count;
}

START_TEST(mailbox_collect__many_posters_lose_nothing_and_keep_their_order)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, BUDGET, BUDGET);
    struct poster posters[POSTERS] = {0};
    for (u32 i = 0; i < POSTERS; i++) {
        posters[i].mailbox = &mailbox;
        posters[i].id = i + 1;
        start(&posters[i].thread, poster_run, &posters[i]);
    }
    u64 expected[POSTERS + 1] = {0};
    u64 count = 0;
    struct mail_pile pile = {0};
    while (count < (u64)POSTERS * LETTERS) {
        mailbox_collect(&mailbox, &pile, ROOMY, UINT64_MAX);
        count += pile_check(&pile, expected);
    }
    for (u32 i = 0; i < POSTERS; i++) {
        thread_join(&posters[i].thread);
        ck_assert_uint_eq(posters[i].posted, LETTERS);
        ck_assert_uint_eq(expected[i + 1], LETTERS);
    }
    ck_assert(passed(&mailbox, &pile, 0));
    ck_assert(mail_pile_is_empty(&pile));
    mailbox_deinit(&mailbox);
}
END_TEST

/* Closing in the midst of it: what was accepted is there, all else was refused, nobody hangs. */
START_TEST(mailbox_close__lets_waiting_posters_go)
{
    struct mailbox mailbox;
    mailbox_init(&mailbox, BUDGET, BUDGET);
    struct poster posters[POSTERS] = {0};
    for (u32 i = 0; i < POSTERS; i++) {
        posters[i].mailbox = &mailbox;
        posters[i].id = i + 1;
        start(&posters[i].thread, poster_run, &posters[i]);
    }
    u64 expected[POSTERS + 1] = {0};
    struct mail_pile pile = {0};
    u64 count = 0;
    while (count < LETTERS) {
        mailbox_collect(&mailbox, &pile, ROOMY, UINT64_MAX);
        count += pile_check(&pile, expected);
    }
    /* All posters wait for room now, or are about to: nobody empties the box any more. */
    mailbox_close(&mailbox);
    u64 posted = 0;
    u64 refused = 0;
    for (u32 i = 0; i < POSTERS; i++) {
        thread_join(&posters[i].thread);
        posted += posters[i].posted;
        refused += posters[i].refused;
    }
    mailbox_collect(&mailbox, &pile, ROOMY, UINT64_MAX);
    count += pile_check(&pile, expected);
    ck_assert_uint_eq(count, posted);
    ck_assert_uint_eq(posted + refused, (u64)POSTERS * LETTERS);
    ck_assert_uint_gt(refused, 0);
    mailbox_deinit(&mailbox);
}
END_TEST

static void collect_run(void *argument)
{
    struct mailbox *mailbox = argument;
    struct mail_pile pile = {0};
    for (;;) {
        mailbox_collect(mailbox, &pile, ROOMY, UINT64_MAX);
        bool stop = false;
        for (struct mail *mail = pile.first; mail != NULL; mail = mail->next)
            stop |= mail->kind == MAIL_STOP;
        mail_pile_clear(&pile);
        if (stop)
            return;
    }
}

/* A reader that sleeps is woken by a message, and by nothing but a message or the closing. */
START_TEST(mailbox_post__wakes_a_sleeping_reader)
{
    for (u32 round = 0; round < 200; round++) {
        struct mailbox mailbox;
        mailbox_init(&mailbox, BUDGET, BUDGET);
        struct thread reader = {0};
        start(&reader, collect_run, &mailbox);
        for (u64 i = 0; i < round % 7; i++)
            ck_assert(mailbox_post(&mailbox, peer_mail(1, i, 100)));
        ck_assert(mailbox_post(&mailbox, mail_create(MAIL_STOP)));
        thread_join(&reader);
        mailbox_deinit(&mailbox);
    }
}
END_TEST

static void collect_once(void *argument)
{
    struct mailbox *mailbox = argument;
    struct mail_pile pile = {0};
    mailbox_collect(mailbox, &pile, ROOMY, UINT64_MAX);
    ck_assert(mail_pile_is_empty(&pile));
}

START_TEST(mailbox_close__wakes_a_sleeping_reader)
{
    for (u32 round = 0; round < 200; round++) {
        struct mailbox mailbox;
        mailbox_init(&mailbox, BUDGET, BUDGET);
        struct thread reader = {0};
        start(&reader, collect_once, &mailbox);
        mailbox_close(&mailbox);
        thread_join(&reader);
        mailbox_deinit(&mailbox);
    }
}
END_TEST

UNIT_MAIN("mailbox", mailbox_post__keeps_the_order, mailbox_try_post__budgets_are_apart,
          mailbox_try_post__one_message_always_fits_into_an_empty_budget,
          mailbox_collect__a_deadline_that_has_passed_still_brings_the_mail,
          mailbox_collect__waits_until_the_deadline, mailbox_collect__far_deadline_has_not_passed,
          mailbox_collect__does_not_wait_while_mail_is_left_on_the_pile,
          mailbox_collect__much_mail_comes_in_batches,
          mailbox_collect__a_batch_is_one_message_at_least,
          mailbox_close__refuses_mail_and_keeps_what_is_inside,
          mailbox_deinit__destroys_what_is_left,
          mailbox_collect__many_posters_lose_nothing_and_keep_their_order,
          mailbox_close__lets_waiting_posters_go, mailbox_post__wakes_a_sleeping_reader,
          mailbox_close__wakes_a_sleeping_reader)
