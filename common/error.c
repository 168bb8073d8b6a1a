/* error.c - the two kinds of failure: operating errors, codes with sentences that callers handle;
 * and broken invariants (check.h), which end the process. They share an object file on purpose:
 * whatever checks an invariant links both, and so the world's archive, which comes last on the
 * linker's command line, finds all that it needs. */
#include "common/error.h"

#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/types.h"

/* How long a process that ends waits for whoever reads its stderr. */
static const uint64_t LAST_WORDS_NS = NS_PER_S;

/* ---- operating errors ---- */

struct error_row {
    const char *word;
    int exit_code;
};

static const struct error_row rows[] = {
#define X(name, word, exit_code) [name] = {word, exit_code},
    ERROR_CODES(X)
#undef X
};

/* Puts "..." at the end of a text that vsnprintf had to cut. `size` is what it would have been. */
static void mark_cut(char *text, int size)
{
    if (size >= ERROR_TEXT_SIZE)
        memcpy(text + ERROR_TEXT_SIZE - 4, "...", 4);
}

/* A text may quote what somebody wrote into a file or sent, and goes to a log, a terminal and into
 * answers, all of which it would break. */
static void make_one_line(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
    }
}

/* Makes a text beside the error's, since the arguments may include that. */
__attribute__((format(printf, 2, 0))) static void make_text(char text[ERROR_TEXT_SIZE],
                                                            const char *format, va_list arguments)
{
    int size = vsnprintf(text, ERROR_TEXT_SIZE, format, arguments);
    mark_cut(text, size);
    make_one_line(text);
}

/* Appends to the text, and keeps to its bound. */
static void append(struct error *error, const char *text)
{
    size_t used = strlen(error->text);
    int more = snprintf(error->text + used, sizeof(error->text) - used, "%s", text);
    mark_cut(error->text, (int)used + more);
}

enum error_code error_set(struct error *error, enum error_code code, const char *format, ...)
{
    char text[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    make_text(text, format, arguments);
    va_end(arguments);
    memcpy(error->text, text, sizeof(text));
    error->code = code;
    return code;
}

enum error_code error_set_errno(struct error *error, enum error_code code, int error_number,
                                const char *format, ...)
{
    char text[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    make_text(text, format, arguments);
    va_end(arguments);
    memcpy(error->text, text, sizeof(text));
    error->code = code;
    char reason[128];
    append(error, ": ");
    append(error, strerror_r(error_number, reason, sizeof(reason)));
    return code;
}

enum error_code error_add(struct error *error, const char *format, ...)
{
    char below[ERROR_TEXT_SIZE];
    memcpy(below, error->text, sizeof(below));
    char clause[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    make_text(clause, format, arguments);
    va_end(arguments);
    memcpy(error->text, clause, sizeof(clause));
    append(error, ": ");
    append(error, below);
    return error->code;
}

void error_clear(struct error *error)
{
    error->code = ERROR_NONE;
    error->text[0] = '\0';
}

enum error_code error_forgive(struct error *error, enum error_code code, enum error_code forgiven)
{
    if (code != forgiven)
        return code;
    error_clear(error);
    return ERROR_NONE;
}

void error_print(const char *program, const struct error *error)
{
    char line[ERROR_TEXT_SIZE + 64];
    (void)snprintf(line, sizeof(line) - 1, "%s: %s", program, error->text);
    size_t size = strlen(line);
    line[size] = '\n';
    check_last_words(line, size + 1);
}

const char *error_word(enum error_code code)
{
    ASSERT((size_t)code < ARRAY_LENGTH(rows));
    return rows[code].word;
}

int error_exit_code(enum error_code code)
{
    ASSERT((size_t)code < ARRAY_LENGTH(rows));
    return rows[code].exit_code;
}

/* ---- broken invariants ---- */

void check_failed(const char *file, int line, const char *function, const char *what)
{
    /* One write and no stream: the heap and stdio's locks may be what is broken. */
    char text[512];
    int size = snprintf(text, sizeof(text), "%s:%d: %s: broken invariant: %s\n", file, line,
                        function, what);
    if (size >= (int)sizeof(text)) {
        size = (int)sizeof(text) - 1;
        text[size - 1] = '\n';
    }
    if (size > 0)
        check_last_words(text, (size_t)size);
    abort();
}

/* ---- last words ---- */

static void (*_Atomic flush_reports)(uint64_t patience_ns);
static _Atomic bool flushing; /* what is broken may be the way of reports itself */

void check_flush_with(void (*flush)(uint64_t patience_ns))
{
    atomic_store(&flush_reports, flush);
}

void check_last_words(const char *text, size_t size)
{
    void (*flush)(uint64_t) = atomic_load(&flush_reports);
    if (flush != NULL && !atomic_exchange(&flushing, true)) {
        flush(LAST_WORDS_NS);
        atomic_store(&flushing, false);
    }
    /* A pipe that poll finds writable takes PIPE_BUF bytes at once, and a file any number. */
    struct pollfd polled = {.fd = STDERR_FILENO, .events = POLLOUT};
    if (poll(&polled, 1, (int)(LAST_WORDS_NS / NS_PER_MS)) <= 0 ||
        write(STDERR_FILENO, text, size < PIPE_BUF ? size : PIPE_BUF) < 0) {
        /* Nobody to tell; how the process ends says the rest. */
    }
}
