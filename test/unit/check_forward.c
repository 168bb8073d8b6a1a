/* check_forward.c - commands handed to the leader, and the way their answers come back. */
#include "server/requests/forward.h"

#include "test/unit/rules_unit.h"

enum { NOTES_MAX = 16, BYTES_MAX = 1000 };

static struct raft follower, leader; /* servers 1 and 2 */
static struct outbox outbox;
static struct forwarding forwarding;
static struct taker taker;
static u64 serial; /* of the newest write */

/* ---- what became of commands ---- */

/* "answer 3 +OK", "fail 2 UNKNOWN", in the order in which it happened; the number is the slot. */
static char story[1024];
static struct command_list again;

static void note(const char *what, const struct command *command, const char *text, size_t size)
{
    size_t used = strlen(story);
    (void)snprintf(story + used, sizeof(story) - used, "%s%s %llu %.*s", used == 0 ? "" : ", ",
                   what, (unsigned long long)command->slot, (int)size, text);
}

static void note_answer(void *context, struct command *command, const u8 *answer, size_t size)
{
    ck_assert_ptr_eq(context, &forwarding);
    note("answer", command, (const char *)answer, size);
    command_destroy(command);
}

static void note_failure(void *context, struct command *command, enum command_failure failure)
{
    ck_assert_ptr_eq(context, &forwarding);
    const char *word = failure == COMMAND_UNKNOWN_OUTCOME ? "unknown" : "lost";
    note("fail", command, word, strlen(word));
    command_destroy(command);
}

static const struct forwarding_outcome outcome = {note_answer, note_failure, &forwarding, &again};

/* The slots of what may be tried again, as "1 2"; the list is emptied. */
static const char *again_slots(void)
{
    static char text[256];
    size_t used = 0;
    text[0] = '\0';
    for (struct command *command; (command = command_list_take(&again)) != NULL;) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, used == 0 ? "%u" : " %u",
                                 (unsigned)command->slot);
        command_destroy(command);
    }
    return text;
}

/* ---- messages ---- */

struct recording {
    struct transport transport;
    struct message messages[NOTES_MAX];
    u32 count;
};

static bool record_message(struct transport *transport, struct message *message)
{
    struct recording *recording = CONTAINER_OF(transport, struct recording, transport);
    ck_assert_uint_lt(recording->count, NOTES_MAX);
    recording->messages[recording->count++] = *message;
    return true;
}

static const struct transport_ops record_ops = {.send = record_message};
static struct recording sent = {.transport = {&record_ops}};

static void release_sent(void)
{
    for (u32 i = 0; i < sent.count; i++)
        message_release(&sent.messages[i]);
    sent.count = 0;
}

static void begin(void)
{
    raft_of(&follower, 3, 1, "1 1");
    raft_of(&leader, 3, 2, "1 1");
    follower.leader = leader.leader = 2;
    outbox_init(&outbox);
    taker = (struct taker){.start = 33};
    forwarding_init(&forwarding, &taker);
    serial = 0;
    story[0] = '\0';
}

static void end(void)
{
    release_sent();
    ck_assert_ptr_null(again.first);
    ck_assert_uint_eq(forwarding_deadline_ns(&forwarding), UINT64_MAX);
    ck_assert(outbox_is_empty(&outbox));
    outbox_deinit(&outbox);
    raft_deinit(&follower);
    raft_deinit(&leader);
}

/* Nobody answers a client here: what would be answered is noted. */
static struct command_sink client;

static struct command *command_of(enum command_class class, u64 slot, const char *body)
{
    struct block *block = block_create_copy(body, (u32)strlen(body));
    struct span span = span_of(block, block->data, block->size);
    block_release(block);
    struct command *command = command_create(class, span, &client);
    command->slot = slot;
    command->serial = class == COMMAND_WRITE ? ++serial : serial;
    return command;
}

static void put(enum command_class class, u64 slot, const char *body)
{
    forwarding_put(&forwarding, command_of(class, slot, body));
}

/* The end of a pile; what was staged is in `sent`. */
static void stage(u64 bytes_max, u64 deadline_ns)
{
    struct message message;
    while (forwarding_next(&forwarding, &follower, bytes_max, deadline_ns, &message))
        outbox_put(&outbox, &message);
    outbox_send_all(&outbox, &sent.transport);
}

