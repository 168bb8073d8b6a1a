/* faulty_disks.c - the servers' disks, and what befalls them. */
#include <stdio.h>
#include <string.h>

#include "server/rules/entry.h"
#include "server/storage/metadata.h"
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
    case CLUSTER_DISK_READ:
        disk->read_ns = value_ns;
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
    cluster->servers[id].killed_at_write = false;
}

void cluster_kill_at_write(struct cluster *cluster, server_id id, u32 count)
{
    cluster->servers[id].disk.crash_at = count;
    cluster->servers[id].killed_at_write = true;
}

static void crash_now(void *context)
{
    const struct sim_server *server = context;
    story_note(server->cluster, server->id, "AtWrite");
    if (server->killed_at_write)
        cluster_kill(server->cluster, server->id);
    else
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

/* ---- damage ---- */

enum { HEADER_SIZE = 4096 }; /* of a segment: segment.c */

struct damaging {
    struct sim_server *server;
    enum cluster_damage damage;
    enum cluster_place place;
    u64 index;
    u64 term;
    bool any;
    char spare[64]; /* the newest segment's path */
};

static void damage_byte(struct damaging *damaging, const char *path, u64 offset, u32 bit)
{
    struct disk *disk = &damaging->server->disk;
    if (damaging->damage == CLUSTER_UNREADABLE) {
        damaging->any |= disk_make_unreadable(disk, path, offset);
        return;
    }
    disk_flip(disk, path, offset, bit);
    damaging->any = true;
}

static bool is_segment(const char *path)
{
    size_t length = strlen(path);
    return strncmp(path, "log/", 4) == 0 && length > 4 && strcmp(path + length - 4, ".seg") == 0;
}

/* Records stand at any offset. */
static void damage_records(void *context, const char *path, u64 size)
{
    struct damaging *damaging = context;
    if (strncmp(path, "log/", 4) != 0 || size < RECORD_HEADER_SIZE)
        return;
    u8 *bytes = sim_alloc(size);
    size_t got = disk_peek(&damaging->server->disk, path, 0, bytes, size);
    for (size_t at = 0; at + RECORD_HEADER_SIZE <= got; at++) {
        struct entry entry;
        if (load_u64(bytes + at + 8) != damaging->index ||
            record_decode(bytes + at, got - at, &entry) == 0)
            continue;
        bool live = damaging->term == 0 || entry.id.term == damaging->term;
        if (live != (damaging->place == CLUSTER_LOG))
            continue;
        damage_byte(damaging, path, at + 24, 3); /* in its time */
    }
    sim_free(bytes);
}

static u64 used_bytes(const struct disk *disk, const char *path, u64 size)
{
    u8 *bytes = sim_alloc(size + 1);
    u64 used = disk_peek(disk, path, 0, bytes, size);
    while (used > 0 && bytes[used - 1] == 0)
        used--;
    sim_free(bytes);
    return used;
}

/* One byte of what was ever written to the log's segments, headers and all: `index` says which, and
 * is counted down from file to file. */
static void damage_any_byte(void *context, const char *path, u64 size)
{
    struct damaging *damaging = context;
    if (damaging->any || !is_segment(path))
        return;
    u64 used = used_bytes(&damaging->server->disk, path, size);
    if (damaging->index < used)
        damage_byte(damaging, path, damaging->index, (u32)damaging->index % 8);
    else
        damaging->index -= used;
}

static void count_bytes(void *context, const char *path, u64 size)
{
    struct damaging *counting = context;
    if (is_segment(path))
        counting->index += used_bytes(&counting->server->disk, path, size);
}

static void note_newest(void *context, const char *path, u64 size)
{
    struct damaging *damaging = context;
    (void)size;
    if (is_segment(path))
        (void)snprintf(damaging->spare, sizeof(damaging->spare), "%s", path);
}

/* The header of the segment that is to be used next, if nothing has been written to it. */
static void damage_spare(void *context, const char *path, u64 size)
{
    struct damaging *damaging = context;
    if (strcmp(path, damaging->spare) == 0 &&
        used_bytes(&damaging->server->disk, path, size) <= HEADER_SIZE)
        damage_byte(damaging, path, 9, 2);
}

/* One byte in each sector that holds anything; of the first slot, or of both. */
static void damage_metadata(void *context, const char *path, u64 size)
{
    struct damaging *damaging = context;
    if (strcmp(path, "metadata") != 0)
        return;
    u64 end = damaging->place == CLUSTER_SLOT ? size / METADATA_SLOTS : size;
    for (u64 sector = 0; sector < end; sector += DISK_SECTOR_SIZE) {
        u8 bytes[DISK_SECTOR_SIZE];
        size_t got = disk_peek(&damaging->server->disk, path, sector, bytes, sizeof(bytes));
        size_t used = got;
        while (used > 0 && bytes[used - 1] == 0)
            used--;
        if (used > 0)
            damage_byte(damaging, path, sector + used / 2, 5);
    }
}

/* All that are there. */
static void damage_snapshot(void *context, const char *path, u64 size)
{
    struct damaging *damaging = context;
    struct disk *disk = &damaging->server->disk;
    size_t length = strlen(path);
    if (length < 5 || strcmp(path + length - 5, ".snap") != 0 || size == 0)
        return;
    if (damaging->damage == CLUSTER_REMOVE)
        disk_take_away(disk, path);
    else if (damaging->damage == CLUSTER_TEAR)
        disk_tear(disk, path, size / 2);
    else
        damage_byte(damaging, path, size / 2, 3);
    damaging->any = true;
}

u64 cluster_log_used_bytes(const struct cluster *cluster, server_id id)
{
    struct damaging counting = {.server = (struct sim_server *)(uintptr_t)&cluster->servers[id]};
    disk_each_file(&cluster->servers[id].disk, count_bytes, &counting);
    return counting.index;
}

bool cluster_disk_damage(struct cluster *cluster, server_id id, enum cluster_damage damage,
                         enum cluster_place place, u64 index)
{
    struct sim_server *server = &cluster->servers[id];
    struct disk *disk = &server->disk;
    struct damaging damaging = {.server = server, .damage = damage, .place = place, .index = index};
    ASSERT(damage == CLUSTER_FLIP || damage == CLUSTER_UNREADABLE || place == CLUSTER_SNAPSHOT);
    switch (place) {
    case CLUSTER_LOG:
    case CLUSTER_REPLACED:
        damaging.term = cluster_log_term(cluster, id, index);
        disk_each_file(disk, damage_records, &damaging);
        break;
    case CLUSTER_LOG_BYTE:
        disk_each_file(disk, damage_any_byte, &damaging);
        break;
    case CLUSTER_SPARE:
        disk_each_file(disk, note_newest, &damaging);
        disk_each_file(disk, damage_spare, &damaging);
        break;
    case CLUSTER_METADATA:
    case CLUSTER_SLOT:
        disk_each_file(disk, damage_metadata, &damaging);
        break;
    case CLUSTER_SNAPSHOT:
        disk_each_file(disk, damage_snapshot, &damaging);
        break;
    }
    if (!damaging.any)
        return false;
    story_note(cluster, id, "DiskDamaged");
    if (place == CLUSTER_METADATA)
        checks_forgive(cluster, server);
    else if (place != CLUSTER_SLOT && place != CLUSTER_SPARE) /* with those nothing is lost */
        checks_damaged(cluster, server);
    return true;
}

void faulty_disk_init(struct sim_server *server)
{
    struct cluster *cluster = server->cluster;
    struct disk_settings settings = {cluster->config.disk_sync.min_ns,
                                     cluster->config.disk_sync.max_ns,
                                     cluster->config.disk_read_ns};
    disk_init(&server->disk, &cluster->world, &settings,
              world_stream(&cluster->world, "disk", server->id));
    server->disk.crash = crash_now;
    server->disk.told = disk_told;
    server->disk.context = server;
}
