/* check_storage_restore.c - a new cluster from an old one's snapshot: what its directory holds,
 * what is refused, and what a fault or a power cut leaves at any step. */
#include "server/storage/metadata.h"
#include "test/unit/faulty_vfs.h"
#include "test/unit/snapshot_unit.h"

static const char sample_path[] = "snapshots/00000000000000000040-00000000000000000003.snap";

enum { STATE_SIZE = 3000, SEED = 77, NEW_INCARNATION = 0x1234567 };

/* The old cluster's directory, with the sample. */
static struct memory_vfs *old_cluster(struct snapshot_info *info)
{
    struct memory_vfs *memory = memory_create();
    struct error error;
    ck_assert_int_eq(sample_write(&memory->vfs, sample_id, STATE_SIZE, 1000, info, &error),
                     ERROR_NONE);
    return memory;
}

static struct configuration new_configuration(void)
{
    struct configuration configuration = {.incarnation = NEW_INCARNATION,
                                          .feature = FEATURE_NEWEST};
    struct error error;
    for (server_id id = 7; id <= 8; id++)
        ck_assert_int_eq(configuration_add(&configuration, id, "new:1", "new:2", &error),
                         ERROR_NONE);
    return configuration;
}

static enum error_code restore_as(struct vfs *vfs, server_id self, struct vfs *from,
                                  const struct snapshot_info *info, struct error *error)
{
    struct storage_options options = {.segment_bytes = SMALL_SEGMENT};
    struct metadata identity = {
        .cluster_id = "new", .self = self, .directory_id = 100 + self, .seed_crc = SEED};
    struct configuration configuration = new_configuration();
    return storage_restore(vfs, &options, &identity, &configuration, from, sample_path, info,
                           error);
}

/* ---- opening what was made ---- */

struct opened {
    struct sample_taker taken;
    int ends;
    u64 entries;
};

static bool opened_head(void *context, const struct snapshot_head *head)
{
    struct opened *opened = context;
    return sample_take_head(&opened->taken, head);
}

static bool opened_piece(void *context, const u8 *data, size_t size)
{
    struct opened *opened = context;
    return sample_take_piece(&opened->taken, data, size);
}

static bool opened_end(void *context)
{
    struct opened *opened = context;
    opened->ends++;
    return true;
}

static void opened_none(void *context)
{
    (void)context;
}

static void opened_entry(void *context, const struct entry *entry, const u8 *record, u32 size)
{
    struct opened *opened = context;
    (void)entry, (void)record, (void)size;
    opened->entries++;
}

static enum error_code open_it(struct memory_vfs *memory, struct opened *result,
                               struct storage_recovery *recovery, struct error *error)
{
    struct storage_options options = {.segment_bytes = SMALL_SEGMENT, .start_id = 9};
    struct report report = story_report(NULL);
    struct storage *storage;
    struct storage_loader loader = {.snapshot = opened_head,
                                    .piece = opened_piece,
                                    .snapshot_end = opened_end,
                                    .no_snapshot = opened_none,
                                    .each = opened_entry,
                                    .context = result};
    *result = (struct opened){0};
    memory->locked = false;
    enum error_code code =
        storage_open(&memory->vfs, &options, &report, &loader, recovery, &storage, error);
    if (code == ERROR_NONE)
        storage_close(storage);
    return code;
}

