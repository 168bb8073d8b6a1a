/* log.c - see log.h. The terms of all entries are kept as runs; the records of the newest in a
 * ring of slots. The ring is indexed by the entry's index modulo its capacity. */
#include "server/rules/log.h"

#include "common/memory.h"

enum {
    CHUNK_SIZE = 256 * 1024, /* entries of a leader that share one block */
    SLOTS_MIN = 64,
    RUNS_MIN = 16
};

static struct log_slot *slot_at(const struct log *log, u64 index)
{
    return &log->slots[index & (log->slot_capacity - 1)];
}

void log_init(struct log *log, u64 memory_bytes_max)
{
    *log =
        (struct log){.memory_bytes_max = memory_bytes_max, .unsaved_index = 1, .memory_first = 1};
}

void log_deinit(struct log *log)
{
    for (u64 index = log->memory_first; index <= log->last_index; index++)
        block_release(slot_at(log, index)->block);
    memory_free(log->slots);
    memory_free(log->runs);
    block_release(log->chunk);
    *log = (struct log){0};
}

/* ---- positions and terms ---- */

/* The position in `runs` of the run that `index` belongs to. base.index < index <= last_index. */
static u32 run_of(const struct log *log, u64 index)
{
    ASSERT(index > log->base.index && index <= log->last_index);
    u32 low = 0;
    u32 high = log->run_count - 1;
    /* Nearly every question is about the newest entries. */
    if (log->runs[high].first_index <= index)
        return high;
    while (low < high) {
        u32 middle = low + (high - low + 1) / 2;
        if (log->runs[middle].first_index <= index)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

struct entry_id log_last(const struct log *log)
{
    if (log->last_index == log->base.index)
        return log->base;
    return (struct entry_id){log->runs[log->run_count - 1].term, log->last_index};
}

u64 log_term_at(const struct log *log, u64 index)
{
    if (index == log->base.index)
        return log->base.term;
    return log->runs[run_of(log, index)].term;
}

bool log_holds(const struct log *log, struct entry_id id)
{
    if (id.index < log->base.index || id.index > log->last_index)
        return false;
    return log_term_at(log, id.index) == id.term;
}

u64 log_first_index_of_term_at(const struct log *log, u64 index)
{
    return log->runs[run_of(log, index)].first_index;
}

u64 log_last_index_of_term_at_most(const struct log *log, u64 term)
{
    for (u32 run = log->run_count; run > 0; run--) {
        if (log->runs[run - 1].term <= term)
            return run == log->run_count ? log->last_index : log->runs[run].first_index - 1;
    }
    return log->base.index;
}

/* ---- growing ---- */

static void note_term(struct log *log, struct entry_id id)
{
    ASSERT(id.index == log->last_index + 1);
    ASSERT(id.term >= log_last(log).term);
    if (log->run_count == 0 || log->runs[log->run_count - 1].term != id.term) {
        if (log->run_count == log->run_capacity) {
            log->run_capacity = log->run_capacity == 0 ? RUNS_MIN : log->run_capacity * 2;
            log->runs = memory_resize(log->runs, log->run_capacity * sizeof(*log->runs));
        }
        log->runs[log->run_count++] = (struct term_run){id.index, id.term};
    }
    log->last_index = id.index;
}

static void grow_slots(struct log *log)
{
    u64 capacity = log->slot_capacity == 0 ? SLOTS_MIN : log->slot_capacity * 2;
    struct log_slot *slots = memory_alloc(capacity * sizeof(*slots));
    for (u64 index = log->memory_first; index <= log->last_index; index++)
        slots[index & (capacity - 1)] = *slot_at(log, index);
    memory_free(log->slots);
    log->slots = slots;
    log->slot_capacity = capacity;
}

/* Takes over one reference to `block`. */
static void put_record(struct log *log, struct entry_id id, struct block *block, const u8 *record,
                       u32 size)
{
    if (log->last_index + 1 - log->memory_first == log->slot_capacity)
        grow_slots(log);
    note_term(log, id);
    *slot_at(log, id.index) = (struct log_slot){block, record, size};
    log->memory_bytes += size;
}

/* A place for `size` bytes in the chunk that leaders' entries share, so that neighbours in the log
 * are neighbours in memory and go out as one piece. Bytes already given away never move. */
static u8 *chunk_place(struct log *log, u32 size)
{
    if (log->chunk == NULL || log->chunk->size - log->chunk_used < size) {
        block_release(log->chunk);
        log->chunk = block_create(size > CHUNK_SIZE ? size : CHUNK_SIZE);
        log->chunk_used = 0;
    }
    u8 *place = log->chunk->data + log->chunk_used;
    log->chunk_used += size;
    return place;
}

u64 log_append(struct log *log, const struct entry *entry, const void *more, u32 more_size)
{
    struct entry filled = *entry;
    filled.id.index = log->last_index + 1;
    filled.time_ns = u64_max(entry->time_ns, log->last_time_ns);
    filled.payload_size = entry->payload_size + more_size;
    u32 size = record_size_of(&filled);
    u8 *record = chunk_place(log, size);
    u8 *payload = record + RECORD_HEADER_SIZE;
    if (entry->payload_size > 0)
        memcpy(payload, entry->payload, entry->payload_size);
    if (more_size > 0)
        memcpy(payload + entry->payload_size, more, more_size);
    filled.payload = payload;
    record_encode(&filled, record);
    put_record(log, filled.id, block_hold(log->chunk), record, size);
    log->last_time_ns = filled.time_ns;
    return filled.id.index;
}

void log_append_record(struct log *log, struct block *block, const u8 *record, u32 size)
{
    struct entry entry;
    record_peek(record, &entry);
    put_record(log, entry.id, block_hold(block), record, size);
    log->last_time_ns = u64_max(log->last_time_ns, entry.time_ns);
}

void log_restore_entry(struct log *log, struct entry_id id)
{
    ASSERT(log->memory_first == log->last_index + 1);
    note_term(log, id);
    log->memory_first = id.index + 1;
    log->unsaved_index = id.index + 1;
    log->durable_index = id.index;
}

/* ---- shrinking ---- */

void log_truncate(struct log *log, u64 index)
{
    ASSERT(index > log->base.index);
    if (index > log->last_index)
        return;
    for (u64 i = u64_max(index, log->memory_first); i <= log->last_index; i++) {
        struct log_slot *slot = slot_at(log, i);
        log->memory_bytes -= slot->size;
        block_release(slot->block);
    }
    log->last_index = index - 1;
    log->memory_first = u64_min(log->memory_first, index);
    while (log->run_count > 0 && log->runs[log->run_count - 1].first_index >= index)
        log->run_count--;
    /* The next batch on disk begins at or before `index`, and so replaces what is gone. Until it is
     * written the disk still holds the old entries, which nobody counts any more. */
    log->unsaved_index = u64_min(log->unsaved_index, index);
    log->durable_index = u64_min(log->durable_index, index - 1);
}

static void drop_records(struct log *log, u64 through)
{
    for (; log->memory_first <= through; log->memory_first++) {
        struct log_slot *slot = slot_at(log, log->memory_first);
        log->memory_bytes -= slot->size;
        block_release(slot->block);
    }
}

void log_compact(struct log *log, u64 index)
{
    if (index <= log->base.index)
        return;
    ASSERT(index <= log->durable_index);
    struct entry_id base = {log_term_at(log, index), index};
    drop_records(log, index);
    u32 gone = 0;
    while (gone + 1 < log->run_count && log->runs[gone + 1].first_index <= index + 1)
        gone++;
    if (index == log->last_index)
        gone = log->run_count;
    log->run_count -= gone;
    memmove(log->runs, log->runs + gone, log->run_count * sizeof(*log->runs));
    if (log->run_count > 0)
        log->runs[0].first_index = u64_max(log->runs[0].first_index, index + 1);
    log->base = base;
}

void log_reset(struct log *log, struct entry_id base)
{
    drop_records(log, log->last_index);
    log->run_count = 0;
    log->base = base;
    log->last_index = base.index;
    log->durable_index = base.index;
    log->unsaved_index = base.index + 1;
    log->memory_first = base.index + 1;
}

void log_saved(struct log *log, u64 index)
{
    ASSERT(index <= log->last_index && index >= log->durable_index);
    log->durable_index = index;
    log->unsaved_index = index + 1;
}

void log_handed_over(struct log *log)
{
    log->unsaved_index = log->last_index + 1;
}

void log_synced(struct log *log, u64 index)
{
    ASSERT(index < log->unsaved_index && index >= log->durable_index);
    log->durable_index = index;
}

void log_evict(struct log *log, u64 through)
{
    through = u64_min(through, log->durable_index);
    while (log->memory_bytes > log->memory_bytes_max && log->memory_first <= through) {
        struct log_slot *slot = slot_at(log, log->memory_first);
        log->memory_bytes -= slot->size;
        block_release(slot->block);
        log->memory_first++;
    }
}

/* ---- reading ---- */

bool log_in_memory(const struct log *log, u64 index)
{
    return index >= log->memory_first && index <= log->last_index;
}

u64 log_bytes(const struct log *log, u64 first, u64 last)
{
    u64 bytes = 0;
    for (u64 index = first; index <= last; index++) {
        ASSERT(log_in_memory(log, index));
        bytes += slot_at(log, index)->size;
    }
    return bytes;
}

struct entry log_entry(const struct log *log, u64 index)
{
    ASSERT(log_in_memory(log, index));
    struct entry entry;
    record_peek(slot_at(log, index)->record, &entry);
    ASSERT(entry.id.index == index);
    return entry;
}

u32 log_slice(const struct log *log, u64 first, u64 bytes_max, struct span *spans, u32 spans_max,
              u32 *span_count)
{
    *span_count = 0;
    if (!log_in_memory(log, first))
        return 0;
    u64 bytes = 0;
    u32 count = 0;
    for (u64 index = first; index <= log->last_index; index++) {
        const struct log_slot *slot = slot_at(log, index);
        if (count > 0 && bytes + slot->size > bytes_max)
            break;
        struct span *last = *span_count > 0 ? &spans[*span_count - 1] : NULL;
        if (last != NULL && last->block == slot->block && last->data + last->size == slot->record) {
            last->size += slot->size;
        } else {
            if (*span_count == spans_max)
                break;
            spans[(*span_count)++] = span_of(slot->block, slot->record, slot->size);
        }
        bytes += slot->size;
        count++;
    }
    return count;
}
