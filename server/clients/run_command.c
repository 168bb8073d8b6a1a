/* dispatch.c - what becomes of a parsed command: answered here, or sent to the server.
 *
 * Bodies of one round's commands stand one behind the other in one block: a round costs one
 * allocation for all bodies and one message for all commands. */
#include "common/clock.h"
#include "common/memory.h"
#include "server/clients/commands.h"

enum {
    BODY_OWN_BLOCK = 8 * 1024,
    UNKNOWN_ARGUMENTS_MAX = 128,
    CAPACITY_KEPT = 64 * 1024,
    LOCAL_ARGUMENTS_MAX = 1024 /* each may make the port look through all connections or commands */
};

/* ---- to the server ---- */

/* Room for a body of that size. The span's reference is its own. */
static struct span take_body_room(struct clients *clients, size_t size)
{
    if (size > BODY_OWN_BLOCK) {
        struct block *block = block_create((u32)size);
        struct span span = span_of(block, block->data, (u32)size);
        block_release(block);
        return span;
    }
    if (clients->bodies == NULL || BODIES_SIZE - clients->bodies_used < size) {
        block_release(clients->bodies);
        clients->bodies = block_create(BODIES_SIZE);
        clients->bodies_used = 0;
    }
    struct span span =
        span_of(clients->bodies, clients->bodies->data + clients->bodies_used, (u32)size);
    clients->bodies_used += (u32)size;
    return span;
}

static void send_to_server(struct clients *clients, struct connection *connection,
                           enum command_class class, struct span body, u8 shape, u32 details)
{
    struct command *command = command_create(class, body, &clients->sink);
    command->arrived_ns = clients->now_ns;
    command->slot = connection_give_place(connection, command, shape, details);
    command->may_redirect = connection->redirect;
    command->owner = connection;
    connection_hold(connection);
    command_list_put(&clients->commands, command);
    if (clients->commands.bytes > POST_BYTES || clients->commands.count >= POST_COUNT)
        dispatch_post(clients);
}

/* Whether nothing goes to the server any more; the reply says so then. */
static bool refused(struct clients *clients)
{
    if (!clients->draining && !clients->stalled)
        return false;
    enum command_failure why = clients->draining ? COMMAND_STOPPING : COMMAND_STALLED;
    buffer_clear(&clients->reply);
    buffer_append_format(&clients->reply, "-%s\r\n", command_failure_text(why));
    return true;
}

/* The status as it is known here, in place of the server's answer. */
static void answer_known_status(struct clients *clients, struct command *command)
{
    struct buffer status;
    buffer_init(&status);
    stall_describe(clients, &status);
    command_answer(command, status.data, status.size);
    buffer_deinit(&status);
}

/* The server took none of these. */
static void fail_unposted(struct clients *clients, struct command_list *list)
{
    struct command *command;
    stall_look(clients);
    while ((command = command_list_take(list)) != NULL) {
        if (clients->stalled && command->class == COMMAND_STATUS)
            answer_known_status(clients, command);
        else
            command_fail(command, clients->stalled ? COMMAND_STALLED : COMMAND_BUSY);
    }
}

void dispatch_post(struct clients *clients)
{
    if (clients->commands.count == 0)
        return;
    struct command_list rest = {0};
    if (clients->stopping) {
        command_list_move(&rest, &clients->commands);
        command_list_fail(&rest, COMMAND_STOPPING);
    } else if (clients->stalled) { /* only who asks for the status came so far */
        command_list_move(&rest, &clients->commands);
        fail_unposted(clients, &rest);
    } else {
        struct mail *mail = mail_create(MAIL_COMMANDS);
        command_list_move(&mail->as.commands, &clients->commands);
        if (mail_try_post(clients->slot, mail))
            return;
        command_list_move(&rest, &mail->as.commands);
        mail_destroy(mail);
        fail_unposted(clients, &rest);
    }
    clients_flush(clients);
}

/* ---- one command ---- */

static void answer(struct connection *connection, struct buffer *reply)
{
    connection_answer_local(connection, reply->data, reply->size);
    if (reply->capacity > CAPACITY_KEPT) {
        buffer_deinit(reply);
        buffer_init(reply);
    }
}

