/* check_snapshot_faults.c - a snapshot is there whole or not at all: sent and received in pieces,
 * with every call failing in turn, and with the power cut at every change. */
#include "common/memory.h"
#include "test/unit/faulty_vfs.h"
#include "test/unit/snapshot_unit.h"

static const char sample_path[] = "snapshots/00000000000000000040-00000000000000000003.snap";
static const struct entry_id older_id = {.term = 2, .index = 9};

enum { STATE_SIZE = 3000 };

/* ---- sending and receiving ---- */

/* Another server's directory with the sample. */
static struct memory_vfs *leader_create(struct entry_id last, u64 size, struct snapshot_info *info)
{
    struct memory_vfs *memory = memory_create();
    struct error error;
    ck_assert_int_eq(sample_write(&memory->vfs, last, size, 1000, info, &error), ERROR_NONE);
    return memory;
}

/* Sends what is between two offsets, in pieces. */
static enum error_code send_part(struct memory_vfs *leader, struct snapshot_receiver *receiver,
                                 struct entry_id last, u64 from, u64 end, u64 piece_size,
                                 struct error *error)
{
    enum error_code code = ERROR_NONE;
    while (from < end && code == ERROR_NONE) {
        struct span piece;
        struct snapshot_info info;
        u64 wanted = u64_min(piece_size, end - from);
        ck_assert_int_eq(snapshot_read_at(&leader->vfs, last, from, wanted, &piece, &info, error),
                         ERROR_NONE);
        ck_assert_uint_eq(piece.size, u64_min(wanted, info.size - from));
        code = snapshot_receiver_add(receiver, piece.data, piece.size, error);
        from += piece.size;
        span_release(&piece);
    }
    return code;
}

static enum error_code finish(struct snapshot_receiver *receiver, struct error *error)
{
    struct sample_taker taken = {0};
    const struct snapshot_taker taker = {sample_take_head, sample_take_piece, &taken};
    enum error_code code = snapshot_receiver_finish(receiver, &taker, error);
    ck_assert(code != ERROR_NONE || (taken.heads == 1 && !taken.differs));
    return code;
}

/* Receives the whole of it. */
static enum error_code receive(struct vfs *vfs, struct memory_vfs *leader,
                               const struct snapshot_info *info, struct error *error)
{
    struct snapshot_receiver *receiver;
    enum error_code code = snapshot_receiver_create(vfs, info, &receiver, error);
    if (code != ERROR_NONE)
        return code;
    code = send_part(leader, receiver, info->last, 0, info->size, 700, error);
    if (code == ERROR_NONE)
        return finish(receiver, error);
    snapshot_receiver_abandon(receiver);
    return code;
}

/* Every snapshot that is listed must be whole; returns whether the sample is among them. */
static bool listed_whole(struct memory_vfs *memory)
{
    struct entry_id *ids;
    struct error error;
    size_t count;
    bool there = false;
    ck_assert_int_eq(snapshot_list(&memory->vfs, &ids, &count, &error), ERROR_NONE);
    for (size_t i = 0; i < count; i++) {
        struct sample_taker taken;
        struct snapshot_info info;
        enum error_code code = sample_load(&memory->vfs, ids[i], &taken, &info, &error);
        ck_assert_msg(code == ERROR_NONE, "%s", error.text);
        ck_assert(!taken.differs);
        there = there || ids[i].index == sample_id.index;
    }
    memory_free(ids);
    return there;
}

