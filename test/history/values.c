/* values.c - see values.h. */
#include "test/history/values.h"

#include <string.h>

#include "common/memory.h"

__extension__ typedef unsigned __int128 u128;

#define PRIME ((1ULL << 61) - 1)

enum { VALUES_FIRST = 64, SLOTS_FIRST = 256, INTEGER_DIGITS_MAX = 20 };

/* Two bases below PRIME, chosen by chance once and for all: runs must repeat exactly. */
static const u64 bases[2] = {1042398718230914837ULL, 1730495876120398467ULL};

static u64 multiply(u64 a, u64 b)
{
    u128 product = (u128)a * b;
    u64 sum = (u64)(product & PRIME) + (u64)(product >> 61);
    return sum >= PRIME ? sum - PRIME : sum;
}

static u64 add(u64 a, u64 b)
{
    u64 sum = a + b;
    return sum >= PRIME ? sum - PRIME : sum;
}

static struct value value_empty(void)
{
    struct value value;
    memset(&value, 0, sizeof(value));
    value.power[0] = 1;
    value.power[1] = 1;
    return value;
}

void values_init(struct values *values)
{
    memset(values, 0, sizeof(*values));
    values->capacity = VALUES_FIRST;
    values->table = memory_alloc(values->capacity * sizeof(*values->table));
    values->slot_count = SLOTS_FIRST;
    values->slots = memory_alloc_zero(values->slot_count, sizeof(*values->slots));
    values->table[VALUE_ABSENT] = value_empty();
    values->count = 1;
}

void values_deinit(struct values *values)
{
    memory_free(values->table);
    memory_free(values->slots);
    memset(values, 0, sizeof(*values));
}

size_t values_memory(const struct values *values)
{
    return values->capacity * sizeof(*values->table) + values->slot_count * sizeof(*values->slots);
}

static bool value_equal(const struct value *a, const struct value *b)
{
    return a->size == b->size && a->hash[0] == b->hash[0] && a->hash[1] == b->hash[1] &&
           memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static u32 *slot_find(const struct values *values, const struct value *value)
{
    u32 mask = values->slot_count - 1;
    u32 i = (u32)((value->hash[0] ^ value->size) * 0x9e3779b97f4a7c15ULL >> 32) & mask;
    while (values->slots[i] != 0 && !value_equal(&values->table[values->slots[i]], value))
        i = (i + 1) & mask;
    return &values->slots[i];
}

static void slots_grow(struct values *values)
{
    memory_free(values->slots);
    values->slot_count *= 2;
    values->slots = memory_alloc_zero(values->slot_count, sizeof(*values->slots));
    for (u32 number = 1; number < values->count; number++)
        *slot_find(values, &values->table[number]) = number;
}

/* Redis' rule: what printing the number would give, and nothing else. */
static bool integer_parse(const u8 *bytes, size_t size, i64 *integer)
{
    bool negative = size > 0 && bytes[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == size || size > INTEGER_DIGITS_MAX)
        return false;
    if (bytes[i] == '0' && size > 1)
        return false;
    u64 limit = negative ? (u64)INT64_MAX + 1 : (u64)INT64_MAX;
    u64 number = 0;
    for (; i < size; i++) {
        if (bytes[i] < '0' || bytes[i] > '9')
            return false;
        u64 digit = (u64)(bytes[i] - '0');
        if (number > (limit - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    *integer = negative ? (i64)(0 - number) : (i64)number;
    return true;
}

/* The number of an equal value, or of a new one. */
static u32 values_intern(struct values *values, const struct value *value)
{
    u32 *slot = slot_find(values, value);
    if (*slot != 0) {
        struct value *known = &values->table[*slot];
        if (known->text == NULL)
            known->text = value->text;
        return *slot;
    }
    if (values->count == values->capacity) {
        values->capacity *= 2;
        values->table = memory_resize(values->table, values->capacity * sizeof(*values->table));
    }
    u32 number = values->count++;
    *slot = number;
    struct value *kept = &values->table[number];
    *kept = *value;
    kept->is_integer = value->size <= INTEGER_DIGITS_MAX &&
                       integer_parse(kept->bytes, (size_t)kept->size, &kept->integer);
    if (values->count * 2 > values->slot_count)
        slots_grow(values);
    return number;
}

static struct value value_of_bytes(const u8 *data, size_t size)
{
    struct value value = value_empty();
    value.size = size;
    for (int i = 0; i < 2; i++)
        for (size_t at = 0; at < size; at++) {
            value.hash[i] = add(multiply(value.hash[i], bases[i]), (u64)data[at] + 1);
            value.power[i] = multiply(value.power[i], bases[i]);
        }
    if (size <= VALUE_BYTES_KEPT)
        memcpy(value.bytes, data, size);
    return value;
}

u32 values_of_text(struct values *values, const struct text *text)
{
    if (text == NULL)
        return VALUE_ABSENT;
    struct value value = value_of_bytes(text->data, text->size);
    value.text = text;
    return values_intern(values, &value);
}

u32 values_of_integer(struct values *values, i64 integer)
{
    u8 digits[INTEGER_DIGITS_MAX];
    size_t at = sizeof(digits);
    u64 rest = integer < 0 ? 0 - (u64)integer : (u64)integer;
    do {
        digits[--at] = (u8)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (integer < 0)
        digits[--at] = '-';
    struct value value = value_of_bytes(digits + at, sizeof(digits) - at);
    return values_intern(values, &value);
}

u32 values_append(struct values *values, u32 left, u32 right)
{
    const struct value *a = &values->table[left];
    const struct value *b = &values->table[right];
    struct value value = value_empty();
    value.size = a->size + b->size;
    for (int i = 0; i < 2; i++) {
        value.hash[i] = add(multiply(a->hash[i], b->power[i]), b->hash[i]);
        value.power[i] = multiply(a->power[i], b->power[i]);
    }
    if (value.size <= VALUE_BYTES_KEPT) {
        memcpy(value.bytes, a->bytes, (size_t)a->size);
        memcpy(value.bytes + a->size, b->bytes, (size_t)b->size);
    }
    return values_intern(values, &value);
}

bool values_ends_with(const struct values *values, u32 value, u32 end)
{
    const struct value *whole = &values->table[value];
    const struct value *tail = &values->table[end];
    return tail->size <= whole->size && memcmp(value_data(whole) + (whole->size - tail->size),
                                               value_data(tail), (size_t)tail->size) == 0;
}
