/* commit.c - what is committed, and what a read must have seen: see replication.h. */
#include "server/rules/replication.h"
#include "server/rules/trust.h"

/* [Leaders 4, §5.3, §5.4.2] An entry that a leader of an older term left behind may be on a quorum
 * of servers and yet be overwritten: a server with a later last term, which lacks it, can still be
 * elected (Figure 8, step d). So only entries of the current term are committed by counting; they
 * carry all entries before them along, since whoever holds one holds those (log matching). Played
 * step by step in test/scenarios/17-figure-8.scn. */
bool commit_advance(struct raft *raft, struct leadership *leadership)
{
    u64 match_index[SERVERS_MAX];
    for (u32 position = 0; position < leadership->count; position++) {
        const struct progress *progress = &leadership->peers[position];
        /* This server counts like any other: by what its own disk holds. */
        match_index[position] =
            progress->id == raft->self ? raft->log.durable_index : progress->match_index;
    }
    u64 index = trust_quorum_value(raft, match_index);
    if (index <= raft->commit_index || log_term_at(&raft->log, index) != raft->current_term)
        return false;
    RULE("[Leaders 4, §5.3, §5.4.2]");
    leadership->uncommitted_bytes -= log_bytes(&raft->log, raft->commit_index + 1, index);
    raft->commit_index = index;
    return true;
}

u64 reads_confirmed_round(const struct raft *raft, const struct leadership *leadership)
{
    u64 rounds[SERVERS_MAX];
    for (u32 position = 0; position < leadership->count; position++) {
        const struct progress *progress = &leadership->peers[position];
        rounds[position] = progress->id == raft->self ? UINT64_MAX : progress->round_acked;
    }
    return trust_quorum_value(raft, rounds);
}

/* [Leaders: reads, §8] The round that is going on may have been answered by a server that voted for
 * another leader before the read came; only the next one shows that this server leads still. */
u64 reads_begin(struct leadership *leadership)
{
    RULE("[Leaders: reads, §8]");
    leadership->round_due = true;
    return leadership->round + 1;
}

/* [Leaders: reads, §8] A new leader does not know which entries are committed until one of its own
 * is; the entries its predecessor answered for lie before that one. */
u64 reads_index(const struct raft *raft, const struct leadership *leadership, bool after_write)
{
    u64 index = u64_max(raft->commit_index, leadership->first_index);
    return after_write ? u64_max(index, raft->log.last_index) : index;
}
