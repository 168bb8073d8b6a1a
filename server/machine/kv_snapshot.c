/* kv_snapshot.c - taking the state as of one moment, while commands go on changing it.
 *
 * Form of a taken state, little-endian:
 *    0  u8[8] "kvstate1"
 *    8  u64   number of keys
 *   16  u64   sum of the digests of all (key, value)
 *   24  a record for each key, in any order: u32 size of the key, u32 size of the value, the key,
 *       the value
 * It ends with the last record. It is valid if and only if there are so many records, no key is
 * there twice, the digests of what was read have that sum, and nothing follows.
 *
 * How it is taken. kv->epoch counts the snapshots; an item's epoch says during which it was last
 * written *or taken*. So from begin on, the items of an earlier epoch are exactly those that are as
 * they were at begin and still have to be taken, and no place in any table needs to be compared:
 * - a cursor goes through the tables in order, bucket by bucket. What has this epoch it passes
 *   over; of the rest it writes the record, and gives it this epoch. A table that grows meanwhile
 *   from n buckets to 2n moves items from a bucket b to b or b + n, never behind the cursor; one
 *   that became empty and began anew has only items of this epoch;
 * - a command that changes or removes an item of an earlier epoch first puts what it was in a row,
 *   `kept`: the value is only handed over, since values are immutable. The row goes out before the
 *   cursor moves on, so it holds what was changed between two pieces, and no more;
 * - new items come with this epoch;
 * - FLUSHALL leaves all tables, unchanged, to the cursor, and begins with new ones. What comes into
 *   those has this epoch, so a second FLUSHALL need not ask.
 * A write costs a comparison, and a copy of the key when the item was of interest: there is no
 * moment when all of the state is copied, or even looked at.
 *
 * A record that is too large for a piece is put at the front of the row, and goes out in parts.
 *
 * Rejected: fork (another process with twice the memory at worst, a pause for its page tables, and
 * nothing that a simulator could follow); pinning whole tables when they are written to (a table of
 * a thousand keys at once is a pause on the way of one write).
 *
 * Thread: the machine's. */
#include "server/machine/kv_snapshot.h"

enum {
    /* How far ahead of the cursor items are asked for, and so many cache lines of their values at
     * half of that: all are cache misses, and with many underway at once a piece takes a third of
     * the time. */
    BUCKETS_AHEAD = 32,
    VALUE_LINES_AHEAD = 5
};

/* The piece that is being written. */
struct piece {
    struct buffer *to;
    size_t end;    /* of `to`, at most */
    u32 keys_left; /* to be taken */
    u32 buckets_left;
};

static u64 room(const struct piece *piece)
{
    return piece->end - piece->to->size;
}

static u64 record_size(const struct kv_item *item)
{
    return (u64)KV_RECORD_HEAD_SIZE + item->hh.keylen + item->size;
}

/* ---- the row of what is kept ---- */

static void items_append(struct kv_items *items, struct kv_item *item)
{
    item->hh.next = NULL;
    if (items->last != NULL)
        items->last->hh.next = item;
    else
        items->first = item;
    items->last = item;
}

/* An item with this one's key, and the value, whose reference is taken over. */
static struct kv_item *copy_of(const struct kv_item *item, struct block *value)
{
    struct kv_item *copy = memory_alloc(sizeof(*copy) + item->hh.keylen);
    copy->hh.keylen = item->hh.keylen;
    copy->value = value;
    copy->size = item->size;
    copy->grows = false; /* only the item in the table does */
    memcpy(copy->key, item->key, item->hh.keylen);
    return copy;
}

void kv_snapshot_keep_value(struct kv *kv, struct kv_item *item)
{
    items_append(&kv->taking.kept, copy_of(item, item->value));
    item->value = NULL;
}

void kv_snapshot_keep_item(struct kv *kv, struct kv_item *item)
{
    items_append(&kv->taking.kept, item);
}

/* ---- writing ---- */

static void write_record(struct buffer *to, const struct kv_item *item)
{
    size_t key_size = item->hh.keylen;
    u8 *at = buffer_reserve(to, record_size(item));
    store_u32(at, (u32)key_size);
    store_u32(at + 4, item->size);
    memcpy(at + KV_RECORD_HEAD_SIZE, item->key, key_size);
    memcpy(at + KV_RECORD_HEAD_SIZE + key_size, kv_value_data(item), item->size);
    to->size += record_size(item);
}

/* Of some bytes that begin at `start` of what is being written in parts, writes those from `*taken`
 * on, as far as there is room. */
static void write_part(struct piece *piece, const void *data, u64 size, u64 start, u64 *taken)
{
    if (*taken < start || *taken >= start + size)
        return;
    u64 skipped = *taken - start;
    u64 count = u64_min(size - skipped, room(piece));
    buffer_append(piece->to, (const u8 *)data + skipped, count);
    *taken += count;
}

/* Returns whether all of the head has gone out. */
static bool write_head(struct kv_taking *taking, struct piece *piece)
{
    u64 taken = taking->head_taken;
    write_part(piece, taking->head, KV_STATE_HEAD_SIZE, 0, &taken);
    taking->head_taken = (u32)taken;
    return taken == KV_STATE_HEAD_SIZE;
}

/* Writes what is missing of the record of kept's first. Returns whether that was all. */
static bool write_first(struct kv_taking *taking, struct piece *piece)
{
    const struct kv_item *item = taking->kept.first;
    u64 key_size = item->hh.keylen;
    u8 head[KV_RECORD_HEAD_SIZE];
    store_u32(head, (u32)key_size);
    store_u32(head + 4, item->size);
    write_part(piece, head, sizeof(head), 0, &taking->first_taken);
    write_part(piece, item->key, key_size, sizeof(head), &taking->first_taken);
    write_part(piece, kv_value_data(item), item->size, sizeof(head) + key_size,
               &taking->first_taken);
    if (taking->first_taken < record_size(item))
        return false;
    taking->first_taken = 0;
    return true;
}

