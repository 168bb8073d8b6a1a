/* metadata.c - identity, term and vote on disk.
 *
 * The file `metadata` has 8,192 bytes: two slots, A at offset 0 and B at offset 4,096. A slot,
 * little-endian:
 *
 *   offset size
 *        0    8  magic "mrMETADT"
 *        8    4  format version, 3
 *       12    4  server id
 *       16    8  version: higher is newer
 *       24   64  cluster id, NUL-terminated and filled up with NULs
 *       88    8  directory id
 *       96    8  start count
 *      104    8  current term
 *      112    4  voted for, 0: nobody
 *      116    4  checksum of what cluster.conf said of the members when it was made
 *      120    4  flags; bit 0: it may not vote; bit 1: it is blank; the others are zero
 *      124    4  zero
 *      128    8  promised: term
 *      136    8  promised: index; both 0: the log has lost nothing
 *      144   64  random ids of the last 8 starts, newest first; 0: there was none
 *      208    8  incarnation of its cluster; 0: not known
 *      216    8  index of the newest readmission that it has fulfilled; 0: none
 *      224    8  directory id of the member through which it joined a cluster that had no
 *               incarnation yet; 0: it did not
 *      232   20  zero
 *      252    4  crc32c of bytes 0 .. 251
 *      256    -  zeros, without meaning
 *
 * A slot is valid if and only if magic, checksum and format version are right, version and server
 * id are not 0 and the cluster id is one. The metadata are those of the valid slot with the highest
 * version.
 *
 * Format version 1 is read too: it ends with the crc32c of bytes 0 .. 123 at 124, has zero at 120,
 * and nothing behind. So a directory that an older program made is opened, and its slots are of
 * version 2 from the first change on. An id of 0 says of a start that nothing is known of it.
 * Version 2 has zeros in place of incarnation and readmission, and no bit 1; as long as there is
 * nothing to be said in them it is what is written, so that an older program can open the directory
 * again; and what stands at 224, which that one neither reads nor keeps.
 *
 * A change raises the version and writes both slots: one, sync, the other, sync. Only then may
 * anybody be told. The first to be written is the one that is not relied upon: older, or damaged.
 * So at any instant the other one is whole and has either what was last promised or something
 * newer, and after a crash the newest valid slot is the old state or the new.
 *
 * Since both slots hold what was promised, damage to either one loses nothing; one that the disk
 * cannot read counts as damaged. With both damaged term and vote are lost, and no guess at them is
 * safe: opening is refused. */
#include "server/storage/metadata.h"

#include <inttypes.h>

#include "common/crc32c.h"
#include "server/storage/advice.h"
#include "server/storage/segment.h"

static const u8 slot_magic[8] = {'m', 'r', 'M', 'E', 'T', 'A', 'D', 'T'};

enum {
    FORMAT_VERSION = 3,
    FORMAT_EARLIER = 2, /* without identities */
    AT_FLAGS = 120,
    AT_PROMISED = 128,
    AT_STARTS = 144,
    AT_INCARNATION = 208,
    AT_READMITTED = 216,
    AT_JOINED_THROUGH = 224,
    AT_CRC = METADATA_SLOT_SIZE - 4,
    AT_CRC_1 = 124, /* in format version 1 */
    FLAG_NON_VOTER = 1,
    FLAG_BLANK = 2
};

bool metadata_cluster_id_valid(const char *cluster_id)
{
    size_t size = 0;
    for (; size < CLUSTER_ID_SIZE && cluster_id[size] != '\0'; size++) {
        char c = cluster_id[size];
        bool staged = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool digit = c >= '0' && c <= '9';
        if (!staged && !digit && c != '.' && c != '_' && c != '-')
            return false;
    }
    return size > 0 && size < CLUSTER_ID_SIZE;
}

