/* count.c - counts what a process asks of threads and the system, from inside, by standing in front
 * of the C library (LD_PRELOAD). The counts lie in a file that is mapped into memory, named by
 * RAFTCOMPARE_COUNTS, so that whoever wants them reads them while the process runs.
 *
 * Not part of the server, and not loaded when its speed is measured. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* The order is known to measure.py. */
enum count {
    LOCKS,     /* mutexes locked */
    CONTENDED, /* of these: somebody else held it */
    WAITS,     /* waits for a condition */
    SIGNALS,   /* conditions signalled or broadcast */
    SYNCS,     /* fdatasync */
    SENDS,     /* sendmsg, send */
    COUNTS
};

static _Atomic unsigned long fallback[COUNTS];
static _Atomic unsigned long *counts = fallback;

__attribute__((constructor)) static void map_counts(void)
{
    const char *path = getenv("RAFTCOMPARE_COUNTS");
    int file = path != NULL ? open(path, O_RDWR | O_CREAT, 0600) : -1;
    if (file < 0)
        return;
    if (ftruncate(file, sizeof(fallback)) == 0) {
        void *map = mmap(NULL, sizeof(fallback), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (map != MAP_FAILED)
            counts = map;
    }
    close(file);
}

static void add(enum count which)
{
    atomic_fetch_add_explicit(&counts[which], 1, memory_order_relaxed);
}

/* `real` is the function of this name that this one stands in front of. Threads that come at the
 * same time find the same. */
#define REAL(name)                          \
    static __typeof__(name) *volatile real; \
    if (real == NULL)                       \
    *(void *volatile *)&real = dlsym(RTLD_NEXT, #name)

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    REAL(pthread_mutex_lock);
    add(LOCKS);
    if (pthread_mutex_trylock(mutex) == 0)
        return 0;
    add(CONTENDED);
    return real(mutex);
}

int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    REAL(pthread_cond_wait);
    add(WAITS);
    return real(condition, mutex);
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *until)
{
    REAL(pthread_cond_timedwait);
    add(WAITS);
    return real(condition, mutex, until);
}

int pthread_cond_signal(pthread_cond_t *condition)
{
    REAL(pthread_cond_signal);
    add(SIGNALS);
    return real(condition);
}

int pthread_cond_broadcast(pthread_cond_t *condition)
{
    REAL(pthread_cond_broadcast);
    add(SIGNALS);
    return real(condition);
}

int fdatasync(int file)
{
    REAL(fdatasync);
    add(SYNCS);
    return real(file);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags)
{
    REAL(sendmsg);
    add(SENDS);
    return real(socket, message, flags);
}

ssize_t send(int socket, const void *bytes, size_t size, int flags)
{
    REAL(send);
    add(SENDS);
    return real(socket, bytes, size, flags);
}
