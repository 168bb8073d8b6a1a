/* fuzz.c - see fuzz.h. */
#include "test/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/crc32c.h"
#include "server/rules/entry.h"
#include "test/fuzz/fuzz_memory.h"

void fuzz_run(const struct fuzz_target *target, const u8 *data, size_t size)
{
    /* Memory of exactly this size, so that a sanitizer sees the first byte that is read behind it;
     * and there is some even for no bytes. */
    u8 *copy = malloc(size > 0 ? size : 1);
    ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    fuzz_memory_begin(target->memory_base + target->memory_each * size);
    target->run(copy, size);
    fuzz_memory_end();
    free(copy);
}

u8 fuzz_take_byte(const u8 **data, size_t *size)
{
    if (*size == 0)
        return 0;
    u8 byte = **data;
    (*data)++;
    (*size)--;
    return byte;
}

static void take_line(void *context, enum report_level level, const char *line, size_t size)
{
    (void)context, (void)level;
    if (getenv("FUZZ_SAY") != NULL)
        (void)fwrite(line, 1, size, stderr);
}

void fuzz_report_init(struct report *report)
{
    *report = (struct report){.format = REPORT_LOGFMT, .write = take_line};
    atomic_init(&report->level, REPORT_DEBUG);
}

void fuzz_repair_records(u8 *data, size_t size)
{
    for (size_t at = 0; size - at >= RECORD_HEADER_SIZE;) {
        u32 record_size = load_u32(data + at + 4);
        if (record_size < RECORD_HEADER_SIZE || record_size > size - at)
            return;
        store_u32(data + at, crc32c(0, data + at + 4, record_size - 4));
        at += record_size;
    }
}