void metadata_slot_encode(const struct metadata *metadata, u64 version, u8 to[METADATA_SLOT_SIZE])
{
    memset(to, 0, METADATA_SLOT_SIZE);
    memcpy(to, slot_magic, sizeof(slot_magic));
    bool has_identity = metadata->blank || metadata->incarnation != 0 || metadata->readmitted != 0;
    store_u32(to + 8, has_identity ? FORMAT_VERSION : FORMAT_EARLIER);
    store_u32(to + 12, metadata->self);
    store_u64(to + 16, version);
    memcpy(to + 24, metadata->cluster_id, strnlen(metadata->cluster_id, CLUSTER_ID_SIZE - 1));
    store_u64(to + 88, metadata->directory_id);
    store_u64(to + 96, metadata->start_count);
    store_u64(to + 104, metadata->current_term);
    store_u32(to + 112, metadata->voted_for);
    store_u32(to + 116, metadata->seed_crc);
    store_u32(to + AT_FLAGS,
              (metadata->non_voter ? FLAG_NON_VOTER : 0U) | (metadata->blank ? FLAG_BLANK : 0U));
    store_u64(to + AT_PROMISED, metadata->acked_through.term);
    store_u64(to + AT_PROMISED + 8, metadata->acked_through.index);
    for (u32 i = 0; i < METADATA_STARTS; i++)
        store_u64(to + AT_STARTS + 8 * (size_t)i, metadata->starts[i]);
    store_u64(to + AT_INCARNATION, metadata->incarnation);
    store_u64(to + AT_READMITTED, metadata->readmitted);
    store_u64(to + AT_JOINED_THROUGH, metadata->joined_through);
    store_u32(to + AT_CRC, crc32c(0, to, AT_CRC));
}

/* What format version 1 does not have. */
static void decode_later_fields(const u8 *data, struct metadata *metadata)
{
    metadata->non_voter = (load_u32(data + AT_FLAGS) & FLAG_NON_VOTER) != 0;
    metadata->acked_through.term = load_u64(data + AT_PROMISED);
    metadata->acked_through.index = load_u64(data + AT_PROMISED + 8);
    for (u32 i = 0; i < METADATA_STARTS; i++)
        metadata->starts[i] = load_u64(data + AT_STARTS + 8 * (size_t)i);
    metadata->joined_through = load_u64(data + AT_JOINED_THROUGH);
}

/* What format version 2 does not have. */
static void decode_identity(const u8 *data, struct metadata *metadata)
{
    metadata->blank = (load_u32(data + AT_FLAGS) & FLAG_BLANK) != 0;
    metadata->incarnation = load_u64(data + AT_INCARNATION);
    metadata->readmitted = load_u64(data + AT_READMITTED);
}

enum error_code metadata_slot_decode(const u8 *data, struct metadata *metadata, u64 *version,
                                     const char **why)
{
    *metadata = (struct metadata){0};
    *version = 0;
    *why = "wrong magic";
    if (memcmp(data, slot_magic, sizeof(slot_magic)) != 0)
        return ERROR_CORRUPT;
    u32 format = load_u32(data + 8);
    size_t at_crc = format == 1 ? AT_CRC_1 : AT_CRC;
    *why = "bad checksum";
    if (load_u32(data + at_crc) != crc32c(0, data, at_crc))
        return ERROR_CORRUPT;
    *why = "a format version that this program does not know";
    if (format != 1 && format != FORMAT_EARLIER && format != FORMAT_VERSION)
        return ERROR_MISMATCH;
    metadata->self = load_u32(data + 12);
    *version = load_u64(data + 16);
    memcpy(metadata->cluster_id, data + 24, CLUSTER_ID_SIZE);
    metadata->directory_id = load_u64(data + 88);
    metadata->start_count = load_u64(data + 96);
    metadata->current_term = load_u64(data + 104);
    metadata->voted_for = load_u32(data + 112);
    metadata->seed_crc = load_u32(data + 116);
    if (format > 1)
        decode_later_fields(data, metadata);
    if (format > FORMAT_EARLIER)
        decode_identity(data, metadata);
    *why = "a field that is out of bounds";
    if (*version == 0 || metadata->self == SERVER_NONE ||
        !metadata_cluster_id_valid(metadata->cluster_id))
        return ERROR_CORRUPT;
    *why = NULL;
    return ERROR_NONE;
}

static enum error_code write_slot(struct vfs_file *file, int slot, const struct metadata *metadata,
                                  u64 version, struct error *error)
{
    /* All of its place: else the rest of the page might have to be read for it, and perhaps cannot
     * be. */
    u8 bytes[METADATA_SLOT_PLACE] = {0};
    metadata_slot_encode(metadata, version, bytes);
    struct iovec piece = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    enum error_code code = vfs_write_at(file, &piece, 1, (u64)slot * METADATA_SLOT_PLACE, error);
    if (code == ERROR_NONE)
        code = vfs_sync(file, error);
    if (code != ERROR_NONE)
        error_add(error, "write metadata slot %c", 'A' + slot);
    return code;
}

