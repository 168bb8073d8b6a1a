/* hold.c - see hold.h. */
#include "server/service/hold.h"

#include "server/admin/local.h"
#include "server/replica/answers.h"
#include "server/requests/parked.h"
#include "server/service/transfer.h"

void hold_command(struct server *server, struct command *command)
{
    if (command_is_local(command))
        server_answer_local(server, NULL, command);
    else if (command->class == COMMAND_TRANSFER)
        server_conclude_order(server, command);
    else
        parked_put(&server->parked, command);
}

u64 hold_expire(struct server *server, u64 now_ns)
{
    u64 wait_ns = server->options.leader_wait_ns;
    struct command *command;
    while ((command = parked_expired(&server->parked, wait_ns, now_ns)) != NULL) {
        if (command->class == COMMAND_TRANSFER)
            server_conclude_order(server, command);
        else
            server_fail(server, command, COMMAND_NO_LEADER);
    }
    return parked_until_ns(&server->parked, wait_ns);
}
