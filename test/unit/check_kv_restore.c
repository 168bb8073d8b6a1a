/* check_kv_restore.c - putting a taken state into an empty machine, whatever the bytes are. */
#include "common/sync.h"
#include "server/machine/kv_answer.h"
#include "test/unit/kv_snapshot_unit.h"

/* Keys and values of many sizes, none among them; about 250 bytes as a state. */
static struct machine *small_machine(void)
{
    struct machine *machine = kv_create();
    run(machine, "set _ empty");
    run(machine, "set a _");
    run(machine, "set longer-key 0123456789012345678901234567890123456789");
    run(machine, "mset b 1 c 22 d 333 eeeee 4");
    return machine;
}

static void small_state(struct buffer *state)
{
    struct machine *machine = small_machine();
    buffer_init(state);
    take_state(machine, 1000, state);
    machine->ops->destroy(machine);
}

START_TEST(restore__in_pieces_of_any_size)
{
    struct machine *machine = small_machine();
    u64 digest = machine->ops->digest(machine);
    struct buffer state;
    small_state(&state);
    for (size_t piece = 1; piece <= state.size; piece++) {
        struct machine *other = restored(state.data, state.size, piece);
        ck_assert_ptr_nonnull(other);
        ck_assert_uint_eq(other->ops->digest(other), digest);
        ck_assert_str_eq(run(other, "mget _ a b c d eeeee x"),
                         "*7 $5 empty $0  $1 1 $2 22 $3 333 $1 4 _");
        other->ops->destroy(other);
    }
    buffer_deinit(&state);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(restore__cut_at_every_two_bytes)
{
    struct machine *machine = small_machine();
    struct buffer state;
    small_state(&state);
    for (size_t first = 0; first <= state.size; first++) {
        for (size_t second = first; second <= state.size; second += 3) {
            struct machine *other = kv_create();
            ck_assert(other->ops->restore(other, state.data, first));
            ck_assert(other->ops->restore(other, state.data + first, second - first));
            ck_assert(other->ops->restore(other, state.data + second, state.size - second));
            ck_assert(other->ops->restore_end(other));
            assert_same(other, machine, NULL, 0);
            other->ops->destroy(other);
        }
    }
    buffer_deinit(&state);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(restore__every_truncation_is_told)
{
    struct buffer state;
    small_state(&state);
    for (size_t size = 0; size < state.size; size++) {
        ck_assert_ptr_null(restored(state.data, size, 1000));
        ck_assert_ptr_null(restored(state.data, size, 3));
    }
    buffer_append(&state, "", 1);
    ck_assert_ptr_null(restored(state.data, state.size, 1000));
    buffer_deinit(&state);
}
END_TEST

START_TEST(restore__every_flipped_bit_is_told)
{
    struct buffer state;
    small_state(&state);
    for (size_t at = 0; at < state.size; at++) {
        for (u32 bit = 0; bit < 8; bit++) {
            state.data[at] ^= (u8)(1u << bit);
            ck_assert_msg(restored(state.data, state.size, 50) == NULL, "byte %zu, bit %u", at,
                          bit);
            state.data[at] ^= (u8)(1u << bit);
        }
    }
    buffer_deinit(&state);
}
END_TEST

/* Random damage, more than one byte of it, and random pieces: told, or nothing was lost. */
START_TEST(restore__random_damage_never_gives_another_state)
{
    struct machine *machine = small_machine();
    u64 digest = machine->ops->digest(machine);
    struct buffer state;
    small_state(&state);
    struct rng rng;
    rng_init(&rng, 11);
    u8 *copy = memory_alloc(state.size);
    for (u32 round = 0; round < 20000; round++) {
        memcpy(copy, state.data, state.size);
        for (u64 i = rng_range(&rng, 0, 4); i > 0; i--)
            copy[rng_range(&rng, 0, state.size - 1)] = (u8)rng_range(&rng, 0, 255);
        size_t size = rng_chance(&rng, 1, 3) ? (size_t)rng_range(&rng, 0, state.size) : state.size;
        struct machine *other = restored(copy, size, (size_t)rng_range(&rng, 1, 100));
        if (other == NULL)
            continue;
        ck_assert_uint_eq(other->ops->digest(other), digest);
        other->ops->destroy(other);
    }
    memory_free(copy);
    buffer_deinit(&state);
    machine->ops->destroy(machine);
}
END_TEST

/* A key that is there twice would be two items; the sums could be made to fit. */
START_TEST(restore__a_key_twice_is_no_state)
{
    struct machine *machine = kv_create();
    run(machine, "set a 1");
    struct buffer state;
    buffer_init(&state);
    take_state(machine, 1000, &state);
    u64 sum = load_u64(state.data + 16);
    buffer_append(&state, "\1\0\0\0\1\0\0\0a1", 10);
    store_u64(state.data + 8, 2);
    store_u64(state.data + 16, sum + sum);
    ck_assert_ptr_null(restored(state.data, state.size, 1000));
    buffer_deinit(&state);
    machine->ops->destroy(machine);
}
END_TEST

START_TEST(restore__once_wrong_stays_wrong)
{
    struct buffer state;
    small_state(&state);
    struct machine *machine = kv_create();
    ck_assert(!machine->ops->restore(machine, (const u8 *)"012345678901234567890123", 24));
    ck_assert(!machine->ops->restore(machine, state.data, state.size));
    ck_assert(!machine->ops->restore_end(machine));
    machine->ops->destroy(machine);
    buffer_deinit(&state);
}
END_TEST

START_TEST(destroy__in_the_middle_of_a_restore)
{
    struct buffer state;
    small_state(&state);
    for (size_t size = 0; size <= state.size; size++) {
        struct machine *machine = kv_create();
        ck_assert(machine->ops->restore(machine, state.data, size));
        machine->ops->destroy(machine);
    }
    buffer_deinit(&state);
}
END_TEST

/* What was restored is a machine like any other: commands, and a snapshot of it. */
START_TEST(restore__goes_on_like_the_one_it_came_from)
{
    static struct names names;
    names_init(&names, 1000, KV_TABLES);
    struct machine *machine = kv_create();
    for (u32 i = 0; i < names.count; i++)
        set_key(machine, &names.keys[i], &i, sizeof(i));
    struct buffer state;
    buffer_init(&state);
    take_state(machine, 333, &state);
    struct machine *other = restored(state.data, state.size, 4096);
    ck_assert_ptr_nonnull(other);
    for (u32 i = 0; i < names.count; i += 3) {
        delete_key(machine, &names.keys[i]);
        delete_key(other, &names.keys[i]);
        set_key(machine, &names.keys[i / 2], "x", 1);
        set_key(other, &names.keys[i / 2], "x", 1);
    }
    assert_same(other, machine, names.keys, names.count);
    buffer_clear(&state);
    take_state(other, 333, &state);
    assert_state(&state, machine, names.keys, names.count);
    buffer_deinit(&state);
    machine->ops->destroy(machine);
    other->ops->destroy(other);
}
END_TEST

/* ---- SCAN ---- */

enum { SCANNED = 3000 };

static u64 scan_on(struct machine *machine, u64 cursor, u32 *seen)
{
    char digits[24];
    u32 size = (u32)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)cursor);
    struct kv_argument argument = {(const u8 *)digits, size};
    struct buffer answer;
    buffer_init(&answer);
    run_arguments(machine, KV_SCAN, &argument, 1, &answer);
    buffer_append(&answer, "", 1);
    unsigned long long next;
    u32 keys;
    int used;
    const char *at = (const char *)answer.data;
    ck_assert_int_eq(sscanf(at, "*2\r\n$%*u\r\n%llu\r\n*%u\r\n%n", &next, &keys, &used), 2);
    for (u32 i = 0; i < keys; i++) {
        at += used;
        u32 number;
        ck_assert_int_eq(sscanf(at, "$%*u\r\nk%u\r\n%n", &number, &used), 1);
        if (number < SCANNED)
            seen[number]++;
    }
    buffer_deinit(&answer);
    return next;
}

