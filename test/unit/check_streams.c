/* check_streams.c - one server's stream of writes to the leader: what the leader takes, and, with
 * taker and leader together over a network that does what it likes, that nothing is appended twice
 * or behind what was sent later. */
#include "server/rules/streams.h"

#include "common/rng.h"
#include "server/requests/forward.h"
#include "test/unit/rules_unit.h"

/* ---- what a leader takes ---- */

enum { TERM = 3 };

static struct streams streams;

static struct message forward_of(u64 attempt, u64 first, u32 count, u64 previous)
{
    struct message request = {.kind = MESSAGE_FORWARD, .from = 2, .to = 1, .term = TERM};
    request.as.forward_request = (struct forward_request){.start = 5,
                                                          .serial = 1,
                                                          .count = count,
                                                          .attempt = attempt,
                                                          .first_write = first,
                                                          .previous_write = previous};
    return request;
}

static enum stream_verdict takes(u64 attempt, u64 first, u32 count, u64 previous)
{
    struct message request = forward_of(attempt, first, count, previous);
    return streams_take(&streams, &request, false);
}

static enum stream_verdict takes_when_closed(u64 attempt, u64 first, u32 count, u64 previous)
{
    struct message request = forward_of(attempt, first, count, previous);
    return streams_take(&streams, &request, true);
}

static u64 refused_from(u64 attempt, u64 first, u32 count, u64 previous)
{
    struct message request = forward_of(attempt, first, count, previous);
    return streams_refused_from(&streams, &request);
}

START_TEST(streams_take__serials_rise)
{
    streams_begin(&streams, TERM);
    ck_assert_int_eq(takes(1, 4, 3, 0), STREAM_TAKEN);
    ck_assert_int_eq(takes(1, 7, 1, 6), STREAM_TAKEN);
    ck_assert_int_eq(takes(1, 4, 3, 0), STREAM_KNOWN); /* it comes twice */
    ck_assert_int_eq(takes(1, 7, 1, 6), STREAM_KNOWN);
    ck_assert_int_eq(takes(1, 10, 1, 7), STREAM_TAKEN); /* 8 and 9 were not sent here */
}
END_TEST

START_TEST(streams_take__behind_a_gap_until_it_begins_again)
{
    streams_begin(&streams, TERM);
    ck_assert_int_eq(takes(1, 1, 2, 0), STREAM_TAKEN);
    /* 3 is lost. */
    ck_assert_int_eq(takes(1, 4, 1, 3), STREAM_REFUSED);
    ck_assert_uint_eq(refused_from(1, 4, 1, 3), 3);
    ck_assert_int_eq(takes(1, 3, 1, 2), STREAM_REFUSED); /* it comes after all: too late */
    ck_assert_int_eq(takes(1, 5, 1, 4), STREAM_REFUSED);
    ck_assert_int_eq(takes(2, 3, 3, 2), STREAM_TAKEN);
    ck_assert_int_eq(takes(1, 4, 1, 3), STREAM_KNOWN);
    ck_assert_int_eq(takes(1, 6, 1, 5), STREAM_REFUSED); /* of the attempt before */
}
END_TEST

START_TEST(streams_take__what_is_refused_while_another_is_about_to_lead)
{
    streams_begin(&streams, TERM);
    ck_assert_int_eq(takes(1, 1, 1, 0), STREAM_TAKEN);
    ck_assert_int_eq(takes_when_closed(1, 2, 1, 1), STREAM_REFUSED);
    ck_assert_uint_eq(refused_from(1, 2, 1, 1), 2);
    /* The other did not take over: the one behind it is refused all the same. */
    ck_assert_int_eq(takes(1, 3, 1, 2), STREAM_REFUSED);
    ck_assert_uint_eq(refused_from(1, 3, 1, 2), 2);
    ck_assert_int_eq(takes(2, 2, 2, 1), STREAM_TAKEN);
}
END_TEST

START_TEST(streams_take__a_new_attempt_that_counts_on_what_was_given_back)
{
    streams_begin(&streams, TERM);
    ck_assert_int_eq(takes(1, 1, 4, 0), STREAM_TAKEN);
    streams_give_back(&streams, 2, 3);
    streams_give_back(&streams, 2, 4);
    ck_assert_int_eq(takes(2, 5, 1, 4), STREAM_REFUSED); /* it has not heard of it */
    ck_assert_uint_eq(refused_from(2, 5, 1, 4), 3);
    ck_assert_int_eq(takes(3, 3, 3, 2), STREAM_TAKEN);
    ck_assert_int_eq(takes(4, 9, 1, 0), STREAM_TAKEN); /* 6 to 8 were given up */
}
END_TEST

