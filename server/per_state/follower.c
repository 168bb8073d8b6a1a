/* follower.c - the follower's loop (§5.2: "Followers" under Figure 2's Rules for Servers).
 *
 * Entered: at the start, from a candidate that lost or met a leader, from a leader deposed.
 * Left:    as CANDIDATE when the leader is not heard any more, its connection has ended, or an
 *          election was ordered; as FOLLOWER when a newer term begins, since nothing that this
 *          loop holds belongs to that; as STOPPED.
 * Trusted: raft->leader, once it is set, is the leader of current_term. What was forwarded went to
 *          it.
 * Lives here: the election deadline, and the commands under way to the leader. */
#include "common/clock.h"
#include "server/per_state/per_state.h"
#include "server/replica/flush.h"
#include "server/replica/identity.h"
#include "server/replica/install.h"
#include "server/replica/replica.h"
#include "server/replica/round.h"
#include "server/replica/votes.h"
#include "server/requests/parked.h"
#include "server/service/follow.h"
#include "server/service/hold.h"
#include "server/service/housekeeping.h"

struct follower {
    struct server *server;
    u64 deadline_ns; /* the election timeout: a candidate then, if no leader was heard */
    struct forwarding forwarding;
};

/* ---- entering and leaving ---- */

static void forward_unsent(void *context, u64 call)
{
    struct follower *self = context;
    follow_forward_unsent(self->server, &self->forwarding, call);
}

static void begin(struct server *server, struct follower *self)
{
    self->server = server;
    u64 now_ns = clock_monotonic_ns();
    self->deadline_ns = election_follower_deadline_ns(&server->raft, &server->rng, now_ns);
    votes_tell_timeout(server, now_ns, self->deadline_ns);
    forwarding_init(&self->forwarding, &server->taker);
    server->outbox.unsent_forward = forward_unsent;
    server->outbox.context = self;
}

static enum raft_state leave(struct server *server, struct follower *self, enum raft_state next,
                             const char *why)
{
    server->outbox.unsent_forward = NULL;
    follow_forwarding_lost(server, &self->forwarding);
    if (next != RAFT_STOPPED)
        server_enter(server, next, why);
    return next;
}

/* Until when it waits for mail. Not at all while there is some that ended the loop before; and
 * nobody is given up before that is read: it may tell of a leader. */
static u64 wake_time_ns(const struct server *server, const struct follower *self)
{
    if (!mail_pile_is_empty(&server->pile))
        return UINT64_MAX;
    u64 parked_ns = parked_until_ns(&server->parked, server->options.leader_wait_ns);
    return u64_min(self->deadline_ns,
                   u64_min(forwarding_deadline_ns(&self->forwarding), parked_ns));
}

/* ---- mail ---- */

static void take_commands(struct server *server, struct follower *self,
                          struct command_list *commands)
{
    struct command *command;
    while ((command = command_list_take(commands)) != NULL)
        follow_take_command(server, &self->forwarding, command);
}

/* Takes what the leader of this term sends. Returns false when it breaks the protocol; `*why` says
 * how. */
static bool take_from_leader(struct server *server, const struct message *request, u64 now_ns,
                             const char **why)
{
    if (request->kind == MESSAGE_INSTALL_SNAPSHOT)
        return server_take_piece(server, request, now_ns, why);
    return follow_take_entries(server, request, now_ns, why);
}

/* What was under way to the old leader has come to its end: the order is there for the candidate,
 * as if it had come now. */
static void put_order(struct server *server)
{
    struct mail *order = mail_create(MAIL_TIMEOUT_NOW);
    order->opened = true;
    mail_pile_put_back(&server->pile, order);
}

/* Whether a MAIL_TIMEOUT_NOW (thesis §3.10) is the leader's, as far as this server knows. */
static bool from_leader(const struct raft *raft, const struct message *message)
{
    return raft->leader == SERVER_NONE || message->from == raft->leader;
}

static void disconnected(struct server *server, struct follower *self, server_id peer, u64 now_ns)
{
    if (peer != server->raft.leader)
        return;
    election_leader_gone(&server->raft, now_ns);
    forwarding_wait_no_longer(&self->forwarding, now_ns);
    self->deadline_ns = u64_min(self->deadline_ns,
                                election_follower_deadline_ns(&server->raft, &server->rng, now_ns));
}

/* ---- the loop ---- */

