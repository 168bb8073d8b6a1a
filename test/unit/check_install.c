/* check_install.c - InstallSnapshot from both ends: rules/install.c, and what log.c and
 * replication.c do for it. */
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
    ck_assert_msg(install_snapshot(&raft, &message, room, no_space, T_MS, &reply, &verdict, &why),
                  "%s", why);
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
    install_failed(&raft);
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
    ck_assert(!install_snapshot(&raft, &message, MIB, false, T_MS, &reply, &verdict, &why));
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
    ck_assert_int_eq(snapshot_install(&raft, &point), INSTALLED_KEEPS_LOG);
    ck_assert_str_eq(terms_of(&raft.log), "1 1 3 3 3");
    ck_assert_uint_eq(raft.commit_index, 3);
    ck_assert_uint_eq(raft.last_applied, 3);
    ck_assert_uint_eq(raft.snapshot.last.index, 3);
    ck_assert_uint_eq(raft.log.last_time_ns, 99);
    /* An older one, later. */
    struct snapshot_name old = {{1, 2}, FILE_SIZE, 1};
    point = point_of(&old);
    ck_assert_int_eq(snapshot_install(&raft, &point), INSTALLED_OLD);
    ck_assert_uint_eq(raft.snapshot.last.index, 3);
    ck_assert_uint_eq(raft.commit_index, 3);
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
        ck_assert_int_eq(snapshot_install(&raft, &point), INSTALLED_RESETS_LOG);
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
    ck_assert_int_eq(snapshot_install(&raft, &point), INSTALLED_RESETS_LOG);
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

/* ---- the leader ---- */

/* A leader of term 3 whose log begins behind entry 4, with a snapshot of it. */
static void lead_with_snapshot(void)
{
    lead(3, "1 1 2 2 2", 3);
    raft.commit_index = 4;
    raft.last_applied = 4;
    raft.snapshot = (struct snapshot_name){{2, 4}, FILE_SIZE, 77};
    log_compact(&raft.log, 4);
}

static struct message install_to(server_id id, u64 now_ns)
{
    struct message message;
    ck_assert_int_eq(replicate(&raft, &leadership, peer(id), now_ns, &message), REPLICATE_SEND);
    ck_assert_int_eq(message.kind, MESSAGE_INSTALL_SNAPSHOT);
    ck_assert_uint_eq(message.as.install_request.last.index, raft.snapshot.last.index);
    return message;
}

static void wants_piece(server_id id, u64 offset, u64 now_ns)
{
    struct message message;
    ck_assert_int_eq(replicate(&raft, &leadership, peer(id), now_ns, &message),
                     REPLICATE_READ_SNAPSHOT);
    ck_assert_uint_eq(peer(id)->snapshot_offset, offset);
    nothing_to(id, now_ns);
}

/* The piece asked for comes from the disk. */
static bool read_piece(server_id id, u64 offset, u32 size, u64 now_ns, struct message *message)
{
    struct block *block = block_create(size + 1);
    struct span piece = {block, block->data, size};
    bool sent = install_read_done(&raft, &leadership, peer(id), &peer(id)->snapshot, offset, &piece,
                                  now_ns, message);
    if (sent) {
        ck_assert_uint_eq(message->as.install_request.offset, offset);
        ck_assert_uint_eq(message_payload_size(message), size);
        message_release(message);
    }
    block_release(block);
    return sent;
}

static void answers(const struct message *request, enum install_result result, u64 next, u64 now_ns)
{
    struct message reply = {.kind = MESSAGE_INSTALL_SNAPSHOT_REPLY,
                            .from = request->to,
                            .to = request->from,
                            .term = request->term,
                            .call = request->call};
    reply.as.install_reply = (struct install_reply){
        .result = result, .next_offset = next, .round = request->as.install_request.round};
    install_reply(&raft, peer(request->to), &reply, now_ns);
}

/* Peer 2 has nothing: found out by probing. */
static void begin_to_send(void)
{
    lead_with_snapshot();
    struct message probe = sent_to(2, T_BEGIN);
    refuses(&probe, (struct entry_id){0, 1}, T_BEGIN);
}

