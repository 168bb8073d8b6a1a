/* node.c - the loop: see node.h. */
#include "server/step/node/node.h"

#include <string.h>

#include "common/clock.h"
#include "common/memory.h"
#include "server/admin/local.h"
#include "server/admin/status.h"
#include "server/replica/answers.h"
#include "server/replica/apply.h"
#include "server/replica/compact.h"
#include "server/replica/identity.h"
#include "server/replica/install.h"
#include "server/replica/round.h"
#include "server/replica/snapshot.h"

struct step_node *step_node_of(const struct server *server)
{
    return server->kept;
}

static void create(struct server *server)
{
    struct step_node *node = memory_alloc_zero(1, sizeof(*node));
    node->server = server;
    server->kept = node;
}

static void destroy(struct server *server)
{
    struct step_node *node = server->kept;
    struct command *command;
    while ((command = tokens_take_any(&node->tokens)) != NULL)
        server_fail(node->server, command, COMMAND_STOPPING);
    while ((command = command_list_take(&node->reads)) != NULL)
        server_fail(node->server, command, COMMAND_STOPPING);
    while ((command = command_list_take(&node->accepted)) != NULL)
        server_fail(node->server, command, COMMAND_STOPPING);
    if (node->received != NULL)
        node->received->ops->destroy(node->received);
    tokens_deinit(&node->tokens);
    step_actions_deinit(&node->actions);
    step_deinit(&node->step);
    memory_free(node->unsent);
    memory_free(node);
}

static u32 parked(const struct server *server)
{
    return step_node_of(server)->step.parked.count;
}

/* ---- telling events ---- */

static struct step_event event_of(const struct step_node *node, enum step_event_kind kind)
{
    return (struct step_event){
        .kind = kind, .now_ns = node->now_ns, .wall_ns = node->server->pile_wall_ns};
}

static void tell_one(struct step_node *node, const struct step_event *event)
{
    step(&node->step, event, &node->actions);
    step_node_carry_out(node);
}

static enum step_event_kind event_of_command(const struct command *command)
{
    switch (command->class) {
    case COMMAND_WRITE:
        return ON_APPEND;
    case COMMAND_READ:
        return ON_READ;
    case COMMAND_TRANSFER:
        return ON_TRANSFER;
    case COMMAND_STATUS: /* command_is_local: none of these is any business of Raft's */
    case COMMAND_SETTING:
    case COMMAND_RESET_STATISTICS:
    case COMMAND_SNAPSHOT:
    case COMMAND_BACKUP:
        break;
    }
    UNREACHABLE();
}

static void tell_command(struct step_node *node, struct command *command)
{
    struct step_event event = event_of(node, event_of_command(command));
    struct span body = command->body;
    event.as.client = (struct step_client){.body = body,
                                           .arrived_ns = command->arrived_ns,
                                           .after_write = command->after_write,
                                           .may_redirect = command->may_redirect,
                                           .forwarded = command->forwarded,
                                           .taker = command->taker,
                                           .serial = command->serial};
    /* A read is answered, and a redirect worded, from the body; the bytes of other commands are the
     * machine's affair from now on. */
    bool keeps_body = command->class == COMMAND_READ || command->may_redirect;
    if (!keeps_body)
        command->body = (struct span){0};
    event.as.client.token = tokens_put(&node->tokens, command);
    tell_one(node, &event);
    if (!keeps_body)
        span_release(&body);
}

/* Entries were applied, and more are committed: whether there is to be more at once depends on what
 * it has cost. */
static bool tell_applied(struct step_node *node)
{
    const struct raft *raft = &node->server->raft;
    bool more = node->applied && raft->last_applied < raft->commit_index;
    node->applied = false;
    if (!more)
        return false;
    struct step_event event = event_of(node, ON_APPLIED);
    event.as.work = work_batch_is_over(&node->apply_batch) ? UINT64_MAX : node->applied_work;
    node->applied_work = 0;
    tell_one(node, &event);
    return true;
}

/* Tells what came of carrying out the last event's actions. Returns whether there was anything. */
static bool tell_consequence(struct step_node *node)
{
    if (tell_applied(node))
        return true;
    struct command *command = command_list_take(&node->accepted);
    if (command != NULL) {
        tell_command(node, command);
        return true;
    }
    if (node->unsent_count > 0) {
        struct step_event event = event_of(node, ON_UNSENT);
        event.as.call = node->unsent[0]; /* in the order in which they were sent */
        node->unsent_count--;
        memmove(node->unsent, node->unsent + 1, node->unsent_count * sizeof(node->unsent[0]));
        tell_one(node, &event);
        return true;
    }
    if (node->failed_read_count > 0) {
        struct entries_read failed = node->failed_reads[--node->failed_read_count];
        struct step_event event = event_of(node, ON_ENTRIES_READ);
        event.as.read = &failed;
        tell_one(node, &event);
        return true;
    }
    if (node->failed_piece_count > 0) {
        struct piece_read failed = node->failed_pieces[--node->failed_piece_count];
        struct step_event event = event_of(node, ON_PIECE_READ);
        event.as.piece = &failed;
        tell_one(node, &event);
        return true;
    }
    if (node->piece_lost) {
        struct step_event event = event_of(node, ON_SNAPSHOT_LOST);
        event.as.order = node->server->raft.incoming.order;
        node->piece_lost = false;
        tell_one(node, &event);
        return true;
    }
    return false;
}

