/* log_repair.h - what the log is, worked out from its batches in the order in which they were
 * written, though some of them may be lost. Pure: no disk.
 *
 * Why this forgets no promise and invents no entry. Call *certain* an index whose entry is known to
 * be the one that the log held when the newest known batch had been written.
 *
 *   - While no batch is lost, all live entries are certain: each batch is a step from one log to
 *     the next.
 *   - A lost batch of which header or trailer survives says what it replaced: the entries from its
 *     first on. What is before stays certain, and the ids of what it held are known.
 *   - A lost batch of which nothing survives may have replaced anything, but what was committed,
 *     since that is never replaced. So what is at or before the last commit hint stays certain.
 *   - A later batch that replaces everything from the first uncertain index on, or the whole log,
 *     ends the uncertainty: nothing of what was lost is live any more.
 *
 * So at the end the entries before `damaged_first` are the log's true beginning, and `last` is the
 * id of the last entry that it had: what this server may have acknowledged reaches no further than
 * that, and a vote that goes by it keeps every such promise (raft.h: acked_through). When even that
 * id is lost, every entry that it may have had is of a term at most the current one.
 *
 * It is all the same whether bytes have changed or cannot be read at all: either way a batch is
 * lost if its checksums do not vouch for it, and nothing is ever concluded from what the bytes are
 * now, only from batches that are whole, and from zeros that were read (segment.c: torn).
 *
 * A server cuts its log at `damaged_first`, in a new segment, after it has saved the promise; so
 * each later start meets the same damage (recovery.c sees to it that no power cut takes it away),
 * and then the batch that ended it. If it finds more damage than before, what it had cut may become
 * uncertain again, and it cuts further back. */
#ifndef MAILRAFT_STORAGE_LOG_REPAIR_H
#define MAILRAFT_STORAGE_LOG_REPAIR_H

#include "server/storage/log_index.h"
#include "server/storage/segment.h"

struct rebuild {
    struct log_index *index; /* the certain entries: base + 1 .. damaged_first - 1, or all */
    struct entry_id base;    /* the entry before the first live one */
    bool base_is_there;      /* its record is: it is the first of the oldest segment left */
    struct entry_id last;    /* of the newest batch known: how far the log had come */
    bool last_unknown;       /* it may have come further, nobody knows how far */
    u64 commit_hint;         /* highest seen */
    u64 sequence;            /* of the newest batch known; 0: there is none */
    u64 damaged_first;       /* the first uncertain index; 0: the log is whole */
};

void rebuild_init(struct rebuild *rebuild, struct log_index *index);

/* A valid batch is at this place. `first_record`: the id of its first record, if it has any. When
 * its number is not the next one, batches are lost before it. */
void rebuild_take(struct rebuild *rebuild, const struct batch *batch, struct entry_id first_record,
                  u64 segment, u64 offset);

/* A batch is lost but for its header or trailer. */
void rebuild_lose(struct rebuild *rebuild, const struct batch *batch);

/* Batches behind the newest one known are lost, nobody knows how many; or none is: what follows
 * tells. */
void rebuild_lose_unknown(struct rebuild *rebuild);

#endif