START_TEST(snapshot_read_at__gives_pieces_and_nothing_behind_the_end)
{
    struct snapshot_info info, wanted;
    struct memory_vfs *leader = leader_create(sample_id, 2 * MIB, &wanted);
    struct span piece;
    struct error error;
    const struct memory_content *content = memory_content_of(leader, sample_path);
    static const u64 offsets[] = {0, 1, 128, 1000000};
    for (size_t i = 0; i < ARRAY_LENGTH(offsets); i++) {
        ck_assert_int_eq(
            snapshot_read_at(&leader->vfs, sample_id, offsets[i], 777, &piece, &info, &error),
            ERROR_NONE);
        ck_assert_uint_eq(piece.size, 777);
        ck_assert_mem_eq(piece.data, content->data + offsets[i], 777);
        ck_assert_mem_eq(&info.last, &sample_id, sizeof(sample_id));
        ck_assert_uint_eq(info.size, wanted.size);
        ck_assert_uint_eq(info.checksum, wanted.checksum);
        span_release(&piece);
    }
    ck_assert_int_eq(
        snapshot_read_at(&leader->vfs, sample_id, 0, UINT64_MAX, &piece, &info, &error),
        ERROR_NONE);
    ck_assert_uint_eq(piece.size, MIB);
    span_release(&piece);
    ck_assert_int_eq(
        snapshot_read_at(&leader->vfs, sample_id, wanted.size - 5, 777, &piece, &info, &error),
        ERROR_NONE);
    ck_assert_uint_eq(piece.size, 5);
    span_release(&piece);
    for (u64 behind = 0; behind < 2; behind++) {
        ck_assert_int_eq(snapshot_read_at(&leader->vfs, sample_id, wanted.size + behind, 777,
                                          &piece, &info, &error),
                         ERROR_NONE);
        ck_assert_ptr_null(piece.block);
        ck_assert_uint_eq(info.size, wanted.size);
    }
    ck_assert_int_eq(snapshot_remove(&leader->vfs, sample_id, &error), ERROR_NONE);
    ck_assert_int_eq(snapshot_read_at(&leader->vfs, sample_id, 0, 777, &piece, &info, &error),
                     ERROR_MISSING);
    memory_destroy(leader);
}
END_TEST

START_TEST(snapshot_receiver__gets_the_same_file)
{
    static const u64 sizes[] = {0, 1, STATE_SIZE, 5 * MIB};
    for (size_t i = 0; i < ARRAY_LENGTH(sizes); i++) {
        struct snapshot_info info;
        struct memory_vfs *leader = leader_create(sample_id, sizes[i], &info);
        struct memory_vfs *memory = memory_create();
        struct error error;
        enum error_code code = receive(&memory->vfs, leader, &info, &error);
        ck_assert_msg(code == ERROR_NONE, "%s", error.text);
        const struct memory_content *sent = memory_content_of(leader, sample_path);
        const struct memory_content *got = memory_content_of(memory, sample_path);
        ck_assert_uint_eq(got->size, sent->size);
        ck_assert_mem_eq(got->data, sent->data, sent->size);
        ck_assert_int_eq(memory_find(memory, "snapshots/received.tmp"), -1);
        memory_destroy(memory);
        memory_destroy(leader);
    }
}
END_TEST

START_TEST(snapshot_receiver__goes_on_where_it_stopped)
{
    struct snapshot_info info;
    struct memory_vfs *leader = leader_create(sample_id, STATE_SIZE, &info);
    struct memory_vfs *successor = memory_copy(leader), *memory = memory_create();
    struct snapshot_receiver *receiver;
    struct error error;
    ck_assert_int_eq(snapshot_receiver_create(&memory->vfs, &info, &receiver, &error), ERROR_NONE);
    ck_assert_int_eq(send_part(leader, receiver, sample_id, 0, 1234, 100, &error), ERROR_NONE);
    memory_destroy(leader);
    /* Another leader has the same file, and a snapshot of one's own is made meanwhile. */
    struct snapshot_info own;
    ck_assert_int_eq(sample_write(&memory->vfs, older_id, 500, 100, &own, &error), ERROR_NONE);
    ck_assert(!listed_whole(memory));
    ck_assert_int_eq(send_part(successor, receiver, sample_id, 1234, info.size, 1000, &error),
                     ERROR_NONE);
    ck_assert_int_eq(finish(receiver, &error), ERROR_NONE);
    ck_assert(listed_whole(memory));
    memory_destroy(successor);
    memory_destroy(memory);
}
END_TEST

