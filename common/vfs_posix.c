/* vfs_posix.c - the real file system, below one directory.
 *
 * The root is opened once and every path is looked up from its descriptor, so a data directory
 * that is moved while the server runs stays the one that it works in. Transfers that the kernel
 * cuts short or a signal interrupts are completed here; a sync is never tried a second time,
 * because the kernel may have dropped the pages that it could not write. */
#include "common/vfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/sync.h"

enum {
    LOCKS_MAX = 4,      /* one for each kind of process that shares a directory, and to spare */
    PIECES_A_CALL = 64, /* pieces handed to one pwritev; more go in several calls */
    FILE_MODE = 0600,
    DIRECTORY_MODE = 0700
};

struct posix_vfs {
    struct vfs vfs; /* first: handed out */
    char *root;     /* what vfs.root points to */
    int root_fd;
    struct mutex lock;
    int locks[LOCKS_MAX]; /* descriptors that hold a flock. Guarded by lock. */
    int lock_count;       /* Guarded by lock. */
};

struct posix_file {
    struct vfs_file file; /* first: handed out */
    int fd;
    bool direct; /* writes pass the page cache by: O_DIRECT is set */
    char path[]; /* for messages */
};

static struct posix_vfs *posix_vfs_of(struct vfs *vfs)
{
    return CONTAINER_OF(vfs, struct posix_vfs, vfs);
}

static struct posix_file *posix_file_of(struct vfs_file *file)
{
    return CONTAINER_OF(file, struct posix_file, file);
}

/* What an errno means to the program. */
static enum error_code code_of(int number)
{
    switch (number) {
    case ENOENT:
        return ERROR_MISSING;
    case EEXIST:
        return ERROR_EXISTS;
    case ENOSPC:
    case EDQUOT:
        return ERROR_NO_SPACE;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return ERROR_SYSTEM;
    default:
        return ERROR_IO;
    }
}

/* Sets "verb root/path: reason" from errno. */
static enum error_code fail_path(struct vfs *vfs, const char *verb, const char *path,
                                 struct error *error)
{
    int number = errno;
    return error_set_errno(error, code_of(number), number, "%s %s/%s", verb, vfs->root, path);
}

/* The same for an open file; what it means that the file cannot be read or synced is always IO,
 * so the caller gives the code. */
static enum error_code fail_file(struct posix_file *file, enum error_code code, const char *verb,
                                 struct error *error)
{
    return error_set_errno(error, code, errno, "%s %s/%s", verb, file->file.vfs->root, file->path);
}

