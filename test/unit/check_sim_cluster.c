/* check_sim_cluster.c - the simulated cluster as a whole: the same seed gives the same run, byte
 * for byte, whatever else runs; faults do what they say; failures can be cut down. */
#include <sys/wait.h>
#include <unistd.h>

#include "test/unit/unit.h"

#include "common/crc32c.h"
#include "test/sim/inside.h"
#include "test/sim/sweep.h"

/* ---- the same run ---- */

struct digest {
    u64 lines;
    u64 bytes;
    u32 crc;
};

static void digest_line(void *context, const char *line, size_t size)
{
    struct digest *digest = context;
    digest->lines++;
    digest->bytes += size;
    digest->crc = crc32c(digest->crc, line, size);
}

static struct digest digest_of(enum cluster_design design, u64 seed)
{
    struct digest digest = {0};
    struct chaos_options options = {.servers = 5,
                                    .duration_ns = 8 * NS_PER_S,
                                    .seed = seed,
                                    .load_per_second = 100,
                                    .design = design,
                                    .trace = digest_line,
                                    .trace_context = &digest};
    struct chaos_result result;
    chaos_run(&options, &result);
    ck_assert_msg(result.held, "%s: %s", result.failure.property, result.failure.text);
    ck_assert_uint_gt(digest.lines, 1000);
    return digest;
}

static void must_be_same(const struct digest *a, const struct digest *b)
{
    ck_assert_uint_eq(a->lines, b->lines);
    ck_assert_uint_eq(a->bytes, b->bytes);
    ck_assert_uint_eq(a->crc, b->crc);
}

START_TEST(chaos_run__twice_in_one_process_is_the_same_run)
{
    static const enum cluster_design designs[] = {CLUSTER_PER_STATE, CLUSTER_DISPATCH,
                                                  CLUSTER_MIXED};
    for (size_t i = 0; i < ARRAY_LENGTH(designs); i++) {
        struct digest first = digest_of(designs[i], 11);
        void *shift = malloc(12345); /* the heap is not the same the second time */
        struct digest second = digest_of(designs[i], 11);
        free(shift);
        must_be_same(&first, &second);
    }
}
END_TEST

START_TEST(chaos_run__in_another_process_is_the_same_run)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t pid = fork();
    ck_assert_int_ge(pid, 0);
    if (pid == 0) {
        (void)digest_of(CLUSTER_PER_STATE, 3); /* it has a past */
        struct digest told = digest_of(CLUSTER_PER_STATE, 12);
        _exit(write(ends[1], &told, sizeof(told)) == (ssize_t)sizeof(told) ? 0 : 1);
    }
    struct digest here = digest_of(CLUSTER_PER_STATE, 12);
    struct digest there;
    ck_assert_int_eq(read(ends[0], &there, sizeof(there)), (ssize_t)sizeof(there));
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
    must_be_same(&here, &there);
}
END_TEST

START_TEST(chaos_run__other_seeds_are_other_runs)
{
    struct digest a = digest_of(CLUSTER_PER_STATE, 13);
    struct digest b = digest_of(CLUSTER_PER_STATE, 14);
    ck_assert_uint_ne(a.crc, b.crc);
}
END_TEST

/* ---- faults ---- */

static struct cluster *cluster;

static void begin(u32 servers, enum cluster_design design)
{
    struct cluster_config config;
    struct error error = {0};
    cluster_config_init(&config);
    config.servers = servers;
    config.design = design;
    ck_assert_int_eq(cluster_create(&config, &cluster, &error), ERROR_NONE);
    cluster_run(cluster, 100 * NS_PER_MS);
    ck_assert(cluster_elect(cluster, 1));
}

static void end(void)
{
    const struct cluster_failure *failure = cluster_failure(cluster);
    if (failure != NULL)
        cluster_print_failure(cluster, stderr, "");
    ck_assert_ptr_null(failure);
    cluster_destroy(cluster);
}

static const struct client_answer *ask(enum client_op op, server_id via, const char *key,
                                       const char *value)
{
    struct client *client = cluster_client(cluster, "main");
    struct client_request request = {.op = op, .via = via, .key = key, .value = value};
    client_send(client, &request);
    cluster_client_wait(cluster, client);
    return client_answer(client);
}

