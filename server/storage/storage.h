/* storage.h - the one door to the disk: metadata and log of one server, in one directory.
 *
 *   DIR/LOCK          held (flock) while the directory is in use
 *   DIR/metadata      two checksummed slots; format in metadata.c
 *   DIR/peers         what was seen of other servers; format in known_peers.c
 *   DIR/log/NNN.seg   segments, prewritten with zeros; format in segment.c
 *   DIR/snapshots/    the machine's state as of some entry; see snapshot.h
 *
 * Everything through a vfs. Nothing is spoken before it is synced: when storage_append or
 * storage_save_metadata has returned without error, what it was given survives a power cut. A
 * failed write or sync is final: the storage is unusable from then on, says so in every later
 * call, and is never retried; the server must stop.
 *
 * Thread: the server thread, but storage_read is for any. A job thread of its own prepares
 * segments. */
#ifndef MAILRAFT_STORAGE_STORAGE_H
#define MAILRAFT_STORAGE_STORAGE_H

#include "common/bytes.h"
#include "common/histogram.h"
#include "common/liveness.h"
#include "common/report.h"
#include "common/vfs.h"
#include "server/rules/configuration.h"
#include "server/rules/entry.h"
#include "server/rules/trust.h"

struct storage;

enum { METADATA_STARTS = IDENTITY_STARTS };

/* The index of a promised entry of which only the term is known: no index is greater. */
#define LOST_INDEX (UINT64_MAX >> 3)

/* Who a directory belongs to, and what must survive of Raft's state. */
struct metadata {
    char cluster_id[CLUSTER_ID_SIZE];
    server_id self;
    u64 directory_id; /* random, made by storage_init; another one is another disk */
    u64 start_count;  /* how often a server was started on it; storage_open adds 1 */
    u32 seed_crc;     /* checksum of what cluster.conf said of the members at --init: those of a
                         configuration entry of version 1 */
    u64 current_term;
    server_id voted_for;
    struct entry_id acked_through; /* the log once held all through here; {0, 0}: it still does */
    /* Random ids of the last starts, newest first: starts[i] is that of start `start_count - i`;
     * 0: there was none, or a program made it that gave no ids. By them another server sees whether
     * this directory is the one it met before (rules/trust.h). */
    u64 starts[METADATA_STARTS];
    bool non_voter; /* it was told that it is not what the others once met: it may not vote */
    bool blank; /* it belongs to no cluster yet: its log is empty, and it has promised nothing */
    u64 incarnation;    /* of its cluster (rules/configuration.h); 0: not known */
    u64 readmitted;     /* index of the newest readmission that it has fulfilled (rules/trust.h) */
    u64 joined_through; /* as in struct identity (rules/trust.h) */
};

struct storage_options {
    u64 segment_bytes;    /* size of a new segment; a batch of the largest record must fit */
    u64 record_bytes_max; /* the next segment is made in time for a record of this size; 0: for
                           * none that is larger than half a segment */
    u64 start_id;         /* random, for the start that storage_open counts; 0: it has no id */
};

/* What a snapshot's file is known by. */
struct snapshot_info {
    struct entry_id last; /* lastIncludedTerm and lastIncludedIndex; {0, 0}: no snapshot */
    u64 size;             /* bytes of the file */
    u32 checksum;         /* of all of it but the last four bytes, which hold it */
};

/* How long opening took. */
struct storage_opening {
    u64 snapshot_ns; /* reading the snapshot, and making the machine from it */
    u64 log_ns;      /* reading and verifying the log, and handing out its entries */
    u64 entries;     /* handed out */
};

/* What was found at start, beside the entries themselves. */
struct storage_recovery {
    struct metadata metadata;      /* start_count is this start's */
    struct snapshot_info snapshot; /* the one that was loaded */
    struct entry_id base;          /* the entry before the first that the log gives; at or before
                                      the snapshot's last */
    struct entry_id last;          /* base when the log is empty */
    u64 commit_hint;               /* every entry through here was known to be committed */
    struct known_peer met[KNOWN_PEERS_MAX]; /* what was seen of others */
    u32 met_count;
    u64 torn_bytes; /* cut from the tail; 0 after an orderly stop */
    struct storage_opening opening;
};

