/* acknowledged.c - see acknowledged.h. */
#include "test/sim/acknowledged.h"

#include <string.h>

#include "common/crc32c.h"
#include "server/machine/kv.h"
#include "test/sim/checks_see.h"

static const char lost[] = "no acknowledged write is lost";

/* ---- what clients have sent ---- */

static struct sent_command *sent_slot(struct sent_command *table, u32 capacity, u32 crc)
{
    u32 at = crc & (capacity - 1);
    while (table[at].sent != 0 && table[at].crc != crc)
        at = (at + 1) & (capacity - 1);
    return &table[at];
}

u32 acknowledged_sent(struct cluster *cluster, const struct command *command, u64 connection,
                      u64 number)
{
    struct acknowledged *self = &cluster->checks.acknowledged;
    if (self->sent_count * 2 >= self->sent_capacity) {
        u32 capacity = self->sent_capacity == 0 ? 1024 : self->sent_capacity * 2;
        struct sent_command *table = sim_alloc_zero(capacity, sizeof(*table));
        for (u32 i = 0; i < self->sent_capacity; i++) {
            if (self->sent[i].sent != 0)
                *sent_slot(table, capacity, self->sent[i].crc) = self->sent[i];
        }
        sim_free(self->sent);
        self->sent = table;
        self->sent_capacity = capacity;
    }
    u32 crc = crc32c(0, command->body.data, command->body.size);
    struct sent_command *sent = sent_slot(self->sent, self->sent_capacity, crc);
    self->sent_count += sent->sent == 0;
    sent->crc = crc;
    sent->sent++;
    sent->connection = connection;
    sent->number = number;
    return crc;
}

/* The writes of one connection take effect in the order in which they were sent. Which connection's
 * a command is can be told when its bytes were sent only once. */
static void in_sending_order(const struct sim_server *server, u64 index,
                             const struct sent_command *sent)
{
    struct acknowledged *self = &server->cluster->checks.acknowledged;
    if (sent->sent != 1)
        return;
    self->connections = checks_grown(self->connections, &self->connection_capacity,
                                     sent->connection, sizeof(*self->connections));
    struct applied_connection *connection = &self->connections[sent->connection];
    if (sent->number < connection->number)
        cluster_fail(server->cluster, "a connection's writes in order", cluster_set_of(server->id),
                     "server %u applies entry " U64 ", which is command " U64
                     " of its client; command " U64
                     ", sent behind it on the same connection, was applied before, as entry " U64,
                     server->id, index, sent->number, connection->number, connection->index);
    if (sent->overtaken != 0)
        cluster_fail(server->cluster, "a connection's writes in order", cluster_set_of(server->id),
                     "server %u applies entry " U64 ", which is command " U64
                     " of its client; command " U64
                     ", a read sent behind it on the same connection, was answered before",
                     server->id, index, sent->number, sent->overtaken);
    *connection = (struct applied_connection){sent->number, index};
}

void acknowledged_overtaken(struct cluster *cluster, const struct flight *write, u64 read)
{
    struct acknowledged *self = &cluster->checks.acknowledged;
    if (self->sent_capacity == 0)
        return;
    struct sent_command *sent =
        sent_slot(self->sent, self->sent_capacity, write->request->body_crc);
    if (sent->sent == 1 && sent->applied == 0 && sent->number == write->serial)
        sent->overtaken = read;
}

/* An entry of its own for each command that was sent, at most. */
static void note_applied(const struct sim_server *server, u64 index, u32 crc)
{
    static const struct sent_command none;
    const struct acknowledged *self = &server->cluster->checks.acknowledged;
    struct sent_command *sent =
        self->sent_capacity > 0 ? sent_slot(self->sent, self->sent_capacity, crc) : NULL;
    const struct sent_command *found = sent != NULL ? sent : &none;
    if (found->applied < found->sent) {
        sent->applied++;
        in_sending_order(server, index, sent);
        return;
    }
    cluster_fail(server->cluster, "applied once", cluster_set_of(server->id),
                 "server %u applies entry " U64
                 ": the same command was applied %u times before, and sent by clients %u times",
                 server->id, index, found->applied, found->sent);
}

/* ---- the line of what was applied ---- */

static struct applied_entry *line_at(struct acknowledged *acknowledged, u64 index)
{
    acknowledged->line = checks_grown(acknowledged->line, &acknowledged->capacity, index,
                                      sizeof(*acknowledged->line));
    return &acknowledged->line[index];
}

/* The first machine to be given this entry. */
static void extend(struct acknowledged *acknowledged, struct entry_id id, const u8 *command,
                   size_t size)
{
    struct model_answer answer = model_apply(&acknowledged->model, command, size);
    *line_at(acknowledged, id.index) = (struct applied_entry){.term = id.term,
                                                              .previous = acknowledged->last,
                                                              .answer = answer.number,
                                                              .refused = answer.refused,
                                                              .crc = crc32c(0, command, size)};
    acknowledged->last = id.index;
}

