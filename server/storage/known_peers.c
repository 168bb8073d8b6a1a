/* known_peers.c - what was seen of other servers, on disk.
 *
 * The file `peers` has 8,192 bytes: two slots, A at offset 0 and B at offset 4,096. It is made with
 * the directory, so that no meeting needs new space. A slot, little-endian:
 *
 *   offset size
 *        0    8  magic "mrPEERSv"
 *        8    4  format version, 2
 *       12    4  n: how many servers, 0 .. 64
 *       16    8  version: higher is newer
 *       24    8  id of the directory that the file is in
 *       32 40*n  for each server:
 *                  0  4  its id
 *                  4  4  flags; bit 0: it lacks entries that it had acknowledged
 *                  8  8  id of its data directory
 *                 16  8  the newest start of that directory that was seen
 *                 24  8  random id of that start; 0: it had none
 *                 32  8  index of the newest committed readmission of it; 0: none
 *  32+40*n    4  crc32c of all before it
 *           -    zeros, without meaning
 *
 * Version 1 has 32 bytes for each server, without the readmission; while nobody was readmitted it
 * is what is written.
 *
 * A slot is valid if and only if magic, checksum and format version are right, n is in bounds, the
 * version is not 0, the directory is this one and no server's id is 0. What counts is the valid
 * slot with the highest version. A change writes both slots, a sync each, as metadata.c does, so
 * that damage to either one loses nothing.
 *
 * Two valid slots of one version are both that change, and the one that was written first is on the
 * medium, since its sync came before the other's write. Two that differ mean that the last change
 * was cut short, or that one was damaged. If it was the process that ended, the newer slot may lie
 * in the page cache alone, or be marked there as clean after a sync that failed; and who has once
 * read it sees no change when it meets the same servers again, and would never save it. So opening
 * writes both anew, before anybody relies on what it has read. */
#include "server/storage/known_peers.h"

#include "common/bytes.h"
#include "common/crc32c.h"

static const u8 slot_magic[8] = {'m', 'r', 'P', 'E', 'E', 'R', 'S', 'v'};

enum {
    FORMAT_VERSION = 2,
    FORMAT_EARLIER = 1,
    SLOTS = 2,
    SLOT_PLACE = 4096,
    FILE_SIZE = SLOTS * SLOT_PLACE,
    HEAD_SIZE = 32,
    ITEM_SIZE = 40,
    ITEM_SIZE_EARLIER = 32,
    SLOT_SIZE = HEAD_SIZE + ITEM_SIZE * KNOWN_PEERS_MAX + 4,
    FLAG_LOST_ENTRIES = 1
};

_Static_assert(SLOT_SIZE <= SLOT_PLACE, "a slot fits into its place");

struct slot {
    u64 version;
    u64 directory_id;
    u32 count;
    struct known_peer met[KNOWN_PEERS_MAX];
};

static bool has_readmissions(const struct known_peer *met, u32 count)
{
    for (u32 i = 0; i < count; i++) {
        if (met[i].readmitted != 0)
            return true;
    }
    return false;
}

static void encode(u64 version, u64 directory_id, const struct known_peer *met, u32 count,
                   u8 to[SLOT_PLACE])
{
    memset(to, 0, SLOT_PLACE);
    memcpy(to, slot_magic, sizeof(slot_magic));
    bool earlier = !has_readmissions(met, count);
    store_u32(to + 8, earlier ? FORMAT_EARLIER : FORMAT_VERSION);
    store_u32(to + 12, count);
    store_u64(to + 16, version);
    store_u64(to + 24, directory_id);
    u8 *item = to + HEAD_SIZE;
    for (u32 i = 0; i < count; i++, item += earlier ? ITEM_SIZE_EARLIER : ITEM_SIZE) {
        store_u32(item, met[i].id);
        store_u32(item + 4, met[i].lost_entries ? FLAG_LOST_ENTRIES : 0);
        store_u64(item + 8, met[i].directory_id);
        store_u64(item + 16, met[i].start_count);
        store_u64(item + 24, met[i].start_id);
        if (!earlier)
            store_u64(item + 32, met[i].readmitted);
    }
    store_u32(item, crc32c(0, to, (size_t)(item - to)));
}

