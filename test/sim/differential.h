/* differential.h - the differential oracle: the designs say and do the same, event by event.
 *
 * Three clusters, one of each design, live in worlds of their own, with real storage on simulated
 * disks and their loops unmodified. The oracle holds every message back, and holds the election
 * timers, so that nothing happens to a server but what a *schedule* says: this message arrives,
 * that timer goes off, a client writes. The same schedule is carried out in all worlds.
 *
 * One event at a time: an event is carried out in each world, the world comes to rest (all is
 * synced and sent, no coroutine is ready), and then everything that can be seen from outside, and
 * the Raft state, must be equal: see differential_compare.c.
 *
 * Piles: several events come before the server is let run. Designs rightly batch them differently,
 * and so say different things; what is committed and what clients are answered must still be equal
 * whenever all has been delivered (the event `settle`). Schedules of piles are drawn so that this
 * is determined; see differential_draw.c.
 *
 * Why three whole clusters, and not one server of each design with invented peers: what the servers
 * themselves say to each other makes schedules that mean something, and after each comparison all
 * worlds hold the same messages, so that one schedule fits all.
 *
 * A schedule is a short text, as people write it: "timeout 1; deliver 1 2; deliver 2 1". `;` lets
 * the worlds come to rest, `,` does not. Lines of differential_words.c tell what there is. An event
 * that cannot be (no such message, the server is dead) does nothing, so that any part of a schedule
 * is a schedule.
 *
 * To add a kind of message: nothing is to be done, messages are compared as the bytes on the wire.
 * To add an event: a line in DIFFER_EVENTS, a case in differential_world.c, a weight in
 * differential_draw.c.
 *
 * Thread: one at a time. */
#ifndef MAILRAFT_TEST_SIM_DIFFERENTIAL_H
#define MAILRAFT_TEST_SIM_DIFFERENTIAL_H

#include <stdio.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/types.h"

struct differ_world;

/* X(NAME, word, numbers that follow it, what it does). s: a server; a b: servers, from and to; n: a
 * position among the messages on their way from a to b, 0 the oldest, counted around; k: a key;
 * v: names a value. */
#define DIFFER_EVENTS(X)                                                                     \
    X(TIMEOUT, "timeout", 1, "s: its election timer goes off")                               \
    X(CAMPAIGN, "campaign", 1, "s: an election is ordered")                                  \
    X(HANDOVER, "handover", 2, "a b: a, if it leads, tells b to campaign")                   \
    X(DELIVER, "deliver", 3, "a b n: the message arrives")                                   \
    X(COPY, "copy", 3, "a b n: the message arrives, and stays on its way: a duplicate")      \
    X(DROP, "drop", 3, "a b n: the message is lost")                                         \
    X(FLOW, "flow", 2, "a b: all messages on their way arrive, in order")                    \
    X(SET, "set", 3, "s k v: a client of s writes")                                          \
    X(APPEND, "append", 3, "s k v: the same")                                                \
    X(INCR, "incr", 2, "s k: the same")                                                      \
    X(GET, "get", 2, "s k: a client of s reads")                                             \
    X(GET_AFTER, "get-after", 2, "s k: the same, while a write of that client is under way") \
    X(SET_HERE, "set-here", 3, "s k v: a client of s writes, and wants redirects")           \
    X(GET_HERE, "get-here", 2, "s k: a client of s reads, and wants redirects")              \
    X(TRANSFER, "transfer", 2, "s t: a client of s orders leadership to go to t, 0: to any") \
    X(SNAPSHOT, "snapshot", 1, "s: a client asks it to take a snapshot")                     \
    X(DISCONNECT, "disconnect", 2, "a b: the connection that a has opened to b ends")        \
    X(CONNECT, "connect", 2, "a b: it is made again")                                        \
    X(CRASH, "crash", 1, "s: power loss")                                                    \
    X(KILL, "kill", 1, "s: its process dies, the kernel closes its connections")             \
    X(CRASH_AT, "crash-at", 2, "s n: power loss at its nth write or sync from now")          \
    X(KILL_AT, "kill-at", 2, "s n: its process dies at its nth write or sync from now")      \
    X(STOP, "stop", 1, "s: it is asked to end in good order")                                \
    X(START, "start", 1, "s: it is started again")                                           \
    X(FULL, "full", 1, "s: its disk has no more space")                                      \
    X(FAIL, "fail", 1, "s: syncs of its disk fail")                                          \
    X(ROOM, "room", 1, "s: its disk has space again, and fails no more")                     \
    X(WAIT, "wait", 1, "n: n milliseconds pass, on all servers")                             \
    X(SETTLE, "settle", 0, "all messages arrive, until a leader has nothing more to say")

