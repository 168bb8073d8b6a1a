/* snapshot_scan.c - see snapshot_scan.h; the format is in snapshot.c. */
#include "server/storage/snapshot_scan.h"

#include <inttypes.h>

#include "common/crc32c.h"

static const u8 head_magic[8] = {'m', 'r', 'S', 'N', 'A', 'P', 'S', 'H'};
static const u8 end_magic[4] = {'m', 'r', 'S', 'E'};

enum { FORMAT_VERSION = 1, AT_VERSION = 12 };

/* ---- head and end as bytes ---- */

void snapshot_head_encode(const struct snapshot_head *head, const struct buffer *configuration,
                          u8 to[SNAPSHOT_HEAD_SIZE])
{
    memset(to, 0, SNAPSHOT_HEAD_SIZE);
    memcpy(to, head_magic, sizeof(head_magic));
    store_u32(to + AT_VERSION, FORMAT_VERSION);
    store_u64(to + 16, head->last.index);
    store_u64(to + 24, head->last.term);
    store_u64(to + 32, head->time_ns);
    store_u64(to + 40, head->configuration.index);
    memcpy(to + 48, head->cluster_id, strnlen(head->cluster_id, CLUSTER_ID_SIZE - 1));
    store_u32(to + 112, (u32)configuration->size);
    store_u32(to + 116, crc32c(0, configuration->data, configuration->size));
    store_u32(to + 8, crc32c(0, to + AT_VERSION, SNAPSHOT_HEAD_SIZE - AT_VERSION));
}

/* NULL, or what is wrong with the head. */
static const char *decode_head(const u8 *bytes, struct snapshot_head *head)
{
    if (memcmp(bytes, head_magic, sizeof(head_magic)) != 0)
        return "this is no snapshot: the magic is wrong";
    if (load_u32(bytes + 8) != crc32c(0, bytes + AT_VERSION, SNAPSHOT_HEAD_SIZE - AT_VERSION))
        return "the head fails its checksum";
    *head = (struct snapshot_head){.last = {load_u64(bytes + 24), load_u64(bytes + 16)},
                                   .time_ns = load_u64(bytes + 32)};
    memcpy(head->cluster_id, bytes + 48, CLUSTER_ID_SIZE);
    u64 configuration_index = load_u64(bytes + 40);
    if (head->last.index == 0 || head->last.term == 0 || configuration_index == 0 ||
        configuration_index > head->last.index ||
        load_u32(bytes + 112) > SNAPSHOT_CONFIGURATION_MAX ||
        !metadata_cluster_id_valid(head->cluster_id))
        return "the head says what cannot be";
    return NULL;
}

u32 snapshot_end_encode(u64 state_bytes, u64 before, u32 crc, u8 to[SNAPSHOT_END_SIZE])
{
    memset(to, 0, SNAPSHOT_END_SIZE);
    memcpy(to + 4, end_magic, sizeof(end_magic));
    store_u64(to + 8, state_bytes);
    store_u64(to + 16, before + SNAPSHOT_END_SIZE);
    u32 checksum = crc32c(crc, to, SNAPSHOT_END_SIZE - 4);
    store_u32(to + SNAPSHOT_END_SIZE - 4, checksum);
    return checksum;
}

/* Whether these are the last bytes of a snapshot that has this size. */
static bool end_fits(const u8 *bytes, u64 file_size)
{
    return load_u32(bytes) == 0 && memcmp(bytes + 4, end_magic, sizeof(end_magic)) == 0 &&
           load_u64(bytes + 16) == file_size && load_u32(bytes + 24) == 0;
}

/* ---- scanning ---- */

static enum snapshot_found note_damage(struct snapshot_scan *scan, u64 offset, u64 behind,
                                       const char *why)
{
    u64 size = behind > offset ? behind - offset : 1;
    scan->offset = offset;
    scan->why = window_is_unreadable(&scan->window, offset, size)
                    ? "the disk cannot read it, and it is taken for damaged"
                    : why;
    scan->behind = behind;
    return SNAPSHOT_DAMAGED;
}

static bool has(const struct snapshot_scan *scan, u64 from, u64 size)
{
    return from <= scan->window.file_size && size <= scan->window.file_size - from;
}

static void pass(struct snapshot_scan *scan, const u8 *bytes, size_t size)
{
    scan->crc = crc32c(scan->crc, bytes, size);
    scan->next += size;
}

