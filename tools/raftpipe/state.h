/* state.h - what a server of a pipe must find again in its next life, as bytes.
 *
 * Little-endian:
 *   offset size
 *        0    4  "mrPS"
 *        4    4  version, 1
 *        8    8  start count
 *       16    8  current term
 *       24    4  voted for, 0: nobody
 *       28    8  term, and
 *       36    8  index of the entry before the first record, the last one that the snapshot stands
 *                for; 0 and 0: there is no snapshot
 *       44    4  number of records
 *       48    -  the records, in the form of rules/entry.h, in order, none missing
 *
 * Valid if and only if terms do not fall from one to the next and none is above the current term;
 * the vote is for one of the servers; numbers are below MESSAGE_NUMBER_MAX; each command has its
 * tag; and what comes first in a log is what this server would have put there: the configuration at
 * index 1, or with --no-noop commands and nothing else. Thread: any. */
#ifndef MAILRAFT_TOOLS_RAFTPIPE_STATE_H
#define MAILRAFT_TOOLS_RAFTPIPE_STATE_H

#include "common/error.h"
#include "server/rules/entry.h"

enum {
    PIPE_STATE_HEAD_SIZE = 48,
    PIPE_TAG_SIZE = 16 /* before each command: the nonce of the life it was proposed in, a serial */
};

struct pipe_state {
    u64 start_count;
    u64 current_term;
    server_id voted_for;
    struct entry_id base;
    u32 count;
    const u8 *records; /* borrowed */
    u32 records_size;
};

/* Errors: ERROR_FORMAT. */
WARN_UNUSED enum error_code pipe_state_read(const u8 *data, u32 size, u32 servers, bool no_noop,
                                            struct pipe_state *state, struct error *error);

/* All but the records. */
void pipe_state_write_head(const struct pipe_state *state, u8 head[PIPE_STATE_HEAD_SIZE]);

/* Whether each command among valid records has its tag: others were not proposed through a pipe. */
bool pipe_commands_are_tagged(const u8 *records, u32 size);

#endif
