/* kv_garbage.c - freeing later what was removed.
 *
 * Freeing a million keys takes a good part of a second: FLUSHALL would stall the server for that
 * long, and a DEL of many keys, or of a few large values, for a while. So what goes is only put
 * aside, in constant time, and freed in small pieces with the commands that follow (kv.c). Memory
 * stays bounded, since who adds an item frees two, and all commands free some: that is more than
 * each of them can make, whatever the row of them is.
 *
 * Rejected: freeing on another thread. It would need a queue, a lock and somebody to wait for at
 * the end, and would hold the allocator's lock while the server thread wants it. */
#include "server/machine/kv_store.h"

enum {
    /* So many bytes of a value count as one more item: beneath the allocator they are pages. */
    ITEM_BYTES = 64 * 1024,
    /* So many empty tables count as one. */
    TABLES_EACH = 512,
    /* What freeing costs: of an item, and of so many bytes of its value as touching one. */
    ITEM_WORK = 128,
    BYTES_EACH_WORK = 16
};

void kv_garbage_item(struct kv *kv, struct kv_item *item)
{
    item->hh.next = kv->garbage.first;
    kv->garbage.first = item;
    if (kv->garbage.last == NULL)
        kv->garbage.last = item;
}

void kv_garbage_items(struct kv *kv, struct kv_items *items)
{
    if (items->first == NULL)
        return;
    items->last->hh.next = kv->garbage.first;
    kv->garbage.first = items->first;
    if (kv->garbage.last == NULL)
        kv->garbage.last = items->last;
    *items = (struct kv_items){NULL, NULL};
}

void kv_garbage_value(struct kv *kv, struct block *value)
{
    if (value == NULL)
        return;
    struct kv_item *item = memory_alloc(sizeof(*item));
    item->value = value;
    kv_garbage_item(kv, item);
}

void kv_garbage_tables(struct kv *kv, struct kv_tables *tables)
{
    if (tables == NULL)
        return;
    tables->next = kv->garbage_tables;
    kv->garbage_tables = tables;
}

/* Frees what makes a table of the items in it, and adds those to the garbage, in constant time. */
static void unlock_table(struct kv *kv, struct kv_item *head)
{
    UT_hash_table *table = head->hh.tbl;
    struct kv_items items = {head, (struct kv_item *)ELMT_FROM_HH(table, table->tail)};
    kv_garbage_items(kv, &items);
    memory_free(table->buckets);
    memory_free(table);
}

/* Goes through some of the tables, up to one with items, which it unlocks. */
static void open_tables(struct kv *kv)
{
    struct kv_tables *tables = kv->garbage_tables;
    for (u32 i = 0; i < TABLES_EACH; i++) {
        if (tables->freed == KV_TABLES) {
            kv->garbage_tables = tables->next;
            memory_free(tables);
            return;
        }
        struct kv_item *head = tables->heads[tables->freed++];
        if (head != NULL) {
            unlock_table(kv, head);
            return;
        }
    }
}

bool kv_garbage_free(struct kv *kv, u32 items_max)
{
    u64 cost = 0;
    while (cost < items_max) {
        cost++;
        if (kv->garbage.first != NULL) {
            struct kv_item *item = kv_items_take(&kv->garbage);
            cost += item->value->size / ITEM_BYTES;
            kv_note_work(kv, ITEM_WORK + item->value->size / BYTES_EACH_WORK);
            kv_item_free(item);
        } else if (kv->garbage_tables != NULL) {
            open_tables(kv);
        } else {
            return false;
        }
    }
    return kv_garbage_is_any(kv);
}

void kv_garbage_free_all(struct kv *kv)
{
    while (kv_garbage_free(kv, UINT32_MAX)) {
    }
}
