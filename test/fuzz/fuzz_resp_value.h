/* fuzz_resp_value.h - whether bytes are one whole RESP value, told by another way than the server's
 * own: by recursion over elements. */
#ifndef MAILRAFT_TEST_FUZZ_RESP_VALUE_H
#define MAILRAFT_TEST_FUZZ_RESP_VALUE_H

#include "common/bytes.h"

/* Bytes of the value that begins here, 0: there is none, or it is nested deeper than `depth`. With
 * protocol 2 only what RESP2 has. */
size_t fuzz_resp_value(const u8 *data, size_t size, u8 protocol, u32 depth);

#endif
