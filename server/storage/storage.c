/* storage.c - the door: opening, appending, reading.
 *
 * The server thread alone writes batches, so where the log ends is its own affair. What readers
 * need, the index and whether the storage has failed, is under the lock. A batch enters the index
 * after its sync, so a reader never sees what is not durable. The lock is never held while the disk
 * is used, so storage_room and storage_read never wait for a sync. */
#include "server/storage/storage.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/memory.h"
#include "common/sync.h"
#include "server/storage/log_index.h"
#include "server/storage/log_reader.h"
#include "server/storage/metadata.h"
#include "server/storage/preparer.h"
#include "server/storage/recovery.h"

/* How often the job that makes segments is told of progress. */
#define TELL_BYTES (256 * KIB)

/* How much is read at once to hand out the entries at start. */
#define DELIVER_BYTES (1 * MIB)
/* What storage_room holds back: a new leader's no-op must find a place on a full disk too. */
#define RESERVE_BYTES (64 * KIB)

struct storage {
    struct vfs *vfs;
    struct report *report;
    struct metadata_file metadata; /* server thread only */
    u64 directory_id;
    u64 first_segment;

    /* Where the next batch goes. Server thread only. */
    struct segment_info segment;
    struct vfs_file *file;
    u64 offset;
    u64 told_offset;      /* what the job was last told of it; 0: nothing in this segment */
    u64 sequence;         /* of the last batch */
    struct iovec *pieces; /* scratch of storage_append */
    u32 piece_capacity;
    struct storage_status figures;

    struct mutex lock;      /* a leaf */
    struct log_index index; /* Guarded by lock. */
    struct error failure;   /* ERROR_NONE: none; else final. Guarded by lock. */

    struct preparer preparer; /* has a lock of its own */
};

/* ---- failing for good ---- */

static enum error_code failed(struct storage *storage, struct error *error)
{
    mutex_lock(&storage->lock);
    enum error_code code = storage->failure.code;
    if (code != ERROR_NONE)
        *error = storage->failure;
    mutex_unlock(&storage->lock);
    return code;
}

/* From now on every call fails with this error. Whatever its code: what the disk holds is unknown,
 * and trying again could turn a failure into a lie. */
static enum error_code fail_for_good(struct storage *storage, struct error *error)
{
    if (error->code == ERROR_NO_SPACE)
        error->code = ERROR_IO; /* no space in space that was prewritten is a failing disk */
    error_add(error, "the disk failed, and this server must stop");
    mutex_lock(&storage->lock);
    storage->failure = *error;
    mutex_unlock(&storage->lock);
    return error->code;
}

/* ---- opening ---- */

static enum error_code lock_directory(struct vfs *vfs, struct error *error)
{
    enum error_code code = vfs_lock(vfs, "LOCK", error);
    if (code != ERROR_MISSING)
        return code;
    struct vfs_file *file = NULL;
    code = vfs_open(vfs, "LOCK", VFS_CREATE, &file, error);
    vfs_close(file);
    if (code == ERROR_NONE || code == ERROR_EXISTS)
        code = vfs_lock(vfs, "LOCK", error);
    return code;
}

/* Refuses a directory that was never made one, without leaving a trace in it. */
static enum error_code check_initialised(struct vfs *vfs, struct error *error)
{
    struct vfs_file *file = NULL;
    enum error_code code = vfs_open(vfs, "metadata", VFS_READ, &file, error);
    vfs_close(file);
    if (code == ERROR_MISSING)
        error_set(error, code, "%s is no data directory yet: make it one with raftd --init, once",
                  vfs->root);
    return code;
}

static enum error_code open_metadata(struct storage *storage, struct error *error)
{
    enum error_code code = check_initialised(storage->vfs, error);
    if (code == ERROR_NONE)
        code = lock_directory(storage->vfs, error);
    if (code == ERROR_NONE)
        code = metadata_open(&storage->metadata, storage->vfs, storage->report, error);
    storage->directory_id = storage->metadata.current.directory_id;
    return code;
}

