/* check_install.c - InstallSnapshot, the follower's end: rules/install.c, and what log.c does for
 * it. The leader's end is in check_install_leader.c. */
#include "server/rules/install.h"

#include "test/unit/leader_unit.h"

enum { PIECE = 100, FILE_SIZE = 250 };

static const struct snapshot_name name_of_20 = {{3, 20}, FILE_SIZE, 0xabc};
static const char *const no_reason = "";

/* A message with the piece of the file from `offset` on. */
static struct message piece_of(const struct snapshot_name *name, u64 term, u64 offset, u32 size)
{
    struct message message = {
        .kind = MESSAGE_INSTALL_SNAPSHOT, .from = 2, .to = 1, .term = term, .call = 5};
    message.as.install_request = (struct install_request){.last = name->last,
                                                          .size = name->size,
                                                          .checksum = name->checksum,
                                                          .offset = offset,
                                                          .round = 7};
    if (size > 0) {
        struct block *block = block_create(size);
        memset(block->data, 'p', size);
        message.spans[message.span_count++] = span_of(block, block->data, size);
        block_release(block);
    }
    return message;
}

/* Hands it to the rule; the result must be this, and the verdict. */
static struct install_reply install_of(struct message message, u64 room, bool no_space,
                                       enum install_verdict expected)
{
    struct message reply;
    enum install_verdict verdict;
    const char *why = no_reason;
    ck_assert_msg(
        install_receive_chunk(&raft, &message, room, no_space, T_MS, &reply, &verdict, &why), "%s",
        why);
    ck_assert_int_eq(verdict, expected);
    ck_assert_int_eq(reply.kind, MESSAGE_INSTALL_SNAPSHOT_REPLY);
    ck_assert_uint_eq(reply.call, message.call);
    ck_assert_uint_eq(reply.as.install_reply.round, 7);
    message_release(&message);
    return reply.as.install_reply;
}

static struct snapshot_point point_of(const struct snapshot_name *name)
{
    struct snapshot_point point = {.name = *name, .time_ns = 99};
    point.configuration = raft.configuration;
    point.configuration.index = 1;
    return point;
}

/* ---- the follower ---- */

/* [InstallSnapshot 1, §7] */
START_TEST(raft_refuse__a_stale_snapshot)
{
    raft_of(&raft, 3, 1, "1 2 4");
    struct message message = piece_of(&name_of_20, 3, 0, PIECE);
    struct message reply;
    ck_assert_int_eq(check_term(&raft, &message, false), TERM_STALE);
    raft_refuse(&raft, &message, &reply);
    ck_assert_int_eq(reply.as.install_reply.result, INSTALL_REFUSED_TERM);
    ck_assert_uint_eq(reply.as.install_reply.round, 7);
    message_release(&message);
    release();
}
END_TEST

/* [InstallSnapshot 2, §7] [InstallSnapshot 3, §7] [InstallSnapshot 4, §7] */
START_TEST(install_snapshot__takes_piece_after_piece)
{
    raft_of(&raft, 3, 1, "1 3");
    struct install_reply reply =
        install_of(piece_of(&name_of_20, 3, 0, 0), MIB, false, INSTALL_NOTHING);
    ck_assert_int_eq(reply.result, INSTALL_CONTINUE);
    ck_assert_uint_eq(reply.next_offset, 0);
    ck_assert_uint_eq(raft.leader, 2);
    ck_assert_uint_eq(raft.leader_heard_ns, T_MS);
    reply = install_of(piece_of(&name_of_20, 3, 0, PIECE), MIB, false, INSTALL_TAKE);
    ck_assert_uint_eq(reply.next_offset, PIECE);
    /* The same again, and one from further on: it says what it wants. */
    reply = install_of(piece_of(&name_of_20, 3, 0, PIECE), MIB, false, INSTALL_NOTHING);
    ck_assert_uint_eq(reply.next_offset, PIECE);
    reply = install_of(piece_of(&name_of_20, 3, 2 * PIECE, 50), MIB, false, INSTALL_NOTHING);
    ck_assert_uint_eq(reply.next_offset, PIECE);
    reply = install_of(piece_of(&name_of_20, 3, PIECE, PIECE), MIB, false, INSTALL_TAKE);
    reply = install_of(piece_of(&name_of_20, 3, 2 * PIECE, 50), MIB, false, INSTALL_TAKE);
    ck_assert_int_eq(reply.result, INSTALL_CONTINUE);
    ck_assert_uint_eq(reply.next_offset, FILE_SIZE);
    /* Nothing has changed but what is known of the file. */
    ck_assert_uint_eq(raft.commit_index, 0);
    ck_assert_str_eq(terms_of(&raft.log), "1 3");
    release();
}
END_TEST

