/* check_connection.c - a connection between its two threads, step by step: the server thread
 * answers and sends, the port takes commands, sends what is left, and waits. Each order of the
 * steps may happen; here a generator chooses, and one thread takes them all. Whatever the order,
 * answers leave in the order of the commands, and a port that waits is called when it may go on. */
#include "server/clients/connection.h"

#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/rng.h"
#include "test/unit/unit.h"

enum { COMMANDS = 60, UNDER_WAY_MAX = COMMANDS, OUTPUT_MAX = 3000 };

/* What is under way, and what both threads know. */
static struct {
    struct connection *connection;
    struct connection_bounds bounds;
    struct rng rng;
    int client;
    struct {
        u64 number;
        enum command_class class;
        u32 tag;
    } under_way[UNDER_WAY_MAX]; /* commands at the server, in any order */
    u32 under_way_count;
    u32 taken;   /* commands that the port has taken; their tags are 0, 1, ... */
    u32 arrived; /* answers that the client has read */
    bool dirty;  /* the server thread has it in its list of those to be sent to */
    bool handed; /* it is in the port's list */
    bool writes; /* the port watches for room in the socket */
    bool waits;  /* the port has input that it may not take yet */
    enum connection_take wanted;
    u8 partial[64 * 1024 + 1]; /* always ended by a 0 */
    size_t partial_size;
} now;

static void note(u32 notice)
{
    /* Each holds a reference, and is given once until it is taken up. */
    ck_assert(!(notice & NOTICE_DIRTY) || !now.dirty);
    ck_assert(!(notice & NOTICE_PORT) || !now.handed);
    now.dirty = now.dirty || (notice & NOTICE_DIRTY) != 0;
    now.handed = now.handed || (notice & NOTICE_PORT) != 0;
}

/* ---- the client ---- */

static u32 size_of(u32 tag)
{
    return 20 + (tag * 2654435761u >> 16) % 1000; /* no larger: those are never refused */
}

/* Reads up to so many bytes; each answer is "+", its tag, and filler. */
static void client_reads(size_t bytes_max)
{
    ssize_t got =
        recv(now.client, now.partial + now.partial_size,
             u64_min(bytes_max, sizeof(now.partial) - 1 - now.partial_size), MSG_DONTWAIT);
    if (got > 0)
        now.partial_size += (size_t)got;
    size_t at = 0;
    while (now.partial_size - at >= size_of(now.arrived) && now.arrived < now.taken) {
        unsigned tag;
        ck_assert_int_eq(sscanf((const char *)now.partial + at, "+%6u", &tag), 1);
        ck_assert_uint_eq(tag, now.arrived);
        at += size_of(now.arrived);
        ck_assert_uint_eq(now.partial[at - 1], '\n');
        now.arrived++;
    }
    memmove(now.partial, now.partial + at, now.partial_size - at);
    now.partial_size -= at;
}

/* ---- the server thread ---- */

static void server_answers(void)
{
    if (now.under_way_count == 0)
        return;
    u32 at = (u32)rng_range(&now.rng, 0, now.under_way_count - 1);
    u64 number = now.under_way[at].number;
    enum command_class class = now.under_way[at].class;
    u32 tag = now.under_way[at].tag;
    now.under_way[at] = now.under_way[--now.under_way_count];
    u8 answer[2048];
    u32 size = size_of(tag);
    memset(answer, '.', size);
    (void)snprintf((char *)answer, 8, "+%06u", tag);
    answer[7] = '.';
    memcpy(answer + size - 2, "\r\n", 2);
    note(connection_answer_place(now.connection, number, class, answer, size));
}

static void server_sends(void)
{
    u64 sent = 0;
    if (!now.dirty)
        return;
    now.dirty = false;
    note(connection_flush(now.connection, &sent));
    connection_release(now.connection);
}

/* ---- the port ---- */

static u64 give_place(enum command_class class)
{
    static struct command_sink nobody;
    struct command *command = command_create(class, (struct span){0}, &nobody);
    u64 number = connection_give_place(now.connection, command, SHAPE_NONE, 0);
    command_destroy(command);
    return number;
}

static void port_takes(void)
{
    static const enum connection_take takes[] = {TAKE_READ, TAKE_READ, TAKE_WRITE, TAKE_WRITE};
    if (now.waits || now.taken == COMMANDS)
        return;
    now.wanted = takes[rng_range(&now.rng, 0, ARRAY_LENGTH(takes) - 1)];
    if (!connection_may_take(now.connection, now.wanted)) {
        now.waits = true;
        return;
    }
    enum command_class class = now.wanted == TAKE_READ ? COMMAND_READ : COMMAND_WRITE;
    now.under_way[now.under_way_count].number = give_place(class);
    now.under_way[now.under_way_count].class = class;
    now.under_way[now.under_way_count++].tag = now.taken++;
}

