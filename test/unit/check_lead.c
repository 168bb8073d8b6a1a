/* check_lead.c - a leader's work for its clients: what pending.h decides (check_pending.c), carried
 * out with outbox, sinks and disk. */
#include "server/service/lead.h"

#include "server/replica/round.h"
#include "server/requests/parked.h"
#include "test/unit/server_unit.h"

static struct leader_pending lead;
static u64 begun_ns;

/* Server 1 leads in term 2, and its no-op is on its disk. */
static void begin_leading(const char *terms)
{
    begin(terms);
    adopt_term(&server->raft, 2);
    server->raft.leader = 1;
    memset(&lead, 0xee, sizeof(lead)); /* whatever lay on the stack */
    begun_ns = clock_monotonic_ns();
    lead_begin(server, &lead, begun_ns);
    ck_assert(server_save(server));
    tape[0] = traced[0] = '\0';
}

static void end_leading(void)
{
    lead_stop(server, &lead);
    end();
}

static void send_early(void)
{
    outbox_send_early(&server->outbox, &transport);
}

static void take(struct command *command)
{
    lead_take(server, &lead, command, begun_ns);
}

static struct command *numbered(struct command *command, u64 serial)
{
    command->serial = serial;
    return command;
}

/* A write that server 3 has forwarded. */
static struct command *from_afar(u64 serial)
{
    struct command *command = numbered(command_of('C', COMMAND_WRITE, serial, "far"), serial);
    command->forwarded = true;
    command->taker = 3;
    return command;
}

/* Both others hold everything, and say so; all is committed and applied. */
static void all_hold_everything(void)
{
    for (server_id id = 2; id <= 3; id++) {
        struct progress *progress = leadership_peer(&lead.leadership, id);
        progress->mode = PROGRESS_PIPELINE;
        progress->match_index = server->raft.log.last_index;
        progress->next_index = server->raft.log.last_index + 1;
        progress->contact_ns = begun_ns;
    }
    ck_assert(server_flush(server, &lead));
    ck_assert_uint_eq(server->raft.last_applied, server->raft.log.last_index);
    tape[0] = traced[0] = '\0';
}

static struct message append_reply_of(server_id from, u64 match_index)
{
    struct message reply = {.kind = MESSAGE_APPEND_ENTRIES_REPLY,
                            .from = from,
                            .to = 1,
                            .term = 2,
                            .call = newest(MESSAGE_APPEND_ENTRIES)->call};
    reply.as.append_reply =
        (struct append_reply){.result = APPEND_ACCEPTED, .match_index = match_index};
    return reply;
}

/* ---- lead_begin ---- */

START_TEST(lead_begin__appends_its_no_op_and_takes_who_waited)
{
    begin("1 1");
    adopt_term(&server->raft, 2);
    parked_put(&server->parked, numbered(command_of('A', COMMAND_WRITE, 1, "w1"), 1));
    parked_put(&server->parked, numbered(command_of('B', COMMAND_READ, 1, "r1"), 1));
    parked_put(&server->parked, numbered(command_of('A', COMMAND_WRITE, 2, "w2"), 2));
    lead_begin(server, &lead, clock_monotonic_ns());
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 2 2 2");
    ck_assert_int_eq(log_entry(&server->raft.log, 3).type, ENTRY_NOOP);
    ck_assert_uint_eq(lead.writes.first->wait_index, 4);
    ck_assert_uint_eq(lead.writes.last->wait_index, 5);
    ck_assert_uint_eq(lead.reads.count, 1);
    ck_assert_uint_eq(server->parked.count, 0);
    ck_assert_ptr_eq(server->lead, &lead);
    ck_assert_str_eq(traced, "Replicate Replicate Replicate");
    end_leading();
}
END_TEST

/* ---- lead_end ---- */

