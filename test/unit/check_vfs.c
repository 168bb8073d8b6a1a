/* check_vfs.c - the real file system, and the faulty one that tests of storage stand on. */
#include "common/vfs.h"

#include "common/bytes.h"
#include "test/unit/directory.h"
#include "test/unit/faulty_vfs.h"
#include "test/unit/unit.h"

/* A vfs in an empty directory. */
struct world {
    char *root;
    struct vfs *vfs;
    struct error error;
};

static void world_init(struct world *world)
{
    world->root = directory_make();
    ck_assert_int_eq(vfs_posix_create(world->root, &world->vfs, &world->error), ERROR_NONE);
}

static void world_deinit(struct world *world)
{
    vfs_posix_destroy(world->vfs);
    directory_remove(world->root);
}

#define OK(call)          ck_assert_msg((call) == ERROR_NONE, "%s: %s", #call, error->text)
#define FAILS(code, call) ck_assert_int_eq((call), (code))

static void write_text(struct vfs *vfs, const char *path, enum vfs_open_mode mode, const char *text,
                       u64 offset)
{
    struct error at;
    struct error *error = &at;
    struct vfs_file *file;
    OK(vfs_open(vfs, path, mode, &file, error));
    char copy[256];
    size_t size = strlen(text);
    memcpy(copy, text, size);
    struct iovec piece = {copy, size};
    OK(vfs_write_at(file, &piece, 1, offset, error));
    OK(vfs_sync(file, error));
    vfs_close(file);
}

static void expect_text(struct vfs *vfs, const char *path, const char *text)
{
    struct error at;
    struct error *error = &at;
    struct vfs_file *file;
    OK(vfs_open(vfs, path, VFS_READ, &file, error));
    char got_text[256];
    size_t got;
    OK(vfs_read_at(file, got_text, sizeof(got_text), 0, &got, error));
    ck_assert_uint_eq(got, strlen(text));
    ck_assert_mem_eq(got_text, text, got);
    vfs_close(file);
}

START_TEST(posix_create__needs_a_directory)
{
    struct vfs *vfs;
    struct error error;
    FAILS(ERROR_MISSING, vfs_posix_create("/nowhere/at/all", &vfs, &error));
    ck_assert_str_eq(error.text, "open directory /nowhere/at/all: No such file or directory");
    ck_assert_ptr_null(vfs);
    FAILS(ERROR_IO, vfs_posix_create("/dev/null", &vfs, &error));
    vfs_posix_destroy(NULL);
}
END_TEST

START_TEST(open__each_mode)
{
    struct world world;
    world_init(&world);
    struct error *error = &world.error;
    struct vfs_file *file;
    FAILS(ERROR_MISSING, vfs_open(world.vfs, "a", VFS_READ, &file, error));
    ck_assert_ptr_null(file);
    ck_assert_ptr_nonnull(strstr(error->text, world.root));
    ck_assert_ptr_nonnull(strstr(error->text, "/a: No such file"));
    FAILS(ERROR_MISSING, vfs_open(world.vfs, "a", VFS_READ_WRITE, &file, error));
    OK(vfs_open(world.vfs, "a", VFS_CREATE, &file, error));
    vfs_close(file);
    FAILS(ERROR_EXISTS, vfs_open(world.vfs, "a", VFS_CREATE, &file, error));
    OK(vfs_open(world.vfs, "a", VFS_READ_WRITE, &file, error));
    vfs_close(file);
    OK(vfs_open(world.vfs, "a", VFS_READ, &file, error));
    struct iovec piece = {(char[]){'x'}, 1};
    FAILS(ERROR_IO, vfs_write_at(file, &piece, 1, 0, error)); /* opened for reading */
    ck_assert_ptr_nonnull(strstr(error->text, "write "));
    vfs_close(file);
    vfs_close(NULL);
    world_deinit(&world);
}
END_TEST

