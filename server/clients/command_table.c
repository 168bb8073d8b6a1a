/* command_table.c - the port's own commands, and COMMAND, which tells clients of all there are.
 *
 * Client libraries read COMMAND to learn which arguments are keys; redis-cli reads COMMAND DOCS for
 * its hints. The machine's commands come from the machine's own table. */
#include "server/clients/commands.h"

static const struct local_command local_commands[] = {
    {"ping", -1, TAKE_LOCAL, command_run_ping, "Answers PONG, or its argument."},
    {"echo", 2, TAKE_LOCAL, command_run_echo, "Answers its argument."},
    {"hello", -1, TAKE_ALONE, command_run_hello, "Chooses the protocol's version."},
    {"auth", -2, TAKE_LOCAL, command_run_auth, "Authenticates the connection."},
    {"select", 2, TAKE_LOCAL, command_run_select, "Chooses a database; there is only 0."},
    {"quit", -1, TAKE_LOCAL, command_run_quit, "Closes the connection."},
    {"reset", 1, TAKE_ALONE, command_run_reset, "Makes the connection as new."},
    {"client", -2, TAKE_ALONE, command_run_client, "Commands about connections."},
    {"command", -1, TAKE_LOCAL, command_run_command, "Commands about commands."},
    {"info", -1, TAKE_STATUS, command_run_info, "Tells what the server is doing."},
    {"config", -2, TAKE_STATUS, command_run_config, "Reads and sets parameters."},
    {"cluster", -2, TAKE_STATUS, command_run_cluster, "Tells who the servers are."},
    {"readonly", 1, TAKE_LOCAL, command_run_ok, "Accepted; reads work on every server."},
    {"readwrite", 1, TAKE_LOCAL, command_run_ok, "Accepted; reads work on every server."},
    {"asking", 1, TAKE_LOCAL, command_run_ok, "Accepted; slots never move."},
    {"multi", 1, TAKE_LOCAL, command_run_multi, NULL},
    {"exec", 1, TAKE_LOCAL, command_run_exec, NULL},
    {"discard", 1, TAKE_LOCAL, command_run_discard, NULL},
    {"time", 1, TAKE_LOCAL, command_run_time, "Answers this server's time."},
    {"raft.status", 1, TAKE_STATUS, command_run_status, "This server's Raft state."},
    {"raft.snapshot", 1, TAKE_STATUS, command_run_snapshot,
     "Takes a snapshot on this server; answers the index of its last entry."},
    {"raft.backup", 7, TAKE_STATUS, command_run_backup,
     "A piece of a snapshot's file: index, term, size and checksum as in INFO, offset, count."},
    {"raft.transfer", -1, TAKE_STATUS, command_run_transfer,
     "Hands leadership over, to a server or to whoever can take over soonest; answers who leads."},
    {"raft.member", -2, TAKE_STATUS, command_run_member,
     "READMIT id: a server that is not recognised any more votes again; see raftctl member."},
    {"raft.redirect", 2, TAKE_LOCAL, command_run_redirect,
     "on: answer -MOVED instead of forwarding to the leader."},
    /* The first word of HTTP, by which web pages try to make a browser speak to us. */
    {"post", -1, TAKE_LOCAL, command_run_http, NULL},
    {"host:", -1, TAKE_LOCAL, command_run_http, NULL},
};

/* ---- words ---- */

static u8 lower(u8 byte)
{
    return byte >= 'A' && byte <= 'Z' ? byte | 0x20 : byte;
}

bool argument_is(const struct kv_argument *argument, const char *word)
{
    for (u32 i = 0; i < argument->size; i++)
        if (word[i] == '\0' || lower(argument->data[i]) != (u8)word[i])
            return false;
    return word[argument->size] == '\0';
}

bool argument_integer(const struct kv_argument *argument, i64 *number)
{
    return kv_number_parse(argument->data, argument->size, number);
}

bool argument_number(const struct kv_argument *argument, u64 *number)
{
    i64 integer;
    if (!argument_integer(argument, &integer) || integer < 0)
        return false;
    *number = (u64)integer;
    return true;
}

bool argument_text(const struct kv_argument *argument, char *text, size_t size)
{
    size_t fits = u64_min(argument->size, size - 1);
    if (fits > 0)
        memcpy(text, argument->data, fits);
    text[fits] = '\0';
    return strlen(text) == argument->size;
}

