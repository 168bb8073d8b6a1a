/* check_log.c - the log in memory: terms by runs, records by reference. */
#include "test/unit/rules_unit.h"

#include "common/rng.h"

static struct log log_;

static void begin(const char *terms)
{
    log_init(&log_, MIB);
    log_add(&log_, terms);
}

static void release(void)
{
    log_deinit(&log_);
}

static u64 append_text(u64 term, const char *text)
{
    struct entry entry = command_entry(term, text);
    return log_append(&log_, &entry, NULL, 0);
}

/* ---- positions and terms ---- */

START_TEST(log_last__of_an_empty_log_is_its_base)
{
    begin("");
    ck_assert_uint_eq(log_last(&log_).index, 0);
    ck_assert_uint_eq(log_last(&log_).term, 0);
    ck_assert(log_holds(&log_, (struct entry_id){0, 0}));
    ck_assert(!log_holds(&log_, (struct entry_id){1, 1}));
    ck_assert_uint_eq(log_term_at(&log_, 0), 0);
    ck_assert_uint_eq(log_last_index_of_term_at_most(&log_, 9), 0);
    ck_assert_uint_eq(log_.unsaved_index, 1);
    release();
}
END_TEST

START_TEST(log_term_at__of_every_entry)
{
    begin("1 1 2 5 5 5 9");
    static const u64 terms[] = {0, 1, 1, 2, 5, 5, 5, 9};
    for (u64 index = 0; index < ARRAY_LENGTH(terms); index++) {
        ck_assert_uint_eq(log_term_at(&log_, index), terms[index]);
        ck_assert(log_holds(&log_, (struct entry_id){terms[index], index}));
        ck_assert(!log_holds(&log_, (struct entry_id){terms[index] + 1, index}));
    }
    ck_assert(!log_holds(&log_, (struct entry_id){9, 8}));
    ck_assert_uint_eq(log_last(&log_).term, 9);
    ck_assert_uint_eq(log_last(&log_).index, 7);
    release();
}
END_TEST

START_TEST(log_first_index_of_term_at__is_where_its_run_begins)
{
    begin("1 1 2 5 5 5 9");
    static const u64 firsts[] = {0, 1, 1, 3, 4, 4, 4, 7};
    for (u64 index = 1; index < ARRAY_LENGTH(firsts); index++)
        ck_assert_uint_eq(log_first_index_of_term_at(&log_, index), firsts[index]);
    release();
}
END_TEST

START_TEST(log_last_index_of_term_at_most__is_where_later_terms_begin)
{
    begin("2 2 3 5 5 5 9");
    static const u64 lasts[] = {0, 0, 2, 3, 3, 6, 6, 6, 6, 7, 7};
    for (u64 term = 0; term < ARRAY_LENGTH(lasts); term++)
        ck_assert_uint_eq(log_last_index_of_term_at_most(&log_, term), lasts[term]);
    release();
}
END_TEST

/* ---- growing ---- */

START_TEST(log_append__fills_in_index_and_encodes)
{
    begin("1");
    struct entry entry = command_entry(3, "hello ");
    entry.session = 7;
    entry.serial = 8;
    entry.time_ns = 99;
    ck_assert_uint_eq(log_append(&log_, &entry, "world", 5), 2);
    struct entry read = log_entry(&log_, 2);
    ck_assert_uint_eq(read.id.index, 2);
    ck_assert_uint_eq(read.id.term, 3);
    ck_assert_int_eq(read.type, ENTRY_COMMAND);
    ck_assert_uint_eq(read.session, 7);
    ck_assert_uint_eq(read.serial, 8);
    ck_assert_uint_eq(read.time_ns, 99);
    ck_assert_uint_eq(read.payload_size, 11);
    ck_assert_mem_eq(read.payload, "hello world", 11);
    ck_assert_uint_eq(log_bytes(&log_, 2, 2), RECORD_HEADER_SIZE + 11);
    ck_assert_uint_eq(log_bytes(&log_, 1, 2), 2 * RECORD_HEADER_SIZE + 12);
    ck_assert_uint_eq(log_.memory_bytes, 2 * RECORD_HEADER_SIZE + 12);
    release();
}
END_TEST

