/* faulty_disks.c - the servers' disks, and what befalls them. */
#include <string.h>

#include "server/rules/entry.h"
#include "test/sim/inside.h"

/* ---- faults ---- */

void cluster_disk(struct cluster *cluster, server_id id, enum cluster_disk_fault fault,
                  u64 value_ns)
{
    struct disk *disk = &cluster->servers[id].disk;
    switch (fault) {
    case CLUSTER_DISK_SYNC_EIO:
        disk->sync_fails = true;
        break;
    case CLUSTER_DISK_WRITE_EIO:
        disk->write_fails = true;
        break;
    case CLUSTER_DISK_WRITE_ENOSPC:
        disk->full = true;
        break;
    case CLUSTER_DISK_SLOW:
        disk->slow_ns = value_ns;
        break;
    case CLUSTER_DISK_STALL:
        disk->stalled = true;
        break;
    case CLUSTER_DISK_HEAL:
        disk_heal(disk);
        break;
    }
    story_note(cluster, id, fault == CLUSTER_DISK_HEAL ? "DiskHealed" : "DiskFault");
    checks_faults_changed(cluster);
}

void cluster_crash_at_write(struct cluster *cluster, server_id id, u32 count)
{
    cluster->servers[id].disk.crash_at = count;
}

static void crash_now(void *context)
{
    const struct sim_server *server = context;
    cluster_crash(server->cluster, server->id);
}

static void disk_told(void *context, enum disk_step step, const char *path, u64 bytes)
{
    (void)path;
    const struct sim_server *server = context;
    struct story_event event = {.kind = STORY_SYNCED, .a = bytes};
    if (step == DISK_SYNC)
        story_add(server->cluster, server->id, &event);
}

/* ---- flipping bits ---- */

struct flipping {
    struct sim_server *server;
    enum cluster_flip what;
    u64 index;
    u64 term;
    bool any;
};

/* Records stand at any offset. */
static void flip_records(void *context, const char *path, u64 size)
{
    struct flipping *flipping = context;
    if (strncmp(path, "log/", 4) != 0 || size < RECORD_HEADER_SIZE)
        return;
    u8 *bytes = sim_alloc(size);
    size_t got = disk_peek(&flipping->server->disk, path, 0, bytes, size);
    for (size_t at = 0; at + RECORD_HEADER_SIZE <= got; at++) {
        struct entry entry;
        if (load_u64(bytes + at + 8) != flipping->index ||
            record_decode(bytes + at, got - at, &entry) == 0)
            continue;
        if (flipping->term != 0 && entry.id.term != flipping->term)
            continue;
        disk_flip(&flipping->server->disk, path, at + 24, 3); /* in its time */
        flipping->any = true;
    }
    sim_free(bytes);
}

/* One bit in each sector that holds anything. */
static void flip_metadata(void *context, const char *path, u64 size)
{
    struct flipping *flipping = context;
    if (strcmp(path, "metadata") != 0)
        return;
    for (u64 sector = 0; sector < size; sector += SECTOR_SIZE) {
        u8 bytes[SECTOR_SIZE];
        size_t got = disk_peek(&flipping->server->disk, path, sector, bytes, sizeof(bytes));
        size_t used = got;
        while (used > 0 && bytes[used - 1] == 0)
            used--;
        if (used == 0)
            continue;
        disk_flip(&flipping->server->disk, path, sector + used / 2, 5);
        flipping->any = true;
    }
}

/* All that are there. */
static void damage_snapshot(void *context, const char *path, u64 size)
{
    struct flipping *flipping = context;
    struct disk *disk = &flipping->server->disk;
    size_t length = strlen(path);
    if (length < 5 || strcmp(path + length - 5, ".snap") != 0 || size == 0)
        return;
    if (flipping->what == CLUSTER_REMOVE_SNAPSHOT)
        disk_take_away(disk, path);
    else if (flipping->what == CLUSTER_TEAR_SNAPSHOT)
        disk_tear(disk, path, size / 2);
    else
        disk_flip(disk, path, size / 2, 3);
    flipping->any = true;
}

bool cluster_disk_flip(struct cluster *cluster, server_id id, enum cluster_flip what, u64 index)
{
    struct sim_server *server = &cluster->servers[id];
    struct flipping flipping = {.server = server, .what = what, .index = index};
    flipping.term = cluster_log_term(cluster, id, index);
    switch (what) {
    case CLUSTER_FLIP_LOG:
        disk_each_file(&server->disk, flip_records, &flipping);
        break;
    case CLUSTER_FLIP_METADATA:
        disk_each_file(&server->disk, flip_metadata, &flipping);
        break;
    case CLUSTER_FLIP_SNAPSHOT:
    case CLUSTER_TEAR_SNAPSHOT:
    case CLUSTER_REMOVE_SNAPSHOT:
        disk_each_file(&server->disk, damage_snapshot, &flipping);
        break;
    }
    if (flipping.any) {
        story_note(cluster, id, "DiskDamaged");
        if (what == CLUSTER_FLIP_METADATA)
            checks_forgive(cluster, server);
        else
            checks_damaged(cluster, server);
    }
    return flipping.any;
}

void faulty_disk_init(struct sim_server *server)
{
    struct cluster *cluster = server->cluster;
    struct disk_settings settings = {cluster->config.disk_sync.min_ns,
                                     cluster->config.disk_sync.max_ns};
    disk_init(&server->disk, &cluster->world, &settings,
              world_stream(&cluster->world, "disk", server->id));
    server->disk.crash = crash_now;
    server->disk.told = disk_told;
    server->disk.context = server;
}
