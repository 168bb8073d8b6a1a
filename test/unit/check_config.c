/* check_config.c - the configuration parser, over a table that has nothing to do with Raft. */
#include "common/config.h"

#include <stdio.h>

#include "common/rng.h"
#include "test/unit/directory.h"
#include "test/unit/unit.h"

enum { GUESTS_MAX = 4 };

struct inn {
    u64 rooms;
    u64 cellar;
    u64 last_call;
    struct quantity_range breakfast;
    bool dogs;
    u32 wine;
    char *sign;
    size_t guest_count;
    char guests[GUESTS_MAX][64];
};

static const char *const wines[] = {"red", "white", "none", NULL};

static const struct config_key keys[] = {
    {"rooms", CONFIG_U64, CONFIG_RUNTIME, offsetof(struct inn, rooms), 1, 99, "12", NULL,
     "How many rooms there are."},
    {"cellar-bytes", CONFIG_BYTES, CONFIG_RUNTIME, offsetof(struct inn, cellar), KIB, 0, "64KiB",
     NULL, "How much fits into the cellar."},
    {"last-call", CONFIG_DURATION, CONFIG_RUNTIME, offsetof(struct inn, last_call), NS_PER_MS,
     3600 * NS_PER_S, "250ms", NULL, "How long guests may stay."},
    {"breakfast", CONFIG_DURATION_RANGE, 0, offsetof(struct inn, breakfast), NS_PER_MS,
     60 * NS_PER_S, "150ms..300ms", NULL, "When breakfast is served."},
    {"dogs", CONFIG_BOOL, CONFIG_RUNTIME, offsetof(struct inn, dogs), 0, 0, "no", NULL,
     "Whether dogs are welcome."},
    {"wine", CONFIG_WORD, CONFIG_RUNTIME, offsetof(struct inn, wine), 0, 0, "white", wines,
     "Which wine there is."},
    {"sign", CONFIG_STRING, CONFIG_RUNTIME, offsetof(struct inn, sign), 0, 40, "At the Raft", NULL,
     "What stands over the door."},
    {"guest", CONFIG_LINE, CONFIG_REPEATED, 0, 0, 0, NULL, NULL, "One line for each guest."},
    {"owner", CONFIG_LINE, 0, 0, 0, 0, NULL, NULL, "Who owns it."},
};

static enum error_code take_line(void *values, const struct config_key *key,
                                 const struct config_line *line, struct error *error)
{
    struct inn *inn = values;
    if (strcmp(key->name, "owner") == 0)
        return ERROR_NONE;
    if (line->count != 3)
        return error_set(error, ERROR_USAGE, "%zu words; expected NAME room=N", line->count - 1);
    const char *room = config_word_value(line->words[2], "room");
    if (room == NULL)
        return error_set(error, ERROR_USAGE, "\"%s\"; expected room=N", line->words[2]);
    ck_assert_uint_lt(inn->guest_count, GUESTS_MAX);
    snprintf(inn->guests[inn->guest_count++], sizeof(inn->guests[0]), "%.20s@%.20s:%u",
             line->words[1], room, line->number);
    return ERROR_NONE;
}

static const struct config_table table = {keys, ARRAY_LENGTH(keys), take_line};

static void inn_init(struct inn *inn)
{
    memset(inn, 0xff, sizeof(*inn)); /* config_init may not rely on what was there */
    inn->guest_count = 0;
    config_init(&table, inn);
}

static enum error_code parse(struct inn *inn, const char *text, struct error *error)
{
    error_clear(error);
    return config_parse(&table, inn, "inn.conf", text, strlen(text), error);
}

START_TEST(init__defaults)
{
    struct inn inn;
    inn_init(&inn);
    ck_assert_uint_eq(inn.rooms, 12);
    ck_assert_uint_eq(inn.cellar, 65536);
    ck_assert_uint_eq(inn.last_call, 250 * NS_PER_MS);
    ck_assert_uint_eq(inn.breakfast.low, 150 * NS_PER_MS);
    ck_assert_uint_eq(inn.breakfast.high, 300 * NS_PER_MS);
    ck_assert(!inn.dogs);
    ck_assert_uint_eq(inn.wine, 1);
    ck_assert_str_eq(inn.sign, "At the Raft");
    config_deinit(&table, &inn);
    ck_assert_ptr_null(inn.sign);
}
END_TEST

