/* check_kv_garbage.c - what was removed is freed later, and never becomes more and more.
 *
 * That everything is freed in the end is the address sanitizer's to see. */
#include "test/unit/kv_snapshot_unit.h"

static const struct kv *kv_inside(struct machine *machine)
{
    return kv_of(machine);
}

/* Items that wait to be freed, those in tables among them. */
static u64 garbage_count(struct machine *machine)
{
    u64 count = 0;
    const struct kv *kv = kv_inside(machine);
    for (const struct kv_item *item = kv->garbage.first; item != NULL; item = item->hh.next)
        count++;
    for (const struct kv_tables *tables = kv->garbage_tables; tables != NULL; tables = tables->next)
        for (u32 i = tables->freed; i < KV_TABLES; i++)
            count += tables->heads[i] == NULL ? 0 : tables->heads[i]->hh.tbl->num_items;
    return count;
}

static u64 garbage_tables_count(struct machine *machine)
{
    u64 count = 0;
    const struct kv_tables *tables = kv_inside(machine)->garbage_tables;
    for (; tables != NULL; tables = tables->next)
        count++;
    return count;
}

START_TEST(flushall__frees_nothing_much_by_itself_and_all_in_the_end)
{
    static struct names names;
    names_init(&names, 2000, KV_TABLES);
    struct machine *machine = kv_create();
    for (u32 i = 0; i < names.count; i++)
        set_key(machine, &names.keys[i], "1", 1);
    ck_assert(!machine->ops->tidy(machine));
    run(machine, "flushall");
    ck_assert_uint_gt(garbage_count(machine), names.count - 20);
    u32 calls = 1;
    while (machine->ops->tidy(machine))
        calls++;
    ck_assert_uint_gt(calls, 3);
    ck_assert_uint_eq(garbage_count(machine), 0);
    ck_assert_uint_eq(garbage_tables_count(machine), 0);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(del__one_key_is_freed_at_once)
{
    struct machine *machine = kv_create();
    run(machine, "set a 1");
    run(machine, "del a");
    ck_assert_uint_eq(garbage_count(machine), 0);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(del__many_keys_of_one_call_are_freed_by_later_commands)
{
    static struct names names;
    names_init(&names, 1000, KV_TABLES);
    struct machine *machine = kv_create();
    for (u32 i = 0; i < names.count; i++)
        set_key(machine, &names.keys[i], "1", 1);
    run_arguments(machine, KV_DEL, names.keys, names.count, NULL);
    ck_assert_uint_eq(kv_key_count(machine), 0);
    ck_assert_uint_gt(garbage_count(machine), 900);
    for (u32 i = 0; i < 200; i++)
        run(machine, "del a");
    ck_assert_uint_eq(garbage_count(machine), 0);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(mset__replaced_large_values_are_freed_one_by_one)
{
    enum { KEYS = 20, SIZE = 1024 * 1024 };
    static struct names names;
    names_init(&names, KEYS, KV_TABLES);
    static u8 large[SIZE];
    struct machine *machine = kv_create();
    struct kv_argument pairs[2 * KEYS];
    for (u32 i = 0; i < KEYS; i++) {
        set_key(machine, &names.keys[i], large, SIZE);
        pairs[2 * i] = names.keys[i];
        pairs[2 * i + 1] = (struct kv_argument){large, 1};
    }
    run_arguments(machine, KV_MSET, pairs, 2 * KEYS, NULL);
    ck_assert_uint_eq(garbage_count(machine), KEYS - 1);
    for (u32 i = 0; i < KEYS; i++)
        run(machine, "del a");
    ck_assert_uint_eq(garbage_count(machine), 0);
    machine->ops->destroy(machine);
}
END_TEST

/* Commands alone keep it bounded, in any row of them: nobody need call tidy. */
START_TEST(garbage__never_more_than_there_were_keys)
{
    static struct names names;
    names_init(&names, NAMES_MAX, KV_TABLES);
    static struct kv_argument pairs[2 * NAMES_MAX];
    for (u32 i = 0; i < NAMES_MAX; i++) {
        pairs[2 * i] = names.keys[i];
        pairs[2 * i + 1] = (struct kv_argument){(const u8 *)"1", 1};
    }
    struct machine *machine = kv_create();
    for (u32 size = 1; size <= NAMES_MAX; size *= 2) {
        for (u32 round = 0; round < 50; round++) {
            run_arguments(machine, KV_MSET, pairs, 2 * size, NULL);
            if (round % 2 == 0)
                run(machine, "flushall");
            else
                run_arguments(machine, KV_DEL, names.keys, size, NULL);
            ck_assert_uint_le(garbage_count(machine), size + 8);
            ck_assert_uint_le(garbage_tables_count(machine), 4);
        }
    }
    machine->ops->destroy(machine);
}
END_TEST

/* Whatever state both are in. */
START_TEST(replace__frees_the_old_one_bit_by_bit)
{
    static struct names names;
    names_init(&names, 2000, KV_TABLES);
    struct buffer state;
    buffer_init(&state);
    for (u32 kind = 0; kind < 16; kind++) {
        struct machine *machine = kv_create();
        struct machine *old = kv_create();
        for (u32 i = 0; i < names.count; i++) {
            set_key(machine, &names.keys[i], "new", 3);
            set_key(old, &names.keys[i], "old", 3);
        }
        if (kind & 1)
            run(machine, "flushall");
        if (kind & 2)
            run_arguments(machine, KV_DEL, names.keys, 1000, NULL);
        if (kind & 4)
            run_arguments(old, KV_DEL, names.keys, 1000, NULL);
        if (kind & 8) {
            old->ops->snapshot_begin(old);
            (void)take_piece(old, 1000, &state);
            set_key(old, &names.keys[1500], "newer", 5);
            run(old, "flushall");
            set_key(old, &names.keys[0], "newest", 6);
        }
        u64 digest = machine->ops->digest(machine);
        machine->ops->replace(machine, old);
        ck_assert_uint_gt(garbage_count(machine), 1900);
        while (machine->ops->tidy(machine)) {
        }
        ck_assert_uint_eq(garbage_count(machine), 0);
        ck_assert_uint_eq(machine->ops->digest(machine), digest);
        machine->ops->destroy(machine);
    }
    buffer_deinit(&state);
}
END_TEST

UNIT_MAIN("kv_garbage", flushall__frees_nothing_much_by_itself_and_all_in_the_end,
          del__one_key_is_freed_at_once, del__many_keys_of_one_call_are_freed_by_later_commands,
          mset__replaced_large_values_are_freed_one_by_one,
          garbage__never_more_than_there_were_keys, replace__frees_the_old_one_bit_by_bit)
