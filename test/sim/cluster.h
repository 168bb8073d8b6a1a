/* cluster.h - a cluster of real servers in a world that is not: the simulator's front door.
 *
 * One `struct cluster` holds servers (the shipped code, unmodified), their disks, the network
 * between them, clients, the faults that befall them and the judge that looks on. All of it lives
 * in virtual time, on one operating system thread, from one seed: the same configuration, seed and
 * calls give the same run, byte for byte.
 *
 * Time passes only inside cluster_run, cluster_run_until, cluster_elect, cluster_chaos and
 * cluster_client_wait. Everything else happens at the present instant. As soon as something is
 * violated (checks.h) or cluster_fail is called, those functions return at once, and
 * cluster_failure tells what; going on after that is harmless and does nothing.
 *
 * Times are nanoseconds since the cluster began; probabilities are parts per million.
 *
 * Thread: one at a time a cluster; clusters of different threads share nothing. */
#ifndef MAILRAFT_TEST_SIM_CLUSTER_H
#define MAILRAFT_TEST_SIM_CLUSTER_H

#include <stdio.h>

#include "common/bytes.h"
#include "common/error.h"
#include "common/types.h"
#include "server/rules/message.h"
#include "server/rules/raft.h"

struct cluster;
struct client;
struct history;

/* ---- the head of a scenario ---- */

enum {
    CLUSTER_SERVERS_MAX = SERVERS_MAX, /* servers and spares together */
    CLUSTER_OPTIONS_MAX = 32,
    CLUSTER_CHANCE_ALWAYS = 1000000 /* parts per million */
};

/* A set of servers: bit `id` for each, ids 1 .. CLUSTER_SERVERS_MAX. Bit 0 stands for nobody. */
typedef u64 cluster_set;

static inline cluster_set cluster_set_of(server_id id)
{
    return (cluster_set)1 << id;
}
static inline bool cluster_set_has(cluster_set set, server_id id)
{
    return (set >> id & 1) != 0;
}
static inline u32 cluster_set_count(cluster_set set)
{
    return (u32)__builtin_popcountll(set);
}

/* Both inclusive; min <= max. */
struct cluster_range {
    u64 min_ns;
    u64 max_ns;
};

enum cluster_design { CLUSTER_PER_STATE, CLUSTER_DISPATCH, CLUSTER_STEP, CLUSTER_MIXED };

/* Whether this build has servers of that design. */
bool cluster_design_supported(enum cluster_design design);

/* What a server's disk holds when it starts for the first time. */
struct cluster_initial {
    const u64 *log_terms; /* of its entries from index 1 on; the first is the configuration, and so
                             1; borrowed until cluster_create returns; NULL: entry 1 alone */
    u32 log_count;
    u64 term; /* current_term; 0: the last entry's */
};

struct cluster_option {
    const char *key; /* as in cluster.conf: "segment-bytes" */
    const char *value;
};

/* How the servers' directories are made before the first start. */
enum cluster_founding {
    CLUSTER_FOUNDED,        /* the cluster stands: each holds entry 1, which names all of them */
    CLUSTER_FOUNDED_NOW,    /* server 1 founds it, and all others are blank */
    CLUSTER_FOUNDED_BEFORE, /* as CLUSTER_FOUNDED, by a program that knew of no incarnations */
};

struct cluster_config {
    u32 servers; /* 1 .. servers are the configuration */
    u32 spares;  /* servers + 1 .. servers + spares exist, are not started, and outside of it */
    enum cluster_design design;
    enum cluster_founding founding;
    u64 seed;
    struct cluster_range election_timeout;
    u64 heartbeat_ns;
    struct cluster_range latency;   /* one way, each message */
    u64 disk_read_ns;               /* what a read takes; 0: no time */
    struct cluster_range disk_sync; /* duration of a sync */
    struct cluster_option options[CLUSTER_OPTIONS_MAX];
    u32 option_count;
    struct cluster_initial initial[CLUSTER_SERVERS_MAX + 1]; /* by id */

