/* check_one_server.c - the loops: what one server makes of its mail, in each design. This is
 * follow.c for two of them, and node.c with carry_out.c for the third; what the rules say
 * is tested where they are. */
#include <unistd.h>

#include "server/dispatch/dispatch.h"
#include "test/unit/one_server.h"

#define EACH_DESIGN(design)                                                   \
    for (enum server_design design = DESIGN_PER_STATE; design <= DESIGN_STEP; \
         design = (enum server_design)(design + 1))

static const struct entry_id nothing = {1, 1}; /* the log's end at the beginning */

/* ---- following ---- */

START_TEST(entries__are_acknowledged_when_they_are_on_disk)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        one_hand(append_of(2, 2, nothing, "2 2", 1));
        const struct message *reply = one_next(MESSAGE_APPEND_ENTRIES_REPLY, 2);
        ck_assert_int_eq(reply->as.append_reply.result, APPEND_ACCEPTED);
        ck_assert_uint_eq(reply->as.append_reply.match_index, 3);
        ck_assert_uint_eq(reply->term, 2);
        /* Now the power goes: it must all be there. */
        struct memory_vfs *after = memory_crash(one_disk, NULL, NULL, false);
        one_end();
        one_disk = after;
        struct server_options options = founded_options(design);
        one_start(&options);
        one_hand(append_of(2, 2, (struct entry_id){2, 3}, "", 3));
        reply = one_next(MESSAGE_APPEND_ENTRIES_REPLY, 2);
        ck_assert_int_eq(reply->as.append_reply.result, APPEND_ACCEPTED);
        one_await(one_applied, "2:x 3:x");
        one_end();
    }
}
END_TEST

START_TEST(entries__that_are_not_on_disk_are_not_acknowledged)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        memory_fault_after(one_disk, 1, MEMORY_FAIL_ON, ERROR_IO);
        one_hand(append_of(2, 2, nothing, "2 2", 1));
        one_join();
        ck_assert_int_eq(one_code, ERROR_IO);
        ck_assert_uint_eq(one_count(MESSAGE_APPEND_ENTRIES_REPLY), 0);
        ck_assert_ptr_nonnull(strstr(one_said, "stopping: "));
        one_end();
    }
}
END_TEST

START_TEST(entries__a_conflict_is_said_and_repaired)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        one_hand(append_of(2, 2, nothing, "2 2", 1));
        (void)one_next(MESSAGE_APPEND_ENTRIES_REPLY, 2);
        one_hand(append_of(3, 4, (struct entry_id){3, 3}, "4", 1));
        const struct message *reply = one_next(MESSAGE_APPEND_ENTRIES_REPLY, 3);
        ck_assert_int_eq(reply->as.append_reply.result, APPEND_REFUSED_CONFLICT);
        ck_assert_uint_eq(reply->as.append_reply.conflict.term, 2);
        one_hand(append_of(3, 4, nothing, "3 3 4", 4));
        reply = one_next(MESSAGE_APPEND_ENTRIES_REPLY, 3);
        ck_assert_uint_eq(reply->as.append_reply.match_index, 4);
        one_await(one_applied, "2:x 3:x 4:x");
        one_end();
    }
}
END_TEST

/* ---- votes ---- */

START_TEST(votes__are_on_disk_before_they_are_given)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        one_hand(vote_of(2, 5, nothing));
        const struct message *reply = one_next(MESSAGE_REQUEST_VOTE_REPLY, 2);
        ck_assert(reply->as.vote_reply.granted);
        struct memory_vfs *after = memory_crash(one_disk, NULL, NULL, false);
        one_end();
        one_disk = after;
        struct server_options options = founded_options(design);
        one_start(&options);
        one_hand(vote_of(3, 5, nothing));
        reply = one_next(MESSAGE_REQUEST_VOTE_REPLY, 3);
        ck_assert(!reply->as.vote_reply.granted);
        ck_assert_uint_eq(reply->term, 5);
        one_end();
    }
}
END_TEST

START_TEST(votes__are_asked_for_again_over_a_new_connection)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        one_tell(MAIL_ELECTION_TIMEOUT, SERVER_NONE);
        (void)one_next(MESSAGE_PRE_VOTE, 2);
        (void)one_next(MESSAGE_PRE_VOTE, 3);
        one_tell(MAIL_CONNECTED, 3);
        const struct message *again = one_next(MESSAGE_PRE_VOTE, 3);
        ck_assert_uint_eq(again->term, 2);
        struct message yes = {
            .kind = MESSAGE_PRE_VOTE_REPLY, .from = 3, .term = 1, .call = again->call};
        yes.as.vote_reply.granted = true;
        one_hand(yes);
        ck_assert_uint_eq(one_next(MESSAGE_REQUEST_VOTE, 3)->term, 2);
        one_end();
    }
}
END_TEST