void call_wrong_arity(struct call *call, const char *name)
{
    reply_error(&call->reply, "ERR wrong number of arguments for '%s' command", name);
}

const struct local_command *command_table_find(const struct kv_argument *name)
{
    for (size_t i = 0; i < ARRAY_LENGTH(local_commands); i++)
        if (argument_is(name, local_commands[i].name))
            return &local_commands[i];
    return NULL;
}

/* ---- COMMAND ---- */

struct key_places {
    int first;
    int last;
    int step;
};

static struct key_places key_places_of(const struct kv_command_info *info)
{
    switch (info->key_step) {
    case 0:
        return (struct key_places){0, 0, 0};
    case 1:
        return (struct key_places){1, 1, 1};
    case -1:
        return (struct key_places){1, -1, 1};
    default:
        return (struct key_places){1, -1, info->key_step};
    }
}

static int arity_of(const struct kv_command_info *info)
{
    int count = info->arguments_min + 1;
    return info->arguments_max == info->arguments_min ? count : -count;
}

static void put_entry(struct reply *reply, const char *name, int arity, const char *flag,
                      struct key_places keys)
{
    reply_array(reply, 10);
    reply_string(reply, name);
    reply_integer(reply, arity);
    reply_set(reply, 1);
    reply_simple(reply, flag);
    reply_integer(reply, keys.first);
    reply_integer(reply, keys.last);
    reply_integer(reply, keys.step);
    reply_set(reply, 0);   /* access categories */
    reply_array(reply, 0); /* tips */
    reply_array(reply, 0); /* key specifications */
    reply_array(reply, 0); /* subcommands */
}

static void put_machine_entry(struct reply *reply, const struct kv_command_info *info)
{
    put_entry(reply, info->name, arity_of(info), info->writes ? "write" : "readonly",
              key_places_of(info));
}

static void put_local_entry(struct reply *reply, const struct local_command *command)
{
    put_entry(reply, command->name, command->arity, "fast", (struct key_places){0, 0, 0});
}

static size_t count_commands(void)
{
    size_t count = KV_COMMAND_END - 1;
    for (size_t i = 0; i < ARRAY_LENGTH(local_commands); i++)
        count += local_commands[i].summary != NULL;
    return count;
}

static void put_all(struct reply *reply)
{
    reply_array(reply, count_commands());
    for (int k = KV_NONE + 1; k < KV_COMMAND_END; k++)
        put_machine_entry(reply, kv_command_info((enum kv_command)k));
    for (size_t i = 0; i < ARRAY_LENGTH(local_commands); i++)
        if (local_commands[i].summary != NULL)
            put_local_entry(reply, &local_commands[i]);
}

/* What COMMAND LIST is to name. */
struct name_filter {
    bool none;
    const struct kv_argument *pattern; /* NULL: all */
};

static bool is_wanted(const struct name_filter *filter, const char *name)
{
    return !filter->none && (filter->pattern == NULL || kv_glob_match_word(filter->pattern, name));
}

/* Appends the names that are wanted; returns their number. */
static size_t put_wanted(const struct name_filter *filter, struct reply *reply)
{
    size_t count = 0;
    for (int k = KV_NONE + 1; k < KV_COMMAND_END; k++) {
        const char *name = kv_command_info((enum kv_command)k)->name;
        if (is_wanted(filter, name)) {
            reply_string(reply, name);
            count++;
        }
    }
    for (size_t i = 0; i < ARRAY_LENGTH(local_commands); i++) {
        if (local_commands[i].summary != NULL && is_wanted(filter, local_commands[i].name)) {
            reply_string(reply, local_commands[i].name);
            count++;
        }
    }
    return count;
}

/* COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]: there are no modules,
 * and no categories. */
static void list_names(struct call *call)
{
    struct name_filter filter = {0};
    const struct kv_argument *words = call->arguments + 2;
    if (call->count != 2 && (call->count != 5 || !argument_is(&words[0], "filterby"))) {
        reply_error(&call->reply, "ERR syntax error");
        return;
    }
    if (call->count == 5) {
        filter.none = argument_is(&words[1], "module") || argument_is(&words[1], "aclcat");
        filter.pattern = argument_is(&words[1], "pattern") ? &words[2] : NULL;
        if (!filter.none && filter.pattern == NULL) {
            reply_error(&call->reply, "ERR syntax error");
            return;
        }
    }
    struct buffer names;
    buffer_init(&names);
    struct reply to = {&names, call->reply.protocol};
    reply_array(&call->reply, put_wanted(&filter, &to));
    buffer_append(call->reply.to, names.data, names.size);
    buffer_deinit(&names);
}

