/* action.h - all that a step machine asks to be done.
 *
 * One call of step() fills a list, in the order in which the actions are to be carried out, and
 * before the next call all of them must have been; only the stores may take their time, and are
 * answered with ON_PERSISTED when they are synced. What must wait for the disk is not in the list
 * at all before that. So whoever carries out a list needs no knowledge of Raft. */
#ifndef MAILRAFT_STEP_ACTION_H
#define MAILRAFT_STEP_ACTION_H

#include "server/mail/command.h"
#include "server/rules/election.h"
#include "server/rules/install.h"
#include "server/rules/transfer.h"
#include "server/rules/trust.h"

/* X(NAME, word, what it asks for). */
#define STEP_ACTIONS(X)                                                                           \
    X(DO_SEND, "Send", "send `staged`; if it is a FORWARD and cannot leave, tell by ON_UNSENT")   \
    X(DO_ALARM, "Alarm", "ON_TIMEOUT at `at_ns`, instead of at any time before")                  \
    X(DO_STATE_STORE, "StateStore", "save term and vote")                                         \
    X(DO_LOG_STORE, "LogStore",                                                                   \
      "save the log's entries first .. last, in place of all from first")                         \
    X(DO_COMMIT, "Commit", "everything through `index` is committed")                             \
    X(DO_APPLY, "Apply", "apply the log's entry at `index`, and answer `token` unless it is 0")   \
    X(DO_READ_READY, "ReadReady", "answer the read of `token` from the machine as it is now")     \
    X(DO_ANSWER, "Answer", "give these bytes, which belong to the event, to `token`")             \
    X(DO_REFUSE, "Refuse", "`token` failed")                                                      \
    X(DO_REDIRECT, "Redirect", "send `token` to the leader itself")                               \
    X(DO_GIVE_BACK, "GiveBack", "give `token` back to the server that forwarded it")              \
    X(DO_CONCLUDE, "Conclude", "tell `token` what became of its order to hand leadership over")   \
    X(DO_ACCEPT, "Accept", "tell the commands in the event's FORWARD as ON_APPEND and ON_READ")   \
    X(DO_READ_ENTRIES, "ReadEntries",                                                             \
      "read entries from the disk for a peer, tell by ON_ENTRIES_READ")                           \
    X(DO_TAKE_PIECE, "TakePiece", "write down the piece of a snapshot in the event's message")    \
    X(DO_READ_PIECE, "ReadPiece", "read a piece of a snapshot for a peer, tell by ON_PIECE_READ") \
    X(DO_INSTALL, "Install", "put the machine in place that was made from the event's snapshot")  \
    X(DO_COMPACT, "Compact", "the log's entries through `index` may go from the disk")            \
    X(DO_FORGET_PROMISE, "ForgetPromise", "save that the log holds again what was promised")      \
    X(DO_RECOGNISE, "Recognise", "save, before the next event, what is seen of a peer; say it")   \
    X(DO_NON_VOTER, "NonVoter", "save, before the next event, that this server may not vote")     \
    X(DO_STANDING, "Standing", "save, before the next event, what this server is to the others")  \
    X(DO_TRANSITION, "Transition", "for people and traces: the state is another now")             \
    X(DO_TELL_ELECTION, "TellElection", "for people: votes, and the timeout drawn")               \
    X(DO_TELL, "Tell", "for people: why it was done")                                             \
    X(DO_HALT, "Halt", "stop: a peer broke the protocol")

enum step_action_kind {
#define X(name, word, what) name,
    STEP_ACTIONS(X)
#undef X
};

/* A message on its way out, or waiting in the state for a store. */
struct step_message {
    struct step_message *next;
    u64 store; /* it may leave when this store is synced */
    struct message message;
};

struct step_send {
    struct step_message *staged; /* the list's, until somebody takes it and sets this to NULL */
};

struct step_state_store {
    u64 store;
    u64 current_term;
    server_id voted_for;
};

struct step_log_store {
    u64 store;
    u64 first;
    struct entry_id last;
};

struct step_apply {
    u64 index;
    u64 token;
};

/* DO_ANSWER, DO_REFUSE, DO_REDIRECT, DO_GIVE_BACK, DO_CONCLUDE, DO_READ_READY. Every token is in
 * exactly one of them, or in a DO_APPLY. */
struct step_answer {
    u64 token;
    const u8 *data; /* DO_ANSWER */
    size_t size;
    enum command_failure failure; /* DO_REFUSE */
    server_id leader;             /* DO_REDIRECT */
    enum transfer_result result;  /* DO_CONCLUDE */
    server_id who;                /* DO_CONCLUDE: the server that the result is about */
};

struct step_read_entries {
    u64 order; /* raft_order's; the result repeats it */
    server_id peer;
    u64 first;
    u64 bytes_max;
};

struct step_read_piece {
    u64 order; /* the same */
    server_id peer;
    struct snapshot_name name;
    u64 offset;
};

struct step_install {
    enum installed installed;
    const struct snapshot_point *point; /* the event's */
};

/* DO_RECOGNISE: the state's trust is to be saved if `meeting` says so. */
struct step_recognise {
    server_id peer;
    struct meeting meeting;
};

/* DO_NON_VOTER. */
struct step_non_voter {
    server_id by;
    enum distrust why;
};

/* DO_TRANSITION, DO_TELL, DO_HALT. */
struct step_words {
    enum raft_state state; /* DO_TRANSITION */
    server_id peer;        /* who it is about; SERVER_NONE: nobody else */
    const char *why;       /* a static clause */
    bool trouble;          /* DO_TELL: somebody should look at it */
};

/* DO_TELL_ELECTION is election.h's struct election_news. */

struct step_action {
    enum step_action_kind kind;
    union {
        struct step_send send;
        u64 at_ns;
        struct step_state_store state_store;
        struct step_log_store log_store;
        u64 index;
        struct step_apply apply;
        struct step_answer answer;
        const struct message *forward; /* DO_ACCEPT: the event's */
        struct step_read_entries read;
        const struct message *piece; /* DO_TAKE_PIECE: the event's */
        struct step_read_piece read_piece;
        struct step_install install;
        struct step_recognise recognise;
        struct step_non_voter non_voter;
        enum own_standing standing; /* DO_STANDING */
        struct step_words words;
        struct election_news news; /* DO_TELL_ELECTION */
    } as;
};

/* A list of the caller's. Zeroed, it is empty. */
struct step_actions {
    struct step_action *items;
    u32 count;
    u32 capacity;
};

/* Empties the list: frees what messages nobody took. The memory is kept for the next call. */
void step_actions_clear(struct step_actions *actions);
void step_actions_deinit(struct step_actions *actions);

/* The next place in the list. */
struct step_action *step_actions_add(struct step_actions *actions, enum step_action_kind kind);

/* A copy of the message, whose spans it takes over, to be staged. */
struct step_message *step_message_create(struct message *message);
/* NULL is a no-op. */
void step_message_destroy(struct step_message *staged);

/* "LogStore", and a sentence about it. */
const char *step_action_word(enum step_action_kind kind);
const char *step_action_meaning(enum step_action_kind kind);

#endif
