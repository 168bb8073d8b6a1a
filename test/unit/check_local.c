/* check_local.c - what is asked of this very server, whoever leads. */
#include "server/admin/local.h"

#include "test/unit/server_unit.h"

static struct leader_pending lead;

/* ---- settings ---- */

static char set_key[32], set_value[32];

static enum error_code set(void *context, const char *key, const char *value,
                           struct server_options *options, struct error *error)
{
    ck_assert_ptr_eq(context, set_key);
    (void)snprintf(set_key, sizeof(set_key), "%s", key);
    (void)snprintf(set_value, sizeof(set_value), "%s", value);
    if (strcmp(key, "heartbeat") != 0)
        return error_set(error, ERROR_CONFIG, "%s: no such key", key);
    options->heartbeat_ns = 7 * T_MS;
    return ERROR_NONE;
}

static void change(const char *body, u32 size)
{
    struct block *block = block_create_copy(body, size);
    struct command *command =
        command_create(COMMAND_SETTING, span_of(block, block->data, size), &clients[0].sink);
    block_release(block);
    server_answer_local(server, NULL, command);
}

START_TEST(server_answer_local__a_setting_reaches_the_rules_at_once)
{
    static const char body[] = "heartbeat\0007ms"; /* each with its end */
    begin("1");
    server->world.set = set;
    server->world.set_context = set_key;
    change(body, sizeof(body));
    CK_TAPE("answer A0:+OK");
    ck_assert_str_eq(set_key, "heartbeat");
    ck_assert_str_eq(set_value, "7ms");
    ck_assert_uint_eq(server->raft.heartbeat_ns, 7 * T_MS);
    ck_assert(server_take_change(server)); /* a loop draws another time */
    ck_assert(!server_take_change(server));
    end();
}
END_TEST

START_TEST(server_answer_local__a_setting_that_cannot_be_changes_nothing)
{
    static const char body[] = "colour\0blue";
    begin("1");
    u64 heartbeat_ns = server->raft.heartbeat_ns;
    server->world.set = set;
    server->world.set_context = set_key;
    change(body, sizeof(body));
    CK_TAPE("answer A0:-ERR colour: no such key");
    ck_assert_uint_eq(server->raft.heartbeat_ns, heartbeat_ns);
    ck_assert(!server_take_change(server));
    end();
}
END_TEST

START_TEST(server_answer_local__a_server_may_take_no_settings)
{
    static const char body[] = "heartbeat\0007ms";
    begin("1");
    change(body, sizeof(body));
    CK_TAPE("answer A0:-ERR heartbeat: this server takes no set");
    end();
}
END_TEST

/* ---- status and statistics ---- */

static char answer[64 * 1024];

static void keep_answer(struct command_sink *sink, struct command *command, const u8 *data,
                        size_t size)
{
    (void)sink;
    ck_assert_uint_lt(size, sizeof(answer));
    memcpy(answer, data, size);
    answer[size] = '\0';
    command_destroy(command);
}

static void no_flush(struct command_sink *sink)
{
    (void)sink;
}

static const struct command_sink_ops keep_ops = {.answer = keep_answer, .flush = no_flush};
static struct command_sink keeper = {&keep_ops};

/* Whoever answers is not stalled: the first two keys say so. The rest is check_status.c's. */
START_TEST(server_answer_local__status_of_now)
{
    static const char beginning[] =
        "raft_stalled_ms:0\r\nraft_status_age_ms:0\r\nraft_cluster_id:test\r\n";
    begin("1");
    server_answer_local(server, NULL, command_create(COMMAND_STATUS, (struct span){0}, &keeper));
    ck_assert_int_eq(strncmp(answer, beginning, sizeof(beginning) - 1), 0);
    ck_assert_ptr_null(strstr(answer, "raft_peer_2:"));
    pending_begin(&server->raft, &lead, clock_monotonic_ns(), 77);
    server_answer_local(server, &lead, command_create(COMMAND_STATUS, (struct span){0}, &keeper));
    ck_assert_ptr_nonnull(strstr(answer, "raft_peer_2:"));
    end();
}
END_TEST

START_TEST(server_answer_local__statistics_begin_anew)
{
    begin("1");
    server_begin_round(server);
    log_add(&server->raft.log, "1");
    ck_assert(server_save(server));
    server_end_round(server);
    server->snapshot.syncs.taken.count = 3;
    tape[0] = '\0';
    ck_assert_uint_gt(storage_timing(server->storage)->syncs.count, 0);
    server_answer_local(server, NULL, command_of('A', COMMAND_RESET_STATISTICS, 1, ""));
    CK_TAPE("answer A1:+OK");
    ck_assert_uint_eq(storage_timing(server->storage)->syncs.count, 0);
    ck_assert_uint_eq(server->loop_time.rounds.count, 0);
    ck_assert_uint_eq(server->snapshot.syncs.taken.count, 0);
    end();
}
END_TEST

/* ---- snapshots ---- */

START_TEST(server_answer_local__a_machine_without_snapshots_says_so)
{
    begin("1");
    server_answer_local(server, NULL, command_of('A', COMMAND_SNAPSHOT, 1, ""));
    CK_TAPE("answer A1:-ERR no snapshot could be taken, the ser");
    end();
}
END_TEST

START_TEST(server_answer_local__who_asks_for_a_snapshot_waits_for_it)
{
    with_kv = true;
    begin("1");
    server_answer_local(server, NULL, command_of('A', COMMAND_SNAPSHOT, 1, ""));
    CK_TAPE("");
    ck_assert_uint_eq(server->snapshot.waiting.count, 1);
    ck_assert(server->snapshot.wanted);
    take_snapshot();
    ck_assert_uint_eq(server->snapshot.waiting.count, 0);
    /* Nothing has happened since: this one is as good as another. */
    server_answer_local(server, NULL, command_of('A', COMMAND_SNAPSHOT, 2, ""));
    CK_TAPE("answer A2::1");
    end();
    with_kv = false;
}
END_TEST

/* The file must not go away between two pieces. */
START_TEST(server_answer_local__a_backup_keeps_the_snapshot_for_a_while)
{
    struct backup_order order = {.last = {1, 9}, .size = 100, .bytes_max = 10};
    begin("1");
    u64 now_ns = clock_monotonic_ns();
    struct command *command =
        command_create(COMMAND_BACKUP, command_backup_body(&order), &clients[0].sink);
    server_answer_local(server, NULL, command);
    ck_assert_uint_eq(server->snapshot.pinned.index, 9);
    ck_assert_uint_gt(server->snapshot.pinned_until_ns, now_ns);
    end(); /* it is read by a thread, which has answered when it has ended */
    ck_assert_ptr_nonnull(strstr(tape, "answer A0:-"));
}
END_TEST

UNIT_MAIN("local", server_answer_local__a_setting_reaches_the_rules_at_once,
          server_answer_local__a_setting_that_cannot_be_changes_nothing,
          server_answer_local__a_server_may_take_no_settings, server_answer_local__status_of_now,
          server_answer_local__statistics_begin_anew,
          server_answer_local__a_machine_without_snapshots_says_so,
          server_answer_local__who_asks_for_a_snapshot_waits_for_it,
          server_answer_local__a_backup_keeps_the_snapshot_for_a_while)
