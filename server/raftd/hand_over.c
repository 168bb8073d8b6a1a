/* hand_over.c - see hand_over.h. */
#include "server/raftd/hand_over.h"

#include "common/clock.h"
#include "server/rules/transfer.h"

#define AGAIN_NS (20 * NS_PER_MS) /* between an attempt that came to nothing and the next */

static void farewell_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                            size_t size)
{
    struct farewell *farewell = CONTAINER_OF(sink, struct farewell, sink);
    (void)answer;
    (void)size;
    mutex_lock(&farewell->lock);
    farewell->answered = command->slot;
    farewell->again = transfer_may_succeed_later((enum transfer_result)command->order_result);
    condition_broadcast(&farewell->changed);
    mutex_unlock(&farewell->lock);
    command_destroy(command);
}

static void farewell_flush(struct command_sink *sink)
{
    (void)sink;
}

static const struct command_sink_ops farewell_ops = {
    .answer = farewell_answer,
    .flush = farewell_flush,
};

void farewell_init(struct farewell *farewell)
{
    *farewell = (struct farewell){.sink = {&farewell_ops}};
    mutex_init(&farewell->lock);
    condition_init(&farewell->changed);
}

void farewell_deinit(struct farewell *farewell)
{
    condition_deinit(&farewell->changed);
    mutex_deinit(&farewell->lock);
}

static u64 order(struct farewell *farewell, struct mail_slot *slot)
{
    mutex_lock(&farewell->lock);
    u64 number = ++farewell->asked;
    mutex_unlock(&farewell->lock);
    struct mail *mail = mail_create(MAIL_COMMANDS);
    struct command *command =
        command_create(COMMAND_TRANSFER, command_order_body(SERVER_NONE), &farewell->sink);
    command->arrived_ns = clock_monotonic_ns();
    command->slot = number;
    command_list_put(&mail->as.commands, command);
    (void)mail_post(slot, mail);
    return number;
}

/* Returns whether the order that was answered is to be given again. */
static bool await(struct farewell *farewell, u64 number, u64 deadline_ns)
{
    mutex_lock(&farewell->lock);
    while (farewell->answered != number &&
           condition_wait_until(&farewell->changed, &farewell->lock, deadline_ns))
        continue;
    bool again = farewell->answered == number && farewell->again;
    u64 pause_ns = u64_min(clock_monotonic_ns() + AGAIN_NS, deadline_ns);
    while (again && condition_wait_until(&farewell->changed, &farewell->lock, pause_ns))
        continue;
    mutex_unlock(&farewell->lock);
    return again;
}

void farewell_say(struct farewell *farewell, struct mail_slot *slot, u64 deadline_ns)
{
    while (await(farewell, order(farewell, slot), deadline_ns) &&
           clock_monotonic_ns() < deadline_ns)
        continue;
}