/* Writes the row of what is kept. Returns whether all of it has gone out. */
static bool write_kept(struct kv *kv, struct piece *piece)
{
    struct kv_taking *taking = &kv->taking;
    while (taking->kept.first != NULL) {
        if (piece->keys_left == 0 || room(piece) == 0)
            return false;
        piece->keys_left--;
        if (!write_first(taking, piece))
            return false;
        struct kv_item *item = kv_items_take(&taking->kept);
        if (item->value->size >= KV_VALUE_LARGE)
            kv_garbage_item(kv, item);
        else
            kv_item_free(item);
    }
    return true;
}

/* ---- the cursor ---- */

/* Returns false when the piece is full. */
static bool take_item(struct kv *kv, struct kv_item *item, struct piece *piece)
{
    item->epoch = kv->epoch;
    if (record_size(item) <= room(piece)) {
        write_record(piece->to, item);
        return true;
    }
    items_append(&kv->taking.kept, copy_of(item, block_hold(item->value)));
    (void)write_kept(kv, piece);
    return false;
}

/* Asks for what the cursor will come to in a while. */
static void look_ahead(const UT_hash_table *table, u32 bucket)
{
    enum { LINE_SIZE = 64 };
    if (bucket + BUCKETS_AHEAD < table->num_buckets) {
        const u8 *item = (const u8 *)table->buckets[bucket + BUCKETS_AHEAD].hh_head;
        __builtin_prefetch(item, 1);
        __builtin_prefetch(item + LINE_SIZE, 1);
    }
    if (bucket + BUCKETS_AHEAD / 2 >= table->num_buckets)
        return;
    const UT_hash_handle *handle = table->buckets[bucket + BUCKETS_AHEAD / 2].hh_head;
    if (handle == NULL)
        return;
    const struct kv_item *item = (const struct kv_item *)(const void *)handle;
    for (u32 line = 0; line < VALUE_LINES_AHEAD; line++)
        __builtin_prefetch((const u8 *)item->value + line * LINE_SIZE);
}

/* Takes the items of a bucket. Those already taken do not count as looked at: a piece that ends in
 * the middle of a bucket passes over them again. */
static bool walk_bucket(struct kv *kv, UT_hash_handle *handle, struct piece *piece)
{
    for (; handle != NULL; handle = handle->hh_next) {
        struct kv_item *item = CONTAINER_OF(handle, struct kv_item, hh);
        if (item->epoch == kv->epoch)
            continue;
        if (piece->keys_left == 0)
            return false;
        piece->keys_left--;
        if (!take_item(kv, item, piece))
            return false;
    }
    return true;
}

/* Takes the items of a table. Returns false when the piece is full. */
static bool walk_table(struct kv *kv, struct kv_item *head, struct piece *piece)
{
    struct kv_taking *taking = &kv->taking;
    const UT_hash_table *table = head->hh.tbl;
    while (taking->bucket < table->num_buckets) {
        if (piece->buckets_left == 0)
            return false;
        piece->buckets_left--;
        look_ahead(table, taking->bucket);
        if (!walk_bucket(kv, table->buckets[taking->bucket].hh_head, piece))
            return false;
        taking->bucket++;
    }
    return true;
}

static void walk(struct kv *kv, struct piece *piece)
{
    struct kv_taking *taking = &kv->taking;
    const struct kv_tables *tables = taking->detached != NULL ? taking->detached : kv->tables;
    while (taking->table < KV_TABLES) {
        struct kv_item *head = tables->heads[taking->table];
        if (head != NULL && !walk_table(kv, head, piece))
            return;
        taking->table++;
        taking->bucket = 0;
    }
}

/* ---- the machine's functions ---- */

void kv_snapshot_begin(struct machine *machine)
{
    struct kv *kv = kv_of(machine);
    ASSERT(!kv->taking.active);
    kv->epoch++;
    kv->taking = (struct kv_taking){.active = true};
    memcpy(kv->taking.head, KV_STATE_MAGIC, KV_STATE_MAGIC_SIZE);
    store_u64(kv->taking.head + 8, kv->count);
    store_u64(kv->taking.head + 16, kv->digest_sum);
}

bool kv_snapshot_next(struct machine *machine, u64 bytes_max, struct buffer *to)
{
    struct kv *kv = kv_of(machine);
    struct kv_taking *taking = &kv->taking;
    ASSERT(taking->active && bytes_max > 0);
    size_t end = to->size + (size_t)u64_min(bytes_max, SIZE_MAX / 4);
    struct piece piece = {to, end, KV_SNAPSHOT_KEYS_MAX, KV_SNAPSHOT_BUCKETS_MAX};
    if (write_head(taking, &piece) && write_kept(kv, &piece))
        walk(kv, &piece);
    return taking->head_taken < KV_STATE_HEAD_SIZE || taking->kept.first != NULL ||
           taking->table < KV_TABLES;
}

void kv_snapshot_end(struct machine *machine)
{
    struct kv *kv = kv_of(machine);
    struct kv_taking *taking = &kv->taking;
    ASSERT(taking->active);
    kv_garbage_tables(kv, taking->detached);
    kv_garbage_items(kv, &taking->kept);
    *taking = (struct kv_taking){.active = false};
}