/* Hands the follower a reply and releases it. */
static void replied(struct message *reply)
{
    forwarding_replied(&forwarding, reply, &outcome);
    message_release(reply);
}

static struct message reply_of(u64 call, enum forward_result result, u32 first, u32 count,
                               const void *payload, u32 size)
{
    struct message reply = {
        .kind = MESSAGE_FORWARD_REPLY, .from = 2, .to = 1, .term = 1, .call = call};
    reply.as.forward_reply =
        (struct forward_reply){.result = result, .count = count, .first = first};
    if (size > 0) {
        struct block *block = block_create_copy(payload, size);
        reply.spans[0] = (struct span){block, block->data, size};
        reply.span_count = 1;
    }
    return reply;
}

/* ---- at the follower ---- */

START_TEST(forwarding_next__writes_and_reads_in_messages_of_their_own)
{
    begin();
    put(COMMAND_READ, 1, "get");
    put(COMMAND_WRITE, 2, "set");
    put(COMMAND_READ, 3, "get");
    put(COMMAND_WRITE, 4, "set");
    put(COMMAND_WRITE, 5, "set");
    stage(BYTES_MAX, 100);
    ck_assert_uint_eq(sent.count, 2);
    for (u32 i = 0; i < 2; i++) {
        ck_assert_int_eq(sent.messages[i].kind, MESSAGE_FORWARD);
        ck_assert_uint_eq(sent.messages[i].to, 2);
        ck_assert_uint_eq(sent.messages[i].as.forward_request.start, 33);
        ck_assert_uint_eq(sent.messages[i].as.forward_request.serial, i + 1);
    }
    ck_assert_uint_eq(sent.messages[0].as.forward_request.count, 3);
    ck_assert_uint_eq(sent.messages[1].as.forward_request.count, 2);
    ck_assert_uint_ne(sent.messages[0].call, sent.messages[1].call);
    ck_assert_uint_eq(forwarding_deadline_ns(&forwarding), 100);
    stage(BYTES_MAX, 100);
    ck_assert_uint_eq(sent.count, 2); /* nothing is sent twice */
    forwarding_lost(&forwarding, &outcome);
    ck_assert_str_eq(story, "fail 2 unknown, fail 4 unknown, fail 5 unknown");
    ck_assert_str_eq(again_slots(), "1 3");
    end();
}
END_TEST

START_TEST(forwarding_next__bytes_of_a_message_exactly_and_one_less)
{
    begin();
    /* Each takes 8 bytes of header and 2 of body. */
    for (u64 slot = 1; slot <= 4; slot++)
        put(COMMAND_READ, slot, "xy");
    stage(20, 100);
    ck_assert_uint_eq(sent.count, 2);
    ck_assert_uint_eq(message_payload_size(&sent.messages[0]), 20);
    release_sent();
    for (u64 slot = 5; slot <= 6; slot++)
        put(COMMAND_READ, slot, "xy");
    stage(19, 100);
    ck_assert_uint_eq(sent.count, 2);
    release_sent();
    put(COMMAND_READ, 7, "xy");
    stage(1, 100); /* at least one, however large */
    ck_assert_uint_eq(sent.count, 1);
    ck_assert_uint_eq(taker.message, 5);
    forwarding_lost(&forwarding, &outcome);
    ck_assert_str_eq(again_slots(), "1 2 3 4 5 6 7");
    end();
}
END_TEST

START_TEST(forwarding_replied__in_any_order)
{
    begin();
    put(COMMAND_WRITE, 1, "a");
    put(COMMAND_WRITE, 2, "b");
    put(COMMAND_WRITE, 3, "c");
    stage(9, 100);
    ck_assert_uint_eq(sent.count, 3);
    static const u8 answer[] = {2, 0, 0, 0, 'o', 'k'};
    static const u32 order[] = {1, 2, 0};
    for (u32 i = 0; i < 3; i++) {
        struct message reply =
            reply_of(sent.messages[order[i]].call, FORWARD_DONE, 0, 1, answer, sizeof(answer));
        forwarding_replied(&forwarding, &reply, &outcome);
        forwarding_replied(&forwarding, &reply, &outcome); /* it came twice */
        message_release(&reply);
    }
    ck_assert_str_eq(story, "answer 2 ok, answer 3 ok, answer 1 ok");
    /* The list can be used again. */
    put(COMMAND_WRITE, 4, "d");
    stage(9, 100);
    struct message reply =
        reply_of(sent.messages[3].call, FORWARD_DONE, 0, 1, answer, sizeof(answer));
    replied(&reply);
    ck_assert_ptr_nonnull(strstr(story, "answer 4 ok"));
    end();
}
END_TEST

