/* check_metadata.c - the two slots: what a change writes, and what each kind of damage leaves. */
#include "server/storage/metadata.h"

#include "common/crc32c.h"
#include "test/unit/storage_story.h"

static const struct metadata sample = {.cluster_id = "a.B_c-9",
                                       .self = 7,
                                       .directory_id = 0x1122334455667788,
                                       .start_count = 3,
                                       .seed_crc = 0xcafe,
                                       .current_term = 12,
                                       .voted_for = 5,
                                       .acked_through = {11, 70},
                                       .starts = {0x0102030405060708, 2, 3, 0, 0, 0, 0, 8},
                                       .non_voter = true};

/* A directory with `metadata`, in which both slots hold `sample` as version 1. */
static struct memory_vfs *sample_directory(void)
{
    struct memory_vfs *memory = memory_create();
    struct error error;
    ck_assert_int_eq(metadata_create(&memory->vfs, "metadata", &sample, &error), ERROR_NONE);
    ck_assert_int_eq(vfs_sync_directory(&memory->vfs, ".", &error), ERROR_NONE);
    return memory;
}

static enum error_code open_at(struct memory_vfs *memory, struct metadata_file *metadata,
                               char *lines, struct error *error)
{
    struct report report = story_report(lines);
    return metadata_open(metadata, &memory->vfs, &report, error);
}

START_TEST(metadata_cluster_id_valid__by_length_and_messages)
{
    char text[CLUSTER_ID_SIZE + 1];
    memset(text, 'x', sizeof(text));
    text[CLUSTER_ID_SIZE] = '\0';
    ck_assert(!metadata_cluster_id_valid(text));
    text[CLUSTER_ID_SIZE - 1] = '\0';
    ck_assert(metadata_cluster_id_valid(text));
    ck_assert(metadata_cluster_id_valid("a"));
    ck_assert(!metadata_cluster_id_valid(""));
    ck_assert(!metadata_cluster_id_valid("a b"));
    ck_assert(!metadata_cluster_id_valid("a/b"));
    ck_assert(!metadata_cluster_id_valid("\xc3\xa4"));
}
END_TEST

START_TEST(metadata_slot_encode__is_read_back_and_laid_out_as_documented)
{
    u8 slot[METADATA_SLOT_SIZE];
    struct metadata got;
    u64 version;
    const char *why;
    metadata_slot_encode(&sample, 42, slot);
    ck_assert_int_eq(metadata_slot_decode(slot, &got, &version, &why), ERROR_NONE);
    ck_assert_uint_eq(version, 42);
    ck_assert_str_eq(got.cluster_id, "a.B_c-9");
    ck_assert_uint_eq(got.self, 7);
    ck_assert_uint_eq(got.directory_id, sample.directory_id);
    ck_assert_uint_eq(got.start_count, 3);
    ck_assert_uint_eq(got.seed_crc, 0xcafe);
    ck_assert_uint_eq(got.current_term, 12);
    ck_assert_uint_eq(got.voted_for, 5);
    ck_assert(got.non_voter);
    ck_assert_uint_eq(got.acked_through.term, 11);
    ck_assert_uint_eq(got.acked_through.index, 70);
    ck_assert_mem_eq(got.starts, sample.starts, sizeof(sample.starts));
    ck_assert_mem_eq(slot, "mrMETADT", 8);
    ck_assert_uint_eq(load_u32(slot + 8), 2);
    ck_assert_uint_eq(load_u64(slot + 16), 42);
    ck_assert_uint_eq(load_u64(slot + 104), 12);
    ck_assert_uint_eq(load_u32(slot + 112), 5);
    ck_assert_uint_eq(load_u32(slot + 120), 1);
    ck_assert_uint_eq(load_u64(slot + 136), 70);
    ck_assert_uint_eq(load_u64(slot + 144), 0x0102030405060708);
    ck_assert_uint_eq(load_u64(slot + 200), 8);
    ck_assert_uint_eq(load_u32(slot + 252), crc32c(0, slot, 252));
}
END_TEST

