/* check_storage_life.c - a whole life of a storage, cut, killed or failed at every single change:
 * what was promised is there, and nothing is a mixture. */
#include "test/unit/storage_story.h"

static struct story before;

/* What a life has been promised, and what it had under way when it ended. */
struct life {
    struct story acked, wanted;
    u64 first;  /* of the append under way */
    bool whole; /* one batch: all of it or nothing */
    u64 term_acked, term_wanted;
};
static struct life life;

static bool live_append(struct storage *storage, u64 first, u32 count, u32 size, bool whole)
{
    struct error error;
    life.first = first;
    life.whole = whole;
    if (story_append(storage, &life.wanted, first, count, life.term_acked, size, &error) !=
        ERROR_NONE)
        return false;
    life.acked = life.wanted;
    return true;
}

static bool live_save(struct storage *storage, u64 term)
{
    struct error error;
    life.term_wanted = term;
    if (storage_save_metadata(storage, term, 1, &error) != ERROR_NONE)
        return false;
    life.term_acked = term;
    return true;
}

/* Appends, truncates, votes, crosses segments, restarts. Returns whether all went well. */
static bool live(struct memory_vfs *memory)
{
    for (int start = 0; start < 2; start++) {
        struct storage *storage;
        struct storage_recovery recovery;
        struct error error;
        memory->locked = false;
        if (open_found(memory, SMALL_SEGMENT, &storage, &recovery, &error) != ERROR_NONE)
            return false;
        u64 last = life.acked.count;
        bool well = live_save(storage, life.term_acked + 1) &&
                    live_append(storage, last + 1, 3, 500, true) &&
                    live_append(storage, last + 2, 1, 1200, true) &&
                    live_save(storage, life.term_acked + 1) &&
                    live_append(storage, last + 3, 9, 2500, false) &&
                    live_append(storage, last + 4, 2, 300, true);
        storage_close(storage);
        if (!well)
            return false;
    }
    return true;
}

static void begin_life(struct memory_vfs *memory)
{
    struct error error;
    memset(&life, 0, sizeof(life));
    ck_assert_int_eq(story_init(&memory->vfs, SMALL_SEGMENT, &life.acked, &error), ERROR_NONE);
    life.wanted = life.acked;
    life.term_acked = life.term_wanted = 1;
}

/* What is found must be what was promised, or what was under way. */
static void must_keep_promises(struct memory_vfs *image, u64 nth)
{
    struct storage *storage;
    struct storage_recovery recovery;
    struct error error = {0};
    enum error_code code = open_found(image, SMALL_SEGMENT, &storage, &recovery, &error);
    ck_assert_msg(code == ERROR_NONE, "change %llu: %s", (unsigned long long)nth, error.text);
    bool old = story_same(&found, &life.acked);
    bool new = story_same(&found, &life.wanted);
    bool part = !life.whole && found.count >= life.first &&
                story_same_prefix(&found, &life.wanted, found.count);
    ck_assert_msg(old || new || part, "change %llu: a mixture", (unsigned long long)nth);
    ck_assert(recovery.metadata.current_term == life.term_acked ||
              recovery.metadata.current_term == life.term_wanted);
    ck_assert_uint_eq(recovery.metadata.directory_id, story_identity.directory_id);
    storage_close(storage);
}

static bool keep_some(void *context, const char *name, u64 offset)
{
    u64 *seed = context;
    (void)name, (void)offset;
    *seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
    return *seed >> 63 != 0;
}

START_TEST(life__power_cut_at_every_change)
{
    bool ended = false;
    for (u64 nth = 1; !ended; nth++) {
        struct memory_vfs *memory = memory_create();
        begin_life(memory);
        memory_fault_after(memory, nth, MEMORY_POWER_CUT, ERROR_IO);
        ended = live(memory);
        for (u64 way = 0; way < 10; way++) {
            u64 seed = nth * 1000 + way;
            memory_keep *keep = way / 2 == 0 ? NULL : way / 2 == 1 ? memory_keep_all : keep_some;
            struct memory_vfs *image = memory_crash(memory, keep, &seed, way % 2 == 0);
            must_keep_promises(image, nth);
            memory_destroy(image);
        }
        memory_destroy(memory);
        ck_assert_uint_lt(nth, 1000);
    }
}
END_TEST

