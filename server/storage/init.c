/* init.c - makes a data directory: a blank one, which joins a cluster; or one that founds a
 * cluster, which is empty, or begins with the state in a snapshot of another one.
 *
 * In this order, each step synced before the next: `metadata.new`, whose presence says that what is
 * beside it is not yet anybody's; `LOCK`; `peers`; if a state is restored, `snapshots` with the
 * snapshot; `log` with segment 1 and its first batch; and at last `metadata.new` becomes
 * `metadata`. Cut short at any step, the directory has no `metadata`, so that storage_open refuses
 * it, and has nothing in it or `metadata.new`, so that storage_init and storage_restore know it for
 * their own and begin again: what is in `log` and `snapshots` then goes. A directory with a log but
 * neither of the two has lost its metadata, and is not touched.
 *
 * A cluster is founded in one place: servers that each made a directory of their own accord could
 * not agree on a random number. The first batch of that one holds entry 1, the configuration, of
 * term 1; all others get it from there. A blank directory's first batch is a *beginning* behind
 * nothing (segment.c).
 *
 * A restored one has no entry 1: what was in the old cluster's log stays there. Its snapshot is the
 * old one's with two changes in the head: the new cluster's id, and the new cluster's configuration
 * as if it had come in the snapshot's last entry (its members are others, and the old configuration
 * may be in the middle of a change). The last entry's id and time stay as they were, since the
 * machine's state goes on from them: a client's clock and positions do not go back. The first batch
 * is a *beginning* behind the last entry (segment.c), so that the log's base is its id; the term is
 * its term, and nobody has voted in it. The first election is for the term after it, so no entry of
 * the new cluster has a term that the old one had given to that index or to one before.
 *
 * Only one server of a new cluster is made so, and the others get the state from it: two that were
 * restored apart might differ for ever without noticing. Each restoring founds a cluster of its own
 * incarnation, so they refuse one another. */
#include <inttypes.h>
#include <stdio.h>

#include "common/crc32c.h"
#include "common/memory.h"
#include "server/storage/known_peers.h"
#include "server/storage/metadata.h"
#include "server/storage/segment.h"
#include "server/storage/snapshot.h"

/* What is found in the directory. */
struct census {
    bool metadata_new;
    bool metadata;
    bool snapshots;
    u32 ours;                     /* other names that one that was cut short leaves */
    u32 other;                    /* names that it does not */
    char name[SEGMENT_PATH_SIZE]; /* one of the others */
};

static void count_name(void *context, const char *name)
{
    struct census *census = context;
    if (strcmp(name, "metadata.new") == 0) {
        census->metadata_new = true;
    } else if (strcmp(name, "LOCK") == 0 || strcmp(name, "peers") == 0 ||
               strcmp(name, "log") == 0 || strcmp(name, "snapshots") == 0) {
        census->ours++;
        census->snapshots = census->snapshots || strcmp(name, "snapshots") == 0;
    } else {
        census->metadata = census->metadata || strcmp(name, "metadata") == 0;
        census->other++;
        snprintf(census->name, sizeof(census->name), "%s", name);
    }
}

static enum error_code refuse_unless_free(struct vfs *vfs, struct census *census,
                                          struct error *error)
{
    *census = (struct census){0};
    enum error_code code = vfs_list(vfs, ".", count_name, census, error);
    if (code != ERROR_NONE)
        return code;
    if (census->metadata)
        return error_set(
            error, ERROR_EXISTS,
            "%s: the directory is already initialised: start its server without this option",
            vfs->root);
    if (census->other > 0)
        return error_set(error, ERROR_EXISTS,
                         "%s: the directory is not empty (it has \"%s\"); a data directory must be "
                         "made in an empty one",
                         vfs->root, census->name);
    if (census->ours > 0 && !census->metadata_new)
        return error_set(
            error, ERROR_EXISTS,
            "%s: the directory has a log or snapshots but no metadata, so it was in use "
            "and has lost them; it is left as it is",
            vfs->root);
    return ERROR_NONE;
}

/* One name at a time, since a directory must not change while it is listed. */
static void take_name(void *context, const char *name)
{
    char(*path)[SEGMENT_PATH_SIZE] = context;
    u64 id;
    if (segment_name_parse(name, &id) || strcmp(name, "next.tmp") == 0)
        snprintf(*path, sizeof(*path), "log/%s", name);
}

/* Removes what was left in `log`. */
static enum error_code clear_log(struct vfs *vfs, struct error *error)
{
    for (;;) {
        char path[SEGMENT_PATH_SIZE] = "";
        enum error_code code = vfs_list(vfs, "log", take_name, &path, error);
        if (code != ERROR_NONE)
            return code;
        if (path[0] == '\0')
            return vfs_sync_directory(vfs, "log", error);
        code = vfs_remove(vfs, path, error);
        if (code != ERROR_NONE)
            return code;
    }
}

