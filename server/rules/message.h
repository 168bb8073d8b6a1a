/* message.h - what servers say to each other: the arguments and results of the paper's RPCs.
 *
 * A message is a plain value in memory. How it becomes bytes is the peers room's business
 * (peers/codec.h); rules fill and read it without knowing that there is a network.
 *
 * Every request carries a `call`, and its receiver sends exactly one reply that echoes it, refusals
 * included; acknowledgements are never merged. (FORWARD has its reply when its last command is
 * done. TIMEOUT_NOW has none: the election that follows is the answer. UNRECOGNISED has none.) */
#ifndef MAILRAFT_RULES_MESSAGE_H
#define MAILRAFT_RULES_MESSAGE_H

#include "common/bytes.h"
#include "common/types.h"
#include "server/rules/identity.h"

/* X(NAME, word for traces and scenario files). The order is the number on the wire; never reuse. */
#define MESSAGE_KINDS(X)                        \
    X(PRE_VOTE, "pre-vote")                     \
    X(PRE_VOTE_REPLY, "pre-vote-reply")         \
    X(REQUEST_VOTE, "vote")                     \
    X(REQUEST_VOTE_REPLY, "vote-reply")         \
    X(APPEND_ENTRIES, "append")                 \
    X(APPEND_ENTRIES_REPLY, "append-reply")     \
    X(FORWARD, "forward")                       \
    X(FORWARD_REPLY, "forward-reply")           \
    X(TIMEOUT_NOW, "timeout-now")               \
    X(INSTALL_SNAPSHOT, "snapshot")             \
    X(INSTALL_SNAPSHOT_REPLY, "snapshot-reply") \
    X(UNRECOGNISED, "unrecognised")

enum message_kind {
    MESSAGE_NONE = 0,
#define X(name, word) MESSAGE_##name,
    MESSAGE_KINDS(X)
#undef X
        MESSAGE_KIND_END
};

/* PRE_VOTE and REQUEST_VOTE [RequestVote arguments, §5.2; pre-vote: thesis §9.6]. The candidate is
 * message.from. In a PRE_VOTE message.term is the term it *would* campaign in. */
struct vote_request {
    struct entry_id last; /* candidate's last log entry (§5.4.1) */
    bool transfer;        /* leadership was handed to it: voters put stickiness aside */
};

/* PRE_VOTE_REPLY and REQUEST_VOTE_REPLY. message.term is the voter's own current term. */
struct vote_reply {
    bool granted;
    u64 readmitted; /* as in an append_reply */
};

/* APPEND_ENTRIES [AppendEntries arguments, §5.3]. The leader is message.from; the records are in
 * message.spans, in the form of entry.h, `count` of them with indexes prev.index + 1 and up. */
struct append_request {
    struct entry_id prev; /* prevLogTerm and prevLogIndex */
    u64 leader_commit;
    u64 round; /* a leader's confirming rounds rise; echoed in the reply (reads_confirmed_round) */
    u32 count; /* 0: a heartbeat */
};

enum append_result {
    APPEND_ACCEPTED = 1,
    APPEND_REFUSED_TERM = 2,     /* [AppendEntries 1, §5.1] the sender's term is over */
    APPEND_REFUSED_CONFLICT = 3, /* [AppendEntries 2, §5.3] no entry at prev with that term */
    APPEND_REFUSED_SPACE = 4     /* no room on disk; says nothing about the logs */
};

/* APPEND_ENTRIES_REPLY. */
struct append_reply {
    enum append_result result;
    u64 match_index; /* accepted: prev.index + count of the request, no more; else 0 */
    /* Refused for a conflict: where to look next (§5.3, last paragraphs). {0, last + 1} when the
     * log is shorter than prev; else the term at prev and the first index of that term. */
    struct entry_id conflict;
    u64 round;      /* the request's */
    bool full;      /* its disk is, nearly at least: it should not be made the leader */
    bool repairing; /* its log lost entries that it had acknowledged, and knows it (raft.h) */
    bool non_voter; /* it knows that it is unrecognised (trust.h): this is to count nowhere */
    u64 readmitted; /* the newest readmission that it has fulfilled (trust.h) */
};

