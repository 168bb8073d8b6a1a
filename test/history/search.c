/* search.c - see search.h.
 *
 * An operation is a candidate when no operation with an outcome that has not taken effect yet was
 * answered before it was invoked. Only candidates may take effect next, and the earliest answer
 * still outstanding (`front`) decides who is one. From each situation every candidate is tried,
 * except for what these rules save. Below, "an order" is an order of what has not taken effect
 * yet that explains all answers, and among several one with the fewest operations of unknown
 * outcome is meant.
 *
 * 1. Reads first. A candidate that only reads and is right now is taken without trying anything
 *    else. If there is an order, move this read to its front: the read changes nothing for the
 *    others, and it is right there.
 * 2. No unknown operation for nothing. After an operation of unknown outcome turned s into s', no
 *    operation is taken that could have been taken at s with the same result. If there is an order
 *    through it, there is one with fewer unknown operations, which the search meets elsewhere; so
 *    the order with the fewest is never cut, whichever way a situation on it was entered first.
 * 3. Invisible puts (problem.c) are taken just before any other put, all that are candidates, and
 *    nothing else is tried. If there is an order in which such a put comes later, what follows it
 *    there is the end or overwrites without looking, so that it may be taken out there; and right
 *    before the other put, which overwrites it in turn, it may be put in.
 * 4. Last chances. When operations that need the value v are left, but none that can produce it,
 *    then nothing may replace v before all of them took effect. So a situation is left at once
 *    when v is gone, or when something that must change v was answered before the last operation
 *    that needs v was invoked. Producers are never counted too low.
 * 5. Twins (twins.h). Of several candidates that are twins, only the one whose end comes first is
 *    tried. If there is an order in which another comes now, exchange the two (or, if the first
 *    is of unknown outcome and never comes, let it come in the other's place): the first is a
 *    candidate now, and the other, which may end later, still comes in time. */
#include "test/history/search.h"

#include <string.h>

#include "common/memory.h"
#include "test/history/problem.h"
#include "test/history/seen.h"

enum { STEPS_BETWEEN_ASKING = 1 << 14, FRAMES_FIRST = 256 };

/* Which candidates a frame tries, in this order. Helpers are those after which the front, which
 * was not right, is right. */
enum phase { PHASE_FRONT, PHASE_HELPERS, PHASE_OTHERS, PHASE_UNKNOWN_HELPERS, PHASE_UNKNOWN, DONE };

/* A situation in which several continuations are tried. */
struct frame {
    u32 lifted;  /* length of the trail here */
    u32 state;   /* what the key holds */
    u32 idle_at; /* rule 2: the value s; VALUE_NONE when the last operation was none such */
    u32 cursor;  /* the last candidate tried on the phase's list */
    enum phase phase;
    bool stuck; /* the front is not right at this state */
};

struct search {
    struct problem problem;
    struct seen seen;
    struct fingerprint set; /* of all that is lifted */
    u32 *trail;             /* what is lifted, in the order it took effect */
    u32 trail_count;
    struct frame *frames;
    u32 frame_count;
    u32 frame_capacity;
    u64 steps;
    u64 ask_at; /* steps at which the limits are looked at again */
    const struct linearizability_limits *limits;
    const char *limit;
};

static bool step(struct search *search, u32 item, u32 state, u32 *after)
{
    search->steps++;
    return problem_step(&search->problem, item, state, after);
}

static void lift(struct search *search, u32 item)
{
    problem_lift(&search->problem, item);
    search->set = fingerprint_xor(search->set, fingerprint_of(item));
    search->trail[search->trail_count++] = item;
}

/* Takes back all that was lifted after this frame was entered. */
static void rewind_to(struct search *search, const struct frame *frame)
{
    while (search->trail_count > frame->lifted) {
        u32 item = search->trail[--search->trail_count];
        search->set = fingerprint_xor(search->set, fingerprint_of(item));
        problem_unlift(&search->problem, item);
    }
}

/* The last instant at which a candidate may be invoked. */
static u64 candidates_until(const struct search *search)
{
    const struct problem *problem = &search->problem;
    u32 front = links_first(&problem->answered);
    return front == problem->answered.head ? UINT64_MAX : problem->items[front].t1;
}

/* Rule 1. Returns whether anything was taken. One pass is enough: the state stays, so that a read
 * that was not right will not be, and taking the front only adds candidates further along. */
