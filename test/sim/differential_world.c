/* differential_world.c - what an event does in one world.
 *
 * All links hold all messages back. Time passes in `wait` and `settle` only: disks are as fast as
 * thought here, since what is compared is what a server comes to, and not when. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/crc32c.h"
#include "server/machine/kv.h"
#include "test/sim/differential_inside.h"

enum {
    SETTLE_ROUNDS_MAX = 400,
    SETTLE_QUIET_MAX = 3 /* heartbeats answered without anything new */
};

static const struct kv_limits limits = {
    .key_bytes_max = 64 * 1024, .value_bytes_max = 1024 * 1024, .answer_bytes_max = 1024 * 1024};

/* ---- answers ---- */

static void note_answer(struct differ_sink *sink, u64 command, const u8 *data, size_t size)
{
    struct differ_world *world = sink->world;
    if (world->answer_count == world->answer_capacity) {
        world->answer_capacity = world->answer_capacity * 2 + 16;
        world->answers =
            sim_resize(world->answers, world->answer_capacity * sizeof(*world->answers));
    }
    struct differ_answer *answer = &world->answers[world->answer_count++];
    *answer = (struct differ_answer){.command = command, .by = sink->server, .size = (u32)size};
    answer->crc = crc32c(0, data, size);
    for (size_t i = 0; i < size && i < sizeof(answer->text) - 1; i++)
        answer->text[i] = data[i] >= ' ' && data[i] < 127 ? (char)data[i] : ' ';
}

static void sink_answer(struct command_sink *sink, struct command *command, const u8 *data,
                        size_t size)
{
    note_answer(CONTAINER_OF(sink, struct differ_sink, sink), command->slot, data, size);
    command_destroy(command);
}

static void sink_redirect(struct command_sink *sink, struct command *command, server_id leader)
{
    char text[32];
    int size = snprintf(text, sizeof(text), "redirected to %u", leader);
    sink_answer(sink, command, (const u8 *)text, (size_t)size);
}

static void sink_flush(struct command_sink *sink)
{
    const struct differ_sink *differ_sink = CONTAINER_OF(sink, struct differ_sink, sink);
    struct differ_world *world = differ_sink->world;
    for (u32 i = 0; i < world->answer_count; i++)
        world->answers[i].sent =
            world->answers[i].sent || world->answers[i].by == differ_sink->server;
}

static const struct command_sink_ops sink_ops = {sink_answer, sink_redirect, sink_flush, NULL};

/* ---- messages on their way ---- */

static struct frame *take_frame(struct link *link, u32 n)
{
    struct frame_list rest = {0};
    struct frame *taken = NULL;
    u32 at = link->held.count > 0 ? n % link->held.count : 0;
    struct frame *frame;
    for (u32 i = 0; (frame = frames_take(&link->held)) != NULL; i++) {
        if (i == at)
            taken = frame;
        else
            frames_put(&rest, frame);
    }
    link->held = rest;
    return taken;
}

const struct frame *differ_frame(const struct differ_world *world, server_id from, server_id to,
                                 u32 n)
{
    const struct frame_list *held = &cluster_link(world->cluster, from, to)->held;
    const struct frame *frame = held->first;
    for (u32 i = held->count > 0 ? n % held->count : 0; i > 0; i--)
        frame = frame->next;
    return frame;
}

/* What was compared leaves the list; the rest is compared yet. */
static u32 *known_of(struct differ_world *world, const struct link *link)
{
    return &world->known[link->from * (world->cluster->count + 1) + link->to];
}

static void deliver(struct differ_world *world, struct link *link, u32 n)
{
    struct frame *frame = take_frame(link, n);
    if (frame == NULL)
        return;
    *known_of(world, link) -= *known_of(world, link) > 0;
    network_let_go(frame);
}

static void copy(struct link *link, const struct frame *frame)
{
    if (frame == NULL)
        return;
    struct frame *twin = sim_alloc(sizeof(*twin) + frame->size);
    memcpy(twin, frame, sizeof(*twin) + frame->size);
    twin->link = link;
    network_let_go(twin);
}

