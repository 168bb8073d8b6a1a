/* check_kv_commands.c - the table, what is refused with which words, and the encoding. */
#include <stdio.h>

#include "common/memory.h"
#include "common/rng.h"
#include "server/machine/kv_store.h"
#include "test/unit/unit.h"

static const struct kv_limits limits = {
    .key_bytes_max = 8, .value_bytes_max = 32, .answer_bytes_max = 64};

enum { ARGUMENTS_MAX = 16 };

/* The arguments of "set a 1", split at the spaces; the first word is the command. */
struct line {
    char text[256];
    struct kv_argument words[ARGUMENTS_MAX];
    u32 count;
};

static void line_split(struct line *line, const char *text)
{
    ck_assert_uint_lt(strlen(text), sizeof(line->text));
    memcpy(line->text, text, strlen(text) + 1);
    line->count = 0;
    for (char *word = strtok(line->text, " "); word != NULL; word = strtok(NULL, " "))
        line->words[line->count++] = (struct kv_argument){(const u8 *)word, (u32)strlen(word)};
}

/* What checking `text` answers, in `answer`; "" when it is allowed. */
static const char *check_line(const char *text, struct buffer *answer)
{
    struct line line;
    line_split(&line, text);
    const struct kv_command_info *info = kv_command_find(line.words[0].data, line.words[0].size);
    ck_assert_ptr_nonnull(info);
    buffer_clear(answer);
    bool allowed = kv_command_check(&limits, info, line.words + 1, line.count - 1, answer);
    ck_assert_int_eq(allowed, answer->size == 0);
    buffer_append(answer, "", 1);
    return (const char *)answer->data;
}

static void assert_checks(const char *const (*cases)[2], size_t count)
{
    struct buffer answer;
    buffer_init(&answer);
    for (size_t i = 0; i < count; i++)
        ck_assert_str_eq(check_line(cases[i][0], &answer), cases[i][1]);
    buffer_deinit(&answer);
}

