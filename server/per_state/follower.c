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

struct follower {
    u64 deadline_ns; /* the election timeout: a candidate then, if no leader was heard */
    struct forwarding forwarding;
    struct forwarding_outcome outcome;
};

/* ---- commands on their way to the leader ---- */

static void outcome_answer(void *context, struct command *command, const u8 *answer, size_t size)
{
    server_answer(context, command, answer, size);
}

static void outcome_fail(void *context, struct command *command, enum command_failure failure)
{
    server_fail(context, command, failure);
}

static void forward_unsent(void *context, u64 call)
{
    struct follower *self = context;
    forwarding_unsent(&self->forwarding, call, &self->outcome);
}

static void take_command(struct server *server, struct follower *self, struct command *command)
{
    if (command->class == COMMAND_STATUS || command->class == COMMAND_SETTING)
        server_answer_local(server, NULL, command);
    else if (server->raft.leader == SERVER_NONE)
        server_park(server, command);
    else if (command->may_redirect)
        server_redirect(server, command);
    else
        forwarding_put(&self->forwarding, command);
}

static void take_commands(struct server *server, struct follower *self,
                          struct command_list *commands)
{
    struct command *command;
    while ((command = command_list_take(commands)) != NULL)
        take_command(server, self, command);
}

/* The end of a pile: what waits for a leader goes to it, once there is one. */
static void forward_commands(struct server *server, struct follower *self, u64 now_ns)
{
    if (server->raft.leader != SERVER_NONE) {
        struct command_list waiting = server->parked;
        server->parked = (struct command_list){0};
        take_commands(server, self, &waiting);
    }
    forwarding_expire(&self->forwarding, now_ns, &self->outcome);
    forwarding_stage(&self->forwarding, &server->raft, server->metadata.start_count,
                     &server->forward_serial, server->options.message_bytes_max,
                     now_ns + server->options.forward_timeout_ns, &server->outbox);
}

/* ---- entering and leaving ---- */

/* A leader whose connection has just ended is most likely dead: ask at once, but a few ms apart
 * from the other followers, so that their votes do not split. Pre-vote makes a false alarm
 * harmless. It may be refused because another voter has not noticed yet: so it is tried again,
 * until the ordinary timeout would have come. */
static u64 first_deadline_ns(struct server *server, u64 now_ns)
{
    u64 ordinary_ns = server_election_deadline_ns(server, now_ns);
    if (server->leader_gone_ns == 0 ||
        now_ns >= server->leader_gone_ns + server->raft.election_timeout_ns_min)
        return ordinary_ns;
    return now_ns + rng_range(&server->rng, NS_PER_MS, server->raft.heartbeat_ns / 5 + NS_PER_MS);
}

static void begin(struct server *server, struct follower *self)
{
    *self = (struct follower){.deadline_ns = first_deadline_ns(server, clock_monotonic_ns())};
    forwarding_init(&self->forwarding);
    self->outcome =
        (struct forwarding_outcome){outcome_answer, outcome_fail, server, &server->parked};
    server->outbox.unsent_forward = forward_unsent;
    server->outbox.context = self;
}

static enum raft_state leave(struct server *server, struct follower *self, enum raft_state next,
                             const char *why)
{
    server->outbox.unsent_forward = NULL;
    forwarding_lost(&self->forwarding, &self->outcome);
    if (next != RAFT_STOPPED)
        server_enter(server, next, why);
    return next;
}

/* ---- mail ---- */

/* [RequestVote, §5.2, §5.4] Returns whether the vote was granted. */
static bool answer_vote(struct server *server, const struct message *request)
{
    struct message reply;
    const char *why;
    election_answer_vote(&server->raft, request, &reply, &why);
    REPORT(server->world.report, REPORT_DEBUG, "server", "vote for %u in term %llu: %s, %s",
           request->from, (unsigned long long)request->term,
           reply.as.vote_reply.granted ? "yes" : "no", why);
    server_put(server, &reply);
    return reply.as.vote_reply.granted;
}

static void answer_pre_vote(struct server *server, const struct message *request, u64 now_ns)
{
    struct message reply;
    const char *why;
    election_answer_pre_vote(&server->raft, request, raft_hears_leader(&server->raft, now_ns),
                             &reply, &why);
    server_put(server, &reply);
}

/* [AppendEntries, §5.3] Returns false when the leader breaks the protocol. */
static bool take_entries(struct server *server, struct follower *self,
                         const struct message *request, u64 now_ns, const char **why)
{
    struct message reply;
    if (!append_entries(&server->raft, request, server_room(server), now_ns, &reply, why))
        return false;
    /* [Followers 2, §5.2] */
    self->deadline_ns = server_election_deadline_ns(server, now_ns);
    server->leader_gone_ns = 0;
    server_put(server, &reply);
    return true;
}

