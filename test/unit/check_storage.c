/* check_storage.c - the door to the disk, in ordinary life: what is written is read back, whatever
 * the sizes, truncations and segments. Crashes and damage: check_storage_crash.c. */
#include "common/clock.h"
#include "test/unit/storage_world.h"

#include <unistd.h>

#include "server/storage/segment.h"

START_TEST(storage_init__makes_a_log_with_entry_1)
{
    struct world world = world_of(SMALL_SEGMENT);
    struct storage_recovery recovery;
    ck_assert_int_eq(story_open(&world.memory->vfs, SMALL_SEGMENT, &world.report, &found, &recovery,
                                &world.storage, &world.error),
                     ERROR_NONE);
    ck_assert_str_eq(recovery.metadata.cluster_id, "test");
    ck_assert_uint_eq(recovery.metadata.self, 2);
    ck_assert_uint_eq(recovery.metadata.directory_id, 0x1234567890abcdef);
    ck_assert_uint_eq(recovery.metadata.seed_crc, 77);
    ck_assert_uint_eq(recovery.metadata.start_count, 1);
    ck_assert_uint_eq(recovery.metadata.current_term, 1);
    ck_assert_uint_eq(recovery.metadata.voted_for, SERVER_NONE);
    ck_assert_uint_eq(recovery.last.term, 1);
    ck_assert_uint_eq(recovery.last.index, 1);
    ck_assert_uint_eq(recovery.torn_bytes, 0);
    ck_assert_uint_eq(found.count, 1);
    u32 count;
    struct span records;
    ck_assert_int_eq(storage_read(world.storage, 1, 1, &count, &records, &world.error), ERROR_NONE);
    struct entry entry;
    struct configuration configuration, expected = story_configuration();
    ck_assert_uint_eq(record_decode(records.data, records.size, &entry), records.size);
    ck_assert_int_eq(entry.type, ENTRY_CONFIGURATION);
    ck_assert_int_eq(
        configuration_decode(entry.payload, entry.payload_size, 0, &configuration, &world.error),
        ERROR_NONE);
    ck_assert_mem_eq(&configuration, &expected, sizeof(expected));
    span_release(&records);
    world_end(&world);
}
END_TEST

START_TEST(storage_init__refuses_what_is_in_use)
{
    struct world world = world_of(SMALL_SEGMENT);
    struct story other;
    ck_assert_int_eq(story_init(&world.memory->vfs, SMALL_SEGMENT, &other, &world.error),
                     ERROR_EXISTS);
    ck_assert_ptr_nonnull(strstr(world.error.text, "already initialised"));
    /* With its metadata lost it is no fresh directory either. */
    ck_assert_int_eq(vfs_remove(&world.memory->vfs, "metadata", &world.error), ERROR_NONE);
    ck_assert_int_eq(story_init(&world.memory->vfs, SMALL_SEGMENT, &other, &world.error),
                     ERROR_EXISTS);
    ck_assert_ptr_nonnull(strstr(world.error.text, "lost them"));
    world_end(&world);
    struct memory_vfs *memory = memory_create();
    struct vfs_file *file;
    ck_assert_int_eq(vfs_open(&memory->vfs, "photo", VFS_CREATE, &file, &world.error), ERROR_NONE);
    vfs_close(file);
    ck_assert_int_eq(story_init(&memory->vfs, SMALL_SEGMENT, &other, &world.error), ERROR_EXISTS);
    ck_assert_ptr_nonnull(strstr(world.error.text, "photo"));
    memory_destroy(memory);
}
END_TEST

START_TEST(storage_open__refuses_an_empty_directory_and_leaves_it_empty)
{
    struct memory_vfs *memory = memory_create();
    struct report report = story_report(NULL);
    struct storage_recovery recovery;
    struct storage *storage;
    struct error error;
    ck_assert_int_eq(
        story_open(&memory->vfs, SMALL_SEGMENT, &report, &found, &recovery, &storage, &error),
        ERROR_MISSING);
    ck_assert_ptr_null(storage);
    ck_assert_ptr_nonnull(strstr(error.text, "--init"));
    ck_assert_uint_eq(memory->changes, 0);
    memory_destroy(memory);
}
END_TEST

START_TEST(storage_open__refuses_a_directory_in_use)
{
    struct world world = world_of(SMALL_SEGMENT);
    world_open(&world);
    struct storage_recovery recovery;
    struct storage *second;
    ck_assert_int_eq(story_open(&world.memory->vfs, SMALL_SEGMENT, &world.report, &found, &recovery,
                                &second, &world.error),
                     ERROR_LOCKED);
    world_end(&world);
}
END_TEST

