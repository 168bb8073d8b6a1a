/* trace.c - JSON lines. */
#include "common/trace.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "common/text.h"

void trace_line_init(struct trace_line *line)
{
    buffer_init(&line->text);
    line->depth = 0;
    line->first = true;
}

void trace_line_deinit(struct trace_line *line)
{
    buffer_deinit(&line->text);
}

/* ---- building ---- */

static void add_quoted(struct trace_line *line, const void *value, size_t size)
{
    u8 *to = buffer_reserve(&line->text, TEXT_ESCAPE_FACTOR * size + 2);
    *to = '"';
    size_t escaped = text_escape((char *)to + 1, value, size);
    to[escaped + 1] = '"';
    line->text.size += escaped + 2;
}

/* What stands in front of every value: the comma, if it is not the first, and the key. */
static void add_key(struct trace_line *line, const char *key)
{
    ASSERT(line->depth > 0);
    if (!line->first)
        buffer_append_string(&line->text, ",");
    line->first = false;
    if (key != NULL) {
        add_quoted(line, key, strlen(key));
        buffer_append_string(&line->text, ":");
    }
}

static void open_level(struct trace_line *line, const char *bracket)
{
    buffer_append_string(&line->text, bracket);
    line->depth++;
    line->first = true;
}

static void close_level(struct trace_line *line, const char *bracket)
{
    ASSERT(line->depth > 0);
    buffer_append_string(&line->text, bracket);
    line->depth--;
    line->first = false;
}

void trace_begin(struct trace_line *line)
{
    buffer_clear(&line->text);
    line->depth = 0;
    open_level(line, "{");
}

void trace_end(struct trace_line *line, struct trace *trace)
{
    close_level(line, "}\n");
    ASSERT(line->depth == 0);
    trace->write(trace->context, (const char *)line->text.data, line->text.size);
}

void trace_u64(struct trace_line *line, const char *key, u64 value)
{
    add_key(line, key);
    buffer_append_format(&line->text, "%llu", (unsigned long long)value);
}

void trace_bool(struct trace_line *line, const char *key, bool value)
{
    add_key(line, key);
    buffer_append_string(&line->text, value ? "true" : "false");
}

void trace_string(struct trace_line *line, const char *key, const char *value)
{
    trace_text(line, key, value, strlen(value));
}

void trace_text(struct trace_line *line, const char *key, const void *value, size_t size)
{
    add_key(line, key);
    add_quoted(line, value, size);
}

void trace_object_begin(struct trace_line *line, const char *key)
{
    add_key(line, key);
    open_level(line, "{");
}

void trace_object_end(struct trace_line *line)
{
    close_level(line, "}");
    ASSERT(line->depth > 0); /* the line's own object is closed by trace_end */
}

void trace_array_begin(struct trace_line *line, const char *key)
{
    add_key(line, key);
    open_level(line, "[");
}

void trace_array_end(struct trace_line *line)
{
    close_level(line, "]");
    ASSERT(line->depth > 0);
}

/* ---- a trace in a file ---- */

enum { FILE_BUFFER_BYTES = 4 * 1024 * 1024 };

static void write_file(void *context, const char *line, size_t size)
{
    struct trace_file *file = context;
    outlet_put(file->outlet, line, size);
}

static u64 dropped_by_file(void *context)
{
    const struct trace_file *file = context;
    return outlet_dropped(file->outlet);
}

static u32 say_dropped(void *context, u64 count, char *line, u32 size)
{
    (void)context;
    return (u32)snprintf(line, size, "{\"name\":\"Dropped\",\"lines\":%llu}\n",
                         (unsigned long long)count);
}

enum error_code trace_file_open(struct trace_file *file, const char *path, struct error *error)
{
    /* Non-blocking, or a named pipe would be waited for; the flag is nobody else's. */
    int fd;
    do
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    while (fd < 0 && errno == EINTR);
    if (fd < 0 && errno == ENXIO)
        return error_set(error, ERROR_IO, "open trace %s: a pipe that nobody reads", path);
    if (fd < 0)
        return error_set_errno(error, ERROR_IO, errno, "open trace %s", path);
    const struct outlet_options options = {
        .fd = fd,
        .owns_fd = true,
        .buffer_bytes = FILE_BUFFER_BYTES,
        .name = "trace",
        .say_dropped = say_dropped,
    };
    enum error_code code = outlet_open(&options, &file->outlet, error);
    if (code != ERROR_NONE)
        return code;
    file->trace.context = file;
    file->trace.write = write_file;
    file->trace.dropped = dropped_by_file;
    return ERROR_NONE;
}

u64 trace_file_close(struct trace_file *file)
{
    u64 lost = outlet_close(file->outlet, NS_PER_S);
    file->trace.write = NULL;
    return lost;
}
