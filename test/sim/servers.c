/* servers.c - the servers' processes, and what befalls them and their clocks. */
#include <string.h>

#include "common/crc32c.h"
#include "server/machine/kv.h"
#include "server/rules/entry.h"
#include "test/sim/inside.h"

enum {
    FAREWELL_TIMEOUTS = 3 /* how long a server that is to stop may take to hand leadership over */
};

/* ---- reports ---- */

/* The oldest lines make room. */
static void remember_line(void *context, enum report_level level, const char *line, size_t size)
{
    struct sim_server *server = context;
    (void)level;
    if (size > SAID_SIZE)
        return;
    while (server->said_size + size > SAID_SIZE) {
        const char *end = memchr(server->said, '\n', server->said_size);
        ASSERT(end != NULL);
        size_t gone = (size_t)(end - server->said) + 1;
        server->said_size -= gone;
        memmove(server->said, server->said + gone, server->said_size);
    }
    memcpy(server->said + server->said_size, line, size);
    server->said_size += size;
}

static void trace_line(void *context, const char *line, size_t size)
{
    struct sim_server *server = context;
    const struct cluster_config *config = &server->cluster->config;
    config->trace(config->trace_context, line, size);
}

/* ---- the first start: what raftd --bootstrap and --init do ---- */

/* Of the directory that a server has at first, or of a later one. */
static u64 directory_id(struct cluster *cluster, server_id id, u64 disks)
{
    return world_stream(&cluster->world, "directory", id * 1000 + disks);
}

static void configuration_of(struct cluster *cluster, struct configuration *configuration)
{
    struct error error = {0};
    *configuration = (struct configuration){0};
    for (server_id id = 1; id <= cluster->config.servers; id++) {
        char peer[32];
        char client[32];
        (void)snprintf(peer, sizeof(peer), "sim-%u:7000", id);
        (void)snprintf(client, sizeof(client), "sim-%u:6379", id);
        ASSERT(configuration_add(configuration, id, peer, client, &error) == ERROR_NONE);
    }
}

/* What entry 1 says of this cluster. */
static void found(struct cluster *cluster, struct configuration *configuration)
{
    enum cluster_founding founding = cluster->config.founding;
    if (founding == CLUSTER_FOUNDED_BEFORE)
        return;
    configuration->incarnation = world_stream(&cluster->world, "incarnation", 0) | 1;
    configuration->feature = FEATURE_NEWEST;
    for (u32 p = 0; p < configuration->count; p++) {
        struct member *member = &configuration->members[p];
        if (founding == CLUSTER_FOUNDED || member->id == 1)
            member->directory_id = directory_id(cluster, member->id, 0);
    }
}

static void ignore_entry(void *context, const struct entry *entry, const u8 *record, u32 size)
{
    (void)context;
    (void)entry;
    (void)record;
    (void)size;
}

/* Writes the log and term that the scenario gave to this server. */
static enum error_code write_initial_log(struct sim_server *server,
                                         const struct storage_options *options,
                                         const struct cluster_initial *initial, struct error *error)
{
    struct storage_recovery recovery;
    struct storage *storage = NULL;
    const struct storage_loader loader = {.each = ignore_entry};
    enum error_code code = storage_open(&server->disk.vfs, options, &server->report, &loader,
                                        &recovery, &storage, error);
    if (code != ERROR_NONE)
        return code;
    u64 last_term = initial->log_count > 0 ? initial->log_terms[initial->log_count - 1] : 1;
    for (u32 i = 1; i < initial->log_count && code == ERROR_NONE; i++) {
        struct entry entry = {.id = {initial->log_terms[i], i + 1}, .type = ENTRY_NOOP};
        entry.version = ENTRY_VERSION;
        struct block *block = block_create(record_size_of(&entry));
        record_encode(&entry, block->data);
        struct span span = span_of(block, block->data, block->size);
        code = storage_append(storage, &span, 1, i + 1, 1, entry.id, 0, error);
        span_release(&span);
        block_release(block);
    }
    u64 term = initial->term != 0 ? initial->term : last_term;
    if (code == ERROR_NONE && term != recovery.metadata.current_term)
        code = storage_save_metadata(storage, term, SERVER_NONE, error);
    storage_close(storage);
    return code;
}