static void tell(struct step_node *node, const struct step_event *event)
{
    tell_one(node, event);
    while (tell_consequence(node))
        continue;
}

/* ---- mail ---- */

static void tell_commands(struct step_node *node, struct command_list *commands)
{
    struct leader_pending *lead = node->step.state == RAFT_LEADER ? &node->step.lead : NULL;
    struct command *command;
    while ((command = command_list_take(commands)) != NULL) {
        /* What a server knows of itself, and its settings, are no business of Raft's. */
        if (command_is_local(command))
            server_answer_local(node->server, lead, command);
        else
            tell_command(node, command);
    }
}

static void tell_news(struct step_node *node, const struct snapshot_result *result)
{
    struct server *server = node->server;
    struct step_event event = event_of(node, ON_SNAPSHOT_LOST);
    struct snapshot_point point;
    switch (result->news) {
    case SNAPSHOT_PROGRESS: /* this pile's end hands over the next slice */
        return;
    case SNAPSHOT_TAKEN:
        point = snapshot_thread_taken(&server->snapshot.thread);
        event.kind = ON_SNAPSHOT_TAKEN;
        event.as.point = &point;
        break;
    case SNAPSHOT_NOT_TAKEN:
        server_snapshot_taken(server, result->order, false);
        return;
    case SNAPSHOT_RECEIVED:
        node->received = server_fetch_machine(server, &point);
        if (node->received == NULL)
            return;
        event.kind = ON_SNAPSHOT_RECEIVED;
        event.as.point = &point;
        break;
    case SNAPSHOT_NOT_RECEIVED:
        event.as.order = result->order;
        break;
    }
    tell(node, &event);
    if (result->news == SNAPSHOT_TAKEN)
        server_snapshot_taken(server, result->order, true);
}

static void tell_mail(struct step_node *node, struct mail *mail)
{
    struct step_event event = event_of(node, ON_STOP);
    switch (mail->kind) {
    case MAIL_PRE_VOTE:
    case MAIL_PRE_VOTE_REPLY:
    case MAIL_REQUEST_VOTE:
    case MAIL_REQUEST_VOTE_REPLY:
    case MAIL_APPEND_ENTRIES:
    case MAIL_APPEND_ENTRIES_REPLY:
    case MAIL_FORWARD:
    case MAIL_FORWARD_REPLY:
    case MAIL_TIMEOUT_NOW:
    case MAIL_UNRECOGNISED:
    case MAIL_INSTALL_SNAPSHOT:
    case MAIL_INSTALL_SNAPSHOT_REPLY:
        event.kind = step_event_of_message(mail->as.message.kind);
        event.as.message = &mail->as.message;
        break;
    case MAIL_COMMANDS:
        tell_commands(node, &mail->as.commands);
        return;
    case MAIL_MET:
        event.kind = ON_MET;
        event.as.met = &mail->as.met;
        break;
    case MAIL_JOIN: /* a blank server has said nothing yet: its machine need not know */
        identity_join(node->server, &mail->as.joining);
        node->disk_failed = node->disk_failed || node->server->failure.code != ERROR_NONE;
        return;
    case MAIL_CONNECTED:
        event.kind = ON_CONNECTED;
        event.as.peer = mail->as.peer;
        break;
    case MAIL_ROOM: /* reads that the machine has confirmed are the node's: served by now */
        return;
    case MAIL_DISCONNECTED:
        event.kind = ON_CONNECTION_LOST;
        event.as.peer = mail->as.peer;
        break;
    case MAIL_ENTRIES_READ:
        if (node->step.state == RAFT_LEADER)
            server_snapshot_note_read(node->server, &node->step.lead.leadership, &mail->as.read);
        event.kind = ON_ENTRIES_READ;
        event.as.read = &mail->as.read;
        break;
    case MAIL_PIECE_READ:
        event.kind = ON_PIECE_READ;
        event.as.piece = &mail->as.piece;
        break;
    case MAIL_SNAPSHOT:
        tell_news(node, &mail->as.snapshot);
        return;
    case MAIL_CAMPAIGN:
        event.kind = ON_CAMPAIGN;
        event.as.campaign = (struct step_campaign){true, "an election was ordered"};
        break;
    case MAIL_ELECTION_TIMEOUT:
        event.kind = ON_CAMPAIGN;
        event.as.campaign = (struct step_campaign){false, "the election timer was fired"};
        break;
    case MAIL_STOP:
        event.as.why = "it was told to";
        break;
    }
    tell(node, &event);
}