enum error_code metadata_create(struct vfs *vfs, const char *path, const struct metadata *metadata,
                                struct error *error)
{
    struct vfs_file *file = NULL;
    enum error_code code = vfs_open(vfs, path, VFS_CREATE, &file, error);
    bool left = code == ERROR_EXISTS;
    code = error_forgive(error, code, ERROR_EXISTS);
    if (left)
        code = vfs_open(vfs, path, VFS_READ_WRITE, &file, error);
    if (code == ERROR_NONE)
        code = vfs_truncate(file, METADATA_FILE_SIZE, error);
    for (int slot = 0; slot < METADATA_SLOTS && code == ERROR_NONE; slot++)
        code = write_slot(file, slot, metadata, 1, error);
    vfs_close(file);
    return code;
}

/* Reads both slots and takes the newest; counts the valid ones. */
static enum error_code read_slots(struct metadata_file *metadata, struct report *report,
                                  struct error *error)
{
    static const char *const refusal =
        "metadata: slot A (offset 0): %s; slot B (offset %d): %s. Without one of them this "
        "server's "
        "term and vote are lost, and the directory must not be used any "
        "more: " ADVICE_BEGIN_BLANK;
    const char *why[METADATA_SLOTS] = {NULL, NULL};
    u64 versions[METADATA_SLOTS] = {0, 0};
    int newest = -1;
    for (int slot = 0; slot < METADATA_SLOTS; slot++) {
        u8 bytes[METADATA_SLOT_SIZE];
        struct metadata read;
        size_t got;
        u64 offset = (u64)slot * METADATA_SLOT_PLACE;
        enum error_code code =
            vfs_read_at(metadata->file, bytes, sizeof(bytes), offset, &got, error);
        if (code != ERROR_NONE) {
            error_clear(error);
            why[slot] = "the disk cannot read it";
            continue;
        }
        memset(bytes + got, 0, sizeof(bytes) - got);
        code = metadata_slot_decode(bytes, &read, &versions[slot], &why[slot]);
        if (code == ERROR_MISMATCH)
            return error_set(error, code, "metadata: slot %c (offset %" PRIu64 ") has %s",
                             'A' + slot, offset, why[slot]);
        if (code != ERROR_NONE)
            continue;
        if (newest < 0 || versions[slot] > versions[newest]) {
            newest = slot;
            metadata->version = versions[slot];
            metadata->current = read;
        }
    }
    if (newest < 0)
        return error_set(error, ERROR_CORRUPT, refusal, why[0], METADATA_SLOT_PLACE, why[1]);
    metadata->oldest = versions[0] == versions[1] ? 0 : 1 - newest;
    if (why[1 - newest] != NULL)
        REPORT(report, REPORT_WARN, "storage",
               "metadata: slot %c (offset %d) is damaged or was being written during a crash (%s); "
               "slot %c is whole and is used, and both are written again",
               'A' + 1 - newest, (1 - newest) * METADATA_SLOT_PLACE, why[1 - newest], 'A' + newest);
    return ERROR_NONE;
}

enum error_code metadata_open(struct metadata_file *metadata, struct vfs *vfs,
                              struct report *report, struct error *error)
{
    *metadata = (struct metadata_file){0};
    enum error_code code = vfs_open(vfs, "metadata", VFS_READ_WRITE, &metadata->file, error);
    if (code == ERROR_NONE)
        code = read_slots(metadata, report, error);
    if (code != ERROR_NONE)
        metadata_close(metadata);
    return code;
}

void metadata_close(struct metadata_file *metadata)
{
    vfs_close(metadata->file);
    metadata->file = NULL;
}

enum error_code metadata_save(struct metadata_file *metadata, const struct metadata *changed,
                              struct error *error)
{
    u64 version = metadata->version + 1;
    int first = metadata->oldest;
    enum error_code code = write_slot(metadata->file, first, changed, version, error);
    if (code == ERROR_NONE)
        code = write_slot(metadata->file, 1 - first, changed, version, error);
    if (code != ERROR_NONE)
        return code;
    metadata->current = *changed;
    metadata->version = version;
    return ERROR_NONE;
}
