/* check_linearizability.c - tests of the linearizability checker.
 *
 * Histories are written a line an operation, short enough to be judged by eye. */
#include "test/history/linearizability.h"

#include <stdio.h>
#include <string.h>

#include "test/unit/unit.h"

/* ---- histories by hand ---- */

static const struct linearizability_limits unlimited;

static const struct text *text_of(struct history *history, const char *word)
{
    return strcmp(word, "-") == 0 ? NULL : history_text(history, word, strlen(word));
}

static enum operation_kind kind_of(const char *word)
{
    for (int kind = 0; kind < OPERATION_KIND_COUNT; kind++)
        if (strcmp(word, operation_kind_word((enum operation_kind)kind)) == 0)
            return (enum operation_kind)kind;
    ck_abort_msg("no operation: %s", word);
}

/* Adds "KEY T0 T1 OP ARGUMENTS... ANSWER": "x 10 20 put a", "x 10 20 get a" (- is absent),
 * "x 1 2 cas a b yes", "x 1 2 incr 1 5", "x 1 2 append a 3" (- not told), "x 1 2 del yes".
 * A T1 of ? makes it unknown, ! failed; then answers are left out. The client is T0. */
static void add(struct history *history, const char *line)
{
    char words[7][32];
    memset(words, 0, sizeof(words));
    int count = sscanf(line, "%31s %31s %31s %31s %31s %31s %31s", words[0], words[1], words[2],
                       words[3], words[4], words[5], words[6]);
    struct operation operation = {.kind = kind_of(words[3]), .status = OPERATION_OK};
    operation.key = text_of(history, words[0]);
    operation.t0 = strtoull(words[1], NULL, 10);
    operation.client = operation.t0;
    if (words[2][0] == '?')
        operation.status = OPERATION_UNKNOWN;
    else if (words[2][0] == '!')
        operation.status = OPERATION_FAIL;
    else
        operation.t1 = strtoull(words[2], NULL, 10);
    const char *answer = count > 4 ? words[count - 1] : "";
    operation.ok = operation.found = strcmp(answer, "yes") == 0;
    operation.number = strtoll(answer, NULL, 10);
    operation.number_known = answer[0] != '-';
    if (operation.kind == OPERATION_GET) {
        operation.out = text_of(history, answer);
        operation.found = operation.out != NULL;
    } else if (operation.kind == OPERATION_CAS) {
        operation.expected = text_of(history, words[4]);
        operation.value = text_of(history, words[5]);
    } else if (operation.kind == OPERATION_INCR) {
        operation.delta = strtoll(words[4], NULL, 10);
    } else if (operation.kind != OPERATION_DEL) {
        operation.value = text_of(history, words[4]);
    }
    history_add(history, &operation);
}

static void add_lines(struct history *history, const char *lines)
{
    while (*lines != '\0') {
        char line[128];
        size_t size = strcspn(lines, ";");
        ck_assert_uint_lt(size, sizeof(line));
        memcpy(line, lines, size);
        line[size] = '\0';
        add(history, line);
        lines += size + (lines[size] == ';');
    }
}

static enum verdict judge(const char *lines)
{
    struct history history;
    struct linearizability_result result;
    history_init(&history);
    add_lines(&history, lines);
    linearizability_check(&history, &unlimited, &result);
    linearizability_result_deinit(&result);
    history_deinit(&history);
    return result.verdict;
}

#define GOOD(lines) ck_assert_int_eq(judge(lines), LINEARIZABLE)
#define BAD(lines)  ck_assert_int_eq(judge(lines), NOT_LINEARIZABLE)

START_TEST(linearizability_check__nothing_and_reads_of_nothing)
{
    GOOD("");
    GOOD("x 1 2 get -");
    BAD("x 1 2 get a");
}
END_TEST

START_TEST(linearizability_check__a_read_sees_the_last_write)
{
    GOOD("x 1 2 put a;x 3 4 put b;x 5 6 get b");
    BAD("x 1 2 put a;x 3 4 put b;x 5 6 get a");
    BAD("x 1 2 put a;x 3 4 get -");
}
END_TEST

