/* load.c - see load.h. */
#include "server/replica/load.h"

#include <inttypes.h>

#include "server/replica/identity.h"
#include "server/replica/snapshot.h"
#include "server/rules/lineage.h"

enum {
    CALL_BITS = 40 /* of a call's number within one life; the start counter stands above them */
};

/* What storage_open's walk over the log needs. */
struct recovering {
    struct server *server;
    struct storage_recovery recovery; /* complete before the first entry comes */
    bool based;                       /* the log's base is set */
    struct error error;               /* the first entry that this version cannot take */
};

static bool recover_configuration(struct recovering *recovering, const struct entry *entry)
{
    struct raft *raft = &recovering->server->raft;
    if (lineage_take(raft, entry, &recovering->error) == ERROR_NONE)
        return true;
    (void)error_add(&recovering->error, "entry %" PRIu64, entry->id.index);
    return false;
}

/* The machine is made anew: nothing of a snapshot that turned out damaged may stay in it. */
static void renew_machine(struct server *server)
{
    struct machine *machine = server->machine->ops->create_empty(server->machine);
    server->machine->ops->destroy(server->machine);
    server->machine = machine;
    const struct configuration none = {0};
    lineage_replace(&server->raft, &none, true);
}

static bool recover_snapshot(void *context, const struct snapshot_head *head)
{
    struct recovering *recovering = context;
    struct server *server = recovering->server;
    renew_machine(server);
    lineage_replace(&server->raft, &head->configuration, true);
    server->raft.log.last_time_ns = head->time_ns;
    return true;
}

static bool recover_piece(void *context, const u8 *data, size_t size)
{
    struct recovering *recovering = context;
    struct machine *machine = recovering->server->machine;
    return machine->ops->restore(machine, data, size);
}

static bool recover_snapshot_end(void *context)
{
    struct recovering *recovering = context;
    struct machine *machine = recovering->server->machine;
    return machine->ops->restore_end(machine);
}

static void recover_without_snapshot(void *context)
{
    struct recovering *recovering = context;
    renew_machine(recovering->server);
    recovering->server->raft.log.last_time_ns = 0;
}

/* What the log goes on from. Called before the first entry, and once more if there is none. */
static void recover_base(struct recovering *recovering)
{
    struct raft *raft = &recovering->server->raft;
    const struct storage_recovery *recovery = &recovering->recovery;
    if (recovering->based)
        return;
    recovering->based = true;
    log_reset(&raft->log, recovery->base);
    raft->snapshot = (struct snapshot_name){recovery->snapshot.last, recovery->snapshot.size,
                                            recovery->snapshot.checksum};
    raft->commit_index = recovery->snapshot.last.index;
    raft->last_applied = recovery->snapshot.last.index;
    raft->acked_through = recovery->metadata.acked_through;
}

/* Entries known to be committed go straight into the machine, without a stay in memory; the others
 * may yet be truncated, and must wait in memory until their commit is known again. */
static void recover_entry(void *context, const struct entry *entry, const u8 *record, u32 size)
{
    struct recovering *recovering = context;
    struct server *server = recovering->server;
    struct raft *raft = &server->raft;
    if (recovering->error.code != ERROR_NONE)
        return;
    recover_base(recovering);
    if (!entry_type_known((u8)entry->type)) {
        (void)error_set(&recovering->error, ERROR_MISMATCH,
                        "entry %" PRIu64 " has type %d, which this version does not know: start a "
                        "newer one",
                        entry->id.index, (int)entry->type);
        return;
    }
    if (lineage_minds(entry->type) && entry->id.index > raft->configuration.index &&
        !recover_configuration(recovering, entry))
        return;
    if (entry->id.index <= recovering->recovery.commit_hint) {
        log_restore_entry(&raft->log, entry->id);
        raft->log.last_time_ns = u64_max(raft->log.last_time_ns, entry->time_ns);
        if (entry->id.index <= recovering->recovery.snapshot.last.index)
            return; /* the machine has it */
        server_snapshot_note(server, size);
        struct machine_context machine_context = {entry->id, entry->time_ns};
        if (entry->type == ENTRY_COMMAND)
            server->machine->ops->apply(server->machine, &machine_context, entry->payload,
                                        entry->payload_size, NULL);
        raft->commit_index = entry->id.index;
        raft->last_applied = entry->id.index;
        return;
    }
    struct block *block = block_create_copy(record, size);
    log_append_record(&raft->log, block, block->data, size);
    block_release(block);
    log_saved(&raft->log, entry->id.index);
}

enum error_code server_load(struct server *server, struct error *error)
{
    struct recovering recovering = {.server = server};
    struct rng rng; /* one of its own: the timeouts do not depend on it */
    rng_init(&rng, ~server->options.seed);
    struct storage_options options = {.segment_bytes = server->options.segment_bytes,
                                      .record_bytes_max = server->options.record_bytes_max,
                                      .start_id = rng_next(&rng) | 1};
    struct storage_loader loader = {.piece = recover_piece,
                                    .snapshot_end = recover_snapshot_end,
                                    .no_snapshot = recover_without_snapshot,
                                    .each = recover_entry,
                                    .context = &recovering};
    if (server->machine->ops->restore != NULL)
        loader.snapshot = recover_snapshot;
    enum error_code code = storage_open(server->world.vfs, &options, server->world.report, &loader,
                                        &recovering.recovery, &server->storage, error);
    if (code != ERROR_NONE)
        return code;
    storage_set_slow_sync(server->storage, server->options.slow_sync_ns);
    storage_set_liveness(server->storage, &server->liveness);
    recover_base(&recovering);
    if (recovering.error.code != ERROR_NONE) {
        *error = recovering.error;
        return error->code;
    }
    server_id self = recovering.recovery.metadata.self;
    if (server->options.self != SERVER_NONE && server->options.self != self)
        return error_set(error, ERROR_MISMATCH,
                         "%s belongs to server %" PRIu32 ", and --id says %" PRIu32
                         ": a server must only ever run on its own directory",
                         server->world.vfs->root, self, server->options.self);
    server->opening = recovering.recovery.opening;
    server->metadata = recovering.recovery.metadata;
    server->taker.start = server->metadata.start_count;
    server->raft.self = server->metadata.self;
    server->raft.current_term = server->metadata.current_term;
    server->raft.voted_for = server->metadata.voted_for;
    /* A reply to a call of an earlier life may still be on its way, over a connection that was made
     * to this one: no life repeats the calls of another. A directory that was set back counts the
     * same start twice, so its calls begin at a random one. */
    server->raft.next_call = (server->metadata.start_count << CALL_BITS) + 1 +
                             (server->metadata.starts[0] >> (64 - CALL_BITS + 1));
    server->committed_seen = server->raft.commit_index;
    identity_recover(server, &recovering.recovery);
    return ERROR_NONE;
}
