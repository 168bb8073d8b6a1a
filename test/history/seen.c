/* seen.c - see seen.h. */
#include "test/history/seen.h"

#include "common/memory.h"

enum { SLOTS_FIRST = 1024 };

void seen_init(struct seen *seen)
{
    seen->slot_count = SLOTS_FIRST;
    seen->slots = memory_alloc_zero(seen->slot_count, sizeof(*seen->slots));
    seen->count = 0;
}

void seen_deinit(struct seen *seen)
{
    memory_free(seen->slots);
}

static bool is_free(const struct fingerprint *slot)
{
    return slot->word[0] == 0 && slot->word[1] == 0;
}

/* The slot with this fingerprint, or the free one where it belongs. */
static struct fingerprint *slot_find(const struct seen *seen, struct fingerprint fingerprint)
{
    size_t mask = seen->slot_count - 1;
    size_t i = (size_t)fingerprint.word[0] & mask;
    while (!is_free(&seen->slots[i]) && (seen->slots[i].word[0] != fingerprint.word[0] ||
                                         seen->slots[i].word[1] != fingerprint.word[1]))
        i = (i + 1) & mask;
    return &seen->slots[i];
}

static bool is_full(const struct seen *seen)
{
    return (seen->count + 1) * 4 > seen->slot_count * 3;
}

size_t seen_memory_next(const struct seen *seen)
{
    return seen->slot_count * sizeof(*seen->slots) * (is_full(seen) ? 3 : 1);
}

static void seen_grow(struct seen *seen)
{
    struct seen larger = {.slot_count = seen->slot_count * 2, .count = seen->count};
    larger.slots = memory_alloc_zero(larger.slot_count, sizeof(*larger.slots));
    for (size_t i = 0; i < seen->slot_count; i++)
        if (!is_free(&seen->slots[i]))
            *slot_find(&larger, seen->slots[i]) = seen->slots[i];
    memory_free(seen->slots);
    *seen = larger;
}

bool seen_add(struct seen *seen, struct fingerprint fingerprint)
{
    if (fingerprint.word[0] == 0 && fingerprint.word[1] == 0)
        fingerprint.word[1] = 1;
    if (is_full(seen))
        seen_grow(seen);
    struct fingerprint *slot = slot_find(seen, fingerprint);
    if (!is_free(slot))
        return false;
    *slot = fingerprint;
    seen->count++;
    return true;
}

/* A bijection on 64 bits that leaves no pattern (splitmix64's finish). */
static u64 scramble(u64 number)
{
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9ULL;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebULL;
    return number ^ (number >> 31);
}

struct fingerprint fingerprint_of(u64 number)
{
    u64 first = scramble(number * 2 * 0x9e3779b97f4a7c15ULL + 0x243f6a8885a308d3ULL);
    u64 second = scramble((number * 2 + 1) * 0x9e3779b97f4a7c15ULL + 0x13198a2e03707344ULL);
    return (struct fingerprint){{first, second}};
}
