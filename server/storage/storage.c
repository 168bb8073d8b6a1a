/* storage.c - the door: appending, reading, removing. Opening is in open.c.
 *
 * The server thread alone writes batches, so where the log ends is its own affair. What readers
 * need, the index and whether the storage has failed, is under the lock. A batch enters the index
 * after its sync, so a reader never sees what is not durable. The lock is never held while the disk
 * is used, so storage_room and storage_read never wait for a sync. */
#include <inttypes.h>

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/memory.h"
#include "server/storage/inside.h"
#include "server/storage/log_reader.h"

/* How often the job that makes segments is told of progress: each so many bytes, or each such part
 * of a segment, where that is less. */
#define TELL_BYTES (256 * KIB)
#define TELL_PARTS 16

/* What storage_room holds back: a new leader's no-op must find a place on a full disk too. */
#define RESERVE_BYTES (64 * KIB)

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

void storage_close(struct storage *storage)
{
    if (storage == NULL)
        return;
    preparer_deinit(&storage->preparer);
    vfs_close(storage->file);
    known_peers_close(&storage->known_peers);
    metadata_close(&storage->metadata);
    log_index_deinit(&storage->index);
    mutex_deinit(&storage->lock);
    memory_free(storage->pieces);
    memory_free(storage);
}

/* ---- waiting for the disk ---- */

static u64 begin_wait(struct storage *storage)
{
    u64 now_ns = clock_monotonic_ns();
    liveness_begin_wait(storage->liveness, now_ns);
    return now_ns;
}

static u64 end_wait(struct storage *storage)
{
    liveness_end_wait(storage->liveness);
    return clock_monotonic_ns();
}

/* The wait for the disk that began then is over; `what` it was for. */
static void note_wait(struct storage *storage, struct histogram *histogram, const char *what,
                      u64 began_ns)
{
    u64 now_ns = end_wait(storage);
    u64 took_ns = now_ns - began_ns;
    histogram_add(histogram, took_ns);
    storage->timing.waited_ns += took_ns;
    recent_max_add(&storage->timing.recent, now_ns, took_ns);
    slow_sync_note(&storage->slow, storage->report, what, now_ns, took_ns);
}

/* A write of the log is over. It copies, mostly, and is the thread's own work; but a system that
 * has much to bring to the disk makes it wait. */
static void note_write(struct storage *storage, u64 began_ns)
{
    u64 now_ns = end_wait(storage);
    histogram_add(&storage->timing.writes, now_ns - began_ns);
    slow_sync_note(&storage->slow, storage->report, "a write of the log", now_ns,
                   now_ns - began_ns);
}

const struct storage_timing *storage_timing(const struct storage *storage)
{
    return &storage->timing;
}

void storage_reset_timing(struct storage *storage)
{
    storage->timing = (struct storage_timing){.waited_ns = storage->timing.waited_ns};
}

void storage_set_liveness(struct storage *storage, struct liveness *liveness)
{
    storage->liveness = liveness;
}

void storage_set_slow_sync(struct storage *storage, u64 limit_ns)
{
    storage->slow.limit_ns = limit_ns;
}

/* ---- metadata ---- */

static enum error_code save_metadata(struct storage *storage, const struct metadata *changed,
                                     struct error *error)
{
    u64 began_ns = begin_wait(storage);
    enum error_code code = metadata_save(&storage->metadata, changed, error);
    note_wait(storage, &storage->timing.metadata, "a sync of the metadata", began_ns);
    return code == ERROR_NONE ? code : fail_for_good(storage, error);
}

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
    return save_metadata(storage, &changed, error);
}

enum error_code storage_save_acked_through(struct storage *storage, struct entry_id promised,
                                           struct error *error)
{
    enum error_code code = failed(storage, error);
    if (code != ERROR_NONE)
        return code;
    struct metadata changed = storage->metadata.current;
    changed.acked_through = promised;
    return save_metadata(storage, &changed, error);
}

enum error_code storage_save_own(struct storage *storage, const struct identity *own,
                                 u64 current_term, server_id voted_for, struct error *error)
{
    enum error_code code = failed(storage, error);
    if (code != ERROR_NONE)
        return code;
    struct metadata changed = storage->metadata.current;
    changed.non_voter = own->non_voter;
    changed.blank = own->blank;
    changed.incarnation = own->incarnation;
    changed.readmitted = own->readmitted;
    changed.joined_through = own->joined_through;
    changed.current_term = current_term;
    changed.voted_for = voted_for;
    return save_metadata(storage, &changed, error);
}

