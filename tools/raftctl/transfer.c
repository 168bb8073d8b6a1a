/* transfer.c - see transfer.h. */
#include "tools/raftctl/transfer.h"

#include <stdio.h>

/* The order is answered when the next leader is known, which may take an election. */
#define PATIENCE_NS (10 * NS_PER_S)

enum error_code transfer_run(struct raftctl *raftctl, struct error *error)
{
    const struct target *leader = ask_for_leader(raftctl);
    if (leader == NULL)
        return error_set(error, ERROR_UNAVAILABLE,
                         "there is no leader: raftctl status says who answers, and what is wrong");
    char to[16];
    (void)snprintf(to, sizeof(to), "%u", raftctl->to);
    const char *words[] = {"RAFT.TRANSFER", to};
    redisReply *reply;
    enum error_code code =
        ask_one(leader, PATIENCE_NS, raftctl->to != SERVER_NONE ? 2 : 1, words, &reply, error);
    if (code != ERROR_NONE)
        return code;
    if (reply->type == REDIS_REPLY_INTEGER)
        printf("server %lld leads\n", reply->integer);
    else
        code = error_set(error, ERROR_UNAVAILABLE, "%s answered something else than a number",
                         leader->address);
    freeReplyObject(reply);
    return code;
}
