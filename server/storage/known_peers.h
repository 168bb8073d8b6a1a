/* known_peers.h - the file `peers`: what this server has seen of the others (rules/trust.h).
 *
 * What is on disk stands at the head of known_peers.c. Thread: the server's. All functions
 * block. */
#ifndef MAILRAFT_STORAGE_KNOWN_PEERS_H
#define MAILRAFT_STORAGE_KNOWN_PEERS_H

#include "common/report.h"
#include "common/vfs.h"
#include "server/rules/trust.h"

struct known_peers_file {
    struct vfs_file *file;
    u64 version; /* of the newest slot; 0: none is whole */
    int oldest;  /* the slot to be written first */
};

/* Makes the file in a directory with this id, with nobody in it. The directory is not synced. */
WARN_UNUSED enum error_code known_peers_create(struct vfs *vfs, u64 directory_id,
                                               struct error *error);

/* Opens `peers` and gives what it holds, which survives a power cut when it returns; it is made if
 * an older program has not. Damage to both slots is said, and then nothing is known: other servers
 * remember what this one has forgotten, and to refuse would cost a server that has lost no promise
 * of its own. Errors: ERROR_IO, ERROR_MISMATCH (another version of the format). */
WARN_UNUSED enum error_code known_peers_open(struct known_peers_file *known_peers, struct vfs *vfs,
                                             u64 directory_id, struct report *report,
                                             struct known_peer met[KNOWN_PEERS_MAX], u32 *count,
                                             struct error *error);
void known_peers_close(struct known_peers_file *known_peers);

/* Writes both slots, a sync each. After an error the file must not be used again. */
WARN_UNUSED enum error_code known_peers_save(struct known_peers_file *known_peers, u64 directory_id,
                                             const struct known_peer *met, u32 count,
                                             struct error *error);

#endif
