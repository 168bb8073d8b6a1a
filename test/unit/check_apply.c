/* check_apply.c - committed entries go to the machine, once and in order; writers and readers get
 * their answers. */
#include "server/replica/apply.h"

#include "server/replica/answers.h"
#include "server/replica/batch.h"
#include "test/unit/server_unit.h"

enum { LARGE = 2 * 1024 * 1024 };

static struct leader_pending lead;

/* Server 1 leads, and all it has is on the disks of all. */
static void begin_leading(const char *terms)
{
    begin(terms);
    pending_begin(&server->raft, &lead, clock_monotonic_ns(), 77);
    ck_assert(server_save(server));
    for (server_id id = 2; id <= 3; id++)
        leadership_peer(&lead.leadership, id)->match_index = server->raft.log.last_index;
    lead.room_bytes = lead.room_soon_bytes = MIB;
    tape[0] = '\0';
}

static void end_leading(void)
{
    command_list_fail(&lead.writes, COMMAND_STOPPING);
    command_list_fail(&lead.reads, COMMAND_STOPPING);
    end();
}

static u64 write(char client, u64 slot, const char *body)
{
    enum command_failure why;
    struct command *command = command_of(client, COMMAND_WRITE, slot, body);
    ck_assert_int_eq(pending_take_write(&server->raft, &lead, command, 0, &why), PENDING_APPENDED);
    return command->wait_index;
}

static void read(char client, u64 slot, const char *body)
{
    pending_take_read(&server->raft, &lead, command_of(client, COMMAND_READ, slot, body));
}

/* Both others have answered every round so far, and the one that is due. */
static void confirm(void)
{
    for (server_id id = 2; id <= 3; id++)
        leadership_peer(&lead.leadership, id)->round_acked = lead.leadership.round + 1;
}

/* ---- server_apply ---- */

START_TEST(server_apply__a_command_is_applied_and_its_writer_answered)
{
    begin_leading("1 1");
    struct command *writer = command_of('A', COMMAND_WRITE, 1, "x");
    u64 work = server_apply(server, 2, writer);
    CK_TAPE("apply 2:x, answer A1:+done x");
    ck_assert_uint_eq(work, strlen("+done x\r\n"));
    ck_assert_uint_eq(server->sink_count, 1);
    end_leading();
}
END_TEST

START_TEST(server_apply__nobody_waits_and_no_answer_is_made)
{
    begin("1 1");
    machine_works = 100;
    ck_assert_uint_eq(server_apply(server, 2, NULL), 100);
    CK_TAPE("apply 2:x");
    ck_assert_uint_eq(server->sink_count, 0);
    end();
}
END_TEST

/* They are nothing to the machine; who ordered one is told. */
START_TEST(server_apply__entries_of_raft_itself_do_not_reach_the_machine)
{
    static const enum entry_type types[] = {ENTRY_NOOP, ENTRY_CONFIGURATION, ENTRY_FEATURE};
    begin("1");
    for (size_t i = 0; i < ARRAY_LENGTH(types); i++) {
        struct entry entry = command_entry(1, "not for the machine");
        entry.type = types[i];
        u64 index = log_append(&server->raft.log, &entry, NULL, 0);
        (void)server_apply(server, index, NULL);
        CK_TAPE("");
        (void)server_apply(server, index, command_of('A', COMMAND_TRANSFER, 1, "order"));
        CK_TAPE("answer A1:+OK");
    }
    end();
}
END_TEST

START_TEST(server_apply__counts_toward_the_next_snapshot)
{
    begin("1 1");
    u64 before = server->snapshot.log_bytes;
    (void)server_apply(server, 2, NULL);
    ck_assert_uint_eq(server->snapshot.log_bytes - before, RECORD_HEADER_SIZE + 1);
    end();
}
END_TEST

/* ---- server_apply_committed ---- */

