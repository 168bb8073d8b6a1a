/* checks.c - the judge. Read it beside Figure 3 of the paper, property by property; what Raft needs
 * beyond the figure (what is promised is on disk, leaders know when they are cut off, progress)
 * stands below it. What the judge sees, and how it keeps it, is in checks_see.c. */
#include "server/storage/inside.h"
#include "test/sim/checks_see.h"

/* ---- Figure 3 ---- */

/* Election Safety: at most one leader can be elected in a given term. §5.2 */
static void election_safety(struct cluster *cluster, const struct sim_server *server, u64 term)
{
    server_id *leader = checks_leader_of(&cluster->checks, term);
    if (*leader != SERVER_NONE && *leader != server->id)
        cluster_fail(cluster, "election safety",
                     cluster_set_of(*leader) | cluster_set_of(server->id),
                     "servers %u and %u are both leaders of term " U64, *leader, server->id, term);
    *leader = server->id;
}

/* Leader Append-Only: a leader never overwrites or deletes entries in its log; it only appends new
 * entries. §5.3 */
static void leader_append_only(struct cluster *cluster, const struct sim_server *server,
                               const struct judged *judged, u64 common)
{
    if (common < judged->last_index)
        cluster_fail(cluster, "leader append-only", cluster_set_of(server->id),
                     "leader %u of term " U64 " had entries through " U64
                     " and kept them through " U64 " only",
                     server->id, judged->current_term, judged->last_index, common);
}

/* Log Matching: if two logs contain an entry with the same index and term, then the logs are
 * identical in all entries up through the given index. §5.3
 *
 * By induction: it holds when for each (index, term) there is one entry, and one term before it. */
static void log_matching(struct cluster *cluster, const struct sim_server *server, u64 index,
                         u64 term, u64 previous_term)
{
    bool crc_known = false;
    u32 crc = checks_record_crc(server, index, &crc_known);
    struct known_entry *known = checks_known(&cluster->checks, index, term);
    if (known->index == 0) {
        *known = (struct known_entry){index, term, previous_term, crc, crc_known};
        return;
    }
    if (known->previous_term != previous_term)
        cluster_fail(cluster, "log matching", cluster_set_of(server->id),
                     "entry " U64 " of term " U64 " follows term " U64
                     " on server %u, and term " U64 " elsewhere",
                     index, term, previous_term, server->id, known->previous_term);
    if (crc_known && known->crc_known && known->crc != crc)
        cluster_fail(cluster, "log matching", cluster_set_of(server->id),
                     "entry " U64 " of term " U64 " on server %u is not the one of the others",
                     index, term, server->id);
    if (crc_known && !known->crc_known) {
        known->crc = crc;
        known->crc_known = true;
    }
}

/* Leader Completeness: if a log entry is committed in a given term, then that entry will be present
 * in the logs of the leaders for all higher-numbered terms. §5.4
 *
 * The newest such entry is enough: Log Matching brings all before it. */
static void leader_completeness(struct cluster *cluster, const struct sim_server *server,
                                const struct judged *judged, u64 term)
{
    const struct checks *checks = &cluster->checks;
    u64 index = checks->committed_count;
    while (index > 0 && checks->committed[index].leader_term >= term)
        index--;
    if (index == 0)
        return;
    u64 held = index <= judged->last_index ? judged->terms[index] : 0;
    if (held != checks->committed[index].term)
        cluster_fail(cluster, "leader completeness", cluster_set_of(server->id),
                     "leader %u of term " U64 " lacks entry " U64 " of term " U64
                     ", committed in term " U64 " (it holds term " U64 " there)",
                     server->id, term, index, checks->committed[index].term,
                     checks->committed[index].leader_term, held);
}

/* State Machine Safety: if a server has applied a log entry at a given index to its state machine,
 * no other server will ever apply a different log entry for the same index. §5.4.3
 *
 * Checked for what is known to be committed, which includes what is applied. */
