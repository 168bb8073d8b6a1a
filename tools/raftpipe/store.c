/* store.c - the door to a disk that is a pipe: server/storage/storage.h, where to be synced means
 * to have been written to standard output as a D frame.
 *
 * The `state` of a D frame is that of state.h. Its `snapshot` is the application's own bytes.
 *
 * Linked before the rooms, so that the real storage stays out. */
#include "common/clock.h"
#include "common/memory.h"
#include "server/storage/snapshot.h"
#include "tools/raftpipe/pipe.h"
#include "tools/raftpipe/state.h"

struct storage {
    struct pipe *pipe;
    struct metadata metadata; /* the server's thread */
    struct mutex lock;        /* a leaf */

    /* Guarded by lock. */
    struct entry_id base; /* the entry before records[0] */
    struct span *records; /* one an entry */
    u32 count;
    u32 capacity;
    struct span snapshot;         /* what the application has of everything through base */
    struct entry_id offered_last; /* {0, 0}: nothing is */
    struct span offered;
};

/* ---- what goes out ---- */

static struct span copy_of(const u8 *data, u32 size)
{
    struct block *block = block_create_copy(data, size);
    struct span span = span_of(block, block->data, size);
    block_release(block);
    return span;
}

/* The D frame of everything as it is now. */
static void persist(struct storage *storage)
{
    u8 head[PIPE_STATE_HEAD_SIZE];
    u8 state_size[4];
    u8 snapshot_size[4];
    mutex_lock(&storage->lock);
    const struct pipe_state state = {.start_count = storage->metadata.start_count,
                                     .current_term = storage->metadata.current_term,
                                     .voted_for = storage->metadata.voted_for,
                                     .base = storage->base,
                                     .count = storage->count};
    pipe_state_write_head(&state, head);
    struct iovec *pieces = memory_alloc((storage->count + 4) * sizeof(*pieces));
    u64 size = PIPE_STATE_HEAD_SIZE;
    int used = 0;
    pieces[used++] = (struct iovec){state_size, sizeof(state_size)};
    pieces[used++] = (struct iovec){head, sizeof(head)};
    for (u32 i = 0; i < storage->count; i++) {
        const struct span *record = &storage->records[i];
        pieces[used++] = (struct iovec){(void *)(uintptr_t)record->data, record->size};
        size += record->size;
    }
    store_u32(state_size, (u32)size);
    store_u32(snapshot_size, storage->snapshot.size);
    pieces[used++] = (struct iovec){snapshot_size, sizeof(snapshot_size)};
    pieces[used++] =
        (struct iovec){(void *)(uintptr_t)storage->snapshot.data, storage->snapshot.size};
    pipe_say(storage->pipe, 'D', pieces, used);
    memory_free(pieces);
    mutex_unlock(&storage->lock);
}

/* ---- the log. Locks: the storage's is held ---- */

static u64 last_index(const struct storage *storage)
{
    return storage->base.index + storage->count;
}

static void put_record(struct storage *storage, struct span record)
{
    if (storage->count == storage->capacity) {
        storage->capacity = storage->capacity * 2 + 64;
        storage->records =
            memory_resize(storage->records, storage->capacity * sizeof(storage->records[0]));
    }
    storage->records[storage->count++] = record;
}

static void truncate_from(struct storage *storage, u64 first)
{
    while (last_index(storage) >= first && storage->count > 0)
        span_release(&storage->records[--storage->count]);
}

static void drop_front(struct storage *storage, u32 count)
{
    if (count == 0)
        return; /* there may be no table yet */
    for (u32 i = 0; i < count; i++)
        span_release(&storage->records[i]);
    storage->count -= count;
    memmove(storage->records, storage->records + count,
            storage->count * sizeof(storage->records[0]));
}

static struct entry_id id_at(const struct storage *storage, u64 index)
{
    struct entry entry;
    if (index == storage->base.index)
        return storage->base;
    (void)record_peek(storage->records[index - storage->base.index - 1].data, &entry);
    return entry.id;
}

static void take_offered(struct storage *storage)
{
    span_release(&storage->snapshot);
    storage->snapshot = storage->offered;
    storage->offered = (struct span){0};
    storage->offered_last = (struct entry_id){0, 0};
}

bool pipe_store_term(struct storage *storage, u64 index, u64 *term)
{
    mutex_lock(&storage->lock);
    bool known = index > storage->base.index && index <= last_index(storage);
    if (known)
        *term = id_at(storage, index).term;
    mutex_unlock(&storage->lock);
    return known;
}

void pipe_store_offer(struct storage *storage, struct entry_id last, const u8 *data, u32 size)
{
    mutex_lock(&storage->lock);
    span_release(&storage->offered);
    storage->offered = copy_of(data, size);
    storage->offered_last = last;
    mutex_unlock(&storage->lock);
}

/* ---- opening ---- */

