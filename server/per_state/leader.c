/* leader.c - the leader's loop (§5.3, §5.4, §8: "Leaders" under Figure 2's Rules for Servers).
 *
 * Entered: from a candidate with a quorum of votes, its own saved.
 * Left:    as FOLLOWER when a newer term begins, or when a quorum has not answered for an election
 *          timeout; as STOPPED.
 * Trusted: this server is the only leader of current_term; its log only grows.
 * Lives here: next_index and match_index of the peers, a transfer that goes on, and all clients who
 * wait (lead.h). */
#include "common/clock.h"
#include "server/per_state/per_state.h"
#include "server/replica/flush.h"
#include "server/replica/identity.h"
#include "server/replica/replica.h"
#include "server/replica/round.h"
#include "server/replica/votes.h"
#include "server/requests/pending.h"
#include "server/service/housekeeping.h"
#include "server/service/lead.h"

static enum raft_state leave(struct server *server, struct leader_pending *lead,
                             enum raft_state next, const char *why)
{
    lead_stop(server, lead);
    if (next != RAFT_STOPPED)
        server_enter(server, next, why);
    return next;
}

static void take_commands(struct server *server, struct leader_pending *lead,
                          struct command_list *commands, u64 now_ns)
{
    struct command *command;
    while ((command = command_list_take(commands)) != NULL)
        lead_take(server, lead, command, now_ns);
}

static u64 wake_ns(const struct server *server, const struct leader_pending *lead)
{
    if (lead->reads_left)
        return 0; /* only a look into the mailbox between two batches */
    return pending_next_ns(&server->raft, lead);
}

/* Speaks, saves, commits and answers. Returns false when the disk has failed. */
static bool end_pile(struct server *server, struct leader_pending *lead, u64 now_ns)
{
    do {
        lead_hand_over(server, lead, now_ns);
        lead_replicate(server, lead, now_ns);
        if (!server_flush(server, lead))
            return false;
    } while (lead_must_hand_over(server, lead, now_ns));
    return true;
}

enum raft_state leader_run(struct server *server)
{
    struct raft *raft = &server->raft;
    struct leader_pending lead;
    u64 now_ns = clock_monotonic_ns();
    lead_begin(server, &lead, now_ns);
    for (;;) {
        if (!end_pile(server, &lead, now_ns))
            return leave(server, &lead, RAFT_STOPPED, "the disk failed");

        u64 heard_ns = server_collect(server, wake_ns(server, &lead), &now_ns);
        leadership_note_poll(raft, &lead.leadership, now_ns);
        lead_begin_pile(server, &lead);
        bool silence = mail_pile_is_empty(&server->pile);

        struct mail *mail;
        while ((mail = server_next_mail(server)) != NULL) {
            const struct message *message = &mail->as.message;
            bool has_quorum = leadership_has_quorum(raft, &lead.leadership, now_ns);
            if (housekeeping(server, &lead, mail, now_ns))
                continue;
            switch (server_check_term(server, mail, has_quorum)) {
            case TERM_NEWER: /* [All Servers 2, §5.1] */
                adopt_term(raft, message->term);
                server_put_back(server);
                return leave(server, &lead, RAFT_FOLLOWER, "a newer term has begun");
            case TERM_STALE:
            case TERM_IGNORE:
                continue;
            case TERM_CURRENT:
                break;
            }
            switch (mail->kind) {
            case MAIL_PRE_VOTE:
                (void)votes_answer(server, message, has_quorum);
                continue;
            case MAIL_REQUEST_VOTE: /* the vote of this term went to this server itself */
                server_refuse(server, message);
                continue;
            case MAIL_APPEND_ENTRIES:
            case MAIL_INSTALL_SNAPSHOT:
                return leave(
                    server, &lead,
                    server_stop_because(server, "a second leader of the same term", message->from),
                    "a second leader of the same term");
            case MAIL_APPEND_ENTRIES_REPLY:
                lead_take_append_reply(server, &lead, message, now_ns);
                continue;
            case MAIL_INSTALL_SNAPSHOT_REPLY:
                lead_take_install_reply(server, &lead, message, now_ns);
                continue;
            case MAIL_FORWARD:
                lead_take_forward(server, &lead, message, now_ns);
                continue;
            case MAIL_ENTRIES_READ:
                lead_take_entries(server, &lead, &mail->as.read, now_ns);
                continue;
            case MAIL_PIECE_READ:
                lead_take_piece(server, &lead, &mail->as.piece, now_ns);
                continue;
            case MAIL_COMMANDS: /* [Leaders 2, §5.3] */
                take_commands(server, &lead, &mail->as.commands, now_ns);
                continue;
            case MAIL_UNRECOGNISED:
                if (identity_handle_unrecognised(server, message))
                    return leave(server, &lead, RAFT_FOLLOWER, "it may not vote");
                continue;
            case MAIL_CONNECTED:
                lead_peer_connected(server, &lead, mail->as.peer);
                continue;
            case MAIL_ROOM: /* the end of this pile answers the reads that wait for it */
                continue;
            case MAIL_DISCONNECTED:
                lead_peer_disconnected(&lead, mail->as.peer);
                continue;
            case MAIL_STOP:
                return leave(server, &lead, RAFT_STOPPED, "it was told to");
            case MAIL_PRE_VOTE_REPLY:     /* this server's candidacy is over */
            case MAIL_REQUEST_VOTE_REPLY: /* the same: a vote more than was needed */
            case MAIL_FORWARD_REPLY:      /* nobody waits for it any more */
            case MAIL_TIMEOUT_NOW:        /* it leads already */
            case MAIL_CAMPAIGN:           /* it leads already */
            case MAIL_ELECTION_TIMEOUT:   /* a leader has no election timer */
            case MAIL_SNAPSHOT:           /* housekeeping */
            case MAIL_MET:                /* housekeeping */
            case MAIL_JOIN:               /* housekeeping */
                continue;
            }
        }

        /* Thesis §6.2. What came in while this server was stalled has been read by now, and what
         * that commits is answered. */
        if (heard_ns >= leadership_quorum_until_ns(raft, &lead.leadership)) {
            if (!silence && !end_pile(server, &lead, now_ns))
                return leave(server, &lead, RAFT_STOPPED, "the disk failed");
            enum raft_state next = leave(server, &lead, RAFT_FOLLOWER, "no contact with a quorum");
            /* Who waited is told before anybody waits for mail again. */
            return server_flush(server, NULL) ? next : RAFT_STOPPED;
        }
    }
}
