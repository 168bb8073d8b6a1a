/* sync.c - the simulator's side of common/sync.h: threads are coroutines.
 *
 * Only one coroutine runs at a time, and it keeps running until it waits, so a lock is contended
 * only when its holder sleeps while holding it. Waiting queues are first in, first out, which keeps
 * runs repeatable.
 *
 * Code that is no coroutine (an event that posts mail, say) may take locks that are free; it cannot
 * wait. */
#include "common/sync.h"

#include <string.h>

#include "test/sim/world.h"

/* ---- queues of waiting coroutines: first in slot 0, last in slot 1 ---- */

static void queue_put(void **queue, void *what, struct coroutine *coroutine)
{
    struct coroutine *last = queue[1];
    coroutine->waiting_for = what;
    coroutine->wait_next = NULL;
    coroutine->wait_previous = last;
    if (last != NULL)
        last->wait_next = coroutine;
    else
        queue[0] = coroutine;
    queue[1] = coroutine;
}

static void queue_remove(void **queue, struct coroutine *coroutine)
{
    if (coroutine->wait_previous != NULL)
        coroutine->wait_previous->wait_next = coroutine->wait_next;
    else
        queue[0] = coroutine->wait_next;
    if (coroutine->wait_next != NULL)
        coroutine->wait_next->wait_previous = coroutine->wait_previous;
    else
        queue[1] = coroutine->wait_previous;
    coroutine->waiting_for = NULL;
}

/* Lets the first one go. */
static void queue_wake_one(void **queue)
{
    struct coroutine *first = queue[0];
    if (first == NULL)
        return;
    queue_remove(queue, first);
    coroutine_wake(first);
}

/* ---- mutexes ---- */

/* Stands for the holder when no coroutine runs. */
static char outside;

void *thread_self(void)
{
    struct world *world = world_current();
    return world != NULL && world->running != NULL ? (void *)world->running : (void *)&outside;
}

void mutex_init(struct mutex *mutex)
{
    memset(mutex, 0, sizeof(*mutex));
}

void mutex_deinit(struct mutex *mutex)
{
    ASSERT(mutex->owner == NULL && mutex->as.coroutine[0] == NULL);
}

SYNC_UNCHECKED void mutex_lock(struct mutex *mutex)
{
    ASSERT(mutex->owner != thread_self());
    while (mutex->owner != NULL) {
        struct world *world = world_current();
        ASSERT(world != NULL && world->running != NULL);
        queue_put(mutex->as.coroutine, mutex, world->running);
        (void)coroutine_wait(world, TIME_NEVER);
    }
    mutex->owner = thread_self();
}

SYNC_UNCHECKED bool mutex_lock_for(struct mutex *mutex, u64 patience_ns)
{
    (void)patience_ns;
    mutex_lock(mutex);
    return true;
}

SYNC_UNCHECKED void mutex_unlock(struct mutex *mutex)
{
    ASSERT(mutex->owner == thread_self());
    mutex->owner = NULL;
    queue_wake_one(mutex->as.coroutine);
}

void mutex_assert_held(struct mutex *mutex)
{
    ASSERT(mutex->owner == thread_self());
}

/* ---- conditions ---- */

void condition_init(struct condition *condition)
{
    memset(condition, 0, sizeof(*condition));
}

void condition_deinit(struct condition *condition)
{
    ASSERT(condition->as.coroutine[0] == NULL);
}

void condition_wait(struct condition *condition, struct mutex *mutex)
{
    (void)condition_wait_until(condition, mutex, UINT64_MAX);
}

bool condition_wait_until(struct condition *condition, struct mutex *mutex, u64 deadline_ns)
{
    struct world *world = world_current();
    ASSERT(world != NULL && world->running != NULL);
    struct coroutine *coroutine = world->running;
    queue_put(condition->as.coroutine, condition, coroutine);
    mutex_unlock(mutex);
    bool woken = coroutine_wait(world, deadline_ns);
    if (coroutine->waiting_for == condition)
        queue_remove(condition->as.coroutine, coroutine);
    mutex_lock(mutex);
    return woken;
}

void condition_signal(struct condition *condition)
{
    queue_wake_one(condition->as.coroutine);
}

void condition_broadcast(struct condition *condition)
{
    while (condition->as.coroutine[0] != NULL)
        queue_wake_one(condition->as.coroutine);
}

/* ---- threads ---- */

enum error_code thread_start(struct thread *thread, const char *name, void (*run)(void *argument),
                             void *argument, struct error *error)
{
    if (process_lacks(RESOURCE_THREADS))
        return error_set(error, ERROR_SYSTEM, "start thread \"%s\": no more threads", name);
    struct world *world = world_current();
    ASSERT(world != NULL);
    struct process *process = world->process != NULL ? world->process : world->nobody;
    thread->as.coroutine = coroutine_start(process, run, argument);
    thread->started = true;
    return ERROR_NONE;
}

void thread_join(struct thread *thread)
{
    if (!thread->started)
        return;
    struct coroutine *coroutine = thread->as.coroutine;
    struct world *world = coroutine->process->world;
    struct process *ran = NULL;
    if (world->running != NULL) {
        coroutine->joiner = world->running;
        while (coroutine->state != COROUTINE_ENDED)
            (void)coroutine_wait(world, TIME_NEVER);
    } else {
        struct process *before = process_enter(world, NULL);
        while (coroutine->state != COROUTINE_ENDED && world_step(world, TIME_NEVER, &ran))
            continue;
        (void)process_enter(world, before);
        ASSERT(coroutine->state == COROUTINE_ENDED);
    }
    coroutine_free(coroutine);
    thread->started = false;
}

void thread_abandon(struct thread *thread)
{
    (void)thread;
    UNREACHABLE(); /* nothing of the real world holds a simulated server's threads up */
}
