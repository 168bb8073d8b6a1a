/* ask.h - one question to all servers of a cluster at once, and what they answered.
 *
 * INFO raft goes to every client port; the slowest server is waited for, at most a timeout. What
 * the keys of the answer mean is said in server/admin/status.c. */
#ifndef MAILRAFT_TOOLS_RAFTCTL_ASK_H
#define MAILRAFT_TOOLS_RAFTCTL_ASK_H

#include <hiredis/hiredis.h>

#include "server/raftd/settings.h"

enum { WORD_SIZE = 192 };

/* One server: how to reach it, and what it said or why it said nothing. */
struct target {
    server_id id; /* as configured; 0: -s gave an address only */
    char address[ADDRESS_SIZE];
    server_id told_id;            /* who it is by the word of another target; 0: nobody said so, */
    char told_cluster[WORD_SIZE]; /* and of which cluster */
    redisContext *connection;     /* NULL: not asked, or done */
    bool sent;                    /* the question has left completely */
    char trouble[WORD_SIZE];      /* "": what follows is valid */
    char *info;                   /* lines "key:value\r\n"; owned; NULL: no answer */
    server_id answered_id;
    u64 term;
    u64 commit;
    server_id leader;
    char state[16];
};

/* What the command line said, and the servers that it means. */
struct raftctl {
    const char *config; /* NULL: cluster.conf, if -s names no server */
    u64 timeout_ns;
    bool json;
    bool wait;
    u64 wait_ns;
    const char *where;           /* snapshot, backup: HOST:PORT or the number; NULL: the leader */
    const char *file;            /* backup: where it goes */
    bool force;                  /* backup: a file that is there may be replaced */
    server_id to;                /* transfer: to whom; 0: to whoever can take over soonest */
    server_id with[SERVERS_MAX]; /* must follow too, before --wait is content */
    u32 with_count;
    struct settings settings;
    struct target targets[SERVERS_MAX];
    u32 target_count;
};

/* The valid target that leads in the newest term, or NULL. */
const struct target *ask_leader(const struct raftctl *raftctl);

/* Asks all, and if the leader is none of them, whoever they say leads, who is one of them from then
 * on. NULL: nobody is known to lead. Blocks. */
const struct target *ask_for_leader(struct raftctl *raftctl);

/* Connects to the target. Ownership: caller's, redisFree. Blocks. */
WARN_UNUSED enum error_code ask_connect(const struct target *target, u64 timeout_ns,
                                        redisContext **connection, struct error *error);

/* Sends one command over the connection, and waits for its answer, for the connection's timeout at
 * most. An error that is answered is ERROR_UNAVAILABLE, its text begins the error's. After another
 * error the connection is of no use. Ownership: caller's, freeReplyObject. Blocks. */
WARN_UNUSED enum error_code ask_on(redisContext *connection, const struct target *target, int count,
                                   const char **words, redisReply **reply, struct error *error);

/* The same, for an answer that may take its time: as long as the server is alive, which is tried
 * once in a while over another connection. Blocks. */
WARN_UNUSED enum error_code ask_patiently(const struct target *target, u64 timeout_ns, int count,
                                          const char **words, redisReply **reply,
                                          struct error *error);

/* Sends one command to the target, over a connection of its own. Otherwise as ask_on. */
WARN_UNUSED enum error_code ask_one(const struct target *target, u64 timeout_ns, int count,
                                    const char **words, redisReply **reply, struct error *error);

/* Asks every target, until all have answered or failed, or the time is up. Blocks. */
void ask_all(struct raftctl *raftctl);
/* The same; and where -s named the targets, also the members that they name, who are targets from
 * then on. Blocks. */
void ask_members(struct raftctl *raftctl);
/* Frees the answers. */
void ask_forget(struct raftctl *raftctl);

/* Whether the target answered, and is who it should be. */
bool target_is_valid(const struct target *target);
/* 0: neither configured nor told. */
server_id target_known_id(const struct target *target);

/* The value of a key in the server's own lines; "" when there is none. Returns `value`. */
const char *info_value(const struct target *target, const char *key, char value[WORD_SIZE]);
u64 info_number(const struct target *target, const char *key);
/* The number behind "name=" in a value like "mode=pipeline,match=17"; false when it is not there.
 */
bool field_number(const char *value, const char *name, u64 *number);

#endif
