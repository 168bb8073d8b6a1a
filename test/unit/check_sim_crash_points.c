/* check_sim_crash_points.c - the power goes at every write, sync, rename, removal and directory
 * sync of the paths that snapshots and damage add, one after the other, in each design: taking one
 * and removing what it stands for, receiving and installing one, beginning with one that has
 * overtaken the log, and cutting and repairing a damaged log.
 *
 * Each play has all standing checks on, and must make progress afterwards. How many points a path
 * has depends on timing; NTH_MAX is more than the longest needs, and the last plays of each find
 * that the power no longer goes. */
#include "test/unit/unit.h"

#include "test/sim/scenario_play.h"

static void play_text(const char *text, enum cluster_design design)
{
    struct scenario *scenario;
    struct error error = {0};
    enum error_code code = scenario_parse(text, strlen(text), "enumerated.scn", &scenario, &error);
    ck_assert_msg(code == ERROR_NONE, "%s\n%s", error.text, text);
    struct play_options options = {
        .design = design,
        .seed = scenario->seed_first,
        .complaints = stderr,
        .replay = "raftsim play enumerated.scn, with the text below",
    };
    struct play_result result;
    code = scenario_play(scenario, &options, &result, &error);
    ck_assert_msg(code == ERROR_NONE, "%s\n%s", error.text, text);
    ck_assert_msg(result.held, "%s: %s\n%s", result.failure.property, result.failure.text, text);
    scenario_destroy(scenario);
}

static const char head[] = "cluster 3\nseed %u\noption segment-bytes 64KiB\n"
                           "option log-memory-bytes 1KiB\noption trailing-entries 2\n";
static const char tail[] = "crash-at-write %u off\nheal\ncrash %u\nrestart %u\nrun 500ms\n"
                           "until expect leader one within 10s\nset k after\nexpect answer OK\n"
                           "until expect agree within 10s\nexpect value k after on all\n"
                           "expect linearizable\n";

/* Plays `path`, in which the nth change of the victim's disk is the last, in each design. */
static void at_every_change(u32 victim, u32 nth_max, const char *before, const char *path)
{
    static const enum cluster_design designs[] = {CLUSTER_PER_STATE, CLUSTER_DISPATCH,
                                                  CLUSTER_STEP};
    for (u32 nth = 1; nth <= nth_max; nth++) {
        char begin[512];
        char end[512];
        char text[4096];
        (void)snprintf(begin, sizeof(begin), head, nth);
        (void)snprintf(end, sizeof(end), tail, victim, victim, victim);
        (void)snprintf(text, sizeof(text), "%s%scrash-at-write %u %u\n%s%s", begin, before, victim,
                       nth, path, end);
        play_text(text, designs[nth % ARRAY_LENGTH(designs)]);
        if (nth_max <= 60) { /* the short paths in all of them */
            play_text(text, designs[(nth + 1) % ARRAY_LENGTH(designs)]);
            play_text(text, designs[(nth + 2) % ARRAY_LENGTH(designs)]);
        }
    }
}

/* Enough to fill some segments. */
#define WORK "repeat 12 {\nasync A set k \"x\"*9000\nasync B incr n\nrun 15ms\n}\n"

START_TEST(power_cut__at_every_change_while_a_snapshot_is_taken)
{
    at_every_change(1, 60, "elect 1\nrun 100ms\n" WORK "run 100ms\n",
                    "snapshot 1\nrun 300ms\nset k more\n");
    at_every_change(3, 60, "elect 1\nrun 100ms\n" WORK "run 100ms\n",
                    "snapshot 3\nrun 300ms\nset k more\n");
}
END_TEST

START_TEST(power_cut__at_every_change_while_snapshots_follow_one_another)
{
    at_every_change(1, 150, "elect 1\nrun 100ms\n",
                    "repeat 3 {\n" WORK "snapshot all\n}\nrun 300ms\n");
}
END_TEST

/* Server 3 lacks what the snapshot of the others stands for. */
#define LAGGING                                              \
    "elect 1\nset k early\nrun 100ms\nisolate 3\n" WORK WORK \
    "run 100ms\nsnapshot 1,2\nrun 2500ms\n"                  \
    "repeat 4 {\nset m \"y\"*9000\n}\nsnapshot 1,2\nrun 200ms\n"

START_TEST(power_cut__at_every_change_while_a_snapshot_is_installed)
{
    at_every_change(3, 60, "option snapshot-log-bytes 1KiB\n" LAGGING, "heal\nrun 1s\n");
}
END_TEST

START_TEST(power_cut__at_every_change_of_a_start_behind_a_snapshot)
{
    at_every_change(3, 40, "elect 1\n" WORK "snapshot 3\nrun 300ms\nset k v\nrun 50ms\ncrash 3\n",
                    "restart 3\nrun 300ms\n");
}
END_TEST

START_TEST(power_cut__at_every_change_while_a_damaged_log_is_repaired)
{
    at_every_change(3, 60, "elect 1\nrun 100ms\n" WORK "run 100ms\ncrash 3\ndisk 3 flip log 5\n",
                    "restart 3\nrun 600ms\n");
}
END_TEST

START_TEST(power_cut__at_every_change_while_a_damaged_snapshot_is_replaced)
{
    at_every_change(3, 60,
                    "elect 1\nrun 100ms\n" WORK "snapshot all\nrun 300ms\n" WORK
                    "run 100ms\ncrash 3\ndisk 3 flip snapshot\n",
                    "restart 3\nrun 800ms\n");
}
END_TEST

UNIT_MAIN("sim_crash_points", power_cut__at_every_change_while_a_snapshot_is_taken,
          power_cut__at_every_change_while_snapshots_follow_one_another,
          power_cut__at_every_change_while_a_snapshot_is_installed,
          power_cut__at_every_change_of_a_start_behind_a_snapshot,
          power_cut__at_every_change_while_a_damaged_log_is_repaired,
          power_cut__at_every_change_while_a_damaged_snapshot_is_replaced)
