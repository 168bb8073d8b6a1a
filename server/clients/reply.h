/* reply.h - RESP values into bytes, for either version of the protocol.
 *
 * What differs between the versions is decided here and nowhere else: commands say "a map", and a
 * RESP2 client gets an array. reply_convert does the same for values that were made elsewhere (by
 * the machine, perhaps on another server), which are always RESP3.
 *
 * Thread: one at a time a reply. */
#ifndef MAILRAFT_CLIENTS_REPLY_H
#define MAILRAFT_CLIENTS_REPLY_H

#include "common/bytes.h"

struct reply {
    struct buffer *to;
    u8 protocol; /* 2 or 3 */
};

void reply_simple(struct reply *reply, const char *text);
/* The same of a format: '+', the text with control characters made spaces, line end. */
void reply_status(struct reply *reply, const char *format, ...) PRINTF_LIKE(2, 3);
/* An error: '-', the text with control characters made spaces, line end. */
void reply_error(struct reply *reply, const char *format, ...) PRINTF_LIKE(2, 3);
void reply_integer(struct reply *reply, i64 number);
void reply_bulk(struct reply *reply, const void *data, size_t size);
void reply_string(struct reply *reply, const char *text);
/* Text for people: a verbatim string, a bulk string for RESP2. */
void reply_text(struct reply *reply, const void *data, size_t size);
void reply_format(struct reply *reply, const char *format, ...) PRINTF_LIKE(2, 3);
void reply_null(struct reply *reply);
/* Headers: the elements follow. A map's count is of pairs. */
void reply_array(struct reply *reply, size_t count);
void reply_map(struct reply *reply, size_t count);
void reply_set(struct reply *reply, size_t count);

/* Whether these bytes are one whole RESP3 value, and nothing behind it. Bytes that come from
 * another server may be anything, and a client that is sent less than a value, or more, takes all
 * answers from then on for those to other commands. */
bool reply_is_value(const u8 *bytes, size_t size);

/* Whether a client of that protocol gets the value's bytes as they are: reply_convert would append
 * just them. */
bool reply_is_alike(u8 protocol, const u8 *value, size_t size);

/* Appends a whole RESP3 value as a client of that protocol understands it. For RESP2: null becomes
 * the null bulk string; maps, sets and pushes become arrays; booleans integers; doubles, big
 * numbers and verbatim strings bulk strings; bulk errors errors. Bytes that are no value are an
 * ASSERT. */
void reply_convert(struct buffer *to, u8 protocol, const u8 *value, size_t size);

#endif
