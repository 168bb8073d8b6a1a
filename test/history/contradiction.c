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
 * 3. Where that leaves more than a handful (a chain of appends holds together by each of its
 *    links), what came first is replaced by what it left: if the operations up to an instant allow
 *    one state of the key alone, a write of it takes their place. Those under way at that instant
 *    are weakened, for they may have taken effect on either side of it.
 * 4. The reason: what the others alone leave the key with, beside what the last one answered.
 * A search that gives up counts as "can be ordered", so the result is a contradiction always, and
 * the smallest only as far as the limits allow. */
#include "test/history/contradiction.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/memory.h"
#include "test/history/history_format.h"
#include "test/history/last_state.h"

enum {
    /* Steps of searches: of appends, whose values are all new, a million takes half a second. */
    BEGINNING_STEPS_MAX = 20 * 1000 * 1000,
    QUICK_STEPS_MAX = 2 * 1000 * 1000, /* the first weakening, which mostly needs few */
    LONG_STEPS_MAX = 10 * 1000 * 1000, /* and the second, when nothing else helped */
    HANDFUL = 8,                       /* operations that a person reads as one */
    LINES_SHOWN = 12,
    TEXT_DIFFERENCE = 24 /* bytes of either text from where they differ */
};

struct shrink {
    struct operation *operations; /* all of the key; those not wanted come last */
    size_t count;                 /* of the beginning */
    size_t answers;               /* of these, so many come first, by their answers */
    size_t fixed;                 /* so many come first that stand for what they replace: 0 or 1 */
    size_t replaced;              /* so many answered operations */
    bool *weak;                   /* by position: freed of its answers and its end */
    struct operation *trial;      /* room for two more */
    struct operation last;        /* the one whose answer made it impossible */
    struct last_state met;        /* what it can have met */
    struct last_state left;       /* what the replaced ones left */
    const struct linearizability_limits *limits;
    u64 steps;
    u64 steps_max;
    bool late; /* out of time: nothing more is tried */
    bool stopped;
};

static void budget_begin(struct shrink *shrink, u64 steps_max)
{
    shrink->steps = 0;
    shrink->steps_max = steps_max;
    shrink->stopped = shrink->late;
}

static struct linearizability_limits trial_limits(const struct shrink *shrink)
{
    struct linearizability_limits limits = *shrink->limits;
    u64 steps_max = shrink->steps_max / 4;
    if (limits.steps_max == 0 || limits.steps_max > steps_max)
        limits.steps_max = steps_max;
    return limits;
}

static void trial_note(struct shrink *shrink, u64 steps)
{
    shrink->steps += steps;
    if (shrink->limits->stop != NULL && shrink->limits->stop(shrink->limits->context))
        shrink->late = true;
    if (shrink->steps > shrink->steps_max || shrink->late)
        shrink->stopped = true;
}

