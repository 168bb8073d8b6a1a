/* problem.c - see problem.h.
 *
 * Invisible values. Call a value v invisible when, on this key, the only operations that can be
 * right just after the key came to hold v are ones that overwrite it without looking: puts, and
 * dels of unknown outcome. (Besides them only operations of unknown outcome that do nothing at v,
 * such as a cas that expects another value: an order that has one there is as good without it.)
 * Whoever needs v, or needs no more of it than that it is there, such as a del that found
 * something, a failed cas, or an append, makes it visible. Two things follow.
 *
 * 1. An operation of unknown outcome that can only leave an invisible value may be dropped.
 *    If there is an order without it, then there is one with it: it never happened. If there is an
 *    order with it, take it out: what follows it there is the end or overwrites without looking,
 *    so that from there on nothing changes.
 * 2. A put with an outcome that writes an invisible value cannot be dropped, for its place may be
 *    where it destroys something. But the search may take it just before any other put without
 *    trying anything else: see search.c. */
#include "test/history/problem.h"

#include <stdlib.h>
#include <string.h>

#include "common/memory.h"
#include "test/history/twins.h"

/* Pairs of an append and a value that are compared at most, to know who may produce what. */
enum { APPEND_PAIRS_MAX = 20 * 1000 * 1000 };

/* ---- steps ---- */

static bool step_append(struct problem *problem, const struct item *item, u32 state, u32 *after)
{
    u64 size = values_get(&problem->values, state)->size;
    u64 added = values_get(&problem->values, item->value)->size;
    if (!item->unknown && item->number_known && (i64)(size + added) != item->number)
        return false;
    *after = values_append(&problem->values, state, item->value);
    return true;
}

static bool step_incr(struct problem *problem, const struct item *item, u32 state, u32 *after)
{
    const struct value *value = values_get(&problem->values, state);
    i64 before = state == VALUE_ABSENT ? 0 : value->integer;
    i64 sum;
    *after = state;
    if ((state != VALUE_ABSENT && !value->is_integer) ||
        __builtin_add_overflow(before, item->delta, &sum))
        return item->unknown;
    if (!item->unknown && sum != item->number)
        return false;
    *after = values_of_integer(&problem->values, sum);
    return true;
}

bool problem_step(struct problem *problem, u32 number, u32 state, u32 *after)
{
    const struct item *item = &problem->items[number];
    *after = state;
    switch (item->kind) {
    case OPERATION_GET:
        return state == item->out;
    case OPERATION_PUT:
        *after = item->value;
        return true;
    case OPERATION_APPEND:
        return step_append(problem, item, state, after);
    case OPERATION_CAS:
        if (state == item->expected)
            *after = item->value;
        return item->unknown || item->ok == (state == item->expected);
    case OPERATION_DEL:
        *after = VALUE_ABSENT;
        return item->unknown || item->found == (state != VALUE_ABSENT);
    case OPERATION_INCR:
        return step_incr(problem, item, state, after);
    case OPERATION_KIND_COUNT:
        break;
    }
    UNREACHABLE();
}

/* ---- items ---- */

static u32 item_needs(struct values *values, const struct operation *operation)
{
    i64 before;
    switch (operation->kind) {
    case OPERATION_GET:
        return values_of_text(values, operation->out);
    case OPERATION_CAS:
        return operation->ok ? values_of_text(values, operation->expected) : VALUE_NONE;
    case OPERATION_DEL:
        return operation->found ? VALUE_NONE : VALUE_ABSENT;
    case OPERATION_INCR: /* a zero before may be a "0" or an absent key */
        if (__builtin_sub_overflow(operation->number, operation->delta, &before) || before == 0)
            return VALUE_NONE;
        return values_of_integer(values, before);
    case OPERATION_PUT:
    case OPERATION_APPEND:
    case OPERATION_KIND_COUNT:
        return VALUE_NONE;
    }
    UNREACHABLE();
}

static struct item item_of(struct values *values, const struct operation *operation)
{
    bool unknown = operation->status == OPERATION_UNKNOWN;
    struct item item = {
        .kind = operation->kind,
        .unknown = unknown,
        .reads = !unknown && operation_only_reads(operation),
        .ok = operation->ok,
        .found = operation->found,
        .number_known = operation->number_known,
        .value = values_of_text(values, operation->value),
        .expected = values_of_text(values, operation->expected),
        .out = unknown ? VALUE_ABSENT : values_of_text(values, operation->out),
        .needs = unknown ? VALUE_NONE : item_needs(values, operation),
        .delta = operation->delta,
        .number = operation->number,
        .t0 = operation->t0,
        .t1 = unknown ? UINT64_MAX : operation->t1,
    };
    return item;
}

