/* hand_over.c - see hand_over.h. */
#include "server/raftd/hand_over.h"

#include "common/clock.h"
#include "server/rules/transfer.h"

#define AGAIN_NS (20 * NS_PER_MS) /* between an attempt that came to nothing and the next */

static void hand_over_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                             size_t size)
{
    struct hand_over *hand_over = CONTAINER_OF(sink, struct hand_over, sink);
    (void)answer;
    (void)size;
    mutex_lock(&hand_over->lock);
    hand_over->answered = command->slot;
    hand_over->again = transfer_may_succeed_later((enum transfer_result)command->order_result);
    condition_broadcast(&hand_over->changed);
    mutex_unlock(&hand_over->lock);
    command_destroy(command);
}

static void hand_over_flush(struct command_sink *sink)
{
    (void)sink;
}

static const struct command_sink_ops hand_over_ops = {
    .answer = hand_over_answer,
    .flush = hand_over_flush,
};

void hand_over_init(struct hand_over *hand_over)
{
    *hand_over = (struct hand_over){.sink = {&hand_over_ops}};
    mutex_init(&hand_over->lock);
    condition_init(&hand_over->changed);
}

void hand_over_deinit(struct hand_over *hand_over)
{
    condition_deinit(&hand_over->changed);
    mutex_deinit(&hand_over->lock);
}

static u64 order(struct hand_over *hand_over, struct mail_slot *slot)
{
    mutex_lock(&hand_over->lock);
    u64 number = ++hand_over->asked;
    mutex_unlock(&hand_over->lock);
    struct mail *mail = mail_create(MAIL_COMMANDS);
    struct command *command =
        command_create(COMMAND_TRANSFER, command_order_body(SERVER_NONE), &hand_over->sink);
    command->arrived_ns = clock_monotonic_ns();
    command->slot = number;
    command_list_put(&mail->as.commands, command);
    (void)mail_post(slot, mail);
    return number;
}

/* Returns whether the order that was answered is to be given again. */
static bool await(struct hand_over *hand_over, u64 number, u64 deadline_ns)
{
    mutex_lock(&hand_over->lock);
    while (hand_over->answered != number &&
           condition_wait_until(&hand_over->changed, &hand_over->lock, deadline_ns))
        continue;
    bool again = hand_over->answered == number && hand_over->again;
    u64 pause_ns = u64_min(clock_monotonic_ns() + AGAIN_NS, deadline_ns);
    while (again && condition_wait_until(&hand_over->changed, &hand_over->lock, pause_ns))
        continue;
    mutex_unlock(&hand_over->lock);
    return again;
}

void hand_over_before_stop(struct hand_over *hand_over, struct mail_slot *slot, u64 deadline_ns)
{
    while (await(hand_over, order(hand_over, slot), deadline_ns) &&
           clock_monotonic_ns() < deadline_ns)
        continue;
}
