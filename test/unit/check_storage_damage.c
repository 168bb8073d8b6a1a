/* check_storage_damage.c - a log of which something is not what was written: what is left is a true
 * beginning, what was promised stands, and the log goes on. */
#include "server/storage/inside.h"
#include "test/unit/storage_story.h"

static struct story before; /* what was synced */

static const char first_path[] = "log/00000000000000000001.seg";
static const char second_path[] = "log/00000000000000000002.seg";

static struct entry_id last_of(const struct story *story)
{
    return (struct entry_id){story->entries[story->count].term, story->count};
}

static void check_beginning(const struct story *part, const struct story *whole, const char *what,
                            u64 where)
{
    ck_assert_msg(part->count <= whole->count, "%s %llu: more than there was", what,
                  (unsigned long long)where);
    for (u64 i = 1; i <= part->count; i++)
        ck_assert_msg(part->entries[i].term == whole->entries[i].term &&
                          part->entries[i].tag == whole->entries[i].tag,
                      "%s %llu: entry %llu is another", what, (unsigned long long)where,
                      (unsigned long long)i);
}

static struct storage *open_image(struct memory_vfs *image, struct storage_recovery *recovery,
                                  struct error *error)
{
    struct storage *storage = NULL;
    struct report report = story_report(found_lines);
    image->locked = false;
    found = (struct story){0};
    found_lines[0] = '\0';
    struct error ignored;
    enum error_code code = story_open(&image->vfs, SMALL_SEGMENT, &report, &found, recovery,
                                      &storage, error != NULL ? error : &ignored);
    ck_assert_msg(error != NULL || code == ERROR_NONE, "%s", ignored.text);
    return storage;
}

/* Opens, looks, closes. */
static struct storage_recovery look(struct memory_vfs *image, const char *what, u64 where)
{
    struct storage_recovery recovery;
    storage_close(open_image(image, &recovery, NULL));
    ck_assert_uint_eq(recovery.base.index, 0);
    ck_assert_uint_eq(recovery.last.index, found.count);
    check_beginning(&found, &before, what, where);
    if (found.count < before.count)
        ck_assert_msg(entry_id_is_up_to_date(recovery.metadata.acked_through, last_of(&before)),
                      "%s %llu: promised %llu of term %llu", what, (unsigned long long)where,
                      (unsigned long long)recovery.metadata.acked_through.index,
                      (unsigned long long)recovery.metadata.acked_through.term);
    return recovery;
}

/* The image is safe to use, again and again, and when the leader has sent what is missing it is as
 * good as new. Returns how many entries were left. */
static u64 must_be_safe(struct memory_vfs *image, const char *what, u64 where)
{
    struct storage_recovery first = look(image, what, where);
    u64 left = found.count;
    struct storage_recovery again = look(image, what, where);
    ck_assert_uint_eq(found.count, left);
    /* To keep an entry when the log is cut is not to say that it is committed. */
    ck_assert_uint_le(first.commit_hint, story_committed);
    ck_assert_uint_le(again.commit_hint, story_committed);
    ck_assert_uint_eq(again.metadata.acked_through.index, first.metadata.acked_through.index);
    if (left == before.count || left == 0)
        return left;
    struct storage_recovery recovery;
    struct error error;
    struct storage *storage = open_image(image, &recovery, NULL);
    struct story repaired = found;
    repaired.next_tag = 1000;
    ck_assert_int_eq(story_append(storage, &repaired, left + 1, 3, 7, 50, &error), ERROR_NONE);
    ck_assert_int_eq(storage_save_acked_through(storage, (struct entry_id){0, 0}, &error),
                     ERROR_NONE);
    storage_close(storage);
    storage = open_image(image, &recovery, NULL);
    ck_assert_uint_eq(found.count, left + 3);
    check_beginning(&found, &repaired, what, where);
    ck_assert_uint_eq(recovery.metadata.acked_through.index, 0);
    storage_close(storage);
    return left;
}

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
    ck_assert_int_eq(storage_save_metadata(storage, 3, 0, &error), ERROR_NONE);
    for (u64 i = 0; i < 3; i++) {
        ck_assert_int_eq(story_append(storage, &before, before.count + 1, 2, 1, 60, &error),
                         ERROR_NONE);
        offsets[i] = memory->last_offset;
        offsets[i + 1] = memory->last_offset + memory->last_size;
    }
    storage_close(storage);
    return memory;
}