START_TEST(metadata_slot_decode__reads_what_format_version_1_had)
{
    u8 slot[METADATA_SLOT_SIZE];
    struct metadata got;
    u64 version;
    const char *why;
    metadata_slot_encode(&sample, 42, slot);
    store_u32(slot + 8, 1);
    store_u32(slot + 120, 0);
    store_u32(slot + 124, crc32c(0, slot, 124));
    memset(slot + 128, 0, METADATA_SLOT_SIZE - 128);
    ck_assert_int_eq(metadata_slot_decode(slot, &got, &version, &why), ERROR_NONE);
    ck_assert_uint_eq(version, 42);
    ck_assert_uint_eq(got.current_term, 12);
    ck_assert_uint_eq(got.seed_crc, 0xcafe);
    ck_assert(!got.non_voter);
    ck_assert_uint_eq(got.acked_through.index, 0);
    ck_assert_uint_eq(got.starts[0], 0);
    slot[40] ^= 1;
    ck_assert_int_eq(metadata_slot_decode(slot, &got, &version, &why), ERROR_CORRUPT);
}
END_TEST

START_TEST(metadata_slot_encode__says_who_it_is_in_version_3_alone)
{
    u8 slot[METADATA_SLOT_SIZE];
    struct metadata got, identified = sample;
    u64 version;
    const char *why;
    identified.incarnation = 0x1122334455667788;
    identified.readmitted = 345;
    identified.joined_through = 0x99;
    metadata_slot_encode(&identified, 42, slot);
    ck_assert_uint_eq(load_u32(slot + 8), 3);
    ck_assert_uint_eq(load_u32(slot + 120), 1);
    ck_assert_uint_eq(load_u64(slot + 208), 0x1122334455667788);
    ck_assert_uint_eq(load_u64(slot + 216), 345);
    ck_assert_uint_eq(load_u64(slot + 224), 0x99);
    ck_assert_int_eq(metadata_slot_decode(slot, &got, &version, &why), ERROR_NONE);
    ck_assert_uint_eq(got.incarnation, identified.incarnation);
    ck_assert_uint_eq(got.readmitted, 345);
    ck_assert(!got.blank && got.non_voter);
    /* A version that has no place for them says nothing of them, whatever lies there. */
    store_u32(slot + 8, 2);
    store_u32(slot + 120, 3);
    store_u32(slot + 252, crc32c(0, slot, 252));
    ck_assert_int_eq(metadata_slot_decode(slot, &got, &version, &why), ERROR_NONE);
    ck_assert(got.incarnation == 0 && got.readmitted == 0 && !got.blank);
    ck_assert_uint_eq(got.joined_through, 0x99);
    struct metadata blank = sample;
    blank.blank = true;
    metadata_slot_encode(&blank, 42, slot);
    ck_assert_uint_eq(load_u32(slot + 8), 3);
    ck_assert_uint_eq(load_u32(slot + 120), 3);
    ck_assert_int_eq(metadata_slot_decode(slot, &got, &version, &why), ERROR_NONE);
    ck_assert(got.blank);
}
END_TEST

START_TEST(metadata_slot_decode__finds_every_flipped_bit)
{
    u8 slot[METADATA_SLOT_SIZE];
    struct metadata got;
    u64 version;
    const char *why = NULL;
    metadata_slot_encode(&sample, 42, slot);
    for (int bit = 0; bit < METADATA_SLOT_SIZE * 8; bit++) {
        slot[bit / 8] ^= (u8)(1u << bit % 8);
        ck_assert_int_eq(metadata_slot_decode(slot, &got, &version, &why), ERROR_CORRUPT);
        ck_assert_ptr_nonnull(why);
        slot[bit / 8] ^= (u8)(1u << bit % 8);
    }
    slot[8] = 4;
    store_u32(slot + 252, crc32c(0, slot, 252));
    ck_assert_int_eq(metadata_slot_decode(slot, &got, &version, &why), ERROR_MISMATCH);
}
END_TEST

