/* check_histogram.c - durations: the promised error, the ends, and the last minute. */
#include "common/histogram.h"

#include "common/rng.h"
#include "test/unit/unit.h"

START_TEST(quantile__nothing)
{
    struct histogram histogram = {0};
    ck_assert_uint_eq(histogram_quantile(&histogram, 1), 0);
    ck_assert_uint_eq(histogram_quantile(&histogram, 1000), 0);
}
END_TEST

START_TEST(quantile__a_single_one_is_exact)
{
    static const u64 durations[] = {0, 1, 999, 1000, 7999, 8000, 123456789, 500 * NS_PER_S};
    for (size_t i = 0; i < ARRAY_LENGTH(durations); i++) {
        struct histogram histogram = {0};
        histogram_add(&histogram, durations[i]);
        ck_assert_uint_eq(histogram.max_ns, durations[i]);
        ck_assert_uint_eq(histogram.total_ns, durations[i]);
        ck_assert_uint_eq(histogram_quantile(&histogram, 500), durations[i]);
        ck_assert_uint_eq(histogram_quantile(&histogram, 1000), durations[i]);
    }
}
END_TEST

/* A bucket's edges: what is found is never too short, and at most an eighth and 1 us too long. */
START_TEST(quantile__error_at_every_magnitude)
{
    for (u64 us = 1; us < HISTOGRAM_END_US; us += 1 + us / 13) {
        for (u64 nearby = us - 1; nearby <= us + 1 && nearby < HISTOGRAM_END_US; nearby++) {
            struct histogram histogram = {0};
            u64 ns = nearby * NS_PER_US;
            histogram_add(&histogram, ns);
            histogram_add(&histogram, 1000 * NS_PER_S);
            u64 found = histogram_quantile(&histogram, 500);
            ck_assert_uint_ge(found, ns);
            ck_assert_uint_le(found, ns + ns / 8 + NS_PER_US);
        }
    }
}
END_TEST

static int compare(const void *one, const void *other)
{
    u64 a = *(const u64 *)one;
    u64 b = *(const u64 *)other;
    return (a > b) - (a < b);
}

START_TEST(quantile__against_the_sorted_list)
{
    enum { COUNT = 9973 };
    static u64 durations[COUNT];
    static const u32 asked[] = {1, 10, 500, 900, 990, 999, 1000};
    struct histogram histogram = {0};
    struct rng rng;
    rng_init(&rng, 7);
    for (u32 i = 0; i < COUNT; i++) {
        durations[i] = rng_next(&rng) >> (28 + rng_next(&rng) % 30); /* up to 69 s */
        histogram_add(&histogram, durations[i]);
    }
    qsort(durations, COUNT, sizeof(durations[0]), compare);
    for (size_t i = 0; i < ARRAY_LENGTH(asked); i++) {
        u64 exact = durations[(COUNT * asked[i] + 999) / 1000 - 1];
        u64 found = histogram_quantile(&histogram, asked[i]);
        ck_assert_uint_ge(found, exact);
        ck_assert_uint_le(found, exact + exact / 8 + NS_PER_US);
    }
    ck_assert_uint_eq(histogram_quantile(&histogram, 1000), durations[COUNT - 1]);
}
END_TEST

START_TEST(quantile__beyond_the_end)
{
    struct histogram histogram = {0};
    histogram_add(&histogram, 5 * NS_PER_US);
    histogram_add(&histogram, 300 * NS_PER_S);
    histogram_add(&histogram, 900 * NS_PER_S);
    ck_assert_uint_eq(histogram_quantile(&histogram, 600), 900 * NS_PER_S);
    ck_assert_uint_le(histogram_quantile(&histogram, 333), 6 * NS_PER_US);
    ck_assert_uint_eq(histogram.buckets[HISTOGRAM_BUCKETS - 1], 2);
}
END_TEST

START_TEST(recent__forgets_after_a_minute)
{
    struct recent_max recent = {0};
    u64 now_ns = 1;
    ck_assert_uint_eq(recent_max_get(&recent, now_ns), 0);
    recent_max_add(&recent, now_ns, 700);
    recent_max_add(&recent, now_ns, 300);
    ck_assert_uint_eq(recent_max_get(&recent, now_ns), 700);
    recent_max_add(&recent, now_ns + 20 * NS_PER_S, 500);
    ck_assert_uint_eq(recent_max_get(&recent, now_ns + 54 * NS_PER_S), 700);
    ck_assert_uint_eq(recent_max_get(&recent, now_ns + 61 * NS_PER_S), 500);
    ck_assert_uint_eq(recent_max_get(&recent, now_ns + 81 * NS_PER_S), 0);
}
END_TEST

START_TEST(recent__a_slot_is_used_again)
{
    struct recent_max recent = {0};
    recent_max_add(&recent, NS_PER_S, 900);
    u64 later_ns = NS_PER_S + (u64)RECENT_SLOTS * RECENT_SLOT_S * NS_PER_S; /* the same slot */
    recent_max_add(&recent, later_ns, 100);
    ck_assert_uint_eq(recent_max_get(&recent, later_ns), 100);
}
END_TEST

START_TEST(move__as_if_all_had_been_added_to_one)
{
    struct histogram one = {0}, to = {0}, from = {0}, empty = {0};
    u64 ns = 1;
    for (int i = 0; i < 300; i++, ns += ns / 9 + 500) {
        histogram_add(&one, ns);
        histogram_add(i % 3 == 0 ? &to : &from, ns);
    }
    histogram_move(&to, &from);
    ck_assert_mem_eq(&to, &one, sizeof(one));
    ck_assert_mem_eq(&from, &empty, sizeof(empty));
    histogram_move(&to, &from); /* nothing */
    ck_assert_mem_eq(&to, &one, sizeof(one));
}
END_TEST

UNIT_MAIN("histogram", move__as_if_all_had_been_added_to_one, quantile__nothing,
          quantile__a_single_one_is_exact, quantile__error_at_every_magnitude,
          quantile__against_the_sorted_list, quantile__beyond_the_end,
          recent__forgets_after_a_minute, recent__a_slot_is_used_again)
