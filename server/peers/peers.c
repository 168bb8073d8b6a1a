/* peers.c - the beginning and end of it all; see peers.h, and peer.h for who does what. */
#include "server/peers/peers.h"

#include <sys/socket.h>

#include "common/clock.h"
#include "common/memory.h"
#include "server/peers/peer.h"
#include "server/rules/trust.h"

static bool transport_send(struct transport *transport, struct message *message)
{
    struct peers *peers = CONTAINER_OF(transport, struct peers, transport);
    struct peer *peer = peers_find(peers, message->to);
    if (peer != NULL)
        return peer_send(peer, message);
    message_release(message);
    return false;
}

static void take_configuration(struct peers *peers, const struct configuration *configuration)
{
    kin_take(&peers->kin, configuration);
    if (peers->kin.feature >= FEATURE_IDENTITY && peers->options.limits != NULL)
        limits_allow_wide(peers->options.limits);
}

/* Who was told to join may do so at once, and who was refused may be no stranger any more. That
 * this server counts again is shown to all at once, by new connections: nobody asks it for its vote
 * before. */
static void transport_identify(struct transport *transport, const struct identity *own,
                               const struct configuration *configuration)
{
    struct peers *peers = CONTAINER_OF(transport, struct peers, transport);
    mutex_lock(&peers->lock);
    bool anew = own->readmitted != peers->identity.readmitted;
    hello_show(&peers->identity, own);
    take_configuration(peers, configuration);
    mutex_unlock(&peers->lock);
    for (u32 i = 0; i < peers->count; i++) {
        struct peer *peer = &peers->peer[i];
        mutex_lock(&peer->lock);
        peer->outgoing_broken = peer->outgoing_broken || anew;
        mutex_unlock(&peer->lock);
        wake_post(peer->wake);
    }
}

static void transport_busy(struct transport *transport, bool begins)
{
    struct peers *peers = CONTAINER_OF(transport, struct peers, transport);
    if (atomic_load_explicit(&peers->pulse_ns, memory_order_relaxed) > 0)
        atomic_store_explicit(&peers->busy_since_ns, begins ? clock_monotonic_ns() : 0,
                              memory_order_relaxed);
}

static void transport_pulse(struct transport *transport, u64 every_ns, u64 for_ns)
{
    struct peers *peers = CONTAINER_OF(transport, struct peers, transport);
    u64 before_ns = atomic_exchange(&peers->pulse_ns, every_ns);
    atomic_store(&peers->pulse_ns_max, for_ns);
    /* A writer may sleep for as long as the longer interval of before. */
    for (u32 i = 0; i < peers->count && every_ns != before_ns; i++)
        wake_post(peers->peer[i].wake);
}

static u64 transport_room(struct transport *transport, server_id to)
{
    struct peer *peer = peers_find(CONTAINER_OF(transport, struct peers, transport), to);
    return peer != NULL ? peer_room(peer) : UINT64_MAX;
}

static const struct transport_ops TRANSPORT_OPS = {.send = transport_send,
                                                   .identify = transport_identify,
                                                   .busy = transport_busy,
                                                   .pulse = transport_pulse,
                                                   .room = transport_room};

struct peer *peers_find(struct peers *peers, server_id id)
{
    for (u32 i = 0; i < peers->count; i++) {
        if (peers->peer[i].id == id)
            return &peers->peer[i];
    }
    return NULL;
}

static void peer_init(struct peer *peer, struct peers *peers, const struct member *member)
{
    peer->peers = peers;
    peer->id = member->id;
    memcpy(peer->address, member->peer_address, ADDRESS_SIZE);
    peer->wake = -1;
    peer->outgoing = -1;
    peer->incoming = -1;
    peer->incoming_next = -1;
    mutex_init(&peer->lock);
    condition_init(&peer->arrived);
}

static enum error_code peer_start(struct peer *peer, struct error *error)
{
    enum error_code code = thread_start(&peer->reader, "peer-reader", reader_run, peer, error);
    if (code == ERROR_NONE)
        code = thread_start(&peer->writer, "peer-writer", writer_run, peer, error);
    return code;
}

/* Ends its threads; the acceptor has ended before, so no connection is handed over any more. */
static void peer_stop(struct peer *peer)
{
    mutex_lock(&peer->lock);
    if (peer->incoming >= 0)
        (void)shutdown(peer->incoming, SHUT_RDWR);
    condition_broadcast(&peer->arrived);
    mutex_unlock(&peer->lock);
    if (peer->wake >= 0)
        wake_post(peer->wake);
}

static void peer_deinit(struct peer *peer)
{
    thread_join(&peer->reader);
    thread_join(&peer->writer);
    ASSERT(peer->queue_first == NULL && peer->outgoing < 0 && peer->incoming < 0);
    resolver_deinit(&peer->resolver);
    socket_close(&peer->incoming_next);
    socket_close(&peer->wake);
    condition_deinit(&peer->arrived);
    mutex_deinit(&peer->lock);
}

