/* checks_figures.c - what a server's own figures and timers must say, whatever happens around it:
 * counters of bytes are what they count, times rise, and nobody takes a leader for dead that
 * speaks. Such a fault shows in no log; a counter that does not come back to 0 refuses clients for
 * ever. */
#include "server/dispatch/dispatch.h"
#include "server/step/node/node.h"
#include "test/sim/checks_see.h"

/* ---- elections ---- */

static u64 local_ns(const struct cluster *cluster, const struct sim_server *server)
{
    return sim_clock_local_ns(&server->clock, cluster->world.now_ns);
}

void checks_delivered(struct cluster *cluster, struct sim_server *server, const struct mail *mail)
{
    struct judged *judged = &cluster->checks.servers[server->id];
    const struct raft *raft = &server->server->raft;
    if (mail->kind == MAIL_APPEND_ENTRIES || mail->kind == MAIL_INSTALL_SNAPSHOT) {
        if (mail->as.message.term < raft->current_term)
            return; /* of a leadership that is over */
        judged->heard_ns = local_ns(cluster, server);
        judged->heard_term = mail->as.message.term;
        judged->heard_timeout_ns = raft->election_timeout_ns_min;
    } else if (mail->kind == MAIL_TIMEOUT_NOW || mail->kind == MAIL_CAMPAIGN ||
               mail->kind == MAIL_ELECTION_TIMEOUT || mail->kind == MAIL_DISCONNECTED) {
        judged->heard_ns = 0; /* it may campaign for another reason than silence */
        judged->may_campaign = true;
    }
}

/* Whether the server has read all that was delivered to it. */
static bool has_read_all(const struct sim_server *server)
{
    const struct server *live = server->server;
    bool all = mail_pile_is_empty(&live->mailbox.pile) &&
               mail_pile_is_empty(&live->mailbox.backlog) && mail_pile_is_empty(&live->pile) &&
               (live->options.design != DESIGN_DISPATCH || dispatch_of(live)->waiting == 0);
    for (server_id source = 0; source <= server->cluster->count; source++)
        all = all && server->readers[source].first == NULL;
    return all;
}

/* Nobody campaigns by time-out within the shortest election timeout of a message of its leader,
 * entries or a piece (Figure 2, Followers 2): what has arrived is read before anybody is given up.
 */
void checks_campaign(struct cluster *cluster, const struct sim_server *server,
                     struct judged *judged)
{
    const struct raft *raft = &server->server->raft;
    bool may_campaign = judged->may_campaign;
    if (may_campaign && has_read_all(server))
        judged->may_campaign = false;
    u64 shortest_ns = u64_min(judged->heard_timeout_ns, raft->election_timeout_ns_min);
    u64 now_ns = local_ns(cluster, server);
    if (server->server->state != RAFT_CANDIDATE || server->last_state == RAFT_CANDIDATE ||
        may_campaign || judged->heard_ns == 0 || raft->current_term != judged->heard_term ||
        now_ns >= judged->heard_ns + shortest_ns)
        return;
    cluster_fail(cluster, "who hears a leader waits", cluster_set_of(server->id),
                 "server %u campaigns, and heard its leader of term " U64 " " U64
                 " us ago; the shortest election timeout is " U64 " us",
                 server->id, judged->heard_term, (now_ns - judged->heard_ns) / 1000,
                 shortest_ns / 1000);
}

/* ---- entries ---- */

/* The times of entries never fall. */
void checks_entries(struct cluster *cluster, const struct sim_server *server, u64 first)
{
    const struct log *log = &server->server->raft.log;
    for (u64 index = u64_max(first, 2); index <= log->last_index; index++) {
        if (!log_in_memory(log, index - 1) || !log_in_memory(log, index))
            continue;
        u64 before_ns = log_entry(log, index - 1).time_ns;
        u64 time_ns = log_entry(log, index).time_ns;
        if (time_ns < before_ns)
            cluster_fail(cluster, "times of entries", cluster_set_of(server->id),
                         "entry " U64 " of server %u is " U64 " us older than the one before it",
                         index, server->id, (before_ns - time_ns) / 1000);
    }
}

/* ---- counters ---- */

static const struct leader_pending *lead_of(const struct server *server)
{
    if (server->state != RAFT_LEADER)
        return NULL;
    return server->options.design == DESIGN_STEP ? &step_node_of(server)->step.lead : server->lead;
}

static void wrong_count(struct cluster *cluster, const struct sim_server *server, const char *what,
                        u64 count, u64 wanted)
{
    cluster_fail(cluster, "counters of bytes", cluster_set_of(server->id),
                 "server %u counts " U64 " bytes %s, and there are " U64, server->id, count, what,
                 wanted);
}

static u64 bytes_of(const struct command_list *list)
{
    u64 bytes = 0;
    for (const struct command *command = list->first; command != NULL; command = command->next)
        bytes += command->body.size;
    return bytes;
}

static void look_at_list(struct cluster *cluster, const struct sim_server *server,
                         const struct command_list *list, const char *what)
{
    u64 bytes = bytes_of(list);
    if (list->bytes != bytes)
        wrong_count(cluster, server, what, list->bytes, bytes);
}

