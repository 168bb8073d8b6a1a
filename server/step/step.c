/* step.c - see step.h: one call, from the event to the list of actions.
 *
 * First the term, then what the state makes of the event, and at the end what every event may have
 * led to: something to store, messages that wait for nothing, another alarm. */
#include "server/step/inside.h"

void step_init(struct step *step, struct raft *raft, u64 seed)
{
    *step = (struct step){.raft = raft, .state = RAFT_FOLLOWER};
    rng_init(&step->rng, seed);
    forwarding_init(&step->forwarding, &step->taker);
    step->commit_told = raft->commit_index;
    step->apply_bytes = raft->round_bytes_max;
    step->stores.asked_term = raft->current_term;
    step->stores.asked_vote = raft->voted_for;
    step->stores.next_index = raft->log.last_index + 1;
    step->stores.rewrite_first = UINT64_MAX;
}

static void drop_commands(struct command_list *commands)
{
    struct command *command;
    while ((command = command_list_take(commands)) != NULL)
        command_destroy(command);
}

void step_deinit(struct step *step)
{
    struct step_actions unheard = {0};
    if (step->raft == NULL)
        return; /* it never began */
    step->actions = &unheard;
    step_forward_lost(step);
    step->actions = NULL;
    step_actions_deinit(&unheard);
    drop_commands(&step->parked);
    drop_commands(&step->lead.writes);
    drop_commands(&step->lead.reads);
    drop_commands(&step->lead.held);
    if (step->lead.order != NULL)
        command_destroy(step->lead.order);
    struct step_message *staged;
    while ((staged = step->held.first) != NULL) {
        step->held.first = staged->next;
        step_message_destroy(staged);
    }
}

u64 step_begin(struct step *step, u64 now_ns)
{
    step->now_ns = now_ns;
    step->deadline_ns = election_follower_deadline_ns(step->raft, &step->rng, now_ns);
    step->alarm_ns = step->deadline_ns;
    return step->alarm_ns;
}

/* Returns whether the message is to be handled, in the state that the server is in then. */
static bool check_term_or_refuse(struct step *step, const struct message *message)
{
    switch (check_term(step->raft, message, step_hears_leader(step))) {
    case TERM_NEWER:
        adopt_term(step->raft, message->term);
        step_become(step, RAFT_FOLLOWER, "a newer term has begun");
        return true;
    case TERM_STALE:
    case TERM_IGNORE:
        step_refuse_message(step, message);
        return false;
    case TERM_CURRENT:
        return true;
    }
    UNREACHABLE();
}

static void step_in_state(struct step *step, const struct step_event *event)
{
    switch (step->state) {
    case RAFT_FOLLOWER:
        follower_step(step, event);
        return;
    case RAFT_CANDIDATE:
        candidate_step(step, event);
        return;
    case RAFT_LEADER:
        leader_step(step, event);
        return;
    case RAFT_STOPPED:
        stopped_step(step, event);
        return;
    }
}

void step(struct step *step, const struct step_event *event, struct step_actions *actions)
{
    ASSERT(step->actions == NULL);
    step->actions = actions;
    step->now_ns = event->now_ns;
    step->wall_ns = event->wall_ns;
    /* Entries that actions named lie in the log until the next call; now the oldest may go. */
    if (event->kind == ON_BATCH_END) {
        log_evict(&step->raft->log, step->raft->last_applied);
        step->apply_bytes = step->raft->round_bytes_max;
    }
    if (step->state == RAFT_LEADER)
        leadership_note_poll(step->raft, &step->lead.leadership, step->now_ns);
    if (step->state != RAFT_STOPPED && step_event_is_message(event->kind))
        step_remind(step, event->as.message->from);
    bool handled = step->state == RAFT_STOPPED || !step_event_is_message(event->kind) ||
                   check_term_or_refuse(step, event->as.message);
    if (handled)
        step_in_state(step, event);
    if (step->state != RAFT_STOPPED) {
        step_settle_trust(step);
        step_store(step);
        step_release_messages(step);
        step_set_alarm(step);
    }
    step->actions = NULL;
}
