/* check_outbox.c - staging, the order of sending, and forwards that could not be sent. */
#include "server/mail/outbox.h"

#include "test/unit/unit.h"

struct recording {
    struct transport transport;
    u64 calls[16]; /* of the messages sent, in order */
    int count;
    bool refuses; /* answers that nothing was sent */
};

static bool recording_send(struct transport *transport, struct message *message)
{
    struct recording *recording = CONTAINER_OF(transport, struct recording, transport);
    recording->calls[recording->count++] = message->call;
    message_release(message);
    return !recording->refuses;
}

static const struct transport_ops recording_ops = {.send = recording_send};

static struct message message_of(enum message_kind kind, u64 call)
{
    return (struct message){.kind = kind, .from = 1, .to = 2, .term = 3, .call = call};
}

static void put(struct outbox *outbox, enum message_kind kind, u64 call)
{
    struct message message = message_of(kind, call);
    outbox_put(outbox, &message);
}

static void put_early(struct outbox *outbox, u64 call)
{
    struct message message = message_of(MESSAGE_APPEND_ENTRIES, call);
    outbox_put_early(outbox, &message);
}

START_TEST(outbox_put__takes_over_the_spans)
{
    struct outbox outbox;
    outbox_init(&outbox);
    struct block *block = block_create(8);
    struct message message = message_of(MESSAGE_FORWARD, 1);
    message.spans[message.span_count++] = span_of(block, block->data, 8);
    outbox_put(&outbox, &message);
    ck_assert_uint_eq(message.span_count, 0);
    ck_assert_uint_eq(block->references, 2);
    ck_assert(!outbox_is_empty(&outbox));
    outbox_deinit(&outbox);
    ck_assert_uint_eq(block->references, 1);
    ck_assert(outbox_is_empty(&outbox));
    block_release(block);
}
END_TEST

START_TEST(outbox_send_early__sends_nothing_that_waits_for_the_disk)
{
    struct outbox outbox;
    outbox_init(&outbox);
    struct recording recording = {.transport = {&recording_ops}};
    put(&outbox, MESSAGE_REQUEST_VOTE_REPLY, 1);
    put_early(&outbox, 2);
    put(&outbox, MESSAGE_APPEND_ENTRIES, 3);
    put_early(&outbox, 4);
    outbox_send_early(&outbox, &recording.transport);
    ck_assert_int_eq(recording.count, 2);
    ck_assert_uint_eq(recording.calls[0], 2);
    ck_assert_uint_eq(recording.calls[1], 4);
    ck_assert(!outbox_is_empty(&outbox));

    outbox_send_early(&outbox, &recording.transport);
    ck_assert_int_eq(recording.count, 2);
    outbox_send_all(&outbox, &recording.transport);
    ck_assert_int_eq(recording.count, 4);
    ck_assert_uint_eq(recording.calls[2], 1);
    ck_assert_uint_eq(recording.calls[3], 3);
    ck_assert(outbox_is_empty(&outbox));
    outbox_deinit(&outbox);
}
END_TEST

START_TEST(outbox_send_all__early_ones_first_each_in_order)
{
    struct outbox outbox;
    outbox_init(&outbox);
    struct recording recording = {.transport = {&recording_ops}};
    put(&outbox, MESSAGE_APPEND_ENTRIES_REPLY, 1);
    put(&outbox, MESSAGE_APPEND_ENTRIES_REPLY, 2);
    put_early(&outbox, 3);
    put_early(&outbox, 4);
    outbox_send_all(&outbox, &recording.transport);
    ck_assert_int_eq(recording.count, 4);
    static const u64 expected[] = {3, 4, 1, 2};
    ck_assert_mem_eq(recording.calls, expected, sizeof(expected));
    ck_assert(outbox_is_empty(&outbox));
    outbox_send_all(&outbox, &recording.transport);
    ck_assert_int_eq(recording.count, 4);
    outbox_deinit(&outbox);
}
END_TEST

struct unsent {
    struct outbox *outbox;
    u64 calls[8];
    int count;
    bool stages; /* puts another message each time */
};

static void on_unsent(void *context, u64 call)
{
    struct unsent *unsent = context;
    unsent->calls[unsent->count++] = call;
    if (unsent->stages)
        put(unsent->outbox, MESSAGE_FORWARD, call + 100);
}

START_TEST(outbox_send_all__tells_of_unsent_forwards_only)
{
    struct outbox outbox;
    outbox_init(&outbox);
    struct unsent unsent = {.outbox = &outbox};
    outbox.unsent_forward = on_unsent;
    outbox.context = &unsent;
    struct recording recording = {.transport = {&recording_ops}, .refuses = true};
    put(&outbox, MESSAGE_REQUEST_VOTE, 1);
    put(&outbox, MESSAGE_FORWARD, 2);
    put_early(&outbox, 3);
    put(&outbox, MESSAGE_FORWARD, 4);
    outbox_send_all(&outbox, &recording.transport);
    ck_assert_int_eq(unsent.count, 2);
    ck_assert_uint_eq(unsent.calls[0], 2);
    ck_assert_uint_eq(unsent.calls[1], 4);

    recording.refuses = false;
    put(&outbox, MESSAGE_FORWARD, 5);
    outbox_send_all(&outbox, &recording.transport);
    ck_assert_int_eq(unsent.count, 2);
    outbox_deinit(&outbox);
}
END_TEST

START_TEST(outbox_send_all__without_a_listener_forwards_are_dropped)
{
    struct outbox outbox;
    outbox_init(&outbox);
    struct recording recording = {.transport = {&recording_ops}, .refuses = true};
    put(&outbox, MESSAGE_FORWARD, 1);
    outbox_send_all(&outbox, &recording.transport);
    ck_assert_int_eq(recording.count, 1);
    ck_assert(outbox_is_empty(&outbox));
    outbox_deinit(&outbox);
}
END_TEST

/* What is staged while messages are sent may promise something that is not yet on disk. */
START_TEST(outbox_send_all__leaves_what_is_staged_meanwhile)
{
    struct outbox outbox;
    outbox_init(&outbox);
    struct unsent unsent = {.outbox = &outbox, .stages = true};
    outbox.unsent_forward = on_unsent;
    outbox.context = &unsent;
    struct recording recording = {.transport = {&recording_ops}, .refuses = true};
    put(&outbox, MESSAGE_FORWARD, 1);
    outbox_send_all(&outbox, &recording.transport);
    ck_assert_int_eq(recording.count, 1);
    ck_assert(!outbox_is_empty(&outbox));
    recording.refuses = false;
    outbox_send_all(&outbox, &recording.transport);
    ck_assert_int_eq(recording.count, 2);
    ck_assert_uint_eq(recording.calls[1], 101);
    ck_assert(outbox_is_empty(&outbox));
    outbox_deinit(&outbox);
}
END_TEST

UNIT_MAIN("outbox", outbox_put__takes_over_the_spans,
          outbox_send_early__sends_nothing_that_waits_for_the_disk,
          outbox_send_all__early_ones_first_each_in_order,
          outbox_send_all__tells_of_unsent_forwards_only,
          outbox_send_all__without_a_listener_forwards_are_dropped,
          outbox_send_all__leaves_what_is_staged_meanwhile)
