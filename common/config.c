/* config.c - values typed by a table, from lines and back. */
#include "common/config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

#include "common/memory.h"

enum { NAME_SIZE = 64 }; /* of a key, with the NUL */

/* A value on its way from its text to its field. */
union value {
    u64 number;
    struct quantity_range range;
    bool yes;
    u32 word;
    const char *string; /* borrowed */
};

static u64 bound_of(const struct config_key *key)
{
    return key->max == 0 ? UINT64_MAX : key->max;
}

static bool is_within(const struct config_key *key, u64 number)
{
    return number >= key->min && number <= bound_of(key);
}

/* ---- one value: text to field ---- */

static bool find_word(const char *const *words, const char *text, u32 *which)
{
    for (u32 i = 0; words[i] != NULL; i++) {
        if (strcasecmp(words[i], text) == 0) {
            *which = i;
            return true;
        }
    }
    return false;
}

/* Says whether `text` is a value that the key may have. */
static bool parse_value(const struct config_key *key, const char *text, union value *value)
{
    switch (key->type) {
    case CONFIG_U64:
        return quantity_parse_u64(text, &value->number) && is_within(key, value->number);
    case CONFIG_BYTES:
        return quantity_parse_bytes(text, &value->number) && is_within(key, value->number);
    case CONFIG_DURATION:
        return quantity_parse_duration(text, &value->number) && is_within(key, value->number);
    case CONFIG_DURATION_RANGE:
        return quantity_parse_duration_range(text, &value->range) &&
               is_within(key, value->range.low) && is_within(key, value->range.high);
    case CONFIG_BOOL:
        value->yes = strcasecmp(text, "yes") == 0;
        return value->yes || strcasecmp(text, "no") == 0;
    case CONFIG_WORD:
        return find_word(key->words, text, &value->word);
    case CONFIG_STRING:
        value->string = text;
        return is_within(key, strlen(text));
    case CONFIG_LINE:
        return false;
    }
    UNREACHABLE();
}

/* Puts the value into its field. `fresh` means that the field holds nothing yet. */
static void store_value(const struct config_key *key, void *values, const union value *value,
                        bool fresh)
{
    u8 *field = (u8 *)values + key->offset;
    switch (key->type) {
    case CONFIG_U64:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        memcpy(field, &value->number, sizeof(value->number));
        return;
    case CONFIG_DURATION_RANGE:
        memcpy(field, &value->range, sizeof(value->range));
        return;
    case CONFIG_BOOL:
        memcpy(field, &value->yes, sizeof(value->yes));
        return;
    case CONFIG_WORD:
        memcpy(field, &value->word, sizeof(value->word));
        return;
    case CONFIG_STRING: {
        char *before = NULL;
        if (!fresh)
            memcpy(&before, field, sizeof(before));
        char *copy = memory_copy_string(value->string); /* may be a copy of `before` itself */
        memcpy(field, &copy, sizeof(copy));
        memory_free(before);
        return;
    }
    case CONFIG_LINE:
        return;
    }
    UNREACHABLE();
}

/* Says what was given and what was expected. */
static enum error_code refuse_value(const struct config_key *key, const char *text,
                                    struct error *error)
{
    struct buffer expected;
    buffer_init(&expected);
    config_describe(key, &expected);
    error_set(error, ERROR_CONFIG, "%s: \"%.100s\" will not do; expected %.*s", key->name, text,
              (int)expected.size, (const char *)expected.data);
    buffer_deinit(&expected);
    return ERROR_CONFIG;
}

static enum error_code set_value(const struct config_key *key, void *values, const char *text,
                                 struct error *error)
{
    union value value;
    if (!parse_value(key, text, &value))
        return refuse_value(key, text, error);
    store_value(key, values, &value, false);
    return ERROR_NONE;
}

/* ---- the table ---- */

static bool key_is_sound(const struct config_table *table, const struct config_key *key)
{
    size_t size = strlen(key->name);
    if (size == 0 || size >= NAME_SIZE || key->help == NULL)
        return false;
    if (config_find(table, key->name) != key) /* the name stands twice */
        return false;
    if ((key->type == CONFIG_WORD) != (key->words != NULL))
        return false;
    if (key->type == CONFIG_LINE)
        return key->fallback == NULL && table->take_line != NULL;
    return (key->flags & CONFIG_REPEATED) == 0;
}

