/* speak.c - frames going out. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/memory.h"
#include "server/peers/codec.h"
#include "server/server.h"
#include "tools/raftpipe/pipe.h"
#include "tools/raftpipe/state.h"

static void write_all(const u8 *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(STDOUT_FILENO, data, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0) {
            static const char words[] = "raftpipe: standard output: nobody reads it any more\n";
            check_last_words(words, sizeof(words) - 1);
            _exit(74);
        }
        data += written;
        size -= (size_t)written;
    }
}

void pipe_say(struct pipe *pipe, char type, const struct iovec *pieces, int count)
{
    struct buffer frame;
    buffer_init(&frame);
    (void)buffer_reserve(&frame, 5);
    frame.size = 5;
    for (int i = 0; i < count; i++)
        buffer_append(&frame, pieces[i].iov_base, pieces[i].iov_len);
    store_u32(frame.data, (u32)frame.size - 4);
    frame.data[4] = (u8)type;
    mutex_lock(&pipe->out_lock);
    write_all(frame.data, frame.size);
    mutex_unlock(&pipe->out_lock);
    buffer_deinit(&frame);
}

/* ---- messages ---- */

void pipe_note_request(struct pipe *pipe, server_id from, u64 call, u32 request_id)
{
    struct pipe_request *request = memory_alloc(sizeof(*request));
    *request = (struct pipe_request){.from = from, .call = call, .request_id = request_id};
    mutex_lock(&pipe->lock);
    if (pipe->requests_last != NULL)
        pipe->requests_last->next = request;
    else
        pipe->requests = request;
    pipe->requests_last = request;
    mutex_unlock(&pipe->lock);
}

/* Takes out the oldest request that this reply is for. */
static bool take_request(struct pipe *pipe, const struct message *reply, u32 *request_id)
{
    mutex_lock(&pipe->lock);
    struct pipe_request *before = NULL;
    struct pipe_request *request = pipe->requests;
    while (request != NULL && (request->from != reply->to || request->call != reply->call)) {
        before = request;
        request = request->next;
    }
    if (request != NULL) {
        *request_id = request->request_id;
        if (before != NULL)
            before->next = request->next;
        else
            pipe->requests = request->next;
        if (pipe->requests_last == request)
            pipe->requests_last = before;
    }
    mutex_unlock(&pipe->lock);
    memory_free(request);
    return request != NULL;
}

void pipe_answer_nothing(struct pipe *pipe, u32 request_id)
{
    u8 id[4];
    store_u32(id, request_id);
    struct iovec piece = {id, sizeof(id)};
    pipe_say(pipe, 'r', &piece, 1);
}

static bool send_message(struct transport *transport, struct message *message)
{
    struct pipe *pipe = CONTAINER_OF(transport, struct pipe, transport);
    bool is_reply = message_is_reply(message->kind);
    u32 number = message->to - 1;
    /* A reply to a request that was answered before: Raft needs no second one. */
    if (is_reply && !take_request(pipe, message, &number)) {
        message_release(message);
        return true;
    }
    u8 prefix[4];
    struct frame_head head;
    struct iovec pieces[MESSAGE_SPANS_MAX + 2];
    int count = 0;
    store_u32(prefix, number);
    message_encode(message, &head);
    pieces[count++] = (struct iovec){prefix, sizeof(prefix)};
    pieces[count++] = (struct iovec){head.bytes, head.size};
    for (u32 i = 0; i < message->span_count; i++)
        pieces[count++] =
            (struct iovec){(void *)(uintptr_t)message->spans[i].data, message->spans[i].size};
    pipe_say(pipe, is_reply ? 'r' : 'Q', pieces, count);
    message_release(message);
    return true;
}

static const struct transport_ops transport_ops = {.send = send_message};

/* ---- proposals ---- */

static void say_position(struct pipe *pipe, u32 id, u64 index, u64 term, bool is_leader)
{
    u8 payload[21];
    store_u32(payload, id);
    store_u64(payload + 4, index);
    store_u64(payload + 12, term);
    payload[20] = is_leader;
    struct iovec piece = {payload, sizeof(payload)};
    pipe_say(pipe, 's', &piece, 1);
}

static struct pipe_proposal *proposal_create(struct pipe *pipe, u32 id)
{
    struct pipe_proposal *proposal = memory_alloc_zero(1, sizeof(*proposal));
    proposal->id = id;
    mutex_lock(&pipe->lock);
    proposal->serial = ++pipe->serial;
    proposal->next = pipe->proposals;
    pipe->proposals = proposal;
    mutex_unlock(&pipe->lock);
    return proposal;
}

