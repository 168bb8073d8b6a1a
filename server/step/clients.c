/* clients.c - commands: where they wait, and what becomes of them.
 *
 * A command waits in a list of the state's, without a sink: its `slot` is the token, and whatever
 * happens to it becomes an action that names the token. */
#include "server/step/inside.h"

#include "common/memory.h"
#include "server/requests/pending.h"

struct command *step_take_command(const struct step_event *event)
{
    const struct step_client *client = &event->as.client;
    const struct span *body = &client->body;
    ASSERT(client->token != 0);
    struct command *command = memory_alloc_zero(1, sizeof(*command));
    command->class = event->kind == ON_APPEND ? COMMAND_WRITE
                     : event->kind == ON_READ ? COMMAND_READ
                                              : COMMAND_TRANSFER;
    command->body = span_of(body->block, body->data, body->size);
    command->slot = client->token;
    command->arrived_ns = client->arrived_ns;
    command->after_write = client->after_write;
    command->may_redirect = client->may_redirect;
    command->forwarded = client->forwarded;
    command->taker = client->taker;
    command->serial = client->serial;
    return command;
}

void step_refuse(struct step *step, struct command *command, enum command_failure failure)
{
    struct step_action *action = step_do(step, DO_REFUSE);
    action->as.answer = (struct step_answer){.token = command->slot, .failure = failure};
    command_destroy(command);
}

/* ---- without a leader ---- */

void step_park(struct step *step, struct command *command)
{
    struct command_list one = {0};
    if (command->forwarded) {
        step_refuse(step, command, COMMAND_LEADER_LOST);
        return;
    }
    command_list_put(&one, command);
    command_list_merge(&step->parked, &one);
}

void step_expire_parked(struct step *step)
{
    struct command_list *parked = &step->parked;
    while (parked->first != NULL &&
           parked->first->arrived_ns + step->settings.leader_wait_ns <= step->now_ns) {
        struct command *command = command_list_take(parked);
        if (command->class == COMMAND_TRANSFER)
            step_conclude_order(step, command);
        else
            step_refuse(step, command, COMMAND_NO_LEADER);
    }
}

void step_refuse_all(struct step *step)
{
    struct command *command;
    while ((command = command_list_take(&step->parked)) != NULL)
        step_refuse(step, command, COMMAND_STOPPING);
}

/* ---- the follower's ---- */

static void outcome_answer(void *context, struct command *command, const u8 *answer, size_t size)
{
    struct step_action *action = step_do(context, DO_ANSWER);
    action->as.answer = (struct step_answer){.token = command->slot, .data = answer, .size = size};
    command_destroy(command);
}

static void outcome_fail(void *context, struct command *command, enum command_failure failure)
{
    step_refuse(context, command, failure);
}

static struct forwarding_outcome outcome_of(struct step *step)
{
    return (struct forwarding_outcome){outcome_answer, outcome_fail, step, &step->parked};
}

void step_follow_command(struct step *step, struct command *command)
{
    if (command->class == COMMAND_TRANSFER) {
        step_conclude_order(step, command);
    } else if (step->raft->leader == SERVER_NONE || command->forwarded) {
        step_park(step, command);
    } else if (command->may_redirect) {
        struct step_action *action = step_do(step, DO_REDIRECT);
        action->as.answer =
            (struct step_answer){.token = command->slot, .leader = step->raft->leader};
        command_destroy(command);
    } else {
        forwarding_put(&step->forwarding, command);
    }
}

void step_forward(struct step *step)
{
    struct forwarding *forwarding = &step->forwarding;
    if (step->raft->leader == SERVER_NONE || forwarding_is_closed(forwarding)) {
        /* It was known when they came, and later events have said otherwise; or it takes nothing
         * any more. */
        forwarding_take_back(forwarding, &step->parked);
        return;
    }
    struct command_list waiting = step->parked;
    step->parked = (struct command_list){0};
    if (waiting.first != NULL)
        forwarding_take_back(forwarding, &waiting); /* they came later, and go later */
    struct command *command;
    while ((command = command_list_take(&waiting)) != NULL)
        step_follow_command(step, command);
    struct message message;
    while (forwarding_next(forwarding, step->raft, step->raft->message_bytes_max,
                           step->now_ns + step->settings.forward_timeout_ns, &message))
        step_say(step, &message);
}

