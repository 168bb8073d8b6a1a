/* fuzz_segment.c - the log's files: the scan of each, and recovery of all (storage/recovery.h). An
 * input is an image of the directory. */
#include "server/storage/log_reader.h"
#include "server/storage/log_repair.h"
#include "server/storage/recovery.h"
#include "server/storage/scan.h"

#include "common/memory.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/fuzz_image.h"
#include "test/fuzz/fuzz_repair_storage.h"

/* ---- what is on the disk, told by the scan alone ---- */

/* The newest record of each index: that of the last valid batch that has one. */
struct newest {
    struct entry_id id;
    u32 crc;
};

struct contents {
    struct newest *newest;
    u32 count;
    u32 capacity;
    u64 directory_id; /* of the first segment that has a header */
    bool whole;       /* no damage, no tear: nothing but batches, and zeros behind them */
};

static struct newest *find(const struct contents *contents, u64 index)
{
    for (u32 i = 0; i < contents->count; i++) {
        if (contents->newest[i].id.index == index)
            return &contents->newest[i];
    }
    return NULL;
}

static void note_record(struct contents *contents, const struct entry *entry, u32 crc)
{
    struct newest *newest = find(contents, entry->id.index);
    if (newest == NULL) {
        if (contents->count == contents->capacity) {
            contents->capacity = contents->capacity * 2 + 16;
            contents->newest =
                memory_resize(contents->newest, contents->capacity * sizeof(*newest));
        }
        newest = &contents->newest[contents->count++];
    }
    *newest = (struct newest){entry->id, crc};
}

/* A batch that the scan calls valid is so by its parts, too. */
static void note_batch(struct contents *contents, const struct scan *scan)
{
    const u8 *records = scan->data + BATCH_HEADER_SIZE;
    const char *why;
    ASSERT(scan->offset + batch_total_size(scan->batch.size) == scan->next);
    ASSERT(scan->batch.count == 0 ||
           records_check(records, scan->batch.size, scan->batch.first, scan->batch.count, &why));
    for (u32 at = 0, size; at < scan->batch.size; at += size) {
        struct entry entry;
        size = record_decode(records + at, scan->batch.size - at, &entry);
        ASSERT(size > 0);
        note_record(contents, &entry, load_u32(records + at));
    }
}

/* Walks through a segment as raftdump does: on behind everything that is wrong. */
static void read_segment(struct contents *contents, struct vfs *vfs, u64 id)
{
    struct scan scan;
    struct error error;
    enum error_code code = scan_open(&scan, vfs, id, 0, &error);
    if (code != ERROR_NONE)
        contents->whole = false;
    else if (contents->directory_id == 0)
        contents->directory_id = scan.info.directory_id;
    u64 before = 0;
    for (enum scan_found found = SCAN_BATCH; code == ERROR_NONE && found != SCAN_END;) {
        code = scan_next(&scan, &found, &error);
        if (code != ERROR_NONE) {
            ASSERT(code == ERROR_IO && scan.window.unreadable_count > 0);
            contents->whole = false;
            break;
        }
        ASSERT(scan.offset <= scan.info.size && scan.offset >= before);
        before = scan.offset;
        if (found == SCAN_BATCH) {
            note_batch(contents, &scan);
            continue;
        }
        contents->whole = contents->whole && found == SCAN_END;
        if (found == SCAN_TORN || found == SCAN_DAMAGED) {
            ASSERT(scan.used_end <= scan.info.size && scan.why[0] != '\0');
            if (!scan_skip(&scan))
                break;
        }
    }
    scan_close(&scan);
}

static void read_contents(struct contents *contents, struct vfs *vfs)
{
    u64 *ids;
    size_t count;
    struct error error;
    *contents = (struct contents){.whole = true};
    if (recovery_list(vfs, &ids, &count, &error) != ERROR_NONE)
        return;
    for (size_t i = 0; i < count; i++)
        read_segment(contents, vfs, ids[i]);
    memory_free(ids);
}

/* ---- recovery ---- */

/* Every live entry can be read, with its checksum right, and is the newest of its index: nothing
 * that was replaced comes back. */
static void check_entries(const struct contents *contents, struct vfs *vfs,
                          const struct log_index *index, const struct recovered *recovered)
{
    struct buffer records;
    struct error error;
    u64 next = index->count > 0 ? index->rows[0].first : index->last + 1;
    buffer_init(&records);
    while (next <= index->last) {
        struct log_row row;
        u64 end;
        u32 count = 0;
        buffer_clear(&records);
        ASSERT(log_index_find(index, next, &row, &end) && end > next);
        ASSERT(log_read_row(vfs, contents->directory_id, &row, next, end, 4096, &records, &count,
                            &error) == ERROR_NONE);
        ASSERT(count > 0 && count <= end - next);
        for (size_t at = 0, size; at < records.size; at += size) {
            struct entry entry;
            size = record_decode(records.data + at, records.size - at, &entry);
            ASSERT(size > 0 && entry.id.index == next++);
            const struct newest *newest = find(contents, entry.id.index);
            ASSERT(newest != NULL && newest->crc == load_u32(records.data + at));
        }
    }
    ASSERT(recovered->damaged_first == 0 || index->last < recovered->damaged_first);
    buffer_deinit(&records);
}

static enum error_code recover(const struct contents *contents, struct memory_vfs *memory,
                               struct log_index *index, struct recovered *recovered)
{
    struct report report;
    struct error error;
    fuzz_report_init(&report);
    log_index_init(index);
    *recovered = (struct recovered){0};
    return recovery_run(&memory->vfs, contents->directory_id, &report, index, recovered, &error);
}

static void run(const u8 *data, size_t size)
{
    struct memory_vfs *memory = image_open(data, size);
    struct contents contents;
    struct log_index index, again;
    struct recovered recovered, recovered_again;
    read_contents(&contents, &memory->vfs);
    enum error_code code = recover(&contents, memory, &index, &recovered);
    if (code == ERROR_NONE) {
        check_entries(&contents, &memory->vfs, &index, &recovered);
        ASSERT(!contents.whole || recovered.torn_bytes == 0);
        /* What a start has cut stays cut, and all else is found as it was. */
        ASSERT(recover(&contents, memory, &again, &recovered_again) == ERROR_NONE);
        ASSERT(recovered_again.torn_bytes == 0 && again.last == index.last);
        ASSERT(recovered_again.sequence == recovered.sequence);
        ASSERT(recovered_again.damaged_first == recovered.damaged_first);
        ASSERT(recovered_again.tail_offset == recovered.tail_offset);
        log_index_deinit(&again);
    }
    log_index_deinit(&index);
    memory_free(contents.newest);
    memory_destroy(memory);
}

static size_t repair(u8 *data, size_t size, size_t capacity, u32 choice)
{
    return image_repair(data, size, capacity, choice, repair_storage_file);
}

/* A scan reads files in pieces of a megabyte at most, and runs of zeros cost an input nothing. */
const struct fuzz_target fuzz_segment = {.name = "segment",
                                         .input_max = 16384,
                                         .run = run,
                                         .repair = repair,
                                         .memory_base = 4 * 1024 * 1024,
                                         .memory_each = 64};