START_TEST(lead_end__writes_have_an_unknown_outcome_and_the_rest_waits)
{
    begin_leading("1 1");
    take(numbered(command_of('A', COMMAND_WRITE, 1, "w1"), 1));
    take(numbered(command_of('B', COMMAND_READ, 1, "r1"), 1));
    all_hold_everything();
    take(numbered(command_of('A', COMMAND_WRITE, 2, "w2"), 2));
    take(order_of('D', 1, 2));
    take(numbered(command_of('A', COMMAND_WRITE, 3, "w3"), 3)); /* held by the transfer */
    parked_put(&server->parked, numbered(command_of('A', COMMAND_WRITE, 4, "w4"), 4));
    tape[0] = '\0';
    lead_end(server, &lead);
    CK_TAPE("answer A2:-TIMEOUT outcome unknown: the command ma");
    ck_assert_ptr_null(server->lead);
    ck_assert_uint_eq(server->parked.count, 4);
    const struct command *first = server->parked.first;
    ck_assert_int_eq(first->class, COMMAND_TRANSFER); /* numbered 0 here */
    ck_assert_int_eq(first->next->class, COMMAND_READ);
    ck_assert_uint_eq(first->next->next->serial, 3);
    ck_assert_uint_eq(server->parked.last->serial, 4);
    end();
}
END_TEST

/* Their own servers know best who leads next, and send them again in their order. */
START_TEST(lead_end__what_others_forwarded_goes_back_to_them)
{
    begin_leading("1 1");
    struct stream *stream = &server->raft.streams.streams[0];
    *stream = (struct stream){.taker = 3, .start = 1, .attempt = 1, .taken = 8};
    all_hold_everything();
    take(order_of('D', 1, 2));
    take(from_afar(7));
    take(from_afar(8));
    lead_end(server, &lead);
    CK_TAPE("back C7, back C8");
    ck_assert_uint_eq(stream->taken, 6);
    ck_assert_uint_eq(server->parked.count, 1); /* the order */
    end();
}
END_TEST

/* ---- lead_begin_pile ---- */

START_TEST(lead_begin_pile__asks_the_disk_for_room)
{
    begin_leading("1 1");
    u64 room = storage_room(server->storage);
    take(command_of('A', COMMAND_WRITE, 1, "x"));
    lead_begin_pile(server, &lead);
    ck_assert_uint_eq(lead.room_bytes, room - RECORD_HEADER_SIZE - 1);
    ck_assert_uint_ge(lead.room_soon_bytes, lead.room_bytes);
    end_leading();
}
END_TEST

/* ---- lead_take ---- */

START_TEST(lead_take__a_write_is_appended_and_a_refused_one_answered)
{
    begin_leading("1 1");
    take(command_of('A', COMMAND_RESET_STATISTICS, 9, ""));
    CK_TAPE("answer A9:+OK");
    take(command_of('A', COMMAND_WRITE, 1, "x"));
    ck_assert_str_eq(traced, "Replicate");
    CK_TAPE("");
    server->raft.uncommitted_bytes_max = 1;
    take(command_of('A', COMMAND_WRITE, 2, "x"));
    CK_TAPE("answer A2:-BUSY too many commands are waiting");
    ck_assert_str_eq(traced, "Replicate");
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 2 2");
    end_leading();
}
END_TEST

START_TEST(lead_take__an_order_that_cannot_be_is_answered_at_once)
{
    begin_leading("1 1");
    take(order_of('A', 1, 1));
    take(order_of('A', 2, 9));
    CK_TAPE("answer A1::1, answer A2:-ERR server 9 is no member of the cluste");
    struct command *order = order_of('A', 3, 2);
    order->wait_index = 2; /* of an earlier leadership: this server leads again */
    take(order);
    CK_TAPE("answer A3:-ERR server 2 did not take over in time");
    ck_assert_ptr_null(lead.order);
    end_leading();
}
END_TEST

START_TEST(lead_take__a_readmission_that_cannot_be_is_answered_at_once)
{
    begin_leading("1 1");
    struct command *order =
        command_create(COMMAND_TRANSFER, command_readmit_body(2), &clients[0].sink);
    take(order);
    CK_TAPE("answer A0:-ERR server 2 can be readmitted when all");
    ck_assert_uint_eq(lead.writes.count, 0);
    end_leading();
}
END_TEST

/* ---- lead_take_forward ---- */