START_TEST(replicate__sends_the_snapshot_for_entries_that_are_gone)
{
    begin_to_send();
    struct message message = install_to(2, T_BEGIN);
    ck_assert_uint_eq(message.span_count, 0);
    nothing_to(2, T_BEGIN);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN);
    for (u64 offset = 0; offset < FILE_SIZE; offset += PIECE) {
        u32 size = (u32)u64_min(PIECE, FILE_SIZE - offset);
        wants_piece(2, offset, T_BEGIN);
        ck_assert(read_piece(2, offset, size, T_BEGIN, &message));
        nothing_to(2, T_BEGIN);
        answers(&message, INSTALL_CONTINUE, offset + size, T_BEGIN);
    }
    /* All is there: asked again with each heartbeat, until it is installed. */
    nothing_to(2, T_BEGIN + 49 * T_MS);
    message = install_to(2, T_BEGIN + 50 * T_MS);
    answers(&message, INSTALL_CONTINUE, FILE_SIZE, T_BEGIN + 50 * T_MS);
    nothing_to(2, T_BEGIN + 50 * T_MS);
    message = install_to(2, T_BEGIN + 100 * T_MS);
    answers(&message, INSTALL_DONE, FILE_SIZE, T_BEGIN + 100 * T_MS);
    ck_assert_uint_eq(peer(2)->match_index, 4);
    message = sent_to(2, T_BEGIN + 100 * T_MS);
    ck_assert_uint_eq(message.as.append_request.prev.index, 4);
    accepts(&message, T_BEGIN + 100 * T_MS);
    ck_assert_int_eq(peer(2)->mode, PROGRESS_PIPELINE);
    ck_assert_uint_eq(peer(2)->match_index, 6);
    release();
}
END_TEST

START_TEST(replicate__goes_on_where_the_peer_says)
{
    begin_to_send();
    struct message message = install_to(2, T_BEGIN);
    answers(&message, INSTALL_CONTINUE, 2 * PIECE, T_BEGIN); /* an earlier leader sent those */
    wants_piece(2, 2 * PIECE, T_BEGIN);
    ck_assert(read_piece(2, 2 * PIECE, 50, T_BEGIN, &message));
    /* It is lost: the heartbeat asks, and the same piece goes again. */
    struct message heartbeat = install_to(2, T_BEGIN + 50 * T_MS);
    answers(&message, INSTALL_CONTINUE, FILE_SIZE, T_BEGIN + 51 * T_MS); /* late: leads nowhere */
    ck_assert_uint_eq(peer(2)->snapshot_offset, 2 * PIECE);
    answers(&heartbeat, INSTALL_CONTINUE, 2 * PIECE, T_BEGIN + 51 * T_MS);
    wants_piece(2, 2 * PIECE, T_BEGIN + 51 * T_MS);
    /* A new connection: it asks at once, and a piece read meanwhile is not sent blindly. */
    replicate_connected(&raft, peer(2));
    heartbeat = install_to(2, T_BEGIN + 52 * T_MS);
    ck_assert(!read_piece(2, 2 * PIECE, 50, T_BEGIN + 52 * T_MS, &message));
    answers(&heartbeat, INSTALL_CONTINUE, 2 * PIECE, T_BEGIN + 53 * T_MS);
    wants_piece(2, 2 * PIECE, T_BEGIN + 53 * T_MS);
    release();
}
END_TEST

START_TEST(replicate__a_busy_peer_is_left_alone_until_the_next_heartbeat)
{
    static const enum install_result results[] = {INSTALL_BUSY, INSTALL_NO_SPACE};
    for (size_t i = 0; i < ARRAY_LENGTH(results); i++) {
        begin_to_send();
        struct message message = install_to(2, T_BEGIN);
        answers(&message, INSTALL_CONTINUE, 0, T_BEGIN);
        wants_piece(2, 0, T_BEGIN);
        ck_assert(read_piece(2, 0, PIECE, T_BEGIN, &message));
        answers(&message, results[i], 0, T_BEGIN);
        nothing_to(2, T_BEGIN + 49 * T_MS);
        message = install_to(2, T_BEGIN + 50 * T_MS);
        ck_assert_uint_eq(message.span_count, 0);
        answers(&message, INSTALL_CONTINUE, 0, T_BEGIN + 50 * T_MS);
        wants_piece(2, 0, T_BEGIN + 50 * T_MS);
        release();
    }
}
END_TEST

