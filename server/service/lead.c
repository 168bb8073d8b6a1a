/* lead.c - see lead.h. */
#include "server/service/lead.h"

#include "common/clock.h"
#include "server/admin/local.h"
#include "server/replica/answers.h"
#include "server/replica/batch.h"
#include "server/replica/events.h"
#include "server/replica/identity.h"
#include "server/replica/persist.h"
#include "server/replica/replica.h"
#include "server/replica/snapshot.h"
#include "server/requests/parked.h"
#include "server/requests/pending.h"
#include "server/service/transfer.h"

void lead_begin(struct server *server, struct leader_pending *lead, u64 now_ns)
{
    pending_begin(&server->raft, lead, now_ns, clock_wall_ns());
    if (server->raft.no_op_at_start)
        events_appended(&server->events, server->raft.log.last_index);
    lead_begin_pile(server, lead);
    server->lead = lead;
    /* Commands that came while there was no leader. */
    struct command *command;
    struct command_list waiting = server->parked;
    server->parked = (struct command_list){0};
    while ((command = command_list_take(&waiting)) != NULL)
        lead_take(server, lead, command, now_ns);
}

/* They go on to whoever leads next: what came from other servers by way of those. Of one's own,
 * what is left in the list is in the order in which it was taken. */
static void pass_on_others(struct server *server, struct command_list *commands)
{
    struct command_list own = {0};
    struct command *command;
    while ((command = command_list_take(commands)) != NULL) {
        if (!command->forwarded) {
            command_list_put(&own, command);
            continue;
        }
        streams_give_back(&server->raft.streams, command->taker, command->serial);
        command_give_back(command);
    }
    *commands = own;
}

void lead_end(struct server *server, struct leader_pending *lead)
{
    server->lead = NULL;
    struct command *command;
    while ((command = command_list_take(&lead->writes)) != NULL)
        server_fail(server, command, COMMAND_UNKNOWN_OUTCOME);
    pass_on_others(server, &lead->reads);
    pass_on_others(server, &lead->held); /* what was held has not been executed */
    command_list_merge(&server->parked, &lead->reads);
    command_list_merge(&server->parked, &lead->held);
    /* Whoever ordered a transfer is told when the next leader is known. */
    if (lead->order != NULL)
        parked_put(&server->parked, lead->order);
    lead->order = NULL;
}

void lead_begin_pile(struct server *server, struct leader_pending *lead)
{
    lead->room_bytes = server_room(server);
    lead->room_soon_bytes = storage_room_soon(server->storage);
}

static void take_write(struct server *server, struct leader_pending *lead, struct command *command)
{
    enum command_failure why;
    switch (pending_take_write(&server->raft, lead, command, server->pile_wall_ns, &why)) {
    case PENDING_APPENDED:
        events_appended(&server->events, command->wait_index);
        return;
    case PENDING_HELD:
        return;
    case PENDING_REFUSED:
        server_fail(server, command, why);
        return;
    }
}

static void take_order(struct server *server, struct leader_pending *lead, struct command *command,
                       u64 now_ns)
{
    server_id who;
    if (command->wait_index != 0) {
        /* An order of an earlier leadership: it is this server again that leads. */
        server_answer_order(server, command, TRANSFER_FAILED, (server_id)command->wait_index);
        return;
    }
    enum transfer_result result = pending_take_order(&server->raft, lead, command, now_ns, &who);
    if (result != TRANSFER_BEGUN)
        server_answer_order(server, command, result, who);
    else if (command_order_is_readmit(command))
        events_appended(&server->events, command->wait_index);
}

void lead_take(struct server *server, struct leader_pending *lead, struct command *command,
               u64 now_ns)
{
    switch (command->class) {
    case COMMAND_WRITE:
        take_write(server, lead, command);
        return;
    case COMMAND_READ:
        pending_take_read(&server->raft, lead, command);
        return;
    case COMMAND_STATUS:
    case COMMAND_SETTING:
    case COMMAND_RESET_STATISTICS:
    case COMMAND_SNAPSHOT:
    case COMMAND_BACKUP:
        server_answer_local(server, lead, command);
        return;
    case COMMAND_TRANSFER:
        take_order(server, lead, command, now_ns);
        return;
    }
}

