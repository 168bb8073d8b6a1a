/* check.h - ASSERT, which never compiles out.
 *
 * A broken invariant is a bug in this program, and going on could make it a wrong answer or a lost
 * write: the process says where, and aborts. What the outside world can cause (bad input, a
 * failing disk) is an operating error and never an ASSERT: see error.h. */
#ifndef MAILRAFT_COMMON_CHECK_H
#define MAILRAFT_COMMON_CHECK_H

#include <stddef.h>
#include <stdint.h>

/* Prints the broken invariant and its place to stderr, and aborts. Thread: any. Blocks as
 * check_last_words. */
_Noreturn void check_failed(const char *file, int line, const char *function, const char *what);

/* Writes what a process has to say before it ends to stderr, behind what was reported before. Waits
 * for whoever reads there, but no longer than a second for each of the two. Allocates nothing.
 * Thread: any. */
void check_last_words(const char *text, size_t size);

/* Sets what brings to stderr what was reported before, or NULL. `flush` may be called by any
 * thread, and waits no longer than it is told. Thread: one at a time. */
void check_flush_with(void (*flush)(uint64_t patience_ns));

#define ASSERT(condition) \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, __func__, #condition))

/* For the place that control cannot reach, such as after a switch over all of an enum. */
#define UNREACHABLE() check_failed(__FILE__, __LINE__, __func__, "this place is never reached")

#define WARN_UNUSED                   __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, first) __attribute__((format(printf, format_at, first)))

#endif
