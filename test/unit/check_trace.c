/* check_trace.c - JSON lines and the file they go to. */
#include "common/trace.h"

#include <fcntl.h>
#include <stdio.h>

#include "common/sync.h"
#include "test/unit/directory.h"
#include "test/unit/unit.h"

static void keep(void *context, const char *line, size_t size)
{
    buffer_append(context, line, size);
}

START_TEST(line__all_kinds_of_values)
{
    struct buffer got;
    buffer_init(&got);
    struct trace trace = {.write = keep, .context = &got};
    struct trace_line line;
    trace_line_init(&line);
    trace_begin(&line);
    trace_string(&line, "name", "a \"quoted\"\nname");
    trace_u64(&line, "most", UINT64_MAX);
    trace_bool(&line, "yes", true);
    trace_bool(&line, "no", false);
    trace_text(&line, "bytes", "\xff\0z", 3);
    trace_object_begin(&line, "state");
    trace_u64(&line, "term", 2);
    trace_object_begin(&line, "empty");
    trace_object_end(&line);
    trace_object_end(&line);
    trace_array_begin(&line, "voters");
    trace_u64(&line, NULL, 1);
    trace_string(&line, NULL, "two");
    trace_array_begin(&line, NULL);
    trace_array_end(&line);
    trace_array_end(&line);
    trace_end(&line, &trace);
    trace_begin(&line);
    trace_end(&line, &trace);
    trace_line_deinit(&line);
    buffer_append(&got, "", 1);
    ck_assert_str_eq((const char *)got.data,
                     "{\"name\":\"a \\\"quoted\\\"\\nname\",\"most\":18446744073709551615,"
                     "\"yes\":true,\"no\":false,\"bytes\":\"\\ufffd\\u0000z\","
                     "\"state\":{\"term\":2,\"empty\":{}},\"voters\":[1,\"two\",[]]}\n{}\n");
    buffer_deinit(&got);
}
END_TEST

START_TEST(line__begins_anew_after_one_was_left)
{
    struct buffer got;
    buffer_init(&got);
    struct trace trace = {.write = keep, .context = &got};
    struct trace_line line;
    trace_line_init(&line);
    trace_begin(&line);
    trace_array_begin(&line, "unfinished");
    trace_begin(&line);
    trace_u64(&line, "n", 1);
    trace_end(&line, &trace);
    ck_assert_uint_eq(got.size, 8);
    ck_assert_mem_eq(got.data, "{\"n\":1}\n", 8);
    trace_line_deinit(&line);
    buffer_deinit(&got);
}
END_TEST

enum { WRITERS = 4, LINES = 500 };

static void write_lines(void *argument)
{
    struct trace_line line;
    trace_line_init(&line);
    for (u64 i = 0; i < LINES; i++) {
        trace_begin(&line);
        trace_u64(&line, "n", i);
        trace_string(&line, "text", "a line of some length, so that mixed ones would show");
        trace_end(&line, argument);
    }
    trace_line_deinit(&line);
}

START_TEST(file__lines_of_many_threads_stay_whole)
{
    char *root = directory_make();
    char path[1100];
    snprintf(path, sizeof(path), "%s/trace", root);
    struct trace_file file;
    struct error error;
    ck_assert_str_eq(error_word(trace_file_open(&file, path, &error)), "ok");
    struct thread threads[WRITERS];
    for (int i = 0; i < WRITERS; i++)
        ck_assert_int_eq(thread_start(&threads[i], "writer", write_lines, &file.trace, &error),
                         ERROR_NONE);
    for (int i = 0; i < WRITERS; i++)
        thread_join(&threads[i]);
    ck_assert_uint_eq(trace_file_close(&file), 0);

    FILE *stream = fopen(path, "r");
    ck_assert_ptr_nonnull(stream);
    char text[256];
    int lines = 0;
    while (fgets(text, sizeof(text), stream) != NULL) {
        unsigned number;
        ck_assert_int_eq(sscanf(text, "{\"n\":%u,\"text\":\"a line of", &number), 1);
        ck_assert_str_eq(text + strlen(text) - 8, " show\"}\n");
        lines++;
    }
    ck_assert_int_eq(lines, WRITERS * LINES);
    fclose(stream);
    directory_remove(root);
}
END_TEST

START_TEST(file__what_cannot_be_opened_or_written)
{
    struct trace_file file;
    struct error error;
    ck_assert_int_eq(trace_file_open(&file, "/nowhere/at/all", &error), ERROR_IO);
    ck_assert_str_eq(error.text, "open trace /nowhere/at/all: No such file or directory");
    ck_assert_int_eq(trace_file_open(&file, "/dev/full", &error), ERROR_NONE);
    struct trace_line line;
    trace_line_init(&line);
    trace_begin(&line);
    trace_end(&line, &file.trace);
    ck_assert_uint_eq(trace_file_close(&file), 1);
    trace_line_deinit(&line);
}
END_TEST

UNIT_MAIN("trace", line__all_kinds_of_values, line__begins_anew_after_one_was_left,
          file__lines_of_many_threads_stay_whole, file__what_cannot_be_opened_or_written)
