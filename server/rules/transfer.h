/* transfer.h - a leader hands its leadership to another server (thesis §3.10).
 *
 * The leader stops appending commands, brings the target's log up to its own end, and tells it
 * TIMEOUT_NOW: campaign at once, without a pre-vote, and with a word to the voters that they need
 * not stand by the old leader. The target's request for votes, of a newer term, deposes the leader.
 * If that has not happened within an election timeout and some round trips, the leader leads on as
 * if nothing had been.
 *
 * A `struct transfer` belongs to one leadership and ends with it: a leader that was deposed while
 * it handed over, and leads again later, hands nothing over.
 *
 * Commands that come meanwhile wait with the leader, un-appended, rather than being refused: it is
 * a matter of milliseconds, and whichever way it ends, they can go on to whoever leads then. So it
 * costs no client of the leader an error. When the target has been told, commands that came from
 * other servers are given back, for those will soon hear of another leader; only of what is on its
 * way just then the outcome is unknown. Reads go on throughout: they append nothing.
 *
 * None of this is needed for safety. A target that lacks entries loses its election like anybody,
 * and a TIMEOUT_NOW that comes late, or twice, is one more election. */
#ifndef MAILRAFT_RULES_TRANSFER_H
#define MAILRAFT_RULES_TRANSFER_H

#include "server/rules/replication.h"

/* X(NAME, what to tell whoever ordered it; %u is the server that it is about). */
#define TRANSFER_RESULTS(X)                                                                        \
    X(TRANSFER_BEGUN, "ERR leadership is being handed to server %u")                               \
    X(TRANSFER_DONE, "ERR server %u leads")                                                        \
    X(TRANSFER_UNKNOWN, "ERR server %u is no member of the cluster")                               \
    X(TRANSFER_NO_VOTER, "ERR server %u has no vote, and so cannot lead")                          \
    X(TRANSFER_DOWN, "ERR server %u has not answered for an election timeout; nothing changed")    \
    X(TRANSFER_GONE, "ERR the connection from server %u has ended; nothing changed")               \
    X(TRANSFER_FULL, "ERR the disk of server %u is full; nothing changed")                         \
    X(TRANSFER_SET_BACK, "ERR server %u has lost data that it once held; nothing changed")         \
    X(TRANSFER_LAGS, "ERR server %u is too far behind to take over in time; nothing changed")      \
    X(TRANSFER_NOBODY, "ERR no server but %u could lead now")                                      \
    X(TRANSFER_BUSY, "BUSY leadership is being handed to server %u already")                       \
    X(TRANSFER_FAILED, "ERR server %u did not take over in time; nothing changed")                 \
    X(TRANSFER_OTHER, "ERR server %u leads now, which was not asked for")                          \
    X(TRANSFER_NOT_LEADER, "ERR this server does not lead: order it from server %u")               \
    X(TRANSFER_NO_LEADER, "CLUSTERDOWN server %u knows no leader; nothing changed")                \
    X(TRANSFER_OPEN, "TIMEOUT leadership was given to server %u, and no leader is known as yet")   \
    X(READMIT_NO_MEMBER, "ERR server %u is no member of the cluster")                              \
    X(READMIT_RECOGNISED, "ERR server %u is recognised and votes: there is nothing to readmit")    \
    X(READMIT_AGAIN, "ERR server %u is readmitted already, and votes when it has caught up")       \
    X(READMIT_NOT_MET,                                                                             \
      "ERR server %u is not connected to the leader: start it first; nothing changed")             \
    X(READMIT_EARLIER_START,                                                                       \
      "ERR a later start of server %u was seen, on a copy of its directory: end that, restart it") \
    X(READMIT_WAIT, "BUSY server %u cannot be readmitted just now; nothing changed, try again")    \
    X(READMIT_TOO_OLD, "ERR server %u can be readmitted when all servers run this version")

enum transfer_result {
#define X(name, text) name,
    TRANSFER_RESULTS(X)
#undef X
};

/* The text above, about that server. 128 bytes are enough. Those of readmission are about the other
 * order that only a leader can carry out (identities.h). */
void transfer_describe(enum transfer_result result, server_id who, char *text, size_t size);
/* What every design says of the server that a transfer was to go to, as a warning: that it was
 * given up with this result, or that it begins for want of room. */
const char *transfer_words_given_up(enum transfer_result result);
extern const char transfer_words_no_room[];
/* Whether it means that this server still leads, and that the same order may do better soon. */
bool transfer_may_succeed_later(enum transfer_result result);

struct transfer {
    server_id target; /* who is to lead; SERVER_NONE: nothing goes on */
    u64 deadline_ns;  /* it is given up then */
    u64 told_ns;      /* when TIMEOUT_NOW last left; 0: the target lacks entries as yet */
    u64 rests_ns;     /* transfer_without_room makes no attempt before this time */
};

void transfer_init(struct transfer *transfer);

/* Whether leadership is being handed over: no command may be appended now. */
bool transfer_goes_on(const struct transfer *transfer);

/* Whether the target has been told: from now on any message may come too late to be answered by a
 * leader. */
bool transfer_is_told(const struct transfer *transfer);

/* The voter that would take over soonest: heard of lately, with room on its disk, and of those the
 * one that is known to hold most of the log. SERVER_NONE: nobody could. */
server_id transfer_choose(const struct raft *raft, const struct leadership *leadership, u64 now_ns);

/* Begins to hand over to `target`, not this server itself; SERVER_NONE: to whom transfer_choose
 * finds. Returns TRANSFER_BEGUN, or why not; `*who` is the server that this is about. */
enum transfer_result transfer_begin(const struct raft *raft, const struct leadership *leadership,
                                    struct transfer *transfer, server_id target, u64 now_ns,
                                    server_id *who);

/* A leader whose disk is full, or found no room for a command (`refused`), hands over to somebody
 * who has some. When there is nobody, or it comes to nothing, the leader goes on serving reads, and
 * tries again only after a while, since commands wait during an attempt. Returns whether a transfer
 * was begun. */
bool transfer_without_room(const struct raft *raft, const struct leadership *leadership,
                           struct transfer *transfer, bool refused, u64 now_ns);

enum transfer_verdict {
    TRANSFER_WAIT,    /* nothing goes on, or nothing is to be done now */
    TRANSFER_SEND,    /* `message` is to be sent to the target */
    TRANSFER_GIVEN_UP /* it came to nothing, and is over */
};

/* What a transfer demands now. Call it with every pile, before replicate(). With GIVEN_UP,
 * `*result` says why, and `*who` was the target. */
enum transfer_verdict transfer_go_on(struct raft *raft, struct leadership *leadership,
                                     struct transfer *transfer, u64 now_ns, struct message *message,
                                     enum transfer_result *result, server_id *who);

/* The time by which transfer_go_on has something to say even if nothing happens; 0: it has now. */
u64 transfer_next_ns(const struct raft *raft, const struct leadership *leadership,
                     const struct transfer *transfer);

/* What became of an order, as far as a server can tell that does not lead: one that it never began
 * (`target` is SERVER_NONE), or that it began when it led. `*who` as in transfer_begin. */
enum transfer_result transfer_conclude(const struct raft *raft, server_id target, server_id *who);

#endif