static bool trial_is_impossible(struct shrink *shrink, size_t count)
{
    struct linearizability_limits limits = trial_limits(shrink);
    struct search_outcome outcome = search_run(shrink->trial, count, &limits);
    /* Preparing a search costs, too. */
    trial_note(shrink, outcome.steps + count);
    return outcome.verdict == NOT_LINEARIZABLE;
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

static void weak_begin(struct shrink *shrink)
{
    for (size_t i = 0; i < shrink->count; i++)
        shrink->weak[i] = !is_answered(&shrink->operations[i]);
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
        if (trial_is_impossible(shrink, size))
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
    shrink->answers = high;
    if (high > 0)
        shrink->last = shrink->operations[high - 1];
    weak_begin(shrink);
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
    if (trial_is_impossible(shrink, weak_fill(shrink)))
        return true;
    memcpy(shrink->weak + from, before, (to - from) * sizeof(bool));
    return false;
}

static void shrink_weaken(struct shrink *shrink)
{
    bool *before = memory_alloc((shrink->count + 1) * sizeof(bool));
    for (size_t block = shrink->count / 2 + 1; block > 0 && !shrink->stopped;) {
        bool gained = false;
        for (size_t from = shrink->fixed; from < shrink->count && !shrink->stopped; from += block) {
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

static size_t strong_count(const struct shrink *shrink)
{
    size_t strong = 0;
    for (size_t i = shrink->fixed; i < shrink->count; i++)
        strong += !shrink->weak[i];
    return strong;
}

/* ---- what came first, replaced by what it left ---- */

/* Fills the trial with a write of what was left at `now`, and with all that may come later. */
static size_t rest_fill(struct shrink *shrink, size_t replaced, u64 now, const struct text *left)
{
    struct operation write = {.kind = left == NULL ? OPERATION_DEL : OPERATION_PUT,
                              .status = OPERATION_OK,
                              .key = shrink->last.key,
                              .value = left,
                              .t0 = now,
                              .t1 = now};
    size_t size = 0;
    /* Nothing has to be deleted where nothing was. */
    if (left == NULL)
        write.status = OPERATION_UNKNOWN;
    shrink->trial[size++] = write;
    for (size_t i = replaced; i < shrink->count; i++) {
        const struct operation *operation = &shrink->operations[i];
        bool under_way = operation->t0 <= now;
        struct operation rest =
            under_way && is_answered(operation) ? weakened(operation) : *operation;
        if (rest.status != OPERATION_FAIL)
            shrink->trial[size++] = rest;
    }
    return size;
}

/* Tries to replace so many answers. What was left stays in the trial when it worked. */
static bool replace_try(struct shrink *shrink, size_t replaced, size_t *size)
{
    u64 now = shrink->operations[replaced - 1].t1;
    struct linearizability_limits limits = trial_limits(shrink);
    if (now >= shrink->last.t0)
        return false;
    size_t before = beginning_fill(shrink, shrink->count, replaced);
    struct last_state left = last_state_find(shrink->trial, before, now + 1, now + 1, &limits);
    trial_note(shrink, left.steps);
    if (left.known && left.only) {
        *size = rest_fill(shrink, replaced, now, left.text);
        if (trial_is_impossible(shrink, *size)) {
            shrink->left = left;
            return true;
        }
    }
    last_state_deinit(&left);
    return false;
}

/* As much as possible is replaced: first all but the last, then all but the last two, four... */
static bool shrink_to_rest(struct shrink *shrink)
{
    for (size_t kept = 1; kept < shrink->answers && !shrink->stopped; kept *= 2) {
        size_t size;
        if (!replace_try(shrink, shrink->answers - kept, &size))
            continue;
        memcpy(shrink->operations, shrink->trial, size * sizeof(*shrink->operations));
        shrink->count = size;
        shrink->fixed = 1;
        shrink->replaced = shrink->answers - kept;
        weak_begin(shrink);
        return true;
    }
    return false;
}

/* ---- the reason ---- */

/* Called while the last one still stands behind the others that were answered. */
static void last_meets(struct shrink *shrink)
{
    size_t size = 0;
    struct linearizability_limits limits = trial_limits(shrink);
    if (shrink->answers == 0 || shrink->stopped)
        return;
    for (size_t i = 0; i < shrink->count; i++)
        if (i != shrink->answers - 1)
            shrink->trial[size++] = shrink->operations[i];
    shrink->met = last_state_find(shrink->trial, size, shrink->last.t0, shrink->last.t1, &limits);
    trial_note(shrink, shrink->met.steps);
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

/* Operations that a person would have to read. */
static size_t lines_count(const struct shrink *shrink)
{
    size_t count = 0;
    for (size_t i = shrink->fixed; i < shrink->count; i++)
        count += !shrink->weak[i] || was_seen(shrink, &shrink->operations[i]);
    return count;
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

/* Of those shown, in `lines`: all that matter, up to a bound, and of the writes that they saw the
 * latest. Returns how many; the caller has room for all. */
static size_t lines_choose(const struct shrink *shrink, struct operation *lines)
{
    size_t count = 0;
    size_t strong = 0;
    struct operation *seen = memory_alloc((shrink->count + 1) * sizeof(*seen));
    size_t seen_number = 0;
    for (size_t i = shrink->fixed; i < shrink->count; i++)
        if (!shrink->weak[i])
            lines[strong++] = shrink->trial[i];
        else if (was_seen(shrink, &shrink->operations[i]))
            seen[seen_number++] = shrink->trial[i];
    qsort(lines, strong, sizeof(*lines), compare_invocations);
    qsort(seen, seen_number, sizeof(*seen), compare_invocations);
    /* The end is where it breaks. */
    count = strong < LINES_SHOWN ? strong : LINES_SHOWN;
    memmove(lines, lines + (strong - count), count * sizeof(*lines));
    for (size_t i = seen_number; i > 0 && count < LINES_SHOWN; i--)
        lines[count++] = seen[i - 1];
    qsort(lines, count, sizeof(*lines), compare_invocations);
    memory_free(seen);
    return count;
}

static void state_show(const struct text *text, struct buffer *to)
{
    if (text == NULL)
        buffer_append_string(to, "nothing");
    else
        format_text(to, text, TEXT_SHOWN);
}

static void left_show(const struct shrink *shrink, struct buffer *text)
{
    buffer_append_format(text, "  after %" PRIu64 " the key holds ", shrink->operations[0].t0);
    state_show(shrink->left.text, text);
    buffer_append_format(text, ": the %zu operation%s answered by then allow nothing else\n",
                         shrink->replaced, shrink->replaced == 1 ? "" : "s");
}

static void end_show(const struct text *text, size_t from, struct buffer *to)
{
    if (from == text->size) {
        buffer_append_string(to, "ends");
        return;
    }
    size_t size = text->size - from;
    struct text *part = memory_alloc(sizeof(*part) + size);
    part->size = (u32)size;
    memcpy(part->data, text->data + from, size);
    buffer_append_string(to, "goes on with ");
    format_text(to, part, TEXT_DIFFERENCE);
    memory_free(part);
}

/* Long values differ where nobody would find it. */
static void difference_show(const struct text *met, const struct text *out, struct buffer *text)
{
    size_t same = 0;
    if (met == NULL || out == NULL ||
        (met->size <= TEXT_DIFFERENCE && out->size <= TEXT_DIFFERENCE))
        return;
    while (same < met->size && same < out->size && met->data[same] == out->data[same])
        same++;
    buffer_append_format(text, "  Both begin with the same %zu bytes; then the key's ", same);
    end_show(met, same, text);
    buffer_append_string(text, ", and what was read ");
    end_show(out, same, text);
    buffer_append_string(text, ".\n");
}

static void reason_show(const struct shrink *shrink, struct buffer *text)
{
    const struct operation *last = &shrink->last;
    buffer_append_string(text, "  The first answer that nothing explains is ");
    if (last->line > 0)
        buffer_append_format(text, "that of line %" PRIu32 ", ", last->line);
    buffer_append_format(text, "the %s of client %" PRIu64 " at %" PRIu64 ".",
                         operation_kind_word(last->kind), last->client, last->t0);
    if (!shrink->met.known) {
        buffer_append_string(text, "\n");
        return;
    }
    buffer_append_format(text, " Without it\n  all up to there can be ordered, and %s leaves ",
                         shrink->met.only ? "every order" : "one order");
    state_show(shrink->met.text, text);
    buffer_append_string(text, ";\n  it says ");
    format_operation(text, last);
    buffer_append_string(text, ".\n");
    if (last->kind == OPERATION_GET)
        difference_show(shrink->met.text, last->out, text);
}

static size_t writes_beside(const struct shrink *shrink)
{
    size_t writes = 0;
    for (size_t i = shrink->fixed; i < shrink->count; i++)
        writes += shrink->trial[i].status == OPERATION_UNKNOWN;
    return writes;
}

static void part_show(struct shrink *shrink, size_t all, struct buffer *text)
{
    size_t strong = strong_count(shrink);
    weak_fill(shrink);
    struct operation *lines = memory_alloc((shrink->count + 1) * sizeof(*lines));
    size_t shown = lines_choose(shrink, lines);
    size_t writes = writes_beside(shrink);
    for (size_t i = 0; i < shown; i++)
        writes -= lines[i].status == OPERATION_UNKNOWN;
    buffer_append_string(text, "key ");
    format_text(text, shrink->last.key, 0);
    buffer_append_format(text, ": %zu of its %zu operations contradict %s%s\n", strong, all,
                         shrink->fixed == 0 ? "each other" : "what those before them left",
                         shrink->stopped ? " (a smaller part may exist)" : "");
    if (shrink->fixed > 0)
        left_show(shrink, text);
    if (strong > LINES_SHOWN)
        buffer_append_format(text, "  ... %zu earlier ones\n", strong - LINES_SHOWN);
    for (size_t i = 0; i < shown; i++)
        line_show(&lines[i], text);
    if (writes > 0)
        buffer_append_format(text,
                             "  and %zu more write%s: even if each of them may take effect at any "
                             "time after its\n  invocation, or never, no order explains these "
                             "answers\n",
                             writes, writes == 1 ? "" : "s");
    reason_show(shrink, text);
    buffer_append_format(text, "  %zu of the key's operations are left out here.\n", all - shown);
    memory_free(lines);
}

void contradiction_describe(struct operation *operations, size_t count,
                            const struct linearizability_limits *limits, struct buffer *text)
{
    struct shrink shrink = {.operations = operations, .count = count, .limits = limits};
    shrink.weak = memory_alloc_zero(count + 1, sizeof(*shrink.weak));
    shrink.trial = memory_alloc((count + 2) * sizeof(*shrink.trial));
    budget_begin(&shrink, BEGINNING_STEPS_MAX);
    shrink_to_beginning(&shrink);
    last_meets(&shrink);
    budget_begin(&shrink, QUICK_STEPS_MAX);
    shrink_weaken(&shrink);
    if (lines_count(&shrink) > HANDFUL) {
        budget_begin(&shrink, LONG_STEPS_MAX);
        shrink_to_rest(&shrink);
        shrink_weaken(&shrink);
    }
    part_show(&shrink, count, text);
    last_state_deinit(&shrink.left);
    last_state_deinit(&shrink.met);
    memory_free(shrink.trial);
    memory_free(shrink.weak);
}
