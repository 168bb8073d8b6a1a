/* rng.h - seeded random numbers (xoshiro256**, seeded through splitmix64).
 *
 * There is no global generator: whoever needs numbers is handed a `struct rng`, so that a
 * simulated run is repeated exactly by its seed. Not for secrets. Thread: one at a time. */
#ifndef MAILRAFT_COMMON_RNG_H
#define MAILRAFT_COMMON_RNG_H

#include "common/types.h"

struct rng {
    u64 state[4]; /* never all zero */
};

void rng_init(struct rng *rng, u64 seed);
u64 rng_next(struct rng *rng);
/* Uniform in [low, high], both inclusive; low <= high. Unbiased. */
u64 rng_range(struct rng *rng, u64 low, u64 high);
/* True `numerator` times in `denominator`. */
bool rng_chance(struct rng *rng, u64 numerator, u64 denominator);
/* A seed from the operating system's entropy. Production only; the simulator never calls it. */
u64 rng_entropy(void);

#endif
