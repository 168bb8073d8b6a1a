/* connection.h - one client: its places for answers, and the bytes on their way to it.
 *
 * Two threads meet here. The port reads, parses and gives each command a *place*, numbered from 0
 * up; the server thread answers places in any order. Answers leave in the order of the places: an
 * answer whose turn it is goes straight to the output, another waits in its place.
 *
 * An idle connection holds this struct and nothing else: input, output, parser and the ring of
 * places beyond the built-in ones exist only while they hold something.
 *
 * Lifetime: counted. The port has a reference until it closes the connection; so has each command
 * under way and each list that the connection is in. Answers to a closed connection are dropped.
 *
 * Memory: what a connection holds, on both sides, is charged to the account that all share
 * (struct connection_bounds). When more than half of what they may hold is gone, whoever holds more
 * than a quarter of an equal part gets no further commands taken until it has read its answers;
 * beyond the whole, such a one's answers are refused, and the port ends the largest and slowest
 * (bounds.c).
 *
 * Waiting: when a command may not be taken yet (see connection_may_take), the connection notes why,
 * and the port stops parsing it. Whoever makes the reason go away under the lock asks for the port
 * in the same breath; so no wake-up is lost. */
#ifndef MAILRAFT_CLIENTS_CONNECTION_H
#define MAILRAFT_CLIENTS_CONNECTION_H

#include <stdatomic.h>

#include "common/bytes.h"
#include "common/sync.h"
#include "server/clients/output.h"
#include "server/clients/resp_parser.h"
#include "server/mail/command.h"

enum {
    PLACES_BUILT_IN = 2,         /* places that need no allocation */
    PLACES_MAX = 1024,           /* commands of one connection under way; a power of two */
    INLINE_SEND_MAX = 64 * 1024, /* the server thread sends at most this much of one connection */
    /* The part of the bound on output that an answer is guessed to have while none was seen: how
     * deep the first pipeline of reads may be. */
    GUESS_DIVISOR = 16
};

/* What all connections share. */
struct connection_bounds {
    u64 output_max;          /* bytes of unsent answers of one connection */
    u64 memory_max;          /* bytes that all connections together may hold */
    _Atomic u64 memory;      /* bytes that they hold */
    _Atomic u32 connections; /* how many there are */
};

enum place_state {
    PLACE_WAITING, /* not answered */
    PLACE_TEXT,    /* the server's status has come; the port has to make an answer of it */
    PLACE_ANSWERED
};

/* What becomes of a status text. */
enum status_shape {
    SHAPE_NONE,
    SHAPE_TEXT, /* RAFT.STATUS */
    SHAPE_INFO, /* details: sections */
    SHAPE_CLUSTER_SLOTS,
    SHAPE_CLUSTER_SHARDS,
    SHAPE_CLUSTER_NODES,
    SHAPE_CLUSTER_INFO,
    SHAPE_HELLO /* an answer also when there is no status: the protocol has changed already */
};

struct place {
    u8 *bytes; /* the answer, or the status text; NULL when size is 0 */
    size_t size;
    u8 state;          /* enum place_state */
    u8 shape;          /* enum status_shape: what becomes of a status text; 0: a plain answer */
    u8 class;          /* enum command_class */
    bool muted : 1;    /* the client does not want to hear this answer */
    bool given_up : 1; /* the port has answered it, as the server did not; that answer is dropped */
    u32 details;       /* of the shape: sections of INFO */
    u32 flying;        /* bytes of the command under way */
    u32 given_ms;      /* when the command was taken; it wraps around */
};

/* What has to be true before the next command may be taken. */
enum connection_wait {
    WAIT_NOTHING,
    WAIT_READS,  /* reads answered: a write must not overtake them */
    WAIT_ALL,    /* everything answered: the command changes how answers look */
    WAIT_PLACES, /* places free again */
    WAIT_OUTPUT  /* the client has read some of its answers */
};

