/* trust.h - whether a server is the one that was met before.
 *
 * Raft stands on promises: a vote, and an acknowledged entry, are on a disk. A server whose data
 * directory was lost and made anew, or set back to an older copy, has forgotten some of its
 * promises and does not know it. If it could vote, a majority that lacks a committed entry could
 * elect a leader that lacks it too.
 *
 * So each server remembers, on its own disk, what it saw of every other one: the random id of the
 * data directory, which start of it that was, and that start's random id. A server shows these when
 * it connects, with the ids of its starts before. What does not go on from what was seen is
 * *unrecognised*: from then on its votes and its acknowledgements count in no quorum here, and it
 * gets no vote. It is still a member, and the size of a quorum stays what it was: it counts as one
 * that never answers. It is told, remembers it on its own disk, and never campaigns or votes again,
 * so that it counts nowhere, also not with those who never met it before. It goes on getting
 * entries and serves clients through the leader, until it is readmitted.
 *
 * The configuration entry names the directory of each member, once it is known (configuration.h):
 * so who is wiped is seen by everybody from the log, and what each server remembers by itself is
 * needed only for copies that were set back.
 *
 * *Whose word counts.* That a server is not recognised it believes only of one that is itself
 * recognised here, and that belongs to the same incarnation of the cluster: a stranger, or one that
 * was wiped itself, can disable nobody. One such witness is enough: a quorum of those who never met
 * the server before would affirm one another.
 *
 * *The way back* is readmission: a configuration entry that names the server's directory and start,
 * committed by a quorum without that server. It votes and counts again when its log holds that
 * entry committed, and its term is at least the entry's, with that term's vote spent: a mere reset
 * of the flag would be double voting. Why that is enough: whoever is elected later has the entry,
 * or has got no vote from the quorum that committed it; and who has the entry counts only the
 * directory and start that it names. Entries that the server had acknowledged and forgotten are in
 * the log before that entry, if they were committed. Every server sees from the log that it was
 * readmitted, and from what it says (`readmitted`) that it has come so far.
 *
 * What cannot be seen:
 * - A server that nobody who is alive ever met, or that was met only by servers that have lost
 *   their own memory of it: to them it is new, as all are at the beginning.
 * - An older copy that was made during the very start that was last seen, and put back after it:
 *   it goes on as if that start had ended when the copy was made. Only a leader that still knows
 *   what the server had acknowledged sees that entries are missing (replicate_reply), and then it
 *   tells. A copy of a directory in use is no backup. While the server itself runs, such a copy is
 *   refused beside it (peers/handshake.c).
 * - More than IDENTITY_STARTS starts without a meeting: then only the count of starts is compared.
 *
 * Rejected: to believe a new directory once its log has caught up. The entries would be there
 * again, but not the votes, nor what it had acknowledged to a leader that is gone.
 *
 * Thread: as raft.h. */
#ifndef MAILRAFT_RULES_TRUST_H
#define MAILRAFT_RULES_TRUST_H

#include "server/rules/raft.h"

/* The judgement alone: what was believed against what is shown. */
enum distrust trust_judge(const struct known_peer *met, const struct identity *shown);

/* What a meeting has led to. */
struct meeting {
    enum distrust distrust;
    bool remember; /* `met` has changed, and must be on disk before anything of the peer is read */
    bool changed;  /* the verdict is another than before, or what it is about: worth a line */
    bool anew;     /* what is known of the peer's log is of another directory: replicate_anew */
};

/* A peer has connected and shows this. To be called before any message of that connection. */
struct meeting trust_meet(struct raft *raft, server_id peer, const struct identity *shown);

/* The peer has said, with a vote or an acknowledgement, through which readmission it has come:
 * perhaps it counts from now on. */
struct meeting trust_heard(struct raft *raft, server_id peer, u64 readmitted);

/* The configuration is another one: judges everybody anew. */
void trust_reconsider(struct raft *raft);
/* What that has changed, one server after the other; false when nothing is left. `meeting` is as
 * after a meeting. */
