/* check_sim_disk.c - what the simulated disk keeps and loses. */
#include "test/unit/unit.h"

#include "test/sim/disk.h"

static struct world world;
static struct disk disk;
static struct error error;
static u32 crashes;

static void crash(void *context)
{
    (void)context;
    crashes++;
}

static void begin(u64 seed)
{
    struct disk_settings settings = {.sync_ns_min = 1000, .sync_ns_max = 2000};
    world_init(&world, seed);
    disk_init(&disk, &world, &settings, seed);
    disk.crash = crash;
    crashes = 0;
}

static void end(void)
{
    disk_deinit(&disk);
    world_deinit(&world);
}

static struct vfs_file *open_file(const char *path, enum vfs_open_mode mode)
{
    struct vfs_file *file = NULL;
    ck_assert_int_eq(vfs_open(&disk.vfs, path, mode, &file, &error), ERROR_NONE);
    return file;
}

static void put(struct vfs_file *file, u64 offset, char fill, size_t size)
{
    char bytes[8192];
    ck_assert_uint_le(size, sizeof(bytes));
    memset(bytes, fill, size);
    struct iovec piece = {bytes, size};
    ck_assert_int_eq(vfs_write_at(file, &piece, 1, offset, &error), ERROR_NONE);
}

static void must_sync(struct vfs_file *file)
{
    ck_assert_int_eq(vfs_sync(file, &error), ERROR_NONE);
}

static void must_sync_directory(const char *path)
{
    ck_assert_int_eq(vfs_sync_directory(&disk.vfs, path, &error), ERROR_NONE);
}

static size_t peek(const char *path, char *to, size_t size)
{
    return disk_peek(&disk, path, 0, to, size);
}

/* A file "f" of 4,096 'o', on the platter. */
static struct vfs_file *old_file(void)
{
    struct vfs_file *file = open_file("f", VFS_CREATE);
    put(file, 0, 'o', 4096);
    must_sync(file);
    must_sync_directory(".");
    return file;
}

START_TEST(disk__reads_what_was_written)
{
    begin(1);
    struct vfs_file *file = open_file("f", VFS_CREATE);
    put(file, 5000, 'x', 3000);
    char bytes[9000];
    size_t got = 0;
    ck_assert_int_eq(vfs_read_at(file, bytes, sizeof(bytes), 0, &got, &error), ERROR_NONE);
    ck_assert_uint_eq(got, 8000);
    ck_assert_int_eq(bytes[4999], 0);
    ck_assert_int_eq(bytes[5000], 'x');
    ck_assert_int_eq(bytes[7999], 'x');
    u64 size = 0;
    ck_assert_int_eq(vfs_size(file, &size, &error), ERROR_NONE);
    ck_assert_uint_eq(size, 8000);
    ck_assert_int_eq(vfs_truncate(file, 6000, &error), ERROR_NONE);
    ck_assert_int_eq(vfs_truncate(file, 7000, &error), ERROR_NONE);
    ck_assert_int_eq(vfs_read_at(file, bytes, sizeof(bytes), 0, &got, &error), ERROR_NONE);
    ck_assert_uint_eq(got, 7000);
    ck_assert_int_eq(bytes[5999], 'x');
    ck_assert_int_eq(bytes[6000], 0);
    vfs_close(file);
    end();
}
END_TEST

START_TEST(disk_power_cut__what_was_synced_stays)
{
    for (u64 seed = 1; seed <= 50; seed++) {
        begin(seed);
        (void)old_file();
        disk_power_cut(&disk);
        char bytes[4096];
        ck_assert_uint_eq(peek("f", bytes, sizeof(bytes)), 4096);
        for (size_t i = 0; i < sizeof(bytes); i++)
            ck_assert_int_eq(bytes[i], 'o');
        end();
    }
}
END_TEST

/* Over many seeds, an overwritten range survives wholly, not at all, and torn, at sectors. */
START_TEST(disk_power_cut__unsynced_writes_are_torn_at_sectors)
{
    u32 none = 0, all = 0, torn = 0;
    for (u64 seed = 1; seed <= 200; seed++) {
        begin(seed);
        struct vfs_file *file = old_file();
        put(file, 0, 'n', 4096);
        disk_power_cut(&disk);
        char bytes[4096];
        ck_assert_uint_eq(peek("f", bytes, sizeof(bytes)), 4096);
        u32 kept = 0;
        for (size_t sector = 0; sector < 8; sector++) {
            const char *at = bytes + sector * DISK_SECTOR_SIZE;
            ck_assert(at[0] == 'o' || at[0] == 'n');
            for (size_t i = 1; i < DISK_SECTOR_SIZE; i++)
                ck_assert_int_eq(at[i], at[0]);
            kept += at[0] == 'n';
        }
        none += kept == 0;
        all += kept == 8;
        torn += kept > 0 && kept < 8;
        end();
    }
    ck_assert_uint_gt(none, 20);
    ck_assert_uint_gt(all, 20);
    ck_assert_uint_gt(torn, 20);
}
END_TEST

