/* check_outlet.c - lines to descriptors that take them, take them late, or never. */
#include "common/outlet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/sync.h"
#include "test/unit/unit.h"

enum {
    LINES = 20000,
    BUFFER_BYTES = 2 * OUTLET_LINE_MAX,
    LINE_BYTES = 100,
    STORY_SECONDS_MAX = 30,
    PIPE_BYTES = 4096
};

static u32 say_dropped(void *context, u64 count, char *line, u32 size)
{
    (void)context;
    return (u32)snprintf(line, size, "dropped %llu\n", (unsigned long long)count);
}

static struct outlet *open_sink(int fd)
{
    const struct outlet_options options = {
        .fd = fd, .buffer_bytes = BUFFER_BYTES, .name = "outlet", .say_dropped = say_dropped};
    struct outlet *outlet = NULL;
    struct error error;
    ck_assert_int_eq(outlet_open(&options, &outlet, &error), ERROR_NONE);
    return outlet;
}

/* A pipe that holds less than may wait for it. */
static void small_pipe(int ends[2], int flags)
{
    ck_assert_int_eq(pipe2(ends, flags), 0);
    ck_assert_int_eq(fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES), PIPE_BYTES);
}

static void put_line(struct outlet *outlet, u32 number)
{
    char line[LINE_BYTES + 1];
    (void)snprintf(line, sizeof(line), "line %-94u\n", number);
    outlet_put(outlet, line, LINE_BYTES);
}

/* What came out of a pipe: the numbers of the lines rise, and each gap is said where it is. */
struct story {
    FILE *stream;
    u64 next;  /* the number that the next line must have */
    u64 lines; /* that came */
    u64 dropped;
};

static void read_story(struct story *story, u64 until)
{
    char text[256];
    alarm(STORY_SECONDS_MAX); /* ends a test that waits for a line that never comes */
    while (story->next < until && fgets(text, sizeof(text), story->stream) != NULL) {
        unsigned long long number;
        if (sscanf(text, "dropped %llu\n", &number) == 1) {
            story->dropped += number;
            story->next += number;
        } else {
            ck_assert_msg(sscanf(text, "line %llu ", &number) == 1, "%s", text);
            ck_assert_uint_eq(number, story->next);
            ck_assert_uint_eq(strlen(text), LINE_BYTES);
            story->next++;
            story->lines++;
        }
    }
    alarm(0);
}

START_TEST(put__never_waits_and_counts_what_is_missing)
{
    int ends[2];
    small_pipe(ends, 0);
    struct outlet *outlet = open_sink(ends[1]);
    for (u32 i = 0; i < LINES; i++)
        put_line(outlet, i); /* waits for ever, if it waits for the reader */
    ck_assert(!outlet_flush(outlet, NS_PER_MS));
    u64 dropped = outlet_dropped(outlet);
    ck_assert_uint_gt(dropped, 0);
    struct story story = {.stream = fdopen(ends[0], "r")};
    /* Somebody reads at last. All is said at the place where it is missing. */
    read_story(&story, LINES);
    ck_assert_uint_eq(story.dropped, dropped);
    ck_assert_uint_eq(story.lines, LINES - dropped);
    put_line(outlet, LINES);
    ck_assert(outlet_flush(outlet, 60 * NS_PER_S));
    read_story(&story, LINES + 1);
    ck_assert_uint_eq(outlet_close(outlet, 60 * NS_PER_S), dropped);
    (void)close(ends[1]);
    (void)fclose(story.stream);
}
END_TEST

START_TEST(put__a_line_behind_a_gap_waits_for_the_gap_to_be_said)
{
    int ends[2];
    small_pipe(ends, 0);
    struct outlet *outlet = open_sink(ends[1]);
    struct story story = {.stream = fdopen(ends[0], "r")};
    (void)setvbuf(story.stream, NULL, _IONBF, 0);
    u32 put = 0;
    for (u32 round = 0; round < 20; round++) {
        while (outlet_dropped(outlet) <= round * 10)
            put_line(outlet, put++);
        read_story(&story, story.next + 50); /* room, and not always enough */
    }
    put_line(outlet, put++);
    read_story(&story, put);
    ck_assert_uint_eq(story.next, put);
    u64 lost = outlet_close(outlet, 60 * NS_PER_S);
    ck_assert_uint_eq(story.dropped, lost);
    ck_assert_uint_eq(story.lines + lost, put);
    (void)close(ends[1]);
    (void)fclose(story.stream);
}
END_TEST

START_TEST(put__a_line_that_is_too_long_is_dropped)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    struct outlet *outlet = open_sink(ends[1]);
    static char line[OUTLET_LINE_MAX + 1];
    memset(line, 'x', sizeof(line));
    line[OUTLET_LINE_MAX] = '\n';
    outlet_put(outlet, line, sizeof(line));
    line[OUTLET_LINE_MAX - 1] = '\n';
    outlet_put(outlet, line, OUTLET_LINE_MAX);
    ck_assert_uint_eq(outlet_close(outlet, 60 * NS_PER_S), 1);
    char text[2 * OUTLET_LINE_MAX];
    ssize_t got = read(ends[0], text, sizeof(text));
    ck_assert_int_eq(got, (ssize_t)strlen("dropped 1\n") + OUTLET_LINE_MAX);
    ck_assert_int_eq(memcmp(text, "dropped 1\nxxx", 13), 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}
END_TEST

START_TEST(close__leaves_a_thread_that_is_held_up)
{
    int ends[2];
    small_pipe(ends, 0);
    struct outlet *outlet = open_sink(ends[1]);
    for (u32 i = 0; i < LINES; i++)
        put_line(outlet, i);
    u64 lost = outlet_close(outlet, 10 * NS_PER_MS);
    ck_assert_uint_gt(lost, LINES / 2);
    /* Its thread has what it needs, and ends when it can: then it has said all that it had. */
    struct story story = {.stream = fdopen(ends[0], "r")};
    read_story(&story, LINES);
    ck_assert_uint_eq(story.lines + story.dropped, LINES);
    (void)fclose(story.stream);
}
END_TEST

START_TEST(thread__a_descriptor_that_does_not_block)
{
    int ends[2];
    small_pipe(ends, O_NONBLOCK);
    ck_assert_int_eq(fcntl(ends[0], F_SETFL, 0), 0);
    struct outlet *outlet = open_sink(ends[1]);
    for (u32 i = 0; i < LINES; i++)
        put_line(outlet, i);
    struct story story = {.stream = fdopen(ends[0], "r")};
    read_story(&story, LINES);
    ck_assert_uint_eq(outlet_close(outlet, 60 * NS_PER_S), story.dropped);
    ck_assert_uint_eq(story.lines + story.dropped, LINES);
    (void)close(ends[1]);
    (void)fclose(story.stream);
}
END_TEST

START_TEST(thread__a_descriptor_that_takes_nothing)
{
    int full = open("/dev/full", O_WRONLY);
    struct outlet *outlet = open_sink(full);
    for (u32 i = 0; i < 3; i++) {
        put_line(outlet, i);
        ck_assert(outlet_flush(outlet, 60 * NS_PER_S));
    }
    ck_assert_uint_eq(outlet_close(outlet, 60 * NS_PER_S), 3);
    (void)close(full);
}
END_TEST

UNIT_MAIN("outlet", put__never_waits_and_counts_what_is_missing,
          put__a_line_behind_a_gap_waits_for_the_gap_to_be_said,
          put__a_line_that_is_too_long_is_dropped, close__leaves_a_thread_that_is_held_up,
          thread__a_descriptor_that_does_not_block, thread__a_descriptor_that_takes_nothing)
