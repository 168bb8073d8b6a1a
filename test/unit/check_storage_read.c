/* check_storage_read.c - reading the log back, alone and beside the writer. */
#include "common/sync.h"
#include "server/storage/segment.h"
#include "test/unit/storage_world.h"

START_TEST(storage_read__refuses_what_is_not_there)
{
    struct world world = world_of(64 * KIB);
    world_open(&world);
    must_append(&world, 2, 3, 1, 100);
    u32 count = 99;
    struct span records;
    ck_assert_int_eq(storage_read(world.storage, 5, 100, &count, &records, &world.error),
                     ERROR_MISSING);
    ck_assert_uint_eq(count, 0);
    ck_assert_ptr_null(records.block);
    ck_assert_int_eq(storage_read(world.storage, 0, 100, &count, &records, &world.error),
                     ERROR_MISSING);
    world_end(&world);
}
END_TEST

START_TEST(storage_read__finds_damage)
{
    struct world world = world_of(64 * KIB);
    world_open(&world);
    must_append(&world, 2, 3, 1, 100);
    struct memory_content *content =
        memory_content_of(world.memory, "log/00000000000000000001.seg");
    u64 first_batch = batch_total_size(load_u32(content->data + SEGMENT_HEADER_SIZE + 48));
    u64 record_3 = SEGMENT_HEADER_SIZE + first_batch + BATCH_HEADER_SIZE + 156;
    content->data[record_3 + 100] ^= 1;
    ck_assert_uint_eq(must_read(world.storage, 2, 100), 1);
    u32 count;
    struct span records;
    ck_assert_int_eq(storage_read(world.storage, 3, 100, &count, &records, &world.error),
                     ERROR_CORRUPT);
    char offset[32];
    snprintf(offset, sizeof(offset), "offset %d:", (int)record_3);
    ck_assert_ptr_nonnull(strstr(world.error.text, offset));
    ck_assert_ptr_nonnull(strstr(world.error.text, "log/00000000000000000001.seg"));
    world_end(&world);
}
END_TEST

/* ---- readers beside the writer ---- */

struct reader {
    struct storage *storage;
    _Atomic bool stop;
    _Atomic u64 safe; /* entries 1 .. safe are never truncated */
    u64 reads;
};

static void read_on(void *argument)
{
    struct reader *reader = argument;
    u64 first = 1;
    while (!atomic_load(&reader->stop)) {
        u32 count;
        struct span records;
        struct error error;
        u64 safe = atomic_load(&reader->safe);
        enum error_code code = storage_read(reader->storage, first, 3000, &count, &records, &error);
        if (first <= safe)
            ck_assert_msg(code == ERROR_NONE, "%s", error.text);
        const char *why = NULL;
        if (code == ERROR_NONE)
            ck_assert_msg(records_check(records.data, records.size, first, count, &why), "%s", why);
        first = code == ERROR_NONE ? first + count : 1;
        span_release(&records);
        reader->reads++;
    }
}

START_TEST(storage_read__beside_appends_and_truncations)
{
    struct world world = world_of(64 * KIB);
    world_open(&world);
    struct reader readers[2] = {{0}, {0}};
    struct thread threads[2] = {{.started = false}, {.started = false}};
    for (int i = 0; i < 2; i++) {
        readers[i].storage = world.storage;
        ck_assert_int_eq(thread_start(&threads[i], "reader", read_on, &readers[i], &world.error),
                         ERROR_NONE);
    }
    for (u32 round = 0; round < 300; round++) {
        u64 last = story.count;
        u64 safe = last > 10 ? last - 10 : 1;
        for (int i = 0; i < 2; i++)
            atomic_store(&readers[i].safe, u64_max(safe, 1));
        u64 first = round % 3 == 0 ? safe + 1 : last + 1;
        must_append(&world, first, 6, 1 + round, 200);
        if (round % 50 == 0)
            ck_assert_int_eq(storage_save_metadata(world.storage, 1 + round, 1, &world.error),
                             ERROR_NONE);
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&readers[i].stop, true);
        thread_join(&threads[i]);
        ck_assert_uint_gt(readers[i].reads, 0);
    }
    world_open(&world);
    world_end(&world);
}
END_TEST

UNIT_MAIN("storage_read", storage_read__refuses_what_is_not_there, storage_read__finds_damage,
          storage_read__beside_appends_and_truncations)
