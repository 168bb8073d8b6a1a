/* scan.h - reads one segment from its beginning, batch by batch, and verifies all of it.
 *
 * Recovery and the offline tool walk through the log with it. Reads in pieces of a megabyte;
 * memory is bounded by the largest batch. Changes nothing.
 *
 * Thread: one at a time. Blocks. */
#ifndef MAILRAFT_STORAGE_SCAN_H
#define MAILRAFT_STORAGE_SCAN_H

#include "server/storage/file_window.h"
#include "server/storage/segment.h"

enum scan_found {
    SCAN_BATCH,  /* a valid batch: `batch` and `data` */
    SCAN_END,    /* nothing but zeros from `offset` to the end of the segment */
    SCAN_TORN,   /* at `offset`: what a crash left of a write that was never finished */
    SCAN_DAMAGED /* at `offset`: bytes that were written wholly, and are wrong now; or, when
                    `sequence_gap`, a valid batch that is not the next one */
};

enum { SCAN_WHY_SIZE = 160 };

struct scan {
    struct segment_info info;
    char path[SEGMENT_PATH_SIZE];
    struct vfs_file *file;
    struct window window;
    u64 next;             /* where the next batch should be */
    u64 sequence;         /* its sequence number; 0: any */
    bool next_is_trailer; /* there stands the trailer of one whose header is lost */
    bool next_is_a_guess; /* bytes behind such a trailer: nothing proves that a batch begins here */

    /* What scan_next found. */
    u64 offset;
    struct batch batch; /* BATCH */
    const u8 *data;     /* BATCH: header, records, trailer; borrowed until the next call */
    bool header_valid;  /* TORN, DAMAGED: `batch` is what the header says */
    bool trailer_valid; /* TORN, DAMAGED: it is not, and `batch` is what the trailer says */
    bool sequence_gap;
    u64 used_end;     /* TORN, DAMAGED: behind the segment's last byte that is not zero */
    u64 later_offset; /* TORN, DAMAGED: of the next valid header or trailer with a higher
                         sequence number behind it, 0: none */
    u64 later_sequence;
    bool later_is_trailer;
    char why[SCAN_WHY_SIZE]; /* TORN, DAMAGED: a clause without place */
};

/* Opens segment `id` and reads its header. `sequence`: see above. The caller closes also after an
 * error. Errors: ERROR_CORRUPT and ERROR_MISMATCH, after which `offset` and `why` say where and
 * what it is; ERROR_MISSING, ERROR_IO. */
WARN_UNUSED enum error_code scan_open(struct scan *scan, struct vfs *vfs, u64 id, u64 sequence,
                                      struct error *error);
void scan_close(struct scan *scan);

/* Finds out what comes next. After BATCH, call again; after anything else the segment is done,
 * unless scan_skip. Errors: ERROR_IO. */
WARN_UNUSED enum error_code scan_next(struct scan *scan, enum scan_found *found,
                                      struct error *error);

/* After TORN or DAMAGED: goes on at the next place where there may be batches; false when there is
 * none. For showing what else there is; a log that needs it is not whole. */
bool scan_skip(struct scan *scan);

#endif
