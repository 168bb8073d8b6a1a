/* fuzz_image.c - see fuzz_image.h. */
#include "test/fuzz/fuzz_image.h"

enum { RUN_MAX = 65535, RUN_HEAD_SIZE = 4, ZEROS_WORTH_A_RUN = 8, DIRECTORIES = 2, BAD_SIZE = 5 };

struct image_reader {
    const u8 *data;
    size_t size;
    size_t total; /* bytes of all files so far */
};

static bool take_name(struct image_reader *reader, char name[MEMORY_NAME_MAX])
{
    if (reader->size == 0)
        return false;
    size_t size = reader->data[0];
    reader->data++;
    reader->size--;
    if (size > reader->size)
        size = reader->size;
    size_t kept = size < MEMORY_NAME_MAX - 1 ? size : MEMORY_NAME_MAX - 1;
    memcpy(name, reader->data, kept);
    name[kept] = '\0';
    reader->data += size;
    reader->size -= size;
    return true;
}

/* Goes over the runs of a file, and writes them to `to` when that is not NULL. Returns how many
 * bytes the file has. */
static u64 take_runs(struct image_reader *reader, u8 *to)
{
    u64 written = 0;
    while (reader->size >= RUN_HEAD_SIZE) {
        u64 zeros = load_u16(reader->data);
        u64 size = load_u16(reader->data + 2);
        reader->data += RUN_HEAD_SIZE;
        reader->size -= RUN_HEAD_SIZE;
        if (zeros == 0 && size == 0)
            break;
        size = u64_min(size, reader->size);
        if (zeros + size <= IMAGE_BYTES_MAX - reader->total) {
            if (to != NULL)
                memcpy(to + written + zeros, reader->data, size);
            written += zeros + size;
            reader->total += zeros + size;
        }
        reader->data += size;
        reader->size -= size;
    }
    return written;
}

static void take_content(struct image_reader *reader, struct memory_content *content)
{
    struct image_reader ahead = *reader;
    content->size = take_runs(&ahead, NULL);
    content->data = calloc(1, content->size + 1);
    ASSERT(content->data != NULL);
    (void)take_runs(reader, content->data);
}

/* The next file; false at the end. The content is the caller's to free. */
static bool take_file(struct image_reader *reader, char name[MEMORY_NAME_MAX],
                      struct memory_content *content)
{
    if (!take_name(reader, name))
        return false;
    take_content(reader, content);
    return true;
}

static void make_directory(struct memory_vfs *memory, const char *name)
{
    struct error error;
    enum error_code code = vfs_make_directory(&memory->vfs, name, &error);
    ASSERT(code == ERROR_NONE);
}

static void write_file(struct memory_vfs *memory, const char *name,
                       const struct memory_content *content)
{
    struct error error;
    struct vfs_file *file = NULL;
    if (vfs_open(&memory->vfs, name, VFS_CREATE, &file, &error) != ERROR_NONE)
        return;
    struct iovec piece = {.iov_base = content->data, .iov_len = content->size};
    enum error_code code = vfs_write_at(file, &piece, 1, 0, &error);
    ASSERT(code == ERROR_NONE);
    vfs_close(file);
}

/* A file without a name: what cannot be read. */
static void note_unreadable(const struct memory_content *content, u8 bad[BAD_SIZE])
{
    if (content->size >= BAD_SIZE)
        memcpy(bad, content->data, BAD_SIZE);
}

/* The directories are the first two inodes. */
static void make_unreadable(struct memory_vfs *memory, const u8 bad[BAD_SIZE])
{
    int inode = DIRECTORIES + bad[0];
    if (inode >= memory->inode_count)
        return;
    memory->bad_inode = inode;
    memory->bad_from = (u64)load_u16(bad + 1) * MEMORY_SECTOR;
    memory->bad_size = (u64)load_u16(bad + 3) * MEMORY_SECTOR;
}

struct memory_vfs *image_open(const u8 *data, size_t size)
{
    u8 bad[BAD_SIZE] = {0};
    struct memory_vfs *memory = memory_create();
    struct image_reader reader = {.data = data, .size = size};
    struct memory_content content;
    char name[MEMORY_NAME_MAX];
    make_directory(memory, "log");
    make_directory(memory, "snapshots");
    for (u32 i = 0; i < IMAGE_FILES_MAX && take_file(&reader, name, &content); i++) {
        if (name[0] == '\0')
            note_unreadable(&content, bad);
        else
            write_file(memory, name, &content);
        free(content.data);
    }
    make_unreadable(memory, bad);
    return memory;
}

/* How many of the bytes from `at` on are zero. */
static size_t count_zeros(const u8 *data, size_t size, size_t at)
{
    size_t begin = at;
    while (at < size && data[at] == 0 && at - begin < RUN_MAX)
        at++;
    return at - begin;
}

void image_add(struct buffer *image, const char *name, const u8 *data, size_t size)
{
    u8 name_size = (u8)strlen(name);
    u8 head[RUN_HEAD_SIZE];
    buffer_append(image, &name_size, 1);
    buffer_append(image, name, name_size);
    for (size_t at = 0; at < size;) {
        size_t zeros = count_zeros(data, size, at);
        at += zeros;
        size_t end = at;
        while (end < size && end - at < RUN_MAX && count_zeros(data, size, end) < ZEROS_WORTH_A_RUN)
            end++;
        store_u16(head, (u16)zeros);
        store_u16(head + 2, (u16)(end - at));
        buffer_append(image, head, sizeof(head));
        if (end > at)
            buffer_append(image, data + at, end - at);
        at = end;
    }
    memset(head, 0, sizeof(head));
    buffer_append(image, head, sizeof(head));
}

size_t image_repair(u8 *data, size_t size, size_t capacity, u32 choice,
                    void (*repair)(const char *name, u8 *content, size_t size, u32 choice))
{
    struct image_reader reader = {.data = data, .size = size};
    struct memory_content content;
    char name[MEMORY_NAME_MAX];
    struct buffer image;
    buffer_init(&image);
    for (u32 i = 0; i < IMAGE_FILES_MAX && take_file(&reader, name, &content); i++) {
        size_t before = image.size;
        repair(name, content.data, content.size, choice);
        image_add(&image, name, content.data, content.size);
        free(content.data);
        if (image.size > capacity)
            image.size = before;
    }
    memcpy(data, image.data, image.size);
    size = image.size;
    buffer_deinit(&image);
    return size;
}
