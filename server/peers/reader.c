/* reader.c - one thread a peer: frames from its connection, as mail.
 *
 * The thread outlives connections: the acceptor hands it one after the other. So mail of an older
 * connection is always posted before that of a newer one.
 *
 * Small frames are gathered in one buffer, many to a read, and a payload among them is copied into
 * a block of exactly its size: entries stay in the log's memory for long, and must not hold on to
 * a buffer full of other things. A large frame is read into a block of its own, which its payload
 * then shares.
 *
 * Between two frames a peer may be silent for as long as the connection stands; a frame that was
 * begun must come at some pace, or the connection ends: whatever holds the rest of it up, nothing
 * else can be heard on this connection meanwhile. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/memory.h"
#include "server/peers/peer.h"

enum {
    READ_BUFFER_SIZE = 64 * 1024,
    /* A frame from this size on that has not come in whole gets a block of its own. */
    FRAME_LARGE = 16 * 1024,
    /* What a frame that was begun must come with, in bytes a second, beyond stall_ns_max in all. */
    FRAME_RATE_MIN = 64 * 1024
};

struct reader {
    struct peer *peer;
    int socket;
    u32 frame_version; /* as agreed, and what precedes a message then */
    u32 prefix_size;
    u32 wanted;      /* the size of the frame that was begun, or of its prefix */
    u64 patience_ns; /* for how long it may still be waited for; 0: none was begun */
    struct said ended;
    struct pulse heard; /* the newest AppendEntries on this connection */
    struct report_limit ends;
    u32 at;   /* bytes of the buffer that are dealt with */
    u32 have; /* bytes in the buffer */
    u8 buffer[READ_BUFFER_SIZE];
};

/* Waits for more of a frame that was begun, and counts that. A look at the clock that comes late
 * counts for no more than the wait was meant to be: a process that was stopped, or got no
 * processor, has not waited for its peer. Errors: ERROR_FORMAT, its time is up. Blocks. */
static enum error_code wait_for_rest(struct reader *reader, struct error *error)
{
    static const u64 slice_ns = 100 * NS_PER_MS;
    if (reader->patience_ns == 0)
        return error_set(error, ERROR_FORMAT, "frame of %u bytes that does not go on",
                         reader->wanted);
    u64 before_ns = clock_monotonic_ns();
    struct pollfd polled = {.fd = reader->socket, .events = POLLIN};
    (void)poll(&polled, 1, (int)(slice_ns / NS_PER_MS));
    u64 waited_ns = u64_min(clock_monotonic_ns() - before_ns, slice_ns);
    reader->patience_ns -= u64_min(waited_ns, reader->patience_ns);
    return ERROR_NONE;
}

/* Reads between 1 and `room` bytes. `begun`: they belong to a frame that was begun. Errors:
 * ERROR_UNAVAILABLE, the connection has ended; ERROR_FORMAT, the frame does not go on. Blocks. */
static enum error_code receive(struct reader *reader, u8 *to, u32 room, bool begun, u32 *got,
                               struct error *error)
{
    ssize_t count;
    enum error_code code = ERROR_NONE;
    do {
        count = recv(reader->socket, to, room, begun ? MSG_DONTWAIT : 0);
        if (count < 0 && errno == EAGAIN && begun)
            code = wait_for_rest(reader, error);
    } while (count < 0 && (errno == EINTR || errno == EAGAIN) && code == ERROR_NONE);
    if (code != ERROR_NONE)
        return code;
    if (count < 0)
        return error_set_errno(error, ERROR_UNAVAILABLE, errno, "read");
    if (count == 0)
        return error_set(error, ERROR_UNAVAILABLE, "closed by the other side");
    atomic_fetch_add_explicit(&reader->peer->bytes_received, (u64)count, memory_order_relaxed);
    *got = (u32)count;
    return ERROR_NONE;
}

/* A frame, or its prefix, has come in part. */
static void begin_frame(struct reader *reader, u32 size)
{
    if (reader->patience_ns > 0 && reader->wanted == size)
        return;
    reader->wanted = size;
    reader->patience_ns =
        reader->peer->peers->options.stall_ns_max + size * NS_PER_S / FRAME_RATE_MIN;
}

