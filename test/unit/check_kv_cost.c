/* check_kv_cost.c - what commands of the key-value machine cost, whatever they are asked in: values
 * that grow (kv_grow.c), answers of many values, patterns. */
#include <stdio.h>

#include "common/rng.h"
#include "test/unit/kv_unit.h"

static const struct kv_limits large = {
    .key_bytes_max = 64 * KIB, .value_bytes_max = 8 * MIB, .answer_bytes_max = MIB};

static struct buffer answer;

/* Runs a command with the limits of this file; returns what it touched. */
static u64 cost_of(struct machine *machine, enum kv_command command,
                   const struct kv_argument *arguments, u32 count)
{
    size_t size = kv_command_size(arguments, count);
    u8 *encoded = memory_alloc(size);
    kv_command_encode(&large, command, arguments, count, encoded);
    buffer_deinit(&answer);
    if (kv_command_info(command)->writes)
        machine->ops->apply(machine, &context, encoded, size, &answer);
    else
        machine->ops->read(machine, encoded, size, &answer);
    memory_free(encoded);
    return machine->ops->work(machine);
}

static u64 cost(struct machine *machine, enum kv_command command, const char *key, const u8 *value,
                u32 size)
{
    const struct kv_argument arguments[2] = {{(const u8 *)key, (u32)strlen(key)}, {value, size}};
    return cost_of(machine, command, arguments, value != NULL ? 2 : 1);
}

static void check_answer(const char *text)
{
    ck_assert_uint_eq(answer.size, strlen(text));
    ck_assert_mem_eq(answer.data, text, answer.size);
}

/* A machine that was given these bytes at once has the same digest. */
static void check_digest(struct machine *machine, const u8 *bytes, u32 size)
{
    struct machine *other = kv_create();
    (void)cost(other, KV_SET, "b", bytes, size);
    ck_assert_uint_eq(machine->ops->digest(machine), other->ops->digest(other));
    other->ops->destroy(other);
}

static void check_value(struct machine *machine, const u8 *bytes, u32 size)
{
    (void)cost(machine, KV_GET, "b", NULL, 0);
    char head[32];
    int head_size = snprintf(head, sizeof(head), "$%u\r\n", size);
    ck_assert_uint_eq(answer.size, (size_t)head_size + size + 2);
    ck_assert_mem_eq(answer.data + head_size, bytes, size);
}

enum { GROWN_MAX = 300 * 1024 };

static u8 grown[GROWN_MAX];

/* Appends pieces of random sizes until the value is full. */
static u32 grow(struct machine *machine, struct rng *rng, u32 size, u32 size_max)
{
    while (size < size_max) {
        u32 most = rng_next(rng) % 4 == 0 ? 20000 : 40;
        u32 more = (u32)u64_min(rng_next(rng) % most, size_max - size);
        for (u32 i = 0; i < more; i++)
            grown[size + i] = (u8)rng_next(rng);
        (void)cost(machine, KV_APPEND, "b", grown + size, more);
        size += more;
        if (rng_next(rng) % 16 == 0)
            check_digest(machine, grown, size);
    }
    return size;
}

START_TEST(append__in_any_pieces_is_as_if_set_at_once)
{
    for (u64 seed = 1; seed <= 20; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct machine *machine = kv_create();
        u32 size = grow(machine, &rng, 0, GROWN_MAX / 2);
        check_value(machine, grown, size);
        (void)cost(machine, KV_SET, "b", grown,
                   5000); /* and what was there before does not matter */
        size = grow(machine, &rng, 5000, GROWN_MAX / 4);
        check_value(machine, grown, size);
        check_digest(machine, grown, size);
        machine->ops->destroy(machine);
    }
}
END_TEST

/* A snapshot shares the block that the value goes on growing in. */
START_TEST(append__does_not_change_a_snapshot)
{
    for (u64 seed = 1; seed <= 20; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        struct machine *machine = kv_create();
        u32 size = grow(machine, &rng, 0, 6000 + (u32)(rng_next(&rng) % 50000));
        u64 digest = machine->ops->digest(machine);
        struct buffer state;
        buffer_init(&state);
        machine->ops->snapshot_begin(machine);
        bool more = true;
        while (more) {
            more = machine->ops->snapshot_next(machine, 1 + rng_next(&rng) % 9000, &state);
            u32 added = (u32)(rng_next(&rng) % 3);
            if (size + added <= GROWN_MAX)
                size = grow(machine, &rng, size, size + added);
        }
        machine->ops->snapshot_end(machine);
        struct machine *restored = kv_create();
        ck_assert(restored->ops->restore(restored, state.data, state.size));
        ck_assert(restored->ops->restore_end(restored));
        ck_assert_uint_eq(restored->ops->digest(restored), digest);
        check_value(machine, grown, size);
        check_digest(machine, grown, size);
        buffer_deinit(&state);
        restored->ops->destroy(restored);
        machine->ops->destroy(machine);
    }
}
END_TEST

