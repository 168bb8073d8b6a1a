/* segment.c - the log's files on disk.
 *
 * A log is a row of segments, `log/` + 20 decimal digits of the id + `.seg`. Ids rise by 1. A
 * segment is made under the name `log/next.tmp`: header, then zeros up to its full size, synced,
 * renamed, directory synced. From then on its size never changes, and only batches are written.
 * All numbers are little-endian.
 *
 * Segment header, at offset 0 (4,096 bytes have been set aside for it; the rest is zero):
 *
 *   offset size
 *        0    8  magic "mrSEGMNT"
 *        8    4  format version, 1
 *       12    4  zero
 *       16    8  segment id, 1 and up
 *       24    8  size of the file in bytes
 *       32    8  directory id: that of the metadata file beside it
 *       40    4  crc32c of bytes 0 .. 39
 *
 * Batches follow from offset 4,096 on, one after the other without a gap, each beginning at a
 * multiple of 8. A batch is a header, its records (entry.h) one after the other, zeros up to a
 * multiple of 8, and the header once more as a trailer. Where no batch has been written yet there
 * are zeros. A batch that does not fit in what is left goes into the next segment, and what was
 * left stays zero. Batch header, 64 bytes:
 *
 *   offset size
 *        0    4  magic 0xb3, "rB", 0xb3
 *        4    4  crc32c of the directory id (8 bytes), then bytes 8 .. 63
 *        8    8  segment id: that of the segment it is in
 *       16    8  sequence number: 1 for the first batch ever written, then rising by 1, from one
 *                segment to the next too
 *       24    8  index of the first record
 *       32    8  term of the last record
 *       40    8  commit hint: all entries through here were known to be committed
 *       48    4  size of the records in bytes, without the padding
 *       52    4  number of records; their indexes rise by 1
 *       56    4  crc32c of the records; without records 1 for a *beginning*, 0 for an *end*
 *       60    3  number of blank sectors: pieces of 512 bytes at multiples of 512 in the file that
 *                lie wholly within records and padding, and hold nothing but zeros
 *       63    1  0xa5
 *
 * A batch is valid if and only if its header is (magic, last byte, checksum, segment id, and it
 * fits in the file), its sequence number is the one before it plus 1, the checksum of the records
 * is right, they are `count` valid records with the indexes and the last term that the header
 * says, and the trailer equals the header.
 *
 * A batch without records (its `first` is where the next record will be, its term that of the entry
 * before) says where the log stands from here on. An *end* keeps what is before `first`, and
 * nothing else: a truncation. A *beginning* keeps nothing: the log goes on behind an entry that a
 * snapshot stands for. Segments are removed, oldest first, when a snapshot stands for all in them;
 * the log then begins with the first record that is still there.
 *
 * A batch that begins at index i replaces everything from i on. That is how a log is truncated;
 * nothing that was synced is ever written over with anything else, so old records behind a new
 * tail cannot come back.
 *
 * After a crash. One batch at most has been written without its sync having returned, the last one:
 * storage_append returns before the next begins, and after a failed write or sync nothing more is
 * written at all. Of that batch any of its sectors may be there, and any may not. What is not there
 * is zero, since the space was written with zeros and synced beforehand. (Disks write a sector of
 * 512 bytes wholly or not at all, and writing the bytes that a sector already holds does not
 * endanger them: a batch shares its first sector with the end of the one before it.) So when the
 * batch that comes next by its sequence number is not valid, and no valid header with a higher
 * number is found anywhere behind it, then:
 *
 *   - The header is not valid. It is *torn* when its first or its last byte is zero: neither is
 *     ever zero in a header that was written, so a part of the header was not. Otherwise it is
 *     *damaged*.
 *   - The header is valid. The batch is torn when more of its whole sectors are blank than the
 *     header counts, or when its trailer begins like the header and ends in zeros, or begins with
 *     zeros and ends like it. Otherwise all of it was written, and it is damaged.
 *
 * Torn means: there is proof that the write was not finished, so its sync cannot have returned and
 * nothing was promised for it. It is cut: said, written over with zeros, and synced; then its
 * sequence number is used again. (A crash during that leaves fewer of its bytes, and it is torn
 * still.) Damaged means: every part of it was written once, so that it may have been promised, and
 * must not be cut: log_repair.h says what is left of such a log. While it has any damage nothing is
 * cut at all, for the invalid bytes of one batch are told from a torn tail by what follows them.
 *
 * Why the rule does not cut what was promised: bits that change in a batch that was wholly written
 * neither make the first or last byte of header or trailer zero (each has several bits set) nor
 * turn a whole sector into zeros, unless that sector held a single bit. What can deceive it is a
 * disk that, long after a sync, gives back zeros for a whole sector of the very last batch. Those
 * bytes are in no way different from a write that was cut short, and no rule over them could tell.
 * Why the rule does not refuse what a crash left: a sector that is missing is the header's (its
 * first or last byte is gone), the trailer's (its first or last part is gone), or lies wholly
 * between (a blank sector too many). If a missing sector held nothing but zeros the batch is as
 * valid as if it were there. The same holds for a write of which only the first bytes, or only the
 * last bytes, are there.
 *
 * A batch whose header or trailer survives while another part is missing tells which entries were
 * to be written. While there is nobody to get them from, that is of no use: the torn are cut.
 *
 * Recycling a segment means to write it with zeros again, since the rule needs them; what it saves
 * is the allocation of its blocks. The segment id in each header is then one more guard against
 * what the file held before.
 *
 * The checksum of a header covers the directory id, which clients do not know: a value that
 * imitates a batch cannot be mistaken for one, nor can a segment of another directory. */
