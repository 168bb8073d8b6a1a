/* client_commands.c - CLIENT: connections, their names, and what they do. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/memory.h"
#include "server/clients/commands.h"

enum {
    NAME_MAX_BYTES = 4096,
    LISTED_IDS_MAX = 1024 /* no command of the port's own has more arguments */
};

/* ---- names ---- */

/* A copy of the argument, or NULL when it is empty. */
static char *copy_argument(const struct kv_argument *argument)
{
    if (argument->size == 0)
        return NULL;
    char *text = memory_alloc(argument->size + 1U);
    memcpy(text, argument->data, argument->size);
    text[argument->size] = '\0';
    return text;
}

/* Names stand in lines of CLIENT LIST, so blanks and control characters are refused. */
static bool is_printable(const struct kv_argument *argument)
{
    for (u32 i = 0; i < argument->size; i++)
        if (argument->data[i] < '!' || argument->data[i] > '~')
            return false;
    return argument->size <= NAME_MAX_BYTES;
}

bool connection_set_name(struct call *call, const struct kv_argument *name)
{
    if (!is_printable(name)) {
        reply_error(&call->reply,
                    "ERR Client names cannot contain spaces, newlines or special characters.");
        return false;
    }
    memory_free(call->connection->name);
    call->connection->name = copy_argument(name);
    return true;
}

static void set_info(struct call *call)
{
    char attribute[32];
    const struct kv_argument *value = &call->arguments[3];
    char **to = NULL;
    (void)argument_text(&call->arguments[2], attribute, sizeof(attribute));
    if (argument_is(&call->arguments[2], "lib-name"))
        to = &call->connection->library_name;
    else if (argument_is(&call->arguments[2], "lib-ver"))
        to = &call->connection->library_version;
    if (to == NULL) {
        reply_error(&call->reply, "ERR Unrecognized option '%s'", attribute);
    } else if (!is_printable(value)) {
        reply_error(&call->reply, "ERR %s cannot contain spaces, newlines or special characters.",
                    attribute);
    } else {
        memory_free(*to);
        *to = copy_argument(value);
        reply_simple(&call->reply, "OK");
    }
}

/* ---- LIST, INFO, KILL ---- */

void connection_address(const struct connection *connection, bool peer, char *text, size_t size)
{
    int fd = connection->fd;
    struct sockaddr_storage address = {0};
    socklen_t address_size = sizeof(address);
    char host[INET6_ADDRSTRLEN] = "?";
    int code = peer ? getpeername(fd, (struct sockaddr *)&address, &address_size)
                    : getsockname(fd, (struct sockaddr *)&address, &address_size);
    const struct sockaddr_in *v4 = (const void *)&address;
    const struct sockaddr_in6 *v6 = (const void *)&address;
    u16 port = 0;
    if (code == 0 && address.ss_family == AF_INET) {
        (void)inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
        port = ntohs(v4->sin_port);
    } else if (code == 0 && address.ss_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
        port = ntohs(v6->sin6_port);
    }
    (void)snprintf(text, size, address.ss_family == AF_INET6 ? "[%s]:%u" : "%s:%u", host, port);
}

static const char *text_or_empty(const char *text)
{
    return text == NULL ? "" : text;
}

static void write_client(struct clients *clients, struct connection *connection, struct buffer *to)
{
    char address[SOCKET_NAME_SIZE];
    char local[SOCKET_NAME_SIZE];
    connection_address(connection, true, address, sizeof(address));
    connection_address(connection, false, local, sizeof(local));
    u64 age_s = (clients->now_ns - connection->created_ns) / NS_PER_S;
    u64 idle_s = (clients->now_ns - connection->active_ns) / NS_PER_S;
    size_t input = connection->input.size - connection->input_start;
    mutex_lock(&connection->lock);
    u64 output = connection->output.size;
    u64 waiting = connection->end - connection->first;
    mutex_unlock(&connection->lock);
    u64 memory = connection_memory(connection);
    buffer_append_format(
        to,
        "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=%s db=0 sub=0 psub=0 "
        "ssub=0 multi=-1 qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=%llu "
        "omem=%llu tot-mem=%llu events=%s cmd=%s user=default redir=-1 resp=%u lib-name=%s "
        "lib-ver=%s",
        (unsigned long long)connection->id, address, local, connection->fd,
        text_or_empty(connection->name), (unsigned long long)age_s, (unsigned long long)idle_s,
        connection->no_evict ? "e" : "N", input,
        connection->input.capacity - connection->input.size, (unsigned long long)waiting,
        (unsigned long long)output, (unsigned long long)memory, output > 0 ? "rw" : "r",
        connection->last_command == NULL ? "NULL" : connection->last_command, connection->protocol,
        text_or_empty(connection->library_name), text_or_empty(connection->library_version));
    buffer_append_string(to, "\n");
}

