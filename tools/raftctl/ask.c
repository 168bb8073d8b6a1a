/* ask.c - see ask.h. */
#include "tools/raftctl/ask.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/memory.h"

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

enum error_code ask_one(const struct target *target, u64 timeout_ns, int count, const char **words,
                        redisReply **reply, struct error *error)
{
    char host[ADDRESS_SIZE];
    int port;
    const char *name = split_address(target, host, &port);
    struct timeval timeout = {.tv_sec = (time_t)(timeout_ns / NS_PER_S),
                              .tv_usec = (suseconds_t)(timeout_ns % NS_PER_S / NS_PER_US)};
    *reply = NULL;
    redisContext *connection = redisConnectWithTimeout(name, port, timeout);
    enum error_code code = ERROR_NONE;
    if (connection == NULL)
        return error_set(error, ERROR_SYSTEM, "no memory");
    if (connection->err == 0 && redisSetTimeout(connection, timeout) == REDIS_OK)
        *reply = redisCommandArgv(connection, count, words, NULL);
    if (*reply == NULL)
        code = error_set(error, ERROR_UNAVAILABLE, "%s: %s", target->address, connection->errstr);
    else if ((*reply)->type == REDIS_REPLY_ERROR)
        code = error_set(error, ERROR_UNAVAILABLE, "%s", (*reply)->str);
    if (code != ERROR_NONE && *reply != NULL) {
        freeReplyObject(*reply);
        *reply = NULL;
    }
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
    return target->id != 0 ? target->id : target->answered_id;
}
