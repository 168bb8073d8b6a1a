/* handler.c - one message: first its term, then its kind, then what the state demands.
 *
 * Each case reads like a row of a table whose columns are the states; read it beside the three
 * loops of per_state/, each of which is a column. */
#include "server/dispatch/dispatch.h"
#include "server/replica/answers.h"
#include "server/replica/identity.h"
#include "server/replica/install.h"
#include "server/replica/replica.h"
#include "server/replica/votes.h"
#include "server/service/follow.h"
#include "server/service/hold.h"
#include "server/service/housekeeping.h"
#include "server/service/lead.h"

static bool hears_leader(const struct dispatch *dispatch)
{
    const struct server *server = dispatch->server;
    switch (server->state) {
    case RAFT_FOLLOWER:
        return raft_hears_leader(&server->raft, dispatch->now_ns);
    case RAFT_LEADER:
        return leadership_has_quorum(&server->raft, &dispatch->lead.leadership, dispatch->now_ns);
    case RAFT_CANDIDATE:
    case RAFT_STOPPED:
        return false;
    }
    UNREACHABLE();
}

/* [RequestVote, §5.2, §5.4] In each state; a leader and a candidate have given theirs to
 * themselves.
 */
static void request_vote(struct dispatch *dispatch, const struct message *request)
{
    struct server *server = dispatch->server;
    bool granted = votes_answer(server, request, hears_leader(dispatch));
    /* [Followers 2, §5.2] */
    if (granted && server->state == RAFT_FOLLOWER)
        dispatch->deadline_ns = election_timeout_ns(&server->raft, &server->rng, dispatch->now_ns);
}

static void vote_reply(struct dispatch *dispatch, const struct message *reply)
{
    if (dispatch->server->state != RAFT_CANDIDATE)
        return;
    identity_handle_vote(dispatch->server, reply);
    votes_count(dispatch->server, &dispatch->election, reply);
}

/* [AppendEntries, §5.3] and [InstallSnapshot, §7]: only the leader of this term sends them. */
static bool take_from_leader(struct dispatch *dispatch, const struct message *request,
                             const char **why)
{
    struct server *server = dispatch->server;
    if (server->state == RAFT_LEADER) {
        *why = "a second leader of the same term";
        return false;
    }
    if (server->state == RAFT_CANDIDATE) /* [Candidates 3, §5.2] */
        dispatch_become(dispatch, RAFT_FOLLOWER, "there is a leader");
    if (request->kind == MESSAGE_INSTALL_SNAPSHOT)
        return server_take_piece(server, request, dispatch->now_ns, why);
    return follow_take_entries(server, request, dispatch->now_ns, why);
}

static void request_of_leader(struct dispatch *dispatch, const struct message *request)
{
    struct server *server = dispatch->server;
    const char *why;
    if (!take_from_leader(dispatch, request, &why)) {
        (void)server_stop_because(server, why, request->from);
        dispatch_become(dispatch, RAFT_STOPPED, why);
        return;
    }
    /* [Followers 2, §5.2] */
    dispatch->deadline_ns = election_timeout_ns(&server->raft, &server->rng, dispatch->now_ns);
}

static void append_entries_reply(struct dispatch *dispatch, const struct message *reply)
{
    if (dispatch->server->state == RAFT_LEADER)
        lead_take_append_reply(dispatch->server, &dispatch->lead, reply, dispatch->now_ns);
}

static void forward_request(struct dispatch *dispatch, const struct message *request)
{
    if (dispatch->server->state == RAFT_LEADER)
        lead_take_forward(dispatch->server, &dispatch->lead, request, dispatch->now_ns);
    else
        server_refuse(dispatch->server, request);
}

static void forward_reply(struct dispatch *dispatch, const struct message *reply)
{
    if (dispatch->server->state == RAFT_FOLLOWER)
        follow_take_forward_reply(dispatch->server, &dispatch->forwarding, reply);
}

static void client_commands(struct dispatch *dispatch, struct command_list *commands)
{
    struct server *server = dispatch->server;
    struct command *command;
    while ((command = command_list_take(commands)) != NULL) {
        switch (server->state) {
        case RAFT_FOLLOWER:
            follow_take_command(server, &dispatch->forwarding, command);
            continue;
        case RAFT_CANDIDATE:
            hold_command(server, command);
            continue;
        case RAFT_LEADER: /* [Leaders 2, §5.3] */
            lead_take(server, &dispatch->lead, command, dispatch->now_ns);
            continue;
        case RAFT_STOPPED:
            server_fail(server, command, COMMAND_STOPPING);
            continue;
        }
    }
}

static void connected(struct dispatch *dispatch, server_id peer)
{
    struct server *server = dispatch->server;
    switch (server->state) {
    case RAFT_FOLLOWER: /* what was on its way on the old connection may be lost */
        if (peer == server->raft.leader)
            follow_forwarding_lost(server, &dispatch->forwarding);
        return;
    case RAFT_CANDIDATE:
        votes_request_again(server, &dispatch->election, peer);
        return;
    case RAFT_LEADER:
        lead_peer_connected(server, &dispatch->lead, peer);
        return;
    case RAFT_STOPPED:
        return;
    }
}

