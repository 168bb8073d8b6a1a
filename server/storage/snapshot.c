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
 *        8    4  crc32c of bytes 12 .. 127
 *       12    4  format version, 1
 *       16    8  index of the last entry that the state includes, 1 and up
 *       24    8  term of that entry, 1 and up
 *       32    8  time of that entry in ns; no entry behind it has an earlier one
 *       40    8  index of the entry that the configuration came in, 1 and up, at most the last's
 *       48   64  cluster id, NUL-terminated and filled up with NULs
 *      112    4  size of the configuration, at most 65,536
 *      116    4  crc32c of the configuration
 *      120    8  zero
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
 * these whether a piece belongs to what they have. It would not, if the other checksums stood
 * behind what they are of: a CRC goes on from bytes that their own CRC follows as from any others
 * of that length, so that nothing of them would be left in it. Hence each stands in front.
 *
 * Writing. The file is made as `new.tmp`, or `received.tmp` when it comes from a leader; synced;
 * renamed; and the directory is synced (snapshot_draft.h). A crash before the rename leaves a file
 * without a name of its own, which snapshot_clean removes. */
#include "server/storage/snapshot.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/crc32c.h"
#include "common/memory.h"
#include "server/storage/snapshot_draft.h"
#include "server/storage/snapshot_scan.h"

static const char directory[] = SNAPSHOT_DIRECTORY;
static const char new_path[] = "snapshots/new.tmp";
static const char received_path[] = "snapshots/received.tmp";