    /* Each may be NULL. Takes whole lines, with their newline. */
    void (*trace)(void *context, const char *line, size_t size); /* JSON lines, the event trace */
    void (*story)(void *context, const char *line, size_t size); /* for people, columns */
    void *trace_context;
    void *story_context;
};

/* The defaults of the scenario language: 3 servers, seed 42, and so on. */
void cluster_config_init(struct cluster_config *config);

/* Whether `key` is an option that the simulator knows, and the value is well-formed. Errors:
 * ERROR_CONFIG, saying what was expected. */
WARN_UNUSED enum error_code cluster_option_check(const char *key, const char *value,
                                                 struct error *error);

/* Builds the world and starts servers 1 .. config->servers at time 0. Errors: ERROR_CONFIG. */
WARN_UNUSED enum error_code cluster_create(const struct cluster_config *config,
                                           struct cluster **cluster, struct error *error);
void cluster_destroy(struct cluster *cluster);

/* ---- time ---- */

u64 cluster_now_ns(const struct cluster *cluster);

/* Lets that much time pass. */
void cluster_run(struct cluster *cluster, u64 duration_ns);

/* Lets time pass until `holds` does, which is asked now and after every step, or until
 * `deadline_ns`. Returns whether it held. */
bool cluster_run_until(struct cluster *cluster, bool (*holds)(void *context), void *context,
                       u64 deadline_ns);

/* Calls `action` at that time, which is not past, between two steps. It may do everything but let
 * time pass. Actions of the same time run in the order of their asking. */
void cluster_at(struct cluster *cluster, u64 time_ns, void (*action)(void *context), void *context);

/* Steps taken so far: mail, timers, disk completions. */
u64 cluster_event_count(const struct cluster *cluster);

/* Puts a line into the story, across all columns, and into the trace: what the scenario does now.
 */
void cluster_say(struct cluster *cluster, const char *line);

/* ---- failure ---- */

enum { FAILURE_TEXT_SIZE = 1024 };

struct cluster_failure {
    const char *property; /* "election safety", "expect", ...: static */
    u64 time_ns;
    cluster_set servers; /* whom it concerns; 0: nobody in particular */
    char text[FAILURE_TEXT_SIZE];
};

/* The first failure, or NULL while all is well. Borrowed. */
const struct cluster_failure *cluster_failure(const struct cluster *cluster);

/* Fails the run. Only the first call counts. `property` is static. */
void cluster_fail(struct cluster *cluster, const char *property, cluster_set servers,
                  const char *format, ...) PRINTF_LIKE(4, 5);

/* Prints the failure, the last events of each server concerned, and `replay`, the command line that
 * repeats the run. */
void cluster_print_failure(const struct cluster *cluster, FILE *to, const char *replay);

/* The checks that need the whole run: the history is linearizable; machines hold what acknowledged
 * writes imply. To be called once, at the end. */
void cluster_finish(struct cluster *cluster);

/* ---- network faults ---- */

/* All cut links drop mail silently, judged when it is sent and again when it would arrive. `from`
 * and `to` are sets; a server's link to itself does not exist and is passed over. */
void cluster_cut(struct cluster *cluster, cluster_set from, cluster_set to);
void cluster_join(struct cluster *cluster, cluster_set from, cluster_set to);
/* Each group hears itself alone. Servers in no group are one more group. */
void cluster_partition(struct cluster *cluster, const cluster_set *groups, u32 count);
void cluster_isolate(struct cluster *cluster, cluster_set servers); /* each of them alone */
void cluster_bridge(struct cluster *cluster, server_id server);     /* it alone hears both halves */
void cluster_ring(struct cluster *cluster);                         /* two neighbours each */
/* Everything of the network as it was at the start; held messages are delivered. */
void cluster_heal(struct cluster *cluster);

void cluster_delay(struct cluster *cluster, cluster_set from, cluster_set to,
                   struct cluster_range latency);