/* Says where it stands, unless that was said. Thread: the server's. */
static void answer(struct pipe *pipe, struct pipe_proposal *proposal, u64 index, bool is_leader)
{
    if (!proposal->answered)
        say_position(pipe, proposal->id, index, pipe->server->raft.current_term, is_leader);
    proposal->answered = true;
}

static void proposal_end(struct pipe *pipe, struct pipe_proposal *proposal)
{
    mutex_lock(&pipe->lock);
    struct pipe_proposal **at = &pipe->proposals;
    while (*at != proposal)
        at = &(*at)->next;
    *at = proposal->next;
    mutex_unlock(&pipe->lock);
    memory_free(proposal);
}

static void post_command(struct pipe *pipe, enum command_class class, struct span body,
                         struct pipe_proposal *proposal)
{
    struct command *command = command_create(class, body, &pipe->sink);
    command->owner = proposal;
    command->may_redirect = true;
    struct mail *mail = mail_create(MAIL_COMMANDS);
    command_list_put(&mail->as.commands, command);
    (void)mail_post(server_slot(pipe->server), mail);
}

void pipe_propose(struct pipe *pipe, u32 id, const u8 *data, u32 size)
{
    struct pipe_proposal *proposal = proposal_create(pipe, id);
    struct block *block = block_create(PIPE_TAG_SIZE + size);
    store_u64(block->data, pipe->nonce);
    store_u64(block->data + 8, proposal->serial);
    if (size > 0)
        memcpy(block->data + PIPE_TAG_SIZE, data, size);
    struct span body = span_of(block, block->data, block->size);
    block_release(block);
    post_command(pipe, COMMAND_WRITE, body, proposal);
}

void pipe_ask(struct pipe *pipe, u32 id)
{
    post_command(pipe, COMMAND_STATUS, (struct span){0}, proposal_create(pipe, id));
}

/* The server's word on a command: its state as text, an answer of the machine, or a refusal. */
static void sink_answer(struct command_sink *sink, struct command *command, const u8 *data,
                        size_t size)
{
    (void)data;
    (void)size;
    struct pipe *pipe = CONTAINER_OF(sink, struct pipe, sink);
    struct pipe_proposal *proposal = command->owner;
    bool asks = command->class == COMMAND_STATUS;
    answer(pipe, proposal, 0, asks && pipe->server->state == RAFT_LEADER);
    proposal_end(pipe, proposal);
    command_destroy(command);
}

static void sink_redirect(struct command_sink *sink, struct command *command, server_id leader)
{
    (void)leader;
    sink_answer(sink, command, NULL, 0);
}

static void sink_flush(struct command_sink *sink)
{
    (void)sink;
}

static const struct command_sink_ops sink_ops = {
    .answer = sink_answer, .redirect = sink_redirect, .flush = sink_flush};

/* The leader has appended an entry: if it is a command of this life, say where it stands. */
static void appended(struct pipe *pipe, u64 index)
{
    struct entry entry = log_entry(&pipe->server->raft.log, index);
    if (entry.type != ENTRY_COMMAND || entry.payload_size < PIPE_TAG_SIZE ||
        load_u64(entry.payload) != pipe->nonce)
        return;
    u64 serial = load_u64(entry.payload + 8);
    mutex_lock(&pipe->lock);
    struct pipe_proposal *proposal = pipe->proposals;
    while (proposal != NULL && proposal->serial != serial)
        proposal = proposal->next;
    mutex_unlock(&pipe->lock);
    if (proposal != NULL) /* ended by this very thread alone */
        answer(pipe, proposal, index, true);
}

/* The server's event trace, of which one event matters. */
static void trace_event(void *context, const char *line, size_t size)
{
    static const char wanted[] = "{\"name\":\"Replicate\"";
    static const char key[] = "\"index\":";
    if (size < sizeof(wanted) || memcmp(line, wanted, sizeof(wanted) - 1) != 0)
        return;
    const char *at = line + size - 1;
    while (at > line && memcmp(at, key, sizeof(key) - 1) != 0)
        at--;
    appended(context, strtoull(at + sizeof(key) - 1, NULL, 10));
}

/* ---- the application ---- */

struct pipe_machine {
    struct machine machine;
    struct pipe *pipe;
    u64 applied;
    struct buffer snapshot; /* what it was made from */
};

