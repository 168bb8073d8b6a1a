/* fuzz_command.c - the machine's commands as the log holds them (machine/kv.h). An input is
 * several: u8 steers, u16 size, bytes. */
#include "server/machine/kv.h"

#include "common/memory.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/fuzz_resp_value.h"

enum { HEAD_SIZE = 3, DEPTH_MAX = 4, READ_TOO = 1, SNAPSHOT_BEGINS = 2, SNAPSHOT_GOES_ON = 4 };

/* Two servers' machines: all of `mine`'s commands reach `other`, but only `mine` answers anybody,
 * is asked by clients, and takes snapshots. None of that may show in the state. */
struct machines {
    struct machine *mine;
    struct machine *other;
    bool taking;
    struct buffer state;  /* of the snapshot being taken */
    struct buffer answer; /* scratch */
};

static void check_encoding(const u8 *data, size_t size)
{
    struct kv_argument arguments[64];
    enum kv_command command;
    int count = kv_command_decode(data, size, &command, arguments, ARRAY_LENGTH(arguments));
    if (count < 0 || load_u16(data + 2) > ARRAY_LENGTH(arguments))
        return;
    struct kv_limits limits = {.value_bytes_max = load_u32(data + 4),
                               .answer_bytes_max = load_u32(data + 4)};
    u8 *again = memory_alloc(size);
    ASSERT(kv_command_size(arguments, (u32)count) == size);
    kv_command_encode(&limits, command, arguments, (u32)count, again);
    ASSERT(memcmp(again, data, size) == 0);
    memory_free(again);
}

static void check_answer(struct machines *machines)
{
    ASSERT(fuzz_resp_value(machines->answer.data, machines->answer.size, 3, DEPTH_MAX) ==
           machines->answer.size);
    buffer_clear(&machines->answer);
}

static void end_snapshot(struct machines *machines)
{
    if (!machines->taking)
        return;
    while (machines->mine->ops->snapshot_next(machines->mine, 100, &machines->state)) {
    }
    machines->mine->ops->snapshot_end(machines->mine);
    machines->taking = false;
    struct machine *restored = kv_create();
    ASSERT(restored->ops->restore(restored, machines->state.data, machines->state.size));
    ASSERT(restored->ops->restore_end(restored));
    restored->ops->destroy(restored);
    buffer_clear(&machines->state);
}

static void steer_snapshot(struct machines *machines, u8 steer)
{
    struct machine *mine = machines->mine;
    if ((steer & SNAPSHOT_BEGINS) != 0) {
        end_snapshot(machines);
        mine->ops->snapshot_begin(mine);
        machines->taking = true;
    }
    if ((steer & SNAPSHOT_GOES_ON) != 0 && machines->taking)
        (void)mine->ops->snapshot_next(mine, 40, &machines->state);
}

static void run_command(struct machines *machines, u8 steer, const u8 *data, size_t size)
{
    struct machine *mine = machines->mine, *other = machines->other;
    const struct machine_context context = {.id = {1, 1}};
    check_encoding(data, size);
    steer_snapshot(machines, steer);
    if ((steer & READ_TOO) != 0) {
        u64 digest = mine->ops->digest(mine);
        mine->ops->read(mine, data, size, &machines->answer);
        ASSERT(mine->ops->digest(mine) == digest);
        check_answer(machines);
    }
    mine->ops->apply(mine, &context, data, size, &machines->answer);
    check_answer(machines);
    other->ops->apply(other, &context, data, size, NULL);
    ASSERT(mine->ops->digest(mine) == other->ops->digest(other));
}

static void run(const u8 *data, size_t size)
{
    struct machines machines = {.mine = kv_create(), .other = kv_create()};
    buffer_init(&machines.state);
    buffer_init(&machines.answer);
    while (size >= HEAD_SIZE) {
        u8 steer = data[0];
        size_t part = (size_t)u64_min(load_u16(data + 1), size - HEAD_SIZE);
        data += HEAD_SIZE;
        size -= HEAD_SIZE;
        run_command(&machines, steer, data, part);
        data += part;
        size -= part;
    }
    end_snapshot(&machines);
    machines.mine->ops->destroy(machines.mine);
    machines.other->ops->destroy(machines.other);
    buffer_deinit(&machines.state);
    buffer_deinit(&machines.answer);
}

/* MGET answers the same value for as many keys as it is asked, SCAN gathers all. */
const struct fuzz_target fuzz_command = {.name = "command",
                                         .input_max = 2048,
                                         .run = run,
                                         .memory_base = 2 * 1024 * 1024,
                                         .memory_each = 4096};
