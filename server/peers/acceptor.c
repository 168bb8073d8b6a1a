/* acceptor.c - one thread: takes connections in, and lets nobody through who is not a member.
 *
 * A connection is *pending* until its hello is complete. All of them are waited for in one poll,
 * and each has until a deadline, so that who says nothing, or says it slowly, costs a place in a
 * small table for a while, and nobody else anything. When the table is full the oldest one goes. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "server/peers/peer.h"

/* A hand that was shaken so lately proves that the process at the member's address lives. */
static const u64 PROOF_NS = 10 * NS_PER_S;
/* How long no connection is taken when the process has run out of descriptors. */
static const u64 ACCEPT_PAUSE_NS = 100 * NS_PER_MS;

/* Says something about a connection from nobody we know, unless it was said just before. */
static void say_stranger(struct peers *peers, const char *name, const char *what)
{
    struct error line;
    (void)error_set(&line, ERROR_MISMATCH, "closed a connection from %s: %s", name, what);
    if (said_anew(&peers->stranger, line.text))
        REPORT_LIMITED(peers->report, &peers->strangers, REPORT_WARN, "peers", "%s", line.text);
}

static void refuse_pending(struct peers *peers, struct pending *pending, const char *why)
{
    socket_close(&pending->socket);
    say_stranger(peers, pending->name, why);
}

/* The peer is alive: no reason to wait before connecting to it; and when it was started anew, our
 * connection is to a process that is no more, even if that is not known here yet. */
static void nudge_writer(struct peer *peer, const struct hello *hello)
{
    mutex_lock(&peer->lock);
    bool connected = peer->outgoing >= 0 && peer->outgoing_start >= hello->start_count;
    if (!connected)
        peer->outgoing_broken = true;
    mutex_unlock(&peer->lock);
    if (!connected)
        wake_post(peer->wake);
}

/* Whether an earlier start of the same directory runs at the member's own address: then this is a
 * copy of it, and two that go on from one start cannot both be believed. Where the proof is old our
 * connection there is made anew, and the next try decides: a server that was really started anew
 * answers there itself. Returns which start that is; 0: none. */
static u64 runs_beside(struct peer *peer, const struct hello *hello)
{
    mutex_lock(&peer->lock);
    bool beside = peer->outgoing >= 0 && !peer->outgoing_broken &&
                  peer->outgoing_directory == hello->directory_id &&
                  peer->outgoing_start < hello->start_count;
    u64 start = beside ? peer->outgoing_start : 0;
    bool old = beside && clock_monotonic_ns() - peer->outgoing_since_ns > PROOF_NS;
    peer->outgoing_broken = peer->outgoing_broken || old;
    mutex_unlock(&peer->lock);
    if (old)
        wake_post(peer->wake);
    return start;
}

/* Says that a hello was refused. One that claims to be from a member is that member's trouble. */
static void say_refused(struct peers *peers, const struct pending *pending,
                        const struct hello *hello, bool joining, const char *why)
{
    enum report_level level = joining ? REPORT_INFO : REPORT_WARN;
    struct peer *claimed = peers_find(peers, hello->from);
    if (claimed == NULL)
        say_stranger(peers, pending->name, why);
    else if (said_anew(&claimed->refused, why))
        REPORT_LIMITED(peers->report, &claimed->refusals, level, "peers",
                       "refused a connection from server %" PRIu32 " at %s: %s", hello->from,
                       pending->name, why);
}

/* Its hello is complete: answers it, and hands the connection on or closes it. */
static void judge_pending(struct peers *peers, struct pending *pending, const struct hello *hello)
{
    struct hello answer;
    bool joining;
    struct peer *peer = handshake_judge(peers, hello, &answer, &joining);
    struct error error;
    u64 beside = peer != NULL ? runs_beside(peer, hello) : 0;
    if (beside != 0) {
        answer.version = 0;
        (void)snprintf(answer.refusal, sizeof(answer.refusal),
                       "start %" PRIu64
                       " of this data directory runs at %.50s: end that one, or this "
                       "copy of it (start %" PRIu64 ")",
                       beside, peer->address, hello->start_count);
        peer = NULL;
    }
    enum error_code code = greeting_send(pending->socket, true, &answer, &error);
    if (peer == NULL || code != ERROR_NONE) {
        socket_close(&pending->socket);
        say_refused(peers, pending, hello, joining, peer == NULL ? answer.refusal : error.text);
        return;
    }
    peer->refused.text[0] = '\0';
    socket_tune(pending->socket, true);
    REPORT_LIMITED(peers->report, &peer->arrivals, REPORT_INFO, "peers",
                   "connection from server %" PRIu32 " at %s", peer->id, pending->name);
    peer_learn_limits(peer, hello);
    reader_give(peer, pending->socket, hello, answer.version);
    pending->socket = -1;
    nudge_writer(peer, hello);
}