static void state_machine_safety(struct cluster *cluster, const struct sim_server *server,
                                 const struct judged *judged, u64 index)
{
    struct committed_entry *committed = checks_committed(&cluster->checks, index);
    u64 term = judged->terms[index];
    if (index <= cluster->checks.committed_count) {
        if (committed->term != term)
            cluster_fail(cluster, "state machine safety", cluster_set_of(server->id),
                         "server %u has committed entry " U64 " of term " U64
                         ", where others have committed one of term " U64,
                         server->id, index, term, committed->term);
        return;
    }
    *committed = (struct committed_entry){term, server->server->raft.current_term};
    cluster->checks.committed_count = index;
}

/* ... and the machines that have applied the same entries are the same. */
static void machines_agree(struct cluster *cluster, const struct sim_server *server, u64 index)
{
    const struct machine *machine = server->server->machine;
    u64 digest = machine->ops->digest(machine);
    u64 *known = checks_digest(&cluster->checks, index);
    digest += digest == 0; /* 0 means that none was seen */
    if (*known != 0 && *known != digest)
        cluster_fail(cluster, "state machine safety", cluster_set_of(server->id),
                     "server %u has applied all through entry " U64
                     ", and its machine differs from another server's that had",
                     server->id, index);
    *known = digest;
}

/* ---- what does not go back ---- */

/* Terms never fall, and in a term a vote once given stays (§5.1, Figure 2 "State"). */
static void term_and_vote(struct cluster *cluster, const struct sim_server *server,
                          const struct judged *judged)
{
    const struct raft *raft = &server->server->raft;
    cluster_set self = cluster_set_of(server->id);
    if (raft->current_term < judged->current_term)
        cluster_fail(cluster, "terms never fall", self, "server %u went from term " U64 " to " U64,
                     server->id, judged->current_term, raft->current_term);
    if (raft->current_term == judged->current_term && judged->voted_for != SERVER_NONE &&
        raft->voted_for != judged->voted_for)
        cluster_fail(cluster, "one vote a term", self,
                     "server %u voted for %u in term " U64 ", and now for %u", server->id,
                     judged->voted_for, raft->current_term, raft->voted_for);
}

/* Within a life, what is known to be committed and what is applied never shrinks. */
static void commit_never_falls(struct cluster *cluster, const struct sim_server *server,
                               const struct judged *judged)
{
    const struct raft *raft = &server->server->raft;
    cluster_set self = cluster_set_of(server->id);
    if (raft->commit_index < judged->commit_index)
        cluster_fail(cluster, "commit never falls", self,
                     "server %u went from commit index " U64 " to " U64, server->id,
                     judged->commit_index, raft->commit_index);
    if (raft->commit_index > raft->log.last_index || raft->last_applied > raft->commit_index ||
        raft->last_applied < judged->applied_index)
        cluster_fail(cluster, "commit never falls", self,
                     "server %u: last entry " U64 ", commit " U64 ", applied " U64 " (was " U64 ")",
                     server->id, raft->log.last_index, raft->commit_index, raft->last_applied,
                     judged->applied_index);
}

/* ---- what is promised is on disk ---- */

/* Whatever a server counts as durable must be found again by its next life. */
static void remembers_its_promises(struct cluster *cluster, const struct sim_server *server,
                                   const struct judged *judged)
{
    const struct raft *raft = &server->server->raft;
    cluster_set self = cluster_set_of(server->id);
    if (raft->current_term < judged->promised_term)
        cluster_fail(cluster, "promises survive", self,
                     "server %u spoke in term " U64 " and has restarted in term " U64, server->id,
                     judged->promised_term, raft->current_term);
    if (raft->current_term == judged->promised_term && judged->promised_vote != SERVER_NONE &&
        raft->voted_for != judged->promised_vote)
        cluster_fail(cluster, "promises survive", self,
                     "server %u voted for %u in term " U64 ", and after a restart it has not "
                     "(its vote: %u)",
                     server->id, judged->promised_vote, judged->promised_term, raft->voted_for);
    const struct entry_id base = raft->log.base;
    u64 durable = judged->damaged && judged->resetting ? judged->reset_from : judged->durable_index;
    for (u64 index = 1; index <= durable; index++) {
        /* A snapshot of a committed entry was installed in place of another one: that and all
         * behind it can never be committed. */
        if (index == base.index && index <= cluster->checks.committed_count &&
            cluster->checks.committed[index].term == base.term && judged->terms[index] != base.term)
            return;
        if (index < base.index || (index <= raft->log.last_index &&
                                   log_term_at(&raft->log, index) == judged->terms[index]))
            continue;
        struct entry_id held = {judged->terms[durable], durable};
        if (judged->damaged && raft->acked_through.index != 0 &&
            entry_id_is_up_to_date(raft->acked_through, held))
            return; /* it lacks some of it, and knows how far it reached */
        cluster_fail(cluster, "promises survive", self,
                     "server %u had synced all through entry " U64
                     ", and after a restart entry " U64 " of term " U64 " is gone",
                     server->id, durable, index, judged->terms[index]);
        return;
    }
}