/* What kind of command wants to be taken. */
enum connection_take { TAKE_LOCAL, TAKE_ALONE, TAKE_READ, TAKE_WRITE, TAKE_STATUS };

/* What the caller has to do for the connection after letting go of its lock. */
enum connection_notice {
    NOTICE_NONE = 0,
    NOTICE_DIRTY = 1, /* put it into the list of those to be sent to */
    NOTICE_PORT = 2   /* hand it to the port */
};

/* How far a client has come: compared with what it was, whether it gets on. */
struct connection_progress {
    u64 commands; /* taken */
    u64 received; /* bytes */
    u64 sent;
};

/* What the port waits for from a client, with patience that ends. */
enum connection_patience {
    PATIENCE_NONE,
    PATIENCE_HALF,   /* the rest of a command */
    PATIENCE_ANSWER, /* that it reads answers, so that its next command can be taken */
    PATIENCE_HOST    /* that its host is there at all: it may read its answers when it likes */
};

struct connection {
    _Atomic u32 references;
    struct connection_bounds *bounds;
    int fd; /* closed by the port, under the lock */
    u64 id;

    /* ---- the port's alone ---- */
    struct connection *next; /* in the port's list of all */
    struct connection *previous;
    struct buffer input;        /* unparsed bytes from input_start on */
    size_t input_start;         /* a prefix already parsed */
    struct resp_parser *parser; /* of a command begun and not complete; NULL: none */
    char *name;                 /* NULL: none; also the two below */
    char *library_name;
    char *library_version;
    const char *last_command;
    u64 created_ns;
    u64 active_ns; /* of the last command */
    u64 heard_ns;  /* when bytes last came */
    u64 quiet_ns;  /* the drain's: since when it has seen nothing under way; 0: not so */
    struct connection *patient_next; /* in the list of those whose patience ends, by deadline */
    struct connection *patient_previous;
    u64 patience_ends_ns;
    struct connection_progress seen; /* when that patience began */
    u64 commands;                    /* taken */
    u64 received;                    /* bytes */
    u64 input_noted;                 /* bytes that the account knows of */
    u8 patience;                     /* enum connection_patience */
    u32 interest;                    /* what epoll watches */
    bool redirect;                   /* answer -MOVED instead of forwarding */
    bool end_of_input;
    bool refuses;    /* MULTI was refused, and with it all up to EXEC or DISCARD */
    bool quiet;      /* CLIENT REPLY OFF */
    bool quiet_next; /* CLIENT REPLY SKIP: the next command */
    bool quiet_this; /* ... which is this one */
    bool no_evict;
    bool no_touch;

    struct mutex lock;
    /* ---- Guarded by lock ---- */
    struct output output;
    u64 sent;         /* bytes */
    u64 input_memory; /* bytes of input and parser */
    u64 flying_bytes; /* of commands under way */
    u64 charged;      /* bytes in the account */
    struct place built_in[PLACES_BUILT_IN];
    struct place *places; /* ring, by number modulo capacity: built_in, or allocated */
    u32 capacity;         /* a power of two */
    u64 first;            /* number of the oldest place not yet in the output */
    u64 end;              /* number of the next place to be given */
    u32 reads;            /* unanswered */
    u32 writes;
    u32 texts;          /* places in PLACE_TEXT */
    u64 stored_bytes;   /* answers in places */
    u64 answer_typical; /* bytes: rises at once, falls slowly */
    u8 wait;            /* enum connection_wait */
    u8 protocol;        /* 2 or 3 */
    bool port_sends;    /* the server thread keeps its hands off the socket */
    bool closing;       /* to be closed when all answers are out */
    bool broken;        /* the socket failed, or an answer had to be dropped */
    bool closed;
    bool in_dirty; /* is in that list, which holds a reference */
    bool in_port;
    struct connection *dirty_next; /* Guarded by the lists' lock, as port_next. */
    struct connection *port_next;
};

