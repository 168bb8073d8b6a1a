/* check_sim_scenario.c - the scenario language: the head, words, and time. Its steps are in
 * check_sim_scenario_steps.c. */
#include "test/unit/scenario_unit.h"

/* ---- the head ---- */

START_TEST(head__is_optional_with_defaults)
{
    struct scenario *scenario = scenario_of("# nothing\n\n");
    ck_assert_uint_eq(scenario->servers, 3);
    ck_assert_uint_eq(scenario->spares, 0);
    ck_assert_int_eq(scenario->design, DESIGN_PER_STATE);
    ck_assert_uint_eq(scenario->seed_first, 42);
    ck_assert_uint_eq(scenario->seed_last, 42);
    ck_assert_uint_eq(scenario->election_timeout.min_ns, 150 * NS_PER_MS);
    ck_assert_uint_eq(scenario->election_timeout.max_ns, 300 * NS_PER_MS);
    ck_assert_uint_eq(scenario->heartbeat_ns, 50 * NS_PER_MS);
    ck_assert_uint_eq(scenario->latency.min_ns, NS_PER_MS);
    ck_assert_uint_eq(scenario->latency.max_ns, 5 * NS_PER_MS);
    ck_assert_uint_eq(scenario->disk_sync.min_ns, 100 * NS_PER_US);
    ck_assert_uint_eq(scenario->disk_sync.max_ns, 2 * NS_PER_MS);
    ck_assert_ptr_null(scenario->options);
    ck_assert_ptr_null(scenario->first);
    scenario_destroy(scenario);
}
END_TEST

START_TEST(head__takes_every_setting)
{
    struct scenario *scenario = scenario_of("cluster 5\n"
                                            "spares 2   # two more\n"
                                            "design all\n"
                                            "seeds 1..20\n"
                                            "election-timeout 100ms..0.2s\n"
                                            "heartbeat 29ms\n"
                                            "latency 40us..1.5ms\n"
                                            "disk-sync 3ms\n"
                                            "option segment-bytes 64KiB\n"
                                            "option x \"a b\"\n"
                                            "log 2 \"1 1 4\"\n"
                                            "log 3 \"1\" \"2 \"*50 \"4\"\n"
                                            "term 7 6\n");
    ck_assert_uint_eq(scenario->servers, 5);
    ck_assert_uint_eq(scenario->spares, 2);
    ck_assert_int_eq(scenario->design, DESIGN_ALL);
    ck_assert_uint_eq(scenario->seed_first, 1);
    ck_assert_uint_eq(scenario->seed_last, 20);
    ck_assert_uint_eq(scenario->election_timeout.min_ns, 100 * NS_PER_MS);
    ck_assert_uint_eq(scenario->election_timeout.max_ns, 200 * NS_PER_MS);
    ck_assert_uint_eq(scenario->heartbeat_ns, 29 * NS_PER_MS);
    ck_assert_uint_eq(scenario->latency.min_ns, 40 * NS_PER_US);
    ck_assert_uint_eq(scenario->latency.max_ns, 1500 * NS_PER_US);
    ck_assert_uint_eq(scenario->disk_sync.min_ns, 3 * NS_PER_MS);
    ck_assert_uint_eq(scenario->disk_sync.max_ns, 3 * NS_PER_MS);
    ck_assert_str_eq(scenario->options->key, "segment-bytes");
    ck_assert_str_eq(scenario->options->value, "64KiB");
    ck_assert_str_eq(scenario->options->next->value, "a b");
    ck_assert_uint_eq(scenario->starts[1].term_count, 3);
    ck_assert_uint_eq(scenario->starts[1].terms[0], 1);
    ck_assert_uint_eq(scenario->starts[1].terms[2], 4);
    ck_assert_uint_eq(scenario->starts[2].term_count, 52);
    ck_assert_uint_eq(scenario->starts[2].terms[50], 2);
    ck_assert_uint_eq(scenario->starts[2].terms[51], 4);
    ck_assert_uint_eq(scenario->starts[6].current_term, 6);
    scenario_destroy(scenario);
}
END_TEST

START_TEST(head__takes_every_design)
{
    static const char *const words[] = {"per-state", "dispatch", "step", "mixed", "all"};
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        enum scenario_design design;
        ck_assert(scenario_design_parse(words[i], &design));
        ck_assert_int_eq(design, (int)i);
        ck_assert_str_eq(scenario_design_word(design), words[i]);
    }
    enum scenario_design design;
    ck_assert(!scenario_design_parse("loops", &design));
}
END_TEST

