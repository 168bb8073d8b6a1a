/* election.h - votes: who gets one, and who has enough.
 *
 * Voters call the first part, in any state; a candidate holds a `struct election` for each try.
 * What the others grant is gathered in raft->ballot, over more than one try: a vote of the current
 * term makes a leader of that term whenever it comes, and a pre-vote counts for a while. So
 * elections work where a round trip takes longer than a try. Read beside the RequestVote box of
 * Figure 2 and "Candidates" under its rules. */
#ifndef MAILRAFT_RULES_ELECTION_H
#define MAILRAFT_RULES_ELECTION_H

#include "common/rng.h"
#include "server/rules/raft.h"

/* ---- the voter ---- */

/* Fills the reply to a PRE_VOTE: would this server vote for the sender? Changes nothing. `*why` is
 * a static clause. */
void election_answer_pre_vote(struct raft *raft, const struct message *request, bool hears_leader,
                              struct message *reply, const char **why);

/* [RequestVote 2, §5.2] [RequestVote 2, §5.4.1] Fills the reply to a REQUEST_VOTE of the current
 * term; a granted vote is entered in `raft` and marked unsaved. */
void election_answer_vote(struct raft *raft, const struct message *request, struct message *reply,
                          const char **why);

/* ---- the candidate ---- */

struct election {
    member_set refused; /* by position in the configuration */
    u64 first_call;     /* refusals of calls before this one belong to an earlier try */
    bool pre_vote;      /* asks whether it would win, in the term after the current one */
    bool transfer;      /* leadership was handed over: no pre-vote, stickiness put aside */
};

/* Begins a pre-vote: own yes is counted, the term stays. Of earlier tries it takes over who said
 * yes, unless a leader was heard since, the term changed, or they are too old. */
void election_begin_pre_vote(struct raft *raft, struct election *election, u64 now_ns);

/* [Candidates 1, §5.2] Begins an election: term + 1, vote for self, both unsaved. */
void election_begin(struct raft *raft, struct election *election, bool transfer);

/* Fills the request for the voter `to`. */
void election_request(struct raft *raft, const struct election *election, server_id to,
                      struct message *request);

/* Whether this server is a voter other than the candidate, counts (trust.h), and has not answered
 * yet. */
bool election_asks(const struct raft *raft, const struct election *election, server_id id);

/* Counts an answer to a request of the current term; repeated ones count once. A vote counts when
 * it was granted by a voter; others change nothing. */
void election_count(struct raft *raft, struct election *election, const struct message *reply);

/* [Candidates 2, §5.2] Whether a quorum's votes make this server the leader of the current term, be
 * it in this try or in an earlier one. (Its own must be on the disk: metadata_unsaved.) */
bool election_is_won(const struct raft *raft);

/* Whether a quorum would vote for it, so that the pre-vote is over. */
bool election_would_win(const struct raft *raft, const struct election *election);

/* Whether a quorum can no longer be reached, whatever the others say. */
bool election_is_lost(const struct raft *raft, const struct election *election);

/* ---- for people ---- */

/* X(NAME). What a server tells of its elections, in the same words in every design. */
#define ELECTION_NEWS(X)                                                             \
    X(NEWS_VOTE_GIVEN)   /* it has answered a request: `granted`, and why */         \
    X(NEWS_VOTE_COUNTED) /* an answer to its own request has come: `votes` so far */ \
    X(NEWS_TIMEOUT)      /* the election timer was set for a time that was drawn */

enum election_news_kind {
#define X(name) name,
    ELECTION_NEWS(X)
#undef X
};

struct election_news {
    enum election_news_kind kind;
    bool pre_vote;
    bool granted;
    server_id peer;  /* the candidate, or the voter */
    u64 term;        /* that was asked for */
    const char *why; /* a static clause */
    u32 votes;       /* that the candidate has, its own included, */
    u32 voters;      /* and of how many */
    u64 timeout_ns;  /* until the timer fires */
};

/* Whose answers to requests of this answer's kind count so far: election_count changes that. */
member_set election_heard(const struct raft *raft, const struct election *election,
                          const struct message *reply);
/* The news of an answer that election_count has taken in. */
struct election_news election_counted(const struct raft *raft, const struct election *election,
                                      const struct message *reply);
/* Puts it into words; 128 bytes are enough for a clause of 40. */
void election_tell(const struct election_news *news, char *text, size_t size);

/* ---- when (timeout.c) ---- */

/* [Followers 2, §5.2] The ordinary election timeout: a random time from now_ns on. Its range grows
 * while elections come to nothing. */
u64 election_timeout_ns(const struct raft *raft, struct rng *rng, u64 now_ns);

/* The connection from the leader has ended: most likely it is dead. For one ordinary timeout the
 * two deadlines below are short. Pre-vote makes a false alarm harmless. */
void election_leader_gone(struct raft *raft, u64 now_ns);

/* When a follower that heard nobody since now_ns should campaign. In haste the servers take turns:
 * the first one behind the leader that is gone tries at once, the next one some ms later, so that
 * votes do not split. A try may be refused because another voter has not noticed yet; then it is
 * made again. */
u64 election_follower_deadline_ns(const struct raft *raft, struct rng *rng, u64 now_ns);

/* When a candidate whose requests went out at now_ns should give up and try again [Candidates 4,
 * §5.2]. In haste that is soon: whoever is alive answers within a few syncs. */
u64 election_candidate_deadline_ns(const struct raft *raft, struct rng *rng, u64 now_ns);

#endif
