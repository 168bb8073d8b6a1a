/* Tests of server/step/tokens: numbers instead of clients. */
#include <signal.h>

#include "server/step/node/tokens.h"
#include "test/unit/unit.h"

static struct tokens tokens;
static struct command commands[200];

START_TEST(tokens_take__gives_what_was_put)
{
    u64 numbers[ARRAY_LENGTH(commands)];
    for (size_t i = 0; i < ARRAY_LENGTH(commands); i++) {
        numbers[i] = tokens_put(&tokens, &commands[i]);
        ck_assert_uint_ne(numbers[i], 0);
    }
    for (size_t i = ARRAY_LENGTH(commands); i-- > 0;)
        ck_assert_ptr_eq(tokens_take(&tokens, numbers[i]), &commands[i]);
    ck_assert_ptr_null(tokens_take_any(&tokens));
    tokens_deinit(&tokens);
}
END_TEST

START_TEST(tokens_put__no_number_comes_again)
{
    u64 first = tokens_put(&tokens, &commands[0]);
    ck_assert_ptr_eq(tokens_take(&tokens, first), &commands[0]);
    u64 second = tokens_put(&tokens, &commands[1]);
    ck_assert_uint_ne(first, second);
    ck_assert_uint_eq((u32)first, (u32)second); /* though its place does */
    ck_assert_ptr_eq(tokens_take(&tokens, second), &commands[1]);
    tokens_deinit(&tokens);
}
END_TEST

START_TEST(tokens_take__twice_is_a_bug)
{
    u64 token = tokens_put(&tokens, &commands[0]);
    (void)tokens_take(&tokens, token);
    (void)tokens_take(&tokens, token); /* aborts */
}
END_TEST

START_TEST(tokens_take_any__until_none_is_left)
{
    u64 token = tokens_put(&tokens, &commands[0]);
    (void)tokens_put(&tokens, &commands[1]);
    (void)tokens_take(&tokens, token);
    ck_assert_ptr_eq(tokens_take_any(&tokens), &commands[1]);
    ck_assert_ptr_null(tokens_take_any(&tokens));
    tokens_deinit(&tokens);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tokens");
    TCase *tcase = tcase_create("tokens");
    tcase_add_test(tcase, tokens_take__gives_what_was_put);
    tcase_add_test(tcase, tokens_put__no_number_comes_again);
    tcase_add_test(tcase, tokens_take_any__until_none_is_left);
    tcase_add_test_raise_signal(tcase, tokens_take__twice_is_a_bug, SIGABRT);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
