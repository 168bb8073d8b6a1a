/* load.c - clients that keep sending a mix of operations, in the background of a scenario. */
#include <stdio.h>
#include <string.h>

#include "test/sim/inside.h"

enum { LOAD_CLIENTS = 5, LOAD_KEYS = 8 };

/* Any server, dead ones too: half of the time the leader. */
static server_id load_target(struct cluster *cluster)
{
    if (rng_chance(&cluster->load_rng, 1, 2))
        return cluster_leader(cluster);
    return (server_id)rng_range(&cluster->load_rng, 1, cluster->config.servers);
}

const char *load_key(u64 number, char *text)
{
    /* Keys of numbers and of texts: INCR on a text is an error, and tells little. */
    (void)snprintf(text, LOAD_KEY_SIZE, "%s%llu", number % 4 == 0 ? "n" : "k",
                   (unsigned long long)number);
    return text;
}

/* A command of its own for each client, but for those on numbers. */
static void load_send(struct load *load, struct client *client)
{
    struct cluster *cluster = load->cluster;
    struct rng *rng = &cluster->load_rng;
    u64 key = rng_range(rng, 1, load->keys);
    u64 dice = rng_range(rng, 0, 99);
    char key_text[LOAD_KEY_SIZE];
    char value[64];
    char old[64] = "";
    struct client_request request = {
        .via = load_target(cluster), .key = load_key(key, key_text), .value = value, .old = old};
    bool number = key % 4 == 0;
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

/* One command of a pipeline. Values are unlike all others, so that a write can be told from all
 * others where it is applied. */
static void load_pipe(struct load *load, struct client *client, server_id via)
{
    struct rng *rng = &load->cluster->load_rng;
    char key_text[LOAD_KEY_SIZE];
    char second[LOAD_KEY_SIZE];
    char value[64];
    u64 key = rng_range(rng, 1, load->keys);
    u64 dice = rng_range(rng, 0, 99);
    struct client_request request = {.op = CLIENT_SET,
                                     .via = via,
                                     .key = load_key(key, key_text),
                                     .value = value,
                                     .old = load_key(rng_range(rng, 1, load->keys), second),
                                     .keys = load->keys};
    (void)snprintf(value, sizeof(value), "%llu.%llu", (unsigned long long)load->number,
                   (unsigned long long)++load->values);
    if (dice < 1)
        request.op = CLIENT_FLUSHALL;
    else if (dice < 5)
        request.op = CLIENT_SCAN;
    else if (dice < 17)
        request.op = CLIENT_GET;
    else if (dice < 25)
        request.op = CLIENT_GETDEL;
    else if (key % 4 == 0)
        request.op = CLIENT_INCR;
    else if (dice < 40 && strcmp(key_text, second) != 0 && second[0] == 'k')
        request.op = CLIENT_MSET;
    else if (dice < 50)
        request.op = CLIENT_APPEND;
    client_send(client, &request);
}

static void load_burst(struct load *load, struct client *client)
{
    struct cluster *cluster = load->cluster;
    server_id via = load_target(cluster);
    u64 count = rng_range(&cluster->load_rng, 1, load->pipeline);
    if (via == SERVER_NONE)
        via = (server_id)rng_range(&cluster->load_rng, 1, cluster->config.servers);
    client_pipeline(client, load->pipeline);
    for (u64 i = 0; i < count; i++)
        load_pipe(load, client, via);
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
    if (load->pipeline > 1 && client->first == NULL && rng_chance(&cluster->load_rng, 1, 2))
        load_burst(load, client);
    else if (load->pipeline == 1 && client_is_idle(client))
        load_send(load, client);
    u64 wait = rng_range(&cluster->load_rng, 1, load->interval_ns * 2);
    world_at(&cluster->world, cluster->world.now_ns + wait, load_tick, load, number);
}

static void load_begin(struct cluster *cluster, u64 per_second, u64 duration_ns,
                       const struct load *what)
{
    struct load *load = sim_alloc_zero(1, sizeof(*load));
    *load = *what;
    load->cluster = cluster;
    load->number = ++cluster->load_count;
    load->until_ns = cluster->world.now_ns + duration_ns;
    load->interval_ns = u64_max(1, NS_PER_S * load->client_count / u64_max(1, per_second));
    load->next = cluster->loads;
    cluster->loads = load;
    for (u32 i = 0; i < load->client_count; i++)
        world_at(&cluster->world,
                 cluster->world.now_ns + rng_range(&cluster->load_rng, 1, load->interval_ns),
                 load_tick, load, i + 1);
}

void cluster_load(struct cluster *cluster, u64 per_second, u64 duration_ns, u32 clients, u32 keys)
{
    struct load what = {.client_count = clients != 0 ? clients : LOAD_CLIENTS,
                        .keys = keys != 0 ? keys : LOAD_KEYS,
                        .pipeline = 1};
    load_begin(cluster, per_second, duration_ns, &what);
}

void cluster_load_pipelined(struct cluster *cluster, u64 per_second, u64 duration_ns, u32 clients,
                            u32 keys, u32 pipeline)
{
    struct load what = {.client_count = clients, .keys = keys, .pipeline = pipeline};
    /* A burst has so many on average, and half of the times there is none. */
    load_begin(cluster, u64_max(1, per_second * 4 / (pipeline + 1)), duration_ns, &what);
}

bool load_is_pipelined(const struct cluster *cluster)
{
    for (const struct load *load = cluster->loads; load != NULL; load = load->next)
        if (load->pipeline > 1)
            return true;
    return false;
}

bool cluster_is_loaded(const struct cluster *cluster)
{
    for (const struct load *load = cluster->loads; load != NULL; load = load->next) {
        if (!load->over)
            return true;
    }
    return false;
}