static int compare_u64(u64 a, u64 b)
{
    return a < b ? -1 : a > b;
}

struct order {
    u64 first;
    u64 second;
    u32 which;
};

static int order_compare(const void *left, const void *right)
{
    const struct order *a = left;
    const struct order *b = right;
    int by_first = compare_u64(a->first, b->first);
    int by_second = compare_u64(a->second, b->second);
    if (by_first != 0)
        return by_first;
    return by_second != 0 ? by_second : compare_u64(a->which, b->which);
}

/* Fills items in their order; what failed, or read and was never answered, is left out. */
static void items_fill(struct problem *problem, const struct operation *operations, size_t count)
{
    struct order *order = memory_alloc((count + 1) * sizeof(*order));
    u32 kept = 0;
    for (size_t i = 0; i < count; i++) {
        const struct operation *operation = &operations[i];
        bool unknown = operation->status == OPERATION_UNKNOWN;
        if (operation->status == OPERATION_FAIL || (unknown && operation->kind == OPERATION_GET))
            continue;
        order[kept].first = unknown ? UINT64_MAX : operation->t1;
        order[kept].second = operation->t0;
        order[kept++].which = (u32)i;
    }
    /* An answer at the end of time sorts among the unknown ones, which does no harm: the lists
     * are threaded by kind. */
    qsort(order, kept, sizeof(*order), order_compare);
    problem->items = memory_alloc((kept + 1) * sizeof(*problem->items));
    for (u32 i = 0; i < kept; i++) {
        problem->items[i] = item_of(&problem->values, &operations[order[i].which]);
        problem->items[i].operation = order[i].which;
    }
    problem->count = kept;
    memory_free(order);
}

/* ---- what is invisible ---- */

/* Who on this key can tell a value apart without needing it exactly. */
struct observers {
    u32 *failed_cas; /* by expected value: cas that did not swap */
    u32 failed_cas_all;
    bool *unknown_cas; /* by expected value */
    bool *needed;      /* by value */
    bool finds;        /* a del that found something */
    bool appends;      /* an append that goes with any length before */
    u64 *sizes;        /* sorted: lengths before, of appends whose length after is known */
    size_t size_count;
    bool incrs_zero; /* an incr whose value before was 0 or absent */
    bool unknown_incrs;
};

static int size_compare(const void *left, const void *right)
{
    return compare_u64(*(const u64 *)left, *(const u64 *)right);
}

static void observers_note(struct observers *observers, const struct problem *problem,
                           const struct item *item)
{
    if (item->needs != VALUE_NONE)
        observers->needed[item->needs] = true;
    switch (item->kind) {
    case OPERATION_CAS:
        if (item->unknown)
            observers->unknown_cas[item->expected] = true;
        else if (!item->ok) {
            observers->failed_cas[item->expected]++;
            observers->failed_cas_all++;
        }
        break;
    case OPERATION_DEL:
        observers->finds |= !item->unknown && item->found;
        break;
    case OPERATION_APPEND:
        if (item->unknown || !item->number_known)
            observers->appends = true;
        else
            observers->sizes[observers->size_count++] =
                (u64)item->number - values_get(&problem->values, item->value)->size;
        break;
    case OPERATION_INCR:
        observers->unknown_incrs |= item->unknown;
        observers->incrs_zero |= !item->unknown && item->needs == VALUE_NONE;
        break;
    case OPERATION_GET:
    case OPERATION_PUT:
    case OPERATION_KIND_COUNT:
        break;
    }
}

static void observers_init(struct observers *observers, const struct problem *problem)
{
    u32 values = problem->values.count;
    memset(observers, 0, sizeof(*observers));
    observers->failed_cas = memory_alloc_zero(values, sizeof(*observers->failed_cas));
    observers->unknown_cas = memory_alloc_zero(values, sizeof(*observers->unknown_cas));
    observers->needed = memory_alloc_zero(values, sizeof(*observers->needed));
    observers->sizes = memory_alloc_zero(problem->count + 1, sizeof(*observers->sizes));
    for (u32 i = 0; i < problem->count; i++)
        observers_note(observers, problem, &problem->items[i]);
    qsort(observers->sizes, observers->size_count, sizeof(u64), size_compare);
}