enum raft_state follower_run(struct server *server)
{
    struct raft *raft = &server->raft;
    struct follower self;
    begin(server, &self);
    for (;;) {
        u64 now_ns;
        u64 wake_ns = wake_time_ns(server, &self);
        u64 heard_ns = server_collect(server, wake_ns, &now_ns);

        struct mail *mail;
        while ((mail = server_next_mail(server)) != NULL) {
            const struct message *message = &mail->as.message;
            const char *why;
            bool hears_leader = raft_hears_leader(raft, now_ns);
            if (housekeeping(server, NULL, mail, now_ns))
                continue;
            switch (server_check_term(server, mail, hears_leader)) {
            case TERM_NEWER: /* [All Servers 2, §5.1] */
                adopt_term(raft, message->term);
                server_put_back(server);
                return leave(server, &self, RAFT_FOLLOWER, "a newer term has begun");
            case TERM_STALE:
            case TERM_IGNORE:
                continue;
            case TERM_CURRENT:
                break;
            }
            switch (mail->kind) {
            case MAIL_PRE_VOTE:
            case MAIL_REQUEST_VOTE:
                /* [Followers 2, §5.2] Whoever got the vote gets the time to win, too. */
                if (votes_answer(server, message, hears_leader))
                    self.deadline_ns = election_timeout_ns(raft, &server->rng, now_ns);
                continue;
            case MAIL_APPEND_ENTRIES:
            case MAIL_INSTALL_SNAPSHOT:
                if (!take_from_leader(server, message, now_ns, &why))
                    return leave(server, &self, server_stop_because(server, why, message->from),
                                 why);
                /* [Followers 2, §5.2] */
                self.deadline_ns = election_timeout_ns(raft, &server->rng, now_ns);
                continue;
            case MAIL_FORWARD: /* only a leader takes it; nothing was executed */
                server_refuse(server, message);
                continue;
            case MAIL_FORWARD_REPLY:
                follow_take_forward_reply(server, &self.forwarding, message);
                continue;
            case MAIL_COMMANDS:
                take_commands(server, &self, &mail->as.commands);
                continue;
            case MAIL_UNRECOGNISED: /* it does not campaign any more */
                (void)identity_handle_unrecognised(server, message);
                continue;
            case MAIL_CONNECTED: /* what was on its way on the old connection may be lost */
                if (mail->as.peer == raft->leader)
                    follow_forwarding_lost(server, &self.forwarding);
                continue;
            case MAIL_ROOM: /* no answers wait for it any more: they were a leader's */
                continue;
            case MAIL_DISCONNECTED:
                disconnected(server, &self, mail->as.peer, now_ns);
                continue;
            case MAIL_TIMEOUT_NOW: /* the candidate finds the order on the pile */
                if (!from_leader(raft, message) || !raft_may_campaign(raft))
                    continue;
                if (self.forwarding.first != NULL) {
                    forwarding_close(&self.forwarding, raft, now_ns);
                    continue;
                }
                server_put_back(server);
                return leave(server, &self, RAFT_CANDIDATE, "leadership was handed over");
            case MAIL_CAMPAIGN: /* the same */
                if (!raft_may_campaign(raft))
                    continue;
                server_put_back(server);
                return leave(server, &self, RAFT_CANDIDATE, "an election was ordered");
            case MAIL_ELECTION_TIMEOUT:
                if (!raft_may_campaign(raft))
                    continue;
                return leave(server, &self, RAFT_CANDIDATE, "the election timer was fired");
            case MAIL_STOP:
                return leave(server, &self, RAFT_STOPPED, "it was told to");
            case MAIL_PRE_VOTE_REPLY:         /* this server's candidacy is over */
            case MAIL_REQUEST_VOTE_REPLY:     /* the same */
            case MAIL_APPEND_ENTRIES_REPLY:   /* this server's leadership is over */
            case MAIL_INSTALL_SNAPSHOT_REPLY: /* the same */
            case MAIL_ENTRIES_READ:           /* the same */
            case MAIL_PIECE_READ:             /* the same */
            case MAIL_SNAPSHOT:               /* housekeeping */
            case MAIL_MET:                    /* housekeeping */
            case MAIL_JOIN:                   /* housekeeping */
                continue;
            }
        }

        /* Not what this mail has put among those that wait: a leader is known, and gets it now. */
        if (heard_ns >= wake_ns)
            (void)hold_expire(server, heard_ns);
        follow_forward(server, &self.forwarding, now_ns);
        votes_mind_settings(server, &self.deadline_ns, now_ns);
        if (!server_flush(server, NULL))
            return leave(server, &self, RAFT_STOPPED, "the disk failed");
        if (forwarding_settle(&self.forwarding, heard_ns) && raft_may_campaign(raft)) {
            put_order(server);
            return leave(server, &self, RAFT_CANDIDATE, "leadership was handed over");
        }
        /* [Followers 2, §5.2] All that came before the deadline has been read. */
        if (votes_time_is_up(server, raft_may_campaign(raft), &self.deadline_ns, heard_ns, now_ns))
            return leave(server, &self, RAFT_CANDIDATE,
                         raft->leader_gone_ns != 0 ? "the leader's connection ended"
                                                   : "no leader was heard");
    }
}