static void take_state(struct storage *storage, const struct pipe_state *state)
{
    storage->metadata.start_count = state->start_count;
    storage->metadata.current_term = state->current_term;
    storage->metadata.voted_for = state->voted_for;
    storage->base = state->base;
    for (u32 at = 0; at < state->records_size;) {
        struct entry entry;
        u32 record_size = record_peek(state->records + at, &entry);
        put_record(storage, copy_of(state->records + at, record_size));
        at += record_size;
    }
}

/* The first start: entry 1 is the configuration, as on any server. */
static void begin_log(struct storage *storage)
{
    struct pipe *pipe = storage->pipe;
    storage->metadata.current_term = 1; /* what the codec takes for a term */
    if (pipe->no_noop)
        return;
    struct buffer payload;
    buffer_init(&payload);
    configuration_encode(&pipe->configuration, &payload);
    struct entry entry = {.id = {.term = 1, .index = 1},
                          .type = ENTRY_CONFIGURATION,
                          .version = ENTRY_VERSION,
                          .payload = payload.data,
                          .payload_size = (u32)payload.size};
    struct block *block = block_create(record_size_of(&entry));
    record_encode(&entry, block->data);
    put_record(storage, span_of(block, block->data, block->size));
    block_release(block);
    buffer_deinit(&payload);
}

/* The snapshot as a file, for followers that need it. */
static enum error_code write_file(struct storage *storage, struct entry_id last, const u8 *data,
                                  u32 size, struct snapshot_info *info, struct error *error)
{
    struct pipe *pipe = storage->pipe;
    struct snapshot_head head = {.last = last, .configuration = pipe->configuration};
    memcpy(head.cluster_id, storage->metadata.cluster_id, CLUSTER_ID_SIZE);
    struct snapshot_writer *writer = NULL;
    enum error_code code = snapshot_writer_create(&pipe->files, &head, &writer, error);
    if (code != ERROR_NONE)
        return code;
    code = snapshot_writer_add(writer, data, size, error);
    if (code != ERROR_NONE) {
        snapshot_writer_abandon(writer);
        return code;
    }
    return snapshot_writer_finish(writer, info, error);
}

static enum error_code load_snapshot(struct storage *storage, const struct storage_loader *loader,
                                     struct snapshot_info *info, struct error *error)
{
    const struct pipe *pipe = storage->pipe;
    struct snapshot_head head = {.last = storage->base, .configuration = pipe->configuration};
    storage->snapshot = copy_of(pipe->snapshot, pipe->snapshot_size);
    enum error_code code =
        write_file(storage, storage->base, pipe->snapshot, pipe->snapshot_size, info, error);
    if (code == ERROR_NONE &&
        (!loader->snapshot(loader->context, &head) ||
         !loader->piece(loader->context, pipe->snapshot, pipe->snapshot_size) ||
         !loader->snapshot_end(loader->context)))
        code = error_set(error, ERROR_FORMAT, "the snapshot in the I frame cannot be used");
    return code;
}

static void deliver(struct storage *storage, const struct storage_loader *loader)
{
    for (u32 i = 0; i < storage->count; i++) {
        struct entry entry;
        const struct span *record = &storage->records[i];
        (void)record_peek(record->data, &entry);
        loader->each(loader->context, &entry, record->data, record->size);
    }
}

enum error_code storage_open(struct vfs *vfs, const struct storage_options *options,
                             struct report *report, const struct storage_loader *loader,
                             struct storage_recovery *recovery, struct storage **storage,
                             struct error *error)
{
    (void)options;
    (void)report;
    struct pipe *pipe = pipe_of_vfs(vfs);
    struct storage *made = memory_alloc_zero(1, sizeof(*made));
    made->pipe = pipe;
    mutex_init(&made->lock);
    made->metadata =
        (struct metadata){.cluster_id = "raftpipe", .self = pipe->self, .directory_id = pipe->self};
    *recovery = (struct storage_recovery){0};
    enum error_code code = ERROR_NONE;
    if (pipe->has_state)
        take_state(made, &pipe->state);
    else
        begin_log(made);
    if (made->base.index > 0)
        code = load_snapshot(made, loader, &recovery->snapshot, error);
    if (code != ERROR_NONE) {
        storage_close(made);
        return code;
    }
    made->metadata.start_count++;
    recovery->metadata = made->metadata;
    recovery->base = made->base;
    recovery->last = id_at(made, last_index(made));
    /* Everybody's first entry is the same. */
    recovery->commit_hint = made->base.index == 0 && !pipe->no_noop ? 1 : made->base.index;
    deliver(made, loader);
    persist(made);
    pipe->storage = made;
    *storage = made;
    return ERROR_NONE;
}

void storage_close(struct storage *storage)
{
    if (storage == NULL)
        return;
    drop_front(storage, storage->count);
    span_release(&storage->snapshot);
    span_release(&storage->offered);
    memory_free(storage->records);
    mutex_deinit(&storage->lock);
    memory_free(storage);
}

/* ---- saving ---- */

enum error_code storage_save_metadata(struct storage *storage, u64 current_term,
                                      server_id voted_for, struct error *error)
{
    (void)error;
    storage->metadata.current_term = current_term;
    storage->metadata.voted_for = voted_for;
    persist(storage);
    return ERROR_NONE;
}

