/* carry_out.c - what becomes of actions. */
#include "common/memory.h"
#include "server/replica/answers.h"
#include "server/replica/apply.h"
#include "server/replica/compact.h"
#include "server/replica/events.h"
#include "server/replica/identity.h"
#include "server/replica/install.h"
#include "server/replica/persist.h"
#include "server/replica/replica.h"
#include "server/replica/votes.h"
#include "server/service/follow.h"
#include "server/service/transfer.h"
#include "server/step/node/node.h"

static void note_unsent(struct step_node *node, u64 call)
{
    if (node->unsent_count == node->unsent_capacity) {
        node->unsent_capacity = node->unsent_capacity * 2 + SERVERS_MAX;
        node->unsent = memory_resize(node->unsent, node->unsent_capacity * sizeof(node->unsent[0]));
    }
    node->unsent[node->unsent_count++] = call;
}

static void send_staged(struct step_node *node, struct step_send *send)
{
    struct server *server = node->server;
    struct message *message = &send->staged->message;
    enum message_kind kind = message->kind;
    u64 call = message->call;
    events_sent(&server->events, message);
    bool sent = server->transport->ops->send(server->transport, message);
    memory_free(send->staged);
    send->staged = NULL;
    if (!sent && kind == MESSAGE_FORWARD)
        note_unsent(node, call);
}

static void note_log_store(struct step_node *node, const struct step_log_store *store)
{
    struct node_stores *stores = &node->stores;
    stores->newest = store->store;
    stores->first = stores->log ? u64_min(stores->first, store->first) : store->first;
    stores->last = store->last;
    stores->log = true;
    if (node->step.state != RAFT_LEADER)
        return;
    for (u64 index = store->first; index <= store->last.index; index++)
        events_appended(&node->server->events, index);
}

static void note_state_store(struct step_node *node, const struct step_state_store *store)
{
    node->stores.newest = store->store;
    node->stores.state = true;
    node->stores.state_store = *store;
}

static void apply(struct step_node *node, const struct step_apply *order)
{
    struct command *writer = order->token != 0 ? tokens_take(&node->tokens, order->token) : NULL;
    u64 work = server_apply(node->server, order->index, writer);
    work_batch_add(&node->apply_batch, work);
    node->applied_work += work;
    node->applied = true;
    events_applied(&node->server->events, order->index);
}

static void read_entries(struct step_node *node, const struct step_read_entries *order)
{
    struct fetch_order fetch = {.number = order->order,
                                .peer = order->peer,
                                .first = order->first,
                                .bytes_max = order->bytes_max};
    if (fetcher_order(&node->server->fetcher, &fetch))
        return;
    ASSERT(node->failed_read_count < ARRAY_LENGTH(node->failed_reads));
    node->failed_reads[node->failed_read_count++] = (struct entries_read){
        .order = order->order, .peer = order->peer, .first = order->first, .put_off = true};
}

static void read_piece(struct step_node *node, const struct step_read_piece *order)
{
    struct server *server = node->server;
    struct fetch_order fetch = {
        .number = order->order,
        .peer = order->peer,
        .snapshot = order->name,
        .first = order->offset,
        .bytes_max = u64_min(server->raft.message_bytes_max, SNAPSHOT_PIECE_BYTES_MAX)};
    if (fetcher_order(&server->fetcher, &fetch))
        return;
    ASSERT(node->failed_piece_count < ARRAY_LENGTH(node->failed_pieces));
    node->failed_pieces[node->failed_piece_count++] = (struct piece_read){
        .order = order->order, .peer = order->peer, .offset = order->offset, .put_off = true};
}

static void install(struct step_node *node, const struct step_install *order)
{
    /* The entries of stores not yet carried out are gone with the log. */
    if (order->installed == INSTALLED_RESETS_LOG)
        node->stores.log = false;
    if (!server_swap_state(node->server, order->installed, order->point, node->received))
        node->disk_failed = true;
    else if (order->installed != INSTALLED_OLD)
        events_installed(&node->server->events);
    node->received = NULL;
}

static void accept_forward(struct step_node *node, const struct message *request)
{
    struct server *server = node->server;
    bool sound = forward_unpack(&server->raft, request, node->now_ns,
                                server->options.answer_bytes_max, &server->outbox, &node->accepted);
    ASSERT(sound); /* the machine has looked */
}

/* It may be answered at any time from now on; a crowd of large reads must not keep a leader from
 * its heartbeats. */
static void read_ready(struct step_node *node, u64 token)
{
    struct command *read = tokens_take(&node->tokens, token);
    if (node->reads.first != NULL || work_batch_is_over(&node->read_batch))
        command_list_put(&node->reads, read);
    else
        work_batch_add(&node->read_batch, server_read(node->server, read));
}

