/* farewell.c - see farewell.h. */
#include "server/farewell.h"

#include "common/clock.h"

static void farewell_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                            size_t size)
{
    (void)answer; /* whatever became of it, the server stops now */
    (void)size;
    struct farewell *farewell = CONTAINER_OF(sink, struct farewell, sink);
    command_destroy(command);
    mutex_lock(&farewell->lock);
    farewell->answered = true;
    condition_broadcast(&farewell->changed);
    mutex_unlock(&farewell->lock);
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

void farewell_say(struct farewell *farewell, struct mail_slot *slot, u64 patience_ns)
{
    u64 now_ns = clock_monotonic_ns();
    struct mail *mail = mail_create(MAIL_COMMANDS);
    struct command *order =
        command_create(COMMAND_TRANSFER, command_order_body(SERVER_NONE), &farewell->sink);
    order->arrived_ns = now_ns;
    command_list_put(&mail->as.commands, order);
    (void)mail_post(slot, mail);
    mutex_lock(&farewell->lock);
    while (!farewell->answered &&
           condition_wait_until(&farewell->changed, &farewell->lock, now_ns + patience_ns))
        continue;
    mutex_unlock(&farewell->lock);
}
