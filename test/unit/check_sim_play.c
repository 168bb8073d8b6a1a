/* check_sim_play.c - the scenario player: what statements do and mean when they are played, what is
 * said when an expectation fails, and that the same scenario, design and seed give the same run. */
#include "test/unit/scenario_unit.h"

#include "test/sim/scenario_play.h"

struct taken {
    char *text;
    size_t size;
};

static void take_line(void *context, const char *line, size_t size)
{
    struct taken *taken = context;
    taken->text = realloc(taken->text, taken->size + size + 1);
    ck_assert_ptr_nonnull(taken->text);
    memcpy(taken->text + taken->size, line, size);
    taken->size += size;
    taken->text[taken->size] = '\0';
}

static struct play_result play_with(const char *text, struct play_options *options,
                                    struct error *error)
{
    struct scenario *scenario = scenario_of(text);
    struct play_result result;
    enum error_code code = scenario_play(scenario, options, &result, error);
    ck_assert_int_eq(code, error->code);
    scenario_destroy(scenario);
    return result;
}

static void holds(const char *text)
{
    struct play_options options = {.design = CLUSTER_PER_STATE, .seed = 1};
    struct error error = {0};
    struct play_result result = play_with(text, &options, &error);
    ck_assert_msg(error.code == ERROR_NONE, "%s\n%s", error.text, text);
    ck_assert_msg(result.held, "%s: %s\n%s", result.failure.property, result.failure.text, text);
}

/* The play fails, and `says` is part of what is said. */
static void fails(const char *text, const char *says)
{
    struct play_options options = {.design = CLUSTER_PER_STATE, .seed = 1};
    struct error error = {0};
    struct play_result result = play_with(text, &options, &error);
    ck_assert_msg(error.code == ERROR_NONE, "%s\n%s", error.text, text);
    ck_assert_msg(!result.held, "held: %s", text);
    ck_assert_msg(strstr(result.failure.text, says) != NULL, "%s\n  said:     %s\n  expected: %s",
                  text, result.failure.text, says);
}

static void cannot_be_played(const char *text, const char *complaint)
{
    struct play_options options = {.design = CLUSTER_PER_STATE, .seed = 1};
    struct error error = {0};
    (void)play_with(text, &options, &error);
    ck_assert_int_eq(error.code, ERROR_FORMAT);
    ck_assert_str_eq(error.text, complaint);
}

/* ---- one run ---- */

static const char *const everything = "cluster 3\n"
                                      "until expect leader one within 5s\n"
                                      "load 100/s for 4s\n"
                                      "loss all 10%\nduplicate all 10%\nreorder all 10%\n"
                                      "chaos 3s\nheal\nuntil expect leader one within 5s\n";

static struct taken trace_of(u64 seed, enum cluster_design design)
{
    struct taken taken = {0};
    struct play_options options = {
        .design = design, .seed = seed, .trace = take_line, .trace_context = &taken};
    struct error error = {0};
    struct play_result result = play_with(everything, &options, &error);
    ck_assert_msg(result.held, "%s: %s", result.failure.property, result.failure.text);
    ck_assert_uint_gt(taken.size, 0);
    return taken;
}

START_TEST(scenario_play__same_seed_gives_the_same_trace)
{
    for (int i = CLUSTER_PER_STATE; i <= CLUSTER_MIXED; i++) {
        enum cluster_design design = (enum cluster_design)i;
        if (!cluster_design_supported(design))
            continue;
        struct taken one = trace_of(7, design);
        struct taken other = trace_of(7, design);
        ck_assert_uint_eq(one.size, other.size);
        ck_assert_mem_eq(one.text, other.text, one.size);
        free(one.text);
        free(other.text);
    }
}
END_TEST

START_TEST(scenario_play__another_seed_gives_another_trace)
{
    struct taken one = trace_of(7, CLUSTER_PER_STATE);
    struct taken other = trace_of(8, CLUSTER_PER_STATE);
    ck_assert(one.size != other.size || memcmp(one.text, other.text, one.size) != 0);
    free(one.text);
    free(other.text);
}
END_TEST

START_TEST(scenario_play__tells_the_story_of_its_statements)
{
    struct taken story = {0};
    struct play_options options = {.seed = 1, .story = take_line, .story_context = &story};
    struct error error = {0};
    struct play_result result = play_with("elect 1\nisolate 1\nrun 1s\n", &options, &error);
    ck_assert(result.held);
    ck_assert_ptr_nonnull(strstr(story.text, "== elect 1\n"));
    ck_assert_ptr_nonnull(strstr(story.text, "== isolate 1\n"));
    free(story.text);
}
END_TEST

/* ---- time ---- */

START_TEST(time__passes_as_it_is_told)
{
    struct play_options options = {.seed = 1};
    struct error error = {0};
    struct play_result result =
        play_with("run 250ms\nrepeat 3 {\nrun 1s\n}\nafter 2s ring\n", &options, &error);
    ck_assert(result.held);
    ck_assert_uint_eq(result.virtual_ns, 5250 * NS_PER_MS); /* what was planned is waited for */
}
END_TEST

