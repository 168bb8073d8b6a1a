/* Tests of server/step: the pure machine, event by event. */
#include "test/unit/step_unit.h"

static struct step_fixture f;

#define ck_story(story, expected) ck_assert_str_eq(story, expected)

static struct message vote_request(server_id from, u64 term, struct entry_id last)
{
    return vote_of(from, term, last);
}

/* ---- every event, every state ---- */

static const struct entries_read no_entries = {.peer = 2, .first = 1};

/* An event of that kind which is not out of place; a message's spans are the caller's to release.
 */
static struct step_event event_of(enum step_event_kind kind, struct message *message)
{
    struct step_event event = {.kind = kind};
    *message = (struct message){.from = 2, .to = 1, .term = f.raft.current_term, .call = 1};
    if (step_event_is_message(kind)) {
        for (u32 m = MESSAGE_NONE + 1; m < MESSAGE_KIND_END; m++) {
            if (step_event_of_message((enum message_kind)m) == kind)
                message->kind = (enum message_kind)m;
        }
        if (message->kind == MESSAGE_APPEND_ENTRIES_REPLY)
            message->as.append_reply.result = APPEND_ACCEPTED;
        if (message->kind == MESSAGE_FORWARD_REPLY)
            message->as.forward_reply.result = FORWARD_NOT_LEADER;
        if (message->kind == MESSAGE_INSTALL_SNAPSHOT)
            message->as.install_request =
                (struct install_request){.last = {1, 100}, .size = 1000, .checksum = 7};
        event.as.message = message;
        return event;
    }
    static struct span to_server_2;
    if (to_server_2.block == NULL)
        to_server_2 = command_order_body(2);
    static const struct piece_read no_piece = {.peer = 2};
    static const struct met met = {2, {.directory_id = 5, .start_count = 1, .starts = {9}}};
    static const struct snapshot_point point = {.name = {{1, 2}, 1000, 7}};
    if (kind == ON_APPEND || kind == ON_READ)
        event.as.client = (struct step_client){.token = 77, .arrived_ns = f.now_ns};
    else if (kind == ON_TRANSFER)
        event.as.client =
            (struct step_client){.token = 78, .body = to_server_2, .arrived_ns = f.now_ns};
    else if (kind == ON_PERSISTED)
        event.as.persisted = f.asked;
    else if (kind == ON_ENTRIES_READ)
        event.as.read = &no_entries;
    else if (kind == ON_PIECE_READ)
        event.as.piece = &no_piece;
    else if (kind == ON_SNAPSHOT_TAKEN || kind == ON_SNAPSHOT_RECEIVED)
        event.as.point = &point;
    else if (kind == ON_MET)
        event.as.met = &met;
    else if (kind == ON_CONNECTED || kind == ON_CONNECTION_LOST)
        event.as.peer = 2;
    else if (kind == ON_CAMPAIGN)
        event.as.campaign = (struct step_campaign){false, "ordered"};
    else if (kind == ON_STOP)
        event.as.why = "told to";
    else if (kind == ON_ROOM)
        event.as.room = (struct step_room){.bytes = MIB};
    return event;
}

/* What of the state shows in one line. */
static void describe_state(struct buffer *to)
{
    const struct raft *raft = &f.raft;
    const struct step *step = &f.step;
    buffer_append_format(
        to,
        "%s term %llu vote %u leader %u log %s durable %llu commit %llu applied "
        "%llu calls %llu deadline %llu alarm %llu stores %llu %llu parked %u "
        "rng %llu",
        raft_state_word(step->state), (unsigned long long)raft->current_term, raft->voted_for,
        raft->leader, terms_of(&raft->log), (unsigned long long)raft->log.durable_index,
        (unsigned long long)raft->commit_index, (unsigned long long)raft->last_applied,
        (unsigned long long)raft->next_call, (unsigned long long)step->deadline_ns,
        (unsigned long long)step->alarm_ns, (unsigned long long)step->stores.asked,
        (unsigned long long)step->stores.synced, step->parked.count,
        (unsigned long long)step->rng.state[0]);
}

