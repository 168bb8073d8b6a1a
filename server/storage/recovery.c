/* recovery.c - see recovery.h; what is torn and what is damaged, see segment.c. */
#include "server/storage/recovery.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/memory.h"
#include "server/storage/scan.h"

#define DAMAGE_ADVICE                                                                       \
    "The log on this disk is not what was written. Do not delete anything: keep a copy of " \
    "the directory, and replace this server by one with a new id, or restore the file"

/* Bytes behind a segment's last valid batch that belong to none. */
struct leftover {
    u64 segment;
    u64 offset;
    u64 end;
    bool torn; /* provably an unfinished write */
    char why[SCAN_WHY_SIZE];
};

/* A run of recovery. At most the segment with the last batch and those behind it have leftovers,
 * and of segments behind it the job never has more than a few. */
struct recovery {
    struct vfs *vfs;
    struct report *report;
    u64 directory_id;
    struct log_index *index;
    struct recovered *out;
    struct leftover *leftovers;
    size_t leftover_count;
    size_t leftover_capacity;
};

/* ---- the files ---- */

struct id_list {
    u64 *ids;
    size_t count;
    size_t capacity;
};

static void collect_id(void *context, const char *name)
{
    struct id_list *list = context;
    u64 id;
    if (!segment_name_parse(name, &id))
        return;
    if (list->count == list->capacity) {
        list->capacity = list->capacity == 0 ? 16 : list->capacity * 2;
        list->ids = memory_resize(list->ids, list->capacity * sizeof(list->ids[0]));
    }
    list->ids[list->count++] = id;
}

static int compare_ids(const void *left, const void *right)
{
    const u64 *a = left, *b = right;
    return (*a > *b) - (*a < *b);
}

enum error_code recovery_list(struct vfs *vfs, u64 **ids, size_t *count, struct error *error)
{
    struct id_list list = {0};
    enum error_code code = vfs_list(vfs, "log", collect_id, &list, error);
    if (list.count > 1)
        qsort(list.ids, list.count, sizeof(list.ids[0]), compare_ids);
    if (code == ERROR_NONE && list.count == 0)
        code = error_set(error, ERROR_CORRUPT, "log: there is no segment in the directory");
    for (size_t i = 1; i < list.count && code == ERROR_NONE; i++) {
        if (list.ids[i] == list.ids[i - 1] + 1)
            continue;
        char path[SEGMENT_PATH_SIZE];
        segment_path(list.ids[i - 1] + 1, path);
        code = error_set(error, ERROR_CORRUPT, "%s: the segment is missing", path);
    }
    if (code != ERROR_NONE) {
        memory_free(list.ids);
        list = (struct id_list){0};
    }
    *ids = list.ids;
    *count = list.count;
    return code;
}

/* ---- reading ---- */

static void note_leftover(struct recovery *recovery, const struct scan *scan, bool torn)
{
    if (recovery->leftover_count == recovery->leftover_capacity) {
        recovery->leftover_capacity = recovery->leftover_capacity * 2 + 4;
        recovery->leftovers = memory_resize(recovery->leftovers,
                                            recovery->leftover_capacity * sizeof(struct leftover));
    }
    struct leftover *leftover = &recovery->leftovers[recovery->leftover_count++];
    *leftover = (struct leftover){
        .segment = scan->info.id, .offset = scan->offset, .end = scan->used_end, .torn = torn};
    memcpy(leftover->why, scan->why, sizeof(leftover->why));
}

static enum error_code refuse(const char *path, u64 offset, const char *why, struct error *error)
{
    return error_set(error, ERROR_CORRUPT, "%s: offset %" PRIu64 ": damaged: %s. %s", path, offset,
                     why, DAMAGE_ADVICE);
}

/* `later`: the path of a segment behind it in which batches follow, or NULL. */
static enum error_code refuse_leftover(const struct leftover *leftover, const char *later,
                                       struct error *error)
{
    char path[SEGMENT_PATH_SIZE], why[SCAN_WHY_SIZE + SEGMENT_PATH_SIZE + 32];
    segment_path(leftover->segment, path);
    snprintf(why, sizeof(why), "%s%s%s", leftover->why,
             later == NULL ? "" : ", and more follows in ", later == NULL ? "" : later);
    return refuse(path, leftover->offset, why, error);
}

