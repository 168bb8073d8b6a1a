/* trust.h - whether a server is the one that was met before.
 *
 * Raft stands on promises: a vote, and an acknowledged entry, are on a disk. A server whose data
 * directory was lost and made anew, or set back to an older copy, has forgotten some of its
 * promises and does not know it. If it could vote, a majority that lacks a committed entry could
 * elect a leader that lacks it too.
 *
 * So each server remembers, on its own disk, what it saw of every other one: the random id of the
 * data directory, which start of it that was, and that start's random id. A server shows these when
 * it connects, with the ids of its starts before. What does not go on from what was seen is
 * *unrecognised*: from then on its votes and its acknowledgements count in no quorum here, and it
 * gets no vote. It is still a member, and the size of a quorum stays what it was: it counts as one
 * that never answers. It is told, remembers it on its own disk, and never campaigns or votes again,
 * so that it counts nowhere, also not with those who never met it before. It goes on getting
 * entries and serves clients through the leader, until it is replaced by a server with a new id.
 *
 * What cannot be seen:
 * - A server that nobody who is alive ever met, or that was met only by servers that have lost
 *   their own memory of it: to them it is new, as all are at the beginning.
 * - An older copy that was made during the very start that was last seen, and put back after it:
 *   it goes on as if that start had ended when the copy was made. Only a leader that still knows
 *   what the server had acknowledged sees that entries are missing (replicate_reply), and then it
 *   tells. A copy of a directory in use is no backup.
 * - More than IDENTITY_STARTS starts without a meeting: then only the count of starts is compared.
 *
 * Rejected: to believe a new directory once its log has caught up. The entries would be there
 * again, but not the votes, nor what it had acknowledged to a leader that is gone.
 *
 * Thread: as raft.h. */
#ifndef MAILRAFT_RULES_TRUST_H
#define MAILRAFT_RULES_TRUST_H

#include "server/rules/configuration.h"

struct raft;
struct message;

enum {
    IDENTITY_STARTS = 8,                /* of how many starts a directory remembers the ids */
    ACQUAINTANCES_MAX = SERVERS_MAX * 2 /* members, and some that are members no more */
};

/* What a server shows of the data directory that it runs on. */
struct identity {
    u64 directory_id;
    u64 start_count;             /* which start of it this is; 1 and up */
    u64 starts[IDENTITY_STARTS]; /* starts[i]: random id of start start_count - i; 0: it had none */
    bool non_voter;              /* it knows that it is unrecognised */
};

/* X(NAME, words for people). Why nothing of a server counts. The order is the number on the wire;
 * never reuse. */
#define DISTRUSTS(X)                                                          \
    X(DISTRUST_NONE, "it is the server that was met before")                  \
    X(DISTRUST_OTHER_DIRECTORY, "it has another data directory than before")  \
    X(DISTRUST_SET_BACK, "its data directory was set back to an older copy")  \
    X(DISTRUST_LOST_ENTRIES, "it lacks log entries that it had acknowledged") \
    X(DISTRUST_TOLD, "another server did not recognise it, and it says so")

enum distrust {
#define X(name, words) name,
    DISTRUSTS(X)
#undef X
        DISTRUST_END
};

/* "it has another data directory than before". Never NULL. */
const char *distrust_words(enum distrust distrust);

/* What is remembered of another server. */
struct acquaintance {
    server_id id;
    /* Persistent: the newest of it that was believed. */
    u64 directory_id;
    u64 start_count;
    u64 start_id;
    bool lost_entries; /* the directory lacks what it had acknowledged: no later start mends that */
    /* Volatile: what it has shown since this server's start. */
    struct {
        u64 directory_id; /* start_count 0: nothing yet */
        u64 start_count;
    } shown;
    enum distrust distrust;
    bool knows;  /* that it is distrusted: it needs no telling */
    u64 told_ns; /* when it was told last; 0: never */
};

struct trust {
    struct identity own;
    struct acquaintance met[ACQUAINTANCES_MAX];
    u32 count;
    u32 distrusted; /* how many of them */
};

/* The judgement alone: what was believed against what is shown. */
enum distrust trust_judge(const struct acquaintance *met, const struct identity *shown);

/* What a meeting has led to. */
struct meeting {
    enum distrust distrust;
    bool remember; /* `met` has changed, and must be on disk before anything of the peer is read */
    bool changed;  /* the verdict is another than before, or what it is about: worth a line */
    bool anew;     /* what is known of the peer's log is of another directory: replicate_anew */
};

/* A peer has connected and shows this. To be called before any message of that connection. */
struct meeting trust_meet(struct raft *raft, server_id peer, const struct identity *shown);

/* The peer lacks entries that it had acknowledged (replicate_reply), or says of itself that it is
 * unrecognised (`distrust` is DISTRUST_LOST_ENTRIES or DISTRUST_TOLD). */
struct meeting trust_lost(struct raft *raft, server_id peer, enum distrust distrust);

/* What is remembered of it, or NULL. */
const struct acquaintance *trust_acquaintance(const struct raft *raft, server_id peer);

/* Whether its votes and acknowledgements count. True for who was never met. */
bool trust_counts(const struct raft *raft, server_id peer);

/* As quorum() and quorum_value(), but who is distrusted is as one who never answered. */
bool trust_quorum(const struct raft *raft, member_set set);
u64 trust_quorum_value(const struct raft *raft, const u64 *values);

/* Whether the peer is to be told now that it is not recognised, and then the message. It is told
 * again, no more often than heartbeats go out, as long as it speaks as if it did not know. */
bool trust_tell(struct raft *raft, server_id peer, u64 now_ns, struct message *message);
/* It met us anew, or we it: it is to be told at the next occasion. */
void trust_tell_again(struct raft *raft, server_id peer);

/* An UNRECOGNISED has come. Returns whether this server is what it is about and did not know: from
 * now on it may not vote (raft->trust.own.non_voter), which must be on disk before it speaks. */
bool trust_unrecognised(struct raft *raft, const struct message *message);

#endif
