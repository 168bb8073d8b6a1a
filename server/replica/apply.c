/* apply.c - see apply.h. */
#include "server/replica/apply.h"

#include "server/replica/answers.h"
#include "server/replica/batch.h"
#include "server/replica/events.h"
#include "server/replica/snapshot.h"
#include "server/requests/pending.h"

enum {
    ANSWER_KEPT = 1024 * 1024 /* capacity of the scratch for answers that is kept */
};

/* A large answer must not stay in memory for ever. */
static void trim_answer(struct server *server)
{
    if (server->answer.capacity > ANSWER_KEPT)
        buffer_deinit(&server->answer);
}

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
    server_snapshot_note(server, RECORD_HEADER_SIZE + entry.payload_size);
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
    trim_answer(server);
    return answered + machine_work(server);
}

/* [All Servers 1, §5.3] "If commitIndex > lastApplied: increment lastApplied, apply
 * log[lastApplied] to state machine". Much is applied in batches, so that the loop can hear and be
 * heard between them: much is what was touched for it, not what it took in the log. */
void server_apply_committed(struct server *server, struct leader_pending *lead)
{
    struct raft *raft = &server->raft;
    struct work_batch batch;
    work_batch_begin(&batch, raft->round_bytes_max);
    while (raft->last_applied < raft->commit_index && !work_batch_is_over(&batch)) {
        u64 index = raft->last_applied + 1;
        struct command *writer = lead != NULL ? pending_writer_of(lead, index) : NULL;
        u64 work = server_apply(server, index, writer);
        work_batch_add(&batch, log_bytes(&raft->log, index, index) + work);
        raft->last_applied = index;
        events_applied(&server->events, index);
    }
}

static u64 execute_read(struct server *server, struct command *read)
{
    bool forwarded = read->forwarded;
    server_id taker = read->taker;
    buffer_clear(&server->answer);
    server->machine->ops->read(server->machine, read->body.data, read->body.size, &server->answer);
    u64 size = server->answer.size;
    server_answer(server, read, server->answer.data, size);
    trim_answer(server);
    if (forwarded)
        ways_back_answered(&server->ways_back, taker, size);
    return size + machine_work(server);
}

u64 server_read(struct server *server, struct command *read)
{
    if (!ways_back_open(&server->ways_back, server->transport, read))
        return 0;
    return execute_read(server, read);
}

u64 server_begin_reads(struct server *server)
{
    struct ways_back *ways = &server->ways_back;
    struct work_batch batch;
    struct command *read;
    ways_back_begin(ways);
    work_batch_begin(&batch, ANSWERED_READ_BYTES_MAX / 2);
    while (!work_batch_is_over(&batch) && (read = ways_back_next(ways, server->transport)) != NULL)
        work_batch_add(&batch, execute_read(server, read));
    return ANSWERED_READ_BYTES_MAX - u64_min(batch.work, ANSWERED_READ_BYTES_MAX / 2);
}

void server_answer_reads(struct server *server, struct leader_pending *lead)
{
    const struct ways_back *ways = &server->ways_back;
    lead->reads_left = false;
    if (lead->reads.first == NULL && ways_back_waiting(ways) == 0)
        return;
    u64 confirmed = reads_confirmed_round(&server->raft, &lead->leadership);
    struct work_batch batch;
    struct command *read;
    work_batch_begin(&batch, server_begin_reads(server));
    while (!work_batch_is_over(&batch) &&
           (read = pending_ready_read(&server->raft, lead, confirmed)) != NULL)
        work_batch_add(&batch, server_read(server, read));
    lead->reads_left =
        (work_batch_is_over(&batch) && lead->reads.first != NULL) || ways_back_left(ways);
}
