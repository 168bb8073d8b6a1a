/* differential_draw.c - schedules at random.
 *
 * One event at a time, anything may come: each event is drawn with a weight, among those that mean
 * something now. Weights are such that messages mostly arrive, and so servers get somewhere.
 *
 * In a schedule either disks fill up or snapshots are taken, not both: a snapshot that could not be
 * written is tried again when its server happens to wake up, which is a design's own affair.
 *
 * Piles are drawn in chapters, so that what is committed and answered is determined though batches
 * are not: an election by order, or a server that dies and comes back, while all is settled; then a
 * burst of piles of commands and arrivals, in which nothing is lost; then `settle`. Each server's
 * clients have keys of their own, since who comes first at the leader is open; and what is read in
 * a burst is not written in it. */
#include <string.h>

#include "test/sim/differential_inside.h"

enum {
    KEYS = 4, /* a server */
    PILES_IN_BURST_MAX = 5,
    PILE_MAX = 8
};

void differ_draw_init(struct differ_draw *draw, const struct differ_options *options)
{
    *draw = (struct differ_draw){.options = options};
    rng_init(&draw->rng, options->seed ^ 0x7363686564ULL);
    draw->disks_fill = rng_chance(&draw->rng, 1, 2);
}

static u32 between(struct differ_draw *draw, u32 low, u32 high)
{
    return (u32)rng_range(&draw->rng, low, high);
}

static struct differ_event event_of(enum differ_kind kind, u32 a, u32 b, u32 n)
{
    return (struct differ_event){.kind = kind, .numbers = {a, b, n}};
}

/* ---- what there is to choose from ---- */

/* Bit `id` for each server. */
static cluster_set servers_live(const struct differ_world *world, bool live)
{
    cluster_set set = 0;
    for (server_id id = 1; id <= world->cluster->count; id++)
        set |= cluster_is_live(world->cluster, id) == live ? cluster_set_of(id) : 0;
    return set;
}

static cluster_set disks_ill(const struct differ_world *world)
{
    cluster_set set = 0;
    for (server_id id = 1; id <= world->cluster->count; id++)
        if (world->cluster->servers[id].disk.full || world->cluster->servers[id].disk.sync_fails)
            set |= cluster_set_of(id);
    return set;
}

/* SERVER_NONE from an empty set. */
static server_id pick(struct differ_draw *draw, cluster_set set)
{
    if (set == 0)
        return SERVER_NONE;
    u32 skip = between(draw, 0, cluster_set_count(set) - 1);
    for (; skip > 0; skip--)
        set &= set - 1;
    return (server_id)__builtin_ctzll(set);
}

static bool holds_messages(const struct link *link)
{
    return link->held.count > 0;
}

/* The network does not make a connection that a schedule has ended. */
static bool is_ended(const struct link *link)
{
    return link->connecting && !link->connected;
}

static const struct link *pick_link(struct differ_draw *draw, const struct differ_world *world,
                                    bool (*fits)(const struct link *link))
{
    const struct link *picked = NULL;
    u32 found = 0;
    u32 size = world->cluster->count + 1;
    for (u32 at = 0; at < size * size; at++) {
        const struct link *link = &world->cluster->links[at];
        if (link->from == link->to || link->from == 0 || link->to == 0 || !fits(link))
            continue;
        found++;
        if (rng_chance(&draw->rng, 1, found))
            picked = link;
    }
    return picked;
}

/* ---- one event at a time ---- */

/* Mostly shorter than a heartbeat; now and then long enough for leases, leaders or commands to
 * expire. */
static u32 draw_wait(struct differ_draw *draw)
{
    u32 sort = between(draw, 0, 99);
    return sort < 60   ? between(draw, 1, 49)
           : sort < 85 ? between(draw, 50, 149)
           : sort < 97 ? between(draw, 150, 450)
                       : between(draw, 1000, 2100);
}

static struct differ_event draw_message(struct differ_draw *draw, const struct differ_world *world,
                                        enum differ_kind kind)
{
    const struct link *link = pick_link(draw, world, holds_messages);
    if (link == NULL)
        return event_of(DIFFER_WAIT, draw_wait(draw), 0, 0);
    /* Mostly in order. */
    u32 n = kind == DIFFER_DELIVER && !rng_chance(&draw->rng, 1, 8)
                ? 0
                : between(draw, 0, link->held.count - 1);
    return event_of(kind, link->from, link->to, n);
}

