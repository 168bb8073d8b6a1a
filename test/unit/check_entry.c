/* check_entry.c - records: what is written is read back, and nothing else is taken for one. */
#include "server/rules/entry.h"

#include "common/crc32c.h"
#include "test/unit/unit.h"

static struct entry sample_entry(const char *payload)
{
    return (struct entry){
        .id = {.term = 3, .index = 7},
        .type = ENTRY_COMMAND,
        .version = ENTRY_VERSION,
        .time_ns = 0x1122334455667788,
        .session = 5,
        .serial = 6,
        .payload = (const u8 *)payload,
        .payload_size = (u32)strlen(payload),
    };
}

START_TEST(record_encode__is_read_back)
{
    u8 bytes[128];
    struct entry entry = sample_entry("hello"), got;
    record_encode(&entry, bytes);
    u32 size = record_decode(bytes, sizeof(bytes), &got);
    ck_assert_uint_eq(size, RECORD_HEADER_SIZE + 5);
    ck_assert_uint_eq(got.id.term, 3);
    ck_assert_uint_eq(got.id.index, 7);
    ck_assert_int_eq(got.type, ENTRY_COMMAND);
    ck_assert_uint_eq(got.version, ENTRY_VERSION);
    ck_assert_uint_eq(got.time_ns, 0x1122334455667788);
    ck_assert_uint_eq(got.session, 5);
    ck_assert_uint_eq(got.serial, 6);
    ck_assert_uint_eq(got.payload_size, 5);
    ck_assert_mem_eq(got.payload, "hello", 5);
    ck_assert_ptr_eq(got.payload, bytes + RECORD_HEADER_SIZE);
}
END_TEST

START_TEST(record_encode__layout_is_as_documented)
{
    u8 bytes[128];
    struct entry entry = sample_entry("x");
    record_encode(&entry, bytes);
    ck_assert_uint_eq(load_u32(bytes + 4), 57);
    ck_assert_uint_eq(load_u64(bytes + 8), 7);
    ck_assert_uint_eq(load_u64(bytes + 16), 3);
    ck_assert_uint_eq(load_u64(bytes + 24), 0x1122334455667788);
    ck_assert_uint_eq(load_u64(bytes + 32), 5);
    ck_assert_uint_eq(load_u64(bytes + 40), 6);
    ck_assert_uint_eq(bytes[48], 3);
    ck_assert_uint_eq(bytes[49], 1);
    ck_assert_mem_eq(bytes + 50, "\0\0\0\0\0\0", 6);
    ck_assert_uint_eq(bytes[56], 'x');
    ck_assert_uint_eq(load_u32(bytes), crc32c(0, bytes + 4, 53));
}
END_TEST

START_TEST(record_encode__payload_may_lie_in_place)
{
    u8 apart[128], in_place[128];
    struct entry entry = sample_entry("same");
    record_encode(&entry, apart);
    memcpy(in_place + RECORD_HEADER_SIZE, "same", 4);
    entry.payload = in_place + RECORD_HEADER_SIZE;
    record_encode(&entry, in_place);
    ck_assert_mem_eq(apart, in_place, RECORD_HEADER_SIZE + 4);
}
END_TEST

START_TEST(record_encode__without_payload)
{
    u8 bytes[RECORD_HEADER_SIZE];
    struct entry entry = {.id = {1, 1}, .type = ENTRY_NOOP, .version = ENTRY_VERSION}, got;
    record_encode(&entry, bytes);
    ck_assert_uint_eq(record_decode(bytes, sizeof(bytes), &got), RECORD_HEADER_SIZE);
    ck_assert_uint_eq(got.payload_size, 0);
}
END_TEST

START_TEST(record_decode__every_flipped_bit_is_found)
{
    u8 bytes[128];
    struct entry entry = sample_entry("payload"), got;
    record_encode(&entry, bytes);
    u32 size = record_size_of(&entry);
    for (u32 bit = 0; bit < size * 8; bit++) {
        bytes[bit / 8] ^= (u8)(1u << bit % 8);
        ck_assert_uint_eq(record_decode(bytes, size, &got), 0);
        bytes[bit / 8] ^= (u8)(1u << bit % 8);
    }
    ck_assert_uint_eq(record_decode(bytes, size, &got), size);
}
END_TEST

START_TEST(record_decode__every_cut_is_found)
{
    u8 bytes[128];
    struct entry entry = sample_entry("payload"), got;
    record_encode(&entry, bytes);
    for (u32 size = 0; size < record_size_of(&entry); size++)
        ck_assert_uint_eq(record_decode(bytes, size, &got), 0);
}
END_TEST

