/* forward.c - see forward.h. */
#include "server/requests/forward.h"

#include "common/memory.h"

enum {
    COMMAND_HEADER_SIZE = 8,
    ANSWER_HEADER_SIZE = 4,
    CLASS_WRITE = 1,
    CLASS_READ = 2,
    FLAG_AFTER_WRITE = 1,
    SENT_AT_ONCE = 1024 * 1024, /* bytes of answers that are not kept back for more */
    CLOSED_PART = 4             /* of an election timeout: so long it waits before it takes over */
};

/* ---- at the follower ---- */

/* What was sent so far is sent no more; what comes now begins anew. */
static void begin_attempt(struct forwarding *forwarding)
{
    forwarding->taker->attempt++;
}

void forwarding_init(struct forwarding *forwarding, struct taker *taker)
{
    *forwarding = (struct forwarding){.taker = taker};
    begin_attempt(forwarding);
}

void forwarding_put(struct forwarding *forwarding, struct command *command)
{
    command_list_put(command->class == COMMAND_WRITE ? &forwarding->writes : &forwarding->reads,
                     command);
}

static void encode_commands(const struct command_list *commands, struct message *message)
{
    size_t size = 0;
    for (const struct command *c = commands->first; c != NULL; c = c->next)
        size += COMMAND_HEADER_SIZE + c->body.size;
    struct block *block = block_create((u32)size);
    u8 *to = block->data;
    for (const struct command *c = commands->first; c != NULL; c = c->next) {
        to[0] = c->class == COMMAND_WRITE ? CLASS_WRITE : CLASS_READ;
        to[1] = c->after_write ? FLAG_AFTER_WRITE : 0;
        store_u16(to + 2, 0);
        store_u32(to + 4, c->body.size);
        memcpy(to + COMMAND_HEADER_SIZE, c->body.data, c->body.size);
        to += COMMAND_HEADER_SIZE + c->body.size;
    }
    message->spans[0] = (struct span){block, block->data, (u32)size};
    message->span_count = 1;
}

/* Takes from `from` as many commands as fit in one message, at least one. A message of writes names
 * the first serial alone, so that the others must follow it without a gap. */
static void take_batch(struct command_list *from, u64 bytes_max, struct forward_batch *batch)
{
    struct command_list *commands = &batch->commands;
    u64 bytes = 0;
    while (from->first != NULL) {
        bytes += COMMAND_HEADER_SIZE + from->first->body.size;
        bool gap = batch->writes && commands->last != NULL &&
                   from->first->serial != commands->last->serial + 1;
        if (commands->first != NULL && (bytes > bytes_max || gap))
            return;
        command_list_put(commands, command_list_take(from));
    }
}

static void keep_batch(struct forwarding *forwarding, struct forward_batch *batch)
{
    if (forwarding->last != NULL)
        forwarding->last->next = batch;
    else
        forwarding->first = batch;
    forwarding->last = batch;
    if (!batch->writes)
        return;
    forwarding->batches_of_writes++;
    forwarding->newest_write = batch->commands.last->serial;
}

static bool any_after_write(const struct command_list *commands)
{
    const struct command *command = commands->first;
    while (command != NULL && !command->after_write)
        command = command->next;
    return command != NULL;
}

void forwarding_take_back(struct forwarding *forwarding, struct command_list *commands)
{
    command_list_merge(commands, &forwarding->writes);
    command_list_merge(commands, &forwarding->reads);
}

bool forwarding_next(struct forwarding *forwarding, struct raft *raft, u64 bytes_max,
                     u64 deadline_ns, struct message *message)
{
    bool writes = forwarding->writes.first != NULL;
    struct command_list *commands = writes ? &forwarding->writes : &forwarding->reads;
    struct taker *taker = forwarding->taker;
    if (commands->first == NULL)
        return false;
    struct forward_batch *batch = memory_alloc_zero(1, sizeof(*batch));
    batch->writes = writes;
    batch->attempt = taker->attempt;
    take_batch(commands, bytes_max, batch);
    u64 newest = forwarding->batches_of_writes > 0 ? forwarding->newest_write : 0;
    raft_message(raft, MESSAGE_FORWARD, raft->leader, NULL, message);
    message->as.forward_request = (struct forward_request){
        .start = taker->start,
        .serial = ++taker->message,
        .count = batch->commands.count,
        .attempt = batch->attempt,
        .first_write = writes ? batch->commands.first->serial : 0,
        .previous_write = writes || any_after_write(&batch->commands) ? newest : 0};
    encode_commands(&batch->commands, message);
    batch->call = message->call;
    batch->deadline_ns = deadline_ns;
    keep_batch(forwarding, batch);
    return true;
}

