/* inside.h - the cluster from within: shared by the files that make it up, and by nobody else.
 *
 *   cluster.c    creation, time, failure
 *   servers.c    processes: boot, crash, kill, pause; clocks
 *   readers.c    mail's way into a server
 *   faulty_disks.c  the disks' faults
 *   shortages.c  no more memory, threads, descriptors
 *   network.c    links, connections, frames on their way
 *   clients.c    clients
 *   client_records.c  what they asked and were told: the history
 *   load.c       what clients do in the background
 *   checks.c     the judge
 *   acknowledged.c  its witness: what machines are given, what clients are told
 *   look.c       what can be asked
 *   story.c      what is told: last events, story, trace
 *   chaos.c      random faults
 */
#ifndef MAILRAFT_TEST_SIM_INSIDE_H
#define MAILRAFT_TEST_SIM_INSIDE_H

#include "common/report.h"
#include "server/server.h"
#include "test/history/history.h"
#include "test/sim/checks.h"
#include "test/sim/cluster.h"
#include "test/sim/disk.h"
#include "test/sim/story.h"
#include "test/sim/world.h"

/* ---- network ---- */

/* A message on its way, as the bytes that it is on the wire. */
struct frame {
    struct frame *next;
    struct link *link;
    u64 epoch;  /* of the connection it was sent on; 0: whatever connection there is */
    u64 number; /* names its events in traces */
    enum message_kind kind;
    bool corrupted;
    u32 size;
    u8 bytes[];
};

struct frame_list {
    struct frame *first;
    struct frame *last;
    u32 count;
    u64 bytes;
};

/* One direction between two servers: what the network does to it, and the connection that `from`
 * has opened to `to`. */
struct link {
    struct cluster *cluster;
    server_id from;
    server_id to;

    bool cut;
    struct cluster_range latency;
    u32 loss_ppm;
    u32 full_ppm; /* not taken for sending */
    u32 duplicate_ppm;
    u32 reorder_ppm;
    u32 corrupt_ppm;
    cluster_kinds held_kinds;
    struct frame_list held;

    u64 epoch;                 /* rises with each connection; frames of an older one are lost */
    bool connected;            /* `from` may send */
    bool connecting;           /* an attempt is under way */
    bool standing;             /* `to` believes that the connection from `from` stands */
    u64 answer_bytes;          /* answers to forwarded commands that `from` has lately sent, */
    u64 answers_since_ns;      /* since then */
    bool room_awaited;         /* `from` is about to hear that there is room for more */
    u64 last_arrival_ns;       /* keeps the order within a connection */
    struct frame_list backlog; /* arrived, not yet taken in by `to` */
    bool retrying;

    u64 sent[MESSAGE_KIND_END];
    u64 sent_bytes[MESSAGE_KIND_END];
};

/* ---- servers ---- */

/* A thread that hands mail to a server whose design makes it wait: a peer's reader, or (of nobody)
 * the client port. Designs with a mailbox need none: their mail is posted as it arrives. */
struct reader {
    struct sim_server *server;
    struct coroutine *coroutine; /* NULL: not started */
    struct mail *first;          /* arrived, and not yet handed over */
    struct mail *last;
    bool idle; /* waits for mail */
};

enum { SAID_SIZE = 8 * 1024 };

struct sim_server {
    server_id id;
    struct cluster *cluster;
    struct disk disk;
    struct sim_clock clock;
    struct process *process; /* NULL: there is none */
    struct server *server;   /* NULL: not opened yet, or no process */
    enum cluster_process state;
    u64 incarnation;                           /* of the process; rises */
    struct shortage shortages[RESOURCE_COUNT]; /* of this life, or of the next */
    bool starved;                              /* it died because it had no more memory */
    bool asked_to_stop;
    bool told_to_stop;          /* it has handed leadership over, or could not in time */
    u64 disks;                  /* wiped that often */
    struct disk_copy *copy;     /* of an earlier state of its disk; NULL: none was made */
    struct disk_copy *own_disk; /* put aside while it has another cluster's; NULL: never yet */
    bool swapped;               /* it has another server's */
    bool stray;                 /* it has another cluster's now */
    u64 strays;                 /* how often that was so */
    bool joined;                /* its own directory was seen not to be blank */
    u64 copy_start;             /* the start that was the newest then; 0: it was not running */
    bool killed_at_write;       /* what disk.crash_at means */
    struct report report;
    char said[SAID_SIZE]; /* the newest whole lines of its log, warnings and errors */
    size_t said_size;
    struct trace trace;
    struct transport transport;
    struct identity shown;                    /* in its handshakes */
    struct configuration shown_configuration; /* that it judges those of others by */
    struct command_sink sink;
    struct command_sink hand_over_sink; /* of the order to hand leadership over before it stops */
    struct witness witness;             /* of what its machines are given */
    struct error stop_reason;
    enum cluster_design design;
    struct reader readers[CLUSTER_SERVERS_MAX + 1]; /* by peer; [0]: the client port */
    bool readers_stop;
    struct client_call *calls; /* arrived while it was paused, oldest first */

