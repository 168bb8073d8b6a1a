/* fuzz_hello.c - the first frame on a connection, and the answer to it (peers/codec.h). */
#include "server/peers/codec.h"
#include "server/storage/metadata.h"
#include "test/fuzz/fuzz.h"
#include "test/fuzz/fuzz_frame.h"

static void check_same(const struct hello *a, const struct hello *b)
{
    ASSERT(strcmp(a->cluster_id, b->cluster_id) == 0 && a->from == b->from && a->to == b->to);
    ASSERT(a->directory_id == b->directory_id && a->start_count == b->start_count);
    ASSERT(a->seed_crc == b->seed_crc && a->non_voter == b->non_voter);
    ASSERT(a->incarnation == b->incarnation && a->blank == b->blank && a->feature == b->feature);
    ASSERT(a->readmitted == b->readmitted && a->joined_through == b->joined_through);
    ASSERT(memcmp(a->starts, b->starts, sizeof(a->starts)) == 0);
    ASSERT(a->version_min == b->version_min && a->version_max == b->version_max);
    ASSERT(a->version == b->version && strcmp(a->refusal, b->refusal) == 0);
}

static void check(const u8 *data, size_t size, bool answer)
{
    struct hello hello, again;
    struct frame_head head, head_again;
    struct error error;
    if (hello_decode(data, (u32)size, answer, &hello, &error) != ERROR_NONE) {
        ASSERT(error.code == ERROR_FORMAT);
        return;
    }
    ASSERT(memchr(hello.cluster_id, '\0', CLUSTER_ID_SIZE) != NULL);
    ASSERT(metadata_cluster_id_valid(hello.cluster_id));
    ASSERT(memchr(hello.refusal, '\0', HELLO_REFUSAL_SIZE) != NULL);
    ASSERT(hello.from != SERVER_NONE && hello.to != SERVER_NONE);
    ASSERT(hello.version_min > 0 && hello.version_min <= hello.version_max);
    hello_encode(&hello, answer, &head);
    ASSERT(hello_decode(head.bytes, head.size, answer, &again, &error) == ERROR_NONE);
    check_same(&hello, &again);
    hello_encode(&again, answer, &head_again);
    ASSERT(head.size == head_again.size && memcmp(head.bytes, head_again.bytes, head.size) == 0);
}

static void run(const u8 *data, size_t size)
{
    check(data, size, false);
    check(data, size, true);
}

const struct fuzz_target fuzz_hello = {
    .name = "hello", .input_max = HELLO_FRAME_MAX + 16, .run = run, .repair = fuzz_frame_repair};