START_TEST(linearizability_check__concurrent_operations_take_either_order)
{
    GOOD("x 1 9 put a;x 2 8 put b;x 10 11 get a");
    GOOD("x 1 9 put a;x 2 8 put b;x 10 11 get b");
    GOOD("x 1 9 put a;x 2 3 get -;x 4 5 get a");
    BAD("x 1 9 put a;x 2 3 get a;x 4 5 get -");
}
END_TEST

START_TEST(linearizability_check__what_one_client_saw_no_other_may_unsee)
{
    BAD("x 1 2 put a;x 3 20 put b;x 4 5 get b;x 6 7 get a");
    GOOD("x 1 2 put a;x 3 20 put b;x 4 6 get b;x 5 7 get a");
    BAD("x 1 20 put a;x 2 20 put b;x 3 4 get a;x 5 6 get b;x 7 8 get a");
}
END_TEST

/* An answer and an invocation in the same instant are concurrent. */
START_TEST(linearizability_check__equal_times_are_concurrent)
{
    GOOD("x 1 5 put a;x 5 9 get -");
    GOOD("x 1 5 put a;x 5 9 get a");
    BAD("x 1 5 put a;x 6 9 get -");
    GOOD("x 5 5 get a;x 5 5 put a");
    GOOD("x 5 5 get -;x 5 5 put a");
}
END_TEST

START_TEST(linearizability_check__an_unknown_write_may_take_effect_late_once_or_never)
{
    GOOD("x 1 ? put a;x 2 3 get -;x 4 5 get -");
    GOOD("x 1 ? put a;x 2 3 put b;x 4 5 get b;x 6 7 put c;x 8 9 get a;x 10 11 get a");
    BAD("x 1 ? put a;x 2 3 get a;x 4 5 put b;x 6 7 get a");
    GOOD("x 1 ? put a;x 1 ? put a;x 2 3 get a;x 4 5 put b;x 6 7 get a");
    BAD("x 2 3 get a;x 4 ? put a");
    GOOD("x 2 4 get a;x 4 ? put a");
}
END_TEST

START_TEST(linearizability_check__an_unknown_operation_of_each_kind)
{
    BAD("x 1 2 put a;x 3 4 get -");
    GOOD("x 1 2 put a;x 1 ? del;x 3 4 get -");
    BAD("x 1 2 put a;x 1 ? del;x 3 4 get -;x 5 6 put b;x 7 8 get -");
    GOOD("x 1 2 put a;x 1 ? cas a b;x 3 4 get a;x 5 6 get b");
    BAD("x 1 2 put a;x 1 ? cas c b;x 5 6 get b");
    GOOD("x 1 2 put a;x 1 ? append b;x 3 4 get a;x 5 6 get ab");
    BAD("x 1 2 put a;x 1 ? append b;x 5 6 get abb");
    GOOD("x 1 2 put 7;x 1 ? incr 1;x 3 4 get 7;x 5 6 get 8");
    BAD("x 1 2 put 7;x 1 ? incr 1;x 5 6 get 9");
    GOOD("x 1 2 put a;x 1 ? incr 1;x 5 6 get a");
    GOOD("x 1 ? get;x 1 2 put a");
}
END_TEST

START_TEST(linearizability_check__unknown_ones_build_on_each_other)
{
    GOOD("x 1 ? put a;x 1 ? append b;x 1 ? cas ab 7;x 1 ? incr 2;x 5 6 get 9");
    BAD("x 1 ? put a;x 1 ? append b;x 1 ? cas ab 7;x 5 6 get 9");
    BAD("x 1 ? put a;x 7 ? append b;x 1 ? cas ab 7;x 1 ? incr 2;x 5 6 get 9");
}
END_TEST

START_TEST(linearizability_check__a_failed_write_is_never_seen)
{
    BAD("x 1 ! put a;x 3 4 get a");
    GOOD("x 1 ! put a;x 3 4 get -");
    BAD("x 1 2 put a;x 3 ! append b;x 5 6 get ab");
}
END_TEST

