/* fuzz_image.h - a directory of files as one input, and back.
 *
 * Files one after another: u8 size of the name, the name, then its content in runs of u16 zeros,
 * u16 size, bytes (little-endian); a run of no zeros and no bytes ends the file, and so does the
 * input's end. Prewritten segments are mostly zeros: so inputs stay small. Any bytes are an image;
 * what has no proper name, comes twice, or is too much, is left out.
 *
 * A file without a name says of one before it that a part of it cannot be read: u8 which (0: the
 * first), u16 begin and u16 size, in sectors of 512 bytes. The last that says so counts. */
#ifndef MAILRAFT_TEST_FUZZ_IMAGE_H
#define MAILRAFT_TEST_FUZZ_IMAGE_H

#include "common/bytes.h"
#include "test/unit/memory_vfs.h"

enum { IMAGE_FILES_MAX = 24, IMAGE_BYTES_MAX = 192 * 1024 };

/* A file system with these files in it, and the directories `log` and `snapshots`. Ownership:
 * caller destroys (memory_destroy). */
struct memory_vfs *image_open(const u8 *data, size_t size);

/* Appends a file to an image. */
void image_add(struct buffer *image, const char *name, const u8 *data, size_t size);

/* Lets `repair` change the content of each file (not its size) of an image in a buffer of
 * `capacity` bytes; returns the new size. What does not fit any more is left out. */
size_t image_repair(u8 *data, size_t size, size_t capacity, u32 choice,
                    void (*repair)(const char *name, u8 *content, size_t size, u32 choice));

#endif
