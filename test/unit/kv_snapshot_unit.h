/* kv_snapshot_unit.h - taking and restoring states of a key-value machine, for the tests of it. */
#ifndef MAILRAFT_TEST_KV_SNAPSHOT_UNIT_H
#define MAILRAFT_TEST_KV_SNAPSHOT_UNIT_H

#include <stdio.h>

#include "common/rng.h"
#include "test/unit/kv_unit.h"

/* Takes the next piece and checks its size. */
UNIT_HELPER bool take_piece(struct machine *machine, u64 bytes_max, struct buffer *state)
{
    size_t before = state->size;
    bool more = machine->ops->snapshot_next(machine, bytes_max, state);
    ck_assert_uint_le(state->size - before, bytes_max);
    return more;
}

UNIT_HELPER void take_rest(struct machine *machine, u64 bytes_max, struct buffer *state)
{
    while (take_piece(machine, bytes_max, state)) {
    }
    machine->ops->snapshot_end(machine);
}

/* A whole snapshot. */
UNIT_HELPER void take_state(struct machine *machine, u64 bytes_max, struct buffer *state)
{
    machine->ops->snapshot_begin(machine);
    take_rest(machine, bytes_max, state);
}

/* A machine restored from these bytes, in pieces of so many; NULL: they are no state. */
UNIT_HELPER struct machine *restored(const u8 *data, size_t size, size_t piece_size)
{
    struct machine *kind = kv_create();
    struct machine *machine = kind->ops->create_empty(kind);
    kind->ops->destroy(kind);
    bool right = true;
    for (size_t at = 0; right && at < size; at += piece_size) {
        size_t count = size - at < piece_size ? size - at : piece_size;
        right = machine->ops->restore(machine, data + at, count);
    }
    right = machine->ops->restore_end(machine) && right;
    if (right)
        return machine;
    machine->ops->destroy(machine);
    return NULL;
}

UNIT_HELPER void get_key(struct machine *machine, const struct kv_argument *key,
                         struct buffer *answer)
{
    buffer_clear(answer);
    run_arguments(machine, KV_GET, key, 1, answer);
}

/* That both have the same keys with the same values; asks for each key, so that it does not rest on
 * the digest alone. */
UNIT_HELPER void assert_same(struct machine *machine, struct machine *expected,
                             const struct kv_argument *keys, u32 key_count)
{
    ck_assert_uint_eq(kv_key_count(machine), kv_key_count(expected));
    ck_assert_uint_eq(machine->ops->digest(machine), expected->ops->digest(expected));
    struct buffer got;
    struct buffer wanted;
    buffer_init(&got);
    buffer_init(&wanted);
    for (u32 i = 0; i < key_count; i++) {
        get_key(machine, &keys[i], &got);
        get_key(expected, &keys[i], &wanted);
        ck_assert_uint_eq(got.size, wanted.size);
        ck_assert_mem_eq(got.data, wanted.data, wanted.size);
    }
    buffer_deinit(&got);
    buffer_deinit(&wanted);
}

/* That these bytes are the state of `expected`. */
UNIT_HELPER void assert_state(const struct buffer *state, struct machine *expected,
                              const struct kv_argument *keys, u32 key_count)
{
    struct machine *machine = restored(state->data, state->size, 1000);
    ck_assert_ptr_nonnull(machine);
    assert_same(machine, expected, keys, key_count);
    machine->ops->destroy(machine);
}

/* ---- keys that share few tables ---- */

enum { NAMES_MAX = 2048, NAME_SIZE = 16 };

struct names {
    u32 count;
    struct kv_argument keys[NAMES_MAX];
    char texts[NAMES_MAX][NAME_SIZE];
};

/* Keys of which all lie in the first so many tables. */
UNIT_HELPER void names_init(struct names *names, u32 count, u64 tables)
{
    ck_assert_uint_le(count, NAMES_MAX);
    names->count = 0;
    for (u32 number = 0; names->count < count; number++) {
        char *text = names->texts[names->count];
        u32 size = (u32)snprintf(text, NAME_SIZE, "k%u", number);
        struct kv_argument key = {(const u8 *)text, size};
        if (kv_hash(&key) >> (64 - KV_TABLE_BITS) < tables)
            names->keys[names->count++] = key;
    }
}

UNIT_HELPER void set_key(struct machine *machine, const struct kv_argument *key, const void *value,
                         u32 size)
{
    struct kv_argument arguments[] = {*key, {value, size}};
    run_arguments(machine, KV_SET, arguments, 2, NULL);
}

UNIT_HELPER void delete_key(struct machine *machine, const struct kv_argument *key)
{
    run_arguments(machine, KV_DEL, key, 1, NULL);
}

#endif
