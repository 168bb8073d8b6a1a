/* fuzz_pipe.c - what a process may write to raftpipe (tools/raftpipe/input.h). Of an input the
 * first byte says whether it was started with --no-noop; the rest is its standard input. */
#include "tools/raftpipe/input.h"

#include "server/peers/codec.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/fuzz_frame.h"

enum { LENGTH_SIZE = 4, HEAD_SIZE = 5 };

struct stream {
    const u8 *data;
    size_t size;
    size_t at;
};

static size_t read_stream(void *context, void *to, size_t size)
{
    struct stream *stream = context;
    size_t got = size < stream->size - stream->at ? size : stream->size - stream->at;
    if (got > 0)
        memcpy(to, stream->data + stream->at, got);
    stream->at += got;
    return got;
}

static void check_error(const struct error *error)
{
    ASSERT(error->code == ERROR_FORMAT);
    ASSERT(error->text[0] != '\0' && strchr(error->text, '\n') == NULL);
}

/* ---- what is taken for granted of an order ---- */

/* Written again it is the same, and what a server keeps in mind follows from it. */
static void check_state(const struct pipe_order *order, bool no_noop)
{
    struct pipe_state state;
    struct error error;
    u8 head[PIPE_STATE_HEAD_SIZE];
    if (order->state_size == 0) {
        ASSERT(order->snapshot_size == 0);
        return;
    }
    const u8 *data = order->state.records - PIPE_STATE_HEAD_SIZE;
    ASSERT(pipe_state_read(data, order->state_size, order->count, no_noop, &state, &error) ==
           ERROR_NONE);
    pipe_state_write_head(&state, head);
    ASSERT(memcmp(head, data, sizeof(head)) == 0);
    ASSERT(state.records_size == order->state_size - PIPE_STATE_HEAD_SIZE);
    ASSERT(state.current_term > 0 && state.current_term <= MESSAGE_NUMBER_MAX);
    ASSERT(state.voted_for <= order->count);
    ASSERT(order->snapshot_size == 0 || state.base.index > 0);
    struct entry_id last = state.base;
    u32 count = 0;
    for (u32 at = 0; at < state.records_size; count++) {
        struct entry entry;
        u32 size = record_decode(state.records + at, state.records_size - at, &entry);
        ASSERT(size > 0 && entry.id.index == last.index + 1);
        ASSERT(entry.id.term >= last.term && entry.id.term <= state.current_term);
        ASSERT(entry.type != ENTRY_COMMAND || entry.payload_size >= PIPE_TAG_SIZE);
        ASSERT(no_noop ? entry.type == ENTRY_COMMAND
                       : entry.id.index > 1 || entry.type == ENTRY_CONFIGURATION);
        last = entry.id;
        at += size;
    }
    ASSERT(count == state.count && (no_noop || last.index > 0));
}

static void check_message(const struct pipe_order *order, server_id self)
{
    const struct message *message = &order->message;
    ASSERT(message->from == order->from && message->to == self);
    ASSERT(message_is_reply(message->kind) == (order->type == 'P'));
    ASSERT(message->kind != MESSAGE_FORWARD && message->kind != MESSAGE_FORWARD_REPLY);
    if (message->kind != MESSAGE_APPEND_ENTRIES)
        return;
    for (u32 i = 0; i < message->as.append_request.count; i++)
        ASSERT(message->span_count == 1);
    for (u32 at = 0; message->span_count > 0 && at < message->spans[0].size;) {
        struct entry entry;
        at += record_peek(message->spans[0].data + at, &entry);
        ASSERT(entry.type != ENTRY_COMMAND || entry.payload_size >= PIPE_TAG_SIZE);
    }
}

/* Each byte of the payload is in one field. */
static void check_order(const struct pipe_frame *frame, const struct pipe_order *order,
                        server_id self, u32 count, bool no_noop)
{
    size_t fields = 0;
    switch (order->type) {
    case 'I':
        ASSERT(self == SERVER_NONE && order->self >= 1 && order->self <= order->count);
        ASSERT(order->count <= PIPE_SERVERS_MAX);
        fields = 4 * sizeof(u32) + order->state_size + order->snapshot_size;
        check_state(order, no_noop);
        break;
    case 'R':
    case 'P':
        ASSERT(order->from >= 1 && order->from <= count && order->from != self);
        ASSERT(order->has_message || order->type == 'P');
        fields = frame->size;
        if (order->has_message)
            check_message(order, self);
        break;
    case 'S':
        fields = sizeof(u32) + order->size;
        break;
    case 'G':
        fields = sizeof(u32);
        break;
    case 'N':
        fields = sizeof(u64) + order->size;
        break;
    default:
        UNREACHABLE();
    }
    ASSERT(fields == frame->size && (order->has_message || self == SERVER_NONE || self <= count));
}

