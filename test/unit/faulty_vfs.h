/* faulty_vfs.h - a vfs around another one that fails the call you choose.
 *
 * For "fail the nth call" tests: run an operation once to count its calls, then once for every n
 * with the nth call failing, and look at what is on disk each time: the old state or the new one,
 * never a mixture.
 *
 *     struct faulty_vfs faulty;
 *     faulty_vfs_init(&faulty, real);
 *     for (u64 n = 1;; n++) {
 *         ...put the old state there...
 *         faulty_vfs_arm(&faulty, FAULTY_CHANGES, n, ERROR_IO);
 *         enum error_code code = operation(&faulty.vfs, &error);
 *         bool failed = faulty_vfs_disarm(&faulty);
 *         ...open it again through `real`, and check for old or new...
 *         if (!failed)
 *             break;          // n is beyond the last call: the operation went through
 *         ck_assert_int_ne(code, ERROR_NONE);
 *     }
 *     faulty_vfs_deinit(&faulty);  // checks that every file was closed
 *
 * Fields may be set by hand after arming: `stays_broken` fails all counted calls from the nth on
 * (a disk that is gone), `tears` lets the failing write put half of its bytes on disk first, and
 * `after` lets the failing call do its work completely and only then report failure (a rename that
 * happened though it was said to have failed). `only` restricts counting to paths that contain it.
 *
 * Counting is for one thread at a time; the calls themselves are as thread-safe as those inside. */
#ifndef MAILRAFT_TEST_UNIT_FAULTY_VFS_H
#define MAILRAFT_TEST_UNIT_FAULTY_VFS_H

#include <check.h>
#include <string.h>

#include "common/memory.h"
#include "common/vfs.h"

/* The kinds of calls, to be or'ed. */
enum {
    FAULTY_OPEN = 1 << 0,
    FAULTY_READ = 1 << 1,
    FAULTY_WRITE = 1 << 2,
    FAULTY_SYNC = 1 << 3,
    FAULTY_SIZE = 1 << 4,
    FAULTY_TRUNCATE = 1 << 5,
    FAULTY_RENAME = 1 << 6,
    FAULTY_REMOVE = 1 << 7,
    FAULTY_MAKE_DIRECTORY = 1 << 8,
    FAULTY_SYNC_DIRECTORY = 1 << 9,
    FAULTY_LIST = 1 << 10,
    FAULTY_LOCK = 1 << 11,
    FAULTY_CREATE = 1 << 12, /* open with VFS_CREATE; FAULTY_OPEN is the other two */
    FAULTY_ALL = (1 << 13) - 1,
    /* All that can leave a trace on disk, or decides whether one stays. */
    FAULTY_CHANGES = FAULTY_CREATE | FAULTY_WRITE | FAULTY_SYNC | FAULTY_TRUNCATE | FAULTY_RENAME |
                     FAULTY_REMOVE | FAULTY_MAKE_DIRECTORY | FAULTY_SYNC_DIRECTORY
};

struct faulty_vfs {
    struct vfs vfs;       /* first: what the code under test gets */
    struct vfs *inner;    /* does the work; borrowed */
    unsigned kinds;       /* which calls count */
    const char *only;     /* count only paths that contain this; NULL: all */
    u64 fail_at;          /* the call that fails, from 1; 0: none */
    enum error_code code; /* what it fails with */
    bool stays_broken;    /* all counted calls after it fail too */
    bool tears;           /* a failing write writes its first half */
    bool after;           /* the failing call does its work first */
    u64 calls;            /* counted since it was armed */
    u64 failures;         /* of these, made to fail */
    i64 files_open;
};

struct faulty_file {
    struct vfs_file file; /* first: handed out */
    struct vfs_file *inner;
    char path[];
};

static inline struct faulty_vfs *faulty_vfs_of(struct vfs *vfs)
{
    return CONTAINER_OF(vfs, struct faulty_vfs, vfs);
}

static inline struct faulty_file *faulty_file_of(struct vfs_file *file)
{
    return CONTAINER_OF(file, struct faulty_file, file);
}

