/* report.c - from a sentence to one escaped line.
 *
 * A room writes its sentence and its pairs in one go: "became leader term=5 votes=3". The pairs at
 * the end become fields of the line, so that a machine finds `term` by its name in both formats.
 * What does not have the shape of a pair, or would repeat a name, stays in the sentence. The line
 * is built on the stack: a report must also get out when memory is short. */
#include "common/report.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/outlet.h"
#include "common/text.h"

enum {
    MESSAGE_SIZE = 1000, /* bytes of one message that are kept */
    PAIRS_MAX = 24,
    /* Everything escaped to the longest, each pair's quotes, and what stands in front. */
    LINE_SIZE = TEXT_ESCAPE_FACTOR * (MESSAGE_SIZE + 4) + 4 * PAIRS_MAX + 256
};

struct pair {
    const char *key;
    size_t key_size;
    const char *value;
    size_t value_size;
};

struct line {
    char text[LINE_SIZE];
    size_t size;
};

/* ---- levels ---- */

static const char *const level_words[] = {"error", "warn", "info", "debug"};

bool report_level_parse(const char *word, enum report_level *level)
{
    for (size_t i = 0; i < ARRAY_LENGTH(level_words); i++) {
        if (strcmp(word, level_words[i]) == 0) {
            *level = (enum report_level)i;
            return true;
        }
    }
    return false;
}

const char *report_level_word(enum report_level level)
{
    ASSERT((size_t)level < ARRAY_LENGTH(level_words));
    return level_words[level];
}

/* ---- finding the pairs ---- */

static bool is_key_byte(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '_';
}

/* The names that the line itself uses, and those already taken, cannot be taken again. */
static bool key_is_free(const struct pair *pairs, size_t count, const struct pair *pair)
{
    static const char *const own[] = {"time", "level", "server", "room", "msg"};
    for (size_t i = 0; i < ARRAY_LENGTH(own); i++) {
        if (strlen(own[i]) == pair->key_size && memcmp(own[i], pair->key, pair->key_size) == 0)
            return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (pairs[i].key_size == pair->key_size &&
            memcmp(pairs[i].key, pair->key, pair->key_size) == 0)
            return false;
    }
    return true;
}

/* Reads `key=value` or `key="some value"`; returns what follows it, or NULL when it is no pair. */
static const char *parse_pair(const char *at, struct pair *pair)
{
    pair->key = at;
    while (is_key_byte(*at))
        at++;
    pair->key_size = (size_t)(at - pair->key);
    if (pair->key_size == 0 || *at != '=')
        return NULL;
    at++;
    bool quoted = *at == '"';
    at += quoted;
    pair->value = at;
    while (*at != '\0' && *at != (quoted ? '"' : ' '))
        at++;
    pair->value_size = (size_t)(at - pair->value);
    if (!quoted)
        return at;
    if (*at != '"' || (at[1] != ' ' && at[1] != '\0'))
        return NULL;
    return at + 1;
}

/* Reads pairs up to the end of the text. Returns false when anything there is no pair. */
static bool parse_pairs(const char *at, struct pair *pairs, size_t *count)
{
    for (*count = 0; *at != '\0'; (*count)++) {
        struct pair pair;
        at = parse_pair(at, &pair);
        if (at == NULL || *count == PAIRS_MAX || !key_is_free(pairs, *count, &pair))
            return false;
        pairs[*count] = pair;
        while (*at == ' ')
            at++;
    }
    return true;
}

/* Finds the first word from which on there are only pairs; returns the size of what is before. */
static size_t split_message(const char *message, struct pair *pairs, size_t *count)
{
    const char *word = message;
    while (*word != '\0' && !parse_pairs(word, pairs, count)) {
        word += strcspn(word, " ");
        word += strspn(word, " ");
    }
    if (*word == '\0')
        *count = 0;
    size_t size = (size_t)(word - message);
    while (size > 0 && message[size - 1] == ' ')
        size--;
    return size;
}

/* ---- building the line ---- */

static void line_add(struct line *line, const char *text, size_t size)
{
    ASSERT(size <= sizeof(line->text) - line->size);
    memcpy(line->text + line->size, text, size);
    line->size += size;
}

