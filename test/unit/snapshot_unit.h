/* snapshot_unit.h - what the tests of snapshot files share: a head, a state, who takes it in, and a
 * second implementation of the format, written from the head of snapshot.c alone. */
#ifndef MAILRAFT_TEST_SNAPSHOT_UNIT_H
#define MAILRAFT_TEST_SNAPSHOT_UNIT_H

#include "common/crc32c.h"
#include "server/storage/snapshot.h"
#include "test/unit/storage_story.h"

static const struct entry_id sample_id = {.term = 3, .index = 40};

static inline struct snapshot_head sample_head(struct entry_id last)
{
    struct snapshot_head head = {.last = last,
                                 .time_ns = 1234567890123,
                                 .cluster_id = "test",
                                 .configuration = story_configuration()};
    head.configuration.index = 1;
    return head;
}

/* Byte number `at` of the state that the tests write. */
static inline u8 sample_byte(u64 at)
{
    return (u8)(at * 7 + at / 251 + at / 65521);
}

/* Bytes from `at` on. They are made once: sanitizers make each of millions dear. */
static inline const u8 *sample_bytes(u64 at, u64 count)
{
    static u8 *made;
    static u64 made_count;
    if (at + count > made_count) {
        u64 wanted = u64_max(at + count, 2 * made_count);
        u8 *grown = realloc(made, wanted + 1);
        ck_assert_ptr_nonnull(grown);
        made = grown;
        for (u64 i = made_count; i < wanted; i++)
            made[i] = sample_byte(i);
        made_count = wanted;
    }
    return made + at;
}

/* Takes a snapshot in and compares it with the sample. */
struct sample_taker {
    struct snapshot_head head;
    int heads;
    u64 size;    /* bytes of state so far */
    u64 largest; /* piece */
    bool differs;
    bool refuse_head, refuse_piece;
};

static inline bool sample_take_head(void *context, const struct snapshot_head *head)
{
    struct sample_taker *taken = context;
    taken->heads++;
    taken->head = *head;
    return !taken->refuse_head;
}

static inline bool sample_take_piece(void *context, const u8 *data, size_t size)
{
    struct sample_taker *taken = context;
    taken->differs |= size > 0 && memcmp(data, sample_bytes(taken->size, size), size) != 0;
    taken->size += size;
    taken->largest = u64_max(taken->largest, size);
    return !taken->refuse_piece;
}

static inline enum error_code sample_load(struct vfs *vfs, struct entry_id last,
                                          struct sample_taker *taken, struct snapshot_info *info,
                                          struct error *error)
{
    *taken = (struct sample_taker){0};
    struct snapshot_taker taker = {sample_take_head, sample_take_piece, taken};
    *error = (struct error){0};
    return snapshot_load(vfs, last, &taker, info, error);
}

/* Writes a sample of `size` bytes of state, given in pieces of `piece` bytes. */
static inline enum error_code sample_write(struct vfs *vfs, struct entry_id last, u64 size,
                                           u64 piece, struct snapshot_info *info,
                                           struct error *error)
{
    struct snapshot_head head = sample_head(last);
    struct snapshot_writer *writer;
    enum error_code code = snapshot_writer_create(vfs, &head, &writer, error);
    if (code != ERROR_NONE)
        return code;
    for (u64 at = 0; at < size && code == ERROR_NONE; at += piece) {
        u64 count = u64_min(piece, size - at);
        code = snapshot_writer_add(writer, sample_bytes(at, count), count, error);
    }
    if (code == ERROR_NONE)
        return snapshot_writer_finish(writer, info, error);
    snapshot_writer_abandon(writer);
    return code;
}

/* ---- the second implementation ---- */

static inline void sample_put_u32(struct buffer *to, u32 value)
{
    u8 bytes[4];
    store_u32(bytes, value);
    buffer_append(to, bytes, sizeof(bytes));
}

static inline void sample_put_u64(struct buffer *to, u64 value)
{
    u8 bytes[8];
    store_u64(bytes, value);
    buffer_append(to, bytes, sizeof(bytes));
}

/* The file that holds `size` bytes of the sample in blocks of `block` bytes. */
static inline void sample_encode(const struct snapshot_head *head, u64 size, u64 block,
                                 struct buffer *file)
{
    struct buffer configuration;
    buffer_init(&configuration);
    configuration_encode(&head->configuration, &configuration);
    buffer_append(file, "mrSNAPSH", 8);
    sample_put_u32(file, 0);
    sample_put_u32(file, 1);
    sample_put_u64(file, head->last.index);
    sample_put_u64(file, head->last.term);
    sample_put_u64(file, head->time_ns);
    sample_put_u64(file, head->configuration.index);
    buffer_append(file, head->cluster_id, 64);
    sample_put_u32(file, (u32)configuration.size);
    sample_put_u32(file, crc32c(0, configuration.data, configuration.size));
    sample_put_u64(file, 0);
    ck_assert_uint_eq(file->size, 128);
    store_u32(file->data + 8, crc32c(0, file->data + 12, 116));
    buffer_append(file, configuration.data, configuration.size);
    buffer_deinit(&configuration);
    for (u64 at = 0; at < size; at += block) {
        u64 count = u64_min(block, size - at);
        sample_put_u32(file, (u32)count);
        sample_put_u32(file, 0);
        u8 *data = buffer_reserve(file, count);
        for (u64 i = 0; i < count; i++)
            data[i] = sample_byte(at + i);
        store_u32(data - 4, crc32c(0, data, count));
        file->size += count;
    }
    sample_put_u32(file, 0);
    buffer_append(file, "mrSE", 4);
    sample_put_u64(file, size);
    sample_put_u64(file, file->size + 16);
    sample_put_u32(file, 0);
    sample_put_u32(file, crc32c(0, file->data, file->size));
}

/* Makes the file of these bytes. */
static inline void sample_file(struct memory_vfs *memory, const char *path, const void *data,
                               u64 size)
{
    struct error error;
    struct vfs_file *file = NULL;
    enum error_code code = vfs_make_directory(&memory->vfs, "snapshots", &error);
    ck_assert(code == ERROR_NONE || code == ERROR_EXISTS);
    ck_assert_int_eq(vfs_open(&memory->vfs, path, VFS_CREATE, &file, &error), ERROR_NONE);
    vfs_close(file);
    struct memory_content *content = memory_content_of(memory, path);
    content_resize(content, size);
    if (size > 0)
        memcpy(content->data, data, size);
}

#endif
