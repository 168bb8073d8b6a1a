/* contradiction.c - see contradiction.h.
 *
 * Shrinking only ever weakens: an operation that changes the key loses its answers and its end
 * (its outcome becomes unknown), one that only reads is dropped. An order of the whole history
 * would be an order of the weaker one, so when that has none, neither has the whole: what is shown
 * proves the verdict. Plain deletion of writes would not: without the write of "a", any read of
 * "a" is a contradiction.
 *
 * 1. The shortest beginning, by bisection over the answers in the order of time: a beginning that
 *    cannot be ordered stays so when more is added.
 * 2. Weakening, in blocks that are halved while nothing can be gained (delta debugging).
 * A search that gives up counts as "can be ordered", so the result is a contradiction always, and
 * the smallest only as far as the limits allow. */
#include "test/history/contradiction.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"
#include "test/history/history_format.h"

enum {
    TRIAL_STEPS_MAX = 2 * 1000 * 1000,   /* one search; the whole took few more, mostly fewer */
    SHRINK_STEPS_MAX = 60 * 1000 * 1000, /* all searches together: seconds */
    LINES_SHOWN = 40
};

struct shrink {
    struct operation *operations; /* all of the key; those not wanted come last */
    size_t count;                 /* of the beginning */
    bool *weak;                   /* by position: freed of its answers and its end */
    struct operation *trial;
    const struct linearizability_limits *limits;
    u64 steps;
    bool stopped;
};

static struct search_outcome trial_run(struct shrink *shrink, size_t count, u64 steps_max)
{
    struct linearizability_limits limits = *shrink->limits;
    if (limits.steps_max == 0 || limits.steps_max > steps_max)
        limits.steps_max = steps_max;
    struct search_outcome outcome = search_run(shrink->trial, count, &limits);
    /* Preparing a search costs, too. */
    shrink->steps += outcome.steps + count;
    if (shrink->steps > SHRINK_STEPS_MAX ||
        (outcome.limit != NULL && strcmp(outcome.limit, "time") == 0))
        shrink->stopped = true;
    return outcome;
}

static struct operation weakened(const struct operation *operation)
{
    struct operation weak = *operation;
    weak.status = operation_only_reads(operation) ? OPERATION_FAIL : OPERATION_UNKNOWN;
    return weak;
}

static bool is_answered(const struct operation *operation)
{
    return operation->status == OPERATION_OK;
}

/* ---- the shortest beginning ---- */

static int compare_u64(u64 a, u64 b)
{
    return a < b ? -1 : a > b;
}

/* By answers, those without one last. */
static int compare_answers(const void *left, const void *right)
{
    const struct operation *a = left;
    const struct operation *b = right;
    if (is_answered(a) != is_answered(b))
        return is_answered(a) ? -1 : 1;
    if (is_answered(a) && a->t1 != b->t1)
        return compare_u64(a->t1, b->t1);
    int by_t0 = compare_u64(a->t0, b->t0);
    return by_t0 != 0 ? by_t0 : compare_u64(a->client, b->client);
}

/* Fills the trial with what is known once `answers` answers have come. Returns its size. */
static size_t beginning_fill(struct shrink *shrink, size_t count, size_t answers)
{
    u64 now = answers == 0 ? 0 : shrink->operations[answers - 1].t1;
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        const struct operation *operation = &shrink->operations[i];
        if (i < answers)
            shrink->trial[size++] = *operation;
        else if (operation->t0 <= now && is_answered(operation))
            shrink->trial[size++] = weakened(operation);
        else if (operation->t0 <= now)
            shrink->trial[size++] = *operation;
    }
    return size;
}

static void shrink_to_beginning(struct shrink *shrink)
{
    size_t answers = 0;
    qsort(shrink->operations, shrink->count, sizeof(*shrink->operations), compare_answers);
    while (answers < shrink->count && is_answered(&shrink->operations[answers]))
        answers++;
    size_t low = 0;        /* can be ordered */
    size_t high = answers; /* cannot */
    while (low + 1 < high && !shrink->stopped) {
        size_t middle = low + (high - low) / 2;
        size_t size = beginning_fill(shrink, shrink->count, middle);
        if (trial_run(shrink, size, SHRINK_STEPS_MAX / 2).verdict == NOT_LINEARIZABLE)
            high = middle;
        else
            low = middle;
    }
    size_t size = beginning_fill(shrink, shrink->count, high);
    /* Those not answered in the beginning are weak from the start: nothing is lost by saying when
     * they were invoked, but their answers came later. */
    size_t kept = 0;
    for (size_t i = 0; i < size; i++)
        if (i < high || shrink->trial[i].status != OPERATION_FAIL ||
            !operation_only_reads(&shrink->trial[i]))
            shrink->operations[kept++] = shrink->trial[i];
    shrink->count = kept;
    for (size_t i = 0; i < kept; i++)
        shrink->weak[i] = !is_answered(&shrink->operations[i]);
}

/* ---- weakening ---- */

static size_t weak_fill(struct shrink *shrink)
{
    for (size_t i = 0; i < shrink->count; i++)
        shrink->trial[i] = shrink->weak[i] && is_answered(&shrink->operations[i])
                               ? weakened(&shrink->operations[i])
                               : shrink->operations[i];
    return shrink->count;
}