static void line_add_string(struct line *line, const char *text)
{
    line_add(line, text, strlen(text));
}

static void line_add_quoted(struct line *line, const char *text, size_t size)
{
    line_add(line, "\"", 1);
    ASSERT(size * TEXT_ESCAPE_FACTOR <= sizeof(line->text) - line->size);
    line->size += text_escape(line->text + line->size, text, size);
    line_add(line, "\"", 1);
}

/* Words that a logfmt reader takes as they are. */
static bool is_bare(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        u8 byte = (u8)text[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '=' || byte == '\\')
            return false;
    }
    return size > 0;
}

/* What JSON takes without quotes: true, false, and whole numbers that fit 64 bits. */
static bool is_json_scalar(const char *text, size_t size)
{
    if ((size == 4 && memcmp(text, "true", 4) == 0) || (size == 5 && memcmp(text, "false", 5) == 0))
        return true;
    size_t sign = size > 0 && text[0] == '-';
    size_t digits = size - sign;
    if (digits == 0 || digits > 19 || (text[sign] == '0' && size > 1))
        return false;
    for (size_t i = sign; i < size; i++) {
        if (text[i] < '0' || text[i] > '9')
            return false;
    }
    return true;
}

/* One field, and the space or comma before it. */
static void line_add_field(struct line *line, enum report_format format, const char *key,
                           size_t key_size, const char *value, size_t value_size)
{
    if (format == REPORT_JSON) {
        line_add(line, line->size == 0 ? "{\"" : ",\"", 2);
        line_add(line, key, key_size);
        line_add(line, "\":", 2);
    } else {
        line_add(line, " ", line->size == 0 ? 0 : 1);
        line_add(line, key, key_size);
        line_add(line, "=", 1);
    }
    if (format == REPORT_JSON ? is_json_scalar(value, value_size) : is_bare(value, value_size))
        line_add(line, value, value_size);
    else
        line_add_quoted(line, value, value_size);
}

/* UTC with microseconds: sorts as text, and reads the same on every machine of a cluster. */
static void format_time(char *text, size_t size)
{
    u64 now_ns = clock_wall_ns();
    time_t seconds = (time_t)(now_ns / NS_PER_S);
    struct tm parts;
    char date[32];
    if (gmtime_r(&seconds, &parts) == NULL ||
        strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &parts) == 0)
        date[0] = '\0';
    snprintf(text, size, "%s.%06uZ", date, (unsigned)(now_ns % NS_PER_S / NS_PER_US));
}

static void build_line(const struct report *report, enum report_level level, const char *room,
                       const char *message, struct line *line)
{
    enum report_format format = report->format;
    char text[64];
    format_time(text, sizeof(text));
    line->size = 0;
    line_add_field(line, format, "time", 4, text, strlen(text));
    const char *word = report_level_word(level);
    line_add_field(line, format, "level", 5, word, strlen(word));
    if (report->server != SERVER_NONE) {
        int size = snprintf(text, sizeof(text), "%u", report->server);
        line_add_field(line, format, "server", 6, text, (size_t)size);
    }
    line_add_field(line, format, "room", 4, room, strlen(room));

    struct pair pairs[PAIRS_MAX];
    size_t count = 0;
    size_t sentence_size = split_message(message, pairs, &count);
    line_add_string(line, format == REPORT_JSON ? ",\"msg\":" : " msg=");
    line_add_quoted(line, message, sentence_size);
    for (size_t i = 0; i < count; i++)
        line_add_field(line, format, pairs[i].key, pairs[i].key_size, pairs[i].value,
                       pairs[i].value_size);
    line_add_string(line, format == REPORT_JSON ? "}\n" : "\n");
}

static void say_message(struct report *report, enum report_level level, const char *room,
                        const char *message)
{
    struct line line;
    build_line(report, level, room, message, &line);
    report->write(report->context, level, line.text, line.size);
}