static void put_named(struct call *call)
{
    if (call->count == 2) {
        put_all(&call->reply);
        return;
    }
    reply_array(&call->reply, call->count - 2);
    for (u32 i = 2; i < call->count; i++) {
        const struct kv_argument *name = &call->arguments[i];
        const struct kv_command_info *info = kv_command_find(name->data, name->size);
        const struct local_command *local = command_table_find(name);
        if (info != NULL)
            put_machine_entry(&call->reply, info);
        else if (local != NULL && local->summary != NULL)
            put_local_entry(&call->reply, local);
        else
            reply_null(&call->reply);
    }
}

static void put_doc(struct reply *reply, const char *name, const char *summary, const char *group)
{
    reply_string(reply, name);
    reply_map(reply, 3);
    reply_string(reply, "summary");
    reply_string(reply, summary);
    reply_string(reply, "since");
    reply_string(reply, "1.0.0");
    reply_string(reply, "group");
    reply_string(reply, group);
}

static bool is_asked_for(const struct call *call, const char *name)
{
    for (u32 i = 2; i < call->count; i++)
        if (argument_is(&call->arguments[i], name))
            return true;
    return call->count == 2;
}

static void put_docs(struct call *call)
{
    size_t count = 0;
    for (int k = KV_NONE + 1; k < KV_COMMAND_END; k++)
        count += is_asked_for(call, kv_command_info((enum kv_command)k)->name);
    for (size_t i = 0; i < ARRAY_LENGTH(local_commands); i++)
        count += local_commands[i].summary != NULL && is_asked_for(call, local_commands[i].name);
    reply_map(&call->reply, count);
    for (int k = KV_NONE + 1; k < KV_COMMAND_END; k++) {
        const struct kv_command_info *info = kv_command_info((enum kv_command)k);
        const char *summary =
            info->writes ? "A write: it goes through the replicated log." : "A linearizable read.";
        if (is_asked_for(call, info->name))
            put_doc(&call->reply, info->name, summary, "string");
    }
    for (size_t i = 0; i < ARRAY_LENGTH(local_commands); i++)
        if (local_commands[i].summary != NULL && is_asked_for(call, local_commands[i].name))
            put_doc(&call->reply, local_commands[i].name, local_commands[i].summary, "server");
}

/* COMMAND GETKEYS name argument...: which of the arguments are keys. */
static void put_keys(struct call *call)
{
    const struct kv_argument *name = &call->arguments[2];
    const struct kv_command_info *info = kv_command_find(name->data, name->size);
    u32 arguments = call->count - 3;
    if (info == NULL) {
        reply_error(&call->reply, "ERR Invalid command specified");
        return;
    }
    if (info->key_step == 0) {
        reply_error(&call->reply, "ERR The command has no key arguments");
        return;
    }
    if (arguments < (u32)info->arguments_min ||
        (info->arguments_max >= 0 && arguments > (u32)info->arguments_max)) {
        reply_error(&call->reply, "ERR Invalid number of arguments specified for command");
        return;
    }
    u32 step = info->key_step == 2 ? 2 : 1;
    u32 last = info->key_step == 1 ? 1 : arguments;
    reply_array(&call->reply, (last + step - 1) / step);
    for (u32 i = 0; i < last; i += step)
        reply_bulk(&call->reply, call->arguments[3 + i].data, call->arguments[3 + i].size);
}

static void put_count(struct call *call)
{
    reply_integer(&call->reply, (i64)count_commands());
}

void command_run_command(struct call *call)
{
    static const struct subcommand subcommands[] = {
        {"count", 2, put_count, "COUNT", "Answers how many commands there are."},
        {"docs", -2, put_docs, "DOCS [<command-name> ...]", "Tells what commands do."},
        {"getkeys", -4, put_keys, "GETKEYS <full-command>", "Answers the keys of a command."},
        {"info", -2, put_named, "INFO [<command-name> ...]", "Tells how commands are called."},
        {"list", -2, list_names, "LIST [FILTERBY (MODULE|ACLCAT|PATTERN) <what>]",
         "Answers the names of commands."},
    };
    static const struct container container = {"COMMAND", subcommands, ARRAY_LENGTH(subcommands)};
    if (call->count == 1)
        put_all(&call->reply);
    else
        call_subcommand(call, &container);
}