START_TEST(write_at__many_pieces_come_back)
{
    enum { PIECES = 300 }; /* more than one call of the kernel takes here */
    struct world world;
    world_init(&world);
    struct error *error = &world.error;
    struct vfs_file *file;
    OK(vfs_open(world.vfs, "pieces", VFS_CREATE, &file, error));
    u8 bytes[PIECES * 7];
    struct iovec pieces[PIECES];
    size_t size = 0;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (u8)(i * 31);
    for (size_t i = 0; i < PIECES; i++) {
        pieces[i] = (struct iovec){bytes + size, i % 8}; /* some empty */
        size += i % 8;
    }
    OK(vfs_write_at(file, pieces, PIECES, 1000, error));
    OK(vfs_write_at(file, NULL, 0, 5, error));
    u64 file_size;
    OK(vfs_size(file, &file_size, error));
    ck_assert_uint_eq(file_size, 1000 + size);
    u8 back[sizeof(bytes) + 10];
    size_t got;
    OK(vfs_read_at(file, back, sizeof(back), 1000, &got, error));
    ck_assert_uint_eq(got, size); /* less than asked for: the end of the file */
    ck_assert_mem_eq(back, bytes, size);
    OK(vfs_read_at(file, back, 10, 1000 + size, &got, error));
    ck_assert_uint_eq(got, 0);
    OK(vfs_read_at(file, back, 1000, 0, &got, error));
    ck_assert_uint_eq(back[999], 0); /* the hole */
    vfs_close(file);
    world_deinit(&world);
}
END_TEST

START_TEST(stream__whole_units_and_what_is_not_come_back)
{
    enum { UNITS = 3, REST = 1234, SIZE = UNITS * VFS_STREAM_UNIT + REST };
    struct world world;
    world_init(&world);
    struct error *error = &world.error;
    struct vfs_file *file;
    u8 *bytes = aligned_alloc(VFS_STREAM_UNIT, (UNITS + 1) * VFS_STREAM_UNIT);
    u8 *back = calloc(1, SIZE + 10);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (u8)(i * 31 + i / 509);
    for (int unaligned = 0; unaligned < 2; unaligned++) {
        OK(vfs_open(world.vfs, unaligned ? "b" : "a", VFS_CREATE, &file, error));
        vfs_stream(file);
        struct iovec some = {bytes, VFS_STREAM_UNIT - (unaligned ? 1 : 0)};
        struct iovec more = {bytes + some.iov_len, UNITS * VFS_STREAM_UNIT - some.iov_len};
        struct iovec rest = {bytes + UNITS * VFS_STREAM_UNIT, REST};
        OK(vfs_write_at(file, &some, 1, 0, error));
        OK(vfs_write_at(file, &more, 1, some.iov_len, error));
        OK(vfs_write_at(file, &rest, 1, some.iov_len + more.iov_len, error));
        OK(vfs_sync(file, error));
        size_t got;
        OK(vfs_read_at(file, back, SIZE + 10, 0, &got, error));
        ck_assert_uint_eq(got, SIZE);
        ck_assert_mem_eq(back, bytes, SIZE);
        vfs_close(file);
    }
    free(back);
    free(bytes);
    world_deinit(&world);
}
END_TEST

START_TEST(write_at__no_space_is_told_apart)
{
    /* The device that is always full stands in for a full disk. */
    struct vfs *vfs;
    struct error at;
    struct error *error = &at;
    OK(vfs_posix_create("/dev", &vfs, error));
    struct vfs_file *file;
    OK(vfs_open(vfs, "full", VFS_READ_WRITE, &file, error));
    struct iovec piece = {(char[]){'x'}, 1};
    FAILS(ERROR_NO_SPACE, vfs_write_at(file, &piece, 1, 0, error));
    ck_assert_str_eq(error->text, "write /dev/full: No space left on device");
    FAILS(ERROR_IO, vfs_sync(file, error)); /* a device without a disk behind it */
    vfs_close(file);
    vfs_posix_destroy(vfs);
}
END_TEST

START_TEST(truncate__shorter_and_longer)
{
    struct world world;
    world_init(&world);
    struct error *error = &world.error;
    write_text(world.vfs, "a", VFS_CREATE, "0123456789", 0);
    struct vfs_file *file;
    u64 size;
    OK(vfs_open(world.vfs, "a", VFS_READ_WRITE, &file, error));
    OK(vfs_truncate(file, 4, error));
    OK(vfs_size(file, &size, error));
    ck_assert_uint_eq(size, 4);
    OK(vfs_truncate(file, 4096, error));
    OK(vfs_size(file, &size, error));
    ck_assert_uint_eq(size, 4096);
    vfs_close(file);
    OK(vfs_open(world.vfs, "a", VFS_READ, &file, error));
    FAILS(ERROR_IO, vfs_truncate(file, 0, error));
    vfs_close(file);
    world_deinit(&world);
}
END_TEST

