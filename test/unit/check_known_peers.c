/* check_known_peers.c - the file `peers`: what is remembered of others, crashes, damage. */
#include "server/storage/known_peers.h"

#include "common/crc32c.h"
#include "test/unit/storage_story.h"

enum { DIRECTORY = 0x77, SLOT = 4096 };

static struct known_peer met[KNOWN_PEERS_MAX];
static u32 count;
static char lines[4096];

static struct memory_vfs *made_directory(void)
{
    struct memory_vfs *memory = memory_create();
    struct error error;
    ck_assert_int_eq(known_peers_create(&memory->vfs, DIRECTORY, &error), ERROR_NONE);
    ck_assert_int_eq(vfs_sync_directory(&memory->vfs, ".", &error), ERROR_NONE);
    return memory;
}

static struct known_peers_file opened(struct memory_vfs *memory, u64 directory_id)
{
    struct known_peers_file file;
    struct error error = {0};
    struct report report = story_report(lines);
    lines[0] = '\0';
    memset(met, 0xee, sizeof(met));
    enum error_code code =
        known_peers_open(&file, &memory->vfs, directory_id, &report, met, &count, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    return file;
}

static struct known_peer known_peer_of(server_id id, u64 start_count)
{
    return (struct known_peer){.id = id,
                               .directory_id = 1000 + id,
                               .start_count = start_count,
                               .start_id = 0xdeadbeefcafe0000 + start_count,
                               .lost_entries = id % 2 == 0,
                               .distrust = DISTRUST_SET_BACK, /* volatile, as these */
                               .knows = true,
                               .told_ns = 5};
}

static void save(struct known_peers_file *file, const struct known_peer *list, u32 n)
{
    struct error error;
    ck_assert_int_eq(known_peers_save(file, DIRECTORY, list, n, &error), ERROR_NONE);
}

static void must_be(const struct known_peer *expected)
{
    ck_assert_uint_eq(met[0].id, expected->id);
    ck_assert_uint_eq(met[0].directory_id, expected->directory_id);
    ck_assert_uint_eq(met[0].start_count, expected->start_count);
    ck_assert_uint_eq(met[0].start_id, expected->start_id);
    ck_assert_int_eq(met[0].lost_entries, expected->lost_entries);
    ck_assert_int_eq(met[0].distrust, DISTRUST_NONE);
    ck_assert(!met[0].knows && met[0].told_ns == 0 && met[0].shown.start_count == 0);
}

START_TEST(known_peers_save__comes_back)
{
    struct memory_vfs *memory = made_directory();
    struct known_peers_file file = opened(memory, DIRECTORY);
    ck_assert_uint_eq(count, 0);
    struct known_peer list[KNOWN_PEERS_MAX];
    for (u32 n = 1; n <= KNOWN_PEERS_MAX; n++) {
        list[n - 1] = known_peer_of(n, n * 3);
        save(&file, list, n);
        known_peers_close(&file);
        file = opened(memory, DIRECTORY);
        ck_assert_uint_eq(count, n);
        must_be(&list[0]);
        ck_assert_uint_eq(met[n - 1].start_count, n * 3);
        ck_assert_str_eq(lines, "");
    }
    known_peers_close(&file);
    memory_destroy(memory);
}
END_TEST

START_TEST(known_peers_save__readmissions_are_of_version_2)
{
    struct memory_vfs *memory = made_directory();
    struct known_peers_file file = opened(memory, DIRECTORY);
    struct known_peer list[3];
    for (u32 n = 0; n < 3; n++)
        list[n] = known_peer_of(n + 1, n);
    save(&file, list, 3);
    u8 *data = memory_content_of(memory, "peers")->data;
    ck_assert_uint_eq(load_u32(data + 8), 1);
    list[1].readmitted = 77;
    save(&file, list, 3);
    data = memory_content_of(memory, "peers")->data;
    ck_assert_uint_eq(load_u32(data + 8), 2);
    ck_assert_uint_eq(load_u64(data + 32 + 40 + 32), 77);
    known_peers_close(&file);
    file = opened(memory, DIRECTORY);
    ck_assert_uint_eq(count, 3);
    ck_assert_uint_eq(met[0].readmitted, 0);
    ck_assert_uint_eq(met[1].readmitted, 77);
    ck_assert_uint_eq(met[2].start_count, 2);
    known_peers_close(&file);
    memory_destroy(memory);
}
END_TEST

START_TEST(known_peers_open__makes_the_file_that_an_older_program_did_not)
{
    struct memory_vfs *memory = memory_create();
    struct known_peers_file file = opened(memory, DIRECTORY);
    ck_assert_uint_eq(count, 0);
    ck_assert_str_eq(lines, "");
    struct known_peer one = known_peer_of(2, 1);
    save(&file, &one, 1);
    known_peers_close(&file);
    struct memory_vfs *image = memory_crash(memory, NULL, NULL, false);
    file = opened(image, DIRECTORY);
    must_be(&one);
    known_peers_close(&file);
    memory_destroy(image);
    memory_destroy(memory);
}
END_TEST

START_TEST(known_peers_open__survives_damage_to_either_slot)
{
    for (u64 place = 0; place < 2; place++) {
        struct memory_vfs *memory = made_directory();
        struct known_peers_file file = opened(memory, DIRECTORY);
        struct known_peer one = known_peer_of(2, 1);
        save(&file, &one, 1);
        one.start_count = 2;
        save(&file, &one, 1);
        known_peers_close(&file);
        u8 *slot = memory_content_of(memory, "peers")->data + place * SLOT;
        slot[40] ^= 1;
        file = opened(memory, DIRECTORY);
        must_be(&one);
        ck_assert_ptr_nonnull(strstr(lines, "one slot is damaged"));
        /* Both are written anew, the damaged one first. */
        ck_assert_uint_eq(memory->last_offset, (1 - place) * SLOT);
        known_peers_close(&file);
        file = opened(memory, DIRECTORY);
        must_be(&one);
        ck_assert_str_eq(lines, "");
        known_peers_close(&file);
        memory_destroy(memory);
    }
}
END_TEST

START_TEST(known_peers_open__with_both_damaged_says_that_nothing_is_known)
{
    struct memory_vfs *memory = made_directory();
    struct known_peers_file file = opened(memory, DIRECTORY);
    struct known_peer one = known_peer_of(2, 1);
    save(&file, &one, 1);
    known_peers_close(&file);
    u8 *data = memory_content_of(memory, "peers")->data;
    data[0] ^= 1;
    data[SLOT + 30] ^= 1;
    file = opened(memory, DIRECTORY);
    ck_assert_uint_eq(count, 0);
    ck_assert_ptr_nonnull(strstr(lines, "level=warn"));
    ck_assert_ptr_nonnull(strstr(lines, "no slot is whole"));
    save(&file, &one, 1);
    known_peers_close(&file);
    file = opened(memory, DIRECTORY);
    must_be(&one);
    /* What belongs to another directory is nothing that this one has seen. */
    known_peers_close(&file);
    file = opened(memory, DIRECTORY + 1);
    ck_assert_uint_eq(count, 0);
    known_peers_close(&file);
    memory_destroy(memory);
}
END_TEST

START_TEST(known_peers_open__refuses_a_later_format)
{
    struct memory_vfs *memory = made_directory();
    u8 *data = memory_content_of(memory, "peers")->data;
    store_u32(data + 8, 3);
    store_u32(data + 32, crc32c(0, data, 32));
    struct known_peers_file file;
    struct error error;
    struct report report = story_report(NULL);
    ck_assert_int_eq(known_peers_open(&file, &memory->vfs, DIRECTORY, &report, met, &count, &error),
                     ERROR_MISMATCH);
    memory_destroy(memory);
}
END_TEST

static bool keep_by_bit(void *context, const char *name, u64 offset)
{
    (void)name;
    return (*(u64 *)context >> (offset / SLOT) & 1) != 0;
}

START_TEST(known_peers_save__power_cut_leaves_old_or_new)
{
    for (u64 nth = 1; nth <= 5; nth++) {
        for (u64 kept = 0; kept < 4; kept++) {
            struct memory_vfs *memory = made_directory();
            struct known_peers_file file = opened(memory, DIRECTORY);
            struct known_peer one = known_peer_of(3, 1);
            save(&file, &one, 1);
            one.start_count = 2;
            memory_fault_after(memory, nth, MEMORY_POWER_CUT, ERROR_IO);
            struct error error;
            bool saved = known_peers_save(&file, DIRECTORY, &one, 1, &error) == ERROR_NONE;
            known_peers_close(&file);
            struct memory_vfs *image = memory_crash(memory, keep_by_bit, &kept, true);
            file = opened(image, DIRECTORY);
            ck_assert_uint_eq(count, 1);
            ck_assert(met[0].start_count == 2 || (met[0].start_count == 1 && !saved));
            known_peers_close(&file);
            memory_destroy(image);
            memory_destroy(memory);
        }
    }
}
END_TEST

/* A process that is killed leaves its last write in the page cache. Whoever has read it must find
 * it again after a power cut. */
START_TEST(known_peers_open__what_it_gives_survives_a_power_cut)
{
    for (u64 nth = 1; nth <= 5; nth++) {
        struct memory_vfs *memory = made_directory();
        struct known_peers_file file = opened(memory, DIRECTORY);
        struct known_peer one = known_peer_of(3, 1);
        save(&file, &one, 1);
        one.start_count = 2;
        memory_fault_after(memory, nth, MEMORY_POWER_CUT, ERROR_IO);
        struct error error;
        bool saved = known_peers_save(&file, DIRECTORY, &one, 1, &error) == ERROR_NONE;
        ck_assert_int_eq(saved, nth == 5);
        known_peers_close(&file);
        memory->fault_at = 0; /* the disk is well; only the process ended */
        file = opened(memory, DIRECTORY);
        ck_assert_uint_eq(count, 1);
        u64 read = met[0].start_count;
        ck_assert_uint_eq(read, 2); /* the first write had reached the cache */
        known_peers_close(&file);
        struct memory_vfs *image = memory_crash(memory, NULL, NULL, true);
        file = opened(image, DIRECTORY);
        ck_assert_uint_eq(count, 1);
        ck_assert_uint_eq(met[0].start_count, read);
        known_peers_close(&file);
        memory_destroy(image);
        memory_destroy(memory);
    }
}
END_TEST

/* And so at each write of the start that reads it. */
START_TEST(known_peers_open__power_cut_leaves_old_or_new)
{
    for (u64 nth = 1; nth <= 4; nth++) {
        for (u64 kept = 0; kept < 4; kept++) {
            struct memory_vfs *memory = made_directory();
            struct known_peers_file file = opened(memory, DIRECTORY);
            struct known_peer one = known_peer_of(3, 1);
            save(&file, &one, 1);
            one.start_count = 2;
            struct error error;
            memory_fault_after(memory, 1, MEMORY_POWER_CUT, ERROR_IO);
            ck_assert_int_eq(known_peers_save(&file, DIRECTORY, &one, 1, &error), ERROR_IO);
            known_peers_close(&file);
            memory_fault_after(memory, nth, MEMORY_POWER_CUT, ERROR_IO);
            struct report report = story_report(lines);
            ck_assert_int_eq(
                known_peers_open(&file, &memory->vfs, DIRECTORY, &report, met, &count, &error),
                ERROR_IO);
            struct memory_vfs *image = memory_crash(memory, keep_by_bit, &kept, true);
            file = opened(image, DIRECTORY);
            ck_assert_uint_eq(count, 1);
            ck_assert(met[0].start_count == 1 || met[0].start_count == 2);
            known_peers_close(&file);
            memory_destroy(image);
            memory_destroy(memory);
        }
    }
}
END_TEST

START_TEST(known_peers_open__writes_nothing_that_is_there)
{
    struct memory_vfs *memory = made_directory();
    struct known_peers_file file = opened(memory, DIRECTORY);
    struct known_peer one = known_peer_of(3, 1);
    save(&file, &one, 1);
    known_peers_close(&file);
    u64 changes = memory->changes;
    file = opened(memory, DIRECTORY);
    must_be(&one);
    ck_assert_uint_eq(memory->changes, changes);
    known_peers_close(&file);
    memory_destroy(memory);
}
END_TEST

START_TEST(known_peers_open__a_slot_that_cannot_be_read)
{
    for (u64 slot = 0; slot < 2; slot++) {
        struct memory_vfs *memory = made_directory();
        struct known_peers_file file = opened(memory, DIRECTORY);
        struct known_peer first = known_peer_of(2, 5), second = known_peer_of(2, 6);
        save(&file, &first, 1);
        known_peers_close(&file);
        memory_make_bad(memory, "peers", slot * SLOT, SLOT);
        file = opened(memory, DIRECTORY);
        must_be(&first);
        ck_assert_ptr_nonnull(strstr(lines, "one slot is damaged"));
        ck_assert_uint_eq(memory->bad_size, 0); /* healed */
        save(&file, &second, 1);
        known_peers_close(&file);
        file = opened(memory, DIRECTORY);
        must_be(&second);
        known_peers_close(&file);
        memory_destroy(memory);
    }
}
END_TEST

UNIT_MAIN("known_peers", known_peers_open__what_it_gives_survives_a_power_cut,
          known_peers_open__power_cut_leaves_old_or_new,
          known_peers_open__writes_nothing_that_is_there,
          known_peers_open__a_slot_that_cannot_be_read, known_peers_save__comes_back,
          known_peers_save__readmissions_are_of_version_2,
          known_peers_open__makes_the_file_that_an_older_program_did_not,
          known_peers_open__survives_damage_to_either_slot,
          known_peers_open__with_both_damaged_says_that_nothing_is_known,
          known_peers_open__refuses_a_later_format, known_peers_save__power_cut_leaves_old_or_new)