/* Puts a new machine into the state and tells it the event: story and state, as text. */
static void told(enum step_place where, enum step_event_kind kind, struct buffer *text)
{
    place(&f, where);
    struct message message;
    struct step_event event = event_of(kind, &message);
    buffer_append_string(text, tell(&f, event));
    buffer_append_string(text, " | ");
    describe_state(text);
    buffer_append(text, "", 1);
    message_release(&message);
}

START_TEST(step__every_event_in_every_state_and_twice_the_same)
{
    for (u32 where = 0; where < PLACE_COUNT; where++) {
        for (u32 kind = 0; kind <= ON_STOP; kind++) {
            struct buffer once;
            struct buffer again;
            buffer_init(&once);
            buffer_init(&again);
            told((enum step_place)where, (enum step_event_kind)kind, &once);
            leave_place(&f);
            told((enum step_place)where, (enum step_event_kind)kind, &again);
            ck_assert_str_eq((const char *)once.data, (const char *)again.data);
            /* Nobody is left without an answer when it stops. */
            bool stopped = f.step.state == RAFT_STOPPED;
            if (stopped)
                ck_assert_uint_eq(
                    f.step.parked.count + f.step.lead.writes.count + f.step.lead.reads.count, 0);
            leave_place(&f);
            buffer_deinit(&once);
            buffer_deinit(&again);
        }
    }
}
END_TEST

START_TEST(step__requests_are_answered_by_all_but_the_stopped)
{
    static const enum message_kind requests[] = {MESSAGE_PRE_VOTE, MESSAGE_REQUEST_VOTE,
                                                 MESSAGE_APPEND_ENTRIES};
    for (u32 where = 0; where < PLACE_STOPPED; where++) {
        for (u32 i = 0; i < ARRAY_LENGTH(requests); i++) {
            place(&f, (enum step_place)where);
            struct message stale = {.kind = requests[i], .from = 3, .to = 1, .call = 5};
            const char *story = tell_message(&f, stale);
            ck_assert_msg(strstr(story, "Send(") != NULL, "%u, %u: %s", where, i, story);
            ck_assert_uint_eq(f.last_call, 5);
            leave_place(&f);
        }
    }
}
END_TEST

/* ---- speak only after persisting ---- */

START_TEST(step__an_acceptance_waits_for_its_store)
{
    place(&f, PLACE_FOLLOWER);
    ck_story(tell_message(&f, append_of(2, 2, (struct entry_id){2, 3}, "2 2", 2)),
             "LogStore(4..5)");
    ck_assert_uint_eq(f.raft.log.durable_index, 3);
    ck_story(tell_persisted(&f), "Send(AppendEntriesResp to 2: holds 5)");
    ck_assert_uint_eq(f.raft.log.durable_index, 5);
    leave_place(&f);
}
END_TEST

/* Between two batches the node looks for mail: ON_BATCH_END comes without anything else to do. */
START_TEST(step__much_is_applied_in_batches)
{
    place(&f, PLACE_FOLLOWER);
    f.raft.round_bytes_max = 1;
    tell_kind(&f, ON_BATCH_END);
    ck_story(tell_message(&f, append_of(2, 2, (struct entry_id){2, 3}, "2 2 2", 6)),
             "Commit(6); Apply(3); LogStore(4..6)");
    ck_story(tell_persisted(&f), "Send(AppendEntriesResp to 2: holds 6)");
    ck_story(tell_kind(&f, ON_BATCH_END), "Apply(4)");
    ck_story(tell_kind(&f, ON_BATCH_END), "Apply(5)");
    ck_story(tell_kind(&f, ON_BATCH_END), "Apply(6)");
    ck_story(tell_kind(&f, ON_BATCH_END), "");
    leave_place(&f);
}
END_TEST

/* A few at a time, since what they cost is known only afterwards. */
START_TEST(step__what_applying_costs_ends_a_batch)
{
    place(&f, PLACE_FOLLOWER);
    tell_kind(&f, ON_BATCH_END);
    ck_story(tell_message(&f, append_of(2, 2, (struct entry_id){2, 3}, "2 2 2 2 2 2 2 2 2", 12)),
             "Commit(12); Apply(3); Apply(4); Apply(5); Apply(6); LogStore(4..12)");
    tell_persisted(&f);
    struct step_event applied = {.kind = ON_APPLIED, .as.work = 1000};
    ck_story(tell(&f, applied), "Apply(7); Apply(8); Apply(9); Apply(10)");
    applied.as.work = UINT64_MAX;
    ck_story(tell(&f, applied), "");
    ck_story(tell_kind(&f, ON_BATCH_END), "Apply(11); Apply(12)");
    leave_place(&f);
}
END_TEST