enum error_code storage_save_known_peers(struct storage *storage, const struct known_peer *met,
                                         u32 count, struct error *error)
{
    enum error_code code = failed(storage, error);
    if (code != ERROR_NONE)
        return code;
    u64 began_ns = begin_wait(storage);
    code = known_peers_save(&storage->known_peers, storage->directory_id, met, count, error);
    note_wait(storage, &storage->timing.metadata, "a sync of the metadata", began_ns);
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
    u64 step = u64_min(TELL_BYTES, storage->segment.size / TELL_PARTS);
    if (storage->offset - storage->told_offset < step && storage->told_offset != 0)
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
    u64 began_ns = begin_wait(storage);
    enum error_code code = vfs_sync(storage->file, error);
    note_wait(storage, &storage->timing.syncs, "a sync of the log", began_ns);
    return code;
}

/* Writes and syncs one batch into space that is there. Any failure is final. */
static enum error_code write_batch(struct storage *storage, const struct portion *portion,
                                   enum batch_mark mark, u64 first, u64 commit_hint,
                                   struct error *error)
{
    struct batch batch = {.sequence = storage->sequence + 1,
                          .first = first,
                          .last_term = portion->last.term,
                          .commit_hint = commit_hint,
                          .size = (u32)portion->size,
                          .count = portion->count};
    u8 header[BATCH_HEADER_SIZE];
    gather(storage, portion, &batch);
    if (portion->count == 0)
        batch.records_crc = mark;
    batch_encode(&storage->segment, &batch, header);
    int pieces = (int)portion->pieces + 3;
    storage->pieces[0] = (struct iovec){.iov_base = header, .iov_len = sizeof(header)};
    storage->pieces[pieces - 1] = storage->pieces[0];
    u64 offset = storage->offset;
    ASSERT(batch_total_size(portion->size) <= storage->segment.size - offset);
    u64 began_ns = begin_wait(storage);
    enum error_code code = vfs_write_at(storage->file, storage->pieces, pieces, offset, error);
    note_write(storage, began_ns);
    if (code == ERROR_NONE)
        code = sync_timed(storage, error);
    if (code != ERROR_NONE)
        return fail_for_good(storage, error);
    storage->offset += batch_total_size(portion->size);
    storage->newest_segment = storage->segment.id;
    storage->sequence++;
    tell_progress(storage);
    if (portion->count == 0)
        return ERROR_NONE;
    mutex_lock(&storage->lock);
    log_index_add(&storage->index, first, portion->count, storage->segment.id, offset);
    mutex_unlock(&storage->lock);
    return ERROR_NONE;
}

static enum error_code ensure_segments(struct storage *storage, size_t needed, struct error *error)
{
    if (needed == 0)
        return ERROR_NONE;
    u64 began_ns = begin_wait(storage);
    bool waited;
    enum error_code code = preparer_ensure(&storage->preparer, needed, &waited, error);
    if (waited)
        note_wait(storage, &storage->timing.segments, "making a segment of the log", began_ns);
    else
        (void)end_wait(storage);
    if (code == ERROR_SYSTEM)
        code = error->code = ERROR_NO_SPACE; /* no segment now, perhaps later: the same to all */
    if (code != ERROR_NONE && code != ERROR_NO_SPACE)
        return fail_for_good(storage, error);
    return code;
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
    if (code == ERROR_NONE)
        code = ensure_segments(storage, needed, error);
    if (code == ERROR_NO_SPACE)
        return error_add(error, "append entry %" PRIu64, first);
    if (code != ERROR_NONE)
        return code;
    u64 next = first;
    while (!supply_empty(&supply)) {
        struct portion portion;
        supply_take(&supply, batch_capacity(storage->segment.size - storage->offset), &portion);
        if (portion.count == 0) {
            use_next_segment(storage);
            continue;
        }
        code = write_batch(storage, &portion, BATCH_END, next, commit_hint, error);
        if (code != ERROR_NONE)
            return code;
        next += portion.count;
    }
    ASSERT(next == first + count && last.index + 1 == next);
    return ERROR_NONE;
}

/* Writes and syncs a batch without records: the entry before the next one is `last`. */
static enum error_code write_mark(struct storage *storage, enum batch_mark mark,
                                  struct entry_id last, u64 commit_hint, struct error *error)
{
    struct portion nothing = {.last = last};
    enum error_code code = failed(storage, error);
    bool fits = storage->segment.size - storage->offset >= batch_total_size(0);
    if (code == ERROR_NONE && !fits)
        code = ensure_segments(storage, 1, error);
    if (code != ERROR_NONE)
        return code == ERROR_NO_SPACE ? fail_for_good(storage, error) : code;
    if (!fits)
        use_next_segment(storage);
    return write_batch(storage, &nothing, mark, last.index + 1, commit_hint, error);
}

