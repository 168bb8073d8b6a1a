/* scenario_act.c - faults and work, as calls of the cluster. */
#include "test/sim/scenario_player.h"

enum { PIPE_DEPTH = 64 };

/* ---- the network ---- */

/* The two ends of the statement's links; without an arrow, everything that begins or ends at the
 * first. Returns the number of pairs of ends, 0 on failure. */
static u32 link_ends(struct player *player, const struct statement *statement, cluster_set *from,
                     cluster_set *to)
{
    const struct link_list *links = &statement->links;
    if (!player_resolve(player, statement, &links->from, &from[0]))
        return 0;
    if (!server_list_is_empty(&links->to))
        return player_resolve(player, statement, &links->to, &to[0]) ? 1 : 0;
    to[0] = cluster_all(player->cluster);
    from[1] = to[0] & ~from[0];
    to[1] = from[0];
    return 2;
}

static cluster_kinds kinds_of(message_set messages)
{
    return messages == MESSAGES_ANY ? (cluster_kinds)CLUSTER_KINDS_ANY : messages;
}

static void act_partition(struct player *player, const struct statement *statement)
{
    cluster_set groups[CLUSTER_SERVERS_MAX + 1];
    u32 count = 0;
    for (u32 i = 0; i < statement->group_count && i < ARRAY_LENGTH(groups); i++) {
        if (!player_resolve(player, statement, &statement->groups[i], &groups[i]))
            return;
        count++;
    }
    cluster_partition(player->cluster, groups, count);
}

static void act_on_link(struct player *player, const struct statement *statement, cluster_set from,
                        cluster_set to)
{
    struct cluster *cluster = player->cluster;
    switch ((int)statement->kind) {
    case STATEMENT_CUT:
        cluster_cut(cluster, from, to);
        break;
    case STATEMENT_JOIN:
        cluster_join(cluster, from, to);
        break;
    case STATEMENT_DELAY:
        cluster_delay(cluster, from, to,
                      (struct cluster_range){statement->delay.min_ns, statement->delay.max_ns});
        break;
    case STATEMENT_LOSS:
        cluster_loss(cluster, from, to, statement->ppm);
        break;
    case STATEMENT_FULL:
        cluster_full(cluster, from, to, statement->ppm);
        break;
    case STATEMENT_DUPLICATE:
        cluster_duplicate(cluster, from, to, statement->ppm);
        break;
    case STATEMENT_REORDER:
        cluster_reorder(cluster, from, to, statement->ppm);
        break;
    case STATEMENT_CORRUPT:
        cluster_corrupt(cluster, from, to, statement->ppm);
        break;
    case STATEMENT_HOLD:
        cluster_hold(cluster, from, to, kinds_of(statement->messages));
        break;
    case STATEMENT_RELEASE:
        cluster_release(cluster, from, to, CLUSTER_KINDS_ANY, statement->on);
        break;
    case STATEMENT_RESET:
        cluster_reset(cluster, from, to);
        break;
    default:
        UNREACHABLE();
    }
}

static void act_on_links(struct player *player, const struct statement *statement)
{
    cluster_set from[2];
    cluster_set to[2];
    u32 count = link_ends(player, statement, from, to);
    for (u32 i = 0; i < count; i++)
        act_on_link(player, statement, from[i], to[i]);
}

/* ---- servers ---- */

static void act_on_disk(struct player *player, const struct statement *statement, server_id id)
{
    struct cluster *cluster = player->cluster;
    bool done = true;
    switch (statement->disk) {
    case DISK_SYNC_EIO:
        cluster_disk(cluster, id, CLUSTER_DISK_SYNC_EIO, 0);
        break;
    case DISK_WRITE_EIO:
        cluster_disk(cluster, id, CLUSTER_DISK_WRITE_EIO, 0);
        break;
    case DISK_WRITE_ENOSPC:
        cluster_disk(cluster, id, CLUSTER_DISK_WRITE_ENOSPC, 0);
        break;
    case DISK_SLOW:
        cluster_disk(cluster, id, CLUSTER_DISK_SLOW, statement->time_ns);
        break;
    case DISK_READ:
        cluster_disk(cluster, id, CLUSTER_DISK_READ, statement->time_ns);
        break;
    case DISK_STALL:
        cluster_disk(cluster, id, CLUSTER_DISK_STALL, 0);
        break;
    case DISK_HEAL:
        cluster_disk(cluster, id, CLUSTER_DISK_HEAL, 0);
        break;
    case DISK_DAMAGE:
        done =
            cluster_disk_damage(cluster, id, statement->damage, statement->place, statement->count);
        break;
    case DISK_COPY:
        cluster_disk_copy(cluster, id);
        break;
    case DISK_SET_BACK:
        done = cluster_set_back(cluster, id);
        break;
    case DISK_STRAY:
        cluster_stray(cluster, id);
        break;
    case DISK_OWN:
        done = cluster_own_disk(cluster, id);
        break;
    }
    if (!done)
        player_fail(player, statement, "action", cluster_set_of(id),
                    "server %u's disk holds no such thing, or was never copied", id);
}

