/* check_sim_enumerations.c - faults in every place, one after the other: scenarios that are written
 * by a loop instead of by hand.
 *
 * Every cut of one server or one link around one command; a power cut at every write and sync of a
 * leader, a follower and a start. Each play has all standing checks on, and must make progress
 * afterwards. */
#include "test/unit/unit.h"

#include "test/sim/scenario_play.h"

/* Plays the text and fails the test with the text when it does not hold. Returns the steps. */
static u64 play_text(const char *text)
{
    struct scenario *scenario;
    struct error error = {0};
    enum error_code code = scenario_parse(text, strlen(text), "enumerated.scn", &scenario, &error);
    ck_assert_msg(code == ERROR_NONE, "%s\n%s", error.text, text);
    struct play_options options = {
        .design = CLUSTER_PER_STATE,
        .seed = scenario->seed_first,
        .complaints = stderr,
        .replay = "raftsim play enumerated.scn, with the text below",
    };
    struct play_result result;
    code = scenario_play(scenario, &options, &result, &error);
    ck_assert_msg(code == ERROR_NONE, "%s\n%s", error.text, text);
    ck_assert_msg(result.held, "%s: %s\n%s", result.failure.property, result.failure.text, text);
    scenario_destroy(scenario);
    return result.events;
}

/* ---- cuts around one command ---- */

/* What comes after every fault: the network heals, and all is as it should be. */
static const char *const healed = "run 700ms\n"
                                  "heal\n"
                                  "until expect leader one within 5s\n"
                                  "set k after\n"
                                  "expect answer OK\n"
                                  "until expect agree within 3s\n"
                                  "expect value k after on all\n";

/* The fault before the command, in the midst of it at several moments, and after it. */
static u32 play_fault_around_command(u32 servers, u32 via, const char *fault)
{
    static const char *const moments[] = {"500us", "2ms", "4ms", "6ms", "9ms"};
    char text[1024];
    u32 plays = 0;
    snprintf(text, sizeof(text), "cluster %u\nelect 1\nrun 100ms\n%s\nset k v via %u\n%s", servers,
             fault, via, healed);
    plays += play_text(text) > 0;
    for (size_t i = 0; i < ARRAY_LENGTH(moments); i++) {
        snprintf(text, sizeof(text),
                 "cluster %u\nelect 1\nrun 100ms\nafter %s %s\nset k v via %u\n%s", servers,
                 moments[i], fault, via, healed);
        plays += play_text(text) > 0;
    }
    snprintf(text, sizeof(text),
             "cluster %u\nelect 1\nrun 100ms\nset k v via %u\nexpect answer OK\n%s\nrun 1ms\n"
             "expect committed 3\n%s",
             servers, via, fault, healed);
    plays += play_text(text) > 0;
    return plays;
}

static u32 play_every_cut(u32 servers)
{
    char fault[64];
    u32 plays = 0;
    for (u32 id = 1; id <= servers; id++) {
        snprintf(fault, sizeof(fault), "isolate %u", id);
        plays += play_fault_around_command(servers, 1, fault);
        plays += play_fault_around_command(servers, 2, fault);
    }
    for (u32 from = 1; from <= servers; from++) {
        for (u32 to = 1; to <= servers; to++) {
            if (from == to)
                continue;
            snprintf(fault, sizeof(fault), "cut %u -> %u", from, to);
            plays += play_fault_around_command(servers, 2, fault);
        }
    }
    return plays;
}

START_TEST(cuts__every_server_and_link_of_three)
{
    ck_assert_uint_eq(play_every_cut(3), (3 + 3 + 6) * 7);
}
END_TEST

START_TEST(cuts__every_server_and_link_of_five)
{
    ck_assert_uint_eq(play_every_cut(5), (5 + 5 + 20) * 7);
}
END_TEST

/* ---- power cuts at every write and sync ---- */

enum { WRITES_OF_WORK = 60, WRITES_OF_START = 16 };

/* The work fills more than one segment, so that files are made on the way. */
static void play_crash_in_work(u32 victim, u32 nth)
{
    char text[1024];
    snprintf(text, sizeof(text),
             "cluster 3\nseed %u\nelect 1\nrun 100ms\n"
             "crash-at-write %u %u\n"
             "repeat 12 {\nasync A set k \"x\"*19000\nasync B incr n\nrun 15ms\n}\n"
             "crash-at-write %u off\ncrash %u\nrestart %u\nrun 500ms\n"
             "until expect leader one within 5s\nset k after\nexpect answer OK\n"
             "until expect agree within 3s\nexpect value k after on all\n",
             nth, victim, nth, victim, victim, victim);
    play_text(text);
}

START_TEST(power_cut__at_every_write_of_a_leader)
{
    for (u32 nth = 1; nth <= WRITES_OF_WORK; nth++)
        play_crash_in_work(1, nth);
}
END_TEST

START_TEST(power_cut__at_every_write_of_a_follower)
{
    for (u32 nth = 1; nth <= WRITES_OF_WORK; nth++)
        play_crash_in_work(3, nth);
}
END_TEST

START_TEST(power_cut__at_every_write_of_an_election)
{
    for (u32 nth = 1; nth <= WRITES_OF_START; nth++) {
        char text[1024];
        snprintf(
            text, sizeof(text),
            "cluster 3\nseed %u\nelect 1\nset k v\nrun 100ms\n"
            "crash-at-write 1,2 %u\ntimeout 2\nkill 1\nrun 600ms\n"
            "crash-at-write all off\nrestart 1,2\nrun 500ms\nuntil expect leader one within 5s\n"
            "expect value k v\nuntil expect agree within 3s\n",
            nth, nth);
        play_text(text);
    }
}
END_TEST

START_TEST(power_cut__at_every_write_of_a_start)
{
    for (u32 nth = 1; nth <= WRITES_OF_START; nth++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 "cluster 3\nseed %u\nelect 1\nset k v\nrun 100ms\n"
                 "crash 3\ncrash-at-write 3 %u\nrestart 3\nrun 300ms\n"
                 "crash-at-write 3 off\nrestart 3\nrun 100ms\nuntil expect leader one within 5s\n"
                 "set k after\nexpect answer OK\nuntil expect agree within 3s\n"
                 "expect value k after on all\n",
                 nth, nth);
        play_text(text);
    }
}
END_TEST

UNIT_MAIN("sim_enumerations", cuts__every_server_and_link_of_three,
          cuts__every_server_and_link_of_five, power_cut__at_every_write_of_a_leader,
          power_cut__at_every_write_of_a_follower, power_cut__at_every_write_of_an_election,
          power_cut__at_every_write_of_a_start)
