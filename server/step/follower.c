/* follower.c - what a follower does with each event (§5.2: "Followers" under Figure 2's Rules for
 * Servers).
 *
 * Trusted: raft->leader, once it is set, is the leader of current_term, and what was forwarded went
 * to it. A message is of the current term here: step.c has minded that. */
#include "server/step/inside.h"

static void reset_timer(struct step *step)
{
    step->deadline_ns = election_timeout_ns(step->raft, &step->rng, step->now_ns);
}

static void append_entries_req(struct step *step, const struct message *request)
{
    struct message reply;
    const char *why;
    if (!append_entries(step->raft, request, step->room.bytes, step->now_ns, &reply, &why)) {
        step_halt(step, request->from, why);
        return;
    }
    step_say(step, &reply);
    step_apply(step);
    reset_timer(step);
}

static void install_snapshot_req(struct step *step, const struct message *request)
{
    struct message reply;
    enum install_verdict verdict;
    const char *why;
    if (!install_receive_chunk(step->raft, request, step->room.piece_bytes, step->room.no_space,
                               step->now_ns, &reply, &verdict, &why)) {
        step_halt(step, request->from, why);
        return;
    }
    if (verdict == INSTALL_TAKE) {
        step->room.piece_bytes -= message_payload_size(request);
        step_do(step, DO_TAKE_PIECE)->as.piece = request;
    }
    step_say(step, &reply);
    reset_timer(step);
}

static void vote_req(struct step *step, const struct message *request)
{
    /* Whoever got the vote gets the time to win, too. */
    if (step_answer_vote(step, request))
        reset_timer(step);
}

/* Returns whether this server campaigns now: it was told to, and all is answered. */
static bool take_over(struct step *step, u64 heard_ns)
{
    if (!forwarding_settle(&step->forwarding, heard_ns) || !raft_may_campaign(step->raft))
        return false;
    step_campaign(step, true, "leadership was handed over");
    return true;
}

static void timeout(struct step *step, bool timers_held)
{
    step_expire_parked(step);
    step_forward_expire(step);
    if (take_over(step, step->now_ns) || step->now_ns < step->deadline_ns)
        return;
    if (raft_may_campaign(step->raft) && !timers_held)
        step_campaign(step, false,
                      step->raft->leader_gone_ns != 0 ? "the leader's connection ended"
                                                      : "no leader was heard");
    else
        reset_timer(step);
}

/* As soon as all that was forwarded is answered. */
static void timeout_now(struct step *step)
{
    if (step->forwarding.first != NULL && raft_may_campaign(step->raft))
        forwarding_close(&step->forwarding, step->raft, step->now_ns);
    else
        step_campaign(step, true, "leadership was handed over");
}

/* What was on its way on the old connection may be lost. */
static void connected(struct step *step, server_id peer)
{
    if (peer == step->raft->leader)
        step_forward_lost(step);
}

static void connection_lost(struct step *step, server_id peer)
{
    if (peer != step->raft->leader)
        return;
    election_leader_gone(step->raft, step->now_ns);
    forwarding_wait_no_longer(&step->forwarding, step->now_ns);
    step->deadline_ns = u64_min(
        step->deadline_ns, election_follower_deadline_ns(step->raft, &step->rng, step->now_ns));
}

void follower_step(struct step *step, const struct step_event *event)
{
    switch (event->kind) {
    case ON_APPEND:
    case ON_READ:
    case ON_TRANSFER:
        step_follow_command(step, step_take_command(event));
        return;
    case ON_TIMEOUT:
        timeout(step, event->as.timers_held);
        return;
    case ON_APPEND_ENTRIES_REQ:
        append_entries_req(step, event->as.message);
        return;
    case ON_VOTE_REQ:
    case ON_PRE_VOTE_REQ:
        vote_req(step, event->as.message);
        return;
    case ON_INSTALL_SNAPSHOT_REQ:
        install_snapshot_req(step, event->as.message);
        return;
    case ON_SNAPSHOT_TAKEN:
    case ON_SNAPSHOT_RECEIVED:
    case ON_SNAPSHOT_LOST:
        step_snapshot(step, event);
        return;
    case ON_FORWARD_REQ: /* only a leader takes it; nothing was executed */
        step_refuse_message(step, event->as.message);
        return;
    case ON_FORWARD_RESP:
        step_forward_replied(step, event->as.message);
        return;
    case ON_TIMEOUT_NOW: /* leadership is handed over (thesis §3.10) */
        if (step->raft->leader == SERVER_NONE || event->as.message->from == step->raft->leader)
            timeout_now(step);
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
    case ON_CONNECTION_LOST:
        connection_lost(step, event->as.peer);
        return;
    case ON_UNSENT:
        step_forward_unsent(step, event->as.call);
        return;
    case ON_PERSISTED:
        step_persisted(step, &event->as.persisted);
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
    case ON_BATCH_END:
        step_forward(step);
        step_apply(step); /* what was too much for one batch */
        step_compact(step);
        (void)take_over(step, 0);
        return;
    case ON_STOP:
        step_become(step, RAFT_STOPPED, event->as.why);
        return;
    case ON_APPEND_ENTRIES_RESP:   /* this server's leadership is over */
    case ON_INSTALL_SNAPSHOT_RESP: /* the same */
    case ON_ENTRIES_READ:          /* the same */
    case ON_PIECE_READ:            /* the same */
    case ON_VOTE_RESP:             /* this server's candidacy is over */
    case ON_PRE_VOTE_RESP:         /* the same */
        return;
    }
}
