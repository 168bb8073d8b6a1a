/* load.c - clients that keep sending a mix of operations, in the background of a scenario. */
#include <stdio.h>

#include "test/sim/inside.h"

enum { LOAD_CLIENTS = 5, LOAD_KEYS = 8 };

/* Any server, dead ones too: half of the time the leader. */
static server_id load_target(struct cluster *cluster)
{
    if (rng_chance(&cluster->load_rng, 1, 2))
        return cluster_leader(cluster);
    return (server_id)rng_range(&cluster->load_rng, 1, cluster->config.servers);
}

static void load_send(struct load *load, struct client *client)
{
    struct cluster *cluster = load->cluster;
    struct rng *rng = &cluster->load_rng;
    u64 key = rng_range(rng, 1, load->keys);
    u64 dice = rng_range(rng, 0, 99);
    char key_text[32];
    char value[64];
    char old[64] = "";
    struct client_request request = {
        .via = load_target(cluster), .key = key_text, .value = value, .old = old};
    /* Keys of numbers and of texts: INCR on a text is an error, and tells little. */
    bool number = key % 4 == 0;
    (void)snprintf(key_text, sizeof(key_text), "%s%llu", number ? "n" : "k",
                   (unsigned long long)key);
    (void)snprintf(value, sizeof(value), "%llu.%llu", (unsigned long long)load->number,
                   (unsigned long long)++load->values);
    if (dice < 35) {
        request.op = CLIENT_GET;
    } else if (dice < 40) {
        request.op = CLIENT_DEL;
    } else if (number) {
        request.op = CLIENT_INCR;
    } else if (dice < 70) {
        request.op = CLIENT_SET;
    } else if (dice < 80) {
        request.op = CLIENT_CAS;
        u64 back = rng_range(rng, 0, u64_min(8, load->values - 1));
        (void)snprintf(old, sizeof(old), "%llu.%llu", (unsigned long long)load->number,
                       (unsigned long long)(load->values - back));
    } else if (dice < 85) {
        request.op = CLIENT_APPEND;
        (void)snprintf(value, sizeof(value), "+%llu", (unsigned long long)load->values);
    } else {
        request.op = CLIENT_SET;
    }
    client_send(client, &request);
}

static void load_tick(void *object, u64 number)
{
    struct load *load = object;
    struct cluster *cluster = load->cluster;
    char name[64];
    (void)snprintf(name, sizeof(name), "load-%llu-%llu", (unsigned long long)load->number,
                   (unsigned long long)number);
    struct client *client = cluster_client(cluster, name);
    if (cluster->world.now_ns >= load->until_ns) {
        load->over = true;
        return;
    }
    if (client_is_idle(client))
        load_send(load, client);
    u64 wait = rng_range(&cluster->load_rng, 1, load->interval_ns * 2);
    world_at(&cluster->world, cluster->world.now_ns + wait, load_tick, load, number);
}

void cluster_load(struct cluster *cluster, u64 per_second, u64 duration_ns, u32 clients, u32 keys)
{
    struct load *load = sim_alloc_zero(1, sizeof(*load));
    load->cluster = cluster;
    load->number = ++cluster->load_count;
    load->until_ns = cluster->world.now_ns + duration_ns;
    load->client_count = clients != 0 ? clients : LOAD_CLIENTS;
    load->keys = keys != 0 ? keys : LOAD_KEYS;
    load->interval_ns = u64_max(1, NS_PER_S * load->client_count / u64_max(1, per_second));
    load->next = cluster->loads;
    cluster->loads = load;
    for (u32 i = 0; i < load->client_count; i++)
        world_at(&cluster->world,
                 cluster->world.now_ns + rng_range(&cluster->load_rng, 1, load->interval_ns),
                 load_tick, load, i + 1);
}

bool cluster_is_loaded(const struct cluster *cluster)
{
    for (const struct load *load = cluster->loads; load != NULL; load = load->next) {
        if (!load->over)
            return true;
    }
    return false;
}