static void machine_apply(struct machine *machine, const struct machine_context *context,
                          const u8 *command, size_t size, struct buffer *to)
{
    struct pipe_machine *self = CONTAINER_OF(machine, struct pipe_machine, machine);
    u8 index[8];
    store_u64(index, context->id.index);
    ASSERT(size >= PIPE_TAG_SIZE);
    struct iovec pieces[] = {{index, sizeof(index)},
                             {(void *)(uintptr_t)(command + PIPE_TAG_SIZE), size - PIPE_TAG_SIZE}};
    self->applied = context->id.index;
    atomic_store(&self->pipe->applied, context->id.index);
    pipe_say(self->pipe, 'A', pieces, 2);
    if (to != NULL)
        buffer_append_string(to, "+OK\r\n");
}

static void machine_read(struct machine *machine, const u8 *command, size_t size, struct buffer *to)
{
    (void)machine;
    (void)command;
    (void)size;
    buffer_append_string(to, "-ERR nothing can be read through a pipe\r\n");
}

static u64 machine_digest(const struct machine *machine)
{
    const struct pipe_machine *self =
        (const struct pipe_machine *)(const void *)((const char *)machine -
                                                    offsetof(struct pipe_machine, machine));
    return self->applied;
}

static void machine_destroy(struct machine *machine)
{
    struct pipe_machine *self = CONTAINER_OF(machine, struct pipe_machine, machine);
    buffer_deinit(&self->snapshot);
    memory_free(self);
}

static bool machine_restore(struct machine *machine, const u8 *data, size_t size)
{
    struct pipe_machine *self = CONTAINER_OF(machine, struct pipe_machine, machine);
    buffer_append(&self->snapshot, data, size);
    return true;
}

static bool machine_restore_end(struct machine *machine)
{
    (void)machine;
    return true;
}

static struct machine *machine_create_empty(const struct machine *machine)
{
    const struct pipe_machine *self =
        (const struct pipe_machine *)(const void *)((const char *)machine -
                                                    offsetof(struct pipe_machine, machine));
    return pipe_machine_create(self->pipe);
}

/* A leader's snapshot has been installed: the rules have noted it. Thread: the server's. */
static void machine_replace(struct machine *machine, struct machine *old)
{
    struct pipe_machine *self = CONTAINER_OF(machine, struct pipe_machine, machine);
    struct pipe *pipe = self->pipe;
    struct entry_id last = pipe->server->raft.snapshot.last;
    ASSERT(last.index == pipe->server->raft.last_applied);
    self->applied = last.index;
    u8 position[16];
    pipe_store_offer(pipe->storage, last, self->snapshot.data, (u32)self->snapshot.size);
    store_u64(position, last.index);
    store_u64(position + 8, last.term);
    struct iovec pieces[] = {{position, sizeof(position)},
                             {self->snapshot.data, self->snapshot.size}};
    atomic_store(&pipe->applied, last.index);
    pipe_say(pipe, 'a', pieces, 2);
    buffer_deinit(&self->snapshot);
    buffer_init(&self->snapshot);
    machine_destroy(old);
}

static const struct machine_ops machine_ops = {.apply = machine_apply,
                                               .read = machine_read,
                                               .digest = machine_digest,
                                               .destroy = machine_destroy,
                                               .restore = machine_restore,
                                               .restore_end = machine_restore_end,
                                               .create_empty = machine_create_empty,
                                               .replace = machine_replace};

struct machine *pipe_machine_create(struct pipe *pipe)
{
    struct pipe_machine *self = memory_alloc_zero(1, sizeof(*self));
    self->machine.ops = &machine_ops;
    self->pipe = pipe;
    buffer_init(&self->snapshot);
    return &self->machine;
}

/* ---- life ---- */

void pipe_speak_init(struct pipe *pipe)
{
    mutex_init(&pipe->lock);
    mutex_init(&pipe->out_lock);
    pipe->transport.ops = &transport_ops;
    pipe->sink.ops = &sink_ops;
    pipe->trace = (struct trace){.write = trace_event, .context = pipe};
}

void pipe_speak_deinit(struct pipe *pipe)
{
    while (pipe->requests != NULL) {
        struct pipe_request *request = pipe->requests;
        pipe->requests = request->next;
        memory_free(request);
    }
    ASSERT(pipe->proposals == NULL); /* the server has answered all */
    mutex_deinit(&pipe->lock);
    mutex_deinit(&pipe->out_lock);
}