/* A SCAN goes on while a snapshot is taken, and ends at the machine that was restored from it. */
START_TEST(scan__across_snapshot_and_restore)
{
    struct machine *machine = kv_create();
    for (u32 i = 0; i < SCANNED; i++) {
        char text[64];
        snprintf(text, sizeof(text), "set k%u %u", i, i);
        run(machine, text);
    }
    static u32 seen[SCANNED];
    memset(seen, 0, sizeof(seen));
    struct buffer state;
    buffer_init(&state);
    machine->ops->snapshot_begin(machine);
    u64 cursor = 0;
    for (u32 i = 0; i < 100; i++) {
        cursor = scan_on(machine, cursor, seen);
        (void)take_piece(machine, 200, &state);
        char text[64];
        snprintf(text, sizeof(text), "set k%u later", i * 30);
        run(machine, text);
        snprintf(text, sizeof(text), "set k%u new", SCANNED + i);
        run(machine, text);
    }
    ck_assert_uint_ne(cursor, 0);
    take_rest(machine, 1000, &state);
    struct machine *other = restored(state.data, state.size, 1000);
    ck_assert_ptr_nonnull(other);
    do {
        cursor = scan_on(other, cursor, seen);
    } while (cursor != 0);
    for (u32 i = 0; i < SCANNED; i++)
        ck_assert_uint_eq(seen[i], 1);
    buffer_deinit(&state);
    machine->ops->destroy(machine);
    other->ops->destroy(other);
}
END_TEST

/* ---- an old machine, destroyed on another thread ---- */

static void destroy_it(void *argument)
{
    struct machine *machine = argument;
    machine->ops->destroy(machine);
}

/* Values may still be held elsewhere, and the one in its place is at work. */
START_TEST(destroy__on_another_thread)
{
    struct machine *machine = kv_create();
    for (u32 round = 0; round < 5; round++) {
        for (u32 i = 0; i < 2000; i++) {
            char text[64];
            snprintf(text, sizeof(text), "set k%u value%u", i, i * round);
            run(machine, text);
        }
        struct buffer state;
        buffer_init(&state);
        take_state(machine, 1000, &state);
        struct machine *other = restored(state.data, state.size, 1000);
        ck_assert_ptr_nonnull(other);
        machine->ops->snapshot_begin(machine);
        run(machine, "set k1 kept");
        run(machine, "flushall");
        struct thread thread;
        struct error error;
        ck_assert_int_eq(thread_start(&thread, "destroyer", destroy_it, machine, &error),
                         ERROR_NONE);
        machine = other;
        for (u32 i = 0; i < 2000; i++) {
            char text[64];
            snprintf(text, sizeof(text), "append k%u 1", i);
            run(machine, text);
        }
        thread_join(&thread);
        buffer_deinit(&state);
    }
    machine->ops->destroy(machine);
}
END_TEST

UNIT_MAIN("kv_restore", restore__in_pieces_of_any_size, restore__cut_at_every_two_bytes,
          restore__every_truncation_is_told, restore__every_flipped_bit_is_told,
          restore__random_damage_never_gives_another_state, restore__a_key_twice_is_no_state,
          restore__once_wrong_stays_wrong, destroy__in_the_middle_of_a_restore,
          restore__goes_on_like_the_one_it_came_from, scan__across_snapshot_and_restore,
          destroy__on_another_thread)
