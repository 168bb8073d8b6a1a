/* replica.h - one Raft server's state: what every design shares, and what is done with it alike.
 *
 * A server owns its Raft state, storage, machine, mailbox and outbox. The world outside comes in
 * through seams: a vfs, a transport, a slot to post mail to, command sinks, a report, a trace, a
 * seed.
 *
 * Thread: everything here is for the server thread. */
#ifndef MAILRAFT_REPLICA_REPLICA_H
#define MAILRAFT_REPLICA_REPLICA_H

#include "common/liveness.h"
#include "common/report.h"
#include "common/rng.h"
#include "common/sync.h"
#include "common/trace.h"
#include "common/vfs.h"
#include "server/jobs/fetch_thread.h"
#include "server/jobs/snapshot_thread.h"
#include "server/machine/machine.h"
#include "server/mail/mailbox.h"
#include "server/mail/outbox.h"
#include "server/replica/events.h"
#include "server/replica/loop_time.h"
#include "server/requests/forward.h"
#include "server/requests/pending.h"
#include "server/requests/way_back.h"
#include "server/rules/election.h"
#include "server/rules/replication.h"
#include "server/rules/transfer.h"
#include "server/storage/storage.h"

/* X(NAME, word). The control flows a server can have; they differ in nothing else. */
#define SERVER_DESIGNS(X)            \
    X(DESIGN_PER_STATE, "per-state") \
    X(DESIGN_DISPATCH, "dispatch")   \
    X(DESIGN_STEP, "step")

enum server_design {
#define X(name, word) name,
    SERVER_DESIGNS(X)
#undef X
};

/* The design with this word, "per-state". Returns false for any other word. */
bool server_design_parse(const char *word, enum server_design *design);
const char *server_design_word(enum server_design design);

struct server_options {
    server_id self; /* whose directory it must be; SERVER_NONE: whoever's */
    enum server_design design;
    u64 election_timeout_ns_min;
    u64 election_timeout_ns_max;
    u64 heartbeat_ns;
    u64 leader_wait_ns;        /* how long a command waits for a leader to be known */
    u64 forward_timeout_ns;    /* how long a forwarded command waits for its answer */
    u64 message_bytes_max;     /* records in one AppendEntries */
    u64 answer_bytes_max;      /* answers in one FORWARD_REPLY: what the transport surely takes */
    u64 window_bytes_max;      /* unacknowledged records on their way to a peer */
    u64 round_bytes_max;       /* mail that a loop takes in, and entries that it applies, at once */
    u64 uncommitted_bytes_max; /* of the log's tail on a leader */
    u64 log_memory_bytes_max;  /* newest entries kept in memory */
    u64 peer_mail_bytes_max;   /* budgets of the mailbox */
    u64 client_mail_bytes_max;
    u64 segment_bytes;
    u64 record_bytes_max;       /* of the largest entry that may come; 0: not known */
    u64 snapshot_log_bytes;     /* of entries applied since the last snapshot: take another, */
    u64 snapshot_ratio_percent; /* but not before they are so large a part of that one */
    u64 trailing_entries;       /* kept behind a snapshot */
    u64 slow_sync_ns;           /* a sync that takes longer is said; 0: none is */
    u64 seed; /* for election timeouts and the id of this start: another one at each start */
};

/* What the world gives to a server. All borrowed; all outlive it. */
struct server_world {
    struct vfs *vfs;
    struct report *report;
    struct trace *trace; /* NULL: no event trace */
    /* Changes one setting at run time: checks the key of cluster.conf and its value, and puts what
     * the server itself must know into `options`. NULL: nothing can be set. */
    enum error_code (*set)(void *context, const char *key, const char *value,
                           struct server_options *options, struct error *error);
    void *set_context;
};

enum { SERVER_SINKS_MAX = 8 };

/* What a server knows of its snapshots: see snapshot.h. */
struct server_snapshot {
    struct snapshot_thread thread;
    bool going_on;               /* slices are still to be handed over */
    bool ending;                 /* all are; it is being made durable */
    u64 order;                   /* of either (raft_order); 0: neither */
    bool wanted;                 /* somebody asked for one */
    bool remove_due;             /* there is a new one, so that older ones may go */
    struct command_list waiting; /* COMMAND_SNAPSHOT: answered when it has been taken */
    u64 log_bytes;               /* of entries applied since the last one was begun */
    u64 retry_ns;                /* the last one failed: not before */
    u64 begun_ns;                /* when the last one was begun, */
    u64 handed_bytes;            /* how much of it was handed to the thread, */
    u64 took_ns;                 /* and how long the last that was taken took; 0: none was */
    u64 taken_ns;                /* when that was; 0: none was */
    struct entry_id pinned;      /* the snapshot that a client fetches for a backup, */
    u64 pinned_until_ns;         /* and so keeps; a little longer with each piece */
    u64 taken;                   /* since the start: how many were taken, */
    u64 failed;                  /* or could not be, */
    u64 received;                /* or came from a leader whole, */
    u64 installed;               /* and took the place of the machine */
    struct snapshot_syncs syncs; /* as fetched by server_snapshot_syncs */
    struct buffer slice;         /* scratch */
};