static enum error_code count_start(struct storage *storage, u64 start_id, struct error *error)
{
    struct metadata changed = storage->metadata.current;
    changed.start_count++;
    for (u32 i = METADATA_STARTS - 1; i > 0; i--)
        changed.starts[i] = changed.starts[i - 1];
    changed.starts[0] = start_id;
    enum error_code code = metadata_save(&storage->metadata, &changed, error);
    if (code == ERROR_NONE)
        code = vfs_sync_directory(storage->vfs, ".", error);
    return code;
}

/* The empty segments behind the tail will be used next. */
static enum error_code open_segments(struct storage *storage, const struct storage_options *options,
                                     const struct recovered *recovered, struct error *error)
{
    preparer_init(&storage->preparer, storage->vfs, storage->report, storage->directory_id,
                  segment_size_for(options->segment_bytes), recovered->last_segment + 1,
                  recovered->disk_bytes);
    char path[SEGMENT_PATH_SIZE];
    segment_path(recovered->tail.id, path);
    enum error_code code = vfs_open(storage->vfs, path, VFS_READ_WRITE, &storage->file, error);
    for (u64 id = recovered->tail.id + 1; id <= recovered->last_segment && code == ERROR_NONE;
         id++) {
        struct segment_info info = {.id = id, .directory_id = storage->directory_id};
        struct vfs_file *file = NULL;
        segment_path(id, path);
        code = vfs_open(storage->vfs, path, VFS_READ_WRITE, &file, error);
        if (code != ERROR_NONE)
            break;
        code = vfs_size(file, &info.size, error);
        if (code == ERROR_NONE)
            preparer_put(&storage->preparer, file, &info);
        else
            vfs_close(file);
    }
    if (code == ERROR_NONE)
        code = preparer_start(&storage->preparer, error);
    if (code != ERROR_NONE)
        preparer_deinit(&storage->preparer);
    return code;
}

/* Reads records of live entries from `first` on into `to`, row by row, as long as the log is not
 * truncated meanwhile. */
static enum error_code read_entries(struct storage *storage, u64 first, u64 bytes_max,
                                    struct buffer *to, u32 *count, struct error *error)
{
    *count = 0;
    u64 truncations = 0;
    while (*count == 0 || to->size < bytes_max) {
        struct log_row row;
        u64 end = 0;
        mutex_lock(&storage->lock);
        bool found = log_index_find(&storage->index, first + *count, &row, &end);
        u64 truncations_now = storage->index.truncations;
        mutex_unlock(&storage->lock);
        if (*count == 0)
            truncations = truncations_now;
        if (!found || truncations_now != truncations)
            break;
        u32 before = *count;
        enum error_code code = log_read_row(storage->vfs, storage->directory_id, &row,
                                            first + *count, end, bytes_max, to, count, error);
        if (code != ERROR_NONE)
            return code;
        if (first + *count < end || *count == before)
            break; /* the next record would be too much */
    }
    if (*count == 0)
        return error_set(error, ERROR_MISSING, "the log has no entry %" PRIu64, first);
    return ERROR_NONE;
}

/* Hands out every live entry in order. */
static enum error_code deliver(struct storage *storage,
                               void (*each)(void *context, const struct entry *entry,
                                            const u8 *record, u32 size),
                               void *context, struct entry_id last, struct error *error)
{
    struct buffer records;
    buffer_init(&records);
    struct entry entry = {.id = {0, 0}};
    enum error_code code = ERROR_NONE;
    while (entry.id.index < last.index && code == ERROR_NONE) {
        u32 count;
        buffer_clear(&records);
        code = read_entries(storage, entry.id.index + 1, DELIVER_BYTES, &records, &count, error);
        for (size_t at = 0; at < records.size && code == ERROR_NONE;) {
            u64 term = entry.id.term;
            u32 size = record_peek(records.data + at, &entry);
            if (entry.id.term < term)
                code = error_set(error, ERROR_CORRUPT,
                                 "log: entry %" PRIu64 " has term %" PRIu64
                                 ", the one before it has %" PRIu64,
                                 entry.id.index, entry.id.term, term);
            else
                each(context, &entry, records.data + at, size);
            at += size;
        }
    }
    buffer_deinit(&records);
    return code;
}