static void drop(struct differ_world *world, struct link *link, u32 n)
{
    struct frame *frame = take_frame(link, n);
    *known_of(world, link) -= frame != NULL && *known_of(world, link) > 0;
    sim_free(frame);
}

static void flow(struct differ_world *world, struct link *link)
{
    for (u32 i = link->held.count; i > 0; i--)
        deliver(world, link, 0);
}

/* Leadership is handed over in the name of `from`, as its transfer would (thesis §3.10): to a
 * server that is in its term. */
static void hand_over(struct differ_world *world, server_id from, server_id to)
{
    struct sim_server *leader = &world->cluster->servers[from];
    const struct sim_server *target = &world->cluster->servers[to];
    if (!sim_server_is_live(leader) || leader->server->state != RAFT_LEADER ||
        !sim_server_is_live(target) ||
        target->server->raft.current_term != leader->server->raft.current_term)
        return;
    struct message message = {.kind = MESSAGE_TIMEOUT_NOW,
                              .from = from,
                              .to = to,
                              .term = leader->server->raft.current_term};
    (void)network_send(&leader->transport, &message);
}

/* ---- connections ---- */

static void post_peer(struct sim_server *server, enum mail_kind kind, server_id peer)
{
    struct process *before;
    struct mail *mail = sim_mail_begin(server, kind, &before);
    mail->as.peer = peer;
    (void)sim_mail_post(server, mail, peer, before);
}

/* `connecting` keeps the network from making the connection by itself. */
static void disconnect(struct link *link)
{
    struct sim_server *to = &link->cluster->servers[link->to];
    if (!link->connected && !link->standing)
        return;
    bool standing = link->standing;
    link->connected = false;
    link->standing = false;
    link->connecting = true;
    link->epoch++;
    if (standing && sim_server_is_live(to))
        post_peer(to, MAIL_DISCONNECTED, link->from);
}

static void reconnect(struct link *link)
{
    struct sim_server *from = &link->cluster->servers[link->from];
    const struct sim_server *to = &link->cluster->servers[link->to];
    if (link->connected || !link->connecting)
        return;
    link->connecting = false;
    if (!sim_server_is_live(from) || !sim_server_is_live(to))
        return; /* it is made when that server starts */
    link->epoch++;
    link->connected = true;
    link->standing = true;
    post_peer(from, MAIL_CONNECTED, link->to);
}

/* ---- clients ---- */

/* Values of many sizes, each unlike all others. */
static u32 value_write(u32 name, char *text, u32 size_max)
{
    u32 size = (u32)snprintf(text, size_max, "v%u.", name);
    u32 padding = name % 5 == 0 ? name * 7919 % 700 : name % 16;
    for (u32 i = 0; i < padding && size < size_max; i++)
        text[size++] = (char)('a' + i % 26);
    return size;
}

static struct command *command_of(const struct differ_event *event, struct command_sink *sink)
{
    static const enum kv_command codes[DIFFER_KIND_COUNT] = {
        [DIFFER_SET] = KV_SET,       [DIFFER_SET_HERE] = KV_SET, [DIFFER_APPEND] = KV_APPEND,
        [DIFFER_INCR] = KV_INCR,     [DIFFER_GET] = KV_GET,      [DIFFER_GET_HERE] = KV_GET,
        [DIFFER_GET_AFTER] = KV_GET,
    };
    char key[32];
    char value[1024];
    enum kv_command code = codes[event->kind];
    /* Counters have names of their own: most other values are no numbers. */
    u32 key_size = (u32)snprintf(key, sizeof(key), "%s%u", event->kind == DIFFER_INCR ? "n" : "k",
                                 event->numbers[1]);
    u32 value_size = value_write(event->numbers[2], value, sizeof(value));
    const struct kv_argument arguments[2] = {{(const u8 *)key, key_size},
                                             {(const u8 *)value, value_size}};
    u32 count = code == KV_SET || code == KV_APPEND ? 2 : 1;
    struct block *block = block_create((u32)kv_command_size(arguments, count));
    kv_command_encode(&limits, code, arguments, count, block->data);
    struct span body = span_of(block, block->data, block->size);
    block_release(block);
    struct command *command =
        command_create(code == KV_GET ? COMMAND_READ : COMMAND_WRITE, body, sink);
    command->after_write = event->kind == DIFFER_GET_AFTER;
    command->may_redirect = event->kind == DIFFER_SET_HERE || event->kind == DIFFER_GET_HERE;
    return command;
}

