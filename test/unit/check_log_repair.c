/* check_log_repair.c - what a log is, from its batches, some of which are lost. */
#include "server/storage/log_repair.h"

#include "test/unit/unit.h"

static struct log_index index_;
static struct rebuild rebuild;
static u64 sequence;

static void begin(u64 first_sequence)
{
    log_index_init(&index_);
    rebuild_init(&rebuild, &index_);
    sequence = first_sequence;
}

static void end(void)
{
    log_index_deinit(&index_);
}

/* The next batch: entries first .. first + count - 1 of the term; the hint is what is committed. */
static struct batch batch_of(u64 first, u32 count, u64 term, u64 hint)
{
    sequence++;
    return (struct batch){.sequence = sequence - 1,
                          .first = first,
                          .count = count,
                          .size = count * 40,
                          .last_term = term,
                          .commit_hint = hint};
}

static void take(u64 first, u32 count, u64 term, u64 hint)
{
    struct batch batch = batch_of(first, count, term, hint);
    rebuild_take(&rebuild, &batch, (struct entry_id){term, first}, 1, sequence * 1000);
}

static void lose(u64 first, u32 count, u64 term)
{
    struct batch batch = batch_of(first, count, term, 0);
    rebuild_lose(&rebuild, &batch);
}

static void mark(enum batch_mark mark, u64 first, u64 term)
{
    struct batch batch = batch_of(first, 0, term, 0);
    batch.records_crc = mark;
    rebuild_take(&rebuild, &batch, (struct entry_id){0, 0}, 1, sequence * 1000);
}

static void check(u64 base, u64 last, u64 damaged_first)
{
    ck_assert_uint_eq(rebuild.base.index, base);
    ck_assert_uint_eq(index_.last, last);
    ck_assert_uint_eq(rebuild.damaged_first, damaged_first);
}

START_TEST(rebuild__a_whole_log)
{
    begin(1);
    take(1, 1, 1, 1);
    take(2, 5, 1, 1);
    take(4, 2, 2, 3); /* truncates */
    check(0, 5, 0);
    ck_assert_uint_eq(rebuild.last.index, 5);
    ck_assert_uint_eq(rebuild.last.term, 2);
    ck_assert_uint_eq(rebuild.commit_hint, 3);
    end();
}
END_TEST

START_TEST(rebuild__a_lost_batch_makes_uncertain_what_it_replaced)
{
    begin(1);
    take(1, 1, 1, 1);
    take(2, 5, 1, 1);
    lose(4, 2, 2);
    check(0, 3, 4);
    ck_assert_uint_eq(rebuild.last.index, 5);
    ck_assert_uint_eq(rebuild.last.term, 2);
    take(6, 1, 2, 1); /* it may be whole, but what is before it is not */
    check(0, 3, 4);
    ck_assert_uint_eq(rebuild.last.index, 6);
    take(4, 1, 3, 1); /* replaces all that is uncertain */
    check(0, 4, 0);
    ck_assert(!rebuild.last_unknown);
    end();
}
END_TEST

START_TEST(rebuild__a_batch_lost_without_a_trace_leaves_what_was_committed)
{
    begin(1);
    take(1, 1, 1, 1);
    take(2, 5, 1, 4);
    sequence++;
    take(7, 1, 2, 4);
    check(0, 4, 5);
    ck_assert_uint_eq(rebuild.last.index, 7);
    ck_assert(!rebuild.last_unknown);
    rebuild_lose_unknown(&rebuild);
    ck_assert(rebuild.last_unknown);
    mark(BATCH_END, 5, 1);
    check(0, 4, 0);
    take(5, 1, 3, 4);
    check(0, 5, 0);
    end();
}
END_TEST

START_TEST(rebuild__an_end_behind_the_damage_does_not_cure_it)
{
    begin(1);
    take(1, 1, 1, 1);
    take(2, 2, 1, 1);
    lose(4, 2, 1);
    mark(BATCH_END, 5, 1); /* keeps entry 4, which is lost */
    check(0, 3, 4);
    mark(BATCH_END, 4, 1);
    check(0, 3, 0);
    end();
}
END_TEST

START_TEST(rebuild__a_beginning_cures_everything)
{
    begin(1);
    take(1, 1, 1, 1);
    lose(2, 2, 1);
    mark(BATCH_BEGINNING, 101, 5);
    check(100, 100, 0);
    take(101, 3, 6, 100);
    check(100, 103, 0);
    end();
}
END_TEST

START_TEST(rebuild__the_oldest_segments_are_gone)
{
    begin(17);
    take(50, 3, 2, 40);
    check(50, 52, 0);
    ck_assert(rebuild.base_is_there);
    take(48, 1, 3, 40); /* replaces even the base */
    check(48, 48, 0);
    end();
    /* The oldest batch left is a mark: what it kept is gone. */
    begin(17);
    mark(BATCH_END, 50, 2);
    check(49, 49, 0);
    take(50, 3, 3, 40);
    check(49, 52, 0);
    ck_assert_uint_eq(rebuild.base.term, 2);
    ck_assert(!rebuild.base_is_there);
    end();
    /* The oldest batch left is lost. */
    begin(17);
    lose(50, 3, 2);
    check(52, 52, 0);
    take(53, 3, 3, 40);
    check(52, 55, 0);
    end();
}
END_TEST

/* Its checksums are right, and it cannot be. */
START_TEST(rebuild__a_lost_batch_behind_a_gap_cures_nothing)
{
    begin(1);
    take(1, 2, 1, 1);
    lose(60, 1, 1);
    check(0, 2, 3);
    take(4, 1, 1, 1);
    check(0, 2, 3);
    take(3, 1, 2, 1);
    check(0, 3, 0);
    end();
}
END_TEST

START_TEST(rebuild__nothing_is_left)
{
    begin(1);
    rebuild_lose_unknown(&rebuild);
    check(0, 0, 1);
    ck_assert(rebuild.last_unknown);
    end();
}
END_TEST

UNIT_MAIN("rebuild", rebuild__a_whole_log, rebuild__a_lost_batch_makes_uncertain_what_it_replaced,
          rebuild__a_batch_lost_without_a_trace_leaves_what_was_committed,
          rebuild__an_end_behind_the_damage_does_not_cure_it, rebuild__a_beginning_cures_everything,
          rebuild__the_oldest_segments_are_gone, rebuild__a_lost_batch_behind_a_gap_cures_nothing,
          rebuild__nothing_is_left)
