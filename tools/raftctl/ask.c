/* ask.c - see ask.h. */
#include "tools/raftctl/ask.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/memory.h"

enum { ALIVE_MS = 1000 }; /* how often it is tried whether a server that takes its time is alive */

#define set_trouble(target, ...) \
    (void)snprintf((target)->trouble, sizeof((target)->trouble), __VA_ARGS__)

static void hang_up(struct target *target)
{
    redisFree(target->connection);
    target->connection = NULL;
}

static void give_up(struct target *target, const char *why)
{
    set_trouble(target, "%s", why);
    hang_up(target);
}

/* Divides "host:port", or "[host]:port"; the name is part of `host`. */
static const char *split_address(const struct target *target, char host[ADDRESS_SIZE], int *port)
{
    (void)snprintf(host, ADDRESS_SIZE, "%s", target->address);
    char *colon = strrchr(host, ':');
    *colon = '\0';
    *port = atoi(colon + 1);
    if (host[0] != '[' || colon <= host + 1 || colon[-1] != ']')
        return host;
    colon[-1] = '\0';
    return host + 1;
}

static void begin_question(struct target *target)
{
    memory_free(target->info);
    target->info = NULL;
    target->trouble[0] = '\0';
    target->sent = false;
    char host[ADDRESS_SIZE];
    int port;
    const char *name = split_address(target, host, &port);
    target->connection = redisConnectNonBlock(name, port);
    if (target->connection == NULL)
        give_up(target, "no memory");
    else if (target->connection->err != 0)
        give_up(target, target->connection->errstr);
    else if (redisAppendCommand(target->connection, "INFO raft") != REDIS_OK)
        give_up(target, target->connection->errstr);
}

const char *info_value(const struct target *target, const char *key, char value[WORD_SIZE])
{
    value[0] = '\0';
    size_t key_size = strlen(key);
    for (const char *line = target->info; line != NULL && *line != '\0';) {
        size_t size = strcspn(line, "\r\n");
        if (size > key_size && memcmp(line, key, key_size) == 0 && line[key_size] == ':') {
            (void)snprintf(value, WORD_SIZE, "%.*s", (int)(size - key_size - 1),
                           line + key_size + 1);
            return value;
        }
        line += size;
        line += strspn(line, "\r\n");
    }
    return value;
}

u64 info_number(const struct target *target, const char *key)
{
    char value[WORD_SIZE];
    return strtoull(info_value(target, key, value), NULL, 10);
}

bool field_number(const char *value, const char *name, u64 *number)
{
    size_t size = strlen(name);
    for (const char *at = value; at != NULL; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, size) == 0 && at[size] == '=') {
            *number = strtoull(at + size + 1, NULL, 10);
            return true;
        }
    }
    return false;
}

/* Another server behind a port than the configuration says is worse than none: it is no member. */
static void check_who_answers(const struct raftctl *raftctl, struct target *target)
{
    char cluster_id[WORD_SIZE];
    info_value(target, "raft_cluster_id", cluster_id);
    if (target->state[0] == '\0')
        set_trouble(target, "something that is no mailraft server answers there");
    else if (target->id != 0 && strcmp(cluster_id, raftctl->settings.values.cluster_id) != 0)
        set_trouble(target, "a server of cluster %.64s answers there", cluster_id);
    else if (target->id != 0 && target->id != target->answered_id)
        set_trouble(target, "server %u answers there", target->answered_id);
    else if (target->told_id != 0 && strcmp(cluster_id, target->told_cluster) != 0)
        set_trouble(target, "a server of cluster %.64s answers there", cluster_id);
    else if (target->told_id != 0 && target->told_id != target->answered_id)
        set_trouble(target, "server %u answers there", target->answered_id);
}