START_TEST(storage_open__counts_starts)
{
    struct world world = world_of(SMALL_SEGMENT);
    for (u64 start = 1; start <= 5; start++) {
        struct storage_recovery recovery;
        world.memory->locked = false;
        ck_assert_int_eq(story_open(&world.memory->vfs, SMALL_SEGMENT, &world.report, &found,
                                    &recovery, &world.storage, &world.error),
                         ERROR_NONE);
        ck_assert_uint_eq(recovery.metadata.start_count, start);
        ck_assert_uint_eq(recovery.metadata.current_term, start);
        ck_assert_uint_eq(recovery.metadata.voted_for, start > 1 ? 3 : 0);
        ck_assert_int_eq(storage_save_metadata(world.storage, start + 1, 3, &world.error),
                         ERROR_NONE);
        storage_close(world.storage);
    }
    world.storage = NULL;
    world_end(&world);
}
END_TEST

static void needs_recovery(void *context, const struct entry *entry, const u8 *record, u32 size)
{
    const struct storage_recovery *recovery = context;
    (void)record, (void)size;
    ck_assert_uint_le(entry->id.index, recovery->last.index);
    ck_assert_uint_eq(recovery->commit_hint, 1);
    ck_assert_uint_eq(recovery->metadata.start_count, 2);
}

START_TEST(storage_open__fills_in_recovery_before_the_first_entry)
{
    struct world world = world_of(SMALL_SEGMENT);
    world_open(&world);
    must_append(&world, 2, 3, 1, 100);
    storage_close(world.storage);
    world.memory->locked = false;
    struct storage_options options = {.segment_bytes = SMALL_SEGMENT};
    struct storage_recovery recovery;
    struct storage_loader loader = {.each = needs_recovery, .context = &recovery};
    ck_assert_int_eq(storage_open(&world.memory->vfs, &options, &world.report, &loader, &recovery,
                                  &world.storage, &world.error),
                     ERROR_NONE);
    ck_assert_uint_eq(recovery.last.index, 4);
    world_end(&world);
}
END_TEST

START_TEST(storage_open__remembers_the_ids_of_the_last_starts)
{
    struct world world = world_of(SMALL_SEGMENT);
    for (u64 start = 1; start <= METADATA_STARTS + 2; start++) {
        struct storage_options options = {.segment_bytes = SMALL_SEGMENT, .start_id = 100 + start};
        struct storage_recovery recovery;
        memset(&found, 0, sizeof(found));
        struct storage_loader loader = {.each = story_take, .context = &found};
        ck_assert_int_eq(storage_open(&world.memory->vfs, &options, &world.report, &loader,
                                      &recovery, &world.storage, &world.error),
                         ERROR_NONE);
        ck_assert_uint_eq(recovery.metadata.start_count, start);
        for (u64 i = 0; i < METADATA_STARTS; i++)
            ck_assert_uint_eq(recovery.metadata.starts[i], i < start ? 100 + start - i : 0);
        storage_close(world.storage);
        world.memory->locked = false;
    }
    world.storage = NULL;
    world_end(&world);
}
END_TEST

START_TEST(storage_append__is_one_write_and_one_sync)
{
    struct world world = world_of(1 * MIB);
    world_open(&world);
    must_append(&world, 2, 1, 1, 100);
    /* Wait until the job is done with its spare, so that only ours is counted. */
    struct storage_status status = {0};
    while (status.segments < 2)
        storage_status(world.storage, &status);
    u64 writes = world.memory->writes, syncs = world.memory->syncs;
    must_append(&world, 3, 100, 1, 100);
    ck_assert_uint_eq(world.memory->writes, writes + 1);
    ck_assert_uint_eq(world.memory->syncs, syncs + 1);
    ck_assert_int_eq(storage_append(world.storage, NULL, 0, 103, 0,
                                    (struct entry_id){.term = 1, .index = 102}, 1, &world.error),
                     ERROR_NONE);
    ck_assert_uint_eq(world.memory->writes, writes + 1);
    world_open(&world);
    world_end(&world);
}
END_TEST

START_TEST(storage_append__of_many_sizes_is_read_back)
{
    struct world world = world_of(64 * KIB);
    world_open(&world);
    for (u32 i = 0; i < 200; i++) {
        must_append(&world, story.count + 1, 1 + i % 7, 1 + i / 50, 8 + (i * 37) % 3000);
        if (i % 20 == 0)
            world_open(&world);
    }
    world_open(&world);
    u64 index = 1;
    while (index <= story.count)
        index += must_read(world.storage, index, 10000);
    ck_assert_uint_eq(index, story.count + 1);
    world_end(&world);
}
END_TEST

