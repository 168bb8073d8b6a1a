/* check_segment.c - names, headers and batches as bytes, the index over them, and a scan. */
#include "server/storage/segment.h"

#include "common/crc32c.h"
#include "server/storage/log_index.h"
#include "server/storage/scan.h"
#include "test/unit/storage_story.h"

static const struct segment_info info = {.id = 3, .size = 64 * KIB, .directory_id = 42};

START_TEST(segment_path__is_parsed_back)
{
    char path[SEGMENT_PATH_SIZE];
    u64 id = 0;
    segment_path(17, path);
    ck_assert_str_eq(path, "log/00000000000000000017.seg");
    ck_assert(segment_name_parse(path + 4, &id));
    ck_assert_uint_eq(id, 17);
    segment_path(UINT64_MAX, path);
    ck_assert(segment_name_parse(path + 4, &id));
    ck_assert_uint_eq(id, UINT64_MAX);
    const char *const wrong[] = {"",
                                 "1.seg",
                                 "00000000000000000017.sex",
                                 "00000000000000000017.seg2",
                                 "0000000000000000001x.seg",
                                 "00000000000000000000.seg",
                                 "99999999999999999999.seg",
                                 "next.tmp"};
    for (size_t i = 0; i < ARRAY_LENGTH(wrong); i++)
        ck_assert_msg(!segment_name_parse(wrong[i], &id), "%s", wrong[i]);
}
END_TEST

START_TEST(segment_size_for__keeps_bounds)
{
    ck_assert_uint_eq(segment_size_for(0), SEGMENT_SIZE_MIN);
    ck_assert_uint_eq(segment_size_for(100000), 98304);
    ck_assert_uint_eq(segment_size_for(64 * MIB), 64 * MIB);
    ck_assert_uint_eq(segment_size_for(UINT64_MAX), SEGMENT_SIZE_MAX);
}
END_TEST

START_TEST(segment_header__is_read_back_and_every_flip_found)
{
    static u8 header[SEGMENT_HEADER_SIZE];
    struct segment_info got;
    const char *why;
    segment_header_encode(&info, header);
    ck_assert_int_eq(segment_header_decode(header, &got, &why), ERROR_NONE);
    ck_assert_uint_eq(got.id, 3);
    ck_assert_uint_eq(got.size, 64 * KIB);
    ck_assert_uint_eq(got.directory_id, 42);
    for (int bit = 0; bit < 44 * 8; bit++) {
        header[bit / 8] ^= (u8)(1u << bit % 8);
        ck_assert_int_eq(segment_header_decode(header, &got, &why), ERROR_CORRUPT);
        header[bit / 8] ^= (u8)(1u << bit % 8);
    }
    header[8] = 2;
    store_u32(header + 40, crc32c(0, header, 40));
    ck_assert_int_eq(segment_header_decode(header, &got, &why), ERROR_MISMATCH);
}
END_TEST

START_TEST(batch_header__is_read_back_and_every_flip_found)
{
    u8 header[BATCH_HEADER_SIZE];
    struct batch batch = {.sequence = 9,
                          .first = 100,
                          .last_term = 4,
                          .commit_hint = 90,
                          .size = 560,
                          .count = 10,
                          .records_crc = 0xdeadbeef,
                          .blank_sectors = 0x123456};
    struct batch got;
    batch_encode(&info, &batch, header);
    ck_assert(batch_decode(&info, header, &got));
    ck_assert_mem_eq(&got, &batch, sizeof(got));
    ck_assert_uint_eq(batch_last(&got).index, 109);
    ck_assert_uint_eq(batch_last(&got).term, 4);
    ck_assert_uint_eq(header[63], 0xa5);
    ck_assert_uint_eq(load_u64(header + 16), 9);
    for (int bit = 0; bit < BATCH_HEADER_SIZE * 8; bit++) {
        header[bit / 8] ^= (u8)(1u << bit % 8);
        ck_assert(!batch_decode(&info, header, &got));
        ck_assert(!batch_header_unfinished(header)); /* a flip does not look like a torn write */
        header[bit / 8] ^= (u8)(1u << bit % 8);
    }
    struct segment_info other = info;
    other.id = 4;
    ck_assert(!batch_decode(&other, header, &got));
    other = info;
    other.directory_id++;
    ck_assert(!batch_decode(&other, header, &got));
}
END_TEST

