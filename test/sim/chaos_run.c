/* chaos_run.c - one seed: load and chaos, then healing, progress and judgement. */
#include <inttypes.h>

#include "test/sim/chaos.h"
#include "test/sim/inside.h"

enum { KEYS = 8, CLIENTS = 6, PIPING_CLIENTS = 3, PIPELINE = 8 };

/* What a seed varies besides the faults. */
static void vary(struct cluster_config *config, struct rng *rng)
{
    static const char *const segments[] = {"16KiB", "32KiB", "128KiB"};
    static const char *const memories[] = {"1KiB", "8KiB", "64KiB"};
    static const char *const messages[] = {"512B", "2KiB", "4KiB"};
    config->options[0] = (struct cluster_option){"segment-bytes", segments[rng_range(rng, 0, 2)]};
    config->options[1] =
        (struct cluster_option){"log-memory-bytes", memories[rng_range(rng, 0, 2)]};
    config->options[2] = (struct cluster_option){"message-bytes", messages[rng_range(rng, 0, 2)]};
    static const char *const enough[] = {"1KiB", "4KiB", "1024MiB"};
    static const char *const trailing[] = {"0", "3", "40"};
    config->options[3] =
        (struct cluster_option){"snapshot-log-bytes", enough[rng_range(rng, 0, 2)]};
    config->options[4] =
        (struct cluster_option){"trailing-entries", trailing[rng_range(rng, 0, 2)]};
    /* Of a generator of its own: seeds of before this was drawn play as they did, but for this. */
    static const char *const rounds[] = {"1KiB", "8KiB", "1MiB"};
    struct rng another;
    rng_init(&another, config->seed ^ 0x726f756e64ULL);
    config->options[5] = (struct cluster_option){"round-bytes", rounds[rng_range(&another, 0, 2)]};
    config->option_count = 6;
    /* The same: half of the disks read in no time, as from a page cache, and some networks are
     * wide: a round trip takes longer than a heartbeat, or even than an election timeout. */
    struct rng times;
    rng_init(&times, config->seed ^ 0x74696d6573ULL);
    if (rng_chance(&times, 1, 2))
        config->disk_read_ns = rng_range(&times, 1, 40) * 100 * NS_PER_US;
    u64 wide = rng_range(&times, 1, 12);
    if (rng_chance(rng, 1, 3))
        config->latency = (struct cluster_range){50 * NS_PER_US, 500 * NS_PER_US};
    if (rng_chance(rng, 1, 4))
        config->disk_sync = (struct cluster_range){2 * NS_PER_MS, 12 * NS_PER_MS};
    if (wide == 1)
        config->latency = (struct cluster_range){130 * NS_PER_MS, 150 * NS_PER_MS};
    else if (wide == 2)
        config->latency = (struct cluster_range){27 * NS_PER_MS, 60 * NS_PER_MS};
}

struct waiting {
    struct cluster *cluster;
};

static bool is_calm(void *context)
{
    const struct waiting *waiting = context;
    struct cluster *cluster = waiting->cluster;
    /* Asked after every step, so the cheap questions come first. */
    server_id leader = cluster_leader(cluster);
    if (leader == SERVER_NONE || cluster_is_loaded(cluster))
        return false;
    u64 last = cluster_last_index(cluster, leader);
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        if (!cluster_is_live(cluster, id) || cluster_commit_index(cluster, id) != last ||
            cluster_applied_index(cluster, id) != last)
            return false;
    }
    return true;
}

/* Everything works again: all servers come to the same, and every key can be read. */
static void demand_progress(struct cluster *cluster)
{
    struct waiting waiting = {cluster};
    u64 deadline = cluster->world.now_ns + checks_time_to_settle_ns(cluster);
    if (!cluster_run_until(cluster, is_calm, &waiting, deadline) && !cluster->failed) {
        cluster_set late = 0;
        for (server_id id = 1; id <= cluster->config.servers; id++) {
            if (!cluster_is_live(cluster, id) ||
                cluster_commit_index(cluster, id) < cluster->checks.committed_count)
                late |= cluster_set_of(id);
        }
        server_id first = late != 0 ? (server_id)__builtin_ctzll(late) : SERVER_NONE;
        const struct error *reason =
            first != SERVER_NONE ? cluster_stop_reason(cluster, first) : NULL;
        bool stopped = reason != NULL && reason->code != ERROR_NONE;
        cluster_fail(cluster, "progress", late,
                     "all is healed and all servers run, and they do not come to the same state; "
                     "behind or stopped: server %u%s%s",
                     first, stopped ? ": " : "", stopped ? reason->text : "");
    }
    struct buffer why;
    buffer_init(&why);
    if (!cluster->failed && !cluster_agrees(cluster, &why))
        cluster_fail(cluster, "agreement", 0, "%.*s", (int)why.size, (const char *)why.data);
    buffer_deinit(&why);
    struct client *reader = cluster_client(cluster, "reader");
    for (u32 key = 1; key <= KEYS; key++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "%s%u", key % 4 == 0 ? "n" : "k", key);
        struct client_request request = {.op = CLIENT_GET, .key = name};
        client_send(reader, &request);
        cluster_client_wait(cluster, reader);
        enum client_answer_kind kind = client_answer(reader)->kind;
        if (!cluster->failed && kind != ANSWER_OK && kind != ANSWER_NIL)
            cluster_fail(cluster, "progress", 0, "all is well, and %s cannot be read: %s", name,
                         client_answer(reader)->text);
    }
    cluster_run(cluster, 2 * NS_PER_S); /* snapshots are written, heartbeats tell of all commits */
    if (!cluster->failed)
        checks_rest(cluster);
}

