/* housekeeping.c - see housekeeping.h. */
#include "server/service/housekeeping.h"

#include "server/replica/identity.h"
#include "server/replica/install.h"

bool housekeeping(struct server *server, struct leader_pending *lead, const struct mail *mail,
                  u64 now_ns)
{
    if (mail_is_message(mail)) {
        identity_remind(server, mail->as.message.from, now_ns);
        return false;
    }
    switch (mail->kind) {
    case MAIL_SNAPSHOT:
        server_take_snapshot_news(server, &mail->as.snapshot);
        return true;
    case MAIL_MET:
        identity_handle_hello(server, lead, &mail->as.met, now_ns);
        return true;
    case MAIL_JOIN:
        identity_join(server, &mail->as.joining);
        return true;
    case MAIL_CONNECTED: /* and what else that means in a state */
        identity_connected(server, mail->as.peer, now_ns);
        return false;
    case MAIL_PRE_VOTE:
    case MAIL_PRE_VOTE_REPLY:
    case MAIL_REQUEST_VOTE:
    case MAIL_REQUEST_VOTE_REPLY:
    case MAIL_APPEND_ENTRIES:
    case MAIL_APPEND_ENTRIES_REPLY:
    case MAIL_FORWARD:
    case MAIL_FORWARD_REPLY:
    case MAIL_TIMEOUT_NOW:
    case MAIL_INSTALL_SNAPSHOT:
    case MAIL_INSTALL_SNAPSHOT_REPLY:
    case MAIL_UNRECOGNISED:
    case MAIL_COMMANDS:
    case MAIL_DISCONNECTED:
    case MAIL_ROOM:
    case MAIL_ENTRIES_READ:
    case MAIL_PIECE_READ:
    case MAIL_CAMPAIGN:
    case MAIL_ELECTION_TIMEOUT:
    case MAIL_STOP:
        return false; /* what it means depends on the state */
    }
    UNREACHABLE();
}
