/* server.c - see server.h: a server is built here, and the rooms are wired together. */
#include "server/server.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/memory.h"
#include "server/dispatch/dispatch.h"
#include "server/per_state/per_state.h"
#include "server/replica/identity.h"
#include "server/step/node/node.h"

enum {
    CALL_BITS = 40 /* of a call's number within one life; the start counter stands above them */
};

static const char *const design_words[] = {
#define X(name, word) [name] = (word),
    SERVER_DESIGNS(X)
#undef X
};

bool server_design_parse(const char *word, enum server_design *design)
{
    for (size_t i = 0; i < ARRAY_LENGTH(design_words); i++) {
        if (strcmp(design_words[i], word) == 0) {
            *design = (enum server_design)i;
            return true;
        }
    }
    return false;
}

const char *server_design_word(enum server_design design)
{
    return design_words[design];
}

/* ---- building ---- */

static void apply_options(struct server *server)
{
    struct raft *raft = &server->raft;
    raft->election_timeout_ns_min = server->options.election_timeout_ns_min;
    raft->election_timeout_ns_max = server->options.election_timeout_ns_max;
    raft->heartbeat_ns = server->options.heartbeat_ns;
    raft->message_bytes_max = server->options.message_bytes_max;
    raft->window_bytes_max = server->options.window_bytes_max;
    raft->round_bytes_max = server->options.round_bytes_max;
    raft->uncommitted_bytes_max = server->options.uncommitted_bytes_max;
    raft->room_bytes_min =
        u64_min(server->options.message_bytes_max, server->options.segment_bytes / 4);
    atomic_store(&server->liveness.slow_ns, server->options.slow_sync_ns);
    atomic_store(&server->liveness.patience_ns, server->options.forward_timeout_ns);
    if (server->storage != NULL)
        storage_set_slow_sync(server->storage, server->options.slow_sync_ns);
    if (server->transport != NULL && server->transport->ops->pulse != NULL)
        server->transport->ops->pulse(server->transport, server->options.heartbeat_ns,
                                      PULSE_TIMEOUTS * server->options.election_timeout_ns_max);
}

/* What storage_open's walk over the log needs. */
struct recovering {
    struct server *server;
    struct storage_recovery recovery; /* complete before the first entry comes */
    bool based;                       /* the log's base is set */
    struct error error;               /* the first entry that this version cannot take */
};

static bool recover_configuration(struct recovering *recovering, const struct entry *entry)
{
    struct raft *raft = &recovering->server->raft;
    if (lineage_take(raft, entry, &recovering->error) == ERROR_NONE)
        return true;
    (void)error_add(&recovering->error, "entry %" PRIu64, entry->id.index);
    return false;
}

/* ---- a snapshot at the start ---- */

/* The machine is made anew: nothing of a snapshot that turned out damaged may stay in it. */
static void renew_machine(struct server *server)
{
    struct machine *machine = server->machine->ops->create_empty(server->machine);
    server->machine->ops->destroy(server->machine);
    server->machine = machine;
    const struct configuration none = {0};
    lineage_replace(&server->raft, &none, true);
}

static bool recover_snapshot(void *context, const struct snapshot_head *head)
{
    struct recovering *recovering = context;
    struct server *server = recovering->server;
    renew_machine(server);
    lineage_replace(&server->raft, &head->configuration, true);
    server->raft.log.last_time_ns = head->time_ns;
    return true;
}

static bool recover_piece(void *context, const u8 *data, size_t size)
{
    struct recovering *recovering = context;
    struct machine *machine = recovering->server->machine;
    return machine->ops->restore(machine, data, size);
}

static bool recover_snapshot_end(void *context)
{
    struct recovering *recovering = context;
    struct machine *machine = recovering->server->machine;
    return machine->ops->restore_end(machine);
}

static void recover_without_snapshot(void *context)
{
    struct recovering *recovering = context;
    renew_machine(recovering->server);
    recovering->server->raft.log.last_time_ns = 0;
}

/* What the log goes on from. Called before the first entry, and once more if there is none. */
static void recover_base(struct recovering *recovering)
{
    struct raft *raft = &recovering->server->raft;
    const struct storage_recovery *recovery = &recovering->recovery;
    if (recovering->based)
        return;
    recovering->based = true;
    log_reset(&raft->log, recovery->base);
    raft->snapshot = (struct snapshot_name){recovery->snapshot.last, recovery->snapshot.size,
                                            recovery->snapshot.checksum};
    raft->commit_index = recovery->snapshot.last.index;
    raft->last_applied = recovery->snapshot.last.index;
    raft->promised = recovery->metadata.promised;
}

/* ---- the log ---- */

/* Entries known to be committed go straight into the machine, without a stay in memory; the others
 * may yet be truncated, and must wait in memory until their commit is known again. */
