/* sync.c - the production side of the seam: pthreads.
 *
 * Every pthread call that can only fail through misuse is ASSERTed. A mutex knows its owner, so
 * that taking it twice or giving back somebody else's is caught at once, and mutex_assert_held
 * costs one load. The owner is read and written atomically because a thread may look at it that
 * does not hold the mutex; what it then sees is never its own identity. */
#include "common/sync.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "common/memory.h"

enum { THREAD_NAME_SIZE = 16 }; /* the kernel's bound, with the NUL */

/* ---- mutex ---- */

void *thread_self(void)
{
    return (void *)pthread_self();
}

static void *owner_of(const struct mutex *mutex)
{
    return __atomic_load_n(&mutex->owner, __ATOMIC_RELAXED);
}

static void owner_set(struct mutex *mutex, void *owner)
{
    __atomic_store_n(&mutex->owner, owner, __ATOMIC_RELAXED);
}

void mutex_init(struct mutex *mutex)
{
    memset(mutex, 0, sizeof(*mutex));
    int failed = pthread_mutex_init(&mutex->as.posix, NULL);
    ASSERT(!failed);
}

void mutex_deinit(struct mutex *mutex)
{
    ASSERT(owner_of(mutex) == NULL);
    int failed = pthread_mutex_destroy(&mutex->as.posix);
    ASSERT(!failed);
}

SYNC_UNCHECKED void mutex_lock(struct mutex *mutex)
{
    ASSERT(owner_of(mutex) != thread_self()); /* would wait for itself for ever */
    int failed = pthread_mutex_lock(&mutex->as.posix);
    ASSERT(!failed);
    owner_set(mutex, thread_self());
}

SYNC_UNCHECKED bool mutex_lock_for(struct mutex *mutex, u64 patience_ns)
{
    ASSERT(owner_of(mutex) != thread_self());
    struct timespec until;
    /* Of the wall's clock, as the thread sanitizer knows no other here: a step of that clock makes
     * a wait shorter or longer. */
    (void)clock_gettime(CLOCK_REALTIME, &until);
    u64 nsec = (u64)until.tv_nsec + patience_ns;
    until.tv_sec += (time_t)(nsec / NS_PER_S);
    until.tv_nsec = (long)(nsec % NS_PER_S);
    int failed = pthread_mutex_timedlock(&mutex->as.posix, &until);
    ASSERT(failed == 0 || failed == ETIMEDOUT);
    if (failed != 0)
        return false;
    owner_set(mutex, thread_self());
    return true;
}

SYNC_UNCHECKED void mutex_unlock(struct mutex *mutex)
{
    mutex_assert_held(mutex);
    owner_set(mutex, NULL);
    int failed = pthread_mutex_unlock(&mutex->as.posix);
    ASSERT(!failed);
}

void mutex_assert_held(struct mutex *mutex)
{
    ASSERT(owner_of(mutex) == thread_self());
}

/* ---- condition ---- */

void condition_init(struct condition *condition)
{
    memset(condition, 0, sizeof(*condition));
    pthread_condattr_t attributes;
    int failed = pthread_condattr_init(&attributes);
    failed |= pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    failed |= pthread_cond_init(&condition->as.posix, &attributes);
    failed |= pthread_condattr_destroy(&attributes);
    ASSERT(!failed);
}

void condition_deinit(struct condition *condition)
{
    int failed = pthread_cond_destroy(&condition->as.posix);
    ASSERT(!failed);
}

void condition_wait(struct condition *condition, struct mutex *mutex)
{
    mutex_assert_held(mutex);
    owner_set(mutex, NULL);
    int failed = pthread_cond_wait(&condition->as.posix, &mutex->as.posix);
    ASSERT(!failed);
    owner_set(mutex, thread_self());
}

bool condition_wait_until(struct condition *condition, struct mutex *mutex, u64 deadline_ns)
{
    if (deadline_ns == UINT64_MAX) {
        condition_wait(condition, mutex);
        return true;
    }
    mutex_assert_held(mutex);
    struct timespec deadline = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
                                .tv_nsec = (long)(deadline_ns % NS_PER_S)};
    owner_set(mutex, NULL);
    int result = pthread_cond_timedwait(&condition->as.posix, &mutex->as.posix, &deadline);
    owner_set(mutex, thread_self());
    ASSERT(result == 0 || result == ETIMEDOUT);
    return result == 0;
}

void condition_signal(struct condition *condition)
{
    int failed = pthread_cond_signal(&condition->as.posix);
    ASSERT(!failed);
}

void condition_broadcast(struct condition *condition)
{
    int failed = pthread_cond_broadcast(&condition->as.posix);
    ASSERT(!failed);
}

/* ---- thread ---- */

/* What a new thread needs to know; it frees this itself. */
struct thread_start_note {
    void (*run)(void *argument);
    void *argument;
    char name[THREAD_NAME_SIZE];
};

static void *thread_main(void *argument)
{
    struct thread_start_note note = *(struct thread_start_note *)argument;
    memory_free(argument);
    (void)pthread_setname_np(pthread_self(), note.name); /* only for people */
    note.run(note.argument);
    return NULL;
}

/* All signals but those that a thread raises by its own fault: blocking these would only hide
 * where it happened. */
static void signals_to_block(sigset_t *set)
{
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    sigfillset(set);
    for (size_t i = 0; i < ARRAY_LENGTH(faults); i++)
        sigdelset(set, faults[i]);
}

enum error_code thread_start(struct thread *thread, const char *name, void (*run)(void *argument),
                             void *argument, struct error *error)
{
    thread->started = false;
    struct thread_start_note *note = memory_alloc_zero(1, sizeof(*note));
    note->run = run;
    note->argument = argument;
    strncpy(note->name, name, sizeof(note->name) - 1);

    /* The new thread inherits the mask, so there is no moment in which a signal can reach it. */
    sigset_t blocked;
    sigset_t before;
    signals_to_block(&blocked);
    int failed = pthread_sigmask(SIG_BLOCK, &blocked, &before);
    ASSERT(!failed);
    int refused = pthread_create(&thread->as.posix, NULL, thread_main, note);
    failed = pthread_sigmask(SIG_SETMASK, &before, NULL);
    ASSERT(!failed);
    if (refused) {
        memory_free(note);
        return error_set_errno(error, ERROR_SYSTEM, refused, "start thread \"%s\"", name);
    }
    thread->started = true;
    return ERROR_NONE;
}

void thread_join(struct thread *thread)
{
    if (!thread->started)
        return;
    int failed = pthread_join(thread->as.posix, NULL);
    ASSERT(!failed);
    thread->started = false;
}

void thread_abandon(struct thread *thread)
{
    ASSERT(thread->started);
    int failed = pthread_detach(thread->as.posix);
    ASSERT(!failed);
    thread->started = false;
}
