/* snapshot_draft.c - see snapshot_draft.h. */
#include "server/storage/snapshot_draft.h"

#include "common/clock.h"
#include "common/crc32c.h"
#include "common/memory.h"

enum {
    WRITE_BYTES = 128 * 1024,    /* written at once */
    SYNC_BYTES = 4 * 1024 * 1024 /* synced after so many */
};

static const char directory[] = SNAPSHOT_DIRECTORY;

static enum error_code ensure_directory(struct vfs *vfs, struct error *error)
{
    enum error_code code = vfs_make_directory(vfs, directory, error);
    code = error_forgive(error, code, ERROR_EXISTS);
    return code == ERROR_NONE ? vfs_sync_directory(vfs, ".", error) : code;
}

enum error_code snapshot_draft_begin(struct snapshot_draft *draft, struct vfs *vfs,
                                     const char *path, struct error *error)
{
    *draft = (struct snapshot_draft){.vfs = vfs, .path = path};
    enum error_code code = ensure_directory(vfs, error);
    if (code == ERROR_NONE)
        code = vfs_remove(vfs, path, error);
    code = error_forgive(error, code, ERROR_MISSING);
    if (code == ERROR_NONE)
        code = vfs_open(vfs, path, VFS_CREATE, &draft->file, error);
    if (code != ERROR_NONE)
        return code;
    vfs_stream(draft->file);
    draft->memory = memory_alloc(WRITE_BYTES + VFS_STREAM_UNIT - 1);
    size_t beyond = (uintptr_t)draft->memory % VFS_STREAM_UNIT;
    draft->part = (u8 *)draft->memory + (beyond == 0 ? 0 : VFS_STREAM_UNIT - beyond);
    return ERROR_NONE;
}

static void note_sync(const struct snapshot_draft *draft, u64 began_ns)
{
    if (draft->syncs != NULL)
        histogram_add(draft->syncs, clock_monotonic_ns() - began_ns);
}

static enum error_code sync_file(struct snapshot_draft *draft, struct error *error)
{
    u64 began_ns = clock_monotonic_ns();
    enum error_code code = vfs_sync(draft->file, error);
    note_sync(draft, began_ns);
    return code;
}

static enum error_code write_part(struct snapshot_draft *draft, struct error *error)
{
    struct iovec piece = {.iov_base = draft->part, .iov_len = draft->part_size};
    enum error_code code =
        vfs_write_at(draft->file, &piece, 1, draft->size - draft->part_size, error);
    draft->unsynced += draft->part_size;
    draft->part_size = 0;
    if (code == ERROR_NONE && draft->unsynced >= SYNC_BYTES) {
        draft->unsynced = 0;
        code = sync_file(draft, error);
    }
    draft->failed = code != ERROR_NONE;
    return code;
}

static enum error_code check(const struct snapshot_draft *draft, struct error *error)
{
    return draft->failed ? error_set(error, ERROR_IO, "%s: an earlier write failed", draft->path)
                         : ERROR_NONE;
}

enum error_code snapshot_draft_write(struct snapshot_draft *draft, const void *data, size_t size,
                                     struct error *error)
{
    const u8 *from = data;
    enum error_code code = check(draft, error);
    draft->crc = crc32c(draft->crc, data, size);
    while (size > 0 && code == ERROR_NONE) {
        size_t taken = WRITE_BYTES - draft->part_size;
        if (taken > size)
            taken = size;
        memcpy(draft->part + draft->part_size, from, taken);
        draft->part_size += taken;
        draft->size += taken;
        from += taken;
        size -= taken;
        if (draft->part_size == WRITE_BYTES)
            code = write_part(draft, error);
    }
    return code;
}

enum error_code snapshot_draft_sync(struct snapshot_draft *draft, struct error *error)
{
    enum error_code code = check(draft, error);
    if (code == ERROR_NONE && draft->part_size > 0)
        code = write_part(draft, error);
    return code == ERROR_NONE ? sync_file(draft, error) : code;
}

enum error_code snapshot_draft_publish(struct snapshot_draft *draft, struct entry_id last,
                                       struct error *error)
{
    char path[SNAPSHOT_PATH_SIZE];
    snapshot_path(last, path);
    enum error_code code = vfs_rename(draft->vfs, draft->path, path, error);
    if (code == ERROR_NONE) {
        vfs_close(draft->file);
        draft->file = NULL;
        u64 began_ns = clock_monotonic_ns();
        code = vfs_sync_directory(draft->vfs, directory, error);
        note_sync(draft, began_ns);
    }
    return code;
}

void snapshot_draft_drop(struct snapshot_draft *draft)
{
    struct error ignored;
    memory_free(draft->memory);
    draft->memory = NULL;
    if (draft->file == NULL)
        return;
    vfs_close(draft->file);
    draft->file = NULL;
    /* If it stays, snapshot_clean or the next draft removes it. */
    enum error_code code = vfs_remove(draft->vfs, draft->path, &ignored);
    (void)code;
}
