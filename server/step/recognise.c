/* recognise.c - who of the others is recognised, and whether this server is: rules/trust.h. */
#include "server/rules/trust.h"
#include "server/step/inside.h"

void step_remind(struct step *step, server_id peer)
{
    struct message message;
    if (trust_tell(step->raft, peer, step->now_ns, &message))
        step_say(step, &message);
}

void step_peer_connected(struct step *step, server_id peer)
{
    trust_tell_again(step->raft, peer);
    step_remind(step, peer);
}

/* What is remembered must be on the disk before the next event, which may be a message of the peer:
 * so the node does it at once, and no message need wait. */
static void carry_out(struct step *step, server_id peer, const struct meeting *meeting)
{
    struct progress *progress =
        step->state == RAFT_LEADER ? leadership_peer(&step->lead.leadership, peer) : NULL;
    if (progress != NULL && meeting->anew)
        replicate_anew(step->raft, progress);
    if (meeting->changed || meeting->remember)
        step_do(step, DO_RECOGNISE)->as.recognise = (struct step_recognise){peer, *meeting};
}

void step_meet(struct step *step, const struct met *met)
{
    struct meeting meeting = trust_meet(step->raft, met->peer, &met->identity);
    if (meeting.anew)
        streams_forget(&step->raft->streams, met->peer);
    carry_out(step, met->peer, &meeting);
    step_remind(step, met->peer);
}

void step_mind_reply(struct step *step, const struct progress *progress,
                     const struct append_reply *reply)
{
    struct meeting meeting;
    if (progress->lost_acked || reply->non_voter)
        meeting = trust_lost(step->raft, progress->id,
                             progress->lost_acked ? DISTRUST_LOST_ENTRIES : DISTRUST_TOLD);
    else if (!trust_counts(step->raft, progress->id))
        meeting = trust_heard(step->raft, progress->id, reply->readmitted);
    else
        return;
    carry_out(step, progress->id, &meeting);
}

void step_mind_vote(struct step *step, const struct message *reply)
{
    if (trust_counts(step->raft, reply->from))
        return;
    struct meeting meeting = trust_heard(step->raft, reply->from, reply->as.vote_reply.readmitted);
    carry_out(step, reply->from, &meeting);
}

void step_settle_trust(struct step *step)
{
    struct raft *raft = step->raft;
    if (trust_is_settled(&raft->trust, &raft->configuration, raft->commit_index))
        return;
    enum own_standing standing;
    server_id peer;
    struct meeting meeting;
    while ((standing = trust_settle(raft)) != STANDING_SAME)
        step_do(step, DO_STANDING)->as.standing = standing;
    while (trust_next_change(raft, &peer, &meeting))
        carry_out(step, peer, &meeting);
}

void step_unrecognised(struct step *step, const struct message *message)
{
    if (!trust_unrecognised(step->raft, message))
        return;
    step_do(step, DO_NON_VOTER)->as.non_voter =
        (struct step_non_voter){message->from, message->as.unrecognised.why};
    if (step->state != RAFT_FOLLOWER)
        step_become(step, RAFT_FOLLOWER, "it may not vote");
}