START_TEST(snapshot_receiver_add__takes_no_more_than_was_announced)
{
    struct snapshot_info info;
    struct memory_vfs *leader = leader_create(sample_id, STATE_SIZE, &info);
    struct memory_vfs *memory = memory_create();
    struct snapshot_receiver *receiver;
    struct error error;
    ck_assert_int_eq(snapshot_receiver_create(&memory->vfs, &info, &receiver, &error), ERROR_NONE);
    ck_assert_int_eq(send_part(leader, receiver, sample_id, 0, info.size, 1000, &error),
                     ERROR_NONE);
    ck_assert_int_eq(snapshot_receiver_add(receiver, "", 0, &error), ERROR_NONE);
    ck_assert_int_eq(snapshot_receiver_add(receiver, "x", 1, &error), ERROR_CORRUPT);
    ck_assert_ptr_nonnull(strstr(error.text, "snapshots/received.tmp"));
    snapshot_receiver_abandon(receiver);
    ck_assert(!listed_whole(memory));
    memory_destroy(leader);
    memory_destroy(memory);
}
END_TEST

/* A file of 9 MiB: two syncs on the way, one at the end, and one of its name. */
START_TEST(measure__every_sync_of_written_and_received)
{
    struct memory_vfs *leader = memory_create(), *memory = memory_create();
    struct snapshot_head head = sample_head(sample_id);
    struct histogram written = {0}, received = {0};
    struct snapshot_writer *writer;
    struct snapshot_receiver *receiver;
    struct snapshot_info info;
    struct error error;
    u8 *bytes = calloc(1, 9 * MIB);
    ck_assert_int_eq(snapshot_writer_create(&leader->vfs, &head, &writer, &error), ERROR_NONE);
    snapshot_writer_measure(writer, &written);
    u64 before = leader->syncs;
    ck_assert_int_eq(snapshot_writer_add(writer, bytes, 9 * MIB, &error), ERROR_NONE);
    ck_assert_uint_eq(written.count, 2);
    ck_assert_int_eq(snapshot_writer_finish(writer, &info, &error), ERROR_NONE);
    ck_assert_uint_eq(written.count, 4);
    ck_assert_uint_eq(written.count, leader->syncs - before);
    free(bytes);

    ck_assert_int_eq(snapshot_receiver_create(&memory->vfs, &info, &receiver, &error), ERROR_NONE);
    snapshot_receiver_measure(receiver, &received);
    before = memory->syncs;
    ck_assert_int_eq(send_part(leader, receiver, sample_id, 0, info.size, MIB, &error), ERROR_NONE);
    struct sample_taker taken = {0}; /* the state is not the sample's, but it is whole */
    const struct snapshot_taker taker = {sample_take_head, sample_take_piece, &taken};
    ck_assert_int_eq(snapshot_receiver_finish(receiver, &taker, &error), ERROR_NONE);
    ck_assert_uint_eq(received.count, 4);
    ck_assert_uint_eq(received.count, memory->syncs - before);
    memory_destroy(leader);
    memory_destroy(memory);
}
END_TEST

START_TEST(snapshot_receiver__is_superseded_by_a_newer_one)
{
    static const struct entry_id newer = {.term = 3, .index = 50};
    struct snapshot_info info, newer_info;
    struct memory_vfs *leader = leader_create(sample_id, STATE_SIZE, &info);
    struct memory_vfs *other = leader_create(newer, STATE_SIZE / 2, &newer_info);
    for (int abandoned = 0; abandoned < 2; abandoned++) {
        struct memory_vfs *memory = memory_create();
        struct snapshot_receiver *receiver;
        struct error error;
        ck_assert_int_eq(snapshot_receiver_create(&memory->vfs, &info, &receiver, &error),
                         ERROR_NONE);
        ck_assert_int_eq(send_part(leader, receiver, sample_id, 0, 2500, 100, &error), ERROR_NONE);
        /* Or the server stops, and begins anew on what the file system has. */
        struct memory_vfs *stopped = memory_copy(memory);
        snapshot_receiver_abandon(receiver);
        struct memory_vfs *next = abandoned ? memory : stopped;
        ck_assert_int_eq(receive(&next->vfs, other, &newer_info, &error), ERROR_NONE);
        ck_assert(!listed_whole(next));
        struct sample_taker taken;
        ck_assert_int_eq(sample_load(&next->vfs, newer, &taken, &newer_info, &error), ERROR_NONE);
        memory_destroy(stopped);
        memory_destroy(memory);
    }
    memory_destroy(other);
    memory_destroy(leader);
}
END_TEST