START_TEST(install_read_done__begins_with_the_newest_when_the_file_is_gone)
{
    begin_to_send();
    struct message message = install_to(2, T_BEGIN);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN);
    wants_piece(2, 0, T_BEGIN);
    raft.snapshot = (struct snapshot_name){{3, 6}, FILE_SIZE, 78};
    ck_assert(!read_piece(2, 0, 0, T_BEGIN, &message));
    message = install_to(2, T_BEGIN);
    ck_assert_uint_eq(message.as.install_request.last.index, 6);
    /* One of which something was sent stays, as long as it can be read. */
    answers(&message, INSTALL_CONTINUE, PIECE, T_BEGIN);
    raft.snapshot = (struct snapshot_name){{3, 7}, FILE_SIZE, 79};
    ck_assert(install_uses(&leadership, (struct entry_id){3, 6}));
    wants_piece(2, PIECE, T_BEGIN);
    ck_assert(!read_piece(2, PIECE, 0, T_BEGIN, &message));
    ck_assert(!install_uses(&leadership, (struct entry_id){3, 6}));
    message = install_to(2, T_BEGIN);
    ck_assert_uint_eq(message.as.install_request.last.index, 7);
    release();
}
END_TEST

/* Sends all of the newest snapshot to peer 2, which has nothing of it. Returns the last message. */
static struct message send_whole_file(u64 now_ns)
{
    struct message message = install_to(2, now_ns);
    answers(&message, INSTALL_CONTINUE, 0, now_ns);
    for (u64 offset = 0; offset < FILE_SIZE; offset += PIECE) {
        u32 size = (u32)u64_min(PIECE, FILE_SIZE - offset);
        wants_piece(2, offset, now_ns);
        ck_assert(read_piece(2, offset, size, now_ns, &message));
        answers(&message, INSTALL_CONTINUE, offset + size, now_ns);
    }
    return message;
}

/* The peer has nothing of the file that it is asked about. */
static void answers_first_question(u64 now_ns)
{
    struct message message = install_to(2, now_ns);
    ck_assert_uint_eq(message.as.install_request.offset, 0);
    answers(&message, INSTALL_CONTINUE, 0, now_ns);
}

static struct snapshot_point taken_now(u64 index, u32 checksum)
{
    return (struct snapshot_point){.name = {{2, index}, FILE_SIZE, checksum},
                                   .configuration = raft.configuration};
}

START_TEST(install_reply__a_file_refused_whole_is_not_sent_again)
{
    /* Nothing was applied since: the new file is of the same entry, and may have the same name. */
    static const u32 checksums[] = {77, 78};
    for (size_t i = 0; i < ARRAY_LENGTH(checksums); i++) {
        begin_to_send();
        (void)send_whole_file(T_BEGIN);
        ck_assert(!raft.snapshot_spoilt);
        struct message message = install_to(2, T_BEGIN + 50 * T_MS);
        answers(&message, INSTALL_CONTINUE, 0, T_BEGIN + 50 * T_MS);
        ck_assert(raft.snapshot_spoilt);
        /* Only heartbeats go meanwhile. */
        nothing_to(2, T_BEGIN + 99 * T_MS);
        message = install_to(2, T_BEGIN + 100 * T_MS);
        ck_assert_uint_eq(message.span_count, 0);
        answers(&message, INSTALL_CONTINUE, 0, T_BEGIN + 100 * T_MS);
        nothing_to(2, T_BEGIN + 100 * T_MS);

        struct snapshot_point point = taken_now(4, checksums[i]);
        snapshot_taken(&raft, &point);
        ck_assert(!raft.snapshot_spoilt);
        if (checksums[i] != 77)
            answers_first_question(T_BEGIN + 100 * T_MS);
        ck_assert_uint_eq(raft.snapshot.checksum, checksums[i]);
        wants_piece(2, 0, T_BEGIN + 100 * T_MS);
        release();
    }
}
END_TEST

START_TEST(install_reply__an_older_file_refused_whole_makes_room_for_the_newest)
{
    begin_to_send();
    (void)send_whole_file(T_BEGIN);
    struct snapshot_point point = taken_now(4, 78);
    snapshot_taken(&raft, &point);
    struct message message;
    ck_assert_int_eq(replicate(&raft, &leadership, peer(2), T_BEGIN + 50 * T_MS, &message),
                     REPLICATE_SEND);
    ck_assert_uint_eq(message.as.install_request.checksum, 77);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN + 50 * T_MS);
    ck_assert(!raft.snapshot_spoilt);
    message = install_to(2, T_BEGIN + 50 * T_MS);
    ck_assert_uint_eq(message.as.install_request.checksum, 78);
    release();
}
END_TEST

