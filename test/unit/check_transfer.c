/* check_transfer.c - a leadership handed over, by the leader's side of it (thesis §3.10). */
#include "server/rules/transfer.h"
#include "test/unit/leader_unit.h"

static struct transfer transfer;
static struct message message;
static enum transfer_result result;
static server_id who;

/* Server 1 of so many leads; all of them hold everything, and all of it is committed. */
static void lead_in_peace(u32 servers)
{
    lead(servers, "1 1 2", 3);
    log_saved(&raft.log, raft.log.last_index);
    for (server_id id = 2; id <= servers; id++)
        catch_up(id);
    (void)commit_advance(&raft, &leadership);
    ck_assert_uint_eq(raft.commit_index, raft.log.last_index);
    raft.last_applied = raft.commit_index;
    transfer_init(&transfer);
}

static enum transfer_result begin(server_id target, u64 now_ns)
{
    return transfer_begin(&raft, &leadership, &transfer, target, now_ns, &who);
}

static enum transfer_verdict go_on(u64 now_ns)
{
    return transfer_go_on(&raft, &leadership, &transfer, now_ns, &message, &result, &who);
}

/* ---- transfer_init ---- */

START_TEST(transfer_init__nothing_goes_on)
{
    lead_in_peace(3);
    memset(&transfer, 0xee, sizeof(transfer));
    transfer_init(&transfer);
    ck_assert(!transfer_goes_on(&transfer));
    ck_assert(!transfer_is_told(&transfer));
    ck_assert_uint_eq(transfer_next_ns(&raft, &leadership, &transfer), UINT64_MAX);
    ck_assert_int_eq(go_on(T_BEGIN + 1000 * T_MS), TRANSFER_WAIT);
    release();
}
END_TEST

/* ---- transfer_choose ---- */

START_TEST(transfer_choose__who_holds_most)
{
    lead(4, "1 1 2", 3);
    log_saved(&raft.log, raft.log.last_index);
    catch_up(2);
    append_commands(1);
    catch_up(3);
    peer(4)->match_index = 1;
    ck_assert_uint_eq(transfer_choose(&raft, &leadership, T_BEGIN), 3);
    release();
}
END_TEST

START_TEST(transfer_choose__nobody_who_could_not)
{
    lead_in_peace(5);
    peer(2)->no_space = true;
    peer(3)->lost_acked = true;
    peer(4)->contact_ns = T_BEGIN - raft.election_timeout_ns_min;
    ck_assert_uint_eq(transfer_choose(&raft, &leadership, T_BEGIN), 5);
    peer(5)->reading = 7;
    ck_assert_uint_eq(transfer_choose(&raft, &leadership, T_BEGIN), SERVER_NONE);
    release();
}
END_TEST

START_TEST(transfer_choose__not_whose_connection_has_ended)
{
    lead_in_peace(3);
    replicate_disconnected(peer(2));
    ck_assert_uint_eq(transfer_choose(&raft, &leadership, T_BEGIN), 3);
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_GONE);
    ck_assert_uint_eq(who, 2);
    replicate_disconnected(peer(3));
    ck_assert_uint_eq(transfer_choose(&raft, &leadership, T_BEGIN), SERVER_NONE);
    /* It is heard again: a reply can only have come on a newer connection. */
    append_commands(1);
    catch_up(2);
    ck_assert_uint_eq(transfer_choose(&raft, &leadership, T_BEGIN), 2);
    /* The connection ends while it is waited for: it is not waited for any longer. */
    append_commands(1);
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_BEGUN);
    ck_assert_int_eq(go_on(T_BEGIN), TRANSFER_WAIT);
    replicate_disconnected(peer(2));
    ck_assert_int_eq(go_on(T_BEGIN), TRANSFER_GIVEN_UP);
    ck_assert_int_eq(result, TRANSFER_GONE);
    ck_assert(!transfer_goes_on(&transfer));
    release();
}
END_TEST

/* ---- transfer_begin ---- */

