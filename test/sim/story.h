/* story.h - what happened, kept for whoever asks why.
 *
 * The last events of each server are kept as numbers and written out only when a run has failed.
 * The story for people (columns) and the trace for programs (JSON lines) are written as they
 * happen, if they are wanted. */
#ifndef MAILRAFT_TEST_SIM_STORY_H
#define MAILRAFT_TEST_SIM_STORY_H

#include <stdio.h>

#include "common/check.h"
#include "server/rules/message.h"
#include "test/sim/cluster.h"

enum { STORY_EVENTS = 24 }; /* kept of each server */

enum story_kind {
    STORY_NONE,
    STORY_SENT,
    STORY_RECEIVED,
    STORY_BECAME,    /* a: enum raft_state, b: term */
    STORY_LOG,       /* a: last index kept, b: last index, c: its term */
    STORY_COMMITTED, /* a: index */
    STORY_SYNCED,
    STORY_NOTE /* text: a fault, a start, a stop */
};

struct story_event {
    u64 time_ns;
    enum story_kind kind;
    enum message_kind message;
    server_id peer;
    u64 a, b, c;
    const char *text; /* static */
};

struct story {
    struct story_event events[CLUSTER_SERVERS_MAX + 1][STORY_EVENTS]; /* rings */
    u64 counts[CLUSTER_SERVERS_MAX + 1];
};

/* Notes an event of this server; 0: of the world. */
void story_add(struct cluster *cluster, server_id server, const struct story_event *event);
/* A note, in the story and in the trace. `name` is static, and the event's name in the trace. */
void story_note(struct cluster *cluster, server_id server, const char *name);
void story_message(struct cluster *cluster, server_id server, enum story_kind kind,
                   const struct message *message);
/* Writes down the last events of these servers. */
void story_print_last(const struct cluster *cluster, cluster_set servers, FILE *to);

#endif
