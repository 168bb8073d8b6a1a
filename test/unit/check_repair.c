/* check_repair.c - what the log may forget, and how a server that has lost entries is bound by what
 * it had promised: rules/install.c, raft.c, election.c, replication.c. */
#include "server/rules/install.h"

#include "test/unit/leader_unit.h"

/* ---- compaction ---- */

START_TEST(compaction_index__keeps_what_is_trailing_and_what_peers_are_fed)
{
    struct compaction_limits limits = {.trailing_entries = 2, .lagging_bytes = 1000};
    lead(3, "1 1 2 2 2 2 2 2 2 2", 3);
    log_saved(&raft.log, 11);
    raft.commit_index = 11;
    raft.last_applied = 11;
    ck_assert_uint_eq(compaction_index(&raft, NULL, &limits, 0, T_BEGIN), 0);
    raft.snapshot.last = (struct entry_id){2, 9};
    ck_assert_uint_eq(compaction_index(&raft, NULL, &limits, 0, T_BEGIN), 7);
    /* Nobody has answered yet. */
    ck_assert_uint_eq(compaction_index(&raft, &leadership, &limits, 0, T_BEGIN), 0);
    peer(2)->match_index = 5;
    peer(3)->match_index = 11;
    ck_assert_uint_eq(compaction_index(&raft, &leadership, &limits, 0, T_BEGIN), 5);
    /* A log that has grown too large waits for nobody, and nobody waits for the dead. */
    ck_assert_uint_eq(compaction_index(&raft, &leadership, &limits, 1001, T_BEGIN), 7);
    peer(3)->contact_ns = T_BEGIN + 4000 * T_MS;
    ck_assert_uint_eq(compaction_index(&raft, &leadership, &limits, 0, T_BEGIN + 3001 * T_MS), 7);
    /* Who gets the snapshot needs the entries behind it. */
    peer(2)->contact_ns = T_BEGIN + 3000 * T_MS;
    install_begin(&raft, peer(2));
    ck_assert_uint_eq(compaction_index(&raft, &leadership, &limits, 0, T_BEGIN + 3001 * T_MS), 7);
    log_compact(&raft.log, 7);
    ck_assert_uint_eq(compaction_index(&raft, NULL, &limits, 0, T_BEGIN), 0);
    release();
}
END_TEST

/* ---- repair ---- */

START_TEST(promised__binds_the_vote_and_forbids_to_campaign)
{
    raft_of(&raft, 3, 1, "1 1 2");
    raft.acked_through = (struct entry_id){2, 7};
    raft.current_term = 5;
    ck_assert(!raft_may_campaign(&raft));
    struct message reply;
    const char *why;
    struct message request = vote_of(2, 5, (struct entry_id){2, 6});
    election_answer_vote(&raft, &request, &reply, &why);
    ck_assert(!reply.as.vote_reply.granted);
    request = vote_of(2, 5, (struct entry_id){2, 7});
    election_answer_vote(&raft, &request, &reply, &why);
    ck_assert(reply.as.vote_reply.granted);
    release();
}
END_TEST

START_TEST(promised__ends_when_the_log_is_as_good_again)
{
    raft_of(&raft, 3, 1, "1 1 2");
    raft.acked_through = (struct entry_id){2, 5};
    struct append_reply reply = append_to(&raft, append_of(2, 2, (struct entry_id){2, 4}, "2", 0));
    ck_assert_int_eq(reply.result, APPEND_REFUSED_CONFLICT);
    ck_assert(reply.repairing);
    reply = append_to(&raft, append_of(2, 2, (struct entry_id){2, 3}, "2 2", 0));
    ck_assert(!raft_is_repaired(&raft)); /* not on the disk yet */
    log_saved(&raft.log, 4);
    ck_assert(!raft_is_repaired(&raft));
    log_saved(&raft.log, 5);
    ck_assert(raft_is_repaired(&raft));
    /* A later term counts for more than the length. */
    raft.acked_through = (struct entry_id){2, 9};
    ck_assert(!raft_is_repaired(&raft));
    append_to(&raft, append_of(3, 6, (struct entry_id){2, 5}, "6", 0));
    log_saved(&raft.log, 6);
    ck_assert(raft_is_repaired(&raft));
    release();
}
END_TEST

START_TEST(replicate_reply__a_peer_that_is_repairing_holds_less)
{
    lead(3, "1 1 2 2", 3);
    catch_up(2);
    replicate_connected(&raft, peer(2));
    struct message probe = sent_to(2, T_BEGIN);
    struct message reply = reply_to(&probe, APPEND_REFUSED_CONFLICT);
    reply.as.append_reply.conflict = (struct entry_id){0, 3};
    reply.as.append_reply.repairing = true;
    replicate_reply(&raft, peer(2), &reply, T_BEGIN);
    ck_assert_uint_eq(peer(2)->match_index, 2);
    ck_assert(!peer(2)->lost_acked);
    probe = sent_to(2, T_BEGIN);
    ck_assert_uint_eq(probe.as.append_request.prev.index, 2);
    accepts(&probe, T_BEGIN);
    ck_assert_uint_eq(peer(2)->match_index, 5);
    release();
}
END_TEST

UNIT_MAIN("repair", compaction_index__keeps_what_is_trailing_and_what_peers_are_fed,
          promised__binds_the_vote_and_forbids_to_campaign,
          promised__ends_when_the_log_is_as_good_again,
          replicate_reply__a_peer_that_is_repairing_holds_less)
