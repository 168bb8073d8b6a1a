/* step_unit.h - a step machine to test: put it into a state, tell it events, read what it asks for.
 *
 * The machine is server 1 of three, its log "1 1 2", all saved, entry 2 committed. `story` is what
 * was asked for, as text: "StateStore(term 3, vote 1); Send(VoteReq to 2, term 3)". */
#ifndef MAILRAFT_TEST_UNIT_STEP_UNIT_H
#define MAILRAFT_TEST_UNIT_STEP_UNIT_H

#include "server/step/step.h"
#include "test/unit/rules_unit.h"

/* What states the machine can be put into. */
#define STEP_PLACES(X)                                                 \
    X(PLACE_FOLLOWER, "follower", "its leader is server 2")            \
    X(PLACE_PRE_CANDIDATE, "candidate, asking", "in the pre-vote")     \
    X(PLACE_CANDIDATE, "candidate", "in the election, own vote saved") \
    X(PLACE_LEADER, "leader", "its no-op is committed")                \
    X(PLACE_STOPPED, "stopped", "")

enum step_place {
#define X(name, word, what) name,
    STEP_PLACES(X)
#undef X
        PLACE_COUNT
};

struct step_fixture {
    struct raft raft;
    struct step step;
    struct step_actions actions;
    struct buffer story;
    struct step_persisted asked; /* what to tell when the stores so far are synced */
    u64 now_ns;
    u64 last_call;      /* of the newest message that left */
    bool has_forwarded; /* a FORWARD of the newest call waits for its answer */
    u64 serial;         /* of the newest write told */
};

/* ---- what was asked for, as text ---- */

UNIT_HELPER void describe_message(struct buffer *to, const struct message *message)
{
    buffer_append_format(to, "%s to %u", step_event_word(step_event_of_message(message->kind)),
                         message->to);
    switch (message->kind) {
    case MESSAGE_PRE_VOTE:
    case MESSAGE_REQUEST_VOTE:
        buffer_append_format(to, ", term %u%s", (unsigned)message->term,
                             message->as.vote_request.transfer ? ", handed over" : "");
        return;
    case MESSAGE_PRE_VOTE_REPLY:
    case MESSAGE_REQUEST_VOTE_REPLY:
        buffer_append_string(to, message->as.vote_reply.granted ? ": yes" : ": no");
        return;
    case MESSAGE_APPEND_ENTRIES:
        buffer_append_format(to, ", %u entries behind %u", message->as.append_request.count,
                             (unsigned)message->as.append_request.prev.index);
        return;
    case MESSAGE_APPEND_ENTRIES_REPLY:
        if (message->as.append_reply.result == APPEND_ACCEPTED)
            buffer_append_format(to, ": holds %u", (unsigned)message->as.append_reply.match_index);
        else
            buffer_append_string(
                to, message->as.append_reply.result == APPEND_REFUSED_TERM    ? ": stale"
                    : message->as.append_reply.result == APPEND_REFUSED_SPACE ? ": no space"
                                                                              : ": conflict");
        return;
    case MESSAGE_FORWARD_REPLY:
        buffer_append_string(to, ": not the leader");
        return;
    case MESSAGE_INSTALL_SNAPSHOT:
        buffer_append_format(to, ": entry %u from byte %u on",
                             (unsigned)message->as.install_request.last.index,
                             (unsigned)message->as.install_request.offset);
        return;
    case MESSAGE_INSTALL_SNAPSHOT_REPLY:
        if (message->as.install_reply.result == INSTALL_CONTINUE)
            buffer_append_format(to, ": go on at byte %u",
                                 (unsigned)message->as.install_reply.next_offset);
        else
            buffer_append_string(to, message->as.install_reply.result == INSTALL_DONE ? ": done"
                                     : message->as.install_reply.result == INSTALL_REFUSED_TERM
                                         ? ": stale"
                                         : ": later");
        return;
    case MESSAGE_FORWARD:
    case MESSAGE_TIMEOUT_NOW:
    case MESSAGE_UNRECOGNISED:
    case MESSAGE_NONE:
    case MESSAGE_KIND_END:
        return;
    }
}

UNIT_HELPER const char *failure_word(enum command_failure failure)
{
    static const char *const words[] = {
#define X(name, definite, text) [name] = #name,
        COMMAND_FAILURES(X)
#undef X
    };
    return words[failure] + strlen("COMMAND_");
}

UNIT_HELPER const char *transfer_word(enum transfer_result result)
{
    static const char *const words[] = {
#define X(name, text) [name] = #name,
        TRANSFER_RESULTS(X)
#undef X
    };
    return words[result] + strlen("TRANSFER_");
}

