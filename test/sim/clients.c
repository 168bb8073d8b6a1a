/* clients.c - simulated clients: everything they do is recorded.
 *
 * A request travels to its server, waits in the socket while that is paused, enters its mailbox as
 * a real connection's commands would, and the answer travels back. Who waits too long gives up and
 * never learns.
 *
 * A client's commands to one server, one behind the other, are a connection's: they arrive in the
 * order in which they were sent. A client with a pipeline has several of them in flight, under the
 * rule that the client port enforces for real connections: a write does not follow a read that is
 * not answered yet. */
#include <string.h>

#include "common/memory.h"
#include "server/machine/kv.h"
#include "test/sim/inside.h"

enum {
    TRAVEL_NS_MIN = 50000, /* between client and server, one way */
    TRAVEL_NS_MAX = 500000
};

static const struct kv_limits limits = {
    .key_bytes_max = 64 * 1024, .value_bytes_max = 1024 * 1024, .answer_bytes_max = 1024 * 1024};

static u64 travel_ns(struct cluster *cluster)
{
    return rng_range(&cluster->load_rng, TRAVEL_NS_MIN, TRAVEL_NS_MAX);
}

/* ---- requests ---- */

static const char *copy_text(char **to, const char *text)
{
    const char *copy = *to;
    size_t size = text != NULL ? strlen(text) : 0;
    if (size > 0)
        memcpy(*to, text, size);
    (*to)[size] = '\0';
    *to += size + 1;
    return copy;
}

static size_t text_room(const char *text)
{
    return (text != NULL ? strlen(text) : 0) + 1;
}

static struct asked *asked_copy(const struct client_request *request)
{
    size_t room = text_room(request->key) + text_room(request->value) + text_room(request->old);
    struct asked *asked = sim_alloc(sizeof(*asked) + room);
    char *to = (char *)(asked + 1);
    *asked = (struct asked){.references = 1,
                            .op = request->op,
                            .via = request->via,
                            .target = request->target,
                            .keys = request->keys};
    asked->key = copy_text(&to, request->key);
    asked->value = copy_text(&to, request->value);
    asked->old = copy_text(&to, request->old);
    return asked;
}

static void asked_release(struct asked *asked)
{
    if (asked != NULL && --asked->references == 0)
        sim_free(asked);
}

static void call_free(struct client_call *call)
{
    asked_release(call->request);
    sim_free(call);
}

/* ---- answers ---- */

static bool op_reads(enum client_op op)
{
    return op == CLIENT_GET || op == CLIENT_SCAN;
}

static bool op_writes(enum client_op op)
{
    return !op_reads(op) && op != CLIENT_TRANSFER;
}

static void send_next(struct client *client);

static struct flight *flight_of(const struct client *client, u64 serial)
{
    struct flight *flight = client->flights;
    while (flight != NULL && flight->serial != serial)
        flight = flight->next;
    return flight;
}

static void flight_free(struct flight *flight)
{
    asked_release(flight->request);
    sim_free(flight->incoming_value);
    sim_free(flight);
}

/* The client takes an answer to a command in flight. */
static void conclude(struct flight *flight)
{
    struct client *client = flight->client;
    client->answer = flight->incoming;
    client->answer.time_ns = client->cluster->world.now_ns;
    flight_record_answer(flight, flight->incoming.kind);
    struct flight **at = &client->flights;
    while (*at != flight)
        at = &(*at)->next;
    *at = flight->next;
    client->flight_count--;
    flight_free(flight);
    send_next(client);
}

static void conclude_without(struct flight *flight, enum client_answer_kind kind, const char *text)
{
    flight->incoming = (struct client_answer){.kind = kind};
    client_answer_set_text(&flight->incoming, text, strlen(text));
    conclude(flight);
}

static void answer_arrives(void *object, u64 serial)
{
    struct flight *flight = flight_of(object, serial);
    if (flight != NULL)
        conclude(flight);
}

static void gave_up(void *object, u64 serial)
{
    struct flight *flight = flight_of(object, serial);
    if (flight != NULL)
        conclude_without(flight, ANSWER_UNKNOWN, "no answer in time");
}

static void connection_ended(void *object, u64 serial)
{
    struct flight *flight = flight_of(object, serial);
    if (flight != NULL)
        conclude_without(flight, ANSWER_UNKNOWN, "the connection has ended");
}

