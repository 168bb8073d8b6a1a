/* clock.c - the simulator's side of common/clock.h: virtual time, bent by each server's faults.
 *
 * Integer arithmetic only: the same on every machine. */
#include "common/clock.h"

#include "test/sim/world.h"

/* 2020-01-01T00:00:00Z: some day, the same in every run. */
#define WALL_BEGIN_NS (1577836800ULL * NS_PER_S)

void sim_clock_init(struct sim_clock *clock)
{
    /* Monotonic clocks begin at 1 s: to the rooms 0 means "never". */
    *clock = (struct sim_clock){.local_ns = NS_PER_S, .rate_ppm = CLOCK_RATE_TRUE};
}

u64 sim_clock_local_ns(const struct sim_clock *clock, u64 true_ns)
{
    u64 passed = true_ns - clock->true_ns;
    u64 rate = clock->rate_ppm;
    return clock->local_ns + passed / CLOCK_RATE_TRUE * rate +
           passed % CLOCK_RATE_TRUE * rate / CLOCK_RATE_TRUE;
}

u64 sim_clock_true_ns(const struct sim_clock *clock, u64 local_ns)
{
    if (local_ns == TIME_NEVER)
        return TIME_NEVER;
    if (local_ns <= clock->local_ns)
        return clock->true_ns;
    u64 wanted = local_ns - clock->local_ns;
    u64 rate = clock->rate_ppm;
    if (wanted / rate >= TIME_NEVER / CLOCK_RATE_TRUE - 1)
        return TIME_NEVER;
    u64 rounded_up = (wanted % rate * CLOCK_RATE_TRUE + rate - 1) / rate;
    u64 passed = wanted / rate * CLOCK_RATE_TRUE + rounded_up;
    return passed > TIME_NEVER - clock->true_ns ? TIME_NEVER : clock->true_ns + passed;
}

static const struct sim_clock *clock_current(const struct world *world)
{
    return world->process != NULL ? world->process->clock : &world->clock;
}

u64 clock_monotonic_ns(void)
{
    const struct world *world = world_current();
    return world == NULL ? NS_PER_S : sim_clock_local_ns(clock_current(world), world->now_ns);
}

u64 clock_wall_ns(void)
{
    const struct world *world = world_current();
    if (world == NULL)
        return WALL_BEGIN_NS;
    const struct sim_clock *clock = clock_current(world);
    return WALL_BEGIN_NS + sim_clock_local_ns(clock, world->now_ns) + (u64)clock->wall_offset_ns;
}

/* A server's threads are fibers that take no virtual time to run: there is nothing to tell apart.
 */
u64 clock_thread_ns(void)
{
    return clock_monotonic_ns();
}
