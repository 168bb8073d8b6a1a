/* fuzz_snapshot.c - a snapshot's file: loaded, received in pieces, shown, read raw, and written
 * again (storage/snapshot.h). Of an input the first byte says how it arrives in pieces. */
#include "server/storage/snapshot.h"

#include "common/rng.h"
#include "server/storage/snapshot_scan.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/fuzz_repair_storage.h"
#include "test/unit/memory_vfs.h"

static const char path[] = "snapshots/any";

/* What a taker got. */
struct taken {
    struct snapshot_head head;
    struct buffer state;
};

static bool take_head(void *context, const struct snapshot_head *head)
{
    struct taken *taken = context;
    taken->head = *head;
    buffer_clear(&taken->state);
    return true;
}

static bool take_piece(void *context, const u8 *data, size_t size)
{
    struct taken *taken = context;
    ASSERT(size > 0 && size <= SNAPSHOT_BLOCK_SIZE);
    buffer_append(&taken->state, data, size);
    return true;
}

static enum error_code load(struct memory_vfs *memory, const char *name, struct taken *taken,
                            struct snapshot_info *info)
{
    const struct snapshot_taker taker = {take_head, take_piece, taken};
    struct error error;
    return snapshot_load_file(&memory->vfs, name, &taker, info, &error);
}

static void check_same(const struct taken *a, const struct taken *b)
{
    ASSERT(a->head.last.index == b->head.last.index && a->head.last.term == b->head.last.term);
    ASSERT(a->head.time_ns == b->head.time_ns);
    ASSERT(strcmp(a->head.cluster_id, b->head.cluster_id) == 0);
    ASSERT(memcmp(&a->head.configuration, &b->head.configuration, sizeof(struct configuration)) ==
           0);
    ASSERT(a->state.size == b->state.size &&
           (a->state.size == 0 || memcmp(a->state.data, b->state.data, a->state.size) == 0));
}

/* ---- shown ---- */

static void note_damage(void *context, const struct snapshot_scan *scan)
{
    u32 *damages = context;
    ASSERT(scan->why != NULL && scan->offset <= scan->window.file_size);
    ++*damages;
}

/* All damage is found, and none that is not there. */
static void check_shown(struct memory_vfs *memory, bool loaded)
{
    struct snapshot_scan scan;
    struct error error;
    u32 damages = 0;
    bool ended;
    ASSERT(snapshot_scan_all(&scan, &memory->vfs, path, note_damage, &damages, &ended, &error) ==
           ERROR_NONE);
    ASSERT(loaded ? ended && damages == 0 : damages > 0);
    snapshot_scan_close(&scan);
}

/* ---- received ---- */

/* It becomes a snapshot if and only if it can be loaded, whatever pieces it comes in. */
static void check_received(struct memory_vfs *memory, const u8 *data, size_t size, struct rng *rng,
                           const struct snapshot_info *info, const struct taken *loaded)
{
    struct snapshot_receiver *receiver;
    struct snapshot_info announced = {{1, 1}, size, 0}, found;
    struct error error;
    struct taken taken = {0};
    const struct snapshot_taker taker = {take_head, take_piece, &taken};
    if (loaded != NULL)
        announced = *info;
    ASSERT(snapshot_receiver_create(&memory->vfs, &announced, &receiver, &error) == ERROR_NONE);
    for (size_t at = 0, piece; at < size; at += piece) {
        piece = (size_t)u64_min(size - at, rng_range(rng, 1, 300));
        ASSERT(snapshot_receiver_add(receiver, data + at, piece, &error) == ERROR_NONE);
    }
    ASSERT(snapshot_receiver_add(receiver, data, 1, &error) == ERROR_CORRUPT);
    buffer_init(&taken.state);
    enum error_code code = snapshot_receiver_finish(receiver, &taker, &error);
    ASSERT((code == ERROR_NONE) == (loaded != NULL));
    if (loaded != NULL) {
        check_same(&taken, loaded);
        ASSERT(snapshot_load(&memory->vfs, info->last, &taker, &found, &error) == ERROR_NONE);
        check_same(&taken, loaded);
        ASSERT(found.checksum == info->checksum && found.size == info->size);
    }
    buffer_deinit(&taken.state);
}

