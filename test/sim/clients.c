/* clients.c - simulated clients: one command in flight each, everything recorded.
 *
 * A request travels to its server, waits in the socket while that is paused, enters its mailbox as
 * a real connection's commands would, and the answer travels back. Who waits too long gives up and
 * never learns. */
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"
#include "server/machine/kv.h"
#include "test/history/linearizability.h"
#include "test/sim/inside.h"

enum {
    TRAVEL_NS_MIN = 50000, /* between client and server, one way */
    TRAVEL_NS_MAX = 500000
};

static const struct kv_limits limits = {.key_bytes_max = 64 * 1024, .value_bytes_max = 1024 * 1024};

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
    *asked = (struct asked){
        .references = 1, .op = request->op, .via = request->via, .target = request->target};
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

/* ---- the history ---- */

static const struct text *text_of(struct history *history, const char *text)
{
    return history_text(history, text, strlen(text));
}

/* The history's memory is the world's, whoever is running. */
static void record_invocation(struct client *client)
{
    struct cluster *cluster = client->cluster;
    const struct asked *request = client->request;
    if (request->op == CLIENT_TRANSFER)
        return;
    struct process *before = process_enter(&cluster->world, NULL);
    struct history *history = &cluster->history;
    struct operation operation = {.client = client->number,
                                  .status = OPERATION_UNKNOWN,
                                  .key = text_of(history, request->key),
                                  .delta = 1,
                                  .t0 = ++cluster->history_clock};
    switch (request->op) {
    case CLIENT_GET:
        operation.kind = OPERATION_GET;
        break;
    case CLIENT_SET:
        operation.kind = OPERATION_PUT;
        break;
    case CLIENT_APPEND:
        operation.kind = OPERATION_APPEND;
        break;
    case CLIENT_CAS:
        operation.kind = OPERATION_CAS;
        operation.expected = text_of(history, request->old);
        break;
    case CLIENT_INCR:
        operation.kind = OPERATION_INCR;
        break;
    case CLIENT_DEL:
        operation.kind = OPERATION_DEL;
        break;
    case CLIENT_TRANSFER:
        UNREACHABLE();
    }
    if (request->op == CLIENT_SET || request->op == CLIENT_APPEND || request->op == CLIENT_CAS)
        operation.value = text_of(history, request->value);
    client->operation = history_add(history, &operation);
    (void)process_enter(&cluster->world, before);
}

static void record_answer(struct client *client, const struct client_answer *answer)
{
    struct cluster *cluster = client->cluster;
    if (answer->kind == ANSWER_UNKNOWN || answer->kind == ANSWER_NONE ||
        client->request->op == CLIENT_TRANSFER)
        return;
    struct process *before = process_enter(&cluster->world, NULL);
    struct operation *operation = history_at(&cluster->history, client->operation);
    operation->t1 = ++cluster->history_clock;
    operation->status = answer->kind == ANSWER_ERROR || answer->kind == ANSWER_MOVED
                            ? OPERATION_FAIL
                            : OPERATION_OK;
    if (operation->status == OPERATION_OK) {
        bool positive = answer->kind == ANSWER_OK;
        switch (client->request->op) {
        case CLIENT_GET:
            operation->found = positive;
            if (positive) {
                const struct text *out =
                    history_text(&cluster->history, client->incoming_value, client->incoming_size);
                history_at(&cluster->history, client->operation)->out = out;
            }
            break;
        case CLIENT_SET:
            break;
        case CLIENT_APPEND:
        case CLIENT_INCR:
            operation->number = strtoll(answer->text, NULL, 10);
            operation->number_known = true;
            break;
        case CLIENT_CAS:
            operation->ok = positive;
            break;
        case CLIENT_DEL:
            operation->found = strcmp(answer->text, "1") == 0;
            break;
        case CLIENT_TRANSFER:
            UNREACHABLE();
        }
    }
    (void)process_enter(&cluster->world, before);
}

/* ---- answers ---- */

static void text_set(struct client_answer *answer, const u8 *data, size_t size)
{
    answer->size = (u32)(size < CLIENT_TEXT_SIZE ? size : CLIENT_TEXT_SIZE - 1);
    memcpy(answer->text, data, answer->size);
    answer->text[answer->size] = '\0';
}

/* One RESP value of the kinds that these commands have. */
static struct client_answer answer_parse(struct client *client, const u8 *data, size_t size)
{
    struct client_answer answer = {.kind = ANSWER_ERROR};
    ASSERT(size >= 3);
    const u8 *line = data + 1;
    const u8 *end = memchr(line, '\r', size - 1);
    ASSERT(end != NULL);
    size_t length = (size_t)(end - line);
    switch (data[0]) {
    case '+':
        answer.kind = ANSWER_OK;
        text_set(&answer, line, length);
        break;
    case ':':
        answer.kind = client->request->op == CLIENT_CAS && line[0] == '0' ? ANSWER_NIL : ANSWER_OK;
        text_set(&answer, line, length);
        break;
    case '$':
        if (line[0] == '-') {
            answer.kind = ANSWER_NIL;
            break;
        }
        answer.kind = ANSWER_OK;
        client->incoming_size = (u32)strtoul((const char *)line, NULL, 10);
        client->incoming_value = sim_resize(client->incoming_value, client->incoming_size);
        memcpy(client->incoming_value, end + 2, client->incoming_size);
        text_set(&answer, end + 2, client->incoming_size);
        break;
    case '_':
        answer.kind = ANSWER_NIL;
        break;
    case '-':
        text_set(&answer, line, length);
        if (strncmp(answer.text, "TIMEOUT", 7) == 0)
            answer.kind = ANSWER_UNKNOWN;
        break;
    default:
        ASSERT(!"an answer of a kind that these commands do not have");
    }
    return answer;
}