static void recover_entry(void *context, const struct entry *entry, const u8 *record, u32 size)
{
    struct recovering *recovering = context;
    struct server *server = recovering->server;
    struct raft *raft = &server->raft;
    if (recovering->error.code != ERROR_NONE)
        return;
    recover_base(recovering);
    if (!entry_type_known((u8)entry->type)) {
        (void)error_set(&recovering->error, ERROR_MISMATCH,
                        "entry %" PRIu64 " has type %d, which this version does not know: start a "
                        "newer one",
                        entry->id.index, (int)entry->type);
        return;
    }
    if (lineage_minds(entry->type) && entry->id.index > raft->configuration.index &&
        !recover_configuration(recovering, entry))
        return;
    if (entry->id.index <= recovering->recovery.commit_hint) {
        log_restore_entry(&raft->log, entry->id);
        raft->log.last_time_ns = u64_max(raft->log.last_time_ns, entry->time_ns);
        if (entry->id.index <= recovering->recovery.snapshot.last.index)
            return; /* the machine has it */
        snapshotting_note(server, size);
        struct machine_context machine_context = {entry->id, entry->time_ns};
        if (entry->type == ENTRY_COMMAND)
            server->machine->ops->apply(server->machine, &machine_context, entry->payload,
                                        entry->payload_size, NULL);
        raft->commit_index = entry->id.index;
        raft->last_applied = entry->id.index;
        return;
    }
    struct block *block = block_create_copy(record, size);
    log_append_record(&raft->log, block, block->data, size);
    block_release(block);
    log_saved(&raft->log, entry->id.index);
}

static enum error_code recover(struct server *server, struct error *error)
{
    struct recovering recovering = {.server = server};
    struct rng rng; /* one of its own: the timeouts do not depend on it */
    rng_init(&rng, ~server->options.seed);
    struct storage_options options = {.segment_bytes = server->options.segment_bytes,
                                      .record_bytes_max = server->options.record_bytes_max,
                                      .start_id = rng_next(&rng) | 1};
    struct storage_loader loader = {.piece = recover_piece,
                                    .snapshot_end = recover_snapshot_end,
                                    .no_snapshot = recover_without_snapshot,
                                    .each = recover_entry,
                                    .context = &recovering};
    if (server->machine->ops->restore != NULL)
        loader.snapshot = recover_snapshot;
    enum error_code code = storage_open(server->world.vfs, &options, server->world.report, &loader,
                                        &recovering.recovery, &server->storage, error);
    if (code != ERROR_NONE)
        return code;
    storage_set_slow_sync(server->storage, server->options.slow_sync_ns);
    storage_set_liveness(server->storage, &server->liveness);
    recover_base(&recovering);
    if (recovering.error.code != ERROR_NONE) {
        *error = recovering.error;
        return error->code;
    }
    server_id self = recovering.recovery.metadata.self;
    if (server->options.self != SERVER_NONE && server->options.self != self)
        return error_set(error, ERROR_MISMATCH,
                         "%s belongs to server %" PRIu32 ", and --id says %" PRIu32
                         ": a server must only ever run on its own directory",
                         server->world.vfs->root, self, server->options.self);
    server->opening = recovering.recovery.opening;
    server->metadata = recovering.recovery.metadata;
    server->taker.start = server->metadata.start_count;
    server->raft.self = server->metadata.self;
    server->raft.current_term = server->metadata.current_term;
    server->raft.voted_for = server->metadata.voted_for;
    /* A reply to a call of an earlier life may still be on its way, over a connection that was made
     * to this one: no life repeats the calls of another. A directory that was set back counts the
     * same start twice, so its calls begin at a random one. */
    server->raft.next_call = (server->metadata.start_count << CALL_BITS) + 1 +
                             (server->metadata.starts[0] >> (64 - CALL_BITS + 1));
    server->committed_seen = server->raft.commit_index;
    recognition_recover(server, &recovering.recovery);
    return ERROR_NONE;
}

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
    apply_options(made);
    rng_init(&made->rng, options->seed);
    mailbox_init(&made->mailbox, options->peer_mail_bytes_max, options->client_mail_bytes_max);
    outbox_init(&made->outbox);
    buffer_init(&made->answer);
    events_init(&made->events, world->trace, &made->raft, &made->state);
    if (options->design == DESIGN_DISPATCH)
        made->dispatch = dispatch_create(made);
    else if (options->design == DESIGN_STEP)
        made->step = step_node_create(made);
    enum error_code code = recover(made, error);
    fetcher_init(&made->fetcher, made->storage, server_slot(made), world->report);
    snapshotting_init(made);
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
    if (server->dispatch != NULL)
        dispatch_close(server->dispatch);
}

