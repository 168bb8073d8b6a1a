/* candidate.c - what a candidate does with each event (§5.2: "Candidates" under Figure 2's Rules
 * for Servers).
 *
 * Trusted: no leader is known. In the first phase, the pre-vote, nothing has changed yet: the term
 * and the vote are those of before. In the second this server has voted for itself. */
#include "server/step/inside.h"

void step_judge(struct step *step)
{
    const struct raft *raft = step->raft;
    struct election *election = &step->election;
    /* Its own vote counts when it is on the disk, as anybody's does; and votes of this term count
     * also when they come after a new pre-vote was begun. */
    if (!raft->metadata_unsaved && election_is_won(raft)) {
        step_become(step, RAFT_LEADER, "a quorum voted for it");
        return;
    }
    if (election_would_win(raft, election)) {
        step_tell_transition(step, "a quorum would vote for it");
        step_begin_election(step, false);
    }
    if (election_is_lost(raft, election))
        step_become(step, RAFT_FOLLOWER, "a quorum refused");
}

static void vote_resp(struct step *step, const struct message *reply)
{
    step_mind_vote(step, reply);
    member_set before = election_heard(step->raft, &step->election, reply);
    election_count(step->raft, &step->election, reply);
    if (election_heard(step->raft, &step->election, reply) != before)
        step_do(step, DO_TELL_ELECTION)->as.news =
            election_counted(step->raft, &step->election, reply);
    step_judge(step);
}

static void timeout(struct step *step, bool timers_held)
{
    step_expire_parked(step);
    if (step->now_ns < step->deadline_ns)
        return;
    RULE("[Candidates 4, §5.2]");
    if (timers_held)
        step->deadline_ns = election_candidate_deadline_ns(step->raft, &step->rng, step->now_ns);
    else
        step_campaign(step, false, "the election timed out");
}

static void connected(struct step *step, server_id peer)
{
    if (!election_asks(step->raft, &step->election, peer))
        return;
    /* The request that went nowhere before. */
    struct message request;
    election_request(step->raft, &step->election, peer, &request);
    step_say(step, &request);
}

void candidate_step(struct step *step, const struct step_event *event)
{
    switch (event->kind) {
    case ON_APPEND:
    case ON_READ:
        step_park(step, step_take_command(event));
        return;
    case ON_TRANSFER:
        step_conclude_order(step, step_take_command(event));
        return;
    case ON_TIMEOUT:
        timeout(step, event->as.timers_held);
        return;
    case ON_APPEND_ENTRIES_REQ:
    case ON_INSTALL_SNAPSHOT_REQ:
        RULE("[Candidates 3, §5.2]");
        step_become(step, RAFT_FOLLOWER, "there is a leader");
        follower_step(step, event);
        return;
    case ON_VOTE_REQ:
    case ON_PRE_VOTE_REQ:
        /* It hears no leader; and its vote of this term it has given to itself. */
        (void)step_answer_vote(step, event->as.message);
        return;
    case ON_VOTE_RESP:
    case ON_PRE_VOTE_RESP:
        vote_resp(step, event->as.message);
        return;
    case ON_SNAPSHOT_TAKEN:
    case ON_SNAPSHOT_RECEIVED:
    case ON_SNAPSHOT_LOST:
        step_snapshot(step, event);
        return;
    case ON_FORWARD_REQ: /* only a leader takes it; nothing was executed */
        step_refuse_message(step, event->as.message);
        return;
    case ON_CAMPAIGN:
        step_campaign(step, event->as.campaign.skip_pre_vote, event->as.campaign.why);
        return;
    case ON_UNRECOGNISED:
        step_unrecognised(step, event->as.message);
        return;
    case ON_MET:
        step_meet(step, event->as.met);
        return;
    case ON_CONNECTED:
        connected(step, event->as.peer);
        step_peer_connected(step, event->as.peer);
        return;
    case ON_PERSISTED:
        step_persisted(step, &event->as.persisted);
        step_judge(step);
        return;
    case ON_APPLIED:
        step_applied(step, event->as.work);
        return;
    case ON_ROOM:
        step_note_room(step, &event->as.room);
        return;
    case ON_SETTINGS: /* a shorter election timeout holds at once */
        step->settings = event->as.settings;
        step->deadline_ns =
            u64_min(step->deadline_ns, election_timeout_ns(step->raft, &step->rng, step->now_ns));
        return;
    case ON_BATCH_END: /* what it had to say it has said */
        step_apply(step);
        step_compact(step);
        return;
    case ON_STOP:
        step_become(step, RAFT_STOPPED, event->as.why);
        return;
    case ON_APPEND_ENTRIES_RESP:   /* this server's leadership is over */
    case ON_INSTALL_SNAPSHOT_RESP: /* the same */
    case ON_ENTRIES_READ:          /* the same */
    case ON_PIECE_READ:            /* the same */
    case ON_FORWARD_RESP:          /* nobody waits for it any more */
    case ON_UNSENT:                /* the same */
    case ON_TIMEOUT_NOW:           /* it is a candidate already */
    case ON_CONNECTION_LOST:       /* it has no leader to lose */
        return;
    }
}
