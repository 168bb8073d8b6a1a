/* loop_time.h - how long the server's thread is away from its mail.
 *
 * A round begins when a pile has been taken in, and ends when the thread is ready to wait for the
 * next one; in the dispatch design it begins with the first letter that is handled after a flush,
 * and ends with the next flush. Nobody is answered meanwhile, so the longest round is the longest
 * pause. Three histograms: the rounds as the clock saw them; without the time in which they waited
 * for the disk (storage_timing); and of the latter, what a thread worked. What is long in the
 * first only is a slow disk's fault. What is long in the second too, but not in the third, is the
 * machine's, which let others run meanwhile. What is long in all three is this program's own work.
 *
 * Whose work: that of the thread that runs the rules. In the dispatch design these are several in
 * one round, one after the other under the server's lock: each has a part in the round, from
 * pace_begin, when it has got the lock, to pace_pause or pace_end, before it gives it back; and
 * what counts is the sum of the parts. What a reader does before it takes the lock does not count,
 * as it is not the server thread's in the other designs.
 *
 * What a thread worked is told by its processor clock, and to read that is a system call: 0.4 us
 * where a look at the other clocks takes 0.06. So a part that is shorter than PACE_SHORT_NS counts
 * wholly: whoever was put aside was so for longer. And as what the clock said at the beginning,
 * what it said a little before is taken, if that is no older than PACE_FRESH_NS: by so much at most
 * a longer part seems to have worked too long. (A leader that answered 65,000 reads a second spent
 * 3.6 % of its processor time on the clock when it was read twice a part, and so spends 0.8 %, or
 * 1.6 % in the dispatch design; with writes it is less.)
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_REPLICA_LOOP_TIME_H
#define MAILRAFT_REPLICA_LOOP_TIME_H

#include "common/histogram.h"

enum {
    PACE_SHORT_NS = 250 * 1000,
    PACE_FRESH_NS = 100 * 1000,
    PACE_THREADS = 8 /* of so many it is known what their clocks said; more only cost more looks */
};

/* What whoever calls has read, and how to read its thread's clock (clock_thread_ns). */
struct pace_clocks {
    u64 now_ns;
    u64 waited_ns;      /* for the disk, so far */
    const void *thread; /* that calls: thread_self() */
    u64 (*thread_ns)(void);
};

/* What the clock of a thread said when it was read last. */
struct pace_thread {
    const void *thread; /* NULL: none */
    u64 read_ns;
    u64 thread_ns;
};

/* All zeros: nothing has been measured. */
struct pace {
    u64 began_ns;       /* 0: no round goes on */
    u64 waited_ns;      /* for the disk, when it began */
    u64 worked_ns;      /* in the parts that are over */
    u64 part_began_ns;  /* the part that goes on */
    u64 part_waited_ns; /* for the disk, when that began */
    u32 part_thread;    /* whose it is, among `threads` */
    struct pace_thread threads[PACE_THREADS];
    struct histogram rounds;
    struct histogram rounds_without_disk;
    struct histogram rounds_of_work;
};

/* A round begins; if one goes on, the calling thread's part in it does. */
void pace_begin(struct pace *pace, const struct pace_clocks *clocks);
/* The thread's part is over, and the round goes on with another one. */
void pace_pause(struct pace *pace, const struct pace_clocks *clocks);
/* The round is over, and with it the calling thread's part. Nothing happens when none goes on. */
void pace_end(struct pace *pace, const struct pace_clocks *clocks);
/* Forgets what was measured; the round that goes on counts when it ends. */
void pace_reset(struct pace *pace);

#endif
