/* check_storage_base.c - a log that begins behind a snapshot: begun anew, compacted, and judged
 * against the snapshots that are there when it is opened. */
#include "test/unit/storage_base.h"

static struct story story;

static u64 first_of(struct storage *storage)
{
    struct storage_status status;
    storage_status(storage, &status);
    return status.first_index;
}

static enum error_code read_one(struct storage *storage, u64 index)
{
    struct span records;
    struct error error;
    u32 count;
    enum error_code code = storage_read(storage, index, 1, &count, &records, &error);
    span_release(&records);
    return code;
}

START_TEST(storage_reset__begins_the_log_anew)
{
    struct memory_vfs *memory = memory_create();
    struct storage *storage = begin_story(memory, &story);
    struct error error;
    must_append_large(storage, &story, 7, 1);
    must_snapshot(memory, 100, 4);
    ck_assert_int_eq(storage_reset(storage, (struct entry_id){4, 100}, &error), ERROR_NONE);
    ck_assert_uint_eq(first_of(storage), 101);
    ck_assert_int_eq(read_one(storage, 8), ERROR_MISSING);
    ck_assert_int_eq(read_one(storage, 100), ERROR_MISSING);
    story.count = 100;
    must_append_large(storage, &story, 5, 6);
    ck_assert_int_eq(read_one(storage, 101), ERROR_NONE);
    storage_close(storage);
    storage = must_open(memory);
    ck_assert_uint_eq(seen.recovery.base.index, 100);
    ck_assert_uint_eq(seen.recovery.base.term, 4);
    ck_assert_uint_eq(seen.recovery.last.index, 105);
    ck_assert_uint_eq(seen.recovery.commit_hint, 100);
    ck_assert_uint_eq(seen.recovery.metadata.acked_through.index, 0);
    check_entries(&story, "reset", 0);
    storage_close(storage);
    memory_destroy(memory);
}
END_TEST

/* While the thread that makes and removes segments is at work. */
static bool is_there(struct memory_vfs *memory, const char *path)
{
    pthread_mutex_lock(&memory->lock);
    bool there = memory_find(memory, path) >= 0;
    pthread_mutex_unlock(&memory->lock);
    return there;
}

START_TEST(storage_reset__removes_the_segments_before)
{
    struct memory_vfs *memory = memory_create();
    struct storage *storage = begin_story(memory, &story);
    struct error error;
    must_append_large(storage, &story, 10, 1);
    must_snapshot(memory, 50, 1);
    ck_assert_int_eq(storage_reset(storage, (struct entry_id){1, 50}, &error), ERROR_NONE);
    await_segments(storage, 2); /* the one in use and a spare */
    ck_assert(!is_there(memory, "log/00000000000000000001.seg"));
    storage_close(storage);
    storage_close(must_open(memory));
    ck_assert_uint_eq(seen.recovery.last.index, 50);
    memory_destroy(memory);
}
END_TEST

START_TEST(storage_compact__removes_whole_segments_only)
{
    struct memory_vfs *memory = memory_create();
    struct storage *storage = begin_story(memory, &story);
    must_append_large(storage, &story, 12, 1);
    for (u64 needed = 2; needed <= story.count; needed++) {
        must_snapshot(memory, needed - 1, 1);
        storage_compact(storage, needed);
        ck_assert_uint_le(first_of(storage), needed);
        ck_assert_int_eq(read_one(storage, needed), ERROR_NONE);
    }
    ck_assert_uint_gt(first_of(storage), 1);
    ck_assert_int_eq(read_one(storage, 1), ERROR_MISSING);
    await_segments(storage, 2);
    u64 first = first_of(storage);
    storage_close(storage);
    storage = must_open(memory);
    ck_assert_uint_eq(seen.recovery.last.index, story.count);
    ck_assert_uint_le(seen.recovery.base.index, first);
    check_entries(&story, "compacted", 0);
    ck_assert_int_eq(read_one(storage, story.count), ERROR_NONE);
    storage_close(storage);
    memory_destroy(memory);
}
END_TEST

