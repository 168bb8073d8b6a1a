/* log.h - the replicated log as the rules see it: positions, terms, and a tail in memory.
 *
 * The log knows the term at every index (as runs), but holds only the newest records themselves,
 * bounded in bytes; older ones are on disk, and the answer about them is "not in memory". Records
 * are pieces of shared blocks: appending, sending and saving copy nothing, except that a leader's
 * own entries are encoded, once, into the log's chunk.
 *
 * Indexes: 1 is the first entry. `base` is the entry before the first that the log can still tell
 * the term of ({0, 0} until a snapshot replaces a prefix).
 *
 * Thread: the one that runs the server's rules. Never blocks; no I/O. */
#ifndef MAILRAFT_RULES_LOG_H
#define MAILRAFT_RULES_LOG_H

#include "common/bytes.h"
#include "server/rules/entry.h"

/* A record in memory. */
struct log_slot {
    struct block *block; /* one reference */
    const u8 *record;
    u32 size;
};

/* Entries from `first_index` up to the next run's have this term. */
struct term_run {
    u64 first_index;
    u64 term;
};

struct log {
    struct entry_id base; /* see above */
    u64 last_index;       /* base.index when the log is empty */
    u64 durable_index;    /* everything through here is synced on this server's disk */
    u64 unsaved_index;    /* the first entry not yet handed to storage; last_index + 1: none */

    struct term_run *runs; /* rising in both fields; empty exactly when the log is empty */
    u32 run_count;
    u32 run_capacity;

    struct log_slot *slots; /* ring of the entries memory_first .. last_index */
    u64 slot_capacity;      /* power of two, or 0 */
    u64 memory_first;       /* last_index + 1 when nothing is in memory */
    u64 memory_bytes;       /* of the records in memory */
    u64 memory_bytes_max;   /* what log_evict keeps, more or less */

    struct block *chunk; /* where log_append encodes; NULL: none yet */
    u32 chunk_used;
    u64 last_time_ns; /* time of the newest entry that was appended here, to keep it monotone */
};

void log_init(struct log *log, u64 memory_bytes_max);
void log_deinit(struct log *log);

/* The last entry's id; base when the log is empty. */
struct entry_id log_last(const struct log *log);

/* The term of the entry at `index`, base.index <= index <= last_index. */
u64 log_term_at(const struct log *log, u64 index);

/* Whether the log holds exactly this entry (or it is the base). False for any other position. */
bool log_holds(const struct log *log, struct entry_id id);

/* The first index whose entry has the term that `index` has. base.index < index <= last_index. */
u64 log_first_index_of_term_at(const struct log *log, u64 index);

/* The last index whose entry has a term of at most `term`; base.index when there is none. */
u64 log_last_index_of_term_at_most(const struct log *log, u64 term);

/* Appends a new entry behind the last: index and monotone time are filled in, the record is
 * encoded. `entry->id.term` must not be below the last term. The payload may be in two pieces: a
 * second one follows the first when `more_size` is not 0. Returns the new index. */
u64 log_append(struct log *log, const struct entry *entry, const void *more, u32 more_size);

/* Appends an encoded, verified record whose index is last_index + 1, by reference to `block`. */
void log_append_record(struct log *log, struct block *block, const u8 *record, u32 size);

/* Removes the entry at `index` and all that follow it; past the end it is a no-op. The caller has
 * checked that nothing committed goes. What remains unsaved or durable shrinks with it. */
void log_truncate(struct log *log, u64 index);

/* At start: takes in an entry that is already on this server's disk and is not kept in memory. */
void log_restore_entry(struct log *log, struct entry_id id);

/* Forgets the entries through `index`, which are on disk and applied; base becomes the id of that
 * entry. At or before the base it is a no-op. */
void log_compact(struct log *log, u64 index);

/* A snapshot has taken the place of all entries: the log is empty, and its base is `base`. */
void log_reset(struct log *log, struct entry_id base);

/* The records from `first` on, as spans (neighbours in memory become one), at most `bytes_max`
 * bytes but at least one entry, at most `spans_max` spans. Returns the number of entries, each
 * span with a reference for the caller; 0 when `first` is past the end or not in memory. */
u32 log_slice(const struct log *log, u64 first, u64 bytes_max, struct span *spans, u32 spans_max,
              u32 *span_count);

/* Bytes of the records first .. last (both inclusive), all of which are in memory. */
u64 log_bytes(const struct log *log, u64 first, u64 last);

/* Whether the record at `index` is in memory. */
bool log_in_memory(const struct log *log, u64 index);

/* The entry at `index`, which is in memory. Payload is borrowed until the next change to the log.
 */
struct entry log_entry(const struct log *log, u64 index);

/* Says that storage has synced everything through `index`, as it stands now. */
void log_saved(struct log *log, u64 index);

/* The two halves of log_saved, for whoever does not wait for the disk: everything has been handed
 * to storage; storage has synced everything through `index`, which was handed to it before and has
 * not been replaced since. */
void log_handed_over(struct log *log);
void log_synced(struct log *log, u64 index);

/* Forgets the oldest records in memory while there are more than memory_bytes_max bytes, but only
 * such as are saved and lie at or before `through`. Their ids stay known. */
void log_evict(struct log *log, u64 through);

#endif
