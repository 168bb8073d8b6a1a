/* history_format.h - operations as text: a line for people, or a line of JSON.
 *
 * Needs no JSON library, so that the simulator can write what raftcheck reads. */
#ifndef MAILRAFT_TEST_HISTORY_HISTORY_FORMAT_H
#define MAILRAFT_TEST_HISTORY_HISTORY_FORMAT_H

#include "common/bytes.h"
#include "test/history/history.h"

enum { TEXT_SHOWN = 60 }; /* bytes of a text in a line for people */

/* Appends bytes in double quotes, escaped as JSON wants it. A byte that is no part of valid UTF-8
 * is written as the character U+F700 plus the byte, and so is each byte of such a character
 * itself: history_json.h turns all of them back, so that any bytes survive. At most `shown` bytes
 * (0: all) are written, then dots and the size. */
void format_text(struct buffer *to, const struct text *text, size_t shown);

/* Appends what was asked and answered, such as `cas "a" -> "b": swapped`; no newline. */
void format_operation(struct buffer *to, const struct operation *operation);

/* Appends the operation as a line of JSON, with its newline, as history_json.h reads it. */
void format_json(struct buffer *to, const struct operation *operation);

#endif
