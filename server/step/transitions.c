/* transitions.c - what ends with a state, and what begins with one. */
#include "server/requests/pending.h"
#include "server/step/inside.h"

void step_tell_transition(struct step *step, const char *why)
{
    struct step_action *action = step_do(step, DO_TRANSITION);
    action->as.words = (struct step_words){.state = step->state, .why = why};
}

bool step_hears_leader(const struct step *step)
{
    switch (step->state) {
    case RAFT_FOLLOWER:
        return raft_hears_leader(step->raft, step->now_ns);
    case RAFT_LEADER:
        return leadership_has_quorum(step->raft, &step->lead.leadership, step->now_ns);
    case RAFT_CANDIDATE:
    case RAFT_STOPPED:
        return false;
    }
    UNREACHABLE();
}

static void tell_timeout(struct step *step)
{
    step_do(step, DO_TELL_ELECTION)->as.news = (struct election_news){
        .kind = NEWS_TIMEOUT, .timeout_ns = step->deadline_ns - step->now_ns};
}

static void request_votes(struct step *step)
{
    const struct configuration *configuration = &step->raft->configuration;
    for (u32 position = 0; position < configuration->count; position++) {
        server_id voter = configuration->members[position].id;
        if (!election_asks(step->raft, &step->election, voter))
            continue;
        struct message request;
        election_request(step->raft, &step->election, voter, &request);
        step_say(step, &request);
    }
}

void step_begin_election(struct step *step, bool skip_pre_vote)
{
    election_begin(step->raft, &step->election, skip_pre_vote);
    step->elections++;
    request_votes(step);
    step->deadline_ns = election_candidate_deadline_ns(step->raft, &step->rng, step->now_ns);
    tell_timeout(step);
}

static void begin_candidacy(struct step *step, bool skip_pre_vote)
{
    step->raft->leader = SERVER_NONE;
    step->raft->leader_heard_ns = 0;
    if (skip_pre_vote) {
        step_begin_election(step, true);
        return;
    }
    election_begin_pre_vote(step->raft, &step->election, step->now_ns);
    request_votes(step);
    step->deadline_ns = election_candidate_deadline_ns(step->raft, &step->rng, step->now_ns);
    tell_timeout(step);
    step_judge(step);
}

static void begin_leadership(struct step *step)
{
    pending_begin(step->raft, &step->lead, step->now_ns, step->wall_ns);
    step_lead_room(step);
    /* Commands that came while there was no leader. */
    struct command_list waiting = step->parked;
    step->parked = (struct command_list){0};
    struct command *command;
    while ((command = command_list_take(&waiting)) != NULL)
        step_lead_command(step, command);
}

static void end_state(struct step *step)
{
    switch (step->state) {
    case RAFT_FOLLOWER:
        step_forward_lost(step);
        return;
    case RAFT_LEADER:
        step->raft->leader = SERVER_NONE;
        step->raft->leader_heard_ns = 0;
        step_lead_end(step);
        return;
    case RAFT_CANDIDATE: /* the votes are reset when the next election begins */
    case RAFT_STOPPED:
        return;
    }
}

static void begin_state(struct step *step, bool skip_pre_vote)
{
    switch (step->state) {
    case RAFT_FOLLOWER:
        step->deadline_ns = election_follower_deadline_ns(step->raft, &step->rng, step->now_ns);
        tell_timeout(step);
        return;
    case RAFT_CANDIDATE:
        begin_candidacy(step, skip_pre_vote);
        return;
    case RAFT_LEADER:
        begin_leadership(step);
        return;
    case RAFT_STOPPED:
        step_refuse_all(step);
        return;
    }
}

static void change(struct step *step, enum raft_state state, bool skip_pre_vote, const char *why)
{
    end_state(step);
    step->state = state;
    step_tell_transition(step, why);
    begin_state(step, skip_pre_vote);
}

void step_become(struct step *step, enum raft_state state, const char *why)
{
    change(step, state, false, why);
}

void step_campaign(struct step *step, bool skip_pre_vote, const char *why)
{
    if (raft_may_campaign(step->raft))
        change(step, RAFT_CANDIDATE, skip_pre_vote, why);
}

void step_halt(struct step *step, server_id peer, const char *why)
{
    step_do(step, DO_HALT)->as.words = (struct step_words){.peer = peer, .why = why};
    step_become(step, RAFT_STOPPED, why);
}
