/* check_pending.c - what a leader does with its clients' commands while it hands leadership over,
 * and how those of other servers find their way back. */
#include "server/requests/pending.h"

#include "server/requests/forward.h"
#include "test/unit/rules_unit.h"

#define T_BEGIN (1000 * T_MS)

static struct raft raft;
static struct leader_pending leading;
static struct outbox outbox;
static char story[256]; /* "answer 3 -BUSY...", what clients heard */

static void sink_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                        size_t size)
{
    (void)sink;
    size_t used = strlen(story);
    (void)snprintf(story + used, sizeof(story) - used, "%llu %.*s",
                   (unsigned long long)command->slot, (int)size, answer);
    command_destroy(command);
}

static const struct command_sink_ops sink_ops = {.answer = sink_answer};
static struct command_sink client = {&sink_ops};

static struct command *command_of(enum command_class class, u64 slot, const char *body)
{
    struct block *block = block_create_copy(body, (u32)strlen(body));
    struct command *command =
        command_create(class, span_of(block, block->data, block->size), &client);
    block_release(block);
    command->slot = slot;
    return command;
}

static struct command *order_to(server_id target)
{
    return command_create(COMMAND_TRANSFER, command_order_body(target), &client);
}

/* Server 1 of three leads; the others hold everything. */
static void begin(void)
{
    story[0] = '\0';
    raft_of(&raft, 3, 1, "1 1");
    memset(&leading, 0xee, sizeof(leading)); /* whatever lay on the stack */
    pending_begin(&raft, &leading, T_BEGIN, 77);
    log_saved(&raft.log, raft.log.last_index);
    for (server_id id = 2; id <= 3; id++)
        leadership_peer(&leading.leadership, id)->match_index = raft.log.last_index;
    leading.room_bytes = leading.room_soon_bytes = MIB;
    outbox_init(&outbox);
}

static void end(void)
{
    struct command *command;
    while ((command = command_list_take(&leading.writes)) != NULL ||
           (command = command_list_take(&leading.reads)) != NULL ||
           (command = command_list_take(&leading.held)) != NULL)
        command_destroy(command);
    if (leading.order != NULL)
        command_destroy(leading.order);
    outbox_deinit(&outbox);
    raft_deinit(&raft);
}

static void begin_transfer(void)
{
    server_id who;
    begin();
    ck_assert_int_eq(pending_take_order(&raft, &leading, order_to(2), T_BEGIN, &who),
                     TRANSFER_BEGUN);
    ck_assert_uint_eq(who, 2);
}

static enum pending_verdict write(u64 slot, const char *body)
{
    enum command_failure why;
    struct command *command = command_of(COMMAND_WRITE, slot, body);
    enum pending_verdict verdict = pending_take_write(&raft, &leading, command, 0, &why);
    if (verdict == PENDING_REFUSED)
        command_fail(command, why);
    return verdict;
}

static void read_after_write(u64 slot)
{
    struct command *command = command_of(COMMAND_READ, slot, "r");
    command->after_write = true;
    pending_take_read(&raft, &leading, command);
}

/* ---- pending_take_order ---- */

START_TEST(pending_take_order__waits_in_the_lead)
{
    begin_transfer();
    ck_assert_ptr_nonnull(leading.order);
    ck_assert_uint_eq(leading.order->wait_index, 2);
    ck_assert(transfer_goes_on(&leading.transfer));
    server_id who;
    struct command *second = order_to(3);
    ck_assert_int_eq(pending_take_order(&raft, &leading, second, T_BEGIN, &who), TRANSFER_BUSY);
    ck_assert_uint_eq(who, 2);
    command_destroy(second);
    end();
}
END_TEST

START_TEST(pending_take_order__to_itself_is_done)
{
    begin();
    server_id who;
    struct command *order = order_to(1);
    ck_assert_int_eq(pending_take_order(&raft, &leading, order, T_BEGIN, &who), TRANSFER_DONE);
    ck_assert_uint_eq(who, 1);
    ck_assert(!transfer_goes_on(&leading.transfer));
    command_destroy(order);
    end();
}
END_TEST

START_TEST(pending_begin__a_transfer_does_not_outlive_its_leadership)
{
    begin_transfer();
    command_destroy(leading.order);
    pending_begin(&raft, &leading, T_BEGIN, 77);
    ck_assert(!transfer_goes_on(&leading.transfer));
    ck_assert_ptr_null(leading.order);
    ck_assert_int_eq(write(1, "x"), PENDING_APPENDED);
    end();
}
END_TEST

/* ---- pending_take_write, pending_take_read ---- */