START_TEST(storage_append__takes_records_in_many_spans)
{
    struct world world = world_of(SMALL_SEGMENT);
    world_open(&world);
    /* 40 spans of one record each, with empty ones in between, over several segments. */
    struct span spans[80] = {{0}};
    u64 first = story.count + 1;
    for (u32 i = 0; i < 40; i++)
        spans[2 * i + 1] = story_write(&story, first + i, 1, 2, 1500);
    ck_assert_int_eq(storage_append(world.storage, spans, 80, first, 40,
                                    (struct entry_id){.term = 2, .index = story.count}, 1,
                                    &world.error),
                     ERROR_NONE);
    for (u32 i = 0; i < 80; i++)
        span_release(&spans[i]);
    ck_assert_uint_eq(must_read(world.storage, first, 1 * MIB), 40);
    world_open(&world);
    world_end(&world);
}
END_TEST

START_TEST(storage_append__of_large_records)
{
    struct world world = world_of(4 * MIB);
    world_open(&world);
    must_append(&world, 2, 1, 1, 3 * 1024 * 1024);
    must_append(&world, 3, 3, 1, 2500 * 1000); /* a segment each */
    must_append(&world, 4, 1, 2, 4 * 1024 * 1024 - 8192);
    must_append(&world, 5, 1, 2, 10);
    for (u64 first = 1; first <= 5; first++)
        must_read(world.storage, first, 100);
    world_open(&world);
    world_end(&world);
}
END_TEST

/* The real file system, and more pieces than one system call takes. */
START_TEST(storage_append__on_a_real_disk)
{
    char root[] = "/tmp/check_storage.XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(root));
    static struct story taken;
    static struct span spans[3000];
    struct report report = story_report(NULL);
    struct storage_recovery recovery;
    struct storage *storage;
    struct error error;
    struct vfs *vfs;
    ck_assert_int_eq(vfs_posix_create(root, &vfs, &error), ERROR_NONE);
    ck_assert_int_eq(story_init(vfs, 256 * KIB, &story, &error), ERROR_NONE);
    ck_assert_int_eq(story_open(vfs, 256 * KIB, &report, &taken, &recovery, &storage, &error),
                     ERROR_NONE);
    for (u32 i = 0; i < ARRAY_LENGTH(spans); i++)
        spans[i] = story_write(&story, story.count + 1, 1, 1, 60 + i % 90);
    ck_assert_int_eq(storage_append(storage, spans, ARRAY_LENGTH(spans), 2, ARRAY_LENGTH(spans),
                                    (struct entry_id){.term = 1, .index = story.count}, 1, &error),
                     ERROR_NONE);
    for (u32 i = 0; i < ARRAY_LENGTH(spans); i++)
        span_release(&spans[i]);
    ck_assert_uint_gt(must_read(storage, 1500, 100000), 500);
    storage_close(storage);
    vfs_posix_destroy(vfs);
    ck_assert_int_eq(vfs_posix_create(root, &vfs, &error), ERROR_NONE);
    ck_assert_int_eq(story_open(vfs, 256 * KIB, &report, &taken, &recovery, &storage, &error),
                     ERROR_NONE);
    ck_assert(story_same(&taken, &story));
    storage_close(storage);
    for (u64 id = 1; id < 10; id++) {
        char path[SEGMENT_PATH_SIZE];
        segment_path(id, path);
        if (vfs_remove(vfs, path, &error) != ERROR_NONE)
            break;
    }
    const char *const names[] = {"log/next.tmp", "log", "metadata", "peers", "LOCK"};
    for (size_t i = 0; i < ARRAY_LENGTH(names); i++)
        (void)!vfs_remove(vfs, names[i], &error);
    vfs_posix_destroy(vfs);
    ck_assert_int_eq(rmdir(root), 0);
}
END_TEST

START_TEST(storage_append__that_begins_earlier_truncates)
{
    struct world world = world_of(64 * KIB);
    world_open(&world);
    must_append(&world, 2, 20, 1, 50);
    must_append(&world, 10, 3, 2, 50); /* 22 entries become 12 */
    world_open(&world);
    must_append(&world, 13, 10, 3, 5000);
    must_append(&world, 11, 1, 4, 60);
    must_append(&world, 11, 1, 5, 60);
    must_append(&world, 2, 1, 6, 60);
    world_open(&world);
    ck_assert_uint_eq(must_read(world.storage, 1, 1 * MIB), 2);
    must_append(&world, 3, 200, 6, 60);
    for (u64 first = 1; first <= story.count; first++)
        ck_assert_uint_eq(must_read(world.storage, first, 1 * MIB), story.count - first + 1);
    world_open(&world);
    world_end(&world);
}
END_TEST