static struct forward_batch *find_call(const struct forwarding *forwarding, u64 call)
{
    struct forward_batch *batch = forwarding->first;
    while (batch != NULL && batch->call != call)
        batch = batch->next;
    return batch;
}

/* Takes out the batch that follows `before`; NULL: the first. */
static struct forward_batch *take_behind(struct forwarding *forwarding,
                                         struct forward_batch *before)
{
    struct forward_batch *batch = before != NULL ? before->next : forwarding->first;
    if (before != NULL)
        before->next = batch->next;
    else
        forwarding->first = batch->next;
    if (forwarding->last == batch)
        forwarding->last = before;
    forwarding->batches_of_writes -= batch->writes;
    return batch;
}

static struct forward_batch *take_call(struct forwarding *forwarding, u64 call)
{
    struct forward_batch *before = NULL;
    for (struct forward_batch *batch = forwarding->first; batch != NULL; batch = batch->next) {
        if (batch->call == call)
            return take_behind(forwarding, before);
        before = batch;
    }
    return NULL;
}

/* Moves the commands from this serial on out of the list, and behind `to`. */
static void split_commands(struct command_list *commands, u64 serial, struct command_list *to)
{
    struct command_list kept = {0};
    struct command *command;
    while ((command = command_list_take(commands)) != NULL)
        command_list_put(command->serial < serial ? &kept : to, command);
    *commands = kept;
}

/* The writes from this serial on were not executed, and will not be: they are to be sent again, in
 * their order, and nothing before them. */
static void take_back_writes(struct forwarding *forwarding, u64 serial, struct command_list *again)
{
    struct command_list back = {0};
    struct forward_batch *before = NULL;
    struct forward_batch *next;
    for (struct forward_batch *batch = forwarding->first; batch != NULL; batch = next) {
        next = batch->next;
        if (batch->writes)
            split_commands(&batch->commands, serial, &back);
        if (batch->writes && batch->commands.first == NULL) {
            memory_free(take_behind(forwarding, before));
            continue;
        }
        if (batch->writes)
            forwarding->newest_write = batch->commands.last->serial;
        before = batch;
    }
    command_list_merge(again, &back);
    command_list_merge(again, &forwarding->writes);
    begin_attempt(forwarding);
}

/* Ends a batch whose commands may or may not have been executed. */
static void lose_batch(struct forward_batch *batch, const struct forwarding_outcome *outcome)
{
    struct command_list reads = {0};
    struct command *command;
    while ((command = command_list_take(&batch->commands)) != NULL) {
        if (command->class == COMMAND_WRITE)
            outcome->fail(outcome->context, command, COMMAND_UNKNOWN_OUTCOME);
        else
            command_list_put(&reads, command);
    }
    command_list_merge(outcome->again, &reads);
    memory_free(batch);
}

/* Hands out the answers of one reply. Returns false when they are not those that come next. */
static bool answer_batch(struct forward_batch *batch, const struct message *reply,
                         const struct forwarding_outcome *outcome)
{
    if (reply->as.forward_reply.first != batch->answered || reply->span_count != 1)
        return false;
    const u8 *at = reply->spans[0].data;
    size_t left = reply->spans[0].size;
    for (u32 i = 0; i < reply->as.forward_reply.count; i++) {
        if (batch->commands.first == NULL || left < ANSWER_HEADER_SIZE ||
            load_u32(at) > left - ANSWER_HEADER_SIZE)
            return false;
        u32 size = load_u32(at);
        outcome->answer(outcome->context, command_list_take(&batch->commands),
                        at + ANSWER_HEADER_SIZE, size);
        batch->answered++;
        at += ANSWER_HEADER_SIZE + size;
        left -= ANSWER_HEADER_SIZE + size;
    }
    return reply->as.forward_reply.count > 0;
}

