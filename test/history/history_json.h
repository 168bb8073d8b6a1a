/* history_json.h - histories as JSON lines, one operation a line.
 *
 *   {"c":3,"op":"cas","k":"x","v":"new","old":"a","ok":true,"t0":120,"t1":180,"st":"ok"}
 *
 * c    client, a whole number (0 when left out)
 * op   get, put (or set), append, cas, del, incr
 * k    key, a string
 * v    put, append, cas: the value; incr: what is added (1 when left out)
 * old  cas: the expected value; null or left out: the key is expected to be absent
 * out  get: the value read; append: the new length; incr: the sum
 * found  get, del: whether the key was there. A get may leave it out: then it is what out says
 * ok   cas: whether it swapped
 * t0, t1  invocation and answer, whole numbers; t1 is needed when st is "ok"
 * st   "ok", "unknown" or "fail"
 *
 * Values may be strings or whole numbers, which count as their decimal text; null is as good as
 * left out. A string's bytes are its UTF-8; U+F780 to U+F7FF stand for the bytes 80 to FF alone,
 * so that any bytes can be told. When st is "ok", get needs out or found, cas needs ok, del needs
 * found, incr needs out; append without out is taken as not told. Otherwise answers are ignored.
 * Names that are not listed are ignored, names given twice are an error.
 *
 * The one file of this room that needs the JSON library (jansson). */
#ifndef MAILRAFT_TEST_HISTORY_HISTORY_JSON_H
#define MAILRAFT_TEST_HISTORY_HISTORY_JSON_H

#include <stdio.h>

#include "common/error.h"
#include "test/history/history.h"

/* Adds the operation that a line tells; `line` is its number. Errors: ERROR_FORMAT. */
WARN_UNUSED enum error_code history_json_parse(struct history *history, const char *data,
                                               size_t size, u32 line, struct error *error);

/* Adds all operations of a file; empty lines are skipped. Errors: ERROR_FORMAT, with "name:line: "
 * in front; ERROR_IO. */
WARN_UNUSED enum error_code history_json_read(struct history *history, FILE *file, const char *name,
                                              struct error *error);

#endif