/* What is asked of the server, and not of the machine. */
static struct command *order_of(const struct differ_event *event, struct command_sink *sink)
{
    if (event->kind == DIFFER_TRANSFER)
        return command_create(COMMAND_TRANSFER, command_order_body(event->numbers[1]), sink);
    struct block *block = block_create(0);
    struct span nothing = span_of(block, block->data, 0);
    block_release(block);
    return command_create(COMMAND_SNAPSHOT, nothing, sink);
}

static void ask(struct differ_world *world, struct sim_server *server,
                const struct differ_event *event)
{
    u64 number = ++world->commands;
    if (!sim_server_is_live(server))
        return;
    struct process *before;
    struct mail *mail = sim_mail_begin(server, MAIL_COMMANDS, &before);
    struct command_sink *sink = &world->sinks[server->id].sink;
    bool is_order = event->kind == DIFFER_SNAPSHOT || event->kind == DIFFER_TRANSFER;
    struct command *command = is_order ? order_of(event, sink) : command_of(event, sink);
    if (command->class == COMMAND_WRITE)
        (void)acknowledged_sent(world->cluster, command, server->id, number);
    command->slot = number;
    command->arrived_ns = sim_clock_local_ns(&server->clock, world->cluster->world.now_ns);
    command_list_put(&mail->as.commands, command);
    (void)sim_mail_post(server, mail, SERVER_NONE, before);
}

/* ---- settling ---- */

static bool flow_all(struct differ_world *world)
{
    struct cluster *cluster = world->cluster;
    bool any = false;
    for (server_id from = 1; from <= cluster->count; from++) {
        for (server_id to = 1; to <= cluster->count; to++) {
            struct link *link = cluster_link(cluster, from, to);
            any = any || link->held.count > 0;
            flow(world, link);
            differ_rest(world);
        }
    }
    return any;
}

/* Without a leader there is nothing to wait for. */
static bool is_calm(const struct cluster *cluster)
{
    server_id leader = cluster_leader(cluster);
    if (leader == SERVER_NONE)
        return true;
    u64 last = cluster_last_index(cluster, leader);
    for (server_id id = 1; id <= cluster->count; id++) {
        if (cluster_is_live(cluster, id) &&
            (cluster_last_index(cluster, id) != last || cluster_applied_index(cluster, id) != last))
            return false;
    }
    return true;
}

/* What a leader has committed since the last time, for piles to compare. */
static void collect_committed(struct differ_world *world)
{
    server_id leader = cluster_leader(world->cluster);
    if (leader == SERVER_NONE)
        return;
    const struct raft *raft = &world->cluster->servers[leader].server->raft;
    for (u64 index = world->entry_count + 1; index <= raft->commit_index; index++) {
        if (world->entry_count == world->entry_capacity) {
            world->entry_capacity = world->entry_capacity * 2 + 64;
            world->entries =
                sim_resize(world->entries, world->entry_capacity * sizeof(*world->entries));
        }
        struct differ_entry *kept = &world->entries[world->entry_count++];
        *kept = (struct differ_entry){.term = log_term_at(&raft->log, index)};
        if (!log_in_memory(&raft->log, index))
            continue; /* the first one alone: it was read from the disk */
        struct entry entry = log_entry(&raft->log, index);
        kept->type = entry.type;
        kept->crc = crc32c(0, entry.payload, entry.payload_size);
    }
}

static void settle(struct differ_world *world)
{
    struct cluster *cluster = world->cluster;
    u32 quiet = 0;
    differ_rest(world);
    for (u32 round = 0; round < SETTLE_ROUNDS_MAX && quiet < SETTLE_QUIET_MAX; round++) {
        if (cluster_failure(cluster) != NULL)
            return;
        if (flow_all(world))
            continue;
        quiet = is_calm(cluster) ? quiet + 1 : 0;
        cluster_run(cluster, cluster->config.heartbeat_ns);
    }
    world->unsettled = quiet < SETTLE_QUIET_MAX;
    if (!world->unsettled) {
        (void)flow_all(world);
        while (flow_all(world))
            continue;
        collect_committed(world);
    }
}

