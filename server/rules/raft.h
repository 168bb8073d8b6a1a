/* raft.h - Figure 2's "State" box for one server, and the first rule: terms.
 *
 * All designs hold one `struct raft`. What belongs to a candidate or a leader only is not here: it
 * is an `election` (election.h) or a `leadership` (replication.h), kept by whoever is in that
 * state. Rules change what they are handed, mark what must reach the disk before anything is
 * promised (metadata_unsaved, log.unsaved_index), and fill a verdict. They never wait, send, read
 * a clock, or ask which design calls.
 *
 * Thread: the one that runs the server's rules (the server thread, or whoever holds the dispatch
 * design's lock). */
#ifndef MAILRAFT_RULES_RAFT_H
#define MAILRAFT_RULES_RAFT_H

#include "server/rules/configuration.h"
#include "server/rules/identity.h"
#include "server/rules/log.h"
#include "server/rules/message.h"
#include "server/rules/rule.h"
#include "server/rules/streams.h"

/* X(NAME, word). The states a server can be in; the first is before and the last after Raft. */
enum raft_state { RAFT_FOLLOWER, RAFT_CANDIDATE, RAFT_LEADER, RAFT_STOPPED };

const char *raft_state_word(enum raft_state state);

/* A snapshot: which entries it stands for, and its file, which is the same for whoever holds it. */
struct snapshot_name {
    struct entry_id last; /* lastIncludedTerm and lastIncludedIndex; {0, 0}: there is none */
    u64 size;             /* bytes of the file */
    u32 checksum;         /* of the file */
};

/* Whether they name the same bytes. */
static inline bool snapshot_names_are_equal(const struct snapshot_name *a,
                                            const struct snapshot_name *b)
{
    return a->last.index == b->last.index && a->last.term == b->last.term && a->size == b->size &&
           a->checksum == b->checksum;
}

/* The snapshot that a leader is sending to this server. */
struct incoming_snapshot {
    struct snapshot_name name; /* last {0, 0}: none */
    u64 order;                 /* of the job that writes it down (raft_order) */
    u64 received;              /* bytes of it, from the beginning, that were taken */
};

/* What was answered to a candidate's requests. It outlives the single try (election.h): where a
 * round trip takes longer than a try, its answers come during the next one. */
struct ballot {
    u64 term;             /* the votes are for this server, in this term; 0: there are none */
    member_set votes;     /* by position in the configuration, its own included */
    u64 votes_call;       /* they answer calls from this one on */
    member_set pre_votes; /* who would vote for it in the term after current_term */
    u64 pre_votes_call;   /* the same */
    u64 pre_votes_ns;     /* when the first of these tries began; 0: there are none */
};

enum {
    ROOM_TO_LEAD = 4096 /* bytes of records: whose disk has less could hardly take any command */
};

/* The configurations that the newest one replaced, oldest first (lineage.h). */
struct lineage {
    struct configuration *earlier;
    u32 count;
    u32 capacity;
};

struct raft {
    server_id self;

    /* Persistent state on all servers. */
    u64 current_term;    /* latest term this server has seen; never falls */
    server_id voted_for; /* who got this server's vote in current_term; SERVER_NONE: nobody */
    struct log log;
    bool metadata_unsaved; /* current_term or voted_for differ from the disk */

    /* Volatile state on all servers. */
    u64 commit_index; /* highest entry known to be committed; never falls */
    u64 last_applied; /* highest entry applied to the machine; <= commit_index */

    struct configuration configuration; /* the newest in the log, committed or not (§6) */
    struct lineage lineage;             /* what may come into force again */
    bool configuration_complete;        /* configuration_is_complete(), kept with it */
    struct snapshot_name snapshot;      /* the newest one on this server's disk (§7) */
    bool snapshot_unusable; /* its file is damaged or gone, so that another is to be taken */
    struct incoming_snapshot incoming;

    /* The log once held entries through here, and this server may have promised so; its disk has
     * lost some of them. Until its log is as up to date again it does not campaign, and its vote
     * goes by this. {0, 0}: nothing is missing. Persistent (storage.h). */
    struct entry_id acked_through;

    struct ballot ballot;
    u32 campaigns; /* terms that it has campaigned in since a leader was last heard */

    struct trust trust; /* who of the others is recognised; persistent in part (trust.h) */

