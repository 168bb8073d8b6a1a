/* unit.h - what every unit test program shares.
 *
 * One program a module: check_<module>.c, its tests named function__case, in the order of the code
 * they test. UNIT_MAIN at the end of the file runs the listed test cases. A test asserts
 * behaviour; the time limit is only there so that a hanging one ends. */
#ifndef MAILRAFT_TEST_UNIT_H
#define MAILRAFT_TEST_UNIT_H

#include <check.h>
#include <stdlib.h>

/* Before the functions of a header that only some tests use. */
#define UNIT_HELPER __attribute__((unused)) static

/* Seconds for one test. Nothing but a hang comes near it, with a sanitizer and on a busy machine.
 */
enum { UNIT_TIMEOUT_S = 600 };

#define UNIT_MAIN(module, ...)                                        \
    int main(void)                                                    \
    {                                                                 \
        const TTest *tests[] = {__VA_ARGS__};                         \
        Suite *suite = suite_create(module);                          \
        TCase *tcase = tcase_create(module);                          \
        tcase_set_timeout(tcase, UNIT_TIMEOUT_S);                     \
        for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) \
            tcase_add_test(tcase, tests[i]);                          \
        suite_add_tcase(suite, tcase);                                \
        SRunner *runner = srunner_create(suite);                      \
        srunner_run_all(runner, CK_ENV);                              \
        int failed = srunner_ntests_failed(runner);                   \
        srunner_free(runner);                                         \
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;             \
    }

#endif
