/* check_error.c - sentences of errors, and the two ways in which a process ends itself. */
#include "common/error.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/memory.h"
#include "common/types.h"
#include "test/unit/unit.h"

START_TEST(set__code_and_text)
{
    struct error error;
    ck_assert_int_eq(error_set(&error, ERROR_CORRUPT, "slot %d: bad checksum", 2), ERROR_CORRUPT);
    ck_assert_int_eq(error.code, ERROR_CORRUPT);
    ck_assert_str_eq(error.text, "slot 2: bad checksum");
    ck_assert_int_eq(error_set(&error, ERROR_IO, "again: %s", error.text), ERROR_IO);
    ck_assert_str_eq(error.text, "again: slot 2: bad checksum");
    error_clear(&error);
    ck_assert_int_eq(error.code, ERROR_NONE);
    ck_assert_str_eq(error.text, "");
}
END_TEST

START_TEST(forgive__only_what_is_put_up_with)
{
    struct error error;
    error_set(&error, ERROR_MISSING, "open x: no such file");
    ck_assert_int_eq(error_forgive(&error, ERROR_MISSING, ERROR_EXISTS), ERROR_MISSING);
    ck_assert_str_eq(error.text, "open x: no such file");
    ck_assert_int_eq(error_forgive(&error, ERROR_MISSING, ERROR_MISSING), ERROR_NONE);
    ck_assert_int_eq(error.code, ERROR_NONE);
    ck_assert_str_eq(error.text, "");
    ck_assert_int_eq(error_forgive(&error, ERROR_NONE, ERROR_MISSING), ERROR_NONE);
}
END_TEST

START_TEST(set_errno__says_the_reason)
{
    struct error error;
    ck_assert_int_eq(error_set_errno(&error, ERROR_IO, ENOENT, "open %s", "x"), ERROR_IO);
    ck_assert_str_eq(error.text, "open x: No such file or directory");
}
END_TEST

START_TEST(add__puts_clauses_in_front)
{
    struct error error;
    error_set(&error, ERROR_CORRUPT, "bad checksum");
    ck_assert_int_eq(error_add(&error, "read metadata slot %d", 2), ERROR_CORRUPT);
    ck_assert_int_eq(error_add(&error, "open %s", "data/1"), ERROR_CORRUPT);
    ck_assert_str_eq(error.text, "open data/1: read metadata slot 2: bad checksum");
}
END_TEST

/* What it quotes may be anything, and the text goes into logs and into clients' answers. */
START_TEST(set__is_one_line_whatever_it_quotes)
{
    struct error error;
    error_set(&error, ERROR_CONFIG, "unknown key \"%s\"", "a\r\n+OK\t\x1b[31m\x7f\xc3\xa9");
    ck_assert_str_eq(error.text, "unknown key \"a??+OK??[31m?\xc3\xa9\"");
    error_add(&error, "%s", "f\ng");
    ck_assert_str_eq(error.text, "f?g: unknown key \"a??+OK??[31m?\xc3\xa9\"");
    error_set_errno(&error, ERROR_IO, EIO, "open %s", "a\nb");
    ck_assert_str_eq(error.text, "open a?b: Input/output error");
}
END_TEST

START_TEST(set__long_texts_are_cut)
{
    char text[2 * ERROR_TEXT_SIZE];
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    struct error error;
    error_set(&error, ERROR_IO, "%s", text);
    ck_assert_uint_eq(strlen(error.text), ERROR_TEXT_SIZE - 1);
    ck_assert_str_eq(error.text + ERROR_TEXT_SIZE - 5, "x...");
    error_set_errno(&error, ERROR_IO, EIO, "%s", text);
    ck_assert_uint_eq(strlen(error.text), ERROR_TEXT_SIZE - 1);
    error_set(&error, ERROR_IO, "short");
    error_add(&error, "%s", text);
    ck_assert_uint_eq(strlen(error.text), ERROR_TEXT_SIZE - 1);
    text[ERROR_TEXT_SIZE - 1] = '\0'; /* just fits */
    error_set(&error, ERROR_IO, "%s", text);
    ck_assert_str_eq(error.text, text);
    error_add(&error, "a");
    ck_assert_str_eq(error.text + ERROR_TEXT_SIZE - 5, "x...");
}
END_TEST

