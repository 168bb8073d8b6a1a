/* snapshot_scan.h - reads one snapshot file from its beginning, block by block, and verifies it.
 *
 * Loading, receiving and the offline tool walk through a snapshot with it. The format stands at the
 * head of snapshot.c. Memory: one block. Changes nothing.
 *
 * Thread: one at a time. Blocks. */
#ifndef MAILRAFT_STORAGE_SNAPSHOT_SCAN_H
#define MAILRAFT_STORAGE_SNAPSHOT_SCAN_H

#include "server/storage/file_window.h"
#include "server/storage/snapshot.h"

/* The format's bounds. */
enum {
    SNAPSHOT_HEAD_SIZE = 128, /* before the configuration */
    SNAPSHOT_BLOCK_HEAD_SIZE = 8,
    SNAPSHOT_END_SIZE = 32,
    SNAPSHOT_CONFIGURATION_MAX = 65536
};

/* Writes the head's fixed part; `configuration` is what follows it. */
void snapshot_head_encode(const struct snapshot_head *head, const struct buffer *configuration,
                          u8 to[SNAPSHOT_HEAD_SIZE]);
/* Writes an end; `crc` is the checksum of the `before` bytes in front of it. Returns the file's. */
u32 snapshot_end_encode(u64 state_bytes, u64 before, u32 crc, u8 to[SNAPSHOT_END_SIZE]);

enum snapshot_found {
    SNAPSHOT_BLOCK,  /* a valid block: `data`, `size` */
    SNAPSHOT_END,    /* the end, and it fits: `info` */
    SNAPSHOT_DAMAGED /* at `offset`: `why` */
};

struct snapshot_scan {
    const char *path; /* borrowed */
    struct vfs_file *file;
    struct window window;
    u64 next;        /* where the next block should be */
    u32 crc;         /* of all bytes before it */
    u64 state_bytes; /* in the blocks before it */
    u64 blocks;      /* before it */
    bool skipped;    /* something damaged was: the end cannot fit any more */

    /* What was found. */
    u64 offset;
    struct snapshot_head head;
    bool head_valid;
    struct snapshot_info info; /* END */
    const u8 *data;            /* BLOCK: borrowed until the next call */
    u32 size;                  /* BLOCK */
    const char *why;           /* DAMAGED: a static clause */
    u64 behind;                /* DAMAGED: where to go on, 0: nowhere */
};

/* Opens the file and reads its head. `path` must outlive the scan, and the caller closes also after
 * an error. Errors: ERROR_CORRUPT (`offset` and `why`; snapshot_scan_skip may go on),
 * ERROR_MISMATCH (another version), ERROR_MISSING, ERROR_IO. */
WARN_UNUSED enum error_code snapshot_scan_open(struct snapshot_scan *scan, struct vfs *vfs,
                                               const char *path, struct error *error);
void snapshot_scan_close(struct snapshot_scan *scan);

/* Finds out what comes next. After BLOCK, call again. Errors: ERROR_IO. */
WARN_UNUSED enum error_code snapshot_scan_next(struct snapshot_scan *scan,
                                               enum snapshot_found *found, struct error *error);

/* After damage: goes on behind it; false when nobody can tell where that is. For showing what else
 * there is. */
bool snapshot_scan_skip(struct snapshot_scan *scan);

/* Walks through all of a snapshot, verifying it as far as it can be read: for everything that is
 * wrong it calls `damaged` (`offset`, `why`), and goes on behind it. `*ended`: it came to the end.
 * The caller closes the scan also after an error. Errors: ERROR_MISSING, ERROR_IO. */
WARN_UNUSED enum error_code
snapshot_scan_all(struct snapshot_scan *scan, struct vfs *vfs, const char *path,
                  void (*damaged)(void *context, const struct snapshot_scan *scan), void *context,
                  bool *ended, struct error *error);

/* The sentence for what is damaged. Returns ERROR_CORRUPT. */
WARN_UNUSED enum error_code snapshot_scan_refuse(const struct snapshot_scan *scan,
                                                 struct error *error);

/* Reads the end alone, whose checksum is not verified: `info` but for `last`. Errors:
 * ERROR_CORRUPT, ERROR_IO. */
WARN_UNUSED enum error_code snapshot_scan_peek_end(struct vfs_file *file, const char *path,
                                                   struct snapshot_info *info, struct error *error);

#endif
