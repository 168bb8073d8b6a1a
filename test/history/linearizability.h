/* linearizability.h - was there one order of all operations that explains every answer?
 *
 * A history is linearizable when each operation can be given one instant between its invocation
 * and its answer at which it took effect, such that the answers are those of a single key-value
 * store that carries the operations out one after the other. Operations of unknown outcome get an
 * instant anywhere after their invocation, or none; definite failures did not happen.
 *
 * Linearizability is local: a history is linearizable exactly when its part for each key is. So
 * keys are checked one by one, by a search (search.h) that is exact in both directions. The problem
 * is NP-complete; what the search cannot settle within its limits it gives up, and says so.
 *
 * Knows nothing of servers or Raft, reads no clock, writes nowhere. Thread: one at a time for one
 * history. Memory comes from memory.h. */
#ifndef MAILRAFT_TEST_HISTORY_LINEARIZABILITY_H
#define MAILRAFT_TEST_HISTORY_LINEARIZABILITY_H

#include "common/bytes.h"
#include "test/history/history.h"

enum verdict {
    LINEARIZABLE,
    NOT_LINEARIZABLE, /* at least one key has no order; wins over GAVE_UP */
    GAVE_UP           /* a limit was met for at least one key, and no other key failed */
};

struct linearizability_limits {
    u64 steps_max;     /* operations tried on one key, some 10 million a second; 0: no bound */
    size_t memory_max; /* bytes for one key; 0: no bound */
    /* Asked now and then; true gives up. NULL: never. For deadlines: this library knows no time. */
    bool (*stop)(void *context);
    void *context;
};

struct linearizability_result {
    enum verdict verdict;
    const struct text *key; /* the first key that failed, else the first given up; NULL: none */
    size_t keys;            /* with at least one operation that may have happened */
    size_t keys_given_up;
    u64 steps;          /* of the searches for the verdict, all keys together */
    size_t memory_peak; /* bytes, the largest key */
    const char *limit;  /* which limit was met: "steps", "memory", "time"; NULL: none */
    struct buffer text; /* NOT_LINEARIZABLE: the smallest contradicting part found, as lines */
};

/* Judges the history. `result` is initialised here; the caller deinits it.
 *
 * The part shown is found like this: first the shortest beginning of the key's history that cannot
 * be ordered (operations not answered by then count as unknown), then all operations of it whose
 * answers and end are not needed for the contradiction are freed of them. Where more than a handful
 * is left, the operations up to an instant at which only one value is possible are replaced by that
 * value. What is left is proof: the lines shown contradict each other, or that value, however the
 * operations not shown went. At most a dozen lines are shown; then comes which answer was the first
 * that nothing explains, what the key can have held instead, and how many operations are left out.
 * Bounded to some 30 million steps of search, seconds, and by `limits`. */
void linearizability_check(const struct history *history,
                           const struct linearizability_limits *limits,
                           struct linearizability_result *result);
void linearizability_result_deinit(struct linearizability_result *result);

#endif