void server_destroy(struct server *server)
{
    server_close(server);
    fetcher_deinit(&server->fetcher);
    snapshotting_deinit(server);
    struct command *command;
    while ((command = command_list_take(&server->parked)) != NULL)
        server_fail(server, command, COMMAND_STOPPING);
    if (server->step != NULL)
        step_node_destroy(server->step);
    server_flush_answers(server);
    mail_pile_clear(&server->pile);
    mailbox_deinit(&server->mailbox);
    outbox_deinit(&server->outbox);
    server->machine->ops->destroy(server->machine);
    raft_deinit(&server->raft);
    if (server->storage != NULL)
        storage_close(server->storage);
    events_deinit(&server->events);
    liveness_deinit(&server->liveness);
    buffer_deinit(&server->answer);
    if (server->dispatch != NULL)
        dispatch_destroy(server->dispatch);
    memory_free(server->save_spans);
    memory_free(server);
}

struct mail_slot *server_slot(struct server *server)
{
    return server->dispatch != NULL ? &server->dispatch->slot : &server->mailbox.slot;
}

/* ---- running ---- */

enum error_code server_run(struct server *server, struct transport *transport, struct error *error)
{
    server->transport = transport;
    server->raft.room_bytes = storage_room_soon(server->storage);
    events_started(&server->events);
    recognition_say(server);
    server_note_status(server, NULL);
    switch (server->options.design) {
    case DESIGN_PER_STATE:
        per_state_run(server);
        break;
    case DESIGN_DISPATCH:
        dispatch_run(server->dispatch);
        break;
    case DESIGN_STEP:
        step_node_run(server->step);
        break;
    }
    server_flush_answers(server);
    server_close(server);
    *error = server->failure;
    return error->code;
}

void server_enter(struct server *server, enum raft_state state, const char *why)
{
    enum raft_state from = server->state;
    server->state = state;
    liveness_outdate_status(&server->liveness);
    if (from != state)
        server->state_since_ns = clock_monotonic_ns();
    /* A server alone in its half of a partition campaigns again and again: one line is enough. */
    enum report_level level = from == state ? REPORT_DEBUG : REPORT_INFO;
    REPORT(server->world.report, level, "server", "term %" PRIu64 ": %s -> %s: %s",
           server->raft.current_term, raft_state_word(from), raft_state_word(state), why);
    events_became(&server->events, why);
}

static struct pace_clocks read_clocks(const struct server *server)
{
    return (struct pace_clocks){
        .now_ns = clock_monotonic_ns(),
        .waited_ns = storage_timing(server->storage)->waited_ns,
        .thread = thread_self(),
        .thread_ns = clock_thread_ns,
    };
}

/* For as long as a round lasts, whatever makes it long, this thread answers nobody. */
static void tell_busy(struct server *server, bool begins)
{
    if (server->transport != NULL && server->transport->ops->busy != NULL)
        server->transport->ops->busy(server->transport, begins);
}

u64 server_begin_round(struct server *server)
{
    struct pace_clocks clocks = read_clocks(server);
    if (server->pace.began_ns == 0)
        tell_busy(server, true);
    server->pile_wall_ns = clock_wall_ns();
    pace_begin(&server->pace, &clocks);
    liveness_begin_round(&server->liveness, server->pace.began_ns);
    return clocks.now_ns;
}

void server_pause_round(struct server *server)
{
    struct pace_clocks clocks = read_clocks(server);
    pace_pause(&server->pace, &clocks);
}

void server_end_round(struct server *server)
{
    struct pace_clocks clocks = read_clocks(server);
    tell_busy(server, false);
    pace_end(&server->pace, &clocks);
    liveness_end_round(&server->liveness);
}

u64 server_collect(struct server *server, u64 deadline_ns, u64 *now_ns)
{
    server_end_round(server);
    /* Between two helpings of what is to be applied there is only a look into the mailbox. */
    if (server->raft.last_applied < server->raft.commit_index)
        deadline_ns = 0;
    u64 heard_ns =
        mailbox_collect(&server->mailbox, &server->pile, server->raft.round_bytes_max, deadline_ns);
    *now_ns = server_begin_round(server);
    return heard_ns;
}

/* Each write has its place in this server's stream from here on, wherever it waits and goes. */
static void number_commands(struct server *server, struct command_list *commands)
{
    for (struct command *command = commands->first; command != NULL; command = command->next) {
        if (command->class == COMMAND_WRITE)
            server->write_serial++;
        command->serial = server->write_serial;
    }
}

void server_open_mail(struct server *server, struct mail *mail)
{
    if (mail_is_message(mail) && !mail->opened)
        events_received(&server->events, &mail->as.message);
    if (mail->kind == MAIL_COMMANDS && !mail->opened)
        number_commands(server, &mail->as.commands);
    mail->opened = true;
}

void server_done_with_mail(struct server *server)
{
    mail_destroy(mail_pile_take(&server->pile));
}