void config_init(const struct config_table *table, void *values)
{
    ASSERT(table->count <= CONFIG_KEYS_MAX);
    for (size_t i = 0; i < table->count; i++) {
        const struct config_key *key = &table->keys[i];
        ASSERT(key_is_sound(table, key));
        if (key->type == CONFIG_LINE)
            continue;
        union value value;
        ASSERT(key->fallback != NULL);
        /* What must be given has no default, so what stands for one may be out of bounds. */
        bool fits = parse_value(key, key->fallback, &value);
        ASSERT(fits || (key->type == CONFIG_STRING && (key->flags & CONFIG_REQUIRED) != 0));
        store_value(key, values, &value, true);
    }
}

void config_deinit(const struct config_table *table, void *values)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->keys[i].type != CONFIG_STRING)
            continue;
        u8 *field = (u8 *)values + table->keys[i].offset;
        char *string;
        memcpy(&string, field, sizeof(string));
        memory_free(string);
        string = NULL;
        memcpy(field, &string, sizeof(string));
    }
}

const struct config_key *config_find(const struct config_table *table, const char *name)
{
    for (size_t i = 0; i < table->count; i++) {
        if (strcasecmp(table->keys[i].name, name) == 0)
            return &table->keys[i];
    }
    return NULL;
}

/* How many bytes must be put in, left out or changed to make one name of the other. */
static size_t distance(const char *a, const char *b)
{
    size_t b_size = strlen(b);
    size_t row[NAME_SIZE]; /* row[j]: from the part of `a` read so far to the first j bytes of b */
    for (size_t j = 0; j <= b_size; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_size; j++) {
            size_t changed = diagonal + ((a[i - 1] | 0x20) != (b[j - 1] | 0x20));
            size_t added = u64_min(row[j], row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = u64_min(changed, added);
        }
    }
    return row[b_size];
}

const struct config_key *config_nearest(const struct config_table *table, const char *name)
{
    /* A third of the letters wrong is a slip of the fingers; more is another word. */
    const struct config_key *nearest = NULL;
    size_t least = strlen(name) / 3 + 2;
    for (size_t i = 0; i < table->count; i++) {
        size_t apart = distance(name, table->keys[i].name);
        if (apart < least) {
            least = apart;
            nearest = &table->keys[i];
        }
    }
    return nearest;
}

static enum error_code refuse_key(const struct config_table *table, const char *name,
                                  struct error *error)
{
    const struct config_key *nearest = config_nearest(table, name);
    if (nearest != NULL)
        return error_set(error, ERROR_CONFIG, "unknown key \"%.64s\"; did you mean \"%s\"?", name,
                         nearest->name);
    return error_set(error, ERROR_CONFIG, "unknown key \"%.64s\"", name);
}

enum error_code config_set(const struct config_table *table, void *values, const char *name,
                           const char *text, bool running, struct error *error)
{
    const struct config_key *key = config_find(table, name);
    if (key == NULL)
        return refuse_key(table, name, error);
    if (key->type == CONFIG_LINE)
        return error_set(error, ERROR_CONFIG, "%s: can be given in the file only", key->name);
    if (running && (key->flags & CONFIG_RUNTIME) == 0)
        return error_set(error, ERROR_CONFIG, "%s: cannot be changed while the server runs",
                         key->name);
    return set_value(key, values, text, error);
}

/* ---- files ---- */

struct reader {
    const struct config_table *table;
    void *values;
    u32 seen[CONFIG_KEYS_MAX]; /* by key: the line that gave it; 0: none so far */
};

