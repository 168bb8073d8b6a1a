/* check_kv_scan.c - SCAN beside changes, and its patterns. */
#include <stdio.h>

#include "common/rng.h"
#include "test/unit/kv_unit.h"

/* One SCAN call: returns the next cursor, counts the keys "k<number>" in `seen`. */
static u64 scan_step(struct machine *machine, u64 cursor, const char *options, u32 *seen,
                     u32 seen_count, u32 *keys)
{
    char text[128];
    char digits[24];
    struct kv_argument arguments[ARGUMENTS_MAX];
    u32 count = 0;
    snprintf(digits, sizeof(digits), "%llu", (unsigned long long)cursor);
    arguments[count++] = (struct kv_argument){(const u8 *)digits, (u32)strlen(digits)};
    snprintf(text, sizeof(text), "%s", options);
    for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " "))
        arguments[count++] = (struct kv_argument){(const u8 *)word, (u32)strlen(word)};
    struct buffer answer;
    buffer_init(&answer);
    run_arguments(machine, KV_SCAN, arguments, count, &answer);
    buffer_append(&answer, "", 1);

    const char *at = (const char *)answer.data;
    unsigned long long next;
    int used;
    ck_assert_int_eq(sscanf(at, "*2\r\n$%*u\r\n%llu\r\n*%u\r\n%n", &next, keys, &used), 2);
    at += used;
    for (u32 i = 0; i < *keys; i++) {
        u32 number;
        ck_assert_int_eq(sscanf(at, "$%*u\r\nk%u\r\n%n", &number, &used), 1);
        ck_assert_uint_lt(number, seen_count);
        seen[number]++;
        at += used;
    }
    ck_assert_int_eq(*at, '\0');
    buffer_deinit(&answer);
    return next;
}

static void set_number(struct machine *machine, u32 number, bool present)
{
    char text[64];
    snprintf(text, sizeof(text), present ? "set k%u 1" : "del k%u", number);
    run(machine, text);
}

/* Keys below STABLE stay from the first call to the last; all others come and go. */
START_TEST(scan__brings_all_that_stays_exactly_once)
{
    enum { STABLE = 9000, ALL = 20000 };
    static u32 seen[ALL];
    static const char *const counts[] = {"", "count 1", "count 700", "count 1000000000"};
    for (u32 c = 0; c < ARRAY_LENGTH(counts); c++) {
        struct machine *machine = kv_create();
        struct rng rng;
        rng_init(&rng, c);
        for (u32 i = 0; i < STABLE + 2000; i++)
            set_number(machine, i, true);
        memset(seen, 0, sizeof(seen));
        u64 cursor = 0;
        u32 calls = 0;
        do {
            u32 keys;
            u64 next = scan_step(machine, cursor, counts[c], seen, ALL, &keys);
            ck_assert(next == 0 || next > cursor);
            cursor = next;
            calls++;
            for (u32 i = 0; i < 5; i++)
                set_number(machine, (u32)rng_range(&rng, STABLE, ALL - 1), rng_chance(&rng, 1, 2));
        } while (cursor != 0);
        for (u32 i = 0; i < STABLE; i++)
            ck_assert_uint_eq(seen[i], 1);
        ck_assert_uint_gt(calls, 1); /* even the largest COUNT is bounded */
        machine->ops->destroy(machine);
    }
}
END_TEST

START_TEST(scan__count_is_about_what_one_call_looks_at)
{
    struct machine *machine = kv_create();
    static u32 seen[20000];
    for (u32 i = 0; i < ARRAY_LENGTH(seen); i++)
        set_number(machine, i, true);
    u32 keys;
    scan_step(machine, 0, "count 100", seen, ARRAY_LENGTH(seen), &keys);
    ck_assert_uint_ge(keys, 100);
    ck_assert_uint_lt(keys, 150);
    u64 next = scan_step(machine, 0, "count 100 match none*", seen, ARRAY_LENGTH(seen), &keys);
    ck_assert_uint_eq(keys, 0);
    ck_assert_uint_gt(next, 0); /* looked at as many, found none */
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(scan__match_and_type)
{
    STORY({"scan 0", "*2 $1 0 *0"}, {"mset a1 1 a2 2 b1 3", "+OK"},
          {"scan 0 match b*", "*2 $1 0 *1 $2 b1"}, {"scan 0 match c* count 100", "*2 $1 0 *0"},
          {"scan 0 match b? type STRING", "*2 $1 0 *1 $2 b1"}, {"scan 0 type hash", "*2 $1 0 *0"},
          {"scan 0 type nonsense", "*2 $1 0 *0"}, {"scan 4096", "*2 $1 0 *0"},
          {"scan 18446744073709551615", "*2 $1 0 *0"}, {"scan x", "-ERR invalid cursor"},
          {"scan 0 count", "-ERR syntax error"});
}
END_TEST

static bool matches(const struct kv_argument *pattern, const struct kv_argument *text)
{
    u64 steps_left = UINT64_MAX;
    return kv_glob_match(pattern, text, &steps_left);
}

START_TEST(kv_glob_match__as_redis_matches)
{
    static const struct {
        const char *pattern;
        const char *text;
        bool matches;
    } cases[] = {
        {"", "", true},
        {"", "a", false},
        {"a", "", false},
        {"*", "", true},
        {"*", "abc", true},
        {"**", "a", true},
        {"?", "a", true},
        {"?", "", false},
        {"??", "a", false},
        {"a*c", "abbc", true},
        {"a*c", "abcd", false},
        {"a*b*c", "aXbYbZc", true},
        {"*ab", "aab", true},
        {"*a*b", "ba", false},
        {"h[ae]llo", "hello", true},
        {"h[ae]llo", "hillo", false},
        {"h[^e]llo", "hallo", true},
        {"h[^e]llo", "hello", false},
        {"[a-c]", "b", true},
        {"[a-c]", "d", false},
        {"[c-a]", "b", true},
        {"[^a-c]", "d", true},
        {"[a-cx]", "x", true},
        {"[]", "a", false},
        {"[^]", "a", true},
        {"[a", "a", true},
        {"[a", "b", false},
        {"[a-", "-", true},
        {"[a-]", "-", false},
        {"[\\]]", "]", true},
        {"[\\-]", "-", true},
        {"\\*", "*", true},
        {"\\*", "a", false},
        {"a\\", "a\\", true},
        {"\\a", "a", true},
        {"A", "a", false},
        {"[", "a", false},
        {"a[", "a", false},
        {"*[0-9]", "key7", true},
        {"*[0-9]", "key", false},
    };
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct kv_argument pattern = {(const u8 *)cases[i].pattern, (u32)strlen(cases[i].pattern)};
        struct kv_argument text = {(const u8 *)cases[i].text, (u32)strlen(cases[i].text)};
        ck_assert_msg(matches(&pattern, &text) == cases[i].matches, "%s on %s", cases[i].pattern,
                      cases[i].text);
    }
    struct kv_argument binary_pattern = {(const u8 *)"\0?\xff", 3};
    struct kv_argument binary_text = {(const u8 *)"\0\0\xff", 3};
    ck_assert(matches(&binary_pattern, &binary_text));
}
END_TEST

