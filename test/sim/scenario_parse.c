/* scenario_parse.c - from the text of a scenario to its tree.
 *
 * One statement a line. Words are parted by blanks; a # outside of quotes begins a comment; empty
 * lines are free. A text in quotes may hold blanks, \" and \\; "text"*N is the text N times over.
 * The grammar, in EBNF (a line's end stands behind every head and statement, and behind "{" and
 * "}"; what words mean is said in scenario.h):
 *
 *   scenario    = { head } , { statement } ;
 *
 *   head        = "cluster" , number | "spares" , number
 *               | "design" , ( "per-state" | "dispatch" | "step" | "mixed" | "all" )
 *               | "seed" , number | "seeds" , number , ".." , number
 *               | "election-timeout" , times | "heartbeat" , time
 *               | "founded" , ( "now" | "before" )
 *               | "latency" , times | "disk-sync" , times
 *               | "option" , text , text
 *               | "log" , server , terms | "term" , server , number ;
 *
 *   statement   = "run" , time
 *               | "at" , time , step | "after" , time , step
 *               | "repeat" , number , "{" , { statement } , "}"
 *               | "until" , judgement , "within" , time
 *               | step ;
 *   step        = fault | work | judgement ;
 *
 *   fault       = "partition" , servers , { "/" , servers }
 *               | "isolate" , servers | "bridge" , server | "ring" | "heal"
 *               | ( "cut" | "join" ) , arrow
 *               | "delay" , links , times
 *               | ( "loss" | "full" | "duplicate" | "reorder" | "corrupt" ) , links , percent
 *               | "hold" , arrow , kind | "release" , arrow , [ "reverse" ]
 *               | ( "crash" | "kill" | "stop" | "restart" | "pause" | "resume" | "wipe" ) , servers
 *               | "reset" , servers , "-" , servers | "swap" , servers
 *               | "timers" , ( "on" | "off" )
 *               | "disk" , servers , ( "sync=EIO" | "write=EIO" | "write=ENOSPC" | "slow=" time
 *                                    | "read=" time | "stall" | "heal"
 *                                    | "copy" | "set-back" | "stray" | "own"
 *                                    | ( "flip" | "unreadable" ) , place
 *                                    | ( "tear" | "remove" ) , "snapshot" )
 *               | ( "crash-at-write" | "kill-at-write" ) , servers , ( number | "off" )
 *               | "exhaust" , servers , ( "memory" | "threads" | "descriptors" )
 *                           , ( "at" , number , [ "once" ] | "off" )
 *               | "clock" , servers , ( "rate" , decimal | "jump" , [ "-" ] time )
 *               | "chaos" , time ;
 *   place       = ( "log" | "replaced" ) , number | "spare" | "metadata" | "slot" | "snapshot" ;
 *
 *   work        = "elect" , server | "timeout" , servers
 *               | command | ( "async" | "pipe" ) , name , command
 *               | "once" , name , number , command
 *               | "load" , number "/s" , "for" , time
 *               | "transfer" , server | "readmit" , server
 *               | "member" , ( ( "add" | "remove" | "promote" ) , server | "set" , servers )
 *               | "snapshot" , servers ;
 *   command     = ( "set" , text , text | "cas" , text , text , text
 *                 | ( "get" | "incr" | "del" ) , text ) , [ "via" , server ] ;
 *
 *   judgement   = [ "not" ] , "expect" , expectation ;
 *   expectation = "leader" , ( "one" | "none" | [ "not" ] , servers )
 *               | "state" , servers , ( "follower" | "candidate" | "leader" )
 *               | "term" , ( number | "same" )
 *               | "answer" , [ name ] , ( "OK" | "error" | "moved" | "timeout" | quoted )
 *               | "value" , text , ( text | "nil" ) , [ "on" , servers ]
 *               | "committed" , number
 *               | ( "commit" | "log-bytes" ) , "on" , servers , comparison
 *               | "log" , servers , terms
 *               | "members" , servers | "snapshot" , servers , [ comparison ]
 *               | "stopped" , servers , [ quoted ]
 *               | "unrecognised" , servers , [ "on" , servers ]
 *               | "agree" | "linearizable"
 *               | ( "messages" | "bytes" ) , arrow , kind , comparison ;
 *   comparison  = ( ">=" | "<=" | "=" | "<" | ">" ) , number ;
 *
 *   servers     = item , { "," item } ;
 *   item        = number | number "-" number | "all" | "leader" | "followers" | "majority"
 *               | "minority" | "random" ;
 *   server      = number | "leader" | "random" ;
 *   arrow       = servers , "->" , servers ;
 *   links       = arrow | servers ;
 *   kind        = ( "vote" | "pre-vote" | "append" | "snapshot" | "forward" ) [ "-reply" ]
 *               | "timeout-now" | "unrecognised" | "any" ;
 *   time        = decimal ( "us" | "ms" | "s" ) ;
 *   times       = time [ ".." time ] ;
 *   percent     = decimal "%" ;
 *   decimal     = number [ "." number ] ;
 *   terms       = quoted , { quoted } ;      (a number for each entry, parted by blanks)
 *   text        = quoted | word ;
 *   name        = word ;
 *   quoted      = '"' , { any sign } , '"' , [ "*" number ] ;
 *
 * Where words follow one another without "," in this grammar, no blank stands between them.
 * In `at` and `after` nothing may stand that lets time pass: elect, chaos, `expect value` through
 * the leader, `expect linearizable`. */
