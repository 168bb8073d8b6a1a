/* resp_parser.h - bytes of a client into commands: RESP arrays of bulk strings, and inline lines.
 *
 * Incremental: bytes may come in any fragments, and none is looked at twice but those of an
 * unfinished length line. Zero-copy: the arguments of a RESP command point into the caller's bytes;
 * only inline commands, whose quoting has to be undone, are copied. The caller keeps all bytes
 * since the command's beginning together; they may move between two calls.
 *
 * Memory follows the bytes that have come, whatever was announced: eight bytes an argument while
 * the command is incomplete, and sixteen more when it is there.
 *
 * Accepted form:
 *   *<count>\r\n and then count times $<size>\r\n<size bytes>\r\n, numbers in canonical decimal;
 *   count <= 0 is an empty command; anything that does not begin with '*' is a line of words up to
 *   '\n', separated by white space, with Redis' quoting: "..." knows \n \r \t \b \a \xHH and
 *   \<any>, '...' knows \' alone, and a closing quote ends its word.
 *
 * Rejected: hiredis' reader, which is made for answers and allocates for every element.
 *
 * Thread: one at a time. */
#ifndef MAILRAFT_CLIENTS_RESP_PARSER_H
#define MAILRAFT_CLIENTS_RESP_PARSER_H

#include "common/bytes.h"
#include "server/machine/kv.h"

enum {
    RESP_INLINE_MAX = 64 * 1024, /* bytes of an inline command's line */
    RESP_NUMBER_LINE_MAX = 32,   /* bytes of a length line: the longest number has 20 */
    RESP_ERROR_SIZE = 120
};

enum resp_result {
    RESP_COMMAND, /* arguments and size are valid */
    RESP_MORE,    /* the command is not complete yet */
    RESP_ERROR    /* the bytes are no command; error says why; nothing can be read any more */
};

struct resp_limits {
    u32 arguments_max;
    u64 bytes_max; /* of one command as sent; below 4 GiB; client-input-bytes */
};

/* Where an argument is, counted from the command's beginning, which may move. */
struct resp_place {
    u32 offset;
    u32 size;
};

struct resp_parser {
    /* The command, after RESP_COMMAND. Valid until the next call, and as long as the caller's
     * bytes stay where they are. count is 0 for an empty command. */
    struct kv_argument *arguments;
    u32 count;
    size_t size; /* bytes of the command; while it is incomplete: those already looked at */

    char error[RESP_ERROR_SIZE]; /* after RESP_ERROR: text of the error answer, without '-' */

    u8 kind;      /* enum resp_kind of resp_parser.c: what the first byte said; 0: not seen */
    u32 expected; /* arguments announced */
    i64 bulk;     /* announced size of the argument under way; -1: not announced yet */
    u32 arguments_capacity;
    u32 places_capacity;
    struct resp_place *places; /* of a RESP command's arguments, `count` of them */
    struct buffer words;       /* of an inline command, quoting undone */
};

void resp_parser_init(struct resp_parser *parser);
void resp_parser_deinit(struct resp_parser *parser);

/* Makes ready for the next command; the caller has dropped `size` bytes, or begins again. */
void resp_parser_reset(struct resp_parser *parser);

/* Bytes allocated for the command under way. */
size_t resp_parser_memory(const struct resp_parser *parser);

/* How large the command is at least, as far as it is announced: never less than what was looked at.
 */
size_t resp_parser_announced(const struct resp_parser *parser);

/* Goes on with the command that begins at `data`, of which `size` bytes are there by now (and
 * perhaps of further commands behind it). */
enum resp_result resp_parser_parse(struct resp_parser *parser, const struct resp_limits *limits,
                                   const u8 *data, size_t size);

#endif
