/* speak.c - actions, and what they must wait for: contract 4, "speak only after persisting".
 *
 * Each store that is asked for has a number. A message carries the number of the newest store at
 * the end of the call that wrote it, and may leave when that store is synced: whatever it promises
 * was in one of the stores up to there. */
#include "server/requests/pending.h"
#include "server/step/inside.h"

struct step_action *step_do(struct step *step, enum step_action_kind kind)
{
    return step_actions_add(step->actions, kind);
}

/* ---- messages ---- */

void step_say(struct step *step, struct message *message)
{
    struct step_message *staged = step_message_create(message);
    if (step->held.last != NULL)
        step->held.last->next = staged;
    else
        step->held.first = staged;
    step->held.last = staged;
    if (step->held.unnumbered == NULL)
        step->held.unnumbered = staged;
}

void step_say_now(struct step *step, struct message *message)
{
    /* Anything else would be a promise before the disk. */
    ASSERT(message->kind == MESSAGE_APPEND_ENTRIES || message->kind == MESSAGE_INSTALL_SNAPSHOT ||
           message->kind == MESSAGE_TIMEOUT_NOW);
    ASSERT(!step->raft->metadata_unsaved);
    struct step_action *action = step_do(step, DO_SEND);
    action->as.send.staged = step_message_create(message);
}

void step_release_messages(struct step *step)
{
    struct step_messages *held = &step->held;
    for (; held->unnumbered != NULL; held->unnumbered = held->unnumbered->next)
        held->unnumbered->store = step->stores.asked;
    while (held->first != NULL && held->first->store <= step->stores.synced) {
        struct step_message *staged = held->first;
        held->first = staged->next;
        if (held->first == NULL)
            held->last = NULL;
        staged->next = NULL;
        step_do(step, DO_SEND)->as.send.staged = staged;
    }
}

void step_refuse_message(struct step *step, const struct message *request)
{
    /* A reply of an older term answers a question that nobody asks any more; and TIMEOUT_NOW has no
     * reply. */
    if (message_is_reply(request->kind) || request->kind == MESSAGE_TIMEOUT_NOW)
        return;
    struct message refusal;
    if (request->kind == MESSAGE_FORWARD && streams_know(&step->raft->streams, request))
        return; /* a copy of what it has taken when it led: it was executed, or may be */
    raft_refuse(step->raft, request, &refusal);
    step_say(step, &refusal);
}

bool step_answer_vote(struct step *step, const struct message *request)
{
    struct message reply;
    const char *why;
    bool pre_vote = request->kind == MESSAGE_PRE_VOTE;
    if (pre_vote)
        election_answer_pre_vote(step->raft, request, step_hears_leader(step), &reply, &why);
    else
        election_answer_vote(step->raft, request, &reply, &why);
    bool granted = reply.as.vote_reply.granted;
    step_do(step, DO_TELL_ELECTION)->as.news = (struct election_news){.kind = NEWS_VOTE_GIVEN,
                                                                      .pre_vote = pre_vote,
                                                                      .granted = granted,
                                                                      .peer = request->from,
                                                                      .term = request->term,
                                                                      .why = why};
    step_say(step, &reply);
    return granted && !pre_vote;
}

void step_tell(struct step *step, server_id peer, const char *why, bool trouble)
{
    struct step_action *action = step_do(step, DO_TELL);
    action->as.words = (struct step_words){.peer = peer, .why = why, .trouble = trouble};
}

/* ---- stores ---- */

static void store_state(struct step *step)
{
    struct step_stores *stores = &step->stores;
    const struct raft *raft = step->raft;
    if (!raft->metadata_unsaved ||
        (raft->current_term == stores->asked_term && raft->voted_for == stores->asked_vote))
        return;
    stores->state = ++stores->asked;
    stores->asked_term = raft->current_term;
    stores->asked_vote = raft->voted_for;
    struct step_action *action = step_do(step, DO_STATE_STORE);
    action->as.state_store =
        (struct step_state_store){stores->asked, raft->current_term, raft->voted_for};
}

static void store_log(struct step *step)
{
    struct step_stores *stores = &step->stores;
    struct log *log = &step->raft->log;
    u64 first = log->unsaved_index;
    if (first > log->last_index)
        return;
    stores->asked++;
    if (first < stores->next_index) {
        stores->rewrite = stores->asked;
        stores->rewrite_first = u64_min(stores->rewrite_first, first);
    }
    stores->next_index = log->last_index + 1;
    step->room.bytes -= u64_min(step->room.bytes, log_bytes(log, first, log->last_index));
    log_handed_over(log);
    struct step_action *action = step_do(step, DO_LOG_STORE);
    action->as.log_store = (struct step_log_store){stores->asked, first, log_last(log)};
}

/* What the disk once lost has come again. */
static void forget_promise(struct step *step)
{
    if (!raft_is_repaired(step->raft))
        return;
    step->raft->acked_through = (struct entry_id){0, 0};
    (void)step_do(step, DO_FORGET_PROMISE);
}

/* Term and vote come first: no entry of a term reaches the disk before the term. A server that
 * ended when all that was lost had come again, and was not yet forgotten, forgets it with the first
 * event of its next life. */
void step_store(struct step *step)
{
    store_state(step);
    store_log(step);
    forget_promise(step);
}

