/* reread.h - SIGHUP: cluster.conf is read again, and its run-time keys take effect.
 *
 * It is as if whoever edited the file had given a CONFIG SET for each run-time key that it says
 * otherwise: each goes to the server, which changes it between two piles. A file that is wrong
 * changes nothing. Keys that cannot change while a server runs are named, so that nobody waits for
 * them. */
#ifndef MAILRAFT_RAFTD_REREAD_H
#define MAILRAFT_RAFTD_REREAD_H

#include "common/sync.h"
#include "server/mail/mail.h"
#include "server/raftd/settings.h"

/* Outlives the server, which may give its answer long after the wait was over. */
struct reread {
    struct command_sink sink;
    struct mutex lock; /* a leaf */
    struct condition changed;
    u64 asked;            /* Guarded by lock, as all below: orders given, each one's number */
    u64 answered;         /* the last order with an answer */
    char answer[2 * KIB]; /* it, without the line's end */
};

void reread_init(struct reread *reread);
void reread_deinit(struct reread *reread);

/* Reads the file again, and says what became of it. `fixed` is a key that the command line has set,
 * or NULL. Thread: main. Blocks, for a while where the server does not answer. */
void reread(struct reread *reread, struct settings *settings, const char *path, const char *fixed,
            struct mail_slot *slot, struct report *report);

#endif