/* Until the mark that begins the log anew is synced, nobody is told of the snapshot. */
static void note_reset(struct cluster *cluster, const struct sim_server *server,
                       struct judged *judged)
{
    const struct log *log = &server->server->raft.log;
    u64 sequence = server->server->storage->sequence;
    if (log->base.index > judged->durable_index ||
        (log->base.index > 0 && judged->terms[log->base.index] != log->base.term)) {
        judged->resetting = true;
        judged->reset_sequence = sequence;
        judged->reset_from =
            u64_min(judged->durable_index, checks_common_index(&cluster->checks, judged, log));
    } else if (sequence != judged->reset_sequence) {
        judged->resetting = false;
    }
}

/* Nothing is promised before its sync. */
static void speaks_only_what_is_saved(struct cluster *cluster, const struct sim_server *server,
                                      const struct judged *judged, const struct message *message)
{
    cluster_set self = cluster_set_of(server->id);
    const char *word = message_kind_word(message->kind);
    bool promises_vote =
        (message->kind == MESSAGE_REQUEST_VOTE_REPLY && message->as.vote_reply.granted) ||
        message->kind == MESSAGE_REQUEST_VOTE;
    server_id vote = message->kind == MESSAGE_REQUEST_VOTE ? server->id : message->to;
    if (message->term > judged->saved_term)
        cluster_fail(cluster, "speak after saving", self,
                     "server %u sends a %s of term " U64 ", and on its disk is term " U64,
                     server->id, word, message->term, judged->saved_term);
    /* A vote in a term that is over by now needs no memory: it cannot be given again. */
    if (promises_vote && judged->saved_term == message->term && judged->saved_vote != vote)
        cluster_fail(cluster, "speak after saving", self,
                     "server %u sends a %s, and on its disk is a vote for %u in term " U64,
                     server->id, word, judged->saved_vote, judged->saved_term);
    /* Nor does an acknowledgement to the leader of such a term: if its entries are gone by now, the
     * leader that removed them was elected by a quorum that had none of them. */
    if (message->kind == MESSAGE_APPEND_ENTRIES_REPLY && message->term == judged->saved_term &&
        message->as.append_reply.result == APPEND_ACCEPTED &&
        message->as.append_reply.match_index > server->server->raft.log.durable_index)
        cluster_fail(cluster, "speak after saving", self,
                     "server %u acknowledges entry " U64 ", and on its disk they end at " U64,
                     server->id, message->as.append_reply.match_index,
                     server->server->raft.log.durable_index);
}

/* An entry counts as committed only when a quorum of the voters has it on disk. [Leaders 4, §5.3]
 */
static void quorum_holds(struct cluster *cluster, const struct sim_server *server, u64 index)
{
    const struct configuration *configuration = &server->server->raft.configuration;
    u64 term = cluster->checks.committed[index].term;
    const member_set sets[2] = {configuration->voters, configuration->voters_old};
    for (u32 s = 0; s < 2; s++) {
        u32 voters = 0;
        u32 holders = 0;
        for (u32 position = 0; position < configuration->count; position++) {
            if ((sets[s] >> position & 1) == 0)
                continue;
            const struct judged *judged =
                &cluster->checks.servers[configuration->members[position].id];
            voters++;
            bool holds = checks_holds(judged, index, term);
            /* Who has lost the entry and knows of its promise is bound by it all the same. */
            bool owes = !judged->lost && judged->owed.index != 0 &&
                        entry_id_is_up_to_date(judged->owed, (struct entry_id){term, index});
            holders += holds || owes;
        }
        if (voters > 0 && holders * 2 <= voters)
            cluster_fail(cluster, "commit needs a quorum", cluster_set_of(server->id),
                         "server %u takes entry " U64 " of term " U64
                         " for committed, and %u of %u voters have it on disk",
                         server->id, index, term, holders, voters);
    }
}

