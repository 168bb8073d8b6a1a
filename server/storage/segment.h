/* segment.h - the format of the log's files: segments, and the batches in them.
 *
 * Pure functions on bytes, but for segment_make. What the bytes mean, when they are valid, and what
 * is torn and what is damaged, stands at the head of segment.c. */
#ifndef MAILRAFT_STORAGE_SEGMENT_H
#define MAILRAFT_STORAGE_SEGMENT_H

#include <sys/uio.h>

#include "common/vfs.h"
#include "server/rules/entry.h"

enum {
    SEGMENT_HEADER_SIZE = 4096, /* batches begin here: none shares a sector with the header */
    BATCH_HEADER_SIZE = 64,
    BATCH_OVERHEAD = 2 * BATCH_HEADER_SIZE, /* beside records and their padding */
    BATCH_SIZE_MIN = BATCH_OVERHEAD,        /* one without records */
    SECTOR_SIZE = 512,                      /* no disk writes part of this many bytes */
    SEGMENT_PATH_SIZE = 64,    /* "log/00000000000000000001.seg" with its NUL, and to spare */
    WRITE_PIECE_SIZE = 1 << 20 /* zeros are written in pieces of this many bytes */
};

#define SEGMENT_SIZE_MIN (8 * KIB)
#define SEGMENT_SIZE_MAX (2048 * MIB)

/* What a segment's header says. */
struct segment_info {
    u64 id;   /* 1 and up, rising by 1 */
    u64 size; /* of the whole file, bytes, a multiple of 8 */
    u64 directory_id;
};

/* What a batch's header says. */
struct batch {
    u64 sequence;      /* 1 for the log's first batch ever, rising by 1 */
    u64 first;         /* index of the first record */
    u64 last_term;     /* of the last record */
    u64 commit_hint;   /* every entry through here was known to be committed */
    u32 size;          /* of the records, bytes, without padding */
    u32 count;         /* records */
    u32 records_crc;   /* without records: enum batch_mark */
    u32 blank_sectors; /* whole sectors among records and padding that are nothing but zeros */
};

/* What a batch without records says. */
enum batch_mark { BATCH_END = 0, BATCH_BEGINNING = 1 };

/* The bytes of records that a batch can hold which has `space` bytes for all of it. */
static inline u64 batch_capacity(u64 space)
{
    return space < BATCH_OVERHEAD ? 0 : (space - BATCH_OVERHEAD) & ~7ULL;
}

/* The id of its last record, or of the entry before `first` when it has none. */
static inline struct entry_id batch_last(const struct batch *batch)
{
    return (struct entry_id){.term = batch->last_term, .index = batch->first + batch->count - 1};
}

/* Bytes of a whole batch that holds records of this many bytes. */
static inline u64 batch_total_size(u64 records_size)
{
    return BATCH_OVERHEAD + ((records_size + 7) & ~7ULL);
}

/* ---- segments ---- */

/* The size of a segment that was asked to have so many bytes: in bounds, whole pages. */
u64 segment_size_for(u64 wanted);
void segment_path(u64 id, char path[SEGMENT_PATH_SIZE]);
/* Reads a name such as "00000000000000000001.seg". False for any other. */
bool segment_name_parse(const char *name, u64 *id);

void segment_header_encode(const struct segment_info *info, u8 to[SEGMENT_HEADER_SIZE]);
/* Reads the first BATCH_HEADER_SIZE bytes of a segment. `*why` is a static clause on failure.
 * Errors: ERROR_CORRUPT, ERROR_MISMATCH (another version). */
WARN_UNUSED enum error_code segment_header_decode(const u8 *data, struct segment_info *info,
                                                  const char **why);

/* Asked before each piece of a new segment, with the bytes written so far: may wait, and returns
 * whether to go on. */
struct segment_pace {
    bool (*proceed)(void *context, u64 written);
    void *context;
};

/* Writes a new segment's header and zeros under a name that is no segment's, and syncs it: all at
 * once, or with a pace piece by piece. What was under that name goes. Errors: ERROR_NO_SPACE,
 * ERROR_SYSTEM, ERROR_IO; ERROR_BUSY when `pace` said to stop. Blocks. */
WARN_UNUSED enum error_code segment_make(struct vfs *vfs, const struct segment_info *info,
                                         const struct segment_pace *pace, struct vfs_file **file,
                                         struct error *error);
/* Gives the segment its name, for good: the directory is synced. */
WARN_UNUSED enum error_code segment_publish(struct vfs *vfs, u64 id, struct error *error);

/* ---- batches ---- */

/* Counts whole blank sectors while pieces of a batch go by. */
struct blank_count {
    u64 offset; /* of the next byte in the file */
    u32 blank;  /* found so far */
    bool whole; /* the sector under way was seen from its first byte on */
    bool zeros; /* and has been zeros so far */
};

void blank_count_init(struct blank_count *count, u64 offset);
void blank_count_add(struct blank_count *count, const u8 *data, size_t size);

bool bytes_are_zero(const u8 *data, size_t size);

void batch_encode(const struct segment_info *info, const struct batch *batch,
                  u8 to[BATCH_HEADER_SIZE]);
/* Reads a header (or a trailer). False when it is none: bad magic, checksum, segment or bounds. */
bool batch_decode(const struct segment_info *info, const u8 *data, struct batch *batch);

/* Whether the batch of a valid header is valid as a whole: `data` are its batch_total_size bytes.
 * When not, `*why` is a static clause. */
bool batch_check(const struct batch *batch, const u8 *data, const char **why);

/* Whether the bytes where a batch's header should be, which are none, can be what a write leaves
 * that was never finished. */
bool batch_header_unfinished(const u8 *data);
/* The same for a batch whose header is valid and that as a whole is not; `offset` is the batch's
 * place in the file. */
bool batch_unfinished(const struct batch *batch, const u8 *data, u64 offset);

/* Whether the eight bytes at `data` may begin a header: a quick look before batch_decode. */
bool batch_magic(const u8 *data);

#endif
