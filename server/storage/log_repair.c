/* log_repair.c - see log_repair.h. */
#include "server/storage/log_repair.h"

void rebuild_init(struct rebuild *rebuild, struct log_index *index)
{
    *rebuild = (struct rebuild){.index = index};
}

/* Nothing is certain from `first` on; nor behind a gap before it, which only nonsense can claim. */
static void lose_from(struct rebuild *rebuild, u64 first)
{
    first = u64_min(first, rebuild->index->last + 1);
    if (first <= rebuild->base.index) {
        /* Even the base is replaced by what is lost. */
        rebuild->base = (struct entry_id){0, 0};
        rebuild->base_is_there = false;
        log_index_reset(rebuild->index, 0);
        first = 1;
    }
    log_index_truncate(rebuild->index, first - 1);
    if (rebuild->damaged_first == 0 || first < rebuild->damaged_first)
        rebuild->damaged_first = first;
}

void rebuild_lose_unknown(struct rebuild *rebuild)
{
    rebuild->last_unknown = true;
    u64 certain = u64_max(rebuild->commit_hint, rebuild->base.index);
    if (rebuild->sequence == 0)
        certain = 0;
    if (rebuild->damaged_first == 0 || certain + 1 < rebuild->damaged_first)
        lose_from(rebuild, certain + 1);
}

/* What any batch tells whose header is known. */
static void note(struct rebuild *rebuild, const struct batch *batch)
{
    rebuild->last = batch_last(batch);
    rebuild->last_unknown = false;
    rebuild->sequence = batch->sequence;
    rebuild->commit_hint = u64_max(rebuild->commit_hint, batch->commit_hint);
}

static void check_sequence(struct rebuild *rebuild, const struct batch *batch)
{
    if (rebuild->sequence != 0 && batch->sequence != rebuild->sequence + 1)
        rebuild_lose_unknown(rebuild);
}

/* A batch without records; its header is all of it. */
static void take_mark(struct rebuild *rebuild, const struct batch *batch)
{
    struct entry_id before = batch_last(batch);
    /* What the oldest batch that is left keeps is gone with older segments. */
    bool keeps = batch->records_crc == BATCH_END && before.index >= rebuild->base.index &&
                 rebuild->sequence != 0;
    if (!keeps) {
        log_index_reset(rebuild->index, before.index);
        rebuild->base = before;
        rebuild->base_is_there = false;
        rebuild->damaged_first = 0;
        return;
    }
    log_index_truncate(rebuild->index, before.index);
    if (before.index < rebuild->damaged_first)
        rebuild->damaged_first = 0;
}

void rebuild_lose(struct rebuild *rebuild, const struct batch *batch)
{
    check_sequence(rebuild, batch);
    if (batch->count == 0) {
        take_mark(rebuild, batch);
    } else if (rebuild->sequence == 0) {
        /* The oldest batch that is left: its entries are gone as those before it are. */
        rebuild->base = batch_last(batch);
        rebuild->damaged_first = 0;
        log_index_reset(rebuild->index, rebuild->base.index);
    } else {
        lose_from(rebuild, batch->first);
    }
    note(rebuild, batch);
}

void rebuild_take(struct rebuild *rebuild, const struct batch *batch, struct entry_id first_record,
                  u64 segment, u64 offset)
{
    bool is_first = rebuild->sequence == 0;
    check_sequence(rebuild, batch);
    if (batch->count == 0) {
        take_mark(rebuild, batch);
        note(rebuild, batch);
        return;
    }
    if ((is_first && batch->first > 1) || batch->first <= rebuild->base.index) {
        /* What was before it is gone with older segments, or replaced by it. */
        rebuild->base = first_record;
        rebuild->base_is_there = true;
        rebuild->damaged_first = 0;
        log_index_reset(rebuild->index, batch->first - 1);
    } else if (batch->first > rebuild->index->last + 1 && rebuild->damaged_first == 0) {
        rebuild_lose_unknown(rebuild);
    }
    if (batch->first <= rebuild->damaged_first)
        rebuild->damaged_first = 0;
    if (rebuild->damaged_first == 0)
        log_index_add(rebuild->index, batch->first, batch->count, segment, offset);
    note(rebuild, batch);
}