static u8 *bytes_of(struct memory_vfs *image, const char *path)
{
    return memory_content_of(image, path)->data;
}

/* Flips one bit in each byte of the batch; with what is left before it. */
static void every_byte_of_batch(int number)
{
    u64 offsets[4];
    struct memory_vfs *memory = three_batches(offsets);
    for (u64 at = offsets[number]; at < offsets[number + 1]; at++) {
        struct memory_vfs *image = memory_copy(memory);
        bytes_of(image, first_path)[at] ^= (u8)(1u << at % 8);
        u64 left = must_be_safe(image, "byte", at);
        /* Header or trailer survives, so all before it does. */
        ck_assert_uint_eq(left, 1 + 2 * (u64)number);
        memory_destroy(image);
    }
    memory_destroy(memory);
}

START_TEST(damage__of_any_byte_of_a_batch_leaves_what_is_before)
{
    for (int number = 0; number < 3; number++)
        every_byte_of_batch(number);
}
END_TEST

START_TEST(damage__of_header_and_trailer_leaves_what_was_committed)
{
    for (int number = 0; number < 3; number++) {
        u64 offsets[4];
        struct memory_vfs *memory = three_batches(offsets);
        u8 *data = bytes_of(memory, first_path);
        data[offsets[number] + 30] ^= 1;
        data[offsets[number + 1] - 30] ^= 1;
        /* The hints say that entry 1 is committed. */
        ck_assert_uint_eq(must_be_safe(memory, "both ends of batch", (u64)number), 1);
        memory_destroy(memory);
    }
}
END_TEST

/* Batch 3 replaces batch 2 wholly, with fewer entries, and batch 4 goes on behind it. Whatever
 * befalls batch 2, the log is whole, and is what it was. */
START_TEST(damage__of_a_batch_that_was_replaced)
{
    u64 offsets[4];
    struct error error;
    struct memory_vfs *memory = three_batches(offsets);
    struct report report = story_report(NULL);
    struct storage *storage = story_reopen(memory, SMALL_SEGMENT, &report, &before);
    u64 first = before.count - 1;
    ck_assert_int_eq(story_append(storage, &before, first, 1, 2, 60, &error), ERROR_NONE);
    ck_assert_int_eq(story_append(storage, &before, first + 1, 2, 2, 60, &error), ERROR_NONE);
    storage_close(storage);
    for (u64 at = offsets[2]; at < offsets[3]; at++) {
        struct memory_vfs *image = memory_copy(memory);
        bytes_of(image, first_path)[at] ^= (u8)(1u << at % 8);
        ck_assert_uint_eq(must_be_safe(image, "replaced byte", at), before.count);
        memory_destroy(image);
    }
    memory_destroy(memory);
}
END_TEST

START_TEST(damage__of_two_batches)
{
    u64 offsets[4];
    for (int first = 0; first < 3; first++) {
        for (int second = first + 1; second < 3; second++) {
            struct memory_vfs *memory = three_batches(offsets);
            u8 *data = bytes_of(memory, first_path);
            data[offsets[first] + 80] ^= 1;
            data[offsets[second] + 80] ^= 1;
            ck_assert_uint_eq(must_be_safe(memory, "two batches", (u64)first), 1 + 2 * (u64)first);
            memory_destroy(memory);
        }
    }
}
END_TEST

START_TEST(damage__a_batch_of_zeros_in_the_middle_is_lost_not_torn)
{
    u64 offsets[4];
    struct memory_vfs *memory = three_batches(offsets);
    memset(bytes_of(memory, first_path) + offsets[1], 0, offsets[2] - offsets[1]);
    ck_assert_uint_eq(must_be_safe(memory, "zeros", 0), 1);
    memory_destroy(memory);
}
END_TEST

/* The batch before the torn one reads as zeros: only the torn one tells that there was any. The
 * power fails at each change of the start that finds that out, and the promise is not forgotten. */