enum error_code
storage_open(struct vfs *vfs, const struct storage_options *options, struct report *report,
             void (*each)(void *context, const struct entry *entry, const u8 *record, u32 size),
             void *context, struct storage_recovery *recovery, struct storage **storage,
             struct error *error)
{
    struct recovered recovered;
    struct storage *opened = memory_alloc_zero(1, sizeof(*opened));
    *storage = NULL;
    *recovery = (struct storage_recovery){0};
    opened->vfs = vfs;
    opened->report = report;
    mutex_init(&opened->lock);
    log_index_init(&opened->index);
    enum error_code code = open_metadata(opened, error);
    if (code == ERROR_NONE)
        code = recovery_run(vfs, opened->directory_id, report, &opened->index, &recovered, error);
    if (code == ERROR_NONE)
        code = count_start(opened, options->start_id, error);
    if (code != ERROR_NONE)
        goto close_metadata;
    *recovery = (struct storage_recovery){
        .metadata = opened->metadata.current,
        .last = recovered.last,
        .commit_hint = u64_min(recovered.commit_hint, recovered.last.index),
        .torn_bytes = recovered.torn_bytes,
    };
    opened->first_segment = recovered.first_segment;
    opened->segment = recovered.tail;
    opened->offset = recovered.tail_offset;
    opened->sequence = recovered.sequence;
    code = deliver(opened, each, context, recovered.last, error);
    if (code == ERROR_NONE)
        code = open_segments(opened, options, &recovered, error);
    if (code != ERROR_NONE)
        goto close_metadata;
    *storage = opened;
    return ERROR_NONE;

close_metadata:
    vfs_close(opened->file);
    metadata_close(&opened->metadata);
    log_index_deinit(&opened->index);
    mutex_deinit(&opened->lock);
    memory_free(opened);
    return error_add(error, "open data directory %s", vfs->root);
}

void storage_close(struct storage *storage)
{
    if (storage == NULL)
        return;
    preparer_deinit(&storage->preparer);
    vfs_close(storage->file);
    metadata_close(&storage->metadata);
    log_index_deinit(&storage->index);
    mutex_deinit(&storage->lock);
    memory_free(storage->pieces);
    memory_free(storage);
}

/* ---- metadata ---- */

enum error_code storage_save_metadata(struct storage *storage, u64 current_term,
                                      server_id voted_for, struct error *error)
{
    enum error_code code = failed(storage, error);
    if (code != ERROR_NONE)
        return code;
    ASSERT(current_term >= storage->metadata.current.current_term);
    struct metadata changed = storage->metadata.current;
    changed.current_term = current_term;
    changed.voted_for = voted_for;
    code = metadata_save(&storage->metadata, &changed, error);
    storage->figures.syncs += METADATA_SLOTS;
    return code == ERROR_NONE ? code : fail_for_good(storage, error);
}
/* ---- appending ---- */

/* The records of an append that are not yet part of a batch. */
struct supply {
    const struct span *spans;
    u32 span_count;
    u32 span; /* where the next record is */
    u32 at;   /* offset in it */
};

static bool supply_empty(const struct supply *supply)
{
    return supply->span == supply->span_count;
}

/* The bytes of one batch's records. */
struct portion {
    struct supply from; /* where they begin */
    u64 size;
    u32 count;
    u32 pieces; /* spans that they are in */
    struct entry_id last;
};

/* Takes as many records as a batch with room for `capacity` bytes of them can hold. */
static void supply_take(struct supply *supply, u64 capacity, struct portion *portion)
{
    *portion = (struct portion){.from = *supply};
    while (!supply_empty(supply)) {
        const struct span *span = &supply->spans[supply->span];
        bool taken = false;
        while (supply->at < span->size) {
            struct entry entry;
            u32 size = record_peek(span->data + supply->at, &entry);
            ASSERT(size >= RECORD_HEADER_SIZE && size <= span->size - supply->at);
            if (portion->size + size > capacity)
                break;
            portion->size += size;
            portion->count++;
            portion->last = entry.id;
            supply->at += size;
            taken = true;
        }
        portion->pieces += taken;
        if (supply->at < span->size)
            return;
        supply->span++;
        supply->at = 0;
    }
}

/* How many new segments it takes to hold the supply. Errors: ERROR_NO_SPACE when a record fits in
 * no segment. */