START_TEST(client__each_kind_of_answer)
{
    begin(3, CLUSTER_PER_STATE);
    ck_assert_int_eq(ask(CLIENT_GET, 0, "k", NULL)->kind, ANSWER_NIL);
    ck_assert_str_eq(ask(CLIENT_SET, 0, "k", "v")->text, "OK");
    ck_assert_str_eq(ask(CLIENT_GET, 2, "k", NULL)->text, "v"); /* forwarded */
    ck_assert_str_eq(ask(CLIENT_INCR, 3, "n", NULL)->text, "1");
    ck_assert_int_eq(ask(CLIENT_INCR, 0, "k", NULL)->kind, ANSWER_ERROR);
    ck_assert_str_eq(ask(CLIENT_APPEND, 0, "k", "w")->text, "2");
    ck_assert_str_eq(ask(CLIENT_DEL, 0, "k", NULL)->text, "1");
    cluster_crash(cluster, 3);
    ck_assert_int_eq(ask(CLIENT_SET, 3, "k", "v")->kind, ANSWER_ERROR); /* refused */
    cluster_pause(cluster, 2);
    ck_assert_int_eq(ask(CLIENT_SET, 2, "k", "v")->kind, ANSWER_UNKNOWN); /* too late */
    cluster_resume(cluster, 2);
    cluster_run(cluster, NS_PER_S);
    end();
}
END_TEST

START_TEST(cluster_crash_at_write__every_write_and_sync)
{
    for (u32 write = 1; write <= 12; write++) {
        begin(3, write % 2 == 0 ? CLUSTER_PER_STATE : CLUSTER_DISPATCH);
        cluster_crash_at_write(cluster, 2, write);
        for (u32 i = 0; i < 12; i++)
            (void)ask(CLIENT_INCR, 1, "n", NULL);
        ck_assert_int_eq(cluster_process(cluster, 2), PROCESS_DEAD);
        cluster_restart(cluster, 2);
        cluster_run(cluster, NS_PER_S);
        struct buffer why;
        buffer_init(&why);
        ck_assert_msg(cluster_agrees(cluster, &why), "%.*s", (int)why.size, (char *)why.data);
        buffer_deinit(&why);
        cluster_finish(cluster);
        end();
    }
}
END_TEST

/* A message that is held outlives the restart of its receiver, and is then delivered. */
START_TEST(cluster_hold__delivers_to_a_later_life)
{
    begin(3, CLUSTER_PER_STATE);
    cluster_timers(cluster, false);
    cluster_kinds votes = cluster_kinds_parse("vote");
    ck_assert_uint_ne(votes, 0);
    cluster_hold(cluster, cluster_set_of(2), cluster_set_of(3), votes);
    cluster_hold(cluster, cluster_set_of(2), cluster_set_of(1), votes);
    ck_assert(!cluster_elect(cluster, 2));
    u64 term = cluster_term(cluster, 2);
    cluster_crash(cluster, 3);
    cluster_restart(cluster, 3);
    cluster_run(cluster, 200 * NS_PER_MS);
    ck_assert_uint_lt(cluster_term(cluster, 3), term);
    ck_assert_uint_gt(cluster_release(cluster, cluster_set_of(2), cluster_set_of(3), votes, true),
                      0);
    cluster_run(cluster, 200 * NS_PER_MS);
    ck_assert_uint_eq(cluster_term(cluster, 3), term);
    end();
}
END_TEST

/* A kill closes connections, which is heard at once; a power cut is not. */
START_TEST(cluster_kill__is_heard_and_a_crash_is_not)
{
    for (u32 kill = 0; kill <= 1; kill++) {
        begin(3, CLUSTER_PER_STATE);
        if (kill == 1)
            cluster_kill(cluster, 1);
        else
            cluster_crash(cluster, 1);
        cluster_run(cluster, 90 * NS_PER_MS); /* less than an election timeout */
        ck_assert_int_eq(cluster_leader(cluster) != SERVER_NONE, kill == 1);
        end();
    }
}
END_TEST

START_TEST(cluster_partition__one_way_and_back)
{
    begin(5, CLUSTER_PER_STATE);
    cluster_set group = cluster_set_of(1) | cluster_set_of(2);
    cluster_partition(cluster, &group, 1);
    cluster_run(cluster, 2 * NS_PER_S);
    server_id leader = cluster_leader(cluster);
    ck_assert_uint_ge(leader, 3);
    ck_assert_int_ne(cluster_state(cluster, 1), RAFT_LEADER);
    cluster_heal(cluster);
    cluster_run(cluster, 2 * NS_PER_S);
    ck_assert_uint_eq(cluster_leader(cluster), leader); /* who was cut off disturbs nobody */
    end();
}
END_TEST

START_TEST(cluster_clock_rate__a_fast_clock_only_campaigns_sooner)
{
    begin(3, CLUSTER_PER_STATE);
    u64 term = cluster_term(cluster, 1);
    cluster_clock_rate(cluster, 2, 1050000);
    cluster_clock_rate(cluster, 3, 950000);
    cluster_run(cluster, 20 * NS_PER_S);
    ck_assert_uint_eq(cluster_term(cluster, 1), term);
    cluster_clock_jump(cluster, 1, -3600 * (i64)NS_PER_S);
    ck_assert_str_eq(ask(CLIENT_SET, 0, "k", "v")->text, "OK");
    end();
}
END_TEST

/* ---- the smallest form of a failure ---- */

