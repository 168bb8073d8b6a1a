/* network.c - links, the connections over them, and frames on their way.
 *
 * Between two servers there are two connections, as in peers/: each server sends on the one that it
 * has opened. Messages are encoded to the bytes that would be on the wire, so that corruption meets
 * the real checksum, and the receiver holds nothing of the sender's memory. */
#include <string.h>

#include "server/peers/codec.h"
#include "test/sim/inside.h"

enum {
    BACKLOG_BYTES_MAX = 4 * 1024 * 1024, /* what the kernel and a writer's queue would take */
    RETRY_NS = 1000000,                  /* a full mailbox is tried again after that */
    RECONNECT_NS = 20000000              /* and a server that could not be reached */
};

/* ---- telling servers of their connections ---- */

static void post_peer(struct sim_server *server, enum mail_kind kind, server_id peer)
{
    if (server->server == NULL)
        return;
    struct process *before;
    struct mail *mail = sim_mail_begin(server, kind, &before);
    mail->as.peer = peer;
    (void)sim_mail_post(server, mail, peer, before);
}

/* What a server says of itself in its hello, to whom it connects. */
static void post_met(struct sim_server *server, const struct sim_server *peer)
{
    if (server->server == NULL)
        return;
    struct process *before;
    struct mail *mail = sim_mail_begin(server, MAIL_MET, &before);
    mail->as.met = (struct met){.peer = peer->id, .identity = peer->shown};
    (void)sim_mail_post(server, mail, peer->id, before);
}

/* ---- connections ---- */

static void connect_attempt(void *object, u64 argument);

static void connect_begin(struct link *link, u64 delay_ns)
{
    if (link->connecting || link->connected)
        return;
    link->connecting = true;
    struct cluster *cluster = link->cluster;
    world_at(&cluster->world, cluster->world.now_ns + delay_ns, connect_attempt, link, 0);
}

/* The connection's end reaches its receiver, behind what was sent on it. */
static void end_arrives(void *object, u64 epoch)
{
    struct link *link = object;
    struct cluster *cluster = link->cluster;
    if (link->epoch != epoch || !link->standing)
        return;
    link->standing = false;
    story_note(cluster, link->to, "ConnectionEnded");
    post_peer(&cluster->servers[link->to], MAIL_DISCONNECTED, link->from);
}

static void connect_attempt(void *object, u64 argument)
{
    (void)argument;
    struct link *link = object;
    struct cluster *cluster = link->cluster;
    struct sim_server *from = &cluster->servers[link->from];
    struct sim_server *to = &cluster->servers[link->to];
    link->connecting = false;
    if (from->server == NULL || to->server == NULL)
        return; /* when it starts again, new attempts are made */
    if (!sim_server_is_live(from) || !sim_server_is_live(to) || link->cut ||
        cluster_link(cluster, link->to, link->from)->cut) {
        connect_begin(link, RECONNECT_NS);
        return;
    }
    bool kin_here = network_is_kin(from, to); /* each of the two judges */
    if (!network_is_kin(to, from) || !kin_here) {
        connect_begin(link, RECONNECT_NS);
        return;
    }
    if (link->standing)
        post_peer(to, MAIL_DISCONNECTED, link->from);
    post_met(to, from);
    frames_clear(&link->backlog);
    link->epoch++;
    link->connected = true;
    link->standing = true;
    link->last_arrival_ns = 0;
    post_peer(from, MAIL_CONNECTED, link->to);
}

/* Three crossings: SYN, its answer, the handshake. */
static u64 connect_time(struct link *link)
{
    u64 time = 0;
    for (int i = 0; i < 3; i++)
        time += range_draw(&link->cluster->net_rng, &link->latency);
    return time;
}

/* The connection is cut off at once: what is on its way is lost. */
static void connection_reset(struct link *link)
{
    if (!link->connected && !link->standing)
        return;
    struct cluster *cluster = link->cluster;
    frames_clear(&link->backlog);
    link->epoch++;
    link->connected = false;
    if (link->standing) {
        link->standing = false;
        post_peer(&cluster->servers[link->to], MAIL_DISCONNECTED, link->from);
    }
    connect_begin(link, connect_time(link));
}

