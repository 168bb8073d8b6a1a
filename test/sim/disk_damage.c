/* disk_damage.c - what befalls bytes that were written: bits turn over, the end of a file or all of
 * it is gone, or a place cannot be read any more. */
#include "test/sim/disk.h"
#include "test/sim/disk_image.h"
#include "test/sim/disk_inside.h"

static void flip_in(struct image *image, u64 offset, u32 bit)
{
    u8 byte = 0;
    if (image_read(image, offset, &byte, 1) != 1)
        return;
    byte = (u8)(byte ^ (1u << bit % 8));
    image_write(image, offset, &byte, 1);
}

void disk_flip(struct disk *disk, const char *path, u64 offset, u32 bit)
{
    struct inode *inode = disk_find(disk->seen, path);
    if (inode == NULL)
        return;
    flip_in(&inode->seen, offset, bit);
    flip_in(&inode->platter, offset, bit);
}

void disk_tear(struct disk *disk, const char *path, u64 size)
{
    struct inode *inode = disk_find(disk->seen, path);
    if (inode == NULL || size >= inode->seen.size)
        return;
    image_resize(&inode->seen, size);
    image_resize(&inode->platter, u64_min(size, inode->platter.size));
    inode->allocated = u64_min(inode->allocated, size);
}

void disk_take_away(struct disk *disk, const char *path)
{
    char *copy = disk_copy_path(path); /* it may be the very name that goes */
    disk_name_remove(&disk->seen, copy);
    disk_name_remove(&disk->platter, copy);
    sim_free(copy);
}

/* ---- places that cannot be read ---- */

static bool page_is_unreadable(const struct inode *inode, u64 page)
{
    for (u32 i = 0; i < inode->unreadable_count; i++) {
        if (inode->unreadable[i] == page)
            return true;
    }
    return false;
}

bool disk_make_unreadable(struct disk *disk, const char *path, u64 offset)
{
    struct inode *inode = disk_find(disk->seen, path);
    u64 page = offset / DISK_PAGE_SIZE;
    if (inode == NULL || offset >= inode->seen.size)
        return false;
    if (page_is_unreadable(inode, page))
        return true;
    if (inode->unreadable_count == DISK_UNREADABLE_MAX)
        return false;
    inode->unreadable[inode->unreadable_count++] = page;
    return true;
}

bool disk_has_unreadable(const struct inode *inode, u64 offset, u64 size)
{
    for (u32 i = 0; i < inode->unreadable_count; i++) {
        u64 begin = inode->unreadable[i] * DISK_PAGE_SIZE;
        if (begin < offset + size && offset < begin + DISK_PAGE_SIZE)
            return true;
    }
    return false;
}

bool disk_write_over(struct inode *inode, u64 offset, u64 size)
{
    for (u32 i = inode->unreadable_count; i > 0; i--) {
        u64 begin = inode->unreadable[i - 1] * DISK_PAGE_SIZE;
        u64 end = u64_min(begin + DISK_PAGE_SIZE, u64_max(inode->seen.size, offset + size));
        if (begin >= offset + size || end <= offset)
            continue;
        if (offset > begin || offset + size < end)
            return false;
        inode->unreadable[i - 1] = inode->unreadable[--inode->unreadable_count];
    }
    return true;
}