void lead_take_forward(struct server *server, struct leader_pending *lead,
                       const struct message *request, u64 now_ns)
{
    struct message refusal;
    bool sound = forward_is_sound(request);
    enum stream_verdict verdict =
        sound ? pending_takes_forward(&server->raft, lead, request) : STREAM_REFUSED;
    if (!sound)
        REPORT(server->world.report, REPORT_WARN, "server",
               "server %u: it forwarded commands that cannot be decoded", request->from);
    if (verdict == STREAM_REFUSED) {
        pending_refuse_forward(&server->raft, lead, request, &refusal);
        outbox_put_early(&server->outbox, &refusal);
    }
    if (verdict != STREAM_TAKEN)
        return;
    struct command_list commands = {0};
    bool unpacked = forward_unpack(&server->raft, request, now_ns, server->options.answer_bytes_max,
                                   &server->outbox, &commands);
    ASSERT(unpacked);
    struct command *command;
    while ((command = command_list_take(&commands)) != NULL)
        lead_take(server, lead, command, now_ns);
}

static void stage(struct server *server, struct message *message)
{
    events_sent(&server->events, message);
    outbox_put_early(&server->outbox, message);
}

void lead_take_entries(struct server *server, struct leader_pending *lead,
                       const struct entries_read *read, u64 now_ns)
{
    struct progress *progress = leadership_peer(&lead->leadership, read->peer);
    if (progress == NULL)
        return;
    if (read->put_off) {
        replicate_read_put_off(&server->raft, progress, read->order);
        return;
    }
    server_snapshot_note_read(server, &lead->leadership, read);
    struct message message;
    if (replicate_read_done(&server->raft, &lead->leadership, progress, read->order, read->first,
                            read->count, &read->records, now_ns, &message))
        stage(server, &message);
}

void lead_take_piece(struct server *server, struct leader_pending *lead,
                     const struct piece_read *read, u64 now_ns)
{
    struct progress *progress = leadership_peer(&lead->leadership, read->peer);
    if (progress == NULL)
        return;
    if (read->put_off) {
        replicate_read_put_off(&server->raft, progress, read->order);
        return;
    }
    struct message message;
    if (install_read_done(&server->raft, &lead->leadership, progress, read->order, read->offset,
                          &read->piece, now_ns, &message))
        stage(server, &message);
}

/* What replicate() wants from the disk. */
static void order_read(struct server *server, struct progress *progress,
                       enum replicate_verdict verdict)
{
    struct fetch_order order = {.number = progress->reading,
                                .peer = progress->id,
                                .first = progress->next_index,
                                .bytes_max = server->raft.message_bytes_max};
    if (verdict == REPLICATE_READ_SNAPSHOT) {
        order.snapshot = progress->snapshot;
        order.first = progress->snapshot_offset;
        order.bytes_max = u64_min(order.bytes_max, SNAPSHOT_PIECE_BYTES_MAX);
    } else if (verdict != REPLICATE_READ) {
        return;
    }
    if (!fetcher_order(&server->fetcher, &order))
        replicate_read_put_off(&server->raft, progress, order.number);
}

/* What was held is taken as if it came now, up to what has to be held again. */
static void take_held(struct server *server, struct leader_pending *lead, u64 now_ns)
{
    struct command_list held;
    struct command *command;
    u64 bytes = 0;
    pending_take_held(lead, &held);
    while ((command = pending_next_held(&server->raft, lead, &held, &bytes)) != NULL)
        lead_take(server, lead, command, now_ns);
    lead->room_retry_ns = now_ns;
}

/* The transfer came to nothing: what was held is taken as if it came now. */
static void give_up_transfer(struct server *server, struct leader_pending *lead,
                             enum transfer_result result, server_id who, u64 now_ns)
{
    REPORT(server->world.report, REPORT_WARN, "server", "server %u: %s", who,
           transfer_words_given_up(result));
    struct command *order = lead->order;
    lead->order = NULL;
    if (order != NULL)
        server_answer_order(server, order, result, who);
    take_held(server, lead, now_ns);
}