#include <errno.h>
#include <stdlib.h>

#include "test/sim/scenario_words.h"

enum { REPEAT_MAX = 1000000, REPEAT_DEPTH_MAX = 16, SCENARIO_SIZE_MAX = 16 * 1024 * 1024 };

struct parser {
    struct line_reader reader;
    const char *text; /* what is not read yet */
    const char *end;
    const char *line_text; /* the line that is being read */
    bool acting;           /* a statement was met: the head is over */
    u32 cluster_line;      /* 0: not given */
    u32 seed_line;
    u32 depth; /* of repeat */
};

/* ---- lines ---- */

/* Takes the next line that says something. False at the end of the text, and on failure. */
static bool next_line(struct parser *parser)
{
    while (parser->text != parser->end) {
        const char *begin = parser->text;
        const char *newline = memchr(begin, '\n', (size_t)(parser->end - begin));
        const char *end = newline == NULL ? parser->end : newline;
        parser->text = newline == NULL ? parser->end : newline + 1;
        parser->reader.line++;
        parser->line_text = begin;
        if (!line_split(&parser->reader, begin, (size_t)(end - begin)))
            return false;
        if (parser->reader.count != 0)
            return true;
    }
    return false;
}

/* The line as it was written, without outer blanks and comment. */
static const char *line_plain(struct parser *parser)
{
    const struct line_reader *reader = &parser->reader;
    return scenario_copy(reader->scenario, parser->line_text + reader->begin,
                         reader->end - reader->begin);
}

/* ---- the head ---- */

static bool once_only(struct parser *parser, u32 *line, const char *what)
{
    if (*line != 0)
        return line_fail(&parser->reader, "%s was already given in line %u, expected it once", what,
                         *line);
    *line = parser->reader.line;
    return true;
}

/* Servers and spares share the numbers 1 to SERVERS_MAX, so neither may come after a server was
 * named. */
static bool head_sizes(struct parser *parser, bool spares)
{
    struct line_reader *reader = &parser->reader;
    struct scenario *scenario = reader->scenario;
    u64 number;
    if (!once_only(parser, spares ? &scenario->spares_line : &parser->cluster_line,
                   spares ? "spares" : "cluster") ||
        !take_number(reader, "a number of servers from 1 to 32", 1, SERVERS_MAX, &number))
        return false;
    for (u32 i = 0; i < SERVERS_MAX; i++)
        if (scenario->starts[i].terms != NULL || scenario->starts[i].current_term != 0)
            return line_fail(reader, "the number of servers comes too late, expected it before log "
                                     "and term");
    *(spares ? &scenario->spares : &scenario->servers) = (u32)number;
    if (scenario->servers + scenario->spares > SERVERS_MAX)
        return line_fail(reader, "%u servers are too many, expected at most %d with spares",
                         scenario->servers + scenario->spares, SERVERS_MAX);
    reader->servers_max = scenario->servers + scenario->spares;
    return true;
}