/* Takes in a batch without records. */
static void take_mark(struct recovery *recovery, const struct batch *batch)
{
    struct recovered *out = recovery->out;
    struct entry_id before = batch_last(batch);
    if (batch->records_crc == BATCH_BEGINNING || before.index < out->base.index ||
        before.index > recovery->index->last) {
        log_index_reset(recovery->index, before.index);
        out->base = before;
        out->base_is_there = false;
    } else {
        log_index_truncate(recovery->index, before.index);
    }
}

/* Takes in a valid batch. */
static enum error_code take_batch(struct recovery *recovery, const struct scan *scan,
                                  struct error *error)
{
    struct recovered *out = recovery->out;
    /* The sequence has no gap, so what lay between this batch and the one before was none. */
    for (size_t i = 0; i < recovery->leftover_count; i++) {
        char path[SEGMENT_PATH_SIZE];
        segment_path(recovery->leftovers[i].segment, path);
        REPORT(recovery->report, REPORT_WARN, "storage",
               "%s: offset %" PRIu64 ": bytes behind the segment's last batch that should be zero "
               "(%s); no batch is missing, so nothing is lost",
               path, recovery->leftovers[i].offset, recovery->leftovers[i].why);
    }
    recovery->leftover_count = 0;
    const struct batch *batch = &scan->batch;
    bool is_first = out->sequence == 0;
    if (batch->count == 0) {
        take_mark(recovery, batch);
    } else if ((is_first && batch->first > 1) || batch->first <= out->base.index) {
        /* What was before it is gone with older segments, or replaced by it. */
        struct entry entry;
        (void)record_peek(scan->data + BATCH_HEADER_SIZE, &entry);
        out->base = entry.id;
        out->base_is_there = true;
        log_index_reset(recovery->index, batch->first - 1);
    } else if (batch->first > recovery->index->last + 1) {
        char why[SCAN_WHY_SIZE];
        snprintf(why, sizeof(why),
                 "the batch begins with entry %" PRIu64 ", but the log before it ends with entry "
                 "%" PRIu64,
                 batch->first, recovery->index->last);
        return refuse(scan->path, scan->offset, why, error);
    }
    if (batch->count > 0)
        log_index_add(recovery->index, batch->first, batch->count, scan->info.id, scan->offset);
    out->tail = scan->info;
    out->tail_offset = scan->next;
    out->last_batch_offset = scan->offset;
    out->last = batch_last(batch);
    out->sequence = batch->sequence;
    out->commit_hint = u64_max(out->commit_hint, batch->commit_hint);
    return ERROR_NONE;
}

/* Reads one segment to its end. */
static enum error_code read_segment(struct recovery *recovery, u64 id, struct error *error)
{
    struct scan scan;
    u64 sequence = recovery->out->sequence == 0 ? 0 : recovery->out->sequence + 1;
    enum error_code code = scan_open(&scan, recovery->vfs, id, sequence, error);
    if (code == ERROR_NONE && scan.info.directory_id != recovery->directory_id)
        code = error_set(error, ERROR_MISMATCH,
                         "%s: offset 32: the segment is of directory %016" PRIx64
                         ", the metadata of %016" PRIx64,
                         scan.path, scan.info.directory_id, recovery->directory_id);
    if (code == ERROR_CORRUPT)
        error_add(error, "%s", DAMAGE_ADVICE);
    recovery->out->disk_bytes += scan.info.size;
    enum scan_found found = SCAN_BATCH;
    while (code == ERROR_NONE && found == SCAN_BATCH) {
        code = scan_next(&scan, &found, error);
        if (code != ERROR_NONE)
            break;
        switch (found) {
        case SCAN_BATCH:
            code = take_batch(recovery, &scan, error);
            break;
        case SCAN_END:
            break;
        case SCAN_TORN:
            note_leftover(recovery, &scan, true);
            break;
        case SCAN_DAMAGED:
            /* When something is wrong in a segment before this one, that is where to look. */
            if (recovery->leftover_count > 0)
                code = refuse_leftover(&recovery->leftovers[0], scan.path, error);
            else if (scan.sequence_gap || scan.later_offset != 0)
                code = refuse(scan.path, scan.offset, scan.why, error);
            else
                note_leftover(recovery, &scan, false);
            break;
        }
    }
    scan_close(&scan);
    return code;
}

/* ---- the end of the log ---- */