START_TEST(time__at_and_after_do_not_wait)
{
    holds("elect 1\nafter 1s crash 1\nexpect leader 1\nrun 990ms\nexpect leader 1\nrun 20ms\n"
          "expect leader none\n");
    holds("elect 1\nafter 200ms set k v\nexpect value k nil\nrun 400ms\nexpect value k v\n");
    fails("after 1s expect leader none\nrun 3s\n", "t.scn:1: after 1s expect leader none: server");
    cannot_be_played("run 1s\nat 500ms crash 1\n", "t.scn:2: at 500ms crash 1: that time is past, "
                                                   "expected one after 1000000us");
}
END_TEST

START_TEST(time__until_ends_as_soon_as_it_holds)
{
    struct play_options options = {.seed = 1};
    struct error error = {0};
    struct play_result result = play_with("until expect leader one within 60s\n", &options, &error);
    ck_assert(result.held);
    ck_assert_uint_lt(result.virtual_ns, 5 * NS_PER_S);
    fails("elect 1\nuntil expect leader 2 within 1s\n",
          "t.scn:2: until expect leader 2 within 1s: did not come in time: server 1 leads");
    holds("elect 1\ncrash 1\nuntil not expect leader 1 within 1s\n");
}
END_TEST

/* ---- servers ---- */

START_TEST(servers__words_are_looked_up_when_they_are_met)
{
    holds("elect 2\ncrash leader\nuntil expect leader 1,3 within 5s\n");
    holds("cluster 5\nelect 4\nrun 100ms\nkill minority\nexpect leader 4\nrun 1s\nexpect leader 4\n"
          "kill followers\nuntil expect leader none within 1s\n");
    holds("cluster 5\nelect 4\nkill majority\nrun 2s\nexpect leader none\n");
    holds("kill random,random,random\nrun 2s\nexpect leader none\n"); /* three different ones */
    fails("isolate leader\n", "t.scn:1: isolate leader: there is no leader");
}
END_TEST

START_TEST(servers__who_was_not_named_in_a_partition_is_one_more_part)
{
    holds("cluster 5\nelect 1\npartition 1,2 / 3\nuntil expect leader none within 1s\nrun 2s\n"
          "expect leader none\n");
}
END_TEST

/* ---- expectations ---- */

START_TEST(expectations__fail_with_what_is)
{
    fails("elect 1\nexpect leader 2\n", "t.scn:2: expect leader 2: server 1 leads in term");
    fails("elect 1\nexpect leader none\n", "server 1 leads");
    fails("elect 1\nexpect leader not 1\n", "server 1 leads");
    fails("expect leader one\n", "there is no leader");
    fails("elect 1\nexpect state 1 follower\n", "server 1 is leader");
    fails("elect 1\ncrash 1\nexpect state 1 leader\n", "server 1 is not alive");
    fails("elect 1\nexpect term 9\n", "the term is 2, and should be 9");
    fails("elect 1\nset k v\nexpect answer error\n", "the answer is OK \"OK\"");
    fails("elect 1\nget k\nexpect answer OK\n", "the answer is nil \"nil\"");
    fails("elect 1\nset k v\nexpect value k w\n", "the value of k is \"v\"");
    fails("elect 1\nset k v\nrun 200ms\nexpect value k w on 2\n", "server 2 holds \"v\" under k");
    fails("elect 1\nrun 200ms\nexpect committed 3\n", "the highest commit index is 2");
    fails("elect 1\nrun 200ms\nexpect commit on all >= 3\n", "the commit index on server 1 is 2");
    fails("elect 1\nrun 200ms\nexpect log 3 \"1 1\"\n", "the log of server 3 is \"1 2\"");
    fails("expect stopped 1\n", "server 1 did not stop");
    fails("run 1s\nexpect said 1 \"the disk\"\n", "server 1 said so in 0 lines");
    fails("run 1s\nexpect messages all -> all any = 0\n", "there were ");
    fails("elect 1\nisolate 2\nset k v\nexpect agree\n", "server");
}
END_TEST

START_TEST(expectations__not_is_the_contrary)
{
    holds("elect 1\nnot expect leader 2\nnot expect state 1 follower\nnot expect term 1\n"
          "not expect value k v\nnot expect committed 99\nnot expect log 1 \"1\"\n");
    fails("elect 1\nnot expect leader 1\n", "server 1 leads");
    fails("elect 1\nnot expect value k nil\n", "there is no value of k");
}
END_TEST

START_TEST(expectations__since_the_last_one_that_held)
{
    holds("elect 1\nrun 1s\nexpect messages 1 -> 2 append >= 15\n"
          "expect messages 1 -> 2 append = 0\n" /* none since */
          "run 1s\nexpect messages 1 -> 2 append >= 15\n"
          "run 1s\nuntil expect leader 1 within 1s\nexpect messages all -> all any = 0\n");
    holds("elect 1\nexpect leader 1\nset k \"x\"*10000\nexpect bytes 1 -> 2 append >= 10000\n");
    holds("elect 1\nexpect leader 1\nrun 1s\nexpect term same\nelect 2\nnot expect term same\n");
}
END_TEST

