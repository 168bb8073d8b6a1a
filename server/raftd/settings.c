/* settings.c - see settings.h. */
#include "server/raftd/settings.h"

#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

static const char *const level_words[] = {"error", "warn", "info", "debug", NULL};
static const char *const format_words[] = {"logfmt", "json", NULL};

#define AT(field) offsetof(struct settings_values, field)

static const struct config_key keys[] = {
    {"cluster-id", CONFIG_STRING, CONFIG_REQUIRED, AT(cluster_id), 1, CLUSTER_ID_SIZE - 1,
     "mailraft", NULL, "servers of different clusters refuse each other"},
    {"server", CONFIG_LINE, CONFIG_REPEATED | CONFIG_REQUIRED, 0, 0, 0, NULL, NULL,
     "a member: its number, the address for its peers, and client= the address for clients"},
    {"election-timeout", CONFIG_DURATION_RANGE, CONFIG_RUNTIME, AT(election_timeout),
     10 * NS_PER_MS, 60 * NS_PER_S, "150ms..300ms", NULL,
     "without word from the leader for a random time in this range a follower asks for votes"},
    {"heartbeat", CONFIG_DURATION, CONFIG_RUNTIME, AT(heartbeat), NS_PER_MS, 30 * NS_PER_S, "50ms",
     NULL, "a leader is heard at least this often"},
    {"leader-wait", CONFIG_DURATION, CONFIG_RUNTIME, AT(leader_wait), 0, 60 * NS_PER_S, "2s", NULL,
     "how long a command waits while no leader is known, before it is refused"},
    {"forward-timeout", CONFIG_DURATION, CONFIG_RUNTIME, AT(forward_timeout), 10 * NS_PER_MS,
     600 * NS_PER_S, "5s", NULL, "how long a follower waits for the leader's answer to a command"},
    {"stop-timeout", CONFIG_DURATION, CONFIG_RUNTIME, AT(stop_timeout), 0, 600 * NS_PER_S, "5s",
     NULL, "how long a server that is told to end goes on answering what is under way"},
    {"message-bytes", CONFIG_BYTES, CONFIG_RUNTIME, AT(message_bytes), KIB, 32 * MIB, "1MiB", NULL,
     "log entries in one message to a peer"},
    {"window-bytes", CONFIG_BYTES, CONFIG_RUNTIME, AT(window_bytes), KIB, 1024 * MIB, "8MiB", NULL,
     "log entries under way to one peer before it has answered"},
    {"round-bytes", CONFIG_BYTES, CONFIG_RUNTIME, AT(round_bytes), KIB, 1024 * MIB, "1MiB", NULL,
     "mail read, and entries applied, at a time: between them heartbeats and answers go out"},
    {"uncommitted-bytes", CONFIG_BYTES, CONFIG_RUNTIME, AT(uncommitted_bytes), KIB, 1024 * MIB,
     "64MiB", NULL, "log entries that a leader takes before a quorum has them; then -BUSY"},
    {"log-memory-bytes", CONFIG_BYTES, 0, AT(log_memory_bytes), 0, 64 * 1024 * MIB, "64MiB", NULL,
     "newest log entries kept in memory; older ones are read from the disk"},
    {"segment-bytes", CONFIG_BYTES, 0, AT(segment_bytes), 64 * KIB, 1024 * MIB, "64MiB", NULL,
     "size of one file of the log, prewritten"},
    {"snapshot-log-bytes", CONFIG_BYTES, CONFIG_RUNTIME, AT(snapshot_log_bytes), KIB,
     1024 * 1024 * MIB, "64MiB", NULL,
     "a snapshot is taken when the entries since the last one have this size"},
    {"snapshot-ratio", CONFIG_U64, CONFIG_RUNTIME, AT(snapshot_ratio), 0, 10000, "100", NULL,
     "but not before they have this part, in percent, of the last snapshot's size"},
    {"trailing-entries", CONFIG_U64, CONFIG_RUNTIME, AT(trailing_entries), 0, 1000000000, "4096",
     NULL, "log entries kept behind a snapshot, for servers that lag a little"},
    {"slow-sync", CONFIG_DURATION, CONFIG_RUNTIME, AT(slow_sync), 0, 600 * NS_PER_S, "200ms", NULL,
     "a sync of the disk that takes longer is said in the server's log; 0: none is"},
    {"peer-mail-bytes", CONFIG_BYTES, 0, AT(peer_mail_bytes), 64 * KIB, 4096 * MIB, "64MiB", NULL,
     "messages of peers that wait to be read"},
    {"client-mail-bytes", CONFIG_BYTES, 0, AT(client_mail_bytes), 64 * KIB, 4096 * MIB, "64MiB",
     NULL, "commands that wait to be read; then -BUSY"},
    {"peer-queue-bytes", CONFIG_BYTES, 0, AT(peer_queue_bytes), 64 * KIB, 4096 * MIB, "64MiB", NULL,
     "messages that wait to be sent to one peer; more are dropped and sent again later"},
    {"reconnect", CONFIG_DURATION_RANGE, 0, AT(reconnect), NS_PER_MS, 60 * NS_PER_S, "5ms..500ms",
     NULL, "pause before a peer is called again, doubled each time up to the second value"},
    {"handshake-timeout", CONFIG_DURATION, 0, AT(handshake_timeout), 10 * NS_PER_MS, 60 * NS_PER_S,
     "2s", NULL, "a peer that has not said who it is by then is hung up on"},
    {"max-clients", CONFIG_U64, 0, AT(max_clients), 1, 1000000, "20000", NULL,
     "client connections at a time"},
    {"max-key-bytes", CONFIG_BYTES, 0, AT(max_key_bytes), 1, 16 * MIB, "64KiB", NULL,
     "largest key"},
    {"max-value-bytes", CONFIG_BYTES, 0, AT(max_value_bytes), 1, 32 * MIB, "8MiB", NULL,
     "largest value, also what APPEND may make"},
    {"max-answer-bytes", CONFIG_BYTES, 0, AT(max_answer_bytes), KIB, 1024 * MIB, "16MiB", NULL,
     "largest answer that is made of several values; MGET of more is refused"},
    {"client-input-bytes", CONFIG_BYTES, 0, AT(client_input_bytes), KIB, 1024 * MIB, "16MiB", NULL,
     "largest command of one client, with all its arguments"},
    {"client-output-bytes", CONFIG_BYTES, 0, AT(client_output_bytes), KIB, 1024 * MIB, "128MiB",
     NULL, "answers one client may leave unread before its commands are not read any more"},
    {"clients-memory-bytes", CONFIG_BYTES, 0, AT(clients_memory_bytes), MIB, 1024 * 1024 * MIB,
     "512MiB", NULL, "what all clients may hold; beyond, the largest and slowest are hung up on"},
    {"client-stall-timeout", CONFIG_DURATION, 0, AT(client_stall_timeout), 100 * NS_PER_MS,
     86400 * NS_PER_S, "60s", NULL,
     "how long a client may leave a command half sent, or its answers unread while it sends more"},
    {"redirect", CONFIG_BOOL, 0, AT(redirect), 0, 0, "no", NULL,
     "answer -MOVED instead of forwarding to the leader"},
    {"log-level", CONFIG_WORD, CONFIG_RUNTIME, AT(log_level), 0, 0, "info", level_words,
     "which lines are printed: error, warn, info or debug"},
    {"log-format", CONFIG_WORD, 0, AT(log_format), 0, 0, "logfmt", format_words,
     "how lines are printed: logfmt or json"},
};