START_TEST(log_append__time_never_falls)
{
    begin("");
    struct entry entry = command_entry(1, "a");
    entry.time_ns = 50;
    log_append(&log_, &entry, NULL, 0);
    entry.time_ns = 20; /* the wall clock was set back */
    log_append(&log_, &entry, NULL, 0);
    entry.time_ns = 60;
    log_append(&log_, &entry, NULL, 0);
    ck_assert_uint_eq(log_entry(&log_, 1).time_ns, 50);
    ck_assert_uint_eq(log_entry(&log_, 2).time_ns, 50);
    ck_assert_uint_eq(log_entry(&log_, 3).time_ns, 60);
    release();
}
END_TEST

START_TEST(log_append_record__takes_a_reference_and_the_time)
{
    struct block *block = block_create(RECORD_HEADER_SIZE + 1);
    struct entry entry = command_entry(2, "z");
    entry.id.index = 1;
    entry.time_ns = 1000;
    record_encode(&entry, block->data);
    begin("");
    log_append_record(&log_, block, block->data, block->size);
    ck_assert_uint_eq(block->references, 2);
    ck_assert_ptr_eq(log_entry(&log_, 1).payload, block->data + RECORD_HEADER_SIZE);
    /* Entries of this server come later than those of the leader before it. */
    append_text(3, "mine");
    ck_assert_uint_eq(log_entry(&log_, 2).time_ns, 1000);
    release();
    ck_assert_uint_eq(block->references, 1);
    block_release(block);
}
END_TEST

START_TEST(log_append__larger_than_a_chunk)
{
    begin("1");
    u32 size = 600 * 1024;
    u8 *payload = memory_alloc(size);
    memset(payload, 'x', size);
    struct entry entry = command_entry(1, "");
    entry.payload = payload;
    entry.payload_size = size;
    log_append(&log_, &entry, NULL, 0);
    append_text(1, "after");
    ck_assert_mem_eq(log_entry(&log_, 2).payload, payload, size);
    ck_assert_mem_eq(log_entry(&log_, 3).payload, "after", 5);
    memory_free(payload);
    release();
}
END_TEST

START_TEST(log_restore_entry__is_known_but_not_in_memory)
{
    begin("");
    log_restore_entry(&log_, (struct entry_id){1, 1});
    log_restore_entry(&log_, (struct entry_id){3, 2});
    ck_assert_str_eq(terms_of(&log_), "1 3");
    ck_assert(!log_in_memory(&log_, 1));
    ck_assert(!log_in_memory(&log_, 2));
    ck_assert_uint_eq(log_.durable_index, 2);
    ck_assert_uint_eq(log_.unsaved_index, 3);
    append_text(3, "new");
    ck_assert(log_in_memory(&log_, 3));
    ck_assert(!log_in_memory(&log_, 4));
    ck_assert_uint_eq(log_.durable_index, 2);
    ck_assert_uint_eq(log_.unsaved_index, 3);
    release();
}
END_TEST

/* ---- shrinking ---- */

START_TEST(log_truncate__removes_the_entry_and_all_behind_it)
{
    begin("1 1 2 2 3");
    log_saved(&log_, 5);
    log_truncate(&log_, 4);
    ck_assert_str_eq(terms_of(&log_), "1 1 2");
    ck_assert_uint_eq(log_last(&log_).term, 2);
    ck_assert_uint_eq(log_.durable_index, 3);
    ck_assert_uint_eq(log_.unsaved_index, 4);
    ck_assert_uint_eq(log_.memory_bytes, log_bytes(&log_, 1, 3));
    log_truncate(&log_, 1);
    ck_assert_str_eq(terms_of(&log_), "");
    ck_assert_uint_eq(log_.durable_index, 0);
    ck_assert_uint_eq(log_.memory_bytes, 0);
    log_add(&log_, "4 4");
    ck_assert_str_eq(terms_of(&log_), "4 4");
    ck_assert_uint_eq(log_.unsaved_index, 1);
    release();
}
END_TEST

START_TEST(log_truncate__past_the_end_is_a_no_op)
{
    begin("1 1");
    log_saved(&log_, 2);
    log_truncate(&log_, 3);
    log_truncate(&log_, 99);
    ck_assert_str_eq(terms_of(&log_), "1 1");
    ck_assert_uint_eq(log_.durable_index, 2);
    ck_assert_uint_eq(log_.unsaved_index, 3);
    release();
}
END_TEST

START_TEST(log_truncate__of_what_was_not_yet_saved_keeps_the_rest)
{
    begin("1 1 2 2");
    log_saved(&log_, 2);
    log_truncate(&log_, 4);
    ck_assert_uint_eq(log_.durable_index, 2);
    ck_assert_uint_eq(log_.unsaved_index, 3);
    release();
}
END_TEST

