/* check_forward_close.c - leadership is handed over to a follower that has forwarded commands: what
 * is under way is waited for, and for how long (server/requests/forward.h, thesis §3.10). */
#include "server/requests/forward.h"

#include "test/unit/rules_unit.h"

#define TIMEOUT_NS (100 * NS_PER_MS)
#define NOW_NS     (5 * NS_PER_S)

static struct raft raft;
static struct taker taker;
static struct forwarding forwarding;
static struct command_list again;
static u32 failures;

static void sink_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                        size_t size)
{
    (void)sink;
    (void)answer;
    (void)size;
    command_destroy(command);
}

static const struct command_sink_ops sink_ops = {.answer = sink_answer};
static struct command_sink sink = {&sink_ops};

static void outcome_fail(void *context, struct command *command, enum command_failure failure)
{
    (void)context;
    ck_assert_int_eq(failure, COMMAND_UNKNOWN_OUTCOME);
    failures++;
    command_destroy(command);
}

static const struct forwarding_outcome outcome = {.fail = outcome_fail, .again = &again};

static void begin(void)
{
    raft_init(&raft, 2, UINT64_MAX);
    raft.leader = 1;
    raft.election_timeout_ns_min = TIMEOUT_NS;
    forwarding_init(&forwarding, &taker);
    failures = 0;
}

static void end(void)
{
    struct command *command;
    forwarding_lost(&forwarding, &outcome);
    while ((command = command_list_take(&again)) != NULL)
        command_destroy(command);
    raft_deinit(&raft);
}

/* A command is on its way to the leader. Returns the call. */
static u64 send_one(enum command_class class, u64 serial)
{
    struct block *block = block_create_copy("set", 3);
    struct command *command =
        command_create(class, span_of(block, block->data, block->size), &sink);
    struct message message;
    block_release(block);
    command->serial = serial;
    forwarding_put(&forwarding, command);
    ck_assert(forwarding_next(&forwarding, &raft, UINT64_MAX, NOW_NS + NS_PER_S, &message));
    u64 call = message.call;
    message_release(&message);
    return call;
}

static void refused(u64 call)
{
    struct message reply = {.kind = MESSAGE_FORWARD_REPLY, .from = 1, .to = 2, .call = call};
    reply.as.forward_reply.result = FORWARD_NOT_LEADER;
    ck_assert(forwarding_replied(&forwarding, &reply, &outcome));
}

START_TEST(forwarding_close__waits_until_all_is_answered)
{
    begin();
    u64 write = send_one(COMMAND_WRITE, 1);
    u64 read = send_one(COMMAND_READ, 1);
    ck_assert(!forwarding_is_closed(&forwarding));
    ck_assert(!forwarding_settle(&forwarding, UINT64_MAX)); /* nobody has told it to take over */
    forwarding_close(&forwarding, &raft, NOW_NS);
    ck_assert(forwarding_is_closed(&forwarding));
    ck_assert(!forwarding_settle(&forwarding, NOW_NS));
    refused(write);
    ck_assert(!forwarding_settle(&forwarding, NOW_NS));
    refused(read);
    ck_assert(forwarding_settle(&forwarding, 0));
    ck_assert(!forwarding_is_closed(&forwarding));
    ck_assert(!forwarding_settle(&forwarding, UINT64_MAX)); /* once */
    ck_assert_uint_eq(again.count, 2);
    ck_assert_uint_eq(failures, 0);
    end();
}
END_TEST

START_TEST(forwarding_close__an_answer_that_is_lost_is_not_waited_for_long)
{
    begin();
    (void)send_one(COMMAND_WRITE, 1);
    forwarding_close(&forwarding, &raft, NOW_NS);
    u64 until_ns = forwarding_deadline_ns(&forwarding);
    ck_assert_uint_gt(until_ns, NOW_NS);
    ck_assert_uint_lt(until_ns,
                      NOW_NS + TIMEOUT_NS / 2); /* the leader gives up after a whole one */
    forwarding_close(&forwarding, &raft, NOW_NS + TIMEOUT_NS / 8); /* the order is repeated */
    ck_assert_uint_eq(forwarding_deadline_ns(&forwarding), until_ns);
    ck_assert(!forwarding_settle(&forwarding, until_ns - 1));
    ck_assert(forwarding_settle(&forwarding, until_ns));
    ck_assert_uint_eq(forwarding_deadline_ns(&forwarding), NOW_NS + NS_PER_S);
    end();
}
END_TEST

START_TEST(forwarding_close__not_when_the_leader_is_gone)
{
    begin();
    forwarding_wait_no_longer(&forwarding, NOW_NS); /* nothing to wait for */
    ck_assert(!forwarding_is_closed(&forwarding));
    (void)send_one(COMMAND_WRITE, 1);
    forwarding_close(&forwarding, &raft, NOW_NS);
    forwarding_wait_no_longer(&forwarding, NOW_NS + 1);
    ck_assert(!forwarding_settle(&forwarding, NOW_NS));
    ck_assert(forwarding_settle(&forwarding, NOW_NS + 1));
    forwarding_close(&forwarding, &raft, NOW_NS);
    forwarding_lost(&forwarding, &outcome); /* a newer term: what was ordered is over */
    ck_assert(!forwarding_is_closed(&forwarding));
    ck_assert_uint_eq(forwarding_deadline_ns(&forwarding), UINT64_MAX);
    ck_assert_uint_eq(failures, 1);
    end();
}
END_TEST

UNIT_MAIN("forward_close", forwarding_close__waits_until_all_is_answered,
          forwarding_close__an_answer_that_is_lost_is_not_waited_for_long,
          forwarding_close__not_when_the_leader_is_gone)
