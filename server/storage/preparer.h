/* preparer.h - the job that makes segments before they are needed.
 *
 * Making one means to write all of it with zeros and to sync that, which takes long; so a thread
 * does it, and at the switch to the next segment there is one waiting. It keeps step with the
 * segment in use, two bytes for one, so that the disk is never flooded and the log's own syncs do
 * not stand in line; it makes haste when the segment in use is half full, or somebody waits. Where
 * the disk is slower than the log is filled, what is to be appended waits (storage_room_soon), and
 * the server thread only with what Raft itself must write at once. When the disk is full it tries
 * again every second: nothing is lost, since no entry is taken that has no place yet.
 *
 * The same job removes old segments, oldest first, the directory synced after each: so after a
 * crash those that are left are always the newest, without a gap.
 *
 * Thread: the server's calls, the job is inside. */
#ifndef MAILRAFT_STORAGE_PREPARER_H
#define MAILRAFT_STORAGE_PREPARER_H

#include "common/report.h"
#include "common/sync.h"
#include "server/storage/segment.h"

enum { SPARES_WANTED_MAX = 64 }; /* one append may need this many new segments, and no more */

/* An empty segment, open for writing. */
struct spare {
    struct vfs_file *file;
    struct segment_info info;
};

struct preparer {
    struct vfs *vfs;
    struct report *report;
    u64 directory_id;
    u64 segment_bytes;
    struct thread thread;

    struct mutex lock;        /* a leaf; never held while the disk is used */
    struct condition changed; /* anything below has changed */
    struct spare *spares;     /* by id, ascending. Guarded by lock. */
    size_t count;             /* Guarded by lock. */
    size_t capacity;          /* Guarded by lock. */
    u64 filled;               /* bytes in use of the segment in use. Guarded by lock. */
    u32 waiting;              /* threads that wait for a spare: haste. Guarded by lock. */
    bool hurrying;            /* the same without anybody who waits. Guarded by lock. */
    size_t wanted;            /* spares to have, 1 and up. Guarded by lock. */
    u64 next_id;              /* of the next segment to make. Guarded by lock. */
    u64 oldest_id;            /* of the segments that are there. Guarded by lock. */
    u64 remove_before;        /* segments below are to go. Guarded by lock. */
    u64 remove_retry_ns;      /* removing failed: not before. Guarded by lock. */
    u64 disk_bytes;           /* of all segments. Guarded by lock. */
    struct error problem;     /* of the last attempt; ERROR_NONE: it went well. Guarded by lock. */
    u64 retry_ns;             /* with a problem: when to try again. Guarded by lock. */
    bool stopping;            /* Guarded by lock. */
};

/* Nothing runs yet. There are segments oldest_id .. next_id - 1, which take `disk_bytes`. */
void preparer_init(struct preparer *preparer, struct vfs *vfs, struct report *report,
                   u64 directory_id, u64 segment_bytes, u64 oldest_id, u64 next_id, u64 disk_bytes);
/* Stops the job, waiting for a write or sync that is under way, and closes the spares. Blocks. */
void preparer_deinit(struct preparer *preparer);

/* Puts an empty segment that exists behind the others. Consumes the file. */
void preparer_put(struct preparer *preparer, struct vfs_file *file,
                  const struct segment_info *info);
/* Starts the job. Errors: ERROR_SYSTEM. */
WARN_UNUSED enum error_code preparer_start(struct preparer *preparer, struct error *error);

/* From now on the job does not keep step any more, until there is a spare. Cheap. */
void preparer_hurry(struct preparer *preparer);

/* Says how much of the segment in use is filled. Cheap. */
void preparer_keep_step(struct preparer *preparer, u64 filled);

/* Waits until there are `count` spares; `*waited`: it had to. Errors: ERROR_NO_SPACE and
 * ERROR_SYSTEM may pass with time, and come at once while they last; anything else is final.
 * Blocks. */
WARN_UNUSED enum error_code preparer_ensure(struct preparer *preparer, size_t count, bool *waited,
                                            struct error *error);
/* Takes the first spare, which must be there; the caller closes its file. The job makes another. */
struct spare preparer_take(struct preparer *preparer);

/* Whether the job has failed for good: then `error` says why, and no segment will come. */
WARN_UNUSED enum error_code preparer_check(struct preparer *preparer, struct error *error);

/* The size of the spare at `position`, or of one that is still to be made. */
u64 preparer_spare_size(struct preparer *preparer, size_t position);
/* The size of the largest spare that is there; 0: there is none. */
u64 preparer_largest(struct preparer *preparer);
/* The same, or if there is none, the size of the one that is being made; 0: none can be made now.
 */
u64 preparer_coming(struct preparer *preparer);
/* Lets the job remove the segments below this id, which nobody reads or writes any more. */
void preparer_remove_before(struct preparer *preparer, u64 id);
/* Segments that exist, and bytes of all. */
void preparer_figures(struct preparer *preparer, u64 *segments, u64 *disk_bytes);

#endif
