/* fuzz_directory.c - a whole data directory, opened as a server does at start (storage/storage.h).
 * An input is an image of it. Whatever is in it: it is refused, or what comes out of it is sound,
 * comes out of it again, also when the power fails during a start, and the log goes on behind
 * it. */
#include "server/machine/kv.h"
#include "server/storage/snapshot.h"
#include "server/storage/storage.h"

#include "common/crc32c.h"
#include "common/memory.h"
#include "common/rng.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/fuzz_image.h"
#include "test/fuzz/fuzz_repair_storage.h"

enum { SEGMENT_BYTES = 8192, CHANGES_OF_A_START = 40 };

/* What a start finds. */
struct start {
    struct machine *machine;
    struct snapshot_head head;
    u64 applied_digest; /* of the machine with the snapshot in it */
    struct storage_recovery recovery;
    struct storage *storage;
    struct entry_id before; /* the last one handed out */
    u32 log_crc;            /* over all records handed out */
    u32 count;
    bool began;
};

static void forget(struct start *start)
{
    start->machine->ops->destroy(start->machine);
    start->machine = kv_create();
}

static bool take_snapshot(void *context, const struct snapshot_head *head)
{
    struct start *start = context;
    forget(start);
    start->head = *head;
    return true;
}

static bool take_piece(void *context, const u8 *data, size_t size)
{
    struct start *start = context;
    return start->machine->ops->restore(start->machine, data, size);
}

static bool end_snapshot(void *context)
{
    struct start *start = context;
    return start->machine->ops->restore_end(start->machine);
}

static void no_snapshot(void *context)
{
    forget(context);
}

/* The recovery is filled in before the first entry comes, and each entry is valid and follows on.
 */
static void take_entry(void *context, const struct entry *entry, const u8 *record, u32 size)
{
    struct start *start = context;
    struct entry decoded;
    if (!start->began)
        start->before = start->recovery.base;
    start->began = true;
    ASSERT(record_decode(record, size, &decoded) == size);
    ASSERT(decoded.id.index == entry->id.index && decoded.id.term == entry->id.term);
    ASSERT(entry->id.index == start->before.index + 1 && entry->id.term >= start->before.term);
    start->before = entry->id;
    start->log_crc = start->log_crc * 31 + load_u32(record);
    start->count++;
}

static enum error_code open_start(struct memory_vfs *memory, struct start *start)
{
    const struct storage_options options = {.segment_bytes = SEGMENT_BYTES, .start_id = 5};
    const struct storage_loader loader = {take_snapshot, take_piece, end_snapshot,
                                          no_snapshot,   take_entry, start};
    struct report report;
    struct error error;
    fuzz_report_init(&report);
    memory->locked = false; /* the process before has ended */
    *start = (struct start){.machine = kv_create()};
    enum error_code code = storage_open(&memory->vfs, &options, &report, &loader, &start->recovery,
                                        &start->storage, &error);
    start->applied_digest = start->machine->ops->digest(start->machine);
    start->machine->ops->destroy(start->machine);
    if (code != ERROR_NONE)
        ASSERT(start->storage == NULL && error.text[0] != '\0');
    return code;
}

static void check_start(const struct start *start)
{
    const struct storage_recovery *recovery = &start->recovery;
    ASSERT(recovery->last.index - recovery->base.index == start->count);
    ASSERT(start->count == 0 || (start->before.index == recovery->last.index &&
                                 start->before.term == recovery->last.term));
    ASSERT(recovery->base.index <= recovery->snapshot.last.index);
    ASSERT(recovery->commit_hint <= recovery->last.index);
    ASSERT(recovery->metadata.self != SERVER_NONE && recovery->met_count <= KNOWN_PEERS_MAX);
}

/* An entry behind the last one. */
static void append(struct start *start)
{
    u8 bytes[RECORD_HEADER_SIZE + 4] = {0};
    struct entry_id id = {u64_max(start->recovery.last.term, 1), start->recovery.last.index + 1};
    struct entry entry = {.id = id,
                          .type = ENTRY_COMMAND,
                          .version = ENTRY_VERSION,
                          .payload = bytes + RECORD_HEADER_SIZE,
                          .payload_size = 4};
    record_encode(&entry, bytes);
    struct block *block = block_create_copy(bytes, sizeof(bytes));
    struct span span = span_of(block, block->data, block->size);
    struct error error;
    block_release(block);
    ASSERT(storage_append(start->storage, &span, 1, id.index, 1, id, 0, &error) == ERROR_NONE);
    span_release(&span);
    start->log_crc = start->log_crc * 31 + load_u32(bytes);
    start->count++;
    start->recovery.last = id;
}

