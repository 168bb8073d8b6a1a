/* storage_world.h - an opened storage over a file system in memory, beside the story of what it
 * holds. */
#ifndef MAILRAFT_TEST_STORAGE_WORLD_H
#define MAILRAFT_TEST_STORAGE_WORLD_H

#include "test/unit/storage_story.h"

/* A fresh directory, opened. */
struct world {
    struct memory_vfs *memory;
    struct report report;
    struct storage *storage;
    u64 segment_bytes;
    struct error error;
};

static struct story story;

static inline struct world world_of(u64 segment_bytes)
{
    struct world world = {.memory = memory_create(), .segment_bytes = segment_bytes};
    world.report = story_report(NULL);
    ck_assert_int_eq(story_init(&world.memory->vfs, segment_bytes, &story, &world.error),
                     ERROR_NONE);
    return world;
}

static inline void world_open(struct world *world)
{
    storage_close(world->storage);
    world->storage = story_reopen(world->memory, world->segment_bytes, &world->report, &story);
}

static inline void world_end(struct world *world)
{
    storage_close(world->storage);
    memory_destroy(world->memory);
}

static inline void must_append(struct world *world, u64 first, u32 count, u64 term, u32 size)
{
    enum error_code code =
        story_append(world->storage, &story, first, count, term, size, &world->error);
    ck_assert_msg(code == ERROR_NONE, "%s", world->error.text);
}

/* storage_read must give the story's entries from `first` on; returns how many it gave. */
static inline u32 must_read(struct storage *storage, u64 first, u64 bytes_max)
{
    u32 count;
    struct span records;
    struct error error;
    enum error_code code = storage_read(storage, first, bytes_max, &count, &records, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    ck_assert_uint_ge(count, 1);
    const char *why = "";
    ck_assert_msg(records_check(records.data, records.size, first, count, &why), "%s", why);
    if (count > 1)
        ck_assert_uint_le(records.size, bytes_max);
    u32 at = 0;
    for (u32 i = 0; i < count; i++) {
        struct entry entry;
        at += record_peek(records.data + at, &entry);
        ck_assert_uint_eq(entry.id.term, story.entries[first + i].term);
        if (entry.type == ENTRY_COMMAND)
            ck_assert_uint_eq(load_u64(entry.payload), story.entries[first + i].tag);
    }
    span_release(&records);
    return count;
}

#endif
