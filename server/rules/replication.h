/* replication.h - AppendEntries, from both ends.
 *
 * The follower's end is one function, Figure 2's "AppendEntries RPC / Receiver implementation".
 * The leader's end is a `struct leadership`: for each peer next_index and match_index, what is on
 * its way, and when it was last heard. It lives exactly as long as the leadership.
 *
 * Flow to one peer. PROBE: where its log leaves ours is not known; one message at a time, again
 * each heartbeat. PIPELINE: it accepted; messages follow one another without waiting, up to a
 * window in bytes. A refusal, or a new connection, leads back to PROBE. A refusal of a message
 * from before the last such turn is stale: it shows that the peer is alive, and no more. SNAPSHOT:
 * it needs entries that the log has no more; install.h tells how it goes on. */
#ifndef MAILRAFT_RULES_REPLICATION_H
#define MAILRAFT_RULES_REPLICATION_H

#include "server/rules/raft.h"

/* ---- the follower ---- */

/* [AppendEntries 1-5, §5.3] Handles an APPEND_ENTRIES of the current term: recognises the leader,
 * compares, truncates on conflict only, appends what is new, advances commit_index no further than
 * the verified prefix. Fills the reply, to be sent after the entries are saved. `room_bytes`: what
 * storage can take (UINT64_MAX: no bound); more is refused with APPEND_REFUSED_SPACE before
 * anything changes.
 * Returns false when the message breaks the protocol in a way that only a bug can cause (a second
 * leader of the term, a conflict with a committed entry); `*why` says which; nothing changed. */
WARN_UNUSED bool append_entries(struct raft *raft, const struct message *request, u64 room_bytes,
                                u64 now_ns, struct message *reply, const char **why);

/* ---- the leader ---- */

enum progress_mode { PROGRESS_PROBE, PROGRESS_PIPELINE, PROGRESS_SNAPSHOT };

enum { IN_FLIGHT_MAX = 64 }; /* messages with entries on their way to one peer */

struct in_flight {
    u64 last_index; /* of the message's entries */
    u64 bytes;
};

struct progress {
    server_id id;
    enum progress_mode mode;
    u64 next_index;  /* of the next entry to send it */
    u64 match_index; /* highest entry known to be durable there; < next_index */
    u64 commit_sent; /* the leader_commit of the newest message to it */
    u64 round_sent;  /* newest confirming round that was put into a message to it */
    u64 round_acked; /* newest round it answered */
    u64 contact_ns;  /* when it last answered in this term; the leadership's start at first */
    u64 sent_ns;     /* when it was last sent anything; 0: never */
    u64 timed_call;  /* its answer shows how long a round trip takes; 0: none is timed */
    u64 timed_ns;    /* when that was sent */
    u64 trip_ns;     /* a round trip with it, rather too long than too short; 0: not known */
    u64 first_call;  /* refusals of calls before this one are stale */
    bool probe_sent; /* PROBE: one is on its way. SNAPSHOT: a piece, or a question that must be
                        answered before anything else */
    u64 reading;     /* the order (raft_order) that reads from disk what it is to get, and until
                        its result comes only heartbeats are sent; 0: there is none */
    bool gone;       /* its connection to this server has ended, and nothing was heard since */
    bool full;       /* it says that it should not be made the leader, for want of room */
    bool no_space;   /* it said its disk is full: one message a heartbeat until it accepts again */
    bool lost_acked; /* it lacks entries that it had acknowledged: only heartbeats until
                      replicate_anew */
    /* SNAPSHOT: */
    struct snapshot_name snapshot;           /* what it is being sent */
    u64 snapshot_offset;                     /* of the next piece */
    u64 snapshot_call;                       /* replies to calls before this one lead no further */
    bool snapshot_ready;                     /* it has said where to go on */
    struct in_flight flights[IN_FLIGHT_MAX]; /* ring, oldest first */
    u32 flight_first;
    u32 flight_count;
    u64 flight_bytes;
};

struct leadership {
    u64 began_ns;
    u64 uncommitted_bytes; /* of the records behind commit_index */
    u64 first_index;       /* of this term's first entry; reads wait until it is committed */
    u64 round;             /* newest confirming round that was begun */
    bool round_due;        /* reads came: the next messages carry a new round */
    u64 awake_ns;          /* when it last said so */
    u64 slept_ns;          /* since when it had not, when it last slept; 0: it never slept */
    u64 woke_ns;           /* when that sleep ended */
    u64 woke_call;         /* answers to calls before this one are of before that sleep */
    struct progress peers[SERVERS_MAX]; /* by position; the own one is unused but for its id */
    u32 count;
};

/* [Leaders 1, §8] and "Volatile state on leaders": next_index = last + 1, match_index = 0,
 * and a no-op of the new term is appended. */
void leadership_begin(struct raft *raft, struct leadership *leadership, u64 now_ns, u64 wall_ns);

/* The progress of the server with this id, or NULL when it is no other member. */
struct progress *leadership_peer(struct leadership *leadership, server_id id);

/* Appends a client's command in the current term; returns its index. [Leaders 2, §5.3] */
u64 leadership_append(struct raft *raft, struct leadership *leadership, const u8 *command, u32 size,
                      u64 wall_ns);

/* To be called once before the messages of a pile are made: begins a confirming round if one is due
 * and none is going on. Reads that come during a round share the next one, so that their number
 * does not multiply the messages; a round whose messages were lost goes out again with the
 * heartbeats. */
void leadership_begin_round(const struct raft *raft, struct leadership *leadership);