static struct peers *peers_alloc(const struct peers_options *options, struct mail_slot *slot,
                                 struct report *report)
{
    const struct configuration *members = options->configuration;
    struct peers *peers =
        memory_alloc_zero(1, sizeof(*peers) + members->count * sizeof(peers->peer[0]));
    peers->transport.ops = &TRANSPORT_OPS;
    peers->options = *options;
    atomic_init(&peers->pulse_ns, options->pulse_ns);
    atomic_init(&peers->pulse_ns_max, options->pulse_ns_max);
    peers->options.configuration = NULL;
    peers->options.identity.to = SERVER_NONE;
    peers->options.identity.version_min = PROTOCOL_VERSION_MIN;
    peers->options.identity.version_max = PROTOCOL_VERSION_MAX;
    peers->options.identity.version = 0;
    if (options->limits != NULL)
        peers->options.identity.limits = options->limits->own;
    peers->options.identity.limits.frame_bytes = options->frame_bytes_max;
    peers->options.identity.refusal[0] = '\0';
    mutex_init(&peers->lock);
    peers->identity = peers->options.identity;
    if (options->newest != NULL)
        take_configuration(peers, options->newest);
    peers->options.newest = NULL;
    peers->slot = slot;
    peers->report = report;
    peers->listeners.set = -1;
    peers->wake = -1;
    for (u32 i = 0; i < PENDING_MAX; i++)
        peers->pending[i].socket = -1;
    for (u32 i = 0; i < members->count; i++) {
        if (members->members[i].id != options->identity.from)
            peer_init(&peers->peer[peers->count++], peers, &members->members[i]);
    }
    return peers;
}

enum error_code peers_create(const struct peers_options *options, struct mail_slot *slot,
                             struct report *report, struct peers **result, struct error *error)
{
    const struct member *self =
        configuration_member(options->configuration, options->identity.from);
    if (self == NULL)
        return error_set(error, ERROR_CONFIG, "server %u is no member of its configuration",
                         options->identity.from);
    ASSERT(options->frame_bytes_max > FRAME_HEAD_SIZE_MAX);
    struct peers *peers = peers_alloc(options, slot, report);
    enum error_code code = socket_listen(self->peer_address, &peers->listeners, error);
    if (code == ERROR_NONE)
        code = wake_create(&peers->wake, error);
    for (u32 i = 0; i < peers->count && code == ERROR_NONE; i++)
        code = wake_create(&peers->peer[i].wake, error);
    for (u32 i = 0; i < peers->count && code == ERROR_NONE; i++)
        code = peer_start(&peers->peer[i], error);
    /* Last, since it reaches for all of them. */
    if (code == ERROR_NONE)
        code = thread_start(&peers->acceptor, "peer-acceptor", acceptor_run, peers, error);
    if (code != ERROR_NONE) {
        peers_destroy(peers);
        return error_add(error, "peers");
    }
    REPORT(report, REPORT_INFO, "peers", "listening for peers at %s (%s)", self->peer_address,
           peers->listeners.names);
    *result = peers;
    return ERROR_NONE;
}

void peers_destroy(struct peers *peers)
{
    atomic_store_explicit(&peers->stopping, true, memory_order_release);
    if (peers->wake >= 0)
        wake_post(peers->wake);
    thread_join(&peers->acceptor);
    for (u32 i = 0; i < peers->count; i++)
        peer_stop(&peers->peer[i]);
    for (u32 i = 0; i < peers->count; i++)
        peer_deinit(&peers->peer[i]);
    listeners_close(&peers->listeners);
    socket_close(&peers->wake);
    mutex_deinit(&peers->lock);
    memory_free(peers);
}

struct transport *peers_transport(struct peers *peers)
{
    return &peers->transport;
}

u32 peers_status(struct peers *peers, struct peer_status *status, u32 capacity)
{
    u32 count = peers->count < capacity ? peers->count : capacity;
    for (u32 i = 0; i < count; i++) {
        struct peer *peer = &peers->peer[i];
        mutex_lock(&peer->lock);
        status[i] = (struct peer_status){
            .id = peer->id,
            .connected_to = peer->outgoing >= 0 && !peer->outgoing_broken,
            .connected_from = peer->incoming >= 0,
            .messages_sent = peer->messages_sent,
            .messages_dropped = peer->messages_dropped,
            .bytes_sent = peer->bytes_sent,
            .bytes_received = atomic_load_explicit(&peer->bytes_received, memory_order_relaxed),
            .queue_bytes = peer->queue_bytes,
        };
        mutex_unlock(&peer->lock);
    }
    return count;
}
