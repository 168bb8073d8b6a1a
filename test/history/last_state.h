/* last_state.h - what a key holds after operations that can be ordered.
 *
 * Private to the checker. Thread: as linearizability.h. */
#ifndef MAILRAFT_TEST_HISTORY_LAST_STATE_H
#define MAILRAFT_TEST_HISTORY_LAST_STATE_H

#include "test/history/search.h"

struct last_state {
    bool known;        /* an order was found, within the limits */
    bool only;         /* and no order leaves the key with anything else */
    struct text *text; /* what it holds after that order; NULL: it is absent */
    u64 steps;         /* of the searches */
};

/* Looks for an order of the operations on one key, and says what somebody who looks between t0 and
 * t1 sees when all that was answered by then, and as much of the rest as the order has, took
 * effect. `operations` has room for one more behind `count`, and is left as it was. An operation
 * answered after t1 has no place in it. The caller deinits the result. */
struct last_state last_state_find(struct operation *operations, size_t count, u64 t0, u64 t1,
                                  const struct linearizability_limits *limits);
void last_state_deinit(struct last_state *state);

#endif
