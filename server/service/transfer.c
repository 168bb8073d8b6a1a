/* transfer.c - see transfer.h. */
#include "server/service/transfer.h"

#include <inttypes.h>

#include "server/replica/answers.h"

/* The number of the server that leads, or an error. */
void server_answer_order(struct server *server, struct command *command,
                         enum transfer_result result, server_id who)
{
    char text[160];
    buffer_clear(&server->answer);
    command->order_result = (u32)result;
    if (result == TRANSFER_DONE) {
        buffer_append_format(&server->answer, ":%" PRIu32 "\r\n", who);
    } else {
        transfer_describe(result, who, text, sizeof(text));
        buffer_append_format(&server->answer, "-%s\r\n", text);
    }
    server_answer(server, command, server->answer.data, server->answer.size);
}

void server_conclude_order(struct server *server, struct command *command)
{
    server_id who;
    enum transfer_result result =
        transfer_conclude(&server->raft, (server_id)command->wait_index, &who);
    server_answer_order(server, command, result, who);
}