/* ---- leading ---- */

START_TEST(leader__answers_what_a_quorum_holds)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        (void)one_lead();
        one_ask(one_command(COMMAND_WRITE, 1, "a"));
        const struct message *append = one_next(MESSAGE_APPEND_ENTRIES, 2);
        ck_assert_uint_eq(append->as.append_request.count, 1);
        ck_assert_str_eq(one_answers, "");
        one_accept(append);
        one_await(one_answers, "1:+done a");
        ck_assert_str_eq(one_applied, "3:a");
        /* A read waits for the answers to a round of its own. */
        one_ask(one_command(COMMAND_READ, 2, "b"));
        append = one_next(MESSAGE_APPEND_ENTRIES, 2);
        ck_assert_uint_eq(append->as.append_request.count, 0);
        ck_assert_str_eq(one_answers, "1:+done a");
        one_accept(append);
        one_await(one_answers, "1:+done a 2:+read b");
        one_end();
    }
}
END_TEST

/* Server `from` forwards so many reads, each in a message of its own. */
static void forward_reads(server_id from, u64 term, u64 first_call, u32 count)
{
    static struct raft sender;
    struct taker taker = {.start = from};
    struct forwarding forwarding;
    raft_of(&sender, 3, from, "1 1");
    sender.current_term = term;
    sender.leader = 1;
    forwarding_init(&forwarding, &taker);
    for (u32 i = 0; i < count; i++) {
        struct command_list again = {0};
        struct forwarding_outcome outcome = {.again = &again};
        struct message message;
        forwarding_put(&forwarding, one_command(COMMAND_READ, 1, "x"));
        ck_assert(forwarding_next(&forwarding, &sender, MIB, 0, &message));
        u64 call = message.call;
        message.call = first_call + i;
        one_hand(message);
        forwarding_unsent(&forwarding, call, &outcome);
        command_list_fail(&again, COMMAND_STOPPING);
    }
    raft_deinit(&sender);
}

/* Server 2 accepts whatever it is sent until a client has heard that. */
static void accept_until_answered(const char *answer)
{
    u64 deadline_ns = clock_monotonic_ns() + ONE_PATIENCE_NS;
    for (bool answered = false; !answered; one_wait(deadline_ns)) {
        const struct message *append = NULL;
        pthread_mutex_lock(&one_lock);
        answered = strstr(one_answers, answer) != NULL;
        while (append == NULL && one_looked < one_sent_count) {
            const struct message *message = &one_sent[one_looked++];
            if (message->kind == MESSAGE_APPEND_ENTRIES && message->to == 2)
                append = message;
        }
        pthread_mutex_unlock(&one_lock);
        if (append != NULL)
            one_accept(append);
    }
}

/* While the way to a server is full its reads wait, in their order, and nobody else's do. */
START_TEST(leader__lets_reads_wait_for_room_for_their_answers)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        u64 term = one_lead();
        one_set_room(2, 0);
        forward_reads(2, term, 100, 3);
        forward_reads(3, term, 200, 1);
        one_ask(one_command(COMMAND_READ, 7, "own"));
        accept_until_answered("7:+read own");
        one_rewind();
        ck_assert_uint_eq(one_next(MESSAGE_FORWARD_REPLY, 3)->call, 200);
        ck_assert_uint_eq(one_count(MESSAGE_FORWARD_REPLY), 1);
        one_set_room(2, 1); /* one answer goes beyond, and the next batch begins behind it */
        one_tell(MAIL_ROOM, 2);
        one_rewind();
        for (u64 call = 100; call < 103; call++)
            ck_assert_uint_eq(one_next(MESSAGE_FORWARD_REPLY, 2)->call, call);
        one_end();
    }
}
END_TEST

