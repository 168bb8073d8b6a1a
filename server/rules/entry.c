/* entry.c - see entry.h, which holds the format. */
#include "server/rules/entry.h"

#include "common/crc32c.h"

/* Where each field of a record lies. */
enum {
    AT_CRC = 0,
    AT_SIZE = 4,
    AT_INDEX = 8,
    AT_TERM = 16,
    AT_TIME = 24,
    AT_SESSION = 32,
    AT_SERIAL = 40,
    AT_TYPE = 48,
    AT_VERSION = 49,
    AT_ZERO = 50
};

void record_encode(const struct entry *entry, u8 *to)
{
    ASSERT(entry->payload_size <= RECORD_SIZE_MAX - RECORD_HEADER_SIZE);
    ASSERT(entry->id.index > 0 && entry->id.term > 0);
    u32 size = record_size_of(entry);
    store_u32(to + AT_SIZE, size);
    store_u64(to + AT_INDEX, entry->id.index);
    store_u64(to + AT_TERM, entry->id.term);
    store_u64(to + AT_TIME, entry->time_ns);
    store_u64(to + AT_SESSION, entry->session);
    store_u64(to + AT_SERIAL, entry->serial);
    to[AT_TYPE] = (u8)entry->type;
    to[AT_VERSION] = entry->version;
    memset(to + AT_ZERO, 0, RECORD_HEADER_SIZE - AT_ZERO);
    if (entry->payload_size > 0 && entry->payload != to + RECORD_HEADER_SIZE)
        memcpy(to + RECORD_HEADER_SIZE, entry->payload, entry->payload_size);
    store_u32(to + AT_CRC, crc32c(0, to + AT_SIZE, size - AT_SIZE));
}

u32 record_decode(const u8 *data, size_t size, struct entry *entry)
{
    if (size < RECORD_HEADER_SIZE)
        return 0;
    u32 record_size = load_u32(data + AT_SIZE);
    if (record_size < RECORD_HEADER_SIZE || record_size > RECORD_SIZE_MAX || record_size > size)
        return 0;
    if (load_u32(data + AT_CRC) != crc32c(0, data + AT_SIZE, record_size - AT_SIZE))
        return 0;
    for (int i = AT_ZERO; i < RECORD_HEADER_SIZE; i++) {
        if (data[i] != 0)
            return 0;
    }
    return record_peek(data, entry);
}

u32 record_peek(const u8 *data, struct entry *entry)
{
    u32 size = load_u32(data + AT_SIZE);
    entry->id.index = load_u64(data + AT_INDEX);
    entry->id.term = load_u64(data + AT_TERM);
    entry->type = (enum entry_type)data[AT_TYPE];
    entry->version = data[AT_VERSION];
    entry->time_ns = load_u64(data + AT_TIME);
    entry->session = load_u64(data + AT_SESSION);
    entry->serial = load_u64(data + AT_SERIAL);
    entry->payload = data + RECORD_HEADER_SIZE;
    entry->payload_size = size - RECORD_HEADER_SIZE;
    return size;
}

bool records_check(const u8 *data, size_t size, u64 first, u32 count, const char **why)
{
    size_t at = 0;
    u64 term = 0;
    for (u32 i = 0; i < count; i++) {
        struct entry entry;
        u32 record_size = record_decode(data + at, size - at, &entry);
        if (record_size == 0) {
            *why = "a record is cut short, out of bounds, or fails its checksum";
            return false;
        }
        if (entry.id.index == 0 || entry.id.index != first + i) {
            *why = "a record's index does not follow on";
            return false;
        }
        if (entry.id.term == 0 || entry.id.term < term) {
            *why = "a record's term is below the one before it";
            return false;
        }
        term = entry.id.term;
        at += record_size;
    }
    if (at != size) {
        *why = "bytes follow the last record";
        return false;
    }
    *why = NULL;
    return true;
}

bool entry_type_known(u8 type)
{
    return type >= ENTRY_NOOP && type <= ENTRY_FEATURE;
}

const char *entry_type_word(enum entry_type type)
{
    switch (type) {
    case ENTRY_NOOP:
        return "noop";
    case ENTRY_CONFIGURATION:
        return "configuration";
    case ENTRY_COMMAND:
        return "command";
    case ENTRY_FEATURE:
        return "feature";
    }
    return "unknown";
}

bool entry_id_is_up_to_date(struct entry_id id, struct entry_id other)
{
    return id.term != other.term ? id.term > other.term : id.index >= other.index;
}
