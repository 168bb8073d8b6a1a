/* disk.h - a disk with a page cache, behind the vfs seam, that does what real ones do.
 *
 * Each file has two images: what readers see (the page cache) and what a power cut leaves (the
 * platter). Between them stands the ordered list of changes not yet synced. A sync moves the
 * changes that were made before it began onto the platter, when it ends. A power cut lets some of
 * the other changes survive: none, all, a prefix, a suffix or any subset, each write torn at
 * 512-byte sectors; a size may survive without the bytes (a tail of zeros) and the bytes are lost
 * without the size. Directory entries (create, rename, remove) are changes of their own, durable
 * after sync_directory. The death of a process loses nothing.
 *
 * After a failed sync the kernel believes that the changes are on the platter, and a part of them
 * is: readers still see them, and no later sync writes them (what made fsync's retry famous).
 *
 * Zeros cost no memory: pages of zeros are one.
 *
 * Thread: the world's. Functions of the vfs wait as coroutines where time passes. */
#ifndef MAILRAFT_TEST_SIM_DISK_H
#define MAILRAFT_TEST_SIM_DISK_H

#include "common/rng.h"
#include "common/vfs.h"
#include "test/sim/world.h"

enum { DISK_SECTOR_SIZE = 512, DISK_PAGE_SIZE = 4096, DISK_UNREADABLE_MAX = 16 };

/* One unsynced change of a file: bytes written, or (bytes NULL and `zeros` false) a new size. */
struct change {
    struct change *next;
    u64 offset;
    u64 size;      /* bytes; of a truncation: 0 */
    u64 file_size; /* the file's size after it */
    bool is_size;  /* a truncation to file_size, up or down */
    bool zeros;    /* the bytes are zeros, and are not kept */
    u8 bytes[];
};

struct image {
    u8 **pages; /* NULL: a hole or zeros */
    u32 page_count;
    u64 size;
};

struct inode {
    struct inode *next;
    struct disk *disk;
    bool is_directory;
    struct image seen;
    struct image platter;
    u64 allocated; /* bytes from the start for which there is space: writes below need none */
    struct change *first; /* unsynced, oldest first */
    struct change *last;
    u32 change_count;
    u64 unreadable[DISK_UNREADABLE_MAX]; /* pages of the file */
    u32 unreadable_count;
    bool marked; /* reachable, while collecting */
};

struct entry_name {
    struct entry_name *next;
    char *path;
    struct inode *inode;
};

/* An unsynced change of directories: `remove` (NULL: nothing) goes away and `path` (NULL: nothing)
 * then names `inode`; both in one, or neither. */
struct directory_change {
    struct directory_change *next;
    char *removed;
    char *path;
    struct inode *inode;
};

enum disk_step { DISK_WRITE, DISK_SYNC, DISK_DIRECTORY };

struct disk_settings {
    u64 sync_ns_min;
    u64 sync_ns_max;
    u64 read_ns; /* what a read takes; 0: no time */
};

struct disk {
    struct vfs vfs;
    struct world *world;
    struct rng rng;
    struct disk_settings settings;
    struct inode *inodes;
    struct entry_name *seen;    /* what names there are, newest first */
    struct entry_name *platter; /* what names a power cut leaves */
    struct directory_change *first;
    struct directory_change *last;
    struct disk_handle *handles; /* open files of the process that uses the disk */
    char *locked;                /* path that the process holds the lock of; NULL: none */
    struct disk_wait *waiting;   /* syncs that a stalled disk does not end */
    struct disk_wait *reading;   /* reads that take their time */
    bool instant;                /* no time passes: while a world is prepared */

    /* Faults. */
    bool sync_fails;
    bool write_fails;
    bool full;
    bool stalled;
    u64 slow_ns;  /* 0: settings count */
    u64 read_ns;  /* the same of reads */
    u32 crash_at; /* that many writes and syncs from now; 0: none */

    /* Called when crash_at has come, from within the coroutine: cuts the power and does not return
     * when the process ends by it. */
    void (*crash)(void *context);
    /* Told of each step that was carried out, for stories and checks; may be NULL. */
    void (*told)(void *context, enum disk_step step, const char *path, u64 bytes);
    void *context;

    u64 writes; /* counters */
    u64 syncs;
    u64 torn; /* power cuts that lost or tore something */
};

void disk_init(struct disk *disk, struct world *world, const struct disk_settings *settings,
               u64 seed);
void disk_deinit(struct disk *disk);

/* The process that used it is gone: its handles and lock are, too. What it wrote stays. */
void disk_process_ended(struct disk *disk);
/* As disk_process_ended, and what was not synced is lost in part. */
void disk_power_cut(struct disk *disk);
/* Everything is gone. No process may use it. */
void disk_wipe(struct disk *disk);
/* A copy of what readers see now, as `cp -a` would make it; and a disk that holds just that. No
 * process may use the disk when it is put back. NULL is nothing to destroy. */
struct disk_copy;
struct disk_copy *disk_copy_take(const struct disk *disk);
void disk_copy_put_back(struct disk *disk, const struct disk_copy *copy);
void disk_copy_destroy(struct disk_copy *copy);
/* No faults any more; stalled syncs and slow reads go on. */
void disk_heal(struct disk *disk);

bool disk_is_empty(const struct disk *disk);
/* Whether the file has changes that a power cut could take, not counting zeros. A missing file has
 * none. */
bool disk_is_unsynced(const struct disk *disk, const char *path);

/* Calls `each` with every file that readers see, in order of their names. */
void disk_each_file(const struct disk *disk,
                    void (*each)(void *context, const char *path, u64 size), void *context);
/* Reads from what readers see; short at the end of the file. */
size_t disk_peek(const struct disk *disk, const char *path, u64 offset, void *data, size_t size);
/* Turns one bit over, on the platter and in the cache. */
void disk_flip(struct disk *disk, const char *path, u64 offset, u32 bit);
/* The file ends there, or there is no such file, on the platter and in the cache. Nothing of it may
 * be unsynced, and no process may have it open. */
void disk_tear(struct disk *disk, const char *path, u64 size);
void disk_take_away(struct disk *disk, const char *path);
/* The page at `offset` of the file cannot be read any more, whichever part of it is asked for. As
 * with a real disk below a page cache, a write that covers only a part of it fails, since the rest
 * would have to be read; one that covers all of it heals the place. Returns false when the file has
 * no such page, or too many that are so. */
WARN_UNUSED bool disk_make_unreadable(struct disk *disk, const char *path, u64 offset);

#endif
