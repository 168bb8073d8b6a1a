/* chaos.c - see chaos.h: plans, and how each kind of fault strikes and ends. */
#include "test/sim/chaos.h"

#include <stdlib.h>

#include "test/sim/chaos_damage.h"
#include "test/sim/inside.h"

enum { KIND_COUNT = CHAOS_KIND_END };

static const struct {
    const char *word;
    u32 weight;
} kinds[] = {
#define X(name, word, weight) {word, weight},
    CHAOS_KINDS(X)
#undef X
};

const char *chaos_kind_word(enum chaos_kind kind)
{
    ASSERT((u32)kind < KIND_COUNT);
    return kinds[kind].word;
}

/* ---- plans ---- */

static enum chaos_kind draw_kind(struct rng *rng)
{
    u32 total = 0;
    for (u32 i = 0; i < KIND_COUNT; i++)
        total += kinds[i].weight;
    u64 dice = rng_range(rng, 0, total - 1);
    u32 kind = 0;
    while (dice >= kinds[kind].weight)
        dice -= kinds[kind++].weight;
    return (enum chaos_kind)kind;
}

void chaos_plan_init(struct chaos_plan *plan, u64 seed, u64 duration_ns)
{
    struct rng rng;
    rng_init(&rng, seed);
    *plan = (struct chaos_plan){0};
    /* Some runs are quiet, others are storms. */
    u64 pause_max = rng_range(&rng, 300, 4000) * NS_PER_MS;
    u32 capacity = 0;
    for (u64 at = rng_range(&rng, 0, NS_PER_S); at < duration_ns;
         at += rng_range(&rng, 1, pause_max)) {
        if (plan->count == capacity) {
            capacity = capacity == 0 ? 32 : capacity * 2;
            plan->faults = sim_resize(plan->faults, capacity * sizeof(*plan->faults));
        }
        plan->faults[plan->count++] =
            (struct chaos_fault){.kind = draw_kind(&rng),
                                 .at_ns = at,
                                 .for_ns = rng_range(&rng, 20, 3000) * NS_PER_MS,
                                 .seed = rng_next(&rng)};
    }
}

void chaos_plan_deinit(struct chaos_plan *plan)
{
    sim_free(plan->faults);
    *plan = (struct chaos_plan){0};
}

/* ---- whom ---- */

static cluster_set random_subset(const struct cluster *cluster, struct rng *rng)
{
    return rng_next(rng) & cluster_all(cluster);
}

static cluster_set random_one(const struct cluster *cluster, struct rng *rng)
{
    return cluster_set_of((server_id)rng_range(rng, 1, cluster->config.servers));
}

static cluster_set leader_or_any(const struct cluster *cluster, struct rng *rng)
{
    server_id leader = cluster_leader(cluster);
    return leader != SERVER_NONE ? cluster_set_of(leader) : random_one(cluster, rng);
}

static void each(struct cluster *cluster, cluster_set set,
                 void (*act)(struct cluster *cluster, server_id server))
{
    for (server_id id = 1; id <= cluster->count; id++) {
        if (cluster_set_has(set, id))
            act(cluster, id);
    }
}

/* ---- striking ---- */

