/* loop_time.h - how long the server's thread is away from its mail.
 *
 * A round begins when a pile has been taken in, and ends when the thread is ready to wait for the
 * next one; in the dispatch design it begins with the first message that is handled after a flush,
 * and ends with the next flush. Nobody is answered meanwhile, so the longest round is the longest
 * pause. Three histograms: the rounds as the clock saw them; without the time in which they waited
 * for the disk (storage_timing); and of the latter, what a thread worked. What is long in the
 * first only is a slow disk's fault. What is long in the second too, but not in the third, is the
 * machine's, which let others run meanwhile. What is long in all three is this program's own work.
 *
 * Whose work: that of the thread that runs the rules. In the dispatch design these are several in
 * one round, one after the other under the server's lock: each has a part in the round, from
 * loop_time_begin, when it has got the lock, to loop_time_pause or loop_time_end, before it gives
 * it back; and what counts is the sum of the parts. What a reader does before it takes the lock
 * does not count, as it is not the server thread's in the other designs.
 *
 * What a thread worked is told by its processor clock, and to read that is a system call: 0.4 us
 * where a look at the other clocks takes 0.06. So a part that is shorter than LOOP_TIME_SHORT_NS
 * counts wholly: whoever was put aside was so for longer. And as what the clock said at the
 * beginning, what it said a little before is taken, if that is no older than LOOP_TIME_FRESH_NS: by
 * so much at most a longer part seems to have worked too long. (A leader that answered 65,000 reads
 * a second spent 3.6 % of its processor time on the clock when it was read twice a part, and so
 * spends 0.8 %, or 1.6 % in the dispatch design; with writes it is less.)
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_REPLICA_LOOP_TIME_H
#define MAILRAFT_REPLICA_LOOP_TIME_H

#include "common/histogram.h"

enum {
    LOOP_TIME_SHORT_NS = 250 * 1000,
    LOOP_TIME_FRESH_NS = 100 * 1000,
    LOOP_TIME_THREADS =
        8 /* of so many it is known what their clocks said; more only cost more looks */
};

/* What whoever calls has read, and how to read its thread's clock (clock_thread_ns). */
struct loop_time_clocks {
    u64 now_ns;
    u64 waited_ns;      /* for the disk, so far */
    const void *thread; /* that calls: thread_self() */
    u64 (*thread_ns)(void);
};

/* What the clock of a thread said when it was read last. */
struct loop_time_thread {
    const void *thread; /* NULL: none */
    u64 read_ns;
    u64 thread_ns;
};

/* All zeros: nothing has been measured. */
struct loop_time {
    u64 began_ns;       /* 0: no round goes on */
    u64 waited_ns;      /* for the disk, when it began */
    u64 worked_ns;      /* in the parts that are over */
    u64 part_began_ns;  /* the part that goes on */
    u64 part_waited_ns; /* for the disk, when that began */
    u32 part_thread;    /* whose it is, among `threads` */
    struct loop_time_thread threads[LOOP_TIME_THREADS];
    struct histogram rounds;
    struct histogram rounds_without_disk;
    struct histogram rounds_of_work;
};

/* A round begins; if one goes on, the calling thread's part in it does. */
void loop_time_begin(struct loop_time *pace, const struct loop_time_clocks *clocks);
/* The thread's part is over, and the round goes on with another one. */
void loop_time_pause(struct loop_time *pace, const struct loop_time_clocks *clocks);
/* The round is over, and with it the calling thread's part. Nothing happens when none goes on. */
void loop_time_end(struct loop_time *pace, const struct loop_time_clocks *clocks);
/* Forgets what was measured; the round that goes on counts when it ends. */
void loop_time_reset(struct loop_time *pace);

#endif