static void disconnected(struct dispatch *dispatch, server_id peer)
{
    struct server *server = dispatch->server;
    if (server->state == RAFT_LEADER)
        lead_peer_disconnected(&dispatch->lead, peer);
    if (server->state != RAFT_FOLLOWER || peer != server->raft.leader)
        return;
    election_leader_gone(&server->raft, dispatch->now_ns);
    forwarding_wait_no_longer(&dispatch->forwarding, dispatch->now_ns);
    dispatch->deadline_ns =
        u64_min(dispatch->deadline_ns,
                election_follower_deadline_ns(&server->raft, &server->rng, dispatch->now_ns));
}

/* A leader leads already, and who has no vote cannot; anybody else campaigns now. */
static void campaign(struct dispatch *dispatch, bool skip_pre_vote, const char *why)
{
    struct server *server = dispatch->server;
    if (server->state == RAFT_LEADER || !raft_may_campaign(&server->raft))
        return;
    dispatch_campaign(dispatch, skip_pre_vote, why);
}

/* As soon as all that was forwarded is answered: the flush looks for that. */
static void take_over(struct dispatch *dispatch)
{
    const struct raft *raft = &dispatch->server->raft;
    if (dispatch->forwarding.first != NULL && raft_may_campaign(raft))
        forwarding_close(&dispatch->forwarding, raft, dispatch->now_ns);
    else
        campaign(dispatch, true, "leadership was handed over");
}

/* Returns whether the mail is to be handled in this state and term. */
static bool check_term_or_refuse(struct dispatch *dispatch, const struct mail *mail)
{
    switch (server_check_term(dispatch->server, mail, hears_leader(dispatch))) {
    case TERM_NEWER: /* [All Servers 2, §5.1] */
        adopt_term(&dispatch->server->raft, mail->as.message.term);
        dispatch_become(dispatch, RAFT_FOLLOWER, "a newer term has begun");
        return true;
    case TERM_STALE:
    case TERM_IGNORE:
        return false;
    case TERM_CURRENT:
        return true;
    }
    UNREACHABLE();
}

void dispatch_handle(struct dispatch *dispatch, struct mail *mail)
{
    struct server *server = dispatch->server;
    const struct message *message = &mail->as.message;
    struct leader_pending *lead = server->state == RAFT_LEADER ? &dispatch->lead : NULL;
    if (housekeeping(server, lead, mail, dispatch->now_ns) || !check_term_or_refuse(dispatch, mail))
        return;
    switch (mail->kind) {
    case MAIL_PRE_VOTE:
    case MAIL_REQUEST_VOTE:
        request_vote(dispatch, message);
        return;
    case MAIL_PRE_VOTE_REPLY:
    case MAIL_REQUEST_VOTE_REPLY:
        vote_reply(dispatch, message);
        return;
    case MAIL_APPEND_ENTRIES:
    case MAIL_INSTALL_SNAPSHOT:
        request_of_leader(dispatch, message);
        return;
    case MAIL_APPEND_ENTRIES_REPLY:
        append_entries_reply(dispatch, message);
        return;
    case MAIL_INSTALL_SNAPSHOT_REPLY:
        if (server->state == RAFT_LEADER)
            lead_take_install_reply(server, &dispatch->lead, message, dispatch->now_ns);
        return;
    case MAIL_FORWARD:
        forward_request(dispatch, message);
        return;
    case MAIL_FORWARD_REPLY:
        forward_reply(dispatch, message);
        return;
    case MAIL_TIMEOUT_NOW: /* thesis §3.10 */
        if (server->state == RAFT_FOLLOWER &&
            (server->raft.leader == SERVER_NONE || message->from == server->raft.leader))
            take_over(dispatch);
        return;
    case MAIL_COMMANDS:
        client_commands(dispatch, &mail->as.commands);
        return;
    case MAIL_UNRECOGNISED:
        if (identity_handle_unrecognised(server, message) && server->state != RAFT_FOLLOWER)
            dispatch_become(dispatch, RAFT_FOLLOWER, "it may not vote");
        return;
    case MAIL_CONNECTED:
        connected(dispatch, mail->as.peer);
        return;
    case MAIL_ROOM: /* the flush that follows answers the reads that wait for it */
        return;
    case MAIL_DISCONNECTED:
        disconnected(dispatch, mail->as.peer);
        return;
    case MAIL_ENTRIES_READ:
        if (server->state == RAFT_LEADER)
            lead_take_entries(server, &dispatch->lead, &mail->as.read, dispatch->now_ns);
        return;
    case MAIL_PIECE_READ:
        if (server->state == RAFT_LEADER)
            lead_take_piece(server, &dispatch->lead, &mail->as.piece, dispatch->now_ns);
        return;
    case MAIL_CAMPAIGN:
        campaign(dispatch, true, "an election was ordered");
        return;
    case MAIL_ELECTION_TIMEOUT:
        campaign(dispatch, false, "the election timer was fired");
        return;
    case MAIL_STOP:
        dispatch_become(dispatch, RAFT_STOPPED, "it was told to");
        return;
    case MAIL_SNAPSHOT: /* housekeeping */
    case MAIL_MET:      /* housekeeping */
    case MAIL_JOIN:     /* housekeeping */
        return;
    }
}
