/* entry.h - one log entry, and the record that it is everywhere: memory, disk and wire.
 *
 * An entry is encoded once, by the leader that appends it, and from then on only its record is
 * passed around. Layout, little-endian, no padding:
 *
 *   offset size
 *        0    4  crc32c of bytes 4 .. size-1
 *        4    4  size of the whole record in bytes, RECORD_HEADER_SIZE .. RECORD_SIZE_MAX
 *        8    8  index, 1 and up
 *       16    8  term, 1 and up
 *       24    8  time: leader's wall clock in ns since 1970, never less than the entry before
 *       32    8  session, 0: none
 *       40    8  serial of the command within its session, 0: none
 *       48    1  type (enum entry_type)
 *       49    1  version of the payload's format, 1
 *       50    6  zero
 *       56    -  payload
 *
 * A record is valid if and only if its size is in bounds, its checksum is right and bytes 50..55
 * are zero. An unknown type in a valid record is a newer version's: it stops the server, and is
 * never skipped. */
#ifndef MAILRAFT_RULES_ENTRY_H
#define MAILRAFT_RULES_ENTRY_H

#include "common/bytes.h"
#include "common/types.h"

enum entry_type {
    ENTRY_NOOP = 1,          /* a leader's first entry of its term (§8); no payload */
    ENTRY_CONFIGURATION = 2, /* payload: configuration.h */
    ENTRY_COMMAND = 3,       /* payload: the machine's */
    ENTRY_FEATURE = 4        /* payload: configuration.h; changes the level in force */
};

enum {
    RECORD_HEADER_SIZE = 56,
    ENTRY_VERSION = 1,
    /* Largest record. A bound on what is decoded, above every limit that can be configured. */
    RECORD_SIZE_MAX = 64 * 1024 * 1024
};

/* An entry as rules and machine read it. The payload is borrowed from the record. */
struct entry {
    struct entry_id id;
    enum entry_type type;
    u8 version;
    u64 time_ns;
    u64 session;
    u64 serial;
    const u8 *payload;
    u32 payload_size;
};

static inline u32 record_size_of(const struct entry *entry)
{
    return RECORD_HEADER_SIZE + entry->payload_size;
}

/* Writes the record of `entry` to `to`, which has room for record_size_of(entry). `entry->payload`
 * may already lie in its place, at to + RECORD_HEADER_SIZE; else it is copied. */
void record_encode(const struct entry *entry, u8 *to);

/* Reads the record at the start of `data`. Returns its size, or 0 when the bytes there are no valid
 * record (cut short, out of bounds, bad checksum). The payload points into `data`. */
u32 record_decode(const u8 *data, size_t size, struct entry *entry);

/* As record_decode for bytes whose checksum was verified before: reads fields only. */
u32 record_peek(const u8 *data, struct entry *entry);

/* Checks that `data` is exactly `count` valid records with indexes first, first + 1, ... and terms
 * that do not fall. On failure `*why` is a static sentence. */
bool records_check(const u8 *data, size_t size, u64 first, u32 count, const char **why);

/* Whether this version knows the type. */
bool entry_type_known(u8 type);
const char *entry_type_word(enum entry_type type);

/* Whether a log that ends with `id` is at least as up to date as one that ends with `other`
 * (§5.4.1): the later term counts, and with the same term the greater index. */
bool entry_id_is_up_to_date(struct entry_id id, struct entry_id other);

#endif
