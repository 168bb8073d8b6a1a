/* check_leader.c - the leader's loop: each arrow of the table in server/README.md that begins at a
 * leader. What it does for its clients is check_lead.c's. */
#include "server/per_state/per_state.h"
#include "test/unit/server_unit.h"

#define BEGINS  "send append>2:3-3, send append>3:3-3, write log, sync log" /* with its no-op */
#define TIMEOUT (40 * T_MS)

static u64 first_call; /* of the first message to server 2; the one to server 3 follows */

/* It has been elected in term 2; "1 1" is what it has. Each letter is read by itself. */
static void begin_leading(void)
{
    begin("1 1");
    adopt_term(&server->raft, 2);
    server->raft.voted_for = 1;
    ck_assert(server_save(server));
    server_enter(server, RAFT_LEADER, "a test");
    read_one_by_one();
    first_call = server->raft.next_call;
    tape[0] = said[0] = traced[0] = '\0';
}

static void ck_leaves(enum raft_state next, const char *why)
{
    ck_assert_int_eq(leader_run(server), next);
    ck_assert_int_eq(server->state, next);
    CK_SAID(why);
    ck_assert_uint_eq(server->raft.leader, SERVER_NONE);
    ck_assert_ptr_null(server->lead);
}

/* Only the order to stop ends it. */
static void ck_stays(void)
{
    tell(MAIL_CONNECTED, 9);
    tell(MAIL_STOP, SERVER_NONE);
    ck_assert_int_eq(leader_run(server), RAFT_STOPPED);
    ck_assert_int_eq(server->state, RAFT_LEADER);
    ck_assert_int_eq(server->failure.code, ERROR_NONE);
}

/* Without contact it leads so long, and a heartbeat more if it slept itself. */
static void lose_contact_soon(void)
{
    time_out_after(TIMEOUT);
    server->raft.heartbeat_ns = 25 * T_MS;
}

/* Between heartbeats, whose number nobody knows. */
static void ck_tape_ends_with(const char *wanted)
{
    size_t size = strlen(tape), wanted_size = strlen(wanted);
    ck_assert_uint_ge(size, wanted_size);
    ck_assert_str_eq(tape + size - wanted_size, wanted);
}

/* Server 2 has everything through there. */
static void hand_acceptance(u64 match_index)
{
    struct message reply = {
        .kind = MESSAGE_APPEND_ENTRIES_REPLY, .from = 2, .term = 2, .call = first_call};
    reply.as.append_reply =
        (struct append_reply){.result = APPEND_ACCEPTED, .match_index = match_index};
    hand(reply);
}

/* ---- it begins ---- */

/* [Leaders 1, §5.2] Before anything else, its own disk included. */
START_TEST(leader_run__says_at_once_that_it_leads)
{
    begin_leading();
    ck_stays();
    CK_TAPE(BEGINS);
    ck_assert_str_eq(terms_of(&server->raft.log), "1 1 2");
    end();
}
END_TEST

START_TEST(leader_run__commits_and_answers)
{
    begin_leading();
    ask(command_of('A', COMMAND_WRITE, 1, "w"));
    hand_acceptance(3);
    hand_acceptance(4);
    ck_stays();
    CK_TAPE(BEGINS ", write log, sync log, send append>2:4-4, apply 2:x, apply 4:w, "
                   "answer A1:+done w, flush A");
    end();
}
END_TEST

/* ---- to follower: a newer term ---- */

START_TEST(leader_run__a_newer_term_begins)
{
    begin_leading();
    ask(command_of('A', COMMAND_WRITE, 1, "w"));
    hand(append_of(3, 5, (struct entry_id){1, 2}, "", 1));
    ck_leaves(RAFT_FOLLOWER, "leader -> follower: a newer term has begun");
    ck_assert_uint_eq(server->raft.current_term, 5);
    ck_assert_int_eq(left_on_pile(), MAIL_APPEND_ENTRIES); /* the follower takes it */
    CK_TAPE(BEGINS ", write log, sync log, answer A1:-TIMEOUT outcome unknown: the command ma");
    end();
}
END_TEST