void cluster_loss(struct cluster *cluster, cluster_set from, cluster_set to, u32 ppm);
/* A queue that is full: so large a part is not taken for sending, and the sender knows. */
void cluster_full(struct cluster *cluster, cluster_set from, cluster_set to, u32 ppm);
void cluster_duplicate(struct cluster *cluster, cluster_set from, cluster_set to, u32 ppm);
void cluster_reorder(struct cluster *cluster, cluster_set from, cluster_set to, u32 ppm);
void cluster_corrupt(struct cluster *cluster, cluster_set from, cluster_set to, u32 ppm);

/* Kinds of messages: bit `kind` (enum message_kind) for each. */
typedef u32 cluster_kinds;
enum { CLUSTER_KINDS_ANY = (1u << MESSAGE_KIND_END) - 1 };

/* The kinds that a word of the language means: "append", "append-reply", "vote", "any"; "append"
 * is the request alone. 0: no such word. */
cluster_kinds cluster_kinds_parse(const char *word);

/* Keeps back messages of these kinds from now on, in order. A second hold adds kinds. */
void cluster_hold(struct cluster *cluster, cluster_set from, cluster_set to, cluster_kinds kinds);
/* Stops holding these kinds, and delivers what was held of them at once, oldest first or newest
 * first. Returns their number. */
u32 cluster_release(struct cluster *cluster, cluster_set from, cluster_set to, cluster_kinds kinds,
                    bool newest_first);
/* Closes the connections between each of `from` and each of `to`, in both directions; what is in
 * flight is lost, the servers are told, and the connections are made again. */
void cluster_reset(struct cluster *cluster, cluster_set from, cluster_set to);

/* ---- process and clock faults: each is a no-op for a server in a state that does not fit ---- */

void cluster_crash(struct cluster *cluster, server_id server); /* power loss */
void cluster_kill(struct cluster *cluster, server_id server);  /* the process dies */
/* Asks it to end, after it has handed leadership over if it leads; takes time. */
void cluster_stop(struct cluster *cluster, server_id server);
void cluster_restart(struct cluster *cluster, server_id server); /* kills it first if it is alive */
enum cluster_resource {
    CLUSTER_MEMORY,     /* a process that lacks it stops at once: "out of memory" */
    CLUSTER_THREADS,    /* cannot be made */
    CLUSTER_DESCRIPTORS /* files and directories cannot be opened */
};
/* The server's `nth` use from now on (1: the next), in this life or the next ones, finds nothing
 * left, nor does any after it if it `lasts`. 0: there is enough again. */
void cluster_exhaust(struct cluster *cluster, server_id server, enum cluster_resource resource,
                     u64 nth, bool lasts);
/* Whether that came about. */
bool cluster_is_exhausted(const struct cluster *cluster, server_id server,
                          enum cluster_resource resource);
void cluster_pause(struct cluster *cluster, server_id server);
void cluster_resume(struct cluster *cluster, server_id server);
/* Its disk is empty; the server is killed first if it is alive. Started again, it is initialised
 * anew with another directory id. From now on it is *lost*: it is not held to its promises, and
 * nothing counts on it. */
void cluster_wipe(struct cluster *cluster, server_id server);
/* Whether more than the one server that founds the cluster holds what it is: before that its disk
 * is the only one, and nobody can make good what it loses. */
bool cluster_is_founded(const struct cluster *cluster);
/* Whether some disk is not its server's own now: another cluster's, or another server's. */
bool cluster_is_misplaced(const struct cluster *cluster);
/* Whether the disk of another cluster can be put in harmlessly: no other one is misplaced, since
 * several strays would be a cluster, and no directory is blank. A blank one joins the first cluster
 * that it meets, for good: that would be the stray's, and it would count in its own no more. For
 * the same reason no disk may be wiped or set back while one is misplaced. */
bool cluster_may_stray(const struct cluster *cluster);
/* Its disk is put aside, and it gets one with the directory of another cluster of the same name;
 * and its own one comes back, false if it has that already. The server is killed first if it is
 * alive. Nothing is forgotten, so it is held to all its promises. */