/* The answer leaves the server. */
static void answer_leaves(struct client *client, u64 serial)
{
    struct cluster *cluster = client->cluster;
    world_at(&cluster->world, cluster->world.now_ns + travel_ns(cluster), answer_arrives, client,
             serial);
}

/* A read that is answered has seen, or will never see, the writes before it. */
static void read_is_answered(const struct client *client, const struct flight *read)
{
    bool executed = read->incoming.kind == ANSWER_OK || read->incoming.kind == ANSWER_NIL;
    if (!op_reads(read->request->op) || !executed)
        return;
    for (const struct flight *flight = client->flights; flight != read; flight = flight->next)
        if (op_writes(flight->request->op) && !flight->answered)
            acknowledged_overtaken(client->cluster, flight, read->serial);
}

static void sink_answer(struct command_sink *sink, struct command *command, const u8 *data,
                        size_t size)
{
    struct sim_server *server = CONTAINER_OF(sink, struct sim_server, sink);
    struct client *client = command->owner;
    struct flight *flight = flight_of(client, command->slot);
    if (flight != NULL) {
        flight->answered = true;
        flight_take_answer(flight, data, size);
        acknowledged_answered(server, flight);
        read_is_answered(client, flight);
        answer_leaves(client, command->slot);
    }
    command_destroy(command);
}

static void sink_redirect(struct command_sink *sink, struct command *command, server_id leader)
{
    (void)sink;
    struct client *client = command->owner;
    struct flight *flight = flight_of(client, command->slot);
    if (flight != NULL) {
        flight->answered = true;
        flight->incoming = (struct client_answer){.kind = ANSWER_MOVED};
        flight->incoming.size =
            (u32)snprintf(flight->incoming.text, CLIENT_TEXT_SIZE, "%u", leader);
        answer_leaves(client, command->slot);
    }
    command_destroy(command);
}

static void sink_flush(struct command_sink *sink)
{
    (void)sink; /* answers were sent off one by one */
}

const struct command_sink_ops client_sink_ops = {
    .answer = sink_answer, .redirect = sink_redirect, .flush = sink_flush};

/* ---- the way there ---- */

static struct span body_of(const struct asked *request)
{
    const struct kv_argument key = {(const u8 *)request->key, (u32)strlen(request->key)};
    const struct kv_argument value = {(const u8 *)request->value, (u32)strlen(request->value)};
    const struct kv_argument old = {(const u8 *)request->old, (u32)strlen(request->old)};
    struct kv_argument arguments[4] = {key, value, value, value};
    static const struct kv_argument whole_scan[] = {
        {(const u8 *)"0", 1}, {(const u8 *)"COUNT", 5}, {(const u8 *)"10000", 5}};
    u32 count = 1;
    enum kv_command code = KV_NONE;
    switch (request->op) {
    case CLIENT_GET:
        code = KV_GET;
        break;
    case CLIENT_SET:
        code = KV_SET;
        count = 2;
        break;
    case CLIENT_APPEND:
        code = KV_APPEND;
        count = 2;
        break;
    case CLIENT_CAS:
        code = KV_CAS;
        arguments[1] = old;
        count = 3;
        break;
    case CLIENT_INCR:
        code = KV_INCR;
        break;
    case CLIENT_DEL:
        code = KV_DEL;
        break;
    case CLIENT_GETDEL:
        code = KV_GETDEL;
        break;
    case CLIENT_MSET:
        code = KV_MSET;
        arguments[2] = old; /* the second key, with the same value */
        count = 4;
        break;
    case CLIENT_FLUSHALL:
        code = KV_FLUSHALL;
        count = 0;
        break;
    case CLIENT_SCAN:
        code = KV_SCAN;
        memcpy(arguments, whole_scan, sizeof(whole_scan));
        count = 3;
        break;
    case CLIENT_TRANSFER:
        return request->value[0] != '\0' ? command_readmit_body(request->target)
                                         : command_order_body(request->target);
    }
    struct block *block = block_create((u32)kv_command_size(arguments, count));
    kv_command_encode(&limits, code, arguments, count, block->data);
    struct span body = span_of(block, block->data, block->size);
    block_release(block);
    return body;
}

/* Whether a write of this client, sent before this one, is under way at its server. */
static bool comes_after_write(const struct client_call *call)
{
    const struct flight *flight = call->client->flights;
    for (; flight != NULL && flight->serial < call->serial; flight = flight->next)
        if (op_writes(flight->request->op) && !flight->answered)
            return true;
    return false;
}

