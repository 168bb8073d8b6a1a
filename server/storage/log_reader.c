/* log_reader.c - see log_reader.h. */
#include "server/storage/log_reader.h"

#include <inttypes.h>

#include "server/storage/file_window.h"
#include "server/storage/segment.h"

enum { READ_AHEAD = 256 * 1024 };

/* One call of log_read_row. */
struct row_read {
    struct window window;
    char path[SEGMENT_PATH_SIZE];
    u64 next; /* index of the entry that comes next */
    u64 end;
    u64 bytes_max;
    struct buffer *to;
    bool full; /* the next record would be too much */
};

static enum error_code damaged(const struct row_read *read, u64 offset, const char *what,
                               struct error *error)
{
    return error_set(error, ERROR_CORRUPT,
                     "%s: offset %" PRIu64 ": damaged: %s, where entry %" PRIu64 " was looked for",
                     read->path, offset, what, read->next);
}

/* Reads the record at `at`, and takes it when it is wanted. */
static enum error_code read_record(struct row_read *read, u64 at, u64 batch_end, u64 index,
                                   u32 *size, struct error *error)
{
    const u8 *data;
    if (at + RECORD_HEADER_SIZE > batch_end)
        return damaged(read, at, "records that end before their number is reached", error);
    enum error_code code = window_get(&read->window, at, RECORD_HEADER_SIZE, &data, error);
    if (code != ERROR_NONE)
        return code;
    struct entry entry;
    *size = record_peek(data, &entry);
    if (*size < RECORD_HEADER_SIZE || *size > batch_end - at)
        return damaged(read, at, "a record with an impossible size", error);
    if (index < read->next)
        return ERROR_NONE;
    if (read->to->size > 0 && read->to->size + *size > read->bytes_max) {
        read->full = true;
        return ERROR_NONE;
    }
    code = window_get(&read->window, at, *size, &data, error);
    if (code != ERROR_NONE)
        return code;
    if (record_decode(data, *size, &entry) != *size)
        return damaged(read, at, "a record that fails its checksum", error);
    if (entry.id.index != index)
        return damaged(read, at, "a record with another index", error);
    buffer_append(read->to, data, *size);
    read->next++;
    return ERROR_NONE;
}

static enum error_code read_batches(struct row_read *read, const struct segment_info *info,
                                    u64 offset, struct error *error)
{
    while (read->next < read->end && !read->full) {
        const u8 *data;
        struct batch batch;
        if (offset + BATCH_SIZE_MIN > read->window.file_size)
            return damaged(read, offset, "the end of the file", error);
        enum error_code code = window_get(&read->window, offset, BATCH_HEADER_SIZE, &data, error);
        if (code != ERROR_NONE)
            return code;
        if (!batch_decode(info, data, &batch))
            return damaged(read, offset, "no valid batch header", error);
        u64 total = batch_total_size(batch.size);
        if (batch.first > read->next || total > read->window.file_size - offset)
            return damaged(read, offset, "a batch that does not belong here", error);
        u64 at = offset + BATCH_HEADER_SIZE, batch_end = at + batch.size;
        u64 index = batch.first;
        offset += total;
        if (index + batch.count <= read->next)
            continue;
        for (; index < batch.first + batch.count && index < read->end && !read->full; index++) {
            u32 size = 0;
            code = read_record(read, at, batch_end, index, &size, error);
            if (code != ERROR_NONE)
                return code;
            at += size;
        }
    }
    return ERROR_NONE;
}

enum error_code log_read_row(struct vfs *vfs, u64 directory_id, const struct log_row *row,
                             u64 first, u64 end, u64 bytes_max, struct buffer *to, u32 *count,
                             struct error *error)
{
    struct row_read read = {.next = first, .end = end, .bytes_max = bytes_max, .to = to};
    struct segment_info info = {.id = row->segment, .directory_id = directory_id};
    struct vfs_file *file = NULL;
    segment_path(row->segment, read.path);
    enum error_code code = vfs_open(vfs, read.path, VFS_READ, &file, error);
    if (code == ERROR_NONE)
        code = window_init(&read.window, file, read.path, READ_AHEAD, error);
    if (code == ERROR_NONE)
        code = read_batches(&read, &info, row->offset, error);
    window_deinit(&read.window);
    vfs_close(file);
    *count += (u32)(read.next - first);
    return code;
}
