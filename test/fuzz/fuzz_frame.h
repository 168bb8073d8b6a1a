/* fuzz_frame.h - what the targets for frames share. */
#ifndef MAILRAFT_TEST_FUZZ_FRAME_H
#define MAILRAFT_TEST_FUZZ_FRAME_H

#include "common/types.h"

/* struct fuzz_target's repair for a frame: its length, what announces the payload, the records in
 * it, and the checksum. */
size_t fuzz_frame_repair(u8 *data, size_t size, size_t capacity, u32 choice);

#endif
