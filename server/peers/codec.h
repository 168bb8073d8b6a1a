/* codec.h - messages as bytes: one frame each.
 *
 * Frame, little-endian:
 *   offset size
 *        0    4  length of all that follows this field, at most the configured maximum
 *        4    1  type: 1 message, 2 hello, 3 answer to a hello
 *        5    1  version of this format, 2
 *        6    2  head: how many bytes of the message precede its payload's bytes
 *        8    4  crc32c of all of the frame but this field and the next
 *       12    4  crc32c of the twelve bytes before
 *       16    -  message: one message of proto/raft.proto in protobuf's encoding
 *
 * The second checksum is there so that a length is never believed that the sender did not write: a
 * receiver that waited for too many bytes would take all further messages for a part of this one,
 * and be deaf for as long as that lasts.
 *
 * Hellos, and messages to a peer whose protocol version is 1, are frames of version 1: they have no
 * field at 12, and the message begins there.
 *
 * The message is Message for type 1 and Hello for types 2 and 3. When a Message has a payload, that
 * is its last field: the head ends with the tag of field 15 and the payload's size as the shortest
 * varint, and the rest of the frame is the payload: log records in the form of entry.h, commands,
 * or answers. Without a payload there is neither tag nor size, and the head is the whole message.
 *
 * A frame is valid if and only if its length is in bounds, type and version are known, the
 * checksums are right, the message decodes, exactly the body that its kind demands is there, every
 * number is in its range, and a payload is what the kind says. A length is checked before anything
 * is allocated for it. Whoever receives an invalid frame closes the connection: after it nothing
 * can be trusted.
 *
 * Rejected: the payload as a field that nanopb encodes or a callback writes, since it copies every
 * entry once more for every peer; and raw bytes behind the message, since no other protobuf library
 * would then find them.
 *
 * Thread: any. Never blocks. */
#ifndef MAILRAFT_PEERS_CODEC_H
#define MAILRAFT_PEERS_CODEC_H

#include <sys/uio.h>

#include "common/error.h"
#include "server/mail/limits.h"
#include "server/rules/message.h"

enum frame_type { FRAME_MESSAGE = 1, FRAME_HELLO = 2, FRAME_HELLO_ANSWER = 3 };

enum {
    FRAME_PREFIX_SIZE = 16,   /* what precedes the message */
    FRAME_PREFIX_SIZE_1 = 12, /* in a frame of version 1 */
    FRAME_VERSION = 2,
    FRAME_VERSION_1 = 1,
    FRAME_HEADER_MAX =
        512, /* bytes of a message without its payload, as this version writes them */
    FRAME_HEAD_SIZE_MAX = FRAME_PREFIX_SIZE + FRAME_HEADER_MAX, /* all that precedes a payload */
    HELLO_FRAME_MAX = FRAME_HEAD_SIZE_MAX, /* the whole of a frame of type 2 or 3 */
    HELLO_REFUSAL_SIZE = 160,              /* with its NUL */
    PROTOCOL_VERSION_MIN = 1,
    PROTOCOL_VERSION_MAX = 2 /* from 2 on, messages are frames of version 2 */
};

/* No term, index, round or count is larger: room for every sum of two of them. */
#define MESSAGE_NUMBER_MAX (UINT64_MAX >> 2)

/* The head of a frame: all that precedes the payload. */
struct frame_head {
    u8 bytes[FRAME_HEAD_SIZE_MAX];
    u32 size;
};

/* Encodes everything but the payload, which is sent straight from the message's spans; the
 * checksum covers both. The message must be one that message_decode accepts. */
void message_encode(const struct message *message, struct frame_head *head);

/* The same for a peer with which this protocol version was agreed. */
void message_encode_for(const struct message *message, u32 protocol_version,
                        struct frame_head *head);

/* The version of the frames that messages are with that protocol version, and the size of what
 * precedes the message in them. */
u32 frame_version_for(u32 protocol_version);
u32 frame_prefix_size(u32 frame_version);

/* Decodes a whole frame, the first `size` bytes of `frame->data`. The payload becomes one span of
 * `message` that shares `frame` (a reference is taken). An APPEND_ENTRIES's records are verified
 * (entry.h). Errors: ERROR_FORMAT, saying what is wrong; then `message` holds nothing. */
WARN_UNUSED enum error_code message_decode(struct block *frame, u32 size, struct message *message,
                                           struct error *error);

/* As message_decode, for a frame in memory that will be used again: the payload is copied into a
 * block of its own, exactly as large. */
WARN_UNUSED enum error_code message_decode_copy(const u8 *frame, u32 size, struct message *message,
                                                struct error *error);

/* Reads a frame's first frame_prefix_size() bytes, and checks what they say; byte 5 is the version.
 * `*size` is the size of the whole frame, at most `frame_bytes_max`. Errors: ERROR_FORMAT. */
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
    u64 starts[IDENTITY_STARTS]; /* as in struct identity */
    bool non_voter;
    u64 incarnation;
    bool blank;
    u32 feature;
    u64 readmitted;
    u64 joined_through;
    u32 version_min; /* range of protocol versions that it speaks */
    u32 version_max;
    struct member_limits limits;      /* all 0: a server from before they were told */
    u32 version;                      /* answer: the highest common one; 0: refused */
    char refusal[HELLO_REFUSAL_SIZE]; /* answer: why, a sentence; "" when accepted */
};

/* What it shows of the sender's data directory, and the other way round. */
struct identity hello_identity(const struct hello *hello);
void hello_show(struct hello *hello, const struct identity *identity);

void hello_encode(const struct hello *hello, bool answer, struct frame_head *head);

/* Decodes a whole frame of type hello, or hello answer. Ids are not 0, and the cluster id has only
 * the characters it may have. Errors: ERROR_FORMAT. */
WARN_UNUSED enum error_code hello_decode(const u8 *frame, u32 size, bool answer,
                                         struct hello *hello, struct error *error);

#endif
