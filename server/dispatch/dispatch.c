/* dispatch.c - the lock, the group commit, and the thread that runs the timers. */
#include "server/dispatch/dispatch.h"

#include "common/clock.h"
#include "common/memory.h"
#include "server/replica/flush.h"
#include "server/replica/persist.h"
#include "server/replica/round.h"
#include "server/replica/votes.h"
#include "server/service/follow.h"
#include "server/service/lead.h"

enum {
    /* The flush is left to the next handler at most this often: however many threads come and go,
     * none waits for its answer for ever. */
    UNFLUSHED_MAX = 64
};

/* Whoever must not wait for long for the lock looks that often whether its holder has stalled. */
#define STALL_LOOK_NS (50 * NS_PER_MS)

/* The timers' thread looks that often whether a flush that was left to others was done. */
#define LEFT_LOOK_NS (5 * NS_PER_MS)

static struct leader_pending *lead_of(struct dispatch *dispatch)
{
    return dispatch->server->state == RAFT_LEADER ? &dispatch->lead : NULL;
}

/* What this state has to say to others at the end of a batch of messages. */
static void stage(struct dispatch *dispatch)
{
    struct server *server = dispatch->server;
    switch (server->state) {
    case RAFT_FOLLOWER:
        follow_forward(server, &dispatch->forwarding, dispatch->now_ns);
        return;
    case RAFT_LEADER:
        lead_hand_over(server, &dispatch->lead, dispatch->now_ns);
        lead_replicate(server, &dispatch->lead, dispatch->now_ns);
        return;
    case RAFT_CANDIDATE:
    case RAFT_STOPPED:
        return;
    }
}

/* Whether what was saved and applied has consequences: a vote of one's own counts only when it is
 * on disk, a leader that has just been elected has something to say, leadership is handed over
 * when all is applied, and taken over when all that was forwarded is answered. */
static bool goes_on(struct dispatch *dispatch)
{
    const struct server *server = dispatch->server;
    switch (server->state) {
    case RAFT_FOLLOWER:
        if (!forwarding_settle(&dispatch->forwarding, dispatch->now_ns) ||
            !raft_may_campaign(&server->raft))
            return false;
        dispatch_campaign(dispatch, true, "leadership was handed over");
        return true;
    case RAFT_CANDIDATE:
        return dispatch_count_votes(dispatch);
    case RAFT_LEADER:
        return lead_must_hand_over(server, &dispatch->lead, dispatch->now_ns);
    case RAFT_STOPPED:
        return false;
    }
    UNREACHABLE();
}

/* Saves and speaks, until that has no consequences any more. */
static void flush(struct dispatch *dispatch)
{
    struct server *server = dispatch->server;
    dispatch->unflushed = 0;
    dispatch->unflushed_bytes = 0;
    dispatch->flush_left = false;
    do {
        stage(dispatch);
        if (!server_flush(server, lead_of(dispatch)))
            dispatch_become(dispatch, RAFT_STOPPED, "the disk failed");
        /* [Candidates 1, §5.2] "Reset election timer": the requests are out only now. */
        if (dispatch->election_begins) {
            u64 begun_ns = clock_monotonic_ns();
            dispatch->deadline_ns =
                election_candidate_deadline_ns(&server->raft, &server->rng, begun_ns);
            votes_tell_timeout(server, begun_ns, dispatch->deadline_ns);
        }
        dispatch->election_begins = false;
    } while (goes_on(dispatch));
    if (server->state == RAFT_LEADER)
        lead_begin_pile(server, &dispatch->lead);
}

/* Whether somebody waits for the lock who will flush for all: there is room for more in this round.
 */
static bool others_will_flush(struct dispatch *dispatch)
{
    return atomic_load(&dispatch->waiting) > 0 && dispatch->unflushed < UNFLUSHED_MAX &&
           dispatch->unflushed_bytes < dispatch->server->raft.round_bytes_max;
}

/* The end of whatever was done under the lock. `may_block`: this thread may wait for the disk. */
static void finish(struct dispatch *dispatch, bool may_block)
{
    dispatch->unflushed++;
    /* Who comes behind the stop does nothing any more: the timers' thread must hear of it now. */
    if (dispatch->server->state != RAFT_STOPPED && others_will_flush(dispatch)) {
        server_pause_round(dispatch->server);
        return; /* they end the round, too */
    }
    if (!may_block && server_must_save(dispatch->server)) {
        dispatch->flush_left = true;
        server_pause_round(dispatch->server);
        condition_broadcast(&dispatch->changed);
        return; /* so does the timers' thread */
    }
    /* Whoever has stopped says no more: as in a loop that is left, what was staged is dropped. */
    if (dispatch->server->state != RAFT_STOPPED)
        flush(dispatch);
    votes_mind_settings(dispatch->server, &dispatch->deadline_ns, dispatch->now_ns);
    if (dispatch_next_deadline_ns(dispatch) < dispatch->armed_ns ||
        dispatch->server->state == RAFT_STOPPED)
        condition_broadcast(&dispatch->changed);
    server_end_round(dispatch->server);
}

static void tell_time(struct dispatch *dispatch)
{
    dispatch->now_ns = server_begin_round(dispatch->server);
    if (dispatch->server->state == RAFT_LEADER)
        leadership_note_poll(&dispatch->server->raft, &dispatch->lead.leadership, dispatch->now_ns);
}

/* ---- the slot ---- */

