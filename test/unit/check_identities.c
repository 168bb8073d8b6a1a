/* check_identities.c - what a leader logs about who the servers are, and how one that is not
 * recognised becomes a voter again. */
#include "server/rules/identities.h"

#include "server/rules/lineage.h"
#include "server/rules/trust.h"
#include "test/unit/leader_unit.h"

/* Server `id` shows itself on this directory, in this start, by a program of this feature level. */
static void meet(server_id id, u64 directory_id, u64 start_count, u32 feature)
{
    struct identity shown = {
        .directory_id = directory_id, .start_count = start_count, .feature = feature};
    for (u64 i = 0; i < IDENTITY_STARTS && i < start_count; i++)
        shown.starts[i] = directory_id * 1000 + start_count - i;
    (void)trust_meet(&raft, id, &shown);
}

/* A leader of three, in term 2, all of whose log is committed. */
static void lead_three(void)
{
    lead(3, "1", 2);
    raft.trust.own = (struct identity){
        .directory_id = 101, .start_count = 1, .starts = {5}, .feature = FEATURE_NEWEST};
    log_saved(&raft.log, raft.log.last_index);
    raft.commit_index = raft.log.last_index;
    leadership.uncommitted_bytes = 0;
}

static void commit_all(void)
{
    log_saved(&raft.log, raft.log.last_index);
    raft.commit_index = raft.log.last_index;
    while (trust_settle(&raft) != STANDING_SAME)
        continue;
}

/* Of a cluster that has an incarnation and knows all directories. */
static void lead_identified(void)
{
    lead_three();
    meet(2, 102, 1, 1);
    meet(3, 103, 1, 1);
    ck_assert_uint_ne(identities_settle(&raft, &leadership, 0), 0);
    commit_all();
    ck_assert_uint_ne(identities_settle(&raft, &leadership, 0), 0);
    commit_all();
    ck_assert(raft.configuration_complete);
}

START_TEST(identities_settle__nothing_new_before_all_have_shown_that_they_know_it)
{
    lead_three();
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 0);
    meet(2, 102, 1, 1);
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 0);
    meet(3, 103, 1, 0); /* by a program of before */
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 0);
    meet(3, 103, 2, 1);
    u64 index = identities_settle(&raft, &leadership, 0);
    ck_assert_uint_eq(index, 3);
    ck_assert_int_eq(log_entry(&raft.log, 3).type, ENTRY_FEATURE);
    /* What the level allows is written when it is committed, and not before. */
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 0);
    commit_all();
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 4);
    ck_assert_int_eq(log_entry(&raft.log, 4).type, ENTRY_CONFIGURATION);
    ck_assert_uint_ne(raft.configuration.incarnation, 0);
    for (u32 p = 0; p < 3; p++)
        ck_assert_uint_eq(raft.configuration.members[p].directory_id, 101 + p);
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 0);
    commit_all();
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 0);
    release();
}
END_TEST

START_TEST(identities_settle__waits_for_an_entry_of_its_own_term)
{
    lead_three();
    meet(2, 102, 1, 1);
    meet(3, 103, 1, 1);
    raft.commit_index = 1;
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 0);
    raft.commit_index = 2;
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 3);
    release();
}
END_TEST

START_TEST(identities_settle__names_who_was_in_the_cluster_and_not_who_is_not_believed)
{
    lead_three();
    meet(2, 102, 1, 1);
    meet(3, 103, 2, 1);
    ck_assert_uint_ne(identities_settle(&raft, &leadership, 0), 0);
    commit_all();
    meet(3, 999, 1, 1); /* it was wiped meanwhile */
    ck_assert_uint_ne(identities_settle(&raft, &leadership, 0), 0);
    commit_all();
    ck_assert_uint_ne(raft.configuration.incarnation, 0);
    ck_assert_uint_eq(raft.configuration.members[2].directory_id, 103);
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 0);
    release();
}
END_TEST

/* The level was logged by a leader that knew all; the next one does not. Whom the entry that says
 * which cluster it is does not name would be a stranger from then on. */