static void observers_deinit(struct observers *observers)
{
    memory_free(observers->failed_cas);
    memory_free(observers->unknown_cas);
    memory_free(observers->needed);
    memory_free(observers->sizes);
}

/* Whether the value is invisible, as the head of this file has it. */
static bool value_is_invisible(const struct observers *observers, const struct values *values,
                               u32 number)
{
    const struct value *value = values_get(values, number);
    bool zero = number == VALUE_ABSENT || (value->is_integer && value->integer == 0);
    bool integer = number == VALUE_ABSENT || value->is_integer;
    if (observers->needed[number] || observers->unknown_cas[number] || observers->appends)
        return false;
    if (observers->failed_cas_all > observers->failed_cas[number])
        return false;
    if (observers->finds && number != VALUE_ABSENT)
        return false;
    if ((observers->incrs_zero && zero) || (observers->unknown_incrs && integer))
        return false;
    return observers->size_count == 0 ||
           bsearch(&value->size, observers->sizes, observers->size_count, sizeof(u64),
                   size_compare) == NULL;
}

/* Drops and marks by the two rules at the head of this file. */
static void items_drop_invisible(struct problem *problem)
{
    struct observers observers;
    observers_init(&observers, problem);
    u32 kept = 0;
    for (u32 i = 0; i < problem->count; i++) {
        struct item *item = &problem->items[i];
        bool writes = item->kind == OPERATION_PUT || item->kind == OPERATION_CAS;
        bool known_result = writes || item->kind == OPERATION_DEL;
        u32 result = writes ? item->value : VALUE_ABSENT;
        bool invisible = known_result && value_is_invisible(&observers, &problem->values, result);
        if (item->unknown && invisible)
            continue;
        item->invisible = invisible && item->kind == OPERATION_PUT;
        problem->items[kept++] = *item;
    }
    problem->count = kept;
    observers_deinit(&observers);
}

/* ---- lists ---- */

static void links_init(struct problem *problem, struct links *links)
{
    size_t size = (size_t)problem->count + 1;
    links->next = memory_alloc_zero(size, sizeof(u32));
    links->prev = memory_alloc_zero(size, sizeof(u32));
    links->head = problem->count;
    links->next[links->head] = links->head;
    links->prev[links->head] = links->head;
    problem->memory += 2 * size * sizeof(u32);
}

static void links_deinit(struct links *links)
{
    memory_free(links->next);
    memory_free(links->prev);
}

static void links_push(struct links *links, u32 item)
{
    u32 last = links->prev[links->head];
    links->next[last] = item;
    links->prev[item] = last;
    links->next[item] = links->head;
    links->prev[links->head] = item;
}

/* Appends the item to the list of those that need its value; called by rising t0. */
static void readers_push(struct problem *problem, u32 number)
{
    u32 value = problem->items[number].needs;
    u32 last = problem->last_reader[value];
    problem->readers.prev[number] = last;
    problem->readers.next[number] = ITEM_NONE;
    if (last != ITEM_NONE)
        problem->readers.next[last] = number;
    problem->last_reader[value] = number;
}

static void lists_fill(struct problem *problem)
{
    struct links *all[] = {
        &problem->answered, &problem->reads,   &problem->changes, &problem->changes_answered,
        &problem->unknown,  &problem->readers, &problem->twins};
    for (size_t i = 0; i < ARRAY_LENGTH(all); i++)
        links_init(problem, all[i]);
    struct order *order = memory_alloc(((size_t)problem->count + 1) * sizeof(*order));
    for (u32 i = 0; i < problem->count; i++) {
        const struct item *item = &problem->items[i];
        order[i] = (struct order){.first = item->t0, .second = item->t1, .which = i};
        if (item->unknown)
            continue;
        links_push(&problem->answered, i);
        if (!item->reads)
            links_push(&problem->changes_answered, i);
    }
    qsort(order, problem->count, sizeof(*order), order_compare);
    for (u32 i = 0; i < problem->count; i++) {
        u32 number = order[i].which;
        const struct item *item = &problem->items[number];
        links_push(item->unknown ? &problem->unknown
                                 : (item->reads ? &problem->reads : &problem->changes),
                   number);
        if (item->needs != VALUE_NONE)
            readers_push(problem, number);
    }
    memory_free(order);
}