START_TEST(linearizability_check__cas_loses_no_update)
{
    GOOD("x 1 2 put a;x 3 9 cas a b yes;x 3 9 cas a c no;x 10 11 get b");
    BAD("x 1 2 put a;x 3 9 cas a b yes;x 3 9 cas a c yes;x 10 11 get b");
    BAD("x 1 2 put a;x 3 4 cas a b no");
    BAD("x 1 2 put a;x 3 4 cas b c yes");
    GOOD("x 1 2 cas - a yes;x 3 4 get a");
    BAD("x 1 2 cas - a yes;x 3 4 cas - b yes");
    BAD("x 1 2 put a;x 3 4 cas a b yes;x 5 6 get a");
}
END_TEST

START_TEST(linearizability_check__incr_counts_each_once)
{
    GOOD("x 1 9 incr 1 2;x 1 9 incr 1 1;x 10 11 get 2");
    BAD("x 1 9 incr 1 1;x 1 9 incr 1 1");
    BAD("x 1 2 incr 1 1;x 3 4 incr 1 3");
    GOOD("x 1 2 incr 1 1;x 1 ? incr 1;x 3 4 incr 1 3");
    BAD("x 1 2 incr 1 2;x 3 4 incr 1 1");
    GOOD("x 1 2 put -5;x 3 4 incr 5 0;x 5 6 get 0");
    BAD("x 1 2 put a;x 3 4 incr 1 1");
    BAD("x 1 2 put 07;x 3 4 incr 1 8");
    GOOD("x 1 2 put 9223372036854775807;x 3 ? incr 1;x 5 6 get 9223372036854775807");
    BAD("x 1 2 put 9223372036854775807;x 3 ? incr 1;x 5 6 get -9223372036854775808");
}
END_TEST

START_TEST(linearizability_check__append_keeps_order_and_length)
{
    GOOD("x 1 2 append a 1;x 3 4 append b 2;x 5 6 get ab");
    BAD("x 1 2 append a 1;x 3 4 append b 2;x 5 6 get ba");
    GOOD("x 1 4 append a -;x 1 4 append b -;x 5 6 get ba");
    BAD("x 1 4 append a 1;x 1 4 append b 2;x 5 6 get ba");
    BAD("x 1 2 append a 1;x 3 4 append b 1");
    GOOD("x 1 2 put 1;x 3 4 append 2 2;x 5 6 incr 1 13");
}
END_TEST

START_TEST(linearizability_check__long_values_are_compared_whole)
{
    GOOD("x 1 2 append abcdefghijklmnop 16;x 3 4 append qrstuvwxyzabcde 31;"
         "x 5 6 get abcdefghijklmnopqrstuvwxyzabcde");
    BAD("x 1 2 append abcdefghijklmnop 16;x 3 4 append qrstuvwxyzabcde 31;"
        "x 5 6 get abcdefghijklmnopqrstuvwxyzabced");
}
END_TEST

START_TEST(linearizability_check__del_says_what_was_there)
{
    GOOD("x 1 2 put a;x 3 4 del yes;x 5 6 del no;x 7 8 get -");
    BAD("x 1 2 put a;x 3 4 del no");
    BAD("x 1 2 del yes");
    BAD("x 1 2 put a;x 3 9 del yes;x 3 9 del yes");
    GOOD("x 1 2 put a;x 3 4 del yes;x 5 6 append b 1;x 7 8 del yes;x 9 10 incr 1 1");
}
END_TEST

/* A write of unknown outcome whose value nobody reads, but whose presence somebody noticed. */
START_TEST(linearizability_check__unread_writes_still_count)
{
    GOOD("x 1 ? put a;x 2 3 del yes");
    BAD("x 2 3 del yes;x 4 ? put a");
    GOOD("x 1 2 put a;x 1 ? put b;x 3 4 cas a c no");
    BAD("x 1 2 put a;x 3 4 cas a c no;x 5 ? put b");
    GOOD("x 1 ? put ab;x 3 4 append c 3");
    GOOD("x 1 ? put v;x 1 ? cas v b;x 5 6 get b");
    GOOD("x 1 ? put 6;x 1 ? incr 1;x 5 6 get 7");
    GOOD("x 1 ? put 0;x 2 3 put a;x 4 5 incr 4 4");
    GOOD("x 1 2 put a;x 3 ? put a;x 3 4 put b;x 5 6 cas b c no;x 7 8 get a");
    BAD("x 1 2 put a;x 3 4 put z;x 5 6 get a");
    GOOD("x 1 2 put a;x 3 7 put z;x 5 6 get a");
}
END_TEST