START_TEST(parse__all_types)
{
    struct inn inn;
    struct error error;
    inn_init(&inn);
    ck_assert_msg(parse(&inn,
                        "# an inn\n"
                        "\n"
                        "   rooms   7   # seven\r\n"
                        "Cellar-Bytes 2mb\n"
                        "last-call 1.5s\n"
                        "\tbreakfast\t1s..2s\n"
                        "dogs yes\n"
                        "wine RED\n"
                        "sign \"To the \\\"Log\\\" #1\\x21\"\n"
                        "guest anna room=1\n"
                        "guest 'bob o\\'brien' room=22",
                        &error) == ERROR_NONE,
                  "%s", error.text);
    ck_assert_uint_eq(inn.rooms, 7);
    ck_assert_uint_eq(inn.cellar, 2 * MIB);
    ck_assert_uint_eq(inn.last_call, 1500 * NS_PER_MS);
    ck_assert_uint_eq(inn.breakfast.low, NS_PER_S);
    ck_assert(inn.dogs);
    ck_assert_uint_eq(inn.wine, 0);
    ck_assert_str_eq(inn.sign, "To the \"Log\" #1!");
    ck_assert_uint_eq(inn.guest_count, 2);
    ck_assert_str_eq(inn.guests[0], "anna@1:10");
    ck_assert_str_eq(inn.guests[1], "bob o'brien@22:11");
    config_deinit(&table, &inn);
}
END_TEST

START_TEST(parse__nothing_is_the_defaults)
{
    struct inn inn;
    struct error error;
    inn_init(&inn);
    ck_assert_int_eq(config_parse(&table, &inn, "inn.conf", "", 0, &error), ERROR_NONE);
    ck_assert_int_eq(config_parse(&table, &inn, "inn.conf", NULL, 0, &error), ERROR_NONE);
    ck_assert_int_eq(parse(&inn, "\n\n  # only a comment", &error), ERROR_NONE);
    ck_assert_uint_eq(inn.rooms, 12);
    config_deinit(&table, &inn);
}
END_TEST

