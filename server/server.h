/* server.h - one Raft server: the rooms wired together, and what all designs do alike.
 *
 * A server owns its Raft state, storage, machine, mailbox and outbox. The world outside comes in
 * through seams: a vfs, a transport, a slot to post mail to, command sinks, a report, a trace, a
 * seed. The shipped binary and the simulator make the very same server.
 *
 * server_run() runs the chosen design until the server is to stop, and says why it stopped. A
 * server never ends its process.
 *
 * Thread: everything here is for the server thread, except server_slot's posting. */
#ifndef MAILRAFT_SERVER_SERVER_H
#define MAILRAFT_SERVER_SERVER_H

#include "common/liveness.h"
#include "common/report.h"
#include "common/rng.h"
#include "common/sync.h"
#include "common/trace.h"
#include "common/vfs.h"
#include "server/jobs/fetch_thread.h"
#include "server/machine/machine.h"
#include "server/mail/mailbox.h"
#include "server/mail/outbox.h"
#include "server/replica/events.h"
#include "server/replica/loop_time.h"
#include "server/replica/snapshot.h"
#include "server/requests/forward.h"
#include "server/rules/election.h"
#include "server/rules/replication.h"
#include "server/rules/transfer.h"
#include "server/service/lead.h"
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

struct dispatch;
struct step_node;

struct server {
    struct server_options options;
    struct server_world world;
    struct raft raft;
    struct storage *storage;
    struct storage_opening opening;
    struct metadata metadata; /* as found at the start; start_count is this start's */
    struct machine *machine;
    struct transport *transport;
    struct mailbox mailbox;    /* per-state, step: where mail comes in */
    struct mail_pile pile;     /* the same: mail taken in and not yet dealt with */
    struct dispatch *dispatch; /* dispatch: all that the design keeps; else NULL */
    struct step_node *step;    /* step: the machine and all around it; else NULL */
    struct outbox outbox;
    struct rng rng;
    struct events events;
    struct command_list parked; /* commands that wait for a leader to be known */
    const struct lead *lead; /* of the leadership that goes on; NULL: none (step: node's). For who
                                looks at a server from outside */
    struct buffer answer;    /* scratch */
    struct span *save_spans; /* scratch: the pieces of a batch */
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
    bool handed_over;        /* the next candidacy is by order: no pre-vote, stickiness put aside */
    bool timers_held;        /* a test holds the election timers: time alone makes no candidate */
    struct fetcher fetcher;
    struct snapshotting snapshotting;
    struct pace pace;
    struct liveness liveness;                     /* for those who must not wait for this server */
    struct error failure;                         /* why it stopped; ERROR_NONE: it was told to */
    struct command_sink *sinks[SERVER_SINKS_MAX]; /* answered in this pile, flushed at its end */
    u32 sink_count;
};

/* Opens the storage and builds the server, its log and its machine (entries known to be committed
 * are applied). `machine` is taken over, on failure too. Errors: storage_open's. Blocks. */
WARN_UNUSED enum error_code server_create(const struct server_options *options,
                                          const struct server_world *world, struct machine *machine,
                                          struct server **server, struct error *error);

/* From now on no mail goes in, and nobody waits to post any. Thread: any. */
void server_close(struct server *server);

/* Frees everything and closes the storage. What commands are left fail with COMMAND_STOPPING. */
void server_destroy(struct server *server);

/* The design with this word, "per-state". Returns false for any other word. */
bool server_design_parse(const char *word, enum server_design *design);
const char *server_design_word(enum server_design design);

/* Where to post this server's mail. Lives as long as the server. */
struct mail_slot *server_slot(struct server *server);

/* Runs the server's design until MAIL_STOP or a failure. Blocks. Returns ERROR_NONE, or what made
 * it stop. `transport` is how it speaks. */
enum error_code server_run(struct server *server, struct transport *transport, struct error *error);

/* ---- what the loops share ---- */

/* Begins a state: notes it for status, prints and traces the transition. */
void server_enter(struct server *server, enum raft_state state, const char *why);

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

/* Takes the oldest mail off the pile and destroys it: it has been dealt with. */
void server_done_with_mail(struct server *server);