static enum dispatched dispatch_machine(struct clients *clients, struct connection *connection,
                                        const struct kv_command_info *info,
                                        const struct kv_argument *arguments, u32 count)
{
    buffer_clear(&clients->reply);
    bool good = kv_command_check(&clients->options.limits, info, arguments, count, &clients->reply);
    good = good && !refused(clients);
    enum connection_take take = !good ? TAKE_LOCAL : info->writes ? TAKE_WRITE : TAKE_READ;
    if (!connection_may_take(connection, take))
        return DISPATCH_WAIT;
    connection->last_command = info->name;
    if (!good) {
        answer(connection, &clients->reply);
        return DISPATCH_DONE;
    }
    size_t size = kv_command_size(arguments, count);
    struct span body = take_body_room(clients, size);
    u8 *to = body.block->data + (body.data - body.block->data);
    kv_command_encode(&clients->options.limits, info->command, arguments, count, to);
    send_to_server(clients, connection, info->writes ? COMMAND_WRITE : COMMAND_READ, body,
                   SHAPE_NONE, 0);
    return DISPATCH_DONE;
}

static bool asks_server_to_act(enum call_outcome outcome)
{
    switch (outcome) {
    case CALL_SETTING:
    case CALL_RESET:
    case CALL_SNAPSHOT:
    case CALL_BACKUP:
    case CALL_TRANSFER:
        return true;
    case CALL_ANSWERED:
    case CALL_STATUS:
    case CALL_LAST:
    case CALL_DROP:
        return false;
    }
    UNREACHABLE();
}

static enum dispatched finish_call(struct call *call)
{
    struct clients *clients = call->clients;
    struct connection *connection = call->connection;
    struct span nothing = {0};
    if (asks_server_to_act(call->outcome) && refused(clients)) {
        span_release(&call->body);
        call->outcome = CALL_ANSWERED;
    }
    switch (call->outcome) {
    case CALL_ANSWERED:
        answer(connection, call->reply.to);
        return DISPATCH_DONE;
    case CALL_STATUS:
        send_to_server(clients, connection, COMMAND_STATUS, nothing, (u8)call->shape,
                       call->details);
        return DISPATCH_DONE;
    case CALL_SETTING:
        send_to_server(clients, connection, COMMAND_SETTING, call->body, SHAPE_NONE, 0);
        return DISPATCH_DONE;
    case CALL_RESET:
        send_to_server(clients, connection, COMMAND_RESET_STATISTICS, nothing, SHAPE_NONE, 0);
        return DISPATCH_DONE;
    case CALL_TRANSFER:
        send_to_server(clients, connection, COMMAND_TRANSFER, call->body, SHAPE_NONE, 0);
        return DISPATCH_DONE;
    case CALL_SNAPSHOT:
        send_to_server(clients, connection, COMMAND_SNAPSHOT, nothing, SHAPE_NONE, 0);
        return DISPATCH_DONE;
    case CALL_BACKUP:
        send_to_server(clients, connection, COMMAND_BACKUP, call->body, SHAPE_NONE, 0);
        return DISPATCH_DONE;
    case CALL_LAST:
        answer(connection, call->reply.to);
        connection_close_when_done(connection);
        return DISPATCH_END;
    case CALL_DROP:
        port_close(clients, connection);
        return DISPATCH_END;
    }
    UNREACHABLE();
}

static enum dispatched dispatch_local(struct clients *clients, struct connection *connection,
                                      const struct local_command *command,
                                      const struct kv_argument *arguments, u32 count)
{
    if (!connection_may_take(connection, command->take))
        return DISPATCH_WAIT;
    connection->last_command = command->name;
    buffer_clear(&clients->reply);
    struct call call = {
        .clients = clients,
        .connection = connection,
        .arguments = arguments,
        .count = count,
        .reply = {&clients->reply, connection->protocol},
    };
    bool fits = command->arity >= 0 ? count == (u32)command->arity : count >= (u32)-command->arity;
    if (count > LOCAL_ARGUMENTS_MAX)
        reply_error(&call.reply, "ERR '%s' takes at most %d arguments", command->name,
                    LOCAL_ARGUMENTS_MAX - 1);
    else if (fits)
        command->run(&call);
    else
        call_wrong_arity(&call, command->name);
    return finish_call(&call);
}