static void act_exhaust(struct cluster *cluster, const struct statement *statement, server_id id)
{
    static const enum cluster_resource resources[] = {
        [EXHAUST_MEMORY] = CLUSTER_MEMORY,
        [EXHAUST_THREADS] = CLUSTER_THREADS,
        [EXHAUST_DESCRIPTORS] = CLUSTER_DESCRIPTORS,
    };
    cluster_exhaust(cluster, id, resources[statement->resource], statement->count, !statement->on);
}

static void act_on_server(struct player *player, const struct statement *statement, server_id id)
{
    struct cluster *cluster = player->cluster;
    switch ((int)statement->kind) {
    case STATEMENT_CRASH:
        cluster_crash(cluster, id);
        break;
    case STATEMENT_KILL:
        cluster_kill(cluster, id);
        break;
    case STATEMENT_STOP:
        cluster_stop(cluster, id);
        break;
    case STATEMENT_RESTART:
        cluster_restart(cluster, id);
        break;
    case STATEMENT_PAUSE:
        cluster_pause(cluster, id);
        break;
    case STATEMENT_RESUME:
        cluster_resume(cluster, id);
        break;
    case STATEMENT_WIPE:
        cluster_wipe(cluster, id);
        break;
    case STATEMENT_DISK:
        act_on_disk(player, statement, id);
        break;
    case STATEMENT_SNAPSHOT:
        cluster_take_snapshot(cluster, id);
        break;
    case STATEMENT_CRASH_AT_WRITE:
        cluster_crash_at_write(cluster, id, (u32)statement->count);
        break;
    case STATEMENT_KILL_AT_WRITE:
        cluster_kill_at_write(cluster, id, (u32)statement->count);
        break;
    case STATEMENT_EXHAUST:
        act_exhaust(cluster, statement, id);
        break;
    case STATEMENT_CLOCK:
        if (statement->jump_ns != 0)
            cluster_clock_jump(cluster, id, statement->jump_ns);
        else
            cluster_clock_rate(cluster, id, statement->ppm);
        break;
    case STATEMENT_TIMEOUT:
        cluster_timeout(cluster, id);
        break;
    case STATEMENT_BRIDGE:
        cluster_bridge(cluster, id);
        break;
    case STATEMENT_ELECT:
        if (!cluster_elect(cluster, id))
            player_fail(player, statement, "action", cluster_set_of(id),
                        "server %u did not become leader within 5 s", id);
        break;
    default:
        UNREACHABLE();
    }
}

/* The disks of the two go to each other. */
static void act_swap(struct player *player, const struct statement *statement, cluster_set set)
{
    if (__builtin_popcountll(set) != 2) {
        player_fail(player, statement, "action", set, "two disks are swapped, not %d",
                    __builtin_popcountll(set));
        return;
    }
    server_id a = (server_id)__builtin_ctzll(set);
    cluster_swap_disks(player->cluster, a, (server_id)__builtin_ctzll(set & (set - 1)));
}

static void act_on_servers(struct player *player, const struct statement *statement)
{
    cluster_set set;
    if (!player_resolve(player, statement, &statement->who, &set))
        return;
    if (statement->kind == STATEMENT_ISOLATE) {
        cluster_isolate(player->cluster, set);
        return;
    }
    if (statement->kind == STATEMENT_SWAP) {
        act_swap(player, statement, set);
        return;
    }
    for (server_id id = 1; id <= cluster_server_count(player->cluster); id++)
        if (cluster_set_has(set, id))
            act_on_server(player, statement, id);
}

/* ---- clients ---- */