START_TEST(step__nothing_overtakes_a_message_that_waits)
{
    place(&f, PLACE_FOLLOWER);
    tell_message(&f, append_of(2, 2, (struct entry_id){2, 3}, "2", 2));
    /* A heartbeat changes nothing, but its acceptance covers the entry that is not on the disk. */
    ck_story(tell_message(&f, append_of(2, 2, (struct entry_id){2, 4}, "", 2)), "");
    ck_story(tell_persisted(&f), "Send(AppendEntriesResp to 2: holds 4); "
                                 "Send(AppendEntriesResp to 2: holds 4)");
    leave_place(&f);
}
END_TEST

START_TEST(step__a_message_waits_for_no_later_store)
{
    place(&f, PLACE_FOLLOWER);
    tell_message(&f, append_of(2, 2, (struct entry_id){2, 3}, "2", 2));
    struct step_persisted first = f.asked;
    tell_message(&f, append_of(2, 2, (struct entry_id){2, 4}, "2", 2));
    ck_story(tell(&f, (struct step_event){.kind = ON_PERSISTED, .as.persisted = first}),
             "Send(AppendEntriesResp to 2: holds 4)");
    ck_assert_uint_eq(f.raft.log.durable_index, 4);
    ck_story(tell_persisted(&f), "Send(AppendEntriesResp to 2: holds 5)");
    leave_place(&f);
}
END_TEST

START_TEST(step__what_a_later_store_replaces_is_not_durable)
{
    place(&f, PLACE_FOLLOWER);
    tell_message(&f, append_of(2, 2, (struct entry_id){2, 3}, "2 2 2", 2));
    struct step_persisted first = f.asked;
    /* The next leader replaces entries 5 and 6 before they were synced. */
    tell_message(&f, append_of(3, 3, (struct entry_id){2, 4}, "3 3", 2));
    tell(&f, (struct step_event){.kind = ON_PERSISTED, .as.persisted = first});
    ck_assert_uint_eq(f.raft.log.durable_index, 4);
    tell_persisted(&f);
    ck_assert_uint_eq(f.raft.log.durable_index, 6);
    ck_assert_str_eq(terms_of(&f.raft.log), "1 1 2 2 3 3");
    leave_place(&f);
}
END_TEST

START_TEST(step__the_same_entry_again_is_not_durable_by_its_first_store)
{
    place(&f, PLACE_FOLLOWER);
    tell_message(&f, append_of(2, 2, (struct entry_id){2, 3}, "2", 2));
    struct step_persisted first = f.asked;
    tell_message(&f, append_of(3, 3, (struct entry_id){2, 3}, "3", 2));
    /* Entry 4 of term 2 comes back: it is in memory again, but the disk is to see term 3 first. */
    tell_message(&f, append_of(2, 4, (struct entry_id){2, 3}, "2", 2));
    ck_assert_str_eq(terms_of(&f.raft.log), "1 1 2 2");
    tell(&f, (struct step_event){.kind = ON_PERSISTED, .as.persisted = first});
    ck_assert_uint_eq(f.raft.log.durable_index, 3);
    tell_persisted(&f);
    ck_assert_uint_eq(f.raft.log.durable_index, 4);
    leave_place(&f);
}
END_TEST

START_TEST(step__a_vote_waits_for_its_store)
{
    place(&f, PLACE_FOLLOWER);
    f.now_ns += 10000 * T_MS; /* the leader has not been heard for long */
    ck_story(tell_message(&f, vote_request(3, 5, (struct entry_id){2, 3})),
             "Transition(follower: a newer term has begun); TellElection(its log is up to date); "
             "StateStore(term 5, vote 3)");
    ck_assert(f.raft.metadata_unsaved);
    ck_story(tell_persisted(&f), "Send(VoteResp to 3: yes)");
    ck_assert(!f.raft.metadata_unsaved);
    leave_place(&f);
}
END_TEST