/* A write of nothing is no twin of one of a value that nobody asks for: that it is gone is seen. */
START_TEST(linearizability_check__writes_of_nothing_are_seen)
{
    BAD("x 1 2 put -;x 3 4 put a;x 5 6 get -");
    GOOD("x 1 2 put c;x 3 4 cas - k no;x 5 9 put a;x 6 8 put -;x 10 11 get -");
    GOOD("x 1 2 put c;x 3 4 cas - k no;x 5 8 put a;x 6 9 put -;x 10 11 get -");
    GOOD("x 1 2 put c;x 3 4 cas - k no;x 5 ? cas c a;x 6 ? cas c -;x 10 11 get -");
    GOOD("x 1 2 put c;x 3 ? cas c -;x 4 ? cas c a;x 10 11 cas - b no;x 12 13 cas c b no");
    BAD("x 1 2 put c;x 3 4 cas c - yes;x 5 6 cas - b no");
}
END_TEST

START_TEST(linearizability_check__keys_are_judged_apart)
{
    GOOD("x 1 2 put a;y 3 4 get -;y 5 6 put b;x 7 8 get a");
    BAD("x 1 2 put a;y 3 4 get -;y 5 6 put b;x 7 8 get a;y 9 10 get a");
}
END_TEST

/* ---- what is shown ---- */

START_TEST(linearizability_check__shows_the_smallest_part)
{
    struct history history;
    struct linearizability_result result;
    history_init(&history);
    for (u64 t = 0; t < 200; t += 4) {
        char line[64];
        snprintf(line, sizeof(line), "x %ju %ju put v%ju", (uintmax_t)t, (uintmax_t)t + 1,
                 (uintmax_t)t);
        add(&history, line);
        snprintf(line, sizeof(line), "x %ju %ju get v%ju", (uintmax_t)t + 2, (uintmax_t)t + 3,
                 (uintmax_t)t);
        add(&history, line);
    }
    add_lines(&history, "x 200 201 put old;x 202 203 put new;x 204 205 get old;x 206 207 get w");
    linearizability_check(&history, &unlimited, &result);
    ck_assert_int_eq(result.verdict, NOT_LINEARIZABLE);
    ck_assert_ptr_eq(result.key, history_text(&history, "x", 1));
    buffer_append(&result.text, "", 1);
    const char *text = (const char *)result.text.data;
    ck_assert_msg(strstr(text, "3 of its 104 operations") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "put \"old\"\n") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "put \"new\"\n") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "get: \"old\"\n") != NULL, "%s", text);
    ck_assert_msg(strstr(text, "v196") == NULL, "%s", text);
    linearizability_result_deinit(&result);
    history_deinit(&history);
}
END_TEST

/* The words for a contradiction are in `text`, which ends with a zero. Returns how many lines. */
static size_t describe(const struct history *history, struct linearizability_result *result)
{
    size_t lines = 0;
    linearizability_check(history, &unlimited, result);
    ck_assert_int_eq(result->verdict, NOT_LINEARIZABLE);
    buffer_append(&result->text, "", 1);
    for (size_t i = 0; i < result->text.size; i++)
        lines += result->text.data[i] == '\n';
    return lines;
}

static void ck_says(const struct linearizability_result *result, const char *words)
{
    const char *text = (const char *)result->text.data;
    ck_assert_msg(strstr(text, words) != NULL, "\"%s\" is missing in\n%s", words, text);
}

/* Appends of two bytes each, one after the other: "a0", "a1" ... "z9", and again from the start. */
static u64 add_appends(struct history *history, int count)
{
    for (int i = 0; i < count; i++) {
        char line[64];
        snprintf(line, sizeof(line), "x %d %d append %c%c %d", 10 * i, 10 * i + 5,
                 'a' + i / 10 % 26, '0' + i % 10, 2 * (i + 1));
        add(history, line);
    }
    return 10 * (u64)count;
}

