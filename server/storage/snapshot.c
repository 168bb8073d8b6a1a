/* snapshot.c - files that hold the machine's state as of one entry.
 *
 * A snapshot is `snapshots/` + 20 decimal digits of the last entry's index + `-` + 20 of its term +
 * `.snap`. All numbers are little-endian. The file is a head, blocks, and an end, one after the
 * other without a gap.
 *
 * Head:
 *
 *   offset size
 *        0    8  magic "mrSNAPSH"
 *        8    4  format version, 1
 *       12    4  size of the configuration, at most 65,536
 *       16    8  index of the last entry that the state includes, 1 and up
 *       24    8  term of that entry, 1 and up
 *       32    8  time of that entry in ns; no entry behind it has an earlier one
 *       40    8  index of the entry that the configuration came in, at most the last one's
 *       48   64  cluster id, NUL-terminated and filled up with NULs
 *      112    4  crc32c of the configuration
 *      116    8  zero
 *      124    4  crc32c of bytes 0 .. 123
 *      128    -  the configuration, in the form of rules/configuration.h
 *
 * Block: size of its data, 1 .. 262,144 (4 bytes), crc32c of the data (4), the data. The data of
 * all blocks, one after the other, are what the machine gave; only the machine knows their form.
 *
 * End, 32 bytes:
 *
 *        0    4  zero: no block
 *        4    4  magic "mrSE"
 *        8    8  bytes of data in all blocks
 *       16    8  size of the file
 *       24    4  zero
 *       28    4  crc32c of all of the file before these four bytes
 *
 * A snapshot is valid if and only if all of this holds and nothing follows the end. Each block has
 * a checksum of its own so that nothing damaged is ever handed on, and damage has a place; the one
 * at the end names the file, together with index, term and size: followers that receive it know by
 * these whether a piece belongs to what they have.
 *
 * Writing. The file is made as `new.tmp`, or `received.tmp` when it comes from a leader; synced;
 * renamed; and the directory is synced. A crash before the rename leaves a file without a name of
 * its own, which snapshot_clean removes. In between it is synced now and then, so that the disk
 * never has much to write at once and the log's syncs need not wait for it. */
#include "server/storage/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/crc32c.h"
#include "common/memory.h"
#include "server/storage/window.h"

static const u8 head_magic[8] = {'m', 'r', 'S', 'N', 'A', 'P', 'S', 'H'};
static const u8 end_magic[4] = {'m', 'r', 'S', 'E'};
static const char directory[] = "snapshots";
static const char new_path[] = "snapshots/new.tmp";
static const char received_path[] = "snapshots/received.tmp";

enum {
    FORMAT_VERSION = 1,
    HEAD_SIZE = 128,
    BLOCK_HEAD_SIZE = 8,
    END_SIZE = 32,
    CONFIGURATION_SIZE_MAX = 65536,
    DIGITS = 20,
    SYNC_BYTES = 4 * 1024 * 1024 /* synced after so many */
};

/* ---- names ---- */

void snapshot_path(struct entry_id last, char path[SNAPSHOT_PATH_SIZE])
{
    snprintf(path, SNAPSHOT_PATH_SIZE, "%s/%0*" PRIu64 "-%0*" PRIu64 ".snap", directory, DIGITS,
             last.index, DIGITS, last.term);
}