static void take_answer(const struct raftctl *raftctl, struct target *target,
                        const redisReply *reply)
{
    if (reply->type != REDIS_REPLY_STRING) {
        give_up(target, reply->type == REDIS_REPLY_ERROR ? reply->str : "not an answer to INFO");
        return;
    }
    target->info = memory_copy_string(reply->str);
    char state[WORD_SIZE];
    (void)snprintf(target->state, sizeof(target->state), "%.15s",
                   info_value(target, "raft_state", state));
    target->answered_id = (server_id)info_number(target, "raft_id");
    target->term = info_number(target, "raft_current_term");
    target->commit = info_number(target, "raft_commit_index");
    target->leader = (server_id)info_number(target, "raft_leader_id");
    check_who_answers(raftctl, target);
    hang_up(target);
}

/* Goes on with a question as far as the socket lets it. */
static void go_on(const struct raftctl *raftctl, struct target *target, short events)
{
    redisContext *connection = target->connection;
    if (!target->sent) {
        int done = 0;
        if (redisBufferWrite(connection, &done) != REDIS_OK) {
            give_up(target, connection->errstr);
            return;
        }
        target->sent = done != 0;
    }
    if ((events & ~POLLOUT) == 0)
        return;
    void *reply = NULL;
    if (redisBufferRead(connection) != REDIS_OK ||
        redisGetReplyFromReader(connection, &reply) != REDIS_OK) {
        give_up(target, connection->errstr);
        return;
    }
    if (reply == NULL)
        return;
    take_answer(raftctl, target, reply);
    freeReplyObject(reply);
}

void ask_all(struct raftctl *raftctl)
{
    u64 deadline_ns = clock_monotonic_ns() + raftctl->timeout_ns;
    for (u32 i = 0; i < raftctl->target_count; i++)
        begin_question(&raftctl->targets[i]);
    for (;;) {
        struct pollfd polled[SERVERS_MAX];
        struct target *who[SERVERS_MAX];
        nfds_t count = 0;
        for (u32 i = 0; i < raftctl->target_count; i++) {
            struct target *target = &raftctl->targets[i];
            if (target->connection == NULL)
                continue;
            who[count] = target;
            polled[count++] = (struct pollfd){
                .fd = target->connection->fd,
                .events = target->sent ? POLLIN : POLLIN | POLLOUT,
            };
        }
        u64 now_ns = clock_monotonic_ns();
        if (count == 0)
            return;
        if (now_ns >= deadline_ns) {
            for (nfds_t i = 0; i < count; i++)
                give_up(who[i], "no answer in time");
            return;
        }
        if (poll(polled, count, (int)((deadline_ns - now_ns) / NS_PER_MS) + 1) < 0)
            continue;
        for (nfds_t i = 0; i < count; i++) {
            if (polled[i].revents != 0)
                go_on(raftctl, who[i], polled[i].revents);
        }
    }
}

const struct target *ask_leader(const struct raftctl *raftctl)
{
    const struct target *leader = NULL;
    /* A deposed leader may not know it yet: the newest term counts. */
    for (u32 i = 0; i < raftctl->target_count; i++) {
        const struct target *target = &raftctl->targets[i];
        if (target_is_valid(target) && strcmp(target->state, "leader") == 0 &&
            (leader == NULL || target->term > leader->term))
            leader = target;
    }
    return leader;
}

/* The client port of that member, as this server says; "" when it knows none. */
static void member_address(const struct target *target, server_id id, char address[ADDRESS_SIZE])
{
    char key[32];
    char value[WORD_SIZE];
    (void)snprintf(key, sizeof(key), "raft_member_%u", id);
    const char *client = strstr(info_value(target, key, value), ",client=");
    address[0] = '\0';
    if (client == NULL)
        return;
    client += strlen(",client=");
    size_t size = strcspn(client, ",");
    if (size < ADDRESS_SIZE && memchr(client, ':', size) != NULL)
        (void)snprintf(address, ADDRESS_SIZE, "%.*s", (int)size, client);
}

