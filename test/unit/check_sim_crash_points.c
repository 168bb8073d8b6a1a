/* check_sim_crash_points.c - the power goes at every write, sync, rename, removal and directory
 * sync of the paths that snapshots and damage add, one after the other, in each design: taking one
 * and removing what it stands for, receiving and installing one, beginning with one that has
 * overtaken the log, and cutting and repairing a damaged log. And the process is killed at each of
 * them, started again, and the power goes a while later: what a process finds in the page cache may
 * not be on the disk.
 *
 * Each play has all standing checks on, and must make progress afterwards. The points of a path are
 * counted by playing it: the first play in which nothing happened at the nth point is the last one,
 * and it must have done what the path is about (its proof). How many there are depends on timing,
 * and on the segments that a job makes meanwhile; a path that has much fewer than it is known to
 * need fails. The counts are printed; test/scenarios/README.md has a table of them. */
#include "test/unit/unit.h"

#include <stdlib.h>

#include "test/sim/scenario_play.h"

enum { POINTS_MAX = 400 };

static const enum cluster_design designs[] = {CLUSTER_PER_STATE, CLUSTER_DISPATCH, CLUSTER_STEP};

/* What befalls the victim at its nth change, and afterwards. */
enum blow { POWER_CUT, KILL_THEN_POWER_CUT, BLOW_END };
static const char *const blow_words[] = {"crash-at-write", "kill-at-write"};

struct path {
    const char *name;
    u32 victim;
    u32 points_min;     /* in each design */
    const char *before; /* statements before anything may happen */
    const char *during;
    const char *proof; /* expectations of a play in which nothing happened */
};

static void note_blow(void *context, const char *line, size_t size)
{
    bool *struck = context;
    char text[512];
    (void)snprintf(text, sizeof(text), "%.*s", (int)size, line);
    *struck |= strstr(text, "AtWrite") != NULL;
}

/* Returns whether anything happened to the victim. */
static bool play_text(const char *text, enum cluster_design design)
{
    struct scenario *scenario;
    struct error error = {0};
    bool struck = false;
    enum error_code code = scenario_parse(text, strlen(text), "enumerated.scn", &scenario, &error);
    ck_assert_msg(code == ERROR_NONE, "%s\n%s", error.text, text);
    struct play_options options = {
        .design = design,
        .seed = scenario->seed_first,
        .story = note_blow,
        .story_context = &struck,
        .complaints = stderr,
        .replay = "raftsim play enumerated.scn, with the text below",
    };
    struct play_result result;
    code = scenario_play(scenario, &options, &result, &error);
    ck_assert_msg(code == ERROR_NONE, "%s\n%s", error.text, text);
    ck_assert_msg(result.held, "%s: %s\n%s", result.failure.property, result.failure.text, text);
    scenario_destroy(scenario);
    return struck;
}

/* The seed belongs to the path, so that all its plays are the same up to the blow. */
static bool play_point(const struct path *path, enum cluster_design design, enum blow blow, u32 nth,
                       bool proven)
{
    static const char head[] = "cluster 3\nseed %u\noption segment-bytes 64KiB\n"
                               "option log-memory-bytes 1KiB\noption trailing-entries 2\n"
                               "%s%s %u %u\n%s%s%s %u off\nheal\n";
    static const char power_cut[] = "crash %u\nrestart %u\nrun 500ms\n";
    static const char kill[] = "restart %u\nrun 500ms\ncrash %u\nrestart %u\nrun 500ms\n";
    static const char tail[] = "until expect leader one within 10s\nset k after\nexpect answer OK\n"
                               "until expect agree within 10s\nexpect value k after on all\n"
                               "expect linearizable\n";
    char text[4096];
    u32 victim = path->victim;
    int size =
        snprintf(text, sizeof(text), head, victim + 40, path->before, blow_words[blow], victim, nth,
                 path->during, proven ? path->proof : "", blow_words[blow], victim);
    size += blow == POWER_CUT
                ? snprintf(text + size, sizeof(text) - (size_t)size, power_cut, victim, victim)
                : snprintf(text + size, sizeof(text) - (size_t)size, kill, victim, victim, victim);
    size += snprintf(text + size, sizeof(text) - (size_t)size, "%s", tail);
    ck_assert_int_lt(size, (int)sizeof(text));
    return play_text(text, design);
}

static void at_every_change(const struct path *path)
{
    for (enum blow blow = POWER_CUT; blow < BLOW_END; blow++) {
        for (size_t i = 0; i < ARRAY_LENGTH(designs); i++) {
            u32 nth = 1;
            while (play_point(path, designs[i], blow, nth, false))
                ck_assert_uint_lt(nth++, POINTS_MAX);
            ck_assert(!play_point(path, designs[i], blow, nth, true));
            printf("%-40s server %u  %-14s  %-9s %3u points\n", path->name, path->victim,
                   blow_words[blow], play_design_word(designs[i]), nth - 1);
            ck_assert_uint_ge(nth - 1, path->points_min);
        }
    }
}

