/* bytes.c - counted blocks and growing buffers. */
#include "common/bytes.h"

#include <stdarg.h>
#include <stdio.h>

#include "common/memory.h"

/* ---- blocks ---- */

struct block *block_create(u32 size)
{
    struct block *block = memory_alloc(sizeof(*block) + size);
    atomic_init(&block->references, 1);
    block->size = size;
    return block;
}

struct block *block_create_copy(const void *data, u32 size)
{
    struct block *block = block_create(size);
    if (size > 0)
        memcpy(block->data, data, size);
    return block;
}

struct block *block_hold(struct block *block)
{
    /* Relaxed is enough: whoever holds on already has a reference, so nobody can be freeing. */
    u32 before = atomic_fetch_add_explicit(&block->references, 1, memory_order_relaxed);
    ASSERT(before > 0 && before < UINT32_MAX);
    return block;
}

void block_release(struct block *block)
{
    if (block == NULL)
        return;
    /* Release what this owner did to the bytes, and acquire what the others did, before freeing. */
    u32 before = atomic_fetch_sub_explicit(&block->references, 1, memory_order_acq_rel);
    ASSERT(before > 0);
    if (before == 1)
        memory_free(block);
}

/* ---- spans ---- */

struct span span_of(struct block *block, const u8 *data, u32 size)
{
    if (block == NULL) {
        ASSERT(size == 0);
        return (struct span){.block = NULL, .data = data, .size = 0};
    }
    ASSERT(data >= block->data && data <= block->data + block->size);
    ASSERT(size <= (size_t)(block->data + block->size - data));
    return (struct span){.block = block_hold(block), .data = data, .size = size};
}

void span_release(struct span *span)
{
    block_release(span->block);
    *span = (struct span){.block = NULL, .data = NULL, .size = 0};
}

/* ---- buffers ---- */

enum { BUFFER_CAPACITY_MIN = 64 };

void buffer_init(struct buffer *buffer)
{
    *buffer = (struct buffer){.data = NULL, .size = 0, .capacity = 0};
}

void buffer_deinit(struct buffer *buffer)
{
    memory_free(buffer->data);
    buffer_init(buffer);
}

u8 *buffer_reserve(struct buffer *buffer, size_t more)
{
    ASSERT(more <= SIZE_MAX / 4 && buffer->size <= SIZE_MAX / 4);
    size_t needed = buffer->size + more;
    if (buffer->data == NULL || needed > buffer->capacity) {
        /* Doubling keeps a long row of small appends linear. */
        size_t capacity = buffer->capacity * 2;
        if (capacity < BUFFER_CAPACITY_MIN)
            capacity = BUFFER_CAPACITY_MIN;
        if (capacity < needed)
            capacity = needed;
        buffer->data = memory_resize(buffer->data, capacity);
        buffer->capacity = capacity;
    }
    return buffer->data + buffer->size;
}

void buffer_append(struct buffer *buffer, const void *data, size_t size)
{
    u8 *to = buffer_reserve(buffer, size);
    if (size > 0)
        memcpy(to, data, size);
    buffer->size += size;
}

void buffer_append_string(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_format(struct buffer *buffer, const char *format, ...)
{
    /* Most lines fit the first time; the others say how much they need. The NUL that vsnprintf
     * writes lies behind the used bytes and is not counted. */
    size_t room = BUFFER_CAPACITY_MIN;
    for (;;) {
        u8 *to = buffer_reserve(buffer, room);
        va_list arguments;
        va_start(arguments, format);
        int size = vsnprintf((char *)to, room, format, arguments);
        va_end(arguments);
        ASSERT(size >= 0);
        if ((size_t)size < room) {
            buffer->size += (size_t)size;
            return;
        }
        room = (size_t)size + 1;
    }
}

void buffer_drop_front(struct buffer *buffer, size_t count)
{
    ASSERT(count <= buffer->size);
    if (count == 0)
        return;
    buffer->size -= count;
    memmove(buffer->data, buffer->data + count, buffer->size);
}