enum error_code storage_append(struct storage *storage, const struct span *spans, u32 span_count,
                               u64 first, u32 count, struct entry_id last, u64 commit_hint,
                               struct error *error)
{
    (void)last;
    (void)commit_hint;
    (void)error;
    if (count == 0)
        return ERROR_NONE;
    mutex_lock(&storage->lock);
    ASSERT(first > storage->base.index && first <= last_index(storage) + 1);
    truncate_from(storage, first);
    for (u32 i = 0; i < span_count; i++) {
        for (u32 at = 0; at < spans[i].size;) {
            struct entry entry;
            u32 size = record_peek(spans[i].data + at, &entry);
            put_record(storage, span_of(spans[i].block, spans[i].data + at, size));
            at += size;
        }
    }
    mutex_unlock(&storage->lock);
    persist(storage);
    return ERROR_NONE;
}

enum error_code storage_reset(struct storage *storage, struct entry_id base, struct error *error)
{
    (void)error;
    mutex_lock(&storage->lock);
    drop_front(storage, storage->count);
    storage->base = base;
    take_offered(storage);
    mutex_unlock(&storage->lock);
    persist(storage);
    return ERROR_NONE;
}

void storage_compact(struct storage *storage, u64 first_needed)
{
    mutex_lock(&storage->lock);
    bool covers = storage->offered_last.index != 0 && storage->offered_last.index < first_needed &&
                  storage->offered_last.index > storage->base.index;
    if (covers) {
        struct entry_id last = storage->offered_last;
        drop_front(storage, (u32)(last.index - storage->base.index));
        storage->base = last;
        take_offered(storage);
    }
    mutex_unlock(&storage->lock);
    if (covers)
        persist(storage);
}

/* A pipe loses nothing, and nobody's disk is ever mistaken for another's. */
enum error_code storage_save_acked_through(struct storage *storage, struct entry_id promised,
                                           struct error *error)
{
    (void)error;
    storage->metadata.acked_through = promised;
    return ERROR_NONE;
}

enum error_code storage_save_own(struct storage *storage, const struct identity *own,
                                 u64 current_term, server_id voted_for, struct error *error)
{
    (void)storage;
    (void)own;
    (void)current_term;
    (void)voted_for;
    return error_set(error, ERROR_MISMATCH, "a server of a pipe is always a voter");
}

enum error_code storage_save_known_peers(struct storage *storage,
                                         const struct known_peer *known_peers, u32 count,
                                         struct error *error)
{
    (void)storage;
    (void)known_peers;
    (void)count;
    (void)error;
    return ERROR_NONE;
}

/* ---- the rest ---- */

struct vfs *storage_vfs(struct storage *storage)
{
    return &storage->pipe->files;
}

enum error_code storage_check(struct storage *storage, struct error *error)
{
    (void)storage;
    (void)error;
    return ERROR_NONE;
}

u64 storage_room(struct storage *storage)
{
    (void)storage;
    return UINT64_MAX / 2;
}

u64 storage_room_soon(struct storage *storage)
{
    return storage_room(storage);
}

enum error_code storage_read(struct storage *storage, u64 first, u64 bytes_max, u32 *count,
                             struct span *records, struct error *error)
{
    struct buffer bytes;
    buffer_init(&bytes);
    *count = 0;
    *records = (struct span){0};
    mutex_lock(&storage->lock);
    for (u64 index = first; index > storage->base.index && index <= last_index(storage); index++) {
        const struct span *record = &storage->records[index - storage->base.index - 1];
        if (*count > 0 && bytes.size + record->size > bytes_max)
            break;
        buffer_append(&bytes, record->data, record->size);
        ++*count;
    }
    mutex_unlock(&storage->lock);
    if (*count > 0)
        *records = copy_of(bytes.data, (u32)bytes.size);
    buffer_deinit(&bytes);
    return *count > 0 ? ERROR_NONE
                      : error_set(error, ERROR_MISSING, "the log has no entry %llu",
                                  (unsigned long long)first);
}

void storage_status(struct storage *storage, struct storage_status *status)
{
    *status = (struct storage_status){0};
    mutex_lock(&storage->lock);
    /* Never nothing: a log that waits for a peer is larger than any bound. */
    status->log_bytes = storage->count + 1;
    status->first_index = storage->base.index + 1;
    mutex_unlock(&storage->lock);
}

/* A pipe's other end answers for its disk; there is nothing to measure here. */
const struct storage_timing *storage_timing(const struct storage *storage)
{
    (void)storage;
    static const struct storage_timing nothing;
    return &nothing;
}

void storage_reset_timing(struct storage *storage)
{
    (void)storage;
}

void storage_set_liveness(struct storage *storage, struct liveness *liveness)
{
    (void)storage;
    (void)liveness;
}

void storage_set_slow_sync(struct storage *storage, u64 limit_ns)
{
    (void)storage;
    (void)limit_ns;
}
