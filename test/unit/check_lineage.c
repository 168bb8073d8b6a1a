/* check_lineage.c - which configuration is in force, and which one after entries are gone. */
#include "server/rules/lineage.h"
#include "server/rules/trust.h"

#include "test/unit/rules_unit.h"

static struct raft raft;

/* A server of three, whose log ends with these terms. */
static void begin(const char *terms)
{
    raft_of(&raft, 3, 2, terms);
    raft.trust.own = (struct identity){.directory_id = 102, .start_count = 1, .feature = 1};
}

/* An entry that makes `configuration`, or a level, of this term at this index. */
static struct block *made_of(const struct configuration *configuration, u32 level,
                             struct entry_id id)
{
    struct buffer payload;
    buffer_init(&payload);
    if (configuration != NULL)
        configuration_encode(configuration, &payload);
    else
        feature_encode(level, &payload);
    struct entry entry = {.id = id,
                          .type = configuration != NULL ? ENTRY_CONFIGURATION : ENTRY_FEATURE,
                          .version = ENTRY_VERSION,
                          .payload = payload.data,
                          .payload_size = (u32)payload.size};
    struct block *block = block_create(record_size_of(&entry));
    record_encode(&entry, block->data);
    buffer_deinit(&payload);
    return block;
}

/* A leader's message with one such entry. Returns whether it was taken; `*why` says why not. */
static bool append_one(struct block *block, u64 term, struct entry_id prev, u64 commit,
                       const char **why)
{
    struct message message = {.kind = MESSAGE_APPEND_ENTRIES, .from = 1, .to = 2, .term = term};
    message.as.append_request =
        (struct append_request){.prev = prev, .leader_commit = commit, .count = 1};
    message.spans[0] = span_of(block, block->data, block->size);
    message.span_count = 1;
    block_release(block);
    if (raft.current_term < term)
        adopt_term(&raft, term);
    struct message reply;
    bool taken = append_entries(&raft, &message, UINT64_MAX, T_MS, &reply, why);
    message_release(&message);
    return taken;
}

static struct configuration identified(u64 incarnation, u64 first_directory)
{
    struct configuration configuration = raft.configuration;
    configuration.feature = FEATURE_NEWEST;
    configuration.incarnation = incarnation;
    for (u32 p = 0; p < configuration.count; p++)
        configuration.members[p].directory_id = first_directory + p;
    return configuration;
}

START_TEST(lineage_take__the_newest_in_the_log_is_in_force)
{
    const char *why;
    begin("1");
    ck_assert(
        append_one(made_of(NULL, 1, (struct entry_id){2, 2}), 2, (struct entry_id){1, 1}, 0, &why));
    ck_assert_uint_eq(raft.configuration.feature, 1);
    ck_assert_uint_eq(raft.configuration.index, 2);
    ck_assert_uint_eq(raft.configuration.count, 3);
    ck_assert(!raft.configuration_complete);
    struct configuration named = identified(77, 101);
    ck_assert(append_one(made_of(&named, 0, (struct entry_id){2, 3}), 2, (struct entry_id){2, 2}, 0,
                         &why));
    ck_assert_uint_eq(raft.configuration.incarnation, 77);
    ck_assert_uint_eq(raft.configuration.index, 3);
    ck_assert(raft.configuration_complete);
    /* What is not committed is nobody's yet. */
    ck_assert_uint_eq(raft.trust.own.incarnation, 0);
    raft_deinit(&raft);
}
END_TEST

