/* writer.c - one thread a peer: our connection to it.
 *
 *   connect, shake hands --> open for sending --> pump until it breaks --> wait --> again
 *          |                                                                 ^
 *          +----------------- failed: wait twice as long as before ----------+
 *
 * While the connection stands the thread sleeps in poll: it is woken when the server's thread has
 * queued what the socket would not take, and sees at once when the connection ends. A peer that
 * connects to us is alive, so that cuts the waiting short. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <sys/socket.h>

#include "common/clock.h"
#include "common/tcp.h"
#include "server/peers/peer.h"

#define LOOK_NS    NS_PER_S       /* between two looks whether the other host is alive */
#define SILENCE_NS (5 * NS_PER_S) /* after which it is not */

/* Exchanges hellos on a new socket. Errors: ERROR_BUSY (woken: look around), ERROR_UNAVAILABLE,
 * ERROR_FORMAT, ERROR_MISMATCH. Blocks. */
static enum error_code shake_hands(struct peer *peer, int socket, u64 deadline_ns,
                                   struct hello *answer, struct error *error)
{
    struct hello hello = handshake_hello(peer->peers, peer->id);
    enum error_code code = greeting_send(socket, false, &hello, error);
    struct greeting greeting = {.have = 0};
    *answer = (struct hello){.from = SERVER_NONE};
    peer->joining = false;
    if (code == ERROR_NONE)
        code = ERROR_BUSY;
    while (code == ERROR_BUSY) {
        switch (socket_wait(socket, POLLIN, peer->wake, deadline_ns)) {
        case SOCKET_READY:
            code = greeting_receive(&greeting, socket, true, answer, error);
            break;
        case SOCKET_WOKEN:
            if (peers_stopping(peer->peers))
                return error_set(error, ERROR_BUSY, "stopping");
            break;
        case SOCKET_EXPIRED:
            return error_set(error, ERROR_UNAVAILABLE, "no answer to our hello");
        }
    }
    if (code == ERROR_NONE)
        code = handshake_judge_answer(peer, answer, error);
    return code;
}

/* Connects and shakes hands. Blocks. */
static enum error_code open_connection(struct peer *peer, int *socket, struct hello *answer,
                                       struct error *error)
{
    u64 deadline_ns = clock_monotonic_ns() + peer->peers->options.handshake_ns_max;
    enum error_code code =
        socket_connect(&peer->resolver, peer->address, peer->wake, deadline_ns, socket, error);
    if (code != ERROR_NONE)
        return code;
    socket_tune(*socket, false);
    code = shake_hands(peer, *socket, deadline_ns, answer, error);
    if (code != ERROR_NONE)
        socket_close(socket);
    return code;
}

static void post(struct peer *peer, enum mail_kind kind)
{
    struct mail *mail = mail_create(kind);
    mail->as.peer = peer->id;
    (void)mail_post(peer->peers->slot, mail);
}

/* From now on the server's thread sends on it. */
static void publish(struct peer *peer, int socket, const struct hello *answer)
{
    struct peers *peers = peer->peers;
    u64 own_max = peers->options.frame_bytes_max;
    u64 its_max =
        answer->limits.frame_bytes > FRAME_HEAD_SIZE_MAX ? answer->limits.frame_bytes : own_max;
    peer_learn_limits(peer, answer);
    mutex_lock(&peer->lock);
    peer->outgoing = socket;
    peer->outgoing_start = answer->start_count;
    peer->outgoing_version = answer->version;
    peer->outgoing_frame_bytes_max = u64_min(own_max, its_max);
    peer->outgoing_directory = answer->directory_id;
    peer->outgoing_since_ns = clock_monotonic_ns();
    peer->outgoing_broken = false;
    peer->said = (struct pulse){0};
    mutex_unlock(&peer->lock);
    REPORT_LIMITED(peers->report, &peer->calls, REPORT_INFO, "peers",
                   "connected to server %" PRIu32 " at %s", peer->id, peer->address);
    post(peer, MAIL_CONNECTED);
}

