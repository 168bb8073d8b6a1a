/* disk_crash.c - what is left of the unsynced after a power cut.
 *
 * Real disks and file systems were seen to do each of these; which one happens is drawn anew for
 * each file of each power cut. */
#include <string.h>

#include "test/sim/disk.h"
#include "test/sim/disk_image.h"
#include "test/sim/disk_inside.h"

/* How a list of unsynced changes survives. */
enum survival {
    SURVIVE_NONE,
    SURVIVE_ALL,
    SURVIVE_PREFIX, /* the oldest ones; the next is torn */
    SURVIVE_SUFFIX, /* the newest ones; the one before is torn */
    SURVIVE_RANDOM, /* each sector for itself */
    SURVIVE_SIZES,  /* no bytes, but the file is as long: a tail of zeros */
    SURVIVAL_END
};

/* ---- files ---- */

/* How one change survives: its first or last sectors, or each by lot. */
enum tear { TEAR_LOST, TEAR_WHOLE, TEAR_FIRST, TEAR_LAST, TEAR_RANDOM };

static enum tear tear_of(struct disk *disk, enum survival survival, u32 position, u32 at)
{
    switch (survival) {
    case SURVIVE_NONE:
    case SURVIVE_SIZES:
        return TEAR_LOST;
    case SURVIVE_ALL:
        return TEAR_WHOLE;
    case SURVIVE_PREFIX:
        if (position == at)
            return rng_chance(&disk->rng, 1, 2) ? TEAR_FIRST : TEAR_LAST;
        return position < at ? TEAR_WHOLE : TEAR_LOST;
    case SURVIVE_SUFFIX:
        if (position == at)
            return rng_chance(&disk->rng, 1, 2) ? TEAR_FIRST : TEAR_LAST;
        return position > at ? TEAR_WHOLE : TEAR_LOST;
    case SURVIVE_RANDOM:
        return TEAR_RANDOM;
    case SURVIVAL_END:
        break;
    }
    UNREACHABLE();
}

/* Writes those sectors of the change that survive and lie within the file. */
static void write_torn(struct disk *disk, struct inode *inode, const struct change *change,
                       enum tear tear)
{
    u64 first = change->offset / DISK_SECTOR_SIZE;
    u64 last = (change->offset + change->size - 1) / DISK_SECTOR_SIZE;
    u64 cut = rng_range(&disk->rng, first, last + 1);
    for (u64 sector = first; sector <= last; sector++) {
        bool kept = tear == TEAR_WHOLE || (tear == TEAR_FIRST && sector < cut) ||
                    (tear == TEAR_LAST && sector >= cut) ||
                    (tear == TEAR_RANDOM && rng_chance(&disk->rng, 1, 2));
        u64 begin = u64_max(sector * DISK_SECTOR_SIZE, change->offset);
        u64 end = u64_min((sector + 1) * DISK_SECTOR_SIZE, change->offset + change->size);
        end = u64_min(end, inode->platter.size);
        if (!kept || begin >= end)
            continue;
        const u8 *bytes = change->zeros ? NULL : change->bytes + (begin - change->offset);
        image_write(&inode->platter, begin, bytes, end - begin);
    }
}

static void lose_change(struct disk *disk, struct inode *inode, const struct change *change,
                        enum survival survival, enum tear tear)
{
    if (change->is_size) {
        if (tear == TEAR_WHOLE || (tear == TEAR_RANDOM && rng_chance(&disk->rng, 1, 2)))
            image_resize(&inode->platter, change->file_size);
        return;
    }
    bool grows = change->file_size > inode->platter.size;
    bool size_kept = tear == TEAR_WHOLE || survival == SURVIVE_SIZES ||
                     (tear != TEAR_LOST && rng_chance(&disk->rng, 3, 4));
    if (grows && size_kept)
        image_resize(&inode->platter, change->file_size);
    if (tear != TEAR_LOST)
        write_torn(disk, inode, change, tear);
}

void disk_lose(struct disk *disk, struct inode *inode, bool cached)
{
    if (inode->change_count > 0) {
        enum survival survival = (enum survival)rng_range(&disk->rng, 0, SURVIVAL_END - 1);
        u32 at = (u32)rng_range(&disk->rng, 0, inode->change_count - 1);
        for (u32 position = 0; inode->first != NULL; position++) {
            struct change *change = inode->first;
            lose_change(disk, inode, change, survival, tear_of(disk, survival, position, at));
            inode->first = change->next;
            sim_free(change);
        }
        inode->last = NULL;
        inode->change_count = 0;
        disk->torn++;
    }
    if (!cached) {
        image_copy(&inode->seen, &inode->platter);
        inode->allocated = inode->platter.size;
    }
}

