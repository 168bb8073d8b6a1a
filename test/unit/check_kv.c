/* check_kv.c - what each command does and answers, and what must hold for any row of them. */
#include <stdio.h>

#include "common/rng.h"
#include "server/machine/kv_answer.h"
#include "test/unit/kv_unit.h"

#define NOT_AN_INTEGER "-ERR value is not an integer or out of range"

START_TEST(get__value_or_null)
{
    STORY({"get a", "_"}, {"set a 1", "+OK"}, {"get a", "$1 1"}, {"set a _", "+OK"},
          {"get a", "$0 "}, {"set _ empty", "+OK"}, {"get _", "$5 empty"}, {"dbsize", ":2"});
}
END_TEST

START_TEST(set__options)
{
    STORY({"set a 1 xx", "_"}, {"get a", "_"}, {"set a 1 nx", "+OK"}, {"set a 2 nx", "_"},
          {"get a", "$1 1"}, {"set a 2 XX", "+OK"}, {"get a", "$1 2"}, {"set a 3 get", "$1 2"},
          {"get a", "$1 3"}, {"set b 1 get", "_"}, {"get b", "$1 1"}, {"set a 4 nx get", "$1 3"},
          {"get a", "$1 3"}, {"set c 1 get nx", "_"}, {"get c", "$1 1"}, {"set d 1 xx get", "_"},
          {"get d", "_"}, {"set c 2 get xx", "$1 1"}, {"get c", "$1 2"},
          {"set c 3 nx xx", "-ERR syntax error"}, {"get c", "$1 2"},
          {"set c 3 ex 5",
           "-ERR keys do not expire here: EX, PX, EXAT, PXAT and KEEPTTL are not supported"},
          {"get c", "$1 2"}, {"dbsize", ":3"});
}
END_TEST

START_TEST(mget_mset__in_order_last_wins)
{
    STORY({"mget a b", "*2 _ _"}, {"mset a 1 b 2 a 3", "+OK"},
          {"mget b a c b", "*4 $1 2 $1 3 _ $1 2"}, {"dbsize", ":2"});
}
END_TEST

START_TEST(del_exists__count_keys)
{
    STORY({"mset a 1 b 2 c 3", "+OK"}, {"exists a b x a", ":3"}, {"del a x c a", ":2"},
          {"exists a b c", ":1"}, {"del a", ":0"}, {"dbsize", ":1"});
}
END_TEST

START_TEST(incr__numbers_as_redis_has_them)
{
    STORY({"incr a", ":1"}, {"incr a", ":2"}, {"get a", "$1 2"}, {"decr a", ":1"},
          {"decrby a 11", ":-10"}, {"incrby a -5", ":-15"}, {"get a", "$3 -15"},
          {"decr new", ":-1"}, {"incrby zero 0", ":0"}, {"get zero", "$1 0"}, {"set t x1", "+OK"},
          {"incr t", NOT_AN_INTEGER}, {"set t 01", "+OK"}, {"incr t", NOT_AN_INTEGER},
          {"set t _", "+OK"}, {"decr t", NOT_AN_INTEGER}, {"get t", "$0 "},
          {"incrby a x", NOT_AN_INTEGER}, {"incrby a 9223372036854775808", NOT_AN_INTEGER},
          {"incrby none x", NOT_AN_INTEGER}, {"exists none", ":0"});
}
END_TEST

START_TEST(incr__overflow_changes_nothing)
{
    STORY({"set a 9223372036854775806", "+OK"}, {"incr a", ":9223372036854775807"},
          {"incr a", "-ERR increment or decrement would overflow"},
          {"get a", "$19 9223372036854775807"}, {"incrby a -1", ":9223372036854775806"},
          {"set b -9223372036854775808", "+OK"},
          {"decr b", "-ERR increment or decrement would overflow"},
          {"incrby b -1", "-ERR increment or decrement would overflow"},
          {"get b", "$20 -9223372036854775808"},
          {"decrby b -9223372036854775808", "-ERR decrement would overflow"},
          {"incrby c -9223372036854775808", ":-9223372036854775808"});
}
END_TEST

