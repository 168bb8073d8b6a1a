/* hello.c - the first frame on each connection, to bytes and back: see codec.h. */
#include <pb_decode.h>
#include <pb_encode.h>

#include "raft.pb.h"
#include "server/peers/frame.h"

struct identity hello_identity(const struct hello *hello)
{
    struct identity identity = {.directory_id = hello->directory_id,
                                .start_count = hello->start_count,
                                .non_voter = hello->non_voter,
                                .readmitted = hello->readmitted,
                                .incarnation = hello->incarnation,
                                .blank = hello->blank,
                                .joined_through = hello->joined_through,
                                .feature = hello->feature};
    memcpy(identity.starts, hello->starts, sizeof(identity.starts));
    return identity;
}

void hello_show(struct hello *hello, const struct identity *identity)
{
    hello->directory_id = identity->directory_id;
    hello->start_count = identity->start_count;
    memcpy(hello->starts, identity->starts, sizeof(hello->starts));
    hello->non_voter = identity->non_voter;
    hello->readmitted = identity->readmitted;
    hello->incarnation = identity->incarnation;
    hello->blank = identity->blank;
    hello->joined_through = identity->joined_through;
    hello->feature = identity->feature;
}

void hello_encode(const struct hello *hello, bool answer, struct frame_head *head)
{
    mailraft_Hello wire = {
        .from = hello->from,
        .to = hello->to,
        .directory_id = hello->directory_id,
        .start_count = hello->start_count,
        .seed_crc = hello->seed_crc,
        .starts_count = IDENTITY_STARTS,
        .non_voter = hello->non_voter,
        .incarnation = hello->incarnation,
        .blank = hello->blank,
        .feature = hello->feature,
        .readmitted = hello->readmitted,
        .joined_through = hello->joined_through,
        .version_min = hello->version_min,
        .version_max = hello->version_max,
        .version = hello->version,
        .command_bytes_max = hello->limits.command_bytes,
        .key_bytes_max = hello->limits.key_bytes,
        .value_bytes_max = hello->limits.value_bytes,
        .frame_bytes_max = hello->limits.frame_bytes,
    };
    memcpy(wire.cluster_id, hello->cluster_id, sizeof(wire.cluster_id));
    memcpy(wire.starts, hello->starts, sizeof(hello->starts));
    memcpy(wire.refusal, hello->refusal, sizeof(wire.refusal));
    pb_ostream_t stream =
        pb_ostream_from_buffer(head->bytes + FRAME_PREFIX_SIZE_1, FRAME_HEADER_MAX);
    bool encoded = pb_encode(&stream, mailraft_Hello_fields, &wire);
    ASSERT(encoded);
    frame_close(head, answer ? FRAME_HELLO_ANSWER : FRAME_HELLO, FRAME_VERSION_1,
                stream.bytes_written, NULL, 0, 0);
}

static bool cluster_id_is_sound(const char *id)
{
    size_t size = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return size > 0 && id[size] == '\0';
}

enum error_code hello_decode(const u8 *frame, u32 size, bool answer, struct hello *hello,
                             struct error *error)
{
    struct frame_parts parts;
    enum error_code code =
        frame_open(frame, size, answer ? FRAME_HELLO_ANSWER : FRAME_HELLO, &parts, error);
    if (code != ERROR_NONE)
        return code;
    mailraft_Hello wire = mailraft_Hello_init_zero;
    pb_istream_t stream = pb_istream_from_buffer(parts.head, parts.head_size);
    if (parts.payload_size != 0)
        return error_set(error, ERROR_FORMAT, "hello with bytes behind it");
    if (!pb_decode(&stream, mailraft_Hello_fields, &wire))
        return error_set(error, ERROR_FORMAT, "hello that cannot be decoded: %s",
                         PB_GET_ERROR(&stream));
    if (!cluster_id_is_sound(wire.cluster_id))
        return error_set(error, ERROR_FORMAT, "hello without a proper cluster id");
    if (wire.from == SERVER_NONE || wire.to == SERVER_NONE)
        return error_set(error, ERROR_FORMAT, "hello that does not say from whom to whom");
    if (wire.version_min == 0 || wire.version_min > wire.version_max)
        return error_set(error, ERROR_FORMAT, "hello with an impossible range of versions");
    bool joined = wire.incarnation != 0 || wire.joined_through != 0;
    if ((wire.blank && joined) || wire.readmitted > MESSAGE_NUMBER_MAX)
        return error_set(error, ERROR_FORMAT, "hello that contradicts itself");
    *hello = (struct hello){
        .from = wire.from,
        .to = wire.to,
        .directory_id = wire.directory_id,
        .start_count = wire.start_count,
        .seed_crc = wire.seed_crc,
        .non_voter = wire.non_voter,
        .incarnation = wire.incarnation,
        .blank = wire.blank,
        .feature = wire.feature,
        .readmitted = wire.readmitted,
        .joined_through = wire.joined_through,
        .version_min = wire.version_min,
        .version_max = wire.version_max,
        .version = wire.version,
        .limits = {.command_bytes = wire.command_bytes_max,
                   .key_bytes = wire.key_bytes_max,
                   .value_bytes = wire.value_bytes_max,
                   .frame_bytes = wire.frame_bytes_max},
    };
    memcpy(hello->cluster_id, wire.cluster_id, sizeof(hello->cluster_id));
    memcpy(hello->starts, wire.starts, wire.starts_count * sizeof(wire.starts[0]));
    memcpy(hello->refusal, wire.refusal, sizeof(hello->refusal));
    return ERROR_NONE;
}