static enum error_code read_configuration(struct snapshot_scan *scan, u64 index, u32 size,
                                          u32 checksum, bool *valid, struct error *error)
{
    const u8 *bytes;
    *valid = false;
    if (!has(scan, scan->next, size)) {
        note_damage(scan, scan->next, 0, "the file ends within the configuration");
        return ERROR_NONE;
    }
    enum error_code code = window_get(&scan->window, scan->next, size, &bytes, error);
    if (code != ERROR_NONE)
        return code;
    struct error reason;
    *valid =
        crc32c(0, bytes, size) == checksum &&
        configuration_decode(bytes, size, index, &scan->head.configuration, &reason) == ERROR_NONE;
    if (!*valid)
        note_damage(scan, scan->next, scan->next + size, "the configuration is not valid");
    pass(scan, bytes, size);
    return ERROR_NONE;
}

static enum error_code read_head(struct snapshot_scan *scan, struct error *error)
{
    const u8 *bytes;
    if (!has(scan, 0, SNAPSHOT_HEAD_SIZE)) {
        note_damage(scan, 0, 0, "the file ends within the head");
        return snapshot_scan_refuse(scan, error);
    }
    enum error_code code = window_get(&scan->window, 0, SNAPSHOT_HEAD_SIZE, &bytes, error);
    if (code != ERROR_NONE)
        return code;
    const char *why = decode_head(bytes, &scan->head);
    u32 size = load_u32(bytes + 112), checksum = load_u32(bytes + 116);
    u64 index = load_u64(bytes + 40);
    if (why != NULL) {
        /* Perhaps the damage is elsewhere in the head. */
        bool guess = has(scan, SNAPSHOT_HEAD_SIZE, size) && size <= SNAPSHOT_CONFIGURATION_MAX;
        note_damage(scan, 0, guess ? SNAPSHOT_HEAD_SIZE + size : 0, why);
        return snapshot_scan_refuse(scan, error);
    }
    if (load_u32(bytes + AT_VERSION) != FORMAT_VERSION) {
        note_damage(scan, AT_VERSION, 0, "a format version that this program does not know");
        return error_set(error, ERROR_MISMATCH,
                         "%s: offset %d: format version %" PRIu32
                         ", which this program does not know: use a newer one",
                         scan->path, AT_VERSION, load_u32(bytes + AT_VERSION));
    }
    pass(scan, bytes, SNAPSHOT_HEAD_SIZE);
    code = read_configuration(scan, index, size, checksum, &scan->head_valid, error);
    if (code == ERROR_NONE && !scan->head_valid)
        code = snapshot_scan_refuse(scan, error);
    return code;
}

enum error_code snapshot_scan_open(struct snapshot_scan *scan, struct vfs *vfs, const char *path,
                                   struct error *error)
{
    *scan = (struct snapshot_scan){.path = path};
    enum error_code code = vfs_open(vfs, path, VFS_READ, &scan->file, error);
    if (code == ERROR_NONE)
        code = window_init(&scan->window, scan->file, path, SNAPSHOT_BLOCK_SIZE, error);
    scan->window.lenient = true; /* every block has its checksum */
    if (code == ERROR_NONE)
        code = read_head(scan, error);
    return code;
}

void snapshot_scan_close(struct snapshot_scan *scan)
{
    window_deinit(&scan->window);
    vfs_close(scan->file);
    scan->file = NULL;
}

static enum error_code next_end(struct snapshot_scan *scan, enum snapshot_found *found,
                                struct error *error)
{
    const u8 *bytes;
    u64 at = scan->next;
    *found = SNAPSHOT_DAMAGED;
    if (!has(scan, at, SNAPSHOT_END_SIZE)) {
        note_damage(scan, at, 0, "the file ends too early");
        return ERROR_NONE;
    }
    enum error_code code = window_get(&scan->window, at, SNAPSHOT_END_SIZE, &bytes, error);
    if (code != ERROR_NONE)
        return code;
    u32 checksum = load_u32(bytes + SNAPSHOT_END_SIZE - 4);
    if (!end_fits(bytes, scan->window.file_size) ||
        scan->window.file_size != at + SNAPSHOT_END_SIZE)
        note_damage(scan, at, 0, "neither a block nor the end of the snapshot");
    else if (!scan->skipped && (crc32c(scan->crc, bytes, SNAPSHOT_END_SIZE - 4) != checksum ||
                                load_u64(bytes + 8) != scan->state_bytes))
        note_damage(scan, at, 0, "the end does not fit what is before it");
    else
        *found = SNAPSHOT_END;
    scan->offset = at;
    scan->info = (struct snapshot_info){scan->head.last, scan->window.file_size, checksum};
    return ERROR_NONE;
}

