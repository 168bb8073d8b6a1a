/* vfs.h - the file system, behind a table of functions.
 *
 * SEAM. All that storage does to a disk passes here. Production uses vfs_posix(); unit tests wrap
 * it to fail the nth call; the simulator has a disk of its own with a page cache that a crash
 * loses in part. Names are paths relative to the root directory that the vfs was made for; "." is
 * that directory itself.
 *
 * Every function: Blocks (a switching point in the simulator). Thread: any, one at a time a file,
 * except that read_at may run beside anything. Interrupted and short transfers are completed
 * inside. Errors: ERROR_IO unless said otherwise, with the path in the text. What has to open a
 * file or directory (open, sync_directory, list, lock) may fail with ERROR_SYSTEM: there was no
 * descriptor for it, which may pass, and says nothing of the disk. */
#ifndef MAILRAFT_COMMON_VFS_H
#define MAILRAFT_COMMON_VFS_H

#include <sys/uio.h>

#include "common/error.h"
#include "common/types.h"

struct vfs;
struct vfs_file;

enum vfs_open_mode {
    VFS_READ,       /* must exist */
    VFS_READ_WRITE, /* must exist */
    VFS_CREATE      /* must not exist; read and write */
};

/* Enough for any disk that is met. */
enum { VFS_STREAM_UNIT = 4096 };

struct vfs_ops {
    /* Errors: ERROR_MISSING, ERROR_EXISTS, ERROR_NO_SPACE. */
    enum error_code (*open)(struct vfs *vfs, const char *path, enum vfs_open_mode mode,
                            struct vfs_file **file, struct error *error);
    void (*close)(struct vfs_file *file);
    /* Reads up to `size` bytes; `*got` is less only at the end of the file. */
    enum error_code (*read_at)(struct vfs_file *file, void *data, size_t size, u64 offset,
                               size_t *got, struct error *error);
    /* Writes all of the pieces from `offset` on. Errors: ERROR_NO_SPACE too. After any error what
     * the range holds is unknown. */
    enum error_code (*write_at)(struct vfs_file *file, const struct iovec *pieces, int count,
                                u64 offset, struct error *error);
    /* A hint: what is written from here on, once and in order, is not worth keeping in memory, and
     * should burden nobody else's syncs. Writes of whole VFS_STREAM_UNITs, at multiples of it, from
     * memory that begins at one, may then go to the disk at once, where the file system can;
     * durable they are after sync, as ever. NULL: there is no such thing. Never fails. */
    void (*stream)(struct vfs_file *file);
    /* fdatasync: data and size of the file survive a power cut afterwards. Never retried. */
    enum error_code (*sync)(struct vfs_file *file, struct error *error);
    enum error_code (*size)(struct vfs_file *file, u64 *size, struct error *error);
    enum error_code (*truncate)(struct vfs_file *file, u64 size, struct error *error);
    /* Replaces `to` if it exists. Durable only after sync_directory. */
    enum error_code (*rename)(struct vfs *vfs, const char *from, const char *to,
                              struct error *error);
    /* Errors: ERROR_MISSING. Durable only after sync_directory. */
    enum error_code (*remove)(struct vfs *vfs, const char *path, struct error *error);
    /* Errors: ERROR_EXISTS. */
    enum error_code (*make_directory)(struct vfs *vfs, const char *path, struct error *error);
    enum error_code (*sync_directory)(struct vfs *vfs, const char *path, struct error *error);
    /* Calls `each` with the name of every entry but "." and "..", in no order. ERROR_MISSING when
     * there is no such directory. */
    enum error_code (*list)(struct vfs *vfs, const char *path,
                            void (*each)(void *context, const char *name), void *context,
                            struct error *error);
    /* Takes an exclusive lock on the file, which must exist, and keeps it until the vfs is
     * destroyed or the process ends. Errors: ERROR_LOCKED. */
    enum error_code (*lock)(struct vfs *vfs, const char *path, struct error *error);
};

struct vfs {
    const struct vfs_ops *ops;
    const char *root; /* for messages; borrowed */
};

/* The real file system below `root`, an existing directory. Ownership: caller destroys. */
WARN_UNUSED enum error_code vfs_posix_create(const char *root, struct vfs **vfs,
                                             struct error *error);
void vfs_posix_destroy(struct vfs *vfs);

/* The table's functions by name, so that callers read well. `vfs_file` objects begin with a
 * pointer to their vfs. */
struct vfs_file {
    struct vfs *vfs;
};

WARN_UNUSED enum error_code vfs_open(struct vfs *vfs, const char *path, enum vfs_open_mode mode,
                                     struct vfs_file **file, struct error *error);
/* NULL is a no-op. */
void vfs_close(struct vfs_file *file);
WARN_UNUSED enum error_code vfs_read_at(struct vfs_file *file, void *data, size_t size, u64 offset,
                                        size_t *got, struct error *error);
WARN_UNUSED enum error_code vfs_write_at(struct vfs_file *file, const struct iovec *pieces,
                                         int count, u64 offset, struct error *error);
void vfs_stream(struct vfs_file *file);
WARN_UNUSED enum error_code vfs_sync(struct vfs_file *file, struct error *error);
WARN_UNUSED enum error_code vfs_size(struct vfs_file *file, u64 *size, struct error *error);
WARN_UNUSED enum error_code vfs_truncate(struct vfs_file *file, u64 size, struct error *error);
WARN_UNUSED enum error_code vfs_rename(struct vfs *vfs, const char *from, const char *to,
                                       struct error *error);
WARN_UNUSED enum error_code vfs_remove(struct vfs *vfs, const char *path, struct error *error);
WARN_UNUSED enum error_code vfs_make_directory(struct vfs *vfs, const char *path,
                                               struct error *error);
WARN_UNUSED enum error_code vfs_sync_directory(struct vfs *vfs, const char *path,
                                               struct error *error);
WARN_UNUSED enum error_code vfs_list(struct vfs *vfs, const char *path,
                                     void (*each)(void *context, const char *name), void *context,
                                     struct error *error);
WARN_UNUSED enum error_code vfs_lock(struct vfs *vfs, const char *path, struct error *error);

#endif
