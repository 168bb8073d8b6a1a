/* metadata.h - the metadata file: two slots, written one after the other.
 *
 * What is on disk stands at the head of metadata.c. Thread: the server's. All functions that reach
 * the disk block. */
#ifndef MAILRAFT_STORAGE_METADATA_H
#define MAILRAFT_STORAGE_METADATA_H

#include "common/report.h"
#include "common/vfs.h"
#include "server/storage/storage.h"

enum {
    METADATA_SLOTS = 2,
    METADATA_SLOT_PLACE = 4096, /* a slot's place: no sector of any disk holds part of both */
    METADATA_SLOT_SIZE = 256,   /* bytes of it that mean something */
    METADATA_FILE_SIZE = METADATA_SLOTS * METADATA_SLOT_PLACE
};

/* Whether the cluster id has 1 to 63 messages, digits, '.', '_' or '-'. */
bool metadata_cluster_id_valid(const char *cluster_id);

void metadata_slot_encode(const struct metadata *metadata, u64 version, u8 to[METADATA_SLOT_SIZE]);
/* `*why` is a static clause on failure. Errors: ERROR_CORRUPT, ERROR_MISMATCH (another version of
 * the format). */
WARN_UNUSED enum error_code metadata_slot_decode(const u8 *data, struct metadata *metadata,
                                                 u64 *version, const char **why);

struct metadata_file {
    struct vfs_file *file;
    struct metadata current; /* as on disk, in both slots unless a save failed */
    u64 version;             /* of the newest slot */
    int oldest;              /* the slot to be written first */
};

/* Writes both slots of the file at `path`, which is made if need be, and syncs it. */
WARN_UNUSED enum error_code metadata_create(struct vfs *vfs, const char *path,
                                            const struct metadata *metadata, struct error *error);

/* Opens `metadata` and takes the newest valid slot; says when the other is damaged. Errors:
 * ERROR_MISSING, ERROR_CORRUPT (no valid slot), ERROR_MISMATCH, ERROR_IO. */
WARN_UNUSED enum error_code metadata_open(struct metadata_file *metadata, struct vfs *vfs,
                                          struct report *report, struct error *error);
void metadata_close(struct metadata_file *metadata);

/* Writes both slots, a sync each; the one that is older or damaged comes first. After an error the
 * file must not be used again. */
WARN_UNUSED enum error_code metadata_save(struct metadata_file *metadata,
                                          const struct metadata *changed, struct error *error);

#endif
