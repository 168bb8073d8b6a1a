/* check_persist.c - what is on disk before it is spoken of. */
#include "test/unit/server_unit.h"

#define METADATA "write metadata, sync metadata, write metadata, sync metadata"

/* The log and the term that a power cut leaves. */
static void ck_disk(const char *terms, u64 term, server_id voted_for)
{
    struct server_options options = founded_options(DESIGN_PER_STATE);
    struct memory_vfs *after = memory_crash(disk, NULL, NULL, false);
    end();
    disk = after;
    disk->vfs.ops = &disk_ops;
    start(&options);
    ck_assert_str_eq(terms_of(&server->raft.log), terms);
    ck_assert_uint_eq(server->raft.current_term, term);
    ck_assert_uint_eq(server->raft.voted_for, voted_for);
}

/* ---- server_must_save, server_save ---- */

START_TEST(server_save__with_nothing_new_does_not_touch_the_disk)
{
    begin("1 2");
    ck_assert(!server_must_save(server));
    ck_assert(server_save(server));
    CK_TAPE("");
    ck_assert_str_eq(traced, "");
    end();
}
END_TEST

START_TEST(server_save__term_and_vote_come_before_the_log)
{
    begin("1 1");
    adopt_term(&server->raft, 3);
    server->raft.voted_for = 2;
    log_add(&server->raft.log, "3 3");
    ck_assert(server_must_save(server));
    ck_assert(server_save(server));
    CK_TAPE(METADATA ", write log, sync log");
    ck_assert_str_eq(traced, "Persist");
    ck_assert(!server->raft.metadata_unsaved);
    ck_assert(!server_must_save(server));
    ck_disk("1 1 3 3", 3, 2);
    end();
}
END_TEST

START_TEST(server_save__a_term_alone_leaves_the_log_alone)
{
    begin("1 1");
    adopt_term(&server->raft, 2);
    ck_assert(server_must_save(server));
    ck_assert(server_save(server));
    CK_TAPE(METADATA);
    ck_disk("1 1", 2, SERVER_NONE);
    end();
}
END_TEST

/* Group commit: however many entries there are, and in however many pieces of memory. */
START_TEST(server_save__all_entries_are_one_batch_with_one_sync)
{
    begin("1 1");
    log_add(&server->raft.log, "1 1");
    for (u64 i = 0; i < 3 * MESSAGE_SPANS_MAX; i++) { /* each of a block of its own */
        struct message one = append_of(2, 1, log_last(&server->raft.log), "1", 0);
        log_append_record(&server->raft.log, one.spans[0].block, one.spans[0].data,
                          one.spans[0].size);
        message_release(&one);
    }
    u64 last = server->raft.log.last_index;
    ck_assert(server_save(server));
    CK_TAPE("write log, sync log");
    ck_assert_uint_eq(server->raft.log.durable_index, last);
    ck_assert_uint_eq(server->raft.log.unsaved_index, last + 1);
    struct server_options options = founded_options(DESIGN_PER_STATE);
    stop();
    start(&options);
    ck_assert_uint_eq(server->raft.log.last_index, last);
    end();
}
END_TEST

START_TEST(server_save__a_truncated_tail_is_replaced)
{
    begin("1 1 2 2");
    log_truncate(&server->raft.log, 3);
    ck_assert_uint_eq(server->raft.log.durable_index, 2);
    adopt_term(&server->raft, 3);
    log_add(&server->raft.log, "3");
    ck_assert(server_save(server));
    CK_TAPE(METADATA ", write log, sync log");
    ck_disk("1 1 3", 3, SERVER_NONE);
    end();
}
END_TEST

/* What is known to be committed goes along with the entries, so that the next start applies it. */
START_TEST(server_save__a_batch_tells_what_is_committed)
{
    begin("1 1");
    struct server_options options = founded_options(DESIGN_PER_STATE);
    server->raft.commit_index = 2;
    log_add(&server->raft.log, "1");
    ck_assert(server_save(server));
    stop();
    start(&options);
    ck_assert_uint_eq(server->raft.commit_index, 2);
    end();
}
END_TEST

/* ---- a disk that fails ---- */

/* The step fails, and so no later one is tried; what was not saved is not taken for saved. */
static void ck_failure(const char *step, const char *until, const char *why)
{
    begin("1 1");
    adopt_term(&server->raft, 3);
    log_add(&server->raft.log, "3");
    disk_fails = step;
    ck_assert(!server_save(server));
    CK_TAPE(until);
    ck_assert_int_eq(server->failure.code, ERROR_IO);
    ck_assert_ptr_nonnull(strstr(server->failure.text, why));
    CK_SAID("stopping: ");
    CK_SAID(why);
    ck_assert_uint_eq(server->raft.log.durable_index, 2);
    ck_assert_str_eq(traced, "");
    /* Never tried again: the pages that could not be written may be gone. */
    disk_fails = NULL;
    ck_assert(!server_save(server));
    CK_TAPE("");
    end();
}

START_TEST(server_save__a_failing_write_of_the_term_stops_it)
{
    ck_failure("write metadata", "write metadata", "save term and vote");
}
END_TEST

START_TEST(server_save__a_failing_sync_of_the_term_stops_it)
{
    ck_failure("sync metadata", "write metadata, sync metadata", "save term and vote");
}
END_TEST

