/* per_state.h - the design with one blocking loop for each state.
 *
 * Each loop drains the mail pile, and returns the state that comes next; nobody sets it. What
 * belongs to one state lives on its loop's stack. Mail that the next state should see stays on the
 * pile. The whole transition table is in the return statements of the three files. */
#ifndef MAILRAFT_PER_STATE_PER_STATE_H
#define MAILRAFT_PER_STATE_PER_STATE_H

#include "server/replica/replica.h"

/* Runs loop after loop until one returns RAFT_STOPPED. */
extern const struct design per_state_design;

/* Each runs until its state ends. Thread: the server thread. Blocks. */
enum raft_state follower_run(struct server *server);
enum raft_state candidate_run(struct server *server);
enum raft_state leader_run(struct server *server);

#endif