void step_forward_replied(struct step *step, const struct message *reply)
{
    const struct forward_reply *answers = &reply->as.forward_reply;
    struct forwarding_outcome outcome = outcome_of(step);
    if (!forwarding_replied(&step->forwarding, reply, &outcome))
        return;
    if (answers->result == FORWARD_NOT_LEADER && !answers->leads &&
        reply->from == step->raft->leader)
        step->raft->leader = SERVER_NONE;
}

void step_forward_unsent(struct step *step, u64 call)
{
    struct forwarding_outcome outcome = outcome_of(step);
    forwarding_unsent(&step->forwarding, call, &outcome);
}

void step_forward_expire(struct step *step)
{
    struct forwarding_outcome outcome = outcome_of(step);
    forwarding_expire(&step->forwarding, step->now_ns, &outcome);
}

void step_forward_lost(struct step *step)
{
    struct forwarding_outcome outcome = outcome_of(step);
    forwarding_lost(&step->forwarding, &outcome);
}

/* ---- orders to hand leadership over ---- */

void step_answer_order(struct step *step, struct command *order, enum transfer_result result,
                       server_id who)
{
    struct step_action *action = step_do(step, DO_CONCLUDE);
    action->as.answer = (struct step_answer){.token = order->slot, .result = result, .who = who};
    command_destroy(order);
}

void step_conclude_order(struct step *step, struct command *order)
{
    server_id who;
    enum transfer_result result = transfer_conclude(step->raft, (server_id)order->wait_index, &who);
    step_answer_order(step, order, result, who);
}

void step_lead_order(struct step *step, struct command *order)
{
    /* An order of an earlier leadership: it is this server again that leads. */
    server_id who = (server_id)order->wait_index;
    enum transfer_result result = TRANSFER_FAILED;
    if (who == SERVER_NONE)
        result = pending_take_order(step->raft, &step->lead, order, step->now_ns, &who);
    if (result != TRANSFER_BEGUN)
        step_answer_order(step, order, result, who);
}

/* ---- the leader's ---- */

void step_lead_command(struct step *step, struct command *command)
{
    enum command_failure why;
    if (command->class == COMMAND_TRANSFER)
        step_lead_order(step, command);
    else if (command->class == COMMAND_READ)
        pending_take_read(step->raft, &step->lead, command);
    else if (pending_take_write(step->raft, &step->lead, command, step->wall_ns, &why) ==
             PENDING_REFUSED)
        step_refuse(step, command, why);
}

void step_give_back(struct step *step, struct command *command)
{
    step_do(step, DO_GIVE_BACK)->as.answer.token = command->slot;
    command_destroy(command);
}

/* They go on to whoever leads next: what came from other servers by way of those. Of one's own,
 * what is left in the list is in the order in which it was taken. */
static void pass_on_others(struct step *step, struct command_list *commands)
{
    struct command_list own = {0};
    struct command *command;
    while ((command = command_list_take(commands)) != NULL) {
        if (!command->forwarded) {
            command_list_put(&own, command);
            continue;
        }
        streams_give_back(&step->raft->streams, command->taker, command->serial);
        step_give_back(step, command);
    }
    *commands = own;
}

void step_lead_end(struct step *step)
{
    struct leader_pending *lead = &step->lead;
    struct command *command;
    while ((command = command_list_take(&lead->writes)) != NULL)
        step_refuse(step, command, COMMAND_UNKNOWN_OUTCOME);
    pass_on_others(step, &lead->reads);
    pass_on_others(step, &lead->held); /* what was held has not been executed */
    command_list_merge(&step->parked, &lead->reads);
    command_list_merge(&step->parked, &lead->held);
    /* Whoever ordered a transfer is told when the next leader is known. */
    if (lead->order != NULL)
        step_park(step, lead->order);
    lead->order = NULL;
}

void step_lead_room(struct step *step)
{
    step->lead.room_bytes = step->room.bytes;
    step->lead.room_soon_bytes = step->room.soon_bytes;
}

void step_lead_held(struct step *step)
{
    struct leader_pending *lead = &step->lead;
    struct command_list held;
    struct command *command;
    u64 bytes = 0;
    pending_take_held(lead, &held);
    step_lead_room(step);
    while ((command = pending_next_held(step->raft, lead, &held, &bytes)) != NULL)
        step_lead_command(step, command);
    lead->room_retry_ns = step->now_ns;
}

void step_look_for_room(struct step *step)
{
    struct leader_pending *lead = &step->lead;
    if (!lead->awaits_room)
        return;
    step_lead_room(step);
    if (pending_has_room_for_held(lead))
        step_lead_held(step);
    else
        lead->room_retry_ns = step->now_ns + PENDING_ROOM_RETRY_NS;
}
