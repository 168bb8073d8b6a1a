/* leader.c - what a leader does with each event (§5.3, §5.4, §8: "Leaders" under Figure 2's Rules
 * for Servers).
 *
 * Trusted: this server is the only leader of current_term, which is on its disk; its log only
 * grows. */
#include "server/requests/pending.h"
#include "server/step/inside.h"

/* Thesis §3.10: what the transfer demands now, if one goes on. */
static void hand_over(struct step *step)
{
    struct leader_pending *lead = &step->lead;
    struct message message;
    enum transfer_result result;
    server_id who;
    struct command *command;
    struct command_list others = {0};
    step_look_for_room(step);
    if (transfer_without_room(step->raft, &lead->leadership, &lead->transfer, lead->short_of_room,
                              step->now_ns))
        step_tell(step, lead->transfer.target, transfer_words_no_room, true);
    lead->short_of_room = false;
    switch (transfer_go_on(step->raft, &lead->leadership, &lead->transfer, step->now_ns, &message,
                           &result, &who)) {
    case TRANSFER_WAIT:
        return;
    case TRANSFER_SEND:
        /* Their servers may soon ask for votes themselves, and then forget what they forwarded. */
        pending_held_for_others(step->raft, lead, &others);
        while ((command = command_list_take(&others)) != NULL)
            step_give_back(step, command);
        step_say_now(step, &message);
        return;
    case TRANSFER_GIVEN_UP:
        step_tell(step, who, transfer_words_given_up(result), true);
        if (lead->order != NULL)
            step_answer_order(step, lead->order, result, who);
        lead->order = NULL;
        step_lead_held(step);
        return;
    }
}

/* [Leaders 1 and 3, §5.3] To each peer what is to be said now: entries, heartbeats, rounds. */
static void replicate_to_all(struct step *step)
{
    struct leadership *leadership = &step->lead.leadership;
    leadership_begin_round(step->raft, leadership);
    for (u32 position = 0; position < leadership->count; position++) {
        struct progress *progress = &leadership->peers[position];
        if (progress->id == step->raft->self)
            continue;
        struct message message;
        enum replicate_verdict verdict;
        while ((verdict = replicate(step->raft, leadership, progress, step->now_ns, &message)) ==
               REPLICATE_SEND)
            step_say_now(step, &message);
        if (verdict == REPLICATE_READ_SNAPSHOT)
            step_do(step, DO_READ_PIECE)->as.read_piece = (struct step_read_piece){
                progress->reading, progress->id, progress->snapshot, progress->snapshot_offset};
        if (verdict == REPLICATE_READ)
            step_do(step, DO_READ_ENTRIES)->as.read =
                (struct step_read_entries){progress->reading, progress->id, progress->next_index,
                                           step->raft->message_bytes_max};
    }
}

/* [Leaders 2, §5.3] */
static void take_command(struct step *step, const struct step_event *event)
{
    step_lead_room(step);
    step_lead_command(step, step_take_command(event));
}

static void append_entries_resp(struct step *step, const struct message *reply)
{
    struct progress *progress = leadership_peer(&step->lead.leadership, reply->from);
    if (progress == NULL)
        return;
    replicate_reply(step->raft, progress, reply,
                    leadership_heard_ns(&step->lead.leadership, reply, step->now_ns));
    step_mind_reply(step, progress, &reply->as.append_reply);
    step_apply(step);
}

static void forward_req(struct step *step, const struct message *request)
{
    struct message refusal;
    bool sound = forward_is_sound(request);
    enum stream_verdict verdict =
        sound ? pending_takes_forward(step->raft, &step->lead, request) : STREAM_REFUSED;
    if (!sound)
        step_tell(step, request->from, "it forwarded commands that cannot be decoded", true);
    if (verdict == STREAM_REFUSED) {
        pending_refuse_forward(step->raft, &step->lead, request, &refusal);
        step_say(step, &refusal);
    }
    if (verdict == STREAM_TAKEN)
        step_do(step, DO_ACCEPT)->as.forward = request;
}

static void entries_read(struct step *step, const struct entries_read *read)
{
    struct progress *progress = leadership_peer(&step->lead.leadership, read->peer);
    struct message message;
    if (progress == NULL)
        return;
    if (read->put_off)
        replicate_read_put_off(step->raft, progress, read->order);
    else if (replicate_read_done(step->raft, &step->lead.leadership, progress, read->order,
                                 read->first, read->count, &read->records, step->now_ns, &message))
        step_say_now(step, &message);
}

