/* bench_kv.c - how long a large key-value machine keeps the server thread from its other work.
 *
 *   bench_kv [KEYS [VALUE_BYTES]]     4,000,000 keys of 256 bytes; about 5 GB of memory
 *
 * Fills a machine, takes its state in pieces while random writes go on, restores it into another
 * machine, which replaces the old one, removes many keys at once, then all. Times are
 * the thread's own (user and system), so that other programs do not count; "wall" is by the clock.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/rng.h"
#include "common/sync.h"
#include "server/machine/kv.h"

enum {
    PIECE_BYTES = 256 * 1024,
    RESTORE_BYTES = 1024 * 1024,
    WRITES_EACH_PIECE = 500,
    DELETED = 65535,
    KEY_SIZE = 16
};

static const struct kv_limits limits = {
    .key_bytes_max = 65536, .value_bytes_max = 8 << 20, .answer_bytes_max = 16 << 20};
static const struct machine_context entry = {.id = {1, 1}, .time_ns = 1};

struct bench {
    struct machine *machine;
    struct rng rng;
    u32 keys;
    u32 value_size;
    u8 *value;
    u8 *command; /* scratch */
};

/* ---- measuring ---- */

struct times {
    u64 count;
    u64 sum_ns;
    u64 longest_ns;
    u64 longest_wall_ns; /* of those that no other program came into */
};

struct moment {
    u64 thread_ns;
    u64 wall_ns;
    long preempted; /* how often so far */
};

static u64 clock_read(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (u64)time.tv_sec * 1000000000 + (u64)time.tv_nsec;
}

static struct moment now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return (struct moment){clock_read(CLOCK_THREAD_CPUTIME_ID), clock_read(CLOCK_MONOTONIC),
                           usage.ru_nivcsw};
}

static void times_add(struct times *times, struct moment from)
{
    struct moment to = now();
    u64 ns = to.thread_ns - from.thread_ns;
    times->count++;
    times->sum_ns += ns;
    times->longest_ns = u64_max(times->longest_ns, ns);
    if (to.preempted == from.preempted)
        times->longest_wall_ns = u64_max(times->longest_wall_ns, to.wall_ns - from.wall_ns);
}

static void times_print(const char *what, const struct times *times)
{
    printf("%-44s longest %9.3f ms (wall %9.3f), mean %8.3f us, %9" PRIu64 " times, %7.3f s\n",
           what, (double)times->longest_ns / 1e6, (double)times->longest_wall_ns / 1e6,
           times->count == 0 ? 0 : (double)times->sum_ns / 1e3 / (double)times->count, times->count,
           (double)times->sum_ns / 1e9);
}

static double memory_mib(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file != NULL) {
        if (fscanf(file, "%*u %lu", &pages) != 1)
            pages = 0;
        fclose(file);
    }
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / (1024 * 1024);
}

/* ---- commands ---- */

static struct kv_argument key_of(u32 number, char text[KEY_SIZE + 1])
{
    snprintf(text, KEY_SIZE + 1, "key:%012u", number);
    return (struct kv_argument){(const u8 *)text, KEY_SIZE};
}

static void apply(struct bench *bench, enum kv_command command, const struct kv_argument *arguments,
                  u32 count, struct times *times)
{
    size_t size = kv_command_size(arguments, count);
    kv_command_encode(&limits, command, arguments, count, bench->command);
    /* The server needs memory for other things, too, and what the machine freed must not make that
     * slow. */
    size_t other_size = rng_range(&bench->rng, 100, 5000);
    struct moment from = now();
    bench->machine->ops->apply(bench->machine, &entry, bench->command, size, NULL);
    void *other = memory_alloc(other_size);
    times_add(times, from);
    memory_free(other);
}

static void set_number(struct bench *bench, u32 number, struct times *times)
{
    char text[KEY_SIZE + 1];
    memcpy(bench->value, &number, sizeof(number));
    struct kv_argument arguments[] = {key_of(number, text), {bench->value, bench->value_size}};
    apply(bench, KV_SET, arguments, 2, times);
}

static void set_random(struct bench *bench, u32 count, struct times *times)
{
    for (u32 i = 0; i < count; i++)
        set_number(bench, (u32)rng_range(&bench->rng, 0, bench->keys - 1), times);
}

/* ---- phases ---- */

static void fill(struct bench *bench)
{
    struct times times = {0};
    double before = memory_mib();
    /* In an order that is not that of their names, as keys come in life. */
    for (u64 i = 0; i < bench->keys; i++)
        set_number(bench, (u32)(i * 2654435761 % bench->keys), &times);
    for (u32 i = 0; i < bench->keys; i++)
        set_number(bench, i, &times);
    times_print("apply: SET, filling, each key twice", &times);
    printf("%" PRIu64 " keys: %.0f MiB\n", kv_key_count(bench->machine), memory_mib() - before);
}