static void strike_network(struct cluster *cluster, struct chaos_fault *fault, struct rng *rng)
{
    cluster_set all = cluster_all(cluster);
    cluster_set some = rng_chance(rng, 1, 2) ? all : random_subset(cluster, rng);
    u32 ppm = (u32)rng_range(rng, 1, 40) * 10000;
    struct cluster_range slow = {rng_range(rng, 1, 80) * NS_PER_MS, 0};
    slow.max_ns = slow.min_ns + rng_range(rng, 0, 120) * NS_PER_MS;
    if (fault->kind == CHAOS_PARTITION) {
        cluster_set group = random_subset(cluster, rng);
        cluster_partition(cluster, &group, 1);
    } else if (fault->kind == CHAOS_ISOLATE_LEADER) {
        cluster_isolate(cluster, leader_or_any(cluster, rng));
    } else if (fault->kind == CHAOS_ISOLATE_ANY) {
        cluster_isolate(cluster, random_one(cluster, rng));
    } else if (fault->kind == CHAOS_CUT_ONE_WAY) {
        cluster_cut(cluster, random_subset(cluster, rng), random_subset(cluster, rng));
    } else if (fault->kind == CHAOS_BRIDGE) {
        cluster_bridge(cluster, (server_id)rng_range(rng, 1, cluster->config.servers));
    } else if (fault->kind == CHAOS_RING) {
        cluster_ring(cluster);
    } else if (fault->kind == CHAOS_DELAY) {
        cluster_delay(cluster, some, all, slow);
    } else if (fault->kind == CHAOS_LOSS) {
        cluster_loss(cluster, some, all, ppm);
        if (load_is_pipelined(cluster))
            cluster_full(cluster, some, all, 2 * ppm);
    } else if (fault->kind == CHAOS_DUPLICATE) {
        cluster_duplicate(cluster, some, all, ppm);
    } else if (fault->kind == CHAOS_REORDER) {
        cluster_reorder(cluster, some, all, ppm);
    } else if (fault->kind == CHAOS_CORRUPT) {
        cluster_corrupt(cluster, some, all, ppm / 4);
    } else if (fault->kind == CHAOS_RESET) {
        cluster_reset(cluster, some, random_subset(cluster, rng));
    }
}

static void transfer_over(void *context)
{
    struct cluster *cluster = context;
    cluster_set all = cluster_all(cluster);
    (void)cluster_release(cluster, all, all, 1U << MESSAGE_TIMEOUT_NOW, false);
}

/* It comes to nothing, or late, and what is forwarded meanwhile takes its time. */
static void hinder_transfer(struct cluster *cluster, struct rng *rng)
{
    cluster_set all = cluster_all(cluster);
    struct cluster_range slow = {rng_range(rng, 1, 60) * NS_PER_MS, 60 * NS_PER_MS};
    cluster_hold(cluster, all, all, 1U << MESSAGE_TIMEOUT_NOW);
    cluster_delay(cluster, random_one(cluster, rng), all, slow);
    cluster_at(cluster, cluster_now_ns(cluster) + rng_range(rng, 100, 400) * NS_PER_MS,
               transfer_over, cluster);
}

static void strike_process(struct cluster *cluster, struct chaos_fault *fault, struct rng *rng)
{
    cluster_set one = random_one(cluster, rng);
    cluster_set leader = leader_or_any(cluster, rng);
    cluster_set many = random_subset(cluster, rng);
    u32 writes = (u32)rng_range(rng, 1, 12);
    if (fault->kind == CHAOS_CRASH_ANY) {
        fault->struck = one;
        each(cluster, one, cluster_crash);
    } else if (fault->kind == CHAOS_CRASH_LEADER) {
        fault->struck = leader;
        each(cluster, leader, cluster_crash);
    } else if (fault->kind == CHAOS_CRASH_MANY) {
        fault->struck = many;
        each(cluster, many, cluster_crash);
    } else if (fault->kind == CHAOS_CRASH_AT_WRITE || fault->kind == CHAOS_KILL_AT_WRITE) {
        fault->struck = rng_chance(rng, 1, 2) ? one : leader;
        server_id id = (server_id)__builtin_ctzll(fault->struck);
        if (fault->kind == CHAOS_CRASH_AT_WRITE)
            cluster_crash_at_write(cluster, id, writes);
        else
            cluster_kill_at_write(cluster, id, writes);
    } else if (fault->kind == CHAOS_KILL_ANY || fault->kind == CHAOS_KILL_THEN_CRASH) {
        fault->struck = one;
        each(cluster, one, cluster_kill);
        if (fault->kind == CHAOS_KILL_THEN_CRASH)
            each(cluster, one, cluster_restart); /* the crash is how it ends */
    } else if (fault->kind == CHAOS_KILL_LEADER) {
        fault->struck = leader;
        each(cluster, leader, cluster_kill);
    } else if (fault->kind == CHAOS_STOP_ANY) {
        fault->struck = one;
        each(cluster, one, cluster_stop);
    } else if (fault->kind == CHAOS_PAUSE_ANY) {
        fault->struck = one;
        each(cluster, one, cluster_pause);
    } else if (fault->kind == CHAOS_PAUSE_LEADER) {
        fault->struck = leader;
        each(cluster, leader, cluster_pause);
    } else if (fault->kind == CHAOS_TIMEOUT) {
        each(cluster, one, cluster_timeout);
    } else if (fault->kind == CHAOS_TRANSFER) {
        struct client_request order = {.op = CLIENT_TRANSFER};
        order.target = (server_id)rng_range(rng, 0, cluster->config.servers);
        client_send(cluster_client(cluster, "orders"), &order);
        if (load_is_pipelined(cluster))
            hinder_transfer(cluster, rng);
    }
}

