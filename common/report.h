/* report.h - lines for people: one thing a line, logfmt or JSON, on stderr.
 *
 * Not the replicated log, and not the event trace (trace.h). A report is handed to each room by
 * whoever made the room; the simulator hands in one that writes nowhere or into its own story.
 * A line: time, level, server, room, sentence, then key=value pairs the caller formats.
 *
 * Thread: any. Never waits for whoever reads: see report_open. */
#ifndef MAILRAFT_COMMON_REPORT_H
#define MAILRAFT_COMMON_REPORT_H

#include <stdatomic.h>

#include "common/error.h"
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

/* A report that writes to stderr, a line at a time, and waits for whoever reads it for as long as
 * check_last_words does: for the beginning of a process. */
void report_init_stderr(struct report *report, enum report_level level, enum report_format format,
                        server_id server);

/* From now on the lines go through an outlet (outlet.h), one for the process: whoever says
 * something never waits, and what nobody reads is dropped, and counted. Errors: ERROR_SYSTEM. */
WARN_UNUSED enum error_code report_open(struct report *report, struct error *error);
/* Writes what waits, and no longer than a second, and goes back to the way of before. A no-op when
 * it was not opened. Nobody else may use the report any more. */
void report_close(struct report *report);

/* Lines that went through the outlet and were not read in time, since it was opened; 0: it was not.
 * Thread: any, until report_close. */
u64 report_dropped(const struct report *report);

/* Says `format...` as the line's message; `room` is a word such as "storage". Pairs at the end of
 * it ("became leader term=5 why=\"three votes\"") become fields of the line. Text is escaped as the
 * format demands. At most 1,000 bytes are kept. */
void report_say(struct report *report, enum report_level level, const char *room,
                const char *format, ...) PRINTF_LIKE(4, 5);

/* Lines of one kind that somebody else can cause as often as he likes. All 0 at the beginning. */
struct report_limit {
    u64 since_ns; /* when the interval began; 0: no line yet */
    u32 said;     /* lines in it */
    u64 left_out; /* lines since the last one that was said */
};

enum { REPORT_LIMIT_LINES = 10, REPORT_LIMIT_SECONDS = 10 };

/* As report_say, but no more than REPORT_LIMIT_LINES of this kind in REPORT_LIMIT_SECONDS: further
 * ones are counted, and the next that is said ends with the field left_out, their number. Thread:
 * one at a time for the same limit. */
void report_say_limited(struct report *report, struct report_limit *limit, enum report_level level,
                        const char *room, const char *format, ...) PRINTF_LIKE(5, 6);

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

#define REPORT_LIMITED(to, limit, rank, room, ...)                                   \
    do {                                                                             \
        if ((int)(rank) <= atomic_load_explicit(&(to)->level, memory_order_relaxed)) \
            report_say_limited((to), (limit), (rank), (room), __VA_ARGS__);          \
    } while (0)

#endif
