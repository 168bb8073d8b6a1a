/* check_compact.c - what log and snapshots may forget (§7). */
#include "server/replica/compact.h"

#include "test/unit/server_unit.h"

enum { LARGE = 30000 }; /* two of them in a segment of 64 KiB */

static struct leader_pending lead;

/* Entries 2 to 7 are large; all of them are applied. */
static void begin_large(void)
{
    static char text[LARGE + 1];
    begin("1");
    memset(text, 'l', LARGE);
    for (int i = 0; i < 6; i++) {
        struct entry entry = command_entry(1, text);
        entry.type = ENTRY_NOOP;
        (void)log_append(&server->raft.log, &entry, NULL, 0);
        ck_assert(server_save(server));
    }
    server->raft.commit_index = server->raft.last_applied = 7;
}

static u64 first_on_disk(void)
{
    struct storage_status status;
    storage_status(server->storage, &status);
    return status.first_index;
}

static void have_snapshot(u64 index, u64 size)
{
    server->raft.snapshot = (struct snapshot_name){{1, index}, size, 77};
}

/* ---- server_compact, server_snapshot_compact ---- */

START_TEST(server_compact__nothing_is_forgotten_without_a_snapshot)
{
    begin_large();
    server_compact(server, NULL);
    ck_assert_uint_eq(server->raft.log.base.index, 0);
    ck_assert_uint_eq(first_on_disk(), 1);
    end();
}
END_TEST

START_TEST(server_compact__what_the_snapshot_stands_for_goes_from_log_and_disk)
{
    begin_large();
    have_snapshot(4, 100);
    server_compact(server, NULL);
    ck_assert_uint_eq(server->raft.log.base.index, 4);
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 1");
    ck_assert_uint_gt(first_on_disk(), 3); /* a whole segment is gone, */
    ck_assert_uint_le(first_on_disk(), 5); /* and nothing behind the snapshot */
    end();
}
END_TEST

/* For peers that lag a little. */
START_TEST(server_compact__trailing_entries_stay)
{
    begin_large();
    server->options.trailing_entries = 4;
    have_snapshot(6, 100);
    server_compact(server, NULL);
    ck_assert_uint_eq(server->raft.log.base.index, 2);
    server->options.trailing_entries = 6;
    have_snapshot(6, 100);
    server_compact(server, NULL);
    ck_assert_uint_eq(server->raft.log.base.index, 2);
    end();
}
END_TEST

START_TEST(server_compact__a_leader_keeps_what_a_peer_is_about_to_be_sent)
{
    begin_large();
    pending_begin(&server->raft, &lead, clock_monotonic_ns(), 77);
    ck_assert(server_save(server));
    leadership_peer(&lead.leadership, 2)->match_index = 8;
    leadership_peer(&lead.leadership, 3)->match_index = 4;
    have_snapshot(6, 100);
    server_compact(server, &lead.leadership);
    ck_assert_uint_eq(server->raft.log.base.index, 4);
    end();
}
END_TEST

/* Else one server that is down for long would fill the disks of all. */
START_TEST(server_compact__a_log_that_is_too_large_waits_for_nobody)
{
    begin_large();
    pending_begin(&server->raft, &lead, clock_monotonic_ns(), 77);
    ck_assert(server_save(server));
    leadership_peer(&lead.leadership, 3)->match_index = 4;
    have_snapshot(6, 100);
    server->options.snapshot_log_bytes = LARGE; /* four times that is less than six entries */
    server_compact(server, &lead.leadership);
    ck_assert_uint_eq(server->raft.log.base.index, 6);
    end();
}
END_TEST

/* ---- server_snapshot_limits ---- */

START_TEST(server_snapshot_limits__go_by_the_snapshots_size_when_that_is_large)
{
    begin("1");
    server->options.snapshot_log_bytes = 1000;
    server->options.snapshot_ratio_percent = 50;
    server->options.trailing_entries = 3;
    have_snapshot(1, 100);
    ck_assert_uint_eq(server_snapshot_limits(server).lagging_bytes, 4 * 1000);
    ck_assert_uint_eq(server_snapshot_limits(server).trailing_entries, 3);
    have_snapshot(1, 10000);
    ck_assert_uint_eq(server_snapshot_limits(server).lagging_bytes, 4 * 5000);
    end();
}
END_TEST

/* ---- server_snapshot_remove_old ---- */

static int compare(const void *a, const void *b)
{
    u64 left = *(const u64 *)a, right = *(const u64 *)b;
    return left < right ? -1 : left > right;
}

