/* check_crc32c.c - the checksum against published values, and both roads against each other. */
#include "common/crc32c.h"

#include <string.h>

#include "common/rng.h"
#include "test/unit/unit.h"

START_TEST(crc32c__published_values)
{
    u8 bytes[32];
    ck_assert_uint_eq(crc32c(0, "", 0), 0);
    ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
    /* The examples of the iSCSI specification. */
    memset(bytes, 0, sizeof(bytes));
    ck_assert_uint_eq(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    ck_assert_uint_eq(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
    for (u8 i = 0; i < 32; i++)
        bytes[i] = i;
    ck_assert_uint_eq(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
    ck_assert_uint_eq(crc32c_by_table(0, bytes, sizeof(bytes)), 0x46dd794e);
}
END_TEST

START_TEST(crc32c__table_and_instruction_agree)
{
    struct rng rng;
    rng_init(&rng, 1);
    u8 bytes[300];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (u8)rng_next(&rng);
    for (size_t offset = 0; offset < 9; offset++) {
        for (size_t size = 0; size + offset <= sizeof(bytes); size++) {
            u32 before = (u32)rng_next(&rng);
            ck_assert_uint_eq(crc32c(before, bytes + offset, size),
                              crc32c_by_table(before, bytes + offset, size));
        }
    }
}
END_TEST

START_TEST(crc32c__goes_on_from_what_came_before)
{
    const char text[] = "the bytes of a record, in two pieces";
    u32 whole = crc32c(0, text, sizeof(text));
    for (size_t cut = 0; cut <= sizeof(text); cut++)
        ck_assert_uint_eq(crc32c(crc32c(0, text, cut), text + cut, sizeof(text) - cut), whole);
}
END_TEST

START_TEST(crc32c__every_flipped_bit_shows)
{
    u8 bytes[64] = {1, 2, 3};
    u32 whole = crc32c(0, bytes, sizeof(bytes));
    for (size_t bit = 0; bit < 8 * sizeof(bytes); bit++) {
        bytes[bit / 8] = (u8)(bytes[bit / 8] ^ 1 << bit % 8);
        ck_assert_uint_ne(crc32c(0, bytes, sizeof(bytes)), whole);
        bytes[bit / 8] = (u8)(bytes[bit / 8] ^ 1 << bit % 8);
    }
}
END_TEST

UNIT_MAIN("crc32c", crc32c__published_values, crc32c__table_and_instruction_agree,
          crc32c__goes_on_from_what_came_before, crc32c__every_flipped_bit_shows)