START_TEST(damage__before_a_torn_tail_survives_power_cuts)
{
    u64 offsets[4];
    bool ended = false;
    struct memory_vfs *memory = three_batches(offsets);
    u8 *data = bytes_of(memory, first_path);
    memset(data + offsets[1], 0, offsets[2] - offsets[1]);
    memset(data + offsets[3] - 32, 0, 32); /* of the trailer */
    before.count = 5;                      /* nothing was promised for the torn one */
    for (u64 nth = 1; !ended; nth++) {
        struct memory_vfs *image = memory_copy(memory);
        struct storage_recovery recovery;
        struct error error;
        memory_fault_after(image, nth, MEMORY_POWER_CUT, ERROR_IO);
        struct storage *storage = open_image(image, &recovery, &error);
        ended = storage != NULL;
        if (ended)
            storage_close(storage);
        struct memory_vfs *after = memory_crash(image, memory_keep_all, NULL, true);
        ck_assert_uint_eq(must_be_safe(after, "power cut", nth), 1);
        memory_destroy(after);
        memory_destroy(image);
    }
    memory_destroy(memory);
}
END_TEST

/* A second damage, behind the first, after the log had been cut because of that: nothing changes.
 * In front of it: more is lost. */
START_TEST(damage__that_grows)
{
    for (int second = 0; second < 3; second += 2) {
        u64 offsets[4];
        struct memory_vfs *memory = three_batches(offsets);
        u8 *data = bytes_of(memory, first_path);
        data[offsets[1] + 80] ^= 1;
        (void)look(memory, "first damage", 1);
        ck_assert_uint_eq(found.count, 3);
        bytes_of(memory, first_path)[offsets[second] + 80] ^= 1;
        (void)look(memory, "second damage", (u64)second);
        ck_assert_uint_eq(found.count, second == 0 ? 1 : 3);
        must_be_safe(memory, "second damage", (u64)second);
        memory_destroy(memory);
    }
}
END_TEST

START_TEST(damage__of_any_byte_of_a_segment_header)
{
    u64 offsets[4];
    struct memory_vfs *memory = three_batches(offsets);
    for (u64 at = 0; at < 44; at++) {
        struct memory_vfs *image = memory_copy(memory);
        bytes_of(image, first_path)[at] ^= 2;
        struct storage_recovery recovery = look(image, "segment header", at);
        /* Nothing of it is left, not even the knowledge of how much there was. */
        ck_assert_uint_eq(found.count, 0);
        ck_assert_uint_eq(recovery.metadata.acked_through.term, 3);
        ck_assert_uint_gt(recovery.metadata.acked_through.index, 1ULL << 60);
        memory_destroy(image);
        /* The one that was never used is just not used. */
        image = memory_copy(memory);
        bytes_of(image, second_path)[at] ^= 2;
        ck_assert_uint_eq(must_be_safe(image, "spare header", at), before.count);
        struct error error;
        struct storage *storage = open_image(image, &recovery, NULL);
        struct story more = found;
        more.next_tag = 500;
        for (int i = 0; i < 30; i++)
            ck_assert_int_eq(story_append(storage, &more, more.count + 1, 1, 1, 900, &error),
                             ERROR_NONE);
        storage_close(storage);
        storage_close(open_image(image, &recovery, NULL));
        ck_assert_uint_eq(found.count, more.count);
        memory_destroy(image);
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
        bytes_of(image, first_path)[at] ^= 4;
        struct storage_recovery recovery = look(image, "unused", at);
        ck_assert_uint_eq(found.count, before.count);
        ck_assert_uint_gt(recovery.torn_bytes, 0);
        ck_assert_ptr_nonnull(strstr(found_lines, first_path));
        ck_assert_uint_eq(bytes_of(image, first_path)[at], 0);
        memory_destroy(image);
    }
    memory_destroy(memory);
}
END_TEST

/* Many batches of one size, and shorter ones behind them: a trailer may be found where a header is
 * looked for. Whatever range of bytes is lost, the batches behind it are not lost sight of. */
START_TEST(damage__of_any_range_of_bytes)
{
    static const u64 sizes[] = {64, 130, 200, 340, 900};
    u64 offsets[4];
    struct error error;
    struct memory_vfs *memory = three_batches(offsets);
    struct report report = story_report(NULL);
    struct storage *storage = story_reopen(memory, SMALL_SEGMENT, &report, &before);
    for (int i = 0; i < 6; i++)
        ck_assert_int_eq(story_append(storage, &before, before.count + 1, 1, 2, 60, &error),
                         ERROR_NONE);
    ck_assert_int_eq(story_append(storage, &before, before.count + 1, 1, 2, 8, &error), ERROR_NONE);
    u64 end = memory->last_offset + memory->last_size;
    storage_close(storage);
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        for (u64 from = offsets[0]; from + sizes[i] <= end + 64; from += 24) {
            struct memory_vfs *image = memory_copy(memory);
            for (u64 at = from; at < u64_min(end, from + sizes[i]); at++)
                bytes_of(image, first_path)[at] = (u8)(at * 37 | 1);
            (void)must_be_safe(image, "range", from);
            memory_destroy(image);
        }
    }
    memory_destroy(memory);
}
END_TEST

