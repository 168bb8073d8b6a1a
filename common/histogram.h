/* histogram.h - how long things took: many durations in little memory, and what was usual and what
 * was rare among them.
 *
 * Log-linear: the whole microseconds below 8 have a bucket each, and above that each power of two
 * is divided into 8 buckets of equal width. So a quantile is at most an eighth too long, plus a
 * microsecond, and never too short; the maximum is exact. The last bucket takes all from
 * HISTOGRAM_END_US (134 s) on, and is taken for as long as the maximum. Fixed size, no allocation,
 * integers only; adding costs a few instructions.
 *
 * Thread: whoever owns it, one at a time. */
#ifndef MAILRAFT_COMMON_HISTOGRAM_H
#define MAILRAFT_COMMON_HISTOGRAM_H

#include "common/types.h"

enum {
    HISTOGRAM_SPLIT_BITS = 3, /* each power of two has 2^3 buckets */
    HISTOGRAM_TOP_BITS = 27,  /* durations of fewer bits, in us, are told apart */
    HISTOGRAM_END_US = 1 << HISTOGRAM_TOP_BITS,
    HISTOGRAM_BUCKETS =
        ((HISTOGRAM_TOP_BITS - HISTOGRAM_SPLIT_BITS + 1) << HISTOGRAM_SPLIT_BITS) + 1
};

/* All zeros: an empty one. */
struct histogram {
    u64 count;
    u64 total_ns;
    u64 max_ns;
    u64 buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *histogram, u64 ns);

/* Adds all that is in `from`, and empties that. */
void histogram_move(struct histogram *to, struct histogram *from);

/* The duration that `per_mille` of 1000 were not longer than, in ns: 500 is the median, 999 leaves
 * out one in a thousand. 0 when there is none. `per_mille` is 1..1000. */
u64 histogram_quantile(const struct histogram *histogram, u32 per_mille);

/* The longest of about the last minute: slots of 5 s are used in turn, so no clock must tick. */
enum { RECENT_SLOTS = 12, RECENT_SLOT_S = 5 };

/* All zeros: nothing has happened. */
struct recent_max {
    u64 numbers[RECENT_SLOTS]; /* which 5 s since the clock's beginning the slot was last used in */
    u64 max_ns[RECENT_SLOTS];
};

void recent_max_add(struct recent_max *recent, u64 now_ns, u64 ns);
/* 0 when there was none in the last 55 to 60 s. */
u64 recent_max_get(const struct recent_max *recent, u64 now_ns);

#endif