/* Decodes a frame and posts it: from `block` when there is one, else from `bytes`. */
static enum error_code deliver(struct reader *reader, struct block *block, const u8 *bytes,
                               u32 size, struct error *error)
{
    struct peers *peers = reader->peer->peers;
    /* What kind of mail it is is known only once it is decoded. */
    struct mail *mail = mail_create(MAIL_TIMEOUT_NOW);
    struct message *message = &mail->as.message;
    enum error_code code = block != NULL ? message_decode(block, size, message, error)
                                         : message_decode_copy(bytes, size, message, error);
    mail->kind = (enum mail_kind)message->kind;
    if (code == ERROR_NONE &&
        (message->from != reader->peer->id || message->to != peers->options.identity.from))
        code =
            error_set(error, ERROR_FORMAT, "%s message from server %" PRIu32 " to server %" PRIu32,
                      message_kind_word(message->kind), message->from, message->to);
    if (code != ERROR_NONE) {
        message_release(message);
        mail->kind = MAIL_TIMEOUT_NOW;
        mail_destroy(mail);
        return code;
    }
    if (message->kind == MESSAGE_APPEND_ENTRIES)
        pulse_note(&reader->heard, message);
    if (!mail_post(peers->slot, mail))
        return error_set(error, ERROR_BUSY, "this server takes no more mail");
    return ERROR_NONE;
}

/* A large frame has come further: its sender lives, though nothing else can come from it now. */
static void sign_of_life(struct reader *reader, u32 more, u32 *unsigned_bytes)
{
    struct peers *peers = reader->peer->peers;
    u64 pulse_ns = atomic_load_explicit(&peers->pulse_ns, memory_order_relaxed);
    struct message message;
    *unsigned_bytes += more;
    if (*unsigned_bytes < PULSE_PROGRESS || pulse_ns == 0 ||
        !pulse_beat(&reader->heard, pulse_ns, clock_monotonic_ns(), &message))
        return;
    *unsigned_bytes = 0;
    struct mail *mail = mail_create(MAIL_APPEND_ENTRIES);
    mail->as.message = message;
    (void)mail_post(peers->slot, mail);
}

/* The frame at the end of the buffer has not come in whole: reads the rest of it into a block. */
static enum error_code read_large(struct reader *reader, u32 size, struct error *error)
{
    struct block *block = block_create(size);
    u32 have = reader->have - reader->at;
    begin_frame(reader, size);
    memcpy(block->data, reader->buffer + reader->at, have);
    reader->at = reader->have = 0;
    u32 unsigned_bytes = 0;
    enum error_code code = ERROR_NONE;
    reader->heard.last_ns = clock_monotonic_ns(); /* of the messages before it */
    while (code == ERROR_NONE && have < size) {
        u32 got = 0;
        code = receive(reader, block->data + have, size - have, true, &got, error);
        have += got;
        sign_of_life(reader, got, &unsigned_bytes);
    }
    if (code == ERROR_NONE)
        code = deliver(reader, block, NULL, size, error);
    block_release(block);
    return code;
}

/* Deals with all frames that are whole. What is left is the beginning of one. */
static enum error_code read_frames(struct reader *reader, struct error *error)
{
    while (reader->have - reader->at >= reader->prefix_size) {
        const u8 *frame = reader->buffer + reader->at;
        u32 size;
        enum frame_type type;
        if (frame[5] != reader->frame_version)
            return error_set(error, ERROR_FORMAT, "frame of format version %u where %u was agreed",
                             (unsigned)frame[5], reader->frame_version);
        enum error_code code =
            frame_size(frame, reader->peer->peers->options.frame_bytes_max, &size, &type, error);
        if (code == ERROR_NONE && type != FRAME_MESSAGE)
            code = error_set(error, ERROR_FORMAT, "second hello");
        if (code != ERROR_NONE)
            return code;
        if (size <= reader->have - reader->at) {
            code = deliver(reader, NULL, frame, size, error);
            reader->at += size;
        } else if (size >= FRAME_LARGE) {
            code = read_large(reader, size, error);
        } else {
            begin_frame(reader, size);
            return ERROR_NONE;
        }
        if (code != ERROR_NONE)
            return code;
        reader->patience_ns = 0;
    }
    if (reader->have > reader->at)
        begin_frame(reader, reader->prefix_size);
    return ERROR_NONE;
}

