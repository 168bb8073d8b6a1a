/* check_resolver.c - names and numbers; a name service that does not answer in time. */
#include "common/resolver.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "test/unit/unit.h"

/* Stands in for the C library's: "slow" is answered when the test lets it be, and "unknown",
 * "later" are as a name service has it. All others go to numbers. */
static _Atomic bool let_go;
static _Atomic int asked;

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found);

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    if (host == NULL || (hints->ai_flags & AI_NUMERICHOST) != 0)
        return __real_getaddrinfo(host, port, hints, found);
    asked++;
    if (strcmp(host, "unknown") == 0)
        return EAI_NONAME;
    if (strcmp(host, "later") == 0)
        return EAI_AGAIN;
    while (strcmp(host, "slow") == 0 && !let_go)
        usleep(1000);
    return __real_getaddrinfo("127.0.0.1", port, hints, found);
}

static u64 soon(void)
{
    return clock_monotonic_ns() + 20 * NS_PER_MS;
}

static u64 patience(void)
{
    return clock_monotonic_ns() + 60 * NS_PER_S;
}

static enum error_code ask(struct resolver *resolver, const char *address, u64 deadline_ns,
                           struct error *error)
{
    struct addrinfo *found = NULL;
    enum error_code code = resolver_ask(resolver, address, false, -1, deadline_ns, &found, error);
    if (code == ERROR_NONE)
        freeaddrinfo(found);
    return code;
}

START_TEST(ask__numbers_need_no_wait)
{
    struct resolver resolver = {0};
    struct error error;
    asked = 0;
    ck_assert_int_eq(ask(&resolver, "127.0.0.1:7001", 0, &error), ERROR_NONE);
    ck_assert_int_eq(ask(&resolver, "[::1]:7001", 0, &error), ERROR_NONE);
    ck_assert_int_eq(asked, 0);
    ck_assert_ptr_null(resolver.question);
}
END_TEST

START_TEST(ask__what_is_no_address)
{
    static const char *const addresses[] = {"", "host", "host:", ":7001", "[]:1", "host:123456789"};
    struct resolver resolver = {0};
    struct error error;
    for (size_t i = 0; i < ARRAY_LENGTH(addresses); i++)
        ck_assert_int_eq(ask(&resolver, addresses[i], patience(), &error), ERROR_CONFIG);
    ck_assert_int_eq(ask(&resolver, "unknown:1", patience(), &error), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error.text, "resolve unknown:1: "));
    ck_assert_int_eq(ask(&resolver, "later:1", patience(), &error), ERROR_UNAVAILABLE);
    resolver_deinit(&resolver);
}
END_TEST

START_TEST(ask__a_slow_name_is_asked_once)
{
    struct resolver resolver = {0};
    struct error error;
    asked = 0;
    let_go = false;
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(ask(&resolver, "slow:1", soon(), &error), ERROR_UNAVAILABLE);
        ck_assert_ptr_nonnull(strstr(error.text, "has not answered as yet"));
    }
    let_go = true;
    ck_assert_int_eq(ask(&resolver, "slow:1", patience(), &error), ERROR_NONE);
    ck_assert_int_eq(asked, 1);
    resolver_deinit(&resolver);
}
END_TEST

START_TEST(ask__woken_while_it_waits)
{
    struct resolver resolver = {0};
    struct error error;
    struct addrinfo *found;
    let_go = false;
    int wake = eventfd(1, EFD_NONBLOCK);
    ck_assert_int_eq(resolver_ask(&resolver, "slow:1", false, wake, patience(), &found, &error),
                     ERROR_BUSY);
    /* It is left to itself, with what it uses. */
    resolver_deinit(&resolver);
    let_go = true;
    ck_assert_int_eq(ask(&resolver, "quick:1", patience(), &error), ERROR_NONE);
    (void)close(wake);
}
END_TEST

UNIT_MAIN("resolver", ask__numbers_need_no_wait, ask__what_is_no_address,
          ask__a_slow_name_is_asked_once, ask__woken_while_it_waits)
