/* snapshots.h - the part of raftdump that shows and verifies snapshot files. Private to it.
 */
#ifndef MAILRAFT_TOOLS_RAFTDUMP_SNAPSHOTS_H
#define MAILRAFT_TOOLS_RAFTDUMP_SNAPSHOTS_H

#include "common/memory.h"
#include "server/storage/snapshot_scan.h"
#include "tools/raftdump/say.h"

static void show_snapshot(const struct dump *dump, const struct snapshot_scan *scan, bool ended)
{
    static char members[TEXT_SIZE], safe[TEXT_SIZE * TEXT_ESCAPE_FACTOR];
    const struct snapshot_head *head = &scan->head;
    bool whole = ended && !scan->skipped;
    if (dump->json)
        describe_members(&head->configuration, members, sizeof(members));
    else
        describe_identities(&head->configuration, members, sizeof(members));
    escaped(members, strlen(members), safe, sizeof(safe));
    if (dump->json)
        printf("{\"kind\":\"snapshot\",\"index\":%" PRIu64 ",\"term\":%" PRIu64
               ",\"time_ns\":%" PRIu64 ",\"cluster_id\":\"%s\",\"bytes\":%" PRIu64
               ",\"blocks\":%" PRIu64 ",\"state_bytes\":%" PRIu64
               ",\"configuration_index\":%" PRIu64 ",\"members\":\"%s\",\"checksum\":\"%08x\""
               ",\"incarnation\":\"%016" PRIx64 "\",\"whole\":%s",
               head->last.index, head->last.term, head->time_ns, head->cluster_id,
               scan->window.file_size, scan->blocks, scan->state_bytes, head->configuration.index,
               safe, scan->info.checksum, head->configuration.incarnation,
               whole ? "true" : "false");
    else
        printf("snapshot  %s: through entry %" PRIu64 " of term %" PRIu64 ", cluster %s, %" PRIu64
               " bytes, %" PRIu64 " blocks, %" PRIu64 " bytes of state, checksum %08x, "
               "configuration of entry %" PRIu64 ": %s\n",
               scan->path, head->last.index, head->last.term, head->cluster_id,
               scan->window.file_size, scan->blocks, scan->state_bytes, scan->info.checksum,
               head->configuration.index, safe);
    if (dump->json)
        printf(",\"file\":\"%s\"}\n", escaped(scan->path, strlen(scan->path), safe, sizeof(safe)));
}

static void snapshot_damage(void *context, const struct snapshot_scan *scan)
{
    damage(context, scan->path, scan->offset, "%s", scan->why);
}

/* `named`: what its name says, or NULL. */
static enum error_code dump_snapshot(struct dump *dump, struct vfs *vfs, const char *path,
                                     const struct entry_id *named, struct error *error)
{
    struct snapshot_scan scan;
    bool ended;
    const struct snapshot_head *head = &scan.head;
    enum error_code code =
        snapshot_scan_all(&scan, vfs, path, snapshot_damage, dump, &ended, error);
    dump->snapshot_count++;
    if (scan.head_valid && named != NULL &&
        (head->last.index != named->index || head->last.term != named->term))
        damage(dump, path, 16, "it is the snapshot through entry %" PRIu64 " of term %" PRIu64,
               head->last.index, head->last.term);
    if (scan.head_valid && dump->cluster_id[0] != '\0' &&
        strcmp(head->cluster_id, dump->cluster_id) != 0)
        damage(dump, path, 48, "the snapshot is of cluster %s", head->cluster_id);
    if (code == ERROR_NONE && scan.head_valid)
        show_snapshot(dump, &scan, ended);
    if (ended && !scan.skipped && head->last.index > dump->snapshot.index)
        dump->snapshot = head->last;
    snapshot_scan_close(&scan);
    return code;
}

static enum error_code dump_snapshots(struct dump *dump, struct error *error)
{
    struct entry_id *ids = NULL;
    size_t count = 0;
    enum error_code code = snapshot_list(dump->vfs, &ids, &count, error);
    for (size_t i = 0; i < count && code == ERROR_NONE; i++) {
        char path[SNAPSHOT_PATH_SIZE];
        snapshot_path(ids[i], path);
        code = dump_snapshot(dump, dump->vfs, path, &ids[i], error);
        if (code == ERROR_MISSING) /* the server has a newer one */
            code = ERROR_NONE;
    }
    memory_free(ids);
    return code;
}

#endif
