/* scan.c - see scan.h, and segment.c for what is looked for. */
#include "server/storage/scan.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

enum { READ_AHEAD = 1 << 20, SEARCH_PIECE = 1 << 16 };

/* The segment cannot be read at all: says so in `error`, and where and why in `scan`. */
static enum error_code refuse_segment(struct scan *scan, enum error_code code, u64 offset,
                                      const char *format, ...) PRINTF_LIKE(4, 5);

static enum error_code refuse_segment(struct scan *scan, enum error_code code, u64 offset,
                                      const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(scan->why, sizeof(scan->why), format, arguments);
    va_end(arguments);
    scan->offset = offset;
    return code;
}

/* Why these bytes are not what they should be. */
static const char *cause(const struct scan *scan, u64 offset, u64 size, const char *why)
{
    return window_is_unreadable(&scan->window, offset, size)
               ? "the disk cannot read it, and it is taken for damaged"
               : why;
}

static enum error_code check_header(struct scan *scan, u64 id, struct error *error)
{
    u64 file_size = scan->window.file_size;
    if (file_size < SEGMENT_HEADER_SIZE)
        return refuse_segment(scan, ERROR_CORRUPT, file_size,
                              "the file ends here, which is within its header");
    const u8 *header;
    enum error_code code = window_get(&scan->window, 0, SEGMENT_HEADER_SIZE, &header, error);
    if (code != ERROR_NONE)
        return code;
    const char *why;
    code = segment_header_decode(header, &scan->info, &why);
    if (code != ERROR_NONE)
        return refuse_segment(scan, code, 0, "%s", cause(scan, 0, SEGMENT_HEADER_SIZE, why));
    if (scan->info.id != id)
        return refuse_segment(scan, ERROR_CORRUPT, 0, "the header is that of segment %" PRIu64,
                              scan->info.id);
    if (scan->info.size != file_size)
        return refuse_segment(scan, ERROR_CORRUPT, file_size,
                              "the file ends here, but its header says %" PRIu64 " bytes",
                              scan->info.size);
    return ERROR_NONE;
}

enum error_code scan_open(struct scan *scan, struct vfs *vfs, u64 id, u64 sequence,
                          struct error *error)
{
    *scan = (struct scan){.next = SEGMENT_HEADER_SIZE, .sequence = sequence};
    segment_path(id, scan->path);
    enum error_code code = vfs_open(vfs, scan->path, VFS_READ, &scan->file, error);
    if (code == ERROR_NONE)
        code = window_init(&scan->window, scan->file, scan->path, READ_AHEAD, error);
    if (code != ERROR_NONE)
        return code;
    scan->window.lenient = true; /* every batch has its checksums */
    code = check_header(scan, id, error);
    if (code == ERROR_CORRUPT || code == ERROR_MISMATCH)
        error_set(error, code, "%s: offset %" PRIu64 ": %s", scan->path, scan->offset, scan->why);
    return code;
}

void scan_close(struct scan *scan)
{
    window_deinit(&scan->window);
    vfs_close(scan->file);
    scan->file = NULL;
}

/* Looks at one header's place during a search. */
static void search_header(struct scan *scan, const u8 *data, u64 at, u64 sequence)
{
    struct batch later;
    if (scan->later_offset != 0 || !batch_magic(data) || !batch_decode(&scan->info, data, &later))
        return;
    /* Header and trailer of the batch at `offset` itself are nothing later. */
    u64 own = scan->header_valid ? scan->batch.sequence : scan->sequence;
    bool own_trailer = at + BATCH_HEADER_SIZE == scan->offset + batch_total_size(later.size) &&
                       (own == 0 || later.sequence == own);
    if (own_trailer && !scan->header_valid && !scan->trailer_valid) {
        scan->trailer_valid = true;
        scan->batch = later;
    }
    if (at == scan->offset || own_trailer || later.sequence < sequence)
        return;
    scan->later_offset = at;
    scan->later_sequence = later.sequence;
}

