/* frame.h - private to codec.c and hello.c: what is around a message on the wire. */
#ifndef MAILRAFT_PEERS_FRAME_H
#define MAILRAFT_PEERS_FRAME_H

#include "server/peers/codec.h"

/* A frame that has passed frame_open. */
struct frame_parts {
    const u8 *head;
    u32 head_size;
    const u8 *payload;
    u32 payload_size;
};

/* Fills in the prefix of a frame of that version, whose message has `head_size` bytes before its
 * payload. */
void frame_close(struct frame_head *head, enum frame_type type, u32 version, size_t head_size,
                 const struct span *spans, u32 span_count, u64 payload_size);

/* Checks all of a frame but the message in it. Errors: ERROR_FORMAT. */
WARN_UNUSED enum error_code frame_open(const u8 *frame, u32 size, enum frame_type wanted,
                                       struct frame_parts *parts, struct error *error);

#endif
