/* kv_store.h - the key space itself: keys, values, and the digest of both. Private to this room.
 *
 * A key's hash is computed once for each command; its upper bits choose the table, its lower ones
 * the place there. The hash has no secret and no seed: tables must be the same on every server,
 * since a SCAN begun at one may go on at another.
 *
 * The digest is the wrapping sum of a hash of each (key, value), so it does not depend on the order
 * in which they came, and a change costs the hash of the one new value.
 *
 * Thread: the machine's. */
#ifndef MAILRAFT_MACHINE_KV_STORE_H
#define MAILRAFT_MACHINE_KV_STORE_H

#include "server/machine/kv.h"

enum {
    KV_TABLE_BITS = 12,
    KV_TABLES = 1 << KV_TABLE_BITS,
    /* One SCAN call stops behind the table in which it has looked at so many keys, or gathered so
     * many bytes, whatever COUNT says: the server thread has other things to do. */
    KV_SCAN_KEYS_MAX = 10000,
    KV_SCAN_BYTES_MAX = 1024 * 1024
};

struct kv_item; /* one key with its value */

struct kv {
    struct machine machine;
    struct kv_item *tables[KV_TABLES]; /* each a uthash; NULL: empty */
    u64 count;                         /* keys in all tables */
    u64 digest_sum;                    /* of all items' digests */
    struct kv_argument *arguments;     /* scratch: of the command that is being executed */
    u32 arguments_capacity;
    struct buffer gathered; /* scratch: the keys of a SCAN's answer */
};

u64 kv_hash(const struct kv_argument *key);
/* The item with this key, or NULL. Borrowed until the next change. */
struct kv_item *kv_find(struct kv *kv, const struct kv_argument *key, u64 hash);
/* Borrowed until the item's next change; block_hold it to keep it. */
struct block *kv_value(const struct kv_item *item);

/* Gives the key this value, whose reference is taken over. `item` is what kv_find found for the
 * key; NULL: it is new. */
void kv_put(struct kv *kv, const struct kv_argument *key, u64 hash, struct kv_item *item,
            struct block *value);
/* Frees the item. */
void kv_remove(struct kv *kv, struct kv_item *item, u64 hash);
/* Frees all items of a table, and nothing else: sums and counts are the caller's business, so that
 * a table cut out of the array can be freed elsewhere. */
void kv_table_free(struct kv_item *table);
void kv_clear(struct kv *kv);

/* Calls `each` for all keys of a table. The key is borrowed during the call. */
void kv_table_visit(const struct kv *kv, u32 table,
                    void (*each)(void *context, const struct kv_argument *key), void *context);

/* ---- parsing that checking and executing share ---- */

/* As Redis reads numbers in values: no spaces, no '+', no leading zeros, not "-0". */
bool kv_number_parse(const u8 *data, size_t size, i64 *number);
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

/* Executes a decoded command; `answer` may be NULL. */
void kv_execute(struct kv *kv, enum kv_command command, u32 value_bytes_max,
                const struct kv_argument *arguments, u32 count, struct buffer *answer);
void kv_execute_scan(struct kv *kv, const struct kv_argument *arguments, u32 count,
                     struct buffer *answer);

/* Whether the whole of `text` matches Redis' glob pattern. */
bool kv_glob_match(const struct kv_argument *pattern, const struct kv_argument *text);

#endif