    /* As they were when it was last seen alive. */
    enum raft_state last_state;
    u64 last_term;
    u64 last_commit;
    u64 last_applied;
    u64 last_digest;
    cluster_set last_members;
};

/* ---- clients ---- */

/* A request with its texts, shared by the client and by what is on its way. */
struct asked {
    struct asked *next; /* in the client's queue */
    u32 references;
    enum client_op op;
    server_id via;
    server_id target;
    const char *key; /* all of them lie behind the struct; never NULL */
    const char *value;
    const char *old;
    u32 keys;
    u32 body_crc; /* once it has reached a server: of its encoding */
};

/* A request on its way to a server, or waiting in its socket. */
struct client_call {
    struct client_call *next;
    struct client *client;
    u64 serial; /* of the client's command */
    server_id to;
    u64 incarnation;
    u64 connection;
    struct asked *request;
};

/* A command in flight. */
struct flight {
    struct flight *next; /* in the client's list, in the order in which they were sent */
    struct client *client;
    u64 serial;     /* the client's, of this command */
    u64 sent_after; /* what anybody had applied when it was sent */
    struct asked *request;
    size_t operation; /* position in the history of the first of its operations */
    u32 operation_count;
    bool answered;                 /* the answer is on its way back: */
    struct client_answer incoming; /* this */
    u8 *incoming_value;            /* GET, GETDEL, SCAN: all that it carries */
    u32 incoming_size;
};

struct client {
    struct client *next;
    struct cluster *cluster;
    char *name;
    u64 number;
    struct asked *first; /* not sent yet */
    struct asked *last;
    struct flight *flights;
    u32 flight_count;
    u32 pipeline; /* commands in flight at most */
    u64 serial;   /* of the newest command sent */
    server_id to; /* whom it was sent to */
    u64 incarnation;
    u64 connection;      /* the number of its connection to that one; 0: it never had any */
    u64 last_arrival_ns; /* of what was sent on it */
    struct client_answer answer;
};

struct load {
    struct load *next;
    struct cluster *cluster;
    u64 number;
    u64 until_ns;
    u64 interval_ns; /* mean, between one client's commands */
    u32 keys;
    u32 client_count;
    u32 pipeline; /* commands that a client has in flight at most */
    u64 values;   /* given out so far: each is unlike all others */
    bool over;
};

/* ---- the cluster ---- */

struct kept {
    struct kept *next;
    void *memory;
};

struct action {
    void (*run)(void *context);
    void *context;
};

struct cluster {
    struct world world;
    struct cluster_config config;
    struct server_options server_options;
    u32 count;                                          /* servers and spares */
    struct sim_server servers[CLUSTER_SERVERS_MAX + 1]; /* by id */
    struct link *links;                                 /* by from, to: cluster_link */
    struct rng net_rng;
    struct rng load_rng;
    struct rng fault_rng;
    struct rng scenario_rng;
    struct client *clients;
    u64 client_count;
    u64 connection_count; /* of clients, so far */
    struct load *loads;
    u64 load_count;
    struct history history;
    u64 history_clock; /* events of clients so far */
    bool timers_on;
    u64 next_frame;
    struct checks checks;
    struct story story;
    struct kept *kept;
    bool failed;
    bool finished;
    struct cluster_failure failure;
};

static inline struct link *cluster_link(const struct cluster *cluster, server_id from, server_id to)
{
    return &cluster->links[from * (cluster->count + 1) + to];
}

/* ---- cluster.c ---- */

/* Keeps sim_alloc'ed memory until the cluster is destroyed. */
void cluster_keep(struct cluster *cluster, void *memory);
/* Draws from a range. */
u64 range_draw(struct rng *rng, const struct cluster_range *range);

/* ---- network.c ---- */