static enum error_code count_segments(struct storage *storage, struct supply supply, size_t *needed,
                                      struct error *error)
{
    struct portion portion;
    *needed = 0;
    supply_take(&supply, batch_capacity(storage->segment.size - storage->offset), &portion);
    while (!supply_empty(&supply)) {
        u64 size = preparer_spare_size(&storage->preparer, *needed);
        supply_take(&supply, batch_capacity(size - SEGMENT_HEADER_SIZE), &portion);
        if (portion.count == 0)
            return error_set(error, ERROR_NO_SPACE,
                             "a record is too large for a segment of %" PRIu64 " bytes", size);
        ++*needed;
    }
    return ERROR_NONE;
}

static void use_next_segment(struct storage *storage)
{
    struct spare spare = preparer_take(&storage->preparer);
    ASSERT(spare.info.id == storage->segment.id + 1);
    vfs_close(storage->file);
    storage->file = spare.file;
    storage->segment = spare.info;
    storage->offset = SEGMENT_HEADER_SIZE;
    storage->told_offset = 0;
}

/* Tells the job from time to time how far this segment is filled. */
static void tell_progress(struct storage *storage)
{
    if (storage->offset - storage->told_offset < TELL_BYTES && storage->told_offset != 0)
        return;
    storage->told_offset = storage->offset;
    preparer_keep_step(&storage->preparer, storage->offset);
}

/* Lists the pieces of a batch, with room for header, padding and trailer left around them, and
 * fills in what the header says of the records. */
static void gather(struct storage *storage, const struct portion *portion, struct batch *batch)
{
    u32 needed = portion->pieces + 3;
    if (needed > storage->piece_capacity) {
        storage->pieces = memory_resize(storage->pieces, needed * 2 * sizeof(storage->pieces[0]));
        storage->piece_capacity = needed * 2;
    }
    struct blank_count blank;
    blank_count_init(&blank, storage->offset + BATCH_HEADER_SIZE);
    u64 left = portion->size;
    struct supply from = portion->from;
    for (u32 i = 1; i <= portion->pieces; i++) {
        const struct span *span = &from.spans[from.span];
        while (from.at == span->size) { /* an empty span, or one that ended with the last batch */
            span = &from.spans[++from.span];
            from.at = 0;
        }
        u32 size = (u32)u64_min(left, span->size - from.at);
        const u8 *data = span->data + from.at;
        storage->pieces[i] = (struct iovec){.iov_base = (u8 *)(uintptr_t)data, .iov_len = size};
        batch->records_crc = crc32c(batch->records_crc, data, size);
        blank_count_add(&blank, data, size);
        left -= size;
        from.span++;
        from.at = 0;
    }
    ASSERT(left == 0);
    static const u8 zeros[8];
    size_t padding = (size_t)(batch_total_size(portion->size) - BATCH_OVERHEAD - portion->size);
    storage->pieces[portion->pieces + 1] =
        (struct iovec){.iov_base = (u8 *)(uintptr_t)zeros, .iov_len = padding};
    blank_count_add(&blank, zeros, padding);
    batch->blank_sectors = blank.blank;
}

static enum error_code sync_timed(struct storage *storage, struct error *error)
{
    u64 began_ns = clock_monotonic_ns();
    enum error_code code = vfs_sync(storage->file, error);
    u64 took_ns = clock_monotonic_ns() - began_ns;
    storage->figures.syncs++;
    storage->figures.sync_ns_total += took_ns;
    storage->figures.sync_ns_max = u64_max(storage->figures.sync_ns_max, took_ns);
    return code;
}

/* Writes and syncs one batch into space that is there. Any failure is final. */
static enum error_code write_batch(struct storage *storage, const struct portion *portion,
                                   u64 first, u64 commit_hint, struct error *error)
{
    struct batch batch = {.sequence = storage->sequence + 1,
                          .first = first,
                          .last_term = portion->last.term,
                          .commit_hint = commit_hint,
                          .size = (u32)portion->size,
                          .count = portion->count};
    u8 header[BATCH_HEADER_SIZE];
    gather(storage, portion, &batch);
    batch_encode(&storage->segment, &batch, header);
    int pieces = (int)portion->pieces + 3;
    storage->pieces[0] = (struct iovec){.iov_base = header, .iov_len = sizeof(header)};
    storage->pieces[pieces - 1] = storage->pieces[0];
    u64 offset = storage->offset;
    ASSERT(batch_total_size(portion->size) <= storage->segment.size - offset);
    enum error_code code = vfs_write_at(storage->file, storage->pieces, pieces, offset, error);
    if (code == ERROR_NONE)
        code = sync_timed(storage, error);
    if (code != ERROR_NONE)
        return fail_for_good(storage, error);
    storage->offset += batch_total_size(portion->size);
    storage->sequence++;
    tell_progress(storage);
    mutex_lock(&storage->lock);
    log_index_add(&storage->index, first, portion->count, storage->segment.id, offset);
    mutex_unlock(&storage->lock);
    return ERROR_NONE;
}

