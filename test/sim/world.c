/* world.c - see world.h. */
#include "test/sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The simulator's counterpart of "the operating system this thread runs on". */
static _Thread_local struct world *current_world;

/* ---- memory of the simulator itself ---- */

static _Noreturn void out_of_memory(void)
{
    fputs("raftsim: out of memory\n", stderr);
    exit(71);
}

void *sim_alloc(size_t size)
{
    void *pointer = malloc(size == 0 ? 1 : size);
    if (pointer == NULL)
        out_of_memory();
    return pointer;
}

void *sim_alloc_zero(size_t count, size_t size)
{
    void *pointer = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);
    if (pointer == NULL)
        out_of_memory();
    return pointer;
}

void *sim_resize(void *pointer, size_t size)
{
    void *resized = realloc(pointer, size == 0 ? 1 : size);
    if (resized == NULL)
        out_of_memory();
    return resized;
}

void sim_free(void *pointer)
{
    free(pointer);
}

/* ---- the world ---- */

void world_init(struct world *world, u64 seed)
{
    *world = (struct world){.seed = seed, .next_life = 1};
    fiber_init_thread(&world->scheduler);
    sim_clock_init(&world->clock);
    world->nobody = process_create(world, SERVER_NONE, &world->clock);
    current_world = world;
}

void world_deinit(struct world *world)
{
    ASSERT(world->running == NULL);
    process_end(world->nobody);
    ASSERT(world->ready_first == NULL);
    while (world->free_coroutines != NULL) {
        struct coroutine *coroutine = world->free_coroutines;
        world->free_coroutines = coroutine->next;
        sim_free(coroutine);
    }
    fiber_pool_deinit(&world->stacks);
    fiber_deinit_thread(&world->scheduler);
    sim_free(world->heap);
    if (current_world == world)
        current_world = NULL;
}

struct world *world_current(void)
{
    return current_world;
}

void world_enter(struct world *world)
{
    current_world = world;
}

u64 world_stream(const struct world *world, const char *name, u64 number)
{
    u64 hash = 0xcbf29ce484222325ULL ^ world->seed; /* FNV-1a, then rng_init mixes it well */
    for (const char *c = name; *c != '\0'; c++)
        hash = (hash ^ (u8)*c) * 0x100000001b3ULL;
    hash = (hash ^ number) * 0x100000001b3ULL;
    return hash ^ world->seed << 17;
}

/* ---- the queue of events ---- */

static bool event_is_before(const struct event *a, const struct event *b)
{
    return a->time_ns != b->time_ns ? a->time_ns < b->time_ns : a->sequence < b->sequence;
}

void world_at(struct world *world, u64 time_ns, void (*run)(void *object, u64 argument),
              void *object, u64 argument)
{
    if (world->heap_count == world->heap_capacity) {
        world->heap_capacity = world->heap_capacity == 0 ? 256 : world->heap_capacity * 2;
        world->heap = sim_resize(world->heap, world->heap_capacity * sizeof(struct event));
    }
    struct event event = {.time_ns = u64_max(time_ns, world->now_ns),
                          .sequence = world->next_sequence++,
                          .run = run,
                          .object = object,
                          .argument = argument};
    u32 at = world->heap_count++;
    while (at > 0) {
        u32 parent = (at - 1) / 4;
        if (!event_is_before(&event, &world->heap[parent]))
            break;
        world->heap[at] = world->heap[parent];
        at = parent;
    }
    world->heap[at] = event;
}

static struct event event_take(struct world *world)
{
    struct event first = world->heap[0];
    struct event last = world->heap[--world->heap_count];
    u32 count = world->heap_count;
    u32 at = 0;
    while (at * 4 + 1 < count) {
        u32 child = at * 4 + 1;
        u32 end = child + 4 < count ? child + 4 : count;
        u32 least = child;
        for (u32 i = child + 1; i < end; i++) {
            if (event_is_before(&world->heap[i], &world->heap[least]))
                least = i;
        }
        if (!event_is_before(&world->heap[least], &last))
            break;
        world->heap[at] = world->heap[least];
        at = least;
    }
    world->heap[at] = last;
    return first;
}

/* ---- steps ---- */

static void ready_put(struct coroutine **first, struct coroutine **last,
                      struct coroutine *coroutine)
{
    coroutine->ready_next = NULL;
    coroutine->ready_previous = *last;
    if (*last != NULL)
        (*last)->ready_next = coroutine;
    else
        *first = coroutine;
    *last = coroutine;
}