START_TEST(disk_power_cut__sizes_and_bytes_part)
{
    u32 shorter = 0, zeros = 0, whole = 0;
    for (u64 seed = 1; seed <= 200; seed++) {
        begin(seed);
        struct vfs_file *file = old_file();
        put(file, 4096, 'n', 1024);
        disk_power_cut(&disk);
        char bytes[8192];
        size_t size = peek("f", bytes, sizeof(bytes));
        ck_assert(size == 4096 || size == 5120);
        shorter += size == 4096;
        zeros += size == 5120 && bytes[5119] == 0;
        whole += size == 5120 && bytes[4096] == 'n' && bytes[5119] == 'n';
        end();
    }
    ck_assert_uint_gt(shorter, 20);
    ck_assert_uint_gt(zeros, 20);
    ck_assert_uint_gt(whole, 20);
}
END_TEST

START_TEST(disk_process_ended__a_killed_process_loses_nothing)
{
    begin(1);
    struct vfs_file *file = old_file();
    put(file, 0, 'n', 4096);
    disk_process_ended(&disk);
    char bytes[4096];
    ck_assert_uint_eq(peek("f", bytes, sizeof(bytes)), 4096);
    ck_assert_int_eq(bytes[0], 'n');
    ck_assert(disk_is_unsynced(&disk, "f")); /* but a power cut still may take it */
    end();
}
END_TEST

START_TEST(disk_power_cut__names_are_durable_once_the_directory_is_synced)
{
    u32 lost = 0, kept = 0;
    for (u64 seed = 1; seed <= 100; seed++) {
        begin(seed);
        struct vfs_file *file = open_file("f", VFS_CREATE);
        put(file, 0, 'n', 512);
        must_sync(file);
        disk_power_cut(&disk);
        struct vfs_file *again = NULL;
        enum error_code code = vfs_open(&disk.vfs, "f", VFS_READ, &again, &error);
        lost += code == ERROR_MISSING;
        kept += code == ERROR_NONE;
        end();
    }
    ck_assert_uint_gt(lost, 10);
    ck_assert_uint_gt(kept, 10);
    for (u64 seed = 1; seed <= 50; seed++) {
        begin(seed);
        (void)old_file();
        ck_assert_int_eq(vfs_rename(&disk.vfs, "f", "g", &error), ERROR_NONE);
        must_sync_directory(".");
        disk_power_cut(&disk);
        struct vfs_file *file = NULL;
        ck_assert_int_eq(vfs_open(&disk.vfs, "f", VFS_READ, &file, &error), ERROR_MISSING);
        vfs_close(open_file("g", VFS_READ));
        end();
    }
}
END_TEST

START_TEST(disk_power_cut__a_rename_is_atomic)
{
    for (u64 seed = 1; seed <= 100; seed++) {
        begin(seed);
        (void)old_file();
        struct vfs_file *aside = open_file("aside", VFS_CREATE);
        put(aside, 0, 'n', 4096);
        must_sync(aside);
        ck_assert_int_eq(vfs_rename(&disk.vfs, "aside", "f", &error), ERROR_NONE);
        disk_power_cut(&disk);
        char bytes[4096];
        ck_assert_uint_eq(peek("f", bytes, sizeof(bytes)), 4096); /* the old or the new one */
        ck_assert(bytes[0] == 'o' || bytes[0] == 'n');
        ck_assert_int_eq(bytes[4095], bytes[0]);
        end();
    }
}
END_TEST