struct snapshot_head; /* snapshot.h */

/* Who takes in what storage_open finds: a snapshot, then the log's entries. */
struct storage_loader {
    /* A snapshot begins; what came of one before, which turned out damaged, is to be forgotten.
     * NULL: snapshots are left alone, and the log must do without. */
    bool (*snapshot)(void *context, const struct snapshot_head *head);
    /* The next bytes of the machine's state. */
    bool (*piece)(void *context, const u8 *data, size_t size);
    /* The snapshot was read to its end; false: it makes no sense after all. */
    bool (*snapshot_end)(void *context);
    /* No snapshot could be used: what came of the damaged ones is to be forgotten. */
    void (*no_snapshot)(void *context);
    /* Every live entry in order, each index once, as it stands after all truncations, with its
     * record, which may not be kept. Those that the snapshot includes come too, if they are there.
     */
    void (*each)(void *context, const struct entry *entry, const u8 *record, u32 size);
    void *context;
};

/* Makes a new data directory, which refuses a directory in which anything is. With a configuration
 * it is the one that founds a cluster: that is entry 1 (of term 1), its incarnation is the
 * cluster's, and term becomes 1 and the vote nobody's. Without one it is *blank*: no entry, term 0,
 * and it joins the first cluster that it meets. `identity` gives cluster_id, self, directory_id and
 * seed_crc. Survives a power cut when it
 * returns; cut short, it leaves a directory that storage_open refuses and storage_init takes.
 * Takes no lock: nobody else may be at work on an empty directory.
 * Errors: ERROR_EXISTS, ERROR_IO, ERROR_NO_SPACE. Blocks. */
WARN_UNUSED enum error_code storage_init(struct vfs *vfs, const struct storage_options *options,
                                         const struct metadata *identity,
                                         const struct configuration *configuration,
                                         struct error *error);

/* Opens a data directory: locks it, reads the metadata, counts the start, loads the newest snapshot
 * that is valid, and reads the log. `*recovery` is filled in before the first entry comes. A torn
 * tail is cut and said. A log that the snapshot has overtaken begins anew behind it; so does one
 * that begins later than the snapshot ends, and then metadata.acked_through says through where it
 * reached. Errors: ERROR_MISSING (never initialised: names --init), ERROR_LOCKED, ERROR_CORRUPT,
 * ERROR_MISMATCH, ERROR_IO, ERROR_NO_SPACE. Blocks. Ownership: caller closes. */
WARN_UNUSED enum error_code storage_open(struct vfs *vfs, const struct storage_options *options,
                                         struct report *report, const struct storage_loader *loader,
                                         struct storage_recovery *recovery,
                                         struct storage **storage, struct error *error);

/* Stops the job thread and closes the files. Syncs nothing: nothing is ever unsynced. */
void storage_close(struct storage *storage);

/* Writes term and vote to both slots, a sync each. Blocks. */
WARN_UNUSED enum error_code storage_save_metadata(struct storage *storage, u64 current_term,
                                                  server_id voted_for, struct error *error);

/* Appends `count` records, the first with index `first`, as one batch with one sync (several when
 * they do not fit in a segment). A batch replaces everything from `first` on: that is truncation.
 * With count 0 nothing is written. `last` is the last entry's id. Blocks. */
WARN_UNUSED enum error_code storage_append(struct storage *storage, const struct span *spans,
                                           u32 span_count, u64 first, u32 count,
                                           struct entry_id last, u64 commit_hint,
                                           struct error *error);

/* The log begins anew: nothing is live, and the entry behind `base` comes next. What `base` stands
 * for must be in a snapshot that is on disk. Survives a power cut when it returns. Blocks. */
WARN_UNUSED enum error_code storage_reset(struct storage *storage, struct entry_id base,
                                          struct error *error);