/* Receives the leader's file after something was done to what is announced or sent. */
static void must_not_be_taken(struct memory_vfs *leader, const struct snapshot_info *announced,
                              u64 size)
{
    struct memory_vfs *memory = memory_create();
    struct snapshot_receiver *receiver;
    struct error error;
    const struct memory_content *content = memory_content_of(leader, sample_path);
    ck_assert_int_eq(snapshot_receiver_create(&memory->vfs, announced, &receiver, &error),
                     ERROR_NONE);
    ck_assert_int_eq(snapshot_receiver_add(receiver, content->data, size, &error), ERROR_NONE);
    ck_assert_int_eq(finish(receiver, &error), ERROR_CORRUPT);
    ck_assert(!listed_whole(memory));
    ck_assert_int_eq(memory_find(memory, "snapshots/received.tmp"), -1);
    memory_destroy(memory);
}

START_TEST(snapshot_receiver_finish__takes_only_what_was_announced_and_whole)
{
    struct snapshot_info info;
    struct memory_vfs *leader = leader_create(sample_id, STATE_SIZE, &info);
    struct snapshot_info other = info;
    u8 *data = memory_content_of(leader, sample_path)->data;
    must_not_be_taken(leader, &info, info.size - 1);
    must_not_be_taken(leader, &info, 0);
    other.last.index++;
    must_not_be_taken(leader, &other, info.size);
    other = info;
    other.last.term++;
    must_not_be_taken(leader, &other, info.size);
    other = info;
    other.checksum ^= 1;
    must_not_be_taken(leader, &other, info.size);
    other = info;
    other.size++;
    must_not_be_taken(leader, &other, info.size);
    for (u64 at = 0; at < info.size; at += 13) {
        data[at] ^= 0x10;
        must_not_be_taken(leader, &info, info.size);
        data[at] ^= 0x10;
    }
    memory_destroy(leader);
}
END_TEST

/* ---- every call fails in turn ---- */

typedef enum error_code act(struct vfs *vfs, struct error *error);

static struct memory_vfs *the_leader; /* what is received from */
static struct snapshot_info the_info;

static enum error_code write_sample(struct vfs *vfs, struct error *error)
{
    struct snapshot_info info;
    return sample_write(vfs, sample_id, STATE_SIZE, 1000, &info, error);
}

/* So large that it is synced on the way. */
static enum error_code write_large(struct vfs *vfs, struct error *error)
{
    struct snapshot_info info;
    return sample_write(vfs, sample_id, 5 * MIB, MIB, &info, error);
}

static enum error_code receive_sample(struct vfs *vfs, struct error *error)
{
    return receive(vfs, the_leader, &the_info, error);
}

/* A directory with an older snapshot, and what was left of an unfinished one. */
static struct memory_vfs *old_directory(void)
{
    struct memory_vfs *memory = memory_create();
    struct snapshot_info info;
    struct error error;
    sample_file(memory, "snapshots/new.tmp", "left", 4);
    sample_file(memory, "snapshots/received.tmp", "left", 4);
    ck_assert_int_eq(sample_write(&memory->vfs, older_id, 500, 100, &info, &error), ERROR_NONE);
    ck_assert_int_eq(vfs_sync_directory(&memory->vfs, ".", &error), ERROR_NONE);
    ck_assert_int_eq(vfs_sync_directory(&memory->vfs, "snapshots", &error), ERROR_NONE);
    return memory;
}

static void must_have_older(struct memory_vfs *memory)
{
    struct sample_taker taken;
    struct snapshot_info info;
    struct error error;
    ck_assert_int_eq(sample_load(&memory->vfs, older_id, &taken, &info, &error), ERROR_NONE);
    ck_assert_uint_eq(taken.size, 500);
}

