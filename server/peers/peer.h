/* peer.h - private to the peers room: one peer, and the threads around it.
 *
 *   acceptor (one)       acceptor.c   takes connections, judges hellos, hands them to the readers
 *   reader   (one each)  reader.c     frames to mail
 *   writer   (one each)  writer.c     connects, shakes hands, sends what send.c had to leave
 *   server's thread      send.c       sends at once, or queues
 *
 * Each peer has one lock, a leaf. Sockets are closed only by the thread that works on them, under
 * the lock, so that whoever holds it may use or shut down what it finds. */
#ifndef MAILRAFT_PEERS_PEER_H
#define MAILRAFT_PEERS_PEER_H

#include <stdatomic.h>

#include "common/sync.h"
#include "server/peers/peers.h"
#include "server/peers/pulse.h"
#include "server/peers/socket.h"
#include "server/rules/trust.h"

enum {
    /* Connections that have not said who they are. More are not worth a file descriptor each: an
     * honest one is known one round trip after it was taken. */
    PENDING_MAX = 16,
    SAID_SIZE = 256
};

/* The last line of its sort, so that it is said again only when it has changed. */
struct said {
    char text[SAID_SIZE];
};

/* Whether the text is new; remembers it. */
bool said_anew(struct said *said, const char *text);

/* A frame that could not be sent at once. */
struct frame_out {
    struct frame_out *next;
    u32 size; /* of the whole frame */
    u32 sent; /* bytes of it that the socket has taken */
    u32 span_count;
    struct frame_head head;
    struct span spans[]; /* hold references */
};

struct peer {
    struct peers *peers;
    server_id id;
    char address[ADDRESS_SIZE];
    int wake; /* eventfd: the writer is to look around */
    struct thread writer;
    struct thread reader;
    struct said refused; /* The acceptor's, as the two below. */
    struct report_limit refusals;
    struct report_limit arrivals;
    struct report_limit calls; /* The writer's, as the one below. */
    struct resolver resolver;
    bool joining; /* The writer's: the last handshake came to nothing because one side is to join
                     the other's cluster first, or there is none yet */
    struct mutex lock;
    struct condition arrived; /* incoming_next has been set, or all is to stop */

    /* Guarded by lock, as all below. Our connection to it, hands shaken; -1: none. */
    int outgoing;
    u64 outgoing_start;           /* the start counter shown on it */
    u64 outgoing_directory;       /* and the directory */
    u64 outgoing_since_ns;        /* when it was: that process lived then */
    u32 outgoing_version;         /* the protocol version agreed on it */
    u64 outgoing_frame_bytes_max; /* what the other side takes */
    bool outgoing_broken;         /* nothing more can be sent on it; the writer will close it */
    struct frame_out *queue_first;
    struct frame_out *queue_last;
    u64 queue_bytes;
    bool room_awaited; /* answers wait for room in the queue; the writer says when there is some */
    u64 queue_peak;    /* most bytes of the queue since its memory was last given back */
    struct report_limit lost_answers;
    bool large_said;   /* that a message was too large for a frame */
    struct pulse said; /* the newest that was sent on this connection */

    int incoming;              /* its connection to us, which the reader reads; -1: none */
    int incoming_next;         /* takes the place of `incoming`; -1: none */
    u64 incoming_start;        /* start counter shown on it */
    u32 incoming_next_version; /* the protocol version agreed on that */
    struct identity incoming_next_identity; /* what was shown on that */

    u64 messages_sent;
    u64 messages_dropped;
    u64 bytes_sent;
    _Atomic u64 bytes_received; /* not guarded: the reader's */
};

/* The first frame of the other side, as it comes in. */
struct greeting {
    u8 bytes[HELLO_FRAME_MAX];
    u32 have;
};

/* A connection that has not said who it is. */
struct pending {
    int socket; /* -1: free */
    char name[SOCKET_NAME_SIZE];
    u64 since_ns;
    struct greeting greeting;
};

