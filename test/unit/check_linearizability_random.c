/* check_linearizability_random.c - the linearizability checker on random histories.
 *
 * A second checker, which tries every order and knows no shortcut, must agree on thousands of small
 * ones; and long ones that a model did must pass. */
#include "test/history/linearizability.h"

#include <stdio.h>
#include <string.h>

#include "common/memory.h"
#include "common/rng.h"
#include "test/unit/unit.h"

static const struct linearizability_limits unlimited;

/* ---- a checker that tries every order ---- */

enum { MODEL_SIZE = 64 };

/* The value of one key, the plain way. */
struct model {
    bool present;
    char bytes[MODEL_SIZE];
};

static void model_set(struct model *model, const struct text *text)
{
    model->present = text != NULL;
    memset(model->bytes, 0, sizeof(model->bytes));
    if (text != NULL)
        memcpy(model->bytes, text->data, text->size);
}

static bool model_equal(const struct model *model, const struct text *text)
{
    if (text == NULL || !model->present)
        return (text == NULL) == !model->present;
    return strlen(model->bytes) == text->size && memcmp(model->bytes, text->data, text->size) == 0;
}

static bool model_is_integer(const struct model *model)
{
    char printed[MODEL_SIZE];
    snprintf(printed, sizeof(printed), "%lld", strtoll(model->bytes, NULL, 10));
    return strcmp(printed, model->bytes) == 0;
}

/* Carries the operation out and fills in its answers; false when it is an error. */
static bool model_apply(struct model *model, struct operation *operation)
{
    switch (operation->kind) {
    case OPERATION_GET:
        operation->found = model->present;
        return true;
    case OPERATION_PUT:
        model_set(model, operation->value);
        return true;
    case OPERATION_APPEND:
        model->present = true;
        strncat(model->bytes, (const char *)operation->value->data, operation->value->size);
        operation->number = (i64)strlen(model->bytes);
        return true;
    case OPERATION_CAS:
        operation->ok = model_equal(model, operation->expected);
        if (operation->ok)
            model_set(model, operation->value);
        return true;
    case OPERATION_DEL:
        operation->found = model->present;
        memset(model, 0, sizeof(*model));
        return true;
    case OPERATION_INCR:
        if (model->present && !model_is_integer(model))
            return false;
        operation->number = strtoll(model->bytes, NULL, 10) + operation->delta;
        model->present = true;
        snprintf(model->bytes, sizeof(model->bytes), "%lld", (long long)operation->number);
        return true;
    case OPERATION_KIND_COUNT:
        break;
    }
    return false;
}

/* Whether what the model answered is what the client was told. */
static bool answers_agree(const struct operation *told, const struct operation *model,
                          const struct model *before, bool done)
{
    switch (told->kind) {
    case OPERATION_GET:
        return model_equal(before, told->out);
    case OPERATION_APPEND:
        return !told->number_known || told->number == model->number;
    case OPERATION_CAS:
        return told->ok == model->ok;
    case OPERATION_DEL:
        return told->found == model->found;
    case OPERATION_INCR:
        return done && told->number == model->number;
    case OPERATION_PUT:
        return true;
    case OPERATION_KIND_COUNT:
        break;
    }
    return false;
}

/* Whether some order of the operations not in `used` explains their answers from here. */
static bool every_order(const struct history *history, u32 used, const struct model *model)
{
    bool left = false;
    for (size_t i = 0; i < history->count; i++)
        left |= !(used >> i & 1) && history->operations[i].status == OPERATION_OK;
    if (!left)
        return true;
    for (size_t i = 0; i < history->count; i++) {
        const struct operation *operation = &history->operations[i];
        bool waits = (used >> i & 1) || operation->status == OPERATION_FAIL;
        for (size_t j = 0; j < history->count && !waits; j++)
            waits = !(used >> j & 1) && history->operations[j].status == OPERATION_OK &&
                    history->operations[j].t1 < operation->t0;
        if (waits)
            continue;
        struct model after = *model;
        struct operation answered = *operation;
        bool done = model_apply(&after, &answered);
        if (operation->status == OPERATION_OK && !answers_agree(operation, &answered, model, done))
            continue;
        if (every_order(history, used | 1U << i, &after))
            return true;
    }
    return false;
}

