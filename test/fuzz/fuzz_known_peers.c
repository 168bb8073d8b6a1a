/* fuzz_known_peers.c - the file `peers`. An input is slot A and then slot B, without the zeros
 * behind what each may hold; the directory is the one that slot A names. */
#include "server/storage/known_peers.h"

#include "common/crc32c.h"
#include "test/fuzz/fuzz.h"
#include "test/unit/memory_vfs.h"

enum {
    SLOTS = 2,
    PLACE = 4096,
    HEAD = 32,
    ITEM = 32,
    SLOT_MAX = HEAD + ITEM * KNOWN_PEERS_MAX + 4,
    AT_COUNT = 12,
    AT_DIRECTORY = 24
};

static struct report report;

static u32 read_all(struct memory_vfs *memory, u64 directory_id,
                    struct known_peers_file *known_peers, struct known_peer met[KNOWN_PEERS_MAX],
                    enum error_code *code)
{
    u32 count = 0;
    struct error error;
    *code = known_peers_open(known_peers, &memory->vfs, directory_id, &report, met, &count, &error);
    ASSERT(count <= KNOWN_PEERS_MAX);
    for (u32 i = 0; i < count; i++)
        ASSERT(met[i].id != SERVER_NONE);
    return count;
}

static void check_same(const struct known_peer *a, const struct known_peer *b, u32 count)
{
    for (u32 i = 0; i < count; i++)
        ASSERT(a[i].id == b[i].id && a[i].directory_id == b[i].directory_id &&
               a[i].start_count == b[i].start_count && a[i].start_id == b[i].start_id &&
               a[i].lost_entries == b[i].lost_entries);
}

/* What was read is read again after it was saved, from either slot alone too. */
static void check_file(struct memory_vfs *memory, u64 directory_id)
{
    struct known_peers_file file;
    struct known_peer met[KNOWN_PEERS_MAX], again[KNOWN_PEERS_MAX];
    struct error error;
    enum error_code code;
    u32 count = read_all(memory, directory_id, &file, met, &code);
    if (code != ERROR_NONE)
        return;
    bool last_number = file.version == UINT64_MAX;
    if (!last_number)
        ASSERT(known_peers_save(&file, directory_id, met, count, &error) == ERROR_NONE);
    known_peers_close(&file);
    for (int lost = -1; lost < SLOTS && !last_number; lost++) {
        struct memory_vfs *copy = memory_copy(memory);
        if (lost >= 0)
            memset(memory_content_of(copy, "peers")->data + lost * PLACE, 0xff, SLOT_MAX);
        ASSERT(read_all(copy, directory_id, &file, again, &code) == count && code == ERROR_NONE);
        check_same(met, again, count);
        known_peers_close(&file);
        memory_destroy(copy);
    }
}

static void run(const u8 *data, size_t size)
{
    u8 bytes[SLOTS * PLACE] = {0};
    for (size_t slot = 0; slot < SLOTS && size > slot * SLOT_MAX; slot++)
        memcpy(bytes + slot * PLACE, data + slot * SLOT_MAX,
               u64_min(size - slot * SLOT_MAX, SLOT_MAX));
    fuzz_report_init(&report);
    struct memory_vfs *memory = memory_create();
    struct vfs_file *file;
    struct error error;
    struct iovec piece = {.iov_base = bytes, .iov_len = sizeof(bytes)};
    ASSERT(vfs_open(&memory->vfs, "peers", VFS_CREATE, &file, &error) == ERROR_NONE);
    ASSERT(vfs_write_at(file, &piece, 1, 0, &error) == ERROR_NONE);
    vfs_close(file);
    check_file(memory, load_u64(bytes + AT_DIRECTORY));
    memory_destroy(memory);
}

static size_t repair(u8 *data, size_t size, size_t capacity, u32 choice)
{
    (void)capacity;
    for (size_t at = 0; at + HEAD <= size && (choice & 3) != 0; at += SLOT_MAX, choice >>= 2) {
        u32 count = load_u32(data + at + AT_COUNT);
        size_t end = at + HEAD + (size_t)ITEM * count;
        if (count <= KNOWN_PEERS_MAX && end + 4 <= size)
            store_u32(data + end, crc32c(0, data + at, end - at));
    }
    return size;
}

const struct fuzz_target fuzz_known_peers = {
    .name = "known_peers", .input_max = SLOTS * SLOT_MAX, .run = run, .repair = repair};