/* Who leads no more does not keep them: they may be asked of whoever leads next. */
START_TEST(leader__that_is_deposed_gives_back_reads_without_room)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        u64 term = one_lead();
        one_set_room(2, 0);
        forward_reads(2, term, 100, 2);
        one_ask(one_command(COMMAND_READ, 7, "own"));
        accept_until_answered("7:+read own");
        ck_assert_uint_eq(one_count(MESSAGE_FORWARD_REPLY), 0);
        one_hand((struct message){.kind = MESSAGE_APPEND_ENTRIES, .from = 3, .term = term + 1});
        one_rewind();
        for (int i = 0; i < 2; i++) {
            const struct message *reply = one_next(MESSAGE_FORWARD_REPLY, 2);
            ck_assert_int_eq(reply->as.forward_reply.result, FORWARD_NOT_LEADER);
        }
        one_end();
    }
}
END_TEST

START_TEST(leader__that_is_deposed_does_not_know_the_outcome)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        u64 term = one_lead();
        one_ask(one_command(COMMAND_WRITE, 1, "a"));
        (void)one_next(MESSAGE_APPEND_ENTRIES, 2);
        one_ask(one_command(COMMAND_READ, 2, "b"));
        (void)one_next(MESSAGE_APPEND_ENTRIES, 2);
        one_hand(append_of(3, term + 1, (struct entry_id){term, 2}, "9", 2));
        one_await(one_answers,
                  "1:-TIMEOUT outcome unknown: the command may or may not have been executed");
        /* The read goes to the new leader. */
        const struct message *forward = one_next(MESSAGE_FORWARD, 3);
        ck_assert_uint_eq(forward->as.forward_request.count, 1);
        one_end();
    }
}
END_TEST

START_TEST(leader__that_is_told_to_stop_leaves_nobody_waiting)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        (void)one_lead();
        one_ask(one_command(COMMAND_WRITE, 1, "a"));
        (void)one_next(MESSAGE_APPEND_ENTRIES, 2);
        one_stop();
        ck_assert_int_eq(one_code, ERROR_NONE);
        ck_assert_str_eq(one_answers, "1:-TIMEOUT outcome unknown: the command may or may not "
                                      "have been executed");
        memory_destroy(one_disk);
    }
}
END_TEST

START_TEST(leader__whose_disk_fails_answers_nothing_as_done)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        (void)one_lead();
        memory_fault_after(one_disk, 1, MEMORY_FAIL_ON, ERROR_IO);
        one_ask(one_command(COMMAND_WRITE, 1, "a"));
        one_join();
        ck_assert_int_eq(one_code, ERROR_IO);
        one_end();
        ck_assert_ptr_nonnull(strstr(one_answers, "1:-TIMEOUT"));
    }
}
END_TEST

/* Old entries are read from the disk by a job; what cannot be read now is asked for again. */
START_TEST(leader__feeds_a_peer_from_its_disk)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        one_stop();
        struct server_options options = founded_options(design);
        options.log_memory_bytes_max = 1; /* nothing that is applied stays in memory */
        one_start(&options);
        (void)one_lead();
        for (u64 slot = 1; slot <= 20; slot++) {
            char wanted[ONE_TEXT_MAX] = "";
            one_ask(one_command(COMMAND_WRITE, slot, "a"));
            one_accept(one_next(MESSAGE_APPEND_ENTRIES, 2));
            for (u64 i = 1; i <= slot; i++)
                one_add(wanted, "%s%llu:+done a", i == 1 ? "" : " ", (unsigned long long)i);
            one_await(one_answers, wanted);
        }
        /* Server 3 has answered nothing yet: it lacks all but the configuration. */
        one_rewind();
        const struct message *probe = one_next(MESSAGE_APPEND_ENTRIES, 3);
        struct message refusal = {.kind = MESSAGE_APPEND_ENTRIES_REPLY,
                                  .from = 3,
                                  .term = probe->term,
                                  .call = probe->call};
        refusal.as.append_reply =
            (struct append_reply){.result = APPEND_ACCEPTED, .match_index = 2, .round = 0};
        one_hand(refusal);
        u64 held = 2;
        while (held < 22) {
            const struct message *append = one_next(MESSAGE_APPEND_ENTRIES, 3);
            if (append->as.append_request.prev.index != held)
                continue;
            held += append->as.append_request.count;
            one_accept(append);
        }
        one_end();
    }
}
END_TEST

