/* pending.h - what a leader keeps for its clients beside Raft's own leadership, and what it decides
 * about their commands.
 *
 * Writes wait for their entry to be applied; reads wait for a confirming round and for the index
 * that they must see. Both are served in the order in which they came. While leadership is being
 * handed over, writes wait before they are appended. All of it belongs to one leadership. What is
 * here changes nothing but what it is handed: no machine, no outbox, no client is touched. lead.h
 * does that.
 *
 * Thread: the one that runs the server's rules. Never blocks. */
#ifndef MAILRAFT_REQUESTS_PENDING_H
#define MAILRAFT_REQUESTS_PENDING_H

#include "server/mail/command.h"
#include "server/rules/transfer.h"

/* How long a leader whose log has no place for what it holds waits before it looks again. */
#define PENDING_ROOM_RETRY_NS (5 * NS_PER_MS)

struct leader_pending {
    struct leadership leadership;
    struct command_list writes; /* wait_index: their entry's; rising */
    struct command_list reads;  /* wait_round: rising; wait_index: what must be applied */
    struct transfer transfer;
    struct command_list held; /* came during the transfer, or while the log's next place was being
                               * made: writes, not appended, and the reads that must see them */
    struct command *order;    /* who ordered the transfer and waits for its end; NULL: nobody */
    bool reads_left;          /* more could be answered at once, but heartbeats come between */
    u64 room_bytes;           /* what storage can take in this pile, less what was appended in it */
    u64 room_soon_bytes;      /* what it can take in a later pile, when the log's next segment is
                               * made; what needs more finds the disk full */
    bool awaits_room;         /* what is held waits for that (and for a transfer's end, if one goes
                               * on) */
    u64 room_retry_ns;        /* when to look for it again */
    bool short_of_room;       /* a write found no room since the last look */
};

/* Begins the leadership that the won election gave; nobody waits yet. */
void pending_begin(struct raft *raft, struct leader_pending *lead, u64 now_ns, u64 wall_ns);

enum pending_verdict {
    PENDING_APPENDED, /* it waits for its entry, wait_index */
    PENDING_HELD,     /* it waits for the end of the transfer or for room, and is not in the log */
    PENDING_REFUSED   /* `*why` says why, and it is still the caller's */
};

/* Appends a write to the log and lets it wait for its entry, if that can be. */
WARN_UNUSED enum pending_verdict pending_take_write(struct raft *raft, struct leader_pending *lead,
                                                    struct command *command, u64 wall_ns,
                                                    enum command_failure *why);

/* Lets a read wait for the round and the index that make it linearizable, or for the write of the
 * same client that is held. */
void pending_take_read(const struct raft *raft, struct leader_pending *lead,
                       struct command *command);

/* Whether the commands of this FORWARD, which is well-formed, are taken now: they are from a
 * member, it is their turn in their stream, and no other server is about to lead. */
WARN_UNUSED enum stream_verdict pending_takes_forward(struct raft *raft,
                                                      const struct leader_pending *lead,
                                                      const struct message *request);
/* The refusal, to be sent. */
void pending_refuse_forward(struct raft *raft, const struct leader_pending *lead,
                            const struct message *request, struct message *refusal);

/* What is to be said in the log about who the servers are (identities.h). Returns the index of what
 * was appended; 0: nothing was. To be called with every pile, before messages are made. */
u64 pending_settle(struct raft *raft, struct leader_pending *lead, u64 wall_ns);

/* Takes an order to hand leadership over, or to readmit a server. While the result is
 * TRANSFER_BEGUN the order waits in `lead`, for the transfer's end or, among the writes, for the
 * entry; else it is still the caller's. `*who` is the server that the result is about. */
WARN_UNUSED enum transfer_result pending_take_order(struct raft *raft, struct leader_pending *lead,
                                                    struct command *command, u64 now_ns,
                                                    server_id *who);

/* Whether what is held for want of room may be tried again: there is some for the first of it. */
WARN_UNUSED bool pending_has_room_for_held(const struct leader_pending *lead);
/* Moves what is held into `*held`, to be taken again as if it came now: pending_next_held gives one
 * after the other until one is held again, or it was enough for one pile, and holds the rest. */
void pending_take_held(struct leader_pending *lead, struct command_list *held);
/* `*bytes` is 0 at first. NULL: no more now. */
struct command *pending_next_held(const struct raft *raft, struct leader_pending *lead,
                                  struct command_list *held, u64 *bytes);

/* Takes out the commands that were held and came from other servers, which can hand them to the
 * next leader themselves: they are to be given back, the oldest first. */
void pending_held_for_others(struct raft *raft, struct leader_pending *lead,
                             struct command_list *others);

/* When a leader has something to say or to give up even if nothing happens. */
u64 pending_next_ns(const struct raft *raft, const struct leader_pending *lead);

/* Takes out whoever waits for the entry at `index`; NULL: nobody here does. */
struct command *pending_writer_of(struct leader_pending *lead, u64 index);

/* Takes out the first read when it may be answered now; else NULL. `confirmed`:
 * reads_confirmed_round. */
struct command *pending_ready_read(const struct raft *raft, struct leader_pending *lead,
                                   u64 confirmed);

#endif