static void install_snapshot_resp(struct step *step, const struct message *reply)
{
    struct progress *progress = leadership_peer(&step->lead.leadership, reply->from);
    if (progress == NULL)
        return;
    install_reply(step->raft, progress, reply,
                  leadership_heard_ns(&step->lead.leadership, reply, step->now_ns));
    step_apply(step);
}

static void piece_read(struct step *step, const struct piece_read *read)
{
    struct progress *progress = leadership_peer(&step->lead.leadership, read->peer);
    struct message message;
    if (progress == NULL)
        return;
    if (read->put_off)
        replicate_read_put_off(step->raft, progress, read->order);
    else if (install_read_done(step->raft, &step->lead.leadership, progress, read->order,
                               read->offset, &read->piece, step->now_ns, &message))
        step_say_now(step, &message);
}

static void connected(struct step *step, server_id peer)
{
    struct progress *progress = leadership_peer(&step->lead.leadership, peer);
    if (progress != NULL)
        replicate_connected(step->raft, progress);
}

static void connection_lost(struct step *step, server_id peer)
{
    struct progress *progress = leadership_peer(&step->lead.leadership, peer);
    if (progress != NULL)
        replicate_disconnected(progress);
}

static void settle(struct step *step)
{
    hand_over(step);
    (void)pending_settle(step->raft, &step->lead, step->wall_ns);
    replicate_to_all(step);
    step_apply(step); /* a leader that is alone has nobody to wait for */
    step_compact(step);
}

void leader_step(struct step *step, const struct step_event *event)
{
    switch (event->kind) {
    case ON_APPEND:
    case ON_READ:
    case ON_TRANSFER:
        take_command(step, event);
        return;
    case ON_TIMEOUT: /* thesis §6.2; the heartbeats go out when it settles */
        if (step->now_ns >= leadership_quorum_until_ns(step->raft, &step->lead.leadership))
            step_become(step, RAFT_FOLLOWER, "no contact with a quorum");
        return;
    case ON_APPEND_ENTRIES_REQ:
    case ON_INSTALL_SNAPSHOT_REQ:
        step_halt(step, event->as.message->from, "a second leader of the same term");
        return;
    case ON_APPEND_ENTRIES_RESP:
        append_entries_resp(step, event->as.message);
        return;
    case ON_INSTALL_SNAPSHOT_RESP:
        install_snapshot_resp(step, event->as.message);
        return;
    case ON_VOTE_REQ: /* the vote of this term went to this server itself */
        step_refuse_message(step, event->as.message);
        return;
    case ON_PRE_VOTE_REQ:
        (void)step_answer_vote(step, event->as.message);
        return;
    case ON_FORWARD_REQ:
        forward_req(step, event->as.message);
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
        step_apply(step);
        return;
    case ON_ENTRIES_READ:
        entries_read(step, event->as.read);
        return;
    case ON_PIECE_READ:
        piece_read(step, event->as.piece);
        return;
    case ON_SNAPSHOT_TAKEN:
        snapshot_taken(step->raft, event->as.point);
        return;
    case ON_SNAPSHOT_RECEIVED: /* a leader knows every entry that is committed */
        step_do(step, DO_INSTALL)->as.install =
            (struct step_install){INSTALLED_OLD, event->as.point};
        return;
    case ON_APPLIED:
        step_applied(step, event->as.work);
        return;
    case ON_ROOM:
        step_note_room(step, &event->as.room);
        return;
    case ON_SETTINGS:
        step->settings = event->as.settings;
        return;
    case ON_BATCH_END:
        settle(step);
        return;
    case ON_STOP:
        step_become(step, RAFT_STOPPED, event->as.why);
        return;
    case ON_CONNECTION_LOST:
        connection_lost(step, event->as.peer);
        return;
    case ON_VOTE_RESP:     /* a vote more than was needed */
    case ON_PRE_VOTE_RESP: /* this server's candidacy is over */
    case ON_FORWARD_RESP:  /* nobody waits for it any more */
    case ON_UNSENT:        /* the same */
    case ON_TIMEOUT_NOW:   /* it leads already */
    case ON_CAMPAIGN:      /* the same */
    case ON_SNAPSHOT_LOST: /* it wants none any more */
        return;
    }
}
