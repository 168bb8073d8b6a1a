/* streams.h - what a leader has taken of the writes that other servers forward to it.
 *
 * Each server that takes writes from clients (a *taker*) numbers them as they come: their serials
 * rise for as long as it runs. It hands them to the leader in that order, as one stream, and the
 * leader appends them in that order, or not at all: go back n.
 *
 *   - Within a leadership the leader takes a taker's serials strictly rising.
 *   - Each FORWARD of writes names, beside its own serials, the newest write that the taker counts
 *     as under way with this leader. If the leader has not taken that one (it was lost, refused, or
 *     held and given back), it refuses what comes behind it.
 *   - From then on it refuses all of that stream, until the taker begins again, from the first that
 *     was not taken, under a higher *attempt*. What is on its way under a lower one comes too late.
 *
 * So "refused from serial n on" means that nothing from n on was appended, or ever will be in that
 * attempt, and all of it may be sent again, in its order; and what the taker gave up (its outcome
 * is unknown to it) is never appended behind what it sent later. Reads have no serials; but
 * a read that must see a write of its client names that one, and is refused if it was not taken.
 *
 * Across leaderships: a FORWARD counts only in the term in which it was sent, and a log that holds
 * a later write of a taker, sent in a later term, is one in which the earlier ones stand before it,
 * or will never stand.
 *
 * What a server has taken as a leader it remembers beyond its leadership, until it leads again: a
 * copy of a FORWARD that it has taken must not be told that nothing was executed.
 *
 * Thread: the one that runs the server's rules. */
#ifndef MAILRAFT_RULES_STREAMS_H
#define MAILRAFT_RULES_STREAMS_H

#include "server/rules/message.h"

struct stream {
    server_id taker; /* SERVER_NONE: a free place */
    u64 start;       /* the taker's start */
    u64 attempt;     /* the highest seen in that start */
    u64 taken;       /* serial of the newest write taken, and not given back since */
    bool broken;     /* a later one was refused: nothing more of this attempt */
    u64 message;     /* of a build that does not number attempts: its newest FORWARD */
};

struct streams {
    u64 term; /* of the leadership that they belong to; 0: this server has not led */
    struct stream streams[SERVERS_MAX];
};

/* A leadership begins. */
void streams_begin(struct streams *streams, u64 term);

/* The taker's data directory is another one, or an older one: its numbers begin anew. */
void streams_forget(struct streams *streams, server_id taker);

enum stream_verdict {
    STREAM_TAKEN,   /* the commands are the leader's now, and are to be appended in their order */
    STREAM_REFUSED, /* nothing of it was or will be executed: raft_refuse says that */
    STREAM_KNOWN    /* a copy of one that was taken: no answer, or a lie */
};

/* A FORWARD of the leadership's term has come. `closed`: the leader takes nothing now. */
WARN_UNUSED enum stream_verdict streams_take(struct streams *streams, const struct message *request,
                                             bool closed);

/* A write that was taken is given back to its taker: it was not appended, and neither was any
 * behind it. */
void streams_give_back(struct streams *streams, server_id taker, u64 serial);

/* Whether this FORWARD, which this server does not take, is a copy of one that it has taken. */
bool streams_know(const struct streams *streams, const struct message *request);

/* From which serial on nothing was or will be taken of the stream that this FORWARD, which is
 * refused, belongs to, in its attempt; 0: the refusal tells of this FORWARD alone. */
u64 streams_refused_from(const struct streams *streams, const struct message *request);

#endif