/* ---- clients ---- */

START_TEST(clients__wait_for_their_answer)
{
    holds("elect 1\nset k v\nexpect answer OK\nget k\nexpect answer \"v\"\nincr n\n"
          "expect answer \"1\"\nincr k\nexpect answer error\nexpect answer \"integer\"\n"
          "cas k v w\nexpect value k w\ncas k v x\nexpect value k w\ndel k\nexpect value k nil\n");
    holds("elect 1\nset k v via 2\nexpect answer OK\nget k via 3\nexpect answer \"v\"\n");
}
END_TEST

START_TEST(clients__no_answer_in_time_is_an_answer)
{
    struct play_options options = {.seed = 1};
    struct error error = {0};
    struct play_result result =
        play_with("elect 1\nisolate 1\nset k v via 1\nexpect answer timeout\n", &options, &error);
    ck_assert_msg(result.held, "%s", result.failure.text);
    ck_assert_uint_lt(result.virtual_ns, 3 * NS_PER_S);
}
END_TEST

START_TEST(clients__async_ones_queue_behind_themselves)
{
    holds("elect 1\nasync A incr n\nasync A incr n\nasync A incr n\nasync B set k v\n"
          "not expect answer A OK\nuntil expect answer A \"3\" within 1s\nexpect answer B OK\n");
}
END_TEST

/* ---- the head ---- */

START_TEST(head__logs_and_terms_are_there_at_the_start)
{
    holds("cluster 3\nlog 1 \"1 1 4\"\nterm 1 6\nlog 2 \"1 2\"\ntimers off\nrun 50ms\n"
          "expect log 1 \"1 1 4\"\nexpect log 2 \"1 2\"\nexpect log 3 \"1\"\nexpect term 6\n"
          "elect 1\nexpect term 7\n");
}
END_TEST

START_TEST(head__options_are_checked)
{
    cannot_be_played("option colour red\n", "t.scn:1: there is no option \"colour\"");
}
END_TEST

/* ---- files ---- */

static int play_file(const char *text, struct play_request *request)
{
    char path[] = "/tmp/check_sim_play.XXXXXX";
    int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    FILE *file = fdopen(descriptor, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    fclose(file);
    request->complaints = tmpfile();
    ck_assert_ptr_nonnull(request->complaints);
    int code = scenario_play_file(path, request);
    fclose(request->complaints);
    remove(path);
    return code;
}

START_TEST(scenario_play_file__plays_each_seed_and_design)
{
    u64 designs = 0;
    for (int i = CLUSTER_PER_STATE; i < CLUSTER_MIXED; i++)
        designs += cluster_design_supported((enum cluster_design)i);
    struct play_request request = {0};
    ck_assert_int_eq(play_file("design all\nseeds 3..7\nrun 10ms\n", &request), 0);
    ck_assert_uint_eq(request.plays, 5 * designs);
    ck_assert_uint_eq(request.failures, 0);
}
END_TEST

START_TEST(scenario_play_file__command_line_beats_the_head)
{
    struct play_request request = {
        .design_given = true, .seed_given = true, .seed_first = 1, .seed_last = 2};
    ck_assert_int_eq(play_file("design all\nseeds 3..7\nrun 10ms\n", &request), 0);
    ck_assert_uint_eq(request.plays, 2);
}
END_TEST

START_TEST(scenario_play_file__exit_codes)
{
    struct play_request request = {0};
    ck_assert_int_eq(play_file("expect leader one\n", &request), 1);
    ck_assert_uint_eq(request.failures, 1);
    ck_assert_int_eq(play_file("expct leader one\n", &request), 65);
    ck_assert_int_eq(play_file("member add 4\n", &request), 65);
    request.complaints = tmpfile();
    ck_assert_int_eq(scenario_play_file("/tmp/there is no such file", &request), 66);
    fclose(request.complaints);
}
END_TEST

UNIT_MAIN("sim_play", scenario_play__same_seed_gives_the_same_trace,
          scenario_play__another_seed_gives_another_trace,
          scenario_play__tells_the_story_of_its_statements, time__passes_as_it_is_told,
          time__at_and_after_do_not_wait, time__until_ends_as_soon_as_it_holds,
          servers__words_are_looked_up_when_they_are_met,
          servers__who_was_not_named_in_a_partition_is_one_more_part,
          expectations__fail_with_what_is, expectations__not_is_the_contrary,
          expectations__since_the_last_one_that_held, clients__wait_for_their_answer,
          clients__no_answer_in_time_is_an_answer, clients__async_ones_queue_behind_themselves,
          head__logs_and_terms_are_there_at_the_start, head__options_are_checked,
          scenario_play_file__plays_each_seed_and_design,
          scenario_play_file__command_line_beats_the_head, scenario_play_file__exit_codes)