/* Counts a call, and says whether it is one that fails; then the error is set. */
static inline bool faulty_vfs_strikes(struct vfs *vfs, unsigned kind, const char *path,
                                      struct error *error)
{
    struct faulty_vfs *faulty = faulty_vfs_of(vfs);
    if ((faulty->kinds & kind) == 0)
        return false;
    if (faulty->only != NULL && strstr(path, faulty->only) == NULL)
        return false;
    faulty->calls++;
    bool strikes =
        faulty->fail_at != 0 && (faulty->stays_broken ? faulty->calls >= faulty->fail_at
                                                      : faulty->calls == faulty->fail_at);
    if (!strikes)
        return false;
    faulty->failures++;
    error_set(error, faulty->code, "%s: injected fault at call %llu", path,
              (unsigned long long)faulty->calls);
    return true;
}

/* The shape of all calls but open, read and write: strike, or do the work, or both. */
#define FAULTY_CALL(vfs, kind, path, error, work)                \
    do {                                                         \
        if (!faulty_vfs_strikes((vfs), (kind), (path), (error))) \
            return (work);                                       \
        if (faulty_vfs_of(vfs)->after) {                         \
            struct error kept = *(error);                        \
            enum error_code done = (work);                       \
            (void)done;                                          \
            *(error) = kept;                                     \
        }                                                        \
        return faulty_vfs_of(vfs)->code;                         \
    } while (0)

static inline enum error_code faulty_open(struct vfs *vfs, const char *path,
                                          enum vfs_open_mode mode, struct vfs_file **file,
                                          struct error *error)
{
    struct faulty_vfs *faulty = faulty_vfs_of(vfs);
    *file = NULL;
    bool strikes =
        faulty_vfs_strikes(vfs, mode == VFS_CREATE ? FAULTY_CREATE : FAULTY_OPEN, path, error);
    if (strikes && !faulty->after)
        return faulty->code;
    struct vfs_file *inner;
    struct error reason;
    enum error_code code = vfs_open(faulty->inner, path, mode, &inner, &reason);
    if (strikes) {
        vfs_close(inner);
        return faulty->code;
    }
    if (code != ERROR_NONE) {
        *error = reason;
        return code;
    }
    size_t path_size = strlen(path) + 1;
    struct faulty_file *opened = memory_alloc(sizeof(*opened) + path_size);
    opened->file.vfs = vfs;
    opened->inner = inner;
    memcpy(opened->path, path, path_size);
    faulty->files_open++;
    *file = &opened->file;
    return ERROR_NONE;
}

static inline void faulty_close(struct vfs_file *file)
{
    struct faulty_file *opened = faulty_file_of(file);
    faulty_vfs_of(file->vfs)->files_open--;
    vfs_close(opened->inner);
    memory_free(opened);
}

static inline enum error_code faulty_read_at(struct vfs_file *file, void *data, size_t size,
                                             u64 offset, size_t *got, struct error *error)
{
    struct faulty_file *opened = faulty_file_of(file);
    *got = 0;
    FAULTY_CALL(file->vfs, FAULTY_READ, opened->path, error,
                vfs_read_at(opened->inner, data, size, offset, got, error));
}

/* Writes the first half of the bytes, however they are cut into pieces. */
static inline void faulty_tear(struct faulty_file *file, const struct iovec *pieces, int count,
                               u64 offset)
{
    size_t left = 0;
    for (int i = 0; i < count; i++)
        left += pieces[i].iov_len;
    left /= 2;
    for (int i = 0; i < count && left > 0; i++) {
        struct iovec part = pieces[i];
        if (part.iov_len > left)
            part.iov_len = left;
        struct error ignored;
        if (vfs_write_at(file->inner, &part, 1, offset, &ignored) != ERROR_NONE)
            return;
        offset += part.iov_len;
        left -= part.iov_len;
    }
}

static inline enum error_code faulty_write_at(struct vfs_file *file, const struct iovec *pieces,
                                              int count, u64 offset, struct error *error)
{
    struct faulty_file *opened = faulty_file_of(file);
    struct faulty_vfs *faulty = faulty_vfs_of(file->vfs);
    if (!faulty_vfs_strikes(file->vfs, FAULTY_WRITE, opened->path, error))
        return vfs_write_at(opened->inner, pieces, count, offset, error);
    struct error ignored;
    if (faulty->after) {
        if (vfs_write_at(opened->inner, pieces, count, offset, &ignored) != ERROR_NONE)
            return faulty->code;
    } else if (faulty->tears) {
        faulty_tear(opened, pieces, count, offset);
    }
    return faulty->code;
}

