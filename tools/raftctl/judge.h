/* judge.h - what the answers of all servers, taken together, say of the cluster: who leads, who
 * counts, and what is wrong with whom.
 *
 * Every statement is drawn from INFO raft of those that answered; of the others nothing is known
 * but that they did not. */
#ifndef MAILRAFT_TOOLS_RAFTCTL_JUDGE_H
#define MAILRAFT_TOOLS_RAFTCTL_JUDGE_H

#include "tools/raftctl/ask.h"

struct verdict {
    const struct target *leader;  /* the one leader, as far as the answers show it; NULL: none */
    u32 voters;                   /* by the leader's list of members, or else by somebody's; 0: not
                                     known */
    u32 counted;                  /* voters that answer, and whose votes count */
    u32 following;                /* of those, the ones that follow the leader, itself included */
    u32 full;                     /* of those, the ones that have no room for writes */
    bool agreed;                  /* they are a majority */
    bool writable;                /* the leader has room for writes, and a majority with it */
    const struct target *stalled; /* one that has stalled; NULL: none */
    u32 clusters;                 /* to which those who answered belong */
    server_id missing;            /* one of --with that does not follow; 0: none */
};

struct verdict judge(const struct raftctl *raftctl);

/* Nothing is wrong: what exit status 0 says. */
bool verdict_is_good(const struct verdict *verdict);
/* What is wrong, in one sentence that begins with no capital letter. */
enum error_code verdict_complain(const struct verdict *verdict, struct error *error);

/* Whether the servers go by what it says: the leader's word counts; where there is none, one that
 * does not recognise it is enough, or its own word. */
bool is_recognised(const struct raftctl *raftctl, const struct verdict *verdict,
                   const struct target *target);
/* How long it has stalled, in ms; 0: it has not. What it says of itself is older than that. */
u64 stalled_ms(const struct target *target);
/* Whether its disk has no room for more entries. */
bool is_full(const struct target *target);

/* What the leader knows of a follower: by how many entries it trails, and how long ago it was heard
 * of. False for the leader itself, for strangers, and for one that this leader never heard of. */
bool progress_of(const struct verdict *verdict, const struct target *target, u64 *trails,
                 u64 *contact_ms);

#endif
