/* check_snapshot.c - snapshot files: written, loaded, sent, received, listed, and every damage
 * found. */
#include "test/unit/snapshot_unit.h"

#include "common/memory.h"
#include "server/storage/snapshot_scan.h"
#include "test/unit/faulty_vfs.h"

static const char sample_path[] = "snapshots/00000000000000000040-00000000000000000003.snap";

/* ---- names ---- */

START_TEST(snapshot_path__is_parsed_back)
{
    char path[SNAPSHOT_PATH_SIZE];
    struct entry_id got = {0};
    snapshot_path(sample_id, path);
    ck_assert_str_eq(path, sample_path);
    ck_assert(snapshot_name_parse(path + strlen("snapshots/"), &got));
    ck_assert_uint_eq(got.index, 40);
    ck_assert_uint_eq(got.term, 3);
    snapshot_path((struct entry_id){UINT64_MAX, UINT64_MAX}, path);
    ck_assert(snapshot_name_parse(path + strlen("snapshots/"), &got));
    ck_assert_uint_eq(got.index, UINT64_MAX);
    static const char *const others[] = {"",
                                         "new.tmp",
                                         "received.tmp",
                                         "40-3.snap",
                                         "00000000000000000040-00000000000000000003.snap~",
                                         "00000000000000000040-00000000000000000003.tmp",
                                         "00000000000000000040_00000000000000000003.snap",
                                         "00000000000000000000-00000000000000000003.snap",
                                         "99999999999999999999-00000000000000000003.snap",
                                         "0000000000000000004x-00000000000000000003.snap"};
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
        ck_assert_msg(!snapshot_name_parse(others[i], &got), "%s", others[i]);
}
END_TEST

/* ---- writing and loading ---- */

static void must_load(struct vfs *vfs, struct entry_id last, u64 size,
                      const struct snapshot_info *expected)
{
    struct sample_taker taken;
    struct snapshot_info info;
    struct error error;
    enum error_code code = sample_load(vfs, last, &taken, &info, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    struct snapshot_head head = sample_head(last);
    ck_assert_int_eq(taken.heads, 1);
    ck_assert_uint_eq(taken.head.last.index, last.index);
    ck_assert_uint_eq(taken.head.last.term, last.term);
    ck_assert_uint_eq(taken.head.time_ns, head.time_ns);
    ck_assert_str_eq(taken.head.cluster_id, "test");
    ck_assert_mem_eq(&taken.head.configuration, &head.configuration, sizeof(head.configuration));
    ck_assert_uint_eq(taken.size, size);
    ck_assert(!taken.differs);
    ck_assert_uint_le(taken.largest, MIB);
    ck_assert_uint_eq(info.last.index, last.index);
    if (expected != NULL) {
        ck_assert_uint_eq(info.size, expected->size);
        ck_assert_uint_eq(info.checksum, expected->checksum);
    }
}

START_TEST(snapshot_writer__what_it_writes_is_loaded)
{
    static const u64 sizes[] = {
        0,           1, 1000, SNAPSHOT_BLOCK_SIZE - 1, SNAPSHOT_BLOCK_SIZE, SNAPSHOT_BLOCK_SIZE + 1,
        5 * MIB + 17};
    static const u64 pieces[] = {100003, SNAPSHOT_BLOCK_SIZE, 3 * MIB};
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct snapshot_info first = {0};
        for (size_t p = 0; p < ARRAY_LENGTH(pieces); p++) {
            struct memory_vfs *memory = memory_create();
            struct snapshot_info info;
            struct error error;
            enum error_code code =
                sample_write(&memory->vfs, sample_id, sizes[i], pieces[p], &info, &error);
            ck_assert_msg(code == ERROR_NONE, "%s", error.text);
            must_load(&memory->vfs, sample_id, sizes[i], &info);
            ck_assert_uint_eq(info.size, memory_content_of(memory, sample_path)->size);
            ck_assert_int_eq(memory_find(memory, "snapshots/new.tmp"), -1);
            /* How it was cut makes no difference. */
            if (p > 0)
                ck_assert_uint_eq(info.checksum, first.checksum);
            first = info;
            memory_destroy(memory);
        }
    }
}
END_TEST