/* The leader has not executed what it refuses, and says so of what else it has not and will not. */
static void refused_batch(struct forwarding *forwarding, struct forward_batch *batch,
                          const struct forward_reply *reply, struct command_list *again)
{
    bool of_this_attempt = batch->attempt == forwarding->taker->attempt;
    u64 from = reply->refused_from;
    if (batch->writes) {
        take_back_writes(forwarding, from != 0 ? from : batch->commands.first->serial, again);
        return;
    }
    (void)take_call(forwarding, batch->call);
    command_list_merge(again, &batch->commands);
    memory_free(batch);
    if (from != 0 && of_this_attempt)
        take_back_writes(forwarding, from, again);
}

bool forwarding_replied(struct forwarding *forwarding, const struct message *reply,
                        const struct forwarding_outcome *outcome)
{
    struct forward_batch *batch = find_call(forwarding, reply->call);
    if (batch == NULL)
        return false;
    switch (reply->as.forward_reply.result) {
    case FORWARD_DONE:
        if (answer_batch(batch, reply, outcome) && batch->commands.first != NULL)
            return true; /* the rest is on its way */
        lose_batch(take_call(forwarding, reply->call), outcome);
        return true;
    case FORWARD_NOT_LEADER:
        refused_batch(forwarding, batch, &reply->as.forward_reply, outcome->again);
        return true;
    }
    UNREACHABLE();
}

void forwarding_unsent(struct forwarding *forwarding, u64 call,
                       const struct forwarding_outcome *outcome)
{
    static const struct forward_reply nothing_known;
    struct forward_batch *batch = find_call(forwarding, call);
    if (batch != NULL)
        refused_batch(forwarding, batch, &nothing_known, outcome->again);
}

void forwarding_expire(struct forwarding *forwarding, u64 now_ns,
                       const struct forwarding_outcome *outcome)
{
    /* Deadlines rise from batch to batch. */
    while (forwarding->first != NULL && forwarding->first->deadline_ns <= now_ns) {
        struct forward_batch *batch = take_behind(forwarding, NULL);
        struct command *command;
        while ((command = command_list_take(&batch->commands)) != NULL)
            outcome->fail(outcome->context, command,
                          command->class == COMMAND_WRITE ? COMMAND_UNKNOWN_OUTCOME
                                                          : COMMAND_LEADER_LOST);
        if (batch->writes)
            begin_attempt(forwarding); /* should it still arrive, it arrives too late */
        memory_free(batch);
    }
}

u64 forwarding_deadline_ns(const struct forwarding *forwarding)
{
    u64 until_ns = forwarding->closed_until_ns != 0 ? forwarding->closed_until_ns : UINT64_MAX;
    return forwarding->first != NULL ? u64_min(forwarding->first->deadline_ns, until_ns) : until_ns;
}

void forwarding_close(struct forwarding *forwarding, const struct raft *raft, u64 now_ns)
{
    if (forwarding->closed_until_ns == 0)
        forwarding->closed_until_ns = now_ns + raft->election_timeout_ns_min / CLOSED_PART;
}

void forwarding_wait_no_longer(struct forwarding *forwarding, u64 now_ns)
{
    if (forwarding->closed_until_ns != 0)
        forwarding->closed_until_ns = u64_min(forwarding->closed_until_ns, now_ns);
}

bool forwarding_is_closed(const struct forwarding *forwarding)
{
    return forwarding->closed_until_ns != 0;
}

bool forwarding_settle(struct forwarding *forwarding, u64 heard_ns)
{
    bool closed = forwarding->closed_until_ns != 0;
    if (!closed || (forwarding->first != NULL && heard_ns < forwarding->closed_until_ns))
        return false;
    forwarding->closed_until_ns = 0;
    return true;
}

void forwarding_lost(struct forwarding *forwarding, const struct forwarding_outcome *outcome)
{
    while (forwarding->first != NULL)
        lose_batch(take_behind(forwarding, NULL), outcome);
    forwarding_take_back(forwarding, outcome->again); /* these were never in a message */
    begin_attempt(forwarding);
    forwarding->closed_until_ns = 0;
}

/* ---- at the leader ---- */

/* Gathers the answers to one FORWARD. Each of its commands has the batch as its sink, and its own
 * number as the slot. */
