/* clock.c - the production side of the seam: the kernel's clocks. */
#include "common/clock.h"

#include <time.h>

#include "common/check.h"

static u64 read_clock(clockid_t clock)
{
    struct timespec now;
    int failed = clock_gettime(clock, &now);
    ASSERT(!failed);
    return (u64)now.tv_sec * NS_PER_S + (u64)now.tv_nsec;
}

u64 clock_monotonic_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

u64 clock_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

u64 clock_thread_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}