/* With the lock held, which is given back. Consumes the mail; returns whether it was taken. */
static bool handle(struct dispatch *dispatch, struct mail *mail, bool may_block)
    RELEASES(dispatch->lock)
{
    while (!dispatch->running && !dispatch->stopped)
        condition_wait(&dispatch->changed, &dispatch->lock);
    bool taken = !dispatch->stopped && dispatch->server->state != RAFT_STOPPED;
    if (taken) {
        tell_time(dispatch);
        server_open_mail(dispatch->server, mail);
        dispatch->unflushed_bytes += mail_weigh(mail);
        dispatch_handle(dispatch, mail);
    }
    mail_destroy(mail);
    if (taken)
        finish(dispatch, may_block);
    mutex_unlock(&dispatch->lock);
    return taken;
}

static bool slot_post(struct mail_slot *slot, struct mail *mail)
{
    struct dispatch *dispatch = CONTAINER_OF(slot, struct dispatch, slot);
    atomic_fetch_add(&dispatch->waiting, 1);
    mutex_lock(&dispatch->lock);
    atomic_fetch_sub(&dispatch->waiting, 1);
    return handle(dispatch, mail, true);
}

/* Until when the timers' thread sleeps. Who gives up waiting for a lock whose holder has stalled
 * has no lock to wake it under: the word may come between this thread's look and its sleep, and is
 * lost then. So it sleeps for a moment only while something is left to others. */
static u64 sleep_until_ns(const struct dispatch *dispatch)
{
    if (dispatch->unflushed == 0)
        return dispatch->armed_ns;
    return u64_min(dispatch->armed_ns, clock_monotonic_ns() + LEFT_LOOK_NS);
}

/* Takes the lock, or returns false when whoever has it has stalled. */
static bool lock_unless_stalled(struct dispatch *dispatch)
    SYNC_ATTRIBUTE(try_acquire_capability(true, dispatch->lock))
{
    while (!mutex_lock_for(&dispatch->lock, STALL_LOOK_NS)) {
        if (liveness_stalled_ns(&dispatch->server->liveness) != 0)
            return false;
    }
    return true;
}

/* A handler has no box that could be full: it takes what comes, one message a thread at a time. But
 * whoever must not wait does not wait for the disk, nor for a thread that has the lock and has
 * stalled. */
static bool slot_try_post(struct mail_slot *slot, struct mail *mail)
{
    struct dispatch *dispatch = CONTAINER_OF(slot, struct dispatch, slot);
    atomic_fetch_add(&dispatch->waiting, 1);
    if (!lock_unless_stalled(dispatch)) {
        atomic_fetch_sub(&dispatch->waiting, 1);
        /* Somebody may have left the flush to this thread: then the timers' does it, now or when it
         * looks (sleep_until_ns). */
        condition_broadcast(&dispatch->changed);
        return false;
    }
    atomic_fetch_sub(&dispatch->waiting, 1);
    (void)handle(dispatch, mail, false);
    return true;
}

static const struct mail_slot_ops slot_ops = {slot_post, slot_try_post};

/* ---- life ---- */

/* The follower's FORWARD could not be sent. */
static void forward_unsent(void *context, u64 call)
{
    struct dispatch *dispatch = context;
    follow_forward_unsent(dispatch->server, &dispatch->forwarding, call);
}

struct dispatch *dispatch_of(const struct server *server)
{
    return server->kept;
}

static void create(struct server *server)
{
    struct dispatch *dispatch = memory_alloc_zero(1, sizeof(*dispatch));
    server->kept = dispatch;
    dispatch->slot.ops = &slot_ops;
    dispatch->server = server;
    mutex_init(&dispatch->lock);
    condition_init(&dispatch->changed);
    forwarding_init(&dispatch->forwarding, &server->taker);
}

static void close_slot(struct server *server)
{
    struct dispatch *dispatch = server->kept;
    mutex_lock(&dispatch->lock);
    dispatch->stopped = true;
    condition_broadcast(&dispatch->changed);
    mutex_unlock(&dispatch->lock);
}

static void destroy(struct server *server)
{
    struct dispatch *dispatch = server->kept;
    condition_deinit(&dispatch->changed);
    mutex_deinit(&dispatch->lock);
    memory_free(dispatch);
}

static void run(struct server *server)
{
    struct dispatch *dispatch = server->kept;
    mutex_lock(&dispatch->lock);
    server->outbox.unsent_forward = forward_unsent;
    server->outbox.context = dispatch;
    tell_time(dispatch);
    dispatch->deadline_ns =
        election_follower_deadline_ns(&server->raft, &server->rng, dispatch->now_ns);
    votes_tell_timeout(server, dispatch->now_ns, dispatch->deadline_ns);
    server_end_round(server);
    dispatch->running = true;
    condition_broadcast(&dispatch->changed);
    while (server->state != RAFT_STOPPED) {
        dispatch->armed_ns = dispatch_next_deadline_ns(dispatch);
        /* Who waits for the lock gets it only while this thread waits. */
        if (!dispatch->flush_left || others_will_flush(dispatch))
            (void)condition_wait_until(&dispatch->changed, &dispatch->lock,
                                       sleep_until_ns(dispatch));
        tell_time(dispatch);
        /* Mail that is already at the door is read before anybody is given up. */
        if (others_will_flush(dispatch)) {
            server_pause_round(server);
            continue;
        }
        dispatch_timers(dispatch);
        finish(dispatch, true);
    }
    server->outbox.unsent_forward = NULL;
    dispatch->stopped = true;
    mutex_unlock(&dispatch->lock);
}

static struct mail_slot *slot(struct server *server)
{
    struct dispatch *dispatch = server->kept;
    return &dispatch->slot;
}

const struct design dispatch_design = {
    .create = create, .close = close_slot, .destroy = destroy, .slot = slot, .run = run};