enum error_code storage_append(struct storage *storage, const struct span *spans, u32 span_count,
                               u64 first, u32 count, struct entry_id last, u64 commit_hint,
                               struct error *error)
{
    enum error_code code = failed(storage, error);
    if (code != ERROR_NONE || count == 0)
        return code;
    ASSERT(first > 0 && first <= storage->index.last + 1); /* only this thread changes it */
    struct supply supply = {.spans = spans, .span_count = span_count};
    size_t needed;
    code = count_segments(storage, supply, &needed, error);
    if (code == ERROR_NONE && needed > 0)
        code = preparer_ensure(&storage->preparer, needed, error);
    if (code == ERROR_SYSTEM)
        code = error->code = ERROR_NO_SPACE; /* no segment now, perhaps later: the same to all */
    if (code == ERROR_NO_SPACE)
        return error_add(error, "append entry %" PRIu64, first);
    if (code != ERROR_NONE)
        return fail_for_good(storage, error);
    u64 next = first;
    while (!supply_empty(&supply)) {
        struct portion portion;
        supply_take(&supply, batch_capacity(storage->segment.size - storage->offset), &portion);
        if (portion.count == 0) {
            use_next_segment(storage);
            continue;
        }
        code = write_batch(storage, &portion, next, commit_hint, error);
        if (code != ERROR_NONE)
            return code;
        next += portion.count;
    }
    ASSERT(next == first + count && last.index + 1 == next);
    return ERROR_NONE;
}

enum error_code storage_check(struct storage *storage, struct error *error)
{
    enum error_code code = failed(storage, error);
    if (code != ERROR_NONE)
        return code;
    code = preparer_check(&storage->preparer, error);
    return code == ERROR_NONE ? code : fail_for_good(storage, error);
}

u64 storage_room(struct storage *storage)
{
    struct error ignored;
    if (failed(storage, &ignored) != ERROR_NONE)
        return 0;
    /* The next segment keeps step with this one and is ready before half of this is full; if the
     * disk was too slow for that, it is time to wait: a refusal would call it full. */
    if (storage->segment.size - storage->offset < storage->segment.size / 2)
        preparer_await(&storage->preparer);
    /* Records are not divided, so how much of both segments an append can fill depends on its
     * records; but what fits in either one fits. */
    u64 room = batch_capacity(storage->segment.size - storage->offset);
    u64 spare = preparer_largest(&storage->preparer);
    if (spare != 0)
        room = u64_max(room, batch_capacity(spare - SEGMENT_HEADER_SIZE));
    u64 reserve = u64_min(RESERVE_BYTES, storage->segment.size / 8);
    return room > reserve ? room - reserve : 0;
}

/* ---- reading ---- */

enum error_code storage_read(struct storage *storage, u64 first, u64 bytes_max, u32 *count,
                             struct span *records, struct error *error)
{
    *count = 0;
    *records = (struct span){0};
    enum error_code code = failed(storage, error);
    if (code != ERROR_NONE)
        return code;
    struct buffer bytes;
    buffer_init(&bytes);
    code = read_entries(storage, first, bytes_max, &bytes, count, error);
    if (code == ERROR_NONE) {
        struct block *block = block_create_copy(bytes.data, (u32)bytes.size);
        *records = span_of(block, block->data, (u32)bytes.size);
        block_release(block);
    } else {
        *count = 0;
        error_add(error, "read the log");
    }
    buffer_deinit(&bytes);
    return code;
}

void storage_status(struct storage *storage, struct storage_status *status)
{
    *status = storage->figures;
    preparer_figures(&storage->preparer, storage->first_segment, &status->segments,
                     &status->disk_bytes);
}
