/* check_load.c - a server comes back as its disk has it. What storage_open finds on a disk is
 * check_storage*.c's; here is what becomes of it. */
#include "server/replica/load.h"

#include "test/unit/server_unit.h"

/* What the machine was given; what storage did before is its own affair. */
static const char *applied(void)
{
    const char *at = strstr(tape, "apply");
    return at != NULL ? at : "";
}

static void restart(void)
{
    struct server_options options = founded_options(DESIGN_PER_STATE);
    stop();
    start(&options);
}

/* ---- the log ---- */

/* Committed, as far as the disk knows: a batch says what was committed when it was written. */
START_TEST(server_load__what_is_committed_is_applied_and_the_rest_waits)
{
    begin("1 1 1");
    server->raft.commit_index = 3;
    log_add(&server->raft.log, "1 1");
    ck_assert(server_save(server));
    restart();
    ck_assert_str_eq(applied(), "apply 2:x, apply 3:x");
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 1 1 1");
    ck_assert_uint_eq(server->raft.commit_index, 3);
    ck_assert_uint_eq(server->raft.last_applied, 3);
    ck_assert_uint_eq(server->committed_seen, 3); /* that is no news to trace */
    ck_assert(!log_in_memory(&server->raft.log, 3));
    ck_assert(log_in_memory(&server->raft.log, 4)); /* it may have to be sent, or truncated */
    ck_assert_uint_eq(server->raft.log.durable_index, 5);
    ck_assert_uint_eq(server->raft.log.unsaved_index, 6);
    end();
}
END_TEST

START_TEST(server_load__entries_of_raft_itself_do_not_reach_the_machine)
{
    begin("1");
    struct entry entry = command_entry(1, "no-op");
    entry.type = ENTRY_NOOP;
    server->raft.commit_index = log_append(&server->raft.log, &entry, NULL, 0);
    log_add(&server->raft.log, "1");
    ck_assert(server_save(server));
    restart();
    ck_assert_str_eq(applied(), "");
    ck_assert_uint_eq(server->raft.last_applied, 2);
    end();
}
END_TEST

/* The configuration comes from the log. */
START_TEST(server_load__the_configuration_is_in_force)
{
    begin("1");
    ck_assert_uint_eq(server->raft.configuration.count, 3);
    ck_assert_uint_eq(server->raft.configuration.index, 1);
    ck_assert(configuration_is_voter(&server->raft.configuration, 2));
    end();
}
END_TEST

/* Of committed entries as of others. */
START_TEST(server_load__time_does_not_run_backwards_over_a_restart)
{
    static const u64 future_ns = UINT64_MAX / 2;
    begin("1");
    struct entry entry = command_entry(1, "x");
    entry.time_ns = future_ns;
    server->raft.commit_index = log_append(&server->raft.log, &entry, NULL, 0);
    ck_assert(server_save(server));
    restart();
    ck_assert_uint_eq(server->raft.log.last_time_ns, future_ns);
    log_add(&server->raft.log, "1");
    ck_assert_uint_ge(log_entry(&server->raft.log, 3).time_ns, future_ns);
    end();
}
END_TEST

/* A newer version wrote it: to go on without it would be another log. */
START_TEST(server_load__an_entry_that_is_not_known_is_refused)
{
    struct error error;
    struct server_options options = founded_options(DESIGN_PER_STATE);
    begin("1 1");
    struct entry entry = command_entry(1, "x");
    entry.type = (enum entry_type)77;
    (void)log_append(&server->raft.log, &entry, NULL, 0);
    ck_assert(server_save(server));
    stop();
    struct machine *machine = malloc(sizeof(*machine));
    machine->ops = &machine_ops;
    ck_assert_int_eq(try_start(&options, machine, &error), ERROR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(error.text, "entry 3 has type 77"));
    ck_assert_ptr_nonnull(strstr(error.text, "start a newer one"));
    memory_destroy(disk);
}
END_TEST

/* ---- term, vote and who it is ---- */

