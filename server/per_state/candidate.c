/* candidate.c - the candidate's loop (§5.2: "Candidates" under Figure 2's Rules for Servers).
 *
 * Entered: from a follower, or from a candidate whose election ended without a winner.
 * Left:    as LEADER with a quorum of votes; as FOLLOWER when there is a leader, a newer term, or a
 *          quorum that refuses; as CANDIDATE when time is up; as STOPPED.
 * Trusted: no leader is known. In the first phase, the pre-vote, nothing has changed yet: the term
 *          and the vote are those of before. In the second this server has voted for itself.
 * Lives here: who refused in this try, and the deadline. */
#include "common/clock.h"
#include "server/per_state/per_state.h"
#include "server/replica/flush.h"
#include "server/replica/identity.h"
#include "server/replica/replica.h"
#include "server/replica/round.h"
#include "server/replica/votes.h"
#include "server/requests/parked.h"
#include "server/service/hold.h"
#include "server/service/housekeeping.h"

struct candidate {
    struct election election;
    u64 deadline_ns; /* [Candidates 4]: a new election then */
    bool begins;     /* the requests for votes are about to go out */
};

static enum raft_state leave(struct server *server, enum raft_state next, const char *why)
{
    if (next != RAFT_STOPPED)
        server_enter(server, next, why);
    return next;
}

/* Whether this candidacy was ordered: then the loop before has read the order, and put it back on
 * the pile for this one. */
static bool take_order(struct server *server)
{
    const struct mail *mail = mail_pile_peek(&server->pile);
    if (mail == NULL || !mail->opened ||
        (mail->kind != MAIL_TIMEOUT_NOW && mail->kind != MAIL_CAMPAIGN))
        return false;
    (void)server_next_mail(server);
    return true;
}

/* [Candidates 1, §5.2] "Reset election timer": once the requests are out. */
static void reset_timer(struct server *server, struct candidate *self)
{
    u64 begun_ns = clock_monotonic_ns();
    self->deadline_ns = election_candidate_deadline_ns(&server->raft, &server->rng, begun_ns);
    votes_tell_timeout(server, begun_ns, self->deadline_ns);
    self->begins = false;
}

/* The pre-vote was won. */
static void begin_election(struct server *server, struct candidate *self)
{
    server_enter(server, RAFT_CANDIDATE, "a quorum would vote for it");
    votes_begin_election(server, &self->election, false);
    self->begins = true;
}

static void take_commands(struct server *server, struct command_list *commands)
{
    struct command *command;
    while ((command = command_list_take(commands)) != NULL)
        hold_command(server, command);
}

enum raft_state candidate_run(struct server *server)
{
    struct raft *raft = &server->raft;
    struct candidate self = {.begins = true};
    votes_begin_campaign(server, &self.election, take_order(server), clock_monotonic_ns());
    for (;;) {
        /* Term and own vote reach the disk here, before they are counted or spoken of. */
        if (!server_flush(server, NULL))
            return leave(server, RAFT_STOPPED, "the disk failed");
        if (self.begins)
            reset_timer(server, &self);
        /* [Candidates 2, §5.2]; also when the votes come after a new pre-vote was begun. */
        if (!raft->metadata_unsaved && election_is_won(raft))
            return leave(server, RAFT_LEADER, "a quorum voted for it");
        if (election_is_lost(raft, &self.election))
            return leave(server, RAFT_FOLLOWER, "a quorum refused");
        if (election_would_win(raft, &self.election)) {
            begin_election(server, &self);
            continue;
        }

        u64 now_ns;
        u64 wake_ns = u64_min(self.deadline_ns,
                              parked_until_ns(&server->parked, server->options.leader_wait_ns));
        u64 heard_ns = server_collect(server, wake_ns, &now_ns);

        struct mail *mail;
        while ((mail = server_next_mail(server)) != NULL) {
            const struct message *message = &mail->as.message;
            if (housekeeping(server, NULL, mail, now_ns))
                continue;
            switch (server_check_term(server, mail, false)) {
            case TERM_NEWER: /* [All Servers 2, §5.1] */
                adopt_term(raft, message->term);
                server_put_back(server);
                return leave(server, RAFT_FOLLOWER, "a newer term has begun");
            case TERM_STALE:
            case TERM_IGNORE:
                continue;
            case TERM_CURRENT:
                break;
            }
            switch (mail->kind) {
            case MAIL_PRE_VOTE:
            case MAIL_REQUEST_VOTE:
                /* It hears no leader; and its vote of this term it has given to itself. */
                (void)votes_answer(server, message, false);
                continue;
            case MAIL_PRE_VOTE_REPLY:
            case MAIL_REQUEST_VOTE_REPLY:
                identity_handle_vote(server, message);
                votes_count(server, &self.election, message);
                continue;
            case MAIL_APPEND_ENTRIES: /* [Candidates 3, §5.2]; the follower takes it */
            case MAIL_INSTALL_SNAPSHOT:
                server_put_back(server);
                return leave(server, RAFT_FOLLOWER, "there is a leader");
            case MAIL_FORWARD: /* only a leader takes it; nothing was executed */
                server_refuse(server, message);
                continue;
            case MAIL_COMMANDS:
                take_commands(server, &mail->as.commands);
                continue;
            case MAIL_UNRECOGNISED:
                if (identity_handle_unrecognised(server, message))
                    return leave(server, RAFT_FOLLOWER, "it may not vote");
                continue;
            case MAIL_CONNECTED:
                votes_request_again(server, &self.election, mail->as.peer);
                continue;
            case MAIL_CAMPAIGN: /* the next candidacy is the ordered one */
                server_put_back(server);
                return leave(server, RAFT_CANDIDATE, "an election was ordered");
            case MAIL_ELECTION_TIMEOUT:
                return leave(server, RAFT_CANDIDATE, "the election timer was fired");
            case MAIL_STOP:
                return leave(server, RAFT_STOPPED, "it was told to");
            case MAIL_APPEND_ENTRIES_REPLY:   /* this server's leadership is over */
            case MAIL_INSTALL_SNAPSHOT_REPLY: /* the same */
            case MAIL_ENTRIES_READ:           /* the same */
            case MAIL_PIECE_READ:             /* the same */
            case MAIL_FORWARD_REPLY:          /* nobody waits for it any more */
            case MAIL_TIMEOUT_NOW:            /* it is a candidate already */
            case MAIL_DISCONNECTED:           /* it has no leader to lose */
            case MAIL_SNAPSHOT:               /* housekeeping */
            case MAIL_MET:                    /* housekeeping */
            case MAIL_JOIN:                   /* housekeeping */
            case MAIL_ROOM:                   /* no answers wait for it any more */
                continue;
            }
        }

        if (heard_ns >= wake_ns)
            (void)hold_expire(server, heard_ns);
        votes_mind_settings(server, &self.deadline_ns, now_ns);
        /* [Candidates 4, §5.2] */
        if (votes_time_is_up(server, true, &self.deadline_ns, heard_ns, now_ns))
            return leave(server, RAFT_CANDIDATE, "the election timed out");
    }
}