START_TEST(storage_append__truncations_at_random)
{
    struct world world = world_of(SMALL_SEGMENT);
    world_open(&world);
    u64 seed = 12345;
    for (u32 round = 0; round < 400; round++) {
        seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
        u64 random = seed >> 33;
        u64 first = random % 4 == 0 ? 2 + random / 4 % story.count : story.count + 1;
        must_append(&world, first, 1 + (u32)(random % 5), 1 + round / 10, 8 + (u32)(random % 900));
        u64 from = 1 + random % story.count;
        must_read(world.storage, from, random % 5000);
        if (round % 40 == 0)
            world_open(&world);
    }
    world_open(&world);
    world_end(&world);
}
END_TEST

START_TEST(storage_append__exactly_fits_and_one_byte_more)
{
    for (u32 more = 0; more <= 1; more++) {
        struct world world = world_of(SMALL_SEGMENT);
        world_open(&world);
        u64 room = SMALL_SEGMENT - SEGMENT_HEADER_SIZE;
        struct storage_status status;
        u32 count;
        struct span records;
        ck_assert_int_eq(storage_read(world.storage, 1, 1, &count, &records, &world.error),
                         ERROR_NONE);
        room -= batch_total_size(records.size);
        span_release(&records);
        u32 payload = (u32)batch_capacity(room) - RECORD_HEADER_SIZE + more;
        must_append(&world, 2, 1, 1, payload);
        must_append(&world, 3, 1, 1, 8);
        storage_status(world.storage, &status);
        ck_assert_uint_ge(status.segments, 2);
        u8 *first_segment = memory_content_of(world.memory, "log/00000000000000000001.seg")->data;
        /* The last byte of the first segment is a trailer's only when the batch went there. */
        ck_assert_int_eq(first_segment[SMALL_SEGMENT - 1] != 0, more == 0);
        world_open(&world);
        world_end(&world);
    }
}
END_TEST

START_TEST(storage_append__of_a_record_too_large_for_any_segment)
{
    struct world world = world_of(SMALL_SEGMENT);
    world_open(&world);
    struct story before = story;
    ck_assert_int_eq(story_append(world.storage, &story, 2, 1, 1, 20000, &world.error),
                     ERROR_NO_SPACE);
    story = before;
    must_append(&world, 2, 1, 1, 100);
    world_open(&world);
    world_end(&world);
}
END_TEST

START_TEST(storage_append__on_a_full_disk_waits_for_room)
{
    struct world world = world_of(SMALL_SEGMENT);
    world_open(&world);
    world.memory->space = 0;
    static struct story before;
    enum error_code code = ERROR_NONE;
    u32 appended = 0;
    for (; code == ERROR_NONE; appended++) {
        u64 room = storage_room(world.storage);
        before = story;
        code = story_append(world.storage, &story, story.count + 1, 1, 1, 1000, &world.error);
        if (room >= RECORD_HEADER_SIZE + 1000)
            ck_assert_int_eq(code, ERROR_NONE);
    }
    ck_assert_int_eq(code, ERROR_NO_SPACE);
    story = before;
    ck_assert_uint_lt(storage_room(world.storage), RECORD_HEADER_SIZE + 1000);
    must_append(&world, story.count + 1, 1, 1, 8); /* what fits still goes in */
    ck_assert_uint_ge(must_read(world.storage, 2, 5000), 1);
    world.memory->space = 10 * MIB;
    while (storage_room(world.storage) < 5000) /* the job comes back by itself */
        ;
    must_append(&world, story.count + 1, 3, 1, 1000);
    world_open(&world);
    world_end(&world);
}
END_TEST

START_TEST(storage_append__of_several_segments_is_all_or_nothing_on_a_full_disk)
{
    struct world world = world_of(SMALL_SEGMENT);
    world_open(&world);
    must_append(&world, 2, 1, 1, 100);
    struct storage_status status = {0};
    while (status.segments < 2)
        storage_status(world.storage, &status);
    world.memory->space = SMALL_SEGMENT;
    static struct story before;
    before = story;
    ck_assert_int_eq(story_append(world.storage, &story, 3, 60, 1, 1000, &world.error),
                     ERROR_NO_SPACE);
    story = before;
    world_open(&world);
    world.memory->space = 100 * SMALL_SEGMENT;
    while (storage_room(world.storage) == 0)
        ;
    enum error_code code = ERROR_NO_SPACE;
    while (code == ERROR_NO_SPACE) { /* until the job has tried again */
        story = before;
        code = story_append(world.storage, &story, 3, 60, 1, 1000, &world.error);
    }
    ck_assert_int_eq(code, ERROR_NONE);
    world_open(&world);
    world_end(&world);
}
END_TEST

