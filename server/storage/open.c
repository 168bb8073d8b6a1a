/* open.c - opening a data directory: identity, snapshot, log, and what follows from the two.
 *
 * The snapshot and the log are read each by itself, and then the log is judged: it goes on behind
 * the snapshot if it holds the snapshot's last entry. If it ends before that, or holds another
 * entry there, the snapshot was installed and the power failed before the log began anew: that is
 * done now. If it begins later than the snapshot ends, a snapshot was lost to damage, since no
 * segment is removed before a snapshot that stands for it is on disk. Then nothing of the log is of
 * use; but somebody may count on what it held, so the promise is saved before it is dropped. */
#include <inttypes.h>

#include "common/clock.h"
#include "common/memory.h"
#include "server/storage/inside.h"
#include "server/storage/snapshot.h"

/* How much is read at once to hand out the entries. */
#define DELIVER_BYTES (1 * MIB)
/* More batches than can have been lost without a trace. */
#define UNKNOWN_BATCHES 1000000

/* ---- identity ---- */

static enum error_code lock_directory(struct vfs *vfs, struct error *error)
{
    enum error_code code = vfs_lock(vfs, "LOCK", error);
    if (code != ERROR_MISSING)
        return code;
    error_clear(error);
    struct vfs_file *file = NULL;
    code = vfs_open(vfs, "LOCK", VFS_CREATE, &file, error);
    vfs_close(file);
    code = error_forgive(error, code, ERROR_EXISTS);
    if (code == ERROR_NONE)
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
        error_set(
            error, code,
            "%s is no data directory yet: make it one once, with raftd --bootstrap on the one "
            "server that founds the cluster, with raftd --init on all others",
            vfs->root);
    return code;
}

