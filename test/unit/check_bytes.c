/* check_bytes.c - blocks, spans, buffers, little-endian numbers. */
#include "common/bytes.h"

#include <stdint.h>

#include "common/sync.h"
#include "test/unit/unit.h"

START_TEST(block_create_copy__holds_the_bytes)
{
    struct block *block = block_create_copy("hello", 5);
    ck_assert_uint_eq(block->size, 5);
    ck_assert_mem_eq(block->data, "hello", 5);
    ck_assert_uint_eq(block->references, 1);
    ck_assert_ptr_eq(block_hold(block), block);
    ck_assert_uint_eq(block->references, 2);
    block_release(block);
    ck_assert_uint_eq(block->references, 1);
    block_release(block);
    block_release(NULL);
    block = block_create_copy(NULL, 0);
    ck_assert_uint_eq(block->size, 0);
    block_release(block);
}
END_TEST

enum { HOLDERS = 4, ROUNDS = 5000 };

static void hold_and_release(void *argument)
{
    struct block *block = argument;
    for (int i = 0; i < ROUNDS; i++)
        block_release(block_hold(block));
    block_release(block);
}

START_TEST(block_release__last_of_many_threads_frees)
{
    struct block *block = block_create_copy("shared", 6);
    struct thread threads[HOLDERS];
    struct error error;
    for (int i = 0; i < HOLDERS; i++) {
        block_hold(block);
        enum error_code code = thread_start(&threads[i], "holder", hold_and_release, block, &error);
        ck_assert_str_eq(error_word(code), "ok");
    }
    ck_assert_mem_eq(block->data, "shared", 6);
    block_release(block);
    for (int i = 0; i < HOLDERS; i++)
        thread_join(&threads[i]);
}
END_TEST

START_TEST(span_of__holds_a_reference)
{
    struct block *block = block_create_copy("0123456789", 10);
    struct span span = span_of(block, block->data + 3, 4);
    block_release(block);
    ck_assert_uint_eq(span.block->references, 1);
    ck_assert_mem_eq(span.data, "3456", span.size);
    span_release(&span);
    ck_assert_ptr_null(span.block);
    ck_assert_uint_eq(span.size, 0);
    span_release(&span); /* the empty span */
    span = span_of(NULL, NULL, 0);
    ck_assert_ptr_null(span.block);
}
END_TEST

START_TEST(span_of__whole_block_and_its_end)
{
    struct block *block = block_create_copy("ab", 2);
    struct span whole = span_of(block, block->data, 2);
    struct span end = span_of(block, block->data + 2, 0);
    ck_assert_uint_eq(block->references, 3);
    span_release(&whole);
    span_release(&end);
    block_release(block);
}
END_TEST

START_TEST(buffer_append__grows_and_keeps)
{
    struct buffer buffer;
    buffer_init(&buffer);
    for (u32 i = 0; i < 10000; i++) {
        u8 bytes[4];
        store_u32(bytes, i);
        buffer_append(&buffer, bytes, sizeof(bytes));
    }
    ck_assert_uint_eq(buffer.size, 40000);
    for (u32 i = 0; i < 10000; i++)
        ck_assert_uint_eq(load_u32(buffer.data + (size_t)4 * i), i);
    buffer_append(&buffer, NULL, 0);
    ck_assert_uint_eq(buffer.size, 40000);
    buffer_deinit(&buffer);
    ck_assert_ptr_null(buffer.data);
    ck_assert_uint_eq(buffer.capacity, 0);
}
END_TEST

START_TEST(buffer_reserve__leaves_the_size)
{
    struct buffer buffer;
    buffer_init(&buffer);
    ck_assert_ptr_nonnull(buffer_reserve(&buffer, 0));
    u8 *to = buffer_reserve(&buffer, 1000);
    memset(to, 'x', 1000);
    ck_assert_uint_eq(buffer.size, 0);
    ck_assert_uint_ge(buffer.capacity, 1000);
    buffer_deinit(&buffer);
}
END_TEST

START_TEST(buffer_append_format__short_and_long)
{
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_append_string(&buffer, "a");
    buffer_append_format(&buffer, "=%d;", 7);
    char text[301];
    memset(text, 'y', 300);
    text[300] = '\0';
    buffer_append_format(&buffer, "%s%s", text, text);
    buffer_append_format(&buffer, "%.63s", text); /* just fits with its NUL */
    buffer_append_format(&buffer, "%.64s", text); /* just does not */
    ck_assert_uint_eq(buffer.size, 4 + 600 + 63 + 64);
    ck_assert_mem_eq(buffer.data, "a=7;y", 5);
    ck_assert_int_eq(buffer.data[buffer.size - 1], 'y');
    buffer_deinit(&buffer);
}
END_TEST

START_TEST(buffer_drop_front__moves_the_rest_down)
{
    struct buffer buffer;
    buffer_init(&buffer);
    buffer_drop_front(&buffer, 0);
    buffer_append_string(&buffer, "0123456789");
    buffer_drop_front(&buffer, 4);
    ck_assert_uint_eq(buffer.size, 6);
    ck_assert_mem_eq(buffer.data, "456789", 6);
    buffer_drop_front(&buffer, 6);
    ck_assert_uint_eq(buffer.size, 0);
    buffer_append_string(&buffer, "z");
    buffer_clear(&buffer);
    ck_assert_uint_eq(buffer.size, 0);
    buffer_deinit(&buffer);
}
END_TEST

START_TEST(store__little_endian_at_any_alignment)
{
    u8 bytes[16] = {0};
    store_u64(bytes + 1, 0x1122334455667788ULL);
    ck_assert_mem_eq(bytes + 1, "\x88\x77\x66\x55\x44\x33\x22\x11", 8);
    ck_assert_uint_eq(load_u64(bytes + 1), 0x1122334455667788ULL);
    store_u32(bytes + 3, 0xdeadbeef);
    ck_assert_uint_eq(load_u32(bytes + 3), 0xdeadbeef);
    store_u16(bytes + 5, 0xfffe);
    ck_assert_uint_eq(load_u16(bytes + 5), 0xfffe);
    store_u64(bytes, UINT64_MAX);
    ck_assert_uint_eq(load_u64(bytes), UINT64_MAX);
}
END_TEST

UNIT_MAIN("bytes", block_create_copy__holds_the_bytes, block_release__last_of_many_threads_frees,
          span_of__holds_a_reference, span_of__whole_block_and_its_end,
          buffer_append__grows_and_keeps, buffer_reserve__leaves_the_size,
          buffer_append_format__short_and_long, buffer_drop_front__moves_the_rest_down,
          store__little_endian_at_any_alignment)