START_TEST(leader__hands_leadership_over_by_order)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        u64 term = one_lead();
        struct command *order = command_create(COMMAND_TRANSFER, command_order_body(2), &one_sink);
        order->slot = 1;
        one_ask(order);
        ck_assert_uint_eq(one_next(MESSAGE_TIMEOUT_NOW, 2)->term, term);
        /* What comes now is held, and goes to the next leader. */
        one_ask(one_command(COMMAND_WRITE, 2, "late"));
        one_hand(append_of(2, term + 1, (struct entry_id){term, 2}, "9", 2));
        ck_assert_uint_eq(one_next(MESSAGE_FORWARD, 2)->as.forward_request.count, 1);
        one_await(one_answers, "1::2");
        one_end();
    }
}
END_TEST

/* What became of an order is told as a value beside the words. */
START_TEST(leader__that_refuses_an_order_says_why)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        one_order_result = UINT32_MAX;
        (void)one_lead();
        one_tell(MAIL_DISCONNECTED, 2);
        struct command *order = command_create(COMMAND_TRANSFER, command_order_body(2), &one_sink);
        order->slot = 1;
        one_ask(order);
        one_await(one_answers, "1:-ERR the connection from server 2 has ended; nothing changed");
        ck_assert_uint_eq(one_order_result, TRANSFER_GONE);
        one_end();
    }
}
END_TEST

/* ---- dispatch: who leaves the flush to others ---- */

static bool dispatch_has_flushed(struct dispatch *dispatch)
{
    mutex_lock(&dispatch->lock);
    bool flushed = dispatch->unflushed == 0 && !dispatch->flush_left;
    mutex_unlock(&dispatch->lock);
    return flushed;
}

/* A flush was left to a thread that waited for the lock and has gone away, and the timers' thread,
 * which had just seen that one waiting, did not hear of it. */
START_TEST(dispatch__a_flush_left_to_who_has_gone_is_done)
{
    one_begin(DESIGN_DISPATCH);
    struct dispatch *dispatch = dispatch_of(one_server);
    one_ask(one_command(COMMAND_STATUS, 1, "")); /* it runs */
    atomic_fetch_add(&dispatch->waiting, 1);
    mutex_lock(&dispatch->lock);
    dispatch->unflushed = 1;
    dispatch->flush_left = true;
    condition_broadcast(&dispatch->changed);
    mutex_unlock(&dispatch->lock);
    usleep(100 * 1000);
    ck_assert(!dispatch_has_flushed(dispatch));
    atomic_fetch_sub(&dispatch->waiting, 1);
    u64 deadline_ns = clock_monotonic_ns() + 10 * NS_PER_S;
    while (!dispatch_has_flushed(dispatch) && clock_monotonic_ns() < deadline_ns)
        usleep(1000);
    ck_assert(dispatch_has_flushed(dispatch));
    one_end();
}
END_TEST

/* ---- settings ---- */

/* What repeats the server's words while it is busy goes by the same times as the server. */
START_TEST(settings__of_the_timers_reach_the_transport)
{
    static const char *const bodies[] = {"heartbeat\0"
                                         "7\0",
                                         "election-timeout\0"
                                         "90000\0"};
    static const u32 sizes[] = {sizeof("heartbeat") + 2, sizeof("election-timeout") + 6};
    EACH_DESIGN(design)
    {
        one_begin(design);
        char wanted[64];
        for (u32 i = 0; i < ARRAY_LENGTH(bodies); i++) {
            struct block *block = block_create(sizes[i]);
            memcpy(block->data, bodies[i], sizes[i]);
            struct command *command =
                command_create(COMMAND_SETTING, span_of(block, block->data, sizes[i]), &one_sink);
            block_release(block);
            command->slot = i + 1;
            one_ask(command);
            one_await(one_answers, i == 0 ? "1:+OK" : "1:+OK 2:+OK");
        }
        snprintf(wanted, sizeof(wanted), "7/%d ", PULSE_TIMEOUTS * 90000);
        ck_assert_msg(strncmp(one_pulses, "7/", 2) == 0 && strstr(one_pulses, wanted) != NULL, "%s",
                      one_pulses);
        one_end();
    }
}
END_TEST

/* ---- commands elsewhere ---- */

START_TEST(follower__parks_forwards_and_redirects)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        one_ask(one_command(COMMAND_WRITE, 1, "a")); /* no leader is known */
        one_hand(append_of(2, 2, nothing, "", 1));
        const struct message *forward = one_next(MESSAGE_FORWARD, 2);
        ck_assert_uint_eq(forward->as.forward_request.count, 1);
        struct command *command = one_command(COMMAND_WRITE, 2, "b");
        command->may_redirect = true;
        one_ask(command);
        one_await(one_answers, "2:to 2");
        one_end();
        ck_assert_ptr_nonnull(strstr(one_answers, "1:-TIMEOUT"));
    }
}
END_TEST