/* Reads a connection to its end, and says why it ended. */
static void read_connection(struct reader *reader, struct error *error)
{
    reader->at = reader->have = 0;
    reader->patience_ns = 0;
    reader->heard = (struct pulse){0};
    for (;;) {
        u32 got;
        if (receive(reader, reader->buffer + reader->have, READ_BUFFER_SIZE - reader->have,
                    reader->have > 0, &got, error) != ERROR_NONE)
            return;
        reader->have += got;
        if (read_frames(reader, error) != ERROR_NONE)
            return;
        /* The beginning of a frame that is left is a small one's: it has room once at the front. */
        u32 left = reader->have - reader->at;
        if (left > 0 && reader->at > 0)
            memmove(reader->buffer, reader->buffer + reader->at, left);
        reader->have = left;
        reader->at = 0;
    }
}

/* Waits for a connection, and tells who has come before anything is read from it. Returns false
 * when all is to stop. */
static bool next_connection(struct reader *reader)
{
    struct peer *peer = reader->peer;
    struct mail *mail = mail_create(MAIL_MET);
    mutex_lock(&peer->lock);
    while (peer->incoming_next < 0 && !peers_stopping(peer->peers))
        condition_wait(&peer->arrived, &peer->lock);
    bool go_on = !peers_stopping(peer->peers);
    if (go_on) {
        peer->incoming = peer->incoming_next;
        peer->incoming_start = peer->incoming_next_identity.start_count;
        mail->as.met = (struct met){peer->id, peer->incoming_next_identity};
        peer->incoming_next = -1;
        reader->socket = peer->incoming;
        reader->frame_version = frame_version_for(peer->incoming_next_version);
        reader->prefix_size = frame_prefix_size(reader->frame_version);
    }
    mutex_unlock(&peer->lock);
    if (go_on)
        (void)mail_post(peer->peers->slot, mail);
    else
        mail_destroy(mail);
    return go_on;
}

/* Closes the connection. When the peer has no other, or was started anew, its end is mail. */
static void end_connection(struct reader *reader, const struct error *why)
{
    struct peer *peer = reader->peer;
    struct peers *peers = peer->peers;
    mutex_lock(&peer->lock);
    socket_close(&peer->incoming);
    bool replaced = peer->incoming_next >= 0 &&
                    peer->incoming_next_identity.start_count == peer->incoming_start;
    mutex_unlock(&peer->lock);
    if (peers_stopping(peers))
        return;
    if (why->code == ERROR_FORMAT) {
        if (said_anew(&reader->ended, why->text))
            REPORT_LIMITED(peers->report, &reader->ends, REPORT_WARN, "peers",
                           "closed the connection from server %" PRIu32 ": it sent a %s", peer->id,
                           why->text);
    } else {
        REPORT_LIMITED(peers->report, &reader->ends, REPORT_INFO, "peers",
                       "the connection from server %" PRIu32 " has ended: %s", peer->id,
                       replaced ? "a newer one took its place" : why->text);
    }
    if (!replaced) {
        struct mail *mail = mail_create(MAIL_DISCONNECTED);
        mail->as.peer = peer->id;
        (void)mail_post(peers->slot, mail);
    }
}

void reader_run(void *argument)
{
    struct reader *reader = memory_alloc(sizeof(*reader));
    reader->peer = argument;
    reader->ended.text[0] = '\0';
    reader->ends = (struct report_limit){0};
    while (next_connection(reader)) {
        struct error why;
        read_connection(reader, &why);
        end_connection(reader, &why);
    }
    memory_free(reader);
}

void reader_give(struct peer *peer, int socket, const struct hello *hello, u32 version)
{
    mutex_lock(&peer->lock);
    /* One that was never read from is not missed: nobody has heard the peer on it. */
    socket_close(&peer->incoming_next);
    peer->incoming_next = socket;
    peer->incoming_next_version = version;
    peer->incoming_next_identity = hello_identity(hello);
    if (peer->incoming >= 0)
        (void)shutdown(peer->incoming, SHUT_RDWR);
    condition_signal(&peer->arrived);
    mutex_unlock(&peer->lock);
}
