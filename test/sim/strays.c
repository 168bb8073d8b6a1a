/* strays.c - how a cluster is founded, and disks in the wrong place: a directory of another
 * cluster, and those of two servers exchanged. What a server has on its own disk is put aside
 * meanwhile, and comes back whole: nothing of it is forgotten, and nothing that is said without it
 * may count. */
#include "test/sim/inside.h"

bool cluster_is_founded(const struct cluster *cluster)
{
    return cluster->config.founding != CLUSTER_FOUNDED_NOW || cluster->checks.committed_count > 1;
}

bool cluster_is_misplaced(const struct cluster *cluster)
{
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        if (cluster->servers[id].stray || cluster->servers[id].swapped)
            return true;
    }
    return false;
}

bool cluster_may_stray(const struct cluster *cluster)
{
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        if (!cluster->servers[id].joined)
            return false;
    }
    return !cluster_is_misplaced(cluster);
}

static void put_aside(struct sim_server *server)
{
    disk_copy_destroy(server->own_disk);
    server->own_disk = disk_copy_take(&server->disk);
}

void cluster_stray(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    cluster_kill(cluster, id);
    if (server->stray)
        return;
    put_aside(server);
    disk_wipe(&server->disk);
    server->stray = true;
    server->strays++;
    story_note(cluster, id, "DiskOfAnotherCluster");
    checks_faults_changed(cluster);
}

bool cluster_own_disk(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    if (!server->stray)
        return false;
    cluster_kill(cluster, id);
    server->stray = false;
    disk_copy_put_back(&server->disk, server->own_disk);
    story_note(cluster, id, "OwnDiskAgain");
    checks_faults_changed(cluster);
    return true;
}

void cluster_swap_disks(struct cluster *cluster, server_id a, server_id b)
{
    cluster_kill(cluster, a);
    cluster_kill(cluster, b);
    struct disk_copy *of_a = disk_copy_take(&cluster->servers[a].disk);
    struct disk_copy *of_b = disk_copy_take(&cluster->servers[b].disk);
    disk_copy_put_back(&cluster->servers[a].disk, of_b);
    disk_copy_put_back(&cluster->servers[b].disk, of_a);
    disk_copy_destroy(of_a);
    disk_copy_destroy(of_b);
    cluster->servers[a].swapped = cluster->servers[b].swapped = !cluster->servers[a].swapped;
    story_note(cluster, a, "DiskSwapped");
    story_note(cluster, b, "DiskSwapped");
    checks_faults_changed(cluster);
}