START_TEST(step__term_and_vote_are_stored_before_entries)
{
    place(&f, PLACE_FOLLOWER);
    ck_story(tell_message(&f, append_of(3, 4, (struct entry_id){2, 3}, "4", 2)),
             "Transition(follower: a newer term has begun); StateStore(term 4, vote 0); "
             "LogStore(4..4)");
    leave_place(&f);
}
END_TEST

/* ---- elections ---- */

START_TEST(step__from_timeout_to_leadership)
{
    place(&f, PLACE_FOLLOWER);
    f.now_ns = f.step.deadline_ns - 1;
    ck_story(tell_kind(&f, ON_TIMEOUT), ""); /* not yet */
    f.now_ns++;
    ck_story(tell_kind(&f, ON_TIMEOUT),
             "Transition(candidate: no leader was heard); Send(PreVoteReq to 2, term 3); "
             "Send(PreVoteReq to 3, term 3)");
    ck_assert_uint_eq(f.raft.current_term, 2);
    ck_story(tell_message(&f, reply_of(&f, MESSAGE_PRE_VOTE_REPLY, 3, true)),
             "Transition(candidate: a quorum would vote for it); StateStore(term 3, vote 1)");
    /* The disk has its own vote before anybody hears of the election. */
    ck_story(tell_persisted(&f), "Send(VoteReq to 2, term 3); Send(VoteReq to 3, term 3)");
    ck_story(tell_message(&f, reply_of(&f, MESSAGE_REQUEST_VOTE_REPLY, 3, true)),
             "Transition(leader: a quorum voted for it); LogStore(4..4)");
    /* Entries may travel before the own disk has them. */
    ck_story(tell_kind(&f, ON_BATCH_END), "Send(AppendEntriesReq to 2, 1 entries behind 3); "
                                          "Send(AppendEntriesReq to 3, 1 entries behind 3)");
    ck_story(tell_persisted(&f), "");
    ck_story(tell_message(&f, reply_of(&f, MESSAGE_APPEND_ENTRIES_REPLY, 3, true)),
             "Commit(4); Apply(3); Apply(4)");
    leave_place(&f);
}
END_TEST

START_TEST(step__votes_do_not_make_a_leader_before_its_own_is_saved)
{
    place(&f, PLACE_PRE_CANDIDATE);
    tell_message(&f, reply_of(&f, MESSAGE_PRE_VOTE_REPLY, 3, true));
    ck_story(tell_message(&f, reply_of(&f, MESSAGE_REQUEST_VOTE_REPLY, 3, true)), "");
    ck_assert_int_eq(f.step.state, RAFT_CANDIDATE);
    (void)tell_persisted(&f);
    ck_assert_int_eq(f.step.state, RAFT_LEADER);
    leave_place(&f);
}
END_TEST

START_TEST(step__a_lost_connection_shortens_the_wait)
{
    place(&f, PLACE_FOLLOWER);
    u64 before_ns = f.step.deadline_ns;
    tell(&f, (struct step_event){.kind = ON_CONNECTION_LOST, .as.peer = 3});
    ck_assert_uint_eq(f.step.deadline_ns, before_ns);
    tell(&f, (struct step_event){.kind = ON_CONNECTION_LOST, .as.peer = 2});
    ck_assert_uint_lt(f.step.deadline_ns, f.now_ns + f.raft.heartbeat_ns);
    ck_assert_uint_eq(f.step.alarm_ns, f.step.deadline_ns);
    leave_place(&f);
}
END_TEST

START_TEST(step__a_held_timer_makes_no_candidate)
{
    place(&f, PLACE_FOLLOWER);
    f.now_ns = f.step.deadline_ns;
    ck_story(tell(&f, (struct step_event){.kind = ON_TIMEOUT, .as.timers_held = true}), "");
    ck_assert_uint_gt(f.step.alarm_ns, f.now_ns);
    leave_place(&f);
}
END_TEST