static struct differ_event draw_command(struct differ_draw *draw, const struct differ_world *world)
{
    static const enum differ_kind kinds[] = {
        DIFFER_SET, DIFFER_SET,       DIFFER_SET,      DIFFER_APPEND,   DIFFER_INCR, DIFFER_INCR,
        DIFFER_GET, DIFFER_GET_AFTER, DIFFER_SET_HERE, DIFFER_GET_HERE, DIFFER_GET,
    };
    server_id via = pick(draw, servers_live(world, true));
    /* Half of the clients know the leader. */
    if (cluster_leader(world->cluster) != SERVER_NONE && rng_chance(&draw->rng, 1, 2))
        via = cluster_leader(world->cluster);
    enum differ_kind kind = kinds[between(draw, 0, ARRAY_LENGTH(kinds) - 1)];
    bool has_value = differ_numbers_of(kind) == 3;
    u32 key = between(draw, 1, KEYS);
    return event_of(kind, via, key, has_value ? ++draw->values : 0);
}

/* By order, sometimes at a server that does not lead; or only the last word of it, at any time. */
static struct differ_event draw_handover(struct differ_draw *draw, const struct differ_world *world)
{
    server_id leader = cluster_leader(world->cluster);
    cluster_set others = cluster_all(world->cluster) & ~cluster_set_of(leader);
    server_id to = pick(draw, others);
    if (rng_chance(&draw->rng, 1, 3))
        return event_of(DIFFER_HANDOVER, leader, to, 0);
    server_id via = rng_chance(&draw->rng, 1, 4) ? to : leader;
    return event_of(DIFFER_TRANSFER, via, rng_chance(&draw->rng, 1, 4) ? SERVER_NONE : to, 0);
}

static struct differ_event draw_connection(struct differ_draw *draw,
                                           const struct differ_world *world)
{
    const struct link *ended = pick_link(draw, world, is_ended);
    if (ended != NULL && rng_chance(&draw->rng, 2, 3))
        return event_of(DIFFER_CONNECT, ended->from, ended->to, 0);
    server_id from = pick(draw, cluster_all(world->cluster));
    server_id to = pick(draw, cluster_all(world->cluster) & ~cluster_set_of(from));
    return event_of(DIFFER_DISCONNECT, from, to, 0);
}

static struct differ_event draw_life(struct differ_draw *draw, const struct differ_world *world)
{
    static const enum differ_kind ends[] = {DIFFER_CRASH, DIFFER_KILL, DIFFER_STOP};
    server_id dead = pick(draw, servers_live(world, false));
    if (dead != SERVER_NONE && rng_chance(&draw->rng, 3, 4))
        return event_of(DIFFER_START, dead, 0, 0);
    server_id live = pick(draw, servers_live(world, true));
    /* In the midst of what it writes next, be it now or some events later. */
    if (rng_chance(&draw->rng, 1, 2))
        return event_of(rng_chance(&draw->rng, 1, 2) ? DIFFER_KILL_AT : DIFFER_CRASH_AT, live,
                        between(draw, 1, 12), 0);
    return event_of(ends[between(draw, 0, 2)], live, 0, 0);
}

static struct differ_event draw_disk(struct differ_draw *draw, const struct differ_world *world)
{
    server_id ill = pick(draw, disks_ill(world));
    if (ill != SERVER_NONE)
        return event_of(DIFFER_ROOM, ill, 0, 0);
    enum differ_kind kind = rng_chance(&draw->rng, 1, 3) ? DIFFER_FAIL : DIFFER_FULL;
    return event_of(kind, pick(draw, cluster_all(world->cluster)), 0, 0);
}

static struct differ_event draw_one(struct differ_draw *draw, const struct differ_world *world)
{
    bool led = cluster_leader(world->cluster) != SERVER_NONE;
    u32 sort = between(draw, 0, 999);
    cluster_set live = servers_live(world, true);
    if (sort < 520)
        return draw_message(draw, world, DIFFER_DELIVER);
    if (sort < 555)
        return draw_message(draw, world, DIFFER_COPY);
    if (sort < 590)
        return draw_message(draw, world, DIFFER_DROP);
    if (sort < 790 && live != 0)
        return draw_command(draw, world);
    if (sort < 870)
        return event_of(DIFFER_WAIT, draw_wait(draw), 0, 0);
    if (sort < (led ? 885 : 930) && live != 0)
        return event_of(DIFFER_TIMEOUT, pick(draw, live), 0, 0);
    if (sort < 935 && live != 0)
        return event_of(DIFFER_CAMPAIGN, pick(draw, live), 0, 0);
    if (sort < 950 && led)
        return draw_handover(draw, world);
    if (sort < 965 && live != 0 && !draw->disks_fill)
        return event_of(DIFFER_SNAPSHOT, pick(draw, live), 0, 0);
    if (sort < 980)
        return draw_connection(draw, world);
    if (sort < 991 || live == 0 || !draw->disks_fill)
        return draw_life(draw, world);
    return draw_disk(draw, world);
}

