/* scenario_expectations.c - what may stand behind `expect`, each by its own function. */
#include "test/sim/scenario_words.h"

static bool parse_leader(struct line_reader *reader, struct expectation *expectation)
{
    if (line_accept(reader, "one")) {
        expectation->leader = LEADER_ONE;
        return true;
    }
    if (line_accept(reader, "none")) {
        expectation->leader = LEADER_NONE;
        return true;
    }
    expectation->leader = line_accept(reader, "not") ? LEADER_NOT : LEADER_IS;
    return take_servers(reader, &expectation->who);
}

static bool parse_state(struct line_reader *reader, struct expectation *expectation)
{
    static const struct {
        const char *word;
        enum raft_state state;
    } states[] = {
        {"follower", RAFT_FOLLOWER}, {"candidate", RAFT_CANDIDATE}, {"leader", RAFT_LEADER}};
    if (!take_servers(reader, &expectation->who))
        return false;
    for (size_t i = 0; i < ARRAY_LENGTH(states); i++) {
        if (line_accept(reader, states[i].word)) {
            expectation->state = states[i].state;
            return true;
        }
    }
    return line_fail(reader, "\"%s\" is no state, expected follower, candidate or leader",
                     line_peek(reader));
}

static bool parse_term(struct line_reader *reader, struct expectation *expectation)
{
    expectation->same = line_accept(reader, "same");
    return expectation->same ||
           take_number(reader, "a term, or \"same\"", 1, UINT64_MAX, &expectation->number);
}

/* The word that says what kind of answer is expected; a text in quotes is one too. */
static bool accept_answer(struct line_reader *reader, struct expectation *expectation)
{
    static const struct {
        const char *word;
        enum expect_answer answer;
    } answers[] = {
        {"OK", SAYS_OK},
        {"error", SAYS_ERROR},
        {"moved", SAYS_MOVED},
        {"timeout", SAYS_TIMEOUT},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(answers); i++) {
        if (line_accept(reader, answers[i].word)) {
            expectation->answer = answers[i].answer;
            return true;
        }
    }
    if (reader->at == reader->count || !reader->words[reader->at].quoted)
        return false;
    expectation->answer = SAYS_TEXT;
    expectation->text = reader->words[reader->at++].text;
    return true;
}

static bool parse_answer(struct line_reader *reader, struct expectation *expectation)
{
    if (accept_answer(reader, expectation))
        return true;
    if (!take_text(reader, "OK, error, moved, timeout, a \"text\", or a client",
                   &expectation->client))
        return false;
    return accept_answer(reader, expectation) ||
           line_fail(reader,
                     "\"%s\" is no answer, expected OK, error, moved, timeout or a "
                     "\"text\"",
                     line_peek(reader));
}

static bool parse_value(struct line_reader *reader, struct expectation *expectation)
{
    if (!take_text(reader, "a key", &expectation->key))
        return false;
    if (!line_accept(reader, "nil") && !take_text(reader, "a value, or nil", &expectation->text))
        return false;
    return !line_accept(reader, "on") || take_servers(reader, &expectation->who);
}

static bool parse_committed(struct line_reader *reader, struct expectation *expectation)
{
    return take_number(reader, "an index", 0, UINT64_MAX, &expectation->number);
}

/* A comparison and its number; nothing is taken when there is none. */
static bool accept_comparison(struct line_reader *reader, struct expectation *expectation,
                              bool *taken)
{
    static const struct {
        const char *sign;
        enum comparison comparison;
    } signs[] = {
        {">=", COMPARE_AT_LEAST}, {"<=", COMPARE_AT_MOST}, {"=", COMPARE_EQUAL},
        {"<", COMPARE_LESS},      {">", COMPARE_MORE},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(signs); i++) {
        if (line_accept(reader, signs[i].sign)) {
            expectation->comparison = signs[i].comparison;
            *taken = take_number(reader, "a number", 0, UINT64_MAX, &expectation->number);
            return true;
        }
    }
    return false;
}

static bool parse_comparison(struct line_reader *reader, struct expectation *expectation)
{
    bool taken;
    if (accept_comparison(reader, expectation, &taken))
        return taken;
    return line_fail(reader, "\"%s\" is no comparison, expected >=, <=, =, < or >",
                     line_peek(reader));
}

