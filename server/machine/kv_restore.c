/* kv_restore.c - putting a taken state (kv_snapshot.c has its form) into an empty machine.
 *
 * The pieces may be cut anywhere. What is whole in a piece is read where it lies; a head or a
 * record that is cut is gathered first. Nothing is believed: sizes ask for no memory before the
 * bytes are there, a key that comes twice is refused, and at the end number and digest must be
 * right.
 *
 * Thread: any; the machine is the caller's alone. */
#include "server/machine/kv_snapshot.h"

/* Bytes of what begins here: the state's head, or a record. Of a record less than its head, all
 * that is known is that head's size. */
static u64 wanted(const struct kv *kv, const u8 *data, size_t size)
{
    if (!kv->restoring.head_read)
        return KV_STATE_HEAD_SIZE;
    if (size < KV_RECORD_HEAD_SIZE)
        return KV_RECORD_HEAD_SIZE;
    return (u64)KV_RECORD_HEAD_SIZE + load_u32(data) + load_u32(data + 4);
}

static bool read_head(struct kv *kv, const u8 *data)
{
    if (memcmp(data, KV_STATE_MAGIC, KV_STATE_MAGIC_SIZE) != 0)
        return false;
    kv->restoring.head_read = true;
    kv->restoring.count = load_u64(data + 8);
    kv->restoring.digest_sum = load_u64(data + 16);
    kv->table_keys_expected = kv->restoring.count / KV_TABLES;
    return true;
}

static bool read_record(struct kv *kv, const u8 *data)
{
    if (kv->count == kv->restoring.count)
        return false;
    struct kv_argument key = {data + KV_RECORD_HEAD_SIZE, load_u32(data)};
    u64 hash = kv_hash(&key);
    if (kv_find(kv, &key, hash) != NULL)
        return false;
    struct block *value = block_create_copy(key.data + key.size, load_u32(data + 4));
    kv_put(kv, &key, hash, NULL, value);
    return true;
}

/* Reads the whole head or record that is here. */
static bool read_whole(struct kv *kv, const u8 *data)
{
    return kv->restoring.head_read ? read_record(kv, data) : read_head(kv, data);
}

/* Adds to what is pending as much as it is known to want, and reads it once it is whole. Returns
 * false when it is wrong. */
static bool complete_pending(struct kv *kv, const u8 **data, size_t *size)
{
    struct buffer *pending = &kv->restoring.pending;
    u64 missing = wanted(kv, pending->data, pending->size) - pending->size;
    size_t count = (size_t)u64_min(missing, *size);
    buffer_append(pending, *data, count);
    *data += count;
    *size -= count;
    if (pending->size < wanted(kv, pending->data, pending->size))
        return true;
    bool right = read_whole(kv, pending->data);
    buffer_clear(pending);
    return right;
}

static bool restore(struct kv *kv, const u8 *data, size_t size)
{
    struct buffer *pending = &kv->restoring.pending;
    while (size > 0) {
        u64 whole = wanted(kv, data, size);
        if (pending->size > 0 || whole > size) {
            if (!complete_pending(kv, &data, &size))
                return false;
            continue;
        }
        if (!read_whole(kv, data))
            return false;
        data += whole;
        size -= (size_t)whole;
    }
    return true;
}

bool kv_restore(struct machine *machine, const u8 *data, size_t size)
{
    struct kv *kv = kv_of(machine);
    ASSERT(!kv->taking.active);
    ASSERT(kv->restoring.head_read || kv->count == 0);
    if (!kv->restoring.failed)
        kv->restoring.failed = !restore(kv, data, size);
    return !kv->restoring.failed;
}

bool kv_restore_end(struct machine *machine)
{
    struct kv *kv = kv_of(machine);
    struct kv_restoring *restoring = &kv->restoring;
    bool right = !restoring->failed && restoring->head_read && restoring->pending.size == 0 &&
                 kv->count == restoring->count && kv->digest_sum == restoring->digest_sum;
    buffer_deinit(&restoring->pending);
    *restoring = (struct kv_restoring){.failed = !right};
    kv->table_keys_expected = 0;
    kv->work = 0; /* nobody waited for that */
    return right;
}
