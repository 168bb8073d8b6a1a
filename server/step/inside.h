/* inside.h - what the files of the step machine share. For this room only, without the node. */
#ifndef MAILRAFT_STEP_INSIDE_H
#define MAILRAFT_STEP_INSIDE_H

#include "server/step/step.h"

/* What each state does with each event. */
void follower_step(struct step *step, const struct step_event *event);
void candidate_step(struct step *step, const struct step_event *event);
void leader_step(struct step *step, const struct step_event *event);
void stopped_step(struct step *step, const struct step_event *event);

/* ---- transitions.c ---- */

/* Ends the state and begins another, or the same one again. */
void step_become(struct step *step, enum raft_state state, const char *why);

/* Begins a candidacy, if this server may; also out of a candidacy that came to nothing.
 * `skip_pre_vote`: no pre-vote, stickiness put aside. */
void step_campaign(struct step *step, bool skip_pre_vote, const char *why);

/* Says that the state is the one it is now. */
void step_tell_transition(struct step *step, const char *why);

/* Gives up: a peer did what only a bug can cause. */
void step_halt(struct step *step, server_id peer, const char *why);

/* Begins the election proper: term + 1, own vote, requests for the others'. */
void step_begin_election(struct step *step, bool skip_pre_vote);

/* candidate.c: what the votes so far say. */
void step_judge(struct step *step);

/* Whether this server hears a leader, or is one in contact with a quorum. */
bool step_hears_leader(const struct step *step);

/* ---- speak.c: actions, and what they must wait for ---- */

struct step_action *step_do(struct step *step, enum step_action_kind kind);

/* The message leaves as soon as everything is synced that was asked for up to the end of this call.
 * Takes over its spans. */
void step_say(struct step *step, struct message *message);
/* A leader's entries may leave at once: its term has been on its disk since before its election. */
void step_say_now(struct step *step, struct message *message);
/* The answer to a request that is stale, ignored, or for somebody else; replies are just dropped.
 */
void step_refuse_message(struct step *step, const struct message *request);
/* [RequestVote, §5.2] Returns whether a vote was given away (a pre-vote gives none). */
bool step_answer_vote(struct step *step, const struct message *request);

void step_tell(struct step *step, server_id peer, const char *why, bool trouble);

/* What in the state is not yet asked of the disk, is asked now. */
void step_store(struct step *step);
/* Takes note of what is on the disk. */
void step_persisted(struct step *step, const struct step_persisted *persisted);
/* Takes note of how much the disk can take. */
void step_note_room(struct step *step, const struct step_room *room);
/* Lets go the messages that wait for nothing any more. */
void step_release_messages(struct step *step);

/* A leader looks what a quorum holds; what is committed and not yet handed
 * out is applied; then come the reads that have waited for it. */
void step_applied(struct step *step, u64 work);
void step_apply(struct step *step);

/* ON_SNAPSHOT_TAKEN, ON_SNAPSHOT_RECEIVED, ON_SNAPSHOT_LOST, of a server that does not lead. */
void step_snapshot(struct step *step, const struct step_event *event);
/* The log forgets what a snapshot stands for, and nobody is about to be sent. */
void step_compact(struct step *step);

/* Sets the alarm if it is to ring at another time. */
void step_set_alarm(struct step *step);

/* ---- recognise.c: who of the others is recognised ---- */

void step_meet(struct step *step, const struct met *met);
/* A message of the peer has come, or our connection to it is new: if it is not recognised and does
 * not seem to know, it is told. */
void step_remind(struct step *step, server_id peer);
void step_peer_connected(struct step *step, server_id peer);
/* A leader has taken a reply: the peer may have lost entries, or say of itself that it does not
 * count. */
void step_mind_reply(struct step *step, const struct progress *progress,
                     const struct append_reply *reply);
/* A vote, or the refusal of one, has come: perhaps the voter counts again. */
void step_mind_vote(struct step *step, const struct message *reply);
/* More is committed, or the configuration is another one. */
void step_settle_trust(struct step *step);
/* A peer does not recognise this server. */
void step_unrecognised(struct step *step, const struct message *message);

/* ---- clients.c: commands, of which the node knows the clients by their tokens ---- */

/* A command of the state's: it has no sink, and its `slot` is the token. */
struct command *step_take_command(const struct step_event *event);
void step_refuse(struct step *step, struct command *command, enum command_failure failure);

/* It waits for a leader to be known; if it was forwarded to us it fails instead. */
void step_park(struct step *step, struct command *command);
/* Those that have waited too long fail. */
void step_expire_parked(struct step *step);

/* All that are parked fail: the server stops. */
void step_refuse_all(struct step *step);

/* A follower's: to the leader it goes with the next ON_BATCH_END. */
void step_follow_command(struct step *step, struct command *command);
void step_forward(struct step *step);
void step_forward_replied(struct step *step, const struct message *reply);
void step_forward_unsent(struct step *step, u64 call);
void step_forward_expire(struct step *step);
void step_forward_lost(struct step *step);

/* An order to hand leadership over, for a server that does not lead: one that it never began, or
 * one that it began as the leader. */
void step_conclude_order(struct step *step, struct command *order);
void step_answer_order(struct step *step, struct command *order, enum transfer_result result,
                       server_id who);

/* A leader's. step_lead_room comes before. */
void step_lead_room(struct step *step);
void step_lead_command(struct step *step, struct command *command);
void step_give_back(struct step *step, struct command *command);
void step_lead_order(struct step *step, struct command *order);
void step_lead_end(struct step *step);
/* What was held during a transfer that came to nothing is taken as if it came now. */
void step_lead_held(struct step *step);
/* And what was held for want of a place in the log, if there is one now. */
void step_look_for_room(struct step *step);

#endif
