/* check_rng.c - random numbers: the published stream, bounds, and repetition. */
#include "common/rng.h"

#include <string.h>

#include "test/unit/unit.h"

START_TEST(next__published_streams)
{
    /* xoshiro256** from the state {1, 2, 3, 4}. */
    static const u64 expected[] = {11520ULL, 0ULL, 1509978240ULL, 1215971899390074240ULL};
    struct rng rng = {{1, 2, 3, 4}};
    for (size_t i = 0; i < ARRAY_LENGTH(expected); i++)
        ck_assert_uint_eq(rng_next(&rng), expected[i]);
    /* Its state from the seed 0 is splitmix64's first outputs. */
    rng_init(&rng, 0);
    ck_assert_uint_eq(rng.state[0], 0xe220a8397b1dcdafULL);
    ck_assert_uint_eq(rng.state[1], 0x6e789e6aa1b965f4ULL);
}
END_TEST

START_TEST(init__same_seed_same_numbers)
{
    struct rng first;
    struct rng second;
    struct rng other;
    rng_init(&first, 42);
    rng_init(&second, 42);
    rng_init(&other, 43);
    int different = 0;
    for (int i = 0; i < 100; i++) {
        u64 number = rng_next(&first);
        ck_assert_uint_eq(number, rng_next(&second));
        different += number != rng_next(&other);
    }
    ck_assert_int_eq(different, 100);
}
END_TEST

START_TEST(range__meets_both_ends_and_nothing_else)
{
    struct rng rng;
    rng_init(&rng, 7);
    u32 seen[6] = {0};
    for (int i = 0; i < 6000; i++) {
        u64 number = rng_range(&rng, 10, 15);
        ck_assert(number >= 10 && number <= 15);
        seen[number - 10]++;
    }
    for (int i = 0; i < 6; i++) /* 1,000 each expected; the seed makes it repeatable */
        ck_assert(seen[i] > 850 && seen[i] < 1150);
    ck_assert_uint_eq(rng_range(&rng, 5, 5), 5);
    ck_assert_uint_eq(rng_range(&rng, UINT64_MAX, UINT64_MAX), UINT64_MAX);
    ck_assert_uint_ge(rng_range(&rng, 1, UINT64_MAX), 1);
    u64 all = 0;
    for (int i = 0; i < 64; i++)
        all |= rng_range(&rng, 0, UINT64_MAX);
    ck_assert_uint_eq(all, UINT64_MAX);
}
END_TEST

START_TEST(range__unbiased_where_the_remainder_is_large)
{
    /* Of 3 * 2^62 values, plain modulo would give the lowest 2^62 half of all draws, not a third.
     */
    struct rng rng;
    rng_init(&rng, 9);
    int low = 0;
    for (int i = 0; i < 3000; i++)
        low += rng_range(&rng, 0, 3 * (1ULL << 62) - 1) < 1ULL << 62;
    ck_assert(low > 900 && low < 1100);
}
END_TEST

START_TEST(chance__never_always_and_between)
{
    struct rng rng;
    rng_init(&rng, 3);
    int hits = 0;
    for (int i = 0; i < 4000; i++) {
        ck_assert(!rng_chance(&rng, 0, 10));
        ck_assert(rng_chance(&rng, 10, 10));
        hits += rng_chance(&rng, 1, 4);
    }
    ck_assert(hits > 850 && hits < 1150);
}
END_TEST

START_TEST(entropy__differs)
{
    ck_assert_uint_ne(rng_entropy(), rng_entropy());
}
END_TEST

UNIT_MAIN("rng", next__published_streams, init__same_seed_same_numbers,
          range__meets_both_ends_and_nothing_else, range__unbiased_where_the_remainder_is_large,
          chance__never_always_and_between, entropy__differs)