START_TEST(identities_settle__no_incarnation_before_all_directories_are_known)
{
    lead_three();
    meet(2, 102, 1, 1);
    raft.configuration.feature = FEATURE_NEWEST;
    ck_assert_uint_eq(identities_settle(&raft, &leadership, 0), 0);
    meet(3, 103, 1, 1);
    ck_assert_uint_ne(identities_settle(&raft, &leadership, 0), 0);
    ck_assert_uint_ne(raft.configuration.incarnation, 0);
    ck_assert_uint_eq(raft.configuration.members[2].directory_id, 103);
    release();
}
END_TEST

START_TEST(identities_readmit__refusals)
{
    u64 index;
    lead_three();
    ck_assert_int_eq(identities_readmit(&raft, &leadership, 9, &index), READMIT_NO_MEMBER);
    ck_assert_int_eq(identities_readmit(&raft, &leadership, 1, &index), READMIT_RECOGNISED);
    ck_assert_int_eq(identities_readmit(&raft, &leadership, 3, &index), READMIT_TOO_OLD);
    release();
    lead_identified();
    ck_assert_int_eq(identities_readmit(&raft, &leadership, 3, &index), READMIT_RECOGNISED);
    meet(3, 103, 7, 1);
    meet(3, 103, 6, 1);
    ck_assert_int_eq(identities_readmit(&raft, &leadership, 3, &index), READMIT_EARLIER_START);
    u64 before = raft.log.last_index;
    raft.commit_index--;
    ck_assert_int_eq(identities_readmit(&raft, &leadership, 3, &index), READMIT_WAIT);
    ck_assert_uint_eq(raft.log.last_index, before);
    release();
}
END_TEST

START_TEST(identities_readmit__it_counts_when_it_has_shown_that_it_got_so_far)
{
    u64 index = 0;
    lead_identified();
    meet(3, 999, 1, 1);
    ck_assert(!trust_counts(&raft, 3));
    ck_assert_int_eq(identities_readmit(&raft, &leadership, 3, &index), TRANSFER_BEGUN);
    ck_assert_uint_eq(index, raft.log.last_index);
    const struct readmission *named = &raft.configuration.members[2].readmission;
    ck_assert_uint_eq(named->entry.index, index);
    ck_assert_uint_eq(named->entry.term, 2);
    ck_assert_uint_eq(named->start_id, 999001);
    /* The entry that says so is not committed by its word. */
    ck_assert(!trust_counts(&raft, 3));
    peer(3)->match_index = index;
    log_saved(&raft.log, index);
    ck_assert(!commit_advance(&raft, &leadership));
    peer(2)->match_index = index;
    ck_assert(commit_advance(&raft, &leadership));
    commit_all();
    ck_assert_int_eq(trust_known_peer(&raft, 3)->distrust, DISTRUST_READMITTED);
    ck_assert_uint_eq(trust_known_peer(&raft, 3)->directory_id, 999); /* to be saved */
    ck_assert_int_eq(identities_readmit(&raft, &leadership, 3, &index), READMIT_AGAIN);
    ck_assert(!trust_heard(&raft, 3, index - 1).changed); /* an older one */
    ck_assert(!trust_counts(&raft, 3));
    struct meeting meeting = trust_heard(&raft, 3, index);
    ck_assert(meeting.changed && meeting.anew);
    ck_assert(trust_counts(&raft, 3));
    /* Now its old directory is the stranger, and a copy that goes on from another start. */
    meet(3, 103, 9, 1);
    ck_assert(!trust_counts(&raft, 3));
    release();
}
END_TEST

/* Server 2's side of it. */
static struct configuration readmitting(u64 directory_id, u64 start_count, u64 start_id)
{
    struct configuration configuration = raft.configuration;
    configuration.feature = FEATURE_NEWEST;
    configuration.incarnation = 7;
    configuration.index = raft.log.last_index;
    configuration.members[1].directory_id = directory_id;
    configuration.members[1].readmission = (struct readmission){
        .entry = log_last(&raft.log), .start_count = start_count, .start_id = start_id};
    return configuration;
}

