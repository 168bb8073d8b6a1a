/* way_back.h - confirmed reads that came from other servers, and the way their answers take back.
 *
 * The way to another server holds only so many bytes (peer-queue-bytes). A follower's clients may
 * ask for more than that at once; an answer for which there is no room would be lost, and honest
 * clients would wait for it in vain. So a read from there is executed only when there is room for
 * its answer. Until then it waits here: the reads of each server in a list of their own, in their
 * order, so that nobody else's are held up by them. The commands wait, not their answers, and they
 * are bounded as before: by what followers may forward.
 *
 * Why that is linearizable: a read comes here when its round is confirmed and its index is applied.
 * All that was committed before the read was asked is in the machine by then, and stays in it; what
 * is applied until the read is executed is committed, too. So it takes effect behind the last entry
 * applied then, at an instant between question and answer. The same goes for every read that is
 * asked when this one has been answered: its index is not less. A newer leader changes nothing
 * about that, but whoever leads no more gives the reads back, to be asked again.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_REQUESTS_WAY_BACK_H
#define MAILRAFT_REQUESTS_WAY_BACK_H

#include "server/mail/command.h"
#include "server/mail/outbox.h"

struct way_back {
    server_id taker;
    bool asked; /* in this batch; what follows is of no use before */
    bool full;  /* there was no room at all: MAIL_ROOM comes when there is some */
    u64 room;   /* bytes of answers that may still be given in this batch; one may go beyond */
    struct command_list waiting;
};

struct ways_back {
    u32 count; /* of servers that have ever forwarded a read here */
    u32 turn;  /* who is the first to go on in this batch */
    struct way_back ways[SERVERS_MAX];
};

/* A batch of reads begins, and what earlier ones have answered has been sent: each way is asked
 * anew for its room, when it is first needed. */
void ways_back_begin(struct ways_back *ways);

/* Whether the confirmed read may be executed now; else it waits here. Consumes it in that case. */
WARN_UNUSED bool ways_back_open(struct ways_back *ways, struct transport *transport,
                                struct command *read);

/* The next read that waited and may be executed now, NULL: there is none. */
struct command *ways_back_next(struct ways_back *ways, struct transport *transport);

/* A read of this server's was answered with so many bytes. */
void ways_back_answered(struct ways_back *ways, server_id taker, u64 size);

/* Whether more can be executed as soon as what was answered has been sent. If not, all that wait
 * wait for MAIL_ROOM. */
bool ways_back_left(const struct ways_back *ways);

/* How many wait. */
u32 ways_back_waiting(const struct ways_back *ways);

/* The next read that waits, taken out whether or not there is room; NULL: none does. */
struct command *ways_back_take(struct ways_back *ways);

#endif