static void read_pending(struct peers *peers, struct pending *pending)
{
    struct hello hello;
    struct error error;
    enum error_code code =
        greeting_receive(&pending->greeting, pending->socket, false, &hello, &error);
    if (code == ERROR_BUSY)
        return;
    if (code == ERROR_NONE)
        judge_pending(peers, pending, &hello);
    else
        refuse_pending(peers, pending, error.text);
}

/* A free place; when there is none, the one that has been pending for longest. */
static struct pending *find_place(struct peers *peers)
{
    struct pending *oldest = &peers->pending[0];
    for (u32 i = 0; i < PENDING_MAX; i++) {
        struct pending *pending = &peers->pending[i];
        if (pending->socket < 0)
            return pending;
        if (pending->since_ns < oldest->since_ns)
            oldest = pending;
    }
    refuse_pending(peers, oldest, "too many connections that do not say who they are");
    return oldest;
}

static void take_connection(struct peers *peers)
{
    int socket = listeners_accept(&peers->listeners);
    if (socket >= 0) {
        struct pending *pending = find_place(peers);
        pending->socket = socket;
        socket_name(socket, pending->name);
        pending->since_ns = clock_monotonic_ns();
        pending->greeting.have = 0;
        return;
    }
    int failure = errno;
    if (failure != EMFILE && failure != ENFILE && failure != ENOBUFS && failure != ENOMEM)
        return; /* that one connection failed before it was taken */
    peers->accept_after_ns = clock_monotonic_ns() + ACCEPT_PAUSE_NS;
    struct error error;
    (void)error_set_errno(&error, ERROR_SYSTEM, failure, "accept a connection");
    if (said_anew(&peers->stranger, error.text))
        REPORT_LIMITED(peers->report, &peers->strangers, REPORT_ERROR, "peers", "%s", error.text);
}

/* Closes those whose time is up. Returns when the next one's will be. */
static u64 expire_pending(struct peers *peers)
{
    u64 now_ns = clock_monotonic_ns();
    u64 next_ns = peers->accept_after_ns > now_ns ? peers->accept_after_ns : UINT64_MAX;
    for (u32 i = 0; i < PENDING_MAX; i++) {
        struct pending *pending = &peers->pending[i];
        if (pending->socket < 0)
            continue;
        u64 deadline_ns = pending->since_ns + peers->options.handshake_ns_max;
        if (deadline_ns <= now_ns)
            refuse_pending(peers, pending, "no complete hello in time");
        else
            next_ns = u64_min(next_ns, deadline_ns);
    }
    return next_ns;
}

/* What is waited for. Without gaps: poll refuses a table of more places than the process may have
 * descriptors, whatever stands in them. */
struct waiting {
    struct pollfd polled[PENDING_MAX + 2]; /* the wake, the pending, the listener */
    struct pending *pending[PENDING_MAX];
    u32 count; /* of the pending */
};

/* Returns the size of the table. */
static nfds_t gather_waiting(struct peers *peers, bool may_accept, struct waiting *waiting)
{
    waiting->count = 0;
    waiting->polled[0] = (struct pollfd){.fd = peers->wake, .events = POLLIN};
    for (u32 i = 0; i < PENDING_MAX; i++) {
        if (peers->pending[i].socket < 0)
            continue;
        waiting->pending[waiting->count++] = &peers->pending[i];
        waiting->polled[waiting->count] =
            (struct pollfd){.fd = peers->pending[i].socket, .events = POLLIN};
    }
    if (may_accept)
        waiting->polled[waiting->count + 1] =
            (struct pollfd){.fd = peers->listeners.set, .events = POLLIN};
    return waiting->count + 1 + may_accept;
}

static void serve_waiting(struct peers *peers, const struct waiting *waiting, bool may_accept)
{
    for (u32 i = 0; i < waiting->count; i++) {
        if (waiting->polled[i + 1].revents != 0)
            read_pending(peers, waiting->pending[i]);
    }
    if (waiting->polled[0].revents != 0)
        wake_empty(peers->wake);
    if (may_accept && waiting->polled[waiting->count + 1].revents != 0)
        take_connection(peers);
}

void acceptor_run(void *argument)
{
    struct peers *peers = argument;
    while (!peers_stopping(peers)) {
        u64 deadline_ns = expire_pending(peers);
        bool may_accept = clock_monotonic_ns() >= peers->accept_after_ns;
        struct waiting waiting;
        nfds_t size = gather_waiting(peers, may_accept, &waiting);
        struct timespec rest;
        int ready = ppoll(waiting.polled, size, socket_rest(deadline_ns, &rest), NULL);
        if (ready > 0)
            serve_waiting(peers, &waiting, may_accept);
        else if (ready < 0 && errno == EINVAL) /* the limit was lowered below what is open */
            for (u32 i = 0; i < waiting.count; i++)
                refuse_pending(peers, waiting.pending[i], "too few descriptors");
    }
    for (u32 i = 0; i < PENDING_MAX; i++)
        socket_close(&peers->pending[i].socket);
}
