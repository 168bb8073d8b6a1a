/* memory_vfs.h - a file system in memory that can lose power, fail, and be damaged.
 *
 * Each file has two contents: what a reader sees now (the page cache), and what is on the medium. A
 * sync copies one to the other; the names in a directory likewise, by sync_directory. memory_crash
 * makes the file system that is found after a power cut: of all that was not synced, each sector is
 * kept or lost as a function decides.
 *
 * The nth change (write, sync, truncate, create, rename, remove, ...) can be made to fail, or to be
 * the last one that happens. Any number of threads. Header only, for unit tests. */
#ifndef MAILRAFT_TEST_MEMORY_VFS_H
#define MAILRAFT_TEST_MEMORY_VFS_H

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/vfs.h"

enum { MEMORY_FILES_MAX = 256, MEMORY_NAME_MAX = 64, MEMORY_SECTOR = 512 };

struct memory_content {
    u8 *data;
    u64 size;
    u64 capacity; /* of `data`; all bytes from `size` on are 0 */
};

struct memory_inode {
    char name[MEMORY_NAME_MAX];      /* now; "": removed */
    char disk_name[MEMORY_NAME_MAX]; /* on the medium */
    bool directory;
    struct memory_content now, disk;
};

/* What is to happen at the change number `at` (1: the next one). */
enum memory_fault {
    MEMORY_FAIL_ONCE, /* it fails and changes nothing; the later ones work */
    MEMORY_FAIL_ON,   /* it and all later ones fail */
    MEMORY_POWER_CUT  /* it reaches the cache alone, and all later ones fail */
};

struct memory_vfs {
    struct vfs vfs; /* first: handed out */
    pthread_mutex_t lock;
    struct memory_inode inodes[MEMORY_FILES_MAX];
    int inode_count;
    u64 changes; /* so far */
    u64 writes, syncs, reads;
    u64 read_fault_at; /* this read, counted from 1, fails; 0: none does */
    /* Bytes of a file that cannot be read, as long as bad_size is not 0. A write of a part of them
     * fails, and one of all of them heals them. */
    int bad_inode;
    u64 bad_from, bad_size;
    u64 fault_at; /* in changes; 0: never */
    enum memory_fault fault;
    enum error_code fault_code;
    _Atomic u64 space; /* bytes that files may still grow by */
    bool locked;
    /* The last write. */
    int last_inode;
    u64 last_offset, last_size;
};

struct memory_file {
    struct vfs_file file;
    int inode;
};

static struct memory_vfs *memory_of(struct vfs *vfs)
{
    return CONTAINER_OF(vfs, struct memory_vfs, vfs);
}

/* The new bytes are 0. Room is made ahead, so that a file written in pieces is not copied each
 * time. */
static void content_resize(struct memory_content *content, u64 size)
{
    if (content->data == NULL || size > content->capacity) {
        u64 capacity = content->data == NULL ? size : u64_max(size, 2 * content->capacity);
        u8 *data = calloc(1, capacity + 1);
        if (content->size > 0)
            memcpy(data, content->data, content->size);
        free(content->data);
        content->data = data;
        content->capacity = capacity;
    } else if (size < content->size) {
        memset(content->data + size, 0, content->size - size);
    }
    content->size = size;
}

static void content_copy(struct memory_content *to, const struct memory_content *from)
{
    if (to->size != from->size || to->data == NULL)
        content_resize(to, from->size);
    if (from->size > 0)
        memcpy(to->data, from->data, from->size);
}

static int memory_find(struct memory_vfs *memory, const char *name)
{
    for (int i = 0; i < memory->inode_count; i++) {
        if (strcmp(memory->inodes[i].name, name) == 0)
            return i;
    }
    return -1;
}

