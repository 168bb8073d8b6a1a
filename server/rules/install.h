/* install.h - InstallSnapshot, from both ends (§7, Figure 13).
 *
 * A follower that needs entries which the leader's log has no more gets the leader's newest
 * snapshot, as the bytes of its file, piece by piece. One piece is on its way to a peer at a time;
 * each reply says which byte is wanted next, so a lost message or connection costs one piece, and a
 * message without a piece asks where to go on. These messages stand for heartbeats meanwhile.
 *
 * The follower's part of the file is named by the snapshot's last entry, size and checksum. Another
 * name begins another file; the same one goes on where it was, whoever leads by then.
 *
 * The leader does not read its file to the end before it sends it; should the disk have damaged it,
 * then the follower finds out, and refuses the whole. The leader sees that by the next byte wanted,
 * the first again, and sends nothing more of this file: it takes a new snapshot, in place of the
 * damaged one or behind it. Perhaps it was the follower's disk that failed, or the follower has
 * begun anew just then: that costs a snapshot for nothing, and no more. */
#ifndef MAILRAFT_RULES_INSTALL_H
#define MAILRAFT_RULES_INSTALL_H

#include "server/rules/replication.h"

/* ---- the follower ---- */

enum install_verdict {
    INSTALL_NOTHING, /* only the reply */
    INSTALL_TAKE     /* the message's piece is the next one of raft->incoming: write it down. At
                        offset 0 a new file begins; at the file's end it is complete, and is to be
                        verified, loaded, and told by install_swap_state */
};

/* [InstallSnapshot 2-5, §7] Handles an INSTALL_SNAPSHOT of the current term: recognises the leader,
 * and says what is to become of the piece. `room_bytes`: how much the writer of the file can take
 * now; `no_space`: the disk was full when it last tried. Returns false when the message breaks the
 * protocol in a way that only a bug can cause; `*why` says which; nothing changed. */
WARN_UNUSED bool install_receive_chunk(struct raft *raft, const struct message *request,
                                       u64 room_bytes, bool no_space, u64 now_ns,
                                       struct message *reply, enum install_verdict *verdict,
                                       const char **why);

/* The file that this order writes down (raft->incoming.order) could not be written, or was not what
 * its name says: it begins anew. One that has been given up since is nobody's loss. */
void install_failed(struct raft *raft, u64 order);

/* A snapshot that is on this server's disk, as it stands in its head. */
struct snapshot_point {
    struct snapshot_name name;
    u64 time_ns; /* of the last entry */
    struct configuration configuration;
};

enum installed {
    INSTALLED_OLD,       /* the server knows more by now: its machine is not to be touched */
    INSTALLED_KEEPS_LOG, /* its log goes on behind the snapshot; the machine is replaced */
    INSTALLED_RESETS_LOG /* its log is gone; so it must be on disk, before anything else is */
};

/* [InstallSnapshot 6-8, §7] The snapshot is on disk, and a machine has been made from it. */
enum installed install_swap_state(struct raft *raft, const struct snapshot_point *point);

/* The server has taken a snapshot of its own. Whatever was wrong with the file before is over. */
void snapshot_taken(struct raft *raft, const struct snapshot_point *point);

/* ---- the leader ---- */

/* Begins, or begins anew, to send the peer the newest snapshot. */
void install_begin(struct raft *raft, struct progress *progress);

/* A new connection to the peer: it is asked where to go on. */
void install_ask_again(struct raft *raft, struct progress *progress);

/* What is to be sent cannot be had now: it is tried again when the next heartbeat is answered. */
void install_wait_for_heartbeat(struct raft *raft, struct progress *progress);

/* As replicate() for a peer in PROGRESS_SNAPSHOT. */
enum replicate_verdict install_replicate(struct raft *raft, struct leadership *leadership,
                                         struct progress *progress, u64 now_ns,
                                         struct message *message);

/* The result of an order by REPLICATE_READ_SNAPSHOT has come: fills a message with the piece (a
 * reference is taken) and returns true; false when it is not wanted any more. An empty piece: it
 * could not be read; the newest snapshot is begun with, if it is another, and else a new one is to
 * be taken. */
WARN_UNUSED bool install_read_done(struct raft *raft, struct leadership *leadership,
                                   struct progress *progress, u64 order, u64 offset,
                                   const struct span *piece, u64 now_ns, struct message *message);

/* Takes an INSTALL_SNAPSHOT_REPLY of the current term. */
void install_reply(struct raft *raft, struct progress *progress, const struct message *reply,
                   u64 now_ns);

/* ---- compaction (§7) ---- */

struct compaction_limits {
    u64 trailing_entries; /* kept behind the snapshot, for those who lag a little */
    u64 lagging_bytes;    /* a log that is larger waits for nobody */
};

/* Whether a log that holds a snapshot's entries may forget some now, and through which index; 0:
 * none. `leadership` is NULL in other states: a leader keeps what the peers in contact with it are
 * about to be sent. `log_bytes`: of the log on disk. */
u64 compaction_index(const struct raft *raft, const struct leadership *leadership,
                     const struct compaction_limits *limits, u64 log_bytes, u64 now_ns);

/* Whether a peer is being sent this snapshot, so that its file must stay. */
bool install_uses(const struct leadership *leadership, struct entry_id last);

#endif
