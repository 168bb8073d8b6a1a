/* history.c - see history.h. */
#include "test/history/history.h"

#include <string.h>

#include "common/memory.h"

enum { CHUNK_SIZE = 64 * 1024, TEXT_SLOTS_FIRST = 256, OPERATIONS_FIRST = 64 };

/* Texts are packed into chunks; one that is larger than a chunk gets a chunk of its own. */
struct history_chunk {
    struct history_chunk *next;
    size_t used;
    size_t size;
    _Alignas(struct text) u8 data[];
};

void history_init(struct history *history)
{
    memset(history, 0, sizeof(*history));
}

void history_deinit(struct history *history)
{
    while (history->chunks != NULL) {
        struct history_chunk *next = history->chunks->next;
        memory_free(history->chunks);
        history->chunks = next;
    }
    memory_free(history->texts);
    memory_free(history->operations);
    history_init(history);
}

static u64 bytes_hash(const u8 *data, size_t size)
{
    u64 hash = 14695981039346656037ULL; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ data[i]) * 1099511628211ULL;
    return hash ^ (hash >> 32);
}

/* The slot that holds these bytes, or the free one where they belong. */
static struct text **slot_find(const struct history *history, const u8 *data, size_t size)
{
    size_t mask = history->text_slots - 1;
    size_t i = (size_t)bytes_hash(data, size) & mask;
    while (history->texts[i] != NULL) {
        const struct text *text = history->texts[i];
        if (text->size == size && memcmp(text->data, data, size) == 0)
            break;
        i = (i + 1) & mask;
    }
    return &history->texts[i];
}

static void slots_grow(struct history *history)
{
    struct text **old = history->texts;
    size_t old_slots = history->text_slots;
    history->text_slots = old_slots == 0 ? TEXT_SLOTS_FIRST : old_slots * 2;
    history->texts = memory_alloc_zero(history->text_slots, sizeof(struct text *));
    for (size_t i = 0; i < old_slots; i++)
        if (old[i] != NULL)
            *slot_find(history, old[i]->data, old[i]->size) = old[i];
    memory_free(old);
}

static void *chunk_take(struct history *history, size_t size)
{
    size = (size + _Alignof(struct text) - 1) / _Alignof(struct text) * _Alignof(struct text);
    struct history_chunk *chunk = history->chunks;
    if (chunk == NULL || chunk->size - chunk->used < size) {
        size_t capacity = size > CHUNK_SIZE ? size : CHUNK_SIZE;
        chunk = memory_alloc(sizeof(*chunk) + capacity);
        chunk->next = history->chunks;
        chunk->used = 0;
        chunk->size = capacity;
        history->chunks = chunk;
    }
    void *taken = chunk->data + chunk->used;
    chunk->used += size;
    return taken;
}

const struct text *history_text(struct history *history, const void *data, size_t size)
{
    static const u8 nothing[1] = {0};
    const u8 *bytes = size == 0 ? nothing : data;
    ASSERT(size <= UINT32_MAX / 2);
    if ((size_t)history->text_count * 2 >= history->text_slots)
        slots_grow(history);
    struct text **slot = slot_find(history, bytes, size);
    if (*slot == NULL) {
        struct text *text = chunk_take(history, sizeof(*text) + size);
        text->id = history->text_count++;
        text->size = (u32)size;
        memcpy(text->data, bytes, size);
        *slot = text;
    }
    return *slot;
}

size_t history_add(struct history *history, const struct operation *operation)
{
    ASSERT(operation->key != NULL);
    ASSERT(operation->status != OPERATION_OK || operation->t0 <= operation->t1);
    if (history->count == history->capacity) {
        history->capacity = history->capacity == 0 ? OPERATIONS_FIRST : history->capacity * 2;
        history->operations =
            memory_resize(history->operations, history->capacity * sizeof(*history->operations));
    }
    history->operations[history->count] = *operation;
    return history->count++;
}

struct operation *history_at(struct history *history, size_t position)
{
    ASSERT(position < history->count);
    return &history->operations[position];
}

const char *operation_kind_word(enum operation_kind kind)
{
    static const char *const words[] = {
#define X(name, word) [name] = word,
        OPERATION_KINDS(X)
#undef X
    };
    ASSERT(kind < OPERATION_KIND_COUNT);
    return words[kind];
}

bool operation_only_reads(const struct operation *operation)
{
    switch (operation->kind) {
    case OPERATION_GET:
        return true;
    case OPERATION_CAS:
        return !operation->ok;
    case OPERATION_DEL:
        return !operation->found;
    case OPERATION_PUT:
    case OPERATION_APPEND:
    case OPERATION_INCR:
    case OPERATION_KIND_COUNT:
        return false;
    }
    UNREACHABLE();
}
