/* disk_image.h - the bytes of one file, sparse. Private to disk*.c. */
#ifndef MAILRAFT_TEST_SIM_DISK_IMAGE_H
#define MAILRAFT_TEST_SIM_DISK_IMAGE_H

#include "test/sim/disk.h"

void image_deinit(struct image *image);
/* Grows (with zeros) or shrinks. */
void image_resize(struct image *image, u64 size);
/* Writes within the size. `bytes` NULL: zeros. */
void image_write(struct image *image, u64 offset, const u8 *bytes, u64 size);
/* Reads what there is; returns how much. */
size_t image_read(const struct image *image, u64 offset, u8 *data, size_t size);
/* `to` becomes a copy. */
void image_copy(struct image *to, const struct image *from);

#endif
