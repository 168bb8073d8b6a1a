/* kv_store.h - the key space itself: keys, values, and the digest of both. Private to this room.
 *
 * A key's hash is computed once for each command; its upper bits choose the table, its lower ones
 * the place there. The hash has no secret and no seed: tables must be the same on every server,
 * since a SCAN begun at one may go on at another.
 *
 * The digest is the wrapping sum of a hash of each (key, value), so it does not depend on the order
 * in which they came, and a change costs the hash of the one new value.
 *
 * What is removed is not freed at once where it may be much: it becomes garbage, and each command
 * frees some of that.
 *
 * Thread: the machine's. */
#ifndef MAILRAFT_MACHINE_KV_STORE_H
#define MAILRAFT_MACHINE_KV_STORE_H

#include "common/memory.h"
#include "server/machine/kv.h"

#define uthash_malloc(size)         memory_alloc(size)
#define uthash_free(pointer, size)  memory_free(pointer)
#define uthash_fatal(message)       UNREACHABLE() /* memory_alloc never returns NULL */
#define uthash_bzero(pointer, size) memset(pointer, 0, size)
/* Every call hands in the hash: uthash itself never hashes. */
#define HASH_FUNCTION(key, size, hash) UNREACHABLE()
#include <uthash.h>
/* How many items a bucket may hold before its table doubles. Each item behind the first costs a
 * cache miss: with uthash's own 10 a GET at a million keys took half as long again. */
#undef HASH_BKT_CAPACITY_THRESH
#define HASH_BKT_CAPACITY_THRESH 4U

#define KV_VALUE_SIZE_MAX ((u32)INT32_MAX - 64 * KIB) /* with what kv_grow.c adds */

enum {
    KV_TABLE_BITS = 12,
    KV_TABLES = 1 << KV_TABLE_BITS,
    /* One SCAN call stops behind the table in which it has looked at so many keys, or gathered so
     * many bytes, whatever COUNT says: the server thread has other things to do. */
    KV_SCAN_KEYS_MAX = 10000,
    KV_SCAN_BYTES_MAX = 1024 * 1024,
    /* So many steps may the comparing with a pattern take in one table; a call that has taken half
     * of them stops behind its table. */
    KV_SCAN_STEPS_MAX = 4 * 1024 * 1024,
    /* One piece of a snapshot takes so many keys, whatever their bytes, since a key is some cache
     * misses; and goes through so many buckets. */
    KV_SNAPSHOT_KEYS_MAX = 256,
    KV_SNAPSHOT_BUCKETS_MAX = 16384,
    /* A key that is looked up costs a few cache misses, whatever its size: as much as to go through
     * so many bytes. */
    KV_KEY_WORK = 512,
    /* The same of a character that a pattern is compared with. */
    KV_GLOB_WORK = 8,
    /* A value so large is not freed in passing: that may be work for the kernel. */
    KV_VALUE_LARGE = 64 * 1024,
    /* The head of a taken state: kv_snapshot.c. */
    KV_STATE_HEAD_SIZE = 24
};

/* One key with its value. In a table, in a row (struct kv_items), or garbage. */
struct kv_item {
    UT_hash_handle hh;   /* hh.keylen is the key's size; hh.next links rows and garbage, too */
    struct block *value; /* one reference is the item's */
    u64 digest;          /* its part of digest_sum */
    u32 epoch;           /* kv->epoch when it was last written, or taken for a snapshot */
    u32 size : 31;       /* of the value, bytes: the first ones of the block */
    u32 grows : 1;       /* the block has room behind it, and more (kv_grow.c) */
    u8 key[];
};

/* A value that is to be an item's. */
struct kv_value {
    struct block *block; /* one reference is taken over */
    u32 size;
    bool grows;
    u64 hash; /* of its bytes */
};

/* Items in a row, first in first out. */
struct kv_items {
    struct kv_item *first; /* NULL: none */
    struct kv_item *last;
};

struct kv_tables {
    struct kv_item *heads[KV_TABLES]; /* each a uthash; NULL: empty */
    struct kv_tables *next;           /* while garbage */
    u32 freed;                        /* the tables before this one are gone; 0 while in use */
};

/* A snapshot that is being taken. */
struct kv_taking {
    bool active;
    u8 head[KV_STATE_HEAD_SIZE];
    u32 head_taken;             /* bytes of it that went out */
    struct kv_items kept;       /* as of begin, changed or removed since: these go out first */
    u64 first_taken;            /* bytes that went out of the record of kept's first */
    struct kv_tables *detached; /* what FLUSHALL took away; NULL: it walks the tables in use */
    u32 table;                  /* where the cursor is; KV_TABLES: at the end */
    u32 bucket;                 /* of that table; those before it hold nothing to be taken */
};

/* A state that is being put into an empty machine. */
struct kv_restoring {
    bool head_read;
    bool failed;
    u64 count; /* what its head says */
    u64 digest_sum;
    struct buffer pending; /* of a record (or the head) that came in part */
};

struct kv {
    struct machine machine;
    struct kv_tables *tables; /* never NULL */
    u64 count;                /* keys in all tables */
    u64 digest_sum;           /* of all items' digests */
    u32 epoch;                /* number of snapshots begun */
    struct kv_taking taking;
    struct kv_restoring restoring;
    struct kv_items garbage;          /* in no table */
    struct kv_tables *garbage_tables; /* linked by next */
    u64 table_keys_expected;          /* how many keys a new table should have room for */
    struct kv_argument *arguments;    /* scratch: of the command that is being executed */
    u32 arguments_capacity;
    struct buffer gathered; /* scratch: the keys of a SCAN's answer */
    struct kv_item **found; /* scratch: what the keys of an MGET have */
    u32 found_capacity;
    u64 work; /* bytes touched since that was last asked */
};

