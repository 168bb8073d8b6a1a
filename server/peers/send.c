/* send.c - the server thread's way to a peer, and the queue behind it.
 *
 * A message goes to the socket at once, straight from the spans it is in: one system call, nothing
 * copied, nobody woken. Only what the socket will not take is queued (the spans, not their bytes)
 * for the writer. A very large message, such as a piece of a snapshot, is queued at once: to copy
 * it is the writer's, in parts, since the server's thread may not wait for that. While anything is
 * queued everything else queues up behind it, so the order in
 * which messages are sent is the order in which they arrive. A frame of which a part went out is
 * completed before anything else, or the connection is closed. */
#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/memory.h"
#include "server/peers/peer.h"

enum {
    PAYLOAD_AT_ONCE_MAX = 512 * 1024,  /* more than that is the writer's */
    PART_MAX = 128 * 1024,             /* sent while the lock is held */
    SMALL_ANSWER_MAX = 64 * 1024,      /* an answer that may go beyond the queue's bound */
    ANSWERS_BEYOND = 32 * 1024 * 1024, /* so far, and a little further */
    ROOM_PARTS = 2,      /* there is room for reads' answers while so much of the queue is free, */
    ROOM_AGAIN_PARTS = 4 /* and, once there was none, when no more than so much is left in it */
};

/* Fills `pieces` with what is left of a frame of which `sent` bytes have gone, but with no more
 * than `most` bytes. Returns how many. */
static u32 frame_pieces(const struct frame_head *head, const struct span *spans, u32 span_count,
                        u32 sent, u32 most, struct iovec *pieces)
{
    u32 count = 0;
    u32 skip = sent;
    for (u32 i = 0; i <= span_count && most > 0; i++) {
        const u8 *data = i == 0 ? head->bytes : spans[i - 1].data;
        u32 size = i == 0 ? head->size : spans[i - 1].size;
        if (skip >= size) {
            skip -= size;
            continue;
        }
        /* sendmsg only reads what it is given, but its type does not say so. */
        u32 part = size - skip < most ? size - skip : most;
        pieces[count++] =
            (struct iovec){.iov_base = (void *)(uintptr_t)(data + skip), .iov_len = part};
        most -= part;
        skip = 0;
    }
    return count;
}

/* Sends what it can of a frame, and no more than `most` bytes. Returns the bytes taken, 0 when the
 * socket is full, or -1 when the connection is broken. */