struct unpacked_batch {
    struct command_sink sink;
    struct raft *raft;
    struct outbox *outbox;
    server_id from;
    u64 call;
    u64 bytes_max; /* of a reply's payload */
    u32 count;     /* of commands whose answers are sent: less when the others were given back */
    u32 missing;   /* commands that nobody has answered or given back yet */
    u32 sent;      /* answers that have left */
    u32 ready;     /* answers up to the first that is missing; >= sent */
    size_t ready_size;       /* encoded, of those from sent up to ready */
    struct buffer answers[]; /* data is NULL until there is one */
};

/* Sends the answers that are ready. */
static void send_ready(struct unpacked_batch *batch)
{
    struct block *block = block_create((u32)batch->ready_size);
    u8 *to = block->data;
    for (u32 i = batch->sent; i < batch->ready; i++) {
        struct buffer *answer = &batch->answers[i];
        store_u32(to, (u32)answer->size);
        if (answer->size > 0)
            memcpy(to + ANSWER_HEADER_SIZE, answer->data, answer->size);
        to += ANSWER_HEADER_SIZE + answer->size;
        buffer_deinit(answer);
    }
    struct message request = {.call = batch->call};
    struct message reply;
    raft_message(batch->raft, MESSAGE_FORWARD_REPLY, batch->from, &request, &reply);
    reply.as.forward_reply = (struct forward_reply){
        .result = FORWARD_DONE, .count = batch->ready - batch->sent, .first = batch->sent};
    reply.spans[0] = (struct span){block, block->data, (u32)batch->ready_size};
    reply.span_count = 1;
    outbox_put_early(batch->outbox, &reply);
    batch->sent = batch->ready;
    batch->ready_size = 0;
}

/* Answers whose turn it is are sent whenever they fill a good part of a message, so that many large
 * ones do not gather in memory, and when there are no more to wait for. */
static void send_answers(struct unpacked_batch *batch)
{
    while (batch->ready < batch->count && batch->answers[batch->ready].data != NULL) {
        size_t more = ANSWER_HEADER_SIZE + batch->answers[batch->ready].size;
        if (batch->ready > batch->sent && batch->ready_size + more > batch->bytes_max)
            send_ready(batch);
        batch->ready++;
        batch->ready_size += more;
        if (batch->ready_size >= SENT_AT_ONCE)
            send_ready(batch);
    }
    if (batch->ready == batch->count && batch->ready > batch->sent)
        send_ready(batch);
}

/* Ends with the last of its commands. */
static void batch_done_with(struct unpacked_batch *batch, struct command *command)
{
    command_destroy(command);
    if (--batch->missing > 0)
        return;
    for (u32 i = 0; i < batch->count; i++)
        buffer_deinit(&batch->answers[i]);
    memory_free(batch);
}

static void keep_answer(struct unpacked_batch *batch, u64 slot, const void *answer, size_t size)
{
    buffer_append(&batch->answers[slot], answer, size);
    (void)buffer_reserve(&batch->answers[slot], 1); /* an empty answer is one, too */
}

static void batch_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                         size_t size)
{
    static const char too_large[] = "-ERR the command was executed, but its answer is too large to "
                                    "be forwarded: ask the leader "
                                    "itself\r\n";
    struct unpacked_batch *batch = CONTAINER_OF(sink, struct unpacked_batch, sink);
    if (command->slot < batch->count) { /* else its taker sends it again */
        if (size + ANSWER_HEADER_SIZE > batch->bytes_max)
            keep_answer(batch, command->slot, too_large, sizeof(too_large) - 1);
        else
            keep_answer(batch, command->slot, answer, size);
        send_answers(batch);
    }
    batch_done_with(batch, command);
}

static void batch_redirect(struct command_sink *sink, struct command *command, server_id leader)
{
    (void)sink;
    (void)leader;
    /* Forwarded commands do not ask for redirects, and the leader has nowhere to send them. */
    command_fail(command, COMMAND_LEADER_LOST);
}

/* From this command on all of the FORWARD is refused: its sender takes it back. What of it is
 * answered nevertheless is a refusal, or a read: it may be asked again. */
