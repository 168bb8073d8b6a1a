/* fuzz_metadata.c - the metadata file. An input is slot A and then slot B, without the zeros that
 * keep them apart on the disk. */
#include "server/storage/metadata.h"

#include "common/crc32c.h"
#include "test/fuzz/fuzz.h"
#include "test/unit/memory_vfs.h"

enum { INPUT_MAX = METADATA_SLOTS * METADATA_SLOT_SIZE };

static void check_same(const struct metadata *a, const struct metadata *b)
{
    ASSERT(strcmp(a->cluster_id, b->cluster_id) == 0 && a->self == b->self);
    ASSERT(a->directory_id == b->directory_id && a->start_count == b->start_count);
    ASSERT(a->seed_crc == b->seed_crc && a->current_term == b->current_term);
    ASSERT(a->voted_for == b->voted_for && a->non_voter == b->non_voter);
    ASSERT(a->acked_through.term == b->acked_through.term &&
           a->acked_through.index == b->acked_through.index);
    ASSERT(a->joined_through == b->joined_through && a->blank == b->blank);
    ASSERT(a->incarnation == b->incarnation && a->readmitted == b->readmitted);
    ASSERT(memcmp(a->starts, b->starts, sizeof(a->starts)) == 0);
}

/* What a slot says is what it says when it is written again. */
static u64 check_slot(const u8 *slot)
{
    struct metadata metadata, again;
    u64 version, version_again;
    const char *why;
    u8 bytes[METADATA_SLOT_SIZE];
    if (metadata_slot_decode(slot, &metadata, &version, &why) != ERROR_NONE) {
        ASSERT(why != NULL);
        return 0;
    }
    ASSERT(metadata_cluster_id_valid(metadata.cluster_id) && metadata.self != SERVER_NONE);
    metadata_slot_encode(&metadata, version, bytes);
    ASSERT(metadata_slot_decode(bytes, &again, &version_again, &why) == ERROR_NONE);
    check_same(&metadata, &again);
    ASSERT(version > 0 && version == version_again);
    return version;
}

/* The newest slot counts, a change is there after a restart, and neither slot alone holds it. */
static void check_file(struct memory_vfs *memory, u64 version)
{
    struct metadata_file file;
    struct report report;
    struct error error;
    fuzz_report_init(&report);
    if (metadata_open(&file, &memory->vfs, &report, &error) != ERROR_NONE)
        return;
    ASSERT(file.version == version);
    struct metadata changed = file.current;
    changed.current_term++;
    changed.voted_for = changed.self;
    if (version == UINT64_MAX) { /* no number is left for a change */
        metadata_close(&file);
        return;
    }
    ASSERT(metadata_save(&file, &changed, &error) == ERROR_NONE);
    metadata_close(&file);
    for (int lost = -1; lost < METADATA_SLOTS; lost++) {
        struct memory_vfs *copy = memory_copy(memory);
        if (lost >= 0)
            memset(memory_content_of(copy, "metadata")->data + lost * METADATA_SLOT_PLACE, 0xff,
                   METADATA_SLOT_SIZE);
        ASSERT(metadata_open(&file, &copy->vfs, &report, &error) == ERROR_NONE);
        ASSERT(file.version == version + 1);
        check_same(&file.current, &changed);
        metadata_close(&file);
        memory_destroy(copy);
    }
}

static void run(const u8 *data, size_t size)
{
    u8 bytes[METADATA_FILE_SIZE] = {0};
    u64 newest = 0;
    for (int slot = 0; slot < METADATA_SLOTS; slot++) {
        u8 *place = bytes + slot * METADATA_SLOT_PLACE;
        size_t from = (size_t)slot * METADATA_SLOT_SIZE;
        if (size > from)
            memcpy(place, data + from, u64_min(size - from, METADATA_SLOT_SIZE));
        newest = u64_max(newest, check_slot(place));
    }
    struct memory_vfs *memory = memory_create();
    struct vfs_file *file;
    struct error error;
    struct iovec piece = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    ASSERT(vfs_open(&memory->vfs, "metadata", VFS_CREATE, &file, &error) == ERROR_NONE);
    ASSERT(vfs_write_at(file, &piece, 1, 0, &error) == ERROR_NONE);
    vfs_close(file);
    check_file(memory, newest);
    memory_destroy(memory);
}

static size_t repair(u8 *data, size_t size, size_t capacity, u32 choice)
{
    (void)capacity;
    for (size_t at = 0; at + METADATA_SLOT_SIZE <= size && (choice & 3) != 0;
         at += METADATA_SLOT_SIZE, choice >>= 2) {
        size_t crc_at = load_u32(data + at + 8) == 1 ? 124 : METADATA_SLOT_SIZE - 4;
        store_u32(data + at + crc_at, crc32c(0, data + at, crc_at));
    }
    return size;
}

const struct fuzz_target fuzz_metadata = {
    .name = "metadata", .input_max = INPUT_MAX, .run = run, .repair = repair};