/* INSTALL_SNAPSHOT [InstallSnapshot arguments, Figure 13, §7]. A piece of the snapshot's file is in
 * the spans; `last`, `size` and `checksum` together name that file. Without a piece it asks how
 * much the follower has, and keeps it from campaigning, as a heartbeat does. */
struct install_request {
    struct entry_id last; /* lastIncludedTerm and lastIncludedIndex */
    u64 size;             /* bytes of the whole file; where a piece ends there, it is the last */
    u32 checksum;         /* of the whole file */
    u64 offset;           /* where in the file the piece lies */
    u64 round;            /* as in an AppendEntries */
};

enum install_result {
    INSTALL_CONTINUE = 1,    /* send what begins at next_offset; at size: all is there, in work */
    INSTALL_DONE = 2,        /* everything through `last` has been applied here, and is durable */
    INSTALL_BUSY = 3,        /* its disk is behind: again with the next heartbeat */
    INSTALL_NO_SPACE = 4,    /* its disk is full: the same */
    INSTALL_REFUSED_TERM = 5 /* [InstallSnapshot 1, §7] the sender's term is over */
};

/* INSTALL_SNAPSHOT_REPLY. */
struct install_reply {
    enum install_result result;
    u64 next_offset; /* the first byte that it lacks */
    u64 round;       /* the request's */
};

/* FORWARD: a follower hands its clients' commands to the leader, writes or reads. The commands are
 * in the spans (encoding: forward.h). Writes are a stream: see streams.h. */
struct forward_request {
    u64 start;          /* the sender's start counter */
    u64 serial;         /* of the message: 1 and up within one start */
    u32 count;          /* commands in the spans, at least 1 */
    u64 attempt;        /* 1 and up within one start; 0: of a build that numbers none */
    u64 first_write;    /* serial of the first write; the others follow it; 0: these are reads */
    u64 previous_write; /* writes: the newest one before them that is under way with this leader;
                           reads: the newest that one of them must see; 0: there is none */
};

enum forward_result {
    FORWARD_DONE = 1,      /* the spans hold `count` answers, in the order of the commands */
    FORWARD_NOT_LEADER = 2 /* refused: nothing was executed, or will be */
};

/* FORWARD_REPLY. Answers that do not fit in one message come in several. */
struct forward_reply {
    enum forward_result result;
    u32 count;
    u32 first;        /* position in the FORWARD of the command that the first answer is for */
    u64 refused_from; /* refused: so are all writes of its stream from this serial on
                         (streams_refused_from); 0: this FORWARD alone */
    bool leads;       /* refused: by a leader that goes on to lead */
};

/* UNRECOGNISED: the receiver is not the server that the sender met before (trust.h). What it shows
 * of itself is repeated, so that nobody else takes it to heart who comes in its place. */
struct unrecognised {
    u64 directory_id;
    u64 start_count;
    enum distrust why;
    u64 readmitted; /* the newest readmission of it that the sender knows of: before another one
                       this says nothing */
};

enum {
    /* Pieces of memory a message's records or commands may lie in: bounded by what one sendmsg
     * takes well, and enough for a full window of entries that arrived one by one. */
    MESSAGE_SPANS_MAX = 32
};

struct message {
    enum message_kind kind;
    server_id from;
    server_id to;
    u64 term; /* the sender's current term; in a PRE_VOTE the term it would campaign in */
    u64 call; /* request: unique among the sender's, also of earlier lives; reply: the request's */
    union {
        struct vote_request vote_request;
        struct vote_reply vote_reply;
        struct append_request append_request;
        struct append_reply append_reply;
        struct forward_request forward_request;
        struct forward_reply forward_reply;
        struct install_request install_request;
        struct install_reply install_reply;
        struct unrecognised unrecognised;
    } as;
    u32 span_count;
    struct span spans[MESSAGE_SPANS_MAX]; /* the first span_count hold references */
};

/* "append-reply". Never NULL. */
const char *message_kind_word(enum message_kind kind);

/* Whether the kind answers a request. */
bool message_is_reply(enum message_kind kind);

/* Bytes in all spans. */
u64 message_payload_size(const struct message *message);

/* Gives back the spans' references; leaves span_count 0. */
void message_release(struct message *message);

#endif