START_TEST(disk_power_cut__what_lies_in_a_lost_directory_is_lost)
{
    u32 lost = 0;
    for (u64 seed = 1; seed <= 50; seed++) {
        begin(seed);
        ck_assert_int_eq(vfs_make_directory(&disk.vfs, "log", &error), ERROR_NONE);
        vfs_close(open_file("log/1.seg", VFS_CREATE));
        must_sync_directory("log"); /* but not the directory above */
        disk_power_cut(&disk);
        if (vfs_sync_directory(&disk.vfs, "log", &error) == ERROR_NONE) {
            end();
            continue;
        }
        lost++;
        struct vfs_file *file = NULL;
        ck_assert_int_eq(vfs_open(&disk.vfs, "log/1.seg", VFS_READ, &file, &error), ERROR_MISSING);
        end();
    }
    ck_assert_uint_gt(lost, 5);
}
END_TEST

/* After a failed sync the changes look clean, and a second sync does not write them. */
START_TEST(disk__a_failed_sync_is_not_made_good_by_another)
{
    u32 lost = 0;
    for (u64 seed = 1; seed <= 100; seed++) {
        begin(seed);
        struct vfs_file *file = old_file();
        put(file, 0, 'n', 4096);
        disk.sync_fails = true;
        ck_assert_int_eq(vfs_sync(file, &error), ERROR_IO);
        disk_heal(&disk);
        must_sync(file);
        char bytes[4096];
        ck_assert_uint_eq(peek("f", bytes, sizeof(bytes)), 4096);
        ck_assert_int_eq(bytes[0], 'n'); /* the cache shows it all the same */
        disk_power_cut(&disk);
        ck_assert_uint_eq(peek("f", bytes, sizeof(bytes)), 4096);
        lost += bytes[0] == 'o';
        end();
    }
    ck_assert_uint_gt(lost, 10);
}
END_TEST

START_TEST(disk__a_full_disk_takes_what_needs_no_new_space)
{
    begin(1);
    struct vfs_file *file = old_file();
    disk.full = true;
    put(file, 0, 'n', 4096);
    char byte = 'x';
    struct iovec piece = {&byte, 1};
    ck_assert_int_eq(vfs_write_at(file, &piece, 1, 4096, &error), ERROR_NO_SPACE);
    struct vfs_file *other = NULL;
    ck_assert_int_eq(vfs_open(&disk.vfs, "g", VFS_CREATE, &other, &error), ERROR_NO_SPACE);
    disk_heal(&disk);
    put(file, 4096, 'x', 1);
    vfs_close(file);
    end();
}
END_TEST

START_TEST(disk__crashes_at_the_nth_write_or_sync)
{
    begin(1);
    struct vfs_file *file = old_file();
    disk.crash_at = 3;
    put(file, 0, 'n', 100);
    must_sync(file);
    ck_assert_uint_eq(crashes, 0);
    put(file, 0, 'n', 100);
    ck_assert_uint_eq(crashes, 1);
    put(file, 0, 'n', 100);
    ck_assert_uint_eq(crashes, 1);
    vfs_close(file);
    end();
}
END_TEST

START_TEST(disk__zeros_cost_no_memory)
{
    begin(1);
    struct vfs_file *file = open_file("f", VFS_CREATE);
    for (u64 offset = 0; offset < 64 * MIB; offset += 8192)
        put(file, offset, 0, 8192);
    must_sync(file);
    const struct inode *inode = disk.inodes;
    for (u32 i = 0; i < inode->seen.page_count; i++)
        ck_assert_ptr_null(inode->seen.pages[i]);
    put(file, 4096, 'x', 1);
    ck_assert_ptr_nonnull(inode->seen.pages[1]);
    ck_assert_ptr_null(inode->seen.pages[0]);
    vfs_close(file);
    end();
}
END_TEST

START_TEST(disk__the_lock_ends_with_the_process)
{
    begin(1);
    vfs_close(old_file());
    ck_assert_int_eq(vfs_lock(&disk.vfs, "f", &error), ERROR_NONE);
    ck_assert_int_eq(vfs_lock(&disk.vfs, "f", &error), ERROR_LOCKED);
    disk_process_ended(&disk);
    ck_assert_int_eq(vfs_lock(&disk.vfs, "f", &error), ERROR_NONE);
    end();
}
END_TEST

START_TEST(disk_flip__damages_cache_and_platter)
{
    begin(1);
    (void)old_file();
    disk_flip(&disk, "f", 10, 0);
    disk_power_cut(&disk);
    char bytes[16];
    ck_assert_uint_eq(peek("f", bytes, sizeof(bytes)), sizeof(bytes));
    ck_assert_int_eq(bytes[10], 'o' ^ 1);
    ck_assert_int_eq(bytes[11], 'o');
    end();
}
END_TEST

/* ---- syncs take time ---- */

static u64 ended_ns;