START_TEST(install_read_done__a_file_that_cannot_be_read_is_to_be_taken_anew)
{
    begin_to_send();
    struct message message = install_to(2, T_BEGIN);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN);
    wants_piece(2, 0, T_BEGIN);
    ck_assert(!read_piece(2, 0, 0, T_BEGIN, &message));
    ck_assert(raft.snapshot_spoilt);
    nothing_to(2, T_BEGIN + 49 * T_MS);
    message = install_to(2, T_BEGIN + 50 * T_MS);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN + 50 * T_MS);
    nothing_to(2, T_BEGIN + 50 * T_MS);
    /* An older one that comes from elsewhere is no help. */
    struct snapshot_point point = taken_now(3, 79);
    snapshot_taken(&raft, &point);
    ck_assert(raft.snapshot_spoilt);
    point = taken_now(4, 77);
    snapshot_taken(&raft, &point);
    wants_piece(2, 0, T_BEGIN + 50 * T_MS);
    /* Where there is but no descriptor to open it with, it is asked for again. */
    replicate_read_put_off(&raft, peer(2));
    nothing_to(2, T_BEGIN + 99 * T_MS);
    message = install_to(2, T_BEGIN + 100 * T_MS);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN + 100 * T_MS);
    wants_piece(2, 0, T_BEGIN + 100 * T_MS);
    release();
}
END_TEST

START_TEST(replicate__rounds_travel_with_snapshots)
{
    begin_to_send();
    struct message message = install_to(2, T_BEGIN);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN);
    wants_piece(2, 0, T_BEGIN);
    u64 round = reads_begin(&leadership);
    leadership_begin_round(&raft, &leadership);
    message = install_to(2, T_BEGIN);
    ck_assert_uint_eq(message.as.install_request.round, round);
    ck_assert_uint_lt(reads_confirmed_round(&raft, &leadership), round);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN);
    ck_assert_uint_eq(reads_confirmed_round(&raft, &leadership), round);
    release();
}
END_TEST

START_TEST(replicate_read_done__entries_that_the_log_has_forgotten_are_not_sent)
{
    lead(3, "1 1 2 2 2 2", 3);
    log_saved(&raft.log, 7);
    catch_up(2);
    raft.log.memory_bytes_max = 0;
    raft.commit_index = 7;
    log_evict(&raft.log, 7);
    peer(2)->next_index = 3;
    struct message message;
    ck_assert_int_eq(replicate(&raft, &leadership, peer(2), T_BEGIN, &message), REPLICATE_READ);
    raft.snapshot = (struct snapshot_name){{2, 6}, FILE_SIZE, 77};
    log_compact(&raft.log, 5);
    struct block *block = block_create(10);
    struct span records = {block, block->data, 10};
    ck_assert(!replicate_read_done(&raft, &leadership, peer(2), 3, 1, &records, T_BEGIN, &message));
    block_release(block);
    message = install_to(2, T_BEGIN);
    ck_assert_uint_eq(message.as.install_request.last.index, 6);
    release();
}
END_TEST

UNIT_MAIN("install", raft_refuse__a_stale_snapshot, install_snapshot__takes_piece_after_piece,
          install_snapshot__pushes_back,
          install_snapshot__another_file_begins_anew_and_the_same_goes_on,
          install_snapshot__what_is_known_is_done, install_snapshot__a_second_leader_is_a_bug,
          snapshot_install__keeps_the_log_that_holds_its_last_entry,
          snapshot_install__replaces_any_other_log,
          append_entries__another_term_at_the_base_contradicts_what_is_committed,
          log_compact__forgets_the_front_and_nothing_else,
          replicate__sends_the_snapshot_for_entries_that_are_gone,
          replicate__goes_on_where_the_peer_says,
          replicate__a_busy_peer_is_left_alone_until_the_next_heartbeat,
          install_read_done__begins_with_the_newest_when_the_file_is_gone,
          install_reply__a_file_refused_whole_is_not_sent_again,
          install_reply__an_older_file_refused_whole_makes_room_for_the_newest,
          install_read_done__a_file_that_cannot_be_read_is_to_be_taken_anew,
          replicate__rounds_travel_with_snapshots,
          replicate_read_done__entries_that_the_log_has_forgotten_are_not_sent)