    server_id leader;       /* of current_term; SERVER_NONE: not known */
    u64 leader_heard_ns;    /* when the leader was last heard; 0: never, or its connection ended */
    server_id gone_leader;  /* the last leader whose connection to us ended */
    u64 leader_gone_ns;     /* when it did; 0: a leader was heard since then */
    u64 next_call;          /* number for the next request; 1 and up */
    u64 newest_order;       /* number of the newest order to a job; 0: none yet */
    struct streams streams; /* what it has taken of others' writes, when it last led */

    /* The disk, looked at between messages. */
    u64 room_bytes; /* of records that it can take before it is full; UINT64_MAX: not known */

    /* Settings, changed only between messages. */
    u64 election_timeout_ns_min; /* §5.2; also how long stickiness lasts */
    u64 election_timeout_ns_max;
    u64 heartbeat_ns;
    u64 message_bytes_max;     /* records in one AppendEntries, but at least one entry */
    u64 window_bytes_max;      /* unacknowledged records on their way to one peer */
    u64 round_bytes_max;       /* mail taken in, and entries applied, before it looks up again */
    u64 uncommitted_bytes_max; /* of a leader's log tail; above it new commands are refused */
    u64 room_bytes_min;        /* with less room a server should not be made the leader */
    bool no_op_at_start;       /* append a no-op when a term begins (§8); only raftpipe does not */
};

void raft_init(struct raft *raft, server_id self, u64 log_memory_bytes_max);
void raft_deinit(struct raft *raft);

/* What a message's term asks of its receiver. */
enum term_verdict {
    TERM_CURRENT, /* go on: handle the message in this state */
    TERM_STALE,   /* the sender's term is over: refuse a request (raft_refuse), drop a reply */
    TERM_NEWER,   /* adopt the term, become follower, then handle the message there */
    TERM_IGNORE   /* a candidate that is not to be listened to: refuse, do not adopt its term */
};

/* [All Servers 2, §5.1] and the two exceptions that keep a healthy cluster undisturbed: pre-votes
 * and their grants never raise a term (thesis §9.6), and who hears a leader ignores candidates
 * (thesis §4.2.3), unless leadership was handed over; nor does one that is not recognised (trust.h)
 * depose anybody. `hears_leader`: a follower heard its leader
 * within the minimal election timeout (raft_hears_leader); a leader is in contact with a quorum
 * (leadership_has_quorum). */
enum term_verdict check_term(const struct raft *raft, const struct message *message,
                             bool hears_leader);

/* [All Servers 2, §5.1] current_term = term (> current_term), the vote free, no leader known. */
void adopt_term(struct raft *raft, u64 term);

/* Whether a follower has heard from a leader of its term within the minimal election timeout. */
bool raft_hears_leader(const struct raft *raft, u64 now_ns);

/* Fills the refusal of a request that is stale or ignored: same call, our term, "no". ASSERTs that
 * `request` is a request that has a reply. */
void raft_refuse(struct raft *raft, const struct message *request, struct message *reply);

/* Starts a message to `to` in the current term; a reply copies the call of `request` (NULL: a new
 * call is taken). The body is left zero. */
void raft_message(struct raft *raft, enum message_kind kind, server_id to,
                  const struct message *request, struct message *message);

/* A number for an order to a job (a read, a snapshot), unlike all others of this server's life. The
 * job's result repeats it. Jobs take their time, and what they were ordered for may be over by
 * then: the leadership, the peer's need, the log that held the entries, the file that was begun. So
 * whoever waits for a result keeps the number, forgets it with the reason for the order, and heeds
 * no result but that one's. */
u64 raft_order(struct raft *raft);

/* The last entry that this server's vote goes by: its log's, or what it has promised to hold. */
struct entry_id raft_last_acked(const struct raft *raft);

/* Whether the durable log, or the snapshot, has caught up with what was promised: then the promise
 * is to be forgotten, here and on disk. */
bool raft_is_repaired(const struct raft *raft);

/* Whether this server may campaign: it is a voter of a configuration (which a blank directory has
 * none of), its log lacks nothing that it promised to hold, its disk has ROOM_TO_LEAD, and the
 * others recognise it. */
bool raft_may_campaign(const struct raft *raft);

/* Whether the disk is so full that leadership is better given to somebody else. */
bool raft_is_full(const struct raft *raft);

#endif
