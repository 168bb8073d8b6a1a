/* checks_see.c - what the judge sees and remembers. */
#include "test/sim/checks_see.h"

#include <stdlib.h>
#include <string.h>

/* ---- tables ---- */

void *checks_grown(void *table, u64 *capacity, u64 index, size_t size)
{
    if (index < *capacity)
        return table;
    u64 wanted = *capacity == 0 ? 64 : *capacity;
    while (wanted <= index)
        wanted *= 2;
    u8 *bytes = sim_resize(table, wanted * size);
    memset(bytes + *capacity * size, 0, (wanted - *capacity) * size);
    *capacity = wanted;
    return bytes;
}

server_id *checks_leader_of(struct checks *checks, u64 term)
{
    checks->leaders =
        checks_grown(checks->leaders, &checks->leader_capacity, term, sizeof(*checks->leaders));
    return &checks->leaders[term];
}

struct committed_entry *checks_committed(struct checks *checks, u64 index)
{
    checks->committed = checks_grown(checks->committed, &checks->committed_capacity, index,
                                     sizeof(*checks->committed));
    return &checks->committed[index];
}

u64 *checks_digest(struct checks *checks, u64 index)
{
    checks->digests =
        checks_grown(checks->digests, &checks->digest_capacity, index, sizeof(*checks->digests));
    return &checks->digests[index];
}

static struct known_entry *known_slot(struct known_entry *table, u32 capacity, u64 index, u64 term)
{
    u64 hash = (index * 0x9e3779b97f4a7c15ULL) ^ (term * 0xc2b2ae3d27d4eb4fULL);
    u32 at = (u32)(hash >> 32) & (capacity - 1);
    while (table[at].index != 0 && (table[at].index != index || table[at].term != term))
        at = (at + 1) & (capacity - 1);
    return &table[at];
}

struct known_entry *checks_known(struct checks *checks, u64 index, u64 term)
{
    if (checks->known_count * 2 >= checks->known_capacity) {
        u32 capacity = checks->known_capacity == 0 ? 1024 : checks->known_capacity * 2;
        struct known_entry *table = sim_alloc_zero(capacity, sizeof(*table));
        for (u32 i = 0; i < checks->known_capacity; i++) {
            const struct known_entry *old = &checks->known[i];
            if (old->index != 0)
                *known_slot(table, capacity, old->index, old->term) = *old;
        }
        sim_free(checks->known);
        checks->known = table;
        checks->known_capacity = capacity;
    }
    struct known_entry *known = known_slot(checks->known, checks->known_capacity, index, term);
    checks->known_count += known->index == 0;
    return known;
}

/* ---- logs ---- */

/* What lies before a log's base came in a snapshot, and is what was committed there. */
static u64 term_of(const struct checks *checks, const struct log *log, u64 index)
{
    if (index >= log->base.index)
        return log_term_at(log, index);
    return index <= checks->committed_count ? checks->committed[index].term : 0;
}

u64 checks_common_index(const struct checks *checks, const struct judged *judged,
                        const struct log *log)
{
    u64 index = u64_min(judged->last_index, log->last_index);
    while (index > 0 && judged->terms[index] != term_of(checks, log, index))
        index--;
    return index;
}

void checks_set_log(const struct checks *checks, struct judged *judged, const struct log *log,
                    u64 common)
{
    judged->terms = checks_grown(judged->terms, &judged->term_capacity, log->last_index,
                                 sizeof(*judged->terms));
    for (u64 index = common + 1; index <= log->last_index; index++)
        judged->terms[index] = term_of(checks, log, index);
    judged->last_index = log->last_index;
}

u32 checks_record_crc(const struct sim_server *server, u64 index, bool *known)
{
    const struct log *log = &server->server->raft.log;
    *known = log_in_memory(log, index);
    if (!*known)
        return 0;
    /* The payload stands behind the header, which begins with the checksum. */
    struct entry entry = log_entry(log, index);
    return load_u32(entry.payload - RECORD_HEADER_SIZE);
}

/* ---- promises ---- */

void checks_note_saved(const struct sim_server *server, struct judged *judged)
{
    const struct raft *raft = &server->server->raft;
    if (raft->metadata_unsaved ||
        (raft->current_term == judged->saved_term && raft->voted_for == judged->saved_vote) ||
        disk_is_unsynced(&server->disk, "metadata"))
        return;
    judged->saved_term = raft->current_term;
    judged->saved_vote = raft->voted_for;
}

void checks_no_error(struct cluster *cluster, const struct sim_server *server, enum error_code code)
{
    if (code == ERROR_NONE && server->stop_reason.code != ERROR_NONE)
        cluster_fail(cluster, "errors", cluster_set_of(server->id),
                     "server %u goes on or ended well, and yet leaves an error: %s", server->id,
                     server->stop_reason.text);
}