/* A FORWARD of server 3 with these writes. */
static struct message forward_of(u64 first_write, u64 previous, u32 count)
{
    struct raft sender;
    struct forwarding forwarding;
    static struct taker taker = {.start = 5};
    struct message message;
    raft_of(&sender, 3, 3, "1 1");
    sender.current_term = 2;
    sender.leader = 1;
    forwarding_init(&forwarding, &taker);
    for (u32 i = 0; i < count; i++)
        forwarding_put(&forwarding,
                       numbered(command_of('C', COMMAND_WRITE, 1, "far"), first_write + i));
    ck_assert(forwarding_next(&forwarding, &sender, MIB, 0, &message));
    message.as.forward_request.previous_write = previous;
    struct command_list again = {0};
    struct forwarding_outcome outcome = {.again = &again};
    u64 attempt = taker.attempt;
    forwarding_unsent(&forwarding, message.call, &outcome);
    taker.attempt = attempt;
    for (struct command *command; (command = command_list_take(&again)) != NULL;)
        command_destroy(command);
    raft_deinit(&sender);
    return message;
}

START_TEST(lead_take_forward__is_appended_once_and_answered_in_one_message)
{
    begin_leading("1 1");
    struct message forward = forward_of(1, 0, 2);
    lead_take_forward(server, &lead, &forward, begun_ns);
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 2 2 2");
    lead_take_forward(server, &lead, &forward, begun_ns); /* a copy */
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 2 2 2");
    send_early();
    CK_TAPE("");
    ck_assert(server_save(server));
    tape[0] = '\0';
    leadership_peer(&lead.leadership, 2)->match_index = 5;
    ck_assert(server_flush(server, &lead));
    CK_TAPE("apply 2:x, apply 4:far, apply 5:far, send forward-reply>3");
    message_release(&forward);
    end_leading();
}
END_TEST

/* What is behind a write that did not come would overtake it. */
START_TEST(lead_take_forward__a_broken_stream_is_refused_before_any_sync)
{
    begin_leading("1 1");
    struct message forward = forward_of(9, 8, 1);
    lead_take_forward(server, &lead, &forward, begun_ns);
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 2");
    send_early();
    CK_TAPE("send forward-reply>3");
    const struct forward_reply *reply = &newest(MESSAGE_FORWARD_REPLY)->as.forward_reply;
    ck_assert_int_eq(reply->result, FORWARD_NOT_LEADER);
    ck_assert(reply->leads);
    message_release(&forward);
    end_leading();
}
END_TEST

START_TEST(lead_take_forward__bytes_that_are_no_commands_are_refused_and_said)
{
    begin_leading("1 1");
    struct message forward = forward_of(1, 0, 1);
    forward.spans[0].size--;
    lead_take_forward(server, &lead, &forward, begun_ns);
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 2");
    send_early();
    CK_TAPE("send forward-reply>3");
    CK_SAID("server 3: it forwarded commands that cannot be decoded");
    message_release(&forward);
    end_leading();
}
END_TEST

/* ---- lead_replicate ---- */

START_TEST(lead_replicate__tells_everybody_before_its_own_sync)
{
    begin_leading("1 1");
    all_hold_everything();
    take(command_of('A', COMMAND_WRITE, 1, "x"));
    lead_replicate(server, &lead, begun_ns);
    send_early();
    CK_TAPE("send append>2:4-4, send append>3:4-4");
    ck_assert_str_eq(traced, "Replicate SendAppendEntriesRequest SendAppendEntriesRequest");
    end_leading();
}
END_TEST

/* Followers apply a round trip sooner. */
START_TEST(lead_replicate__tells_of_what_this_piles_replies_have_committed)
{
    begin_leading("1 1");
    leadership_peer(&lead.leadership, 2)->match_index = 3;
    lead_replicate(server, &lead, begun_ns);
    send_early();
    ck_assert_uint_eq(newest(MESSAGE_APPEND_ENTRIES)->as.append_request.leader_commit, 3);
    end_leading();
}
END_TEST

/* ---- lead_take_entries, lead_take_piece ---- */