START_TEST(word__and_exit_code_of_every_code)
{
    ck_assert_str_eq(error_word(ERROR_NONE), "ok");
    ck_assert_str_eq(error_word(ERROR_NO_SPACE), "no-space");
    ck_assert_int_eq(error_exit_code(ERROR_NONE), 0);
    ck_assert_int_eq(error_exit_code(ERROR_CONFIG), 78);
    for (int code = 1; code <= ERROR_CONFIG; code++) {
        ck_assert_uint_gt(strlen(error_word((enum error_code)code)), 0);
        ck_assert_int_ge(error_exit_code((enum error_code)code), 64);
    }
}
END_TEST

/* Runs `end` in a child and returns how that ended; what it wrote to stderr goes to `said`. */
static int run_to_the_end(void (*end)(void), char *said, size_t size)
{
    int ends[2];
    ck_assert_int_eq(pipe(ends), 0);
    pid_t child = fork();
    ck_assert_int_ge(child, 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        end();
        _exit(0);
    }
    close(ends[1]);
    size_t got = 0;
    for (ssize_t part; (part = read(ends[0], said + got, size - 1 - got)) > 0;)
        got += (size_t)part;
    said[got] = '\0';
    close(ends[0]);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    return status;
}

static void break_an_invariant(void)
{
    ASSERT(1 + 1 == 3);
}

START_TEST(assert__says_where_and_aborts)
{
    char said[4096];
    int status = run_to_the_end(break_an_invariant, said, sizeof(said));
    ck_assert(WIFSIGNALED(status));
    ck_assert_int_eq(WTERMSIG(status), SIGABRT);
    ck_assert_ptr_nonnull(strstr(said, "check_error.c:"));
    ck_assert_ptr_nonnull(strstr(said, "break_an_invariant: broken invariant: 1 + 1 == 3\n"));
}
END_TEST

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void ask_for_too_much(void)
{
    volatile size_t size = SIZE_MAX / 4;
    memory_free(memory_alloc(size));
}

START_TEST(memory_alloc__ends_with_a_sentence)
{
    char said[4096];
    int status = run_to_the_end(ask_for_too_much, said, sizeof(said));
    ck_assert(WIFEXITED(status));
    ck_assert_int_eq(WEXITSTATUS(status), 71);
    ck_assert_ptr_nonnull(strstr(said, "out of memory"));
}
END_TEST
#define WITHOUT_SANITIZER_TESTS , memory_alloc__ends_with_a_sentence
#else /* the sanitizers' own allocators end a program in their own way */
#define WITHOUT_SANITIZER_TESTS
#endif

START_TEST(memory__nothing_is_something)
{
    void *none = memory_alloc(0);
    ck_assert_ptr_nonnull(none);
    none = memory_resize(none, 0);
    ck_assert_ptr_nonnull(none);
    memory_free(none);
    u64 *zeros = memory_alloc_zero(8, sizeof(*zeros));
    for (int i = 0; i < 8; i++)
        ck_assert_uint_eq(zeros[i], 0);
    memory_free(zeros);
    memory_free(NULL);
    char *copy = memory_copy_string("copy");
    ck_assert_str_eq(copy, "copy");
    memory_free(copy);
}
END_TEST

UNIT_MAIN("error", set__code_and_text, forgive__only_what_is_put_up_with,
          set_errno__says_the_reason, add__puts_clauses_in_front,
          set__is_one_line_whatever_it_quotes, set__long_texts_are_cut,
          word__and_exit_code_of_every_code, assert__says_where_and_aborts,
          memory__nothing_is_something WITHOUT_SANITIZER_TESTS)
