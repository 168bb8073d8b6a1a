/* local.c - see local.h. */
#include "server/admin/local.h"

#include "server/admin/status.h"
#include "server/replica/answers.h"
#include "server/replica/loop_time.h"
#include "server/replica/snapshot.h"

/* The body is "key\0value\0", put together by the client port. */
static void change_setting(struct server *server, const struct span *body, struct buffer *answer)
{
    struct error error = {0};
    const char *key = (const char *)body->data;
    const char *value = key + strlen(key) + 1;
    enum error_code code =
        server->world.set != NULL
            ? server->world.set(server->world.set_context, key, value, &server->options, &error)
            : error_set(&error, ERROR_CONFIG, "%s: this server takes no settings", key);
    if (code == ERROR_NONE) {
        server_apply_options(server);
        server->settings_changed = true;
        buffer_append_string(answer, "+OK\r\n");
    } else {
        buffer_append_format(answer, "-ERR %s\r\n", error.text);
    }
}

static void reset_statistics(struct server *server, struct buffer *answer)
{
    storage_reset_timing(server->storage);
    loop_time_reset(&server->loop_time);
    server_snapshot_reset_syncs(server);
    buffer_append_string(answer, "+OK\r\n");
}

/* Whoever answers is not stalled, and tells what is so now: compare liveness_describe_stall. */
static void describe_now(struct server *server, const struct leader_pending *lead,
                         struct buffer *answer)
{
    buffer_append_string(answer, "raft_stalled_ms:0\r\nraft_status_age_ms:0\r\n");
    server_describe(server, lead, answer);
}

void server_answer_local(struct server *server, struct leader_pending *lead,
                         struct command *command)
{
    if (command->class == COMMAND_SNAPSHOT) {
        server_snapshot_ask(server, command);
        return;
    }
    if (command->class == COMMAND_BACKUP) {
        server_snapshot_pin(server, command);
        return;
    }
    buffer_clear(&server->answer);
    if (command->class == COMMAND_STATUS)
        describe_now(server, lead, &server->answer);
    else if (command->class == COMMAND_RESET_STATISTICS)
        reset_statistics(server, &server->answer);
    else
        change_setting(server, &command->body, &server->answer);
    server_answer(server, command, server->answer.data, server->answer.size);
}
