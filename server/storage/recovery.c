/* recovery.c - see recovery.h; what is torn and what is damaged, see segment.c; what is left of a
 * log of which something is damaged, see log_repair.h. */
#include "server/storage/recovery.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/memory.h"
#include "server/storage/advice.h"
#include "server/storage/log_repair.h"
#include "server/storage/scan.h"

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
    struct rebuild rebuild;
    struct recovered *out;
    struct leftover *leftovers;
    size_t leftover_count;
    size_t leftover_capacity;
    bool damaged; /* something is, and was said */
    bool gap; /* a segment is missing or cannot be read: batches behind the newest may be lost */
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

static void say_damage(struct recovery *recovery, const char *path, u64 offset, const char *why)
{
    recovery->damaged = true;
    REPORT(recovery->report, REPORT_ERROR, "storage", "%s: offset %" PRIu64 ": damaged: %s", path,
           offset, why);
}

/* A batch follows. If its number is the next one then what lay between was none of the log's. */
static void judge_leftovers(struct recovery *recovery, u64 sequence)
{
    const struct rebuild *rebuild = &recovery->rebuild;
    bool missing = rebuild->sequence != 0 && sequence != rebuild->sequence + 1;
    if (recovery->leftover_count > 0) /* readers go from batch to batch, and not over these bytes */
        log_index_truncate(rebuild->index, rebuild->index->last);
    for (size_t i = 0; i < recovery->leftover_count; i++) {
        const struct leftover *leftover = &recovery->leftovers[i];
        char path[SEGMENT_PATH_SIZE];
        segment_path(leftover->segment, path);
        if (missing)
            say_damage(recovery, path, leftover->offset, leftover->why);
        else
            REPORT(recovery->report, REPORT_WARN, "storage",
                   "%s: offset %" PRIu64 ": bytes behind the segment's last batch that should be "
                   "zero (%s); no batch is missing, so nothing is lost",
                   path, leftover->offset, leftover->why);
    }
    recovery->leftover_count = 0;
    recovery->gap = false;
}

/* Takes in a valid batch. */
static void take_batch(struct recovery *recovery, const struct scan *scan)
{
    struct recovered *out = recovery->out;
    struct entry first = {0};
    judge_leftovers(recovery, scan->batch.sequence);
    if (scan->batch.count > 0)
        (void)record_peek(scan->data + BATCH_HEADER_SIZE, &first);
    rebuild_take(&recovery->rebuild, &scan->batch, first.id, scan->info.id, scan->offset);
    out->tail = scan->info;
    out->tail_offset = scan->next;
    out->last_batch_offset = scan->offset;
    out->damaged_behind = false;
}

/* Bytes that were written wholly, and are wrong now. Returns whether to go on behind them. */
static bool take_damage(struct recovery *recovery, struct scan *scan)
{
    if (scan->sequence_gap) {
        say_damage(recovery, scan->path, scan->offset, scan->why);
        return scan_skip(scan); /* the batch itself is taken in next */
    }
    if (scan->header_valid || scan->trailer_valid) {
        judge_leftovers(recovery, scan->batch.sequence);
        say_damage(recovery, scan->path, scan->offset, scan->why);
        rebuild_lose(&recovery->rebuild, &scan->batch);
        recovery->out->damaged_behind = true;
        return scan_skip(scan);
    }
    note_leftover(recovery, scan, false);
    return scan_skip(scan);
}

/* Whether nothing was ever written behind the header of a segment that cannot be read. */
static enum error_code is_blank(struct scan *scan, bool *blank, struct error *error)
{
    u64 size = scan->window.file_size;
    *blank = true;
    for (u64 at = SEGMENT_HEADER_SIZE; at < size && *blank; at += WRITE_PIECE_SIZE) {
        const u8 *data;
        size_t piece = (size_t)u64_min(WRITE_PIECE_SIZE, size - at);
        enum error_code code = window_get(&scan->window, at, piece, &data, error);
        if (code != ERROR_NONE)
            return code;
        *blank = bytes_are_zero(data, piece);
    }
    return ERROR_NONE;
}

/* A segment whose header is damaged: what was in it is lost, unless nothing was. */
static enum error_code pass_over(struct recovery *recovery, struct scan *scan, u64 id,
                                 struct error *error)
{
    bool blank;
    say_damage(recovery, scan->path, scan->offset, scan->why);
    recovery->out->unusable = id;
    error_clear(error);
    enum error_code code = is_blank(scan, &blank, error);
    if (code == ERROR_NONE && !blank)
        recovery->gap = true;
    return code;
}