static void ready_remove(struct coroutine **first, struct coroutine **last,
                         struct coroutine *coroutine)
{
    if (coroutine->ready_previous != NULL)
        coroutine->ready_previous->ready_next = coroutine->ready_next;
    else
        *first = coroutine->ready_next;
    if (coroutine->ready_next != NULL)
        coroutine->ready_next->ready_previous = coroutine->ready_previous;
    else
        *last = coroutine->ready_previous;
    coroutine->ready_next = NULL;
    coroutine->ready_previous = NULL;
}

static void make_ready(struct coroutine *coroutine)
{
    struct process *process = coroutine->process;
    coroutine->state = COROUTINE_READY;
    if (process->paused)
        ready_put(&process->held_first, &process->held_last, coroutine);
    else
        ready_put(&process->world->ready_first, &process->world->ready_last, coroutine);
}

static void process_free(struct process *process);

static void run_coroutine(struct world *world, struct coroutine *coroutine, struct process **ran)
{
    ready_remove(&world->ready_first, &world->ready_last, coroutine);
    struct process *process = coroutine->process;
    coroutine->state = COROUTINE_RUNNING;
    world->running = coroutine;
    world->process = process;
    fiber_switch(&world->scheduler, &coroutine->fiber, false);
    world->running = NULL;
    world->process = NULL;
    *ran = process;
    if (process->doomed) {
        *ran = NULL;
        if (world->ended != NULL)
            world->ended(world->context, process);
        process_free(process);
        return;
    }
    if (coroutine->state == COROUTINE_ENDED) {
        if (coroutine->joiner != NULL)
            coroutine_wake(coroutine->joiner);
        if (coroutine->detached)
            coroutine_free(coroutine);
    }
}

bool world_step(struct world *world, u64 until_ns, struct process **ran)
{
    *ran = NULL;
    if (world->ready_first != NULL) {
        world->steps++;
        run_coroutine(world, world->ready_first, ran);
        return true;
    }
    if (world->heap_count == 0 || world->heap[0].time_ns > until_ns) {
        if (until_ns != TIME_NEVER)
            world->now_ns = u64_max(world->now_ns, until_ns);
        return false;
    }
    struct event event = event_take(world);
    world->now_ns = event.time_ns;
    world->steps++;
    event.run(event.object, event.argument);
    return true;
}

/* ---- coroutines ---- */

static void coroutine_main(void *argument)
{
    struct coroutine *coroutine = argument;
    struct world *world = coroutine->process->world;
    coroutine->run(coroutine->argument);
    coroutine->state = COROUTINE_ENDED;
    fiber_switch(&coroutine->fiber, &world->scheduler, true);
}

struct coroutine *coroutine_start(struct process *process, void (*run)(void *argument),
                                  void *argument)
{
    struct world *world = process->world;
    struct coroutine *coroutine = world->free_coroutines;
    if (coroutine != NULL)
        world->free_coroutines = coroutine->next;
    else
        coroutine = sim_alloc(sizeof(*coroutine));
    *coroutine = (struct coroutine){.process = process,
                                    .life = world->next_life++,
                                    .deadline_ns = TIME_NEVER,
                                    .timer_ns = TIME_NEVER,
                                    .run = run,
                                    .argument = argument};
    fiber_init(&coroutine->fiber, &world->stacks, coroutine_main, coroutine);
    coroutine->next = process->coroutines;
    if (coroutine->next != NULL)
        coroutine->next->previous = coroutine;
    process->coroutines = coroutine;
    make_ready(coroutine);
    return coroutine;
}

void coroutine_free(struct coroutine *coroutine)
{
    struct process *process = coroutine->process;
    struct world *world = process->world;
    if (coroutine->previous != NULL)
        coroutine->previous->next = coroutine->next;
    else
        process->coroutines = coroutine->next;
    if (coroutine->next != NULL)
        coroutine->next->previous = coroutine->previous;
    fiber_deinit(&coroutine->fiber, &world->stacks);
    coroutine->life = 0; /* pending timers are stale */
    coroutine->next = world->free_coroutines;
    world->free_coroutines = coroutine;
}

static void timer_due(void *object, u64 life);

/* Sees to it that the coroutine is looked at when its deadline comes, or before. */
static void timer_set(struct coroutine *coroutine)
{
    if (coroutine->deadline_ns == TIME_NEVER)
        return;
    struct world *world = coroutine->process->world;
    u64 due = sim_clock_true_ns(coroutine->process->clock, coroutine->deadline_ns);
    due = u64_max(due, world->now_ns);
    if (coroutine->timer_ns <= due)
        return;
    coroutine->timer_ns = due;
    world_at(world, due, timer_due, coroutine, coroutine->life);
}