/* Every address has one listener: a port given twice would be noticed late, and by one server only.
 * (The same one under two names, "localhost" and "127.0.0.1", is found when it is bound.) */
static enum error_code check_address(const struct configuration *configuration, const char *address,
                                     struct error *error)
{
    const char *colon = strrchr(address, ':');
    u64 port;
    if (colon == NULL || colon == address || !quantity_parse_u64(colon + 1, &port) || port == 0 ||
        port > 65535)
        return error_set(error, ERROR_CONFIG, "\"%s\" is not HOST:PORT with a port of 1..65535",
                         address);
    for (u32 i = 0; i < configuration->count; i++) {
        const struct member *member = &configuration->members[i];
        if (strcmp(member->peer_address, address) == 0 ||
            strcmp(member->client_address, address) == 0)
            return error_set(error, ERROR_CONFIG,
                             "\"%s\" is an address of server %u already; expected another", address,
                             member->id);
    }
    return ERROR_NONE;
}

/* `server 1 127.0.0.1:7001 client=127.0.0.1:6001` */
static enum error_code take_line(void *context, const struct config_key *key,
                                 const struct config_line *line, struct error *error)
{
    (void)key;
    struct settings_values *values = context;
    static const char form[] = "expected: server NUMBER HOST:PORT client=HOST:PORT";
    u64 id;
    if (line->count != 4 || !quantity_parse_u64(line->words[1], &id) || id == 0 || id > UINT32_MAX)
        return error_set(error, ERROR_CONFIG, "%s, with a number from 1 up", form);
    const char *peer = line->words[2];
    const char *client = config_word_value(line->words[3], "client");
    if (client == NULL)
        return error_set(error, ERROR_CONFIG, "\"%s\" is not client=HOST:PORT; %s", line->words[3],
                         form);
    enum error_code code = check_address(&values->configuration, peer, error);
    if (code == ERROR_NONE)
        code = check_address(&values->configuration, client, error);
    if (code != ERROR_NONE)
        return code;
    if (strcmp(peer, client) == 0)
        return error_set(error, ERROR_CONFIG,
                         "\"%s\" stands for peers and for clients; expected two addresses", peer);
    return configuration_add(&values->configuration, (server_id)id, peer, client, error);
}