enum {
    DIGITS = 20,
    PIECE_SIZE_MAX = 1024 * 1024 /* read at once */
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

/* ---- writing ---- */

struct snapshot_writer {
    struct snapshot_draft draft;
    struct entry_id last;
    u64 state_bytes;
    struct buffer block; /* head and data of the block that is being filled */
};

static enum error_code write_head(struct snapshot_writer *writer, const struct snapshot_head *head,
                                  struct error *error)
{
    u8 bytes[SNAPSHOT_HEAD_SIZE];
    struct buffer configuration;
    buffer_init(&configuration);
    configuration_encode(&head->configuration, &configuration);
    ASSERT(configuration.size <= SNAPSHOT_CONFIGURATION_MAX);
    snapshot_head_encode(head, &configuration, bytes);
    enum error_code code = snapshot_draft_write(&writer->draft, bytes, SNAPSHOT_HEAD_SIZE, error);
    if (code == ERROR_NONE)
        code = snapshot_draft_write(&writer->draft, configuration.data, configuration.size, error);
    buffer_deinit(&configuration);
    return code;
}

static void begin_block(struct snapshot_writer *writer)
{
    buffer_clear(&writer->block);
    buffer_reserve(&writer->block, SNAPSHOT_BLOCK_HEAD_SIZE + SNAPSHOT_BLOCK_SIZE);
    writer->block.size = SNAPSHOT_BLOCK_HEAD_SIZE;
}

static enum error_code end_block(struct snapshot_writer *writer, struct error *error)
{
    struct buffer *block = &writer->block;
    u32 size = (u32)block->size - SNAPSHOT_BLOCK_HEAD_SIZE;
    if (size == 0)
        return ERROR_NONE;
    store_u32(block->data, size);
    store_u32(block->data + 4, crc32c(0, block->data + SNAPSHOT_BLOCK_HEAD_SIZE, size));
    writer->state_bytes += size;
    enum error_code code = snapshot_draft_write(&writer->draft, block->data, block->size, error);
    begin_block(writer);
    return code;
}

static void writer_free(struct snapshot_writer *writer)
{
    snapshot_draft_drop(&writer->draft);
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
    enum error_code code = snapshot_draft_begin(&made->draft, vfs, new_path, error);
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
        size_t fits = SNAPSHOT_BLOCK_HEAD_SIZE + SNAPSHOT_BLOCK_SIZE - writer->block.size;
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
    u8 end[SNAPSHOT_END_SIZE];
    struct snapshot_draft *draft = &writer->draft;
    *info = (struct snapshot_info){.last = writer->last};
    enum error_code code = end_block(writer, error);
    if (code == ERROR_NONE) {
        info->checksum = snapshot_end_encode(writer->state_bytes, draft->size, draft->crc, end);
        code = snapshot_draft_write(draft, end, SNAPSHOT_END_SIZE, error);
    }
    if (code == ERROR_NONE)
        code = snapshot_draft_sync(draft, error);
    if (code == ERROR_NONE)
        code = snapshot_draft_publish(draft, writer->last, error);
    info->size = draft->size;
    writer_free(writer);
    return code == ERROR_NONE ? code : error_add(error, "finish a snapshot");
}

void snapshot_writer_measure(struct snapshot_writer *writer, struct histogram *syncs)
{
    writer->draft.syncs = syncs;
}

void snapshot_writer_abandon(struct snapshot_writer *writer)
{
    writer_free(writer);
}

/* ---- reading ---- */

enum error_code snapshot_load_file(struct vfs *vfs, const char *path,
                                   const struct snapshot_taker *taker, struct snapshot_info *info,
                                   struct error *error)
{
    struct snapshot_scan scan;
    enum snapshot_found found = SNAPSHOT_BLOCK;
    enum error_code code = snapshot_scan_open(&scan, vfs, path, error);
    if (code == ERROR_NONE && !taker->head(taker->context, &scan.head))
        code = error_set(error, ERROR_CORRUPT, "%s: offset 0: damaged: the head is not acceptable",
                         path);
    while (code == ERROR_NONE && found == SNAPSHOT_BLOCK) {
        code = snapshot_scan_next(&scan, &found, error);
        if (code != ERROR_NONE)
            break;
        switch (found) {
        case SNAPSHOT_BLOCK:
            if (!taker->piece(taker->context, scan.data, scan.size))
                code = error_set(error, ERROR_CORRUPT,
                                 "%s: offset %" PRIu64 ": damaged: a block whose data make no "
                                 "sense to the machine",
                                 path, scan.offset);
            break;
        case SNAPSHOT_END:
            *info = scan.info;
            break;
        case SNAPSHOT_DAMAGED:
            code = snapshot_scan_refuse(&scan, error);
            break;
        }
    }
    snapshot_scan_close(&scan);
    return code;
}

/* A taker that asks for one entry's snapshot before another gets to see anything. */
struct named_taker {
    const struct snapshot_taker *taker;
    struct entry_id wanted;
    bool other; /* it was another's */
};

static bool named_head(void *context, const struct snapshot_head *head)
{
    struct named_taker *named = context;
    named->other = head->last.index != named->wanted.index || head->last.term != named->wanted.term;
    return !named->other && named->taker->head(named->taker->context, head);
}

static bool named_piece(void *context, const u8 *data, size_t size)
{
    struct named_taker *named = context;
    return named->taker->piece(named->taker->context, data, size);
}

enum error_code snapshot_load(struct vfs *vfs, struct entry_id last,
                              const struct snapshot_taker *taker, struct snapshot_info *info,
                              struct error *error)
{
    char path[SNAPSHOT_PATH_SIZE];
    struct named_taker named = {.taker = taker, .wanted = last};
    const struct snapshot_taker guard = {named_head, named_piece, &named};
    snapshot_path(last, path);
    enum error_code code = snapshot_load_file(vfs, path, &guard, info, error);
    if (named.other)
        code = error_set(error, ERROR_CORRUPT,
                         "%s: offset 16: damaged: it is another snapshot than its name says", path);
    return code;
}

enum error_code snapshot_read_at(struct vfs *vfs, struct entry_id last, u64 offset, u64 bytes_max,
                                 struct span *piece, struct snapshot_info *info,
                                 struct error *error)
{
    char path[SNAPSHOT_PATH_SIZE];
    struct vfs_file *file = NULL;
    *piece = (struct span){0};
    *info = (struct snapshot_info){.last = last};
    snapshot_path(last, path);
    enum error_code code = vfs_open(vfs, path, VFS_READ, &file, error);
    if (code == ERROR_NONE)
        code = snapshot_scan_peek_end(file, path, info, error);
    if (code == ERROR_NONE && offset < info->size) {
        u64 size = u64_min(u64_min(bytes_max, PIECE_SIZE_MAX), info->size - offset);
        struct block *block = block_create((u32)size);
        size_t got = 0;
        code = vfs_read_at(file, block->data, block->size, offset, &got, error);
        if (code == ERROR_NONE)
            *piece = span_of(block, block->data, (u32)got);
        block_release(block);
    }
    vfs_close(file);
    return code;
}

/* ---- receiving ---- */

struct snapshot_receiver {
    struct snapshot_draft draft;
    struct snapshot_info info;
};

static void receiver_free(struct snapshot_receiver *receiver)
{
    snapshot_draft_drop(&receiver->draft);
    memory_free(receiver);
}

enum error_code snapshot_receiver_create(struct vfs *vfs, const struct snapshot_info *info,
                                         struct snapshot_receiver **receiver, struct error *error)
{
    struct snapshot_receiver *made = memory_alloc_zero(1, sizeof(*made));
    made->info = *info;
    *receiver = NULL;
    if (snapshot_draft_begin(&made->draft, vfs, received_path, error) != ERROR_NONE) {
        receiver_free(made);
        return error_add(error, "begin to receive a snapshot");
    }
    *receiver = made;
    return ERROR_NONE;
}

enum error_code snapshot_receiver_add(struct snapshot_receiver *receiver, const void *data,
                                      size_t size, struct error *error)
{
    struct snapshot_draft *draft = &receiver->draft;
    if (size > receiver->info.size - draft->size)
        return error_set(error, ERROR_CORRUPT, "%s: more comes than the %" PRIu64 " bytes it has",
                         draft->path, receiver->info.size);
    enum error_code code = snapshot_draft_write(draft, data, size, error);
    return code == ERROR_NONE ? code : error_add(error, "receive a snapshot");
}

enum error_code snapshot_receiver_finish(struct snapshot_receiver *receiver,
                                         const struct snapshot_taker *taker, struct error *error)
{
    struct snapshot_draft *draft = &receiver->draft;
    const struct snapshot_info *wanted = &receiver->info;
    struct snapshot_info info;
    enum error_code code = snapshot_draft_sync(draft, error);
    if (code == ERROR_NONE)
        code = snapshot_load_file(draft->vfs, draft->path, taker, &info, error);
    if (code == ERROR_NONE &&
        (info.last.index != wanted->last.index || info.last.term != wanted->last.term ||
         info.size != wanted->size || info.checksum != wanted->checksum))
        code = error_set(error, ERROR_CORRUPT, "%s: it is not the snapshot that was announced",
                         draft->path);
    if (code == ERROR_NONE)
        code = snapshot_draft_publish(draft, wanted->last, error);
    receiver_free(receiver);
    return code == ERROR_NONE ? code : error_add(error, "finish a received snapshot");
}

void snapshot_receiver_measure(struct snapshot_receiver *receiver, struct histogram *syncs)
{
    receiver->draft.syncs = syncs;
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
    code = error_forgive(error, code, ERROR_MISSING);
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
        code = error_forgive(error, code, ERROR_MISSING);
        if (code != ERROR_NONE)
            return code;
    }
    return ERROR_NONE;
}