void network_connect_anew(struct sim_server *server)
{
    for (server_id peer = 1; peer <= server->cluster->count; peer++) {
        if (peer != server->id)
            connection_reset(cluster_link(server->cluster, server->id, peer));
    }
}

void network_server_up(struct sim_server *server)
{
    struct cluster *cluster = server->cluster;
    for (server_id peer = 1; peer <= cluster->count; peer++) {
        if (peer == server->id)
            continue;
        struct link *in = cluster_link(cluster, peer, server->id);
        struct link *out = cluster_link(cluster, server->id, peer);
        if (in->connected) { /* the old one is answered with a reset now */
            in->connected = false;
            in->standing = false;
            in->epoch++;
            frames_clear(&in->backlog);
        }
        connect_begin(in, connect_time(in));
        out->connected = false;
        connect_begin(out, connect_time(out));
    }
}

void network_server_down(struct sim_server *server, bool closed)
{
    struct cluster *cluster = server->cluster;
    for (server_id peer = 1; peer <= cluster->count; peer++) {
        if (peer == server->id)
            continue;
        struct link *in = cluster_link(cluster, peer, server->id);
        struct link *out = cluster_link(cluster, server->id, peer);
        frames_clear(&in->backlog);
        in->standing = false;
        out->connected = false;
        if (!closed)
            continue;
        in->connected = false;
        in->epoch++;
        if (!out->standing || out->cut)
            continue;
        u64 arrival = cluster->world.now_ns + range_draw(&cluster->net_rng, &out->latency);
        world_at(&cluster->world, u64_max(arrival, out->last_arrival_ns), end_arrives, out,
                 out->epoch);
    }
}

/* ---- arrival ---- */

/* Takes a frame in. Returns false when the mailbox is full; the frame is the caller's all along. */
static bool deliver(struct link *link, const struct frame *frame)
{
    struct cluster *cluster = link->cluster;
    struct sim_server *to = &cluster->servers[link->to];
    struct error error = {0};
    struct process *before;
    struct mail *mail = sim_mail_begin(to, (enum mail_kind)frame->kind, &before);
    struct block *block = block_create_copy(frame->bytes, frame->size);
    enum error_code code = message_decode(block, frame->size, &mail->as.message, &error);
    block_release(block);
    if (code != ERROR_NONE) {
        mail->as.message.span_count = 0;
        mail_destroy(mail);
        (void)process_enter(&cluster->world, before);
        if (!frame->corrupted)
            cluster_fail(cluster, "frames", cluster_set_of(to->id),
                         "a frame that was not damaged is refused: %s", error.text);
        story_note(cluster, to->id, "FrameRefused");
        connection_reset(link);
        return true;
    }
    if (frame->corrupted)
        cluster_fail(cluster, "checksums", cluster_set_of(to->id),
                     "a damaged frame from %u was taken for a %s", link->from,
                     message_kind_word(frame->kind));
    mail->kind = (enum mail_kind)mail->as.message.kind;
    checks_received(cluster, to, &mail->as.message);
    story_message(cluster, to->id, STORY_RECEIVED, &mail->as.message);
    return sim_mail_post(to, mail, link->from, before);
}

static void backlog_retry(void *object, u64 argument);

/* Takes in what has arrived, in order, as far as it goes. */
static void backlog_drain(struct link *link)
{
    struct cluster *cluster = link->cluster;
    struct sim_server *to = &cluster->servers[link->to];
    while (link->backlog.first != NULL && sim_server_is_live(to)) {
        u64 epoch = link->epoch;
        if (!deliver(link, link->backlog.first)) {
            if (!link->retrying)
                world_at(&cluster->world, cluster->world.now_ns + RETRY_NS, backlog_retry, link, 0);
            link->retrying = true;
            return;
        }
        if (link->epoch != epoch)
            return; /* the frame was bad: the connection and the backlog are gone */
        sim_free(frames_take(&link->backlog));
    }
}

static void backlog_retry(void *object, u64 argument)
{
    (void)argument;
    struct link *link = object;
    link->retrying = false;
    backlog_drain(link);
}

void network_server_resumed(struct sim_server *server)
{
    struct cluster *cluster = server->cluster;
    for (server_id peer = 1; peer <= cluster->count; peer++) {
        if (peer != server->id)
            backlog_drain(cluster_link(cluster, peer, server->id));
    }
}