/* Both starts have found the same, and nothing that was promised at one is forgotten at the other.
 */
static void check_same(const struct start *before, const struct start *after)
{
    const struct metadata *then = &before->recovery.metadata, *now = &after->recovery.metadata;
    ASSERT(after->recovery.last.index == before->recovery.last.index);
    ASSERT(after->recovery.last.term == before->recovery.last.term);
    ASSERT(after->applied_digest == before->applied_digest);
    ASSERT(after->recovery.base.index != before->recovery.base.index ||
           after->log_crc == before->log_crc);
    /* A start that has lost entries leaves its term; if it comes to an end there, the next does. */
    ASSERT(now->current_term > then->current_term ||
           (now->current_term == then->current_term && now->voted_for == then->voted_for));
    ASSERT(entry_id_is_up_to_date(now->acked_through, then->acked_through));
}

/* The next start of the same directory. */
static void check_again(struct memory_vfs *memory, const struct start *before)
{
    struct start again = {0};
    ASSERT(open_start(memory, &again) == ERROR_NONE);
    check_start(&again);
    check_same(before, &again);
    const struct metadata *now = &again.recovery.metadata, *then = &before->recovery.metadata;
    ASSERT(again.recovery.torn_bytes == 0);
    ASSERT(now->start_count == then->start_count + 1 && now->starts[1] == then->starts[0]);
    ASSERT(now->current_term == then->current_term);
    storage_close(again.storage);
}

static bool keep_some(void *context, const char *name, u64 offset)
{
    (void)name, (void)offset;
    return rng_chance(context, 1, 2);
}

/* The power fails at a change of the start, and of what was not synced some is kept: the next start
 * finds what one without the power cut has found, `whole`. */
static void check_power_cut(struct memory_vfs *memory, const struct start *whole, struct rng *rng)
{
    struct memory_vfs *before = memory_copy(memory);
    struct start cut = {0}, after = {0};
    memory_fault_after(before, rng_range(rng, 1, CHANGES_OF_A_START), MEMORY_POWER_CUT, ERROR_IO);
    if (open_start(before, &cut) == ERROR_NONE)
        storage_close(cut.storage);
    struct memory_vfs *image = memory_crash(before, keep_some, rng, rng_chance(rng, 1, 2));
    ASSERT(open_start(image, &after) == ERROR_NONE);
    check_start(&after);
    check_same(whole, &after);
    storage_close(after.storage);
    memory_destroy(image);
    memory_destroy(before);
}

static void run(const u8 *data, size_t size)
{
    struct memory_vfs *memory = image_open(data, size);
    struct memory_vfs *copy = memory_copy(memory);
    struct start start = {0};
    struct rng rng;
    rng_init(&rng, crc32c(0, data, size));
    if (open_start(memory, &start) == ERROR_NONE) {
        check_start(&start);
        storage_close(start.storage);
        check_power_cut(copy, &start, &rng);
        check_again(memory, &start);
        struct start writing = {0};
        ASSERT(open_start(memory, &writing) == ERROR_NONE);
        if (writing.recovery.last.index < UINT64_MAX >> 2)
            append(&writing);
        storage_close(writing.storage);
        check_again(memory, &writing);
    } else {
        ASSERT(open_start(memory, &start) != ERROR_NONE);
    }
    memory_destroy(memory);
    memory_destroy(copy);
}

static size_t repair(u8 *data, size_t size, size_t capacity, u32 choice)
{
    return image_repair(data, size, capacity, choice, repair_storage_file);
}

const struct fuzz_target fuzz_directory = {.name = "directory",
                                           .input_max = 16384,
                                           .run = run,
                                           .repair = repair,
                                           .memory_base = 8 * 1024 * 1024,
                                           .memory_each = 64 * 1024};