START_TEST(snapshot_writer__writes_what_the_format_says)
{
    static const u64 size = SNAPSHOT_BLOCK_SIZE + 1000;
    struct memory_vfs *memory = memory_create();
    struct snapshot_info info;
    struct error error;
    struct snapshot_head head = sample_head(sample_id);
    struct buffer file;
    buffer_init(&file);
    ck_assert_int_eq(sample_write(&memory->vfs, sample_id, size, 5000, &info, &error), ERROR_NONE);
    sample_encode(&head, size, 262144, &file);
    const struct memory_content *content = memory_content_of(memory, sample_path);
    ck_assert_uint_eq(content->size, file.size);
    ck_assert_mem_eq(content->data, file.data, file.size);
    ck_assert_uint_eq(info.size, file.size);
    ck_assert_uint_eq(info.checksum, load_u32(file.data + file.size - 4));
    buffer_deinit(&file);
    memory_destroy(memory);
}
END_TEST

START_TEST(snapshot_writer__replaces_one_of_the_same_name_and_what_was_left)
{
    struct memory_vfs *memory = memory_create();
    struct snapshot_info info;
    struct error error;
    sample_file(memory, "snapshots/new.tmp", "left by another life, and longer", 32);
    sample_file(memory, sample_path, "damaged", 7);
    ck_assert_int_eq(sample_write(&memory->vfs, sample_id, 10, 10, &info, &error), ERROR_NONE);
    must_load(&memory->vfs, sample_id, 10, &info);
    memory_destroy(memory);
}
END_TEST

START_TEST(snapshot_writer_abandon__leaves_nothing)
{
    struct memory_vfs *memory = memory_create();
    struct snapshot_head head = sample_head(sample_id);
    struct snapshot_writer *writer;
    struct error error;
    ck_assert_int_eq(snapshot_writer_create(&memory->vfs, &head, &writer, &error), ERROR_NONE);
    ck_assert_int_eq(snapshot_writer_add(writer, "some", 4, &error), ERROR_NONE);
    snapshot_writer_abandon(writer);
    ck_assert_int_eq(memory_find(memory, "snapshots/new.tmp"), -1);
    ck_assert_int_eq(memory_find(memory, sample_path), -1);
    memory_destroy(memory);
}
END_TEST

START_TEST(snapshot_writer_finish__fails_when_a_write_or_sync_had_failed)
{
    static const unsigned kinds[] = {FAULTY_WRITE, FAULTY_SYNC};
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        struct memory_vfs *memory = memory_create();
        struct faulty_vfs faulty;
        struct snapshot_head head = sample_head(sample_id);
        struct snapshot_writer *writer;
        struct snapshot_info info;
        struct error error;
        u8 *bytes = calloc(1, 5 * MIB);
        faulty_vfs_init(&faulty, &memory->vfs);
        ck_assert_int_eq(snapshot_writer_create(&faulty.vfs, &head, &writer, &error), ERROR_NONE);
        faulty_vfs_arm(&faulty, kinds[i], 1, ERROR_IO);
        faulty.after = kinds[i] == FAULTY_WRITE;
        ck_assert_int_eq(snapshot_writer_add(writer, bytes, 5 * MIB, &error), ERROR_IO);
        ck_assert(faulty_vfs_disarm(&faulty));
        ck_assert_int_eq(snapshot_writer_finish(writer, &info, &error), ERROR_IO);
        ck_assert_int_eq(memory_find(memory, sample_path), -1);
        faulty_vfs_deinit(&faulty);
        memory_destroy(memory);
        free(bytes);
    }
}
END_TEST

START_TEST(snapshot_load__asks_the_taker)
{
    struct memory_vfs *memory = memory_create();
    struct snapshot_info info;
    struct error error;
    ck_assert_int_eq(sample_write(&memory->vfs, sample_id, 100, 100, &info, &error), ERROR_NONE);
    struct sample_taker taken = {.refuse_head = true};
    struct snapshot_taker taker = {sample_take_head, sample_take_piece, &taken};
    ck_assert_int_eq(snapshot_load(&memory->vfs, sample_id, &taker, &info, &error), ERROR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "the head is not acceptable"));
    ck_assert_uint_eq(taken.size, 0);
    taken = (struct sample_taker){.refuse_piece = true};
    ck_assert_int_eq(snapshot_load(&memory->vfs, sample_id, &taker, &info, &error), ERROR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "make no sense to the machine"));
    memory_destroy(memory);
}
END_TEST

