/* outbox.h - messages that wait for the disk before they may be spoken.
 *
 * Rules and loops stage messages here; a flush sends them: the early ones (a leader's entries in a
 * term that is already on disk) before the sync, all others after it. Since a message is complete
 * and owns its entries when it is staged, a loop may return with a full outbox. */
#ifndef MAILRAFT_MAIL_OUTBOX_H
#define MAILRAFT_MAIL_OUTBOX_H

#include "server/rules/configuration.h"
#include "server/rules/message.h"

struct transport;

/* The way to the other servers: TCP (peers/), or the simulator's network. */
struct transport_ops {
    /* Sends, or drops when the peer cannot take it now; never blocks. Consumes the spans of the
     * message (message_release), not the struct. Returns false when the message certainly was not
     * and will not be sent. Thread: the server's. */
    bool (*send)(struct transport *transport, struct message *message);
    /* What this server shows of itself, and what it knows of the members' directories, is another
     * now: so do new connections. NULL: nobody minds. Never blocks. Thread: the server's. */
    void (*identify)(struct transport *transport, const struct identity *own,
                     const struct configuration *configuration);
    /* The server begins to deal with its mail, or waits for more: meanwhile, should that take long,
     * the transport may repeat what the server has said last, so that a long round (a slow disk, a
     * crowded machine) is not taken for death. NULL: it does not. Thread: the server's. Never
     * blocks.
     */
    void (*busy)(struct transport *transport, bool begins);
    /* How that is done from now on: the newest is repeated once in `every_ns`, for `for_ns` at
     * most. The settings of the timers may change while the server runs. NULL: nothing is repeated.
     * Thread: the server's. Never blocks. */
    void (*pulse)(struct transport *transport, u64 every_ns, u64 for_ns);
    /* For how many bytes of answers to forwarded reads there is room on the way to that server,
     * beside what waits to be sent. One answer may go beyond. 0: none; then MAIL_ROOM is posted
     * when there is room again. Who is not connected has room: what is sent to it is lost in any
     * case. NULL: there is always room. Takes a lock: to be asked once in a batch. Thread: the
     * server's. Never blocks. */
    u64 (*room)(struct transport *transport, server_id to);
};

enum {
    /* A server that is busy counts as alive for so many of the longest election timeouts. */
    PULSE_TIMEOUTS = 4
};

struct transport {
    const struct transport_ops *ops;
};

struct outbox {
    struct outbox_item *first_early;
    struct outbox_item *last_early;
    struct outbox_item *first;
    struct outbox_item *last;
    /* Called for a FORWARD that was certainly not sent; NULL: nobody minds. */
    void (*unsent_forward)(void *context, u64 call);
    void *context;
};

void outbox_init(struct outbox *outbox);
/* Drops what is left without a word to unsent_forward: whoever waits for those calls ends too. */
void outbox_deinit(struct outbox *outbox);

/* Stages a message that may go out only after everything unsaved is synced. Takes over its spans
 * (span_count is 0 afterwards); the struct is copied. */
void outbox_put(struct outbox *outbox, struct message *message);
/* Stages a message that promises nothing but a term that is on disk when `outbox_send_early` is
 * called: a leader's AppendEntries and TIMEOUT_NOW, and answers to forwarded commands, which were
 * given only after a quorum's disks held what they tell. */
void outbox_put_early(struct outbox *outbox, struct message *message);

/* Sends the early messages, in the order in which they were staged. */
void outbox_send_early(struct outbox *outbox, struct transport *transport);
/* Sends everything: early ones first. What unsent_forward stages meanwhile stays for the next
 * time. */
void outbox_send_all(struct outbox *outbox, struct transport *transport);

bool outbox_is_empty(const struct outbox *outbox);

#endif
