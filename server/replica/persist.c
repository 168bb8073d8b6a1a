/* persist.c - see persist.h. */
#include "server/replica/persist.h"

#include "common/memory.h"
#include "server/replica/events.h"

bool server_disk_failed(struct server *server, const char *what)
{
    (void)error_add(&server->failure, "%s", what);
    REPORT(server->world.report, REPORT_ERROR, "server", "stopping: %s", server->failure.text);
    return false;
}

static void collect_records(struct server *server, u64 first, u32 *span_count, u32 *count)
{
    struct log *log = &server->raft.log;
    *span_count = 0;
    *count = 0;
    u64 index = first;
    while (index <= log->last_index) {
        if (server->save_spans_capacity - *span_count < MESSAGE_SPANS_MAX) {
            server->save_spans_capacity = server->save_spans_capacity * 2 + MESSAGE_SPANS_MAX;
            server->save_spans = memory_resize(
                server->save_spans, server->save_spans_capacity * sizeof(server->save_spans[0]));
        }
        u32 added;
        u32 got = log_slice(log, index, UINT64_MAX, server->save_spans + *span_count,
                            server->save_spans_capacity - *span_count, &added);
        ASSERT(got > 0);
        *span_count += added;
        *count += got;
        index += got;
    }
}

bool server_store_log(struct server *server, u64 first)
{
    struct raft *raft = &server->raft;
    u32 span_count;
    u32 count;
    collect_records(server, first, &span_count, &count);
    enum error_code code =
        storage_append(server->storage, server->save_spans, span_count, first, count,
                       log_last(&raft->log), raft->commit_index, &server->failure);
    for (u32 i = 0; i < span_count; i++)
        span_release(&server->save_spans[i]);
    return code == ERROR_NONE ? true : server_disk_failed(server, "save log entries");
}

bool server_store_state(struct server *server, u64 current_term, server_id voted_for)
{
    enum error_code code =
        storage_save_metadata(server->storage, current_term, voted_for, &server->failure);
    return code == ERROR_NONE ? true : server_disk_failed(server, "save term and vote");
}

bool server_store_repaired(struct server *server)
{
    struct entry_id nothing = {0, 0};
    REPORT(server->world.report, REPORT_INFO, "server",
           "the log is repaired: what the disk had lost has been sent again");
    if (storage_save_acked_through(server->storage, nothing, &server->failure) == ERROR_NONE)
        return true;
    return server_disk_failed(server, "save that the log is repaired");
}

bool server_check_disk(struct server *server)
{
    if (storage_check(server->storage, &server->failure) == ERROR_NONE)
        return true;
    return server_disk_failed(server, "prepare segments");
}

static bool save_log(struct server *server)
{
    struct log *log = &server->raft.log;
    u64 last = log->last_index;
    if (!server_store_log(server, log->unsaved_index))
        return false;
    log_saved(log, last);
    return true;
}

/* What the disk once lost has come again: the log is as good as it ever was. */
static bool forget_promise(struct server *server)
{
    if (!raft_is_repaired(&server->raft))
        return true;
    server->raft.acked_through = (struct entry_id){0, 0};
    return server_store_repaired(server);
}

bool server_must_save(const struct server *server)
{
    const struct raft *raft = &server->raft;
    return raft->metadata_unsaved || raft->log.unsaved_index <= raft->log.last_index ||
           raft_is_repaired(raft);
}

static bool save_unsaved(struct server *server)
{
    struct raft *raft = &server->raft;
    if (raft->metadata_unsaved) {
        if (!server_store_state(server, raft->current_term, raft->voted_for))
            return false;
        raft->metadata_unsaved = false;
    }
    if (raft->log.unsaved_index <= raft->log.last_index && !save_log(server))
        return false;
    if (!forget_promise(server))
        return false;
    events_persisted(&server->events, raft->log.durable_index);
    return true;
}

bool server_save(struct server *server)
{
    struct raft *raft = &server->raft;
    if (!server_check_disk(server))
        return false;
    if (!raft->metadata_unsaved && raft->log.unsaved_index > raft->log.last_index)
        return forget_promise(server);
    return save_unsaved(server);
}

u64 server_room(struct server *server)
{
    const struct log *log = &server->raft.log;
    u64 unsaved = log_bytes(log, log->unsaved_index, log->last_index);
    u64 room = storage_room(server->storage);
    return room > unsaved ? room - unsaved : 0;
}
