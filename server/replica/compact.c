/* compact.c - see compact.h. */
#include "server/replica/compact.h"

#include "common/clock.h"

enum {
    LAGGING_FACTOR = 4 /* a log of so many times snapshot-log-bytes waits for no peer */
};

struct compaction_limits server_snapshot_limits(const struct server *server)
{
    const struct server_options *options = &server->options;
    u64 enough = u64_max(options->snapshot_log_bytes,
                         server->raft.snapshot.size / 100 * options->snapshot_ratio_percent);
    return (struct compaction_limits){options->trailing_entries, enough * LAGGING_FACTOR};
}

u64 server_snapshot_log_bytes(struct server *server)
{
    struct storage_status status;
    storage_status(server->storage, &status);
    return status.log_bytes;
}

void server_snapshot_compact(struct server *server, u64 index)
{
    storage_compact(server->storage, index + 1);
}

void server_snapshot_remove_old(struct server *server, const struct leadership *leadership)
{
    struct server_snapshot *self = &server->snapshot;
    struct entry_id used[SERVERS_MAX];
    u32 count = 0;
    if (!self->remove_due || self->going_on)
        return;
    self->remove_due = false;
    for (u32 position = 0; leadership != NULL && position < leadership->count; position++) {
        const struct progress *progress = &leadership->peers[position];
        if (install_uses(leadership, progress->snapshot.last))
            used[count++] = progress->snapshot.last;
    }
    if (count < SERVERS_MAX && clock_monotonic_ns() < self->pinned_until_ns)
        used[count++] = self->pinned;
    snapshot_thread_remove_old(&self->thread, server->raft.log.base.index, used, count);
}

/* §7: what a snapshot stands for, and nobody is about to be sent, the log may forget. */
void server_compact(struct server *server, const struct leadership *leadership)
{
    struct raft *raft = &server->raft;
    struct compaction_limits limits = server_snapshot_limits(server);
    if (raft->snapshot.last.index <= raft->log.base.index + limits.trailing_entries)
        return;
    u64 index = compaction_index(raft, leadership, &limits, server_snapshot_log_bytes(server),
                                 clock_monotonic_ns());
    if (index == 0)
        return;
    log_compact(&raft->log, index);
    server_snapshot_compact(server, index);
}