START_TEST(step__handed_over_leadership_needs_no_pre_vote)
{
    place(&f, PLACE_FOLLOWER);
    struct message order = {.kind = MESSAGE_TIMEOUT_NOW, .from = 3, .term = 2};
    ck_story(tell_message(&f, order), ""); /* not the leader's */
    order.from = 2;
    ck_story(tell_message(&f, order), "Transition(candidate: leadership was handed over); "
                                      "StateStore(term 3, vote 1)");
    ck_story(tell_persisted(&f), "Send(VoteReq to 2, term 3, handed over); "
                                 "Send(VoteReq to 3, term 3, handed over)");
    leave_place(&f);
}
END_TEST

START_TEST(step__leadership_is_handed_over)
{
    place(&f, PLACE_LEADER);
    ck_story(tell_order(&f, 3, 11), "");
    ck_story(tell_kind(&f, ON_BATCH_END), "Send(TimeoutNow to 3)");
    /* A write of this server's client, and one of a server that will soon know the next leader. */
    ck_story(tell_command(&f, ON_APPEND, 12), "");
    struct step_event event = {.kind = ON_APPEND};
    event.as.client = (struct step_client){.token = 13, .forwarded = true};
    ck_story(tell(&f, event), "");
    struct message request = vote_of(3, 4, (struct entry_id){3, 4});
    request.as.vote_request.transfer = true;
    ck_story(tell_message(&f, request),
             "GiveBack; Transition(follower: a newer term has begun); "
             "TellElection(its log is up to date); StateStore(term 4, vote 3)");
    ck_assert_uint_eq(f.step.parked.count, 2);
    tell_persisted(&f);
    tell_message(&f, append_of(3, 4, (struct entry_id){3, 4}, "", 0));
    ck_story(tell_kind(&f, ON_BATCH_END), "Conclude(DONE: 3); Send(ForwardReq to 3)");
    leave_place(&f);
}
END_TEST

START_TEST(step__a_leader_without_a_quorum_steps_down)
{
    place(&f, PLACE_LEADER);
    tell_command(&f, ON_APPEND, 11);
    tell_command(&f, ON_READ, 12);
    pass_silence(&f, f.now_ns + 10000 * T_MS);
    ck_story(tell_kind(&f, ON_TIMEOUT),
             "Refuse(UNKNOWN_OUTCOME); Transition(follower: no contact with a quorum)");
    /* The read waits for the next leader. */
    ck_assert_uint_eq(f.step.parked.count, 1);
    leave_place(&f);
}
END_TEST

START_TEST(step__a_second_leader_of_the_term_halts)
{
    place(&f, PLACE_LEADER);
    tell_command(&f, ON_READ, 12);
    ck_story(tell_message(&f, append_of(2, 3, (struct entry_id){3, 4}, "", 0)),
             "Halt(a second leader of the same term); "
             "Transition(stopped: a second leader of the same term); Refuse(STOPPING)");
    leave_place(&f);
}
END_TEST

/* ---- clients ---- */

START_TEST(step__a_write_is_answered_when_a_quorum_has_it)
{
    place(&f, PLACE_LEADER);
    ck_story(tell_command(&f, ON_APPEND, 11), "LogStore(5..5)");
    ck_story(tell_kind(&f, ON_BATCH_END), "Send(AppendEntriesReq to 2, 1 entries behind 4); "
                                          "Send(AppendEntriesReq to 3, 1 entries behind 4)");
    /* One peer and not yet this server's disk is no quorum. */
    ck_story(tell_message(&f, reply_of(&f, MESSAGE_APPEND_ENTRIES_REPLY, 3, true)), "");
    ck_story(tell_persisted(&f), "Commit(5); Apply(5, for a client)");
    leave_place(&f);
}
END_TEST

START_TEST(step__a_read_waits_for_a_round_after_it)
{
    place(&f, PLACE_LEADER);
    ck_story(tell_command(&f, ON_READ, 12), "");
    /* What was sent before the read came does not count. */
    ck_story(tell_message(&f, reply_of(&f, MESSAGE_APPEND_ENTRIES_REPLY, 3, true)), "");
    ck_story(tell_kind(&f, ON_BATCH_END), "Send(AppendEntriesReq to 2, 0 entries behind 4); "
                                          "Send(AppendEntriesReq to 3, 0 entries behind 4)");
    struct message reply = reply_of(&f, MESSAGE_APPEND_ENTRIES_REPLY, 3, true);
    reply.as.append_reply.round = f.step.lead.leadership.round;
    ck_story(tell_message(&f, reply), "ReadReady");
    leave_place(&f);
}
END_TEST

