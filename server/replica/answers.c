/* answers.c - see answers.h. */
#include "server/replica/answers.h"

void server_flush_answers(struct server *server)
{
    for (u32 i = 0; i < server->sink_count; i++)
        server->sinks[i]->ops->flush(server->sinks[i]);
    server->sink_count = 0;
}

static void note_sink(struct server *server, const struct command *command)
{
    /* A forwarded command's sink ends with its last answer, and has nothing to flush. */
    if (command->forwarded)
        return;
    for (u32 i = 0; i < server->sink_count; i++) {
        if (server->sinks[i] == command->sink)
            return;
    }
    if (server->sink_count == SERVER_SINKS_MAX)
        server_flush_answers(server);
    server->sinks[server->sink_count++] = command->sink;
}

void server_answer(struct server *server, struct command *command, const u8 *answer, size_t size)
{
    note_sink(server, command);
    command_answer(command, answer, size);
}

void server_fail(struct server *server, struct command *command, enum command_failure failure)
{
    note_sink(server, command);
    command_fail(command, failure);
}

void server_redirect(struct server *server, struct command *command)
{
    note_sink(server, command);
    command_redirect(command, server->raft.leader);
}