void cluster_stray(struct cluster *cluster, server_id server);
bool cluster_own_disk(struct cluster *cluster, server_id server);
/* Each gets the other one's disk; both are killed first if they are alive. */
void cluster_swap_disks(struct cluster *cluster, server_id a, server_id b);
/* Makes a copy of its disk, in place of the one made before; and puts it back, as cluster_wipe puts
 * nothing there. Returns false when no copy was made. */
void cluster_disk_copy(struct cluster *cluster, server_id server);
WARN_UNUSED bool cluster_set_back(struct cluster *cluster, server_id server);

/* Rate of its clocks in parts per million of true time: 1000000 is right. */
void cluster_clock_rate(struct cluster *cluster, server_id server, u32 ppm);
/* Its wall clock jumps. */
void cluster_clock_jump(struct cluster *cluster, server_id server, i64 by_ns);

/* Whether election timers go off by themselves, on all servers, started later ones too. */
void cluster_timers(struct cluster *cluster, bool on);
/* Fires one election timer now. */
void cluster_timeout(struct cluster *cluster, server_id server);
/* Holds the others' timers and lets `server` campaign as if leadership were handed to it, again
 * until it leads; the timers are then as before. Lets time pass. Returns false after 5 s. */
WARN_UNUSED bool cluster_elect(struct cluster *cluster, server_id server);

/* ---- disk faults ---- */

enum cluster_disk_fault {
    CLUSTER_DISK_SYNC_EIO,     /* the next sync fails, and all later ones */
    CLUSTER_DISK_WRITE_EIO,    /* as that, for writes */
    CLUSTER_DISK_WRITE_ENOSPC, /* whatever needs new space fails */
    CLUSTER_DISK_SLOW,         /* a sync takes value_ns */
    CLUSTER_DISK_READ,         /* a read takes value_ns; 0: no time */
    CLUSTER_DISK_STALL,        /* no sync ends */
    CLUSTER_DISK_HEAL          /* none of these any more; stalled syncs and slow reads end */
};
void cluster_disk(struct cluster *cluster, server_id server, enum cluster_disk_fault fault,
                  u64 value_ns);

/* What befalls bytes that were written. */
enum cluster_damage {
    CLUSTER_FLIP,       /* a bit is turned over */
    CLUSTER_UNREADABLE, /* reading the page fails with EIO, until it is written over as a whole */
    CLUSTER_TEAR,       /* snapshots: the second half is gone */
    CLUSTER_REMOVE      /* snapshots: the file is */
};

/* And which bytes. */
enum cluster_place {
    CLUSTER_LOG,      /* in the record of entry `index`, wherever it is */
    CLUSTER_REPLACED, /* in one that was replaced by another entry `index` */
    CLUSTER_LOG_BYTE, /* number `index` of the bytes that were ever written to segments */
    CLUSTER_SPARE,    /* in the header of the segment that the log will go on in */
    CLUSTER_METADATA, /* in both slots */
    CLUSTER_SLOT,     /* in one of them */
    CLUSTER_SNAPSHOT  /* in the middle of each snapshot */
};

/* Damages what the disk holds. Returns false when there is no such thing. */
WARN_UNUSED bool cluster_disk_damage(struct cluster *cluster, server_id server,
                                     enum cluster_damage damage, enum cluster_place place,
                                     u64 index);
/* How many bytes CLUSTER_LOG_BYTE can choose from. */
u64 cluster_log_used_bytes(const struct cluster *cluster, server_id server);

/* Crashes the server at its `count`th write, sync or change of a directory (a file made, renamed or
 * removed, and its sync) from now (1: the next). 0 takes it back. */
void cluster_crash_at_write(struct cluster *cluster, server_id server, u32 count);
/* As that, but the process is killed, and nothing that it wrote is lost by it. */
void cluster_kill_at_write(struct cluster *cluster, server_id server, u32 count);

/* ---- snapshots ---- */

