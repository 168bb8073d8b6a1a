/* disk.c - the simulated disk as the vfs sees it. What a power cut does is in disk_crash.c. */
#include "test/sim/disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/disk_image.h"
#include "test/sim/disk_inside.h"

/* ---- names ---- */

static bool is_root(const char *path)
{
    return strcmp(path, ".") == 0;
}

bool disk_is_in(const char *path, const char *directory)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return is_root(directory);
    return strlen(directory) == (size_t)(slash - path) &&
           strncmp(path, directory, (size_t)(slash - path)) == 0;
}

struct inode *disk_find(const struct entry_name *names, const char *path)
{
    for (; names != NULL; names = names->next) {
        if (strcmp(names->path, path) == 0)
            return names->inode;
    }
    return NULL;
}

void disk_name_remove(struct entry_name **names, const char *path)
{
    for (; *names != NULL; names = &(*names)->next) {
        struct entry_name *name = *names;
        if (strcmp(name->path, path) != 0)
            continue;
        *names = name->next;
        sim_free(name->path);
        sim_free(name);
        return;
    }
}

char *disk_copy_path(const char *path)
{
    size_t size = strlen(path) + 1;
    char *copy = sim_alloc(size);
    memcpy(copy, path, size);
    return copy;
}

void disk_name_put(struct entry_name **names, const char *path, struct inode *inode)
{
    disk_name_remove(names, path);
    struct entry_name *name = sim_alloc(sizeof(*name));
    *name = (struct entry_name){.next = *names, .path = disk_copy_path(path), .inode = inode};
    *names = name;
}

static bool parent_exists(const struct disk *disk, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return true;
    for (const struct entry_name *name = disk->seen; name != NULL; name = name->next) {
        if (name->inode->is_directory && strlen(name->path) == (size_t)(slash - path) &&
            strncmp(name->path, path, (size_t)(slash - path)) == 0)
            return true;
    }
    return false;
}

/* Enters a change of directories; readers see it at once. */
static void change_names(struct disk *disk, const char *removed, const char *path,
                         struct inode *inode)
{
    struct directory_change *change = sim_alloc_zero(1, sizeof(*change));
    change->removed = removed != NULL ? disk_copy_path(removed) : NULL;
    change->path = path != NULL ? disk_copy_path(path) : NULL;
    change->inode = inode;
    if (disk->last != NULL)
        disk->last->next = change;
    else
        disk->first = change;
    disk->last = change;
    if (removed != NULL)
        disk_name_remove(&disk->seen, removed);
    if (path != NULL)
        disk_name_put(&disk->seen, path, inode);
}

/* ---- time and faults ---- */

/* Counts a write, sync or change of directories, and cuts the power when its turn has come. */
static void step(struct disk *disk, enum disk_step kind, const char *path, u64 bytes)
{
    if (disk->instant)
        return;
    if (kind == DISK_SYNC)
        disk->syncs++;
    else
        disk->writes++;
    if (disk->told != NULL)
        disk->told(disk->context, kind, path, bytes);
    if (disk->crash_at == 0 || --disk->crash_at > 0)
        return;
    disk->crash(disk->context);
}

/* Lets pass what a sync takes. A stalled disk ends none. */
static void pass_time(struct disk *disk)
{
    struct world *world = disk->world;
    if (disk->instant || world->running == NULL)
        return;
    u64 duration = disk->slow_ns != 0 ? disk->slow_ns
                                      : rng_range(&disk->rng, disk->settings.sync_ns_min,
                                                  disk->settings.sync_ns_max);
    coroutine_sleep(world, duration);
    while (disk->stalled) {
        struct disk_wait *wait = sim_alloc(sizeof(*wait));
        *wait = (struct disk_wait){.next = disk->waiting, .coroutine = world->running};
        disk->waiting = wait;
        (void)coroutine_wait(world, TIME_NEVER);
    }
}

static u64 reading_time(const struct disk *disk)
{
    return disk->read_ns != 0 ? disk->read_ns : disk->settings.read_ns;
}

