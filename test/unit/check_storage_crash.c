/* check_storage_crash.c - power cuts and damage: after a power cut the log is the old one or the
 * new one, whichever sectors reached the disk; damage to what was synced is refused, with file and
 * offset, and never cut. Every change of a whole life: check_storage_life.c. */
#include "test/unit/storage_story.h"

#include "server/storage/segment.h"

static struct story before, after;

/* A directory whose last change was the write of a batch that was never synced: `before` it and
 * `after` it are set. The batch has `count` records with payloads of `size` bytes. */
static struct memory_vfs *cut_in_append(u64 segment_bytes, u32 count, u32 size, u64 tag)
{
    struct memory_vfs *memory = memory_create();
    struct error error;
    ck_assert_int_eq(story_init(&memory->vfs, segment_bytes, &before, &error), ERROR_NONE);
    struct report report = story_report(NULL);
    struct storage *storage = story_reopen(memory, segment_bytes, &report, &before);
    ck_assert_int_eq(story_append(storage, &before, 2, 3, 1, 77, &error), ERROR_NONE);
    struct storage_status status = {0};
    while (status.segments < 2)
        storage_status(storage, &status);
    before.next_tag = tag;
    after = before;
    memory_fault_after(memory, 1, MEMORY_POWER_CUT, ERROR_IO);
    ck_assert_int_eq(story_append(storage, &after, 4, count, 2, size, &error), ERROR_IO);
    storage_close(storage);
    return memory;
}

/* The image must open as `before` or `after`, and go on from there. Returns whether it was `after`.
 */
static bool must_be_old_or_new(struct memory_vfs *image, u64 segment_bytes, const char *what, u64 n)
{
    struct storage *storage;
    struct storage_recovery recovery;
    struct error error = {0};
    enum error_code code = open_found(image, segment_bytes, &storage, &recovery, &error);
    ck_assert_msg(code == ERROR_NONE, "%s %llu: %s", what, (unsigned long long)n, error.text);
    bool is_new = story_same(&found, &after);
    ck_assert_msg(is_new || story_same(&found, &before), "%s %llu: a mixture", what,
                  (unsigned long long)n);
    ck_assert_int_eq(recovery.torn_bytes > 0, strstr(found_lines, "torn tail") != NULL);
    /* What comes next must not bring back anything of what was cut. */
    static struct story next;
    next = is_new ? after : before;
    ck_assert_int_eq(story_append(storage, &next, next.count + 1, 2, 9, 30, &error), ERROR_NONE);
    storage_close(storage);
    struct report report = story_report(NULL);
    storage_close(story_reopen(image, segment_bytes, &report, &next));
    return is_new;
}

struct sector_choice {
    u64 first;  /* offset of the first sector of the write, a multiple of unit */
    u64 unit;   /* sectors come and go in groups of this many bytes */
    u64 chosen; /* bit i: the group i is kept */
};

static bool keep_chosen(void *context, const char *name, u64 offset)
{
    const struct sector_choice *choice = context;
    (void)name;
    return offset >= choice->first &&
           (choice->chosen >> ((offset - choice->first) / choice->unit) & 1);
}

static void every_subset(u64 segment_bytes, u32 count, u32 size, u64 tag, u64 unit)
{
    struct memory_vfs *memory = cut_in_append(segment_bytes, count, size, tag);
    struct sector_choice choice = {.first = memory->last_offset & ~(unit - 1), .unit = unit};
    u64 units = (memory->last_offset + memory->last_size - 1) / unit - choice.first / unit + 1;
    ck_assert_uint_ge(units, 3);
    ck_assert_uint_le(units, 12);
    u64 news = 0;
    for (choice.chosen = 0; choice.chosen < 1ULL << units; choice.chosen++) {
        struct memory_vfs *image = memory_crash(memory, keep_chosen, &choice, true);
        news += must_be_old_or_new(image, segment_bytes, "subset", choice.chosen);
        memory_destroy(image);
    }
    ck_assert_uint_ge(news, 1);
    memory_destroy(memory);
}

START_TEST(power_cut__keeps_any_subset_of_sectors)
{
    every_subset(SMALL_SEGMENT, 4, 700, 1, 512);
    every_subset(SMALL_SEGMENT, 1, 1900, 1, 512);
    every_subset(SMALL_SEGMENT, 40, 20, 1, 512);
}
END_TEST