START_TEST(server_load__term_and_vote)
{
    begin("1");
    adopt_term(&server->raft, 7);
    server->raft.voted_for = 3;
    server->raft.metadata_unsaved = true;
    ck_assert(server_save(server));
    restart();
    ck_assert_uint_eq(server->raft.current_term, 7);
    ck_assert_uint_eq(server->raft.voted_for, 3);
    ck_assert(!server->raft.metadata_unsaved);
    ck_assert_uint_eq(server->raft.leader, SERVER_NONE);
    end();
}
END_TEST

START_TEST(server_load__another_servers_directory_is_refused)
{
    struct error error;
    struct server_options options = founded_options(DESIGN_PER_STATE);
    begin("1");
    stop();
    options.self = 2;
    struct machine *machine = malloc(sizeof(*machine));
    machine->ops = &machine_ops;
    ck_assert_int_eq(try_start(&options, machine, &error), ERROR_MISMATCH);
    ck_assert_ptr_nonnull(strstr(error.text, "belongs to server 1, and --id says 2"));
    options.self = 1;
    start(&options);
    ck_assert_uint_eq(server->raft.self, 1);
    end();
}
END_TEST

START_TEST(server_load__shows_who_it_is)
{
    begin("1");
    restart();
    const struct identity *own = &server->raft.trust.own;
    ck_assert_uint_eq(own->directory_id, 77);
    ck_assert_uint_eq(own->start_count, 2);
    ck_assert_uint_ne(own->starts[0], 0);
    ck_assert_uint_ne(own->starts[1], 0);
    ck_assert_str_eq(server->metadata.cluster_id, "test");
    ck_assert_uint_eq(server->taker.start, 2);
    end();
}
END_TEST

/* A reply of an earlier life is none to any call of this one. */
START_TEST(server_load__no_life_repeats_the_calls_of_another)
{
    struct server_options options = founded_options(DESIGN_PER_STATE);
    begin("1");
    u64 first = server->raft.next_call;
    /* The directory is set back: its next start is the second one twice. */
    struct memory_vfs *copy = memory_copy(disk);
    restart();
    u64 second = server->raft.next_call;
    ck_assert_uint_gt(second, first + ((u64)1 << 38));
    end();
    disk = copy;
    disk->vfs.ops = &disk_ops;
    options.seed = 2; /* each start has its own */
    start(&options);
    ck_assert_uint_eq(server->metadata.start_count, 2);
    ck_assert_uint_ne(server->raft.next_call, second);
    end();
}
END_TEST

START_TEST(server_load__the_timeouts_do_not_depend_on_the_start_id)
{
    begin("1");
    struct rng rng;
    rng_init(&rng, server->options.seed);
    ck_assert_uint_eq(rng_next(&server->rng), rng_next(&rng));
    end();
}
END_TEST

/* ---- a snapshot ---- */

static const struct kv_limits limits = {
    .key_bytes_max = 1000, .value_bytes_max = 1000, .answer_bytes_max = 1000};

/* APPEND key value, committed and applied: done twice it would show. */
static void append(const char *key, const char *value)
{
    struct kv_argument arguments[] = {{(const u8 *)key, (u32)strlen(key)},
                                      {(const u8 *)value, (u32)strlen(value)}};
    u8 bytes[256];
    size_t size = kv_command_size(arguments, 2);
    ck_assert_uint_lt(size, sizeof(bytes));
    kv_command_encode(&limits, KV_APPEND, arguments, 2, bytes);
    struct entry entry = {.id.term = 1,
                          .type = ENTRY_COMMAND,
                          .version = ENTRY_VERSION,
                          .payload = bytes,
                          .payload_size = (u32)size};
    u64 index = log_append(&server->raft.log, &entry, NULL, 0);
    ck_assert(server_save(server));
    server->raft.commit_index = index;
    ck_assert(server_flush(server, NULL));
    ck_assert_uint_eq(server->raft.last_applied, index);
}

static u64 digest(void)
{
    return server->machine->ops->digest(server->machine);
}

/* Entries 2 and 3 make a key each, the snapshot ends with 3, and 4 is known to be committed. */
static void begin_with_snapshot(void)
{
    with_kv = true;
    begin("1");
    append("a", "1");
    append("b", "2");
    take_snapshot();
    append("c", "3");
    log_add(&server->raft.log, "1"); /* 5: its batch tells that 4 is */
    ck_assert(server_save(server));
}

static void end_with_snapshot(void)
{
    end();
    with_kv = false;
}