static void port_sends(void)
{
    u64 sent = 0;
    enum connection_sent result = connection_flush_port(now.connection, &sent);
    ck_assert_int_ne(result, SENT_NOT_MORE);
    now.writes = result == SENT_PARTLY;
    if (now.waits && connection_may_go_on(now.connection))
        now.waits = false;
}

/* As port.c does: first it says that it has it, and then it looks. */
static void port_serves(void)
{
    if (!now.handed)
        return;
    now.handed = false;
    connection_note_taken(now.connection);
    port_sends();
    connection_release(now.connection);
}

/* epoll has said that there is room. */
static void port_has_room(void)
{
    if (now.writes)
        port_sends();
}

/* ---- all orders ---- */

static void begin(u64 seed)
{
    int ends[2];
    int small = 2048;
    memset(&now, 0, sizeof(now));
    now.bounds.output_max = OUTPUT_MAX;
    now.bounds.memory_max = MIB;
    atomic_store(&now.bounds.connections, 1);
    rng_init(&now.rng, seed);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_int_eq(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
    now.client = ends[1];
    now.connection = connection_create(ends[0], 1, 0, &now.bounds);
    connection_set_protocol(now.connection, 3);
}

/* Whether anything is left that somebody would do without being called by someone else. */
static bool goes_on(void)
{
    bool any = now.under_way_count > 0 || now.dirty || now.handed || now.writes;
    return any || (!now.waits && now.taken < COMMANDS) || now.arrived < now.taken;
}

static void end(void)
{
    connection_close(now.connection);
    connection_release(now.connection);
    ck_assert_int_eq(close(now.client), 0);
}

static void step(u32 which)
{
    switch (which) {
    case 0:
        port_takes();
        return;
    case 1:
        server_answers();
        return;
    case 2:
        server_sends();
        return;
    case 3:
        port_serves();
        return;
    case 4:
        port_has_room();
        return;
    default:
        client_reads(rng_range(&now.rng, 1, 4000));
        return;
    }
}

START_TEST(connection__nobody_waits_for_nothing_whatever_the_order)
{
    u64 waits = 0, parts = 0;
    for (u64 seed = 1; seed <= 1000; seed++) {
        begin(seed);
        /* Some runs have a slow client, a slow port, a slow server. */
        u32 slow = (u32)rng_range(&now.rng, 0, 5);
        for (u32 steps = 0; goes_on(); steps++) {
            u32 which = (u32)rng_range(&now.rng, 0, 5);
            if (which == slow && !rng_chance(&now.rng, 1, 8))
                continue;
            step(which);
            waits += now.waits;
            parts += now.writes;
            ck_assert_msg(steps < 200000, "seed %d: %u taken, %u arrived", (int)seed, now.taken,
                          now.arrived);
        }
        ck_assert_msg(now.taken == COMMANDS, "seed %d: after %u commands the port waits for ever",
                      (int)seed, now.taken);
        ck_assert_uint_eq(now.arrived, COMMANDS);
        end();
    }
    ck_assert_uint_gt(waits, 1000);
    ck_assert_uint_gt(parts, 1000);
}
END_TEST

/* The order that matters for the port: what comes while it looks must call it again. */
START_TEST(connection__an_answer_while_the_port_looks_calls_it_again)
{
    begin(1);
    u64 read = give_place(COMMAND_READ);
    ck_assert(!connection_may_take(now.connection, TAKE_WRITE));
    u32 notice =
        connection_answer_place(now.connection, read, COMMAND_READ, (const u8 *)"+a\r\n", 4);
    ck_assert_uint_eq(notice, NOTICE_PORT | NOTICE_DIRTY);
    connection_note_taken(now.connection);
    ck_assert(connection_may_go_on(now.connection));
    read = give_place(COMMAND_READ);
    ck_assert(!connection_may_take(now.connection, TAKE_WRITE));
    notice = connection_answer_place(now.connection, read, COMMAND_READ, (const u8 *)"+b\r\n", 4);
    ck_assert_uint_eq(notice, NOTICE_PORT); /* it is dirty still */
    for (int i = 0; i < 3; i++)
        connection_release(now.connection); /* of the lists */
    end();
}
END_TEST

UNIT_MAIN("connection", connection__nobody_waits_for_nothing_whatever_the_order,
          connection__an_answer_while_the_port_looks_calls_it_again)