START_TEST(install_snapshot__pushes_back)
{
    raft_of(&raft, 3, 1, "1 3");
    struct install_reply reply =
        install_of(piece_of(&name_of_20, 3, 0, PIECE), PIECE - 1, false, INSTALL_NOTHING);
    ck_assert_int_eq(reply.result, INSTALL_BUSY);
    /* Whoever has no room at all says so when it is asked, before a piece is sent for nothing. */
    reply = install_of(piece_of(&name_of_20, 3, 0, 0), 0, false, INSTALL_NOTHING);
    ck_assert_int_eq(reply.result, INSTALL_BUSY);
    ck_assert_uint_eq(reply.next_offset, 0);
    reply = install_of(piece_of(&name_of_20, 3, 0, 0), 0, true, INSTALL_NOTHING);
    ck_assert_int_eq(reply.result, INSTALL_NO_SPACE);
    reply = install_of(piece_of(&name_of_20, 3, 0, 0), 1, false, INSTALL_NOTHING);
    ck_assert_int_eq(reply.result, INSTALL_CONTINUE);
    reply = install_of(piece_of(&name_of_20, 3, 0, PIECE), 0, true, INSTALL_NOTHING);
    ck_assert_int_eq(reply.result, INSTALL_NO_SPACE);
    ck_assert_uint_eq(reply.next_offset, 0);
    reply = install_of(piece_of(&name_of_20, 3, 0, PIECE), PIECE, true, INSTALL_TAKE);
    ck_assert_int_eq(reply.result, INSTALL_CONTINUE);
    release();
}
END_TEST

/* [InstallSnapshot 5, §7] "discard any existing or partial snapshot" */
START_TEST(install_snapshot__another_file_begins_anew_and_the_same_goes_on)
{
    raft_of(&raft, 3, 1, "1 3");
    install_of(piece_of(&name_of_20, 3, 0, PIECE), MIB, false, INSTALL_TAKE);
    /* Another leader, the same file. */
    adopt_term(&raft, 4);
    struct message message = piece_of(&name_of_20, 4, 0, 0);
    message.from = 3;
    struct install_reply reply = install_of(message, MIB, false, INSTALL_NOTHING);
    ck_assert_uint_eq(reply.next_offset, PIECE);
    struct snapshot_name other = name_of_20;
    other.checksum++;
    message = piece_of(&other, 4, 0, PIECE);
    message.from = 3;
    reply = install_of(message, MIB, false, INSTALL_TAKE);
    ck_assert_uint_eq(reply.next_offset, PIECE);
    /* What is said of the first file is of no concern to the second. */
    install_failed(&raft, raft.incoming.order - 1);
    ck_assert_uint_eq(raft.incoming.received, PIECE);
    install_failed(&raft, raft.incoming.order);
    message = piece_of(&other, 4, PIECE, PIECE);
    message.from = 3;
    reply = install_of(message, MIB, false, INSTALL_NOTHING);
    ck_assert_uint_eq(reply.next_offset, 0);
    release();
}
END_TEST

