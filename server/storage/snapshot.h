/* snapshot.h - snapshot files: the machine's state as of one entry, in one file (§7).
 *
 *   DIR/snapshots/INDEX-TERM.snap   whole and synced; 20 decimal digits each
 *   DIR/snapshots/new.tmp           one that is being written
 *   DIR/snapshots/received.tmp      one that is being received from a leader
 *
 * A file stands for itself: it holds nothing of the directory that it is in, so that any server of
 * the cluster can use it. The format is in snapshot.c. A file gets its name only when all of it is
 * synced, so a snapshot that is there by its name was once complete.
 *
 * Memory: a writer, a reader and a receiver each need a block of SNAPSHOT_BLOCK_SIZE at most,
 * however large the snapshot is.
 *
 * Thread: any, one at a time an object. Every function blocks. Errors: ERROR_IO, unless said
 * otherwise; ERROR_NO_SPACE when something is written. */
#ifndef MAILRAFT_STORAGE_SNAPSHOT_H
#define MAILRAFT_STORAGE_SNAPSHOT_H

#include "common/bytes.h"
#include "common/histogram.h"
#include "common/vfs.h"
#include "server/rules/configuration.h"
#include "server/storage/metadata.h"

enum { SNAPSHOT_BLOCK_SIZE = 256 * 1024, SNAPSHOT_PATH_SIZE = 64 };

/* What a snapshot stands for. */
struct snapshot_head {
    struct entry_id last; /* lastIncludedTerm and lastIncludedIndex */
    u64 time_ns;          /* of that entry; none behind it is earlier */
    char cluster_id[CLUSTER_ID_SIZE];
    struct configuration configuration; /* in force at `last`; its index is not above last's */
};

/* ---- writing ---- */

struct snapshot_writer;

/* Begins a file; one that was begun and not finished is written over. Ownership: until finish or
 * abandon. */
WARN_UNUSED enum error_code snapshot_writer_create(struct vfs *vfs,
                                                   const struct snapshot_head *head,
                                                   struct snapshot_writer **writer,
                                                   struct error *error);
/* From now on how long each sync of the file takes, and that of the directory when it gets its
 * name, is added to `syncs`, which is the caller's and outlives the writer. */
void snapshot_writer_measure(struct snapshot_writer *writer, struct histogram *syncs);
/* The next bytes of the machine's state, cut anywhere. After an error it can only be abandoned; to
 * finish it fails. */
WARN_UNUSED enum error_code snapshot_writer_add(struct snapshot_writer *writer, const void *data,
                                                size_t size, struct error *error);
/* Syncs the file and gives it its name. Frees the writer, whatever comes of it. After an error the
 * snapshot may be there (the last sync failed), but then it is whole. */
WARN_UNUSED enum error_code snapshot_writer_finish(struct snapshot_writer *writer,
                                                   struct snapshot_info *info, struct error *error);
/* Frees the writer; the unfinished file is removed, or written over some time. */
void snapshot_writer_abandon(struct snapshot_writer *writer);

/* Who takes in a snapshot: the head, then the state's bytes in pieces. Each returns false when it
 * cannot be; then the file counts as damaged. */
struct snapshot_taker {
    bool (*head)(void *context, const struct snapshot_head *head);
    bool (*piece)(void *context, const u8 *data, size_t size);
    void *context;
};

/* ---- receiving ---- */

struct snapshot_receiver;

/* As for a writer; the file is to be the one that `info` names. */
WARN_UNUSED enum error_code snapshot_receiver_create(struct vfs *vfs,
                                                     const struct snapshot_info *info,
                                                     struct snapshot_receiver **receiver,
                                                     struct error *error);
/* As a writer's. */
void snapshot_receiver_measure(struct snapshot_receiver *receiver, struct histogram *syncs);
/* The next bytes of the file. Errors: ERROR_CORRUPT (more than info->size). */
WARN_UNUSED enum error_code snapshot_receiver_add(struct snapshot_receiver *receiver,
                                                  const void *data, size_t size,
                                                  struct error *error);
/* Syncs the file, verifies that it is the named one and whole while `taker` takes it in, and gives
 * it its name. Frees the receiver. What the taker got is worth something only if it returns without
 * error. Errors: as snapshot_load's. */
WARN_UNUSED enum error_code snapshot_receiver_finish(struct snapshot_receiver *receiver,
                                                     const struct snapshot_taker *taker,
                                                     struct error *error);
void snapshot_receiver_abandon(struct snapshot_receiver *receiver);

/* ---- reading ---- */

/* Reads and verifies a whole snapshot. What the taker got is worth something only if it returns
 * without error. Errors: ERROR_MISSING, ERROR_CORRUPT (naming file and offset), ERROR_MISMATCH
 * (another version of the format). */
WARN_UNUSED enum error_code snapshot_load(struct vfs *vfs, struct entry_id last,
                                          const struct snapshot_taker *taker,
                                          struct snapshot_info *info, struct error *error);

/* The same for a file of any name, such as a backup. */
WARN_UNUSED enum error_code snapshot_load_file(struct vfs *vfs, const char *path,
                                               const struct snapshot_taker *taker,
                                               struct snapshot_info *info, struct error *error);

/* Reads at most `bytes_max` raw bytes of the file from `offset` on into a new block, and at most
 * 1 MiB; fewer at its end, and none behind it (then *piece is empty). `*info` is what the file's
 * end says of it; the file is not verified. Errors: ERROR_MISSING. */
WARN_UNUSED enum error_code snapshot_read_at(struct vfs *vfs, struct entry_id last, u64 offset,
                                             u64 bytes_max, struct span *piece,
                                             struct snapshot_info *info, struct error *error);

/* ---- the directory ---- */

void snapshot_path(struct entry_id last, char path[SNAPSHOT_PATH_SIZE]);
/* Whether it is the name of a snapshot within its directory. */
bool snapshot_name_parse(const char *name, struct entry_id *last);

/* The snapshots that are there, by index and then term, ascending; *ids is the caller's to
 * memory_free. No directory means none. */
WARN_UNUSED enum error_code snapshot_list(struct vfs *vfs, struct entry_id **ids, size_t *count,
                                          struct error *error);
/* Bytes of all files that snapshot_list finds. */
WARN_UNUSED enum error_code snapshot_disk_bytes(struct vfs *vfs, u64 *bytes, struct error *error);
/* Removes one; gone for good when it returns. Errors: ERROR_MISSING. */
WARN_UNUSED enum error_code snapshot_remove(struct vfs *vfs, struct entry_id last,
                                            struct error *error);
/* Removes what was begun and not finished. */
WARN_UNUSED enum error_code snapshot_clean(struct vfs *vfs, struct error *error);

/* ---- a new cluster from an old one's snapshot ---- */

/* As storage_init (storage.h), but the new cluster begins with the state in the snapshot file
 * `path` of `from`: every server of it must be made with the same file and the same configuration.
 * What that means is at the head of init.c. `info` is what snapshot_load_file found when the file
 * was looked at before; one that is another by now is refused. identity->seed_crc is the checksum
 * of the configuration, as for storage_init; what is saved depends on the snapshot too.
 * Errors: ERROR_EXISTS, ERROR_MISSING, ERROR_CORRUPT, ERROR_MISMATCH, ERROR_IO, ERROR_NO_SPACE. */
WARN_UNUSED enum error_code storage_restore(struct vfs *vfs, const struct storage_options *options,
                                            const struct metadata *identity,
                                            const struct configuration *configuration,
                                            struct vfs *from, const char *path,
                                            const struct snapshot_info *info, struct error *error);

#endif
