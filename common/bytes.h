/* bytes.h - blocks, spans, buffers, and little-endian numbers.
 *
 * A *block* is counted memory that several owners share: log, disk, peers and machine all point
 * into the block that the bytes first arrived in, and nothing is copied on the way. Bytes that
 * somebody else may already see never change; whoever created a block may still fill the part
 * behind them. A *span* is a piece of a block with one reference of its own. A *buffer* is
 * ordinary growing memory with a single owner. */
#ifndef MAILRAFT_COMMON_BYTES_H
#define MAILRAFT_COMMON_BYTES_H

#include <stdatomic.h>
#include <string.h>

#include "common/check.h"
#include "common/types.h"

/* ---- blocks: shared by count ---- */

struct block {
    _Atomic u32 references; /* 1 and up while alive */
    u32 size;               /* bytes in data */
    u8 data[];
};

/* A new block of `size` uninitialised bytes with one reference, the caller's. */
struct block *block_create(u32 size);
struct block *block_create_copy(const void *data, u32 size);
/* Adds a reference and returns the block. Thread: any. */
struct block *block_hold(struct block *block);
/* Gives a reference back; the last one frees. NULL is a no-op. Thread: any. */
void block_release(struct block *block);

/* ---- spans: a piece of a block ---- */

struct span {
    struct block *block; /* one reference is the span's; NULL: the empty span */
    const u8 *data;      /* within block->data */
    u32 size;
};

/* A span over part of `block`, with a reference of its own. */
struct span span_of(struct block *block, const u8 *data, u32 size);
void span_release(struct span *span);

/* ---- buffers: one owner, growing ---- */

struct buffer {
    u8 *data;    /* NULL when capacity is 0 */
    size_t size; /* bytes in use */
    size_t capacity;
};

void buffer_init(struct buffer *buffer);
void buffer_deinit(struct buffer *buffer);
/* Makes room for `more` bytes behind the used ones and returns where they go; size is unchanged. */
u8 *buffer_reserve(struct buffer *buffer, size_t more);
void buffer_append(struct buffer *buffer, const void *data, size_t size);
void buffer_append_string(struct buffer *buffer, const char *text);
void buffer_append_format(struct buffer *buffer, const char *format, ...) PRINTF_LIKE(2, 3);
/* Drops the first `count` bytes and moves the rest down. */
void buffer_drop_front(struct buffer *buffer, size_t count);
static inline void buffer_clear(struct buffer *buffer)
{
    buffer->size = 0;
}

/* ---- little-endian numbers at any alignment ---- */

static inline u16 load_u16(const u8 *from)
{
    return (u16)(from[0] | (u16)from[1] << 8);
}
static inline u32 load_u32(const u8 *from)
{
    return (u32)from[0] | (u32)from[1] << 8 | (u32)from[2] << 16 | (u32)from[3] << 24;
}
static inline u64 load_u64(const u8 *from)
{
    return (u64)load_u32(from) | (u64)load_u32(from + 4) << 32;
}
static inline void store_u16(u8 *to, u16 value)
{
    to[0] = (u8)value;
    to[1] = (u8)(value >> 8);
}
static inline void store_u32(u8 *to, u32 value)
{
    store_u16(to, (u16)value);
    store_u16(to + 2, (u16)(value >> 16));
}
static inline void store_u64(u8 *to, u64 value)
{
    store_u32(to, (u32)value);
    store_u32(to + 4, (u32)(value >> 32));
}

#endif
