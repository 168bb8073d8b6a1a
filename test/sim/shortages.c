/* shortages.c - what servers run out of: memory, threads, descriptors. The seams count the uses
 * (process_lacks); here is what a shortage means to the cluster. */
#include "test/sim/inside.h"

static enum resource resource_of(enum cluster_resource resource)
{
    switch (resource) {
    case CLUSTER_MEMORY:
        return RESOURCE_MEMORY;
    case CLUSTER_THREADS:
        return RESOURCE_THREADS;
    case CLUSTER_DESCRIPTORS:
        return RESOURCE_DESCRIPTORS;
    }
    UNREACHABLE();
}

void cluster_exhaust(struct cluster *cluster, server_id id, enum cluster_resource resource, u64 nth,
                     bool lasts)
{
    struct sim_server *server = &cluster->servers[id];
    server->shortages[resource_of(resource)] =
        (struct shortage){.nth = nth, .lasts = lasts && nth > 0};
    story_note(cluster, id, nth > 0 ? "RunsOut" : "HasEnough");
    checks_faults_changed(cluster);
}

bool cluster_is_exhausted(const struct cluster *cluster, server_id id,
                          enum cluster_resource resource)
{
    return cluster->servers[id].shortages[resource_of(resource)].came;
}

bool shortages_last(const struct sim_server *server)
{
    for (u32 i = 0; i < RESOURCE_COUNT; i++) {
        if (server->shortages[i].lasts)
            return true;
    }
    return false;
}

void shortages_end(struct sim_server *server)
{
    for (u32 i = 0; i < RESOURCE_COUNT; i++) {
        if (server->shortages[i].nth > 0)
            cluster_exhaust(server->cluster, server->id, (enum cluster_resource)i, 0, false);
    }
}

void shortages_starved(void *context, struct process *process)
{
    struct cluster *cluster = context;
    struct sim_server *server = &cluster->servers[process->server];
    (void)error_set(&server->stop_reason, ERROR_SYSTEM, "out of memory");
    server->starved = true;
    cluster_kill(cluster, server->id);
}