/* Each page of each segment in turn cannot be read, nor written in part. Returns with how many of
 * them nothing was lost. */
static u64 every_page_of(struct memory_vfs *memory)
{
    u64 whole = 0;
    char path[SEGMENT_PATH_SIZE];
    for (u64 id = 1; segment_path(id, path), memory_find(memory, path) >= 0; id++) {
        for (u64 page = 0; page < memory_content_of(memory, path)->size; page += 4096) {
            struct memory_vfs *image = memory_copy(memory);
            memory_make_bad(image, path, page, 4096);
            struct storage_recovery recovery;
            storage_close(open_image(image, &recovery, NULL));
            ck_assert_ptr_nonnull(strstr(found_lines, path));
            ck_assert_ptr_nonnull(strstr(found_lines, "cannot be read"));
            whole += must_be_safe(image, path, page) == before.count;
            memory_destroy(image);
        }
    }
    memory_destroy(memory);
    return whole;
}

START_TEST(damage__pages_that_cannot_be_read)
{
    u64 offsets[4];
    (void)every_page_of(story_several_segments(&before));
    /* The blank ones, and the header of the segment that was never used. */
    ck_assert_uint_ge(every_page_of(three_batches(offsets)), 5);
}
END_TEST

/* Nothing was in it, so nothing is lost; but nothing is written there, either. */
START_TEST(damage__a_blank_page_that_cannot_be_read_is_left)
{
    u64 offsets[4];
    struct memory_vfs *memory = three_batches(offsets);
    struct storage_recovery recovery;
    struct error error;
    memory_make_bad(memory, first_path, 8192, 4096);
    struct storage *storage = open_image(memory, &recovery, NULL);
    ck_assert_uint_eq(found.count, before.count);
    ck_assert_uint_eq(recovery.metadata.acked_through.index, 0);
    struct story more = found;
    more.next_tag = 500;
    for (int i = 0; i < 30; i++)
        ck_assert_int_eq(story_append(storage, &more, more.count + 1, 1, 1, 900, &error),
                         ERROR_NONE);
    storage_close(storage);
    storage_close(open_image(memory, &recovery, NULL));
    ck_assert_uint_eq(found.count, more.count);
    memory_destroy(memory);
}
END_TEST

START_TEST(damage__between_segments)
{
    struct memory_vfs *memory = story_several_segments(&before);
    struct error error;
    struct memory_vfs *image = memory_copy(memory);
    ck_assert_int_eq(vfs_remove(&image->vfs, second_path, &error), ERROR_NONE);
    must_be_safe(image, "segment 2 is missing", 2);
    memory_destroy(image);

    image = memory_copy(memory);
    ck_assert_int_eq(vfs_remove(&image->vfs, first_path, &error), ERROR_NONE);
    ck_assert_uint_eq(must_be_safe(image, "segment 1 is missing", 1), 0);
    memory_destroy(image);

    image = memory_copy(memory);
    struct memory_content *content = memory_content_of(image, second_path);
    content_resize(content, content->size - 100);
    must_be_safe(image, "segment 2 is cut", 2);
    memory_destroy(image);

    /* The last batch of a segment lost: torn by itself, but more follows. */
    image = memory_copy(memory);
    content = memory_content_of(image, second_path);
    memset(content->data + SEGMENT_HEADER_SIZE + 4000, 0,
           content->size - SEGMENT_HEADER_SIZE - 4000);
    must_be_safe(image, "the end of segment 2 is blank", 2);
    memory_destroy(image);

    image = memory_copy(memory);
    content_copy(memory_content_of(image, "log/00000000000000000003.seg"),
                 memory_content_of(image, second_path));
    must_be_safe(image, "segment 3 is segment 2", 3);
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
    struct storage_recovery recovery;
    error_clear(&error);
    ck_assert_ptr_null(open_image(memory, &recovery, &error));
    ck_assert_int_eq(error.code, ERROR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(error.text, "directory"));
    memory_destroy(other);
    memory_destroy(memory);
}
END_TEST

