/* check_fetch_thread.c - what the fetcher's thread answers to those who make a backup. */
#include "server/jobs/fetch_thread.h"

#include "server/mail/mailbox.h"
#include "test/unit/snapshot_unit.h"
#include "test/unit/storage_world.h"
#include "test/unit/unit.h"

enum { STATE_SIZE = 700 * 1000, ORDERS = FETCH_BACKUPS_MAX + 10 };

/* Takes answers from the fetcher's thread, and at a closed gate holds that thread up. */
struct sink {
    struct command_sink sink;
    struct mutex gate;
    struct mutex lock;
    struct condition answered;
    struct buffer newest; /* Guarded by lock, as all below. */
    u32 pieces;
    u32 gone;
    u32 busy;
    u32 stopping;
    u32 unflushed;
};

static void sink_answer(struct command_sink *of, struct command *command, const u8 *answer,
                        size_t size)
{
    struct sink *sink = CONTAINER_OF(of, struct sink, sink);
    bool busy = size > 5 && memcmp(answer, "-BUSY", 5) == 0;
    if (!busy) {
        mutex_lock(&sink->gate);
        mutex_unlock(&sink->gate);
    }
    mutex_lock(&sink->lock);
    buffer_clear(&sink->newest);
    buffer_append(&sink->newest, answer, size);
    sink->pieces += answer[0] == '$';
    sink->gone += size > 11 && memcmp(answer, "-NOSNAPSHOT", 11) == 0;
    sink->stopping += size > 12 && memcmp(answer, "-CLUSTERDOWN", 12) == 0;
    sink->busy += busy;
    sink->unflushed++;
    mutex_unlock(&sink->lock);
    command_destroy(command);
}

static void sink_flush(struct command_sink *of)
{
    struct sink *sink = CONTAINER_OF(of, struct sink, sink);
    mutex_lock(&sink->lock);
    sink->unflushed = 0;
    condition_signal(&sink->answered);
    mutex_unlock(&sink->lock);
}

static const struct command_sink_ops sink_ops = {.answer = sink_answer, .flush = sink_flush};

static void sink_init(struct sink *sink)
{
    *sink = (struct sink){.sink = {&sink_ops}};
    mutex_init(&sink->gate);
    mutex_init(&sink->lock);
    condition_init(&sink->answered);
    buffer_init(&sink->newest);
}

static void sink_deinit(struct sink *sink)
{
    ck_assert_uint_eq(sink->unflushed, 0);
    buffer_deinit(&sink->newest);
    condition_deinit(&sink->answered);
    mutex_deinit(&sink->lock);
    mutex_deinit(&sink->gate);
}

static u32 answers_locked(const struct sink *sink)
{
    return sink->pieces + sink->gone + sink->busy + sink->stopping;
}

/* A directory with a snapshot, and a fetcher that nobody sends entries to. */
struct rig {
    struct world world;
    struct snapshot_info info;
    struct fetcher fetcher;
    struct sink sink;
};

static void rig_init(struct rig *rig)
{
    rig->world = world_of(1 * MIB);
    world_open(&rig->world);
    ck_assert_int_eq(sample_write(&rig->world.memory->vfs, sample_id, STATE_SIZE, 65536, &rig->info,
                                  &rig->world.error),
                     ERROR_NONE);
    fetcher_init(&rig->fetcher, rig->world.storage, NULL, &rig->world.report);
    sink_init(&rig->sink);
}

static void rig_deinit(struct rig *rig)
{
    fetcher_deinit(&rig->fetcher);
    sink_deinit(&rig->sink);
    world_end(&rig->world);
}

static void order(struct rig *rig, const struct snapshot_info *info, u64 offset, u64 bytes_max)
{
    struct backup_order wanted = {.last = info->last,
                                  .size = info->size,
                                  .checksum = info->checksum,
                                  .offset = offset,
                                  .bytes_max = bytes_max};
    fetcher_order_backup(&rig->fetcher, command_create(COMMAND_BACKUP, command_backup_body(&wanted),
                                                       &rig->sink.sink));
}

/* Waits until so many were answered in all. */
static void await(struct rig *rig, u32 count)
{
    struct sink *sink = &rig->sink;
    mutex_lock(&sink->lock);
    while (answers_locked(sink) < count || sink->unflushed > 0)
        condition_wait(&sink->answered, &sink->lock);
    ck_assert_uint_eq(answers_locked(sink), count);
    mutex_unlock(&sink->lock);
}

START_TEST(fetcher_order_backup__gives_the_file_piece_by_piece)
{
    struct rig rig;
    struct buffer file;
    rig_init(&rig);
    buffer_init(&file);
    u32 count = 0;
    for (u64 offset = 0; offset < rig.info.size; offset = file.size) {
        order(&rig, &rig.info, offset, 100 * 1000);
        await(&rig, ++count);
        char *end = NULL;
        u64 size = strtoull((const char *)rig.sink.newest.data + 1, &end, 10);
        size_t head = (size_t)((u8 *)end - rig.sink.newest.data) + 2;
        ck_assert_uint_gt(size, 0);
        ck_assert_uint_eq(rig.sink.newest.size, head + size + 2);
        buffer_append(&file, rig.sink.newest.data + head, size);
    }
    ck_assert_uint_eq(count, (rig.info.size + 99999) / 100000);
    ck_assert_uint_eq(file.size, rig.info.size);
    struct span whole;
    struct snapshot_info info;
    ck_assert_int_eq(snapshot_read_at(&rig.world.memory->vfs, sample_id, 0, 1 * MIB, &whole, &info,
                                      &rig.world.error),
                     ERROR_NONE);
    ck_assert_uint_eq(whole.size, file.size);
    ck_assert_mem_eq(whole.data, file.data, file.size);
    span_release(&whole);
    /* Behind the end there is nothing. */
    order(&rig, &rig.info, rig.info.size, 1);
    await(&rig, ++count);
    ck_assert_uint_eq(rig.sink.newest.size, 6);
    ck_assert_mem_eq(rig.sink.newest.data, "$0\r\n\r\n", 6);
    buffer_deinit(&file);
    rig_deinit(&rig);
}
END_TEST