static enum dispatched dispatch_unknown(struct clients *clients, struct connection *connection,
                                        const struct kv_argument *arguments, u32 count)
{
    if (!connection_may_take(connection, TAKE_LOCAL))
        return DISPATCH_WAIT;
    char shown[2 * UNKNOWN_ARGUMENTS_MAX];
    size_t size = 0;
    for (u32 i = 1; i < count && size < UNKNOWN_ARGUMENTS_MAX; i++) {
        size_t part = u64_min(arguments[i].size, UNKNOWN_ARGUMENTS_MAX - size);
        shown[size++] = '\'';
        memcpy(shown + size, arguments[i].data, part);
        size += part;
        shown[size++] = '\'';
        shown[size++] = ' ';
    }
    shown[size] = '\0';
    char name[UNKNOWN_ARGUMENTS_MAX + 1];
    (void)argument_text(&arguments[0], name, sizeof(name));
    buffer_clear(&clients->reply);
    struct reply reply = {&clients->reply, connection->protocol};
    reply_error(&reply, "ERR unknown command '%s', with args beginning with: %s", name, shown);
    answer(connection, &clients->reply);
    return DISPATCH_DONE;
}

/* Behind a MULTI that was refused. What ends that, or the connection, is carried out. */
static bool is_refused(const struct connection *connection, const struct kv_argument *name)
{
    return connection->refuses && !argument_is(name, "exec") && !argument_is(name, "discard") &&
           !argument_is(name, "multi") && !argument_is(name, "reset") && !argument_is(name, "quit");
}

static enum dispatched dispatch_refused(struct clients *clients, struct connection *connection)
{
    if (!connection_may_take(connection, TAKE_LOCAL))
        return DISPATCH_WAIT;
    buffer_clear(&clients->reply);
    struct reply reply = {&clients->reply, connection->protocol};
    reply_error(&reply, "ERR not executed: it stands behind MULTI, which is not supported here; "
                        "send EXEC or DISCARD to go on");
    answer(connection, &clients->reply);
    return DISPATCH_DONE;
}

static enum dispatched dispatch_one(struct clients *clients, struct connection *connection,
                                    const struct kv_argument *arguments, u32 count)
{
    if (is_refused(connection, &arguments[0]))
        return dispatch_refused(clients, connection);
    const struct kv_command_info *info = kv_command_find(arguments[0].data, arguments[0].size);
    if (info != NULL)
        return dispatch_machine(clients, connection, info, arguments + 1, count - 1);
    const struct local_command *local = command_table_find(&arguments[0]);
    if (local != NULL)
        return dispatch_local(clients, connection, local, arguments, count);
    return dispatch_unknown(clients, connection, arguments, count);
}

enum dispatched dispatch_command(struct clients *clients, struct connection *connection,
                                 const struct kv_argument *arguments, u32 count)
{
    /* CLIENT REPLY SKIP itself sets it again for the command behind it. */
    bool quiet = connection->quiet_next;
    connection->quiet_this = quiet;
    connection->quiet_next = false;
    enum dispatched done = dispatch_one(clients, connection, arguments, count);
    connection->quiet_this = false;
    if (done == DISPATCH_WAIT) {
        connection->quiet_next = quiet;
        return done;
    }
    connection->active_ns = clients->now_ns;
    connection->commands++;
    clients->counters.commands++;
    return done;
}

/* ---- answers made of the server's status ---- */

static void write_shape(struct clients *clients, const struct connection *connection,
                        const struct place *place, struct reply *reply)
{
    const char *text = (const char *)place->bytes;
    struct buffer info;
    switch ((enum status_shape)place->shape) {
    case SHAPE_NONE:
        UNREACHABLE();
    case SHAPE_TEXT:
        reply_text(reply, place->bytes, place->size);
        return;
    case SHAPE_HELLO:
        hello_shape(connection, text, place->size, reply);
        return;
    case SHAPE_INFO:
        buffer_init(&info);
        info_write(clients, place->details, text, place->size, &info);
        reply_text(reply, info.data, info.size);
        buffer_deinit(&info);
        return;
    case SHAPE_CLUSTER_SLOTS:
    case SHAPE_CLUSTER_SHARDS:
    case SHAPE_CLUSTER_NODES:
    case SHAPE_CLUSTER_INFO:
        cluster_shape(clients, (enum status_shape)place->shape, text, place->size, reply);
        return;
    }
    UNREACHABLE();
}

void dispatch_texts(struct clients *clients, struct connection *connection)
{
    u64 number;
    struct place place;
    while (connection_take_text(connection, &number, &place)) {
        buffer_clear(&clients->reply);
        /* The protocol changes only while no command of the connection is under way. */
        struct reply reply = {&clients->reply, connection->protocol};
        write_shape(clients, connection, &place, &reply);
        connection_put_shaped(connection, number, clients->reply.data, clients->reply.size);
        memory_free(place.bytes);
    }
}