START_TEST(streams_take__reads_behind_a_write)
{
    streams_begin(&streams, TERM);
    ck_assert_int_eq(takes(1, 0, 1, 0), STREAM_TAKEN);
    ck_assert_int_eq(takes(1, 1, 2, 0), STREAM_TAKEN);
    ck_assert_int_eq(takes(1, 0, 1, 2), STREAM_TAKEN);
    ck_assert_int_eq(takes(1, 0, 1, 2), STREAM_TAKEN); /* twice does no harm */
    ck_assert_int_eq(takes(1, 0, 1, 3), STREAM_REFUSED);
    ck_assert_uint_eq(refused_from(1, 0, 1, 3), 3);
    ck_assert_int_eq(takes(1, 3, 1, 2), STREAM_REFUSED); /* or it would not be true any more */
    ck_assert_int_eq(takes(1, 0, 1, 0), STREAM_TAKEN);
    ck_assert_int_eq(takes_when_closed(1, 0, 1, 0), STREAM_REFUSED);
    ck_assert_uint_eq(refused_from(1, 0, 1, 0), 0); /* which says nothing of writes */
}
END_TEST

START_TEST(streams_take__another_start_and_another_directory)
{
    streams_begin(&streams, TERM);
    ck_assert_int_eq(takes(3, 8, 1, 0), STREAM_TAKEN);
    struct message request = forward_of(1, 1, 1, 0);
    request.as.forward_request.start = 6;
    ck_assert_int_eq(streams_take(&streams, &request, false), STREAM_TAKEN);
    ck_assert_int_eq(takes(4, 9, 1, 0), STREAM_KNOWN); /* of the life before */
    streams_forget(&streams, 2);
    ck_assert_int_eq(takes(1, 1, 1, 0), STREAM_TAKEN);
    request.from = 3; /* streams are apart */
    ck_assert_int_eq(streams_take(&streams, &request, false), STREAM_TAKEN);
}
END_TEST

START_TEST(streams_take__of_a_build_that_numbers_no_attempts)
{
    streams_begin(&streams, TERM);
    struct message request = forward_of(0, 0, 1, 0);
    ck_assert_int_eq(streams_take(&streams, &request, false), STREAM_TAKEN);
    ck_assert_int_eq(streams_take(&streams, &request, false), STREAM_KNOWN);
    ck_assert(streams_know(&streams, &request));
    request.as.forward_request.serial = 2;
    ck_assert(!streams_know(&streams, &request));
    ck_assert_int_eq(streams_take(&streams, &request, true), STREAM_REFUSED);
    ck_assert_uint_eq(streams_refused_from(&streams, &request), 0);
}
END_TEST

START_TEST(streams_know__of_the_leadership_that_is_over)
{
    streams_begin(&streams, TERM);
    ck_assert_int_eq(takes(1, 1, 2, 0), STREAM_TAKEN);
    struct message request = forward_of(1, 1, 2, 0);
    ck_assert(streams_know(&streams, &request));
    request.as.forward_request.first_write = 3;
    ck_assert(!streams_know(&streams, &request));
    ck_assert_uint_eq(streams_refused_from(&streams, &request), 3);
    /* Of a term in which it did not lead it knows nothing, and claims nothing. */
    request = forward_of(1, 1, 2, 0);
    request.term = TERM + 1;
    ck_assert(!streams_know(&streams, &request));
    request.as.forward_request.first_write = 9;
    ck_assert_uint_eq(streams_refused_from(&streams, &request), 9);
    request.as.forward_request.first_write = 0;
    ck_assert_uint_eq(streams_refused_from(&streams, &request), 0);
}
END_TEST

/* ---- taker and leader, and whatever may happen between them ---- */

enum { WRITES = 120, WIRE_MAX = 4096, LOG_MAX = 4 * WRITES };

enum fate { OPEN, ANSWERED, GIVEN_UP };

struct game {
    struct rng rng;
    bool orderly; /* the network neither loses, doubles nor overtakes */
    struct raft follower;
    struct raft leader;
    struct outbox outbox;
    struct taker taker;
    struct forwarding forwarding;
    struct command_list parked;
    struct message wire[2][WIRE_MAX]; /* to the leader, and back */
    u32 wire_count[2];
    bool closed;
    struct command_list held;
    struct command_list appended; /* and not answered */
    u64 log[LOG_MAX];             /* slots of the writes, as they were appended */
    u32 log_count;
    enum fate fates[WRITES + 1]; /* by slot */
    u64 newest_seen;             /* by a read, of what was appended */
};

static struct game game;
static struct command_sink nobody;

static void game_answer(void *context, struct command *command, const u8 *answer, size_t size)
{
    (void)context;
    (void)answer;
    (void)size;
    if (command->class == COMMAND_WRITE)
        game.fates[command->slot] = ANSWERED;
    command_destroy(command);
}