/* ---- piles ---- */

static void queue(struct differ_draw *draw, struct differ_event event)
{
    ASSERT(draw->queue_count < ARRAY_LENGTH(draw->queue));
    draw->queue[draw->queue_count++] = event;
}

static struct differ_event draw_own_command(struct differ_draw *draw, server_id via)
{
    static const enum differ_kind writes[] = {DIFFER_SET, DIFFER_APPEND, DIFFER_APPEND,
                                              DIFFER_INCR};
    u32 key = between(draw, 0, KEYS - 1);
    u32 name = via * 10 + key;
    u64 bit = (u64)1 << ((via - 1) * KEYS + key) % 64;
    bool may_read = (draw->written & bit) == 0;
    bool may_write = (draw->read & bit) == 0;
    if (may_read && (!may_write || rng_chance(&draw->rng, 1, 4))) {
        draw->read |= bit;
        return event_of(DIFFER_GET, via, name, 0);
    }
    enum differ_kind kind = writes[between(draw, 0, ARRAY_LENGTH(writes) - 1)];
    draw->written |= bit;
    return event_of(kind, via, name, kind == DIFFER_INCR ? 0 : ++draw->values);
}

static void draw_pile(struct differ_draw *draw, const struct differ_world *world)
{
    cluster_set all = cluster_all(world->cluster);
    u32 pile_max = draw->options->pile_max < PILE_MAX ? draw->options->pile_max : PILE_MAX;
    u32 count = between(draw, 1, pile_max);
    for (u32 i = 0; i < count; i++) {
        server_id a = pick(draw, all);
        server_id b = pick(draw, all & ~cluster_set_of(a));
        u32 sort = between(draw, 0, 9);
        struct differ_event event = sort < 5   ? draw_own_command(draw, a)
                                    : sort < 9 ? event_of(DIFFER_FLOW, a, b, 0)
                                               : event_of(DIFFER_COPY, a, b, 0);
        event.joined = i + 1 < count;
        queue(draw, event);
    }
}

static void draw_chapter(struct differ_draw *draw, const struct differ_world *world)
{
    cluster_set all = cluster_all(world->cluster);
    server_id leader = cluster_leader(world->cluster);
    server_id dies = pick(draw, all);
    server_id leads = pick(draw, all & ~cluster_set_of(dies));
    draw->queue_first = draw->queue_count = 0;
    draw->written = draw->read = 0;
    /* While all is settled: its answer is the index of its last entry. */
    if (rng_chance(&draw->rng, 1, 4))
        queue(draw, event_of(DIFFER_SNAPSHOT, pick(draw, all), 0, 0));
    bool death = leader != SERVER_NONE && rng_chance(&draw->rng, 1, 4);
    if (death)
        queue(draw,
              event_of(rng_chance(&draw->rng, 1, 2) ? DIFFER_KILL : DIFFER_CRASH, dies, 0, 0));
    bool leaderless = leader == SERVER_NONE || (death && dies == leader);
    if (leaderless || rng_chance(&draw->rng, 1, 3)) {
        bool by_order = !leaderless && rng_chance(&draw->rng, 1, 2);
        queue(draw, by_order ? event_of(DIFFER_TRANSFER, leader, leads, 0)
                             : event_of(DIFFER_CAMPAIGN, leads, 0, 0));
        queue(draw, event_of(DIFFER_SETTLE, 0, 0, 0));
    }
    if (death)
        queue(draw, event_of(DIFFER_START, dies, 0, 0));
    u32 piles = between(draw, 1, PILES_IN_BURST_MAX);
    for (u32 i = 0; i < piles; i++)
        draw_pile(draw, world);
    queue(draw, event_of(DIFFER_SETTLE, 0, 0, 0));
}

struct differ_event differ_draw_next(struct differ_draw *draw, const struct differ_world *world)
{
    if (draw->options->pile_max <= 1)
        return draw_one(draw, world);
    if (draw->queue_count == 0)
        draw_chapter(draw, world);
    struct differ_event event = draw->queue[draw->queue_first++];
    if (draw->queue_first == draw->queue_count)
        draw->queue_first = draw->queue_count = 0;
    return event;
}