/* If a server has applied a log entry at a given index to its state machine, no other server will
 * ever apply a different log entry for the same index (§5.4.3): seen at the machine's door. */
static void compare(const struct sim_server *server, const struct applied_entry *first,
                    struct entry_id id, const u8 *command, size_t size)
{
    if (first->term == id.term && first->crc == crc32c(0, command, size))
        return;
    cluster_fail(server->cluster, first->claimed ? lost : "state machine safety",
                 cluster_set_of(server->id),
                 "server %u applies entry " U64 " of term " U64
                 ", where another has applied %s of term " U64 "%s",
                 server->id, id.index, id.term,
                 first->term == 0 ? "none, or one that is no command," : "one", first->term,
                 first->claimed ? ", of which its client knows" : "");
}

static void see(struct sim_server *server, struct entry_id id, const u8 *command, size_t size)
{
    struct acknowledged *acknowledged = &server->cluster->checks.acknowledged;
    struct witness *witness = &server->witness;
    if (server->cluster->failed)
        return;
    if (id.index > acknowledged->last) {
        extend(acknowledged, id, command, size);
        note_applied(server, id.index, acknowledged->line[id.index].crc);
    } else {
        compare(server, &acknowledged->line[id.index], id, command, size);
    }
    u64 previous = acknowledged->line[id.index].previous;
    if (witness->known && witness->last != previous)
        cluster_fail(server->cluster, "applied in order", cluster_set_of(server->id),
                     "server %u applies entry " U64 " after entry " U64
                     ", and the command before it is entry " U64,
                     server->id, id.index, witness->last, previous);
    witness->last = id.index;
    witness->known = true;
}

/* ---- the machines' doors ---- */

static struct sim_server *server_of(const struct machine *machine)
{
    struct machine_ops *ops = (struct machine_ops *)(uintptr_t)machine->ops;
    struct witness *witness = CONTAINER_OF(ops, struct witness, ops);
    return CONTAINER_OF(witness, struct sim_server, witness);
}

static void witness_apply(struct machine *machine, const struct machine_context *context,
                          const u8 *command, size_t size, struct buffer *answer)
{
    struct sim_server *server = server_of(machine);
    see(server, context->id, command, size);
    server->witness.inner->apply(machine, context, command, size, answer);
}

/* From here on a machine may be used whose commands came in a snapshot. */
static bool witness_restore_end(struct machine *machine)
{
    struct sim_server *server = server_of(machine);
    server->witness.known = false;
    return server->witness.inner->restore_end(machine);
}

static void witness_replace(struct machine *machine, struct machine *old)
{
    struct sim_server *server = server_of(machine);
    server->witness.known = false;
    server->witness.inner->replace(machine, old);
}

static struct machine *witness_create_empty(const struct machine *machine)
{
    struct sim_server *server = server_of(machine);
    struct machine *made = server->witness.inner->create_empty(machine);
    made->ops = &server->witness.ops;
    return made;
}

struct machine *acknowledged_watch(struct sim_server *server, struct machine *machine)
{
    struct witness *witness = &server->witness;
    *witness = (struct witness){.ops = *machine->ops, .inner = machine->ops, .known = true};
    witness->ops.apply = witness_apply;
    witness->ops.restore_end = witness_restore_end;
    witness->ops.replace = witness_replace;
    witness->ops.create_empty = witness_create_empty;
    machine->ops = &witness->ops;
    return machine;
}

/* ---- answers ---- */

void acknowledged_answered(struct sim_server *server, const struct flight *flight)
{
    struct cluster *cluster = server->cluster;
    struct acknowledged *acknowledged = &cluster->checks.acknowledged;
    const struct client_answer *answer = &flight->incoming;
    const struct asked *request = flight->request;
    if ((answer->kind != ANSWER_OK && answer->kind != ANSWER_NIL) || request->op == CLIENT_GET ||
        request->op == CLIENT_SCAN || request->op == CLIENT_TRANSFER)
        return;
    i64 number = flight_answer_number(flight);
    for (u64 index = flight->sent_after + 1; index <= acknowledged->last; index++) {
        struct applied_entry *entry = &acknowledged->line[index];
        if (entry->term == 0 || entry->claimed || entry->refused ||
            entry->crc != request->body_crc || entry->answer != number)
            continue;
        entry->claimed = true;
        acknowledged->claimed_last = u64_max(acknowledged->claimed_last, index);
        acknowledged->count++;
        return;
    }
    cluster_fail(cluster, "acknowledged after it is applied", cluster_set_of(server->id),
                 "server %u answers \"%s\" to client %s, and no server has applied that write of "
                 "\"%s\" with that answer, or only for another client",
                 server->id, answer->text, flight->client->name, request->key);
}

/* ---- whether it is still there ---- */

