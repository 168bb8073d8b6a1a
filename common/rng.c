/* rng.c - xoshiro256** and its seeding, after the public descriptions of both generators. */
#include "common/rng.h"

#include <string.h>
#include <sys/auxv.h>
#include <sys/random.h>

#include "common/check.h"
#include "common/clock.h"

static u64 rotate_left(u64 value, unsigned bits)
{
    return value << bits | value >> (64 - bits);
}

/* One step of splitmix64: spreads even small, similar seeds over all 64 bits. */
static u64 splitmix(u64 *state)
{
    u64 mixed = *state += 0x9e3779b97f4a7c15ULL;
    mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebULL;
    return mixed ^ mixed >> 31;
}

void rng_init(struct rng *rng, u64 seed)
{
    /* Four consecutive outputs of splitmix64 are all different, so they are never all zero. */
    for (int i = 0; i < 4; i++)
        rng->state[i] = splitmix(&seed);
}

u64 rng_next(struct rng *rng)
{
    u64 *state = rng->state;
    u64 result = rotate_left(state[1] * 5, 7) * 9;
    u64 shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate_left(state[3], 45);
    return result;
}

u64 rng_range(struct rng *rng, u64 low, u64 high)
{
    ASSERT(low <= high);
    u64 count = high - low + 1;
    if (count == 0) /* all 2^64 values */
        return rng_next(rng);
    /* The lowest 2^64 mod count values would be drawn once too often: draw again. */
    u64 surplus = (0 - count) % count;
    u64 drawn;
    do
        drawn = rng_next(rng);
    while (drawn < surplus);
    return low + drawn % count;
}

bool rng_chance(struct rng *rng, u64 numerator, u64 denominator)
{
    ASSERT(denominator > 0 && numerator <= denominator);
    return rng_range(rng, 0, denominator - 1) < numerator;
}

u64 rng_entropy(void)
{
    u64 seed;
    if (getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed))
        return seed;
    /* Where the call is forbidden, the clocks tell servers and starts apart. */
    seed = clock_wall_ns() ^ rotate_left(clock_monotonic_ns(), 32);
    /* And the kernel gives each process that it starts some random bytes, whatever it may call. */
    const void *given = (const void *)(uintptr_t)getauxval(AT_RANDOM);
    if (given != NULL) {
        u64 random;
        memcpy(&random, given, sizeof(random));
        seed ^= random;
    }
    return splitmix(&seed);
}