static enum error_code take_words(struct reader *reader, const struct config_line *line,
                                  struct error *error)
{
    const struct config_table *table = reader->table;
    const struct config_key *key = config_find(table, line->words[0]);
    if (key == NULL)
        return refuse_key(table, line->words[0], error);
    u32 *seen = &reader->seen[key - table->keys];
    if (*seen != 0 && (key->flags & CONFIG_REPEATED) == 0)
        return error_set(error, ERROR_CONFIG, "%s: line %u has given it already; expected it once",
                         key->name, *seen);
    *seen = line->number;
    if (key->type == CONFIG_LINE) {
        if (table->take_line(reader->values, key, line, error) == ERROR_NONE)
            return ERROR_NONE;
        error->code = ERROR_CONFIG;
        return error_add(error, "%s", key->name);
    }
    if (line->count != 2) {
        struct buffer expected;
        buffer_init(&expected);
        config_describe(key, &expected);
        error_set(error, ERROR_CONFIG, "%s: %zu values; expected one, %.*s", key->name,
                  line->count - 1, (int)expected.size, (const char *)expected.data);
        buffer_deinit(&expected);
        return ERROR_CONFIG;
    }
    return set_value(key, reader->values, line->words[1], error);
}

/* One line, without its newline. */
static enum error_code take_line(struct reader *reader, const char *file, u32 number,
                                 const char *text, size_t size, struct error *error)
{
    enum error_code code = ERROR_NONE;
    char copy[CONFIG_LINE_SIZE];
    struct config_line line = {.file = file, .number = number};
    if (size >= sizeof(copy)) {
        code = error_set(error, ERROR_CONFIG, "the line is too long; expected less than %d bytes",
                         CONFIG_LINE_SIZE);
    } else if (memchr(text, '\0', size) != NULL) {
        code = error_set(error, ERROR_CONFIG, "a NUL byte; expected text");
    } else {
        if (size > 0)
            memcpy(copy, text, size);
        copy[size] = '\0';
        code = config_split_words(copy, line.words, CONFIG_WORDS_MAX, &line.count, error);
        if (code == ERROR_NONE && line.count > 0)
            code = take_words(reader, &line, error);
    }
    if (code == ERROR_NONE)
        return ERROR_NONE;
    error->code = ERROR_CONFIG;
    return error_add(error, "%s:%u", file, number);
}

enum error_code config_parse(const struct config_table *table, void *values, const char *file,
                             const char *text, size_t size, struct error *error)
{
    struct reader reader = {.table = table, .values = values};
    const char *end = text + size;
    u32 number = 0;
    for (const char *at = text; at < end;) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *line_end = newline != NULL ? newline : end;
        enum error_code code =
            take_line(&reader, file, ++number, at, (size_t)(line_end - at), error);
        if (code != ERROR_NONE)
            return code;
        at = newline != NULL ? newline + 1 : end;
    }
    for (size_t i = 0; i < table->count; i++) {
        if ((table->keys[i].flags & CONFIG_REQUIRED) != 0 && reader.seen[i] == 0)
            return error_set(error, ERROR_CONFIG, "%s: \"%s\" is missing; expected a line of it",
                             file, table->keys[i].name);
    }
    return ERROR_NONE;
}

/* Reads all of the file into the buffer. */
static enum error_code read_file(int fd, const char *path, struct buffer *text, struct error *error)
{
    enum { STEP = 16384 };
    for (;;) {
        ssize_t got = read(fd, buffer_reserve(text, STEP), STEP);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(error, ERROR_IO, errno, "read %s", path);
        if (got == 0)
            return ERROR_NONE;
        text->size += (size_t)got;
        if (text->size > CONFIG_FILE_SIZE)
            return error_set(error, ERROR_CONFIG, "%s: more than %d bytes; expected less", path,
                             CONFIG_FILE_SIZE);
    }
}

enum error_code config_load(const struct config_table *table, void *values, const char *path,
                            struct error *error)
{
    int fd;
    do
        fd = open(path, O_RDONLY | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0)
        return error_set_errno(error, errno == ENOENT ? ERROR_MISSING : ERROR_IO, errno, "open %s",
                               path);
    struct buffer text;
    buffer_init(&text);
    enum error_code code = read_file(fd, path, &text, error);
    if (code == ERROR_NONE)
        code = config_parse(table, values, path, (const char *)text.data, text.size, error);
    buffer_deinit(&text);
    (void)close(fd);
    return code;
}

