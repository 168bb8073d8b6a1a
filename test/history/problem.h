/* problem.h - one key's operations, made ready for the search.
 *
 * What prepares here is what keeps the search short: operations that cannot matter are dropped,
 * the others are threaded on lists from which the search lifts them in O(1) and puts them back in
 * reverse order, and for each value it is counted who may still produce it and who still needs it.
 *
 * Private to the checker: search.c walks it, nobody else includes it. */
#ifndef MAILRAFT_TEST_HISTORY_PROBLEM_H
#define MAILRAFT_TEST_HISTORY_PROBLEM_H

#include "test/history/history.h"
#include "test/history/values.h"

#define ITEM_NONE  UINT32_MAX
#define VALUE_NONE UINT32_MAX

/* An operation as the search sees it. Items are numbered: those with an outcome first, in the
 * order of their answers, then those without, in the order of their invocations. */
struct item {
    enum operation_kind kind;
    bool unknown;   /* of unknown outcome: no answers, no end */
    bool reads;     /* its answers say that it left the key as it was */
    bool invisible; /* a put that only overwriting operations can follow: see problem.c */
    bool ok;
    bool found;
    bool number_known;
    u32 value;    /* put, append, cas: what is written */
    u32 expected; /* cas */
    u32 out;      /* get: what was read */
    u32 needs;    /* the one value of the key at which its answers are right; VALUE_NONE: several */
    u32 produces_first; /* in problem.produces: the values that anyone needs and it may leave */
    u32 produces_count;
    i64 delta;
    i64 number;
    u64 t0;
    u64 t1;        /* UINT64_MAX when unknown */
    u32 operation; /* its position among the operations given */
};

/* A doubly linked list over items that forgets nothing: a removed item keeps its neighbours, so
 * that undoing removals in reverse order restores the list. The head stands at index `count`. */
struct links {
    u32 *next;
    u32 *prev;
    u32 head;
};

static inline u32 links_first(const struct links *links)
{
    return links->next[links->head];
}
static inline void links_remove(struct links *links, u32 item)
{
    links->next[links->prev[item]] = links->next[item];
    links->prev[links->next[item]] = links->prev[item];
}
static inline void links_restore(struct links *links, u32 item)
{
    links->next[links->prev[item]] = item;
    links->prev[links->next[item]] = item;
}

struct problem {
    struct values values;
    struct item *items;
    u32 count;

    struct links answered;         /* with an outcome, by t1 */
    struct links reads;            /* of these, those that only read, by t0 */
    struct links changes;          /* of these, the others, by t0 */
    struct links changes_answered; /* the same by t1 */
    struct links unknown;          /* of unknown outcome, by t0 */

    /* What lies ahead, for values numbered below known_values. All counts are of items not yet
     * lifted. `producers` may count too many, never too few. */
    u32 known_values;
    u32 *producers;
    u32 *last_reader;     /* the item with the highest t0 that needs the value; ITEM_NONE: none */
    struct links readers; /* per value: next is towards higher t0; ITEM_NONE ends it */
    /* Twins (twins.h) not yet lifted, by rising number, that is by t1; ITEM_NONE ends it. */
    struct links twins;
    u32 *produces;
    size_t produces_count;
    size_t produces_capacity;
    u32 unknown_incrs; /* each may produce any integer */
    bool ahead;        /* the counts are there; too many appends of unknown length forgo them */

    size_t memory; /* bytes, without values */
};

/* Ownership: borrows the texts of the operations until problem_deinit. */
void problem_init(struct problem *problem, const struct operation *operations, size_t count);
void problem_deinit(struct problem *problem);

/* Whether the item can take effect, with its answers, while the key holds `state`; if so, what the
 * key holds then. May make new values. */
bool problem_step(struct problem *problem, u32 item, u32 state, u32 *after);

/* Takes the item off all lists and counts, and back. Undo in reverse order. */
void problem_lift(struct problem *problem, u32 item);
void problem_unlift(struct problem *problem, u32 item);

/* Whether a twin of the item, invoked by `until`, is left and has its end before the item's. */
bool problem_has_elder_twin(const struct problem *problem, u32 item, u64 until);

/* Whether items left still need this value, though nothing left can produce it. */
bool problem_is_last_chance(const struct problem *problem, u32 value);

/* Whether some item left needs a value that nothing can ever produce. */
bool problem_is_hopeless(const struct problem *problem);

#endif
