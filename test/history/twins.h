/* twins.h - which operations are as good as each other.
 *
 * Twins are operations on one key that the search may exchange for one another: the same question
 * with the same answers, where a written value that nobody can tell from some others counts as the
 * same as those. Among twins that are candidates only the one that must take effect first needs to
 * be tried. Private to the checker. */
#ifndef MAILRAFT_TEST_HISTORY_TWINS_H
#define MAILRAFT_TEST_HISTORY_TWINS_H

#include "test/history/problem.h"

/* For each item, the number of its class; items are twins when their classes are equal. The
 * problem's items and values are complete. Ownership: the caller frees the array. */
u32 *twins_find(const struct problem *problem);

#endif
