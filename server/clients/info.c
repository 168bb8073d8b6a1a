/* info.c - INFO: what the server is doing, in Redis' sections and one of our own, "raft".
 *
 * What concerns clients and the process is known here. The rest is in the status text that the
 * server thread gives; INFO asks for that only when a wanted section needs it. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/version.h"
#include "server/clients/commands.h"

typedef void section_function(struct clients *clients, const char *status, size_t size,
                              struct buffer *to);

static section_function write_server, write_clients, write_memory, write_persistence, write_stats,
    write_replication, write_cpu, write_cluster, write_keyspace, write_raft;

static const struct {
    const char *name;
    const char *title;
    section_function *write;
    bool needs_status;
} sections[] = {
    {"server", "Server", write_server, false},
    {"clients", "Clients", write_clients, false},
    {"memory", "Memory", write_memory, false},
    {"persistence", "Persistence", write_persistence, false},
    {"stats", "Stats", write_stats, false},
    {"replication", "Replication", write_replication, true},
    {"cpu", "CPU", write_cpu, false},
    {"cluster", "Cluster", write_cluster, false},
    {"keyspace", "Keyspace", write_keyspace, true},
    {"raft", "Raft", write_raft, true},
};

enum { ALL_SECTIONS = (1 << ARRAY_LENGTH(sections)) - 1 };

void command_run_info(struct call *call)
{
    u32 wanted = call->count == 1 ? ALL_SECTIONS : 0;
    bool needs_status = false;
    for (u32 i = 1; i < call->count; i++) {
        const struct kv_argument *name = &call->arguments[i];
        if (argument_is(name, "default") || argument_is(name, "all") ||
            argument_is(name, "everything"))
            wanted = ALL_SECTIONS;
        for (u32 s = 0; s < ARRAY_LENGTH(sections); s++)
            if (argument_is(name, sections[s].name))
                wanted |= 1U << s;
    }
    for (u32 s = 0; s < ARRAY_LENGTH(sections); s++)
        needs_status |= (wanted & 1U << s) != 0 && sections[s].needs_status;
    if (needs_status) {
        call->outcome = CALL_STATUS;
        call->shape = SHAPE_INFO;
        call->details = wanted;
        return;
    }
    struct buffer text;
    buffer_init(&text);
    info_write(call->clients, wanted, "", 0, &text);
    reply_text(&call->reply, text.data, text.size);
    buffer_deinit(&text);
}

void info_write(struct clients *clients, u32 wanted, const char *status, size_t size,
                struct buffer *to)
{
    for (u32 s = 0; s < ARRAY_LENGTH(sections); s++) {
        if ((wanted & 1U << s) == 0)
            continue;
        buffer_append_format(to, "%s# %s\r\n", to->size > 0 ? "\r\n" : "", sections[s].title);
        sections[s].write(clients, status, size, to);
    }
}

/* ---- the status text ---- */

/* Where the value of "key:" begins, and its size up to the line end; NULL when there is none. */
static const char *find_value(const char *status, size_t size, const char *key, size_t *value_size)
{
    size_t key_size = strlen(key);
    const char *end = status + size;
    for (const char *line = status; line < end;) {
        const char *newline = memchr(line, '\n', (size_t)(end - line));
        const char *line_end = newline == NULL ? end : newline;
        size_t line_size = (size_t)(line_end - line);
        if (line_size > key_size && line[key_size] == ':' && memcmp(line, key, key_size) == 0) {
            const char *value = line + key_size + 1;
            if (line_end > value && line_end[-1] == '\r')
                line_end--;
            *value_size = (size_t)(line_end - value);
            return value;
        }
        line = newline == NULL ? end : newline + 1;
    }
    return NULL;
}

u64 status_number(const char *status, size_t size, const char *key)
{
    size_t value_size = 0;
    const char *value = find_value(status, size, key, &value_size);
    u64 number = 0;
    for (size_t i = 0; value != NULL && i < value_size && value[i] >= '0' && value[i] <= '9'; i++)
        number = number * 10 + (u64)(value[i] - '0');
    return number;
}