/* Peer 2 lacks entries 2 and up, which are no more in memory. */
static struct mail *read_for_a_peer_that_lags(void)
{
    begin_leading("1 1 1");
    all_hold_everything();
    server->raft.log.memory_bytes_max = 1;
    log_evict(&server->raft.log, server->raft.last_applied);
    struct progress *progress = leadership_peer(&lead.leadership, 2);
    progress->match_index = 1;
    progress->next_index = 2;
    lead_replicate(server, &lead, begun_ns);
    ck_assert_uint_ne(progress->reading, 0);
    u64 now_ns;
    (void)server_collect(server, clock_monotonic_ns() + 20 * NS_PER_S, &now_ns);
    struct mail *mail = mail_pile_take(&server->pile);
    ck_assert_ptr_nonnull(mail);
    ck_assert_int_eq(mail->kind, MAIL_ENTRIES_READ);
    send_early();
    tape[0] = traced[0] = '\0';
    return mail;
}

START_TEST(lead_take_entries__what_was_read_for_a_peer_is_sent_to_it)
{
    struct mail *mail = read_for_a_peer_that_lags();
    lead_take_entries(server, &lead, &mail->as.read, begun_ns);
    send_early();
    CK_TAPE("send append>2:2-4");
    ck_assert_str_eq(traced, "SendAppendEntriesRequest");
    lead_take_entries(server, &lead, &mail->as.read, begun_ns); /* nobody waits for it any more */
    send_early();
    CK_TAPE("");
    mail_destroy(mail);
    end_leading();
}
END_TEST

START_TEST(lead_take_entries__what_cannot_be_read_now_is_put_off)
{
    struct mail *mail = read_for_a_peer_that_lags();
    mail->as.read.put_off = true;
    lead_take_entries(server, &lead, &mail->as.read, begun_ns);
    send_early();
    CK_TAPE("");
    ck_assert_uint_eq(leadership_peer(&lead.leadership, 2)->reading, 0);
    ck_assert(!server->snapshot.wanted);
    mail_destroy(mail);
    end_leading();
}
END_TEST

/* Then it needs a snapshot in their place. */
START_TEST(lead_take_entries__what_is_gone_calls_for_a_snapshot)
{
    struct mail *mail = read_for_a_peer_that_lags();
    mail->as.read.count = 0;
    lead_take_entries(server, &lead, &mail->as.read, begun_ns);
    ck_assert(server->snapshot.wanted);
    mail->as.read.peer = 9; /* no member */
    lead_take_entries(server, &lead, &mail->as.read, begun_ns);
    mail_destroy(mail);
    end_leading();
}
END_TEST

START_TEST(lead_take_piece__a_piece_that_was_ordered_is_sent)
{
    begin_leading("1 1");
    server->raft.snapshot = (struct snapshot_name){{1, 2}, 100, 77};
    struct progress *progress = leadership_peer(&lead.leadership, 2);
    progress->mode = PROGRESS_SNAPSHOT;
    progress->snapshot = server->raft.snapshot;
    progress->snapshot_ready = true;
    progress->reading = raft_order(&server->raft);
    struct block *block = block_create(100);
    memset(block->data, 0, 100);
    struct piece_read read = {.order = progress->reading, .peer = 2, .put_off = true};
    read.piece = (struct span){block, block->data, 100};
    lead_take_piece(server, &lead, &read, begun_ns);
    ck_assert_uint_eq(progress->reading, 0); /* put off: nothing was sent */
    ck_assert(outbox_is_empty(&server->outbox));
    progress->probe_sent = false; /* a heartbeat was answered */
    progress->reading = read.order;
    read.put_off = false;
    lead_take_piece(server, &lead, &read, begun_ns);
    send_early();
    CK_TAPE("send snapshot>2");
    block_release(block);
    end_leading();
}
END_TEST

/* ---- lead_take_append_reply, lead_take_install_reply ---- */

