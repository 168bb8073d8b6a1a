/* peers.h - connections to the other servers over TCP.
 *
 * Between two servers there are two connections, each used in one direction: every server opens
 * one to each other server and sends on it, and accepts one from each and reads from it. So there
 * is no question of who opens, and the end of a connection means the same to both.
 *
 * Threads: an acceptor; for each peer a reader (blocks in its socket, decodes and verifies frames,
 * posts mail) and a writer (connects with back-off, shakes hands, sends what the server thread
 * could not send at once). peers_transport()'s send tries the socket itself without blocking, and
 * leaves the rest to the writer's bounded queue; when that is full, or there is no connection, the
 * message is dropped: Raft tolerates loss. A reader whose mail finds no room waits, and lets TCP
 * hold the peer back.
 *
 * Mail posted: MAIL_MET, who has connected to us and what data directory it shows; messages, in the
 * order in which they were sent; MAIL_CONNECTED when our connection
 * to a peer is new; MAIL_DISCONNECTED when the connection from a peer has ended. A newer connection
 * from a peer takes the older one's place, and that is no end unless the peer was started anew.
 *
 * Nobody who is not a member of this cluster is listened to: what each refusal is for stands in
 * handshake.c, and each is said once, on both sides, until it changes. */
#ifndef MAILRAFT_PEERS_PEERS_H
#define MAILRAFT_PEERS_PEERS_H

#include "common/report.h"
#include "server/mail/mail.h"
#include "server/mail/outbox.h"
#include "server/peers/codec.h"
#include "server/rules/configuration.h"

struct peers;

struct peers_options {
    struct hello identity; /* cluster_id, from, seed_crc, and what hello_show fills in (start_count:
                              1 and up), as it is at the start */
    const struct configuration *configuration; /* addresses; copied */
    const struct configuration *newest; /* the log's, for the members' directories and the feature
                                           level; copied; NULL: none yet */
    struct limits *limits; /* where what others tell of theirs goes, and what they are told is from;
                              borrowed, outlives the peers; NULL: nothing is told */
    u64 frame_bytes_max;   /* payload and FRAME_HEAD_SIZE_MAX, as this server takes and sends them;
                              a peer that takes less is sent less */
    u64 queue_bytes_max;   /* of each writer; one frame always fits into an empty queue */
    u64 reconnect_ns_min;  /* back-off doubles between these two */
    u64 reconnect_ns_max;
    u64 pulse_ns;     /* who has nothing new to say yet tells the newest again (pulse.h); 0: not */
    u64 pulse_ns_max; /* but not for longer than this; both until transport_ops.pulse changes them
                       */
    u64 handshake_ns_max; /* an unfinished handshake is closed after this */
    u64 stall_ns_max;     /* and a connection on which a frame does not go on for this, in all */
};

/* Listens on the own peer address and starts the threads. `slot` must outlive the peers. Errors:
 * ERROR_UNAVAILABLE (the address cannot be bound), ERROR_SYSTEM, ERROR_CONFIG (cannot be resolved).
 */
WARN_UNUSED enum error_code peers_create(const struct peers_options *options,
                                         struct mail_slot *slot, struct report *report,
                                         struct peers **peers, struct error *error);

/* Closes all connections and joins all threads. A reader that waits for room in the slot must be
 * let go first (mailbox_close). Blocks, for a moment. */
void peers_destroy(struct peers *peers);

/* The transport for the server. Borrowed; lives as long as the peers. */
struct transport *peers_transport(struct peers *peers);

struct peer_status {
    server_id id;
    bool connected_to; /* our connection to it stands, hands shaken */
    bool connected_from;
    u64 messages_sent;
    u64 messages_dropped;
    u64 bytes_sent;
    u64 bytes_received;
    u64 queue_bytes;
};
/* Thread: any. Returns the number of peers written, at most `capacity`. */
u32 peers_status(struct peers *peers, struct peer_status *status, u32 capacity);

#endif