START_TEST(trust_settle__its_vote_is_spent_before_it_votes_again)
{
    raft_of(&raft, 3, 2, "1 3");
    raft.trust.own = (struct identity){.directory_id = 999,
                                       .start_count = 1,
                                       .starts = {999001},
                                       .incarnation = 7,
                                       .non_voter = true};
    raft.leader = 1;
    struct configuration named = readmitting(999, 1, 999001);
    lineage_replace(&raft, &named, true);
    ck_assert(!trust_may_vote(&raft));
    raft.commit_index = 1; /* it holds the entry, and does not know that it is committed */
    ck_assert_int_eq(trust_settle(&raft), STANDING_SAME);
    ck_assert(!trust_may_vote(&raft));
    raft.commit_index = 2;
    ck_assert_int_eq(trust_settle(&raft), STANDING_READMITTED);
    ck_assert(trust_may_vote(&raft));
    ck_assert_uint_eq(raft.voted_for, 1);
    ck_assert(raft.metadata_unsaved);
    ck_assert_uint_eq(raft.trust.own.readmitted, 2);
    ck_assert_int_eq(trust_settle(&raft), STANDING_SAME);
    /* Who does not know of it yet has nothing to say any more; who does may have. */
    struct message told = {.kind = MESSAGE_UNRECOGNISED, .from = 3, .to = 2};
    told.as.unrecognised = (struct unrecognised){999, 1, DISTRUST_OTHER_DIRECTORY, 0};
    ck_assert(!trust_unrecognised(&raft, &told));
    told.as.unrecognised.readmitted = 2;
    ck_assert(trust_unrecognised(&raft, &told));
    release();
}
END_TEST

START_TEST(trust_settle__in_a_later_term_no_vote_is_lost)
{
    raft_of(&raft, 3, 2, "1 3");
    adopt_term(&raft, 5);
    raft.trust.own = (struct identity){
        .directory_id = 999, .start_count = 2, .starts = {999002, 999001}, .incarnation = 7};
    struct configuration named = readmitting(999, 1, 999001);
    lineage_replace(&raft, &named, true);
    raft.commit_index = 2;
    ck_assert_int_eq(trust_settle(&raft), STANDING_READMITTED);
    ck_assert_uint_eq(raft.voted_for, SERVER_NONE);
    release();
}
END_TEST

START_TEST(trust_settle__the_log_names_another_directory_or_start)
{
    raft_of(&raft, 3, 2, "1 3");
    raft.trust.own = (struct identity){
        .directory_id = 102, .start_count = 9, .starts = {102009}, .incarnation = 7};
    struct configuration named = readmitting(999, 1, 999001);
    lineage_replace(&raft, &named, true);
    ck_assert(!raft_may_campaign(&raft)); /* at once, committed or not */
    raft.commit_index = 2;
    ck_assert_int_eq(trust_settle(&raft), STANDING_OTHER_DIRECTORY);
    ck_assert(raft.trust.own.non_voter);
    ck_assert_int_eq(trust_settle(&raft), STANDING_SAME);
    release();
    /* A copy of the directory that was readmitted, which goes on from another start. */
    raft_of(&raft, 3, 2, "1 3");
    raft.trust.own =
        (struct identity){.directory_id = 999, .start_count = 1, .starts = {777}, .incarnation = 7};
    named = readmitting(999, 1, 999001);
    lineage_replace(&raft, &named, true);
    raft.commit_index = 2;
    ck_assert_int_eq(trust_settle(&raft), STANDING_SAME);
    ck_assert(!trust_may_vote(&raft));
    release();
}
END_TEST

/* What a disk has lost of the log does not bring back what was so before. */
START_TEST(trust__a_readmission_is_known_without_its_entry)
{
    raft_of(&raft, 3, 2, "1 3");
    struct configuration named = readmitting(0, 0, 0);
    named.members[1].readmission = (struct readmission){{0, 0}, 0, 0};
    named.members[1].directory_id = 102; /* the ones before */
    named.members[2].directory_id = 103;
    raft.trust.own = (struct identity){.directory_id = 999,
                                       .start_count = 1,
                                       .starts = {999001},
                                       .incarnation = 7,
                                       .readmitted = 9};
    lineage_replace(&raft, &named, true);
    raft.commit_index = 2;
    ck_assert(trust_may_vote(&raft));
    ck_assert_int_eq(trust_settle(&raft), STANDING_SAME);
    ck_assert(!raft.trust.own.non_voter);
    /* The same of another one, whose readmission was committed, and is remembered. */
    raft.trust.met[0] = (struct known_peer){
        .id = 3, .directory_id = 888, .start_count = 1, .start_id = 888001, .readmitted = 9};
    raft.trust.count = 1;
    struct identity shown = {
        .directory_id = 888, .start_count = 1, .starts = {888001}, .readmitted = 9};
    ck_assert_int_eq(trust_meet(&raft, 3, &shown).distrust, DISTRUST_NONE);
    shown.directory_id = 103;
    ck_assert_int_eq(trust_meet(&raft, 3, &shown).distrust, DISTRUST_OTHER_DIRECTORY);
    release();
}
END_TEST