/* A FORWARD that certainly was not sent has had no effect: its commands wait for the next chance.
 */
START_TEST(follower__tries_again_what_could_not_be_sent)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        one_cannot_forward = true;
        one_hand(append_of(2, 2, nothing, "", 1));
        (void)one_next(MESSAGE_APPEND_ENTRIES_REPLY, 2);
        one_ask(one_command(COMMAND_READ, 1, "a"));
        one_ask(one_command(COMMAND_STATUS, 2, "")); /* when this is answered, that was read */
        u64 deadline_ns = clock_monotonic_ns() + ONE_PATIENCE_NS;
        for (bool there = false; !there;) {
            pthread_mutex_lock(&one_lock);
            there = strncmp(one_answers, "2:", 2) == 0;
            pthread_mutex_unlock(&one_lock);
            if (!there)
                one_wait(deadline_ns);
        }
        pthread_mutex_lock(&one_lock);
        one_cannot_forward = false;
        pthread_mutex_unlock(&one_lock);
        one_hand(append_of(2, 2, nothing, "", 1)); /* the next pile */
        ck_assert_uint_eq(one_next(MESSAGE_FORWARD, 2)->as.forward_request.count, 1);
        one_end();
    }
}
END_TEST

START_TEST(follower__does_not_know_what_became_of_a_lost_forward)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        one_hand(append_of(2, 2, nothing, "", 1));
        one_ask(one_command(COMMAND_WRITE, 1, "a"));
        (void)one_next(MESSAGE_FORWARD, 2);
        one_tell(MAIL_CONNECTED, 2);
        one_await(one_answers,
                  "1:-TIMEOUT outcome unknown: the command may or may not have been executed");
        one_end();
    }
}
END_TEST

/* A machine without snapshots can take none, and none can be loaded into it: it is said to who
 * asks, and to the leader that sends one, and nothing else stops. */
START_TEST(snapshots__that_cannot_be_taken_down_are_lost_and_asked_for_again)
{
    EACH_DESIGN(design)
    {
        one_begin(design);
        one_ask(one_command(COMMAND_SNAPSHOT, 1, ""));
        one_await(one_answers, "1:-ERR no snapshot could be taken, the server's log says why; "
                               "nothing was executed");
        struct message piece = {.kind = MESSAGE_INSTALL_SNAPSHOT, .from = 2, .term = 2, .call = 3};
        struct block *block = block_create(100);
        memset(block->data, 0, 100);
        piece.as.install_request =
            (struct install_request){.last = {2, 9}, .size = 100, .checksum = 5};
        piece.spans[piece.span_count++] = span_of(block, block->data, 100);
        one_hand(piece);
        block_release(block);
        (void)one_next(MESSAGE_INSTALL_SNAPSHOT_REPLY, 2);
        piece.span_count = 0;
        piece.call = 4;
        one_hand(piece); /* how much is there? */
        const struct message *reply = one_next(MESSAGE_INSTALL_SNAPSHOT_REPLY, 2);
        ck_assert_uint_eq(reply->as.install_reply.next_offset, 0);
        one_end();
    }
}
END_TEST

UNIT_MAIN("one_server", entries__are_acknowledged_when_they_are_on_disk,
          entries__that_are_not_on_disk_are_not_acknowledged,
          entries__a_conflict_is_said_and_repaired, votes__are_on_disk_before_they_are_given,
          votes__are_asked_for_again_over_a_new_connection, leader__answers_what_a_quorum_holds,
          leader__lets_reads_wait_for_room_for_their_answers,
          leader__that_is_deposed_gives_back_reads_without_room,
          leader__that_is_deposed_does_not_know_the_outcome,
          leader__that_is_told_to_stop_leaves_nobody_waiting,
          leader__whose_disk_fails_answers_nothing_as_done, leader__feeds_a_peer_from_its_disk,
          leader__hands_leadership_over_by_order, leader__that_refuses_an_order_says_why,
          dispatch__a_flush_left_to_who_has_gone_is_done,
          settings__of_the_timers_reach_the_transport, follower__parks_forwards_and_redirects,
          follower__tries_again_what_could_not_be_sent,
          follower__does_not_know_what_became_of_a_lost_forward,
          snapshots__that_cannot_be_taken_down_are_lost_and_asked_for_again)
