/* election.c - see election.h. */
#include "server/rules/election.h"

/* [RequestVote 2, §5.4.1] The log with the later last term is more up to date; of two with the same
 * last term, the longer one. */
static bool is_up_to_date(const struct raft *raft, struct entry_id candidate)
{
    RULE("[RequestVote 2, §5.4.1]");
    return entry_id_is_up_to_date(candidate, raft_last_promised(raft));
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

void election_begin_pre_vote(const struct raft *raft, struct election *election)
{
    *election = (struct election){
        .granted = own_bit(raft), .first_call = raft->next_call, .pre_vote = true};
}

/* [Candidates 1, §5.2] The messages that follow are the caller's to send. */
void election_begin(struct raft *raft, struct election *election, bool transfer)
{
    ASSERT(configuration_is_voter(&raft->configuration, raft->self));
    RULE("[Candidates 1, §5.2]");
    adopt_term(raft, raft->current_term + 1);
    raft->voted_for = raft->self;
    *election = (struct election){
        .granted = own_bit(raft), .first_call = raft->next_call, .transfer = transfer};
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

bool election_asks(const struct raft *raft, const struct election *election, server_id id)
{
    const struct configuration *configuration = &raft->configuration;
    int position = configuration_position(configuration, id);
    member_set answered = election->granted | election->refused;
    return position >= 0 && id != raft->self && configuration_is_voter(configuration, id) &&
           trust_counts(raft, id) && (answered >> position & 1) == 0;
}

void election_count(const struct raft *raft, struct election *election, const struct message *reply)
{
    enum message_kind kind =
        election->pre_vote ? MESSAGE_PRE_VOTE_REPLY : MESSAGE_REQUEST_VOTE_REPLY;
    int position = configuration_position(&raft->configuration, reply->from);
    /* An answer to an earlier election (a pre-vote is tried again in the same term, and what was
     * true at the first time need not be now), or of a server that is no member. */
    if (reply->kind != kind || reply->call < election->first_call || position < 0)
        return;
    member_set bit = (member_set)1 << position;
    if (reply->as.vote_reply.granted)
        election->granted |= bit;
    else
        election->refused |= bit;
}

bool election_is_won(const struct raft *raft, const struct election *election)
{
    if (!trust_quorum(raft, election->granted))
        return false;
    RULE("[Candidates 2, §5.2]");
    return true;
}

bool election_is_lost(const struct raft *raft, const struct election *election)
{
    member_set may_still = (member_set) ~(election->refused & ~election->granted);
    return !trust_quorum(raft, may_still);
}