START_TEST(snapshot_load__refuses_one_under_another_name)
{
    static const struct entry_id other = {.term = 3, .index = 41};
    struct memory_vfs *memory = memory_create();
    struct snapshot_info info;
    struct sample_taker taken;
    struct error error;
    char path[SNAPSHOT_PATH_SIZE];
    snapshot_path(other, path);
    ck_assert_int_eq(sample_load(&memory->vfs, other, &taken, &info, &error), ERROR_MISSING);
    ck_assert_int_eq(sample_write(&memory->vfs, sample_id, 100, 100, &info, &error), ERROR_NONE);
    ck_assert_int_eq(vfs_rename(&memory->vfs, sample_path, path, &error), ERROR_NONE);
    ck_assert_int_eq(sample_load(&memory->vfs, other, &taken, &info, &error), ERROR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, path));
    ck_assert_int_eq(taken.heads, 0);
    struct snapshot_taker taker = {sample_take_head, sample_take_piece, &taken};
    ck_assert_int_eq(snapshot_load_file(&memory->vfs, path, &taker, &info, &error), ERROR_NONE);
    ck_assert_uint_eq(info.last.index, 40);
    memory_destroy(memory);
}
END_TEST

/* ---- damage ---- */

/* A small snapshot of several blocks; where the parts begin. */
enum { SMALL_STATE = 150, SMALL_BLOCK = 60, SMALL_BLOCKS = 3 };

static u64 small_parts(struct memory_vfs *memory, u64 parts[SMALL_BLOCKS + 3])
{
    struct snapshot_head head = sample_head(sample_id);
    struct buffer file, configuration;
    buffer_init(&file);
    buffer_init(&configuration);
    configuration_encode(&head.configuration, &configuration);
    sample_encode(&head, SMALL_STATE, SMALL_BLOCK, &file);
    sample_file(memory, sample_path, file.data, file.size);
    parts[0] = 0;
    parts[1] = 128;
    parts[2] = 128 + configuration.size;
    for (u64 i = 0; i < SMALL_BLOCKS; i++)
        parts[3 + i] = parts[2 + i] + 8 + u64_min(SMALL_BLOCK, SMALL_STATE - i * SMALL_BLOCK);
    u64 size = file.size;
    ck_assert_uint_eq(parts[SMALL_BLOCKS + 2] + 32, size);
    buffer_deinit(&configuration);
    buffer_deinit(&file);
    return size;
}

/* It must be refused with the path, and the offset of the part that `at` is in, and nothing that
 * was changed may have been given out. */
static void must_be_refused(struct memory_vfs *memory, u64 at, const u64 *parts, const char *how)
{
    struct sample_taker taken;
    struct snapshot_info info;
    struct error error;
    enum error_code code = sample_load(&memory->vfs, sample_id, &taken, &info, &error);
    ck_assert_msg(code == ERROR_CORRUPT, "%s %llu: %s", how, (unsigned long long)at, error.text);
    u64 part = 0;
    for (int i = 0; i < SMALL_BLOCKS + 3; i++)
        part = parts[i] <= at ? parts[i] : part;
    char expected[SNAPSHOT_PATH_SIZE + 64];
    snprintf(expected, sizeof(expected), "%s: offset %llu: damaged: ", sample_path,
             (unsigned long long)part);
    ck_assert_msg(strncmp(error.text, expected, strlen(expected)) == 0, "%s %llu: %s, not %s", how,
                  (unsigned long long)at, error.text, expected);
    ck_assert(!taken.differs);
}

START_TEST(damage__every_flipped_bit_is_found_and_placed)
{
    struct memory_vfs *memory = memory_create();
    u64 parts[SMALL_BLOCKS + 3];
    u64 size = small_parts(memory, parts);
    must_load(&memory->vfs, sample_id, SMALL_STATE, NULL);
    u8 *data = memory_content_of(memory, sample_path)->data;
    for (u64 bit = 0; bit < size * 8; bit++) {
        data[bit / 8] ^= (u8)(1u << bit % 8);
        must_be_refused(memory, bit / 8, parts, "bit of byte");
        data[bit / 8] ^= (u8)(1u << bit % 8);
    }
    must_load(&memory->vfs, sample_id, SMALL_STATE, NULL);
    memory_destroy(memory);
}
END_TEST

