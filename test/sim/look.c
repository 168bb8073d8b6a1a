/* look.c - what can be asked of a cluster. */
#include <inttypes.h>
#include <string.h>

#include "server/machine/kv.h"
#include "server/rules/trust.h"
#include "test/history/linearizability.h"
#include "test/sim/inside.h"

#define U64 "%" PRIu64

u32 cluster_server_count(const struct cluster *cluster)
{
    return cluster->count;
}

cluster_set cluster_all(const struct cluster *cluster)
{
    return (cluster_set_of(cluster->config.servers) << 1) - 2;
}

enum cluster_process cluster_process(const struct cluster *cluster, server_id server)
{
    return cluster->servers[server].state;
}

bool cluster_is_live(const struct cluster *cluster, server_id server)
{
    return sim_server_is_live(&cluster->servers[server]);
}

const struct error *cluster_stop_reason(const struct cluster *cluster, server_id server)
{
    return &cluster->servers[server].stop_reason;
}

/* ---- leaders ---- */

server_id cluster_leader(const struct cluster *cluster)
{
    server_id leader = SERVER_NONE;
    u64 term = 0;
    for (server_id id = 1; id <= cluster->count; id++) {
        if (!cluster_is_live(cluster, id) || cluster_state(cluster, id) != RAFT_LEADER)
            continue;
        if (cluster_term(cluster, id) > term) {
            leader = id;
            term = cluster_term(cluster, id);
        }
    }
    return leader;
}

cluster_set cluster_leaders(const struct cluster *cluster)
{
    cluster_set leaders = 0;
    for (server_id id = 1; id <= cluster->count; id++) {
        if (cluster_is_live(cluster, id) && cluster_state(cluster, id) == RAFT_LEADER)
            leaders |= cluster_set_of(id);
    }
    return leaders;
}

cluster_set cluster_majority(const struct cluster *cluster)
{
    server_id leader = cluster_leader(cluster);
    if (leader == SERVER_NONE)
        return 0;
    cluster_set set = cluster_set_of(leader);
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        if (cluster_set_count(set) <= cluster->config.servers / 2)
            set |= cluster_set_of(id);
    }
    return set;
}

/* ---- one server ---- */

enum raft_state cluster_state(const struct cluster *cluster, server_id server)
{
    const struct sim_server *s = &cluster->servers[server];
    return s->server != NULL ? s->server->state : RAFT_STOPPED;
}

u64 cluster_term(const struct cluster *cluster, server_id server)
{
    const struct sim_server *s = &cluster->servers[server];
    return s->server != NULL ? s->server->raft.current_term : s->last_term;
}

u64 cluster_commit_index(const struct cluster *cluster, server_id server)
{
    const struct sim_server *s = &cluster->servers[server];
    return s->server != NULL ? s->server->raft.commit_index : s->last_commit;
}

u64 cluster_applied_index(const struct cluster *cluster, server_id server)
{
    const struct sim_server *s = &cluster->servers[server];
    return s->server != NULL ? s->server->raft.last_applied : s->last_applied;
}

u64 cluster_last_index(const struct cluster *cluster, server_id server)
{
    const struct sim_server *s = &cluster->servers[server];
    return s->server != NULL ? s->server->raft.log.last_index
                             : cluster->checks.servers[server].last_index;
}

u64 cluster_log_term(const struct cluster *cluster, server_id server, u64 index)
{
    const struct sim_server *s = &cluster->servers[server];
    if (index == 0 || index > cluster_last_index(cluster, server))
        return 0;
    return s->server != NULL && index >= s->server->raft.log.base.index
               ? log_term_at(&s->server->raft.log, index)
               : cluster->checks.servers[server].terms[index];
}

u64 cluster_snapshot_index(const struct cluster *cluster, server_id server)
{
    const struct sim_server *s = &cluster->servers[server];
    return s->server != NULL ? s->server->raft.snapshot.last.index : 0;
}

u32 cluster_said(const struct cluster *cluster, server_id server, const char *text)
{
    const struct sim_server *s = &cluster->servers[server];
    const char *end = s->said + s->said_size;
    u32 count = 0;
    for (const char *line = s->said; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        ASSERT(newline != NULL); /* only whole lines are kept */
        count += memmem(line, (size_t)(newline - line), text, strlen(text)) != NULL;
        line = newline + 1;
    }
    return count;
}

static void add_log_bytes(void *context, const char *path, u64 size)
{
    u64 *bytes = context;
    if (strncmp(path, "log/", 4) == 0)
        *bytes += size;
}

u64 cluster_log_bytes(const struct cluster *cluster, server_id server)
{
    u64 bytes = 0;
    disk_each_file(&cluster->servers[server].disk, add_log_bytes, &bytes);
    return bytes;
}

/* ---- who is recognised ---- */

bool cluster_distrusts(const struct cluster *cluster, server_id by, server_id server)
{
    const struct server *judge = cluster->servers[by].server;
    if (judge == NULL || !cluster_is_live(cluster, by))
        return false;
    return by == server ? judge->raft.trust.own.non_voter : !trust_counts(&judge->raft, server);
}

bool cluster_is_well_known(const struct cluster *cluster, server_id server)
{
    const struct sim_server *known = &cluster->servers[server];
    if (known->server == NULL)
        return false;
    const struct identity *own = &known->server->raft.trust.own;
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        const struct server *other = cluster->servers[id].server;
        if (id == server)
            continue;
        const struct known_peer *met =
            other == NULL ? NULL : trust_known_peer(&other->raft, server);
        if (met == NULL || met->directory_id != own->directory_id ||
            met->start_count != own->start_count || met->start_id != own->starts[0] ||
            disk_is_unsynced(&cluster->servers[id].disk, "peers"))
            return false;
    }
    return true;
}

