/* log_index.c - see log_index.h. */
#include "server/storage/log_index.h"

#include <string.h>

#include "common/check.h"
#include "common/memory.h"

#define ROW_BYTES (64 * KIB)

void log_index_init(struct log_index *index)
{
    *index = (struct log_index){0};
}

void log_index_deinit(struct log_index *index)
{
    memory_free(index->rows);
    log_index_init(index);
}

static void append_row(struct log_index *index, struct log_row row)
{
    if (index->count == index->capacity) {
        index->capacity = index->capacity == 0 ? 64 : index->capacity * 2;
        index->rows = memory_resize(index->rows, index->capacity * sizeof(row));
    }
    index->rows[index->count++] = row;
}

void log_index_add(struct log_index *index, u64 first, u32 count, u64 segment, u64 offset)
{
    ASSERT(first > 0 && count > 0 && (first <= index->last + 1 || index->count == 0));
    bool new_row = index->count == 0 || index->row_ended;
    index->row_ended = false;
    if (first <= index->last) {
        log_index_truncate(index, first - 1);
        index->row_ended = false;
        new_row = true;
    }
    if (!new_row) {
        const struct log_row *row = &index->rows[index->count - 1];
        new_row = row->segment != segment || offset - row->offset >= ROW_BYTES;
    }
    if (new_row)
        append_row(index, (struct log_row){.first = first, .segment = segment, .offset = offset});
    index->last = first + count - 1;
}

void log_index_truncate(struct log_index *index, u64 last)
{
    /* Even when nothing goes: what is between this batch and the next one may be damaged. */
    index->row_ended = true;
    if (last >= index->last)
        return;
    index->truncations++;
    while (index->count > 0 && index->rows[index->count - 1].first > last)
        index->count--;
    index->last = last;
}

void log_index_reset(struct log_index *index, u64 last)
{
    index->truncations++;
    index->count = 0;
    index->last = last;
}

void log_index_forget(struct log_index *index, u64 segment)
{
    size_t gone = 0;
    while (gone < index->count && index->rows[gone].segment < segment)
        gone++;
    index->count -= gone;
    if (gone > 0 && index->count > 0)
        memmove(index->rows, index->rows + gone, index->count * sizeof(index->rows[0]));
}

bool log_index_find(const struct log_index *index, u64 wanted, struct log_row *row, u64 *end)
{
    if (index->count == 0 || wanted < index->rows[0].first || wanted > index->last)
        return false;
    /* The last row that begins at or before `wanted` is in [low, high). */
    size_t low = 0, high = index->count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (index->rows[middle].first <= wanted)
            low = middle;
        else
            high = middle;
    }
    *row = index->rows[low];
    *end = low + 1 < index->count ? index->rows[low + 1].first : index->last + 1;
    return true;
}