static bool add_leader_told(struct raftctl *raftctl)
{
    char address[ADDRESS_SIZE] = "";
    for (u32 i = 0; i < raftctl->target_count && address[0] == '\0'; i++) {
        if (target_is_valid(&raftctl->targets[i]) && raftctl->targets[i].leader != SERVER_NONE)
            member_address(&raftctl->targets[i], raftctl->targets[i].leader, address);
    }
    for (u32 i = 0; i < raftctl->target_count; i++) {
        if (strcmp(raftctl->targets[i].address, address) == 0)
            return false;
    }
    if (address[0] == '\0' || raftctl->target_count == SERVERS_MAX)
        return false;
    struct target *target = &raftctl->targets[raftctl->target_count++];
    *target = (struct target){.id = 0};
    memcpy(target->address, address, sizeof(address));
    return true;
}

/* Whether this member is among the targets: configured, by its own word, or by its address. */
static bool is_asked(const struct raftctl *raftctl, const struct target *told_by, server_id id,
                     const char *address)
{
    char ours[WORD_SIZE];
    char theirs[WORD_SIZE];
    info_value(told_by, "raft_cluster_id", theirs);
    for (u32 i = 0; i < raftctl->target_count; i++) {
        const struct target *target = &raftctl->targets[i];
        if (strcmp(target->address, address) == 0 || target->id == id)
            return true;
        if (target_is_valid(target) && target->answered_id == id &&
            strcmp(info_value(target, "raft_cluster_id", ours), theirs) == 0)
            return true;
    }
    return false;
}

/* The members that this one names. */
static bool add_members_of(struct raftctl *raftctl, const struct target *told_by)
{
    static const char key[] = "raft_member_";
    bool added = false;
    for (const char *at = told_by->info; (at = strstr(at, key)) != NULL; at++) {
        server_id id = (server_id)strtoul(at + sizeof(key) - 1, NULL, 10);
        char address[ADDRESS_SIZE];
        member_address(told_by, id, address);
        if (id == SERVER_NONE || address[0] == '\0' || raftctl->target_count == SERVERS_MAX ||
            is_asked(raftctl, told_by, id, address))
            continue;
        struct target *target = &raftctl->targets[raftctl->target_count++];
        *target = (struct target){.id = 0};
        memcpy(target->address, address, sizeof(address));
        target->told_id = id;
        info_value(told_by, "raft_cluster_id", target->told_cluster);
        added = true;
    }
    return added;
}

void ask_members(struct raftctl *raftctl)
{
    u32 named = raftctl->target_count;
    ask_all(raftctl);
    if (raftctl->settings.values.configuration.count > 0)
        return;
    bool added = false;
    for (u32 i = 0; i < named; i++) {
        if (target_is_valid(&raftctl->targets[i]))
            added = add_members_of(raftctl, &raftctl->targets[i]) || added;
    }
    if (added)
        ask_all(raftctl);
}

const struct target *ask_for_leader(struct raftctl *raftctl)
{
    ask_all(raftctl);
    if (ask_leader(raftctl) == NULL && add_leader_told(raftctl))
        ask_all(raftctl);
    return ask_leader(raftctl);
}

enum error_code ask_connect(const struct target *target, u64 timeout_ns, redisContext **connection,
                            struct error *error)
{
    char host[ADDRESS_SIZE];
    int port;
    const char *name = split_address(target, host, &port);
    struct timeval timeout = {.tv_sec = (time_t)(timeout_ns / NS_PER_S),
                              .tv_usec = (suseconds_t)(timeout_ns % NS_PER_S / NS_PER_US)};
    *connection = redisConnectWithTimeout(name, port, timeout);
    if (*connection == NULL) {
        (void)error_set(error, ERROR_SYSTEM, "no memory");
        return ERROR_SYSTEM;
    }
    if ((*connection)->err == 0 && redisSetTimeout(*connection, timeout) == REDIS_OK)
        return ERROR_NONE;
    (void)error_set(error, ERROR_UNAVAILABLE, "%s: %s", target->address, (*connection)->errstr);
    redisFree(*connection);
    *connection = NULL;
    return ERROR_UNAVAILABLE;
}