START_TEST(transfer_begin__says_why_not)
{
    lead_in_peace(4);
    raft.configuration.voters &= (member_set)~8U;
    ck_assert_int_eq(begin(9, T_BEGIN), TRANSFER_UNKNOWN);
    ck_assert_uint_eq(who, 9);
    ck_assert_int_eq(begin(4, T_BEGIN), TRANSFER_NO_VOTER);
    ck_assert_int_eq(begin(2, T_BEGIN + raft.election_timeout_ns_min), TRANSFER_DOWN);
    peer(2)->lost_acked = true;
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_SET_BACK);
    peer(2)->lost_acked = false;
    peer(2)->no_space = true;
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_FULL);
    peer(2)->no_space = false;
    peer(2)->reading = 7; /* what it needs is on disk only */
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_LAGS);
    ck_assert(!transfer_goes_on(&transfer));
    peer(3)->no_space = true;
    ck_assert_int_eq(begin(SERVER_NONE, T_BEGIN), TRANSFER_NOBODY);
    ck_assert_uint_eq(who, 1);
    peer(3)->no_space = false;
    ck_assert_int_eq(begin(SERVER_NONE, T_BEGIN), TRANSFER_BEGUN);
    ck_assert_uint_eq(who, 3);
    ck_assert_uint_eq(transfer.target, 3);
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_BUSY);
    ck_assert_uint_eq(who, 3);
    release();
}
END_TEST

START_TEST(transfer_describe__names_the_server)
{
    char text[128];
    for (u32 i = TRANSFER_BEGUN; i <= TRANSFER_OPEN; i++) {
        transfer_describe((enum transfer_result)i, UINT32_MAX, text, sizeof(text));
        ck_assert_ptr_nonnull(strstr(text, "server"));
        ck_assert_ptr_nonnull(strstr(text, "4294967295"));
    }
}
END_TEST

START_TEST(transfer_may_succeed_later__while_this_server_leads)
{
    static const bool later[] = {
        [TRANSFER_DOWN] = true,   [TRANSFER_GONE] = true,   [TRANSFER_FULL] = true,
        [TRANSFER_LAGS] = true,   [TRANSFER_NOBODY] = true, [TRANSFER_BUSY] = true,
        [TRANSFER_FAILED] = true, [TRANSFER_OPEN] = false};
    char text[128];
    for (u32 i = TRANSFER_BEGUN; i <= READMIT_TOO_OLD; i++) {
        transfer_describe((enum transfer_result)i, 42, text, sizeof(text));
        ck_assert_msg(transfer_may_succeed_later((enum transfer_result)i) ==
                          (i <= TRANSFER_OPEN && later[i]),
                      "%s", text);
    }
}
END_TEST

/* ---- transfer_go_on ---- */

START_TEST(transfer_go_on__tells_a_target_that_has_everything)
{
    lead_in_peace(3);
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_BEGUN);
    ck_assert(!transfer_is_told(&transfer));
    ck_assert_int_eq(go_on(T_BEGIN), TRANSFER_SEND);
    ck_assert(transfer_is_told(&transfer));
    ck_assert_int_eq(message.kind, MESSAGE_TIMEOUT_NOW);
    ck_assert_uint_eq(message.to, 2);
    ck_assert_uint_eq(message.term, 3);
    release();
}
END_TEST

START_TEST(transfer_go_on__first_the_target_catches_up)
{
    lead_in_peace(3);
    append_commands(2);
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_BEGUN);
    ck_assert_int_eq(go_on(T_BEGIN), TRANSFER_WAIT);
    ck_assert_uint_eq(transfer_next_ns(&raft, &leadership, &transfer), transfer.deadline_ns);
    struct message entries = sent_to(2, T_BEGIN);
    accepts(&entries, T_BEGIN + T_MS);
    /* It has all, but there are clients who could not be answered yet. */
    ck_assert_int_eq(go_on(T_BEGIN + T_MS), TRANSFER_WAIT);
    log_saved(&raft.log, raft.log.last_index);
    ck_assert(commit_advance(&raft, &leadership));
    ck_assert_int_eq(go_on(T_BEGIN + T_MS), TRANSFER_WAIT);
    raft.last_applied = raft.commit_index;
    ck_assert_uint_eq(transfer_next_ns(&raft, &leadership, &transfer), 0);
    ck_assert_int_eq(go_on(T_BEGIN + T_MS), TRANSFER_SEND);
    release();
}
END_TEST