START_TEST(forwarding_replied__a_call_that_nobody_waits_for)
{
    begin();
    put(COMMAND_WRITE, 1, "a");
    stage(BYTES_MAX, 100);
    struct message reply = reply_of(sent.messages[0].call + 1, FORWARD_NOT_LEADER, 0, 0, NULL, 0);
    replied(&reply);
    ck_assert_str_eq(story, "");
    ck_assert_ptr_null(again.first);
    ck_assert_uint_eq(forwarding_deadline_ns(&forwarding), 100);
    forwarding_lost(&forwarding, &outcome);
    end();
}
END_TEST

START_TEST(forwarding_replied__not_the_leader_so_all_may_be_tried_again)
{
    begin();
    put(COMMAND_WRITE, 1, "a");
    put(COMMAND_WRITE, 2, "b");
    stage(BYTES_MAX, 100);
    struct message reply = reply_of(sent.messages[0].call, FORWARD_NOT_LEADER, 0, 0, NULL, 0);
    replied(&reply);
    ck_assert_str_eq(story, "");
    ck_assert_str_eq(again_slots(), "1 2");
    end();
}
END_TEST

START_TEST(forwarding_replied__answers_in_several_messages)
{
    begin();
    for (u64 slot = 1; slot <= 3; slot++)
        put(COMMAND_WRITE, slot, "a");
    stage(BYTES_MAX, 100);
    u64 call = sent.messages[0].call;
    static const u8 two[] = {1, 0, 0, 0, 'x', 0, 0, 0, 0};
    struct message reply = reply_of(call, FORWARD_DONE, 0, 2, two, sizeof(two));
    replied(&reply);
    ck_assert_str_eq(story, "answer 1 x, answer 2 ");
    ck_assert_uint_eq(forwarding_deadline_ns(&forwarding), 100);
    reply = reply_of(call, FORWARD_DONE, 2, 1, two, 5);
    replied(&reply);
    ck_assert_str_eq(story, "answer 1 x, answer 2 , answer 3 x");
    end();
}
END_TEST

/* Two writes, whose answers come as given: the commands that got none have an unknown outcome. */
static const char *story_of(u32 first, u32 count, const void *payload, u32 size)
{
    story[0] = '\0';
    put(COMMAND_WRITE, 1, "a");
    put(COMMAND_WRITE, 2, "b");
    stage(BYTES_MAX, 100);
    struct message reply =
        reply_of(sent.messages[0].call, FORWARD_DONE, first, count, payload, size);
    replied(&reply);
    ck_assert_uint_eq(forwarding_deadline_ns(&forwarding), UINT64_MAX);
    release_sent();
    return story;
}

START_TEST(forwarding_replied__malformed_answers_leave_nobody_waiting)
{
    static const u8 bytes[] = {1, 0, 0, 0, 'x', 9, 0, 0, 0, 'y', 0xff, 0xff, 0xff, 0xff};
    begin();
    ck_assert_str_eq(story_of(0, 2, NULL, 0), "fail 1 unknown, fail 2 unknown");
    ck_assert_str_eq(story_of(0, 2, bytes, 3), "fail 1 unknown, fail 2 unknown");
    ck_assert_str_eq(story_of(0, 2, bytes, 4), "fail 1 unknown, fail 2 unknown");
    ck_assert_str_eq(story_of(0, 2, bytes, 5), "answer 1 x, fail 2 unknown");
    ck_assert_str_eq(story_of(0, 2, bytes, 10), "answer 1 x, fail 2 unknown");
    ck_assert_str_eq(story_of(0, 2, bytes + 10, 4), "fail 1 unknown, fail 2 unknown");
    ck_assert_str_eq(story_of(0, 0, bytes, 5), "fail 1 unknown, fail 2 unknown");
    /* Those that come first were lost. */
    ck_assert_str_eq(story_of(1, 1, bytes, 5), "fail 1 unknown, fail 2 unknown");
    end();
}
END_TEST

