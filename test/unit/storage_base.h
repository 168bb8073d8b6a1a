/* storage_base.h - what the tests of logs that begin behind a snapshot share: snapshots made of the
 * sample state, and an opening that takes in both. */
#ifndef MAILRAFT_TEST_STORAGE_BASE_H
#define MAILRAFT_TEST_STORAGE_BASE_H

#include "test/unit/snapshot_unit.h"

/* What storage_open handed out. */
struct seen {
    struct storage_recovery recovery;
    struct sample_taker taken; /* the snapshot that came last */
    int ends;                  /* snapshots that came to their end */
    bool forgotten;            /* none could be used, and that was said */
    bool refuse_end;           /* the machine cannot be made from any */
    bool entries_came;
    struct story log; /* log.count: the last entry's index, that of the base if there is none */
    char lines[4096];
};

static struct seen seen;

static bool seen_snapshot(void *context, const struct snapshot_head *head)
{
    struct seen *into = context;
    ck_assert(!into->entries_came);
    into->taken = (struct sample_taker){0};
    return sample_take_head(&into->taken, head);
}

static bool seen_piece(void *context, const u8 *data, size_t size)
{
    struct seen *into = context;
    return sample_take_piece(&into->taken, data, size);
}

static bool seen_snapshot_end(void *context)
{
    struct seen *into = context;
    into->ends++;
    return !into->refuse_end;
}

static void seen_no_snapshot(void *context)
{
    struct seen *into = context;
    into->forgotten = true;
    into->taken = (struct sample_taker){0};
}

static void seen_entry(void *context, const struct entry *entry, const u8 *record, u32 size)
{
    struct seen *into = context;
    if (!into->entries_came)
        into->log.count = into->recovery.base.index;
    into->entries_came = true;
    story_take(&into->log, entry, record, size);
}

/* Opens a directory as it is found; NULL when it cannot be. */
static inline struct storage *open_seen(struct memory_vfs *memory, struct error *error)
{
    static struct report report;
    struct storage_options options = {.segment_bytes = SMALL_SEGMENT};
    struct storage_loader loader = {.snapshot = seen_snapshot,
                                    .piece = seen_piece,
                                    .snapshot_end = seen_snapshot_end,
                                    .no_snapshot = seen_no_snapshot,
                                    .each = seen_entry,
                                    .context = &seen};
    struct storage *storage = NULL;
    bool refuse_end = seen.refuse_end;
    memset(&seen, 0, sizeof(seen));
    seen.refuse_end = refuse_end;
    report = story_report(seen.lines);
    memory->locked = false;
    *error = (struct error){0};
    if (storage_open(&memory->vfs, &options, &report, &loader, &seen.recovery, &storage, error) !=
        ERROR_NONE)
        return NULL;
    if (!seen.entries_came)
        seen.log.count = seen.recovery.base.index;
    ck_assert_uint_eq(seen.log.count, seen.recovery.last.index);
    ck_assert_uint_le(seen.recovery.base.index, seen.recovery.snapshot.last.index);
    ck_assert_uint_eq(seen.taken.head.last.index, seen.recovery.snapshot.last.index);
    ck_assert(!seen.taken.differs);
    return storage;
}

static inline struct storage *must_open(struct memory_vfs *memory)
{
    struct error error;
    struct storage *storage = open_seen(memory, &error);
    ck_assert_msg(storage != NULL, "%s", error.text);
    return storage;
}

/* Writes a snapshot of some size to the directory. */
static inline enum error_code snapshot_at(struct memory_vfs *memory, u64 index, u64 term,
                                          struct error *error)
{
    struct snapshot_info info;
    struct entry_id last = {.term = term, .index = index};
    return sample_write(&memory->vfs, last, 3000 + index, 1000, &info, error);
}

static inline void must_snapshot(struct memory_vfs *memory, u64 index, u64 term)
{
    struct error error;
    ck_assert_msg(snapshot_at(memory, index, term, &error) == ERROR_NONE, "%s", error.text);
}

/* The entries that came are those of the story. */
static inline void check_entries(const struct story *story, const char *what, u64 where)
{
    for (u64 i = seen.recovery.base.index + 1; i <= seen.log.count; i++)
        ck_assert_msg(i <= story->count && seen.log.entries[i].term == story->entries[i].term &&
                          seen.log.entries[i].tag == story->entries[i].tag,
                      "%s %llu: entry %llu is another", what, (unsigned long long)where,
                      (unsigned long long)i);
}

/* One entry, one batch; about three of them fill a segment. */
static inline enum error_code append_large(struct storage *storage, struct story *story, u64 term,
                                           struct error *error)
{
    return story_append(storage, story, story->count + 1, 1, term, 3500, error);
}

static inline void must_append_large(struct storage *storage, struct story *story, u64 count,
                                     u64 term)
{
    struct error error;
    for (u64 i = 0; i < count; i++)
        ck_assert_msg(append_large(storage, story, term, &error) == ERROR_NONE, "%s", error.text);
}

/* A new directory, opened. */
static inline struct storage *begin_story(struct memory_vfs *memory, struct story *story)
{
    struct error error;
    memset(story, 0, sizeof(*story));
    ck_assert_int_eq(story_init(&memory->vfs, SMALL_SEGMENT, story, &error), ERROR_NONE);
    return must_open(memory);
}

/* Waits until the job has removed what may go, and made what is wanted. */
static inline void await_segments(struct storage *storage, u64 count)
{
    struct storage_status status = {0};
    do {
        struct error error;
        ck_assert_int_eq(storage_check(storage, &error), ERROR_NONE);
        storage_status(storage, &status);
    } while (status.segments != count);
}

#endif
