/* window.h - a moving window on a file: reads in large pieces, hands out small ones.
 *
 * Memory is bounded by the larger of the read-ahead and the largest single request. Made for going
 * forwards; going back works, and reads again.
 *
 * Thread: one at a time. Blocks when it reads. */
#ifndef MAILRAFT_STORAGE_WINDOW_H
#define MAILRAFT_STORAGE_WINDOW_H

#include "common/vfs.h"

struct window {
    struct vfs_file *file; /* borrowed */
    const char *path;      /* for messages; borrowed */
    u64 file_size;
    size_t read_ahead; /* bytes read at once when more than that is not asked for */
    u8 *data;          /* the file's bytes from `start` on */
    size_t capacity;
    size_t size; /* valid bytes in data */
    u64 start;
};

/* Asks for the file's size. Errors: ERROR_IO. */
WARN_UNUSED enum error_code window_init(struct window *window, struct vfs_file *file,
                                        const char *path, size_t read_ahead, struct error *error);
void window_deinit(struct window *window);

/* The bytes offset .. offset + size - 1, which the file must have; borrowed until the next call.
 * Errors: ERROR_IO. */
WARN_UNUSED enum error_code window_get(struct window *window, u64 offset, size_t size,
                                       const u8 **data, struct error *error);

#endif
