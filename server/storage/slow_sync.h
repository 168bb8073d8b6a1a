/* slow_sync.h - says that the disk is slow, but not all the time.
 *
 * A wait for it that takes longer than the setting slow-sync is worth a line, for while it lasts
 * nobody is answered; a disk that is slow all day is not worth a thousand. At most one line in 10 s
 * is said: the first slow sync at once, and those that were kept quiet in the next line, with their
 * number and the longest. That line comes with the first sync after the 10 s, slow or not.
 *
 * Thread: the server's. Reads no clock. */
#ifndef MAILRAFT_STORAGE_SLOW_SYNC_H
#define MAILRAFT_STORAGE_SLOW_SYNC_H

#include "common/report.h"

#define SLOW_SYNC_QUIET_NS (10 * NS_PER_S)

struct slow_sync {
    u64 limit_ns; /* what takes longer is slow; 0: nothing is */
    u64 said_ns;  /* when a line was last said; 0: never */
    u64 count;    /* slow ones that were not said yet, */
    u64 longest_ns;
    const char *longest_what; /* and what the longest of them was */
};

/* `what`, a static text such as "a sync of the log", took `took_ns`, up to `now_ns`. */
void slow_sync_note(struct slow_sync *slow, struct report *report, const char *what, u64 now_ns,
                    u64 took_ns);

#endif
