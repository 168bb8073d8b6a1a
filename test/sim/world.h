/* world.h - virtual time, and who runs in it.
 *
 * A world is a queue of events in virtual time and a set of coroutines, which stand for threads. A
 * *step* is either one coroutine that runs until it waits, or one event. Steps take no time; time
 * passes between them. Each coroutine belongs to a *process*, one life of one server, which can be
 * paused, and which can end at any moment without unwinding: its coroutines are dropped and its
 * memory is freed.
 *
 * The seams of common/ (sync.h, clock.h, memory.h) are implemented here in terms of the *current*
 * process, in sync.c, clock.c and memory.c. Code of the simulator that is called by a server (its
 * disk, its network, its clients) runs as that server's coroutine and must not use memory_alloc for
 * what is to outlive the server: it uses sim_alloc, or process_enter.
 *
 * Nothing here depends on addresses, on the real clock, or on anything but the calls made.
 *
 * Thread: each world belongs to one operating system thread, which has one world at a time. */
#ifndef MAILRAFT_TEST_SIM_WORLD_H
#define MAILRAFT_TEST_SIM_WORLD_H

#include "common/check.h"
#include "common/rng.h"
#include "common/types.h"
#include "test/sim/fiber.h"

#define TIME_NEVER UINT64_MAX

/* ---- memory of the simulator itself: never charged to a server, never NULL ---- */