/* Lets pass what a read takes, or less when the disk is healed meanwhile. */
static void pass_reading_time(struct disk *disk)
{
    struct world *world = disk->world;
    u64 duration = reading_time(disk);
    if (duration == 0 || disk->instant || world->running == NULL)
        return;
    struct disk_wait *wait = sim_alloc(sizeof(*wait));
    *wait = (struct disk_wait){.next = disk->reading, .coroutine = world->running, .reads = true};
    disk->reading = wait;
    u64 now_ns = sim_clock_local_ns(world->running->process->clock, world->now_ns);
    (void)coroutine_wait(world, now_ns + duration);
    struct disk_wait **at = &disk->reading;
    while (!wait->over && *at != wait)
        at = &(*at)->next;
    if (!wait->over)
        *at = wait->next;
    sim_free(wait);
}

static void forget_waits(struct disk_wait **waiting, bool wake)
{
    while (*waiting != NULL) {
        struct disk_wait *wait = *waiting;
        *waiting = wait->next;
        if (wake)
            coroutine_wake(wait->coroutine);
        wait->over = true;
        if (!wake || !wait->reads)
            sim_free(wait);
    }
}

void disk_heal(struct disk *disk)
{
    disk->sync_fails = false;
    disk->write_fails = false;
    disk->full = false;
    disk->stalled = false;
    disk->slow_ns = 0;
    disk->read_ns = 0;
    disk->crash_at = 0;
    forget_waits(&disk->waiting, true);
    forget_waits(&disk->reading, true);
}

/* ---- changes of a file ---- */