void step_persisted(struct step *step, const struct step_persisted *persisted)
{
    struct step_stores *stores = &step->stores;
    struct raft *raft = step->raft;
    ASSERT(persisted->store <= stores->asked && persisted->store >= stores->synced);
    stores->synced = persisted->store;
    if (persisted->store >= stores->state)
        raft->metadata_unsaved = false;
    if (persisted->store >= stores->rewrite)
        stores->rewrite_first = UINT64_MAX;
    /* What a later store, not yet synced, replaces is not counted, though it may be there. */
    u64 index = u64_min(persisted->last.index, stores->rewrite_first - 1);
    if (index > raft->log.durable_index)
        log_synced(&raft->log, index);
    forget_promise(step);
}

/* ---- snapshots ---- */

/* A leader's snapshot takes the place of machine and log, unless more is known here by now. */
static void install(struct step *step, const struct snapshot_point *point)
{
    struct step_stores *stores = &step->stores;
    enum installed installed = install_swap_state(step->raft, point);
    if (installed == INSTALLED_RESETS_LOG) {
        /* What was asked for before is not in the log any more, and so is not counted. */
        stores->next_index = point->name.last.index + 1;
        stores->rewrite_first = UINT64_MAX;
    }
    step->commit_told = u64_max(step->commit_told, step->raft->commit_index);
    step_do(step, DO_INSTALL)->as.install = (struct step_install){installed, point};
    forget_promise(step);
}

void step_snapshot(struct step *step, const struct step_event *event)
{
    switch ((int)event->kind) {
    case ON_SNAPSHOT_TAKEN:
        snapshot_taken(step->raft, event->as.point);
        return;
    case ON_SNAPSHOT_RECEIVED:
        install(step, event->as.point);
        return;
    default:
        install_failed(step->raft, event->as.order);
        return;
    }
}

void step_compact(struct step *step)
{
    const struct leadership *leadership =
        step->state == RAFT_LEADER ? &step->lead.leadership : NULL;
    u64 index = compaction_index(step->raft, leadership, &step->room.compaction,
                                 step->room.log_bytes, step->now_ns);
    if (index == 0)
        return;
    log_compact(&step->raft->log, index);
    step_do(step, DO_COMPACT)->as.index = index;
}

void step_note_room(struct step *step, const struct step_room *room)
{
    step->room = *room;
    step->room.soon_bytes = u64_max(room->bytes, room->soon_bytes);
    step->raft->room_bytes = step->room.soon_bytes;
}

/* ---- commit and apply ---- */

/* What applying an entry costs is known only afterwards, so a few are applied at a time: if more
 * are committed, ON_APPLIED tells what these have cost. */
static void apply_entries(struct step *step)
{
    enum { APPLIED_AT_ONCE = 4 };
    struct raft *raft = step->raft;
    for (u32 i = 0;
         i < APPLIED_AT_ONCE && raft->last_applied < raft->commit_index && step->apply_bytes > 0;
         i++) {
        RULE("[All Servers 1, §5.3]");
        u64 index = ++raft->last_applied;
        step->apply_bytes -= u64_min(step->apply_bytes, log_bytes(&raft->log, index, index));
        struct command *writer =
            step->state == RAFT_LEADER ? pending_writer_of(&step->lead, index) : NULL;
        struct step_action *action = step_do(step, DO_APPLY);
        action->as.apply = (struct step_apply){index, writer != NULL ? writer->slot : 0};
        if (writer != NULL)
            command_destroy(writer);
    }
}

static void serve_reads(struct step *step)
{
    if (step->lead.reads.first == NULL)
        return;
    u64 confirmed = reads_confirmed_round(step->raft, &step->lead.leadership);
    struct command *read;
    while ((read = pending_ready_read(step->raft, &step->lead, confirmed)) != NULL) {
        step_do(step, DO_READ_READY)->as.answer.token = read->slot;
        command_destroy(read);
    }
}

void step_apply(struct step *step)
{
    if (step->state == RAFT_LEADER)
        (void)commit_advance(step->raft, &step->lead.leadership);
    if (step->raft->commit_index > step->commit_told) {
        step->commit_told = step->raft->commit_index;
        step_do(step, DO_COMMIT)->as.index = step->commit_told;
    }
    apply_entries(step);
    /* Reads see what this batch brings; ON_APPLIED will come if more is to be applied now. */
    bool more = step->raft->last_applied < step->raft->commit_index && step->apply_bytes > 0;
    if (step->state == RAFT_LEADER && !more)
        serve_reads(step);
}

void step_applied(struct step *step, u64 work)
{
    step->apply_bytes -= u64_min(step->apply_bytes, work);
    step_apply(step);
}

/* ---- the alarm ---- */

static u64 next_deadline_ns(const struct step *step)
{
    const struct command *oldest = step->parked.first;
    u64 parked_ns =
        oldest != NULL ? oldest->arrived_ns + step->settings.leader_wait_ns : UINT64_MAX;
    switch (step->state) {
    case RAFT_FOLLOWER:
    case RAFT_CANDIDATE:
        return u64_min(u64_min(step->deadline_ns, parked_ns),
                       forwarding_deadline_ns(&step->forwarding));
    case RAFT_LEADER:
        return pending_next_ns(step->raft, &step->lead);
    case RAFT_STOPPED:
        break;
    }
    return UINT64_MAX;
}

void step_set_alarm(struct step *step)
{
    u64 at_ns = next_deadline_ns(step);
    if (at_ns == step->alarm_ns)
        return;
    step->alarm_ns = at_ns;
    step_do(step, DO_ALARM)->as.at_ns = at_ns;
}