/* ---- events ---- */

static void act_on_server(struct cluster *cluster, enum differ_kind kind, server_id id)
{
    bool live = cluster_is_live(cluster, id);
    if (live == (kind == DIFFER_START))
        return;
    switch ((int)kind) {
    case DIFFER_CRASH:
        cluster_crash(cluster, id);
        return;
    case DIFFER_KILL:
        cluster_kill(cluster, id);
        return;
    case DIFFER_STOP:
        cluster_stop(cluster, id);
        return;
    case DIFFER_START:
        cluster_restart(cluster, id);
        return;
    case DIFFER_TIMEOUT:
        cluster_timeout(cluster, id);
        return;
    case DIFFER_CAMPAIGN:
        post_peer(&cluster->servers[id], MAIL_CAMPAIGN, SERVER_NONE);
        return;
    default:
        UNREACHABLE();
    }
}

static void act_on_disk(struct cluster *cluster, const struct differ_event *event)
{
    server_id id = event->numbers[0];
    if (event->kind == DIFFER_CRASH_AT)
        cluster_crash_at_write(cluster, id, event->numbers[1]);
    else if (event->kind == DIFFER_KILL_AT)
        cluster_kill_at_write(cluster, id, event->numbers[1]);
    else if (event->kind == DIFFER_FULL)
        cluster_disk(cluster, id, CLUSTER_DISK_WRITE_ENOSPC, 0);
    else if (event->kind == DIFFER_FAIL)
        cluster_disk(cluster, id, CLUSTER_DISK_SYNC_EIO, 0);
    else
        cluster_disk(cluster, id, CLUSTER_DISK_HEAL, 0);
}

static bool makes_sense(const struct cluster *cluster, const struct differ_event *event)
{
    u32 numbers = differ_numbers_of(event->kind);
    server_id a = event->numbers[0];
    server_id b = event->numbers[1];
    if (numbers == 0 || event->kind == DIFFER_WAIT)
        return true;
    if (a < 1 || a > cluster->count)
        return false;
    bool link = event->kind == DIFFER_DELIVER || event->kind == DIFFER_COPY ||
                event->kind == DIFFER_DROP || event->kind == DIFFER_FLOW ||
                event->kind == DIFFER_HANDOVER || event->kind == DIFFER_CONNECT ||
                event->kind == DIFFER_DISCONNECT;
    return !link || (b >= 1 && b <= cluster->count && a != b);
}

void differ_act(struct differ_world *world, const struct differ_event *event)
{
    struct cluster *cluster = world->cluster;
    u32 a = event->numbers[0];
    u32 b = event->numbers[1];
    world_enter(&cluster->world);
    if (!makes_sense(cluster, event))
        return;
    struct link *link =
        cluster_link(cluster, a <= cluster->count ? a : 0, b <= cluster->count ? b : 0);
    switch (event->kind) {
    case DIFFER_DELIVER:
        deliver(world, link, event->numbers[2]);
        return;
    case DIFFER_COPY:
        copy(link, differ_frame(world, a, b, event->numbers[2]));
        return;
    case DIFFER_DROP:
        drop(world, link, event->numbers[2]);
        return;
    case DIFFER_FLOW:
        flow(world, link);
        return;
    case DIFFER_HANDOVER:
        hand_over(world, a, b);
        return;
    case DIFFER_SET:
    case DIFFER_APPEND:
    case DIFFER_INCR:
    case DIFFER_GET:
    case DIFFER_GET_AFTER:
    case DIFFER_SET_HERE:
    case DIFFER_GET_HERE:
    case DIFFER_SNAPSHOT:
    case DIFFER_TRANSFER:
        ask(world, &cluster->servers[a], event);
        return;
    case DIFFER_DISCONNECT:
        disconnect(link);
        return;
    case DIFFER_CONNECT:
        reconnect(link);
        return;
    case DIFFER_TIMEOUT:
    case DIFFER_CAMPAIGN:
    case DIFFER_CRASH:
    case DIFFER_KILL:
    case DIFFER_STOP:
    case DIFFER_START:
        act_on_server(cluster, event->kind, a);
        return;
    case DIFFER_CRASH_AT:
    case DIFFER_KILL_AT:
    case DIFFER_FULL:
    case DIFFER_FAIL:
    case DIFFER_ROOM:
        act_on_disk(cluster, event);
        return;
    case DIFFER_WAIT:
        cluster_run(cluster, (u64)a * NS_PER_MS);
        return;
    case DIFFER_SETTLE:
        settle(world);
        return;
    case DIFFER_KIND_COUNT:
        break;
    }
    UNREACHABLE();
}