enum replicate_verdict {
    REPLICATE_NOTHING,      /* nothing to say to it now */
    REPLICATE_SEND,         /* `message` is to be sent */
    REPLICATE_READ,         /* entries from progress->next_index on are wanted from the disk */
    REPLICATE_READ_SNAPSHOT /* the piece of progress->snapshot at snapshot_offset is */
};

/* [Leaders 1, §5.2] [Leaders 3, §5.3] What to send one peer now; call again until it is NOTHING (or
 * READ, after which `reading` is set and only heartbeats follow until replicate_read_done). A
 * heartbeat is due when nothing was sent for heartbeat_ns, or a round is due. */
enum replicate_verdict replicate(struct raft *raft, struct leadership *leadership,
                                 struct progress *progress, u64 now_ns, struct message *message);

/* Whether the result of this order is still waited for: not one of an earlier leadership, whose
 * entries may be gone, nor one that the peer's needs have outrun. */
bool replicate_awaits(const struct progress *progress, u64 order);

/* The result of an order by REPLICATE_READ has come: fills a message with `count` records from
 * `first` on in `records` (a reference is taken), and returns true; false when they are no longer
 * wanted (it is not waited for, the peer's next_index moved, the log changed). count 0: the read
 * failed. */
bool replicate_read_done(struct raft *raft, struct leadership *leadership,
                         struct progress *progress, u64 order, u64 first, u32 count,
                         const struct span *records, u64 now_ns, struct message *message);

/* What was ordered by REPLICATE_READ or REPLICATE_READ_SNAPSHOT cannot be read now, but nothing is
 * known to be wrong with it: the peer gets no more than heartbeats until the next one is answered,
 * and then it is asked for again. */
void replicate_read_put_off(struct raft *raft, struct progress *progress, u64 order);

/* [Leaders 3, §5.3] Takes an APPEND_ENTRIES_REPLY of the current term. An acceptance never covers
 * more than its request did; a refusal never moves match_index. */
void replicate_reply(struct raft *raft, struct progress *progress, const struct message *reply,
                     u64 now_ns);

/* Looks again where the peer's log leaves ours, from its match_index on. */
void replicate_restart(struct raft *raft, struct progress *progress);

/* The connection from the peer has ended. Heartbeats go on and tell whether it lives; but until it
 * is heard again it is not chosen to lead. */
void replicate_disconnected(struct progress *progress);

/* A new connection to the peer: what was on its way may be lost. */
void replicate_connected(struct raft *raft, struct progress *progress);

/* What the peer holds is another log than the one we knew: it is found and brought up to date from
 * the beginning. */
void replicate_anew(struct raft *raft, struct progress *progress);

/* The time by which replicate() has something to say to some peer even if nothing happens. */
u64 leadership_next_heartbeat_ns(const struct raft *raft, const struct leadership *leadership);

/* Whether a quorum, this server included, answered within the minimal election timeout: if not, the
 * leader steps down (thesis §6.2), since it may have been deposed without hearing of it. */
bool leadership_has_quorum(const struct raft *raft, const struct leadership *leadership,
                           u64 now_ns);

/* To be called whenever a leader begins to read what has come, with the time it is then. Whoever
 * has not called it for an election timeout was asleep: its disk took that long, or it was not
 * allowed to run. What then lies in its mailbox was said before or during the sleep; that somebody
 * answered *then* does not show that it leads *now*, and it must not ignore other candidates
 * because of it. */
void leadership_note_poll(const struct raft *raft, struct leadership *leadership, u64 now_ns);

/* When the sender of an answer that is read now was certainly alive: now_ns, or, if it answers
 * something from before a sleep, the time when that began. */
u64 leadership_heard_ns(const struct leadership *leadership, const struct message *reply,
                        u64 now_ns);

/* The peer is sent the message, or has answered one: notes when, and how long answers take. */
void progress_sent(struct progress *progress, const struct message *message, u64 now_ns);
void progress_answered(struct progress *progress, const struct message *reply, u64 now_ns);

/* How long it takes to hear from a quorum, but no more than two of the longest election timeouts,
 * which also stands for "not known": a quorum has not answered yet in this leadership. */
u64 leadership_trip_ns(const struct raft *raft, const struct leadership *leadership);

/* The time at which the leader must step down if nobody answers any more: when
 * leadership_has_quorum turns false, but not before it has had a heartbeat and a round trip's time
 * to ask again after a sleep; nor in the first round trip, when nobody can have answered. */
u64 leadership_quorum_until_ns(const struct raft *raft, const struct leadership *leadership);

/* Whether the leader may take `bytes` more of uncommitted commands; an empty tail takes any one. */
bool leadership_has_room(const struct raft *raft, const struct leadership *leadership, u64 bytes);

/* ---- commit ---- */

/* [Leaders 4, §5.3, §5.4.2] Advances commit_index to the highest entry of the current term that a
 * quorum holds durably, this server by log.durable_index. Returns whether it moved. */
bool commit_advance(struct raft *raft, struct leadership *leadership);

/* ---- reads (thesis §6.4) ---- */

/* The highest round that a quorum, this server included, has answered. */
u64 reads_confirmed_round(const struct raft *raft, const struct leadership *leadership);

/* A read has come: marks a round as due, and returns the round that must be confirmed, one that is
 * begun after this call. */
u64 reads_begin(struct leadership *leadership);

/* The index that a read which comes now must see applied: commit_index, but at least this term's
 * first entry (so that it is committed), and the last entry when the reader has a write of its own
 * under way. */
u64 reads_index(const struct raft *raft, const struct leadership *leadership, bool after_write);

#endif