bool trust_next_change(struct raft *raft, server_id *peer, struct meeting *meeting);

enum own_standing {
    STANDING_SAME,
    STANDING_OTHER_DIRECTORY, /* the configuration names another directory than this server's: it
                                 may not vote from now on */
    STANDING_JOINED,    /* the cluster's incarnation is in the log now, and is this server's */
    STANDING_READMITTED /* this server votes and counts again */
};
/* To be called when more is committed, until it says STANDING_SAME: what a committed configuration
 * says of others is believed (trust_next_change tells), and what it says of this very server has
 * changed raft->trust.own, and with STANDING_READMITTED perhaps the vote. That must be on disk
 * before it speaks. */
enum own_standing trust_settle(struct raft *raft);
/* Whether trust_settle or trust_next_change has something to say. Cheap. */
static inline bool trust_is_settled(const struct trust *trust, const struct configuration *newest,
                                    u64 commit_index)
{
    return trust->changed == 0 && (newest->index <= trust->settled || newest->index > commit_index);
}

/* The peer lacks entries that it had acknowledged (replicate_reply), or says of itself that it is
 * unrecognised (`distrust` is DISTRUST_LOST_ENTRIES or DISTRUST_TOLD). */
struct meeting trust_lost(struct raft *raft, server_id peer, enum distrust distrust);

/* What is remembered of it, or NULL. */
const struct known_peer *trust_known_peer(const struct raft *raft, server_id peer);

/* Whether this server may vote and campaign, as far as it knows itself: nobody has told it
 * otherwise, and the newest configuration in its log names its directory, with no readmission that
 * it has not fulfilled. */
bool trust_may_vote(const struct raft *raft);

/* Whether its votes and acknowledgements count. True for who was never met. */
bool trust_counts(const struct raft *raft, server_id peer);

/* As quorum() and quorum_value(), but who is distrusted is as one who never answered. */
bool trust_quorum(const struct raft *raft, member_set set);
u64 trust_quorum_value(const struct raft *raft, const u64 *values);

/* Whether the peer is to be told now that it is not recognised, and then the message. It is told
 * again, no more often than heartbeats go out, as long as it speaks as if it did not know. */
bool trust_tell(struct raft *raft, server_id peer, u64 now_ns, struct message *message);
/* It met us anew, or we it: it is to be told at the next occasion. */
void trust_tell_again(struct raft *raft, server_id peer);

/* An UNRECOGNISED has come. Returns whether it counts, and this server is what it is about and did
 * not know: from now on it may not vote (raft->trust.own.non_voter), which must be on disk before
 * it speaks. */
bool trust_unrecognised(struct raft *raft, const struct message *message);

/* ---- clusters ---- */

/* What two servers of one cluster id are to each other. */
enum kinship {
    KIN,               /* they belong to one cluster */
    KIN_OTHER_CLUSTER, /* they were founded apart: nothing of either may count at the other */
    KIN_NOT_MET,    /* it is of a cluster made before there were incarnations, and its directory is
                       none of this cluster's, nor has it joined through one of them */
    KIN_WE_JOIN,    /* this one is blank, and joins the other's cluster before it says more */
    KIN_IT_JOINS,   /* the same the other way round */
    KIN_BOTH_BLANK, /* neither belongs to a cluster: nobody has founded one */
    KIN_TOO_OLD     /* its program does not know what the cluster's log may hold */
};

/* What a configuration says of its members' directories. */
struct kin {
    u32 feature; /* the level in force */
    u32 count;
    struct {
        server_id id;
        u64 directory_id; /* 0: it names none */
    } members[SERVERS_MAX];
};

void kin_take(struct kin *kin, const struct configuration *configuration);

/* `own` against what `peer` shows. */
enum kinship kinship_judge(const struct identity *own, const struct kin *kin, server_id peer,
                           const struct identity *shown);

#endif