/* ---- as raftpipe reads ---- */

/* The frame is what stands in the input at `at`. Returns where the next one begins. */
static size_t check_frame(const struct stream *stream, size_t at, const struct pipe_frame *frame)
{
    ASSERT(stream->size - at >= HEAD_SIZE);
    ASSERT(load_u32(stream->data + at) == frame->size + 1);
    ASSERT(stream->data[at + LENGTH_SIZE] == frame->type);
    ASSERT(stream->size - at - HEAD_SIZE >= frame->size);
    ASSERT(frame->size == 0 ||
           memcmp(frame->data, stream->data + at + HEAD_SIZE, frame->size) == 0);
    return at + HEAD_SIZE + frame->size;
}

static void run(const u8 *data, size_t size)
{
    bool no_noop = (fuzz_take_byte(&data, &size) & 1) != 0;
    struct stream stream = {.data = data, .size = size};
    struct pipe_source source = {.read = read_stream, .context = &stream};
    struct pipe_frame frame = {0};
    struct error error = {0};
    server_id self = SERVER_NONE;
    u32 count = 0;
    size_t at = 0;
    bool any = true;
    while (pipe_frame_read(&source, &frame, &any, &error) == ERROR_NONE && any) {
        struct pipe_order order;
        at = check_frame(&stream, at, &frame);
        if (pipe_order_read(&frame, self, count, no_noop, &order, &error) != ERROR_NONE)
            break;
        check_order(&frame, &order, self, count, no_noop);
        if (order.type == 'I') {
            self = order.self;
            count = order.count;
        }
        if (order.has_message)
            message_release(&order.message);
    }
    if (error.code != ERROR_NONE)
        check_error(&error);
    else
        ASSERT(!any && at == stream.size);
    pipe_frame_deinit(&frame);
}

/* ---- checksums ---- */

static void repair_payload(u8 type, u8 *data, size_t size, u32 choice)
{
    enum { AT_STATE_SIZE = 8, AT_STATE = 12, AT_MESSAGE_R = 8, AT_MESSAGE_P = 4 };
    size_t at = type == 'R' ? AT_MESSAGE_R : AT_MESSAGE_P;
    if ((type == 'R' || type == 'P') && size > at)
        (void)fuzz_frame_repair(data + at, size - at, size - at, choice);
    if (type != 'I' || size < AT_STATE + PIPE_STATE_HEAD_SIZE)
        return;
    size_t state_size = load_u32(data + AT_STATE_SIZE);
    if (state_size > PIPE_STATE_HEAD_SIZE && state_size <= size - AT_STATE)
        fuzz_repair_records(data + AT_STATE + PIPE_STATE_HEAD_SIZE,
                            state_size - PIPE_STATE_HEAD_SIZE);
}

/* A length that leads beyond the end becomes that of the last frame, most of the time. */
static size_t repair(u8 *data, size_t size, size_t capacity, u32 choice)
{
    (void)capacity;
    for (size_t at = 1; size - at >= HEAD_SIZE && size > at;) {
        size_t left = size - at - LENGTH_SIZE;
        size_t length = load_u32(data + at);
        if ((length == 0 || length > left) && choice % 8 == 7)
            break;
        if (length == 0 || length > left)
            length = left;
        store_u32(data + at, (u32)length);
        repair_payload(data[at + LENGTH_SIZE], data + at + HEAD_SIZE, length - 1, choice / 8);
        at += LENGTH_SIZE + length;
    }
    return size;
}

const struct fuzz_target fuzz_pipe = {.name = "pipe",
                                      .input_max = 4096,
                                      .run = run,
                                      .repair = repair,
                                      .memory_base = 16 * 1024,
                                      .memory_each = 8};