static void transition(struct step_node *node, const struct step_words *words)
{
    node->changed = true;
    node->server->elections = node->step.elections;
    server_enter(node->server, words->state, words->why);
}

static void tell(struct step_node *node, const struct step_words *words)
{
    REPORT(node->server->world.report, words->trouble ? REPORT_WARN : REPORT_DEBUG, "server",
           "server %u: %s", words->peer, words->why);
}

static void answer_client(struct step_node *node, const struct step_answer *answer)
{
    struct command *command = tokens_take(&node->tokens, answer->token);
    server_answer(node->server, command, answer->data, answer->size);
}

static void conclude_order(struct step_node *node, const struct step_answer *answer)
{
    struct command *order = tokens_take(&node->tokens, answer->token);
    server_answer_order(node->server, order, answer->result, answer->who);
}

static void carry_out(struct step_node *node, struct step_action *action)
{
    struct server *server = node->server;
    const struct step_answer *answer = &action->as.answer;
    switch (action->kind) {
    case DO_SEND:
        send_staged(node, &action->as.send);
        return;
    case DO_ALARM:
        node->alarm_ns = action->as.at_ns;
        return;
    case DO_STATE_STORE:
        note_state_store(node, &action->as.state_store);
        return;
    case DO_LOG_STORE:
        note_log_store(node, &action->as.log_store);
        return;
    case DO_COMMIT:
        events_committed(&server->events);
        return;
    case DO_APPLY:
        apply(node, &action->as.apply);
        return;
    case DO_READ_READY:
        read_ready(node, answer->token);
        return;
    case DO_ANSWER:
        answer_client(node, answer);
        return;
    case DO_REFUSE:
        server_fail(server, tokens_take(&node->tokens, answer->token), answer->failure);
        return;
    case DO_REDIRECT:
        server_redirect(server, tokens_take(&node->tokens, answer->token));
        return;
    case DO_GIVE_BACK:
        command_give_back(tokens_take(&node->tokens, answer->token));
        return;
    case DO_CONCLUDE:
        conclude_order(node, answer);
        return;
    case DO_ACCEPT:
        accept_forward(node, action->as.forward);
        return;
    case DO_READ_ENTRIES:
        read_entries(node, &action->as.read);
        return;
    case DO_TAKE_PIECE:
        if (!server_write_piece(server, action->as.piece))
            node->piece_lost = true;
        return;
    case DO_READ_PIECE:
        read_piece(node, &action->as.read_piece);
        return;
    case DO_INSTALL:
        install(node, &action->as.install);
        return;
    case DO_COMPACT:
        server_snapshot_compact(server, action->as.index);
        return;
    case DO_FORGET_PROMISE:
        if (!server_store_repaired(server))
            node->disk_failed = true;
        return;
    case DO_RECOGNISE:
        identity_carry_out(server, action->as.recognise.peer, &action->as.recognise.meeting);
        node->disk_failed = node->disk_failed || server->failure.code != ERROR_NONE;
        return;
    case DO_NON_VOTER:
        identity_save_non_voter(server, action->as.non_voter.by, action->as.non_voter.why);
        node->disk_failed = node->disk_failed || server->failure.code != ERROR_NONE;
        return;
    case DO_STANDING:
        identity_save_own(server, action->as.standing);
        node->disk_failed = node->disk_failed || server->failure.code != ERROR_NONE;
        return;
    case DO_TRANSITION:
        transition(node, &action->as.words);
        return;
    case DO_TELL_ELECTION:
        votes_tell(server, &action->as.news);
        return;
    case DO_TELL:
        tell(node, &action->as.words);
        return;
    case DO_HALT:
        (void)server_stop_because(server, action->as.words.why, action->as.words.peer);
        return;
    }
}

void step_node_carry_out(struct step_node *node)
{
    for (u32 i = 0; i < node->actions.count; i++)
        carry_out(node, &node->actions.items[i]);
    step_actions_clear(&node->actions);
}

static bool carry_out_stores(struct server *server, const struct node_stores *stores)
{
    const struct step_state_store *state = &stores->state_store;
    if (stores->state && !server_store_state(server, state->current_term, state->voted_for))
        return false;
    return !stores->log || server_store_log(server, stores->first);
}

bool step_node_store(struct step_node *node, struct step_persisted *persisted)
{
    struct server *server = node->server;
    struct node_stores stores = node->stores;
    if (!server_check_disk(server))
        return false;
    node->stores = (struct node_stores){0};
    if (!carry_out_stores(server, &stores))
        return false;
    *persisted = (struct step_persisted){.store = stores.newest};
    if (stores.log)
        persisted->last = stores.last;
    return true;
}