/* One that was made elsewhere from the same cluster.conf, and has run there: every other one before
 * clusters had incarnations, unless this cluster is such a one itself. */
static enum error_code make_stray(struct sim_server *server, const struct storage_options *options,
                                  struct metadata *identity, struct configuration *configuration,
                                  struct error *error)
{
    struct cluster *cluster = server->cluster;
    u64 number = server->id * 1000 + server->strays;
    bool before = server->strays % 2 == 0 && cluster->config.founding != CLUSTER_FOUNDED_BEFORE;
    identity->directory_id = world_stream(&cluster->world, "stray", number);
    if (!before) {
        configuration->incarnation = world_stream(&cluster->world, "strays", server->strays) | 1;
        configuration->feature = FEATURE_NEWEST;
        for (u32 p = 0; p < configuration->count; p++)
            configuration->members[p].directory_id = world_stream(
                &cluster->world, "stray", configuration->members[p].id * 1000 + server->strays);
    }
    struct cluster_initial initial = {.term = 2 + number % 50};
    enum error_code code = storage_init(&server->disk.vfs, options, identity, configuration, error);
    return code == ERROR_NONE ? write_initial_log(server, options, &initial, error) : code;
}

static enum error_code init_disk(struct sim_server *server, struct error *error)
{
    struct cluster *cluster = server->cluster;
    struct storage_options options = {.segment_bytes = cluster->server_options.segment_bytes};
    struct configuration configuration;
    configuration_of(cluster, &configuration);
    struct buffer payload;
    buffer_init(&payload);
    configuration_encode(&configuration, &payload);
    struct metadata identity = {.cluster_id = "sim",
                                .self = server->id,
                                .directory_id = directory_id(cluster, server->id, server->disks),
                                .seed_crc = crc32c(0, payload.data, payload.size)};
    buffer_deinit(&payload);
    if (server->stray)
        return make_stray(server, &options, &identity, &configuration, error);
    found(cluster, &configuration);
    bool blank =
        server->disks > 0 || (cluster->config.founding == CLUSTER_FOUNDED_NOW && server->id != 1);
    enum error_code code =
        storage_init(&server->disk.vfs, &options, &identity, blank ? NULL : &configuration, error);
    const struct cluster_initial *initial = &cluster->config.initial[server->id];
    bool has_initial = initial->log_count > 0 || initial->term != 0;
    if (code == ERROR_NONE && has_initial && server->disks == 0)
        code = write_initial_log(server, &options, initial, error);
    return code;
}

/* ---- a process, from its first coroutine to its last ---- */

static void process_is_over(void *object, u64 incarnation)
{
    struct sim_server *server = object;
    if (server->incarnation != incarnation || server->process == NULL)
        return;
    struct process *process = server->process;
    server->process = NULL;
    server->state = PROCESS_STOPPED;
    disk_process_ended(&server->disk);
    clients_server_down(server, true);
    u64 left = process_destroy(process);
    story_note(server->cluster, server->id, "ProcessStopped");
    checks_faults_changed(server->cluster);
    if (left != 0)
        cluster_fail(server->cluster, "memory", cluster_set_of(server->id),
                     "server %u stopped in good order and left %llu allocations behind", server->id,
                     (unsigned long long)left);
}

static enum server_design design_of_server(const struct sim_server *server)
{
    switch (server->design) {
    case CLUSTER_PER_STATE:
        return DESIGN_PER_STATE;
    case CLUSTER_DISPATCH:
        return DESIGN_DISPATCH;
    case CLUSTER_STEP:
        return DESIGN_STEP;
    case CLUSTER_MIXED: /* each of its servers has one of the others */
        break;
    }
    UNREACHABLE();
}