static void refuse_rest(struct unpacked_batch *batch, const struct command *command)
{
    struct message request = {.kind = MESSAGE_FORWARD, .from = batch->from, .call = batch->call};
    struct message refusal;
    for (u64 i = command->slot; i < batch->count; i++)
        buffer_deinit(&batch->answers[i]);
    batch->count = (u32)command->slot;
    raft_message(batch->raft, MESSAGE_FORWARD_REPLY, batch->from, &request, &refusal);
    refusal.as.forward_reply = (struct forward_reply){
        .result = FORWARD_NOT_LEADER,
        .refused_from = command->class == COMMAND_WRITE ? command->serial : 0};
    outbox_put_early(batch->outbox, &refusal);
}

/* Commands are given back when they were held while leadership was handed over, the oldest first.
 * All of a FORWARD of reads goes back with one of them. */
static void batch_give_back(struct command_sink *sink, struct command *command)
{
    struct unpacked_batch *batch = CONTAINER_OF(sink, struct unpacked_batch, sink);
    if (command->slot < batch->count) {
        if (command->class != COMMAND_WRITE)
            command->slot = 0;
        refuse_rest(batch, command);
        send_answers(batch);
    }
    batch_done_with(batch, command);
}

static void batch_flush(struct command_sink *sink)
{
    (void)sink; /* The reply left for the outbox with the last answer. */
}

static const struct command_sink_ops batch_ops = {batch_answer, batch_redirect, batch_flush,
                                                  batch_give_back};

/* The size of the encoded command at `at`, 0 when there is none. */
static size_t encoded_size(const u8 *at, size_t left)
{
    if (left < COMMAND_HEADER_SIZE)
        return 0;
    u32 size = load_u32(at + 4);
    if (size > left - COMMAND_HEADER_SIZE || (at[0] != CLASS_WRITE && at[0] != CLASS_READ))
        return 0;
    /* What a newer version means by other bits must not be lost on the way. */
    if ((at[1] & ~FLAG_AFTER_WRITE) != 0 || load_u16(at + 2) != 0)
        return 0;
    return COMMAND_HEADER_SIZE + (size_t)size;
}

bool forward_is_sound(const struct message *request)
{
    u32 count = request->as.forward_request.count;
    bool numbered = request->as.forward_request.attempt != 0;
    u8 class = request->as.forward_request.first_write != 0 ? CLASS_WRITE : CLASS_READ;
    if (request->span_count != 1 || count == 0)
        return false;
    const u8 *at = request->spans[0].data;
    size_t left = request->spans[0].size;
    for (u32 i = 0; i < count; i++) {
        size_t size = encoded_size(at, left);
        if (size == 0 || (numbered && at[0] != class))
            return false;
        at += size;
        left -= size;
    }
    return left == 0;
}

static struct command *unpack_command(const u8 *at, size_t size, struct block *block,
                                      struct command_sink *sink)
{
    struct span body = span_of(block, at + COMMAND_HEADER_SIZE, (u32)(size - COMMAND_HEADER_SIZE));
    struct command *command =
        command_create(at[0] == CLASS_WRITE ? COMMAND_WRITE : COMMAND_READ, body, sink);
    command->after_write = (at[1] & FLAG_AFTER_WRITE) != 0;
    command->forwarded = true;
    return command;
}

bool forward_unpack(struct raft *raft, const struct message *request, u64 now_ns, u64 bytes_max,
                    struct outbox *outbox, struct command_list *commands)
{
    if (!forward_is_sound(request))
        return false;
    u32 count = request->as.forward_request.count;
    u64 first_write = request->as.forward_request.first_write;
    struct unpacked_batch *batch =
        memory_alloc_zero(1, sizeof(*batch) + count * sizeof(batch->answers[0]));
    *batch = (struct unpacked_batch){.sink = {&batch_ops},
                                     .raft = raft,
                                     .outbox = outbox,
                                     .from = request->from,
                                     .call = request->call,
                                     .bytes_max = bytes_max,
                                     .count = count,
                                     .missing = count};
    const struct span *span = &request->spans[0];
    size_t offset = 0;
    for (u32 i = 0; i < count; i++) {
        const u8 *at = span->data + offset;
        size_t size = encoded_size(at, span->size - offset);
        struct command *command = unpack_command(at, size, span->block, &batch->sink);
        command->slot = i;
        command->taker = request->from;
        command->serial = first_write != 0 ? first_write + i : 0;
        command->arrived_ns = now_ns;
        offset += size;
        command_list_put(commands, command);
    }
    return true;
}
