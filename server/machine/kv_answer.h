/* kv_answer.h - answers as RESP3 values. Private to this room.
 *
 * Every function takes NULL for a buffer: then nobody here waits for the answer, and nothing is
 * made of it. */
#ifndef MAILRAFT_MACHINE_KV_ANSWER_H
#define MAILRAFT_MACHINE_KV_ANSWER_H

#include "common/bytes.h"

enum {
    KV_NUMBER_TEXT_SIZE = 20, /* "-9223372036854775808" */
    KV_ANSWER_HEAD_SIZE = 16  /* what a string of less than 2 GiB has around it, at most */
};

/* Writes the number in decimal and returns the size. */
u32 kv_number_format(i64 number, u8 to[KV_NUMBER_TEXT_SIZE]);

void kv_answer_ok(struct buffer *answer);
void kv_answer_null(struct buffer *answer);
void kv_answer_number(struct buffer *answer, i64 number);
void kv_answer_bulk(struct buffer *answer, const u8 *data, u32 size);
/* The head of an array; its `count` values follow. */
void kv_answer_array(struct buffer *answer, u32 count);
/* The answer would have `size` bytes, and may not have more than `limit`. */
void kv_answer_too_large(struct buffer *answer, u64 size, u64 limit);
/* `text` without '-' and line end. */
void kv_answer_error(struct buffer *answer, const char *text);

#endif