static void run_server(struct sim_server *server)
{
    struct cluster *cluster = server->cluster;
    struct server_options options = cluster->server_options;
    options.design = design_of_server(server);
    options.self = server->id;
    options.seed =
        world_stream(&cluster->world, "server", server->id * 1000003ULL + server->incarnation);
    struct server_world world = {.vfs = &server->disk.vfs,
                                 .report = &server->report,
                                 .trace = cluster->config.trace != NULL ? &server->trace : NULL};
    struct server *made = NULL;
    struct machine *machine = acknowledged_watch(server, kv_create());
    if (server_create(&options, &world, machine, &made, &server->stop_reason) != ERROR_NONE)
        return;
    made->timers_held = !cluster->timers_on;
    server->server = made;
    network_identify(&server->transport, &made->raft.trust.own, &made->raft.configuration);
    readers_start(server);
    network_server_up(server);
    clients_server_resumed(server);
    checks_no_error(cluster, server, ERROR_NONE);
    checks_no_error(cluster, server, server_run(made, &server->transport, &server->stop_reason));
    sim_server_remember(server);
    checks_ends(server->cluster, server);
    server->readers_stop = true;
    server->server = NULL;
    network_server_down(server, true);
    server_close(made);
    readers_stop(server);
    server_destroy(made);
}

static void server_main(void *argument)
{
    struct sim_server *server = argument;
    struct world *world = &server->cluster->world;
    enum error_code code = ERROR_NONE;
    /* Nobody makes one in place of a disk that is elsewhere: raftd refuses what is empty. */
    if (disk_is_empty(&server->disk) && !server->swapped) {
        server->disk.instant = true;
        code = init_disk(server, &server->stop_reason);
        server->disk.instant = false;
        disk_process_ended(&server->disk); /* that was a process of its own: its lock */
    }
    server->process->shortages = server->shortages;
    if (code == ERROR_NONE)
        run_server(server);
    /* The coroutine cannot end the process that it lives in: what is left of it is checked. */
    world_at(world, world->now_ns, process_is_over, server, server->incarnation);
}

void server_boot(struct sim_server *server)
{
    struct cluster *cluster = server->cluster;
    ASSERT(server->process == NULL);
    server->incarnation++;
    server->asked_to_stop = false;
    server->told_to_stop = false;
    error_clear(&server->stop_reason);
    server->process = process_create(&cluster->world, server->id, &server->clock);
    server->starved = false;
    server->state = PROCESS_RUNNING;
    story_note(cluster, server->id, "ProcessStarted");
    checks_started(cluster, server);
    struct coroutine *main = coroutine_start(server->process, server_main, server);
    main->detached = true;
}

/* Called when a process has ended that did not end of itself. */
static void process_ended(void *context, struct process *process)
{
    struct cluster *cluster = context;
    if (process->server == SERVER_NONE)
        return;
    struct sim_server *server = &cluster->servers[process->server];
    readers_forget(server);
    server->process = NULL;
    server->server = NULL;
    server->state = server->starved ? PROCESS_STOPPED : PROCESS_DEAD;
    checks_faults_changed(cluster);
}

static void post_bare(struct sim_server *server, enum mail_kind kind)
{
    if (server->server == NULL)
        return;
    struct process *before;
    struct mail *mail = sim_mail_begin(server, kind, &before);
    (void)sim_mail_post(server, mail, SERVER_NONE, before);
}

/* ---- death and life ---- */

void sim_server_remember(struct sim_server *server)
{
    const struct server *live = server->server;
    if (live == NULL)
        return;
    server->last_state = live->state;
    server->last_term = live->raft.current_term;
    server->last_commit = live->raft.commit_index;
    server->last_applied = live->raft.last_applied;
    server->last_digest = live->machine->ops->digest(live->machine);
    server->last_members = 0;
    for (u32 i = 0; i < live->raft.configuration.count; i++)
        server->last_members |= cluster_set_of(live->raft.configuration.members[i].id);
}

void cluster_crash(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    if (server->process == NULL) {
        disk_power_cut(&server->disk); /* the page cache of a dead process is lost, too */
        return;
    }
    sim_server_remember(server);
    checks_ends(cluster, server);
    story_note(cluster, id, "PowerLost");
    network_server_down(server, false);
    clients_server_down(server, false);
    disk_power_cut(&server->disk);
    server->disk.crash_at = 0;
    process_end(server->process);
}

void cluster_kill(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    if (server->process == NULL)
        return;
    sim_server_remember(server);
    checks_ends(cluster, server);
    story_note(cluster, id, "ProcessKilled");
    network_server_down(server, true);
    clients_server_down(server, true);
    disk_process_ended(&server->disk);
    process_end(server->process);
}

static void tell_to_stop(void *object, u64 incarnation)
{
    struct sim_server *server = object;
    if (server->incarnation != incarnation || server->process == NULL || server->told_to_stop)
        return;
    server->told_to_stop = true;
    post_bare(server, MAIL_STOP);
}

