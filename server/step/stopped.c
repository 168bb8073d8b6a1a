/* stopped.c - what a server that has stopped does with each event: clients are told so, and nobody
 * else hears from it again. */
#include "server/step/inside.h"

void stopped_step(struct step *step, const struct step_event *event)
{
    switch (event->kind) {
    case ON_APPEND:
    case ON_READ:
    case ON_TRANSFER:
        step_refuse(step, step_take_command(event), COMMAND_STOPPING);
        return;
    case ON_TIMEOUT:
    case ON_APPEND_ENTRIES_REQ:
    case ON_APPEND_ENTRIES_RESP:
    case ON_VOTE_REQ:
    case ON_VOTE_RESP:
    case ON_PRE_VOTE_REQ:
    case ON_PRE_VOTE_RESP:
    case ON_INSTALL_SNAPSHOT_REQ:
    case ON_INSTALL_SNAPSHOT_RESP:
    case ON_PIECE_READ:
    case ON_SNAPSHOT_TAKEN:
    case ON_SNAPSHOT_RECEIVED:
    case ON_SNAPSHOT_LOST:
    case ON_FORWARD_REQ:
    case ON_FORWARD_RESP:
    case ON_TIMEOUT_NOW:
    case ON_CAMPAIGN:
    case ON_UNRECOGNISED:
    case ON_MET:
    case ON_CONNECTED:
    case ON_CONNECTION_LOST:
    case ON_UNSENT:
    case ON_PERSISTED:
    case ON_APPLIED:
    case ON_ENTRIES_READ:
    case ON_ROOM:
    case ON_SETTINGS:
    case ON_BATCH_END:
    case ON_STOP:
        return;
    }
}
