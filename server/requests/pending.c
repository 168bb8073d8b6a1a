/* pending.c - see pending.h. */
#include "server/requests/pending.h"

#include "server/rules/identities.h"

void pending_begin(struct raft *raft, struct leader_pending *lead, u64 now_ns, u64 wall_ns)
{
    lead->writes = (struct command_list){0};
    lead->reads = (struct command_list){0};
    lead->reads_left = false;
    streams_begin(&raft->streams, raft->current_term);
    transfer_init(&lead->transfer);
    lead->held = (struct command_list){0};
    lead->order = NULL;
    lead->short_of_room = false;
    lead->awaits_room = false;
    lead->room_retry_ns = UINT64_MAX;
    leadership_begin(raft, &lead->leadership, now_ns, wall_ns);
}

/* As much may be held as may be uncommitted. */
static enum pending_verdict hold(const struct raft *raft, struct leader_pending *lead,
                                 struct command *command, u64 size, enum command_failure *why)
{
    if (lead->held.count > 0 && lead->held.bytes + size > raft->uncommitted_bytes_max) {
        *why = COMMAND_BUSY;
        return PENDING_REFUSED;
    }
    command_list_put(&lead->held, command);
    return PENDING_HELD;
}

enum pending_verdict pending_take_write(struct raft *raft, struct leader_pending *lead,
                                        struct command *command, u64 wall_ns,
                                        enum command_failure *why)
{
    u64 size = RECORD_HEADER_SIZE + (u64)command->body.size;
    if (size > RECORD_SIZE_MAX) {
        *why = COMMAND_TOO_LARGE;
        return PENDING_REFUSED;
    }
    if (transfer_goes_on(&lead->transfer) || lead->awaits_room)
        return hold(raft, lead, command, size, why);
    if (!leadership_has_room(raft, &lead->leadership, size)) {
        *why = COMMAND_BUSY;
        return PENDING_REFUSED;
    }
    if (size > lead->room_bytes && size <= lead->room_soon_bytes) {
        lead->awaits_room = true;
        return hold(raft, lead, command, size, why);
    }
    if (size > lead->room_bytes) {
        lead->short_of_room = true;
        *why = COMMAND_NO_SPACE;
        return PENDING_REFUSED;
    }
    lead->room_bytes -= size;
    command->wait_index =
        leadership_append(raft, &lead->leadership, command->body.data, command->body.size, wall_ns);
    /* The log has its own copy now. */
    span_release(&command->body);
    command_list_put(&lead->writes, command);
    return PENDING_APPENDED;
}

u64 pending_settle(struct raft *raft, struct leader_pending *lead, u64 wall_ns)
{
    if (raft->configuration_complete || transfer_goes_on(&lead->transfer))
        return 0;
    return identities_settle(raft, &lead->leadership, wall_ns);
}

/* ---- handing over ---- */

static enum transfer_result take_readmission(struct raft *raft, struct leader_pending *lead,
                                             struct command *command, server_id target)
{
    if (transfer_goes_on(&lead->transfer))
        return READMIT_WAIT;
    u64 index;
    enum transfer_result result = identities_readmit(raft, &lead->leadership, target, &index);
    if (result == TRANSFER_BEGUN) {
        command->wait_index = index;
        command_list_put(&lead->writes, command);
    }
    return result;
}

enum transfer_result pending_take_order(struct raft *raft, struct leader_pending *lead,
                                        struct command *command, u64 now_ns, server_id *who)
{
    server_id target = command_order_target(command);
    *who = target;
    if (command_order_is_readmit(command))
        return take_readmission(raft, lead, command, target);
    if (target == raft->self)
        return TRANSFER_DONE;
    enum transfer_result result =
        transfer_begin(raft, &lead->leadership, &lead->transfer, target, now_ns, who);
    if (result == TRANSFER_BEGUN) {
        command->wait_index = *who; /* whoever has it later knows to whom it was */
        lead->order = command;
    }
    return result;
}

bool pending_has_room_for_held(const struct leader_pending *lead)
{
    const struct command *first = lead->held.first;
    if (!lead->awaits_room || transfer_goes_on(&lead->transfer))
        return false;
    u64 size = first != NULL ? RECORD_HEADER_SIZE + (u64)first->body.size : 0;
    return size <= lead->room_bytes || size > lead->room_soon_bytes;
}

void pending_take_held(struct leader_pending *lead, struct command_list *held)
{
    *held = lead->held;
    lead->held = (struct command_list){0};
    lead->awaits_room = false;
}

struct command *pending_next_held(const struct raft *raft, struct leader_pending *lead,
                                  struct command_list *held, u64 *bytes)
{
    if (!lead->awaits_room && held->first != NULL && *bytes < raft->round_bytes_max) {
        *bytes += held->first->body.size;
        return command_list_take(held);
    }
    if (held->first != NULL)
        lead->awaits_room = true; /* of the next pile */
    command_list_move(&lead->held, held);
    return NULL;
}

void pending_held_for_others(struct raft *raft, struct leader_pending *lead,
                             struct command_list *others)
{
    struct command_list kept = {0};
    struct command *command;
    while ((command = command_list_take(&lead->held)) != NULL) {
        if (command->forwarded)
            streams_give_back(&raft->streams, command->taker, command->serial);
        command_list_put(command->forwarded ? others : &kept, command);
    }
    lead->held = kept;
}

u64 pending_next_ns(const struct raft *raft, const struct leader_pending *lead)
{
    u64 next_ns = u64_min(u64_min(leadership_next_heartbeat_ns(raft, &lead->leadership),
                                  leadership_quorum_until_ns(raft, &lead->leadership)),
                          transfer_next_ns(raft, &lead->leadership, &lead->transfer));
    return lead->awaits_room ? u64_min(next_ns, lead->room_retry_ns) : next_ns;
}

/* ---- reads and forwards ---- */

void pending_take_read(const struct raft *raft, struct leader_pending *lead,
                       struct command *command)
{
    if (command->after_write && lead->held.count > 0) {
        command_list_put(&lead->held, command);
        return;
    }
    command->wait_round = reads_begin(&lead->leadership);
    command->wait_index = reads_index(raft, &lead->leadership, command->after_write);
    command_list_put(&lead->reads, command);
}

enum stream_verdict pending_takes_forward(struct raft *raft, const struct leader_pending *lead,
                                          const struct message *request)
{
    if (configuration_position(&raft->configuration, request->from) < 0)
        return STREAM_KNOWN;
    /* Once the next leader has been told, any message may come too late. */
    return streams_take(&raft->streams, request, transfer_is_told(&lead->transfer));
}

void pending_refuse_forward(struct raft *raft, const struct leader_pending *lead,
                            const struct message *request, struct message *refusal)
{
    raft_refuse(raft, request, refusal);
    refusal->as.forward_reply.leads = !transfer_is_told(&lead->transfer);
}

struct command *pending_writer_of(struct leader_pending *lead, u64 index)
{
    struct command *first = lead->writes.first;
    if (first == NULL || first->wait_index != index)
        return NULL;
    return command_list_take(&lead->writes);
}

struct command *pending_ready_read(const struct raft *raft, struct leader_pending *lead,
                                   u64 confirmed)
{
    const struct command *first = lead->reads.first;
    if (first == NULL || first->wait_round > confirmed || first->wait_index > raft->last_applied)
        return NULL;
    return command_list_take(&lead->reads);
}
