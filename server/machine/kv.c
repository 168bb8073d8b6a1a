/* kv.c - the machine and its key space.
 *
 * Beneath it is uthash, with xxhash for the hash and our allocator. It never sees a whole key space
 * but one of KV_TABLES parts of it, so that the table that doubles is always a small one. */
#include "server/machine/kv_store.h"

#include "server/machine/kv_answer.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    /* What a command frees of the garbage: a little each time, and two items for each that it adds,
     * so that keys and garbage together are never more than the keys have been. */
    GARBAGE_EACH_COMMAND = 8,
    GARBAGE_EACH_ITEM = 2,
    GARBAGE_EACH_TIDY = 256,
    /* Room made beforehand in one table is bounded: what asks for it may be wrong. */
    TABLE_BUCKETS_MAX = 4096
};

static void kv_apply(struct machine *machine, const struct machine_context *context,
                     const u8 *command, size_t size, struct buffer *answer);
static void kv_read(struct machine *machine, const u8 *command, size_t size, struct buffer *answer);
static u64 kv_digest(const struct machine *machine);
static void kv_destroy(struct machine *machine);
static void kv_describe(const struct machine *machine, struct buffer *to);
static struct machine *kv_create_empty(const struct machine *machine);
static bool kv_tidy(struct machine *machine);
static void kv_replace(struct machine *machine, struct machine *old);
static u64 kv_work(struct machine *machine);

static const struct machine_ops kv_ops = {.apply = kv_apply,
                                          .read = kv_read,
                                          .digest = kv_digest,
                                          .destroy = kv_destroy,
                                          .describe = kv_describe,
                                          .snapshot_begin = kv_snapshot_begin,
                                          .snapshot_next = kv_snapshot_next,
                                          .snapshot_end = kv_snapshot_end,
                                          .restore = kv_restore,
                                          .restore_end = kv_restore_end,
                                          .create_empty = kv_create_empty,
                                          .tidy = kv_tidy,
                                          .replace = kv_replace,
                                          .work = kv_work};

static const struct kv *kv_of_const(const struct machine *machine)
{
    return (const struct kv *)(const void *)((const char *)machine - offsetof(struct kv, machine));
}

struct machine *kv_create(void)
{
    struct kv *kv = memory_alloc_zero(1, sizeof(*kv));
    kv->machine.ops = &kv_ops;
    kv->tables = memory_alloc_zero(1, sizeof(*kv->tables));
    buffer_init(&kv->gathered);
    buffer_init(&kv->restoring.pending);
    return &kv->machine;
}

static struct machine *kv_create_empty(const struct machine *machine)
{
    (void)machine; /* there is nothing that one may have and another not */
    return kv_create();
}

static void free_shell(struct kv *kv)
{
    buffer_deinit(&kv->restoring.pending);
    buffer_deinit(&kv->gathered);
    memory_free(kv->arguments);
    memory_free(kv->found);
    memory_free(kv);
}

static void kv_destroy(struct machine *machine)
{
    struct kv *kv = kv_of(machine);
    if (kv->taking.active)
        kv_snapshot_end(machine);
    kv_garbage_tables(kv, kv->tables);
    kv_garbage_free_all(kv);
    free_shell(kv);
}

static void kv_replace(struct machine *machine, struct machine *old_machine)
{
    struct kv *kv = kv_of(machine);
    struct kv *old = kv_of(old_machine);
    if (old->taking.active)
        kv_snapshot_end(old_machine);
    kv_garbage_tables(kv, old->tables);
    while (old->garbage_tables != NULL) {
        struct kv_tables *tables = old->garbage_tables;
        old->garbage_tables = tables->next;
        kv_garbage_tables(kv, tables);
    }
    kv_garbage_items(kv, &old->garbage);
    free_shell(old);
}

/* Decodes into kv->arguments. Returns false when the bytes are no command. */
static bool decode(struct kv *kv, const u8 *data, size_t size, enum kv_command *command, u32 *count)
{
    /* No more than the bytes can hold, whatever they say. */
    u64 fitting = size >= KV_ENCODING_HEADER_SIZE ? (size - KV_ENCODING_HEADER_SIZE) / 4 : 0;
    u32 wanted = fitting > 0 ? (u32)u64_min(fitting, kv_command_count(data)) : 0;
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
    (void)kv_garbage_free(kv, GARBAGE_EACH_COMMAND);
}

static u64 kv_work(struct machine *machine)
{
    struct kv *kv = kv_of(machine);
    u64 work = kv->work;
    kv->work = 0;
    return work;
}