static void act_command(struct player *player, const struct statement *statement, bool wait)
{
    static const enum client_op ops[] = {
        [OPERATION_SET] = CLIENT_SET, [OPERATION_GET] = CLIENT_GET, [OPERATION_INCR] = CLIENT_INCR,
        [OPERATION_CAS] = CLIENT_CAS, [OPERATION_DEL] = CLIENT_DEL,
    };
    const struct scenario_command *command = &statement->command;
    struct client_request request = {
        .op = ops[command->operation],
        .key = command->key,
        .value = command->value,
        .old = command->old,
    };
    cluster_set via = 0;
    if (!player_resolve(player, statement, &command->via, &via))
        return;
    for (server_id id = 1; id <= cluster_server_count(player->cluster); id++)
        if (cluster_set_has(via, id))
            request.via = id;
    struct client *client = statement->kind == STATEMENT_COMMAND
                                ? player->waiter
                                : cluster_client(player->cluster, statement->client);
    if (statement->kind == STATEMENT_PIPE)
        client_pipeline(client, PIPE_DEPTH);
    client_send(client, &request);
    if (wait && statement->kind == STATEMENT_COMMAND)
        cluster_client_wait(player->cluster, client);
}

/* The order goes to whoever leads, and its answer is the server that leads then. */
static void act_transfer(struct player *player, const struct statement *statement, bool wait)
{
    cluster_set target = 0;
    if (!player_resolve(player, statement, &statement->who, &target))
        return;
    struct client_request request = {
        .op = CLIENT_TRANSFER, .value = statement->kind == STATEMENT_READMIT ? "readmit" : NULL};
    for (server_id id = 1; id <= cluster_server_count(player->cluster); id++)
        if (cluster_set_has(target, id))
            request.target = id;
    client_send(player->waiter, &request);
    if (wait)
        cluster_client_wait(player->cluster, player->waiter);
}

static void act_as_client(struct player *player, const struct statement *statement, bool wait)
{
    if (statement->kind == STATEMENT_TRANSFER || statement->kind == STATEMENT_READMIT)
        act_transfer(player, statement, wait);
    else
        act_command(player, statement, wait);
}

/* ---- all ---- */

void player_act(struct player *player, const struct statement *statement, bool wait)
{
    struct cluster *cluster = player->cluster;
    switch (statement->kind) {
    case STATEMENT_PARTITION:
        act_partition(player, statement);
        break;
    case STATEMENT_RING:
        cluster_ring(cluster);
        break;
    case STATEMENT_HEAL:
        cluster_heal(cluster);
        break;
    case STATEMENT_CUT:
    case STATEMENT_JOIN:
    case STATEMENT_DELAY:
    case STATEMENT_LOSS:
    case STATEMENT_FULL:
    case STATEMENT_DUPLICATE:
    case STATEMENT_REORDER:
    case STATEMENT_CORRUPT:
    case STATEMENT_HOLD:
    case STATEMENT_RELEASE:
    case STATEMENT_RESET:
        act_on_links(player, statement);
        break;
    case STATEMENT_ISOLATE:
    case STATEMENT_BRIDGE:
    case STATEMENT_CRASH:
    case STATEMENT_KILL:
    case STATEMENT_STOP:
    case STATEMENT_RESTART:
    case STATEMENT_PAUSE:
    case STATEMENT_RESUME:
    case STATEMENT_WIPE:
    case STATEMENT_SWAP:
    case STATEMENT_DISK:
    case STATEMENT_SNAPSHOT:
    case STATEMENT_CRASH_AT_WRITE:
    case STATEMENT_KILL_AT_WRITE:
    case STATEMENT_EXHAUST:
    case STATEMENT_CLOCK:
    case STATEMENT_TIMEOUT:
    case STATEMENT_ELECT:
        act_on_servers(player, statement);
        break;
    case STATEMENT_TIMERS:
        cluster_timers(cluster, statement->on);
        break;
    case STATEMENT_CHAOS:
        cluster_chaos(cluster, statement->time_ns);
        break;
    case STATEMENT_COMMAND:
    case STATEMENT_ASYNC:
    case STATEMENT_PIPE:
    case STATEMENT_TRANSFER:
    case STATEMENT_READMIT:
        act_as_client(player, statement, wait);
        break;
    case STATEMENT_LOAD:
        cluster_load(cluster, statement->per_second, statement->time_ns, 0, 0);
        break;
    /* Time and expectations are the player's own; the rest scenario_supported keeps away. */
    case STATEMENT_RUN:
    case STATEMENT_AT:
    case STATEMENT_AFTER:
    case STATEMENT_REPEAT:
    case STATEMENT_UNTIL:
    case STATEMENT_EXPECT:
    case STATEMENT_ONCE:
    case STATEMENT_MEMBER:
        UNREACHABLE();
    }
}
