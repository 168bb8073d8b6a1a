/* cluster.c - see cluster.h: creation, time and failure. */
#include "test/sim/cluster.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "test/sim/inside.h"

enum {
    STEPS_AT_ONCE_MAX = 1000000, /* in one instant of virtual time: more is no progress */
    JUDGE_NS = 25000000          /* how often the judge looks at what must happen in time */
};

/* ---- configuration ---- */

void cluster_config_init(struct cluster_config *config)
{
    *config = (struct cluster_config){
        .servers = 3,
        .design = CLUSTER_PER_STATE,
        .seed = 42,
        .election_timeout = {150 * NS_PER_MS, 300 * NS_PER_MS},
        .heartbeat_ns = 50 * NS_PER_MS,
        .latency = {1 * NS_PER_MS, 5 * NS_PER_MS},
        .disk_sync = {100 * NS_PER_US, 2 * NS_PER_MS},
    };
}

bool cluster_design_supported(enum cluster_design design)
{
    return design <= CLUSTER_MIXED;
}

/* X(key, field of struct server_options, what it is) */
#define OPTIONS(X)                                             \
    X("leader-wait", leader_wait_ns, AMOUNT_TIME)              \
    X("forward-timeout", forward_timeout_ns, AMOUNT_TIME)      \
    X("message-bytes", message_bytes_max, AMOUNT_SIZE)         \
    X("window-bytes", window_bytes_max, AMOUNT_SIZE)           \
    X("round-bytes", round_bytes_max, AMOUNT_SIZE)             \
    X("uncommitted-bytes", uncommitted_bytes_max, AMOUNT_SIZE) \
    X("log-memory-bytes", log_memory_bytes_max, AMOUNT_SIZE)   \
    X("peer-mail-bytes", peer_mail_bytes_max, AMOUNT_SIZE)     \
    X("client-mail-bytes", client_mail_bytes_max, AMOUNT_SIZE) \
    X("segment-bytes", segment_bytes, AMOUNT_SIZE)             \
    X("snapshot-log-bytes", snapshot_log_bytes, AMOUNT_SIZE)   \
    X("snapshot-ratio", snapshot_ratio_percent, AMOUNT_NUMBER) \
    X("trailing-entries", trailing_entries, AMOUNT_NUMBER)     \
    X("slow-sync", slow_sync_ns, AMOUNT_TIME)

enum amount { AMOUNT_TIME, AMOUNT_SIZE, AMOUNT_NUMBER };

/* Snapshots are taken by those scenarios that ask for them. */
#define NO_SNAPSHOTS (1024ULL * 1024 * MIB)

static const struct {
    const char *word;
    u64 factor;
    bool time;
} units[] = {{"", 1, false},       {"B", 1, false},         {"KiB", KIB, false},
             {"MiB", MIB, false},  {"us", NS_PER_US, true}, {"ms", NS_PER_MS, true},
             {"s", NS_PER_S, true}};

static bool parse_amount(const char *text, enum amount kind, u64 *amount)
{
    char *end = NULL;
    bool time = kind == AMOUNT_TIME;
    if (*text < '0' || *text > '9')
        return false;
    unsigned long long number = strtoull(text, &end, 10);
    *amount = number;
    if (kind == AMOUNT_NUMBER)
        return *end == '\0';
    for (size_t i = 0; i < ARRAY_LENGTH(units); i++) {
        if (strcmp(end, units[i].word) == 0 && units[i].time == time)
            return !__builtin_mul_overflow(number, units[i].factor, amount) && *amount > 0;
    }
    return false;
}

static enum error_code option_set(struct server_options *options, const char *key,
                                  const char *value, struct error *error)
{
    const struct {
        const char *key;
        u64 *field;
        enum amount kind;
    } table[] = {
#define X(key, field, kind) {key, &options->field, kind},
        OPTIONS(X)
#undef X
    };
    for (size_t i = 0; i < ARRAY_LENGTH(table); i++) {
        if (strcmp(key, table[i].key) != 0)
            continue;
        if (parse_amount(value, table[i].kind, table[i].field))
            return ERROR_NONE;
        return error_set(error, ERROR_CONFIG, "option %s: \"%s\" is not %s", key, value,
                         table[i].kind == AMOUNT_TIME   ? "a time such as 250ms"
                         : table[i].kind == AMOUNT_SIZE ? "a size such as 64KiB"
                                                        : "a number");
    }
    return error_set(error, ERROR_CONFIG, "there is no option \"%s\"", key);
}

enum error_code cluster_option_check(const char *key, const char *value, struct error *error)
{
    struct server_options options;
    return option_set(&options, key, value, error);
}

