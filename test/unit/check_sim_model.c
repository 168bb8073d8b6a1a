/* check_sim_model.c - the judge's key-value store: by hand, and beside the real one, from which it
 * shares no line. */
#include "test/unit/unit.h"

#include "common/crc32c.h"
#include "common/rng.h"
#include "server/machine/kv.h"
#include "test/sim/inside.h"
#include "test/sim/model.h"

static struct model model;
static u8 command[256];
static size_t command_size;

static void encode(u32 value_bytes_max, enum kv_command code, const char *const *texts, u32 count)
{
    const struct kv_limits limits = {1024, value_bytes_max, MIB};
    struct kv_argument arguments[3];
    for (u32 i = 0; i < count; i++)
        arguments[i] = (struct kv_argument){(const u8 *)texts[i], (u32)strlen(texts[i])};
    command_size = kv_command_size(arguments, count);
    ck_assert_uint_le(command_size, sizeof(command));
    kv_command_encode(&limits, code, arguments, count, command);
}

static struct model_answer give(enum kv_command code, u32 count, const char *one, const char *two,
                                const char *three)
{
    const char *const texts[] = {one, two, three};
    encode(8, code, texts, count);
    return model_apply(&model, command, command_size);
}

START_TEST(model_apply__answers)
{
    ck_assert_int_eq(give(KV_DEL, 1, "k", NULL, NULL).number, 0);
    ck_assert_int_eq(give(KV_SET, 2, "k", "a", NULL).number, 0);
    ck_assert_int_eq(give(KV_APPEND, 2, "k", "bc", NULL).number, 3);
    ck_assert_int_eq(give(KV_CAS, 3, "k", "ab", "x").number, 0);
    ck_assert_int_eq(give(KV_CAS, 3, "k", "abc", "7").number, 1);
    ck_assert_int_eq(give(KV_INCR, 1, "k", NULL, NULL).number, 8);
    ck_assert_uint_eq(model.present, 1);
    ck_assert_int_eq(give(KV_DEL, 1, "k", NULL, NULL).number, 1);
    ck_assert_uint_eq(model.present, 0);
    ck_assert_int_eq(give(KV_CAS, 3, "k", "", "x").number, 0);
    ck_assert_int_eq(give(KV_APPEND, 2, "k", "ab", NULL).number, 2);
    ck_assert_int_eq(give(KV_MSET, 2, "l", "c", NULL).number, 0);
    ck_assert_uint_eq(model.present, 2);
    ck_assert_int_eq(give(KV_GETDEL, 1, "l", NULL, NULL).number, crc32c(0, "c", 1));
    ck_assert_int_eq(give(KV_GETDEL, 1, "l", NULL, NULL).number, -1);
    ck_assert_uint_eq(model.present, 1);
    ck_assert_int_eq(give(KV_FLUSHALL, 0, NULL, NULL, NULL).number, 0);
    ck_assert_uint_eq(model.present, 0);
    model_deinit(&model);
}
END_TEST

START_TEST(model_apply__refuses_what_cannot_be)
{
    static const char *const no_numbers[] = {"",   "x",  "+1", "01",
                                             "-0", " 1", "1 ", "9223372036854775807"};
    for (u32 i = 0; i < sizeof(no_numbers) / sizeof(no_numbers[0]); i++) {
        (void)give(KV_SET, 2, "k", no_numbers[i], NULL);
        ck_assert_msg(give(KV_INCR, 1, "k", NULL, NULL).refused, "%s", no_numbers[i]);
    }
    (void)give(KV_SET, 2, "k", "-9223372036854775808", NULL);
    ck_assert_int_eq(give(KV_INCR, 1, "k", NULL, NULL).number, INT64_MIN + 1);
    (void)give(KV_SET, 2, "k", "12345678", NULL);
    ck_assert(give(KV_APPEND, 2, "k", "9", NULL).refused); /* 8 bytes is the limit */
    ck_assert_int_eq(give(KV_INCR, 1, "k", NULL, NULL).number, 12345679);
    model_deinit(&model);
}
END_TEST

static i64 number_of(enum kv_command code, const struct buffer *answer)
{
    if (code == KV_GETDEL && answer->data[0] == '_')
        return -1;
    if (code == KV_GETDEL) {
        const u8 *value = (const u8 *)memchr(answer->data, '\n', answer->size) + 1;
        return crc32c(0, value, answer->size - (size_t)(value - answer->data) - 2);
    }
    return answer->data[0] == ':' ? strtoll((const char *)answer->data + 1, NULL, 10) : 0;
}

static enum kv_command draw(struct rng *rng)
{
    static const enum kv_command codes[] = {KV_SET, KV_APPEND, KV_CAS,     KV_INCR,
                                            KV_DEL, KV_GETDEL, KV_FLUSHALL};
    static const u32 counts[] = {2, 2, 3, 1, 1, 1, 0};
    char key[16];
    (void)snprintf(key, sizeof(key), "k%u", (u32)rng_range(rng, 1, 300));
    static const char *const values[] = {"", "a", "7", "-1", "9223372036854775806", "bb"};
    const char *const texts[] = {key, values[rng_range(rng, 0, 5)], values[rng_range(rng, 0, 5)]};
    u64 which = rng_range(rng, 0, rng_chance(rng, 1, 100) ? 6 : 5);
    encode(20, codes[which], texts, counts[which]);
    return codes[which];
}

START_TEST(model_apply__as_the_machine_does)
{
    struct machine *machine = kv_create();
    struct buffer answer;
    struct rng rng;
    buffer_init(&answer);
    rng_init(&rng, 1);
    for (u64 i = 1; i <= 20000; i++) {
        enum kv_command code = draw(&rng);
        struct model_answer expected = model_apply(&model, command, command_size);
        const struct machine_context context = {{1, i}, 0};
        buffer_clear(&answer);
        machine->ops->apply(machine, &context, command, command_size, &answer);
        ck_assert_int_eq(expected.refused, answer.data[0] == '-');
        if (!expected.refused)
            ck_assert_int_eq(expected.number, number_of(code, &answer));
        ck_assert_uint_eq(kv_key_count(machine), model.present);
    }
    buffer_deinit(&answer);
    machine->ops->destroy(machine);
    model_deinit(&model);
}
END_TEST

UNIT_MAIN("sim_model", model_apply__answers, model_apply__refuses_what_cannot_be,
          model_apply__as_the_machine_does)