START_TEST(rename__replaces)
{
    struct world world;
    world_init(&world);
    struct error *error = &world.error;
    write_text(world.vfs, "old", VFS_CREATE, "old", 0);
    write_text(world.vfs, "new", VFS_CREATE, "new", 0);
    OK(vfs_rename(world.vfs, "new", "old", error));
    OK(vfs_sync_directory(world.vfs, ".", error));
    expect_text(world.vfs, "old", "new");
    struct vfs_file *file;
    FAILS(ERROR_MISSING, vfs_open(world.vfs, "new", VFS_READ, &file, error));
    FAILS(ERROR_MISSING, vfs_rename(world.vfs, "new", "old", error));
    ck_assert_ptr_nonnull(strstr(error->text, "/new to old: No such file"));
    world_deinit(&world);
}
END_TEST

static void collect(void *context, const char *name)
{
    struct buffer *names = context;
    buffer_append_format(names, "%s ", name);
}

START_TEST(directories__make_list_remove)
{
    struct world world;
    world_init(&world);
    struct error *error = &world.error;
    struct buffer names;
    buffer_init(&names);
    OK(vfs_make_directory(world.vfs, "log", error));
    FAILS(ERROR_EXISTS, vfs_make_directory(world.vfs, "log", error));
    FAILS(ERROR_MISSING, vfs_make_directory(world.vfs, "no/log", error));
    OK(vfs_list(world.vfs, "log", collect, &names, error));
    ck_assert_uint_eq(names.size, 0);
    write_text(world.vfs, "log/1.seg", VFS_CREATE, "x", 0);
    OK(vfs_list(world.vfs, "log", collect, &names, error));
    ck_assert_uint_eq(names.size, 6);
    ck_assert_mem_eq(names.data, "1.seg ", 6);
    buffer_clear(&names);
    OK(vfs_list(world.vfs, ".", collect, &names, error));
    ck_assert_mem_eq(names.data, "log ", 4);
    OK(vfs_sync_directory(world.vfs, "log", error));
    FAILS(ERROR_MISSING, vfs_sync_directory(world.vfs, "no", error));
    FAILS(ERROR_MISSING, vfs_list(world.vfs, "no", collect, &names, error));
    FAILS(ERROR_IO, vfs_list(world.vfs, "log/1.seg", collect, &names, error));
    ck_assert_int_ne(vfs_remove(world.vfs, "log", error), ERROR_NONE); /* not empty */
    OK(vfs_remove(world.vfs, "log/1.seg", error));
    FAILS(ERROR_MISSING, vfs_remove(world.vfs, "log/1.seg", error));
    OK(vfs_remove(world.vfs, "log", error));
    buffer_deinit(&names);
    world_deinit(&world);
}
END_TEST

START_TEST(lock__one_holder)
{
    struct world world;
    world_init(&world);
    struct error *error = &world.error;
    struct vfs *other;
    OK(vfs_posix_create(world.root, &other, error));
    FAILS(ERROR_MISSING, vfs_lock(world.vfs, "LOCK", error));
    write_text(world.vfs, "LOCK", VFS_CREATE, "", 0);
    OK(vfs_lock(world.vfs, "LOCK", error));
    FAILS(ERROR_LOCKED, vfs_lock(other, "LOCK", error));
    ck_assert_ptr_nonnull(strstr(error->text, "LOCK: another process holds it"));
    write_text(world.vfs, "LOCK", VFS_READ_WRITE, "closing another descriptor", 0);
    FAILS(ERROR_LOCKED, vfs_lock(other, "LOCK", error));
    vfs_posix_destroy(world.vfs);
    world.vfs = other;
    OK(vfs_lock(other, "LOCK", error)); /* the first holder is gone */
    world_deinit(&world);
}
END_TEST

/* ---- faulty_vfs.h ---- */

/* Write aside, sync, close, rename, sync the directory. */
static enum error_code replace_text(struct vfs *vfs, const char *text, struct error *error)
{
    char copy[64];
    size_t size = strlen(text);
    memcpy(copy, text, size);
    struct iovec piece = {copy, size};
    struct vfs_file *file = NULL;
    enum error_code code = vfs_open(vfs, "aside", VFS_CREATE, &file, error);
    if (code == ERROR_NONE)
        code = vfs_write_at(file, &piece, 1, 0, error);
    if (code == ERROR_NONE)
        code = vfs_sync(file, error);
    vfs_close(file);
    if (code == ERROR_NONE)
        code = vfs_rename(vfs, "aside", "file", error);
    if (code == ERROR_NONE)
        code = vfs_sync_directory(vfs, ".", error);
    return code;
}