START_TEST(lineage_truncate__each_one_before_comes_into_force_again)
{
    const char *why;
    begin("1");
    ck_assert(
        append_one(made_of(NULL, 1, (struct entry_id){2, 2}), 2, (struct entry_id){1, 1}, 0, &why));
    struct configuration named = identified(77, 101);
    ck_assert(append_one(made_of(&named, 0, (struct entry_id){2, 3}), 2, (struct entry_id){2, 2}, 0,
                         &why));
    lineage_truncate(&raft, 4); /* behind all of them */
    ck_assert_uint_eq(raft.configuration.index, 3);
    lineage_truncate(&raft, 3);
    ck_assert_uint_eq(raft.configuration.index, 2);
    ck_assert_uint_eq(raft.configuration.incarnation, 0);
    ck_assert_uint_eq(raft.configuration.feature, 1);
    lineage_truncate(&raft, 2);
    ck_assert_uint_eq(raft.configuration.index, 1);
    ck_assert_uint_eq(raft.configuration.feature, 0);
    ck_assert(!raft.configuration_complete);
    raft_deinit(&raft);
}
END_TEST

START_TEST(lineage_take__two_leaders_may_draw_two_incarnations)
{
    const char *why;
    begin("1 1");
    struct configuration first = identified(77, 101), second = identified(88, 101);
    ck_assert(append_one(made_of(&first, 0, (struct entry_id){2, 3}), 2, (struct entry_id){1, 2}, 0,
                         &why));
    ck_assert(append_one(made_of(&second, 0, (struct entry_id){3, 3}), 3, (struct entry_id){1, 2},
                         3, &why));
    ck_assert_uint_eq(raft.configuration.incarnation, 88);
    ck_assert_int_eq(trust_settle(&raft), STANDING_JOINED);
    ck_assert_uint_eq(raft.trust.own.incarnation, 88);
    ck_assert_int_eq(trust_settle(&raft), STANDING_SAME);
    /* From then on no other one is taken. */
    struct configuration third = identified(99, 101);
    ck_assert(!append_one(made_of(&third, 0, (struct entry_id){3, 4}), 3, (struct entry_id){3, 3},
                          3, &why));
    ck_assert_ptr_nonnull(strstr(why, "another incarnation"));
    ck_assert_uint_eq(raft.log.last_index, 3);
    raft_deinit(&raft);
}
END_TEST

START_TEST(lineage_check__refuses_what_this_version_does_not_know)
{
    const char *why;
    begin("1");
    struct configuration more = identified(77, 101);
    struct error error;
    ck_assert_int_eq(configuration_add(&more, 9, "host:9", "", &error), ERROR_NONE);
    ck_assert(!append_one(made_of(&more, 0, (struct entry_id){2, 2}), 2, (struct entry_id){1, 1}, 0,
                          &why));
    ck_assert_ptr_nonnull(strstr(why, "changes the members"));
    ck_assert(!append_one(made_of(NULL, FEATURE_NEWEST + 1, (struct entry_id){2, 2}), 2,
                          (struct entry_id){1, 1}, 0, &why));
    ck_assert_ptr_nonnull(strstr(why, "upgrade this server"));
    ck_assert_uint_eq(raft.configuration.index, 1);
    raft_deinit(&raft);
}
END_TEST

START_TEST(lineage_replace__a_snapshots)
{
    const char *why;
    begin("1");
    struct configuration named = identified(77, 101);
    ck_assert(append_one(made_of(&named, 0, (struct entry_id){2, 2}), 2, (struct entry_id){1, 1}, 0,
                         &why));
    struct configuration older = raft.configuration;
    older.index = 1;
    older.incarnation = 0;
    lineage_replace(&raft, &older, false); /* one behind it is newer */
    ck_assert_uint_eq(raft.configuration.index, 2);
    lineage_replace(&raft, &older, true); /* the log is gone with it */
    ck_assert_uint_eq(raft.configuration.index, 1);
    lineage_truncate(&raft, 2);
    ck_assert_uint_eq(raft.configuration.index, 1);
    raft_deinit(&raft);
}
END_TEST

UNIT_MAIN("lineage", lineage_take__the_newest_in_the_log_is_in_force,
          lineage_truncate__each_one_before_comes_into_force_again,
          lineage_take__two_leaders_may_draw_two_incarnations,
          lineage_check__refuses_what_this_version_does_not_know, lineage_replace__a_snapshots)
