/* config_words.c - from one line of text to its words, quotes and escapes undone. */
#include <string.h>

#include "common/config.h"

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r';
}

static int hex_digit(char byte)
{
    if (byte >= '0' && byte <= '9')
        return byte - '0';
    byte = (char)(byte | 0x20);
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* Undoes the escape whose backslash is at `from`. Returns what follows it, or NULL. */
static const char *take_escape(const char *from, char *byte, struct error *error)
{
    static const char letters[] = "nrtab\"\\";
    static const char meanings[] = "\n\r\t\a\b\"\\";
    if (from[1] == 'x') {
        int high = hex_digit(from[2]);
        int low = high < 0 ? -1 : hex_digit(from[3]);
        /* A value is text that ends at its NUL, so one inside would cut it unseen. */
        if (low < 0 || (high == 0 && low == 0)) {
            error_set(error, ERROR_FORMAT,
                      "bad escape \"\\x\"; expected two hexadecimal digits, not 00");
            return NULL;
        }
        *byte = (char)(high << 4 | low);
        return from + 4;
    }
    const char *letter = from[1] == '\0' ? NULL : strchr(letters, from[1]);
    if (letter == NULL) {
        error_set(error, ERROR_FORMAT,
                  "bad escape \"\\%.1s\"; expected one of \\\" \\\\ \\n \\r \\t \\a \\b \\xHH",
                  from + 1);
        return NULL;
    }
    *byte = meanings[letter - letters];
    return from + 2;
}

/* Copies the word whose opening quote is at `from` down to `to`, NUL-terminated. Returns what
 * follows the closing quote, or NULL. */
static const char *take_quoted(const char *from, char *to, struct error *error)
{
    char quote = *from++;
    while (*from != quote) {
        char byte = *from;
        if (byte == '\0') {
            error_set(error, ERROR_FORMAT, "a quote is never closed; expected %c", quote);
            return NULL;
        }
        if (byte == '\\' && quote == '"') {
            from = take_escape(from, &byte, error);
            if (from == NULL)
                return NULL;
        } else if (byte == '\\' && from[1] == '\'') {
            byte = '\'';
            from += 2;
        } else {
            from++;
        }
        *to++ = byte;
    }
    from++;
    if (*from != '\0' && !is_blank(*from)) {
        error_set(error, ERROR_FORMAT, "\"%.16s\" follows a closing quote; expected a blank", from);
        return NULL;
    }
    /* The terminator goes at most where the closing quote stood, which has been read. */
    *to = '\0';
    return from;
}

enum error_code config_split_words(char *text, char *words[], size_t words_max, size_t *count,
                                   struct error *error)
{
    char *at = text;
    for (*count = 0;;) {
        while (is_blank(*at))
            at++;
        if (*at == '\0' || *at == '#')
            return ERROR_NONE;
        if (*count == words_max)
            return error_set(error, ERROR_FORMAT, "more than %zu words", words_max);
        words[(*count)++] = at;
        if (*at == '"' || *at == '\'') {
            const char *end = take_quoted(at, at, error);
            if (end == NULL)
                return error->code;
            at = text + (end - text);
        } else {
            while (*at != '\0' && !is_blank(*at))
                at++;
            if (*at != '\0')
                *at++ = '\0';
        }
    }
}

const char *config_word_value(const char *word, const char *name)
{
    size_t size = strlen(name);
    return strncmp(word, name, size) == 0 && word[size] == '=' ? word + size + 1 : NULL;
}