static struct command *command_of(struct sim_server *server, const struct client_call *call)
{
    enum client_op op = call->request->op;
    enum command_class class = op_reads(op)            ? COMMAND_READ
                               : op == CLIENT_TRANSFER ? COMMAND_TRANSFER
                                                       : COMMAND_WRITE;
    struct command *command = command_create(class, body_of(call->request), &server->sink);
    if (class == COMMAND_WRITE)
        call->request->body_crc =
            acknowledged_sent(server->cluster, command, call->connection, call->serial);
    command->after_write = class == COMMAND_READ && comes_after_write(call);
    command->owner = call->client;
    command->slot = call->serial;
    command->arrived_ns = sim_clock_local_ns(&server->clock, server->cluster->world.now_ns);
    return command;
}

/* The server takes the request in. Consumes the call. */
static void call_enter(struct sim_server *server, struct client_call *call)
{
    struct process *before;
    struct mail *mail = sim_mail_begin(server, MAIL_COMMANDS, &before);
    struct command *command = command_of(server, call);
    command_list_put(&mail->as.commands, command);
    /* A mailbox that is full answers -CLUSTERDOWN through mail_destroy. */
    (void)sim_mail_post(server, mail, SERVER_NONE, before);
    call_free(call);
}

static void call_arrives(void *object, u64 argument)
{
    (void)argument;
    struct client_call *call = object;
    struct sim_server *server = &call->client->cluster->servers[call->to];
    if (server->incarnation != call->incarnation || server->process == NULL) {
        call_free(call);
        return;
    }
    if (sim_server_is_live(server) && server->calls == NULL) {
        call_enter(server, call);
        return;
    }
    struct client_call **last = &server->calls;
    while (*last != NULL)
        last = &(*last)->next;
    call->next = NULL;
    *last = call;
}

void clients_server_resumed(struct sim_server *server)
{
    while (server->calls != NULL && sim_server_is_live(server)) {
        struct client_call *call = server->calls;
        server->calls = call->next;
        call_enter(server, call);
    }
}

void clients_server_down(struct sim_server *server, bool closed)
{
    struct cluster *cluster = server->cluster;
    while (server->calls != NULL) {
        struct client_call *call = server->calls;
        server->calls = call->next;
        call_free(call);
    }
    if (!closed)
        return;
    for (struct client *client = cluster->clients; client != NULL; client = client->next) {
        if (client->to != server->id || client->incarnation != server->incarnation)
            continue;
        for (const struct flight *flight = client->flights; flight != NULL; flight = flight->next)
            world_at(&cluster->world, cluster->world.now_ns + travel_ns(cluster), connection_ended,
                     client, flight->serial);
    }
}

/* ---- sending ---- */

static server_id server_for(const struct client *client, const struct asked *request)
{
    if (request->via != SERVER_NONE)
        return request->via;
    return client->flights != NULL ? client->to : cluster_leader(client->cluster);
}

/* Whether the request may follow what is in flight. */
static bool may_send(const struct client *client, const struct asked *request)
{
    if (client->flights == NULL)
        return true;
    if (client->flight_count >= client->pipeline || request->op == CLIENT_TRANSFER ||
        server_for(client, request) != client->to)
        return false;
    for (const struct flight *flight = client->flights; flight != NULL; flight = flight->next)
        if (flight->request->op == CLIENT_TRANSFER ||
            (op_reads(flight->request->op) && op_writes(request->op)))
            return false;
    return client->cluster->servers[client->to].incarnation == client->incarnation;
}

static struct flight *flight_create(struct client *client, struct asked *request)
{
    struct flight *flight = sim_alloc_zero(1, sizeof(*flight));
    *flight = (struct flight){.client = client,
                              .serial = ++client->serial,
                              .sent_after = client->cluster->checks.acknowledged.last,
                              .request = request};
    struct flight **last = &client->flights;
    while (*last != NULL)
        last = &(*last)->next;
    *last = flight;
    client->flight_count++;
    return flight;
}

/* The client speaks to this server, on the connection it has or on a new one. */
static void connect_to(struct client *client, const struct sim_server *server)
{
    if (client->connection != 0 && client->to == server->id &&
        client->incarnation == server->incarnation)
        return;
    client->to = server->id;
    client->incarnation = server->incarnation;
    client->connection = ++client->cluster->connection_count;
    client->last_arrival_ns = 0;
}

