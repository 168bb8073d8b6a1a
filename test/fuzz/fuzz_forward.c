/* fuzz_forward.c - commands of a FORWARD, and the answers in its replies
 * (server/requests/forward.h). Of an input u16 is the size of the commands, which follow; the rest
 * is what comes back. */
#include "server/requests/forward.h"

#include "common/memory.h"
#include "test/fuzz/fuzz.h"

enum { COUNT_MAX = 256, HEAD_SIZE = 8, ANSWER_HEAD_SIZE = 4, REPLY_BYTES_MAX = 100 };

static struct span copy_of(const u8 *data, size_t size)
{
    struct block *block = block_create_copy(data, (u32)size);
    return (struct span){block, block->data, (u32)size};
}

/* ---- the follower's side ---- */

/* What became of the follower's commands: each has one end. */
struct ends {
    u32 answered;
    u32 failed;
    bool echoed; /* every answer was the command's own body */
};

static void take_answer(void *context, struct command *command, const u8 *answer, size_t size)
{
    struct ends *ends = context;
    ends->answered++;
    ends->echoed = ends->echoed && size == command->body.size &&
                   (size == 0 || memcmp(answer, command->body.data, size) == 0);
    command_destroy(command);
}

static void take_failure(void *context, struct command *command, enum command_failure failure)
{
    (void)failure;
    struct ends *ends = context;
    ends->failed++;
    command_destroy(command);
}

/* A message that asks for these commands, as the follower makes it, in one batch. */
static void forward(struct forwarding *forwarding, struct raft *raft, struct command_list *commands,
                    struct message *message)
{
    u64 serial = 0;
    struct command *command;
    while ((command = command_list_take(commands)) != NULL) {
        serial += command->class == COMMAND_WRITE;
        command->serial = serial;
        forwarding_put(forwarding, command);
    }
    bool any = forwarding_next(forwarding, raft, UINT64_MAX, 1, message);
    ASSERT(any && message->as.forward_request.serial == 1);
}

/* Whatever has not come to an end by now. */
static u32 end_all(struct forwarding *forwarding, const struct forwarding_outcome *outcome)
{
    u32 count = 0;
    struct command *command;
    forwarding_lost(forwarding, outcome);
    while ((command = command_list_take(outcome->again)) != NULL) {
        command_destroy(command);
        count++;
    }
    return count;
}

/* ---- the leader's side ---- */

struct replies {
    struct transport transport;
    struct forwarding *forwarding;
    const struct forwarding_outcome *outcome;
};

static bool hand_back(struct transport *transport, struct message *message)
{
    struct replies *replies = CONTAINER_OF(transport, struct replies, transport);
    ASSERT(message->kind == MESSAGE_FORWARD_REPLY);
    forwarding_replied(replies->forwarding, message, replies->outcome);
    message_release(message);
    return true;
}

static const struct transport_ops reply_ops = {.send = hand_back};

/* The commands as a FORWARD carries them. */
static void write_commands(const struct command_list *commands, struct buffer *to)
{
    for (const struct command *command = commands->first; command != NULL;
         command = command->next) {
        u8 head[HEAD_SIZE] = {command->class == COMMAND_WRITE ? 1 : 2, command->after_write, 0, 0};
        store_u32(head + 4, command->body.size);
        buffer_append(to, head, sizeof(head));
        if (command->body.size > 0)
            buffer_append(to, command->body.data, command->body.size);
    }
}

/* Each command is answered with its own body, the last ones first when `backwards`; bodies that are
 * too large for a reply get an error instead. */
static bool answer_all(struct command_list *commands, bool backwards)
{
    struct command *all[COUNT_MAX];
    u32 count = 0;
    bool fit = true;
    while (commands->first != NULL)
        all[count++] = command_list_take(commands);
    for (u32 i = 0; i < count; i++) {
        struct command *command = all[backwards ? count - 1 - i : i];
        struct span body = span_of(command->body.block, command->body.data, command->body.size);
        fit = fit && body.size + ANSWER_HEAD_SIZE <= REPLY_BYTES_MAX;
        command_answer(command, body.data, body.size);
        span_release(&body);
    }
    return fit;
}

/* ---- the way there and back ---- */

/* The commands go from the follower to the leader, are carried out, and every answer finds its
 * command. */
