/* sweep.c - see sweep.h: seeds in child processes. */
#include "test/sim/sweep.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test/sim/scenario_play.h"
#include "test/sim/world.h"

/* What a child tells its parent: it begins a seed (done false), or has ended it. */
struct told {
    u64 seed;
    bool done;
    bool held;
    u32 faults;
    u64 events;
    u64 virtual_ns;
    u64 operations;
};

struct job {
    pid_t pid;
    int pipe;
    u64 seed; /* under way; valid while busy */
    bool busy;
    bool open;
};

/* ---- being interrupted ---- */

static volatile sig_atomic_t interrupted;

static void interrupt(int number)
{
    (void)number;
    interrupted = 1;
}

bool sweep_is_interrupted(void)
{
    return interrupted != 0;
}

static const int ending_signals[] = {SIGINT, SIGTERM};

static void watch_signals(struct sigaction before[])
{
    struct sigaction action = {.sa_handler = interrupt, .sa_flags = (int)SA_RESETHAND};
    (void)sigemptyset(&action.sa_mask);
    interrupted = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(ending_signals); i++) {
        (void)sigaction(ending_signals[i], NULL, &before[i]);
        if (before[i].sa_handler != SIG_IGN)
            (void)sigaction(ending_signals[i], &action, NULL);
    }
}

static void forget_signals(const struct sigaction before[])
{
    for (size_t i = 0; i < ARRAY_LENGTH(ending_signals); i++)
        (void)sigaction(ending_signals[i], &before[i], NULL);
}

u64 sweep_now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (u64)now.tv_sec * NS_PER_S + (u64)now.tv_nsec;
}

/* ---- the child ---- */

static void tell(int pipe, const struct told *told)
{
    if (write(pipe, told, sizeof(*told)) != (ssize_t)sizeof(*told))
        _exit(71); /* the parent has gone */
}

static _Noreturn void work(const struct sweep_options *options, u32 number, int pipe)
{
    for (u64 seed = options->seed_first + number; seed <= options->seed_last;
         seed += options->jobs) {
        struct told told = {.seed = seed};
        tell(pipe, &told);
        struct chaos_options chaos = options->chaos;
        chaos.seed = seed;
        chaos.complaints = NULL;
        struct chaos_result result;
        chaos_run(&chaos, &result);
        told.done = true;
        told.held = result.held;
        told.faults = result.faults;
        told.events = result.events;
        told.virtual_ns = result.virtual_ns;
        told.operations = result.operations;
        tell(pipe, &told);
        if (seed > UINT64_MAX - options->jobs)
            break;
    }
    _exit(0);
}

static void job_start(const struct sweep_options *options, struct job *job, u32 number)
{
    int ends[2];
    ASSERT(pipe(ends) == 0);
    (void)fflush(NULL);
    job->pid = fork();
    ASSERT(job->pid >= 0);
    if (job->pid == 0) {
        (void)close(ends[0]);
        (void)signal(SIGINT, SIG_IGN); /* a terminal tells all of them; the parent decides */
        work(options, number, ends[1]);
    }
    (void)close(ends[1]);
    job->pipe = ends[0];
    job->open = true;
}

/* ---- failures ---- */

void sweep_replay_line(const struct chaos_options *chaos, char *line, size_t size)
{
    int used = snprintf(line, size,
                        "raftsim replay --design %s --servers %u --seconds %" PRIu64
                        " --load %" PRIu64 " --seed %" PRIu64,
                        play_design_word(chaos->design), chaos->servers,
                        chaos->duration_ns / NS_PER_S, chaos->load_per_second, chaos->seed);
    const char *before = " --without ";
    for (u32 i = 0; i < chaos->left_out_count && used < (int)size; i++) {
        if (!chaos->left_out[i])
            continue;
        u32 last = i;
        while (last + 1 < chaos->left_out_count && chaos->left_out[last + 1])
            last++;
        used += last > i ? snprintf(line + used, size - (size_t)used, "%s%u-%u", before, i, last)
                         : snprintf(line + used, size - (size_t)used, "%s%u", before, i);
        before = ",";
        i = last;
    }
}

/* Runs it again for people, in a child, since it may abort. */
static void show(const struct chaos_options *chaos)
{
    char line[4096];
    sweep_replay_line(chaos, line, sizeof(line));
    (void)fflush(NULL);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        struct chaos_options told = *chaos;
        struct chaos_result result;
        told.complaints = stdout;
        told.replay = line;
        chaos_run(&told, &result);
        (void)fflush(NULL);
        _exit(0);
    }
    int status = 0;
    ASSERT(waitpid(pid, &status, 0) == pid);
    if (!WIFEXITED(status))
        (void)printf("FAILED  broken invariant (see above; the process ended with signal %d)\n"
                     "replay: %s\n",
                     WTERMSIG(status), line);
}

