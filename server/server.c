/* server.c - see server.h: a server is built here, and the rooms are wired together. */
#include "server/server.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/memory.h"
#include "server/admin/status.h"
#include "server/dispatch/dispatch.h"
#include "server/per_state/per_state.h"
#include "server/replica/answers.h"
#include "server/replica/events.h"
#include "server/replica/identity.h"
#include "server/replica/load.h"
#include "server/replica/replica.h"
#include "server/replica/snapshot.h"
#include "server/step/node/node.h"

static const struct design *const designs[] = {
    [DESIGN_PER_STATE] = &per_state_design,
    [DESIGN_DISPATCH] = &dispatch_design,
    [DESIGN_STEP] = &step_design,
};

/* ---- building ---- */

enum error_code server_create(const struct server_options *options,
                              const struct server_world *world, struct machine *machine,
                              struct server **server, struct error *error)
{
    ASSERT(options->answer_bytes_max > 0 && options->round_bytes_max > 0);
    struct server *made = memory_alloc_zero(1, sizeof(*made));
    made->options = *options;
    made->world = *world;
    made->machine = machine;
    made->state = RAFT_FOLLOWER;
    made->state_since_ns = clock_monotonic_ns();
    liveness_init(&made->liveness);
    raft_init(&made->raft, SERVER_NONE, options->log_memory_bytes_max);
    server_apply_options(made);
    rng_init(&made->rng, options->seed);
    mailbox_init(&made->mailbox, options->peer_mail_bytes_max, options->client_mail_bytes_max);
    outbox_init(&made->outbox);
    buffer_init(&made->answer);
    events_init(&made->events, world->trace, &made->raft, &made->state);
    made->note_status = server_note_status;
    made->design = designs[options->design];
    if (made->design->create != NULL)
        made->design->create(made);
    enum error_code code = server_load(made, error);
    fetcher_init(&made->fetcher, made->storage, server_slot(made), world->report);
    server_snapshot_init(made, server_slot(made));
    if (code != ERROR_NONE) {
        server_destroy(made);
        return code;
    }
    *server = made;
    return ERROR_NONE;
}

void server_close(struct server *server)
{
    mailbox_close(&server->mailbox);
    if (server->design->close != NULL)
        server->design->close(server);
}

void server_destroy(struct server *server)
{
    server_close(server);
    fetcher_deinit(&server->fetcher);
    server_snapshot_deinit(server);
    struct command *command;
    while ((command = command_list_take(&server->parked)) != NULL)
        server_fail(server, command, COMMAND_STOPPING);
    while ((command = ways_back_take(&server->ways_back)) != NULL)
        server_fail(server, command, COMMAND_STOPPING);
    if (server->design->destroy != NULL)
        server->design->destroy(server);
    server_flush_answers(server);
    mail_pile_clear(&server->pile);
    if (server->in_hand != NULL)
        mail_destroy(server->in_hand);
    mailbox_deinit(&server->mailbox);
    outbox_deinit(&server->outbox);
    server->machine->ops->destroy(server->machine);
    raft_deinit(&server->raft);
    if (server->storage != NULL)
        storage_close(server->storage);
    events_deinit(&server->events);
    liveness_deinit(&server->liveness);
    buffer_deinit(&server->answer);
    memory_free(server->save_spans);
    memory_free(server);
}

struct mail_slot *server_slot(struct server *server)
{
    return server->design->slot != NULL ? server->design->slot(server) : &server->mailbox.slot;
}

/* ---- running ---- */

enum error_code server_run(struct server *server, struct transport *transport, struct error *error)
{
    server->transport = transport;
    server->raft.room_bytes = storage_room_soon(server->storage);
    events_started(&server->events);
    identity_log(server);
    server_note_status(server, NULL);
    server->design->run(server);
    server_flush_answers(server);
    server_close(server);
    *error = server->failure;
    return error->code;
}