START_TEST(pending_take_write__is_held_during_a_transfer)
{
    begin();
    u64 last_index = raft.log.last_index;
    ck_assert_int_eq(write(1, "x"), PENDING_APPENDED);
    end();
    begin_transfer();
    ck_assert_int_eq(write(1, "x"), PENDING_HELD);
    ck_assert_uint_eq(raft.log.last_index, last_index);
    ck_assert_uint_eq(leading.held.count, 1);
    end();
}
END_TEST

START_TEST(pending_take_write__no_more_is_held_than_may_be_uncommitted)
{
    begin_transfer();
    raft.uncommitted_bytes_max = 2 * RECORD_HEADER_SIZE;
    ck_assert_int_eq(write(1, "more than that, but alone, so that it can be done at all; and so it "
                              "is taken, however large it is"),
                     PENDING_HELD);
    ck_assert_int_eq(write(2, "x"), PENDING_REFUSED);
    ck_assert_str_eq(story, "2 -BUSY too many commands are waiting; nothing was executed, try "
                            "again\r\n");
    end();
}
END_TEST

START_TEST(pending_take_write__tells_that_there_is_no_room)
{
    begin();
    leading.room_bytes = leading.room_soon_bytes = 10;
    ck_assert(!leading.short_of_room);
    ck_assert_int_eq(write(1, "x"), PENDING_REFUSED);
    ck_assert(leading.short_of_room);
    ck_assert_str_eq(story, "1 -NOSPACE the disk is full; nothing was executed\r\n");
    end();
}
END_TEST

/* The log's next segment is not made yet: no error, and nobody overtakes. */
START_TEST(pending_take_write__waits_for_the_next_segment)
{
    begin();
    leading.room_bytes = RECORD_HEADER_SIZE + 1;
    ck_assert_int_eq(write(1, "too large"), PENDING_HELD);
    ck_assert_int_eq(write(2, "x"), PENDING_HELD);
    read_after_write(3);
    ck_assert_uint_eq(leading.held.count, 3);
    ck_assert(!leading.short_of_room);
    ck_assert(!pending_has_room_for_held(&leading));
    leading.room_retry_ns = T_BEGIN + 1;
    ck_assert_uint_le(pending_next_ns(&raft, &leading), T_BEGIN + 1);
    leading.room_bytes = MIB;
    ck_assert(pending_has_room_for_held(&leading));
    struct command_list held;
    u64 bytes = 0;
    pending_take_held(&leading, &held);
    for (u64 slot = 1; slot <= 3; slot++) {
        struct command *command = pending_next_held(&raft, &leading, &held, &bytes);
        ck_assert_uint_eq(command->slot, slot);
        enum command_failure why;
        if (command->class == COMMAND_READ)
            pending_take_read(&raft, &leading, command);
        else
            ck_assert_int_eq(pending_take_write(&raft, &leading, command, 77, &why),
                             PENDING_APPENDED);
    }
    ck_assert_ptr_null(pending_next_held(&raft, &leading, &held, &bytes));
    ck_assert(!leading.awaits_room);
    ck_assert_uint_eq(leading.writes.count, 2);
    ck_assert_uint_eq(leading.reads.count, 1);
    end();
}
END_TEST

/* What was held is not appended all at once: heartbeats come between. */
START_TEST(pending_next_held__gives_a_pile_and_holds_the_rest)
{
    begin();
    raft.round_bytes_max = 2;
    leading.room_bytes = 0;
    for (u64 slot = 1; slot <= 3; slot++)
        ck_assert_int_eq(write(slot, "xx"), PENDING_HELD);
    leading.room_bytes = MIB;
    struct command_list held;
    u64 bytes = 0;
    pending_take_held(&leading, &held);
    struct command *first = pending_next_held(&raft, &leading, &held, &bytes);
    ck_assert_uint_eq(first->slot, 1);
    command_destroy(first);
    ck_assert_ptr_null(pending_next_held(&raft, &leading, &held, &bytes));
    ck_assert_uint_eq(leading.held.count, 2);
    ck_assert(leading.awaits_room);
    ck_assert(pending_has_room_for_held(&leading));
    /* The disk has filled up meanwhile: they are to be told, not held for ever. */
    leading.room_bytes = leading.room_soon_bytes = 0;
    ck_assert(pending_has_room_for_held(&leading));
    end();
}
END_TEST

START_TEST(pending_take_read__waits_behind_the_clients_own_write)
{
    begin_transfer();
    read_after_write(1); /* that write is in the log already */
    ck_assert_uint_eq(leading.reads.count, 1);
    ck_assert_int_eq(write(2, "x"), PENDING_HELD);
    read_after_write(3);
    ck_assert_uint_eq(leading.reads.count, 1);
    ck_assert_uint_eq(leading.held.count, 2);
    end();
}
END_TEST

/* ---- pending_next_ns ---- */