UNIT_HELPER void describe_action(struct buffer *to, const struct step_action *action)
{
    buffer_append_string(to, step_action_word(action->kind));
    switch (action->kind) {
    case DO_SEND:
        buffer_append_string(to, "(");
        describe_message(to, &action->as.send.staged->message);
        buffer_append_string(to, ")");
        return;
    case DO_STATE_STORE:
        buffer_append_format(to, "(term %u, vote %u)",
                             (unsigned)action->as.state_store.current_term,
                             action->as.state_store.voted_for);
        return;
    case DO_LOG_STORE:
        buffer_append_format(to, "(%u..%u)", (unsigned)action->as.log_store.first,
                             (unsigned)action->as.log_store.last.index);
        return;
    case DO_COMMIT:
        buffer_append_format(to, "(%u)", (unsigned)action->as.index);
        return;
    case DO_APPLY:
        buffer_append_format(to, "(%u%s)", (unsigned)action->as.apply.index,
                             action->as.apply.token != 0 ? ", for a client" : "");
        return;
    case DO_REFUSE:
        buffer_append_format(to, "(%s)", failure_word(action->as.answer.failure));
        return;
    case DO_TRANSITION:
        buffer_append_format(to, "(%s: %s)", raft_state_word(action->as.words.state),
                             action->as.words.why);
        return;
    case DO_TELL_ELECTION:
        buffer_append_format(to, "(%s)", action->as.news.why);
        return;
    case DO_TELL:
    case DO_HALT:
        buffer_append_format(to, "(%s)", action->as.words.why);
        return;
    case DO_READ_ENTRIES:
        buffer_append_format(to, "(from %u for %u)", (unsigned)action->as.read.first,
                             action->as.read.peer);
        return;
    case DO_TAKE_PIECE:
        buffer_append_format(to, "(%u bytes)", (unsigned)message_payload_size(action->as.piece));
        return;
    case DO_READ_PIECE:
        buffer_append_format(to, "(from %u for %u)", (unsigned)action->as.read_piece.offset,
                             action->as.read_piece.peer);
        return;
    case DO_INSTALL:
        buffer_append_string(to, action->as.install.installed == INSTALLED_OLD ? "(nothing: old)"
                                 : action->as.install.installed == INSTALLED_KEEPS_LOG
                                     ? "(the machine)"
                                     : "(the machine, and the log begins anew)");
        return;
    case DO_COMPACT:
        buffer_append_format(to, "(%u)", (unsigned)action->as.index);
        return;
    case DO_CONCLUDE:
        buffer_append_format(to, "(%s: %u)", transfer_word(action->as.answer.result),
                             action->as.answer.who);
        return;
    case DO_RECOGNISE:
        buffer_append_format(to, "(%u: %s%s)", action->as.recognise.peer,
                             distrust_words(action->as.recognise.meeting.distrust),
                             action->as.recognise.meeting.remember ? ", save it" : "");
        return;
    case DO_STANDING:
        buffer_append_string(to, action->as.standing == STANDING_READMITTED ? "(readmitted)"
                                 : action->as.standing == STANDING_JOINED   ? "(joined)"
                                                                            : "(no voter)");
        return;
    case DO_NON_VOTER:
    case DO_FORGET_PROMISE:
    case DO_GIVE_BACK:
    case DO_ALARM:
    case DO_ANSWER:
    case DO_READ_READY:
    case DO_REDIRECT:
    case DO_ACCEPT:
        return;
    }
}

/* ---- telling ---- */

UNIT_HELPER void note_asked(struct step_fixture *fixture, const struct step_action *action)
{
    switch ((int)action->kind) {
    case DO_STATE_STORE:
        fixture->asked.store = action->as.state_store.store;
        return;
    case DO_LOG_STORE:
        fixture->asked.store = action->as.log_store.store;
        fixture->asked.last = action->as.log_store.last;
        return;
    case DO_SEND:
        fixture->last_call = action->as.send.staged->message.call;
        fixture->has_forwarded = action->as.send.staged->message.kind == MESSAGE_FORWARD;
        return;
    default:
        return;
    }
}

/* Tells the event; the story is what follows from it. Alarms are left out of the story, since
 * nearly everything moves one. */
UNIT_HELPER const char *tell(struct step_fixture *fixture, struct step_event event)
{
    event.now_ns = fixture->now_ns;
    step(&fixture->step, &event, &fixture->actions);
    buffer_clear(&fixture->story);
    for (u32 i = 0; i < fixture->actions.count; i++) {
        const struct step_action *action = &fixture->actions.items[i];
        if (action->kind == DO_TELL_ELECTION && action->as.news.kind != NEWS_VOTE_GIVEN)
            continue; /* for people, and what is drawn by chance is in it */
        note_asked(fixture, action);
        if (action->kind == DO_ALARM)
            continue;
        if (fixture->story.size > 0)
            buffer_append_string(&fixture->story, "; ");
        describe_action(&fixture->story, action);
    }
    step_actions_clear(&fixture->actions);
    buffer_append(&fixture->story, "", 1);
    return (const char *)fixture->story.data;
}

UNIT_HELPER const char *tell_kind(struct step_fixture *fixture, enum step_event_kind kind)
{
    struct step_event event = {.kind = kind};
    if (kind == ON_STOP)
        event.as.why = "it was told to";
    return tell(fixture, event);
}

