/* fuzz_memory.h - what the rooms have taken from the heap, counted. Thread: any. */
#ifndef MAILRAFT_TEST_FUZZ_MEMORY_H
#define MAILRAFT_TEST_FUZZ_MEMORY_H

#include "common/types.h"

/* Counts from here on; to have more than `bytes_max` at any moment is a broken property. */
void fuzz_memory_begin(u64 bytes_max);
/* Checks that all has been given back. */
void fuzz_memory_end(void);

#endif