static enum error_code open_identity(struct storage *storage, struct storage_recovery *recovery,
                                     struct error *error)
{
    enum error_code code = check_initialised(storage->vfs, error);
    if (code == ERROR_NONE)
        code = lock_directory(storage->vfs, error);
    if (code == ERROR_NONE)
        code = metadata_open(&storage->metadata, storage->vfs, storage->report, error);
    storage->directory_id = storage->metadata.current.directory_id;
    if (code == ERROR_NONE)
        code = known_peers_open(&storage->known_peers, storage->vfs, storage->directory_id,
                                storage->report, recovery->met, &recovery->met_count, error);
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

/* Opens the segment with the log's end, and the empty ones behind it, which will be used next. */
static enum error_code open_tail(struct storage *storage, const struct recovered *recovered,
                                 struct error *error)
{
    char path[SEGMENT_PATH_SIZE];
    segment_path(recovered->tail.id, path);
    storage->segment = recovered->tail;
    storage->offset = recovered->tail_offset;
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
    return code;
}

/* Where something is damaged nothing is written any more: the log goes on in a new segment. The
 * number of its first batch is one that no lost batch can have had. */
static void leave_segments(struct storage *storage, const struct recovered *recovered)
{
    storage->segment = (struct segment_info){.id = recovered->last_segment,
                                             .size = storage->preparer.segment_bytes,
                                             .directory_id = storage->directory_id};
    storage->offset = storage->segment.size;
    if (recovered->reached_unknown)
        storage->sequence += UNKNOWN_BATCHES;
}

static enum error_code open_segments(struct storage *storage, const struct storage_options *options,
                                     const struct recovered *recovered, struct error *error)
{
    preparer_init(&storage->preparer, storage->vfs, storage->report, storage->directory_id,
                  segment_size_for(options->segment_bytes), recovered->first_segment,
                  recovered->last_segment + 1, recovered->disk_bytes);
    enum error_code code = ERROR_NONE;
    storage->record_bytes_max = options->record_bytes_max;
    storage->sequence = recovered->sequence;
    storage->newest_segment = recovered->tail.id;
    if (recovered->leave)
        leave_segments(storage, recovered);
    else
        code = open_tail(storage, recovered, error);
    if (code == ERROR_NONE)
        code = preparer_start(&storage->preparer, error);
    if (code != ERROR_NONE)
        preparer_deinit(&storage->preparer);
    return code;
}

/* ---- the snapshot ---- */

/* It is kept for whoever wants to look at it, but is nobody's snapshot any more. */
static enum error_code set_aside(struct vfs *vfs, struct entry_id id, struct error *error)
{
    char path[SNAPSHOT_PATH_SIZE];
    snapshot_path(id, path);
    enum error_code code = vfs_rename(vfs, path, "snapshots/damaged", error);
    return code == ERROR_NONE ? vfs_sync_directory(vfs, "snapshots", error) : code;
}

/* Tries them from the newest on; one that is damaged is said and passed over. */
static enum error_code load_snapshot(struct storage *storage, const struct storage_loader *loader,
                                     struct snapshot_info *info, struct error *error)
{
    const struct snapshot_taker taker = {loader->snapshot, loader->piece, loader->context};
    struct entry_id *ids = NULL;
    size_t count = 0;
    enum error_code code = snapshot_clean(storage->vfs, error);
    if (code == ERROR_NONE)
        code = snapshot_list(storage->vfs, &ids, &count, error);
    /* One may have got its name without the directory having been synced, and the log will be
     * compacted for it. */
    if (code == ERROR_NONE && count > 0)
        code = vfs_sync_directory(storage->vfs, "snapshots", error);
    bool tried = false;
    while (count > 0 && code == ERROR_NONE) {
        struct error why = {0};
        struct entry_id id = ids[--count];
        enum error_code read = snapshot_load(storage->vfs, id, &taker, info, &why);
        if (read == ERROR_NONE && !loader->snapshot_end(loader->context))
            read = error_set(&why, ERROR_CORRUPT,
                             "snapshot %" PRIu64 ": the machine cannot be made from it", id.index);
        if (read == ERROR_NONE) {
            memory_free(ids);
            return ERROR_NONE;
        }
        if (read != ERROR_CORRUPT) {
            *error = why;
            code = read;
            break;
        }
        tried = true;
        REPORT(storage->report, REPORT_ERROR, "storage",
               "%s; this snapshot is not used: what it stands for comes from an older one and the "
               "log, or else from the leader",
               why.text);
        code = set_aside(storage->vfs, id, error);
    }
    *info = (struct snapshot_info){0};
    memory_free(ids);
    if (code == ERROR_NONE && tried)
        loader->no_snapshot(loader->context);
    return code;
}

/* ---- the log against the snapshot ---- */

/* The term of a live entry, or of the base. */
static enum error_code term_at(struct storage *storage, const struct recovered *recovered,
                               u64 index, u64 *term, struct error *error)
{
    if (index == recovered->base.index) {
        *term = recovered->base.term;
        return ERROR_NONE;
    }
    struct buffer record;
    struct entry entry = {0};
    u32 count;
    buffer_init(&record);
    enum error_code code = storage_read_entries(storage, index, 1, &record, &count, error);
    if (code == ERROR_NONE)
        (void)record_peek(record.data, &entry);
    *term = entry.id.term;
    buffer_deinit(&record);
    return code;
}

/* The log begins anew behind the snapshot. */
static enum error_code begin_anew(struct storage *storage, struct recovered *recovered,
                                  struct entry_id base, struct error *error)
{
    recovered->base = base;
    recovered->last = base;
    return storage_reset(storage, base, error);
}

/* Saves through where the log once reached, unless more was saved before. Whatever is dropped from
 * the log afterwards, the promises for it stand.
 *
 * When it is not known how far it reached, this server leaves its term as well. No entry of a later
 * term can be among the lost ones, so the promise is kept as soon as one has come; and since its
 * leader has to be elected anew, one comes soon. Otherwise the promise would stand until the next
 * election, perhaps for months, and a second server in the same position would leave a cluster in
 * which nobody can ever be elected again. */
static enum error_code save_promise(struct storage *storage, const struct recovered *recovered,
                                    struct error *error)
{
    const struct metadata *metadata = &storage->metadata.current;
    struct entry_id promised = recovered->reached;
    /* No entry is of a later term than the current one, which was saved before it came. */
    if (recovered->reached_unknown)
        promised = (struct entry_id){metadata->current_term, LOST_INDEX};
    if (entry_id_is_up_to_date(metadata->acked_through, promised))
        return ERROR_NONE;
    enum error_code code = ERROR_NONE;
    if (recovered->reached_unknown)
        code = storage_save_metadata(storage, metadata->current_term + 1, SERVER_NONE, error);
    return code == ERROR_NONE ? storage_save_acked_through(storage, promised, error) : code;
}

/* There are entries missing between the snapshot and the log: what the log holds cannot be used. */
static enum error_code bridge_gap(struct storage *storage, struct recovered *recovered,
                                  struct entry_id snapshot, struct error *error)
{
    REPORT(storage->report, REPORT_ERROR, "storage",
           "the log begins behind entry %" PRIu64 ", and there is no snapshot that reaches so far "
           "(the newest usable one ends with entry %" PRIu64 "); this server has lost entries, "
           "gets them from the leader, and does not campaign before it has them",
           recovered->base.index, snapshot.index);
    enum error_code code = save_promise(storage, recovered, error);
    return code == ERROR_NONE ? begin_anew(storage, recovered, snapshot, error) : code;
}

/* Which part of the log goes on behind the snapshot (or behind nothing: {0, 0}). */
static enum error_code judge_log(struct storage *storage, struct recovered *recovered,
                                 struct entry_id snapshot, struct error *error)
{
    u64 term;
    /* The oldest record is the one behind the snapshot: nothing is missing. */
    if (recovered->base_is_there && snapshot.index + 1 == recovered->base.index) {
        recovered->base = snapshot;
        return ERROR_NONE;
    }
    if (snapshot.index < recovered->base.index)
        return bridge_gap(storage, recovered, snapshot, error);
    if (snapshot.index > recovered->last.index)
        return begin_anew(storage, recovered, snapshot, error);
    enum error_code code = term_at(storage, recovered, snapshot.index, &term, error);
    if (code == ERROR_NONE && term != snapshot.term)
        return begin_anew(storage, recovered, snapshot, error);
    return code;
}

/* What the damage leaves of the log is used, and cut where it ends. */
static enum error_code repair_log(struct storage *storage, struct recovered *recovered,
                                  struct entry_id snapshot, struct error *error)
{
    struct entry_id reached = recovered->reached;
    REPORT(storage->report, REPORT_ERROR, "storage",
           "the log can be used through entry %" PRIu64 "; it once reached %s%" PRIu64
           " of term %" PRIu64 ". This server gets what is missing from the leader, and until then "
           "does not campaign, and votes for nobody who lacks it",
           recovered->last.index, recovered->reached_unknown ? "beyond entry " : "entry ",
           reached.index, reached.term);
    enum error_code code = save_promise(storage, recovered, error);
    u64 sequence = storage->sequence;
    if (code == ERROR_NONE)
        code = judge_log(storage, recovered, snapshot, error);
    /* A log that was begun anew is whole. */
    if (code == ERROR_NONE && storage->sequence == sequence)
        code = storage_cut(storage, recovered->last,
                           u64_min(recovered->commit_hint, recovered->last.index), error);
    return code;
}

static enum error_code find_last(struct storage *storage, struct recovered *recovered,
                                 struct error *error)
{
    recovered->last = recovered->reached;
    if (recovered->damaged_first == 0)
        return ERROR_NONE;
    recovered->last.index = storage->index.last;
    return term_at(storage, recovered, recovered->last.index, &recovered->last.term, error);
}

static enum error_code settle_log(struct storage *storage, struct recovered *recovered,
                                  struct entry_id snapshot, struct error *error)
{
    enum error_code code = find_last(storage, recovered, error);
    if (code != ERROR_NONE)
        return code;
    if (recovered->damaged_first != 0)
        return repair_log(storage, recovered, snapshot, error);
    return judge_log(storage, recovered, snapshot, error);
}

/* ---- the whole ---- */

/* Hands out every live entry in order. */
static enum error_code deliver(struct storage *storage, const struct storage_loader *loader,
                               const struct recovered *recovered, struct error *error)
{
    struct buffer records;
    buffer_init(&records);
    struct entry entry = {.id = recovered->base};
    enum error_code code = ERROR_NONE;
    while (entry.id.index < recovered->last.index && code == ERROR_NONE) {
        u32 count;
        buffer_clear(&records);
        code = storage_read_entries(storage, entry.id.index + 1, DELIVER_BYTES, &records, &count,
                                    error);
        for (size_t at = 0; at < records.size && code == ERROR_NONE;) {
            u64 term = entry.id.term;
            u32 size = record_peek(records.data + at, &entry);
            if (entry.id.term < term)
                code = error_set(error, ERROR_CORRUPT,
                                 "log: entry %" PRIu64 " has term %" PRIu64
                                 ", the one before it has %" PRIu64,
                                 entry.id.index, entry.id.term, term);
            else
                loader->each(loader->context, &entry, records.data + at, size);
            at += size;
        }
    }
    buffer_deinit(&records);
    return code;
}

static u64 per_second(u64 count, u64 ns)
{
    return count * 1000 * 1000 / u64_max(1, ns / NS_PER_US);
}

/* How long the start took, and of what: so that one knows what to expect of the next. */
static void say_opened(const struct storage *storage, const struct storage_recovery *recovery)
{
    const struct storage_opening *opening = &recovery->opening;
    const struct snapshot_info *snapshot = &recovery->snapshot;
    if (snapshot->last.index != 0)
        REPORT(storage->report, REPORT_INFO, "storage",
               "snapshot of entry %" PRIu64 " loaded: %" PRIu64 " bytes in %" PRIu64 " ms (%" PRIu64
               " bytes/s)",
               snapshot->last.index, snapshot->size, opening->snapshot_ns / NS_PER_MS,
               per_second(snapshot->size, opening->snapshot_ns));
    if (opening->entries == 0) {
        REPORT(storage->report, REPORT_INFO, "storage",
               "log recovered: it is empty, and goes on behind entry %" PRIu64 " of term %" PRIu64,
               recovery->last.index, recovery->last.term);
        return;
    }
    REPORT(storage->report, REPORT_INFO, "storage",
           "log recovered: %" PRIu64 " entries, the last is %" PRIu64 " of term %" PRIu64
           ", in %" PRIu64 " ms (%" PRIu64 " entries/s)",
           opening->entries, recovery->last.index, recovery->last.term, opening->log_ns / NS_PER_MS,
           per_second(opening->entries, opening->log_ns));
}

/* Everything but the directory's identity. */
static enum error_code open_contents(struct storage *storage, const struct storage_options *options,
                                     const struct storage_loader *loader,
                                     struct storage_recovery *recovery, struct error *error)
{
    struct recovered recovered;
    enum error_code code = ERROR_NONE;
    u64 began_ns = clock_monotonic_ns();
    if (loader->snapshot != NULL)
        code = load_snapshot(storage, loader, &recovery->snapshot, error);
    u64 loaded_ns = clock_monotonic_ns();
    if (code == ERROR_NONE)
        code = recovery_run(storage->vfs, storage->directory_id, storage->report, &storage->index,
                            &recovered, error);
    if (code == ERROR_NONE)
        code = count_start(storage, options->start_id, error);
    if (code != ERROR_NONE)
        return code;
    code = open_segments(storage, options, &recovered, error);
    if (code != ERROR_NONE)
        return code;
    code = settle_log(storage, &recovered, recovery->snapshot.last, error);
    recovery->metadata = storage->metadata.current;
    recovery->base = recovered.base;
    recovery->last = recovered.last;
    recovery->commit_hint = u64_min(u64_max(recovered.commit_hint, recovery->snapshot.last.index),
                                    recovered.last.index);
    recovery->torn_bytes = recovered.torn_bytes;
    if (code == ERROR_NONE)
        code = deliver(storage, loader, &recovered, error);
    recovery->opening = (struct storage_opening){
        .snapshot_ns = loaded_ns - began_ns,
        .log_ns = clock_monotonic_ns() - loaded_ns,
        .entries = recovered.last.index - recovered.base.index,
    };
    if (code == ERROR_NONE)
        say_opened(storage, recovery);
    else
        preparer_deinit(&storage->preparer);
    return code;
}

enum error_code storage_open(struct vfs *vfs, const struct storage_options *options,
                             struct report *report, const struct storage_loader *loader,
                             struct storage_recovery *recovery, struct storage **storage,
                             struct error *error)
{
    struct storage *opened = memory_alloc_zero(1, sizeof(*opened));
    *storage = NULL;
    *recovery = (struct storage_recovery){0};
    opened->vfs = vfs;
    opened->report = report;
    mutex_init(&opened->lock);
    log_index_init(&opened->index);
    enum error_code code = open_identity(opened, recovery, error);
    if (code == ERROR_NONE)
        code = open_contents(opened, options, loader, recovery, error);
    if (code == ERROR_NONE) {
        *storage = opened;
        return ERROR_NONE;
    }
    vfs_close(opened->file);
    known_peers_close(&opened->known_peers);
    metadata_close(&opened->metadata);
    log_index_deinit(&opened->index);
    mutex_deinit(&opened->lock);
    memory_free(opened->pieces);
    memory_free(opened);
    return error_add(error, "open data directory %s", vfs->root);
}
