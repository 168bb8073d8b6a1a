/* scenario_words.c - words of a line, and the values that they can be. */
#include "test/sim/scenario_words.h"

#include <stdarg.h>
#include <stdlib.h>

/* ---- the scenario's memory ---- */

struct scenario_memory {
    struct scenario_memory *next;
    max_align_t data[];
};

/* Plain malloc, not memory_alloc: the tree belongs to no server of the simulator, and is made when
 * there is no world yet. */
void *scenario_alloc(struct scenario *scenario, size_t count, size_t size)
{
    ASSERT(size != 0 && count <= (SIZE_MAX - sizeof(struct scenario_memory)) / size);
    struct scenario_memory *piece = calloc(1, sizeof(*piece) + count * size);
    ASSERT(piece != NULL);
    piece->next = scenario->memory;
    scenario->memory = piece;
    return piece->data;
}

char *scenario_copy(struct scenario *scenario, const char *text, size_t size)
{
    char *copy = scenario_alloc(scenario, size + 1, 1);
    memcpy(copy, text, size);
    return copy;
}

void scenario_destroy(struct scenario *scenario)
{
    if (scenario == NULL)
        return;
    struct scenario_memory *piece = scenario->memory;
    while (piece != NULL) {
        struct scenario_memory *next = piece->next;
        free(piece);
        piece = next;
    }
    free(scenario);
}

/* ---- complaints ---- */

