/* member.c - see member.h. */
#include "tools/raftctl/member.h"

#include <stdio.h>

/* The entry must be committed by a majority without the server. */
#define PATIENCE_NS (10 * NS_PER_S)

enum error_code member_run(struct raftctl *raftctl, struct error *error)
{
    const struct target *leader = ask_for_leader(raftctl);
    if (leader == NULL)
        return error_set(error, ERROR_UNAVAILABLE,
                         "there is no leader: raftctl status says who answers, and what is wrong");
    char who[16];
    (void)snprintf(who, sizeof(who), "%u", raftctl->to);
    const char *words[] = {"RAFT.MEMBER", "READMIT", who};
    redisReply *reply;
    enum error_code code = ask_one(leader, PATIENCE_NS, 3, words, &reply, error);
    if (code != ERROR_NONE)
        return code;
    if (reply->type == REDIS_REPLY_STATUS)
        printf("server %u is readmitted: it votes as soon as its log has caught up\n", raftctl->to);
    else
        code = error_set(error, ERROR_UNAVAILABLE, "%s answered something else than OK",
                         leader->address);
    freeReplyObject(reply);
    return code;
}