/* Of what and when, so that a start may run out as well as work that goes on. */
static void strike_resources(struct cluster *cluster, struct chaos_fault *fault, struct rng *rng)
{
    static const struct {
        enum cluster_resource resource;
        u64 nth_max;
    } kinds_of_shortage[] = {
        {CLUSTER_MEMORY, 400}, {CLUSTER_DESCRIPTORS, 12}, {CLUSTER_THREADS, 3}};
    server_id id = (server_id)rng_range(rng, 1, cluster->config.servers);
    u64 kind = rng_range(rng, 0, ARRAY_LENGTH(kinds_of_shortage) - 1);
    u64 nth = rng_range(rng, 1, kinds_of_shortage[kind].nth_max);
    bool lasts = rng_chance(rng, 1, 2);
    fault->struck = cluster_set_of(id);
    cluster_exhaust(cluster, id, kinds_of_shortage[kind].resource, nth, lasts);
    if (rng_chance(rng, 1, 3))
        cluster_restart(cluster, id);
}

static void strike_disk_or_clock(struct cluster *cluster, struct chaos_fault *fault,
                                 struct rng *rng)
{
    server_id id = (server_id)rng_range(rng, 1, cluster->config.servers);
    u64 slow_ns = rng_range(rng, 5, 400) * NS_PER_MS;
    u32 rate = (u32)(rng_chance(rng, 1, 2) ? rng_range(rng, 95, 105) : rng_range(rng, 50, 200));
    i64 jump = (i64)rng_range(rng, 0, 7200) - 3600;
    /* Its syncs, its reads, or both; a disk that works on something else lets wait for seconds. */
    u64 slow = rng_range(rng, 1, 3);
    u64 read_ns = rng_range(rng, 1, rng_chance(rng, 1, 3) ? 4000 : 60) * NS_PER_MS;
    fault->struck = cluster_set_of(id);
    if (fault->kind == CHAOS_DISK_SLOW && (slow & 1) != 0)
        cluster_disk(cluster, id, CLUSTER_DISK_SLOW, slow_ns);
    if (fault->kind == CHAOS_DISK_SLOW && (slow & 2) != 0)
        cluster_disk(cluster, id, CLUSTER_DISK_READ, read_ns);
    else if (fault->kind == CHAOS_DISK_STALL)
        cluster_disk(cluster, id, CLUSTER_DISK_STALL, 0);
    else if (fault->kind == CHAOS_DISK_SYNC_EIO)
        cluster_disk(cluster, id, CLUSTER_DISK_SYNC_EIO, 0);
    else if (fault->kind == CHAOS_DISK_WRITE_EIO)
        cluster_disk(cluster, id, CLUSTER_DISK_WRITE_EIO, 0);
    else if (fault->kind == CHAOS_DISK_FULL)
        cluster_disk(cluster, id, CLUSTER_DISK_WRITE_ENOSPC, 0);
    else if (fault->kind == CHAOS_CLOCK_RATE)
        cluster_clock_rate(cluster, id, rate * 10000);
    else if (fault->kind == CHAOS_CLOCK_JUMP)
        cluster_clock_jump(cluster, id, jump * (i64)NS_PER_S);
}

/* Whether this disk may be lost: one of a minority that is or was damaged, and of servers that all
 * others have met since they were started last, so that they can tell. Nobody could if they never
 * met. And not while a blank one could join another cluster. */
static bool may_lose(const struct cluster *cluster, server_id id)
{
    return !cluster_is_misplaced(cluster) && cluster_is_founded(cluster) &&
           (checks_damaged_count(cluster, id) + 1) * 2 < cluster->config.servers &&
           cluster_is_well_known(cluster, id);
}

