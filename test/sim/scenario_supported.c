/* scenario_supported.c - what of the language can be played today.
 *
 * The whole language is parsed. Here stands, in one place, what of it needs a feature that the
 * servers do not have yet; each line goes when its feature comes. */
#include "test/sim/scenario.h"

static enum error_code fail(const struct scenario *scenario, u32 line, const char *what,
                            struct error *error)
{
    return error_set(error, ERROR_FORMAT,
                     "%s:%u: %s is not supported yet, expected a scenario "
                     "without it",
                     scenario->file, line, what);
}

/* What the statement needs and is not there, or NULL. */
static const char *missing_expectation(const struct expectation *expectation)
{
    if (expectation->kind == EXPECT_MEMBERS)
        return "expect members";
    return NULL;
}

static const char *missing(const struct statement *statement)
{
    switch ((int)statement->kind) {
    case STATEMENT_MEMBER:
        return "member";
    case STATEMENT_ONCE:
        return "once";
    case STATEMENT_EXPECT:
        return missing_expectation(&statement->expectation);
    default:
        return NULL;
    }
}

static enum error_code check_list(const struct scenario *scenario,
                                  const struct statement *statement, struct error *error)
{
    for (; statement != NULL; statement = statement->next) {
        const char *what = missing(statement);
        if (what != NULL)
            return fail(scenario, statement->line, what, error);
        enum error_code code = check_list(scenario, statement->inner, error);
        if (code != ERROR_NONE)
            return code;
    }
    return ERROR_NONE;
}

enum error_code scenario_supported(const struct scenario *scenario, struct error *error)
{
    if (scenario->spares != 0)
        return fail(scenario, scenario->spares_line, "spares", error);
    return check_list(scenario, scenario->first, error);
}