START_TEST(transfer_go_on__tells_again_with_the_heartbeats)
{
    lead_in_peace(3);
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_BEGUN);
    ck_assert_int_eq(go_on(T_BEGIN), TRANSFER_SEND);
    ck_assert_int_eq(go_on(T_BEGIN + raft.heartbeat_ns - 1), TRANSFER_WAIT);
    ck_assert_uint_eq(transfer_next_ns(&raft, &leadership, &transfer), T_BEGIN + raft.heartbeat_ns);
    ck_assert_int_eq(go_on(T_BEGIN + raft.heartbeat_ns), TRANSFER_SEND);
    release();
}
END_TEST

/* The target's disk has lost what it had: to tell it again is not due before it has that. */
START_TEST(transfer_go_on__waits_for_who_was_told_and_is_behind_again)
{
    lead_in_peace(3);
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_BEGUN);
    u64 end_ns = transfer.deadline_ns;
    ck_assert_int_eq(go_on(T_BEGIN), TRANSFER_SEND);
    u64 held = peer(2)->match_index;
    peer(2)->match_index = 0;
    ck_assert_int_eq(go_on(T_BEGIN + raft.heartbeat_ns), TRANSFER_WAIT);
    ck_assert_uint_eq(transfer_next_ns(&raft, &leadership, &transfer), end_ns);
    peer(2)->match_index = held;
    ck_assert_int_eq(go_on(T_BEGIN + raft.heartbeat_ns), TRANSFER_SEND);
    release();
}
END_TEST

START_TEST(transfer_go_on__is_given_up_after_an_election_timeout_and_some_trips)
{
    lead_in_peace(3);
    peer(2)->trip_ns = 70 * T_MS;
    peer(3)->trip_ns = 10 * T_MS;
    u64 end_ns = T_BEGIN + raft.election_timeout_ns_min + 4 * 70 * T_MS;
    ck_assert_int_eq(begin(2, T_BEGIN), TRANSFER_BEGUN);
    ck_assert_int_eq(go_on(T_BEGIN), TRANSFER_SEND);
    ck_assert_int_eq(go_on(end_ns - 1), TRANSFER_SEND);
    ck_assert_int_eq(go_on(end_ns), TRANSFER_GIVEN_UP);
    ck_assert_int_eq(result, TRANSFER_FAILED);
    ck_assert_uint_eq(who, 2);
    ck_assert(!transfer_goes_on(&transfer));
    ck_assert_int_eq(go_on(end_ns), TRANSFER_WAIT);

    append_commands(1); /* and one that did not catch up was never told */
    end_ns = T_BEGIN + raft.election_timeout_ns_min + 4 * 10 * T_MS;
    ck_assert_int_eq(begin(3, T_BEGIN), TRANSFER_BEGUN);
    ck_assert_int_eq(go_on(end_ns), TRANSFER_GIVEN_UP);
    ck_assert_int_eq(result, TRANSFER_LAGS);
    release();
}
END_TEST

/* ---- transfer_without_room ---- */

/* The leader was elected a while ago, and all are heard of. */
static u64 some_time_later(u64 now_ns)
{
    now_ns += 100 * raft.election_timeout_ns_min;
    for (server_id id = 2; id <= leadership.count; id++)
        peer(id)->contact_ns = now_ns;
    return now_ns;
}

static bool without_room(bool refused, u64 now_ns)
{
    return transfer_without_room(&raft, &leadership, &transfer, refused, now_ns);
}