static bool kv_tidy(struct machine *machine)
{
    return kv_garbage_free(kv_of(machine), GARBAGE_EACH_TIDY);
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
    struct kv_item *head = kv->tables->heads[table_of(hash)];
    struct kv_item *item = NULL;
    kv_note_work(kv, KV_KEY_WORK);
    HASH_FIND_BYHASHVALUE(hh, head, key->data, key->size, (unsigned)hash, item);
    return item;
}

/* Doubling a table with a single item in it costs nothing; later, all its items move. */
static void reserve(const struct kv *kv, struct kv_item *item)
{
    UT_hash_table *table = item->hh.tbl;
    bool out_of_memory = false; /* never set: see uthash_fatal */
    while (table->num_buckets < kv->table_keys_expected && table->num_buckets < TABLE_BUCKETS_MAX)
        HASH_EXPAND_BUCKETS(hh, table, out_of_memory);
    ASSERT(!out_of_memory);
}

static struct kv_item *add_item(struct kv *kv, const struct kv_argument *key, u64 hash)
{
    if (kv_garbage_is_any(kv))
        (void)kv_garbage_free(kv, GARBAGE_EACH_ITEM);
    struct kv_item *item = memory_alloc(sizeof(*item) + key->size);
    item->value = NULL;
    item->digest = 0;
    if (key->size > 0)
        memcpy(item->key, key->data, key->size);
    struct kv_item **head = &kv->tables->heads[table_of(hash)];
    bool first = *head == NULL;
    HASH_ADD_KEYPTR_BYHASHVALUE(hh, *head, item->key, key->size, (unsigned)hash, item);
    if (first)
        reserve(kv, item);
    kv->count++;
    return item;
}

/* The item's value is not needed any more. */
static void drop_value(struct kv *kv, struct kv_item *item)
{
    if (item->value != NULL && item->value->size >= KV_VALUE_LARGE)
        kv_garbage_value(kv, item->value);
    else
        block_release(item->value);
}

void kv_put_value(struct kv *kv, const struct kv_argument *key, u64 hash, struct kv_item *item,
                  const struct kv_value *value)
{
    if (item == NULL)
        item = add_item(kv, key, hash);
    else if (kv_snapshot_wants(kv, item))
        kv_snapshot_keep_value(kv, item);
    drop_value(kv, item);
    item->value = value->block;
    item->size = value->size & INT32_MAX;
    item->grows = value->grows;
    item->epoch = kv->epoch;
    u64 digest = hash_pair(hash, value->hash);
    kv->digest_sum += digest - item->digest;
    item->digest = digest;
}

void kv_put(struct kv *kv, const struct kv_argument *key, u64 hash, struct kv_item *item,
            struct block *block)
{
    const struct kv_value value = {
        .block = block, .size = block->size, .hash = XXH3_64bits(block->data, block->size)};
    kv_note_work(kv, 2 * (u64)block->size);
    kv_put_value(kv, key, hash, item, &value);
}

void kv_item_free(struct kv_item *item)
{
    block_release(item->value);
    memory_free(item);
}

void kv_remove(struct kv *kv, struct kv_item *item, u64 hash)
{
    struct kv_item **head = &kv->tables->heads[table_of(hash)];
    HASH_DELETE(hh, *head, item);
    kv->count--;
    kv->digest_sum -= item->digest;
    if (kv_snapshot_wants(kv, item))
        kv_snapshot_keep_item(kv, item);
    else
        kv_garbage_item(kv, item);
}

void kv_clear(struct kv *kv)
{
    /* The price is an array of tables each time; not where there is nothing to remove. */
    if (kv->count == 0)
        return;
    /* A snapshot goes on in the tables of its time. Those that come after it does not enter. */
    if (kv->taking.active && kv->taking.detached == NULL)
        kv->taking.detached = kv->tables;
    else
        kv_garbage_tables(kv, kv->tables);
    kv->tables = memory_alloc_zero(1, sizeof(*kv->tables));
    kv_note_work(kv, sizeof(*kv->tables));
    kv->count = 0;
    kv->digest_sum = 0;
}

void kv_table_visit(const struct kv *kv, u32 table,
                    void (*each)(void *context, const struct kv_argument *key), void *context)
{
    ASSERT(table < KV_TABLES);
    for (const struct kv_item *item = kv->tables->heads[table]; item != NULL;
         item = item->hh.next) {
        struct kv_argument key = {item->key, (u32)item->hh.keylen};
        each(context, &key);
    }
}