START_TEST(sweep_replay_line__says_what_is_left_out)
{
    bool left_out[8] = {true, true, true, false, true, false, true, true};
    struct chaos_options chaos = {.servers = 3,
                                  .duration_ns = 7 * NS_PER_S,
                                  .seed = 9,
                                  .load_per_second = 50,
                                  .left_out = left_out,
                                  .left_out_count = 8};
    char line[256];
    sweep_replay_line(&chaos, line, sizeof(line));
    ck_assert_str_eq(line, "raftsim replay --design per-state --servers 3 --seconds 7 --load 50 "
                           "--seed 9 --without 0-2,4,6-7");
}
END_TEST

START_TEST(chaos_run__leaving_out_all_faults_leaves_a_quiet_run)
{
    bool left_out[4096];
    memset(left_out, true, sizeof(left_out));
    struct chaos_options options = {.servers = 3,
                                    .duration_ns = 5 * NS_PER_S,
                                    .seed = 21,
                                    .load_per_second = 100,
                                    .left_out = left_out,
                                    .left_out_count = 4096};
    ck_assert_uint_gt(chaos_fault_count(&options), 0);
    struct chaos_result result;
    chaos_run(&options, &result);
    ck_assert(result.held);
    ck_assert_uint_gt(result.operations, 300);
}
END_TEST

/* A log is damaged while its server starts and has read it already, which the next start finds out:
 * that the damage was done before this one is what excuses it. */
START_TEST(chaos_run__damage_during_a_start_is_met_at_the_next_one)
{
    bool left_out[12];
    memset(left_out, true, sizeof(left_out));
    left_out[0] = left_out[5] = false;
    struct chaos_options options = {.servers = 3,
                                    .duration_ns = 10 * NS_PER_S,
                                    .seed = 2885,
                                    .load_per_second = 100,
                                    .design = CLUSTER_MIXED,
                                    .left_out = left_out,
                                    .left_out_count = ARRAY_LENGTH(left_out)};
    struct chaos_result result;
    chaos_run(&options, &result);
    ck_assert(result.held);
}
END_TEST

START_TEST(sweep_run__runs_each_seed_once)
{
    struct sweep_options options = {
        .chaos = {.servers = 3, .duration_ns = 2 * NS_PER_S, .load_per_second = 20},
        .seed_first = 5,
        .seed_last = 14,
        .jobs = 3};
    struct sweep_result result;
    sweep_run(&options, &result);
    ck_assert_uint_eq(result.seeds, 10);
    ck_assert_uint_eq(result.failures, 0);
    ck_assert_uint_ge(result.virtual_ns, 10 * 2 * NS_PER_S);
}
END_TEST

/* A blank directory would join the stray's cluster, and be missing in its own for good. */
START_TEST(cluster_may_stray__not_while_a_directory_is_blank)
{
    struct cluster_config config;
    cluster_config_init(&config);
    config.servers = 3;
    config.founding = CLUSTER_FOUNDED_NOW;
    struct error error = {0};
    ck_assert_int_eq(cluster_create(&config, &cluster, &error), ERROR_NONE);
    cluster_isolate(cluster, cluster_set_of(3));
    cluster_run(cluster, 3 * NS_PER_S);
    ck_assert(cluster_is_founded(cluster)); /* and yet the one that is cut off is blank */
    ck_assert(!cluster_may_stray(cluster));
    cluster_heal(cluster);
    cluster_run(cluster, 3 * NS_PER_S);
    ck_assert(cluster_may_stray(cluster));
    cluster_stray(cluster, 1);
    cluster_restart(cluster, 1);
    cluster_run(cluster, 1 * NS_PER_S);
    ck_assert(!cluster_may_stray(cluster)); /* one at a time */
    ck_assert(cluster_own_disk(cluster, 1));
    ck_assert(cluster_may_stray(cluster));
    cluster_wipe(cluster, 2);
    ck_assert(!cluster_may_stray(cluster));
    cluster_restart(cluster, 1);
    cluster_restart(cluster, 2);
    cluster_run(cluster, 3 * NS_PER_S);
    ck_assert(cluster_may_stray(cluster));
    end();
}
END_TEST

UNIT_MAIN("sim_cluster", chaos_run__twice_in_one_process_is_the_same_run,
          chaos_run__in_another_process_is_the_same_run, chaos_run__other_seeds_are_other_runs,
          client__each_kind_of_answer, cluster_crash_at_write__every_write_and_sync,
          cluster_hold__delivers_to_a_later_life, cluster_kill__is_heard_and_a_crash_is_not,
          cluster_partition__one_way_and_back,
          cluster_clock_rate__a_fast_clock_only_campaigns_sooner,
          sweep_replay_line__says_what_is_left_out,
          chaos_run__leaving_out_all_faults_leaves_a_quiet_run,
          chaos_run__damage_during_a_start_is_met_at_the_next_one,
          cluster_may_stray__not_while_a_directory_is_blank, sweep_run__runs_each_seed_once)
