/* handshake.c - who may talk to whom: the judgement on both sides, and the bytes of it.
 *
 * The server that opened a connection says hello; the other one answers with its own identity and
 * the version that both will speak, or with the reason why not. Neither says anything else before.
 * Both report a refusal, so that whoever looks for the cause finds it in either's lines. */
#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>

#include "server/peers/peer.h"
#include "server/rules/trust.h"

bool said_anew(struct said *said, const char *text)
{
    if (strncmp(said->text, text, SAID_SIZE - 1) == 0)
        return false;
    size_t size = strnlen(text, SAID_SIZE - 1);
    memcpy(said->text, text, size);
    said->text[size] = '\0';
    return true;
}

enum error_code greeting_receive(struct greeting *greeting, int socket, bool answer,
                                 struct hello *hello, struct error *error)
{
    ssize_t got = recv(socket, greeting->bytes + greeting->have,
                       sizeof(greeting->bytes) - greeting->have, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return ERROR_BUSY;
    if (got < 0)
        return error_set_errno(error, ERROR_UNAVAILABLE, errno, "read its hello");
    if (got == 0)
        return error_set(error, ERROR_UNAVAILABLE, "closed without a complete hello");
    greeting->have += (u32)got;
    if (greeting->have < FRAME_PREFIX_SIZE_1)
        return ERROR_BUSY;
    u32 size;
    enum frame_type type;
    enum error_code code = frame_size(greeting->bytes, HELLO_FRAME_MAX, &size, &type, error);
    if (code != ERROR_NONE)
        return code;
    if (greeting->have > size)
        return error_set(error, ERROR_FORMAT, "more bytes than its hello");
    if (greeting->have < size)
        return ERROR_BUSY;
    return hello_decode(greeting->bytes, size, answer, hello, error);
}

enum error_code greeting_send(int socket, bool answer, const struct hello *hello,
                              struct error *error)
{
    struct frame_head head;
    hello_encode(hello, answer, &head);
    ssize_t sent = send(socket, head.bytes, head.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return error_set_errno(error, ERROR_UNAVAILABLE, errno, "send a hello");
    if ((size_t)sent != head.size)
        return error_set(error, ERROR_UNAVAILABLE, "send a hello: it went out in part");
    return ERROR_NONE;
}

/* ---- clusters ---- */

struct hello handshake_hello(struct peers *peers, server_id to)
{
    mutex_lock(&peers->lock);
    struct hello hello = peers->identity;
    mutex_unlock(&peers->lock);
    hello.to = to;
    return hello;
}

static enum kinship kinship_of(struct peers *peers, const struct hello *hello)
{
    struct identity shown = hello_identity(hello);
    mutex_lock(&peers->lock);
    struct identity own = hello_identity(&peers->identity);
    enum kinship kinship = kinship_judge(&own, &peers->kin, hello->from, &shown);
    mutex_unlock(&peers->lock);
    return kinship;
}

/* This server's directory is blank: it belongs to that cluster from now on, and says so before it
 * says anything else. */
static void join(struct peers *peers, const struct hello *hello)
{
    struct mail *mail = mail_create(MAIL_JOIN);
    mail->as.joining = hello_identity(hello);
    /* Nobody waits for room here: it is said again with the next try. */
    if (!mail_try_post(peers->slot, mail))
        mail_destroy(mail);
}

/* Whether the two may talk to each other. The sentence is read on both sides: "here" is the server
 * that says it; and it must fit into a hello, whatever the cluster is called. */
static enum error_code compare_clusters(struct peers *peers, const struct hello *hello,
                                        bool *joining, struct error *error)
{
    u64 own = handshake_hello(peers, hello->from).incarnation;
    enum kinship kinship = kinship_of(peers, hello);
    *joining = kinship == KIN_WE_JOIN || kinship == KIN_IT_JOINS || kinship == KIN_BOTH_BLANK;
    switch (kinship) {
    case KIN:
        return ERROR_NONE;
    case KIN_OTHER_CLUSTER:
        return error_set(error, ERROR_MISMATCH,
                         "two clusters of this name: %016" PRIx64 " here, %016" PRIx64
                         " there; put that server's own directory back, or make it a new one with "
                         "raftd --init",
                         own, hello->incarnation);
    case KIN_NOT_MET:
        return error_set(error, ERROR_MISMATCH,
                         "its directory is of an older cluster of this name, not of %016" PRIx64
                         "; put its own back, or make it a new one with raftd --init",
                         own);
    case KIN_WE_JOIN:
        join(peers, hello);
        return error_set(error, ERROR_MISMATCH,
                         "the directory here is blank, and joins cluster %016" PRIx64
                         " now: try again",
                         hello->incarnation);
    case KIN_IT_JOINS:
        return error_set(
            error, ERROR_MISMATCH,
            "its directory is blank, and is to join cluster %016" PRIx64 " first: try again", own);
    case KIN_BOTH_BLANK:
        return error_set(error, ERROR_MISMATCH,
                         "neither belongs to a cluster yet: found one with raftd --bootstrap on "
                         "ONE server");
    case KIN_TOO_OLD:
        return error_set(error, ERROR_MISMATCH,
                         "feature level %" PRIu32 " of its program is too low for this cluster: "
                         "start a newer version of raftd there",
                         hello->feature);
    }
    UNREACHABLE();
}

/* ---- the judgement ---- */

/* Why the hello is refused, in `error`; ERROR_NONE when it is not. */
static enum error_code judge(struct peers *peers, const struct hello *hello, bool *joining,
                             struct error *error)
{
    const struct hello *own = &peers->options.identity;
    *joining = false;
    if (strcmp(hello->cluster_id, own->cluster_id) != 0)
        return error_set(error, ERROR_MISMATCH, "this is cluster '%s', not '%s'", own->cluster_id,
                         hello->cluster_id);
    if (hello->from == own->from)
        return error_set(error, ERROR_MISMATCH, "server %" PRIu32 " is this server itself",
                         own->from);
    if (hello->to != own->from)
        return error_set(error, ERROR_MISMATCH, "this is server %" PRIu32 ", not %" PRIu32,
                         own->from, hello->to);
    /* Other members, too, are told apart as other clusters. */
    if (kinship_of(peers, hello) == KIN_OTHER_CLUSTER)
        return compare_clusters(peers, hello, joining, error);
    if (peers_find(peers, hello->from) == NULL)
        return error_set(error, ERROR_MISMATCH, "server %" PRIu32 " is no member here",
                         hello->from);
    if (hello->seed_crc != own->seed_crc)
        return error_set(error, ERROR_MISMATCH,
                         "initialised with another configuration (checksum %08" PRIx32
                         " here, %08" PRIx32 " there)",
                         own->seed_crc, hello->seed_crc);
    if (hello->version_max < PROTOCOL_VERSION_MIN || hello->version_min > PROTOCOL_VERSION_MAX)
        return error_set(
            error, ERROR_MISMATCH,
            "no common protocol version: %d to %d here, %" PRIu32 " to %" PRIu32 " there",
            PROTOCOL_VERSION_MIN, PROTOCOL_VERSION_MAX, hello->version_min, hello->version_max);
    return compare_clusters(peers, hello, joining, error);
}

struct peer *handshake_judge(struct peers *peers, const struct hello *hello, struct hello *answer,
                             bool *joining)
{
    *answer = handshake_hello(peers, hello->from);
    struct error error;
    if (judge(peers, hello, joining, &error) == ERROR_NONE) {
        answer->version =
            hello->version_max < PROTOCOL_VERSION_MAX ? hello->version_max : PROTOCOL_VERSION_MAX;
        return peers_find(peers, hello->from);
    }
    answer->version = 0;
    size_t size = strnlen(error.text, HELLO_REFUSAL_SIZE - 1);
    memcpy(answer->refusal, error.text, size);
    answer->refusal[size] = '\0';
    return NULL;
}

enum error_code handshake_judge_answer(struct peer *peer, const struct hello *answer,
                                       struct error *error)
{
    struct peers *peers = peer->peers;
    /* Who is to join learns of the cluster by this answer, whatever else it says. */
    bool same_id = strcmp(answer->cluster_id, peers->options.identity.cluster_id) == 0;
    enum error_code code = ERROR_NONE;
    peer->joining = false;
    if (same_id && answer->from == peer->id && answer->seed_crc == peers->options.identity.seed_crc)
        code = compare_clusters(peers, answer, &peer->joining, error);
    if (peer->joining || code != ERROR_NONE)
        return code;
    if (answer->version == 0)
        return error_set(error, ERROR_MISMATCH, "it refuses this server: %s",
                         answer->refusal[0] != '\0' ? answer->refusal : "it does not say why");
    if (answer->from != peer->id)
        return error_set(error, ERROR_MISMATCH, "server %" PRIu32 " answers there", answer->from);
    if (answer->version < PROTOCOL_VERSION_MIN || answer->version > PROTOCOL_VERSION_MAX)
        return error_set(error, ERROR_MISMATCH, "it answers in protocol version %" PRIu32,
                         answer->version);
    return code;
}

void peer_learn_limits(struct peer *peer, const struct hello *hello)
{
    if (peer->peers->options.limits != NULL)
        limits_learn(peer->peers->options.limits, peer->id, &hello->limits, peer->peers->report);
}