START_TEST(server_save__a_failing_write_of_the_log_stops_it)
{
    ck_failure("write log", METADATA ", write log", "save log entries");
}
END_TEST

START_TEST(server_save__a_failing_sync_of_the_log_stops_it)
{
    ck_failure("sync log", METADATA ", write log, sync log", "save log entries");
}
END_TEST

/* A job has failed, for example: nothing is to be saved, and yet the server must not go on. */
START_TEST(server_save__a_disk_that_has_failed_elsewhere_stops_it)
{
    begin("1 1");
    struct error error;
    disk_fails = "sync metadata";
    ck_assert_int_ne(storage_save_acked_through(server->storage, (struct entry_id){0, 0}, &error),
                     ERROR_NONE);
    disk_fails = NULL;
    ck_assert(!server_must_save(server));
    ck_assert(!server_save(server));
    CK_SAID("stopping: prepare segments");
    end();
}
END_TEST

START_TEST(server_disk_failed__says_what_was_tried_and_why_it_failed)
{
    begin("1");
    ck_assert_int_eq(error_set(&server->failure, ERROR_IO, "the medium"), ERROR_IO);
    ck_assert(!server_disk_failed(server, "save it"));
    CK_SAID("stopping: save it: the medium");
    end();
}
END_TEST

/* ---- the promise ---- */

START_TEST(server_save__the_promise_is_forgotten_when_the_log_is_whole_again)
{
    begin("1 1");
    struct entry_id promised = {1, 3};
    server->raft.acked_through = promised;
    ck_assert_int_eq(storage_save_acked_through(server->storage, promised, &server->failure),
                     ERROR_NONE);
    tape[0] = '\0';
    ck_assert(!server_must_save(server));
    ck_assert(server_save(server)); /* entry 3 is still missing */
    CK_TAPE("");
    ck_assert_uint_eq(server->raft.acked_through.index, 3);
    log_add(&server->raft.log, "1");
    ck_assert(server_save(server));
    CK_TAPE("write log, sync log, " METADATA);
    ck_assert_uint_eq(server->raft.acked_through.index, 0);
    CK_SAID("the log is repaired");
    ck_disk("1 1 1", 1, SERVER_NONE);
    ck_assert_uint_eq(server->raft.acked_through.index, 0);
    end();
}
END_TEST

/* A snapshot can fulfil it, too: then there is no entry to save. */
START_TEST(server_save__the_promise_is_forgotten_without_new_entries)
{
    begin("1 1");
    server->raft.acked_through = (struct entry_id){1, 2};
    ck_assert(server_must_save(server));
    ck_assert(server_save(server));
    CK_TAPE(METADATA);
    ck_assert(!server_must_save(server));
    end();
}
END_TEST

START_TEST(server_save__a_promise_that_cannot_be_forgotten_stops_it)
{
    begin("1 1");
    server->raft.acked_through = (struct entry_id){1, 2};
    disk_fails = "sync metadata";
    ck_assert(!server_save(server));
    CK_TAPE("write metadata, sync metadata");
    CK_SAID("stopping: save that the log is repaired");
    end();
}
END_TEST

/* ---- server_room ---- */

START_TEST(server_room__is_less_by_what_waits_to_be_saved)
{
    begin("1 1");
    u64 room = storage_room(server->storage);
    ck_assert_uint_gt(room, 0);
    ck_assert_uint_eq(server_room(server), room);
    log_add(&server->raft.log, "1 1 1");
    ck_assert_uint_eq(server_room(server), room - 3 * (RECORD_HEADER_SIZE + 1));
    end();
}
END_TEST

START_TEST(server_room__is_nothing_when_more_waits_than_fits)
{
    begin("1 1");
    static char large[40000];
    memset(large, 'l', sizeof(large) - 1);
    for (int i = 0; i < 2; i++) { /* together more than a segment */
        struct entry entry = command_entry(1, large);
        (void)log_append(&server->raft.log, &entry, NULL, 0);
    }
    ck_assert_uint_eq(server_room(server), 0);
    end();
}
END_TEST

UNIT_MAIN("persist", server_save__with_nothing_new_does_not_touch_the_disk,
          server_save__term_and_vote_come_before_the_log,
          server_save__a_term_alone_leaves_the_log_alone,
          server_save__all_entries_are_one_batch_with_one_sync,
          server_save__a_truncated_tail_is_replaced, server_save__a_batch_tells_what_is_committed,
          server_save__a_failing_write_of_the_term_stops_it,
          server_save__a_failing_sync_of_the_term_stops_it,
          server_save__a_failing_write_of_the_log_stops_it,
          server_save__a_failing_sync_of_the_log_stops_it,
          server_save__a_disk_that_has_failed_elsewhere_stops_it,
          server_disk_failed__says_what_was_tried_and_why_it_failed,
          server_save__the_promise_is_forgotten_when_the_log_is_whole_again,
          server_save__the_promise_is_forgotten_without_new_entries,
          server_save__a_promise_that_cannot_be_forgotten_stops_it,
          server_room__is_less_by_what_waits_to_be_saved,
          server_room__is_nothing_when_more_waits_than_fits)