static void tell_room(struct step_node *node)
{
    struct step_event event = event_of(node, ON_ROOM);
    struct server *server = node->server;
    struct snapshot_thread *snapshots = &server->snapshot.thread;
    event.as.room = (struct step_room){
        .bytes = storage_room(server->storage),
        .soon_bytes = storage_room_soon(server->storage),
        .piece_bytes = snapshot_thread_receive_room(snapshots),
        .no_space = snapshot_thread_no_space(snapshots),
        .log_bytes = server_snapshot_log_bytes(server),
        .compaction = server_snapshot_limits(server),
    };
    tell(node, &event);
}

static void tell_settings(struct step_node *node)
{
    const struct server_options *options = &node->server->options;
    struct step_event event = event_of(node, ON_SETTINGS);
    event.as.settings =
        (struct step_settings){options->leader_wait_ns, options->forward_timeout_ns};
    tell(node, &event);
}

static void tell_timeout(struct step_node *node)
{
    struct step_event event = event_of(node, ON_TIMEOUT);
    event.as.timers_held = node->server->timers_held;
    tell(node, &event);
}

static void tell_stop(struct step_node *node, const char *why)
{
    struct step_event event = event_of(node, ON_STOP);
    event.as.why = why;
    tell(node, &event);
}

static void tell_settle(struct step_node *node)
{
    struct step_event event = event_of(node, ON_BATCH_END);
    node->changed = false;
    node->applied_work = 0;
    work_batch_begin(&node->apply_batch, UINT64_MAX);
    tell(node, &event);
}

static void tell_persisted(struct step_node *node, const struct step_persisted *persisted)
{
    struct step_event event = event_of(node, ON_PERSISTED);
    event.as.persisted = *persisted;
    tell(node, &event);
}

/* ---- the loop ---- */

static bool has_stopped(const struct step_node *node)
{
    return node->step.state == RAFT_STOPPED;
}

static void tell_time(struct step_node *node)
{
    node->now_ns = clock_monotonic_ns();
}

/* Another batch of the reads that are ready. */
static void serve_reads(struct step_node *node)
{
    work_batch_begin(&node->read_batch, server_begin_reads(node->server));
    while (!work_batch_is_over(&node->read_batch) && node->reads.first != NULL)
        work_batch_add(&node->read_batch,
                       server_read(node->server, command_list_take(&node->reads)));
}

/* Answers to clients here and at other servers; they were given only after a quorum's disks held
 * what they tell. */
static void speak(struct step_node *node)
{
    struct server *server = node->server;
    if (!server->raft.metadata_unsaved)
        outbox_send_early(&server->outbox, server->transport);
    server_flush_answers(server);
}

/* The end of a pile: what was asked of the disk is done at once, and has consequences. */
static void settle(struct step_node *node)
{
    do {
        tell_settle(node);
        speak(node);
        struct step_persisted persisted;
        if (node->disk_failed || !step_node_store(node, &persisted)) {
            tell_stop(node, "the disk failed");
            return;
        }
        if (persisted.store == 0)
            return; /* nothing was asked for */
        tell_time(node);
        tell_persisted(node, &persisted);
        speak(node);
    } while (!has_stopped(node) && (node->stores.newest != 0 || node->changed));
}

static void work_on_snapshots(struct step_node *node)
{
    bool leads = node->step.state == RAFT_LEADER;
    server_snapshot_remove_old(node->server, leads ? &node->step.lead.leadership : NULL);
    server_snapshot_work(node->server);
    server_note_status(node->server, leads ? &node->step.lead : NULL);
}

static void run(struct server *server)
{
    struct step_node *node = server->kept;
    step_init(&node->step, &server->raft, server->options.seed);
    node->step.taker.start = server->metadata.start_count;
    tell_time(node);
    tell_settings(node);
    node->alarm_ns = step_begin(&node->step, node->now_ns);
    while (!has_stopped(node)) {
        /* Between two batches of reads there is only a look into the mailbox. */
        bool reads_left = node->reads.first != NULL || ways_back_left(&server->ways_back);
        u64 until_ns = reads_left ? 0 : node->alarm_ns;
        u64 heard_ns = server_collect(server, until_ns, &node->now_ns);
        serve_reads(node);
        tell_room(node);
        struct mail *mail;
        while (!has_stopped(node) && !node->disk_failed &&
               (mail = server_next_mail(server)) != NULL)
            tell_mail(node, mail);
        /* All that came before the alarm has been told. An alarm that this mail has set for an
         * instant in the past waits for the next look: what set it may be forwarded until then. */
        if (heard_ns >= until_ns && heard_ns >= node->alarm_ns && !has_stopped(node))
            tell_timeout(node);
        if (server_take_change(server) && !has_stopped(node))
            tell_settings(node);
        if (!has_stopped(node))
            settle(node);
        if (!has_stopped(node)) {
            identity_show(server);
            work_on_snapshots(node);
        }
    }
}

const struct design step_design = {
    .create = create, .destroy = destroy, .run = run, .parked = parked};