/* Counts a change. False when it must not happen. `*cut`: it is the last one. */
static bool memory_change(struct memory_vfs *memory, bool *cut, struct error *error)
{
    memory->changes++;
    *cut = false;
    if (memory->fault_at == 0 || memory->changes < memory->fault_at)
        return true;
    if (memory->fault == MEMORY_FAIL_ONCE && memory->changes > memory->fault_at)
        return true;
    error_set(error, memory->fault_code, "injected fault");
    *cut = memory->fault == MEMORY_POWER_CUT && memory->changes == memory->fault_at;
    return *cut;
}

static enum error_code memory_open(struct vfs *vfs, const char *path, enum vfs_open_mode mode,
                                   struct vfs_file **file, struct error *error)
{
    struct memory_vfs *memory = memory_of(vfs);
    enum error_code code = ERROR_NONE;
    bool cut = false;
    *file = NULL;
    pthread_mutex_lock(&memory->lock);
    int inode = memory_find(memory, path);
    if (mode == VFS_CREATE && inode >= 0) {
        code = error_set(error, ERROR_EXISTS, "create %s: exists", path);
    } else if (mode != VFS_CREATE && inode < 0) {
        code = error_set(error, ERROR_MISSING, "open %s: missing", path);
    } else if (mode == VFS_CREATE) {
        if (memory_change(memory, &cut, error)) {
            ASSERT(memory->inode_count < MEMORY_FILES_MAX);
            inode = memory->inode_count++;
            strcpy(memory->inodes[inode].name, path);
            content_resize(&memory->inodes[inode].now, 0);
            content_resize(&memory->inodes[inode].disk, 0);
        } else {
            code = memory->fault_code;
        }
        if (cut)
            code = memory->fault_code;
    }
    if (code == ERROR_NONE) {
        struct memory_file *opened = calloc(1, sizeof(*opened));
        opened->file.vfs = vfs;
        opened->inode = inode;
        *file = &opened->file;
    }
    pthread_mutex_unlock(&memory->lock);
    return code;
}

static void memory_close(struct vfs_file *file)
{
    free(CONTAINER_OF(file, struct memory_file, file));
}

static bool memory_is_bad(const struct memory_vfs *memory, int inode, u64 offset, u64 size)
{
    return memory->bad_size > 0 && memory->bad_inode == inode && memory->bad_from < offset + size &&
           offset < memory->bad_from + memory->bad_size;
}

static enum error_code memory_read_at(struct vfs_file *file, void *data, size_t size, u64 offset,
                                      size_t *got, struct error *error)
{
    struct memory_vfs *memory = memory_of(file->vfs);
    enum error_code code = ERROR_NONE;
    pthread_mutex_lock(&memory->lock);
    const struct memory_content *now =
        &memory->inodes[CONTAINER_OF(file, struct memory_file, file)->inode].now;
    *got = offset >= now->size ? 0 : size < now->size - offset ? size : now->size - offset;
    if (*got > 0)
        memcpy(data, now->data + offset, *got);
    if (++memory->reads == memory->read_fault_at)
        code = error_set(error, ERROR_IO, "injected fault of a read");
    if (memory_is_bad(memory, CONTAINER_OF(file, struct memory_file, file)->inode, offset, *got))
        code = error_set(error, ERROR_IO, "a place that cannot be read");
    pthread_mutex_unlock(&memory->lock);
    return code;
}

