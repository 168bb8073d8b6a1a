/* chaos_damage.h - faults of chaos that damage what a disk holds. Private to chaos*.c.
 *
 * Never more than a minority is damaged at a time, counting those that have not got back what they
 * lost: more than that no server could make good. */
#ifndef MAILRAFT_TEST_SIM_CHAOS_DAMAGE_H
#define MAILRAFT_TEST_SIM_CHAOS_DAMAGE_H

#include "common/rng.h"
#include "test/sim/chaos.h"

/* Begins a fault of a DAMAGE kind; sets whom it struck. What else belongs to it comes by itself
 * before its time is over. */
void chaos_damage(struct chaos_fault *fault, struct rng *rng);

/* Ends it; that all is put right afterwards is the caller's affair. */
void chaos_damage_end(struct chaos_fault *fault);

#endif
