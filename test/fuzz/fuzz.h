/* fuzz.h - targets: readers of bytes that come from a disk, a peer, a client or a person.
 *
 * A target takes any bytes whatever, hands them to a reader, and ASSERTs what must hold of every
 * input: that it does not crash is the least of it. The same targets are run by libFuzzer, which
 * makes up inputs (libfuzzer.c; `make fuzz`), and over the corpus by test/unit/check_fuzz_corpus.c,
 * which needs no libFuzzer.
 *
 * Whatever a reader allocates passes through common/memory.h, and fuzz_memory.c counts it: after
 * each input everything must have been given back, and no input may make a reader take more than
 * its target allows for an input of that size. So a length that is believed before the bytes are
 * there is found even when it does no harm on this machine.
 *
 * Nearly all formats carry checksums, and made-up bytes would never come further than these. So a
 * target may have `repair`, which puts the checksums of an input right where its structure allows
 * it; libfuzzer.c does so after most of its mutations. Inputs are therefore always the plain bytes
 * of the format. */
#ifndef MAILRAFT_TEST_FUZZ_H
#define MAILRAFT_TEST_FUZZ_H

#include "common/bytes.h"
#include "common/check.h"
#include "common/report.h"

/* X(name): what has a corpus, a program build/fuzz/fuzz_<name>, and a struct fuzz_<name>. */
#define FUZZ_TARGETS(X) \
    X(record)           \
    X(configuration)    \
    X(metadata)         \
    X(known_peers)      \
    X(segment)          \
    X(snapshot)         \
    X(directory)        \
    X(message)          \
    X(hello)            \
    X(resp)             \
    X(command)          \
    X(answer)           \
    X(kv_state)         \
    X(settings)         \
    X(forward)          \
    X(pipe)

struct fuzz_target {
    const char *name;
    u32 input_max; /* bytes of the largest input worth trying */
    /* Takes one input, which is exactly `size` bytes of memory. */
    void (*run)(const u8 *data, size_t size);
    /* Puts checksums right in place, in a buffer of `capacity` bytes, and returns the new size.
     * `choice` are random bits, by which some are left wrong. NULL: there are none. */
    size_t (*repair)(u8 *data, size_t size, size_t capacity, u32 choice);
    /* What a reader may have taken at any moment: so many bytes, and so many for each of the
     * input. */
    u64 memory_base;
    u64 memory_each;
};

#define X(name) extern const struct fuzz_target fuzz_##name;
FUZZ_TARGETS(X)
#undef X

/* Runs the target over an input, and checks what it did with memory. */
void fuzz_run(const struct fuzz_target *target, const u8 *data, size_t size);

/* ---- for targets ---- */

/* The next byte of an input that steers a target; 0 at its end. */
u8 fuzz_take_byte(const u8 **data, size_t *size);

/* A report that formats every line; what it says is printed when FUZZ_SAY is in the environment. */
void fuzz_report_init(struct report *report);

/* Puts right the checksums of the records that lie one after another at `data`, as far as their
 * sizes make sense. */
void fuzz_repair_records(u8 *data, size_t size);

#endif