START_TEST(append_strlen__grow_up_to_the_limit)
{
    STORY({"strlen a", ":0"}, {"append a _", ":0"}, {"exists a", ":1"}, {"append a 12", ":2"},
          {"append a 345", ":5"}, {"get a", "$5 12345"}, {"strlen a", ":5"}, {"incr a", ":12346"},
          {"set b 0123456789012345678901234567890123456789012345678901234567890", "+OK"},
          {"append b 123", ":64"},
          {"append b 4", "-ERR string exceeds maximum allowed size (max-value-bytes)"},
          {"append b _", ":64"}, {"strlen b", ":64"});
}
END_TEST

/* The limit that counts is the one that came with the command, on every server the same. */
START_TEST(append__limit_travels_with_the_command)
{
    struct machine *machine = kv_create();
    struct kv_argument arguments[] = {{(const u8 *)"a", 1}, {(const u8 *)"12345", 5}};
    u8 encoded[64];
    size_t size = kv_command_size(arguments, 2);
    struct kv_limits small = {.key_bytes_max = 1, .value_bytes_max = 9, .answer_bytes_max = MIB};
    kv_command_encode(&small, KV_APPEND, arguments, 2, encoded);
    machine->ops->apply(machine, &context, encoded, size, NULL);
    machine->ops->apply(machine, &context, encoded, size, NULL);
    ck_assert_str_eq(run(machine, "get a"), "$5 12345");
    small.value_bytes_max = 10;
    kv_command_encode(&small, KV_APPEND, arguments, 2, encoded);
    machine->ops->apply(machine, &context, encoded, size, NULL);
    ck_assert_str_eq(run(machine, "get a"), "$10 1234512345");
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(getdel__value_and_gone)
{
    STORY({"getdel a", "_"}, {"set a xy", "+OK"}, {"getdel a", "$2 xy"}, {"getdel a", "_"},
          {"dbsize", ":0"});
}
END_TEST

START_TEST(cas__swaps_only_what_is_expected)
{
    STORY({"cas a _ 1", ":0"}, {"exists a", ":0"}, {"set a 1", "+OK"}, {"cas a 2 3", ":0"},
          {"cas a 11 3", ":0"}, {"cas a _ 3", ":0"}, {"get a", "$1 1"}, {"cas a 1 22", ":1"},
          {"get a", "$2 22"}, {"cas a 22 _", ":1"}, {"cas a _ 1", ":1"}, {"get a", "$1 1"},
          {"cas a 1 1", ":1"});
}
END_TEST

START_TEST(flushall__empties_all_tables)
{
    struct machine *machine = kv_create();
    u64 empty = machine->ops->digest(machine);
    for (u32 i = 0; i < 10000; i++) {
        char text[64];
        snprintf(text, sizeof(text), "set key%u %u", i, i);
        run(machine, text);
    }
    ck_assert_uint_eq(kv_key_count(machine), 10000);
    ck_assert_str_eq(run(machine, "flushall now"), "-ERR syntax error");
    ck_assert_uint_eq(kv_key_count(machine), 10000);
    ck_assert_str_eq(run(machine, "flushall async"), "+OK");
    ck_assert_uint_eq(kv_key_count(machine), 0);
    ck_assert_uint_eq(machine->ops->digest(machine), empty);
    ck_assert_str_eq(run(machine, "get key1"), "_");
    ck_assert_str_eq(run(machine, "set key1 again"), "+OK");
    ck_assert_str_eq(run(machine, "flushall"), "+OK");
    ck_assert_str_eq(run(machine, "dbsize"), ":0");
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(kv_apply__keys_and_values_are_any_bytes)
{
    struct machine *machine = kv_create();
    u8 bytes[256];
    for (u32 i = 0; i < sizeof(bytes); i++)
        bytes[i] = (u8)i;
    for (u32 i = 0; i < 255; i++) {
        struct kv_argument arguments[] = {{bytes + i, 1}, {bytes, i}};
        run_arguments(machine, KV_SET, arguments, 2, NULL);
    }
    struct kv_argument longer[] = {{bytes, 2}, {bytes, 256}}; /* "\0\1" is not "\0" */
    run_arguments(machine, KV_SET, longer, 2, NULL);
    ck_assert_uint_eq(kv_key_count(machine), 256);
    struct buffer answer;
    buffer_init(&answer);
    for (u32 i = 0; i < 255; i++) {
        struct kv_argument key = {bytes + i, 1};
        buffer_clear(&answer);
        run_arguments(machine, KV_GET, &key, 1, &answer);
        struct buffer expected;
        buffer_init(&expected);
        kv_answer_bulk(&expected, bytes, i);
        ck_assert_uint_eq(answer.size, expected.size);
        ck_assert_mem_eq(answer.data, expected.data, expected.size);
        buffer_deinit(&expected);
    }
    buffer_deinit(&answer);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(kv_apply__bytes_that_are_no_command_have_an_answer)
{
    struct machine *machine = kv_create();
    run(machine, "set a 1");
    u64 digest = machine->ops->digest(machine);
    static const u8 bad[][12] = {{0}, {255, 0, 1}, {KV_GET, 0, 0, 0, 0, 0, 0, 0}};
    struct buffer answer;
    buffer_init(&answer);
    for (u32 i = 0; i < ARRAY_LENGTH(bad); i++) {
        for (size_t size = 0; size <= sizeof(bad[0]); size += 4) {
            buffer_clear(&answer);
            machine->ops->apply(machine, &context, bad[i], size, &answer);
            ck_assert_int_eq(strncmp((char *)answer.data, "-ERR ", 5), 0);
            machine->ops->apply(machine, &context, bad[i], size, NULL);
            buffer_clear(&answer);
            machine->ops->read(machine, bad[i], size, &answer);
            ck_assert_int_eq(strncmp((char *)answer.data, "-ERR ", 5), 0);
        }
    }
    ck_assert_uint_eq(machine->ops->digest(machine), digest);
    buffer_deinit(&answer);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(kv_read__never_writes)
{
    struct machine *machine = kv_create();
    struct kv_argument arguments[] = {{(const u8 *)"a", 1}, {(const u8 *)"1", 1}};
    u8 encoded[64];
    kv_command_encode(&limits, KV_SET, arguments, 2, encoded);
    struct buffer answer;
    buffer_init(&answer);
    machine->ops->read(machine, encoded, kv_command_size(arguments, 2), &answer);
    ck_assert_int_eq(strncmp((char *)answer.data, "-ERR ", 5), 0);
    ck_assert_uint_eq(kv_key_count(machine), 0);
    buffer_deinit(&answer);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(kv_digest__depends_on_contents_alone)
{
    struct machine *one = kv_create();
    struct machine *other = kv_create();
    u64 empty = one->ops->digest(one);
    run(one, "set a 1");
    run(one, "set b 2");
    run(one, "incr c");
    run(other, "mset c 1 x y b 2");
    run(other, "del x");
    ck_assert_uint_ne(one->ops->digest(one), other->ops->digest(other));
    run(other, "append a 1");
    ck_assert_uint_eq(one->ops->digest(one), other->ops->digest(other));
    /* The same bytes cut differently, and values exchanged, are other contents. */
    run(other, "mset a 2 b 1");
    ck_assert_uint_ne(one->ops->digest(one), other->ops->digest(other));
    run(one, "del a b c");
    ck_assert_uint_eq(one->ops->digest(one), empty);
    run(one, "set ab c");
    run(other, "flushall");
    run(other, "set a bc");
    ck_assert_uint_ne(one->ops->digest(one), other->ops->digest(other));
    one->ops->destroy(one);
    other->ops->destroy(other);
}
END_TEST

/* ---- a simple model, and random commands against it ---- */

enum { MODEL_KEYS = 40, MODEL_VALUE = 64, LINE_SIZE = 256 };

struct model {
    bool present[MODEL_KEYS];
    char values[MODEL_KEYS][MODEL_VALUE + 1];
};

static void model_answer_value(const struct model *model, u32 key, char *to)
{
    if (model->present[key])
        snprintf(to, LINE_SIZE, "$%zu %.*s", strlen(model->values[key]), MODEL_VALUE,
                 model->values[key]);
    else
        strcpy(to, "_");
}

static void model_set(struct model *model, u32 key, const char *value)
{
    model->present[key] = true;
    memcpy(model->values[key], value, strlen(value) + 1);
}

/* Picks a command, carries it out on the model, and gives its text and the answer expected. Values
 * are small numbers or words, so that each error comes up often. */
static void model_step(struct model *model, struct rng *rng, char *text, char *expected)
{
    u32 key = (u32)rng_range(rng, 0, MODEL_KEYS - 1);
    bool present = model->present[key];
    char *old = model->values[key];
    char value[16];
    snprintf(value, sizeof(value), rng_chance(rng, 2, 3) ? "%u" : "w%u", (u32)rng_range(rng, 0, 9));
    i64 by = (i64)rng_range(rng, 0, 20) - 10;
    switch (rng_range(rng, 0, 10)) {
    case 0:
        snprintf(text, LINE_SIZE, "set k%u %s", key, value);
        strcpy(expected, "+OK");
        model_set(model, key, value);
        return;
    case 1:
        snprintf(text, LINE_SIZE, "set k%u %s nx get", key, value);
        model_answer_value(model, key, expected);
        if (!present)
            model_set(model, key, value);
        return;
    case 2:
        snprintf(text, LINE_SIZE, "set k%u %s xx", key, value);
        strcpy(expected, present ? "+OK" : "_");
        if (present)
            model_set(model, key, value);
        return;
    case 3:
        snprintf(text, LINE_SIZE, "get k%u", key);
        model_answer_value(model, key, expected);
        return;
    case 4:
        snprintf(text, LINE_SIZE, "del k%u k%u", key, key);
        strcpy(expected, present ? ":1" : ":0");
        model->present[key] = false;
        return;
    case 5:
        snprintf(text, LINE_SIZE, "getdel k%u", key);
        model_answer_value(model, key, expected);
        model->present[key] = false;
        return;
    case 6:
        snprintf(text, LINE_SIZE, "append k%u %s", key, value);
        if (!present)
            old[0] = '\0';
        if (strlen(old) + strlen(value) > MODEL_VALUE) {
            strcpy(expected, "-ERR string exceeds maximum allowed size (max-value-bytes)");
            return;
        }
        model->present[key] = true;
        strcat(old, value);
        snprintf(expected, LINE_SIZE, ":%zu", strlen(old));
        return;
    case 7:
        snprintf(text, LINE_SIZE, "cas k%u %s x", key, value);
        bool swaps = present && strcmp(old, value) == 0;
        strcpy(expected, swaps ? ":1" : ":0");
        if (swaps)
            model_set(model, key, "x");
        return;
    case 8:
        snprintf(text, LINE_SIZE, "strlen k%u", key);
        snprintf(expected, LINE_SIZE, ":%zu", present ? strlen(old) : 0);
        return;
    default:
        snprintf(text, LINE_SIZE, "incrby k%u %lld", key, (long long)by);
        char *end;
        long long number = present ? strtoll(old, &end, 10) : 0;
        char again[32];
        snprintf(again, sizeof(again), "%lld", number);
        if (present && strcmp(again, old) != 0) {
            strcpy(expected, NOT_AN_INTEGER);
            return;
        }
        snprintf(again, sizeof(again), "%lld", number + by);
        model_set(model, key, again);
        snprintf(expected, LINE_SIZE, ":%s", again);
        return;
    }
}

/* A machine with the model's contents, set in reverse order. */
static struct machine *machine_of(const struct model *model)
{
    struct machine *machine = kv_create();
    for (u32 key = MODEL_KEYS; key-- > 0;) {
        if (!model->present[key])
            continue;
        char name[16];
        u32 size = (u32)snprintf(name, sizeof(name), "k%u", key);
        const char *value = model->values[key];
        struct kv_argument arguments[] = {{(const u8 *)name, size},
                                          {(const u8 *)value, (u32)strlen(value)}};
        run_arguments(machine, KV_SET, arguments, 2, NULL);
    }
    return machine;
}

START_TEST(kv_apply__random_commands_agree_with_a_model)
{
    for (u64 seed = 1; seed <= 20; seed++) {
        struct rng rng;
        rng_init(&rng, seed);
        static struct model model;
        memset(&model, 0, sizeof(model));
        struct machine *machine = kv_create();
        for (u32 step = 0; step < 3000; step++) {
            char text[LINE_SIZE];
            char expected[LINE_SIZE];
            model_step(&model, &rng, text, expected);
            ck_assert_str_eq(run(machine, text), expected);
            if (step % 100 != 0)
                continue;
            struct machine *other = machine_of(&model);
            ck_assert_uint_eq(kv_key_count(machine), kv_key_count(other));
            ck_assert_uint_eq(machine->ops->digest(machine), other->ops->digest(other));
            other->ops->destroy(other);
        }
        machine->ops->destroy(machine);
    }
}
END_TEST

/* Any bytes at all, on two machines of which one builds no answers: neither ends, both agree. */
START_TEST(kv_apply__random_bytes_leave_machines_equal)
{
    struct rng rng;
    rng_init(&rng, 7);
    struct machine *one = kv_create();
    struct machine *other = kv_create();
    struct buffer answer;
    buffer_init(&answer);
    for (u32 round = 0; round < 100000; round++) {
        struct kv_argument arguments[6];
        u8 text[16];
        for (u32 i = 0; i < sizeof(text); i++)
            text[i] = (u8)rng_range(&rng, '/', '2');
        u32 count = (u32)rng_range(&rng, 0, ARRAY_LENGTH(arguments));
        for (u32 i = 0; i < count; i++)
            arguments[i] =
                (struct kv_argument){text + rng_range(&rng, 0, 8), (u32)rng_range(&rng, 0, 3)};
        size_t size = kv_command_size(arguments, count);
        u8 *encoded = memory_alloc(size);
        enum kv_command command = (enum kv_command)rng_range(&rng, 1, KV_COMMAND_END - 1);
        if (command == KV_FLUSHALL && rng_chance(&rng, 9, 10))
            command = KV_MSET;
        kv_command_encode(&limits, command, arguments, count, encoded);
        if (rng_chance(&rng, 1, 3))
            encoded[rng_range(&rng, 0, size - 1)] = (u8)rng_range(&rng, 0, 20);
        buffer_clear(&answer);
        one->ops->apply(one, &context, encoded, size, &answer);
        ck_assert_uint_gt(answer.size, 2);
        other->ops->apply(other, &context, encoded, size, NULL);
        ck_assert_uint_eq(one->ops->digest(one), other->ops->digest(other));
        memory_free(encoded);
    }
    ck_assert_uint_gt(kv_key_count(one), 0);
    buffer_deinit(&answer);
    one->ops->destroy(one);
    other->ops->destroy(other);
}
END_TEST

UNIT_MAIN("kv", get__value_or_null, set__options, mget_mset__in_order_last_wins,
          del_exists__count_keys, incr__numbers_as_redis_has_them, incr__overflow_changes_nothing,
          append_strlen__grow_up_to_the_limit, append__limit_travels_with_the_command,
          getdel__value_and_gone, cas__swaps_only_what_is_expected, flushall__empties_all_tables,
          kv_apply__keys_and_values_are_any_bytes,
          kv_apply__bytes_that_are_no_command_have_an_answer, kv_read__never_writes,
          kv_digest__depends_on_contents_alone, kv_apply__random_commands_agree_with_a_model,
          kv_apply__random_bytes_leave_machines_equal)
