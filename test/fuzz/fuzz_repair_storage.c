/* fuzz_repair_storage.c - see fuzz_repair_storage.h; the formats stand at the heads of segment.c,
 * metadata.c, known_peers.c and snapshot.c. */
#include "test/fuzz/fuzz_repair_storage.h"

#include "common/crc32c.h"
#include "server/storage/metadata.h"
#include "server/storage/segment.h"
#include "server/storage/snapshot_scan.h"
#include "test/fuzz/fuzz.h"

/* Bits of `choice`. */
enum {
    LEAVE_HEADER = 1 << 0,
    LEAVE_RECORDS = 1 << 1,
    LEAVE_TRAILER = 1 << 2,
    LEAVE_BATCH = 1 << 3
};

/* ---- segments ---- */

static void repair_segment_header(u8 *content, size_t size, u32 choice)
{
    if ((choice & 0xf0) != 0)
        store_u64(content + 24, size);
    store_u32(content + 40, crc32c(0, content, 40));
}

static void repair_header(u8 *header, u64 directory_id)
{
    u8 salt[8];
    store_u64(salt, directory_id);
    store_u32(header + 4, crc32c(crc32c(0, salt, sizeof(salt)), header + 8, BATCH_HEADER_SIZE - 8));
}

/* The batch whose header is at `at`; returns its size, 0 when it does not fit. */
static size_t repair_batch(u8 *content, size_t size, size_t at, u32 choice)
{
    u8 *header = content + at, *records = header + BATCH_HEADER_SIZE;
    u32 records_size = load_u32(header + 48);
    u64 total = batch_total_size(records_size);
    if (total > size - at)
        return 0;
    if ((choice & LEAVE_RECORDS) == 0)
        fuzz_repair_records(records, records_size);
    if (records_size > 0) {
        struct blank_count count;
        blank_count_init(&count, at + BATCH_HEADER_SIZE);
        blank_count_add(&count, records, total - BATCH_OVERHEAD);
        store_u32(header + 56, crc32c(0, records, records_size));
        store_u32(header + 60, count.blank | (u32)header[63] << 24);
    }
    repair_header(header, load_u64(content + 32));
    if ((choice & LEAVE_TRAILER) == 0)
        memcpy(header + total - BATCH_HEADER_SIZE, header, BATCH_HEADER_SIZE);
    return (size_t)total;
}

static void repair_segment(u8 *content, size_t size, u32 choice)
{
    if (size < SEGMENT_HEADER_SIZE)
        return;
    if ((choice & LEAVE_HEADER) == 0 || (choice & 0xf0) != 0)
        repair_segment_header(content, size, choice);
    for (size_t at = SEGMENT_HEADER_SIZE; at + BATCH_SIZE_MIN <= size;) {
        size_t total = 0;
        if (batch_magic(content + at) && (choice >> 8 & LEAVE_BATCH) == 0)
            total = repair_batch(content, size, at, choice >> 8);
        at += total > 0 ? total : 8;
        choice = choice >> 3 | choice << 29; /* other batches, other choices */
    }
}

/* ---- slots ---- */

enum { SLOTS = 2, PEERS_HEAD = 32, PEERS_ITEM = 32 };

static void repair_metadata(u8 *content, size_t size)
{
    for (size_t at = 0; at + METADATA_SLOT_SIZE <= size; at += METADATA_SLOT_PLACE) {
        size_t crc_at = load_u32(content + at + 8) == 1 ? 124 : METADATA_SLOT_SIZE - 4;
        store_u32(content + at + crc_at, crc32c(0, content + at, crc_at));
    }
}

static void repair_peers(u8 *content, size_t size)
{
    for (size_t at = 0; at + PEERS_HEAD <= size; at += METADATA_SLOT_PLACE) {
        size_t end = at + PEERS_HEAD + (size_t)PEERS_ITEM * load_u32(content + at + 12);
        if (end + 4 <= size)
            store_u32(content + end, crc32c(0, content + at, end - at));
    }
}

/* ---- snapshots ---- */

void repair_snapshot(u8 *content, size_t size, u32 choice)
{
    if (size < SNAPSHOT_HEAD_SIZE + SNAPSHOT_END_SIZE || (choice & LEAVE_HEADER) != 0)
        return;
    size_t at = SNAPSHOT_HEAD_SIZE, end = size - SNAPSHOT_END_SIZE;
    u32 configuration_size = load_u32(content + 112);
    if (configuration_size <= end - at) {
        store_u32(content + 116, crc32c(0, content + at, configuration_size));
        at += configuration_size;
    }
    store_u32(content + 8, crc32c(0, content + 12, SNAPSHOT_HEAD_SIZE - 12));
    u64 state_bytes = 0;
    while (end - at >= SNAPSHOT_BLOCK_HEAD_SIZE) {
        u32 block = load_u32(content + at);
        if (block == 0 || block > end - at - SNAPSHOT_BLOCK_HEAD_SIZE)
            break;
        if ((choice & LEAVE_RECORDS) == 0)
            store_u32(content + at + 4, crc32c(0, content + at + SNAPSHOT_BLOCK_HEAD_SIZE, block));
        state_bytes += block;
        at += SNAPSHOT_BLOCK_HEAD_SIZE + block;
        choice = choice >> 3 | choice << 29;
    }
    if ((choice & LEAVE_TRAILER) == 0)
        (void)snapshot_end_encode(state_bytes, end, crc32c(0, content, end), content + end);
}

void repair_storage_file(const char *name, u8 *content, size_t size, u32 choice)
{
    if (strncmp(name, "log/", 4) == 0)
        repair_segment(content, size, choice);
    else if (strncmp(name, "snapshots/", 10) == 0)
        repair_snapshot(content, size, choice);
    else if (strcmp(name, "metadata") == 0)
        repair_metadata(content, size);
    else if (strcmp(name, "peers") == 0)
        repair_peers(content, size);
}