bool status_word(const char *status, size_t size, const char *key, char *word, size_t word_size)
{
    size_t value_size = 0;
    const char *value = find_value(status, size, key, &value_size);
    size_t fits = u64_min(value_size, word_size - 1);
    if (value != NULL)
        memcpy(word, value, fits);
    word[fits] = '\0';
    return value != NULL;
}

/* ---- the sections ---- */

static void write_server(struct clients *clients, const char *status, size_t size,
                         struct buffer *to)
{
    (void)status;
    (void)size;
    struct utsname name = {0};
    (void)uname(&name);
    u64 uptime_s = (clients->now_ns - clients->started_ns) / NS_PER_S;
    buffer_append_format(to,
                         "redis_version:" REDIS_VERSION "\r\n"
                         "mailraft_version:" MAILRAFT_VERSION "\r\n"
                         "redis_mode:cluster\r\n"
                         "os:%s %s %s\r\n"
                         "arch_bits:%zu\r\n"
                         "multiplexing_api:epoll\r\n"
                         "gcc_version:%d.%d.%d\r\n"
                         "process_id:%ld\r\n",
                         name.sysname, name.release, name.machine, sizeof(void *) * 8, __GNUC__,
                         __GNUC_MINOR__, __GNUC_PATCHLEVEL__, (long)getpid());
    buffer_append_format(to,
                         "run_id:%040x\r\n"
                         "tcp_port:%u\r\n"
                         "server_time_usec:%llu\r\n"
                         "uptime_in_seconds:%llu\r\n"
                         "uptime_in_days:%llu\r\n"
                         "server_id:%u\r\n",
                         clients->options.self, clients->port,
                         (unsigned long long)(clock_wall_ns() / NS_PER_US),
                         (unsigned long long)uptime_s, (unsigned long long)(uptime_s / 86400),
                         clients->options.self);
}

static void write_clients(struct clients *clients, const char *status, size_t size,
                          struct buffer *to)
{
    (void)status;
    (void)size;
    buffer_append_format(to,
                         "connected_clients:%u\r\n"
                         "cluster_connections:0\r\n"
                         "maxclients:%u\r\n"
                         "blocked_clients:0\r\n",
                         clients->connection_count, clients->options.connections_max);
    buffer_append_format(to,
                         "max_command_bytes:%llu\r\n"
                         "max_key_bytes:%llu\r\n"
                         "max_value_bytes:%llu\r\n",
                         (unsigned long long)clients->limits.bytes_max,
                         (unsigned long long)clients->options.limits.key_bytes_max,
                         (unsigned long long)clients->options.limits.value_bytes_max);
}

/* Resident bytes of the process, from the kernel: second number of statm, in pages. */
static u64 resident_bytes(void)
{
    char text[128] = "";
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof(text) - 1);
    (void)close(fd);
    unsigned long long pages = 0;
    if (got <= 0 || sscanf(text, "%*u %llu", &pages) != 1)
        return 0;
    return pages * (u64)sysconf(_SC_PAGESIZE);
}

static void write_memory(struct clients *clients, const char *status, size_t size,
                         struct buffer *to)
{
    (void)status;
    (void)size;
    u64 resident = resident_bytes();
    u64 input = 0;
    u64 output = 0;
    for (struct connection *at = clients->connections; at != NULL; at = at->next) {
        mutex_lock(&at->lock);
        input += at->input_memory;
        output += at->output.memory + at->stored_bytes;
        mutex_unlock(&at->lock);
    }
    buffer_append_format(to,
                         "used_memory:%llu\r\n"
                         "used_memory_human:%lluK\r\n"
                         "used_memory_rss:%llu\r\n"
                         "used_memory_rss_human:%lluK\r\n"
                         "maxmemory:0\r\n"
                         "maxmemory_policy:noeviction\r\n"
                         "client_input_bytes:%llu\r\n"
                         "client_output_bytes:%llu\r\n"
                         "clients_memory_bytes:%llu\r\n"
                         "clients_memory_max:%llu\r\n",
                         (unsigned long long)resident, (unsigned long long)(resident / KIB),
                         (unsigned long long)resident, (unsigned long long)(resident / KIB),
                         (unsigned long long)input, (unsigned long long)output,
                         (unsigned long long)atomic_load(&clients->bounds.memory),
                         (unsigned long long)clients->bounds.memory_max);
}