START_TEST(server_apply_committed__applies_each_entry_once_and_no_uncommitted_one)
{
    begin("1 1 1 1");
    server->raft.commit_index = 3;
    server_apply_committed(server, NULL);
    CK_TAPE("apply 2:x, apply 3:x");
    ck_assert_uint_eq(server->raft.last_applied, 3);
    server_apply_committed(server, NULL);
    CK_TAPE("");
    server->raft.commit_index = 4;
    server_apply_committed(server, NULL);
    CK_TAPE("apply 4:x");
    end();
}
END_TEST

START_TEST(server_apply_committed__each_writer_gets_the_answer_to_its_own_entry)
{
    begin_leading("1 1"); /* 3: the no-op */
    ck_assert_uint_eq(write('A', 1, "a"), 4);
    ck_assert_uint_eq(write('B', 1, "b"), 5);
    ck_assert_uint_eq(write('A', 2, "c"), 6);
    ck_assert(server_save(server));
    tape[0] = '\0';
    server->raft.commit_index = 5;
    server_apply_committed(server, &lead);
    CK_TAPE("apply 2:x, apply 4:a, answer A1:+done a, apply 5:b, answer B1:+done b");
    ck_assert_uint_eq(lead.writes.count, 1);
    server->raft.commit_index = 6;
    server_apply_committed(server, &lead);
    CK_TAPE("apply 6:c, answer A2:+done c");
    end_leading();
}
END_TEST

/* By what is in the log: the entry that makes it too much is the last. */
START_TEST(server_apply_committed__much_is_applied_in_batches)
{
    begin("1 1 1 1 1");
    server->raft.commit_index = 5;
    server->raft.round_bytes_max = RECORD_HEADER_SIZE + 2; /* of "x" and a little */
    server_apply_committed(server, NULL);
    CK_TAPE("apply 2:x, apply 3:x");
    server->raft.round_bytes_max = 1;
    server_apply_committed(server, NULL); /* one at least */
    CK_TAPE("apply 4:x");
    end();
}
END_TEST

/* A short command can be dear. */
START_TEST(server_apply_committed__a_helping_counts_what_the_machine_touches)
{
    begin("1 1 1 1 1");
    server->raft.commit_index = 5;
    machine_works = server->raft.round_bytes_max / 2;
    server_apply_committed(server, NULL);
    CK_TAPE("apply 2:x, apply 3:x");
    end();
}
END_TEST

START_TEST(server_apply_committed__is_traced_entry_by_entry)
{
    begin("1 1 1");
    server->raft.commit_index = 3;
    server_apply_committed(server, NULL);
    ck_assert_str_eq(traced, "Apply Apply");
    end();
}
END_TEST

/* ---- server_read ---- */

START_TEST(server_read__is_answered_from_the_machine)
{
    begin("1");
    machine_works = 1000;
    u64 work = server_read(server, command_of('A', COMMAND_READ, 1, "k"));
    CK_TAPE("read k, answer A1:+read k");
    ck_assert_uint_eq(work, 1000 + strlen("+read k\r\n"));
    end();
}
END_TEST

/* ---- the scratch for answers ---- */

START_TEST(server_apply__large_scratch_does_not_stay)
{
    begin("1");
    machine_answers = LARGE;
    (void)server_read(server, command_of('A', COMMAND_READ, 1, "k"));
    ck_assert_uint_eq(server->answer.capacity, 0);
    machine_answers = 0;
    (void)server_read(server, command_of('A', COMMAND_READ, 2, "k"));
    ck_assert_uint_gt(server->answer.capacity, 0); /* small scratch does */
    end();
}
END_TEST

/* ---- server_answer_reads ---- */

