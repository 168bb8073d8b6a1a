/* history_format.c - see history_format.h. */
#include "test/history/history_format.h"

#include <inttypes.h>

enum { BYTE_CHARACTERS = 0xf700 };

/* The size of the valid UTF-8 character at the start, or 0; `code` is its number. */
static size_t character_size(const u8 *data, size_t size, u32 *code)
{
    static const u32 lowest[] = {0, 0, 0x80, 0x800, 0x10000};
    u8 first = data[0];
    size_t length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    *code = length == 1 ? first : first & (0x7fU >> length);
    if ((first >= 0x80 && first < 0xc2) || first > 0xf4 || size < length)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((data[i] & 0xc0) != 0x80)
            return 0;
        *code = *code << 6 | (data[i] & 0x3fU);
    }
    bool surrogate = *code >= 0xd800 && *code <= 0xdfff;
    return *code < lowest[length] || *code > 0x10ffff || surrogate ? 0 : length;
}

/* Whether it is one of the characters U+F780 to U+F7FF, which stand for bytes. */
static bool stands_for_byte(u32 code)
{
    return code >= BYTE_CHARACTERS + 0x80 && code <= BYTE_CHARACTERS + 0xff;
}

static void format_byte(struct buffer *to, u8 byte)
{
    if (byte == '"' || byte == '\\')
        buffer_append_format(to, "\\%c", byte);
    else if (byte == '\n')
        buffer_append_string(to, "\\n");
    else if (byte == '\t')
        buffer_append_string(to, "\\t");
    else if (byte == '\r')
        buffer_append_string(to, "\\r");
    else if (byte < 0x20 || byte == 0x7f)
        buffer_append_format(to, "\\u%04x", byte);
    else
        buffer_append(to, &byte, 1);
}

void format_text(struct buffer *to, const struct text *text, size_t shown)
{
    size_t end = shown == 0 || text->size <= shown ? text->size : shown;
    buffer_append_string(to, "\"");
    for (size_t i = 0; i < end;) {
        u32 code = 0;
        size_t size = character_size(text->data + i, text->size - i, &code);
        if (size == 1) {
            format_byte(to, text->data[i++]);
        } else if (size == 0 || stands_for_byte(code)) {
            buffer_append_format(to, "\\u%04x", (unsigned)BYTE_CHARACTERS + text->data[i++]);
        } else {
            buffer_append(to, text->data + i, size);
            i += size;
        }
    }
    buffer_append_string(to, "\"");
    if (end < text->size)
        buffer_append_format(to, "... (%" PRIu32 " bytes)", text->size);
}

static void format_value(struct buffer *to, const struct text *text)
{
    if (text == NULL)
        buffer_append_string(to, "nothing");
    else
        format_text(to, text, TEXT_SHOWN);
}

static void format_answer(struct buffer *to, const struct operation *operation)
{
    switch (operation->kind) {
    case OPERATION_GET:
        buffer_append_string(to, ": ");
        format_value(to, operation->out);
        return;
    case OPERATION_APPEND:
        if (operation->number_known)
            buffer_append_format(to, ": %" PRId64 " bytes", operation->number);
        return;
    case OPERATION_CAS:
        buffer_append_string(to, operation->ok ? ": swapped" : ": not swapped");
        return;
    case OPERATION_DEL:
        buffer_append_string(to, operation->found ? ": was there" : ": was not there");
        return;
    case OPERATION_INCR:
        buffer_append_format(to, ": %" PRId64, operation->number);
        return;
    case OPERATION_PUT:
    case OPERATION_KIND_COUNT:
        return;
    }
    UNREACHABLE();
}

void format_operation(struct buffer *to, const struct operation *operation)
{
    buffer_append_string(to, operation_kind_word(operation->kind));
    if (operation->kind == OPERATION_CAS) {
        buffer_append_string(to, " ");
        format_value(to, operation->expected);
        buffer_append_string(to, " ->");
    }
    if (operation->value != NULL) {
        buffer_append_string(to, " ");
        format_value(to, operation->value);
    }
    if (operation->kind == OPERATION_INCR && operation->delta != 1)
        buffer_append_format(to, " by %" PRId64, operation->delta);
    if (operation->status == OPERATION_OK)
        format_answer(to, operation);
}

static void json_texts(struct buffer *to, const struct operation *operation)
{
    const struct text *texts[] = {operation->key, operation->value, operation->expected,
                                  operation->out};
    static const char *const names[] = {"k", "v", "old", "out"};
    for (size_t i = 0; i < ARRAY_LENGTH(texts); i++) {
        if (texts[i] == NULL)
            continue;
        buffer_append_format(to, ",\"%s\":", names[i]);
        format_text(to, texts[i], 0);
    }
}

void format_json(struct buffer *to, const struct operation *operation)
{
    bool ok = operation->status == OPERATION_OK;
    buffer_append_format(to, "{\"c\":%" PRIu64 ",\"op\":\"%s\"", operation->client,
                         operation_kind_word(operation->kind));
    json_texts(to, operation);
    if (operation->kind == OPERATION_INCR && operation->delta != 1)
        buffer_append_format(to, ",\"v\":%" PRId64, operation->delta);
    if (ok && (operation->kind == OPERATION_INCR ||
               (operation->kind == OPERATION_APPEND && operation->number_known)))
        buffer_append_format(to, ",\"out\":%" PRId64, operation->number);
    if (ok && (operation->kind == OPERATION_GET || operation->kind == OPERATION_DEL))
        buffer_append_format(to, ",\"found\":%s", operation->found ? "true" : "false");
    if (ok && operation->kind == OPERATION_CAS)
        buffer_append_format(to, ",\"ok\":%s", operation->ok ? "true" : "false");
    buffer_append_format(to, ",\"t0\":%" PRIu64, operation->t0);
    if (operation->status != OPERATION_UNKNOWN)
        buffer_append_format(to, ",\"t1\":%" PRIu64, operation->t1);
    buffer_append_format(to, ",\"st\":\"%s\"}\n",
                         ok                                    ? "ok"
                         : operation->status == OPERATION_FAIL ? "fail"
                                                               : "unknown");
}