/* What a leader sends of it is the file. */
static void check_read(struct memory_vfs *memory, const u8 *data, size_t size, struct rng *rng,
                       const struct snapshot_info *info)
{
    struct error error;
    struct snapshot_info found;
    struct span piece;
    for (u64 at = 0;;) {
        ASSERT(snapshot_read_at(&memory->vfs, info->last, at, rng_range(rng, 1, 1000), &piece,
                                &found, &error) == ERROR_NONE);
        ASSERT(found.size == size && found.checksum == info->checksum);
        if (piece.size == 0) {
            ASSERT(at == size);
            return;
        }
        ASSERT(at + piece.size <= size && memcmp(piece.data, data + at, piece.size) == 0);
        at += piece.size;
        span_release(&piece);
    }
}

/* ---- written again ---- */

static void check_written(const struct taken *loaded, struct rng *rng)
{
    struct memory_vfs *memory = memory_create();
    struct snapshot_writer *writer;
    struct snapshot_info info, found;
    struct error error;
    struct taken taken = {0};
    const struct snapshot_taker taker = {take_head, take_piece, &taken};
    ASSERT(snapshot_writer_create(&memory->vfs, &loaded->head, &writer, &error) == ERROR_NONE);
    for (size_t at = 0, piece; at < loaded->state.size; at += piece) {
        piece = (size_t)u64_min(loaded->state.size - at, rng_range(rng, 1, 300));
        ASSERT(snapshot_writer_add(writer, loaded->state.data + at, piece, &error) == ERROR_NONE);
    }
    ASSERT(snapshot_writer_finish(writer, &info, &error) == ERROR_NONE);
    buffer_init(&taken.state);
    ASSERT(snapshot_load(&memory->vfs, loaded->head.last, &taker, &found, &error) == ERROR_NONE);
    check_same(&taken, loaded);
    ASSERT(found.size == info.size && found.checksum == info.checksum);
    buffer_deinit(&taken.state);
    memory_destroy(memory);
}

static void write_file(struct memory_vfs *memory, const u8 *data, size_t size)
{
    struct vfs_file *file;
    struct error error;
    struct iovec piece = {.iov_base = (u8 *)(uintptr_t)data, .iov_len = size};
    ASSERT(vfs_make_directory(&memory->vfs, "snapshots", &error) == ERROR_NONE);
    ASSERT(vfs_open(&memory->vfs, path, VFS_CREATE, &file, &error) == ERROR_NONE);
    ASSERT(vfs_write_at(file, &piece, 1, 0, &error) == ERROR_NONE);
    vfs_close(file);
}

static void run(const u8 *data, size_t size)
{
    struct memory_vfs *memory = memory_create();
    struct taken loaded = {0};
    struct snapshot_info info = {0};
    struct rng rng;
    rng_init(&rng, fuzz_take_byte(&data, &size));
    buffer_init(&loaded.state);
    write_file(memory, data, size);
    enum error_code code = load(memory, path, &loaded, &info);
    check_shown(memory, code == ERROR_NONE);
    check_received(memory, data, size, &rng, &info, code == ERROR_NONE ? &loaded : NULL);
    if (code == ERROR_NONE) {
        ASSERT(info.size == size && info.last.index == loaded.head.last.index);
        check_read(memory, data, size, &rng, &info);
        check_written(&loaded, &rng);
    }
    buffer_deinit(&loaded.state);
    memory_destroy(memory);
}

static size_t repair(u8 *data, size_t size, size_t capacity, u32 choice)
{
    (void)capacity;
    if (size > 1)
        repair_snapshot(data + 1, size - 1, choice);
    return size;
}

/* Writers and readers have a block each. */
const struct fuzz_target fuzz_snapshot = {.name = "snapshot",
                                          .input_max = 4096,
                                          .run = run,
                                          .repair = repair,
                                          .memory_base = 8 * (SNAPSHOT_BLOCK_SIZE + 4096),
                                          .memory_each = 16};
