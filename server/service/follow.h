/* follow.h - what a server does with a rule's verdict: the few lines between a rule and the outbox
 * that every design needs in the same form. Which of them is called when is the design's own
 * affair.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_SERVICE_FOLLOW_H
#define MAILRAFT_SERVICE_FOLLOW_H

#include "server/server.h"

/* ---- votes ---- */

/* Says it in the log, for those who follow it with -v. */
void act_tell_election(struct server *server, const struct election_news *news);
/* The election timer was set. */
void act_tell_timeout(struct server *server, u64 now_ns, u64 deadline_ns);
/* election_count, and says so. */
void act_count_vote(struct server *server, struct election *election, const struct message *reply);

/* Answers a PRE_VOTE or a REQUEST_VOTE of the current term. Returns whether a vote was given away
 * (a pre-vote gives none). */
bool act_answer_vote(struct server *server, const struct message *request, bool hears_leader);

/* Begins to campaign: with a pre-vote, or at once when leadership was handed over. */
void act_begin_campaign(struct server *server, struct election *election, u64 now_ns);

/* The pre-vote was won: term + 1, own vote, and the requests for the others'. */
void act_begin_election(struct server *server, struct election *election, bool handed_over);

/* A peer can be reached now: it gets the request that went nowhere before, unless it has answered,
 * or is not asked at all. */
void act_request_vote_again(struct server *server, const struct election *election, server_id peer);

/* ---- the follower ---- */

/* Takes an AppendEntries of the current term and stages the reply. Returns false when the leader
 * breaks the protocol; `*why` says how. */
WARN_UNUSED bool act_take_entries(struct server *server, const struct message *request, u64 now_ns,
                                  const char **why);

/* Takes a command: answers it here, parks it, redirects the client, or puts it into `forwarding`.
 */
void act_follow_command(struct server *server, struct forwarding *forwarding,
                        struct command *command);

/* Takes the answers to a FORWARD. A leader that has stepped down says so when it is asked; until it
 * is heard again commands wait, instead of going to and fro. */
void act_take_forward_reply(struct server *server, struct forwarding *forwarding,
                            const struct message *reply);

/* The end of a follower's pile: what waits for a leader goes to it, once there is one; what has
 * waited too long fails. */
void act_forward(struct server *server, struct forwarding *forwarding, u64 now_ns);

/* The leader, or the connection to it, is lost. */
void act_forwarding_lost(struct server *server, struct forwarding *forwarding);

/* The message with this call was certainly never sent. */
void act_forward_unsent(struct server *server, struct forwarding *forwarding, u64 call);

/* [InstallSnapshot, §7] Takes a piece of a snapshot; as act_take_entries. */
WARN_UNUSED bool act_take_piece(struct server *server, const struct message *request, u64 now_ns,
                                const char **why);

/* A snapshot is on disk, or is not going to be; or one that was received is ready to take the place
 * of log and machine, in any state. If that fails because of the disk, the next flush says so. */
void act_take_news(struct server *server, const struct snapshot_result *result);

/* ---- the candidate ---- */

/* Takes a command while there is no leader: answers it here, or parks it. */
void act_hold_command(struct server *server, struct command *command);

/* ---- the leader ---- */

/* Takes an APPEND_ENTRIES_REPLY of the current term. */
void act_take_append_reply(struct server *server, struct lead *lead, const struct message *reply,
                           u64 now_ns);

/* [InstallSnapshot, §7] Takes an INSTALL_SNAPSHOT_REPLY of the current term. */
void act_take_install_reply(struct server *server, struct lead *lead, const struct message *reply,
                            u64 now_ns);

/* The connection from a peer has ended. */
void act_peer_disconnected(struct lead *lead, server_id peer);
/* Our connection to a peer is new. */
void act_peer_connected(struct server *server, struct lead *lead, server_id peer);

/* This server leads no more, and knows of no other leader. */
void act_stop_leading(struct server *server, struct lead *lead);

#endif
