/* follow.c - see follow.h. */
#include "server/service/follow.h"

#include "server/replica/answers.h"
#include "server/replica/identity.h"
#include "server/replica/persist.h"
#include "server/service/hold.h"

bool follow_take_entries(struct server *server, const struct message *request, u64 now_ns,
                         const char **why)
{
    struct message reply;
    if (!append_entries(&server->raft, request, server_room(server), now_ns, &reply, why))
        return false;
    server_put(server, &reply);
    return true;
}

static void outcome_answer(void *context, struct command *command, const u8 *answer, size_t size)
{
    server_answer(context, command, answer, size);
}

static void outcome_fail(void *context, struct command *command, enum command_failure failure)
{
    server_fail(context, command, failure);
}

static struct forwarding_outcome outcome_of(struct server *server)
{
    return (struct forwarding_outcome){outcome_answer, outcome_fail, server, &server->parked};
}

void follow_take_command(struct server *server, struct forwarding *forwarding,
                         struct command *command)
{
    if (command_is_local(command) || command->class == COMMAND_TRANSFER ||
        server->raft.leader == SERVER_NONE)
        hold_command(server, command);
    else if (command->may_redirect)
        server_redirect(server, command);
    else
        forwarding_put(forwarding, command);
}

void follow_take_forward_reply(struct server *server, struct forwarding *forwarding,
                               const struct message *reply)
{
    const struct forward_reply *answers = &reply->as.forward_reply;
    struct forwarding_outcome outcome = outcome_of(server);
    if (!forwarding_replied(forwarding, reply, &outcome))
        return;
    if (answers->result == FORWARD_NOT_LEADER && !answers->leads &&
        reply->from == server->raft.leader)
        server->raft.leader = SERVER_NONE;
}

void follow_forward(struct server *server, struct forwarding *forwarding, u64 now_ns)
{
    bool holds = server->raft.leader == SERVER_NONE || forwarding_is_closed(forwarding);
    if (!holds && server->parked.first != NULL) {
        struct command_list waiting = server->parked;
        server->parked = (struct command_list){0};
        forwarding_take_back(forwarding, &waiting); /* they came later, and go later */
        struct command *command;
        while ((command = command_list_take(&waiting)) != NULL)
            follow_take_command(server, forwarding, command);
    }
    struct forwarding_outcome outcome = outcome_of(server);
    forwarding_expire(forwarding, now_ns, &outcome);
    if (holds) {
        /* It was known when they came, and later mail of the same pile has said otherwise; or it
         * takes nothing any more. */
        forwarding_take_back(forwarding, &server->parked);
        return;
    }
    struct message message;
    while (forwarding_next(forwarding, &server->raft, server->options.message_bytes_max,
                           now_ns + server->options.forward_timeout_ns, &message))
        outbox_put(&server->outbox, &message);
}

void follow_forwarding_lost(struct server *server, struct forwarding *forwarding)
{
    struct forwarding_outcome outcome = outcome_of(server);
    forwarding_lost(forwarding, &outcome);
}

void follow_forward_unsent(struct server *server, struct forwarding *forwarding, u64 call)
{
    struct forwarding_outcome outcome = outcome_of(server);
    forwarding_unsent(forwarding, call, &outcome);
}
