/* fuzz_memory.c - the fuzzers' side of the seam common/memory.h: malloc, counted. */
#include "test/fuzz/fuzz_memory.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/memory.h"

/* Atomic, because a storage that is open has a thread of its own. */
static _Atomic u64 bytes_now;
static _Atomic u64 pieces_now;
static _Atomic u64 bytes_max = UINT64_MAX;

void fuzz_memory_begin(u64 max)
{
    ASSERT(atomic_load(&pieces_now) == 0);
    atomic_store(&bytes_now, 0);
    atomic_store(&bytes_max, max);
}

void fuzz_memory_end(void)
{
    /* What was taken has been given back. */
    ASSERT(atomic_load(&pieces_now) == 0 && atomic_load(&bytes_now) == 0);
    atomic_store(&bytes_max, UINT64_MAX);
}

/* Asked before the memory is, so that the answer does not depend on the machine. */
static void check_bound(u64 more)
{
    /* The input asks for more memory than its size justifies. */
    ASSERT(more <= atomic_load(&bytes_max) && atomic_load(&bytes_now) <= atomic_load(&bytes_max));
}

static void *taken(void *pointer)
{
    ASSERT(pointer != NULL);
    atomic_fetch_add(&pieces_now, 1);
    atomic_fetch_add(&bytes_now, malloc_usable_size(pointer));
    check_bound(0);
    return pointer;
}

static void given(void *pointer)
{
    atomic_fetch_sub(&pieces_now, 1);
    atomic_fetch_sub(&bytes_now, malloc_usable_size(pointer));
}

void *memory_alloc(size_t size)
{
    check_bound(size);
    return taken(malloc(size > 0 ? size : 1));
}

void *memory_alloc_zero(size_t count, size_t size)
{
    u64 bytes;
    ASSERT(!__builtin_mul_overflow((u64)count, (u64)size, &bytes));
    check_bound(bytes);
    return taken(calloc(count > 0 ? count : 1, size > 0 ? size : 1));
}

void *memory_resize(void *pointer, size_t size)
{
    check_bound(size);
    if (pointer != NULL)
        given(pointer);
    return taken(realloc(pointer, size > 0 ? size : 1));
}

void memory_free(void *pointer)
{
    if (pointer != NULL)
        given(pointer);
    free(pointer);
}

void memory_trim(void)
{
    /* There is no system to give anything back to. */
}

char *memory_copy_string(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_alloc(size);
    memcpy(copy, text, size);
    return copy;
}
