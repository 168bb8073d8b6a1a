/* codec.h - messages as bytes: one frame each.
 *
 * Frame, little-endian:
 *   u32 length   of all that follows this field: FRAME_LENGTH_MIN .. the configured maximum
 *   u8  type     1 message, 2 hello, 3 hello answer
 *   u8  version  of the format, 1
 *   u16 header   size of the protobuf part in bytes
 *   u32 crc32c   of all of the frame but this field
 *   header bytes: a protobuf message of proto/raft.proto
 *   payload:      log records or commands, as they are (the trailing `bytes` of the frame)
 *
 * A frame is valid if and only if the length is in bounds, the checksum is right, type and version
 * are known, and the protobuf part decodes. A length is checked before anything is allocated for
 * it. Whoever receives an invalid frame closes the connection: after it nothing can be trusted.
 *
 * Thread: any. Never blocks. */
#ifndef MAILRAFT_PEERS_CODEC_H
#define MAILRAFT_PEERS_CODEC_H

#include <sys/uio.h>

#include "common/error.h"
#include "server/rules/message.h"
#include "server/storage/storage.h"

enum frame_type { FRAME_MESSAGE = 1, FRAME_HELLO = 2, FRAME_HELLO_ANSWER = 3 };

enum {
    FRAME_PREFIX_SIZE = 12,
    FRAME_HEADER_MAX = 512, /* protobuf bytes */
    PROTOCOL_VERSION_MIN = 1,
    PROTOCOL_VERSION_MAX = 1
};

/* The head of a frame: what precedes the payload. */
struct frame_head {
    u8 bytes[FRAME_PREFIX_SIZE + FRAME_HEADER_MAX];
    u32 size;
};

/* Encodes everything but the payload, which is sent straight from the message's spans; the
 * checksum covers both. */
void message_encode(const struct message *message, struct frame_head *head);

/* Decodes a whole frame, the `size` bytes of `frame->data`. Payload spans of `message` share
 * `frame` (a reference is taken). An APPEND_ENTRIES's records are verified (entry.h). Errors:
 * ERROR_FORMAT, saying what is wrong; then `message` holds nothing. */
WARN_UNUSED enum error_code message_decode(struct block *frame, u32 size, struct message *message,
                                           struct error *error);

/* Reads the length field of a frame's first FRAME_PREFIX_SIZE bytes, and checks it, type and
 * version. `*size` is the size of the whole frame. Errors: ERROR_FORMAT. */
WARN_UNUSED enum error_code frame_size(const u8 *prefix, u64 frame_bytes_max, u32 *size,
                                       enum frame_type *type, struct error *error);

/* The first frame on each connection, from the server that opened it, and the answer. */
struct hello {
    char cluster_id[CLUSTER_ID_SIZE];
    server_id from;
    server_id to; /* whom it means to talk to */
    u64 directory_id;
    u64 start_count;
    u32 seed_crc;
    u32 version_min; /* range of protocol versions that it speaks */
    u32 version_max;
    u32 version; /* answer: the highest common one; 0: refused */
    char refusal[160]; /* answer: why, a sentence; "" when accepted */
};

void hello_encode(const struct hello *hello, bool answer, struct frame_head *head);
WARN_UNUSED enum error_code hello_decode(const u8 *frame, u32 size, struct hello *hello,
                                         struct error *error);

#endif