START_TEST(forwarding_replied__reads_without_an_answer_are_tried_again)
{
    begin();
    put(COMMAND_READ, 1, "a");
    put(COMMAND_READ, 2, "b");
    stage(BYTES_MAX, 100);
    static const u8 one[] = {1, 0, 0, 0, 'x'};
    struct message reply = reply_of(sent.messages[0].call, FORWARD_DONE, 0, 2, one, sizeof(one));
    replied(&reply);
    ck_assert_str_eq(story, "answer 1 x");
    ck_assert_str_eq(again_slots(), "2");
    end();
}
END_TEST

START_TEST(forwarding_take_back__in_order)
{
    begin();
    static const u64 serials[] = {1, 3, 2, 1}; /* by slot; all arrive at the same time */
    for (u64 slot = 1; slot <= 4; slot++) {
        struct command *command = command_of(slot == 4 ? COMMAND_READ : COMMAND_WRITE, slot, "x");
        command->serial = serials[slot - 1];
        slot % 2 == 1 ? command_list_put(&again, command) : forwarding_put(&forwarding, command);
    }
    forwarding_take_back(&forwarding, &again);
    ck_assert_str_eq(again_slots(), "1 4 3 2");
    end();
}
END_TEST

START_TEST(forwarding_unsent__may_be_tried_again)
{
    begin();
    put(COMMAND_WRITE, 1, "a");
    put(COMMAND_READ, 2, "b");
    stage(BYTES_MAX, 100);
    forwarding_unsent(&forwarding, sent.messages[0].call, &outcome);
    ck_assert_str_eq(again_slots(), "1");
    forwarding_unsent(&forwarding, sent.messages[0].call, &outcome);
    ck_assert_str_eq(again_slots(), "");
    forwarding_unsent(&forwarding, sent.messages[1].call, &outcome);
    ck_assert_str_eq(again_slots(), "2");
    ck_assert_str_eq(story, "");
    end();
}
END_TEST

START_TEST(forwarding_expire__at_the_deadline_and_not_before)
{
    begin();
    put(COMMAND_WRITE, 1, "a");
    put(COMMAND_READ, 2, "b");
    stage(BYTES_MAX, 100);
    put(COMMAND_WRITE, 3, "c");
    stage(BYTES_MAX, 150);
    forwarding_expire(&forwarding, 99, &outcome);
    ck_assert_str_eq(story, "");
    forwarding_expire(&forwarding, 100, &outcome);
    ck_assert_str_eq(story, "fail 1 unknown, fail 2 lost");
    ck_assert_uint_eq(forwarding_deadline_ns(&forwarding), 150);
    forwarding_expire(&forwarding, 200, &outcome);
    ck_assert_str_eq(story, "fail 1 unknown, fail 2 lost, fail 3 unknown");
    end();
}
END_TEST

START_TEST(forwarding_lost__what_was_never_in_a_message_may_be_tried_again)
{
    begin();
    put(COMMAND_WRITE, 1, "a");
    put(COMMAND_READ, 2, "b");
    stage(BYTES_MAX, 100);
    put(COMMAND_WRITE, 3, "c");
    put(COMMAND_READ, 4, "d");
    forwarding_lost(&forwarding, &outcome);
    ck_assert_str_eq(story, "fail 1 unknown");
    ck_assert_str_eq(again_slots(), "2 3 4");
    end();
}
END_TEST

/* ---- at the leader ---- */

/* The commands of the first message that was sent. */
static struct command_list unpacked(u64 bytes_max)
{
    struct command_list commands = {0};
    ck_assert(forward_unpack(&leader, &sent.messages[0], 55, bytes_max, &outbox, &commands));
    return commands;
}