/* Asks the server for a snapshot, now. */
void cluster_take_snapshot(struct cluster *cluster, server_id server);
/* The last index of the newest snapshot that the server has; 0: none, or it is down. */
u64 cluster_snapshot_index(const struct cluster *cluster, server_id server);
/* How many lines of its log have this text in them, in all its lives: of warnings and errors, and
 * of the newest ones only. */
u32 cluster_said(const struct cluster *cluster, server_id server, const char *text);
/* Bytes of the files that the log lies in. */
u64 cluster_log_bytes(const struct cluster *cluster, server_id server);

/* ---- everything at once ---- */

/* Random faults of every kind for that long, then the network is healed, disks and clocks are put
 * right, and all servers are restarted or resumed. Never wipes, sets back or damages more than a
 * minority.
 * Lets time pass. */
void cluster_chaos(struct cluster *cluster, u64 duration_ns);

/* ---- clients ---- */

enum client_op {
    CLIENT_GET,
    CLIENT_SET,
    CLIENT_APPEND,
    CLIENT_CAS,
    CLIENT_INCR,
    CLIENT_DEL,
    CLIENT_GETDEL,
    CLIENT_MSET,     /* of two keys */
    CLIENT_FLUSHALL, /* takes all keys; the history knows of load keys alone */
    CLIENT_SCAN,     /* one call that sees all keys; the same */
    CLIENT_TRANSFER  /* orders leadership to be handed over; in no history */
};

enum { CLIENT_TEXT_SIZE = 256, CLIENT_TIMEOUT_MS = 2000 };

struct client_request {
    enum client_op op;
    server_id via;     /* 0: the leader of that moment; none: the answer is an error */
    const char *key;   /* NUL-terminated, as all three; copied when it is sent */
    const char *value; /* SET, MSET, APPEND: the value; CAS: the new one; TRANSFER: not empty if the
                          target is to be readmitted instead; else NULL */
    const char *old;   /* CAS: what is expected; MSET: the second key; else NULL */
    u32 keys;          /* SCAN, FLUSHALL: how many keys the load works on; else 0 */
    server_id target;  /* TRANSFER: to whom; 0: the server may choose */
};

enum client_answer_kind {
    ANSWER_NONE,   /* no command yet, or none answered yet */
    ANSWER_OK,     /* executed; `text` is the value: "OK", "7", what GET found */
    ANSWER_NIL,    /* executed; there is no such key (GET), or CAS met another value */
    ANSWER_ERROR,  /* definitely not executed, or refused by the machine; `text` says why */
    ANSWER_MOVED,  /* sent to another server; `text` is its number */
    ANSWER_UNKNOWN /* no answer in time, the connection ended, or -TIMEOUT: may have happened */
};

struct client_answer {
    enum client_answer_kind kind;
    u64 time_ns;
    u32 size;
    char text[CLIENT_TEXT_SIZE]; /* NUL-terminated, cut to this size */
};

/* The client with this name ("A", "main"), made when it is new. Each client has one command in
 * flight, unless it has a pipeline; later ones queue. Borrowed; lives as long as the cluster. */
struct client *cluster_client(struct cluster *cluster, const char *name);

/* From now on it has so many commands in flight at most, on one connection; 1: none behind another.
 */
void client_pipeline(struct client *client, u32 depth);
/* Sends, or queues behind what is in flight. Everything is recorded in the history. */
void client_send(struct client *client, const struct client_request *request);
/* Whether it has nothing in flight or queued. */
bool client_is_idle(const struct client *client);
/* The answer to its last answered command. */
const struct client_answer *client_answer(const struct client *client);
/* Lets time pass until the client is idle. */
void cluster_client_wait(struct cluster *cluster, struct client *client);

/* Clients in the background, with a mixture of operations, that many commands a second altogether,
 * for that long; with `clients` 0 there are 5, with `keys` 0 there are 8. */