START_TEST(parse__each_refusal_says_where_and_what)
{
    const struct {
        const char *text;
        const char *sentence;
    } cases[] = {
        {"\nroom 7", "inn.conf:2: unknown key \"room\"; did you mean \"rooms\"?"},
        {"brekfast 1s", "inn.conf:1: unknown key \"brekfast\"; did you mean \"breakfast\"?"},
        {"quorum 3", "inn.conf:1: unknown key \"quorum\""},
        {"rooms 7\n#\nrooms 8", "inn.conf:3: rooms: line 1 has given it already; expected it once"},
        {"owner a\nowner b", "inn.conf:2: owner: line 1 has given it already; expected it once"},
        {"rooms many",
         "inn.conf:1: rooms: \"many\" will not do; expected a whole number from 1 to 99"},
        {"rooms 0", "inn.conf:1: rooms: \"0\" will not do; expected a whole number from 1 to 99"},
        {"rooms 100",
         "inn.conf:1: rooms: \"100\" will not do; expected a whole number from 1 to 99"},
        {"rooms", "inn.conf:1: rooms: 0 values; expected one, a whole number from 1 to 99"},
        {"rooms 1 2", "inn.conf:1: rooms: 2 values; expected one, a whole number from 1 to 99"},
        {"cellar-bytes 1", "inn.conf:1: cellar-bytes: \"1\" will not do; expected a size of at "
                           "least 1KiB, such as 64KiB"},
        {"last-call 150", "inn.conf:1: last-call: \"150\" will not do; expected a duration from "
                          "1ms to 1h, such as 250ms"},
        {"breakfast 2s..1s", "inn.conf:1: breakfast: \"2s..1s\" will not do; expected a range of "
                             "durations from 1ms to 1m, such as 150ms..300ms"},
        {"breakfast 1s..2m", "inn.conf:1: breakfast: \"1s..2m\" will not do; expected a range of "
                             "durations from 1ms to 1m, such as 150ms..300ms"},
        {"dogs maybe", "inn.conf:1: dogs: \"maybe\" will not do; expected yes or no"},
        {"wine blue", "inn.conf:1: wine: \"blue\" will not do; expected red, white or none"},
        {"sign 12345678901234567890123456789012345678901",
         "inn.conf:1: sign: \"12345678901234567890123456789012345678901\" will not do; expected a "
         "text with a length from 0 to 40"},
        {"guest anna", "inn.conf:1: guest: 1 words; expected NAME room=N"},
        {"guest anna roof=1", "inn.conf:1: guest: \"roof=1\"; expected room=N"},
        {"sign \"open", "inn.conf:1: a quote is never closed; expected \""},
        {"sign 'open\\'", "inn.conf:1: a quote is never closed; expected '"},
        {"sign \"a\"b", "inn.conf:1: \"b\" follows a closing quote; expected a blank"},
        {"sign \"\\q\"", "inn.conf:1: bad escape \"\\q\"; expected one of \\\" \\\\ \\n \\r \\t "
                         "\\a \\b \\xHH"},
        {"sign \"\\xz0\"",
         "inn.conf:1: bad escape \"\\x\"; expected two hexadecimal digits, not 00"},
        {"sign \"\\x00\"",
         "inn.conf:1: bad escape \"\\x\"; expected two hexadecimal digits, not 00"},
        {"sign \"\\", "inn.conf:1: bad escape \"\\\"; expected one of \\\" \\\\ \\n \\r \\t "
                      "\\a \\b \\xHH"},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
        struct inn inn;
        struct error error;
        inn_init(&inn);
        ck_assert_msg(parse(&inn, cases[i].text, &error) == ERROR_CONFIG, "accepted %s",
                      cases[i].text);
        ck_assert_str_eq(error.text, cases[i].sentence);
        ck_assert_int_eq(error.code, ERROR_CONFIG);
        config_deinit(&table, &inn);
    }
}
END_TEST

START_TEST(parse__bounds_of_lines_and_words)
{
    struct inn inn;
    struct error error;
    char text[CONFIG_LINE_SIZE + 16];
    inn_init(&inn);
    memset(text, '#', sizeof(text));
    ck_assert_int_eq(config_parse(&table, &inn, "f", text, CONFIG_LINE_SIZE - 1, &error),
                     ERROR_NONE);
    ck_assert_int_eq(config_parse(&table, &inn, "f", text, CONFIG_LINE_SIZE, &error), ERROR_CONFIG);
    ck_assert_str_eq(error.text, "f:1: the line is too long; expected less than 4096 bytes");
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = i % 2 == 0 ? 'w' : ' ';
    ck_assert_int_eq(config_parse(&table, &inn, "f", text, CONFIG_WORDS_MAX * 2 + 2, &error),
                     ERROR_CONFIG);
    ck_assert_str_eq(error.text, "f:1: more than 64 words");
    ck_assert_int_eq(config_parse(&table, &inn, "f", "rooms\0 1", 8, &error), ERROR_CONFIG);
    ck_assert_str_eq(error.text, "f:1: a NUL byte; expected text");
    config_deinit(&table, &inn);
}
END_TEST

START_TEST(parse__required_keys)
{
    struct {
        u64 id;
    } values;
    const struct config_key only = {"id", CONFIG_U64, CONFIG_REQUIRED, 0, 0, 0, "0", NULL, "Id."};
    const struct config_table small = {&only, 1, NULL};
    struct error error;
    config_init(&small, &values);
    ck_assert_int_eq(config_parse(&small, &values, "f", "# id 3\n", 7, &error), ERROR_CONFIG);
    ck_assert_str_eq(error.text, "f: \"id\" is missing; expected a line of it");
    ck_assert_int_eq(config_parse(&small, &values, "f", "id 3\n", 5, &error), ERROR_NONE);
    ck_assert_uint_eq(values.id, 3);
    config_deinit(&small, &values);
}
END_TEST