static void hand_over_answer(struct command_sink *sink, struct command *command, const u8 *data,
                             size_t size)
{
    (void)data;
    (void)size;
    struct sim_server *server = CONTAINER_OF(sink, struct sim_server, hand_over_sink);
    struct world *world = &server->cluster->world;
    world_at(world, world->now_ns, tell_to_stop, server, command->slot);
    command_destroy(command);
}

static void hand_over_flush(struct command_sink *sink)
{
    (void)sink;
}

static const struct command_sink_ops hand_over_ops = {.answer = hand_over_answer,
                                                      .flush = hand_over_flush};

/* As raftd does when it is told to end: a leader hands over first, if that can be done in time. */
void cluster_stop(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    story_note(cluster, id, "StopAsked");
    server->asked_to_stop = true;
    if (server->process != NULL && server->server == NULL)
        cluster_kill(cluster, id); /* it has not opened its storage yet: nobody reads its mail */
    if (server->server == NULL)
        return;
    struct process *before;
    struct mail *mail = sim_mail_begin(server, MAIL_COMMANDS, &before);
    struct command *order =
        command_create(COMMAND_TRANSFER, command_order_body(SERVER_NONE), &server->hand_over_sink);
    order->slot = server->incarnation;
    order->arrived_ns = sim_clock_local_ns(&server->clock, cluster->world.now_ns);
    command_list_put(&mail->as.commands, order);
    (void)sim_mail_post(server, mail, SERVER_NONE, before);
    world_at(&cluster->world,
             cluster->world.now_ns + FAREWELL_TIMEOUTS * cluster->config.election_timeout.max_ns,
             tell_to_stop, server, server->incarnation);
}

void cluster_restart(struct cluster *cluster, server_id id)
{
    cluster_kill(cluster, id);
    server_boot(&cluster->servers[id]);
    checks_faults_changed(cluster);
}

void cluster_pause(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    if (server->state != PROCESS_RUNNING)
        return;
    story_note(cluster, id, "ProcessPaused");
    server->state = PROCESS_PAUSED;
    process_pause(server->process, true);
    checks_faults_changed(cluster);
}

void cluster_resume(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    if (server->state != PROCESS_PAUSED)
        return;
    story_note(cluster, id, "ProcessResumed");
    server->state = PROCESS_RUNNING;
    process_pause(server->process, false);
    /* Which of its threads wakes up first, a peer's reader or the clients' port, nobody knows. */
    if (rng_chance(&cluster->net_rng, 1, 2)) {
        network_server_resumed(server);
        clients_server_resumed(server);
    } else {
        clients_server_resumed(server);
        network_server_resumed(server);
    }
    checks_faults_changed(cluster);
}

void cluster_wipe(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    cluster_kill(cluster, id);
    disk_wipe(&server->disk);
    server->disks++;
    server->joined = false;
    story_note(cluster, id, "DiskWiped");
    checks_lost(cluster, server);
}

void cluster_disk_copy(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    disk_copy_destroy(server->copy);
    server->copy = disk_copy_take(&server->disk);
    server->copy_start = server->server != NULL ? server->server->raft.trust.own.start_count : 0;
    story_note(cluster, id, "DiskCopied");
}

bool cluster_set_back(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    if (server->copy == NULL)
        return false;
    cluster_kill(cluster, id);
    disk_copy_put_back(&server->disk, server->copy);
    server->joined = false; /* the copy may be blank */
    story_note(cluster, id, "DiskSetBack");
    checks_lost(cluster, server);
    return true;
}

/* ---- clocks ---- */

void cluster_clock_rate(struct cluster *cluster, server_id id, u32 ppm)
{
    struct sim_server *server = &cluster->servers[id];
    u64 now = cluster->world.now_ns;
    ASSERT(ppm > 0);
    server->clock.local_ns = sim_clock_local_ns(&server->clock, now);
    server->clock.true_ns = now;
    server->clock.rate_ppm = ppm;
    if (server->process != NULL)
        process_clock_changed(server->process);
    story_note(cluster, id, "ClockRate");
    checks_faults_changed(cluster);
}

void cluster_clock_jump(struct cluster *cluster, server_id id, i64 by_ns)
{
    cluster->servers[id].clock.wall_offset_ns += by_ns;
    story_note(cluster, id, "ClockJump");
}

