/* model.c - see model.h. */
#include "test/sim/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/crc32c.h"
#include "server/machine/kv.h"
#include "test/sim/world.h"

/* ---- keys ---- */

static struct model_item *slot_of(struct model_item *items, u32 capacity, const u8 *key, u32 size,
                                  u32 hash)
{
    u32 at = hash & (capacity - 1);
    while (items[at].key != NULL && (items[at].hash != hash || items[at].key_size != size ||
                                     memcmp(items[at].key, key, size) != 0))
        at = (at + 1) & (capacity - 1);
    return &items[at];
}

static void make_room(struct model *model)
{
    if (model->used * 2 < model->capacity)
        return;
    u32 capacity = model->capacity == 0 ? 64 : model->capacity * 2;
    struct model_item *items = sim_alloc_zero(capacity, sizeof(*items));
    for (u32 i = 0; i < model->capacity; i++) {
        const struct model_item *old = &model->items[i];
        if (old->key != NULL)
            *slot_of(items, capacity, old->key, old->key_size, old->hash) = *old;
    }
    sim_free(model->items);
    model->items = items;
    model->capacity = capacity;
}

/* The key's item, made when there is none. */
static struct model_item *item_of(struct model *model, const struct kv_argument *key)
{
    make_room(model);
    u32 hash = crc32c(0, key->data, key->size);
    struct model_item *item = slot_of(model->items, model->capacity, key->data, key->size, hash);
    if (item->key == NULL) {
        *item = (struct model_item){
            .key = sim_alloc(key->size + 1), .key_size = key->size, .hash = hash};
        memcpy(item->key, key->data, key->size);
        model->used++;
    }
    return item;
}

/* ---- values ---- */

static void set(struct model *model, struct model_item *item, const void *value, u32 size)
{
    model->present += item->value == NULL;
    item->value = sim_resize(item->value, size + 1);
    if (size > 0)
        memcpy(item->value, value, size);
    item->value_size = size;
}

static struct model_answer del(struct model *model, struct model_item *item)
{
    bool found = item->value != NULL;
    model->present -= found;
    sim_free(item->value);
    item->value = NULL;
    item->value_size = 0;
    return (struct model_answer){.number = found};
}

static struct model_answer append(struct model *model, struct model_item *item,
                                  const struct kv_argument *tail, u64 size_max)
{
    u32 before = item->value_size;
    if ((u64)before + tail->size > size_max)
        return (struct model_answer){.refused = true};
    model->present += item->value == NULL;
    item->value = sim_resize(item->value, before + tail->size + 1);
    if (tail->size > 0)
        memcpy(item->value + before, tail->data, tail->size);
    item->value_size = before + tail->size;
    return (struct model_answer){.number = item->value_size};
}

/* A number is what printing a number gives: no blanks, no plus, no zeros in front. */
static struct model_answer incr(struct model *model, struct model_item *item)
{
    char text[32] = "0";
    char again[32];
    if (item->value != NULL) {
        if (item->value_size >= sizeof(text))
            return (struct model_answer){.refused = true};
        memcpy(text, item->value, item->value_size);
        text[item->value_size] = '\0';
    }
    i64 number = strtoll(text, NULL, 10);
    (void)snprintf(again, sizeof(again), "%" PRId64, number);
    if (strcmp(text, again) != 0 || number == INT64_MAX)
        return (struct model_answer){.refused = true};
    (void)snprintf(again, sizeof(again), "%" PRId64, number + 1);
    set(model, item, again, (u32)strlen(again));
    return (struct model_answer){.number = number + 1};
}

static struct model_answer cas(struct model *model, struct model_item *item,
                               const struct kv_argument *expected, const struct kv_argument *value)
{
    bool matches = item->value != NULL && item->value_size == expected->size &&
                   memcmp(item->value, expected->data, expected->size) == 0;
    if (matches)
        set(model, item, value->data, value->size);
    return (struct model_answer){.number = matches};
}

static struct model_answer getdel(struct model *model, struct model_item *item)
{
    struct model_answer answer = {.number = -1};
    if (item->value != NULL)
        answer.number = crc32c(0, item->value, item->value_size);
    (void)del(model, item);
    return answer;
}

static struct model_answer flushall(struct model *model)
{
    for (u32 i = 0; i < model->capacity; i++)
        if (model->items[i].key != NULL)
            (void)del(model, &model->items[i]);
    return (struct model_answer){0};
}

static struct model_answer mset(struct model *model, const struct kv_argument *arguments, int count)
{
    for (int i = 0; i + 1 < count; i += 2)
        set(model, item_of(model, &arguments[i]), arguments[i + 1].data, arguments[i + 1].size);
    return (struct model_answer){0};
}

struct model_answer model_apply(struct model *model, const u8 *command, size_t size)
{
    enum kv_command code;
    struct kv_argument arguments[4];
    int count = kv_command_decode(command, size, &code, arguments, 4);
    ASSERT(count >= 0);
    if (code == KV_FLUSHALL)
        return flushall(model);
    if (code == KV_MSET)
        return mset(model, arguments, count);
    struct model_item *item = item_of(model, &arguments[0]);
    if (code == KV_SET && count == 2) {
        set(model, item, arguments[1].data, arguments[1].size);
        return (struct model_answer){0};
    }
    if (code == KV_APPEND)
        return append(model, item, &arguments[1], load_u32(command + 4));
    if (code == KV_CAS)
        return cas(model, item, &arguments[1], &arguments[2]);
    if (code == KV_INCR)
        return incr(model, item);
    if (code == KV_GETDEL)
        return getdel(model, item);
    ASSERT(code == KV_DEL && count == 1);
    return del(model, item);
}

void model_deinit(struct model *model)
{
    for (u32 i = 0; i < model->capacity; i++) {
        sim_free(model->items[i].key);
        sim_free(model->items[i].value);
    }
    sim_free(model->items);
    *model = (struct model){0};
}