static void add_get(struct history *history, u64 t0, u64 t1, const u8 *value, size_t size)
{
    struct operation get = {.kind = OPERATION_GET, .status = OPERATION_OK, .found = true};
    get.client = 77;
    get.key = history_text(history, "x", 1);
    get.out = history_text(history, value, size);
    get.t0 = t0;
    get.t1 = t1;
    history_add(history, &get);
}

/* What 625 appends leave. */
static void appended(u8 value[1250])
{
    for (int i = 0; i < 625; i++) {
        value[2 * i] = (u8)('a' + i / 10 % 26);
        value[2 * i + 1] = (u8)('0' + i % 10);
    }
}

/* One wrong read behind a chain of writes of which each holds the next: a handful is named, and
 * where the two values differ. */
START_TEST(linearizability_check__names_one_wrong_read_of_many_appends)
{
    u8 value[1250];
    appended(value);
    for (int kind = 0; kind < 3; kind++) { /* an old value; one lost on the way; two exchanged */
        struct history history;
        struct linearizability_result result;
        u8 read[1250];
        memcpy(read, value, sizeof(read));
        if (kind == 1)
            memmove(read + 600, read + 602, sizeof(read) - 602);
        if (kind == 2)
            memcpy(read + 602, value + 600, 2), memcpy(read + 600, value + 602, 2);
        history_init(&history);
        u64 end = add_appends(&history, 625);
        add_get(&history, end, end + 1, read, kind == 0 ? 600 : kind == 1 ? 1248 : 1250);
        size_t lines = describe(&history, &result);
        ck_says(&result, "1 of its 626 operations contradict what those before them left\n");
        ck_says(&result, "after 6245 the key holds \"a0a1");
        ck_says(&result, "the 625 operations answered by then allow nothing else");
        ck_says(&result, "the get of client 77 at 6250. Without it\n");
        ck_says(&result, "every order leaves \"a0a1");
        ck_says(&result, kind == 0 ? "the same 600 bytes; then the key's goes on with \"e0e1e2"
                                   : "the same 601 bytes; then the key's goes on with \"0e1e2");
        ck_says(&result, kind == 0   ? "and what was read ends."
                         : kind == 1 ? "and what was read goes on with \"1e2"
                                     : "and what was read goes on with \"1e0");
        ck_says(&result, "625 of the key's operations are left out here.\n");
        ck_assert_uint_lt(lines, 10);
        linearizability_result_deinit(&result);
        history_deinit(&history);
    }
}
END_TEST

/* Whoever is under way when the last read begins may or may not have taken effect by then. */
START_TEST(linearizability_check__names_what_was_under_way)
{
    u8 value[1250];
    struct history history;
    struct linearizability_result result;
    appended(value);
    history_init(&history);
    u64 end = add_appends(&history, 625);
    char line[64];
    snprintf(line, sizeof(line), "x %ju %ju append XY 1252", (uintmax_t)end, (uintmax_t)end + 20);
    add(&history, line);
    memcpy(value, "QQ", 2);
    add_get(&history, end + 5, end + 15, value, sizeof(value));
    size_t lines = describe(&history, &result);
    ck_says(&result, "after 6245 the key holds \"a0a1");
    ck_says(&result, "one order leaves \"a0a1");
    ck_says(&result, "the same 0 bytes");
    ck_assert_uint_lt(lines, 12);
    linearizability_result_deinit(&result);
    history_deinit(&history);
}
END_TEST

/* Deleted at the end of the chain: "nothing" is what is left. */
START_TEST(linearizability_check__names_a_read_of_what_is_deleted)
{
    u8 value[1250];
    struct history history;
    struct linearizability_result result;
    appended(value);
    history_init(&history);
    u64 end = add_appends(&history, 625);
    char line[64];
    snprintf(line, sizeof(line), "x %ju %ju del yes", (uintmax_t)end, (uintmax_t)end + 1);
    add(&history, line);
    add_get(&history, end + 5, end + 6, value, sizeof(value));
    size_t lines = describe(&history, &result);
    ck_says(&result, "every order leaves nothing;");
    ck_assert_uint_lt(lines, 20);
    linearizability_result_deinit(&result);
    history_deinit(&history);
}
END_TEST