START_TEST(step__a_full_disk_refuses_writes_before_they_are_appended)
{
    place(&f, PLACE_LEADER);
    tell_room(&f, RECORD_HEADER_SIZE);
    ck_story(tell_command(&f, ON_APPEND, 11), "Refuse(NO_SPACE)");
    tell_room(&f, RECORD_HEADER_SIZE + 1);
    ck_story(tell_command(&f, ON_APPEND, 12), "LogStore(5..5)");
    /* What was asked for is counted until the node says otherwise, and what finds too little then
     * waits for that. */
    ck_story(tell_command(&f, ON_APPEND, 13), "");
    tell_room(&f, RECORD_HEADER_SIZE);
    ck_assert_ptr_nonnull(strstr(tell_kind(&f, ON_BATCH_END), "Refuse(NO_SPACE)"));
    leave_place(&f);
}
END_TEST

START_TEST(step__a_follower_forwards_when_it_settles)
{
    place(&f, PLACE_FOLLOWER);
    ck_story(tell_command(&f, ON_APPEND, 11), "");
    ck_story(tell_command(&f, ON_APPEND, 12), "");
    ck_story(tell_kind(&f, ON_BATCH_END), "Send(ForwardReq to 2)");
    /* It could not leave: nothing was executed, it is tried again. */
    ck_story(tell(&f, (struct step_event){.kind = ON_UNSENT, .as.call = f.last_call}), "");
    ck_assert_uint_eq(f.step.parked.count, 2);
    ck_story(tell_kind(&f, ON_BATCH_END), "Send(ForwardReq to 2)");
    /* Now it left, and its outcome is unknown when the term ends. */
    f.now_ns += 10000 * T_MS;
    ck_story(tell_message(&f, vote_request(3, 5, (struct entry_id){1, 1})),
             "Refuse(UNKNOWN_OUTCOME); Refuse(UNKNOWN_OUTCOME); "
             "Transition(follower: a newer term has begun); TellElection(its log is behind); "
             "StateStore(term 5, vote 0)");
    leave_place(&f);
}
END_TEST

START_TEST(step__answers_of_the_leader_go_to_the_tokens)
{
    place(&f, PLACE_FOLLOWER);
    tell_command(&f, ON_APPEND, 11);
    tell_kind(&f, ON_BATCH_END);
    struct block *block = block_create(4 + 3);
    store_u32(block->data, 3);
    memcpy(block->data + 4, "yes", 3);
    struct message reply = {.kind = MESSAGE_FORWARD_REPLY, .from = 2, .term = 2};
    reply.call = f.last_call;
    reply.as.forward_reply = (struct forward_reply){.result = FORWARD_DONE, .count = 1};
    reply.spans[reply.span_count++] = (struct span){block, block->data, 7};
    struct step_event event = {.kind = ON_FORWARD_RESP, .as.message = &reply};
    step(&f.step, &event, &f.actions);
    ck_assert_uint_eq(f.actions.count > 0, true);
    ck_assert_int_eq(f.actions.items[0].kind, DO_ANSWER);
    ck_assert_uint_eq(f.actions.items[0].as.answer.token, 11);
    ck_assert_mem_eq(f.actions.items[0].as.answer.data, "yes", 3);
    message_release(&reply);
    leave_place(&f);
}
END_TEST

START_TEST(step__commands_wait_for_a_leader_but_not_for_ever)
{
    place(&f, PLACE_CANDIDATE);
    ck_story(tell_command(&f, ON_APPEND, 11), "");
    ck_story(tell_command(&f, ON_READ, 12), "");
    ck_assert_uint_eq(f.step.parked.count, 2);
    f.now_ns += f.step.settings.leader_wait_ns;
    ck_assert_ptr_nonnull(
        strstr(tell_kind(&f, ON_TIMEOUT), "Refuse(NO_LEADER); Refuse(NO_LEADER)"));
    leave_place(&f);
}
END_TEST

