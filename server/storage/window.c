/* window.c - see window.h. */
#include "server/storage/window.h"

#include <inttypes.h>
#include <string.h>

#include "common/memory.h"

enum error_code window_init(struct window *window, struct vfs_file *file, const char *path,
                            size_t read_ahead, struct error *error)
{
    *window = (struct window){.file = file, .path = path, .read_ahead = read_ahead};
    return vfs_size(file, &window->file_size, error);
}

void window_deinit(struct window *window)
{
    memory_free(window->data);
    window->data = NULL;
}

enum error_code window_get(struct window *window, u64 offset, size_t size, const u8 **data,
                           struct error *error)
{
    ASSERT(offset + size <= window->file_size);
    u64 end = window->start + window->size;
    if (offset >= window->start && offset + size <= end) {
        *data = window->data + (offset - window->start);
        return ERROR_NONE;
    }
    size_t wanted = size > window->read_ahead ? size : window->read_ahead;
    wanted = (size_t)u64_min(wanted, window->file_size - offset);
    if (wanted > window->capacity) {
        window->data = memory_resize(window->data, wanted);
        window->capacity = wanted;
    }
    size_t kept = 0;
    if (window->data != NULL && offset >= window->start && offset < end) {
        kept = (size_t)(end - offset);
        memmove(window->data, window->data + (offset - window->start), kept);
    }
    window->start = offset;
    window->size = kept;
    size_t got;
    enum error_code code =
        vfs_read_at(window->file, window->data + kept, wanted - kept, offset + kept, &got, error);
    if (code != ERROR_NONE)
        return code;
    if (got != wanted - kept)
        return error_set(error, ERROR_IO,
                         "read %s: the file ends at offset %" PRIu64 ", which is before its size",
                         window->path, offset + kept + got);
    window->size = wanted;
    *data = window->data;
    return ERROR_NONE;
}
