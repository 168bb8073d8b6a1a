/* storage_story.h - what the tests of storage share: a log as a list of terms and tags, written
 * through storage_append and read back through storage_open.
 *
 * An entry's payload is its tag (8 bytes), then filler made from the tag; a filler of tag % 4 == 0
 * is all zeros, so that blank sectors occur too. */
#ifndef MAILRAFT_TEST_STORAGE_STORY_H
#define MAILRAFT_TEST_STORAGE_STORY_H

#include "server/storage/storage.h"
#include "test/unit/memory_vfs.h"
#include "test/unit/unit.h"

enum { STORY_MAX = 4096, SMALL_SEGMENT = 16384 };

struct story {
    u64 count; /* entries 1 .. count */
    struct {
        u64 term;
        u64 tag;
        u32 size; /* of the payload */
    } entries[STORY_MAX + 1];
    u64 next_tag;
};

static const struct metadata story_identity = {
    .cluster_id = "test", .self = 2, .directory_id = 0x1234567890abcdef, .seed_crc = 77};

static void story_drop_line(void *context, enum report_level level, const char *line, size_t size)
{
    (void)level, (void)size;
    if (context != NULL)
        strncat(context, line, 4000 - strlen(context));
}

/* Collects lines in `text` of 4 KiB, or drops them. */
static inline struct report story_report(char *text)
{
    struct report report = {.format = REPORT_LOGFMT, .write = story_drop_line, .context = text};
    atomic_init(&report.level, REPORT_DEBUG);
    return report;
}

static inline struct configuration story_configuration(void)
{
    struct configuration configuration = {0};
    struct error error;
    for (server_id id = 1; id <= 3; id++)
        ck_assert_int_eq(configuration_add(&configuration, id, "host:1", "host:2", &error),
                         ERROR_NONE);
    return configuration;
}

static inline enum error_code story_init(struct vfs *vfs, u64 segment_bytes, struct story *story,
                                         struct error *error)
{
    struct configuration configuration = story_configuration();
    struct storage_options options = {.segment_bytes = segment_bytes};
    story->count = 1;
    story->entries[1].term = 1;
    story->entries[1].tag = 0;
    story->next_tag = 1;
    return storage_init(vfs, &options, &story_identity, &configuration, error);
}

static inline void story_fill(u8 *payload, u64 tag, u32 size)
{
    ck_assert_uint_ge(size, 8);
    memset(payload, tag % 4 == 0 ? 0 : (int)(tag & 0xff) | 1, size);
    store_u64(payload, tag);
}

/* Changes the story as a batch of entries first .. first + count - 1 changes the log, and makes
 * their records in one block. */
static inline struct span story_write(struct story *story, u64 first, u32 count, u64 term, u32 size)
{
    ck_assert_uint_le(first, story->count + 1);
    ck_assert_uint_le(first + count, STORY_MAX);
    u32 record_size = RECORD_HEADER_SIZE + size;
    struct block *block = block_create(record_size * count);
    for (u32 i = 0; i < count; i++) {
        u64 tag = story->next_tag++;
        u8 *record = block->data + (size_t)record_size * i;
        struct entry entry = {.id = {.term = term, .index = first + i},
                              .type = ENTRY_COMMAND,
                              .version = ENTRY_VERSION,
                              .payload = record + RECORD_HEADER_SIZE,
                              .payload_size = size};
        story_fill(record + RECORD_HEADER_SIZE, tag, size);
        record_encode(&entry, record);
        story->entries[first + i].term = term;
        story->entries[first + i].tag = tag;
        story->entries[first + i].size = size;
    }
    story->count = first + count - 1;
    struct span span = span_of(block, block->data, record_size * count);
    block_release(block);
    return span;
}

/* What the batches' hints say is committed: entry 1. */
static const u64 story_committed = 1;

/* Writes entries to story and storage. */
static inline enum error_code story_append(struct storage *storage, struct story *story, u64 first,
                                           u32 count, u64 term, u32 size, struct error *error)
{
    struct span span = story_write(story, first, count, term, size);
    enum error_code code = storage_append(
        storage, &span, 1, first, count,
        (struct entry_id){.term = term, .index = first + count - 1}, story_committed, error);
    span_release(&span);
    return code;
}