START_TEST(pending_next_ns__the_transfer_counts)
{
    begin_transfer();
    for (server_id id = 2; id <= 3; id++)
        leadership_peer(&leading.leadership, id)->sent_ns = T_BEGIN + 2 * NS_PER_S;
    leading.leadership.peers[1].contact_ns = T_BEGIN + 2 * NS_PER_S;
    leading.leadership.peers[2].contact_ns = T_BEGIN + 2 * NS_PER_S;
    ck_assert_uint_eq(pending_next_ns(&raft, &leading), leading.transfer.deadline_ns);
    end();
}
END_TEST

/* ---- what other servers have forwarded ---- */

/* A FORWARD of server 3 with two writes, unpacked. */
static struct command_list forwarded(void)
{
    struct raft sender;
    struct forwarding forwarding;
    struct message message;
    struct command_list commands = {0};
    struct taker taker = {.start = 1};
    raft_of(&sender, 3, 3, "1 1");
    sender.leader = 1;
    forwarding_init(&forwarding, &taker);
    for (u64 slot = 1; slot <= 2; slot++) {
        struct command *command = command_of(COMMAND_WRITE, slot, "a");
        command->serial = slot;
        forwarding_put(&forwarding, command);
    }
    ck_assert(forwarding_next(&forwarding, &sender, MIB, 0, &message));
    ck_assert(forward_unpack(&raft, &message, 0, MIB, &outbox, &commands));
    message_release(&message);
    struct command_list again = {0};
    struct forwarding_outcome outcome = {.again = &again};
    forwarding_unsent(&forwarding, message.call, &outcome);
    for (struct command *command; (command = command_list_take(&again)) != NULL;)
        command_destroy(command);
    raft_deinit(&sender);
    return commands;
}

static struct message replies[4];
static u32 reply_count;

static bool record(struct transport *transport, struct message *message)
{
    (void)transport;
    ck_assert_uint_lt(reply_count, ARRAY_LENGTH(replies));
    replies[reply_count++] = *message;
    message_release(message);
    return true;
}

static void send_replies(void)
{
    static const struct transport_ops ops = {.send = record};
    static struct transport transport = {&ops};
    reply_count = 0;
    outbox_send_all(&outbox, &transport);
}

START_TEST(pending_held_for_others__takes_out_only_those)
{
    begin_transfer();
    enum command_failure why;
    struct command_list commands = forwarded();
    ck_assert_int_eq(write(7, "own"), PENDING_HELD);
    for (struct command *command; (command = command_list_take(&commands)) != NULL;)
        ck_assert_int_eq(pending_take_write(&raft, &leading, command, 0, &why), PENDING_HELD);
    ck_assert_int_eq(write(8, "own"), PENDING_HELD);
    pending_held_for_others(&raft, &leading, &commands);
    for (struct command *command; (command = command_list_take(&commands)) != NULL;)
        command_give_back(command);
    ck_assert_uint_eq(leading.held.count, 2);
    ck_assert_uint_eq(leading.held.first->slot, 7);
    ck_assert_uint_eq(leading.held.last->slot, 8);
    send_replies();
    ck_assert_uint_eq(reply_count, 1);
    ck_assert_int_eq(replies[0].kind, MESSAGE_FORWARD_REPLY);
    ck_assert_uint_eq(replies[0].to, 3);
    ck_assert_int_eq(replies[0].as.forward_reply.result, FORWARD_NOT_LEADER);
    ck_assert_uint_eq(replies[0].as.forward_reply.refused_from, 1);
    end();
}
END_TEST

START_TEST(command_give_back__only_what_was_not_answered)
{
    begin();
    struct command_list commands = forwarded();
    struct command *first = command_list_take(&commands);
    struct command *second = command_list_take(&commands);
    command_answer(first, (const u8 *)"+OK\r\n", 5);
    command_give_back(second);
    send_replies();
    ck_assert_uint_eq(reply_count, 2);
    ck_assert_int_eq(replies[0].as.forward_reply.result, FORWARD_NOT_LEADER);
    ck_assert_uint_eq(replies[0].as.forward_reply.refused_from, 2);
    ck_assert_int_eq(replies[1].as.forward_reply.result, FORWARD_DONE);
    ck_assert_uint_eq(replies[1].as.forward_reply.count, 1);
    end();
}
END_TEST

UNIT_MAIN("leading", pending_take_order__waits_in_the_lead, pending_take_order__to_itself_is_done,
          pending_begin__a_transfer_does_not_outlive_its_leadership,
          pending_take_write__is_held_during_a_transfer,
          pending_take_write__no_more_is_held_than_may_be_uncommitted,
          pending_take_write__tells_that_there_is_no_room,
          pending_take_write__waits_for_the_next_segment,
          pending_next_held__gives_a_pile_and_holds_the_rest,
          pending_take_read__waits_behind_the_clients_own_write,
          pending_next_ns__the_transfer_counts, pending_held_for_others__takes_out_only_those,
          command_give_back__only_what_was_not_answered)
