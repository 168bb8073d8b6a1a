/* dispatch.h - the design with one handler, which switches on the kind of message.
 *
 * There is no mailbox and no pile: whoever has mail (a peer's reader, the client port, a job) takes
 * the server's one lock and calls the handler itself. First comes the term, then a `switch` on the
 * message, and within each case what the state demands. State changes in one function,
 * dispatch_become, which is called from several places. What a state needs - votes, the peers'
 * progress, commands under way - lives as long as the server, and is reset by hand when its state
 * begins and ended by hand when it ends. Two timers, election and heartbeat, call back on the
 * thread that runs the server.
 *
 * Group commit: a handler that sees others waiting for the lock leaves the flush to the last of
 * them. Nobody waits longer than a flush. The client port (try_post) does not wait for the disk at
 * all, or no client were answered, not even by PONG, while that does not answer: a flush that has
 * something to save it leaves to the timers' thread.
 *
 * Compare with per_state/: same rules, same acts, same storage; only the control flow differs. */
#ifndef MAILRAFT_DISPATCH_DISPATCH_H
#define MAILRAFT_DISPATCH_DISPATCH_H

#include <stdatomic.h>

#include "server/replica/replica.h"

struct dispatch {
    struct mail_slot slot; /* posting is calling the handler */
    struct server *server;
    struct mutex lock;        /* the server's one lock; guards all of `server` and all below */
    struct condition changed; /* it has started, a deadline came nearer, or it is to stop */
    _Atomic u32 waiting;      /* threads that wait for the lock with mail in hand */
    u32 unflushed;            /* messages handled since the last flush */
    u64 unflushed_bytes;      /* of those, as mail_weigh has it */
    bool flush_left;          /* to the timers' thread, by one that must not wait for the disk */
    bool running;
    bool stopped;
    u64 now_ns;      /* when the handler or the timer took the lock */
    u64 armed_ns;    /* until when the timers' thread sleeps */
    u64 deadline_ns; /* the election timer, of followers and candidates */

    /* What belongs to one state. */
    struct election election;     /* candidate: votes received */
    bool election_begins;         /* candidate: the requests are about to go out */
    struct forwarding forwarding; /* follower: commands under way to the leader */
    struct leader_pending lead;   /* leader: progress of the peers, clients who wait */
};

/* What runs are the timers. Before that, mail waits. */
extern const struct design dispatch_design;

/* What a server of this design keeps. */
struct dispatch *dispatch_of(const struct server *server);

/* ---- inside the room; all with the lock held ---- */

/* handler.c: deals with one message. */
void dispatch_handle(struct dispatch *dispatch, struct mail *mail);

/* transitions.c: the one place where the state changes. */
void dispatch_become(struct dispatch *dispatch, enum raft_state state, const char *why);
/* The same for RAFT_CANDIDATE; `skip_pre_vote`: no pre-vote, stickiness put aside. */
void dispatch_campaign(struct dispatch *dispatch, bool skip_pre_vote, const char *why);
/* Counts the votes after a flush. Returns whether anything came of it, to be flushed in turn. */
bool dispatch_count_votes(struct dispatch *dispatch);

/* timers.c: calls back what is due; when the next callback is due. */
void dispatch_timers(struct dispatch *dispatch);
u64 dispatch_next_deadline_ns(const struct dispatch *dispatch);

#endif