/* Sends what is queued until the connection breaks or all is to stop. Returns what has become of
 * the connection. Blocks. */
static const char *pump(struct peer *peer, int socket)
{
    u64 empty_since_ns = clock_monotonic_ns();
    u64 look_ns = empty_since_ns + LOOK_NS;
    while (!peers_stopping(peer->peers)) {
        bool room = false;
        if (clock_monotonic_ns() >= look_ns) {
            if (tcp_host_is_gone(socket, SILENCE_NS))
                return "the other host does not answer any more";
            look_ns = clock_monotonic_ns() + LOOK_NS;
        }
        enum push push = peer_push(peer, &room);
        if (room)
            post(peer, MAIL_ROOM);
        if (push == PUSH_BROKEN)
            break;
        if (push != PUSH_EMPTY)
            empty_since_ns = 0;
        else if (empty_since_ns == 0)
            empty_since_ns = clock_monotonic_ns();
        if (push == PUSH_MORE)
            continue;
        /* The other side says nothing on this connection: anything to read is its end. */
        short events = (short)(POLLIN | POLLRDHUP | (push == PUSH_BLOCKED ? POLLOUT : 0));
        u64 pulse_ns = 0;
        u64 until_ns = look_ns;
        if (peer_beat(peer, &pulse_ns))
            until_ns = u64_min(until_ns, clock_monotonic_ns() + pulse_ns);
        if (push == PUSH_EMPTY)
            until_ns = u64_min(until_ns, peer_trim(peer, empty_since_ns));
        if (socket_wait(socket, events, peer->wake, until_ns) != SOCKET_READY)
            continue;
        u8 byte;
        ssize_t got = recv(socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK);
        if (got >= 0 || (errno != EAGAIN && errno != EINTR))
            break;
    }
    return socket_fate(socket);
}

static void retract(struct peer *peer, const char *fate)
{
    struct peers *peers = peer->peers;
    mutex_lock(&peer->lock);
    peer_queue_clear_locked(peer);
    socket_close(&peer->outgoing);
    bool room = peer_has_room_again_locked(peer);
    mutex_unlock(&peer->lock);
    if (room && !peers_stopping(peers))
        post(peer, MAIL_ROOM);
    if (!peers_stopping(peers))
        REPORT_LIMITED(peers->report, &peer->calls, REPORT_INFO, "peers",
                       "the connection to server %" PRIu32 " has ended: %s", peer->id, fate);
}

/* Says why there is no connection, when that is news. */
static void complain(struct peer *peer, struct said *said, const struct error *error)
{
    if (!said_anew(said, error->text))
        return;
    REPORT_LIMITED(peer->peers->report, &peer->calls, peer->joining ? REPORT_INFO : REPORT_WARN,
                   "peers", "no connection to server %" PRIu32 " at %s, going on trying: %s",
                   peer->id, peer->address, error->text);
}

void writer_run(void *argument)
{
    struct peer *peer = argument;
    const struct peers_options *options = &peer->peers->options;
    u64 wait_ns = options->reconnect_ns_min;
    struct said said = {.text = ""};
    while (!peers_stopping(peer->peers)) {
        int socket;
        struct hello answer;
        struct error error;
        enum error_code code = open_connection(peer, &socket, &answer, &error);
        if (code == ERROR_BUSY)
            continue;
        u64 since_ns = clock_monotonic_ns();
        if (code == ERROR_NONE) {
            said.text[0] = '\0';
            publish(peer, socket, &answer);
            retract(peer, pump(peer, socket));
        } else {
            complain(peer, &said, &error);
        }
        if (peers_stopping(peer->peers))
            return;
        /* A connection that did not last is as bad as none. */
        if (clock_monotonic_ns() - since_ns > options->reconnect_ns_max)
            wait_ns = options->reconnect_ns_min;
        if (socket_wait(-1, 0, peer->wake, clock_monotonic_ns() + wait_ns) == SOCKET_WOKEN)
            wait_ns = options->reconnect_ns_min;
        else
            wait_ns = u64_min(wait_ns * 2, options->reconnect_ns_max);
    }
}
