/* flush.c - contract 4, "speak only after persisting": the end of every pile, in every state.
 *
 * The order in server_flush is the whole guarantee. What it sends before the sync promises nothing
 * that the disk does not hold already: entries of a term that is on disk, and answers to what a
 * quorum of disks holds. Everything else waits for the sync. */
#include "common/clock.h"
#include "common/memory.h"
#include "server/replica/batch.h"
#include "server/replica/identity.h"
#include "server/server.h"

enum {
    ANSWER_KEPT = 1024 * 1024 /* capacity of the scratch for answers that is kept */
};

bool server_disk_failed(struct server *server, const char *what)
{
    (void)error_add(&server->failure, "%s", what);
    REPORT(server->world.report, REPORT_ERROR, "server", "stopping: %s", server->failure.text);
    return false;
}

/* ---- apply ---- */

static void apply_command(struct server *server, const struct entry *entry, struct command *writer)
{
    struct machine_context context = {entry->id, entry->time_ns};
    buffer_clear(&server->answer);
    server->machine->ops->apply(server->machine, &context, entry->payload, entry->payload_size,
                                writer != NULL ? &server->answer : NULL);
    if (writer != NULL)
        server_answer(server, writer, server->answer.data, server->answer.size);
}

/* What the machine says it has touched since it was last asked. */
static u64 machine_work(struct server *server)
{
    const struct machine_ops *ops = server->machine->ops;
    return ops->work != NULL ? ops->work(server->machine) : 0;
}

u64 server_apply(struct server *server, u64 index, struct command *writer)
{
    struct entry entry = log_entry(&server->raft.log, index);
    snapshotting_note(server, RECORD_HEADER_SIZE + entry.payload_size);
    switch (entry.type) {
    case ENTRY_COMMAND:
        apply_command(server, &entry, writer);
        break;
    case ENTRY_NOOP:
    case ENTRY_CONFIGURATION:
    case ENTRY_FEATURE:
        buffer_clear(&server->answer);
        buffer_append_string(&server->answer, "+OK\r\n");
        if (writer != NULL) /* who asked for it */
            server_answer(server, writer, server->answer.data, server->answer.size);
        break; /* nothing for the machine */
    }
    u64 answered = writer != NULL ? server->answer.size : 0;
    server_trim_answer(server);
    return answered + machine_work(server);
}

/* [All Servers 1, §5.3] "If commitIndex > lastApplied: increment lastApplied, apply
 * log[lastApplied] to state machine". Much is applied in helpings, so that the loop can hear and be
 * heard between them: much is what was touched for it, not what it took in the log. */
static void apply_committed(struct server *server, struct lead *lead)
{
    struct raft *raft = &server->raft;
    struct helping helping;
    helping_begin(&helping, raft->round_bytes_max);
    while (raft->last_applied < raft->commit_index && !helping_is_over(&helping)) {
        u64 index = raft->last_applied + 1;
        struct command *writer = lead != NULL ? leading_writer_of(lead, index) : NULL;
        u64 work = server_apply(server, index, writer);
        helping_add(&helping, log_bytes(&raft->log, index, index) + work);
        raft->last_applied = index;
        events_applied(&server->events, index);
    }
}

u64 server_read(struct server *server, struct command *read)
{
    buffer_clear(&server->answer);
    server->machine->ops->read(server->machine, read->body.data, read->body.size, &server->answer);
    u64 size = server->answer.size;
    server_answer(server, read, server->answer.data, size);
    server_trim_answer(server);
    return size + machine_work(server);
}

/* A large answer must not stay in memory for ever. */
void server_trim_answer(struct server *server)
{
    if (server->answer.capacity > ANSWER_KEPT)
        buffer_deinit(&server->answer);
}

static void commit_and_apply(struct server *server, struct lead *lead)
{
    u64 before = server->committed_seen;
    if (lead != NULL)
        (void)commit_advance(&server->raft, &lead->leadership);
    if (server->raft.commit_index != before)
        events_committed(&server->events);
    server->committed_seen = server->raft.commit_index;
    apply_committed(server, lead);
    if (lead != NULL)
        lead_answer_reads(server, lead);
}

/* ---- save ---- */

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
    if (storage_save_promised(server->storage, nothing, &server->failure) == ERROR_NONE)
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
    server->raft.promised = (struct entry_id){0, 0};
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

static bool save(struct server *server)
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

/* ---- flush ---- */

/* §7: what a snapshot stands for, and nobody is about to be sent, the log may forget. */
static void compact(struct server *server, const struct leadership *leadership)
{
    struct raft *raft = &server->raft;
    struct compaction_limits limits = snapshotting_limits(server);
    if (raft->snapshot.last.index <= raft->log.base.index + limits.trailing_entries)
        return;
    u64 index = compaction_index(raft, leadership, &limits, snapshotting_log_bytes(server),
                                 clock_monotonic_ns());
    if (index == 0)
        return;
    log_compact(&raft->log, index);
    snapshotting_compact(server, index);
}

void server_flush_answers(struct server *server)
{
    for (u32 i = 0; i < server->sink_count; i++)
        server->sinks[i]->ops->flush(server->sinks[i]);
    server->sink_count = 0;
}

bool server_flush(struct server *server, struct lead *lead)
{
    struct raft *raft = &server->raft;
    /* What a committed configuration says of this server is saved before it speaks. */
    recognition_settle(server, lead);
    /* That, or what had to be saved before the rest of the pile was read, could not be. */
    if (server->failure.code != ERROR_NONE)
        return false;
    /* (1) and (2): what the disk holds already. */
    if (!raft->metadata_unsaved)
        outbox_send_early(&server->outbox, server->transport);
    commit_and_apply(server, lead);
    if (!raft->metadata_unsaved)
        outbox_send_early(&server->outbox, server->transport);
    server_flush_answers(server);
    /* (3) */
    if (!save(server))
        return false;
    /* (4) and (5): what it holds now. */
    outbox_send_all(&server->outbox, server->transport);
    commit_and_apply(server, lead);
    outbox_send_all(&server->outbox, server->transport);
    server_flush_answers(server);
    log_evict(&raft->log, raft->last_applied);
    raft->room_bytes = storage_room_soon(server->storage);
    compact(server, lead != NULL ? &lead->leadership : NULL);
    snapshotting_remove_old(server, lead != NULL ? &lead->leadership : NULL);
    snapshotting_work(server);
    server_note_status(server, lead);
    return true;
}

/* ---- answers ---- */

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