enum error_code storage_reset(struct storage *storage, struct entry_id base, struct error *error)
{
    enum error_code code = write_mark(storage, BATCH_BEGINNING, base, base.index, error);
    if (code != ERROR_NONE)
        return error_add(error, "begin the log anew behind entry %" PRIu64, base.index);
    mutex_lock(&storage->lock);
    log_index_reset(&storage->index, base.index);
    mutex_unlock(&storage->lock);
    preparer_remove_before(&storage->preparer, storage->segment.id);
    return ERROR_NONE;
}

enum error_code storage_cut(struct storage *storage, struct entry_id last, u64 commit_hint,
                            struct error *error)
{
    enum error_code code = write_mark(storage, BATCH_END, last, commit_hint, error);
    if (code != ERROR_NONE)
        return error_add(error, "cut the log behind entry %" PRIu64, last.index);
    mutex_lock(&storage->lock);
    log_index_truncate(&storage->index, last.index);
    mutex_unlock(&storage->lock);
    return ERROR_NONE;
}

void storage_compact(struct storage *storage, u64 first_needed)
{
    struct log_row row = {0};
    u64 end;
    mutex_lock(&storage->lock);
    /* A log whose every entry may go keeps its last batch: that tells where it goes on. */
    if (first_needed > storage->index.last)
        row.segment = storage->newest_segment;
    else if (!log_index_find(&storage->index, first_needed, &row, &end))
        row.segment = 0;
    log_index_forget(&storage->index, row.segment);
    mutex_unlock(&storage->lock);
    preparer_remove_before(&storage->preparer, row.segment);
}

struct vfs *storage_vfs(struct storage *storage)
{
    return storage->vfs;
}

enum error_code storage_check(struct storage *storage, struct error *error)
{
    enum error_code code = failed(storage, error);
    if (code != ERROR_NONE)
        return code;
    code = preparer_check(&storage->preparer, error);
    return code == ERROR_NONE ? code : fail_for_good(storage, error);
}

/* What an append can take with a spare of this size; 0: without one. Records are not divided, so
 * how much of both segments it can fill depends on its records; but what fits in either one fits.
 */
static u64 room_with(const struct storage *storage, u64 spare)
{
    u64 room = batch_capacity(storage->segment.size - storage->offset);
    if (spare != 0)
        room = u64_max(room, batch_capacity(spare - SEGMENT_HEADER_SIZE));
    u64 reserve = u64_min(RESERVE_BYTES, storage->segment.size / 8);
    return room > reserve ? room - reserve : 0;
}

u64 storage_room(struct storage *storage)
{
    struct error ignored;
    if (failed(storage, &ignored) != ERROR_NONE)
        return 0;
    u64 spare = preparer_largest(&storage->preparer);
    u64 left = storage->segment.size - storage->offset;
    if (spare == 0 && left < u64_max(storage->segment.size / 2, storage->record_bytes_max))
        preparer_hurry(&storage->preparer);
    return room_with(storage, spare);
}

u64 storage_room_soon(struct storage *storage)
{
    struct error ignored;
    if (failed(storage, &ignored) != ERROR_NONE)
        return 0;
    return room_with(storage, preparer_coming(&storage->preparer));
}

/* ---- reading ---- */

/* Whether the log holds that entry in that row still. Reading takes its time, and the place may
 * have been written over meanwhile, or the file removed: then what was read there says nothing of
 * damage. */
static bool is_where_it_was(struct storage *storage, u64 index, const struct log_row *before)
{
    struct log_row row;
    u64 end;
    mutex_lock(&storage->lock);
    bool found = log_index_find(&storage->index, index, &row, &end);
    mutex_unlock(&storage->lock);
    return found && row.segment == before->segment && row.offset == before->offset;
}

/* Row by row, as long as the log is not truncated meanwhile. */
enum error_code storage_read_entries(struct storage *storage, u64 first, u64 bytes_max,
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
        if (code != ERROR_NONE && !is_where_it_was(storage, first + before, &row))
            return error_set(error, ERROR_MISSING, "the log has no entry %" PRIu64 " any more",
                             first + before);
        if (code != ERROR_NONE)
            return code;
        if (first + *count < end || *count == before)
            break; /* the next record would be too much */
    }
    if (*count == 0)
        return error_set(error, ERROR_MISSING, "the log has no entry %" PRIu64, first);
    return ERROR_NONE;
}

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
    code = storage_read_entries(storage, first, bytes_max, &bytes, count, error);
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
    mutex_lock(&storage->lock);
    const struct log_index *index = &storage->index;
    u64 first_segment = index->count > 0 ? index->rows[0].segment : storage->segment.id;
    status->first_index = index->count > 0 ? index->rows[0].first : index->last + 1;
    mutex_unlock(&storage->lock);
    status->log_bytes =
        (storage->segment.id - first_segment) * storage->segment.size + storage->offset;
    preparer_figures(&storage->preparer, &status->segments, &status->disk_bytes);
}