START_TEST(power_cut__keeps_any_subset_of_sectors_of_zeros)
{
    every_subset(SMALL_SEGMENT, 1, 3000, 4, 512); /* a payload of zeros: blank sectors */
    every_subset(SMALL_SEGMENT, 2, 1800, 3, 512);
}
END_TEST

START_TEST(power_cut__keeps_any_subset_of_pages)
{
    every_subset(64 * KIB, 9, 3000, 1, 4096);
    every_subset(64 * KIB, 1, 30000, 4, 4096);
}
END_TEST

/* The directory before the write, with bytes from .. end - 1 of the write on the medium. */
static struct memory_vfs *image_with(struct memory_vfs *memory, u64 from, u64 end)
{
    struct memory_vfs *image = memory_crash(memory, NULL, NULL, true);
    const struct memory_inode *written = &memory->inodes[memory->last_inode];
    u8 *data = memory_content_of(image, written->name)->data;
    memcpy(data + memory->last_offset + from, written->now.data + memory->last_offset + from,
           end - from);
    return image;
}

START_TEST(power_cut__keeps_any_first_part)
{
    for (u64 tag = 1; tag <= 4; tag += 3) {
        struct memory_vfs *memory = cut_in_append(SMALL_SEGMENT, 2, 400, tag);
        for (u64 size = 0; size <= memory->last_size; size++) {
            struct memory_vfs *image = image_with(memory, 0, size);
            bool is_new = must_be_old_or_new(image, SMALL_SEGMENT, "first bytes", size);
            ck_assert_int_eq(is_new, size == memory->last_size);
            memory_destroy(image);
        }
        memory_destroy(memory);
    }
}
END_TEST

START_TEST(power_cut__keeps_any_last_part)
{
    struct memory_vfs *memory = cut_in_append(SMALL_SEGMENT, 2, 400, 1);
    for (u64 size = 0; size <= memory->last_size; size++) {
        struct memory_vfs *image = image_with(memory, memory->last_size - size, memory->last_size);
        bool is_new = must_be_old_or_new(image, SMALL_SEGMENT, "last bytes", size);
        ck_assert_int_eq(is_new, size == memory->last_size);
        memory_destroy(image);
    }
    memory_destroy(memory);
}
END_TEST

START_TEST(power_cut__while_a_torn_tail_is_cut)
{
    struct memory_vfs *memory = cut_in_append(SMALL_SEGMENT, 4, 700, 1);
    struct sector_choice choice = {.first = memory->last_offset & ~511ULL, .unit = 512};
    choice.chosen = 0x2d; /* some sectors, not all */
    for (u64 nth = 1; nth < 12; nth++) {
        struct memory_vfs *torn = memory_crash(memory, keep_chosen, &choice, true);
        memory_fault_after(torn, nth, MEMORY_POWER_CUT, ERROR_IO);
        struct storage *storage;
        struct storage_recovery recovery;
        struct error error;
        if (open_found(torn, SMALL_SEGMENT, &storage, &recovery, &error) == ERROR_NONE)
            storage_close(storage);
        for (u64 chosen = 0; chosen < 64; chosen++) {
            struct sector_choice again = {.first = choice.first, .unit = 512, .chosen = chosen};
            struct memory_vfs *image = memory_crash(torn, keep_chosen, &again, true);
            ck_assert(!must_be_old_or_new(image, SMALL_SEGMENT, "cut again", chosen));
            memory_destroy(image);
        }
        memory_destroy(torn);
    }
    memory_destroy(memory);
}
END_TEST

/* ---- damage ---- */

/* A directory with three small synced batches; where they are in segment 1. */
static struct memory_vfs *three_batches(u64 offsets[4])
{
    struct memory_vfs *memory = memory_create();
    struct error error;
    ck_assert_int_eq(story_init(&memory->vfs, SMALL_SEGMENT, &before, &error), ERROR_NONE);
    struct report report = story_report(NULL);
    struct storage *storage = story_reopen(memory, SMALL_SEGMENT, &report, &before);
    struct storage_status status = {0};
    while (status.segments < 2) /* so that the last write is ours, not the job's */
        storage_status(storage, &status);
    for (u64 i = 0; i < 3; i++) {
        ck_assert_int_eq(story_append(storage, &before, before.count + 1, 2, 1, 60, &error),
                         ERROR_NONE);
        offsets[i] = memory->last_offset;
        offsets[i + 1] = memory->last_offset + memory->last_size;
    }
    storage_close(storage);
    return memory;
}

