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

/* ---- mail ---- */

static void take_commands(struct server *server, struct follower *self,
                          struct command_list *commands)
{
    struct command *command;
    while ((command = command_list_take(commands)) != NULL)
        follow_take_command(server, &self->forwarding, command);
}

static void disconnected(struct server *server, struct follower *self, server_id peer, u64 now_ns)
{
    if (peer != server->raft.leader)
        return;
    election_leader_gone(&server->raft, now_ns);
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
        bool mail_left = !mail_pile_is_empty(&server->pile);
        u64 wake_ns = u64_min(self.deadline_ns, forwarding_deadline_ns(&self.forwarding));
        wake_ns =
            u64_min(wake_ns, parked_until_ns(&server->parked, server->options.leader_wait_ns));
        u64 heard_ns = server_collect(server, wake_ns, &now_ns);

        for (; !mail_pile_is_empty(&server->pile); server_done_with_mail(server)) {
            struct mail *mail = mail_pile_peek(&server->pile);
            const struct message *message = &mail->as.message;
            const char *why;
            server_open_mail(server, mail);
            if (mail_is_message(mail)) {
                recognition_remind(server, message->from, now_ns);
                switch (check_term(raft, message, raft_hears_leader(raft, now_ns))) {
                case TERM_NEWER: /* [All Servers 2, §5.1] */
                    adopt_term(raft, message->term);
                    return leave(server, &self, RAFT_FOLLOWER, "a newer term has begun");
                case TERM_STALE:
                case TERM_IGNORE:
                    server_refuse(server, message);
                    continue;
                case TERM_CURRENT:
                    break;
                }
            }
            switch (mail->kind) {
            case MAIL_PRE_VOTE:
                (void)votes_answer(server, message, raft_hears_leader(raft, now_ns));
                continue;
            case MAIL_REQUEST_VOTE:
                /* [Followers 2, §5.2] Whoever got the vote gets the time to win, too. */
                if (votes_answer(server, message, raft_hears_leader(raft, now_ns)))
                    self.deadline_ns = election_timeout_ns(&server->raft, &server->rng, now_ns);
                continue;
            case MAIL_APPEND_ENTRIES:
                if (!follow_take_entries(server, message, now_ns, &why))
                    return leave(server, &self, server_stop_because(server, why, message->from),
                                 why);
                /* [Followers 2, §5.2] */
                self.deadline_ns = election_timeout_ns(&server->raft, &server->rng, now_ns);
                continue;
            case MAIL_INSTALL_SNAPSHOT:
                if (!server_take_piece(server, message, now_ns, &why))
                    return leave(server, &self, server_stop_because(server, why, message->from),
                                 why);
                self.deadline_ns = election_timeout_ns(&server->raft, &server->rng, now_ns);
                continue;
            case MAIL_FORWARD: /* only a leader takes it; nothing was executed */
                server_refuse(server, message);
                continue;
            case MAIL_FORWARD_REPLY:
                follow_take_forward_reply(server, &self.forwarding, message);
                continue;
            case MAIL_TIMEOUT_NOW: /* leadership is handed over (thesis §3.10) */
                if ((raft->leader != SERVER_NONE && message->from != raft->leader) ||
                    !raft_may_campaign(raft))
                    continue;
                server->handed_over = true;
                server_done_with_mail(server);
                return leave(server, &self, RAFT_CANDIDATE, "leadership was handed over");
            case MAIL_COMMANDS:
                take_commands(server, &self, &mail->as.commands);
                continue;
            case MAIL_SNAPSHOT:
                server_take_snapshot_news(server, &mail->as.snapshot);
                continue;
            case MAIL_UNRECOGNISED: /* it does not campaign any more */
                (void)recognition_told(server, message);
                continue;
            case MAIL_MET:
                recognition_meet(server, NULL, &mail->as.met, now_ns);
                continue;
            case MAIL_JOIN:
                recognition_join(server, &mail->as.joining);
                continue;
            case MAIL_CONNECTED: /* what was on its way on the old connection may be lost */
                if (mail->as.peer == raft->leader)
                    follow_forwarding_lost(server, &self.forwarding);
                recognition_connected(server, mail->as.peer, now_ns);
                continue;
            case MAIL_DISCONNECTED:
                disconnected(server, &self, mail->as.peer, now_ns);
                continue;
            case MAIL_CAMPAIGN:
                if (!raft_may_campaign(raft))
                    continue;
                server->handed_over = true;
                server_done_with_mail(server);
                return leave(server, &self, RAFT_CANDIDATE, "an election was ordered");
            case MAIL_ELECTION_TIMEOUT:
                if (!raft_may_campaign(raft))
                    continue;
                server_done_with_mail(server);
                return leave(server, &self, RAFT_CANDIDATE, "the election timer was fired");
            case MAIL_STOP:
                return leave(server, &self, RAFT_STOPPED, "it was told to");
            case MAIL_PRE_VOTE_REPLY:         /* this server's candidacy is over */
            case MAIL_REQUEST_VOTE_REPLY:     /* the same */
            case MAIL_APPEND_ENTRIES_REPLY:   /* this server's leadership is over */
            case MAIL_INSTALL_SNAPSHOT_REPLY: /* the same */
            case MAIL_ENTRIES_READ:           /* the same */
            case MAIL_PIECE_READ:             /* the same */
                continue;
            }
        }

        /* Not what this mail has put among those that wait: a leader is known, and gets it now. And
         * not when this is still the mail that ended the loop before: it may tell of a leader. */
        if (heard_ns >= wake_ns && !mail_left)
            (void)hold_expire(server, heard_ns);
        follow_forward(server, &self.forwarding, now_ns);
        if (server_take_change(server))
            self.deadline_ns =
                u64_min(self.deadline_ns, election_timeout_ns(raft, &server->rng, now_ns));
        if (!server_flush(server, NULL))
            return leave(server, &self, RAFT_STOPPED, "the disk failed");
        /* [Followers 2, §5.2] All that came before the deadline has been read. */
        if (heard_ns >= self.deadline_ns) {
            if (raft_may_campaign(raft) && !server->timers_held)
                return leave(server, &self, RAFT_CANDIDATE,
                             server->raft.leader_gone_ns != 0 ? "the leader's connection ended"
                                                              : "no leader was heard");
            self.deadline_ns = election_timeout_ns(&server->raft, &server->rng, now_ns);
        }
    }
}
