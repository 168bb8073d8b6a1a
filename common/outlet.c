/* outlet.c - see outlet.h. */
#include "common/outlet.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/memory.h"
#include "common/sync.h"

struct outlet {
    struct outlet_options options;
    struct thread thread;
    void *thread_itself; /* Guarded by lock. */
    struct mutex lock;   /* a leaf */
    struct condition changed;

    /* Guarded by lock, as all below. A ring of whole lines. */
    u32 first;      /* where the oldest byte stands */
    u32 used;       /* bytes that wait, those of `writing` included */
    u64 put;        /* lines that were ever put into the ring */
    u64 written;    /* of these, how many have left it */
    u64 dropped;    /* lines lost since that was last said */
    u64 noted;      /* lines lost that a line in the ring tells of; 0: none does */
    u64 note_at;    /* the value of `put` before that line */
    u64 lost;       /* lines lost ever */
    bool refused;   /* the last write failed: what is missing is said with the next line */
    bool closing;   /* nobody puts any more */
    bool ended;     /* the thread touches nothing any more */
    bool abandoned; /* nobody waits for the thread, which frees the outlet */
    char ring[];
};

/* ---- the ring ---- */

static void ring_append_locked(struct outlet *outlet, const char *line, u32 size)
{
    u32 capacity = outlet->options.buffer_bytes;
    u32 at = (outlet->first + outlet->used) % capacity;
    u32 part = size < capacity - at ? size : capacity - at;
    memcpy(outlet->ring + at, line, part);
    memcpy(outlet->ring, line + part, size - part);
    outlet->used += size;
    outlet->put++;
}

static bool ring_has_room_locked(const struct outlet *outlet, size_t size)
{
    return size <= outlet->options.buffer_bytes - outlet->used;
}

/* Puts the line that says what is missing. It has room, and the one before has left the ring. */
static void note_dropped_locked(struct outlet *outlet)
{
    char note[OUTLET_NOTE_MAX];
    u32 size = outlet->options.say_dropped(outlet->options.context, outlet->dropped, note,
                                           OUTLET_NOTE_MAX);
    ASSERT(size <= OUTLET_NOTE_MAX && outlet->noted == 0);
    outlet->noted = outlet->dropped;
    outlet->note_at = outlet->put;
    outlet->dropped = 0;
    ring_append_locked(outlet, note, size);
}

/* The oldest lines have left the ring, and whether they went out. */
static void ring_take_locked(struct outlet *outlet, u32 size, u32 lines, bool done)
{
    bool note = outlet->noted > 0 && outlet->note_at < outlet->written + lines;
    outlet->first = (outlet->first + size) % outlet->options.buffer_bytes;
    outlet->used -= size;
    outlet->written += lines;
    outlet->refused = !done;
    if (!done) {
        /* What the note told of is missing still, and the note itself is no loss. */
        outlet->dropped += lines - note + (note ? outlet->noted : 0);
        outlet->lost += lines - note;
    }
    if (note)
        outlet->noted = 0;
}

/* Copies the oldest whole lines, as many as fit into PIPE_BUF, but at least one. */
static u32 ring_peek_locked(const struct outlet *outlet, char *chunk, u32 *lines)
{
    u32 size = 0;
    *lines = 0;
    for (u32 i = 0; i < outlet->used && (i < PIPE_BUF || size == 0); i++) {
        chunk[i] = outlet->ring[(outlet->first + i) % outlet->options.buffer_bytes];
        if (chunk[i] == '\n') {
            size = i + 1;
            ++*lines;
        }
    }
    return size;
}

/* ---- the thread ---- */

/* Blocks for as long as nobody takes it. False when it cannot be written at all. */
static bool write_whole(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t written = write(fd, data, size);
        if (written < 0 && errno == EAGAIN) {
            /* Somebody who shares the descriptor has made it non-blocking. */
            struct pollfd polled = {.fd = fd, .events = POLLOUT};
            (void)poll(&polled, 1, -1);
        } else if (written < 0 && errno != EINTR) {
            return false;
        } else if (written > 0) {
            data += written;
            size -= (size_t)written;
        }
    }
    return true;
}

