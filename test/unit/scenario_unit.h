/* scenario_unit.h - scenarios as text to try, for the tests of the scenario language. */
#ifndef MAILRAFT_TEST_UNIT_SCENARIO_UNIT_H
#define MAILRAFT_TEST_UNIT_SCENARIO_UNIT_H

#include <string.h>

#include "test/sim/scenario.h"
#include "test/unit/unit.h"

UNIT_HELPER struct scenario *scenario_of(const char *text)
{
    struct scenario *scenario;
    struct error error = {0};
    enum error_code code = scenario_parse(text, strlen(text), "t.scn", &scenario, &error);
    ck_assert_msg(code == ERROR_NONE, "%s", error.text);
    return scenario;
}

/* Parses text whose first statement is meant. Ownership: the scenario is `*scenario`. */
UNIT_HELPER const struct statement *first_of(const char *text, struct scenario **scenario)
{
    *scenario = scenario_of(text);
    ck_assert_ptr_nonnull((*scenario)->first);
    return (*scenario)->first;
}

#define WITH(text, statement)                                                                \
    for (struct scenario *parsed = NULL, *again = (struct scenario *)&parsed; again != NULL; \
         scenario_destroy(parsed), again = NULL)                                             \
        for (const struct statement *statement = first_of("cluster 5\n" text, &parsed);      \
             statement != NULL; statement = NULL)

UNIT_HELPER void refuses(const char *text, const char *complaint)
{
    struct scenario *scenario;
    struct error error = {0};
    enum error_code code = scenario_parse(text, strlen(text), "t.scn", &scenario, &error);
    ck_assert_msg(code == ERROR_FORMAT, "taken: %s", text);
    ck_assert_ptr_null(scenario);
    ck_assert_msg(strcmp(error.text, complaint) == 0, "%s\n  said:     %s\n  expected: %s", text,
                  error.text, complaint);
    ck_assert_int_eq(error_exit_code(code), 65);
}

#endif