static const char first_path[] = "log/00000000000000000001.seg";

/* The image must be refused, with file and offset, and stay as it is. */
static void must_be_refused(struct memory_vfs *image, u64 offset, u64 bit)
{
    struct storage *storage;
    struct storage_recovery recovery;
    struct error error = {0};
    char expected[96];
    snprintf(expected, sizeof(expected), "%s: offset %llu: ", first_path,
             (unsigned long long)offset);
    enum error_code code = open_found(image, SMALL_SEGMENT, &storage, &recovery, &error);
    ck_assert_msg(code == ERROR_CORRUPT, "bit %llu is not refused", (unsigned long long)bit);
    ck_assert_msg(strstr(error.text, expected) != NULL, "bit %llu: %s", (unsigned long long)bit,
                  error.text);
    ck_assert_uint_eq(image->changes, 0);
}

static void every_flip_in_batch(int number)
{
    u64 offsets[5];
    struct memory_vfs *memory = three_batches(offsets);
    struct memory_vfs *image = memory_copy(memory);
    u8 *data = memory_content_of(image, first_path)->data;
    offsets[4] = 0;
    for (u64 bit = offsets[number] * 8; bit < offsets[number + 1] * 8; bit++) {
        data[bit / 8] ^= (u8)(1u << bit % 8);
        image->locked = false;
        must_be_refused(image, offsets[number], bit);
        data[bit / 8] ^= (u8)(1u << bit % 8);
    }
    image->locked = false;
    struct report report = story_report(NULL);
    storage_close(story_reopen(image, SMALL_SEGMENT, &report, &before));
    memory_destroy(image);
    memory_destroy(memory);
}

START_TEST(damage__any_bit_of_a_batch_in_the_middle_is_refused)
{
    every_flip_in_batch(0);
    every_flip_in_batch(1);
}
END_TEST

START_TEST(damage__any_bit_of_the_last_batch_is_refused_and_not_cut)
{
    every_flip_in_batch(2);
}
END_TEST

START_TEST(damage__any_bit_of_a_segment_header_is_refused)
{
    u64 offsets[4];
    struct memory_vfs *memory = three_batches(offsets);
    u8 *data = memory_content_of(memory, first_path)->data;
    for (u64 bit = 0; bit < 44 * 8; bit++) {
        data[bit / 8] ^= (u8)(1u << bit % 8);
        memory->locked = false;
        memory->changes = 0;
        must_be_refused(memory, 0, bit);
        data[bit / 8] ^= (u8)(1u << bit % 8);
    }
    memory_destroy(memory);
}
END_TEST

START_TEST(damage__bits_in_unused_space_are_wiped_and_said)
{
    u64 offsets[4];
    struct memory_vfs *memory = three_batches(offsets);
    for (u64 at = offsets[3]; at < SMALL_SEGMENT; at += 37) {
        struct memory_vfs *image = memory_copy(memory);
        memory_content_of(image, first_path)->data[at] ^= 4;
        struct storage *storage;
        struct storage_recovery recovery;
        struct error error;
        ck_assert_int_eq(open_found(image, SMALL_SEGMENT, &storage, &recovery, &error), ERROR_NONE);
        ck_assert(story_same(&found, &before));
        ck_assert_uint_gt(recovery.torn_bytes, 0);
        ck_assert_ptr_nonnull(strstr(found_lines, first_path));
        ck_assert_uint_eq(memory_content_of(image, first_path)->data[at], 0);
        storage_close(storage);
        memory_destroy(image);
    }
    memory_destroy(memory);
}
END_TEST

START_TEST(damage__a_lost_batch_is_refused)
{
    u64 offsets[4];
    struct memory_vfs *memory = three_batches(offsets);
    memset(memory_content_of(memory, first_path)->data + offsets[1], 0, offsets[2] - offsets[1]);
    memory->locked = false;
    memory->changes = 0;
    must_be_refused(memory, offsets[1], 0);
    ck_assert_uint_eq(found.count, 0);
    memory_destroy(memory);
}
END_TEST

