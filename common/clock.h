/* clock.h - what time it is.
 *
 * SEAM. Production links common/clock.c. The simulator links its own, which answers with the
 * virtual time of the server that is running, bent by that server's clock faults. Rules never read
 * a clock: whoever calls them passes `now_ns`.
 *
 * Thread: any. Never blocks. */
#ifndef MAILRAFT_COMMON_CLOCK_H
#define MAILRAFT_COMMON_CLOCK_H

#include "common/types.h"

/* Nanoseconds since some fixed instant; never goes back, and is never 0, which stands for "never"
 * in many fields. All deadlines are in it. */
u64 clock_monotonic_ns(void);

/* Nanoseconds since 1970, as the operator's clock has it; may jump. Only for what people read and
 * for the time stamped into entries. Nothing about safety or elections depends on it. */
u64 clock_wall_ns(void);

/* Nanoseconds for which the calling thread has had a processor since it began: differences tell its
 * work from the time in which it waited, or others were let run in its place. A system call, and
 * several times as slow as the other clocks. In the simulator code takes no time, and this is as
 * clock_monotonic_ns(). */
u64 clock_thread_ns(void);

#endif
