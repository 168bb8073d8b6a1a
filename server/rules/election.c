/* election.c - see election.h. */
#include "server/rules/election.h"

#include <inttypes.h>
#include <stdio.h>

#include "server/rules/trust.h"

/* [RequestVote 2, §5.4.1] The log with the later last term is more up to date; of two with the same
 * last term, the longer one. */
static bool is_up_to_date(const struct raft *raft, struct entry_id candidate)
{
    RULE("[RequestVote 2, §5.4.1]");
    return entry_id_is_up_to_date(candidate, raft_last_acked(raft));
}

/* Whether both are what they were when the others met them (trust.h). What has forgotten its votes
 * has none to give; and who has forgotten entries must not lead, though its log may look as good as
 * any: its own vote would be one of those that make the quorum. */
static bool may_vote_for(const struct raft *raft, server_id candidate, const char **why)
{
    if (!trust_may_vote(raft)) {
        *why = "this server is not recognised by the others and may not vote";
        return false;
    }
    if (!trust_counts(raft, candidate)) {
        *why = "it is not the server that was met before";
        return false;
    }
    return true;
}

void election_answer_pre_vote(struct raft *raft, const struct message *request, bool hears_leader,
                              struct message *reply, const char **why)
{
    raft_message(raft, MESSAGE_PRE_VOTE_REPLY, request->from, request, reply);
    reply->as.vote_reply.readmitted = raft->trust.own.readmitted;
    if (!may_vote_for(raft, request->from, why))
        return;
    /* The refusal carries our term, which the sender then adopts (check_term). */
    if (request->term <= raft->current_term)
        *why = "its term would not be new";
    else if (hears_leader)
        *why = "a leader is heard";
    else if (!is_up_to_date(raft, request->as.vote_request.last))
        *why = "its log is behind";
    else {
        *why = "its log is up to date and no leader is heard";
        reply->as.vote_reply.granted = true;
    }
}

void election_answer_vote(struct raft *raft, const struct message *request, struct message *reply,
                          const char **why)
{
    ASSERT(request->term == raft->current_term);
    raft_message(raft, MESSAGE_REQUEST_VOTE_REPLY, request->from, request, reply);
    reply->as.vote_reply.readmitted = raft->trust.own.readmitted;
    if (!may_vote_for(raft, request->from, why))
        return;
    RULE("[RequestVote 2, §5.2]");
    /* One vote a term, first come first served; a repeated request gets the
     * same answer. */
    if (raft->voted_for != SERVER_NONE && raft->voted_for != request->from)
        *why = "the vote of this term is given away";
    /* Without this a server that lacks committed entries could win. */
    else if (!is_up_to_date(raft, request->as.vote_request.last))
        *why = "its log is behind";
    else {
        *why = "its log is up to date";
        reply->as.vote_reply.granted = true;
        if (raft->voted_for == SERVER_NONE) {
            raft->voted_for = request->from;
            raft->metadata_unsaved = true;
        }
    }
}

static member_set own_bit(const struct raft *raft)
{
    int position = configuration_position(&raft->configuration, raft->self);
    ASSERT(position >= 0);
    return (member_set)1 << position;
}

/* Too old to count is what a voter has said so many longest timeouts ago. */
enum { PRE_VOTES_TIMEOUTS = 2 };

void election_begin_pre_vote(struct raft *raft, struct election *election, u64 now_ns)
{
    struct ballot *ballot = &raft->ballot;
    *election = (struct election){.first_call = raft->next_call, .pre_vote = true};
    if (ballot->pre_votes_ns != 0 &&
        now_ns < ballot->pre_votes_ns + PRE_VOTES_TIMEOUTS * raft->election_timeout_ns_max)
        return;
    ballot->pre_votes = own_bit(raft);
    ballot->pre_votes_call = raft->next_call;
    ballot->pre_votes_ns = now_ns;
}

/* [Candidates 1, §5.2] The messages that follow are the caller's to send. */
void election_begin(struct raft *raft, struct election *election, bool transfer)
{
    ASSERT(configuration_is_voter(&raft->configuration, raft->self));
    RULE("[Candidates 1, §5.2]");
    adopt_term(raft, raft->current_term + 1);
    raft->voted_for = raft->self;
    raft->campaigns++;
    raft->ballot = (struct ballot){
        .term = raft->current_term, .votes = own_bit(raft), .votes_call = raft->next_call};
    *election = (struct election){.first_call = raft->next_call, .transfer = transfer};
}

void election_request(struct raft *raft, const struct election *election, server_id to,
                      struct message *request)
{
    enum message_kind kind = election->pre_vote ? MESSAGE_PRE_VOTE : MESSAGE_REQUEST_VOTE;
    raft_message(raft, kind, to, NULL, request);
    if (election->pre_vote)
        request->term = raft->current_term + 1;
    request->as.vote_request.last = log_last(&raft->log);
    request->as.vote_request.transfer = election->transfer;
}