void cluster_load(struct cluster *cluster, u64 per_second, u64 duration_ns, u32 clients, u32 keys);
/* The same with clients that send several commands one behind the other, up to `pipeline` of them,
 * and with the commands that concern many keys. */
void cluster_load_pipelined(struct cluster *cluster, u64 per_second, u64 duration_ns, u32 clients,
                            u32 keys, u32 pipeline);
/* Whether some load still runs. */
bool cluster_is_loaded(const struct cluster *cluster);

/* All that clients sent and were answered. Borrowed. */
struct history *cluster_history(const struct cluster *cluster);
/* Judges the history so far. When it is not linearizable, `why` is given the contradicting part. */
bool cluster_is_linearizable(struct cluster *cluster, struct buffer *why);

/* ---- looking in ---- */

u32 cluster_server_count(const struct cluster *cluster); /* spares too */
cluster_set cluster_all(const struct cluster *cluster);  /* servers 1 .. config->servers */

/* Process states. A server that refused to go on is STOPPED, as is one that was told to. */
enum cluster_process {
    PROCESS_OFF,
    PROCESS_RUNNING,
    PROCESS_PAUSED,
    PROCESS_DEAD,
    PROCESS_STOPPED
};
enum cluster_process cluster_process(const struct cluster *cluster, server_id server);
/* RUNNING: neither dead nor paused, past the opening of its storage. */
bool cluster_is_live(const struct cluster *cluster, server_id server);
/* Why it is STOPPED: ERROR_NONE, it was told to. Borrowed. */
const struct error *cluster_stop_reason(const struct cluster *cluster, server_id server);

/* The live leader of the highest term; SERVER_NONE when there is none. */
server_id cluster_leader(const struct cluster *cluster);
/* All live servers that are leaders, of whatever term. */
cluster_set cluster_leaders(const struct cluster *cluster);
/* The smallest majority with the leader in it (lowest ids), and the rest. Without a leader: 0. */
cluster_set cluster_majority(const struct cluster *cluster);

/* These are of a live or paused server, or for a dead one as they last were. */
enum raft_state cluster_state(const struct cluster *cluster, server_id server);
u64 cluster_term(const struct cluster *cluster, server_id server);
u64 cluster_commit_index(const struct cluster *cluster, server_id server);
u64 cluster_applied_index(const struct cluster *cluster, server_id server);
u64 cluster_last_index(const struct cluster *cluster, server_id server);
u64 cluster_log_term(const struct cluster *cluster, server_id server, u64 index); /* 0: none */
u64 cluster_digest(const struct cluster *cluster, server_id server);
cluster_set cluster_members(const struct cluster *cluster, server_id server);
/* What the server's own machine holds under `key`. Returns false when there is none, or the server
 * is not alive. The value is appended to `value`. */
bool cluster_machine_value(struct cluster *cluster, server_id server, const char *key,
                           struct buffer *value);

/* Whether `by`, a live server, knows that nothing of `server` counts; with the same one twice,
 * whether that knows that it may not vote. */
bool cluster_distrusts(const struct cluster *cluster, server_id by, server_id server);
/* Whether all others run and have met `server` since it was started last: they would recognise a
 * disk that is not its own. */
bool cluster_is_well_known(const struct cluster *cluster, server_id server);
/* Servers that have lost their disk, or run on an older copy. */
cluster_set cluster_lost(const struct cluster *cluster);

/* Whether all live servers have the same log through the same commit index and the same machine.
 * When not, `why` is given a sentence. */
bool cluster_agrees(struct cluster *cluster, struct buffer *why);

/* Messages of these kinds given to the link since the start, whether they arrived or not. */
u64 cluster_messages(const struct cluster *cluster, cluster_set from, cluster_set to,
                     cluster_kinds kinds);
u64 cluster_message_bytes(const struct cluster *cluster, cluster_set from, cluster_set to,
                          cluster_kinds kinds);

/* Numbers from the scenario's own stream, for `random` in a server list. */
u64 cluster_random(struct cluster *cluster, u64 low, u64 high);

#endif
