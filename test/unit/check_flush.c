/* check_flush.c - contract 4, "speak only after persisting", witnessed where the server ends: what
 * the disk was told, and what others heard, in one order. */
#include "test/unit/server_unit.h"

#include "server/requests/pending.h"

#define METADATA "write metadata, sync metadata, write metadata, sync metadata"

static struct leader_pending lead;

/* ---- what is staged: an early message and another one ---- */

static struct message message_to(enum message_kind kind, server_id to)
{
    return (struct message){.kind = kind, .from = 1, .to = to, .term = server->raft.current_term};
}

static void stage_early(void)
{
    struct message append = message_to(MESSAGE_APPEND_ENTRIES, 2);
    outbox_put_early(&server->outbox, &append);
}

static void stage_vote(void)
{
    struct message vote = message_to(MESSAGE_REQUEST_VOTE_REPLY, 3);
    outbox_put(&server->outbox, &vote);
}

/* A client of another server: its answer is a message. */
static void far_answer(struct command_sink *sink, struct command *command, const u8 *answer,
                       size_t size)
{
    (void)sink, (void)answer, (void)size;
    struct message reply = message_to(MESSAGE_FORWARD_REPLY, 3);
    outbox_put_early(&server->outbox, &reply);
    command_destroy(command);
}

static const struct command_sink_ops far_ops = {.answer = far_answer};
static struct command_sink far_sink = {&far_ops};

static void note_end(struct server *self, const struct leader_pending *leading)
{
    (void)self;
    note("end of %s", leading != NULL ? "leader's pile" : "pile");
}

/* Server 1 leads in term 2, and that is on its disk; entry 2, its no-op, is not yet. */
static void begin_leading(void)
{
    begin("1");
    adopt_term(&server->raft, 2);
    ck_assert(server_save(server));
    pending_begin(&server->raft, &lead, clock_monotonic_ns(), 77);
    lead.room_bytes = lead.room_soon_bytes = MIB;
    server->note_status = note_end;
    tape[0] = traced[0] = '\0';
}

static void end_leading(void)
{
    command_list_fail(&lead.writes, COMMAND_STOPPING);
    command_list_fail(&lead.reads, COMMAND_STOPPING);
    end();
}

static void write(char client, u64 slot, const char *body)
{
    enum command_failure why;
    struct command *command = command_of(client, COMMAND_WRITE, slot, body);
    ck_assert_int_eq(pending_take_write(&server->raft, &lead, command, 0, &why), PENDING_APPENDED);
}

static void write_from_afar(void)
{
    write('C', 9, "far");
    lead.writes.last->sink = &far_sink;
    lead.writes.last->forwarded = true;
}

static void holds(server_id id, u64 index)
{
    leadership_peer(&lead.leadership, id)->match_index = index;
}

/* ---- server_flush ---- */

START_TEST(server_flush__early_messages_go_before_the_sync_all_others_after_it)
{
    begin_leading();
    stage_vote();
    stage_early();
    ck_assert(server_flush(server, &lead));
    CK_TAPE("send append>2, write log, sync log, send vote-reply>3, end of leader's pile");
    end_leading();
}
END_TEST

START_TEST(server_flush__nothing_goes_before_a_new_term_is_on_disk)
{
    begin("1");
    server->note_status = note_end;
    adopt_term(&server->raft, 2);
    stage_vote();
    stage_early();
    log_add(&server->raft.log, "2");
    ck_assert(server_flush(server, NULL));
    CK_TAPE(METADATA ", write log, sync log, send append>2, send vote-reply>3, "
                     "end of pile");
    end();
}
END_TEST

START_TEST(server_flush__what_a_quorum_holds_is_answered_before_the_sync)
{
    begin_leading();
    write('A', 1, "a"); /* 3 */
    ck_assert(server_save(server));
    write('B', 1, "b"); /* 4, of this pile */
    tape[0] = '\0';
    holds(2, 3); /* with this server's own disk that is a quorum */
    ck_assert(server_flush(server, &lead));
    CK_TAPE("apply 3:a, answer A1:+done a, flush A, write log, sync log, end of leader's pile");
    end_leading();
}
END_TEST

/* Its own disk counts like any other: only when it holds the entry. */
START_TEST(server_flush__what_its_own_sync_completes_is_answered_after_it)
{
    begin_leading();
    write('A', 1, "a"); /* 3 */
    holds(2, 3);
    ck_assert(server_flush(server, &lead));
    CK_TAPE("write log, sync log, apply 3:a, answer A1:+done a, flush A, end of leader's pile");
    ck_assert_str_eq(traced, "Persist Commit Apply Apply");
    end_leading();
}
END_TEST

