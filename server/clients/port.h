/* port.h - the port's insides, shared by the files of this room and by nobody else.
 *
 * clients.c opens and ends the port and is the command sink; port.c is its thread: epoll, reading,
 * parsing, closing; dispatch.c decides what becomes of a command; bounds.c ends those who cost too
 * much or do not get on; stall.c answers for a server that has stalled; drain.c empties the port
 * before the end. */
#ifndef MAILRAFT_CLIENTS_PORT_H
#define MAILRAFT_CLIENTS_PORT_H

#include "common/listeners.h"
#include "common/sync.h"
#include "server/clients/clients.h"
#include "server/clients/connection.h"

enum {
    SCRATCH_SIZE = 64 * 1024, /* a read of a connection that holds no input */
    BODIES_SIZE = 64 * 1024,  /* a block that bodies of small commands share */
    POST_BYTES = 1024 * 1024, /* commands of one message: posted early beyond it */
    POST_COUNT = 4096,
    DRAIN_LOOK_MS = 10, /* between two looks at connections that are being drained, */
    STALL_LOOK_MS = 50  /* and at those that wait for a server that has stalled */
};

struct clients_counters {
    u64 accepted;
    u64 rejected;
    u64 commands;
    u64 protocol_errors;
    u64 evicted;       /* ended because all together held too much */
    u64 half_commands; /* ended because the rest of a command did not come */
    u64 stalled;       /* ended because its answers were not read while more commands waited */
    u64 vanished;      /* its host does not answer any more */
    u64 input_bytes;
    u64 rate;         /* commands a second, over the last full second that had any event */
    u64 rate_from_ns; /* where the measured second began, and how many commands there were then */
    u64 rate_commands;
};

struct clients {
    struct command_sink sink;
    struct clients_options options;
    struct configuration configuration; /* options.configuration points here */
    struct resp_limits limits;
    struct connection_bounds bounds;
    struct mail_slot *slot;
    struct report *report;
    struct thread thread;
    u64 started_ns;
    u16 port; /* that it listens on; the rest of the address is in listeners.names */
    int epoll_fd;
    int wake_fd;
    _Atomic u64 output_bytes;

    struct mutex lock;      /* never taken with a connection's lock held, nor the other way round */
    struct condition quiet; /* input_stopped or drained has become true */
    struct connection *dirty_first; /* Guarded by lock, as all in this group. To be sent to. */
    struct connection *port_first;  /* that want the port */
    bool drain_asked;               /* nobody is admitted any more, and what comes is refused */
    bool drained;                   /* and all connections have ended */
    bool stop_asked;                /* no more input */
    bool end_asked;                 /* close everything, end the thread */
    bool input_stopped;             /* nothing is posted any more */

    /* ---- the port's thread alone ---- */
    struct listeners listeners;
    int spare_fd;   /* given up to accept and refuse one more when descriptors are out */
    bool listening; /* epoll watches them */
    bool stalled;   /* the server's thread, when this round began */
    bool draining;
    bool stopping;
    struct connection *connections;
    u32 connection_count;
    struct connection *buried; /* closed in this round; events may still name them */
    u64 last_id;
    u64 heard_ns;                     /* when bytes last came from anybody */
    u64 now_ns;                       /* of this round */
    struct report_limit lacks;        /* lines about descriptors and clients that are too many */
    struct report_limit strangers;    /* lines about clients that speak no RESP */
    struct report_limit evictions;    /* lines about clients that hold too much */
    struct report_limit stalls;       /* lines about clients that do not get on */
    struct connection *patient_first; /* whose patience ends, the first of all */
    struct connection *patient_last;
    bool evicts;     /* more have to go than went in one round */
    u64 memory_peak; /* most bytes that all held since memory was last given back */
    u8 *scratch;
    struct resp_parser *parser; /* for connections that have no command begun */
    struct buffer reply;
    struct block *bodies;
    u32 bodies_used;
    struct command_list commands; /* of this round */
    struct clients_counters counters;
};

/* The thread. */
void port_run(void *clients);

/* Closes at the end of the round's work on it, without another answer. Thread: port. */
void port_close(struct clients *clients, struct connection *connection);

/* Takes in the connections that wait to be accepted, some at a time. Returns whether there may be
 * more. Thread: port. */
bool port_accept(struct clients *clients);

/* bounds.c: notes what the connection holds, and what is waited for, after it was served. */
void bounds_note(struct clients *clients, struct connection *connection);
/* Takes a connection that ends out of the list of those with patience. */
void bounds_forget(struct clients *clients, struct connection *connection);
/* Each round: ends those whose patience is over, and the largest and slowest when all together hold
 * too much. */
void bounds_work(struct clients *clients);
/* When bounds_work has something to do without an event, in milliseconds; -1: never. */
int bounds_timeout_ms(const struct clients *clients);
/* Options of an accepted socket: so that a host that is gone is noticed. */
void bounds_tune(const struct clients *clients, int fd);
/* Its socket has failed: counted when the host is gone. */
void bounds_note_failure(struct clients *clients, struct connection *connection);
/* Sends to the connection, goes on parsing as long as that makes room for more, closes it when it
 * is done. Thread: port. */
void port_serve(struct clients *clients, struct connection *connection);

/* stall.c, thread: port. Each round: whether the server's thread has stalled; and if so, answers
 * whoever has waited long enough. */
void stall_look(struct clients *clients);
void stall_work(struct clients *clients);
/* Appends what is known of the server as a status text. */
void stall_describe(struct clients *clients, struct buffer *to);

/* drain.c: begins to drain if that was asked for; ends the connections that have nothing under way.
 * Each round, Thread: port. */
void drain_work(struct clients *clients);

/* Puts the connection into the list that the notice names. Thread: any. */
void clients_notice(struct clients *clients, struct connection *connection, u32 notice);

/* Sends what was answered since the last call. Thread: any. */
void clients_flush(struct clients *clients);

/* Posts the commands gathered in this round, or answers them when there is no room. Thread: port.
 */
void dispatch_post(struct clients *clients);

enum dispatched {
    DISPATCH_DONE,
    DISPATCH_WAIT, /* the command must stay in the input; its connection notes what it waits for */
    DISPATCH_END   /* nothing more is read of this connection */
};

/* Carries out one parsed command, or sends it on its way to the server. Thread: port. */
enum dispatched dispatch_command(struct clients *clients, struct connection *connection,
                                 const struct kv_argument *arguments, u32 count);

/* Makes answers of the status texts that have come for the connection. Thread: port. */
void dispatch_texts(struct clients *clients, struct connection *connection);

/* A descriptor that is open for no other purpose than to be given up; -1: none is left. */
int clients_spare(const struct clients *clients);

#endif
