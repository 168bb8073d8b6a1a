/* differential_sweep.c - many seeds, and the shortest schedule that shows a difference.
 *
 * Each schedule is carried out in a child process, since a design may break an invariant and abort.
 * What the child draws and finds lies in memory that it shares with its parent, so that a schedule
 * that ends its process is known as far as it went. */
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/sim/differential.h"
#include "test/sim/sweep.h"
#include "test/sim/world.h"

enum { TRIALS_MAX = 2000 };

static const u64 PROGRESS_NS = 10 * NS_PER_S;

struct shared {
    struct differ_schedule schedule;
    struct differ_result result;
};

struct trial {
    struct shared *shared;
    struct differ_options options;
    u32 count;
};

/* Runs what is in the shared memory. Returns whether it agreed. */
static bool run_in_child(struct trial *trial, bool quiet)
{
    int status = 0;
    trial->shared->result = (struct differ_result){0};
    (void)fflush(NULL);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        int nowhere = quiet ? open("/dev/null", O_WRONLY) : -1;
        if (nowhere >= 0)
            (void)dup2(nowhere, STDERR_FILENO);
        differ_run(&trial->options, &trial->shared->schedule, &trial->shared->result);
        (void)fflush(NULL);
        _exit(0);
    }
    ASSERT(waitpid(pid, &status, 0) == pid);
    if (!trial->shared->result.ended) {
        trial->shared->result.agreed = false;
        (void)snprintf(trial->shared->result.text, sizeof(trial->shared->result.text),
                       "the process ended with signal %d: a broken invariant, see above\n",
                       WIFSIGNALED(status) ? WTERMSIG(status) : 0);
    }
    return trial->shared->result.agreed;
}

/* ---- shrinking ---- */

/* The schedule without `count` events from `first` on. */
static bool agrees_without(struct trial *trial, const struct differ_schedule *whole, u32 first,
                           u32 count)
{
    struct differ_schedule *schedule = &trial->shared->schedule;
    if (trial->count++ >= TRIALS_MAX)
        return true;
    memcpy(schedule->events, whole->events, first * sizeof(whole->events[0]));
    memcpy(schedule->events + first, whole->events + first + count,
           (whole->count - first - count) * sizeof(whole->events[0]));
    schedule->count = whole->count - count;
    return run_in_child(trial, true);
}

/* One pass over all groups of this size. Returns whether any could go. */
static bool leave_out(struct trial *trial, struct differ_schedule *best, u32 group)
{
    bool any = false;
    u32 first = best->count;
    while (first > 0) {
        u32 size = group < first ? group : first;
        first -= size;
        if (size == best->count || agrees_without(trial, best, first, size))
            continue;
        *best = trial->shared->schedule;
        any = true;
    }
    return any;
}

/* Makes numbers smaller: shorter waits, the oldest message. */
static void simplify(struct trial *trial, struct differ_schedule *best)
{
    for (u32 i = 0; i < best->count; i++) {
        struct differ_event *event = &best->events[i];
        u32 at = event->kind == DIFFER_WAIT ? 0 : 2;
        bool worth = event->kind == DIFFER_DELIVER || event->kind == DIFFER_COPY ||
                     event->kind == DIFFER_DROP || event->kind == DIFFER_WAIT;
        while (worth && event->numbers[at] > 0 && trial->count++ < TRIALS_MAX) {
            u32 before = event->numbers[at];
            event->numbers[at] = before / 2;
            trial->shared->schedule = *best;
            if (!run_in_child(trial, true))
                continue;
            event->numbers[at] = before;
            break;
        }
    }
}

/* One wait for two. */
static void join_waits(struct trial *trial, struct differ_schedule *best)
{
    for (u32 i = best->count; i > 1; i--) {
        const struct differ_event *first = &best->events[i - 2];
        const struct differ_event *second = &best->events[i - 1];
        if (first->kind != DIFFER_WAIT || second->kind != DIFFER_WAIT)
            continue;
        struct differ_schedule joined = *best;
        joined.events[i - 2].numbers[0] += second->numbers[0];
        if (!agrees_without(trial, &joined, i - 1, 1))
            *best = trial->shared->schedule;
    }
}