START_TEST(log_truncate__reaches_behind_what_is_in_memory)
{
    begin("");
    log_restore_entry(&log_, (struct entry_id){1, 1});
    log_restore_entry(&log_, (struct entry_id){1, 2});
    log_add(&log_, "2 2");
    log_truncate(&log_, 2);
    ck_assert_str_eq(terms_of(&log_), "1");
    ck_assert_uint_eq(log_.memory_first, 2);
    ck_assert_uint_eq(log_.memory_bytes, 0);
    log_add(&log_, "3");
    ck_assert(log_in_memory(&log_, 2));
    ck_assert(!log_in_memory(&log_, 1));
    release();
}
END_TEST

START_TEST(log_truncate__bytes_on_their_way_never_change)
{
    begin("1 1");
    struct span spans[4];
    u32 span_count;
    ck_assert_uint_eq(log_slice(&log_, 2, UINT64_MAX, spans, 4, &span_count), 1);
    u8 before[RECORD_HEADER_SIZE + 1];
    memcpy(before, spans[0].data, sizeof(before));
    log_truncate(&log_, 2);
    append_text(2, "y");
    ck_assert_mem_eq(spans[0].data, before, sizeof(before));
    release();
    ck_assert_mem_eq(spans[0].data, before, sizeof(before));
    span_release(&spans[0]);
}
END_TEST

START_TEST(log_evict__only_what_is_saved_and_wanted_no_more)
{
    log_init(&log_, 0);
    log_add(&log_, "1 1 1 1 1 1");
    log_evict(&log_, 6);
    ck_assert(log_in_memory(&log_, 1)); /* nothing is saved yet */
    log_saved(&log_, 4);
    log_evict(&log_, 2);
    ck_assert(!log_in_memory(&log_, 2));
    ck_assert(log_in_memory(&log_, 3));
    log_evict(&log_, 6);
    ck_assert(!log_in_memory(&log_, 4));
    ck_assert(log_in_memory(&log_, 5));
    ck_assert_uint_eq(log_.memory_bytes, log_bytes(&log_, 5, 6));
    ck_assert_str_eq(terms_of(&log_), "1 1 1 1 1 1");
    release();
}
END_TEST

START_TEST(log_evict__stops_at_the_bound)
{
    u64 record = RECORD_HEADER_SIZE + 1;
    log_init(&log_, 3 * record);
    log_add(&log_, "1 1 1 1 1");
    log_saved(&log_, 5);
    log_evict(&log_, 5);
    ck_assert_uint_eq(log_.memory_first, 3);
    ck_assert_uint_eq(log_.memory_bytes, 3 * record);
    release();
}
END_TEST

/* ---- reading ---- */

START_TEST(log_slice__neighbours_become_one_span)
{
    begin("1 1 2 2");
    struct span spans[4];
    u32 span_count;
    ck_assert_uint_eq(log_slice(&log_, 2, UINT64_MAX, spans, 4, &span_count), 3);
    ck_assert_uint_eq(span_count, 1);
    ck_assert_uint_eq(spans[0].size, log_bytes(&log_, 2, 4));
    const char *why = "";
    ck_assert_msg(records_check(spans[0].data, spans[0].size, 2, 3, &why), "%s", why);
    span_release(&spans[0]);
    release();
}
END_TEST

START_TEST(log_slice__bytes_exactly_and_one_less)
{
    begin("1 1 1 1");
    u64 record = RECORD_HEADER_SIZE + 1;
    static const struct {
        u64 records;
        u64 less;
        u32 count;
    } cases[] = {{2, 0, 2}, {2, 1, 1}, {4, 0, 4}, {4, 1, 3}, {1, 1, 1}, {0, 0, 1}, {9, 0, 4}};
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct span spans[4];
        u32 span_count;
        u64 bytes_max = cases[i].records * record - cases[i].less;
        ck_assert_uint_eq(log_slice(&log_, 1, bytes_max, spans, 4, &span_count), cases[i].count);
        ck_assert_uint_eq(span_count, 1);
        ck_assert_uint_eq(spans[0].size, cases[i].count * record);
        span_release(&spans[0]);
    }
    release();
}
END_TEST

