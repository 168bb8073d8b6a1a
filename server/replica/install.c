/* install.c - see install.h. */
#include "server/replica/install.h"

#include <inttypes.h>

#include "server/replica/events.h"
#include "server/replica/snapshot.h"

bool server_write_piece(struct server *server, const struct message *request)
{
    const struct install_request *install = &request->as.install_request;
    const struct machine *machine = server->machine;
    if (machine->ops->create_empty == NULL)
        return false;
    bool is_last = install->offset + message_payload_size(request) == install->size;
    struct machine *empty = is_last ? machine->ops->create_empty(machine) : NULL;
    return snapshot_thread_receive(&server->snapshot.thread, server->raft.incoming.order, request,
                                   empty);
}

struct machine *server_fetch_machine(struct server *server, struct snapshot_point *point)
{
    struct machine *machine = snapshot_thread_received(&server->snapshot.thread, point);
    server->snapshot.received += machine != NULL;
    return machine;
}

/* Puts the machine in place of the present one, at once with what the rules have just noted of it.
 * A snapshot that was being taken of the one that goes is older than the one that comes. */
static void swap_machine(struct server *server, struct machine *machine)
{
    struct server_snapshot *self = &server->snapshot;
    struct machine *before = server->machine;
    self->installed++;
    bool gives_up = self->going_on;
    server->machine = machine;
    self->going_on = false;
    self->log_bytes = 0;
    self->remove_due = true;
    if (gives_up) {
        before->ops->snapshot_end(before);
        snapshot_thread_give_up(&self->thread);
        self->order = 0;
    }
    if (machine->ops->replace != NULL)
        machine->ops->replace(machine, before);
    else
        snapshot_thread_destroy_machine(&self->thread, before);
}

bool server_swap_state(struct server *server, enum installed installed,
                       const struct snapshot_point *point, struct machine *machine)
{
    if (installed == INSTALLED_OLD) {
        snapshot_thread_destroy_machine(&server->snapshot.thread, machine);
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
    server_snapshot_answer_waiting(server);
    return true;
}

bool server_take_piece(struct server *server, const struct message *request, u64 now_ns,
                       const char **why)
{
    struct raft *raft = &server->raft;
    struct snapshot_thread *snapshots = &server->snapshot.thread;
    struct message reply;
    enum install_verdict verdict;
    if (!install_receive_chunk(raft, request, snapshot_thread_receive_room(snapshots),
                               snapshot_thread_no_space(snapshots), now_ns, &reply, &verdict, why))
        return false;
    if (verdict == INSTALL_TAKE && !server_write_piece(server, request))
        install_failed(raft, raft->incoming.order);
    server_put(server, &reply);
    return true;
}

static void install_received(struct server *server)
{
    struct snapshot_point point;
    struct machine *machine = server_fetch_machine(server, &point);
    if (machine == NULL)
        return;
    /* A leader knows every entry that is committed: it needs nobody's snapshot. */
    enum installed installed =
        server->state == RAFT_LEADER ? INSTALLED_OLD : install_swap_state(&server->raft, &point);
    if (!server_swap_state(server, installed, &point, machine))
        return;
    if (installed != INSTALLED_OLD)
        events_installed(&server->events);
}

void server_take_snapshot_news(struct server *server, const struct snapshot_result *result)
{
    struct snapshot_point point;
    switch (result->news) {
    case SNAPSHOT_PROGRESS: /* this pile's end hands over the next slice */
        return;
    case SNAPSHOT_TAKEN:
        point = snapshot_thread_taken(&server->snapshot.thread);
        snapshot_taken(&server->raft, &point);
        server_snapshot_taken(server, result->order, true);
        return;
    case SNAPSHOT_NOT_TAKEN:
        server_snapshot_taken(server, result->order, false);
        return;
    case SNAPSHOT_RECEIVED:
        install_received(server);
        return;
    case SNAPSHOT_NOT_RECEIVED:
        install_failed(&server->raft, result->order);
        return;
    }
}