enum differ_kind {
#define X(name, word, numbers, what) DIFFER_##name,
    DIFFER_EVENTS(X)
#undef X
        DIFFER_KIND_COUNT
};

enum { DIFFER_NUMBERS_MAX = 3, DIFFER_EVENTS_MAX = 4096, DIFFER_WORLDS = 3 };

struct differ_event {
    enum differ_kind kind;
    u32 numbers[DIFFER_NUMBERS_MAX]; /* as many as the kind has; the others are 0 */
    bool joined;                     /* the next event comes before the worlds are let run */
};

struct differ_schedule {
    u32 count;
    struct differ_event events[DIFFER_EVENTS_MAX];
};

/* ---- one schedule ---- */

struct differ_options {
    u32 servers;
    u64 seed;     /* of the worlds, and of the schedule when it is drawn */
    u32 events;   /* to draw; at most DIFFER_EVENTS_MAX; 0: the schedule is played as it is */
    u32 pile_max; /* 1: one event at a time; more: piles of up to so many */
    FILE *story;  /* NULL, or where to tell each event and what came of it */
    /* NULL, or called with each world when it has come to rest after event `at`, before it is
     * compared: what a test of the oracle itself needs. Number 0 is per-state, 1 dispatch, 2 step.
     */
    void (*meddle)(void *context, struct differ_world *world, u32 number, u32 at);
    void *context;
};

enum { DIFFER_TEXT_SIZE = 6144 };

/* Counters are kept up to date while it runs, so that who watches from another process sees them
 * though this one aborts. */
struct differ_result {
    bool agreed;
    bool ended;   /* false: the process died in the middle */
    u32 events;   /* carried out */
    u64 messages; /* that were compared, in one world; likewise the next ones */
    u64 answers;
    u64 elections;               /* won */
    u64 committed;               /* entries */
    u64 reordered;               /* rests after which a design had sent the same in another order */
    char text[DIFFER_TEXT_SIZE]; /* what differs, in lines; "" when all agreed */
};

/* Plays the schedule in all worlds, drawing it first from the seed, event by event, when
 * options->events is not 0; `schedule` then holds what was drawn. Stops at the first difference. */
void differ_run(const struct differ_options *options, struct differ_schedule *schedule,
                struct differ_result *result);

/* ---- as text ---- */

/* Errors: ERROR_CONFIG, saying what is wrong with which event. */
WARN_UNUSED enum error_code differ_parse(const char *text, struct differ_schedule *schedule,
                                         struct error *error);
/* "deliver 1 2 0" */
void differ_event_words(const struct differ_event *event, char *text, size_t size);
/* Prints all of it on one line, as differ_parse reads it. */
void differ_print(const struct differ_schedule *schedule, FILE *to);
/* Lists the events that there are. */
void differ_print_events(FILE *to);

/* ---- many seeds ---- */

struct differ_sweep {
    struct differ_options options; /* seed is set by the sweep */
    u64 seed_first;                /* both inclusive */
    u64 seed_last;
    const char
        *schedule; /* NULL: draw; "help": list the events; else play it, with the first seed */
    bool shrink;
    FILE *to; /* where to tell what differs and the closing line */
};

/* Runs all seeds, each in a child process, until one diverges; that one is shrunk, told, and given
 * with the line that replays it. Returns 0 (all agreed), 1, or 64 (the schedule cannot be read). */
int differ_sweep(const struct differ_sweep *sweep);

#endif