static bool digits_parse(const char *text, u64 *number)
{
    u64 value = 0;
    for (int i = 0; i < DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        u64 digit = (u64)(text[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return value > 0;
}

bool snapshot_name_parse(const char *name, struct entry_id *last)
{
    return strlen(name) == 2 * DIGITS + strlen("-.snap") && digits_parse(name, &last->index) &&
           name[DIGITS] == '-' && digits_parse(name + DIGITS + 1, &last->term) &&
           strcmp(name + 2 * DIGITS + 1, ".snap") == 0;
}

/* ---- files on their way: what writing and receiving have in common ---- */

struct draft {
    struct vfs *vfs;
    const char *path;
    struct vfs_file *file;
    u64 size;     /* written so far */
    u64 unsynced; /* of it */
    u32 crc;      /* of all that was written */
};

static enum error_code ensure_directory(struct vfs *vfs, struct error *error)
{
    enum error_code code = vfs_make_directory(vfs, directory, error);
    if (code == ERROR_EXISTS)
        return ERROR_NONE;
    return code == ERROR_NONE ? vfs_sync_directory(vfs, ".", error) : code;
}

static enum error_code draft_begin(struct draft *draft, struct vfs *vfs, const char *path,
                                   struct error *error)
{
    *draft = (struct draft){.vfs = vfs, .path = path};
    enum error_code code = ensure_directory(vfs, error);
    if (code == ERROR_NONE)
        code = vfs_remove(vfs, path, error);
    if (code == ERROR_NONE || code == ERROR_MISSING)
        code = vfs_open(vfs, path, VFS_CREATE, &draft->file, error);
    return code;
}

static enum error_code draft_write(struct draft *draft, const void *data, size_t size,
                                   struct error *error)
{
    struct iovec piece = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    enum error_code code = vfs_write_at(draft->file, &piece, 1, draft->size, error);
    if (code != ERROR_NONE)
        return code;
    draft->crc = crc32c(draft->crc, data, size);
    draft->size += size;
    draft->unsynced += size;
    if (draft->unsynced < SYNC_BYTES)
        return ERROR_NONE;
    draft->unsynced = 0;
    return vfs_sync(draft->file, error);
}

static void draft_drop(struct draft *draft)
{
    struct error ignored;
    if (draft->file == NULL)
        return;
    vfs_close(draft->file);
    draft->file = NULL;
    /* If it stays, snapshot_clean or the next draft removes it. */
    enum error_code code = vfs_remove(draft->vfs, draft->path, &ignored);
    (void)code;
}

/* Makes it the snapshot of that entry. */
static enum error_code draft_publish(struct draft *draft, struct entry_id last, struct error *error)
{
    char path[SNAPSHOT_PATH_SIZE];
    snapshot_path(last, path);
    enum error_code code = vfs_sync(draft->file, error);
    if (code == ERROR_NONE)
        code = vfs_rename(draft->vfs, draft->path, path, error);
    if (code == ERROR_NONE) {
        vfs_close(draft->file);
        draft->file = NULL;
        code = vfs_sync_directory(draft->vfs, directory, error);
    }
    return code;
}

/* ---- writing ---- */

struct snapshot_writer {
    struct draft draft;
    struct entry_id last;
    u64 state_bytes;
    struct buffer block; /* head and data of the block that is being filled */
};

static void encode_head(const struct snapshot_head *head, const struct buffer *configuration,
                        u8 to[HEAD_SIZE])
{
    memset(to, 0, HEAD_SIZE);
    memcpy(to, head_magic, sizeof(head_magic));
    store_u32(to + 8, FORMAT_VERSION);
    store_u32(to + 12, (u32)configuration->size);
    store_u64(to + 16, head->last.index);
    store_u64(to + 24, head->last.term);
    store_u64(to + 32, head->time_ns);
    store_u64(to + 40, head->configuration.index);
    memcpy(to + 48, head->cluster_id, CLUSTER_ID_SIZE);
    store_u32(to + 112, crc32c(0, configuration->data, configuration->size));
    store_u32(to + HEAD_SIZE - 4, crc32c(0, to, HEAD_SIZE - 4));
}

static enum error_code write_head(struct snapshot_writer *writer, const struct snapshot_head *head,
                                  struct error *error)
{
    u8 bytes[HEAD_SIZE];
    struct buffer configuration;
    buffer_init(&configuration);
    configuration_encode(&head->configuration, &configuration);
    ASSERT(configuration.size <= CONFIGURATION_SIZE_MAX);
    encode_head(head, &configuration, bytes);
    enum error_code code = draft_write(&writer->draft, bytes, HEAD_SIZE, error);
    if (code == ERROR_NONE)
        code = draft_write(&writer->draft, configuration.data, configuration.size, error);
    buffer_deinit(&configuration);
    return code;
}

static void begin_block(struct snapshot_writer *writer)
{
    buffer_clear(&writer->block);
    buffer_reserve(&writer->block, BLOCK_HEAD_SIZE + SNAPSHOT_BLOCK_SIZE);
    writer->block.size = BLOCK_HEAD_SIZE;
}

static enum error_code end_block(struct snapshot_writer *writer, struct error *error)
{
    struct buffer *block = &writer->block;
    u32 size = (u32)block->size - BLOCK_HEAD_SIZE;
    if (size == 0)
        return ERROR_NONE;
    store_u32(block->data, size);
    store_u32(block->data + 4, crc32c(0, block->data + BLOCK_HEAD_SIZE, size));
    writer->state_bytes += size;
    enum error_code code = draft_write(&writer->draft, block->data, block->size, error);
    begin_block(writer);
    return code;
}

static void writer_free(struct snapshot_writer *writer)
{
    draft_drop(&writer->draft);
    buffer_deinit(&writer->block);
    memory_free(writer);
}

enum error_code snapshot_writer_create(struct vfs *vfs, const struct snapshot_head *head,
                                       struct snapshot_writer **writer, struct error *error)
{
    ASSERT(head->last.index > 0 && head->last.term > 0 &&
           head->configuration.index <= head->last.index);
    struct snapshot_writer *made = memory_alloc_zero(1, sizeof(*made));
    made->last = head->last;
    buffer_init(&made->block);
    begin_block(made);
    *writer = NULL;
    enum error_code code = draft_begin(&made->draft, vfs, new_path, error);
    if (code == ERROR_NONE)
        code = write_head(made, head, error);
    if (code != ERROR_NONE) {
        writer_free(made);
        return error_add(error, "begin a snapshot");
    }
    *writer = made;
    return ERROR_NONE;
}

enum error_code snapshot_writer_add(struct snapshot_writer *writer, const void *data, size_t size,
                                    struct error *error)
{
    const u8 *from = data;
    while (size > 0) {
        size_t fits = BLOCK_HEAD_SIZE + SNAPSHOT_BLOCK_SIZE - writer->block.size;
        size_t taken = fits < size ? fits : size;
        buffer_append(&writer->block, from, taken);
        from += taken;
        size -= taken;
        if (taken < fits)
            return ERROR_NONE;
        if (end_block(writer, error) != ERROR_NONE)
            return error_add(error, "write a snapshot");
    }
    return ERROR_NONE;
}

enum error_code snapshot_writer_finish(struct snapshot_writer *writer, struct snapshot_info *info,
                                       struct error *error)
{
    u8 end[END_SIZE] = {0};
    struct draft *draft = &writer->draft;
    enum error_code code = end_block(writer, error);
    memcpy(end + 4, end_magic, sizeof(end_magic));
    store_u64(end + 8, writer->state_bytes);
    store_u64(end + 16, draft->size + END_SIZE);
    u32 checksum = crc32c(draft->crc, end, END_SIZE - 4);
    store_u32(end + END_SIZE - 4, checksum);
    if (code == ERROR_NONE)
        code = draft_write(draft, end, END_SIZE, error);
    if (code == ERROR_NONE)
        code = draft_publish(draft, writer->last, error);
    *info = (struct snapshot_info){writer->last, draft->size, checksum};
    writer_free(writer);
    return code == ERROR_NONE ? code : error_add(error, "finish a snapshot");
}

void snapshot_writer_abandon(struct snapshot_writer *writer)
{
    writer_free(writer);
}

/* ---- reading ---- */

/* One reading of a file from its beginning to its end. */
struct reading {
    const char *path;
    struct window window;
    u64 offset;
    u32 crc; /* of all bytes before offset */
    u64 state_bytes;
};

static enum error_code damaged(const struct reading *reading, u64 offset, const char *what,
                               struct error *error)
{
    return error_set(error, ERROR_CORRUPT, "%s: offset %" PRIu64 ": damaged: %s", reading->path,
                     offset, what);
}

/* The next `size` bytes. */
static enum error_code read_next(struct reading *reading, size_t size, const u8 **data,
                                 struct error *error)
{
    if (size > reading->window.file_size - reading->offset)
        return damaged(reading, reading->offset, "the file ends too early", error);
    enum error_code code = window_get(&reading->window, reading->offset, size, data, error);
    if (code != ERROR_NONE)
        return code;
    reading->offset += size;
    return ERROR_NONE;
}

static enum error_code decode_head(const struct reading *reading, const u8 *bytes,
                                   struct snapshot_head *head, u32 *configuration_size,
                                   u64 *configuration_index, struct error *error)
{
    if (memcmp(bytes, head_magic, sizeof(head_magic)) != 0)
        return damaged(reading, 0, "this is no snapshot", error);
    if (crc32c(0, bytes, HEAD_SIZE - 4) != load_u32(bytes + HEAD_SIZE - 4))
        return damaged(reading, 0, "the head fails its checksum", error);
    if (load_u32(bytes + 8) != FORMAT_VERSION)
        return error_set(error, ERROR_MISMATCH,
                         "%s: format version %" PRIu32 ", which this program does not know: use a "
                         "newer one",
                         reading->path, load_u32(bytes + 8));
    *head = (struct snapshot_head){.last = {load_u64(bytes + 24), load_u64(bytes + 16)},
                                   .time_ns = load_u64(bytes + 32)};
    memcpy(head->cluster_id, bytes + 48, CLUSTER_ID_SIZE);
    *configuration_size = load_u32(bytes + 12);
    *configuration_index = load_u64(bytes + 40);
    if (head->last.index == 0 || head->last.term == 0 || *configuration_index == 0 ||
        *configuration_index > head->last.index || *configuration_size > CONFIGURATION_SIZE_MAX ||
        !metadata_cluster_id_valid(head->cluster_id))
        return damaged(reading, 0, "the head says what cannot be", error);
    return ERROR_NONE;
}

static enum error_code read_head(struct reading *reading, struct snapshot_head *head,
                                 struct error *error)
{
    const u8 *bytes;
    u32 configuration_size = 0;
    u64 configuration_index = 0;
    enum error_code code = read_next(reading, HEAD_SIZE, &bytes, error);
    if (code != ERROR_NONE)
        return code;
    code = decode_head(reading, bytes, head, &configuration_size, &configuration_index, error);
    u32 wanted = load_u32(bytes + 112);
    reading->crc = crc32c(reading->crc, bytes, HEAD_SIZE);
    if (code == ERROR_NONE)
        code = read_next(reading, configuration_size, &bytes, error);
    if (code != ERROR_NONE)
        return code;
    reading->crc = crc32c(reading->crc, bytes, configuration_size);
    struct error why;
    if (crc32c(0, bytes, configuration_size) != wanted ||
        configuration_decode(bytes, configuration_size, configuration_index, &head->configuration,
                             &why) != ERROR_NONE)
        return damaged(reading, HEAD_SIZE, "the configuration is not valid", error);
    return ERROR_NONE;
}

static enum error_code read_blocks(struct reading *reading, const struct snapshot_taker *taker,
                                   struct error *error)
{
    for (;;) {
        const u8 *bytes;
        u64 at = reading->offset;
        enum error_code code = read_next(reading, BLOCK_HEAD_SIZE, &bytes, error);
        if (code != ERROR_NONE)
            return code;
        u32 size = load_u32(bytes);
        u32 crc = load_u32(bytes + 4);
        if (size == 0) {
            reading->offset = at;
            return ERROR_NONE;
        }
        if (size > SNAPSHOT_BLOCK_SIZE)
            return damaged(reading, at, "a block with an impossible size", error);
        reading->crc = crc32c(reading->crc, bytes, BLOCK_HEAD_SIZE);
        code = read_next(reading, size, &bytes, error);
        if (code != ERROR_NONE)
            return code;
        if (crc32c(0, bytes, size) != crc)
            return damaged(reading, at, "a block that fails its checksum", error);
        reading->crc = crc32c(reading->crc, bytes, size);
        reading->state_bytes += size;
        if (!taker->piece(taker->context, bytes, size))
            return damaged(reading, at, "a block whose data make no sense to the machine", error);
    }
}

static enum error_code decode_end(const struct reading *reading, const u8 *bytes, u64 offset,
                                  struct error *error)
{
    if (load_u32(bytes) != 0 || memcmp(bytes + 4, end_magic, sizeof(end_magic)) != 0 ||
        load_u32(bytes + 24) != 0 || load_u64(bytes + 16) != offset + END_SIZE ||
        load_u64(bytes + 16) != reading->window.file_size)
        return damaged(reading, offset, "no end of a snapshot", error);
    return ERROR_NONE;
}

static enum error_code read_end(struct reading *reading, struct snapshot_info *info,
                                struct error *error)
{
    const u8 *bytes;
    u64 at = reading->offset;
    enum error_code code = read_next(reading, END_SIZE, &bytes, error);
    if (code == ERROR_NONE)
        code = decode_end(reading, bytes, at, error);
    if (code != ERROR_NONE)
        return code;
    info->size = reading->offset;
    info->checksum = crc32c(reading->crc, bytes, END_SIZE - 4);
    if (info->checksum != load_u32(bytes + END_SIZE - 4) ||
        load_u64(bytes + 8) != reading->state_bytes)
        return damaged(reading, at, "the end does not fit what is before it", error);
    return ERROR_NONE;
}

enum error_code snapshot_load_file(struct vfs *vfs, const char *path,
                                   const struct snapshot_taker *taker, struct snapshot_info *info,
                                   struct error *error)
{
    struct reading reading = {.path = path};
    struct snapshot_head head;
    struct vfs_file *file = NULL;
    enum error_code code = vfs_open(vfs, path, VFS_READ, &file, error);
    if (code != ERROR_NONE)
        return code;
    code = window_init(&reading.window, file, path, SNAPSHOT_BLOCK_SIZE, error);
    if (code == ERROR_NONE)
        code = read_head(&reading, &head, error);
    if (code == ERROR_NONE) {
        info->last = head.last;
        if (!taker->head(taker->context, &head))
            code = damaged(&reading, 0, "the head is not acceptable", error);
    }
    if (code == ERROR_NONE)
        code = read_blocks(&reading, taker, error);
    if (code == ERROR_NONE)
        code = read_end(&reading, info, error);
    window_deinit(&reading.window);
    vfs_close(file);
    return code;
}

enum error_code snapshot_load(struct vfs *vfs, struct entry_id last,
                              const struct snapshot_taker *taker, struct snapshot_info *info,
                              struct error *error)
{
    char path[SNAPSHOT_PATH_SIZE];
    snapshot_path(last, path);
    enum error_code code = snapshot_load_file(vfs, path, taker, info, error);
    if (code == ERROR_NONE && (info->last.index != last.index || info->last.term != last.term))
        return error_set(error, ERROR_CORRUPT, "%s: offset 16: damaged: this is another snapshot",
                         path);
    return code;
}

enum error_code snapshot_read_at(struct vfs *vfs, struct entry_id last, u64 offset, u64 bytes_max,
                                 struct span *piece, struct snapshot_info *info,
                                 struct error *error)
{
    char path[SNAPSHOT_PATH_SIZE];
    struct reading reading = {.path = path};
    const u8 *end;
    struct vfs_file *file = NULL;
    *piece = (struct span){0};
    snapshot_path(last, path);
    enum error_code code = vfs_open(vfs, path, VFS_READ, &file, error);
    if (code != ERROR_NONE)
        return code;
    code = window_init(&reading.window, file, path, END_SIZE, error);
    u64 file_size = reading.window.file_size;
    if (code == ERROR_NONE && file_size < END_SIZE)
        code = damaged(&reading, 0, "the file is too short", error);
    if (code == ERROR_NONE)
        code = window_get(&reading.window, file_size - END_SIZE, END_SIZE, &end, error);
    if (code == ERROR_NONE)
        code = decode_end(&reading, end, file_size - END_SIZE, error);
    if (code == ERROR_NONE)
        *info = (struct snapshot_info){last, file_size, load_u32(end + END_SIZE - 4)};
    if (code == ERROR_NONE && offset < file_size) {
        u32 size = (u32)u64_min(u64_min(bytes_max, file_size - offset), UINT32_MAX);
        struct block *block = block_create(size);
        size_t got = 0;
        code = vfs_read_at(file, block->data, size, offset, &got, error);
        if (code == ERROR_NONE)
            *piece = span_of(block, block->data, (u32)got);
        block_release(block);
    }
    window_deinit(&reading.window);
    vfs_close(file);
    return code;
}

/* ---- receiving ---- */

struct snapshot_receiver {
    struct draft draft;
    struct snapshot_info info;
};

static void receiver_free(struct snapshot_receiver *receiver)
{
    draft_drop(&receiver->draft);
    memory_free(receiver);
}

enum error_code snapshot_receiver_create(struct vfs *vfs, const struct snapshot_info *info,
                                         struct snapshot_receiver **receiver, struct error *error)
{
    struct snapshot_receiver *made = memory_alloc_zero(1, sizeof(*made));
    made->info = *info;
    *receiver = NULL;
    if (draft_begin(&made->draft, vfs, received_path, error) != ERROR_NONE) {
        receiver_free(made);
        return error_add(error, "begin to receive a snapshot");
    }
    *receiver = made;
    return ERROR_NONE;
}

enum error_code snapshot_receiver_add(struct snapshot_receiver *receiver, const void *data,
                                      size_t size, struct error *error)
{
    struct draft *draft = &receiver->draft;
    if (size > receiver->info.size - draft->size)
        return error_set(error, ERROR_CORRUPT, "%s: more comes than the %" PRIu64 " bytes it has",
                         draft->path, receiver->info.size);
    enum error_code code = draft_write(draft, data, size, error);
    return code == ERROR_NONE ? code : error_add(error, "receive a snapshot");
}

static bool ignore_head(void *context, const struct snapshot_head *head)
{
    (void)context;
    (void)head;
    return true;
}

static bool ignore_piece(void *context, const u8 *data, size_t size)
{
    (void)context;
    (void)data;
    (void)size;
    return true;
}

enum error_code snapshot_receiver_finish(struct snapshot_receiver *receiver, struct error *error)
{
    struct draft *draft = &receiver->draft;
    const struct snapshot_info *wanted = &receiver->info;
    const struct snapshot_taker nobody = {.head = ignore_head, .piece = ignore_piece};
    struct snapshot_info info;
    enum error_code code = vfs_sync(draft->file, error);
    if (code == ERROR_NONE)
        code = snapshot_load_file(draft->vfs, draft->path, &nobody, &info, error);
    if (code == ERROR_NONE &&
        (info.last.index != wanted->last.index || info.last.term != wanted->last.term ||
         info.size != wanted->size || info.checksum != wanted->checksum))
        code = error_set(error, ERROR_CORRUPT, "%s: it is not the snapshot that was announced",
                         draft->path);
    if (code == ERROR_NONE)
        code = draft_publish(draft, wanted->last, error);
    receiver_free(receiver);
    return code == ERROR_NONE ? code : error_add(error, "finish a received snapshot");
}

void snapshot_receiver_abandon(struct snapshot_receiver *receiver)
{
    receiver_free(receiver);
}

/* ---- the directory ---- */

struct listing {
    struct entry_id *ids;
    size_t count;
    size_t capacity;
};

static void list_name(void *context, const char *name)
{
    struct listing *listing = context;
    struct entry_id id;
    if (!snapshot_name_parse(name, &id))
        return;
    if (listing->count == listing->capacity) {
        listing->capacity = listing->capacity * 2 + 8;
        listing->ids = memory_resize(listing->ids, listing->capacity * sizeof(*listing->ids));
    }
    listing->ids[listing->count++] = id;
}

static int compare_ids(const void *a, const void *b)
{
    const struct entry_id *left = a;
    const struct entry_id *right = b;
    if (left->index != right->index)
        return left->index < right->index ? -1 : 1;
    return left->term < right->term ? -1 : left->term > right->term;
}

enum error_code snapshot_list(struct vfs *vfs, struct entry_id **ids, size_t *count,
                              struct error *error)
{
    struct listing listing = {0};
    enum error_code code = vfs_list(vfs, directory, list_name, &listing, error);
    if (code == ERROR_MISSING)
        code = ERROR_NONE;
    if (code != ERROR_NONE) {
        memory_free(listing.ids);
        listing = (struct listing){0};
    }
    if (listing.count > 0)
        qsort(listing.ids, listing.count, sizeof(*listing.ids), compare_ids);
    *ids = listing.ids;
    *count = listing.count;
    return code;
}

enum error_code snapshot_disk_bytes(struct vfs *vfs, u64 *bytes, struct error *error)
{
    struct entry_id *ids;
    size_t count;
    *bytes = 0;
    enum error_code code = snapshot_list(vfs, &ids, &count, error);
    for (size_t i = 0; i < count && code == ERROR_NONE; i++) {
        char path[SNAPSHOT_PATH_SIZE];
        struct vfs_file *file = NULL;
        u64 size = 0;
        snapshot_path(ids[i], path);
        code = vfs_open(vfs, path, VFS_READ, &file, error);
        if (code == ERROR_NONE)
            code = vfs_size(file, &size, error);
        vfs_close(file);
        *bytes += size;
    }
    memory_free(ids);
    return code;
}

enum error_code snapshot_remove(struct vfs *vfs, struct entry_id last, struct error *error)
{
    char path[SNAPSHOT_PATH_SIZE];
    snapshot_path(last, path);
    enum error_code code = vfs_remove(vfs, path, error);
    return code == ERROR_NONE ? vfs_sync_directory(vfs, directory, error) : code;
}

enum error_code snapshot_clean(struct vfs *vfs, struct error *error)
{
    static const char *const paths[] = {new_path, received_path};
    for (size_t i = 0; i < ARRAY_LENGTH(paths); i++) {
        enum error_code code = vfs_remove(vfs, paths[i], error);
        if (code != ERROR_NONE && code != ERROR_MISSING)
            return code;
    }
    return ERROR_NONE;
}
