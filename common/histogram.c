/* histogram.c - see histogram.h. */
#include "common/histogram.h"

#include "common/check.h"

enum { SPLIT = 1 << HISTOGRAM_SPLIT_BITS };

/* Below SPLIT a bucket is a microsecond. Above, the number's highest bit chooses a group of SPLIT
 * buckets, and the bits behind it one of the group. */
static u32 bucket_of(u64 us)
{
    if (us < SPLIT)
        return (u32)us;
    if (us >= HISTOGRAM_END_US)
        return HISTOGRAM_BUCKETS - 1;
    u32 shift = 63 - (u32)__builtin_clzll(us) - HISTOGRAM_SPLIT_BITS;
    return (shift + 1) * SPLIT + (u32)((us >> shift) & (SPLIT - 1));
}

/* The first whole microsecond that is too long for the bucket. */
static u64 bucket_end_us(u32 bucket)
{
    if (bucket < SPLIT)
        return bucket + 1;
    u32 shift = bucket / SPLIT - 1;
    return (u64)(SPLIT + bucket % SPLIT + 1) << shift;
}

void histogram_add(struct histogram *histogram, u64 ns)
{
    histogram->count++;
    histogram->total_ns += ns;
    histogram->max_ns = u64_max(histogram->max_ns, ns);
    histogram->buckets[bucket_of(ns / NS_PER_US)]++;
}

void histogram_move(struct histogram *to, struct histogram *from)
{
    to->count += from->count;
    to->total_ns += from->total_ns;
    to->max_ns = u64_max(to->max_ns, from->max_ns);
    for (u32 bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++)
        to->buckets[bucket] += from->buckets[bucket];
    *from = (struct histogram){0};
}

u64 histogram_quantile(const struct histogram *histogram, u32 per_mille)
{
    ASSERT(per_mille >= 1 && per_mille <= 1000);
    /* How many are to be passed, rounded up; divided first, for the product may be too large. */
    u64 rest = histogram->count % 1000;
    u64 wanted = histogram->count / 1000 * per_mille + (rest * per_mille + 999) / 1000;
    u64 seen = 0;
    if (wanted == 0)
        return 0;
    for (u32 bucket = 0; bucket < HISTOGRAM_BUCKETS - 1; bucket++) {
        seen += histogram->buckets[bucket];
        if (seen >= wanted)
            return u64_min(bucket_end_us(bucket) * NS_PER_US, histogram->max_ns);
    }
    return histogram->max_ns; /* the last bucket has no end */
}

/* Numbers begin at 1: 0 is that of a slot that was never used. */
static u64 number_at(u64 now_ns)
{
    return now_ns / (RECENT_SLOT_S * NS_PER_S) + 1;
}

void recent_max_add(struct recent_max *recent, u64 now_ns, u64 ns)
{
    u64 number = number_at(now_ns);
    u32 slot = (u32)(number % RECENT_SLOTS);
    if (recent->numbers[slot] != number)
        recent->max_ns[slot] = 0;
    recent->numbers[slot] = number;
    recent->max_ns[slot] = u64_max(recent->max_ns[slot], ns);
}

u64 recent_max_get(const struct recent_max *recent, u64 now_ns)
{
    u64 number = number_at(now_ns);
    u64 max_ns = 0;
    for (u32 slot = 0; slot < RECENT_SLOTS; slot++) {
        if (recent->numbers[slot] != 0 && recent->numbers[slot] + RECENT_SLOTS > number)
            max_ns = u64_max(max_ns, recent->max_ns[slot]);
    }
    return max_ns;
}