static void game_fail(void *context, struct command *command, enum command_failure failure)
{
    (void)context;
    if (command->class == COMMAND_WRITE) {
        ck_assert_int_eq(failure, COMMAND_UNKNOWN_OUTCOME);
        game.fates[command->slot] = GIVEN_UP;
    }
    command_destroy(command);
}

static const struct forwarding_outcome game_outcome = {game_answer, game_fail, NULL, &game.parked};

static bool chance(u64 percent)
{
    return rng_chance(&game.rng, percent, 100);
}

/* A message gets under way, perhaps twice or not at all. */
static void put_on_wire(u32 direction, struct message *message)
{
    u32 copies = 1;
    if (!game.orderly && chance(8))
        copies = 0;
    else if (!game.orderly && chance(8))
        copies = 2;
    for (u32 i = 0; i < copies; i++) {
        ck_assert_uint_lt(game.wire_count[direction], WIRE_MAX);
        struct message *copy = &game.wire[direction][game.wire_count[direction]++];
        *copy = *message;
        for (u32 s = 0; s < message->span_count; s++)
            copy->spans[s] =
                span_of(message->spans[s].block, message->spans[s].data, message->spans[s].size);
    }
    message_release(message);
}

/* The oldest message of that direction, or any. */
static bool take_off_wire(u32 direction, struct message *message)
{
    u32 count = game.wire_count[direction];
    if (count == 0)
        return false;
    u32 at = !game.orderly && chance(25) ? (u32)rng_range(&game.rng, 0, count - 1) : 0;
    *message = game.wire[direction][at];
    memmove(&game.wire[direction][at], &game.wire[direction][at + 1],
            (count - at - 1) * sizeof(*message));
    game.wire_count[direction]--;
    return true;
}

static bool leader_sends(struct transport *transport, struct message *message)
{
    (void)transport;
    put_on_wire(1, message);
    return true;
}

static void leader_speaks(void)
{
    static const struct transport_ops ops = {.send = leader_sends};
    static struct transport transport = {&ops};
    outbox_send_all(&game.outbox, &transport);
}

/* ---- the leader's part ---- */

static void append(struct command *command)
{
    game.log[game.log_count++] = load_u64(command->body.data);
    command_list_put(&game.appended, command);
}

static void leader_takes(struct command *command)
{
    if (command->class == COMMAND_READ) {
        /* It must see the write that it names: all before it are in the log, or never will be. */
        command_answer(command, (const u8 *)"+r", 2);
        return;
    }
    if (game.held.first != NULL || game.closed)
        command_list_put(&game.held, command);
    else if (chance(5))
        command_fail(command, COMMAND_BUSY);
    else if (chance(5))
        command_list_put(&game.held, command);
    else
        append(command);
}

static void leader_hears(void)
{
    struct message request;
    struct command_list commands = {0};
    if (!take_off_wire(0, &request))
        return;
    ck_assert(forward_is_sound(&request));
    enum stream_verdict verdict = streams_take(&game.leader.streams, &request, game.closed);
    if (verdict == STREAM_REFUSED) {
        struct message refusal;
        raft_refuse(&game.leader, &request, &refusal);
        outbox_put(&game.outbox, &refusal);
    } else if (verdict == STREAM_TAKEN) {
        ck_assert(forward_unpack(&game.leader, &request, 0, 1000, &game.outbox, &commands));
        for (struct command *command; (command = command_list_take(&commands)) != NULL;)
            leader_takes(command);
    }
    message_release(&request);
}

/* What is held is given back, when somebody else is about to lead, or appended. */
static void leader_moves(void)
{
    struct command *command;
    if (game.closed && chance(50)) {
        game.closed = false;
    } else if (chance(10)) {
        game.closed = true;
        while ((command = command_list_take(&game.held)) != NULL) {
            streams_give_back(&game.leader.streams, command->taker, command->serial);
            command_give_back(command);
        }
    } else if (!game.closed) {
        while ((command = command_list_take(&game.held)) != NULL)
            append(command);
    }
    u64 answers = rng_range(&game.rng, 0, 4);
    while (answers-- > 0 && (command = command_list_take(&game.appended)) != NULL)
        command_answer(command, (const u8 *)"+w", 2);
}

/* ---- the taker's part ---- */

static void client_sends(enum command_class class, u64 *write_serial)
{
    struct block *block = block_create(8);
    *write_serial += class == COMMAND_WRITE;
    store_u64(block->data, *write_serial);
    struct command *command =
        command_create(class, span_of(block, block->data, block->size), &nobody);
    block_release(block);
    command->slot = *write_serial;
    command->serial = *write_serial;
    command->after_write = class == COMMAND_READ;
    forwarding_put(&game.forwarding, command);
}

