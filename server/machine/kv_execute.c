/* kv_execute.c - what each command does to the key space, and what it answers.
 *
 * The number of arguments is right here (kv_command_decode sees to that), and nothing else is: what
 * the client port refuses may still have come into the log from elsewhere, so each command reads
 * its options and numbers itself. No limit but the one that came with the command is looked at. */
#include "server/machine/kv_answer.h"
#include "server/machine/kv_store.h"

/* One command being executed. */
struct execution {
    struct kv *kv;
    u32 limit; /* came with the command: what APPEND may make, what MGET may answer */
    const struct kv_argument *arguments;
    u32 count;
    struct buffer *answer; /* NULL: nobody waits */
};

static struct kv_item *find(struct kv *kv, const struct kv_argument *key)
{
    return kv_find(kv, key, kv_hash(key));
}

/* The item's value, or null for none. */
static void answer_value(struct buffer *answer, const struct kv_item *item)
{
    if (item == NULL) {
        kv_answer_null(answer);
        return;
    }
    kv_answer_bulk(answer, kv_value_data(item), item->size);
}

static struct block *block_of(const struct kv_argument *argument)
{
    return block_create_copy(argument->data, argument->size);
}

static void execute_get(struct execution *execution)
{
    if (execution->answer != NULL)
        answer_value(execution->answer, find(execution->kv, &execution->arguments[0]));
}

/* Looks up what the keys have, into kv->found. Returns how many bytes the answer will have. */
static u64 look_up_all(struct execution *execution)
{
    struct kv *kv = execution->kv;
    if (execution->count > kv->found_capacity) {
        kv->found = memory_resize(kv->found, execution->count * sizeof(struct kv_item *));
        kv->found_capacity = execution->count;
    }
    u64 size = KV_ANSWER_HEAD_SIZE;
    for (u32 i = 0; i < execution->count; i++) {
        kv->found[i] = find(kv, &execution->arguments[i]);
        size += KV_ANSWER_HEAD_SIZE + (kv->found[i] == NULL ? 0 : (u64)kv->found[i]->size);
    }
    return size;
}

/* A single value may always be answered: it was set in one piece. */
static void execute_mget(struct execution *execution)
{
    if (execution->answer == NULL)
        return;
    u64 size = look_up_all(execution);
    if (size > execution->limit && execution->count > 1) {
        kv_answer_too_large(execution->answer, size, execution->limit);
        return;
    }
    (void)buffer_reserve(execution->answer, size);
    kv_answer_array(execution->answer, execution->count);
    for (u32 i = 0; i < execution->count; i++)
        answer_value(execution->answer, execution->kv->found[i]);
}

static void execute_exists(struct execution *execution)
{
    i64 found = 0;
    for (u32 i = 0; i < execution->count; i++)
        found += find(execution->kv, &execution->arguments[i]) != NULL;
    kv_answer_number(execution->answer, found);
}

static void execute_strlen(struct execution *execution)
{
    struct kv_item *item = find(execution->kv, &execution->arguments[0]);
    kv_answer_number(execution->answer, item == NULL ? 0 : (i64)item->size);
}

/* With GET the answer is the old value, whether or not it was replaced. */
static void execute_set(struct execution *execution)
{
    struct kv_set_options options;
    const char *error =
        kv_set_options_parse(execution->arguments + 2, execution->count - 2, &options);
    if (error != NULL) {
        kv_answer_error(execution->answer, error);
        return;
    }
    const struct kv_argument *key = &execution->arguments[0];
    u64 hash = kv_hash(key);
    struct kv_item *item = kv_find(execution->kv, key, hash);
    bool sets = item == NULL ? !options.if_present : !options.if_absent;

    if (options.get)
        answer_value(execution->answer, item);
    else if (sets)
        kv_answer_ok(execution->answer);
    else
        kv_answer_null(execution->answer);
    if (sets)
        kv_put(execution->kv, key, hash, item, block_of(&execution->arguments[1]));
}

static void execute_mset(struct execution *execution)
{
    for (u32 i = 0; i + 1 < execution->count; i += 2) {
        const struct kv_argument *key = &execution->arguments[i];
        u64 hash = kv_hash(key);
        struct kv_item *item = kv_find(execution->kv, key, hash);
        kv_put(execution->kv, key, hash, item, block_of(&execution->arguments[i + 1]));
    }
    kv_answer_ok(execution->answer);
}

static void execute_del(struct execution *execution)
{
    i64 removed = 0;
    for (u32 i = 0; i < execution->count; i++) {
        u64 hash = kv_hash(&execution->arguments[i]);
        struct kv_item *item = kv_find(execution->kv, &execution->arguments[i], hash);
        if (item == NULL)
            continue;
        kv_remove(execution->kv, item, hash);
        removed++;
    }
    kv_answer_number(execution->answer, removed);
}