/* ---- clusters ---- */

static enum kinship kin(struct identity own, struct identity shown, u64 its_directory, u32 feature)
{
    const struct kin named = {
        .feature = feature, .count = 2, .members = {{7, 77}, {8, its_directory}}};
    return kinship_judge(&own, &named, 8, &shown);
}

START_TEST(kinship_judge__two_clusters_never_mix)
{
    const struct identity a = {.directory_id = 1, .incarnation = 10, .feature = 1};
    const struct identity b = {.directory_id = 2, .incarnation = 20, .feature = 1};
    const struct identity before = {.directory_id = 3, .feature = 1};
    const struct identity blank = {.directory_id = 4, .blank = true, .feature = 1};
    const struct identity old = {.directory_id = 5};
    ck_assert_int_eq(kin(a, a, 0, 1), KIN);
    ck_assert_int_eq(kin(a, b, 2, 1), KIN_OTHER_CLUSTER);
    ck_assert_int_eq(kin(b, a, 1, 1), KIN_OTHER_CLUSTER);
    ck_assert_int_eq(kin(blank, a, 0, 0), KIN_WE_JOIN);
    ck_assert_int_eq(kin(a, blank, 4, 1), KIN_IT_JOINS);
    ck_assert_int_eq(kin(blank, blank, 0, 0), KIN_BOTH_BLANK);
    ck_assert_int_eq(kin(blank, before, 0, 0), KIN_WE_JOIN);
    ck_assert_int_eq(kin(before, before, 0, 0), KIN);
    /* Who lags behind the entry that says which cluster it is was in it then. */
    ck_assert_int_eq(kin(a, before, 3, 1), KIN);
    ck_assert_int_eq(kin(a, before, 99, 1), KIN_NOT_MET);
    ck_assert_int_eq(kin(a, before, 0, 1), KIN_NOT_MET);
    ck_assert_int_eq(kin(before, a, 0, 0), KIN);
    /* So was who came back empty, and joined through one that was. */
    struct identity joined = {.directory_id = 6, .joined_through = 77, .feature = 1};
    ck_assert_int_eq(kin(a, joined, 3, 1), KIN);
    ck_assert_int_eq(kin(a, joined, 0, 1), KIN);
    joined.joined_through = 78;
    ck_assert_int_eq(kin(a, joined, 3, 1), KIN_NOT_MET);
    joined.directory_id = 77; /* another member's directory is not its own */
    ck_assert_int_eq(kin(a, joined, 3, 1), KIN_NOT_MET);
    ck_assert_int_eq(kin(a, old, 5, 1), KIN_TOO_OLD);
    ck_assert_int_eq(kin(before, old, 5, 0), KIN);
}
END_TEST

UNIT_MAIN("identities", identities_settle__nothing_new_before_all_have_shown_that_they_know_it,
          identities_settle__waits_for_an_entry_of_its_own_term,
          identities_settle__names_who_was_in_the_cluster_and_not_who_is_not_believed,
          identities_settle__no_incarnation_before_all_directories_are_known,
          identities_readmit__refusals,
          identities_readmit__it_counts_when_it_has_shown_that_it_got_so_far,
          trust_settle__its_vote_is_spent_before_it_votes_again,
          trust_settle__in_a_later_term_no_vote_is_lost,
          trust_settle__the_log_names_another_directory_or_start,
          trust__a_readmission_is_known_without_its_entry, kinship_judge__two_clusters_never_mix)
