/* values.h - the values one key may hold while the search tries orders, each with a number.
 *
 * The search compares values all the time and builds new ones by appending, up to a hundred
 * thousand times on one key. So a value is a number, equal numbers are equal values, and appending
 * costs the same whatever the length: a value is kept as its size and two polynomial hashes modulo
 * 2^61 - 1, from which the hash of a concatenation follows without the bytes. Values up to
 * VALUE_BYTES_KEPT are kept whole and compared exactly. Two longer values of the same size are
 * taken for equal when 122 bits of hash agree, which for different ones happens with a chance
 * below size^2 / 2^122.
 *
 * Rejected: keeping the bytes. 100,000 appends of 10 bytes are 50 GB of intermediate values. */
#ifndef MAILRAFT_TEST_HISTORY_VALUES_H
#define MAILRAFT_TEST_HISTORY_VALUES_H

#include "test/history/history.h"

enum {
    VALUE_ABSENT = 0, /* the number of "no such key" */
    VALUE_BYTES_KEPT = 24
};

struct value {
    u64 size;
    u64 hash[2];                /* of all bytes, first byte most significant */
    u64 power[2];               /* base^size, what a hash in front is multiplied by */
    u8 bytes[VALUE_BYTES_KEPT]; /* when size allows, zeros behind; else all zeros */
    const struct text *text;    /* where the history has these bytes; NULL: nowhere */
    i64 integer;                /* meaningful when is_integer */
    bool is_integer;            /* the whole value is a 64-bit number in plain decimal */
};

struct values {
    struct value *table; /* by number; [VALUE_ABSENT] is an empty value that equals none */
    u32 count;
    u32 capacity;
    u32 *slots; /* hash table of numbers; 0: free */
    u32 slot_count;
};

void values_init(struct values *values);
void values_deinit(struct values *values);

/* The number of the value with these bytes; NULL: VALUE_ABSENT. */
u32 values_of_text(struct values *values, const struct text *text);
u32 values_of_integer(struct values *values, i64 integer);
/* The number of `left` followed by `right`. An absent left counts as empty. */
u32 values_append(struct values *values, u32 left, u32 right);

/* Whether the value ends with `end`. Each is short (VALUE_BYTES_KEPT) or has a text. */
bool values_ends_with(const struct values *values, u32 value, u32 end);

/* Bytes of memory in use. */
size_t values_memory(const struct values *values);

static inline const struct value *values_get(const struct values *values, u32 number)
{
    return &values->table[number];
}

/* The bytes of a value that is short (VALUE_BYTES_KEPT) or that the history names. */
static inline const u8 *value_data(const struct value *value)
{
    if (value->size <= VALUE_BYTES_KEPT)
        return value->bytes;
    ASSERT(value->text != NULL);
    return value->text->data;
}

#endif