START_TEST(storage_compact__of_everything_keeps_the_last_batch)
{
    struct memory_vfs *memory = memory_create();
    struct storage *storage = begin_story(memory, &story);
    must_append_large(storage, &story, 12, 1);
    must_snapshot(memory, story.count, 1);
    storage_compact(storage, story.count + 1);
    await_segments(storage, 2);
    ck_assert_uint_gt(first_of(storage), 8);
    ck_assert_int_eq(read_one(storage, 3), ERROR_MISSING);
    ck_assert_int_eq(read_one(storage, first_of(storage)), ERROR_NONE);
    storage_close(storage);
    storage_close(must_open(memory));
    ck_assert_uint_eq(seen.recovery.last.index, story.count);
    check_entries(&story, "compacted", 0);
    memory_destroy(memory);
}
END_TEST

/* The empty segment behind the last batch cannot be used, so the log is to go on in another one,
 * which does not exist yet: the last batch must stay all the same. */
START_TEST(storage_compact__while_the_log_leaves_its_segment)
{
    struct memory_vfs *memory = memory_create();
    struct storage *storage = begin_story(memory, &story);
    must_append_large(storage, &story, 1, 1);
    await_segments(storage, 2);
    storage_close(storage);
    must_snapshot(memory, story.count, 1);
    memory_content_of(memory, "log/00000000000000000002.seg")->data[3] ^= 1;
    storage = must_open(memory);
    await_segments(storage, 3);
    storage_compact(storage, story.count + 1);
    must_snapshot(memory, story.count + 1, 1); /* takes longer than removing would */
    struct storage_status status;
    storage_status(storage, &status);
    ck_assert_uint_eq(status.segments, 3);
    storage_close(storage);
    struct error error;
    ck_assert_int_eq(snapshot_remove(&memory->vfs, (struct entry_id){1, story.count + 1}, &error),
                     ERROR_NONE);
    storage = must_open(memory);
    ck_assert_uint_eq(seen.recovery.last.index, story.count);
    must_append_large(storage, &story, 4, 1);
    storage_compact(storage, story.count);
    await_segments(storage, 2);
    storage_close(storage);
    storage_close(must_open(memory));
    check_entries(&story, "went on", 0);
    memory_destroy(memory);
}
END_TEST

/* What cannot be removed now is removed later; the log goes on meanwhile. */
START_TEST(storage_compact__fails_and_is_tried_again)
{
    struct memory_vfs *memory = memory_create();
    struct storage *storage = begin_story(memory, &story);
    must_append_large(storage, &story, 6, 1);
    await_segments(storage, is_there(memory, "log/00000000000000000004.seg") ? 4 : 3);
    must_snapshot(memory, story.count, 1);
    memory_fault_after(memory, 1, MEMORY_FAIL_ONCE, ERROR_IO);
    storage_compact(storage, story.count);
    await_segments(storage, 2);
    ck_assert_ptr_nonnull(strstr(seen.lines, "cannot be removed now"));
    must_append_large(storage, &story, 3, 1);
    storage_close(storage);
    storage_close(must_open(memory));
    check_entries(&story, "compacted at last", 0);
    memory_destroy(memory);
}
END_TEST

/* ---- judged at the start ---- */

/* A closed directory with entries 1 .. `count` of term 2 (the first of term 1). */
static struct memory_vfs *directory_of(u64 count)
{
    struct memory_vfs *memory = memory_create();
    struct storage *storage = begin_story(memory, &story);
    must_append_large(storage, &story, count - 1, 2);
    storage_close(storage);
    return memory;
}

START_TEST(storage_open__the_log_holds_the_snapshots_last_entry)
{
    struct memory_vfs *memory = directory_of(12);
    must_snapshot(memory, 7, 2);
    storage_close(must_open(memory));
    ck_assert_uint_eq(seen.recovery.snapshot.last.index, 7);
    ck_assert_uint_eq(seen.taken.size, 3007);
    ck_assert_int_eq(seen.ends, 1);
    ck_assert_uint_eq(seen.recovery.base.index, 0);
    ck_assert_uint_eq(seen.recovery.last.index, 12);
    ck_assert_uint_eq(seen.recovery.commit_hint, 7); /* a snapshot is of what was committed */
    check_entries(&story, "kept", 0);
    memory_destroy(memory);
}
END_TEST