/* ---- random histories ---- */

struct workload {
    u64 seed;
    u64 operations;
    u64 clients;
    u64 kinds;  /* mask of operation kinds */
    u64 values; /* how many different ones are written; 0: each is new */
    u64 unknown_percent;
    u64 fail_percent;
    u64 keys;
};

static const struct text *random_value(struct history *history, struct rng *rng,
                                       const struct workload *workload, u64 serial)
{
    char word[32];
    int size = snprintf(
        word, sizeof(word), "%ju",
        (uintmax_t)(workload->values == 0 ? serial + 1 : rng_range(rng, 0, workload->values)));
    return history_text(history, word, (size_t)size);
}

static struct operation random_operation(struct history *history, struct rng *rng,
                                         const struct workload *workload, u64 serial,
                                         const struct model *model)
{
    struct operation operation = {.status = OPERATION_OK, .delta = 1};
    do {
        operation.kind = (enum operation_kind)rng_range(rng, 0, OPERATION_KIND_COUNT - 1);
    } while (!(workload->kinds >> operation.kind & 1));
    bool writes = operation.kind == OPERATION_PUT || operation.kind == OPERATION_APPEND ||
                  operation.kind == OPERATION_CAS;
    /* A put of nothing, and a cas to nothing, take the key away. */
    if (operation.kind == OPERATION_APPEND || (writes && rng_chance(rng, 2, 3)))
        operation.value = random_value(history, rng, workload, serial);
    if (operation.kind == OPERATION_CAS && rng_chance(rng, 3, 4))
        operation.expected = rng_chance(rng, 1, 2) && model->present
                                 ? history_text(history, model->bytes, strlen(model->bytes))
                                 : random_value(history, rng, workload, serial);
    operation.number_known = rng_chance(rng, 3, 4);
    return operation;
}

/* Fills a linearizable history: each operation takes effect somewhere in its time, on a model. At
 * any time each client has one operation under way. */
static void random_history(struct history *history, const struct workload *workload)
{
    struct rng rng;
    rng_init(&rng, workload->seed);
    struct model *models = memory_alloc_zero(workload->keys, sizeof(*models));
    u64 *busy_until = memory_alloc_zero(workload->clients, sizeof(*busy_until));
    for (u64 i = 0; i < workload->operations; i++) {
        u64 effect = i * 10;
        u64 client = rng_range(&rng, 0, workload->clients - 1);
        u64 key = rng_range(&rng, 0, workload->keys - 1);
        struct model *model = &models[key];
        char name[32];
        struct operation operation = random_operation(history, &rng, workload, i, model);
        u64 span = 10 * workload->clients;
        u64 earliest = u64_max(busy_until[client], effect > span ? effect - span : 0);
        if (earliest > effect)
            continue;
        snprintf(name, sizeof(name), "k%ju", (uintmax_t)key);
        operation.key = history_text(history, name, strlen(name));
        operation.client = client;
        operation.t0 = rng_range(&rng, earliest, effect);
        operation.t1 = rng_range(&rng, effect, effect + span);
        busy_until[client] = operation.t1 + 1;
        bool fails = rng_chance(&rng, workload->fail_percent, 100);
        bool unknown = rng_chance(&rng, workload->unknown_percent, 100);
        if (operation.kind == OPERATION_GET && model->present)
            operation.out = history_text(history, model->bytes, strlen(model->bytes));
        if (strlen(model->bytes) > MODEL_SIZE - 16 && operation.kind == OPERATION_APPEND)
            fails = true;
        if (!fails && !(unknown && rng_chance(&rng, 1, 2)) && !model_apply(model, &operation))
            fails = true;
        operation.status = fails ? OPERATION_FAIL : unknown ? OPERATION_UNKNOWN : OPERATION_OK;
        history_add(history, &operation);
    }
    memory_free(models);
    memory_free(busy_until);
}