START_TEST(batch_total_size__and_capacity_agree)
{
    for (u64 space = 0; space < 4096; space++) {
        u64 capacity = batch_capacity(space);
        if (space >= BATCH_OVERHEAD)
            ck_assert_uint_le(batch_total_size(capacity), space);
        if (space % 8 == 0 && space >= BATCH_OVERHEAD)
            ck_assert_uint_gt(batch_total_size(capacity + 1), space);
    }
}
END_TEST

START_TEST(blank_count_add__counts_whole_sectors_however_they_come)
{
    static u8 data[8192];
    memset(data, 0, sizeof(data));
    data[1000] = 1; /* in the sector 512 .. 1023 */
    for (u64 offset = 0; offset < 1200; offset += 8) {
        struct blank_count whole;
        blank_count_init(&whole, offset);
        blank_count_add(&whole, data, 4096);
        u32 expected = 0; /* sectors of the file wholly within offset .. offset + 4095, but one */
        for (u64 at = (offset + 511) / 512 * 512; at + 512 <= offset + 4096; at += 512)
            expected += !(at <= offset + 1000 && offset + 1000 < at + 512);
        ck_assert_uint_eq(whole.blank, expected);
        for (size_t piece = 1; piece < 1500; piece += 131) {
            struct blank_count parts;
            blank_count_init(&parts, offset);
            for (size_t at = 0; at < 4096; at += piece)
                blank_count_add(&parts, data + at, piece < 4096 - at ? piece : 4096 - at);
            ck_assert_uint_eq(parts.blank, expected);
        }
    }
}
END_TEST

/* ---- the index ---- */

/* Adds one batch of `count` entries at an offset that tells which it is. */
static void add(struct log_index *index, u64 first, u32 count, u64 offset)
{
    log_index_add(index, first, count, 1, offset);
}

START_TEST(log_index_find__in_an_empty_index)
{
    struct log_index index;
    struct log_row row;
    u64 end;
    log_index_init(&index);
    ck_assert(!log_index_find(&index, 1, &row, &end));
    log_index_deinit(&index);
}
END_TEST

START_TEST(log_index_find__after_truncations)
{
    struct log_index index;
    struct log_row row;
    u64 end;
    log_index_init(&index);
    add(&index, 1, 10, 100);
    add(&index, 11, 10, 200); /* near: no row of its own */
    ck_assert_uint_eq(index.count, 1);
    add(&index, 15, 2, 300); /* replaces 15 and on */
    ck_assert_uint_eq(index.truncations, 1);
    ck_assert_uint_eq(index.last, 16);
    ck_assert(log_index_find(&index, 14, &row, &end));
    ck_assert_uint_eq(row.offset, 100);
    ck_assert_uint_eq(end, 15);
    ck_assert(log_index_find(&index, 15, &row, &end));
    ck_assert_uint_eq(row.offset, 300);
    ck_assert_uint_eq(end, 17);
    ck_assert(!log_index_find(&index, 17, &row, &end));
    add(&index, 5, 1, 400);
    ck_assert(log_index_find(&index, 4, &row, &end));
    ck_assert_uint_eq(row.offset, 100);
    ck_assert_uint_eq(end, 5);
    ck_assert(log_index_find(&index, 5, &row, &end));
    ck_assert_uint_eq(row.offset, 400);
    ck_assert(!log_index_find(&index, 6, &row, &end));
    add(&index, 1, 1, 500);
    ck_assert_uint_eq(index.count, 1);
    ck_assert(log_index_find(&index, 1, &row, &end));
    ck_assert_uint_eq(row.offset, 500);
    log_index_deinit(&index);
}
END_TEST