void cluster_timers(struct cluster *cluster, bool on)
{
    cluster->timers_on = on;
    for (server_id id = 1; id <= cluster->count; id++) {
        struct server *server = cluster->servers[id].server;
        if (server != NULL)
            server->timers_held = !on;
    }
    checks_faults_changed(cluster);
}

void cluster_timeout(struct cluster *cluster, server_id id)
{
    story_note(cluster, id, "ElectionTimeout");
    post_bare(&cluster->servers[id], MAIL_ELECTION_TIMEOUT);
}

void cluster_take_snapshot(struct cluster *cluster, server_id id)
{
    struct sim_server *server = &cluster->servers[id];
    story_note(cluster, id, "SnapshotAsked");
    if (server->server == NULL)
        return;
    server->server->snapshot.wanted = true;
    post_bare(server, MAIL_SNAPSHOT); /* wakes it up */
}

struct electing {
    struct cluster *cluster;
    server_id server;
};

static bool leads(void *context)
{
    const struct electing *electing = context;
    return cluster_leader(electing->cluster) == electing->server;
}

bool cluster_elect(struct cluster *cluster, server_id id)
{
    struct electing electing = {cluster, id};
    u64 deadline = cluster->world.now_ns + 5 * NS_PER_S;
    bool timers = cluster->timers_on;
    u64 again = cluster->config.election_timeout.max_ns;
    cluster_timers(cluster, false);
    bool led = leads(&electing);
    while (!led && cluster->world.now_ns < deadline && !cluster->failed) {
        post_bare(&cluster->servers[id], MAIL_CAMPAIGN);
        led = cluster_run_until(cluster, leads, &electing,
                                u64_min(deadline, cluster->world.now_ns + again));
    }
    cluster_timers(cluster, timers);
    return led;
}

/* ---- all of them ---- */

bool sim_server_is_live(const struct sim_server *server)
{
    return server->server != NULL && server->state == PROCESS_RUNNING;
}

bool sim_server_is_healthy(const struct sim_server *server)
{
    const struct disk *disk = &server->disk;
    u32 rate = server->clock.rate_ppm;
    return sim_server_is_live(server) && !disk->sync_fails && !disk->write_fails && !disk->full &&
           !disk->stalled && disk->slow_ns == 0 && disk->read_ns == 0 && rate >= 900000 &&
           rate <= 1100000 && !shortages_last(server);
}

/* In a mixed cluster the servers take the designs in turn. */
static enum cluster_design design_of(const struct cluster *cluster, server_id id)
{
    static const enum cluster_design turns[] = {CLUSTER_PER_STATE, CLUSTER_DISPATCH, CLUSTER_STEP};
    if (cluster->config.design != CLUSTER_MIXED)
        return cluster->config.design;
    return turns[id % ARRAY_LENGTH(turns)];
}

static const struct transport_ops transport_ops = {
    .send = network_send, .identify = network_identify, .room = room_left};

void servers_init(struct cluster *cluster)
{
    cluster->world.ended = process_ended;
    cluster->world.starved = shortages_starved;
    cluster->world.context = cluster;
    for (server_id id = 1; id <= cluster->count; id++) {
        struct sim_server *server = &cluster->servers[id];
        server->id = id;
        server->cluster = cluster;
        server->state = PROCESS_OFF;
        server->design = design_of(cluster, id);
        faulty_disk_init(server);
        sim_clock_init(&server->clock);
        server->report = (struct report){.format = REPORT_LOGFMT, .server = id};
        atomic_store(&server->report.level, (int)REPORT_WARN);
        server->report.write = remember_line;
        server->report.context = server;
        server->trace = (struct trace){.write = trace_line, .context = server};
        server->transport.ops = &transport_ops;
        server->sink.ops = &client_sink_ops;
        server->hand_over_sink.ops = &hand_over_ops;
    }
}

void servers_deinit(struct cluster *cluster)
{
    for (server_id id = 1; id <= cluster->count; id++) {
        struct sim_server *server = &cluster->servers[id];
        if (server->process != NULL)
            process_end(server->process);
        disk_copy_destroy(server->copy);
        disk_copy_destroy(server->own_disk);
        disk_deinit(&server->disk);
    }
}