START_TEST(head__mistakes)
{
    refuses("cluster 0\n", "t.scn:1: 0 is out of range, expected a number of servers from 1 to 32");
    refuses("cluster 33", "t.scn:1: 33 is out of range, expected a number of servers from 1 to 32");
    refuses("cluster five",
            "t.scn:1: \"five\" is no number, expected a number of servers from 1 to 32");
    refuses("cluster",
            "t.scn:1: the line ends too early, expected a number of servers from 1 to 32");
    refuses("cluster 3 4", "t.scn:1: \"4\" is too much, expected the end of the line");
    refuses("cluster 3\n\ncluster 5\n",
            "t.scn:3: cluster was already given in line 1, expected it once");
    refuses("cluster 30\nspares 3",
            "t.scn:2: 33 servers are too many, expected at most 32 with spares");
    refuses("log 1 \"1\"\ncluster 5", "t.scn:2: the number of servers comes too late, expected it "
                                      "before log and term");
    refuses("design loops", "t.scn:1: \"loops\" is no design, expected per-state, dispatch, step, "
                            "mixed or all");
    refuses("seed x", "t.scn:1: \"x\" is no number, expected a seed");
    refuses("seeds 20..1", "t.scn:1: \"20..1\" is no range of seeds, expected one like 1..20");
    refuses("seeds 5", "t.scn:1: \"5\" is no range of seeds, expected one like 1..20");
    refuses("seed 1\nseeds 1..2",
            "t.scn:2: the seed was already given in line 1, expected it once");
    refuses("election-timeout 300ms..150ms",
            "t.scn:1: 300ms..150ms runs backwards, expected the shorter time first");
    refuses("latency 5", "t.scn:1: \"5\" is no range of times, expected one like 5ms..20ms, or a "
                         "single time");
    refuses("heartbeat soon", "t.scn:1: \"soon\" is no time, expected one like 250ms, 2s or 1.5s");
    refuses("option segment-bytes", "t.scn:1: the line ends too early, expected its value");
    refuses("option a 1\noption a 2",
            "t.scn:2: option a was already given in line 1, expected it once");
    refuses("log 2 1", "t.scn:1: \"1\" is no text in quotes, expected terms that do not fall, the "
                       "first of them 1: \"1 1 2 3\"");
    refuses("log 2 \"1 2 1\"", "t.scn:1: the log is wrong at its entry 3, expected terms that do "
                               "not fall, the first of them 1: \"1 1 2 3\"");
    refuses("log 2 \"2\"", "t.scn:1: the log is wrong at its entry 1, expected terms that do not "
                           "fall, the first of them 1: \"1 1 2 3\"");
    refuses("log 2 \"\"",
            "t.scn:1: the log is empty, expected at least entry 1, the configuration's");
    refuses("log 4 \"1\"", "t.scn:1: there is no server 4, expected 1 to 3");
    refuses("log leader \"1\"",
            "t.scn:1: \"leader\" means nobody before the start, expected a number");
    refuses("log 1-2 \"1\"",
            "t.scn:1: \"1-2\" is no single server, expected a number, leader or random");
    refuses("term 1 0", "t.scn:1: 0 is out of range, expected a term, 1 or more");
    refuses("run 1s\ncluster 5",
            "t.scn:2: \"cluster\" belongs to the head, expected it before the first action");
}
END_TEST

/* ---- words ---- */

START_TEST(words__lists_of_servers)
{
    static const struct {
        const char *text;
        struct server_list list;
    } lists[] = {
        {"1", {.numbers = 1}},
        {"1,2,5", {.numbers = 0x13}},
        {"1-3", {.numbers = 7}},
        {"1-2,4-5", {.numbers = 0x1b}},
        {"all", {.words = SERVERS_ALL}},
        {"leader", {.words = SERVERS_LEADER}},
        {"followers", {.words = SERVERS_FOLLOWERS}},
        {"majority", {.words = SERVERS_MAJORITY}},
        {"minority", {.words = SERVERS_MINORITY}},
        {"random", {.randoms = 1}},
        {"random,random,leader,2", {.numbers = 2, .words = SERVERS_LEADER, .randoms = 2}},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(lists); i++) {
        char text[80];
        snprintf(text, sizeof(text), "cluster 5\ncrash %s\n", lists[i].text);
        struct scenario *scenario;
        const struct statement *statement = first_of(text, &scenario);
        ck_assert_int_eq(statement->kind, STATEMENT_CRASH);
        ck_assert_uint_eq(statement->who.numbers, lists[i].list.numbers);
        ck_assert_uint_eq(statement->who.words, lists[i].list.words);
        ck_assert_uint_eq(statement->who.randoms, lists[i].list.randoms);
        scenario_destroy(scenario);
    }
}
END_TEST

