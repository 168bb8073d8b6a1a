/* input.h - what comes in, read and checked: frames, and what they order.
 *
 * Whatever the process that started raftpipe may have written: a frame is taken as a whole or not
 * at all, and after that nothing needs to be asked twice. Knows nothing of threads or the server.
 * The frames are described at the head of raftpipe.c. Thread: any. */
#ifndef MAILRAFT_TOOLS_RAFTPIPE_INPUT_H
#define MAILRAFT_TOOLS_RAFTPIPE_INPUT_H

#include "server/rules/message.h"
#include "tools/raftpipe/state.h"

enum { PIPE_FRAME_BYTES_MAX = 256 * 1024 * 1024, PIPE_SERVERS_MAX = SERVERS_MAX };

/* ---- frames ---- */

/* Where bytes come from: returns how many there were before the end, all that were asked for
 * otherwise. */
struct pipe_source {
    size_t (*read)(void *context, void *to, size_t size);
    void *context;
};

struct pipe_frame {
    u64 number; /* of all that came, from 1 */
    u8 type;
    u8 *data; /* payload */
    u32 size;
    u32 capacity;
};

/* Reads the next frame in place of the one before, whose memory it uses. Takes no more memory than
 * twice of what has come, whatever its length says. `*any` is false at the end of input. Errors:
 * ERROR_FORMAT. */
WARN_UNUSED enum error_code pipe_frame_read(const struct pipe_source *source,
                                            struct pipe_frame *frame, bool *any,
                                            struct error *error);
void pipe_frame_deinit(struct pipe_frame *frame);

/* ---- what they order ---- */

struct pipe_order {
    u8 type;
    server_id self; /* I: who this is, 1 .. count */
    u32 count;
    u32 state_size; /* 0: there is none */
    struct pipe_state state;
    const u8 *snapshot;
    u32 snapshot_size;
    server_id from;         /* R, P: another one of the servers */
    u32 id;                 /* R, S, G */
    bool has_message;       /* R, and P but for an empty one */
    struct message message; /* its own: taken over, or released */
    u64 index;              /* N */
    const u8 *data;         /* S: the command. N: the snapshot */
    u32 size;
};

/* Reads the order of a frame to server `self` of `count`; of the first frame, `self` is
 * SERVER_NONE. Data are borrowed from the frame. Errors: ERROR_FORMAT; then `order` holds nothing.
 */
WARN_UNUSED enum error_code pipe_order_read(const struct pipe_frame *frame, server_id self,
                                            u32 count, bool no_noop, struct pipe_order *order,
                                            struct error *error);

#endif
