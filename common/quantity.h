/* quantity.h - numbers, sizes and times as people write them.
 *
 * One notation for the configuration, command lines, CONFIG SET, scenario files and reports. What
 * is formatted here is read back to the same value. A number may have up to six decimals where it
 * has a unit, and must come out whole in the smallest one: "1.5s" is a duration, "0.5ns" is none.
 *
 * All parse functions take the whole text, refuse overflow, and leave the result alone when they
 * return false. Thread: any. */
#ifndef MAILRAFT_COMMON_QUANTITY_H
#define MAILRAFT_COMMON_QUANTITY_H

#include "common/types.h"

/* Both ends inclusive; low <= high. */
struct quantity_range {
    u64 low;
    u64 high;
};

enum { QUANTITY_TEXT_SIZE = 64 }; /* room for any of the formatted texts, with the NUL */

/* Decimal digits and nothing else. */
bool quantity_parse_u64(const char *text, u64 *value);

/* Bytes: a bare number, or with B, KiB, MiB, GiB, TiB, in upper or lower case. As in redis.conf,
 * kb, mb, gb, tb are the same powers of 1,024, and k, m, g, t are powers of 1,000. */
bool quantity_parse_bytes(const char *text, u64 *bytes);

/* A number with ns, us, ms, s, m or h; of the bare numbers only 0. In nanoseconds. */
bool quantity_parse_duration(const char *text, u64 *ns);

/* "150ms..300ms"; a single duration is a range from itself to itself. */
bool quantity_parse_duration_range(const char *text, struct quantity_range *range);

/* The largest of the units that leaves a whole number: "64KiB", "1500ms". `text` has room for
 * QUANTITY_TEXT_SIZE; returned for use in an argument list. */
const char *quantity_format_bytes(u64 bytes, char *text);
const char *quantity_format_duration(u64 ns, char *text);
const char *quantity_format_duration_range(struct quantity_range range, char *text);

#endif