START_TEST(metadata_save__writes_both_slots_a_sync_each)
{
    struct memory_vfs *memory = sample_directory();
    struct metadata_file metadata;
    struct error error;
    ck_assert_int_eq(open_at(memory, &metadata, NULL, &error), ERROR_NONE);
    struct metadata changed = metadata.current;
    u64 version;
    const char *why;
    for (u64 term = 13; term < 20; term++) {
        u64 writes = memory->writes, syncs = memory->syncs;
        changed.current_term = term;
        ck_assert_int_eq(metadata_save(&metadata, &changed, &error), ERROR_NONE);
        ck_assert_uint_eq(memory->writes, writes + 2);
        ck_assert_uint_eq(memory->syncs, syncs + 2);
        ck_assert_uint_eq(memory->last_offset, METADATA_SLOT_PLACE); /* A, then B */
        for (u64 slot = 0; slot < METADATA_SLOTS; slot++) {
            struct metadata got;
            const u8 *data = memory_content_of(memory, "metadata")->data;
            ck_assert_int_eq(
                metadata_slot_decode(data + slot * METADATA_SLOT_PLACE, &got, &version, &why),
                ERROR_NONE);
            ck_assert_uint_eq(got.current_term, term);
            ck_assert_uint_eq(version, term - 11);
        }
    }
    metadata_close(&metadata);
    memory_destroy(memory);
}
END_TEST

START_TEST(metadata_open__survives_damage_to_either_slot)
{
    for (u64 damaged = 0; damaged < METADATA_SLOTS; damaged++) {
        struct memory_vfs *memory = sample_directory();
        struct metadata_file metadata;
        struct error error;
        char lines[4096] = "";
        ck_assert_int_eq(open_at(memory, &metadata, lines, &error), ERROR_NONE);
        ck_assert_str_eq(lines, "");
        struct metadata changed = metadata.current;
        changed.current_term = 50;
        changed.voted_for = 1;
        ck_assert_int_eq(metadata_save(&metadata, &changed, &error), ERROR_NONE);
        metadata_close(&metadata);
        u8 *slot = memory_content_of(memory, "metadata")->data + damaged * METADATA_SLOT_PLACE;
        slot[30] ^= 4;
        ck_assert_int_eq(open_at(memory, &metadata, lines, &error), ERROR_NONE);
        ck_assert_uint_eq(metadata.current.current_term, 50);
        ck_assert_uint_eq(metadata.current.voted_for, 1);
        ck_assert_ptr_nonnull(strstr(lines, damaged == 0 ? "slot A" : "slot B"));
        ck_assert_ptr_nonnull(strstr(lines, "level=warn"));
        /* The damaged one is written first, the good one not before that is synced. */
        memory_fault_after(memory, 1, MEMORY_POWER_CUT, ERROR_IO);
        ck_assert_int_eq(metadata_save(&metadata, &changed, &error), ERROR_IO);
        ck_assert_uint_eq(memory->last_offset, damaged * METADATA_SLOT_PLACE);
        metadata_close(&metadata);
        memory_destroy(memory);
    }
}
END_TEST

START_TEST(metadata_open__refuses_when_both_slots_are_damaged)
{
    struct memory_vfs *memory = sample_directory();
    struct metadata_file metadata;
    struct error error;
    u8 *data = memory_content_of(memory, "metadata")->data;
    data[0] ^= 1;
    data[METADATA_SLOT_PLACE + 105] ^= 1;
    ck_assert_int_eq(open_at(memory, &metadata, NULL, &error), ERROR_CORRUPT);
    ck_assert_str_eq(error.text,
                     "metadata: slot A (offset 0): wrong magic; slot B (offset 4096): bad "
                     "checksum. Without one of them this server's term and vote are lost, and the "
                     "directory must not be used any more: move the directory away, make a "
                     "blank one with raftd --init, with which the server gets the data again, and "
                     "give it its vote back with raftctl member readmit");
    content_resize(memory_content_of(memory, "metadata"), 0);
    ck_assert_int_eq(open_at(memory, &metadata, NULL, &error), ERROR_CORRUPT);
    memory_destroy(memory);
}
END_TEST

/* One slot cannot be read, nor written in part: the other one is used, and the next change heals
 * the place. */