/* openat below the root, again when a signal interrupts it. Returns -1 and errno on failure. */
static int open_below(struct vfs *vfs, const char *path, int flags)
{
    ASSERT(path[0] != '/');
    int fd;
    do
        fd = openat(posix_vfs_of(vfs)->root_fd, path, flags | O_CLOEXEC, FILE_MODE);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* ---- files ---- */

static enum error_code posix_open(struct vfs *vfs, const char *path, enum vfs_open_mode mode,
                                  struct vfs_file **file, struct error *error)
{
    int flags = O_RDONLY;
    switch (mode) {
    case VFS_READ:
        break;
    case VFS_READ_WRITE:
        flags = O_RDWR;
        break;
    case VFS_CREATE:
        flags = O_RDWR | O_CREAT | O_EXCL;
        break;
    }
    *file = NULL;
    int fd = open_below(vfs, path, flags);
    if (fd < 0)
        return fail_path(vfs, mode == VFS_CREATE ? "create" : "open", path, error);
    size_t path_size = strlen(path) + 1;
    struct posix_file *opened = memory_alloc(sizeof(*opened) + path_size);
    opened->file.vfs = vfs;
    opened->fd = fd;
    opened->direct = false;
    memcpy(opened->path, path, path_size);
    *file = &opened->file;
    return ERROR_NONE;
}

static void posix_close(struct vfs_file *file)
{
    struct posix_file *opened = posix_file_of(file);
    /* Whatever close says, the descriptor is gone, and what matters has been synced before. */
    (void)close(opened->fd);
    memory_free(opened);
}

static enum error_code posix_read_at(struct vfs_file *file, void *data, size_t size, u64 offset,
                                     size_t *got, struct error *error)
{
    struct posix_file *opened = posix_file_of(file);
    u8 *to = data;
    *got = 0;
    while (*got < size) {
        ssize_t result = pread(opened->fd, to + *got, size - *got, (off_t)(offset + *got));
        if (result < 0 && errno == EINTR)
            continue;
        if (result < 0)
            return fail_file(opened, ERROR_IO, "read", error);
        if (result == 0)
            break;
        *got += (size_t)result;
    }
    return ERROR_NONE;
}

/* Sets or clears O_DIRECT. */
static bool set_direct(struct posix_file *file, bool direct)
{
    int flags = fcntl(file->fd, F_GETFL);
    if (flags < 0 || fcntl(file->fd, F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) != 0)
        return false;
    file->direct = direct;
    return true;
}

static void posix_stream(struct vfs_file *file)
{
    (void)set_direct(posix_file_of(file), true);
}

static bool is_whole_units(const struct iovec *pieces, int count, u64 offset)
{
    u64 all = offset;
    for (int i = 0; i < count; i++)
        all |= (u64)(uintptr_t)pieces[i].iov_base | pieces[i].iov_len;
    return all % VFS_STREAM_UNIT == 0;
}

/* pwritev. What cannot be written directly goes the common way, and so does all behind it. */
static ssize_t write_some(struct posix_file *file, const struct iovec *pieces, int count,
                          u64 offset)
{
    if (file->direct && !is_whole_units(pieces, count, offset))
        (void)set_direct(file, false);
    ssize_t result = pwritev(file->fd, pieces, count, (off_t)offset);
    if (result < 0 && errno == EINVAL && file->direct && set_direct(file, false))
        result = pwritev(file->fd, pieces, count, (off_t)offset);
    return result;
}

/* Writes up to PIECES_A_CALL pieces completely; uses them up while doing so. */
static enum error_code write_pieces(struct posix_file *file, struct iovec *pieces, int count,
                                    u64 *offset, struct error *error)
{
    int first = 0;
    for (;;) {
        while (first < count && pieces[first].iov_len == 0)
            first++;
        if (first == count)
            return ERROR_NONE;
        ssize_t result = write_some(file, pieces + first, count - first, *offset);
        if (result < 0 && errno == EINTR)
            continue;
        if (result < 0) {
            bool full = errno == ENOSPC || errno == EDQUOT;
            return fail_file(file, full ? ERROR_NO_SPACE : ERROR_IO, "write", error);
        }
        if (result == 0) { /* promises no progress: do not turn here for ever */
            errno = EIO;
            return fail_file(file, ERROR_IO, "write", error);
        }
        *offset += (u64)result;
        for (size_t left = (size_t)result; left > 0;) {
            struct iovec *piece = &pieces[first];
            size_t part = left < piece->iov_len ? left : piece->iov_len;
            piece->iov_base = (u8 *)piece->iov_base + part;
            piece->iov_len -= part;
            left -= part;
            if (piece->iov_len == 0)
                first++;
        }
    }
}

static enum error_code posix_write_at(struct vfs_file *file, const struct iovec *pieces, int count,
                                      u64 offset, struct error *error)
{
    for (int done = 0; done < count; done += PIECES_A_CALL) {
        struct iovec some[PIECES_A_CALL];
        int some_count = count - done < PIECES_A_CALL ? count - done : PIECES_A_CALL;
        memcpy(some, pieces + done, (size_t)some_count * sizeof(some[0]));
        enum error_code code = write_pieces(posix_file_of(file), some, some_count, &offset, error);
        if (code != ERROR_NONE)
            return code;
    }
    return ERROR_NONE;
}

static enum error_code posix_sync(struct vfs_file *file, struct error *error)
{
    struct posix_file *opened = posix_file_of(file);
    if (fdatasync(opened->fd) != 0)
        return fail_file(opened, ERROR_IO, "sync", error);
    return ERROR_NONE;
}

static enum error_code posix_size(struct vfs_file *file, u64 *size, struct error *error)
{
    struct posix_file *opened = posix_file_of(file);
    struct stat status;
    *size = 0;
    if (fstat(opened->fd, &status) != 0)
        return fail_file(opened, ERROR_IO, "ask the size of", error);
    *size = (u64)status.st_size;
    return ERROR_NONE;
}

static enum error_code posix_truncate(struct vfs_file *file, u64 size, struct error *error)
{
    struct posix_file *opened = posix_file_of(file);
    int result;
    do
        result = ftruncate(opened->fd, (off_t)size);
    while (result != 0 && errno == EINTR);
    if (result != 0)
        return fail_file(opened, ERROR_IO, "truncate", error);
    return ERROR_NONE;
}

/* ---- directories ---- */

static enum error_code posix_rename(struct vfs *vfs, const char *from, const char *to,
                                    struct error *error)
{
    int root_fd = posix_vfs_of(vfs)->root_fd;
    if (renameat(root_fd, from, root_fd, to) != 0) {
        int number = errno;
        return error_set_errno(error, code_of(number), number, "rename %s/%s to %s", vfs->root,
                               from, to);
    }
    return ERROR_NONE;
}

static enum error_code posix_remove(struct vfs *vfs, const char *path, struct error *error)
{
    int root_fd = posix_vfs_of(vfs)->root_fd;
    int result = unlinkat(root_fd, path, 0);
    if (result != 0 && errno == EISDIR)
        result = unlinkat(root_fd, path, AT_REMOVEDIR);
    if (result != 0)
        return fail_path(vfs, "remove", path, error);
    return ERROR_NONE;
}

static enum error_code posix_make_directory(struct vfs *vfs, const char *path, struct error *error)
{
    if (mkdirat(posix_vfs_of(vfs)->root_fd, path, DIRECTORY_MODE) != 0)
        return fail_path(vfs, "make directory", path, error);
    return ERROR_NONE;
}

static enum error_code posix_sync_directory(struct vfs *vfs, const char *path, struct error *error)
{
    int fd = open_below(vfs, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return fail_path(vfs, "open directory", path, error);
    enum error_code code = ERROR_NONE;
    if (fsync(fd) != 0)
        code = error_set_errno(error, ERROR_IO, errno, "sync directory %s/%s", vfs->root, path);
    (void)close(fd);
    return code;
}

static enum error_code posix_list(struct vfs *vfs, const char *path,
                                  void (*each)(void *context, const char *name), void *context,
                                  struct error *error)
{
    int fd = open_below(vfs, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return fail_path(vfs, "open directory", path, error);
    DIR *directory = fdopendir(fd);
    if (directory == NULL) {
        enum error_code code = fail_path(vfs, "read directory", path, error);
        (void)close(fd);
        return code;
    }
    enum error_code code = ERROR_NONE;
    for (;;) {
        errno = 0; /* readdir returns NULL at the end and on failure; only errno tells which */
        const struct dirent *entry = readdir(directory);
        if (entry == NULL) {
            if (errno != 0)
                code = fail_path(vfs, "read directory", path, error);
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(context, entry->d_name);
    }
    (void)closedir(directory);
    return code;
}

/* A flock belongs to the open file, not to the process: two vfs in one process exclude each other
 * as well, and closing some other descriptor of the same file does not give the lock away. */
static enum error_code posix_lock(struct vfs *vfs, const char *path, struct error *error)
{
    struct posix_vfs *posix = posix_vfs_of(vfs);
    int fd = open_below(vfs, path, O_RDWR);
    if (fd < 0)
        return fail_path(vfs, "open", path, error);
    int result;
    do
        result = flock(fd, LOCK_EX | LOCK_NB);
    while (result != 0 && errno == EINTR);
    enum error_code code = ERROR_NONE;
    if (result != 0 && errno == EWOULDBLOCK)
        code =
            error_set(error, ERROR_LOCKED,
                      "lock %s/%s: another process holds it; only one can use it", vfs->root, path);
    else if (result != 0)
        code = error_set_errno(error, ERROR_IO, errno, "lock %s/%s", vfs->root, path);
    if (code != ERROR_NONE) {
        (void)close(fd);
        return code;
    }
    mutex_lock(&posix->lock);
    ASSERT(posix->lock_count < LOCKS_MAX);
    posix->locks[posix->lock_count++] = fd;
    mutex_unlock(&posix->lock);
    return ERROR_NONE;
}

/* ---- making one ---- */

static const struct vfs_ops posix_ops = {
    .open = posix_open,
    .close = posix_close,
    .read_at = posix_read_at,
    .write_at = posix_write_at,
    .stream = posix_stream,
    .sync = posix_sync,
    .size = posix_size,
    .truncate = posix_truncate,
    .rename = posix_rename,
    .remove = posix_remove,
    .make_directory = posix_make_directory,
    .sync_directory = posix_sync_directory,
    .list = posix_list,
    .lock = posix_lock,
};

enum error_code vfs_posix_create(const char *root, struct vfs **vfs, struct error *error)
{
    *vfs = NULL;
    int fd;
    do
        fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0) {
        int number = errno;
        return error_set_errno(error, code_of(number), number, "open directory %s", root);
    }
    struct posix_vfs *posix = memory_alloc_zero(1, sizeof(*posix));
    posix->root = memory_copy_string(root);
    posix->root_fd = fd;
    posix->vfs.ops = &posix_ops;
    posix->vfs.root = posix->root;
    mutex_init(&posix->lock);
    *vfs = &posix->vfs;
    return ERROR_NONE;
}

void vfs_posix_destroy(struct vfs *vfs)
{
    if (vfs == NULL)
        return;
    struct posix_vfs *posix = posix_vfs_of(vfs);
    for (int i = 0; i < posix->lock_count; i++)
        (void)close(posix->locks[i]);
    (void)close(posix->root_fd);
    mutex_deinit(&posix->lock);
    memory_free(posix->root);
    memory_free(posix);
}