static inline enum error_code faulty_sync(struct vfs_file *file, struct error *error)
{
    struct faulty_file *opened = faulty_file_of(file);
    FAULTY_CALL(file->vfs, FAULTY_SYNC, opened->path, error, vfs_sync(opened->inner, error));
}

static inline enum error_code faulty_size(struct vfs_file *file, u64 *size, struct error *error)
{
    struct faulty_file *opened = faulty_file_of(file);
    *size = 0;
    FAULTY_CALL(file->vfs, FAULTY_SIZE, opened->path, error, vfs_size(opened->inner, size, error));
}

static inline enum error_code faulty_truncate(struct vfs_file *file, u64 size, struct error *error)
{
    struct faulty_file *opened = faulty_file_of(file);
    FAULTY_CALL(file->vfs, FAULTY_TRUNCATE, opened->path, error,
                vfs_truncate(opened->inner, size, error));
}

static inline enum error_code faulty_rename(struct vfs *vfs, const char *from, const char *to,
                                            struct error *error)
{
    FAULTY_CALL(vfs, FAULTY_RENAME, to, error,
                vfs_rename(faulty_vfs_of(vfs)->inner, from, to, error));
}

static inline enum error_code faulty_remove(struct vfs *vfs, const char *path, struct error *error)
{
    FAULTY_CALL(vfs, FAULTY_REMOVE, path, error,
                vfs_remove(faulty_vfs_of(vfs)->inner, path, error));
}

static inline enum error_code faulty_make_directory(struct vfs *vfs, const char *path,
                                                    struct error *error)
{
    FAULTY_CALL(vfs, FAULTY_MAKE_DIRECTORY, path, error,
                vfs_make_directory(faulty_vfs_of(vfs)->inner, path, error));
}

static inline enum error_code faulty_sync_directory(struct vfs *vfs, const char *path,
                                                    struct error *error)
{
    FAULTY_CALL(vfs, FAULTY_SYNC_DIRECTORY, path, error,
                vfs_sync_directory(faulty_vfs_of(vfs)->inner, path, error));
}

static inline enum error_code faulty_list(struct vfs *vfs, const char *path,
                                          void (*each)(void *context, const char *name),
                                          void *context, struct error *error)
{
    FAULTY_CALL(vfs, FAULTY_LIST, path, error,
                vfs_list(faulty_vfs_of(vfs)->inner, path, each, context, error));
}

static inline enum error_code faulty_lock(struct vfs *vfs, const char *path, struct error *error)
{
    FAULTY_CALL(vfs, FAULTY_LOCK, path, error, vfs_lock(faulty_vfs_of(vfs)->inner, path, error));
}

/* Makes a wrapper that passes everything on and counts all calls, until it is armed. */
static inline void faulty_vfs_init(struct faulty_vfs *faulty, struct vfs *inner)
{
    static const struct vfs_ops ops = {
        .open = faulty_open,
        .close = faulty_close,
        .read_at = faulty_read_at,
        .write_at = faulty_write_at,
        .sync = faulty_sync,
        .size = faulty_size,
        .truncate = faulty_truncate,
        .rename = faulty_rename,
        .remove = faulty_remove,
        .make_directory = faulty_make_directory,
        .sync_directory = faulty_sync_directory,
        .list = faulty_list,
        .lock = faulty_lock,
    };
    memset(faulty, 0, sizeof(*faulty));
    faulty->vfs.ops = &ops;
    faulty->vfs.root = inner->root;
    faulty->inner = inner;
    faulty->kinds = FAULTY_ALL;
}

/* Counts anew, only `kinds`, and fails the `fail_at`th of them with `code`. */
static inline void faulty_vfs_arm(struct faulty_vfs *faulty, unsigned kinds, u64 fail_at,
                                  enum error_code code)
{
    faulty->kinds = kinds;
    faulty->only = NULL;
    faulty->fail_at = fail_at;
    faulty->code = code;
    faulty->stays_broken = false;
    faulty->tears = false;
    faulty->after = false;
    faulty->calls = 0;
    faulty->failures = 0;
}

/* Passes everything on again. Returns whether a call was made to fail since it was armed. */
static inline bool faulty_vfs_disarm(struct faulty_vfs *faulty)
{
    faulty->fail_at = 0;
    return faulty->failures > 0;
}

static inline void faulty_vfs_deinit(struct faulty_vfs *faulty)
{
    ck_assert_msg(faulty->files_open == 0, "%lld files were left open",
                  (long long)faulty->files_open);
}

#endif