static const char newest_path[] = "snapshots/00000000000000000010-00000000000000000002.snap";

/* The server was killed when the snapshot had got its name, and before the directory was synced.
 * Once the log has been compacted for it, the name must survive a power cut. */
START_TEST(storage_open__a_snapshot_whose_name_was_not_synced)
{
    struct memory_vfs *memory = directory_of(12);
    must_snapshot(memory, 10, 2);
    memory->inodes[memory_find(memory, newest_path)].disk_name[0] = '\0';
    struct storage *storage = must_open(memory);
    ck_assert_uint_eq(seen.recovery.snapshot.last.index, 10);
    storage_compact(storage, 11);
    await_segments(storage, 2);
    storage_close(storage);
    struct memory_vfs *after = memory_crash(memory, NULL, NULL, false);
    storage_close(must_open(after));
    ck_assert_uint_eq(seen.recovery.snapshot.last.index, 10);
    ck_assert_uint_eq(seen.recovery.last.index, 12);
    ck_assert_uint_eq(seen.recovery.metadata.acked_through.index, 0);
    memory_destroy(after);
    memory_destroy(memory);
}
END_TEST

static void must_begin_anew(struct memory_vfs *memory, u64 index, u64 term)
{
    for (int start = 0; start < 2; start++) {
        storage_close(must_open(memory));
        ck_assert_uint_eq(seen.recovery.base.index, index);
        ck_assert_uint_eq(seen.recovery.base.term, term);
        ck_assert_uint_eq(seen.recovery.last.index, index);
        ck_assert(!seen.entries_came);
    }
    struct storage *storage = must_open(memory);
    story.count = index;
    must_append_large(storage, &story, 2, term + 1);
    storage_close(storage);
    storage_close(must_open(memory));
    ck_assert_uint_eq(seen.recovery.last.index, index + 2);
    check_entries(&story, "begun anew", 0);
}

START_TEST(storage_open__the_log_ends_before_the_snapshot)
{
    struct memory_vfs *memory = directory_of(5);
    must_snapshot(memory, 6, 2);
    must_begin_anew(memory, 6, 2);
    ck_assert_uint_eq(seen.recovery.metadata.acked_through.index, 0);
    memory_destroy(memory);
}
END_TEST

START_TEST(storage_open__the_log_has_another_entry_there)
{
    struct memory_vfs *memory = directory_of(8);
    must_snapshot(memory, 6, 3);
    must_begin_anew(memory, 6, 3);
    ck_assert_uint_eq(seen.recovery.metadata.acked_through.index, 0);
    memory_destroy(memory);
}
END_TEST

/* A directory with 12 entries, the first segments of which are gone. */
static struct memory_vfs *compacted_directory(void)
{
    struct memory_vfs *memory = memory_create();
    struct storage *storage = begin_story(memory, &story);
    must_append_large(storage, &story, 11, 2);
    must_snapshot(memory, 4, 2);
    must_snapshot(memory, 10, 2);
    storage_compact(storage, 11);
    await_segments(storage, 2);
    storage_close(storage);
    return memory;
}

static const char older_path[] = "snapshots/00000000000000000004-00000000000000000002.snap";

START_TEST(storage_open__the_log_begins_behind_every_snapshot)
{
    for (int left = 0; left < 2; left++) {
        struct memory_vfs *memory = compacted_directory();
        struct error error;
        ck_assert_int_eq(vfs_remove(&memory->vfs, newest_path, &error), ERROR_NONE);
        if (left == 0)
            ck_assert_int_eq(vfs_remove(&memory->vfs, older_path, &error), ERROR_NONE);
        must_begin_anew(memory, left == 0 ? 0 : 4, left == 0 ? 0 : 2);
        ck_assert_uint_eq(seen.recovery.metadata.acked_through.index, 12);
        ck_assert_uint_eq(seen.recovery.metadata.acked_through.term, 2);
        memory_destroy(memory);
    }
}
END_TEST