START_TEST(log_slice__no_more_spans_than_there_is_room_for)
{
    begin("");
    for (u64 index = 1; index <= 5; index++) {
        /* Each in a block of its own, as when they came one by one. */
        struct block *block = block_create(RECORD_HEADER_SIZE + 1);
        struct entry entry = command_entry(1, "x");
        entry.id.index = index;
        record_encode(&entry, block->data);
        log_append_record(&log_, block, block->data, block->size);
        block_release(block);
    }
    struct span spans[3];
    u32 span_count;
    ck_assert_uint_eq(log_slice(&log_, 2, UINT64_MAX, spans, 3, &span_count), 3);
    ck_assert_uint_eq(span_count, 3);
    for (u32 i = 0; i < 3; i++)
        span_release(&spans[i]);
    release();
}
END_TEST

START_TEST(log_slice__nothing_past_the_end_or_behind_memory)
{
    log_init(&log_, 0);
    log_add(&log_, "1 1 1");
    log_saved(&log_, 3);
    log_evict(&log_, 1);
    struct span spans[2];
    u32 span_count = 7;
    ck_assert_uint_eq(log_slice(&log_, 1, UINT64_MAX, spans, 2, &span_count), 0);
    ck_assert_uint_eq(span_count, 0);
    ck_assert_uint_eq(log_slice(&log_, 4, UINT64_MAX, spans, 2, &span_count), 0);
    ck_assert_uint_eq(log_slice(&log_, 2, UINT64_MAX, spans, 2, &span_count), 2);
    span_release(&spans[0]);
    release();
}
END_TEST

/* ---- against a plain array ---- */

enum { STEPS = 20000, MODEL_MAX = 4000 };

static void compare(const u64 *terms, u64 count, u64 durable)
{
    ck_assert_uint_eq(log_.last_index, count);
    ck_assert_uint_eq(log_.durable_index, durable);
    u64 bytes = 0;
    for (u64 index = 1; index <= count; index++) {
        ck_assert_uint_eq(log_term_at(&log_, index), terms[index]);
        if (!log_in_memory(&log_, index))
            continue;
        struct entry entry = log_entry(&log_, index);
        ck_assert_uint_eq(entry.id.term, terms[index]);
        bytes += record_size_of(&entry);
    }
    ck_assert_uint_eq(log_.memory_bytes, bytes);
}

/* Appends, truncations, saves and evictions in any order: ring and runs stay true. */
START_TEST(log__random_changes_agree_with_an_array)
{
    static u64 terms[MODEL_MAX + 1];
    u64 count = 0;
    u64 durable = 0;
    u64 term = 1;
    struct rng rng;
    rng_init(&rng, 20);
    log_init(&log_, 40 * RECORD_HEADER_SIZE);
    for (u32 step = 0; step < STEPS; step++) {
        u64 dice = rng_range(&rng, 0, 99);
        if (dice < 75 && count < MODEL_MAX) {
            term += rng_range(&rng, 0, 9) == 0 ? 1 : 0;
            terms[append_text(term, "payload")] = term;
            count++;
        } else if (dice < 80 && count > 0) {
            u64 index = rng_range(&rng, count > 20 ? count - 20 : 1, count);
            log_truncate(&log_, index);
            count = index - 1;
            durable = u64_min(durable, count);
        } else if (dice < 90) {
            log_saved(&log_, count);
            durable = count;
        } else {
            log_evict(&log_, count);
        }
        if (step % 97 == 0)
            compare(terms, count, durable);
    }
    compare(terms, count, durable);
    release();
}
END_TEST

UNIT_MAIN("log", log_last__of_an_empty_log_is_its_base, log_term_at__of_every_entry,
          log_first_index_of_term_at__is_where_its_run_begins,
          log_last_index_of_term_at_most__is_where_later_terms_begin,
          log_append__fills_in_index_and_encodes, log_append__time_never_falls,
          log_append_record__takes_a_reference_and_the_time, log_append__larger_than_a_chunk,
          log_restore_entry__is_known_but_not_in_memory,
          log_truncate__removes_the_entry_and_all_behind_it, log_truncate__past_the_end_is_a_no_op,
          log_truncate__of_what_was_not_yet_saved_keeps_the_rest,
          log_truncate__reaches_behind_what_is_in_memory,
          log_truncate__bytes_on_their_way_never_change,
          log_evict__only_what_is_saved_and_wanted_no_more, log_evict__stops_at_the_bound,
          log_slice__neighbours_become_one_span, log_slice__bytes_exactly_and_one_less,
          log_slice__no_more_spans_than_there_is_room_for,
          log_slice__nothing_past_the_end_or_behind_memory, log__random_changes_agree_with_an_array)
