/* timers.c - the election timer and the heartbeat timer.
 *
 * Timers are deadlines that the handler moves and this file reads. They call back on the thread
 * that runs the server, under its lock. */
#include "server/dispatch/dispatch.h"
#include "server/replica/votes.h"
#include "server/requests/parked.h"
#include "server/requests/pending.h"
#include "server/service/follow.h"
#include "server/service/hold.h"

/* [Followers 2, §5.2] and [Candidates 4, §5.2] */
static void election_timeout(struct dispatch *dispatch)
{
    struct server *server = dispatch->server;
    bool may = server->state == RAFT_CANDIDATE || raft_may_campaign(&server->raft);
    if (!votes_time_is_up(server, may, &dispatch->deadline_ns, dispatch->now_ns, dispatch->now_ns))
        return;
    const char *why = server->state == RAFT_CANDIDATE    ? "the election timed out"
                      : server->raft.leader_gone_ns != 0 ? "the leader's connection ended"
                                                         : "no leader was heard";
    dispatch_become(dispatch, RAFT_CANDIDATE, why);
}

/* The heartbeats themselves go out with the flush that follows. Thesis §6.2. */
static void heartbeat_timeout(struct dispatch *dispatch)
{
    if (dispatch->now_ns >=
        leadership_quorum_until_ns(&dispatch->server->raft, &dispatch->lead.leadership))
        dispatch_become(dispatch, RAFT_FOLLOWER, "no contact with a quorum");
}

void dispatch_timers(struct dispatch *dispatch)
{
    struct server *server = dispatch->server;
    switch (server->state) {
    case RAFT_FOLLOWER:
    case RAFT_CANDIDATE:
        (void)hold_expire(server, dispatch->now_ns);
        election_timeout(dispatch);
        return;
    case RAFT_LEADER:
        heartbeat_timeout(dispatch);
        return;
    case RAFT_STOPPED:
        return;
    }
}

u64 dispatch_next_deadline_ns(const struct dispatch *dispatch)
{
    const struct server *server = dispatch->server;
    /* Between two batches of entries or reads there is only a look at who waits for the lock. */
    if (server->state != RAFT_STOPPED && server->raft.last_applied < server->raft.commit_index)
        return 0;
    switch (server->state) {
    case RAFT_FOLLOWER:
    case RAFT_CANDIDATE: {
        u64 forward_ns = forwarding_deadline_ns(&dispatch->forwarding);
        u64 waiting_ns =
            u64_min(forward_ns, parked_until_ns(&server->parked, server->options.leader_wait_ns));
        return u64_min(dispatch->deadline_ns, waiting_ns);
    }
    case RAFT_LEADER:
        if (dispatch->lead.reads_left)
            return 0;
        return pending_next_ns(&server->raft, &dispatch->lead);
    case RAFT_STOPPED:
        return 0;
    }
    UNREACHABLE();
}
