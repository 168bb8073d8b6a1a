/* seen.h - the set of situations the search has been in.
 *
 * A situation is the set of operations that took effect so far together with the value they left.
 * Kept is a fingerprint of 128 bits: with a billion situations the chance that two share one is
 * about 10^-21, and a shared one could only make the search miss an order. That replaces sets of
 * as many bits as there are operations, 12 KB each at 100,000 of them. */
#ifndef MAILRAFT_TEST_HISTORY_SEEN_H
#define MAILRAFT_TEST_HISTORY_SEEN_H

#include "common/types.h"

struct fingerprint {
    u64 word[2];
};

struct seen {
    struct fingerprint *slots; /* all zero: free */
    size_t slot_count;         /* a power of two */
    size_t count;
};

void seen_init(struct seen *seen);
void seen_deinit(struct seen *seen);

/* Adds the fingerprint. Returns false when it was there. */
bool seen_add(struct seen *seen, struct fingerprint fingerprint);

/* Bytes in use, at the most that the next seen_add needs while it grows. */
size_t seen_memory_next(const struct seen *seen);

/* The share that a thing with this number has in a fingerprint; shares are combined by xor. */
struct fingerprint fingerprint_of(u64 number);

static inline struct fingerprint fingerprint_xor(struct fingerprint a, struct fingerprint b)
{
    return (struct fingerprint){{a.word[0] ^ b.word[0], a.word[1] ^ b.word[1]}};
}

#endif