static enum error_code read_batches(struct recovery *recovery, struct scan *scan,
                                    struct error *error)
{
    for (;;) {
        enum scan_found found;
        enum error_code code = scan_next(scan, &found, error);
        if (code != ERROR_NONE)
            return code;
        switch (found) {
        case SCAN_BATCH:
            take_batch(recovery, scan);
            continue;
        case SCAN_END:
            return ERROR_NONE;
        case SCAN_TORN:
            note_leftover(recovery, scan, true);
            return ERROR_NONE;
        case SCAN_DAMAGED:
            if (!take_damage(recovery, scan))
                return ERROR_NONE;
            continue;
        }
    }
}

/* What was there is damaged, and was said or is said later. Nothing is written any more where the
 * disk fails, be it blank. */
static void note_unreadable(struct recovery *recovery, const struct scan *scan, u64 id)
{
    const struct window *window = &scan->window;
    recovery->out->unusable = id;
    REPORT(recovery->report, REPORT_ERROR, "storage",
           "%s: %" PRIu32 " places of %d bytes cannot be read, the first at offset %" PRIu64
           ": what was there is taken for damaged, and nothing new is written to this file",
           scan->path, window->unreadable_count, WINDOW_PART, window->unreadable[0] * WINDOW_PART);
}

/* Reads one segment to its end. */
static enum error_code read_segment(struct recovery *recovery, u64 id, struct error *error)
{
    struct scan scan;
    u64 sequence = recovery->rebuild.sequence;
    enum error_code code =
        scan_open(&scan, recovery->vfs, id, sequence == 0 ? 0 : sequence + 1, error);
    if (code == ERROR_NONE && scan.info.directory_id != recovery->directory_id)
        code = error_set(error, ERROR_MISMATCH,
                         "%s: offset 32: the segment is of directory %016" PRIx64
                         ", the metadata of %016" PRIx64,
                         scan.path, scan.info.directory_id, recovery->directory_id);
    recovery->out->disk_bytes += scan.window.file_size;
    if (code == ERROR_NONE)
        code = read_batches(recovery, &scan, error);
    else if (code == ERROR_CORRUPT)
        code = pass_over(recovery, &scan, id, error);
    if (scan.window.unreadable_count > 0)
        note_unreadable(recovery, &scan, id);
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

/* Writes bytes of a file once more as they stand, but for pages of zeros and what cannot be read.
 */
static enum error_code write_again(struct window *window, u64 from, u64 end, struct error *error)
{
    enum error_code code = ERROR_NONE;
    while (from < end && code == ERROR_NONE) {
        const u8 *data;
        size_t size = (size_t)(u64_min(end, (from / WINDOW_PART + 1) * WINDOW_PART) - from);
        code = window_get(window, from, size, &data, error);
        if (code == ERROR_NONE && !window_is_unreadable(window, from, size) &&
            !bytes_are_zero(data, size)) {
            struct iovec piece = {.iov_base = window->data + (from - window->start),
                                  .iov_len = size};
            code = vfs_write_at(window->file, &piece, 1, from, error);
        }
        from += size;
    }
    return code;
}

/* Makes bytes of a segment durable, `size` of them, or all that are there. */
static enum error_code secure(struct recovery *recovery, u64 segment, u64 from, u64 size,
                              struct error *error)
{
    char path[SEGMENT_PATH_SIZE];
    segment_path(segment, path);
    struct vfs_file *file = NULL;
    struct window window = {0};
    enum error_code code = vfs_open(recovery->vfs, path, VFS_READ_WRITE, &file, error);
    if (code == ERROR_NONE)
        code = window_init(&window, file, path, WRITE_PIECE_SIZE, error);
    window.lenient = true;
    if (code == ERROR_NONE && from < window.file_size)
        code = write_again(&window, from, from + u64_min(size, window.file_size - from), error);
    if (code == ERROR_NONE)
        code = vfs_sync(file, error);
    window_deinit(&window);
    vfs_close(file);
    return code;
}

/* A server that was killed may have left its last batch in the page cache alone, and one whose last
 * sync failed may have left it there marked as clean. So it is written once more as it stands, and
 * synced, before anybody relies on it.
 *
 * The damaged are no exception. That a batch is lost, which entries it held, and that nothing else
 * is missing is told by what can be read of it, and each later start must come to the same verdict.
 * Were it gone after a power cut, a hole without a name would stand before the batch that cuts the
 * log, and synced entries on both sides of it would be given up. */
static enum error_code secure_the_end(struct recovery *recovery, const u64 *ids, size_t count,
                                      struct error *error)
{
    const struct recovered *out = recovery->out;
    enum error_code code = ERROR_NONE;
    if (out->tail.id != 0 && !out->leave)
        return secure(recovery, out->tail.id, out->last_batch_offset,
                      out->tail_offset - out->last_batch_offset, error);
    for (size_t i = 0; i < count && code == ERROR_NONE; i++) {
        if (ids[i] >= out->tail.id)
            code = secure(recovery, ids[i], ids[i] == out->tail.id ? out->last_batch_offset : 0,
                          UINT64_MAX, error);
    }
    return code;
}

/* All has been read: makes the disk what the index says. Where something is damaged, what is torn
 * stays as well: by what follows it, damage is told from a torn tail, and this may be all that
 * does. Were it cut, and the power to fail before the promise is saved, the next start would know
 * of none. Nor need the space be zero, since nothing is written to these segments any more. */
static enum error_code settle(struct recovery *recovery, const u64 *ids, size_t count,
                              struct error *error)
{
    struct rebuild *rebuild = &recovery->rebuild;
    struct recovered *out = recovery->out;
    enum error_code code = ERROR_NONE;
    for (size_t i = 0; i < recovery->leftover_count; i++) {
        char path[SEGMENT_PATH_SIZE];
        if (recovery->leftovers[i].torn)
            continue;
        segment_path(recovery->leftovers[i].segment, path);
        say_damage(recovery, path, recovery->leftovers[i].offset, recovery->leftovers[i].why);
        recovery->gap = true;
    }
    if (recovery->gap)
        rebuild_lose_unknown(rebuild);
    if (rebuild->sequence == 0 && rebuild->damaged_first == 0)
        return error_set(error, ERROR_CORRUPT,
                         "log: there is no batch in it, not even entry 1. The log on this disk is "
                         "not what was written. Do not delete anything: " ADVICE_BEGIN_BLANK);
    out->leave =
        rebuild->damaged_first != 0 || out->damaged_behind || out->unusable >= out->tail.id;
    code = secure_the_end(recovery, ids, count, error);
    for (size_t i = 0; i < recovery->leftover_count && code == ERROR_NONE && !out->leave; i++) {
        if (recovery->leftovers[i].torn)
            code = cut(recovery, &recovery->leftovers[i], error);
    }
    /* A segment may have got its name without the directory having been synced. */
    if (code == ERROR_NONE)
        code = vfs_sync_directory(recovery->vfs, "log", error);
    return code;
}

static void conclude(struct recovery *recovery)
{
    const struct rebuild *rebuild = &recovery->rebuild;
    struct recovered *out = recovery->out;
    out->base = rebuild->base;
    out->base_is_there = rebuild->base_is_there;
    out->reached = rebuild->last;
    out->reached_unknown = rebuild->last_unknown;
    out->sequence = rebuild->sequence;
    out->commit_hint = rebuild->commit_hint;
    out->damaged_first = rebuild->damaged_first;
    if (recovery->damaged && rebuild->damaged_first == 0)
        REPORT(recovery->report, REPORT_INFO, "storage",
               "what is damaged was replaced by later entries: the log is whole");
}

enum error_code recovery_run(struct vfs *vfs, u64 directory_id, struct report *report,
                             struct log_index *index, struct recovered *recovered,
                             struct error *error)
{
    *recovered = (struct recovered){0};
    struct recovery recovery = {
        .vfs = vfs, .report = report, .directory_id = directory_id, .out = recovered};
    u64 *ids = NULL;
    size_t count = 0;
    rebuild_init(&recovery.rebuild, index);
    enum error_code code = recovery_list(vfs, &ids, &count, error);
    for (size_t i = 0; i < count && code == ERROR_NONE; i++) {
        if (i > 0 && ids[i] != ids[i - 1] + 1) {
            char path[SEGMENT_PATH_SIZE];
            segment_path(ids[i - 1] + 1, path);
            REPORT(report, REPORT_ERROR, "storage", "%s: the segment is missing", path);
            recovery.gap = true;
            recovered->unusable = ids[i - 1] + 1;
        }
        code = read_segment(&recovery, ids[i], error);
    }
    if (code == ERROR_NONE) {
        recovered->first_segment = ids[0];
        recovered->last_segment = ids[count - 1];
        code = settle(&recovery, ids, count, error);
        conclude(&recovery);
    }
    memory_free(recovery.leftovers);
    memory_free(ids);
    return code;
}