/* Header and trailer of a batch are the same bytes. What was found behind damage is a header if it
 * is repeated where its trailer should be. Otherwise it is taken for a trailer: if it were a header
 * after all, no more than its own batch would be lost by that, which is damaged anyway; but a
 * trailer taken for a header would hide as many bytes behind it as its batch has. */
static enum error_code judge_later(struct scan *scan, struct error *error)
{
    u8 found[BATCH_HEADER_SIZE];
    struct batch later;
    const u8 *data;
    scan->later_is_trailer = false;
    if (scan->later_offset == 0)
        return ERROR_NONE;
    enum error_code code =
        window_get(&scan->window, scan->later_offset, BATCH_HEADER_SIZE, &data, error);
    if (code != ERROR_NONE)
        return code;
    memcpy(found, data, sizeof(found));
    bool valid = batch_decode(&scan->info, found, &later);
    ASSERT(valid); /* the search has looked at it */
    u64 total = batch_total_size(later.size);
    scan->later_is_trailer = true;
    if (total > scan->info.size - scan->later_offset)
        return ERROR_NONE;
    code = window_get(&scan->window, scan->later_offset + total - BATCH_HEADER_SIZE,
                      BATCH_HEADER_SIZE, &data, error);
    if (code == ERROR_NONE)
        scan->later_is_trailer = memcmp(found, data, sizeof(found)) != 0;
    return code;
}

/* Goes from `from` to the segment's end: where is the last byte that is not zero, and where the
 * first valid header with a number of at least `sequence`? */
static enum error_code search_rest(struct scan *scan, u64 from, u64 sequence, struct error *error)
{
    scan->used_end = 0;
    scan->later_offset = 0;
    scan->later_sequence = 0;
    for (u64 at = from; at < scan->info.size;) {
        /* A header may straddle the pieces: see a header's size further than this piece. */
        size_t piece = (size_t)u64_min(SEARCH_PIECE, scan->info.size - at);
        size_t seen = (size_t)u64_min(SEARCH_PIECE + BATCH_HEADER_SIZE, scan->info.size - at);
        const u8 *data;
        enum error_code code = window_get(&scan->window, at, seen, &data, error);
        if (code != ERROR_NONE)
            return code;
        for (size_t i = 0; i < piece; i += 8) {
            if (i % SECTOR_SIZE == 0) {
                size_t ahead = piece - i < SECTOR_SIZE ? piece - i : SECTOR_SIZE;
                if (bytes_are_zero(data + i, ahead)) {
                    i += ahead - 8;
                    continue;
                }
            }
            if (load_u64(data + i) == 0)
                continue;
            scan->used_end = at + i + 8;
            if (seen - i >= BATCH_HEADER_SIZE)
                search_header(scan, data + i, at + i, sequence);
        }
        at += piece;
    }
    return ERROR_NONE;
}

/* The bytes at `offset` are no valid batch. Looks at what is behind them, and says what they are;
 * `torn` is what the rule in segment.c says of them alone. */
static enum error_code judge(struct scan *scan, bool torn, const char *why, enum scan_found *found,
                             struct error *error)
{
    u64 behind = scan->offset;
    if (scan->header_valid && !scan->sequence_gap)
        behind += batch_total_size(scan->batch.size);
    why = cause(scan, scan->offset, u64_max(behind - scan->offset, BATCH_HEADER_SIZE), why);
    u64 sequence = scan->header_valid ? scan->batch.sequence : scan->sequence;
    enum error_code code = search_rest(scan, behind, sequence, error);
    if (code == ERROR_NONE)
        code = judge_later(scan, error);
    if (code != ERROR_NONE)
        return code;
    scan->used_end = u64_max(scan->used_end, behind);
    if (scan->later_offset != 0) {
        *found = SCAN_DAMAGED;
        snprintf(scan->why, sizeof(scan->why),
                 "%s, and batch %" PRIu64 " follows at offset %" PRIu64, why, scan->later_sequence,
                 scan->later_offset);
        return ERROR_NONE;
    }
    /* Where nothing proves that a batch begins here, nothing proves that one was being written. */
    *found = torn && !scan->next_is_a_guess ? SCAN_TORN : SCAN_DAMAGED;
    snprintf(scan->why, sizeof(scan->why), "%s", why);
    return ERROR_NONE;
}