static void travel(struct client *client, const struct flight *flight)
{
    struct cluster *cluster = client->cluster;
    u64 now = cluster->world.now_ns;
    struct client_call *call = sim_alloc_zero(1, sizeof(*call));
    *call = (struct client_call){.client = client,
                                 .serial = flight->serial,
                                 .to = client->to,
                                 .incarnation = client->incarnation,
                                 .connection = client->connection,
                                 .request = flight->request};
    call->request->references++;
    client->last_arrival_ns = u64_max(client->last_arrival_ns, now + travel_ns(cluster));
    world_at(&cluster->world, client->last_arrival_ns, call_arrives, call, 0);
    world_at(&cluster->world, now + CLIENT_TIMEOUT_MS * NS_PER_MS, gave_up, client, flight->serial);
}

static void send_now(struct client *client, struct asked *request)
{
    struct cluster *cluster = client->cluster;
    server_id to = server_for(client, request);
    struct flight *flight = flight_create(client, request);
    flight_record(flight);
    if (to == SERVER_NONE) {
        conclude_without(flight, ANSWER_ERROR, "there is no leader");
        return;
    }
    if (cluster->servers[to].process == NULL) {
        conclude_without(flight, ANSWER_ERROR, "connection refused");
        return;
    }
    connect_to(client, &cluster->servers[to]);
    travel(client, flight);
}

static void send_next(struct client *client)
{
    while (client->first != NULL && may_send(client, client->first)) {
        struct asked *request = client->first;
        client->first = request->next;
        if (client->first == NULL)
            client->last = NULL;
        send_now(client, request);
    }
}

/* ---- clients ---- */

struct client *cluster_client(struct cluster *cluster, const char *name)
{
    for (struct client *client = cluster->clients; client != NULL; client = client->next) {
        if (strcmp(client->name, name) == 0)
            return client;
    }
    struct client *client = sim_alloc_zero(1, sizeof(*client));
    size_t size = strlen(name) + 1;
    client->name = sim_alloc(size);
    memcpy(client->name, name, size);
    client->cluster = cluster;
    client->number = ++cluster->client_count;
    client->pipeline = 1;
    client->next = cluster->clients;
    cluster->clients = client;
    return client;
}

void client_send(struct client *client, const struct client_request *request)
{
    struct asked *queued = asked_copy(request);
    if (client->last != NULL)
        client->last->next = queued;
    else
        client->first = queued;
    client->last = queued;
    send_next(client);
}

void client_pipeline(struct client *client, u32 depth)
{
    ASSERT(depth >= 1);
    client->pipeline = depth;
}

bool client_is_idle(const struct client *client)
{
    return client->flights == NULL && client->first == NULL;
}

const struct client_answer *client_answer(const struct client *client)
{
    return &client->answer;
}

static bool is_idle(void *context)
{
    return client_is_idle(context);
}

void cluster_client_wait(struct cluster *cluster, struct client *client)
{
    (void)cluster_run_until(cluster, is_idle, client, TIME_NEVER);
}

/* ---- judgement ---- */

struct history *cluster_history(const struct cluster *cluster)
{
    return &((struct cluster *)(uintptr_t)cluster)->history;
}

/* ---- life ---- */

void clients_init(struct cluster *cluster)
{
    history_init(&cluster->history);
}

void clients_deinit(struct cluster *cluster)
{
    for (u32 i = 0; i < cluster->world.heap_count; i++) {
        if (cluster->world.heap[i].run == call_arrives)
            call_free(cluster->world.heap[i].object);
    }
    for (server_id id = 1; id <= cluster->count; id++) {
        while (cluster->servers[id].calls != NULL) {
            struct client_call *call = cluster->servers[id].calls;
            cluster->servers[id].calls = call->next;
            call_free(call);
        }
    }
    while (cluster->clients != NULL) {
        struct client *client = cluster->clients;
        cluster->clients = client->next;
        while (client->first != NULL) {
            struct asked *queued = client->first;
            client->first = queued->next;
            asked_release(queued);
        }
        while (client->flights != NULL) {
            struct flight *flight = client->flights;
            client->flights = flight->next;
            flight_free(flight);
        }
        sim_free(client->name);
        sim_free(client);
    }
    while (cluster->loads != NULL) {
        struct load *load = cluster->loads;
        cluster->loads = load->next;
        sim_free(load);
    }
    history_deinit(&cluster->history);
}
