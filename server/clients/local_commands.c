/* local_commands.c - commands about the connection or the server that need nobody but the port. */
#include <ctype.h>
#include <stdio.h>

#include "common/clock.h"
#include "common/memory.h"
#include "server/clients/commands.h"

enum { SETTING_TEXT_MAX = 1024 };

void command_run_ok(struct call *call)
{
    reply_simple(&call->reply, "OK");
}

void command_run_ping(struct call *call)
{
    if (call->count > 2)
        call_wrong_arity(call, "ping");
    else if (call->count == 2)
        reply_bulk(&call->reply, call->arguments[1].data, call->arguments[1].size);
    else
        reply_simple(&call->reply, "PONG");
}

void command_run_echo(struct call *call)
{
    reply_bulk(&call->reply, call->arguments[1].data, call->arguments[1].size);
}

void command_run_time(struct call *call)
{
    u64 now_ns = clock_wall_ns();
    reply_array(&call->reply, 2);
    reply_format(&call->reply, "%llu", (unsigned long long)(now_ns / NS_PER_S));
    reply_format(&call->reply, "%llu", (unsigned long long)(now_ns % NS_PER_S / NS_PER_US));
}

void command_run_select(struct call *call)
{
    i64 number;
    if (!argument_integer(&call->arguments[1], &number))
        reply_error(&call->reply, "ERR value is not an integer or out of range");
    else if (number != 0)
        reply_error(&call->reply, "ERR DB index is out of range");
    else
        reply_simple(&call->reply, "OK");
}

void command_run_quit(struct call *call)
{
    reply_simple(&call->reply, "OK");
    call->outcome = CALL_LAST;
}

void command_run_http(struct call *call)
{
    REPORT_LIMITED(call->clients->report, &call->clients->strangers, REPORT_WARN, "clients",
                   "client %llu speaks HTTP, perhaps made to by a web page: connection closed",
                   (unsigned long long)call->connection->id);
    call->outcome = CALL_DROP;
}

/* ---- who the client is, and how it wants its answers ---- */

/* There is one user, "default", without a password; what Redis answers then. Names of users are
 * not alike in both cases, as commands are. */
static bool authenticate(struct call *call, const struct kv_argument *user)
{
    static const char name[] = "default";
    if (user->size == sizeof(name) - 1 && memcmp(user->data, name, user->size) == 0)
        return true;
    reply_error(&call->reply, "WRONGPASS invalid username-password pair or user is disabled.");
    return false;
}

void command_run_auth(struct call *call)
{
    if (call->count > 3)
        reply_error(&call->reply, "ERR syntax error");
    else if (call->count == 2)
        reply_error(&call->reply,
                    "ERR AUTH <password> called without any password configured for the default "
                    "user. Are you sure your configuration is correct?");
    else if (authenticate(call, &call->arguments[1]))
        reply_simple(&call->reply, "OK");
}

void hello_shape(const struct connection *connection, const char *status, size_t size,
                 struct reply *reply)
{
    char state[32];
    (void)status_word(status, size, "raft_state", state, sizeof(state));
    reply_map(reply, 7);
    reply_string(reply, "server");
    reply_string(reply, "redis");
    reply_string(reply, "version");
    reply_string(reply, REDIS_VERSION);
    reply_string(reply, "proto");
    reply_integer(reply, reply->protocol);
    reply_string(reply, "id");
    reply_integer(reply, (i64)connection->id);
    reply_string(reply, "mode");
    reply_string(reply, "cluster");
    reply_string(reply, "role");
    reply_string(reply, strcmp(state, "leader") == 0 ? "master" : "replica");
    reply_string(reply, "modules");
    reply_array(reply, 0);
}

