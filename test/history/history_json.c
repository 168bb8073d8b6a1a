/* history_json.c - see history_json.h. */
#include "test/history/history_json.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <string.h>

#include "common/bytes.h"

/* The line being read. Every helper returns false after it has set the error. */
struct reader {
    struct history *history;
    const json_t *object;
    struct error *error;
};

static bool complain(struct reader *reader, const char *name, const char *what)
{
    error_set(reader->error, ERROR_FORMAT, "\"%s\" %s", name, what);
    return false;
}

/* NULL when left out or null. */
static const json_t *member(const struct reader *reader, const char *name)
{
    const json_t *value = json_object_get(reader->object, name);
    return value == NULL || json_is_null(value) ? NULL : value;
}

/* The text of a JSON string, with the characters that stand for bytes turned back. */
static const struct text *text_of_string(struct history *history, const json_t *string)
{
    const u8 *from = (const u8 *)json_string_value(string);
    size_t size = json_string_length(string);
    struct buffer bytes;
    buffer_init(&bytes);
    u8 *to = buffer_reserve(&bytes, size + 1);
    for (size_t i = 0; i < size;) {
        if (from[i] == 0xef && (from[i + 1] == 0x9e || from[i + 1] == 0x9f)) {
            /* EF 9E xx and EF 9F xx: U+F780 to U+F7FF. */
            to[bytes.size++] = (u8)((from[i + 1] & 1U) << 6 | (from[i + 2] & 0x3fU) | 0x80U);
            i += 3;
        } else {
            to[bytes.size++] = from[i++];
        }
    }
    const struct text *text = history_text(history, bytes.data, bytes.size);
    buffer_deinit(&bytes);
    return text;
}

static bool read_text(struct reader *reader, const char *name, bool needed,
                      const struct text **text)
{
    const json_t *value = member(reader, name);
    *text = NULL;
    if (value == NULL)
        return !needed || complain(reader, name, "is missing");
    if (json_is_integer(value)) {
        char digits[32];
        int size =
            snprintf(digits, sizeof(digits), "%" JSON_INTEGER_FORMAT, json_integer_value(value));
        *text = history_text(reader->history, digits, (size_t)size);
        return true;
    }
    if (!json_is_string(value))
        return complain(reader, name, "must be a string or a whole number");
    *text = text_of_string(reader->history, value);
    return true;
}

/* A whole number, also as a string. `known` is false when it is left out. */
static bool read_number(struct reader *reader, const char *name, i64 *number, bool *known)
{
    const json_t *value = member(reader, name);
    *known = value != NULL;
    if (value == NULL)
        return true;
    if (json_is_integer(value)) {
        *number = json_integer_value(value);
        return true;
    }
    const char *digits = json_string_value(value);
    char *end = NULL;
    errno = 0;
    *number = digits == NULL ? 0 : strtoll(digits, &end, 10);
    if (digits == NULL || end == digits || *end != '\0' || errno != 0 ||
        json_string_length(value) != strlen(digits))
        return complain(reader, name, "must be a whole number");
    return true;
}

static bool read_time(struct reader *reader, const char *name, bool needed, u64 *time)
{
    const json_t *value = member(reader, name);
    *time = 0;
    if (value == NULL)
        return !needed || complain(reader, name, "is missing");
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return complain(reader, name, "must be a whole number, 0 or more");
    *time = (u64)json_integer_value(value);
    return true;
}

static bool read_bool(struct reader *reader, const char *name, bool needed, bool *value,
                      bool *known)
{
    const json_t *given = member(reader, name);
    *known = given != NULL;
    if (given == NULL)
        return !needed || complain(reader, name, "is missing");
    if (!json_is_boolean(given))
        return complain(reader, name, "must be true or false");
    *value = json_is_true(given);
    return true;
}

static bool read_kind(struct reader *reader, enum operation_kind *kind)
{
    const char *word = json_string_value(member(reader, "op"));
    if (word != NULL && strcmp(word, "set") == 0)
        word = "put";
    for (int i = 0; word != NULL && i < OPERATION_KIND_COUNT; i++) {
        *kind = (enum operation_kind)i;
        if (strcmp(word, operation_kind_word(*kind)) == 0)
            return true;
    }
    return complain(reader, "op", "must be get, put, append, cas, del or incr");
}

static bool read_status(struct reader *reader, enum operation_status *status)
{
    const char *word = json_string_value(member(reader, "st"));
    if (word != NULL && strcmp(word, "ok") == 0)
        *status = OPERATION_OK;
    else if (word != NULL && strcmp(word, "unknown") == 0)
        *status = OPERATION_UNKNOWN;
    else if (word != NULL && strcmp(word, "fail") == 0)
        *status = OPERATION_FAIL;
    else
        return complain(reader, "st", "must be ok, unknown or fail");
    return true;
}

