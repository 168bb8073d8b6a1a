/* disk_inside.h - what disk.c and disk_crash.c share. Private to them. */
#ifndef MAILRAFT_TEST_SIM_DISK_INSIDE_H
#define MAILRAFT_TEST_SIM_DISK_INSIDE_H

#include "test/sim/disk.h"

/* An open file of the process that uses the disk. */
struct disk_handle {
    struct vfs_file file;
    struct inode *inode;
    char *path; /* as it was opened */
    struct disk_handle *next;
};

/* A coroutine that waits for the disk: its sync for a stalled one, or its read. */
struct disk_wait {
    struct disk_wait *next;
    struct coroutine *coroutine;
    bool reads; /* it reads, and frees this itself unless its process ends */
    bool over;  /* the disk was healed: this is in no list any more */
};

struct inode *disk_find(const struct entry_name *names, const char *path);
void disk_name_put(struct entry_name **names, const char *path, struct inode *inode);
void disk_name_remove(struct entry_name **names, const char *path);
/* Whether `path` lies directly in `directory`. */
bool disk_is_in(const char *path, const char *directory);
char *disk_copy_path(const char *path);
struct inode *disk_inode_create(struct disk *disk, bool is_directory);

/* The first `count` changes of the file reach the platter. */
void disk_settle(struct inode *inode, u32 count);
/* The changes of this directory reach the platter, up to and with `covered` (NULL: none). */
void disk_settle_directory(struct disk *disk, const char *directory,
                           const struct directory_change *covered);
/* A part of the file's changes reaches the platter, the others never will. Readers go on to see
 * what they saw, if `cached`, and else what is on the platter. */
void disk_lose(struct disk *disk, struct inode *inode, bool cached);

/* disk_damage.c: whether any of these bytes cannot be read. */
bool disk_has_unreadable(const struct inode *inode, u64 offset, u64 size);
/* They are written: what is covered wholly can be read again. False when something is not. */
bool disk_write_over(struct inode *inode, u64 offset, u64 size);

#endif