START_TEST(install_snapshot__what_is_known_is_done)
{
    raft_of(&raft, 3, 1, "1 3 3 3");
    raft.commit_index = 3;
    struct snapshot_name old = {{3, 3}, FILE_SIZE, 1};
    struct install_reply reply =
        install_of(piece_of(&old, 3, 0, PIECE), MIB, false, INSTALL_NOTHING);
    ck_assert_int_eq(reply.result, INSTALL_DONE);
    ck_assert_uint_eq(raft.incoming.name.last.index, 0);
    release();
}
END_TEST

START_TEST(install_snapshot__a_second_leader_is_a_bug)
{
    raft_of(&raft, 3, 1, "1 3");
    raft.leader = 3;
    struct message message = piece_of(&name_of_20, 3, 0, PIECE);
    struct message reply;
    enum install_verdict verdict;
    const char *why = NULL;
    ck_assert(!install_receive_chunk(&raft, &message, MIB, false, T_MS, &reply, &verdict, &why));
    ck_assert_ptr_nonnull(why);
    message_release(&message);
    release();
}
END_TEST

/* [InstallSnapshot 6, §7] */
START_TEST(snapshot_install__keeps_the_log_that_holds_its_last_entry)
{
    raft_of(&raft, 3, 1, "1 1 3 3 3");
    raft.commit_index = 1;
    struct snapshot_name name = {{3, 3}, FILE_SIZE, 1};
    struct snapshot_point point = point_of(&name);
    ck_assert_int_eq(install_swap_state(&raft, &point), INSTALLED_KEEPS_LOG);
    ck_assert_str_eq(terms_of(&raft.log), "1 1 3 3 3");
    ck_assert_uint_eq(raft.commit_index, 3);
    ck_assert_uint_eq(raft.last_applied, 3);
    ck_assert_uint_eq(raft.snapshot.last.index, 3);
    ck_assert_uint_eq(raft.log.last_time_ns, 99);
    /* An older one, later. */
    struct snapshot_name old = {{1, 2}, FILE_SIZE, 1};
    point = point_of(&old);
    ck_assert_int_eq(install_swap_state(&raft, &point), INSTALLED_OLD);
    ck_assert_uint_eq(raft.snapshot.last.index, 3);
    ck_assert_uint_eq(raft.commit_index, 3);
    release();
}
END_TEST

/* It came while entries did, which are committed and wait for their turn: the machine goes on by
 * itself, and the log keeps what it has not been given. */
START_TEST(snapshot_install__of_what_is_committed_and_not_yet_applied)
{
    static const struct compaction_limits limits = {.trailing_entries = 0};
    raft_of(&raft, 3, 1, "1 1 3 3 3");
    raft.commit_index = 5;
    raft.last_applied = 2;
    struct snapshot_name name = {{3, 4}, FILE_SIZE, 1};
    struct snapshot_point point = point_of(&name);
    ck_assert_int_eq(install_swap_state(&raft, &point), INSTALLED_OLD);
    ck_assert_uint_eq(raft.last_applied, 2);
    ck_assert_uint_eq(raft.commit_index, 5);
    ck_assert_uint_eq(raft.snapshot.last.index, 4);
    ck_assert_uint_eq(compaction_index(&raft, NULL, &limits, 0, 0), 2);
    log_compact(&raft.log, 2);
    ck_assert(log_in_memory(&raft.log, 3));
    raft.last_applied = 5;
    ck_assert_uint_eq(compaction_index(&raft, NULL, &limits, 0, 0), 4);
    release();
}
END_TEST