static bool take_reads(struct search *search, u32 state)
{
    struct problem *problem = &search->problem;
    bool taken = false;
    u64 until = candidates_until(search);
    u32 item = links_first(&problem->reads);
    while (item != problem->reads.head && problem->items[item].t0 <= until) {
        u32 next = problem->reads.next[item];
        u32 after;
        if (step(search, item, state, &after)) {
            lift(search, item);
            taken = true;
            until = candidates_until(search);
        }
        item = next;
    }
    return taken;
}

/* Rule 3, before `put` is taken. */
static void take_invisible(struct search *search, u32 put)
{
    struct problem *problem = &search->problem;
    u64 until = candidates_until(search);
    u32 item = links_first(&problem->changes);
    while (item != problem->changes.head && problem->items[item].t0 <= until) {
        u32 next = problem->changes.next[item];
        if (item != put && problem->items[item].invisible)
            lift(search, item);
        item = next;
    }
}

/* Rule 4, after `item` has turned `before` into `after`. */
static bool is_dead_end(const struct search *search, u32 number, u32 before, u32 after)
{
    const struct problem *problem = &search->problem;
    const struct item *item = &problem->items[number];
    if (before != after && problem_is_last_chance(problem, before))
        return true;
    for (u32 i = 0; i < item->produces_count; i++) {
        u32 value = problem->produces[item->produces_first + i];
        if (value != after && problem_is_last_chance(problem, value))
            return true;
    }
    if (!problem_is_last_chance(problem, after))
        return false;
    u32 change = links_first(&problem->changes_answered);
    u32 last = problem->last_reader[after];
    return change != problem->changes_answered.head &&
           problem->items[change].t1 < problem->items[last].t0;
}

static bool remember(struct search *search, u32 state)
{
    /* States and items are numbered apart. */
    struct fingerprint mark = fingerprint_of((u64)state + ((u64)1 << 32));
    return seen_add(&search->seen, fingerprint_xor(search->set, mark));
}

static void frame_push(struct search *search, u32 state, u32 idle_at)
{
    if (search->frame_count == search->frame_capacity) {
        search->frame_capacity = search->frame_capacity * 2 + FRAMES_FIRST;
        search->frames =
            memory_resize(search->frames, search->frame_capacity * sizeof(*search->frames));
    }
    search->frames[search->frame_count++] = (struct frame){
        .lifted = search->trail_count,
        .state = state,
        .idle_at = idle_at,
        .cursor = ITEM_NONE,
        .phase = PHASE_FRONT,
    };
}

/* Lets the candidate take effect in the top frame's situation, and enters the situation after it
 * unless that is known or dead; then the caller rewinds. */
static bool enter(struct search *search, u32 number)
{
    struct frame frame = search->frames[search->frame_count - 1];
    const struct item *item = &search->problem.items[number];
    u32 after;
    u32 instead;
    if (!step(search, number, frame.state, &after) || (item->unknown && after == frame.state))
        return false;
    if (frame.idle_at != VALUE_NONE && step(search, number, frame.idle_at, &instead) &&
        instead == after)
        return false;
    if (item->kind == OPERATION_PUT)
        take_invisible(search, number);
    lift(search, number);
    if (is_dead_end(search, number, frame.state, after))
        return false;
    bool taken = take_reads(search, after);
    if (!remember(search, after))
        return false;
    frame_push(search, after, item->unknown && !taken ? frame.state : VALUE_NONE);
    return true;
}

/* Whether the front is right after this candidate, which is another. */
static bool is_helper(struct search *search, u32 item, u32 state)
{
    u32 front = links_first(&search->problem.answered);
    u32 after;
    u32 end;
    return step(search, item, state, &after) && step(search, front, after, &end);
}

/* The next candidate of a list that is a helper, or is none, as `helpers` says. When the front is
 * not stuck, nobody is a helper. */
static u32 list_next(struct search *search, struct frame *frame, const struct links *list,
                     bool helpers)
{
    const struct problem *problem = &search->problem;
    u32 front = links_first(&problem->answered);
    u64 until = candidates_until(search);
    u32 item = frame->cursor == ITEM_NONE ? links_first(list) : list->next[frame->cursor];
    if (helpers && !frame->stuck)
        return ITEM_NONE;
    for (; item != list->head && problem->items[item].t0 <= until; item = list->next[item]) {
        if (item == front || problem_has_elder_twin(problem, item, until))
            continue;
        if (!frame->stuck || is_helper(search, item, frame->state) == helpers) {
            frame->cursor = item;
            return item;
        }
    }
    return ITEM_NONE;
}