static void fail_every_change(enum memory_fault fault, enum error_code fault_code)
{
    bool ended = false;
    for (u64 nth = 1; !ended; nth++) {
        struct memory_vfs *memory = memory_create();
        begin_life(memory);
        memory_fault_after(memory, nth, fault, fault_code);
        bool well = live(memory);
        ended = memory->changes < memory->fault_at + 20 && well;
        /* The process ends and starts again; nothing was lost but what it could not write. */
        struct memory_vfs *image = memory_copy(memory);
        must_keep_promises(image, nth);
        memory_destroy(image);
        memory_destroy(memory);
        if (nth > 200)
            break;
    }
}

START_TEST(life__every_change_fails_once)
{
    fail_every_change(MEMORY_FAIL_ONCE, ERROR_IO);
    fail_every_change(MEMORY_FAIL_ONCE, ERROR_NO_SPACE);
}
END_TEST

START_TEST(life__every_change_fails_from_one_on)
{
    fail_every_change(MEMORY_FAIL_ON, ERROR_IO);
}
END_TEST

/* A process that is killed leaves its last write in the page cache. What a start has found, later
 * promises build upon: it must survive a power cut too. */
START_TEST(life__killed_at_every_change_then_power_cut)
{
    static struct story seen;
    bool ended = false;
    for (u64 nth = 1; !ended; nth++) {
        struct memory_vfs *memory = memory_create();
        struct storage *storage;
        struct storage_recovery recovery;
        struct error error;
        begin_life(memory);
        memory_fault_after(memory, nth, MEMORY_POWER_CUT, ERROR_IO);
        ended = live(memory);
        memory->fault_at = 0; /* the disk is well; only the process ended */
        memory->locked = false;
        must_keep_promises(memory, nth);
        seen = found;
        u64 term = life.term_acked;
        for (int names = 0; names < 2; names++) {
            struct memory_vfs *image = memory_crash(memory, NULL, NULL, names == 1);
            ck_assert_int_eq(open_found(image, SMALL_SEGMENT, &storage, &recovery, &error),
                             ERROR_NONE);
            ck_assert_msg(story_same(&found, &seen), "change %llu", (unsigned long long)nth);
            ck_assert_uint_ge(recovery.metadata.current_term, term);
            storage_close(storage);
            memory_destroy(image);
        }
        memory_destroy(memory);
    }
}
END_TEST

/* The job may be killed between naming a segment and syncing the directory. The next life fills
 * that segment, and then loses power. */
START_TEST(life__killed_while_a_segment_is_made)
{
    static struct story promised;
    for (u64 nth = 1; nth < 25; nth++) {
        struct memory_vfs *memory = memory_create();
        struct storage *storage;
        struct storage_recovery recovery;
        struct error error;
        begin_life(memory);
        memory_fault_after(memory, nth, MEMORY_POWER_CUT, ERROR_IO);
        if (open_found(memory, SMALL_SEGMENT, &storage, &recovery, &error) == ERROR_NONE) {
            struct storage_status status = {0};
            while (status.segments < 2 && memory_changes(memory) < memory->fault_at)
                storage_status(storage, &status);
            storage_close(storage);
        }
        memory->fault_at = 0;
        memory->space = 0; /* so that the job makes no other segment, and syncs no directory */
        memory->locked = false;
        ck_assert_int_eq(open_found(memory, SMALL_SEGMENT, &storage, &recovery, &error),
                         ERROR_NONE);
        promised = life.acked;
        life.wanted = life.acked;
        while (story_append(storage, &life.wanted, life.wanted.count + 1, 1, 1, 1000, &error) ==
               ERROR_NONE)
            promised = life.wanted;
        ck_assert_int_eq(error.code, ERROR_NO_SPACE);
        storage_close(storage);
        struct memory_vfs *image = memory_crash(memory, NULL, NULL, false);
        ck_assert_int_eq(open_found(image, SMALL_SEGMENT, &storage, &recovery, &error), ERROR_NONE);
        ck_assert_msg(story_same(&found, &promised), "change %llu", (unsigned long long)nth);
        storage_close(storage);
        memory_destroy(image);
        memory_destroy(memory);
    }
}
END_TEST