/* Where several states are possible nothing can be replaced; few lines are shown all the same. */
START_TEST(linearizability_check__shows_few_lines_of_what_it_cannot_shrink)
{
    u8 value[1250];
    struct history history;
    struct linearizability_result result;
    appended(value);
    history_init(&history);
    u64 end = add_appends(&history, 625);
    add(&history, "x 3 ? append !!");
    add_get(&history, end + 5, end + 6, value, 600);
    size_t lines = describe(&history, &result);
    ck_says(&result, "one order leaves \"a0a1");
    ck_assert_uint_lt(lines, 24);
    linearizability_result_deinit(&result);
    history_deinit(&history);
}
END_TEST

/* ---- limits ---- */

static bool always(void *context)
{
    (*(int *)context)++;
    return true;
}

/* Many concurrent appends of unknown length, and a read that fits none of their orders: there is
 * no way but to try them. */
static void add_hard(struct history *history)
{
    for (int i = 0; i < 20; i++) {
        char line[64];
        snprintf(line, sizeof(line), "x %d 100 append %c -", i, 'a' + i);
        add(history, line);
    }
    add(history, "x 200 201 get abcdefghijklmnopqrts");
    add(history, "x 50 51 get zz");
    add(history, "x 1 ? put z;");
    add(history, "x 1 ? append z");
    add(history, "y 1 2 get -");
}

START_TEST(linearizability_check__gives_up_at_each_limit)
{
    struct history history;
    struct linearizability_result result;
    int asked = 0;
    struct linearizability_limits limits[] = {
        {.steps_max = 1000}, {.memory_max = 256 * KIB}, {.stop = always, .context = &asked}};
    const char *names[] = {"steps", "memory", "time"};
    history_init(&history);
    add_hard(&history);
    for (size_t i = 0; i < ARRAY_LENGTH(limits); i++) {
        linearizability_check(&history, &limits[i], &result);
        ck_assert_int_eq(result.verdict, GAVE_UP);
        ck_assert_str_eq(result.limit, names[i]);
        ck_assert_uint_eq(result.keys, 2);
        ck_assert_uint_eq(result.keys_given_up, 1);
        linearizability_result_deinit(&result);
    }
    ck_assert_int_gt(asked, 0);
    add(&history, "z 1 2 get a");
    linearizability_check(&history, &limits[0], &result);
    ck_assert_int_eq(result.verdict, NOT_LINEARIZABLE);
    linearizability_result_deinit(&result);
    history_deinit(&history);
}
END_TEST

UNIT_MAIN("linearizability", linearizability_check__nothing_and_reads_of_nothing,
          linearizability_check__a_read_sees_the_last_write,
          linearizability_check__concurrent_operations_take_either_order,
          linearizability_check__what_one_client_saw_no_other_may_unsee,
          linearizability_check__equal_times_are_concurrent,
          linearizability_check__an_unknown_write_may_take_effect_late_once_or_never,
          linearizability_check__an_unknown_operation_of_each_kind,
          linearizability_check__unknown_ones_build_on_each_other,
          linearizability_check__a_failed_write_is_never_seen,
          linearizability_check__cas_loses_no_update, linearizability_check__incr_counts_each_once,
          linearizability_check__append_keeps_order_and_length,
          linearizability_check__long_values_are_compared_whole,
          linearizability_check__del_says_what_was_there,
          linearizability_check__unread_writes_still_count,
          linearizability_check__writes_of_nothing_are_seen,
          linearizability_check__keys_are_judged_apart,
          linearizability_check__shows_the_smallest_part,
          linearizability_check__names_one_wrong_read_of_many_appends,
          linearizability_check__names_what_was_under_way,
          linearizability_check__names_a_read_of_what_is_deleted,
          linearizability_check__shows_few_lines_of_what_it_cannot_shrink,
          linearizability_check__gives_up_at_each_limit)