enum error_code snapshot_scan_next(struct snapshot_scan *scan, enum snapshot_found *found,
                                   struct error *error)
{
    const u8 *bytes;
    u64 at = scan->next;
    if (!has(scan, at, SNAPSHOT_BLOCK_HEAD_SIZE))
        return next_end(scan, found, error);
    enum error_code code = window_get(&scan->window, at, SNAPSHOT_BLOCK_HEAD_SIZE, &bytes, error);
    if (code != ERROR_NONE)
        return code;
    u32 size = load_u32(bytes), checksum = load_u32(bytes + 4);
    if (size == 0)
        return next_end(scan, found, error);
    if (size > SNAPSHOT_BLOCK_SIZE) {
        *found = note_damage(scan, at, 0, "a block with an impossible size");
        return ERROR_NONE;
    }
    u64 total = SNAPSHOT_BLOCK_HEAD_SIZE + size;
    if (!has(scan, at, total)) {
        *found = note_damage(scan, at, 0, "the file ends within a block");
        return ERROR_NONE;
    }
    code = window_get(&scan->window, at, (size_t)total, &bytes, error);
    if (code != ERROR_NONE)
        return code;
    if (crc32c(0, bytes + SNAPSHOT_BLOCK_HEAD_SIZE, size) != checksum) {
        *found = note_damage(scan, at, at + total, "a block that fails its checksum");
        return ERROR_NONE;
    }
    *found = SNAPSHOT_BLOCK;
    scan->offset = at;
    scan->data = bytes + SNAPSHOT_BLOCK_HEAD_SIZE;
    scan->size = size;
    scan->state_bytes += size;
    scan->blocks++;
    pass(scan, bytes, (size_t)total);
    return ERROR_NONE;
}

bool snapshot_scan_skip(struct snapshot_scan *scan)
{
    scan->skipped = true;
    scan->next = scan->behind;
    return scan->behind != 0;
}

enum error_code snapshot_scan_all(struct snapshot_scan *scan, struct vfs *vfs, const char *path,
                                  void (*damaged)(void *context, const struct snapshot_scan *scan),
                                  void *context, bool *ended, struct error *error)
{
    enum snapshot_found found = SNAPSHOT_BLOCK;
    *ended = false;
    enum error_code code = snapshot_scan_open(scan, vfs, path, error);
    if (code == ERROR_CORRUPT || code == ERROR_MISMATCH) {
        found = SNAPSHOT_DAMAGED;
        error_clear(error);
        code = ERROR_NONE;
    }
    while (code == ERROR_NONE) {
        switch (found) {
        case SNAPSHOT_BLOCK:
            break;
        case SNAPSHOT_END:
            *ended = true;
            return ERROR_NONE;
        case SNAPSHOT_DAMAGED:
            damaged(context, scan);
            if (!snapshot_scan_skip(scan))
                return ERROR_NONE;
            break;
        }
        code = snapshot_scan_next(scan, &found, error);
    }
    return code;
}

enum error_code snapshot_scan_refuse(const struct snapshot_scan *scan, struct error *error)
{
    return error_set(error, ERROR_CORRUPT, "%s: offset %" PRIu64 ": damaged: %s", scan->path,
                     scan->offset, scan->why);
}

enum error_code snapshot_scan_peek_end(struct vfs_file *file, const char *path,
                                       struct snapshot_info *info, struct error *error)
{
    u8 bytes[SNAPSHOT_END_SIZE];
    u64 size = 0;
    size_t got = 0;
    enum error_code code = vfs_size(file, &size, error);
    if (code == ERROR_NONE && size >= SNAPSHOT_END_SIZE)
        code = vfs_read_at(file, bytes, sizeof(bytes), size - SNAPSHOT_END_SIZE, &got, error);
    if (code != ERROR_NONE)
        return code;
    if (got != sizeof(bytes) || !end_fits(bytes, size))
        return error_set(error, ERROR_CORRUPT,
                         "%s: offset %" PRIu64 ": damaged: it does not end as a snapshot does",
                         path, got == sizeof(bytes) ? size - SNAPSHOT_END_SIZE : 0);
    info->size = size;
    info->checksum = load_u32(bytes + SNAPSHOT_END_SIZE - 4);
    return ERROR_NONE;
}