static void taker_speaks(u64 now_ns)
{
    struct command *command;
    struct command_list waiting = game.parked;
    struct message message;
    game.parked = (struct command_list){0};
    forwarding_take_back(&game.forwarding, &waiting);
    while ((command = command_list_take(&waiting)) != NULL)
        forwarding_put(&game.forwarding, command);
    while (forwarding_next(&game.forwarding, &game.follower, rng_range(&game.rng, 1, 80),
                           now_ns + (game.orderly ? 5000 : 60), &message)) {
        if (chance(10)) { /* the queue is full */
            forwarding_unsent(&game.forwarding, message.call, &game_outcome);
            message_release(&message);
        } else {
            put_on_wire(0, &message);
        }
    }
}

static void taker_hears(void)
{
    struct message reply;
    if (!take_off_wire(1, &reply))
        return;
    (void)forwarding_replied(&game.forwarding, &reply, &game_outcome);
    message_release(&reply);
}

/* ---- what must hold ---- */

static void judge(u64 seed)
{
    for (u32 i = 1; i < game.log_count; i++)
        ck_assert_msg(game.log[i] > game.log[i - 1], "seed %u: write %u behind write %u",
                      (unsigned)seed, (unsigned)game.log[i], (unsigned)game.log[i - 1]);
}

static void play(u64 seed, bool orderly)
{
    memset(&game, 0, sizeof(game));
    rng_init(&game.rng, seed);
    game.orderly = orderly;
    raft_of(&game.follower, 3, 2, "1 1");
    raft_of(&game.leader, 3, 1, "1 1");
    game.follower.leader = 1;
    game.leader.leader = 1;
    streams_begin(&game.leader.streams, game.leader.current_term);
    game.taker.start = 1;
    outbox_init(&game.outbox);
    forwarding_init(&game.forwarding, &game.taker);
    u64 write_serial = 0;
    for (u64 now_ns = 1; now_ns < 4000; now_ns++) {
        u64 sent = now_ns < 1000 ? rng_range(&game.rng, 0, 2) : 0;
        while (sent-- > 0 && write_serial < WRITES)
            client_sends(chance(70) ? COMMAND_WRITE : COMMAND_READ, &write_serial);
        forwarding_expire(&game.forwarding, now_ns, &game_outcome);
        if (!orderly && chance(1))
            forwarding_lost(&game.forwarding, &game_outcome);
        if (chance(60))
            taker_speaks(now_ns);
        leader_hears();
        leader_moves();
        leader_speaks();
        taker_hears();
    }
    judge(seed);
    ck_assert_uint_eq(write_serial, WRITES);
    ck_assert_ptr_null(game.parked.first);
    for (u64 slot = 1; slot <= WRITES; slot++)
        ck_assert_msg(game.fates[slot] != OPEN, "seed %u: write %u", (unsigned)seed,
                      (unsigned)slot);
}

static void end_play(void)
{
    struct command *command;
    struct message message;
    game.orderly = true;
    while ((command = command_list_take(&game.held)) != NULL)
        command_fail(command, COMMAND_STOPPING);
    while ((command = command_list_take(&game.appended)) != NULL)
        command_fail(command, COMMAND_STOPPING);
    leader_speaks();
    forwarding_lost(&game.forwarding, &game_outcome);
    while ((command = command_list_take(&game.parked)) != NULL)
        command_destroy(command);
    for (u32 direction = 0; direction < 2; direction++)
        while (take_off_wire(direction, &message))
            message_release(&message);
    outbox_deinit(&game.outbox);
    raft_deinit(&game.follower);
    raft_deinit(&game.leader);
}

START_TEST(stream__whatever_happens_writes_are_appended_once_and_in_order)
{
    for (u64 seed = 1; seed <= 400; seed++) {
        play(seed, false);
        end_play();
    }
}
END_TEST

START_TEST(stream__where_nothing_is_lost_nothing_is_given_up)
{
    for (u64 seed = 1; seed <= 200; seed++) {
        play(seed, true);
        for (u64 slot = 1; slot <= WRITES; slot++)
            ck_assert_msg(game.fates[slot] == ANSWERED, "seed %u: write %u", (unsigned)seed,
                          (unsigned)slot);
        end_play();
    }
}
END_TEST

UNIT_MAIN("streams", streams_take__serials_rise, streams_take__behind_a_gap_until_it_begins_again,
          streams_take__what_is_refused_while_another_is_about_to_lead,
          streams_take__a_new_attempt_that_counts_on_what_was_given_back,
          streams_take__reads_behind_a_write, streams_take__another_start_and_another_directory,
          streams_take__of_a_build_that_numbers_no_attempts,
          streams_know__of_the_leadership_that_is_over,
          stream__whatever_happens_writes_are_appended_once_and_in_order,
          stream__where_nothing_is_lost_nothing_is_given_up)