static const struct config_table table = {keys, ARRAY_LENGTH(keys), take_line};

void settings_init(struct settings *settings)
{
    *settings = (struct settings){0};
    mutex_init(&settings->lock);
    config_init(&table, &settings->values);
}

void settings_deinit(struct settings *settings)
{
    config_deinit(&table, &settings->values);
    mutex_deinit(&settings->lock);
}

/* ---- values that must fit together ---- */

static enum error_code check(const struct settings_values *values, struct error *error)
{
    if (values->heartbeat * 2 > values->election_timeout.low)
        return error_set(error, ERROR_CONFIG,
                         "heartbeat must be at most half of the shortest election-timeout, or "
                         "followers lose patience with a healthy leader");
    if (values->client_input_bytes < values->max_value_bytes + values->max_key_bytes + KIB)
        return error_set(error, ERROR_CONFIG,
                         "client-input-bytes must hold max-value-bytes and max-key-bytes together "
                         "and 1KiB more, or the largest values could not be sent");
    if (values->clients_memory_bytes / 2 < values->client_input_bytes ||
        values->clients_memory_bytes / 2 < values->client_output_bytes)
        return error_set(error, ERROR_CONFIG,
                         "clients-memory-bytes must be at least twice client-input-bytes and twice "
                         "client-output-bytes, or one client could take what is for all");
    u64 record = values->client_input_bytes + 64 * KIB;
    if (values->segment_bytes < record)
        return error_set(error, ERROR_CONFIG,
                         "segment-bytes must exceed client-input-bytes by 64KiB, or the largest "
                         "command would not fit into a file of the log");
    /* The bound on frames follows from client-input-bytes and is fixed while the server runs. */
    if (values->message_bytes > values->client_input_bytes)
        return error_set(error, ERROR_CONFIG,
                         "message-bytes must be at most client-input-bytes, or peers would refuse "
                         "the largest messages");
    if (values->peer_queue_bytes < values->window_bytes + values->message_bytes)
        return error_set(error, ERROR_CONFIG,
                         "peer-queue-bytes must be at least window-bytes and message-bytes "
                         "together, or messages that the window allows would be dropped");
    for (const char *c = values->cluster_id; *c != '\0'; c++) {
        if (strchr("._-", *c) == NULL && !(*c >= '0' && *c <= '9') && !(*c >= 'a' && *c <= 'z') &&
            !(*c >= 'A' && *c <= 'Z'))
            return error_set(error, ERROR_CONFIG,
                             "cluster-id may have letters, digits, '.', '_' and '-' only");
    }
    return ERROR_NONE;
}

