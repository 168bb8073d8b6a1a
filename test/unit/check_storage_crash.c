/* check_storage_crash.c - power cuts, failing disks and damage: after a power cut the log is the
 * old one or the new one, whichever sectors reached the disk; damage to what was synced is refused,
 * with file and offset, and never cut. */
#include "test/unit/storage_story.h"

#include "server/storage/segment.h"

static struct story before, after, found;
static char lines[4096];

/* Opens a directory as it is found, and tells how that went. */
static enum error_code open_found(struct memory_vfs *memory, u64 segment_bytes,
                                  struct storage **storage, struct storage_recovery *recovery,
                                  struct error *error)
{
    static struct report report;
    lines[0] = '\0';
    report = story_report(lines);
    return story_open(&memory->vfs, segment_bytes, &report, &found, recovery, storage, error);
}

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
    ck_assert_int_eq(recovery.torn_bytes > 0, strstr(lines, "torn tail") != NULL);
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
        ck_assert_ptr_nonnull(strstr(lines, first_path));
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

/* A directory whose log has several segments. */
static struct memory_vfs *several_segments(void)
{
    struct memory_vfs *memory = memory_create();
    struct error error;
    ck_assert_int_eq(story_init(&memory->vfs, SMALL_SEGMENT, &before, &error), ERROR_NONE);
    struct report report = story_report(NULL);
    struct storage *storage = story_reopen(memory, SMALL_SEGMENT, &report, &before);
    for (int i = 0; i < 12; i++)
        ck_assert_int_eq(story_append(storage, &before, before.count + 1, 1, 1, 4000, &error),
                         ERROR_NONE);
    storage_close(storage);
    return memory;
}