/* [InstallSnapshot 7, §7] [InstallSnapshot 8, §7] */
START_TEST(snapshot_install__replaces_any_other_log)
{
    static const char *const logs[] = {"1", "1 1 1 1 1", "1 1 2 2 2 2 2", "1 1 3"};
    for (size_t i = 0; i < ARRAY_LENGTH(logs); i++) {
        raft_of(&raft, 3, 1, logs[i]);
        raft.configuration.index = 0;
        struct snapshot_name name = {{3, 5}, FILE_SIZE, 1};
        struct snapshot_point point = point_of(&name);
        ck_assert_int_eq(install_swap_state(&raft, &point), INSTALLED_RESETS_LOG);
        ck_assert_uint_eq(raft.log.base.index, 5);
        ck_assert_uint_eq(raft.log.base.term, 3);
        ck_assert_uint_eq(raft.log.last_index, 5);
        ck_assert_uint_eq(raft.log.durable_index, 5);
        ck_assert_uint_eq(raft.log.unsaved_index, 6);
        ck_assert_uint_eq(raft.log.memory_bytes, 0);
        ck_assert_uint_eq(raft.configuration.index, 1);
        ck_assert_uint_eq(raft.commit_index, 5);
        /* The leader's entries go on behind it; what it sends of before is known. */
        raft.current_term = 3;
        struct append_reply reply =
            append_to(&raft, append_of(2, 3, (struct entry_id){3, 4}, "3 3", 5));
        ck_assert_int_eq(reply.result, APPEND_ACCEPTED);
        ck_assert_uint_eq(reply.match_index, 6);
        ck_assert_str_eq(terms_of(&raft.log), "3");
        release();
    }
}
END_TEST

START_TEST(append_entries__another_term_at_the_base_contradicts_what_is_committed)
{
    raft_of(&raft, 3, 1, "1");
    struct snapshot_name name = {{3, 5}, FILE_SIZE, 1};
    struct snapshot_point point = point_of(&name);
    ck_assert_int_eq(install_swap_state(&raft, &point), INSTALLED_RESETS_LOG);
    raft.current_term = 4;
    struct message message = append_of(2, 4, (struct entry_id){4, 5}, "4", 5);
    struct message reply;
    const char *why = NULL;
    ck_assert(!append_entries(&raft, &message, UINT64_MAX, T_MS, &reply, &why));
    ck_assert_ptr_nonnull(why);
    message_release(&message);
    release();
}
END_TEST

/* ---- the log with a base ---- */

START_TEST(log_compact__forgets_the_front_and_nothing_else)
{
    for (u64 through = 0; through <= 9; through++) {
        raft_of(&raft, 1, 1, "1 1 2 2 2 4 5 5");
        u64 terms[] = {0, 1, 1, 2, 2, 2, 4, 5, 5};
        if (through <= 8)
            log_compact(&raft.log, through);
        u64 base = through <= 8 ? through : 0;
        ck_assert_uint_eq(raft.log.base.index, base);
        ck_assert_uint_eq(raft.log.base.term, terms[base]);
        ck_assert_uint_eq(log_last(&raft.log).term, 5);
        for (u64 index = base; index <= 8; index++)
            ck_assert_uint_eq(log_term_at(&raft.log, index), terms[index]);
        for (u64 index = base + 1; index <= 8; index++) {
            ck_assert(log_in_memory(&raft.log, index));
            u64 first = index;
            while (first > base + 1 && terms[first - 1] == terms[index])
                first--;
            ck_assert_uint_eq(log_first_index_of_term_at(&raft.log, index), first);
        }
        ck_assert_uint_eq(raft.log.memory_bytes, (8 - base) * COMMAND_BYTES);
        log_add(&raft.log, "5 6");
        ck_assert_uint_eq(log_term_at(&raft.log, 10), 6);
        log_truncate(&raft.log, base + 1);
        ck_assert_uint_eq(log_last(&raft.log).index, base);
        ck_assert_uint_eq(log_last(&raft.log).term, terms[base]);
        release();
    }
}
END_TEST

UNIT_MAIN("install", raft_refuse__a_stale_snapshot, install_snapshot__takes_piece_after_piece,
          install_snapshot__pushes_back,
          install_snapshot__another_file_begins_anew_and_the_same_goes_on,
          install_snapshot__what_is_known_is_done, install_snapshot__a_second_leader_is_a_bug,
          snapshot_install__keeps_the_log_that_holds_its_last_entry,
          snapshot_install__of_what_is_committed_and_not_yet_applied,
          snapshot_install__replaces_any_other_log,
          append_entries__another_term_at_the_base_contradicts_what_is_committed,
          log_compact__forgets_the_front_and_nothing_else)