START_TEST(damage__every_byte_set_to_another_is_found)
{
    struct memory_vfs *memory = memory_create();
    u64 parts[SMALL_BLOCKS + 3];
    u64 size = small_parts(memory, parts);
    u8 *data = memory_content_of(memory, sample_path)->data;
    static const u8 masks[] = {0xff, 0x5a};
    for (u64 at = 0; at < size; at++) {
        for (size_t i = 0; i < ARRAY_LENGTH(masks); i++) {
            data[at] ^= masks[i];
            must_be_refused(memory, at, parts, "byte");
            data[at] ^= masks[i];
        }
    }
    memory_destroy(memory);
}
END_TEST

START_TEST(damage__truncated_anywhere_is_found)
{
    struct memory_vfs *memory = memory_create();
    u64 parts[SMALL_BLOCKS + 3];
    u64 size = small_parts(memory, parts);
    struct memory_content *content = memory_content_of(memory, sample_path);
    struct memory_content whole = {0};
    content_copy(&whole, content);
    for (u64 kept = 0; kept < size; kept++) {
        content_resize(content, 0);
        content_resize(content, kept);
        memcpy(content->data, whole.data, kept);
        must_be_refused(memory, kept, parts, "cut at");
        struct span piece;
        struct snapshot_info info;
        struct error error;
        ck_assert_int_eq(snapshot_read_at(&memory->vfs, sample_id, 0, 100, &piece, &info, &error),
                         ERROR_CORRUPT);
        ck_assert_ptr_null(piece.block);
    }
    free(whole.data);
    memory_destroy(memory);
}
END_TEST

START_TEST(damage__bytes_behind_the_end_are_found)
{
    struct memory_vfs *memory = memory_create();
    u64 parts[SMALL_BLOCKS + 3];
    u64 size = small_parts(memory, parts);
    content_resize(memory_content_of(memory, sample_path), size + 1);
    must_be_refused(memory, size, parts, "a byte more at");
    content_resize(memory_content_of(memory, sample_path), size + 512);
    must_be_refused(memory, size, parts, "a sector more at");
    memory_destroy(memory);
}
END_TEST

START_TEST(damage__whole_blocks_that_change_places_are_found)
{
    struct memory_vfs *memory = memory_create();
    u64 parts[SMALL_BLOCKS + 3];
    struct sample_taker taken;
    struct snapshot_info info;
    struct error error;
    small_parts(memory, parts);
    u8 *data = memory_content_of(memory, sample_path)->data, kept[8 + SMALL_BLOCK];
    memcpy(kept, data + parts[2], sizeof(kept));
    memcpy(data + parts[2], data + parts[3], sizeof(kept));
    memcpy(data + parts[3], kept, sizeof(kept));
    ck_assert_int_eq(sample_load(&memory->vfs, sample_id, &taken, &info, &error), ERROR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "the end does not fit"));
    memory_destroy(memory);
}
END_TEST

START_TEST(damage__another_head_makes_another_checksum)
{
    struct snapshot_head head = sample_head(sample_id), other = head;
    struct buffer first, second;
    buffer_init(&first);
    buffer_init(&second);
    other.time_ns++;
    sample_encode(&head, SMALL_STATE, SMALL_BLOCK, &first);
    sample_encode(&other, SMALL_STATE, SMALL_BLOCK, &second);
    ck_assert_uint_eq(first.size, second.size);
    ck_assert_uint_ne(load_u32(first.data + first.size - 4),
                      load_u32(second.data + second.size - 4));
    buffer_deinit(&first);
    buffer_deinit(&second);
}
END_TEST

START_TEST(damage__is_told_from_another_version)
{
    struct memory_vfs *memory = memory_create();
    u64 parts[SMALL_BLOCKS + 3];
    struct sample_taker taken;
    struct snapshot_info info;
    struct error error;
    small_parts(memory, parts);
    u8 *data = memory_content_of(memory, sample_path)->data;
    store_u32(data + 12, 2);
    store_u32(data + 8, crc32c(0, data + 12, 116));
    ck_assert_int_eq(sample_load(&memory->vfs, sample_id, &taken, &info, &error), ERROR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(error.text, "format version 2"));
    memory_destroy(memory);
}
END_TEST

