/* metadata.h - the part of raftdump that shows and verifies the two slots of `metadata`. Private to
 * it. */
#ifndef MAILRAFT_TOOLS_RAFTDUMP_METADATA_H
#define MAILRAFT_TOOLS_RAFTDUMP_METADATA_H

#include "server/storage/metadata.h"
#include "tools/raftdump/say.h"

static void show_slot(const struct dump *dump, int slot, const struct metadata *metadata,
                      u64 version)
{
    if (dump->json)
        printf("{\"kind\":\"metadata\",\"slot\":\"%c\",\"version\":%" PRIu64
               ",\"cluster_id\":\"%s\",\"server\":%u,\"directory_id\":\"%016" PRIx64
               "\",\"starts\":%" PRIu64 ",\"term\":%" PRIu64
               ",\"voted_for\":%u,\"seed_crc\":\"%08x\",\"non_voter\":%s,\"promised_term\":%" PRIu64
               ",\"promised_index\":%" PRIu64 ",\"incarnation\":\"%016" PRIx64
               "\",\"blank\":%s,\"readmitted\":%" PRIu64 ",\"joined_through\":\"%016" PRIx64
               "\"}\n",
               'A' + slot, version, metadata->cluster_id, metadata->self, metadata->directory_id,
               metadata->start_count, metadata->current_term, metadata->voted_for,
               metadata->seed_crc, metadata->non_voter ? "true" : "false",
               metadata->acked_through.term, metadata->acked_through.index, metadata->incarnation,
               metadata->blank ? "true" : "false", metadata->readmitted, metadata->joined_through);
    else
        printf("metadata  slot %c: version %" PRIu64 ", cluster %s (%016" PRIx64
               "), server %u, directory %016" PRIx64 ", %" PRIu64 " starts, term %" PRIu64
               ", voted for %u%s%s\n",
               'A' + slot, version, metadata->cluster_id, metadata->incarnation, metadata->self,
               metadata->directory_id, metadata->start_count, metadata->current_term,
               metadata->voted_for, metadata->non_voter ? ", may not vote" : "",
               metadata->blank ? ", blank" : "");
}

static enum error_code dump_metadata(struct dump *dump, struct error *error)
{
    struct vfs_file *file = NULL;
    u64 newest = 0;
    enum error_code code = vfs_open(dump->vfs, "metadata", VFS_READ, &file, error);
    for (int slot = 0; slot < METADATA_SLOTS && code == ERROR_NONE; slot++) {
        u8 bytes[METADATA_SLOT_SIZE] = {0};
        size_t got;
        u64 offset = (u64)slot * METADATA_SLOT_PLACE, version;
        struct metadata metadata;
        const char *why;
        code = vfs_read_at(file, bytes, sizeof(bytes), offset, &got, error);
        if (code != ERROR_NONE)
            break;
        if (metadata_slot_decode(bytes, &metadata, &version, &why) != ERROR_NONE) {
            damage(dump, "metadata", offset, "slot %c is not valid: %s", 'A' + slot, why);
            continue;
        }
        show_slot(dump, slot, &metadata, version);
        if (version > newest) {
            newest = version;
            dump->directory_id = metadata.directory_id;
            dump->acked_through = metadata.acked_through;
            memcpy(dump->cluster_id, metadata.cluster_id, CLUSTER_ID_SIZE);
        }
    }
    vfs_close(file);
    return code;
}

#endif
