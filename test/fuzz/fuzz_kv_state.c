/* fuzz_kv_state.c - a taken state, put into a machine (machine/kv_restore.c). Of an input the first
 * byte says how the rest is cut into pieces. */
#include "common/rng.h"
#include "server/machine/kv_store.h"
#include "test/fuzz/fuzz.h"

/* A machine from all of the bytes, in pieces whose sizes `rng` draws; NULL: at once. */
static struct machine *restored(const u8 *data, size_t size, struct rng *rng, bool *right)
{
    struct machine *machine = kv_create();
    *right = true;
    for (size_t at = 0; at < size;) {
        size_t piece = rng == NULL ? size : (size_t)u64_min(size - at, rng_range(rng, 1, 40));
        *right = machine->ops->restore(machine, data + at, piece) && *right;
        at += piece;
    }
    *right = machine->ops->restore_end(machine) && *right;
    return machine;
}

/* What was restored can be taken, and that restored is the same. */
static void check_taken(struct machine *machine)
{
    struct buffer state;
    bool right;
    buffer_init(&state);
    machine->ops->snapshot_begin(machine);
    while (machine->ops->snapshot_next(machine, 64, &state)) {
    }
    machine->ops->snapshot_end(machine);
    struct machine *again = restored(state.data, state.size, NULL, &right);
    ASSERT(right && again->ops->digest(again) == machine->ops->digest(machine));
    ASSERT(kv_key_count(again) == kv_key_count(machine));
    again->ops->destroy(again);
    buffer_deinit(&state);
}

static void run(const u8 *data, size_t size)
{
    struct rng rng;
    bool right, right_in_pieces;
    rng_init(&rng, fuzz_take_byte(&data, &size));
    struct machine *whole = restored(data, size, NULL, &right);
    struct machine *pieces = restored(data, size, &rng, &right_in_pieces);
    ASSERT(right == right_in_pieces);
    if (right) {
        ASSERT(whole->ops->digest(whole) == pieces->ops->digest(pieces));
        check_taken(whole);
    }
    whole->ops->destroy(whole);
    pieces->ops->destroy(pieces);
}

/* Number of keys and sum of digests become those of the records that are there. */
static size_t repair(u8 *data, size_t size, size_t capacity, u32 choice)
{
    (void)capacity;
    if (size < 1 + KV_STATE_HEAD_SIZE || choice % 4 == 0)
        return size;
    struct machine *machine = kv_create();
    store_u64(data + 1 + 8, UINT64_MAX);
    bool right = machine->ops->restore(machine, data + 1, size - 1);
    if (right) {
        store_u64(data + 1 + 8, kv_of(machine)->count);
        store_u64(data + 1 + 16, kv_of(machine)->digest_sum);
    }
    machine->ops->destroy(machine);
    return size;
}

/* Each record may begin a table, and each table has room for as many keys as the head lets expect,
 * which is bounded (kv.c: TABLE_BUCKETS_MAX). */
const struct fuzz_target fuzz_kv_state = {.name = "kv_state",
                                          .input_max = 2048,
                                          .run = run,
                                          .repair = repair,
                                          .memory_base = 2 * 1024 * 1024,
                                          .memory_each = 32 * 1024};
