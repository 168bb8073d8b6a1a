/* forward.h - commands that a follower hands to its leader, and the way the answers come back.
 *
 * A follower sends all writes of a pile in one FORWARD message, and all reads in another, so that
 * neither waits for the other's answer. It keeps what it sent, by call, until the reply comes; that
 * list is a `struct forwarding`, it belongs to one leader in one term, and ends with the follower's
 * loop. Whatever has not been answered then has an unknown outcome: nothing is ever sent twice.
 * Only reads, which leave no trace, go back to waiting for a leader.
 *
 * Writes are one stream (rules/streams.h): they reach the leader's log in the order of their
 * serials. When one of them certainly will not (its message was not sent, the leader refused it, or
 * held it and gave it back), it and all behind it are taken back, to be sent again in their order,
 * under a higher attempt. When one is given up (no answer in time), what comes later goes under
 * a higher attempt, too, so that the one given up can arrive too late only. The message of reads
 * that must see a write names the newest write under way.
 *
 * Encoding of the commands in a FORWARD, one after another, little-endian:
 *   u8 class (1 write, 2 read), u8 flags (1: after_write), u16 zero, u32 size, body
 * and of the answers in a FORWARD_REPLY: u32 size, bytes.
 *
 * Thread: the server's. */
#ifndef MAILRAFT_REQUESTS_FORWARD_H
#define MAILRAFT_REQUESTS_FORWARD_H

#include "server/mail/mail.h"
#include "server/mail/outbox.h"
#include "server/rules/raft.h"

/* ---- at the follower ---- */

/* A server's counters of what it forwards, beyond all followings of a start. */
struct taker {
    u64 start;   /* the start counter */
    u64 attempt; /* the newest one of its stream */
    u64 message; /* number of the newest FORWARD */
};

struct forward_batch {
    struct forward_batch *next;
    u64 call;
    u64 deadline_ns;
    u64 attempt;
    bool writes;
    u32 answered; /* commands that have had their answer, and are gone from the list */
    struct command_list commands;
};

struct forwarding {
    struct taker *taker;
    struct forward_batch *first; /* oldest first; the writes' serials rise */
    struct forward_batch *last;
    u32 batches_of_writes;
    u64 newest_write;           /* serial of the last write in the batches, while there is any */
    struct command_list writes; /* of this pile, not yet in a message */
    struct command_list reads;
    u64 closed_until_ns; /* nothing more is sent, and what is under way is waited for until then; 0:
                            not so */
};

/* `taker` is borrowed, and outlives it. */
void forwarding_init(struct forwarding *forwarding, struct taker *taker);

/* Takes in a command for the leader. */
void forwarding_put(struct forwarding *forwarding, struct command *command);

/* Takes back what was put in since the last message, into `commands`, which is in the order of
 * arrival and stays so. */
void forwarding_take_back(struct forwarding *forwarding, struct command_list *commands);

/* The end of a pile: fills the next message that carries what was put in, writes first; call again
 * until it returns false. The leader is known. */
bool forwarding_next(struct forwarding *forwarding, struct raft *raft, u64 bytes_max,
                     u64 deadline_ns, struct message *message);

/* What became of a batch. Commands that may be tried again are put into `again`; for the others
 * `answer` or `fail` is called. */
struct forwarding_outcome {
    void (*answer)(void *context, struct command *command, const u8 *answer, size_t size);
    void (*fail)(void *context, struct command *command, enum command_failure failure);
    void *context;
    struct command_list *again;
};

/* A FORWARD_REPLY has come. A call that nobody waits for is ignored: then it returns false. A batch
 * whose answers do not come in order has lost some, and with them the knowledge of its outcome. */
bool forwarding_replied(struct forwarding *forwarding, const struct message *reply,
                        const struct forwarding_outcome *outcome);

/* The message with this call was certainly never sent: its commands may be tried again, and the
 * writes behind it must. */
void forwarding_unsent(struct forwarding *forwarding, u64 call,
                       const struct forwarding_outcome *outcome);

/* Fails what has waited beyond its deadline. */
void forwarding_expire(struct forwarding *forwarding, u64 now_ns,
                       const struct forwarding_outcome *outcome);
/* UINT64_MAX when nothing waits. */
u64 forwarding_deadline_ns(const struct forwarding *forwarding);

/* Thesis §3.10: the leader hands leadership over to this server, takes nothing any more, and
 * answers what it has taken. Whoever campaigns does not hear those answers: so this server sends
 * nothing more from now on, and campaigns when all is answered, or after a while in which an answer
 * may have been lost, well within the time that the leader gives it. Told again, it waits no
 * longer. */
void forwarding_close(struct forwarding *forwarding, const struct raft *raft, u64 now_ns);
/* The leader is gone, and with it the answers: waits no longer. */
void forwarding_wait_no_longer(struct forwarding *forwarding, u64 now_ns);
bool forwarding_is_closed(const struct forwarding *forwarding);
/* Whether it was closed and has waited enough; then it is open again. All that came before
 * `heard_ns` is read. */
WARN_UNUSED bool forwarding_settle(struct forwarding *forwarding, u64 heard_ns);

/* The leader, or the connection to it, is lost: of all that was sent and not answered the outcome
 * is unknown. Leaves the list empty, open and usable. */
void forwarding_lost(struct forwarding *forwarding, const struct forwarding_outcome *outcome);

/* ---- at the leader ---- */

/* Whether the bytes of a FORWARD are the commands that it says they are. */
bool forward_is_sound(const struct message *request);

/* Turns a FORWARD into commands whose answers, once all are there, become a FORWARD_REPLY, staged
 * in `outbox`: one, or as many as it takes when one may not hold more than `bytes_max`. A single
 * answer larger than that is replaced by an error that says so. On malformed bytes returns false,
 * and no command. */
WARN_UNUSED bool forward_unpack(struct raft *raft, const struct message *request, u64 now_ns,
                                u64 bytes_max, struct outbox *outbox,
                                struct command_list *commands);

#endif
