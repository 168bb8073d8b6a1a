/* search.h - looks for one order of one key's operations that explains every answer.
 *
 * The search of Wing and Gong, in the spirit of Lowe's just-in-time linearization: operations take
 * effect one after the other, preferably the one whose answer comes first, others when that one
 * cannot; a situation (what took effect, and what the key holds) is entered once. On top of that
 * it takes some operations without trying anything else, and leaves situations that the future
 * forbids; search.c says why each of these loses no order.
 *
 * Private to the checker. Thread: any, one search at a time per call. */
#ifndef MAILRAFT_TEST_HISTORY_SEARCH_H
#define MAILRAFT_TEST_HISTORY_SEARCH_H

#include "test/history/linearizability.h"

struct search_outcome {
    enum verdict verdict;
    u64 steps;         /* operations tried */
    size_t memory;     /* bytes at the end, which is the most there was */
    const char *limit; /* GAVE_UP: "steps", "memory" or "time"; else NULL */
};

/* Judges operations on one key, in any order. */
struct search_outcome search_run(const struct operation *operations, size_t count,
                                 const struct linearizability_limits *limits);

/* The same, and if they are linearizable the positions of those that took effect, in the order
 * found, in `order`, which has room for all. Operations of unknown outcome that are missing there
 * never took effect. */
struct search_outcome search_order(const struct operation *operations, size_t count,
                                   const struct linearizability_limits *limits, u32 *order,
                                   size_t *ordered);

#endif
