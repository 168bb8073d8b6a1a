/* liveness.c - see liveness.h. */
#include "common/liveness.h"

#include <inttypes.h>

#define LIVENESS_STATUS_NS NS_PER_S

void liveness_init(struct liveness *liveness)
{
    *liveness = (struct liveness){.round_ns = 0};
    mutex_init(&liveness->lock);
    buffer_init(&liveness->status);
}

void liveness_deinit(struct liveness *liveness)
{
    buffer_deinit(&liveness->status);
    mutex_deinit(&liveness->lock);
}

static void put(_Atomic u64 *to, u64 ns)
{
    atomic_store_explicit(to, ns, memory_order_relaxed);
}

void liveness_begin_round(struct liveness *liveness, u64 began_ns)
{
    put(&liveness->round_ns, began_ns);
}

void liveness_end_round(struct liveness *liveness)
{
    put(&liveness->round_ns, 0);
}

void liveness_begin_wait(struct liveness *liveness, u64 now_ns)
{
    if (liveness != NULL)
        put(&liveness->disk_ns, now_ns);
}

void liveness_end_wait(struct liveness *liveness)
{
    if (liveness != NULL)
        put(&liveness->disk_ns, 0);
}

bool liveness_wants_status(const struct liveness *liveness, u64 now_ns)
{
    /* Only this thread writes status_ns. */
    return atomic_load_explicit(&liveness->watched, memory_order_relaxed) &&
           (liveness->status_due || liveness->status_ns == 0 ||
            now_ns >= liveness->status_ns + LIVENESS_STATUS_NS);
}

void liveness_outdate_status(struct liveness *liveness)
{
    liveness->status_due = true;
}

void liveness_put_status(struct liveness *liveness, const struct buffer *status, u64 now_ns)
{
    mutex_lock(&liveness->lock);
    buffer_clear(&liveness->status);
    buffer_append(&liveness->status, status->data, status->size);
    liveness->status_ns = now_ns;
    liveness->status_due = false;
    mutex_unlock(&liveness->lock);
}

u64 liveness_stalled_ns(const struct liveness *liveness)
{
    return liveness != NULL ? atomic_load_explicit(&liveness->stalled_ns, memory_order_relaxed) : 0;
}

void liveness_describe_stall(struct liveness *liveness, u64 now_ns, struct buffer *to)
{
    u64 since_ns = liveness_stalled_ns(liveness);
    bool on_disk = atomic_load_explicit(&liveness->on_disk, memory_order_relaxed);
    u64 lasts_ns = since_ns != 0 && now_ns > since_ns ? now_ns - since_ns : 0;
    mutex_lock(&liveness->lock);
    u64 age_ns = now_ns > liveness->status_ns ? now_ns - liveness->status_ns : 0;
    /* Less than a millisecond is a stall, too. */
    buffer_append_format(
        to,
        "raft_stalled_ms:%" PRIu64 "\r\nraft_stalled_on:%s\r\nraft_status_age_ms:%" PRIu64 "\r\n",
        u64_max(lasts_ns / NS_PER_MS, 1), on_disk ? "disk" : "work", age_ns / NS_PER_MS);
    buffer_append(to, liveness->status.data, liveness->status.size);
    mutex_unlock(&liveness->lock);
}
