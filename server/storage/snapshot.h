/* snapshot.h - the machine's state at one entry of the log, as a file.
 *
 * A snapshot is one self-contained file, DIR/snapshots/<index>-<term>.snap, with 20 digits each:
 * a head that says what it replaces, the machine's bytes in checksummed blocks, and a trailer.
 * Nothing in it belongs to one server, so it is sent as it stands, and can be kept as a backup. The
 * format stands at the head of snapshot.c.
 *
 * A snapshot is there whole or not at all: it is written under another name, synced, renamed, and
 * the directory is synced. Whatever bears a snapshot's name and is not whole was damaged later.
 *
 * Thread: any, one at a time an object; at most one writer and one receiver in a directory. The
 * others are for any thread beside them. Memory: a block of at most 1 MiB an object or call.
 * Everything blocks. */
#ifndef MAILRAFT_STORAGE_SNAPSHOT_H
#define MAILRAFT_STORAGE_SNAPSHOT_H

#include "server/storage/storage.h"

enum {
    SNAPSHOT_PATH_SIZE = 64,      /* "snapshots/<20 digits>-<20 digits>.snap" with its NUL */
    SNAPSHOT_PIECE_MAX = 1 << 20, /* bytes of machine state in a block, and of a piece to send */
    SNAPSHOT_TRAILER_SIZE = 32    /* no snapshot is as small as this */
};

/* What a snapshot stands for: all entries through `last`, which it replaces. */
struct snapshot_head {
    struct entry_id last;
    u64 time_ns; /* of the entry `last`: those behind it are not earlier */
    char cluster_id[CLUSTER_ID_SIZE];
    struct configuration configuration; /* as of `last`; 1 <= its index <= last.index */
};

/* What names a snapshot's bytes: two files with the same are the same. */
struct snapshot_info {
    struct entry_id last;
    u64 size;     /* bytes of the file */
    u32 checksum; /* of the whole file */
};

void snapshot_path(struct entry_id last, char path[SNAPSHOT_PATH_SIZE]);
/* Reads a name such as snapshot_path makes, without its directory. False for any other. */
bool snapshot_name_parse(const char *name, struct entry_id *last);

/* ---- writing one's own ---- */

struct snapshot_writer;

/* Begins a snapshot. What an earlier writer left unfinished goes. Ownership: ends with finish or
 * abandon. Errors: ERROR_NO_SPACE, ERROR_IO, ERROR_SYSTEM. */
WARN_UNUSED enum error_code snapshot_writer_create(struct vfs *vfs,
                                                   const struct snapshot_head *head,
                                                   struct snapshot_writer **writer,
                                                   struct error *error);
/* The next bytes of the machine's state, cut anywhere. After an error only abandon is left.
 * Errors: ERROR_NO_SPACE, ERROR_IO. */
WARN_UNUSED enum error_code snapshot_writer_add(struct snapshot_writer *writer, const void *data,
                                                size_t size, struct error *error);
/* Completes it: when this returns without error it survives a power cut. Frees the writer in any
 * case; after an error the snapshot is there whole, or not at all. */
WARN_UNUSED enum error_code snapshot_writer_finish(struct snapshot_writer *writer,
                                                   struct snapshot_info *info,
                                                   struct error *error);
/* Gives it up, and frees the writer. NULL is a no-op. */
void snapshot_writer_abandon(struct snapshot_writer *writer);

/* ---- receiving a leader's ---- */

struct snapshot_receiver;

/* Begins to receive the file that `info` names. What an earlier receiver left goes. Ownership and
 * errors as those of the writer. */
WARN_UNUSED enum error_code snapshot_receiver_create(struct vfs *vfs,
                                                     const struct snapshot_info *info,
                                                     struct snapshot_receiver **receiver,
                                                     struct error *error);
/* Where the next piece belongs: how many bytes are there. */
u64 snapshot_receiver_offset(const struct snapshot_receiver *receiver);
/* The next bytes of the file. After an error only abandon is left. Errors: ERROR_FORMAT (more than
 * the file has), ERROR_NO_SPACE, ERROR_IO. */
WARN_UNUSED enum error_code snapshot_receiver_add(struct snapshot_receiver *receiver,
                                                  const void *data, size_t size,
                                                  struct error *error);
/* Reads all of it back, and gives it its name when it is whole and is what `info` named. Frees the
 * receiver in any case. Errors: ERROR_CORRUPT (not all there, or not what was named),
 * ERROR_MISMATCH (a format of another version), ERROR_IO. */
WARN_UNUSED enum error_code snapshot_receiver_finish(struct snapshot_receiver *receiver,
                                                     struct error *error);
void snapshot_receiver_abandon(struct snapshot_receiver *receiver);

/* ---- sending ---- */

/* Reads a piece of the file from `offset` on, as it stands, into a new block: at most bytes_max
 * bytes and SNAPSHOT_PIECE_MAX; the empty span at the end and behind it. `*info` is read from the
 * trailer; the other bytes are not verified, since whoever receives them does it. Ownership: caller
 * releases the span. Errors: ERROR_MISSING (that snapshot is gone), ERROR_CORRUPT, ERROR_IO. */
WARN_UNUSED enum error_code snapshot_read_at(struct vfs *vfs, struct entry_id last, u64 offset,
                                             u64 bytes_max, struct span *span,
                                             struct snapshot_info *info, struct error *error);

/* ---- loading ---- */

/* Gets a snapshot's content, each part verified before it is given; what it is given ends with the
 * call. Each returns whether to go on. */
struct snapshot_taker {
    /* Called once and first. False: it is not for this one to take. */
    bool (*head)(void *context, const struct snapshot_head *head);
    /* The next bytes of the machine's state. False: they are no such thing. */
    bool (*piece)(void *context, const u8 *data, size_t size);
    void *context;
};

/* Verifies all of a snapshot and gives it to the taker. An error may come after the taker has got
 * something, all of it: only when this returns without error is it the snapshot. Errors:
 * ERROR_CORRUPT (with file and offset; or the taker refused a piece), ERROR_MISMATCH (a format of
 * another version; or the taker refused the head), ERROR_MISSING, ERROR_IO. */
WARN_UNUSED enum error_code snapshot_load(struct vfs *vfs, struct entry_id last,
                                          const struct snapshot_taker *taker,
                                          struct snapshot_info *info, struct error *error);
/* The same for a file of any name, such as a backup. */
WARN_UNUSED enum error_code snapshot_load_file(struct vfs *vfs, const char *path,
                                               const struct snapshot_taker *taker,
                                               struct snapshot_info *info, struct error *error);

/* ---- the directory ---- */

/* The ids of all snapshots, ascending by index, then term; `*ids` is the caller's to memory_free.
 * Other files are passed over. Without a directory there is none. Errors: ERROR_IO. */
WARN_UNUSED enum error_code snapshot_list(struct vfs *vfs, struct entry_id **ids, size_t *count,
                                          struct error *error);
/* Removes a snapshot for good: the directory is synced. One that is not there is no error. */
WARN_UNUSED enum error_code snapshot_remove(struct vfs *vfs, struct entry_id last,
                                            struct error *error);
/* Removes what a writer and a receiver left unfinished; for the start, when there is neither. */
WARN_UNUSED enum error_code snapshot_clean(struct vfs *vfs, struct error *error);

#endif
