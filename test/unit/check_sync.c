/* check_sync.c - mutex, condition, thread, clock: the production side. */
#include "common/sync.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "test/unit/unit.h"

enum { WORKERS = 4, ROUNDS = 10000 };

struct shared {
    struct mutex lock;
    struct condition changed;
    u64 count; /* Guarded by lock. */
    int woken; /* Guarded by lock. */
    bool go;   /* Guarded by lock. */
};

static void shared_init(struct shared *shared)
{
    memset(shared, 0, sizeof(*shared));
    mutex_init(&shared->lock);
    condition_init(&shared->changed);
}

static void shared_deinit(struct shared *shared)
{
    condition_deinit(&shared->changed);
    mutex_deinit(&shared->lock);
}

static void start(struct thread *thread, void (*run)(void *), void *argument)
{
    struct error error;
    enum error_code code = thread_start(thread, "worker", run, argument, &error);
    ck_assert_str_eq(error_word(code), "ok");
    ck_assert(thread->started);
}

static void count_up(void *argument)
{
    struct shared *shared = argument;
    for (int i = 0; i < ROUNDS; i++) {
        mutex_lock(&shared->lock);
        mutex_assert_held(&shared->lock);
        shared->count++;
        mutex_unlock(&shared->lock);
    }
}

START_TEST(mutex_lock__excludes)
{
    struct shared shared;
    shared_init(&shared);
    struct thread threads[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        start(&threads[i], count_up, &shared);
    for (int i = 0; i < WORKERS; i++)
        thread_join(&threads[i]);
    ck_assert_uint_eq(shared.count, WORKERS * ROUNDS);
    shared_deinit(&shared);
}
END_TEST

static void wait_for_go(void *argument)
{
    struct shared *shared = argument;
    mutex_lock(&shared->lock);
    while (!shared->go)
        condition_wait(&shared->changed, &shared->lock);
    mutex_assert_held(&shared->lock);
    shared->woken++;
    mutex_unlock(&shared->lock);
}

START_TEST(condition_broadcast__wakes_all)
{
    struct shared shared;
    shared_init(&shared);
    struct thread threads[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        start(&threads[i], wait_for_go, &shared);
    mutex_lock(&shared.lock);
    shared.go = true;
    condition_broadcast(&shared.changed);
    mutex_unlock(&shared.lock);
    for (int i = 0; i < WORKERS; i++)
        thread_join(&threads[i]);
    ck_assert_int_eq(shared.woken, WORKERS);
    shared_deinit(&shared);
}
END_TEST

static void give_go(void *argument)
{
    struct shared *shared = argument;
    mutex_lock(&shared->lock);
    shared->go = true;
    condition_signal(&shared->changed);
    mutex_unlock(&shared->lock);
}

START_TEST(condition_wait_until__woken_before_the_deadline)
{
    struct shared shared;
    shared_init(&shared);
    const u64 deadlines[] = {UINT64_MAX, clock_monotonic_ns() + 100 * NS_PER_S};
    for (size_t i = 0; i < ARRAY_LENGTH(deadlines); i++) {
        struct thread thread;
        shared.go = false;
        start(&thread, give_go, &shared);
        mutex_lock(&shared.lock);
        while (!shared.go)
            ck_assert(condition_wait_until(&shared.changed, &shared.lock, deadlines[i]));
        mutex_unlock(&shared.lock);
        thread_join(&thread);
    }
    shared_deinit(&shared);
}
END_TEST

START_TEST(condition_wait_until__deadline_passes)
{
    struct shared shared;
    shared_init(&shared);
    mutex_lock(&shared.lock);
    ck_assert(!condition_wait_until(&shared.changed, &shared.lock, 0)); /* long past */
    u64 deadline_ns = clock_monotonic_ns() + 5 * NS_PER_MS;
    while (condition_wait_until(&shared.changed, &shared.lock, deadline_ns)) {
    }
    mutex_assert_held(&shared.lock);
    ck_assert_uint_ge(clock_monotonic_ns(), deadline_ns);
    mutex_unlock(&shared.lock);
    shared_deinit(&shared);
}
END_TEST

struct identity {
    char name[32];
    sigset_t blocked;
};

static void look_at_oneself(void *argument)
{
    struct identity *identity = argument;
    pthread_getname_np(pthread_self(), identity->name, sizeof(identity->name));
    pthread_sigmask(SIG_BLOCK, NULL, &identity->blocked);
}

START_TEST(thread_start__named_and_signals_blocked)
{
    sigset_t before;
    sigset_t after;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    struct identity identity;
    struct thread thread;
    struct error error;
    ck_assert_int_eq(
        thread_start(&thread, "a-name-that-is-too-long", look_at_oneself, &identity, &error),
        ERROR_NONE);
    thread_join(&thread);
    ck_assert(!thread.started);
    thread_join(&thread); /* a no-op now */
    ck_assert_str_eq(identity.name, "a-name-that-is-");
    ck_assert_int_eq(sigismember(&identity.blocked, SIGTERM), 1);
    ck_assert_int_eq(sigismember(&identity.blocked, SIGINT), 1);
    ck_assert_int_eq(sigismember(&identity.blocked, SIGSEGV), 0);
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    ck_assert_int_eq(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void do_nothing(void *argument)
{
    (void)argument;
}

START_TEST(thread_start__says_when_there_can_be_none)
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        /* No room for a stack. Small pieces still come from what the heap has already. */
        struct rlimit little = {1024 * 1024, 1024 * 1024};
        setrlimit(RLIMIT_AS, &little);
        struct thread thread;
        struct error error;
        enum error_code code = thread_start(&thread, "late", do_nothing, NULL, &error);
        bool told = strstr(error.text, "start thread \"late\": ") == error.text;
        thread_join(&thread); /* a no-op */
        _exit(code == ERROR_SYSTEM && told && !thread.started ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 0);
}
END_TEST
#define WITHOUT_SANITIZER_TESTS , thread_start__says_when_there_can_be_none
#else /* the sanitizers need more room than that themselves */
#define WITHOUT_SANITIZER_TESTS
#endif

/* Runs `misuse` in a child, and expects it to abort. */
static void expect_abort(void (*misuse)(struct shared *shared))
{
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        struct shared shared;
        shared_init(&shared);
        misuse(&shared);
        _exit(0);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
}

SYNC_UNCHECKED static void lock_twice(struct shared *shared)
{
    mutex_lock(&shared->lock);
    mutex_lock(&shared->lock);
}

SYNC_UNCHECKED static void unlock_what_is_free(struct shared *shared)
{
    mutex_unlock(&shared->lock);
}

static void claim_what_is_free(struct shared *shared)
{
    mutex_assert_held(&shared->lock);
}

SYNC_UNCHECKED static void deinit_what_is_held(struct shared *shared)
{
    mutex_lock(&shared->lock);
    mutex_deinit(&shared->lock);
}

START_TEST(mutex__misuse_is_caught)
{
    expect_abort(lock_twice);
    expect_abort(unlock_what_is_free);
    expect_abort(claim_what_is_free);
    expect_abort(deinit_what_is_held);
}
END_TEST

START_TEST(clock__never_goes_back)
{
    u64 before_ns = clock_monotonic_ns();
    for (int i = 0; i < 10000; i++) {
        u64 now_ns = clock_monotonic_ns();
        ck_assert_uint_ge(now_ns, before_ns);
        before_ns = now_ns;
    }
    ck_assert_uint_gt(clock_wall_ns(), 1600000000 * NS_PER_S);
}
END_TEST

START_TEST(clock_thread__runs_while_the_thread_does)
{
    u64 worked_ns = clock_thread_ns();
    u64 began_ns = clock_monotonic_ns();
    struct timespec pause = {.tv_nsec = (long)(20 * NS_PER_MS)};
    (void)nanosleep(&pause, NULL);
    u64 thread_ns = clock_thread_ns() - worked_ns;
    ck_assert_uint_lt(thread_ns, clock_monotonic_ns() - began_ns);
    for (worked_ns = clock_thread_ns(); clock_thread_ns() == worked_ns;)
        continue;
    ck_assert_uint_gt(clock_thread_ns(), worked_ns);
}
END_TEST

UNIT_MAIN("sync", mutex_lock__excludes, condition_broadcast__wakes_all,
          condition_wait_until__woken_before_the_deadline, condition_wait_until__deadline_passes,
          thread_start__named_and_signals_blocked, mutex__misuse_is_caught, clock__never_goes_back,
          clock_thread__runs_while_the_thread_does WITHOUT_SANITIZER_TESTS)