/* ---- directories ---- */

static void directory_change_apply(struct disk *disk, const struct directory_change *change)
{
    if (change->removed != NULL)
        disk_name_remove(&disk->platter, change->removed);
    if (change->path != NULL)
        disk_name_put(&disk->platter, change->path, change->inode);
}

static void directory_change_free(struct directory_change *change)
{
    sim_free(change->removed);
    sim_free(change->path);
    sim_free(change);
}

void disk_settle_directory(struct disk *disk, const char *directory,
                           const struct directory_change *covered)
{
    struct directory_change **at = &disk->first;
    struct directory_change *kept = NULL; /* the last one that stays */
    bool reached = covered == NULL;
    while (*at != NULL) {
        struct directory_change *change = *at;
        bool here = (change->path != NULL && disk_is_in(change->path, directory)) ||
                    (change->removed != NULL && disk_is_in(change->removed, directory));
        bool settles = here && !reached;
        if (change == covered)
            reached = true;
        if (!settles) {
            kept = change;
            at = &change->next;
            continue;
        }
        directory_change_apply(disk, change);
        *at = change->next;
        directory_change_free(change);
    }
    disk->last = kept;
}

static void lose_directory_changes(struct disk *disk)
{
    u32 count = 0;
    for (const struct directory_change *c = disk->first; c != NULL; c = c->next)
        count++;
    if (count == 0)
        return;
    disk->torn++;
    bool random = rng_chance(&disk->rng, 1, 3);
    u64 kept = rng_range(&disk->rng, 0, count);
    for (u64 position = 0; disk->first != NULL; position++) {
        struct directory_change *change = disk->first;
        if (random ? rng_chance(&disk->rng, 1, 2) : position < kept)
            directory_change_apply(disk, change);
        disk->first = change->next;
        directory_change_free(change);
    }
    disk->last = NULL;
}

/* The first name that lies in a directory which is not there; NULL: none does. */
static struct entry_name *orphan(const struct disk *disk)
{
    for (struct entry_name *name = disk->platter; name != NULL; name = name->next) {
        bool found = disk_is_in(name->path, ".");
        for (const struct entry_name *parent = disk->platter; parent != NULL && !found;
             parent = parent->next)
            found = parent->inode->is_directory && disk_is_in(name->path, parent->path);
        if (!found)
            return name;
    }
    return NULL;
}

/* What lies in a directory that is no more is no more. Readers see what is left. */
static void names_settle(struct disk *disk)
{
    while (disk->seen != NULL)
        disk_name_remove(&disk->seen, disk->seen->path);
    struct entry_name *name;
    while ((name = orphan(disk)) != NULL)
        disk_name_remove(&disk->platter, name->path);
    for (name = disk->platter; name != NULL; name = name->next)
        disk_name_put(&disk->seen, name->path, name->inode);
}

/* ---- inodes ---- */

static void inode_free(struct inode *inode)
{
    while (inode->first != NULL) {
        struct change *change = inode->first;
        inode->first = change->next;
        sim_free(change);
    }
    image_deinit(&inode->seen);
    image_deinit(&inode->platter);
    sim_free(inode);
}

static void collect_inodes(struct disk *disk)
{
    for (struct inode *inode = disk->inodes; inode != NULL; inode = inode->next)
        inode->marked = false;
    for (struct entry_name *name = disk->platter; name != NULL; name = name->next)
        name->inode->marked = true;
    struct inode **at = &disk->inodes;
    while (*at != NULL) {
        struct inode *inode = *at;
        if (inode->marked) {
            at = &inode->next;
            continue;
        }
        *at = inode->next;
        inode_free(inode);
    }
}

void disk_power_cut(struct disk *disk)
{
    disk_process_ended(disk);
    lose_directory_changes(disk);
    names_settle(disk);
    collect_inodes(disk);
    for (struct inode *inode = disk->inodes; inode != NULL; inode = inode->next)
        disk_lose(disk, inode, false);
}

void disk_wipe(struct disk *disk)
{
    disk_process_ended(disk);
    while (disk->first != NULL) {
        struct directory_change *change = disk->first;
        disk->first = change->next;
        directory_change_free(change);
    }
    disk->last = NULL;
    while (disk->seen != NULL)
        disk_name_remove(&disk->seen, disk->seen->path);
    while (disk->platter != NULL)
        disk_name_remove(&disk->platter, disk->platter->path);
    collect_inodes(disk);
}