static void send_next(struct client *client);

/* The client takes an answer to its command in flight. */
static void conclude(struct client *client, const struct client_answer *answer)
{
    client->answer = *answer;
    client->answer.time_ns = client->cluster->world.now_ns;
    record_answer(client, &client->answer);
    client->busy = false;
    send_next(client);
}

static void conclude_without(struct client *client, enum client_answer_kind kind, const char *text)
{
    struct client_answer answer = {.kind = kind};
    text_set(&answer, (const u8 *)text, strlen(text));
    conclude(client, &answer);
}

static void answer_arrives(void *object, u64 serial)
{
    struct client *client = object;
    if (client->busy && client->serial == serial)
        conclude(client, &client->incoming);
}

static void gave_up(void *object, u64 serial)
{
    struct client *client = object;
    if (client->busy && client->serial == serial)
        conclude_without(client, ANSWER_UNKNOWN, "no answer in time");
}

static void connection_ended(void *object, u64 serial)
{
    struct client *client = object;
    if (client->busy && client->serial == serial)
        conclude_without(client, ANSWER_UNKNOWN, "the connection has ended");
}

static void sink_answer(struct command_sink *sink, struct command *command, const u8 *data,
                        size_t size)
{
    struct sim_server *server = CONTAINER_OF(sink, struct sim_server, sink);
    struct cluster *cluster = server->cluster;
    struct client *client = command->owner;
    if (client->busy && client->serial == command->slot) {
        client->incoming = answer_parse(client, data, size);
        acknowledged_answered(server, client);
        world_at(&cluster->world, cluster->world.now_ns + travel_ns(cluster), answer_arrives,
                 client, command->slot);
    }
    command_destroy(command);
}

static void sink_redirect(struct command_sink *sink, struct command *command, server_id leader)
{
    struct sim_server *server = CONTAINER_OF(sink, struct sim_server, sink);
    struct cluster *cluster = server->cluster;
    struct client *client = command->owner;
    if (client->busy && client->serial == command->slot) {
        client->incoming = (struct client_answer){.kind = ANSWER_MOVED};
        client->incoming.size =
            (u32)snprintf(client->incoming.text, CLIENT_TEXT_SIZE, "%u", leader);
        world_at(&cluster->world, cluster->world.now_ns + travel_ns(cluster), answer_arrives,
                 client, command->slot);
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
    struct kv_argument arguments[3] = {key, value, value};
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
    case CLIENT_TRANSFER:
        return command_order_body(request->target);
    }
    struct block *block = block_create((u32)kv_command_size(arguments, count));
    kv_command_encode(&limits, code, arguments, count, block->data);
    struct span body = span_of(block, block->data, block->size);
    block_release(block);
    return body;
}

static struct command *command_of(struct sim_server *server, const struct client_call *call)
{
    enum client_op op = call->request->op;
    enum command_class class = op == CLIENT_GET        ? COMMAND_READ
                               : op == CLIENT_TRANSFER ? COMMAND_TRANSFER
                                                       : COMMAND_WRITE;
    struct command *command = command_create(class, body_of(call->request), &server->sink);
    if (class == COMMAND_WRITE)
        call->request->body_crc = acknowledged_sent(server->cluster, command);
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
        if (client->busy && client->to == server->id && client->incarnation == server->incarnation)
            world_at(&cluster->world, cluster->world.now_ns + travel_ns(cluster), connection_ended,
                     client, client->serial);
    }
}

static void send_now(struct client *client)
{
    struct cluster *cluster = client->cluster;
    u64 now = cluster->world.now_ns;
    client->busy = true;
    client->serial++;
    client->sent_after = cluster->checks.acknowledged.last;
    client->to =
        client->request->via != SERVER_NONE ? client->request->via : cluster_leader(cluster);
    record_invocation(client);
    if (client->to == SERVER_NONE) {
        conclude_without(client, ANSWER_ERROR, "there is no leader");
        return;
    }
    struct sim_server *server = &cluster->servers[client->to];
    if (server->process == NULL) {
        conclude_without(client, ANSWER_ERROR, "connection refused");
        return;
    }
    client->incarnation = server->incarnation;
    struct client_call *call = sim_alloc_zero(1, sizeof(*call));
    call->client = client;
    call->serial = client->serial;
    call->to = client->to;
    call->incarnation = client->incarnation;
    call->request = client->request;
    call->request->references++;
    world_at(&cluster->world, now + travel_ns(cluster), call_arrives, call, 0);
    world_at(&cluster->world, now + CLIENT_TIMEOUT_MS * NS_PER_MS, gave_up, client, client->serial);
}

static void send_next(struct client *client)
{
    if (client->busy || client->first == NULL)
        return;
    asked_release(client->request);
    client->request = client->first;
    client->first = client->request->next;
    if (client->first == NULL)
        client->last = NULL;
    send_now(client);
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

bool client_is_idle(const struct client *client)
{
    return !client->busy && client->first == NULL;
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
        asked_release(client->request);
        sim_free(client->incoming_value);
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
