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
 * - a cursor goes through the tables in order, item by item. What has this epoch it passes over;
 *   of the rest it writes the record, and gives it this epoch;
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
    /* The cursor asks for the values of the items ahead of it: all of them are cache misses, and
     * with 8 underway at once a piece took half the time. */
    ITEMS_AHEAD = 8
};

/* The piece that is being written. */
struct piece {
    struct buffer *to;
    size_t end;    /* of `to`, at most */
    u32 keys_left; /* to be looked at */
};

static u64 room(const struct piece *piece)
{
    return piece->end - piece->to->size;
}

static u64 record_size(const struct kv_item *item)
{
    return (u64)KV_RECORD_HEAD_SIZE + item->hh.keylen + item->value->size;
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

static struct kv_item *items_take(struct kv_items *items)
{
    struct kv_item *item = items->first;
    items->first = item->hh.next;
    if (items->first == NULL)
        items->last = NULL;
    return item;
}

/* An item with this one's key, and the value, whose reference is taken over. */
static struct kv_item *copy_of(const struct kv_item *item, struct block *value)
{
    struct kv_item *copy = memory_alloc(sizeof(*copy) + item->hh.keylen);
    copy->hh.keylen = item->hh.keylen;
    copy->value = value;
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
    store_u32(at + 4, item->value->size);
    memcpy(at + KV_RECORD_HEAD_SIZE, item->key, key_size);
    memcpy(at + KV_RECORD_HEAD_SIZE + key_size, item->value->data, item->value->size);
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
    store_u32(head + 4, item->value->size);
    write_part(piece, head, sizeof(head), 0, &taking->first_taken);
    write_part(piece, item->key, key_size, sizeof(head), &taking->first_taken);
    write_part(piece, item->value->data, item->value->size, sizeof(head) + key_size,
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
        struct kv_item *item = items_take(&taking->kept);
        if (item->value->size >= KV_VALUE_LARGE)
            kv_garbage_item(kv, item);
        else
            kv_item_free(item);
    }
    return true;
}

/* ---- the cursor ---- */

/* Goes on to the next table with items. Returns false when there is none. */
static bool enter_table(struct kv *kv)
{
    struct kv_taking *taking = &kv->taking;
    const struct kv_tables *tables = taking->detached != NULL ? taking->detached : kv->tables;
    while (taking->next == NULL) {
        if (taking->table == KV_TABLES)
            return false;
        taking->next = tables->heads[taking->table++];
    }
    return true;
}

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

static struct kv_item *ask_for(struct kv_item *item)
{
    if (item == NULL)
        return NULL;
    __builtin_prefetch(item->value);
    return item->hh.next;
}

/* Takes items of the table that the cursor is in. Returns false when the piece is full. */
static bool walk_table(struct kv *kv, struct piece *piece)
{
    struct kv_taking *taking = &kv->taking;
    struct kv_item *ahead = taking->next;
    for (u32 i = 0; i < ITEMS_AHEAD; i++)
        ahead = ask_for(ahead);
    while (taking->next != NULL) {
        if (piece->keys_left == 0)
            return false;
        piece->keys_left--;
        struct kv_item *item = taking->next;
        taking->next = item->hh.next;
        ahead = ask_for(ahead);
        if (item->epoch != kv->epoch && !take_item(kv, item, piece))
            return false;
    }
    return true;
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
    struct piece piece = {to, end, KV_SNAPSHOT_KEYS_MAX};
    if (write_head(taking, &piece) && write_kept(kv, &piece)) {
        while (room(&piece) > 0 && enter_table(kv) && walk_table(kv, &piece)) {
        }
    }
    return taking->head_taken < KV_STATE_HEAD_SIZE || taking->kept.first != NULL ||
           taking->next != NULL || taking->table < KV_TABLES;
}

void kv_snapshot_end(struct machine *machine)
{
    struct kv *kv = kv_of(machine);
    struct kv_taking *taking = &kv->taking;
    ASSERT(taking->active);
    kv_garbage_tables(kv, taking->detached);
    if (taking->kept.first != NULL) {
        taking->kept.last->hh.next = kv->garbage;
        kv->garbage = taking->kept.first;
    }
    *taking = (struct kv_taking){.active = false};
}
