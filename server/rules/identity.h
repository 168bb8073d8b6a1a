/* identity.h - what a server shows of the data directory that it runs on, and what it remembers of
 * the others: the words of trust.h.
 *
 * Thread: as raft.h. */
#ifndef MAILRAFT_RULES_IDENTITY_H
#define MAILRAFT_RULES_IDENTITY_H

#include "server/rules/configuration.h"

enum {
    IDENTITY_STARTS = 8,              /* of how many starts a directory remembers the ids */
    KNOWN_PEERS_MAX = SERVERS_MAX * 2 /* members, and some that are members no more */
};

/* What a server shows of the data directory that it runs on. */
struct identity {
    u64 directory_id;
    u64 start_count;             /* which start of it this is; 1 and up */
    u64 starts[IDENTITY_STARTS]; /* starts[i]: random id of start start_count - i; 0: it had none */
    bool non_voter;              /* it knows that it is unrecognised */
    u64 readmitted;  /* index of the newest entry that made it a voter again and that it has
                        fulfilled; 0: none */
    u64 incarnation; /* of the cluster that it belongs to; 0: of one made before there were any, or
                        none yet */
    bool blank;      /* it belongs to no cluster yet, and joins the first that it meets */
    /* The directory of the member through which it joined a cluster that had no incarnation yet,
     * or the one through which that one did; 0: it did not. */
    u64 joined_through;
    u32 feature; /* the newest feature level that the program knows */
};

/* X(NAME, words for people). Why nothing of a server counts. The order is the number on the wire;
 * never reuse. */
#define DISTRUSTS(X)                                                          \
    X(DISTRUST_NONE, "it is the server that was met before")                  \
    X(DISTRUST_OTHER_DIRECTORY, "it has another data directory than before")  \
    X(DISTRUST_SET_BACK, "its data directory was set back to an older copy")  \
    X(DISTRUST_LOST_ENTRIES, "it lacks log entries that it had acknowledged") \
    X(DISTRUST_TOLD, "another server did not recognise it, and it says so")   \
    X(DISTRUST_READMITTED, "it was readmitted, and has not caught up with that yet")

enum distrust {
#define X(name, words) name,
    DISTRUSTS(X)
#undef X
        DISTRUST_END
};

/* "it has another data directory than before". Never NULL. */
const char *distrust_words(enum distrust distrust);

/* What is remembered of another server. */
struct known_peer {
    server_id id;
    /* Persistent: the newest of it that was believed. */
    u64 directory_id;
    u64 start_count;
    u64 start_id;
    bool lost_entries; /* the directory lacks what it had acknowledged: no later start mends that */
    u64 readmitted; /* index of the newest committed entry that readmitted it: what is believed is
                       not older than that; 0: none */
    /* Volatile: what it has shown since this server's start. start_count 0: nothing yet. */
    struct identity shown;
    enum distrust distrust;
    bool knows;   /* that it is distrusted: it needs no telling */
    u64 told_ns;  /* when it was told last; 0: never */
    bool changed; /* the verdict is another since trust_next_change: so says the log */
    bool save;    /* the same of what is persistent */
};

struct trust {
    struct identity own;
    struct known_peer met[KNOWN_PEERS_MAX];
    u32 count;
    u32 distrusted; /* how many of them */
    u32 changed;    /* in how many of them trust_next_change has something to tell */
    u64 settled;    /* the configuration through this index has been looked at as committed */
};

#endif