static i64 frame_transmit(int socket, const struct frame_head *head, const struct span *spans,
                          u32 span_count, u32 sent, u32 most)
{
    struct iovec pieces[1 + MESSAGE_SPANS_MAX];
    struct msghdr msg = {.msg_iov = pieces};
    msg.msg_iovlen = frame_pieces(head, spans, span_count, sent, most, pieces);
    ssize_t taken;
    do {
        taken = sendmsg(socket, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (taken < 0 && errno == EINTR);
    if (taken >= 0)
        return taken;
    return errno == EAGAIN || errno == ENOBUFS ? 0 : -1;
}

static u64 frame_out_weight(const struct frame_out *frame)
{
    return frame->size + sizeof(*frame) + frame->span_count * sizeof(frame->spans[0]);
}

/* Puts a frame under the queue, with the message's spans. */
static void queue_put_locked(struct peer *peer, struct message *message,
                             const struct frame_head *head, u32 size, u32 sent)
{
    struct frame_out *frame =
        memory_alloc(sizeof(*frame) + message->span_count * sizeof(frame->spans[0]));
    frame->next = NULL;
    frame->size = size;
    frame->sent = sent;
    frame->span_count = message->span_count;
    frame->head.size = head->size;
    memcpy(frame->head.bytes, head->bytes, head->size);
    memcpy(frame->spans, message->spans, message->span_count * sizeof(frame->spans[0]));
    message->span_count = 0; /* the references have moved */
    if (peer->queue_last == NULL)
        peer->queue_first = frame;
    else
        peer->queue_last->next = frame;
    peer->queue_last = frame;
    peer->queue_bytes += frame_out_weight(frame);
    peer->queue_peak = u64_max(peer->queue_peak, peer->queue_bytes);
}

static void queue_drop_first_locked(struct peer *peer)
{
    struct frame_out *frame = peer->queue_first;
    peer->queue_first = frame->next;
    if (peer->queue_first == NULL)
        peer->queue_last = NULL;
    peer->queue_bytes -= frame_out_weight(frame);
    for (u32 i = 0; i < frame->span_count; i++)
        span_release(&frame->spans[i]);
    memory_free(frame);
}

void peer_queue_clear_locked(struct peer *peer)
{
    mutex_assert_held(&peer->lock);
    while (peer->queue_first != NULL) {
        peer->messages_dropped++;
        queue_drop_first_locked(peer);
    }
    ASSERT(peer->queue_bytes == 0);
}

u64 peer_room(struct peer *peer)
{
    u64 mark = peer->peers->options.queue_bytes_max / ROOM_PARTS;
    mutex_lock(&peer->lock);
    u64 room = mark - u64_min(mark, peer->queue_bytes);
    peer->room_awaited = room == 0;
    mutex_unlock(&peer->lock);
    return room;
}

bool peer_has_room_again_locked(struct peer *peer)
{
    mutex_assert_held(&peer->lock);
    u64 mark = peer->peers->options.queue_bytes_max / ROOM_AGAIN_PARTS;
    if (!peer->room_awaited || peer->queue_bytes > mark)
        return false;
    peer->room_awaited = false;
    return true;
}

/* Whether a message of so many bytes finds no place behind those that wait. An answer may go beyond
 * the bound: lost it would leave clients in doubt. Of reads there are no more than there is room
 * for (peer_room), but for one; of writes, what is applied before the queue is sent. A small one
 * may go a little further: it must not be lost because others let large answers lie. */
static bool queue_is_full(const struct peer *peer, const struct message *message, u64 payload_size)
{
    u64 bytes_max = peer->peers->options.queue_bytes_max;
    if (message->kind == MESSAGE_FORWARD_REPLY)
        bytes_max += ANSWERS_BEYOND + (payload_size <= SMALL_ANSWER_MAX ? bytes_max / 8 : 0);
    return peer->queue_bytes + payload_size + sizeof(struct frame_out) > bytes_max;
}

/* Sends or queues a message on a connection that stands. Returns false when it does neither. */
static bool send_locked(struct peer *peer, struct message *message, u64 payload_size, bool *wake)
{
    bool idle = peer->queue_first == NULL;
    /* The writer sleeps for ever until there is something that it may have to tell again. */
    bool first = !peer->said.any;
    pulse_note(&peer->said, message);
    *wake = first && peer->said.any;
    if (!idle && queue_is_full(peer, message, payload_size))
        return false;
    struct frame_head head;
    message_encode_for(message, peer->outgoing_version, &head);
    u32 whole = head.size + (u32)payload_size;
    i64 sent = 0;
    if (idle && payload_size <= PAYLOAD_AT_ONCE_MAX) {
        sent = frame_transmit(peer->outgoing, &head, message->spans, message->span_count, 0, whole);
        if (sent < 0) {
            peer->outgoing_broken = true;
            *wake = true;
            return false;
        }
        peer->bytes_sent += (u64)sent;
    }
    if ((u32)sent < whole) {
        queue_put_locked(peer, message, &head, whole, (u32)sent);
        *wake = idle || *wake;
    } else {
        peer->messages_sent++;
    }
    return true;
}

u64 peer_trim(struct peer *peer, u64 empty_since_ns)
{
    u64 due_ns = empty_since_ns + MEMORY_TRIM_REST_NS;
    mutex_lock(&peer->lock);
    bool wanted = peer->queue_peak >= MEMORY_TRIM_MIN && peer->queue_first == NULL;
    bool due = wanted && clock_monotonic_ns() >= due_ns;
    if (due)
        peer->queue_peak = 0;
    mutex_unlock(&peer->lock);
    if (due)
        memory_trim();
    return wanted && !due ? due_ns : UINT64_MAX;
}

bool peer_beat(struct peer *peer, u64 *interval_ns)
{
    struct peers *peers = peer->peers;
    u64 since_ns = atomic_load_explicit(&peers->busy_since_ns, memory_order_relaxed);
    u64 pulse_ns = atomic_load_explicit(&peers->pulse_ns, memory_order_relaxed);
    u64 pulse_ns_max = atomic_load_explicit(&peers->pulse_ns_max, memory_order_relaxed);
    u64 now_ns = clock_monotonic_ns();
    *interval_ns = pulse_ns;
    mutex_lock(&peer->lock);
    bool any = peer->said.any && pulse_ns > 0;
    bool due = any && since_ns != 0 && now_ns >= since_ns + pulse_ns &&
               now_ns < since_ns + pulse_ns_max && peer->queue_first == NULL &&
               peer->outgoing >= 0 && !peer->outgoing_broken;
    struct message message;
    bool wake;
    if (due && pulse_beat(&peer->said, pulse_ns, now_ns, &message))
        (void)send_locked(peer, &message, 0, &wake); /* this is the thread that would be woken */
    mutex_unlock(&peer->lock);
    return any;
}

bool peer_send(struct peer *peer, struct message *message)
{
    u64 payload_size = message_payload_size(message);
    bool wake = false;
    bool accepted = false;
    mutex_lock(&peer->lock);
    u64 frame_bytes_max = peer->outgoing_frame_bytes_max;
    bool fits = peer->outgoing < 0 || payload_size <= frame_bytes_max - FRAME_HEAD_SIZE_MAX;
    if (fits && peer->outgoing >= 0 && !peer->outgoing_broken)
        accepted = send_locked(peer, message, payload_size, &wake);
    if (!accepted)
        peer->messages_dropped++;
    bool lost = !accepted && fits && message->kind == MESSAGE_FORWARD_REPLY &&
                peer->outgoing >= 0 && !peer->outgoing_broken;
    bool complain = !fits && !peer->large_said;
    peer->large_said = peer->large_said || !fits;
    mutex_unlock(&peer->lock);
    if (wake)
        wake_post(peer->wake);
    if (complain)
        REPORT(peer->peers->report, REPORT_ERROR, "peers",
               "server %" PRIu32 " cannot be sent a message with %" PRIu64
               " bytes: it takes no more than %" PRIu64
               " (give it the segment-bytes and client-input-bytes of the others)",
               peer->id, payload_size, frame_bytes_max - FRAME_HEAD_SIZE_MAX);
    if (lost)
        REPORT_LIMITED(peer->peers->report, &peer->lost_answers, REPORT_WARN, "peers",
                       "answers to commands that server %" PRIu32
                       " has forwarded are lost: it takes them too slowly, and too many wait "
                       "(peer-queue-bytes); its clients will hear -TIMEOUT",
                       peer->id);
    message_release(message);
    return accepted;
}

enum push peer_push(struct peer *peer, bool *room)
{
    enum push result = PUSH_EMPTY;
    mutex_lock(&peer->lock);
    struct frame_out *frame = peer->queue_first;
    if (peer->outgoing_broken) {
        result = PUSH_BROKEN;
    } else if (frame != NULL) {
        i64 sent = frame_transmit(peer->outgoing, &frame->head, frame->spans, frame->span_count,
                                  frame->sent, PART_MAX);
        if (sent > 0) {
            frame->sent += (u32)sent;
            peer->bytes_sent += (u64)sent;
        }
        if (frame->sent == frame->size) {
            peer->messages_sent++;
            queue_drop_first_locked(peer);
        }
        if (sent < 0)
            result = PUSH_BROKEN;
        else if (sent == 0)
            result = PUSH_BLOCKED;
        else
            result = peer->queue_first != NULL ? PUSH_MORE : PUSH_EMPTY;
    }
    *room = peer_has_room_again_locked(peer);
    mutex_unlock(&peer->lock);
    return result;
}