START_TEST(words__mistakes_in_lists)
{
    refuses("crash 4", "t.scn:1: there is no server 4, expected 1 to 3");
    refuses("crash 0", "t.scn:1: there is no server 0, expected 1 to 3");
    refuses("crash 2-9", "t.scn:1: there is no server 9, expected 1 to 3");
    refuses("crash 3-1",
            "t.scn:1: \"3-1\" is no list of servers, expected numbers (1,2,5) or a range (1-3)");
    refuses("crash 1,,2", "t.scn:1: \"1,,2\" is no list of servers, expected numbers (1,2,5), a "
                          "range (1-3), all, leader, followers, majority, minority or random");
    refuses("crash everyone",
            "t.scn:1: \"everyone\" is no list of servers, expected numbers (1,2,5), a range (1-3), "
            "all, leader, followers, majority, minority or random");
    refuses("crash", "t.scn:1: the line ends too early, expected servers");
    refuses("crash 99999999999999999999999",
            "t.scn:1: \"99999999999999999999999\" is no list of "
            "servers, expected numbers (1,2,5), a range (1-3), "
            "all, leader, followers, majority, minority or random");
}
END_TEST

START_TEST(words__texts_in_quotes)
{
    WITH("set \"a # b\" \"say \\\"no\\\" \\\\\" # comment", statement)
    {
        ck_assert_str_eq(statement->command.key, "a # b");
        ck_assert_str_eq(statement->command.value, "say \"no\" \\");
        ck_assert_str_eq(statement->text, "set \"a # b\" \"say \\\"no\\\" \\\\\"");
    }
    WITH("set k \"ab\"*3", statement)
    ck_assert_str_eq(statement->command.value, "ababab");
    WITH("set k \"\"", statement)
    ck_assert_str_eq(statement->command.value, "");
    refuses("set k \"abc", "t.scn:1: a text has no end, expected another \"");
    refuses("set k \"a\\n\"", "t.scn:1: a \\ stands alone in a text, expected \\\" or \\\\");
    refuses("set k \"a\"*0", "t.scn:1: the text is to be repeated a wrong number of times, "
                             "expected \"text\"*1 to \"text\"*16777216");
    refuses("set k \"a\"b", "t.scn:1: a text goes on behind its end, expected a blank");
    refuses("set k a\"b", "t.scn:1: a word holds a strange byte (0x22), expected letters, digits "
                          "and signs");
    refuses("set k \"aa\"*16777216",
            "t.scn:1: a text is too long, expected at most 16777216 bytes");
}
END_TEST

START_TEST(words__times)
{
    WITH("run 250ms", statement)
    ck_assert_uint_eq(statement->time_ns, 250 * NS_PER_MS);
    WITH("run 2s", statement)
    ck_assert_uint_eq(statement->time_ns, 2 * NS_PER_S);
    WITH("run 1.5s", statement)
    ck_assert_uint_eq(statement->time_ns, 1500 * NS_PER_MS);
    WITH("run 0.5us", statement)
    ck_assert_uint_eq(statement->time_ns, 500);
    WITH("run 0.000001ms", statement)
    ck_assert_uint_eq(statement->time_ns, 1);
    refuses("run 5", "t.scn:1: \"5\" is no time, expected one like 250ms, 2s or 1.5s");
    refuses("run 5h", "t.scn:1: \"5h\" is no time, expected one like 250ms, 2s or 1.5s");
    refuses("run .5s", "t.scn:1: \".5s\" is no time, expected one like 250ms, 2s or 1.5s");
    refuses("run -5s", "t.scn:1: \"-5s\" is no time, expected one like 250ms, 2s or 1.5s");
    refuses("run 1.s", "t.scn:1: \"1.s\" is no time, expected one like 250ms, 2s or 1.5s");
    refuses("run", "t.scn:1: the line ends too early, expected one like 250ms, 2s or 1.5s");
}
END_TEST

/* ---- time ---- */

