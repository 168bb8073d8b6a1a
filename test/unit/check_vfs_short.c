/* check_vfs_short.c - the real file system under a kernel that is entitled to more than it usually
 * takes: calls that a signal interrupts, and reads and writes that do a part of what was asked.
 *
 * The kernel's calls are replaced in this program alone: the linker takes those that stand here. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "common/vfs.h"
#include "test/unit/directory.h"
#include "test/unit/unit.h"

enum { BYTES = 5000, PART = 13 };

static bool strange;    /* else everything goes through as it is */
static u32 calls;       /* since it is */
static u32 interrupted; /* of these */
static u32 shortened;
static int failing; /* errno of all writes from the fourth on; 0: none */

static bool is_interrupted(void)
{
    if (!strange || ++calls % 3 != 0)
        return false;
    interrupted++;
    errno = EINTR;
    return true;
}

static size_t part_of(size_t size)
{
    if (!strange || size <= PART)
        return size;
    shortened++;
    return PART;
}

ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset)
{
    if (is_interrupted())
        return -1;
    if (failing != 0 && calls > 3) {
        errno = failing;
        return -1;
    }
    ASSERT(count > 0);
    if (!strange)
        return syscall(SYS_pwritev, fd, pieces, count, offset, 0);
    size_t size = part_of(pieces[0].iov_len);
    return syscall(SYS_pwrite64, fd, pieces[0].iov_base, size, offset);
}

ssize_t pread(int fd, void *data, size_t size, off_t offset)
{
    return is_interrupted() ? -1 : syscall(SYS_pread64, fd, data, part_of(size), offset);
}

int ftruncate(int fd, off_t size)
{
    return is_interrupted() ? -1 : (int)syscall(SYS_ftruncate, fd, size);
}

int openat(int directory, const char *path, int flags, ...)
{
    va_list more;
    va_start(more, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(more, mode_t) : 0;
    va_end(more);
    return is_interrupted() ? -1 : (int)syscall(SYS_openat, directory, path, flags, mode);
}

/* ---- */

struct world {
    char *root;
    struct vfs *vfs;
    struct error error;
    u8 bytes[BYTES];
    struct iovec pieces[3];
};

#define OK(call) ck_assert_msg((call) == ERROR_NONE, "%s: %s", #call, world.error.text)

static void begin(struct world *world)
{
    *world = (struct world){.root = directory_make()};
    ck_assert_int_eq(vfs_posix_create(world->root, &world->vfs, &world->error), ERROR_NONE);
    for (size_t i = 0; i < BYTES; i++)
        world->bytes[i] = (u8)(i * 37 + i / 251);
    /* Parts end within pieces and at their ends. */
    world->pieces[0] = (struct iovec){world->bytes, 2 * PART};
    world->pieces[1] = (struct iovec){world->bytes + 2 * PART, 1};
    world->pieces[2] = (struct iovec){world->bytes + 2 * PART + 1, BYTES - 2 * PART - 1};
    strange = true;
    calls = interrupted = shortened = 0;
    failing = 0;
}

static void end(struct world *world)
{
    strange = false;
    vfs_posix_destroy(world->vfs);
    directory_remove(world->root);
}

START_TEST(short_calls__go_on_where_they_ended)
{
    struct world world;
    struct vfs_file *file;
    begin(&world);
    calls = 2; /* the very first is interrupted */
    OK(vfs_open(world.vfs, "file", VFS_CREATE, &file, &world.error));
    ck_assert_uint_eq(interrupted, 1);
    OK(vfs_write_at(file, world.pieces, 3, 700, &world.error));
    ck_assert_uint_ge(interrupted, BYTES / PART / 3);
    ck_assert_uint_ge(shortened, BYTES / PART - 3);

    u8 back[BYTES + 100];
    size_t got;
    shortened = 0;
    OK(vfs_read_at(file, back, sizeof(back), 700, &got, &world.error));
    ck_assert_uint_eq(got, BYTES);
    ck_assert_mem_eq(back, world.bytes, BYTES);
    ck_assert_uint_ge(shortened, BYTES / PART - 3);

    /* And it is what others see. */
    strange = false;
    OK(vfs_read_at(file, back, sizeof(back), 0, &got, &world.error));
    ck_assert_uint_eq(got, sizeof(back));
    ck_assert_mem_eq(back + 700, world.bytes, sizeof(back) - 700);
    strange = true;

    calls = 2;
    interrupted = 0;
    OK(vfs_truncate(file, 701, &world.error));
    ck_assert_uint_eq(interrupted, 1);
    u64 size;
    OK(vfs_size(file, &size, &world.error));
    ck_assert_uint_eq(size, 701);
    vfs_close(file);
    end(&world);
}
END_TEST

/* What is left of a unit does not begin at one: it goes the common way. */
START_TEST(short_calls__a_stream_goes_on_where_it_ended)
{
    static _Alignas(VFS_STREAM_UNIT) u8 bytes[2 * VFS_STREAM_UNIT], back[2 * VFS_STREAM_UNIT];
    struct world world;
    struct vfs_file *file;
    size_t got;
    begin(&world);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (u8)(i * 37 + i / 251);
    struct iovec piece = {bytes, sizeof(bytes)};
    OK(vfs_open(world.vfs, "file", VFS_CREATE, &file, &world.error));
    vfs_stream(file);
    OK(vfs_write_at(file, &piece, 1, 0, &world.error));
    ck_assert_uint_ge(shortened, sizeof(bytes) / PART - 3);
    strange = false;
    OK(vfs_read_at(file, back, sizeof(back), 0, &got, &world.error));
    ck_assert_uint_eq(got, sizeof(bytes));
    ck_assert_mem_eq(back, bytes, sizeof(bytes));
    vfs_close(file);
    end(&world);
}
END_TEST

START_TEST(short_calls__a_disk_that_fills_up_in_the_middle_is_told)
{
    struct world world;
    struct vfs_file *file;
    begin(&world);
    OK(vfs_open(world.vfs, "file", VFS_CREATE, &file, &world.error));
    calls = 0;
    failing = ENOSPC;
    ck_assert_int_eq(vfs_write_at(file, world.pieces, 3, 0, &world.error), ERROR_NO_SPACE);
    u64 size;
    OK(vfs_size(file, &size, &world.error));
    ck_assert_uint_eq(size,
                      2 * PART); /* what was written before stands, and was not called a success */
    calls = 3;
    failing = EIO;
    ck_assert_int_eq(vfs_write_at(file, world.pieces, 3, 0, &world.error), ERROR_IO);
    vfs_close(file);
    end(&world);
}
END_TEST

UNIT_MAIN("vfs_short", short_calls__go_on_where_they_ended,
          short_calls__a_stream_goes_on_where_it_ended,
          short_calls__a_disk_that_fills_up_in_the_middle_is_told)
