/* crc32c.h - the Castagnoli checksum of every frame, record and slot.
 *
 * Uses the processor's instruction where there is one, tables elsewhere; both give the same
 * values. crc32c("123456789") is 0xe3069283. Thread: any. */
#ifndef MAILRAFT_COMMON_CRC32C_H
#define MAILRAFT_COMMON_CRC32C_H

#include "common/types.h"

/* The checksum of `size` bytes, going on from `crc`, the checksum of what came before (0 to begin):
 * crc32c(crc32c(0, a), b) is the checksum of a followed by b. */
u32 crc32c(u32 crc, const void *data, size_t size);

/* The same by tables alone; for the tests, which compare the two. */
u32 crc32c_by_table(u32 crc, const void *data, size_t size);

#endif
