/* kv_grow.c - APPEND, at a price that does not depend on how large the value is already.
 *
 * Ten thousand APPENDs of a byte to a value of 8 MiB are half a megabyte of log: were each to copy
 * the value, and to hash it for the digest, a follower would be at it for minutes. So a value that
 * is appended to gets room behind it, half as much again, and what comes is written there; and the
 * hash of all of it is kept as the state of a hash that goes on. Both lie in the value's block:
 *
 *     bytes of the value | room | state of the hash (aligned)
 *
 * Bytes that are there never change, so a snapshot that is being taken shares the block, and knows
 * by the size that it keeps where its value ends. Only the item in the table grows it. How much
 * room there is may differ from server to server (a restored value has none): nothing that is
 * answered, digested or written depends on it.
 *
 * Small values are copied: that is cheaper than the state.
 *
 * Rejected: a value as a list of pieces. Every reader would have to put it together, and a value
 * made of a million pieces would be slow to read, take and free. */
#include "server/machine/kv_store.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    GROWING_MIN = 4096, /* bytes of a value that is worth the state */
    STATE_ALIGNMENT = 64,
    STATE_ROOM = (int)sizeof(XXH3_state_t) + STATE_ALIGNMENT - 1
};

static u32 capacity_of(const struct block *block)
{
    return block->size - STATE_ROOM;
}

static XXH3_state_t *state_of(struct block *block)
{
    uintptr_t behind = (uintptr_t)(block->data + capacity_of(block));
    uintptr_t aligned = (behind + STATE_ALIGNMENT - 1) & ~(uintptr_t)(STATE_ALIGNMENT - 1);
    return (XXH3_state_t *)aligned;
}

static void hash_more(struct block *block, const u8 *data, u32 size)
{
    XXH_errorcode code = XXH3_64bits_update(state_of(block), data, size);
    ASSERT(code == XXH_OK);
}

/* A block with the item's value, and room for it to become `size` bytes and more, but hardly more
 * than `size_max`. */
static struct block *block_with_room(struct kv *kv, const struct kv_item *item, u64 size,
                                     u32 size_max)
{
    u64 capacity = u64_min(size + size / 2, u64_max(size, size_max));
    struct block *block = block_create((u32)capacity + STATE_ROOM);
    u32 old_size = item == NULL ? 0 : item->size;
    if (old_size > 0)
        memcpy(block->data, item->value->data, old_size);
    if (item != NULL && item->grows) {
        memcpy(state_of(block), state_of(item->value), sizeof(XXH3_state_t));
    } else {
        XXH_errorcode code = XXH3_64bits_reset(state_of(block));
        ASSERT(code == XXH_OK);
        hash_more(block, block->data, old_size);
    }
    kv_note_work(kv, 2 * (u64)old_size);
    return block;
}

static void append_by_copy(struct kv *kv, const struct kv_argument *key, u64 hash,
                           struct kv_item *item, const struct kv_argument *tail)
{
    u32 old_size = item == NULL ? 0 : item->size;
    struct block *block = block_create(old_size + tail->size);
    if (old_size > 0)
        memcpy(block->data, item->value->data, old_size);
    if (tail->size > 0)
        memcpy(block->data + old_size, tail->data, tail->size);
    kv_put(kv, key, hash, item, block);
}

void kv_append(struct kv *kv, const struct kv_argument *key, u64 hash, struct kv_item *item,
               const struct kv_argument *tail, u32 size_max)
{
    u32 old_size = item == NULL ? 0 : item->size;
    u64 size = (u64)old_size + tail->size;
    ASSERT(size <= KV_VALUE_SIZE_MAX);
    if (size < GROWING_MIN) {
        append_by_copy(kv, key, hash, item, tail);
        return;
    }
    bool fits = item != NULL && item->grows && size <= capacity_of(item->value);
    struct block *block =
        fits ? block_hold(item->value) : block_with_room(kv, item, size, size_max);
    if (tail->size > 0)
        memcpy(block->data + old_size, tail->data, tail->size);
    hash_more(block, tail->data, tail->size);
    kv_note_work(kv, 2 * (u64)tail->size);
    const struct kv_value value = {.block = block,
                                   .size = (u32)size,
                                   .grows = true,
                                   .hash = XXH3_64bits_digest(state_of(block))};
    kv_put_value(kv, key, hash, item, &value);
}