/* The log's next segment may be there by now. */
static void look_for_room(struct server *server, struct leader_pending *lead, u64 now_ns)
{
    if (!lead->awaits_room)
        return;
    lead_begin_pile(server, lead);
    if (pending_has_room_for_held(lead))
        take_held(server, lead, now_ns);
    else
        lead->room_retry_ns = now_ns + PENDING_ROOM_RETRY_NS;
}

void lead_hand_over(struct server *server, struct leader_pending *lead, u64 now_ns)
{
    struct raft *raft = &server->raft;
    struct message message;
    enum transfer_result result;
    server_id who;
    struct command *command;
    struct command_list others = {0};
    look_for_room(server, lead, now_ns);
    if (transfer_without_room(raft, &lead->leadership, &lead->transfer, lead->short_of_room,
                              now_ns))
        REPORT(server->world.report, REPORT_WARN, "server", "server %u: %s", lead->transfer.target,
               transfer_words_no_room);
    lead->short_of_room = false;
    switch (
        transfer_go_on(raft, &lead->leadership, &lead->transfer, now_ns, &message, &result, &who)) {
    case TRANSFER_WAIT:
        return;
    case TRANSFER_SEND:
        /* Their servers may soon ask for votes themselves, and then forget what they forwarded. */
        pending_held_for_others(raft, lead, &others);
        while ((command = command_list_take(&others)) != NULL)
            command_give_back(command);
        stage(server, &message);
        return;
    case TRANSFER_GIVEN_UP:
        give_up_transfer(server, lead, result, who, now_ns);
        return;
    }
}

bool lead_must_hand_over(const struct server *server, const struct leader_pending *lead, u64 now_ns)
{
    return transfer_next_ns(&server->raft, &lead->leadership, &lead->transfer) <= now_ns;
}

void lead_replicate(struct server *server, struct leader_pending *lead, u64 now_ns)
{
    struct raft *raft = &server->raft;
    /* What goes out now tells of what this pile's replies have committed. */
    (void)commit_advance(raft, &lead->leadership);
    u64 index = pending_settle(raft, lead, server->pile_wall_ns);
    if (index != 0)
        events_appended(&server->events, index);
    leadership_begin_round(raft, &lead->leadership);
    for (u32 position = 0; position < lead->leadership.count; position++) {
        struct progress *progress = &lead->leadership.peers[position];
        if (progress->id == raft->self)
            continue;
        struct message message;
        enum replicate_verdict verdict;
        while ((verdict = replicate(raft, &lead->leadership, progress, now_ns, &message)) ==
               REPLICATE_SEND)
            stage(server, &message);
        order_read(server, progress, verdict);
    }
}

void lead_take_append_reply(struct server *server, struct leader_pending *lead,
                            const struct message *reply, u64 now_ns)
{
    struct progress *progress = leadership_peer(&lead->leadership, reply->from);
    if (progress == NULL)
        return;
    replicate_reply(&server->raft, progress, reply,
                    leadership_heard_ns(&lead->leadership, reply, now_ns));
    identity_handle_reply(server, progress, &reply->as.append_reply);
}

void lead_take_install_reply(struct server *server, struct leader_pending *lead,
                             const struct message *reply, u64 now_ns)
{
    struct progress *progress = leadership_peer(&lead->leadership, reply->from);
    if (progress != NULL)
        install_reply(&server->raft, progress, reply,
                      leadership_heard_ns(&lead->leadership, reply, now_ns));
}

void lead_peer_disconnected(struct leader_pending *lead, server_id peer)
{
    struct progress *progress = leadership_peer(&lead->leadership, peer);
    if (progress != NULL)
        replicate_disconnected(progress);
}

void lead_peer_connected(struct server *server, struct leader_pending *lead, server_id peer)
{
    struct progress *progress = leadership_peer(&lead->leadership, peer);
    if (progress != NULL)
        replicate_connected(&server->raft, progress);
}

void lead_stop(struct server *server, struct leader_pending *lead)
{
    server->raft.leader = SERVER_NONE;
    server->raft.leader_heard_ns = 0;
    lead_end(server, lead);
}