void network_init(struct cluster *cluster);
void network_deinit(struct cluster *cluster);
/* The server has been opened and listens: connections are made. */
void network_server_up(struct sim_server *server);
/* Its process has ended: `closed`, its kernel closes the connections; else nobody hears of it. */
void network_server_down(struct sim_server *server, bool closed);
/* It runs again after a pause: what has arrived is taken in. */
void network_server_resumed(struct sim_server *server);
/* A frame that was held arrives at this instant, on whatever connection there is now. Consumes it.
 */
void network_let_go(struct frame *frame);
/* Whether any link has a fault. */
bool network_is_faulty(const struct cluster *cluster);
/* The transport's send, for this server. */
/* handshake.c: what `server` shows from now on, and whether it talks to `peer`. Who is blank is
 * told to join. */
bool network_is_kin(struct sim_server *server, const struct sim_server *peer);
/* Its own connections end and are made anew, so that all see what it shows now. */
void network_connect_anew(struct sim_server *server);
void network_identify(struct transport *transport, const struct identity *own,
                      const struct configuration *configuration);
bool network_send(struct transport *transport, struct message *message);

/* ---- room.c ---- */

/* The transport's room, for this server. */
u64 room_left(struct transport *transport, server_id to);
/* So many bytes of answers are sent on it. */
void room_take(struct link *link, u64 size);

/* ---- servers.c ---- */

void servers_init(struct cluster *cluster);
void servers_deinit(struct cluster *cluster);
void server_boot(struct sim_server *server);
/* A message to a server that is up, made in its name; what was current is put into `*before`. */
struct mail *sim_mail_begin(struct sim_server *server, enum mail_kind kind,
                            struct process **before);
/* Posts it, as the reader of `source` (SERVER_NONE: the client port) would. Consumes it, and makes
 * current what was. Returns false when it did not go in. */
bool sim_mail_post(struct sim_server *server, struct mail *mail, server_id source,
                   struct process *before);
/* Whether its disk and clock are as they should be, and it lacks nothing. */
bool sim_server_is_healthy(const struct sim_server *server);
bool sim_server_is_live(const struct sim_server *server);
/* Notes what is known of it, for when it is dead. */
void sim_server_remember(struct sim_server *server);

/* ---- readers.c ---- */

/* Starts the reader threads, if the design has any. */
void readers_start(struct sim_server *server);
/* Ends them; the server takes no more mail. Called by the server's main thread. */
void readers_stop(struct sim_server *server);
/* The process has ended with them in it. */
void readers_forget(struct sim_server *server);

/* ---- faulty_disks.c ---- */

void faulty_disk_init(struct sim_server *server);

/* ---- shortages.c ---- */

/* Whether it lacks something until further notice. */
bool shortages_last(const struct sim_server *server);
/* There is enough of all again. */
void shortages_end(struct sim_server *server);
/* world.starved */
void shortages_starved(void *context, struct process *process);

/* ---- clients.c ---- */

void clients_init(struct cluster *cluster);
void clients_deinit(struct cluster *cluster);
extern const struct command_sink_ops client_sink_ops;

/* ---- client_records.c ---- */

/* A command leaves: what it is goes into the history. */
void flight_record(struct flight *flight);
/* Its answer has come: flight->incoming, if it is of a kind that has one. */
void flight_record_answer(struct flight *flight, enum client_answer_kind kind);
/* Reads the bytes of an answer into flight->incoming. */
void flight_take_answer(struct flight *flight, const u8 *data, size_t size);
/* The answer as the model gives it (model.h). */
i64 flight_answer_number(const struct flight *flight);
void client_answer_set_text(struct client_answer *answer, const void *data, size_t size);

/* ---- load.c ---- */

enum { LOAD_KEY_SIZE = 32 };
/* The name of the load's key of this number, 1 and up, in `text` of LOAD_KEY_SIZE. Returns it. */
const char *load_key(u64 number, char *text);
/* Whether any load has pipelines. */
bool load_is_pipelined(const struct cluster *cluster);
/* The server's process has ended: `closed`, its clients see their connections end. */
void clients_server_down(struct sim_server *server, bool closed);
void clients_server_resumed(struct sim_server *server);

/* ---- lists of frames: frames.c ---- */

void frames_put(struct frame_list *list, struct frame *frame);
/* The first, taken out of the list, or NULL. */
struct frame *frames_take(struct frame_list *list);
void frames_clear(struct frame_list *list);

#endif
