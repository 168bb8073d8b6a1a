/* last_state.c - see last_state.h.
 *
 * The search numbers values and does not keep the bytes of long ones, so that the order that it
 * found is carried out once more, with bytes. Whether the state is the only one is asked of the
 * search itself: a compare-and-swap that did not find this state is added; when that makes the
 * whole impossible, there is no other state to be met. */
#include "test/history/last_state.h"

#include <inttypes.h>
#include <string.h>

#include "common/bytes.h"
#include "common/memory.h"
#include "test/history/values.h"

struct holder {
    bool present;
    struct buffer value;
};

static struct text *text_make(const void *data, size_t size)
{
    struct text *text = memory_alloc(sizeof(*text) + size);
    text->id = 0;
    text->size = (u32)size;
    if (size > 0)
        memcpy(text->data, data, size);
    return text;
}

static bool holder_is(const struct holder *holder, const struct text *text)
{
    if (text == NULL || !holder->present)
        return text == NULL && !holder->present;
    return holder->value.size == text->size &&
           (text->size == 0 || memcmp(holder->value.data, text->data, text->size) == 0);
}

static void holder_set(struct holder *holder, const struct text *text)
{
    holder->present = text != NULL;
    buffer_clear(&holder->value);
    if (text != NULL)
        buffer_append(&holder->value, text->data, text->size);
}

/* What the search would make of it, whose rule of what is a number is in values.c. */
static void holder_add(struct holder *holder, i64 delta)
{
    struct values values;
    struct text *text = text_make(holder->value.data, holder->value.size);
    values_init(&values);
    const struct value *value = values_get(&values, values_of_text(&values, text));
    i64 before = holder->present ? value->integer : 0;
    i64 sum;
    if ((!holder->present || value->is_integer) && !__builtin_add_overflow(before, delta, &sum)) {
        holder->present = true;
        buffer_clear(&holder->value);
        buffer_append_format(&holder->value, "%" PRId64, sum);
    }
    values_deinit(&values);
    memory_free(text);
}

static void holder_carry_out(struct holder *holder, const struct operation *operation)
{
    switch (operation->kind) {
    case OPERATION_GET:
        return;
    case OPERATION_PUT:
        holder_set(holder, operation->value);
        return;
    case OPERATION_APPEND:
        holder->present = true;
        buffer_append(&holder->value, operation->value->data, operation->value->size);
        return;
    case OPERATION_CAS:
        if (holder_is(holder, operation->expected))
            holder_set(holder, operation->value);
        return;
    case OPERATION_DEL:
        holder_set(holder, NULL);
        return;
    case OPERATION_INCR:
        holder_add(holder, operation->delta);
        return;
    case OPERATION_KIND_COUNT:
        break;
    }
    UNREACHABLE();
}

/* Whether somebody who looks between t0 and t1 can meet anything else. */
static bool is_only(struct operation *operations, size_t count, u64 t0, u64 t1,
                    const struct linearizability_limits *limits, struct last_state *state)
{
    operations[count] = (struct operation){.kind = OPERATION_CAS,
                                           .status = OPERATION_OK,
                                           .key = operations[0].key,
                                           .value = operations[0].key,
                                           .expected = state->text,
                                           .t0 = t0,
                                           .t1 = t1};
    struct search_outcome outcome = search_run(operations, count + 1, limits);
    state->steps += outcome.steps + count;
    return outcome.verdict == NOT_LINEARIZABLE;
}

struct last_state last_state_find(struct operation *operations, size_t count, u64 t0, u64 t1,
                                  const struct linearizability_limits *limits)
{
    struct last_state state = {0};
    struct holder holder = {0};
    size_t ordered;
    u32 *order = memory_alloc((count + 1) * sizeof(*order));
    struct search_outcome outcome = search_order(operations, count, limits, order, &ordered);
    state.steps = outcome.steps + count;
    state.known = outcome.verdict == LINEARIZABLE;
    state.only = count == 0;
    if (state.known && count > 0) {
        buffer_init(&holder.value);
        for (size_t i = 0; i < ordered; i++)
            holder_carry_out(&holder, &operations[order[i]]);
        if (holder.present)
            state.text = text_make(holder.value.data, holder.value.size);
        buffer_deinit(&holder.value);
        state.only = is_only(operations, count, t0, t1, limits, &state);
    }
    memory_free(order);
    return state;
}

void last_state_deinit(struct last_state *state)
{
    memory_free(state->text);
    state->text = NULL;
}
