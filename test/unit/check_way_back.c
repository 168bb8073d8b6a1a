/* check_way_back.c - reads of other servers that wait for room on their answers' way. */
#include "server/requests/way_back.h"

#include "test/unit/rules_unit.h"

static struct ways_back ways;
static u64 room_of_server[4];
static u32 asked;

static u64 room(struct transport *transport, server_id to)
{
    (void)transport;
    asked++;
    return room_of_server[to];
}

static const struct transport_ops ops = {.room = room};
static struct transport transport = {&ops};

static void sink_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                        size_t size)
{
    (void)sink, (void)answer, (void)size;
    command_destroy(command);
}

static const struct command_sink_ops sink_ops = {.answer = sink_answer};
static struct command_sink client = {&sink_ops};

static struct command *read_of(server_id taker, u64 slot)
{
    struct block *block = block_create_copy("get", 3);
    struct command *read = command_create(COMMAND_READ, span_of(block, block->data, 3), &client);
    block_release(block);
    read->slot = slot;
    read->forwarded = taker != SERVER_NONE;
    read->taker = taker;
    return read;
}

/* Whether the read is executed at once, with an answer of so many bytes. */
static bool ask(server_id taker, u64 slot, u64 size)
{
    struct command *read = read_of(taker, slot);
    if (!ways_back_open(&ways, &transport, read))
        return false;
    ways_back_answered(&ways, taker, size);
    command_destroy(read);
    return true;
}

/* The slot of the next one that goes on, with an answer of so many bytes; 0: none does. */
static u64 next(u64 size)
{
    struct command *read = ways_back_next(&ways, &transport);
    if (read == NULL)
        return 0;
    u64 slot = read->slot;
    ways_back_answered(&ways, read->taker, size);
    command_destroy(read);
    return slot;
}

static void begin(u64 second, u64 third)
{
    memset(&ways, 0, sizeof(ways));
    asked = 0;
    room_of_server[2] = second;
    room_of_server[3] = third;
    ways_back_begin(&ways);
}

static void end(void)
{
    struct command *read;
    while ((read = ways_back_take(&ways)) != NULL)
        command_destroy(read);
    ck_assert_uint_eq(ways_back_waiting(&ways), 0);
}

START_TEST(ways_back_open__until_there_is_no_room)
{
    begin(10, 100);
    ck_assert(ask(2, 1, 6));
    ck_assert(ask(2, 2, 6)); /* one may go beyond */
    ck_assert(!ask(2, 3, 6));
    ck_assert(!ask(2, 4, 1)); /* behind the one before it, however small */
    ck_assert_uint_eq(ways_back_waiting(&ways), 2);
    ck_assert(ways_back_left(&ways)); /* when these have been sent */
    end();
}
END_TEST

START_TEST(ways_back_open__others_are_not_held_up)
{
    begin(0, 100);
    ck_assert(!ask(2, 1, 6));
    ck_assert(ask(3, 2, 6));
    ck_assert(ask(SERVER_NONE, 3, 6)); /* this server's own */
    ck_assert(!ways_back_left(&ways)); /* nothing but MAIL_ROOM helps */
    end();
}
END_TEST

START_TEST(ways_back_open__asks_once_in_a_batch)
{
    begin(1000, 1000);
    for (u64 slot = 1; slot <= 20; slot++)
        ck_assert(ask(2, slot, 1));
    ck_assert_uint_eq(asked, 1);
    ways_back_begin(&ways);
    ck_assert(ask(2, 21, 1));
    ck_assert_uint_eq(asked, 2);
    end();
}
END_TEST

START_TEST(ways_back_open__a_transport_that_knows_no_bound)
{
    static const struct transport_ops none = {.room = NULL};
    static struct transport unbounded = {&none};
    begin(0, 0);
    struct command *read = read_of(2, 1);
    ck_assert(ways_back_open(&ways, &unbounded, read));
    command_destroy(read);
    end();
}
END_TEST

START_TEST(ways_back_next__in_their_order_when_there_is_room)
{
    begin(0, 0);
    for (u64 slot = 1; slot <= 3; slot++)
        ck_assert(!ask(2, slot, 1));
    ck_assert_uint_eq(next(1), 0);
    room_of_server[2] = 8;
    ck_assert_uint_eq(next(1), 0); /* not in the same batch */
    ways_back_begin(&ways);
    ck_assert(ways_back_left(&ways)); /* it may be asked again */
    ck_assert(!ask(2, 4, 1));         /* there is room, but others have waited for longer */
    ck_assert_uint_eq(next(4), 1);
    ck_assert_uint_eq(next(4), 2);
    ck_assert_uint_eq(next(4), 0);
    ck_assert(ways_back_left(&ways));
    ways_back_begin(&ways);
    ck_assert_uint_eq(next(4), 3);
    ck_assert_uint_eq(next(1), 4);
    ck_assert(!ways_back_left(&ways));
    ck_assert(ask(2, 5, 1)); /* as if nobody had ever waited */
    end();
}
END_TEST

START_TEST(ways_back_next__the_servers_take_turns)
{
    begin(0, 0);
    for (u64 slot = 1; slot <= 2; slot++) {
        ck_assert(!ask(2, slot, 1));
        ck_assert(!ask(3, 10 + slot, 1));
    }
    room_of_server[2] = room_of_server[3] = 100;
    ways_back_begin(&ways);
    u64 first = next(1);
    ways_back_begin(&ways);
    u64 second = next(1);
    ck_assert_uint_eq(first + second, 1 + 11);
    end();
}
END_TEST

UNIT_MAIN("way_back", ways_back_open__until_there_is_no_room,
          ways_back_open__others_are_not_held_up, ways_back_open__asks_once_in_a_batch,
          ways_back_open__a_transport_that_knows_no_bound,
          ways_back_next__in_their_order_when_there_is_room, ways_back_next__the_servers_take_turns)