/* Weakens the block if the rest still cannot be ordered. Returns whether anything was gained. */
static bool block_weaken(struct shrink *shrink, size_t from, size_t to, bool *before)
{
    bool any = false;
    memcpy(before, shrink->weak + from, (to - from) * sizeof(bool));
    for (size_t i = from; i < to; i++) {
        any |= !shrink->weak[i];
        shrink->weak[i] = true;
    }
    if (!any)
        return false;
    if (trial_run(shrink, weak_fill(shrink), TRIAL_STEPS_MAX).verdict == NOT_LINEARIZABLE)
        return true;
    memcpy(shrink->weak + from, before, (to - from) * sizeof(bool));
    return false;
}

static void shrink_weaken(struct shrink *shrink)
{
    bool *before = memory_alloc((shrink->count + 1) * sizeof(bool));
    for (size_t block = shrink->count / 2 + 1; block > 0 && !shrink->stopped;) {
        bool gained = false;
        for (size_t from = 0; from < shrink->count && !shrink->stopped; from += block) {
            size_t to = from + block < shrink->count ? from + block : shrink->count;
            gained |= block_weaken(shrink, from, to, before);
        }
        if (block > 1)
            block = (block + 1) / 2;
        else if (!gained)
            break;
    }
    memory_free(before);
}

/* ---- showing ---- */

static bool text_contains(const struct text *whole, const struct text *part)
{
    return part->size > 0 && memmem(whole->data, whole->size, part->data, part->size) != NULL;
}

/* Whether a weak operation wrote what one of the others, which are shown, saw. */
static bool was_seen(const struct shrink *shrink, const struct operation *write)
{
    if (write->value == NULL || operation_only_reads(write))
        return false;
    for (size_t i = 0; i < shrink->count; i++) {
        const struct operation *operation = &shrink->operations[i];
        if (shrink->weak[i])
            continue;
        const struct text *seen[] = {operation->out, operation->expected};
        for (size_t j = 0; j < ARRAY_LENGTH(seen); j++)
            if (seen[j] != NULL &&
                (seen[j] == write->value ||
                 (write->kind == OPERATION_APPEND && text_contains(seen[j], write->value))))
                return true;
    }
    return false;
}

static void line_show(const struct operation *operation, struct buffer *text)
{
    buffer_append_string(text, "  ");
    if (operation->line > 0)
        buffer_append_format(text, "line %-6" PRIu32 " ", operation->line);
    buffer_append_format(text, "client %-4" PRIu64 " %12" PRIu64 " .. ", operation->client,
                         operation->t0);
    if (operation->status == OPERATION_OK)
        buffer_append_format(text, "%-12" PRIu64 " ", operation->t1);
    else
        buffer_append_string(text, operation->status == OPERATION_FAIL ? "failed       "
                                                                       : "any time     ");
    format_operation(text, operation);
    if (operation->status == OPERATION_UNKNOWN)
        buffer_append_string(text, ", or never");
    buffer_append_string(text, "\n");
}

static int compare_invocations(const void *left, const void *right)
{
    const struct operation *a = left;
    const struct operation *b = right;
    int by_t0 = compare_u64(a->t0, b->t0);
    return by_t0 != 0 ? by_t0 : compare_answers(left, right);
}

static size_t lines_show(struct operation *lines, size_t count, struct buffer *text)
{
    size_t shown = count;
    qsort(lines, count, sizeof(*lines), compare_invocations);
    /* The end is where it breaks. */
    if (count > LINES_SHOWN) {
        shown = LINES_SHOWN;
        buffer_append_format(text, "  ... %zu earlier ones\n", count - shown);
    }
    for (size_t i = count - shown; i < count; i++)
        line_show(&lines[i], text);
    return shown;
}

static void part_show(struct shrink *shrink, size_t all, struct buffer *text)
{
    size_t strong = 0;
    size_t shown = 0;
    size_t others = 0;
    for (size_t i = 0; i < shrink->count; i++)
        strong += !shrink->weak[i];
    weak_fill(shrink);
    struct operation *lines = memory_alloc((shrink->count + 1) * sizeof(*lines));
    for (size_t i = 0; i < shrink->count; i++) {
        const struct operation *operation = &shrink->operations[i];
        if (!shrink->weak[i] || was_seen(shrink, operation))
            lines[shown++] = shrink->trial[i];
        else if (shrink->trial[i].status == OPERATION_UNKNOWN)
            others++;
    }
    buffer_append_string(text, "key ");
    format_text(text, shrink->operations[0].key, 0);
    buffer_append_format(text, ": %zu of its %zu operations contradict each other%s\n", strong, all,
                         shrink->stopped ? " (a smaller part may exist)" : "");
    lines_show(lines, shown, text);
    if (others > 0)
        buffer_append_format(text,
                             "  and %zu more write%s: even if each of them may take effect at any "
                             "time after its\n  invocation, or never, no order explains these "
                             "answers\n",
                             others, others == 1 ? "" : "s");
    memory_free(lines);
}

void contradiction_describe(struct operation *operations, size_t count,
                            const struct linearizability_limits *limits, struct buffer *text)
{
    struct shrink shrink = {.operations = operations, .count = count, .limits = limits};
    shrink.weak = memory_alloc_zero(count + 1, sizeof(*shrink.weak));
    shrink.trial = memory_alloc((count + 1) * sizeof(*shrink.trial));
    shrink_to_beginning(&shrink);
    shrink_weaken(&shrink);
    part_show(&shrink, count, text);
    memory_free(shrink.trial);
    memory_free(shrink.weak);
}
