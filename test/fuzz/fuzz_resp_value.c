/* fuzz_resp_value.c - see fuzz_resp_value.h. */
#include "test/fuzz/fuzz_resp_value.h"

/* The header line at `data`, with its line end; 0: there is none. */
static size_t line_size(const u8 *data, size_t size)
{
    const u8 *end = size == 0 ? NULL : memchr(data, '\n', size);
    return end == NULL || end - data < 2 || end[-1] != '\r' ? 0 : (size_t)(end - data) + 1;
}

/* The number of a header line, which has at most 18 digits. */
static bool line_number(const u8 *data, size_t line, i64 *number)
{
    size_t at = 1, end = line - 2;
    bool negative = at < end && data[at] == '-';
    if (negative)
        at++;
    if (at == end || end - at > 18)
        return false;
    for (*number = 0; at < end; at++) {
        if (data[at] < '0' || data[at] > '9')
            return false;
        *number = *number * 10 + (data[at] - '0');
    }
    if (negative)
        *number = -*number;
    return true;
}

static size_t elements(const u8 *data, size_t size, size_t line, i64 count, u8 protocol, u32 depth)
{
    size_t whole = line;
    for (i64 i = 0; i < count; i++) {
        size_t element =
            depth == 0 ? 0 : fuzz_resp_value(data + whole, size - whole, protocol, depth - 1);
        if (element == 0)
            return 0;
        whole += element;
    }
    return whole;
}

size_t fuzz_resp_value(const u8 *data, size_t size, u8 protocol, u32 depth)
{
    size_t line = line_size(data, size);
    i64 number = 0;
    if (line == 0 || (protocol < 3 && strchr("+-:$*", data[0]) == NULL))
        return 0;
    switch (data[0]) {
    case '+':
    case '-':
    case '_':
    case '#':
    case ',':
    case '(':
        return line;
    case ':':
        return line;
    case '$':
    case '=':
    case '!':
        if (!line_number(data, line, &number) || number < -1)
            return 0;
        if (number == -1)
            return line;
        if (size - line < 2 || (u64)number > size - line - 2 ||
            memcmp(data + line + number, "\r\n", 2) != 0)
            return 0;
        return line + (size_t)number + 2;
    case '*':
    case '~':
    case '>':
    case '%':
        if (!line_number(data, line, &number) || number < -1 || number > INT32_MAX)
            return 0;
        return elements(data, size, line, data[0] == '%' ? number * 2 : number, protocol, depth);
    default:
        return 0;
    }
}