static bool keep_some(void *context, const char *name, u64 offset)
{
    const u64 *chosen = context;
    (void)name;
    return (*chosen >> (offset / 512 % 16) & 1) != 0;
}

/* The power goes while the log is being cut, at each change: nothing promised is ever forgotten. */
START_TEST(damage__power_cut_while_it_is_cut)
{
    u64 offsets[4];
    struct memory_vfs *memory = three_batches(offsets);
    bytes_of(memory, first_path)[offsets[1] + 80] ^= 1;
    for (u64 nth = 1; nth < 60; nth++) {
        struct memory_vfs *image = memory_copy(memory);
        image->locked = false;
        memory_fault_after(image, nth, MEMORY_POWER_CUT, ERROR_IO);
        struct storage_recovery recovery;
        struct error error;
        struct storage *storage = open_image(image, &recovery, &error);
        storage_close(storage);
        for (u64 chosen = 0; chosen < 0x10000; chosen += 0x5555) {
            struct memory_vfs *after = memory_crash(image, keep_some, &chosen, true);
            must_be_safe(after, "power cut at change", nth);
            memory_destroy(after);
        }
        memory_destroy(image);
    }
    memory_destroy(memory);
}
END_TEST

static bool keep_none(void *context, const char *name, u64 offset)
{
    (void)context, (void)name, (void)offset;
    return false;
}

/* The last batch is in the page cache alone, in a segment of its own, and is damaged there. The log
 * is cut because of it and goes on; then the power fails. Nothing that was synced is given up for
 * the hole that is left where it was. */
START_TEST(damage__of_what_was_never_synced_stays_the_same_damage)
{
    u64 offsets[4];
    struct error error;
    struct memory_vfs *memory = three_batches(offsets);
    struct report report = story_report(NULL);
    struct storage *storage = story_reopen(memory, SMALL_SEGMENT, &report, &before);
    while (bytes_are_zero(bytes_of(memory, first_path) + SMALL_SEGMENT - 4000, 1000))
        ck_assert_int_eq(story_append(storage, &before, before.count + 1, 1, 1, 900, &error),
                         ERROR_NONE);
    static struct story lost;
    lost = before;
    ck_assert_int_eq(story_append(storage, &lost, lost.count + 1, 5, 2, 900, &error), ERROR_NONE);
    storage_close(storage);
    struct memory_inode *second = &memory->inodes[memory_find(memory, second_path)];
    ck_assert_uint_ne(second->now.data[SEGMENT_HEADER_SIZE], 0);
    memset(second->disk.data + SEGMENT_HEADER_SIZE, 0, second->disk.size - SEGMENT_HEADER_SIZE);
    second->now.data[SEGMENT_HEADER_SIZE + 200] ^= 1;

    struct storage_recovery recovery;
    storage = open_image(memory, &recovery, NULL);
    ck_assert_uint_ge(found.count, before.count);
    ck_assert_uint_lt(found.count, lost.count);
    ck_assert_uint_eq(recovery.metadata.acked_through.index, lost.count);
    before = found;
    before.next_tag = 1000;
    ck_assert_int_eq(story_append(storage, &before, before.count + 1, 5, 3, 60, &error),
                     ERROR_NONE);
    storage_close(storage);
    struct memory_vfs *after = memory_crash(memory, keep_none, NULL, true);
    storage_close(story_reopen(after, SMALL_SEGMENT, &report, &before));
    memory_destroy(after);
    memory_destroy(memory);
}
END_TEST

UNIT_MAIN("storage_damage", damage__of_any_byte_of_a_batch_leaves_what_is_before,
          damage__of_header_and_trailer_leaves_what_was_committed,
          damage__of_a_batch_that_was_replaced, damage__of_two_batches,
          damage__a_batch_of_zeros_in_the_middle_is_lost_not_torn,
          damage__before_a_torn_tail_survives_power_cuts, damage__that_grows,
          damage__of_any_byte_of_a_segment_header, damage__bits_in_unused_space_are_wiped_and_said,
          damage__of_any_range_of_bytes, damage__pages_that_cannot_be_read,
          damage__a_blank_page_that_cannot_be_read_is_left, damage__between_segments,
          damage__of_a_foreign_segment_is_refused,
          damage__of_what_was_never_synced_stays_the_same_damage, damage__power_cut_while_it_is_cut)