static void check_round_trip(struct raft *raft, struct command_list *commands, bool backwards)
{
    struct taker taker = {.start = 1};
    struct forwarding forwarding;
    struct outbox outbox;
    struct command_list again = {0}, unpacked = {0};
    struct ends ends = {.echoed = true};
    const struct forwarding_outcome outcome = {take_answer, take_failure, &ends, &again};
    struct replies replies = {{&reply_ops}, &forwarding, &outcome};
    struct message message;
    u32 count = commands->count;
    forwarding_init(&forwarding, &taker);
    outbox_init(&outbox);
    forward(&forwarding, raft, commands, &message);
    ASSERT(forward_is_sound(&message));
    ASSERT(forward_unpack(raft, &message, 0, REPLY_BYTES_MAX, &outbox, &unpacked));
    u32 sent = message.as.forward_request.count;
    ASSERT(unpacked.count == sent);
    message_release(&message);
    bool fit = answer_all(&unpacked, backwards);
    outbox_send_all(&outbox, &replies.transport);
    ASSERT(ends.answered == sent && ends.failed == 0 && (!fit || ends.echoed));
    /* Reads go in a message of their own, which was not asked for. */
    ASSERT(end_all(&forwarding, &outcome) == count - sent);
    outbox_deinit(&outbox);
}

/* Anything comes back: each command comes to one end all the same. */
static void check_reply(struct raft *raft, struct command_list *commands, const u8 *data,
                        size_t size)
{
    struct taker taker = {.start = 1};
    struct forwarding forwarding;
    struct command_list again = {0};
    struct ends ends = {0};
    const struct forwarding_outcome outcome = {take_answer, take_failure, &ends, &again};
    struct message message, reply = {.kind = MESSAGE_FORWARD_REPLY};
    u32 count = commands->count;
    forwarding_init(&forwarding, &taker);
    forward(&forwarding, raft, commands, &message);
    while (size > 3) {
        u32 part = (u32)u64_min(data[3], size - 4);
        reply.call = message.call;
        reply.as.forward_reply =
            (struct forward_reply){.result = (data[0] & 1) != 0 ? FORWARD_NOT_LEADER : FORWARD_DONE,
                                   .count = data[1],
                                   .first = data[2],
                                   .refused_from = data[0] >> 2,
                                   .leads = (data[0] & 2) != 0};
        reply.span_count = part > 0 ? 1 : 0;
        if (part > 0)
            reply.spans[0] = copy_of(data + 4, part);
        forwarding_replied(&forwarding, &reply, &outcome);
        message_release(&reply);
        data += 4 + part;
        size -= 4 + part;
    }
    message_release(&message);
    u32 rest = end_all(&forwarding, &outcome);
    ASSERT(ends.answered + ends.failed + rest == count);
}

/* ---- one input ---- */

static bool unpack(struct raft *raft, const struct message *request, struct outbox *outbox,
                   struct command_list *commands)
{
    bool sound = forward_is_sound(request);
    bool unpacked = forward_unpack(raft, request, 0, REPLY_BYTES_MAX, outbox, commands);
    ASSERT(sound == unpacked && (unpacked || commands->count == 0));
    return unpacked;
}

/* New commands like these, of somebody who needs no answer; ends the old ones. */
static void replace(struct command_list *commands, struct command_sink *sink,
                    struct command_list *first, struct command_list *second)
{
    struct command *command;
    while ((command = command_list_take(commands)) != NULL) {
        for (int i = 0; i < 2; i++) {
            struct span body = span_of(command->body.block, command->body.data, command->body.size);
            struct command *made = command_create(command->class, body, sink);
            made->after_write = command->after_write;
            command_list_put(i == 0 ? first : second, made);
        }
        command_fail(command, COMMAND_STOPPING);
    }
}

static void run(const u8 *data, size_t size)
{
    if (size < 3)
        return;
    size_t commands_size = (size_t)u64_min(load_u16(data), size - 3);
    u8 count = data[2];
    data += 3;
    struct raft raft;
    struct outbox outbox;
    struct command_sink nobody = {NULL};
    struct command_list commands = {0}, first = {0}, second = {0};
    struct message request = {.kind = MESSAGE_FORWARD, .from = 2, .to = 1, .call = 1};
    request.as.forward_request = (struct forward_request){.start = 1, .serial = 1, .count = count};
    request.spans[0] = copy_of(data, commands_size);
    request.span_count = 1;
    raft_init(&raft, 1, MIB);
    raft.current_term = 1;
    raft.leader = 2;
    outbox_init(&outbox);
    if (unpack(&raft, &request, &outbox, &commands)) {
        struct buffer written;
        buffer_init(&written);
        write_commands(&commands, &written);
        ASSERT(written.size == commands_size && memcmp(written.data, data, commands_size) == 0);
        buffer_deinit(&written);
        replace(&commands, &nobody, &first, &second);
        check_round_trip(&raft, &first, (commands_size & 1) != 0);
        check_reply(&raft, &second, data + commands_size, size - 3 - commands_size);
    }
    message_release(&request);
    outbox_deinit(&outbox);
    raft_deinit(&raft);
}

const struct fuzz_target fuzz_forward = {
    .name = "forward", .input_max = 2048, .run = run, .memory_base = 65536, .memory_each = 512};