/* Who has said yes to what it asks now. */
static member_set granted(const struct raft *raft, const struct election *election)
{
    return election->pre_vote ? raft->ballot.pre_votes : raft->ballot.votes;
}

bool election_asks(const struct raft *raft, const struct election *election, server_id id)
{
    const struct configuration *configuration = &raft->configuration;
    int position = configuration_position(configuration, id);
    member_set answered = granted(raft, election) | election->refused;
    return position >= 0 && id != raft->self && configuration_is_voter(configuration, id) &&
           trust_counts(raft, id) && (answered >> position & 1) == 0;
}

void election_count(struct raft *raft, struct election *election, const struct message *reply)
{
    struct ballot *ballot = &raft->ballot;
    int position = configuration_position(&raft->configuration, reply->from);
    bool pre_vote = reply->kind == MESSAGE_PRE_VOTE_REPLY;
    if (position < 0 || (!pre_vote && reply->kind != MESSAGE_REQUEST_VOTE_REPLY))
        return;
    member_set bit = (member_set)1 << position;
    if (!reply->as.vote_reply.granted) {
        /* What was refused before may be granted now: an earlier try's refusal says nothing. */
        if (pre_vote == election->pre_vote && reply->call >= election->first_call)
            election->refused |= bit;
    } else if (pre_vote) {
        if (ballot->pre_votes_ns != 0 && reply->call >= ballot->pre_votes_call)
            ballot->pre_votes |= bit;
    } else if (ballot->term == raft->current_term && reply->call >= ballot->votes_call) {
        ballot->votes |= bit;
    }
}

bool election_is_won(const struct raft *raft)
{
    const struct ballot *ballot = &raft->ballot;
    if (ballot->term != raft->current_term || raft->voted_for != raft->self ||
        !trust_quorum(raft, ballot->votes))
        return false;
    RULE("[Candidates 2, §5.2]");
    return true;
}

bool election_would_win(const struct raft *raft, const struct election *election)
{
    return election->pre_vote && trust_quorum(raft, raft->ballot.pre_votes);
}

bool election_is_lost(const struct raft *raft, const struct election *election)
{
    member_set may_still = (member_set) ~(election->refused & ~granted(raft, election));
    return !trust_quorum(raft, may_still);
}

/* ---- for people ---- */

static member_set votes_of_kind(const struct raft *raft, const struct message *reply)
{
    return reply->kind == MESSAGE_PRE_VOTE_REPLY ? raft->ballot.pre_votes : raft->ballot.votes;
}

member_set election_heard(const struct raft *raft, const struct election *election,
                          const struct message *reply)
{
    return votes_of_kind(raft, reply) | election->refused;
}

struct election_news election_counted(const struct raft *raft, const struct election *election,
                                      const struct message *reply)
{
    struct election_news news = {.kind = NEWS_VOTE_COUNTED,
                                 .pre_vote = reply->kind == MESSAGE_PRE_VOTE_REPLY,
                                 .granted = reply->as.vote_reply.granted,
                                 .peer = reply->from,
                                 .term = raft->current_term + election->pre_vote};
    const struct configuration *configuration = &raft->configuration;
    for (u32 position = 0; position < configuration->count; position++) {
        if (!configuration_is_voter(configuration, configuration->members[position].id))
            continue;
        news.voters++;
        news.votes += (votes_of_kind(raft, reply) >> position & 1) != 0;
    }
    return news;
}

void election_tell(const struct election_news *news, char *text, size_t size)
{
    const char *what = news->pre_vote ? "pre-vote" : "vote";
    const char *answer = news->granted ? "yes" : "no";
    switch (news->kind) {
    case NEWS_VOTE_GIVEN:
        (void)snprintf(text, size, "%s for server %" PRIu32 " in term %" PRIu64 ": %s, %s", what,
                       news->peer, news->term, answer, news->why);
        return;
    case NEWS_VOTE_COUNTED:
        (void)snprintf(text, size,
                       "%s of server %" PRIu32 " in term %" PRIu64 ": %s; this server has %" PRIu32
                       " of %" PRIu32,
                       what, news->peer, news->term, answer, news->votes, news->voters);
        return;
    case NEWS_TIMEOUT:
        (void)snprintf(text, size, "the election timeout drawn is %" PRIu64 ".%" PRIu64 " ms",
                       news->timeout_ns / NS_PER_MS,
                       news->timeout_ns % NS_PER_MS / (NS_PER_MS / 10));
        return;
    }
}
