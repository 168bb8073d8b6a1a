/* resp_parser.c - see resp_parser.h. */
#include "server/clients/resp_parser.h"

#include <stdio.h>

#include "common/memory.h"

enum resp_kind { KIND_UNSEEN, KIND_COUNT, KIND_BULKS, KIND_INLINE };

enum {
    CAPACITY_MIN = 16,
    CAPACITY_KEPT = 1024,
    WORDS_KEPT = 4096,
    BULK_MAX = 512 * 1024 * 1024 /* Redis' bound: beyond it a number is no length at all */
};

static enum resp_result parse_count(struct resp_parser *parser, const struct resp_limits *limits,
                                    const u8 *data, size_t size);
static enum resp_result parse_bulks(struct resp_parser *parser, const struct resp_limits *limits,
                                    const u8 *data, size_t size);
static enum resp_result parse_inline(struct resp_parser *parser, const struct resp_limits *limits,
                                     const u8 *data, size_t size);

void resp_parser_init(struct resp_parser *parser)
{
    memset(parser, 0, sizeof(*parser));
    parser->bulk = -1;
    buffer_init(&parser->words);
}

void resp_parser_deinit(struct resp_parser *parser)
{
    memory_free(parser->arguments);
    memory_free(parser->places);
    buffer_deinit(&parser->words);
}

void resp_parser_reset(struct resp_parser *parser)
{
    parser->kind = KIND_UNSEEN;
    parser->count = 0;
    parser->expected = 0;
    parser->size = 0;
    parser->bulk = -1;
    if (parser->words.capacity > WORDS_KEPT) {
        buffer_deinit(&parser->words);
        buffer_init(&parser->words);
    }
    if (parser->arguments_capacity > CAPACITY_KEPT) {
        memory_free(parser->arguments);
        parser->arguments = NULL;
        parser->arguments_capacity = 0;
    }
    if (parser->places_capacity > CAPACITY_KEPT) {
        memory_free(parser->places);
        parser->places = NULL;
        parser->places_capacity = 0;
    }
}

size_t resp_parser_memory(const struct resp_parser *parser)
{
    return parser->arguments_capacity * sizeof(*parser->arguments) +
           parser->places_capacity * sizeof(*parser->places) + parser->words.capacity;
}

size_t resp_parser_announced(const struct resp_parser *parser)
{
    return parser->size + (parser->bulk < 0 ? 0 : (size_t)parser->bulk + 2);
}

enum resp_result resp_parser_parse(struct resp_parser *parser, const struct resp_limits *limits,
                                   const u8 *data, size_t size)
{
    if (size == 0)
        return RESP_MORE;
    if (parser->kind == KIND_UNSEEN)
        parser->kind = data[0] == '*' ? KIND_COUNT : KIND_INLINE;
    if (parser->kind == KIND_INLINE)
        return parse_inline(parser, limits, data, size);
    if (parser->kind == KIND_COUNT) {
        enum resp_result result = parse_count(parser, limits, data, size);
        if (result != RESP_COMMAND || parser->kind == KIND_COUNT)
            return result;
    }
    return parse_bulks(parser, limits, data, size);
}

static enum resp_result fail(struct resp_parser *parser, const char *why)
{
    (void)snprintf(parser->error, sizeof(parser->error), "ERR Protocol error: %s", why);
    return RESP_ERROR;
}

/* A too large command's refusal, which names the bound and where it is set. */
static enum resp_result fail_size(struct resp_parser *parser, const struct resp_limits *limits)
{
    (void)snprintf(parser->error, sizeof(parser->error),
                   "ERR Protocol error: the command is larger than %llu bytes (client-input-bytes "
                   "in cluster.conf)",
                   (unsigned long long)limits->bytes_max);
    return RESP_ERROR;
}

/* Room for one more place, of at most `expected`. */
static void grow_places(struct resp_parser *parser)
{
    if (parser->count < parser->places_capacity)
        return;
    u64 capacity = u64_max((u64)parser->places_capacity * 2, CAPACITY_MIN);
    parser->places_capacity = (u32)u64_min(capacity, parser->expected);
    parser->places =
        memory_resize(parser->places, (size_t)parser->places_capacity * sizeof(*parser->places));
}