static void twins_fill(struct problem *problem)
{
    u32 *classes = twins_find(problem);
    u32 *last = memory_alloc(((size_t)problem->count + 1) * sizeof(*last));
    memset(last, 0xff, ((size_t)problem->count + 1) * sizeof(*last));
    for (u32 i = 0; i < problem->count; i++) {
        u32 elder = last[classes[i]];
        problem->twins.prev[i] = elder;
        problem->twins.next[i] = ITEM_NONE;
        if (elder != ITEM_NONE)
            problem->twins.next[elder] = i;
        last[classes[i]] = i;
    }
    memory_free(last);
    memory_free(classes);
}

/* ---- who may produce what ---- */

static void produces_push(struct problem *problem, struct item *item, u32 value)
{
    if (problem->last_reader[value] == ITEM_NONE)
        return;
    if (problem->produces_count == problem->produces_capacity) {
        problem->produces_capacity = problem->produces_capacity * 2 + 64;
        problem->produces =
            memory_resize(problem->produces, problem->produces_capacity * sizeof(u32));
    }
    problem->produces[problem->produces_count++] = value;
    problem->producers[value]++;
    item->produces_count++;
}

/* Finds the needed values that an append may leave: those of the right length, which the sorted
 * `needed` brackets, that end with what it appends. */
static void append_produces(struct problem *problem, struct item *item, const struct order *needed,
                            u32 needed_count, u64 *pairs)
{
    bool exact = !item->unknown && item->number_known;
    u64 low = exact ? (u64)item->number : values_get(&problem->values, item->value)->size;
    u64 high = exact ? low : UINT64_MAX;
    u32 from = 0;
    u32 to = needed_count;
    while (from < to) {
        u32 middle = from + (to - from) / 2;
        if (needed[middle].first < low)
            from = middle + 1;
        else
            to = middle;
    }
    for (u32 i = from; i < needed_count && needed[i].first <= high; i++) {
        if (++*pairs > APPEND_PAIRS_MAX)
            return;
        if (values_ends_with(&problem->values, needed[i].which, item->value))
            produces_push(problem, item, needed[i].which);
    }
}

static void produces_fill(struct problem *problem)
{
    struct order *needed = memory_alloc((problem->known_values + 1) * sizeof(*needed));
    u32 needed_count = 0;
    for (u32 value = 1; value < problem->known_values; value++)
        if (problem->last_reader[value] != ITEM_NONE)
            needed[needed_count++] =
                (struct order){.first = values_get(&problem->values, value)->size, .which = value};
    qsort(needed, needed_count, sizeof(*needed), order_compare);
    u64 pairs = 0;
    for (u32 i = 0; i < problem->count; i++) {
        struct item *item = &problem->items[i];
        item->produces_first = (u32)problem->produces_count;
        if (item->reads)
            continue;
        if (item->kind == OPERATION_PUT || item->kind == OPERATION_CAS)
            produces_push(problem, item, item->value);
        else if (item->kind == OPERATION_DEL)
            produces_push(problem, item, VALUE_ABSENT);
        else if (item->kind == OPERATION_APPEND)
            append_produces(problem, item, needed, needed_count, &pairs);
        else if (item->unknown)
            problem->unknown_incrs++;
        else
            produces_push(problem, item, item->out);
    }
    problem->ahead = pairs <= APPEND_PAIRS_MAX;
    memory_free(needed);
}

/* ---- life ---- */

void problem_init(struct problem *problem, const struct operation *operations, size_t count)
{
    ASSERT(count < UINT32_MAX / 4);
    memset(problem, 0, sizeof(*problem));
    values_init(&problem->values);
    items_fill(problem, operations, count);
    /* What an incr leaves is known too; kept where a get keeps what it read. */
    for (u32 i = 0; i < problem->count; i++) {
        struct item *item = &problem->items[i];
        if (item->kind == OPERATION_INCR && !item->unknown)
            item->out = values_of_integer(&problem->values, item->number);
    }
    items_drop_invisible(problem);
    problem->known_values = problem->values.count;
    problem->producers = memory_alloc_zero(problem->known_values, sizeof(u32));
    problem->last_reader = memory_alloc(problem->known_values * sizeof(u32));
    memset(problem->last_reader, 0xff, problem->known_values * sizeof(u32));
    lists_fill(problem);
    twins_fill(problem);
    produces_fill(problem);
    problem->memory += problem->count * sizeof(struct item) +
                       problem->produces_capacity * sizeof(u32) +
                       problem->known_values * 2 * sizeof(u32);
}