/* ---- all of a damaged one ---- */

struct all_found {
    int count;
    u64 offsets[8];
};

static void note_found(void *context, const struct snapshot_scan *scan)
{
    struct all_found *all = context;
    ck_assert_int_lt(all->count, 8);
    ck_assert_ptr_nonnull(scan->why);
    all->offsets[all->count++] = scan->offset;
}

/* Walks through the small one; returns how many blocks were whole. */
static u64 walk(struct memory_vfs *memory, struct all_found *all, bool *ended)
{
    struct snapshot_scan scan;
    struct error error;
    *all = (struct all_found){0};
    ck_assert_int_eq(
        snapshot_scan_all(&scan, &memory->vfs, sample_path, note_found, all, ended, &error),
        ERROR_NONE);
    u64 blocks = scan.blocks;
    snapshot_scan_close(&scan);
    return blocks;
}

START_TEST(snapshot_scan_all__names_every_damage_and_reads_on)
{
    struct memory_vfs *memory = memory_create();
    u64 parts[SMALL_BLOCKS + 3];
    struct all_found all;
    bool ended;
    small_parts(memory, parts);
    ck_assert_uint_eq(walk(memory, &all, &ended), SMALL_BLOCKS);
    ck_assert_int_eq(all.count, 0);
    ck_assert(ended);
    u8 *data = memory_content_of(memory, sample_path)->data;
    data[20] ^= 1;            /* the head */
    data[parts[3] + 20] ^= 1; /* the second block */
    ck_assert_uint_eq(walk(memory, &all, &ended), SMALL_BLOCKS - 1);
    ck_assert_int_eq(all.count, 2);
    ck_assert_uint_eq(all.offsets[0], 0);
    ck_assert_uint_eq(all.offsets[1], parts[3]);
    ck_assert(ended);
    data[parts[2] + 3] ^= 0x80; /* the size of the first: nobody knows where the next one is */
    ck_assert_uint_eq(walk(memory, &all, &ended), 0);
    ck_assert_int_eq(all.count, 2);
    ck_assert_uint_eq(all.offsets[1], parts[2]);
    ck_assert(!ended);
    memory_destroy(memory);
}
END_TEST

START_TEST(snapshot_scan_all__survives_any_bytes)
{
    struct memory_vfs *memory = memory_create();
    u64 parts[SMALL_BLOCKS + 3];
    struct all_found all;
    bool ended;
    u64 size = small_parts(memory, parts);
    struct memory_content *content = memory_content_of(memory, sample_path);
    for (u64 bit = 0; bit < size * 8; bit++) {
        content->data[bit / 8] ^= (u8)(1u << bit % 8);
        (void)walk(memory, &all, &ended);
        ck_assert_int_gt(all.count, 0);
        content->data[bit / 8] ^= (u8)(1u << bit % 8);
    }
    for (u64 kept = size - 1; kept > 0; kept--) {
        content->size = kept;
        (void)walk(memory, &all, &ended);
        ck_assert_int_gt(all.count, 0);
        ck_assert(!ended);
    }
    memory_destroy(memory);
}
END_TEST

/* ---- the directory ---- */

START_TEST(snapshot_list__orders_by_number)
{
    static const struct entry_id made[] = {{3, 10}, {2, 9}, {4, 10}, {9, 100}, {1, 9}, {10, 10}};
    static const struct entry_id sorted[] = {{1, 9}, {2, 9}, {3, 10}, {4, 10}, {10, 10}, {9, 100}};
    struct memory_vfs *memory = memory_create();
    struct entry_id *ids;
    struct error error;
    struct snapshot_info info;
    size_t count = 1;
    ck_assert_int_eq(snapshot_list(&memory->vfs, &ids, &count, &error), ERROR_NONE);
    ck_assert_uint_eq(count, 0);
    memory_free(ids);
    u64 bytes, sum = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(made); i++) {
        ck_assert_int_eq(sample_write(&memory->vfs, made[i], i, 10, &info, &error), ERROR_NONE);
        sum += info.size;
    }
    ck_assert_int_eq(snapshot_list(&memory->vfs, &ids, &count, &error), ERROR_NONE);
    ck_assert_uint_eq(count, ARRAY_LENGTH(sorted));
    for (size_t i = 0; i < count; i++) {
        ck_assert_uint_eq(ids[i].index, sorted[i].index);
        ck_assert_uint_eq(ids[i].term, sorted[i].term);
    }
    ck_assert_int_eq(snapshot_disk_bytes(&memory->vfs, &bytes, &error), ERROR_NONE);
    ck_assert_uint_eq(bytes, sum);
    memory_free(ids);
    memory_destroy(memory);
}
END_TEST

