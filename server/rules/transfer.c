/* transfer.c - see transfer.h. */
#include "server/rules/transfer.h"

#include <stdio.h>

#include "server/rules/trust.h"

enum {
    /* After an attempt of its own that came to nothing, a leader without room waits this many
     * election timeouts: room is made by people, and not in milliseconds. */
    REST_TIMEOUTS = 20,
    /* And leadership that has just come does not go on at once: it might go in circles. */
    YOUNG_TIMEOUTS = 4,
    /* What an election timeout does not count: the target gets what it lacks and says so, is told,
     * asks for votes, and says that it leads. That makes three; one more is for what is lost. */
    HAND_OVER_TRIPS = 4
};

void transfer_describe(enum transfer_result result, server_id who, char *text, size_t size)
{
    int written = 0;
    switch (result) {
#define X(name, format)                              \
    case name:                                       \
        written = snprintf(text, size, format, who); \
        break;
        TRANSFER_RESULTS(X)
#undef X
    }
    ASSERT(written >= 0 && (size_t)written < size);
}

const char transfer_words_no_room[] =
    "there is no room on this server's disk, so leadership is handed over to that one";

const char *transfer_words_given_up(enum transfer_result result)
{
    switch ((int)result) {
    case TRANSFER_LAGS:
        return "leadership was not handed over: it did not catch up in time; this server leads on";
    case TRANSFER_GONE:
        return "leadership was not handed over: its connection has ended; this server leads on";
    default:
        return "leadership was not handed over: it did not take over in time; this server leads on";
    }
}

bool transfer_may_succeed_later(enum transfer_result result)
{
    switch (result) {
    case TRANSFER_DOWN:
    case TRANSFER_GONE:
    case TRANSFER_FULL:
    case TRANSFER_LAGS:
    case TRANSFER_NOBODY:
    case TRANSFER_BUSY:
    case TRANSFER_FAILED:
        return true;
    /* It goes on, or came to its end; no server, or none that may ever lead here; another leads. */
    case TRANSFER_BEGUN:
    case TRANSFER_DONE:
    case TRANSFER_UNKNOWN:
    case TRANSFER_NO_VOTER:
    case TRANSFER_SET_BACK:
    case TRANSFER_OTHER:
    case TRANSFER_NOT_LEADER:
    case TRANSFER_NO_LEADER:
    case TRANSFER_OPEN:
    /* Not of this order. */
    case READMIT_NO_MEMBER:
    case READMIT_RECOGNISED:
    case READMIT_AGAIN:
    case READMIT_NOT_MET:
    case READMIT_EARLIER_START:
    case READMIT_WAIT:
    case READMIT_TOO_OLD:
        return false;
    }
    UNREACHABLE();
}

void transfer_init(struct transfer *transfer)
{
    *transfer = (struct transfer){.target = SERVER_NONE};
}

bool transfer_goes_on(const struct transfer *transfer)
{
    return transfer->target != SERVER_NONE;
}

bool transfer_is_told(const struct transfer *transfer)
{
    return transfer_goes_on(transfer) && transfer->told_ns != 0;
}

/* ---- to whom ---- */

static const struct progress *find_peer(const struct leadership *leadership, server_id id)
{
    for (u32 position = 0; position < leadership->count; position++) {
        if (leadership->peers[position].id == id)
            return &leadership->peers[position];
    }
    return NULL;
}

/* Whether what the peer needs next lies in memory, so that it can be there in time. */
static bool can_catch_up(const struct raft *raft, const struct progress *progress)
{
    return progress->reading == 0 && (progress->next_index > raft->log.last_index ||
                                      log_in_memory(&raft->log, progress->next_index));
}

/* TRANSFER_BEGUN: it could lead. */
static enum transfer_result judge(const struct raft *raft, const struct leadership *leadership,
                                  server_id id, u64 now_ns)
{
    const struct progress *progress = find_peer(leadership, id);
    if (progress == NULL)
        return TRANSFER_UNKNOWN;
    if (!configuration_is_voter(&raft->configuration, id))
        return TRANSFER_NO_VOTER;
    if (now_ns >= progress->contact_ns + raft->election_timeout_ns_min)
        return TRANSFER_DOWN;
    if (progress->gone)
        return TRANSFER_GONE;
    if (progress->lost_acked || !trust_counts(raft, id))
        return TRANSFER_SET_BACK;
    if (progress->no_space || progress->full)
        return TRANSFER_FULL;
    return can_catch_up(raft, progress) ? TRANSFER_BEGUN : TRANSFER_LAGS;
}

server_id transfer_choose(const struct raft *raft, const struct leadership *leadership, u64 now_ns)
{
    const struct progress *best = NULL;
    for (u32 position = 0; position < leadership->count; position++) {
        const struct progress *progress = &leadership->peers[position];
        if (progress->id == raft->self ||
            judge(raft, leadership, progress->id, now_ns) != TRANSFER_BEGUN)
            continue;
        if (best == NULL || progress->match_index > best->match_index)
            best = progress;
    }
    return best != NULL ? best->id : SERVER_NONE;
}

/* ---- its life ---- */