static void frame_arrives(void *object, u64 argument)
{
    (void)argument;
    struct frame *frame = object;
    struct link *link = frame->link;
    const struct sim_server *to = &link->cluster->servers[link->to];
    bool lost = link->cut || to->server == NULL ||
                (frame->epoch != 0 && frame->epoch != link->epoch) ||
                link->backlog.bytes + frame->size > BACKLOG_BYTES_MAX;
    if (lost) {
        sim_free(frame);
        return;
    }
    if (link->backlog.first == NULL && sim_server_is_live(to) && deliver(link, frame)) {
        sim_free(frame);
        return;
    }
    frames_put(&link->backlog, frame);
    backlog_drain(link);
}

/* ---- departure ---- */

static void corrupt(struct rng *rng, struct frame *frame)
{
    u64 first = rng_range(rng, 0, (u64)frame->size * 8 - 1);
    u64 bits = rng_range(rng, 1, 3);
    for (u64 i = 0; i < bits; i++) { /* all of them different */
        u64 bit = (first + i * 13) % ((u64)frame->size * 8);
        frame->bytes[bit / 8] = (u8)(frame->bytes[bit / 8] ^ (1u << bit % 8));
    }
    frame->corrupted = true;
}

static struct frame *frame_copy(const struct frame *frame)
{
    struct frame *copy = sim_alloc(sizeof(*copy) + frame->size);
    memcpy(copy, frame, sizeof(*copy) + frame->size);
    return copy;
}

static void schedule(struct link *link, struct frame *frame, bool in_order)
{
    struct cluster *cluster = link->cluster;
    u64 arrival = cluster->world.now_ns + range_draw(&cluster->net_rng, &link->latency);
    if (in_order) {
        arrival = u64_max(arrival, link->last_arrival_ns);
        link->last_arrival_ns = arrival;
    }
    world_at(&cluster->world, arrival, frame_arrives, frame, 0);
}

static bool by_chance(struct rng *rng, u32 ppm)
{
    return ppm != 0 && rng_chance(rng, ppm, CLUSTER_CHANCE_ALWAYS);
}

/* The network takes the frame, and does to it what it does on this link. */
static void launch(struct link *link, struct frame *frame)
{
    struct rng *rng = &link->cluster->net_rng;
    if (link->cut || by_chance(rng, link->loss_ppm)) {
        sim_free(frame);
        return;
    }
    if (by_chance(rng, link->duplicate_ppm))
        schedule(link, frame_copy(frame), false);
    if (by_chance(rng, link->corrupt_ppm))
        corrupt(rng, frame);
    schedule(link, frame, !by_chance(rng, link->reorder_ppm));
}

static struct frame *frame_encode(struct link *link, const struct message *message)
{
    struct frame_head head;
    message_encode(message, &head);
    u32 size = head.size + (u32)message_payload_size(message);
    struct frame *frame = sim_alloc(sizeof(*frame) + size);
    *frame = (struct frame){.link = link,
                            .epoch = link->epoch,
                            .number = ++link->cluster->next_frame,
                            .kind = message->kind,
                            .size = size};
    memcpy(frame->bytes, head.bytes, head.size);
    u32 at = head.size;
    for (u32 i = 0; i < message->span_count; i++) {
        memcpy(frame->bytes + at, message->spans[i].data, message->spans[i].size);
        at += message->spans[i].size;
    }
    return frame;
}

bool network_send(struct transport *transport, struct message *message)
{
    struct sim_server *server = CONTAINER_OF(transport, struct sim_server, transport);
    struct cluster *cluster = server->cluster;
    ASSERT(message->to >= 1 && message->to <= cluster->count && message->to != server->id);
    checks_sent(cluster, server, message);
    story_message(cluster, server->id, STORY_SENT, message);
    struct link *link = cluster_link(cluster, server->id, message->to);
    link->sent[message->kind]++;
    link->sent_bytes[message->kind] += message_payload_size(message);
    if (!link->connected || by_chance(&cluster->net_rng, link->full_ppm)) {
        message_release(message);
        return false;
    }
    if (message->kind == MESSAGE_FORWARD_REPLY)
        room_take(link, message_payload_size(message));
    struct frame *frame = frame_encode(link, message);
    link->sent_bytes[message->kind] += frame->size - message_payload_size(message);
    message_release(message);
    if ((link->held_kinds >> frame->kind & 1) != 0)
        frames_put(&link->held, frame);
    else
        launch(link, frame);
    return true;
}