static void look_at_flights(struct cluster *cluster, const struct sim_server *server,
                            const struct leadership *leadership)
{
    for (u32 position = 0; position < leadership->count; position++) {
        const struct progress *progress = &leadership->peers[position];
        u64 bytes = 0;
        for (u32 i = 0; i < progress->flight_count; i++)
            bytes += progress->flights[(progress->flight_first + i) % IN_FLIGHT_MAX].bytes;
        if (progress->flight_bytes != bytes)
            wrong_count(cluster, server, "on their way to a peer", progress->flight_bytes, bytes);
    }
}

static void look_at_lead(struct cluster *cluster, const struct sim_server *server,
                         const struct leader_pending *lead)
{
    const struct raft *raft = &server->server->raft;
    u64 bytes = log_bytes(&raft->log, raft->commit_index + 1, raft->log.last_index);
    if (lead->leadership.uncommitted_bytes != bytes)
        wrong_count(cluster, server, "behind its commit index", lead->leadership.uncommitted_bytes,
                    bytes);
    look_at_list(cluster, server, &lead->writes, "of writes that wait");
    look_at_list(cluster, server, &lead->reads, "of reads that wait");
    look_at_list(cluster, server, &lead->held, "of commands that are held");
    look_at_flights(cluster, server, &lead->leadership);
}

static void look_at_mailbox(struct cluster *cluster, const struct sim_server *server,
                            const struct mailbox *mailbox)
{
    u64 bytes = 0;
    for (const struct mail *mail = mailbox->pile.first; mail != NULL; mail = mail->next)
        bytes += mail_is_message(mail) || mail->kind == MAIL_COMMANDS ? mail->size : 0;
    if (mailbox->peer_bytes + mailbox->client_bytes != bytes)
        wrong_count(cluster, server, "in its mailbox", mailbox->peer_bytes + mailbox->client_bytes,
                    bytes);
}

void checks_counters(struct cluster *cluster, const struct sim_server *server)
{
    const struct server *live = server->server;
    const struct leader_pending *lead = lead_of(live);
    const struct raft *raft = &live->raft;
    /* The term of an entry was saved before it came; so also at a restart. */
    if (log_last(&raft->log).term > raft->current_term)
        cluster_fail(cluster, "terms of entries", cluster_set_of(server->id),
                     "the last entry of server %u is of term " U64 ", and its own term is " U64,
                     server->id, log_last(&raft->log).term, raft->current_term);
    if (lead != NULL)
        look_at_lead(cluster, server, lead);
    look_at_list(cluster, server, &live->parked, "of commands that wait for a leader");
    for (u32 i = 0; i < live->ways_back.count; i++)
        look_at_list(cluster, server, &live->ways_back.ways[i].waiting, "of reads without room");
    look_at_mailbox(cluster, server, &live->mailbox);
    const struct forwarding *forwarding =
        live->options.design == DESIGN_STEP       ? &step_node_of(live)->step.forwarding
        : live->options.design == DESIGN_DISPATCH ? &dispatch_of(live)->forwarding
                                                  : NULL;
    if (forwarding == NULL || live->state != RAFT_FOLLOWER)
        return;
    look_at_list(cluster, server, &forwarding->writes, "of writes for the leader");
    look_at_list(cluster, server, &forwarding->reads, "of reads for the leader");
}

static void look_at_rest(struct cluster *cluster, const struct sim_server *server)
{
    const struct server *live = server->server;
    const struct leader_pending *lead = lead_of(live);
    const struct snapshot_thread *snapshots = &live->snapshot.thread;
    struct {
        const char *what;
        u64 count;
    } waits[] = {
        {"commands wait for a leader", live->parked.count},
        {"bytes of a snapshot are to be written", snapshots->take_bytes},
        {"bytes of a received snapshot are to be written", snapshots->receive_bytes},
        {"messages wait for the disk", outbox_is_empty(&live->outbox) ? 0 : 1},
        {"writes wait", lead != NULL ? lead->writes.count : 0},
        {"reads wait", lead != NULL ? lead->reads.count : 0},
        {"reads wait for room for their answers", ways_back_waiting(&live->ways_back)},
        {"commands are held", lead != NULL ? lead->held.count : 0},
        {"bytes are uncommitted", lead != NULL ? lead->leadership.uncommitted_bytes : 0},
        {"bytes are on their way", 0},
    };
    for (u32 position = 0; lead != NULL && position < lead->leadership.count; position++)
        waits[ARRAY_LENGTH(waits) - 1].count += lead->leadership.peers[position].flight_bytes;
    for (size_t i = 0; i < ARRAY_LENGTH(waits); i++) {
        if (waits[i].count != 0)
            cluster_fail(cluster, "counters of bytes", cluster_set_of(server->id),
                         "all is at rest, and at server %u " U64 " %s", server->id, waits[i].count,
                         waits[i].what);
    }
}

/* All is healed, everybody has what everybody has, and no client asks for anything. */
void checks_rest(struct cluster *cluster)
{
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        if (sim_server_is_live(&cluster->servers[id]) && !cluster->failed)
            look_at_rest(cluster, &cluster->servers[id]);
    }
}
