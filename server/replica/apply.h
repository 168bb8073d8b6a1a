/* apply.h - committed entries go to the machine, and reads are answered from it.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_REPLICA_APPLY_H
#define MAILRAFT_REPLICA_APPLY_H

#include "server/replica/replica.h"

enum {
    ANSWERED_READ_BYTES_MAX = 8 * 1024 * 1024 /* work on reads in one flush: some ms of copying */
};

/* Applies the committed entry at `index` to the machine, and answers `writer`, whose command it is;
 * NULL: nobody here waits. Returns the work: bytes touched and answered, beside the
 * entry's own. */
u64 server_apply(struct server *server, u64 index, struct command *writer);
/* A batch of reads begins. First those go on that have waited for room on the way back to the
 * server that forwarded them (way_back.h), with half of the batch at most, so that the others are
 * not held up by them. Returns the work that is left for the others. */
u64 server_begin_reads(struct server *server);
/* Answers a confirmed read from the machine as it is now, or lets it wait for room on the way back.
 * Consumes it. Returns the work. */
u64 server_read(struct server *server, struct command *read);

/* [All Servers 1, §5.3] Applies what is committed, up to a batch; of a leader, answers whoever
 * waits for it. `lead` is NULL in other states. */
void server_apply_committed(struct server *server, struct leader_pending *lead);

/* Answers the reads whose round is confirmed and whose index is applied, up to a bound of bytes:
 * what is left (reads_left) waits for the next flush, so that no crowd of large reads keeps the
 * leader from its heartbeats. */
void server_answer_reads(struct server *server, struct leader_pending *lead);

#endif
