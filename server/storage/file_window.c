/* file_window.c - see file_window.h. */
#include "server/storage/file_window.h"

#include <inttypes.h>
#include <string.h>

#include "common/memory.h"
#include "server/storage/advice.h"

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

static bool part_is_unreadable(const struct window *window, u64 part)
{
    for (u32 i = 0; i < window->unreadable_count; i++) {
        if (window->unreadable[i] == part)
            return true;
    }
    return false;
}

bool window_is_unreadable(const struct window *window, u64 offset, u64 size)
{
    for (u32 i = 0; i < window->unreadable_count; i++) {
        u64 begin = window->unreadable[i] * WINDOW_PART;
        if (begin < offset + size && offset < begin + WINDOW_PART)
            return true;
    }
    return false;
}

/* Reads all that was asked for, or fails. */
static enum error_code read_exactly(struct window *window, u8 *to, u64 offset, size_t size,
                                    struct error *error)
{
    size_t got;
    enum error_code code = vfs_read_at(window->file, to, size, offset, &got, error);
    if (code == ERROR_NONE && got != size)
        code = error_set(error, ERROR_IO,
                         "read %s: the file ends at offset %" PRIu64 ", which is before its size",
                         window->path, offset + got);
    return code;
}

/* Part by part; what cannot be read is filled in, and remembered. */
static enum error_code read_parts(struct window *window, u8 *to, u64 offset, size_t size,
                                  struct error *error)
{
    u64 end = offset + size;
    while (offset < end) {
        u64 part = offset / WINDOW_PART;
        size_t piece = (size_t)(u64_min((part + 1) * WINDOW_PART, end) - offset);
        error_clear(error);
        if (part_is_unreadable(window, part)) {
            memset(to, WINDOW_UNREADABLE, piece);
        } else if (read_exactly(window, to, offset, piece, error) != ERROR_NONE) {
            if (window->unreadable_count == WINDOW_PARTS_MAX)
                return error_add(
                    error,
                    "more than %d places of %s cannot be read: this is the disk, or "
                    "the way to it, rather than single sectors. Nothing was changed; "
                    "start again when the disk answers; if it never does, " ADVICE_BEGIN_BLANK,
                    WINDOW_PARTS_MAX, window->path);
            window->unreadable[window->unreadable_count++] = part;
            memset(to, WINDOW_UNREADABLE, piece);
        }
        to += piece;
        offset += piece;
    }
    error_clear(error);
    return ERROR_NONE;
}

/* Fills the window up to `wanted` bytes, of which `size` are needed and `kept` are there. */
static enum error_code fill(struct window *window, size_t kept, size_t size, size_t wanted,
                            struct error *error)
{
    u64 from = window->start + kept;
    struct error ignored = {0};
    enum error_code code = read_exactly(window, window->data + kept, from, wanted - kept, error);
    window->size = wanted;
    if (code == ERROR_NONE)
        return code;
    window->size = kept;
    if (window->lenient) {
        code = read_parts(window, window->data + kept, from, wanted - kept, error);
        window->size = code == ERROR_NONE ? wanted : kept;
    } else if (wanted > size && read_exactly(window, window->data + kept, from, size - kept,
                                             &ignored) == ERROR_NONE) {
        error_clear(error);
        window->size = size;
        code = ERROR_NONE;
    }
    return code;
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
    enum error_code code = fill(window, kept, size, wanted, error);
    *data = window->data;
    return code;
}