/* A pattern on which trying every way would take for ever. */
START_TEST(kv_glob_match__many_stars_end_soon)
{
    static u8 pattern[1000];
    static u8 text[10000];
    for (u32 i = 0; i + 1 < sizeof(pattern); i += 2) {
        pattern[i] = '*';
        pattern[i + 1] = 'a';
    }
    pattern[sizeof(pattern) - 1] = 'b';
    memset(text, 'a', sizeof(text));
    struct kv_argument p = {pattern, sizeof(pattern)};
    struct kv_argument t = {text, sizeof(text)};
    ck_assert(!matches(&p, &t));
}
END_TEST

/* ---- long names ---- */

enum { NAME_SIZE = 32 * 1024, NAMES = 40 };

/* The number of the next name from `number` on that lies in this table. */
static u32 name_in_table(u8 *name, u32 number, u32 table)
{
    const struct kv_argument key = {name, NAME_SIZE};
    do
        store_u32(name, ++number);
    while (kv_hash(&key) >> (64 - KV_TABLE_BITS) != table);
    return number;
}

/* The names of one table alone are more than a call gathers: it stops behind that table, and every
 * name comes once. */
START_TEST(scan__one_table_with_more_than_a_call_gathers)
{
    static u8 name[NAME_SIZE];
    static u32 numbers[NAMES];
    static const u8 count[] = "1000000";
    const struct kv_argument pair[] = {{name, NAME_SIZE}, {(const u8 *)"1", 1}};
    struct machine *machine = kv_create();
    struct buffer answer;
    buffer_init(&answer);
    u32 number = 0;
    ck_assert_uint_gt((u64)NAME_SIZE * NAMES, KV_SCAN_BYTES_MAX);
    for (u32 i = 0; i < NAMES; i++) {
        numbers[i] = number = name_in_table(name, number, 77);
        run_arguments(machine, KV_SET, pair, 2, &answer);
    }
    (void)name_in_table(name, 0, 78);
    run_arguments(machine, KV_SET, pair, 2, &answer);
    run(machine, "set k1 1");

    char cursor[24] = "0";
    u64 names = 0, calls = 0;
    do {
        const struct kv_argument arguments[] = {{(const u8 *)cursor, (u32)strlen(cursor)},
                                                {(const u8 *)"count", 5},
                                                {count, sizeof(count) - 1}};
        buffer_clear(&answer);
        run_arguments(machine, KV_SCAN, arguments, 3, &answer);
        buffer_append(&answer, "", 1);
        int used;
        unsigned keys;
        ck_assert_int_eq(sscanf((char *)answer.data, "*2\r\n$%*u\r\n%23[0-9]\r\n*%u\r\n%n", cursor,
                                &keys, &used),
                         2);
        const u8 *at = answer.data + used;
        for (unsigned i = 0; i < keys; i++) {
            unsigned size;
            ck_assert_int_eq(sscanf((const char *)at, "$%u\r\n%n", &size, &used), 1);
            at += used;
            if (size == NAME_SIZE && names < NAMES) {
                bool known = false;
                for (u32 n = 0; n < NAMES && !known; n++) {
                    known = numbers[n] == load_u32(at);
                    numbers[n] = known ? 0 : numbers[n];
                }
                ck_assert(known);
            }
            names += size == NAME_SIZE;
            at += size + 2;
        }
        ck_assert_ptr_eq(at, answer.data + answer.size - 1);
        ck_assert(answer.size < KV_SCAN_BYTES_MAX || strcmp(cursor, "78") == 0);
        calls++;
    } while (strcmp(cursor, "0") != 0);
    ck_assert_uint_eq(names, NAMES + 1);
    ck_assert_uint_ge(calls, 2);
    buffer_deinit(&answer);
    machine->ops->destroy(machine);
}
END_TEST

UNIT_MAIN("kv_scan", scan__one_table_with_more_than_a_call_gathers,
          scan__brings_all_that_stays_exactly_once, scan__count_is_about_what_one_call_looks_at,
          scan__match_and_type, kv_glob_match__as_redis_matches, kv_glob_match__many_stars_end_soon)