static void failed(const struct sweep_options *options, struct sweep_result *result, u64 seed,
                   u32 faults)
{
    result->failures++;
    if (result->failures > 1) {
        (void)printf("seed %" PRIu64 " FAILED\n", seed);
        return;
    }
    result->first_failed = seed;
    if (options->terminal)
        (void)fprintf(stderr, "\n");
    (void)printf("seed %" PRIu64 " FAILED\n", seed);
    if (options->shrink && options->progress_ns != 0)
        (void)fprintf(stderr, "looking for the smallest form of it, which may take minutes\n");
    struct chaos_options chaos = options->chaos;
    chaos.seed = seed;
    bool *left_out = sim_alloc_zero(faults, sizeof(*left_out));
    if (options->shrink)
        sweep_shrink(&chaos, left_out, faults);
    show(&chaos);
    sim_free(left_out);
}

/* The plan's length, for a run that could not tell it. */
static u32 plan_length(const struct chaos_options *chaos, u64 seed)
{
    struct chaos_options copy = *chaos;
    copy.seed = seed;
    return chaos_fault_count(&copy);
}

/* ---- the parent ---- */

static void job_ended(const struct sweep_options *options, struct job *job, u32 number,
                      struct sweep_result *result)
{
    int status = 0;
    (void)close(job->pipe);
    job->open = false;
    ASSERT(waitpid(job->pid, &status, 0) == job->pid);
    if (!job->busy)
        return;
    /* It died in the middle of a seed: that one has failed, and the others are still to be run. */
    job->busy = false;
    result->seeds++;
    failed(options, result, job->seed, plan_length(&options->chaos, job->seed));
    if (!options->keep_going || job->seed + options->jobs > options->seed_last)
        return;
    struct sweep_options rest = *options;
    rest.seed_first = job->seed + options->jobs - number;
    job_start(&rest, job, number);
}

static void take(const struct sweep_options *options, struct job *job, const struct told *told,
                 struct sweep_result *result)
{
    job->seed = told->seed;
    job->busy = !told->done;
    if (!told->done)
        return;
    result->seeds++;
    result->events += told->events;
    result->virtual_ns += told->virtual_ns;
    result->operations += told->operations;
    if (!told->held)
        failed(options, result, told->seed, told->faults);
}

static void show_progress(const struct sweep_options *options, const struct sweep_result *result,
                          u64 began, u64 *shown)
{
    u64 now = sweep_now_ns();
    if (options->progress_ns == 0 || now - *shown < options->progress_ns)
        return;
    *shown = now;
    u64 ms = u64_max(1, (now - began) / NS_PER_MS);
    (void)fprintf(stderr,
                  "%s%" PRIu64 " of %" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64
                  " virtual s, %" PRIu64 " events/s%s",
                  options->terminal ? "\r" : "", result->seeds,
                  options->seed_last - options->seed_first + 1, result->failures,
                  result->virtual_ns / NS_PER_S, result->events * 1000 / ms,
                  options->terminal ? " " : "\n");
}

/* Reads one report of one of the jobs. Returns false when all have ended. */
static bool listen_once(const struct sweep_options *options, struct job *jobs,
                        struct sweep_result *result)
{
    struct pollfd *polls = sim_alloc_zero(options->jobs, sizeof(*polls));
    bool any = false;
    for (u32 i = 0; i < options->jobs; i++) {
        polls[i] = (struct pollfd){.fd = jobs[i].open ? jobs[i].pipe : -1, .events = POLLIN};
        any = any || jobs[i].open;
    }
    if (any && poll(polls, options->jobs, 500) > 0) {
        for (u32 i = 0; i < options->jobs; i++) {
            struct told told;
            if (!jobs[i].open || polls[i].revents == 0)
                continue;
            ssize_t got = read(jobs[i].pipe, &told, sizeof(told));
            if (got == (ssize_t)sizeof(told))
                take(options, &jobs[i], &told, result);
            else if (got == 0 || errno != EINTR)
                job_ended(options, &jobs[i], i, result);
        }
    }
    sim_free(polls);
    return any;
}

void sweep_run(const struct sweep_options *options, struct sweep_result *result)
{
    *result = (struct sweep_result){0};
    struct sigaction before[ARRAY_LENGTH(ending_signals)];
    watch_signals(before);
    struct job *jobs = sim_alloc_zero(options->jobs, sizeof(*jobs));
    u64 began = sweep_now_ns();
    u64 shown = began;
    for (u32 i = 0; i < options->jobs; i++)
        job_start(options, &jobs[i], i);
    while (!sweep_is_interrupted() && listen_once(options, jobs, result)) {
        show_progress(options, result, began, &shown);
        if (result->failures > 0 && !options->keep_going)
            break;
    }
    for (u32 i = 0; i < options->jobs; i++) {
        if (!jobs[i].open)
            continue;
        (void)close(jobs[i].pipe);
        (void)kill(jobs[i].pid, SIGKILL); /* nobody wants to hear what it would tell next */
        ASSERT(waitpid(jobs[i].pid, NULL, 0) == jobs[i].pid);
    }
    if (options->terminal)
        (void)fprintf(stderr, "\n");
    sim_free(jobs);
    result->interrupted = sweep_is_interrupted();
    forget_signals(before);
    result->wall_ns = sweep_now_ns() - began;
}