START_TEST(load__files_and_what_is_none)
{
    char *root = directory_make();
    char path[1100];
    snprintf(path, sizeof(path), "%s/inn.conf", root);
    struct inn inn;
    struct error error;
    inn_init(&inn);
    ck_assert_int_eq(config_load(&table, &inn, path, &error), ERROR_MISSING);
    ck_assert_ptr_nonnull(strstr(error.text, "inn.conf: No such file or directory"));
    ck_assert_int_eq(config_load(&table, &inn, root, &error), ERROR_IO); /* a directory */

    FILE *file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    for (int i = 0; i < 10000; i++) /* more than one read */
        fprintf(file, "# line %d\n", i);
    fprintf(file, "rooms 33\nwine pink\n");
    fclose(file);
    ck_assert_int_eq(config_load(&table, &inn, path, &error), ERROR_CONFIG);
    ck_assert_uint_eq(inn.rooms, 33);
    ck_assert_ptr_nonnull(strstr(error.text, "/inn.conf:10002: wine: \"pink\""));

    ck_assert_int_eq(truncate(path, CONFIG_FILE_SIZE + 1), 0);
    ck_assert_int_eq(config_load(&table, &inn, path, &error), ERROR_CONFIG);
    ck_assert_ptr_nonnull(strstr(error.text, "more than 1048576 bytes"));
    config_deinit(&table, &inn);
    directory_remove(root);
}
END_TEST

START_TEST(set__running_and_not)
{
    struct inn inn;
    struct error error;
    inn_init(&inn);
    ck_assert_int_eq(config_set(&table, &inn, "ROOMS", "20", true, &error), ERROR_NONE);
    ck_assert_uint_eq(inn.rooms, 20);
    ck_assert_int_eq(config_set(&table, &inn, "breakfast", "1s", true, &error), ERROR_CONFIG);
    ck_assert_str_eq(error.text, "breakfast: cannot be changed while the server runs");
    ck_assert_int_eq(config_set(&table, &inn, "breakfast", "1s", false, &error), ERROR_NONE);
    ck_assert_uint_eq(inn.breakfast.high, NS_PER_S);
    ck_assert_int_eq(config_set(&table, &inn, "rooms", "0", true, &error), ERROR_CONFIG);
    ck_assert_uint_eq(inn.rooms, 20); /* as it was */
    ck_assert_int_eq(config_set(&table, &inn, "sign", "New", true, &error), ERROR_NONE);
    ck_assert_int_eq(config_set(&table, &inn, "sign", inn.sign + 1, true, &error), ERROR_NONE);
    ck_assert_str_eq(inn.sign, "ew");
    ck_assert_int_eq(config_set(&table, &inn, "guest", "x", false, &error), ERROR_CONFIG);
    ck_assert_str_eq(error.text, "guest: can be given in the file only");
    ck_assert_int_eq(config_set(&table, &inn, "wines", "red", true, &error), ERROR_CONFIG);
    ck_assert_str_eq(error.text, "unknown key \"wines\"; did you mean \"wine\"?");
    config_deinit(&table, &inn);
}
END_TEST