static void strike_loss(struct cluster *cluster, struct chaos_fault *fault, struct rng *rng)
{
    server_id id = (server_id)rng_range(rng, 1, cluster->config.servers);
    if (cluster->servers[id].stray || cluster->servers[id].swapped)
        return;
    if (fault->kind == CHAOS_SET_BACK) {
        cluster_disk_copy(cluster, id); /* it is put back at the end */
        if (rng_chance(rng, 1, 2))
            cluster_restart(cluster, id);
        fault->struck = cluster_set_of(id);
    } else if (may_lose(cluster, id)) {
        cluster_wipe(cluster, id);
        fault->struck = cluster_set_of(id);
    }
}

/* A disk of another cluster, of one server at a time. */
static void strike_stray(struct cluster *cluster, struct chaos_fault *fault, struct rng *rng)
{
    server_id id = (server_id)rng_range(rng, 1, cluster->config.servers);
    if (!cluster_may_stray(cluster))
        return;
    cluster_stray(cluster, id);
    cluster_restart(cluster, id);
    fault->struck = cluster_set_of(id);
}

static void end_stray(struct cluster *cluster, server_id id)
{
    (void)cluster_own_disk(cluster, id);
}

/* Both refuse to run, and get their own again. Two such faults at a time would be taken back in the
 * wrong order. */
static void strike_swap(struct cluster *cluster, struct chaos_fault *fault, struct rng *rng)
{
    server_id a = (server_id)rng_range(rng, 1, cluster->config.servers);
    server_id b = (server_id)rng_range(rng, 1, cluster->config.servers);
    if (a == b || cluster_is_misplaced(cluster))
        return;
    fault->struck = cluster_set_of(a) | cluster_set_of(b);
    cluster_swap_disks(cluster, a, b);
    cluster_restart(cluster, a);
    cluster_restart(cluster, b);
}

static void end_swap(struct cluster *cluster, cluster_set struck)
{
    if (struck != 0)
        cluster_swap_disks(cluster, (server_id)__builtin_ctzll(struck),
                           (server_id)__builtin_ctzll(struck & (struck - 1)));
}

/* Whoever leads is asked to make one that was lost a voter again, or one that is not lost. */
static void strike_readmit(struct cluster *cluster, struct rng *rng)
{
    cluster_set lost = cluster_lost(cluster);
    server_id id = (server_id)rng_range(rng, 1, cluster->config.servers);
    if (lost != 0 && rng_chance(rng, 7, 8))
        id = (server_id)__builtin_ctzll(lost);
    struct client_request order = {.op = CLIENT_TRANSFER, .value = "readmit", .target = id};
    client_send(cluster_client(cluster, "orders"), &order);
}

/* The others must have met a later start than the copy's. */
static void put_copy_back(struct cluster *cluster, server_id id)
{
    const struct sim_server *server = &cluster->servers[id];
    if (may_lose(cluster, id) && server->copy_start > 0 &&
        server->server->raft.trust.own.start_count > server->copy_start) {
        bool put_back = cluster_set_back(cluster, id);
        ASSERT(put_back);
    }
}

static bool is_damage(enum chaos_kind kind)
{
    return kind >= CHAOS_DAMAGE_LOG && kind <= CHAOS_DAMAGE_CUT_OFF;
}

/* A link that comes and goes: each event draws the next. */
static void flap(void *context);

static void strike(void *context)
{
    struct chaos_fault *fault = context;
    struct cluster *cluster = fault->cluster;
    struct rng rng;
    rng_init(&rng, fault->seed);
    story_note(cluster, SERVER_NONE, kinds[fault->kind].word);
    if (fault->kind == CHAOS_FLAP) {
        flap(fault);
        return;
    }
    if (fault->kind == CHAOS_STRAY)
        strike_stray(cluster, fault, &rng);
    else if (fault->kind == CHAOS_SWAP)
        strike_swap(cluster, fault, &rng);
    else if (fault->kind == CHAOS_READMIT)
        strike_readmit(cluster, &rng);
    else if (fault->kind >= CHAOS_WIPE)
        strike_loss(cluster, fault, &rng);
    else if (is_damage(fault->kind))
        chaos_damage(fault, &rng);
    else if (fault->kind == CHAOS_EXHAUST)
        strike_resources(cluster, fault, &rng);
    else if (fault->kind <= CHAOS_RESET)
        strike_network(cluster, fault, &rng);
    else if (fault->kind <= CHAOS_PAUSE_LEADER || fault->kind >= CHAOS_TIMEOUT)
        strike_process(cluster, fault, &rng);
    else
        strike_disk_or_clock(cluster, fault, &rng);
}