/* A leader that has stepped down says so when it is asked; until it is heard again, commands wait
 * instead of going to and fro. */
static void take_forward_reply(struct server *server, struct follower *self,
                               const struct message *reply)
{
    if (reply->as.forward_reply.result == FORWARD_NOT_LEADER && reply->from == server->raft.leader)
        server->raft.leader = SERVER_NONE;
    forwarding_replied(&self->forwarding, reply, &self->outcome);
}

/* The connection from a server has ended; if it was the leader's, see first_deadline_ns. */
static void disconnected(struct server *server, struct follower *self, server_id peer, u64 now_ns)
{
    if (peer != server->raft.leader)
        return;
    server->raft.leader_heard_ns = 0;
    server->leader_gone_ns = now_ns;
    self->deadline_ns = u64_min(self->deadline_ns, first_deadline_ns(server, now_ns));
}

/* ---- the loop ---- */

enum raft_state follower_run(struct server *server)
{
    struct raft *raft = &server->raft;
    struct follower self;
    begin(server, &self);
    for (;;) {
        u64 now_ns;
        u64 parked_ns = server_expire_parked(server, clock_monotonic_ns());
        u64 wake_ns = u64_min(self.deadline_ns, forwarding_deadline_ns(&self.forwarding));
        bool expired = server_collect(server, u64_min(wake_ns, parked_ns), &now_ns);

        for (; !mail_pile_is_empty(&server->pile); server_done_with_mail(server)) {
            struct mail *mail = mail_pile_peek(&server->pile);
            const struct message *message = &mail->as.message;
            const char *why;
            server_open_mail(server, mail);
            if (mail_is_message(mail)) {
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
                answer_pre_vote(server, message, now_ns);
                continue;
            case MAIL_REQUEST_VOTE:
                /* [Followers 2, §5.2] Whoever got the vote gets the time to win, too. */
                if (answer_vote(server, message))
                    self.deadline_ns = server_election_deadline_ns(server, now_ns);
                continue;
            case MAIL_APPEND_ENTRIES:
                if (!take_entries(server, &self, message, now_ns, &why))
                    return leave(server, &self, server_stop_because(server, why, message->from),
                                 why);
                continue;
            case MAIL_FORWARD: /* only a leader takes it; nothing was executed */
                server_refuse(server, message);
                continue;
            case MAIL_FORWARD_REPLY:
                take_forward_reply(server, &self, message);
                continue;
            case MAIL_TIMEOUT_NOW: /* leadership is handed over (thesis §3.10) */
                if (message->from != raft->leader)
                    continue;
                server->handed_over = true;
                server_done_with_mail(server);
                return leave(server, &self, RAFT_CANDIDATE, "leadership was handed over");
            case MAIL_COMMANDS:
                take_commands(server, &self, &mail->as.commands);
                continue;
            case MAIL_CONNECTED: /* what was on its way on the old connection may be lost */
                if (mail->as.peer == raft->leader)
                    forwarding_lost(&self.forwarding, &self.outcome);
                continue;
            case MAIL_DISCONNECTED:
                disconnected(server, &self, mail->as.peer, now_ns);
                continue;
            case MAIL_CAMPAIGN:
                server->handed_over = true;
                server_done_with_mail(server);
                return leave(server, &self, RAFT_CANDIDATE, "an election was ordered");
            case MAIL_ELECTION_TIMEOUT:
                server_done_with_mail(server);
                return leave(server, &self, RAFT_CANDIDATE, "the election timer was fired");
            case MAIL_STOP:
                return leave(server, &self, RAFT_STOPPED, "it was told to");
            case MAIL_PRE_VOTE_REPLY:       /* this server's candidacy is over */
            case MAIL_REQUEST_VOTE_REPLY:   /* the same */
            case MAIL_APPEND_ENTRIES_REPLY: /* this server's leadership is over */
            case MAIL_ENTRIES_READ:         /* the same */
                continue;
            }
        }

        forward_commands(server, &self, now_ns);
        if (!server_flush(server, NULL))
            return leave(server, &self, RAFT_STOPPED, "the disk failed");
        /* [Followers 2, §5.2] All that came before the deadline has been read. */
        if (expired && now_ns >= self.deadline_ns) {
            if (raft_may_campaign(raft) && !server->timers_held)
                return leave(server, &self, RAFT_CANDIDATE,
                             server->leader_gone_ns != 0 ? "the leader's connection ended"
                                                         : "no leader was heard");
            self.deadline_ns = server_election_deadline_ns(server, now_ns);
        }
    }
}