START_TEST(faulty__fails_each_call_in_turn)
{
    struct world world;
    world_init(&world);
    struct faulty_vfs faulty;
    faulty_vfs_init(&faulty, world.vfs);
    write_text(world.vfs, "file", VFS_CREATE, "old", 0);
    u64 n = 1;
    for (;; n++) {
        struct error ignored;
        (void)!vfs_remove(world.vfs, "aside", &ignored);
        faulty_vfs_arm(&faulty, FAULTY_CHANGES, n, ERROR_NO_SPACE);
        enum error_code code = replace_text(&faulty.vfs, "new", &world.error);
        if (!faulty_vfs_disarm(&faulty)) {
            ck_assert_int_eq(code, ERROR_NONE);
            break;
        }
        ck_assert_int_eq(code, ERROR_NO_SPACE);
        ck_assert_ptr_nonnull(strstr(world.error.text, "injected fault"));
        expect_text(world.vfs, "file", n <= 4 ? "old" : "new");
    }
    ck_assert_uint_eq(n, 6); /* create, write, sync, rename, sync the directory */
    ck_assert_uint_eq(faulty.calls, 5);
    expect_text(world.vfs, "file", "new");
    faulty_vfs_deinit(&faulty);
    world_deinit(&world);
}
END_TEST

START_TEST(faulty__tears_breaks_and_comes_late)
{
    struct world world;
    world_init(&world);
    struct error *error = &world.error;
    struct faulty_vfs faulty;
    faulty_vfs_init(&faulty, world.vfs);
    struct vfs_file *file;
    char text[] = "0123456789";
    struct iovec pieces[] = {{text, 4}, {text + 4, 6}};
    OK(vfs_open(&faulty.vfs, "a", VFS_CREATE, &file, error));

    faulty_vfs_arm(&faulty, FAULTY_WRITE, 1, ERROR_IO);
    faulty.tears = true;
    FAILS(ERROR_IO, vfs_write_at(file, pieces, 2, 0, error));
    expect_text(world.vfs, "a", "01234");

    faulty_vfs_arm(&faulty, FAULTY_WRITE, 1, ERROR_IO);
    faulty.after = true;
    FAILS(ERROR_IO, vfs_write_at(file, pieces, 2, 0, error));
    expect_text(world.vfs, "a", "0123456789");

    faulty_vfs_arm(&faulty, FAULTY_WRITE | FAULTY_SYNC, 2, ERROR_IO);
    faulty.stays_broken = true;
    OK(vfs_write_at(file, pieces, 1, 0, error));
    FAILS(ERROR_IO, vfs_sync(file, error));
    FAILS(ERROR_IO, vfs_write_at(file, pieces, 1, 0, error));
    ck_assert(faulty_vfs_disarm(&faulty));
    OK(vfs_sync(file, error));
    vfs_close(file);

    faulty_vfs_arm(&faulty, FAULTY_RENAME, 1, ERROR_IO);
    faulty.after = true;
    FAILS(ERROR_IO, vfs_rename(&faulty.vfs, "a", "b", error));
    ck_assert_ptr_nonnull(strstr(error->text, "injected"));
    expect_text(world.vfs, "b", "0123456789");

    faulty_vfs_arm(&faulty, FAULTY_ALL, 1, ERROR_IO);
    faulty.only = "c";
    OK(vfs_open(&faulty.vfs, "b", VFS_READ, &file, error));
    vfs_close(file);
    FAILS(ERROR_IO, vfs_open(&faulty.vfs, "c", VFS_CREATE, &file, error));
    ck_assert_ptr_null(file);
    faulty_vfs_deinit(&faulty);
    world_deinit(&world);
}
END_TEST

UNIT_MAIN("vfs", posix_create__needs_a_directory, open__each_mode, write_at__many_pieces_come_back,
          stream__whole_units_and_what_is_not_come_back, write_at__no_space_is_told_apart,
          truncate__shorter_and_longer, rename__replaces, directories__make_list_remove,
          lock__one_holder, faulty__fails_each_call_in_turn, faulty__tears_breaks_and_comes_late)