/* A reply can tell it, too. */
START_TEST(leader_run__a_follower_knows_a_newer_term)
{
    begin_leading();
    struct message reply = {
        .kind = MESSAGE_APPEND_ENTRIES_REPLY, .from = 2, .term = 3, .call = first_call};
    reply.as.append_reply.result = APPEND_REFUSED_TERM;
    hand(reply);
    ck_leaves(RAFT_FOLLOWER, "a newer term has begun");
    ck_assert_uint_eq(server->raft.current_term, 3);
    end();
}
END_TEST

/* Thesis §4.2.3: a leader in contact with a quorum is not deposed by somebody who lost it. */
START_TEST(leader_run__a_candidate_does_not_depose_it)
{
    begin_leading();
    hand(vote_of(3, 9, (struct entry_id){2, 9}));
    struct message pre_vote = vote_of(2, 3, (struct entry_id){2, 9});
    pre_vote.kind = MESSAGE_PRE_VOTE;
    hand(pre_vote);
    ck_stays();
    ck_assert_uint_eq(server->raft.current_term, 2);
    CK_TAPE(BEGINS ", send vote-reply>3, send pre-vote-reply>2");
    ck_assert(!newest(MESSAGE_REQUEST_VOTE_REPLY)->as.vote_reply.granted);
    ck_assert(!newest(MESSAGE_PRE_VOTE_REPLY)->as.vote_reply.granted);
    end();
}
END_TEST

/* ---- to follower: no contact ---- */

/* Thesis §6.2. Who waits is told before it waits for mail again. */
START_TEST(leader_run__no_contact_with_a_quorum)
{
    begin_leading();
    lose_contact_soon();
    ask(command_of('A', COMMAND_WRITE, 1, "w"));
    u64 begun_ns = clock_monotonic_ns();
    ck_leaves(RAFT_FOLLOWER, "leader -> follower: no contact with a quorum");
    ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, TIMEOUT);
    ck_tape_ends_with("answer A1:-TIMEOUT outcome unknown: the command ma, flush A");
    end();
}
END_TEST

/* It is late already when it sends the write, and the answer comes later still. */
START_TEST(leader_run__an_answer_is_contact)
{
    begin_leading();
    lose_contact_soon();
    disk_syncs_ns = 10 * T_MS;
    ask(command_of('A', COMMAND_WRITE, 1, "w"));
    hand_acceptance(4);
    u64 begun_ns = clock_monotonic_ns();
    ck_leaves(RAFT_FOLLOWER, "no contact with a quorum");
    ck_assert_uint_ge(clock_monotonic_ns() - begun_ns, 2 * disk_syncs_ns + TIMEOUT);
    ck_assert_ptr_nonnull(strstr(tape, "answer A1:+done w"));
    end();
}
END_TEST

/* The disk is slow to take down whom it has met; the answer lies behind that, and it commits. */
START_TEST(leader_run__is_not_given_up_before_all_mail_is_read)
{
    begin_leading();
    time_out_after(10 * T_MS);
    server->raft.heartbeat_ns = 5 * T_MS;
    disk_syncs_ns = 20 * T_MS; /* two of them: a round trip may take twice the timeout, no more */
    ask(command_of('A', COMMAND_WRITE, 1, "w"));
    struct mail *mail = mail_create(MAIL_MET);
    mail->as.met = (struct met){3, {.directory_id = 33, .start_count = 1, .starts = {5}}};
    post(mail);
    hand_acceptance(4);
    ck_leaves(RAFT_FOLLOWER, "no contact with a quorum"); /* since then nobody has spoken */
    ck_assert_ptr_nonnull(strstr(tape, "sync peers"));
    ck_assert_ptr_nonnull(strstr(tape, "answer A1:+done w"));
    end();
}
END_TEST

/* ---- to follower: the others do not recognise it ---- */

START_TEST(leader_run__the_others_do_not_recognise_it)
{
    begin_leading();
    hand_unrecognised(2);
    ck_leaves(RAFT_FOLLOWER, "leader -> follower: it may not vote");
    CK_TAPE(BEGINS ", write metadata, sync metadata, write metadata, sync metadata");
    ck_assert_int_eq(left_on_pile(), MAIL_STOP);
    end();
}
END_TEST

