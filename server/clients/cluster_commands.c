/* cluster_commands.c - CLUSTER: the servers as a Redis Cluster of one shard, whose master is the
 * leader. So cluster clients send to the leader, and find it again after it has changed. While no
 * leader is known this server itself counts as master: it takes any command and forwards it as soon
 * as there is one. */
#include <stdio.h>
#include <stdlib.h>

#include "server/clients/commands.h"

/* ---- slots ---- */

/* CRC16/XMODEM: polynomial 0x1021, from 0, nothing reflected. crc16("123456789") is 0x31c3. */
static u16 crc16(const u8 *data, size_t size)
{
    u32 crc = 0;
    for (size_t i = 0; i < size; i++) {
        crc ^= (u32)data[i] << 8;
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 0x8000U) != 0 ? crc << 1 ^ 0x1021U : crc << 1;
    }
    return (u16)crc;
}

u32 cluster_slot(const u8 *key, size_t size)
{
    const u8 *open = size > 0 ? memchr(key, '{', size) : NULL;
    if (open != NULL) {
        const u8 *tag = open + 1;
        const u8 *close = memchr(tag, '}', size - (size_t)(tag - key));
        if (close != NULL && close != tag)
            return crc16(tag, (size_t)(close - tag)) % CLUSTER_SLOTS;
    }
    return crc16(key, size) % CLUSTER_SLOTS;
}

/* ---- members ---- */

void address_split(const char *address, char *host, u32 *port)
{
    const char *colon = strrchr(address, ':');
    size_t size = colon == NULL ? strlen(address) : (size_t)(colon - address);
    *port = colon == NULL ? 0 : (u32)strtoul(colon + 1, NULL, 10);
    if (size >= 2 && address[0] == '[' && address[size - 1] == ']') {
        address++;
        size -= 2;
    }
    if (size >= ADDRESS_SIZE)
        size = ADDRESS_SIZE - 1;
    memcpy(host, address, size);
    host[size] = '\0';
}

/* A node's name: 40 hexadecimal digits, as cluster clients want it. */
static void write_node_name(server_id id, char *name)
{
    (void)snprintf(name, NODE_NAME_SIZE, "%040x", id);
}

/* The member who counts as master. */
static server_id find_master(const struct clients *clients, const char *status, size_t size)
{
    server_id leader = (server_id)status_number(status, size, "raft_leader_id");
    const struct member *member = configuration_member(&clients->configuration, leader);
    return member != NULL && member->client_address[0] != '\0' ? leader : clients->options.self;
}

/* A member as the answers show it. */
struct shown {
    const struct member *member;
    char name[NODE_NAME_SIZE];
    char host[ADDRESS_SIZE];
    u32 port;
};

/* Whether there is an n-th member to show, and which: the master is the first. Members that serve
 * no clients are left out. */
static bool show_member(const struct clients *clients, server_id master, u32 n, struct shown *shown)
{
    shown->member = n == 0 ? configuration_member(&clients->configuration, master) : NULL;
    for (u32 i = 0; i < clients->configuration.count && n > 0; i++) {
        const struct member *member = &clients->configuration.members[i];
        if (member->id != master && member->client_address[0] != '\0' && --n == 0)
            shown->member = member;
    }
    if (shown->member == NULL)
        return false;
    address_split(shown->member->client_address, shown->host, &shown->port);
    write_node_name(shown->member->id, shown->name);
    return true;
}

static u32 count_to_show(const struct clients *clients, server_id master)
{
    struct shown shown;
    u32 count = 0;
    while (show_member(clients, master, count, &shown))
        count++;
    return count;
}

/* ---- the answers ---- */

static void put_slots(struct clients *clients, server_id master, struct reply *reply)
{
    struct shown shown;
    reply_array(reply, 1);
    reply_array(reply, 2 + (size_t)count_to_show(clients, master));
    reply_integer(reply, 0);
    reply_integer(reply, CLUSTER_SLOTS - 1);
    for (u32 n = 0; show_member(clients, master, n, &shown); n++) {
        reply_array(reply, 4);
        reply_string(reply, shown.host);
        reply_integer(reply, shown.port);
        reply_string(reply, shown.name);
        reply_map(reply, 0); /* other names of the node */
    }
}

static void put_shards(struct clients *clients, server_id master, u64 commit, struct reply *reply)
{
    struct shown shown;
    reply_array(reply, 1);
    reply_map(reply, 2);
    reply_string(reply, "slots");
    reply_array(reply, 2);
    reply_integer(reply, 0);
    reply_integer(reply, CLUSTER_SLOTS - 1);
    reply_string(reply, "nodes");
    reply_array(reply, count_to_show(clients, master));
    for (u32 n = 0; show_member(clients, master, n, &shown); n++) {
        reply_map(reply, 7);
        reply_string(reply, "id");
        reply_string(reply, shown.name);
        reply_string(reply, "port");
        reply_integer(reply, shown.port);
        reply_string(reply, "ip");
        reply_string(reply, shown.host);
        reply_string(reply, "endpoint");
        reply_string(reply, shown.host);
        reply_string(reply, "role");
        reply_string(reply, n == 0 ? "master" : "replica");
        reply_string(reply, "replication-offset");
        reply_integer(reply, (i64)commit);
        reply_string(reply, "health");
        reply_string(reply, "online");
    }
}