/* HELLO [2|3 [AUTH user password] [SETNAME name]]. Nothing is changed unless all of it is good. */
void command_run_hello(struct call *call)
{
    i64 version = call->connection->protocol;
    if (call->count > 1 && !argument_integer(&call->arguments[1], &version)) {
        reply_error(&call->reply, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (version != 2 && version != 3) {
        reply_error(&call->reply, "NOPROTO unsupported protocol version");
        return;
    }
    const struct kv_argument *name = NULL;
    for (u32 i = 2; i < call->count; i++) {
        const struct kv_argument *option = &call->arguments[i];
        u32 left = call->count - 1 - i;
        if (argument_is(option, "auth") && left >= 2) {
            if (!authenticate(call, option + 1))
                return;
            i += 2;
        } else if (argument_is(option, "setname") && left >= 1) {
            name = option + 1;
            i++;
        } else {
            char word[64];
            (void)argument_text(option, word, sizeof(word));
            reply_error(&call->reply, "ERR Syntax error in HELLO option '%s'", word);
            return;
        }
    }
    if (name != NULL && !connection_set_name(call, name))
        return;
    connection_set_protocol(call->connection, (u8)version);
    call->outcome = CALL_STATUS;
    call->shape = SHAPE_HELLO;
}

void command_run_reset(struct call *call)
{
    struct connection *connection = call->connection;
    memory_free(connection->name);
    connection->name = NULL;
    connection->redirect = call->clients->options.redirect;
    connection->refuses = false;
    connection->quiet = false;
    connection->no_evict = false;
    connection->no_touch = false;
    connection_set_protocol(connection, 2);
    reply_simple(&call->reply, "RESET");
}

/* There are no transactions. A client sends MULTI and what belongs to it in one piece, before it
 * hears that MULTI was refused: so what belongs to it is refused as well (dispatch.c). */
void command_run_multi(struct call *call)
{
    call->connection->refuses = true;
    reply_error(&call->reply, "ERR transactions are not supported: commands from MULTI up to EXEC "
                              "or DISCARD are refused, and nothing is executed");
}

void command_run_exec(struct call *call)
{
    reply_error(&call->reply, call->connection->refuses
                                  ? "EXECABORT Transaction discarded because of previous errors."
                                  : "ERR EXEC without MULTI");
    call->connection->refuses = false;
}

void command_run_discard(struct call *call)
{
    if (call->connection->refuses)
        reply_simple(&call->reply, "OK");
    else
        reply_error(&call->reply, "ERR DISCARD without MULTI");
    call->connection->refuses = false;
}

void command_run_redirect(struct call *call)
{
    bool on = argument_is(&call->arguments[1], "on");
    if (!on && !argument_is(&call->arguments[1], "off")) {
        reply_error(&call->reply, "ERR syntax error: RAFT.REDIRECT on|off");
        return;
    }
    call->connection->redirect = on;
    reply_simple(&call->reply, "OK");
}

void command_run_status(struct call *call)
{
    call->outcome = CALL_STATUS;
    call->shape = SHAPE_TEXT;
}

void command_run_snapshot(struct call *call)
{
    call->outcome = CALL_SNAPSHOT;
}

/* RAFT.BACKUP index term size checksum offset count. */
void command_run_backup(struct call *call)
{
    u64 numbers[6];
    for (u32 i = 0; i < ARRAY_LENGTH(numbers); i++) {
        if (!argument_number(&call->arguments[1 + i], &numbers[i])) {
            reply_error(&call->reply, "ERR value is not an integer or out of range");
            return;
        }
    }
    if (numbers[0] == 0 || numbers[3] > UINT32_MAX || numbers[5] == 0) {
        reply_error(&call->reply, "ERR RAFT.BACKUP takes index, term, size and checksum of a "
                                  "snapshot, an offset, and a count from 1 up");
        return;
    }
    const struct backup_order order = {.last = {.index = numbers[0], .term = numbers[1]},
                                       .size = numbers[2],
                                       .checksum = (u32)numbers[3],
                                       .offset = numbers[4],
                                       .bytes_max = numbers[5]};
    call->body = command_backup_body(&order);
    call->outcome = CALL_BACKUP;
}

/* RAFT.TRANSFER [id]: to whoever can take over soonest, when it is not said to whom. */
void command_run_transfer(struct call *call)
{
    u64 target = SERVER_NONE;
    if (call->count > 2) {
        call_wrong_arity(call, "raft.transfer");
        return;
    }
    if (call->count == 2 &&
        (!argument_number(&call->arguments[1], &target) || target == 0 || target > UINT32_MAX)) {
        reply_error(&call->reply, "ERR RAFT.TRANSFER takes the number of a server");
        return;
    }
    call->body = command_order_body((server_id)target);
    call->outcome = CALL_TRANSFER;
}

/* RAFT.MEMBER READMIT id. */
void command_run_member(struct call *call)
{
    u64 target = SERVER_NONE;
    char word[16];
    if (!argument_text(&call->arguments[1], word, sizeof(word)) ||
        strcasecmp(word, "readmit") != 0) {
        reply_error(&call->reply, "ERR unknown subcommand of RAFT.MEMBER: there is READMIT id");
        return;
    }
    if (call->count != 3) {
        call_wrong_arity(call, "raft.member|readmit");
        return;
    }
    if (!argument_number(&call->arguments[2], &target) || target == 0 || target > UINT32_MAX) {
        reply_error(&call->reply, "ERR RAFT.MEMBER READMIT takes the number of a server");
        return;
    }
    call->body = command_readmit_body((server_id)target);
    call->outcome = CALL_TRANSFER;
}

/* ---- CONFIG ---- */

/* Parameters of Redis that tools ask for before they begin, and what is true of us. */
static const char *const redis_parameters[][2] = {
    {"save", ""},
    {"appendonly", "yes"},
    {"appendfsync", "always"},
    {"databases", "1"},
};

static u32 get_redis_parameters(const char *pattern, struct reply *to)
{
    struct kv_argument wanted = {(const u8 *)pattern, (u32)strlen(pattern)};
    u32 count = 0;
    for (size_t i = 0; i < ARRAY_LENGTH(redis_parameters); i++) {
        const char *name = redis_parameters[i][0];
        if (!kv_glob_match_word(&wanted, name))
            continue;
        reply_string(to, name);
        reply_string(to, redis_parameters[i][1]);
        count++;
    }
    return count;
}

static void config_get(struct call *call)
{
    struct clients_options *options = &call->clients->options;
    struct buffer pairs;
    buffer_init(&pairs);
    struct reply to = {&pairs, call->reply.protocol};
    u32 count = 0;
    for (u32 i = 2; i < call->count; i++) {
        char pattern[SETTING_TEXT_MAX];
        if (!argument_text(&call->arguments[i], pattern, sizeof(pattern)))
            continue;
        for (char *at = pattern; *at != '\0'; at++)
            *at = (char)tolower((unsigned char)*at);
        count += options->config_get(options->config_context, pattern, &pairs);
        count += get_redis_parameters(pattern, &to);
    }
    reply_map(&call->reply, count);
    buffer_append(call->reply.to, pairs.data, pairs.size);
    buffer_deinit(&pairs);
}

/* One parameter at a time: two could not be set as one step. */
static void config_set(struct call *call)
{
    struct clients_options *options = &call->clients->options;
    char key[SETTING_TEXT_MAX];
    char value[SETTING_TEXT_MAX];
    struct error error;
    if (call->count != 4) {
        reply_error(&call->reply, "ERR CONFIG SET takes one parameter and its value");
        return;
    }
    if (!argument_text(&call->arguments[2], key, sizeof(key)) ||
        !argument_text(&call->arguments[3], value, sizeof(value))) {
        reply_error(&call->reply, "ERR CONFIG SET failed - a parameter or value is too long or "
                                  "holds a zero byte");
        return;
    }
    error_clear(&error);
    if (options->config_check(options->config_context, key, value, &error) != ERROR_NONE) {
        reply_error(&call->reply, "ERR CONFIG SET failed (possibly related to argument '%s') - %s",
                    key, error.text);
        return;
    }
    size_t key_size = strlen(key) + 1;
    size_t size = key_size + strlen(value) + 1;
    struct block *block = block_create((u32)size);
    memcpy(block->data, key, key_size);
    memcpy(block->data + key_size, value, size - key_size);
    call->body = span_of(block, block->data, (u32)size);
    block_release(block);
    call->outcome = CALL_SETTING;
}

static void config_reset_statistics(struct call *call)
{
    u64 now_ns = call->clients->now_ns;
    call->clients->counters = (struct clients_counters){.rate_from_ns = now_ns};
    atomic_store_explicit(&call->clients->output_bytes, 0, memory_order_relaxed);
    call->outcome = CALL_RESET;
}

static void config_rewrite(struct call *call)
{
    reply_error(&call->reply, "ERR CONFIG REWRITE is not supported: edit cluster.conf");
}

void command_run_config(struct call *call)
{
    static const struct subcommand subcommands[] = {
        {"get", -3, config_get, "GET <pattern>",
         "Answers the parameters that match, and their values."},
        {"set", -4, config_set, "SET <parameter> <value>",
         "Sets a parameter while the server runs."},
        {"resetstat", 2, config_reset_statistics, "RESETSTAT", "Begins INFO's statistics anew."},
        {"rewrite", 2, config_rewrite, "REWRITE", "Not supported: edit cluster.conf."},
    };
    static const struct container container = {"CONFIG", subcommands, ARRAY_LENGTH(subcommands)};
    call_subcommand(call, &container);
}