static void timer_due(void *object, u64 life)
{
    struct coroutine *coroutine = object;
    if (coroutine->life != life)
        return;
    struct world *world = coroutine->process->world;
    if (coroutine->timer_ns != world->now_ns)
        return;
    coroutine->timer_ns = TIME_NEVER;
    if (coroutine->state != COROUTINE_WAITING || coroutine->deadline_ns == TIME_NEVER)
        return;
    if (sim_clock_local_ns(coroutine->process->clock, world->now_ns) < coroutine->deadline_ns) {
        timer_set(coroutine);
        return;
    }
    coroutine->timed_out = true;
    make_ready(coroutine);
}

bool coroutine_wait(struct world *world, u64 deadline_ns)
{
    struct coroutine *coroutine = world->running;
    ASSERT(coroutine != NULL);
    coroutine->state = COROUTINE_WAITING;
    coroutine->deadline_ns = deadline_ns;
    coroutine->timed_out = false;
    timer_set(coroutine);
    struct process *process = world->process;
    fiber_switch(&coroutine->fiber, &world->scheduler, false);
    world->process = process;
    coroutine->deadline_ns = TIME_NEVER;
    return !coroutine->timed_out;
}

void coroutine_wake(struct coroutine *coroutine)
{
    if (coroutine->state == COROUTINE_WAITING)
        make_ready(coroutine);
}

static void sleep_over(void *object, u64 life)
{
    struct coroutine *coroutine = object;
    if (coroutine->life == life)
        coroutine_wake(coroutine);
}

void coroutine_sleep(struct world *world, u64 duration_ns)
{
    struct coroutine *coroutine = world->running;
    if (coroutine == NULL)
        return;
    world_at(world, world->now_ns + duration_ns, sleep_over, coroutine, coroutine->life);
    (void)coroutine_wait(world, TIME_NEVER);
}

/* ---- processes ---- */

struct process *process_create(struct world *world, server_id server, struct sim_clock *clock)
{
    struct process *process = sim_alloc_zero(1, sizeof(*process));
    process->world = world;
    process->server = server;
    process->clock = clock;
    process->memory.next = &process->memory;
    process->memory.previous = &process->memory;
    return process;
}

static void process_drop_coroutines(struct process *process)
{
    struct world *world = process->world;
    while (process->coroutines != NULL) {
        struct coroutine *coroutine = process->coroutines;
        if (coroutine->state == COROUTINE_READY && !process->paused)
            ready_remove(&world->ready_first, &world->ready_last, coroutine);
        coroutine_free(coroutine);
    }
}

static void process_free(struct process *process)
{
    process_drop_coroutines(process);
    struct memory_link *link = process->memory.next;
    while (link != &process->memory) {
        struct memory_link *next = link->next;
        sim_free(link);
        link = next;
    }
    sim_free(process);
}

bool process_lacks(enum resource resource)
{
    struct world *world = current_world;
    if (world == NULL || world->running == NULL)
        return false;
    const struct process *process = world->running->process;
    if (process->shortages == NULL || process != world->process)
        return false;
    struct shortage *shortage = &process->shortages[resource];
    if (shortage->nth != 1) {
        shortage->nth -= shortage->nth > 0;
        return false;
    }
    shortage->nth = shortage->lasts;
    shortage->came = true;
    return true;
}

void process_end(struct process *process)
{
    struct world *world = process->world;
    if (world->running != NULL && world->running->process == process) {
        process->doomed = true;
        struct coroutine *coroutine = world->running;
        coroutine->state = COROUTINE_ENDED;
        fiber_switch(&coroutine->fiber, &world->scheduler, true);
        UNREACHABLE();
    }
    if (world->ended != NULL)
        world->ended(world->context, process);
    process_free(process);
}

u64 process_destroy(struct process *process)
{
    u64 left = process->memory_count;
    process_free(process);
    return left;
}

void process_pause(struct process *process, bool paused)
{
    struct world *world = process->world;
    if (process->paused == paused)
        return;
    process->paused = paused;
    if (!paused) {
        while (process->held_first != NULL) {
            struct coroutine *coroutine = process->held_first;
            ready_remove(&process->held_first, &process->held_last, coroutine);
            ready_put(&world->ready_first, &world->ready_last, coroutine);
        }
        return;
    }
    for (struct coroutine *c = process->coroutines; c != NULL; c = c->next) {
        if (c->state != COROUTINE_READY)
            continue;
        ready_remove(&world->ready_first, &world->ready_last, c);
        ready_put(&process->held_first, &process->held_last, c);
    }
}

struct process *process_enter(struct world *world, struct process *process)
{
    struct process *before = world->process;
    world->process = process;
    return before;
}

void process_clock_changed(struct process *process)
{
    for (struct coroutine *c = process->coroutines; c != NULL; c = c->next) {
        if (c->state != COROUTINE_WAITING)
            continue;
        timer_set(c);
    }
}