#include "server/storage/segment.h"

#include <inttypes.h>
#include <stdio.h>

#include "common/crc32c.h"
#include "common/memory.h"

static const u8 segment_magic[8] = {'m', 'r', 'S', 'E', 'G', 'M', 'N', 'T'};
static const u8 batch_magic_bytes[4] = {0xb3, 'r', 'B', 0xb3};
static const char unfinished_path[] = "log/next.tmp";

enum { SEGMENT_VERSION = 1, BATCH_END_MARK = 0xa5, SEGMENT_DIGITS = 20 };

/* ---- segments ---- */

u64 segment_size_for(u64 wanted)
{
    return u64_max(SEGMENT_SIZE_MIN, u64_min(wanted, SEGMENT_SIZE_MAX)) & ~4095ULL;
}

void segment_path(u64 id, char path[SEGMENT_PATH_SIZE])
{
    snprintf(path, SEGMENT_PATH_SIZE, "log/%0*" PRIu64 ".seg", SEGMENT_DIGITS, id);
}

bool segment_name_parse(const char *name, u64 *id)
{
    u64 value = 0;
    for (int i = 0; i < SEGMENT_DIGITS; i++) {
        if (name[i] < '0' || name[i] > '9')
            return false;
        u64 digit = (u64)(name[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *id = value;
    return value > 0 && strcmp(name + SEGMENT_DIGITS, ".seg") == 0;
}

void segment_header_encode(const struct segment_info *info, u8 to[SEGMENT_HEADER_SIZE])
{
    memset(to, 0, SEGMENT_HEADER_SIZE);
    memcpy(to, segment_magic, sizeof(segment_magic));
    store_u32(to + 8, SEGMENT_VERSION);
    store_u64(to + 16, info->id);
    store_u64(to + 24, info->size);
    store_u64(to + 32, info->directory_id);
    store_u32(to + 40, crc32c(0, to, 40));
}

enum error_code segment_header_decode(const u8 *data, struct segment_info *info, const char **why)
{
    *info = (struct segment_info){0};
    if (memcmp(data, segment_magic, sizeof(segment_magic)) != 0) {
        *why = "the segment header has a wrong magic";
        return ERROR_CORRUPT;
    }
    if (load_u32(data + 40) != crc32c(0, data, 40)) {
        *why = "the segment header fails its checksum";
        return ERROR_CORRUPT;
    }
    if (load_u32(data + 8) != SEGMENT_VERSION) {
        *why = "the segment has a format version that this program does not know";
        return ERROR_MISMATCH;
    }
    info->id = load_u64(data + 16);
    info->size = load_u64(data + 24);
    info->directory_id = load_u64(data + 32);
    if (info->size < SEGMENT_SIZE_MIN || info->size > SEGMENT_SIZE_MAX || info->size % 8 != 0) {
        *why = "the segment header states an impossible size";
        return ERROR_CORRUPT;
    }
    *why = NULL;
    return ERROR_NONE;
}

/* Writes header and zeros, and syncs: piece by piece, so that no flood of dirty pages stands
 * between the log and its syncs. */
static enum error_code segment_fill(struct vfs_file *file, const struct segment_info *info,
                                    const struct segment_pace *pace, struct error *error)
{
    u8 *piece = memory_alloc_zero(1, WRITE_PIECE_SIZE);
    enum error_code code = ERROR_NONE;
    segment_header_encode(info, piece);
    for (u64 at = 0; at < info->size && code == ERROR_NONE;) {
        if (pace != NULL && !pace->proceed(pace->context, at)) {
            code = error_set(error, ERROR_BUSY, "given up before it was complete");
            break;
        }
        size_t size = (size_t)u64_min(WRITE_PIECE_SIZE, info->size - at);
        struct iovec vector = {.iov_base = piece, .iov_len = size};
        code = vfs_write_at(file, &vector, 1, at, error);
        if (at == 0)
            memset(piece, 0, SEGMENT_HEADER_SIZE);
        at += size;
        if (code == ERROR_NONE && (pace != NULL || at == info->size))
            code = vfs_sync(file, error);
    }
    memory_free(piece);
    return code;
}

enum error_code segment_make(struct vfs *vfs, const struct segment_info *info,
                             const struct segment_pace *pace, struct vfs_file **file,
                             struct error *error)
{
    *file = NULL;
    struct vfs_file *made = NULL;
    enum error_code code = vfs_remove(vfs, unfinished_path, error);
    code = error_forgive(error, code, ERROR_MISSING);
    if (code != ERROR_NONE)
        goto failed;
    code = vfs_open(vfs, unfinished_path, VFS_CREATE, &made, error);
    if (code != ERROR_NONE)
        goto failed;
    code = segment_fill(made, info, pace, error);
    if (code != ERROR_NONE)
        goto close_file;
    *file = made;
    return ERROR_NONE;

close_file:
    vfs_close(made);
    /* What was written takes space that others may need more than a segment which never became
     * one. If it cannot be removed the next attempt tries again. */
    struct error ignored;
    if (vfs_remove(vfs, unfinished_path, &ignored) != ERROR_NONE)
        error_clear(&ignored);
failed:
    return error_add(error, "make segment %" PRIu64, info->id);
}

enum error_code segment_publish(struct vfs *vfs, u64 id, struct error *error)
{
    char path[SEGMENT_PATH_SIZE];
    segment_path(id, path);
    enum error_code code = vfs_rename(vfs, unfinished_path, path, error);
    if (code == ERROR_NONE)
        code = vfs_sync_directory(vfs, "log", error);
    if (code != ERROR_NONE)
        error_add(error, "name segment %" PRIu64, id);
    return code;
}

/* ---- blank sectors ---- */

bool bytes_are_zero(const u8 *data, size_t size)
{
    /* All bytes equal the one before, and the first is zero. */
    return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

void blank_count_init(struct blank_count *count, u64 offset)
{
    *count = (struct blank_count){.offset = offset};
}

void blank_count_add(struct blank_count *count, const u8 *data, size_t size)
{
    while (size > 0) {
        size_t within = (size_t)(count->offset % SECTOR_SIZE);
        size_t part = SECTOR_SIZE - within < size ? SECTOR_SIZE - within : size;
        if (within == 0) {
            count->whole = true;
            count->zeros = true;
        }
        if (count->whole && count->zeros)
            count->zeros = bytes_are_zero(data, part);
        if (within + part == SECTOR_SIZE && count->whole && count->zeros)
            count->blank++;
        count->offset += part;
        data += part;
        size -= part;
    }
}

/* ---- batches ---- */

static u32 batch_header_crc(const struct segment_info *info, const u8 *header)
{
    u8 salt[8];
    store_u64(salt, info->directory_id);
    return crc32c(crc32c(0, salt, sizeof(salt)), header + 8, BATCH_HEADER_SIZE - 8);
}

void batch_encode(const struct segment_info *info, const struct batch *batch,
                  u8 to[BATCH_HEADER_SIZE])
{
    ASSERT((batch->count > 0) == (batch->size > 0) && batch->blank_sectors < 1u << 24);
    memcpy(to, batch_magic_bytes, sizeof(batch_magic_bytes));
    store_u64(to + 8, info->id);
    store_u64(to + 16, batch->sequence);
    store_u64(to + 24, batch->first);
    store_u64(to + 32, batch->last_term);
    store_u64(to + 40, batch->commit_hint);
    store_u32(to + 48, batch->size);
    store_u32(to + 52, batch->count);
    store_u32(to + 56, batch->records_crc);
    store_u32(to + 60, batch->blank_sectors | (u32)BATCH_END_MARK << 24);
    store_u32(to + 4, batch_header_crc(info, to));
}

bool batch_magic(const u8 *data)
{
    return memcmp(data, batch_magic_bytes, sizeof(batch_magic_bytes)) == 0;
}

bool batch_decode(const struct segment_info *info, const u8 *data, struct batch *batch)
{
    if (!batch_magic(data) || data[BATCH_HEADER_SIZE - 1] != BATCH_END_MARK ||
        load_u32(data + 4) != batch_header_crc(info, data) || load_u64(data + 8) != info->id)
        return false;
    *batch = (struct batch){
        .sequence = load_u64(data + 16),
        .first = load_u64(data + 24),
        .last_term = load_u64(data + 32),
        .commit_hint = load_u64(data + 40),
        .size = load_u32(data + 48),
        .count = load_u32(data + 52),
        .records_crc = load_u32(data + 56),
        .blank_sectors = load_u32(data + 60) & 0xffffff,
    };
    if (batch->count == 0 && (batch->size != 0 || batch->records_crc > 1))
        return false;
    return batch->sequence > 0 && batch->first > 0 &&
           batch->count <= batch->size / RECORD_HEADER_SIZE;
}

bool batch_check(const struct batch *batch, const u8 *data, const char **why)
{
    const u8 *records = data + BATCH_HEADER_SIZE;
    const u8 *trailer = data + batch_total_size(batch->size) - BATCH_HEADER_SIZE;
    if (batch->count > 0 && crc32c(0, records, batch->size) != batch->records_crc) {
        *why = "the records fail their checksum";
        return false;
    }
    if (!bytes_are_zero(records + batch->size, (size_t)(trailer - records) - batch->size)) {
        *why = "the padding behind the records is not zero";
        return false;
    }
    if (memcmp(data, trailer, BATCH_HEADER_SIZE) != 0) {
        *why = "the trailer does not repeat the header";
        return false;
    }
    if (batch->count == 0)
        return true;
    if (!records_check(records, batch->size, batch->first, batch->count, why))
        return false;
    struct entry entry = {0};
    for (u32 at = 0; at < batch->size;)
        at += record_peek(records + at, &entry);
    if (entry.id.term != batch->last_term) {
        *why = "the last record has another term than the header says";
        return false;
    }
    return true;
}

bool batch_header_unfinished(const u8 *data)
{
    return data[0] == 0 || data[BATCH_HEADER_SIZE - 1] == 0;
}

/* Whether a trailer that should repeat `header` was written only in part: from its first byte to
 * some other, or from some byte to its last. */
static bool trailer_unfinished(const u8 *header, const u8 *trailer)
{
    size_t same = 0;
    while (same < BATCH_HEADER_SIZE && trailer[same] == header[same])
        same++;
    if (same == BATCH_HEADER_SIZE)
        return false;
    if (bytes_are_zero(trailer + same, BATCH_HEADER_SIZE - same))
        return true;
    size_t wrong = BATCH_HEADER_SIZE;
    while (trailer[wrong - 1] == header[wrong - 1])
        wrong--;
    return bytes_are_zero(trailer, wrong);
}

bool batch_unfinished(const struct batch *batch, const u8 *data, u64 offset)
{
    u64 total = batch_total_size(batch->size);
    if (trailer_unfinished(data, data + total - BATCH_HEADER_SIZE))
        return true;
    struct blank_count count;
    blank_count_init(&count, offset + BATCH_HEADER_SIZE);
    blank_count_add(&count, data + BATCH_HEADER_SIZE, total - BATCH_OVERHEAD);
    return count.blank > batch->blank_sectors;
}
