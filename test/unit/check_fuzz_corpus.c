/* check_fuzz_corpus.c - every input of the fuzzers' corpus, under this variant
 * (test/fuzz/README.md). What fuzzing found once is in there, and so is told at once if it comes
 * back. */
#include "test/fuzz/fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>

#include "common/memory.h"
#include "test/unit/unit.h"

enum { PATH_SIZE = 512 };

/* Plays a file. Its name is said first: run-unit shows it if this one ends the program. */
static void play(const struct fuzz_target *target, const char *path)
{
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s cannot be read", path);
    u8 *data = malloc(target->input_max + 1);
    ck_assert_ptr_nonnull(data);
    size_t size = fread(data, 1, target->input_max + 1, file);
    ck_assert_msg(size <= target->input_max, "%s is larger than the target's inputs", path);
    (void)fclose(file);
    (void)fprintf(stderr, "%s\n", path);
    fuzz_run(target, data, size);
    free(data);
}

/* Plays all of a target, and fails when there is nothing to play. */
static void play_corpus(const struct fuzz_target *target)
{
    char folder[PATH_SIZE / 2], path[PATH_SIZE];
    u32 count = 0;
    (void)snprintf(folder, sizeof(folder), "test/fuzz/corpus/%s", target->name);
    DIR *directory = opendir(folder);
    ck_assert_msg(directory != NULL, "%s is missing (or this is not the top of the tree)", folder);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        int length = snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        ck_assert_int_lt(length, PATH_SIZE);
        play(target, path);
        count++;
    }
    (void)closedir(directory);
    ck_assert_msg(count > 0, "%s is empty", folder);
    /* No bytes at all are an input too. */
    fuzz_run(target, (const u8 *)"", 0);
}

#define X(name)                    \
    START_TEST(corpus__##name)     \
    {                              \
        play_corpus(&fuzz_##name); \
    }                              \
    END_TEST
FUZZ_TARGETS(X)
#undef X

/* That nothing above failed says something: memory is counted, and its bound kept. */

static void take_too_much(const u8 *data, size_t size)
{
    (void)data, (void)size;
    memory_free(memory_alloc(1000));
}

START_TEST(fuzz_run__ends_what_takes_too_much_memory)
{
    const struct fuzz_target target = {.name = "greedy", .run = take_too_much, .memory_base = 999};
    fuzz_run(&target, (const u8 *)"", 0);
}
END_TEST

static void *kept;

static void keep_memory(const u8 *data, size_t size)
{
    (void)data;
    kept = memory_alloc(size);
}

START_TEST(fuzz_run__ends_what_keeps_memory)
{
    const struct fuzz_target target = {.name = "keeping", .run = keep_memory, .memory_base = 999};
    fuzz_run(&target, (const u8 *)"one", 3);
}
END_TEST

int main(void)
{
#define X(name) corpus__##name,
    const TTest *corpora[] = {FUZZ_TARGETS(X)};
#undef X
    Suite *suite = suite_create("fuzz_corpus");
    TCase *tcase = tcase_create("fuzz_corpus");
    tcase_set_timeout(tcase, UNIT_TIMEOUT_S);
    for (size_t i = 0; i < ARRAY_LENGTH(corpora); i++)
        tcase_add_test(tcase, corpora[i]);
    tcase_add_test_raise_signal(tcase, fuzz_run__ends_what_takes_too_much_memory, SIGABRT);
    tcase_add_test_raise_signal(tcase, fuzz_run__ends_what_keeps_memory, SIGABRT);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