bool line_fail(struct line_reader *reader, const char *format, ...)
{
    if (reader->error->code != ERROR_NONE)
        return false;
    char text[ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    error_set(reader->error, ERROR_FORMAT, "%s:%u: %s", reader->scenario->file, reader->line, text);
    return false;
}

/* Complains about the next word, which should have been something else. */
static bool fail_word(struct line_reader *reader, const char *is_no, const char *expected)
{
    if (reader->at == reader->count)
        return line_fail(reader, "the line ends too early, expected %s", expected);
    return line_fail(reader, "\"%s\" is no %s, expected %s", line_peek(reader), is_no, expected);
}

/* ---- splitting ---- */

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The number behind "..."*; 1 when there is none. Moves *at past it. */
static bool split_times(struct line_reader *reader, const char *text, size_t size, size_t *at,
                        u64 *times)
{
    *times = 1;
    if (*at == size || text[*at] != '*')
        return true;
    *times = 0;
    size_t digits = 0;
    for ((*at)++; *at < size && text[*at] >= '0' && text[*at] <= '9'; (*at)++, digits++)
        if (*times < 100000000)
            *times = *times * 10 + (u64)(text[*at] - '0');
    if (digits == 0 || *times == 0 || *times > 16 * MIB)
        return line_fail(reader, "the text is to be repeated a wrong number of times, expected "
                                 "\"text\"*1 to \"text\"*16777216");
    return true;
}

/* A word in quotes; *at is behind the opening one. */
static bool split_quoted(struct line_reader *reader, const char *text, size_t size, size_t *at)
{
    char *plain = scenario_alloc(reader->scenario, size + 1, 1);
    size_t used = 0;
    for (;; (*at)++) {
        if (*at == size)
            return line_fail(reader, "a text has no end, expected another \"");
        if (text[*at] == '"')
            break;
        if (text[*at] == '\\') {
            (*at)++;
            if (*at == size || (text[*at] != '"' && text[*at] != '\\'))
                return line_fail(reader, "a \\ stands alone in a text, expected \\\" or \\\\");
        }
        plain[used++] = text[*at];
    }
    (*at)++;
    u64 times;
    if (!split_times(reader, text, size, at, &times))
        return false;
    if (*at != size && !is_blank(text[*at]) && text[*at] != '#')
        return line_fail(reader, "a text goes on behind its end, expected a blank");
    if (used != 0 && times > 16 * MIB / used)
        return line_fail(reader, "a text is too long, expected at most 16777216 bytes");
    char *whole = plain;
    if (times > 1) {
        whole = scenario_alloc(reader->scenario, used * times + 1, 1);
        for (u64 i = 0; i < times; i++)
            memcpy(whole + i * used, plain, used);
    }
    reader->words[reader->count++] = (struct word){.text = whole, .quoted = true};
    return true;
}

bool line_split(struct line_reader *reader, const char *text, size_t size)
{
    reader->count = 0;
    reader->at = 0;
    for (size_t at = 0;;) {
        while (at < size && is_blank(text[at]))
            at++;
        if (reader->count == 0)
            reader->begin = reader->end = at;
        if (at == size || text[at] == '#')
            return true;
        if (reader->count == LINE_WORDS_MAX)
            return line_fail(reader, "the line has too many words, expected at most %d",
                             LINE_WORDS_MAX);
        if (text[at] == '"') {
            at++;
            if (!split_quoted(reader, text, size, &at))
                return false;
            reader->end = at;
            continue;
        }
        size_t begin = at;
        while (at < size && !is_blank(text[at]) && text[at] != '#') {
            if ((unsigned char)text[at] < ' ' || text[at] == '"')
                return line_fail(reader,
                                 "a word holds a strange byte (0x%02x), expected letters, "
                                 "digits and signs",
                                 (unsigned char)text[at]);
            at++;
        }
        reader->words[reader->count++] =
            (struct word){.text = scenario_copy(reader->scenario, text + begin, at - begin)};
        reader->end = at;
    }
}

/* ---- plain words ---- */

const char *line_peek(const struct line_reader *reader)
{
    return reader->at < reader->count ? reader->words[reader->at].text : "";
}

bool line_accept(struct line_reader *reader, const char *word)
{
    if (reader->at == reader->count || reader->words[reader->at].quoted ||
        strcmp(line_peek(reader), word) != 0)
        return false;
    reader->at++;
    return true;
}

bool take_this(struct line_reader *reader, const char *word)
{
    if (line_accept(reader, word))
        return true;
    if (reader->at == reader->count)
        return line_fail(reader, "the line ends too early, expected \"%s\"", word);
    return line_fail(reader, "\"%s\" is out of place, expected \"%s\"", line_peek(reader), word);
}

bool take_text(struct line_reader *reader, const char *expected, const char **text)
{
    if (reader->at == reader->count)
        return fail_word(reader, "", expected);
    *text = reader->words[reader->at++].text;
    return true;
}

bool take_quoted(struct line_reader *reader, const char *expected, const char **text)
{
    if (reader->at == reader->count || !reader->words[reader->at].quoted)
        return fail_word(reader, "text in quotes", expected);
    *text = reader->words[reader->at++].text;
    return true;
}

bool take_end(struct line_reader *reader)
{
    if (reader->at == reader->count)
        return true;
    return line_fail(reader, "\"%s\" is too much, expected the end of the line", line_peek(reader));
}

/* ---- numbers and times ---- */

/* Reads digits and moves *text past them; false when there are none or they are too large. */
static bool read_digits(const char **text, u64 *number)
{
    const char *at = *text;
    *number = 0;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (*number > (UINT64_MAX - 9) / 10)
            return false;
        *number = *number * 10 + (u64)(*at - '0');
    }
    bool some = at != *text;
    *text = at;
    return some;
}

/* Reads a decimal fraction in millionths: "1.5" is 1,500,000. At most six places. */
static bool read_millionths(const char **text, u64 *millionths)
{
    u64 whole;
    if (!read_digits(text, &whole) || whole > 1000000000)
        return false;
    *millionths = whole * 1000000;
    if (**text != '.' || (*text)[1] < '0' || (*text)[1] > '9')
        return true;
    (*text)++;
    for (u64 unit = 100000; **text >= '0' && **text <= '9'; (*text)++, unit /= 10) {
        if (unit == 0)
            return false;
        *millionths += unit * (u64)(**text - '0');
    }
    return true;
}

/* Reads a time and moves *text past its unit. */
static bool read_time(const char **text, u64 *ns)
{
    u64 millionths;
    if (!read_millionths(text, &millionths))
        return false;
    u64 unit;
    if (strncmp(*text, "us", 2) == 0)
        unit = NS_PER_US;
    else if (strncmp(*text, "ms", 2) == 0)
        unit = NS_PER_MS;
    else if (**text == 's')
        unit = NS_PER_S;
    else
        return false;
    *text += unit == NS_PER_S ? 1 : 2;
    /* A millionth of a millisecond is a nanosecond; a microsecond has three places that count. */
    *ns = unit >= 1000000 ? millionths * (unit / 1000000) : millionths / (1000000 / unit);
    return true;
}

