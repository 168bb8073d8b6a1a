/* check_kv_snapshot.c - the state of one moment, taken while commands change it.
 *
 * The model is a second machine, which has no snapshot: it gets the same commands up to the begin.
 */
#include "test/unit/kv_snapshot_unit.h"

START_TEST(snapshot__of_nothing)
{
    struct machine *machine = kv_create();
    struct buffer state;
    buffer_init(&state);
    take_state(machine, 1, &state);
    ck_assert_uint_eq(state.size, KV_STATE_HEAD_SIZE);
    machine->ops->snapshot_begin(machine);
    ck_assert(!take_piece(machine, KV_STATE_HEAD_SIZE + 1, &state));
    machine->ops->snapshot_end(machine);
    state.size = KV_STATE_HEAD_SIZE;
    assert_state(&state, machine, NULL, 0);
    buffer_deinit(&state);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(snapshot__later_changes_are_not_in_it)
{
    static struct names names;
    names_init(&names, 8, KV_TABLES);
    struct machine *machine = kv_create();
    struct machine *model = kv_create();
    for (u32 i = 0; i < 4; i++) {
        set_key(machine, &names.keys[i], "before", 6);
        set_key(model, &names.keys[i], "before", 6);
    }
    machine->ops->snapshot_begin(machine);
    set_key(machine, &names.keys[0], "after", 5);
    delete_key(machine, &names.keys[1]);
    run_arguments(machine, KV_GETDEL, &names.keys[2], 1, NULL);
    set_key(machine, &names.keys[2], "back", 4);
    for (u32 i = 4; i < 8; i++)
        set_key(machine, &names.keys[i], "new", 3);
    struct buffer state;
    buffer_init(&state);
    take_rest(machine, 100, &state);
    assert_state(&state, model, names.keys, names.count);
    ck_assert_uint_eq(kv_key_count(machine), 7);
    buffer_deinit(&state);
    machine->ops->destroy(machine);
    model->ops->destroy(model);
}
END_TEST

START_TEST(snapshot_next__looks_at_a_bounded_number_of_keys)
{
    struct machine *machine = kv_create();
    for (u32 i = 0; i < 20000; i++) {
        char name[NAME_SIZE];
        u32 size = (u32)snprintf(name, sizeof(name), "%05u", i);
        struct kv_argument key = {(const u8 *)name, size};
        set_key(machine, &key, "", 0);
    }
    struct buffer state;
    buffer_init(&state);
    machine->ops->snapshot_begin(machine);
    bool more = true;
    while (more) {
        buffer_clear(&state);
        more = take_piece(machine, UINT64_MAX, &state);
        ck_assert_uint_le(state.size, KV_STATE_HEAD_SIZE + KV_SNAPSHOT_KEYS_MAX * (8 + 5));
    }
    ck_assert(!take_piece(machine, 1, &state));
    machine->ops->snapshot_end(machine);
    buffer_deinit(&state);
    machine->ops->destroy(machine);
}
END_TEST

/* All in one table, so that the cursor is among them: what it passed, where it is, what is ahead of
 * it, each removed after each number of pieces. */
START_TEST(snapshot__keys_removed_around_the_cursor)
{
    enum { KEYS = 6 };
    static struct names names;
    names_init(&names, KEYS, 1);
    for (u32 pieces = 0; pieces <= KEYS + 1; pieces++) {
        for (u32 removed = 0; removed < 1u << KEYS; removed++) {
            struct machine *machine = kv_create();
            struct machine *model = kv_create();
            for (u32 i = 0; i < KEYS; i++) {
                set_key(machine, &names.keys[i], "0123456789", 10);
                set_key(model, &names.keys[i], "0123456789", 10);
            }
            struct buffer state;
            buffer_init(&state);
            machine->ops->snapshot_begin(machine);
            for (u32 i = 0; i < pieces; i++)
                (void)take_piece(machine, 21, &state);
            for (u32 i = 0; i < KEYS; i++) {
                if (removed & 1u << i)
                    delete_key(machine, &names.keys[i]);
            }
            set_key(machine, &names.keys[0], "new", 3);
            take_rest(machine, 1 + removed, &state);
            assert_state(&state, model, names.keys, KEYS);
            buffer_deinit(&state);
            machine->ops->destroy(machine);
            model->ops->destroy(model);
        }
    }
}
END_TEST

START_TEST(snapshot__a_table_that_grows_meanwhile)
{
    static struct names names;
    names_init(&names, NAMES_MAX, 4);
    struct machine *machine = kv_create();
    struct machine *model = kv_create();
    for (u32 i = 0; i < 100; i++) {
        set_key(machine, &names.keys[i], "old", 3);
        set_key(model, &names.keys[i], "old", 3);
    }
    struct buffer state;
    buffer_init(&state);
    machine->ops->snapshot_begin(machine);
    for (u32 i = 100; i < NAMES_MAX; i++) {
        set_key(machine, &names.keys[i], "new", 3);
        if (i % 16 == 0)
            (void)take_piece(machine, 10, &state);
    }
    take_rest(machine, 1000, &state);
    assert_state(&state, model, names.keys, NAMES_MAX);
    ck_assert_uint_eq(kv_key_count(machine), NAMES_MAX);
    buffer_deinit(&state);
    machine->ops->destroy(machine);
    model->ops->destroy(model);
}
END_TEST

/* A value far larger than a piece, on its way out while it is changed, removed, flushed away. */
START_TEST(snapshot__values_larger_than_a_piece)
{
    enum { SIZE = 300 * 1000 };
    static u8 large[SIZE];
    for (u32 i = 0; i < SIZE; i++)
        large[i] = (u8)(i * 7 + i / 256);
    static struct names names;
    names_init(&names, 3, 1);
    for (u32 round = 0; round < 8; round++) {
        struct machine *machine = kv_create();
        struct machine *model = kv_create();
        for (u32 i = 0; i < names.count; i++) {
            set_key(machine, &names.keys[i], large + i, SIZE - i);
            set_key(model, &names.keys[i], large + i, SIZE - i);
        }
        struct buffer state;
        buffer_init(&state);
        machine->ops->snapshot_begin(machine);
        for (u32 i = 0; i < round * 50; i++)
            (void)take_piece(machine, 1000, &state);
        set_key(machine, &names.keys[0], "small", 5);
        delete_key(machine, &names.keys[1]);
        (void)take_piece(machine, 1000, &state);
        if (round % 2 == 0)
            run_arguments(machine, KV_FLUSHALL, NULL, 0, NULL);
        take_rest(machine, 7777, &state);
        assert_state(&state, model, names.keys, names.count);
        buffer_deinit(&state);
        machine->ops->destroy(machine);
        model->ops->destroy(model);
    }
}
END_TEST

START_TEST(snapshot__flushed_twice)
{
    static struct names names;
    names_init(&names, 500, KV_TABLES);
    for (u32 pieces = 0; pieces < 12; pieces++) {
        struct machine *machine = kv_create();
        struct machine *model = kv_create();
        for (u32 i = 0; i < 300; i++) {
            set_key(machine, &names.keys[i], "old", 3);
            set_key(model, &names.keys[i], "old", 3);
        }
        struct buffer state;
        buffer_init(&state);
        machine->ops->snapshot_begin(machine);
        for (u32 i = 0; i < pieces; i++)
            (void)take_piece(machine, 300, &state);
        for (u32 flush = 0; flush < 2; flush++) {
            run_arguments(machine, KV_FLUSHALL, NULL, 0, NULL);
            ck_assert_uint_eq(kv_key_count(machine), 0);
            for (u32 i = 200; i < 500; i++)
                set_key(machine, &names.keys[i], "new", 3);
            (void)take_piece(machine, 300, &state);
            delete_key(machine, &names.keys[250]);
        }
        take_rest(machine, 50, &state);
        assert_state(&state, model, names.keys, names.count);
        ck_assert_uint_eq(kv_key_count(machine), 299);
        buffer_deinit(&state);
        machine->ops->destroy(machine);
        model->ops->destroy(model);
    }
}
END_TEST

/* ---- random commands ---- */

static u32 random_size(struct rng *rng)
{
    switch (rng_range(rng, 0, 9)) {
    case 0:
        return 0;
    case 1:
        return (u32)rng_range(rng, 100, 3000); /* larger than most pieces */
    default:
        return (u32)rng_range(rng, 1, 30);
    }
}

/* Runs one command on `machine`, and on `model` when there is one. */
static void random_command(struct machine *machine, struct machine *model,
                           const struct names *names, struct rng *rng)
{
    static u8 value[3000];
    struct kv_argument arguments[6];
    u32 count = 3;
    for (u32 i = 0; i < ARRAY_LENGTH(arguments); i++)
        arguments[i] = names->keys[rng_range(rng, 0, names->count - 1)];
    struct kv_argument text = {value, random_size(rng)};
    memset(value, (int)rng_range(rng, '0', '9'), text.size < 30 ? text.size : 0);
    enum kv_command command;
    u64 kind = rng_range(rng, 0, 999);
    if (kind < 350) {
        command = KV_SET;
        arguments[1] = text;
        count = 2;
    } else if (kind < 450) {
        command = KV_APPEND;
        arguments[1] = text;
        count = 2;
    } else if (kind < 550) {
        command = KV_INCR;
        count = 1;
    } else if (kind < 650) {
        command = KV_MSET;
        count = 4;
        arguments[1] = text;
        arguments[3] = (struct kv_argument){(const u8 *)"17", 2};
    } else if (kind < 750) {
        command = KV_CAS;
        arguments[1] = (struct kv_argument){(const u8 *)"17", 2};
        arguments[2] = text;
    } else if (kind < 850) {
        command = KV_GETDEL;
        count = 1;
    } else if (kind < 997) {
        command = KV_DEL;
    } else {
        command = KV_FLUSHALL;
        count = 0;
    }
    run_arguments(machine, command, arguments, count, NULL);
    if (model != NULL)
        run_arguments(model, command, arguments, count, NULL);
}

static void random_story(u64 seed)
{
    struct rng rng;
    rng_init(&rng, seed);
    static struct names names;
    names_init(&names, (u32)rng_range(&rng, 1, 400), rng_chance(&rng, 1, 2) ? 3 : KV_TABLES);
    struct machine *machine = kv_create();
    struct machine *model = kv_create();
    struct buffer state;
    buffer_init(&state);
    for (u32 round = 0; round < 4; round++) {
        for (u64 i = rng_range(&rng, 0, 800); i > 0; i--)
            random_command(machine, model, &names, &rng);
        buffer_clear(&state);
        machine->ops->snapshot_begin(machine);
        u64 piece_max = rng_chance(&rng, 1, 2) ? 40 : 2000;
        bool given_up = false;
        while (!given_up && take_piece(machine, rng_range(&rng, 1, piece_max), &state)) {
            for (u64 i = rng_range(&rng, 0, 3); i > 0; i--)
                random_command(machine, NULL, &names, &rng);
            given_up = rng_chance(&rng, 1, 2000);
        }
        machine->ops->snapshot_end(machine);
        if (!given_up)
            assert_state(&state, model, names.keys, names.count);
        /* Both begin the next round from what is there now. */
        buffer_clear(&state);
        take_state(machine, 100000, &state);
        model->ops->destroy(model);
        model = restored(state.data, state.size, 512);
        ck_assert_ptr_nonnull(model);
        assert_same(model, machine, names.keys, names.count);
    }
    buffer_deinit(&state);
    machine->ops->destroy(machine);
    model->ops->destroy(model);
}

START_TEST(snapshot__random_commands_meanwhile)
{
    for (u64 seed = 1; seed <= 150; seed++)
        random_story(seed);
}
END_TEST

/* ---- given up ---- */

START_TEST(snapshot_end__in_the_middle_and_begin_again)
{
    static struct names names;
    names_init(&names, 200, 5);
    struct machine *machine = kv_create();
    struct buffer state;
    buffer_init(&state);
    for (u32 pieces = 0; pieces < 60; pieces++) {
        for (u32 i = 0; i < names.count; i++)
            set_key(machine, &names.keys[i], "0123456789", 10);
        machine->ops->snapshot_begin(machine);
        for (u32 i = 0; i < pieces; i++)
            (void)take_piece(machine, 77, &state);
        for (u32 i = 0; i < 20; i++)
            delete_key(machine, &names.keys[i * 7]);
        if (pieces % 3 == 0)
            run_arguments(machine, KV_FLUSHALL, NULL, 0, NULL);
        set_key(machine, &names.keys[3], "1", 1);
        machine->ops->snapshot_end(machine);
        buffer_clear(&state);
        take_state(machine, 100, &state);
        assert_state(&state, machine, names.keys, names.count);
    }
    buffer_deinit(&state);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(destroy__in_the_middle_of_a_snapshot)
{
    static struct names names;
    names_init(&names, 200, 5);
    for (u32 pieces = 0; pieces < 20; pieces++) {
        struct machine *machine = kv_create();
        struct buffer state;
        buffer_init(&state);
        for (u32 i = 0; i < names.count; i++)
            set_key(machine, &names.keys[i], "0123456789", 10);
        machine->ops->snapshot_begin(machine);
        for (u32 i = 0; i < pieces; i++)
            (void)take_piece(machine, 77, &state);
        delete_key(machine, &names.keys[0]);
        if (pieces % 2 == 0)
            run_arguments(machine, KV_FLUSHALL, NULL, 0, NULL);
        set_key(machine, &names.keys[199], "1", 1);
        buffer_deinit(&state);
        machine->ops->destroy(machine);
    }
}
END_TEST

UNIT_MAIN("kv_snapshot", snapshot__of_nothing, snapshot__later_changes_are_not_in_it,
          snapshot_next__looks_at_a_bounded_number_of_keys,
          snapshot__keys_removed_around_the_cursor, snapshot__a_table_that_grows_meanwhile,
          snapshot__values_larger_than_a_piece, snapshot__flushed_twice,
          snapshot__random_commands_meanwhile, snapshot_end__in_the_middle_and_begin_again,
          destroy__in_the_middle_of_a_snapshot)
