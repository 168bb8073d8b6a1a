/* text.h - what is common to all that writes lines: escaping.
 *
 * Reports and traces carry text from outside: a client's key, a peer's name, a path. Escaped here,
 * none of it can end a line, a string or a terminal's patience. Thread: any. Never allocates. */
#ifndef MAILRAFT_COMMON_TEXT_H
#define MAILRAFT_COMMON_TEXT_H

#include "common/types.h"

enum { TEXT_ESCAPE_FACTOR = 6 }; /* one byte becomes at most "\u0000" */

/* Writes `size` bytes of `from` as the inside of a JSON string to `to`, which has room for
 * TEXT_ESCAPE_FACTOR * size, and returns how many bytes that took (no NUL). What is not valid
 * UTF-8 becomes U+FFFD, a byte at a time. */
size_t text_escape(char *to, const void *from, size_t size);

/* The length of the valid UTF-8 sequence at `from`: 1 to 4, or 0 when the bytes there are none. */
size_t text_utf8_length(const u8 *from, size_t size);

#endif