START_TEST(storage_append__after_a_failure_everything_fails)
{
    for (u64 nth = 1; nth <= 2; nth++) { /* the write, the sync */
        struct world world = world_of(64 * KIB);
        world_open(&world);
        struct storage_status status = {0};
        while (status.segments < 2)
            storage_status(world.storage, &status);
        memory_fault_after(world.memory, nth, MEMORY_FAIL_ONCE, ERROR_IO);
        ck_assert_int_eq(story_append(world.storage, &story, 2, 1, 1, 100, &world.error), ERROR_IO);
        u64 changes = world.memory->changes;
        ck_assert_int_eq(story_append(world.storage, &story, 3, 1, 1, 100, &world.error), ERROR_IO);
        ck_assert_ptr_nonnull(strstr(world.error.text, "must stop"));
        ck_assert_int_eq(storage_save_metadata(world.storage, 9, 1, &world.error), ERROR_IO);
        ck_assert_uint_eq(storage_room(world.storage), 0);
        ck_assert_uint_eq(world.memory->changes, changes);
        world_end(&world);
    }
}
END_TEST

START_TEST(storage_status__counts)
{
    struct world world = world_of(SMALL_SEGMENT);
    world_open(&world);
    struct storage_status before, after;
    storage_status(world.storage, &before);
    must_append(&world, 2, 20, 1, 1000);
    storage_status(world.storage, &after);
    ck_assert_uint_ge(after.segments, 2);
    ck_assert_uint_eq(after.disk_bytes, after.segments * SMALL_SEGMENT);
    world_end(&world);
}
END_TEST

START_TEST(storage_timing__counts_every_wait)
{
    struct world world = world_of(SMALL_SEGMENT);
    world_open(&world);
    const struct storage_timing *timing = storage_timing(world.storage);
    storage_reset_timing(world.storage);
    u64 waited_ns = timing->waited_ns;
    must_append(&world, 2, 1, 1, 1000);
    must_append(&world, 3, 1, 1, 1000);
    ck_assert_uint_eq(timing->syncs.count, 2);
    ck_assert_uint_eq(timing->metadata.count, 0);
    ck_assert_int_eq(storage_save_metadata(world.storage, 9, 1, &world.error), ERROR_NONE);
    ck_assert_uint_eq(timing->syncs.count, 2);
    ck_assert_uint_eq(timing->metadata.count, 1);
    ck_assert_uint_ge(timing->waited_ns - waited_ns,
                      timing->syncs.total_ns + timing->metadata.total_ns);
    ck_assert_uint_eq(recent_max_get(&timing->recent, clock_monotonic_ns()),
                      u64_max(timing->syncs.max_ns, timing->metadata.max_ns));

    waited_ns = timing->waited_ns;
    storage_reset_timing(world.storage);
    ck_assert_uint_eq(timing->syncs.count, 0);
    ck_assert_uint_eq(timing->metadata.count, 0);
    ck_assert_uint_eq(timing->waited_ns, waited_ns); /* rounds that go on have noted it */
    world_end(&world);
}
END_TEST

UNIT_MAIN("storage", storage_init__makes_a_log_with_entry_1, storage_init__refuses_what_is_in_use,
          storage_open__refuses_an_empty_directory_and_leaves_it_empty,
          storage_open__refuses_a_directory_in_use, storage_open__counts_starts,
          storage_open__remembers_the_ids_of_the_last_starts,
          storage_open__fills_in_recovery_before_the_first_entry,
          storage_append__is_one_write_and_one_sync, storage_append__of_many_sizes_is_read_back,
          storage_append__takes_records_in_many_spans, storage_append__of_large_records,
          storage_append__on_a_real_disk, storage_append__that_begins_earlier_truncates,
          storage_append__truncations_at_random, storage_append__exactly_fits_and_one_byte_more,
          storage_append__of_a_record_too_large_for_any_segment,
          storage_append__on_a_full_disk_waits_for_room,
          storage_append__of_several_segments_is_all_or_nothing_on_a_full_disk,
          storage_append__after_a_failure_everything_fails, storage_status__counts,
          storage_timing__counts_every_wait)
