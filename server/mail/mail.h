/* mail.h - everything that can happen to a server, as one kind of message.
 *
 * Whoever learns something (a peer's reader, the client port, a job, a signal) writes it into a
 * `struct mail` and posts it; the state loops read nothing else. A *pile* is the mail a loop has
 * taken in but not yet dealt with, oldest on top. What a loop leaves on it, the next one finds.
 *
 * The mail of peers is a message; its kinds are numbered as in message.h, so that one switch in
 * each loop names all of them. */
#ifndef MAILRAFT_MAIL_MAIL_H
#define MAILRAFT_MAIL_MAIL_H

#include "server/mail/command.h"
#include "server/rules/raft.h"

enum mail_kind {
    /* From a peer: `message`. */
    MAIL_PRE_VOTE = MESSAGE_PRE_VOTE,
    MAIL_PRE_VOTE_REPLY = MESSAGE_PRE_VOTE_REPLY,
    MAIL_REQUEST_VOTE = MESSAGE_REQUEST_VOTE,
    MAIL_REQUEST_VOTE_REPLY = MESSAGE_REQUEST_VOTE_REPLY,
    MAIL_APPEND_ENTRIES = MESSAGE_APPEND_ENTRIES,
    MAIL_APPEND_ENTRIES_REPLY = MESSAGE_APPEND_ENTRIES_REPLY,
    MAIL_FORWARD = MESSAGE_FORWARD,
    MAIL_FORWARD_REPLY = MESSAGE_FORWARD_REPLY,
    MAIL_TIMEOUT_NOW = MESSAGE_TIMEOUT_NOW,
    MAIL_INSTALL_SNAPSHOT = MESSAGE_INSTALL_SNAPSHOT,
    MAIL_INSTALL_SNAPSHOT_REPLY = MESSAGE_INSTALL_SNAPSHOT_REPLY,

    MAIL_UNRECOGNISED = MESSAGE_UNRECOGNISED,

    MAIL_COMMANDS = 32, /* from the client port: `commands` */
    MAIL_MET,           /* a peer has connected, and shown who it is: `met`. Comes before all
                           messages of that connection */
    MAIL_JOIN,          /* this server's directory is blank, and a member of a cluster has been met:
                           it belongs to that one's cluster from now on, `joining` */
    MAIL_CONNECTED,     /* our connection to `peer` is new: what was on its way may be lost */
    MAIL_ROOM,          /* the way to `peer`, which was full, has room for answers again
                           (transport_ops.room) */
    MAIL_DISCONNECTED,  /* the connection from `peer` has ended: it died, or the network failed */
    MAIL_ENTRIES_READ,  /* a job has read log entries from the disk: `read` */
    MAIL_PIECE_READ,    /* a job has read a piece of a snapshot's file: `piece` */
    MAIL_SNAPSHOT,      /* the job that writes and loads snapshots has news: `snapshot`
                           (snapshot_thread.h) */
    MAIL_CAMPAIGN,      /* a person or test wants this server to campaign now, as if leadership
                           had been handed to it */
    MAIL_ELECTION_TIMEOUT, /* the election timer is to go off now, whatever the clock says */
    MAIL_STOP              /* the server is to stop in good order */
};

/* What a peer has shown of itself. */
struct met {
    server_id peer;
    struct identity identity;
};

/* Entries that a leader wanted for a peer, and that were no longer in memory. */
struct entries_read {
    u64 order;      /* the number that it was ordered under (raft_order) */
    server_id peer; /* whom they are for */
    u64 first;      /* index of the first record */
    u32 count;      /* 0: they could not be read */
    bool put_off;   /* for want of a thread or descriptor alone: perhaps they can be later */
    struct span records;
};

/* A piece of a snapshot that a leader wanted for a peer. */
struct piece_read {
    u64 order;      /* the same */
    server_id peer; /* whom it is for */
    u64 offset;
    struct span piece; /* empty: it could not be read */
    bool put_off;      /* the same */
};

/* What has become of a snapshot. */
enum snapshot_news {
    SNAPSHOT_PROGRESS,    /* the job can take more */
    SNAPSHOT_TAKEN,       /* one that this server has taken is on its disk */
    SNAPSHOT_NOT_TAKEN,   /* it could not be written */
    SNAPSHOT_RECEIVED,    /* one that a leader has sent is on the disk, and a machine made of it */
    SNAPSHOT_NOT_RECEIVED /* it could not be written, or its checksum was wrong */
};

struct snapshot_result {
    enum snapshot_news news;
    u64 order; /* the number that it was begun under (raft_order) */
};

struct mail {
    struct mail *next;
    enum mail_kind kind;
    bool opened; /* the reader's: it has been looked at, though it may still be on the pile */
    u64 size; /* what it counts against its mailbox's budget, bytes; set by whoever it is posted to
               */
    union {
        struct message message;
        struct command_list commands;
        server_id peer;
        struct met met;
        struct identity joining;
        struct entries_read read;
        struct piece_read piece;
        struct snapshot_result snapshot;
    } as;
};

/* A message with a zeroed body. Ownership: the caller, until it is posted. */
struct mail *mail_create(enum mail_kind kind);

/* Frees it with everything in it. Commands still in it fail with COMMAND_STOPPING. */
void mail_destroy(struct mail *mail);

/* Whether it came from a peer, and `as.message` is in use. */
bool mail_is_message(const struct mail *mail);

/* Bytes of memory that it holds on to, with all that is in it. */
u64 mail_weigh(const struct mail *mail);

/* "append-reply", "commands". Never NULL. */
const char *mail_kind_word(enum mail_kind kind);

/* ---- the slot: where mail is posted ---- */

/* How readers, client port and jobs reach a server, whatever its design: a mailbox, or a handler
 * under a lock. */
struct mail_slot;

struct mail_slot_ops {
    /* See mailbox_post and mailbox_try_post. */
    bool (*post)(struct mail_slot *slot, struct mail *mail);
    bool (*try_post)(struct mail_slot *slot, struct mail *mail);
};

struct mail_slot {
    const struct mail_slot_ops *ops;
};

/* Posts mail, waiting while there is no room for it. Consumes it; false when the server takes no
 * more mail at all. Thread: any but the server's. Blocks. */
bool mail_post(struct mail_slot *slot, struct mail *mail);

/* As mail_post, but never waits; when it returns false the mail is still the caller's. */
WARN_UNUSED bool mail_try_post(struct mail_slot *slot, struct mail *mail);

/* ---- the pile ---- */

struct mail_pile {
    struct mail *first;
    struct mail *last;
};

static inline bool mail_pile_is_empty(const struct mail_pile *pile)
{
    return pile->first == NULL;
}

/* The oldest mail, which stays on the pile; NULL when there is none. */
static inline struct mail *mail_pile_peek(const struct mail_pile *pile)
{
    return pile->first;
}

/* Takes the oldest mail off the pile; the caller destroys it. NULL when there is none. */
struct mail *mail_pile_take(struct mail_pile *pile);
/* Puts mail under the pile. Consumes it. */
void mail_pile_put(struct mail_pile *pile, struct mail *mail);
/* Puts mail back on top of the pile that it was taken from. Consumes it. */
void mail_pile_put_back(struct mail_pile *pile, struct mail *mail);
/* Moves all of `from` under `to`, in a time that does not depend on how much it is. */
void mail_pile_move(struct mail_pile *to, struct mail_pile *from);
/* Destroys all that is left. */
void mail_pile_clear(struct mail_pile *pile);

#endif
