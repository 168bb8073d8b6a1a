/* contradiction.h - the smallest part of one key's history that still cannot be ordered, and the
 * reason, in lines for people.
 *
 * Private to the checker. Thread: as linearizability.h. */
#ifndef MAILRAFT_TEST_HISTORY_CONTRADICTION_H
#define MAILRAFT_TEST_HISTORY_CONTRADICTION_H

#include "test/history/search.h"

/* Appends the part to `text`. `operations` are all those of one key, not linearizable; they are
 * changed and shuffled. Stops shrinking, and shows what it has, at the limits. */
void contradiction_describe(struct operation *operations, size_t count,
                            const struct linearizability_limits *limits, struct buffer *text);

#endif