static enum error_code check_reply(redisContext *connection, const struct target *target,
                                   redisReply **reply, struct error *error)
{
    enum error_code code = ERROR_NONE;
    if (*reply == NULL && connection->err == REDIS_ERR_IO && errno == EAGAIN)
        code = error_set(error, ERROR_UNAVAILABLE, "%s: no answer in time", target->address);
    else if (*reply == NULL)
        code = error_set(error, ERROR_UNAVAILABLE, "%s: %s", target->address, connection->errstr);
    else if ((*reply)->type == REDIS_REPLY_ERROR)
        code = error_set(error, ERROR_UNAVAILABLE, "%s", (*reply)->str);
    if (code != ERROR_NONE && *reply != NULL) {
        freeReplyObject(*reply);
        *reply = NULL;
    }
    return code;
}

enum error_code ask_on(redisContext *connection, const struct target *target, int count,
                       const char **words, redisReply **reply, struct error *error)
{
    errno = 0;
    *reply = redisCommandArgv(connection, count, words, NULL);
    return check_reply(connection, target, reply, error);
}

/* Waits until something comes back, or nothing is to be expected any more. */
static enum error_code await_answer(const struct target *target, u64 timeout_ns, int fd,
                                    struct error *error)
{
    static const char *const words[] = {"RAFT.STATUS"};
    struct pollfd polled = {.fd = fd, .events = POLLIN};
    while (poll(&polled, 1, ALIVE_MS) <= 0) {
        redisReply *reply;
        enum error_code code =
            ask_one(target, timeout_ns, 1, (const char **)(uintptr_t)words, &reply, error);
        if (code != ERROR_NONE)
            return code;
        freeReplyObject(reply);
    }
    return ERROR_NONE;
}

enum error_code ask_patiently(const struct target *target, u64 timeout_ns, int count,
                              const char **words, redisReply **reply, struct error *error)
{
    redisContext *connection;
    *reply = NULL;
    enum error_code code = ask_connect(target, timeout_ns, &connection, error);
    if (code != ERROR_NONE)
        return code;
    int sent = 0;
    if (redisAppendCommandArgv(connection, count, words, NULL) != REDIS_OK)
        sent = -1;
    while (sent == 0 && redisBufferWrite(connection, &sent) != REDIS_OK)
        sent = -1;
    if (sent > 0)
        code = await_answer(target, timeout_ns, connection->fd, error);
    if (code == ERROR_NONE) {
        void *got = NULL;
        errno = 0;
        if (sent > 0)
            (void)redisGetReply(connection, &got);
        *reply = got;
        code = check_reply(connection, target, reply, error);
    }
    redisFree(connection);
    return code;
}

enum error_code ask_one(const struct target *target, u64 timeout_ns, int count, const char **words,
                        redisReply **reply, struct error *error)
{
    redisContext *connection;
    *reply = NULL;
    enum error_code code = ask_connect(target, timeout_ns, &connection, error);
    if (code != ERROR_NONE)
        return code;
    code = ask_on(connection, target, count, words, reply, error);
    redisFree(connection);
    return code;
}

void ask_forget(struct raftctl *raftctl)
{
    for (u32 i = 0; i < raftctl->target_count; i++) {
        memory_free(raftctl->targets[i].info);
        raftctl->targets[i].info = NULL;
    }
}

bool target_is_valid(const struct target *target)
{
    return target->info != NULL && target->trouble[0] == '\0';
}

server_id target_known_id(const struct target *target)
{
    if (target->id != 0)
        return target->id;
    return target->told_id != 0 ? target->told_id : target->answered_id;
}