/* It is set aside, and the one before it is used. */
START_TEST(storage_open__the_newest_snapshot_is_damaged)
{
    struct memory_vfs *memory = directory_of(12);
    must_snapshot(memory, 4, 2);
    must_snapshot(memory, 10, 2);
    memory_content_of(memory, newest_path)->data[2000] ^= 1;
    storage_close(must_open(memory));
    ck_assert_uint_eq(seen.recovery.snapshot.last.index, 4);
    ck_assert_uint_eq(seen.taken.size, 3004);
    ck_assert_uint_eq(seen.recovery.last.index, 12);
    ck_assert_ptr_nonnull(strstr(seen.lines, newest_path));
    ck_assert_ptr_nonnull(strstr(seen.lines, "this snapshot is not used"));
    ck_assert_uint_eq(seen.recovery.metadata.acked_through.index, 0);
    check_entries(&story, "older snapshot", 0);
    storage_close(must_open(memory));
    ck_assert_ptr_null(strstr(seen.lines, "this snapshot is not used"));
    memory_destroy(memory);
}
END_TEST

START_TEST(storage_open__every_snapshot_is_damaged)
{
    struct memory_vfs *memory = directory_of(12);
    must_snapshot(memory, 4, 2);
    must_snapshot(memory, 10, 2);
    memory_content_of(memory, newest_path)->data[2000] ^= 1;
    memory_content_of(memory, older_path)->data[100] ^= 1;
    storage_close(must_open(memory));
    ck_assert(seen.forgotten);
    ck_assert_uint_eq(seen.recovery.snapshot.last.index, 0);
    ck_assert_uint_eq(seen.recovery.last.index, 12);
    check_entries(&story, "the log alone", 0);
    memory_destroy(memory);
    /* The same where the log alone is not enough. */
    memory = compacted_directory();
    memory_content_of(memory, newest_path)->data[2000] ^= 1;
    memory_content_of(memory, older_path)->data[100] ^= 1;
    must_begin_anew(memory, 0, 0);
    ck_assert_uint_eq(seen.recovery.metadata.acked_through.index, 12);
    memory_destroy(memory);
}
END_TEST

START_TEST(storage_open__the_machine_refuses_the_snapshot)
{
    struct memory_vfs *memory = directory_of(12);
    must_snapshot(memory, 4, 2);
    seen.refuse_end = true;
    storage_close(must_open(memory));
    seen.refuse_end = false;
    ck_assert(seen.forgotten);
    ck_assert_uint_eq(seen.recovery.snapshot.last.index, 0);
    ck_assert_ptr_nonnull(strstr(seen.lines, "the machine cannot be made from it"));
    memory_destroy(memory);
}
END_TEST

START_TEST(storage_open__removes_unfinished_snapshots)
{
    struct memory_vfs *memory = directory_of(3);
    sample_file(memory, "snapshots/new.tmp", "half", 4);
    sample_file(memory, "snapshots/received.tmp", "half", 4);
    storage_close(must_open(memory));
    ck_assert_int_lt(memory_find(memory, "snapshots/new.tmp"), 0);
    ck_assert_int_lt(memory_find(memory, "snapshots/received.tmp"), 0);
    memory_destroy(memory);
}
END_TEST

UNIT_MAIN("storage_base", storage_reset__begins_the_log_anew,
          storage_reset__removes_the_segments_before, storage_compact__removes_whole_segments_only,
          storage_compact__of_everything_keeps_the_last_batch,
          storage_compact__while_the_log_leaves_its_segment,
          storage_compact__fails_and_is_tried_again,
          storage_open__the_log_holds_the_snapshots_last_entry,
          storage_open__a_snapshot_whose_name_was_not_synced,
          storage_open__the_log_ends_before_the_snapshot,
          storage_open__the_log_has_another_entry_there,
          storage_open__the_log_begins_behind_every_snapshot,
          storage_open__the_newest_snapshot_is_damaged, storage_open__every_snapshot_is_damaged,
          storage_open__the_machine_refuses_the_snapshot,
          storage_open__removes_unfinished_snapshots)