/* Contract 4, "speak only after persisting": the end of every pile, in this order: (1) early
 * messages, if the term is on disk; (2) commit what a quorum holds, apply, answer; (3) metadata if
 * it changed, then new entries as one batch with one sync; (4) all other messages; (5) as (2).
 * `lead` is NULL in other states. Returns false when the disk failed: server->failure says why,
 * and the loop returns RAFT_STOPPED. Blocks. */
WARN_UNUSED bool server_flush(struct server *server, struct lead *lead);

/* Whether a flush has something to save, and so may wait for the disk. */
bool server_must_save(const struct server *server);

/* Sends out the answers gathered so far; part of every flush, and the last thing at the end. */
void server_flush_answers(struct server *server);

/* The pieces of a flush, for a design that has an order of its own. Asks whether the disk has
 * failed since, or writes and syncs term and vote, or the log's records from `first` on; false when
 * the disk failed, and server->failure says why. Nothing is marked as saved. Blocks. */
WARN_UNUSED bool server_check_disk(struct server *server);
WARN_UNUSED bool server_store_state(struct server *server, u64 current_term, server_id voted_for);
/* Adds to server->failure what could not be done, and says so. Returns false. */
bool server_disk_failed(struct server *server, const char *what);
WARN_UNUSED bool server_store_log(struct server *server, u64 first);
/* The same for the news that raft->promised is fulfilled. */
WARN_UNUSED bool server_store_repaired(struct server *server);

/* Applies the committed entry at `index` to the machine, and answers `writer`, whose command it is;
 * NULL: nobody here waits. Returns the work: bytes touched and answered, beside the
 * entry's own. */
u64 server_apply(struct server *server, u64 index, struct command *writer);
/* Answers a read from the machine as it is now. Consumes it. Returns the work. */
u64 server_read(struct server *server, struct command *read);
/* Frees the scratch for answers if it has become large. */
void server_trim_answer(struct server *server);

/* Bytes of records that can be appended in this pile. (storage_room_soon: and in one of the next.)
 */
u64 server_room(struct server *server);

/* Whether a setting has changed since the last call: whoever waits for a time that was drawn from
 * the old settings draws another, and takes the earlier one. */
bool server_take_change(struct server *server);

/* Answers what is asked of this very server (command_is_local), in any state. `lead` is NULL in
 * other states. Consumes it. */
void server_answer_local(struct server *server, struct lead *lead, struct command *command);

/* A command for which no leader is known waits, for leader_wait_ns at most. Consumes it. */
void server_park(struct server *server, struct command *command);
/* Fails the parked commands that have waited too long; returns when the next one will have. */
u64 server_expire_parked(struct server *server, u64 now_ns);
/* When the first of them will have waited too long; UINT64_MAX when there is none. */
u64 server_parked_until_ns(const struct server *server);

/* Stages a message that must wait for the disk; refuses a stale or ignored request (a reply is just
 * dropped). */
void server_put(struct server *server, struct message *message);
void server_refuse(struct server *server, const struct message *request);

/* Answers through the command's sink, which is flushed at the end of the pile. */
void server_answer(struct server *server, struct command *command, const u8 *answer, size_t size);
void server_fail(struct server *server, struct command *command, enum command_failure failure);
/* Tells whoever ordered a transfer what became of it; `who` is the server that the result is about.
 * Consumes the command. */
void server_answer_order(struct server *server, struct command *command,
                         enum transfer_result result, server_id who);
/* The same for an order that a server holds which does not lead: one that it never began, or one
 * that it began as the leader. */
void server_conclude_order(struct server *server, struct command *command);
/* Sends the client to the leader, which is known. */
void server_redirect(struct server *server, struct command *command);

/* Notes that the server must stop because a rule was broken by somebody; returns RAFT_STOPPED. */
enum raft_state server_stop_because(struct server *server, const char *what, server_id who);

/* ---- status and settings ---- */

/* Appends what this server knows of itself as lines "key:value\r\n", keys beginning with raft_. */
void server_describe(struct server *server, const struct lead *lead, struct buffer *to);

/* The end of a pile: leaves a copy of that in the liveness, if one is due. */
void server_note_status(struct server *server, const struct lead *lead);

#endif