/* Who knows that it is not recognised begins neither to campaign nor to lead. */
static void stands_back_when_told(struct cluster *cluster, const struct sim_server *server,
                                  struct judged *judged)
{
    enum raft_state state = server->server->state;
    bool told = judged->told;
    judged->told = server->server->raft.trust.own.non_voter;
    if (told && state != server->last_state && (state == RAFT_CANDIDATE || state == RAFT_LEADER))
        cluster_fail(cluster, "the unrecognised stand back", cluster_set_of(server->id),
                     "server %u knows that it may not vote, and has become a %s", server->id,
                     raft_state_word(state));
}

/* No acknowledged write is lost. What clients were told of is in the log of each later leader; that
 * it was applied before they were told, and what machines are given, is seen by the witness at the
 * machines' doors, acknowledged.c. A leader that has nothing of its term committed may not know yet
 * what is (§8), so it is asked once it has. */
static void leader_holds_what_is_acknowledged(struct cluster *cluster,
                                              const struct sim_server *server,
                                              struct judged *judged)
{
    const struct raft *raft = &server->server->raft;
    if (!judged->led || judged->settled_term == raft->current_term ||
        log_term_at(&raft->log, raft->commit_index) != raft->current_term)
        return;
    judged->settled_term = raft->current_term;
    acknowledged_leader(cluster, server);
}

/* ---- after every step of a server ---- */

static void look_at_log(struct cluster *cluster, struct sim_server *server, struct judged *judged)
{
    const struct raft *raft = &server->server->raft;
    u64 last = raft->log.last_index;
    u64 common = checks_common_index(&cluster->checks, judged, &raft->log);
    if (common == judged->last_index && common == last)
        return;
    if (judged->led && judged->current_term == raft->current_term)
        leader_append_only(cluster, server, judged, common);
    if (common < judged->commit_index)
        cluster_fail(cluster, "state machine safety", cluster_set_of(server->id),
                     "server %u has removed entry " U64 ", which it knew to be committed",
                     server->id, common + 1);
    checks_set_log(&cluster->checks, judged, &raft->log, common);
    checks_entries(cluster, server, u64_max(common, raft->log.base.index) + 1);
    for (u64 index = u64_max(common, raft->log.base.index) + 1; index <= last; index++)
        log_matching(cluster, server, index, judged->terms[index],
                     index == 1 ? 0 : judged->terms[index - 1]);
    checks_tell_log(cluster, server, common);
}

static void look_at_commit(struct cluster *cluster, struct sim_server *server,
                           struct judged *judged)
{
    const struct raft *raft = &server->server->raft;
    commit_never_falls(cluster, server, judged);
    if (cluster->failed || raft->commit_index == judged->commit_index) {
        if (!cluster->failed && raft->last_applied != judged->applied_index)
            machines_agree(cluster, server, raft->last_applied);
        judged->applied_index = raft->last_applied;
        return;
    }
    u64 known = cluster->checks.committed_count;
    for (u64 index = judged->commit_index + 1; index <= raft->commit_index; index++)
        state_machine_safety(cluster, server, judged, index);
    /* Entry 1 is the cluster's founding: nobody campaigns who lacks it. */
    if (raft->commit_index > u64_max(known, 1) && !cluster->failed)
        quorum_holds(cluster, server, raft->commit_index);
    if (raft->last_applied != judged->applied_index)
        machines_agree(cluster, server, raft->last_applied);
    judged->commit_index = raft->commit_index;
    judged->applied_index = raft->last_applied;
    checks_tell_commit(cluster, server);
}