START_TEST(forward_unpack__gives_what_was_put_in)
{
    begin();
    struct command *command = command_of(COMMAND_READ, 8, "get key");
    command->after_write = true;
    forwarding_put(&forwarding, command);
    put(COMMAND_READ, 9, "");
    stage(BYTES_MAX, 100);
    struct command_list commands = unpacked(BYTES_MAX);
    ck_assert_uint_eq(commands.count, 2);
    command = command_list_take(&commands);
    ck_assert_int_eq(command->class, COMMAND_READ);
    ck_assert(command->after_write);
    ck_assert(command->forwarded);
    ck_assert(!command->may_redirect);
    ck_assert_uint_eq(command->arrived_ns, 55);
    ck_assert_uint_eq(command->body.size, 7);
    ck_assert_mem_eq(command->body.data, "get key", 7);
    command_answer(command, (const u8 *)"+A", 2);
    command = command_list_take(&commands);
    ck_assert(!command->after_write);
    ck_assert_uint_eq(command->body.size, 0);
    command_answer(command, (const u8 *)"+B", 2);
    forwarding_lost(&forwarding, &outcome);
    (void)again_slots();
    outbox_send_all(&outbox, &sent.transport);
    end();
}
END_TEST

START_TEST(forward_unpack__one_reply_when_all_are_answered_whatever_the_order)
{
    begin();
    for (u64 slot = 1; slot <= 3; slot++)
        put(COMMAND_WRITE, slot, "set");
    stage(BYTES_MAX, 100);
    struct command_list commands = unpacked(BYTES_MAX);
    struct command *first = command_list_take(&commands);
    struct command *second = command_list_take(&commands);
    command_answer(command_list_take(&commands), (const u8 *)"+C", 2);
    command_fail(first, COMMAND_BUSY);
    ck_assert(outbox_is_empty(&outbox));
    command_answer(second, (const u8 *)"", 0);
    u64 call = sent.messages[0].call;
    release_sent();
    outbox_send_early(&outbox, &sent.transport);
    ck_assert_uint_eq(sent.count, 1);
    struct message *reply = &sent.messages[0];
    ck_assert_int_eq(reply->kind, MESSAGE_FORWARD_REPLY);
    ck_assert_uint_eq(reply->call, call);
    ck_assert_uint_eq(reply->to, 1);
    ck_assert_uint_eq(reply->as.forward_reply.count, 3);
    replied(reply);
    ck_assert_str_eq(story, "answer 1 -BUSY too many commands are waiting; nothing was executed, "
                            "try again\r\n, answer 2 , answer 3 +C");
    end();
}
END_TEST

START_TEST(forward_unpack__redirects_have_nowhere_to_go)
{
    begin();
    put(COMMAND_WRITE, 1, "set");
    stage(BYTES_MAX, 100);
    struct command_list commands = unpacked(BYTES_MAX);
    struct command *command = command_list_take(&commands);
    command->may_redirect = true;
    command_redirect(command, 3);
    outbox_send_all(&outbox, &sent.transport);
    replied(&sent.messages[1]);
    ck_assert_ptr_nonnull(strstr(story, "answer 1 -CLUSTERDOWN"));
    end();
}
END_TEST

/* Answers of 10 bytes (14 with their size) to five commands, in replies of at most `bytes_max`. */
static u32 replies_within(u64 bytes_max)
{
    story[0] = '\0';
    for (u64 slot = 1; slot <= 5; slot++)
        put(COMMAND_WRITE, slot, "set");
    stage(BYTES_MAX, 100);
    struct command_list commands = unpacked(bytes_max);
    for (struct command *command; (command = command_list_take(&commands)) != NULL;)
        command_answer(command, (const u8 *)"0123456789", 10);
    release_sent();
    outbox_send_all(&outbox, &sent.transport);
    u32 count = sent.count;
    for (u32 i = 0; i < count; i++) {
        ck_assert_uint_le(message_payload_size(&sent.messages[i]), bytes_max);
        replied(&sent.messages[i]);
    }
    ck_assert_str_eq(story, "answer 1 0123456789, answer 2 0123456789, answer 3 0123456789, "
                            "answer 4 0123456789, answer 5 0123456789");
    release_sent();
    return count;
}

START_TEST(forward_unpack__as_many_replies_as_it_takes)
{
    begin();
    ck_assert_uint_eq(replies_within(5 * 14), 1);
    ck_assert_uint_eq(replies_within(5 * 14 - 1), 2);
    ck_assert_uint_eq(replies_within(2 * 14), 3);
    ck_assert_uint_eq(replies_within(14), 5);
    end();
}
END_TEST