START_TEST(lead_take_append_reply__counts_toward_the_commit)
{
    begin_leading("1 1");
    lead_replicate(server, &lead, begun_ns);
    send_early();
    struct message reply = append_reply_of(3, 2);
    reply.from = 9;
    lead_take_append_reply(server, &lead, &reply, begun_ns); /* no member */
    ck_assert(!commit_advance(&server->raft, &lead.leadership));
    reply.from = 3;
    reply.as.append_reply.match_index = 3;
    lead_take_append_reply(server, &lead, &reply, begun_ns + T_MS);
    ck_assert(commit_advance(&server->raft, &lead.leadership));
    ck_assert_uint_eq(server->raft.commit_index, 3);
    end_leading();
}
END_TEST

/* It was told by others that it is not the server they once met. */
START_TEST(lead_take_append_reply__who_says_that_it_may_not_vote_does_not_count)
{
    begin_leading("1 1");
    struct identity shown = {.directory_id = 33, .start_count = 1, .starts = {5}};
    (void)trust_meet(&server->raft, 3, &shown);
    lead_replicate(server, &lead, begun_ns);
    send_early();
    struct message reply = append_reply_of(3, 3);
    reply.as.append_reply.non_voter = true;
    lead_take_append_reply(server, &lead, &reply, begun_ns);
    ck_assert(!trust_counts(&server->raft, 3));
    ck_assert(!commit_advance(&server->raft, &lead.leadership));
    CK_SAID("server 3 is not recognised");
    end_leading();
}
END_TEST

START_TEST(lead_take_install_reply__leads_back_to_entries)
{
    begin_leading("1 1");
    struct progress *progress = leadership_peer(&lead.leadership, 2);
    progress->mode = PROGRESS_SNAPSHOT;
    progress->snapshot = server->raft.snapshot = (struct snapshot_name){{1, 2}, 100, 77};
    struct message reply = {
        .kind = MESSAGE_INSTALL_SNAPSHOT_REPLY, .from = 2, .term = 2, .call = UINT64_MAX};
    reply.as.install_reply.result = INSTALL_DONE;
    reply.from = 9;
    lead_take_install_reply(server, &lead, &reply, begun_ns); /* no member */
    ck_assert_int_eq(progress->mode, PROGRESS_SNAPSHOT);
    reply.from = 2;
    lead_take_install_reply(server, &lead, &reply, begun_ns);
    ck_assert_int_ne(progress->mode, PROGRESS_SNAPSHOT);
    ck_assert_uint_eq(progress->match_index, 2);
    end_leading();
}
END_TEST

/* ---- lead_hand_over ---- */

/* Once the target is told its server may forget what it forwarded. */
START_TEST(lead_hand_over__gives_back_what_is_others_and_then_tells_the_target)
{
    begin_leading("1 1");
    all_hold_everything();
    take(order_of('A', 1, 2));
    take(command_of('B', COMMAND_WRITE, 1, "own"));
    take(from_afar(7));
    CK_TAPE("");
    lead_hand_over(server, &lead, begun_ns);
    send_early();
    CK_TAPE("back C7, send timeout-now>2");
    ck_assert_uint_eq(lead.held.count, 1);
    end_leading();
}
END_TEST

START_TEST(lead_hand_over__given_up_it_goes_on_with_what_was_held)
{
    begin_leading("1 1");
    all_hold_everything();
    take(order_of('A', 1, 2));
    take(command_of('B', COMMAND_WRITE, 1, "w1"));
    take(command_of('B', COMMAND_WRITE, 2, "w2"));
    lead_hand_over(server, &lead, begun_ns);
    lead_hand_over(server, &lead, lead.transfer.deadline_ns);
    CK_TAPE("answer A1:-ERR server 2 did not take over in time");
    CK_SAID("level=warn");
    CK_SAID("server 2: ");
    ck_assert_ptr_null(lead.order);
    ck_assert_uint_eq(lead.held.count, 0);
    ck_assert_uint_eq(lead.writes.count, 2);
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 2 2 2");
    end_leading();
}
END_TEST

