/* event.h - all that can happen to a step machine.
 *
 * An event is complete: the clocks as they were when it happened, and every fact that the machine
 * could need and is not in its own state. So what follows from an event is determined by it and the
 * state alone. Whatever an event points to is borrowed, until the actions that follow from it have
 * been carried out.
 *
 * Clients are tokens: numbers that the node hands out and finds its clients by. 0 is nobody. */
#ifndef MAILRAFT_STEP_EVENT_H
#define MAILRAFT_STEP_EVENT_H

#include "server/mail/mail.h"
#include "server/rules/install.h"

/* X(NAME, word, what it tells). The words are those of the generated table. */
#define STEP_EVENTS(X)                                                                           \
    X(ON_APPEND, "Append", "a client's write, with its token")                                   \
    X(ON_READ, "Read", "a client's read, with its token")                                        \
    X(ON_TRANSFER, "Transfer", "an order to hand leadership over, with its token")               \
    X(ON_TIMEOUT, "Timeout", "the alarm rang, and all that came before it has been told")        \
    X(ON_APPEND_ENTRIES_REQ, "AppendEntriesReq", "from a leader")                                \
    X(ON_APPEND_ENTRIES_RESP, "AppendEntriesResp", "from a follower")                            \
    X(ON_VOTE_REQ, "VoteReq", "from a candidate")                                                \
    X(ON_VOTE_RESP, "VoteResp", "from a voter")                                                  \
    X(ON_PRE_VOTE_REQ, "PreVoteReq", "from somebody who would like to be a candidate")           \
    X(ON_PRE_VOTE_RESP, "PreVoteResp", "from a voter")                                           \
    X(ON_INSTALL_SNAPSHOT_REQ, "InstallSnapshotReq", "a piece of a leader's snapshot")           \
    X(ON_INSTALL_SNAPSHOT_RESP, "InstallSnapshotResp", "from a follower")                        \
    X(ON_FORWARD_REQ, "ForwardReq", "a follower's clients' commands")                            \
    X(ON_FORWARD_RESP, "ForwardResp", "answers to commands that were forwarded")                 \
    X(ON_UNRECOGNISED, "Unrecognised", "this server is not what a peer met before")              \
    X(ON_TIMEOUT_NOW, "TimeoutNow", "the leader hands leadership over")                          \
    X(ON_CAMPAIGN, "Campaign", "a person or test orders an election")                            \
    X(ON_MET, "Met", "a peer has connected and shown who it is")                                 \
    X(ON_CONNECTED, "Connected", "the connection to a peer is new")                              \
    X(ON_CONNECTION_LOST, "ConnectionLost", "the connection from a peer has ended")              \
    X(ON_UNSENT, "Unsent", "a forwarding message certainly never left")                          \
    X(ON_PERSISTED, "Persisted", "stores have reached the disk")                                 \
    X(ON_APPLIED, "Applied", "entries have been applied, and more are committed")                \
    X(ON_ENTRIES_READ, "EntriesRead", "old entries, wanted for a peer, have come from the disk") \
    X(ON_PIECE_READ, "PieceRead", "a piece of a snapshot, wanted for a peer, has come")          \
    X(ON_SNAPSHOT_TAKEN, "SnapshotTaken", "a snapshot of this server's own is on its disk")      \
    X(ON_SNAPSHOT_RECEIVED, "SnapshotReceived", "a leader's is, and a machine made from it")     \
    X(ON_SNAPSHOT_LOST, "SnapshotLost", "a leader's could not be written, or was damaged")       \
    X(ON_ROOM, "Room", "how much the disk can take, and the log takes of it")                    \
    X(ON_SETTINGS, "Settings", "settings are others than before")                                \
    X(ON_BATCH_END, "Settle", "nothing more is at the door: say what is to be said now")         \
    X(ON_STOP, "Stop", "the server is to stop")

enum step_event_kind {
#define X(name, word, what) name,
    STEP_EVENTS(X)
#undef X
};

/* ON_APPEND, ON_READ, ON_TRANSFER. */
struct step_client {
    u64 token;        /* not 0 */
    struct span body; /* the command; the machine takes a reference of its own if it keeps it */
    u64 arrived_ns;
    bool after_write;  /* READ: the same client has a write under way, which it must see */
    bool may_redirect; /* the client would rather be sent to the leader than forwarded */
    bool forwarded;    /* another server has forwarded it: it must not travel any further */
    server_id taker;   /* forwarded: that one */
    u64 serial;        /* as in struct command */
};

/* ON_PERSISTED. Stores are numbered by the actions that asked for them. */
struct step_persisted {
    u64 store;            /* this one and all before it are synced */
    struct entry_id last; /* the last entry of the newest DO_LOG_STORE among them; {0, 0}: none */
};

/* ON_ROOM. */
struct step_room {
    u64 bytes;       /* of records, beyond all stores asked for so far */
    u64 soon_bytes;  /* the same as soon as the log's next segment is made; not less */
    u64 piece_bytes; /* of a snapshot that is being received */
    bool no_space;   /* the disk was full when a snapshot was last written */
    u64 log_bytes;   /* that the log takes on disk */
    struct compaction_limits compaction;
};

/* ON_SETTINGS. Those of struct raft are changed between two events, and this one follows. */
struct step_settings {
    u64 leader_wait_ns;     /* how long a command waits for a leader to be known */
    u64 forward_timeout_ns; /* how long a forwarded command waits for its answer */
};

/* ON_CAMPAIGN. */
struct step_campaign {
    bool skip_pre_vote; /* as if the leader had asked for it: no pre-vote, stickiness put aside */
    const char *why;
};

struct step_event {
    enum step_event_kind kind;
    u64 now_ns;  /* monotonic; never less than in the event before */
    u64 wall_ns; /* wall clock; stamped into entries */
    union {
        const struct message *message; /* all that came from a peer */
        struct step_client client;
        bool timers_held; /* ON_TIMEOUT: a test holds the election timer, time makes no candidate */
        struct step_campaign campaign;
        server_id peer; /* ON_CONNECTED, ON_CONNECTION_LOST */
        const struct met *met;
        u64 call; /* ON_UNSENT */
        struct step_persisted persisted;
        u64 work; /* ON_APPLIED: bytes touched, beside the entries' own; UINT64_MAX: enough for now
                   */
        const struct entries_read *read; /* ON_ENTRIES_READ */
        struct step_settings settings;
        const struct piece_read *piece;     /* ON_PIECE_READ */
        const struct snapshot_point *point; /* ON_SNAPSHOT_TAKEN, ON_SNAPSHOT_RECEIVED */
        u64 order;                          /* ON_SNAPSHOT_LOST: of the file that failed */
        struct step_room room;
        const char *why; /* ON_STOP */
    } as;
};

/* "AppendEntriesReq", and a sentence about it. */
const char *step_event_word(enum step_event_kind kind);
const char *step_event_meaning(enum step_event_kind kind);

/* Whether it came from a peer, and `as.message` is in use. */
bool step_event_is_message(enum step_event_kind kind);

/* The event that this kind of message is. */
enum step_event_kind step_event_of_message(enum message_kind kind);

#endif