START_TEST(snapshot_list__passes_over_what_is_foreign)
{
    static const char *const foreign[] = {
        "snapshots/notes.txt", "snapshots/00000000000000000040-00000000000000000003.snap.old",
        "snapshots/40-3.snap", "snapshots/copy.tmp"};
    struct memory_vfs *memory = memory_create();
    struct snapshot_info info;
    struct entry_id *ids;
    struct error error;
    size_t count;
    for (size_t i = 0; i < ARRAY_LENGTH(foreign); i++)
        sample_file(memory, foreign[i], "mine", 4);
    sample_file(memory, "snapshots/new.tmp", "left", 4);
    sample_file(memory, "snapshots/received.tmp", "left", 4);
    ck_assert_int_eq(snapshot_clean(&memory->vfs, &error), ERROR_NONE);
    ck_assert_int_eq(snapshot_clean(&memory->vfs, &error), ERROR_NONE);
    ck_assert_int_eq(memory_find(memory, "snapshots/new.tmp"), -1);
    ck_assert_int_eq(memory_find(memory, "snapshots/received.tmp"), -1);
    ck_assert_int_eq(sample_write(&memory->vfs, sample_id, 10, 10, &info, &error), ERROR_NONE);
    ck_assert_int_eq(snapshot_list(&memory->vfs, &ids, &count, &error), ERROR_NONE);
    ck_assert_uint_eq(count, 1);
    memory_free(ids);
    ck_assert_int_eq(snapshot_remove(&memory->vfs, sample_id, &error), ERROR_NONE);
    ck_assert_int_eq(snapshot_remove(&memory->vfs, sample_id, &error), ERROR_MISSING);
    for (size_t i = 0; i < ARRAY_LENGTH(foreign); i++)
        ck_assert_mem_eq(memory_content_of(memory, foreign[i])->data, "mine", 4);
    memory_destroy(memory);
}
END_TEST

START_TEST(snapshot_remove__is_for_good)
{
    struct memory_vfs *memory = memory_create();
    struct snapshot_info info;
    struct error error;
    ck_assert_int_eq(sample_write(&memory->vfs, sample_id, 10, 10, &info, &error), ERROR_NONE);
    ck_assert_int_eq(snapshot_remove(&memory->vfs, sample_id, &error), ERROR_NONE);
    struct memory_vfs *image = memory_crash(memory, NULL, NULL, false);
    ck_assert_int_eq(memory_find(image, sample_path), -1);
    memory_destroy(image);
    memory_destroy(memory);
}
END_TEST

UNIT_MAIN("snapshot", snapshot_path__is_parsed_back, snapshot_writer__what_it_writes_is_loaded,
          snapshot_writer__writes_what_the_format_says,
          snapshot_writer__replaces_one_of_the_same_name_and_what_was_left,
          snapshot_writer_abandon__leaves_nothing,
          snapshot_writer_finish__fails_when_a_write_or_sync_had_failed,
          snapshot_load__asks_the_taker, snapshot_load__refuses_one_under_another_name,
          damage__every_flipped_bit_is_found_and_placed, damage__every_byte_set_to_another_is_found,
          damage__truncated_anywhere_is_found, damage__bytes_behind_the_end_are_found,
          damage__whole_blocks_that_change_places_are_found,
          damage__another_head_makes_another_checksum, damage__is_told_from_another_version,
          snapshot_scan_all__names_every_damage_and_reads_on, snapshot_scan_all__survives_any_bytes,
          snapshot_list__orders_by_number, snapshot_list__passes_over_what_is_foreign,
          snapshot_remove__is_for_good)
