/* input.c - see input.h. */
#include "tools/raftpipe/input.h"

#include "common/memory.h"
#include "server/peers/codec.h"

enum {
    HEAD_SIZE = 5,
    AT_TYPE = 4,
    FIRST_PIECE = 4096,
    CAPACITY_KEPT = 1024 * 1024 /* from one frame to the next */
};

/* ---- frames ---- */

static enum error_code cut_short(struct error *error, const char *where)
{
    return error_set(error, ERROR_FORMAT, "the input ends within %s", where);
}

static void set_capacity(struct pipe_frame *frame, u32 capacity)
{
    frame->data = memory_resize(frame->data, capacity);
    frame->capacity = capacity;
}

/* Takes the payload in pieces that grow with it. */
static bool read_payload(const struct pipe_source *source, struct pipe_frame *frame, u32 size)
{
    if (frame->capacity == 0 || frame->capacity > CAPACITY_KEPT)
        set_capacity(frame, FIRST_PIECE);
    while (frame->size < size) {
        if (frame->size == frame->capacity)
            set_capacity(frame, frame->capacity * 2);
        u32 piece = (u32)u64_min(size - frame->size, frame->capacity - frame->size);
        size_t got = source->read(source->context, frame->data + frame->size, piece);
        frame->size += (u32)got;
        if (got < piece)
            return false;
    }
    return true;
}

enum error_code pipe_frame_read(const struct pipe_source *source, struct pipe_frame *frame,
                                bool *any, struct error *error)
{
    u8 head[HEAD_SIZE];
    size_t got = source->read(source->context, head, HEAD_SIZE);
    frame->number++;
    frame->type = 0;
    frame->size = 0;
    *any = got > 0;
    if (got == 0)
        return ERROR_NONE;
    if (got < HEAD_SIZE)
        return cut_short(error, "a frame's length and type");
    u32 length = load_u32(head);
    frame->type = head[AT_TYPE];
    if (length == 0 || length > PIPE_FRAME_BYTES_MAX)
        return error_set(error, ERROR_FORMAT, "a length of 0, or more than 256 MiB");
    return read_payload(source, frame, length - 1) ? ERROR_NONE : cut_short(error, "its payload");
}

void pipe_frame_deinit(struct pipe_frame *frame)
{
    memory_free(frame->data);
    *frame = (struct pipe_frame){0};
}

/* ---- fields ---- */

/* What is left of a payload. After a failure all that is taken is empty. */
struct fields {
    const u8 *at;
    u32 left;
    bool too_short;
};

static const u8 *take(struct fields *fields, u32 size)
{
    static const u8 nothing[8] = {0};
    if (fields->too_short || size > fields->left) {
        fields->too_short = true;
        fields->left = 0;
        return nothing;
    }
    const u8 *taken = fields->at;
    fields->at += size;
    fields->left -= size;
    return taken;
}

static u32 take_u32(struct fields *fields)
{
    return load_u32(take(fields, sizeof(u32)));
}

static const u8 *take_bytes(struct fields *fields, u32 *size)
{
    *size = take_u32(fields);
    const u8 *bytes = take(fields, *size);
    if (fields->too_short)
        *size = 0;
    return bytes;
}

static const u8 *take_rest(struct fields *fields, u32 *size)
{
    *size = fields->left;
    return take(fields, fields->left);
}

static enum error_code complain(struct error *error, const char *why)
{
    return error_set(error, ERROR_FORMAT, "%s", why);
}

/* All fields were there, and there is nothing behind them. */
static enum error_code at_end(const struct fields *fields, const char *behind, struct error *error)
{
    if (fields->too_short)
        return complain(error, "the payload is too short");
    return fields->left == 0 ? ERROR_NONE : complain(error, behind);
}

/* ---- messages ---- */

