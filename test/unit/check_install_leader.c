/* check_install_leader.c - InstallSnapshot, the leader's end: rules/install.c, and what
 * replication.c does for it. */
#include "server/rules/install.h"

#include "test/unit/leader_unit.h"

enum { PIECE = 100, FILE_SIZE = 250 };

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
    bool sent = install_read_done(&raft, &leadership, peer(id), peer(id)->reading, offset, &piece,
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
    answers(&heartbeat, INSTALL_CONTINUE, 2 * PIECE, T_BEGIN + 51 * T_MS);
    wants_piece(2, 2 * PIECE, T_BEGIN + 51 * T_MS);
    answers(&message, INSTALL_CONTINUE, FILE_SIZE, T_BEGIN + 51 * T_MS); /* late: leads nowhere */
    ck_assert_uint_eq(peer(2)->snapshot_offset, 2 * PIECE);
    /* A new connection: it asks at once, and a piece read meanwhile is not sent blindly. */
    replicate_connected(&raft, peer(2));
    heartbeat = install_to(2, T_BEGIN + 52 * T_MS);
    ck_assert(!read_piece(2, 2 * PIECE, 50, T_BEGIN + 52 * T_MS, &message));
    answers(&heartbeat, INSTALL_CONTINUE, 2 * PIECE, T_BEGIN + 53 * T_MS);
    wants_piece(2, 2 * PIECE, T_BEGIN + 53 * T_MS);
    release();
}
END_TEST

static struct snapshot_point taken_now(u64 index, u32 checksum)
{
    return (struct snapshot_point){.name = {{2, index}, FILE_SIZE, checksum},
                                   .configuration = raft.configuration};
}

/* A round trip takes longer than a heartbeat: between a piece and its answer more questions go out,
 * and answers to earlier ones come in. */
START_TEST(install_reply__round_trips_above_the_heartbeat)
{
    enum { TRIP = 300, BEAT = 50, PIECES = (FILE_SIZE + PIECE - 1) / PIECE };
    struct {
        struct message request;
        u64 next_offset; /* the answer, which comes a round trip later */
        u64 due_ns;
    } mail[256];
    u32 sent = 0, read = 0, pieces = 0;
    u64 received = 0;
    begin_to_send();
    for (u64 now_ns = T_BEGIN; peer(2)->snapshot_offset < FILE_SIZE; now_ns += T_MS) {
        ck_assert_uint_lt(now_ns, T_BEGIN + (PIECES + 2) * TRIP * T_MS);
        for (; read < sent && mail[read].due_ns <= now_ns; read++)
            answers(&mail[read].request, INSTALL_CONTINUE, mail[read].next_offset, now_ns);
        struct message message;
        switch (replicate(&raft, &leadership, peer(2), now_ns, &message)) {
        case REPLICATE_READ_SNAPSHOT:
            received = peer(2)->snapshot_offset;
            u32 size = (u32)u64_min(PIECE, FILE_SIZE - received);
            ck_assert(read_piece(2, received, size, now_ns, &message));
            received += size;
            pieces++;
            break;
        case REPLICATE_SEND:
            break;
        case REPLICATE_NOTHING:
        case REPLICATE_READ:
            continue;
        }
        ck_assert_uint_lt(sent, ARRAY_LENGTH(mail));
        mail[sent].request = message;
        mail[sent].next_offset = received;
        mail[sent++].due_ns = now_ns + TRIP * T_MS;
    }
    ck_assert_uint_eq(pieces, PIECES); /* none twice */
    release();
}
END_TEST

/* What was read for an order that is not waited for any more says nothing, be it good or bad. */
START_TEST(install_read_done__only_the_order_that_is_waited_for)
{
    begin_to_send();
    struct message message = install_to(2, T_BEGIN);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN);
    wants_piece(2, 0, T_BEGIN);
    u64 order = peer(2)->reading;
    struct span none = {0};
    /* It leads again: the peer is the same, its need is, and the order of before is not. */
    release();
    lead_with_snapshot();
    raft.newest_order = order;
    message = sent_to(2, T_BEGIN);
    refuses(&message, (struct entry_id){0, 1}, T_BEGIN);
    message = install_to(2, T_BEGIN);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN);
    wants_piece(2, 0, T_BEGIN);
    ck_assert_uint_ne(peer(2)->reading, order);
    ck_assert(!install_read_done(&raft, &leadership, peer(2), order, 0, &none, T_BEGIN, &message));
    ck_assert(!raft.snapshot_unusable);
    replicate_read_put_off(&raft, peer(2), order);
    ck_assert(read_piece(2, 0, PIECE, T_BEGIN, &message));
    release();
}
END_TEST

/* New snapshots are taken within a round trip: whoever has said that it has nothing gets the newest
 * at once, and goes on with that one. */