/* Removes what was left in `snapshots`. */
static enum error_code clear_snapshots(struct vfs *vfs, struct error *error)
{
    struct entry_id *ids = NULL;
    size_t count = 0;
    enum error_code code = snapshot_clean(vfs, error);
    if (code == ERROR_NONE)
        code = snapshot_list(vfs, &ids, &count, error);
    for (size_t i = 0; i < count && code == ERROR_NONE; i++)
        code = snapshot_remove(vfs, ids[i], error);
    memory_free(ids);
    return code;
}

/* Makes an empty file unless it is there. */
static enum error_code make_lock_file(struct vfs *vfs, struct error *error)
{
    struct vfs_file *file = NULL;
    enum error_code code = vfs_open(vfs, "LOCK", VFS_CREATE, &file, error);
    vfs_close(file);
    return error_forgive(error, code, ERROR_EXISTS);
}

/* How the log begins. */
struct beginning {
    const struct configuration *configuration; /* entry 1 */
    struct entry_id base;                      /* or, if that is NULL: behind this one */
};

/* The record of entry 1; nothing if the log begins behind one. */
static void encode_first_record(const struct beginning *beginning, struct buffer *record)
{
    if (beginning->configuration == NULL)
        return;
    struct buffer payload;
    buffer_init(&payload);
    configuration_encode(beginning->configuration, &payload);
    struct entry entry = {.id = {.term = 1, .index = 1},
                          .type = ENTRY_CONFIGURATION,
                          .version = ENTRY_VERSION,
                          .payload = payload.data,
                          .payload_size = (u32)payload.size};
    record_encode(&entry, buffer_reserve(record, record_size_of(&entry)));
    record->size = record_size_of(&entry);
    buffer_deinit(&payload);
}

static struct batch first_batch(const struct beginning *beginning, const struct buffer *record)
{
    if (beginning->configuration == NULL)
        return (struct batch){.sequence = 1,
                              .first = beginning->base.index + 1,
                              .last_term = beginning->base.term,
                              .commit_hint = beginning->base.index,
                              .records_crc = BATCH_BEGINNING};
    return (struct batch){.sequence = 1,
                          .first = 1,
                          .last_term = 1,
                          .commit_hint = 1,
                          .size = (u32)record->size,
                          .count = 1,
                          .records_crc = crc32c(0, record->data, record->size)};
}

static enum error_code write_first_batch(struct vfs_file *file, const struct segment_info *info,
                                         const struct beginning *beginning, struct error *error)
{
    struct buffer record;
    buffer_init(&record);
    encode_first_record(beginning, &record);
    struct batch batch = first_batch(beginning, &record);
    u64 total = batch_total_size(record.size);
    enum error_code code = ERROR_NONE;
    if (SEGMENT_HEADER_SIZE + total > info->size)
        code = error_set(error, ERROR_CONFIG,
                         "a configuration entry of %zu bytes does not fit in a segment of %" PRIu64,
                         record.size, info->size);
    if (code == ERROR_NONE) {
        u8 *data = memory_alloc_zero(1, total);
        if (record.size > 0)
            memcpy(data + BATCH_HEADER_SIZE, record.data, record.size);
        struct blank_count blank;
        blank_count_init(&blank, SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE);
        blank_count_add(&blank, data + BATCH_HEADER_SIZE, total - BATCH_OVERHEAD);
        batch.blank_sectors = blank.blank;
        batch_encode(info, &batch, data);
        memcpy(data + total - BATCH_HEADER_SIZE, data, BATCH_HEADER_SIZE);
        struct iovec piece = {.iov_base = data, .iov_len = total};
        code = vfs_write_at(file, &piece, 1, SEGMENT_HEADER_SIZE, error);
        memory_free(data);
    }
    if (code == ERROR_NONE)
        code = vfs_sync(file, error);
    buffer_deinit(&record);
    return code;
}

static enum error_code make_log(struct vfs *vfs, const struct segment_info *info,
                                const struct beginning *beginning, struct error *error)
{
    enum error_code code = vfs_make_directory(vfs, "log", error);
    bool left = code == ERROR_EXISTS;
    code = error_forgive(error, code, ERROR_EXISTS);
    if (left)
        code = clear_log(vfs, error);
    if (code == ERROR_NONE)
        code = vfs_sync_directory(vfs, ".", error);
    struct vfs_file *file = NULL;
    if (code == ERROR_NONE)
        code = segment_make(vfs, info, NULL, &file, error);
    if (code == ERROR_NONE)
        code = write_first_batch(file, info, beginning, error);
    vfs_close(file);
    if (code == ERROR_NONE)
        code = segment_publish(vfs, info->id, error);
    return code;
}

/* ---- the state of another cluster ---- */

/* Where a state comes from, and the head that it gets. */
struct source {
    struct vfs *from;
    const char *path;
    const struct snapshot_info *info;
    const struct metadata *metadata; /* of the new directory */
    const struct configuration *configuration;
};

/* A copy under way. */
struct copy {
    const struct source *source;
    struct vfs *to;
    struct snapshot_writer *writer; /* NULL before the head has come */
    bool failed;                    /* to write */
    struct error error;             /* why */
};

