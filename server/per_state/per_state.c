/* per_state.c - the loop around the loops. */
#include "server/per_state/per_state.h"

static void run(struct server *server)
{
    enum raft_state state = RAFT_FOLLOWER;
    while (state != RAFT_STOPPED) {
        switch (state) {
        case RAFT_FOLLOWER:
            state = follower_run(server);
            break;
        case RAFT_CANDIDATE:
            state = candidate_run(server);
            break;
        case RAFT_LEADER:
            state = leader_run(server);
            break;
        case RAFT_STOPPED:
            break;
        }
    }
    server_enter(server, RAFT_STOPPED,
                 server->failure.code == ERROR_NONE ? "it was told to" : "an error");
}

const struct design per_state_design = {.run = run};