bool take_number(struct line_reader *reader, const char *expected, u64 min, u64 max, u64 *number)
{
    const char *text = line_peek(reader);
    if (!read_digits(&text, number) || *text != '\0')
        return fail_word(reader, "number", expected);
    if (*number < min || *number > max)
        return line_fail(reader, "%s is out of range, expected %s", line_peek(reader), expected);
    reader->at++;
    return true;
}

bool take_time(struct line_reader *reader, u64 *ns)
{
    const char *text = line_peek(reader);
    if (!read_time(&text, ns) || *text != '\0')
        return fail_word(reader, "time", "one like 250ms, 2s or 1.5s");
    reader->at++;
    return true;
}

bool take_duration_range(struct line_reader *reader, struct duration_range *range)
{
    const char *text = line_peek(reader);
    bool right = read_time(&text, &range->min_ns);
    range->max_ns = range->min_ns;
    if (right && strncmp(text, "..", 2) == 0) {
        text += 2;
        right = read_time(&text, &range->max_ns);
    }
    if (!right || *text != '\0')
        return fail_word(reader, "range of times", "one like 5ms..20ms, or a single time");
    if (range->min_ns > range->max_ns)
        return line_fail(reader, "%s runs backwards, expected the shorter time first",
                         line_peek(reader));
    reader->at++;
    return true;
}

bool take_percent(struct line_reader *reader, u32 *ppm)
{
    const char *text = line_peek(reader);
    u64 millionths;
    if (!read_millionths(&text, &millionths) || strcmp(text, "%") != 0 ||
        millionths > 100 * 1000000ULL)
        return fail_word(reader, "percentage", "one from 0% to 100%, such as 5% or 0.1%");
    *ppm = (u32)(millionths / 100);
    reader->at++;
    return true;
}

bool take_rate(struct line_reader *reader, u32 *ppm)
{
    const char *text = line_peek(reader);
    u64 millionths;
    if (!read_millionths(&text, &millionths) || *text != '\0' || millionths < 10000 ||
        millionths > 100 * 1000000ULL)
        return fail_word(reader, "rate", "one from 0.01 to 100, such as 1.2");
    *ppm = (u32)millionths;
    reader->at++;
    return true;
}

bool take_jump(struct line_reader *reader, i64 *ns)
{
    const char *text = line_peek(reader);
    bool back = *text == '-';
    text += back ? 1 : 0;
    u64 size;
    if (!read_time(&text, &size) || *text != '\0' || size == 0 || size > (u64)INT64_MAX)
        return fail_word(reader, "jump of a clock", "one like 10s or -1.5s");
    *ns = back ? -(i64)size : (i64)size;
    reader->at++;
    return true;
}

/* ---- servers ---- */

static const struct {
    const char *text;
    enum server_word word;
} server_words[] = {
    {"all", SERVERS_ALL},
    {"leader", SERVERS_LEADER},
    {"followers", SERVERS_FOLLOWERS},
    {"majority", SERVERS_MAJORITY},
    {"minority", SERVERS_MINORITY},
};

/* One item of a list: a number, a range or a word; `text` is at it, and `size` its length. */
static bool read_servers(struct line_reader *reader, const char *text, size_t size,
                         struct server_list *list)
{
    for (size_t i = 0; i < ARRAY_LENGTH(server_words); i++) {
        if (strlen(server_words[i].text) == size && memcmp(server_words[i].text, text, size) == 0) {
            list->words |= (u32)server_words[i].word;
            return true;
        }
    }
    if (size == 6 && memcmp(text, "random", 6) == 0) {
        list->randoms++;
        return true;
    }
    const char *end = text + size;
    u64 first;
    if (!read_digits(&text, &first))
        return fail_word(reader, "list of servers",
                         "numbers (1,2,5), a range (1-3), all, leader, followers, majority, "
                         "minority or random");
    u64 last = first;
    if (text != end && *text == '-') {
        text++;
        if (!read_digits(&text, &last))
            last = 0;
    }
    if (text != end || last < first)
        return fail_word(reader, "list of servers", "numbers (1,2,5) or a range (1-3)");
    if (first == 0 || last > reader->servers_max)
        return line_fail(reader, "there is no server %llu, expected 1 to %u",
                         (unsigned long long)(first == 0 ? 0 : last), reader->servers_max);
    for (u64 id = first; id <= last; id++)
        list->numbers |= 1U << (id - 1);
    return true;
}

