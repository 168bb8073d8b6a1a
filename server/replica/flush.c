/* flush.c - contract 4, "speak only after persisting": the end of every pile, in every state.
 *
 * The order in server_flush is the whole guarantee. What it sends before the sync promises nothing
 * that the disk does not hold already: entries of a term that is on disk, and answers to what a
 * quorum of disks holds. Everything else waits for the sync. */
#include "server/replica/flush.h"

#include "server/replica/answers.h"
#include "server/replica/apply.h"
#include "server/replica/compact.h"
#include "server/replica/events.h"
#include "server/replica/identity.h"
#include "server/replica/persist.h"
#include "server/replica/snapshot.h"

static void commit_and_apply(struct server *server, struct leader_pending *lead)
{
    u64 before = server->committed_seen;
    if (lead != NULL)
        (void)commit_advance(&server->raft, &lead->leadership);
    if (server->raft.commit_index != before)
        events_committed(&server->events);
    server->committed_seen = server->raft.commit_index;
    server_apply_committed(server, lead);
    if (lead != NULL)
        server_answer_reads(server, lead);
}

bool server_flush(struct server *server, struct leader_pending *lead)
{
    struct raft *raft = &server->raft;
    /* What a committed configuration says of this server is saved before it speaks. */
    identity_settle(server, lead);
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
    if (!server_save(server))
        return false;
    /* (4) and (5): what it holds now. */
    outbox_send_all(&server->outbox, server->transport);
    commit_and_apply(server, lead);
    outbox_send_all(&server->outbox, server->transport);
    server_flush_answers(server);
    log_evict(&raft->log, raft->last_applied);
    raft->room_bytes = storage_room_soon(server->storage);
    server_compact(server, lead != NULL ? &lead->leadership : NULL);
    server_snapshot_remove_old(server, lead != NULL ? &lead->leadership : NULL);
    server_snapshot_work(server);
    server->note_status(server, lead);
    return true;
}
