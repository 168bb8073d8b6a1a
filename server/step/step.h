/* step.h - the design that is a function: state and event in, actions out.
 *
 * step() is all there is. It does no I/O, reads no clock, knows no thread, and calls nobody back;
 * the same state and the same event give the same next state and the same actions, always. What
 * the paper calls a server is this function and a *node* around it (node.h) that turns what happens
 * into events and carries out what is asked.
 *
 * What must not be said before the disk holds it is kept in the state, as messages that name the
 * store they wait for, until ON_PERSISTED tells of that store. What may be done earlier is in the
 * list at once. So "speak only after persisting" can be read here, and tested without a disk.
 *
 * Every event is answered in every state: follower_step, candidate_step, leader_step and
 * stopped_step name all kinds. TABLE.md, generated from the running code, is what they do.
 *
 * Everything allocated here hangs in the state or in the caller's list. Thread: one at a time. */
#ifndef MAILRAFT_STEP_STEP_H
#define MAILRAFT_STEP_STEP_H

#include "server/requests/forward.h"
#include "server/requests/pending.h"
#include "server/rules/election.h"
#include "server/step/action.h"
#include "server/step/event.h"

/* What is asked of the disk and not yet there. Store numbers rise by 1; 0: none so far. */
struct step_stores {
    u64 asked;      /* the newest store asked for */
    u64 synced;     /* this one and all before it are on the disk */
    u64 state;      /* the newest DO_STATE_STORE */
    u64 asked_term; /* what that one holds */
    server_id asked_vote;
    u64 next_index;    /* behind the last entry that was asked for */
    u64 rewrite;       /* the newest DO_LOG_STORE that replaces entries asked for before */
    u64 rewrite_first; /* where it or an unsynced one before it begins; UINT64_MAX: none under way
                        */
};

struct step_messages {
    struct step_message *first; /* rising stores */
    struct step_message *last;
    struct step_message *unnumbered; /* during a call: the first one written in it */
};

struct step {
    struct raft *raft; /* part of the state; borrowed, since every design's server has one */
    enum raft_state state;
    struct rng rng; /* for election timeouts */

    struct step_settings settings;

    u64 now_ns; /* of the newest event */
    u64 wall_ns;
    u64 deadline_ns;       /* the election timer, of followers and candidates */
    u64 alarm_ns;          /* of the newest DO_ALARM */
    struct step_room room; /* what the disk can take beyond all that was asked for */
    u64 commit_told;       /* the index of the newest DO_COMMIT */
    u64 apply_bytes;       /* of entries, and of what they touch, may still be applied before the
                            * next ON_BATCH_END */
    u64 elections;         /* begun since the start */

    struct step_stores stores;
    struct step_messages held;  /* wait for stores */
    struct command_list parked; /* wait for a leader to be known */

    /* Of a follower. */
    struct taker taker;
    struct forwarding forwarding;
    /* Of a candidate. */
    struct election election;
    /* Of a leader. */
    struct leader_pending lead;

    /* During a call: where its actions go. */
    struct step_actions *actions;
};

/* All but `raft`, the settings and `seed` is what a server has that was never started. */
void step_init(struct step *step, struct raft *raft, u64 seed);
/* Frees what waits. Tokens that were not answered are the node's to fail. */
void step_deinit(struct step *step);

/* Begins the follower's time (§5.2: "when servers start up, they begin as followers"); before the
 * first event. Returns when the first ON_TIMEOUT is due. */
u64 step_begin(struct step *step, u64 now_ns);

/* What follows from the event: changes the state, and adds to `actions`. */
void step(struct step *step, const struct step_event *event, struct step_actions *actions);

#endif