void checks_ends(struct cluster *cluster, struct sim_server *server)
{
    struct judged *judged = &cluster->checks.servers[server->id];
    /* In this step it may have saved and promised, or truncated its log, and the disk may or may
     * not know of that. */
    if (server->server == NULL || judged->recovering || server->stray)
        return;
    const struct log *log = &server->server->raft.log;
    const struct checks *checks = &cluster->checks;
    checks_set_log(checks, judged, log, checks_common_index(checks, judged, log));
    judged->durable_index = log->durable_index;
}

void checks_started(struct cluster *cluster, struct sim_server *server)
{
    if (server->stray)
        return; /* it is none of this cluster's, and must not be heard at all */
    struct judged *judged = &cluster->checks.servers[server->id];
    judged->recovering = true;
    judged->damaged_in_start = false;
    judged->told = false;
    judged->led = false;
    judged->commit_index = 0;
    judged->applied_index = 0;
    judged->current_term = 0;
    judged->voted_for = SERVER_NONE;
    judged->saved_term = 0;
    judged->saved_vote = SERVER_NONE;
    judged->heard_ns = 0;
    judged->may_campaign = false;
}

void checks_forgive(struct cluster *cluster, struct sim_server *server)
{
    struct judged *judged = &cluster->checks.servers[server->id];
    judged->forgiven = true;
    judged->promised_term = 0;
    judged->promised_vote = SERVER_NONE;
    judged->durable_index = 0;
}

void checks_damaged(struct cluster *cluster, struct sim_server *server)
{
    struct judged *judged = &cluster->checks.servers[server->id];
    judged->damaged = true;
    judged->damaged_in_start = judged->recovering;
}

u32 checks_damaged_count(const struct cluster *cluster, server_id but)
{
    u32 count = 0;
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        const struct judged *judged = &cluster->checks.servers[id];
        count += id != but &&
                 (judged->damaged || judged->forgiven || judged->lost || judged->owed.index != 0);
    }
    return count;
}

void checks_lost(struct cluster *cluster, struct sim_server *server)
{
    struct judged *judged = &cluster->checks.servers[server->id];
    if (!judged->lost && judged->durable_index > 0) {
        judged->kept_index = judged->durable_index;
        judged->kept_terms = sim_alloc((judged->kept_index + 1) * sizeof(judged->kept_terms[0]));
        memcpy(judged->kept_terms, judged->terms,
               (judged->kept_index + 1) * sizeof(judged->kept_terms[0]));
    }
    judged->lost = true;
    checks_forgive(cluster, server);
    checks_faults_changed(cluster);
}

/* It votes and counts again, and it must have earned that: its log holds what says so, committed,
 * and the vote of that entry's term is spent. What it holds from now on is its own again. */
void checks_readmission(struct cluster *cluster, const struct sim_server *server,
                        struct judged *judged)
{
    const struct raft *raft = &server->server->raft;
    u64 index = raft->trust.own.readmitted;
    if (index <= judged->readmitted)
        return;
    judged->readmitted = index;
    judged->told = false;
    if (!judged->lost)
        return;
    bool holds = index <= raft->commit_index && index <= raft->log.last_index;
    u64 term = index >= raft->log.base.index && holds ? log_term_at(&raft->log, index) : 0;
    if (!holds || raft->current_term < term ||
        (raft->current_term == term && raft->voted_for == SERVER_NONE))
        cluster_fail(cluster, "readmission is earned", cluster_set_of(server->id),
                     "server %u takes itself for readmitted by entry " U64
                     ", and has neither that committed nor its term's vote spent",
                     server->id, index);
    judged->lost = false;
    sim_free(judged->kept_terms);
    judged->kept_terms = NULL;
    judged->kept_index = 0;
    checks_faults_changed(cluster);
}

bool checks_holds(const struct judged *judged, u64 index, u64 term)
{
    if (judged->lost)
        return judged->kept_index >= index && judged->kept_terms[index] == term;
    return judged->durable_index >= index && judged->terms[index] == term;
}

/* ---- contact ---- */

void checks_begins_to_lead(struct cluster *cluster, struct judged *judged)
{
    judged->led_since_ns = cluster->world.now_ns;
    memset(judged->contact_ns, 0, sizeof(judged->contact_ns));
}

void checks_received(struct cluster *cluster, struct sim_server *server,
                     const struct message *message)
{
    if (cluster->checks.servers[message->from].lost)
        return;
    if (message->kind == MESSAGE_APPEND_ENTRIES_REPLY ||
        message->kind == MESSAGE_INSTALL_SNAPSHOT_REPLY)
        cluster->checks.servers[server->id].contact_ns[message->from] = cluster->world.now_ns;
}

static int compare_times(const void *a, const void *b)
{
    const u64 *left = a;
    const u64 *right = b;
    return *left < *right ? 1 : *left > *right ? -1 : 0;
}