START_TEST(metadata_open__a_slot_that_cannot_be_read)
{
    for (u64 slot = 0; slot < METADATA_SLOTS; slot++) {
        struct memory_vfs *memory = sample_directory();
        struct metadata_file metadata;
        struct error error;
        memory_make_bad(memory, "metadata", slot * METADATA_SLOT_PLACE, METADATA_SLOT_PLACE);
        ck_assert_int_eq(open_at(memory, &metadata, NULL, &error), ERROR_NONE);
        struct metadata changed = metadata.current;
        changed.current_term += 7;
        ck_assert_int_eq(metadata_save(&metadata, &changed, &error), ERROR_NONE);
        metadata_close(&metadata);
        ck_assert_uint_eq(memory->bad_size, 0);
        memory_content_of(memory, "metadata")->data[(1 - slot) * METADATA_SLOT_PLACE] ^= 1;
        ck_assert_int_eq(open_at(memory, &metadata, NULL, &error), ERROR_NONE);
        ck_assert_uint_eq(metadata.current.current_term, changed.current_term);
        metadata_close(&metadata);
        memory_make_bad(memory, "metadata", 0, METADATA_FILE_SIZE);
        ck_assert_int_eq(open_at(memory, &metadata, NULL, &error), ERROR_CORRUPT);
        ck_assert_ptr_nonnull(strstr(error.text, "slot B (offset 4096): the disk cannot read it"));
        memory_destroy(memory);
    }
}
END_TEST

START_TEST(metadata_open__takes_the_newer_slot)
{
    struct memory_vfs *memory = sample_directory();
    struct metadata_file metadata;
    struct error error;
    struct metadata newer = sample;
    newer.current_term = 99;
    u8 *data = memory_content_of(memory, "metadata")->data;
    metadata_slot_encode(&newer, 2, data + METADATA_SLOT_PLACE);
    ck_assert_int_eq(open_at(memory, &metadata, NULL, &error), ERROR_NONE);
    ck_assert_uint_eq(metadata.current.current_term, 99);
    ck_assert_int_eq(metadata.oldest, 0);
    metadata_close(&metadata);
    metadata_slot_encode(&newer, 3, data);
    ck_assert_int_eq(open_at(memory, &metadata, NULL, &error), ERROR_NONE);
    ck_assert_int_eq(metadata.oldest, 1);
    metadata_close(&metadata);
    memory_destroy(memory);
}
END_TEST

/* Of the sectors that were not synced, those for which the bit is set are kept; and of the one
 * being written only a part may be. */
static bool keep_by_bit(void *context, const char *name, u64 offset)
{
    (void)name;
    return (*(u64 *)context >> (offset / METADATA_SLOT_PLACE) & 1) != 0;
}

START_TEST(metadata_save__power_cut_leaves_old_or_new)
{
    for (u64 nth = 1; nth <= 5; nth++) {
        for (u64 kept = 0; kept < 4; kept++) {
            for (u64 part = 0; part <= METADATA_SLOT_SIZE; part += 8) {
                struct memory_vfs *memory = sample_directory();
                struct metadata_file metadata;
                struct error error;
                ck_assert_int_eq(open_at(memory, &metadata, NULL, &error), ERROR_NONE);
                struct metadata changed = metadata.current;
                changed.current_term = 13;
                memory_fault_after(memory, nth, MEMORY_POWER_CUT, ERROR_IO);
                bool saved = metadata_save(&metadata, &changed, &error) == ERROR_NONE;
                metadata_close(&metadata);
                struct memory_vfs *image = memory_crash(memory, keep_by_bit, &kept, true);
                if (nth % 2 == 1 && nth < 5) /* a write was cut: only its first bytes are there */
                    memcpy(memory_content_of(image, "metadata")->data + memory->last_offset,
                           memory->inodes[memory->last_inode].now.data + memory->last_offset, part);
                ck_assert_int_eq(open_at(image, &metadata, NULL, &error), ERROR_NONE);
                u64 term = metadata.current.current_term;
                ck_assert(term == 13 || (term == 12 && !saved));
                ck_assert_uint_eq(metadata.current.directory_id, sample.directory_id);
                metadata_close(&metadata);
                memory_destroy(image);
                memory_destroy(memory);
            }
        }
    }
}
END_TEST

UNIT_MAIN("metadata", metadata_cluster_id_valid__by_length_and_messages,
          metadata_slot_encode__is_read_back_and_laid_out_as_documented,
          metadata_slot_decode__reads_what_format_version_1_had,
          metadata_slot_encode__says_who_it_is_in_version_3_alone,
          metadata_slot_decode__finds_every_flipped_bit,
          metadata_save__writes_both_slots_a_sync_each,
          metadata_open__survives_damage_to_either_slot,
          metadata_open__refuses_when_both_slots_are_damaged,
          metadata_open__a_slot_that_cannot_be_read, metadata_open__takes_the_newer_slot,
          metadata_save__power_cut_leaves_old_or_new)