static void shrink(struct trial *trial, struct differ_schedule *best)
{
    bool any = true;
    while (any && trial->count < TRIALS_MAX) {
        any = false;
        for (u32 group = best->count / 2; group > 0; group /= 2)
            any = leave_out(trial, best, group) || any;
    }
    join_waits(trial, best);
    simplify(trial, best);
}

/* ---- telling ---- */

static void tell_replay(const struct differ_sweep *sweep, const struct trial *trial)
{
    (void)fprintf(sweep->to,
                  "replay: raftsim differ --servers %u --pile %u --seed %" PRIu64
                  " --story --schedule \"",
                  trial->options.servers, trial->options.pile_max, trial->options.seed);
    differ_print(&trial->shared->schedule, sweep->to);
    (void)fprintf(sweep->to, "\"\n");
}

static void tell_difference(const struct differ_sweep *sweep, struct trial *trial)
{
    struct differ_schedule best = trial->shared->schedule;
    u32 before = trial->shared->result.events;
    best.count = before < best.count ? before + !trial->shared->result.ended : before;
    trial->options.events = 0;
    trial->options.story = NULL;
    (void)fprintf(sweep->to, "seed %" PRIu64 " DIVERGED at event %u\n", trial->options.seed,
                  before);
    if (sweep->shrink && sweep->schedule == NULL)
        shrink(trial, &best);
    trial->shared->schedule = best;
    trial->options.story = sweep->to;
    (void)fprintf(sweep->to, "%u events show it (messages and states are those of per-state):\n",
                  best.count);
    (void)run_in_child(trial, false);
    if (!trial->shared->result.ended)
        (void)fputs(trial->shared->result.text, sweep->to);
    tell_replay(sweep, trial);
}

/* ---- the seeds ---- */

static void add(struct differ_result *total, const struct differ_result *result)
{
    total->events += result->events;
    total->messages += result->messages;
    total->answers += result->answers;
    total->elections += result->elections;
    total->committed += result->committed;
    total->reordered += result->reordered;
}

/* For whoever waits: a line every ten seconds. */
static void show_progress(const struct differ_sweep *sweep, u64 schedules, u64 *shown_ns)
{
    u64 now = sweep_now_ns();
    if (now - *shown_ns < PROGRESS_NS)
        return;
    *shown_ns = now;
    (void)fprintf(stderr, "differ: %" PRIu64 " of %" PRIu64 " schedules, all agree so far\n",
                  schedules, sweep->seed_last - sweep->seed_first + 1);
}

int differ_sweep(const struct differ_sweep *sweep)
{
    struct differ_result total = {0};
    struct error error = {0};
    struct shared *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT(shared != MAP_FAILED);
    struct trial trial = {.shared = shared, .options = sweep->options};
    u64 last = sweep->schedule != NULL ? sweep->seed_first : sweep->seed_last;
    u64 schedules = 0;
    u64 shown_ns = sweep_now_ns();
    bool agreed = true;
    if (sweep->schedule != NULL && strcmp(sweep->schedule, "help") == 0) {
        differ_print_events(sweep->to);
        (void)munmap(shared, sizeof(*shared));
        return 0;
    }
    if (sweep->schedule != NULL &&
        differ_parse(sweep->schedule, &shared->schedule, &error) != ERROR_NONE) {
        (void)fprintf(stderr, "raftsim: the schedule: %s\n", error.text);
        (void)munmap(shared, sizeof(*shared));
        return 64;
    }
    for (u64 seed = sweep->seed_first; agreed && seed <= last; seed++) {
        trial.options.seed = seed;
        agreed = run_in_child(&trial, false);
        schedules++;
        add(&total, &shared->result);
        if (agreed)
            show_progress(sweep, schedules, &shown_ns);
        else
            tell_difference(sweep, &trial);
        if (seed == UINT64_MAX)
            break;
    }
    (void)fprintf(sweep->to,
                  "differ: %" PRIu64 " schedules, %" PRIu64 " events, %" PRIu64
                  " messages, %" PRIu64 " answers, %" PRIu64 " elections won, %" PRIu64
                  " entries committed; %s\n",
                  schedules, (u64)total.events, total.messages, total.answers, total.elections,
                  total.committed, agreed ? "all designs agree" : "the designs DIFFER");
    (void)munmap(shared, sizeof(*shared));
    return agreed ? 0 : 1;
}
