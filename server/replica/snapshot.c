/* snapshot.c - see snapshot.h. */
#include "server/replica/snapshot.h"

#include <inttypes.h>

#include "common/clock.h"
#include "server/replica/answers.h"

enum {
    RETRY_NS = 1000 * 1000 * 1000, /* after a snapshot that could not be written */
};

/* Whoever makes a backup is expected to ask for the next piece within this time. */
#define PINNED_NS (30 * NS_PER_S)

void server_snapshot_init(struct server *server, struct mail_slot *slot)
{
    struct server_snapshot *self = &server->snapshot;
    buffer_init(&self->slice);
    snapshot_thread_init(&self->thread, server->world.vfs, slot, server->world.report);
}

void server_snapshot_deinit(struct server *server)
{
    struct server_snapshot *self = &server->snapshot;
    struct command *command;
    snapshot_thread_deinit(&self->thread);
    while ((command = command_list_take(&self->waiting)) != NULL)
        server_fail(server, command, COMMAND_STOPPING);
    if (self->going_on)
        server->machine->ops->snapshot_end(server->machine);
    self->going_on = false;
    buffer_deinit(&self->slice);
}

void server_snapshot_note(struct server *server, u64 bytes)
{
    server->snapshot.log_bytes += bytes;
}

void server_snapshot_note_read(struct server *server, struct leadership *leadership,
                               const struct entries_read *read)
{
    const struct progress *progress = leadership_peer(leadership, read->peer);
    if (progress == NULL || !replicate_awaits(progress, read->order))
        return;
    if (read->count == 0 && !read->put_off && server->raft.snapshot.last.index < read->first)
        server->snapshot.wanted = true;
}

/* ---- taking ---- */

bool server_snapshot_is_going_on(const struct server *server)
{
    return server->snapshot.going_on || server->snapshot.ending;
}

static bool can_take(const struct server *server)
{
    return server->machine->ops->snapshot_begin != NULL;
}

/* The configuration of a snapshot is the one in force at its last entry. */
static bool configuration_is_applied(const struct raft *raft)
{
    return raft->configuration.index <= raft->last_applied;
}

/* Whether a snapshot taken now would be worth more than the one that is there. */
static bool has_news(const struct raft *raft)
{
    return raft->last_applied != raft->snapshot.last.index || raft->snapshot_unusable;
}

static bool is_due(struct server *server)
{
    const struct server_snapshot *self = &server->snapshot;
    const struct raft *raft = &server->raft;
    if (server_snapshot_is_going_on(server) || !can_take(server) || !has_news(raft) ||
        !configuration_is_applied(raft))
        return false;
    u64 enough = u64_max(server->options.snapshot_log_bytes,
                         raft->snapshot.size / 100 * server->options.snapshot_ratio_percent);
    if (!self->wanted && !raft->snapshot_unusable && self->log_bytes < enough)
        return false;
    u64 now_ns = clock_monotonic_ns();
    /* A disk that spoils one snapshot may spoil the next as soon as it is taken. */
    if (!self->wanted && self->log_bytes < enough && self->taken_ns != 0 &&
        now_ns < self->taken_ns + RETRY_NS)
        return false;
    return self->retry_ns == 0 || now_ns >= self->retry_ns;
}

static void begin(struct server *server)
{
    struct server_snapshot *self = &server->snapshot;
    const struct raft *raft = &server->raft;
    struct snapshot_head head = {
        .last = {log_term_at(&raft->log, raft->last_applied), raft->last_applied},
        .time_ns = raft->log.last_time_ns,
        .configuration = raft->configuration,
    };
    memcpy(head.cluster_id, server->metadata.cluster_id, sizeof(head.cluster_id));
    self->wanted = false;
    self->retry_ns = 0;
    self->log_bytes = 0;
    self->order = raft_order(&server->raft);
    if (!snapshot_thread_begin(&self->thread, self->order, &head)) {
        server_snapshot_taken(server, self->order, false);
        server_flush_answers(server); /* this pile's have gone out already */
        return;
    }
    server->machine->ops->snapshot_begin(server->machine);
    self->going_on = true;
    self->begun_ns = clock_monotonic_ns();
    self->handed_bytes = 0;
}