bool take_servers(struct line_reader *reader, struct server_list *list)
{
    *list = (struct server_list){0};
    if (reader->at == reader->count)
        return fail_word(reader, "", "servers");
    const char *text = line_peek(reader);
    for (;;) {
        size_t size = strcspn(text, ",");
        if (!read_servers(reader, text, size, list))
            return false;
        if (text[size] == '\0')
            break;
        text += size + 1;
    }
    reader->at++;
    return true;
}

bool take_server(struct line_reader *reader, struct server_list *list)
{
    u32 at = reader->at;
    if (!take_servers(reader, list))
        return false;
    bool number =
        list->words == 0 && list->randoms == 0 && (list->numbers & (list->numbers - 1)) == 0;
    bool leader = list->numbers == 0 && list->randoms == 0 && list->words == SERVERS_LEADER;
    bool random = list->numbers == 0 && list->words == 0 && list->randoms == 1;
    if (number || leader || random)
        return true;
    reader->at = at;
    return fail_word(reader, "single server", "a number, leader or random");
}

bool take_directed_links(struct line_reader *reader, struct link_list *links)
{
    return take_servers(reader, &links->from) && take_this(reader, "->") &&
           take_servers(reader, &links->to);
}

bool take_links(struct line_reader *reader, struct link_list *links)
{
    *links = (struct link_list){0};
    if (!take_servers(reader, &links->from))
        return false;
    return !line_accept(reader, "->") || take_servers(reader, &links->to);
}

/* ---- messages and logs ---- */

static const char terms_expected[] = "terms that do not fall, the first of them 1: \"1 1 2 3\"";

bool take_message_kind(struct line_reader *reader, message_set *set)
{
    static const struct {
        const char *word;
        u32 bit;
    } kinds[] = {
#define X(name, word) {word, MESSAGE_##name},
        MESSAGE_KINDS(X)
#undef X
    };
    if (line_accept(reader, "any")) {
        *set = MESSAGES_ANY;
        return true;
    }
    for (size_t i = 0; i < ARRAY_LENGTH(kinds); i++) {
        if (line_accept(reader, kinds[i].word)) {
            *set = 1U << kinds[i].bit;
            return true;
        }
    }
    return fail_word(reader, "kind of message",
                     "vote, pre-vote, append or snapshot, each also with -reply, or any");
}

/* Reads the terms of one text; the first complaint of an entry stops it. */
static bool read_terms(struct line_reader *reader, const char *text, u64 *terms, u32 *count)
{
    for (;;) {
        while (is_blank(*text))
            text++;
        if (*text == '\0')
            return true;
        u64 term;
        u64 last = *count == 0 ? 1 : terms[*count - 1];
        bool number = read_digits(&text, &term);
        if (!number || (*text != '\0' && !is_blank(*text)) || term < last ||
            (*count == 0 && term != 1))
            return line_fail(reader, "the log is wrong at its entry %u, expected %s", *count + 1,
                             terms_expected);
        terms[(*count)++] = term;
    }
}

bool take_terms(struct line_reader *reader, u64 **terms, u32 *count)
{
    size_t size = 0;
    for (u32 i = reader->at; i < reader->count && reader->words[i].quoted; i++)
        size += strlen(reader->words[i].text);
    *terms = scenario_alloc(reader->scenario, size + 1, sizeof(u64));
    *count = 0;
    do {
        const char *text = "";
        if (!take_quoted(reader, terms_expected, &text) || !read_terms(reader, text, *terms, count))
            return false;
    } while (reader->at < reader->count && reader->words[reader->at].quoted);
    return true;
}
