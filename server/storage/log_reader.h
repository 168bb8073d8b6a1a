/* log_reader.h - reads live entries' records back from the segments.
 *
 * Every record is verified on the way. Opens the file for each call, so that nothing is shared with
 * who writes. Thread: any. Blocks. */
#ifndef MAILRAFT_STORAGE_LOG_READER_H
#define MAILRAFT_STORAGE_LOG_READER_H

#include "common/bytes.h"
#include "common/vfs.h"
#include "server/storage/log_index.h"

/* Appends to `to` the records of the entries from `first` up to but not including `end`, which
 * log_index_find gave with `row`; adds their number to `*count`. Ends early when `to` would grow
 * beyond `bytes_max`, unless it is empty. Errors: ERROR_CORRUPT with path and offset, ERROR_IO,
 * ERROR_MISSING, ERROR_SYSTEM. */
WARN_UNUSED enum error_code log_read_row(struct vfs *vfs, u64 directory_id,
                                         const struct log_row *row, u64 first, u64 end,
                                         u64 bytes_max, struct buffer *to, u32 *count,
                                         struct error *error);

#endif
