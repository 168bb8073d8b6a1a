/* linearizability.c - see linearizability.h. */
#include "test/history/linearizability.h"

#include <string.h>

#include "common/memory.h"
#include "test/history/contradiction.h"
#include "test/history/search.h"

/* The operations of a history, key by key: those of text id k are positions[first[k]] up to, not
 * including, positions[first[k + 1]], in the order they were added. */
struct by_key {
    size_t *first;
    size_t *positions;
};

static void by_key_init(struct by_key *by_key, const struct history *history)
{
    size_t texts = history->text_count;
    by_key->first = memory_alloc_zero(texts + 2, sizeof(size_t));
    by_key->positions = memory_alloc((history->count + 1) * sizeof(size_t));
    for (size_t i = 0; i < history->count; i++)
        by_key->first[history->operations[i].key->id + 2]++;
    for (size_t id = 1; id <= texts; id++)
        by_key->first[id + 1] += by_key->first[id];
    /* first[id + 1] is now where id starts; filling moves it to where id ends. */
    for (size_t i = 0; i < history->count; i++)
        by_key->positions[by_key->first[history->operations[i].key->id + 1]++] = i;
}

static void by_key_deinit(struct by_key *by_key)
{
    memory_free(by_key->first);
    memory_free(by_key->positions);
}

/* Judges the operations of one key, and notes the outcome. */
static void check_key(struct operation *operations, size_t count,
                      const struct linearizability_limits *limits,
                      struct linearizability_result *result)
{
    struct search_outcome outcome = search_run(operations, count, limits);
    result->keys++;
    result->steps += outcome.steps;
    if (outcome.memory > result->memory_peak)
        result->memory_peak = outcome.memory;
    if (outcome.verdict == LINEARIZABLE)
        return;
    if (outcome.verdict == NOT_LINEARIZABLE || result->keys_given_up == 0)
        result->key = operations[0].key;
    if (outcome.verdict == GAVE_UP) {
        result->keys_given_up++;
        result->limit = outcome.limit;
    }
    result->verdict = outcome.verdict;
    if (outcome.verdict == NOT_LINEARIZABLE)
        contradiction_describe(operations, count, limits, &result->text);
}

void linearizability_check(const struct history *history,
                           const struct linearizability_limits *limits,
                           struct linearizability_result *result)
{
    struct by_key by_key;
    memset(result, 0, sizeof(*result));
    buffer_init(&result->text);
    result->verdict = LINEARIZABLE;
    by_key_init(&by_key, history);
    struct operation *operations = memory_alloc((history->count + 1) * sizeof(*operations));
    for (u32 id = 0; id < history->text_count && result->verdict != NOT_LINEARIZABLE; id++) {
        size_t count = by_key.first[id + 1] - by_key.first[id];
        for (size_t i = 0; i < count; i++)
            operations[i] = history->operations[by_key.positions[by_key.first[id] + i]];
        if (count > 0)
            check_key(operations, count, limits, result);
    }
    memory_free(operations);
    by_key_deinit(&by_key);
}

void linearizability_result_deinit(struct linearizability_result *result)
{
    buffer_deinit(&result->text);
}
