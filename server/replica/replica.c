/* replica.c - see replica.h. */
#include "server/replica/replica.h"

#include <inttypes.h>

#include "common/clock.h"
#include "server/replica/events.h"

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

void server_apply_options(struct server *server)
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

/* Who leads no more lets whoever leads next answer them. */
static void give_back_reads(struct server *server)
{
    struct command *read;
    while ((read = ways_back_take(&server->ways_back)) != NULL)
        command_give_back(read);
}

void server_enter(struct server *server, enum raft_state state, const char *why)
{
    enum raft_state from = server->state;
    server->state = state;
    liveness_outdate_status(&server->liveness);
    if (from != state)
        server->state_since_ns = clock_monotonic_ns();
    if (from == RAFT_LEADER)
        give_back_reads(server);
    /* A server alone in its half of a partition campaigns again and again: one line is enough. */
    enum report_level level = from == state ? REPORT_DEBUG : REPORT_INFO;
    REPORT(server->world.report, level, "server", "term %" PRIu64 ": %s -> %s: %s",
           server->raft.current_term, raft_state_word(from), raft_state_word(state), why);
    events_became(&server->events, why);
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

enum term_verdict server_check_term(struct server *server, const struct mail *mail,
                                    bool hears_leader)
{
    if (!mail_is_message(mail))
        return TERM_CURRENT;
    const struct message *message = &mail->as.message;
    enum term_verdict verdict = check_term(&server->raft, message, hears_leader);
    if (verdict == TERM_STALE || verdict == TERM_IGNORE)
        server_refuse(server, message);
    return verdict;
}

enum raft_state server_stop_because(struct server *server, const char *what, server_id who)
{
    (void)error_set(&server->failure, ERROR_MISMATCH, "server %" PRIu32 ": %s", who, what);
    REPORT(server->world.report, REPORT_ERROR, "server", "stopping: %s", server->failure.text);
    return RAFT_STOPPED;
}

bool server_take_change(struct server *server)
{
    bool changed = server->settings_changed;
    server->settings_changed = false;
    return changed;
}