u64 checks_quorum_heard_ns(const struct cluster *cluster, const struct sim_server *server)
{
    const struct judged *judged = &cluster->checks.servers[server->id];
    const struct configuration *configuration = &server->server->raft.configuration;
    u64 oldest = TIME_NEVER;
    const member_set sets[2] = {configuration->voters, configuration->voters_old};
    for (u32 s = 0; s < 2; s++) {
        u64 heard[SERVERS_MAX];
        u32 voters = 0;
        for (u32 position = 0; position < configuration->count; position++) {
            if ((sets[s] >> position & 1) == 0)
                continue;
            server_id id = configuration->members[position].id;
            heard[voters++] = id == server->id ? TIME_NEVER : judged->contact_ns[id];
        }
        if (voters == 0)
            continue;
        qsort(heard, voters, sizeof(heard[0]), compare_times);
        oldest = u64_min(oldest, heard[voters / 2]);
    }
    return oldest == TIME_NEVER ? cluster->world.now_ns : u64_max(oldest, judged->led_since_ns);
}

/* ---- whether anything stands in the way ---- */

u64 checks_progress_bound_ns(const struct cluster *cluster)
{
    /* Fifteen elections that come to nothing, and time to reconnect. */
    return 15 * cluster->config.election_timeout.max_ns + 1 * NS_PER_S +
           20 * cluster->config.latency.max_ns + 20 * cluster->config.disk_sync.max_ns;
}

u64 checks_time_to_settle_ns(const struct cluster *cluster)
{
    /* A leader, and then each server's log is found and sent to it; a damaged one is read piece by
     * piece before. */
    return 3 * checks_progress_bound_ns(cluster) + 10 * NS_PER_S +
           2000 * cluster->config.disk_read_ns;
}

void checks_faults_changed(struct cluster *cluster)
{
    struct checks *checks = &cluster->checks;
    u32 well = 0;
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        const struct sim_server *server = &cluster->servers[id];
        /* A server that opens its storage is well, too. */
        well += !checks->servers[id].lost && !server->stray &&
                (sim_server_is_healthy(server) ||
                 (server->state == PROCESS_RUNNING && server->server == NULL));
    }
    bool is_well =
        well * 2 > cluster->config.servers && cluster->timers_on && !network_is_faulty(cluster);
    if (!is_well)
        checks->well_since_ns = TIME_NEVER;
    else /* whatever has changed, an election may be needed from now on */
        checks->well_since_ns = cluster->world.now_ns;
}

/* ---- for the story ---- */

void checks_tell_state(struct cluster *cluster, const struct sim_server *server,
                       const struct judged *judged)
{
    const struct server *live = server->server;
    bool leads = live->state == RAFT_LEADER;
    if (live->raft.current_term == judged->current_term && leads == judged->led &&
        live->state == server->last_state)
        return;
    struct story_event event = {
        .kind = STORY_BECAME, .a = (u64)live->state, .b = live->raft.current_term};
    if (live->state != RAFT_FOLLOWER || live->state != server->last_state)
        story_add(cluster, server->id, &event);
    cluster->servers[server->id].last_state = live->state;
}

void checks_tell_log(struct cluster *cluster, const struct sim_server *server, u64 common)
{
    const struct log *log = &server->server->raft.log;
    struct story_event event = {
        .kind = STORY_LOG, .a = common, .b = log->last_index, .c = log_last(log).term};
    story_add(cluster, server->id, &event);
}

void checks_tell_commit(struct cluster *cluster, const struct sim_server *server)
{
    struct story_event event = {.kind = STORY_COMMITTED, .a = server->server->raft.commit_index};
    story_add(cluster, server->id, &event);
}

/* ---- life ---- */

void checks_init(struct cluster *cluster)
{
    struct checks *checks = &cluster->checks;
    *checks = (struct checks){.well_since_ns = TIME_NEVER};
    for (server_id id = 1; id <= cluster->count; id++) {
        struct judged *judged = &checks->servers[id];
        const struct cluster_initial *initial = &cluster->config.initial[id];
        /* What a disk is made with is on it before anybody runs: entry 1 at least, unless blank. */
        bool blank = cluster->config.founding == CLUSTER_FOUNDED_NOW && id != 1;
        judged->last_index = judged->durable_index = blank ? 0 : u64_max(1, initial->log_count);
        judged->terms = checks_grown(NULL, &judged->term_capacity, u64_max(1, judged->last_index),
                                     sizeof(*judged->terms));
        judged->terms[1] = 1;
        for (u32 i = 0; i < initial->log_count; i++)
            judged->terms[i + 1] = initial->log_terms[i];
    }
}

void checks_deinit(struct cluster *cluster)
{
    struct checks *checks = &cluster->checks;
    for (server_id id = 1; id <= cluster->count; id++) {
        sim_free(checks->servers[id].terms);
        sim_free(checks->servers[id].kept_terms);
    }
    sim_free(checks->known);
    sim_free(checks->leaders);
    sim_free(checks->committed);
    sim_free(checks->digests);
    acknowledged_deinit(cluster);
}
