/* twins.c - see twins.h.
 *
 * A value is *plain* when no operation on the key compares what the key holds with that value or
 * with one that starts with it, and no incr could take it, or what appends make of it, for a
 * number. Nobody can tell two plain values apart, except by their size, if an append knows the
 * length it came to. No value at all is never plain: that the key is gone is seen by a read. */
#include "test/history/twins.h"

#include <stdlib.h>
#include <string.h>

#include "common/memory.h"

/* What operations of this key look at. */
struct looks {
    const struct value **compared; /* sorted by bytes */
    size_t count;
    bool lengths;    /* an append that knows the length it came to */
    bool incrs_zero; /* an incr that found 0 or nothing */
    bool unknown_incrs;
};

/* What makes twins: equal in all fields. */
struct class_key {
    u64 value; /* a number of a value, or above UINT32_MAX: plain, with this size */
    u32 expected;
    u32 kind;
    i64 delta;
    i64 number;
    u32 answers; /* bits: unknown, ok, found, number known */
    u32 item;    /* not compared for equality */
};

static int bytes_compare(const struct value *a, const struct value *b)
{
    size_t size = (size_t)u64_min(a->size, b->size);
    int order = memcmp(value_data(a), value_data(b), size);
    return order != 0 ? order : a->size < b->size ? -1 : a->size > b->size;
}

static int looks_compare(const void *left, const void *right)
{
    const struct value *const *a = left;
    const struct value *const *b = right;
    return bytes_compare(*a, *b);
}

static void looks_init(struct looks *looks, const struct problem *problem)
{
    memset(looks, 0, sizeof(*looks));
    looks->compared = memory_alloc(((size_t)problem->count * 2 + 1) * sizeof(*looks->compared));
    for (u32 i = 0; i < problem->count; i++) {
        const struct item *item = &problem->items[i];
        if (item->needs != VALUE_NONE && item->needs != VALUE_ABSENT)
            looks->compared[looks->count++] = values_get(&problem->values, item->needs);
        if (item->kind == OPERATION_CAS && item->expected != VALUE_ABSENT)
            looks->compared[looks->count++] = values_get(&problem->values, item->expected);
        looks->lengths |= item->kind == OPERATION_APPEND && !item->unknown && item->number_known;
        if (item->kind != OPERATION_INCR)
            continue;
        looks->unknown_incrs |= item->unknown;
        looks->incrs_zero |= !item->unknown && item->needs == VALUE_NONE;
    }
    qsort(looks->compared, looks->count, sizeof(*looks->compared), looks_compare);
}

/* Whether some compared value is this one or starts with it. Those that do follow it directly in
 * the order of bytes. */
static bool is_compared(const struct looks *looks, const struct value *value)
{
    size_t from = 0;
    size_t to = looks->count;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        if (bytes_compare(looks->compared[middle], value) < 0)
            from = middle + 1;
        else
            to = middle;
    }
    if (from == looks->count || looks->compared[from]->size < value->size)
        return false;
    return memcmp(value_data(looks->compared[from]), value_data(value), (size_t)value->size) == 0;
}

static bool is_plain(const struct looks *looks, const struct value *value)
{
    bool starts_number =
        value->size == 0 || value->is_integer || (value->size == 1 && value->bytes[0] == '-');
    bool starts_zero = value->size == 0 || (value->is_integer && value->integer == 0);
    if ((looks->unknown_incrs && starts_number) || (looks->incrs_zero && starts_zero))
        return false;
    return !is_compared(looks, value);
}

static struct class_key class_key_of(const struct looks *looks, const struct problem *problem,
                                     u32 number)
{
    const struct item *item = &problem->items[number];
    const struct value *value = values_get(&problem->values, item->value);
    struct class_key key = {
        .value = item->value, .expected = item->expected, .kind = item->kind, .item = number};
    bool writes = item->kind == OPERATION_PUT || item->kind == OPERATION_CAS;
    if (writes && item->value != VALUE_ABSENT && is_plain(looks, value))
        key.value = ((u64)1 << 32) + (looks->lengths ? value->size : 0);
    /* A put has no answers: one with an outcome and one without differ by their end alone. */
    if (item->kind == OPERATION_PUT)
        return key;
    key.delta = item->delta;
    if (!item->unknown) {
        key.number = item->number;
        key.answers =
            2U | (item->ok ? 4U : 0) | (item->found ? 8U : 0) | (item->number_known ? 16U : 0);
    }
    /* Reads are taken at once and never tried: each is alone in its class. */
    key.answers |= item->reads ? 1U : 0;
    return key;
}

static int number_compare(u64 a, u64 b)
{
    return a < b ? -1 : a > b;
}

static int class_compare(const struct class_key *a, const struct class_key *b)
{
    int orders[] = {number_compare(a->kind, b->kind),
                    number_compare(a->value, b->value),
                    number_compare(a->expected, b->expected),
                    number_compare((u64)a->delta, (u64)b->delta),
                    number_compare((u64)a->number, (u64)b->number),
                    number_compare(a->answers, b->answers)};
    for (size_t i = 0; i < ARRAY_LENGTH(orders); i++)
        if (orders[i] != 0)
            return orders[i];
    return 0;
}

static int class_sort(const void *left, const void *right)
{
    const struct class_key *a = left;
    const struct class_key *b = right;
    int order = class_compare(a, b);
    return order != 0 ? order : number_compare(a->item, b->item);
}

u32 *twins_find(const struct problem *problem)
{
    struct looks looks;
    looks_init(&looks, problem);
    u32 *classes = memory_alloc(((size_t)problem->count + 1) * sizeof(*classes));
    struct class_key *keys = memory_alloc(((size_t)problem->count + 1) * sizeof(*keys));
    for (u32 i = 0; i < problem->count; i++)
        keys[i] = class_key_of(&looks, problem, i);
    qsort(keys, problem->count, sizeof(*keys), class_sort);
    u32 class = 0;
    for (u32 i = 0; i < problem->count; i++) {
        if (i > 0 && class_compare(&keys[i - 1], &keys[i]) != 0)
            class ++;
        classes[keys[i].item] = class;
    }
    memory_free(keys);
    memory_free(looks.compared);
    return classes;
}
