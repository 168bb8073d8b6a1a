/* leading.c - see leading.h. */
#include "server/leading.h"

void leading_begin(struct raft *raft, struct lead *lead, u64 now_ns, u64 wall_ns)
{
    lead->writes = (struct command_list){0};
    lead->reads = (struct command_list){0};
    lead->reads_left = false;
    memset(lead->forwarders, 0, sizeof(lead->forwarders));
    leadership_begin(raft, &lead->leadership, now_ns, wall_ns);
}

bool leading_take_write(struct raft *raft, struct lead *lead, struct command *command, u64 wall_ns,
                        enum command_failure *why)
{
    u64 size = RECORD_HEADER_SIZE + (u64)command->body.size;
    if (size > RECORD_SIZE_MAX) {
        *why = COMMAND_TOO_LARGE;
        return false;
    }
    if (!leadership_has_room(raft, &lead->leadership, size)) {
        *why = COMMAND_BUSY;
        return false;
    }
    if (size > lead->room_bytes) {
        *why = COMMAND_NO_SPACE;
        return false;
    }
    lead->room_bytes -= size;
    command->wait_index =
        leadership_append(raft, &lead->leadership, command->body.data, command->body.size, wall_ns);
    /* The log has its own copy now. */
    span_release(&command->body);
    command_list_put(&lead->writes, command);
    return true;
}

void leading_take_read(const struct raft *raft, struct lead *lead, struct command *command)
{
    command->wait_round = reads_begin(&lead->leadership);
    command->wait_index = reads_index(raft, &lead->leadership, command->after_write);
    command_list_put(&lead->reads, command);
}

bool leading_takes_forward(const struct raft *raft, struct lead *lead,
                           const struct message *request)
{
    const struct forward_request *forward = &request->as.forward_request;
    int position = configuration_position(&raft->configuration, request->from);
    if (position < 0)
        return false;
    struct forwarder *newest = &lead->forwarders[position];
    bool rises = forward->start > newest->start ||
                 (forward->start == newest->start && forward->serial > newest->serial);
    if (rises)
        *newest = (struct forwarder){forward->start, forward->serial};
    return rises;
}

struct command *leading_writer_of(struct lead *lead, u64 index)
{
    struct command *first = lead->writes.first;
    if (first == NULL || first->wait_index != index)
        return NULL;
    return command_list_take(&lead->writes);
}

struct command *leading_ready_read(const struct raft *raft, struct lead *lead, u64 confirmed)
{
    const struct command *first = lead->reads.first;
    if (first == NULL || first->wait_round > confirmed || first->wait_index > raft->last_applied)
        return NULL;
    return command_list_take(&lead->reads);
}