enum error_code settings_load(struct settings *settings, const char *path, struct error *error)
{
    enum error_code code = config_load(&table, &settings->values, path, error);
    if (code != ERROR_NONE)
        return code;
    code = check(&settings->values, error);
    return code == ERROR_NONE ? code : error_add(error, "%s", path);
}

static void compare_key(struct settings *settings, const struct settings_values *file,
                        const struct config_key *key,
                        void (*differs)(void *context, const struct config_key *key,
                                        const char *now, const char *wanted),
                        void *context)
{
    struct buffer now;
    struct buffer wanted;
    buffer_init(&now);
    buffer_init(&wanted);
    mutex_lock(&settings->lock);
    config_format(key, &settings->values, &now);
    mutex_unlock(&settings->lock);
    config_format(key, file, &wanted);
    buffer_append(&now, "", 1);
    buffer_append(&wanted, "", 1);
    if (strcmp((const char *)now.data, (const char *)wanted.data) != 0)
        differs(context, key, (const char *)now.data, (const char *)wanted.data);
    buffer_deinit(&now);
    buffer_deinit(&wanted);
}

enum error_code settings_compare(struct settings *settings, const char *path,
                                 void (*differs)(void *context, const struct config_key *key,
                                                 const char *now, const char *wanted),
                                 void *context, struct error *error)
{
    struct settings file;
    settings_init(&file);
    enum error_code code = settings_load(&file, path, error);
    for (size_t i = 0; code == ERROR_NONE && i < table.count; i++) {
        if (keys[i].type != CONFIG_LINE)
            compare_key(settings, &file.values, &keys[i], differs, context);
    }
    settings_deinit(&file);
    return code;
}

/* ---- for the rooms ---- */

/* The largest message between servers holds one record, or message-bytes of them, which is less. */
static u64 largest_payload(const struct settings_values *values)
{
    return values->client_input_bytes + 64 * KIB;
}

/* A follower gets what it hands on to a client in one message, and what can be set can be read. */
static u64 largest_answer(const struct settings_values *values)
{
    u64 fits = u64_min(values->max_answer_bytes, values->client_input_bytes);
    return u64_max(fits, values->max_value_bytes + KIB);
}

/* But a server takes what its log's files can hold, whatever its own clients may send. */
static u64 largest_frame(const struct settings_values *values)
{
    return u64_max(largest_payload(values), values->segment_bytes) + 64 * KIB;
}

void settings_limits(const struct settings *settings, struct member_limits *limits)
{
    const struct settings_values *values = &settings->values;
    *limits = (struct member_limits){.command_bytes = values->client_input_bytes,
                                     .key_bytes = values->max_key_bytes,
                                     .value_bytes = values->max_value_bytes,
                                     .frame_bytes = largest_frame(values)};
}

void settings_server_options(const struct settings *settings, u64 seed,
                             struct server_options *options)
{
    const struct settings_values *values = &settings->values;
    *options = (struct server_options){
        .design = settings->design,
        .election_timeout_ns_min = values->election_timeout.low,
        .election_timeout_ns_max = values->election_timeout.high,
        .heartbeat_ns = values->heartbeat,
        .leader_wait_ns = values->leader_wait,
        .forward_timeout_ns = values->forward_timeout,
        .message_bytes_max = values->message_bytes,
        .answer_bytes_max = largest_payload(values),
        .window_bytes_max = values->window_bytes,
        .round_bytes_max = values->round_bytes,
        .uncommitted_bytes_max = values->uncommitted_bytes,
        .log_memory_bytes_max = values->log_memory_bytes,
        .peer_mail_bytes_max = values->peer_mail_bytes,
        .client_mail_bytes_max = values->client_mail_bytes,
        .segment_bytes = values->segment_bytes,
        .record_bytes_max = largest_payload(values),
        .snapshot_log_bytes = values->snapshot_log_bytes,
        .snapshot_ratio_percent = values->snapshot_ratio,
        .trailing_entries = values->trailing_entries,
        .slow_sync_ns = values->slow_sync,
        .seed = seed,
    };
}