static void info(struct call *call)
{
    struct buffer text;
    buffer_init(&text);
    write_client(call->clients, call->connection, &text);
    reply_text(&call->reply, text.data, text.size);
    buffer_deinit(&text);
}

/* A type of client as Redis knows them: ours are all normal. Returns false for no such type. */
static bool read_type(struct call *call, const struct kv_argument *type, bool *normal)
{
    static const char *const others[] = {"master", "slave", "replica", "pubsub"};
    *normal = argument_is(type, "normal");
    bool known = *normal;
    for (size_t i = 0; i < ARRAY_LENGTH(others); i++)
        known |= argument_is(type, others[i]);
    if (!known) {
        char word[64];
        (void)argument_text(type, word, sizeof(word));
        reply_error(&call->reply, "ERR Unknown client type '%s'", word);
    }
    return known;
}

static void put_list(struct call *call, const u64 *ids, u32 count)
{
    struct buffer text;
    buffer_init(&text);
    for (struct connection *at = call->clients->connections; at != NULL; at = at->next) {
        bool listed = ids == NULL;
        for (u32 i = 0; i < count && !listed; i++)
            listed = ids[i] == at->id;
        if (listed)
            write_client(call->clients, at, &text);
    }
    reply_text(&call->reply, text.data, text.size);
    buffer_deinit(&text);
}

static void list_by_ids(struct call *call)
{
    u64 ids[LISTED_IDS_MAX];
    u32 count = call->count - 3;
    ASSERT(count <= LISTED_IDS_MAX);
    for (u32 i = 0; i < count; i++) {
        if (!argument_number(&call->arguments[3 + i], &ids[i])) {
            reply_error(&call->reply, "ERR Invalid client ID");
            return;
        }
    }
    put_list(call, ids, count);
}

/* CLIENT LIST [TYPE type] | [ID id...]. */
static void list(struct call *call)
{
    bool normal = true;
    if (call->count > 3 && argument_is(&call->arguments[2], "id")) {
        list_by_ids(call);
    } else if (call->count == 2) {
        put_list(call, NULL, 0);
    } else if (call->count != 4 || !argument_is(&call->arguments[2], "type")) {
        reply_error(&call->reply, "ERR syntax error");
    } else if (read_type(call, &call->arguments[3], &normal)) {
        u64 nobody = 0;
        put_list(call, normal ? NULL : &nobody, 0);
    }
}

/* Whom CLIENT KILL means: who is all of this. */
struct kill_filter {
    u64 id;                            /* 0: whoever */
    const struct kv_argument *address; /* NULL: wherever; also the next */
    const struct kv_argument *local_address;
    bool nobody; /* a type or user that none of ours has */
    bool spares_itself;
};

static bool is_to_kill(const struct call *call, const struct connection *connection,
                       const struct kill_filter *filter)
{
    char address[SOCKET_NAME_SIZE];
    if (filter->nobody || (filter->id != 0 && filter->id != connection->id) ||
        (filter->spares_itself && connection == call->connection))
        return false;
    if (filter->address != NULL) {
        connection_address(connection, true, address, sizeof(address));
        if (!argument_is(filter->address, address))
            return false;
    }
    if (filter->local_address != NULL) {
        connection_address(connection, false, address, sizeof(address));
        return argument_is(filter->local_address, address);
    }
    return true;
}

static i64 kill_all(struct call *call, const struct kill_filter *filter)
{
    i64 killed = 0;
    struct connection *next;
    for (struct connection *at = call->clients->connections; at != NULL; at = next) {
        next = at->next;
        if (!is_to_kill(call, at, filter))
            continue;
        killed++;
        if (at == call->connection)
            call->outcome = CALL_LAST;
        else
            port_close(call->clients, at);
    }
    return killed;
}

static bool read_user(struct call *call, const struct kv_argument *user)
{
    char word[64];
    if (argument_text(user, word, sizeof(word)) && strcmp(word, "default") == 0)
        return true;
    reply_error(&call->reply, "ERR No such user '%s'", word);
    return false;
}

/* One "name value" of CLIENT KILL. Returns false when it has answered an error. */
static bool read_kill_filter(struct call *call, const struct kv_argument *name,
                             struct kill_filter *filter)
{
    const struct kv_argument *value = name + 1;
    bool normal = true;
    if (argument_is(name, "id")) {
        if (argument_number(value, &filter->id) && filter->id > 0)
            return true;
        reply_error(&call->reply, "ERR client-id should be greater than 0");
        return false;
    }
    if (argument_is(name, "type")) {
        bool known = read_type(call, value, &normal);
        filter->nobody |= !normal;
        return known;
    }
    if (argument_is(name, "user"))
        return read_user(call, value);
    if (argument_is(name, "addr")) {
        filter->address = value;
        return true;
    }
    if (argument_is(name, "laddr")) {
        filter->local_address = value;
        return true;
    }
    if (argument_is(name, "skipme") && (argument_is(value, "yes") || argument_is(value, "no"))) {
        filter->spares_itself = argument_is(value, "yes");
        return true;
    }
    reply_error(&call->reply, "ERR syntax error");
    return false;
}