/* The job alone meets the failure: nobody appends, so nobody would ever find no room. */
START_TEST(check__says_that_no_segment_can_be_made)
{
    enum error_code code = ERROR_IO;
    for (u64 nth = 1; code != ERROR_NONE; nth++) {
        struct memory_vfs *memory = story_several_segments(&before);
        struct storage *storage;
        struct storage_recovery recovery;
        struct error error;
        memory->locked = false;
        memory_fault_after(memory, nth, MEMORY_FAIL_ON, ERROR_IO);
        code = open_found(memory, SMALL_SEGMENT, &storage, &recovery, &error);
        if (code == ERROR_NONE) {
            /* There may be a spare from the last life: use up what there is. */
            struct story more = before;
            while (storage_check(storage, &error) == ERROR_NONE)
                (void)story_append(storage, &more, more.count + 1, 1, 1, 4000, &error);
            ck_assert_int_eq(error.code, ERROR_IO);
            ck_assert_uint_eq(storage_room(storage), 0);
            storage_close(storage);
        }
        memory_destroy(memory);
    }
}
END_TEST

/* Each read fails once. What can be read a moment later, or elsewhere, does no harm; some start may
 * be refused, and then nothing has changed. */
START_TEST(open__every_read_fails)
{
    struct memory_vfs *memory = story_several_segments(&before);
    struct storage *storage;
    struct storage_recovery recovery;
    struct error error;
    u64 opened = 0;
    for (u64 nth = 1; nth <= memory->reads || nth == 1; nth++) {
        struct memory_vfs *image = memory_copy(memory);
        image->read_fault_at = nth;
        enum error_code code = open_found(image, SMALL_SEGMENT, &storage, &recovery, &error);
        if (code == ERROR_NONE) {
            storage_close(storage);
            opened++;
            memory->reads = u64_max(memory->reads, image->reads);
        } else {
            ck_assert_int_eq(code, ERROR_IO);
            image->locked = false;
            ck_assert_int_eq(open_found(image, SMALL_SEGMENT, &storage, &recovery, &error),
                             ERROR_NONE);
            storage_close(storage);
        }
        ck_assert(story_same(&found, &before));
        ck_assert_uint_eq(recovery.metadata.acked_through.index, 0);
        memory_destroy(image);
        ck_assert_uint_lt(nth, 1000);
    }
    ck_assert_uint_gt(opened, 5);
    memory_destroy(memory);
}
END_TEST

START_TEST(init__cut_short_anywhere_is_refused_or_whole)
{
    bool ended = false;
    for (u64 nth = 1; !ended; nth++) {
        for (u64 way = 0; way < 12; way++) {
            struct memory_vfs *memory = memory_create();
            struct error error;
            memory_fault_after(memory, nth, way < 10 ? MEMORY_POWER_CUT : MEMORY_FAIL_ONCE,
                               ERROR_IO);
            ended = story_init(&memory->vfs, SMALL_SEGMENT, &before, &error) == ERROR_NONE;
            u64 seed = nth * 1000 + way;
            memory_keep *keep = way / 2 == 0 ? NULL : way / 2 == 1 ? memory_keep_all : keep_some;
            struct memory_vfs *image =
                way < 10 ? memory_crash(memory, keep, &seed, way % 2 == 0) : memory_copy(memory);
            struct storage *storage;
            struct storage_recovery recovery;
            enum error_code code = open_found(image, SMALL_SEGMENT, &storage, &recovery, &error);
            if (code == ERROR_MISSING && !ended) {
                enum error_code again = story_init(&image->vfs, SMALL_SEGMENT, &before, &error);
                ck_assert_msg(again == ERROR_NONE, "change %llu: %s", (unsigned long long)nth,
                              error.text);
                code = open_found(image, SMALL_SEGMENT, &storage, &recovery, &error);
            }
            ck_assert_msg(code == ERROR_NONE, "change %llu: %s", (unsigned long long)nth,
                          error.text);
            ck_assert(story_same(&found, &before));
            storage_close(storage);
            memory_destroy(image);
            memory_destroy(memory);
        }
    }
}
END_TEST

UNIT_MAIN("storage_life", life__power_cut_at_every_change, life__every_change_fails_once,
          life__every_change_fails_from_one_on, life__killed_at_every_change_then_power_cut,
          life__killed_while_a_segment_is_made, check__says_that_no_segment_can_be_made,
          open__every_read_fails, init__cut_short_anywhere_is_refused_or_whole)
