/* fuzz_repair_storage.h - checksums of the storage's files, for image_repair and snapshots. */
#ifndef MAILRAFT_TEST_FUZZ_REPAIR_STORAGE_H
#define MAILRAFT_TEST_FUZZ_REPAIR_STORAGE_H

#include "common/types.h"

/* A file of a data directory, by its name. */
void repair_storage_file(const char *name, u8 *content, size_t size, u32 choice);
/* A snapshot's head, blocks and end. */
void repair_snapshot(u8 *content, size_t size, u32 choice);

#endif