/* CLIENT KILL address, or CLIENT KILL with pairs of ID, ADDR, LADDR, TYPE, USER and SKIPME. */
static void kill_client(struct call *call)
{
    if (call->count == 3) {
        const struct kill_filter filter = {.address = &call->arguments[2]};
        if (kill_all(call, &filter) > 0)
            reply_simple(&call->reply, "OK");
        else
            reply_error(&call->reply, "ERR No such client");
        return;
    }
    struct kill_filter filter = {.spares_itself = true};
    if (call->count % 2 != 0) {
        reply_error(&call->reply, "ERR syntax error");
        return;
    }
    for (u32 i = 2; i < call->count; i += 2)
        if (!read_kill_filter(call, &call->arguments[i], &filter))
            return;
    reply_integer(&call->reply, kill_all(call, &filter));
}

/* ---- switches ---- */

static bool read_switch(struct call *call, bool *value)
{
    *value = argument_is(&call->arguments[2], "on");
    if (*value || argument_is(&call->arguments[2], "off"))
        return true;
    reply_error(&call->reply, "ERR syntax error");
    return false;
}

static void tracking(struct call *call)
{
    bool on;
    if (!read_switch(call, &on))
        return;
    if (on)
        reply_error(&call->reply, "ERR client tracking is not supported");
    else
        reply_simple(&call->reply, "OK");
}

static void reply_mode(struct call *call)
{
    struct connection *connection = call->connection;
    const struct kv_argument *mode = &call->arguments[2];
    if (argument_is(mode, "on")) {
        connection->quiet = false;
        connection->quiet_this = false; /* this answer is heard, whatever was said before */
        reply_simple(&call->reply, "OK");
    } else if (argument_is(mode, "off")) {
        connection->quiet = true;
    } else if (argument_is(mode, "skip")) {
        connection->quiet_next = !connection->quiet;
    } else {
        reply_error(&call->reply, "ERR syntax error");
    }
}

static void set_flag(struct call *call, bool *flag)
{
    bool value;
    if (!read_switch(call, &value))
        return;
    *flag = value;
    reply_simple(&call->reply, "OK");
}

static void get_name(struct call *call)
{
    if (call->connection->name == NULL)
        reply_null(&call->reply);
    else
        reply_string(&call->reply, call->connection->name);
}

static void set_name(struct call *call)
{
    if (connection_set_name(call, &call->arguments[2]))
        reply_simple(&call->reply, "OK");
}

static void get_id(struct call *call)
{
    reply_integer(&call->reply, (i64)call->connection->id);
}

static void get_redirection(struct call *call)
{
    reply_integer(&call->reply, -1);
}

static void no_evict(struct call *call)
{
    set_flag(call, &call->connection->no_evict);
}

static void no_touch(struct call *call)
{
    set_flag(call, &call->connection->no_touch);
}

void command_run_client(struct call *call)
{
    static const struct subcommand subcommands[] = {
        {"getname", 2, get_name, "GETNAME", "Answers this connection's name."},
        {"getredir", 2, get_redirection, "GETREDIR", "Answers -1: there is no tracking."},
        {"id", 2, get_id, "ID", "Answers this connection's number."},
        {"info", 2, info, "INFO", "Tells of this connection."},
        {"kill", -3, kill_client, "KILL <address> | (ID|ADDR|LADDR|TYPE|USER|SKIPME) <value> [...]",
         "Ends the connections that are all of this."},
        {"list", -2, list, "LIST [TYPE <type> | ID <id> ...]", "Tells of connections."},
        {"no-evict", 3, no_evict, "NO-EVICT (ON|OFF)", "Makes this connection one of the last."},
        {"no-touch", 3, no_touch, "NO-TOUCH (ON|OFF)", "Accepted; keys have no times of use."},
        {"reply", 3, reply_mode, "REPLY (ON|OFF|SKIP)", "Chooses what is answered."},
        {"setinfo", 4, set_info, "SETINFO (LIB-NAME|LIB-VER) <value>", "Names the library."},
        {"setname", 3, set_name, "SETNAME <name>", "Names this connection."},
        {"tracking", -3, tracking, "TRACKING OFF", "Accepted; ON is not supported."},
    };
    static const struct container container = {"CLIENT", subcommands, ARRAY_LENGTH(subcommands)};
    call_subcommand(call, &container);
}
