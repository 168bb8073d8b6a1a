/* lead.h - a leader's work for its clients: what pending.h decides, carried out with the server's
 * machine, outbox and sinks.
 *
 * Whoever leads holds a `struct leader_pending`, and lead_end answers everybody who still waits.
 *
 * Thread: the server's. */
#ifndef MAILRAFT_SERVICE_LEAD_H
#define MAILRAFT_SERVICE_LEAD_H

#include "server/replica/replica.h"

/* Begins the leadership that the won election gave. */
void lead_begin(struct server *server, struct leader_pending *lead, u64 now_ns);

/* Ends it. Of writes that are not yet committed the outcome is unknown: the next leader may hold
 * and commit them. Own clients' reads, and what a transfer held, wait for the next leader to be
 * known. */
void lead_end(struct server *server, struct leader_pending *lead);

/* A new pile begins: asks storage how much it can take. */
void lead_begin_pile(struct server *server, struct leader_pending *lead);

/* Takes a client's command: appends a write, queues a read. Consumes it. */
void lead_take(struct server *server, struct leader_pending *lead, struct command *command,
               u64 now_ns);

/* Takes a FORWARD of the current term, or drops it as a duplicate. */
void lead_take_forward(struct server *server, struct leader_pending *lead,
                       const struct message *request, u64 now_ns);

/* Takes entries that were read from the disk for a peer. */
void lead_take_entries(struct server *server, struct leader_pending *lead,
                       const struct entries_read *read, u64 now_ns);

/* Takes a piece of a snapshot that was read for a peer. */
void lead_take_piece(struct server *server, struct leader_pending *lead,
                     const struct piece_read *read, u64 now_ns);

/* Thesis §3.10: does what the transfer demands now, if one goes on; begins one when writes find no
 * room on this server's disk. To be called with every pile, before lead_replicate. */
void lead_hand_over(struct server *server, struct leader_pending *lead, u64 now_ns);
/* Whether the flush has made the target of a transfer ready, so that it is to be told at once, in
 * one more round: whatever this pile has shown of the quorum, it is not left untold. */
bool lead_must_hand_over(const struct server *server, const struct leader_pending *lead,
                         u64 now_ns);

/* [Leaders 1 and 3, §5.3] Stages what is to be said to each peer now: entries, heartbeats, rounds.
 */
void lead_replicate(struct server *server, struct leader_pending *lead, u64 now_ns);

/* Takes an APPEND_ENTRIES_REPLY of the current term. */
void lead_take_append_reply(struct server *server, struct leader_pending *lead,
                            const struct message *reply, u64 now_ns);

/* [InstallSnapshot, §7] Takes an INSTALL_SNAPSHOT_REPLY of the current term. */
void lead_take_install_reply(struct server *server, struct leader_pending *lead,
                             const struct message *reply, u64 now_ns);

/* The connection from a peer has ended. */
void lead_peer_disconnected(struct leader_pending *lead, server_id peer);
/* Our connection to a peer is new. */
void lead_peer_connected(struct server *server, struct leader_pending *lead, server_id peer);

/* This server leads no more, and knows of no other leader. */
void lead_stop(struct server *server, struct leader_pending *lead);

#endif