START_TEST(time__at_and_after_hold_a_step)
{
    WITH("at 1500ms crash 2", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_AT);
        ck_assert_uint_eq(statement->time_ns, 1500 * NS_PER_MS);
        ck_assert_int_eq(statement->inner->kind, STATEMENT_CRASH);
        ck_assert_uint_eq(statement->inner->who.numbers, 2);
        ck_assert_uint_eq(statement->inner->line, 2);
    }
    WITH("after 200ms expect leader none", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_AFTER);
        ck_assert_int_eq(statement->inner->kind, STATEMENT_EXPECT);
    }
    refuses("at 1s run 2s", "t.scn:1: \"run\" is no statement that can stand here, expected an "
                            "action such as crash, partition or set, or an expectation");
    refuses("at 1s elect 1", "t.scn:1: what lets time pass cannot be done at a set time, expected "
                             "an action that does not wait");
    refuses("after 1s chaos 2s", "t.scn:1: what lets time pass cannot be done at a set time, "
                                 "expected an action that does not wait");
    refuses("after 1s expect value k v", "t.scn:1: what lets time pass cannot be done at a set "
                                         "time, expected an action that does not wait");
    refuses("after 1s", "t.scn:1: the line ends too early, expected an action or an expectation");
}
END_TEST

START_TEST(time__repeat_holds_lines)
{
    WITH("repeat 20 {\n  crash 1\n  repeat 2 { # inner\n    run 1s\n  }\n  heal\n}\nring",
         statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_REPEAT);
        ck_assert_uint_eq(statement->count, 20);
        const struct statement *inner = statement->inner;
        ck_assert_int_eq(inner->kind, STATEMENT_CRASH);
        ck_assert_int_eq(inner->next->kind, STATEMENT_REPEAT);
        ck_assert_int_eq(inner->next->inner->kind, STATEMENT_RUN);
        ck_assert_ptr_null(inner->next->inner->next);
        ck_assert_int_eq(inner->next->next->kind, STATEMENT_HEAL);
        ck_assert_ptr_null(inner->next->next->next);
        ck_assert_int_eq(statement->next->kind, STATEMENT_RING);
        ck_assert_uint_eq(statement->next->line, 9);
    }
    refuses("repeat 0 {\n}", "t.scn:1: 0 is out of range, expected how often, 1 to 1000000");
    refuses("repeat 2\n", "t.scn:1: the line ends too early, expected \"{\"");
    refuses("repeat 2 { ring }", "t.scn:1: \"ring\" is too much, expected the end of the line");
    refuses("repeat 2 {\nring\n",
            "t.scn:2: the text ends inside of the repeat of line 1, expected \"}\"");
    refuses("ring\n}\n", "t.scn:2: \"}\" closes nothing, expected a statement");
    refuses("repeat 2 {\nseed 3\n}",
            "t.scn:2: \"seed\" belongs to the head, expected it before the first action");
}
END_TEST

START_TEST(time__until_waits_for_an_expectation)
{
    WITH("until expect leader one within 5s", statement)
    {
        ck_assert_int_eq(statement->kind, STATEMENT_UNTIL);
        ck_assert_uint_eq(statement->time_ns, 5 * NS_PER_S);
        ck_assert_int_eq(statement->inner->expectation.kind, EXPECT_LEADER);
        ck_assert_int_eq(statement->inner->expectation.leader, LEADER_ONE);
    }
    WITH("until expect answer OK within 5s", statement)
    ck_assert_int_eq(statement->inner->expectation.answer, SAYS_OK);
    WITH("until expect stopped 2 within 5s", statement)
    ck_assert_ptr_null(statement->inner->expectation.text);
    WITH("until not expect leader 2 within 5s", statement)
    ck_assert(statement->inner->expectation.contrary);
    refuses("until expect leader one", "t.scn:1: the line ends too early, expected \"within\"");
    refuses("until expect leader one in 5s",
            "t.scn:1: \"in\" is out of place, expected \"within\"");
    refuses("until crash 1 within 5s", "t.scn:1: \"crash\" is out of place, expected \"expect\"");
}
END_TEST

UNIT_MAIN("sim_scenario", head__is_optional_with_defaults, head__takes_every_setting,
          head__takes_every_design, head__mistakes, words__lists_of_servers,
          words__mistakes_in_lists, words__texts_in_quotes, words__times,
          time__at_and_after_hold_a_step, time__repeat_holds_lines,
          time__until_waits_for_an_expectation)