cluster_set cluster_lost(const struct cluster *cluster)
{
    cluster_set lost = 0;
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        if (cluster->checks.servers[id].lost)
            lost |= cluster_set_of(id);
    }
    return lost;
}

/* ---- what it holds ---- */

u64 cluster_digest(const struct cluster *cluster, server_id server)
{
    const struct sim_server *s = &cluster->servers[server];
    return s->server != NULL ? s->server->machine->ops->digest(s->server->machine) : s->last_digest;
}

cluster_set cluster_members(const struct cluster *cluster, server_id server)
{
    const struct sim_server *s = &cluster->servers[server];
    if (s->server == NULL)
        return s->last_members;
    const struct configuration *configuration = &s->server->raft.configuration;
    cluster_set members = 0;
    for (u32 i = 0; i < configuration->count; i++)
        members |= cluster_set_of(configuration->members[i].id);
    return members;
}

bool cluster_machine_value(struct cluster *cluster, server_id server, const char *key,
                           struct buffer *value)
{
    struct sim_server *s = &cluster->servers[server];
    if (s->server == NULL)
        return false;
    const struct kv_limits limits = {.key_bytes_max = 64 * 1024,
                                     .value_bytes_max = 1024 * 1024,
                                     .answer_bytes_max = 1024 * 1024};
    const struct kv_argument argument = {(const u8 *)key, (u32)strlen(key)};
    u8 command[CLIENT_TEXT_SIZE + 64];
    size_t size = kv_command_size(&argument, 1);
    ASSERT(size <= sizeof(command));
    kv_command_encode(&limits, KV_GET, &argument, 1, command);
    struct buffer answer;
    buffer_init(&answer);
    /* What the machine keeps for itself meanwhile is the server's memory. */
    struct process *before = process_enter(&cluster->world, s->process);
    s->server->machine->ops->read(s->server->machine, command, size, &answer);
    (void)process_enter(&cluster->world, before);
    /* "$3\r\nabc\r\n", or a null */
    bool found = answer.size > 0 && answer.data[0] == '$' && answer.data[1] != '-';
    if (found) {
        const u8 *end = memchr(answer.data, '\n', answer.size);
        ASSERT(end != NULL);
        size_t head = (size_t)(end + 1 - answer.data);
        buffer_append(value, answer.data + head, answer.size - head - 2);
    }
    before = process_enter(&cluster->world, s->process);
    buffer_deinit(&answer);
    (void)process_enter(&cluster->world, before);
    return found;
}

/* ---- messages ---- */

static u64 sum(const struct cluster *cluster, cluster_set from, cluster_set to, cluster_kinds kinds,
               bool bytes)
{
    u64 total = 0;
    for (server_id a = 1; a <= cluster->count; a++) {
        for (server_id b = 1; b <= cluster->count; b++) {
            const struct link *link = cluster_link(cluster, a, b);
            if (!cluster_set_has(from, a) || !cluster_set_has(to, b))
                continue;
            for (u32 kind = MESSAGE_NONE + 1; kind < MESSAGE_KIND_END; kind++) {
                if ((kinds >> kind & 1) != 0)
                    total += bytes ? link->sent_bytes[kind] : link->sent[kind];
            }
        }
    }
    return total;
}

u64 cluster_messages(const struct cluster *cluster, cluster_set from, cluster_set to,
                     cluster_kinds kinds)
{
    return sum(cluster, from, to, kinds, false);
}

u64 cluster_message_bytes(const struct cluster *cluster, cluster_set from, cluster_set to,
                          cluster_kinds kinds)
{
    return sum(cluster, from, to, kinds, true);
}

/* ---- all together ---- */

bool cluster_agrees(struct cluster *cluster, struct buffer *why)
{
    server_id first = SERVER_NONE;
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        if (!cluster_is_live(cluster, id))
            continue;
        if (first == SERVER_NONE) {
            first = id;
            continue;
        }
        u64 a = cluster_commit_index(cluster, first);
        u64 b = cluster_commit_index(cluster, id);
        if (a != b) {
            buffer_append_format(why, "server %u has committed " U64 ", and server %u " U64, first,
                                 a, id, b);
            return false;
        }
        for (u64 index = 1; index <= a; index++) {
            u64 left = cluster_log_term(cluster, first, index);
            u64 right = cluster_log_term(cluster, id, index);
            if (left == right)
                continue;
            buffer_append_format(
                why, "entry " U64 " is of term " U64 " on server %u, and " U64 " on server %u",
                index, left, first, right, id);
            return false;
        }
        if (cluster_applied_index(cluster, first) != cluster_applied_index(cluster, id) ||
            cluster_digest(cluster, first) != cluster_digest(cluster, id)) {
            buffer_append_format(why, "the machines of servers %u and %u differ", first, id);
            return false;
        }
    }
    return true;
}

bool cluster_is_linearizable(struct cluster *cluster, struct buffer *why)
{
    struct linearizability_limits limits = {.steps_max = 50000000};
    struct linearizability_result result;
    linearizability_check(&cluster->history, &limits, &result);
    bool holds = result.verdict != NOT_LINEARIZABLE;
    if (!holds)
        buffer_append(why, result.text.data, result.text.size);
    linearizability_result_deinit(&result);
    return holds;
}

void cluster_finish(struct cluster *cluster)
{
    if (cluster->failed || cluster->finished)
        return;
    cluster->finished = true;
    world_enter(&cluster->world);
    struct buffer why;
    buffer_init(&why);
    if (!cluster_is_linearizable(cluster, &why))
        cluster_fail(cluster, "linearizability", 0, "the clients' history has no order:\n%.*s",
                     (int)why.size, (const char *)why.data);
    buffer_deinit(&why);
    acknowledged_finish(cluster);
}
