/* check_status.c - what a server tells of itself: each key once, with a value that makes sense, and
 * none that server/README.md does not explain. */
#include "server/admin/status.h"

#include <ctype.h>

#include "test/unit/server_unit.h"

enum { KEYS_MAX = 256, KEY_SIZE = 64 };

/* ---- keys: as the README writes them, "raft_peer_N" and "raft_sync_us_*" ---- */

struct keys {
    char names[KEYS_MAX][KEY_SIZE];
    u32 count;
};

static bool keys_have(const struct keys *keys, const char *name)
{
    for (u32 i = 0; i < keys->count; i++) {
        if (strcmp(keys->names[i], name) == 0)
            return true;
    }
    return false;
}

static void keys_add(struct keys *keys, const char *name)
{
    ck_assert_uint_lt(strlen(name), KEY_SIZE);
    if (keys_have(keys, name))
        return;
    ck_assert_uint_lt(keys->count, KEYS_MAX);
    strcpy(keys->names[keys->count++], name);
}

static const char *const durations[] = {"mean", "p50", "p99", "p999", "max"};

/* "raft_peer_2" is raft_peer_N in the table, and the p50 of a kind of durations is its *. */
static void generalise(char *name)
{
    char *end = name + strlen(name);
    char *digits = end;
    while (isdigit((unsigned char)digits[-1]))
        digits--;
    if (digits < end && digits[-1] == '_') {
        strcpy(digits, "N");
        return;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(durations); i++) {
        size_t size = strlen(durations[i]);
        if ((size_t)(end - name) > size + 4 && strcmp(end - size, durations[i]) == 0 &&
            strncmp(end - size - 4, "_us_", 4) == 0)
            strcpy(end - size, "*");
    }
}

/* What stands in the first column of the README's first table of keys. */
static struct keys of_readme(void)
{
    struct keys keys = {0};
    static char line[4096];
    FILE *file = fopen("server/README.md", "r");
    ck_assert_msg(file != NULL, "run it from the repository's root");
    bool inside = false;
    while (fgets(line, sizeof(line), file) != NULL) {
        if (strncmp(line, "| key | what |", 14) == 0) {
            inside = true;
            continue;
        }
        if (!inside || strncmp(line, "|---", 4) == 0)
            continue;
        if (line[0] != '|')
            break;
        char *cell_end = strstr(line + 1, " |");
        ck_assert_ptr_nonnull(cell_end);
        *cell_end = '\0';
        for (char *at = strtok(line + 1, " "); at != NULL; at = strtok(NULL, " ")) {
            ck_assert_msg(at[0] == '`' && at[strlen(at) - 1] == '`', "no key: %s", at);
            at[strlen(at) - 1] = '\0';
            ck_assert_msg(!keys_have(&keys, at + 1), "explained twice: %s", at + 1);
            keys_add(&keys, at + 1);
        }
    }
    (void)fclose(file);
    ck_assert_uint_gt(keys.count, 50);
    return keys;
}

/* ---- a status, taken apart ---- */

static struct buffer text;
static struct keys exact;  /* of the last status */
static struct keys so_far; /* of all of them, generalised */

static bool is_number(const char *value)
{
    size_t size = strspn(value, "0123456789");
    return size > 0 && size < 20 && value[size] == '\0';
}

static bool is_hexadecimal(const char *value)
{
    return strlen(value) == 16 && strspn(value, "0123456789abcdef") == 16;
}

