/* node.h - the world around a step machine: mail in, actions carried out.
 *
 * One thread takes the mail of a pile, tells it to the machine as events, one by one, and carries
 * out what each call asks for, in its order: it sends, applies, and answers the clients whose
 * tokens are named. Only stores are gathered: at the end of the pile the machine hears
 * ON_BATCH_END, all stores asked for become one write of the metadata and one batch of the log with
 * one sync, and then it hears ON_PERSISTED. That is the group commit.
 *
 * Thread: the server's. */
#ifndef MAILRAFT_NODE_NODE_H
#define MAILRAFT_NODE_NODE_H

#include "server/replica/batch.h"
#include "server/replica/replica.h"
#include "server/step/node/tokens.h"
#include "server/step/step.h"

/* The stores asked for and not yet carried out, merged into one. */
struct node_stores {
    u64 newest; /* number of the newest one; 0: there is none */
    bool state;
    struct step_state_store state_store;
    bool log;
    u64 first;            /* of all log stores */
    struct entry_id last; /* of the newest */
};

struct step_node {
    struct server *server;
    struct step step;
    struct step_actions actions; /* of the newest event */
    struct tokens tokens;
    struct node_stores stores;
    u64 now_ns;
    u64 alarm_ns;
    struct command_list reads;    /* ready, but many large ones: heartbeats come between */
    struct work_batch read_batch; /* of this pile */
    struct work_batch apply_batch;
    u64 applied_work; /* beyond the entries' own bytes, not yet told */
    bool applied;     /* entries were applied since that was told */
    bool changed;     /* the state is another since the last ON_BATCH_END */

    /* What came of carrying out actions, to be told as events when the list is done. */
    struct command_list accepted; /* the commands of a FORWARD */
    u64 *unsent;                  /* calls */
    u32 unsent_count;
    u32 unsent_capacity;
    struct entries_read failed_reads[SERVERS_MAX]; /* that could not be ordered */
    u32 failed_read_count;
    struct piece_read failed_pieces[SERVERS_MAX]; /* the same of snapshots' pieces */
    u32 failed_piece_count;
    bool piece_lost; /* a piece of a snapshot could not be taken down */

    struct machine *received; /* during ON_SNAPSHOT_RECEIVED: made from that snapshot */
    bool disk_failed;
};

/* Runs until the machine has stopped. */
extern const struct design step_design;

/* The node of a server of this design. */
struct step_node *step_node_of(const struct server *server);

/* ---- inside: carry_out.c ---- */

/* Carries out, in order, what the newest event led to. */
void step_node_carry_out(struct step_node *node);

/* Carries out the stores asked for. Returns false when the disk failed. Blocks. */
WARN_UNUSED bool step_node_store(struct step_node *node, struct step_persisted *persisted);

#endif
