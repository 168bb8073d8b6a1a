/* chaos_damage.c - see chaos_damage.h. */
#include "test/sim/chaos_damage.h"

#include "test/sim/inside.h"

static bool may_damage(const struct cluster *cluster, server_id id)
{
    const struct sim_server *server = &cluster->servers[id];
    return !server->stray && !server->swapped && cluster_is_founded(cluster) &&
           (checks_damaged_count(cluster, id) + 1) * 2 < cluster->config.servers;
}

static enum cluster_damage flip_or_unreadable(struct rng *rng)
{
    return rng_chance(rng, 1, 2) ? CLUSTER_FLIP : CLUSTER_UNREADABLE;
}

/* The place may be gone from the disk by now. */
static void damage_place(struct cluster *cluster, server_id id, enum cluster_damage damage,
                         enum cluster_place place, u64 index)
{
    bool any = cluster_disk_damage(cluster, id, damage, place, index);
    (void)any;
}

/* One entry, often one of the last; or any byte. */
static void damage_log(struct cluster *cluster, server_id id, struct rng *rng)
{
    enum cluster_damage damage = flip_or_unreadable(rng);
    u64 last = cluster_last_index(cluster, id);
    u64 index = last > 0 ? rng_range(rng, rng_chance(rng, 1, 2) ? 1 : last - last / 8, last) : 1;
    u64 bytes = cluster_log_used_bytes(cluster, id);
    if (rng_chance(rng, 1, 2) || bytes == 0)
        damage_place(cluster, id, damage, CLUSTER_LOG, index);
    else
        damage_place(cluster, id, damage, CLUSTER_LOG_BYTE, rng_range(rng, 0, bytes - 1));
}

static server_id struck_server(const struct chaos_fault *fault)
{
    return (server_id)__builtin_ctzll(fault->struck);
}

/* The rest of DAMAGE_CUT_OFF: the power goes, and one of the entries that nobody else may have is
 * damaged; it starts, and ends again at some write, or a while later. */
static void damage_uncommitted(void *context)
{
    const struct chaos_fault *fault = context;
    struct cluster *cluster = fault->cluster;
    server_id id = struck_server(fault);
    u64 last = cluster_last_index(cluster, id);
    u64 commit = cluster_commit_index(cluster, id);
    struct rng rng;
    rng_init(&rng, fault->seed + 1);
    cluster_crash(cluster, id);
    if (may_damage(cluster, id) && last > 0)
        damage_place(cluster, id, flip_or_unreadable(&rng), CLUSTER_LOG,
                     last > commit ? rng_range(&rng, commit + 1, last) : last);
    cluster_restart(cluster, id);
    if (rng_chance(&rng, 1, 2))
        cluster_crash_at_write(cluster, id, (u32)rng_range(&rng, 1, 20));
}

static void crash_and_restart(void *context)
{
    const struct chaos_fault *fault = context;
    cluster_crash(fault->cluster, struck_server(fault));
    cluster_restart(fault->cluster, struck_server(fault));
}

static void take_snapshot(void *context)
{
    const struct chaos_fault *fault = context;
    cluster_take_snapshot(fault->cluster, struck_server(fault));
}

static void later(struct chaos_fault *fault, u64 after_ns, void (*action)(void *context))
{
    cluster_at(fault->cluster, cluster_now_ns(fault->cluster) + after_ns, action, fault);
}

void chaos_damage(struct chaos_fault *fault, struct rng *rng)
{
    static const enum cluster_damage any[] = {CLUSTER_FLIP, CLUSTER_UNREADABLE, CLUSTER_TEAR,
                                              CLUSTER_REMOVE};
    struct cluster *cluster = fault->cluster;
    server_id id = (server_id)rng_range(rng, 1, cluster->config.servers);
    server_id leader = cluster_leader(cluster);
    if (leader != SERVER_NONE && rng_chance(rng, 1, fault->kind == CHAOS_DAMAGE_CUT_OFF ? 1 : 4))
        id = leader;
    fault->struck = cluster_set_of(id);
    if (fault->kind == CHAOS_DAMAGE_CUT_OFF) {
        cluster_isolate(cluster, fault->struck);
        later(fault, fault->for_ns / 3, damage_uncommitted);
        later(fault, fault->for_ns / 3 * 2, crash_and_restart);
        return;
    }
    /* A server that runs finds out when it reads, or at its next start. */
    bool runs_on = fault->kind == CHAOS_DAMAGE_LOG && rng_chance(rng, 1, 3);
    if (!runs_on)
        cluster_crash(cluster, id);
    if (fault->kind == CHAOS_DAMAGE_SLOT)
        damage_place(cluster, id, flip_or_unreadable(rng), CLUSTER_SLOT, 0);
    else if (fault->kind == CHAOS_DAMAGE_LOG && may_damage(cluster, id))
        damage_log(cluster, id, rng);
    else if (fault->kind == CHAOS_DAMAGE_SNAPSHOT && may_damage(cluster, id))
        damage_place(cluster, id, any[rng_range(rng, 0, ARRAY_LENGTH(any) - 1)], CLUSTER_SNAPSHOT,
                     0);
    if (fault->kind != CHAOS_DAMAGE_SPARE)
        return;
    damage_place(cluster, id, flip_or_unreadable(rng), CLUSTER_SPARE, 0);
    cluster_restart(cluster, id);
    later(fault, fault->for_ns / 2, take_snapshot);
}

void chaos_damage_end(struct chaos_fault *fault)
{
    if (fault->kind == CHAOS_DAMAGE_CUT_OFF)
        cluster_heal(fault->cluster);
    if (fault->kind == CHAOS_DAMAGE_SPARE)
        cluster_crash(fault->cluster, struck_server(fault));
}