/* `on` servers, and a comparison. */
static bool parse_commit(struct line_reader *reader, struct expectation *expectation)
{
    return take_this(reader, "on") && take_servers(reader, &expectation->who) &&
           parse_comparison(reader, expectation);
}

static bool parse_log(struct line_reader *reader, struct expectation *expectation)
{
    return take_servers(reader, &expectation->who) &&
           take_terms(reader, &expectation->terms, &expectation->term_count);
}

static bool parse_who(struct line_reader *reader, struct expectation *expectation)
{
    return take_servers(reader, &expectation->who);
}

/* Without a comparison: any. */
static bool parse_snapshot(struct line_reader *reader, struct expectation *expectation)
{
    expectation->comparison = COMPARE_MORE;
    expectation->number = 0;
    bool taken;
    if (!take_servers(reader, &expectation->who))
        return false;
    return !accept_comparison(reader, expectation, &taken) || taken;
}

/* A text in lines of its log, and how many; without a comparison: any. */
static bool parse_said(struct line_reader *reader, struct expectation *expectation)
{
    expectation->comparison = COMPARE_MORE;
    expectation->number = 0;
    bool taken;
    if (!take_servers(reader, &expectation->who) ||
        !take_quoted(reader, "a \"text\" that it said", &expectation->text))
        return false;
    return !accept_comparison(reader, expectation, &taken) || taken;
}

static bool parse_stopped(struct line_reader *reader, struct expectation *expectation)
{
    if (!take_servers(reader, &expectation->who))
        return false;
    bool says = reader->at < reader->count && reader->words[reader->at].quoted;
    return !says || take_quoted(reader, "a \"text\" that it said", &expectation->text);
}

/* By themselves, or by the others on which it is. */
static bool parse_unrecognised(struct line_reader *reader, struct expectation *expectation)
{
    return take_servers(reader, &expectation->who) &&
           (!line_accept(reader, "on") || take_servers(reader, &expectation->on));
}

static bool parse_nothing(struct line_reader *reader, struct expectation *expectation)
{
    (void)reader;
    (void)expectation;
    return true;
}

static bool parse_messages(struct line_reader *reader, struct expectation *expectation)
{
    return take_directed_links(reader, &expectation->links) &&
           take_message_kind(reader, &expectation->messages) &&
           parse_comparison(reader, expectation);
}

bool parse_expectation(struct line_reader *reader, struct expectation *expectation)
{
    static const struct {
        const char *word;
        bool (*parse)(struct line_reader *reader, struct expectation *expectation);
    } rules[] = {
        [EXPECT_LEADER] = {"leader", parse_leader},
        [EXPECT_STATE] = {"state", parse_state},
        [EXPECT_TERM] = {"term", parse_term},
        [EXPECT_ANSWER] = {"answer", parse_answer},
        [EXPECT_VALUE] = {"value", parse_value},
        [EXPECT_COMMITTED] = {"committed", parse_committed},
        [EXPECT_COMMIT] = {"commit", parse_commit},
        [EXPECT_LOG] = {"log", parse_log},
        [EXPECT_LOG_BYTES] = {"log-bytes", parse_commit},
        [EXPECT_MEMBERS] = {"members", parse_who},
        [EXPECT_SNAPSHOT] = {"snapshot", parse_snapshot},
        [EXPECT_SAID] = {"said", parse_said},
        [EXPECT_STOPPED] = {"stopped", parse_stopped},
        [EXPECT_UNRECOGNISED] = {"unrecognised", parse_unrecognised},
        [EXPECT_AGREE] = {"agree", parse_nothing},
        [EXPECT_LINEARIZABLE] = {"linearizable", parse_nothing},
        [EXPECT_MESSAGES] = {"messages", parse_messages},
        [EXPECT_BYTES] = {"bytes", parse_messages},
    };
    for (size_t i = 0; i < ARRAY_LENGTH(rules); i++) {
        if (line_accept(reader, rules[i].word)) {
            expectation->kind = (enum expect_kind)i;
            return rules[i].parse(reader, expectation);
        }
    }
    return line_fail(reader,
                     "\"%s\" cannot be expected, expected leader, state, term, answer, "
                     "value, committed, commit, log, log-bytes, members, snapshot, said, stopped, "
                     "unrecognised, agree, linearizable, messages or bytes",
                     line_peek(reader));
}
