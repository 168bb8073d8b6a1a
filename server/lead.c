/* lead.c - see lead.h. */
#include "server/lead.h"

#include "common/clock.h"
#include "server/server.h"

void lead_begin(struct server *server, struct lead *lead, u64 now_ns)
{
    lead->writes = (struct command_list){0};
    lead->reads = (struct command_list){0};
    memset(lead->forwarders, 0, sizeof(lead->forwarders));
    leadership_begin(&server->raft, &lead->leadership, now_ns, clock_wall_ns());
    events_appended(&server->events, server->raft.log.last_index);
    lead_begin_pile(server, lead);
    /* Commands that came while there was no leader. */
    struct command *command;
    struct command_list waiting = server->parked;
    server->parked = (struct command_list){0};
    while ((command = command_list_take(&waiting)) != NULL)
        lead_take(server, lead, command, now_ns);
}

void lead_end(struct server *server, struct lead *lead)
{
    struct command *command;
    while ((command = command_list_take(&lead->writes)) != NULL)
        server_fail(server, command, COMMAND_UNKNOWN_OUTCOME);
    while ((command = command_list_take(&lead->reads)) != NULL) {
        if (command->forwarded)
            server_fail(server, command, COMMAND_LEADER_LOST);
        else
            command_list_put(&server->parked, command);
    }
}

void lead_begin_pile(struct server *server, struct lead *lead)
{
    lead->room_bytes = server_room(server);
}

static void take_write(struct server *server, struct lead *lead, struct command *command)
{
    u64 size = RECORD_HEADER_SIZE + (u64)command->body.size;
    if (size > RECORD_SIZE_MAX) {
        server_fail(server, command, COMMAND_TOO_LARGE);
        return;
    }
    if (!leadership_has_room(&server->raft, &lead->leadership, size)) {
        server_fail(server, command, COMMAND_BUSY);
        return;
    }
    if (size > lead->room_bytes) {
        server_fail(server, command, COMMAND_NO_SPACE);
        return;
    }
    lead->room_bytes -= size;
    command->wait_index = leadership_append(&server->raft, &lead->leadership, command->body.data,
                                            command->body.size, server->pile_wall_ns);
    events_appended(&server->events, command->wait_index);
    /* The log has its own copy now. */
    span_release(&command->body);
    command_list_put(&lead->writes, command);
}

void lead_take(struct server *server, struct lead *lead, struct command *command, u64 now_ns)
{
    (void)now_ns;
    switch (command->class) {
    case COMMAND_WRITE:
        take_write(server, lead, command);
        return;
    case COMMAND_READ:
        command->wait_round = reads_begin(&lead->leadership);
        command->wait_index = reads_index(&server->raft, &lead->leadership, command->after_write);
        command_list_put(&lead->reads, command);
        return;
    case COMMAND_STATUS:
    case COMMAND_SETTING:
        server_answer_local(server, lead, command);
        return;
    }
}

void lead_take_forward(struct server *server, struct lead *lead, const struct message *request,
                       u64 now_ns)
{
    const struct forward_request *forward = &request->as.forward_request;
    int position = configuration_position(&server->raft.configuration, request->from);
    if (position < 0)
        return;
    struct forwarder *newest = &lead->forwarders[position];
    bool rises = forward->start > newest->start ||
                 (forward->start == newest->start && forward->serial > newest->serial);
    if (!rises)
        return;
    *newest = (struct forwarder){forward->start, forward->serial};
    struct command_list commands = {0};
    if (!forward_unpack(&server->raft, request, now_ns, server->options.answer_bytes_max,
                        &server->outbox, &commands)) {
        REPORT(server->world.report, REPORT_WARN, "server",
               "server %u forwarded commands that cannot be decoded; refused", request->from);
        struct message refusal;
        raft_refuse(&server->raft, request, &refusal);
        outbox_put(&server->outbox, &refusal);
        return;
    }
    struct command *command;
    while ((command = command_list_take(&commands)) != NULL)
        lead_take(server, lead, command, now_ns);
}

static void stage(struct server *server, struct message *message)
{
    events_sent(&server->events, message);
    outbox_put_early(&server->outbox, message);
}

void lead_take_entries(struct server *server, struct lead *lead, const struct entries_read *read,
                       u64 now_ns)
{
    struct progress *progress = leadership_peer(&lead->leadership, read->peer);
    if (progress == NULL)
        return;
    struct message message;
    if (replicate_read_done(&server->raft, &lead->leadership, progress, read->first, read->count,
                            &read->records, now_ns, &message))
        stage(server, &message);
}

void lead_replicate(struct server *server, struct lead *lead, u64 now_ns)
{
    struct raft *raft = &server->raft;
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
        if (verdict == REPLICATE_READ &&
            !fetcher_order(&server->fetcher, progress->id, progress->next_index,
                           raft->message_bytes_max))
            progress->reading = false;
    }
}

struct command *lead_writer_of(struct lead *lead, u64 index)
{
    struct command *first = lead->writes.first;
    if (first == NULL || first->wait_index != index)
        return NULL;
    return command_list_take(&lead->writes);
}

void lead_answer_reads(struct server *server, struct lead *lead)
{
    if (lead->reads.first == NULL)
        return;
    u64 confirmed = reads_confirmed_round(&server->raft, &lead->leadership);
    for (struct command *read = lead->reads.first; read != NULL; read = lead->reads.first) {
        if (read->wait_round > confirmed || read->wait_index > server->raft.last_applied)
            return;
        (void)command_list_take(&lead->reads);
        buffer_clear(&server->answer);
        server->machine->ops->read(server->machine, read->body.data, read->body.size,
                                   &server->answer);
        server_answer(server, read, server->answer.data, server->answer.size);
    }
}
