/* report.h - lines for people: one thing a line, logfmt or JSON, on stderr.
 *
 * Not the replicated log, and not the event trace (trace.h). A report is handed to each room by
 * whoever made the room; the simulator hands in one that writes nowhere or into its own story.
 * A line: time, level, server, room, sentence, then key=value pairs the caller formats.
 *
 * Thread: any. Lines are never mixed: each is one write. */
#ifndef MAILRAFT_COMMON_REPORT_H
#define MAILRAFT_COMMON_REPORT_H

#include <stdatomic.h>

#include "common/check.h"
#include "common/types.h"

enum report_level { REPORT_ERROR, REPORT_WARN, REPORT_INFO, REPORT_DEBUG };
enum report_format { REPORT_LOGFMT, REPORT_JSON };

struct report {
    _Atomic int level; /* enum report_level; lines above it are dropped; may change at run time */
    enum report_format format;
    server_id server; /* printed in every line; 0: left out */
    /* Takes one whole line with its newline. */
    void (*write)(void *context, enum report_level level, const char *line, size_t size);
    void *context;
};

/* A report that writes to stderr. */
void report_init_stderr(struct report *report, enum report_level level, enum report_format format,
                        server_id server);

/* Says `format...` as the line's message; `room` is a word such as "storage". Pairs at the end of
 * it ("became leader term=5 why=\"three votes\"") become fields of the line. Text is escaped as the
 * format demands. At most 1,000 bytes are kept. */
void report_say(struct report *report, enum report_level level, const char *room,
                const char *format, ...) PRINTF_LIKE(4, 5);

/* "error", "warn", "info", "debug". Returns false for any other word. */
bool report_level_parse(const char *word, enum report_level *level);
const char *report_level_word(enum report_level level);

/* The arguments of a line that is dropped are not evaluated. `to` and `rank` are not called report
 * and level, because a macro's parameter would replace the field and the struct of that name. */
#define REPORT(to, rank, room, ...)                                                  \
    do {                                                                             \
        if ((int)(rank) <= atomic_load_explicit(&(to)->level, memory_order_relaxed)) \
            report_say((to), (rank), (room), __VA_ARGS__);                           \
    } while (0)

#endif