void differ_rest(struct differ_world *world)
{
    cluster_run(world->cluster, 0);
}

/* ---- life ---- */

/* What a seed varies besides the schedule. With piles, all entries stay in memory and segments are
 * large: when a client is refused for lack of room would depend on the batches. One event at a
 * time, snapshots are taken only when the schedule asks for them: how long the log has become on
 * the disk, the step design learns a pile later. */
static void vary(struct cluster_config *config, const struct differ_options *options)
{
    static const char *const segments[] = {"16KiB", "32KiB", "128KiB"};
    static const char *const memories[] = {"1KiB", "4KiB", "64KiB"};
    static const char *const messages[] = {"512B", "2KiB", "16KiB"};
    static const char *const windows[] = {"1KiB", "8KiB", "256KiB"};
    static const char *const snapshots[] = {"512B", "2KiB", "8KiB", "1024MiB"};
    static const char *const trailing[] = {"1", "2", "8"};
    struct rng rng;
    rng_init(&rng, options->seed ^ 0x646966666572ULL);
    bool piles = options->pile_max > 1;
    u64 segment = rng_range(&rng, 0, 2);
    u64 memory = rng_range(&rng, 0, 2);
    config->options[0] =
        (struct cluster_option){"segment-bytes", piles ? "1MiB" : segments[segment]};
    config->options[1] =
        (struct cluster_option){"log-memory-bytes", piles ? "16MiB" : memories[memory]};
    config->options[2] = (struct cluster_option){"message-bytes", messages[rng_range(&rng, 0, 2)]};
    config->options[3] = (struct cluster_option){"window-bytes", windows[rng_range(&rng, 0, 2)]};
    config->options[4] = (struct cluster_option){"trailing-entries",
                                                 piles ? "4096" : trailing[rng_range(&rng, 0, 2)]};
    config->options[5] =
        (struct cluster_option){"snapshot-log-bytes", snapshots[rng_range(&rng, 0, 3)]};
    config->option_count = piles ? 6 : 5;
}

void differ_world_init(struct differ_world *world, const struct differ_options *options,
                       enum cluster_design design)
{
    struct cluster_config config;
    struct error error = {0};
    *world = (struct differ_world){0};
    cluster_config_init(&config);
    config.servers = options->servers;
    config.design = design;
    config.seed = options->seed;
    /* Not drawn, so that the servers of all worlds wake up at the same times: at each waking what
     * has failed before is tried again. */
    config.election_timeout = (struct cluster_range){200 * NS_PER_MS, 200 * NS_PER_MS};
    config.latency = (struct cluster_range){0, 0};
    config.disk_sync = (struct cluster_range){0, 0};
    vary(&config, options);
    ASSERT(cluster_create(&config, &world->cluster, &error) == ERROR_NONE);
    struct cluster *cluster = world->cluster;
    for (server_id id = 1; id <= cluster->count; id++)
        world->sinks[id] = (struct differ_sink){{&sink_ops}, world, id};
    cluster_timers(cluster, false);
    cluster_hold(cluster, cluster_all(cluster), cluster_all(cluster), CLUSTER_KINDS_ANY);
    cluster_run(cluster, NS_PER_MS);
}

void differ_world_deinit(struct differ_world *world)
{
    cluster_destroy(world->cluster);
    sim_free(world->answers);
    sim_free(world->calls);
    sim_free(world->entries);
}
