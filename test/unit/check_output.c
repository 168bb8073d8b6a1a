/* check_output.c - the queue of bytes on their way to a client: nothing is lost, moved or kept. */
#include "server/clients/output.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/rng.h"
#include "test/unit/unit.h"

enum { LARGE = 1024 * 1024 };

/* Sends and hears until nothing is left; what is heard must go on as the bytes went in. */
static void drain(struct output *output, int *ends, u64 *heard)
{
    u8 got[8192];
    while (output->size > 0) {
        ssize_t sent = output_send(output, ends[0]);
        ck_assert(sent > 0 || (sent < 0 && errno == EAGAIN));
        ssize_t size = recv(ends[1], got, sizeof(got), MSG_DONTWAIT);
        for (ssize_t i = 0; i < size; i++)
            ck_assert_uint_eq(got[i], (u8)(*heard)++ % 251);
    }
}

START_TEST(output__what_goes_in_comes_out)
{
    int ends[2];
    u64 said = 0;
    u64 heard = 0;
    u8 *bytes = memory_alloc(3 * OUTPUT_PIECE_MAX);
    struct rng rng;
    struct output output;
    rng_init(&rng, 7);
    output_init(&output);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    for (int round = 0; round < 300; round++) {
        size_t size = (size_t)rng_range(&rng, 0, round % 10 == 0 ? 3 * OUTPUT_PIECE_MAX : 600);
        for (size_t i = 0; i < size; i++)
            bytes[i] = (u8)said++ % 251;
        output_append(&output, bytes, size);
        ck_assert_uint_le(output.size, output.memory);
        if (round % 7 == 0)
            drain(&output, ends, &heard);
    }
    drain(&output, ends, &heard);
    u8 rest[8192];
    ssize_t size;
    while ((size = recv(ends[1], rest, sizeof(rest), MSG_DONTWAIT)) > 0)
        heard += (u64)size;
    ck_assert_uint_eq(heard, said);
    ck_assert_uint_eq(output.memory, 0);
    ck_assert_ptr_null(output.first);
    ck_assert_ptr_null(output.last);
    close(ends[0]);
    close(ends[1]);
    memory_free(bytes);
}
END_TEST

START_TEST(output__costs_little_more_than_it_holds)
{
    struct output output;
    u8 *bytes = memory_alloc_zero(1, LARGE);
    output_init(&output);
    output_append(&output, bytes, 5);
    ck_assert_uint_le(output.memory, OUTPUT_PIECE_MIN);
    for (int i = 0; i < 20000; i++) {
        output_append(&output, bytes, 100);
        ck_assert_uint_le(output.memory, 2 * output.size + OUTPUT_PIECE_MIN);
        ck_assert_uint_le(output.memory, output.size + output.size / 1000 + 2 * OUTPUT_PIECE_MAX);
    }
    u64 before = output.memory;
    output_append(&output, bytes, LARGE);
    ck_assert_uint_le(output.memory, before + LARGE + 64);
    output_deinit(&output);
    ck_assert_uint_eq(output.memory, 0);
    memory_free(bytes);
}
END_TEST

START_TEST(output__what_is_sent_is_given_back)
{
    int ends[2];
    struct output output;
    u8 *bytes = memory_alloc_zero(1, LARGE);
    output_init(&output);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    for (int i = 0; i < 1000; i++)
        output_append(&output, bytes, 2000);
    while (output.size > 100000) {
        if (output_send(&output, ends[0]) < 0)
            ck_assert_int_eq(errno, EAGAIN);
        while (recv(ends[1], bytes, LARGE, MSG_DONTWAIT) > 0)
            continue;
        ck_assert_uint_le(output.memory, output.size + 2 * OUTPUT_PIECE_MAX + 4096);
    }
    output_deinit(&output);
    close(ends[0]);
    close(ends[1]);
    memory_free(bytes);
}
END_TEST

UNIT_MAIN("output", output__what_goes_in_comes_out, output__costs_little_more_than_it_holds,
          output__what_is_sent_is_given_back)