static bool head_design(struct parser *parser)
{
    struct line_reader *reader = &parser->reader;
    const char *word;
    if (!once_only(parser, &reader->scenario->design_line, "design") ||
        !take_text(reader, "a design", &word))
        return false;
    return scenario_design_parse(word, &reader->scenario->design) ||
           line_fail(reader,
                     "\"%s\" is no design, expected per-state, dispatch, step, mixed or "
                     "all",
                     word);
}

static bool head_seeds(struct parser *parser, bool several)
{
    struct line_reader *reader = &parser->reader;
    struct scenario *scenario = reader->scenario;
    if (!once_only(parser, &parser->seed_line, "the seed"))
        return false;
    if (!several) {
        bool taken = take_number(reader, "a seed", 0, UINT64_MAX, &scenario->seed_first);
        scenario->seed_last = scenario->seed_first;
        return taken;
    }
    const char *word = line_peek(reader);
    const char *dots = strstr(word, "..");
    char *end;
    errno = 0;
    scenario->seed_first = strtoull(word, &end, 10);
    bool right = dots != NULL && *word >= '0' && *word <= '9' && end == dots;
    if (right && dots[2] >= '0' && dots[2] <= '9') {
        scenario->seed_last = strtoull(dots + 2, &end, 10);
        right = *end == '\0' && errno == 0 && scenario->seed_first <= scenario->seed_last;
    } else {
        right = false;
    }
    if (!right)
        return line_fail(reader, "\"%s\" is no range of seeds, expected one like 1..20", word);
    reader->at++;
    return true;
}

static bool head_option(struct parser *parser)
{
    struct line_reader *reader = &parser->reader;
    struct scenario_option *option = scenario_alloc(reader->scenario, 1, sizeof(*option));
    option->line = reader->line;
    if (!take_text(reader, "a key of cluster.conf", &option->key) ||
        !take_text(reader, "its value", &option->value))
        return false;
    struct scenario_option **at = &reader->scenario->options;
    for (; *at != NULL; at = &(*at)->next)
        if (strcmp((*at)->key, option->key) == 0)
            return line_fail(reader, "option %s was already given in line %u, expected it once",
                             option->key, (*at)->line);
    *at = option;
    return true;
}

/* log and term: what a server starts with. */
static bool head_start(struct parser *parser, bool log)
{
    struct line_reader *reader = &parser->reader;
    const char *word = line_peek(reader);
    struct server_list list;
    if (!take_server(reader, &list))
        return false;
    if (list.numbers == 0)
        return line_fail(reader, "\"%s\" means nobody before the start, expected a number", word);
    struct scenario_start *start = &reader->scenario->starts[__builtin_ctz(list.numbers)];
    if (!log)
        return take_number(reader, "a term, 1 or more", 1, UINT64_MAX, &start->current_term);
    if (!take_terms(reader, &start->terms, &start->term_count))
        return false;
    return start->term_count > 0 ||
           line_fail(reader, "the log is empty, expected at least entry 1, the configuration's");
}

enum head_result { HEAD_NONE, HEAD_DONE, HEAD_FAILED };

/* How the cluster was founded: before all, unless it is said. */
static bool head_founded(struct parser *parser)
{
    struct line_reader *reader = &parser->reader;
    bool now = line_accept(reader, "now");
    if (!now && !line_accept(reader, "before"))
        return line_fail(reader, "\"%s\", expected founded now or before", line_peek(reader));
    reader->scenario->founding = now ? CLUSTER_FOUNDED_NOW : CLUSTER_FOUNDED_BEFORE;
    return true;
}