/* Writes the oldest lines. The lock is held at both ends, and not in between. */
SYNC_UNCHECKED static void write_some_locked(struct outlet *outlet)
{
    char chunk[OUTLET_LINE_MAX];
    u32 lines;
    u32 size = ring_peek_locked(outlet, chunk, &lines);
    mutex_unlock(&outlet->lock);
    bool done = write_whole(outlet->options.fd, chunk, size);
    mutex_lock(&outlet->lock);
    ring_take_locked(outlet, size, lines, done);
    condition_broadcast(&outlet->changed);
}

static void outlet_free(struct outlet *outlet)
{
    if (outlet->options.owns_fd)
        (void)close(outlet->options.fd);
    condition_deinit(&outlet->changed);
    mutex_deinit(&outlet->lock);
    memory_free(outlet);
}

static void outlet_run(void *argument)
{
    struct outlet *outlet = argument;
    mutex_lock(&outlet->lock);
    outlet->thread_itself = thread_self();
    for (;;) {
        if (outlet->used > 0)
            write_some_locked(outlet);
        else if (outlet->dropped > 0 && !outlet->refused)
            note_dropped_locked(outlet);
        else if (outlet->closing)
            break;
        else
            condition_wait(&outlet->changed, &outlet->lock);
    }
    outlet->ended = true;
    bool abandoned = outlet->abandoned;
    condition_broadcast(&outlet->changed);
    mutex_unlock(&outlet->lock);
    if (abandoned)
        outlet_free(outlet);
}

/* ---- for everybody ---- */

enum error_code outlet_open(const struct outlet_options *options, struct outlet **result,
                            struct error *error)
{
    ASSERT(options->buffer_bytes >= 2 * OUTLET_LINE_MAX);
    struct outlet *outlet = memory_alloc(sizeof(*outlet) + options->buffer_bytes);
    *outlet = (struct outlet){.options = *options};
    mutex_init(&outlet->lock);
    condition_init(&outlet->changed);
    enum error_code code = thread_start(&outlet->thread, options->name, outlet_run, outlet, error);
    if (code != ERROR_NONE)
        outlet_free(outlet);
    else
        *result = outlet;
    return code;
}

void outlet_put(struct outlet *outlet, const char *line, size_t size)
{
    ASSERT(size > 0 && line[size - 1] == '\n');
    mutex_lock(&outlet->lock);
    /* What is missing is said where it is missing: before anything newer. While that has no room
     * with the line, the line is missing, too. */
    bool gap = outlet->dropped > 0;
    if (size <= OUTLET_LINE_MAX && !(gap && outlet->noted > 0) &&
        ring_has_room_locked(outlet, size + (gap ? OUTLET_NOTE_MAX : 0))) {
        if (gap)
            note_dropped_locked(outlet);
        ring_append_locked(outlet, line, (u32)size);
        condition_broadcast(&outlet->changed);
    } else {
        outlet->dropped++;
        outlet->lost++;
    }
    mutex_unlock(&outlet->lock);
}

bool outlet_flush(struct outlet *outlet, u64 patience_ns)
{
    u64 deadline_ns = clock_monotonic_ns() + patience_ns;
    bool in_time = true;
    mutex_lock(&outlet->lock);
    u64 wanted = outlet->put;
    if (outlet->thread_itself == thread_self())
        in_time = false;
    while (in_time && outlet->written < wanted)
        in_time = condition_wait_until(&outlet->changed, &outlet->lock, deadline_ns);
    mutex_unlock(&outlet->lock);
    return in_time;
}

u64 outlet_dropped(struct outlet *outlet)
{
    mutex_lock(&outlet->lock);
    u64 lost = outlet->lost;
    mutex_unlock(&outlet->lock);
    return lost;
}

u64 outlet_close(struct outlet *outlet, u64 patience_ns)
{
    u64 deadline_ns = clock_monotonic_ns() + patience_ns;
    mutex_lock(&outlet->lock);
    outlet->closing = true;
    condition_broadcast(&outlet->changed);
    while (!outlet->ended && condition_wait_until(&outlet->changed, &outlet->lock, deadline_ns))
        continue;
    bool ended = outlet->ended;
    outlet->abandoned = !ended;
    u64 lost = outlet->lost + (outlet->put - outlet->written);
    /* While the lock is held: an abandoned thread frees all of this. */
    if (!ended)
        thread_abandon(&outlet->thread);
    struct thread thread = outlet->thread;
    mutex_unlock(&outlet->lock);
    if (ended) {
        thread_join(&thread);
        outlet_free(outlet);
    }
    return lost;
}
