/* kv_unit.h - a key-value machine driven by lines of text, for the tests of it. */
#ifndef MAILRAFT_TEST_KV_UNIT_H
#define MAILRAFT_TEST_KV_UNIT_H

#include "common/memory.h"
#include "server/machine/kv_store.h"
#include "test/unit/unit.h"

static const struct kv_limits limits = {
    .key_bytes_max = 64 * KIB, .value_bytes_max = 64, .answer_bytes_max = MIB};
static const struct machine_context context = {.id = {1, 1}, .time_ns = 1};

enum { ARGUMENTS_MAX = 16 };

static inline void run_arguments(struct machine *machine, enum kv_command command,
                                 const struct kv_argument *arguments, u32 count,
                                 struct buffer *answer)
{
    size_t size = kv_command_size(arguments, count);
    u8 *encoded = memory_alloc(size);
    kv_command_encode(&limits, command, arguments, count, encoded);
    if (kv_command_info(command)->writes)
        machine->ops->apply(machine, &context, encoded, size, answer);
    else
        machine->ops->read(machine, encoded, size, answer);
    memory_free(encoded);
}

/* Runs "set a 1", split at the spaces ('_' stands for an empty argument), and returns the answer
 * with CRLF written as a space. */
static inline const char *run(struct machine *machine, const char *text)
{
    static char result[4096];
    char words[512];
    ck_assert_uint_lt(strlen(text), sizeof(words));
    memcpy(words, text, strlen(text) + 1);
    struct kv_argument arguments[ARGUMENTS_MAX];
    u32 count = 0;
    char *name = strtok(words, " ");
    for (char *word = strtok(NULL, " "); word != NULL; word = strtok(NULL, " ")) {
        u32 size = strcmp(word, "_") == 0 ? 0 : (u32)strlen(word);
        arguments[count++] = (struct kv_argument){(const u8 *)word, size};
    }
    const struct kv_command_info *info = kv_command_find((const u8 *)name, strlen(name));
    ck_assert_ptr_nonnull(info);

    struct buffer answer;
    buffer_init(&answer);
    run_arguments(machine, info->command, arguments, count, &answer);
    ck_assert_uint_lt(answer.size, sizeof(result));
    size_t size = 0;
    for (size_t i = 0; i < answer.size; i++) {
        if (answer.data[i] == '\r')
            continue;
        result[size++] = answer.data[i] == '\n' ? ' ' : (char)answer.data[i];
    }
    ck_assert_uint_gt(size, 0);
    result[size - 1] = '\0';
    buffer_deinit(&answer);
    return result;
}

/* Runs pairs of command and answer on a new machine. */
static inline void assert_story(const char *const (*story)[2], size_t count)
{
    struct machine *machine = kv_create();
    for (size_t i = 0; i < count; i++) {
        const char *answer = run(machine, story[i][0]);
        ck_assert_msg(strcmp(answer, story[i][1]) == 0, "%s: \"%s\", not \"%s\"", story[i][0],
                      answer, story[i][1]);
    }
    machine->ops->destroy(machine);
}

#define STORY(...)                                           \
    do {                                                     \
        static const char *const story[][2] = {__VA_ARGS__}; \
        assert_story(story, ARRAY_LENGTH(story));            \
    } while (0)

#endif