static bool all_zeros(const u8 *bytes, u64 size)
{
    return size > 0 && bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

static void change_put(struct inode *inode, struct change *change)
{
    change->next = NULL;
    if (inode->last != NULL)
        inode->last->next = change;
    else
        inode->first = change;
    inode->last = change;
    inode->change_count++;
}

static void write_change(struct inode *inode, const u8 *bytes, u64 offset, u64 size)
{
    bool zeros = all_zeros(bytes, size);
    struct change *change = sim_alloc(sizeof(*change) + (zeros ? 0 : size));
    *change = (struct change){.offset = offset,
                              .size = size,
                              .file_size = u64_max(inode->seen.size, offset + size),
                              .zeros = zeros};
    if (!zeros)
        memcpy(change->bytes, bytes, size);
    change_put(inode, change);
    if (change->file_size > inode->seen.size)
        image_resize(&inode->seen, change->file_size);
    image_write(&inode->seen, offset, zeros ? NULL : bytes, size);
    inode->allocated = u64_max(inode->allocated, offset + size);
}

void disk_settle(struct inode *inode, u32 count)
{
    for (; count > 0; count--) {
        struct change *change = inode->first;
        if (change->is_size || change->file_size > inode->platter.size)
            image_resize(&inode->platter, change->file_size);
        if (!change->is_size)
            image_write(&inode->platter, change->offset, change->zeros ? NULL : change->bytes,
                        change->size);
        inode->first = change->next;
        if (inode->first == NULL)
            inode->last = NULL;
        inode->change_count--;
        sim_free(change);
    }
}

/* ---- the vfs ---- */

static struct disk *disk_of(struct vfs *vfs)
{
    return CONTAINER_OF(vfs, struct disk, vfs);
}

static struct disk_handle *handle_of(struct vfs_file *file)
{
    return CONTAINER_OF(file, struct disk_handle, file);
}

struct inode *disk_inode_create(struct disk *disk, bool is_directory)
{
    struct inode *inode = sim_alloc_zero(1, sizeof(*inode));
    inode->disk = disk;
    inode->is_directory = is_directory;
    inode->next = disk->inodes;
    disk->inodes = inode;
    return inode;
}

/* Whether the process has a descriptor for what it wants to open. */
static bool has_descriptor(const char *path, struct error *error)
{
    if (!process_lacks(RESOURCE_DESCRIPTORS))
        return true;
    (void)error_set(error, ERROR_SYSTEM, "open %s: too many open files", path);
    return false;
}

static enum error_code sim_open(struct vfs *vfs, const char *path, enum vfs_open_mode mode,
                                struct vfs_file **file, struct error *error)
{
    struct disk *disk = disk_of(vfs);
    struct inode *inode = disk_find(disk->seen, path);
    if (!has_descriptor(path, error))
        return ERROR_SYSTEM;
    if (mode == VFS_CREATE) {
        if (inode != NULL)
            return error_set(error, ERROR_EXISTS, "create %s: it exists", path);
        if (!parent_exists(disk, path))
            return error_set(error, ERROR_MISSING, "create %s: no such directory", path);
        if (disk->full)
            return error_set(error, ERROR_NO_SPACE, "create %s: no space left on device", path);
        inode = disk_inode_create(disk, false);
        change_names(disk, NULL, path, inode);
        step(disk, DISK_DIRECTORY, path, 0);
    } else if (inode == NULL) {
        return error_set(error, ERROR_MISSING, "open %s: no such file", path);
    } else if (inode->is_directory) {
        return error_set(error, ERROR_IO, "open %s: is a directory", path);
    }
    struct disk_handle *handle = sim_alloc_zero(1, sizeof(*handle));
    handle->file.vfs = vfs;
    handle->inode = inode;
    handle->path = disk_copy_path(path);
    handle->next = disk->handles;
    disk->handles = handle;
    *file = &handle->file;
    return ERROR_NONE;
}

static void handle_free(struct disk_handle *handle)
{
    sim_free(handle->path);
    sim_free(handle);
}

static void sim_close(struct vfs_file *file)
{
    struct disk_handle *handle = handle_of(file);
    struct disk *disk = disk_of(file->vfs);
    struct disk_handle **at = &disk->handles;
    while (*at != handle)
        at = &(*at)->next;
    *at = handle->next;
    handle_free(handle);
}

static enum error_code sim_read_at(struct vfs_file *file, void *data, size_t size, u64 offset,
                                   size_t *got, struct error *error)
{
    const struct disk_handle *handle = handle_of(file);
    struct disk *disk = disk_of(file->vfs);
    /* What a slow read brings was there at some instant while it lasted: the first or the last. */
    bool late = reading_time(disk) != 0 && rng_chance(&disk->rng, 1, 2);
    if (late)
        pass_reading_time(disk);
    *got = image_read(&handle->inode->seen, offset, data, size);
    bool unreadable = disk_has_unreadable(handle->inode, offset, *got);
    if (!late)
        pass_reading_time(disk);
    if (unreadable)
        return error_set(error, ERROR_IO, "read %s: input/output error", handle->path);
    return ERROR_NONE;
}

static enum error_code sim_write_at(struct vfs_file *file, const struct iovec *pieces, int count,
                                    u64 offset, struct error *error)
{
    struct disk_handle *handle = handle_of(file);
    struct disk *disk = disk_of(file->vfs);
    u64 size = 0;
    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    if (size == 0)
        return ERROR_NONE;
    if (disk->full && offset + size > handle->inode->allocated)
        return error_set(error, ERROR_NO_SPACE, "write %s: no space left on device", handle->path);
    if (!disk_write_over(handle->inode, offset, size))
        return error_set(error, ERROR_IO, "write %s: input/output error", handle->path);
    u8 *bytes = sim_alloc(size);
    u64 at = 0;
    for (int i = 0; i < count; i++) {
        if (pieces[i].iov_len > 0)
            memcpy(bytes + at, pieces[i].iov_base, pieces[i].iov_len);
        at += pieces[i].iov_len;
    }
    u64 written = size;
    if (disk->write_fails)
        written = rng_range(&disk->rng, 0, size / DISK_SECTOR_SIZE) * DISK_SECTOR_SIZE;
    if (written > 0)
        write_change(handle->inode, bytes, offset, written);
    sim_free(bytes);
    if (disk->write_fails)
        return error_set(error, ERROR_IO, "write %s: input/output error", handle->path);
    step(disk, DISK_WRITE, handle->path, size);
    return ERROR_NONE;
}

static enum error_code sim_sync(struct vfs_file *file, struct error *error)
{
    struct disk_handle *handle = handle_of(file);
    struct disk *disk = disk_of(file->vfs);
    struct inode *inode = handle->inode;
    u32 covered = inode->change_count;
    step(disk, DISK_SYNC, handle->path, 0);
    pass_time(disk);
    if (disk->sync_fails) {
        disk_lose(disk, inode, true);
        return error_set(error, ERROR_IO, "sync %s: input/output error", handle->path);
    }
    /* Another sync of the same file may have ended meanwhile. */
    disk_settle(inode, covered < inode->change_count ? covered : inode->change_count);
    return ERROR_NONE;
}

static enum error_code sim_size(struct vfs_file *file, u64 *size, struct error *error)
{
    (void)error;
    *size = handle_of(file)->inode->seen.size;
    return ERROR_NONE;
}

static enum error_code sim_truncate(struct vfs_file *file, u64 size, struct error *error)
{
    struct disk_handle *handle = handle_of(file);
    struct disk *disk = disk_of(file->vfs);
    if (disk->write_fails)
        return error_set(error, ERROR_IO, "truncate %s: input/output error", handle->path);
    struct change *change = sim_alloc(sizeof(*change));
    *change = (struct change){.file_size = size, .is_size = true};
    change_put(handle->inode, change);
    image_resize(&handle->inode->seen, size);
    handle->inode->allocated = u64_min(handle->inode->allocated, size);
    step(disk, DISK_WRITE, handle->path, 0);
    return ERROR_NONE;
}

static enum error_code sim_rename(struct vfs *vfs, const char *from, const char *to,
                                  struct error *error)
{
    struct disk *disk = disk_of(vfs);
    struct inode *inode = disk_find(disk->seen, from);
    if (inode == NULL)
        return error_set(error, ERROR_MISSING, "rename %s: no such file", from);
    if (!parent_exists(disk, to))
        return error_set(error, ERROR_MISSING, "rename %s to %s: no such directory", from, to);
    if (disk->write_fails)
        return error_set(error, ERROR_IO, "rename %s: input/output error", from);
    change_names(disk, from, to, inode);
    step(disk, DISK_DIRECTORY, to, 0);
    return ERROR_NONE;
}

static enum error_code sim_remove(struct vfs *vfs, const char *path, struct error *error)
{
    struct disk *disk = disk_of(vfs);
    if (disk_find(disk->seen, path) == NULL)
        return error_set(error, ERROR_MISSING, "remove %s: no such file", path);
    if (disk->write_fails)
        return error_set(error, ERROR_IO, "remove %s: input/output error", path);
    change_names(disk, path, NULL, NULL);
    step(disk, DISK_DIRECTORY, path, 0);
    return ERROR_NONE;
}

static enum error_code sim_make_directory(struct vfs *vfs, const char *path, struct error *error)
{
    struct disk *disk = disk_of(vfs);
    if (disk_find(disk->seen, path) != NULL)
        return error_set(error, ERROR_EXISTS, "make directory %s: it exists", path);
    if (disk->full)
        return error_set(error, ERROR_NO_SPACE, "make directory %s: no space left on device", path);
    change_names(disk, NULL, path, disk_inode_create(disk, true));
    step(disk, DISK_DIRECTORY, path, 0);
    return ERROR_NONE;
}

static enum error_code sim_sync_directory(struct vfs *vfs, const char *path, struct error *error)
{
    struct disk *disk = disk_of(vfs);
    if (!is_root(path) && disk_find(disk->seen, path) == NULL)
        return error_set(error, ERROR_MISSING, "sync directory %s: no such directory", path);
    if (!has_descriptor(path, error))
        return ERROR_SYSTEM;
    struct directory_change *covered = disk->last;
    step(disk, DISK_SYNC, path, 0);
    pass_time(disk);
    if (disk->sync_fails)
        return error_set(error, ERROR_IO, "sync directory %s: input/output error", path);
    disk_settle_directory(disk, path, covered);
    return ERROR_NONE;
}

static enum error_code sim_list(struct vfs *vfs, const char *path,
                                void (*each)(void *context, const char *name), void *context,
                                struct error *error)
{
    struct disk *disk = disk_of(vfs);
    if (!is_root(path) && disk_find(disk->seen, path) == NULL)
        return error_set(error, ERROR_MISSING, "list %s: no such directory", path);
    if (!has_descriptor(path, error))
        return ERROR_SYSTEM;
    for (const struct entry_name *name = disk->seen; name != NULL; name = name->next) {
        const char *slash = strrchr(name->path, '/');
        if (disk_is_in(name->path, path))
            each(context, slash != NULL ? slash + 1 : name->path);
    }
    return ERROR_NONE;
}

static enum error_code sim_lock(struct vfs *vfs, const char *path, struct error *error)
{
    struct disk *disk = disk_of(vfs);
    if (disk_find(disk->seen, path) == NULL)
        return error_set(error, ERROR_MISSING, "lock %s: no such file", path);
    if (!has_descriptor(path, error))
        return ERROR_SYSTEM;
    if (disk->locked != NULL)
        return error_set(error, ERROR_LOCKED, "lock %s: another process holds it", path);
    disk->locked = disk_copy_path(path);
    return ERROR_NONE;
}

static const struct vfs_ops sim_ops = {.open = sim_open,
                                       .close = sim_close,
                                       .read_at = sim_read_at,
                                       .write_at = sim_write_at,
                                       .sync = sim_sync,
                                       .size = sim_size,
                                       .truncate = sim_truncate,
                                       .rename = sim_rename,
                                       .remove = sim_remove,
                                       .make_directory = sim_make_directory,
                                       .sync_directory = sim_sync_directory,
                                       .list = sim_list,
                                       .lock = sim_lock};

/* ---- life ---- */

void disk_init(struct disk *disk, struct world *world, const struct disk_settings *settings,
               u64 seed)
{
    *disk = (struct disk){
        .vfs = {.ops = &sim_ops, .root = "disk"}, .world = world, .settings = *settings};
    rng_init(&disk->rng, seed);
}

void disk_process_ended(struct disk *disk)
{
    while (disk->handles != NULL) {
        struct disk_handle *handle = disk->handles;
        disk->handles = handle->next;
        handle_free(handle);
    }
    forget_waits(&disk->waiting, false);
    forget_waits(&disk->reading, false);
    sim_free(disk->locked);
    disk->locked = NULL;
}

void disk_deinit(struct disk *disk)
{
    disk_wipe(disk);
}

bool disk_is_empty(const struct disk *disk)
{
    return disk->seen == NULL;
}

/* ---- looking in ---- */

bool disk_is_unsynced(const struct disk *disk, const char *path)
{
    const struct inode *inode = disk_find(disk->seen, path);
    if (inode == NULL)
        return false;
    for (const struct change *change = inode->first; change != NULL; change = change->next) {
        if (!change->zeros)
            return true;
    }
    return disk_find(disk->platter, path) != inode;
}

static int compare_names(const void *a, const void *b)
{
    const struct entry_name *const *left = a;
    const struct entry_name *const *right = b;
    return strcmp((*left)->path, (*right)->path);
}

void disk_each_file(const struct disk *disk,
                    void (*each)(void *context, const char *path, u64 size), void *context)
{
    size_t count = 0;
    for (const struct entry_name *name = disk->seen; name != NULL; name = name->next)
        count++;
    const struct entry_name **names = sim_alloc(count * sizeof(*names));
    size_t i = 0;
    for (const struct entry_name *name = disk->seen; name != NULL; name = name->next)
        names[i++] = name;
    qsort(names, count, sizeof(*names), compare_names);
    for (i = 0; i < count; i++) {
        if (!names[i]->inode->is_directory)
            each(context, names[i]->path, names[i]->inode->seen.size);
    }
    sim_free(names);
}

size_t disk_peek(const struct disk *disk, const char *path, u64 offset, void *data, size_t size)
{
    const struct inode *inode = disk_find(disk->seen, path);
    return inode == NULL ? 0 : image_read(&inode->seen, offset, data, size);
}
