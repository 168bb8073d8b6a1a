/* timeout.c - how long to wait before an election: see election.h. The caller's clock and random
 * numbers are handed in. */
#include "server/rules/election.h"

/* Terms that a server campaigns in before it takes its time. */
enum { CAMPAIGNS_FREE = 2 };

/* Whoever times out alone is heard by the others before they do: that takes half a round trip.
 * Where trips are as long as the range is wide, all begin together and votes split again and again.
 * So the range grows with each term that this server has campaigned in, and nobody won, after the
 * second. */
static u64 range_end_ns(const struct raft *raft)
{
    enum { DOUBLINGS_MAX = 2 };
    u32 in_vain = raft->campaigns > CAMPAIGNS_FREE ? raft->campaigns - CAMPAIGNS_FREE : 0;
    return raft->election_timeout_ns_max << (in_vain < DOUBLINGS_MAX ? in_vain : DOUBLINGS_MAX);
}

/* [Followers 2, §5.2] Randomised, so that one server mostly times out alone. */
u64 election_timeout_ns(const struct raft *raft, struct rng *rng, u64 now_ns)
{
    RULE("[Followers 2, §5.2]");
    return now_ns + rng_range(rng, raft->election_timeout_ns_min, range_end_ns(raft));
}

void election_leader_gone(struct raft *raft, u64 now_ns)
{
    raft->leader_heard_ns = 0;
    raft->gone_leader = raft->leader;
    raft->leader_gone_ns = now_ns;
}

/* Whether the haste after the end of the leader's connection is still on: for as long as one
 * ordinary timeout, in which it must lead to a leader, or else it was a false alarm; nor do votes
 * that split again and again get better by it. */
static bool in_fast_failover(const struct raft *raft, u64 now_ns)
{
    return raft->leader_gone_ns != 0 && raft->campaigns < CAMPAIGNS_FREE &&
           now_ns < raft->leader_gone_ns + raft->election_timeout_ns_min;
}

/* How many servers stand between the leader that is gone and this one, in the order of ids. */
static u64 rank_behind_gone_leader(const struct raft *raft)
{
    const struct configuration *configuration = &raft->configuration;
    int gone = configuration_position(configuration, raft->gone_leader);
    int self = configuration_position(configuration, raft->self);
    if (gone < 0 || self < 0)
        return 0;
    u32 count = configuration->count;
    return ((u32)self + count - (u32)gone - 1) % count;
}

u64 election_follower_deadline_ns(const struct raft *raft, struct rng *rng, u64 now_ns)
{
    if (!in_fast_failover(raft, now_ns))
        return election_timeout_ns(raft, rng, now_ns);
    /* The first quarter of a step is for a leader that lives: it calls again at once. */
    u64 step_ns = raft->heartbeat_ns / 5;
    return now_ns + rank_behind_gone_leader(raft) * step_ns +
           rng_range(rng, step_ns / 4, step_ns * 3 / 4);
}

u64 election_candidate_deadline_ns(const struct raft *raft, struct rng *rng, u64 now_ns)
{
    if (!in_fast_failover(raft, now_ns))
        return election_timeout_ns(raft, rng, now_ns);
    return now_ns + rng_range(rng, raft->heartbeat_ns, raft->heartbeat_ns * 2);
}
