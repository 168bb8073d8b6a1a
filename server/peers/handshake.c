/* handshake.c - who may talk to whom: the judgement on both sides, and the bytes of it.
 *
 * The server that opened a connection says hello; the other one answers with its own identity and
 * the version that both will speak, or with the reason why not. Neither says anything else before.
 * Both report a refusal, so that whoever looks for the cause finds it in either's lines. */
#include <errno.h>
#include <inttypes.h>
#include <sys/socket.h>

#include "server/peers/peer.h"

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

/* Why the hello is refused, in `error`; ERROR_NONE when it is not. */
static enum error_code judge(struct peers *peers, const struct hello *hello, struct error *error)
{
    const struct hello *own = &peers->options.identity;
    if (strcmp(hello->cluster_id, own->cluster_id) != 0)
        return error_set(error, ERROR_MISMATCH, "this is cluster '%s', not '%s'", own->cluster_id,
                         hello->cluster_id);
    if (hello->from == own->from)
        return error_set(error, ERROR_MISMATCH, "server %" PRIu32 " is this server itself",
                         own->from);
    if (hello->to != own->from)
        return error_set(error, ERROR_MISMATCH, "this is server %" PRIu32 ", not %" PRIu32,
                         own->from, hello->to);
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
    return ERROR_NONE;
}

struct peer *handshake_judge(struct peers *peers, const struct hello *hello, struct hello *answer)
{
    *answer = peers->options.identity;
    answer->to = hello->from;
    struct error error;
    if (judge(peers, hello, &error) == ERROR_NONE) {
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
    if (answer->version == 0)
        return error_set(error, ERROR_MISMATCH, "it refuses this server: %s",
                         answer->refusal[0] != '\0' ? answer->refusal : "it does not say why");
    if (answer->from != peer->id)
        return error_set(error, ERROR_MISMATCH, "server %" PRIu32 " answers there", answer->from);
    if (answer->version < PROTOCOL_VERSION_MIN || answer->version > PROTOCOL_VERSION_MAX)
        return error_set(error, ERROR_MISMATCH, "it answers in protocol version %" PRIu32,
                         answer->version);
    return ERROR_NONE;
}

void peer_learn_limits(struct peer *peer, const struct hello *hello)
{
    if (peer->peers->options.limits != NULL)
        limits_learn(peer->peers->options.limits, peer->id, &hello->limits, peer->peers->report);
}