START_TEST(damage__between_segments_is_refused)
{
    struct memory_vfs *memory = several_segments();
    struct error error;
    struct memory_vfs *image = memory_copy(memory);
    ck_assert_int_eq(vfs_remove(&image->vfs, "log/00000000000000000002.seg", &error), ERROR_NONE);
    must_say(image, ERROR_CORRUPT, "log/00000000000000000002.seg", "missing");
    memory_destroy(image);

    image = memory_copy(memory);
    ck_assert_int_eq(vfs_remove(&image->vfs, "log/00000000000000000001.seg", &error), ERROR_NONE);
    must_say(image, ERROR_CORRUPT, "log/00000000000000000002.seg: offset 4096", "entry");
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
    struct memory_vfs *memory = several_segments(), *other = memory_create();
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

/* ---- every change of a whole life ---- */

/* What a life has been promised, and what it had under way when it ended. */
struct life {
    struct story acked, wanted;
    u64 first;  /* of the append under way */
    bool whole; /* one batch: all of it or nothing */
    u64 term_acked, term_wanted;
};
static struct life life;

static bool live_append(struct storage *storage, u64 first, u32 count, u32 size, bool whole)
{
    struct error error;
    life.first = first;
    life.whole = whole;
    if (story_append(storage, &life.wanted, first, count, life.term_acked, size, &error) !=
        ERROR_NONE)
        return false;
    life.acked = life.wanted;
    return true;
}

static bool live_save(struct storage *storage, u64 term)
{
    struct error error;
    life.term_wanted = term;
    if (storage_save_metadata(storage, term, 1, &error) != ERROR_NONE)
        return false;
    life.term_acked = term;
    return true;
}

/* Appends, truncates, votes, crosses segments, restarts. Returns whether all went well. */
static bool live(struct memory_vfs *memory)
{
    for (int start = 0; start < 2; start++) {
        struct storage *storage;
        struct storage_recovery recovery;
        struct error error;
        memory->locked = false;
        if (open_found(memory, SMALL_SEGMENT, &storage, &recovery, &error) != ERROR_NONE)
            return false;
        u64 last = life.acked.count;
        bool well = live_save(storage, life.term_acked + 1) &&
                    live_append(storage, last + 1, 3, 500, true) &&
                    live_append(storage, last + 2, 1, 1200, true) &&
                    live_save(storage, life.term_acked + 1) &&
                    live_append(storage, last + 3, 9, 2500, false) &&
                    live_append(storage, last + 4, 2, 300, true);
        storage_close(storage);
        if (!well)
            return false;
    }
    return true;
}

static void begin_life(struct memory_vfs *memory)
{
    struct error error;
    memset(&life, 0, sizeof(life));
    ck_assert_int_eq(story_init(&memory->vfs, SMALL_SEGMENT, &life.acked, &error), ERROR_NONE);
    life.wanted = life.acked;
    life.term_acked = life.term_wanted = 1;
}

/* What is found must be what was promised, or what was under way. */
static void must_keep_promises(struct memory_vfs *image, u64 nth)
{
    struct storage *storage;
    struct storage_recovery recovery;
    struct error error = {0};
    enum error_code code = open_found(image, SMALL_SEGMENT, &storage, &recovery, &error);
    ck_assert_msg(code == ERROR_NONE, "change %llu: %s", (unsigned long long)nth, error.text);
    bool old = story_same(&found, &life.acked);
    bool new = story_same(&found, &life.wanted);
    bool part = !life.whole && found.count >= life.first &&
                story_same_prefix(&found, &life.wanted, found.count);
    ck_assert_msg(old || new || part, "change %llu: a mixture", (unsigned long long)nth);
    ck_assert(recovery.metadata.current_term == life.term_acked ||
              recovery.metadata.current_term == life.term_wanted);
    ck_assert_uint_eq(recovery.metadata.directory_id, story_identity.directory_id);
    storage_close(storage);
}

static bool keep_some(void *context, const char *name, u64 offset)
{
    u64 *seed = context;
    (void)name, (void)offset;
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return *seed >> 63 != 0;
}

START_TEST(life__power_cut_at_every_change)
{
    bool ended = false;
    for (u64 nth = 1; !ended; nth++) {
        struct memory_vfs *memory = memory_create();
        begin_life(memory);
        memory_fault_after(memory, nth, MEMORY_POWER_CUT, ERROR_IO);
        ended = live(memory);
        for (u64 way = 0; way < 10; way++) {
            u64 seed = nth * 1000 + way;
            memory_keep *keep = way / 2 == 0 ? NULL : way / 2 == 1 ? memory_keep_all : keep_some;
            struct memory_vfs *image = memory_crash(memory, keep, &seed, way % 2 == 0);
            must_keep_promises(image, nth);
            memory_destroy(image);
        }
        memory_destroy(memory);
        ck_assert_uint_lt(nth, 1000);
    }
}
END_TEST

static void fail_every_change(enum memory_fault fault, enum error_code fault_code)
{
    bool ended = false;
    for (u64 nth = 1; !ended; nth++) {
        struct memory_vfs *memory = memory_create();
        begin_life(memory);
        memory_fault_after(memory, nth, fault, fault_code);
        bool well = live(memory);
        ended = memory->changes < memory->fault_at + 20 && well;
        /* The process ends and starts again; nothing was lost but what it could not write. */
        struct memory_vfs *image = memory_copy(memory);
        must_keep_promises(image, nth);
        memory_destroy(image);
        memory_destroy(memory);
        if (nth > 200)
            break;
    }
}

START_TEST(life__every_change_fails_once)
{
    fail_every_change(MEMORY_FAIL_ONCE, ERROR_IO);
    fail_every_change(MEMORY_FAIL_ONCE, ERROR_NO_SPACE);
}
END_TEST

START_TEST(life__every_change_fails_from_one_on)
{
    fail_every_change(MEMORY_FAIL_ON, ERROR_IO);
}
END_TEST

START_TEST(init__cut_short_anywhere_is_refused_or_whole)
{
    bool ended = false;
    for (u64 nth = 1; !ended; nth++) {
        for (u64 way = 0; way < 12; way++) {
            struct memory_vfs *memory = memory_create();
            struct error error;
            memory_fault_after(memory, nth, way < 10 ? MEMORY_POWER_CUT : MEMORY_FAIL_ONCE,
                               ERROR_IO);
            ended = story_init(&memory->vfs, SMALL_SEGMENT, &before, &error) == ERROR_NONE;
            u64 seed = nth * 1000 + way;
            memory_keep *keep = way / 2 == 0 ? NULL : way / 2 == 1 ? memory_keep_all : keep_some;
            struct memory_vfs *image =
                way < 10 ? memory_crash(memory, keep, &seed, way % 2 == 0) : memory_copy(memory);
            struct storage *storage;
            struct storage_recovery recovery;
            enum error_code code = open_found(image, SMALL_SEGMENT, &storage, &recovery, &error);
            if (code == ERROR_MISSING && !ended) {
                enum error_code again = story_init(&image->vfs, SMALL_SEGMENT, &before, &error);
                ck_assert_msg(again == ERROR_NONE, "change %llu: %s", (unsigned long long)nth,
                              error.text);
                code = open_found(image, SMALL_SEGMENT, &storage, &recovery, &error);
            }
            ck_assert_msg(code == ERROR_NONE, "change %llu: %s", (unsigned long long)nth,
                          error.text);
            ck_assert(story_same(&found, &before));
            storage_close(storage);
            memory_destroy(image);
            memory_destroy(memory);
        }
    }
}
END_TEST

UNIT_MAIN("storage_crash", power_cut__keeps_any_subset_of_sectors,
          power_cut__keeps_any_subset_of_sectors_of_zeros, power_cut__keeps_any_subset_of_pages,
          power_cut__keeps_any_first_part, power_cut__keeps_any_last_part,
          power_cut__while_a_torn_tail_is_cut, damage__any_bit_of_a_batch_in_the_middle_is_refused,
          damage__any_bit_of_the_last_batch_is_refused_and_not_cut,
          damage__any_bit_of_a_segment_header_is_refused,
          damage__bits_in_unused_space_are_wiped_and_said, damage__a_lost_batch_is_refused,
          damage__between_segments_is_refused, damage__of_a_foreign_segment_is_refused,
          life__power_cut_at_every_change, life__every_change_fails_once,
          life__every_change_fails_from_one_on, init__cut_short_anywhere_is_refused_or_whole)