static void reserve_arguments(struct resp_parser *parser, u32 count)
{
    if (count <= parser->arguments_capacity)
        return;
    parser->arguments_capacity = (u32)u64_max(count, CAPACITY_MIN);
    parser->arguments = memory_resize(parser->arguments, (size_t)parser->arguments_capacity *
                                                             sizeof(*parser->arguments));
}

enum number_result { NUMBER_READ, NUMBER_UNFINISHED, NUMBER_TOO_LONG, NUMBER_BROKEN };

/* Reads a canonical decimal number and its line end at `*offset`, and moves `*offset` behind it
 * only when it was read. */
static enum number_result read_number(const u8 *data, size_t size, size_t *offset, i64 *number)
{
    size_t at = *offset;
    size_t end = size - at > RESP_NUMBER_LINE_MAX ? at + RESP_NUMBER_LINE_MAX : size;
    bool negative = at < end && data[at] == '-';
    if (negative)
        at++;
    size_t first = at;
    i64 value = 0;
    for (; at < end && (u8)(data[at] - '0') <= 9; at++) {
        if (at - first == 18)
            return NUMBER_BROKEN;
        value = value * 10 + (data[at] - '0');
    }
    if (at == end)
        return end == size ? NUMBER_UNFINISHED : NUMBER_TOO_LONG;
    if (at == first || data[at] != '\r' || (data[first] == '0' && at - first > 1))
        return NUMBER_BROKEN;
    if (at + 1 == size)
        return NUMBER_UNFINISHED;
    if (data[at + 1] != '\n')
        return NUMBER_BROKEN;
    *number = negative ? -value : value;
    *offset = at + 2;
    return NUMBER_READ;
}

/* The "*<count>" line. Leaves kind at KIND_COUNT when the command is empty and thus complete. */
static enum resp_result parse_count(struct resp_parser *parser, const struct resp_limits *limits,
                                    const u8 *data, size_t size)
{
    size_t offset = 1;
    i64 count = 0;
    switch (read_number(data, size, &offset, &count)) {
    case NUMBER_READ:
        break;
    case NUMBER_UNFINISHED:
        return RESP_MORE;
    case NUMBER_TOO_LONG:
        return fail(parser, "too big mbulk count string");
    case NUMBER_BROKEN:
        return fail(parser, "invalid multibulk length");
    }
    if (count > (i64)limits->arguments_max)
        return fail(parser, "invalid multibulk length");
    parser->size = offset;
    if (count > 0) {
        parser->expected = (u32)count;
        parser->kind = KIND_BULKS;
    }
    return RESP_COMMAND;
}

/* The "$<size>" line of the argument that begins at `*offset`. */
static enum resp_result parse_bulk_size(struct resp_parser *parser,
                                        const struct resp_limits *limits, const u8 *data,
                                        size_t size, size_t *offset)
{
    if (*offset == size)
        return RESP_MORE;
    if (data[*offset] != '$') {
        u8 got = data[*offset];
        (void)snprintf(parser->error, sizeof(parser->error),
                       "ERR Protocol error: expected '$', got '%c'",
                       got >= ' ' && got < 127 ? got : '?');
        return RESP_ERROR;
    }
    size_t at = *offset + 1;
    switch (read_number(data, size, &at, &parser->bulk)) {
    case NUMBER_READ:
        break;
    case NUMBER_UNFINISHED:
        return RESP_MORE;
    case NUMBER_TOO_LONG:
        return fail(parser, "too big bulk count string");
    case NUMBER_BROKEN:
        return fail(parser, "invalid bulk length");
    }
    /* Refused when it is announced, so that nobody makes us keep what can never be used. */
    if (parser->bulk < 0 || parser->bulk > BULK_MAX)
        return fail(parser, "invalid bulk length");
    if (at + (u64)parser->bulk + 2 > limits->bytes_max)
        return fail_size(parser, limits);
    *offset = at;
    return RESP_COMMAND;
}

