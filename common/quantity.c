/* quantity.c - numbers, sizes and times as people write them. */
#include "common/quantity.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { DECIMALS_MAX = 6 }; /* so that a fraction times the largest unit stays within 64 bits */

struct unit {
    const char *name;
    u64 size; /* in the smallest unit */
};

/* The first entry of each size is the name it is printed with. */
static const struct unit byte_units[] = {
    {"TiB", KIB *KIB *KIB *KIB},
    {"GiB", KIB *KIB *KIB},
    {"MiB", KIB *KIB},
    {"KiB", KIB},
    {"B", 1},
    {"tb", KIB *KIB *KIB *KIB},
    {"gb", KIB *KIB *KIB},
    {"mb", KIB *KIB},
    {"kb", KIB},
    {"t", 1000000000000ULL},
    {"g", 1000000000ULL},
    {"m", 1000000ULL},
    {"k", 1000ULL},
};
static const struct unit time_units[] = {
    {"h", 3600 * NS_PER_S}, {"m", 60 * NS_PER_S}, {"s", NS_PER_S},
    {"ms", NS_PER_MS},      {"us", NS_PER_US},    {"ns", 1},
};
enum { BYTE_UNITS_PRINTED = 4 }; /* bytes themselves are printed bare */

/* ---- reading ---- */

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Reads digits into `value`; `count` says how many. Returns what follows, or NULL on overflow. */
static const char *read_digits(const char *at, u64 *value, u32 *count)
{
    *value = 0;
    for (*count = 0; is_digit(*at); at++, (*count)++) {
        if (__builtin_mul_overflow(*value, 10ULL, value) ||
            __builtin_add_overflow(*value, (u64)(*at - '0'), value))
            return NULL;
    }
    return at;
}

bool quantity_parse_u64(const char *text, u64 *value)
{
    u64 number;
    u32 count;
    const char *end = read_digits(text, &number, &count);
    if (end == NULL || count == 0 || *end != '\0')
        return false;
    *value = number;
    return true;
}

static const struct unit *find_unit(const struct unit *units, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(units[i].name, name) == 0)
            return &units[i];
    }
    return NULL;
}

/* whole.fraction times the unit, where the fraction has `decimals` digits. */
static bool scale(u64 whole, u64 fraction, u32 decimals, u64 unit, u64 *value)
{
    u64 parts = 1;
    for (u32 i = 0; i < decimals; i++)
        parts *= 10;
    u64 product;
    if (__builtin_mul_overflow(whole, unit, &product))
        return false;
    if (fraction * unit % parts != 0)
        return false;
    if (__builtin_add_overflow(product, fraction * unit / parts, &product))
        return false;
    *value = product;
    return true;
}

/* A number, perhaps with a fraction, perhaps with one of the units. `bare` tells whether a number
 * other than 0 may do without a unit; then it counts the smallest ones. */
static bool parse_scaled(const char *text, const struct unit *units, size_t count, bool bare,
                         u64 *value)
{
    u64 whole;
    u64 fraction = 0;
    u32 digits;
    u32 decimals = 0;
    const char *at = read_digits(text, &whole, &digits);
    if (at == NULL || digits == 0)
        return false;
    if (*at == '.') {
        at = read_digits(at + 1, &fraction, &decimals);
        if (at == NULL || decimals == 0 || decimals > DECIMALS_MAX)
            return false;
    }
    if (*at == '\0') {
        if (decimals > 0 || (!bare && whole != 0))
            return false;
        *value = whole;
        return true;
    }
    const struct unit *unit = find_unit(units, count, at);
    return unit != NULL && scale(whole, fraction, decimals, unit->size, value);
}

bool quantity_parse_bytes(const char *text, u64 *bytes)
{
    return parse_scaled(text, byte_units, ARRAY_LENGTH(byte_units), true, bytes);
}

bool quantity_parse_duration(const char *text, u64 *ns)
{
    return parse_scaled(text, time_units, ARRAY_LENGTH(time_units), false, ns);
}

bool quantity_parse_duration_range(const char *text, struct quantity_range *range)
{
    struct quantity_range found;
    const char *dots = strstr(text, "..");
    if (dots == NULL) {
        if (!quantity_parse_duration(text, &found.low))
            return false;
        found.high = found.low;
    } else {
        char low[QUANTITY_TEXT_SIZE];
        size_t size = (size_t)(dots - text);
        if (size >= sizeof(low))
            return false;
        memcpy(low, text, size);
        low[size] = '\0';
        if (!quantity_parse_duration(low, &found.low) ||
            !quantity_parse_duration(dots + 2, &found.high) || found.low > found.high)
            return false;
    }
    *range = found;
    return true;
}

/* ---- writing ---- */

/* The units stand from the largest to the smallest. */
static const char *format_scaled(u64 value, const struct unit *units, size_t count, char *text)
{
    for (size_t i = 0; i < count && value != 0; i++) {
        if (value % units[i].size == 0) {
            snprintf(text, QUANTITY_TEXT_SIZE, "%llu%s",
                     (unsigned long long)(value / units[i].size), units[i].name);
            return text;
        }
    }
    snprintf(text, QUANTITY_TEXT_SIZE, "%llu", (unsigned long long)value);
    return text;
}

const char *quantity_format_bytes(u64 bytes, char *text)
{
    return format_scaled(bytes, byte_units, BYTE_UNITS_PRINTED, text);
}

const char *quantity_format_duration(u64 ns, char *text)
{
    return format_scaled(ns, time_units, ARRAY_LENGTH(time_units), text);
}

const char *quantity_format_duration_range(struct quantity_range range, char *text)
{
    char high[QUANTITY_TEXT_SIZE];
    quantity_format_duration(range.low, text);
    if (range.high != range.low) {
        size_t size = strlen(text);
        snprintf(text + size, QUANTITY_TEXT_SIZE - size, "..%s",
                 quantity_format_duration(range.high, high));
    }
    return text;
}
