/* reply.c - see reply.h. */
#include "server/clients/reply.h"

#include <stdarg.h>
#include <stdio.h>

enum { TEXT_MAX = 1024, LINE_NUMBER_SIZE = 24 };

/* "<type><number>\r\n" without the cost of a format. */
static void put_header(struct buffer *to, char type, i64 number)
{
    u8 *end = buffer_reserve(to, LINE_NUMBER_SIZE) + LINE_NUMBER_SIZE;
    u8 *at = end;
    u64 rest = number < 0 ? 0 - (u64)number : (u64)number;
    *--at = '\n';
    *--at = '\r';
    do {
        *--at = (u8)('0' + rest % 10);
        rest /= 10;
    } while (rest != 0);
    if (number < 0)
        *--at = '-';
    *--at = (u8)type;
    size_t size = (size_t)(end - at);
    memmove(to->data + to->size, at, size);
    to->size += size;
}

void reply_simple(struct reply *reply, const char *text)
{
    buffer_append_string(reply->to, "+");
    buffer_append_string(reply->to, text);
    buffer_append_string(reply->to, "\r\n");
}

static void put_line(struct buffer *to, const char *type, const char *format, va_list list)
{
    char text[TEXT_MAX];
    (void)vsnprintf(text, sizeof(text), format, list);
    for (char *at = text; *at != '\0'; at++)
        if (*at == '\r' || *at == '\n')
            *at = ' ';
    buffer_append_string(to, type);
    buffer_append_string(to, text);
    buffer_append_string(to, "\r\n");
}

void reply_status(struct reply *reply, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    put_line(reply->to, "+", format, list);
    va_end(list);
}

void reply_error(struct reply *reply, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    put_line(reply->to, "-", format, list);
    va_end(list);
}

void reply_integer(struct reply *reply, i64 number)
{
    put_header(reply->to, ':', number);
}

void reply_bulk(struct reply *reply, const void *data, size_t size)
{
    put_header(reply->to, '$', (i64)size);
    buffer_append(reply->to, data, size);
    buffer_append(reply->to, "\r\n", 2);
}

void reply_text(struct reply *reply, const void *data, size_t size)
{
    static const char kind[] = "txt:";
    if (reply->protocol < 3) {
        reply_bulk(reply, data, size);
        return;
    }
    put_header(reply->to, '=', (i64)(size + sizeof(kind) - 1));
    buffer_append(reply->to, kind, sizeof(kind) - 1);
    buffer_append(reply->to, data, size);
    buffer_append(reply->to, "\r\n", 2);
}

void reply_string(struct reply *reply, const char *text)
{
    reply_bulk(reply, text, strlen(text));
}

void reply_format(struct reply *reply, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list list;
    va_start(list, format);
    (void)vsnprintf(text, sizeof(text), format, list);
    va_end(list);
    reply_string(reply, text);
}

void reply_null(struct reply *reply)
{
    buffer_append_string(reply->to, reply->protocol >= 3 ? "_\r\n" : "$-1\r\n");
}

void reply_array(struct reply *reply, size_t count)
{
    put_header(reply->to, '*', (i64)count);
}

void reply_map(struct reply *reply, size_t count)
{
    if (reply->protocol >= 3)
        put_header(reply->to, '%', (i64)count);
    else
        put_header(reply->to, '*', (i64)count * 2);
}

void reply_set(struct reply *reply, size_t count)
{
    put_header(reply->to, reply->protocol >= 3 ? '~' : '*', (i64)count);
}

/* ---- what is a value ---- */

enum { NUMBER_DIGITS_MAX = 18 };

/* The number of a header line. */
static bool read_header_number(const u8 *text, size_t size, i64 *number)
{
    bool negative = size > 0 && text[0] == '-';
    size_t first = negative ? 1 : 0;
    if (size == first || size - first > NUMBER_DIGITS_MAX)
        return false;
    *number = 0;
    for (size_t i = first; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
        *number = *number * 10 + (text[i] - '0');
    }
    if (negative)
        *number = -*number;
    return true;
}

/* The size of the bulk that begins at `from` with a header line of `line` bytes, 0: it is none. */
static size_t bulk_size(const u8 *from, size_t size, size_t line, i64 announced)
{
    bool verbatim = from[0] == '=';
    if (announced == -1 && from[0] == '$')
        return line;
    if (announced < (verbatim ? 4 : 0) || size - line < 2 || (u64)announced > size - line - 2)
        return 0;
    const u8 *end = from + line + announced;
    if (end[0] != '\r' || end[1] != '\n' || (verbatim && from[line + 3] != ':'))
        return 0;
    /* As an error it is one line for RESP2. */
    if (from[0] == '!' && memchr(from + line, '\n', (size_t)announced) != NULL)
        return 0;
    return line + (size_t)announced + 2;
}

