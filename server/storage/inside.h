/* inside.h - what the files of the door share: storage.c and open.c. Private to them. */
#ifndef MAILRAFT_STORAGE_INSIDE_H
#define MAILRAFT_STORAGE_INSIDE_H

#include "common/sync.h"
#include "server/storage/known_peers.h"
#include "server/storage/log_index.h"
#include "server/storage/metadata.h"
#include "server/storage/preparer.h"
#include "server/storage/recovery.h"
#include "server/storage/segment.h"
#include "server/storage/slow_sync.h"

/* Fields without a word are the server thread's. */
struct storage {
    struct vfs *vfs;
    struct report *report;
    struct metadata_file metadata;       /* server thread only */
    struct known_peers_file known_peers; /* server thread only */
    u64 directory_id;
    u64 record_bytes_max; /* storage_options' */

    /* Where the next batch goes. Server thread only. */
    struct segment_info segment;
    struct vfs_file *file;
    u64 offset;
    u64 told_offset;      /* what the job was last told of it; 0: nothing in this segment */
    u64 sequence;         /* of the last batch */
    u64 newest_segment;   /* where it is; `segment` may be one that is only to be left */
    struct iovec *pieces; /* scratch of storage_append */
    u32 piece_capacity;
    struct storage_timing timing;
    struct slow_sync slow;
    struct liveness *liveness; /* borrowed; NULL: nobody cares for when the thread waits */

    struct mutex lock;      /* a leaf */
    struct log_index index; /* Guarded by lock. */
    struct error failure;   /* ERROR_NONE: none; else final. Guarded by lock. */

    struct preparer preparer; /* has a lock of its own */
};

/* Reads records of live entries from `first` on into `to`, at most `bytes_max` bytes but at least
 * one. Errors: ERROR_MISSING, ERROR_CORRUPT, ERROR_IO. Thread: any. */
WARN_UNUSED enum error_code storage_read_entries(struct storage *storage, u64 first, u64 bytes_max,
                                                 struct buffer *to, u32 *count,
                                                 struct error *error);

/* The log ends with `last`, which it holds: what is behind it is not live any more. What it keeps
 * need not be committed; `commit_hint` says how far that is known. Blocks. */
WARN_UNUSED enum error_code storage_cut(struct storage *storage, struct entry_id last,
                                        u64 commit_hint, struct error *error);

#endif
