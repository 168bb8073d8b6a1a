/* check.h - ASSERT, which never compiles out.
 *
 * A broken invariant is a bug in this program, and going on could make it a wrong answer or a lost
 * write: the process says where, and aborts. What the outside world can cause (bad input, a
 * failing disk) is an operating error and never an ASSERT: see error.h. */
#ifndef MAILRAFT_COMMON_CHECK_H
#define MAILRAFT_COMMON_CHECK_H

/* Prints the broken invariant and its place to stderr, and aborts. Thread: any. */
_Noreturn void check_failed(const char *file, int line, const char *function, const char *what);

#define ASSERT(condition) \
    ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, __func__, #condition))

/* For the place that control cannot reach, such as after a switch over all of an enum. */
#define UNREACHABLE() check_failed(__FILE__, __LINE__, __func__, "this place is never reached")

#define WARN_UNUSED                   __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_at, first) __attribute__((format(printf, format_at, first)))

#endif
