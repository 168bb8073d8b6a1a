/* frame.c - what is around a message on the wire; the format is in codec.h. */
#include "server/peers/frame.h"

#include "common/crc32c.h"

enum {
    AT_TYPE = 4, /* offsets in a frame */
    AT_VERSION = 5,
    AT_HEAD_SIZE = 6,
    AT_CRC = 8,
    AT_PREFIX_CRC = 12
};

/* Fills in the prefix of a frame whose message has `head_size` bytes before its payload. */
void frame_close(struct frame_head *head, enum frame_type type, u32 version, size_t head_size,
                 const struct span *spans, u32 span_count, u64 payload_size)
{
    u32 prefix_size = frame_prefix_size(version);
    u64 length = prefix_size - 4 + head_size + payload_size;
    ASSERT(length <= UINT32_MAX - 4);
    store_u32(head->bytes, (u32)length);
    head->bytes[AT_TYPE] = (u8)type;
    head->bytes[AT_VERSION] = (u8)version;
    store_u16(head->bytes + AT_HEAD_SIZE, (u16)head_size);
    u32 crc = crc32c(0, head->bytes, AT_CRC);
    crc = crc32c(crc, head->bytes + prefix_size, head_size);
    for (u32 i = 0; i < span_count; i++)
        crc = crc32c(crc, spans[i].data, spans[i].size);
    store_u32(head->bytes + AT_CRC, crc);
    if (version != FRAME_VERSION_1)
        store_u32(head->bytes + AT_PREFIX_CRC, crc32c(0, head->bytes, AT_PREFIX_CRC));
    head->size = (u32)(prefix_size + head_size);
}

u32 frame_version_for(u32 protocol_version)
{
    return protocol_version >= 2 ? FRAME_VERSION : FRAME_VERSION_1;
}

u32 frame_prefix_size(u32 frame_version)
{
    return frame_version == FRAME_VERSION_1 ? FRAME_PREFIX_SIZE_1 : FRAME_PREFIX_SIZE;
}

enum error_code frame_size(const u8 *prefix, u64 frame_bytes_max, u32 *size, enum frame_type *type,
                           struct error *error)
{
    u64 whole = (u64)load_u32(prefix) + 4;
    u32 head_size = load_u16(prefix + AT_HEAD_SIZE);
    u32 version = prefix[AT_VERSION];
    if (version != FRAME_VERSION && version != FRAME_VERSION_1)
        return error_set(error, ERROR_FORMAT, "frame of format version %u, which is not 1 or %d",
                         version, FRAME_VERSION);
    if (version == FRAME_VERSION &&
        crc32c(0, prefix, AT_PREFIX_CRC) != load_u32(prefix + AT_PREFIX_CRC))
        return error_set(error, ERROR_FORMAT, "frame whose first bytes have a bad checksum");
    if (prefix[AT_TYPE] < FRAME_MESSAGE || prefix[AT_TYPE] > FRAME_HELLO_ANSWER)
        return error_set(error, ERROR_FORMAT, "frame of unknown type %u",
                         (unsigned)prefix[AT_TYPE]);
    *type = (enum frame_type)prefix[AT_TYPE];
    if (*type != FRAME_MESSAGE && version != FRAME_VERSION_1)
        return error_set(error, ERROR_FORMAT, "hello in a frame of format version %u", version);
    u64 max = *type == FRAME_MESSAGE ? frame_bytes_max : u64_min(frame_bytes_max, HELLO_FRAME_MAX);
    if (whole > max)
        return error_set(error, ERROR_FORMAT, "frame of %llu bytes, more than the %llu allowed",
                         (unsigned long long)whole, (unsigned long long)max);
    if (whole < frame_prefix_size(version) + (u64)head_size)
        return error_set(error, ERROR_FORMAT, "frame of %llu bytes, too short for its head of %u",
                         (unsigned long long)whole, head_size);
    *size = (u32)whole;
    return ERROR_NONE;
}

/* Checks all of a frame but the message in it. */
enum error_code frame_open(const u8 *frame, u32 size, enum frame_type wanted,
                           struct frame_parts *parts, struct error *error)
{
    enum frame_type type;
    u32 whole;
    if (size < FRAME_PREFIX_SIZE_1 || size < frame_prefix_size(frame[AT_VERSION]))
        return error_set(error, ERROR_FORMAT, "frame cut short after %u bytes", size);
    enum error_code code = frame_size(frame, UINT64_MAX, &whole, &type, error);
    if (code != ERROR_NONE)
        return code;
    if (whole != size)
        return error_set(error, ERROR_FORMAT, "frame of %u bytes says that it has %u", size, whole);
    if (type != wanted)
        return error_set(error, ERROR_FORMAT, "frame of type %d where type %d belongs", (int)type,
                         (int)wanted);
    u32 prefix_size = frame_prefix_size(frame[AT_VERSION]);
    u32 crc = crc32c(0, frame, AT_CRC);
    crc = crc32c(crc, frame + prefix_size, size - prefix_size);
    if (crc != load_u32(frame + AT_CRC))
        return error_set(error, ERROR_FORMAT, "frame with a bad checksum");
    parts->head = frame + prefix_size;
    parts->head_size = load_u16(frame + AT_HEAD_SIZE);
    parts->payload = parts->head + parts->head_size;
    parts->payload_size = size - prefix_size - parts->head_size;
    return ERROR_NONE;
}