START_TEST(transfer_without_room__when_the_disk_is_full_or_a_command_was_too_large)
{
    lead_in_peace(3);
    u64 now_ns = some_time_later(T_BEGIN);
    raft.room_bytes_min = 100;
    raft.room_bytes = 100;
    ck_assert(!without_room(false, now_ns));
    raft.room_bytes = 99;
    ck_assert(without_room(false, now_ns));
    transfer_init(&transfer);
    raft.room_bytes = 100;
    ck_assert(without_room(true, now_ns));
    release();
}
END_TEST

START_TEST(transfer_without_room__not_as_soon_as_it_leads)
{
    lead_in_peace(3);
    ck_assert(!without_room(true, T_BEGIN));
    ck_assert(without_room(true, some_time_later(T_BEGIN)));
    release();
}
END_TEST

START_TEST(transfer_without_room__tries_and_rests)
{
    lead_in_peace(3);
    u64 now_ns = some_time_later(T_BEGIN);
    peer(2)->no_space = true;
    ck_assert(without_room(true, now_ns));
    ck_assert_uint_eq(transfer.target, 3);
    u64 end_ns = transfer.deadline_ns;
    ck_assert(!without_room(true, end_ns - 1));
    ck_assert_int_eq(go_on(end_ns), TRANSFER_GIVEN_UP);
    peer(3)->contact_ns = end_ns;
    ck_assert(!without_room(true, end_ns));
    ck_assert(without_room(true, some_time_later(end_ns)));
    release();
}
END_TEST

START_TEST(transfer_without_room__nobody_has_any)
{
    lead_in_peace(3);
    u64 now_ns = some_time_later(T_BEGIN);
    struct message heartbeat = sent_to(3, now_ns);
    struct message reply = reply_to(&heartbeat, APPEND_ACCEPTED);
    reply.as.append_reply.match_index = raft.log.last_index;
    reply.as.append_reply.full = true;
    replicate_reply(&raft, peer(3), &reply, now_ns);
    peer(2)->no_space = true;
    ck_assert(!without_room(true, now_ns));
    ck_assert(!transfer_goes_on(&transfer));
    peer(2)->no_space = false; /* and as soon as somebody has, without a rest */
    ck_assert(without_room(true, now_ns));
    release();
}
END_TEST

/* ---- transfer_conclude ---- */

START_TEST(transfer_conclude__by_who_leads)
{
    raft_of(&raft, 3, 1, "1 1");
    raft.leader = SERVER_NONE;
    ck_assert_int_eq(transfer_conclude(&raft, SERVER_NONE, &who), TRANSFER_NO_LEADER);
    ck_assert_uint_eq(who, 1);
    ck_assert_int_eq(transfer_conclude(&raft, 2, &who), TRANSFER_OPEN);
    ck_assert_uint_eq(who, 2);
    raft.leader = 3;
    ck_assert_int_eq(transfer_conclude(&raft, SERVER_NONE, &who), TRANSFER_NOT_LEADER);
    ck_assert_uint_eq(who, 3);
    ck_assert_int_eq(transfer_conclude(&raft, 2, &who), TRANSFER_OTHER);
    ck_assert_uint_eq(who, 3);
    ck_assert_int_eq(transfer_conclude(&raft, 3, &who), TRANSFER_DONE);
    release();
}
END_TEST

UNIT_MAIN("transfer", transfer_init__nothing_goes_on, transfer_choose__who_holds_most,
          transfer_choose__not_whose_connection_has_ended, transfer_choose__nobody_who_could_not,
          transfer_begin__says_why_not, transfer_describe__names_the_server,
          transfer_may_succeed_later__while_this_server_leads,
          transfer_go_on__tells_a_target_that_has_everything,
          transfer_go_on__first_the_target_catches_up,
          transfer_go_on__tells_again_with_the_heartbeats,
          transfer_go_on__waits_for_who_was_told_and_is_behind_again,
          transfer_go_on__is_given_up_after_an_election_timeout_and_some_trips,
          transfer_without_room__when_the_disk_is_full_or_a_command_was_too_large,
          transfer_without_room__not_as_soon_as_it_leads, transfer_without_room__tries_and_rests,
          transfer_without_room__nobody_has_any, transfer_conclude__by_who_leads)
