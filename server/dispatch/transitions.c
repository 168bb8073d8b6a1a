/* transitions.c - the one place where a server's state changes.
 *
 * It is called from the handler (a newer term, a leader's AppendEntries, an order), from the timers
 * and from the counting of votes. Whoever calls must know what the state that ends leaves behind:
 * that is why all of it is ended here, and all of the next one begun. */
#include "server/dispatch/dispatch.h"
#include "server/replica/replica.h"
#include "server/replica/votes.h"
#include "server/service/follow.h"
#include "server/service/lead.h"

static void end_state(struct dispatch *dispatch)
{
    struct server *server = dispatch->server;
    switch (server->state) {
    case RAFT_FOLLOWER:
        follow_forwarding_lost(server, &dispatch->forwarding);
        return;
    case RAFT_LEADER:
        lead_stop(server, &dispatch->lead);
        return;
    case RAFT_CANDIDATE: /* the votes are reset when the next election begins */
    case RAFT_STOPPED:
        return;
    }
}

static void change(struct dispatch *dispatch, enum raft_state state, bool skip_pre_vote,
                   const char *why)
{
    struct server *server = dispatch->server;
    end_state(dispatch);
    server_enter(server, state, why);
    switch (state) {
    case RAFT_FOLLOWER:
        dispatch->deadline_ns =
            election_follower_deadline_ns(&server->raft, &server->rng, dispatch->now_ns);
        votes_tell_timeout(server, dispatch->now_ns, dispatch->deadline_ns);
        return;
    case RAFT_CANDIDATE:
        votes_begin_campaign(server, &dispatch->election, skip_pre_vote, dispatch->now_ns);
        dispatch->election_begins = true;
        return;
    case RAFT_LEADER:
        lead_begin(server, &dispatch->lead, dispatch->now_ns);
        return;
    case RAFT_STOPPED:
        return;
    }
}

void dispatch_become(struct dispatch *dispatch, enum raft_state state, const char *why)
{
    change(dispatch, state, false, why);
}

void dispatch_campaign(struct dispatch *dispatch, bool skip_pre_vote, const char *why)
{
    change(dispatch, RAFT_CANDIDATE, skip_pre_vote, why);
}

bool dispatch_count_votes(struct dispatch *dispatch)
{
    struct server *server = dispatch->server;
    struct election *election = &dispatch->election;
    if (election_is_won(&server->raft)) {
        dispatch_become(dispatch, RAFT_LEADER, "a quorum voted for it");
        return true;
    }
    if (election_would_win(&server->raft, election)) {
        server_enter(server, RAFT_CANDIDATE, "a quorum would vote for it");
        votes_begin_election(server, election, false);
        dispatch->election_begins = true;
        return true;
    }
    if (!election_is_lost(&server->raft, election))
        return false;
    dispatch_become(dispatch, RAFT_FOLLOWER, "a quorum refused");
    return true;
}
