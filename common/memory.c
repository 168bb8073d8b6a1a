/* memory.c - the production side of the seam: malloc, and a clear end when it has no more.
 *
 * Going on without memory would mean an error path behind every allocation of every room, walked
 * by nobody until the worst day. A server that ends instead is what Raft is built to survive. */
#include "common/memory.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "common/check.h"

/* _exit, because exit handlers may allocate. */
static _Noreturn void out_of_memory(size_t size)
{
    char text[96];
    int length = snprintf(text, sizeof(text), "out of memory: no %zu bytes to be had\n", size);
    if (length > 0)
        check_last_words(text, (size_t)length);
    _exit(EX_OSERR);
}

void *memory_alloc(size_t size)
{
    void *pointer = malloc(size > 0 ? size : 1);
    if (pointer == NULL)
        out_of_memory(size);
    return pointer;
}

void *memory_alloc_zero(size_t count, size_t size)
{
    void *pointer = calloc(count > 0 ? count : 1, size > 0 ? size : 1);
    if (pointer == NULL)
        out_of_memory(size);
    return pointer;
}

void *memory_resize(void *pointer, size_t size)
{
    void *resized = realloc(pointer, size > 0 ? size : 1);
    if (resized == NULL)
        out_of_memory(size);
    return resized;
}

void memory_free(void *pointer)
{
    free(pointer);
}

void memory_trim(void)
{
    (void)malloc_trim(0);
}

char *memory_copy_string(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = memory_alloc(size);
    memcpy(copy, text, size);
    return copy;
}