/* Whether the answer of a GET is the item's value. */
static bool is_value(const struct buffer *answer, const struct model_item *item)
{
    if (item->value == NULL)
        return answer->size == 3 && answer->data[0] == '_';
    char head[32];
    int size = snprintf(head, sizeof(head), "$%u\r\n", item->value_size);
    return answer->size == (size_t)size + item->value_size + 2 &&
           memcmp(answer->data, head, (size_t)size) == 0 &&
           memcmp(answer->data + size, item->value, item->value_size) == 0;
}

static void read_item(const struct sim_server *server, const struct model_item *item,
                      struct buffer *command, struct buffer *answer)
{
    const struct kv_limits limits = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
    const struct kv_argument key = {item->key, item->key_size};
    struct machine *machine = server->server->machine;
    buffer_clear(command);
    buffer_clear(answer);
    size_t size = kv_command_size(&key, 1);
    kv_command_encode(&limits, KV_GET, &key, 1, buffer_reserve(command, size));
    machine->ops->read(machine, command->data, size, answer);
}

/* The machine was given all that any was. */
static void keeps_values(struct cluster *cluster, const struct sim_server *server)
{
    const struct acknowledged *acknowledged = &cluster->checks.acknowledged;
    const struct model *model = &acknowledged->model;
    struct buffer command;
    struct buffer answer;
    /* What the machine keeps for itself meanwhile is the server's memory. */
    struct process *before = process_enter(&cluster->world, server->process);
    buffer_init(&command);
    buffer_init(&answer);
    for (u32 i = 0; i < model->capacity && !cluster->failed; i++) {
        const struct model_item *item = &model->items[i];
        if (item->key == NULL)
            continue;
        read_item(server, item, &command, &answer);
        if (!is_value(&answer, item))
            cluster_fail(cluster, lost, cluster_set_of(server->id),
                         "server %u has applied all through entry " U64
                         ", and \"%.*s\" is not what the writes up to there make of it",
                         server->id, server->server->raft.last_applied, (int)item->key_size,
                         (const char *)item->key);
    }
    u64 keys = kv_key_count(server->server->machine);
    if (keys != model->present)
        cluster_fail(cluster, lost, cluster_set_of(server->id),
                     "server %u has applied all through entry " U64 " and has " U64
                     " keys, and the writes up to there make %u",
                     server->id, server->server->raft.last_applied, keys, model->present);
    buffer_deinit(&answer);
    buffer_deinit(&command);
    (void)process_enter(&cluster->world, before);
}

static void keeps_entries(struct cluster *cluster, const struct sim_server *server)
{
    const struct acknowledged *acknowledged = &cluster->checks.acknowledged;
    const struct log *log = &server->server->raft.log;
    for (u64 index = log->base.index + 1; index <= acknowledged->claimed_last; index++) {
        const struct applied_entry *entry = &acknowledged->line[index];
        /* A leader that was asleep may find its own term settled when a later one is long under
         * way: it knows nothing of that, and commits nothing any more. */
        if (!entry->claimed || entry->term > server->server->raft.current_term)
            continue;
        u64 term = index <= log->last_index ? log_term_at(log, index) : 0;
        bool same = term == entry->term;
        if (same && log_in_memory(log, index)) {
            struct entry held = log_entry(log, index);
            same = crc32c(0, held.payload, held.payload_size) == entry->crc;
        }
        if (same)
            continue;
        cluster_fail(cluster, lost, cluster_set_of(server->id),
                     "server %u, in term " U64 ", does not hold entry " U64 " of term " U64
                     ", of which its client knows (it holds one of term " U64 ")",
                     server->id, server->server->raft.current_term, index, entry->term, term);
        return;
    }
}

static void keeps(struct cluster *cluster, const struct sim_server *server)
{
    keeps_entries(cluster, server);
    /* To ask a machine takes memory of its server's. */
    if (!cluster->failed && server->shortages[RESOURCE_MEMORY].nth == 0 &&
        server->server->raft.last_applied >= cluster->checks.acknowledged.last)
        keeps_values(cluster, server);
}

void acknowledged_leader(struct cluster *cluster, const struct sim_server *server)
{
    keeps(cluster, server);
}

void acknowledged_finish(struct cluster *cluster)
{
    const struct acknowledged *acknowledged = &cluster->checks.acknowledged;
    for (server_id id = 1; id <= cluster->count && !cluster->failed; id++) {
        const struct sim_server *server = &cluster->servers[id];
        if (sim_server_is_live(server) && server->server->raft.last_applied >= acknowledged->last)
            keeps(cluster, server);
    }
}

void acknowledged_deinit(struct cluster *cluster)
{
    sim_free(cluster->checks.acknowledged.line);
    sim_free(cluster->checks.acknowledged.sent);
    sim_free(cluster->checks.acknowledged.connections);
    model_deinit(&cluster->checks.acknowledged.model);
}
