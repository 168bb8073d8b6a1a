/* log_index.h - where on disk each live entry is.
 *
 * A sparse, sorted array of rows. A row says: from index `first` on, up to the next row's first,
 * the entries are in the batches that follow one another from this place on. A batch that
 * truncates, a new segment, and every 64 KiB of batches begin a new row; so a reader of index i
 * goes to the last row that begins at or before i, and passes at most 64 KiB of other batches. What
 * a truncation replaced lies behind the end of its row, and is never reached.
 *
 * Thread: any, under the lock of whoever owns it. Never blocks. */
#ifndef MAILRAFT_STORAGE_LOG_INDEX_H
#define MAILRAFT_STORAGE_LOG_INDEX_H

#include "common/types.h"

struct log_row {
    u64 first;   /* index of the first entry that is live here */
    u64 segment; /* id */
    u64 offset;  /* of the batch that holds it */
};

struct log_index {
    struct log_row *rows; /* rising in first */
    size_t count;
    size_t capacity;
    u64 last;        /* index of the last live entry; that before the first when there is none */
    u64 truncations; /* batches so far that replaced something */
    bool row_ended;  /* what follows on the last row's batches is not live: begin another */
};

void log_index_init(struct log_index *index);
void log_index_deinit(struct log_index *index);

/* A batch of `count` entries from `first` on is at this place; first <= last + 1, unless the index
 * is empty. It replaces everything from `first` on. */
void log_index_add(struct log_index *index, u64 first, u32 count, u64 segment, u64 offset);

/* Nothing behind `last` is live any more; at or before `last` nothing changes. What is added next
 * begins a new row: a batch that is lost may stand in between. */
void log_index_truncate(struct log_index *index, u64 last);

/* Nothing is live; the next entry will be the one behind `last`. */
void log_index_reset(struct log_index *index, u64 last);

/* The segments before this one are to go: forgets what is in them. */
void log_index_forget(struct log_index *index, u64 segment);

/* Where to begin looking for the live entry `wanted`; `*end` is the first index behind it that is
 * somewhere else. False when there is no such entry. */
bool log_index_find(const struct log_index *index, u64 wanted, struct log_row *row, u64 *end);

#endif