void server_put(struct server *server, struct message *message)
{
    events_sent(&server->events, message);
    outbox_put(&server->outbox, message);
}

void server_refuse(struct server *server, const struct message *request)
{
    /* A reply of an older term answers a question that nobody asks any more; and TIMEOUT_NOW has no
     * reply. */
    if (message_is_reply(request->kind) || request->kind == MESSAGE_TIMEOUT_NOW)
        return;
    struct message refusal;
    if (request->kind == MESSAGE_FORWARD && streams_know(&server->raft.streams, request))
        return; /* a copy of what it has taken when it led: it was executed, or may be */
    raft_refuse(&server->raft, request, &refusal);
    server_put(server, &refusal);
}

enum raft_state server_stop_because(struct server *server, const char *what, server_id who)
{
    (void)error_set(&server->failure, ERROR_MISMATCH, "server %" PRIu32 ": %s", who, what);
    REPORT(server->world.report, REPORT_ERROR, "server", "stopping: %s", server->failure.text);
    return RAFT_STOPPED;
}

/* ---- commands without a leader ---- */

void server_park(struct server *server, struct command *command)
{
    struct command_list one = {0};
    command_list_put(&one, command);
    command_list_merge(&server->parked, &one);
}

u64 server_parked_until_ns(const struct server *server)
{
    const struct command *oldest = server->parked.first;
    return oldest != NULL ? oldest->arrived_ns + server->options.leader_wait_ns : UINT64_MAX;
}

u64 server_expire_parked(struct server *server, u64 now_ns)
{
    u64 until_ns;
    while ((until_ns = server_parked_until_ns(server)) <= now_ns) {
        struct command *command = command_list_take(&server->parked);
        if (command->class == COMMAND_TRANSFER)
            server_conclude_order(server, command);
        else
            server_fail(server, command, COMMAND_NO_LEADER);
    }
    return until_ns;
}

/* The body is "key\0value\0", put together by the client port. */
static void change_setting(struct server *server, const struct span *body, struct buffer *answer)
{
    struct error error = {0};
    const char *key = (const char *)body->data;
    const char *value = key + strlen(key) + 1;
    enum error_code code =
        server->world.set != NULL
            ? server->world.set(server->world.set_context, key, value, &server->options, &error)
            : error_set(&error, ERROR_CONFIG, "%s: this server takes no settings", key);
    if (code == ERROR_NONE) {
        apply_options(server);
        server->settings_changed = true;
        buffer_append_string(answer, "+OK\r\n");
    } else {
        buffer_append_format(answer, "-ERR %s\r\n", error.text);
    }
}

static void reset_statistics(struct server *server, struct buffer *answer)
{
    storage_reset_timing(server->storage);
    pace_reset(&server->pace);
    snapshotting_reset_syncs(server);
    buffer_append_string(answer, "+OK\r\n");
}

/* Whoever answers is not stalled, and tells what is so now: compare liveness_describe_stall. */
static void describe_now(struct server *server, const struct lead *lead, struct buffer *answer)
{
    buffer_append_string(answer, "raft_stalled_ms:0\r\nraft_status_age_ms:0\r\n");
    server_describe(server, lead, answer);
}

bool server_take_change(struct server *server)
{
    bool changed = server->settings_changed;
    server->settings_changed = false;
    return changed;
}

void server_answer_local(struct server *server, struct lead *lead, struct command *command)
{
    if (command->class == COMMAND_SNAPSHOT) {
        snapshotting_ask(server, command);
        return;
    }
    if (command->class == COMMAND_BACKUP) {
        snapshotting_lend(server, command);
        return;
    }
    buffer_clear(&server->answer);
    if (command->class == COMMAND_STATUS)
        describe_now(server, lead, &server->answer);
    else if (command->class == COMMAND_RESET_STATISTICS)
        reset_statistics(server, &server->answer);
    else
        change_setting(server, &command->body, &server->answer);
    server_answer(server, command, server->answer.data, server->answer.size);
}

/* ---- orders to hand leadership over ---- */

/* The number of the server that leads, or an error. */
void server_answer_order(struct server *server, struct command *command,
                         enum transfer_result result, server_id who)
{
    char text[160];
    buffer_clear(&server->answer);
    command->order_result = (u32)result;
    if (result == TRANSFER_DONE) {
        buffer_append_format(&server->answer, ":%" PRIu32 "\r\n", who);
    } else {
        transfer_describe(result, who, text, sizeof(text));
        buffer_append_format(&server->answer, "-%s\r\n", text);
    }
    server_answer(server, command, server->answer.data, server->answer.size);
}

void server_conclude_order(struct server *server, struct command *command)
{
    server_id who;
    enum transfer_result result =
        transfer_conclude(&server->raft, (server_id)command->wait_index, &who);
    server_answer_order(server, command, result, who);
}