void checks_ran(struct cluster *cluster, struct sim_server *server)
{
    if (server->server == NULL || cluster->failed || server->stray)
        return;
    struct judged *judged = &cluster->checks.servers[server->id];
    const struct raft *raft = &server->server->raft;
    if (judged->recovering) {
        if (!judged->forgiven)
            remembers_its_promises(cluster, server, judged);
        judged->recovering = false;
        judged->resetting = false;
        judged->damaged = judged->damaged_in_start;
        judged->current_term = raft->current_term;
        judged->voted_for = raft->voted_for;
        judged->forgiven = false;
    }
    term_and_vote(cluster, server, judged);
    note_reset(cluster, server, judged);
    look_at_log(cluster, server, judged);
    judged->durable_index = raft->log.durable_index;
    judged->owed = raft->acked_through;
    checks_readmission(cluster, server, judged);
    stands_back_when_told(cluster, server, judged);
    checks_campaign(cluster, server, judged);
    bool leads = server->server->state == RAFT_LEADER;
    bool begins = leads && (!judged->led || judged->current_term != raft->current_term);
    checks_tell_state(cluster, server, judged);
    judged->current_term = raft->current_term;
    judged->voted_for = raft->voted_for;
    judged->led = leads;
    if (begins) {
        election_safety(cluster, server, raft->current_term);
        leader_completeness(cluster, server, judged, raft->current_term);
        checks_begins_to_lead(cluster, judged);
    }
    look_at_commit(cluster, server, judged);
    if (!cluster->failed)
        leader_holds_what_is_acknowledged(cluster, server, judged);
    if (!cluster->failed)
        checks_counters(cluster, server);
}

void checks_sent(struct cluster *cluster, struct sim_server *server, const struct message *message)
{
    struct judged *judged = &cluster->checks.servers[server->id];
    if (message->kind == MESSAGE_PRE_VOTE || message->kind == MESSAGE_PRE_VOTE_REPLY)
        return; /* they promise nothing */
    if (server->stray)
        return;
    checks_note_saved(server, judged);
    speaks_only_what_is_saved(cluster, server, judged, message);
    judged->promised_term = u64_max(judged->promised_term, message->term);
    if (judged->promised_term == judged->saved_term)
        judged->promised_vote = judged->saved_vote;
}

/* ---- what must happen in time ---- */

/* A leader that hears no quorum steps down within two election timeouts (thesis §6.2). */
static void cut_off_leader_steps_down(struct cluster *cluster, struct sim_server *server)
{
    struct judged *judged = &cluster->checks.servers[server->id];
    u64 now = cluster->world.now_ns;
    if (!sim_server_is_healthy(server) || !cluster->timers_on)
        judged->excused_until_ns = now + 4 * cluster->config.election_timeout.max_ns;
    if (server->server == NULL || server->server->state != RAFT_LEADER ||
        now < judged->excused_until_ns)
        return;
    u64 heard = checks_quorum_heard_ns(cluster, server);
    u64 bound = 2 * cluster->config.election_timeout.max_ns + 100 * NS_PER_MS;
    if (now > heard + bound)
        cluster_fail(cluster, "cut-off leaders step down", cluster_set_of(server->id),
                     "leader %u of term " U64 " has heard no quorum for " U64 " ms", server->id,
                     server->server->raft.current_term, (now - heard) / NS_PER_MS);
}

/* While nothing stands in the way, there is a leader and its entries are committed. */
static void progress(struct cluster *cluster)
{
    struct checks *checks = &cluster->checks;
    u64 now = cluster->world.now_ns;
    if (checks->well_since_ns == TIME_NEVER)
        return;
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        const struct sim_server *server = &cluster->servers[id];
        if (sim_server_is_live(server) && server->server->state == RAFT_LEADER &&
            server->server->raft.commit_index > 0 &&
            log_term_at(&server->server->raft.log, server->server->raft.commit_index) ==
                server->server->raft.current_term)
            checks->progress_ns = now;
    }
    u64 since = u64_max(checks->well_since_ns, checks->progress_ns);
    u64 bound = checks_progress_bound_ns(cluster);
    if (now > since + bound)
        cluster_fail(cluster, "progress", 0,
                     "a quorum is well and connected for " U64
                     " ms, and there is no leader with an entry of its term committed",
                     (now - since) / NS_PER_MS);
}

void checks_time(struct cluster *cluster)
{
    if (cluster->failed)
        return;
    for (server_id id = 1; id <= cluster->count; id++)
        cut_off_leader_steps_down(cluster, &cluster->servers[id]);
    progress(cluster);
}