START_TEST(nearest__slips_and_other_words)
{
    ck_assert_str_eq(config_nearest(&table, "celar-byte")->name, "cellar-bytes");
    ck_assert_str_eq(config_nearest(&table, "LAST_CALL")->name, "last-call");
    ck_assert_str_eq(config_nearest(&table, "dgos")->name, "dogs");
    ck_assert_ptr_null(config_nearest(&table, "heartbeat"));
    char longest[CONFIG_LINE_SIZE];
    memset(longest, 'x', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    (void)config_nearest(&table, longest); /* any answer will do, but there is one */
}
END_TEST

START_TEST(format__is_read_back)
{
    struct inn inn;
    struct inn back;
    struct error error;
    inn_init(&inn);
    inn_init(&back);
    ck_assert_int_eq(parse(&inn,
                           "rooms 7\ncellar-bytes 3000\nlast-call 1.5s\nbreakfast 1s..2s\n"
                           "dogs yes\nwine none\nsign 'a b'\n",
                           &error),
                     ERROR_NONE);
    static const char *const expected[] = {"7",    "3000", "1500ms", "1s..2s", "yes",
                                           "none", "a b",  "",       ""};
    for (size_t i = 0; i < ARRAY_LENGTH(keys); i++) {
        struct buffer text;
        buffer_init(&text);
        config_format(&keys[i], &inn, &text);
        buffer_append(&text, "", 1);
        ck_assert_str_eq((const char *)text.data, expected[i]);
        if (keys[i].type != CONFIG_LINE)
            ck_assert_int_eq(
                config_set(&table, &back, keys[i].name, (const char *)text.data, false, &error),
                ERROR_NONE);
        buffer_deinit(&text);
    }
    ck_assert_uint_eq(back.last_call, inn.last_call);
    ck_assert_uint_eq(back.wine, inn.wine);
    ck_assert_str_eq(back.sign, inn.sign);
    config_deinit(&table, &inn);
    config_deinit(&table, &back);
}
END_TEST

START_TEST(parse__any_bytes_are_taken_or_refused)
{
    /* Pieces of good files in any order: deep into every branch, and never beyond a buffer. */
    static const char *const pieces[] = {"rooms", "wine", "sign",      "guest",  "breakfast", " ",
                                         "\n",    "\"",   "'",         "\\",     "\\x",       "41",
                                         "..",    "1s",   "#",         "red",    "7",         "\t",
                                         "\r",    "\xff", "last-call", "room=1", "dogs yes\n"};
    struct rng rng;
    rng_init(&rng, 11);
    int taken = 0;
    for (int i = 0; i < 20000; i++) {
        struct buffer text;
        buffer_init(&text);
        for (u64 n = rng_range(&rng, 0, 8); n > 0; n--)
            buffer_append_string(&text, pieces[rng_range(&rng, 0, ARRAY_LENGTH(pieces) - 1)]);
        struct inn inn;
        struct error error;
        inn_init(&inn);
        enum error_code code =
            config_parse(&table, &inn, "f", (const char *)text.data, text.size, &error);
        ck_assert(code == ERROR_NONE ||
                  (code == ERROR_CONFIG && strncmp(error.text, "f:", 2) == 0));
        taken += code == ERROR_NONE;
        config_deinit(&table, &inn);
        buffer_deinit(&text);
    }
    ck_assert(taken > 1000 && taken < 19000);
}
END_TEST

START_TEST(word_value__name_and_rest)
{
    ck_assert_str_eq(config_word_value("client=127.0.0.1:6001", "client"), "127.0.0.1:6001");
    ck_assert_str_eq(config_word_value("client=", "client"), "");
    ck_assert_ptr_null(config_word_value("client", "client"));
    ck_assert_ptr_null(config_word_value("clients=1", "client"));
    ck_assert_ptr_null(config_word_value("", "client"));
}
END_TEST

START_TEST(split_words__in_place)
{
    char text[] = "a \"b c\"  '' \"\" d#e #f";
    char *words[8];
    size_t count;
    struct error error;
    ck_assert_int_eq(config_split_words(text, words, ARRAY_LENGTH(words), &count, &error),
                     ERROR_NONE);
    static const char *const expected[] = {"a", "b c", "", "", "d#e"};
    ck_assert_uint_eq(count, ARRAY_LENGTH(expected));
    for (size_t i = 0; i < count; i++)
        ck_assert_str_eq(words[i], expected[i]);
}
END_TEST

UNIT_MAIN("config", init__defaults, parse__all_types, parse__nothing_is_the_defaults,
          parse__each_refusal_says_where_and_what, parse__bounds_of_lines_and_words,
          parse__required_keys, parse__any_bytes_are_taken_or_refused, load__files_and_what_is_none,
          set__running_and_not, nearest__slips_and_other_words, format__is_read_back,
          word_value__name_and_rest, split_words__in_place)