struct server;

/* A design, as those see it who build a server and run it. NULL: nothing is to be done. */
struct design {
    void (*create)(struct server *server);  /* what it keeps */
    void (*close)(struct server *server);   /* from now on it takes no mail. Thread: any */
    void (*destroy)(struct server *server); /* fails whoever still waits */
    struct mail_slot *(*slot)(struct server *server); /* NULL: the mailbox's */
    void (*run)(struct server *server);               /* until it is to stop. Blocks */
    u32 (*parked)(const struct server *server); /* commands that it lets wait for a leader, beside
                                                   the server's own */
};

struct server {
    struct server_options options;
    struct server_world world;
    struct raft raft;
    struct storage *storage;
    struct storage_opening opening;
    struct metadata metadata; /* as found at the start; start_count is this start's */
    struct machine *machine;
    struct transport *transport;
    struct mailbox mailbox; /* per-state, step: where mail comes in */
    struct mail_pile pile;  /* the same: mail taken in and not yet dealt with */
    struct mail *in_hand;   /* the same: taken off the pile, and being read; NULL: none */
    const struct design *design;
    void *kept; /* what the design keeps beside this; NULL: nothing (per-state) */
    struct outbox outbox;
    struct rng rng;
    struct events events;
    struct ways_back ways_back; /* confirmed reads of other servers, whose answers need room */
    struct command_list parked; /* commands that wait for a leader to be known */
    const struct leader_pending *lead; /* of the leadership that goes on; NULL: none (step: node's).
                                For who looks at a server from outside */
    struct buffer answer;              /* scratch */
    struct span *save_spans;           /* scratch: the pieces of a batch */
    u32 save_spans_capacity;
    struct taker taker;    /* of what it forwards */
    u64 write_serial;      /* of the newest write that it has taken from a client (streams.h) */
    u64 pile_wall_ns;      /* wall clock when the pile was taken in; stamped into entries */
    enum raft_state state; /* of the loop that runs; for status and traces only */
    u64 state_since_ns;
    bool settings_changed;   /* since a loop last asked server_take_change */
    u64 committed_seen;      /* the commit index that was last traced */
    u64 elections;           /* begun by this server since its start */
    bool identity_changed;   /* what connections show is not yet what is saved */
    u64 shown_configuration; /* index of the configuration that they go by */
    bool timers_held;        /* a test holds the election timers: time alone makes no candidate */
    struct fetcher fetcher;
    struct server_snapshot snapshot;
    struct loop_time loop_time;
    /* The end of a pile: leaves a copy of the status in `liveness`, if one is due. */
    void (*note_status)(struct server *server, const struct leader_pending *lead);
    struct liveness liveness;                     /* for those who must not wait for this server */
    struct error failure;                         /* why it stopped; ERROR_NONE: it was told to */
    struct command_sink *sinks[SERVER_SINKS_MAX]; /* answered in this pile, flushed at its end */
    u32 sink_count;
};

/* Puts the options to where they are asked for: at the start, and when one has changed. */
void server_apply_options(struct server *server);

/* Begins a state: notes it for status, prints and traces the transition. */
void server_enter(struct server *server, enum raft_state state, const char *why);

/* Whether a setting has changed since the last call: whoever waits for a time that was drawn from
 * the old settings draws another, and takes the earlier one. */
bool server_take_change(struct server *server);

/* Stages a message that must wait for the disk; refuses a stale or ignored request (a reply is just
 * dropped). */
void server_put(struct server *server, struct message *message);
void server_refuse(struct server *server, const struct message *request);

/* check_term for mail of any kind: what is no message is TERM_CURRENT. What is stale or to be
 * ignored is refused; a newer term the caller adopts, and follows. */
enum term_verdict server_check_term(struct server *server, const struct mail *mail,
                                    bool hears_leader);

/* Notes that the server must stop because a rule was broken by somebody; returns RAFT_STOPPED. */
enum raft_state server_stop_because(struct server *server, const char *what, server_id who);

#endif