static enum error_code memory_write_at(struct vfs_file *file, const struct iovec *pieces, int count,
                                       u64 offset, struct error *error)
{
    struct memory_vfs *memory = memory_of(file->vfs);
    enum error_code code = ERROR_NONE;
    bool cut = false;
    pthread_mutex_lock(&memory->lock);
    memory->writes++;
    int inode = CONTAINER_OF(file, struct memory_file, file)->inode;
    struct memory_content *now = &memory->inodes[inode].now;
    u64 size = 0;
    for (int i = 0; i < count; i++)
        size += pieces[i].iov_len;
    bool bad = memory_is_bad(memory, inode, offset, size);
    bool heals = bad && offset <= memory->bad_from &&
                 offset + size >= u64_min(now->size, memory->bad_from + memory->bad_size);
    if (heals)
        memory->bad_size = 0;
    if (!memory_change(memory, &cut, error)) {
        code = memory->fault_code;
    } else if (bad && !heals) {
        code =
            error_set(error, ERROR_IO, "a place that cannot be read, and so not in part written");
    } else if (offset + size > now->size && offset + size - now->size > memory->space) {
        code = error_set(error, ERROR_NO_SPACE, "write: no space");
    } else {
        if (offset + size > now->size) {
            memory->space -= offset + size - now->size;
            content_resize(now, offset + size);
        }
        memory->last_inode = inode;
        memory->last_offset = offset;
        memory->last_size = size;
        for (int i = 0; i < count; i++) {
            if (pieces[i].iov_len > 0)
                memcpy(now->data + offset, pieces[i].iov_base, pieces[i].iov_len);
            offset += pieces[i].iov_len;
        }
        if (cut)
            code = memory->fault_code;
    }
    pthread_mutex_unlock(&memory->lock);
    return code;
}

static enum error_code memory_sync(struct vfs_file *file, struct error *error)
{
    struct memory_vfs *memory = memory_of(file->vfs);
    enum error_code code = ERROR_NONE;
    bool cut = false;
    pthread_mutex_lock(&memory->lock);
    memory->syncs++;
    if (!memory_change(memory, &cut, error) || cut) {
        code = memory->fault_code;
    } else {
        struct memory_inode *inode =
            &memory->inodes[CONTAINER_OF(file, struct memory_file, file)->inode];
        content_copy(&inode->disk, &inode->now);
    }
    pthread_mutex_unlock(&memory->lock);
    return code;
}

static enum error_code memory_size(struct vfs_file *file, u64 *size, struct error *error)
{
    (void)error;
    struct memory_vfs *memory = memory_of(file->vfs);
    pthread_mutex_lock(&memory->lock);
    *size = memory->inodes[CONTAINER_OF(file, struct memory_file, file)->inode].now.size;
    pthread_mutex_unlock(&memory->lock);
    return ERROR_NONE;
}

static enum error_code memory_truncate(struct vfs_file *file, u64 size, struct error *error)
{
    struct memory_vfs *memory = memory_of(file->vfs);
    bool cut = false;
    pthread_mutex_lock(&memory->lock);
    bool happens = memory_change(memory, &cut, error);
    if (happens)
        content_resize(&memory->inodes[CONTAINER_OF(file, struct memory_file, file)->inode].now,
                       size);
    pthread_mutex_unlock(&memory->lock);
    return happens && !cut ? ERROR_NONE : memory->fault_code;
}

static enum error_code memory_rename(struct vfs *vfs, const char *from, const char *to,
                                     struct error *error)
{
    struct memory_vfs *memory = memory_of(vfs);
    enum error_code code = ERROR_NONE;
    bool cut = false;
    pthread_mutex_lock(&memory->lock);
    int source = memory_find(memory, from), target = memory_find(memory, to);
    if (source < 0) {
        code = error_set(error, ERROR_MISSING, "rename %s: missing", from);
    } else if (!memory_change(memory, &cut, error)) {
        code = memory->fault_code;
    } else {
        if (target >= 0)
            memory->inodes[target].name[0] = '\0';
        strcpy(memory->inodes[source].name, to);
        if (cut)
            code = memory->fault_code;
    }
    pthread_mutex_unlock(&memory->lock);
    return code;
}

static enum error_code memory_remove(struct vfs *vfs, const char *path, struct error *error)
{
    struct memory_vfs *memory = memory_of(vfs);
    enum error_code code = ERROR_NONE;
    bool cut = false;
    pthread_mutex_lock(&memory->lock);
    int inode = memory_find(memory, path);
    if (inode < 0) {
        code = error_set(error, ERROR_MISSING, "remove %s: missing", path);
    } else if (!memory_change(memory, &cut, error)) {
        code = memory->fault_code;
    } else {
        memory->inodes[inode].name[0] = '\0';
        memory->space += memory->inodes[inode].now.size;
        if (cut)
            code = memory->fault_code;
    }
    pthread_mutex_unlock(&memory->lock);
    return code;
}

