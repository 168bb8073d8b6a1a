/* disk_copy.c - a copy of all that a disk holds, made and put back with the clock standing still.
 */
#include "test/sim/disk_image.h"
#include "test/sim/disk_inside.h"

#include <string.h>

struct copied_file {
    struct copied_file *next;
    char *path;
    bool is_directory;
    struct image image;
};

struct disk_copy {
    struct copied_file *first;
};

struct disk_copy *disk_copy_take(const struct disk *disk)
{
    struct disk_copy *copy = sim_alloc_zero(1, sizeof(*copy));
    for (const struct entry_name *name = disk->seen; name != NULL; name = name->next) {
        struct copied_file *file = sim_alloc_zero(1, sizeof(*file));
        file->path = disk_copy_path(name->path);
        file->is_directory = name->inode->is_directory;
        image_copy(&file->image, &name->inode->seen);
        file->next = copy->first;
        copy->first = file;
    }
    return copy;
}

void disk_copy_destroy(struct disk_copy *copy)
{
    if (copy == NULL)
        return;
    while (copy->first != NULL) {
        struct copied_file *file = copy->first;
        copy->first = file->next;
        image_deinit(&file->image);
        sim_free(file->path);
        sim_free(file);
    }
    sim_free(copy);
}

void disk_copy_put_back(struct disk *disk, const struct disk_copy *copy)
{
    disk_wipe(disk);
    for (const struct copied_file *file = copy->first; file != NULL; file = file->next) {
        struct inode *inode = disk_inode_create(disk, file->is_directory);
        image_copy(&inode->seen, &file->image);
        image_copy(&inode->platter, &file->image);
        inode->allocated = file->image.size;
        disk_name_put(&disk->seen, file->path, inode);
        disk_name_put(&disk->platter, file->path, inode);
    }
}
