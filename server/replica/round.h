/* round.h - a round of work: from the mail that is taken in to the next wait for mail, and the
 * clocks that it is measured by (loop_time.h).
 *
 * Thread: the one that runs the server's rules. */
#ifndef MAILRAFT_REPLICA_ROUND_H
#define MAILRAFT_REPLICA_ROUND_H

#include "server/replica/replica.h"

/* A round of work begins, or if one goes on, this thread's part in it (loop_time.h): reads the
 * clocks, notes the wall's, and returns the monotonic one. server_collect begins and ends rounds; a
 * design that takes in its mail otherwise, where it does. */
u64 server_begin_round(struct server *server);
/* The round goes on, but with another thread. */
void server_pause_round(struct server *server);
/* The thread is about to wait. */
void server_end_round(struct server *server);

/* Takes in a round's mail, waiting for some until `deadline_ns`. The only place where a loop waits
 * for anything but the disk. Returns as mailbox_collect: all mail that came before that instant is
 * on the pile or has been read, and no later deadline may be acted upon. `*now_ns` is the time
 * afterwards. */
u64 server_collect(struct server *server, u64 deadline_ns, u64 *now_ns);

/* Notes in the event trace that this mail is read, and numbers the commands of clients in it; a
 * second time, in another loop, it does neither. */
void server_open_mail(struct server *server, struct mail *mail);

/* Takes the oldest mail off the pile and opens it; NULL: all is read. It stays the server's, which
 * destroys it when the next is asked for: mail that is read is dealt with, unless it is put back.
 */
struct mail *server_next_mail(struct server *server);

/* Puts the mail that server_next_mail has returned back on top of the pile: the next loop is to
 * read it. */
void server_put_back(struct server *server);

#endif
