/* snapshot.c - see snapshot.h. */
#include "server/replica/snapshot.h"

#include <inttypes.h>

#include "common/clock.h"
#include "server/server.h"

enum {
    RETRY_NS = 1000 * 1000 * 1000, /* after a snapshot that could not be written */
    LAGGING_FACTOR = 4,            /* a log of so many times snapshot-log-bytes waits for no peer */
};

/* Whoever makes a backup is expected to ask for the next piece within this time. */
#define LENT_NS (30 * NS_PER_S)

void snapshotting_init(struct server *server)
{
    struct snapshotting *self = &server->snapshotting;
    buffer_init(&self->slice);
    snapshots_init(&self->snapshots, server->world.vfs, server_slot(server), server->world.report);
}

void snapshotting_deinit(struct server *server)
{
    struct snapshotting *self = &server->snapshotting;
    struct command *command;
    snapshots_deinit(&self->snapshots);
    while ((command = command_list_take(&self->waiting)) != NULL)
        server_fail(server, command, COMMAND_STOPPING);
    if (self->going_on)
        server->machine->ops->snapshot_end(server->machine);
    self->going_on = false;
    buffer_deinit(&self->slice);
}

void snapshotting_note(struct server *server, u64 bytes)
{
    server->snapshotting.log_bytes += bytes;
}

void snapshotting_note_read(struct server *server, struct leadership *leadership,
                            const struct entries_read *read)
{
    const struct progress *progress = leadership_peer(leadership, read->peer);
    if (progress == NULL || !replicate_awaits(progress, read->order))
        return;
    if (read->count == 0 && !read->put_off && server->raft.snapshot.last.index < read->first)
        server->snapshotting.wanted = true;
}

/* ---- taking ---- */

bool snapshotting_is_going_on(const struct server *server)
{
    return server->snapshotting.going_on || server->snapshotting.ending;
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
    return raft->last_applied != raft->snapshot.last.index || raft->snapshot_spoilt;
}

