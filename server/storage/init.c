/* init.c - makes a data directory.
 *
 * In this order, each step synced before the next: `metadata.new`, whose presence says that what is
 * in `log` is not yet anybody's; `LOCK`; `log` with segment 1, in which entry 1 is the first batch;
 * and at last `metadata.new` becomes `metadata`. Cut short at any step, the directory has no
 * `metadata`, so that storage_open refuses it, and has nothing in it or `metadata.new`, so that
 * storage_init knows it for its own and begins again. A directory with a log but neither of the two
 * has lost its metadata, and is not touched. */
#include <inttypes.h>
#include <stdio.h>

#include "common/crc32c.h"
#include "server/storage/metadata.h"
#include "server/storage/segment.h"

/* What storage_init finds. */
struct census {
    bool metadata_new;
    bool metadata;
    u32 ours;                     /* other names that a cut-short storage_init leaves */
    u32 other;                    /* names that it does not */
    char name[SEGMENT_PATH_SIZE]; /* one of the others */
};

static void count_name(void *context, const char *name)
{
    struct census *census = context;
    if (strcmp(name, "metadata.new") == 0) {
        census->metadata_new = true;
    } else if (strcmp(name, "LOCK") == 0 || strcmp(name, "log") == 0) {
        census->ours++;
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
        return error_set(error, ERROR_EXISTS, "%s: the directory is already initialised",
                         vfs->root);
    if (census->other > 0)
        return error_set(error, ERROR_EXISTS,
                         "%s: the directory is not empty (it has \"%s\"); a data directory must be "
                         "made in an empty one",
                         vfs->root, census->name);
    if (census->ours > 0 && !census->metadata_new)
        return error_set(error, ERROR_EXISTS,
                         "%s: the directory has a log but no metadata, so it was in use and has "
                         "lost them; it is left as it is",
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

/* Removes what a cut-short storage_init left in `log`. */
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

/* Makes an empty file unless it is there. */
static enum error_code make_lock_file(struct vfs *vfs, struct error *error)
{
    struct vfs_file *file = NULL;
    enum error_code code = vfs_open(vfs, "LOCK", VFS_CREATE, &file, error);
    vfs_close(file);
    return code == ERROR_EXISTS ? ERROR_NONE : code;
}

/* Writes entry 1 as the log's first batch. */
static enum error_code write_first_batch(struct vfs_file *file, const struct segment_info *info,
                                         const struct buffer *payload, struct error *error)
{
    struct entry entry = {.id = {.term = 1, .index = 1},
                          .type = ENTRY_CONFIGURATION,
                          .version = ENTRY_VERSION,
                          .payload = payload->data,
                          .payload_size = (u32)payload->size};
    u32 size = record_size_of(&entry);
    u64 total = batch_total_size(size);
    if (SEGMENT_HEADER_SIZE + total > info->size)
        return error_set(error, ERROR_CONFIG,
                         "a configuration entry of %u bytes does not fit in a segment of %" PRIu64,
                         size, info->size);
    struct buffer bytes;
    buffer_init(&bytes);
    u8 *data = buffer_reserve(&bytes, total);
    memset(data, 0, total);
    record_encode(&entry, data + BATCH_HEADER_SIZE);
    struct batch batch = {.sequence = 1,
                          .first = 1,
                          .last_term = 1,
                          .commit_hint = 1,
                          .size = size,
                          .count = 1,
                          .records_crc = crc32c(0, data + BATCH_HEADER_SIZE, size)};
    struct blank_count blank;
    blank_count_init(&blank, SEGMENT_HEADER_SIZE + BATCH_HEADER_SIZE);
    blank_count_add(&blank, data + BATCH_HEADER_SIZE, total - BATCH_OVERHEAD);
    batch.blank_sectors = blank.blank;
    batch_encode(info, &batch, data);
    memcpy(data + total - BATCH_HEADER_SIZE, data, BATCH_HEADER_SIZE);
    struct iovec piece = {.iov_base = data, .iov_len = total};
    enum error_code code = vfs_write_at(file, &piece, 1, SEGMENT_HEADER_SIZE, error);
    if (code == ERROR_NONE)
        code = vfs_sync(file, error);
    buffer_deinit(&bytes);
    return code;
}

static enum error_code make_log(struct vfs *vfs, const struct segment_info *info,
                                const struct buffer *payload, struct error *error)
{
    enum error_code code = vfs_make_directory(vfs, "log", error);
    if (code == ERROR_EXISTS)
        code = clear_log(vfs, error);
    if (code == ERROR_NONE)
        code = vfs_sync_directory(vfs, ".", error);
    struct vfs_file *file = NULL;
    if (code == ERROR_NONE)
        code = segment_make(vfs, info, NULL, &file, error);
    if (code == ERROR_NONE)
        code = write_first_batch(file, info, payload, error);
    vfs_close(file);
    if (code == ERROR_NONE)
        code = segment_publish(vfs, info->id, error);
    return code;
}

enum error_code storage_init(struct vfs *vfs, const struct storage_options *options,
                             const struct metadata *identity,
                             const struct configuration *configuration, struct error *error)
{
    ASSERT(metadata_cluster_id_valid(identity->cluster_id) && identity->self != SERVER_NONE);
    struct census census;
    struct buffer payload;
    buffer_init(&payload);
    configuration_encode(configuration, &payload);
    struct metadata metadata = *identity;
    metadata.start_count = 0;
    metadata.current_term = 1;
    metadata.voted_for = SERVER_NONE;
    struct segment_info info = {.id = 1,
                                .size = segment_size_for(options->segment_bytes),
                                .directory_id = identity->directory_id};
    enum error_code code = refuse_unless_free(vfs, &census, error);
    if (code == ERROR_NONE)
        code = metadata_create(vfs, "metadata.new", &metadata, error);
    if (code == ERROR_NONE)
        code = vfs_sync_directory(vfs, ".", error);
    if (code == ERROR_NONE)
        code = make_lock_file(vfs, error);
    if (code == ERROR_NONE)
        code = make_log(vfs, &info, &payload, error);
    if (code == ERROR_NONE)
        code = vfs_rename(vfs, "metadata.new", "metadata", error);
    if (code == ERROR_NONE)
        code = vfs_sync_directory(vfs, ".", error);
    if (code != ERROR_NONE)
        error_add(error, "initialise %s", vfs->root);
    buffer_deinit(&payload);
    return code;
}