/* How long the messages of handing over to this peer take, the slower of it and a quorum. */
static u64 way_ns(const struct raft *raft, const struct leadership *leadership, server_id target)
{
    const struct progress *progress = find_peer(leadership, target);
    ASSERT(progress != NULL);
    u64 trip_ns = u64_max(progress->trip_ns, leadership_trip_ns(raft, leadership));
    return HAND_OVER_TRIPS * u64_min(trip_ns, raft->election_timeout_ns_max);
}

enum transfer_result transfer_begin(const struct raft *raft, const struct leadership *leadership,
                                    struct transfer *transfer, server_id target, u64 now_ns,
                                    server_id *who)
{
    ASSERT(target != raft->self);
    *who = transfer->target;
    if (transfer_goes_on(transfer))
        return TRANSFER_BUSY;
    *who = target != SERVER_NONE ? target : transfer_choose(raft, leadership, now_ns);
    if (*who == SERVER_NONE) {
        *who = raft->self;
        return TRANSFER_NOBODY;
    }
    enum transfer_result result = judge(raft, leadership, *who, now_ns);
    if (result != TRANSFER_BEGUN)
        return result;
    transfer->target = *who;
    transfer->deadline_ns = now_ns + raft->election_timeout_ns_min + way_ns(raft, leadership, *who);
    transfer->told_ns = 0;
    return TRANSFER_BEGUN;
}

bool transfer_without_room(const struct raft *raft, const struct leadership *leadership,
                           struct transfer *transfer, bool refused, u64 now_ns)
{
    server_id who;
    if (!refused && !raft_is_full(raft))
        return false;
    u64 settled_ns = leadership->began_ns + YOUNG_TIMEOUTS * raft->election_timeout_ns_min;
    if (transfer_goes_on(transfer) || now_ns < u64_max(transfer->rests_ns, settled_ns) ||
        transfer_choose(raft, leadership, now_ns) == SERVER_NONE)
        return false;
    transfer->rests_ns = now_ns + REST_TIMEOUTS * raft->election_timeout_ns_min;
    return transfer_begin(raft, leadership, transfer, SERVER_NONE, now_ns, &who) == TRANSFER_BEGUN;
}

/* Whether the target has all there is. So must a quorum, and this server's machine: that is not
 * needed for the election, but whose write is committed and applied by this leader is answered, and
 * is not told that its outcome is unknown. */
static bool is_ready(const struct raft *raft, const struct progress *progress)
{
    u64 last_index = raft->log.last_index;
    return progress != NULL && progress->match_index == last_index &&
           raft->commit_index == last_index && raft->last_applied == last_index;
}

enum transfer_verdict transfer_go_on(struct raft *raft, struct leadership *leadership,
                                     struct transfer *transfer, u64 now_ns, struct message *message,
                                     enum transfer_result *result, server_id *who)
{
    if (!transfer_goes_on(transfer))
        return TRANSFER_WAIT;
    const struct progress *progress = find_peer(leadership, transfer->target);
    /* Whose connection ends before it was told will not take over. Once it was told it campaigns,
     * and may have ended the connection for that. */
    bool lost = progress == NULL || (progress->gone && transfer->told_ns == 0);
    if (lost || now_ns >= transfer->deadline_ns) {
        *who = transfer->target;
        *result = transfer->told_ns != 0            ? TRANSFER_FAILED
                  : now_ns >= transfer->deadline_ns ? TRANSFER_LAGS
                                                    : TRANSFER_GONE;
        transfer->target = SERVER_NONE;
        return TRANSFER_GIVEN_UP;
    }
    (void)commit_advance(raft, leadership);
    /* It is told again with the heartbeats: the message may be lost, and twice does no harm. */
    bool due = transfer->told_ns == 0 || now_ns >= transfer->told_ns + raft->heartbeat_ns;
    if (!is_ready(raft, progress) || !due)
        return TRANSFER_WAIT;
    transfer->told_ns = now_ns;
    raft_message(raft, MESSAGE_TIMEOUT_NOW, transfer->target, NULL, message);
    return TRANSFER_SEND;
}

u64 transfer_next_ns(const struct raft *raft, const struct leadership *leadership,
                     const struct transfer *transfer)
{
    if (!transfer_goes_on(transfer))
        return UINT64_MAX;
    /* A target that was told may be behind again: its disk may have lost what it had. */
    if (!is_ready(raft, find_peer(leadership, transfer->target)))
        return transfer->deadline_ns;
    u64 due_ns = transfer->told_ns != 0 ? transfer->told_ns + raft->heartbeat_ns : 0;
    return u64_min(transfer->deadline_ns, due_ns);
}

enum transfer_result transfer_conclude(const struct raft *raft, server_id target, server_id *who)
{
    bool begun = target != SERVER_NONE;
    *who = raft->leader;
    if (raft->leader == SERVER_NONE) {
        *who = begun ? target : raft->self;
        return begun ? TRANSFER_OPEN : TRANSFER_NO_LEADER;
    }
    if (!begun)
        return TRANSFER_NOT_LEADER;
    return raft->leader == target ? TRANSFER_DONE : TRANSFER_OTHER;
}
