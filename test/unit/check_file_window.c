/* check_file_window.c - large reads, small pieces; and what cannot be read. */
#include "server/storage/file_window.h"
#include "test/unit/memory_vfs.h"
#include "test/unit/unit.h"

enum { SIZE = 100 * 4096 + 77 };

static struct memory_vfs *memory;
static struct vfs_file *file;
static struct window window;
static struct error error;

static u8 byte_at(u64 offset)
{
    return (u8)(offset * 7 + offset / 251 + 1);
}

static void begin(size_t read_ahead)
{
    memory = memory_create();
    ck_assert_int_eq(vfs_open(&memory->vfs, "file", VFS_CREATE, &file, &error), ERROR_NONE);
    u8 *bytes = malloc(SIZE);
    for (u64 i = 0; i < SIZE; i++)
        bytes[i] = byte_at(i);
    struct iovec piece = {.iov_base = bytes, .iov_len = SIZE};
    ck_assert_int_eq(vfs_write_at(file, &piece, 1, 0, &error), ERROR_NONE);
    free(bytes);
    ck_assert_int_eq(window_init(&window, file, "file", read_ahead, &error), ERROR_NONE);
}

static void end(void)
{
    window_deinit(&window);
    vfs_close(file);
    memory_destroy(memory);
}

/* The bytes are the file's, but for those in parts that cannot be read. */
static void must_get(u64 offset, size_t size)
{
    const u8 *data;
    error_clear(&error);
    ck_assert_int_eq(window_get(&window, offset, size, &data, &error), ERROR_NONE);
    ck_assert_int_eq(error.code, ERROR_NONE);
    u64 same = 0; /* one assertion for all: Check writes a file at each */
    while (same < size) {
        bool bad = window_is_unreadable(&window, offset + same, 1);
        if (data[same] != (bad ? WINDOW_UNREADABLE : byte_at(offset + same)))
            break;
        same++;
    }
    ck_assert_uint_eq(same, size);
}

START_TEST(window_get__forwards_and_back)
{
    begin(10000);
    for (u64 at = 0; at + 3000 <= SIZE; at += 1234)
        must_get(at, 3000);
    must_get(0, SIZE);
    must_get(SIZE - 1, 1);
    must_get(5, 5);
    end();
}
END_TEST

START_TEST(window_get__the_neighbours_of_a_bad_place_can_be_read)
{
    const u8 *data;
    begin(100000);
    memory_make_bad(memory, "file", 50000, 512);
    must_get(0, 64);
    must_get(49000, 1000);
    ck_assert_int_eq(window_get(&window, 49000, 1001, &data, &error), ERROR_IO);
    must_get(50512, 64);
    must_get(40000, 64);
    ck_assert_uint_eq(window.unreadable_count, 0);
    end();
}
END_TEST

START_TEST(window_get__lenient_fills_in_what_cannot_be_read)
{
    static const size_t ahead[] = {64, 5000, 100000, 1000000};
    for (size_t i = 0; i < ARRAY_LENGTH(ahead); i++) {
        begin(ahead[i]);
        window.lenient = true;
        memory_make_bad(memory, "file", 49152, 8192);
        for (u64 at = 0; at + 300 <= SIZE; at += 123)
            must_get(at, 300);
        must_get(0, SIZE);
        ck_assert_uint_eq(window.unreadable_count, 2); /* 49152 .. 57343 */
        ck_assert(!window_is_unreadable(&window, 49151, 1));
        ck_assert(window_is_unreadable(&window, 49151, 2));
        ck_assert(window_is_unreadable(&window, 57343, 1));
        ck_assert(!window_is_unreadable(&window, 57344, 100));
        end();
    }
}
END_TEST

START_TEST(window_get__lenient_has_an_end)
{
    const u8 *data;
    begin(100000);
    window.lenient = true;
    memory_make_bad(memory, "file", 0, WINDOW_PARTS_MAX * WINDOW_PART);
    must_get(0, SIZE);
    end();
    begin(100000);
    window.lenient = true;
    memory_make_bad(memory, "file", 4096, WINDOW_PARTS_MAX * WINDOW_PART + 1);
    ck_assert_int_eq(window_get(&window, 0, SIZE, &data, &error), ERROR_IO);
    ck_assert_ptr_nonnull(strstr(error.text, "more than 64 places of file cannot be read"));
    end();
}
END_TEST

START_TEST(window_get__a_file_that_has_become_shorter)
{
    const u8 *data;
    begin(100);
    ck_assert_int_eq(vfs_truncate(file, 5000, &error), ERROR_NONE);
    must_get(0, 5000);
    ck_assert_int_eq(window_get(&window, 4990, 11, &data, &error), ERROR_IO);
    end();
}
END_TEST

UNIT_MAIN("window", window_get__forwards_and_back,
          window_get__the_neighbours_of_a_bad_place_can_be_read,
          window_get__lenient_fills_in_what_cannot_be_read, window_get__lenient_has_an_end,
          window_get__a_file_that_has_become_shorter)
