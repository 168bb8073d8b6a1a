/* config.h - a configuration file of lines "key value...", typed by a table.
 *
 * Knows nothing of Raft: which keys there are, of which type, in which bounds and with which
 * defaults is a `struct config_table` of the caller, and the values land in a struct of the
 * caller's. The same table types the file, the command line, CONFIG SET and CONFIG GET, so that
 * all of them take the same words and refuse with the same sentence.
 *
 * The file: one key a line, then its value. `#` at the beginning of a word starts a comment. Words
 * are separated by blanks; "..." and '...' keep blanks, and take the escapes \" \\ \n \r \t \a \b
 * \xHH in double quotes, \' in single ones. A key that is unknown or given twice is refused: a
 * setting that silently has no effect is worse than a server that does not start.
 *
 * Every error is ERROR_CONFIG, and says "file:line: key: what is wrong; what was expected".
 * Thread: any, one at a time for the same values. */
#ifndef MAILRAFT_COMMON_CONFIG_H
#define MAILRAFT_COMMON_CONFIG_H

#include "common/bytes.h"
#include "common/error.h"
#include "common/quantity.h"
#include "common/types.h"

enum {
    CONFIG_KEYS_MAX = 128,         /* keys in one table */
    CONFIG_LINE_SIZE = 4096,       /* bytes in one line of a file */
    CONFIG_WORDS_MAX = 64,         /* words in one line, the key included */
    CONFIG_FILE_SIZE = 1024 * 1024 /* bytes in a file; more is surely the wrong file */
};

/* The type of a value, and of the caller's field for it. */
enum config_type {
    CONFIG_U64,            /* u64 */
    CONFIG_BYTES,          /* u64: bytes */
    CONFIG_DURATION,       /* u64: nanoseconds */
    CONFIG_DURATION_RANGE, /* struct quantity_range: nanoseconds */
    CONFIG_BOOL,           /* bool: "yes" or "no" */
    CONFIG_WORD,           /* u32: which one of `words`, from 0 */
    CONFIG_STRING,         /* char *, owned; freed by config_deinit */
    CONFIG_LINE            /* no field: the words go to the table's take_line */
};

enum {
    CONFIG_RUNTIME = 1 << 0,  /* may be set while the server runs */
    CONFIG_REPEATED = 1 << 1, /* may stand in several lines; for CONFIG_LINE */
    CONFIG_REQUIRED = 1 << 2  /* the file must have it */
};

struct config_key {
    const char *name; /* lower case, at most 63 bytes; found in either case */
    enum config_type type;
    unsigned flags;
    size_t offset;            /* of the field in the caller's struct */
    u64 min;                  /* inclusive; both ends of a range; bytes of a string */
    u64 max;                  /* inclusive; 0: no bound */
    const char *fallback;     /* the default, as one would write it; NULL for CONFIG_LINE */
    const char *const *words; /* CONFIG_WORD: what it may be, NULL-terminated; else NULL */
    const char *help;         /* one sentence for people */
};

/* One line of a file, while take_line runs. */
struct config_line {
    const char *file;
    u32 number;                    /* from 1 */
    size_t count;                  /* words, at least 1 */
    char *words[CONFIG_WORDS_MAX]; /* words[0] is the key */
};

struct config_table {
    const struct config_key *keys;
    size_t count;
    /* Handles a line of type CONFIG_LINE. An error needs no place: "file:line: key: " is put in
     * front. May be NULL when there is no such key. */
    enum error_code (*take_line)(void *values, const struct config_key *key,
                                 const struct config_line *line, struct error *error);
};

/* Fills every field with its default; the fields may hold anything before. ASSERTs that the table
 * is sound (names, defaults within their bounds), so that any test that calls this checks it. */
void config_init(const struct config_table *table, void *values);
/* Frees the strings. */
void config_deinit(const struct config_table *table, void *values);

/* Reads `text`; `file` is for messages. After an error the values are a mixture and good for
 * config_deinit only. */
WARN_UNUSED enum error_code config_parse(const struct config_table *table, void *values,
                                         const char *file, const char *text, size_t size,
                                         struct error *error);
/* The same for a file. Errors: ERROR_MISSING, ERROR_IO too. Blocks. */
WARN_UNUSED enum error_code config_load(const struct config_table *table, void *values,
                                        const char *path, struct error *error);

/* Sets one value from its text. With `running`, only a key with CONFIG_RUNTIME. On error nothing
 * changes. */
WARN_UNUSED enum error_code config_set(const struct config_table *table, void *values,
                                       const char *name, const char *text, bool running,
                                       struct error *error);

/* NULL when there is none. */
const struct config_key *config_find(const struct config_table *table, const char *name);
/* The key whose name is most like `name`, or NULL when none is much like it. */
const struct config_key *config_nearest(const struct config_table *table, const char *name);

/* Appends the key's value in the form that config_set takes; nothing for CONFIG_LINE. */
void config_format(const struct config_key *key, const void *values, struct buffer *text);
/* Appends what the key's value may be: "a duration from 1ms to 1h, such as 250ms". */
void config_describe(const struct config_key *key, struct buffer *text);

/* The value of a word "name=value", or NULL when the word is not of that name. */
const char *config_word_value(const char *word, const char *name);

/* Cuts `text` into words in place. ERROR_FORMAT says what is wrong with quotes or escapes. */
WARN_UNUSED enum error_code config_split_words(char *text, char *words[], size_t words_max,
                                               size_t *count, struct error *error);

#endif
