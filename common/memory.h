/* memory.h - the one door to the heap for every room of a server.
 *
 * SEAM. Production links common/memory.c (malloc, and a clear end when there is none left: every
 * promise already made is on disk, so ending loses nothing). The simulator links its own, which
 * charges each allocation to the server that is running, so that a crashed server is dropped
 * without unwinding. Rooms therefore never call malloc, strdup or asprintf.
 *
 * Thread: any. Never returns NULL: when memory is out the process says so and ends with 71. */
#ifndef MAILRAFT_COMMON_MEMORY_H
#define MAILRAFT_COMMON_MEMORY_H

#include <stddef.h>

#include "common/types.h"

enum {
    MEMORY_TRIM_MIN = 32 * 1024 * 1024 /* what a burst must have needed to be worth a trim */
};
/* And for how long whoever needed it has rested. */
#define MEMORY_TRIM_REST_NS NS_PER_S

void *memory_alloc(size_t size) __attribute__((malloc, alloc_size(1), returns_nonnull));
void *memory_alloc_zero(size_t count, size_t size)
    __attribute__((malloc, alloc_size(1, 2), returns_nonnull));
/* As realloc; `pointer` may be NULL. */
void *memory_resize(void *pointer, size_t size) __attribute__((alloc_size(2), returns_nonnull));
/* NULL is a no-op. */
void memory_free(void *pointer);
/* Gives back to the system what was freed. Other threads wait where they allocate meanwhile, some
 * milliseconds for a gigabyte: for times of rest. */
void memory_trim(void);
char *memory_copy_string(const char *text) __attribute__((malloc, returns_nonnull));

#endif
