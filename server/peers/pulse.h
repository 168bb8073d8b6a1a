/* pulse.h - signs of life where a server has nothing new to say yet.
 *
 * A leader that is not heard for an election timeout loses its office, and so does one that hears
 * no quorum. But a server is silent, too, while its disk syncs, and while a message of many MiB is
 * on its way, behind which all others wait. Neither is a reason for an election. So the newest
 * AppendEntries, without its entries, or the newest answer to one is told again: networks repeat
 * messages, hence repeating one is safe, whatever has become of the term, the log, or the leader
 * meanwhile; and it can be said, or taken as heard, without asking the server thread.
 *
 * - While the server thread waits for its disk (transport_ops.busy) the writers send it again,
 * once a heartbeat. Only for PULSE_TIMEOUTS election timeouts: a disk that does not come back is
 * none, and others must take over. Both follow CONFIG SET (transport_ops.pulse).
 * - While a large frame comes in, the reader posts the newest AppendEntries of that connection
 * again: the follower's patience begins anew, and its answer tells the leader that it is being
 * heard. Only when PULSE_PROGRESS more bytes have come since: the frame's size bounds how often.
 *
 * Thread: each is one thread's, or under a lock: whoever has it. Never blocks. */
#ifndef MAILRAFT_PEERS_PULSE_H
#define MAILRAFT_PEERS_PULSE_H

#include "server/rules/message.h"

enum {
    PULSE_PROGRESS = 32 * 1024 /* bytes that must have come in since the last sign */
};

/* All zeros: nothing has been said. */
struct pulse {
    bool any;
    enum message_kind kind;
    server_id from;
    server_id to;
    u64 term;
    u64 call;
    union {
        struct append_request append_request;
        struct append_reply append_reply;
    } as;
    u64 last_ns; /* when it was last told again */
};

/* A message passes by: remembers it if it can be told again. */
void pulse_note(struct pulse *pulse, const struct message *message);

/* Whether there is something to tell again, and it is time to. If so, fills `message`, which holds
 * nothing. */
bool pulse_beat(struct pulse *pulse, u64 interval_ns, u64 now_ns, struct message *message);

#endif