void *sim_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *sim_alloc_zero(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *sim_resize(void *pointer, size_t size) __attribute__((returns_nonnull));
void sim_free(void *pointer);

/* ---- clocks ---- */

/* A server's clocks: they outlive its processes. */
struct sim_clock {
    u64 true_ns;  /* world time at which the rate was last set */
    u64 local_ns; /* what the monotonic clock showed then */
    u32 rate_ppm; /* 1000000: as fast as the world's; never 0 */
    i64 wall_offset_ns;
};

enum { CLOCK_RATE_TRUE = 1000000 };

void sim_clock_init(struct sim_clock *clock);
/* What it shows at that world time, not before the rate was set. */
u64 sim_clock_local_ns(const struct sim_clock *clock, u64 true_ns);
/* The first world time at which it shows at least `local_ns`; TIME_NEVER stays TIME_NEVER. */
u64 sim_clock_true_ns(const struct sim_clock *clock, u64 local_ns);

/* ---- processes ---- */

struct memory_link {
    struct memory_link *next;
    struct memory_link *previous;
};

/* What a process may run out of. */
enum resource {
    RESOURCE_MEMORY,      /* it ends when there is no more */
    RESOURCE_THREADS,     /* one cannot be made */
    RESOURCE_DESCRIPTORS, /* nothing can be opened */
    RESOURCE_COUNT
};

struct shortage {
    u64 nth;    /* use from now on that finds nothing left, 1: the next; 0: there is enough */
    bool lasts; /* nor does any use after it */
    bool came;  /* some use found nothing */
};

struct process {
    struct world *world;
    struct shortage *shortages; /* by enum resource; borrowed; NULL: it never runs out */
    server_id server;           /* 0: the world itself */
    struct sim_clock *clock;
    struct memory_link memory;    /* head of a ring: everything it has allocated */
    u64 memory_count;             /* allocations alive */
    struct coroutine *coroutines; /* alive, newest first */
    struct coroutine *held_first; /* ready, but it is paused */
    struct coroutine *held_last;
    bool paused;
    bool doomed; /* ends as soon as the step is over */
};

/* A process with no coroutine yet. Ownership: process_end, or process_destroy. */
struct process *process_create(struct world *world, server_id server, struct sim_clock *clock);
/* Ends it at once, or, when one of its coroutines is running, at the end of this step, which that
 * coroutine does not survive: then this does not return. `ended` of the world is called. */
void process_end(struct process *process);
/* Frees a process all of whose coroutines have ended of themselves. Returns the number of
 * allocations that it had not given back. */
u64 process_destroy(struct process *process);
/* While paused its coroutines do not run, and its clock goes on. */
void process_pause(struct process *process, bool paused);

/* Counts one use by the coroutine that runs; returns whether there was nothing left for it. What
 * the world itself does in a process's name does not count. */
bool process_lacks(enum resource resource);

/* What follows is done in the name of `process` (memory, clock); NULL: of the world itself. Returns
 * what was current, to be given back. */
struct process *process_enter(struct world *world, struct process *process);

/* ---- coroutines ---- */

enum coroutine_state { COROUTINE_READY, COROUTINE_RUNNING, COROUTINE_WAITING, COROUTINE_ENDED };

struct coroutine {
    struct fiber fiber;
    struct process *process;
    enum coroutine_state state;
    u64 life;               /* changes when the struct gets another life: stale timers know by it */
    u64 deadline_ns;        /* while waiting, on the process's monotonic clock; TIME_NEVER: none */
    u64 timer_ns;           /* world time of its earliest pending timer; TIME_NEVER: none */
    bool timed_out;         /* how the last wait ended */
    struct coroutine *next; /* in the process's list, or among the free ones */
    struct coroutine *previous;
    struct coroutine *ready_next; /* in the queue of the ready, or held in a paused process */
    struct coroutine *ready_previous;
    struct coroutine *wait_next; /* in the queue of a condition or a mutex */
    struct coroutine *wait_previous;
    void *waiting_for;        /* that condition or mutex; NULL: none */
    struct coroutine *joiner; /* waits for its end */
    bool detached;            /* nobody joins: freed when it ends */
    void (*run)(void *argument);
    void *argument;
};

/* A new coroutine of the process, ready to run. */
struct coroutine *coroutine_start(struct process *process, void (*run)(void *argument),
                                  void *argument);
/* Frees one that has ended. */
void coroutine_free(struct coroutine *coroutine);
/* The current coroutine waits until coroutine_wake or until its process's clock shows deadline_ns.
 * Returns false when the deadline has passed. */
bool coroutine_wait(struct world *world, u64 deadline_ns);
/* Makes a waiting one ready; any other is left as it is. */
void coroutine_wake(struct coroutine *coroutine);
/* Lets world time pass for the current coroutine. From outside of coroutines: a no-op. */
void coroutine_sleep(struct world *world, u64 duration_ns);
/* Asks again when the waiting coroutines of this process are due: its clock has changed. */
void process_clock_changed(struct process *process);

/* ---- events ---- */

struct event {
    u64 time_ns;
    u64 sequence; /* events of the same time happen in the order of their making */
    void (*run)(void *object, u64 argument);
    void *object;
    u64 argument;
};

struct world {
    u64 now_ns;
    u64 seed;
    struct event *heap; /* 4-ary, smallest (time, sequence) first */
    u32 heap_count;
    u32 heap_capacity;
    u64 next_sequence;
    u64 next_life;
    u64 steps;
    struct process *process;   /* in whose name code runs; NULL: the world's own */
    struct coroutine *running; /* NULL: the scheduler */
    struct coroutine *ready_first;
    struct coroutine *ready_last;
    struct coroutine *free_coroutines;
    struct fiber scheduler;
    struct fiber_pool stacks;
    struct process *nobody; /* threads that are started outside of any server */
    struct sim_clock clock; /* the true one */
    /* Called when a process that had to end has ended, before it is freed. */
    void (*ended)(void *context, struct process *process);
    /* Called when a process, which runs, has no more memory: ends it, and does not return. */
    void (*starved)(void *context, struct process *process);
    void *context;
};

/* One world a thread at a time: the seams find it. */
void world_init(struct world *world, u64 seed);
void world_deinit(struct world *world);
/* The calling thread's world, or NULL. */
struct world *world_current(void);
/* Makes this world the calling thread's; a thread may hold several and go from one to another,
 * outside of steps. */
void world_enter(struct world *world);

/* Calls run(object, argument) at that time, not before now. */
void world_at(struct world *world, u64 time_ns, void (*run)(void *object, u64 argument),
              void *object, u64 argument);
/* Takes the next step, if it is due by `until_ns`. Returns false when there is none, and time is
 * `until_ns`. A process that ran, if any, is given to `ran` (NULL: an event did). */
bool world_step(struct world *world, u64 until_ns, struct process **ran);

/* The seed of a stream of random numbers of this name, all of one world's streams unlike. */
u64 world_stream(const struct world *world, const char *name, u64 number);

#endif
