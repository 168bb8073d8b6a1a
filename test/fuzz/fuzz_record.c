/* fuzz_record.c - log records, one after another (rules/entry.h). */
#include "server/rules/entry.h"

#include <stdlib.h>

#include "test/fuzz/fuzz.h"

/* Its bytes say all of it, so that to write it again gives them back. (A record may hold index or
 * term 0, which no entry has: whoever reads records in a row refuses these.) */
static void check_again(const u8 *record, u32 size, const struct entry *entry)
{
    struct entry peeked;
    ASSERT(record_peek(record, &peeked) == size);
    ASSERT(size == record_size_of(entry) && entry->payload == record + RECORD_HEADER_SIZE);
    if (entry->id.index == 0 || entry->id.term == 0)
        return;
    u8 *again = malloc(size);
    ASSERT(again != NULL);
    record_encode(entry, again);
    ASSERT(memcmp(again, record, size) == 0);
    free(again);
}

static void run(const u8 *data, size_t size)
{
    u64 first = 0, next = 0, term = 0;
    u32 count = 0;
    size_t at = 0;
    bool in_order = true;
    while (at < size) {
        struct entry entry;
        u32 record_size = record_decode(data + at, size - at, &entry);
        if (record_size == 0)
            break;
        ASSERT(record_size >= RECORD_HEADER_SIZE && record_size <= size - at);
        check_again(data + at, record_size, &entry);
        if (count == 0)
            first = next = entry.id.index;
        in_order = in_order && entry.id.index == next && entry.id.index != 0 &&
                   entry.id.term >= term && entry.id.term != 0;
        next++;
        term = entry.id.term;
        count++;
        at += record_size;
    }
    const char *why;
    ASSERT(records_check(data, at, first, count, &why) == (in_order || count == 0));
    if (at < size)
        ASSERT(!records_check(data, size, first, count + 1, &why) &&
               !records_check(data, size, first, count, &why));
}

static size_t repair(u8 *data, size_t size, size_t capacity, u32 choice)
{
    (void)capacity, (void)choice;
    fuzz_repair_records(data, size);
    return size;
}

const struct fuzz_target fuzz_record = {
    .name = "record", .input_max = 1024, .run = run, .repair = repair};