/* Opens after something was done to the files; the sentence must have both words. */
static void must_say(struct memory_vfs *memory, enum error_code expected, const char *word,
                     const char *other)
{
    struct storage *storage;
    struct storage_recovery recovery;
    struct error error = {0};
    memory->locked = false;
    ck_assert_int_eq(open_found(memory, SMALL_SEGMENT, &storage, &recovery, &error), expected);
    ck_assert_msg(strstr(error.text, word) && strstr(error.text, other), "%s", error.text);
}

START_TEST(damage__between_segments_is_refused)
{
    struct memory_vfs *memory = story_several_segments(&before);
    struct error error;
    struct memory_vfs *image = memory_copy(memory);
    ck_assert_int_eq(vfs_remove(&image->vfs, "log/00000000000000000002.seg", &error), ERROR_NONE);
    must_say(image, ERROR_CORRUPT, "log/00000000000000000002.seg", "missing");
    memory_destroy(image);

    image = memory_copy(memory);
    ck_assert_int_eq(vfs_remove(&image->vfs, "log/00000000000000000001.seg", &error), ERROR_NONE);
    /* What follows is of no use by itself, but what was promised for it stands. */
    struct storage *storage;
    struct storage_recovery recovery;
    image->locked = false;
    found = (struct story){0};
    ck_assert_int_eq(open_found(image, SMALL_SEGMENT, &storage, &recovery, &error), ERROR_NONE);
    ck_assert_uint_eq(recovery.last.index, 0);
    ck_assert_uint_eq(recovery.metadata.promised.index, before.count);
    ck_assert_uint_eq(found.count, 0);
    storage_close(storage);
    memory_destroy(image);

    image = memory_copy(memory);
    struct memory_content *content = memory_content_of(image, "log/00000000000000000002.seg");
    content_resize(content, content->size - 100);
    must_say(image, ERROR_CORRUPT, "log/00000000000000000002.seg: offset 16284", "ends here");
    memory_destroy(image);

    /* The last batch of a segment lost: torn by itself, but more follows. */
    image = memory_copy(memory);
    content = memory_content_of(image, "log/00000000000000000002.seg");
    memset(content->data + SEGMENT_HEADER_SIZE + 4000, 0,
           content->size - SEGMENT_HEADER_SIZE - 4000);
    must_say(image, ERROR_CORRUPT, "log/00000000000000000002.seg: offset 4096", "more follows");
    memory_destroy(image);

    image = memory_copy(memory);
    content_copy(memory_content_of(image, "log/00000000000000000003.seg"),
                 memory_content_of(image, "log/00000000000000000002.seg"));
    must_say(image, ERROR_CORRUPT, "log/00000000000000000003.seg: offset 0", "segment 2");
    memory_destroy(image);
    memory_destroy(memory);
}
END_TEST

START_TEST(damage__of_a_foreign_segment_is_refused)
{
    struct memory_vfs *memory = story_several_segments(&before), *other = memory_create();
    struct error error;
    struct metadata identity = story_identity;
    identity.directory_id = 99;
    struct configuration configuration = story_configuration();
    struct storage_options options = {.segment_bytes = SMALL_SEGMENT};
    ck_assert_int_eq(storage_init(&other->vfs, &options, &identity, &configuration, &error),
                     ERROR_NONE);
    content_copy(memory_content_of(memory, first_path), memory_content_of(other, first_path));
    must_say(memory, ERROR_MISMATCH, first_path, "directory");
    memory_destroy(other);
    memory_destroy(memory);
}
END_TEST

UNIT_MAIN("storage_crash", power_cut__keeps_any_subset_of_sectors,
          power_cut__keeps_any_subset_of_sectors_of_zeros, power_cut__keeps_any_subset_of_pages,
          power_cut__keeps_any_first_part, power_cut__keeps_any_last_part,
          power_cut__while_a_torn_tail_is_cut, damage__any_bit_of_a_batch_in_the_middle_is_refused,
          damage__any_bit_of_the_last_batch_is_refused_and_not_cut,
          damage__any_bit_of_a_segment_header_is_refused,
          damage__bits_in_unused_space_are_wiped_and_said, damage__a_lost_batch_is_refused,
          damage__between_segments_is_refused, damage__of_a_foreign_segment_is_refused)