START_TEST(forward_unpack__an_answer_larger_than_any_reply_is_an_error)
{
    begin();
    put(COMMAND_READ, 1, "get");
    stage(BYTES_MAX, 100);
    struct command_list commands = unpacked(200);
    u8 large[197];
    memset(large, 'x', sizeof(large));
    command_answer(command_list_take(&commands), large, sizeof(large));
    outbox_send_all(&outbox, &sent.transport);
    replied(&sent.messages[1]);
    ck_assert_ptr_nonnull(strstr(story, "answer 1 -ERR"));
    end();
}
END_TEST

/* Whether the leader takes these bytes for `count` commands. */
static bool takes(u32 count, const u8 *bytes, u32 size)
{
    struct message request = {.kind = MESSAGE_FORWARD, .from = 1, .term = 1, .call = 5};
    request.as.forward_request = (struct forward_request){.start = 33, .serial = 1, .count = count};
    struct block *block = block_create_copy(bytes, size);
    request.spans[0] = (struct span){block, block->data, size};
    request.span_count = 1;
    struct command_list commands = {0};
    bool taken = forward_unpack(&leader, &request, 0, BYTES_MAX, &outbox, &commands);
    ck_assert_uint_eq(commands.count, taken ? count : 0);
    for (struct command *command; (command = command_list_take(&commands)) != NULL;)
        command_answer(command, (const u8 *)"+", 1);
    ck_assert_uint_eq(block->references, 1);
    message_release(&request);
    outbox_deinit(&outbox);
    outbox_init(&outbox);
    return taken;
}

START_TEST(forward_unpack__malformed_bytes_are_refused_whole)
{
    /* A write of "ab", then a read of nothing. */
    static const u8 good[] = {1, 0, 0, 0, 2, 0, 0, 0, 'a', 'b', 2, 1, 0, 0, 0, 0, 0, 0};
    begin();
    ck_assert(takes(2, good, sizeof(good)));
    ck_assert(takes(1, good, 10));
    for (u32 size = 0; size < sizeof(good); size++)
        ck_assert_msg(!takes(2, good, size), "cut to %u bytes", size);
    ck_assert(!takes(0, good, sizeof(good)));
    ck_assert(!takes(1, good, sizeof(good))); /* something is left */
    ck_assert(!takes(3, good, sizeof(good)));
    ck_assert(!takes(UINT32_MAX, good, sizeof(good)));
    /* Each byte of the second header: unknown class, flags, padding, a size beyond the end. */
    for (u32 at = 10; at < sizeof(good); at++) {
        u8 bad[sizeof(good)];
        memcpy(bad, good, sizeof(good));
        bad[at] = 0xf0;
        ck_assert_msg(!takes(2, bad, sizeof(bad)), "byte %u", at);
    }
    struct message empty = {.kind = MESSAGE_FORWARD, .from = 1};
    empty.as.forward_request.count = 1;
    struct command_list commands = {0};
    ck_assert(!forward_unpack(&leader, &empty, 0, BYTES_MAX, &outbox, &commands));
    end();
}
END_TEST

UNIT_MAIN("forward", forwarding_next__writes_and_reads_in_messages_of_their_own,
          forwarding_next__bytes_of_a_message_exactly_and_one_less,
          forwarding_replied__in_any_order, forwarding_replied__a_call_that_nobody_waits_for,
          forwarding_replied__not_the_leader_so_all_may_be_tried_again,
          forwarding_replied__answers_in_several_messages,
          forwarding_replied__malformed_answers_leave_nobody_waiting,
          forwarding_replied__reads_without_an_answer_are_tried_again,
          forwarding_take_back__in_order, forwarding_unsent__may_be_tried_again,
          forwarding_expire__at_the_deadline_and_not_before,
          forwarding_lost__what_was_never_in_a_message_may_be_tried_again,
          forward_unpack__gives_what_was_put_in,
          forward_unpack__one_reply_when_all_are_answered_whatever_the_order,
          forward_unpack__redirects_have_nowhere_to_go, forward_unpack__as_many_replies_as_it_takes,
          forward_unpack__an_answer_larger_than_any_reply_is_an_error,
          forward_unpack__malformed_bytes_are_refused_whole)