static u32 candidate_next(struct search *search, struct frame *frame)
{
    const struct problem *problem = &search->problem;
    while (frame->phase != DONE) {
        u32 found = ITEM_NONE;
        u32 front = links_first(&problem->answered);
        u32 after;
        switch (frame->phase) {
        case PHASE_FRONT:
            frame->stuck = !step(search, front, frame->state, &after);
            frame->phase = PHASE_HELPERS;
            /* A front that reads and is right was taken already. */
            if (!frame->stuck)
                return front;
            continue;
        case PHASE_HELPERS:
            found = list_next(search, frame, &problem->changes, true);
            break;
        case PHASE_OTHERS:
            found = list_next(search, frame, &problem->changes, false);
            break;
        case PHASE_UNKNOWN_HELPERS:
            found = list_next(search, frame, &problem->unknown, true);
            break;
        case PHASE_UNKNOWN:
            found = list_next(search, frame, &problem->unknown, false);
            break;
        case DONE:
            break;
        }
        if (found != ITEM_NONE)
            return found;
        frame->phase++;
        frame->cursor = ITEM_NONE;
    }
    return ITEM_NONE;
}

static size_t memory_in_use(const struct search *search)
{
    return search->problem.memory + values_memory(&search->problem.values) +
           seen_memory_next(&search->seen) + search->problem.count * sizeof(u32) +
           search->frame_capacity * sizeof(struct frame);
}

/* Whether to give up. Memory is looked at each time because the set of situations doubles. */
static bool is_over_limit(struct search *search)
{
    const struct linearizability_limits *limits = search->limits;
    if (limits->memory_max > 0 && memory_in_use(search) > limits->memory_max)
        search->limit = "memory";
    else if (limits->steps_max > 0 && search->steps > limits->steps_max)
        search->limit = "steps";
    else if (limits->stop != NULL && search->steps >= search->ask_at) {
        search->ask_at = search->steps + STEPS_BETWEEN_ASKING;
        if (limits->stop(limits->context))
            search->limit = "time";
    }
    return search->limit != NULL;
}

static enum verdict search_all(struct search *search)
{
    const struct links *answered = &search->problem.answered;
    if (problem_is_hopeless(&search->problem))
        return NOT_LINEARIZABLE;
    take_reads(search, VALUE_ABSENT);
    remember(search, VALUE_ABSENT);
    frame_push(search, VALUE_ABSENT, VALUE_NONE);
    while (search->frame_count > 0) {
        if (links_first(answered) == answered->head)
            return LINEARIZABLE;
        if (is_over_limit(search))
            return GAVE_UP;
        struct frame *frame = &search->frames[search->frame_count - 1];
        u32 candidate = candidate_next(search, frame);
        if (candidate == ITEM_NONE) {
            search->frame_count--;
            if (search->frame_count > 0)
                rewind_to(search, &search->frames[search->frame_count - 1]);
        } else if (!enter(search, candidate)) {
            rewind_to(search, &search->frames[search->frame_count - 1]);
        }
    }
    return NOT_LINEARIZABLE;
}

struct search_outcome search_order(const struct operation *operations, size_t count,
                                   const struct linearizability_limits *limits, u32 *order,
                                   size_t *ordered)
{
    struct search search;
    memset(&search, 0, sizeof(search));
    search.limits = limits;
    problem_init(&search.problem, operations, count);
    seen_init(&search.seen);
    search.trail = memory_alloc(((size_t)search.problem.count + 1) * sizeof(*search.trail));
    struct search_outcome outcome = {.verdict = search_all(&search)};
    outcome.steps = search.steps;
    outcome.memory = memory_in_use(&search);
    outcome.limit = search.limit;
    *ordered = 0;
    if (outcome.verdict == LINEARIZABLE && order != NULL)
        while (*ordered < search.trail_count) {
            order[*ordered] = search.problem.items[search.trail[*ordered]].operation;
            (*ordered)++;
        }
    memory_free(search.frames);
    memory_free(search.trail);
    seen_deinit(&search.seen);
    problem_deinit(&search.problem);
    return outcome;
}

struct search_outcome search_run(const struct operation *operations, size_t count,
                                 const struct linearizability_limits *limits)
{
    size_t ordered;
    return search_order(operations, count, limits, NULL, &ordered);
}
