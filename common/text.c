/* text.c - escaping. */
#include "common/text.h"

#include <string.h>

size_t text_utf8_length(const u8 *from, size_t size)
{
    if (size == 0)
        return 0;
    u8 lead = from[0];
    if (lead < 0x80)
        return 1;
    /* The second byte's bounds shut out overlong forms, surrogates and what lies beyond U+10FFFF;
     * those after it may be any continuation byte. */
    size_t length;
    u8 low = 0x80;
    u8 high = 0xbf;
    if (lead >= 0xc2 && lead <= 0xdf) {
        length = 2;
    } else if (lead >= 0xe0 && lead <= 0xef) {
        length = 3;
        low = lead == 0xe0 ? 0xa0 : low;
        high = lead == 0xed ? 0x9f : high;
    } else if (lead >= 0xf0 && lead <= 0xf4) {
        length = 4;
        low = lead == 0xf0 ? 0x90 : low;
        high = lead == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (size < length || from[1] < low || from[1] > high)
        return 0;
    for (size_t i = 2; i < length; i++) {
        if (from[i] < 0x80 || from[i] > 0xbf)
            return 0;
    }
    return length;
}

/* The letter that follows the backslash in a short escape, or 0 when the byte has none. */
static char short_escape(u8 byte)
{
    switch (byte) {
    case '"':
    case '\\':
        return (char)byte;
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return 0;
    }
}

size_t text_escape(char *to, const void *from, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const u8 *bytes = from;
    char *at = to;
    for (size_t i = 0; i < size;) {
        u8 byte = bytes[i];
        size_t length = text_utf8_length(bytes + i, size - i);
        if (short_escape(byte) != 0) {
            *at++ = '\\';
            *at++ = short_escape(byte);
        } else if (length == 0) {
            memcpy(at, "\\ufffd", 6);
            at += 6;
            length = 1;
        } else if (byte < 0x20 || byte == 0x7f) {
            memcpy(at, "\\u00", 4);
            at[4] = digits[byte >> 4];
            at[5] = digits[byte & 0xf];
            at += 6;
        } else {
            memcpy(at, bytes + i, length);
            at += length;
        }
        i += length;
    }
    return (size_t)(at - to);
}
