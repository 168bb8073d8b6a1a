/* error.h - operating errors: a code for the program, a sentence for the person.
 *
 * A function that can fail for a reason outside this program returns `enum error_code` and takes a
 * `struct error *` last. The layer that meets the failure sets the text; each layer above puts its
 * own clause in front ("open data/1: read metadata slot 2: bad checksum"). Callers that only need
 * the code pass the same struct on; it is never NULL. */
#ifndef MAILRAFT_COMMON_ERROR_H
#define MAILRAFT_COMMON_ERROR_H

#include "common/check.h"

/* X(name, word, exit code from sysexits.h that a program ends with because of it) */
#define ERROR_CODES(X)                                                             \
    X(ERROR_NONE, "ok", 0)                                                         \
    X(ERROR_USAGE, "usage", 64)             /* the command line is wrong */        \
    X(ERROR_FORMAT, "format", 65)           /* bytes that break their format */    \
    X(ERROR_CORRUPT, "corrupt", 65)         /* stored bytes were damaged */        \
    X(ERROR_MISSING, "missing", 66)         /* a file that must exist does not */  \
    X(ERROR_UNAVAILABLE, "unavailable", 69) /* a peer or leader cannot be had */   \
    X(ERROR_SYSTEM, "system", 71)           /* no memory, thread, descriptor */    \
    X(ERROR_EXISTS, "exists", 73)           /* would overwrite what is there */    \
    X(ERROR_IO, "io", 74)                   /* a read, write or sync failed */     \
    X(ERROR_NO_SPACE, "no-space", 74)       /* the disk is full */                 \
    X(ERROR_BUSY, "busy", 75)               /* a bound is reached; try later */    \
    X(ERROR_LOCKED, "locked", 75)           /* another process holds it */         \
    X(ERROR_MISMATCH, "mismatch", 78)       /* another cluster, server, version */ \
    X(ERROR_CONFIG, "config", 78)           /* the configuration is wrong */

enum error_code {
#define X(name, word, exit_code) name,
    ERROR_CODES(X)
#undef X
};

enum { ERROR_TEXT_SIZE = 768 };

struct error {
    enum error_code code;
    /* NUL-terminated; cut with "..." when too long. One line, whatever it quotes: control
     * characters stand in it as '?'. */
    char text[ERROR_TEXT_SIZE];
};

/* Sets code and text, and returns the code, so that `return error_set(...)` reads well. */
enum error_code error_set(struct error *error, enum error_code code, const char *format, ...)
    PRINTF_LIKE(3, 4);

/* As error_set, and appends ": " and strerror(error_number). */
enum error_code error_set_errno(struct error *error, enum error_code code, int error_number,
                                const char *format, ...) PRINTF_LIKE(4, 5);

/* Puts a clause and ": " in front of the text, and returns the code unchanged. */
enum error_code error_add(struct error *error, const char *format, ...) PRINTF_LIKE(2, 3);

void error_clear(struct error *error);

/* For what a caller puts up with: when `code`, which a call has just returned with `error`, is the
 * one that is put up with, the error is cleared and ERROR_NONE returned; else `code`. A function
 * that returns ERROR_NONE leaves nothing in `error`. */
WARN_UNUSED enum error_code error_forgive(struct error *error, enum error_code code,
                                          enum error_code forgiven);

/* Writes "program: text" to stderr: what a process says that ends because of the error. Blocks as
 * check_last_words. */
void error_print(const char *program, const struct error *error);

/* The word of the table above: "corrupt". Never NULL. */
const char *error_word(enum error_code code);

/* What a process that ends because of this error gives to exit(). */
int error_exit_code(enum error_code code);

#endif