/* Both halves of the flush, and in both the answer leaves with that half. */
START_TEST(server_flush__answers_to_other_servers_leave_in_the_same_flush)
{
    begin_leading();
    write_from_afar(); /* 3 */
    ck_assert(server_save(server));
    write_from_afar(); /* 4 */
    tape[0] = '\0';
    holds(2, 4);
    ck_assert(server_flush(server, &lead));
    CK_TAPE("apply 3:far, send forward-reply>3, write log, sync log, apply 4:far, "
            "send forward-reply>3, end of leader's pile");
    ck_assert(outbox_is_empty(&server->outbox));
    end_leading();
}
END_TEST

START_TEST(server_flush__a_commit_is_traced_once)
{
    begin("1 1 1");
    server->raft.commit_index = 3;
    ck_assert(server_flush(server, NULL));
    ck_assert_str_eq(traced, "Commit Apply Apply");
    ck_assert(server_flush(server, NULL));
    ck_assert_str_eq(traced, "Commit Apply Apply");
    end();
}
END_TEST

START_TEST(server_flush__reads_are_answered_by_a_leader)
{
    begin_leading();
    ck_assert(server_save(server));
    holds(2, 2);
    pending_take_read(&server->raft, &lead, command_of('A', COMMAND_READ, 1, "k"));
    leadership_begin_round(&server->raft, &lead.leadership);
    leadership_peer(&lead.leadership, 2)->round_acked = lead.leadership.round;
    tape[0] = '\0';
    ck_assert(server_flush(server, &lead));
    CK_TAPE("read k, answer A1:+read k, flush A, end of leader's pile");
    end_leading();
}
END_TEST

START_TEST(server_flush__lets_go_of_old_entries_and_looks_for_room)
{
    begin("1 1 1 1");
    server->raft.commit_index = 3;
    server->raft.log.memory_bytes_max = 1;
    server->raft.room_bytes = 0;
    ck_assert(server_flush(server, NULL));
    ck_assert_uint_eq(server->raft.log.memory_first, 4); /* what is applied, and no more */
    ck_assert_uint_gt(server->raft.room_bytes, 0);
    end();
}
END_TEST

/* ---- a disk that fails ---- */

/* Early messages promise nothing but the term; they may be gone already. */
START_TEST(server_flush__nothing_follows_a_failing_sync)
{
    begin_leading();
    write('A', 1, "a"); /* 3 */
    holds(2, 3);        /* with this server's disk it would be a quorum */
    stage_vote();
    stage_early();
    disk_fails = "sync log";
    ck_assert(!server_flush(server, &lead));
    CK_TAPE("send append>2, write log, sync log");
    ck_assert_int_eq(server->failure.code, ERROR_IO);
    ck_assert_uint_eq(server->raft.commit_index, 1);
    end_leading();
}
END_TEST

START_TEST(server_flush__nothing_at_all_when_the_term_cannot_be_saved)
{
    begin("1");
    server->note_status = note_end;
    adopt_term(&server->raft, 2);
    stage_vote();
    stage_early();
    disk_fails = "sync metadata";
    ck_assert(!server_flush(server, NULL));
    CK_TAPE("write metadata, sync metadata");
    end();
}
END_TEST

/* What had to be saved in the midst of the pile could not be. */
START_TEST(server_flush__nothing_at_all_when_the_disk_had_failed_before)
{
    begin_leading();
    write('A', 1, "a");
    ck_assert(server_save(server));
    holds(2, 3);
    stage_vote();
    stage_early();
    tape[0] = '\0';
    ck_assert_int_eq(error_set(&server->failure, ERROR_IO, "the medium"), ERROR_IO);
    ck_assert(!server_flush(server, &lead));
    CK_TAPE("");
    end_leading();
}
END_TEST

UNIT_MAIN("flush", server_flush__early_messages_go_before_the_sync_all_others_after_it,
          server_flush__nothing_goes_before_a_new_term_is_on_disk,
          server_flush__what_a_quorum_holds_is_answered_before_the_sync,
          server_flush__what_its_own_sync_completes_is_answered_after_it,
          server_flush__answers_to_other_servers_leave_in_the_same_flush,
          server_flush__a_commit_is_traced_once, server_flush__reads_are_answered_by_a_leader,
          server_flush__lets_go_of_old_entries_and_looks_for_room,
          server_flush__nothing_follows_a_failing_sync,
          server_flush__nothing_at_all_when_the_term_cannot_be_saved,
          server_flush__nothing_at_all_when_the_disk_had_failed_before)