static enum error_code options_of(const struct cluster_config *config,
                                  struct server_options *options, struct error *error)
{
    *options = (struct server_options){
        .election_timeout_ns_min = config->election_timeout.min_ns,
        .election_timeout_ns_max = config->election_timeout.max_ns,
        .heartbeat_ns = config->heartbeat_ns,
        .leader_wait_ns = 1 * NS_PER_S,
        .forward_timeout_ns = 2 * NS_PER_S,
        .message_bytes_max = 16 * KIB,
        .answer_bytes_max = 64 * KIB,
        .window_bytes_max = 256 * KIB,
        .round_bytes_max = 1 * MIB,
        .uncommitted_bytes_max = 16 * MIB,
        .log_memory_bytes_max = 64 * KIB, /* small: old entries are read from the disk */
        .peer_mail_bytes_max = 4 * MIB,
        .client_mail_bytes_max = 4 * MIB,
        .segment_bytes = 128 * KIB, /* small: many segments */
        .snapshot_log_bytes = NO_SNAPSHOTS,
    };
    for (u32 i = 0; i < config->option_count; i++) {
        if (option_set(options, config->options[i].key, config->options[i].value, error) !=
            ERROR_NONE)
            return error->code;
    }
    return ERROR_NONE;
}

static enum error_code config_check(const struct cluster_config *config, struct error *error)
{
    if (config->servers < 1 || config->servers + config->spares > CLUSTER_SERVERS_MAX)
        return error_set(error, ERROR_CONFIG, "%u servers and %u spares: 1 to %d altogether",
                         config->servers, config->spares, CLUSTER_SERVERS_MAX);
    if (!cluster_design_supported(config->design))
        return error_set(error, ERROR_CONFIG, "this design is not supported yet");
    for (server_id id = 1; id <= config->servers + config->spares; id++) {
        const struct cluster_initial *initial = &config->initial[id];
        u64 term = 1;
        for (u32 i = 0; i < initial->log_count; i++) {
            if (i == 0 ? initial->log_terms[0] != 1 : initial->log_terms[i] < term)
                return error_set(error, ERROR_CONFIG,
                                 "log of server %u: terms begin with 1 and do not fall", id);
            term = initial->log_terms[i];
        }
        if (initial->term != 0 && initial->term < term)
            return error_set(error, ERROR_CONFIG, "server %u: its term is below its log's", id);
    }
    return ERROR_NONE;
}

/* ---- creation ---- */

u64 range_draw(struct rng *rng, const struct cluster_range *range)
{
    return rng_range(rng, range->min_ns, range->max_ns);
}

static void judge_timer(void *object, u64 argument)
{
    (void)argument;
    struct cluster *cluster = object;
    checks_time(cluster);
    world_at(&cluster->world, cluster->world.now_ns + JUDGE_NS, judge_timer, cluster, 0);
}

void cluster_keep(struct cluster *cluster, void *memory)
{
    struct kept *kept = sim_alloc(sizeof(*kept));
    *kept = (struct kept){cluster->kept, memory};
    cluster->kept = kept;
}

/* The servers write them in their first step, when the caller's are gone. */
static void keep_initial_logs(struct cluster *cluster)
{
    for (server_id id = 1; id <= cluster->count; id++) {
        struct cluster_initial *initial = &cluster->config.initial[id];
        if (initial->log_count == 0)
            continue;
        size_t size = initial->log_count * sizeof(*initial->log_terms);
        u64 *copy = sim_alloc(size);
        memcpy(copy, initial->log_terms, size);
        initial->log_terms = copy;
        cluster_keep(cluster, copy);
    }
}

enum error_code cluster_create(const struct cluster_config *config, struct cluster **cluster,
                               struct error *error)
{
    struct server_options options;
    if (config_check(config, error) != ERROR_NONE ||
        options_of(config, &options, error) != ERROR_NONE)
        return error->code;
    struct cluster *made = sim_alloc_zero(1, sizeof(*made));
    made->config = *config;
    made->server_options = options;
    made->count = config->servers + config->spares;
    made->timers_on = true;
    world_init(&made->world, config->seed);
    rng_init(&made->net_rng, world_stream(&made->world, "net", 0));
    rng_init(&made->load_rng, world_stream(&made->world, "load", 0));
    rng_init(&made->fault_rng, world_stream(&made->world, "faults", 0));
    rng_init(&made->scenario_rng, world_stream(&made->world, "scenario", 0));
    keep_initial_logs(made);
    network_init(made);
    servers_init(made);
    clients_init(made);
    checks_init(made);
    for (server_id id = 1; id <= config->servers; id++)
        server_boot(&made->servers[id]);
    world_at(&made->world, 0, judge_timer, made, 0);
    *cluster = made;
    return ERROR_NONE;
}