/* No valid header at `offset`. Zeros to the end are the ordinary end. */
static enum error_code judge_no_header(struct scan *scan, bool torn, const char *why,
                                       enum scan_found *found, struct error *error)
{
    enum error_code code = judge(scan, torn, why, found, error);
    if (code == ERROR_NONE && scan->used_end == scan->offset)
        *found = SCAN_END;
    return code;
}

/* A trailer stands at `offset`; of the batch before it nothing else can be used. */
static enum error_code lost_before_trailer(struct scan *scan, enum scan_found *found,
                                           struct error *error)
{
    const u8 *data;
    enum error_code code = window_get(&scan->window, scan->offset, BATCH_HEADER_SIZE, &data, error);
    if (code != ERROR_NONE)
        return code;
    scan->trailer_valid = batch_decode(&scan->info, data, &scan->batch);
    return judge(scan, false, "only the trailer of the batch that ends here is left", found, error);
}

enum error_code scan_next(struct scan *scan, enum scan_found *found, struct error *error)
{
    scan->offset = scan->next;
    scan->data = NULL;
    scan->header_valid = false;
    scan->trailer_valid = false;
    scan->sequence_gap = false;
    if (scan->next_is_trailer)
        return lost_before_trailer(scan, found, error);
    u64 left = scan->info.size - scan->offset;
    if (left < BATCH_SIZE_MIN)
        return judge_no_header(scan, true, "bytes where no batch fits", found, error);
    const u8 *data;
    enum error_code code = window_get(&scan->window, scan->offset, BATCH_HEADER_SIZE, &data, error);
    if (code != ERROR_NONE)
        return code;
    if (!batch_decode(&scan->info, data, &scan->batch)) {
        bool torn = batch_header_unfinished(data);
        const char *why = torn ? "the header was not written wholly" : "the header is not valid";
        return judge_no_header(scan, torn, why, found, error);
    }
    u64 total = batch_total_size(scan->batch.size);
    if (total > left)
        return judge(scan, false, "the header states a size beyond the segment", found, error);
    scan->header_valid = true;
    scan->next_is_a_guess = false;
    if (scan->sequence != 0 && scan->batch.sequence != scan->sequence) {
        char gap[SCAN_WHY_SIZE / 2];
        snprintf(gap, sizeof(gap), "batch %" PRIu64 " stands where batch %" PRIu64 " should",
                 scan->batch.sequence, scan->sequence);
        scan->sequence_gap = true;
        return judge(scan, false, gap, found, error);
    }
    code = window_get(&scan->window, scan->offset, (size_t)total, &data, error);
    if (code != ERROR_NONE)
        return code;
    const char *why;
    if (!batch_check(&scan->batch, data, &why))
        return judge(scan, batch_unfinished(&scan->batch, data, scan->offset), why, found, error);
    *found = SCAN_BATCH;
    scan->data = data;
    scan->next = scan->offset + total;
    scan->sequence = scan->batch.sequence + 1;
    return ERROR_NONE;
}

bool scan_skip(struct scan *scan)
{
    bool at_trailer = scan->next_is_trailer;
    scan->next_is_trailer = false;
    if (scan->sequence_gap) {
        scan->next = scan->offset; /* the batch itself may be whole: take its number as it is */
        scan->sequence = scan->batch.sequence;
        return true;
    }
    if (scan->header_valid || scan->trailer_valid) {
        scan->next_is_a_guess = at_trailer;
        scan->next =
            scan->offset + (at_trailer ? BATCH_HEADER_SIZE : batch_total_size(scan->batch.size));
        scan->sequence = scan->batch.sequence + 1;
        return true;
    }
    scan->next = scan->later_offset;
    scan->sequence = scan->later_sequence;
    scan->next_is_trailer = scan->later_is_trailer;
    return scan->later_offset != 0;
}