/* The snapshots on disk, by their last entries: "1 2". */
static const char *files(void)
{
    static char text[128];
    u64 found[16] = {0};
    size_t count = 0;
    text[0] = '\0';
    pthread_mutex_lock(&disk->lock);
    for (int i = 0; i < disk->inode_count; i++) {
        const char *name = disk->inodes[i].name;
        if (strncmp(name, "snapshots/", 10) == 0 && strstr(name, ".snap") != NULL)
            found[count++] = strtoull(name + 10, NULL, 10);
    }
    pthread_mutex_unlock(&disk->lock);
    qsort(found, count, sizeof(found[0]), compare);
    for (size_t i = 0; i < count; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof(text) - used, "%s%llu", i == 0 ? "" : " ",
                       (unsigned long long)found[i]);
    }
    return text;
}

/* Another entry, and a snapshot that ends with it. */
static void take_another(void)
{
    struct entry entry = command_entry(1, "");
    entry.type = ENTRY_NOOP;
    server->raft.commit_index = log_append(&server->raft.log, &entry, NULL, 0);
    take_snapshot();
    ck_assert_uint_eq(server->raft.snapshot.last.index, server->raft.commit_index);
}

/* Snapshots of the entries 1, 2 and 3. */
static void begin_with_three(void)
{
    with_kv = true;
    begin("1");
    server->options.trailing_entries = 100; /* the log keeps all */
    take_snapshot();
    take_another();
    take_another();
    ck_assert_str_eq(files(), "1 2 3");
    ck_assert(server->snapshot.remove_due);
}

/* The thread does one thing after the other: when the next snapshot is there, it has removed. */
static const char *files_later(void)
{
    take_another();
    const char *names = files();
    end();
    with_kv = false;
    return names;
}

START_TEST(server_snapshot_remove_old__the_newest_and_one_to_spare_stay)
{
    begin_with_three();
    server_snapshot_remove_old(server, NULL);
    ck_assert(!server->snapshot.remove_due);
    ck_assert_str_eq(files_later(), "2 3 4");
}
END_TEST

START_TEST(server_snapshot_remove_old__what_a_peer_is_being_sent_stays)
{
    begin_with_three();
    struct leadership *leadership = &lead.leadership;
    *leadership = (struct leadership){.count = 3};
    for (u32 position = 0; position < 3; position++)
        leadership->peers[position].id = position + 1;
    struct progress *progress = leadership_peer(leadership, 2);
    progress->mode = PROGRESS_SNAPSHOT;
    progress->snapshot.last = (struct entry_id){1, 1};
    progress->snapshot_ready = true;
    server_snapshot_remove_old(server, leadership);
    ck_assert_str_eq(files_later(), "1 2 3 4");
}
END_TEST

START_TEST(server_snapshot_remove_old__what_is_lent_stays)
{
    begin_with_three();
    server->snapshot.pinned = (struct entry_id){1, 1};
    server->snapshot.pinned_until_ns = clock_monotonic_ns() + 3600 * NS_PER_S;
    server_snapshot_remove_old(server, NULL);
    ck_assert_str_eq(files_later(), "1 2 3 4");
}
END_TEST

START_TEST(server_snapshot_remove_old__not_for_ever)
{
    begin_with_three();
    server->snapshot.pinned = (struct entry_id){1, 1};
    server->snapshot.pinned_until_ns = clock_monotonic_ns();
    server_snapshot_remove_old(server, NULL);
    ck_assert_str_eq(files_later(), "2 3 4");
}
END_TEST

/* The next one makes more of them old. */
START_TEST(server_snapshot_remove_old__waits_while_one_is_taken)
{
    begin_with_three();
    server->snapshot.going_on = true;
    server_snapshot_remove_old(server, NULL);
    ck_assert(server->snapshot.remove_due);
    server->snapshot.going_on = false;
    end();
    with_kv = false;
}
END_TEST

UNIT_MAIN("compact", server_compact__nothing_is_forgotten_without_a_snapshot,
          server_compact__what_the_snapshot_stands_for_goes_from_log_and_disk,
          server_compact__trailing_entries_stay,
          server_compact__a_leader_keeps_what_a_peer_is_about_to_be_sent,
          server_compact__a_log_that_is_too_large_waits_for_nobody,
          server_snapshot_limits__go_by_the_snapshots_size_when_that_is_large,
          server_snapshot_remove_old__the_newest_and_one_to_spare_stay,
          server_snapshot_remove_old__what_a_peer_is_being_sent_stays,
          server_snapshot_remove_old__what_is_lent_stays, server_snapshot_remove_old__not_for_ever,
          server_snapshot_remove_old__waits_while_one_is_taken)
