/* differential_inside.h - the differential oracle from within, for its own files.
 *
 *   differential.c          one schedule through all worlds
 *   differential_world.c    what an event does in one world
 *   differential_compare.c  what must be equal
 *   differential_draw.c     schedules at random
 *   differential_words.c    schedules and messages as text
 *   differential_sweep.c    many seeds, and the shortest schedule that shows the same
 */
#ifndef MAILRAFT_TEST_SIM_DIFFERENTIAL_INSIDE_H
#define MAILRAFT_TEST_SIM_DIFFERENTIAL_INSIDE_H

#include "test/sim/differential.h"
#include "test/sim/inside.h"

enum {
    DIFFER_LINKS_MAX = (CLUSTER_SERVERS_MAX + 1) * (CLUSTER_SERVERS_MAX + 1),
    DIFFER_ANSWER_SIZE = 48 /* of an answer's text that is shown */
};

/* What a client was told. Commands are numbered in the order in which they are asked. */
struct differ_answer {
    u64 command;
    server_id by;
    bool sent; /* its server has flushed it; until then nobody has heard it */
    u32 size;
    u32 crc;
    char text[DIFFER_ANSWER_SIZE]; /* its beginning, printable, NUL-terminated */
};

/* An entry known to be committed; kept in piles only. */
struct differ_entry {
    u64 term;
    enum entry_type type;
    u32 crc; /* of the payload */
};

/* Server `of` has numbered `other` what it numbered `first` in the first world. */
struct differ_call {
    server_id of;
    u64 first;
    u64 other;
};

struct differ_world;

/* The clients of one server. */
struct differ_sink {
    struct command_sink sink;
    struct differ_world *world;
    server_id server;
};

struct differ_world {
    struct cluster *cluster;
    struct differ_sink sinks[CLUSTER_SERVERS_MAX + 1];
    u64 commands;                  /* asked so far */
    struct differ_answer *answers; /* not yet compared, or not yet sent */
    u32 answer_count;
    u32 answer_capacity;
    u32 known[DIFFER_LINKS_MAX]; /* messages on their way that have been compared, by link */
    struct differ_call *calls;   /* those that have other numbers here, oldest first */
    u32 call_count;
    u32 call_capacity;
    struct differ_entry *entries;
    u64 entry_count;
    u64 entry_capacity;
    bool unsettled; /* settle has not come to its end */
};

struct differ {
    const struct differ_options *options;
    struct differ_result *result;
    struct differ_world worlds[DIFFER_WORLDS];
    size_t text_used; /* of result->text */
};

/* Adds a line to what differs. */
void differ_complain(struct differ *differ, const char *format, ...) PRINTF_LIKE(2, 3);

/* ---- differential_world.c ---- */

void differ_world_init(struct differ_world *world, const struct differ_options *options,
                       enum cluster_design design);
void differ_world_deinit(struct differ_world *world);
/* Carries it out, and does not yet let the servers run (but for `wait` and `settle`). */
void differ_act(struct differ_world *world, const struct differ_event *event);
/* Lets the servers run until nothing is left to be done at this instant. */
void differ_rest(struct differ_world *world);
/* The message on its way, `n` counted around; NULL: there is none. */
const struct frame *differ_frame(const struct differ_world *world, server_id from, server_id to,
                                 u32 n);

/* ---- differential_compare.c ---- */

/* Compares everything, after one event. */
void differ_compare(struct differ *differ);
/* Compares what piles leave equal, after a `settle`. */
void differ_compare_settled(struct differ *differ);
/* What is new in the first world since the last comparison; before differ_compare. */
void differ_tell(struct differ *differ, FILE *to);
/* "leader t2 vote 1 log 5.2 commit 4" */
void differ_server_words(const struct sim_server *server, char *text, size_t size);

/* ---- differential_draw.c ---- */

struct differ_draw {
    struct rng rng;
    const struct differ_options *options;
    bool disks_fill;               /* else snapshots are taken */
    struct differ_event queue[64]; /* piles: what comes next */
    u32 queue_first;
    u32 queue_count;
    u32 values;  /* given out so far */
    u64 written; /* piles: keys written since the last settle, a bit a key and server */
    u64 read;    /* and those read */
};

void differ_draw_init(struct differ_draw *draw, const struct differ_options *options);
/* The next event, after what has happened in this world so far. */
struct differ_event differ_draw_next(struct differ_draw *draw, const struct differ_world *world);

/* ---- differential_words.c ---- */

u32 differ_numbers_of(enum differ_kind kind);
/* "append t2 call 7 after 3.1 +2 commit 3" */
void differ_message_words(const struct frame *frame, char *text, size_t size);

#endif