/* The size of the token that begins here, 0: there is none; and how many values must follow it. */
static size_t token_size(const u8 *from, size_t size, u64 *elements)
{
    const u8 *newline = memchr(from, '\n', size);
    i64 number;
    *elements = 0;
    if (newline == NULL || newline - from < 2 || newline[-1] != '\r')
        return 0;
    /* cppcheck-suppress nullPointerArithmeticRedundantCheck ; it is not NULL here */
    size_t line = (size_t)(newline - from) + 1;
    switch (from[0]) {
    case '+':
    case '-':
    case ',':
    case '(':
    case '_':
    case '#':
    case ':':
        return line;
    case '$':
    case '=':
    case '!':
        return read_header_number(from + 1, line - 3, &number) ? bulk_size(from, size, line, number)
                                                               : 0;
    case '*':
    case '~':
    case '>':
    case '%':
        /* Each element has three bytes at least. */
        if (!read_header_number(from + 1, line - 3, &number) ||
            number < (from[0] == '*' ? -1 : 0) || number > (i64)size)
            return 0;
        *elements = number < 0 ? 0 : (u64)number * (from[0] == '%' ? 2 : 1);
        return line;
    default:
        return 0;
    }
}

bool reply_is_value(const u8 *bytes, size_t size)
{
    size_t offset = 0;
    u64 missing = 1;
    while (missing > 0 && offset < size) {
        u64 elements;
        size_t token = token_size(bytes + offset, size - offset, &elements);
        if (token == 0)
            return false;
        offset += token;
        missing += elements;
        missing--;
    }
    return missing == 0 && offset == size;
}

bool reply_is_alike(u8 protocol, const u8 *value, size_t size)
{
    if (protocol >= 3 || size == 0 || strchr("+-:$", value[0]) != NULL)
        return true;
    for (size_t offset = 0; offset < size;) {
        u64 elements;
        if (strchr("+-:$*", value[offset]) == NULL)
            return false;
        size_t token = token_size(value + offset, size - offset, &elements);
        if (token == 0)
            return false;
        offset += token;
    }
    return true;
}

/* ---- RESP3 into RESP2 ---- */

/* A number of a header line that we wrote ourselves. */
static i64 header_number(const u8 *text, size_t size)
{
    bool negative = size > 0 && text[0] == '-';
    i64 number = 0;
    for (size_t i = negative ? 1 : 0; i < size; i++) {
        ASSERT(text[i] >= '0' && text[i] <= '9');
        number = number * 10 + (text[i] - '0');
    }
    return negative ? -number : number;
}

/* One token: a header line, with the bytes that it announces. Aggregates are a header alone, since
 * their elements follow as tokens of their own; so nothing here recurses. Returns its size. */
static size_t convert_token(struct buffer *to, const u8 *from, size_t size)
{
    const u8 *newline = memchr(from, '\n', size);
    ASSERT(newline != NULL && newline - from >= 2 && newline[-1] == '\r');
    /* cppcheck-suppress nullPointerArithmeticRedundantCheck ; ASSERT does not return */
    size_t line = (size_t)(newline - from) + 1;
    const u8 *text = from + 1;
    size_t text_size = line - 3;
    size_t whole = line;
    if (from[0] == '$' || from[0] == '=' || from[0] == '!') {
        i64 bulk = header_number(text, text_size);
        if (bulk >= 0)
            whole += (size_t)bulk + 2;
        ASSERT(whole <= size);
    }
    struct reply reply = {to, 2};
    switch (from[0]) {
    case '_':
        reply_null(&reply);
        break;
    case '%':
        reply_map(&reply, (size_t)header_number(text, text_size));
        break;
    case '~':
    case '>':
        reply_array(&reply, (size_t)header_number(text, text_size));
        break;
    case '#':
        reply_integer(&reply, text[0] == 't');
        break;
    case ',':
    case '(':
        reply_bulk(&reply, text, text_size);
        break;
    case '=': /* "txt:" is no part of the string */
        ASSERT(whole >= line + 6);
        reply_bulk(&reply, from + line + 4, whole - line - 6);
        break;
    case '!':
        buffer_append(to, "-", 1);
        buffer_append(to, from + line, whole - line);
        break;
    default:
        buffer_append(to, from, whole);
        break;
    }
    return whole;
}

void reply_convert(struct buffer *to, u8 protocol, const u8 *value, size_t size)
{
    if (protocol >= 3 || size == 0 || value[0] == '+' || value[0] == '-' || value[0] == ':') {
        buffer_append(to, value, size);
        return;
    }
    for (size_t offset = 0; offset < size;)
        offset += convert_token(to, value + offset, size - offset);
}
