/* libfuzzer.c - one target under libFuzzer. Compiled once for each, FUZZ_TARGET being its name. */
#include "test/fuzz/fuzz.h"

#include <stdio.h>

#ifndef FUZZ_TARGET /* the linters look at this file without */
#define FUZZ_TARGET fuzz_record
#endif

enum { ARGUMENTS_MAX = 1024 };

int LLVMFuzzerInitialize(int *count, char ***arguments);
size_t LLVMFuzzerMutate(u8 *data, size_t size, size_t capacity);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t capacity, unsigned seed);

/* Puts the target's own limit in front of the arguments, so that one that is given prevails. */
int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    static char *with_limit[ARGUMENTS_MAX], limit[32];
    (void)snprintf(limit, sizeof(limit), "-max_len=%u", FUZZ_TARGET.input_max);
    if (*count < 1 || *count >= ARGUMENTS_MAX)
        return 0;
    with_limit[0] = (*arguments)[0];
    with_limit[1] = limit;
    memcpy(with_limit + 2, *arguments + 1, ((size_t)*count - 1) * sizeof(**arguments));
    *arguments = with_limit;
    ++*count;
    return 0;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    fuzz_run(&FUZZ_TARGET, data, size);
    return 0;
}

/* libFuzzer's own mutations, and then the checksums put right; now and then they are left as they
 * are, for what happens to damaged bytes matters too. */
size_t LLVMFuzzerCustomMutator(u8 *data, size_t size, size_t capacity, unsigned seed)
{
    const struct fuzz_target *target = &FUZZ_TARGET;
    size = LLVMFuzzerMutate(data, size, capacity);
    if (target->repair == NULL || seed % 8 == 0)
        return size;
    return target->repair(data, size, capacity, seed / 8);
}