static void must_be_restored(struct memory_vfs *memory)
{
    struct opened result;
    struct storage_recovery recovery;
    struct error error = {0};
    enum error_code code = open_it(memory, &result, &recovery, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    ck_assert_int_eq(result.taken.heads, 1);
    ck_assert_int_eq(result.ends, 1);
    ck_assert_uint_eq(result.taken.size, STATE_SIZE);
    ck_assert(!result.taken.differs);
    ck_assert_uint_eq(result.entries, 0);
    const struct snapshot_head *head = &result.taken.head;
    struct configuration expected = new_configuration();
    expected.index = sample_id.index;
    ck_assert_str_eq(head->cluster_id, "new");
    ck_assert_uint_eq(head->time_ns, sample_head(sample_id).time_ns);
    ck_assert_mem_eq(&head->configuration, &expected, sizeof(expected));
    ck_assert_mem_eq(&recovery.snapshot.last, &sample_id, sizeof(sample_id));
    ck_assert_mem_eq(&recovery.base, &sample_id, sizeof(sample_id));
    ck_assert_mem_eq(&recovery.last, &sample_id, sizeof(sample_id));
    ck_assert_uint_eq(recovery.commit_hint, sample_id.index);
    ck_assert_uint_eq(recovery.torn_bytes, 0);
    ck_assert_str_eq(recovery.metadata.cluster_id, "new");
    ck_assert_uint_eq(recovery.metadata.current_term, sample_id.term);
    ck_assert_uint_eq(recovery.metadata.voted_for, SERVER_NONE);
    ck_assert_uint_eq(recovery.metadata.acked_through.index, 0);
}

static u32 seed_of(struct memory_vfs *memory)
{
    struct metadata metadata;
    u64 version;
    const char *why;
    ck_assert_int_eq(metadata_slot_decode(memory_content_of(memory, "metadata")->data, &metadata,
                                          &version, &why),
                     ERROR_NONE);
    return metadata.seed_crc;
}

START_TEST(storage_restore__begins_with_the_snapshots_state)
{
    struct snapshot_info info;
    struct memory_vfs *old = old_cluster(&info), *memory = memory_create();
    struct error error = {0};
    enum error_code code = restore_as(&memory->vfs, 7, &old->vfs, &info, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    must_be_restored(memory);
    must_be_restored(memory); /* and when it is started again */
    memory_destroy(memory);
    memory_destroy(old);
}
END_TEST

START_TEST(storage_restore__the_log_goes_on_behind_the_snapshot)
{
    struct snapshot_info info;
    struct memory_vfs *old = old_cluster(&info), *memory = memory_create();
    static struct story story;
    struct storage *storage = NULL;
    struct storage_recovery recovery;
    struct report report = story_report(NULL);
    struct opened result;
    struct storage_options options = {.segment_bytes = SMALL_SEGMENT};
    struct storage_loader loader = {opened_head, opened_piece, opened_end,
                                    opened_none, opened_entry, &result};
    struct error error = {0};
    ck_assert_int_eq(restore_as(&memory->vfs, 7, &old->vfs, &info, &error), ERROR_NONE);
    for (u64 life = 0; life < 3; life++) {
        result = (struct opened){0};
        memory->locked = false;
        ck_assert_int_eq(
            storage_open(&memory->vfs, &options, &report, &loader, &recovery, &storage, &error),
            ERROR_NONE);
        ck_assert_uint_eq(result.entries, life * 2);
        ck_assert_uint_eq(recovery.last.index, 40 + life * 2);
        story.next_tag = 1;
        story.count = recovery.last.index;
        ck_assert_int_eq(story_append(storage, &story, recovery.last.index + 1, 2, 4, 100, &error),
                         ERROR_NONE);
        storage_close(storage);
    }
    memory_destroy(memory);
    memory_destroy(old);
}
END_TEST

START_TEST(storage_restore__founds_a_cluster)
{
    struct snapshot_info info;
    struct memory_vfs *old = old_cluster(&info), *seven = memory_create();
    struct error error;
    struct opened result;
    struct storage_recovery recovery;
    ck_assert_int_eq(restore_as(&seven->vfs, 7, &old->vfs, &info, &error), ERROR_NONE);
    ck_assert_uint_eq(seed_of(seven), SEED); /* whatever it begins with */
    ck_assert_int_eq(open_it(seven, &result, &recovery, &error), ERROR_NONE);
    ck_assert_uint_eq(recovery.metadata.incarnation, NEW_INCARNATION);
    ck_assert_uint_eq(result.taken.head.configuration.incarnation, NEW_INCARNATION);
    ck_assert(!recovery.metadata.blank);
    ck_assert_uint_eq(recovery.metadata.current_term, info.last.term);
    memory_destroy(seven);
    memory_destroy(old);
}
END_TEST

/* ---- refusals ---- */

static void must_not_open(struct memory_vfs *memory)
{
    struct opened result;
    struct storage_recovery recovery;
    struct error error = {0};
    ck_assert_int_eq(open_it(memory, &result, &recovery, &error), ERROR_MISSING);
    ck_assert_ptr_nonnull(strstr(error.text, "raftd --init"));
}

START_TEST(storage_restore__refuses_damage_and_another_file)
{
    struct snapshot_info info;
    struct memory_vfs *old = old_cluster(&info);
    struct snapshot_info expected = info;
    struct error error;
    u8 *data = memory_content_of(old, sample_path)->data;
    for (u64 at = 0; at < info.size; at += 17) {
        struct memory_vfs *memory = memory_create();
        data[at] ^= 1;
        ck_assert_int_eq(restore_as(&memory->vfs, 7, &old->vfs, &info, &error), ERROR_CORRUPT);
        ck_assert_ptr_nonnull(strstr(error.text, sample_path));
        ck_assert_ptr_nonnull(strstr(error.text, "offset"));
        must_not_open(memory);
        data[at] ^= 1;
        ck_assert_int_eq(restore_as(&memory->vfs, 7, &old->vfs, &info, &error), ERROR_NONE);
        must_be_restored(memory);
        memory_destroy(memory);
    }
    struct memory_vfs *memory = memory_create();
    expected.checksum++;
    ck_assert_int_eq(restore_as(&memory->vfs, 7, &old->vfs, &expected, &error), ERROR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(error.text, "changed while it was being read"));
    must_not_open(memory);
    ck_assert_int_eq(vfs_remove(&old->vfs, sample_path, &error), ERROR_NONE);
    ck_assert_int_eq(restore_as(&memory->vfs, 7, &old->vfs, &info, &error), ERROR_MISSING);
    must_not_open(memory);
    memory_destroy(memory);
    memory_destroy(old);
}
END_TEST

START_TEST(storage_restore__touches_no_directory_that_is_used)
{
    struct snapshot_info info;
    struct memory_vfs *old = old_cluster(&info), *memory = memory_create();
    static struct story story;
    struct error error;
    ck_assert_int_eq(story_init(&memory->vfs, SMALL_SEGMENT, &story, &error), ERROR_NONE);
    u64 changes = memory->changes;
    ck_assert_int_eq(restore_as(&memory->vfs, 7, &old->vfs, &info, &error), ERROR_EXISTS);
    ck_assert_ptr_nonnull(strstr(error.text, "already initialised"));
    ck_assert_uint_eq(memory->changes, changes);
    ck_assert_int_eq(vfs_remove(&memory->vfs, "metadata", &error), ERROR_NONE);
    ck_assert_int_eq(restore_as(&memory->vfs, 7, &old->vfs, &info, &error), ERROR_EXISTS);
    ck_assert_ptr_nonnull(strstr(error.text, "no metadata"));
    ck_assert_uint_eq(memory->changes, changes + 1);
    memory_destroy(memory);
    /* Snapshots alone are somebody's too. */
    memory = memory_create();
    sample_file(memory, sample_path, "whatever", 8);
    changes = memory->changes;
    ck_assert_int_eq(restore_as(&memory->vfs, 7, &old->vfs, &info, &error), ERROR_EXISTS);
    ck_assert_int_eq(story_init(&memory->vfs, SMALL_SEGMENT, &story, &error), ERROR_EXISTS);
    ck_assert_uint_eq(memory->changes, changes);
    memory_destroy(memory);
    memory_destroy(old);
}
END_TEST

/* ---- cut short ---- */

/* A directory that a restore has left: it is whole, or nobody's, and can be made either way. */
static void must_be_all_or_nothing(struct memory_vfs *memory, struct memory_vfs *old,
                                   const struct snapshot_info *info, bool done)
{
    static struct story story;
    struct error error = {0};
    if (memory_find(memory, "metadata") >= 0) {
        must_be_restored(memory);
        return;
    }
    ck_assert(!done);
    must_not_open(memory);
    struct memory_vfs *emptied = memory_copy(memory);
    enum error_code code = story_init(&emptied->vfs, SMALL_SEGMENT, &story, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    struct opened result;
    struct storage_recovery recovery;
    ck_assert_int_eq(open_it(emptied, &result, &recovery, &error), ERROR_NONE);
    ck_assert_int_eq(result.taken.heads, 0);
    ck_assert_uint_eq(result.entries, 1);
    memory_destroy(emptied);
    code = restore_as(&memory->vfs, 7, &old->vfs, info, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    must_be_restored(memory);
}

START_TEST(storage_restore__every_call_fails)
{
    struct snapshot_info info;
    struct memory_vfs *old = old_cluster(&info);
    for (u64 n = 1;; n++) {
        struct memory_vfs *memory = memory_create();
        struct faulty_vfs faulty;
        struct error error = {0};
        faulty_vfs_init(&faulty, &memory->vfs);
        faulty_vfs_arm(&faulty, FAULTY_ALL, n, ERROR_IO);
        enum error_code code = restore_as(&faulty.vfs, 7, &old->vfs, &info, &error);
        bool failed = faulty_vfs_disarm(&faulty);
        ck_assert(code == ERROR_NONE || failed);
        if (code != ERROR_NONE)
            ck_assert_ptr_nonnull(strstr(error.text, "injected fault"));
        must_be_all_or_nothing(memory, old, &info, code == ERROR_NONE);
        faulty_vfs_deinit(&faulty);
        memory_destroy(memory);
        if (!failed)
            break;
    }
    for (u64 n = 1;; n++) {
        struct memory_vfs *memory = memory_create();
        struct faulty_vfs faulty;
        struct error error = {0};
        faulty_vfs_init(&faulty, &old->vfs);
        faulty_vfs_arm(&faulty, FAULTY_ALL, n, ERROR_IO);
        enum error_code code = restore_as(&memory->vfs, 7, &faulty.vfs, &info, &error);
        bool failed = faulty_vfs_disarm(&faulty);
        /* A read that fails once is tried again. */
        ck_assert(code == ERROR_NONE || (failed && code == ERROR_IO));
        must_be_all_or_nothing(memory, old, &info, code == ERROR_NONE);
        faulty_vfs_deinit(&faulty);
        memory_destroy(memory);
        if (!failed)
            break;
    }
    memory_destroy(old);
}
END_TEST

static bool keep_some(void *context, const char *name, u64 offset)
{
    const u64 *seed = context;
    (void)name;
    u64 mixed = (*seed + offset / MEMORY_SECTOR) * 0x9e3779b97f4a7c15ULL;
    return *seed == 1 || (*seed > 1 && (mixed >> 60 & 1) != 0);
}

START_TEST(storage_restore__power_cut_leaves_all_or_nothing)
{
    struct snapshot_info info;
    struct memory_vfs *old = old_cluster(&info);
    bool done = false;
    for (u64 n = 1; !done; n++) {
        for (u64 seed = 0; seed < 4; seed++) {
            struct memory_vfs *memory = memory_create();
            struct error error = {0};
            memory_fault_after(memory, n, MEMORY_POWER_CUT, ERROR_IO);
            done = restore_as(&memory->vfs, 7, &old->vfs, &info, &error) == ERROR_NONE;
            for (int names = 0; names < 2; names++) {
                struct memory_vfs *image = memory_crash(memory, keep_some, &seed, names != 0);
                must_be_all_or_nothing(image, old, &info, done);
                memory_destroy(image);
            }
            memory_destroy(memory);
        }
    }
    memory_destroy(old);
}
END_TEST

UNIT_MAIN("storage_restore", storage_restore__begins_with_the_snapshots_state,
          storage_restore__the_log_goes_on_behind_the_snapshot, storage_restore__founds_a_cluster,
          storage_restore__refuses_damage_and_another_file,
          storage_restore__touches_no_directory_that_is_used, storage_restore__every_call_fails,
          storage_restore__power_cut_leaves_all_or_nothing)