static enum error_code memory_make_directory(struct vfs *vfs, const char *path, struct error *error)
{
    struct vfs_file *file = NULL;
    enum error_code code = memory_open(vfs, path, VFS_CREATE, &file, error);
    if (code == ERROR_NONE) {
        memory_of(vfs)->inodes[CONTAINER_OF(file, struct memory_file, file)->inode].directory =
            true;
        memory_close(file);
    }
    return code;
}

/* The part of `name` below directory `path`, or NULL when it is not directly in it. */
static const char *name_within(const char *path, const char *name)
{
    if (name[0] == '\0')
        return NULL;
    if (strcmp(path, ".") == 0)
        return strchr(name, '/') == NULL ? name : NULL;
    size_t size = strlen(path);
    return strncmp(path, name, size) == 0 && name[size] == '/' ? name + size + 1 : NULL;
}

static enum error_code memory_sync_directory(struct vfs *vfs, const char *path, struct error *error)
{
    struct memory_vfs *memory = memory_of(vfs);
    enum error_code code = ERROR_NONE;
    bool cut = false;
    pthread_mutex_lock(&memory->lock);
    memory->syncs++;
    if (!memory_change(memory, &cut, error) || cut)
        code = memory->fault_code;
    for (int i = 0; i < memory->inode_count && code == ERROR_NONE; i++) {
        struct memory_inode *inode = &memory->inodes[i];
        if (name_within(path, inode->name) != NULL || name_within(path, inode->disk_name) != NULL)
            strcpy(inode->disk_name, inode->name);
    }
    pthread_mutex_unlock(&memory->lock);
    return code;
}

static enum error_code memory_list(struct vfs *vfs, const char *path,
                                   void (*each)(void *context, const char *name), void *context,
                                   struct error *error)
{
    struct memory_vfs *memory = memory_of(vfs);
    enum error_code code = ERROR_NONE;
    pthread_mutex_lock(&memory->lock);
    if (strcmp(path, ".") != 0 && memory_find(memory, path) < 0)
        code = error_set(error, ERROR_MISSING, "list %s: missing", path);
    for (int i = 0; i < memory->inode_count && code == ERROR_NONE; i++) {
        const char *name = name_within(path, memory->inodes[i].name);
        if (name != NULL)
            each(context, name);
    }
    pthread_mutex_unlock(&memory->lock);
    return code;
}

static enum error_code memory_lock(struct vfs *vfs, const char *path, struct error *error)
{
    struct memory_vfs *memory = memory_of(vfs);
    enum error_code code = ERROR_NONE;
    pthread_mutex_lock(&memory->lock);
    if (memory_find(memory, path) < 0)
        code = error_set(error, ERROR_MISSING, "lock %s: missing", path);
    else if (memory->locked)
        code = error_set(error, ERROR_LOCKED, "lock %s: held", path);
    else
        memory->locked = true;
    pthread_mutex_unlock(&memory->lock);
    return code;
}

static const struct vfs_ops memory_ops = {
    .open = memory_open,
    .close = memory_close,
    .read_at = memory_read_at,
    .write_at = memory_write_at,
    .sync = memory_sync,
    .size = memory_size,
    .truncate = memory_truncate,
    .rename = memory_rename,
    .remove = memory_remove,
    .make_directory = memory_make_directory,
    .sync_directory = memory_sync_directory,
    .list = memory_list,
    .lock = memory_lock,
};

static inline struct memory_vfs *memory_create(void)
{
    struct memory_vfs *memory = calloc(1, sizeof(*memory));
    memory->vfs = (struct vfs){.ops = &memory_ops, .root = "memory"};
    memory->space = UINT64_MAX / 2;
    memory->fault_code = ERROR_IO;
    pthread_mutex_init(&memory->lock, NULL);
    return memory;
}

