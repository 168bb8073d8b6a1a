/* check_storage_crash.c - power cuts: afterwards the log is the old one or the new one, whichever
 * sectors reached the disk. Every change of a whole life: check_storage_life.c; damage:
 * check_storage_damage.c. */
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

UNIT_MAIN("storage_crash", power_cut__keeps_any_subset_of_sectors,
          power_cut__keeps_any_subset_of_sectors_of_zeros, power_cut__keeps_any_subset_of_pages,
          power_cut__keeps_any_first_part, power_cut__keeps_any_last_part,
          power_cut__while_a_torn_tail_is_cut)
