/* trace.h - event traces: one JSON object a line.
 *
 * A trace is for programs: the pictures, the comparison of two runs and the check against the
 * specification are all made from it. This is only the pen. Which events there are, and what their
 * fields mean, is the business of the room that writes them.
 *
 *     struct trace_line line;            // keeps its memory from event to event
 *     trace_line_init(&line);
 *     ...
 *     if (trace != NULL) {
 *         trace_begin(&line);
 *         trace_string(&line, "name", "Commit");
 *         trace_object_begin(&line, "state");
 *         trace_u64(&line, "commit", 17);
 *         trace_object_end(&line);
 *         trace_end(&line, trace);       // {"name":"Commit","state":{"commit":17}}
 *     }
 *
 * Thread: a line belongs to one thread at a time; a trace takes whole lines from any of them. */
#ifndef MAILRAFT_COMMON_TRACE_H
#define MAILRAFT_COMMON_TRACE_H

#include "common/bytes.h"
#include "common/error.h"
#include "common/outlet.h"
#include "common/types.h"

/* Where lines go. Rooms are handed a pointer to one, or NULL when nobody traces. */
struct trace {
    /* Takes one whole line with its newline. */
    void (*write)(void *context, const char *line, size_t size);
    u64 (*dropped)(void *context); /* lines that were not taken so far; NULL: it takes all */
    void *context;
};

struct trace_line {
    struct buffer text;
    u32 depth;  /* objects and arrays open, the line's own object included; 0: not begun */
    bool first; /* nothing stands yet in the innermost one */
};

void trace_line_init(struct trace_line *line);
void trace_line_deinit(struct trace_line *line);

/* Begins a new object, which is the line; what the line held before is forgotten. */
void trace_begin(struct trace_line *line);
/* Closes the line's object and hands it to the trace. */
void trace_end(struct trace_line *line, struct trace *trace);

/* Each adds a field; inside an array `key` is NULL. Keys are trusted, values are escaped. */
void trace_u64(struct trace_line *line, const char *key, u64 value);
void trace_bool(struct trace_line *line, const char *key, bool value);
void trace_string(struct trace_line *line, const char *key, const char *value);
void trace_text(struct trace_line *line, const char *key, const void *value, size_t size);
void trace_object_begin(struct trace_line *line, const char *key);
void trace_object_end(struct trace_line *line);
void trace_array_begin(struct trace_line *line, const char *key);
void trace_array_end(struct trace_line *line);

/* ---- a trace in a file ---- */

struct trace_file {
    struct trace trace;    /* handed out */
    struct outlet *outlet; /* whose work does not wait for the file: outlet.h */
};

/* Begins to write at the end of the file, which is made when missing, readable for its owner alone.
 * Lines that it does not take in time are dropped, and a line {"name":"Dropped","lines":N} stands
 * where they are missing. Errors: ERROR_IO (also for a named pipe that nobody reads), ERROR_SYSTEM.
 */
WARN_UNUSED enum error_code trace_file_open(struct trace_file *file, const char *path,
                                            struct error *error);
/* Writes what waits, for a second at most. Returns how many lines are missing in all. */
u64 trace_file_close(struct trace_file *file);

#endif