static bool copy_head(void *context, const struct snapshot_head *head)
{
    struct copy *copy = context;
    struct snapshot_head changed = {.last = head->last,
                                    .time_ns = head->time_ns,
                                    .configuration = *copy->source->configuration};
    changed.configuration.index = head->last.index;
    memcpy(changed.cluster_id, copy->source->metadata->cluster_id, CLUSTER_ID_SIZE);
    copy->failed =
        snapshot_writer_create(copy->to, &changed, &copy->writer, &copy->error) != ERROR_NONE;
    return !copy->failed;
}

static bool copy_piece(void *context, const u8 *data, size_t size)
{
    struct copy *copy = context;
    copy->failed = snapshot_writer_add(copy->writer, data, size, &copy->error) != ERROR_NONE;
    return !copy->failed;
}

/* Reads it once more, verifying all, and writes it as the new directory's. */
static enum error_code copy_snapshot(struct vfs *vfs, const struct source *source,
                                     struct error *error)
{
    struct copy copy = {.source = source, .to = vfs};
    const struct snapshot_taker taker = {copy_head, copy_piece, &copy};
    struct snapshot_info read, written;
    enum error_code code = snapshot_load_file(source->from, source->path, &taker, &read, error);
    if (copy.failed) {
        *error = copy.error;
        code = error->code;
    }
    if (code == ERROR_NONE &&
        (read.last.index != source->info->last.index || read.last.term != source->info->last.term ||
         read.size != source->info->size || read.checksum != source->info->checksum))
        code = error_set(error, ERROR_MISMATCH, "%s: the file was changed while it was being read",
                         source->path);
    if (code == ERROR_NONE)
        return snapshot_writer_finish(copy.writer, &written, error);
    if (copy.writer != NULL)
        snapshot_writer_abandon(copy.writer);
    return code;
}

/* ---- all of it ---- */

/* `source`: NULL unless there is a state to begin with. */
static enum error_code make_all(struct vfs *vfs, const struct storage_options *options,
                                const struct metadata *metadata, const struct source *source,
                                const struct beginning *beginning, struct error *error)
{
    ASSERT(metadata_cluster_id_valid(metadata->cluster_id) && metadata->self != SERVER_NONE);
    struct census census;
    struct segment_info info = {.id = 1,
                                .size = segment_size_for(options->segment_bytes),
                                .directory_id = metadata->directory_id};
    enum error_code code = refuse_unless_free(vfs, &census, error);
    if (code == ERROR_NONE)
        code = metadata_create(vfs, "metadata.new", metadata, error);
    if (code == ERROR_NONE)
        code = vfs_sync_directory(vfs, ".", error);
    if (code == ERROR_NONE)
        code = make_lock_file(vfs, error);
    if (code == ERROR_NONE && census.snapshots)
        code = clear_snapshots(vfs, error);
    if (code == ERROR_NONE && source != NULL)
        code = copy_snapshot(vfs, source, error);
    if (code == ERROR_NONE)
        code = known_peers_create(vfs, metadata->directory_id, error);
    if (code == ERROR_NONE)
        code = make_log(vfs, &info, beginning, error);
    if (code == ERROR_NONE)
        code = vfs_rename(vfs, "metadata.new", "metadata", error);
    if (code == ERROR_NONE)
        code = vfs_sync_directory(vfs, ".", error);
    return code;
}

/* The metadata of a directory that nobody has started on. */
static struct metadata fresh_metadata(const struct metadata *identity, u64 term)
{
    struct metadata metadata = *identity;
    metadata.start_count = 0;
    metadata.current_term = term;
    metadata.voted_for = SERVER_NONE;
    return metadata;
}

enum error_code storage_init(struct vfs *vfs, const struct storage_options *options,
                             const struct metadata *identity,
                             const struct configuration *configuration, struct error *error)
{
    struct metadata metadata = fresh_metadata(identity, configuration != NULL ? 1 : 0);
    struct beginning beginning = {.configuration = configuration};
    metadata.blank = configuration == NULL;
    metadata.incarnation = configuration != NULL ? configuration->incarnation : 0;
    enum error_code code = make_all(vfs, options, &metadata, NULL, &beginning, error);
    return code == ERROR_NONE ? code : error_add(error, "initialise %s", vfs->root);
}

enum error_code storage_restore(struct vfs *vfs, const struct storage_options *options,
                                const struct metadata *identity,
                                const struct configuration *configuration, struct vfs *from,
                                const char *path, const struct snapshot_info *info,
                                struct error *error)
{
    struct metadata metadata = fresh_metadata(identity, info->last.term);
    metadata.incarnation = configuration->incarnation;
    struct source source = {from, path, info, &metadata, configuration};
    struct beginning beginning = {.base = info->last};
    enum error_code code = make_all(vfs, options, &metadata, &source, &beginning, error);
    return code == ERROR_NONE ? code : error_add(error, "restore %s", vfs->root);
}