START_TEST(append__costs_what_is_appended)
{
    struct machine *machine = kv_create();
    u32 size = 8 * MIB - 20000;
    u8 *value = memory_alloc_zero(1, size);
    (void)cost(machine, KV_SET, "b", value, size);
    ck_assert_uint_gt(cost(machine, KV_APPEND, "b", value, 1), size); /* it gets room, once */
    u64 most = 0;
    for (u32 i = 0; i < 10000; i++)
        most = u64_max(most, cost(machine, KV_APPEND, "b", value, 1));
    /* But for the old block, which is freed with one of them. */
    ck_assert_uint_lt(most, MIB);
    check_answer(":8378609\r\n");
    memory_free(value);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(mget__of_too_much_is_refused_and_not_built)
{
    struct machine *machine = kv_create();
    u8 *value = memory_alloc_zero(1, 2 * MIB);
    (void)cost(machine, KV_SET, "b", value, 2 * MIB);
    (void)cost(machine, KV_SET, "s", value, MIB / 2 - 100);
    struct kv_argument keys[700];
    for (u32 i = 0; i < ARRAY_LENGTH(keys); i++)
        keys[i] = (struct kv_argument){(const u8 *)"b", 1};
    u64 work = cost_of(machine, KV_MGET, keys, ARRAY_LENGTH(keys));
    ck_assert_uint_lt(work, MIB);
    ck_assert_uint_lt(answer.capacity, 1000);
    check_answer("-ERR the answer would have 1468017616 bytes, and may have 1048576 "
                 "(max-answer-bytes): ask for fewer keys at a time\r\n");
    /* What was set can be read, and what fits is answered. */
    (void)cost_of(machine, KV_MGET, keys, 1);
    ck_assert_uint_gt(answer.size, 2 * MIB);
    const struct kv_argument small[3] = {
        {(const u8 *)"s", 1}, {(const u8 *)"s", 1}, {(const u8 *)"s", 1}};
    (void)cost_of(machine, KV_MGET, small, 2);
    ck_assert_uint_gt(answer.size, MIB - 300);
    ck_assert_uint_le(answer.size, MIB);
    (void)cost_of(machine, KV_MGET, small, 3);
    ck_assert_uint_eq(answer.data[0], '-');
    memory_free(value);
    machine->ops->destroy(machine);
}
END_TEST

/* Many keys are dear even when none is there. */
START_TEST(exists__counts_each_key)
{
    struct machine *machine = kv_create();
    struct kv_argument keys[1000];
    for (u32 i = 0; i < ARRAY_LENGTH(keys); i++)
        keys[i] = (struct kv_argument){(const u8 *)"b", 1};
    ck_assert_uint_ge(cost_of(machine, KV_EXISTS, keys, ARRAY_LENGTH(keys)), 1000 * KV_KEY_WORK);
    ck_assert_uint_ge(cost_of(machine, KV_DEL, keys, ARRAY_LENGTH(keys)), 1000 * KV_KEY_WORK);
    machine->ops->destroy(machine);
}
END_TEST

/* The time to compare is the product of the sizes: with such a pattern hours. */
START_TEST(scan__gives_up_a_pattern_that_takes_too_long)
{
    struct machine *machine = kv_create();
    static char key[60001];
    memset(key, 'a', sizeof(key) - 1);
    (void)cost(machine, KV_SET, key, (const u8 *)"1", 1);
    static u8 pattern[40000];
    memset(pattern, 'a', sizeof(pattern));
    pattern[0] = '*';
    pattern[sizeof(pattern) - 1] = 'b';
    static u8 class[MIB];
    memset(class, 'b', sizeof(class));
    class[0] = class[2] = '*';
    class[1] = class[3] = '[';
    const struct kv_argument long_pattern[5] = {{(const u8 *)"0", 1},
                                                {(const u8 *)"MATCH", 5},
                                                {pattern, sizeof(pattern)},
                                                {(const u8 *)"COUNT", 5},
                                                {(const u8 *)"10000", 5}};
    struct kv_argument long_class[5];
    memcpy(long_class, long_pattern, sizeof(long_class));
    long_class[2] = (struct kv_argument){class, sizeof(class)};
    for (u32 i = 0; i < 2; i++) {
        u64 work = cost_of(machine, KV_SCAN, i == 0 ? long_pattern : long_class, 5);
        ck_assert_mem_eq(answer.data, "-ERR this pattern takes too long", 32);
        ck_assert_uint_ge(work, (u64)KV_SCAN_STEPS_MAX * KV_GLOB_WORK);
    }
    long_class[2] = (struct kv_argument){(const u8 *)"a*a", 3};
    (void)cost_of(machine, KV_SCAN, long_class, 5);
    ck_assert_uint_gt(answer.size, sizeof(key));
    machine->ops->destroy(machine);
}
END_TEST

UNIT_MAIN("kv_cost", append__in_any_pieces_is_as_if_set_at_once, append__does_not_change_a_snapshot,
          append__costs_what_is_appended, mget__of_too_much_is_refused_and_not_built,
          exists__counts_each_key, scan__gives_up_a_pattern_that_takes_too_long)