/* Whose value is no plain number. */
static void check_value(const char *key, const char *name, const char *value)
{
    static const char *const hexadecimal[] = {"raft_incarnation", "raft_directory_id",
                                              "raft_machine_digest"};
    static const char *const words[] = {"raft_cluster_id", "raft_design", "raft_state",
                                        "raft_stalled_on"};
    static const char *const rows[] = {"raft_member_N", "raft_peer_N", "raft_unrecognised_N",
                                       "raft_acked_through_index", "raft_missing_entries"};
    for (size_t i = 0; i < ARRAY_LENGTH(hexadecimal); i++) {
        if (strcmp(name, hexadecimal[i]) == 0) {
            ck_assert_msg(is_hexadecimal(value), "%s:%s", key, value);
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(words); i++) {
        if (strcmp(name, words[i]) == 0) {
            ck_assert_msg(strspn(value, "abcdefghijklmnopqrstuvwxyz-") == strlen(value) &&
                              value[0] != '\0',
                          "%s:%s", key, value);
            return;
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(rows); i++) {
        if (strcmp(name, rows[i]) == 0)
            return; /* asked for by name, below */
    }
    ck_assert_msg(is_number(value), "%s:%s", key, value);
}

/* Takes `text` apart: each line is "key:value", and no key comes twice. */
static void look(void)
{
    exact.count = 0;
    buffer_append(&text, "", 1);
    char *copy = strdup((const char *)text.data);
    char *next;
    for (char *line = copy; *line != '\0'; line = next) {
        char *end = strstr(line, "\r\n");
        ck_assert_msg(end != NULL, "no end of the line: %s", line);
        *end = '\0';
        next = end + 2;
        char *colon = strchr(line, ':');
        ck_assert_msg(colon != NULL, "no key: %s", line);
        *colon = '\0';
        ck_assert_msg(!keys_have(&exact, line), "twice: %s", line);
        keys_add(&exact, line);
        char name[KEY_SIZE];
        strcpy(name, line);
        generalise(name);
        keys_add(&so_far, name);
        check_value(line, name, colon + 1);
    }
    free(copy);
}

static void describe(const struct leader_pending *lead)
{
    buffer_clear(&text);
    server_describe(server, lead, &text);
    look();
}

/* The value of a key that must be there. */
static const char *value_of(const char *key)
{
    static char value[512];
    char start[KEY_SIZE + 3];
    (void)snprintf(start, sizeof(start), "\r\n%s:", key);
    const char *found = strstr((const char *)text.data, start);
    ck_assert_msg(found != NULL, "missing: %s", key);
    found += strlen(start);
    size_t size = strcspn(found, "\r");
    ck_assert_uint_lt(size, sizeof(value));
    memcpy(value, found, size);
    value[size] = '\0';
    return value;
}

#define CK_VALUE(key, wanted) ck_assert_str_eq(value_of(key), (wanted))

/* ---- a leader ---- */

static struct leader_pending lead;

static void begin_leading(void)
{
    with_kv = true;
    begin("1");
    server->raft.commit_index = server->raft.log.last_index;
    adopt_term(&server->raft, 2);
    server->raft.leader = 1;
    pending_begin(&server->raft, &lead, clock_monotonic_ns(), 77);
    lead.room_bytes = lead.room_soon_bytes = MIB;
    ck_assert(server_save(server));
    server_enter(server, RAFT_LEADER, "a test");
}

static void end_leading(void)
{
    command_list_fail(&lead.writes, COMMAND_STOPPING);
    command_list_fail(&lead.reads, COMMAND_STOPPING);
    if (lead.order != NULL)
        command_fail(lead.order, COMMAND_STOPPING);
    end();
    with_kv = false;
}

static void write_two_read_one(void)
{
    enum command_failure why;
    for (u64 slot = 1; slot <= 2; slot++)
        ck_assert_int_eq(pending_take_write(&server->raft, &lead,
                                            command_of('A', COMMAND_WRITE, slot, "x"), 0, &why),
                         PENDING_APPENDED);
    pending_take_read(&server->raft, &lead, command_of('B', COMMAND_READ, 1, "x"));
}

static void send_peer_2_a_snapshot(void)
{
    struct progress *progress = leadership_peer(&lead.leadership, 2);
    progress->mode = PROGRESS_SNAPSHOT;
    progress->snapshot = (struct snapshot_name){{1, 1}, 500, 77};
    progress->snapshot_offset = 100;
}

/* ---- server_describe ---- */

START_TEST(server_describe__of_a_follower)
{
    begin("1 1");
    server->raft.leader = 3;
    server->raft.voted_for = 2;
    struct command *command = command_of('A', COMMAND_WRITE, 1, "x");
    command_list_put(&server->parked, command);
    describe(NULL);
    CK_VALUE("raft_id", "1");
    CK_VALUE("raft_design", "per-state");
    CK_VALUE("raft_state", "follower");
    CK_VALUE("raft_current_term", "1");
    CK_VALUE("raft_voted_for", "2");
    CK_VALUE("raft_leader_id", "3");
    CK_VALUE("raft_start_count", "1");
    CK_VALUE("raft_directory_id", "000000000000004d");
    CK_VALUE("raft_parked_commands", "1");
    CK_VALUE("raft_machine_digest", "0000000000001234");
    CK_VALUE("raft_commit_index", "1");
    CK_VALUE("raft_last_applied", "1");
    CK_VALUE("raft_last_index", "2");
    CK_VALUE("raft_last_term", "1");
    CK_VALUE("raft_durable_index", "2");
    u64 segments = strtoull(value_of("raft_log_segments"), NULL, 10); /* the next one may be made */
    ck_assert(segments == 1 || segments == 2);
    ck_assert_uint_eq(strtoull(value_of("raft_log_disk_bytes"), NULL, 10), segments * 64 * KIB);
    ck_assert_uint_eq(strtoull(value_of("raft_disk_bytes"), NULL, 10), segments * 64 * KIB);
    CK_VALUE("raft_full", "0");
    CK_VALUE("raft_repairing", "0");
    CK_VALUE("raft_may_vote", "1");
    CK_VALUE("raft_unrecognised_servers", "0");
    CK_VALUE("raft_members", "3");
    CK_VALUE("raft_member_2", "peer=host:1,client=host:2,voter=1,directory=0000000000000000,"
                              "readmitted=0");
    CK_VALUE("raft_snapshot_index", "0");
    CK_VALUE("raft_snapshot_going_on", "0");
    ck_assert(!keys_have(&exact, "raft_waiting_writes")); /* a leader's */
    ck_assert(!keys_have(&exact, "raft_peer_2"));
    ck_assert(!keys_have(&exact, "raft_acked_through_index"));
    end();
}
END_TEST

START_TEST(server_describe__of_a_leader)
{
    begin_leading();
    write_two_read_one();
    describe(&lead);
    CK_VALUE("raft_state", "leader");
    CK_VALUE("raft_leader_id", "1");
    CK_VALUE("raft_last_index", "4");
    CK_VALUE("raft_durable_index", "2");
    CK_VALUE("raft_waiting_writes", "2");
    CK_VALUE("raft_waiting_reads", "1");
    CK_VALUE("machine_keys", "0");
    ck_assert(!keys_have(&exact, "raft_peer_1")); /* itself */
    ck_assert(!keys_have(&exact, "raft_transfer_to"));
    const char *peer = value_of("raft_peer_2");
    static const char *const wanted[] = {
        "mode=probe",  "match=0",    "next=2", "trails=4",   "in_flight_bytes=0",
        "contact_ms=", "no_space=0", "full=0", "set_back=0", "recognised=1"};
    for (size_t i = 0; i < ARRAY_LENGTH(wanted); i++)
        ck_assert_msg(strstr(peer, wanted[i]) != NULL, "no %s in %s", wanted[i], peer);
    ck_assert_ptr_null(strstr(peer, "snapshot_offset"));
    end_leading();
}
END_TEST

START_TEST(server_describe__of_a_peer_that_gets_a_snapshot_and_of_a_transfer)
{
    begin_leading();
    send_peer_2_a_snapshot();
    lead.transfer.target = 3;
    describe(&lead);
    const char *peer = value_of("raft_peer_2");
    ck_assert_ptr_nonnull(strstr(peer, "mode=snapshot"));
    ck_assert_ptr_nonnull(strstr(peer, ",snapshot_offset=100,snapshot_bytes=500"));
    CK_VALUE("raft_transfer_to", "3");
    end_leading();
}
END_TEST

START_TEST(server_describe__while_the_log_is_repaired)
{
    begin("1 1");
    server->raft.acked_through = (struct entry_id){7, 5};
    describe(NULL);
    CK_VALUE("raft_repairing", "1");
    CK_VALUE("raft_acked_through_term", "7");
    CK_VALUE("raft_acked_through_index", "5");
    CK_VALUE("raft_missing_entries", "3");
    server->raft.acked_through.index = 1; /* the log is long enough, and of an older term */
    describe(NULL);
    CK_VALUE("raft_missing_entries", "0");
    server->raft.acked_through.index = LOST_INDEX;
    describe(NULL);
    CK_VALUE("raft_acked_through_index", "unknown");
    CK_VALUE("raft_missing_entries", "unknown");
    end();
}
END_TEST

START_TEST(server_describe__while_and_after_a_snapshot_is_taken)
{
    begin_leading();
    server->snapshot.wanted = true;
    ck_assert(server_flush(server, NULL));
    describe(&lead);
    CK_VALUE("raft_snapshot_going_on", "1");
    ck_assert_uint_eq(strtoull(value_of("raft_snapshot_written_bytes"), NULL, 10),
                      server->snapshot.handed_bytes);
    take_snapshot();
    describe(&lead);
    CK_VALUE("raft_snapshot_going_on", "0");
    CK_VALUE("raft_snapshot_written_bytes", "0");
    CK_VALUE("raft_snapshots_taken", "1");
    CK_VALUE("raft_snapshot_index", "1");
    CK_VALUE("raft_snapshot_term", "1");
    ck_assert_str_ne(value_of("raft_snapshot_bytes"), "0");
    ck_assert_str_ne(value_of("raft_snapshot_syncs"), "0");
    u64 disk_bytes = strtoull(value_of("raft_log_disk_bytes"), NULL, 10);
    ck_assert_uint_eq(strtoull(value_of("raft_disk_bytes"), NULL, 10),
                      disk_bytes + server->raft.snapshot.size);
    end_leading();
}
END_TEST

START_TEST(server_describe__of_a_snapshot_that_comes_in)
{
    begin("1");
    server->raft.incoming = (struct incoming_snapshot){.name = {{2, 9}, 400, 1}, .received = 150};
    describe(NULL);
    CK_VALUE("raft_snapshot_incoming_bytes", "150");
    CK_VALUE("raft_snapshot_incoming_size", "400");
    end();
}
END_TEST

/* Both sides of distrust: whom it does not recognise, and that others do not recognise it. */
START_TEST(server_describe__of_servers_that_are_not_recognised)
{
    begin("1");
    struct identity shown = {.directory_id = 33, .start_count = 1, .starts = {5}};
    (void)trust_meet(&server->raft, 3, &shown);
    (void)trust_lost(&server->raft, 3, DISTRUST_LOST_ENTRIES);
    server->raft.trust.own.non_voter = true;
    describe(NULL);
    CK_VALUE("raft_may_vote", "0");
    CK_VALUE("raft_unrecognised_servers", "1");
    CK_VALUE("raft_unrecognised_3", distrust_words(DISTRUST_LOST_ENTRIES));
    end();
}
END_TEST

START_TEST(server_describe__durations_are_counted_in_us)
{
    begin("1");
    server_begin_round(server);
    log_add(&server->raft.log, "1");
    ck_assert(server_save(server));
    server_end_round(server);
    describe(NULL);
    ck_assert_uint_ge(strtoull(value_of("raft_syncs"), NULL, 10), 1);
    CK_VALUE("raft_loop_rounds", "1");
    u64 mean = strtoull(value_of("raft_loop_us_mean"), NULL, 10);
    u64 max = strtoull(value_of("raft_loop_us_max"), NULL, 10);
    ck_assert_uint_eq(max, server->loop_time.rounds.max_ns / NS_PER_US);
    ck_assert_uint_le(mean, max);
    for (size_t i = 0; i < ARRAY_LENGTH(durations); i++) {
        char key[KEY_SIZE];
        (void)snprintf(key, sizeof(key), "raft_metadata_us_%s", durations[i]);
        (void)value_of(key);
    }
    end();
}
END_TEST

/* ---- the README ---- */

/* Everything that a server may say, said once, against everything that is explained. */
START_TEST(readme__explains_each_key_and_no_other)
{
    begin_leading();
    write_two_read_one();
    send_peer_2_a_snapshot();
    lead.transfer.target = 3;
    struct identity shown = {.directory_id = 33, .start_count = 1, .starts = {5}};
    (void)trust_meet(&server->raft, 3, &shown);
    (void)trust_lost(&server->raft, 3, DISTRUST_LOST_ENTRIES);
    server->raft.acked_through = (struct entry_id){7, 5};
    describe(&lead);
    buffer_clear(&text); /* and what another thread tells of a server that has stalled */
    liveness_describe_stall(&server->liveness, clock_monotonic_ns(), &text);
    look();
    struct keys explained = of_readme();
    for (u32 i = 0; i < so_far.count; i++)
        ck_assert_msg(keys_have(&explained, so_far.names[i]), "server/README.md lacks %s",
                      so_far.names[i]);
    for (u32 i = 0; i < explained.count; i++)
        ck_assert_msg(keys_have(&so_far, explained.names[i]), "server/README.md explains %s",
                      explained.names[i]);
    end_leading();
}
END_TEST

/* ---- server_note_status ---- */

START_TEST(server_note_status__leaves_a_copy_when_somebody_looks)
{
    begin("1");
    server_note_status(server, NULL);
    buffer_clear(&text);
    liveness_describe_stall(&server->liveness, clock_monotonic_ns(), &text);
    look();
    ck_assert(!keys_have(&exact, "raft_id")); /* nobody does */
    atomic_store(&server->liveness.watched, true);
    server_note_status(server, NULL);
    buffer_clear(&text);
    liveness_describe_stall(&server->liveness, clock_monotonic_ns(), &text);
    look();
    CK_VALUE("raft_id", "1");
    CK_VALUE("raft_stalled_on", "work");
    end();
}
END_TEST

UNIT_MAIN("status", server_describe__of_a_follower, server_describe__of_a_leader,
          server_describe__of_a_peer_that_gets_a_snapshot_and_of_a_transfer,
          server_describe__while_the_log_is_repaired,
          server_describe__while_and_after_a_snapshot_is_taken,
          server_describe__of_a_snapshot_that_comes_in,
          server_describe__of_servers_that_are_not_recognised,
          server_describe__durations_are_counted_in_us, readme__explains_each_key_and_no_other,
          server_note_status__leaves_a_copy_when_somebody_looks)