static void flap(void *context)
{
    struct chaos_fault *fault = context;
    struct cluster *cluster = fault->cluster;
    struct rng rng;
    rng_init(&rng, fault->seed);
    fault->seed = rng_next(&rng);
    cluster_set from = random_one(cluster, &rng);
    cluster_set to = random_subset(cluster, &rng);
    if (rng_chance(&rng, 1, 2))
        cluster_cut(cluster, from, to);
    else
        cluster_join(cluster, from, to);
    u64 next = rng_range(&rng, 50, 500) * NS_PER_MS;
    if (next >= fault->for_ns)
        return;
    fault->for_ns -= next;
    cluster_at(cluster, cluster_now_ns(cluster) + next, flap, fault);
}

/* ---- ending ---- */

static void put_right(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    if (server->disk.sync_fails || server->disk.write_fails || server->disk.full ||
        server->disk.stalled || server->disk.slow_ns != 0 || server->disk.read_ns != 0 ||
        server->disk.crash_at != 0)
        cluster_disk(cluster, id, CLUSTER_DISK_HEAL, 0);
    shortages_end(server);
    cluster_resume(cluster, id);
    /* Who was asked to stop and has not got round to it would do so later. */
    if (server->process == NULL || server->asked_to_stop)
        cluster_restart(cluster, id);
}

static void end(void *context)
{
    struct chaos_fault *fault = context;
    struct cluster *cluster = fault->cluster;
    if (fault->kind <= CHAOS_RESET) {
        cluster_heal(cluster);
        return;
    }
    if (is_damage(fault->kind))
        chaos_damage_end(fault);
    if (fault->kind == CHAOS_KILL_THEN_CRASH)
        each(cluster, fault->struck, cluster_crash);
    if (fault->kind == CHAOS_SET_BACK)
        each(cluster, fault->struck, put_copy_back);
    if (fault->kind == CHAOS_STRAY)
        each(cluster, fault->struck, end_stray);
    if (fault->kind == CHAOS_SWAP)
        end_swap(cluster, fault->struck);
    if (fault->kind == CHAOS_CLOCK_RATE) {
        for (server_id id = 1; id <= cluster->count; id++) {
            if (cluster_set_has(fault->struck, id))
                cluster_clock_rate(cluster, id, CLOCK_RATE_TRUE);
        }
    }
    each(cluster, fault->struck, put_right);
}

void chaos_carry_out(struct cluster *cluster, struct chaos_plan *plan, u64 duration_ns)
{
    u64 begin = cluster_now_ns(cluster);
    for (u32 i = 0; i < plan->count; i++) {
        struct chaos_fault *fault = &plan->faults[i];
        fault->cluster = cluster;
        if (fault->left_out)
            continue;
        fault->for_ns = u64_min(fault->for_ns, duration_ns - fault->at_ns);
        cluster_at(cluster, begin + fault->at_ns, strike, fault);
        cluster_at(cluster, begin + fault->at_ns + fault->for_ns, end, fault);
    }
    cluster_run(cluster, duration_ns);
    if (cluster->failed)
        return;
    cluster_heal(cluster);
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        cluster_clock_rate(cluster, id, CLOCK_RATE_TRUE);
        put_right(cluster, id);
        /* Whose disk is damaged and who has not noticed may still come to write there, and stop. */
        if (cluster->checks.servers[id].damaged)
            cluster_restart(cluster, id);
    }
}

void cluster_chaos(struct cluster *cluster, u64 duration_ns)
{
    struct chaos_plan plan;
    chaos_plan_init(&plan, rng_next(&cluster->fault_rng), duration_ns);
    chaos_carry_out(cluster, &plan, duration_ns);
    cluster_keep(cluster, plan.faults); /* events that are still to come may point there */
}
