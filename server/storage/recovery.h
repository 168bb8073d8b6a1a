/* recovery.h - what storage_open learns from the log's files.
 *
 * Thread: the server's, before anything else runs. Blocks. */
#ifndef MAILRAFT_STORAGE_RECOVERY_H
#define MAILRAFT_STORAGE_RECOVERY_H

#include "common/report.h"
#include "common/vfs.h"
#include "server/storage/log_index.h"
#include "server/storage/segment.h"

/* Where the log ends, and what else was found. */
struct recovered {
    u64 first_segment;        /* ids of the segments that are there */
    u64 last_segment;         /* all behind tail.id are empty */
    u64 disk_bytes;           /* of all segments */
    struct segment_info tail; /* the segment with the last batch */
    u64 tail_offset;          /* behind the last batch */
    u64 last_batch_offset;    /* in the tail segment */
    struct entry_id last;     /* filled in by open.c: the last entry that can be used */
    struct entry_id base;     /* see log_repair.h for these */
    bool base_is_there;
    struct entry_id reached;
    bool reached_unknown;
    u64 damaged_first;
    u64 sequence;        /* of the last batch that is known */
    u64 commit_hint;     /* highest seen */
    u64 torn_bytes;      /* cut */
    u64 unusable;        /* the newest segment that is missing, has no header, or cannot be read
                            everywhere; 0: none */
    bool damaged_behind; /* a damaged batch lies behind the last valid one */
    bool leave;          /* something is damaged: nothing is written to these segments any more */
};

/* The ids of all segments, ascending, at least one; *ids is the caller's to memory_free. What else
 * is in the directory is left alone. Errors: ERROR_CORRUPT (there is none), ERROR_MISSING (no
 * directory `log`), ERROR_IO. */
WARN_UNUSED enum error_code recovery_list(struct vfs *vfs, u64 **ids, size_t *count,
                                          struct error *error);

/* Reads and verifies the whole log and fills the index; cuts a torn tail and says so, unless the
 * segments are left. When it returns, everything in the index survives a power cut, and so does
 * what is damaged behind it, as it is; and unless the segments are left, all space behind it is
 * zero. Errors: ERROR_CORRUPT (there is no batch), ERROR_MISMATCH, ERROR_IO, ERROR_NO_SPACE. */
WARN_UNUSED enum error_code recovery_run(struct vfs *vfs, u64 directory_id, struct report *report,
                                         struct log_index *index, struct recovered *recovered,
                                         struct error *error);

#endif