START_TEST(log_index_add__begins_a_row_each_64_kib_and_each_segment)
{
    struct log_index index;
    struct log_row row;
    u64 end;
    log_index_init(&index);
    for (u64 i = 0; i < 1000; i++)
        log_index_add(&index, 1 + i, 1, 1 + i / 500, 4096 + i % 500 * 1024);
    ck_assert_uint_ge(index.count, 14);
    ck_assert_uint_le(index.count, 18);
    for (u64 i = 1; i <= 1000; i++) {
        ck_assert(log_index_find(&index, i, &row, &end));
        ck_assert_uint_le(row.first, i);
        ck_assert_uint_gt(end, i);
        ck_assert_uint_eq(row.segment, 1 + (i - 1) / 500);
        ck_assert_uint_le(4096 + (i - 1) % 500 * 1024 - row.offset, 65536);
    }
    log_index_deinit(&index);
}
END_TEST

/* ---- a scan ---- */

START_TEST(scan_skip__goes_on_behind_damage)
{
    static struct story story;
    struct memory_vfs *memory = memory_create();
    struct error error;
    ck_assert_int_eq(story_init(&memory->vfs, SMALL_SEGMENT, &story, &error), ERROR_NONE);
    struct report report = story_report(NULL);
    struct storage *storage = story_reopen(memory, SMALL_SEGMENT, &report, &story);
    for (int i = 0; i < 5; i++)
        ck_assert_int_eq(story_append(storage, &story, story.count + 1, 1, 1, 100, &error),
                         ERROR_NONE);
    storage_close(storage);
    u8 *data = memory_content_of(memory, "log/00000000000000000001.seg")->data;
    u64 second = SEGMENT_HEADER_SIZE + batch_total_size(load_u32(data + SEGMENT_HEADER_SIZE + 48));
    u64 size = batch_total_size(156);
    data[second + 100] ^= 1;                   /* a record of batch 2 */
    data[second + size + 20] ^= 1;             /* the header of batch 3 */
    memset(data + second + 3 * size, 0, size); /* batch 5 */

    struct scan scan;
    enum scan_found scanned;
    u64 offsets[8] = {0};
    enum scan_found founds[8] = {0};
    int steps = 0;
    ck_assert_int_eq(scan_open(&scan, &memory->vfs, 1, 1, &error), ERROR_NONE);
    do {
        ck_assert_int_lt(steps, 8);
        ck_assert_int_eq(scan_next(&scan, &scanned, &error), ERROR_NONE);
        offsets[steps] = scan.offset;
        founds[steps++] = scanned;
    } while (scanned == SCAN_BATCH || (scanned != SCAN_END && scan_skip(&scan)));
    scan_close(&scan);
    const enum scan_found expected[] = {SCAN_BATCH,   SCAN_DAMAGED, SCAN_DAMAGED, SCAN_BATCH,
                                        SCAN_DAMAGED, SCAN_BATCH,   SCAN_END};
    ck_assert_int_eq(steps, 7);
    for (int i = 0; i < steps; i++)
        ck_assert_int_eq(founds[i], expected[i]);
    ck_assert_uint_eq(offsets[1], second);
    ck_assert_uint_eq(offsets[2], second + size);
    ck_assert_uint_eq(offsets[3], second + 2 * size);
    ck_assert_uint_eq(offsets[4], second + 3 * size);
    ck_assert_uint_eq(offsets[5], second + 4 * size);
    memory_destroy(memory);
}
END_TEST

UNIT_MAIN("segment", segment_path__is_parsed_back, segment_size_for__keeps_bounds,
          segment_header__is_read_back_and_every_flip_found,
          batch_header__is_read_back_and_every_flip_found, batch_total_size__and_capacity_agree,
          blank_count_add__counts_whole_sectors_however_they_come,
          log_index_find__in_an_empty_index, log_index_find__after_truncations,
          log_index_add__begins_a_row_each_64_kib_and_each_segment,
          scan_skip__goes_on_behind_damage)