START_TEST(kv_command_find__in_any_case)
{
#define X(NAME, word, class, min, max, keys)                                                    \
    {                                                                                           \
        const struct kv_command_info *info = kv_command_find((const u8 *)#NAME, strlen(#NAME)); \
        ck_assert_ptr_nonnull(info);                                                            \
        ck_assert_int_eq((int)info->command, KV_##NAME);                                        \
        ck_assert_str_eq(info->name, word);                                                     \
        ck_assert_ptr_eq(kv_command_find((const u8 *)word, strlen(word)), info);                \
        ck_assert_ptr_eq(kv_command_info(KV_##NAME), info);                                     \
    }
    KV_COMMANDS(X)
#undef X
    ck_assert_int_eq((int)kv_command_find((const u8 *)"gEtDeL", 6)->command, KV_GETDEL);
    ck_assert(!kv_command_info(KV_GET)->writes);
    ck_assert(kv_command_info(KV_SET)->writes);
}
END_TEST

START_TEST(kv_command_find__other_words_are_no_commands)
{
    static const char *const words[] = {"",
                                        "ge",
                                        "gett",
                                        "get ",
                                        "hset",
                                        ("\xc7" /* apart, for \xc7e would be one number */
                                         "et"),
                                        "@et"};
    for (u32 i = 0; i < ARRAY_LENGTH(words); i++)
        ck_assert_ptr_null(kv_command_find((const u8 *)words[i], strlen(words[i])));
    ck_assert_ptr_null(kv_command_find((const u8 *)"get\0", 4));
}
END_TEST

#define ARITY(name) "-ERR wrong number of arguments for '" name "' command\r\n"

START_TEST(kv_command_check__number_of_arguments)
{
    static const char *const cases[][2] = {
        {"get", ARITY("get")},
        {"GET a b", ARITY("get")},
        {"set a", ARITY("set")},
        {"mget", ARITY("mget")},
        {"mset a", ARITY("mset")},
        {"mset a 1 b", ARITY("mset")},
        {"del", ARITY("del")},
        {"exists", ARITY("exists")},
        {"incr", ARITY("incr")},
        {"incr a 1", ARITY("incr")},
        {"incrby a", ARITY("incrby")},
        {"decr a b", ARITY("decr")},
        {"decrby a 1 2", ARITY("decrby")},
        {"append a", ARITY("append")},
        {"strlen", ARITY("strlen")},
        {"getdel a b", ARITY("getdel")},
        {"cas a b", ARITY("cas")},
        {"dbsize now", ARITY("dbsize")},
        {"scan", ARITY("scan")},
        {"flushall sync sync", "-ERR syntax error\r\n"},
        {"get a", ""},
        {"mset a 1 b 2", ""},
        {"del a b c", ""},
        {"dbsize", ""},
        {"flushall", ""},
    };
    assert_checks(cases, ARRAY_LENGTH(cases));
}
END_TEST

START_TEST(kv_command_check__options)
{
    static const char expiry[] =
        "-ERR keys do not expire here: EX, PX, EXAT, PXAT and KEEPTTL are not supported\r\n";
    static const char syntax[] = "-ERR syntax error\r\n";
    static const char integer[] = "-ERR value is not an integer or out of range\r\n";
    const char *const cases[][2] = {
        {"set a 1 nx", ""},
        {"set a 1 XX get", ""},
        {"set a 1 GET nx", ""},
        {"set a 1 nx nx", ""},
        {"set a 1 nx xx", syntax},
        {"set a 1 xx get nx", syntax},
        {"set a 1 ifeq", syntax},
        {"set a 1 ex 10", expiry},
        {"set a 1 nx PX 10", expiry},
        {"set a 1 keepttl", expiry},
        {"set a 1 exat 10", expiry},
        {"set a 1 pxat 10", expiry},
        {"flushall async", ""},
        {"flushall SYNC", ""},
        {"flushall now", syntax},
        {"incrby a 5", ""},
        {"incrby a 5x", integer},
        {"decrby a -9223372036854775807", ""},
        {"decrby a -9223372036854775808", "-ERR decrement would overflow\r\n"},
        {"decrby a 9223372036854775808", integer},
        {"scan 0", ""},
        {"scan 18446744073709551615", ""},
        {"scan 18446744073709551616", "-ERR invalid cursor\r\n"},
        {"scan +7", ""},
        {"scan -1", ""},
        {"scan -18446744073709551615", ""},
        {"scan -18446744073709551616", "-ERR invalid cursor\r\n"},
        {"scan -", "-ERR invalid cursor\r\n"},
        {"scan +", "-ERR invalid cursor\r\n"},
        {"scan +-1", "-ERR invalid cursor\r\n"},
        {"scan x", "-ERR invalid cursor\r\n"},
        {"scan 1x count", "-ERR invalid cursor\r\n"},
        {"scan 0 count", syntax},
        {"scan 0 count 0", syntax},
        {"scan 0 count -1", syntax},
        {"scan 0 count x", integer},
        {"scan 0 COUNT 5 match a* TYPE string", ""},
        {"scan 0 limit 5", syntax},
    };
    assert_checks(cases, ARRAY_LENGTH(cases));
}
END_TEST

START_TEST(kv_command_check__sizes)
{
    static const char key[] = "-ERR key is larger than 8 bytes (max-key-bytes)\r\n";
    static const char value[] = "-ERR value is larger than 32 bytes (max-value-bytes)\r\n";
    const char *const cases[][2] = {
        {"get 12345678", ""},
        {"get 123456789", key},
        {"set 123456789 a", key},
        {"set a 123456789", ""},
        {"set a 12345678901234567890123456789012", ""},
        {"set a 123456789012345678901234567890123", value},
        {"mset a 123456789 b 1", ""},
        {"mset a 1 123456789 1", key},
        {"mset a 1 b 123456789012345678901234567890123", value},
        {"del a b 123456789", key},
        {"cas a 123456789 1", ""},
        {"append a 123456789012345678901234567890123", value},
    };
    assert_checks(cases, ARRAY_LENGTH(cases));
}
END_TEST

START_TEST(kv_command_check__more_arguments_than_the_encoding_counts)
{
    u32 count = KV_ARGUMENTS_MAX + 1;
    struct kv_argument *arguments = memory_alloc_zero(count, sizeof(*arguments));
    for (u32 i = 0; i < count; i++)
        arguments[i] = (struct kv_argument){(const u8 *)"k", 1};
    struct buffer answer;
    buffer_init(&answer);
    const struct kv_command_info *del = kv_command_info(KV_DEL);
    ck_assert(!kv_command_check(&limits, del, arguments, count, &answer));
    buffer_append(&answer, "", 1);
    ck_assert_str_eq((char *)answer.data, "-ERR number of arguments is larger than 1048575\r\n");
    ck_assert(kv_command_check(&limits, del, arguments, count - 1, &answer));

    size_t size = kv_command_size(arguments, count - 1);
    u8 *encoded = memory_alloc(size);
    kv_command_encode(&limits, KV_DEL, arguments, count - 1, encoded);
    struct kv_argument *decoded = memory_alloc_zero(count, sizeof(*decoded));
    enum kv_command command;
    ck_assert_int_eq(kv_command_decode(encoded, size, &command, decoded, count), (int)count - 1);
    memory_free(decoded);
    memory_free(encoded);
    buffer_deinit(&answer);
    memory_free(arguments);
}
END_TEST

START_TEST(kv_number_parse__as_redis_reads_them)
{
    static const struct {
        const char *text;
        bool is_number;
        i64 number;
    } cases[] = {
        {"0", true, 0},
        {"7", true, 7},
        {"-1", true, -1},
        {"1234567890", true, 1234567890},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"-9223372036854775808", true, INT64_MIN},
        {"-9223372036854775809", false, 0},
        {"18446744073709551616", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"+1", false, 0},
        {"-0", false, 0},
        {"00", false, 0},
        {"01", false, 0},
        {"-01", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"0x1", false, 0},
        {"--1", false, 0},
    };
    for (u32 i = 0; i < ARRAY_LENGTH(cases); i++) {
        i64 number = 0;
        bool is_number = kv_number_parse((const u8 *)cases[i].text, strlen(cases[i].text), &number);
        ck_assert_msg(is_number == cases[i].is_number, "\"%s\"", cases[i].text);
        if (is_number)
            ck_assert_int_eq(number, cases[i].number);
    }
    i64 number;
    ck_assert(!kv_number_parse((const u8 *)"1\0", 2, &number));
}
END_TEST

START_TEST(kv_command_encode__layout)
{
    struct kv_argument arguments[] = {{(const u8 *)"k\0", 2}, {NULL, 0}};
    ck_assert_uint_eq(kv_command_size(arguments, 2), 18);
    u8 encoded[18];
    kv_command_encode(&limits, KV_SET, arguments, 2, encoded);
    static const u8 expected[18] = {KV_SET, 0, 2, 0, 32,  0, 0, 0, /* command, count, limit */
                                    2,      0, 0, 0, 'k', 0,       /* the key */
                                    0,      0, 0, 0};              /* the empty value */
    ck_assert_mem_eq(encoded, expected, sizeof(expected));

    struct kv_argument decoded[2];
    enum kv_command command;
    ck_assert_int_eq(kv_command_decode(encoded, 18, &command, decoded, 2), 2);
    ck_assert_int_eq((int)command, KV_SET);
    ck_assert_ptr_eq(decoded[0].data, encoded + 12);
    ck_assert_uint_eq(decoded[0].size, 2);
    ck_assert_uint_eq(decoded[1].size, 0);
}
END_TEST

START_TEST(kv_command_decode__refuses_what_is_no_command)
{
    struct kv_argument arguments[] = {{(const u8 *)"key", 3}, {(const u8 *)"value", 5}};
    size_t size = kv_command_size(arguments, 2);
    u8 good[64];
    kv_command_encode(&limits, KV_SET, arguments, 2, good);
    struct kv_argument decoded[4];
    enum kv_command command;
    for (size_t cut = 0; cut < size; cut++)
        ck_assert_int_eq(kv_command_decode(good, cut, &command, decoded, 4), -1);
    good[size] = 0;
    ck_assert_int_eq(kv_command_decode(good, size + 1, &command, decoded, 4), -1);
    ck_assert_int_eq(kv_command_decode(good, size, &command, decoded, 4), 2);

    /* offset, value that must not be there */
    static const u8 damage[][2] = {
        {0, KV_NONE}, {0, KV_COMMAND_END}, {0, 255},   {1, 1}, {2, 1}, {2, 3}, {3, 1}, {8, 2},
        {8, 4},       {11, 255},           {0, KV_GET}};
    for (u32 i = 0; i < ARRAY_LENGTH(damage); i++) {
        u8 bad[64];
        memcpy(bad, good, size);
        bad[damage[i][0]] = damage[i][1];
        ck_assert_int_eq(kv_command_decode(bad, size, &command, decoded, 4), -1);
    }
}
END_TEST

START_TEST(kv_command_decode__stores_no_more_than_the_capacity)
{
    struct kv_argument arguments[] = {{(const u8 *)"a", 1}, {(const u8 *)"b", 1}};
    u8 encoded[64];
    size_t size = kv_command_size(arguments, 2);
    kv_command_encode(&limits, KV_DEL, arguments, 2, encoded);
    enum kv_command command;
    struct kv_argument one[1];
    ck_assert_int_eq(kv_command_decode(encoded, size, &command, one, 1), 1);
    ck_assert_int_eq(kv_command_decode(encoded, size, &command, NULL, 0), 0);
    /* What is behind the capacity is checked all the same. */
    ck_assert_int_eq(kv_command_decode(encoded, size - 1, &command, one, 1), -1);
}
END_TEST

/* Random damage to random commands: never a byte read outside (the copy on the heap is exact, so
 * that the address sanitizer would see it), and what decodes lies inside. */
START_TEST(kv_command_decode__random_damage)
{
    struct rng rng;
    rng_init(&rng, 1);
    u32 decoded_count = 0;
    for (u32 round = 0; round < 200000; round++) {
        u8 text[64];
        for (u32 i = 0; i < sizeof(text); i++)
            text[i] = (u8)rng_next(&rng);
        struct kv_argument arguments[ARGUMENTS_MAX];
        u32 count = (u32)rng_range(&rng, 0, 6);
        for (u32 i = 0; i < count; i++)
            arguments[i] = (struct kv_argument){text, (u32)rng_range(&rng, 0, sizeof(text))};
        size_t size = kv_command_size(arguments, count);
        u8 *encoded = memory_alloc(size + 8);
        enum kv_command command = (enum kv_command)rng_range(&rng, 1, KV_COMMAND_END - 1);
        kv_command_encode(&limits, command, arguments, count, encoded);

        for (u64 flips = rng_range(&rng, 0, 3); flips > 0; flips--)
            encoded[rng_range(&rng, 0, size - 1)] = (u8)rng_range(&rng, 0, 16);
        size_t length = rng_chance(&rng, 1, 4) ? rng_range(&rng, 0, size) : size;
        u8 *exact = memory_alloc(length > 0 ? length : 1);
        memcpy(exact, encoded, length);
        struct kv_argument decoded[ARGUMENTS_MAX];
        int got = kv_command_decode(exact, length, &command, decoded, ARGUMENTS_MAX);
        ck_assert_int_ge(got, -1);
        ck_assert_int_le(got, ARGUMENTS_MAX);
        decoded_count += got >= 0;
        for (int i = 0; i < got; i++) {
            ck_assert(decoded[i].data >= exact);
            ck_assert(decoded[i].data + decoded[i].size <= exact + length);
        }
        memory_free(exact);
        memory_free(encoded);
    }
    ck_assert_uint_gt(decoded_count, 1000); /* both ways were taken */
    ck_assert_uint_lt(decoded_count, 199000);
}
END_TEST

UNIT_MAIN("kv_commands", kv_command_find__in_any_case, kv_command_find__other_words_are_no_commands,
          kv_command_check__number_of_arguments, kv_command_check__options, kv_command_check__sizes,
          kv_command_check__more_arguments_than_the_encoding_counts,
          kv_number_parse__as_redis_reads_them, kv_command_encode__layout,
          kv_command_decode__refuses_what_is_no_command,
          kv_command_decode__stores_no_more_than_the_capacity, kv_command_decode__random_damage)