static inline void memory_destroy(struct memory_vfs *memory)
{
    for (int i = 0; i < memory->inode_count; i++) {
        free(memory->inodes[i].now.data);
        free(memory->inodes[i].disk.data);
    }
    pthread_mutex_destroy(&memory->lock);
    free(memory);
}

/* Sets what is to go wrong, `after` more changes from now. */
static inline void memory_fault_after(struct memory_vfs *memory, u64 after, enum memory_fault fault,
                                      enum error_code code)
{
    pthread_mutex_lock(&memory->lock);
    memory->fault_at = memory->changes + after;
    memory->fault = fault;
    memory->fault_code = code;
    pthread_mutex_unlock(&memory->lock);
}

static inline u64 memory_changes(struct memory_vfs *memory)
{
    pthread_mutex_lock(&memory->lock);
    u64 changes = memory->changes;
    pthread_mutex_unlock(&memory->lock);
    return changes;
}

/* Whether the sector of 512 bytes at `offset` of a file reached the medium though nobody synced
 * it. */
typedef bool memory_keep(void *context, const char *name, u64 offset);

/* The file system after a power cut. Names that were not synced are kept when `keep_names`; what
 * could not be read cannot be read. */
static inline struct memory_vfs *memory_crash(struct memory_vfs *memory, memory_keep *keep,
                                              void *context, bool keep_names)
{
    struct memory_vfs *after = memory_create();
    pthread_mutex_lock(&memory->lock);
    for (int i = 0; i < memory->inode_count; i++) {
        const struct memory_inode *from = &memory->inodes[i];
        const char *name = keep_names ? from->name : from->disk_name;
        if (name[0] == '\0')
            continue;
        struct memory_inode *to = &after->inodes[after->inode_count++];
        strcpy(to->name, name);
        strcpy(to->disk_name, name);
        to->directory = from->directory;
        content_copy(&to->now, &from->disk);
        if (i == memory->bad_inode && memory->bad_size > 0) {
            after->bad_inode = after->inode_count - 1;
            after->bad_from = memory->bad_from;
            after->bad_size = memory->bad_size;
        }
        for (u64 at = 0; at < from->now.size; at += MEMORY_SECTOR) {
            u64 size = u64_min(MEMORY_SECTOR, from->now.size - at);
            bool changed = at + size > from->disk.size ||
                           memcmp(from->now.data + at, from->disk.data + at, size) != 0;
            if (!changed || keep == NULL || !keep(context, name, at))
                continue;
            if (at + size > to->now.size)
                content_resize(&to->now, at + size);
            memcpy(to->now.data + at, from->now.data + at, size);
        }
        content_copy(&to->disk, &to->now);
    }
    pthread_mutex_unlock(&memory->lock);
    return after;
}

/* A copy of all as it stands now, all of it durable. */
static inline bool memory_keep_all(void *context, const char *name, u64 offset)
{
    (void)context, (void)name, (void)offset;
    return true;
}

static inline struct memory_vfs *memory_copy(struct memory_vfs *memory)
{
    return memory_crash(memory, memory_keep_all, NULL, true);
}

static inline void memory_make_bad(struct memory_vfs *memory, const char *name, u64 from, u64 size)
{
    memory->bad_inode = memory_find(memory, name);
    ASSERT(memory->bad_inode >= 0);
    memory->bad_from = from;
    memory->bad_size = size;
}

/* The content of a file, which must exist, and which nobody else may be changing; for looking and
 * for damaging. */
static inline struct memory_content *memory_content_of(struct memory_vfs *memory, const char *name)
{
    pthread_mutex_lock(&memory->lock);
    int inode = memory_find(memory, name);
    pthread_mutex_unlock(&memory->lock);
    ASSERT(inode >= 0);
    return &memory->inodes[inode].now;
}

#endif
