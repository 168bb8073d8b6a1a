/* crc32c.c - CRC-32C, polynomial 0x1edc6f41, bits reflected, complemented before and after.
 *
 * Three roads to the same value: the crc32 instruction of x86-64 (chosen at run time, because the
 * program is built for any of them), the one of ARMv8 where the compiler may assume it, and tables
 * that take eight bytes a step.
 *
 * The tables are constants, not filled at the first call: rooms have no mutable globals. They need
 * not be listed either. The checksum is linear, so an entry is the exclusive or of the entries of
 * its single bits, and 64 numbers say all 2,048. */
#include "common/crc32c.h"

#include <string.h>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

#include "common/bytes.h"

/* ---- by table ---- */

/* X(table, entry 1, entry 2, entry 4, ... entry 128). Table n holds what one byte does to the
 * checksum when n zero bytes follow it. */
#define CRC32C_BITS(X)                                                                       \
    X(0, 0xf26b8303, 0xe13b70f7, 0xc79a971f, 0x8ad958cf, 0x105ec76f, 0x20bd8ede, 0x417b1dbc, \
      0x82f63b78)                                                                            \
    X(1, 0x13a29877, 0x274530ee, 0x4e8a61dc, 0x9d14c3b8, 0x3fc5f181, 0x7f8be302, 0xff17c604, \
      0xfbc3faf9)                                                                            \
    X(2, 0xa541927e, 0x4f6f520d, 0x9edea41a, 0x38513ec5, 0x70a27d8a, 0xe144fb14, 0xc76580d9, \
      0x8b277743)                                                                            \
    X(3, 0xdd45aab8, 0xbf672381, 0x7b2231f3, 0xf64463e6, 0xe964b13d, 0xd725148b, 0xaba65fe7, \
      0x52a0c93f)                                                                            \
    X(4, 0x38116fac, 0x7022df58, 0xe045beb0, 0xc5670b91, 0x8f2261d3, 0x1ba8b557, 0x37516aae, \
      0x6ea2d55c)                                                                            \
    X(5, 0xef306b19, 0xdb8ca0c3, 0xb2f53777, 0x6006181f, 0xc00c303e, 0x85f4168d, 0x0e045beb, \
      0x1c08b7d6)                                                                            \
    X(6, 0x68032cc8, 0xd0065990, 0xa5e0c5d1, 0x4e2dfd53, 0x9c5bfaa6, 0x3d5b83bd, 0x7ab7077a, \
      0xf56e0ef4)                                                                            \
    X(7, 0x493c7d27, 0x9278fa4e, 0x211d826d, 0x423b04da, 0x847609b4, 0x0d006599, 0x1a00cb32, \
      0x34019664)

/* The entry for byte `i`, and runs of entries from `i` on. */
#define ENTRY(i, b0, b1, b2, b3, b4, b5, b6, b7)                                     \
    (((i)&1 ? b0 : 0u) ^ ((i)&2 ? b1 : 0u) ^ ((i)&4 ? b2 : 0u) ^ ((i)&8 ? b3 : 0u) ^ \
     ((i)&16 ? b4 : 0u) ^ ((i)&32 ? b5 : 0u) ^ ((i)&64 ? b6 : 0u) ^ ((i)&128 ? b7 : 0u))
#define ENTRIES_4(i, ...)                                                            \
    ENTRY(i, __VA_ARGS__), ENTRY((i) + 1, __VA_ARGS__), ENTRY((i) + 2, __VA_ARGS__), \
        ENTRY((i) + 3, __VA_ARGS__)
#define ENTRIES_16(i, ...)                                                                       \
    ENTRIES_4(i, __VA_ARGS__), ENTRIES_4((i) + 4, __VA_ARGS__), ENTRIES_4((i) + 8, __VA_ARGS__), \
        ENTRIES_4((i) + 12, __VA_ARGS__)
#define ENTRIES_64(i, ...)                                         \
    ENTRIES_16(i, __VA_ARGS__), ENTRIES_16((i) + 16, __VA_ARGS__), \
        ENTRIES_16((i) + 32, __VA_ARGS__), ENTRIES_16((i) + 48, __VA_ARGS__)
#define TABLE(n, ...)                                                                             \
    [n] = {ENTRIES_64(0, __VA_ARGS__), ENTRIES_64(64, __VA_ARGS__), ENTRIES_64(128, __VA_ARGS__), \
           ENTRIES_64(192, __VA_ARGS__)},

static const u32 tables[8][256] = {CRC32C_BITS(TABLE)};

u32 crc32c_by_table(u32 crc, const void *data, size_t size)
{
    const u8 *at = data;
    crc = ~crc;
    for (; size >= 8; size -= 8, at += 8) {
        u32 low = load_u32(at) ^ crc;
        u32 high = load_u32(at + 4);
        crc = tables[7][low & 0xff] ^ tables[6][low >> 8 & 0xff] ^ tables[5][low >> 16 & 0xff] ^
              tables[4][low >> 24] ^ tables[3][high & 0xff] ^ tables[2][high >> 8 & 0xff] ^
              tables[1][high >> 16 & 0xff] ^ tables[0][high >> 24];
    }
    for (; size > 0; size--, at++)
        crc = crc >> 8 ^ tables[0][(crc ^ *at) & 0xff];
    return ~crc;
}

/* ---- by instruction ---- */

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static u32 by_instruction(u32 crc, const void *data, size_t size)
{
    const u8 *at = data;
    u64 wide = ~crc;
    for (; size >= 8; size -= 8, at += 8) {
        u64 word;
        memcpy(&word, at, sizeof(word));
        wide = _mm_crc32_u64(wide, word);
    }
    u32 narrow = (u32)wide;
    for (; size > 0; size--, at++)
        narrow = _mm_crc32_u8(narrow, *at);
    return ~narrow;
}

static bool instruction_exists(void)
{
    return __builtin_cpu_supports("sse4.2");
}

#elif defined(__ARM_FEATURE_CRC32)

static u32 by_instruction(u32 crc, const void *data, size_t size)
{
    const u8 *at = data;
    crc = ~crc;
    for (; size >= 8; size -= 8, at += 8)
        crc = __crc32cd(crc, load_u64(at));
    for (; size > 0; size--, at++)
        crc = __crc32cb(crc, *at);
    return ~crc;
}

static bool instruction_exists(void)
{
    return true;
}

#else

static u32 by_instruction(u32 crc, const void *data, size_t size)
{
    return crc32c_by_table(crc, data, size);
}

static bool instruction_exists(void)
{
    return false;
}

#endif

u32 crc32c(u32 crc, const void *data, size_t size)
{
    return instruction_exists() ? by_instruction(crc, data, size)
                                : crc32c_by_table(crc, data, size);
}