static enum resp_result parse_bulks(struct resp_parser *parser, const struct resp_limits *limits,
                                    const u8 *data, size_t size)
{
    size_t offset = parser->size;
    enum resp_result result = RESP_COMMAND;
    while (parser->count < parser->expected) {
        if (parser->bulk < 0) {
            result = parse_bulk_size(parser, limits, data, size, &offset);
            if (result != RESP_COMMAND)
                break;
        }
        size_t bulk = (size_t)parser->bulk;
        if (size - offset < bulk + 2) {
            result = RESP_MORE;
            break;
        }
        if (data[offset + bulk] != '\r' || data[offset + bulk + 1] != '\n')
            return fail(parser, "expected the line end that follows a bulk string");
        grow_places(parser);
        parser->places[parser->count++] = (struct resp_place){(u32)offset, (u32)bulk};
        offset += bulk + 2;
        parser->bulk = -1;
    }
    parser->size = offset;
    if (result != RESP_COMMAND)
        return result;
    reserve_arguments(parser, parser->count);
    for (u32 i = 0; i < parser->count; i++) {
        parser->arguments[i].data = data + parser->places[i].offset;
        parser->arguments[i].size = parser->places[i].size;
    }
    return RESP_COMMAND;
}

/* ---- inline commands ---- */

static bool is_space(u8 byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static int hex_value(u8 byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    u8 lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* What follows a backslash within double quotes. Returns the bytes used of `from`, at least 1. */
static size_t read_escape(const u8 *from, size_t size, u8 *byte)
{
    if (size >= 3 && from[0] == 'x' && hex_value(from[1]) >= 0 && hex_value(from[2]) >= 0) {
        *byte = (u8)(hex_value(from[1]) * 16 + hex_value(from[2]));
        return 3;
    }
    switch (from[0]) {
    case 'n':
        *byte = '\n';
        break;
    case 'r':
        *byte = '\r';
        break;
    case 't':
        *byte = '\t';
        break;
    case 'b':
        *byte = '\b';
        break;
    case 'a':
        *byte = '\a';
        break;
    default:
        *byte = from[0];
        break;
    }
    return 1;
}

/* Undoes the quoting from the opening quote at `at` on. Returns the offset behind the closing one,
 * or 0 when there is none, or when its word goes on behind it. */
static size_t read_quoted(const u8 *line, size_t size, size_t at, struct buffer *to)
{
    u8 quote = line[at++];
    while (at < size && line[at] != quote) {
        u8 byte = line[at++];
        if (byte == '\\' && quote == '"' && at < size)
            at += read_escape(line + at, size - at, &byte);
        else if (byte == '\\' && quote == '\'' && at < size && line[at] == '\'')
            byte = line[at++];
        to->data[to->size++] = byte;
    }
    if (at == size || (at + 1 < size && !is_space(line[at + 1])))
        return 0;
    return at + 1;
}

/* The word that begins at `at`. Returns the offset behind it, or 0: unbalanced quotes. */
static size_t read_word(const u8 *line, size_t size, size_t at, struct buffer *to)
{
    while (at < size && !is_space(line[at])) {
        if (line[at] == '"' || line[at] == '\'')
            return read_quoted(line, size, at, to);
        to->data[to->size++] = line[at++];
    }
    return at;
}

static enum resp_result parse_words(struct resp_parser *parser, const struct resp_limits *limits,
                                    const u8 *line, size_t size)
{
    buffer_clear(&parser->words);
    (void)buffer_reserve(&parser->words, size + 1);
    size_t at = 0;
    for (;;) {
        while (at < size && is_space(line[at]))
            at++;
        if (at == size)
            return RESP_COMMAND;
        if (parser->count == limits->arguments_max)
            return fail(parser, "invalid multibulk length");
        if (parser->count == parser->arguments_capacity)
            reserve_arguments(parser, parser->arguments_capacity * 2 + 1);
        size_t begin = parser->words.size;
        at = read_word(line, size, at, &parser->words);
        if (at == 0)
            return fail(parser, "unbalanced quotes in request");
        struct kv_argument *argument = &parser->arguments[parser->count++];
        argument->data = parser->words.data + begin;
        argument->size = (u32)(parser->words.size - begin);
    }
}

static enum resp_result parse_inline(struct resp_parser *parser, const struct resp_limits *limits,
                                     const u8 *data, size_t size)
{
    size_t seen = parser->size;
    const u8 *newline = size > seen ? memchr(data + seen, '\n', size - seen) : NULL;
    size_t line = newline == NULL ? size : (size_t)(newline - data);
    if (line > RESP_INLINE_MAX)
        return fail(parser, "too big inline request");
    if (newline == NULL) {
        parser->size = size;
        return RESP_MORE;
    }
    parser->size = line + 1;
    if (line > 0 && data[line - 1] == '\r')
        line--;
    return parse_words(parser, limits, data, line);
}