static void every_call_fails(act *operation, enum error_code with, bool fresh, bool after)
{
    for (u64 n = 1;; n++) {
        struct memory_vfs *memory = fresh ? memory_create() : old_directory();
        struct faulty_vfs faulty;
        struct error error = {0};
        faulty_vfs_init(&faulty, &memory->vfs);
        faulty_vfs_arm(&faulty, FAULTY_ALL, n, with);
        faulty.tears = true;
        faulty.after = after;
        enum error_code code = operation(&faulty.vfs, &error);
        bool failed = faulty_vfs_disarm(&faulty);
        bool there = listed_whole(memory);
        if (!fresh)
            must_have_older(memory);
        if (code == ERROR_NONE) {
            ck_assert(there);
        } else {
            ck_assert(failed);
            ck_assert_int_eq(code, with);
            ck_assert_ptr_nonnull(strstr(error.text, "injected fault"));
        }
        /* It can be made again, whatever was left. */
        ck_assert_int_eq(operation(&faulty.vfs, &error), ERROR_NONE);
        ck_assert(listed_whole(memory));
        faulty_vfs_deinit(&faulty);
        memory_destroy(memory);
        if (!failed)
            return;
    }
}

START_TEST(snapshot_writer__every_call_fails)
{
    for (int after = 0; after < 2; after++) {
        every_call_fails(write_sample, ERROR_IO, true, after);
        every_call_fails(write_sample, ERROR_NO_SPACE, false, after);
        every_call_fails(write_large, ERROR_IO, false, after);
    }
}
END_TEST

START_TEST(snapshot_receiver__every_call_fails)
{
    the_leader = leader_create(sample_id, STATE_SIZE, &the_info);
    for (int after = 0; after < 2; after++) {
        every_call_fails(receive_sample, ERROR_IO, true, after);
        every_call_fails(receive_sample, ERROR_NO_SPACE, false, after);
    }
    memory_destroy(the_leader);
}
END_TEST

/* A read that fails once is made good by reading again; what stays unreadable is damage. */
START_TEST(snapshot_load__what_cannot_be_read_is_damaged)
{
    struct memory_vfs *memory = old_directory();
    struct faulty_vfs faulty;
    struct error error;
    ck_assert_int_eq(write_large(&memory->vfs, &error), ERROR_NONE);
    faulty_vfs_init(&faulty, &memory->vfs);
    for (u64 n = 1;; n++) {
        struct sample_taker taken;
        struct snapshot_info info;
        faulty_vfs_arm(&faulty, FAULTY_READ, n, ERROR_IO);
        ck_assert_int_eq(sample_load(&faulty.vfs, sample_id, &taken, &info, &error), ERROR_NONE);
        if (!faulty_vfs_disarm(&faulty))
            break;
        faulty_vfs_arm(&faulty, FAULTY_READ, n, ERROR_IO);
        faulty.stays_broken = true;
        enum error_code code = sample_load(&faulty.vfs, sample_id, &taken, &info, &error);
        (void)faulty_vfs_disarm(&faulty);
        if (code == ERROR_CORRUPT)
            ck_assert_ptr_nonnull(strstr(error.text, "the disk cannot read it"));
        else /* too much of it */
            ck_assert_ptr_nonnull(strstr(error.text, "more than 64 places"));
    }
    faulty_vfs_deinit(&faulty);
    memory_destroy(memory);
}
END_TEST

START_TEST(snapshot_load__every_call_fails)
{
    struct memory_vfs *memory = old_directory();
    struct faulty_vfs faulty;
    struct error error;
    ck_assert_int_eq(write_large(&memory->vfs, &error), ERROR_NONE);
    faulty_vfs_init(&faulty, &memory->vfs);
    for (u64 n = 1;; n++) {
        struct sample_taker taken;
        struct snapshot_info info;
        struct span piece;
        struct entry_id *ids = NULL;
        size_t count;
        u64 bytes;
        faulty_vfs_arm(&faulty, FAULTY_ALL & ~(unsigned)FAULTY_READ, n, ERROR_IO);
        bool failed = sample_load(&faulty.vfs, sample_id, &taken, &info, &error) != ERROR_NONE;
        failed |=
            snapshot_read_at(&faulty.vfs, sample_id, 5, 5, &piece, &info, &error) != ERROR_NONE;
        span_release(&piece);
        failed |= snapshot_list(&faulty.vfs, &ids, &count, &error) != ERROR_NONE;
        memory_free(ids);
        failed |= snapshot_disk_bytes(&faulty.vfs, &bytes, &error) != ERROR_NONE;
        failed |= snapshot_clean(&faulty.vfs, &error) != ERROR_NONE;
        ck_assert_int_eq(failed, faulty_vfs_disarm(&faulty));
        if (!failed)
            break;
    }
    faulty_vfs_deinit(&faulty);
    memory_destroy(memory);
}
END_TEST