START_TEST(server_answer_reads__only_when_confirmed)
{
    begin_leading("1 1");
    server->raft.commit_index = server->raft.log.last_index;
    server_apply_committed(server, &lead);
    tape[0] = '\0';
    read('A', 1, "k");
    server_answer_reads(server, &lead);
    CK_TAPE("");
    leadership_begin_round(&server->raft, &lead.leadership);
    leadership_peer(&lead.leadership, 2)->round_acked = lead.leadership.round - 1;
    server_answer_reads(server, &lead);
    CK_TAPE("");
    leadership_peer(&lead.leadership, 2)->round_acked = lead.leadership.round;
    server_answer_reads(server, &lead);
    CK_TAPE("read k, answer A1:+read k");
    ck_assert(!lead.reads_left);
    end_leading();
}
END_TEST

/* A new leader does not know what is committed until an entry of its own is. */
START_TEST(server_answer_reads__only_when_what_they_must_see_is_applied)
{
    begin_leading("1 1"); /* 3: the no-op */
    read('A', 1, "k");
    confirm();
    server_answer_reads(server, &lead);
    CK_TAPE("");
    server->raft.commit_index = 2;
    server_apply_committed(server, &lead);
    server_answer_reads(server, &lead);
    CK_TAPE("apply 2:x");
    server->raft.commit_index = 3;
    server_apply_committed(server, &lead);
    server_answer_reads(server, &lead);
    CK_TAPE("read k, answer A1:+read k");
    end_leading();
}
END_TEST

START_TEST(server_answer_reads__in_the_order_in_which_they_came)
{
    begin_leading("1 1");
    server->raft.commit_index = 3;
    server_apply_committed(server, &lead);
    tape[0] = '\0';
    u64 index = write('A', 1, "w");
    struct command *behind = command_of('A', COMMAND_READ, 2, "mine");
    behind->after_write = true;
    pending_take_read(&server->raft, &lead, behind);
    read('B', 1, "other");
    confirm();
    server_answer_reads(server, &lead); /* the first one's write is not applied */
    CK_TAPE("");
    server->raft.commit_index = index;
    ck_assert(server_save(server));
    tape[0] = '\0';
    server_apply_committed(server, &lead);
    server_answer_reads(server, &lead);
    CK_TAPE("apply 4:w, answer A1:+done w, read mine, answer A2:+read mine, read other, "
            "answer B1:+read other");
    end_leading();
}
END_TEST

/* The rest waits for the next flush, which must not wait for mail. */
START_TEST(server_answer_reads__a_crowd_of_large_ones_is_answered_in_batches)
{
    begin_leading("1 1");
    server->raft.commit_index = 3;
    server_apply_committed(server, &lead);
    tape[0] = '\0';
    machine_answers = ANSWERED_READ_BYTES_MAX / 2;
    for (u64 slot = 1; slot <= 3; slot++)
        read('A', slot, "k");
    confirm();
    server_answer_reads(server, &lead);
    CK_TAPE("read k, answer A1:+read k, read k, answer A2:+read k");
    ck_assert(lead.reads_left);
    server_answer_reads(server, &lead);
    CK_TAPE("read k, answer A3:+read k");
    ck_assert(!lead.reads_left);
    end_leading();
}
END_TEST

UNIT_MAIN("apply", server_apply__a_command_is_applied_and_its_writer_answered,
          server_apply__nobody_waits_and_no_answer_is_made,
          server_apply__entries_of_raft_itself_do_not_reach_the_machine,
          server_apply__counts_toward_the_next_snapshot,
          server_apply_committed__applies_each_entry_once_and_no_uncommitted_one,
          server_apply_committed__each_writer_gets_the_answer_to_its_own_entry,
          server_apply_committed__much_is_applied_in_batches,
          server_apply_committed__a_helping_counts_what_the_machine_touches,
          server_apply_committed__is_traced_entry_by_entry,
          server_read__is_answered_from_the_machine, server_apply__large_scratch_does_not_stay,
          server_answer_reads__only_when_confirmed,
          server_answer_reads__only_when_what_they_must_see_is_applied,
          server_answer_reads__in_the_order_in_which_they_came,
          server_answer_reads__a_crowd_of_large_ones_is_answered_in_batches)