/* Returns the bytes of the state, which are written to `to`. */
static size_t take(struct bench *bench, u8 *to)
{
    const struct machine_ops *ops = bench->machine->ops;
    struct times begin = {0};
    struct times next = {0};
    struct times end = {0};
    struct times writes = {0};
    struct buffer piece;
    buffer_init(&piece);
    (void)buffer_reserve(&piece, PIECE_BYTES);
    double before = memory_mib();
    double most = before;
    size_t size = 0;
    struct moment from = now();
    ops->snapshot_begin(bench->machine);
    times_add(&begin, from);
    bool more = true;
    while (more) {
        buffer_clear(&piece);
        from = now();
        more = ops->snapshot_next(bench->machine, PIECE_BYTES, &piece);
        times_add(&next, from);
        memcpy(to + size, piece.data, piece.size);
        size += piece.size;
        double memory = memory_mib();
        most = memory > most ? memory : most;
        set_random(bench, WRITES_EACH_PIECE, &writes);
    }
    from = now();
    ops->snapshot_end(bench->machine);
    times_add(&end, from);
    times_print("snapshot_begin", &begin);
    times_print("snapshot_next, 256 KiB", &next);
    times_print("snapshot_end", &end);
    times_print("apply: SET of random keys meanwhile", &writes);
    printf("state: %.0f MiB; %.0f MiB/s of snapshot_next; memory at most %.0f MiB over before\n",
           (double)size / 1048576, (double)size / 1048576 / ((double)next.sum_ns / 1e9),
           most - before);
    buffer_deinit(&piece);
    return size;
}

static struct machine *restore(struct bench *bench, const u8 *state, size_t size)
{
    const struct machine_ops *ops = bench->machine->ops;
    struct times times = {0};
    double before = memory_mib();
    struct machine *machine = ops->create_empty(bench->machine);
    struct moment from = now();
    bool right = true;
    for (size_t at = 0; right && at < size; at += RESTORE_BYTES)
        right = ops->restore(machine, state + at, (size_t)u64_min(size - at, RESTORE_BYTES));
    right = right && ops->restore_end(machine);
    times_add(&times, from);
    if (!right) {
        fputs("the state could not be restored\n", stderr);
        exit(EX_SOFTWARE);
    }
    times_print("restore", &times);
    printf("%.0f keys a second; %.0f MiB\n",
           (double)kv_key_count(machine) / ((double)times.sum_ns / 1e9), memory_mib() - before);
    return machine;
}

/* Frees what was put off, by commands and between them. */
static void tidy(struct bench *bench)
{
    struct times times = {0};
    struct times writes = {0};
    for (bool more = true; more;) {
        set_random(bench, 100, &writes);
        struct moment from = now();
        more = bench->machine->ops->tidy(bench->machine);
        times_add(&times, from);
    }
    times_print("apply: SET of random keys behind it", &writes);
    times_print("tidy", &times);
}

/* The new machine frees the old one, while writes go on. */
static void replace(struct bench *bench, struct machine *old)
{
    struct times times = {0};
    struct moment from = now();
    bench->machine->ops->replace(bench->machine, old);
    times_add(&times, from);
    times_print("replace the old machine", &times);
    tidy(bench);
}

static void remove_many(struct bench *bench)
{
    static char texts[DELETED][KEY_SIZE + 1];
    static struct kv_argument keys[DELETED];
    for (u32 i = 0; i < DELETED; i++)
        keys[i] = key_of((u32)rng_range(&bench->rng, 0, bench->keys - 1), texts[i]);
    struct times times = {0};
    apply(bench, KV_DEL, keys, DELETED, &times);
    times_print("apply: DEL of 65,535 random keys", &times);
    tidy(bench);
}

static void remove_all(struct bench *bench)
{
    struct times flush = {0};
    apply(bench, KV_FLUSHALL, NULL, 0, &flush);
    times_print("apply: FLUSHALL", &flush);
    tidy(bench);
}

/* Memory that is there before anything is measured. */
static u8 *state_area(size_t size)
{
    void *area =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (area == MAP_FAILED) {
        perror("mmap");
        exit(EX_OSERR);
    }
    return area;
}

/* As in a server: the main thread is not the one that does the work. */
static void bench_run(void *argument)
{
    struct bench *bench = argument;
    bench->machine = kv_create();
    bench->value = memory_alloc_zero(1, bench->value_size);
    bench->command = memory_alloc((size_t)DELETED * 64 + bench->value_size);
    rng_init(&bench->rng, 1);
    size_t area_size = (size_t)bench->keys * (bench->value_size + KEY_SIZE + 8) + 4096;
    u8 *area = state_area(area_size);

    fill(bench);
    size_t size = take(bench, area);
    struct machine *old = bench->machine;
    bench->machine = restore(bench, area, size);
    replace(bench, old);
    remove_many(bench);
    remove_all(bench);

    munmap(area, area_size);
    bench->machine->ops->destroy(bench->machine);
    memory_free(bench->value);
    memory_free(bench->command);
}

int main(int argc, char **argv)
{
    struct bench bench = {.keys = 4000000, .value_size = 256};
    if (argc > 1)
        bench.keys = (u32)strtoul(argv[1], NULL, 10);
    if (argc > 2)
        bench.value_size = (u32)strtoul(argv[2], NULL, 10);
    if (argc > 3 || bench.keys < 1000 || bench.value_size < sizeof(u32)) {
        fputs("usage: bench_kv [KEYS [VALUE_BYTES]]   (at least 1000, and 4)\n", stderr);
        return EX_USAGE;
    }
    mallopt(M_MXFAST, 0); /* as raftd does */
    struct thread thread;
    struct error error;
    if (thread_start(&thread, "bench", bench_run, &bench, &error) != ERROR_NONE) {
        fprintf(stderr, "%s\n", error.text);
        return EX_OSERR;
    }
    thread_join(&thread);
    return EX_OK;
}