/* ---- the power is cut at every change ---- */

struct choice {
    u64 seed;
};

static bool keep_some(void *context, const char *name, u64 offset)
{
    struct choice *choice = context;
    (void)name;
    u64 mixed = (choice->seed + offset / MEMORY_SECTOR) * 0x9e3779b97f4a7c15ULL;
    return choice->seed == 1 || (choice->seed > 1 && (mixed >> 60 & 1) != 0);
}

/* Seed 0 keeps no sector that was not synced, 1 keeps all, the others some. */
static void power_cut_everywhere(act *operation, bool fresh)
{
    for (u64 n = 1;; n++) {
        bool done = false;
        for (u64 seed = 0; seed < 12; seed++) {
            struct memory_vfs *memory = fresh ? memory_create() : old_directory();
            struct choice choice = {.seed = seed};
            struct error error = {0};
            memory_fault_after(memory, n, MEMORY_POWER_CUT, ERROR_IO);
            done = operation(&memory->vfs, &error) == ERROR_NONE;
            for (int names = 0; names < 2; names++) {
                struct memory_vfs *image = memory_crash(memory, keep_some, &choice, names != 0);
                bool there = listed_whole(image);
                ck_assert(there || !done);
                if (!fresh)
                    must_have_older(image);
                ck_assert_int_eq(snapshot_clean(&image->vfs, &error), ERROR_NONE);
                ck_assert_int_eq(operation(&image->vfs, &error), ERROR_NONE);
                ck_assert(listed_whole(image));
                memory_destroy(image);
            }
            memory_destroy(memory);
        }
        if (done)
            return;
    }
}

START_TEST(snapshot_writer__power_cut_leaves_all_or_nothing)
{
    power_cut_everywhere(write_sample, true);
    power_cut_everywhere(write_sample, false);
}
END_TEST

START_TEST(snapshot_receiver__power_cut_leaves_all_or_nothing)
{
    the_leader = leader_create(sample_id, STATE_SIZE, &the_info);
    power_cut_everywhere(receive_sample, true);
    power_cut_everywhere(receive_sample, false);
    memory_destroy(the_leader);
}
END_TEST

/* A life before this one made the directory, and did not live to sync the one above. */
START_TEST(snapshot_writer__syncs_the_directory_above_that_another_life_made)
{
    struct memory_vfs *memory = memory_create();
    struct error error;
    ck_assert_int_eq(vfs_make_directory(&memory->vfs, "snapshots", &error), ERROR_NONE);
    ck_assert_int_eq(write_sample(&memory->vfs, &error), ERROR_NONE);
    struct memory_vfs *image = memory_crash(memory, NULL, NULL, false);
    ck_assert(listed_whole(image));
    memory_destroy(image);
    memory_destroy(memory);
}
END_TEST

UNIT_MAIN("snapshot_faults", measure__every_sync_of_written_and_received,
          snapshot_read_at__gives_pieces_and_nothing_behind_the_end,
          snapshot_receiver__gets_the_same_file, snapshot_receiver__goes_on_where_it_stopped,
          snapshot_receiver_add__takes_no_more_than_was_announced,
          snapshot_receiver__is_superseded_by_a_newer_one,
          snapshot_receiver_finish__takes_only_what_was_announced_and_whole,
          snapshot_writer__every_call_fails, snapshot_receiver__every_call_fails,
          snapshot_load__every_call_fails, snapshot_load__what_cannot_be_read_is_damaged,
          snapshot_writer__power_cut_leaves_all_or_nothing,
          snapshot_receiver__power_cut_leaves_all_or_nothing,
          snapshot_writer__syncs_the_directory_above_that_another_life_made)
