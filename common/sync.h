/* sync.h - mutex, condition and thread.
 *
 * SEAM. Production links common/sync.c (pthreads). The simulator links its own, in which threads
 * are coroutines on one stack each, a lock is free unless its holder sleeps, and waiting is a
 * switch to the scheduler of virtual time. The structs are the same size in both, so the rooms'
 * object files are the same too.
 *
 * Locks are leaves: nobody takes a second one while holding one, except where a header says so.
 * The attributes let clang check who holds what at compile time. */
#ifndef MAILRAFT_COMMON_SYNC_H
#define MAILRAFT_COMMON_SYNC_H

#include <pthread.h>

#include "common/error.h"
#include "common/types.h"

#if defined(__clang__)
#define SYNC_ATTRIBUTE(x) __attribute__((x))
#else
#define SYNC_ATTRIBUTE(x)
#endif
#define ACQUIRES(...) SYNC_ATTRIBUTE(acquire_capability(__VA_ARGS__))
#define RELEASES(...) SYNC_ATTRIBUTE(release_capability(__VA_ARGS__))
#define REQUIRES(...) SYNC_ATTRIBUTE(requires_capability(__VA_ARGS__))
/* Known to be held after the call, because it was checked at run time. */
#define ASSERTS_HELD(...) SYNC_ATTRIBUTE(assert_capability(__VA_ARGS__))
/* For the functions that make a mutex what it is, and for tests that misuse one. */
#define SYNC_UNCHECKED SYNC_ATTRIBUTE(no_thread_safety_analysis)

struct SYNC_ATTRIBUTE(capability("mutex")) mutex {
    union {
        pthread_mutex_t posix;
        void *coroutine[2]; /* simulator: holder, first waiter */
    } as;
    void *owner; /* who holds it, for mutex_assert_held; NULL when free */
};

struct condition {
    union {
        pthread_cond_t posix;
        void *coroutine[2]; /* simulator: first and last waiter */
    } as;
};

struct thread {
    union {
        pthread_t posix;
        void *coroutine;
    } as;
    bool started;
};

void mutex_init(struct mutex *mutex);
void mutex_deinit(struct mutex *mutex);
void mutex_lock(struct mutex *mutex) ACQUIRES(*mutex);
/* As mutex_lock, but gives up after so long, and returns false then. In the simulator it does not.
 */
WARN_UNUSED bool mutex_lock_for(struct mutex *mutex, u64 patience_ns)
    SYNC_ATTRIBUTE(try_acquire_capability(true, *mutex));
void mutex_unlock(struct mutex *mutex) RELEASES(*mutex);
/* ASSERTs that the calling thread holds the mutex. */
void mutex_assert_held(struct mutex *mutex) ASSERTS_HELD(*mutex);

/* Conditions measure time on the monotonic clock of clock.h. */
void condition_init(struct condition *condition);
void condition_deinit(struct condition *condition);
void condition_wait(struct condition *condition, struct mutex *mutex) REQUIRES(*mutex);
/* Waits until woken or until clock_monotonic_ns() has reached `deadline_ns` (UINT64_MAX: for
 * ever). Returns false when the deadline has passed. May wake for no reason: loop around it. */
bool condition_wait_until(struct condition *condition, struct mutex *mutex, u64 deadline_ns)
    REQUIRES(*mutex);
void condition_signal(struct condition *condition);
void condition_broadcast(struct condition *condition);

/* Starts `run(argument)` on a new thread. `name` is copied, at most 15 characters count. Signals
 * are blocked in every thread but main's. Errors: ERROR_SYSTEM when a thread cannot be made. */
WARN_UNUSED enum error_code thread_start(struct thread *thread, const char *name,
                                         void (*run)(void *argument), void *argument,
                                         struct error *error);
/* The calling thread: not NULL, and not the same as any other that lives. */
void *thread_self(void);
/* Waits for the thread to end. A no-op for a thread that was never started. Blocks. */
void thread_join(struct thread *thread);
/* Leaves the thread to itself: for one that the system holds up for longer than anybody wants to
 * wait. Nobody will join it, and what it uses is its own for as long as the process lives. */
void thread_abandon(struct thread *thread);

#endif
