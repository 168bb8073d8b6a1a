/* checks.h - the judge: what must hold of a Raft cluster, looked at after every step.
 *
 * checks.c reads like Figure 3 of the paper. The judge knows what every server's log holds, what
 * was committed, and what each server has promised, from its own observation; it asks the servers
 * only for their present state, and only those that have just run, so that a step costs little.
 *
 * What it knows survives the servers' crashes: that is the point. */
#ifndef MAILRAFT_TEST_SIM_CHECKS_H
#define MAILRAFT_TEST_SIM_CHECKS_H

#include "server/rules/message.h"
#include "server/rules/raft.h"
#include "test/sim/acknowledged.h"
#include "test/sim/cluster.h"

struct mail;
struct sim_server;

/* What is known of the entry that somebody once had at (index, term): by Log Matching there is only
 * one. */
struct known_entry {
    u64 index; /* 0: a free slot */
    u64 term;
    u64 previous_term;
    u32 crc; /* of the record; if crc_known */
    bool crc_known;
};

struct committed_entry {
    u64 term;        /* the entry's */
    u64 leader_term; /* current_term of the server that was first to know */
};

/* One server as the judge has seen it. */
struct judged {
    u64 *terms; /* of its log, by index */
    u64 term_capacity;
    u64 last_index;
    u64 durable_index; /* what it has counted as synced: must be there after a crash */
    u64 current_term;  /* within this life */
    server_id voted_for;
    u64 commit_index;
    u64 applied_index;
    bool led;                /* in current_term, at the last look */
    u64 settled_term;        /* the last one in which it led and had an entry of it committed */
    u64 promised_term;       /* told to others, or counted on: must not be forgotten */
    server_id promised_vote; /* in promised_term */
    u64 saved_term;          /* known to be on the platter */
    server_id saved_vote;
    u64 contact_ns[CLUSTER_SERVERS_MAX + 1]; /* when a leader last heard each peer; world time */
    u64 led_since_ns;
    u64 heard_ns;          /* when it last got a message of its leader, by its own clock; 0: it did
                              not, since something else told it to campaign */
    bool may_campaign;     /* that may not be read yet */
    u64 heard_term;        /* that leader's */
    u64 heard_timeout_ns;  /* the shortest election timeout then */
    u64 excused_until_ns;  /* it was paused or stalled: late is no fault */
    bool recovering;       /* it has been started, and not yet looked at */
    bool forgiven;         /* its disk was wiped: it may have forgotten */
    bool damaged;          /* its disk was: it may lack entries as long as it knows that it does */
    bool damaged_in_start; /* the same, when it may have read that already */
    bool resetting;        /* a snapshot has overtaken its log, and the disk may not know yet that
                              the log begins anew: without the file it would be the one before */
    u64 reset_sequence;    /* of the storage's last batch before that */
    u64 reset_from;        /* what it had durable then, and has not been replaced */
    struct entry_id
        owed;        /* what it knows that it had promised to hold, and lacks; {0, 0}: nothing */
    bool lost;       /* its disk was wiped or set back: nothing may count on it any more */
    u64 readmitted;  /* by which entry it was made a voter again last; 0: it never was */
    bool told;       /* at the last look it knew that it may not vote */
    u64 *kept_terms; /* lost: what it had synced before: what was counted then, was so */
    u64 kept_index;
};

struct checks {
    struct judged servers[CLUSTER_SERVERS_MAX + 1];
    struct known_entry *known; /* hash table, a power of two */
    u32 known_count;
    u32 known_capacity;
    server_id *leaders; /* by term; SERVER_NONE: none seen */
    u64 leader_capacity;
    struct committed_entry *committed; /* by index */
    u64 committed_capacity;
    u64 committed_count; /* highest index anybody has known to be committed */
    u64 *digests;        /* of the machine, by applied index; 0: not seen */
    u64 digest_capacity;
    struct acknowledged acknowledged;
    u64 well_since_ns; /* nothing stands in the way of a leader since then; TIME_NEVER: it does */
    u64 progress_ns;   /* when there last was a leader with an entry of its own committed */
    bool liveness_off;
};

void checks_init(struct cluster *cluster);
void checks_deinit(struct cluster *cluster);

/* The server has run. */
void checks_ran(struct cluster *cluster, struct sim_server *server);
/* The server hands a message to the network. */
void checks_sent(struct cluster *cluster, struct sim_server *server, const struct message *message);
/* A message has reached the server's mailbox. */
void checks_received(struct cluster *cluster, struct sim_server *server,
                     const struct message *message);
/* Mail is about to be in the server's mailbox, or, where there is none, before its handler. */
void checks_delivered(struct cluster *cluster, struct sim_server *server, const struct mail *mail);
/* The server's process is about to end, perhaps in the middle of a step. */
void checks_ends(struct cluster *cluster, struct sim_server *server);
/* If it has begun or ended in good order, what it has put up with on its way is forgotten. */
void checks_no_error(struct cluster *cluster, const struct sim_server *server,
                     enum error_code code);
/* The server's process has begun; its first look will be a comparison with what it promised. */
void checks_started(struct cluster *cluster, struct sim_server *server);
/* Its disk was wiped, or its metadata damaged: it is not held to what it promised. */
void checks_forgive(struct cluster *cluster, struct sim_server *server);
/* Its log or snapshots were damaged: it is held to knowing that. */
void checks_damaged(struct cluster *cluster, struct sim_server *server);
/* How many other servers are damaged, and have not got back what they lost, or never will. */
u32 checks_damaged_count(const struct cluster *cluster, server_id but);
/* Its disk is another, or an older one: the same, and what it says from now on must count nowhere,
 * for good. */
void checks_lost(struct cluster *cluster, struct sim_server *server);
/* Every now and then: what must happen in time. Called by a timer of its own. */
void checks_time(struct cluster *cluster);
/* Nothing is left to do: nothing may be counted as waiting. */
void checks_rest(struct cluster *cluster);
/* A bound on how long a healed cluster may take until all servers have come to the same. */
u64 checks_time_to_settle_ns(const struct cluster *cluster);
/* Something that hinders or restores progress has changed. */
void checks_faults_changed(struct cluster *cluster);

#endif
