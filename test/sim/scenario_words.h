/* scenario_words.h - one line of a scenario as words, and the values that words can be.
 *
 * Private to the parser. A `struct line_reader` walks over the words of one line. Every take_*
 * function takes the next word or words, or says what is wrong with them and what was expected,
 * and returns false; the first complaint stands. */
#ifndef MAILRAFT_SIM_SCENARIO_WORDS_H
#define MAILRAFT_SIM_SCENARIO_WORDS_H

#include "test/sim/scenario.h"

enum { LINE_WORDS_MAX = 128 };

struct word {
    const char *text;
    bool quoted;
};

struct line_reader {
    struct scenario *scenario; /* owns the memory; tells which servers exist */
    struct error *error;
    u32 line;
    struct word words[LINE_WORDS_MAX];
    u32 count;
    u32 at;       /* the next word */
    size_t begin; /* of the first word in the line, bytes; and the end of the last */
    size_t end;
    u32 servers_max; /* highest number that a server may have here */
};

/* Memory of the scenario's, zeroed, freed with it. */
void *scenario_alloc(struct scenario *scenario, size_t count, size_t size);
char *scenario_copy(struct scenario *scenario, const char *text, size_t size);

/* Cuts a line into words: at blanks; "..." is one word, with \" and \\ in it, and "..."*N is the
 * text N times over. A # outside of quotes ends the line. */
WARN_UNUSED bool line_split(struct line_reader *reader, const char *text, size_t size);

/* Complains with file and line in front; returns false. */
bool line_fail(struct line_reader *reader, const char *format, ...) PRINTF_LIKE(2, 3);

/* The next word without taking it; "" at the end of the line. */
const char *line_peek(const struct line_reader *reader);
/* Takes the next word if it is this one. */
bool line_accept(struct line_reader *reader, const char *word);
/* Takes this word, or complains. */
WARN_UNUSED bool take_this(struct line_reader *reader, const char *word);
/* Takes any word; `expected` says what it should be: "a key". */
WARN_UNUSED bool take_text(struct line_reader *reader, const char *expected, const char **text);
/* Takes a word in quotes. */
WARN_UNUSED bool take_quoted(struct line_reader *reader, const char *expected, const char **text);
WARN_UNUSED bool take_number(struct line_reader *reader, const char *expected, u64 min, u64 max,
                             u64 *number);
/* 250ms, 2s, 1.5s, 40us. */
WARN_UNUSED bool take_time(struct line_reader *reader, u64 *ns);
/* 5ms..20ms, or one time for both ends. */
WARN_UNUSED bool take_duration_range(struct line_reader *reader, struct duration_range *range);
/* 5%, 0.1%: parts per million. */
WARN_UNUSED bool take_percent(struct line_reader *reader, u32 *ppm);
/* 1.2: parts per million. */
WARN_UNUSED bool take_rate(struct line_reader *reader, u32 *ppm);
/* 10s, -1.5s; not 0. */
WARN_UNUSED bool take_jump(struct line_reader *reader, i64 *ns);
/* 1,2,5 or 1-3 or words, or any of them with commas between. */
WARN_UNUSED bool take_servers(struct line_reader *reader, struct server_list *list);
/* One server: a number, `leader` or `random`. */
WARN_UNUSED bool take_server(struct line_reader *reader, struct server_list *list);
/* SERVERS, or SERVERS -> SERVERS. */
WARN_UNUSED bool take_links(struct line_reader *reader, struct link_list *links);
/* SERVERS -> SERVERS, and nothing less. */
WARN_UNUSED bool take_directed_links(struct line_reader *reader, struct link_list *links);
WARN_UNUSED bool take_message_kind(struct line_reader *reader, message_set *set);
/* "1 1 2 3" in quotes, or several of them: terms that do not fall. */
WARN_UNUSED bool take_terms(struct line_reader *reader, u64 **terms, u32 *count);
/* Complains about words that are left. */
WARN_UNUSED bool take_end(struct line_reader *reader);

/* ---- scenario_steps.c: actions and expectations ---- */

/* Parses the fault, work or expectation that the line goes on with. */
WARN_UNUSED bool parse_step(struct line_reader *reader, struct statement *statement);
/* Parses `[not] expect ...`. */
WARN_UNUSED bool parse_judgement(struct line_reader *reader, struct statement *statement);
WARN_UNUSED bool parse_expectation(struct line_reader *reader, struct expectation *expectation);

#endif