void problem_deinit(struct problem *problem)
{
    links_deinit(&problem->answered);
    links_deinit(&problem->reads);
    links_deinit(&problem->changes);
    links_deinit(&problem->changes_answered);
    links_deinit(&problem->unknown);
    links_deinit(&problem->readers);
    links_deinit(&problem->twins);
    memory_free(problem->producers);
    memory_free(problem->last_reader);
    memory_free(problem->produces);
    memory_free(problem->items);
    values_deinit(&problem->values);
}

/* ---- lifting ---- */

static void readers_remove(struct problem *problem, u32 number, u32 value)
{
    u32 earlier = problem->readers.prev[number];
    u32 later = problem->readers.next[number];
    if (earlier != ITEM_NONE)
        problem->readers.next[earlier] = later;
    if (later != ITEM_NONE)
        problem->readers.prev[later] = earlier;
    else
        problem->last_reader[value] = earlier;
}

static void readers_restore(struct problem *problem, u32 number, u32 value)
{
    u32 earlier = problem->readers.prev[number];
    u32 later = problem->readers.next[number];
    if (earlier != ITEM_NONE)
        problem->readers.next[earlier] = number;
    if (later != ITEM_NONE)
        problem->readers.prev[later] = number;
    else
        problem->last_reader[value] = number;
}

static void twins_remove(struct links *twins, u32 number)
{
    if (twins->prev[number] != ITEM_NONE)
        twins->next[twins->prev[number]] = twins->next[number];
    if (twins->next[number] != ITEM_NONE)
        twins->prev[twins->next[number]] = twins->prev[number];
}

static void twins_restore(struct links *twins, u32 number)
{
    if (twins->prev[number] != ITEM_NONE)
        twins->next[twins->prev[number]] = number;
    if (twins->next[number] != ITEM_NONE)
        twins->prev[twins->next[number]] = number;
}

bool problem_has_elder_twin(const struct problem *problem, u32 item, u64 until)
{
    u32 elder = problem->twins.prev[item];
    while (elder != ITEM_NONE && problem->items[elder].t0 > until)
        elder = problem->twins.prev[elder];
    return elder != ITEM_NONE;
}

void problem_lift(struct problem *problem, u32 number)
{
    const struct item *item = &problem->items[number];
    twins_remove(&problem->twins, number);
    if (item->unknown) {
        links_remove(&problem->unknown, number);
        problem->unknown_incrs -= item->kind == OPERATION_INCR;
    } else {
        links_remove(&problem->answered, number);
        links_remove(item->reads ? &problem->reads : &problem->changes, number);
        if (!item->reads)
            links_remove(&problem->changes_answered, number);
    }
    if (item->needs != VALUE_NONE)
        readers_remove(problem, number, item->needs);
    for (u32 i = 0; i < item->produces_count; i++)
        problem->producers[problem->produces[item->produces_first + i]]--;
}

void problem_unlift(struct problem *problem, u32 number)
{
    const struct item *item = &problem->items[number];
    for (u32 i = 0; i < item->produces_count; i++)
        problem->producers[problem->produces[item->produces_first + i]]++;
    if (item->needs != VALUE_NONE)
        readers_restore(problem, number, item->needs);
    if (item->unknown) {
        links_restore(&problem->unknown, number);
        problem->unknown_incrs += item->kind == OPERATION_INCR;
    } else {
        links_restore(&problem->answered, number);
        links_restore(item->reads ? &problem->reads : &problem->changes, number);
        if (!item->reads)
            links_restore(&problem->changes_answered, number);
    }
    twins_restore(&problem->twins, number);
}

bool problem_is_last_chance(const struct problem *problem, u32 value)
{
    if (!problem->ahead || value >= problem->known_values ||
        problem->last_reader[value] == ITEM_NONE || problem->producers[value] > 0)
        return false;
    return problem->unknown_incrs == 0 || !values_get(&problem->values, value)->is_integer;
}

bool problem_is_hopeless(const struct problem *problem)
{
    for (u32 value = 1; value < problem->known_values; value++)
        if (problem_is_last_chance(problem, value))
            return true;
    return false;
}