static enum head_result parse_head(struct parser *parser)
{
    static const char *const words[] = {
        "cluster", "spares",    "design", "seed", "seeds", "election-timeout", "heartbeat",
        "latency", "disk-sync", "option", "log",  "term",  "founded"};
    struct line_reader *reader = &parser->reader;
    struct scenario *scenario = reader->scenario;
    size_t which = 0;
    while (which < ARRAY_LENGTH(words) && !line_accept(reader, words[which]))
        which++;
    if (which == ARRAY_LENGTH(words))
        return HEAD_NONE;
    bool done = false;
    if (parser->acting) {
        line_fail(reader, "\"%s\" belongs to the head, expected it before the first action",
                  words[which]);
        return HEAD_FAILED;
    }
    switch (which) {
    case 0:
    case 1:
        done = head_sizes(parser, which == 1);
        break;
    case 2:
        done = head_design(parser);
        break;
    case 3:
    case 4:
        done = head_seeds(parser, which == 4);
        break;
    case 5:
        done = take_duration_range(reader, &scenario->election_timeout);
        break;
    case 6:
        done = take_time(reader, &scenario->heartbeat_ns);
        break;
    case 7:
        done = take_duration_range(reader, &scenario->latency);
        break;
    case 8:
        done = take_duration_range(reader, &scenario->disk_sync);
        break;
    case 9:
        done = head_option(parser);
        break;
    case 10:
    case 11:
        done = head_start(parser, which == 10);
        break;
    case 12:
        done = head_founded(parser);
        break;
    default:
        UNREACHABLE();
    }
    return done && take_end(reader) ? HEAD_DONE : HEAD_FAILED;
}

/* ---- statements ---- */

static bool parse_block(struct parser *parser, struct statement **list, u32 opened);

/* What stands behind `at TIME` and `after TIME`: it must not let time pass. */
static bool parse_timed(struct parser *parser, struct statement *statement)
{
    struct line_reader *reader = &parser->reader;
    if (!take_time(reader, &statement->time_ns))
        return false;
    struct statement *inner = scenario_alloc(reader->scenario, 1, sizeof(*inner));
    inner->line = statement->line;
    inner->text = statement->text;
    statement->inner = inner;
    if (!parse_step(reader, inner))
        return false;
    const struct expectation *expectation = &inner->expectation;
    bool waits = inner->kind == STATEMENT_ELECT || inner->kind == STATEMENT_CHAOS ||
                 (inner->kind == STATEMENT_EXPECT && expectation->kind == EXPECT_VALUE &&
                  server_list_is_empty(&expectation->who));
    return !waits || line_fail(reader, "what lets time pass cannot be done at a set time, expected "
                                       "an action that does not wait");
}

static bool parse_repeat(struct parser *parser, struct statement *statement)
{
    struct line_reader *reader = &parser->reader;
    if (!take_number(reader, "how often, 1 to 1000000", 1, REPEAT_MAX, &statement->count) ||
        !take_this(reader, "{") || !take_end(reader))
        return false;
    if (parser->depth == REPEAT_DEPTH_MAX)
        return line_fail(reader, "repeat stands too deep in repeat, expected at most %d",
                         REPEAT_DEPTH_MAX);
    parser->depth++;
    bool parsed = parse_block(parser, &statement->inner, statement->line);
    parser->depth--;
    return parsed;
}

static bool parse_until(struct parser *parser, struct statement *statement)
{
    struct line_reader *reader = &parser->reader;
    statement->inner = scenario_alloc(reader->scenario, 1, sizeof(*statement->inner));
    statement->inner->line = statement->line;
    statement->inner->text = statement->text;
    return parse_judgement(reader, statement->inner) && take_this(reader, "within") &&
           take_time(reader, &statement->time_ns);
}

static bool parse_statement(struct parser *parser, struct statement *statement)
{
    struct line_reader *reader = &parser->reader;
    statement->line = reader->line;
    statement->text = line_plain(parser);
    bool parsed;
    if (line_accept(reader, "run")) {
        statement->kind = STATEMENT_RUN;
        parsed = take_time(reader, &statement->time_ns);
    } else if (line_accept(reader, "at")) {
        statement->kind = STATEMENT_AT;
        parsed = parse_timed(parser, statement);
    } else if (line_accept(reader, "after")) {
        statement->kind = STATEMENT_AFTER;
        parsed = parse_timed(parser, statement);
    } else if (line_accept(reader, "until")) {
        statement->kind = STATEMENT_UNTIL;
        parsed = parse_until(parser, statement);
    } else if (line_accept(reader, "repeat")) {
        statement->kind = STATEMENT_REPEAT;
        return parse_repeat(parser, statement); /* ends with the line of its "}" */
    } else {
        parsed = parse_step(reader, statement);
    }
    return parsed && take_end(reader);
}