static bool decode_items(const u8 *item, bool earlier, struct slot *slot)
{
    for (u32 i = 0; i < slot->count; i++, item += earlier ? ITEM_SIZE_EARLIER : ITEM_SIZE) {
        slot->met[i] = (struct known_peer){
            .id = load_u32(item),
            .lost_entries = (load_u32(item + 4) & FLAG_LOST_ENTRIES) != 0,
            .directory_id = load_u64(item + 8),
            .start_count = load_u64(item + 16),
            .start_id = load_u64(item + 24),
            .readmitted = earlier ? 0 : load_u64(item + 32),
        };
        if (slot->met[i].id == SERVER_NONE)
            return false;
    }
    return true;
}

/* `*why` is a static clause on failure. */
static enum error_code decode(const u8 data[SLOT_PLACE], u64 directory_id, struct slot *slot,
                              const char **why)
{
    *why = "wrong magic";
    if (memcmp(data, slot_magic, sizeof(slot_magic)) != 0)
        return ERROR_CORRUPT;
    slot->count = load_u32(data + 12);
    *why = "too many servers";
    if (slot->count > KNOWN_PEERS_MAX)
        return ERROR_CORRUPT;
    *why = "bad checksum";
    u32 format = load_u32(data + 8);
    bool earlier = format == FORMAT_EARLIER;
    size_t size = HEAD_SIZE + (size_t)(earlier ? ITEM_SIZE_EARLIER : ITEM_SIZE) * slot->count;
    if (load_u32(data + size) != crc32c(0, data, size))
        return ERROR_CORRUPT;
    *why = "a format version that this program does not know";
    if (!earlier && format != FORMAT_VERSION)
        return ERROR_MISMATCH;
    slot->version = load_u64(data + 16);
    slot->directory_id = load_u64(data + 24);
    *why = "another directory's";
    if (slot->directory_id != directory_id)
        return ERROR_CORRUPT;
    *why = "a field that is out of bounds";
    return slot->version != 0 && decode_items(data + HEAD_SIZE, earlier, slot) ? ERROR_NONE
                                                                               : ERROR_CORRUPT;
}

/* Takes the newest valid slot. `*differ`: the other one is older, or not valid. */
static enum error_code read_slots(struct known_peers_file *known_peers, u64 directory_id,
                                  struct report *report, struct slot *newest, bool *differ,
                                  struct error *error)
{
    u64 versions[SLOTS] = {0, 0};
    u32 damaged = 0;
    newest->version = 0;
    newest->count = 0;
    for (int place = 0; place < SLOTS; place++) {
        u8 bytes[SLOT_PLACE];
        struct slot slot;
        const char *why;
        size_t got;
        enum error_code code = vfs_read_at(known_peers->file, bytes, sizeof(bytes),
                                           (u64)place * SLOT_PLACE, &got, error);
        if (code != ERROR_NONE) { /* the disk cannot read it: as good as damaged */
            error_clear(error);
            damaged++;
            continue;
        }
        memset(bytes + got, 0, sizeof(bytes) - got);
        code = decode(bytes, directory_id, &slot, &why);
        if (code == ERROR_MISMATCH)
            return error_set(error, code, "peers: slot %c has %s", 'A' + place, why);
        if (code != ERROR_NONE) {
            damaged++;
            continue;
        }
        versions[place] = slot.version;
        if (slot.version > newest->version)
            *newest = slot;
    }
    known_peers->version = newest->version;
    known_peers->oldest = versions[0] <= versions[1] ? 0 : 1;
    *differ = versions[0] != versions[1];
    if (damaged == SLOTS)
        REPORT(report, REPORT_WARN, "storage",
               "peers: no slot is whole: nothing is known any more of the servers that were met "
               "before, and one of them that has lost its data would not be recognised by this "
               "server alone");
    else if (damaged > 0)
        REPORT(report, REPORT_WARN, "storage",
               "peers: one slot is damaged or was being written during a crash; the other one is "
               "whole and is used, and both are written again");
    return ERROR_NONE;
}