/* ---- one value: field to text ---- */

void config_format(const struct config_key *key, const void *values, struct buffer *text)
{
    const u8 *field = (const u8 *)values + key->offset;
    char formatted[QUANTITY_TEXT_SIZE];
    u64 number;
    struct quantity_range range;
    bool yes;
    u32 word;
    char *string;
    switch (key->type) {
    case CONFIG_U64:
        memcpy(&number, field, sizeof(number));
        buffer_append_format(text, "%llu", (unsigned long long)number);
        return;
    case CONFIG_BYTES:
        memcpy(&number, field, sizeof(number));
        buffer_append_string(text, quantity_format_bytes(number, formatted));
        return;
    case CONFIG_DURATION:
        memcpy(&number, field, sizeof(number));
        buffer_append_string(text, quantity_format_duration(number, formatted));
        return;
    case CONFIG_DURATION_RANGE:
        memcpy(&range, field, sizeof(range));
        buffer_append_string(text, quantity_format_duration_range(range, formatted));
        return;
    case CONFIG_BOOL:
        memcpy(&yes, field, sizeof(yes));
        buffer_append_string(text, yes ? "yes" : "no");
        return;
    case CONFIG_WORD:
        memcpy(&word, field, sizeof(word));
        buffer_append_string(text, key->words[word]);
        return;
    case CONFIG_STRING:
        memcpy(&string, field, sizeof(string));
        buffer_append_string(text, string);
        return;
    case CONFIG_LINE:
        return;
    }
    UNREACHABLE();
}

/* ---- what a value may be ---- */

/* "from 1ms to 1h", "of at least 1ms", or nothing, in the notation of the type. */
static void describe_bounds(const struct config_key *key, struct buffer *text)
{
    char low[QUANTITY_TEXT_SIZE];
    char high[QUANTITY_TEXT_SIZE];
    bool is_time = key->type == CONFIG_DURATION || key->type == CONFIG_DURATION_RANGE;
    if (is_time) {
        quantity_format_duration(key->min, low);
        quantity_format_duration(key->max, high);
    } else if (key->type == CONFIG_BYTES) {
        quantity_format_bytes(key->min, low);
        quantity_format_bytes(key->max, high);
    } else {
        snprintf(low, sizeof(low), "%llu", (unsigned long long)key->min);
        snprintf(high, sizeof(high), "%llu", (unsigned long long)key->max);
    }
    if (key->max != 0)
        buffer_append_format(text, " from %s to %s", low, high);
    else if (key->min != 0)
        buffer_append_format(text, " of at least %s", low);
}

static void describe_words(const struct config_key *key, struct buffer *text)
{
    for (size_t i = 0; key->words[i] != NULL; i++) {
        if (i > 0)
            buffer_append_string(text, key->words[i + 1] != NULL ? ", " : " or ");
        buffer_append_string(text, key->words[i]);
    }
}

void config_describe(const struct config_key *key, struct buffer *text)
{
    switch (key->type) {
    case CONFIG_U64:
        buffer_append_string(text, "a whole number");
        describe_bounds(key, text);
        return;
    case CONFIG_BYTES:
        buffer_append_string(text, "a size");
        describe_bounds(key, text);
        buffer_append_string(text, ", such as 64KiB");
        return;
    case CONFIG_DURATION:
        buffer_append_string(text, "a duration");
        describe_bounds(key, text);
        buffer_append_string(text, ", such as 250ms");
        return;
    case CONFIG_DURATION_RANGE:
        buffer_append_string(text, "a range of durations");
        describe_bounds(key, text);
        buffer_append_string(text, ", such as 150ms..300ms");
        return;
    case CONFIG_BOOL:
        buffer_append_string(text, "yes or no");
        return;
    case CONFIG_WORD:
        describe_words(key, text);
        return;
    case CONFIG_STRING:
        buffer_append_string(text, "a text");
        if (key->min != 0 || key->max != 0) {
            buffer_append_string(text, " with a length");
            describe_bounds(key, text);
        }
        return;
    case CONFIG_LINE:
        buffer_append_string(text, "the words of its line");
        return;
    }
    UNREACHABLE();
}