/* With one reference, the port's. */
struct connection *connection_create(int fd, u64 id, u64 now_ns, struct connection_bounds *bounds);
void connection_hold(struct connection *connection);
void connection_release(struct connection *connection);

/* Whether a command of that kind may be taken now; if not, the reason is noted, and the port gets
 * the connection back when it has gone. Thread: port. */
bool connection_may_take(struct connection *connection, enum connection_take take);

/* Gives the next place to a command that has arrived and goes to the server. Returns its number;
 * sets its after_write: whether writes of this connection are unanswered. Thread: port. */
u64 connection_give_place(struct connection *connection, struct command *command, u8 shape,
                          u32 details);

/* From the next answer on. Nothing of the connection may be under way. Thread: port. */
void connection_set_protocol(struct connection *connection, u8 protocol);

/* An answer of the port's own, behind all places given so far. Thread: port. */
void connection_answer_local(struct connection *connection, const u8 *bytes, size_t size);

/* The server's answer to a place: a RESP3 value, or for a shape a status text (unless it begins
 * with '-'). Returns enum connection_notice. Thread: any. */
u32 connection_answer_place(struct connection *connection, u64 number, enum command_class class,
                            const u8 *bytes, size_t size);

/* What the port answers by itself while the server's thread has stalled. */
struct stall_answers {
    u64 now_ns;
    u64 patience_ns;        /* so long a command waits for the server's answer */
    u64 status_patience_ns; /* the same for one that asks for the status */
    const u8 *status;       /* what is known, a status text */
    size_t status_size;
};

/* Answers the commands whose time is up: by the status where that is asked, by a definite error for
 * reads, and that the outcome is unknown for all others. The server's answers to these are dropped
 * when they come. Thread: port. */
void connection_give_up(struct connection *connection, const struct stall_answers *answers);

/* The first place with a status text: false when there is none. The text is the caller's.
 * Thread: port. */
bool connection_take_text(struct connection *connection, u64 *number, struct place *place);
/* The answer that the port has made of it, already in the client's protocol. */
void connection_put_shaped(struct connection *connection, u64 number, const u8 *bytes, size_t size);

enum connection_sent {
    SENT_ALL,     /* nothing is left, or somebody else sends it */
    SENT_PARTLY,  /* the port has to wait for room in the socket */
    SENT_NOT_MORE /* the connection is broken */
};

/* Sends what is in order, without blocking, in the server thread. Returns enum connection_notice.
 */
u32 connection_flush(struct connection *connection, u64 *sent_bytes);
/* The same in the port, with no limit but the socket's. */
enum connection_sent connection_flush_port(struct connection *connection, u64 *sent_bytes);

/* Whether the wait is over; if so, none is noted any more. Thread: port. */
bool connection_may_go_on(struct connection *connection);

/* The port has taken it out of its list: whoever needs the port from now on asks again. */
void connection_note_taken(struct connection *connection);

/* Whether a command in the input waits; for what. Thread: port. */
bool connection_is_waiting(struct connection *connection);
enum connection_wait connection_wait_of(struct connection *connection);

/* Tells the account what input and parser hold by now. Thread: port. */
void connection_note_input(struct connection *connection);
/* Gives back what a closed connection held of its input. Thread: port. */
void connection_drop_input(struct connection *connection);
/* Bytes that it holds, of both sides; those that its end would give back. Thread: port. */
u64 connection_memory(struct connection *connection);
u64 connection_evictable(struct connection *connection);
struct connection_progress connection_progress(struct connection *connection);

/* To be closed as soon as all answers are out. Thread: port. */
void connection_close_when_done(struct connection *connection);
bool connection_is_done(struct connection *connection);

/* Whether nothing is under way: all its commands are answered, and all answers are sent. Thread:
 * port. */
bool connection_is_quiet(struct connection *connection);

/* Closes the socket, drops all answers. Thread: port. */
void connection_close(struct connection *connection);

#endif