/* ---- faults ---- */

/* Calls `each` for every link from a server of `from` to another of `to`. */
#define FOR_LINKS(cluster, link, from_set, to_set)                                   \
    for (u32 at_ = 0; at_ < ((cluster)->count + 1) * ((cluster)->count + 1); at_++)  \
        for (struct link *link = &(cluster)->links[at_]; link != NULL; link = NULL)  \
            if (link->from != link->to && cluster_set_has((from_set), link->from) && \
                cluster_set_has((to_set), link->to))

static cluster_set everybody(const struct cluster *cluster)
{
    return (cluster_set_of(cluster->count) << 1) - 2;
}

void cluster_cut(struct cluster *cluster, cluster_set from, cluster_set to)
{
    FOR_LINKS(cluster, link, from, to)
    link->cut = true;
    story_note(cluster, SERVER_NONE, "NetworkCut");
    checks_faults_changed(cluster);
}

void cluster_join(struct cluster *cluster, cluster_set from, cluster_set to)
{
    FOR_LINKS(cluster, link, from, to)
    link->cut = false;
    story_note(cluster, SERVER_NONE, "NetworkJoined");
    checks_faults_changed(cluster);
}

void cluster_partition(struct cluster *cluster, const cluster_set *groups, u32 count)
{
    cluster_set rest = everybody(cluster);
    for (u32 i = 0; i < count; i++) {
        cluster_cut(cluster, groups[i], everybody(cluster) & ~groups[i]);
        cluster_join(cluster, groups[i], groups[i]);
        rest &= ~groups[i];
    }
    if (rest != 0) {
        cluster_cut(cluster, rest, everybody(cluster) & ~rest);
        cluster_join(cluster, rest, rest);
    }
}

void cluster_isolate(struct cluster *cluster, cluster_set servers)
{
    cluster_cut(cluster, servers, everybody(cluster));
    cluster_cut(cluster, everybody(cluster), servers);
}

void cluster_bridge(struct cluster *cluster, server_id server)
{
    cluster_set halves[2] = {0, 0};
    u32 others = cluster->config.servers - 1;
    u32 placed = 0;
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        if (id != server)
            halves[placed++ < others / 2 ? 0 : 1] |= cluster_set_of(id);
    }
    cluster_cut(cluster, halves[0], halves[1]);
    cluster_cut(cluster, halves[1], halves[0]);
}

void cluster_ring(struct cluster *cluster)
{
    u32 count = cluster->config.servers;
    for (server_id from = 1; from <= count; from++) {
        for (server_id to = 1; to <= count; to++) {
            bool neighbours = from % count + 1 == to || to % count + 1 == from;
            cluster_link(cluster, from, to)->cut = from != to && !neighbours;
        }
    }
    story_note(cluster, SERVER_NONE, "NetworkRing");
    checks_faults_changed(cluster);
}

void cluster_heal(struct cluster *cluster)
{
    cluster_set all = everybody(cluster);
    story_note(cluster, SERVER_NONE, "NetworkHealed");
    FOR_LINKS(cluster, link, all, all)
    {
        link->cut = false;
        link->latency = cluster->config.latency;
        link->loss_ppm = link->duplicate_ppm = link->reorder_ppm = link->corrupt_ppm = 0;
        link->full_ppm = 0;
    }
    (void)cluster_release(cluster, all, all, CLUSTER_KINDS_ANY, false);
    checks_faults_changed(cluster);
}

void cluster_delay(struct cluster *cluster, cluster_set from, cluster_set to,
                   struct cluster_range latency)
{
    FOR_LINKS(cluster, link, from, to)
    link->latency = latency;
    checks_faults_changed(cluster);
}

#define LINK_FAULT(name, field)                                                             \
    void cluster_##name(struct cluster *cluster, cluster_set from, cluster_set to, u32 ppm) \
    {                                                                                       \
        FOR_LINKS(cluster, link, from, to)                                                  \
        link->field = ppm;                                                                  \
        checks_faults_changed(cluster);                                                     \
    }