START_TEST(lead_hand_over__begins_by_itself_when_the_disk_is_full)
{
    begin_leading("1 1");
    all_hold_everything();
    u64 later_ns = begun_ns + 100 * server->raft.election_timeout_ns_max;
    for (server_id id = 2; id <= 3; id++)
        leadership_peer(&lead.leadership, id)->contact_ns = later_ns;
    lead.short_of_room = true;
    lead_hand_over(server, &lead, later_ns);
    ck_assert(!lead.short_of_room);
    send_early();
    ck_assert_ptr_nonnull(strstr(tape, "send timeout-now>"));
    CK_SAID("level=warn");
    end_leading();
}
END_TEST

/* The log's next segment was being made. */
START_TEST(lead_hand_over__looks_for_room_again)
{
    begin_leading("1 1");
    lead.room_bytes = 0;
    take(command_of('A', COMMAND_WRITE, 1, "w1"));
    ck_assert_uint_eq(lead.held.count, 1);
    lead_hand_over(server, &lead, begun_ns); /* now there is room */
    ck_assert_uint_eq(lead.held.count, 0);
    ck_assert_uint_eq(lead.writes.count, 1);
    end_leading();
}
END_TEST

/* ---- lead_peer_disconnected, lead_peer_connected ---- */

START_TEST(lead_peer_connected__what_was_on_its_way_is_sent_again)
{
    begin_leading("1 1");
    all_hold_everything();
    take(command_of('A', COMMAND_WRITE, 1, "x"));
    lead_replicate(server, &lead, begun_ns);
    send_early();
    tape[0] = '\0';
    lead_peer_disconnected(&lead, 2);
    ck_assert(leadership_peer(&lead.leadership, 2)->gone);
    lead_peer_disconnected(&lead, 9);
    lead_peer_connected(server, &lead, 9);
    lead_peer_connected(server, &lead, 2);
    lead_replicate(server, &lead, begun_ns);
    send_early();
    CK_TAPE("send append>2:4-4");
    end_leading();
}
END_TEST

/* ---- lead_stop ---- */

START_TEST(lead_stop__knows_no_leader_any_more)
{
    begin_leading("1 1");
    server->raft.leader_heard_ns = 5;
    take(command_of('A', COMMAND_WRITE, 1, "x"));
    lead_stop(server, &lead);
    ck_assert_uint_eq(server->raft.leader, SERVER_NONE);
    ck_assert_uint_eq(server->raft.leader_heard_ns, 0);
    CK_TAPE("answer A1:-TIMEOUT outcome unknown: the command ma");
    end();
}
END_TEST

UNIT_MAIN("lead", lead_begin__appends_its_no_op_and_takes_who_waited,
          lead_end__writes_have_an_unknown_outcome_and_the_rest_waits,
          lead_end__what_others_forwarded_goes_back_to_them,
          lead_begin_pile__asks_the_disk_for_room,
          lead_take__a_write_is_appended_and_a_refused_one_answered,
          lead_take__an_order_that_cannot_be_is_answered_at_once,
          lead_take__a_readmission_that_cannot_be_is_answered_at_once,
          lead_take_forward__is_appended_once_and_answered_in_one_message,
          lead_take_forward__a_broken_stream_is_refused_before_any_sync,
          lead_take_forward__bytes_that_are_no_commands_are_refused_and_said,
          lead_replicate__tells_everybody_before_its_own_sync,
          lead_replicate__tells_of_what_this_piles_replies_have_committed,
          lead_take_entries__what_was_read_for_a_peer_is_sent_to_it,
          lead_take_entries__what_cannot_be_read_now_is_put_off,
          lead_take_entries__what_is_gone_calls_for_a_snapshot,
          lead_take_piece__a_piece_that_was_ordered_is_sent,
          lead_take_append_reply__counts_toward_the_commit,
          lead_take_append_reply__who_says_that_it_may_not_vote_does_not_count,
          lead_take_install_reply__leads_back_to_entries,
          lead_hand_over__gives_back_what_is_others_and_then_tells_the_target,
          lead_hand_over__given_up_it_goes_on_with_what_was_held,
          lead_hand_over__begins_by_itself_when_the_disk_is_full,
          lead_hand_over__looks_for_room_again,
          lead_peer_connected__what_was_on_its_way_is_sent_again,
          lead_stop__knows_no_leader_any_more)