static void put_nodes(struct clients *clients, server_id master, u64 term, struct reply *reply)
{
    struct buffer text;
    char master_name[NODE_NAME_SIZE];
    buffer_init(&text);
    write_node_name(master, master_name);
    struct shown shown;
    for (u32 n = 0; show_member(clients, master, n, &shown); n++) {
        char peer_host[ADDRESS_SIZE];
        u32 peer_port;
        address_split(shown.member->peer_address, peer_host, &peer_port);
        buffer_append_format(&text, "%s %s:%u@%u %s%s %s 0 0 %llu connected%s\n", shown.name,
                             shown.host, shown.port, peer_port,
                             shown.member->id == clients->options.self ? "myself," : "",
                             n == 0 ? "master" : "slave", n == 0 ? "-" : master_name,
                             (unsigned long long)term, n == 0 ? " 0-16383" : "");
    }
    reply_text(reply, text.data, text.size);
    buffer_deinit(&text);
}

static void put_cluster_info(struct clients *clients, const char *status, size_t size,
                             struct reply *reply)
{
    unsigned long long term = status_number(status, size, "raft_current_term");
    bool has_leader = status_number(status, size, "raft_leader_id") != SERVER_NONE;
    struct buffer text;
    buffer_init(&text);
    buffer_append_format(&text,
                         "cluster_enabled:1\r\n"
                         "cluster_state:%s\r\n"
                         "cluster_slots_assigned:16384\r\n"
                         "cluster_slots_ok:%d\r\n"
                         "cluster_slots_pfail:0\r\n"
                         "cluster_slots_fail:%d\r\n"
                         "cluster_known_nodes:%u\r\n"
                         "cluster_size:1\r\n"
                         "cluster_current_epoch:%llu\r\n"
                         "cluster_my_epoch:%llu\r\n",
                         has_leader ? "ok" : "fail", has_leader ? CLUSTER_SLOTS : 0,
                         has_leader ? 0 : CLUSTER_SLOTS, clients->configuration.count, term, term);
    reply_text(reply, text.data, text.size);
    buffer_deinit(&text);
}

void cluster_shape(struct clients *clients, enum status_shape shape, const char *status,
                   size_t size, struct reply *reply)
{
    server_id master = find_master(clients, status, size);
    if (shape == SHAPE_CLUSTER_SLOTS)
        put_slots(clients, master, reply);
    else if (shape == SHAPE_CLUSTER_SHARDS)
        put_shards(clients, master, status_number(status, size, "raft_commit_index"), reply);
    else if (shape == SHAPE_CLUSTER_NODES)
        put_nodes(clients, master, status_number(status, size, "raft_current_term"), reply);
    else
        put_cluster_info(clients, status, size, reply);
}

/* ---- the command ---- */

static void want_status(struct call *call, enum status_shape shape)
{
    call->outcome = CALL_STATUS;
    call->shape = shape;
}

static void slots(struct call *call)
{
    want_status(call, SHAPE_CLUSTER_SLOTS);
}

static void shards(struct call *call)
{
    want_status(call, SHAPE_CLUSTER_SHARDS);
}

static void nodes(struct call *call)
{
    want_status(call, SHAPE_CLUSTER_NODES);
}

static void info(struct call *call)
{
    want_status(call, SHAPE_CLUSTER_INFO);
}

static void my_id(struct call *call)
{
    char name[NODE_NAME_SIZE];
    write_node_name(call->clients->options.self, name);
    reply_string(&call->reply, name);
}

static void key_slot(struct call *call)
{
    reply_integer(&call->reply, cluster_slot(call->arguments[2].data, call->arguments[2].size));
}

void command_run_cluster(struct call *call)
{
    static const struct subcommand subcommands[] = {
        {"info", 2, info, "INFO", "Tells how the cluster is."},
        {"keyslot", 3, key_slot, "KEYSLOT <key>", "Answers the slot of a key."},
        {"myid", 2, my_id, "MYID", "Answers this server's name."},
        {"nodes", 2, nodes, "NODES", "Tells who the servers are, a line for each."},
        {"shards", 2, shards, "SHARDS", "Tells who the servers are, as maps."},
        {"slots", 2, slots, "SLOTS", "Tells who the servers are, by slots."},
    };
    static const struct container container = {"CLUSTER", subcommands, ARRAY_LENGTH(subcommands)};
    call_subcommand(call, &container);
}
