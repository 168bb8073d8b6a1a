/* check_quantity.c - numbers, sizes and times, there and back. */
#include "common/quantity.h"

#include <string.h>

#include "common/check.h"
#include "common/rng.h"
#include "test/unit/unit.h"

struct good {
    const char *text;
    u64 value;
};

static void accept_all(bool (*parse)(const char *, u64 *), const struct good *cases, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        u64 value = 77;
        ck_assert_msg(parse(cases[i].text, &value), "refused \"%s\"", cases[i].text);
        ck_assert_msg(value == cases[i].value, "\"%s\" became %llu", cases[i].text,
                      (unsigned long long)value);
    }
}

static void refuse_all(bool (*parse)(const char *, u64 *), const char *const *texts)
{
    for (; *texts != NULL; texts++) {
        u64 value = 77;
        ck_assert_msg(!parse(*texts, &value), "accepted \"%s\"", *texts);
        ck_assert_uint_eq(value, 77);
    }
}

START_TEST(parse_u64__all_digits_and_no_overflow)
{
    const struct good good[] = {
        {"0", 0}, {"007", 7}, {"18446744073709551615", UINT64_MAX}, {"42", 42}};
    const char *const bad[] = {"",
                               "-1",
                               "+1",
                               " 1",
                               "1 ",
                               "0x10",
                               "1.0",
                               "1k",
                               "a",
                               "١",
                               "18446744073709551616",
                               "99999999999999999999999",
                               NULL};
    accept_all(quantity_parse_u64, good, ARRAY_LENGTH(good));
    refuse_all(quantity_parse_u64, bad);
}
END_TEST

START_TEST(parse_bytes__units)
{
    const struct good good[] = {{"0", 0},
                                {"17", 17},
                                {"17B", 17},
                                {"1KiB", 1024},
                                {"64kib", 65536},
                                {"1kb", 1024},
                                {"1k", 1000},
                                {"2MiB", 2 * MIB},
                                {"2mb", 2 * MIB},
                                {"2m", 2000000},
                                {"1GiB", 1024 * MIB},
                                {"1gb", 1024 * MIB},
                                {"1g", 1000000000},
                                {"1.5KiB", 1536},
                                {"0.5MiB", 512 * KIB},
                                {"1TiB", MIB * MIB},
                                {"1t", 1000000000000ULL},
                                {"16777215TiB", 16777215ULL * MIB * MIB}};
    const char *const bad[] = {
        "",      "KiB",       "1XiB",        "1 KiB",        "-1KiB",
        "0.3B",  "1.5",       "1.",          "1.KiB",        ".5KiB",
        "1KiBs", "0.0001KiB", "16777216TiB", "1.0000000KiB", "18446744073709551615KiB",
        NULL};
    accept_all(quantity_parse_bytes, good, ARRAY_LENGTH(good));
    refuse_all(quantity_parse_bytes, bad);
}
END_TEST

START_TEST(parse_duration__units)
{
    const struct good good[] = {{"0", 0},
                                {"0s", 0},
                                {"5ns", 5},
                                {"5us", 5 * NS_PER_US},
                                {"150ms", 150 * NS_PER_MS},
                                {"1.5s", 1500 * NS_PER_MS},
                                {"0.1ms", 100 * NS_PER_US},
                                {"1.000001s", NS_PER_S + NS_PER_US},
                                {"2m", 120 * NS_PER_S},
                                {"1h", 3600 * NS_PER_S},
                                {"0.999999h", 3599996400000ULL},
                                {"18446744073709551615ns", UINT64_MAX}};
    const char *const bad[] = {"",
                               "150",
                               "1.5",
                               "ms",
                               "1.5ns",
                               "1 s",
                               "-1s",
                               "1s500",
                               "1s1ms",
                               "5124096h",
                               "1.1111111s",
                               "1e3s",
                               "18446744073709551616ns",
                               "18446744073709551615us",
                               NULL};
    accept_all(quantity_parse_duration, good, ARRAY_LENGTH(good));
    refuse_all(quantity_parse_duration, bad);
}
END_TEST

START_TEST(parse_duration_range__both_ends)
{
    struct quantity_range range = {1, 2};
    ck_assert(quantity_parse_duration_range("150ms..300ms", &range));
    ck_assert_uint_eq(range.low, 150 * NS_PER_MS);
    ck_assert_uint_eq(range.high, 300 * NS_PER_MS);
    ck_assert(quantity_parse_duration_range("1s", &range));
    ck_assert_uint_eq(range.low, NS_PER_S);
    ck_assert_uint_eq(range.high, NS_PER_S);
    ck_assert(quantity_parse_duration_range("0..1.5s", &range));
    ck_assert_uint_eq(range.high, 1500 * NS_PER_MS);
    range = (struct quantity_range){1, 2};
    const char *const bad[] = {"", "..", "1s..", "..1s", "2s..1s", "1s...2s", "1s..2s..3s",
                               "150..300ms", "1s-2s",
                               /* longer than any number that is meant */
                               ("00000000000000000000000000000000000000000000000000000000"
                                "00000001s..2s")};
    for (size_t i = 0; i < ARRAY_LENGTH(bad); i++)
        ck_assert_msg(!quantity_parse_duration_range(bad[i], &range), "accepted \"%s\"", bad[i]);
    ck_assert_uint_eq(range.low, 1);
    ck_assert_uint_eq(range.high, 2);
}
END_TEST

START_TEST(format__largest_whole_unit)
{
    char text[QUANTITY_TEXT_SIZE];
    ck_assert_str_eq(quantity_format_bytes(0, text), "0");
    ck_assert_str_eq(quantity_format_bytes(1023, text), "1023");
    ck_assert_str_eq(quantity_format_bytes(65536, text), "64KiB");
    ck_assert_str_eq(quantity_format_bytes(1536, text), "1536");
    ck_assert_str_eq(quantity_format_bytes(3 * MIB, text), "3MiB");
    ck_assert_str_eq(quantity_format_duration(0, text), "0");
    ck_assert_str_eq(quantity_format_duration(1500 * NS_PER_MS, text), "1500ms");
    ck_assert_str_eq(quantity_format_duration(90 * NS_PER_S, text), "90s");
    ck_assert_str_eq(quantity_format_duration(7200 * NS_PER_S, text), "2h");
    struct quantity_range range = {150 * NS_PER_MS, NS_PER_S};
    ck_assert_str_eq(quantity_format_duration_range(range, text), "150ms..1s");
    range.low = range.high;
    ck_assert_str_eq(quantity_format_duration_range(range, text), "1s");
    range = (struct quantity_range){UINT64_MAX - 1, UINT64_MAX};
    ck_assert_str_eq(quantity_format_duration_range(range, text),
                     "18446744073709551614ns..18446744073709551615ns");
}
END_TEST

START_TEST(format__is_read_back)
{
    struct rng rng;
    rng_init(&rng, 5);
    char text[QUANTITY_TEXT_SIZE];
    for (int i = 0; i < 20000; i++) {
        u64 value = rng_next(&rng) >> rng_range(&rng, 0, 63);
        value <<= rng_range(&rng, 0, 20);
        u64 back;
        ck_assert(quantity_parse_bytes(quantity_format_bytes(value, text), &back));
        ck_assert_uint_eq(back, value);
        ck_assert(quantity_parse_duration(quantity_format_duration(value, text), &back));
        ck_assert_uint_eq(back, value);
    }
}
END_TEST

UNIT_MAIN("quantity", parse_u64__all_digits_and_no_overflow, parse_bytes__units,
          parse_duration__units, parse_duration_range__both_ends, format__largest_whole_unit,
          format__is_read_back)