void report_say(struct report *report, enum report_level level, const char *room,
                const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&report->level, memory_order_relaxed))
        return;
    char message[MESSAGE_SIZE + 4];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(message, MESSAGE_SIZE + 1, format, arguments);
    va_end(arguments);
    if (size > MESSAGE_SIZE)
        memcpy(message + MESSAGE_SIZE, "...", 4);
    say_message(report, level, room, message);
}

/* ---- what others can cause ---- */

/* Whether one more line may be said now. */
static bool limit_allows(struct report_limit *limit)
{
    u64 now_ns = clock_monotonic_ns();
    if (limit->since_ns == 0 || now_ns - limit->since_ns >= REPORT_LIMIT_SECONDS * NS_PER_S) {
        limit->since_ns = now_ns;
        limit->said = 0;
    }
    if (limit->said == REPORT_LIMIT_LINES) {
        limit->left_out++;
        return false;
    }
    limit->said++;
    return true;
}

void report_say_limited(struct report *report, struct report_limit *limit, enum report_level level,
                        const char *room, const char *format, ...)
{
    if ((int)level > atomic_load_explicit(&report->level, memory_order_relaxed) ||
        !limit_allows(limit))
        return;
    enum { COUNT_SIZE = 32 };
    char message[MESSAGE_SIZE + 4];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(message, MESSAGE_SIZE - COUNT_SIZE, format, arguments);
    va_end(arguments);
    if (size >= MESSAGE_SIZE - COUNT_SIZE)
        memcpy(message + MESSAGE_SIZE - COUNT_SIZE - 1, "...", 4);
    if (limit->left_out > 0) {
        size_t used = strlen(message);
        (void)snprintf(message + used, sizeof(message) - used, " left_out=%llu",
                       (unsigned long long)limit->left_out);
    }
    limit->left_out = 0;
    say_message(report, level, room, message);
}

/* ---- stderr ---- */

static void write_stderr(void *context, enum report_level level, const char *line, size_t size)
{
    (void)context;
    (void)level;
    check_last_words(line, size);
}

void report_init_stderr(struct report *report, enum report_level level, enum report_format format,
                        server_id server)
{
    atomic_init(&report->level, (int)level);
    report->format = format;
    report->server = server;
    report->write = write_stderr;
    report->context = NULL;
}

enum { STDERR_BUFFER_BYTES = 128 * 1024 };

/* The process's one, for its last words. Set before any other thread may end the process. */
static struct outlet *stderr_outlet;

static void write_outlet(void *context, enum report_level level, const char *line, size_t size)
{
    (void)level;
    outlet_put(context, line, size);
}

static void flush_stderr(uint64_t patience_ns)
{
    (void)outlet_flush(stderr_outlet, patience_ns);
}

static u32 say_dropped(void *context, u64 count, char *to, u32 size)
{
    const struct report *report = context;
    char message[128];
    (void)snprintf(message, sizeof(message),
                   "%llu lines dropped: nobody read standard error for a while",
                   (unsigned long long)count);
    struct line line;
    build_line(report, REPORT_WARN, "report", message, &line);
    ASSERT(line.size <= size);
    memcpy(to, line.text, line.size);
    return (u32)line.size;
}

enum error_code report_open(struct report *report, struct error *error)
{
    ASSERT(stderr_outlet == NULL);
    const struct outlet_options options = {
        .fd = STDERR_FILENO,
        .buffer_bytes = STDERR_BUFFER_BYTES,
        .name = "report",
        .say_dropped = say_dropped,
        .context = report,
    };
    enum error_code code = outlet_open(&options, &stderr_outlet, error);
    if (code != ERROR_NONE)
        return code;
    report->write = write_outlet;
    report->context = stderr_outlet;
    check_flush_with(flush_stderr);
    return ERROR_NONE;
}

u64 report_dropped(const struct report *report)
{
    bool opened = stderr_outlet != NULL && report->context == stderr_outlet;
    return opened ? outlet_dropped(stderr_outlet) : 0;
}

void report_close(struct report *report)
{
    if (stderr_outlet == NULL || report->context != stderr_outlet)
        return;
    check_flush_with(NULL);
    report->write = write_stderr;
    report->context = NULL;
    (void)outlet_close(stderr_outlet, NS_PER_S);
    stderr_outlet = NULL;
}