/* NULL when a server of a pipe may have sent it. */
static const char *fault_of(const struct message *message, const struct pipe_order *order,
                            server_id self)
{
    bool is_reply = message_is_reply(message->kind);
    if (message->from != order->from || message->to != self)
        return "the message is from or for another server";
    if (is_reply && order->type == 'R')
        return "the message is a reply: it belongs into a P frame";
    if (!is_reply && order->type == 'P')
        return "the message is a request: it belongs into an R frame";
    if (message->kind == MESSAGE_FORWARD || message->kind == MESSAGE_FORWARD_REPLY)
        return "no raftpipe forwards commands";
    if (message->kind == MESSAGE_APPEND_ENTRIES && message->span_count > 0 &&
        !pipe_commands_are_tagged(message->spans[0].data, message->spans[0].size))
        return "a command that no raftpipe has proposed";
    return NULL;
}

static enum error_code read_message(struct fields *fields, server_id self, struct pipe_order *order,
                                    struct error *error)
{
    u32 size;
    const u8 *data = take_rest(fields, &size);
    if (message_decode_copy(data, size, &order->message, error) != ERROR_NONE)
        return error->code;
    const char *fault = fault_of(&order->message, order, self);
    if (fault != NULL) {
        message_release(&order->message);
        return complain(error, fault);
    }
    order->has_message = true;
    return ERROR_NONE;
}

static enum error_code read_mail(struct fields *fields, server_id self, u32 count,
                                 struct pipe_order *order, struct error *error)
{
    u32 number = take_u32(fields);
    if (order->type == 'R')
        order->id = take_u32(fields);
    if (fields->too_short)
        return complain(error, "the payload is too short");
    if (number >= count || number + 1 == self)
        return complain(error, "from: no other server has that number");
    order->from = number + 1;
    if (order->type == 'P' && fields->left == 0)
        return ERROR_NONE; /* to a request that has no reply of Raft's own */
    return read_message(fields, self, order, error);
}

/* ---- orders ---- */

static enum error_code read_begin(struct fields *fields, bool no_noop, struct pipe_order *order,
                                  struct error *error)
{
    u32 me = take_u32(fields);
    order->count = take_u32(fields);
    const u8 *data = take_bytes(fields, &order->state_size);
    order->snapshot = take_bytes(fields, &order->snapshot_size);
    if (at_end(fields, "bytes behind the snapshot", error) != ERROR_NONE)
        return error->code;
    if (order->count == 0 || order->count > PIPE_SERVERS_MAX || me >= order->count)
        return complain(error, "me and count: 0 <= me < count <= 32 is expected");
    order->self = me + 1;
    if (order->state_size > 0 && pipe_state_read(data, order->state_size, order->count, no_noop,
                                                 &order->state, error) != ERROR_NONE)
        return error->code;
    if (order->state.base.index == 0 && order->snapshot_size > 0)
        return complain(error, "the state in the I frame knows of no snapshot, and there is one");
    return ERROR_NONE;
}

enum error_code pipe_order_read(const struct pipe_frame *frame, server_id self, u32 count,
                                bool no_noop, struct pipe_order *order, struct error *error)
{
    struct fields fields = {.at = frame->data, .left = frame->size};
    *order = (struct pipe_order){.type = frame->type};
    if (self == SERVER_NONE && frame->type != 'I')
        return complain(error, "the first frame must be an I");
    switch (frame->type) {
    case 'I':
        if (self != SERVER_NONE)
            return complain(error, "a second I frame");
        return read_begin(&fields, no_noop, order, error);
    case 'R':
    case 'P':
        return read_mail(&fields, self, count, order, error);
    case 'S':
        order->id = take_u32(&fields);
        order->data = take_rest(&fields, &order->size);
        return at_end(&fields, "", error);
    case 'G':
        order->id = take_u32(&fields);
        return at_end(&fields, "bytes behind the id", error);
    case 'N':
        order->index = load_u64(take(&fields, sizeof(u64)));
        order->data = take_rest(&fields, &order->size);
        return at_end(&fields, "", error);
    default:
        return complain(error, "no frame has this type");
    }
}
