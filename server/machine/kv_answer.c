/* kv_answer.c - see kv_answer.h. Formatted by hand, since nearly every command passes here. */
#include "server/machine/kv_answer.h"

u32 kv_number_format(i64 number, u8 to[KV_NUMBER_TEXT_SIZE])
{
    u8 digits[KV_NUMBER_TEXT_SIZE];
    u32 count = 0;
    /* Negated as unsigned, since the least number has no positive counterpart. */
    u64 rest = number < 0 ? 0 - (u64)number : (u64)number;
    do {
        digits[count++] = (u8)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);

    u32 size = 0;
    if (number < 0)
        to[size++] = '-';
    while (count > 0)
        to[size++] = digits[--count];
    return size;
}

/* A type's character, a number, and the line's end. */
static void append_head(struct buffer *answer, char type, i64 number)
{
    u8 *to = buffer_reserve(answer, KV_NUMBER_TEXT_SIZE + 3);
    to[0] = (u8)type;
    u32 size = 1 + kv_number_format(number, to + 1);
    to[size++] = '\r';
    to[size++] = '\n';
    answer->size += size;
}

void kv_answer_ok(struct buffer *answer)
{
    if (answer != NULL)
        buffer_append(answer, "+OK\r\n", 5);
}

void kv_answer_null(struct buffer *answer)
{
    if (answer != NULL)
        buffer_append(answer, "_\r\n", 3);
}

void kv_answer_number(struct buffer *answer, i64 number)
{
    if (answer != NULL)
        append_head(answer, ':', number);
}

void kv_answer_bulk(struct buffer *answer, const u8 *data, u32 size)
{
    if (answer == NULL)
        return;
    append_head(answer, '$', size);
    u8 *to = buffer_reserve(answer, (size_t)size + 2);
    if (size > 0)
        memcpy(to, data, size);
    memcpy(to + size, "\r\n", 2);
    answer->size += (size_t)size + 2;
}

void kv_answer_array(struct buffer *answer, u32 count)
{
    if (answer != NULL)
        append_head(answer, '*', count);
}

void kv_answer_error(struct buffer *answer, const char *text)
{
    if (answer == NULL)
        return;
    buffer_append(answer, "-", 1);
    buffer_append_string(answer, text);
    buffer_append(answer, "\r\n", 2);
}

void kv_answer_too_large(struct buffer *answer, u64 size, u64 limit)
{
    if (answer != NULL)
        buffer_append_format(answer,
                             "-ERR the answer would have %llu bytes, and may have %llu "
                             "(max-answer-bytes): ask for fewer keys at a time\r\n",
                             (unsigned long long)size, (unsigned long long)limit);
}