/* Spoils one answer, time or outcome; what comes of it may or may not be linearizable. */
static void mutate(struct history *history, struct rng *rng)
{
    if (history->count == 0)
        return;
    struct operation *operation = history_at(history, rng_range(rng, 0, history->count - 1));
    const struct operation *other = history_at(history, rng_range(rng, 0, history->count - 1));
    switch (rng_range(rng, 0, 4)) {
    case 0:
        operation->number += rng_chance(rng, 1, 2) ? 1 : -1;
        operation->ok = !operation->ok;
        if (operation->kind == OPERATION_DEL)
            operation->found = !operation->found;
        break;
    case 1:
        if (operation->kind == OPERATION_GET)
            operation->out = other->kind == OPERATION_GET ? other->out : other->value;
        operation->found = operation->out != NULL || operation->kind == OPERATION_DEL;
        break;
    case 2:
        operation->t0 = operation->t1 = rng_range(rng, operation->t0, operation->t1);
        break;
    case 3:
        operation->status = operation->status == OPERATION_OK ? OPERATION_FAIL : OPERATION_UNKNOWN;
        break;
    default:
        operation->t0 += 30;
        operation->t1 = operation->t0 + 10;
        break;
    }
}

static const u64 all_kinds = (1U << OPERATION_KIND_COUNT) - 1;
static const u64 register_kinds = 1U << OPERATION_GET | 1U << OPERATION_PUT;

/* Counts the verdicts, so that the test shows that both occur. */
static void agree(u64 seed, u64 counts[2])
{
    struct rng rng;
    rng_init(&rng, seed);
    struct workload workload = {
        .seed = seed,
        .operations = rng_range(&rng, 1, 8),
        .clients = rng_range(&rng, 1, 6),
        .kinds = rng_chance(&rng, 1, 3) ? register_kinds : rng_range(&rng, 1, all_kinds),
        .values = rng_range(&rng, 0, 3),
        .unknown_percent = rng_range(&rng, 0, 1) * rng_range(&rng, 0, 60),
        .fail_percent = 5,
        .keys = 1,
    };
    struct history history;
    struct linearizability_result result;
    struct model model = {.present = false};
    history_init(&history);
    random_history(&history, &workload);
    bool mutated = rng_chance(&rng, 3, 4);
    for (u64 times = mutated ? rng_range(&rng, 1, 3) : 0; times > 0; times--)
        mutate(&history, &rng);
    bool good = every_order(&history, 0, &model);
    linearizability_check(&history, &unlimited, &result);
    ck_assert_msg(good || mutated, "seed %ju: the model made a bad history", (uintmax_t)seed);
    ck_assert_msg((result.verdict == LINEARIZABLE) == good, "seed %ju: %d", (uintmax_t)seed, good);
    counts[good]++;
    linearizability_result_deinit(&result);
    history_deinit(&history);
}

START_TEST(linearizability_check__agrees_with_every_order_tried)
{
    u64 counts[2] = {0, 0};
    const char *seeds = getenv("HISTORY_SEEDS");
    u64 end = seeds == NULL ? 20000 : strtoull(seeds, NULL, 10);
    for (u64 seed = 1; seed <= end; seed++)
        agree(seed, counts);
    ck_assert_uint_gt(counts[0], end / 20);
    ck_assert_uint_gt(counts[1], end / 20);
}
END_TEST

START_TEST(linearizability_check__passes_what_a_model_did)
{
    for (u64 seed = 1; seed <= 40; seed++) {
        struct workload workload = {.seed = seed,
                                    .operations = 2000,
                                    .clients = 2 + seed % 8,
                                    .kinds = seed % 2 == 0 ? all_kinds : register_kinds,
                                    .values = seed % 3 * 4,
                                    .unknown_percent = seed % 4,
                                    .fail_percent = 2,
                                    .keys = 1 + seed % 5};
        struct history history;
        struct linearizability_result result;
        history_init(&history);
        random_history(&history, &workload);
        linearizability_check(&history, &unlimited, &result);
        ck_assert_msg(result.verdict == LINEARIZABLE, "seed %ju", (uintmax_t)seed);
        linearizability_result_deinit(&result);
        history_deinit(&history);
    }
}
END_TEST

UNIT_MAIN("linearizability_random", linearizability_check__agrees_with_every_order_tried,
          linearizability_check__passes_what_a_model_did)
