/* outlet.h - lines to a descriptor, written by a thread that alone waits for whoever reads there.
 *
 * A pipe that nobody reads, a terminal that was stopped, a file on a stalled disk: a write to any
 * of them may take for ever, and no work of a server may depend on it. So a line is put into a
 * bounded buffer, which never waits, and a thread of the outlet's own writes it. What does not fit,
 * or was not taken, is dropped and counted; as soon as lines go out again, one of them says how
 * many are missing, at the place where they are missing.
 *
 * Rejected: O_NONBLOCK on the descriptor, since the flag belongs to everybody who shares it (the
 * shell, other servers of the same terminal), and says nothing of files. */
#ifndef MAILRAFT_COMMON_OUTLET_H
#define MAILRAFT_COMMON_OUTLET_H

#include "common/error.h"
#include "common/types.h"

struct outlet;

struct outlet_options {
    int fd;
    bool owns_fd;     /* the outlet closes it in the end, also when opening the outlet failed */
    u32 buffer_bytes; /* lines that wait; at least twice OUTLET_LINE_MAX */
    const char *name; /* of the thread */
    /* Writes a line with its newline that says that `count` lines are missing; returns its size, at
     * most `size`. Called with a lock held: it does nothing else. */
    u32 (*say_dropped)(void *context, u64 count, char *line, u32 size);
    void *context;
};

enum { OUTLET_LINE_MAX = 16 * 1024, OUTLET_NOTE_MAX = 512 };

/* Starts the thread. Errors: ERROR_SYSTEM. */
WARN_UNUSED enum error_code outlet_open(const struct outlet_options *options,
                                        struct outlet **outlet, struct error *error);

/* Hands over one whole line with its newline, which is copied, or drops it, as it does one of more
 * than OUTLET_LINE_MAX bytes. Lines of at most PIPE_BUF (4,096) bytes are not mixed with those of
 * other processes. Thread: any. Never waits for
 * a reader. */
void outlet_put(struct outlet *outlet, const char *line, size_t size);

/* Waits until all lines that were put before are written, for `patience_ns` at most; false when
 * time was up, or when the caller is the outlet's own thread. Thread: any. Blocks. */
bool outlet_flush(struct outlet *outlet, u64 patience_ns);

/* Lines that did not go out, since the outlet was opened. Thread: any. */
u64 outlet_dropped(struct outlet *outlet);

/* Flushes, ends the thread, and frees the outlet; returns how many lines never went out. A thread
 * that is still held up in its write is left to itself, with what it uses: the process is about to
 * end. Nobody may put any more. Blocks for `patience_ns` at most. */
u64 outlet_close(struct outlet *outlet, u64 patience_ns);

#endif