UNIT_HELPER const char *tell_message(struct step_fixture *fixture, struct message message)
{
    const char *story =
        tell(fixture, (struct step_event){.kind = step_event_of_message(message.kind),
                                          .as.message = &message});
    message_release(&message);
    return story;
}

/* Time passes, and the machine is awake all the while, but hears of nobody. */
UNIT_HELPER void pass_silence(struct step_fixture *fixture, u64 until_ns)
{
    for (; fixture->now_ns < until_ns; fixture->now_ns += 100 * T_MS)
        tell_kind(fixture, ON_BATCH_END);
}

/* All that was asked of the disk is there. */
UNIT_HELPER const char *tell_persisted(struct step_fixture *fixture)
{
    return tell(fixture, (struct step_event){.kind = ON_PERSISTED, .as.persisted = fixture->asked});
}

UNIT_HELPER const char *tell_command(struct step_fixture *fixture, enum step_event_kind kind,
                                     u64 token)
{
    struct block *block = block_create_copy("x", 1);
    struct step_event event = {.kind = kind};
    fixture->serial += kind == ON_APPEND;
    event.as.client = (struct step_client){.token = token,
                                           .body = {block, block->data, 1},
                                           .arrived_ns = fixture->now_ns,
                                           .serial = fixture->serial};
    const char *story = tell(fixture, event);
    block_release(block);
    return story;
}

/* An order to hand leadership over. */
UNIT_HELPER const char *tell_order(struct step_fixture *fixture, server_id target, u64 token)
{
    struct step_event event = {.kind = ON_TRANSFER};
    event.as.client = (struct step_client){
        .token = token, .body = command_order_body(target), .arrived_ns = fixture->now_ns};
    const char *story = tell(fixture, event);
    span_release(&event.as.client.body);
    return story;
}

UNIT_HELPER const char *tell_room(struct step_fixture *fixture, u64 room_bytes)
{
    return tell(fixture, (struct step_event){.kind = ON_ROOM, .as.room = {.bytes = room_bytes}});
}

/* ---- messages to it ---- */

UNIT_HELPER struct message reply_of(const struct step_fixture *fixture, enum message_kind kind,
                                    server_id from, bool yes)
{
    struct message reply = {.kind = kind,
                            .from = from,
                            .to = 1,
                            .term = fixture->raft.current_term,
                            .call = fixture->raft.next_call - 1};
    if (kind == MESSAGE_APPEND_ENTRIES_REPLY) {
        reply.as.append_reply.result = yes ? APPEND_ACCEPTED : APPEND_REFUSED_CONFLICT;
        if (yes)
            reply.as.append_reply.match_index = fixture->raft.log.last_index;
        else
            reply.as.append_reply.conflict = (struct entry_id){0, 2};
    } else {
        reply.as.vote_reply.granted = yes;
    }
    return reply;
}

/* ---- the states ---- */

UNIT_HELPER void lead_and_commit(struct step_fixture *fixture)
{
    tell_message(fixture, reply_of(fixture, MESSAGE_REQUEST_VOTE_REPLY, 2, true));
    tell_kind(fixture, ON_BATCH_END);
    tell_persisted(fixture);
    tell_message(fixture, reply_of(fixture, MESSAGE_APPEND_ENTRIES_REPLY, 2, true));
    tell_message(fixture, reply_of(fixture, MESSAGE_APPEND_ENTRIES_REPLY, 3, true));
    tell_kind(fixture, ON_BATCH_END);
}

UNIT_HELPER void place(struct step_fixture *fixture, enum step_place where)
{
    *fixture = (struct step_fixture){.now_ns = 1000 * T_MS};
    raft_of(&fixture->raft, 3, 1, "1 1 2");
    fixture->raft.no_op_at_start = true;
    fixture->raft.commit_index = 2;
    fixture->raft.last_applied = 2;
    step_init(&fixture->step, &fixture->raft, 7);
    fixture->step.settings = (struct step_settings){2000 * T_MS, 5000 * T_MS};
    fixture->step.taker.start = 1;
    (void)step_begin(&fixture->step, fixture->now_ns);
    tell_room(fixture, MIB);
    tell_message(fixture, append_of(2, 2, (struct entry_id){2, 3}, "", 2));
    if (where == PLACE_FOLLOWER)
        return;
    if (where == PLACE_STOPPED) {
        tell_kind(fixture, ON_STOP);
        return;
    }
    fixture->now_ns = fixture->step.deadline_ns;
    tell_kind(fixture, ON_TIMEOUT);
    if (where == PLACE_PRE_CANDIDATE)
        return;
    tell_message(fixture, reply_of(fixture, MESSAGE_PRE_VOTE_REPLY, 3, true));
    tell_persisted(fixture);
    if (where == PLACE_LEADER)
        lead_and_commit(fixture);
}

UNIT_HELPER void leave_place(struct step_fixture *fixture)
{
    step_deinit(&fixture->step);
    step_actions_deinit(&fixture->actions);
    buffer_deinit(&fixture->story);
    raft_deinit(&fixture->raft);
}

#endif
