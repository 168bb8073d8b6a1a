/* pipe.h - private to raftpipe: one server whose network, disk and application is the process that
 * started it, on standard input and output.
 *
 *   raftpipe.c   options, what is done with frames coming in
 *   input.[ch]   frames coming in, and what they order, read and checked
 *   state.[ch]   what a server must find again, as bytes
 *   speak.c      frames going out: the transport, the machine, the answers to proposals
 *   store.c      server/storage/storage.h once more: what is to be persisted goes out as D frames
 *   files.c      a file system in memory, for the files of snapshots on their way
 *
 * Threads: main reads frames; the server's thread runs the design; the server's own jobs. */
#ifndef MAILRAFT_TOOLS_RAFTPIPE_PIPE_H
#define MAILRAFT_TOOLS_RAFTPIPE_PIPE_H

#include "common/sync.h"
#include "common/vfs.h"
#include "server/server.h"
#include "tools/raftpipe/state.h"

/* A request that came in, and is to be answered. */
struct pipe_request {
    struct pipe_request *next;
    server_id from;
    u64 call;
    u32 request_id;
};

/* What was asked by an S or a G frame. */
struct pipe_proposal {
    struct pipe_proposal *next;
    u64 serial;
    u32 id;
    bool answered;
};

struct pipe {
    struct vfs files; /* snapshots' files; its address is the pipe's */
    struct mutex files_lock;
    struct pipe_file *file_list; /* Guarded by files_lock. */

    server_id self; /* numbers in frames are one less */
    u32 count;
    bool no_noop;
    struct configuration configuration;
    struct report report;
    struct trace trace;
    struct transport transport;
    struct command_sink sink;
    struct server *server;
    struct storage *storage;
    u64 nonce; /* of this life: marks the commands proposed in it */

    struct mutex lock;             /* a leaf */
    struct pipe_request *requests; /* oldest first. Guarded by lock. */
    struct pipe_request *requests_last;
    struct pipe_proposal *proposals; /* Guarded by lock. */
    u64 serial;                      /* of the newest proposal. Guarded by lock. */

    struct mutex out_lock; /* a leaf: one frame at a time */
    _Atomic u64 applied;   /* the newest entry handed to the application */

    /* What the I frame brought; used by storage_open. */
    bool has_state;
    struct pipe_state state;
    const u8 *snapshot;
    u32 snapshot_size;
};

struct pipe *pipe_of_vfs(struct vfs *vfs);

/* ---- files.c ---- */

void pipe_files_init(struct pipe *pipe);
void pipe_files_deinit(struct pipe *pipe);

/* ---- speak.c ---- */

/* Writes a frame whose payload is in the pieces. Ends the process when nobody reads any more. */
void pipe_say(struct pipe *pipe, char type, const struct iovec *pieces, int count);

void pipe_speak_init(struct pipe *pipe);
void pipe_speak_deinit(struct pipe *pipe);
struct machine *pipe_machine_create(struct pipe *pipe);

/* A request has come, and will be answered by one `r`. */
void pipe_note_request(struct pipe *pipe, server_id from, u64 call, u32 request_id);
/* One that has no reply of Raft's own is answered at once, with nothing. */
void pipe_answer_nothing(struct pipe *pipe, u32 request_id);
/* The command of an S frame, or the question of a G frame. */
void pipe_propose(struct pipe *pipe, u32 id, const u8 *command, u32 size);
void pipe_ask(struct pipe *pipe, u32 id);

/* ---- store.c ---- */

/* The application's snapshot of everything through `index`: it will take the place of the one
 * before when the log is compacted. False when there is nothing to be done: it is an old one. */
bool pipe_store_term(struct storage *storage, u64 index, u64 *term);
void pipe_store_offer(struct storage *storage, struct entry_id last, const u8 *data, u32 size);

#endif
