/* command.h - what a client asks, on its way to the machine, and the way its answer takes back.
 *
 * A command comes from somewhere that wants exactly one answer: a client's connection, a follower
 * that forwarded it, a simulated client. That somewhere is its `sink`. Whoever has a command ends
 * it with one call of command_answer (or command_redirect, where it allows that).
 *
 * An answer is the bytes of one RESP3 value. Errors come in two kinds that are never mixed up:
 * *definite* ones say that the command was not and will not be executed; the one *indefinite* one
 * (-TIMEOUT) says that it may have been, or may be yet. */
#ifndef MAILRAFT_MAIL_COMMAND_H
#define MAILRAFT_MAIL_COMMAND_H

#include "common/bytes.h"
#include "common/types.h"

struct command_sink;

enum command_class {
    COMMAND_WRITE,            /* goes through the log */
    COMMAND_READ,             /* linearizable, answered from the machine after a confirming round */
    COMMAND_STATUS,           /* the answer is this server's own state as text: status.h */
    COMMAND_SETTING,          /* body is "key\0value\0", a run-time setting: admin/local.c */
    COMMAND_RESET_STATISTICS, /* durations are measured anew; the answer is OK */
    COMMAND_SNAPSHOT,         /* this server is to take a snapshot; the answer is its last index */
    COMMAND_BACKUP,  /* the answer is a piece of a snapshot's file; body is command_backup_body's */
    COMMAND_TRANSFER /* an order that only a leader can carry out: hand leadership over
                        (command_order_body), or make a server a voter again (command_readmit_body)
                      */
};

struct command {
    struct command *next; /* list link of whoever holds the command */
    enum command_class class;
    bool after_write;  /* READ: the same client has a write under way, which it must see */
    bool may_redirect; /* the client asked for redirects instead of forwarding */
    struct span body;  /* the machine's encoding of the command; one reference is the command's */
    u64 arrived_ns;    /* monotonic time of arrival at this server */
    struct command_sink *sink;
    void *owner;      /* the sink's: which client */
    u64 slot;         /* the sink's: which of the client's answers */
    bool forwarded;   /* came from another server, and so is not forwarded again */
    server_id taker;  /* forwarded: by whom */
    u64 serial;       /* WRITE: its own in its taker's stream (streams.h), 1 and up; others: that of
                         the newest write before it. Numbered when the server takes its mail */
    u64 wait_index;   /* free for whoever holds the command: the log index that it waits for */
    u64 wait_round;   /* the same for a confirming round */
    u32 order_result; /* TRANSFER, once answered: what became of it, an enum transfer_result; 0:
                         it was answered otherwise */
};

struct command_sink_ops {
    /* Takes the answer. Consumes the command (command_destroy). Never blocks. */
    void (*answer)(struct command_sink *sink, struct command *command, const u8 *answer,
                   size_t size);
    /* Tells the client to go to that server itself. Consumes the command. */
    void (*redirect)(struct command_sink *sink, struct command *command, server_id leader);
    /* The end of a pile: sends out the answers gathered since the last call. */
    void (*flush)(struct command_sink *sink);
    /* Gives the command back to the server that forwarded it: nothing was executed. Consumes it.
     * NULL: its commands were not forwarded. */
    void (*give_back)(struct command_sink *sink, struct command *command);
};

struct command_sink {
    const struct command_sink_ops *ops;
};

/* Ways for a command to fail in the hands of Raft. X(name, definite?, text without '-' and CRLF) */
#define COMMAND_FAILURES(X)                                                                      \
    X(COMMAND_NO_LEADER, true, "CLUSTERDOWN no leader is known; nothing was executed")           \
    X(COMMAND_LEADER_LOST, true,                                                                 \
      "CLUSTERDOWN the leader could not be reached; nothing was executed")                       \
    X(COMMAND_BUSY, true, "BUSY too many commands are waiting; nothing was executed, try again") \
    X(COMMAND_NO_SPACE, true, "NOSPACE the disk is full; nothing was executed")                  \
    X(COMMAND_TOO_LARGE, true,                                                                   \
      "ERR command is larger than the configured limits; nothing was executed")                  \
    X(COMMAND_STOPPING, true, "CLUSTERDOWN this server is stopping; nothing was executed")       \
    X(COMMAND_STALLED, true,                                                                     \
      "CLUSTERDOWN this server has stalled, INFO raft says on what; nothing was executed")       \
    X(COMMAND_NO_SNAPSHOT, true,                                                                 \
      "ERR no snapshot could be taken, the server's log says why; nothing was executed")         \
    X(COMMAND_SNAPSHOT_GONE, true,                                                               \
      "NOSNAPSHOT that snapshot is not here any more, begin again; nothing was executed")        \
    X(COMMAND_SNAPSHOT_UNREADABLE, true,                                                         \
      "ERR the snapshot's file cannot be read, the server's log says why; nothing was executed") \
    X(COMMAND_UNKNOWN_OUTCOME, false,                                                            \
      "TIMEOUT outcome unknown: the command may or may not have been executed")

enum command_failure {
#define X(name, definite, text) name,
    COMMAND_FAILURES(X)
#undef X
};

/* A command of the caller's; all fields but class, body and sink are zero. `body`'s reference is
 * taken over. */
struct command *command_create(enum command_class class, struct span body,
                               struct command_sink *sink);
/* Whether it asks something of this very server, whatever its state, and not of the cluster. */
bool command_is_local(const struct command *command);
/* For sinks only: everybody else answers. */
void command_destroy(struct command *command);

void command_answer(struct command *command, const u8 *answer, size_t size);
void command_fail(struct command *command, enum command_failure failure);
void command_redirect(struct command *command, server_id leader);
/* Of a forwarded command only. */
void command_give_back(struct command *command);

/* The body of a COMMAND_TRANSFER: to whom; SERVER_NONE: to whoever can take over soonest. */
struct span command_order_body(server_id target);
server_id command_order_target(const struct command *command);
/* The same of the other order: who is to be readmitted. */
struct span command_readmit_body(server_id target);
bool command_order_is_readmit(const struct command *command);

/* The body of a COMMAND_BACKUP: which bytes are wanted, of which snapshot's file. */
struct backup_order {
    struct entry_id last; /* the three name the snapshot, as in a leader's messages */
    u64 size;
    u32 checksum;
    u64 offset;
    u64 bytes_max;
};
struct span command_backup_body(const struct backup_order *order);
struct backup_order command_backup_order(const struct command *command);

/* The failure's text as a RESP error without '-' and line end. */
const char *command_failure_text(enum command_failure failure);
bool command_failure_is_definite(enum command_failure failure);

/* ---- lists of commands, first in first out ---- */

struct command_list {
    struct command *first;
    struct command *last;
    u32 count;
    u64 bytes; /* of the bodies */
};

void command_list_put(struct command_list *list, struct command *command);
/* The first, taken out of the list, or NULL. */
struct command *command_list_take(struct command_list *list);
/* Moves all of `from` behind `to`. */
void command_list_move(struct command_list *to, struct command_list *from);
/* Moves all of `from` in between `to`; both are in the order in which this server has taken them
 * from clients, and so is what comes of it: by their serials, and what stands between two writes by
 * its time of arrival. Whoever has waited longest stands first, and that is the one whose patience
 * is looked at. */
void command_list_merge(struct command_list *to, struct command_list *from);
void command_list_fail(struct command_list *list, enum command_failure failure);

#endif