static bool is_due(struct server *server)
{
    const struct snapshotting *self = &server->snapshotting;
    const struct raft *raft = &server->raft;
    if (snapshotting_is_going_on(server) || !can_take(server) || !has_news(raft) ||
        !configuration_is_applied(raft))
        return false;
    u64 enough = u64_max(server->options.snapshot_log_bytes,
                         raft->snapshot.size / 100 * server->options.snapshot_ratio_percent);
    if (!self->wanted && !raft->snapshot_spoilt && self->log_bytes < enough)
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
    struct snapshotting *self = &server->snapshotting;
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
    if (!snapshots_begin(&self->snapshots, self->order, &head)) {
        snapshotting_taken(server, self->order, false);
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
    struct snapshotting *self = &server->snapshotting;
    const struct machine_ops *ops = server->machine->ops;
    if (snapshots_take_room(&self->snapshots) < SNAPSHOT_SLICE_BYTES)
        return; /* SNAPSHOT_PROGRESS will wake this thread */
    buffer_clear(&self->slice);
    bool more = ops->snapshot_next(server->machine, SNAPSHOT_SLICE_BYTES, &self->slice);
    /* Even when this piece is empty: what comes back wakes this thread for the next. */
    if (more || self->slice.size > 0)
        snapshots_put(&self->snapshots, self->slice.data, self->slice.size);
    self->handed_bytes += self->slice.size;
    if (more)
        return;
    ops->snapshot_end(server->machine);
    self->going_on = false;
    self->ending = true;
    snapshots_end(&self->snapshots);
}

void snapshotting_work(struct server *server)
{
    if (is_due(server))
        begin(server);
    if (server->snapshotting.going_on)
        hand_over_slice(server);
    const struct machine_ops *ops = server->machine->ops;
    if (ops->tidy != NULL)
        (void)ops->tidy(server->machine);
}

static void answer_waiting(struct server *server)
{
    struct command *command;
    while ((command = command_list_take(&server->snapshotting.waiting)) != NULL) {
        buffer_clear(&server->answer);
        buffer_append_format(&server->answer, ":%" PRIu64 "\r\n", server->raft.snapshot.last.index);
        server_answer(server, command, server->answer.data, server->answer.size);
    }
}

void snapshotting_taken(struct server *server, u64 order, bool success)
{
    struct snapshotting *self = &server->snapshotting;
    if (order != self->order)
        return;
    self->order = 0;
    self->ending = false;
    if (success) {
        self->taken++;
        self->took_ns = clock_monotonic_ns() - self->begun_ns;
        self->taken_ns = self->begun_ns + self->took_ns;
        self->remove_due = true;
        answer_waiting(server);
        return;
    }
    if (self->going_on) {
        server->machine->ops->snapshot_end(server->machine);
        snapshots_give_up(&self->snapshots);
    }
    self->going_on = false;
    self->failed++;
    self->log_bytes = u64_max(self->log_bytes, server->options.snapshot_log_bytes);
    self->retry_ns = clock_monotonic_ns() + RETRY_NS;
    struct command *command;
    while ((command = command_list_take(&self->waiting)) != NULL)
        server_fail(server, command, COMMAND_NO_SNAPSHOT);
}

void snapshotting_ask(struct server *server, struct command *command)
{
    struct snapshotting *self = &server->snapshotting;
    if (!can_take(server)) {
        server_fail(server, command, COMMAND_NO_SNAPSHOT);
        return;
    }
    command_list_put(&self->waiting, command);
    if (snapshotting_is_going_on(server))
        return;
    if (!has_news(&server->raft)) {
        answer_waiting(server);
        return;
    }
    /* Who asks does so now: perhaps what was in the way has been removed. */
    self->wanted = true;
    self->retry_ns = 0;
}

void snapshotting_lend(struct server *server, struct command *command)
{
    struct snapshotting *self = &server->snapshotting;
    self->lent = command_backup_order(command).last;
    self->lent_until_ns = clock_monotonic_ns() + LENT_NS;
    fetcher_order_backup(&server->fetcher, command);
}

/* ---- installing ---- */

bool snapshotting_take_piece(struct server *server, const struct message *request)
{
    const struct install_request *install = &request->as.install_request;
    const struct machine *machine = server->machine;
    if (machine->ops->create_empty == NULL)
        return false;
    bool is_last = install->offset + message_payload_size(request) == install->size;
    struct machine *empty = is_last ? machine->ops->create_empty(machine) : NULL;
    return snapshots_receive(&server->snapshotting.snapshots, server->raft.incoming.order, request,
                             empty);
}

struct machine *snapshotting_received(struct server *server, struct snapshot_point *point)
{
    struct machine *machine = snapshots_received(&server->snapshotting.snapshots, point);
    server->snapshotting.received += machine != NULL;
    return machine;
}

/* Puts the machine in place of the present one, at once with what the rules have just noted of it.
 * A snapshot that was being taken of the one that goes is older than the one that comes. */
static void swap_machine(struct server *server, struct machine *machine)
{
    struct snapshotting *self = &server->snapshotting;
    struct machine *before = server->machine;
    self->installed++;
    bool gives_up = self->going_on;
    server->machine = machine;
    self->going_on = false;
    self->log_bytes = 0;
    self->remove_due = true;
    if (gives_up) {
        before->ops->snapshot_end(before);
        snapshots_give_up(&self->snapshots);
        self->order = 0;
    }
    if (machine->ops->replace != NULL)
        machine->ops->replace(machine, before);
    else
        snapshots_destroy_machine(&self->snapshots, before);
}

bool snapshotting_install(struct server *server, enum installed installed,
                          const struct snapshot_point *point, struct machine *machine)
{
    if (installed == INSTALLED_OLD) {
        snapshots_destroy_machine(&server->snapshotting.snapshots, machine);
        return true;
    }
    swap_machine(server, machine);
    if (installed == INSTALLED_RESETS_LOG &&
        storage_reset(server->storage, point->name.last, &server->failure) != ERROR_NONE) {
        REPORT(server->world.report, REPORT_ERROR, "server", "stopping: %s", server->failure.text);
        return false;
    }
    REPORT(server->world.report, REPORT_INFO, "server",
           "installed the snapshot of entry %" PRIu64 " of term %" PRIu64, point->name.last.index,
           point->name.last.term);
    answer_waiting(server);
    return true;
}

/* ---- figures ---- */

const struct snapshot_syncs *snapshotting_syncs(struct server *server)
{
    struct snapshotting *self = &server->snapshotting;
    snapshots_fetch_syncs(&self->snapshots, &self->syncs);
    return &self->syncs;
}

void snapshotting_reset_syncs(struct server *server)
{
    (void)snapshotting_syncs(server);
    server->snapshotting.syncs = (struct snapshot_syncs){0};
}

/* ---- compaction ---- */

struct compaction_limits snapshotting_limits(const struct server *server)
{
    const struct server_options *options = &server->options;
    u64 enough = u64_max(options->snapshot_log_bytes,
                         server->raft.snapshot.size / 100 * options->snapshot_ratio_percent);
    return (struct compaction_limits){options->trailing_entries, enough * LAGGING_FACTOR};
}

u64 snapshotting_log_bytes(struct server *server)
{
    struct storage_status status;
    storage_status(server->storage, &status);
    return status.log_bytes;
}

void snapshotting_compact(struct server *server, u64 index)
{
    storage_compact(server->storage, index + 1);
}

void snapshotting_remove_old(struct server *server, const struct leadership *leadership)
{
    struct snapshotting *self = &server->snapshotting;
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
    if (count < SERVERS_MAX && clock_monotonic_ns() < self->lent_until_ns)
        used[count++] = self->lent;
    snapshots_remove_old(&self->snapshots, server->raft.log.base.index, used, count);
}