LINK_FAULT(loss, loss_ppm)
LINK_FAULT(full, full_ppm)
LINK_FAULT(duplicate, duplicate_ppm)
LINK_FAULT(reorder, reorder_ppm)
LINK_FAULT(corrupt, corrupt_ppm)

void cluster_hold(struct cluster *cluster, cluster_set from, cluster_set to, cluster_kinds kinds)
{
    FOR_LINKS(cluster, link, from, to)
    link->held_kinds |= kinds;
    checks_faults_changed(cluster);
}

void network_let_go(struct frame *frame)
{
    struct world *world = &frame->link->cluster->world;
    frame->epoch = 0;
    world_at(world, world->now_ns, frame_arrives, frame, 0);
}

/* Puts the held frames of these kinds back on their way. */
static u32 release(struct link *link, cluster_kinds kinds, bool newest_first)
{
    struct frame_list kept = {0};
    struct frame *let_go = NULL; /* newest first */
    struct frame **tail = &let_go;
    u32 count = 0;
    struct frame *frame;
    while ((frame = frames_take(&link->held)) != NULL) {
        if ((kinds >> frame->kind & 1) == 0) {
            frames_put(&kept, frame);
            continue;
        }
        count++;
        frame->next = newest_first ? let_go : NULL;
        if (newest_first) {
            let_go = frame;
        } else {
            *tail = frame;
            tail = &frame->next;
        }
    }
    link->held = kept;
    while (let_go != NULL) {
        frame = let_go;
        let_go = frame->next;
        network_let_go(frame);
    }
    return count;
}

u32 cluster_release(struct cluster *cluster, cluster_set from, cluster_set to, cluster_kinds kinds,
                    bool newest_first)
{
    u32 count = 0;
    FOR_LINKS(cluster, link, from, to)
    {
        link->held_kinds &= ~kinds;
        count += release(link, kinds, newest_first);
    }
    checks_faults_changed(cluster);
    return count;
}

void cluster_reset(struct cluster *cluster, cluster_set from, cluster_set to)
{
    story_note(cluster, SERVER_NONE, "ConnectionsReset");
    FOR_LINKS(cluster, link, from, to)
    connection_reset(link);
    FOR_LINKS(cluster, link, to, from)
    connection_reset(link);
}

bool network_is_faulty(const struct cluster *cluster)
{
    const struct cluster_range *usual = &cluster->config.latency;
    cluster_set all = everybody(cluster);
    FOR_LINKS(cluster, link, all, all)
    {
        if (link->cut || link->loss_ppm != 0 || link->duplicate_ppm != 0 ||
            link->reorder_ppm != 0 || link->corrupt_ppm != 0 || link->full_ppm != 0 ||
            link->held_kinds != 0 || link->latency.max_ns > usual->max_ns)
            return true;
    }
    return false;
}

cluster_kinds cluster_kinds_parse(const char *word)
{
    if (strcmp(word, "any") == 0)
        return CLUSTER_KINDS_ANY;
    for (u32 kind = MESSAGE_NONE + 1; kind < MESSAGE_KIND_END; kind++) {
        if (strcmp(word, message_kind_word((enum message_kind)kind)) == 0)
            return (cluster_kinds)1 << kind;
    }
    return 0;
}

/* ---- life ---- */

void network_init(struct cluster *cluster)
{
    u32 size = cluster->count + 1;
    cluster->links = sim_alloc_zero((size_t)size * size, sizeof(*cluster->links));
    for (server_id from = 0; from < size; from++) {
        for (server_id to = 0; to < size; to++) {
            struct link *link = cluster_link(cluster, from, to);
            link->cluster = cluster;
            link->from = from;
            link->to = to;
            link->epoch = 1;
            link->latency = cluster->config.latency;
        }
    }
}

void network_deinit(struct cluster *cluster)
{
    u32 size = cluster->count + 1;
    for (u32 i = 0; i < size * size; i++) {
        frames_clear(&cluster->links[i].backlog);
        frames_clear(&cluster->links[i].held);
    }
    for (u32 i = 0; i < cluster->world.heap_count; i++) {
        if (cluster->world.heap[i].run == frame_arrives)
            sim_free(cluster->world.heap[i].object);
    }
    sim_free(cluster->links);
}