/* Statements until the "}" that closes the block opened in line `opened`, or with `opened` 0 until
 * the end of the text. */
static bool parse_block(struct parser *parser, struct statement **list, u32 opened)
{
    struct line_reader *reader = &parser->reader;
    while (next_line(parser)) {
        if (line_accept(reader, "}")) {
            if (opened == 0)
                return line_fail(reader, "\"}\" closes nothing, expected a statement");
            return take_end(reader);
        }
        enum head_result head = parse_head(parser);
        if (head == HEAD_FAILED)
            return false;
        if (head == HEAD_DONE)
            continue;
        parser->acting = true;
        struct statement *statement = scenario_alloc(reader->scenario, 1, sizeof(*statement));
        if (!parse_statement(parser, statement))
            return false;
        *list = statement;
        list = &statement->next;
    }
    if (reader->error->code != ERROR_NONE)
        return false;
    return opened == 0 || line_fail(reader,
                                    "the text ends inside of the repeat of line %u, "
                                    "expected \"}\"",
                                    opened);
}

/* ---- the whole ---- */

static const char *const design_words[] = {
    [DESIGN_PER_STATE] = "per-state", [DESIGN_DISPATCH] = "dispatch", [DESIGN_STEP] = "step",
    [DESIGN_MIXED] = "mixed",         [DESIGN_ALL] = "all",
};

bool scenario_design_parse(const char *word, enum scenario_design *design)
{
    for (size_t i = 0; i < ARRAY_LENGTH(design_words); i++) {
        if (strcmp(word, design_words[i]) == 0) {
            *design = (enum scenario_design)i;
            return true;
        }
    }
    return false;
}

const char *scenario_design_word(enum scenario_design design)
{
    return design_words[design];
}

/* The defaults of the language. */
static struct scenario *scenario_create(const char *file)
{
    struct scenario *scenario = calloc(1, sizeof(*scenario));
    ASSERT(scenario != NULL);
    scenario->file = scenario_copy(scenario, file, strlen(file));
    scenario->servers = 3;
    scenario->seed_first = scenario->seed_last = 42;
    scenario->election_timeout = (struct duration_range){150 * NS_PER_MS, 300 * NS_PER_MS};
    scenario->heartbeat_ns = 50 * NS_PER_MS;
    scenario->latency = (struct duration_range){NS_PER_MS, 5 * NS_PER_MS};
    scenario->disk_sync = (struct duration_range){100 * NS_PER_US, 2 * NS_PER_MS};
    return scenario;
}

enum error_code scenario_parse(const char *text, size_t size, const char *file,
                               struct scenario **scenario, struct error *error)
{
    struct parser parser = {.text = text, .end = text + size};
    error_clear(error);
    *scenario = scenario_create(file);
    parser.reader.scenario = *scenario;
    parser.reader.error = error;
    parser.reader.servers_max = (*scenario)->servers;
    if (parse_block(&parser, &(*scenario)->first, 0))
        return ERROR_NONE;
    scenario_destroy(*scenario);
    *scenario = NULL;
    return error->code;
}

enum error_code scenario_load(const char *path, struct scenario **scenario, struct error *error)
{
    *scenario = NULL;
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return error_set_errno(error, errno == ENOENT ? ERROR_MISSING : ERROR_IO, errno,
                               "open scenario %s", path);
    char *text = malloc(SCENARIO_SIZE_MAX);
    ASSERT(text != NULL);
    size_t size = fread(text, 1, SCENARIO_SIZE_MAX, file);
    enum error_code code;
    if (ferror(file))
        code = error_set_errno(error, ERROR_IO, errno, "read scenario %s", path);
    else if (size == SCENARIO_SIZE_MAX)
        code = error_set(error, ERROR_FORMAT,
                         "%s:1: the scenario is too large, expected less than "
                         "16 MiB",
                         path);
    else
        code = scenario_parse(text, size, path, scenario, error);
    free(text);
    fclose(file);
    return code;
}