static void writer(void *argument)
{
    struct vfs_file *file = argument;
    put(file, 0, 'n', 512);
    must_sync(file);
    ended_ns = world.now_ns;
}

START_TEST(disk__a_sync_takes_its_time_and_a_stalled_one_waits_for_healing)
{
    begin(1);
    struct vfs_file *file = old_file();
    struct process *ran;
    ended_ns = 0;
    struct coroutine *coroutine = coroutine_start(world.nobody, writer, file);
    coroutine->detached = true;
    while (world_step(&world, 10000, &ran))
        continue;
    ck_assert_uint_ge(ended_ns, 1000);
    ck_assert_uint_le(ended_ns, 2000);
    disk.stalled = true;
    ended_ns = 0;
    coroutine = coroutine_start(world.nobody, writer, file);
    coroutine->detached = true;
    while (world_step(&world, 50000, &ran))
        continue;
    ck_assert_uint_eq(ended_ns, 0);
    ck_assert(disk_is_unsynced(&disk, "f"));
    disk_heal(&disk);
    while (world_step(&world, 60000, &ran))
        continue;
    ck_assert_uint_eq(ended_ns, 50000);
    ck_assert(!disk_is_unsynced(&disk, "f"));
    vfs_close(file);
    end();
}
END_TEST

/* ---- reads that take time ---- */

static struct vfs_file *slow_file;
static u64 read_end_ns;
static char read_byte;

static void read_slowly(void *argument)
{
    (void)argument;
    size_t got = 0;
    ck_assert_int_eq(vfs_read_at(slow_file, &read_byte, 1, 0, &got, &error), ERROR_NONE);
    ck_assert_uint_eq(got, 1);
    read_end_ns = world.now_ns;
}

/* One reads, and the byte is written over halfway; at `heal_ns` the disk is healed. */
static void read_while(u64 seed, u64 heal_ns)
{
    begin(seed);
    slow_file = old_file();
    disk.read_ns = 1000;
    struct sim_clock clock;
    sim_clock_init(&clock);
    struct process *process = process_create(&world, 1, &clock);
    struct coroutine *reader = coroutine_start(process, read_slowly, NULL);
    struct process *ran;
    read_end_ns = 0;
    while (world_step(&world, 500, &ran))
        continue;
    ck_assert_uint_eq(read_end_ns, 0);
    put(slow_file, 0, 'n', 1);
    while (world_step(&world, heal_ns, &ran))
        continue;
    disk_heal(&disk);
    while (world_step(&world, 5000, &ran))
        continue;
    ck_assert_uint_eq(read_end_ns, u64_min(heal_ns, 1000));
    coroutine_free(reader);
    ck_assert_uint_eq(process_destroy(process), 0);
    vfs_close(slow_file);
    end();
}

START_TEST(disk__a_slow_read_brings_what_was_there_at_its_first_or_last_instant)
{
    u32 old = 0, new = 0;
    for (u64 seed = 1; seed <= 20; seed++) {
        read_while(seed, 2000);
        old += read_byte == 'o';
        new += read_byte == 'n';
    }
    ck_assert_uint_eq(old + new, 20);
    ck_assert_uint_gt(old, 0);
    ck_assert_uint_gt(new, 0);
}
END_TEST

START_TEST(disk__slow_reads_end_when_it_is_healed)
{
    read_while(1, 700);
    read_while(2, 1000); /* in the very instant in which it ends */
}
END_TEST

UNIT_MAIN("sim_disk", disk__a_slow_read_brings_what_was_there_at_its_first_or_last_instant,
          disk__slow_reads_end_when_it_is_healed, disk__reads_what_was_written,
          disk_power_cut__what_was_synced_stays,
          disk_power_cut__unsynced_writes_are_torn_at_sectors, disk_power_cut__sizes_and_bytes_part,
          disk_process_ended__a_killed_process_loses_nothing,
          disk_power_cut__names_are_durable_once_the_directory_is_synced,
          disk_power_cut__a_rename_is_atomic, disk_power_cut__what_lies_in_a_lost_directory_is_lost,
          disk__a_failed_sync_is_not_made_good_by_another,
          disk__a_full_disk_takes_what_needs_no_new_space, disk__crashes_at_the_nth_write_or_sync,
          disk__zeros_cost_no_memory, disk__the_lock_ends_with_the_process,
          disk_flip__damages_cache_and_platter,
          disk__a_sync_takes_its_time_and_a_stalled_one_waits_for_healing)