/* What was asked. */
static bool read_request(struct reader *reader, struct operation *operation)
{
    bool known;
    switch (operation->kind) {
    case OPERATION_PUT:
    case OPERATION_APPEND:
        return read_text(reader, "v", true, &operation->value);
    case OPERATION_CAS:
        return read_text(reader, "v", true, &operation->value) &&
               read_text(reader, "old", false, &operation->expected);
    case OPERATION_INCR:
        operation->delta = 1;
        return read_number(reader, "v", &operation->delta, &known);
    case OPERATION_GET:
    case OPERATION_DEL:
    case OPERATION_KIND_COUNT:
        return true;
    }
    UNREACHABLE();
}

static bool read_get_answer(struct reader *reader, struct operation *operation)
{
    bool known;
    if (!read_text(reader, "out", false, &operation->out) ||
        !read_bool(reader, "found", false, &operation->found, &known))
        return false;
    if (!known && json_object_get(reader->object, "out") == NULL)
        return complain(reader, "out", "is missing, and so is \"found\"");
    if (known && operation->found != (operation->out != NULL))
        return complain(reader, "found", "contradicts \"out\"");
    operation->found = operation->out != NULL;
    return true;
}

static bool read_answer(struct reader *reader, struct operation *operation)
{
    bool known;
    switch (operation->kind) {
    case OPERATION_GET:
        return read_get_answer(reader, operation);
    case OPERATION_PUT:
        return true;
    case OPERATION_APPEND:
        return read_number(reader, "out", &operation->number, &operation->number_known);
    case OPERATION_CAS:
        return read_bool(reader, "ok", true, &operation->ok, &known);
    case OPERATION_DEL:
        return read_bool(reader, "found", true, &operation->found, &known);
    case OPERATION_INCR:
        return read_number(reader, "out", &operation->number, &known) &&
               (known || complain(reader, "out", "is missing"));
    case OPERATION_KIND_COUNT:
        break;
    }
    UNREACHABLE();
}

static bool read_operation(struct reader *reader, struct operation *operation)
{
    bool ok;
    if (!json_is_object(reader->object)) {
        error_set(reader->error, ERROR_FORMAT, "a line must be one JSON object");
        return false;
    }
    if (!read_kind(reader, &operation->kind) || !read_status(reader, &operation->status) ||
        !read_text(reader, "k", true, &operation->key) || !read_request(reader, operation))
        return false;
    ok = operation->status == OPERATION_OK;
    if (!read_time(reader, "c", false, &operation->client) ||
        !read_time(reader, "t0", true, &operation->t0) ||
        !read_time(reader, "t1", ok, &operation->t1) || (ok && !read_answer(reader, operation)))
        return false;
    if (ok && operation->t1 < operation->t0)
        return complain(reader, "t1", "is before \"t0\"");
    return true;
}

enum error_code history_json_parse(struct history *history, const char *data, size_t size, u32 line,
                                   struct error *error)
{
    json_error_t bad;
    json_t *object =
        json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_ANY, &bad);
    if (object == NULL)
        return error_set(error, ERROR_FORMAT, "column %d: %s", bad.column, bad.text);
    struct operation operation = {.line = line};
    struct reader reader = {.history = history, .object = object, .error = error};
    enum error_code code = ERROR_NONE;
    if (read_operation(&reader, &operation))
        history_add(history, &operation);
    else
        code = error->code;
    json_decref(object);
    return code;
}

static bool is_blank(const char *line, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (strchr(" \t\r\n", line[i]) == NULL || line[i] == '\0')
            return false;
    return true;
}

/* Appends a line to `line`, with its newline if it has one. Returns false at the end. */
static bool line_read(FILE *file, struct buffer *line)
{
    enum { PIECE = 4096 };
    buffer_clear(line);
    for (;;) {
        char *to = (char *)buffer_reserve(line, PIECE);
        /* fgets says how much it read by a NUL alone, which the line may hold too: the last byte
         * that was overwritten tells. */
        memset(to, 1, PIECE);
        if (fgets(to, PIECE, file) == NULL)
            return line->size > 0;
        const char *end = memrchr(to, '\0', PIECE);
        line->size += (size_t)(end - to);
        if (line->size > 0 && line->data[line->size - 1] == '\n')
            return true;
    }
}

enum error_code history_json_read(struct history *history, FILE *file, const char *name,
                                  struct error *error)
{
    struct buffer line;
    enum error_code code = ERROR_NONE;
    buffer_init(&line);
    for (u32 number = 1; code == ERROR_NONE && line_read(file, &line); number++) {
        if (is_blank((const char *)line.data, line.size))
            continue;
        code = history_json_parse(history, (const char *)line.data, line.size, number, error);
        if (code != ERROR_NONE)
            error_add(error, "%s:%" PRIu32, name, number);
    }
    if (code == ERROR_NONE && ferror(file))
        code = error_set_errno(error, ERROR_IO, errno, "%s", name);
    buffer_deinit(&line);
    return code;
}
