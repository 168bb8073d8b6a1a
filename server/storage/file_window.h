/* file_window.h - a moving window on a file: reads in large pieces, hands out small ones.
 *
 * Memory is bounded by the larger of the read-ahead and the largest single request. Made for going
 * forwards; going back works, and reads again.
 *
 * Disks lose the power to read single places. A read that fails is tried again without the
 * read-ahead, so that nothing which can be read is refused because of its neighbours. A *lenient*
 * window, which is for whoever verifies every byte by a checksum, goes further: it reads again in
 * parts of 4 KiB, gives WINDOW_UNREADABLE for each byte of a part that cannot be read, and
 * remembers the part. So what cannot be read is found to be damaged like bytes that have changed,
 * where it stands. There is an end to that: a file with more than WINDOW_PARTS_MAX such parts is
 * not one with a few bad places, but lies on a disk that does not answer, which may do so again.
 *
 * Thread: one at a time. Blocks when it reads. */
#ifndef MAILRAFT_STORAGE_FILE_WINDOW_H
#define MAILRAFT_STORAGE_FILE_WINDOW_H

#include "common/vfs.h"

enum {
    WINDOW_PART = 4096,       /* what is read at once or not at all */
    WINDOW_PARTS_MAX = 64,    /* that cannot be read, a file */
    WINDOW_UNREADABLE = 0xdb, /* not 0, and begins no magic */
};

struct window {
    struct vfs_file *file; /* borrowed */
    const char *path;      /* for messages; borrowed */
    u64 file_size;
    bool lenient; /* may be set after window_init */
    u32 unreadable_count;
    u64 unreadable[WINDOW_PARTS_MAX]; /* numbers of the file's parts */
    size_t read_ahead;                /* bytes read at once when more than that is not asked for */
    u8 *data;                         /* the file's bytes from `start` on */
    size_t capacity;
    size_t size; /* valid bytes in data */
    u64 start;
};

/* Asks for the file's size. Errors: ERROR_IO. */
WARN_UNUSED enum error_code window_init(struct window *window, struct vfs_file *file,
                                        const char *path, size_t read_ahead, struct error *error);
void window_deinit(struct window *window);

/* The bytes offset .. offset + size - 1, which the file must have; borrowed until the next call.
 * Errors: ERROR_IO; of a lenient window, that too much cannot be read. */
WARN_UNUSED enum error_code window_get(struct window *window, u64 offset, size_t size,
                                       const u8 **data, struct error *error);

/* Whether any of these bytes is one that a lenient window could not read. */
bool window_is_unreadable(const struct window *window, u64 offset, u64 size);

#endif