/* Something has cost about as much as to touch so many bytes. */
static inline void kv_note_work(struct kv *kv, u64 bytes)
{
    kv->work += bytes;
}

static inline struct kv *kv_of(struct machine *machine)
{
    return CONTAINER_OF(machine, struct kv, machine);
}

u64 kv_hash(const struct kv_argument *key);
/* The item with this key, or NULL. Borrowed until the next change. */
struct kv_item *kv_find(struct kv *kv, const struct kv_argument *key, u64 hash);
/* The value's bytes, item->size of them. Borrowed until the item's next change. */
static inline const u8 *kv_value_data(const struct kv_item *item)
{
    return item->value->data;
}

/* Gives the key this value, all of a block, whose reference is taken over. `item` is what kv_find
 * found for the key; NULL: it is new. */
void kv_put(struct kv *kv, const struct kv_argument *key, u64 hash, struct kv_item *item,
            struct block *value);
void kv_put_value(struct kv *kv, const struct kv_argument *key, u64 hash, struct kv_item *item,
                  const struct kv_value *value);
/* Gives the key its value with `tail` behind it; that is no more than KV_VALUE_SIZE_MAX. No value
 * will have much more than `size_max`. */
void kv_append(struct kv *kv, const struct kv_argument *key, u64 hash, struct kv_item *item,
               const struct kv_argument *tail, u32 size_max);
/* Takes the item away. */
void kv_remove(struct kv *kv, struct kv_item *item, u64 hash);
/* Frees an item that is in no table. */
void kv_item_free(struct kv_item *item);
/* Removes all keys, in a time that does not depend on how many there are. */
void kv_clear(struct kv *kv);

/* Calls `each` for all keys of a table. The key is borrowed during the call. */
void kv_table_visit(const struct kv *kv, u32 table,
                    void (*each)(void *context, const struct kv_argument *key), void *context);

/* Takes the first of a row that has one. */
static inline struct kv_item *kv_items_take(struct kv_items *items)
{
    struct kv_item *item = items->first;
    items->first = item->hh.next;
    if (items->first == NULL)
        items->last = NULL;
    return item;
}

/* ---- garbage ---- */

/* Puts off freeing the item, which is in no table; the value; the tables with all that is in them.
 * NULL is a no-op, but for the item. */
void kv_garbage_item(struct kv *kv, struct kv_item *item);
void kv_garbage_value(struct kv *kv, struct block *value);
void kv_garbage_tables(struct kv *kv, struct kv_tables *tables);
/* All items of the row, which is empty then. */
void kv_garbage_items(struct kv *kv, struct kv_items *items);
static inline bool kv_garbage_is_any(const struct kv *kv)
{
    return kv->garbage.first != NULL || kv->garbage_tables != NULL;
}
/* Frees about so many items, or fewer large ones, but one at least. false: nothing is left. */
bool kv_garbage_free(struct kv *kv, u32 items_max);
void kv_garbage_free_all(struct kv *kv);

/* ---- snapshots ---- */

/* Whether the item is to be in the snapshot that is being taken, and has not been taken yet: then
 * kv_snapshot_keep_value or kv_snapshot_keep_item is called before it changes. */
static inline bool kv_snapshot_wants(const struct kv *kv, const struct kv_item *item)
{
    return kv->taking.active && item->epoch != kv->epoch;
}
/* Keeps the item's key with its value, whose reference it takes out of the item. */
void kv_snapshot_keep_value(struct kv *kv, struct kv_item *item);
/* Keeps the item itself, which has left its table. */
void kv_snapshot_keep_item(struct kv *kv, struct kv_item *item);

void kv_snapshot_begin(struct machine *machine);
bool kv_snapshot_next(struct machine *machine, u64 bytes_max, struct buffer *to);
void kv_snapshot_end(struct machine *machine);
bool kv_restore(struct machine *machine, const u8 *data, size_t size);
bool kv_restore_end(struct machine *machine);

/* ---- parsing that checking and executing share ---- */

/* Whether the argument is this lower-case word, in any case. */
bool kv_word_is(const struct kv_argument *argument, const char *word);

struct kv_set_options {
    bool if_absent;  /* NX */
    bool if_present; /* XX */
    bool get;        /* answer the old value */
};

struct kv_scan_options {
    u64 cursor;
    u64 count;                       /* 1 and up */
    const struct kv_argument *match; /* NULL: all keys */
    bool none;                       /* a TYPE was asked for that no key has */
};

/* Read the options behind SET key value, and all arguments of SCAN and FLUSHALL. Return NULL, or
 * the text of the error without '-' and line end. */
const char *kv_set_options_parse(const struct kv_argument *arguments, u32 count,
                                 struct kv_set_options *options);
const char *kv_scan_options_parse(const struct kv_argument *arguments, u32 count,
                                  struct kv_scan_options *options);
const char *kv_flushall_parse(const struct kv_argument *arguments, u32 count);

/* ---- executing ---- */

/* Executes a decoded command; `limit` came with it, `answer` may be NULL. */
void kv_execute(struct kv *kv, enum kv_command command, u32 limit,
                const struct kv_argument *arguments, u32 count, struct buffer *answer);
void kv_execute_scan(struct kv *kv, const struct kv_argument *arguments, u32 count,
                     struct buffer *answer);

#endif
