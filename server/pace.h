/* pace.h - how long the server's thread is away from its mail.
 *
 * A round begins when a pile has been taken in, and ends when the thread is ready to wait for the
 * next one; in the dispatch design it begins with the first letter that is handled after a flush,
 * and ends with the next flush. Nobody is answered meanwhile, so the longest round is the longest
 * pause. Two histograms: the rounds as the clock saw them, and without the time in which they
 * waited for the disk (storage_waited_ns). What is long in the first only is a slow
 * disk's fault; what is long in both is this program's, or the machine's, which gave it no
 * processor.
 *
 * Thread: the one that runs the server's rules. Never blocks, reads no clock. */
#ifndef MAILRAFT_SERVER_PACE_H
#define MAILRAFT_SERVER_PACE_H

#include "common/histogram.h"

/* All zeros: nothing has been measured. */
struct pace {
    u64 began_ns;  /* 0: no round goes on */
    u64 waited_ns; /* for the disk, when it began */
    struct histogram rounds;
    struct histogram rounds_without_disk;
};

/* Nothing happens while a round goes on. `waited_ns`: for the disk, so far. */
void pace_begin(struct pace *pace, u64 now_ns, u64 waited_ns);
/* Nothing happens when none goes on. */
void pace_end(struct pace *pace, u64 now_ns, u64 waited_ns);
/* Forgets what was measured; the round that goes on counts when it ends. */
void pace_reset(struct pace *pace);

#endif
