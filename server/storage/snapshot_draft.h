/* snapshot_draft.h - a snapshot's file on its way: what writing and receiving have in common.
 *
 * It is made under a name that is no snapshot's, written, synced, and then gets its name, which is
 * synced too; so a snapshot that is there by its name was once complete. The directory above is
 * synced at the beginning, since a crash may have left `snapshots` made and not synced.
 *
 * The file is written past the page cache where that can be, in parts that are small beside what a
 * disk does in a millisecond, and synced now and then: the disk never has much to write at once,
 * and the log's syncs need not wait for it. (Through the page cache with a sync each 128 KiB it
 * took three times as long, and the log's syncs waited no less.) When a write or sync has failed,
 * nothing more is written, and the file never gets its name: a sync that succeeds later would say
 * nothing of what the failed one lost.
 *
 * Private to snapshot.c. Thread: one at a time. Every function blocks. */
#ifndef MAILRAFT_STORAGE_SNAPSHOT_DRAFT_H
#define MAILRAFT_STORAGE_SNAPSHOT_DRAFT_H

#include "server/storage/snapshot.h"

#define SNAPSHOT_DIRECTORY "snapshots"

struct snapshot_draft {
    struct vfs *vfs;
    const char *path; /* borrowed */
    struct vfs_file *file;
    u64 size;                /* what it has so far */
    u64 unsynced;            /* of what was written of it */
    u32 crc;                 /* of all that it has */
    bool failed;             /* a write or sync did: it must never be published */
    void *memory;            /* where `part` is in */
    u8 *part;                /* not written yet, where vfs_stream would have it */
    size_t part_size;        /* of what is in it */
    struct histogram *syncs; /* how long they took; NULL: nobody asks */
};

/* Makes the file anew. To be dropped, also after an error. */
WARN_UNUSED enum error_code snapshot_draft_begin(struct snapshot_draft *draft, struct vfs *vfs,
                                                 const char *path, struct error *error);
WARN_UNUSED enum error_code snapshot_draft_write(struct snapshot_draft *draft, const void *data,
                                                 size_t size, struct error *error);
WARN_UNUSED enum error_code snapshot_draft_sync(struct snapshot_draft *draft, struct error *error);
/* Makes it, synced, the snapshot of that entry. */
WARN_UNUSED enum error_code snapshot_draft_publish(struct snapshot_draft *draft,
                                                   struct entry_id last, struct error *error);
/* Frees what it holds; the file is removed unless it was published. */
void snapshot_draft_drop(struct snapshot_draft *draft);

#endif