static void execute_getdel(struct execution *execution)
{
    u64 hash = kv_hash(&execution->arguments[0]);
    struct kv_item *item = kv_find(execution->kv, &execution->arguments[0], hash);
    answer_value(execution->answer, item);
    if (item != NULL)
        kv_remove(execution->kv, item, hash);
}

/* The key's number plus `by`; a missing key counts as 0. */
static void add(struct execution *execution, i64 by)
{
    const struct kv_argument *key = &execution->arguments[0];
    u64 hash = kv_hash(key);
    struct kv_item *item = kv_find(execution->kv, key, hash);
    i64 number = 0;
    if (item != NULL) {
        if (!kv_number_parse(kv_value_data(item), item->size, &number)) {
            kv_answer_error(execution->answer, "ERR value is not an integer or out of range");
            return;
        }
    }
    if (__builtin_add_overflow(number, by, &number)) {
        kv_answer_error(execution->answer, "ERR increment or decrement would overflow");
        return;
    }
    u8 text[KV_NUMBER_TEXT_SIZE];
    u32 size = kv_number_format(number, text);
    kv_put(execution->kv, key, hash, item, block_create_copy(text, size));
    kv_answer_number(execution->answer, number);
}

static void execute_add_argument(struct execution *execution, bool negated)
{
    const struct kv_argument *argument = &execution->arguments[1];
    i64 by;
    if (!kv_number_parse(argument->data, argument->size, &by)) {
        kv_answer_error(execution->answer, "ERR value is not an integer or out of range");
        return;
    }
    if (negated && by == INT64_MIN) {
        kv_answer_error(execution->answer, "ERR decrement would overflow");
        return;
    }
    add(execution, negated ? -by : by);
}

static void execute_append(struct execution *execution)
{
    const struct kv_argument *key = &execution->arguments[0];
    const struct kv_argument *tail = &execution->arguments[1];
    u64 hash = kv_hash(key);
    struct kv_item *item = kv_find(execution->kv, key, hash);
    u64 size = (item == NULL ? 0 : (u64)item->size) + tail->size;
    if (size > u64_min(execution->limit, KV_VALUE_SIZE_MAX)) {
        kv_answer_error(execution->answer,
                        "ERR string exceeds maximum allowed size (max-value-bytes)");
        return;
    }
    kv_append(execution->kv, key, hash, item, tail, execution->limit);
    kv_answer_number(execution->answer, (i64)size);
}

/* CAS key expected new: 1 when the value was `expected` and is `new` now, else 0. A missing key has
 * no value, so it never matches, not even an empty `expected`. */
static void execute_cas(struct execution *execution)
{
    const struct kv_argument *key = &execution->arguments[0];
    const struct kv_argument *expected = &execution->arguments[1];
    u64 hash = kv_hash(key);
    struct kv_item *item = kv_find(execution->kv, key, hash);
    bool matches = item != NULL && item->size == expected->size &&
                   memcmp(kv_value_data(item), expected->data, expected->size) == 0;
    if (matches)
        kv_put(execution->kv, key, hash, item, block_of(&execution->arguments[2]));
    kv_answer_number(execution->answer, matches);
}

static void execute_flushall(struct execution *execution)
{
    const char *error = kv_flushall_parse(execution->arguments, execution->count);
    if (error != NULL) {
        kv_answer_error(execution->answer, error);
        return;
    }
    kv_clear(execution->kv);
    kv_answer_ok(execution->answer);
}

void kv_execute(struct kv *kv, enum kv_command command, u32 limit,
                const struct kv_argument *arguments, u32 count, struct buffer *answer)
{
    struct execution execution = {kv, limit, arguments, count, answer};
    switch (command) {
    case KV_GET:
        execute_get(&execution);
        return;
    case KV_SET:
        execute_set(&execution);
        return;
    case KV_MGET:
        execute_mget(&execution);
        return;
    case KV_MSET:
        execute_mset(&execution);
        return;
    case KV_DEL:
        execute_del(&execution);
        return;
    case KV_EXISTS:
        execute_exists(&execution);
        return;
    case KV_INCR:
        add(&execution, 1);
        return;
    case KV_INCRBY:
        execute_add_argument(&execution, false);
        return;
    case KV_DECR:
        add(&execution, -1);
        return;
    case KV_DECRBY:
        execute_add_argument(&execution, true);
        return;
    case KV_APPEND:
        execute_append(&execution);
        return;
    case KV_STRLEN:
        execute_strlen(&execution);
        return;
    case KV_GETDEL:
        execute_getdel(&execution);
        return;
    case KV_CAS:
        execute_cas(&execution);
        return;
    case KV_DBSIZE:
        kv_answer_number(answer, (i64)kv->count);
        return;
    case KV_SCAN:
        kv_execute_scan(kv, arguments, count, answer);
        return;
    case KV_FLUSHALL:
        execute_flushall(&execution);
        return;
    case KV_NONE:
    case KV_COMMAND_END:
        break;
    }
    UNREACHABLE();
}