static enum error_code write_zeros(struct vfs_file *file, u64 from, u64 end, struct error *error)
{
    size_t piece = (size_t)u64_min(WRITE_PIECE_SIZE, end - from);
    u8 *zeros = memory_alloc_zero(1, piece);
    enum error_code code = ERROR_NONE;
    while (from < end && code == ERROR_NONE) {
        struct iovec vector = {.iov_base = zeros, .iov_len = (size_t)u64_min(piece, end - from)};
        code = vfs_write_at(file, &vector, 1, from, error);
        from += vector.iov_len;
    }
    memory_free(zeros);
    if (code == ERROR_NONE)
        code = vfs_sync(file, error);
    return code;
}

/* Cuts what an unfinished write left. */
static enum error_code cut(struct recovery *recovery, const struct leftover *leftover,
                           struct error *error)
{
    char path[SEGMENT_PATH_SIZE];
    segment_path(leftover->segment, path);
    u64 size = leftover->end - leftover->offset;
    REPORT(recovery->report, REPORT_WARN, "storage",
           "%s: offset %" PRIu64 ": torn tail of %" PRIu64 " bytes is cut (%s); it was being "
           "written when this server stopped, and nothing was promised for it",
           path, leftover->offset, size, leftover->why);
    struct vfs_file *file = NULL;
    enum error_code code = vfs_open(recovery->vfs, path, VFS_READ_WRITE, &file, error);
    if (code == ERROR_NONE)
        code = write_zeros(file, leftover->offset, leftover->end, error);
    vfs_close(file);
    if (code != ERROR_NONE)
        error_add(error, "cut the torn tail of %s", path);
    recovery->out->torn_bytes += size;
    return code;
}

/* A server that was killed may have left its last batch in the page cache alone, and one whose last
 * sync failed may have left it there marked as clean. So it is written once more as it stands, and
 * synced, before anybody relies on it. */
static enum error_code secure_last_batch(struct recovery *recovery, struct error *error)
{
    const struct recovered *out = recovery->out;
    char path[SEGMENT_PATH_SIZE];
    segment_path(out->tail.id, path);
    struct vfs_file *file = NULL;
    struct window window = {0};
    const u8 *data = NULL;
    u64 from = out->last_batch_offset;
    size_t size = (size_t)(out->tail_offset - from);
    enum error_code code = vfs_open(recovery->vfs, path, VFS_READ_WRITE, &file, error);
    if (code == ERROR_NONE)
        code = window_init(&window, file, path, size, error);
    if (code == ERROR_NONE)
        code = window_get(&window, from, size, &data, error);
    if (code == ERROR_NONE) {
        struct iovec piece = {.iov_base = window.data + (from - window.start), .iov_len = size};
        code = vfs_write_at(file, &piece, 1, from, error);
    }
    if (code == ERROR_NONE)
        code = vfs_sync(file, error);
    window_deinit(&window);
    vfs_close(file);
    return code;
}

/* All has been read: makes the disk what the index says. */
static enum error_code settle(struct recovery *recovery, struct error *error)
{
    for (size_t i = 0; i < recovery->leftover_count; i++) {
        if (!recovery->leftovers[i].torn)
            return refuse_leftover(&recovery->leftovers[i], NULL, error);
    }
    if (recovery->out->sequence == 0)
        return error_set(error, ERROR_CORRUPT, "log: there is no valid batch, not even entry 1. %s",
                         DAMAGE_ADVICE);
    enum error_code code = secure_last_batch(recovery, error);
    for (size_t i = 0; i < recovery->leftover_count && code == ERROR_NONE; i++)
        code = cut(recovery, &recovery->leftovers[i], error);
    /* A segment may have got its name without the directory having been synced. */
    if (code == ERROR_NONE)
        code = vfs_sync_directory(recovery->vfs, "log", error);
    return code;
}

enum error_code recovery_run(struct vfs *vfs, u64 directory_id, struct report *report,
                             struct log_index *index, struct recovered *recovered,
                             struct error *error)
{
    *recovered = (struct recovered){0};
    struct recovery recovery = {.vfs = vfs,
                                .report = report,
                                .directory_id = directory_id,
                                .index = index,
                                .out = recovered};
    u64 *ids = NULL;
    size_t count = 0;
    enum error_code code = recovery_list(vfs, &ids, &count, error);
    for (size_t i = 0; i < count && code == ERROR_NONE; i++)
        code = read_segment(&recovery, ids[i], error);
    if (code == ERROR_NONE) {
        recovered->first_segment = ids[0];
        recovered->last_segment = ids[count - 1];
        code = settle(&recovery, error);
    }
    memory_free(recovery.leftovers);
    memory_free(ids);
    return code;
}