static void action_due(void *object, u64 argument);

void cluster_destroy(struct cluster *cluster)
{
    world_enter(&cluster->world);
    cluster->world.ended = NULL;
    servers_deinit(cluster);
    clients_deinit(cluster);
    network_deinit(cluster);
    for (u32 i = 0; i < cluster->world.heap_count; i++) {
        if (cluster->world.heap[i].run == action_due)
            sim_free(cluster->world.heap[i].object);
    }
    while (cluster->kept != NULL) {
        struct kept *kept = cluster->kept;
        cluster->kept = kept->next;
        sim_free(kept->memory);
        sim_free(kept);
    }
    checks_deinit(cluster);
    world_deinit(&cluster->world);
    sim_free(cluster);
}

/* ---- time ---- */

u64 cluster_now_ns(const struct cluster *cluster)
{
    return cluster->world.now_ns;
}

u64 cluster_event_count(const struct cluster *cluster)
{
    return cluster->world.steps;
}

u64 cluster_random(struct cluster *cluster, u64 low, u64 high)
{
    return rng_range(&cluster->scenario_rng, low, high);
}

bool cluster_run_until(struct cluster *cluster, bool (*holds)(void *context), void *context,
                       u64 deadline_ns)
{
    struct world *world = &cluster->world;
    u64 instant = world->now_ns;
    u64 steps = 0;
    world_enter(world);
    for (;;) {
        struct process *ran = NULL;
        if (cluster->failed)
            return false;
        if (holds != NULL && holds(context))
            return true;
        if (!world_step(world, deadline_ns, &ran))
            return false;
        if (ran != NULL && ran->server != SERVER_NONE)
            checks_ran(cluster, &cluster->servers[ran->server]);
        steps = world->now_ns == instant ? steps + 1 : 0;
        instant = world->now_ns;
        if (steps > STEPS_AT_ONCE_MAX)
            cluster_fail(cluster, "progress of time", ran != NULL ? cluster_set_of(ran->server) : 0,
                         "a million steps in one instant: somebody waits for nothing");
    }
}

void cluster_run(struct cluster *cluster, u64 duration_ns)
{
    (void)cluster_run_until(cluster, NULL, NULL, cluster->world.now_ns + duration_ns);
}

static void action_due(void *object, u64 argument)
{
    (void)argument;
    struct action *action = object;
    struct action copy = *action;
    sim_free(action);
    copy.run(copy.context);
}

void cluster_at(struct cluster *cluster, u64 time_ns, void (*run)(void *context), void *context)
{
    struct action *action = sim_alloc(sizeof(*action));
    *action = (struct action){run, context};
    world_at(&cluster->world, time_ns, action_due, action, 0);
}

/* ---- failure ---- */

const struct cluster_failure *cluster_failure(const struct cluster *cluster)
{
    return cluster->failed ? &cluster->failure : NULL;
}

void cluster_fail(struct cluster *cluster, const char *property, cluster_set servers,
                  const char *format, ...)
{
    if (cluster->failed)
        return;
    cluster->failed = true;
    cluster->failure.property = property;
    cluster->failure.time_ns = cluster->world.now_ns;
    cluster->failure.servers = servers;
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(cluster->failure.text, sizeof(cluster->failure.text), format, arguments);
    va_end(arguments);
}

void cluster_print_failure(const struct cluster *cluster, FILE *to, const char *replay)
{
    const struct cluster_failure *failure = cluster_failure(cluster);
    if (failure == NULL)
        return;
    (void)fprintf(to, "FAILED  %s\n", failure->property);
    (void)fprintf(to, "  at    %llu.%06llu s\n", (unsigned long long)(failure->time_ns / NS_PER_S),
                  (unsigned long long)(failure->time_ns % NS_PER_S / NS_PER_US));
    (void)fprintf(to, "  what  %s\n", failure->text);
    cluster_set servers = failure->servers != 0 ? failure->servers : cluster_all(cluster);
    story_print_last(cluster, servers, to);
    for (server_id id = 1; id <= cluster->count; id++) {
        const struct error *reason = cluster_stop_reason(cluster, id);
        if (cluster_process(cluster, id) == PROCESS_STOPPED && reason->code != ERROR_NONE)
            (void)fprintf(to, "  server %u has stopped: %s\n", id, reason->text);
    }
    (void)fprintf(to, "replay: %s\n", replay);
}