/* Entries before `first_needed` may go: whole segments that hold nothing else are removed by the
 * job, some time. A snapshot stands for them, or they are of no use. Never blocks. */
void storage_compact(struct storage *storage, u64 first_needed);

/* Saves through where the log was promised to reach; {0, 0}: it does again. Blocks. */
WARN_UNUSED enum error_code
storage_save_acked_through(struct storage *storage, struct entry_id promised, struct error *error);

/* Saves what has changed of what this server is to the others (of `own` that it may not vote,
 * whether it is blank, through whom it joined, incarnation and readmission), and term and vote with
 * it. Blocks. */
WARN_UNUSED enum error_code storage_save_own(struct storage *storage, const struct identity *own,
                                             u64 current_term, server_id voted_for,
                                             struct error *error);

/* Saves what is remembered of other servers, in place of what was. Blocks. */
WARN_UNUSED enum error_code storage_save_known_peers(struct storage *storage,
                                                     const struct known_peer *met, u32 count,
                                                     struct error *error);

/* Where the files are, for the snapshots'. */
struct vfs *storage_vfs(struct storage *storage);

/* Whether it still works. A job that fails for good, such as one that cannot write a new segment,
 * makes the storage unusable too, and would otherwise be noticed only by an append that finds no
 * room, which is never made. */
WARN_UNUSED enum error_code storage_check(struct storage *storage, struct error *error);

/* Bytes of records that one storage_append can surely take now, into prewritten space. A little is
 * held back for entries that Raft itself must append, and for which nobody asks. Never blocks:
 * while the next segment is being made it is what is left of the one in use, which may be nothing.
 */
u64 storage_room(struct storage *storage);
/* The same as soon as the next segment is made: more than storage_room only while a job is at it
 * and nothing is in its way. What fits in here and not in there has to wait, and not for long; what
 * does not fit in here finds the disk full. */
u64 storage_room_soon(struct storage *storage);

/* Reads records from `first` on into a new block: at least one, and no more than `bytes_max` bytes
 * if one fits. Sets `*count` and `*records` (caller releases). Fewer than wanted when the live log
 * ends, or when it is truncated meanwhile. Errors: ERROR_MISSING (no such index), ERROR_CORRUPT,
 * ERROR_IO. Thread: any. Blocks. */
WARN_UNUSED enum error_code storage_read(struct storage *storage, u64 first, u64 bytes_max,
                                         u32 *count, struct span *records, struct error *error);

/* Figures for status. Thread: the server's. */
struct storage_status {
    u64 segments;
    u64 disk_bytes;  /* of all segments */
    u64 log_bytes;   /* of those in use, from the first live entry's to where the log ends */
    u64 first_index; /* the first entry that storage_read gives, if there is one */
};
void storage_status(struct storage *storage, struct storage_status *status);

/* How long the server's thread has waited for the disk. */
struct storage_timing {
    struct histogram syncs;    /* of the log: each fdatasync */
    struct histogram metadata; /* changes of metadata and known_peers: two slots, each written and
                                * synced */
    struct histogram segments; /* the log's next segment was not ready where it had to be: each wait
                                * for it */
    struct histogram writes;   /* of the log, before they are synced; not in what follows */
    struct recent_max recent;  /* the longest of the first three */
    u64 waited_ns;             /* for these, since the storage was opened */
};
/* Borrowed, as long as the storage is open. Thread: the server's. */
const struct storage_timing *storage_timing(const struct storage *storage);
/* Forgets all but waited_ns. Thread: the server's. */
void storage_reset_timing(struct storage *storage);
/* From now on `liveness` tells when the server's thread waits for the disk. Borrowed. Thread: the
 * server's. */
void storage_set_liveness(struct storage *storage, struct liveness *liveness);
/* From now on a sync that takes longer is said, with restraint (slow_sync.h); 0: none is, as in the
 * beginning. Thread: the server's. */
void storage_set_slow_sync(struct storage *storage, u64 limit_ns);

#endif