/* Enough to fill some segments. */
#define WORK "repeat 12 {\nasync A set k \"x\"*9000\nasync B incr n\nrun 15ms\n}\n"
/* Three segments and a spare: some of it was removed, or they would be more. */
#define COMPACTED(S) "expect log-bytes on " S " <= 196608\n"

START_TEST(at_every_change__while_a_snapshot_is_taken)
{
    static const char before[] =
        "elect 1\nrun 100ms\n" WORK WORK "run 100ms\nexpect log-bytes on 1,3 >= 200000\n";
    at_every_change(&(struct path){"taken by the leader, log compacted", 1, 10, before,
                                   "snapshot 1\nrun 300ms\nset k more\n",
                                   "expect snapshot 1 >= 40\n" COMPACTED("1")});
    at_every_change(&(struct path){"taken by a follower, log compacted", 3, 10, before,
                                   "snapshot 3\nrun 300ms\nset k more\nrun 100ms\n",
                                   "expect snapshot 3 >= 40\n" COMPACTED("3")});
}
END_TEST

START_TEST(at_every_change__while_snapshots_follow_one_another)
{
    at_every_change(&(struct path){"two, with writes between", 1, 60, "elect 1\nrun 100ms\n",
                                   "repeat 2 {\n" WORK "snapshot all\n}\nrun 300ms\n",
                                   "expect snapshot 1 >= 40\n" COMPACTED("1")});
}
END_TEST

/* Server 3 lacks what the snapshot of the others stands for. */
#define LAGGING                                              \
    "elect 1\nset k early\nrun 100ms\nisolate 3\n" WORK WORK \
    "run 100ms\nsnapshot 1,2\nrun 2500ms\n"                  \
    "repeat 4 {\nset m \"y\"*9000\n}\nsnapshot 1,2\nrun 200ms\n"

START_TEST(at_every_change__while_a_snapshot_is_installed)
{
    at_every_change(&(struct path){
        "received and installed, log reset", 3, 8, "option snapshot-log-bytes 1KiB\n" LAGGING,
        "heal\nrun 1s\n", "expect messages 1 -> 3 snapshot >= 1\nexpect snapshot 3 >= 40\n"});
}
END_TEST

START_TEST(at_every_change__of_a_start_behind_a_snapshot)
{
    at_every_change(&(struct path){
        "start behind a snapshot", 3, 6,
        "elect 1\n" WORK "run 100ms\nsnapshot 3\nrun 300ms\nset k v\nrun 50ms\ncrash 3\n",
        "restart 3\nrun 300ms\n", "expect snapshot 3 >= 20\nexpect value k v on 3\n"});
}
END_TEST

START_TEST(at_every_change__while_a_damaged_log_is_repaired)
{
    at_every_change(&(struct path){
        "log damaged in the middle, repaired", 3, 12,
        "elect 1\nrun 100ms\n" WORK "set k v\nrun 100ms\ncrash 3\ndisk 3 flip log 5\n",
        "restart 3\nrun 600ms\n", "expect messages 1 -> 3 append >= 8\nexpect value k v on 3\n"});
    at_every_change(&(struct path){
        "log's end not to be read, repaired", 3, 14,
        "elect 1\nrun 100ms\n" WORK "set k v\nrun 100ms\ncrash 3\ndisk 3 unreadable log 27\n",
        "restart 3\nrun 900ms\n", "expect messages 1 -> 3 append >= 8\nexpect value k v on 3\n"});
}
END_TEST

START_TEST(at_every_change__while_a_damaged_snapshot_is_replaced)
{
    at_every_change(&(struct path){"snapshot damaged, another received", 3, 14,
                                   "elect 1\nrun 100ms\n" WORK WORK
                                   "run 100ms\nsnapshot all\nrun 300ms\n" WORK
                                   "set k v\nrun 100ms\ncrash 3\ndisk 3 flip snapshot\n",
                                   "restart 3\nrun 1500ms\n",
                                   "expect messages 1-2 -> 3 snapshot >= 1\n"
                                   "expect value k v on 3\nexpect snapshot 3 >= 40\n"});
}
END_TEST

UNIT_MAIN("sim_crash_points", at_every_change__while_a_snapshot_is_taken,
          at_every_change__while_snapshots_follow_one_another,
          at_every_change__while_a_snapshot_is_installed,
          at_every_change__of_a_start_behind_a_snapshot,
          at_every_change__while_a_damaged_log_is_repaired,
          at_every_change__while_a_damaged_snapshot_is_replaced)