START_TEST(server_load__the_machine_is_made_of_snapshot_and_log)
{
    begin_with_snapshot();
    u64 digest_before = digest();
    struct snapshot_name snapshot = server->raft.snapshot;
    u64 checksum = snapshot.checksum;
    restart();
    ck_assert_uint_eq(digest(), digest_before);
    ck_assert_uint_eq(kv_key_count(server->machine), 3);
    ck_assert_uint_eq(server->raft.last_applied, 4);
    ck_assert_uint_eq(server->raft.commit_index, 4);
    ck_assert_uint_eq(server->raft.log.last_index, 5);
    ck_assert_uint_eq(server->raft.snapshot.last.index, 3);
    ck_assert_uint_eq(server->raft.snapshot.size, snapshot.size);
    ck_assert_uint_eq(server->raft.snapshot.checksum, checksum);
    /* What has been applied since counts toward the next one, and what it stands for does not. */
    ck_assert_uint_gt(server->snapshot.log_bytes, 0);
    ck_assert_uint_lt(server->snapshot.log_bytes, 2 * RECORD_HEADER_SIZE + 20);
    end_with_snapshot();
}
END_TEST

START_TEST(server_load__a_compacted_log_goes_on_behind_the_snapshot)
{
    begin_with_snapshot();
    u64 digest_before = digest();
    ck_assert_uint_eq(server->raft.log.base.index, 3);
    ck_assert(storage_check(server->storage, &server->failure) == ERROR_NONE);
    ck_assert_int_eq(storage_reset(server->storage, (struct entry_id){1, 3}, &server->failure),
                     ERROR_NONE); /* the disk has forgotten all entries */
    restart();
    ck_assert_uint_eq(server->raft.log.base.index, 3);
    ck_assert_uint_eq(server->raft.log.last_index, 3);
    ck_assert_uint_eq(server->raft.commit_index, 3);
    ck_assert_uint_eq(server->raft.last_applied, 3);
    ck_assert_uint_eq(kv_key_count(server->machine), 2);
    ck_assert_uint_ne(digest(), digest_before);
    ck_assert_uint_eq(server->raft.configuration.count, 3); /* it is in the snapshot */
    end_with_snapshot();
}
END_TEST

static const char *snapshot_file(void)
{
    for (int i = 0; i < disk->inode_count; i++) {
        if (strstr(disk->inodes[i].name, ".snap") != NULL)
            return disk->inodes[i].name;
    }
    ck_abort_msg("no snapshot");
}

/* What came of it before the damage was found is not in the machine. */
START_TEST(server_load__a_damaged_snapshot_leaves_nothing_behind)
{
    begin_with_snapshot();
    u64 digest_before = digest();
    stop();
    struct memory_content *file = memory_content_of(disk, snapshot_file());
    file->data[file->size - 1] ^= 1; /* its checksum */
    struct server_options options = founded_options(DESIGN_PER_STATE);
    start(&options);
    CK_SAID("this snapshot is not used");
    ck_assert_uint_eq(server->raft.snapshot.last.index, 0);
    ck_assert_uint_eq(server->raft.last_applied, 4); /* the disk's log has all of it still */
    ck_assert_uint_eq(kv_key_count(server->machine), 3);
    ck_assert_uint_eq(digest(), digest_before);
    ck_assert_uint_eq(server->raft.configuration.count, 3);
    end_with_snapshot();
}
END_TEST

UNIT_MAIN("load", server_load__what_is_committed_is_applied_and_the_rest_waits,
          server_load__entries_of_raft_itself_do_not_reach_the_machine,
          server_load__the_configuration_is_in_force,
          server_load__time_does_not_run_backwards_over_a_restart,
          server_load__an_entry_that_is_not_known_is_refused, server_load__term_and_vote,
          server_load__another_servers_directory_is_refused, server_load__shows_who_it_is,
          server_load__no_life_repeats_the_calls_of_another,
          server_load__the_timeouts_do_not_depend_on_the_start_id,
          server_load__the_machine_is_made_of_snapshot_and_log,
          server_load__a_compacted_log_goes_on_behind_the_snapshot,
          server_load__a_damaged_snapshot_leaves_nothing_behind)