/* The configuration and the plan of a run: all that its seed decides beforehand. */
static void prepare(const struct chaos_options *options, struct cluster_config *config,
                    struct chaos_plan *plan)
{
    struct rng rng;
    cluster_config_init(config);
    config->servers = options->servers;
    config->seed = options->seed;
    config->design = options->design;
    rng_init(&rng, options->seed ^ 0x6368616f73ULL);
    vary(config, &rng);
    config->founding = options->seed % 3 == 0   ? CLUSTER_FOUNDED_NOW
                       : options->seed % 3 == 1 ? CLUSTER_FOUNDED_BEFORE
                                                : CLUSTER_FOUNDED;
    chaos_plan_init(plan, rng_next(&rng), options->duration_ns);
    for (u32 i = 0; i < plan->count && i < options->left_out_count; i++)
        plan->faults[i].left_out = options->left_out[i];
}

u32 chaos_fault_count(const struct chaos_options *options)
{
    struct cluster_config config;
    struct chaos_plan plan;
    prepare(options, &config, &plan);
    u32 count = plan.count;
    chaos_plan_deinit(&plan);
    return count;
}

/* Some runs have long pauses between commands: what happens within one is seen nowhere else. */
static u64 load_of(const struct chaos_options *options)
{
    struct rng rng;
    rng_init(&rng, options->seed ^ 0x6c6f6164ULL);
    u64 load = options->load_per_second;
    return rng_chance(&rng, 1, 4) ? (load + 19) / 20 : load;
}

/* In half of the runs there are clients with pipelines, too. */
static void load_with_pipelines(const struct chaos_options *options, struct cluster *cluster)
{
    struct rng rng;
    rng_init(&rng, options->seed ^ 0x70697073ULL);
    if (rng_chance(&rng, 1, 2))
        cluster_load_pipelined(cluster, load_of(options), options->duration_ns + 2 * NS_PER_S,
                               PIPING_CLIENTS, KEYS, PIPELINE);
}

static void tell_failure(const struct chaos_options *options, const struct cluster *cluster,
                         const struct chaos_plan *plan)
{
    cluster_print_failure(cluster, options->complaints, options->replay);
    (void)fprintf(options->complaints, "faults:\n");
    for (u32 i = 0; i < plan->count; i++) {
        const struct chaos_fault *fault = &plan->faults[i];
        if (!fault->left_out)
            (void)fprintf(
                options->complaints, "  %3u  at %6" PRIu64 " ms for %5" PRIu64 " ms  %s\n", i,
                fault->at_ns / NS_PER_MS, fault->for_ns / NS_PER_MS, chaos_kind_word(fault->kind));
    }
}

void chaos_run(const struct chaos_options *options, struct chaos_result *result)
{
    struct cluster_config config;
    struct chaos_plan plan;
    prepare(options, &config, &plan);
    config.trace = options->trace;
    config.trace_context = options->trace_context;
    config.story = options->story;
    config.story_context = options->story_context;
    struct cluster *cluster = NULL;
    struct error error = {0};
    ASSERT(cluster_create(&config, &cluster, &error) == ERROR_NONE);
    cluster_load(cluster, load_of(options), options->duration_ns + 2 * NS_PER_S, CLIENTS, KEYS);
    load_with_pipelines(options, cluster);
    chaos_carry_out(cluster, &plan, options->duration_ns);
    if (!cluster->failed)
        demand_progress(cluster);
    cluster_finish(cluster);
    *result = (struct chaos_result){.held = !cluster->failed,
                                    .failure = cluster->failure,
                                    .faults = plan.count,
                                    .events = cluster_event_count(cluster),
                                    .virtual_ns = cluster_now_ns(cluster),
                                    .operations = cluster->history.count};
    if (cluster->failed && options->complaints != NULL)
        tell_failure(options, cluster, &plan);
    cluster_destroy(cluster);
    chaos_plan_deinit(&plan);
}