START_TEST(fetcher_order_backup__refuses_a_snapshot_that_is_not_there)
{
    struct rig rig;
    rig_init(&rig);
    struct snapshot_info others[4] = {rig.info, rig.info, rig.info, rig.info};
    others[0].last.index++;
    others[1].last.term++;
    others[2].size++;
    others[3].checksum++;
    for (u32 i = 0; i < ARRAY_LENGTH(others); i++) {
        order(&rig, &others[i], 0, 1);
        await(&rig, i + 1);
    }
    ck_assert_uint_eq(rig.sink.gone, ARRAY_LENGTH(others));
    rig_deinit(&rig);
}
END_TEST

START_TEST(fetcher_order_backup__bounds_what_waits)
{
    struct rig rig;
    rig_init(&rig);
    mutex_lock(&rig.sink.gate);
    for (u32 i = 0; i < ORDERS; i++)
        order(&rig, &rig.info, 0, 1);
    mutex_unlock(&rig.sink.gate);
    await(&rig, ORDERS);
    /* One may have been in the thread's hands already. */
    ck_assert_uint_ge(rig.sink.busy, ORDERS - FETCH_BACKUPS_MAX - 1);
    ck_assert_uint_le(rig.sink.busy, ORDERS - FETCH_BACKUPS_MAX);
    rig_deinit(&rig);
}
END_TEST

START_TEST(fetcher_deinit__answers_what_is_left)
{
    struct rig rig;
    rig_init(&rig);
    for (u32 i = 0; i < 20; i++)
        order(&rig, &rig.info, 0, 1000);
    fetcher_deinit(&rig.fetcher);
    ck_assert_uint_eq(rig.sink.pieces + rig.sink.stopping, 20);
    sink_deinit(&rig.sink);
    world_end(&rig.world);
}
END_TEST

/* Orders a piece, waits for it, and compares it with that part of `file`; or it must not come. */
static void must_read_piece(struct rig *rig, struct mailbox *mailbox,
                            const struct snapshot_name *name, u64 offset, const struct buffer *file)
{
    enum { PEER = 2, PIECE = 100 * 1000 };
    static u64 number;
    struct mail_pile pile = {0};
    number++;
    struct fetch_order order = {
        .number = number, .peer = PEER, .snapshot = *name, .first = offset, .bytes_max = PIECE};
    ck_assert(fetcher_order(&rig->fetcher, &order));
    while (pile.first == NULL)
        (void)mailbox_collect(mailbox, &pile, MIB, UINT64_MAX);
    struct mail *mail = mail_pile_take(&pile);
    ck_assert_ptr_null(pile.first);
    ck_assert_int_eq(mail->kind, MAIL_PIECE_READ);
    const struct piece_read *read = &mail->as.piece;
    ck_assert_uint_eq(read->order, number);
    ck_assert_uint_eq(read->peer, PEER);
    ck_assert_uint_eq(read->offset, offset);
    u64 expected = file == NULL ? 0 : u64_min(PIECE, file->size - offset);
    ck_assert_uint_eq(read->piece.size, expected);
    if (expected > 0)
        ck_assert_mem_eq(read->piece.data, file->data + offset, expected);
    mail_destroy(mail);
}

START_TEST(fetcher_order__gives_the_file_whatever_was_read_ahead)
{
    struct rig rig;
    struct mailbox mailbox;
    struct buffer file;
    char path[SNAPSHOT_PATH_SIZE];
    rig_init(&rig);
    mailbox_init(&mailbox, MIB, MIB);
    rig.fetcher.slot = &mailbox.slot;
    struct snapshot_name name = {rig.info.last, rig.info.size, rig.info.checksum};
    snapshot_path(name.last, path);
    const struct memory_content *content = memory_content_of(rig.world.memory, path);
    buffer_init(&file);
    buffer_append(&file, content->data, content->size);
    /* In order, twice the same, back, with a gap, to the end. */
    static const u64 offsets[] = {0, 100000, 100000, 200000, 0, 500000, 600000, 700000};
    for (size_t i = 0; i < ARRAY_LENGTH(offsets); i++)
        must_read_piece(&rig, &mailbox, &name, offsets[i], &file);
    must_read_piece(&rig, &mailbox, &name, 0, &file);
    /* Another file: nothing of this one may come, though it was read ahead. */
    struct snapshot_name other = name;
    other.checksum++;
    must_read_piece(&rig, &mailbox, &other, 100000, NULL);
    must_read_piece(&rig, &mailbox, &name, 100000, &file);
    buffer_deinit(&file);
    fetcher_deinit(&rig.fetcher);
    fetcher_init(&rig.fetcher, rig.world.storage, NULL, &rig.world.report);
    mailbox_deinit(&mailbox);
    rig_deinit(&rig);
}
END_TEST

UNIT_MAIN("fetch", fetcher_order__gives_the_file_whatever_was_read_ahead,
          fetcher_order_backup__gives_the_file_piece_by_piece,
          fetcher_order_backup__refuses_a_snapshot_that_is_not_there,
          fetcher_order_backup__bounds_what_waits, fetcher_deinit__answers_what_is_left)