/* Some client libraries do not speak before "loading" is 0. */
static void write_persistence(struct clients *clients, const char *status, size_t size,
                              struct buffer *to)
{
    (void)clients;
    (void)status;
    (void)size;
    buffer_append_string(to, "loading:0\r\naof_enabled:1\r\n");
}

static void write_stats(struct clients *clients, const char *status, size_t size, struct buffer *to)
{
    (void)status;
    (void)size;
    const struct clients_counters *counters = &clients->counters;
    u64 output = atomic_load_explicit(&clients->output_bytes, memory_order_relaxed);
    buffer_append_format(
        to,
        "total_connections_received:%llu\r\n"
        "total_commands_processed:%llu\r\n"
        "instantaneous_ops_per_sec:%llu\r\n"
        "total_net_input_bytes:%llu\r\n"
        "total_net_output_bytes:%llu\r\n"
        "rejected_connections:%llu\r\n"
        "protocol_errors:%llu\r\n"
        "evicted_clients:%llu\r\n"
        "half_command_clients:%llu\r\n"
        "stalled_clients:%llu\r\n"
        "vanished_clients:%llu\r\n",
        (unsigned long long)counters->accepted, (unsigned long long)counters->commands,
        (unsigned long long)counters->rate, (unsigned long long)counters->input_bytes,
        (unsigned long long)output, (unsigned long long)counters->rejected,
        (unsigned long long)counters->protocol_errors, (unsigned long long)counters->evicted,
        (unsigned long long)counters->half_commands, (unsigned long long)counters->stalled,
        (unsigned long long)counters->vanished);
}

static void write_replication(struct clients *clients, const char *status, size_t size,
                              struct buffer *to)
{
    char state[32];
    (void)status_word(status, size, "raft_state", state, sizeof(state));
    if (strcmp(state, "leader") == 0) {
        buffer_append_format(to, "role:master\r\nconnected_slaves:%u\r\n",
                             clients->configuration.count > 0 ? clients->configuration.count - 1
                                                              : 0);
        return;
    }
    server_id leader = (server_id)status_number(status, size, "raft_leader_id");
    const struct member *member = configuration_member(&clients->configuration, leader);
    char host[ADDRESS_SIZE] = "?";
    u32 port = 0;
    if (member != NULL)
        address_split(member->client_address, host, &port);
    buffer_append_format(to,
                         "role:slave\r\n"
                         "master_host:%s\r\n"
                         "master_port:%u\r\n"
                         "master_link_status:%s\r\n"
                         "slave_read_only:0\r\n"
                         "connected_slaves:0\r\n",
                         host, port, member != NULL ? "up" : "down");
}

static void write_cpu(struct clients *clients, const char *status, size_t size, struct buffer *to)
{
    (void)clients;
    (void)status;
    (void)size;
    struct rusage usage = {0};
    (void)getrusage(RUSAGE_SELF, &usage);
    buffer_append_format(to, "used_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n",
                         (long)usage.ru_stime.tv_sec, (long)usage.ru_stime.tv_usec,
                         (long)usage.ru_utime.tv_sec, (long)usage.ru_utime.tv_usec);
}

static void write_cluster(struct clients *clients, const char *status, size_t size,
                          struct buffer *to)
{
    (void)clients;
    (void)status;
    (void)size;
    buffer_append_string(to, "cluster_enabled:1\r\n");
}

static void write_keyspace(struct clients *clients, const char *status, size_t size,
                           struct buffer *to)
{
    (void)clients;
    u64 keys = status_number(status, size, "machine_keys");
    if (keys > 0)
        buffer_append_format(to, "db0:keys=%llu,expires=0,avg_ttl=0\r\n", (unsigned long long)keys);
}

static void write_raft(struct clients *clients, const char *status, size_t size, struct buffer *to)
{
    (void)clients;
    buffer_append(to, status, size);
}