/* storage_open's `each`: checks one entry's bytes and notes it in the story at `context`. */
static inline void story_take(void *context, const struct entry *entry, const u8 *record, u32 size)
{
    struct story *story = context;
    struct entry decoded;
    ck_assert_uint_eq(record_decode(record, size, &decoded), size);
    ck_assert_uint_eq(entry->id.index, story->count + 1);
    story->count++;
    story->entries[story->count].term = entry->id.term;
    story->entries[story->count].tag = 0;
    if (entry->type == ENTRY_CONFIGURATION)
        return;
    u64 tag = load_u64(entry->payload);
    u8 *expected = malloc(entry->payload_size);
    story_fill(expected, tag, entry->payload_size);
    ck_assert_mem_eq(entry->payload, expected, entry->payload_size);
    free(expected);
    story->entries[story->count].tag = tag;
    story->entries[story->count].size = entry->payload_size;
}

/* Opens a storage and collects what it holds in `found`. */
static inline enum error_code story_open(struct vfs *vfs, u64 segment_bytes, struct report *report,
                                         struct story *found, struct storage_recovery *recovery,
                                         struct storage **storage, struct error *error)
{
    struct storage_options options = {.segment_bytes = segment_bytes};
    memset(found, 0, sizeof(*found));
    struct storage_loader loader = {.each = story_take, .context = found};
    return storage_open(vfs, &options, report, &loader, recovery, storage, error);
}

/* Whether the first `count` entries are the same. */
static inline bool story_same_prefix(const struct story *a, const struct story *b, u64 count)
{
    if (a->count < count || b->count < count)
        return false;
    for (u64 i = 1; i <= count; i++) {
        if (a->entries[i].term != b->entries[i].term || a->entries[i].tag != b->entries[i].tag)
            return false;
    }
    return true;
}

static inline bool story_same(const struct story *a, const struct story *b)
{
    return a->count == b->count && story_same_prefix(a, b, a->count);
}

/* Opens a directory that must hold exactly `expected`; the caller closes the storage. */
static inline struct storage *story_reopen(struct memory_vfs *memory, u64 segment_bytes,
                                           struct report *report, const struct story *expected)
{
    static struct story found;
    struct storage_recovery recovery;
    struct storage *storage = NULL;
    struct error error = {0};
    memory->locked = false;
    enum error_code code =
        story_open(&memory->vfs, segment_bytes, report, &found, &recovery, &storage, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    ck_assert_uint_eq(found.count, expected->count);
    ck_assert(story_same(&found, expected));
    ck_assert_uint_eq(recovery.last.index, expected->count);
    ck_assert_uint_eq(recovery.last.term, expected->entries[expected->count].term);
    return storage;
}

/* What open_found found, and the lines that it said. */
static struct story found;
static char found_lines[4096];

/* Opens a directory as it is found, and tells how that went. */
static inline enum error_code open_found(struct memory_vfs *memory, u64 segment_bytes,
                                         struct storage **storage,
                                         struct storage_recovery *recovery, struct error *error)
{
    static struct report report;
    found_lines[0] = '\0';
    report = story_report(found_lines);
    return story_open(&memory->vfs, segment_bytes, &report, &found, recovery, storage, error);
}

/* A directory whose log has several segments. */
static inline struct memory_vfs *story_several_segments(struct story *story)
{
    struct memory_vfs *memory = memory_create();
    struct error error;
    ck_assert_int_eq(story_init(&memory->vfs, SMALL_SEGMENT, story, &error), ERROR_NONE);
    struct report report = story_report(NULL);
    struct storage *storage = story_reopen(memory, SMALL_SEGMENT, &report, story);
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(story_append(storage, story, story->count + 1, 1, 1, 4000, &error),
                         ERROR_NONE);
    storage_close(storage);
    return memory;
}

#endif