START_TEST(replicate__new_snapshots_within_a_round_trip)
{
    begin_to_send();
    struct message question = install_to(2, T_BEGIN);
    struct snapshot_point point = taken_now(4, 78);
    snapshot_taken(&raft, &point);
    struct message message = install_to(2, T_BEGIN + 50 * T_MS); /* still of the first */
    ck_assert_uint_eq(message.as.install_request.checksum, 77);
    answers(&question, INSTALL_CONTINUE, 0, T_BEGIN + 60 * T_MS);
    wants_piece(2, 0, T_BEGIN + 60 * T_MS);
    ck_assert_uint_eq(peer(2)->snapshot.checksum, 78);
    /* An answer about the first one says nothing of this one, and least of all that it is there. */
    answers(&message, INSTALL_DONE, FILE_SIZE, T_BEGIN + 61 * T_MS);
    ck_assert_int_eq(peer(2)->mode, PROGRESS_SNAPSHOT);
    ck_assert_uint_eq(peer(2)->match_index, 0);
    point = taken_now(4, 79);
    snapshot_taken(&raft, &point);
    ck_assert(install_uses(&leadership, (struct entry_id){2, 4}));
    ck_assert(read_piece(2, 0, PIECE, T_BEGIN + 62 * T_MS, &message));
    ck_assert_uint_eq(message.as.install_request.checksum, 78);
    answers(&message, INSTALL_CONTINUE, PIECE, T_BEGIN + 100 * T_MS);
    wants_piece(2, PIECE, T_BEGIN + 100 * T_MS);
    ck_assert_uint_eq(peer(2)->snapshot.checksum, 78);
    release();
}
END_TEST

/* While it waits for a new snapshot, heartbeats ask about the one before. */
START_TEST(install_reply__of_the_snapshot_before_is_not_of_the_newest)
{
    begin_to_send();
    struct message message = install_to(2, T_BEGIN);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN);
    wants_piece(2, 0, T_BEGIN);
    ck_assert(!read_piece(2, 0, 0, T_BEGIN, &message));
    ck_assert(raft.snapshot_unusable);
    message = install_to(2, T_BEGIN + 50 * T_MS);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN + 50 * T_MS);
    message = install_to(2, T_BEGIN + 100 * T_MS);
    struct snapshot_point point = taken_now(4, 78);
    snapshot_taken(&raft, &point);
    wants_piece(2, 0, T_BEGIN + 100 * T_MS);
    ck_assert_uint_eq(peer(2)->snapshot.checksum, 78);
    answers(&message, INSTALL_DONE, FILE_SIZE, T_BEGIN + 110 * T_MS);
    ck_assert_int_eq(peer(2)->mode, PROGRESS_SNAPSHOT);
    ck_assert_uint_eq(peer(2)->match_index, 0);
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

START_TEST(install_reply__a_file_refused_whole_is_not_sent_again)
{
    /* Nothing was applied since: the new file is of the same entry, and may have the same name. */
    static const u32 checksums[] = {77, 78};
    for (size_t i = 0; i < ARRAY_LENGTH(checksums); i++) {
        begin_to_send();
        (void)send_whole_file(T_BEGIN);
        ck_assert(!raft.snapshot_unusable);
        struct message message = install_to(2, T_BEGIN + 50 * T_MS);
        answers(&message, INSTALL_CONTINUE, 0, T_BEGIN + 50 * T_MS);
        ck_assert(raft.snapshot_unusable);
        /* Only heartbeats go meanwhile. */
        nothing_to(2, T_BEGIN + 99 * T_MS);
        message = install_to(2, T_BEGIN + 100 * T_MS);
        ck_assert_uint_eq(message.span_count, 0);
        answers(&message, INSTALL_CONTINUE, 0, T_BEGIN + 100 * T_MS);
        nothing_to(2, T_BEGIN + 100 * T_MS);

        struct snapshot_point point = taken_now(4, checksums[i]);
        snapshot_taken(&raft, &point);
        ck_assert(!raft.snapshot_unusable);
        ck_assert_uint_eq(raft.snapshot.checksum, checksums[i]);
        wants_piece(2, 0, T_BEGIN + 100 * T_MS);
        ck_assert_uint_eq(peer(2)->snapshot.checksum, checksums[i]);
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
    ck_assert(!raft.snapshot_unusable);
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
    ck_assert(raft.snapshot_unusable);
    nothing_to(2, T_BEGIN + 49 * T_MS);
    message = install_to(2, T_BEGIN + 50 * T_MS);
    answers(&message, INSTALL_CONTINUE, 0, T_BEGIN + 50 * T_MS);
    nothing_to(2, T_BEGIN + 50 * T_MS);
    /* An older one that comes from elsewhere is no help. */
    struct snapshot_point point = taken_now(3, 79);
    snapshot_taken(&raft, &point);
    ck_assert(raft.snapshot_unusable);
    point = taken_now(4, 77);
    snapshot_taken(&raft, &point);
    wants_piece(2, 0, T_BEGIN + 50 * T_MS);
    /* Where there is but no descriptor to open it with, it is asked for again. */
    replicate_read_put_off(&raft, peer(2), peer(2)->reading);
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
    ck_assert(!replicate_read_done(&raft, &leadership, peer(2), peer(2)->reading, 3, 1, &records,
                                   T_BEGIN, &message));
    block_release(block);
    message = install_to(2, T_BEGIN);
    ck_assert_uint_eq(message.as.install_request.last.index, 6);
    release();
}
END_TEST

UNIT_MAIN("install_leader", replicate__sends_the_snapshot_for_entries_that_are_gone,
          replicate__goes_on_where_the_peer_says, install_reply__round_trips_above_the_heartbeat,
          install_read_done__only_the_order_that_is_waited_for,
          replicate__new_snapshots_within_a_round_trip,
          install_reply__of_the_snapshot_before_is_not_of_the_newest,
          replicate__a_busy_peer_is_left_alone_until_the_next_heartbeat,
          install_read_done__begins_with_the_newest_when_the_file_is_gone,
          install_reply__a_file_refused_whole_is_not_sent_again,
          install_reply__an_older_file_refused_whole_makes_room_for_the_newest,
          install_read_done__a_file_that_cannot_be_read_is_to_be_taken_anew,
          replicate__rounds_travel_with_snapshots,
          replicate_read_done__entries_that_the_log_has_forgotten_are_not_sent)