static void hand_over_slice(struct server *server)
{
    struct server_snapshot *self = &server->snapshot;
    const struct machine_ops *ops = server->machine->ops;
    if (snapshot_thread_take_room(&self->thread) < SNAPSHOT_SLICE_BYTES)
        return; /* SNAPSHOT_PROGRESS will wake this thread */
    buffer_clear(&self->slice);
    bool more = ops->snapshot_next(server->machine, SNAPSHOT_SLICE_BYTES, &self->slice);
    /* Even when this piece is empty: what comes back wakes this thread for the next. */
    if (more || self->slice.size > 0)
        snapshot_thread_put(&self->thread, self->slice.data, self->slice.size);
    self->handed_bytes += self->slice.size;
    if (more)
        return;
    ops->snapshot_end(server->machine);
    self->going_on = false;
    self->ending = true;
    snapshot_thread_end(&self->thread);
}

void server_snapshot_work(struct server *server)
{
    if (is_due(server))
        begin(server);
    if (server->snapshot.going_on)
        hand_over_slice(server);
    const struct machine_ops *ops = server->machine->ops;
    if (ops->tidy != NULL)
        (void)ops->tidy(server->machine);
}

void server_snapshot_answer_waiting(struct server *server)
{
    struct command *command;
    while ((command = command_list_take(&server->snapshot.waiting)) != NULL) {
        buffer_clear(&server->answer);
        buffer_append_format(&server->answer, ":%" PRIu64 "\r\n", server->raft.snapshot.last.index);
        server_answer(server, command, server->answer.data, server->answer.size);
    }
}

void server_snapshot_taken(struct server *server, u64 order, bool success)
{
    struct server_snapshot *self = &server->snapshot;
    if (order != self->order)
        return;
    self->order = 0;
    self->ending = false;
    if (success) {
        self->taken++;
        self->took_ns = clock_monotonic_ns() - self->begun_ns;
        self->taken_ns = self->begun_ns + self->took_ns;
        self->remove_due = true;
        server_snapshot_answer_waiting(server);
        return;
    }
    if (self->going_on) {
        server->machine->ops->snapshot_end(server->machine);
        snapshot_thread_give_up(&self->thread);
    }
    self->going_on = false;
    self->failed++;
    self->log_bytes = u64_max(self->log_bytes, server->options.snapshot_log_bytes);
    self->retry_ns = clock_monotonic_ns() + RETRY_NS;
    struct command *command;
    while ((command = command_list_take(&self->waiting)) != NULL)
        server_fail(server, command, COMMAND_NO_SNAPSHOT);
}

void server_snapshot_ask(struct server *server, struct command *command)
{
    struct server_snapshot *self = &server->snapshot;
    if (!can_take(server)) {
        server_fail(server, command, COMMAND_NO_SNAPSHOT);
        return;
    }
    command_list_put(&self->waiting, command);
    if (server_snapshot_is_going_on(server))
        return;
    if (!has_news(&server->raft)) {
        server_snapshot_answer_waiting(server);
        return;
    }
    /* Who asks does so now: perhaps what was in the way has been removed. */
    self->wanted = true;
    self->retry_ns = 0;
}

void server_snapshot_pin(struct server *server, struct command *command)
{
    struct server_snapshot *self = &server->snapshot;
    self->pinned = command_backup_order(command).last;
    self->pinned_until_ns = clock_monotonic_ns() + PINNED_NS;
    fetcher_order_backup(&server->fetcher, command);
}

/* ---- figures ---- */

const struct snapshot_syncs *server_snapshot_syncs(struct server *server)
{
    struct server_snapshot *self = &server->snapshot;
    snapshot_thread_fetch_syncs(&self->thread, &self->syncs);
    return &self->syncs;
}

void server_snapshot_reset_syncs(struct server *server)
{
    (void)server_snapshot_syncs(server);
    server->snapshot.syncs = (struct snapshot_syncs){0};
}