static enum error_code write_slot(struct known_peers_file *known_peers, int place,
                                  const u8 bytes[SLOT_PLACE], struct error *error)
{
    struct iovec piece = {.iov_base = (u8 *)(uintptr_t)bytes, .iov_len = SLOT_PLACE};
    enum error_code code =
        vfs_write_at(known_peers->file, &piece, 1, (u64)place * SLOT_PLACE, error);
    if (code == ERROR_NONE)
        code = vfs_sync(known_peers->file, error);
    return code;
}

enum error_code known_peers_create(struct vfs *vfs, u64 directory_id, struct error *error)
{
    struct known_peers_file made = {0};
    enum error_code code = vfs_open(vfs, "peers", VFS_CREATE, &made.file, error);
    bool left = code == ERROR_EXISTS;
    code = error_forgive(error, code, ERROR_EXISTS);
    if (left)
        code = vfs_open(vfs, "peers", VFS_READ_WRITE, &made.file, error);
    if (code == ERROR_NONE)
        code = vfs_truncate(made.file, FILE_SIZE, error);
    u8 bytes[SLOT_PLACE];
    encode(1, directory_id, NULL, 0, bytes);
    for (int place = 0; place < SLOTS && code == ERROR_NONE; place++)
        code = write_slot(&made, place, bytes, error);
    known_peers_close(&made);
    return code == ERROR_NONE ? code : error_add(error, "make the file peers");
}

enum error_code known_peers_open(struct known_peers_file *known_peers, struct vfs *vfs,
                                 u64 directory_id, struct report *report,
                                 struct known_peer met[KNOWN_PEERS_MAX], u32 *count,
                                 struct error *error)
{
    *known_peers = (struct known_peers_file){0};
    *count = 0;
    enum error_code code = vfs_open(vfs, "peers", VFS_READ_WRITE, &known_peers->file, error);
    if (code == ERROR_MISSING) { /* an older program has made the directory */
        error_clear(error);
        code = known_peers_create(vfs, directory_id, error);
        if (code == ERROR_NONE)
            code = vfs_sync_directory(vfs, ".", error);
        if (code == ERROR_NONE)
            code = vfs_open(vfs, "peers", VFS_READ_WRITE, &known_peers->file, error);
    }
    struct slot newest = {.count = 0};
    bool differ = false;
    if (code == ERROR_NONE)
        code = read_slots(known_peers, directory_id, report, &newest, &differ, error);
    if (code == ERROR_NONE && differ)
        code = known_peers_save(known_peers, directory_id, newest.met, newest.count, error);
    if (code != ERROR_NONE) {
        known_peers_close(known_peers);
        return code;
    }
    *count = newest.count;
    memcpy(met, newest.met, newest.count * sizeof(met[0]));
    return ERROR_NONE;
}

void known_peers_close(struct known_peers_file *known_peers)
{
    vfs_close(known_peers->file);
    known_peers->file = NULL;
}

enum error_code known_peers_save(struct known_peers_file *known_peers, u64 directory_id,
                                 const struct known_peer *met, u32 count, struct error *error)
{
    ASSERT(count <= KNOWN_PEERS_MAX);
    u8 bytes[SLOT_PLACE];
    encode(++known_peers->version, directory_id, met, count, bytes);
    int first = known_peers->oldest;
    known_peers->oldest = 0; /* both will be the same */
    enum error_code code = write_slot(known_peers, first, bytes, error);
    if (code == ERROR_NONE)
        code = write_slot(known_peers, 1 - first, bytes, error);
    return code == ERROR_NONE ? code : error_add(error, "save what was seen of other servers");
}
