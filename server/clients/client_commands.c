/* client_commands.c - CLIENT: connections, their names, and what they do. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

#include "common/memory.h"
#include "server/clients/commands.h"

enum { NAME_MAX_BYTES = 4096, SOCKET_NAME_SIZE = INET6_ADDRSTRLEN + 10 };

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

static void write_address(int fd, bool peer, char *text, size_t size)
{
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
    write_address(connection->fd, true, address, sizeof(address));
    write_address(connection->fd, false, local, sizeof(local));
    u64 age_s = (clients->now_ns - connection->created_ns) / NS_PER_S;
    u64 idle_s = (clients->now_ns - connection->active_ns) / NS_PER_S;
    size_t input = connection->input.size - connection->input_start;
    mutex_lock(&connection->lock);
    size_t output = connection->output.size - connection->output_sent;
    u64 waiting = connection->end - connection->first;
    size_t memory = sizeof(*connection) + connection->input.capacity + connection->output.capacity +
                    connection->stored_bytes;
    mutex_unlock(&connection->lock);
    buffer_append_format(
        to,
        "id=%llu addr=%s laddr=%s fd=%d name=%s age=%llu idle=%llu flags=%s db=0 sub=0 psub=0 "
        "ssub=0 multi=-1 qbuf=%zu qbuf-free=%zu argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=%llu "
        "omem=%zu tot-mem=%zu events=%s cmd=%s user=default redir=-1 resp=%u lib-name=%s "
        "lib-ver=%s",
        (unsigned long long)connection->id, address, local, connection->fd,
        text_or_empty(connection->name), (unsigned long long)age_s, (unsigned long long)idle_s,
        connection->no_evict ? "e" : "N", input,
        connection->input.capacity - connection->input.size, (unsigned long long)waiting, output,
        memory, output > 0 ? "rw" : "r",
        connection->last_command == NULL ? "NULL" : connection->last_command, connection->protocol,
        text_or_empty(connection->library_name), text_or_empty(connection->library_version));
    buffer_append_string(to, "\n");
}

static void info(struct call *call)
{
    struct buffer text;
    buffer_init(&text);
    write_client(call->clients, call->connection, &text);
    reply_bulk(&call->reply, text.data, text.size);
    buffer_deinit(&text);
}

static bool is_listed(const struct call *call, const struct connection *connection)
{
    u64 id;
    for (u32 i = 3; i < call->count; i++)
        if (argument_number(&call->arguments[i], &id) && id == connection->id)
            return true;
    return false;
}

/* CLIENT LIST [TYPE normal] | [ID id...]. There are no clients of other types. */
static void list(struct call *call)
{
    bool by_id = call->count > 3 && argument_is(&call->arguments[2], "id");
    bool by_type = call->count == 4 && argument_is(&call->arguments[2], "type");
    if (call->count > 2 && !by_id && !by_type) {
        reply_error(&call->reply, "ERR syntax error");
        return;
    }
    bool none = by_type && !argument_is(&call->arguments[3], "normal");
    struct buffer text;
    buffer_init(&text);
    for (struct connection *at = call->clients->connections; at != NULL && !none; at = at->next)
        if (!by_id || is_listed(call, at))
            write_client(call->clients, at, &text);
    reply_bulk(&call->reply, text.data, text.size);
    buffer_deinit(&text);
}

static bool is_to_kill(const struct connection *connection, bool by_id,
                       const struct kv_argument *what)
{
    u64 id;
    char address[SOCKET_NAME_SIZE];
    if (by_id)
        return argument_number(what, &id) && id == connection->id;
    write_address(connection->fd, true, address, sizeof(address));
    return argument_is(what, address);
}

/* CLIENT KILL address, or CLIENT KILL ID id | ADDR address. */
static void kill_client(struct call *call)
{
    bool old_form = call->count == 3;
    bool by_id = !old_form && argument_is(&call->arguments[2], "id");
    if (!old_form && !by_id && !argument_is(&call->arguments[2], "addr")) {
        reply_error(&call->reply, "ERR syntax error");
        return;
    }
    i64 killed = 0;
    struct connection *next;
    for (struct connection *at = call->clients->connections; at != NULL; at = next) {
        next = at->next;
        if (!is_to_kill(at, by_id, &call->arguments[call->count - 1]))
            continue;
        killed++;
        if (at == call->connection)
            call->outcome = CALL_LAST;
        else
            port_close(call->clients, at);
    }
    if (!old_form)
        reply_integer(&call->reply, killed);
    else if (killed > 0)
        reply_simple(&call->reply, "OK");
    else
        reply_error(&call->reply, "ERR No such client");
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

static void help(struct call *call)
{
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> ...]:",
        "GETNAME | SETNAME <name>",
        "ID | INFO | LIST [TYPE normal | ID <id>...]",
        "KILL <address> | KILL ID <id> | KILL ADDR <address>",
        "NO-EVICT on|off | NO-TOUCH on|off | TRACKING off",
        "REPLY on|off|skip",
        "SETINFO lib-name|lib-ver <value>",
    };
    reply_array(&call->reply, ARRAY_LENGTH(lines));
    for (size_t i = 0; i < ARRAY_LENGTH(lines); i++)
        reply_simple(&call->reply, lines[i]);
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
    static const struct {
        const char *name;
        u32 count_min; /* with CLIENT and the name */
        u32 count_max;
        void (*run)(struct call *call);
    } subcommands[] = {
        {"id", 2, 2, get_id},
        {"getname", 2, 2, get_name},
        {"setname", 3, 3, set_name},
        {"setinfo", 4, 4, set_info},
        {"info", 2, 2, info},
        {"list", 2, UINT32_MAX, list},
        {"kill", 3, 4, kill_client},
        {"no-evict", 3, 3, no_evict},
        {"no-touch", 3, 3, no_touch},
        {"reply", 3, 3, reply_mode},
        {"tracking", 3, UINT32_MAX, tracking},
        {"getredir", 2, 2, get_redirection},
        {"help", 2, 2, help},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(subcommands); i++) {
        if (!argument_is(&call->arguments[1], subcommands[i].name))
            continue;
        if (call->count < subcommands[i].count_min || call->count > subcommands[i].count_max)
            break;
        subcommands[i].run(call);
        return;
    }
    call_unknown_subcommand(call);
}