/* As long as bytes may stay unacknowledged before TCP gives a connection up. */
static const u64 FRAME_STALL_NS_MAX = 5 * NS_PER_S;

void settings_peers_options(const struct settings *settings, struct peers_options *options)
{
    const struct settings_values *values = &settings->values;
    *options = (struct peers_options){
        .configuration = &values->configuration,
        .frame_bytes_max = largest_frame(values),
        .queue_bytes_max = values->peer_queue_bytes,
        .reconnect_ns_min = values->reconnect.low,
        .reconnect_ns_max = values->reconnect.high,
        .pulse_ns = values->heartbeat,
        .pulse_ns_max = PULSE_TIMEOUTS * values->election_timeout.high,
        .handshake_ns_max = values->handshake_timeout,
        .stall_ns_max = FRAME_STALL_NS_MAX,
    };
}

static u32 config_get(void *context, const char *pattern, struct buffer *to)
{
    struct settings *settings = context;
    struct kv_argument wanted = {(const u8 *)pattern, (u32)strlen(pattern)};
    struct buffer text;
    buffer_init(&text);
    u32 count = 0;
    mutex_lock(&settings->lock);
    for (size_t i = 0; i < table.count; i++) {
        const struct config_key *key = &keys[i];
        if (key->type == CONFIG_LINE || !kv_glob_match_word(&wanted, key->name))
            continue;
        buffer_clear(&text);
        config_format(key, &settings->values, &text);
        buffer_append_format(to, "$%zu\r\n%s\r\n$%zu\r\n", strlen(key->name), key->name, text.size);
        buffer_append(to, text.data, text.size);
        buffer_append_string(to, "\r\n");
        count++;
    }
    mutex_unlock(&settings->lock);
    buffer_deinit(&text);
    return count;
}

/* Tries the change on a copy of what may change at run time, which is plain numbers. */
static enum error_code try_set(const struct settings_values *values, const char *key,
                               const char *value, struct settings_values *changed,
                               struct error *error)
{
    *changed = *values;
    enum error_code code = config_set(&table, changed, key, value, true, error);
    return code == ERROR_NONE ? check(changed, error) : code;
}

enum error_code settings_check(void *context, const char *key, const char *value,
                               struct error *error)
{
    struct settings *settings = context;
    struct settings_values changed;
    mutex_lock(&settings->lock);
    enum error_code code = try_set(&settings->values, key, value, &changed, error);
    mutex_unlock(&settings->lock);
    return code;
}

enum error_code settings_set(void *context, const char *key, const char *value,
                             struct server_options *options, struct error *error)
{
    struct settings *settings = context;
    struct settings_values changed;
    mutex_lock(&settings->lock);
    enum error_code code = try_set(&settings->values, key, value, &changed, error);
    if (code == ERROR_NONE) {
        settings->values = changed;
        settings_server_options(settings, options->seed, options);
        if (settings->report != NULL)
            atomic_store(&settings->report->level, (int)changed.log_level);
    }
    mutex_unlock(&settings->lock);
    return code;
}

void settings_clients_options(struct settings *settings, struct clients_options *options)
{
    const struct settings_values *values = &settings->values;
    *options = (struct clients_options){
        .configuration = &values->configuration,
        .limits = {(u32)values->max_key_bytes, (u32)values->max_value_bytes,
                   (u32)largest_answer(values)},
        .connections_max = (u32)values->max_clients,
        .input_bytes_max = values->client_input_bytes,
        .output_bytes_max = values->client_output_bytes,
        .memory_bytes_max = values->clients_memory_bytes,
        .stall_ns_max = values->client_stall_timeout,
        .redirect = values->redirect,
        .arguments_max = KV_ARGUMENTS_MAX + 1,
        .config_get = config_get,
        .config_check = settings_check,
        .config_context = settings,
    };
}
