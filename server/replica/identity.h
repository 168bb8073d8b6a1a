/* identity.h - what follows from rules/trust.h for a server, alike in all designs: what is seen
 * of others is saved and said, who is not recognised is told, and who is told minds it.
 *
 * When the disk fails server->failure says why, the flush of this pile finds it before anything is
 * counted or said, and the server stops.
 *
 * Thread: the one that runs the server's rules. What saves blocks, which is rare: when a peer that
 * was started anew is met for the first time. */
#ifndef MAILRAFT_REPLICA_IDENTITY_H
#define MAILRAFT_REPLICA_IDENTITY_H

#include "server/replica/replica.h"
#include "server/rules/trust.h"
#include "server/storage/storage.h"

/* What this server shows of itself, and whom it remembers, as they were found on disk. */
void identity_recover(struct server *server, const struct storage_recovery *recovery);

/* This server's directory is blank, and a member of a cluster was met, which has shown this: it
 * joins. Ignored when it is not blank (any more). */
void identity_join(struct server *server, const struct identity *through);

/* To be called when more is committed, and whenever a configuration may have come: what it says of
 * the others is said and saved, what it says of this very server is saved, and new connections show
 * it. `lead` is NULL in other states. Costs nothing when nothing has changed. */
void identity_settle(struct server *server, struct leader_pending *lead);

/* The half of it that the step design asks for by an action. */
void identity_save_own(struct server *server, enum own_standing standing);
/* And the end of it: connections show what is saved by now. */
void identity_show(struct server *server);

/* Says that this server is one that may not vote, if it is, or that it belongs to no cluster yet.
 */
void identity_log(const struct server *server);

/* A peer has connected. `lead` is NULL in other states. */
void identity_handle_hello(struct server *server, struct leader_pending *lead,
                           const struct met *met, u64 now_ns);

/* A message of the peer has come, or our connection to it is new: it is told that it is not
 * recognised, if that is so and it does not seem to know. */
void identity_remind(struct server *server, server_id peer, u64 now_ns);
void identity_connected(struct server *server, server_id peer, u64 now_ns);

/* An UNRECOGNISED has come. Returns whether this server may not vote from now on: it must neither
 * lead nor campaign. */
bool identity_handle_unrecognised(struct server *server, const struct message *message);

/* A vote, or the refusal of one, has come: perhaps the voter counts again. To be called before it
 * is counted. */
void identity_handle_vote(struct server *server, const struct message *reply);

/* A leader has taken a reply of the peer: if that shows that it lacks what it had acknowledged, or
 * says that it is not recognised, it counts no more. */
void identity_handle_reply(struct server *server, struct progress *progress,
                           const struct append_reply *reply);

/* The two halves of it that the step design asks for by actions: to say and save a judgement, and
 * that this server may not vote. */
void identity_carry_out(struct server *server, server_id peer, const struct meeting *meeting);
void identity_save_non_voter(struct server *server, server_id by, enum distrust why);

#endif