START_TEST(step__a_candidate_that_wins_takes_what_waited)
{
    place(&f, PLACE_CANDIDATE);
    tell_command(&f, ON_APPEND, 11);
    ck_story(tell_message(&f, reply_of(&f, MESSAGE_REQUEST_VOTE_REPLY, 2, true)),
             "Transition(leader: a quorum voted for it); LogStore(4..5)");
    leave_place(&f);
}
END_TEST

START_TEST(step__a_forward_is_accepted_once)
{
    place(&f, PLACE_LEADER);
    struct block *block = block_create(9);
    memset(block->data, 0, 9);
    block->data[0] = 1;
    store_u32(block->data + 4, 1);
    struct message request = {.kind = MESSAGE_FORWARD, .from = 3, .term = 3, .call = 9};
    request.as.forward_request = (struct forward_request){.start = 1, .serial = 1, .count = 1};
    request.spans[request.span_count++] = (struct span){block, block->data, 9};
    struct step_event event = {.kind = ON_FORWARD_REQ, .as.message = &request};
    ck_story(tell(&f, event), "Accept");
    ck_story(tell(&f, event), "");
    request.as.forward_request.serial = 2;
    request.as.forward_request.count = 2; /* more than there are */
    ck_story(tell(&f, event), "Tell(it forwarded commands that cannot be decoded); "
                              "Send(ForwardResp to 3: not the leader)");
    message_release(&request);
    leave_place(&f);
}
END_TEST

START_TEST(step__stopping_answers_everybody)
{
    place(&f, PLACE_LEADER);
    tell_command(&f, ON_APPEND, 11);
    tell_command(&f, ON_READ, 12);
    ck_story(tell_kind(&f, ON_STOP),
             "Refuse(UNKNOWN_OUTCOME); Transition(stopped: it was told to); "
             "Refuse(STOPPING)");
    ck_story(tell_command(&f, ON_APPEND, 13), "Refuse(STOPPING)");
    leave_place(&f);
}
END_TEST

START_TEST(step__one_server_alone)
{
    f = (struct step_fixture){.now_ns = 1000 * T_MS};
    raft_of(&f.raft, 1, 1, "1");
    step_init(&f.step, &f.raft, 7);
    f.now_ns = step_begin(&f.step, f.now_ns);
    tell_room(&f, MIB);
    ck_story(tell_kind(&f, ON_TIMEOUT),
             "Transition(candidate: no leader was heard); "
             "Transition(candidate: a quorum would vote for it); StateStore(term 2, vote 1)");
    ck_story(tell_persisted(&f), "Transition(leader: a quorum voted for it); LogStore(2..2)");
    ck_story(tell_persisted(&f), "Commit(2); Apply(1); Apply(2)");
    ck_story(tell_command(&f, ON_READ, 12), "");
    ck_story(tell_kind(&f, ON_BATCH_END), "ReadReady");
    leave_place(&f);
}
END_TEST

UNIT_MAIN("step", step__every_event_in_every_state_and_twice_the_same,
          step__requests_are_answered_by_all_but_the_stopped,
          step__an_acceptance_waits_for_its_store, step__much_is_applied_in_batches,
          step__what_applying_costs_ends_a_batch, step__nothing_overtakes_a_message_that_waits,
          step__a_message_waits_for_no_later_store,
          step__what_a_later_store_replaces_is_not_durable,
          step__the_same_entry_again_is_not_durable_by_its_first_store,
          step__a_vote_waits_for_its_store, step__term_and_vote_are_stored_before_entries,
          step__from_timeout_to_leadership,
          step__votes_do_not_make_a_leader_before_its_own_is_saved,
          step__a_lost_connection_shortens_the_wait, step__a_held_timer_makes_no_candidate,
          step__handed_over_leadership_needs_no_pre_vote, step__leadership_is_handed_over,
          step__a_leader_without_a_quorum_steps_down, step__a_second_leader_of_the_term_halts,
          step__a_write_is_answered_when_a_quorum_has_it, step__a_read_waits_for_a_round_after_it,
          step__a_full_disk_refuses_writes_before_they_are_appended,
          step__a_follower_forwards_when_it_settles, step__answers_of_the_leader_go_to_the_tokens,
          step__commands_wait_for_a_leader_but_not_for_ever,
          step__a_candidate_that_wins_takes_what_waited, step__a_forward_is_accepted_once,
          step__stopping_answers_everybody, step__one_server_alone)
