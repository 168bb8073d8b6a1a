/* shrink.c - the smallest form of a failure that can be found in reasonable time.
 *
 * Any failure counts, not only the same one: what is left is a bug in either case. Each trial runs
 * in a child, since it may abort. */
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/sim/sweep.h"
#include "test/sim/world.h"

enum { TRIALS_MAX = 400 };

struct shrinking {
    struct chaos_options *chaos;
    u32 trials;
};

/* What a trial tells: did it fail, and when. */
struct verdict {
    bool fails;
    u64 at_ns; /* 0: it aborted, nobody knows */
};

static struct verdict attempt(struct shrinking *shrinking, const struct chaos_options *chaos)
{
    struct verdict verdict = {0};
    int ends[2];
    if (shrinking->trials++ >= TRIALS_MAX || sweep_is_interrupted())
        return verdict;
    ASSERT(pipe(ends) == 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    ASSERT(pid >= 0);
    if (pid == 0) {
        struct chaos_options quiet = *chaos;
        struct chaos_result result;
        int nowhere = open("/dev/null", O_WRONLY);
        if (nowhere >= 0)
            (void)dup2(nowhere, STDERR_FILENO);
        quiet.complaints = NULL;
        chaos_run(&quiet, &result);
        verdict = (struct verdict){!result.held, result.failure.time_ns};
        _exit(write(ends[1], &verdict, sizeof(verdict)) == (ssize_t)sizeof(verdict) ? 0 : 71);
    }
    (void)close(ends[1]);
    if (read(ends[0], &verdict, sizeof(verdict)) != (ssize_t)sizeof(verdict))
        verdict = (struct verdict){.fails = true};
    (void)close(ends[0]);
    ASSERT(waitpid(pid, NULL, 0) == pid);
    return verdict;
}

static void shorter(struct shrinking *shrinking)
{
    struct verdict verdict = attempt(shrinking, shrinking->chaos);
    while (verdict.fails && verdict.at_ns != 0) {
        u64 seconds = verdict.at_ns / NS_PER_S + 1;
        struct chaos_options trial = *shrinking->chaos;
        if (seconds * NS_PER_S >= trial.duration_ns)
            return;
        trial.duration_ns = seconds * NS_PER_S;
        verdict = attempt(shrinking, &trial);
        if (verdict.fails)
            *shrinking->chaos = trial;
    }
}

/* Leaves out ever smaller groups of faults, as long as it fails without them. */
static void fewer_faults(struct shrinking *shrinking, bool *left_out, u32 count)
{
    bool *trial_out = sim_alloc_zero(count, sizeof(*trial_out));
    for (u32 group = count; group > 0; group /= 2) {
        for (u32 first = 0; first < count; first += group) {
            bool any = false;
            memcpy(trial_out, left_out, count * sizeof(*left_out));
            for (u32 i = first; i < count && i < first + group; i++) {
                any = any || !trial_out[i];
                trial_out[i] = true;
            }
            struct chaos_options trial = *shrinking->chaos;
            trial.left_out = trial_out;
            trial.left_out_count = count;
            if (any && attempt(shrinking, &trial).fails)
                memcpy(left_out, trial_out, count * sizeof(*left_out));
        }
    }
    sim_free(trial_out);
    shrinking->chaos->left_out = left_out;
    shrinking->chaos->left_out_count = count;
}

static void fewer_servers(struct shrinking *shrinking)
{
    for (u32 servers = 3; servers < shrinking->chaos->servers; servers++) {
        struct chaos_options trial = *shrinking->chaos;
        trial.servers = servers;
        if (!attempt(shrinking, &trial).fails)
            continue;
        *shrinking->chaos = trial;
        return;
    }
}

void sweep_shrink(struct chaos_options *chaos, bool *left_out, u32 count)
{
    struct shrinking shrinking = {.chaos = chaos};
    shorter(&shrinking);
    fewer_faults(&shrinking, left_out, count);
    fewer_servers(&shrinking);
    fewer_faults(&shrinking, left_out, count);
    shorter(&shrinking);
}