START_TEST(record_decode__padding_that_is_not_zero_is_refused)
{
    u8 bytes[128];
    struct entry entry = sample_entry("x"), got;
    record_encode(&entry, bytes);
    bytes[55] = 1;
    store_u32(bytes, crc32c(0, bytes + 4, record_size_of(&entry) - 4));
    ck_assert_uint_eq(record_decode(bytes, sizeof(bytes), &got), 0);
}
END_TEST

START_TEST(record_decode__size_out_of_bounds_is_refused)
{
    u8 bytes[RECORD_HEADER_SIZE] = {0};
    struct entry got;
    ck_assert_uint_eq(record_decode(bytes, sizeof(bytes), &got), 0);
    store_u32(bytes + 4, RECORD_HEADER_SIZE - 1);
    ck_assert_uint_eq(record_decode(bytes, sizeof(bytes), &got), 0);
    store_u32(bytes + 4, UINT32_MAX);
    ck_assert_uint_eq(record_decode(bytes, SIZE_MAX, &got), 0);
}
END_TEST

START_TEST(record_peek__agrees_with_decode)
{
    u8 bytes[128];
    struct entry entry = sample_entry("peek"), decoded = {0}, peeked = {0};
    record_encode(&entry, bytes);
    ck_assert_uint_eq(record_decode(bytes, sizeof(bytes), &decoded), record_peek(bytes, &peeked));
    ck_assert_uint_eq(decoded.id.index, peeked.id.index);
    ck_assert_ptr_eq(decoded.payload, peeked.payload);
    ck_assert_uint_eq(decoded.payload_size, peeked.payload_size);
}
END_TEST

/* Encodes entries {terms[i], first + i} one after another; returns the bytes used. */
static size_t encode_run(u8 *to, u64 first, const u64 *terms, u32 count)
{
    size_t at = 0;
    for (u32 i = 0; i < count; i++) {
        struct entry entry = sample_entry("run");
        entry.id = (struct entry_id){.term = terms[i], .index = first + i};
        record_encode(&entry, to + at);
        at += record_size_of(&entry);
    }
    return at;
}

START_TEST(records_check__takes_a_run)
{
    u8 bytes[512];
    const char *why;
    size_t size = encode_run(bytes, 4, (u64[]){1, 1, 2}, 3);
    ck_assert(records_check(bytes, size, 4, 3, &why));
    ck_assert(records_check(bytes, 0, 4, 0, &why));
}
END_TEST

START_TEST(records_check__refuses_what_is_no_run)
{
    u8 bytes[512];
    const char *why = NULL;
    size_t size = encode_run(bytes, 4, (u64[]){1, 1, 2}, 3);
    ck_assert(!records_check(bytes, size, 5, 3, &why));
    ck_assert_str_eq(why, "a record's index does not follow on");
    ck_assert(!records_check(bytes, size, 4, 2, &why));
    ck_assert_str_eq(why, "bytes follow the last record");
    ck_assert(!records_check(bytes, size, 4, 4, &why));
    ck_assert(!records_check(bytes, size - 1, 4, 3, &why));
    ck_assert_str_eq(why, "a record is cut short, out of bounds, or fails its checksum");
    size = encode_run(bytes, 4, (u64[]){1, 3, 2}, 3);
    ck_assert(!records_check(bytes, size, 4, 3, &why));
    ck_assert_str_eq(why, "a record's term is below the one before it");
}
END_TEST

START_TEST(entry_type_word__names_all_that_are_known)
{
    ck_assert_str_eq(entry_type_word(ENTRY_NOOP), "noop");
    ck_assert_str_eq(entry_type_word(ENTRY_CONFIGURATION), "configuration");
    ck_assert_str_eq(entry_type_word(ENTRY_COMMAND), "command");
    ck_assert_str_eq(entry_type_word(ENTRY_FEATURE), "feature");
    for (u32 type = 0; type < 256; type++)
        ck_assert_int_eq(entry_type_known((u8)type), type >= 1 && type <= 4);
}
END_TEST

UNIT_MAIN("entry", record_encode__is_read_back, record_encode__layout_is_as_documented,
          record_encode__payload_may_lie_in_place, record_encode__without_payload,
          record_decode__every_flipped_bit_is_found, record_decode__every_cut_is_found,
          record_decode__padding_that_is_not_zero_is_refused,
          record_decode__size_out_of_bounds_is_refused, record_peek__agrees_with_decode,
          records_check__takes_a_run, records_check__refuses_what_is_no_run,
          entry_type_word__names_all_that_are_known)