struct peers {
    struct transport transport;
    struct peers_options options; /* its pointer to a configuration is not used, nor its identity
                                     after the start */
    struct mutex lock;            /* a leaf, too */
    struct hello identity;        /* Guarded by lock, as all below: what this server shows */
    struct kin kin;               /* what the log says of the members' directories */
    /* Not guarded. */
    struct mail_slot *slot;
    struct report *report;
    _Atomic bool stopping;
    _Atomic u64 pulse_ns; /* as in the options, until transport_ops.pulse changes them */
    _Atomic u64 pulse_ns_max;
    _Atomic u64 busy_since_ns; /* the server thread deals with mail; 0: it waits for some */
    struct listeners listeners;
    int wake; /* eventfd: the acceptor is to look around */
    struct thread acceptor;
    struct pending pending[PENDING_MAX]; /* The acceptor's, as all below. */
    struct said stranger;
    struct report_limit strangers;
    u64 accept_after_ns; /* no connection is taken before: descriptors had run out */
    u32 count;
    struct peer peer[]; /* all members but this server */
};

/* The peer of that id, or NULL. */
struct peer *peers_find(struct peers *peers, server_id id);

static inline bool peers_stopping(struct peers *peers)
{
    return atomic_load_explicit(&peers->stopping, memory_order_acquire);
}

/* The threads. `argument` is the peers or the peer. */
void acceptor_run(void *argument);
void reader_run(void *argument);
void writer_run(void *argument);

/* Hands a connection whose hello was accepted to the peer's reader; `version` is the protocol's.
 * Thread: the acceptor. */
void reader_give(struct peer *peer, int socket, const struct hello *hello, u32 version);

/* Notes what the other side has told of its limits. */
void peer_learn_limits(struct peer *peer, const struct hello *hello);

/* transport_ops.send for this peer. Thread: the server's. */
bool peer_send(struct peer *peer, struct message *message);

enum push {
    PUSH_EMPTY,   /* nothing is left to be sent */
    PUSH_MORE,    /* call again */
    PUSH_BLOCKED, /* the socket takes no more now */
    PUSH_BROKEN   /* the connection is done for */
};
/* Sends one frame of the queue, or a part of it. Sets `*room` when MAIL_ROOM is to be posted.
 * Thread: the writer. */
enum push peer_push(struct peer *peer, bool *room);

/* transport_ops.room for this peer. Thread: the server's. */
u64 peer_room(struct peer *peer);
/* Whether answers have waited for room in the queue, and now there is some: then MAIL_ROOM is to be
 * posted. True once. */
bool peer_has_room_again_locked(struct peer *peer);

/* While the server thread is busy for long: tells the peer again what it was told last, if it is
 * time to. Returns whether anything was told so far, and so may have to be again, after
 * `*interval_ns`. Thread: the writer. */
bool peer_beat(struct peer *peer, u64 *interval_ns);

/* Gives back to the system what a long queue has needed, when nothing has waited in it since that
 * time, and for long enough. Returns when to ask again; UINT64_MAX: there is no need. Thread: the
 * writer. */
u64 peer_trim(struct peer *peer, u64 empty_since_ns);

/* Drops what is queued. Locks: the peer's is held. */
void peer_queue_clear_locked(struct peer *peer);

/* Reads more of the other side's first frame. ERROR_NONE: it is complete; ERROR_BUSY: not yet.
 * Errors: ERROR_UNAVAILABLE (the connection ended), ERROR_FORMAT. */
WARN_UNUSED enum error_code greeting_receive(struct greeting *greeting, int socket, bool answer,
                                             struct hello *hello, struct error *error);

/* Sends a first frame; it fits into the empty buffer of a new socket. */
WARN_UNUSED enum error_code greeting_send(int socket, bool answer, const struct hello *hello,
                                          struct error *error);

/* What this server shows now. Thread: any. */
struct hello handshake_hello(struct peers *peers, server_id to);

/* Judges a hello and fills in the answer. Returns the peer that it is from, or NULL when it is
 * refused; answer->refusal says why. `*joining`: only because one of the two is to join the other's
 * cluster first, or neither belongs to one yet: that is no fault. Where it is this one that is to
 * join, the server is told. */
struct peer *handshake_judge(struct peers *peers, const struct hello *hello, struct hello *answer,
                             bool *joining);

/* Judges the answer to our hello; peer->joining as above. Errors: ERROR_MISMATCH, saying why this
 * connection is no use. */
WARN_UNUSED enum error_code handshake_judge_answer(struct peer *peer, const struct hello *answer,
                                                   struct error *error);

#endif