/* ---- to stopped ---- */

START_TEST(leader_run__is_told_to_stop)
{
    begin_leading();
    ask(command_of('A', COMMAND_WRITE, 1, "w"));
    tell(MAIL_STOP, SERVER_NONE);
    ck_assert_int_eq(leader_run(server), RAFT_STOPPED);
    CK_TAPE(BEGINS ", write log, sync log, answer A1:-TIMEOUT outcome unknown: the command ma");
    ck_assert_int_eq(server->failure.code, ERROR_NONE);
    end();
}
END_TEST

/* Its own vote counts no more, and nobody is told that it was done. */
START_TEST(leader_run__stops_when_the_disk_fails)
{
    begin_leading();
    disk_fails = "sync log";
    ask(command_of('A', COMMAND_WRITE, 1, "w"));
    hand_acceptance(4);
    ck_assert_int_eq(leader_run(server), RAFT_STOPPED);
    CK_TAPE(BEGINS);
    ck_assert_int_eq(server->failure.code, ERROR_IO);
    ck_assert_ptr_null(server->lead);
    end();
}
END_TEST

static void ck_second_leader(struct message message)
{
    begin_leading();
    hand(message);
    ck_assert_int_eq(leader_run(server), RAFT_STOPPED);
    ck_assert_int_eq(server->failure.code, ERROR_MISMATCH);
    CK_SAID("stopping: server 3: a second leader of the same term");
    CK_TAPE(BEGINS);
    end();
}

START_TEST(leader_run__stops_when_two_lead_in_one_term)
{
    ck_second_leader(append_of(3, 2, (struct entry_id){1, 2}, "", 1));
    ck_second_leader((struct message){.kind = MESSAGE_INSTALL_SNAPSHOT, .from = 3, .term = 2});
}
END_TEST

/* ---- it stays ---- */

/* What a candidacy, a following or an earlier leadership has left behind. */
START_TEST(leader_run__takes_no_notice_of_what_is_over)
{
    begin_leading();
    hand((struct message){.kind = MESSAGE_TIMEOUT_NOW, .from = 2, .term = 2});
    hand((struct message){.kind = MESSAGE_FORWARD_REPLY, .from = 2, .term = 2});
    hand((struct message){.kind = MESSAGE_REQUEST_VOTE_REPLY, .from = 2, .term = 2});
    hand((struct message){.kind = MESSAGE_PRE_VOTE_REPLY, .from = 2, .term = 2});
    tell(MAIL_CAMPAIGN, SERVER_NONE);
    tell(MAIL_ELECTION_TIMEOUT, SERVER_NONE);
    tell(MAIL_DISCONNECTED, 3);
    ck_stays();
    CK_TAPE(BEGINS);
    end();
}
END_TEST

START_TEST(leader_run__refuses_what_is_stale_or_not_its_to_give)
{
    begin_leading();
    hand(append_of(3, 1, (struct entry_id){1, 2}, "", 1));
    hand(vote_of(3, 2, (struct entry_id){2, 9})); /* the vote of this term is its own */
    ck_stays();
    CK_TAPE(BEGINS ", send append-reply>3, send vote-reply>3");
    ck_assert_uint_eq(newest(MESSAGE_APPEND_ENTRIES_REPLY)->term, 2);
    ck_assert(!newest(MESSAGE_REQUEST_VOTE_REPLY)->as.vote_reply.granted);
    end();
}
END_TEST

UNIT_MAIN("leader", leader_run__says_at_once_that_it_leads, leader_run__commits_and_answers,
          leader_run__a_newer_term_begins, leader_run__a_follower_knows_a_newer_term,
          leader_run__a_candidate_does_not_depose_it, leader_run__no_contact_with_a_quorum,
          leader_run__an_answer_is_contact, leader_run__is_not_given_up_before_all_mail_is_read,
          leader_run__the_others_do_not_recognise_it, leader_run__is_told_to_stop,
          leader_run__stops_when_the_disk_fails, leader_run__stops_when_two_lead_in_one_term,
          leader_run__takes_no_notice_of_what_is_over,
          leader_run__refuses_what_is_stale_or_not_its_to_give)
