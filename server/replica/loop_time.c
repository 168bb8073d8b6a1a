/* loop_time.c - see loop_time.h. */
#include "server/replica/loop_time.h"

#include "common/check.h"

/* Where the thread's clock is noted; in place of what is oldest, if it is not yet. */
static u32 place_of(struct loop_time *pace, const void *thread)
{
    u32 oldest = 0;
    for (u32 i = 0; i < LOOP_TIME_THREADS; i++) {
        if (pace->threads[i].thread == thread)
            return i;
        if (pace->threads[i].read_ns < pace->threads[oldest].read_ns)
            oldest = i;
    }
    pace->threads[oldest] = (struct loop_time_thread){.thread = thread};
    return oldest;
}

static void begin_part(struct loop_time *pace, const struct loop_time_clocks *clocks)
{
    pace->part_began_ns = clocks->now_ns;
    pace->part_waited_ns = clocks->waited_ns;
    pace->part_thread = place_of(pace, clocks->thread);
    struct loop_time_thread *noted = &pace->threads[pace->part_thread];
    if (clocks->now_ns - noted->read_ns < LOOP_TIME_FRESH_NS)
        return;
    noted->read_ns = clocks->now_ns;
    noted->thread_ns = clocks->thread_ns();
}

static void end_part(struct loop_time *pace, const struct loop_time_clocks *clocks)
{
    struct loop_time_thread *noted = &pace->threads[pace->part_thread];
    u64 disk_ns = clocks->waited_ns - pace->part_waited_ns;
    u64 part_ns = clocks->now_ns - pace->part_began_ns;
    ASSERT(noted->thread == clocks->thread && disk_ns <= part_ns);
    part_ns -= disk_ns;
    if (part_ns >= LOOP_TIME_SHORT_NS) {
        u64 before_ns = noted->thread_ns;
        noted->read_ns = clocks->now_ns;
        noted->thread_ns = clocks->thread_ns();
        /* A thread that has just begun may be taken for one that has just ended; then it is not
         * known. */
        if (noted->thread_ns >= before_ns)
            part_ns = u64_min(part_ns, noted->thread_ns - before_ns);
    }
    pace->worked_ns += part_ns;
}

void loop_time_begin(struct loop_time *pace, const struct loop_time_clocks *clocks)
{
    begin_part(pace, clocks);
    if (pace->began_ns != 0)
        return;
    pace->began_ns = clocks->now_ns;
    pace->waited_ns = clocks->waited_ns;
    pace->worked_ns = 0;
}

void loop_time_pause(struct loop_time *pace, const struct loop_time_clocks *clocks)
{
    end_part(pace, clocks);
}

void loop_time_end(struct loop_time *pace, const struct loop_time_clocks *clocks)
{
    if (pace->began_ns == 0)
        return;
    end_part(pace, clocks);
    u64 round_ns = clocks->now_ns - pace->began_ns;
    u64 disk_ns = clocks->waited_ns - pace->waited_ns;
    ASSERT(pace->worked_ns + disk_ns <= round_ns);
    histogram_add(&pace->rounds, round_ns);
    histogram_add(&pace->rounds_without_disk, round_ns - disk_ns);
    histogram_add(&pace->rounds_of_work, pace->worked_ns);
    pace->began_ns = 0;
}

void loop_time_reset(struct loop_time *pace)
{
    pace->rounds = (struct histogram){0};
    pace->rounds_without_disk = (struct histogram){0};
    pace->rounds_of_work = (struct histogram){0};
}
