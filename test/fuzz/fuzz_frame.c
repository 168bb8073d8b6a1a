/* fuzz_frame.c - see fuzz_frame.h. */
#include "test/fuzz/fuzz_frame.h"

#include "common/crc32c.h"
#include "server/peers/codec.h"
#include "test/fuzz/fuzz.h"

enum {
    AT_VERSION = 5,
    AT_HEAD_SIZE = 6,
    AT_CRC = 8,
    AT_PREFIX_CRC = 12,
    PAYLOAD_TAG = 15 << 3 | 2,
    REPAIR_MARK = 1,
    REPAIR_RECORDS = 2
};

/* The tag and the size of the payload, at the end of the head, when its varint has as many bytes as
 * it had. */
static void repair_mark(u8 *head, size_t head_size, size_t payload_size)
{
    for (size_t bytes = 1; bytes <= 4 && bytes < head_size; bytes++) {
        u8 *mark = head + head_size - bytes - 1;
        if (mark[0] != PAYLOAD_TAG || payload_size >> (7 * bytes) != 0)
            continue;
        for (size_t i = 1; i <= bytes; i++, payload_size >>= 7)
            mark[i] = (u8)((payload_size & 0x7f) | (i < bytes ? 0x80 : 0));
        return;
    }
}

size_t fuzz_frame_repair(u8 *data, size_t size, size_t capacity, u32 choice)
{
    (void)capacity;
    if (size < FRAME_PREFIX_SIZE)
        return size;
    size_t prefix_size = frame_prefix_size(data[AT_VERSION]);
    store_u32(data, (u32)size - 4);
    size_t head_size = load_u16(data + AT_HEAD_SIZE);
    size_t rest = size - prefix_size;
    if (head_size < rest) {
        u8 *head = data + prefix_size;
        if ((choice & REPAIR_MARK) != 0)
            repair_mark(head, head_size, rest - head_size);
        if ((choice & REPAIR_RECORDS) != 0)
            fuzz_repair_records(head + head_size, rest - head_size);
    }
    u32 crc = crc32c(0, data, AT_CRC);
    store_u32(data + AT_CRC, crc32c(crc, data + prefix_size, rest));
    if (prefix_size == FRAME_PREFIX_SIZE)
        store_u32(data + AT_PREFIX_CRC, crc32c(0, data, AT_PREFIX_CRC));
    return size;
}
