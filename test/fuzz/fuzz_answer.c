/* fuzz_answer.c - answers on their way to a client (clients/reply.h). They may come from another
 * server, so they may be anything. */
#include "server/clients/reply.h"

#include "test/fuzz/fuzz.h"
#include "test/fuzz/fuzz_resp_value.h"

enum { DEPTH_MAX = 512 };

/* What is called a value is one, for a client of either protocol; and what is one is called so. */
static void run(const u8 *data, size_t size)
{
    bool value = reply_is_value(data, size);
    ASSERT(!value || (size > 0 && fuzz_resp_value(data, size, 3, DEPTH_MAX) == size));
    for (u8 protocol = 2; protocol <= 3 && value; protocol++) {
        struct buffer converted;
        buffer_init(&converted);
        reply_convert(&converted, protocol, data, size);
        ASSERT(fuzz_resp_value(converted.data, converted.size, protocol, DEPTH_MAX) ==
               converted.size);
        ASSERT(protocol == 2 ||
               (converted.size == size && memcmp(converted.data, data, size) == 0));
        buffer_deinit(&converted);
    }
}

const struct fuzz_target fuzz_answer = {
    .name = "answer", .input_max = 1024, .run = run, .memory_base = 4096, .memory_each = 16};
