/* kv.c - the machine and its key space.
 *
 * Beneath it is uthash, with xxhash for the hash and our allocator. It never sees a whole key space
 * but one of KV_TABLES parts of it, so that the table that doubles is always a small one. */
#include "server/machine/kv_store.h"

#include "common/memory.h"
#include "server/machine/kv_answer.h"

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
#define XXH_INLINE_ALL
#include <xxhash.h>

struct kv_item {
    UT_hash_handle hh;   /* hh.keylen is the key's size */
    struct block *value; /* one reference is the item's */
    u64 digest;          /* its part of digest_sum */
    u8 key[];
};

static void kv_apply(struct machine *machine, const struct machine_context *context,
                     const u8 *command, size_t size, struct buffer *answer);
static void kv_read(struct machine *machine, const u8 *command, size_t size, struct buffer *answer);
static u64 kv_digest(const struct machine *machine);
static void kv_destroy(struct machine *machine);
static void kv_describe(const struct machine *machine, struct buffer *to);

static const struct machine_ops kv_ops = {.apply = kv_apply,
                                          .read = kv_read,
                                          .digest = kv_digest,
                                          .destroy = kv_destroy,
                                          .describe = kv_describe};

static struct kv *kv_of(struct machine *machine)
{
    return CONTAINER_OF(machine, struct kv, machine);
}

static const struct kv *kv_of_const(const struct machine *machine)
{
    return (const struct kv *)(const void *)((const char *)machine - offsetof(struct kv, machine));
}

struct machine *kv_create(void)
{
    struct kv *kv = memory_alloc_zero(1, sizeof(*kv));
    kv->machine.ops = &kv_ops;
    buffer_init(&kv->gathered);
    return &kv->machine;
}

static void kv_destroy(struct machine *machine)
{
    struct kv *kv = kv_of(machine);
    kv_clear(kv);
    buffer_deinit(&kv->gathered);
    memory_free(kv->arguments);
    memory_free(kv);
}

/* Decodes into kv->arguments. Returns false when the bytes are no command. */
static bool decode(struct kv *kv, const u8 *data, size_t size, enum kv_command *command, u32 *count)
{
    u32 wanted = size >= KV_ENCODING_HEADER_SIZE ? load_u16(data + 2) : 0;
    if (wanted > kv->arguments_capacity) {
        kv->arguments = memory_resize(kv->arguments, wanted * sizeof(*kv->arguments));
        kv->arguments_capacity = wanted;
    }
    int decoded = kv_command_decode(data, size, command, kv->arguments, kv->arguments_capacity);
    *count = decoded < 0 ? 0 : (u32)decoded;
    return decoded >= 0;
}

static void kv_apply(struct machine *machine, const struct machine_context *context, const u8 *data,
                     size_t size, struct buffer *answer)
{
    (void)context; /* no command of ours depends on the entry or its time */
    struct kv *kv = kv_of(machine);
    enum kv_command command;
    u32 count;
    /* It is committed, so every server meets it: all of them must say the same and go on. */
    if (!decode(kv, data, size, &command, &count)) {
        kv_answer_error(answer, "ERR the committed bytes are no command");
        return;
    }
    kv_execute(kv, command, load_u32(data + 4), kv->arguments, count, answer);
}

static void kv_read(struct machine *machine, const u8 *data, size_t size, struct buffer *answer)
{
    struct kv *kv = kv_of(machine);
    enum kv_command command;
    u32 count;
    if (!decode(kv, data, size, &command, &count)) {
        kv_answer_error(answer, "ERR the bytes are no command");
        return;
    }
    if (kv_command_info(command)->writes) {
        kv_answer_error(answer, "ERR a command that writes came as a read");
        return;
    }
    kv_execute(kv, command, load_u32(data + 4), kv->arguments, count, answer);
}

static u64 hash_pair(u64 first, u64 second)
{
    u8 bytes[16];
    store_u64(bytes, first);
    store_u64(bytes + 8, second);
    return XXH3_64bits(bytes, sizeof(bytes));
}

static u64 kv_digest(const struct machine *machine)
{
    const struct kv *kv = kv_of_const(machine);
    return hash_pair(kv->digest_sum, kv->count);
}

u64 kv_key_count(const struct machine *machine)
{
    return kv_of_const(machine)->count;
}

static void kv_describe(const struct machine *machine, struct buffer *to)
{
    buffer_append_format(to, "machine_keys:%llu\r\n", (unsigned long long)kv_key_count(machine));
}

/* ---- the key space ---- */

u64 kv_hash(const struct kv_argument *key)
{
    return XXH3_64bits(key->data, key->size);
}

static u32 table_of(u64 hash)
{
    return (u32)(hash >> (64 - KV_TABLE_BITS));
}

struct kv_item *kv_find(struct kv *kv, const struct kv_argument *key, u64 hash)
{
    struct kv_item *head = kv->tables[table_of(hash)];
    struct kv_item *item = NULL;
    HASH_FIND_BYHASHVALUE(hh, head, key->data, key->size, (unsigned)hash, item);
    return item;
}

struct block *kv_value(const struct kv_item *item)
{
    return item->value;
}

static struct kv_item *add_item(struct kv *kv, const struct kv_argument *key, u64 hash)
{
    struct kv_item *item = memory_alloc(sizeof(*item) + key->size);
    item->value = NULL;
    item->digest = 0;
    if (key->size > 0)
        memcpy(item->key, key->data, key->size);
    struct kv_item **head = &kv->tables[table_of(hash)];
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, *head, item->key, key->size, (unsigned)hash, item);
    kv->count++;
    return item;
}

void kv_put(struct kv *kv, const struct kv_argument *key, u64 hash, struct kv_item *item,
            struct block *value)
{
    if (item == NULL)
        item = add_item(kv, key, hash);
    block_release(item->value);
    item->value = value;
    u64 digest = hash_pair(hash, XXH3_64bits(value->data, value->size));
    kv->digest_sum += digest - item->digest;
    item->digest = digest;
}

static void item_free(struct kv_item *item)
{
    block_release(item->value);
    memory_free(item);
}

void kv_remove(struct kv *kv, struct kv_item *item, u64 hash)
{
    struct kv_item **head = &kv->tables[table_of(hash)];
    HASH_DELETE(hh, *head, item);
    kv->count--;
    kv->digest_sum -= item->digest;
    item_free(item);
}

void kv_table_free(struct kv_item *table)
{
    struct kv_item *item = table;
    HASH_CLEAR(hh, table); /* frees the buckets; the items stay linked in order */
    while (item != NULL) {
        struct kv_item *next = item->hh.next;
        item_free(item);
        item = next;
    }
}

void kv_clear(struct kv *kv)
{
    for (u32 i = 0; i < KV_TABLES; i++) {
        kv_table_free(kv->tables[i]);
        kv->tables[i] = NULL;
    }
    kv->count = 0;
    kv->digest_sum = 0;
}

void kv_table_visit(const struct kv *kv, u32 table,
                    void (*each)(void *context, const struct kv_argument *key), void *context)
{
    ASSERT(table < KV_TABLES);
    for (const struct kv_item *item = kv->tables[table]; item != NULL; item = item->hh.next) {
        struct kv_argument key = {item->key, (u32)item->hh.keylen};
        each(context, &key);
    }
}
